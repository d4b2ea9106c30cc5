/* function.c: functions of elements, conversions, random numbers, storage types.
 *
 * f32 functions are correctly rounded: the C library's f64 result where rounding it leaves no doubt (its error is taken as at most
 * 2^-48), else MPFR. f64 functions are the C library's: the compiler's fixed sequences may differ from them in the last place. */
#include <math.h>
#include <mpfr.h>
#include "internal.h"

static double sigmoid_f64(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double rsqrt_f64(double x) { return 1 / sqrt(x); }

static double d_exp(double x, double y) { return y; }
static double d_exp2(double x, double y) { return y * M_LN2; }
static double d_expm1(double x, double y) { return y + 1; }
static double d_log(double x, double y) { return 1 / x; }
static double d_log2(double x, double y) { return 1 / (x * M_LN2); }
static double d_log1p(double x, double y) { return 1 / (1 + x); }
static double d_tanh(double x, double y) { return 1 - y * y; }
static double d_sigmoid(double x, double y) { return y * (1 - y); }
static double d_erf(double x, double y) { return M_2_SQRTPI * exp(-x * x); }
static double d_rsqrt(double x, double y) { return -.5 * y / x; }
static double d_sin(double x, double y) { return cos(x); }
static double d_cos(double x, double y) { return -sin(x); }
static double d_cosh(double x, double y) { return sinh(x); }
static double d_sqrt(double x, double y) { return .5 / y; }
static double d_none(double x, double y) { return 0; }

static int mpfr_sigmoid(mpfr_t to, const mpfr_t x, mpfr_rnd_t round) {
  mpfr_t wide;
  mpfr_init2(wide, 200);
  mpfr_neg(wide, x, MPFR_RNDN);
  mpfr_exp(wide, wide, MPFR_RNDN);
  mpfr_add_ui(wide, wide, 1, MPFR_RNDN);
  int t = mpfr_ui_div(to, 1, wide, round);
  mpfr_clear(wide);
  return t;
}

typedef struct Smooth { const char *name; double (*f)(double); int (*exact)(mpfr_t, const mpfr_t, mpfr_rnd_t); double (*d)(double x, double y); } Smooth;
static const Smooth smooth[] = {
  {"exp", exp, mpfr_exp, d_exp}, {"exp2", exp2, mpfr_exp2, d_exp2}, {"expm1", expm1, mpfr_expm1, d_expm1},
  {"log", log, mpfr_log, d_log}, {"log2", log2, mpfr_log2, d_log2}, {"log1p", log1p, mpfr_log1p, d_log1p},
  {"tanh", tanh, mpfr_tanh, d_tanh}, {"sigmoid", sigmoid_f64, mpfr_sigmoid, d_sigmoid}, {"erf", erf, mpfr_erf, d_erf},
  {"rsqrt", rsqrt_f64, mpfr_rec_sqrt, d_rsqrt}, {"sin", sin, mpfr_sin, d_sin}, {"cos", cos, mpfr_cos, d_cos}, {"cosh", cosh, mpfr_cosh, d_cosh},
  {"sqrt", sqrt, NULL, d_sqrt}, {"floor", floor, NULL, d_none}, {"ceil", ceil, NULL, d_none}, {"round", nearbyint, NULL, d_none},
};

/* The exact value, rounded once to f32, subnormals and overflow included. */
static float exactly(const Smooth *s, double x) {
  mpfr_exp_t low = mpfr_get_emin(), high = mpfr_get_emax();
  mpfr_t in, out;
  mpfr_init2(in, 53);
  mpfr_init2(out, 24);
  mpfr_set_d(in, x, MPFR_RNDN);
  mpfr_set_emin(-148);
  mpfr_set_emax(128);
  int t = s->exact(out, in, MPFR_RNDN);
  t = mpfr_check_range(out, t, MPFR_RNDN);
  mpfr_subnormalize(out, t, MPFR_RNDN);
  float y = mpfr_get_flt(out, MPFR_RNDN);
  mpfr_set_emin(low);
  mpfr_set_emax(high);
  mpfr_clear(in);
  mpfr_clear(out);
  return y;
}

static float rounded_once(const Smooth *s, double x) {
  double y = s->f(x);
  if (!s->exact || isnan(y) || isinf(y)) return (float)y;
  double slack = fabs(y) * 0x1p-48;
  if ((float)(y - slack) == (float)(y + slack)) return (float)y;
  return exactly(s, x);
}

/* Softmax's own exponential: 2^n (1 + r + r^2 q(r)) in f32 with fma, published coefficients; 0 below 2^-126. */
static float sexp_f32(float x) {
  static const float q_of[] = {.5f, .16666576266f, .04166646302f, .00836331304f, .00139353645f};
  if (x < -0x1.5d589ep6f) return 0;
  if (!(x <= 0x1.62e42ep6f)) return x + INFINITY;
  float z = fmaf(x, (float)0x1.71547652b82fep0, 0x1.8p23f), k = z - 0x1.8p23f;
  float r = fmaf(k, 2.12194440e-4f, fmaf(k, -.693359375f, x)), q = q_of[4];
  for (int i = 3; i >= 0; i--) q = fmaf(q, r, q_of[i]);
  float y = fmaf(r * r, q, r) + 1;
  uint32_t n, bits;
  memcpy(&n, &z, 4);
  memcpy(&bits, &y, 4);
  bits += n << 23;
  memcpy(&y, &bits, 4);
  return y;
}

static Val real(Ctx *c, Val v, Range where) {
  if (v.kind == K_BOOL) ev_fail(c, where, "a function of reals has a bool");
  return v.kind == K_INT ? ev_to(c, v, K_WEAK) : v;
}

Val ev_sexp(Ctx *c, Val x) {
  if (x.kind != K_F32) c->call->loose = true;
  Val r = {.kind = x.kind, .d = x.kind == K_F32 ? sexp_f32((float)x.d) : exp(x.d)};
  r.node = ev_node(c, x.node, r.d, 0, 0);
  return r;
}

/* --- the list ------------------------------------------------------------------------------------------------------------------------ */

typedef struct Named { const char *name; unsigned arity; } Named;
static const Named functions[] = {
  {"abs", 1}, {"sign", 1}, {"sqrt", 1}, {"exp", 1}, {"exp2", 1}, {"expm1", 1}, {"log", 1}, {"log2", 1}, {"log1p", 1}, {"tanh", 1}, {"sigmoid", 1},
  {"erf", 1}, {"rsqrt", 1}, {"sin", 1}, {"cos", 1}, {"cosh", 1}, {"gelu", 1}, {"silu", 1}, {"softplus", 1}, {"relu", 1}, {"logaddexp", 2},
  {"floor", 1}, {"ceil", 1}, {"round", 1}, {"clamp", 3}, {"lerp", 3}, {"fma", 3}, {"isnan", 1}, {"finite", 1}, {"stop", 1}, {"sexp", 1},
  {"fast_exp", 1}, {"fast_log", 1}, {"fast_tanh", 1}, {"philox", 7}, {"max", 2}, {"min", 2},
};

bool ev_is_function(const char *name) {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (!strcmp(name, functions[i].name)) return true;
  return false;
}

static Val call_smooth(Ctx *c, const char *name, Val x, Range where) {
  const Smooth *s = smooth;
  while (strcmp(s->name, name)) s++;
  if (x.kind == K_INT && s->d == d_none) return x;
  x = real(c, x, where);
  if (x.kind != K_F32 && s->exact) c->call->loose = true;
  Val r = {.kind = x.kind, .d = x.kind == K_F32 ? rounded_once(s, x.d) : s->f(x.d)};
  r.node = ev_node(c, x.node, x.node ? s->d(x.d, r.d) : 0, 0, 0);
  return r;
}

static Val constant(Ctx *c, double d, Val like) { return ev_number(c, like.kind, d); }

static Val exp_of_minus_abs(Ctx *c, Val x, Range where) {
  Val a = ev_neg(c, ev_function(c, "abs", &x, 1, where), where);
  a = call_smooth(c, "exp", a, where);
  return call_smooth(c, "log1p", a, where);
}

static Val clamp(Ctx *c, Val x, Val low, Val high, Range where) {
  Val r = ev_max(c, ev_max(c, x, low, false, where), high, true, where);
  if (r.kind <= K_INT || !c->tape) return r;
  r.node = isnan(x.d) || (ev_double(low) <= x.d && x.d <= ev_double(high)) ? x.node : x.d < ev_double(low) ? (ev_is_real(low) ? low.node : 0) : (ev_is_real(high) ? high.node : 0);
  return r;
}

Val ev_function(Ctx *c, const char *name, Val *v, unsigned n, Range where) {
  const Named *f = functions;
  while (strcmp(f->name, name)) f++;
  if (n != f->arity) ev_fail(c, where, "%s has %u arguments, not %u", name, f->arity, n);
  Val x = v[0];
  if (!strcmp(name, "max") || !strcmp(name, "min")) return ev_max(c, v[0], v[1], name[1] == 'i', where);
  if (!strcmp(name, "clamp")) return clamp(c, v[0], v[1], v[2], where);
  if (!strcmp(name, "philox")) {
    uint32_t counter[4], key[2], out[4];
    for (int i = 0; i < 4; i++) counter[i] = (uint32_t)v[1 + i].i;
    key[0] = (uint32_t)v[5].i;
    key[1] = (uint32_t)v[6].i;
    ev_philox(counter, key, out);
    return ev_int(v[0].i >= 0 && v[0].i < 4 ? out[v[0].i] : 0);
  }
  if (!strcmp(name, "stop")) { x.node = 0; return x; }
  if (x.kind == K_BOOL) ev_fail(c, where, "%s of a bool", name);
  if (!strcmp(name, "isnan")) return ev_bool(x.kind != K_INT && isnan(x.d));
  if (!strcmp(name, "finite")) return ev_bool(x.kind == K_INT || isfinite(x.d));
  if (!strcmp(name, "abs")) {
    if (x.kind == K_INT) return ev_int(x.i < 0 ? (int64_t)(0 - (uint64_t)x.i) : x.i);
    return (Val){.kind = x.kind, .d = fabs(x.d), .node = ev_node(c, x.node, x.d > 0 ? 1 : x.d < 0 ? -1 : 0, 0, 0)};
  }
  if (!strcmp(name, "sign")) return x.kind == K_INT ? ev_int((x.i > 0) - (x.i < 0)) : (Val){.kind = x.kind, .d = x.d > 0 ? 1 : x.d < 0 ? -1 : x.d};
  if (!strcmp(name, "relu")) {
    Val r = ev_max(c, x, x.kind == K_INT ? ev_int(0) : constant(c, 0, x), false, where);
    r.node = ev_node(c, x.node, x.d > 0 ? 1 : 0, 0, 0);
    return r;
  }
  if (!strcmp(name, "fma")) return ev_fma(c, real(c, v[0], where), real(c, v[1], where), real(c, v[2], where));
  if (!strcmp(name, "lerp")) {
    Val d = ev_arith(c, OPER_SUB, v[1], v[0], where);
    return ev_arith(c, OPER_ADD, v[0], ev_arith(c, OPER_MUL, v[2], d, where), where);
  }
  if (!strcmp(name, "logaddexp")) {
    Val m = ev_max(c, v[0], v[1], false, where);
    if (isinf(ev_double(m))) return m;
    return ev_arith(c, OPER_ADD, m, exp_of_minus_abs(c, ev_arith(c, OPER_SUB, v[0], v[1], where), where), where);
  }
  x = real(c, x, where);
  if (!strcmp(name, "silu")) return ev_arith(c, OPER_MUL, x, call_smooth(c, "sigmoid", x, where), where);
  if (!strcmp(name, "softplus")) return ev_arith(c, OPER_ADD, ev_max(c, x, constant(c, 0, x), false, where), exp_of_minus_abs(c, x, where), where);
  if (!strcmp(name, "gelu")) {
    Val e = call_smooth(c, "erf", ev_arith(c, OPER_MUL, x, constant(c, 0.7071067811865476, x), where), where);
    e = ev_arith(c, OPER_MUL, constant(c, .5, x), ev_arith(c, OPER_ADD, constant(c, 1, x), e, where), where);
    return ev_arith(c, OPER_MUL, x, e, where);
  }
  if (!strcmp(name, "sexp")) return ev_sexp(c, x);
  if (!strncmp(name, "fast_", 5)) { c->call->loose = true; return call_smooth(c, name + 5, x, where); }       /* within the published error, not its bits */
  return call_smooth(c, name, x, where);
}

Val ev_convert(Ctx *c, const char *type, Val v, Range where) {
  bool f64 = c->call->f64;
  if (!strcmp(type, "int")) {
    if (v.kind <= K_INT) return ev_int(v.i);
    return ev_int(ev_cut(v.d));
  }
  if (!strcmp(type, "bool")) {
    if (v.kind == K_BOOL) return v;
    ev_fail(c, where, "a number is not a bool");
  }
  if (!strcmp(type, "i32") || !strcmp(type, "i8") || !strcmp(type, "u8")) return ev_int((int64_t)evaluator_round(type, (double)(v.kind <= K_INT ? v.i : ev_cut(v.d))));
  if (v.kind == K_BOOL) ev_fail(c, where, "a bool is not a number");
  if (!strcmp(type, "f64")) return ev_to(c, v, K_F64);
  Val r = ev_to(c, v, f64 ? K_F64 : K_F32);
  if (!strcmp(type, "bf16") || !strcmp(type, "f16")) r.d = evaluator_round(type, r.d);
  return r;
}

/* --- Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011) --------------------------- */

void ev_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t x[4], k0 = key[0], k1 = key[1];
  memcpy(x, counter, sizeof x);
  for (int round = 0; round < 10; round++, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
    uint64_t p = (uint64_t)0xD2511F53 * x[0], q = (uint64_t)0xCD9E8D57 * x[2];
    uint32_t next[4] = {(uint32_t)(q >> 32) ^ x[1] ^ k0, (uint32_t)q, (uint32_t)(p >> 32) ^ x[3] ^ k1, (uint32_t)p};
    memcpy(x, next, sizeof x);
  }
  memcpy(out, x, sizeof x);
}

