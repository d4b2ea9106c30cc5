/* runtime_edge_test.c: calls at the edge of what can be asked: numbers that are none, and more elements than 32 bits count. (What calls are refused for:
 * runtime_api_test.c, backends_driver_test.c. Empty lists, tensors without elements, nothing but zeros, memory between closed pages: edge.sh.) */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "runtime/optc.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

static optc_context *cx;

static optc_rule *compile(const char *path, const char *name, const char *text) {
  optc_compile_options options = {.size = sizeof options, .level = 2, .backend = OPTC_BACKEND_JIT, .rule = name};
  optc_rule *rule;
  int status = text ? optc_compile_memory(cx, "edge.opt", text, strlen(text), &options, &rule) : optc_compile_file(cx, path, &options, &rule);
  if (status) printf("\n%s", optc_context_diagnostics(cx));
  CU_ASSERT_EQUAL_FATAL(status, OPTC_OK);
  return rule;
}

/* --- gradients that are no numbers ---------------------------------------------------------------------------------------------------------------- */
enum { P, G, M, V, OPERANDS, ITEMS = 3, SIZE = 3000, SPOILT = 1777 };
typedef struct Model {
  float data[ITEMS][OPERANDS][SIZE];
  DLTensor tensor[ITEMS][OPERANDS], *pointer[ITEMS][OPERANDS];
  optc_item_args item[ITEMS];
  int64_t shape[1], t;
  optc_error error;
  optc_call_args call;
} Model;

static void model_step(Model *m, const char *path, const char *name, float spoilt) {
  memset(m, 0, sizeof *m);
  m->shape[0] = SIZE;
  m->call = (optc_call_args){.size = sizeof m->call, .items = m->item, .n_items = ITEMS, .t = &m->t, .error = &m->error};
  for (int i = 0; i < ITEMS; i++) {
    m->item[i].tensor = m->pointer[i];
    for (int k = 0; k < OPERANDS; k++) {
      m->tensor[i][k] = (DLTensor){.data = m->data[i][k], .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = m->shape};
      m->pointer[i][k] = &m->tensor[i][k];
    }
    for (int e = 0; e < SIZE; e++) { m->data[i][P][e] = (float)(1 + e%7)/8; m->data[i][G][e] = (float)(e%5 - 2)/4; }
  }
  m->data[1][G][SPOILT] = spoilt;
  optc_rule *rule = compile(path, name, NULL);
  int code = optc_rule_call(rule, optc_rule_entry(rule, "step"), &m->call);
  if (code) printf("\n%s: %s\n", name, m->error.text);
  CU_ASSERT_EQUAL(code, OPTC_OK);
  CU_ASSERT_EQUAL(m->t, 1);
  optc_rule_free(rule);
}

/* How many elements of item i are NaN. */
static int spoilt_of(const Model *m, int i) {
  int n = 0;
  for (int e = 0; e < SIZE; e++) n += isnan(m->data[i][P][e]) != 0;
  return n;
}

/* As far as the rule's own sums reach, and no further. LAMB goes without norms that are no numbers (`norm(u) > 0`); those of all gradients together are divided by. */
static void gradients_that_are_no_numbers_reach_as_far_as_the_rule_says(void) {
  static const struct { const char *path, *name; int own, others; } rules[] = {
    {"rules/adamw.opt", "adamw", 1, 0}, {"rules/lamb.opt", "lamb", 1, 0}, {"rules/lamb.opt", "lamb_nv", SIZE, SIZE},
  };
  static Model m;
  for (size_t k = 0; k < sizeof rules/sizeof *rules; k++) {
    model_step(&m, rules[k].path, rules[k].name, NAN);
    CU_ASSERT(isnan(m.data[1][P][SPOILT]));
    CU_ASSERT_EQUAL(spoilt_of(&m, 1), rules[k].own);
    CU_ASSERT_EQUAL(spoilt_of(&m, 0), rules[k].others);
    CU_ASSERT_EQUAL(spoilt_of(&m, 2), rules[k].others);
    model_step(&m, rules[k].path, rules[k].name, INFINITY);
    CU_ASSERT(isnan(m.data[1][P][SPOILT]));                              /* inf/inf */
    if (!rules[k].others) CU_ASSERT_EQUAL(spoilt_of(&m, 0) + spoilt_of(&m, 2), 0);
  }
}

/* --- more elements than 32 bits count: a small block of memory, again and again ------------------------------------------------------------------------ */
enum { BLOCK = 1 << 22 };                /* bytes */
static const int64_t many = (INT64_C(1) << 31) + 3*65536 + 5;

