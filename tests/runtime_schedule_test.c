/* runtime_schedule_test.c: which kernels the schedule makes of small rules, what they move, and that the bits stay those of -O0. */
#define _GNU_SOURCE
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/support/drill_rules.h"
#include "tests/support/suite.h"
#include "tests/support/team.h"
#include "tests/support/trial.h"

/* kernels: in order, without their numbers; checks, layout and sizes left out. bytes: moved, of the least possible; 0: not asked. */
typedef struct Case { const char *rule, *entry, *kernels; double bytes; const char *text; } Case;

static const Case gradients[] = {
  {"linear", "backward", "pack_rows pack_columns product left_out pack_rows pack_columns product left_out", 0,
    "rule linear() { in X[B, D], W[D, E]\n out y[B, E]\n backward wrt X, W\n y = X @ W }"},
  {"turned", "backward", "pack_rows pack_columns product left_out pack_rows pack_columns product left_out", 0,
    "rule turned() { in X[D, B], W[E, D]\n out y[B, E]\n backward wrt X, W\n y = X' @ W' }"},
  {"layers", "backward", "pack_columns product pack_rows pack_columns product left_out rows pack_rows pack_columns product left_out pack_rows pack_columns product left_out", 0,
    "rule layers() { in X[B, D], W[D, H], V[H, E]\n out y[B, E]\n backward wrt W, V\n y = relu(X @ W) @ V }"},
  {"heads", "backward", "pack_rows pack_columns product left_out pack_rows pack_columns product left_out", 0,
    "rule heads() { in Q[B, H, N, D], K[B, H, M, D]\n out s[B, H, N, M]\n backward wrt Q, K\n s[b, h, i, j] = sum[d](Q[b, h, i, d]*K[b, h, j, d]) }"},
};

#define VIEWED(name, body, otherwise) "rule " name "(lr = 0.02, n: int = 3) { param p\n grad g\n if p is [R, C] { " body " } else { " otherwise " } }"
static const Case repeats[] = {
  {"normed", "step", "group first repeat item rows pack_columns product mirror pack_columns product next end phase", 0,
    VIEWED("normed", "X = g\n repeat n { X = X/(norm(X) + 1e-7); A = X @ X'; X = 1.5*X - 0.5*(A @ X) }\n p -= lr*X", "p -= lr*g")},
  {"power", "step", "group first repeat rows item rows rows item next end number phase", 0,
    VIEWED("power", "u[i < R] = 1\n repeat n { v[j < C] = sum[i](p[i, j]*u[i]); v = v/norm(v); u[i] = sum[j](p[i, j]*v[j]); u = u/norm(u) }\n s = sum[i](u[i]*u[i])\n p -= lr*g/s", "p -= lr*g")},
  {"weighed", "step", "group first first repeat pack_rows pack_columns product mirror pack_columns product next numbers end phase", 0,
    VIEWED("weighed", "X = g; a = 1.0; b = 2.0\n repeat n { A = X @ X'; c = a; a = 0.5*b; b = c; X = 1.5*X - a*(A @ X) }\n p -= lr*X", "p -= lr*g")},
  {"lengths", "step", "group first first repeat item rows item next numbers end phase", 0,
    VIEWED("lengths", "X = g; a = 1.0\n repeat n { a = a + norm(X); X = X*a; a = a - X[0, 0] + max[i, j](X[i, j]) }\n p -= lr*X", "p -= lr*g")},
  {"gradient", "backward", "group first first repeat pack_columns product item next end first first repeat rows pack_columns product pack_columns product left_out pack_rows pack_columns product left_out next next end write write", 0,
    "rule gradient(n: int = 3) { in A[M, K], B[K, K]\n out C[M, K]\n backward wrt A, B\n X = A\n repeat n { X = 0.1*tanh(X @ B) + X }\n C = X }"},
};

/* What reads a tensor at other positions is made whole before the loop that writes it. */
static const Case sweeps[] = {
  {"turned_early", "step", "group rows pack_rows pack_columns product left_out phase phase", 0,
    "rule turned_early(lr = 0.1) { param p[R, C]\n grad g\n state m = 0\n m = 0.9*m + g\n p[i, j] -= lr*sum[k](where(m[k, i] > 0, m[k, i], 0)*m[k, j]) }"},
  {"own_and_others", "step", "group rows phase join phase", 1.41,
    "rule own_and_others(lr = 0.1) { param p[R, C]\n grad g\n state m = 0\n a[i < R] = sqrt(mean[j](p[i, j]^2))\n m = where(norm(g) > 1, m, 0.9*m + g)\n p[i, j] -= lr*a[i]*(m[i, j] + p[i, j]) }"},
  {"corner", "step", "group numbers values write write", 0,
    "rule corner(lr = 0.1) { param p[R, C]\n grad g\n state scalar k = 0, x = 0\n k += 1\n x = k + p[0, 0]\n p[i, j] -= lr*(g[i, j] + p[i, j] - p[i, C - 1 - j]) }"},
  {"neighbours", "step", "group values write", 0,
    "rule neighbours(lr = 0.1) { param p[R, C]\n grad g\n p[i, j] -= lr*(g[i, j] + p[i, j] - p[i, C - 1 - j]) }"},
};

