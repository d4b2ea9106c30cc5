/* runtime_objects_test.c: what is written for other compilers: headers of every rule that ships as C99 and C++11, PTX of every rule for each GPU. */
#define _GNU_SOURCE
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/support/drill_rules.h"
#include "tests/support/object_file.h"

static optc_emission *emit(optc_context *cx, const ShippedRule *r, const int *kinds, int n_kinds, const char *gpu) {
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = n_kinds, .level = 2, .rule = r->name, .gpu = gpu};
  optc_emission *e;
  if (!optc_emit_file(cx, r->path, &options, &e)) return e;
  printf("\n%s: %s", r->name, optc_context_diagnostics(cx));
  CU_FAIL("a rule does not compile");
  return NULL;
}

static optc_context *context(void) { return optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""}); }

static void show_log(const char *what) {
  size_t size;
  char *log = scratch_read("log", &size);
  printf("\n%s: %.3000s\n", what, log ? log : "");
  free(log);
}

/* --- headers --------------------------------------------------------------------------------------------------------------------------------------- */
static void every_header_is_strict_c99_and_cxx11_alone_and_beside_all_others(void) {
  static const int kinds[] = {OPTC_EMIT_HEADER, OPTC_EMIT_OBJECT};
  optc_context *cx = context();
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  CU_ASSERT_FATAL(n >= 50 && scratch_run("mkdir -p headers objects") == 0);
  FILE *all = fopen(scratch_path("all.c"), "w");
  CU_ASSERT_PTR_NOT_NULL_FATAL(all);
  for (int i = 0; i < n; i++) {
    optc_emission *e = emit(cx, &rules[i], kinds, 2, NULL);
    if (!e) continue;
    char file[128];
    size_t size;
    const void *text = optc_emission_data(e, 0, &size);
    snprintf(file, sizeof file, "headers/%s.h", rules[i].name);
    CU_ASSERT(scratch_write(file, text, size));
    text = optc_emission_data(e, 1, &size);
    snprintf(file, sizeof file, "objects/%s.o", rules[i].name);
    CU_ASSERT(scratch_write(file, text, size));
    fprintf(all, "#include \"headers/%s.h\"\n", rules[i].name);
    optc_emission_free(e);
  }
  /* Calls every rule with nothing to do: names, structs and the interface's hash fit the objects. */
  fprintf(all, "#include <stdio.h>\nint main(void) {\n  int failed = 0;\n");
  for (int i = 0; i < n; i++) {
    const char *r = rules[i].name;
    fprintf(all, "  { %s_hyper h = %s_HYPER_DEFAULTS; %s_global g; %s_call c; %s_item none; int k; char *at = (char *)&c; for (k = 0; k < (int)sizeof c; k++) at[k] = 0; at = (char *)&g; for (k = 0; k < (int)sizeof g; k++) at[k] = 0;\n"
                 "    (void)none; g.t = 7; c.size = sizeof c; c.groups = &h; c.n_groups = 0; c.global = &g; if (%s_check(&c) != OPTC_OK || %s_workspace_size(&c) > 1 << 20) { failed++; puts(\"%s\"); } }\n", r, r, r, r, r, r, r, r);
  }
  fprintf(all, "  return failed;\n}\n");
  CU_ASSERT_EQUAL(fclose(all), 0);
  static const char *const compilers[] = {"cc -x c -std=c99", "c++ -x c++ -std=c++11"};
  for (int c = 0; c < 2; c++) {
    if (c && !command_exists("c++")) { printf("\nskipped: headers as C++11, no compiler\n"); continue; }
    const char *strict = "-pedantic-errors -Wall -Wextra -Wno-missing-field-initializers -Werror";
    if (scratch_run("for h in headers/*.h; do %s %s -fsyntax-only $h || exit 1; done", compilers[c], strict)) { show_log(compilers[c]); CU_FAIL("a header alone"); }
    if (scratch_run("%s %s -c all.c -o all.o && cc all.o objects/*.o -o all && ./all >&2", compilers[c], strict)) { show_log(compilers[c]); CU_FAIL("all headers in one program"); }
  }
  optc_context_free(cx);
}

/* --- PTX ---------------------------------------------------------------------------------------------------------------------------------------------- */
static void every_rule_becomes_ptx_that_assembles_for_each_gpu(void) {
  static const char *const gpus[] = {"sm_70", "sm_80", "sm_90"};
  static const int kinds[] = {OPTC_EMIT_PTX};
  const char *ptxas = getenv("OPTC_PTXAS") ? getenv("OPTC_PTXAS") : "ptxas";
  bool can = command_exists(ptxas);
  if (!can) printf("\nskipped: assembling PTX, there is no ptxas\n");
  optc_context *cx = context();
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  CU_ASSERT(n >= 50);
  for (int g = 0; g < 3; g++) {
    CU_ASSERT_EQUAL_FATAL(scratch_run("mkdir -p %s", gpus[g]), 0);
    for (int i = 0; i < n; i++) {
      optc_emission *e = emit(cx, &rules[i], kinds, 1, gpus[g]);
      if (!e) continue;
      char words[64], file[128];
      size_t size;
      const char *text = optc_emission_data(e, 0, &size);
      snprintf(words, sizeof words, ".target %s", gpus[g]);
      CU_ASSERT(strstr(text, words) && strstr(text, ".visible .entry"));
      CU_ASSERT_PTR_NULL(strstr(text, ".extern"));            /* needs nothing that a driver does not have */
      snprintf(file, sizeof file, "%s/%s.ptx", gpus[g], rules[i].name);
      CU_ASSERT(scratch_write(file, text, strlen(text)));
      optc_emission_free(e);
    }
    if (can && scratch_run("%s --help | grep -q \"'%s'\"", ptxas, gpus[g])) {
      printf("\nskipped: assembling for %s, this ptxas does not know it\n", gpus[g]);
      continue;
    }
    if (can && scratch_run("for f in %s/*.ptx; do %s -arch=%s -O1 $f -o %s.cubin || { echo $f; exit 1; }; done", gpus[g], ptxas, gpus[g], gpus[g])) {
      show_log(gpus[g]);
      CU_FAIL("PTX does not assemble");
    }
  }
  optc_context_free(cx);
}

int main(void) {
  static const struct { const char *name; CU_TestFunc run; } tests[] = {
#define TEST(f) {#f, f}
    TEST(every_header_is_strict_c99_and_cxx11_alone_and_beside_all_others), TEST(every_rule_becomes_ptx_that_assembles_for_each_gpu),
  };
  CU_initialize_registry();
  CU_pSuite suite = CU_add_suite("what other compilers read", NULL, NULL);
  for (size_t i = 0; i < sizeof tests/sizeof *tests; i++) CU_add_test(suite, tests[i].name, tests[i].run);
  CU_basic_set_mode(CU_BRM_VERBOSE);
  CU_basic_run_tests();
  unsigned failures = CU_get_number_of_failures() + CU_get_number_of_tests_failed();
  CU_cleanup_registry();
  return failures != 0;
}
