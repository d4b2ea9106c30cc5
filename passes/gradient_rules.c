/* gradient_rules.c: what an operation gives to its arguments, for the adjoint of its value (language reference, section 6).
 *
 * Most element operations and functions are a row of the table: the derivative by an argument, which multiplies the adjoint, or a divisor. One that
 * is constant between its steps says so; an operation of numbers without a row is refused. */
#include <math.h>
#include "passes/expand.h"
#include "passes/gradient.h"

typedef const Node *(*Derivative)(Gradient *, const Node *n, unsigned k);
typedef void (*Rule)(Gradient *, const Node *n, const Node *adjoint);

#define FN(op, x) graph_op1(g, OP_##op, x)
#define ARG(k) (n->args[k])
/* A derivative: x, y are the first two arguments. */
#define DERIVATIVE(name) static const Node *name(Gradient *G, const Node *n, unsigned k)
#define WORDS Graph *g = G->g; const Type type = (Type)n->type; const Node *x = ARG(0), *y = n->n_args > 1 ? ARG(1) : NULL; (void)g; (void)type; (void)x; (void)y

/* --- products with an adjoint: where it is 0 the product is 0, whatever the derivative ------------------------------------------------------------- */

/* Neither infinite nor NaN. */
static bool is_finite(const Node *d) {
  if (d->op == OP_CONST) return type_kind((Type)d->type) != KIND_FLOAT || isfinite(bits_to_f64((Bits)d->imm, (Type)d->type));
  if (d->op == OP_SELECT) return is_finite(d->args[1]) && is_finite(d->args[2]);
  if (d->op == OP_NEG || (d->op == OP_MAP && d->n_args == 1)) return is_finite(d->args[0]);
  return d->op == OP_CAST && type_kind((Type)d->args[0]->type) != KIND_FLOAT;
}

static const Node *unless_zero(Graph *g, const Node *adjoint, const Node *product) {
  const Node *zero = graph_const(g, (Type)adjoint->type, 0);
  return SELECT(EQ(adjoint, zero), zero, product);
}

/* A derivative chosen by a condition chooses what is given: 0 is no share, of whatever adjoint. */
const Node *gradient_times(Gradient *G, const Node *adjoint, const Node *d) {
  Graph *g = G->g;
  if (d->op == OP_SELECT && is_finite(d)) return SELECT(d->args[0], gradient_times(G, adjoint, d->args[1]), gradient_times(G, adjoint, d->args[2]));
  double value = d->op == OP_CONST ? bits_to_f64((Bits)d->imm, (Type)d->type) : 2;
  if (value == 0) return graph_const(g, (Type)d->type, 0);
  if (value == 1 || value == -1) return value < 0 ? NEG(adjoint) : adjoint;
  const Node *product = MUL(adjoint, d);
  return is_finite(d) ? product : unless_zero(g, adjoint, product);
}

const Node *gradient_over(Gradient *G, const Node *adjoint, const Node *d) {
  Graph *g = G->g;
  return unless_zero(g, adjoint, DIV(adjoint, d));
}

const Node *gradient_sum(Gradient *G, const Node *n, unsigned axes) {
  unsigned keep[GRADIENT_AXES];
  if (!axes) return n;
  for (unsigned k = 0; k < n->space->rank; k++) keep[k] = k;
  return graph_node(G->g, OP_REDUCE, (Type)n->type, gradient_space(G, n->space, n->space->rank - axes, keep), axes, REDUCE_SUM | ORDER_LANES << 8, 1, &n);
}

/* To an argument of an element operation: a number that met a tensor gets the sum over the positions. */
static void give(Gradient *G, const Node *n, unsigned k, const Node *share) {
  if (n->space->rank && !ARG(k)->space->rank) share = gradient_sum(G, gradient_spread(G, share, n->space), n->space->rank);
  gradient_give(G, ARG(k), share);
}

/* --- derivatives ------------------------------------------------------------------------------------------------------------------------------- */