static void words(Ctx *c, uint64_t element, int64_t stream, unsigned item, uint32_t out[4]) {
  uint32_t counter[4] = {(uint32_t)element, (uint32_t)(element >> 32 & 0xffff) | (uint32_t)stream << 16, (uint32_t)(c->call->first_item + item),
    c->has_t ? (uint32_t)c->call->t : 0};
  ev_philox(counter, (uint32_t[2]){(uint32_t)c->call->seed, (uint32_t)(c->call->seed >> 32)}, out);
}

Val ev_random(Ctx *c, bool normal, uint64_t element, int64_t stream, unsigned item) {
  uint32_t w[4];
  words(c, element, stream, item, w);
  Kind kind = c->call->f64 ? K_F64 : K_F32;
  Val u[2];
  for (int i = 0; i < 2; i++) u[i] = ev_number(c, kind, (double)(w[i] >> 8 | 1) * 0x1p-24);
  if (!normal) return u[0];
  Range none = {0};
  Val r = call_smooth(c, "log", u[0], none), angle = ev_number(c, kind, 2 * M_PI);
  r = call_smooth(c, "sqrt", ev_arith(c, OPER_MUL, ev_number(c, kind, -2), r, none), none);
  return ev_arith(c, OPER_MUL, r, call_smooth(c, "cos", ev_arith(c, OPER_MUL, angle, u[1], none), none), none);
}