/* `bytes` of addresses behind which there are BLOCK bytes of memory; NULL: the machine does not let us. */
static char *map_again_and_again(size_t bytes) {
  size_t size = (bytes + BLOCK - 1)/BLOCK*BLOCK;
  int file = memfd_create("edge", 0);
  char *base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  bool good = file >= 0 && base != MAP_FAILED && !ftruncate(file, BLOCK);
  for (size_t at = 0; at < size && good; at += BLOCK) good = mmap(base + at, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED;
  if (file >= 0) close(file);
  if (good) return base;
  if (base != MAP_FAILED) munmap(base, size);
  return NULL;
}
static void unmap(char *base, size_t bytes) { if (base) munmap(base, (bytes + BLOCK - 1)/BLOCK*BLOCK); }

/* How often position e of a block of `n` elements stands in `many` of them. */
static int64_t visits(int64_t e, int64_t n) { return many/n + (e < many%n); }

typedef struct Large { int n; size_t bytes[OPERANDS]; char *base[OPERANDS]; DLTensor tensor[OPERANDS], *pointer[OPERANDS]; int64_t shape[1], t; optc_item_args item; optc_error error; optc_call_args call; } Large;
static bool large_make(Large *l, int n, const DLDataType *type) {
  *l = (Large){.n = n, .shape = {many}};
  bool good = true;
  for (int k = 0; k < n; k++) {
    l->bytes[k] = (size_t)many*type[k].bits/8;
    good &= (l->base[k] = map_again_and_again(l->bytes[k])) != NULL;
    l->tensor[k] = (DLTensor){.data = l->base[k], .device = {kDLCPU, 0}, .ndim = 1, .dtype = type[k], .shape = l->shape};
    l->pointer[k] = &l->tensor[k];
  }
  l->item.tensor = l->pointer;
  l->call = (optc_call_args){.size = sizeof l->call, .items = &l->item, .n_items = 1, .t = &l->t, .error = &l->error};
  return good;
}
static void large_free(Large *l) { for (int k = 0; k < l->n; k++) unmap(l->base[k], l->bytes[k]); }
static void large_call(Large *l, const optc_rule *rule, const char *entry) {
  int code = optc_rule_call(rule, optc_rule_entry(rule, entry), &l->call);
  if (code) printf("\n%s\n", l->error.text);
  CU_ASSERT_EQUAL(code, OPTC_OK);
}

/* Each element is met once: a block counts how often it was. */
static void every_one_of_more_than_two_to_the_31_elements_is_met_once(void) {
  static const char text[] = "rule count() {\n  param p: u8\n  p = p + 1\n}\n";
  static const DLDataType type[] = {{kDLUInt, 8, 1}};
  optc_rule *rule = compile(NULL, NULL, text);
  Large l;
  if (large_make(&l, 1, type)) {
    int64_t wrong = 0;
    large_call(&l, rule, "step");
    for (int64_t e = 0; e < BLOCK; e++) wrong += (unsigned char)l.base[0][e] != (visits(e, BLOCK) & 255);
    CU_ASSERT_EQUAL(wrong, 0);
  } else printf("\nskipped: 2^31 elements, no such mapping here\n");
  large_free(&l);
  optc_rule_free(rule);
}

/* Positions beyond 32 bits as values: what stands in the block last is what its last copy was given. */
static void positions_beyond_two_to_the_31_are_numbers_like_others(void) {
  static const char text[] = "rule where_am_i() {\n  out x[N]: u8\n  in n[N]: u8\n  x[i] = n[i] + i//16777216\n}\n";
  static const DLDataType type[] = {{kDLUInt, 8, 1}, {kDLUInt, 8, 1}};
  optc_rule *rule = compile(NULL, NULL, text);
  Large l;
  if (large_make(&l, 2, type)) {
    int64_t wrong = 0;
    large_call(&l, rule, "forward");
    for (int64_t e = 0; e < BLOCK; e++) wrong += (unsigned char)l.base[0][e] != ((visits(e, BLOCK) - 1)*BLOCK + e)/16777216;
    CU_ASSERT_EQUAL(wrong, 0);
  } else printf("\nskipped: 2^31 elements, no such mapping here\n");
  large_free(&l);
  optc_rule_free(rule);
}

/* LAMB's two norms over 32,772 chunks. With averages that forget at once a step is the same wherever a block's copy stands, and all elements are equal:
 * each visit subtracts lr*norm(p)/norm(u)*u, which is lr*p. */
static void lamb_takes_more_than_two_to_the_31_elements(void) {
  static const DLDataType type[] = {{kDLFloat, 32, 1}, {kDLFloat, 32, 1}, {kDLFloat, 32, 1}, {kDLFloat, 32, 1}};
  static const double hyper[] = {0x1p-20, 0, 0, 0, 0}, *const groups[] = {hyper};        /* lr, decay, beta1, beta2, eps */
  enum { N = BLOCK/4 };
  optc_rule *rule = compile("rules/lamb.opt", "lamb", NULL);
  Large l;
  if (large_make(&l, OPERANDS, type)) {
    float *p = (float *)(void *)l.base[P], *g = (float *)(void *)l.base[G];
    int64_t wrong = 0;
    for (int64_t e = 0; e < N; e++) { p[e] = 1; g[e] = 0.5f; }
    l.call.groups = groups;
    l.call.n_groups = 1;
    large_call(&l, rule, "step");
    for (int64_t e = 0; e < N; e++) wrong += p[e] != 1 - (float)visits(e, N)*0x1p-20f;
    CU_ASSERT_EQUAL(wrong, 0);
    if (wrong) printf("\nof %d elements %lld are wrong; the first is 1 - %g lr, the last 1 - %g lr\n", N, (long long)wrong, (double)(1 - p[0])*0x1p20, (double)(1 - p[N - 1])*0x1p20);
  } else printf("\nskipped: 2^31 elements, no such mapping here\n");
  large_free(&l);
  optc_rule_free(rule);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(gradients_that_are_no_numbers_reach_as_far_as_the_rule_says), TEST(every_one_of_more_than_two_to_the_31_elements_is_met_once),
    TEST(positions_beyond_two_to_the_31_are_numbers_like_others), TEST(lamb_takes_more_than_two_to_the_31_elements),
  };
  cx = fixture_context();
  int failed = suite_run("the edge of what can be asked", tests);
  optc_context_free(cx);
  return failed;
}
