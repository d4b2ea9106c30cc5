/* type.c: element types, their conversions, and the one evaluation of the element operations, generated from element.def. */
#include "ir/codes.h"
#include <math.h>
#include <string.h>

/* --- types -------------------------------------------------------------------------------------------------------- */

static const struct { const char *text; uint8_t bits, kind; } type_table[TYPE_COUNT] = {
#define TYPE(id, text, bits, kind) {text, bits, KIND_##kind},
#include "ir/types.def"
#undef TYPE
};

const char *type_name(Type t) { return (unsigned)t < TYPE_COUNT ? type_table[t].text : "?"; }
unsigned type_bits(Type t) { return type_table[t].bits; }
unsigned type_bytes(Type t) { return type_table[t].bits / 8; }
TypeKind type_kind(Type t) { return (TypeKind)type_table[t].kind; }
bool type_is_storage(Type t) { return t == TYPE_I8 || t == TYPE_U8 || t == TYPE_BF16 || t == TYPE_F16; }

bool type_parse(const char *text, Type *out) {
  for (unsigned t = 0; t < TYPE_COUNT; t++)
    if (!strcmp(text, type_table[t].text)) { *out = (Type)t; return true; }
  return false;
}

/* --- bits ----------------------------------------------------------------------------------------------------------- */

