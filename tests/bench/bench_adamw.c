/* bench_adamw.c: AdamW as compiled by optc against intrinsics, plain C and the bandwidth probe, on the same buffers.
 *   usage: bench_adamw OUT.json [quick] */
#define _GNU_SOURCE
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "adamw.h"
#include "adamw_flush.h"
#include "tests/bench/adamw_peers.h"
#include "tests/bench/measure.h"

enum { MAX_ITEMS = 160 };

/* One workload: tensors that all contenders update, one after the other. */
typedef struct Work {
  int n_items, threads;
  int64_t count[MAX_ITEMS], total;
  float *p[MAX_ITEMS], *g[MAX_ITEMS], *m[MAX_ITEMS], *v[MAX_ITEMS];
  adamw_item item[MAX_ITEMS];
  adamw_flush_item flush_item[MAX_ITEMS];
  adamw_hyper hyper;
  adamw_global global;
  adamw_call call;
  adamw_flush_hyper flush_hyper;
  adamw_flush_call flush_call;
  adamw_flush_global flush_global;
  AdamwScalars scalars;
  optc_error error;
} Work;

static void team_run(void *self, int64_t n, void (*chunk)(void *, int64_t), void *context) {
#pragma omp parallel for schedule(static) num_threads(*(int *)self)
  for (int64_t i = 0; i < n; i++) chunk(context, i);
}
static int team_size;
static const optc_parallel team = {team_run, &team_size};

static void check(int code, const optc_error *e) {
  if (code) { fprintf(stderr, "bench: error %d: %s\n", code, e->text); exit(1); }
}
static void run_ours(void *self) { Work *w = self; check(adamw_step(&w->call), &w->error); }
static void run_flush(void *self) { Work *w = self; check(adamw_flush_step(&w->flush_call), &w->error); }

/* Peers: each thread takes an equal part of every tensor. */
static void run_peer(Work *w, adamw_fn f) {
  if (w->threads == 1) {
    for (int k = 0; k < w->n_items; k++) f(w->p[k], w->g[k], w->m[k], w->v[k], (size_t)w->count[k], &w->scalars);
    return;
  }
#pragma omp parallel num_threads(w->threads)
  {
    int64_t id = omp_get_thread_num(), n = omp_get_num_threads();
    for (int k = 0; k < w->n_items; k++) {
      int64_t lo = w->count[k] * id / n / 64 * 64, hi = id + 1 == n ? w->count[k] : w->count[k] * (id + 1) / n / 64 * 64;
      f(w->p[k] + lo, w->g[k] + lo, w->m[k] + lo, w->v[k] + lo, (size_t)(hi - lo), &w->scalars);
    }
  }
}
static void run_intrinsics(void *self) { run_peer(self, adamw_intrinsics); }
static void run_plain(void *self) { run_peer(self, adamw_plain_c); }
static void run_exact(void *self) { run_peer(self, adamw_exact_c); }
static void run_probe(void *self) { run_peer(self, adamw_probe); }

static float random_float(uint64_t *s) {
  *s = *s * 6364136223846793005u + 1442695040888963407u;
  return (float)(int32_t)(*s >> 32) * 0x1p-31f;
}

/* Tensors lie one after the other in one huge-page region a role, as an arena allocator of a training program lays them. */
static Work *work_new(const int64_t *count, int n, float *const region[4]) {
  Work *w = calloc(1, sizeof *w);
  size_t at = 0;
  uint64_t seed = 1;
  w->n_items = n;
  for (int k = 0; k < n; k++) {
    w->count[k] = count[k];
    w->total += count[k];
    w->p[k] = region[0] + at; w->g[k] = region[1] + at; w->m[k] = region[2] + at; w->v[k] = region[3] + at;
    at += ((size_t)count[k] + 63) / 64 * 64;
    for (int64_t i = 0; i < count[k]; i++) {
      w->p[k][i] = random_float(&seed); w->g[k][i] = 0.01f * random_float(&seed);
      w->m[k][i] = 0.001f * random_float(&seed); w->v[k][i] = 1e-4f * fabsf(random_float(&seed)) + 1e-6f;
    }
    w->item[k] = (adamw_item){.p.data = w->p[k], .g.data = w->g[k], .m.data = w->m[k], .v.data = w->v[k], .rank = 1, .shape = &w->count[k]};
    w->flush_item[k] = (adamw_flush_item){.p.data = w->p[k], .g.data = w->g[k], .m.data = w->m[k], .v.data = w->v[k], .rank = 1, .shape = &w->count[k]};
  }
  w->hyper = (adamw_hyper)adamw_HYPER_DEFAULTS;
  w->flush_hyper = (adamw_flush_hyper)adamw_flush_HYPER_DEFAULTS;
  w->global.t = w->flush_global.t = 1000;
  w->call = (adamw_call){.size = sizeof w->call, .groups = &w->hyper, .n_groups = 1, .items = w->item, .n_items = n, .global = &w->global, .error = &w->error};
  w->flush_call = (adamw_flush_call){.size = sizeof w->flush_call, .groups = &w->flush_hyper, .n_groups = 1, .items = w->flush_item, .n_items = n,
                                     .global = &w->flush_global, .error = &w->error};
  double lr = w->hyper.lr, b1 = w->hyper.beta1, b2 = w->hyper.beta2;
  w->scalars = (AdamwScalars){(float)b1, (float)(1 - b1), (float)b2, (float)(1 - b2), (float)w->hyper.eps, (float)(1 - lr * w->hyper.decay),
                              (float)(lr / (1 - pow(b1, 1000))), (float)(1 / (1 - pow(b2, 1000)))};
  return w;
}
static void work_threads(Work *w, int threads) {
  w->threads = threads;
  team_size = threads;
  w->call.parallel = w->flush_call.parallel = threads > 1 ? &team : NULL;
}