DERIVATIVE(by_other) { return ARG(1 - k); }
DERIVATIVE(by_fma) { return ARG(1 - k); }
DERIVATIVE(by_itself) { return n; }
DERIVATIVE(by_argument) { return ARG(0); }
DERIVATIVE(by_abs) { WORDS; return SELECT(GT(x, REAL(0)), REAL(1), SELECT(LT(x, REAL(0)), REAL(-1), REAL(0))); }
DERIVATIVE(by_relu) { WORDS; return SELECT(GT(x, REAL(0)), REAL(1), REAL(0)); }
DERIVATIVE(by_max) { WORDS; return SELECT(GT(ARG(k), ARG(1 - k)), REAL(1), SELECT(EQ(x, y), REAL(0.5), REAL(0))); }
DERIVATIVE(by_min) { WORDS; return SELECT(LT(ARG(k), ARG(1 - k)), REAL(1), SELECT(EQ(x, y), REAL(0.5), REAL(0))); }
DERIVATIVE(by_exp2) { WORDS; return MUL(n, REAL(0.69314718055994531)); }
DERIVATIVE(by_expm1) { WORDS; return ADD(n, REAL(1)); }
DERIVATIVE(over_sqrt) { WORDS; return ADD(n, n); }
DERIVATIVE(over_log2) { WORDS; return MUL(x, REAL(0.69314718055994531)); }
DERIVATIVE(over_log1p) { WORDS; return ADD(x, REAL(1)); }
DERIVATIVE(by_tanh) { WORDS; return SUB(REAL(1), MUL(n, n)); }
DERIVATIVE(by_sigmoid) { WORDS; return MUL(n, SUB(REAL(1), n)); }
DERIVATIVE(by_erf) { WORDS; return MUL(REAL(1.1283791670955126), FN(EXP, NEG(MUL(x, x)))); }
DERIVATIVE(by_rsqrt) { WORDS; return MUL(REAL(-0.5), DIV(n, x)); }
DERIVATIVE(by_sin) { WORDS; return FN(COS, x); }
DERIVATIVE(by_cos) { WORDS; return NEG(FN(SIN, x)); }
DERIVATIVE(by_softplus) { WORDS; return FN(SIGMOID, x); }

/* x for -inf <= x: inside [lo, hi], both bounds included. By a bound: where it is the value. */
DERIVATIVE(by_clamp) {
  WORDS;
  const Node *lo = ARG(1), *hi = ARG(2);
  const Node *c = k == 0 ? AND(LE(lo, x), LE(x, hi)) : k == 1 ? AND(LT(x, lo), LE(lo, hi)) : OR(LT(hi, x), LT(hi, lo));
  return SELECT(c, REAL(1), REAL(0));
}

/* sinh(x), by e = exp(|x|) - 1: (e + e/(e + 1))/2 with the sign of x. */
DERIVATIVE(by_cosh) {
  WORDS;
  const Node *e = FN(EXPM1, ABS(x)), *s = MUL(REAL(0.5), ADD(e, SELECT(LT(e, REAL(INFINITY)), DIV(e, ADD(e, REAL(1))), REAL(1))));
  return SELECT(LT(x, REAL(0)), NEG(s), s);
}

DERIVATIVE(by_silu) {
  WORDS;
  const Node *s = FN(SIGMOID, x);
  return MUL(s, ADD(REAL(1), MUL(x, SUB(REAL(1), s))));
}

/* Distribution function + x*density. */
DERIVATIVE(by_gelu) {
  WORDS;
  const Node *below = MUL(REAL(0.5), ADD(REAL(1), FN(ERF, MUL(x, REAL(0.70710678118654752)))));
  return ADD(below, MUL(x, MUL(REAL(0.39894228040143268), FN(EXP, MUL(REAL(-0.5), MUL(x, x))))));
}

/* The share of one of two terms, half each where they are equal (both infinite: their difference is no number). */
DERIVATIVE(by_logaddexp) { WORDS; return SELECT(EQ(x, y), REAL(0.5), FN(SIGMOID, SUB(ARG(k), ARG(1 - k)))); }

/* n*x^(n - 1); 0 for n = 0. */
DERIVATIVE(by_powi) {
  WORDS;
  const Node *less = SUB(y, I(1)), *p = graph_element(g, OP_POWI, type, 2, (const Node *const[]){x, less});
  return SELECT(EQ(y, I(0)), REAL(0), MUL(TO(type, y), p));
}

