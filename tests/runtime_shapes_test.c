/* runtime_shapes_test.c: rules whose tensors have shapes of their own, called on DLPack tensors: attention, strides, tensors of the call, states. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"
#include "tests/support/ways.h"

static const char attention[] =
  "rule attention(scale = 1/sqrt(D)) {\n"
  "  in  Q[B, H, N, D], K[B, G, M, D], V[B, G, M, E]\n"
  "  out O[B, H, N, E], LSE[B, H, N]\n"
  "  require H % G == 0\n"
  "  s[b, h, i, j] = scale*sum[d](Q[b, h, i, d]*K[b, h//(H//G), j, d])\n"
  "  LSE[b, h, i] = logsumexp[j](s[b, h, i, j])\n"
  "  O[b, h, i, e] = sum[j](softmax[j](s[b, h, i, j])*V[b, h//(H//G), j, e])\n"
  "}\n";
enum { Q, K, V, O, LSE, OPERANDS };
enum { B = 2, H = 4, G = 2, N = 5, M = 7, D = 3, E = 6 };

static optc_context *cx;
typedef struct Tensor { DLTensor dl; int64_t shape[4], stride[4]; float data[1000]; } Tensor;

static float made_up(uint32_t x) {
  x = (x ^ 61) ^ x >> 16; x *= 9; x ^= x >> 4; x *= 0x27d4eb2d; x ^= x >> 15;
  return (float)((int32_t)x*0x1p-31);
}

static void tensor_make(Tensor *t, int rank, const int64_t *shape, int seed) {
  *t = (Tensor){.dl = {.data = t->data, .device = {kDLCPU, 0}, .ndim = rank, .dtype = {kDLFloat, 32, 1}, .shape = t->shape}};
  memcpy(t->shape, shape, (size_t)rank*sizeof *shape);
  for (uint32_t i = 0; i < 1000; i++) t->data[i] = seed ? made_up(i*8 + (uint32_t)seed) : 99;
}

typedef struct Problem { Tensor t[OPERANDS]; DLTensor *pointer[OPERANDS]; optc_item_args item; optc_error error; optc_call_args call; } Problem;
static const int64_t shapes[OPERANDS][4] = {{B, H, N, D}, {B, G, M, D}, {B, G, M, E}, {B, H, N, E}, {B, H, N}};

static void problem_make(Problem *p) {
  for (int k = 0; k < OPERANDS; k++) {
    tensor_make(&p->t[k], k == LSE ? 3 : 4, shapes[k], k < O ? k + 1 : 0);
    p->pointer[k] = &p->t[k].dl;
  }
  p->item = (optc_item_args){.tensor = p->pointer};
  p->error = (optc_error){0};
  p->call = (optc_call_args){.size = sizeof p->call, .items = &p->item, .n_items = 1, .error = &p->error};
}

static int forward(const optc_rule *rule, Problem *p) { return optc_rule_call(rule, optc_rule_entry(rule, "forward"), &p->call); }

/* Attention as it is defined, in f64. */
static double expected(const Problem *p, int b, int h, int i, int e, double *lse) {
  double s[M], largest = -INFINITY, l = 0, o = 0;
  int g = h/(H/G);
  for (int j = 0; j < M; j++) {
    s[j] = 0;
    for (int d = 0; d < D; d++) s[j] += (double)p->t[Q].data[((b*H + h)*N + i)*D + d]*(double)p->t[K].data[((b*G + g)*M + j)*D + d]/sqrt(D);
    largest = fmax(largest, s[j]);
  }
  for (int j = 0; j < M; j++) {
    l += exp(s[j] - largest);
    o += exp(s[j] - largest)*(double)p->t[V].data[((b*G + g)*M + j)*E + e];
  }
  *lse = largest + log(l);
  return o/l;
}

