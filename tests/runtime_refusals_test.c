/* runtime_refusals_test.c: calls that cannot be right are refused, and the error says what is wrong with which tensor. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"
#include "tests/support/ways.h"

static optc_context *cx;
enum { ELEMENTS = 8, TENSORS = 8 };

/* One item, of vectors of eight ones. */
typedef struct Call {
  float data[TENSORS][ELEMENTS];
  DLTensor tensor[TENSORS], *pointer[TENSORS];
  int64_t shape[TENSORS][2], t;
  optc_item_args item;
  optc_error error;
  optc_call_args args;
} Call;

static void call_make(Call *c) {
  *c = (Call){.item = {.tensor = c->pointer}};
  for (int k = 0; k < TENSORS; k++) {
    for (int i = 0; i < ELEMENTS; i++) c->data[k][i] = 1;
    c->shape[k][0] = ELEMENTS;
    c->tensor[k] = (DLTensor){.data = c->data[k], .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = c->shape[k]};
    c->pointer[k] = &c->tensor[k];
  }
  c->args = (optc_call_args){.size = sizeof c->args, .items = &c->item, .n_items = 1, .error = &c->error, .t = &c->t};
}

static int step(const optc_rule *rule, const char *entry, Call *c) { return optc_rule_call(rule, optc_rule_entry(rule, entry), &c->args); }

static bool all_ones(const Call *c) {
  for (int k = 0; k < TENSORS; k++) for (int i = 0; i < ELEMENTS; i++) if (c->data[k][i] != 1) return false;
  return true;
}

/* 2^32 * 2^32 = 0, (2^63 - 1)*4 = -4, 2^62 * 8 = 0: counted without an end, such sizes would wrap to some that fit. */
static void extents_whose_product_is_no_number_are_refused(void) {
  static const struct { const char *text, *entry; int code[2]; } big[] = {
    {"rule r(k: int = 4294967296) { param p; grad g; state m[k, k]; p -= g*m[5, 5]; m[7, 7] = 2 }", "step", {OPTC_E_SHAPE, OPTC_E_SHAPE}},
    {"rule r() { param p; grad g; state m[9223372036854775807, 4]; p -= g*m[5, 3]; m[7, 3] = 2 }", "step", {OPTC_E_SHAPE, OPTC_E_SHAPE}},
    {"rule r(k: int = 4611686018427387904) { in x[N]; out y[N]; z[i < N, j < k] = x[i] + j; y[i] = sum[j < 4](z[i, j]*z[i, k - 1 - j]) }", "forward", {OPTC_E_MEMORY, OPTC_E_SHAPE}},
    {"rule r(k: int = 4611686018427387904) { in x[N]; out y[N]; z[i < N, j < 8, l < k] = x[i] + j; y[i] = sum[j < 4](z[i, j, 1]*z[i, 3 - j, 0]) }", "forward", {OPTC_E_MEMORY, OPTC_E_SHAPE}},
  };
  for (size_t i = 0; i < sizeof big/sizeof *big; i++)
    for (int way = 0; way < WAYS; way++) {
      optc_rule *rule = compile_way(cx, big[i].text, way);
      Call c;
      call_make(&c);
      int want = big[i].code[way > 0], code = step(rule, big[i].entry, &c);
      if (code != want) printf("\n  rule %zu, way %d: %d (%s)", i, way, code, c.error.text ? c.error.text : "");
      CU_ASSERT(code == want && all_ones(&c));
      optc_rule_free(rule);
    }
}

/* The layout of a state that an item has not may be of any size; a product with an extent that is 0 is 0, however large the others are. */
static void extents_of_nothing_are_no_error(void) {
  static const struct { const char *text; int exists; } nothing[] = {
    {"rule r(k: int = 4294967296) { param p; grad g; if k < 5 { state m[k, k]; p -= g*m[5, 5]; m[7, 7] = 2 } }", 0},
    {"rule r(k: int = 4294967296) { param p; grad g; state m[k, k, 0]; m[7, 7, 0] += 2 }", 1},
  };
  for (size_t i = 0; i < sizeof nothing/sizeof *nothing; i++)
    for (int way = 0; way < WAYS; way++) {
      optc_rule *rule = compile_way(cx, nothing[i].text, way);
      Call c;
      call_make(&c);
      c.pointer[2] = NULL;
      optc_state_info info;
      int code = optc_rule_layout(rule, &c.args, 0, &info);
      if (code) printf("\n  rule %zu, way %d: %d (%s)", i, way, code, c.error.text ? c.error.text : "");
      CU_ASSERT(code == OPTC_OK && info.exists == nothing[i].exists && (!info.exists || info.count == 0));
      optc_rule_free(rule);
    }
}

/* --- what the error says ----------------------------------------------------------------------------------------------------------------- */

static int64_t far_strides[1] = {INT64_MAX/4}, still[1] = {0}, twice[1] = {2};
static void no_shape(Call *c) { c->tensor[0].shape = NULL; }
static void no_shape_of_another(Call *c) { c->tensor[1].shape = NULL; }
static void many_axes(Call *c) { c->tensor[1].ndim = 100; }
static void negative(Call *c) { c->shape[0][0] = -3; }
static void strides_of_a_param(Call *c) { c->tensor[0].strides = twice; }
static void stride_out_of_memory(Call *c) { c->tensor[2].strides = far_strides; }
static void stride_zero(Call *c) { c->tensor[3].strides = still; }
static void overlapping(Call *c) { c->tensor[1].data = c->data[0] + 1; }
static void other_extent(Call *c) { c->shape[1][0] = 7; }
static void half(Call *c) { static const double x[3] = {0.5, 0, 1}, *const group = x; c->args.groups = &group; c->args.n_groups = 1; }
static void no_number(Call *c) { static double x[3] = {0, 0, 1}; static const double *const group = x; x[0] = NAN; c->args.groups = &group; c->args.n_groups = 1; }
static void beyond(Call *c) { static const double x[3] = {1e30, 0, 1}, *const group = x; c->args.groups = &group; c->args.n_groups = 1; }
static void third(Call *c) { static const double x[3] = {1, 3, 1}, *const group = x; c->args.groups = &group; c->args.n_groups = 1; }
static void computed(Call *c) { static double x[3] = {1, 0, 0}; static const double *const group = x; x[2] = NAN; c->args.groups = &group; c->args.n_groups = 1; }

