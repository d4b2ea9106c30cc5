/* frontend_evaluator_test.c: the evaluator on the syntax tree gives the recorded numbers of the authors' code, and the bits that the language fixes. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/evaluator/golden.h"
#include "tests/support/fixture.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

static Arena *arena;

/* --- recorded data ------------------------------------------------------------------------------------------------------------------------ */

/* Lists of numbers without tensors, each file in a form of its own: `optc check` reads them. */
static bool has_its_own_form(const char *file) {
  static const char *const names[] = {"accelat.json", "lr_scale.json", "philox.json"};
  for (unsigned k = 0; k < sizeof names / sizeof *names; k++) if (!strcmp(file, names[k])) return true;
  return false;
}

/* How many of the folder's files the rules pass; files that no rule is there for are left out. */
static unsigned pass_folder(const char *rules, const char *folder, bool f64) {
  char *names[512];
  unsigned n = 0, passed = 0;
  DIR *dir = opendir(folder);
  if (!dir) { CU_FAIL("no data"); return 0; }
  for (struct dirent *e; (e = readdir(dir)) && n < 512;)
    if (strstr(e->d_name, ".json") && !has_its_own_form(e->d_name)) names[n++] = strdup(e->d_name);
  closedir(dir);
  qsort(names, n, sizeof *names, fixture_by_name);
  for (unsigned i = 0; i < n; i++) {
    char path[1024];
    GoldenReport report;
    Arena *a = arena_new(NULL, 0);
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    bool good = golden_run(a, rules, path, f64, &report);
    if (strncmp(report.message, "cannot read", 11)) {
      for (unsigned k = 0; k < report.n; k++) {
        if (report.rows[k].ratio <= 1) continue;
        good = false;
        printf("\n%s%s: %s: got %.17g, want %.17g", names[i], f64 ? " (f64)" : "", report.rows[k].name, report.rows[k].got, report.rows[k].want);
      }
      if (!good) printf("\n%s%s: %s\n", names[i], f64 ? " (f64)" : "", report.message);
      CU_ASSERT(good);
      CU_ASSERT(report.n > 0);
      passed += good;
    }
    arena_free(a);
    free(names[i]);
  }
  return passed;
}

static void shipped_rules(bool f64) {
  unsigned n = pass_folder("rules", "tests/golden/optim", f64);
  CU_ASSERT(n >= 40);
  pass_folder("rules", "tests/golden/attention", f64);
}

static void test_shipped_rules_give_the_recorded_numbers(void) { shipped_rules(false); }
static void test_shipped_rules_give_the_recorded_numbers_in_f64(void) { shipped_rules(true); }

static void exemplars(bool f64) {
  CU_ASSERT_EQUAL(pass_folder("tests/data/evaluator", "tests/golden/optim", f64), 8);
  CU_ASSERT_EQUAL(pass_folder("tests/data/evaluator", "tests/golden/attention", f64), 18);
}

static void test_exemplars_give_the_recorded_numbers(void) { exemplars(false); }
static void test_exemplars_give_the_recorded_numbers_in_f64(void) { exemplars(true); }

/* --- small rules: what the language says, number by number ------------------------------------------------------------------------------- */

typedef struct Run { EvalCall call; EvalSet items[3], global; EvalNumber hyper[4]; } Run;

static void start(Run *r, const char *text, unsigned n_items) {
  Source *s = arena_alloc(arena, sizeof *s);
  *s = (Source){"test.opt", text, strlen(text)};
  Diag *diag = diag_new(arena, 5);
  memset(r, 0, sizeof *r);
  r->call = (EvalCall){.arena = arena, .files = frontend_load(arena, diag, s, &(FrontendOptions){0}), .items = r->items, .n_items = n_items, .global = &r->global, .hyper = r->hyper};
  CU_ASSERT_PTR_NOT_NULL_FATAL(r->call.files);
}

static void hyper(Run *r, const char *name, double v) { r->hyper[r->call.n_hyper++] = (EvalNumber){name, v}; }

static double *give(Run *r, unsigned item, const char *name, unsigned rank, const int64_t *shape) { return evaluator_set(arena, &r->items[item], name, rank, shape, NULL)->data; }