static void attention_is_what_it_is_defined_to_be(void) {
  Problem p, first;
  for (int way = 0; way < WAYS; way++) {
    optc_rule *rule = compile_way(cx, attention, way);
    problem_make(&p);
    CU_ASSERT_EQUAL(forward(rule, &p), OPTC_OK);
    int wrong = 0;
    for (int b = 0; b < B; b++)
      for (int h = 0; h < H; h++)
        for (int i = 0; i < N; i++)
          for (int e = 0; e < E; e++) {
            double lse, o = expected(&p, b, h, i, e, &lse);
            int row = (b*H + h)*N + i;
            wrong += !(fabs((double)p.t[O].data[row*E + e] - o) < 1e-6 && fabs((double)p.t[LSE].data[row] - lse) < 1e-6);
          }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(p.t[O].data[B*H*N*E] == 99 && p.t[LSE].data[B*H*N] == 99);
    if (!way) first = p;
    CU_ASSERT_EQUAL(memcmp(first.t[O].data, p.t[O].data, sizeof p.t[O].data), 0);
    CU_ASSERT_EQUAL(memcmp(first.t[LSE].data, p.t[LSE].data, sizeof p.t[LSE].data), 0);
    optc_rule_free(rule);
  }
}

static void strides_and_outputs_left_out_change_no_bit(void) {
  Problem dense, p;
  for (int way = 0; way < WAYS; way++) {
    optc_rule *rule = compile_way(cx, attention, way);
    problem_make(&dense);
    problem_make(&p);
    CU_ASSERT_EQUAL(forward(rule, &dense), OPTC_OK);
    p.pointer[LSE] = NULL;
    Tensor k = p.t[K], o;
    static const int64_t k_stride[4] = {1, B, B*G*D, B*G}, o_stride[4] = {H*N*E, E, H*E, 1};       /* K as [M, D, G, B], O as [B, N, H, E] */
    for (int64_t b = 0; b < B; b++)
      for (int64_t g = 0; g < G; g++)
        for (int64_t m = 0; m < M; m++)
          for (int64_t d = 0; d < D; d++) p.t[K].data[b*k_stride[0] + g*k_stride[1] + m*k_stride[2] + d*k_stride[3]] = k.data[((b*G + g)*M + m)*D + d];
    memcpy(p.t[K].stride, k_stride, sizeof k_stride);
    memcpy(p.t[O].stride, o_stride, sizeof o_stride);
    p.t[K].dl.strides = p.t[K].stride;
    p.t[O].dl.strides = p.t[O].stride;
    CU_ASSERT_EQUAL(forward(rule, &p), OPTC_OK);
    for (int b = 0; b < B; b++)
      for (int h = 0; h < H; h++)
        for (int i = 0; i < N; i++)
          for (int e = 0; e < E; e++) o.data[((b*H + h)*N + i)*E + e] = p.t[O].data[((b*N + i)*H + h)*E + e];
    CU_ASSERT_EQUAL(memcmp(o.data, dense.t[O].data, B*H*N*E*sizeof(float)), 0);
    CU_ASSERT(p.t[LSE].data[0] == 99);
    optc_rule_free(rule);
  }
}

static void expect_refusal(const optc_rule *rule, Problem *p, int code, const char *text, double first, double second) {
  CU_ASSERT_EQUAL(forward(rule, p), code);
  bool right = p->error.code == code && p->error.text && strstr(p->error.text, text) && (p->error.n < 1 || p->error.value[0] == first) && (p->error.n < 2 || p->error.value[1] == second);
  CU_ASSERT(right);
  if (!right) printf("\n  code %d, text '%s', %g %g", p->error.code, p->error.text ? p->error.text : "", p->error.value[0], p->error.value[1]);
  CU_ASSERT(p->t[O].data[0] == 99);
}

