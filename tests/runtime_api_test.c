/* runtime_api_test.c: optc.h as a host program uses it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "runtime/optc.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

static const char adamw[] =
  "rule adamw(lr = 1e-3, beta1 = 0.9 as \"betas[0]\", beta2 = 0.999 as \"betas[1]\", eps = 1e-8, decay = 1e-2 as \"weight_decay\") {\n"
  "  param p\n"
  "  grad  g\n"
  "  state m = 0 as \"exp_avg\", v = 0 as \"exp_avg_sq\"\n"
  "  require 0 <= beta1 < 1\n"
  "  p *= 1 - lr*decay\n"
  "  m  = beta1*m + (1 - beta1)*g\n"
  "  v  = beta2*v + (1 - beta2)*g^2\n"
  "  p -= lr/(1 - beta1^t)*m/(sqrt(v/(1 - beta2^t)) + eps)\n"
  "}\n";
enum { LR, BETA1, BETA2, EPS, DECAY, HYPERS, P = 0, G, M, V, OPERANDS };
static const double usual[HYPERS] = {1e-3, 0.9, 0.999, 1e-8, 1e-2};

static optc_rule *compile(optc_context *cx, const char *text, int backend, int level) {
  optc_compile_options options = {.size = sizeof options, .level = level, .backend = backend};
  optc_rule *rule;
  int status = optc_compile_memory(cx, "test.opt", text, strlen(text), &options, &rule);
  if (status) fprintf(stderr, "%s", optc_context_diagnostics(cx));
  CU_ASSERT_EQUAL_FATAL(status, OPTC_OK);
  return rule;
}

/* --- a list of items with made-up parameters and gradients --------------------------------------------------------------------- */
typedef struct Item { int64_t shape[3]; int rank; DLTensor tensor[OPERANDS], *pointer[OPERANDS]; float *data[OPERANDS]; size_t n; } Item;

static float made_up(uint32_t x) {
  x = (x ^ 61) ^ x >> 16; x *= 9; x ^= x >> 4; x *= 0x27d4eb2d; x ^= x >> 15;
  return (float)((int32_t)x*0x1p-31);
}

static void item_make(Item *item, int rank, const int64_t *shape) {
  *item = (Item){.rank = rank, .n = 1};
  for (int a = 0; a < rank; a++) item->n *= (size_t)(item->shape[a] = shape[a]);
  for (int k = 0; k < OPERANDS; k++) {
    item->data[k] = calloc(item->n + 1, sizeof(float));
    for (size_t i = 0; i < item->n; i++) item->data[k][i] = k < M ? made_up((uint32_t)i*4 + (uint32_t)k) : 0;
    item->tensor[k] = (DLTensor){.data = item->data[k], .device = {kDLCPU, 0}, .ndim = rank, .dtype = {kDLFloat, 32, 1}, .shape = item->shape};
    item->pointer[k] = &item->tensor[k];
  }
}
static void item_free(Item *item) { for (int k = 0; k < OPERANDS; k++) free(item->data[k]); }

typedef struct List { Item item[4]; optc_item_args args[4]; int n; int64_t t; optc_error error; optc_call_args call; const double *groups[1]; } List;
static void list_make(List *l) {
  static const int64_t shapes[][3] = {{7}, {3, 5}, {70000}, {2, 3, 11}};
  static const int ranks[] = {1, 2, 1, 3};
  memset(l, 0, sizeof *l);
  l->n = 4;
  for (int i = 0; i < l->n; i++) {
    item_make(&l->item[i], ranks[i], shapes[i]);
    l->args[i] = (optc_item_args){.tensor = l->item[i].pointer};
  }
  l->groups[0] = usual;
  l->call = (optc_call_args){.size = sizeof l->call, .groups = l->groups, .n_groups = 1, .items = l->args, .n_items = l->n, .t = &l->t, .error = &l->error};
}
static void list_free(List *l) { for (int i = 0; i < l->n; i++) item_free(&l->item[i]); }

static void list_steps(List *l, const optc_rule *rule, int steps) {
  CU_ASSERT_EQUAL(optc_rule_call(rule, optc_rule_entry(rule, "init"), &l->call), OPTC_OK);
  for (int s = 0; s < steps; s++) CU_ASSERT_EQUAL(optc_rule_call(rule, optc_rule_entry(rule, "step"), &l->call), OPTC_OK);
  CU_ASSERT_EQUAL(l->t, steps);
}
static bool list_same(const List *a, const List *b) {
  for (int i = 0; i < a->n; i++)
    for (int k = 0; k < OPERANDS; k++)
      if (memcmp(a->item[i].data[k], b->item[i].data[k], a->item[i].n*sizeof(float))) return false;
  return true;
}

/* --- tests --------------------------------------------------------------------------------------------------------------------------- */
static void backends_agree_in_every_bit(void) {
  static const struct { int backend, level; } way[] = {{OPTC_BACKEND_GRAPH, 2}, {OPTC_BACKEND_KERNEL, 0}, {OPTC_BACKEND_KERNEL, 2}, {OPTC_BACKEND_JIT, 0}, {OPTC_BACKEND_JIT, 2}};
  optc_context *cx = fixture_context();
  List reference;
  for (int i = 0; i < 5; i++) {
    optc_rule *rule = compile(cx, adamw, way[i].backend, way[i].level);
    List own;
    list_make(i ? &own : &reference);
    list_steps(i ? &own : &reference, rule, 3);
    if (i) {
      CU_ASSERT(list_same(&reference, &own));
      list_free(&own);
    }
    optc_rule_free(rule);
  }
  CU_ASSERT_NOT_EQUAL(reference.item[0].data[M][0], 0);
  CU_ASSERT_NOT_EQUAL(reference.item[2].data[P][69999], made_up(69999*4));
  CU_ASSERT_EQUAL(optc_context_compilations(cx), 2);
  list_free(&reference);
  optc_context_free(cx);
}

