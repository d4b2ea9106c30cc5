/* arith.h: the arithmetic of PTX on single values (PTX ISA, "Integer Arithmetic", "Floating Point", "Logic and Shift", "Data Movement: cvt"). Private to
 * backends/ptx/. Compiled without contraction: a multiply-add is fused exactly where fma stands. */
#ifndef OPTC_BACKENDS_PTX_ARITH_H
#define OPTC_BACKENDS_PTX_ARITH_H
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* What an operation answers when it makes a NaN; narrow conversions answer NARROW. */
#define PTX_NAN_F32 0x7fffffffu
#define PTX_NAN_F64 UINT64_C(0x7fffffffffffffff)
#define PTX_NAN_16 0x7fffu

static inline uint32_t bits_of_f32(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static inline uint64_t bits_of_f64(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
static inline float f32_of_bits(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
static inline double f64_of_bits(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }

/* --- integers --------------------------------------------------------------------------------------------------------------------------- */
static inline uint64_t high_u64(uint64_t a, uint64_t b) { return (uint64_t)((unsigned __int128)a*b >> 64); }
static inline uint64_t high_s64(int64_t a, int64_t b) { return (uint64_t)((__int128)a*b >> 64); }

/* Division by zero gives an unspecified value: the caller marks it undefined. */
static inline int64_t quotient_s64(int64_t a, int64_t b) { return !b ? -1 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a/b; }
static inline int64_t remainder_s64(int64_t a, int64_t b) { return !b ? a : b == -1 ? 0 : a%b; }

/* Amounts beyond the width clamp. */
static inline uint64_t shift_left(uint64_t a, uint32_t n, uint32_t width) { return n >= width ? 0 : a << n; }
static inline uint64_t shift_right(uint64_t a, uint32_t n, uint32_t width) { return n >= width ? 0 : a >> n; }
static inline int64_t shift_signed(int64_t a, uint32_t n, uint32_t width) { return a >> (n >= width ? width - 1 : n); }
static inline uint32_t funnel(uint32_t low, uint32_t high, uint32_t n, int left) {
  uint64_t both = (uint64_t)high << 32 | low;
  return left ? (uint32_t)(both << n >> 32) : (uint32_t)(both >> n);
}

static inline uint64_t extract(uint64_t a, uint32_t at, uint32_t n, uint32_t width, int is_signed) {
  at &= 0xff;
  n &= 0xff;
  uint32_t top = at + n - 1 < width - 1 ? at + n - 1 : width - 1;
  uint64_t sign = is_signed && n ? a >> top & 1 : 0, r = 0;
  for (uint32_t k = 0; k < width; k++) r |= (k < n && at + k < width ? a >> (at + k) & 1 : sign) << k;
  return r;
}
static inline uint64_t insert(uint64_t a, uint64_t b, uint32_t at, uint32_t n, uint32_t width) {
  at &= 0xff;
  n &= 0xff;
  for (uint32_t k = 0; k < n && at + k < width; k++) b = (b & ~(UINT64_C(1) << (at + k))) | (a >> k & 1) << (at + k);
  return b;
}
static inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selector) {
  uint64_t both = (uint64_t)b << 32 | a;
  uint32_t r = 0;
  for (int k = 0; k < 4; k++) {
    uint32_t s = selector >> 4*k & 15, byte = (uint32_t)(both >> 8*(s & 7)) & 0xff;
    r |= (s & 8 ? byte & 0x80 ? 0xffu : 0 : byte) << 8*k;
  }
  return r;
}
static inline uint64_t reverse(uint64_t a, uint32_t width) {
  uint64_t r = 0;
  for (uint32_t k = 0; k < width; k++) r |= (a >> k & 1) << (width - 1 - k);
  return r;
}
static inline uint32_t lookup3(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t r = 0;
  for (int k = 0; k < 32; k++) r |= (table >> ((a >> k & 1) << 2 | (b >> k & 1) << 1 | (c >> k & 1)) & 1) << k;
  return r;
}

/* --- floats ----------------------------------------------------------------------------------------------------------------------------- */
#define FLOAT_FUNCTIONS(T, type, fused, root) \
  static inline type add_##T(type a, type b, type c) { return a + b; } \
  static inline type sub_##T(type a, type b, type c) { return a - b; } \
  static inline type mul_##T(type a, type b, type c) { return a*b; } \
  static inline type fma_##T(type a, type b, type c) { return fused(a, b, c); } \
  static inline type div_##T(type a, type b, type c) { return a/b; } \
  static inline type sqrt_##T(type a, type b, type c) { return root(a); } \
  static inline type rcp_##T(type a, type b, type c) { return 1/a; }
FLOAT_FUNCTIONS(f32, float, fmaf, sqrtf)
FLOAT_FUNCTIONS(f64, double, fma, sqrt)

/* The other roundings (arith.c): `op` is + - * / f (multiply-add) or s (square root). */
float ptx_directed_f32(int mode, char op, float a, float b, float c);
double ptx_directed_f64(int mode, char op, double a, double b, double c);
float ptx_narrow(int mode, double);      /* f64 to f32 */
float ptx_f32_of_int(int mode, int64_t, uint64_t magnitude, int is_signed);
double ptx_f64_of_int(int mode, int64_t, uint64_t magnitude, int is_signed);

static inline float flush(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }
static inline float saturate(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }                /* NaN gives +0 */

/* One NaN: the other operand. -0 is less than +0. */
static inline float min_f32(float a, float b) { return a != a ? b : b != b ? a : a == b ? f32_of_bits(bits_of_f32(a) | bits_of_f32(b)) : a < b ? a : b; }
static inline float max_f32(float a, float b) { return a != a ? b : b != b ? a : a == b ? f32_of_bits(bits_of_f32(a) & bits_of_f32(b)) : a > b ? a : b; }
static inline double min_f64(double a, double b) { return a != a ? b : b != b ? a : a == b ? f64_of_bits(bits_of_f64(a) | bits_of_f64(b)) : a < b ? a : b; }
static inline double max_f64(double a, double b) { return a != a ? b : b != b ? a : a == b ? f64_of_bits(bits_of_f64(a) & bits_of_f64(b)) : a > b ? a : b; }

/* --- float to integer: out of range clamps, NaN gives 0 ------------------------------------------------------------------------------------ */
static inline double round_even(double x) { return rint(x); }          /* launches run in the mode to nearest */
static inline int64_t to_signed(double x, unsigned bits) {
  double limit = bits == 64 ? 0x1p63 : (double)(INT64_C(1) << (bits - 1));
  if (x != x) return 0;
  if (x >= limit) return (int64_t)((UINT64_C(1) << (bits - 1)) - 1);
  return x <= -limit ? (int64_t)(~UINT64_C(0) << (bits - 1)) : (int64_t)x;
}
static inline uint64_t to_unsigned(double x, unsigned bits) {
  double limit = bits == 64 ? 0x1p64 : (double)(UINT64_C(1) << bits);
  if (!(x > 0)) return 0;
  return x >= limit ? bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1 : (uint64_t)x;
}

/* --- 16-bit floats: values as doubles, rounded once ---------------------------------------------------------------------------------------- */
static inline double f64_of_bf16(uint16_t h) { return f32_of_bits((uint32_t)h << 16); }
double ptx_f64_of_f16(uint16_t);
uint16_t ptx_bf16(double);               /* ties to even, subnormals kept, NaN 0x7fff */
uint16_t ptx_f16(double);
/* a + b rounded to odd: rounding it once more to far fewer bits gives the sum rounded once. */
double ptx_sum_odd(double a, double b);
/* Ties away from zero, 10 bits of fraction kept. */
static inline uint32_t tf32(uint32_t u) { return ((u & 0x7f800000) == 0x7f800000 ? u & 0x7fffff ? PTX_NAN_F32 : u : u + 0x1000) & ~0x1fffu; }
#endif
