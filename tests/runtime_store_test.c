/* runtime_store_test.c: storage policies compose with any rule: the graph interpreter, the plain kernels and machine code at every level and number of threads give the same
 * bits, on items shorter and longer than blocks and chunks; a policy is part of what a compiled rule is known by in the cache. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/object_file.h"
#include "tests/support/suite.h"
#include "tests/support/team.h"
#include "tests/support/trial.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
static const DrillWay plain = {0};

typedef struct Kept { const char *path, *rule, *store; } Kept;
static const Kept kept[] = {
  {"rules/adamw.opt", "adamw", "m=bf16 nearest,v=bf16 stochastic"},
  {"rules/adamw.opt", "adamw", "m=q8[256] nearest,v=q8u[256] nearest"},
  {"rules/adamw.opt", "adamw", "m=q8[64] nearest,v=f32 flush,p=bf16+master,g=bf16"},
  {"rules/adamw.opt", "adamw", "m=q4[128] nearest,v=q4u[128] nearest"},
  {"rules/adamw.opt", "adamw", "m=q8[256] nearest,v=q8u[128] nearest"},
  {"rules/adamw.opt", "adamw", "m=q8[100] nearest"},
  {"rules/lion.opt", "lion", "m=q8[32] nearest"},
  {"rules/lamb.opt", "lamb", "m=q8[256] nearest,v=q8u[256] nearest"},
  {"rules/sgd.opt", "sgd", "p=f16+master"},
  {"rules/adafactor.opt", "adafactor", "R=bf16 stochastic,C=f16 nearest,p=bf16 stochastic"},
  {"rules/prodigy.opt", "prodigy", "m=q8[256] nearest,v=q8u[256] nearest,s=q8[256] nearest"},
};

static optc_rule *compile(const Kept *k, int backend, int level) {
  optc_context *cx = fixture_context();
  const optc_compile_options options = {.size = sizeof options, .level = level, .backend = backend, .rule = k->rule, .store = k->store, .verify_each = true};
  optc_rule *rule;
  if (optc_compile_file(cx, k->path, &options, &rule)) {
    printf("\n%s, %s: %s", k->rule, k->store, optc_context_diagnostics(cx));
    CU_FAIL("a rule does not compile");
  }
  optc_context_free(cx);
  return rule;
}

static void agrees(Trial *t, const Kept *k, optc_rule *rule, const DrillWay *way, const char *what) {
  DrillRule form = drill_rule(rule);
  trial_run(t, &form, way);
  const char *difference = trial_difference(t);
  if (!difference) return;
  printf("\n%s, %s, %s: %s\n%s\n", k->rule, k->store, what, difference, trial_shapes(t));
  CU_FAIL("bits differ");
}

static Trial *trial_of(optc_rule *rule, const TrialPlan *plan) {
  DrillRule form = drill_rule(rule);
  Trial *t = trial_new(&form, plan);
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  trial_keep(t);
  return t;
}

static void every_team(Trial *t, const Kept *k, optc_rule *rule) {
  static const int threads[] = {2, 3, 8};
  for (int i = 0; i < COUNT(threads); i++) {
    Team team = {.threads = threads[i], .order = i ? SHUFFLED : BACKWARDS};
    optc_parallel parallel = {run_team, &team};
    agrees(t, k, rule, &(DrillWay){.parallel = &parallel, .hostile = i == 1}, "machine code with threads");
    CU_ASSERT_FALSE(team.failed);
  }
}

static void every_form_gives_the_same_bits(void) {
  static const struct { int backend, level; const char *what; } forms[] = {
    {OPTC_BACKEND_GRAPH, 2, "graph interpreter"}, {OPTC_BACKEND_KERNEL, 0, "kernel interpreter -O0"}, {OPTC_BACKEND_KERNEL, 2, "kernel interpreter -O2"},
    {OPTC_BACKEND_JIT, 1, "machine code -O1"}, {OPTC_BACKEND_JIT, 2, "machine code -O2"}, {OPTC_BACKEND_PTX, 2, "PTX"}};
  for (int i = 0; i < COUNT(kept); i++) {
    const Kept *k = &kept[i];
    optc_rule *least = compile(k, OPTC_BACKEND_JIT, 0), *rule[COUNT(forms)];
    for (int f = 0; f < COUNT(forms); f++) rule[f] = compile(k, forms[f].backend, forms[f].level);
    for (uint64_t seed = 0; seed < 6; seed++) {
      TrialPlan plan = {.seed = seed, .data = seed < 2 ? TRIAL_MODERATE : seed % 2 ? TRIAL_ANY_BITS : TRIAL_SPECIAL, .steps = 4,
        .item = {{1, {255}}, {2, {17, 31}}, {1, {256}}, {1, {1 + (int64_t)seed*65}}}, .n_items = 4};
      if (seed == 5) plan.item[0].axis[0] = plan.item[2].axis[0] = 0;
      Trial *t = trial_of(least, &plan);
      for (int f = 0; f < COUNT(forms); f++) agrees(t, k, rule[f], &plain, forms[f].what);
      trial_free(t);
    }
    optc_rule_free(least);
    for (int f = 0; f < COUNT(forms); f++) optc_rule_free(rule[f]);
  }
}

static void chunks_threads_and_the_ends_of_blocks_change_nothing(void) {
  for (int i = 0; i < COUNT(kept); i++) {
    const Kept *k = &kept[i];
    optc_rule *least = compile(k, OPTC_BACKEND_JIT, 0), *most = compile(k, OPTC_BACKEND_JIT, 2);
    TrialPlan plan = {.seed = 7, .data = TRIAL_SPECIAL, .steps = 2, .item = {{1, {65536}}, {2, {3, 44567}}, {1, {65537 + 255}}, {1, {3}}}, .n_items = 4};
    Trial *t = trial_of(least, &plan);
    agrees(t, k, most, &plain, "machine code -O2");
    every_team(t, k, most);
    trial_free(t);
    optc_rule_free(least);
    optc_rule_free(most);
  }
}

/* --- the interface ---------------------------------------------------------------------------------------------------------------------- */