static void shapes_that_do_not_fit_are_refused_with_their_numbers(void) {
  for (int way = 0; way < WAYS; way++) {
    optc_rule *rule = compile_way(cx, attention, way);
    Problem p;
    char words[200];
    problem_make(&p);
    p.t[V].shape[1] = 3;
    expect_refusal(rule, &p, OPTC_E_SHAPE, "axis 1 of tensor 'V' is {}, G is {}", 3, 2);
    CU_ASSERT(p.error.operand && !strcmp(p.error.operand, "V"));
    CU_ASSERT_STRING_EQUAL(optc_error_format(words, sizeof words, &p.error), "axis 1 of tensor 'V' is 3, G is 2");
    problem_make(&p);
    p.t[K].shape[3] = 1;
    expect_refusal(rule, &p, OPTC_E_SHAPE, "axis 3 of tensor 'K' is {}, D is {}", 1, 3);
    problem_make(&p);
    p.t[O].shape[2] = 1;
    expect_refusal(rule, &p, OPTC_E_SHAPE, "axis 2 of tensor 'O' is {}, N is {}", 1, 5);
    problem_make(&p);
    p.t[K].dl.ndim = 3;
    expect_refusal(rule, &p, OPTC_E_SHAPE, "tensor 'K' has {} axes", 3, 4);
    problem_make(&p);
    p.t[Q].shape[1] = 3;
    p.t[O].shape[1] = 3;
    p.t[LSE].shape[1] = 3;
    expect_refusal(rule, &p, OPTC_E_REQUIRE, "H % G == 0", 3, 2);
    problem_make(&p);
    p.pointer[V] = NULL;
    expect_refusal(rule, &p, OPTC_E_NULL, "tensor 'V' is not given", 0, 0);
    problem_make(&p);
    p.t[V].dl.dtype.bits = 64;
    expect_refusal(rule, &p, OPTC_E_TYPE, "tensor 'V' does not have element type f32", 0, 0);
    problem_make(&p);
    p.t[V].shape[0] = -1;
    expect_refusal(rule, &p, OPTC_E_SHAPE, "tensor 'V': axis {} has a negative extent, {}", 0, -1);
    problem_make(&p);
    p.t[O].dl.data = p.t[V].data;
    CU_ASSERT_EQUAL(forward(rule, &p), OPTC_E_OVERLAP);
    optc_rule_free(rule);
  }
}

static void operands_say_what_they_are(void) {
  static const char text[] =
    "rule r(c: int = 4) {\n  param p[flat N]\n  grad g\n  in global q[16]: f32, k\n  in scalar hidden: bool = true\n  in X[..., C], y[]\n  state a[(N + c - 1)//c]\n"
    "  p -= g*q[0]*k*where(hidden, 1, 0)*X[0, 0]*y\n  a[i] += p[i]\n}\n";
  static const struct { const char *name, *shape; int tensor, item_shape, rank, has_default; double value; } want[] = {
    {"p", "[flat N]", 1, 1, -1, 0, 0}, {"g", NULL, 1, 1, -1, 0, 0}, {"q", "[16]", 1, 0, 1, 0, 0}, {"k", NULL, 0, 0, 0, 0, 0}, {"hidden", NULL, 0, 0, 0, 1, 1},
    {"X", "[..., C]", 1, 0, -1, 0, 0}, {"y", "[]", 1, 0, 0, 0, 0}, {"a", "[(N+c-1)//c]", 1, 0, 1, 0, 0}};
  optc_rule *rule = compile_way(cx, text, 0);
  CU_ASSERT_EQUAL(optc_rule_operands(rule), 8);
  for (int k = 0; k < 8; k++) {
    optc_operand_info o;
    CU_ASSERT_EQUAL(optc_rule_operand(rule, k, &o), OPTC_OK);
    bool same = !strcmp(o.name, want[k].name) && (want[k].shape ? o.shape && !strcmp(o.shape, want[k].shape) : !o.shape) && o.tensor == want[k].tensor &&
                o.item_shape == want[k].item_shape && o.rank == want[k].rank && o.has_default == want[k].has_default && o.value == want[k].value;
    CU_ASSERT(same);
    if (!same) printf("\n  %s: shape %s, tensor %d, item_shape %d, rank %d, default %d %g", o.name, o.shape ? o.shape : "none", o.tensor, o.item_shape, o.rank, o.has_default, o.value);
  }
  optc_rule_free(rule);
}

