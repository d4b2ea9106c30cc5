/* bench_products.c: products of matrices and Muon's step against OpenBLAS, and as a share of what the processor's multiply-adds allow.
 *   usage: bench_products OUT.json [quick] [product | muon]   (from the root of the tree: compiles the rules that it measures)
 * OpenBLAS is looked for at run time: the library that OPTC_BENCH_BLAS names, or libopenblas.so.0 (Debian: libopenblas0); without one its rows are skipped, and that is said. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/bench/measure.h"

static void fail(const char *what) { fprintf(stderr, "bench: %s\n", what); exit(1); }

/* --- the peer -------------------------------------------------------------------------------------------------------------------------- */

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112, UPPER = 121 };
/* Integers are 32 or 64 bits wide, as the library was built; as arguments both are one word. */
typedef struct Blas {
  void (*gemm)(int64_t order, int64_t ta, int64_t tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
  void (*syrk)(int64_t order, int64_t part, int64_t trans, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, float beta, float *c, int64_t ldc);
  void (*set_threads)(int64_t);
  const char *(*kernels)(void);
} Blas;

static bool open_blas(Blas *b) {
  static const struct { const char *gemm, *syrk, *threads, *kernels; } spellings[] = {
    {"cblas_sgemm", "cblas_ssyrk", "openblas_set_num_threads", "openblas_get_corename"},
    {"scipy_cblas_sgemm64_", "scipy_cblas_ssyrk64_", "scipy_openblas_set_num_threads64_", "scipy_openblas_get_corename64_"}};
  unsetenv("OPENBLAS_CORETYPE");         /* the kernels that it chooses itself */
  unsetenv("OPENBLAS_L2_SIZE");
  const char *name = getenv("OPTC_BENCH_BLAS");
  void *library = dlopen(name ? name : "libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  for (int k = 0; k < 2 && library; k++) {
    *(void **)&b->gemm = dlsym(library, spellings[k].gemm);
    *(void **)&b->syrk = dlsym(library, spellings[k].syrk);
    *(void **)&b->set_threads = dlsym(library, spellings[k].threads);
    *(void **)&b->kernels = dlsym(library, spellings[k].kernels);
    if (b->gemm && b->syrk && b->set_threads && b->kernels) return true;
  }
  return false;
}

/* --- the peak --------------------------------------------------------------------------------------------------------------------------- */

#ifdef __AVX512F__
enum { WIDTH = 16 };
#else
enum { WIDTH = 8 };
#endif
enum { CHAINS = 12, LINKS = 200000 };
typedef float Vector __attribute__((vector_size(4*WIDTH)));

static void peak_chunk(void *self, int64_t index) {
  Vector x[CHAINS], a = {0}, b = {0};
  for (int w = 0; w < WIDTH; w++) { a[w] = 1 - 0x1p-20f; b[w] = 0x1p-20f; }
  for (int c = 0; c < CHAINS; c++) {
    x[c] = a*(float)c;
    __asm__ volatile("" : "+v"(x[c]));    /* a chain that begins at a fixed point is no chain to a compiler that sees it */
  }
  for (int i = 0; i < LINKS; i++) {
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) x[c] = x[c]*a + b;
  }
  for (int c = 1; c < CHAINS; c++) x[0] += x[c];
  ((volatile float *)self)[16*index] = x[0][0];
}

typedef struct Peak { const optc_parallel *team; int threads; float sink[64]; } Peak;
static void run_peak(void *self) {
  Peak *p = self;
  if (p->team) p->team->run(p->team->self, p->threads, peak_chunk, p->sink);
  else peak_chunk(p->sink, 0);
}

