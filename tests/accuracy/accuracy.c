/* accuracy.c: every f32 operand of every elementary function, as the compiler's own machine code, against a reference.
 *
 *   accuracy FOLDER [--route=machine|gcc] [--step=N] [--hard=DIR] [--table=FILE] [function ...]
 *
 * The reference is the double of libm where an interval of 2^-47 around it rounds to one f32 (libm's worst is below 2^-50), else
 * MPFR with 200 bits. Reported: results that are not the nearest f32, and the largest error in units of the last place. Operands for
 * which the interval did not decide are the hard ones; --hard writes them with their results, for the permanent test.
 * Two threads; the work is cut in pieces of 2^20 operands. Without named functions the f64 functions follow, on random operands. */
#include <math.h>
#include <mpfr.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/accuracy/f64.h"
#include "tests/accuracy/precise.h"
#include "tests/accuracy/route.h"

enum { PIECE = 1 << 20, THREADS = 2, HARD = 4096, BITS_OF_REFERENCE = 200 };

typedef struct Function {
  Op op;
  const char *claim;                     /* accuracy class, as function.def has it */
  double (*reference)(double);
  Precise precise;
  float flush;                           /* results below are 0 by definition */
} Function;

static double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double rsqrt(double x) { return 1 / sqrt(x); }