/* y*x^(y - 1); x^y*log(x), 0 where the power is. */
DERIVATIVE(by_pow) {
  WORDS;
  if (k == 0) return SELECT(EQ(y, REAL(0)), REAL(0), MUL(y, graph_op2(g, OP_POW, x, SUB(y, REAL(1)))));
  return SELECT(EQ(n, REAL(0)), REAL(0), MUL(n, FN(LOG, x)));
}

/* --- operations that give in their own way --------------------------------------------------------------------------------------------------------- */

static void of_add(Gradient *G, const Node *n, const Node *a) {
  for (unsigned k = 0; k < 2; k++) if (gradient_wants(G, ARG(k))) give(G, n, k, a);
}

static void of_sub(Gradient *G, const Node *n, const Node *a) {
  if (gradient_wants(G, ARG(0))) give(G, n, 0, a);
  if (gradient_wants(G, ARG(1))) give(G, n, 1, graph_op1(G->g, OP_NEG, a));
}

static void of_neg(Gradient *G, const Node *n, const Node *a) { give(G, n, 0, graph_op1(G->g, OP_NEG, a)); }

static void of_div(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  if (gradient_wants(G, ARG(0))) give(G, n, 0, gradient_over(G, a, ARG(1)));
  if (gradient_wants(G, ARG(1))) give(G, n, 1, NEG(gradient_over(G, gradient_times(G, a, n), ARG(1))));
}

static void of_fma(Gradient *G, const Node *n, const Node *a) {
  for (unsigned k = 0; k < 2; k++) if (gradient_wants(G, ARG(k))) give(G, n, k, gradient_times(G, a, by_fma(G, n, k)));
  if (gradient_wants(G, ARG(2))) give(G, n, 2, a);
}

static void of_cast(Gradient *G, const Node *n, const Node *a) { give(G, n, 0, graph_cast(G->g, (Type)ARG(0)->type, a)); }

static void of_select(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  const Node *zero = graph_const(g, (Type)n->type, 0);
  if (gradient_wants(G, ARG(1))) give(G, n, 1, SELECT(ARG(0), a, zero));
  if (gradient_wants(G, ARG(2))) give(G, n, 2, SELECT(ARG(0), zero, a));
}

/* Whether the value is a sum of squares, perhaps divided by their number, in another type: below a root it is a norm, which has derivative 0 at 0. */
static bool sum_of_squares(const Node *n) {
  while (n->op == OP_CAST || (n->op == OP_DIV && !n->args[1]->space->rank) || n->op == OP_TOTAL || (n->op == OP_MAP && n->args[0]->space->rank)) n = n->args[0];
  return n->op == OP_REDUCE && (n->aux & 255) == REDUCE_SUM && n->args[0]->op == OP_MUL && n->args[0]->args[0] == n->args[0]->args[1];
}

static void of_sqrt(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  const Node *zero = graph_const(g, (Type)n->type, 0), *share = gradient_over(G, a, over_sqrt(G, n, 0));
  give(G, n, 0, sum_of_squares(ARG(0)) ? SELECT(EQ(ARG(0), zero), zero, share) : share);
}

/* --- elements read and written at positions ---------------------------------------------------------------------------------------------------------- */

/* Adjoints over n's space to the elements of `to` at the given positions: first summed over the axes that no position depends on, then moved where every
 * position is an index of its own, else scattered in order. */