static void a_thousand_lr_and_a_hundred_lists_are_one_compilation(void) {
  optc_context *cx = fixture_context();
  optc_rule *rule = compile(cx, adamw, OPTC_BACKEND_JIT, -1);
  int step = optc_rule_entry(rule, "step");
  for (int list = 0; list < 100; list++) {
    int64_t n = 1 + list*37 % 501, shape[2] = {n, 1 + list % 3};
    Item item;
    item_make(&item, 1 + list % 2, shape);
    optc_item_args args = {.tensor = item.pointer};
    int64_t t = 0;
    for (int k = 0; k < 10; k++) {
      double hyper[HYPERS];
      memcpy(hyper, usual, sizeof hyper);
      hyper[LR] = 1e-3*(1 + list*10 + k);
      const double *groups[] = {hyper};
      optc_call_args call = {.size = sizeof call, .groups = groups, .n_groups = 1, .items = &args, .n_items = 1, .t = &t};
      float before = item.data[P][0];
      CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_OK);
      CU_ASSERT_NOT_EQUAL(item.data[P][0], before);
    }
    item_free(&item);
  }
  CU_ASSERT_EQUAL(optc_context_compilations(cx), 1);
  optc_rule_free(rule);
  optc_context_free(cx);
}

static void thread_count_does_not_change_bits(void) {
  optc_context *cx = fixture_context();
  optc_rule *rule = compile(cx, adamw, OPTC_BACKEND_JIT, 2);
  List serial;
  list_make(&serial);
  list_steps(&serial, rule, 4);
  for (int threads = 1; threads <= 3; threads++) {
    List own;
    list_make(&own);
    optc_parallel parallel = optc_parallel_openmp(threads);
    own.call.parallel = &parallel;
    list_steps(&own, rule, 4);
    CU_ASSERT(list_same(&serial, &own));
    list_free(&own);
  }
  list_free(&serial);
  optc_rule_free(rule);
  optc_context_free(cx);
}

static void *one_thread(void *self) {
  optc_context *cx = fixture_context();
  optc_rule *rule = compile(cx, adamw, OPTC_BACKEND_JIT, 2);
  optc_context_free(cx);                                    /* the rule outlives its context */
  list_steps(self, rule, 3);
  optc_rule_free(rule);
  return NULL;
}

static void two_contexts_work_in_two_threads(void) {
  List list[2];
  pthread_t thread[2];
  for (int i = 0; i < 2; i++) {
    list_make(&list[i]);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, one_thread, &list[i]), 0);
  }
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  CU_ASSERT(list_same(&list[0], &list[1]));
  for (int i = 0; i < 2; i++) list_free(&list[i]);
}

static const optc_rule *shared_rule;
static void *call_shared(void *self) { list_steps(self, shared_rule, 3); return NULL; }

static void one_rule_may_be_called_from_two_threads(void) {
  static const int backends[] = {OPTC_BACKEND_JIT, OPTC_BACKEND_KERNEL};
  optc_context *cx = fixture_context();
  for (int b = 0; b < 2; b++) {
    optc_rule *rule = compile(cx, adamw, backends[b], 2);
    shared_rule = rule;
    List list[2];
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) {
      list_make(&list[i]);
      CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, call_shared, &list[i]), 0);
    }
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    CU_ASSERT(list_same(&list[0], &list[1]));
    for (int i = 0; i < 2; i++) list_free(&list[i]);
    optc_rule_free(rule);
  }
  optc_context_free(cx);
}

static void a_rule_tells_what_it_is(void) {
  optc_context *cx = fixture_context();
  static const int backends[] = {OPTC_BACKEND_JIT, OPTC_BACKEND_GRAPH, OPTC_BACKEND_KERNEL};
  for (int b = 0; b < 3; b++) {
    optc_rule *rule = compile(cx, adamw, backends[b], 2);
    optc_hyper_info hyper;
    optc_operand_info operand;
    CU_ASSERT_STRING_EQUAL(optc_rule_name(rule), "adamw");
    CU_ASSERT_EQUAL(optc_rule_hypers(rule), HYPERS);
    CU_ASSERT_EQUAL(optc_rule_operands(rule), OPERANDS);
    CU_ASSERT_EQUAL(optc_rule_hyper(rule, BETA1, &hyper), OPTC_OK);
    CU_ASSERT_STRING_EQUAL(hyper.name, "beta1");
    CU_ASSERT_STRING_EQUAL(hyper.external, "betas[0]");
    CU_ASSERT_EQUAL(hyper.value, 0.9);
    CU_ASSERT(hyper.has_default && hyper.type == 0);
    CU_ASSERT_EQUAL(optc_rule_hyper(rule, HYPERS, &hyper), OPTC_E_NULL);
    CU_ASSERT_EQUAL(optc_rule_operand(rule, V, &operand), OPTC_OK);
    CU_ASSERT_STRING_EQUAL(operand.name, "v");
    CU_ASSERT_STRING_EQUAL(operand.external, "exp_avg_sq");
    CU_ASSERT_STRING_EQUAL(operand.type, "f32");
    CU_ASSERT(operand.role == 5 && operand.scope == 0 && operand.bytes == 4);
    int step = optc_rule_entry(rule, "step");
    static const int use[OPERANDS] = {3, 1, 3, 3};
    for (int k = 0; k < OPERANDS; k++) CU_ASSERT_EQUAL(optc_rule_use(rule, step, k), use[k]);
    CU_ASSERT_EQUAL(optc_rule_entry(rule, "nothing"), -1);
    CU_ASSERT_STRING_EQUAL(optc_rule_entry_name(rule, step), "step");
    optc_rule_free(rule);
  }
  optc_context_free(cx);
}