/* --- storage ------------------------------------------------------------------------------------------------------------------------------ */

static double to_bf16(double d) {
  float f = (float)d;
  uint32_t bits;
  if (isnan(f)) return NAN;
  memcpy(&bits, &f, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  memcpy(&f, &bits, 4);
  return f;
}

static double to_f16(double d) {
  float f = (float)d, a = fabsf(f);
  if (!isfinite(f)) return f;
  int e;
  frexpf(a, &e);
  double step = ldexp(1, (e < -13 ? -13 : e) - 11), r = nearbyint(a / step) * step;
  if (r > 65504) r = INFINITY;
  return copysign(r, f);
}

double evaluator_round(const char *type, double v) {
  if (!type || !strcmp(type, "f64") || !strcmp(type, "int")) return v;
  if (!strcmp(type, "f32")) return (double)(float)v;
  if (!strcmp(type, "bf16")) return to_bf16(v);
  if (!strcmp(type, "f16")) return to_f16(v);
  if (!strcmp(type, "bool")) return v != 0;
  if (!strcmp(type, "i32")) return (int32_t)(uint32_t)(uint64_t)ev_cut(v);
  if (!strcmp(type, "i8")) return (int8_t)(uint8_t)(uint64_t)ev_cut(v);
  if (!strcmp(type, "u8")) return (uint8_t)(uint64_t)ev_cut(v);
  return v;
}

/* Away from zero where the random 16 bits are below the bits that are dropped. */
static double stochastic(const char *type, double v, uint32_t random) {
  float f = (float)v;
  uint32_t bits;
  if (!isfinite(f)) return f;
  memcpy(&bits, &f, 4);
  if (!strcmp(type, "bf16")) {
    bits = (bits & 0xffff0000u) + (random < (bits & 0xffff) ? 0x10000u : 0);
    memcpy(&f, &bits, 4);
    return f;
  }
  double a = fabs((double)f);
  int e;
  frexp(a, &e);
  double step = ldexp(1, (e < -13 ? -13 : e) - 11), low = floor(a / step), rest = a / step - low;
  double r = (low + (random < (uint32_t)(rest * 65536) ? 1 : 0)) * step;
  return copysign(r > 65504 ? INFINITY : r, f);
}

double ev_store(Ctx *c, const Storage *s, double v, uint32_t random) {
  const char *type = s->type ? s->type : "f32";
  if (c->call->f64 && !strcmp(type, "f32")) return v;
  if (s->stochastic) return stochastic(type, v, random);
  v = evaluator_round(type, v);
  return s->flush && fabs(v) < 0x1p-126 ? copysign(0, v) : v;
}
