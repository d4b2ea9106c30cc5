/* runtime_cuda_objects_test.c: PTX in objects: which text is taken, and that what is loaded runs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include "tests/cuda/calls.h"
#include "tests/support/fixture.h"
#include "tests/support/object_file.h"
#include "tests/support/suite.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))

/* --- PTX in objects ------------------------------------------------------------------------------------------------------------------------------- */
/* An object with PTX for these GPUs as a shared one: its path, a new one each time. Its header says what it carries. */
static const char *object(const char *path, const char *name, const char *gpus, const char *const *cpus, int n_cpus) {
  static const int kinds[] = {OPTC_EMIT_OBJECT, OPTC_EMIT_HEADER};
  optc_context *cx = fixture_context();
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 2, .level = -1, .rule = name, .gpu = gpus, .cpus = cpus, .n_cpus = n_cpus};
  optc_emission *e;
  size_t size;
  static int number;
  char file[80];
  snprintf(file, sizeof file, "object_%d.so", number++);
  CU_ASSERT_EQUAL_FATAL(optc_emit_file(cx, path, &options, &e), OPTC_OK);
  const void *bytes = optc_emission_data(e, 0, &size);
  CU_ASSERT(scratch_write("object.o", bytes, size));
  CU_ASSERT_EQUAL(scratch_run("cc -shared -Wl,-z,text -Wl,-z,defs -nostdlib -o %s object.o", file), 0);        /* it needs no library */
  CU_ASSERT_EQUAL(!!strstr(optc_emission_data(e, 1, NULL), "extern const struct optc_gpu_desc"), gpus != NULL);
  optc_emission_free(e);
  optc_context_free(cx);
  return scratch_path(file);
}

static void *load(const char *path, const char *name, const char *what) {
  char symbol[80];
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(handle);
  snprintf(symbol, sizeof symbol, "%s_%s", name, what);
  return dlsym(handle, symbol);
}

static void objects_carry_ptx(void) {
  static const struct { const char *path, *name; } rules[] = {{"rules/adamw.opt", "adamw"}, {"rules/lamb.opt", "lamb"}, {"rules/muon.opt", "muon"}, {"rules/attention.opt", "attention"}};
  static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
  const char *const *cpus = fixture_machine_has(0) ? levels : NULL;
  optc_gpu *gpu = open_gpu();
  for (int i = 0; i < COUNT(rules); i++) {
    const char *path = object(rules[i].path, rules[i].name, "sm_70,sm_80,sm_90", cpus, cpus ? 3 : 0);
    There there = {gpu, load(path, rules[i].name, "rule"), load(path, rules[i].name, "gpu"), i == 1};
    CU_ASSERT_PTR_NOT_NULL_FATAL(there.code);
    CU_ASSERT_EQUAL(there.code->rule == there.desc, i < 2);             /* products are packed another way on a GPU: such a rule has a table for each */
    optc_rule *code = compile(rules[i].path, rules[i].name, OPTC_BACKEND_JIT);
    bits_agree(rules[i].name, code, &there);
    optc_rule_free(code);
  }
  CU_ASSERT_STRING_EQUAL(stub->finding, "");
  everything_is_given_back(gpu);
}

static optc_emission *assembly(const char *path, const char *name, const char *gpus) {
  static const int kinds[] = {OPTC_EMIT_ASSEMBLY};
  optc_context *cx = fixture_context();
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 1, .level = -1, .rule = name, .gpu = gpus};
  optc_emission *e;
  CU_ASSERT_EQUAL_FATAL(optc_emit_file(cx, path, &options, &e), OPTC_OK);
  optc_context_free(cx);
  return e;
}

/* The code of a function: what stands in a text between its name and its size. */
static const char *body_of(const char *text, const char *name, size_t *size) {
  char first[100], last[100];
  snprintf(first, sizeof first, "\n%s:", name);
  snprintf(last, sizeof last, "\t.size\t%s,", name);
  const char *at = strstr(text, first), *end = at ? strstr(at, last) : NULL;
  *size = end ? (size_t)(end - at) : 0;
  return at;
}