static void run(Run *r) {
  if (!evaluator_run(&r->call)) { printf("\n%s\n", r->call.message); CU_FAIL("the rule does not run"); }
}

static const EvalArray *result(Run *r, const char *name) {
  static double zeros[4096];
  static const EvalArray none = {.data = zeros};
  const EvalArray *a = evaluator_find(&r->items[0], name);
  CU_ASSERT_PTR_NOT_NULL(a);
  return a ? a : &none;
}

static double noise(uint64_t *state) { return (double)(float)random_unit(state); }

static float lanes_of(const float *v, int n) {                     /* one block */
  float lane[16] = {0};
  for (int i = 0; i < n; i++) lane[i % 16] += v[i];
  for (int half = 8; half; half /= 2)
    for (int l = 0; l < half; l++) lane[l] += lane[l + half];
  return lane[0];
}

static void test_products_are_summed_by_fma_in_blocks_of_512(void) {
  Run r;
  uint64_t seed = 7;
  int64_t n = 1200;
  start(&r, "rule dot() { in x[N, L], w[K, N]\n out z[K, L]\n z[k, l] = sum[i](w[k, i]*x[i, l]) }", 1);
  double *x = give(&r, 0, "x", 2, (int64_t[]){n, 1}), *w = give(&r, 0, "w", 2, (int64_t[]){2, n});
  for (int i = 0; i < n; i++) { x[i] = noise(&seed); w[i] = noise(&seed); w[n + i] = noise(&seed); }
  run(&r);
  for (int k = 0; k < 2; k++) {
    float total = 0;
    for (int at = 0; at < n; at += 512) {
      float block = 0;
      for (int i = at; i < n && i < at + 512; i++) block = fmaf((float)w[k * n + i], (float)x[i], block);
      total = at ? total + block : block;
    }
    CU_ASSERT_EQUAL(result(&r, "z")->data[k], (double)total);
  }
}

static void test_other_sums_go_in_lanes_and_a_tree(void) {
  Run r;
  uint64_t seed = 9;
  int64_t n = 3 * 1024 + 100;
  start(&r, "rule total() { in x[N]\n out a[1], b[1], c[1]\n a[k] = sum[i](x[i] + 0*k)\n b[k] = sum(x)\n c[k] = sum[i; seq](x[i]) }", 1);
  double *x = give(&r, 0, "x", 1, &n);
  float v[4096], block[4], straight = 0;
  for (int i = 0; i < n; i++) { x[i] = noise(&seed); v[i] = (float)x[i]; straight += v[i]; }
  for (int b = 0; b < 4; b++) block[b] = lanes_of(v + b * 1024, b < 3 ? 1024 : 100);
  run(&r);
  CU_ASSERT_EQUAL(result(&r, "a")->data[0], (double)((block[0] + block[1]) + (block[2] + block[3])));
  CU_ASSERT_EQUAL(result(&r, "b")->data[0], (double)((block[0] + block[1]) + (block[2] + block[3])));
  CU_ASSERT_EQUAL(result(&r, "c")->data[0], (double)straight);
}

static void test_scalars_are_f64_and_round_once_beside_data(void) {
  Run r;
  start(&r, "rule scale(lr = 0.1) { in x[N]\n out a[N], b[N], c[N]\n k = lr/3\n a = k*x\n b = lr*x/3\n c = f32(lr)*f32(3)*x }", 1);
  double *x = give(&r, 0, "x", 1, (int64_t[]){1});
  x[0] = 1;
  run(&r);
  CU_ASSERT_EQUAL(result(&r, "a")->data[0], (double)(float)(0.1 / 3));
  CU_ASSERT_EQUAL(result(&r, "b")->data[0], (double)((float)0.1 / 3.f));
  CU_ASSERT_EQUAL(result(&r, "c")->data[0], (double)((float)0.1 * 3.f));
}

static float sexp_of(float x) { return (float)exp((double)x); }   /* within 2 units of the sequence */