/* The same answer from every backend at every level: without momentum there is no buffer, so none need be given. */
static void storage_types_have_their_dlpack_types(void) {
  static const struct { const char *name; DLDataType type; } rows[] = {
    {"bool", {kDLBool, 8, 1}}, {"i8", {kDLInt, 8, 1}}, {"u8", {kDLUInt, 8, 1}}, {"i32", {kDLInt, 32, 1}}, {"i64", {kDLInt, 64, 1}},
    {"bf16", {kDLBfloat, 16, 1}}, {"f16", {kDLFloat, 16, 1}}, {"f32", {kDLFloat, 32, 1}}, {"f64", {kDLFloat, 64, 1}}};
  for (size_t i = 0; i < sizeof rows/sizeof *rows; i++) {
    DLDataType type = {0};
    CU_ASSERT_EQUAL(optc_dlpack_type(rows[i].name, &type), OPTC_OK);
    CU_ASSERT(type.code == rows[i].type.code && type.bits == rows[i].type.bits && type.lanes == 1);
  }
  DLDataType type = {9, 9, 9};
  CU_ASSERT_EQUAL(optc_dlpack_type("f33", &type), OPTC_E_TYPE);
  CU_ASSERT_EQUAL(type.code, 9);
  CU_ASSERT_EQUAL(optc_dlpack_type(NULL, &type), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_dlpack_type("f32", NULL), OPTC_E_NULL);
}

static void a_state_that_does_not_exist_needs_no_memory(void) {
  static const char rule_text[] = "rule sgd(lr = 0.1, momentum = 0.9) {\n  param p\n  grad g\n  if momentum > 0 {\n    state b\n    b = momentum*b + g\n    g = b\n  }\n  p -= lr*g\n}\n";
  optc_context *cx = fixture_context();
  for (int backend = 0; backend < 3; backend++)
    for (int level = 0; level < 3; level++) {
      optc_rule *rule = compile(cx, rule_text, backend, level);
      int step = optc_rule_entry(rule, "step"), init = optc_rule_entry(rule, "init");
      float p[3] = {1, 2, 3}, g[3] = {1, 1, 1}, b[3] = {0};
      int64_t n = 3, t = 0;
      DLTensor tensor[3] = {{.data = p, .device = {kDLCPU}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = &n}};
      tensor[1] = tensor[2] = tensor[0];
      tensor[1].data = g;
      tensor[2].data = b;
      DLTensor *given[3] = {&tensor[0], &tensor[1], NULL};
      optc_item_args item = {.tensor = given};
      double with[2] = {0.1, 0.9}, without[2] = {0.1, 0};
      const double *group = without;
      optc_call_args call = {.size = sizeof call, .groups = &group, .n_groups = 1, .items = &item, .n_items = 1, .t = &t};
      CU_ASSERT_EQUAL(optc_rule_call(rule, init, &call), OPTC_OK);
      CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_OK);
      CU_ASSERT(p[0] == 0.9f && p[2] == 2.9f);
      group = with;
      CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_E_NULL);
      given[2] = &tensor[2];
      CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_OK);
      CU_ASSERT_EQUAL(b[1], 1);
      CU_ASSERT_EQUAL(optc_rule_use(rule, step, 2), OPTC_USE_READ | OPTC_USE_WRITTEN | OPTC_USE_CONDITIONAL);
      CU_ASSERT_EQUAL(optc_rule_use(rule, step, 0), OPTC_USE_READ | OPTC_USE_WRITTEN);
      optc_rule_free(rule);
    }
  optc_context_free(cx);
}

static void states_are_listed_for_an_item(void) {
  optc_context *cx = fixture_context();
  optc_rule *rule = compile(cx, adamw, OPTC_BACKEND_JIT, 2);
  List l;
  list_make(&l);
  optc_state_info info[2];
  CU_ASSERT_EQUAL(optc_rule_layout(rule, &l.call, 1, info), OPTC_OK);
  CU_ASSERT_STRING_EQUAL(info[0].external, "exp_avg");
  CU_ASSERT_STRING_EQUAL(info[1].name, "v");
  CU_ASSERT(info[0].exists && info[1].exists);
  CU_ASSERT_EQUAL(info[1].count, 15);
  CU_ASSERT_EQUAL(info[1].bytes, 60);
  CU_ASSERT_EQUAL(optc_rule_layout(rule, &l.call, 4, info), OPTC_E_SHAPE);
  list_free(&l);
  optc_rule_free(rule);
  optc_context_free(cx);
}