/* Tensors of the call and states with their own shape. */
static const char own[] =
  "rule own(lr = 1) {\n  param p[R, C]\n  grad g\n  in global q[C]: f32\n  state rows[R] = 2, total = 0\n"
  "  rows[i] += sum[j](g[i, j]*q[j])\n  total += g\n  p[i, j] -= lr*rows[i]\n}\n";
enum { P_P, P_G, P_Q, P_ROWS, P_TOTAL, OWN };

static void tensors_of_the_call_and_states_with_their_own_shape(void) {
  static const int64_t matrix[2] = {3, 4}, row[1] = {4}, column[1] = {3};
  static const int64_t *const shape[OWN] = {matrix, matrix, row, column, matrix};
  static const int rank[OWN] = {2, 2, 1, 1, 2};
  for (int way = 0; way < WAYS; way++) {
    optc_rule *rule = compile_way(cx, own, way);
    Tensor t[OWN];
    DLTensor *pointer[OWN], *global[OWN] = {NULL};
    for (int k = 0; k < OWN; k++) {
      tensor_make(&t[k], rank[k], shape[k], 0);
      pointer[k] = &t[k].dl;
    }
    for (int i = 0; i < 12; i++) { t[P_P].data[i] = (float)i; t[P_G].data[i] = 1; t[P_Q].data[i] = (float)(i + 1); }
    pointer[P_Q] = NULL;
    global[P_Q] = &t[P_Q].dl;
    int64_t steps = 0;
    optc_error error = {0};
    optc_item_args item = {.tensor = pointer};
    optc_call_args call = {.size = sizeof call, .items = &item, .n_items = 1, .t = &steps, .error = &error, .global_tensor = global};
    optc_state_info info[2];
    CU_ASSERT_EQUAL(optc_rule_layout(rule, &call, 0, info), OPTC_OK);
    CU_ASSERT(info[0].exists && info[0].rank == 1 && info[0].shape[0] == 3 && info[0].count == 3 && info[0].bytes == 12 && info[1].count == 12 && info[1].rank == 2);
    int init = optc_rule_entry(rule, "init"), step = optc_rule_entry(rule, "step");
    CU_ASSERT_EQUAL(optc_rule_call(rule, init, &call), OPTC_OK);
    CU_ASSERT(t[P_ROWS].data[2] == 2 && t[P_ROWS].data[3] == 99);
    CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_OK);
    CU_ASSERT(t[P_ROWS].data[2] == 12 && t[P_P].data[11] == -1 && t[P_TOTAL].data[11] == 1 && steps == 1);

    t[P_ROWS].shape[0] = 2;
    CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_E_SHAPE);
    CU_ASSERT(error.text && strstr(error.text, "tensor 'rows'") && error.value[1] == 2 && error.value[2] == 3);
    t[P_ROWS].shape[0] = 3;
    t[P_Q].shape[0] = 5;
    CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_E_SHAPE);
    CU_ASSERT(error.operand && !strcmp(error.operand, "q"));
    t[P_Q].shape[0] = 4;
    global[P_Q] = NULL;
    CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_E_NULL);
    CU_ASSERT(error.text && strstr(error.text, "tensor 'q' is not given"));
    pointer[P_ROWS] = NULL;
    global[P_Q] = &t[P_Q].dl;
    CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_E_NULL);
    CU_ASSERT_EQUAL(steps, 1);
    optc_rule_free(rule);
  }
}

