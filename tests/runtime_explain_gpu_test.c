/* runtime_explain_gpu_test.c: explain with a GPU: what AdamW moves and how widely, registers as an assembler told them, the warps that then fit. */
#define _GNU_SOURCE
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/explain.h"
#include "runtime/optc.h"
#include "tests/support/assembler.h"
#include "tests/support/cubin.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/object_file.h"
#include "tests/support/suite.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
enum { TEXT, JSON, PTX, KINDS };
typedef struct Explained { optc_emission *e; const char *at[KINDS]; size_t size[KINDS]; json_t *root; } Explained;

static bool explain(Explained *x, optc_context *cx, const char *path, const char *rule, const char *gpu, const char *assembled) {
  static const int kinds[] = {OPTC_EMIT_EXPLAIN, OPTC_EMIT_EXPLAIN_JSON, OPTC_EMIT_PTX};
  optc_emit_options o = {.size = sizeof o, .kinds = kinds, .n_kinds = KINDS, .level = 2, .rule = rule, .gpu = gpu, .assembled = assembled};
  *x = (Explained){0};
  if (optc_emit_file(cx, path, &o, &x->e)) { printf("\n%s: %s", rule, optc_context_diagnostics(cx)); return false; }
  for (int k = 0; k < KINDS; k++) x->at[k] = optc_emission_data(x->e, k, &x->size[k]);
  x->root = json_loadb(x->at[JSON], x->size[JSON], 0, NULL);
  return x->root != NULL;
}

static void close_explained(Explained *x) {
  json_decref(x->root);
  optc_emission_free(x->e);
}

static json_t *entry_of(json_t *root, const char *name) {
  size_t i;
  json_t *e;
  json_array_foreach(json_object_get(root, "entries"), i, e) if (!strcmp(json_string_value(json_object_get(e, "entry")), name)) return e;
  return NULL;
}

static json_int_t integer(const json_t *object, const char *key) { return json_integer_value(json_object_get(object, key)); }
static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

/* The only launch of an entry. */
static json_t *launch_of(json_t *root, const char *entry) {
  json_t *launches = json_object_get(json_object_get(entry_of(root, entry), "gpu"), "launches");
  return json_array_size(launches) == 1 ? json_array_get(launches, 0) : NULL;
}

/* Bytes that one trip of a loop moves. */
static json_int_t bytes_of(json_t *access) {
  static const char *const ways[] = {"loads", "stores"};
  json_int_t bytes = 0;
  const char *width;
  json_t *times;
  for (int k = 0; k < 2; k++)
    json_object_foreach(json_object_get(access, ways[k]), width, times) bytes += atoi(width)*json_integer_value(times);
  return bytes;
}

static void adamw_moves_28_bytes_a_parameter_in_one_launch(void) {
  static const char *const gpus[] = {"sm_70", "sm_80", "sm_90"};
  optc_context *cx = fixture_context();
  for (int g = 0; g < COUNT(gpus); g++) {
    Explained x;
    CU_ASSERT_FATAL(explain(&x, cx, "rules/adamw.opt", "adamw", gpus[g], NULL));
    json_t *step = entry_of(x.root, "step"), *bytes = json_object_get(step, "bytes"), *launch = launch_of(x.root, "step"), *access;
    size_t k;
    CU_ASSERT_EQUAL(number(bytes, "read") + number(bytes, "written"), 28);
    CU_ASSERT_EQUAL(number(bytes, "least_read") + number(bytes, "least_written"), 28);
    CU_ASSERT_PTR_NOT_NULL_FATAL(launch);
    CU_ASSERT(json_array_size(json_object_get(launch, "accesses")) > 0);
    /* Every loop over elements takes whole ones: p, g, m, v read and p, m, v written, all as widely. */
    json_array_foreach(json_object_get(launch, "accesses"), k, access) {
      CU_ASSERT(bytes_of(access) > 0 && bytes_of(access)%28 == 0);
      CU_ASSERT(json_object_size(json_object_get(access, "loads")) == 1 && json_object_size(json_object_get(access, "stores")) == 1);
    }
    /* The first one takes four elements a thread, 16 bytes of each tensor; the other what is left. */
    access = json_array_get(json_object_get(launch, "accesses"), 0);
    CU_ASSERT_EQUAL(integer(json_object_get(access, "loads"), "16"), 4);
    CU_ASSERT_EQUAL(integer(json_object_get(access, "stores"), "16"), 3);
    CU_ASSERT_PTR_NULL(json_object_get(launch, "registers"));
    CU_ASSERT_PTR_NOT_NULL(strstr(x.at[TEXT], "no ptxas has told them"));
    close_explained(&x);
  }
  optc_context_free(cx);
}

