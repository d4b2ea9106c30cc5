/* f64.c: f64 functions on random operands against MPFR: errors in units of the last place.
 *
 * A quarter of the operands are any bit pattern, a quarter lie near 0 (near 1 for logarithms) in all magnitudes down to subnormal ones, half where results are
 * finite. For pow: bases near 1 with large exponents, results over the whole range, integer operands. */
#include "tests/accuracy/f64.h"
#include <math.h>
#include <mpfr.h>
#include <stdlib.h>
#include <string.h>
#include "tests/accuracy/precise.h"
#include "tests/accuracy/route.h"
#include "tests/support/random.h"

enum { BITS_OF_REFERENCE = 160 };

static const struct Function64 { Op op; Precise precise; double low, high; } functions[] = {
  {OP_EXP, mpfr_exp, -750, 720},     {OP_EXP2, mpfr_exp2, -1080, 1030}, {OP_EXPM1, mpfr_expm1, -45, 715}, {OP_LOG, mpfr_log, 0, 4},
  {OP_LOG2, mpfr_log2, 0, 4},        {OP_LOG1P, mpfr_log1p, -1, 4},     {OP_TANH, mpfr_tanh, -22, 22},    {OP_SIGMOID, precise_sigmoid, -750, 40},
  {OP_ERF, mpfr_erf, -6.5, 6.5},     {OP_RSQRT, precise_rsqrt, 0, 4},   {OP_SIN, mpfr_sin, -100, 100},    {OP_COS, mpfr_cos, -100, 100},
  {OP_COSH, mpfr_cosh, -715, 715},   {OP_POW, NULL, 0, 0},
};

static double any_double(uint64_t *s) { uint64_t u = next_random(s); double x; memcpy(&x, &u, 8); return x; }
static double unit(uint64_t *s) { return (double)(next_random(s) >> 11) * 0x1p-53; }

static void choose(const struct Function64 *f, long i, uint64_t *s, double *x, double *y) {
  double u = unit(s) - 0.5, near = u * ldexp(1, -(int)(i % 8 != 3 ? next_random(s) % 60 : 960 + next_random(s) % 115));
  *y = 0;
  if (f->op != OP_POW) {
    *x = i % 4 < 2 ? f->low + (f->high - f->low) * (u + 0.5) : i % 4 == 2 ? any_double(s) : near + (f->op == OP_LOG || f->op == OP_LOG2);
    return;
  }
  switch (i % 4) {
    case 0: *x = 0.7 + 0.8 * (u + 0.5); *y = (unit(s) - 0.5) * 2900; break;
    case 1: *x = 1 + near; *y = (unit(s) - 0.5) * 1400 / (log(*x) + 1e-30); break;
    case 2: *x = fabs(any_double(s)); *y = 1450 / log(*x) * u; break;
    default: *x = (double)(next_random(s) % 200) - 100; *y = (double)(next_random(s) % 60) - 30; break;
  }
}

/* |y - reference| in units of the last place of the reference; infinity where a zero, an infinity or a NaN is not the right one. */
static double error_of(double y, mpfr_t reference, mpfr_t scratch) {
  double want = mpfr_get_d(reference, MPFR_RNDN);
  if (want != want || isinf(want) || want == 0 || y != y || isinf(y)) return (want != want && y != y) || (want == y && signbit(want) == signbit(y)) ? 0 : INFINITY;
  int e;
  frexp(want, &e);
  mpfr_sub_d(scratch, reference, y, MPFR_RNDN);
  mpfr_mul_2si(scratch, scratch, 53 - (e < -1021 ? -1021 : e), MPFR_RNDN);
  return fabs(mpfr_get_d(scratch, MPFR_RNDN));
}

bool accuracy_f64(FILE *const out[2], const char *folder, bool gcc, long operands) {
  bool good = true;
  double *x = malloc((size_t)operands * 8), *y = malloc((size_t)operands * 8), *r = malloc((size_t)operands * 8);
  mpfr_t a, b, c;
  mpfr_inits2(BITS_OF_REFERENCE, a, b, c, (mpfr_ptr)0);
  for (int k = 0; k < 2; k++) if (out[k]) fprintf(out[k], "\n| f64 function | random operands | largest error, ulp | at |\n| --- | --- | --- | --- |\n");
  for (unsigned k = 0; k < sizeof functions / sizeof *functions; k++) {
    const struct Function64 *f = &functions[k];
    Route route;
    if (!route_compile(&route, f->op, TYPE_F64, folder, gcc)) { good = false; break; }
    uint64_t s = k;
    for (long i = 0; i < operands; i++) choose(f, i, &s, &x[i], &y[i]);
    route.run(&route, x, y, r, operands);
    double worst = 0;
    long at = 0;
    for (long i = 0; i < operands; i++) {
      mpfr_set_d(a, x[i], MPFR_RNDN);
      mpfr_set_d(b, y[i], MPFR_RNDN);
      if (f->precise) f->precise(c, a, MPFR_RNDN);
      else mpfr_pow(c, a, b, MPFR_RNDN);
      double e = error_of(r[i], c, b);
      if (!(e <= worst)) { worst = e; at = i; }
    }
    good = good && worst < 1;
    for (int o = 0; o < 2; o++) {
      if (!out[o]) continue;
      fprintf(out[o], "| %s | %ld | %.3f | %a", op_name(f->op), operands, worst, x[at]);
      if (!f->precise) fprintf(out[o], ", %a", y[at]);
      fprintf(out[o], " |\n");
      fflush(out[o]);
    }
  }
  mpfr_clears(a, b, c, (mpfr_ptr)0);
  free(x);
  free(y);
  free(r);
  return good;
}