static const char *type_of(optc_context *cx, const char *store, unsigned *compilations) {
  const optc_compile_options options = {.size = sizeof options, .level = -1, .store = store};
  optc_rule *rule = NULL;
  static char type[16];
  CU_ASSERT_EQUAL_FATAL(optc_compile_file(cx, "rules/lion.opt", &options, &rule), OPTC_OK);
  for (int k = 0; k < optc_rule_operands(rule); k++) {
    optc_operand_info info;
    CU_ASSERT_EQUAL(optc_rule_operand(rule, k, &info), OPTC_OK);
    if (!strcmp(info.name, "m")) snprintf(type, sizeof type, "%s", info.type);
  }
  optc_rule_free(rule);
  *compilations = optc_context_compilations(cx);
  return type;
}

static void a_policy_is_part_of_what_the_cache_knows_a_rule_by(void) {
  const char *folder = scratch_path("cache");
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = folder});
  unsigned n;
  CU_ASSERT_STRING_EQUAL(type_of(cx, NULL, &n), "f32");
  CU_ASSERT_EQUAL(n, 1);
  CU_ASSERT_STRING_EQUAL(type_of(cx, "m=bf16", &n), "bf16");
  CU_ASSERT_EQUAL(n, 2);
  CU_ASSERT_PTR_NOT_NULL(strstr(optc_context_diagnostics(cx), "'bf16 nearest' if that is meant"));
  CU_ASSERT_STRING_EQUAL(type_of(cx, "m=f16 nearest", &n), "f16");
  CU_ASSERT_EQUAL(n, 3);
  CU_ASSERT_STRING_EQUAL(type_of(cx, "m=bf16", &n), "bf16");
  CU_ASSERT_EQUAL(n, 3);
  CU_ASSERT_PTR_NOT_NULL(strstr(optc_context_diagnostics(cx), "'bf16 nearest' if that is meant"));
  optc_rule *rule;
  CU_ASSERT_EQUAL(optc_compile_file(cx, "rules/lion.opt", &(optc_compile_options){.size = sizeof(optc_compile_options), .level = -1, .store = "q=bf16"}, &rule), OPTC_E_INPUT);
  CU_ASSERT_PTR_NOT_NULL(strstr(optc_context_diagnostics(cx), "--store:1:1: error: rule 'lion' has no operand 'q'"));
  optc_context_free(cx);
}

/* The golden data of the rule written by hand. */
static void a_master_copy_is_that_of_the_rule_written_by_hand(void) {
  char *here = realpath(".", NULL);
  CU_ASSERT_EQUAL(scratch_run("cd '%s' && build/optc check tests/golden/optim/adamw_bf16_master.json --rule rules/adamw.opt --store p=bf16+master,g=bf16", here), 0);
  CU_ASSERT_NOT_EQUAL(scratch_run("cd '%s' && build/optc check tests/golden/optim/adamw.json --store 'm=bf16 nearest'", here), 0);
  CU_ASSERT_EQUAL(scratch_run("cd '%s' && build/optc check tests/golden/optim/adamw.json --store 'm=bf16 nearest' --within 0.01", here), 0);
  free(here);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(every_form_gives_the_same_bits), TEST(chunks_threads_and_the_ends_of_blocks_change_nothing), TEST(a_policy_is_part_of_what_the_cache_knows_a_rule_by),
    TEST(a_master_copy_is_that_of_the_rule_written_by_hand),
  };
  return suite_run("storage policies at run time", tests);
}