/* Every wrong call gives its code and text, and changes nothing. */
typedef struct Wrong { const char *name; void (*spoil)(List *); int code; const char *text; int n; double value[3]; } Wrong;
static double spoilt[HYPERS];
static int64_t other_shape[3] = {3, 6, 1}, wide[2] = {7, 1};
static void wrong_extent(List *l) { l->item[1].tensor[G].shape = other_shape; }
static void wrong_rank(List *l) { l->item[0].tensor[M].ndim = 2; l->item[0].tensor[M].shape = other_shape; }
static void wrong_type(List *l) { l->item[2].tensor[V].dtype.code = kDLBfloat; l->item[2].tensor[V].dtype.bits = 16; }
static void wrong_device(List *l) { l->item[0].tensor[P].device.device_type = (DLDeviceType)2; }
static void no_gradient(List *l) { l->item[3].pointer[G] = NULL; }
static void no_state(List *l) { l->item[3].pointer[V] = NULL; }
static void wrong_group(List *l) { l->args[2].group = 1; }
static void wrong_stride(List *l) { l->item[1].tensor[P].strides = wide; }
static void overlapping(List *l) { l->item[0].tensor[M].data = l->item[0].data[P]; }
static void wrong_size(List *l) { l->call.size -= 8; }
static void no_t(List *l) { l->call.t = NULL; }
static void wrong_beta(List *l) { memcpy(spoilt, usual, sizeof spoilt); spoilt[BETA1] = 1.5; l->groups[0] = spoilt; }
static const Wrong wrong[] = {
  {"extent", wrong_extent, OPTC_E_SHAPE, "tensor 'g': axis {} has extent {}, expected {}", 3, {1, 6, 5}},
  {"rank", wrong_rank, OPTC_E_SHAPE, "tensor 'm' has {} axes, expected {}", 2, {2, 1}},
  {"type", wrong_type, OPTC_E_TYPE, "tensor 'v' does not have element type f32", 0, {0}},
  {"device", wrong_device, OPTC_E_TYPE, "tensor 'p' is not in main memory", 0, {0}},
  {"gradient", no_gradient, OPTC_E_NULL, "tensor 'g' is not given", 0, {0}},
  {"state", no_state, OPTC_E_NULL, NULL, 0, {0}},
  {"group", wrong_group, OPTC_E_GROUP, "the group is {}, and the call has {}, which count from 0", 2, {1, 1}},
  {"stride", wrong_stride, OPTC_E_SHAPE, "it must be dense and row-major: the stride of axis {} is {}, not {}", 3, {0, 7, 5}},
  {"overlap", overlapping, OPTC_E_OVERLAP, NULL, 0, {0}},
  {"size", wrong_size, OPTC_E_SIZE, NULL, 2, {sizeof(optc_call_args) - 8, sizeof(optc_call_args)}},
  {"t", no_t, OPTC_E_NULL, "t is NULL: the entry counts steps", 0, {0}},
  {"require", wrong_beta, OPTC_E_REQUIRE, "requirement not met: 0 <= beta1 < 1 (beta1 = {})", 1, {1.5}},
};

static void wrong_calls_are_errors_and_write_nothing(void) {
  static const int backends[] = {OPTC_BACKEND_JIT, OPTC_BACKEND_GRAPH, OPTC_BACKEND_KERNEL};
  optc_context *cx = fixture_context();
  for (int b = 0; b < 3; b++) {
    optc_rule *rule = compile(cx, adamw, backends[b], 2);
    for (size_t i = 0; i < sizeof wrong/sizeof *wrong; i++) {
      List l, untouched;
      list_make(&l);
      list_make(&untouched);
      wrong[i].spoil(&l);
      int code = optc_rule_call(rule, optc_rule_entry(rule, "step"), &l.call);
      if (code != wrong[i].code) fprintf(stderr, "wrong %s: code %d, expected %d\n", wrong[i].name, code, wrong[i].code);
      CU_ASSERT_EQUAL(code, wrong[i].code);
      CU_ASSERT_EQUAL(l.error.code, wrong[i].code);
      CU_ASSERT_PTR_NOT_NULL_FATAL(l.error.text);
      if (wrong[i].text) CU_ASSERT_STRING_EQUAL(l.error.text, wrong[i].text);
      if (wrong[i].n >= 0) CU_ASSERT_EQUAL(l.error.n, wrong[i].n);
      for (int k = 0; k < wrong[i].n; k++) CU_ASSERT_EQUAL(l.error.value[k], wrong[i].value[k]);
      if (code == OPTC_E_REQUIRE) {
        CU_ASSERT(strstr(l.error.text, "beta1") != NULL);
        bool told = false;
        for (int k = 0; k < l.error.n; k++) told |= l.error.value[k] == 1.5;
        CU_ASSERT(told);
      }
      CU_ASSERT_EQUAL(l.t, 0);
      CU_ASSERT(list_same(&l, &untouched));
      list_free(&l);
      list_free(&untouched);
    }
    CU_ASSERT_EQUAL(optc_rule_call(rule, 99, &(optc_call_args){.size = sizeof(optc_call_args)}), OPTC_E_NULL);
    optc_rule_free(rule);
  }
  optc_context_free(cx);
}

static void dense_strides_and_byte_offsets_are_understood(void) {
  optc_context *cx = fixture_context();
  optc_rule *rule = compile(cx, adamw, OPTC_BACKEND_JIT, 2);
  int64_t shape[3] = {2, 1, 3}, strides[3] = {3, 777, 1};
  Item plain, odd;
  item_make(&plain, 3, shape);
  item_make(&odd, 3, shape);
  odd.data[P] = realloc(odd.data[P], 16*sizeof(float));
  memmove(odd.data[P] + 5, odd.data[P], 6*sizeof(float));
  odd.tensor[P].data = odd.data[P];
  odd.tensor[P].byte_offset = 5*sizeof(float);
  odd.tensor[P].strides = strides;
  Item *both[] = {&plain, &odd};
  for (int i = 0; i < 2; i++) {
    int64_t t = 0;
    optc_item_args args = {.tensor = both[i]->pointer};
    optc_call_args call = {.size = sizeof call, .items = &args, .n_items = 1, .t = &t};
    CU_ASSERT_EQUAL(optc_rule_call(rule, optc_rule_entry(rule, "step"), &call), OPTC_OK);
  }
  CU_ASSERT(!memcmp(plain.data[P], odd.data[P] + 5, 6*sizeof(float)));
  item_free(&plain);
  item_free(&odd);
  optc_rule_free(rule);
  optc_context_free(cx);
}