static void test_softmax_merges_blocks_of_256(void) {
  Run r;
  uint64_t seed = 3;
  int64_t n = 700;
  start(&r, "rule soft() { in s[R, N], v[N, E]\n out o[R, E], l[R], w[R, N]\n o[r, e] = sum[j](softmax[j](s[r, j])*v[j, e])\n l[r] = logsumexp[j](s[r, j])\n w[r, j] = softmax[j](s[r, j]) }", 1);
  double *s = give(&r, 0, "s", 2, (int64_t[]){3, n}), *v = give(&r, 0, "v", 2, (int64_t[]){n, 2}), best = -INFINITY, sum = 0, weighed = 0;
  for (int i = 0; i < n; i++) {
    s[i] = (double)(float)(8 * noise(&seed));
    s[n + i] = -INFINITY;
    s[2 * n + i] = i == 5 ? NAN : 1;
    v[2 * i] = noise(&seed);
    v[2 * i + 1] = i % 7 == 3 ? NAN : 1;
    if (i % 7 == 3) s[i] = -INFINITY;
    if (s[i] > best) best = s[i];
  }
  for (int i = 0; i < n; i++) { sum += exp(s[i] - best); weighed += exp(s[i] - best) * v[2 * i]; }
  run(&r);
  const EvalArray *o = result(&r, "o"), *l = result(&r, "l"), *w = result(&r, "w");
  CU_ASSERT_DOUBLE_EQUAL(o->data[0], weighed / sum, 1e-6);
  CU_ASSERT_DOUBLE_EQUAL(o->data[1], 1, 1e-6);                     /* nan stands where the weight is 0 */
  CU_ASSERT_DOUBLE_EQUAL(l->data[0], best + log(sum), 1e-6);
  CU_ASSERT(o->data[2] == 0 && o->data[3] == 0 && l->data[1] == -INFINITY && w->data[n] == 0);
  CU_ASSERT(isnan(o->data[4]) && isnan(l->data[2]));
  CU_ASSERT_DOUBLE_EQUAL(w->data[0], (double)sexp_of((float)(s[0] - best)) / sum, 1e-6);
}

static void test_a_zero_weight_leaves_its_term_out(void) {
  Run r;
  start(&r, "rule masked() { in m[N]: bool, x[N], y[N]\n out a[1], b[1], c[1]\n w[i] = where(m[i], x[i], 0)\n a[k < 1] = sum[i](w[i]*y[i])\n b[k] = sum[i](where(m[i], x[i], 0)*y[i])\n"
    " c[k] = sum[i](x[i]*y[i]) }", 1);
  double *m = give(&r, 0, "m", 1, (int64_t[]){3}), *x = give(&r, 0, "x", 1, (int64_t[]){3}), *y = give(&r, 0, "y", 1, (int64_t[]){3});
  for (int i = 0; i < 3; i++) { m[i] = i != 1; x[i] = i + 1; y[i] = i == 1 ? NAN : 2; }
  run(&r);
  CU_ASSERT_EQUAL(result(&r, "a")->data[0], 8);
  CU_ASSERT_EQUAL(result(&r, "b")->data[0], 8);
  CU_ASSERT(isnan(result(&r, "c")->data[0]));
}

static void test_reads_outside_give_0_and_later_writes_win(void) {
  Run r;
  start(&r, "rule moves() { in x[N], to[N]: i32\n out a[N], b[N], c[N], d[N], e[2, N]\n a[i] = x[i - 1] + x[i + 1]\n b[to[i]] = x[i]\n c[to[i]] += x[i]\n"
    " d[i] = order[i](x[i])\n e[0, i] = cumsum[i](x[i])\n e[1, order[i](x[i])] = x[i]\n }", 1);
  double *x = give(&r, 0, "x", 1, (int64_t[]){4}), *to = give(&r, 0, "to", 1, (int64_t[]){4});
  memcpy(x, (double[]){3, 1, 4, 1}, 4 * sizeof *x);
  memcpy(to, (double[]){2, 0, 2, -1}, 4 * sizeof *to);
  run(&r);
  static const double a[] = {1, 7, 2, 4}, b[] = {1, 0, 4, 0}, c[] = {1, 0, 7, 0}, d[] = {1, 2, 0, 3}, e[] = {3, 4, 8, 9, 4, 3, 1, 1};
  CU_ASSERT(!memcmp(result(&r, "a")->data, a, sizeof a) && !memcmp(result(&r, "b")->data, b, sizeof b) && !memcmp(result(&r, "c")->data, c, sizeof c));
  CU_ASSERT(!memcmp(result(&r, "d")->data, d, sizeof d) && !memcmp(result(&r, "e")->data, e, sizeof e));
}

