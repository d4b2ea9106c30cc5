/* expand_f64.c: elementary functions in f64: fixed sequences of + - * / sqrt and integer operations, no fma, below 1 ulp.
 *
 * Reductions are Cody and Waite's (Software Manual for the Elementary Functions, 1980); pairs of doubles follow Dekker (A
 * floating-point technique for extending the available precision, Numer. Math. 18, 1971) and Knuth's two-sum. Edge cases are
 * those of C99, Annex F. */
#include "passes/expand.h"
#include "passes/expand_tables.h"

/* --- pairs: an unevaluated sum hi + lo ------------------------------------------------------------------------------------------ */

typedef struct Pair { Value hi, lo; } Pair;

static Pair two_sum(Graph *g, Value a, Value b) {                          /* exact */
  Value s = ADD(a, b), c = SUB(s, a);
  return (Pair){s, ADD(SUB(a, SUB(s, c)), SUB(b, c))};
}

static Pair fast_two_sum(Graph *g, Value a, Value b) {                     /* exact where |a| >= |b| or a = 0 */
  Value s = ADD(a, b);
  return (Pair){s, SUB(b, SUB(s, a))};
}

static Pair split(Graph *g, Value a) {                                     /* 26 and 27 bits; no overflow, unlike a multiplication */
  Value head = FLOAT(AND(BITS(a), I(-(INT64_C(1) << 27))));
  return (Pair){head, SUB(a, head)};
}

static Pair two_product(Graph *g, Value a, Value b) {                      /* to 2^-106 */
  Value p = MUL(a, b);
  Pair x = split(g, a), y = split(g, b);
  Value e = ADD(ADD(SUB(MUL(x.hi, y.hi), p), MUL(x.hi, y.lo)), MUL(x.lo, y.hi));
  return (Pair){p, ADD(e, MUL(x.lo, y.lo))};
}

static Pair pair_product(Graph *g, Pair a, Pair b) {                       /* to about 2^-102 */
  Pair p = two_product(g, a.hi, b.hi);
  return (Pair){p.hi, ADD(p.lo, ADD(MUL(a.hi, b.lo), MUL(a.lo, b.hi)))};
}

/* --- exponentials ----------------------------------------------------------------------------------------------------------------- */

typedef struct Reduced { Value n, hi, lo; } Reduced;       /* x = n ln2 + hi + lo; n as i64, hi exact */

static Value clamp(Graph *g, Value x, double low, double high) {           /* NaN passes */
  x = SELECT(LT(x, D(low)), D(low), x);
  return SELECT(GT(x, D(high)), D(high), x);
}

static Value integer_of(Graph *g, Value shifted) { return SUB(BITS(shifted), I(SHIFTER_BITS)); }

static Reduced reduce(Graph *g, Value x, Value x_lo) {
  Value z = ADD(MUL(x, D(LOG2E)), D(SHIFTER)), k = SUB(z, D(SHIFTER));
  Value lo = MUL(k, D(-LN2_TAIL));
  return (Reduced){integer_of(g, z), SUB(x, MUL(k, D(LN2_HEAD))), x_lo ? ADD(x_lo, lo) : lo};
}

/* e^(hi + lo) - 1 - hi, for |hi| <= 0.35. */
static Value exp_tail(Graph *g, Value hi, Value lo) {
  Value r = ADD(hi, lo);
  return ADD(lo, MUL(MUL(r, r), HORNER(r, exp_q)));
}

static Pair exp_pair(Graph *g, Value hi, Value lo) {
  Pair y = fast_two_sum(g, D(1), hi);
  return fast_two_sum(g, y.hi, ADD(y.lo, exp_tail(g, hi, lo)));
}

static Value power_of_2(Graph *g, Value n) { return FLOAT(SHL(ADD(n, I(1023)), I(52))); }      /* -1022 <= n <= 1023 */

/* y 2^n for |n| <= 2000: two factors, so that subnormal results are rounded once. */
static Value scale(Graph *g, Value y, Value n) {
  Value half = SHR(n, I(1));
  return MUL(MUL(y, power_of_2(g, half)), power_of_2(g, SUB(n, half)));
}