static void pointers_that_are_null_and_numbers_out_of_range_are_errors(void) {
  optc_context *cx = fixture_context();
  optc_rule *rule;
  static const char text[] = "rule o(lr = 0.5, momentum = 0) {\n  param p\n  grad g\n  out u\n  if momentum > 0 {\n    state b = 0\n    b = momentum*b + g\n    g = b\n  }\n"
                             "  u = lr*g\n  p -= u\n}\n";
  CU_ASSERT_EQUAL_FATAL(optc_compile_memory(cx, "o.opt", text, sizeof text - 1, NULL, &rule), OPTC_OK);
  int step = optc_rule_entry(rule, "step");
  optc_state_info state[1];
  optc_operand_info operand;
  CU_ASSERT_EQUAL(optc_rule_call(rule, step, NULL), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_rule_call(NULL, 0, NULL), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_rule_call_raw(rule, step, NULL), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_rule_layout(rule, NULL, 0, state), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_rule_entry(rule, NULL), -1);
  CU_ASSERT_PTR_NULL(optc_rule_entry_name(rule, 99));
  CU_ASSERT_EQUAL(optc_rule_hyper(rule, 0, NULL), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_rule_use(rule, -1, 0), -1);
  CU_ASSERT_EQUAL(optc_rule_workspace_size(rule, NULL), 0);
  CU_ASSERT(optc_rule_operand(rule, 2, &operand) == OPTC_OK && operand.optional);
  float p[3] = {1, 2, 3}, g[3] = {2, 2, 2};
  int64_t shape[] = {3}, t = 0;
  DLTensor x = {.data = p, .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = shape}, y = x, nothing = x, *tensor[4] = {&x, &y, NULL, NULL};
  y.data = g;
  nothing.data = NULL;
  optc_error error;
  optc_item_args item = {.tensor = tensor};
  optc_call_args call = {.size = sizeof call, .items = &item, .n_items = 1, .t = &t, .error = &error};
  CU_ASSERT_EQUAL(optc_rule_call(rule, step, &call), OPTC_OK);
  tensor[2] = tensor[3] = &nothing;      /* an out, and a state that does not exist, without memory */
  CU_ASSERT(optc_rule_call(rule, step, &call) == OPTC_OK && p[0] == -1 && t == 2);
  tensor[1] = &nothing;
  CU_ASSERT(optc_rule_call(rule, step, &call) == OPTC_E_NULL && error.operand && !strcmp(error.operand, "g"));
  tensor[1] = &y;
  y.data = (char *)p + 4;                /* not aligned with its neighbours is no error: overlapping is */
  CU_ASSERT(optc_rule_call(rule, step, &call) == OPTC_E_OVERLAP && error.operand && !strcmp(error.operand, "p"));
  y.data = g;
  t = -1;
  CU_ASSERT(optc_rule_call(rule, step, &call) == OPTC_E_SHAPE && strstr(error.text, "t cannot be stepped") && t == -1);
  t = INT64_MAX;
  CU_ASSERT(optc_rule_call(rule, step, &call) == OPTC_E_SHAPE && strstr(error.text, "t cannot be stepped"));
  t = 0;
  call.n_items = -4;
  CU_ASSERT(optc_rule_call(rule, step, &call) == OPTC_E_SHAPE && !strcmp(error.text, "n_items is negative") && error.value[0] == -4);
  CU_ASSERT(optc_rule_call(rule, 99, &call) == OPTC_E_NULL && !strcmp(error.text, "there is no such entry"));
  optc_rule_free(rule);
  optc_context_free(cx);
}

static void wrong_text_gives_diagnostics(void) {
  static const char text[] = "rule r(beta1 = 0.9) {\n  param p\n  grad g\n  p -= beta*g\n}\n";
  optc_context *cx = fixture_context();
  optc_rule *rule = (optc_rule *)cx;
  CU_ASSERT_EQUAL(optc_compile_memory(cx, "r.opt", text, strlen(text), NULL, &rule), OPTC_E_INPUT);
  CU_ASSERT_PTR_NULL(rule);
  CU_ASSERT(strstr(optc_context_diagnostics(cx), "r.opt:4:8: error: unknown name 'beta'") != NULL);
  CU_ASSERT(strstr(optc_context_diagnostics(cx), "\033") == NULL);
  CU_ASSERT(strstr(optc_context_diagnostics_json(cx), "unknown name 'beta'") != NULL);
  CU_ASSERT_EQUAL(optc_compile_file(cx, "/nowhere/r.opt", NULL, &rule), OPTC_E_FILE);
  CU_ASSERT(strstr(optc_context_diagnostics(cx), "/nowhere/r.opt") != NULL);
  CU_ASSERT_EQUAL(optc_compile_file(cx, "/", NULL, &rule), OPTC_E_FILE);
  optc_compile_options options = {.size = sizeof options, .level = 3};
  CU_ASSERT_EQUAL(optc_compile_memory(cx, "a.opt", adamw, strlen(adamw), &options, &rule), OPTC_E_INPUT);
  options = (optc_compile_options){.size = sizeof options, .level = 2, .cpu = "no-such-cpu"};
  CU_ASSERT_EQUAL(optc_compile_memory(cx, "a.opt", adamw, strlen(adamw), &options, &rule), OPTC_E_TARGET);
  options = (optc_compile_options){.size = sizeof options, .level = 2, .passes = "expand,no_such_pass"};
  CU_ASSERT_EQUAL(optc_compile_memory(cx, "a.opt", adamw, strlen(adamw), &options, &rule), OPTC_E_INPUT);
  options = (optc_compile_options){.size = sizeof options, .level = 2, .rule = "no_such_rule"};
  CU_ASSERT_EQUAL(optc_compile_memory(cx, "a.opt", adamw, strlen(adamw), &options, &rule), OPTC_E_INPUT);
  CU_ASSERT_EQUAL(optc_compile_memory(cx, "a.opt", adamw, strlen(adamw), NULL, &rule), OPTC_OK);
  CU_ASSERT_STRING_EQUAL(optc_context_diagnostics(cx), "");
  optc_rule_free(rule);
  optc_context_free(cx);
}

