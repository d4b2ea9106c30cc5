/* parallel_openmp.c: a team of OpenMP threads behind the optc_parallel interface. */
#include <omp.h>
#include "runtime/optc.h"

/* A few chunks go to the same thread at every call, so that what is in its cache is met again; many are handed out as threads
 * become free, so that a disturbed core does not hold up the others. */
static void run(void *self, int64_t n, void (*chunk)(void *context, int64_t index), void *context) {
  int threads = (int)(intptr_t)self;
  if (threads < 1) threads = omp_get_max_threads();
  if (threads == 1 || n < 2) {
    for (int64_t i = 0; i < n; i++) chunk(context, i);
    return;
  }
  if (threads > n) threads = (int)n;
  if (n < (int64_t)32*threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i++) chunk(context, i);
  } else {
#pragma omp parallel for schedule(dynamic, 2) num_threads(threads)
    for (int64_t i = 0; i < n; i++) chunk(context, i);
  }
}

optc_parallel optc_parallel_openmp(int threads) {
  return (optc_parallel){.run = run, .self = (void *)(intptr_t)(threads > 0 ? threads : 0)};
}
