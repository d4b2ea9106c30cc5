/* runtime_fast_test.c: products under --fast keep the bound of the language reference, against f64, on easy and on hostile data; without units for few bits they keep every bit. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
static const char text[] =
  "rule whole() { in A[M, K], B[K, N]\n out C[M, N]\n C = A @ B }\n"
  "rule brain() { in A[M, K]: bf16, B[K, N]: bf16\n out C[M, N]\n C = A @ B }\n"
  "rule half() { in A[M, K]: f16, B[K, N]: f16\n out C[M, N]\n C = A @ B }\n"
  "rule mixed() { in A[M, K]: bf16, B[K, N]: f16\n out C[M, N]\n C = A @ B }\n"
  "rule turned() { in A[K, M]: bf16, B[N, K]: bf16\n out C[M, N]\n C = A' @ B' }\n";

/* u: how far rounding an operand moves it, relatively; w: below the smallest normal number of the type things are lost whole. */
typedef struct Kind { const char *rule, *a, *b; double u, w; bool turned; } Kind;
static const Kind kinds[] = {
  {"whole", "f32", "f32", 0x1p-11, 0x1p-126, false}, {"brain", "bf16", "bf16", 0, 0x1p-126, false}, {"half", "f16", "f16", 0, 0x1p-34, false},
  {"mixed", "bf16", "f16", 0x1p-11, 0x1p-126, false}, {"turned", "bf16", "bf16", 0, 0x1p-126, true},
};

/* M, N, K: less than a tile, edges of tiles, of pairs, of blocks of 512. */
static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 2}, {17, 9, 15}, {48, 64, 16}, {49, 65, 33}, {5, 70, 512}, {7, 3, 1041}, {2, 2, 0}};

typedef enum Data { MODERATE, WIDE, CANCELLING, SUBNORMAL, JUST_LOST, DATA_KINDS } Data;
static const char *const data_names[] = {"moderate numbers", "exponents far apart", "sums that cancel", "subnormals", "a one, and what an addition to it just loses"};

static double round_to(double x, const char *type) {
  if (!strcmp(type, "f32")) return (float)x;
  int fraction = type[0] == 'b' ? 7 : 10, least = type[0] == 'b' ? -126 : -14, e;
  if (!x) return x;
  frexp(x, &e);
  int unit = (e - 1 > least ? e - 1 : least) - fraction;
  return ldexp(nearbyint(ldexp(x, -unit)), unit);
}

static void put(void *data, int64_t i, double x, const char *type) {
  float f = (float)x;
  uint32_t u;
  memcpy(&u, &f, 4);
  if (!strcmp(type, "f32")) ((float *)data)[i] = f;
  else if (type[0] == 'b') ((uint16_t *)data)[i] = (uint16_t)(u >> 16);
  else {
    int e;
    double m = frexp(fabs(x), &e);
    unsigned bits = !x ? 0 : e - 1 < -14 ? (unsigned)ldexp(fabs(x), 24) : (unsigned)(e + 14) << 10 | (unsigned)(ldexp(m, 11) - 1024);
    ((uint16_t *)data)[i] = (uint16_t)(bits | (signbit(x) ? 0x8000 : 0));
  }
}

/* Element (line, k) of A or of B. Neighbours in k cancel each other: there the bound is small against what was added. */
static double made_up(Data data, const char *type, uint64_t *state, int64_t k, double last) {
  bool half = !strcmp(type, "f16");
  uint64_t r = next_random(state);
  double x = ldexp((double)(int64_t)r, -63);
  switch (data) {
  case MODERATE: break;
  case WIDE: x = ldexp(x, (int)(r & 63)%(half ? 14 : 50) - (half ? 10 : 25)); break;
  case CANCELLING: x = k % 2 ? -last*(1 + (double)(r & 1)*0x1p-7) : ldexp(x, half ? 3 : 12); break;
  case SUBNORMAL: x = ldexp(x, (half ? -14 : -126) + (int)(r & 7) - 4); break;
  case JUST_LOST: x = k ? 0x1p-12*(1 - 0x1p-8) : 1; break;
  case DATA_KINDS: break;
  }
  return round_to(x, type);
}

typedef struct World { int64_t m, n, k; double *a, *b; void *memory[3]; DLTensor tensor[3], *at[3]; int64_t shape[3][2]; } World;