static void contexts_and_emissions_refuse_null(void) {
  optc_context *cx = fixture_context();
  optc_rule *rule = (optc_rule *)cx;
  optc_emission *e = (optc_emission *)cx;
  static const int kinds[] = {OPTC_EMIT_HEADER};
  static const char *const cpus[] = {"x86-64-v3", NULL};
  const optc_emit_options good = {.size = sizeof good, .kinds = kinds, .n_kinds = 1, .level = -1};
  optc_emit_options bad[] = {good, good, good, good};
  bad[0].kinds = NULL;
  bad[1].n_kinds = -1;
  bad[2].n_cpus = 1;
  bad[3].cpus = cpus;
  bad[3].n_cpus = 2;
  size_t n = strlen(adamw), size = 7;
#define NONE(call, made) do { made = (void *)cx; CU_ASSERT(call == OPTC_E_NULL && made == NULL); } while (0)
  NONE(optc_compile_file(NULL, "a.opt", NULL, &rule), rule);
  NONE(optc_compile_file(cx, NULL, NULL, &rule), rule);
  NONE(optc_compile_memory(NULL, "a.opt", adamw, n, NULL, &rule), rule);
  NONE(optc_compile_memory(cx, NULL, adamw, n, NULL, &rule), rule);
  NONE(optc_compile_memory(cx, "a.opt", NULL, n, NULL, &rule), rule);
  NONE(optc_load(NULL, "a.so", "a", &rule), rule);
  NONE(optc_load(cx, NULL, "a", &rule), rule);
  NONE(optc_load(cx, "a.so", NULL, &rule), rule);
  NONE(optc_emit_file(NULL, "a.opt", &good, &e), e);
  NONE(optc_emit_file(cx, NULL, &good, &e), e);
  NONE(optc_emit_memory(NULL, "a.opt", adamw, n, &good, &e), e);
  NONE(optc_emit_memory(cx, NULL, adamw, n, &good, &e), e);
  NONE(optc_emit_memory(cx, "a.opt", NULL, n, &good, &e), e);
  for (int i = 0; i < 4; i++) NONE(optc_emit_memory(cx, "a.opt", adamw, n, &bad[i], &e), e);
#undef NONE
  CU_ASSERT_EQUAL(optc_compile_file(cx, "a.opt", NULL, NULL), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_compile_memory(cx, "a.opt", adamw, n, NULL, NULL), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_load(cx, "a.so", "a", NULL), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_emit_memory(cx, "a.opt", adamw, n, &good, NULL), OPTC_E_NULL);
  CU_ASSERT_EQUAL(optc_compile_memory(cx, "empty.opt", NULL, 0, NULL, &rule), OPTC_E_INPUT);          /* an empty text is a text */
  CU_ASSERT_STRING_EQUAL(optc_context_diagnostics(NULL), "");
  CU_ASSERT_STRING_EQUAL(optc_context_diagnostics_json(NULL), "[]\n");
  CU_ASSERT(optc_context_compilations(NULL) == 0 && !optc_context_targets(NULL));
  CU_ASSERT(!optc_emission_rule(NULL) && !optc_emission_data(NULL, 0, &size) && size == 7 && !optc_emission_source(NULL, 0));
  CU_ASSERT_EQUAL_FATAL(optc_emit_memory(cx, "a.opt", adamw, n, &good, &e), OPTC_OK);
  CU_ASSERT_PTR_NOT_NULL(optc_emission_data(e, 0, NULL));
  optc_emission_free(e);
  optc_emission_free(NULL);
  optc_rule_free(NULL);
  optc_context_free(NULL);
  optc_context_free(cx);
}