Value expand_f64_exp(Graph *g, Value x) {
  Reduced r = reduce(g, clamp(g, x, -800, 800), NULL);
  return scale(g, exp_pair(g, r.hi, r.lo).hi, r.n);
}

Value expand_f64_exp2(Graph *g, Value x) {
  x = clamp(g, x, -1200, 1200);
  Value z = ADD(x, D(SHIFTER)), f = SUB(x, SUB(z, D(SHIFTER)));            /* |f| <= 1/2, exact */
  Pair p = split(g, f);
  Value hi = MUL(p.hi, D(LN2_26)), lo = ADD(MUL(p.lo, D(LN2)), MUL(p.hi, D(LN2_AFTER_26)));
  return scale(g, exp_pair(g, hi, lo).hi, integer_of(g, z));
}

/* 2^n ((1 - 2^-n) + hi + tail), all sums exact but the last; 2^-n is nothing beside 1 from n = 60 on. */
Value expand_f64_expm1(Graph *g, Value x) {
  Reduced r = reduce(g, clamp(g, x, -40, 800), NULL);
  Value small = SELECT(GT(r.n, I(60)), D(0), power_of_2(g, SUB(I(0), r.n)));
  Pair one = two_sum(g, D(1), NEG(small)), y = two_sum(g, one.hi, r.hi);
  Value sum = ADD(y.hi, ADD(ADD(y.lo, one.lo), exp_tail(g, r.hi, r.lo)));
  return SELECT(EQ(x, D(0)), x, scale(g, sum, r.n));                       /* -0 stays */
}

/* 1/(1 + t) as q + q e, t = a 2^n as a pair not above 1. */
static Pair one_over_one_plus(Graph *g, Value t_hi, Value t_lo) {
  Pair d = fast_two_sum(g, D(1), t_hi);
  d.lo = ADD(d.lo, t_lo);
  Value q = DIV(D(1), d.hi);
  Pair back = two_product(g, q, d.hi);
  return (Pair){q, SUB(SUB(SUB(D(1), back.hi), back.lo), MUL(q, d.lo))};
}

/* t = e^-|x|: 1/(1 + t), or t/(1 + t) on the left. */
Value expand_f64_sigmoid(Graph *g, Value x) {
  Reduced r = reduce(g, clamp(g, NEG(ABS(x)), -800, 0), NULL);
  Pair t = exp_pair(g, r.hi, r.lo);
  Pair q = one_over_one_plus(g, scale(g, t.hi, r.n), scale(g, t.lo, r.n));
  Value left = LT(x, D(0));
  Value top = SELECT(left, t.hi, D(1)), top_lo = SELECT(left, t.lo, D(0));
  Pair y = two_product(g, top, q.hi);
  Value sum = ADD(y.hi, ADD(y.lo, MUL(q.hi, ADD(MUL(top, q.lo), top_lo))));
  return scale(g, sum, SELECT(left, r.n, I(0)));
}

static Value copy_sign(Graph *g, Value magnitude, Value x) { return FLOAT(OR(BITS(magnitude), AND(BITS(x), I(INT64_MIN)))); }

/* x + x^3 T(x^2) near 0; else 1 - 2 t/(1 + t) with t = e^-2|x|. */
Value expand_f64_tanh(Graph *g, Value x) {
  Value u = MUL(x, x), near = ADD(x, MUL(MUL(x, u), HORNER(u, tanh_t)));
  Value a = clamp(g, MUL(ABS(x), D(-2)), -60, 0);
  Reduced r = reduce(g, a, NULL);
  Pair t = exp_pair(g, r.hi, r.lo);
  Value factor = power_of_2(g, r.n), t_hi = MUL(t.hi, factor), t_lo = MUL(t.lo, factor);
  Pair q = one_over_one_plus(g, t_hi, t_lo);
  Pair y = two_product(g, MUL(t_hi, D(2)), q.hi);                          /* 2t/(1 + t) */
  y.lo = ADD(y.lo, MUL(q.hi, ADD(MUL(MUL(t_hi, D(2)), q.lo), MUL(t_lo, D(2)))));
  Pair far = fast_two_sum(g, D(1), NEG(y.hi));
  return SELECT(LT(ABS(x), D(0.55)), SELECT(EQ(x, D(0)), x, near), copy_sign(g, ADD(far.hi, SUB(far.lo, y.lo)), x));
}

