/* runtime_random_test.c: numbers made from the seed: what a rule makes again in each of its entries is what a host would have stored. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

enum { N = 70001, ITEMS = 2, HYPERS = 3, MOST = 8 };
static const double hypers[HYPERS] = {0.01, 0.25, 0.125};                /* lr, eps, decay */

typedef struct Model { float *p[ITEMS], *z[ITEMS]; int64_t t; } Model;

static optc_rule *compile(const char *name) {
  optc_compile_options options = {.size = sizeof options, .level = 2, .rule = name};
  optc_context *cx = fixture_context();
  optc_rule *rule;
  CU_ASSERT_EQUAL_FATAL(optc_compile_file(cx, "rules/mezo.opt", &options, &rule), OPTC_OK);
  optc_context_free(cx);
  return rule;
}

static Model model_new(void) {
  Model m = {.t = 7};
  for (int i = 0; i < ITEMS; i++) {
    m.p[i] = calloc(N, sizeof(float));
    m.z[i] = calloc(N, sizeof(float));
  }
  return m;
}

static void model_free(Model *m) { for (int i = 0; i < ITEMS; i++) { free(m->p[i]); free(m->z[i]); } }

/* Operands by name: tensors p, and z by any of its names; numbers of the call. */
static void call(Model *m, optc_rule *rule, const char *entry, uint64_t seed, const double *h) {
  static int64_t shape[] = {N};
  DLTensor tensor[ITEMS][MOST], *pointer[ITEMS][MOST] = {{NULL}};
  optc_item_args items[ITEMS];
  double scalar[ITEMS][MOST], global[MOST] = {0};
  const double *groups[1] = {h};
  int n = optc_rule_operands(rule);
  CU_ASSERT_FATAL(n <= MOST);
  for (int i = 0; i < ITEMS; i++) {
    for (int k = 0; k < n; k++) {
      optc_operand_info o;
      CU_ASSERT_EQUAL_FATAL(optc_rule_operand(rule, k, &o), OPTC_OK);
      bool is_z = o.name[0] == 'z';
      scalar[i][k] = i;                  /* decays */
      if (!strcmp(o.name, "loss_plus")) global[k] = 3;
      if (!strcmp(o.name, "loss_minus")) global[k] = 2.5;
      if (!is_z && strcmp(o.name, "p")) continue;
      tensor[i][k] = (DLTensor){.data = is_z ? m->z[i] : m->p[i], .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = shape};
      pointer[i][k] = &tensor[i][k];
    }
    items[i] = (optc_item_args){.tensor = pointer[i], .scalar = scalar[i]};
  }
  optc_error error = {0};
  optc_call_args args = {.size = sizeof args, .groups = groups, .n_groups = 1, .items = items, .n_items = ITEMS, .global_scalar = global, .t = &m->t, .seed = seed, .error = &error};
  CU_ASSERT_EQUAL(optc_rule_call(rule, optc_rule_entry(rule, entry), &args), OPTC_OK);
  if (error.code) printf("%s: %s\n", entry, error.text);
}

static void a_perturbation_made_again_is_the_one_that_a_host_would_store(void) {
  optc_rule *seeded = compile("mezo_seeded"), *stored = compile("mezo");
  Model made = model_new(), kept = model_new(), other = model_new();
  call(&made, seeded, "plus", 99, (const double[]){0, 1, 0});             /* 0 + 1*z */
  for (int i = 0; i < ITEMS; i++)
    for (int k = 0; k < N; k++) {
      kept.z[i][k] = made.p[i][k];
      made.p[i][k] = kept.p[i][k] = other.p[i][k] = (float)(k % 1000)*1e-3f - 0.5f;
    }
  CU_ASSERT(memcmp(kept.z[0], kept.z[1], N*sizeof(float)));               /* each tensor has its own */
  static const char *const entry[] = {"plus", "minus", "update"};
  for (int e = 0; e < 3; e++) {
    call(&made, seeded, entry[e], 99, hypers);
    call(&kept, stored, e == 2 ? "step" : entry[e], 0, hypers);
    for (int i = 0; i < ITEMS; i++) CU_ASSERT(!memcmp(made.p[i], kept.p[i], N*sizeof(float)));
  }
  call(&made, seeded, "step", 99, hypers);
  CU_ASSERT_EQUAL(made.t, 8);
  for (int i = 0; i < ITEMS; i++) memset(other.p[i], 0, N*sizeof(float));
  other.t = made.t;
  call(&other, seeded, "plus", 99, (const double[]){0, 1, 0});
  CU_ASSERT(memcmp(other.p[0], kept.z[0], N*sizeof(float)));              /* the next step has another */
  double sum = 0, squares = 0;
  for (int k = 0; k < N; k++) { sum += kept.z[0][k]; squares += (double)kept.z[0][k]*kept.z[0][k]; }
  CU_ASSERT(fabs(sum/N) < 0.02 && fabs(squares/N - 1) < 0.03);
  model_free(&made);
  model_free(&kept);
  model_free(&other);
  optc_rule_free(seeded);
  optc_rule_free(stored);
}

int main(void) {
  static const SuiteTest tests[] = {TEST(a_perturbation_made_again_is_the_one_that_a_host_would_store)};
  return suite_run("random numbers", tests);
}
