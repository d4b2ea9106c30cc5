/* runtime_product_test.c: products of matrices at full speed give the bits of the plain loops, whatever they are made of: shapes at every edge of tiles and
 * blocks, transposes, factors that are computed, products that equal their transpose, weights of 0 beside inf; every instruction set, vector width and number of threads. */
#include <CUnit/Basic.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/support/team.h"

static const char text[] =
  "rule plain() { in A[M, K], B[K, N]\n out C[M, N]\n C = A @ B }\n"
  "rule left() { in A[K, M], B[K, N]\n out C[M, N]\n C = A' @ B }\n"
  "rule right() { in A[M, K], B[N, K]\n out C[M, N]\n C = A @ B' }\n"
  "rule both() { in A[K, M], B[N, K]\n out C[M, N]\n C = (A' @ B')*0.5 + 1 }\n"
  "rule around() { in A[G, M, K], B[K, G, N]\n out C[G, M, N]\n C[g, i, j] = sum[k](A[g, i, k]*2*B[k, g, j]) }\n"
  "rule apart() { in A[M, G, K], B[K, N]\n out C[M, G, N]\n C[i, g, j] = sum[k](B[k, j]*(A[i, g, k] + 0.25)) }\n"
  "rule scaled() { in A[M, K], B[K, N], D[K]\n out C[M, N]\n C[i, j] = sum[k](A[i, k]*D[k]*B[k, j]) }\n"
  "rule narrow() { in A[M, K]: bf16, B[K, N]: f16\n out C[M, N]\n C = A @ B }\n"
  "rule two() { in A[M, K], B[K, L, N]\n out C[M, N]\n C[i, j] = sum[k, l](A[i, k]*B[k, l, j]) }\n"
  "rule gram() { in A[M, K]\n out C[M, M]\n C = A @ A' }\n"
  "rule powers() { in A[M, K]\n out C[M, K]\n S = A @ A'\n Q = 0.5*S - 0.25*(S @ S)\n C = Q @ A + (Q' @ S) @ A }\n"
  "rule iterate() { in A[M, K]\n out C[M, K]\n X = A*0.01\n repeat 3 { S = X @ X'; X = 1.5*X - 0.5*(S @ X) }\n C = X }\n"
  "rule steps(n: int = 3) { in A[M, K]\n out C[M, K]\n X = A*0.01\n repeat n { S = X @ X'; X = 1.5*X - 0.5*(S @ X) }\n C = X }\n"
  "rule none(n: int = 0) { in A[M, K]\n out C[M, K]\n X = A*0.01\n repeat n { S = X @ X'; X = 1.5*X - 0.5*(S @ X) }\n C = X }\n"
  "rule carries() { in A[M, K]\n out C[M, K]\n X = A*0.01; Y = X*2; Z[i < M, j < M] = where(i == j, 1, 0)\n"
  "  scan n < 4 { W = Y*(n + 1) - X; if n == 2 { Z = X @ Y' }; T = Z @ Y; Y = X; X = W + 0.25*T; Z[i, j] = Z[j, i] + 1 }\n C = X + Y }\n"
  "rule branch(up = 1) { in A[M, K]\n out C[M, K]\n if M > K { S = A' @ A; C = A @ S } else { S = A @ A'; C = S @ A } }\n"
  "rule masked() { in A[M, K], B[K, N], D[K]\n out C[M, N]\n C[i, j] = sum[k](where(D[k] <= 0.2, A[i, k], 0)*(B[k, j]/where(D[k] > 0.15, 0, 1))) }\n"
  "rule masked_right() { in A[G, K, M], B[K, G, N], D[K]\n out C[G, M, N]\n C[g, i, j] = 0.5*sum[k]((A[g, k, i]/where(D[k] > 0.15, 0, 1))*where(D[k] <= 0.2, B[k, g, j], 0)) }\n"
  "rule lopsided() { in A[M, K], B[M, K]\n out C[M, M]\n S = A @ B'\n C = S @ S + S @ S' }\n"
  "rule blend() { in A[M, K], B[K, N], D[M, N]\n out C[M, N]\n S = A @ B\n C = where(D < 0, 0.5*S - 2*D, exp(S)) }\n"
  "rule tilted() { in A[M, K], D[M, M]\n out C[M, M]\n S = A @ A' + D\n C = S @ S' }\n"
  "rule even() { in A[M, K]\n out C[M, M]\n S = A @ A'\n C[i, j] = S[i, j]*where(i == j, 2, 1) }\n"
  "rule sum_of_two() { in A[M, K], B[K, N], D[K, N]\n out C[M, N]\n C = A @ B - 3*(A @ D) }\n"
  "rule crossed() { in A[M, K], B[K, M], D[M, M]\n out C[M, M]\n S = A @ B + D'\n C = S + S' }\n"
  "rule panels() { in A[G, M, K], B[K, G, N], D[G, M, N]\n out C[G, M, N]\n C[g, i, j] = D[g, i, j] - sum[k](A[g, i, k]*B[k, g, j])*(i + 2*j + 3*g) }\n"
  "rule wide() { in A[M, K], B[K, G, N], D[G, N]\n out C[M, G, N]\n C[i, g, j] = D[g, j]*sum[k](A[i, k]*B[k, g, j]) }\n"
  "rule chase(n: int = 3) { in A[M, K], B[K, K]\n out C[M, K]\n X = A\n repeat n { X = 0.005*(X @ B) + X }\n C = X }\n"
  "rule pair(n: int = 3) { in A[M, K]\n out C[M, K]\n X = A*0.01; Y = A*0.02\n repeat n { S = X @ Y'; Y = Y - 0.5*(S @ X); X = X + 0.25*Y }\n C = X - Y }\n"
  "rule turn(n: int = 2) { in A[M, M]\n out C[M, M]\n X = A*0.1\n repeat n { S = X @ X; X = 0.5*(S @ S) + X' }\n C = X }\n";