/* x (c0 + c1 u + u^2 P(u)), u = x^2, up to 1: heads of c0, c1 and u are so short that their part is exact. Else
 * 1 - e^(-x^2) Q((x - 2)/(x + 2)), 1 from 6 on. */
Value expand_f64_erf(Graph *g, Value x) {
  x = clamp(g, x, -6, 6);
  Pair u = two_product(g, x, x);
  Value head = SUB(ADD(u.hi, D(0x1.8p28)), D(0x1.8p28));                   /* in 2^-24 */
  Value tail = ADD(SUB(u.hi, head), u.lo);
  Value rest = ADD(MUL(MUL(u.hi, u.hi), HORNER(u.hi, erf_p)), ADD(D(ERF_0_AFTER), ADD(MUL(tail, D(ERF_1_HEAD)), MUL(u.hi, D(ERF_1_AFTER)))));
  Pair first = two_product(g, x, ADD(MUL(head, D(ERF_1_HEAD)), D(ERF_0_HEAD)));
  Value near = ADD(first.hi, ADD(first.lo, MUL(x, rest)));
  Reduced r = reduce(g, NEG(u.hi), NEG(u.lo));
  Pair e = exp_pair(g, r.hi, r.lo);
  Value a = ABS(x), q = MUL(HORNER(DIV(SUB(a, D(2)), ADD(a, D(2))), erfc_q), power_of_2(g, r.n));
  near = SELECT(LT(a, D(0x1p-500)), MUL(x, D(ERF_0)), near);               /* products of tails underflow there */
  return SELECT(LT(a, D(1)), near, copy_sign(g, SUB(D(1), ADD(MUL(e.hi, q), MUL(e.lo, q))), x));
}

/* h + 1/(4h) with h = e^|x|/2. */
Value expand_f64_cosh(Graph *g, Value x) {
  Reduced r = reduce(g, clamp(g, ABS(x), 0, 720), NULL);
  Pair e = exp_pair(g, r.hi, r.lo);
  Value n = SUB(r.n, I(1)), hi = scale(g, e.hi, n), lo = scale(g, e.lo, n), other = DIV(D(0.25), hi);
  return ADD(hi, ADD(other, MUL(lo, SUB(D(1), DIV(other, hi)))));
}

/* --- logarithms --------------------------------------------------------------------------------------------------------------------- */

typedef struct Parts { Value k, f; } Parts;                /* x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), f exact */

static Parts take_apart(Graph *g, Value x, bool subnormals) {
  Value small = subnormals ? LT(x, D(0x1p-1022)) : NULL;
  if (small) x = SELECT(small, MUL(x, D(0x1p54)), x);
  Value t = ADD(BITS(x), I(ONE_BITS - SQRT_HALF_BITS));
  Value k = SUB(FLOAT(OR(USHR(t, I(52)), I(INT64_C(0x4330000000000000)))), D(0x1p52 + 1023));     /* 2^52 + exponent */
  if (small) k = SELECT(small, SUB(k, D(54)), k);
  Value m = FLOAT(ADD(AND(t, I((INT64_C(1) << 52) - 1)), I(SQRT_HALF_BITS)));
  return (Parts){k, SUB(m, D(1))};
}

/* log(1 + f) - f, by s = f/(2 + f): log(1 + f) = 2 atanh(s) = f - (h - s (h + w R(w))), h = f^2/2. */
static Value log_tail(Graph *g, Value f) {
  Value s = DIV(f, ADD(f, D(2))), w = MUL(s, s), h = MUL(MUL(f, f), D(0.5));
  return SUB(MUL(s, ADD(h, MUL(w, HORNER(w, log_r)))), h);
}

/* y where 0 < x < inf; -inf at 0, inf at inf, else NaN. */
static Value log_edges(Graph *g, Value x, Value y) {
  Value positive = GT(x, D(0));
  Value edge = SELECT(EQ(x, D(0)), D(-__builtin_inf()), SELECT(positive, x, D(__builtin_nan(""))));
  return SELECT(AND(positive, LT(x, D(__builtin_inf()))), y, edge);
}

