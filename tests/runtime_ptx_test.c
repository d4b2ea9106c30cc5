/* runtime_ptx_test.c: every rule that ships, as PTX executed without a GPU, gives the bits of machine code, and the executor finds nothing wrong with it. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"
#include "tests/support/trial.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
static const DrillWay plain = {0};
static const char *const gpus[] = {"sm_80", "sm_70", "sm_90"};
static int turn;                         /* the GPUs in turn: each rule is executed for one or two of them */

static optc_rule *compile(const ShippedRule *r, int backend, int level) {
  optc_compile_options options = {.size = sizeof options, .level = level, .backend = backend, .rule = r->name};
  if (backend == OPTC_BACKEND_PTX) options.cpu = gpus[turn++%COUNT(gpus)];
  return shipped_compile(r, &options);
}

static void say(const char *name, const char *what, const char *difference, const optc_rule *ptx) {
  if (!difference) { CU_PASS(); return; }
  printf("\n%s, PTX %s: %s\n%s\n", name, what, difference, ptx->finding);
  CU_FAIL("PTX gives other bits");
}

/* Any shapes: small ones, moderate numbers, then infinities, NaN and subnormals among them. */
static void on_small_data(const ShippedRule *r, optc_rule *code, optc_rule *ptx[2]) {
  DrillRule form = drill_rule(code);
  for (uint64_t seed = 1; seed < 3; seed++) {
    TrialPlan plan = {.seed = seed, .data = seed < 2 ? TRIAL_MODERATE : TRIAL_SPECIAL, .steps = 2};
    Trial *t = trial_new(&form, &plan);
    if (!t) continue;
    trial_keep(t);
    for (int level = 0; level < 2; level++) {
      DrillRule executed = drill_rule(ptx[level]);
      trial_run(t, &executed, &plain);
      say(r->name, level ? "-O2" : "-O0", trial_difference(t), ptx[level]);
    }
    trial_free(t);
  }
}

/* Element by element: tensors that fill warps and blocks and those that do not, a second chunk, arbitrary bits. */
static int n_long;
static void on_long_data(const ShippedRule *r, optc_rule *code, optc_rule *ptx[2]) {
  static const int64_t counts[] = {1, 31, 32, 33, 0, 65, 1000, 4097, 65540};
  if (!drill_elementwise(ptx[1]->desc)) return;             /* at -O0 every rule goes item by item */
  n_long++;
  DrillRule form = drill_rule(code);
  for (int bits = 0; bits < 2; bits++) {
    DrillPlan plan = {.counts = counts, .n_items = bits ? COUNT(counts) - 1 : COUNT(counts), .n_groups = 2, .steps = 2, .seed = (uint64_t)bits + 1, .any_bits = bits};
    Drill *d = drill_new(&form, &plan);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    drill_run(d, &form, &plain);
    drill_keep(d);
    for (int level = bits; level < 2; level++) {             /* -O0 once is enough */
      DrillRule executed = drill_rule(ptx[level]);
      drill_run(d, &executed, &plain);
      say(r->name, level ? "-O2, long" : "-O0, long", drill_difference(d), ptx[level]);
    }
    drill_free(d);
  }
}

/* Each is compiled once for both. */
static void every_rule_on_small_and_long_data(void) {
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  const char *only = getenv("OPTC_TEST_RULE");
  for (int i = 0; i < n; i++) {
    if (only && strcmp(only, rules[i].name)) continue;
    optc_rule *code = compile(&rules[i], OPTC_BACKEND_JIT, 0), *ptx[2] = {compile(&rules[i], OPTC_BACKEND_PTX, 0), compile(&rules[i], OPTC_BACKEND_PTX, 2)};
    if (code && ptx[0] && ptx[1]) {
      on_small_data(&rules[i], code, ptx);
      on_long_data(&rules[i], code, ptx);
    }
    optc_rule_free(code);
    optc_rule_free(ptx[0]);
    optc_rule_free(ptx[1]);
  }
  CU_ASSERT(n_long > 0 || only);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(every_rule_on_small_and_long_data),
  };
  return suite_run("rules as PTX", tests);
}