static void give_at(Gradient *G, const Node *n, const Node *to, const Node *a, unsigned count, const Node *const *index) {
  const Space *s = n->space;
  unsigned mask = 0, order[GRADIENT_AXES], used = 0, all = 0;
  const Node *here[GRADIENT_AXES], *back[GRADIENT_AXES] = {0};
  a = gradient_spread(G, a, s);
  for (unsigned k = 0; k < count; k++) mask |= gradient_axes(G, index[k]);
  for (unsigned k = 0; k < s->rank; k++) if (mask >> k & 1) order[used++] = k;
  all = used;
  for (unsigned k = 0; k < s->rank; k++) if (!(mask >> k & 1)) order[all++] = k;
  if (used < s->rank) {
    const Space *sorted = gradient_space(G, s, all, order);
    for (unsigned k = 0; k < all; k++) here[order[k]] = gradient_index(G, sorted, k);
    a = gradient_sum(G, gradient_spread(G, gradient_move(G, a, sorted, here), sorted), all - used);
    s = gradient_space(G, s, used, order);
  }
  bool moved = count == used, equal = true;
  for (unsigned k = 0; k < count; k++) {
    here[k] = used < n->space->rank ? gradient_project(G, index[k], used, order) : index[k];
    bool own = here[k]->op == OP_INDEX && here[k]->space == s && !back[here[k]->imm];
    moved &= own;
    if (!own) continue;
    back[here[k]->imm] = to->space->rank ? gradient_index(G, to->space, k) : NULL;
    equal &= s->extent[here[k]->imm] == to->space->extent[k];
  }
  if (!moved) gradient_scatter(G, to, a, count, here);
  else gradient_give(G, to, !count ? a : equal ? gradient_move(G, a, to->space, back) : gradient_at(G, a, to->space, count, back));
}

static void of_map(Gradient *G, const Node *n, const Node *a) { give_at(G, n, ARG(0), a, n->n_args - 1, n->args + 1); }

static void of_read(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  const Node *leaf = G->leaf[n->imm], *own[GRADIENT_AXES];
  unsigned guard = n->aux == 1, count = n->n_args - guard;
  if (n == leaf) return;
  if (guard) a = SELECT(ARG(count), a, graph_const(g, (Type)n->type, 0));
  if (!count && n->space == leaf->space) { gradient_give(G, leaf, a); return; }
  for (unsigned k = 0; !count && k < n->space->rank; k++) own[k] = gradient_index(G, n->space, k);
  give_at(G, n, leaf, a, count ? count : n->space->rank, count ? n->args : own);
}

/* Whether no two positions of the value's space have the same indices. */
static bool all_differ(const Node *value, unsigned n, const Node *const *index) {
  unsigned seen = 0;
  for (unsigned k = 0; k < n; k++) if (index[k]->op == OP_INDEX && index[k]->space == value->space) seen |= 1u << index[k]->imm;
  return seen == (1u << value->space->rank) - 1;
}

static void of_scatter(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  const Node *base = ARG(0), *value = ARG(1), *zero = graph_const(g, (Type)n->type, 0), *const *index = n->args + 2;
  const Space *s = value->space;
  unsigned axes = n->n_args - 2;
  bool add = n->aux == 1;
  a = gradient_spread(G, a, n->space);
  if (gradient_wants(G, base)) {
    const Node *args[GRADIENT_AXES + 2] = {a, gradient_spread(G, zero, s)};
    for (unsigned k = 0; k < axes; k++) args[k + 2] = index[k];
    gradient_give(G, base, add ? a : graph_node(g, OP_SCATTER, (Type)n->type, n->space, 0, 0, n->n_args, args));
  }
  if (!gradient_wants(G, value)) return;
  const Node *share = gradient_at(G, a, s, axes, index);
  if (!add && !all_differ(value, axes, index)) {                          /* the later source wins */
    const Node *place = I(0), *args[GRADIENT_AXES + 2];
    for (unsigned k = 0; k < s->rank; k++) place = ADD(MUL(place, s->extent[k]), gradient_index(G, s, k));
    args[0] = gradient_spread(G, I(-1), n->space);
    args[1] = gradient_spread(G, place, s);
    for (unsigned k = 0; k < axes; k++) args[k + 2] = index[k];
    const Node *last = gradient_at(G, graph_node(g, OP_SCATTER, TYPE_I64, n->space, 0, 0, n->n_args, args), s, axes, index);
    share = SELECT(EQ(last, place), share, zero);
  }
  gradient_give(G, value, share);
}

/* An extreme goes in equal shares to the items that have it; prod is not taken over items, the others are no reals. */
static void of_total(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  const Type type = (Type)n->type;
  if ((n->aux & 255) != REDUCE_SUM) {
    const Node *best = EQ(ARG(0), n), *one = SELECT(best, REAL(1), REAL(0));
    const Node *how_many = graph_node(g, OP_TOTAL, type, graph_scalar_space(g), 0, REDUCE_SUM, 1, &one);
    a = SELECT(best, gradient_over(G, a, how_many), REAL(0));
  }
  gradient_give(G, ARG(0), a);
}

