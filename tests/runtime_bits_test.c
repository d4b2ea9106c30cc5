/* runtime_bits_test.c: the bit contract on this machine: every rule that ships gives the same bits from both interpreters and from machine code, whatever
 * the passes, vector width, threads, cuts of the work and floating-point environment of the caller. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/float_environment.h"
#include "tests/support/suite.h"
#include "tests/support/team.h"
#include "tests/support/usual_passes.h"

static const int64_t long_list[] = {1, 15, 16, 17, 33, 1000, 65535, 0, 65536, 65537, 200003};
static const int64_t short_list[] = {1, 15, 16, 17, 33, 0, 1000, 65537};
#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
static const DrillPlan long_plan = {.counts = long_list, .n_items = COUNT(long_list), .n_groups = 2, .steps = 3};
static const DrillWay plain = {0};

static optc_rule *compile_in(const ShippedRule *r, int backend, int level, const char *passes, bool f64) {
  optc_compile_options options = {.size = sizeof options, .level = level, .backend = backend, .passes = passes, .rule = r->name, .verify_each = true,
                                  .compute_f64 = f64};
  return shipped_compile(r, &options);
}

static optc_rule *compile(const ShippedRule *r, int backend, int level, const char *passes) { return compile_in(r, backend, level, passes, false); }

static bool same(Drill *d, const ShippedRule *r, optc_rule *rule, const DrillWay *way, const char *what) {
  DrillRule form = drill_rule(rule);
  drill_run(d, &form, way);
  const char *difference = drill_difference(d);
  if (difference) {
    printf("\n%s, %s: %s\n", r->name, what, difference);
    CU_FAIL("bits differ");
  }
  return !difference;
}

/* A drill whose kept outcome is that of one form. */
static Drill *drill_of(optc_rule *rule, const DrillPlan *plan, const DrillWay *way, const char *name) {
  DrillRule form = drill_rule(rule);
  Drill *d = drill_new(&form, plan);
  CU_ASSERT_PTR_NOT_NULL_FATAL(d);
  drill_run(d, &form, way);
  drill_keep(d);
  const char *trouble = drill_difference(d);
  if (trouble) {
    printf("\n%s: %s\n", name, trouble);
    CU_FAIL("the drill itself fails");
  }
  return d;
}

/* --- the suites ------------------------------------------------------------------------------------------------------------------------------- */
/* Rules that go element by element; runtime_trial_test.c has the others. */
static void for_all_rules(void (*test)(const ShippedRule *)) {
  static bool elementwise[256], looked;
  int n, found = 0;
  const ShippedRule *rules = shipped_rules(&n);
  const char *only = getenv("OPTC_TEST_RULE");
  for (int i = 0; i < n && !looked; i++) {
    optc_rule *rule = compile(&rules[i], OPTC_BACKEND_KERNEL, 2, NULL);
    elementwise[i] = rule && drill_elementwise(rule->desc);
    optc_rule_free(rule);
  }
  looked = true;
  for (int i = 0; i < n; i++) found += elementwise[i];
  CU_ASSERT(found >= 30);
  for (int i = 0; i < n; i++) if (elementwise[i] && (!only || !strcmp(only, rules[i].name))) test(&rules[i]);
}

static void check_forms(const ShippedRule *r) {
  static const struct { int backend, level; const char *what; } forms[] = {
    {OPTC_BACKEND_KERNEL, 0, "kernel interpreter -O0"}, {OPTC_BACKEND_KERNEL, 1, "kernel interpreter -O1"}, {OPTC_BACKEND_KERNEL, 2, "kernel interpreter -O2"},
    {OPTC_BACKEND_JIT, 0, "machine code -O0"}, {OPTC_BACKEND_JIT, 1, "machine code -O1"}, {OPTC_BACKEND_JIT, 2, "machine code -O2"},
  };
  optc_rule *graph = compile(r, OPTC_BACKEND_GRAPH, 2, NULL);
  if (!graph) return;
  DrillPlan plan = long_plan;
  Drill *d = drill_of(graph, &plan, &plain, r->name);
  for (int i = 0; i < COUNT(forms); i++) {
    optc_rule *rule = compile(r, forms[i].backend, forms[i].level, NULL);
    if (rule) same(d, r, rule, &plain, forms[i].what);
    optc_rule_free(rule);
  }
  drill_free(d);
  optc_rule_free(graph);
}
static void graph_kernels_and_machine_code_agree_at_every_level(void) { for_all_rules(check_forms); }

