/* runtime_cuda_rules_test.c: every rule on a GPU, through its own structs: the bits of machine code, also in small windows and with few blocks. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include "tests/cuda/calls.h"
#include "tests/support/suite.h"
#include "tests/support/trial.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))

/* As calls and as captured plans. */
static void every_rule_gives_the_bits_of_machine_code(void) {
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  const char *only = getenv("OPTC_TEST_RULE");
  optc_gpu *gpu = open_gpu();
  for (int i = 0; i < n; i++) {
    if (only && strcmp(only, rules[i].name)) continue;
    optc_rule *code = compile(rules[i].path, rules[i].name, OPTC_BACKEND_JIT), *ptx = compile(rules[i].path, rules[i].name, OPTC_BACKEND_PTX);
    for (int planned = 0; planned < 2; planned++) bits_agree(rules[i].name, code, &(There){gpu, ptx->desc, optc_rule_gpu(ptx), planned});
    optc_rule_free(code);
    optc_rule_free(ptx);
  }
  CU_ASSERT_STRING_EQUAL(stub->finding, "");
  everything_is_given_back(gpu);
}

/* Items of other windows have their temporaries in the same room, also where one kernel is all there is between two totals. */
static void small_windows_keep_the_bits(void) {
  static const char *const rules[][2] = {{"rules/lamb.opt", "lamb"}, {"rules/muon.opt", "muon"}, {"rules/shampoo.opt", "shampoo"}, {"rules/clip.opt", "clip_adamw_amp"}};
  optc_gpu *gpu = open_gpu();
  for (int i = 0; i < COUNT(rules); i++) {
    optc_rule *code = compile(rules[i][0], rules[i][1], OPTC_BACKEND_JIT), *ptx = compile_at(rules[i][0], rules[i][1], OPTC_BACKEND_PTX, i%2*2);
    optc_gpu_desc table = *optc_rule_gpu(ptx);
    optc_rule_desc small = *table.rule;
    small.window = 1;
    table.rule = &small;
    bits_agree(rules[i][1], code, &(There){gpu, ptx->desc, &table, i == 0});
    optc_rule_free(code);
    optc_rule_free(ptx);
  }
  CU_ASSERT_STRING_EQUAL(stub->finding, "");
  everything_is_given_back(gpu);
}

/* --- few blocks: each takes a launch's work entries one after the other --------------------------------------------------------------------------- */
/* The barrier between two entries of a kernel that adds up stands first in its text. Without it what the executor says ends up in stub->finding. */
static void without_a_barrier(optc_gpu *gpu, optc_rule *code, optc_rule *ptx, const char *kernel) {
  optc_gpu_desc changed = *optc_rule_gpu(ptx);
  optc_gpu_target_desc target = changed.targets[0];
  char *text = strdup(target.text), *at = strstr(text, kernel), *barrier = at ? strstr(at, "bar.sync") : NULL;
  CU_ASSERT_PTR_NOT_NULL_FATAL(barrier);
  memset(barrier, ' ', strcspn(barrier, ";") + 1);
  target.text = text;
  target.key++;                          /* another module */
  changed.targets = &target;
  There there = {.gpu = gpu, .desc = ptx->desc, .code = &changed};
  DrillRule form = drill_rule(code), executed = {ptx->desc, call_there, workspace_there, &there, layout_there};
  Trial *t = trial_new(&form, &(TrialPlan){.seed = 1, .steps = 1});
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  trial_run(t, &executed, &(DrillWay){0});
  trial_free(t);
  free(text);
}

static void blocks_that_take_several_work_entries(void) {
  static const ShippedRule rules[] = {{"rules/lamb.opt", "lamb"}, {"rules/clip.opt", "clip_adamw_amp"}, {"rules/adafactor.opt", "adafactor"}, {"rules/muon.opt", "muon"}};
  optc_gpu *gpu = open_gpu();
  stub->most_blocks = 1;
  for (int i = 0; i < COUNT(rules); i++) {
    optc_rule *code = compile(rules[i].path, rules[i].name, OPTC_BACKEND_JIT), *ptx = compile(rules[i].path, rules[i].name, OPTC_BACKEND_PTX);
    bits_agree(rules[i].name, code, &(There){.gpu = gpu, .desc = ptx->desc, .code = optc_rule_gpu(ptx)});
    CU_ASSERT_STRING_EQUAL(stub->finding, "");
    if (!i) {
      without_a_barrier(gpu, code, ptx, ".entry lamb_step_phase_0");
      CU_ASSERT_PTR_NOT_NULL(strstr(stub->finding, "race in shared memory"));
      stub->finding[0] = 0;
    }
    optc_rule_free(code);
    optc_rule_free(ptx);
  }
  stub->most_blocks = 0;
  everything_is_given_back(gpu);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(every_rule_gives_the_bits_of_machine_code),
    TEST(small_windows_keep_the_bits),
    TEST(blocks_that_take_several_work_entries),
  };
  return suite_run_with("rules on a GPU", tests, cuda_enter, cuda_leave);
}
