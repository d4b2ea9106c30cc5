/* ir_type_test.c: element operations mean what element.def and the language reference say; types convert without losing bits. */
#include <math.h>
#include <string.h>
#include "ir/codes.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

static Bits f(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static Bits d(double x) { Bits u; memcpy(&u, &x, 8); return u; }
static Bits op(Element e, Type result, Type operand, Bits a, Bits b, Bits c) { return element_eval(e, result, operand, (const Bits[]){a, b, c}); }
static Bits cast(Type to, Type from, Bits x) { return element_eval(ELEMENT_CAST, to, from, &x); }
static Bits i32(int32_t x) { return (uint32_t)x; }

static void types_have_names_that_read_back(void) {
  for (unsigned t = 0; t < TYPE_COUNT; t++) {
    Type back;
    CU_ASSERT(type_parse(type_name((Type)t), &back) && back == (Type)t);
    CU_ASSERT(type_bytes((Type)t) * 8 == type_bits((Type)t));
  }
  Type none;
  CU_ASSERT(!type_parse("f128", &none) && !type_parse("", &none));
  CU_ASSERT(type_is_storage(TYPE_BF16) && type_is_storage(TYPE_U8) && !type_is_storage(TYPE_I32) && !type_is_storage(TYPE_BOOL));
}

static void integer_division_goes_down_and_never_traps(void) {
  static const struct { int64_t a, b, div, mod; } row[] = {
    {7, 2, 3, 1}, {-7, 2, -4, 1}, {7, -2, -4, -1}, {-7, -2, 3, -1}, {6, -3, -2, 0}, {5, 0, 0, 0}, {0, 5, 0, 0},
    {INT64_MIN, -1, INT64_MIN, 0}, {INT64_MIN, 1, INT64_MIN, 0}, {INT64_MAX, -1, -INT64_MAX, 0}, {-1, INT64_MAX, -1, INT64_MAX - 1},
  };
  for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
    CU_ASSERT_EQUAL((int64_t)op(ELEMENT_IDIV, TYPE_I64, TYPE_I64, (Bits)row[i].a, (Bits)row[i].b, 0), row[i].div);
    CU_ASSERT_EQUAL((int64_t)op(ELEMENT_IMOD, TYPE_I64, TYPE_I64, (Bits)row[i].a, (Bits)row[i].b, 0), row[i].mod);
    if (row[i].a != (int32_t)row[i].a || row[i].b != (int32_t)row[i].b) continue;
    CU_ASSERT_EQUAL(op(ELEMENT_IDIV, TYPE_I32, TYPE_I32, (Bits)row[i].a, (Bits)row[i].b, 0), i32((int32_t)row[i].div));
    CU_ASSERT_EQUAL(op(ELEMENT_IMOD, TYPE_I32, TYPE_I32, (Bits)row[i].a, (Bits)row[i].b, 0), i32((int32_t)row[i].mod));
  }
  CU_ASSERT_EQUAL(op(ELEMENT_IDIV, TYPE_I32, TYPE_I32, i32(INT32_MIN), i32(-1), 0), i32(INT32_MIN));
}

static void integers_wrap_and_results_are_normal(void) {
  CU_ASSERT_EQUAL(op(ELEMENT_ADD, TYPE_I32, TYPE_I32, i32(INT32_MAX), 1, 0), 0x80000000);
  CU_ASSERT_EQUAL(op(ELEMENT_SUB, TYPE_I32, TYPE_I32, 0, 1, 0), 0xffffffff);
  CU_ASSERT_EQUAL(op(ELEMENT_MUL, TYPE_I32, TYPE_I32, (Bits)-3, 5, 0), i32(-15));           /* upper bits of operands do not count */
  CU_ASSERT_EQUAL(op(ELEMENT_NEG, TYPE_I64, TYPE_I64, (Bits)INT64_MIN, 0, 0), (Bits)INT64_MIN);
  CU_ASSERT_EQUAL(op(ELEMENT_LT, TYPE_BOOL, TYPE_I32, (Bits)-1, 0, 0), 1);
  CU_ASSERT_EQUAL(op(ELEMENT_LT, TYPE_BOOL, TYPE_I32, i32(-1), 0, 0), 1);
  CU_ASSERT_EQUAL(op(ELEMENT_NOT, TYPE_BOOL, TYPE_BOOL, 1, 0, 0), 0);
  CU_ASSERT_EQUAL(op(ELEMENT_XOR, TYPE_BOOL, TYPE_BOOL, 1, 0, 0), 1);
}

