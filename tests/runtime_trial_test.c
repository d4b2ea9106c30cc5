/* runtime_trial_test.c: the bit contract for rules of any shapes: every rule that ships, all its entries, on made-up data that fits it, gives the same bits
 * from both interpreters and from machine code at every level and number of threads; also with axes and tensors that cross blocks and chunks. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"
#include "tests/support/team.h"
#include "tests/support/trial.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
static const DrillWay plain = {0};

typedef enum Form { GRAPH, KERNELS, CODE_0, CODE_2, N_FORMS } Form;
static const struct { int backend, level; const char *what; } forms[N_FORMS] = {
  {OPTC_BACKEND_GRAPH, 2, "graph interpreter"}, {OPTC_BACKEND_KERNEL, 0, "kernel interpreter -O0"}, {OPTC_BACKEND_JIT, 0, "machine code -O0"},
  {OPTC_BACKEND_JIT, 2, "machine code -O2"},
};

static optc_rule *compile(const ShippedRule *r, Form form) {
  optc_context *cx = fixture_context();
  optc_compile_options options = {.size = sizeof options, .level = forms[form].level, .backend = forms[form].backend, .rule = r->name};
  optc_rule *rule;
  if (optc_compile_file(cx, r->path, &options, &rule)) {
    printf("\n%s: %s", r->name, optc_context_diagnostics(cx));
    CU_FAIL("a rule does not compile");
  }
  optc_context_free(cx);
  return rule;
}

static double cpu(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return (double)t.tv_sec + 1e-9*(double)t.tv_nsec; }

static void agrees(Trial *t, const char *name, optc_rule *rule, const DrillWay *way, const char *what) {
  DrillRule form = drill_rule(rule);
  double start = cpu();
  trial_run(t, &form, way);
  double seconds = cpu() - start;
  if (seconds > 1 && getenv("OPTC_TEST_TIMES")) printf("\n%s, %s: %.1f s:%s\n", name, what, seconds, trial_shapes(t));
  const char *difference = trial_difference(t);
  if (!difference) return;
  printf("\n%s, %s: %s\n%s\n", name, what, difference, trial_shapes(t));
  CU_FAIL("bits differ");
}

static Trial *trial_of(optc_rule *rule, const TrialPlan *plan) {
  DrillRule form = drill_rule(rule);
  Trial *t = trial_new(&form, plan);
  if (t) trial_keep(t);
  return t;
}

static const int threads[] = {2, 3};
static void every_team(Trial *t, const char *name, optc_rule *rule, const char *what) {
  for (int i = 0; i < COUNT(threads); i++) {
    Team team = {.threads = threads[i], .order = i ? SHUFFLED : BACKWARDS};
    optc_parallel parallel = {run_team, &team};
    agrees(t, name, rule, &(DrillWay){.parallel = &parallel, .hostile = i == 1}, what);
    CU_ASSERT_FALSE(team.failed);
  }
}

static void for_all_rules(void (*test)(const ShippedRule *)) {
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  CU_ASSERT(n >= 200);
  const char *only = getenv("OPTC_TEST_RULE");
  for (int i = 0; i < n; i++) {
    double start = cpu();
    if (!only || !strcmp(only, rules[i].name)) test(&rules[i]);
    if (getenv("OPTC_TEST_TIMES") && cpu() - start > 0.5) printf("\n%s: %.1f s\n", rules[i].name, cpu() - start);
  }
}

static int left_out;

static void small(const ShippedRule *r) {
  optc_rule *rule[N_FORMS];
  for (int f = 0; f < N_FORMS; f++) rule[f] = compile(r, (Form)f);
  for (uint64_t seed = 0; seed < 4 && rule[CODE_0]; seed++) {
    TrialPlan plan = {.seed = seed, .data = seed < 2 ? TRIAL_MODERATE : seed < 3 ? TRIAL_SPECIAL : TRIAL_ANY_BITS, .steps = 3};
    Trial *t = trial_of(rule[CODE_0], &plan);
    if (!t) {
      if (seed) continue;
      printf("\n%s: no data was found that it takes\n", r->name);
      left_out++;
      break;
    }
    for (int f = 0; f < N_FORMS; f++) if (rule[f] && (f != KERNELS || seed == 1)) agrees(t, r->name, rule[f], &plain, forms[f].what);
    if (seed == 2) every_team(t, r->name, rule[CODE_0], "machine code -O0 with threads");
    if (rule[CODE_2] && seed < 2) every_team(t, r->name, rule[CODE_2], "machine code -O2 with threads");
    trial_free(t);
  }
  for (int f = 0; f < N_FORMS; f++) optc_rule_free(rule[f]);
}
static void interpreters_and_machine_code_agree_on_every_rule(void) {
  left_out = 0;
  for_all_rules(small);
  CU_ASSERT_EQUAL(left_out, 0);
}

static int interpreted, slow, unrun;
static double began;                     /* the long axes of all rules take minutes: without OPTC_TEST_ALL the last rules are left out after 45 s, and the output says how many */

/* Whether what machine code has just done is too much for the interpreter, which takes a hundred times as long (OPTC_TEST_ALL: nothing is). */
static bool too_slow(double start) { return cpu() - start > 0.005 && !getenv("OPTC_TEST_ALL"); }

/* Named sizes in turn beyond a block, the others small: two of a rule, which ones depends on its place in the list (all, and all four lengths, with
 * OPTC_TEST_ALL in the environment); items with one long axis. */