static void test_totals_run_over_all_items_and_skip_keeps_states(void) {
  Run r;
  start(&r, "rule clip(lr = 1) { param p\n grad g\n state m = 1\n state global k = 0\n out global n\n fn part(x) { y = x/norm[all](x); return y }\n n = sqrt(total(g^2))\n"
    " m += 1\n k += t\n skip if n > 100 { k = -1 }\n p -= part(g) }", 2);
  for (unsigned i = 0; i < 2; i++) {
    give(&r, i, "p", 1, (int64_t[]){1});
    give(&r, i, "g", 1, (int64_t[]){1})[0] = i ? 4 : 3;
  }
  CU_ASSERT(evaluator_init(&r.call));
  CU_ASSERT_EQUAL(result(&r, "m")->data[0], 1);
  r.call.t = 1;
  run(&r);
  CU_ASSERT_EQUAL(evaluator_find(&r.global, "n")->data[0], 5);
  CU_ASSERT_DOUBLE_EQUAL(result(&r, "p")->data[0], -.6, 1e-7);
  CU_ASSERT_DOUBLE_EQUAL(evaluator_find(&r.items[1], "p")->data[0], -.8, 1e-7);
  CU_ASSERT_EQUAL(result(&r, "m")->data[0], 2);
  evaluator_find(&r.items[1], "g")->data[0] = 1000;
  r.call.t = 2;
  run(&r);
  CU_ASSERT(r.call.skipped);
  CU_ASSERT_EQUAL(result(&r, "m")->data[0], 2);
  CU_ASSERT_EQUAL(evaluator_find(&r.global, "k")->data[0], -1);
  CU_ASSERT_DOUBLE_EQUAL(evaluator_find(&r.global, "n")->data[0], sqrt(9 + 1e6), 1e-9);
}

static void test_patterns_route_by_rank(void) {
  Run r;
  start(&r, "rule routed() { param p\n grad g\n if p is [R, flat C] { state v[R] = 0\n state w\n v[i] = sum[j](g[i, j]^2)\n w = g; p[i, j] -= v[i] } else { p -= 1 } }", 2);
  give(&r, 0, "p", 3, (int64_t[]){2, 2, 2});
  double *g = give(&r, 0, "g", 3, (int64_t[]){2, 2, 2});
  for (int i = 0; i < 8; i++) g[i] = i;
  give(&r, 1, "p", 0, NULL);
  give(&r, 1, "g", 0, NULL);
  CU_ASSERT(evaluator_init(&r.call));
  r.call.t = 1;
  run(&r);
  const EvalArray *p = result(&r, "p"), *w = result(&r, "w");
  CU_ASSERT(p->rank == 3 && p->data[0] == -14 && p->data[7] == -(16 + 25 + 36 + 49));
  CU_ASSERT(w->rank == 3 && w->data[7] == 7);
  CU_ASSERT_EQUAL(result(&r, "v")->rank, 1);
  CU_ASSERT_EQUAL(evaluator_find(&r.items[1], "p")->data[0], -1);
  CU_ASSERT_PTR_NULL(evaluator_find(&r.items[1], "v"));
}

static void test_scans_carry_names_forwards_and_backwards(void) {
  Run r;
  start(&r, "rule recur() { in x[N]\n out y[N], z[N]\n s = 0\n scan i { s = 2*s + x[i]\n y[i] = s }\n h[k < 1] = 0\n scan i reverse { h[k] += x[i]\n z[i] = h[0] } }", 1);
  memcpy(give(&r, 0, "x", 1, (int64_t[]){3}), (double[]){1, 2, 3}, 3 * sizeof(double));
  run(&r);
  static const double y[] = {1, 4, 11}, z[] = {6, 5, 3};
  CU_ASSERT(!memcmp(result(&r, "y")->data, y, sizeof y) && !memcmp(result(&r, "z")->data, z, sizeof z));
}