static void open_world(World *w, const Kind *kind, const int64_t *size, Data data) {
  *w = (World){.m = size[0], .n = size[1], .k = size[2]};
  uint64_t state = (uint64_t)size[2]*7 + (uint64_t)data;
  const int64_t lines[2] = {w->m, w->n};
  const char *types[3] = {kind->a, kind->b, "f32"};
  double **values[2] = {&w->a, &w->b};
  for (int t = 0; t < 2; t++) {
    *values[t] = calloc((size_t)(lines[t]*w->k) + 1, 8);
    w->memory[t] = calloc((size_t)(lines[t]*w->k) + 1, 4);
    for (int64_t i = 0; i < lines[t]; i++)
      for (int64_t k = 0; k < w->k; k++) {
        bool of_b = t == 1;                       /* what cancels does so in A; in B it comes in equal pairs */
        double last = k ? (*values[t])[i*w->k + k - 1] : 0, x = data == CANCELLING && of_b && k % 2 ? last : made_up(of_b && data == SUBNORMAL ? MODERATE : data, types[t], &state, k, last);
        bool rows_first = (t == 0) != kind->turned;
        (*values[t])[i*w->k + k] = x;
        put(w->memory[t], rows_first ? i*w->k + k : k*lines[t] + i, x, types[t]);
      }
  }
  w->memory[2] = calloc((size_t)(w->m*w->n) + 1, 4);
  const int64_t extents[3][2] = {{w->m, w->k}, {w->k, w->n}, {w->m, w->n}};
  for (int t = 0; t < 3; t++) {
    for (int a = 0; a < 2; a++) w->shape[t][a] = extents[t][t < 2 && kind->turned ? 1 - a : a];
    w->at[t] = &w->tensor[t];
    w->tensor[t] = (DLTensor){.data = w->memory[t], .device = {kDLCPU, 0}, .ndim = 2, .shape = w->shape[t]};
    optc_dlpack_type(types[t], &w->tensor[t].dtype);
  }
}
static void close_world(World *w) {
  free(w->a);
  free(w->b);
  for (int t = 0; t < 3; t++) free(w->memory[t]);
}

static bool run(const optc_rule *rule, World *w) {
  optc_item_args item = {.tensor = w->at};
  optc_error error = {0};
  optc_call_args call = {.size = sizeof call, .items = &item, .n_items = 1, .error = &error};
  int code = optc_rule_call(rule, optc_rule_entry(rule, "forward"), &call);
  if (code) printf("\n%s: %s\n", optc_rule_name(rule), error.text);
  return !code;
}

/* The largest error as a share of the bound: language reference, "--fast". */
static double share_of_bound(const World *w, const Kind *kind) {
  double most = 0, length = (double)((w->k + 15)/16*16), factor = 2*kind->u + kind->u*kind->u + length*0x1p-23;
  for (int64_t i = 0; i < w->m; i++)
    for (int64_t j = 0; j < w->n; j++) {
      long double sum = 0;
      double products = 0, operands = 0;
      for (int64_t k = 0; k < w->k; k++) {
        double a = w->a[i*w->k + k], b = w->b[j*w->k + k];
        sum += (long double)a*b;
        products += fabs(a*b);
        operands += fabs(a) + fabs(b);
      }
      double got = ((float *)w->memory[2])[i*w->n + j], error = (double)fabsl(got - sum), bound = factor*products + kind->w*(length + operands);
      if (isnan(got)) return INFINITY;
      if (bound > 0 ? error/bound > most : error > 0) most = bound > 0 ? error/bound : INFINITY;
    }
  return most;
}

typedef struct Form { const char *name; int backend; const char *cpu; } Form;
static optc_rule *compile(const char *name, const Form *form, bool fast) {
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  optc_compile_options options = {.size = sizeof options, .level = 2, .backend = form->backend, .cpu = form->cpu, .rule = name, .fast = fast, .verify_each = true};
  optc_rule *rule;
  if (optc_compile_memory(cx, "fast.opt", text, strlen(text), &options, &rule)) { printf("\n%s, %s: %s", name, form->name, optc_context_diagnostics(cx)); CU_FAIL("does not compile"); }
  optc_context_free(cx);
  return rule;
}