static const Case ragged[] = {
  {"ragged", "forward", "rows", 0,
    "rule ragged() { in x[N, D], len[1]: i32\n out y[D]\n y[d] = sum[i < min(len[0], 600)](x[i, d]) }"},
  {"ragged_max", "forward", "rows", 0,
    "rule ragged_max() { in x[N, D], len[1]: i32\n out y[D]\n y[d] = max[i < min(len[0], 600)](x[i, d]) }"},
  {"ragged_seq", "forward", "rows", 0,
    "rule ragged_seq() { in x[N, D], len[1]: i32\n out y[D]\n y[d] = sum[i < min(len[0], 600); seq](x[i, d]) }"},
  {"ragged_weights", "forward", "rows", 0,
    "rule ragged_weights() { in w[N], x[N, D], len[1]: i32\n out y[D]\n y[d] = sum[i < min(len[0], 600)](w[i]*x[i, d]) }"},
  {"ragged_product", "forward", "rows", 0,
    "rule ragged_product() { in x[N, D], V[N, E], len[1]: i32\n out y[D, E]\n y[d, e] = sum[i < min(len[0], 600)](x[i, d]*V[i, e]) }"},
  {"ragged_logsumexp", "forward", "rows", 0,
    "rule ragged_logsumexp() { in x[N, D], len[1]: i32\n out y[D]\n y[d] = logsumexp[i < min(len[0], 600)](x[i, d]) }"},
  {"ragged_argmax", "forward", "rows", 0,
    "rule ragged_argmax() { in x[N, D], k[1]: i32\n out y[N]: i32\n y[n] = argmax[d < min(k[0], 600)](x[n, d]) }"},
  {"longest", "forward", "item rows", 0,
    "rule longest() { in x[N, D], k[N]: i32\n out y[D]\n y[d] = sum[i < min(max[n](k[n]), 600)](x[i, d]) }"},
  {"ragged_scan", "forward", "rows item write", 0,
    "rule ragged_scan() { in x[N, D], k[2]: i32\n out y[D]\n a[d < D] = 0\n scan i < min(k[0], 20) { a[d] = 0.5*a[d] + mean[j < min(k[1], 600)](x[j, d]) }\n y = a }"},
  {"ragged_mean", "forward", "rows rows", 0,
    "rule ragged_mean() { in x[N, D], len[1]: i32\n out y[N, D]\n y[n, d] = where(n < len[0], x[n, d] - mean[i < min(len[0], 600)](x[i, d]), 0) }"},
  {"ragged_rows", "step", "group rows phase", 0,
    "rule ragged_rows(lr = 0.1) { param p\n grad g\n in k[K]: i32\n if p is [R, C] { u[i] = sum[j < min(k[0], 600)](g[i, j])\n p[i, j] -= lr*u[i] } else { p -= lr*g } }"},
};

static optc_context *cx;
static int enter(void) { return !(cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""})); }
static int leave(void) { optc_context_free(cx); return 0; }

static optc_rule *compile(const Case *c, int level) {
  optc_compile_options options = {.size = sizeof options, .level = level, .verify_each = true};
  optc_rule *rule = NULL;
  if (optc_compile_memory(cx, c->rule, c->text, strlen(c->text), &options, &rule)) printf("\n%s: %s", c->rule, optc_context_diagnostics(cx));
  return rule;
}

static json_t *explained(const Case *c) {
  static const int kinds[] = {OPTC_EMIT_EXPLAIN_JSON};
  optc_emit_options o = {.size = sizeof o, .kinds = kinds, .n_kinds = 1, .level = 2, .bandwidth = 10, .peak = 100};
  optc_emission *e = NULL;
  size_t size, i;
  if (optc_emit_memory(cx, c->rule, c->text, strlen(c->text), &o, &e)) { printf("\n%s: %s", c->rule, optc_context_diagnostics(cx)); return NULL; }
  const char *text = optc_emission_data(e, 0, &size);
  json_t *root = json_loadb(text, size, 0, NULL), *entry, *found = NULL;
  optc_emission_free(e);
  json_array_foreach(json_object_get(root, "entries"), i, entry) if (!strcmp(json_string_value(json_object_get(entry, "entry")), c->entry)) found = json_incref(entry);
  json_decref(root);
  return found;
}

