/* number.c: arithmetic on numbers of the five kinds, one rounding an operation, with derivatives on a tape if there is one. */
#include <math.h>
#include "internal.h"

uint32_t ev_node(Ctx *c, uint32_t a, double da, uint32_t b, double db) {
  if (!c->tape || (!a && !b)) return 0;
  Tape *t = c->tape;
  if (!t->n) t->n = 1;
  t->at = arena_grow(c->arena, t->at, &t->capacity, (size_t)t->n + 1, sizeof *t->at);
  t->at[t->n] = (struct TapeNode){a, b, da, db};
  return t->n++;
}

Kind ev_join(Ctx *c, Kind a, Kind b, Range where) {
  if (a == b) return a;
  if (a == K_BOOL || b == K_BOOL) ev_fail(c, where, "a bool meets a number");
  return a > b ? a : b;
}

double ev_double(Val v) { return v.kind <= K_INT ? (double)v.i : v.d; }

int64_t ev_cut(double d) {
  if (isnan(d)) return 0;
  if (d >= 0x1p63) return INT64_MAX;
  if (d <= -0x1p63) return INT64_MIN;
  return (int64_t)d;
}

Val ev_number(Ctx *c, Kind kind, double d) { return (Val){.kind = kind, .d = kind == K_F32 ? (double)(float)d : d}; }

Val ev_to(Ctx *c, Val v, Kind kind) {
  if (v.kind == kind) return v;
  if (kind <= K_INT) return (Val){.kind = kind, .i = v.kind <= K_INT ? v.i : ev_cut(v.d)};
  Val r = {.kind = kind, .node = v.kind <= K_INT ? 0 : v.node};
  if (v.kind <= K_INT) r.d = kind == K_F32 ? (double)(float)v.i : (double)v.i;
  else r.d = kind == K_F32 ? (double)(float)v.d : v.d;
  return r;
}

Val ev_zero(Ctx *c, Kind kind) { return kind <= K_INT ? (Val){.kind = kind, .i = 0} : (Val){.kind = kind, .d = 0}; }