static void cpu_code_of_an_object_does_not_depend_on_its_ptx(void) {
  static const struct { const char *path, *name; } rules[] = {{"rules/adamw.opt", "adamw"}, {"rules/muon.opt", "muon"}, {"rules/shampoo.opt", "shampoo"}, {"rules/attention.opt", "attention"}};
  for (int i = 0; i < COUNT(rules); i++) {
    optc_emission *alone = assembly(rules[i].path, rules[i].name, NULL), *carrying = assembly(rules[i].path, rules[i].name, "sm_80");
    const char *text = optc_emission_data(alone, 0, NULL), *other = optc_emission_data(carrying, 0, NULL);
    int functions = 0;
    for (const char *at = text; (at = strstr(at, ",@function\n")); at++) {
      const char *begin = at;
      char name[90];
      size_t size, other_size;
      while (begin > text && begin[-1] != '\t' && begin[-1] != ' ') begin--;
      snprintf(name, sizeof name, "%.*s", (int)(at - begin), begin);
      const char *x = body_of(text, name, &size), *y = body_of(other, name, &other_size);
      if (!size) continue;                                               /* the driver's own are text of another form */
      functions++;
      CU_ASSERT_EQUAL(size, other_size);
      CU_ASSERT(size == other_size && !memcmp(x, y, size));
    }
    CU_ASSERT(functions > 3);
    optc_emission_free(alone);
    optc_emission_free(carrying);
  }
}

static void the_best_text_for_a_gpu_is_taken(void) {
  static const struct { int compute; const char *taken; } cases[] = {{60, NULL}, {70, "sm_70"}, {75, "sm_70"}, {80, "sm_80"}, {89, "sm_80"}, {90, "sm_90a"}, {100, "sm_80"}};
  const char *path = object("rules/adamw.opt", "adamw", "sm_90a,sm_70,sm_80", NULL, 0);
  const optc_gpu_desc *code = load(path, "adamw", "gpu");
  for (int k = 0; k < COUNT(cases); k++) {
    const optc_gpu_target_desc *t = gpu_choose(code, cases[k].compute);
    if (!cases[k].taken) CU_ASSERT_PTR_NULL(t);
    if (cases[k].taken) CU_ASSERT_STRING_EQUAL(t->name, cases[k].taken);
  }
  for (int64_t k = 0; k < code->n_targets; k++) {
    static const char *const versions[] = {".version 8.0\n.target sm_90a", ".version 6.0\n.target sm_70", ".version 7.0\n.target sm_80"};
    CU_ASSERT_PTR_NOT_NULL(strstr(code->targets[k].text, versions[k]));
  }
}

/* DLPack tensors, a rule loaded from a shared object; without PTX it is refused. */
static void loaded_rules_run_on_a_gpu(void) {
  optc_context *cx = fixture_context();
  optc_gpu *gpu = open_gpu();
  for (int with = 0; with < 2; with++) {
    optc_rule *rule;
    List l;
    CU_ASSERT_EQUAL_FATAL(optc_load(cx, object("rules/lion.opt", "lion", with ? "sm_80" : NULL, NULL, 0), "lion", &rule), OPTC_OK);
    CU_ASSERT_EQUAL(optc_rule_gpu(rule) != NULL, with);
    list_make(&l, ITEMS);
    list_move(&l, true);
    CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, rule, optc_rule_entry(rule, "step"), &l.call), with ? OPTC_OK : OPTC_E_TARGET);
    if (!with) CU_ASSERT_STRING_EQUAL(l.error.text, "the rule is not compiled for PTX");
    CU_ASSERT_EQUAL(l.t, with);
    list_move(&l, false);
    list_free(&l);
    optc_rule_free(rule);
  }
  optc_context_free(cx);
  everything_is_given_back(gpu);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(objects_carry_ptx),
    TEST(cpu_code_of_an_object_does_not_depend_on_its_ptx),
    TEST(the_best_text_for_a_gpu_is_taken),
    TEST(loaded_rules_run_on_a_gpu),
  };
  return suite_run_with("PTX in objects", tests, cuda_enter, cuda_leave);
}
