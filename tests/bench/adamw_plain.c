/* adamw_plain.c: AdamW as a C programmer writes it; built twice, see bench.mk. */
#include "tests/bench/adamw_peers.h"
#include <math.h>

void ADAMW_NAME(float *restrict p, const float *restrict g, float *restrict m, float *restrict v, size_t n, const AdamwScalars *s) {
  const AdamwScalars k = *s;
  for (size_t i = 0; i < n; i++) {
    float mi = k.beta1 * m[i] + k.one_minus_beta1 * g[i];
    float vi = k.beta2 * v[i] + k.one_minus_beta2 * g[i] * g[i];
    m[i] = mi;
    v[i] = vi;
    p[i] = p[i] * k.shrink - k.step_size * mi / (sqrtf(vi * k.inverse_c2) + k.eps);
  }
}