static void shifts_outside_the_width_give_zero(void) {
  CU_ASSERT_EQUAL(op(ELEMENT_SHL, TYPE_I64, TYPE_I64, 1, 63, 0), (Bits)1 << 63);
  CU_ASSERT_EQUAL(op(ELEMENT_SHL, TYPE_I64, TYPE_I64, 1, 64, 0), 0);
  CU_ASSERT_EQUAL(op(ELEMENT_SHL, TYPE_I32, TYPE_I32, 1, 32, 0), 0);
  CU_ASSERT_EQUAL(op(ELEMENT_SHL, TYPE_I64, TYPE_I64, 1, (Bits)-1, 0), 0);
  CU_ASSERT_EQUAL(op(ELEMENT_SHR, TYPE_I64, TYPE_I64, (Bits)-8, 1, 0), (Bits)-4);
  CU_ASSERT_EQUAL(op(ELEMENT_SHR, TYPE_I32, TYPE_I32, i32(-8), 1, 0), i32(-4));
  CU_ASSERT_EQUAL(op(ELEMENT_SHR, TYPE_I64, TYPE_I64, (Bits)-8, 64, 0), 0);
  CU_ASSERT_EQUAL(op(ELEMENT_USHR, TYPE_I32, TYPE_I32, i32(-1), 28, 0), 15);
}

static void floats_follow_ieee(void) {
  CU_ASSERT_EQUAL(op(ELEMENT_FMA, TYPE_F32, TYPE_F32, f(1 + 0x1p-23f), f(1 - 0x1p-23f), f(-1)), f(-0x1p-46f));   /* one rounding */
  volatile float a = 1 + 0x1p-12f;
  CU_ASSERT_EQUAL(op(ELEMENT_MUL, TYPE_F32, TYPE_F32, f(a), f(a), 0), f(a * a));
  CU_ASSERT_EQUAL(op(ELEMENT_RINT, TYPE_F32, TYPE_F32, f(2.5f), 0, 0), f(2));
  CU_ASSERT_EQUAL(op(ELEMENT_RINT, TYPE_F64, TYPE_F64, d(-3.5), 0, 0), d(-4));
  CU_ASSERT_EQUAL(op(ELEMENT_RINT, TYPE_F32, TYPE_F32, f(-0.25f), 0, 0), f(-0.0f));
  CU_ASSERT_EQUAL(op(ELEMENT_NEG, TYPE_F32, TYPE_F32, f(0), 0, 0), f(-0.0f));
  CU_ASSERT_EQUAL(op(ELEMENT_ABS, TYPE_F32, TYPE_F32, 0xffc00001, 0, 0), 0x7fc00001);
  CU_ASSERT_EQUAL(op(ELEMENT_SQRT, TYPE_F32, TYPE_F32, f(2), 0, 0), 0x3fb504f3);
  CU_ASSERT_EQUAL(op(ELEMENT_DIV, TYPE_F32, TYPE_F32, f(1), f(-0.0f), 0), f(-INFINITY));
  CU_ASSERT_EQUAL(op(ELEMENT_EQ, TYPE_BOOL, TYPE_F32, f(NAN), f(NAN), 0), 0);
  CU_ASSERT_EQUAL(op(ELEMENT_NE, TYPE_BOOL, TYPE_F32, f(NAN), f(1), 0), 1);
  CU_ASSERT_EQUAL(op(ELEMENT_LE, TYPE_BOOL, TYPE_F64, d(NAN), d(1), 0), 0);
  CU_ASSERT_EQUAL(op(ELEMENT_EQ, TYPE_BOOL, TYPE_F32, f(0), f(-0.0f), 0), 1);
  CU_ASSERT_EQUAL(op(ELEMENT_MUL, TYPE_F32, TYPE_F32, f(0x1p-126f), f(0.5f), 0), 0x00400000);                       /* a subnormal stays */
  CU_ASSERT_EQUAL(op(ELEMENT_SELECT, TYPE_F32, TYPE_F32, 0, f(NAN), f(3)), f(3));
  CU_ASSERT_EQUAL(op(ELEMENT_BITCAST, TYPE_I32, TYPE_F32, f(-1), 0, 0), 0xbf800000);
}