static float f32_of(Bits b) { uint32_t u = (uint32_t)b; float f; memcpy(&f, &u, 4); return f; }
static double f64_of(Bits b) { double f; memcpy(&f, &b, 8); return f; }
static Bits of_f32(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static Bits of_f64(double f) { Bits u; memcpy(&u, &f, 8); return u; }

uint16_t bf16_from_f32(float f) {
  uint32_t u = (uint32_t)of_f32(f);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float f32_from_bf16(uint16_t h) { return f32_of((Bits)h << 16); }

uint16_t f16_from_f32(float f) {
  uint32_t u = (uint32_t)of_f32(f), sign = u >> 16 & 0x8000;
  u &= 0x7fffffff;
  if (u > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x3ff));
  if (u >= 0x47800000) return (uint16_t)(sign | 0x7c00);                       /* 65536 and more */
  if (u >= 0x38800000)                                                         /* normal: a carry out of 65519.99 gives inf */
    return (uint16_t)(sign | (((u - 0x38000000) + 0xfff + (u >> 13 & 1)) >> 13));
  uint32_t exponent = u >> 23;
  if (exponent < 102) return (uint16_t)sign;                                   /* below half of the smallest subnormal */
  uint32_t mantissa = (u & 0x7fffff) | 0x800000, shift = 126 - exponent;       /* 14..24 bits go */
  uint32_t half = (1u << (shift - 1)) - 1 + (mantissa >> shift & 1);
  return (uint16_t)(sign | ((mantissa + half) >> shift));
}

float f32_from_f16(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
  if (exponent == 31) return f32_of(sign | 0x7f800000 | (mantissa ? 0x400000 | mantissa << 13 : 0));
  if (exponent) return f32_of(sign | (exponent + 112) << 23 | mantissa << 13);
  float f = (float)mantissa * 0x1p-24f;                                        /* exact */
  return f32_of(of_f32(f) | sign);
}

/* Integer value of a bool or integer type. */
static int64_t int_of(Bits b, Type t) {
  switch (t) {
    case TYPE_BOOL: return (b & 1) != 0;
    case TYPE_I8: return (int8_t)b;
    case TYPE_U8: return (uint8_t)b;
    case TYPE_I32: return (int32_t)b;
    default: return (int64_t)b;
  }
}

Bits bits_normal(Bits b, Type t) {
  unsigned bits = t == TYPE_BOOL ? 1 : type_table[t].bits;
  return bits == 64 ? b : b & ((UINT64_C(1) << bits) - 1);
}

/* The f32 value of the storage floats and f32, exactly. */
static float float_of(Bits b, Type t) {
  return t == TYPE_BF16 ? f32_from_bf16((uint16_t)b) : t == TYPE_F16 ? f32_from_f16((uint16_t)b) : f32_of(b);
}

double bits_to_f64(Bits b, Type t) {
  return t == TYPE_F64 ? f64_of(b) : type_kind(t) == KIND_FLOAT ? (double)float_of(b, t) : (double)int_of(b, t);
}

/* Cuts towards zero, saturates at the range of the target type, NaN gives 0. */
static Bits int_from_f64(double x, Type to) {
  static const struct { double low, high; int64_t least, most; } range[TYPE_COUNT] = {
    [TYPE_I8] = {-128.0, 127.0, -128, 127}, [TYPE_U8] = {0.0, 255.0, 0, 255},
    [TYPE_I32] = {-0x1p31, 0x1p31 - 1, INT32_MIN, INT32_MAX}, [TYPE_I64] = {-0x1p63, 0x1p63, INT64_MIN, INT64_MAX},
  };
  if (x != x) return 0;
  int64_t v = x <= range[to].low ? range[to].least : x >= range[to].high ? range[to].most : (int64_t)x;
  return bits_normal((Bits)v, to);
}

static Bits narrow_f32(float f, Type to) {
  return to == TYPE_BF16 ? bf16_from_f32(f) : to == TYPE_F16 ? f16_from_f32(f) : of_f32(f);
}

/* CAST. The storage floats bf16 and f16 are reached through f32, from any type: arithmetic values are rounded to storage from f32. */
static Bits cast(Bits b, Type from, Type to) {
  bool floating = type_kind(from) == KIND_FLOAT;
  if (to == TYPE_BOOL) return floating ? bits_to_f64(b, from) != 0 : int_of(b, from) != 0;
  if (type_kind(to) == KIND_INT) return floating ? int_from_f64(bits_to_f64(b, from), to) : bits_normal((Bits)int_of(b, from), to);
  if (to == TYPE_F64) return of_f64(bits_to_f64(b, from));
  if (from == to) return bits_normal(b, to);
  return narrow_f32(from == TYPE_F64 ? (float)f64_of(b) : floating ? float_of(b, from) : (float)int_of(b, from), to);
}

Bits bits_from_f64(double x, Type t) { return cast(of_f64(x), TYPE_F64, t); }

Bits bits_canonical(Bits b, Type t) {
  b = bits_normal(b, t);
  if (type_kind(t) != KIND_FLOAT) return b;
  double x = bits_to_f64(b, t);
  if (x == x) return b;
  return t == TYPE_F64 ? UINT64_C(0x7ff8000000000000) : t == TYPE_F32 ? 0x7fc00000 : t == TYPE_BF16 ? 0x7fc0 : 0x7e00;
}

bool bits_equal(Bits a, Bits b, Type t) { return bits_canonical(a, t) == bits_canonical(b, t); }

/* --- element operations ------------------------------------------------------------------------------------------------ */

enum { F = 1, S = 2, I = 4, B = 8 };                                           /* what T may be, as element.def writes it */
static const struct { const char *name; uint8_t arity, rule, types; } element_table[ELEMENT_COUNT] = {
#define ELEMENT(id, name, arity, rule, types, fexpr, iexpr) {name, arity, RULE_##rule, types},
#include "ir/element.def"
#undef ELEMENT
};

const char *element_name(Element e) { return (unsigned)e < ELEMENT_COUNT ? element_table[e].name : "?"; }
unsigned element_arity(Element e) { return element_table[e].arity; }
ElementRule element_rule(Element e) { return (ElementRule)element_table[e].rule; }

static bool allowed(unsigned types, Type t) {
  static const uint8_t mask[TYPE_COUNT] = {[TYPE_BOOL] = B, [TYPE_I32] = I, [TYPE_I64] = I, [TYPE_F32] = F | S, [TYPE_F64] = F};
  return (types & mask[t]) != 0;
}

bool element_types_ok(Element e, Type result, const Type *x) {
  if ((unsigned)e >= ELEMENT_COUNT || (unsigned)result >= TYPE_COUNT) return false;
  unsigned types = element_table[e].types, n = element_table[e].arity;
  switch (element_table[e].rule) {
    case RULE_SAME: case RULE_COMPARE:
      for (unsigned i = 1; i < n; i++) if (x[i] != x[0]) return false;
      return allowed(types, x[0]) && result == (element_table[e].rule == RULE_SAME ? x[0] : TYPE_BOOL);
    case RULE_SELECT: return x[0] == TYPE_BOOL && x[1] == result && x[2] == result && allowed(types, result);
    case RULE_CAST: return (unsigned)x[0] < TYPE_COUNT;
    case RULE_BITS: return x[0] != result && allowed(types, x[0]) && allowed(types, result) && type_bits(x[0]) == type_bits(result);
    case RULE_DECODE: return x[0] == TYPE_I32 && result == TYPE_F32;
    case RULE_ENCODE: return x[0] == TYPE_F32 && result == TYPE_I32;
    default: return false;
  }
}

static int64_t floor_div(int64_t a, int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return (int64_t)(0 - (uint64_t)a);                              /* the smallest integer wraps */
  int64_t q = a / b;
  return q - (a % b != 0 && (a < 0) != (b < 0));
}
static int64_t floor_mod(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;
  int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* One loop an operation and type. a, b, c of the table are locals of the operand type; PACK_<rule> turns the value into bits. */
typedef struct Lanes { size_t n; Bits *out; const Bits *x[3]; size_t step[3]; } Lanes;
#define NONE 0
#define FLOOR_DIV(p, q) floor_div(p, q)
#define FLOOR_MOD(p, q) floor_mod(p, q)
#define ASHR(p, q) ((p) >> (q))
#define PACK_COMPARE(value) (Bits)(value)
#define PACK_SELECT(value) 0
#define PACK_CAST(value) 0
#define PACK_BITS(value) 0
#define PACK_DECODE(value) 0
#define PACK_ENCODE(value) 0
#define LOOP(load, value) \
  for (size_t i = 0; i < l->n; i++) { load; l->out[i] = (value); } return;

#define PACK_SAME(value) of_f32(value)
#define FABS(x) fabsf(x)
#define SQRT(x) sqrtf(x)
#define FMA(x, y, z) fmaf(x, y, z)
#define FLOOR(x) floorf(x)
#define CEIL(x) ceilf(x)
#define TRUNC(x) truncf(x)
#define RINT(x) rintf(x)
static void run_f32(Element e, const Lanes *l) {
  switch (e) {
#define ELEMENT(id, name, arity, rule, types, fexpr, iexpr) case ELEMENT_##id: \
    LOOP(float a = f32_of(l->x[0][i * l->step[0]]); float b = arity > 1 ? f32_of(l->x[1][i * l->step[1]]) : 0; \
         float c = arity > 2 ? f32_of(l->x[2][i * l->step[2]]) : 0; (void)a; (void)b; (void)c, PACK_##rule(fexpr))
#include "ir/element.def"
#undef ELEMENT
    default: return;
  }
}
#undef PACK_SAME
#undef FABS
#undef SQRT
#undef FMA
#undef FLOOR
#undef CEIL
#undef TRUNC
#undef RINT

#define PACK_SAME(value) of_f64(value)
#define FABS(x) fabs(x)
#define SQRT(x) sqrt(x)
#define FMA(x, y, z) 0                                                         /* the table has no f64 fma */
#define FLOOR(x) floor(x)
#define CEIL(x) ceil(x)
#define TRUNC(x) trunc(x)
#define RINT(x) rint(x)
static void run_f64(Element e, const Lanes *l) {
  switch (e) {
#define ELEMENT(id, name, arity, rule, types, fexpr, iexpr) case ELEMENT_##id: \
    LOOP(double a = f64_of(l->x[0][i * l->step[0]]); double b = arity > 1 ? f64_of(l->x[1][i * l->step[1]]) : 0; \
         double c = arity > 2 ? f64_of(l->x[2][i * l->step[2]]) : 0; (void)a; (void)b; (void)c, PACK_##rule(fexpr))
#include "ir/element.def"
#undef ELEMENT
    default: return;
  }
}
#undef PACK_SAME

#define INT_LOAD(utype, stype, arity) \
    utype a = (utype)l->x[0][i * l->step[0]]; utype b = arity > 1 ? (utype)l->x[1][i * l->step[1]] : 0; \
    stype sa = (stype)a, sb = (stype)b; (void)a; (void)b; (void)sa; (void)sb; utype c = 0; (void)c

#define PACK_SAME(value) (Bits)(uint32_t)(value)
#define SHIFT_OK(count) ((uint32_t)(count) < 32)
static void run_i32(Element e, const Lanes *l) {
  switch (e) {
#define ELEMENT(id, name, arity, rule, types, fexpr, iexpr) case ELEMENT_##id: LOOP(INT_LOAD(uint32_t, int32_t, arity), PACK_##rule(iexpr))
#include "ir/element.def"
#undef ELEMENT
    default: return;
  }
}
#undef PACK_SAME
#undef SHIFT_OK

#define PACK_SAME(value) (Bits)(value)
#define SHIFT_OK(count) ((uint64_t)(count) < 64)
static void run_i64(Element e, const Lanes *l) {                               /* and bool, whose values are 0 and 1 */
  switch (e) {
#define ELEMENT(id, name, arity, rule, types, fexpr, iexpr) case ELEMENT_##id: LOOP(INT_LOAD(uint64_t, int64_t, arity), PACK_##rule(iexpr))
#include "ir/element.def"
#undef ELEMENT
    default: return;
  }
}
#undef PACK_SAME
#undef SHIFT_OK

void element_run(Element e, Type result, Type operand, size_t n, Bits *out, const Bits *const *x, const size_t *step) {
  unsigned arity = element_table[e].arity;
  Lanes l = {n, out, {x[0], arity > 1 ? x[1] : x[0], arity > 2 ? x[2] : x[0]}, {step[0], arity > 1 ? step[1] : 0, arity > 2 ? step[2] : 0}};
  switch (element_table[e].rule) {
    case RULE_SELECT:
      for (size_t i = 0; i < n; i++) out[i] = x[0][i * step[0]] & 1 ? x[1][i * step[1]] : x[2][i * step[2]];
      return;
    case RULE_CAST:
      for (size_t i = 0; i < n; i++) out[i] = cast(x[0][i * step[0]], operand, result);
      return;
    case RULE_BITS:
      for (size_t i = 0; i < n; i++) out[i] = bits_normal(x[0][i * step[0]], result);
      return;
    case RULE_DECODE:
      for (size_t i = 0; i < n; i++) out[i] = of_f32(code_entry(code_map_of(e), (unsigned)x[0][i * step[0]]));
      return;
    case RULE_ENCODE:
      for (size_t i = 0; i < n; i++) out[i] = code_nearest(code_map_of(e), f32_of(x[0][i * step[0]]));
      return;
    default: break;
  }
  switch (operand) {
    case TYPE_F32: run_f32(e, &l); return;
    case TYPE_F64: run_f64(e, &l); return;
    case TYPE_I32: run_i32(e, &l); return;
    default: run_i64(e, &l); return;
  }
}

Bits element_eval(Element e, Type result, Type operand, const Bits *arguments) {
  Bits out = 0;
  element_run(e, result, operand, 1, &out, (const Bits *const[]){arguments, arguments + 1, arguments + 2}, (const size_t[]){0, 0, 0});
  return out;
}
