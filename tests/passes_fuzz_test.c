/* passes_fuzz_test.c: what the fuzzer found once, reduced: tests/data/fuzz/NAME.graph, each a module with passes and data. */
#include <glob.h>
#include <stdio.h>
#include "fuzz/oracle.c"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

static void replay(const char *path) {
  Arena *a = arena_new(NULL, 0);
  if (!a || setjmp(*arena_guard(a))) { CU_FAIL("memory"); arena_free(a); return; }
  const char *why;
  const Source *source = fixture_read(NULL, a, path, &why);
  CU_ASSERT_PTR_NOT_NULL_FATAL(source);
  OracleCase c = {.arena = a, .diag = diag_new(a, 0), .texts = true};
  OracleFinding f = {0};
  Text printed = {.arena = a};
  bool good = oracle_read(&c, source) && oracle_check(&c, &f);
  if (!good) {
    diag_render_text(c.diag, &printed, false);
    printf("\n%s: %s: %s\n%s", path, f.what ? f.what : "not readable", f.detail ? f.detail : "", printed.data ? printed.data : "");
  }
  CU_ASSERT(good);
  if (good) CU_ASSERT(oracle_can_run(&c));
  arena_free(a);
}

static void findings_stay_repaired(void) {
  glob_t found;
  CU_ASSERT_FATAL(!glob("tests/data/fuzz/*.graph", 0, NULL, &found));
  for (size_t i = 0; i < found.gl_pathc; i++) replay(found.gl_pathv[i]);
  globfree(&found);
}

int main(void) {
  static const SuiteTest tests[] = {
    {"findings_stay_repaired", findings_stay_repaired},
  };
  return suite_run("fuzz findings", tests);
}