/* Other hyper-parameters, arbitrary bits, a late step, arithmetic in f64: less data, more of these. */
static void check_settings(const ShippedRule *r) {
  static const struct { int backend, level; const char *what; } forms[] = {
    {OPTC_BACKEND_KERNEL, 2, "other hyper-parameters, kernel interpreter"}, {OPTC_BACKEND_JIT, 0, "other hyper-parameters, machine code -O0"},
    {OPTC_BACKEND_JIT, 2, "other hyper-parameters, machine code -O2"},
  };
  static const int64_t counts[] = {1, 17, 333, 40, 5, 64};
  for (int f64 = 0; f64 < 2; f64++) {
    optc_rule *graph = compile_in(r, OPTC_BACKEND_GRAPH, 2, NULL, f64), *rule[COUNT(forms)];
    for (int i = 0; i < COUNT(forms); i++) rule[i] = compile_in(r, forms[i].backend, forms[i].level, NULL, f64);
    for (uint64_t seed = 1; seed <= 10 && graph; seed++) {
      DrillPlan plan = {.counts = counts, .n_items = COUNT(counts), .n_groups = 3, .steps = 4, .seed = seed, .any_bits = seed%4 == 0};
      Drill *d = drill_of(graph, &plan, &plain, r->name);
      for (int i = 0; i < COUNT(forms); i++) if (rule[i]) same(d, r, rule[i], &plain, forms[i].what);
      drill_free(d);
    }
    optc_rule_free(graph);
    for (int i = 0; i < COUNT(forms); i++) optc_rule_free(rule[i]);
  }
}
static void whatever_the_hyper_parameters_the_data_and_the_arithmetic(void) { for_all_rules(check_settings); }

static void check_widths(const ShippedRule *r) {
  optc_rule *base = compile(r, OPTC_BACKEND_JIT, 0, NULL);
  if (!base) return;
  Drill *d = drill_of(base, &long_plan, &plain, r->name);
  for (int lanes = 1; lanes <= 16; lanes = lanes == 1 ? 4 : lanes*2)
    for (int unroll = 1; unroll <= 4; unroll *= 2) {
      char passes[512], last[64] = "";
      if (lanes == 1 && unroll > 1) continue;
      if (lanes > 1) snprintf(last, sizeof last, ",vectorise(lanes=%d,unroll=%d)", lanes, unroll);
      usual_passes(passes, sizeof passes, last);
      optc_rule *rule = compile(r, OPTC_BACKEND_JIT, 2, passes);
      if (rule) same(d, r, rule, &plain, lanes == 1 ? "scalar code" : strrchr(passes, 'v'));
      optc_rule_free(rule);
    }
  drill_free(d);
  optc_rule_free(base);
}
static void scalar_code_and_every_vector_width_agree(void) { for_all_rules(check_widths); }

static void check_threads(const ShippedRule *r) {
  static const int threads[] = {1, 2, 3, 8};
  static const int levels[] = {2, 0};
  for (int l = 0; l < 2; l++) {
    optc_rule *rule = compile(r, OPTC_BACKEND_JIT, levels[l], NULL);
    if (!rule) return;
    Drill *d = drill_of(rule, &long_plan, &plain, r->name);
    for (int i = 0; i < COUNT(threads); i++)
      for (int order = FORWARDS; order <= SHUFFLED; order++) {
        Team team = {.threads = threads[i], .order = (Order)order};
        optc_parallel parallel = {run_team, &team};
        char what[64];
        snprintf(what, sizeof what, "%d threads, order %d, -O%d", threads[i], order, levels[l]);
        same(d, r, rule, &(DrillWay){.parallel = &parallel}, what);
        CU_ASSERT_FALSE(team.failed);
      }
    drill_free(d);
    optc_rule_free(rule);
  }
}
static void every_number_of_threads_and_order_of_chunks_agree(void) { for_all_rules(check_threads); }