static int64_t floor_div(int64_t a, int64_t b) {
  if (!b) return 0;
  if (b == -1) return (int64_t)(0 - (uint64_t)a);
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t floor_mod(int64_t a, int64_t b) {
  if (!b || b == -1) return 0;
  int64_t r = a % b;
  return r && (r < 0) != (b < 0) ? r + b : r;
}

static Val integers(Ctx *c, Oper op, int64_t a, int64_t b, Range where) {
  uint64_t x = (uint64_t)a, y = (uint64_t)b;
  bool fits = b >= 0 && b < 64;
  switch (op) {
    case OPER_ADD: return ev_int((int64_t)(x + y));
    case OPER_SUB: return ev_int((int64_t)(x - y));
    case OPER_MUL: return ev_int((int64_t)(x * y));
    case OPER_IDIV: return ev_int(floor_div(a, b));
    case OPER_MOD: return ev_int(floor_mod(a, b));
    case OPER_BAND: return ev_int(a & b);
    case OPER_BOR: return ev_int(a | b);
    case OPER_SHL: return ev_int(fits ? (int64_t)(x << b) : 0);
    case OPER_SHR: return ev_int(fits ? a >> b : 0);
    default: ev_fail(c, where, "no such operation on integers");
  }
}

Val ev_arith(Ctx *c, Oper op, Val a, Val b, Range where) {
  Kind kind = ev_join(c, a.kind, b.kind, where);
  if (kind == K_BOOL) {
    if (op == OPER_BAND || op == OPER_BOR) return ev_bool(op == OPER_BAND ? a.i & b.i : a.i | b.i);
    ev_fail(c, where, "arithmetic on a bool");
  }
  if (kind == K_INT) {
    if (op != OPER_DIV) return integers(c, op, a.i, b.i, where);
    kind = K_WEAK;
  }
  a = ev_to(c, a, kind);
  b = ev_to(c, b, kind);
  Val r = {.kind = kind};
  double da = 0, db = 0;
  switch (op) {
    case OPER_ADD: r.d = a.d + b.d; da = db = 1; break;
    case OPER_SUB: r.d = a.d - b.d; da = 1; db = -1; break;
    case OPER_MUL: r.d = a.d * b.d; da = b.d; db = a.d; break;
    case OPER_DIV: r.d = a.d / b.d; da = 1 / b.d; db = -a.d / b.d / b.d; break;
    default: ev_fail(c, where, "no such operation on reals");
  }
  /* f64 operations on widened f32 operands, rounded once more, are right for + - * / (Figueroa 1995: 53 >= 2*24 + 2). */
  if (kind == K_F32) r.d = (double)(float)r.d;
  r.node = ev_node(c, a.node, da, b.node, db);
  return r;
}

Val ev_fma(Ctx *c, Val a, Val b, Val s) {
  Kind kind = a.kind > b.kind ? a.kind : b.kind;
  if (s.kind > kind) kind = s.kind;
  if (kind != K_F32) return ev_arith(c, OPER_ADD, ev_arith(c, OPER_MUL, a, b, (Range){0}), s, (Range){0});
  a = ev_to(c, a, kind);
  b = ev_to(c, b, kind);
  s = ev_to(c, s, kind);
  Val r = {.kind = kind, .d = fmaf((float)a.d, (float)b.d, (float)s.d)};
  r.node = ev_node(c, ev_node(c, a.node, b.d, b.node, a.d), 1, s.node, 1);
  return r;
}

Val ev_neg(Ctx *c, Val a, Range where) {
  if (a.kind == K_BOOL) ev_fail(c, where, "'-' on a bool");
  if (a.kind == K_INT) return ev_int((int64_t)(0 - (uint64_t)a.i));
  return (Val){.kind = a.kind, .d = -a.d, .node = ev_node(c, a.node, -1, 0, 0)};
}

bool ev_compare(Ctx *c, Oper op, Val a, Val b, Range where) {
  Kind kind = ev_join(c, a.kind, b.kind, where);
  a = ev_to(c, a, kind);
  b = ev_to(c, b, kind);
#define COMPARE(x, y) (op == OPER_LT ? x < y : op == OPER_LE ? x <= y : op == OPER_GT ? x > y : op == OPER_GE ? x >= y : op == OPER_EQ ? x == y : x != y)
  return kind <= K_INT ? COMPARE(a.i, b.i) : COMPARE(a.d, b.d);
#undef COMPARE
}

/* The larger (min: the smaller): nan if one is nan, -0 below +0; at a tie each has half of the derivative. */
Val ev_max(Ctx *c, Val a, Val b, bool min, Range where) {
  Kind kind = ev_join(c, a.kind, b.kind, where);
  a = ev_to(c, a, kind);
  b = ev_to(c, b, kind);
  if (kind <= K_INT) return min == (a.i < b.i) ? a : b;
  Val r = {.kind = kind};
  if (isnan(a.d) || isnan(b.d)) r.d = NAN;
  else if (a.d == b.d) r.d = (signbit(a.d) != 0) == min ? a.d : b.d;
  else r.d = min == (a.d < b.d) ? a.d : b.d;
  double share = a.d == b.d ? .5 : min == (a.d < b.d) ? 1 : 0;
  r.node = ev_node(c, a.node, share, b.node, 1 - share);
  return r;
}

/* Binary powering from the top bit; negative: 1/(x^-n). */
Val ev_power_int(Ctx *c, Val x, int64_t n, Range where) {
  if (x.kind == K_INT && n < 0) x = ev_to(c, x, K_WEAK);
  if (x.kind == K_BOOL) ev_fail(c, where, "a power of a bool");
  Val one = x.kind == K_INT ? ev_int(1) : ev_number(c, x.kind, 1);
  uint64_t m = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
  if (!m) return one;
  int bit = 63 - __builtin_clzll(m);
  Val r = x;
  while (bit--) {
    r = ev_arith(c, OPER_MUL, r, r, where);
    if (m >> bit & 1) r = ev_arith(c, OPER_MUL, r, x, where);
  }
  return n < 0 ? ev_arith(c, OPER_DIV, one, r, where) : r;
}

/* Every power but a literal integer one: an integer exponent of an f64 (or integer) base is powering too. */
Val ev_power(Ctx *c, Val a, Val b, Range where) {
  if (b.kind == K_INT && (a.kind == K_WEAK || a.kind == K_F64)) return ev_power_int(c, a, b.i, where);
  if (b.kind == K_INT && a.kind == K_INT) return ev_power_int(c, ev_to(c, a, K_WEAK), b.i, where);
  Kind kind = ev_join(c, a.kind, b.kind, where);
  if (kind <= K_INT) kind = K_WEAK;
  a = ev_to(c, a, kind);
  b = ev_to(c, b, kind);
  c->call->loose = true;
  Val r = ev_number(c, kind, pow(a.d, b.d));
  r.node = ev_node(c, a.node, b.d == 0 ? 0 : b.d * pow(a.d, b.d - 1), b.node, a.d > 0 ? r.d * log(a.d) : 0);
  return r;
}