static void test_integers_and_bits(void) {
  Run r;
  start(&r, "rule whole(n: int = -7) { in c[1]: i32\n out a[10]: i32\n a[0] = n//2 + 0*c[0]\n a[1] = n%2\n a[2] = n//0\n a[3] = 5 & 6 | 8\n a[4] = 1 << 4 >> 1\n a[5] = 1 << 70\n a[6] = int(2.5)\n"
    " a[7] = int(round(2.5))\n a[8] = int(-2.7)\n a[9] = philox(0, 0, 0, 0, 0, 0, 0) & 0xffff }", 1);
  give(&r, 0, "c", 1, (int64_t[]){1});
  run(&r);
  static const double want[] = {-4, 1, 0, 12, 8, 0, 2, 2, -2, 0x6627e8d5 & 0xffff};
  CU_ASSERT(!memcmp(result(&r, "a")->data, want, sizeof want));
}

static void test_storage_rounds_and_codes_see_the_unrounded_value(void) {
  Run r;
  start(&r, "rule stored() { param p\n grad g\n state m: bf16, v: f32 flush, c: u8\n m = g*1.00390625\n v = g*1e-38\n c = 300\n p = m }", 1);
  give(&r, 0, "p", 1, (int64_t[]){1});
  give(&r, 0, "g", 1, (int64_t[]){1})[0] = 1;
  CU_ASSERT(evaluator_init(&r.call));
  r.call.t = 1;
  run(&r);
  CU_ASSERT_EQUAL(result(&r, "p")->data[0], 1.00390625);
  CU_ASSERT_EQUAL(result(&r, "m")->data[0], 1);
  CU_ASSERT_EQUAL(result(&r, "v")->data[0], 0);
  CU_ASSERT_EQUAL(result(&r, "c")->data[0], 44);
}

static const double *recorded_map(const char *name) {
  static double map[256];
  json_t *root = json_load_file("tests/golden/optim/adam8bit_blockwise.json", 0, NULL), *list = json_object_get(root, name);
  CU_ASSERT_EQUAL_FATAL(json_array_size(list), 256);
  for (size_t i = 0; i < 256; i++) map[i] = json_number_value(json_array_get(list, i));
  json_decref(root);
  return map;
}

/* `p = m` reads every code; what is kept again are the same codes. */
static void all_codes(const char *type, unsigned n, const double *map, double slack) {
  Run r;
  char text[128];
  int64_t count = n, bytes = n == 256 ? 256 : 8, one = 1;
  snprintf(text, sizeof text, "rule codes() { param p\n grad g\n state m: %s\n p = m\n m = m }", type);
  start(&r, text, 1);
  give(&r, 0, "p", 1, &count);
  give(&r, 0, "g", 1, &count);
  double *m = give(&r, 0, "m", 1, &bytes), before[256];
  give(&r, 0, "m_max", 1, &one)[0] = 2;
  for (int i = 0; i < bytes; i++) before[i] = m[i] = n == 256 ? i : 2 * i | (2 * i + 1) << 4;
  r.call.t = 1;
  run(&r);
  for (unsigned i = 0; i < n; i++) CU_ASSERT_DOUBLE_EQUAL(result(&r, "p")->data[i], 2 * map[i], 2 * slack * fabs(map[i]));
  CU_ASSERT(!memcmp(result(&r, "m")->data, before, (size_t)bytes * sizeof *before));
  CU_ASSERT_EQUAL(result(&r, "m_max")->data[0], 2);
}

static void test_codes_stand_for_the_published_maps(void) {
  static const double signed4[] = {-.8875, -.6625, -.4375, -.2125, -.0775, -.0325, -.0055, 0, .0055, .0325, .0775, .2125, .4375, .6625, .8875, 1};      /* torchao's 4-bit AdamW */
  double linear[16];
  for (int k = 0; k < 16; k++) linear[k] = (k + 1) / 16.;
  /* the recorded maps were computed in f32 */
  all_codes("q8", 256, recorded_map("qmap_signed"), 0x1p-22);
  all_codes("q8u", 256, recorded_map("qmap_unsigned"), 0x1p-22);
  all_codes("q4", 16, signed4, 0x1p-24);
  all_codes("q4u", 16, linear, 0);
}