/* The entry behind optc_rule_layout is none of the rule's: not in the list, not by name, not by a number. */
/* What an earlier call left is no answer to this one. */
static void errors_of_an_earlier_call_do_not_stay(void) {
  static const char refused[] = "rule r() { param p; p -= gg }", null[] = "error: a pointer that must be given is NULL\n";
  optc_rule *rule = NULL;
  optc_emission *e = NULL;
  optc_context *mine = fixture_context();
  for (int i = 0; i < 4; i++) {
    CU_ASSERT(optc_compile_memory(mine, "wrong.opt", refused, strlen(refused), NULL, &rule) == OPTC_E_INPUT && strstr(optc_context_diagnostics(mine), "gg"));
    int status = i == 0 ? optc_compile_memory(mine, NULL, refused, 1, NULL, &rule) : i == 1 ? optc_compile_file(mine, NULL, NULL, &rule) : i == 2 ? optc_load(mine, NULL, "r", &rule)
      : optc_emit_file(mine, NULL, NULL, &e);
    CU_ASSERT_EQUAL(status, OPTC_E_NULL);
    CU_ASSERT_STRING_EQUAL(optc_context_diagnostics(mine), null);
    CU_ASSERT_PTR_NOT_NULL(strstr(optc_context_diagnostics_json(mine), "a pointer that must be given is NULL"));
  }
  optc_error error = {.code = 77, .text = "of an earlier call"};
  optc_call_args call = {.size = sizeof call, .error = &error};
  CU_ASSERT(optc_rule_call(NULL, 0, &call) == OPTC_E_NULL && error.code == OPTC_E_NULL && !strcmp(error.text, "the rule is NULL"));
  static const char without[] = "rule r() { in x[N]; out y[N]; y = x }";
  CU_ASSERT_EQUAL_FATAL(optc_compile_memory(mine, "r.opt", without, strlen(without), NULL, &rule), OPTC_OK);
  CU_ASSERT_STRING_EQUAL(optc_context_diagnostics(mine), "");
  error.code = 77;
  CU_ASSERT(optc_rule_layout(rule, &call, 0, NULL) == OPTC_E_NULL && error.code == OPTC_E_NULL);
  optc_rule_free(rule);
  optc_context_free(mine);
}

/* The numbers of an error are told as they are: what a requirement compared is seen to be what it says. */
static void numbers_of_errors_read_back(void) {
  static const char text[] = "rule r(a = 1) { require a <= 1; param p; grad g; p -= a*g }";
  static const struct { double value; const char *says; } rows[] = {
    {1.5, "(a = 1.5)"}, {1.0000000000000002, "(a = 1.0000000000000002)"}, {1e10 + 0.5, "(a = 10000000000.5)"}, {16777217, "(a = 16777217)"}, {INFINITY, "(a = inf)"}, {NAN, "(a = nan)"}};
  optc_context *mine = fixture_context();
  for (int f64 = 0; f64 < 3; f64++) {
    optc_rule *rule;
    optc_compile_options options = {.size = sizeof options, .level = -1, .compute_f64 = f64};
    CU_ASSERT_EQUAL_FATAL(optc_compile_memory(mine, "r.opt", text, strlen(text), &options, &rule), OPTC_OK);
    for (size_t i = 0; i < sizeof rows/sizeof *rows; i++) {
      const double *groups[] = {&rows[i].value};
      int64_t t = 0;
      optc_error error;
      char why[200];
      double number[2] = {0};
      DLTensor one = {.data = number, .device = {kDLCPU, 0}, .dtype = {kDLFloat, f64 == 2 ? 64 : 32, 1}}, other = one, *both[] = {&one, &other};
      other.data = number + 1;
      optc_item_args item = {.tensor = both};
      optc_call_args call = {.size = sizeof call, .groups = groups, .n_groups = 1, .items = &item, .n_items = 1, .t = &t, .error = &error};
      CU_ASSERT_EQUAL(optc_rule_call(rule, optc_rule_entry(rule, "step"), &call), OPTC_E_REQUIRE);
      CU_ASSERT_PTR_NOT_NULL(strstr(optc_error_format(why, sizeof why, &error), rows[i].says));
    }
    optc_rule_free(rule);
  }
  optc_context_free(mine);
}

