/* precise.h: references that MPFR does not have under one name. */
#ifndef OPTC_TESTS_PRECISE_H
#define OPTC_TESTS_PRECISE_H
#include <mpfr.h>

typedef int (*Precise)(mpfr_t, const mpfr_t, mpfr_rnd_t);

static inline int precise_rsqrt(mpfr_t y, const mpfr_t x, mpfr_rnd_t r) {
  if (!mpfr_zero_p(x) || !mpfr_signbit(x)) return mpfr_rec_sqrt(y, x, r);
  mpfr_set_inf(y, -1);                                     /* 1/sqrt(-0) = 1/-0 */
  return 0;
}

static inline int precise_sigmoid(mpfr_t y, const mpfr_t x, mpfr_rnd_t r) {
  mpfr_neg(y, x, r);
  mpfr_exp(y, y, r);
  mpfr_add_ui(y, y, 1, r);
  return mpfr_ui_div(y, 1, y, r);
}
#endif