static void registers_are_those_of_the_machine_code(void) {
  const char *ptxas = assembler_for("sm_90");
  optc_context *cx = fixture_context();
  Explained x;
  if (!ptxas) return;
  CU_ASSERT_FATAL(explain(&x, cx, "rules/adamw.opt", "adamw", "sm_90", NULL));
  CU_ASSERT(scratch_write("adamw.ptx", x.at[PTX], x.size[PTX]));
  close_explained(&x);
  CU_ASSERT_EQUAL_FATAL(scratch_run("'%s' -v -arch=sm_90 adamw.ptx -o adamw.cubin 2> said", ptxas), 0);
  size_t size;
  int n;
  char *said = scratch_read("said", &size);
  void *bytes = scratch_read("adamw.cubin", &size);
  CubinKernel *kernels = cubin_read(bytes, size, &n);
  CU_ASSERT_FATAL(explain(&x, cx, "rules/adamw.opt", "adamw", "sm_90", said));
  json_t *launch = launch_of(x.root, "step");
  int at = 0;
  while (at < n && strcmp(kernels[at].name, "adamw_step_step")) at++;
  CU_ASSERT(at < n && integer(launch, "registers") == kernels[at].registers);
  GpuOccupancy fits = gpu_occupancy("sm_90", (unsigned)integer(launch, "threads"), (unsigned)integer(launch, "registers"), 0);
  CU_ASSERT(integer(launch, "registers") > 8 && integer(launch, "warps") == fits.warps && integer(launch, "most_warps") == 64 && integer(launch, "spilt_bytes") == 0);
  CU_ASSERT_PTR_NOT_NULL(strstr(x.at[TEXT], "registers a thread, none spilt"));
  close_explained(&x);
  free(kernels);
  free(bytes);
  free(said);
  optc_context_free(cx);
}

/* By hand, from the limits in the programming guide: 65,536 registers, given in pieces of 256 to warps; 1 KiB of shared memory a block is the system's from sm_80 on. */
static void warps_that_fit(void) {
  static const struct { const char *gpu; unsigned threads, registers, shared, blocks, warps; const char *by; } cases[] = {
    {"sm_80", 256, 32, 0, 8, 64, "warps"}, {"sm_80", 256, 33, 0, 6, 48, "registers"}, {"sm_80", 256, 64, 0, 4, 32, "registers"}, {"sm_80", 1024, 64, 0, 1, 32, "registers"},
    {"sm_80", 1024, 65, 0, 0, 0, "registers"}, {"sm_80", 96, 64, 0, 10, 30, "registers"}, {"sm_86", 256, 40, 0, 6, 48, "warps"}, {"sm_75", 256, 64, 0, 4, 32, "warps"},
    {"sm_90", 32, 32, 0, 32, 32, "blocks"}, {"sm_90", 1, 255, 0, 8, 8, "registers"}, {"sm_89", 32, 16, 0, 24, 24, "blocks"}, {"sm_90", 256, 32, 48 << 10, 4, 32, "shared memory"},
    {"sm_70", 256, 32, 48 << 10, 2, 16, "shared memory"}, {"sm_80", 256, 32, 163 << 10, 1, 8, "shared memory"}};
  for (int k = 0; k < COUNT(cases); k++) {
    GpuOccupancy o = gpu_occupancy(cases[k].gpu, cases[k].threads, cases[k].registers, cases[k].shared);
    bool right = o.blocks == cases[k].blocks && o.warps == cases[k].warps && o.by && !strcmp(o.by, cases[k].by);
    if (!right) printf("\n%s, %u threads, %u registers, %u bytes: %u blocks, %u warps, %s\n", cases[k].gpu, cases[k].threads, cases[k].registers, cases[k].shared, o.blocks, o.warps, o.by ? o.by : "");
    CU_ASSERT(right);
  }
  CU_ASSERT_EQUAL(gpu_occupancy("sm_30", 32, 32, 0).most, 0);
}

static void what_an_assembler_prints(void) {
  static const char log[] =
    "ptxas info    : Compiling entry function 'one_sm_90' for 'sm_90'\nptxas info    : Function properties for one_sm_90\n    24 bytes stack frame, 20 bytes spill stores, 16 bytes spill loads\n"
    "ptxas info    : Used 24 registers, used 0 barriers, 24 bytes cumulative stack size\nptxas info    : Compiling entry function 'one' for 'sm_90'\n"
    "ptxas info    : Function properties for one\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 7 registers, 416 bytes cmem[0]\n"
    "ptxas info    : Compiling entry function 'cut' for 'sm_90'\n";
  GpuAssembled a;
  CU_ASSERT(gpu_assembled(log, "one_sm_90", &a) && a.registers == 24 && a.stack == 24 && a.spilt == 20);
  CU_ASSERT(gpu_assembled(log, "one", &a) && a.registers == 7 && !a.stack && !a.spilt);
  CU_ASSERT(!gpu_assembled(log, "cut", &a) && !gpu_assembled(log, "none", &a) && !gpu_assembled(NULL, "one", &a) && !gpu_assembled("", "one", &a));
}

