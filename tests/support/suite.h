/* suite.h: the main function of a test program. OPTC_TEST_ONLY=WORD in the environment runs the tests whose name has it. */
#ifndef OPTC_TESTS_SUITE_H
#define OPTC_TESTS_SUITE_H
#include <CUnit/Basic.h>
#include <stddef.h>

typedef struct SuiteTest { const char *name; CU_TestFunc run; } SuiteTest;
#define TEST(f) {#f, f}                  /* a row that is called as its function */

typedef struct TestSuite { const char *title; const SuiteTest *tests; size_t n; CU_InitializeFunc enter; CU_CleanupFunc leave; } TestSuite;
#define SUITE(title, tests, enter, leave) {title, tests, sizeof(tests)/sizeof *(tests), enter, leave}

/* What main returns: 0 if every test ran and passed. */
int suites_run(const TestSuite *suites, size_t n);
#define suite_run_with(title, tests, enter, leave) suites_run(&(TestSuite)SUITE(title, tests, enter, leave), 1)
#define suite_run(title, tests) suite_run_with(title, tests, NULL, NULL)
#endif