/* `...` in the shape of a state is the item's own axes: none, one or more. */
static void states_have_the_items_axes_where_dots_stand_for_them(void) {
  static const char text[] =
    "rule dots(lr = 1) {\n  param p\n  grad g\n  if p is [..., I] {\n    state m[..., I], n[I, ...], k[...]\n    m[..., i] += g[..., i]\n"
    "    n[i, ...] += g[..., i]\n    k[...] += sum[i](g[..., i])\n    p[..., i] -= lr*m[..., i] + n[i, ...] + k[...]\n  }\n}\n";
  static const struct { int rank; int64_t shape[4]; int64_t state[3][4]; } items[] = {
    {1, {5}, {{5}, {5}, {0}}}, {2, {3, 5}, {{3, 5}, {5, 3}, {3}}}, {4, {2, 3, 4, 5}, {{2, 3, 4, 5}, {5, 2, 3, 4}, {2, 3, 4}}}};
  for (int way = 0; way < WAYS; way++) {
    optc_rule *rule = compile_way(cx, text, way);
    for (size_t i = 0; i < sizeof items/sizeof *items; i++) {
      Tensor p;
      tensor_make(&p, items[i].rank, items[i].shape, 1);
      DLTensor *pointer[5] = {&p.dl};
      int64_t steps = 0;
      optc_item_args item = {.tensor = pointer};
      optc_call_args call = {.size = sizeof call, .items = &item, .n_items = 1, .t = &steps};
      optc_state_info info[3];
      CU_ASSERT_EQUAL(optc_rule_layout(rule, &call, 0, info), OPTC_OK);
      for (int s = 0; s < 3; s++) {
        int64_t count = 1, rank = items[i].rank - (s == 2);
        for (int64_t a = 0; a < rank; a++) count *= items[i].state[s][a];
        CU_ASSERT(info[s].exists && info[s].rank == rank && info[s].count == count && !memcmp(info[s].shape, items[i].state[s], (size_t)rank*sizeof(int64_t)));
      }
    }
    Tensor none;
    tensor_make(&none, 0, items[0].shape, 1);
    none.dl.shape = NULL;
    DLTensor *pointer[5] = {&none.dl};
    int64_t steps = 0;
    optc_item_args item = {.tensor = pointer};
    optc_call_args call = {.size = sizeof call, .items = &item, .n_items = 1, .t = &steps};
    optc_state_info info[3];
    CU_ASSERT(optc_rule_layout(rule, &call, 0, info) == OPTC_OK && !info[0].exists && !info[2].exists);
    optc_rule_free(rule);
  }
}

static int stores_in(const char *body) {
  static const int kinds[] = {OPTC_EMIT_KERNELS};
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 1, .level = 0};
  optc_emission *e;
  char text[400];
  int n = 0;
  snprintf(text, sizeof text, "rule r() {\n  in x[T, N]\n  out y[T, N]\n  scan t { %s }\n}\n", body);
  int status = optc_emit_memory(cx, "r.opt", text, strlen(text), &options, &e);
  if (status) fprintf(stderr, "\n%s", optc_context_diagnostics(cx));
  CU_ASSERT_EQUAL_FATAL(status, OPTC_OK);
  for (const char *at = optc_emission_data(e, 0, NULL); (at = strstr(at, "store ")); at++) n++;
  optc_emission_free(e);
  return n;
}

/* What a trip does not write is not copied either, where nothing else meets the last version. */
static void a_trip_costs_what_it_writes(void) {
  int one = stores_in("y[t, i] = x[t, i]");
  CU_ASSERT_EQUAL(one, 3);                                /* zeros at first, the row, what goes to the caller */
  CU_ASSERT_EQUAL(stores_in("y[t, i] = x[t, i]; y[t, 0] = 1"), one + 1);
  CU_ASSERT_EQUAL(stores_in("y[t, i] = x[t, i] + y[t - 1, i]"), one + 3);        /* a version beside it, the next value, the value carried */
  CU_ASSERT_EQUAL(stores_in("y[t, i] = x[t, i]; y = 2*y"), one + 3);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(attention_is_what_it_is_defined_to_be), TEST(strides_and_outputs_left_out_change_no_bit), TEST(shapes_that_do_not_fit_are_refused_with_their_numbers),
    TEST(operands_say_what_they_are), TEST(tensors_of_the_call_and_states_with_their_own_shape),
    TEST(states_have_the_items_axes_where_dots_stand_for_them), TEST(a_trip_costs_what_it_writes),
  };
  cx = fixture_context();
  if (!cx) return 1;
  int failed = suite_run("shapes", tests);
  optc_context_free(cx);
  return failed;
}