Value expand_f64_log(Graph *g, Value x) {
  Parts p = take_apart(g, x, true);
  Pair a = fast_two_sum(g, MUL(p.k, D(LN2_HEAD)), p.f);
  return log_edges(g, x, ADD(a.hi, ADD(a.lo, ADD(log_tail(g, p.f), MUL(p.k, D(LN2_TAIL))))));
}

/* f - h as a pair, since the result has no larger term to hide errors behind. */
Value expand_f64_log2(Graph *g, Value x) {
  Parts p = take_apart(g, x, true);
  Value s = DIV(p.f, ADD(p.f, D(2))), w = MUL(s, s);
  Pair square = two_product(g, p.f, p.f), l = fast_two_sum(g, p.f, MUL(square.hi, D(-0.5)));
  Value rest = ADD(MUL(s, ADD(MUL(square.hi, D(0.5)), MUL(w, HORNER(w, log_r)))), SUB(l.lo, MUL(square.lo, D(0.5))));
  Pair scaled = two_product(g, l.hi, D(LOG2E)), a = fast_two_sum(g, p.k, scaled.hi);
  Value small = ADD(scaled.lo, ADD(MUL(l.hi, D(LOG2E_AFTER)), MUL(rest, D(LOG2E))));
  return log_edges(g, x, ADD(a.hi, ADD(a.lo, small)));
}

/* u + c = 1 + x exactly; where u needs no reduction f is x itself, else c/u goes to the tail. */
Value expand_f64_log1p(Graph *g, Value x) {
  Pair u = two_sum(g, D(1), x);
  Parts p = take_apart(g, u.hi, false);
  Value whole = EQ(p.k, D(0)), f = SELECT(whole, x, p.f), c = SELECT(whole, D(0), DIV(u.lo, u.hi));
  Pair a = fast_two_sum(g, MUL(p.k, D(LN2_HEAD)), f);
  Value y = ADD(a.hi, ADD(a.lo, ADD(log_tail(g, f), ADD(MUL(p.k, D(LN2_TAIL)), c))));
  return SELECT(EQ(x, D(0)), x, SELECT(EQ(x, D(__builtin_inf())), x, log_edges(g, u.hi, y)));
}

/* --- powers ----------------------------------------------------------------------------------------------------------------------------- */

/* log x to 2^-66: 2 atanh(s) = 2s (1 + w (1/3 + w (1/5 + w R(w)))) in pairs. */
static Pair log_pair(Graph *g, Value x) {
  Parts p = take_apart(g, x, true);
  Pair d = fast_two_sum(g, D(2), p.f);
  Value s = DIV(p.f, d.hi);
  Pair back = two_product(g, s, d.hi);
  Value s_lo = DIV(SUB(SUB(SUB(p.f, back.hi), back.lo), MUL(s, d.lo)), d.hi);
  Pair w = two_product(g, s, s);
  w.lo = ADD(w.lo, MUL(MUL(D(2), s), s_lo));
  Pair fifth = fast_two_sum(g, D(FIFTH), MUL(w.hi, HORNER(w.hi, atanh_r)));
  fifth.lo = ADD(fifth.lo, D(FIFTH_AFTER));
  Pair b = pair_product(g, fifth, w), third = fast_two_sum(g, D(THIRD), b.hi);
  third.lo = ADD(third.lo, ADD(b.lo, D(THIRD_AFTER)));
  Pair t = pair_product(g, third, w);
  Pair st = pair_product(g, (Pair){s, s_lo}, t), a = fast_two_sum(g, s, st.hi);
  a.lo = ADD(a.lo, ADD(st.lo, s_lo));
  Pair l = fast_two_sum(g, MUL(p.k, D(LN2_42)), MUL(D(2), a.hi));
  l.lo = ADD(l.lo, ADD(MUL(D(2), a.lo), MUL(p.k, D(LN2_AFTER_42))));
  return fast_two_sum(g, l.hi, l.lo);
}