/* --- ours ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Work { optc_rule *rule; const char *entry; char *item, *hyper, *global; optc_call call; optc_error error; int64_t axis[2], axes[3][2]; float *data[8]; } Work;

static void run_ours(void *self) {
  Work *w = self;
  if (optc_rule_call_raw(w->rule, optc_rule_entry(w->rule, w->entry), &w->call)) fail(w->error.text);
}

static float *matrix(int64_t rows, int64_t columns, uint64_t seed) {
  float *x = bench_memory((size_t)(rows*columns)*sizeof *x);
  for (int64_t i = 0; i < rows*columns; i++) {
    seed = seed*UINT64_C(6364136223846793005) + 1442695040888963407;
    x[i] = (float)(int32_t)(seed >> 32)*0x1p-31f;
  }
  return x;
}

static Work *work_new(const char *file, const char *text, const char *name, const char *entry, int64_t rows, int64_t columns) {
  Work *w = calloc(1, sizeof *w);
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  optc_compile_options options = {.size = sizeof options, .level = 2, .rule = name};
  if (text ? optc_compile_memory(cx, file, text, strlen(text), &options, &w->rule) : optc_compile_file(cx, file, &options, &w->rule)) fail(optc_context_diagnostics(cx));
  optc_context_free(cx);
  const optc_rule_desc *d = w->rule->desc;
  w->entry = entry;
  w->item = calloc(1, (size_t)d->item_size);
  w->hyper = calloc(1, (size_t)d->hyper_size);
  w->global = calloc(1, (size_t)d->global_size + 64);
  for (int64_t k = 0; k < d->n_hypers; k++) memcpy(w->hyper + 8*k, &d->hypers[k].value, 8);
  w->axis[0] = rows;
  w->axis[1] = columns;
  *(int64_t *)(w->item + d->item_rank) = d->operands[0].shaped ? 0 : 2;
  *(const int64_t **)(w->item + d->item_shape) = w->axis;
  for (int k = 0; k < d->n_operands; k++) {
    w->data[k] = matrix(rows, columns, (uint64_t)k + 1);
    if (d->operands[k].shaped) *(optc_shaped *)(w->item + d->operands[k].offset) = (optc_shaped){.data = w->data[k], .shape = w->axis, .rank = 2};
    else *(void **)(w->item + d->operands[k].offset) = w->data[k];
  }
  w->call = (optc_call){.size = sizeof w->call, .groups = w->hyper, .n_groups = 1, .items = w->item, .n_items = 1, .global = w->global, .error = &w->error};
  w->call.workspace_size = optc_rule_workspace_size(w->rule, &w->call);
  w->call.workspace = bench_memory(w->call.workspace_size + 64);
  return w;
}

/* --- theirs ----------------------------------------------------------------------------------------------------------------------------- */

typedef struct Theirs { const Blas *blas; const float *a, *b; float *c, *x, *s, *y, *z; int64_t rows, columns; } Theirs;

static void run_gemm(void *self) {
  Theirs *t = self;
  t->blas->gemm(ROW_MAJOR, PLAIN, PLAIN, t->rows, t->columns, t->columns, 1, t->a, t->columns, t->b, t->columns, 0, t->c, t->columns);
}

/* x @ x.T as NumPy does it: half by ssyrk, then element by element. */
static void gram(Theirs *t, const float *x, int64_t k, float *s) {
  int64_t n = t->rows;
  t->blas->syrk(ROW_MAJOR, UPPER, PLAIN, n, k, 1, x, k, 0, s, n);
  for (int64_t i = 0; i < n; i++) for (int64_t j = i + 1; j < n; j++) s[j*n + i] = s[i*n + j];
}

/* z = a*x + b*z as NumPy does it: a sweep an operation. */
static void combine(float *restrict z, float *restrict u, float a, const float *restrict x, float b, int64_t n) {
  for (int64_t i = 0; i < n; i++) u[i] = a*x[i];
  for (int64_t i = 0; i < n; i++) z[i] *= b;
  for (int64_t i = 0; i < n; i++) z[i] += u[i];
}

/* for _ in range(5): s = x @ x.T; x = a*x + (b*s + c*(s @ s.T)) @ x */
static void run_newton_schulz(void *self) {
  Theirs *t = self;
  int64_t r = t->rows, m = t->columns;
  double norm = 0;
  for (int64_t i = 0; i < r*m; i++) norm += (double)t->a[i]*t->a[i];
  float f = (float)(1/sqrt(norm));
  for (int64_t i = 0; i < r*m; i++) t->x[i] = f*t->a[i];
  for (int step = 0; step < 5; step++) {
    gram(t, t->x, m, t->s);
    gram(t, t->s, r, t->y);
    combine(t->y, t->c, -4.7750f, t->s, 2.0315f, r*r);
    t->blas->gemm(ROW_MAJOR, PLAIN, PLAIN, r, m, r, 1, t->y, r, t->x, m, 0, t->c, m);
    combine(t->x, t->z, 1, t->c, 3.4445f, r*m);
  }
}

/* --- rows ------------------------------------------------------------------------------------------------------------------------------- */