static void test_codes_of_a_block_are_the_nearest(void) {
  Run r;
  int64_t n = 8;
  start(&r, "rule codes() { param p\n grad g\n state m: q4[2], u: q4u[4]\n m = g\n u = abs(g) }", 1);
  give(&r, 0, "p", 1, &n);
  memcpy(give(&r, 0, "g", 1, &n), (double[]){4, -3.9, 0, 0, 1, INFINITY, 1, .65625}, 8 * sizeof(double));
  CU_ASSERT(evaluator_init(&r.call));
  r.call.t = 1;
  run(&r);
  const double *m = result(&r, "m")->data, *top = result(&r, "m_max")->data, *u = result(&r, "u")->data;
  CU_ASSERT(top[0] == 4 && top[1] == 0 && isnan(top[2]) && top[3] == 1);
  CU_ASSERT(m[0] == 15 && m[1] == (7 | 7 << 4) && m[2] == 0 && m[3] == (15 | 13 << 4));      /* a block of zeros: the code of 0; nan: code 0 */
  CU_ASSERT(u[0] == (15 | 15 << 4) && u[1] == 0 && isnan(result(&r, "u_max")->data[1]));
}

static void test_of_several_sources_the_last_multiplies(void) {
  Run r;
  start(&r, "rule repeated() { in x[N], to[N]: i32\n out a[2], b[2], c[2]\n a[i] = 10\n b[i] = 10\n c[i] = 10\n a[to[i]] *= x[i]\n b[to[i]] /= x[i]\n c[to[i]] -= x[i] }", 1);
  int64_t n = 3;
  memcpy(give(&r, 0, "x", 1, &n), (double[]){2, 4, 5}, 3 * sizeof(double));
  give(&r, 0, "to", 1, &n);
  run(&r);
  CU_ASSERT(result(&r, "a")->data[0] == 50 && result(&r, "b")->data[0] == 2 && result(&r, "c")->data[0] == -1 && result(&r, "a")->data[1] == 10);
}

static void test_random_numbers_are_counted_by_the_statements_elements(void) {
  Run r;
  int64_t shape[] = {3, 2};
  start(&r, "rule drawn() { param p\n grad g\n state w, v\n w = uniform(4)\n new = uniform(4)\n v = new\n p[i, j < 1] = uniform(4) }", 1);
  give(&r, 0, "p", 2, shape);
  give(&r, 0, "g", 2, shape);
  r.call.seed = UINT64_C(0x100000002);
  CU_ASSERT(evaluator_init(&r.call));
  r.call.t = 9;
  run(&r);
  const double *w = result(&r, "w")->data, *v = result(&r, "v")->data, *p = result(&r, "p")->data;
  CU_ASSERT(!memcmp(w, v, 6 * sizeof *w) && w[0] != w[1] && w[1] != w[2]);
  CU_ASSERT(p[0] == w[0] && p[2] == w[1] && p[4] == w[2] && p[1] == 0);      /* by the indices on the left */
}

static void test_f32_functions_are_the_nearest_float(void) {
  Run r;
  start(&r, "rule functions() { in x[N]\n out a[N], b[N], c[N]\n a = exp(x)\n b = log1p(x)\n c = tanh(x) }", 1);
  int64_t n = 200;
  uint64_t seed = 11;
  double *x = give(&r, 0, "x", 1, &n);
  for (int i = 0; i < n; i++) x[i] = .9 * noise(&seed), x[i] = (double)(float)x[i];
  x[0] = -103.5;                                           /* subnormal */
  run(&r);
  CU_ASSERT_EQUAL(result(&r, "a")->data[0], 0x1p-149);
  for (int i = 1; i < n; i++) {
    CU_ASSERT_EQUAL(result(&r, "a")->data[i], (double)(float)expl((long double)x[i]));
    CU_ASSERT_EQUAL(result(&r, "b")->data[i], (double)(float)log1pl((long double)x[i]));
    CU_ASSERT_EQUAL(result(&r, "c")->data[i], (double)(float)tanhl((long double)x[i]));
  }
}