static void of_matrix(Gradient *G, const Node *n, const Node *a) { gradient_refuse(G, n, n->op == OP_QR ? "qr" : "eigvec"); }

/* --- the table -------------------------------------------------------------------------------------------------------------------------------- */

static const struct { Derivative by, over; Rule rule; bool constant; } table[OP_COUNT] = {
  [OP_ADD] = {.rule = of_add}, [OP_SUB] = {.rule = of_sub}, [OP_NEG] = {.rule = of_neg}, [OP_MUL] = {.by = by_other}, [OP_DIV] = {.rule = of_div},
  [OP_ABS] = {.by = by_abs}, [OP_SQRT] = {.rule = of_sqrt}, [OP_FMA] = {.rule = of_fma}, [OP_SELECT] = {.rule = of_select}, [OP_CAST] = {.rule = of_cast},
  [OP_MAX] = {.by = by_max}, [OP_MIN] = {.by = by_min}, [OP_CLAMP] = {.by = by_clamp}, [OP_RELU] = {.by = by_relu},
  [OP_POWI] = {.by = by_powi}, [OP_POW] = {.by = by_pow},
  [OP_EXP] = {.by = by_itself}, [OP_SEXP] = {.by = by_itself}, [OP_FAST_EXP] = {.by = by_itself}, [OP_EXP2] = {.by = by_exp2}, [OP_EXPM1] = {.by = by_expm1},
  [OP_LOG] = {.over = by_argument}, [OP_FAST_LOG] = {.over = by_argument}, [OP_LOG2] = {.over = over_log2}, [OP_LOG1P] = {.over = over_log1p},
  [OP_TANH] = {.by = by_tanh}, [OP_FAST_TANH] = {.by = by_tanh}, [OP_SIGMOID] = {.by = by_sigmoid}, [OP_ERF] = {.by = by_erf}, [OP_RSQRT] = {.by = by_rsqrt},
  [OP_SIN] = {.by = by_sin}, [OP_COS] = {.by = by_cos}, [OP_COSH] = {.by = by_cosh}, [OP_SILU] = {.by = by_silu}, [OP_GELU] = {.by = by_gelu},
  [OP_SOFTPLUS] = {.by = by_softplus}, [OP_LOGADDEXP] = {.by = by_logaddexp},
  [OP_READ] = {.rule = of_read}, [OP_MAP] = {.rule = of_map}, [OP_SCATTER] = {.rule = of_scatter}, [OP_TOTAL] = {.rule = of_total},
  [OP_REDUCE] = {.rule = gradient_of_reduce}, [OP_CONTRACT] = {.rule = gradient_of_contract}, [OP_ATTEND] = {.rule = gradient_of_attend},
  [OP_SOFTMAX] = {.rule = gradient_of_softmax}, [OP_CUMULATE] = {.rule = gradient_of_cumulate}, [OP_EIGVEC] = {.rule = of_matrix}, [OP_QR] = {.rule = of_matrix},
  [OP_FLOOR] = {.constant = true}, [OP_CEIL] = {.constant = true}, [OP_TRUNC] = {.constant = true}, [OP_RINT] = {.constant = true}, [OP_SIGN] = {.constant = true},
  [OP_STOP] = {.constant = true},
};

bool gradient_is_constant(Op op) { return table[op].constant; }

void gradient_of(Gradient *G, const Node *n, const Node *adjoint) {
  if (table[n->op].rule) { table[n->op].rule(G, n, adjoint); return; }
  if (!table[n->op].by && !table[n->op].over) { gradient_refuse(G, n, op_name((Op)n->op)); return; }
  for (unsigned k = 0; k < n->n_args; k++) {
    if (!gradient_wants(G, ARG(k))) continue;
    if (table[n->op].by) give(G, n, k, gradient_times(G, adjoint, table[n->op].by(G, n, k)));
    else give(G, n, k, gradient_over(G, adjoint, table[n->op].over(G, n, k)));
  }
}
