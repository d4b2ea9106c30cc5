/* passes_expand_test.c: the expansions through the graph interpreter: hard operands, samples and edges of every function. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "passes/passes.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/function_graph.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

#ifndef HARD_INPUTS
#define HARD_INPUTS "tests/data/hard_inputs"
#endif

static float f32_of(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static uint32_t bits_of(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static double f64_of(uint64_t u) { double f; memcpy(&f, &u, 8); return f; }
static uint64_t bits64_of(double f) { uint64_t u; memcpy(&u, &f, 8); return u; }
static bool same32(float a, float b) { return bits_of(a) == bits_of(b) || (a != a && b != b); }
static bool same64(double a, double b) { return bits64_of(a) == bits64_of(b) || (a != a && b != b); }

/* y = op(a, b, c) for n elements of the type. */
static void run(Op op, Type type, const void *a, const void *b, const void *c, void *y, long n) {
  Arena *arena = arena_new(NULL, 0);
  if (setjmp(*arena_guard(arena))) abort();
  Graph *g = expand_graph(function_graph(arena, op, type));
  function_graph_run(g, (const void *[]){a, b ? b : a, c ? c : a}, y, n, NULL, arena);
  arena_free(arena);
}

static double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double rsqrt(double x) { return 1 / sqrt(x); }
static long double sigmoidl(long double x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }
static long double rsqrtl(long double x) { return 1 / sqrtl(x); }
static long double precise_erfl(long double x) { return erfl(x); }

static const struct Elementary { Op op; double (*f)(double); long double (*l)(long double); double low, high; bool nearest; } elementary[] = {
  {OP_EXP, exp, expl, -745, 710, true},        {OP_EXP2, exp2, exp2l, -1075, 1024, true},  {OP_EXPM1, expm1, expm1l, -40, 710, true},
  {OP_LOG, log, logl, 0, 3, true},             {OP_LOG2, log2, log2l, 0, 3, true},         {OP_LOG1P, log1p, log1pl, -1, 3, true},
  {OP_TANH, tanh, tanhl, -20, 20, true},       {OP_SIGMOID, sigmoid, sigmoidl, -745, 40, true},
  {OP_ERF, erf, precise_erfl, -6, 6, true},    {OP_RSQRT, rsqrt, rsqrtl, 0, 3, true},
  {OP_SIN, sin, sinl, -50, 50, true},          {OP_COS, cos, cosl, -50, 50, true},         {OP_COSH, cosh, coshl, -711, 711, true},
  {OP_FAST_EXP, exp, NULL, 0, 0, false},       {OP_FAST_LOG, log, NULL, 0, 0, false},      {OP_FAST_TANH, tanh, NULL, 0, 0, false},
  {OP_SEXP, exp, NULL, 0, 0, false},
};
enum { ELEMENTARY = sizeof elementary / sizeof *elementary };

/* --- f32 -------------------------------------------------------------------------------------------------------------------------------- */

static void hard_operands_give_the_nearest_f32(void) {
  for (unsigned k = 0; k < ELEMENTARY; k++) {
    if (!elementary[k].nearest) continue;
    char path[256];
    snprintf(path, sizeof path, HARD_INPUTS "/%s.txt", op_name(elementary[k].op));
    FILE *in = fopen(path, "r");
    if (!in) { CU_FAIL("hard operands cannot be read"); printf("%s\n", path); continue; }
    static float x[4096], want[4096], y[4096];
    unsigned a, b;
    long n = 0, wrong = 0;
    for (; n < 4096 && fscanf(in, "%x %x", &a, &b) == 2; n++) { x[n] = f32_of(a); want[n] = f32_of(b); }
    fclose(in);
    run(elementary[k].op, TYPE_F32, x, NULL, NULL, y, n);
    for (long i = 0; i < n; i++) wrong += !same32(y[i], want[i]);
    if (wrong) printf("%s: %ld of %ld\n", op_name(elementary[k].op), wrong, n);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(elementary[k].op == OP_RSQRT || n > 20);
  }
}

