/* command_measure.c: short probes of bandwidth and of the peak of fused multiply-adds. The best of many rounds: what disturbs a probe only makes it slower. */
#define _GNU_SOURCE
#include "runtime/command_measure.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "runtime/optc.h"

enum { STREAMS = 4, WORDS = 16 << 20, PIECES = 256, CHAINS = 12, STEPS = 200000 };      /* 64 MiB a stream: more than caches keep */

typedef float Lanes __attribute__((vector_size(64), aligned(4)));

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

typedef void Piece(void *self, int64_t index);
static const double patience = 0.3;      /* seconds */

/* `amount` a round of n pieces: the most in a nanosecond. */
static double best_rate(int threads, int64_t n, Piece *piece, void *self, double amount) {
  optc_parallel team = optc_parallel_openmp(threads);
  double start = seconds(), now = start, best = 0;
  do {
    double begin = now;
    team.run(team.self, n, piece, self);
    now = seconds();
    double rate = 1e-9*amount/(now - begin);
    best = rate > best ? rate : best;
  } while (now - start < patience);
  return best;
}

/* Adds nothing: the sum is subtracted from itself, which the compiler may not drop, for it is no identity of floating-point numbers. */
__attribute__((target_clones("avx512f", "avx2", "default")))
static void stream_piece(void *self, int64_t piece) {
  float *const *stream = self;
  int64_t begin = WORDS/PIECES*piece, end = begin + WORDS/PIECES;
  for (int64_t i = begin; i < end; i += 16) {
    Lanes x = *(const Lanes *)(stream[0] + i);
    x -= x;
    for (int k = 1; k < STREAMS; k++) *(Lanes *)(stream[k] + i) += x;
  }
}

double measure_bandwidth(int threads) {
  size_t huge = 2u << 20, size = (size_t)STREAMS*(4*(size_t)WORDS + 4160) + 2*huge;
  char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return 0;
  madvise(map, size, MADV_HUGEPAGE);
  memset(map, 0, size);
  float *stream[STREAMS];
  for (size_t k = 0; k < STREAMS; k++) stream[k] = (float *)(void *)(map + huge + k*(4*(size_t)WORDS + 4160));    /* not on the same sets of the cache */
  double best = best_rate(threads, PIECES, stream_piece, stream, 4.0*WORDS*(2*STREAMS - 1));
  munmap(map, size);
  return best;
}

/* --- arithmetic ---------------------------------------------------------------------------------------------------------------------- */

/* What a thread found: a line of the cache each. */
typedef struct Chains { double best, sum, unused[6]; } Chains;

static void keep_best(Chains *c, double begin, int lanes, float sum) {
  double rate = 2e-9*CHAINS*STEPS*lanes/(seconds() - begin);
  c->best = rate > c->best ? rate : c->best;
  c->sum = sum;
}

/* The chains stand in registers: as many values of `Vector` as there are chains, each waiting for itself alone. Threads time themselves: on a busy machine
 * they hardly ever all end in time. */
#ifdef __clang__
#define FUSED
#define FUSED_BODY _Pragma("clang fp contract(fast)")
#else
#define FUSED __attribute__((optimize("O2", "fp-contract=fast")))
#define FUSED_BODY
#endif
#define CHAIN_BODY(Vector) \
  FUSED_BODY \
  double begin = seconds(); \
  Vector x[CHAINS], a = {0}, b = {0}; \
  for (int k = 0; k < CHAINS; k++) x[k] = a + (float)k; \
  a += 0.999f; b += 1e-3f; \
  for (int64_t i = 0; i < STEPS; i++) { \
    _Pragma("GCC unroll 12") for (int k = 0; k < CHAINS; k++) x[k] = x[k]*a + b; \
    __asm__ volatile("" : : : ); \
  } \
  for (int k = 1; k < CHAINS; k++) x[0] += x[k]; \
  keep_best((Chains *)self + index, begin, (int)(sizeof(Vector)/sizeof(float)), x[0][0])

typedef float Lanes4 __attribute__((vector_size(16)));
typedef float Lanes8 __attribute__((vector_size(32)));
typedef float Lanes16 __attribute__((vector_size(64)));

#if defined(__x86_64__)
FUSED __attribute__((target("avx512f"))) static void chains_16(void *self, int64_t index) { CHAIN_BODY(Lanes16); }
FUSED __attribute__((target("avx2,fma"))) static void chains_8(void *self, int64_t index) { CHAIN_BODY(Lanes8); }
#endif
FUSED static void chains_4(void *self, int64_t index) { CHAIN_BODY(Lanes4); }

double measure_peak(int threads) {
  Piece *chains = chains_4;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) chains = chains_16;
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) chains = chains_8;
#endif
  Chains *found = calloc((size_t)threads, sizeof *found);
  double sum = 0;
  if (found) best_rate(threads, threads, chains, found, 0);
  for (int k = 0; k < threads && found; k++) sum += found[k].best;
  free(found);
  return sum;
}