static void within_bound(const Form *form) {
  for (int r = 0; r < COUNT(kinds); r++) {
    optc_rule *rule = compile(kinds[r].rule, form, true);
    for (int s = 0; rule && s < COUNT(sizes); s++)
      for (Data data = 0; data < DATA_KINDS; data++) {
        World w;
        open_world(&w, &kinds[r], sizes[s], data);
        bool good = run(rule, &w);
        double share = good ? share_of_bound(&w, &kinds[r]) : INFINITY;
        if (!(share <= 1)) printf("\n%s, %s, %s, K = %lld: %g of the bound\n", form->name, kinds[r].rule, data_names[data], (long long)w.k, share);
        CU_ASSERT(share <= 1);
        close_world(&w);
      }
    optc_rule_free(rule);
  }
}

/* Sums that nobody should get: kept in 16 bits, and without their last product. */
static double wrong_sum(const World *w, int64_t i, int64_t j, int way) {
  double sum = 0;
  for (int64_t k = 0; k < w->k - way; k++) sum = round_to(sum + w->a[i*w->k + k]*w->b[j*w->k + k], way ? "f32" : "bf16");
  return sum;
}

/* On data where the bound is small against what is wrong: what an addition just loses, all of it, is within. */
static void wrong_sums_are_outside_of_it(void) {
  static const struct { const char *name; Data data[2]; } ways[] = {{"sums of 16 bits", {MODERATE, WIDE}}, {"a product left out", {MODERATE, CANCELLING}}};
  for (int r = 0; r < COUNT(kinds); r++)
    for (int way = 0; way < COUNT(ways); way++)
      for (int s = 2; s < COUNT(sizes) - 1; s++)
        for (int d = 0; d < 2; d++) {
          World w;
          open_world(&w, &kinds[r], sizes[s], ways[way].data[d]);
          for (int64_t i = 0; i < w.m*w.n; i++) ((float *)w.memory[2])[i] = (float)wrong_sum(&w, i/w.n, i%w.n, way);
          double share = share_of_bound(&w, &kinds[r]);
          if (!(share > 1)) printf("\n%s, %s, K = %lld, %s: %g of the bound\n", kinds[r].rule, data_names[ways[way].data[d]], (long long)w.k, ways[way].name, share);
          CU_ASSERT(share > 1);
          close_world(&w);
        }
}

static void this_machine_stays_within_the_bound(void) { within_bound(&(Form){"this machine", OPTC_BACKEND_JIT, NULL}); }
static void executed_ptx_stays_within_the_bound(void) {
  static const char *const gpus[] = {"sm_80", "sm_90", "sm_70"};
  for (int k = 0; k < COUNT(gpus); k++) within_bound(&(Form){gpus[k], OPTC_BACKEND_PTX, gpus[k]});
}

static void equal_bits(const Form *form, const char *name, const Kind *kind) {
  static const Form plain = {"strict", OPTC_BACKEND_JIT, NULL};
  optc_rule *fast = compile(name, form, true), *strict = compile(name, &plain, false);
  for (int s = 0; fast && strict && s < COUNT(sizes); s++)
    for (Data data = 0; data < DATA_KINDS; data++) {
      World x, y;
      open_world(&x, kind, sizes[s], data);
      open_world(&y, kind, sizes[s], data);
      bool good = run(fast, &x) && run(strict, &y) && !memcmp(x.memory[2], y.memory[2], (size_t)(x.m*x.n)*4);
      if (!good) printf("\n%s, %s, %s, K = %lld\n", form->name, name, data_names[data], (long long)x.k);
      CU_ASSERT(good);
      close_world(&x);
      close_world(&y);
    }
  optc_rule_free(fast);
  optc_rule_free(strict);
}

/* Panels of 16 bits by themselves change nothing, nor does anything on a CPU but pairs of bf16. */
static void without_such_units_every_bit_is_kept(void) {
  for (int r = 0; r < COUNT(kinds); r++) {
    equal_bits(&(Form){"interpreted", OPTC_BACKEND_KERNEL, NULL}, kinds[r].rule, &kinds[r]);
    if (__builtin_cpu_supports("x86-64-v3")) equal_bits(&(Form){"x86-64-v3", OPTC_BACKEND_JIT, "x86-64-v3"}, kinds[r].rule, &kinds[r]);
    if (strcmp(kinds[r].a, "bf16") || strcmp(kinds[r].b, "bf16")) equal_bits(&(Form){"this machine", OPTC_BACKEND_JIT, NULL}, kinds[r].rule, &kinds[r]);
  }
}