static const struct { const char *name; void (*spoil)(Call *); int code; const char *text, *operand, *other; } wrong[] = {
  {"no shape", no_shape, OPTC_E_NULL, "tensor 'p' has 1 axes and its shape is NULL", "p", NULL},
  {"no shape of another", no_shape_of_another, OPTC_E_NULL, "tensor 'g' has 1 axes and its shape is NULL", "g", NULL},
  {"many axes", many_axes, OPTC_E_SHAPE, "tensor 'g' has 100 axes: it may have 0 to 64", "g", NULL},
  {"negative", negative, OPTC_E_SHAPE, "tensor 'p': axis 0 has a negative extent, -3", "p", NULL},
  {"another extent", other_extent, OPTC_E_SHAPE, "tensor 'g': axis 0 has extent 7, expected 8", "g", NULL},
  {"strides of a param", strides_of_a_param, OPTC_E_SHAPE, "tensor 'p': it must be dense and row-major: the stride of axis 0 is 2, not 1", "p", NULL},
  {"stride out of memory", stride_out_of_memory, OPTC_E_SHAPE, "tensor 'x': the stride of axis 0 leads out of memory: 2.305843009213694e+18", "x", NULL},
  {"stride zero", stride_zero, OPTC_E_SHAPE, "tensor 'y': the stride of axis 0 is 0, and the tensor is written: two of its elements are one", "y", NULL},
  {"overlap", overlapping, OPTC_E_OVERLAP, "tensor 'p': it shares memory with another tensor, and one of them is written: 'g'", "p", "g"},
  {"half", half, OPTC_E_TYPE, "hyper-parameter 'n' is an integer, and 0.5 is none of 64 bits", NULL, NULL},
  {"no number", no_number, OPTC_E_TYPE, "hyper-parameter 'n' is an integer, and nan is none of 64 bits", NULL, NULL},
  {"beyond", beyond, OPTC_E_TYPE, "hyper-parameter 'n' is an integer, and 1e+30 is none of 64 bits", NULL, NULL},
  {"third", third, OPTC_E_TYPE, "hyper-parameter 'late' is a bool, 0 or 1, not 3", NULL, NULL},
  {"computed", computed, OPTC_OK, "", NULL, NULL},
};

static bool same(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

static void errors_say_which_tensor_and_what_is_wrong_with_it(void) {
  static const char text[] = "rule r(n: int = 1, late: bool = false, m: int = n + 1) { param p; grad g; in x; out y; y = x*n; p -= g*m*where(late, 0, 1) }";
  for (int way = 0; way < WAYS; way++) {
    optc_rule *rule = compile_way(cx, text, way);
    for (size_t i = 0; i < sizeof wrong/sizeof *wrong; i++) {
      Call c;
      call_make(&c);
      wrong[i].spoil(&c);
      char said[300] = "";
      int code = step(rule, "step", &c);
      if (code) optc_error_format(said, sizeof said, &c.error);
      bool good = code == wrong[i].code && same(said, wrong[i].text) && same(c.error.operand, wrong[i].operand) && same(c.error.other, wrong[i].other) && (!code || all_ones(&c));
      CU_ASSERT(good);
      if (!good) printf("\n  %s: %d, %s", wrong[i].name, code, said);
    }
    optc_rule_free(rule);
  }
}

/* Numbers stand in their places, others behind; what does not fit is cut. */
static void errors_are_formatted(void) {
  static const struct { optc_error error; const char *text; } cases[] = {
    {{.text = "a {} b {}", .n = 2, .value = {1, 0.5}}, "a 1 b 0.5"}, {{.text = "a {}"}, "a {}"}, {{.text = "a", .n = 2, .value = {1, 2}}, "a (1, 2)"},
    {{.text = "{}", .n = 3, .value = {1, 2, 3}}, "1 (2, 3)"}, {{.text = "t", .operand = "m"}, "tensor 'm': t"}, {{.text = NULL}, "refused"},
    {{.text = "tensor 'm' is not", .operand = "m", .other = "v"}, "tensor 'm' is not: 'v'"},
  };
  char out[64], small[4];
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) CU_ASSERT_STRING_EQUAL(optc_error_format(out, sizeof out, &cases[i].error), cases[i].text);
  CU_ASSERT_STRING_EQUAL(optc_error_format(small, sizeof small, &cases[0].error), "a 1");
  small[0] = 'x';
  CU_ASSERT(optc_error_format(small, 0, &cases[0].error) == small && small[0] == 'x');
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(extents_whose_product_is_no_number_are_refused), TEST(extents_of_nothing_are_no_error),
    TEST(errors_say_which_tensor_and_what_is_wrong_with_it), TEST(errors_are_formatted),
  };
  cx = fixture_context();
  if (!cx) return 1;
  int failed = suite_run("refusals", tests);
  optc_context_free(cx);
  return failed;
}
