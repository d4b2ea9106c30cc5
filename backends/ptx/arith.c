/* arith.c: roundings other than to nearest, and 16-bit floats. */
#include "backends/ptx/arith.h"

/* The compiler may move arithmetic across changes of the rounding mode unless the operands are volatile. */
#define IN_MODE(mode, expression) do { int old_ = fegetround(); fesetround(mode); r = (expression); fesetround(old_); } while (0)

#define DIRECTED(T, type, fused, root) \
  type ptx_directed_##T(int mode, char op, type x, type y, type z) { \
    volatile type a = x, b = y, c = z, r = 0; \
    switch (op) { \
    case '+': IN_MODE(mode, a + b); break; \
    case '-': IN_MODE(mode, a - b); break; \
    case '*': IN_MODE(mode, a*b); break; \
    case '/': IN_MODE(mode, a/b); break; \
    case 'f': IN_MODE(mode, fused(a, b, c)); break; \
    case 's': IN_MODE(mode, root(a)); break; \
    } \
    return r; \
  }
DIRECTED(f32, float, fmaf, sqrtf)
DIRECTED(f64, double, fma, sqrt)

float ptx_narrow(int mode, double x) {
  volatile double a = x;
  volatile float r;
  IN_MODE(mode, (float)a);
  return r;
}

#define OF_INT(T, type) \
  type ptx_##T##_of_int(int mode, int64_t x, uint64_t magnitude, int is_signed) { \
    volatile int64_t s = x; \
    volatile uint64_t u = magnitude; \
    volatile type r; \
    if (is_signed) IN_MODE(mode, (type)s); \
    else IN_MODE(mode, (type)u); \
    return r; \
  }
OF_INT(f32, float)
OF_INT(f64, double)

/* --- 16-bit floats ------------------------------------------------------------------------------------------------------------------------- */

double ptx_f64_of_f16(uint16_t h) {
  int exponent = h >> 10 & 31;
  double fraction = h & 0x3ff, x;
  if (exponent == 31) x = fraction != 0 ? NAN : INFINITY;
  else x = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
  return h & 0x8000 ? -x : x;
}

/* To a format of `bits` significant bits whose least exponent is `least` (of 1.xxx) and greatest `most`. */
static uint16_t narrow(double x, int bits, int least, int most) {
  uint16_t sign = signbit(x) ? 0x8000 : 0, infinite = (uint16_t)((most - least + 2) << (bits - 1));
  if (x != x) return PTX_NAN_16;
  double a = fabs(x);
  if (isinf(a)) return sign | infinite;
  int exponent = a > 0 ? ilogb(a) : least;
  if (exponent < least) exponent = least;
  double scaled = rint(ldexp(a, bits - 1 - exponent));             /* at most 2^bits: exact steps of the format */
  uint64_t code = (uint64_t)scaled + ((uint64_t)(exponent - least) << (bits - 1));       /* a carry runs into the exponent */
  return sign | (code >= infinite ? infinite : (uint16_t)code);
}
uint16_t ptx_f16(double x) { return narrow(x, 11, -14, 15); }
uint16_t ptx_bf16(double x) { return narrow(x, 8, -126, 127); }

double ptx_sum_odd(double a, double b) {
  double s = a + b;
  if (!isfinite(s) || s == 0) return s;
  double t = s - a, error = (a - (s - t)) + (b - t);                    /* Knuth's two-sum */
  uint64_t u = bits_of_f64(s);
  if (error != 0 && !(u & 1)) u += (error > 0) == (s > 0) ? 1 : UINT64_MAX;
  return f64_of_bits(u);
}