static const Function functions[] = {
  {OP_EXP, "rounded", exp, mpfr_exp, 0},          {OP_EXP2, "rounded", exp2, mpfr_exp2, 0},    {OP_EXPM1, "rounded", expm1, mpfr_expm1, 0},
  {OP_LOG, "rounded", log, mpfr_log, 0},          {OP_LOG2, "rounded", log2, mpfr_log2, 0},    {OP_LOG1P, "rounded", log1p, mpfr_log1p, 0},
  {OP_TANH, "rounded", tanh, mpfr_tanh, 0},       {OP_SIGMOID, "rounded", sigmoid, precise_sigmoid, 0},
  {OP_ERF, "rounded", erf, mpfr_erf, 0},          {OP_RSQRT, "rounded", rsqrt, precise_rsqrt, 0},
  {OP_SIN, "rounded", sin, mpfr_sin, 0},            {OP_COS, "rounded", cos, mpfr_cos, 0},         {OP_COSH, "rounded", cosh, mpfr_cosh, 0},
  {OP_SEXP, "fixed", exp, mpfr_exp, 0x1p-126f},   {OP_FAST_EXP, "fixed", exp, mpfr_exp, 0},
  {OP_FAST_LOG, "fixed", log, mpfr_log, 0},       {OP_FAST_TANH, "fixed", tanh, mpfr_tanh, 0},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

typedef struct Job {
  const Function *f;
  Route route;
  uint64_t next, step;
  pthread_mutex_t lock;
  uint64_t tested, wrong;
  double ulp;                            /* largest error, and where */
  uint32_t at;
  unsigned n_hard;
  uint32_t hard[HARD], hard_result[HARD];
  uint32_t example[8]; unsigned n_examples;
} Job;

static float f32_of(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static uint32_t bits_of(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

static float precise(const Function *f, float x, mpfr_t a, mpfr_t b) {
  mpfr_set_flt(a, x, MPFR_RNDN);
  f->precise(b, a, MPFR_RNDN);
  return mpfr_get_flt(b, MPFR_RNDN);
}

static double ulp_of(float y) {
  int e;
  frexpf(y, &e);
  return ldexp(1, (e < -125 ? -125 : e) - 24);
}

static void *work(void *self) {
  Job *job = self;
  const Function *f = job->f;
  mpfr_t a, b;
  mpfr_init2(a, BITS_OF_REFERENCE);
  mpfr_init2(b, BITS_OF_REFERENCE);
  float *x = malloc(PIECE * sizeof *x), *y = malloc(PIECE * sizeof *y);
  for (;;) {
    pthread_mutex_lock(&job->lock);
    uint64_t begin = job->next;
    job->next += PIECE * job->step;
    pthread_mutex_unlock(&job->lock);
    if (begin > UINT32_MAX) break;
    long n = 0;
    for (uint64_t u = begin; n < PIECE && u <= UINT32_MAX; u += job->step) x[n++] = f32_of((uint32_t)u);
    job->route.run(&job->route, x, x, y, n);
    uint64_t wrong = 0;
    double worst = 0;
    uint32_t at = 0;
    for (long i = 0; i < n; i++) {
      double r = f->reference((double)x[i]);
      float low = (float)(r * (1 - 0x1p-47)), want = (float)(r * (1 + 0x1p-47));
      if (bits_of(low) != bits_of(want) && r == r) {
        want = precise(f, x[i], a, b);
        pthread_mutex_lock(&job->lock);
        if (job->n_hard < HARD) {
          job->hard[job->n_hard] = bits_of(x[i]);
          job->hard_result[job->n_hard++] = bits_of(want);
        }
        pthread_mutex_unlock(&job->lock);
      }
      if (fabsf(want) < f->flush) { r = 0; want = 0; }
      if (bits_of(want) != bits_of(y[i]) && !(want != want && y[i] != y[i])) {
        wrong++;
        double error = isfinite(want) && isfinite(y[i]) ? fabs((double)y[i] - r) / ulp_of(want) : INFINITY;
        if (isinf(want) && isfinite(y[i])) error = fabs((double)y[i] - r) / 0x1p104;
        if (isfinite(want) && isinf(y[i])) error = fabs(copysign(0x1p128, y[i]) - r) / 0x1p104;
        if (!(error <= worst)) { worst = error; at = bits_of(x[i]); }
        if (job->n_examples < 8) job->example[job->n_examples++] = bits_of(x[i]);
      }
    }
    pthread_mutex_lock(&job->lock);
    job->tested += (uint64_t)n;
    job->wrong += wrong;
    if (!(worst <= job->ulp)) { job->ulp = worst; job->at = at; }
    pthread_mutex_unlock(&job->lock);
  }
  free(x);
  free(y);
  mpfr_clear(a);
  mpfr_clear(b);
  mpfr_free_cache2(MPFR_FREE_LOCAL_CACHE);
  return NULL;
}

static int by_value(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static bool write_hard(const Job *job, const char *folder) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.txt", folder, op_name(job->f->op));
  FILE *out = fopen(path, "w");
  if (!out) return false;
  uint32_t pair[HARD][2];
  for (unsigned i = 0; i < job->n_hard; i++) { pair[i][0] = job->hard[i]; pair[i][1] = job->hard_result[i]; }
  qsort(pair, job->n_hard, sizeof *pair, by_value);
  for (unsigned i = 0; i < job->n_hard; i++) fprintf(out, "%08x %08x\n", pair[i][0], pair[i][1]);
  return !fclose(out);
}

/* One function over all operands; false when it cannot be compiled. */
static bool measure(Job *job, const char *folder, bool gcc) {
  if (!route_compile(&job->route, job->f->op, TYPE_F32, folder, gcc)) return false;
  pthread_mutex_init(&job->lock, NULL);
  pthread_t thread[THREADS];
  for (unsigned i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, work, job);
  for (unsigned i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  return true;
}

static void print_row(FILE *out, const Job *job) {
  fprintf(out, "| %s | %s | %llu | %llu | ", op_name(job->f->op), job->f->claim, (unsigned long long)job->tested, (unsigned long long)job->wrong);
  if (job->wrong) fprintf(out, "%.3f | %a", job->ulp, (double)f32_of(job->at));
  else fprintf(out, "0.5 | ");
  fprintf(out, " | %u |\n", job->n_hard);
  fflush(out);
}

int main(int argc, char **argv) {
  const char *folder = NULL, *hard = NULL, *table = NULL;
  uint64_t step = 1;
  bool chosen[FUNCTIONS] = {0}, any = false, failed = false, gcc = false;
  for (int i = 1; i < argc; i++) {
    if (!strncmp(argv[i], "--step=", 7)) step = strtoull(argv[i] + 7, NULL, 10);
    else if (!strncmp(argv[i], "--route=", 8)) gcc = !strcmp(argv[i] + 8, "gcc");
    else if (!strncmp(argv[i], "--hard=", 7)) hard = argv[i] + 7;
    else if (!strncmp(argv[i], "--table=", 8)) table = argv[i] + 8;
    else if (!folder) folder = argv[i];
    else {
      unsigned k = 0;
      while (k < FUNCTIONS && strcmp(argv[i], op_name(functions[k].op))) k++;
      if (k == FUNCTIONS) { fprintf(stderr, "accuracy: no function '%s'\n", argv[i]); return 2; }
      chosen[k] = any = true;
    }
  }
  if (!folder || !step) { fprintf(stderr, "usage: accuracy FOLDER [--route=machine|gcc] [--step=N]"
                    " [--hard=DIR] [--table=FILE] [function ...]\n"); return 2; }
  FILE *out = table ? fopen(table, "w") : NULL;
  if (table && !out) { perror(table); return 2; }
  static const char head[] = "| function | claim | operands | not nearest | largest error, ulp | at | undecided by f64 |\n"
                             "| --- | --- | --- | --- | --- | --- | --- |\n";
  printf("%s", head);
  if (out) fprintf(out, "%s", head);
  for (unsigned k = 0; k < FUNCTIONS; k++) {
    if (any && !chosen[k]) continue;
    static Job job;
    job = (Job){.f = &functions[k], .step = step};
    if (!measure(&job, folder, gcc)) { fprintf(stderr, "accuracy: %s does not compile\n", op_name(functions[k].op)); return 2; }
    print_row(stdout, &job);
    if (out) print_row(out, &job);
    bool claimed = !strcmp(job.f->claim, "rounded");
    for (unsigned i = 0; i < job.n_examples && claimed; i++) printf("  wrong at %08x %a\n", job.example[i], (double)f32_of(job.example[i]));
    if (hard && claimed && !write_hard(&job, hard)) { perror(hard); return 2; }
    failed = failed || (job.wrong && claimed);
  }
  if (!any && !accuracy_f64((FILE *[]){stdout, out}, folder, gcc, step == 1 ? 1000000 : 20000)) failed = true;
  if (out && fclose(out)) { perror(table); return 2; }
  return failed;
}