/* flops: counted dense. */
typedef struct Row { const char *what; Work *ours; const char *peer; work_fn theirs; int64_t rows, columns; double flops, bar; } Row;

static void bench(Report *report, const Blas *blas, const Row *row, int rounds) {
  int64_t side = row->rows > row->columns ? row->rows : row->columns;
  Theirs t = {.blas = blas, .a = row->ours->data[0], .b = row->ours->data[1], .rows = row->rows, .columns = row->columns};
  float **room[] = {&t.c, &t.x, &t.s, &t.y, &t.z};
  for (int k = 0; k < 5; k++) *room[k] = matrix(row->rows, side, 1);
  double *seconds = malloc((size_t)(3*rounds)*sizeof *seconds), *share = malloc((size_t)rounds*sizeof *share);
  int repeat = row->flops < 1e9 ? (int)(1e9/row->flops) : 1;
  for (int threads = 1; threads <= 2; threads++) {
    char name[120];
    optc_parallel team = optc_parallel_openmp(threads);
    Peak peak = {.team = threads > 1 ? &team : NULL, .threads = threads};
    Contender c[] = {{"optc", run_ours, row->ours}, {"FMA peak, counted dense", run_peak, &peak}, {row->peer, row->theirs, &t}};
    row->ours->call.parallel = threads > 1 ? &team : NULL;
    if (blas) blas->set_threads(threads);
    measure_rounds(c, blas ? 3 : 2, rounds, repeat, threads == 1, seconds);
    double fastest = 2.0*WIDTH*CHAINS*LINKS*threads;
    for (int r = 0; r < rounds; r++) share[r] = row->flops/fastest*seconds[rounds + r]/seconds[r];
    snprintf(name, sizeof name, "%s, %d thread%s (bar %.2f)", row->what, threads, threads > 1 ? "s" : "", row->bar);
    double ours = row->flops*1e-9/median(seconds, rounds);
    report_row(report, name, ours, c[1].name, fastest*1e-9/median(seconds + rounds, rounds), "GFLOP/s", median(share, rounds), rounds);
    if (blas) report_row(report, name, ours, c[2].name, row->flops*1e-9/median(seconds + 2*rounds, rounds), "GFLOP/s", median_ratio(seconds + 2*rounds, seconds, rounds), rounds);
  }
  free(seconds);
  free(share);
}

int main(int argc, char **argv) {
  static const char product[] = "rule product() { in A[M, K], B[K, N]\n out C[M, N]\n C = A @ B }\n";
  static const int64_t sides[] = {256, 512, 1024, 2048}, columns[] = {1024, 4096};
  static const double bars[] = {1.15, 1.05};
  if (argc < 2) return 2;
  int quick = argc > 2 && !strcmp(argv[2], "quick");
  const char *only = argc > 3 ? argv[3] : NULL;
  Blas library, *blas = open_blas(&library) ? &library : NULL;
  Report *report = report_open(argv[1]);
  if (blas) printf("OpenBLAS with its kernels for %s\n", blas->kernels());
  else printf("skipped: OpenBLAS, for neither OPTC_BENCH_BLAS nor libopenblas.so.0 is one\n");
  for (int k = 0; k < 4 && (!only || !strcmp(only, "product")); k++) {
    char what[80];
    double n = (double)sides[k];
    snprintf(what, sizeof what, "product, n %lld", (long long)sides[k]);
    Work *ours = work_new("product.opt", product, "product", "forward", sides[k], sides[k]);
    bench(report, blas, &(Row){what, ours, "OpenBLAS sgemm", run_gemm, sides[k], sides[k], 2*n*n*n, 1.0}, quick ? 5 : 21);
  }
  for (int k = 0; k < 2 && (!only || !strcmp(only, "muon")); k++) {
    char what[80];
    double r = 1024, m = (double)columns[k];
    snprintf(what, sizeof what, "muon, the whole step, 1024 x %lld", (long long)columns[k]);
    Work *ours = work_new("rules/muon.opt", NULL, "muon", "step", 1024, columns[k]);
    bench(report, blas, &(Row){what, ours, "NumPy's calls: ssyrk, sgemm", run_newton_schulz, 1024, columns[k], 5*(4*r*r*m + 2*r*r*r), bars[k]}, quick ? 5 : 21);
  }
  return report_close(report);
}