static void check_cuts(const ShippedRule *r) {
  optc_rule *rule = compile(r, OPTC_BACKEND_JIT, 2, NULL), *simple = compile(r, OPTC_BACKEND_JIT, 0, NULL);
  if (!rule || !simple) return;
  Drill *d = drill_of(rule, &long_plan, &plain, r->name);
  Team team = {.threads = 3, .order = BACKWARDS};
  optc_parallel parallel = {run_team, &team};
  same(d, r, rule, &(DrillWay){.cut = DRILL_LISTS}, "list in two calls");
  same(d, r, rule, &(DrillWay){.cut = DRILL_SHARDS}, "shards");
  same(d, r, rule, &(DrillWay){.cut = DRILL_SHARDS, .parallel = &parallel}, "shards with threads");
  same(d, r, simple, &(DrillWay){.cut = DRILL_LISTS}, "list in two calls, -O0");
  same(d, r, simple, &(DrillWay){.cut = DRILL_SHARDS}, "shards, -O0");
  drill_free(d);
  optc_rule_free(rule);
  optc_rule_free(simple);
}
static void parts_of_the_list_and_shards_equal_the_whole(void) { for_all_rules(check_cuts); }

static void check_environment(const ShippedRule *r) {
  static const struct { int backend, level; } forms[] = {{OPTC_BACKEND_JIT, 2}, {OPTC_BACKEND_JIT, 0}, {OPTC_BACKEND_KERNEL, 2}, {OPTC_BACKEND_GRAPH, 2}};
  Team team = {.threads = 3, .order = SHUFFLED};
  optc_parallel parallel = {run_team, &team};
  DrillPlan plan = {.counts = short_list, .n_items = COUNT(short_list), .n_groups = 2, .steps = 2};
  optc_rule *base = compile(r, OPTC_BACKEND_JIT, 1, NULL);
  if (!base) return;
  Drill *d = drill_of(base, &plan, &plain, r->name);
  for (int i = 0; i < COUNT(forms); i++) {
    optc_rule *rule = compile(r, forms[i].backend, forms[i].level, NULL);
    if (!rule) continue;
    same(d, r, rule, &(DrillWay){.hostile = true}, i < 2 ? "flushing and rounding upwards, machine code" : "flushing and rounding upwards, interpreter");
    same(d, r, rule, &(DrillWay){.hostile = true, .parallel = &parallel}, "flushing and rounding upwards, threads");
    optc_rule_free(rule);
  }
  drill_free(d);
  optc_rule_free(base);
}
static void flushing_and_upward_rounding_of_the_caller_change_nothing(void) { for_all_rules(check_environment); }

/* Reading numbers, folding and interpreting while compiling: none of it may see the caller's environment either. */
static void check_compiling(const ShippedRule *r) {
  static const int backends[] = {OPTC_BACKEND_JIT, OPTC_BACKEND_GRAPH, OPTC_BACKEND_KERNEL};
  static const int64_t counts[] = {1, 17, 333};
  DrillPlan plan = {.counts = counts, .n_items = COUNT(counts), .n_groups = 2, .steps = 2, .seed = 2};
  for (int i = 0; i < COUNT(backends); i++) {
    optc_rule *kind = compile(r, backends[i], 2, NULL);
    if (!kind) return;
    Drill *d = drill_of(kind, &plan, &plain, r->name);
    float_environment_set(FLOAT_HOSTILE);
    optc_rule *rule = compile(r, backends[i], 2, NULL);
    uint64_t control = float_environment();
    float_environment_set(FLOAT_USUAL);
    CU_ASSERT_EQUAL(control, FLOAT_HOSTILE);
    if (rule) same(d, r, rule, &plain, "compiled while flushing and rounding upwards");
    for (int64_t k = 0; rule && k < kind->desc->n_hypers; k++) CU_ASSERT_EQUAL(rule->desc->hypers[k].value, kind->desc->hypers[k].value);
    optc_rule_free(rule);
    drill_free(d);
    optc_rule_free(kind);
  }
}
static void a_rule_compiled_while_flushing_and_rounding_upwards_is_the_same(void) { for_all_rules(check_compiling); }

int main(void) {
  static const SuiteTest tests[] = {
    TEST(graph_kernels_and_machine_code_agree_at_every_level), TEST(whatever_the_hyper_parameters_the_data_and_the_arithmetic), TEST(scalar_code_and_every_vector_width_agree),
    TEST(every_number_of_threads_and_order_of_chunks_agree), TEST(parts_of_the_list_and_shards_equal_the_whole),
    TEST(flushing_and_upward_rounding_of_the_caller_change_nothing), TEST(a_rule_compiled_while_flushing_and_rounding_upwards_is_the_same),
  };
  return suite_run("bit contract", tests);
}
