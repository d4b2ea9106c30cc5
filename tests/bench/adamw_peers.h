/* adamw_peers.h: what AdamW is compared with: hand-written intrinsics, plain C under -ffast-math, and a probe of the memory. */
#ifndef OPTC_BENCH_ADAMW_PEERS_H
#define OPTC_BENCH_ADAMW_PEERS_H
#include <stddef.h>

/* Host scalars of one step, as every hand-written AdamW prepares them. */
typedef struct AdamwScalars { float beta1, one_minus_beta1, beta2, one_minus_beta2, eps, shrink, step_size, inverse_c2; } AdamwScalars;

typedef void (*adamw_fn)(float *p, const float *g, float *m, float *v, size_t n, const AdamwScalars *);
void adamw_intrinsics(float *p, const float *g, float *m, float *v, size_t n, const AdamwScalars *);
void adamw_plain_c(float *p, const float *g, float *m, float *v, size_t n, const AdamwScalars *);      /* built with -O3 -march=native -ffast-math */
void adamw_exact_c(float *p, const float *g, float *m, float *v, size_t n, const AdamwScalars *);      /* the same text without -ffast-math */
void adamw_probe(float *p, const float *g, float *m, float *v, size_t n, const AdamwScalars *);        /* same streams, additions only */
const char *adamw_intrinsics_name(void);
#endif
