/* runtime_rows_test.c: rules that reduce along rows and columns give the bits of -O0, whatever the lengths of their axes beside lanes, blocks, strips and
 * chunks, with every number of threads and width of vectors. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "passes/pass.h"
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"
#include "tests/support/team.h"
#include "tests/support/trial.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
enum { WIDTHS = 3 };
static const int lanes[WIDTHS] = {4, 8, 16}, threads[] = {1, 2, 3, 8};

/* The default passes, with vectors of some width. */
static const char *pipeline(int width) {
  static char text[1024];
  size_t at = 0;
  for (unsigned k = 0; k < n_pass_order; k++) {
    const Pass *p = pass_order[k];
    if (p->since > 2 && !p->required) continue;
    at += (size_t)snprintf(text + at, sizeof text - at, at ? ",%s" : "%s", p->name);
    if (p->takes & PASS_TAKES_UNROLL) at += (size_t)snprintf(text + at, sizeof text - at, "(lanes=%d,unroll=2)", width);
  }
  return text;
}

static optc_rule *compile(const ShippedRule *r, int level, const char *list) {
  optc_compile_options options = {.size = sizeof options, .level = level, .rule = r->name, .passes = list, .verify_each = true};
  return shipped_compile(r, &options);
}

static bool has_tiles(const optc_rule_desc *d) {
  for (int64_t e = 0; e < d->n_entries; e++)
    for (int64_t k = 0; k < d->entries[e].n_kernels; k++) if (d->entries[e].kernels[k].launch == LAUNCH_TILE) return true;
  return false;
}

static void agrees(Trial *t, const ShippedRule *r, optc_rule *rule, int width, int team_size, Order order) {
  DrillRule form = drill_rule(rule);
  Team team = {.threads = team_size, .order = order};
  optc_parallel parallel = {run_team, &team};
  trial_run(t, &form, &(DrillWay){.parallel = &parallel});
  const char *difference = trial_difference(t);
  if (!difference) return;
  printf("\n%s, %d lanes, %d threads: %s\n%s\n", r->name, width, team_size, difference, trial_shapes(t));
  CU_FAIL("bits differ");
}

/* 1, 2, 15, 16, 17, 257, 1023, 1025 as rows and as columns; several strips and blocks; rows shorter and longer than what is staged; rows
 * beside the units of lanes (128) and four lanes (64). */
static const TrialShape shapes[][TRIAL_ITEMS] = {
  {{2, {1, 1025}}, {2, {1025, 2}}, {2, {15, 17}}, {1, {1025}}}, {{2, {257, 16}}, {2, {2, 257}}, {2, {1023, 1}}, {3, {3, 17, 15}}},
  {{2, {16, 1023}}, {2, {17, 257}}, {3, {2, 1, 300}}, {2, {1, 1}}}, {{2, {1100, 300}}, {2, {15, 4500}}, {0, {0}}, {4, {2, 3, 5, 7}}},
  {{2, {127, 40}}, {2, {128, 33}}, {3, {3, 130, 17}}, {2, {2200, 18}}}, {{3, {2, 1025, 3}}, {2, {200, 1500}}, {2, {1040, 64}}, {2, {961, 1}}},
};
static int found, runs, slow;

static double cpu(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return (double)t.tv_sec + 1e-9*(double)t.tv_nsec; }

/* Work that grows with the cube of an axis is left to other suites: it shows where axes are still short. */
static bool is_slow(const DrillRule *form, int sizes) {
  TrialPlan plan = {.steps = 1, .n_items = 1, .item = {{2, {64, 48}}}};
  double start = cpu();
  Trial *t = trial_new(form, sizes ? &(TrialPlan){.steps = 1, .length = 64} : &plan);
  trial_free(t);
  return cpu() - start > 0.004;
}

static void rows_of(const ShippedRule *r) {
  optc_rule *plain = compile(r, 0, NULL), *wide[WIDTHS] = {compile(r, 2, pipeline(lanes[0]))};
  if (plain && wide[0] && has_tiles(wide[0]->desc) && trial_sizes(plain->desc) <= 2) {
    DrillRule form = drill_rule(plain);
    int sizes = trial_sizes(plain->desc);
    bool quick = !is_slow(&form, sizes);
    found++;
    slow += !quick;
    for (int w = 1; w < WIDTHS && quick; w++) wide[w] = compile(r, 2, pipeline(lanes[w]));
    for (int k = 0; k < COUNT(shapes) && quick; k++) {
      static const int64_t length[] = {1025, 257, 16, 1, 130, 961};
      TrialPlan plan = {.seed = (uint64_t)k, .steps = 1, .n_items = TRIAL_ITEMS};
      memcpy(plan.item, shapes[k], sizeof plan.item);
      if (sizes) plan = (TrialPlan){.seed = (uint64_t)k, .steps = 1, .long_size = k%sizes, .length = length[k]};
      Trial *t = trial_new(&form, &plan);
      if (!t) continue;
      trial_keep(t);
      for (int w = 0; w < WIDTHS; w++) if (wide[w]) agrees(t, r, wide[w], lanes[w], threads[(k + w)%COUNT(threads)], (Order)((k + w)%3));
      runs++;
      trial_free(t);
    }
  }
  optc_rule_free(plain);
  for (int w = 0; w < WIDTHS; w++) optc_rule_free(wide[w]);
}

static void rows_and_columns_of_any_length_agree(void) {
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  const char *only = getenv("OPTC_TEST_RULE");
  for (int i = 0; i < n; i++) if (!only || !strcmp(only, rules[i].name)) rows_of(&rules[i]);
  printf("\n%d rules, %d lists; %d rules were left out for time\n", found, runs, slow);
  CU_ASSERT(only || (found >= 15 && runs >= 30));
}

int main(void) {
  static const SuiteTest tests[] = {TEST(rows_and_columns_of_any_length_agree)};
  return suite_run("rows and columns", tests);
}
