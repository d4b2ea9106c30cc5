/* expand_f32.c: elementary functions of f32 operands. Most work in f64 and round once, so that the result is the nearest f32.
 *
 * Without tables or branches: a vector loop keeps them. No fma in f64, so that every target has the same bits at the same price.
 * `make accuracy` runs all 2^32 operands. Coefficients: expand_tables.h. */
#include "passes/expand.h"
#include "passes/expand_tables.h"

#define WIDE(x) TO(TYPE_F64, x)
#define ROUND(x) TO(TYPE_F32, x)

/* big + small, |big| >= |small| or big = 0, rounded to odd (Boldo and Melquiond, Emulation of a FMA and correctly rounded sums,
 * IEEE Trans. Computers 57, 2008): a later rounding to f32 is then as if the sum had been exact. */
static Value odd_sum(Graph *g, Value big, Value small) {
  Value s = ADD(big, small), e = SUB(small, SUB(s, big));
  Value cut = SUB(BITS(s), TO(TYPE_I64, LT(MUL(e, s), D(0))));             /* towards zero */
  return FLOAT(OR(cut, TO(TYPE_I64, NE(e, D(0)))));
}

static Value clamp(Graph *g, Value x, float low, float high) {             /* NaN passes */
  x = SELECT(LT(x, S(low)), S(low), x);
  return SELECT(GT(x, S(high)), S(high), x);
}

static Value copy_sign(Graph *g, Value magnitude, Value x) {
  return FLOAT(OR(BITS(magnitude), AND(BITS(x), expand_i32(g, INT32_MIN))));
}

/* --- exponentials ----------------------------------------------------------------------------------------------------------------- */

typedef struct Power { Value factor, p; } Power;           /* e^x = factor (1 + p), factor a power of 2 */

static Value power_of_2(Graph *g, Value shifted) {                         /* 2^n for the n in the low bits: the shift drops the rest */
  return FLOAT(ADD(SHL(BITS(shifted), I(52)), I(ONE_BITS)));
}

static Value expm1_poly(Graph *g, Value r) { return ADD(r, MUL(MUL(r, r), HORNER(r, exp_q32))); }

static Power power(Graph *g, Value x) {
  Value z = ADD(MUL(x, D(LOG2E)), D(SHIFTER)), k = SUB(z, D(SHIFTER));
  Value r = SUB(SUB(x, MUL(k, D(LN2_HEAD))), MUL(k, D(LN2_TAIL)));
  return (Power){power_of_2(g, z), expm1_poly(g, r)};
}

/* 2^n p + (2^n - 1) */
static Value less_one(Graph *g, Power e) { return ADD(MUL(e.factor, e.p), SUB(e.factor, D(1))); }

Value expand_f32_exp(Graph *g, Value x) {
  Power e = power(g, WIDE(clamp(g, x, -110, 90)));
  return ROUND(MUL(odd_sum(g, D(1), e.p), e.factor));
}

Value expand_f32_exp2(Graph *g, Value x) {
  Value w = WIDE(clamp(g, x, -160, 130)), z = ADD(w, D(SHIFTER)), f = SUB(w, SUB(z, D(SHIFTER)));
  return ROUND(MUL(odd_sum(g, D(1), expm1_poly(g, MUL(f, D(LN2)))), power_of_2(g, z)));
}

Value expand_f32_expm1(Graph *g, Value x) {
  Value y = ROUND(less_one(g, power(g, WIDE(clamp(g, x, -30, 90)))));
  return SELECT(EQ(x, S(0)), x, y);                                        /* -0 stays */
}

/* E/(E + 2), E = e^2|x| - 1 */
Value expand_f32_tanh(Graph *g, Value x) {
  Value a = clamp(g, ABS(x), 0, 10), e = less_one(g, power(g, WIDE(ADD(a, a))));
  return copy_sign(g, ROUND(DIV(e, ADD(e, D(2)))), x);
}

/* Left of -1: e/(1 + e); else 1/2 + E/(2E + 4), E = e^x - 1. */
Value expand_f32_sigmoid(Graph *g, Value x) {
  Value w = WIDE(clamp(g, x, -110, 40)), left = LT(w, D(-1));
  Power power_x = power(g, w);
  Value e = MUL(ADD(D(1), power_x.p), power_x.factor), m = less_one(g, power_x);
  Value t = DIV(SELECT(left, e, m), SELECT(left, ADD(D(1), e), ADD(MUL(m, D(2)), D(4))));
  return ROUND(odd_sum(g, SELECT(left, D(0), D(0.5)), t));
}