static const char *const rules[] = {"plain", "left", "right", "both", "around", "apart", "scaled", "narrow", "two", "gram", "powers", "iterate", "steps", "none", "carries", "branch", "masked", "masked_right", "lopsided", "blend", "tilted", "even", "sum_of_two",
                                    "crossed", "panels", "wide", "chase", "pair", "turn"};
enum { N_RULES = sizeof rules/sizeof *rules, SIZES = 5, MOST = 8 };

/* M, N, K, G, L */
static const int64_t small[][SIZES] = {{1, 1, 1, 1, 1}, {2, 3, 5, 2, 2}, {12, 32, 16, 1, 3}, {13, 33, 17, 3, 1}, {48, 64, 40, 2, 2}, {5, 7, 0, 2, 2}, {0, 4, 3, 1, 1}, {50, 66, 530, 1, 1}};
static const int64_t large[][SIZES] = {{70, 130, 1030, 2, 1}, {400, 270, 33, 1, 2}, {97, 300, 513, 1, 1}, {515, 20, 3, 1, 1}};

typedef struct World { DLTensor tensor[MOST]; DLTensor *at[MOST]; int64_t shape[MOST][4]; int n, out; } World;

static bool open_world(World *w, const optc_rule *rule, const int64_t *size) {
  uint64_t seed = 5;
  memset(w, 0, sizeof *w);
  w->n = optc_rule_operands(rule);
  for (int k = 0; k < w->n; k++) {
    optc_operand_info info;
    optc_rule_operand(rule, k, &info);
    int64_t count = 1, rank = 0;
    for (const char *c = info.shape; *c; c++) {
      const char *names = "MNKGL", *at = *c == ' ' || *c == ',' || *c == '[' || *c == ']' ? NULL : strchr(names, *c);
      if (at) count *= w->shape[k][rank++] = size[at - names];
    }
    DLTensor *t = w->at[k] = &w->tensor[k];
    *t = (DLTensor){.data = malloc((size_t)count*(size_t)info.bytes + 64), .device = {kDLCPU, 0}, .ndim = (int)rank, .shape = w->shape[k]};
    optc_dlpack_type(info.type, &t->dtype);
    if (info.role == OPTC_ROLE_OUT) w->out = k;
    for (int64_t i = 0; i < count; i++) {
      seed = seed*UINT64_C(6364136223846793005) + 1442695040888963407;
      float x = ldexpf((float)(int64_t)seed, -64 - (int)(seed >> 20 & 3));
      if ((seed >> 33 & 1023) == 0) x = seed >> 50 & 1 ? -0.0f : 1e-41f;
      if (info.bytes == 4) ((float *)t->data)[i] = x;
      else ((uint16_t *)t->data)[i] = (uint16_t)(0x3c00 + (seed >> 40 & 0x83ff));
    }
    if (info.role == OPTC_ROLE_OUT) memset(t->data, 7, (size_t)count*(size_t)info.bytes + 64);
    else if (count > 7) ((uint8_t *)t->data)[0] = 1;
  }
  return w->n > 0;
}
static void close_world(World *w) { for (int k = 0; k < w->n; k++) free(w->tensor[k].data); }

static bool run(const optc_rule *rule, World *w, int threads) {
  Team team = {.threads = threads, .order = threads == 3 ? SHUFFLED : threads == 8 ? BACKWARDS : FORWARDS};
  optc_parallel parallel = {run_team, &team};
  optc_item_args item = {.tensor = w->at};
  optc_error error = {0};
  optc_call_args call = {.size = sizeof call, .items = &item, .n_items = 1, .parallel = threads > 1 ? &parallel : NULL, .error = &error};
  int code = optc_rule_call(rule, optc_rule_entry(rule, "forward"), &call);
  if (code) printf("\n%s: %s\n", optc_rule_name(rule), error.text);
  return !code;
}