static void long_axes(const ShippedRule *r) {
  if (cpu() - began > 45 && !getenv("OPTC_TEST_ALL")) { unrun++; return; }
  static const int64_t lengths[] = {257, 513, 1023, 1025};
  static int turn;
  optc_rule *graph = compile(r, GRAPH), *code = compile(r, CODE_0), *fast = compile(r, CODE_2);
  int sizes = graph && code && fast ? trial_sizes(code->desc) : -1;
  int before = slow, runs = getenv("OPTC_TEST_ALL") ? 4*sizes : sizes < 2 ? sizes : 2;
  int64_t first = turn++;
  for (int k = 0; k < runs && slow == before; k++) {       /* one is enough where it is slow */
    TrialPlan plan = {.steps = 1, .long_size = (int)((first + k)%sizes), .length = lengths[(first + k/2 + k/sizes)%4]};
    Trial *t = trial_of(code, &plan);
    if (!t) continue;
    double start = cpu();
    agrees(t, r->name, fast, &plain, "long axis, machine code -O2");
    if (too_slow(start)) slow++;
    else { agrees(t, r->name, graph, &plain, "long axis, graph interpreter"); interpreted++; }
    if (k == 0) every_team(t, r->name, fast, "long axis, machine code -O2 with threads");
    trial_free(t);
  }
  TrialPlan items = {.steps = 2, .n_items = 4, .item = {{2, {257, 3}}, {2, {2, 1025}}, {1, {513}}, {1, {1023}}}};
  Trial *t = sizes == 0 ? trial_of(code, &items) : NULL;
  if (t) {
    double start = cpu();
    agrees(t, r->name, fast, &plain, "long items, machine code -O2");
    if (too_slow(start)) slow++;
    else agrees(t, r->name, graph, &plain, "long items, graph interpreter");
    every_team(t, r->name, code, "long items, machine code -O0 with threads");
    every_team(t, r->name, fast, "long items, machine code -O2 with threads");
  }
  trial_free(t);
  if (graph) optc_rule_free(graph);
  if (code) optc_rule_free(code);
  if (fast) optc_rule_free(fast);
}
static void axes_beyond_a_block_agree(void) {
  interpreted = slow = unrun = 0;
  began = cpu();
  for_all_rules(long_axes);
  printf("\n%d long axes with the graph interpreter, %d without\n", interpreted, slow);
  if (unrun) printf("skipped: long axes of %d rules, for time (OPTC_TEST_ALL=1 runs them)\n", unrun);
  CU_ASSERT(getenv("OPTC_TEST_RULE") || interpreted > 10);
}

/* Tensors beyond a chunk: only for rules whose tensors are all as the item. */
static bool like_items(const optc_rule_desc *desc) {
  bool any = false;
  for (int64_t k = 0; k < desc->n_operands; k++) {
    const optc_operand_desc *o = &desc->operands[k];
    if (o->tensor && (!o->item_shape || o->shape)) return false;
    any |= o->tensor != 0;
  }
  return any;
}

static void beyond_a_chunk(const ShippedRule *r) {
  optc_rule *code = compile(r, CODE_0), *fast, *graph;
  if (!code || !like_items(code->desc)) { optc_rule_free(code); return; }
  fast = compile(r, CODE_2);
  graph = compile(r, GRAPH);
  TrialPlan plan = {.steps = 1, .n_items = 2, .item = {{1, {65537}}, {1, {5}}}, .exact = true};
  Trial *t = trial_of(code, &plan);
  if (t && fast && graph) {
    agrees(t, r->name, fast, &plain, "65,537 elements, machine code -O2");
    agrees(t, r->name, graph, &plain, "65,537 elements, graph interpreter");
    every_team(t, r->name, code, "65,537 elements, machine code -O0 with threads");
    every_team(t, r->name, fast, "65,537 elements, machine code -O2 with threads");
  }
  trial_free(t);
  optc_rule_free(code);
  optc_rule_free(fast);
  optc_rule_free(graph);
}
static void tensors_beyond_a_chunk_agree(void) { for_all_rules(beyond_a_chunk); }

static void millions(const ShippedRule *r) {
  static const char *const few[] = {"adamw", "lamb", "adafactor", "prodigy", "lars", "adagradnorm", "sophia_g"};
  bool wanted = false;
  for (int i = 0; i < COUNT(few); i++) wanted |= !strcmp(few[i], r->name);
  if (!wanted) return;
  optc_rule *code = compile(r, CODE_0), *fast = compile(r, CODE_2), *graph = compile(r, GRAPH);
  TrialPlan plan = {.steps = 1, .n_items = 1, .item = {{1, {3 << 20}}}, .exact = true};
  Trial *t = code ? trial_of(code, &plan) : NULL;
  CU_ASSERT_PTR_NOT_NULL(t);
  if (t && fast && graph) {
    agrees(t, r->name, fast, &plain, "3 Mi elements, machine code -O2");
    every_team(t, r->name, code, "3 Mi elements, machine code -O0 with threads");
    every_team(t, r->name, fast, "3 Mi elements, machine code -O2 with threads");
    if (!strcmp(r->name, "lamb")) agrees(t, r->name, graph, &plain, "3 Mi elements, graph interpreter");
  }
  trial_free(t);
  optc_rule_free(code);
  optc_rule_free(fast);
  optc_rule_free(graph);
}
static void tensors_of_three_million_elements_agree(void) { for_all_rules(millions); }

int main(void) {
  static const SuiteTest tests[] = {
    TEST(interpreters_and_machine_code_agree_on_every_rule), TEST(axes_beyond_a_block_agree), TEST(tensors_beyond_a_chunk_agree), TEST(tensors_of_three_million_elements_agree),
  };
  return suite_run("rules of any shapes", tests);
}