/* Errors of the sequences that promise no rounding, in units of the last place: docs/accuracy.md rounded up. */
static double promised(Op op) { return op == OP_FAST_TANH ? 2.5 : op == OP_FAST_LOG ? 0.9 : 1.1; }

static void sampled_f32_operands_keep_their_promise(void) {
  enum { N = 100000 };
  static float x[N], y[N];
  for (unsigned k = 0; k < ELEMENTARY; k++) {
    uint64_t s = k;
    for (unsigned i = 0; i < N; i++) x[i] = i % 2 ? f32_of((uint32_t)next_random(&s)) : (float)((int64_t)next_random(&s) >> 11) * 0x1p-47f;
    run(elementary[k].op, TYPE_F32, x, NULL, NULL, y, N);
    long wrong = 0;
    for (unsigned i = 0; i < N; i++) {
      double r = elementary[k].f((double)x[i]);
      float low = (float)(r * (1 - 0x1p-47)), high = (float)(r * (1 + 0x1p-47));
      if (elementary[k].nearest) {
        wrong += !same32(low, y[i]) && !same32(high, y[i]);
        continue;
      }
      if (elementary[k].op == OP_SEXP && r < 0x1p-126) r = 0;
      if (r != r || isinf((float)r) || r == 0) { wrong += !same32((float)r, y[i]); continue; }
      int e;
      frexp(r, &e);
      wrong += !(fabs((double)y[i] - r) <= promised(elementary[k].op) * ldexp(1, (e < -125 ? -125 : e) - 24));
    }
    if (wrong) printf("%s: %ld of %d\n", op_name(elementary[k].op), wrong, N);
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

static void f32_pow_is_f64_pow_rounded_once(void) {
  enum { N = 20000 };
  static float a[N], b[N], y[N];
  static double wide_a[N], wide_b[N], wide[N];
  uint64_t s = 5;
  for (unsigned i = 0; i < N; i++) {
    a[i] = i % 2 ? f32_of((uint32_t)next_random(&s)) : (float)(next_random(&s) >> 40) * 0x1p-22f;
    b[i] = i % 3 ? (float)((int64_t)next_random(&s) >> 40) * 0x1p-18f : (float)((int64_t)(next_random(&s) % 60) - 30);
    wide_a[i] = (double)a[i];
    wide_b[i] = (double)b[i];
  }
  run(OP_POW, TYPE_F32, a, b, NULL, y, N);
  run(OP_POW, TYPE_F64, wide_a, wide_b, NULL, wide, N);
  long wrong = 0;
  for (unsigned i = 0; i < N; i++) wrong += !same32(y[i], (float)wide[i]);
  CU_ASSERT_EQUAL(wrong, 0);
}

/* --- f64 -------------------------------------------------------------------------------------------------------------------------------- */

/* Error in units of the last place; infinity where one is not finite or not a number and the other differs, or a zero has the other sign. */
static double error_of(double y, long double want) {
  double w = (double)want;
  if (w != w || isinf(w) || isinf(y) || y != y) return same64(y, w) ? 0 : INFINITY;
  if (want == 0) return same64(y, w) ? 0 : INFINITY;
  int e;
  frexp(w, &e);
  return (double)(fabsl((long double)y - want) / ldexpl(1, (e < -1021 ? -1021 : e) - 53));
}

static void f64_functions_stay_below_one_ulp(void) {
  enum { N = 20000 };
  static double x[N], y[N];
  for (unsigned k = 0; k < ELEMENTARY; k++) {
    if (!elementary[k].l) continue;
    uint64_t s = k;
    double low = elementary[k].low, high = elementary[k].high;
    for (unsigned i = 0; i < N; i++) {
      double u = (double)(next_random(&s) >> 11) * 0x1p-53;
      x[i] = i % 4 < 2 ? low + (high - low) * u : i % 4 == 2 ? f64_of(next_random(&s)) : (u - 0.5) * ldexp(1, -(int)(next_random(&s) % 60)) + (low == 0);
    }
    run(elementary[k].op, TYPE_F64, x, NULL, NULL, y, N);
    double worst = 0;
    for (unsigned i = 0; i < N; i++) {
      double e = error_of(y[i], elementary[k].l(x[i]));
      if (!(e <= worst)) worst = e;
      if (!(e < 1)) { printf("%s(%a) = %a, error %g\n", op_name(elementary[k].op), x[i], y[i], e); break; }
    }
    CU_ASSERT(worst < 1);
  }
}

static void f64_pow_stays_below_one_ulp(void) {
  enum { N = 40000 };
  static double a[N], b[N], y[N];
  uint64_t s = 77;
  for (unsigned i = 0; i < N; i++) {
    double u = (double)(next_random(&s) >> 11) * 0x1p-53 - 0.5, v = (double)(next_random(&s) >> 11) * 0x1p-53;
    switch (i % 4) {
      case 0: a[i] = 0.7 + 0.8 * v; b[i] = u * 2900; break;
      case 1: a[i] = 1 + u * ldexp(1, -(int)(next_random(&s) % 50)); b[i] = u * 1400 / (log(a[i]) + 1e-30); break;
      case 2: a[i] = fabs(f64_of(next_random(&s))); b[i] = 700 / log(a[i]) * v; break;
      default: a[i] = (double)(next_random(&s) % 200) - 100; b[i] = (double)(next_random(&s) % 60) - 30; break;
    }
  }
  run(OP_POW, TYPE_F64, a, b, NULL, y, N);
  double worst = 0;
  for (unsigned i = 0; i < N; i++) {
    double e = error_of(y[i], powl(a[i], b[i]));
    if (!(e <= worst)) worst = e;
    if (!(e < 1)) { printf("pow(%a, %a) = %a, error %g\n", a[i], b[i], y[i], e); break; }
  }
  CU_ASSERT(worst < 1);
}

static const double special[] = {
  0.0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, INFINITY, -INFINITY, NAN, 0x1p-1074, -0x1p-1074, 0x1p-1022, 0x1.fffffffffffffp1023, -0x1.fffffffffffffp1023,
  0x1p52, 0x1p53, -0x1p53, 0x1.fffffffffffffp52, 1 + 0x1p-52, 1 - 0x1p-53, -1 - 0x1p-52, 1e22, 0.1, 0x1p-149, 0x1p-126, 0x1.fffffep127,
};
enum { SPECIAL = sizeof special / sizeof *special };

/* Zeros, infinities and NaN must be those of C99 Annex F, as libm gives them; other values to an ulp. */
static void edges_are_those_of_annex_f(void) {
  double y[SPECIAL];
  float x32[SPECIAL], y32[SPECIAL];
  for (unsigned i = 0; i < SPECIAL; i++) x32[i] = (float)special[i];
  for (unsigned k = 0; k < ELEMENTARY; k++) {
    if (elementary[k].l) {
      run(elementary[k].op, TYPE_F64, special, NULL, NULL, y, SPECIAL);
      for (unsigned i = 0; i < SPECIAL; i++) {
        bool good = error_of(y[i], elementary[k].l(special[i])) <= 1;
        if (!good) printf("%s(%a) = %a\n", op_name(elementary[k].op), special[i], y[i]);
        CU_ASSERT(good);
      }
    }
    run(elementary[k].op, TYPE_F32, x32, NULL, NULL, y32, SPECIAL);
    for (unsigned i = 0; i < SPECIAL; i++) {
      float want = (float)elementary[k].f((double)x32[i]);
      if (elementary[k].op == OP_SEXP && want < 0x1p-126f) want = 0;
      bool good = elementary[k].nearest || want != want || isinf(want) || want == 0 ? same32(y32[i], want) : fabsf(y32[i] - want) <= 4e-7f * fabsf(want) + 0x1p-149f;
      if (!good) printf("f32 %s(%a) = %a\n", op_name(elementary[k].op), (double)x32[i], (double)y32[i]);
      CU_ASSERT(good);
    }
  }
}

static void pow_edges_are_those_of_annex_f(void) {
  static double a[SPECIAL * SPECIAL], b[SPECIAL * SPECIAL], y[SPECIAL * SPECIAL];
  for (unsigned i = 0; i < SPECIAL * SPECIAL; i++) { a[i] = special[i % SPECIAL]; b[i] = special[i / SPECIAL]; }
  run(OP_POW, TYPE_F64, a, b, NULL, y, SPECIAL * SPECIAL);
  for (unsigned i = 0; i < SPECIAL * SPECIAL; i++) {
    bool good = error_of(y[i], powl(a[i], b[i])) <= 1;
    if (!good) printf("pow(%a, %a) = %a\n", a[i], b[i], y[i]);
    CU_ASSERT(good);
  }
}

/* --- formulas ------------------------------------------------------------------------------------------------------------------------------- */

static double max_of(double a, double b) { return a != a || b != b ? NAN : a == b ? (signbit(a) ? b : a) : a > b ? a : b; }
static double min_of(double a, double b) { return a != a || b != b ? NAN : a == b ? (signbit(a) ? a : b) : a < b ? a : b; }
static double sign_of(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

static void formulas_on_special_values(void) {
  enum { N = SPECIAL * SPECIAL };
  static double a[N], b[N], c[N], hi[N], lo[N], clamped[N], y[SPECIAL], r[SPECIAL];
  bool nan[SPECIAL], finite[SPECIAL];
  for (unsigned i = 0; i < N; i++) { a[i] = special[i % SPECIAL]; b[i] = special[i / SPECIAL]; c[i] = special[i * 7 % SPECIAL]; }
  run(OP_MAX, TYPE_F64, a, b, NULL, hi, N);
  run(OP_MIN, TYPE_F64, a, b, NULL, lo, N);
  run(OP_CLAMP, TYPE_F64, a, b, c, clamped, N);
  long wrong = 0;
  for (unsigned i = 0; i < N; i++)
    wrong += !same64(hi[i], max_of(a[i], b[i])) + !same64(lo[i], min_of(a[i], b[i])) + !same64(clamped[i], min_of(max_of(a[i], b[i]), c[i]));
  CU_ASSERT_EQUAL(wrong, 0);
  run(OP_SIGN, TYPE_F64, special, NULL, NULL, y, SPECIAL);
  run(OP_RELU, TYPE_F64, special, NULL, NULL, r, SPECIAL);
  run(OP_ISNAN, TYPE_F64, special, NULL, NULL, nan, SPECIAL);
  run(OP_FINITE, TYPE_F64, special, NULL, NULL, finite, SPECIAL);
  for (unsigned i = 0; i < SPECIAL; i++) {
    CU_ASSERT(same64(y[i], sign_of(special[i])));
    CU_ASSERT(same64(r[i], max_of(special[i], 0)));
    CU_ASSERT_EQUAL(nan[i], special[i] != special[i]);
    CU_ASSERT_EQUAL(finite[i], isfinite(special[i]) != 0);
  }
}

static void integers_have_the_formulas_too(void) {
  static const int32_t x[] = {0, 1, -1, 7, -7, INT32_MAX, INT32_MIN, 100}, y[] = {3, -3, 0, 7, 8, -1, 1, 5}, z[] = {2, -5, 1, 7, 6, 0, -2, 50};
  enum { N = sizeof x / sizeof *x };
  int32_t hi[N], lo[N], in[N], sign[N], cube[N];
  run(OP_MAX, TYPE_I32, x, y, NULL, hi, N);
  run(OP_MIN, TYPE_I32, x, y, NULL, lo, N);
  run(OP_CLAMP, TYPE_I32, x, y, z, in, N);
  run(OP_SIGN, TYPE_I32, x, NULL, NULL, sign, N);
  run(OP_POWI, TYPE_I32, x, (const int32_t[N]){3, 3, 3, 3, 3, 3, 3, 3}, NULL, cube, N);
  for (unsigned i = 0; i < N; i++) {
    int32_t most = x[i] > y[i] ? x[i] : y[i], least = x[i] < y[i] ? x[i] : y[i];
    CU_ASSERT_EQUAL(hi[i], most);
    CU_ASSERT_EQUAL(lo[i], least);
    CU_ASSERT_EQUAL(in[i], most < z[i] ? most : z[i]);
    CU_ASSERT_EQUAL(sign[i], (x[i] > 0) - (x[i] < 0));
    CU_ASSERT_EQUAL((uint32_t)cube[i], (uint32_t)x[i] * (uint32_t)x[i] * (uint32_t)x[i]);
  }
}

/* max(x, c) with a constant takes a shorter form: the same bits, on either side. */
static void constants_in_max_and_min_change_no_bit(void) {
  double want[SPECIAL], y[SPECIAL], constant[SPECIAL];
  for (unsigned k = 0; k < SPECIAL; k++) {
    for (unsigned form = 0; form < 4; form++) {
      Op op = form & 1 ? OP_MIN : OP_MAX;
      for (unsigned i = 0; i < SPECIAL; i++) constant[i] = special[k];
      run(op, TYPE_F64, special, constant, NULL, want, SPECIAL);
      Arena *arena = arena_new(NULL, 0);
      FunctionGraph f = function_graph_new(arena, (Type[]){TYPE_F64, TYPE_F64, TYPE_F64}, TYPE_F64);
      const Node *c = graph_f64(f.graph, special[k]);
      graph_write(f.graph, FUNCTION_ARGS, form & 2 ? graph_op2(f.graph, op, c, f.arg[0]) : graph_op2(f.graph, op, f.arg[0], c), NULL);
      function_graph_run(expand_graph(f.graph), (const void *[]){special, special, special}, y, SPECIAL, NULL, arena);
      for (unsigned i = 0; i < SPECIAL; i++) CU_ASSERT(same64(y[i], want[i]));
      arena_free(arena);
    }
  }
}

static void composed_formulas_round_each_operation(void) {
  enum { N = 2000 };
  static float x[N], z[N], y[N], part[N], other[N];
  uint64_t s = 3;
  for (unsigned i = 0; i < N; i++) {
    x[i] = i < SPECIAL ? (float)special[i] : (float)((int64_t)next_random(&s) >> 40) * 0x1p-19f;
    z[i] = (float)special[i % SPECIAL];
  }
  run(OP_SILU, TYPE_F32, x, NULL, NULL, y, N);
  run(OP_SIGMOID, TYPE_F32, x, NULL, NULL, part, N);
  for (unsigned i = 0; i < N; i++) CU_ASSERT(same32(y[i], x[i] * part[i]));
  run(OP_GELU, TYPE_F32, x, NULL, NULL, y, N);
  for (unsigned i = 0; i < N; i++) other[i] = x[i] * (float)0.7071067811865476;
  run(OP_ERF, TYPE_F32, other, NULL, NULL, part, N);
  for (unsigned i = 0; i < N; i++) CU_ASSERT(same32(y[i], x[i] * (0.5f * (1 + part[i]))));
  run(OP_SOFTPLUS, TYPE_F32, x, NULL, NULL, y, N);
  for (unsigned i = 0; i < N; i++) other[i] = -fabsf(x[i]);
  run(OP_EXP, TYPE_F32, other, NULL, NULL, part, N);
  run(OP_LOG1P, TYPE_F32, part, NULL, NULL, other, N);
  for (unsigned i = 0; i < N; i++) CU_ASSERT(same32(y[i], (float)max_of((double)x[i], 0) + other[i]));
  run(OP_LOGADDEXP, TYPE_F32, x, z, NULL, y, N);
  for (unsigned i = 0; i < N; i++) other[i] = -fabsf(x[i] - z[i]);
  run(OP_EXP, TYPE_F32, other, NULL, NULL, part, N);
  run(OP_LOG1P, TYPE_F32, part, NULL, NULL, other, N);
  for (unsigned i = 0; i < N; i++) {
    float m = (float)max_of((double)x[i], (double)z[i]);
    CU_ASSERT(same32(y[i], isinf(m) ? m : m + other[i]));
  }
}

/* --- integer powers ------------------------------------------------------------------------------------------------------------------------ */

static double power_by_hand(double x, int64_t n) {
  uint64_t m = n < 0 ? -(uint64_t)n : (uint64_t)n;
  double y = 1;
  for (int bit = 63; bit >= 0; bit--) {
    y = y * y;
    if (m >> bit & 1) y = y * x;
  }
  return n < 0 ? 1 / y : y;
}

/* The literal form, the scan of scalars and the tensor form. */
static void integer_powers_are_binary_powering_in_every_form(void) {
  static const int64_t exponent[] = {0, 1, 2, 3, 5, 7, 8, 15, 100, 1000, 12345678, -1, -2, -3, -7, -1000, INT64_MAX, INT64_MIN, INT64_C(1) << 53, (INT64_C(1) << 54) - 1};
  double y[SPECIAL], one[1];
  for (unsigned k = 0; k < sizeof exponent / sizeof *exponent; k++) {
    Arena *arena = arena_new(NULL, 0);
    FunctionGraph f = function_graph_new(arena, (Type[]){TYPE_F64, TYPE_I32, TYPE_F64}, TYPE_F64);
    graph_write(f.graph, FUNCTION_ARGS, graph_element(f.graph, OP_POWI, TYPE_F64, 2, (const Node *[]){f.arg[0], graph_i64(f.graph, exponent[k])}), NULL);
    function_graph_run(expand_graph(f.graph), (const void *[]){special, special, special}, y, SPECIAL, NULL, arena);
    FunctionGraph scan = function_graph_new(arena, (Type[]){TYPE_F64, TYPE_I32, TYPE_F64}, TYPE_F64);
    const Node *n = graph_node(scan.graph, OP_HYPER, TYPE_I64, graph_scalar_space(scan.graph), 0, 0, 0, NULL);
    const Node *x = graph_node(scan.graph, OP_HYPER, TYPE_F64, graph_scalar_space(scan.graph), 1, 0, 0, NULL);
    graph_write(scan.graph, FUNCTION_ARGS, graph_element(scan.graph, OP_POWI, TYPE_F64, 2, (const Node *[]){x, n}), NULL);
    Graph *scalar = expand_graph(scan.graph);
    CU_ASSERT(graph_verify(scalar, scalar->module->diag));
    for (unsigned i = 0; i < SPECIAL; i++) {
      uint64_t hyper[3] = {(uint64_t)exponent[k], bits64_of(special[i]), 0};
      function_graph_run(scalar, (const void *[]){special, special, special}, one, 1, hyper, arena);
      double want = power_by_hand(special[i], exponent[k]);
      CU_ASSERT(same64(y[i], want));
      CU_ASSERT(same64(one[0], want));
    }
    arena_free(arena);
  }
  int32_t n[SPECIAL];
  for (unsigned i = 0; i < SPECIAL; i++) n[i] = (int32_t)(i * 17) - 200;
  run(OP_POWI, TYPE_F64, special, n, NULL, y, SPECIAL);
  for (unsigned i = 0; i < SPECIAL; i++) CU_ASSERT(same64(y[i], power_by_hand(special[i], n[i])));
}

/* --- memory ----------------------------------------------------------------------------------------------------------------------------------- */

static void expand_everything(Arena *a, void *self) {
  for (unsigned k = 0; k < ELEMENTARY; k++) expand_graph(function_graph(a, elementary[k].op, TYPE_F32));
  expand_graph(function_graph(a, OP_POW, TYPE_F64));
  expand_graph(function_graph(a, OP_POWI, TYPE_F64));
}

static void every_failing_allocation_is_survived(void) { CU_ASSERT(failing_allocator_try_all(expand_everything, NULL, 100000) > 1); }

int main(void) {
  static const SuiteTest tests[] = {
    TEST(hard_operands_give_the_nearest_f32),
    TEST(sampled_f32_operands_keep_their_promise),
    TEST(f32_pow_is_f64_pow_rounded_once),
    TEST(f64_functions_stay_below_one_ulp),
    TEST(f64_pow_stays_below_one_ulp),
    TEST(edges_are_those_of_annex_f),
    TEST(pow_edges_are_those_of_annex_f),
    TEST(formulas_on_special_values),
    TEST(integers_have_the_formulas_too),
    TEST(constants_in_max_and_min_change_no_bit),
    TEST(composed_formulas_round_each_operation),
    TEST(integer_powers_are_binary_powering_in_every_form),
    TEST(every_failing_allocation_is_survived),
  };
  return suite_run("expand", tests);
}