/* How many blocks of one thread fit says nothing; lines are those of the PTX; where the host does all of an entry, nothing is launched. */
static void what_says_nothing_is_left_out(void) {
  static const char log[] = "ptxas info    : Compiling entry function 'lamb_nv_step_total_0' for 'sm_80'\nptxas info    : Used 28 registers, 416 bytes cmem[0]\n"
                            "ptxas info    : Compiling entry function 'lamb_nv_step_phase_0' for 'sm_80'\nptxas info    : Used 32 registers, 416 bytes cmem[0]\n";
  optc_context *cx = fixture_context();
  Explained x;
  CU_ASSERT_FATAL(explain(&x, cx, "rules/lamb.opt", "lamb_nv", "sm_80", log));
  CU_ASSERT_PTR_NOT_NULL(strstr(x.at[TEXT], "28 registers a thread, none spilt\n"));
  CU_ASSERT_PTR_NOT_NULL(strstr(x.at[TEXT], "32 registers a thread, none spilt; a multiprocessor holds 8 blocks of 256"));
  CU_ASSERT_PTR_NOT_NULL(strstr(x.at[TEXT], " of the PTX: "));
  CU_ASSERT(!strstr(x.at[TEXT], "blocks of 1:"));
  close_explained(&x);
  const char *optc = getenv("OPTC") ? getenv("OPTC") : "build/optc";
  char *command = realpath(optc, NULL);
  CU_ASSERT_FATAL(command && scratch_write("bare.opt", "rule bare() { param p; grad g; p -= g }\n", 40));
  CU_ASSERT_EQUAL(scratch_run("'%s' explain bare.opt --gpu=sm_80 > said && grep -q 'no launch: all of it is done on the host' said && ! grep -q ' 0 launch' said", command), 0);
  free(command);
  optc_context_free(cx);
}

/* A part of them: every eighth. */
static void rules_of_all_kinds(void) {
  optc_context *cx = fixture_context();
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  for (int i = 0; i < n; i += 8) {
    Explained x;
    CU_ASSERT(explain(&x, cx, rules[i].path, rules[i].name, "sm_80", NULL));
    size_t k, launches = 0;
    json_t *entry;
    json_array_foreach(json_object_get(x.root, "entries"), k, entry) launches += json_array_size(json_object_get(json_object_get(entry, "gpu"), "launches"));
    CU_ASSERT(launches > 0);
    close_explained(&x);
  }
  optc_context_free(cx);
}

static void the_command_asks_an_assembler_where_there_is_one(void) {
  const char *optc = getenv("OPTC") ? getenv("OPTC") : "build/optc", *ptxas = assembler_for("sm_90");
  char *command = realpath(optc, NULL), *rule = realpath("rules/adamw.opt", NULL);
  CU_ASSERT_FATAL(command && rule);
  CU_ASSERT_EQUAL(scratch_run("OPTC_PTXAS=/nowhere '%s' explain '%s' --gpu=sm_90 | grep -q 'no ptxas has told them'", command, rule), 0);
  CU_ASSERT_EQUAL(scratch_run("'%s' explain - --gpu=sm_90 --format=json < '%s' | grep -q '\"name\": \"sm_90\"'", command, rule), 0);
  CU_ASSERT_NOT_EQUAL(scratch_run("'%s' explain '%s' --gpu=sm_900", command, rule), 0);
  if (ptxas) CU_ASSERT_EQUAL(scratch_run("OPTC_PTXAS='%s' '%s' explain '%s' --gpu=sm_90 | grep -q '[1-9][0-9]* registers a thread, none spilt; a multiprocessor holds [1-9]'", ptxas, command, rule), 0);
  free(command);
  free(rule);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(adamw_moves_28_bytes_a_parameter_in_one_launch),
    TEST(registers_are_those_of_the_machine_code),
    TEST(warps_that_fit),
    TEST(what_an_assembler_prints),
    TEST(what_says_nothing_is_left_out),
    TEST(rules_of_all_kinds),
    TEST(the_command_asks_an_assembler_where_there_is_one),
  };
  return suite_run("explain for a GPU", tests);
}
