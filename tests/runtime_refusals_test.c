/* runtime_refusals_test.c: calls that cannot be right are refused, and the error says what is wrong with which tensor. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

static optc_context *cx;
static const struct { int backend, level; } ways[] = {{OPTC_BACKEND_GRAPH, 2}, {OPTC_BACKEND_KERNEL, 0}, {OPTC_BACKEND_JIT, 0}, {OPTC_BACKEND_JIT, 2}};
enum { WAYS = sizeof ways/sizeof *ways, ELEMENTS = 8, TENSORS = 8 };

static optc_rule *compile(const char *text, int way) {
  optc_compile_options options = {.size = sizeof options, .level = ways[way].level, .backend = ways[way].backend};
  optc_rule *rule;
  int status = optc_compile_memory(cx, "test.opt", text, strlen(text), &options, &rule);
  if (status) fprintf(stderr, "\n%s", optc_context_diagnostics(cx));
  CU_ASSERT_EQUAL_FATAL(status, OPTC_OK);
  return rule;
}

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
      optc_rule *rule = compile(big[i].text, way);
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
      optc_rule *rule = compile(nothing[i].text, way);
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

int main(void) {
  static const SuiteTest tests[] = {
    TEST(extents_whose_product_is_no_number_are_refused), TEST(extents_of_nothing_are_no_error),
  };
  cx = fixture_context();
  if (!cx) return 1;
  int failed = suite_run("refusals", tests);
  optc_context_free(cx);
  return failed;
}