static bool same(const World *x, const World *y) {
  int64_t count = 1;
  for (int a = 0; a < x->tensor[x->out].ndim; a++) count *= x->shape[x->out][a];
  const float *p = x->tensor[x->out].data, *q = y->tensor[y->out].data;
  for (int64_t i = 0; i < count + 16; i++)
    if (memcmp(p + i, q + i, 4) && !(isnan(p[i]) && isnan(q[i]) && i < count)) { printf("\nelement %lld is %a, should be %a", (long long)i, p[i], q[i]); return false; }
  return true;
}

typedef struct Form { const char *name; int level, backend; const char *passes, *cpu; } Form;

static optc_rule *compile(const char *name, const Form *form, bool f64) {
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  optc_compile_options options = {.size = sizeof options, .level = form->level, .backend = form->backend, .passes = form->passes, .cpu = form->cpu, .rule = name, .verify_each = true,
                                  .compute_f64 = f64};
  optc_rule *rule;
  if (optc_compile_memory(cx, "products.opt", text, strlen(text), &options, &rule)) { printf("\n%s, %s: %s", name, form->name, optc_context_diagnostics(cx)); CU_FAIL("does not compile"); }
  optc_context_free(cx);
  return rule;
}

static void agrees(const char *name, const Form *form, const int64_t (*sizes)[SIZES], int n_sizes, int most_threads, bool f64) {
  static const Form plain = {"plain loops", 0, OPTC_BACKEND_JIT, NULL, NULL};
  static const int threads[] = {1, 2, 3, 8};
  optc_rule *oracle = compile(name, &plain, f64), *rule = compile(name, form, f64);
  for (int s = 0; oracle && rule && s < n_sizes; s++) {
    World want;
    CU_ASSERT_FATAL(open_world(&want, oracle, sizes[s]));
    CU_ASSERT(run(oracle, &want, 1));
    for (int t = 0; t < 4 && threads[t] <= most_threads; t++) {
      World got;
      CU_ASSERT_FATAL(open_world(&got, rule, sizes[s]));
      bool good = run(rule, &got, threads[t]) && same(&got, &want);
      if (!good) printf("\n%s, %s, size %d, %d threads\n", name, form->name, s, threads[t]);
      CU_ASSERT(good);
      close_world(&got);
    }
    close_world(&want);
  }
  optc_rule_free(oracle);
  optc_rule_free(rule);
}

enum { N_SMALL = sizeof small/sizeof *small, N_LARGE = sizeof large/sizeof *large };
static const Form native = {"-O2", 2, OPTC_BACKEND_JIT, NULL, NULL};

static void every_shape_gives_the_bits_of_plain_loops(void) { for (int k = 0; k < N_RULES; k++) agrees(rules[k], &native, small, N_SMALL, 1, false); }
static void threads_and_several_tiles_do_not_matter(void) { for (int k = 0; k < N_RULES; k++) agrees(rules[k], &native, large, N_LARGE, 8, false); }
static void f64_has_its_own_chains(void) { for (int k = 0; k < N_RULES; k++) agrees(rules[k], &native, small, N_SMALL, 1, true); }

static void instruction_sets_and_the_interpreter_agree(void) {
  static const char *const cpus[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
  bool has[] = {true, __builtin_cpu_supports("x86-64-v3"), __builtin_cpu_supports("x86-64-v4")};
  for (int k = 0; k < N_RULES; k++) {
    for (int c = 0; c < 3; c++) {
      if (has[c]) agrees(rules[k], &(Form){cpus[c], 2, OPTC_BACKEND_JIT, NULL, cpus[c]}, small, N_SMALL, 1, false);
      else if (!k) printf("\nskipped: %s, this machine lacks it\n", cpus[c]);
    }
    agrees(rules[k], &(Form){"interpreted", 2, OPTC_BACKEND_KERNEL, NULL, NULL}, small, N_SMALL, 1, false);
  }
}

static void ptx_that_is_executed_agrees(void) {
  static const char *const gpus[] = {"sm_70", "sm_80", "sm_90"};
  for (int k = 0; k < N_RULES; k++) agrees(rules[k], &(Form){gpus[k%3], 2, OPTC_BACKEND_PTX, NULL, gpus[k%3]}, small, N_SMALL, 1, k%4 == 3);
}

int main(void) {
  static const struct { const char *name; CU_TestFunc run; } tests[] = {
#define TEST(f) {#f, f}
    TEST(every_shape_gives_the_bits_of_plain_loops), TEST(threads_and_several_tiles_do_not_matter), TEST(f64_has_its_own_chains), TEST(instruction_sets_and_the_interpreter_agree),
    TEST(ptx_that_is_executed_agrees),
  };
  CU_initialize_registry();
  CU_pSuite suite = CU_add_suite("products", NULL, NULL);
  for (size_t i = 0; i < sizeof tests/sizeof *tests; i++) CU_add_test(suite, tests[i].name, tests[i].run);
  CU_basic_set_mode(CU_BRM_VERBOSE);
  CU_basic_run_tests();
  unsigned failures = CU_get_number_of_failures() + CU_get_number_of_tests_failed();
  CU_cleanup_registry();
  return failures != 0;
}