static void casts_to_integers_cut_and_saturate(void) {
  static const struct { double x; Type to; int64_t out; } row[] = {
    {1.9, TYPE_I64, 1}, {-1.9, TYPE_I64, -1}, {0x1p63, TYPE_I64, INT64_MAX}, {-0x1p63, TYPE_I64, INT64_MIN}, {-1e300, TYPE_I64, INT64_MIN}, {NAN, TYPE_I64, 0},
    {INFINITY, TYPE_I32, INT32_MAX}, {-2147483649.0, TYPE_I32, INT32_MIN}, {2147483646.9, TYPE_I32, 2147483646}, {127.9, TYPE_I8, 127}, {-128.9, TYPE_I8, -128},
    {1e9, TYPE_I8, 127}, {-1, TYPE_U8, 0}, {254.9, TYPE_U8, 254}, {256, TYPE_U8, 255}, {-0.9, TYPE_U8, 0}, {-0.9, TYPE_I8, 0},
  };
  for (unsigned i = 0; i < sizeof row / sizeof *row; i++) CU_ASSERT_EQUAL(cast(row[i].to, TYPE_F64, d(row[i].x)), bits_normal((Bits)row[i].out, row[i].to));
  CU_ASSERT_EQUAL(cast(TYPE_I64, TYPE_F32, f(-0x1p40f)), (Bits)-(INT64_C(1) << 40));
  CU_ASSERT_EQUAL(cast(TYPE_I8, TYPE_I64, 0x1ff), 0xff);                                  /* integers wrap */
  CU_ASSERT_EQUAL(cast(TYPE_I64, TYPE_I8, 0xff), (Bits)-1);
  CU_ASSERT_EQUAL(cast(TYPE_I64, TYPE_U8, 0xff), 255);
  CU_ASSERT_EQUAL(cast(TYPE_I64, TYPE_I32, 0x80000000), (Bits)INT32_MIN);
  CU_ASSERT_EQUAL(cast(TYPE_I32, TYPE_BOOL, 1), 1);
  CU_ASSERT_EQUAL(cast(TYPE_F32, TYPE_BOOL, 1), f(1));
  CU_ASSERT_EQUAL(cast(TYPE_BOOL, TYPE_I64, 256), 1);
}

static void casts_to_floats_round_once(void) {
  CU_ASSERT_EQUAL(cast(TYPE_F32, TYPE_I64, (Bits)((INT64_C(1) << 54) + (INT64_C(1) << 30) + 1)), f(0x1p54f + 0x1p31f));    /* not by way of f64 */
  CU_ASSERT_EQUAL(cast(TYPE_F64, TYPE_I64, (Bits)INT64_MAX), d(0x1p63));
  CU_ASSERT_EQUAL(cast(TYPE_F32, TYPE_F64, d(1 + 0x1p-24)), f(1));
  CU_ASSERT_EQUAL(cast(TYPE_F32, TYPE_F64, d(1e300)), f(INFINITY));
  CU_ASSERT_EQUAL(cast(TYPE_F64, TYPE_F32, f(0.1f)), d((double)0.1f));
  CU_ASSERT_EQUAL(cast(TYPE_BF16, TYPE_F64, d(1 + 0x1p-8 + 0x1p-40)), 0x3f80);             /* through f32 */
  CU_ASSERT_EQUAL(cast(TYPE_F16, TYPE_I64, 65520), 0x7c00);
  CU_ASSERT_EQUAL(cast(TYPE_BF16, TYPE_F16, 0x3c00), 0x3f80);
}

static void half_types_keep_every_value(void) {
  for (uint32_t h = 0; h < 65536; h++) {
    float x = f32_from_f16((uint16_t)h), y = f32_from_bf16((uint16_t)h);
    if (x == x) CU_ASSERT_FATAL(f16_from_f32(x) == h) else CU_ASSERT_FATAL((f16_from_f32(x) & 0x7c00) == 0x7c00 && (f16_from_f32(x) & 0x3ff));
    if (y == y) CU_ASSERT_FATAL(bf16_from_f32(y) == h) else CU_ASSERT_FATAL((bf16_from_f32(y) & 0x7f80) == 0x7f80 && (bf16_from_f32(y) & 0x7f));
  }
  CU_ASSERT_EQUAL(f32_from_f16(0x0001), 0x1p-24f);
  CU_ASSERT_EQUAL(f32_from_f16(0x83ff), -0x3ffp-24f);
  CU_ASSERT_EQUAL(f32_from_f16(0x7bff), 65504);
}

/* The nearest of the two neighbours, ties to the even one, found by looking. */
static uint16_t nearest(float x, bool half) {
  uint16_t sign = x < 0 || (x == 0 && signbit(x)) ? 0x8000 : 0, top = half ? 0x7c00 : 0x7f80;
  double a = fabs((double)x);
  uint16_t low = 0, high = top;
  while (high - low > 1) {
    uint16_t mid = (uint16_t)((low + high) / 2);
    if ((half ? f32_from_f16(mid) : f32_from_bf16(mid)) <= a) low = mid; else high = mid;
  }
  double below = half ? f32_from_f16(low) : f32_from_bf16(low), above = high == top ? (half ? 65536 : 0x1p128) : half ? f32_from_f16(high) : f32_from_bf16(high);
  bool up = a - below > above - a || (a - below == above - a && low & 1);
  return sign | (up ? high : low);
}