/* The tensors of GPT-2 124M, 148 of them. */
static int gpt2_shapes(int64_t *count) {
  int n = 0;
  count[n++] = 50257 * 768; count[n++] = 1024 * 768;
  for (int layer = 0; layer < 12; layer++) {
    const int64_t one[] = {768, 768, 768 * 2304, 2304, 768 * 768, 768, 768, 768, 768 * 3072, 3072, 3072 * 768, 768};
    for (int k = 0; k < 12; k++) count[n++] = one[k];
  }
  count[n++] = 768; count[n++] = 768;
  return n;
}

static void bench(Report *report, const char *what, Work *w, int rounds, int repeat) {
  Contender c[] = {{"optc", run_ours, w}, {adamw_intrinsics_name(), run_intrinsics, w}, {"C -O3 -ffast-math", run_plain, w},
                   {"C -O3, exact", run_exact, w}, {"probe 4r3w", run_probe, w}};
  enum { N = sizeof c / sizeof *c };
  double *seconds = malloc((size_t)(N * rounds) * sizeof *seconds);
  for (int threads = 1; threads <= 2; threads++) {
    char name[80];
    work_threads(w, threads);
    snprintf(name, sizeof name, "adamw %s, %d thread%s", what, threads, threads > 1 ? "s" : "");
    measure_rounds(c, N, rounds, repeat, threads == 1, seconds);
    report_rounds(report, name, c, N, rounds, seconds, 28e-9 * (double)w->total, "GB/s");
  }
  free(seconds);
}

/* Half of the gradient is zero for 2,000 steps: those averages decay into subnormal numbers, and stay there unless the rule says `flush`. */
static void bench_subnormal(Report *report, Work *w, int steps, int rounds, int repeat) {
  double *seconds = malloc((size_t)(2 * rounds) * sizeof *seconds);
  for (int flush = 0; flush < 2; flush++) {
    work_threads(w, 1);
    for (int k = 0; k < w->n_items; k++) {
      uint64_t seed = 7;
      for (int64_t i = 0; i < w->count[k]; i++) {
        w->g[k][i] = i % 2 ? 0 : 0.01f * random_float(&seed);
        w->m[k][i] = 0.001f * random_float(&seed);
        w->v[k][i] = 1e-6f;
      }
    }
    Contender ours = {flush ? "optc, f32 flush" : "optc", flush ? run_flush : run_ours, w};
    for (int s = 0; s < steps; s++) ours.work(w);
    Contender c[] = {ours, {"probe 4r3w", run_probe, w}};
    /* the probe changes the averages: it gets a copy of the loop's time only, on the state as it is after the timed steps */
    for (int r = 0; r < rounds; r++) {
      double t = now_cpu();
      for (int i = 0; i < repeat; i++) ours.work(w);
      seconds[r] = (now_cpu() - t) / repeat;
    }
    measure_rounds(c + 1, 1, rounds, repeat, 1, seconds + rounds);
    report_rounds(report, flush ? "adamw half zero gradient, f32 flush" : "adamw half zero gradient", c, 2, rounds, seconds, 28e-9 * (double)w->total, "GB/s");
  }
  free(seconds);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  int quick = argc > 2 && !strcmp(argv[2], "quick");
  Report *report = report_open(argv[1]);
  int64_t big = quick ? (int64_t)16 << 20 : (int64_t)64 << 20, gpt2[MAX_ITEMS], cache = 256 << 10, total = 0;
  int n_gpt2 = gpt2_shapes(gpt2);
  for (int k = 0; k < n_gpt2; k++) total += (gpt2[k] + 63) / 64 * 64;
  size_t bytes = (size_t)(big > total ? big : total) * sizeof(float);
  float *region[4];
  for (int r = 0; r < 4; r++) region[r] = (float *)bench_memory(bytes + 65536) + r * 1040;      /* staggered: equal offsets share cache sets */
  Work *w = work_new(&cache, 1, region);
  bench(report, "256 Ki in cache", w, quick ? 15 : 41, 40);
  bench_subnormal(report, w, 2000, quick ? 5 : 15, 20);
  free(w);
  w = work_new(gpt2, n_gpt2, region);
  bench(report, "GPT-2 124M, 148 tensors", w, quick ? 5 : 21, 1);
  free(w);
  w = work_new(&big, 1, region);
  bench(report, quick ? "16 Mi" : "64 Mi", w, quick ? 7 : 21, 1);
  free(w);
  return report_close(report);
}