/* e^(y log|x|), then the signs and edges of pow. |y| above 2^65 gives 0, 1 or inf whatever it is, and is even. */
Value expand_f64_pow(Graph *g, Value x, Value y) {
  const double inf = __builtin_inf();
  Value ax = ABS(x), ay = ABS(y);
  Pair l = log_pair(g, ax);
  Value yc = clamp(g, y, -0x1p65, 0x1p65);
  Pair e = two_product(g, yc, l.hi);
  Value fits = LE(ABS(e.hi), D(800));
  Reduced r = reduce(g, clamp(g, e.hi, -800, 800), SELECT(fits, ADD(e.lo, MUL(yc, l.lo)), D(0)));
  Value v = scale(g, exp_pair(g, r.hi, r.lo).hi, r.n);

  Value extreme = OR(OR(EQ(ax, D(0)), EQ(ax, D(inf))), AND(EQ(ay, D(inf)), NE(ax, D(1))));
  v = SELECT(extreme, SELECT(EQ(GT(ax, D(1)), GT(y, D(0))), D(inf), D(0)), v);
  Value half = MUL(y, D(0.5)), whole = EQ(RINT(y), y), odd = AND(whole, NE(RINT(half), half));
  Value negative = LT(x, D(0));
  v = SELECT(AND(AND(negative, NOT(whole)), NE(ax, D(inf))), D(__builtin_nan("")), v);
  v = SELECT(AND(LT(BITS(x), I(0)), odd), NEG(v), v);
  v = SELECT(OR(NE(x, x), NE(y, y)), ADD(x, y), v);
  return SELECT(OR(EQ(x, D(1)), EQ(y, D(0))), D(1), v);
}

/* --- 1/sqrt -------------------------------------------------------------------------------------------------------------------------------- */

/* s = sqrt(x), y = 1/s, then one correction by the exact residuals of both. Scaled so that s^2 has no subnormal tail. */
Value expand_f64_rsqrt(Graph *g, Value x) {
  Value small = LT(x, D(0x1p-900)), a = SELECT(small, MUL(x, D(0x1p200)), x);
  Value s = SQRT(a), y = DIV(D(1), s);
  Pair square = two_product(g, s, s), one = two_product(g, s, y);
  Value over = SUB(SUB(a, square.hi), square.lo);                          /* x - s^2 */
  Value miss = SUB(SUB(D(1), one.hi), one.lo);                             /* 1 - s y */
  Value better = ADD(y, MUL(y, SUB(miss, MUL(MUL(MUL(over, D(0.5)), y), y))));
  Value inside = AND(GT(x, D(0)), LT(x, D(__builtin_inf())));
  y = SELECT(inside, better, y);
  return SELECT(small, MUL(y, D(0x1p100)), y);
}

/* --- sine and cosine --------------------------------------------------------------------------------------------------------------------------- */

typedef struct Turn { Value quadrant, hi, lo; } Turn;

enum { LIMBS = 9, LAST = 7 };

/* The 9 limbs of the table from `first` (0..37) on: shifted down by 32, 16, 8, 4, 2, 1 places where the bit is set. */
static void limbs_from(Graph *g, Value first, Value out[LIMBS]) {
  enum { ALL = sizeof limbs_of_two_over_pi / sizeof *limbs_of_two_over_pi };
  Value limb[ALL];
  unsigned n = ALL;
  for (unsigned i = 0; i < n; i++) limb[i] = I(limbs_of_two_over_pi[i]);
  for (unsigned by = 32; by; by /= 2) {
    Value moves = NE(AND(first, I(by)), I(0));
    unsigned keep = LIMBS + by - 1 < n ? LIMBS + by - 1 : n;
    for (unsigned i = 0; i < keep; i++) limb[i] = i + by < n ? SELECT(moves, limb[i + by], limb[i]) : limb[i];
    n = keep;
  }
  for (unsigned i = 0; i < LIMBS; i++) out[i] = limb[i];
}

/* x (2/pi) modulo 4 in integers of 27 bits (Payne and Hanek, Radian reduction for trigonometric functions, SIGNUM Newsletter 18,
 * 1983). x = m 2^s, s + 54 = 27 word + rest: m 2^rest has three limbs, which meet the limbs of 2/pi from number word - 2 on: earlier ones
 * give multiples of 4, and the 7 places kept leave an error below 2^-130, while no f64 is nearer to a multiple of pi/2 than 2^-62. */