static void it_needs_level_2_and_the_usual_passes(void) {
  static const struct { int level; const char *passes, *says; } wrong[] = {{1, NULL, "--fast needs -O2"}, {0, NULL, "--fast needs -O2"}, {2, "lower", "its name is 'fast'"}};
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  for (int k = 0; k < COUNT(wrong); k++) {
    optc_compile_options options = {.size = sizeof options, .level = wrong[k].level, .passes = wrong[k].passes, .fast = 1};
    optc_rule *rule;
    CU_ASSERT_EQUAL(optc_compile_memory(cx, "fast.opt", text, strlen(text), &options, &rule), OPTC_E_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(optc_context_diagnostics(cx), wrong[k].says));
  }
  optc_context_free(cx);
}

static bool emitted(const char *rule, int kind, const char *cpu, const char *gpu, const char *word) {
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  optc_emit_options options = {.size = sizeof options, .level = -1, .kinds = &kind, .n_kinds = 1, .rule = rule, .fast = 1, .target = "x86_64-linux-gnu", .cpus = &cpu, .n_cpus = 1, .gpu = gpu};
  optc_emission *e = NULL;
  CU_ASSERT(!optc_emit_memory(cx, "fast.opt", text, strlen(text), &options, &e));
  bool has = e && strstr(optc_emission_data(e, 0, NULL), word);
  optc_emission_free(e);
  optc_context_free(cx);
  return has;
}

static void machines_that_have_such_units_use_them(void) {
  static const struct { const char *rule, *mma, *dot; } rows[] = {
    {"whole", "m16n8k8.row.col.f32.tf32.tf32.f32", NULL}, {"mixed", "m16n8k8.row.col.f32.tf32.tf32.f32", NULL}, {"half", "m16n8k16.row.col.f32.f16.f16.f32", NULL},
    {"brain", "m16n8k16.row.col.f32.bf16.bf16.f32", "vdpbf16ps"}, {"turned", "m16n8k16.row.col.f32.bf16.bf16.f32", "vdpbf16ps"}};
  for (int k = 0; k < COUNT(rows); k++) {
    CU_ASSERT(emitted(rows[k].rule, OPTC_EMIT_PTX, "znver4", "sm_80", rows[k].mma));
    CU_ASSERT(emitted(rows[k].rule, OPTC_EMIT_PTX, "znver4", "sm_90", rows[k].mma));
    CU_ASSERT(!emitted(rows[k].rule, OPTC_EMIT_PTX, "znver4", "sm_75", "mma.sync"));
    CU_ASSERT_EQUAL(emitted(rows[k].rule, OPTC_EMIT_ASSEMBLY, "znver4", NULL, "vdpbf16ps"), rows[k].dot != NULL);
    CU_ASSERT(!emitted(rows[k].rule, OPTC_EMIT_ASSEMBLY, "x86-64-v4", NULL, "vdpbf16ps"));
    CU_ASSERT(emitted(rows[k].rule, OPTC_EMIT_HEADER, "znver4", NULL, "Compiled with --fast"));
  }
}

static void explain_says_which_products_and_what_bounds_them(void) {
  static const int forms[] = {OPTC_EMIT_EXPLAIN, OPTC_EMIT_EXPLAIN_JSON};
  static const char *const says[] = {"(--fast: bf16 operands)", "(2u + u^2 + K*2^-23)*sum|ab|"};
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  for (int fast = 0; fast < 2; fast++) {
    optc_emit_options options = {.size = sizeof options, .level = -1, .kinds = forms, .n_kinds = 2, .rule = "brain", .fast = fast};
    optc_emission *e;
    CU_ASSERT_FATAL(!optc_emit_memory(cx, "fast.opt", text, strlen(text), &options, &e));
    for (int k = 0; k < COUNT(says); k++) CU_ASSERT_EQUAL(strstr(optc_emission_data(e, 0, NULL), says[k]) != NULL, fast);
    CU_ASSERT_PTR_NOT_NULL(strstr(optc_emission_data(e, 1, NULL), fast ? "\"fast\": \"bf16\"" : "\"fast\": null"));
    optc_emission_free(e);
  }
  optc_context_free(cx);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(wrong_sums_are_outside_of_it),
    TEST(this_machine_stays_within_the_bound), TEST(executed_ptx_stays_within_the_bound), TEST(without_such_units_every_bit_is_kept), TEST(it_needs_level_2_and_the_usual_passes),
    TEST(machines_that_have_such_units_use_them), TEST(explain_says_which_products_and_what_bounds_them),
  };
  return suite_run("products under --fast", tests);
}
