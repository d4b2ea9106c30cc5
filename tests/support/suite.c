/* suite.c: runs the suites of a test program. */
#include "tests/support/suite.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add(const TestSuite *s, const char *only) {
  CU_pSuite suite = CU_add_suite(s->title, s->enter, s->leave);
  bool added = suite != NULL;
  for (size_t i = 0; added && i < s->n; i++)
    if (!only || strstr(s->tests[i].name, only)) added = CU_add_test(suite, s->tests[i].name, s->tests[i].run) != NULL;
  return added;
}

int suites_run(const TestSuite *suites, size_t n) {
  setvbuf(stdout, NULL, _IOLBF, 0);                         /* a test that crashes is named */
  if (CU_initialize_registry() != CUE_SUCCESS) return 1;
  for (size_t i = 0; i < n; i++)
    if (!add(&suites[i], getenv("OPTC_TEST_ONLY"))) return 1;
  CU_basic_set_mode(CU_BRM_VERBOSE);
  CU_basic_run_tests();
  unsigned failed = CU_get_number_of_failures() + CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed();
  CU_cleanup_registry();
  return failed != 0;
}