static Turn reduce_turn(Graph *g, Value x) {               /* x >= 0 */
  Value bits = BITS(x), mask = I((1 << 27) - 1), width = I(27);
  Value offset = SUB(USHR(bits, I(52)), I(1075 - 54)), m = OR(AND(bits, I((INT64_C(1) << 52) - 1)), I(INT64_C(1) << 52));
  Value word = USHR(MUL(offset, I(1214)), I(15)), rest = SUB(offset, MUL(word, width));     /* offset/27 up to 2100 */
  Value low = SHL(AND(m, mask), rest), high = ADD(SHL(USHR(m, width), rest), USHR(low, width));
  Value l0 = AND(low, mask), l1 = AND(high, mask), l2 = USHR(high, width), t[LIMBS], digit[LAST];
  limbs_from(g, word, t);
  Value carry = I(0);
  for (unsigned j = LAST; j-- > 0;) {
    Value sum = ADD(ADD(MUL(l0, t[j]), MUL(l1, t[j + 1])), ADD(MUL(l2, t[j + 2]), carry));
    digit[j] = AND(sum, mask);
    carry = USHR(sum, width);
  }
  Value whole = OR(OR(SHL(digit[0], I(62)), SHL(digit[1], I(35))), OR(SHL(digit[2], I(8)), USHR(digit[3], I(19))));
  Value below = OR(OR(SHL(AND(digit[3], I((1 << 19) - 1)), I(43)), SHL(digit[4], I(16))), USHR(digit[5], I(11)));      /* in 2^-124 */
  Value quadrant = USHR(ADD(whole, I(INT64_C(1) << 61)), I(62)), fraction = SHL(whole, I(2));                /* signed, in 2^-64 */
  Value head = AND(ADD(SHR(fraction, I(1)), I(INT64_C(1) << 36)), I(-(INT64_C(1) << 37)));                   /* 26 bits, in 2^-63 */
  Value a = MUL(TO(TYPE_F64, head), D(0x1p-63)), b = MUL(TO(TYPE_F64, SUB(fraction, SHL(head, I(1)))), D(0x1p-64));
  Value c = MUL(TO(TYPE_F64, below), D(0x1p-124));
  Pair middle = two_product(g, b, D(HALF_PI)), r = two_sum(g, MUL(a, D(HALF_PI_26)), middle.hi);
  Value lo = ADD(MUL(a, D(HALF_PI_AFTER_26)), ADD(MUL(b, D(HALF_PI_AFTER)), MUL(c, D(HALF_PI))));
  r = fast_two_sum(g, r.hi, ADD(r.lo, ADD(middle.lo, lo)));
  Value near = LT(x, D(HALF_PI / 2));
  return (Turn){SELECT(near, I(0), quadrant), SELECT(near, x, r.hi), SELECT(near, D(0), r.lo)};
}

/* sin of so many quarter turns and the angle: cos where that is odd, negative in the second half. */
static Value circular(Graph *g, Turn t, Value quadrant) {
  Value u = MUL(t.hi, t.hi), half = MUL(u, D(0.5));
  Value sine = ADD(t.hi, ADD(MUL(MUL(t.hi, u), HORNER(u, sin_s)), MUL(t.lo, SUB(D(1), half))));
  Pair c = fast_two_sum(g, D(1), NEG(half));
  Value cosine = ADD(c.hi, ADD(c.lo, SUB(MUL(MUL(u, u), HORNER(u, cos_c)), MUL(t.hi, t.lo))));
  Value y = SELECT(NE(AND(quadrant, I(1)), I(0)), cosine, sine);
  return FLOAT(XOR(BITS(y), SHL(AND(quadrant, I(2)), I(62))));
}

static Value finite_only(Graph *g, Value x, Value y) { return SELECT(LT(ABS(x), D(__builtin_inf())), y, D(__builtin_nan(""))); }

Value expand_f64_sin(Graph *g, Value x) {
  Turn t = reduce_turn(g, ABS(x));
  return finite_only(g, x, FLOAT(XOR(BITS(circular(g, t, t.quadrant)), AND(BITS(x), I(INT64_MIN)))));
}

Value expand_f64_cos(Graph *g, Value x) {
  Turn t = reduce_turn(g, ABS(x));
  return finite_only(g, x, circular(g, t, ADD(t.quadrant, I(1))));
}