/* x C + x u P(u/8 - 1), u = x^2, up to 3.9375, where the result is 1. The head of C = 2/sqrt(pi) times x is exact. */
Value expand_f32_erf(Graph *g, Value x) {
  Value w = WIDE(clamp(g, x, -3.9375f, 3.9375f)), u = MUL(w, w), t = SUB(MUL(u, D(0.125)), D(1));
  Value small = MUL(w, ADD(MUL(u, HORNER(t, erf_p32)), D(ERF32_TAIL)));
  return ROUND(odd_sum(g, MUL(w, D(ERF32_HEAD)), small));
}

/* e^r = C + S: cosh x = (2^n + 2^-n)/2 C + (2^n - 2^-n)/2 S. */
Value expand_f32_cosh(Graph *g, Value x) {
  Value w = WIDE(clamp(g, ABS(x), 0, 90)), z = ADD(MUL(w, D(LOG2E)), D(SHIFTER)), k = SUB(z, D(SHIFTER));
  Value r = SUB(SUB(w, MUL(k, D(LN2_HEAD))), MUL(k, D(LN2_TAIL))), u = MUL(r, r);
  Value up = MUL(power_of_2(g, z), D(0.5)), down = DIV(D(0.25), up), a = ADD(up, down), b = SUB(up, down);
  Value c = MUL(u, HORNER(u, cosh_c)), s = ADD(r, MUL(MUL(r, u), HORNER(u, sinh_s)));
  return ROUND(odd_sum(g, a, ADD(MUL(a, c), MUL(b, s))));
}

/* --- logarithms --------------------------------------------------------------------------------------------------------------------- */

typedef struct Parts { Value k, f; } Parts;                /* 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), f exact */

static Parts take_apart(Graph *g, Value x) {                               /* f64, normal */
  Value t = ADD(BITS(x), I(ONE_BITS - SQRT_HALF_BITS));
  Value k = SUB(FLOAT(OR(USHR(t, I(52)), I(INT64_C(0x4330000000000000)))), D(0x1p52 + 1023));     /* 2^52 + exponent */
  Value m = FLOAT(ADD(AND(t, I((INT64_C(1) << 52) - 1)), I(SQRT_HALF_BITS)));
  return (Parts){k, SUB(m, D(1))};
}

/* y where 0 < x < inf; -inf at 0, inf at inf, else NaN. */
static Value log_edges(Graph *g, Value x, Value y) {
  Value positive = GT(x, S(0));
  Value edge = SELECT(EQ(x, S(0)), S(-__builtin_inff()), SELECT(positive, x, S(__builtin_nanf(""))));
  return SELECT(AND(positive, LT(x, S(__builtin_inff()))), y, edge);
}

/* log(1 + f) = 2s + s w R(w), s = f/(f + 2), w = s^2 */
static Value log_poly(Graph *g, Value f) {
  Value s = DIV(f, ADD(f, D(2))), w = MUL(s, s);
  return ADD(ADD(s, s), MUL(MUL(s, w), HORNER(w, log_r)));
}

Value expand_f32_log(Graph *g, Value x) {
  Parts p = take_apart(g, WIDE(x));
  Value y = odd_sum(g, MUL(p.k, D(LN2_HEAD)), ADD(MUL(p.k, D(LN2_TAIL)), log_poly(g, p.f)));
  return log_edges(g, x, ROUND(y));
}

Value expand_f32_log2(Graph *g, Value x) {
  Parts p = take_apart(g, WIDE(x));
  return log_edges(g, x, ROUND(ADD(MUL(log_poly(g, p.f), D(LOG2E)), p.k)));
}

/* As log; without reduction f is x itself, and log(1 + f) = f - (h - s (h + w R)), h = f^2/2. 1 + x is exact where that matters. */
Value expand_f32_log1p(Graph *g, Value x) {
  Value w = WIDE(x);
  Parts p = take_apart(g, ADD(w, D(1)));
  Value whole = EQ(p.k, D(0)), f = SELECT(whole, w, p.f);
  Value s = DIV(f, ADD(f, D(2))), ss = MUL(s, s), h = MUL(MUL(f, f), D(0.5));
  Value q = MUL(ss, HORNER(ss, log_r)), tail = SUB(MUL(s, ADD(h, q)), h);
  Value big = SELECT(whole, f, MUL(p.k, D(LN2_HEAD)));
  Value small = SELECT(whole, tail, ADD(MUL(p.k, D(LN2_TAIL)), ADD(ADD(s, s), MUL(s, q))));
  Value inside = AND(GT(x, S(-1)), LT(x, S(__builtin_inff())));
  Value edge = SELECT(EQ(x, S(-1)), S(-__builtin_inff()), SELECT(GT(x, S(0)), x, S(__builtin_nanf(""))));
  return SELECT(inside, ROUND(odd_sum(g, big, small)), edge);
}