static void kernels_are(const Case *c, json_t *entry) {
  static const char *const around[] = {"check", "layout", "sizes", "call_sizes", "finish"};
  char all[4096] = "";
  json_t *kernel;
  size_t i, k;
  json_array_foreach(json_object_get(entry, "kernels"), i, kernel) {
    const char *name = json_string_value(json_object_get(kernel, "name"));
    size_t n = strlen(name), skip = 0;
    while (n && (isdigit((unsigned char)name[n - 1]) || name[n - 1] == '_')) n--;
    for (k = 0; k < sizeof around/sizeof *around; k++) skip |= !strcmp(name, around[k]);
    if (!skip) snprintf(all + strlen(all), sizeof all - strlen(all), "%s%.*s", *all ? " " : "", (int)n, name);
  }
  if (strcmp(all, c->kernels)) printf("\n%s, %s: '%s', not '%s'\n", c->rule, c->entry, all, c->kernels);
  CU_ASSERT_STRING_EQUAL(all, c->kernels);
}

static void bytes_are(const Case *c, json_t *entry) {
  json_t *bytes = json_object_get(entry, "bytes");
  double moved = json_number_value(json_object_get(bytes, "read")) + json_number_value(json_object_get(bytes, "written"));
  double least = json_number_value(json_object_get(bytes, "least_read")) + json_number_value(json_object_get(bytes, "least_written"));
  bool good = !c->bytes || moved <= c->bytes*least;
  if (!good) printf("\n%s, %s: %g bytes, which is %g times the least\n", c->rule, c->entry, moved, moved/least);
  CU_ASSERT(good);
}

/* All entries, small shapes, then each axis beyond a block of 512, or items beyond it and beyond a chunk; numbers, then infinities, NaNs and zeros among them. */
static void bits_are_those_of_plain_loops(const Case *c) {
  optc_rule *plain = compile(c, 0), *rule = compile(c, 2);
  CU_ASSERT_FATAL(plain && rule);
  DrillRule oracle = drill_rule(plain), form = drill_rule(rule);
  int sizes = trial_sizes(plain->desc);
  for (int k = -1; k < (sizes ? sizes : 1); k++)
    for (int data = TRIAL_MODERATE; data <= TRIAL_SPECIAL; data++) {
      TrialPlan plan = {.steps = 2, .data = (TrialData)data};
      if (k >= 0 && sizes) { plan.long_size = k; plan.length = 530; }
      else if (k >= 0) { plan.n_items = 3; memcpy(plan.item, (TrialShape[]){{2, {520, 130}}, {1, {70000}}, {2, {7, 530}}}, 3*sizeof *plan.item); }
      Trial *t = trial_new(&oracle, &plan);
      if (!t) { CU_ASSERT(k >= 0); continue; }
      trial_keep(t);
      for (int threads = 1; threads <= 3; threads += 2) {
        Team team = {.threads = threads, .order = threads > 1 ? SHUFFLED : FORWARDS};
        optc_parallel parallel = {run_team, &team};
        trial_run(t, &form, &(DrillWay){.parallel = &parallel});
        const char *difference = trial_difference(t);
        if (difference) printf("\n%s, %d threads: %s\n%s\n", c->rule, threads, difference, trial_shapes(t));
        CU_ASSERT_PTR_NULL(difference);
      }
      trial_free(t);
    }
  optc_rule_free(plain);
  optc_rule_free(rule);
}

static void holds(const Case *c) {
  json_t *entry = explained(c);
  CU_ASSERT_PTR_NOT_NULL_FATAL(entry);
  kernels_are(c, entry);
  bytes_are(c, entry);
  json_decref(entry);
  bits_are_those_of_plain_loops(c);
}

#define ALL(cases) for (size_t i = 0; i < sizeof (cases)/sizeof *(cases); i++) holds(&(cases)[i])
static void the_gradient_of_a_product_is_products(void) { ALL(gradients); }
static void what_is_read_elsewhere_is_made_before_it_is_written(void) { ALL(sweeps); }
static void a_repeat_of_any_count_is_kernels(void) { ALL(repeats); }
static void an_extent_may_be_read_from_a_tensor(void) { ALL(ragged); }

int main(void) {
  static const SuiteTest tests[] = {TEST(the_gradient_of_a_product_is_products), TEST(a_repeat_of_any_count_is_kernels),
    TEST(what_is_read_elsewhere_is_made_before_it_is_written), TEST(an_extent_may_be_read_from_a_tensor)};
  return suite_run_with("schedule", tests, enter, leave);
}
