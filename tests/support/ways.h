/* ways.h: the ways a rule runs in this process, and a text compiled for one of them. The rule is the caller's. */
#ifndef OPTC_TESTS_WAYS_H
#define OPTC_TESTS_WAYS_H
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>
#include "runtime/optc.h"

enum { WAYS = 4 };                       /* the graph interpreted; kernels at -O0 interpreted; machine code at -O0 and -O2 */

/* What is wrong with the text is shown, and fatal to the test. */
static inline optc_rule *compile_way(optc_context *cx, const char *text, int way) {
  static const struct { int backend, level; } ways[WAYS] = {{OPTC_BACKEND_GRAPH, 2}, {OPTC_BACKEND_KERNEL, 0}, {OPTC_BACKEND_JIT, 0}, {OPTC_BACKEND_JIT, 2}};
  optc_compile_options options = {.size = sizeof options, .level = ways[way].level, .backend = ways[way].backend};
  optc_rule *rule;
  int status = optc_compile_memory(cx, "test.opt", text, strlen(text), &options, &rule);
  if (status) fprintf(stderr, "\n%s", optc_context_diagnostics(cx));
  CU_ASSERT_EQUAL_FATAL(status, OPTC_OK);
  return rule;
}
#endif
