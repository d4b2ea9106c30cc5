/* adamw_intrinsics.c: AdamW by hand for AVX-512 or AVX2, and the bandwidth probe with the same streams. */
#include "tests/bench/adamw_peers.h"
#include <immintrin.h>
#include <math.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
typedef __m512 V;
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define SET _mm512_set1_ps
#define ADD _mm512_add_ps
#define MUL _mm512_mul_ps
#define DIV _mm512_div_ps
#define SQRT _mm512_sqrt_ps
#define FMADD _mm512_fmadd_ps
#define FNMADD _mm512_fnmadd_ps
const char *adamw_intrinsics_name(void) { return "AVX-512 intrinsics"; }
#elif defined(__AVX2__) && defined(__FMA__)
enum { LANES = 8 };
typedef __m256 V;
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SET _mm256_set1_ps
#define ADD _mm256_add_ps
#define MUL _mm256_mul_ps
#define DIV _mm256_div_ps
#define SQRT _mm256_sqrt_ps
#define FMADD _mm256_fmadd_ps
#define FNMADD _mm256_fnmadd_ps
const char *adamw_intrinsics_name(void) { return "AVX2 intrinsics"; }
#else
#error "the benchmark needs AVX2 or AVX-512"
#endif

void adamw_intrinsics(float *p, const float *g, float *m, float *v, size_t n, const AdamwScalars *s) {
  const V b1 = SET(s->beta1), c1 = SET(s->one_minus_beta1), b2 = SET(s->beta2), c2 = SET(s->one_minus_beta2);
  const V eps = SET(s->eps), shrink = SET(s->shrink), step = SET(s->step_size), inverse = SET(s->inverse_c2);
  size_t i = 0;
  for (; i + 2 * LANES <= n; i += 2 * LANES)
    for (size_t u = 0; u < 2; u++) {
      size_t at = i + u * LANES;
      V gi = LOAD(g + at), mi = FMADD(b1, LOAD(m + at), MUL(c1, gi)), vi = FMADD(b2, LOAD(v + at), MUL(c2, MUL(gi, gi)));
      STORE(m + at, mi);
      STORE(v + at, vi);
      STORE(p + at, FNMADD(step, DIV(mi, ADD(SQRT(MUL(vi, inverse)), eps)), MUL(LOAD(p + at), shrink)));
    }
  for (; i < n; i++) {
    m[i] = s->beta1 * m[i] + s->one_minus_beta1 * g[i];
    v[i] = s->beta2 * v[i] + s->one_minus_beta2 * g[i] * g[i];
    p[i] = p[i] * s->shrink - s->step_size * m[i] / (sqrtf(v[i] * s->inverse_c2) + s->eps);
  }
}

void adamw_probe(float *p, const float *g, float *m, float *v, size_t n, const AdamwScalars *s) {
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    V gi = LOAD(g + i);
    STORE(p + i, ADD(LOAD(p + i), gi));
    STORE(m + i, ADD(LOAD(m + i), gi));
    STORE(v + i, ADD(LOAD(v + i), gi));
  }
  for (; i < n; i++) { p[i] += g[i]; m[i] += g[i]; v[i] += g[i]; }
}