static void half_types_round_to_nearest_even(void) {
  uint64_t state = 1;
  for (int i = 0; i < 200000; i++) {
    uint32_t u = (uint32_t)next_random(&state);
    if (i % 4 == 0) u &= 0xffff8000;                                                     /* ties */
    if (i % 4 == 1) u = (u & 0x8fffe000) | 0x33000000 | (u & 0x03000000);                  /* subnormals of f16 and their ties */
    float x;
    memcpy(&x, &u, 4);
    if (!isfinite(x)) continue;
    CU_ASSERT_FATAL(f16_from_f32(x) == nearest(x, true));
    CU_ASSERT_FATAL(bf16_from_f32(x) == nearest(x, false));
  }
  CU_ASSERT_EQUAL(f16_from_f32(INFINITY), 0x7c00);
  CU_ASSERT_EQUAL(bf16_from_f32(-INFINITY), 0xff80);
  CU_ASSERT_EQUAL(f16_from_f32(65519.99f), 0x7bff);
}

static void nan_is_one_value(void) {
  CU_ASSERT(bits_equal(0x7fc00000, 0xff812345, TYPE_F32));
  CU_ASSERT(bits_equal(d(NAN), (Bits)0xfff << 52 | 1, TYPE_F64));
  CU_ASSERT(!bits_equal(f(0), f(-0.0f), TYPE_F32));
  CU_ASSERT(!bits_equal(0x7f800000, 0x7fc00000, TYPE_F32));
  CU_ASSERT(bits_equal(0xffff, 0x7fc0, TYPE_BF16) && bits_equal(0xfe01, 0x7e00, TYPE_F16));
  CU_ASSERT(bits_equal((Bits)-1, 0xffffffff, TYPE_I32));
}

static void type_rules_hold(void) {
  const Type ff[] = {TYPE_F32, TYPE_F32, TYPE_F32}, dd[] = {TYPE_F64, TYPE_F64, TYPE_F64}, mixed[] = {TYPE_F32, TYPE_F64, TYPE_F32},
    bff[] = {TYPE_BOOL, TYPE_F32, TYPE_F32}, hh[] = {TYPE_BF16, TYPE_BF16, TYPE_BF16}, bb[] = {TYPE_BOOL, TYPE_BOOL};
  CU_ASSERT(element_types_ok(ELEMENT_ADD, TYPE_F32, ff) && !element_types_ok(ELEMENT_ADD, TYPE_F64, ff) && !element_types_ok(ELEMENT_ADD, TYPE_F32, mixed));
  CU_ASSERT(element_types_ok(ELEMENT_FMA, TYPE_F32, ff) && !element_types_ok(ELEMENT_FMA, TYPE_F64, dd));
  CU_ASSERT(element_types_ok(ELEMENT_LT, TYPE_BOOL, dd) && !element_types_ok(ELEMENT_LT, TYPE_F64, dd) && !element_types_ok(ELEMENT_LT, TYPE_BOOL, bb));
  CU_ASSERT(element_types_ok(ELEMENT_SELECT, TYPE_F32, bff) && !element_types_ok(ELEMENT_SELECT, TYPE_F32, ff));
  CU_ASSERT(!element_types_ok(ELEMENT_ADD, TYPE_BF16, hh) && element_types_ok(ELEMENT_CAST, TYPE_F32, hh) && element_types_ok(ELEMENT_CAST, TYPE_BF16, ff));
  CU_ASSERT(element_types_ok(ELEMENT_BITCAST, TYPE_I32, ff) && !element_types_ok(ELEMENT_BITCAST, TYPE_I64, ff));
  CU_ASSERT(element_types_ok(ELEMENT_AND, TYPE_BOOL, bb) && !element_types_ok(ELEMENT_ADD, TYPE_BOOL, bb) && !element_types_ok(ELEMENT_DIV, TYPE_I64, (Type[]){TYPE_I64, TYPE_I64}));
}

