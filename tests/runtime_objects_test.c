/* runtime_objects_test.c: what is written for other compilers: headers of every rule that ships as C99 and C++11, and
 * objects called from C. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/jobs.h"
#include "tests/support/object_file.h"
#include "tests/support/suite.h"

static void show_log(const char *what) {
  size_t size;
  char *log = scratch_read("log", &size);
  printf("\n%s: %.3000s\n", what, log ? log : "");
  free(log);
}

/* --- headers --------------------------------------------------------------------------------------------------------------------------------------- */
/* headers/NAME.h and objects/NAME.o of one rule. */
static char *emit(void *self, int i) {
  static const int kinds[] = {OPTC_EMIT_HEADER, OPTC_EMIT_OBJECT};
  const ShippedRule *r = (const ShippedRule *)self + i;
  optc_context *cx = fixture_context();
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 2, .level = 2, .rule = r->name};
  optc_emission *e;
  char *trouble = NULL, file[128];
  if (optc_emit_file(cx, r->path, &options, &e)) trouble = job_trouble("%s: %s", r->name, optc_context_diagnostics(cx));
  for (int k = 0; k < 2 && !trouble; k++) {
    size_t size;
    const void *data = optc_emission_data(e, k, &size);
    snprintf(file, sizeof file, k ? "objects/%s.o" : "headers/%s.h", r->name);
    if (!scratch_write(file, data, size)) trouble = job_trouble("%s cannot be written", file);
    if (k) optc_emission_free(e);
  }
  optc_context_free(cx);
  return trouble;
}

/* Calls every rule with nothing to do: names, structs and the interface's hash fit the objects. */
static void write_caller(const ShippedRule *rules, int n) {
  FILE *all = fopen(scratch_path("all.c"), "w");
  CU_ASSERT_PTR_NOT_NULL_FATAL(all);
  for (int i = 0; i < n; i++) fprintf(all, "#include \"headers/%s.h\"\n", rules[i].name);
  fprintf(all, "#include <stdio.h>\nint main(void) {\n  int failed = 0;\n");
  for (int i = 0; i < n; i++) {
    const char *r = rules[i].name;
    fprintf(all, "  { %s_hyper h = %s_HYPER_DEFAULTS; %s_global g; %s_call c; %s_item none; int k; char *at = (char *)&c; for (k = 0; k < (int)sizeof c; k++) at[k] = 0; at = (char *)&g; for (k = 0; k < (int)sizeof g; k++) at[k] = 0;\n"
                 "    (void)none; g.t = 7; c.size = sizeof c; c.groups = &h; c.n_groups = 0; c.global = &g; if (%s_check(&c) != OPTC_OK || %s_workspace_size(&c) > 1 << 20) { failed++; puts(\"%s\"); } }\n", r, r, r, r, r, r, r, r);
  }
  fprintf(all, "  return failed;\n}\n");
  CU_ASSERT_EQUAL(fclose(all), 0);
}

static void every_header_is_strict_c99_and_cxx11_alone_and_beside_all_others(void) {
  static const char *const compilers[] = {"cc -x c -std=c99", "c++ -x c++ -std=c++11"}, *const strict = "-pedantic-errors -Wall -Wextra -Wno-missing-field-initializers -Werror";
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  CU_ASSERT_FATAL(n >= 50 && scratch_run("mkdir -p headers objects") == 0);
  CU_ASSERT_EQUAL_FATAL(jobs_run(n, emit, (void *)rules), n);
  write_caller(rules, n);
  for (int c = 0; c < 2; c++) {
    if (c && !command_exists("c++")) { printf("\nskipped: headers as C++11, no compiler\n"); continue; }
    if (scratch_run("ls headers/*.h | xargs -n 8 -P %d %s %s -fsyntax-only", jobs_at_once(), compilers[c], strict)) { show_log(compilers[c]); CU_FAIL("a header alone"); }
    if (scratch_run("%s %s -c all.c -o all.o && cc all.o objects/*.o -o all && ./all >&2", compilers[c], strict)) { show_log(compilers[c]); CU_FAIL("all headers in one program"); }
  }
}

