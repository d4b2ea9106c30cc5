/* fixture.h: small things that several suites need. Inline, because suites of lower rooms lack what the upper ones link. */
#ifndef OPTC_TESTS_FIXTURE_H
#define OPTC_TESTS_FIXTURE_H
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "ir/diag.h"

static inline void fixture_show(const Diag *d, Arena *a) {
  Text out = {.arena = a};
  diag_render_text(d, &out, false);
  if (out.data) printf("\n%s\n", out.data);
}

/* For qsort, on char *. */
static inline int fixture_by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* x86-64-v2, v3, v4. */
static inline bool fixture_machine_has(int level) {
#if defined(__x86_64__)
  return level < 2 ? level < 1 || __builtin_cpu_supports("x86-64-v3") : __builtin_cpu_supports("x86-64-v4");
#else
  return false;
#endif
}

#ifdef OPTC_H
static inline optc_context *fixture_context(void) { return optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""}); }
#endif
#endif