/* Every operation on every type it takes: many positions at once, in place and broadcast, give what one position gives. */
static void runs_of_positions_equal_single_ones(void) {
  static const Type every[] = {TYPE_BOOL, TYPE_I32, TYPE_I64, TYPE_F32, TYPE_F64};
  static const double sample[] = {0, -0.0, 1, -1, 2.5, -3.5, 1e-40, 1e30, INFINITY, -INFINITY, NAN, 77, 5e9};
  enum { N = sizeof sample / sizeof *sample };
  unsigned seen = 0;
  for (unsigned e = 0; e < ELEMENT_COUNT; e++)
    for (unsigned t = 0; t < 5; t++)
      for (unsigned r = 0; r < 5; r++) {
        Type x[3] = {element_rule((Element)e) == RULE_SELECT ? TYPE_BOOL : every[t], every[t], every[t]};
        if (!element_types_ok((Element)e, every[r], x)) continue;
        seen++;
        Bits a[N], b[N], c[N], out[N], one[N];
        for (unsigned i = 0; i < N; i++) {
          a[i] = bits_from_f64(sample[i], x[0]);
          b[i] = bits_from_f64(sample[(i * 5 + 3) % N], every[t]);
          c[i] = bits_from_f64(sample[(i * 7 + 1) % N], every[t]);
        }
        for (unsigned i = 0; i < N; i++) one[i] = element_eval((Element)e, every[r], every[t], (const Bits[]){a[i], b[i], c[2]});
        element_run((Element)e, every[r], every[t], N, out, (const Bits *const[]){a, b, c + 2}, (const size_t[]){1, 1, 0});
        element_run((Element)e, every[r], every[t], N, a, (const Bits *const[]){a, b, c + 2}, (const size_t[]){1, 1, 0});
        for (unsigned i = 0; i < N; i++) CU_ASSERT(bits_equal(out[i], one[i], every[r]) && bits_equal(a[i], one[i], every[r]) && bits_normal(out[i], every[r]) == out[i]);
      }
  CU_ASSERT(seen > 60);
}

/* --- codes ---------------------------------------------------------------------------------------------------------------------- */

/* As the language says it: how many neighbours have their middle below y. */
static unsigned edges_below(CodeMap map, float y) {
  unsigned n = 0;
  for (unsigned k = 0; k + 1 < code_maps[map].codes; k++) n += (code_entry(map, k) + code_entry(map, k + 1))/2 < y;
  return n;
}

static void a_code_is_the_number_of_edges_below(void) {
  for (unsigned m = 0; m < CODE_MAPS; m++) {
    CodeMap map = (CodeMap)m;
    unsigned codes = code_maps[m].codes;
    for (unsigned k = 0; k + 1 < codes; k++) {
      float edge = code_edge(map, k), near[] = {edge, nextafterf(edge, 2), nextafterf(edge, -2), -edge, code_entry(map, k)};
      CU_ASSERT(code_entry(map, k) < code_entry(map, k + 1));
      for (unsigned i = 0; i < 5; i++) CU_ASSERT_EQUAL(code_nearest(map, near[i]), edges_below(map, near[i]));
      CU_ASSERT_EQUAL(code_nearest(map, code_entry(map, k)), k);
    }
    static const float far[] = {0, -0.0f, 1, -1, 1.5f, -1.5f, INFINITY, -INFINITY, NAN, 1e-40f, -1e-40f};
    for (unsigned i = 0; i < sizeof far/sizeof *far; i++) CU_ASSERT_EQUAL(code_nearest(map, far[i]), edges_below(map, far[i]));
    CU_ASSERT_EQUAL(code_entry(map, codes - 1), 1);
    CU_ASSERT_EQUAL(code_entry(map, codes + 3), code_entry(map, 3));
    CU_ASSERT_EQUAL(code_map_of(code_decode_element(map)), map);
    CU_ASSERT_EQUAL(code_map_of(code_encode_element(map)), map);
  }
}

int main(void) {
  static const SuiteTest tests[] = {
    {"types have names that read back", types_have_names_that_read_back},
    {"integer division goes down and never traps", integer_division_goes_down_and_never_traps},
    {"integers wrap and results are normal", integers_wrap_and_results_are_normal},
    {"shifts outside the width give zero", shifts_outside_the_width_give_zero},
    {"floats follow IEEE 754", floats_follow_ieee},
    {"casts to integers cut and saturate", casts_to_integers_cut_and_saturate},
    {"casts to floats round once", casts_to_floats_round_once},
    {"half types keep every value", half_types_keep_every_value},
    {"half types round to nearest even", half_types_round_to_nearest_even},
    {"NaN is one value", nan_is_one_value},
    {"type rules hold", type_rules_hold},
    {"runs of positions equal single ones", runs_of_positions_equal_single_ones},
    {"a code is the number of edges below", a_code_is_the_number_of_edges_below},
  };
  return suite_run("types", tests);
}