static void test_ties_share_gradients_as_the_language_says(void) {
  Run r;
  start(&r, "rule ties() { in x[N], y[N]\n out a[N], b[1], c[1]\n backward wrt x, y\n a[i] = max(x[i], y[i]) + abs(x[i]) + relu(x[i])\n b[k] = max[i](x[i])\n c[k] = norm[i](y[i]) + where(y[0] > 0, sqrt(y[0]), 0) }", 1);
  give(&r, 0, "x", 1, (int64_t[]){2});
  give(&r, 0, "y", 1, (int64_t[]){2});
  give(&r, 0, "da", 1, (int64_t[]){2})[0] = 1;
  give(&r, 0, "db", 1, (int64_t[]){1})[0] = 1;
  give(&r, 0, "dc", 1, (int64_t[]){1})[0] = 1;
  r.call.entry = "backward";
  run(&r);
  CU_ASSERT_EQUAL(result(&r, "dx")->data[0], 1);
  CU_ASSERT_EQUAL(result(&r, "dx")->data[1], .5);
  CU_ASSERT_EQUAL(result(&r, "dy")->data[0], .5);
  CU_ASSERT_EQUAL(result(&r, "dy")->data[1], 0);
}

static void test_errors_are_values(void) {
  Run r;
  start(&r, "rule bad(k: int = 2) { in x[N], y[M]\n out z[N]\n require N % k == 0\n u[i] = x[i] + y[i]\n z[i] = u[i] }", 1);
  give(&r, 0, "x", 1, (int64_t[]){3});
  give(&r, 0, "y", 1, (int64_t[]){3});
  CU_ASSERT_FALSE(evaluator_run(&r.call));
  CU_ASSERT_PTR_NOT_NULL(strstr(r.call.message, "requirement not met"));
  hyper(&r, "k", 3);
  run(&r);
  give(&r, 0, "y", 1, (int64_t[]){2});
  CU_ASSERT_FALSE(evaluator_run(&r.call));
  CU_ASSERT_PTR_NULL(evaluator_find(&r.items[0], "q"));
}

int main(void) {
  static const SuiteTest recorded[] = {
    {"shipped rules give the recorded numbers", test_shipped_rules_give_the_recorded_numbers},
    {"shipped rules give the recorded numbers in f64", test_shipped_rules_give_the_recorded_numbers_in_f64},
    {"the language's exemplars give the recorded numbers", test_exemplars_give_the_recorded_numbers},
    {"the language's exemplars give the recorded numbers in f64", test_exemplars_give_the_recorded_numbers_in_f64},
  };
  static const SuiteTest small[] = {
    {"products are summed by fma in blocks of 512", test_products_are_summed_by_fma_in_blocks_of_512},
    {"other sums go in lanes and a tree", test_other_sums_go_in_lanes_and_a_tree},
    {"scalars are f64 and round once beside data", test_scalars_are_f64_and_round_once_beside_data},
    {"softmax merges blocks of 256", test_softmax_merges_blocks_of_256},
    {"a zero weight leaves its term out", test_a_zero_weight_leaves_its_term_out},
    {"reads outside give 0 and later writes win", test_reads_outside_give_0_and_later_writes_win},
    {"totals run over all items and skip keeps states", test_totals_run_over_all_items_and_skip_keeps_states},
    {"patterns route by rank", test_patterns_route_by_rank},
    {"scans carry names forwards and backwards", test_scans_carry_names_forwards_and_backwards},
    {"integers and bits", test_integers_and_bits},
    {"storage rounds, and code sees the unrounded value", test_storage_rounds_and_codes_see_the_unrounded_value},
    {"codes stand for the published maps", test_codes_stand_for_the_published_maps},
    {"codes of a block are the nearest", test_codes_of_a_block_are_the_nearest},
    {"of several sources the last one multiplies", test_of_several_sources_the_last_multiplies},
    {"random numbers are counted by the statement's elements", test_random_numbers_are_counted_by_the_statements_elements},
    {"f32 functions are the nearest float", test_f32_functions_are_the_nearest_float},
    {"ties share gradients as the language says", test_ties_share_gradients_as_the_language_says},
    {"errors are values", test_errors_are_values},
  };
  static const TestSuite suites[] = {
    SUITE("recorded data", recorded, NULL, NULL),
    SUITE("small rules", small, NULL, NULL),
  };
  arena = arena_new(NULL, 0);
  int failed = suites_run(suites, sizeof suites/sizeof *suites);
  arena_free(arena);
  return failed;
}