Value expand_f32_pow(Graph *g, Value x, Value y) { return ROUND(expand_f64_pow(g, WIDE(x), WIDE(y))); }

Value expand_f32_rsqrt(Graph *g, Value x) { return ROUND(DIV(D(1), SQRT(WIDE(x)))); }

/* --- sine and cosine ------------------------------------------------------------------------------------------------------------------ */

/* x = (quadrant + 2 fraction/pi) quarter turns: x (2/pi) modulo 4 in integers (Payne and Hanek, Radian reduction for trigonometric
 * functions, SIGNUM Newsletter 18, 1983). x = m 2^s, m < 2^24; from the bits of 2/pi the 96 that start at weight 2^(-s) matter:
 * what stands before gives multiples of 4, what follows less than 2^-70. `offset` = s + 24 counts from 26 leading zeros; below
 * 0 (|x| < 1/2) nothing is used of the result. */
static Value window(Graph *g, Value word, Value shift, unsigned first) {
  Value pair = I((int64_t)((uint64_t)two_over_pi[first + 4] << 32 | two_over_pi[first + 5]));
  for (unsigned i = 4; i-- > 0;)
    pair = SELECT(EQ(word, I(i)), I((int64_t)((uint64_t)two_over_pi[first + i] << 32 | two_over_pi[first + i + 1])), pair);
  return USHR(SHL(pair, shift), I(32));
}

typedef struct Turn { Value quadrant, hi, lo; } Turn;      /* hi exact (26 bits times 26 bits), the angle is hi + lo */

static Turn reduce_turn(Graph *g, Value x) {               /* x >= 0 */
  Value bits = TO(TYPE_I64, BITS(x)), low = I(0xffffffff);
  Value offset = SUB(USHR(bits, I(23)), I(126)), m = OR(AND(bits, I(0x7fffff)), I(0x800000));
  Value word = USHR(offset, I(5)), shift = AND(offset, I(31));
  Value p2 = MUL(m, window(g, word, shift, 2));
  Value p1 = ADD(MUL(m, window(g, word, shift, 1)), USHR(p2, I(32)));
  Value p0 = ADD(MUL(m, window(g, word, shift, 0)), USHR(p1, I(32)));
  Value whole = OR(SHL(p0, I(32)), AND(p1, low));                          /* 2 bits of quadrant, 62 of fraction */
  Value quadrant = USHR(ADD(whole, I(INT64_C(1) << 61)), I(62));
  Value fraction = SHL(whole, I(2));                                       /* signed, in 2^-64: nearest quadrant */
  Value head = AND(ADD(SHR(fraction, I(1)), I(INT64_C(1) << 36)), I(-(INT64_C(1) << 37)));      /* nearest 26 bits, in 2^-63 */
  Value a = MUL(TO(TYPE_F64, head), D(0x1p-63));
  Value rest = ADD(MUL(TO(TYPE_F64, SUB(fraction, SHL(head, I(1)))), D(0x1p-64)), MUL(TO(TYPE_F64, AND(p2, low)), D(0x1p-94)));
  Value near = LT(x, S(0.78539816f)), w = WIDE(x);
  return (Turn){
    SELECT(near, I(0), quadrant), SELECT(near, w, MUL(a, D(HALF_PI_26))),
    SELECT(near, D(0), ADD(MUL(a, D(HALF_PI_AFTER_26)), MUL(rest, D(HALF_PI)))),
  };
}

/* sin of quadrant + shift quarter turns and an angle: cos where that is odd, negative in the second half. */
static Value circular(Graph *g, Turn t, Value quadrant) {
  Value r = ADD(t.hi, t.lo), u = MUL(r, r);
  Value sine = ADD(t.lo, MUL(MUL(r, u), HORNER(u, sin_s)));
  Value cosine = SUB(MUL(MUL(u, u), HORNER(u, cos_c)), MUL(u, D(0.5)));
  Value odd = NE(AND(quadrant, I(1)), I(0));
  Value y = odd_sum(g, SELECT(odd, D(1), t.hi), SELECT(odd, cosine, sine));
  return FLOAT(XOR(BITS(y), SHL(AND(quadrant, I(2)), I(62))));
}