/* --- states that are absent --------------------------------------------------------------------------------------------------------------------------- */
/* Three tensors of one call: without momentum and buffer, with both, without momentum but with a buffer, which is nobody's business. */
static const char absent_program[] =
  "#include <string.h>\n#include \"sgd.h\"\n"
  "enum { N = 70000 };\nstatic float p[3][N], g[3][N], b[2][N], mean[N];\nstatic char space[1 << 24];\n"
  "int main(void) {\n"
  "  sgd_hyper hyper[2] = {sgd_HYPER_DEFAULTS, sgd_HYPER_DEFAULTS};\n  const int64_t shape[1] = {N};\n  int64_t i, k, s;\n"
  "  sgd_item item[3];\n  sgd_global global;\n  sgd_call call;\n  optc_error error;\n  optc_state_info info[sgd_N_STATES];\n"
  "  memset(item, 0, sizeof item); memset(&global, 0, sizeof global); memset(&call, 0, sizeof call);\n"
  "  hyper[0].lr = hyper[1].lr = 0.5; hyper[1].momentum = 0.75;\n"
  "  for (k = 0; k < 3; k++) {\n"
  "    for (i = 0; i < N; i++) { p[k][i] = (float)(i%7) - 3; g[k][i] = (float)(i%5) - 2; b[k ? k - 1 : 0][i] = 99; }\n"
  "    item[k].p.data = p[k]; item[k].g.data = g[k]; item[k].b.data = k ? b[k - 1] : 0; item[k].rank = 1; item[k].shape = shape; item[k].group = k == 1;\n  }\n"
  "  call.size = sizeof call; call.groups = hyper; call.n_groups = 2; call.items = item; call.n_items = 3; call.global = &global; call.error = &error;\n"
  "  call.workspace = space; call.workspace_size = sizeof space;\n"
  "  for (k = 0; k < 3; k++) if (sgd_layout(&call, k, info) || info[0].exists != (k == 1) || info[0].count != N) return 2;\n"
  "  if (sgd_workspace_size(&call) > sizeof space || sgd_check(&call) || sgd_init(&call)) return 3;\n"
  "  for (i = 0; i < N; i++) if (b[0][i] != 0 || b[1][i] != 99) return 4;\n"
  "  for (s = 0; s < 2; s++) {\n    if (sgd_step(&call) || global.t != s + 1) return 5;\n"
  "    for (i = 0; i < N; i++) mean[i] = s ? 0.75f*mean[i] + g[1][i] : g[1][i];\n"
  "    for (i = 0; i < N; i++) {\n"
  "      float plain = (float)(i%7) - 3 - (float)(s + 1)*(0.5f*g[0][i]), heavy = (float)(i%7) - 3 - 0.5f*g[1][i] - (s ? 0.5f*mean[i] : 0);\n"
  "      if (p[0][i] != plain || p[2][i] != plain || p[1][i] != heavy || b[0][i] != mean[i] || b[1][i] != 99) return 6;\n    }\n  }\n"
  "  item[0].group = 1;\n"                                               /* now the buffer must be there, and nothing is written without it */
  "  if (sgd_step(&call) != OPTC_E_NULL || error.code != OPTC_E_NULL || error.item != 0 || !error.operand || strcmp(error.operand, \"b\") || global.t != 2) return 7;\n"
  "  for (i = 0; i < N; i++) if (b[0][i] != mean[i]) return 8;\n"
  "  return 0;\n}\n";

static void a_state_that_is_absent_needs_no_memory_in_an_object(void) {
  static const int kinds[] = {OPTC_EMIT_HEADER, OPTC_EMIT_OBJECT};
  static const char *const arm = "aarch64-unknown-linux-gnu";
  optc_context *cx = fixture_context();
  bool cross = command_exists("aarch64-linux-gnu-gcc") && command_exists("qemu-aarch64");
  if (!cross) printf("\nskipped: aarch64, no cross compiler or emulator\n");
  CU_ASSERT_FATAL(scratch_write("absent.c", absent_program, strlen(absent_program)));
  for (int level = 0; level <= 2; level++)
    for (int target = 0; target < (cross ? 2 : 1); target++) {
      optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 2, .level = level, .target = target ? arm : NULL};
      optc_emission *e;
      CU_ASSERT_EQUAL_FATAL(optc_emit_file(cx, "rules/sgd.opt", &options, &e), OPTC_OK);
      size_t header, object;
      const void *text = optc_emission_data(e, 0, &header), *code = optc_emission_data(e, 1, &object);
      CU_ASSERT_FATAL(scratch_write("sgd.h", text, header) && scratch_write("sgd.o", code, object));
      optc_emission_free(e);
      int status = scratch_run("%s -std=c99 -O1 -ffp-contract=off -Wall -Wextra -Werror -static absent.c sgd.o -o absent && %s./absent", target ? "aarch64-linux-gnu-gcc" : "cc",
                               target ? "qemu-aarch64 " : "");
      CU_ASSERT_EQUAL(status, 0);
      if (status) { printf("\n-O%d, %s: status %d", level, target ? arm : "this machine", status); show_log("absent"); }
    }
  optc_context_free(cx);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(every_header_is_strict_c99_and_cxx11_alone_and_beside_all_others), TEST(a_state_that_is_absent_needs_no_memory_in_an_object),
  };
  return suite_run("what other compilers read", tests);
}