static void the_list_of_entries_is_the_rules_own(void) {
  static const char text[] = "rule o(lr = 0.5) {\n  param p\n  grad g\n  state m = 3\n  m += g\n  p -= lr*m\n  entry reset { m = 0 }\n}\n";
  static const char *const names[] = {"init", "step", "reset"};
  optc_context *cx = fixture_context();
  for (int b = OPTC_BACKEND_JIT; b <= OPTC_BACKEND_KERNEL; b++) {
    optc_rule *rule;
    optc_compile_options options = {.size = sizeof options, .level = -1, .backend = b};
    CU_ASSERT_EQUAL_FATAL(optc_compile_memory(cx, "o.opt", text, sizeof text - 1, &options, &rule), OPTC_OK);
    CU_ASSERT_EQUAL_FATAL(optc_rule_entries(rule), 3);
    for (int e = 0; e < 3; e++) CU_ASSERT(!strcmp(optc_rule_entry_name(rule, e), names[e]) && optc_rule_entry(rule, names[e]) == e);
    CU_ASSERT(optc_rule_entry(rule, "layout") == -1 && !optc_rule_entry_name(rule, 3) && optc_rule_use(rule, 3, 0) == -1);
    CU_ASSERT(optc_rule_use(rule, 0, 2) == OPTC_USE_WRITTEN && optc_rule_use(rule, 2, 0) == 0 && optc_rule_use(rule, 2, 2) == OPTC_USE_WRITTEN);
    float p[2] = {1, 2}, g[2] = {2, 4}, m[2] = {9, 9};
    int64_t shape[] = {2}, t = 5;
    DLTensor of[3] = {0}, *tensor[3] = {&of[0], &of[1], &of[2]};
    for (int k = 0; k < 3; k++) of[k] = (DLTensor){.data = k == 0 ? p : k == 1 ? g : m, .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    optc_item_args item = {.tensor = tensor};
    optc_error error;
    optc_call_args call = {.size = sizeof call, .items = &item, .n_items = 1, .t = &t, .error = &error};
    optc_state_info state[1];
    CU_ASSERT(optc_rule_layout(rule, &call, 0, state) == OPTC_OK && state[0].exists && state[0].count == 2);
    CU_ASSERT(optc_rule_call(rule, 0, &call) == OPTC_OK && m[0] == 3 && t == 0);
    CU_ASSERT(optc_rule_call(rule, 1, &call) == OPTC_OK && m[1] == 7 && p[0] == -1.5f && t == 1);
    CU_ASSERT(optc_rule_call(rule, 2, &call) == OPTC_OK && m[0] == 0 && t == 1);
    CU_ASSERT(optc_rule_call(rule, 3, &call) == OPTC_E_NULL && !strcmp(error.text, "there is no such entry") && error.value[0] == 3);
    optc_rule_free(rule);
  }
  optc_context_free(cx);
}

static void every_kind_of_output_is_emitted(void) {
  static const int kinds[] = {OPTC_EMIT_OBJECT, OPTC_EMIT_ASSEMBLY, OPTC_EMIT_LLVM_IR, OPTC_EMIT_BITCODE, OPTC_EMIT_GRAPH, OPTC_EMIT_KERNELS, OPTC_EMIT_HEADER,
                              OPTC_EMIT_PTX, OPTC_EMIT_EXPLAIN, OPTC_EMIT_EXPLAIN_JSON};
  static const char *const has[] = {"ELF", "adamw", "define", "BC", "exp_avg", "program step", "adamw_step", ".visible", "bytes an element", "\"least_read\": 16"};
  optc_context *cx = fixture_context();
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 10, .level = -1};
  optc_emission *e;
  int status = optc_emit_memory(cx, "adamw.opt", adamw, strlen(adamw), &options, &e);
  if (status) fprintf(stderr, "%s", optc_context_diagnostics(cx));
  CU_ASSERT_EQUAL_FATAL(status, OPTC_OK);
  for (int i = 0; i < 10; i++) {
    size_t size = 0;
    const void *data = optc_emission_data(e, i, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    bool found = memmem(data, size, has[i], strlen(has[i])) != NULL;
    if (!found) fprintf(stderr, "output %d lacks '%s'\n", i, has[i]);
    CU_ASSERT(found);
  }
  CU_ASSERT_STRING_EQUAL(optc_emission_rule(e), "adamw");
  CU_ASSERT_STRING_EQUAL(optc_emission_source(e, 0), "adamw.opt");
  CU_ASSERT_PTR_NULL(optc_emission_source(e, 1));
  optc_context_free(cx);
  optc_emission_free(e);
}

static void an_object_can_be_loaded_and_gives_the_same_bits(void) {
  optc_context *cx = fixture_context();
  int kind = OPTC_EMIT_OBJECT;
  optc_emit_options options = {.size = sizeof options, .kinds = &kind, .n_kinds = 1, .level = 2};
  optc_emission *e;
  CU_ASSERT_EQUAL_FATAL(optc_emit_memory(cx, "adamw.opt", adamw, strlen(adamw), &options, &e), OPTC_OK);
  char folder[] = "/tmp/optc-api-XXXXXX", object[64], shared[64], command[256];
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
  snprintf(object, sizeof object, "%s/adamw.o", folder);
  snprintf(shared, sizeof shared, "%s/adamw.so", folder);
  size_t size;
  const void *data = optc_emission_data(e, 0, &size);
  FILE *file = fopen(object, "wb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  fwrite(data, 1, size, file);
  fclose(file);
  snprintf(command, sizeof command, "cc -shared -nostdlib -o %s %s", shared, object);
  CU_ASSERT_EQUAL_FATAL(system(command), 0);
  optc_rule *loaded, *none, *jit = compile(cx, adamw, OPTC_BACKEND_JIT, 2);
  int status = optc_load(cx, shared, "adamw", &loaded);
  if (status) fprintf(stderr, "%s", optc_context_diagnostics(cx));
  CU_ASSERT_EQUAL_FATAL(status, OPTC_OK);
  List a, b;
  list_make(&a);
  list_make(&b);
  list_steps(&a, loaded, 3);
  list_steps(&b, jit, 3);
  CU_ASSERT(list_same(&a, &b));
  CU_ASSERT_EQUAL(optc_load(cx, shared, "lion", &none), OPTC_E_INPUT);
  CU_ASSERT_EQUAL(optc_load(cx, object, "adamw", &none), OPTC_E_FILE);
  list_free(&a);
  list_free(&b);
  optc_rule_free(loaded);
  optc_rule_free(jit);
  optc_emission_free(e);
  unlink(object);
  unlink(shared);
  rmdir(folder);
  optc_context_free(cx);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(backends_agree_in_every_bit), TEST(a_thousand_lr_and_a_hundred_lists_are_one_compilation), TEST(thread_count_does_not_change_bits),
    TEST(two_contexts_work_in_two_threads), TEST(one_rule_may_be_called_from_two_threads), TEST(a_rule_tells_what_it_is), TEST(storage_types_have_their_dlpack_types), TEST(a_state_that_does_not_exist_needs_no_memory), TEST(states_are_listed_for_an_item),
    TEST(wrong_calls_are_errors_and_write_nothing), TEST(dense_strides_and_byte_offsets_are_understood), TEST(pointers_that_are_null_and_numbers_out_of_range_are_errors), TEST(wrong_text_gives_diagnostics),
    TEST(every_kind_of_output_is_emitted), TEST(contexts_and_emissions_refuse_null), TEST(errors_of_an_earlier_call_do_not_stay), TEST(numbers_of_errors_read_back), TEST(the_list_of_entries_is_the_rules_own), TEST(an_object_can_be_loaded_and_gives_the_same_bits),
  };
  return suite_run("runtime api", tests);
}