Value expand_f32_sin(Graph *g, Value x) {
  Turn t = reduce_turn(g, ABS(x));
  Value y = ROUND(circular(g, t, t.quadrant)), sign = AND(BITS(x), expand_i32(g, INT32_MIN));
  return SELECT(LT(ABS(x), S(__builtin_inff())), FLOAT(XOR(BITS(y), sign)), S(__builtin_nanf("")));
}

Value expand_f32_cos(Graph *g, Value x) {
  Turn t = reduce_turn(g, ABS(x));
  Value y = ROUND(circular(g, t, ADD(t.quadrant, I(1))));
  return SELECT(LT(ABS(x), S(__builtin_inff())), y, S(__builtin_nanf("")));
}

/* --- f32 inside: fma, published error --------------------------------------------------------------------------------------------------- */

typedef struct Short { Value z, r, q; } Short;             /* e^x = 2^n (1 + r + r^2 q), n in the low bits of z */

static Short short_power(Graph *g, Value x) {
  Value z = FMA(x, S((float)LOG2E), S(SHIFTER32)), k = SUB(z, S(SHIFTER32));
  Value r = FMA(k, S(MINUS_LN2_TAIL32), FMA(k, S(MINUS_LN2_HEAD32), x)), q = S(exp_q_short[4]);
  for (unsigned i = 4; i-- > 0;) q = FMA(q, r, S(exp_q_short[i]));
  return (Short){z, r, q};
}

static Value short_expm1(Graph *g, Short e) { return FMA(MUL(e.r, e.r), e.q, e.r); }

/* n goes into the exponent, where it fits: 0 below 2^-126; above the largest f32 x + inf, which also keeps NaN. */
Value expand_sexp(Graph *g, Value x) {
  Short e = short_power(g, x);
  Value y = FLOAT(ADD(BITS(ADD(short_expm1(g, e), S(1))), SHL(BITS(e.z), expand_i32(g, 23))));
  y = SELECT(LT(x, S(-0x1.5d589ep6f)), S(0), y);                           /* log 2^-126 */
  return SELECT(LE(x, S(0x1.62e42ep6f)), y, ADD(x, S(__builtin_inff())));
}

static Value power_of_2_short(Graph *g, Value n) { return FLOAT(SHL(ADD(n, expand_i32(g, 127)), expand_i32(g, 23))); }

/* As sexp with two factors, so that subnormal results are right too. */
Value expand_fast_exp(Graph *g, Value x) {
  Short e = short_power(g, clamp(g, x, -110, 90));
  Value n = SUB(BITS(e.z), expand_i32(g, SHIFTER32_BITS)), half = SHR(n, expand_i32(g, 1));
  return MUL(MUL(ADD(short_expm1(g, e), S(1)), power_of_2_short(g, half)), power_of_2_short(g, SUB(n, half)));
}

/* E/(E + 2), E = e^2|x| - 1 */
Value expand_fast_tanh(Graph *g, Value x) {
  Value a = clamp(g, ABS(x), 0, 10);
  Short e = short_power(g, ADD(a, a));
  Value factor = FLOAT(ADD(SHL(BITS(e.z), expand_i32(g, 23)), expand_i32(g, 127 << 23)));
  Value m = FMA(factor, short_expm1(g, e), SUB(factor, S(1)));
  return copy_sign(g, DIV(m, ADD(m, S(2))), x);
}

/* f - f^2/2 + f^3 P(f), and k ln2 in two parts. Subnormal operands are scaled first. */
Value expand_fast_log(Graph *g, Value x) {
  Value small = LT(x, S(0x1p-126f)), v = BITS(SELECT(small, MUL(x, S(0x1p23f)), x));
  Value t = ADD(v, expand_i32(g, ONE_BITS32 - SQRT_HALF_BITS32)), n = SUB(SHR(t, expand_i32(g, 23)), expand_i32(g, 127));
  Value k = TO(TYPE_F32, SELECT(small, SUB(n, expand_i32(g, 23)), n));
  Value f = SUB(FLOAT(ADD(AND(t, expand_i32(g, 0x7fffff)), expand_i32(g, SQRT_HALF_BITS32))), S(1)), u = MUL(f, f);
  Value p = S(log_p_short[8]);
  for (unsigned i = 8; i-- > 0;) p = FMA(p, f, S(log_p_short[i]));
  Value y = FMA(u, S(-0.5f), FMA(MUL(u, f), p, MUL(k, S(-MINUS_LN2_TAIL32))));
  return log_edges(g, x, FMA(k, S(-MINUS_LN2_HEAD32), ADD(f, y)));
}
