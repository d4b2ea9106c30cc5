/* runtime_trial_test.c: the bit contract for rules of any shapes: every rule that ships, all its entries, on made-up data that fits it, gives the same bits
 * from both interpreters and from machine code at every level and number of threads; also with axes and tensors that cross blocks and chunks. */
#define _GNU_SOURCE
#include <math.h>
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
  optc_compile_options options = {.size = sizeof options, .level = forms[form].level, .backend = forms[form].backend, .rule = r->name};
  return shipped_compile(r, &options);
}

/* One rule and what all tests share of it: its forms, compiled when one is asked for. */
enum { MOST = 512 };
typedef struct Subject { const ShippedRule *rule; optc_rule *form[N_FORMS]; bool failed; } Subject;
static Subject subjects[MOST];

static optc_rule *form_of(Subject *s, Form f) {
  if (!s->form[f] && !s->failed) s->failed = !(s->form[f] = compile(s->rule, f));
  return s->form[f];
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

static void for_all_rules(void (*test)(Subject *)) {
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  CU_ASSERT_FATAL(n >= 200 && n <= MOST);
  const char *only = getenv("OPTC_TEST_RULE");
  for (int i = 0; i < n; i++) {
    double start = cpu();
    subjects[i].rule = &rules[i];
    if (only && strcmp(only, rules[i].name)) continue;
    test(&subjects[i]);
    if (getenv("OPTC_TEST_TIMES") && cpu() - start > 0.5) printf("\n%s: %.1f s\n", rules[i].name, cpu() - start);
  }
}

static int left_out;

static void small(Subject *s) {
  const char *name = s->rule->name;
  optc_rule *rule[N_FORMS];
  for (int f = 0; f < N_FORMS; f++) if (!(rule[f] = form_of(s, (Form)f))) return;
  for (uint64_t seed = 0; seed < 4; seed++) {
    TrialPlan plan = {.seed = seed, .data = seed < 2 ? TRIAL_MODERATE : seed < 3 ? TRIAL_SPECIAL : TRIAL_ANY_BITS, .steps = 3};
    Trial *t = trial_of(rule[CODE_0], &plan);
    if (!t) {
      if (seed) continue;
      printf("\n%s: no data was found that it takes\n", name);
      left_out++;
      break;
    }
    for (int f = 0; f < N_FORMS; f++) if (f != KERNELS || seed == 1) agrees(t, name, rule[f], &plain, forms[f].what);
    if (seed == 2) every_team(t, name, rule[CODE_0], "machine code -O0 with threads");
    if (seed < 2) every_team(t, name, rule[CODE_2], "machine code -O2 with threads");
    trial_free(t);
  }
}
static void interpreters_and_machine_code_agree_on_every_rule(void) {
  left_out = 0;
  for_all_rules(small);
  CU_ASSERT_EQUAL(left_out, 0);
}

/* --- axes beyond a block ------------------------------------------------------------------------------------------------------------------------------ */

static const int64_t lengths[] = {257, 513, 1023, 1025};
enum { N_LENGTHS = COUNT(lengths) };
static int long_axes, shorter;
static bool thorough(void) { return getenv("OPTC_TEST_ALL") != NULL; }

/* What can be long in a rule: each of its named sizes, or items: a list of them with several long axes, then one alone. */
static const struct { int n; TrialShape item[4]; } long_items[] = {       /* -1: the length */
  {4, {{2, {-1, 3}}, {2, {2, -1}}, {1, {-1}}, {1, {1023}}}}, {1, {{1, {-1}}}}, {1, {{2, {-1, 3}}}}, {1, {{2, {2, -1}}}},
};
static TrialPlan long_plan(int sizes, int which, int64_t length) {
  TrialPlan plan = {.steps = 1, .long_size = which, .length = length};
  if (sizes) return plan;
  plan = (TrialPlan){.steps = which ? 1 : 2, .n_items = long_items[which].n};
  memcpy(plan.item, long_items[which].item, sizeof plan.item);
  for (int i = 0; i < plan.n_items; i++) for (int a = 0; a < 2; a++) if (plan.item[i].axis[a] < 0) plan.item[i].axis[a] = length;
  return plan;
}

/* What the graph interpreter would need: from what it needs for 17 and for 33, growing on as it does between them. */
static double foreseen(Subject *s, int sizes, int which, int64_t length) {
  double seconds[2] = {0};
  for (int k = 0; k < 2; k++) {
    TrialPlan plan = long_plan(sizes, which, k ? 33 : 17);
    if (plan.n_items == 4) plan.item[3].axis[0] = 1;
    Trial *t = trial_of(form_of(s, CODE_2), &plan);
    if (!t) return HUGE_VAL;
    double start = cpu();
    agrees(t, s->rule->name, form_of(s, GRAPH), &plain, "axis beyond a lane, graph interpreter");
    seconds[k] = cpu() - start;
    trial_free(t);
  }
  double factor = seconds[1]/seconds[0], growth = factor > 2 ? log2(factor) : 1;
  return seconds[1]*pow((double)length/33, growth);
}

static bool long_axis(Subject *s, int sizes, int which, int64_t length) {
  TrialPlan plan = long_plan(sizes, which, length);
  Trial *t = trial_of(form_of(s, CODE_2), &plan);
  if (!t) return false;
  agrees(t, s->rule->name, form_of(s, CODE_0), &plain, "long axis, machine code -O0");
  agrees(t, s->rule->name, form_of(s, GRAPH), &plain, "long axis, graph interpreter");
  every_team(t, s->rule->name, form_of(s, CODE_2), "long axis, machine code -O2 with threads");
  trial_free(t);
  return true;
}

/* One axis of each rule beyond a block, the others small: which one and how long goes round with the rules, but past those that take the interpreter too long
 * (work that grows with the square or the cube of an axis). OPTC_TEST_ALL: every axis with every length. */
static void long_axes_of(Subject *s) {
  static const double enough = 0.1;
  static int turn;
  if (!form_of(s, CODE_0) || !form_of(s, CODE_2) || !form_of(s, GRAPH)) return;
  int sizes = trial_sizes(form_of(s, CODE_2)->desc), choices = sizes ? sizes : COUNT(long_items), first = sizes ? turn : 0, best = -1;
  int64_t length = lengths[turn++%N_LENGTHS];
  double least = HUGE_VAL;
  for (int k = 0; k < N_LENGTHS*choices && thorough(); k++) long_axes += long_axis(s, sizes, k%choices, lengths[k/choices]);
  if (thorough()) return;
  for (int k = 0; k < choices && least > enough; k++) {
    int which = (first + k)%choices;
    double seconds = foreseen(s, sizes, which, length);
    if (seconds >= least) continue;
    least = seconds;
    best = which;
  }
  if (least > enough && length > lengths[0]) { shorter++; length = lengths[0]; }
  if (best >= 0 && long_axis(s, sizes, best, length)) long_axes++;
  else printf("\n%s: no long axis fits\n", s->rule->name);
}
static void axes_beyond_a_block_agree(void) {
  int n;
  shipped_rules(&n);
  long_axes = shorter = 0;
  for_all_rules(long_axes_of);
  printf("\n%d long axes, %d of them no longer than 257 for time\n", long_axes, shorter);
  CU_ASSERT(getenv("OPTC_TEST_RULE") || long_axes >= n);
}

/* --- tensors beyond a chunk ------------------------------------------------------------------------------------------------------------------------------ */

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

static void large(Subject *s, int64_t elements, const char *what, bool interpreted) {
  TrialPlan plan = {.steps = 1, .n_items = 2, .item = {{1, {elements}}, {1, {5}}}, .exact = true};
  Trial *t = form_of(s, GRAPH) && form_of(s, CODE_0) ? trial_of(form_of(s, CODE_2), &plan) : NULL;
  if (!t) return;
  char text[96];
  snprintf(text, sizeof text, "%s, machine code -O0 with threads", what);
  every_team(t, s->rule->name, form_of(s, CODE_0), text);
  snprintf(text, sizeof text, "%s, machine code -O2 with threads", what);
  every_team(t, s->rule->name, form_of(s, CODE_2), text);
  snprintf(text, sizeof text, "%s, graph interpreter", what);
  if (interpreted) agrees(t, s->rule->name, form_of(s, GRAPH), &plain, text);
  trial_free(t);
}

static void beyond_a_chunk(Subject *s) {
  optc_rule *fast = form_of(s, CODE_2);
  if (fast && like_items(fast->desc)) large(s, 65537, "65,537 elements", true);
}
static void tensors_beyond_a_chunk_agree(void) { for_all_rules(beyond_a_chunk); }

/* 48 chunks: for rules that add over chunks; all with OPTC_TEST_ALL. */
static int many_chunks;
static void millions(Subject *s) {
  optc_rule *fast = form_of(s, CODE_2);
  if (!fast || !like_items(fast->desc)) return;
  bool adds = false;
  for (int64_t e = 0; e < fast->desc->n_entries; e++) adds |= fast->desc->entries[e].n_phases > 1;
  if (!adds && !thorough()) return;
  large(s, 3 << 20, "3 Mi elements", many_chunks%8 == 0);
  many_chunks++;
}
static void tensors_of_three_million_elements_agree(void) {
  for_all_rules(millions);
  printf("\n%d rules\n", many_chunks);
  CU_ASSERT(getenv("OPTC_TEST_RULE") || many_chunks >= 20);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(interpreters_and_machine_code_agree_on_every_rule), TEST(axes_beyond_a_block_agree), TEST(tensors_beyond_a_chunk_agree), TEST(tensors_of_three_million_elements_agree),
  };
  int failed = suite_run("rules of any shapes", tests);
  for (int i = 0; i < MOST; i++) for (int f = 0; f < N_FORMS; f++) if (subjects[i].form[f]) optc_rule_free(subjects[i].form[f]);
  return failed;
}
