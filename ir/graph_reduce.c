/* graph_reduce.c: the orders of reduction (language reference, section 5), by element operations alone. */
#include "ir/graph_reduce.h"

const char *const reduce_names[] = {"sum", "prod", "max", "min", "any", "every", "argmax", "argmin", "logsumexp", NULL};

static Bits pair(Element e, Type t, Bits a, Bits b) { return element_eval(e, t, t, (const Bits[3]){a, b}); }
static bool compare(Element e, Type t, Bits a, Bits b) { return element_eval(e, TYPE_BOOL, t, (const Bits[3]){a, b}) & 1; }
static bool is_nan(Type t, Bits x) { return type_kind(t) == KIND_FLOAT && compare(ELEMENT_NE, t, x, x); }
static bool is_negative(Type t, Bits x) { return x >> (type_bits(t) - 1) & 1; }

Bits reduce_identity(ReduceKind kind, Type t) {
  bool floating = type_kind(t) == KIND_FLOAT;
  Bits least = (Bits)1 << (type_bits(t) - 1);
  switch (kind) {
    case REDUCE_PROD: return floating ? bits_from_f64(1, t) : 1;
    case REDUCE_MAX: return floating ? bits_from_f64(-__builtin_inf(), t) : least;
    case REDUCE_MIN: return floating ? bits_from_f64(__builtin_inf(), t) : least - 1;
    case REDUCE_EVERY: return 1;
    case REDUCE_ARGMAX: case REDUCE_ARGMIN: return (Bits)-1;
    default: return 0;
  }
}

Bits reduce_pair(ReduceKind kind, Type t, Bits a, Bits b) {
  switch (kind) {
    case REDUCE_SUM: return pair(ELEMENT_ADD, t, a, b);
    case REDUCE_PROD: return pair(ELEMENT_MUL, t, a, b);
    case REDUCE_ANY: return a | b;
    case REDUCE_EVERY: return a & b;
    default: break;
  }
  if (is_nan(t, a)) return a;
  if (is_nan(t, b)) return b;
  bool greater = compare(ELEMENT_GT, t, a, b) || (compare(ELEMENT_EQ, t, a, b) && is_negative(t, b));    /* -0 below +0 */
  return greater == (kind == REDUCE_MAX) ? a : b;
}

/* The 16 lanes: (l, l+8), (l, l+4), (l, l+2), (l, l+1). */
static Bits fold_lanes(Reducer *r) {
  for (unsigned half = LANES_COUNT / 2; half; half /= 2)
    for (unsigned l = 0; l < half; l++) r->lane[l] = reduce_pair(r->kind, r->type, r->lane[l], r->lane[l + half]);
  return r->lane[0];
}

static void clear_lanes(Reducer *r) {
  Bits identity = reduce_identity(r->kind, r->type);
  for (unsigned l = 0; l < LANES_COUNT; l++) r->lane[l] = identity;
  r->in_block = 0;
}

/* A complete block joins its left neighbours as carries of a binary counter do: pairs of neighbours at every level. */
static void close_block(Reducer *r) {
  Bits x = fold_lanes(r);
  clear_lanes(r);
  for (uint64_t n = r->blocks++; n & 1; n >>= 1) x = reduce_pair(r->kind, r->type, r->stack[--r->n_stack], x);
  r->stack[r->n_stack++] = x;
}

void reducer_start(Reducer *r, Type type, ReduceKind kind, ReduceOrder order) {
  *r = (Reducer){.type = type, .kind = kind, .order = order, .best = -1};
  r->acc = reduce_identity(kind, type);
  clear_lanes(r);
}

/* The first extreme element, where a NaN is the most extreme. */
static void feed_arg(Reducer *r, const Bits *x, size_t step, size_t n) {
  Element better = r->kind == REDUCE_ARGMAX ? ELEMENT_GT : ELEMENT_LT;
  for (size_t i = 0; i < n; i++, r->seen++) {
    Bits v = x[i * step];
    if (r->best >= 0 && (is_nan(r->type, r->acc) || !(is_nan(r->type, v) || compare(better, r->type, v, r->acc)))) continue;
    r->acc = v;
    r->best = r->seen;
  }
}

static void feed_lanes(Reducer *r, const Bits *x, size_t step, size_t n) {
  Element e = r->kind == REDUCE_SUM ? ELEMENT_ADD : ELEMENT_MUL;
  while (n) {
    size_t lane = r->in_block % LANES_COUNT, take = LANES_COUNT - lane < n ? LANES_COUNT - lane : n;
    element_run(e, r->type, r->type, take, r->lane + lane, (const Bits *const[]){r->lane + lane, x}, (const size_t[]){1, step});
    x += take * step;
    n -= take;
    r->in_block += (unsigned)take;
    if (r->in_block == LANES_BLOCK) close_block(r);
  }
}

void reducer_feed(Reducer *r, const Bits *x, size_t step, size_t n) {
  bool lanes = (r->kind == REDUCE_SUM || r->kind == REDUCE_PROD) && r->order == ORDER_LANES;
  if (r->kind == REDUCE_ARGMAX || r->kind == REDUCE_ARGMIN) feed_arg(r, x, step, n);
  else if (lanes) feed_lanes(r, x, step, n);
  else for (size_t i = 0; i < n; i++) r->acc = reduce_pair(r->kind, r->type, r->acc, x[i * step]);
}

Bits reducer_result(Reducer *r) {
  if (r->kind == REDUCE_ARGMAX || r->kind == REDUCE_ARGMIN) return (Bits)r->best;
  if ((r->kind != REDUCE_SUM && r->kind != REDUCE_PROD) || r->order != ORDER_LANES) return r->acc;
  if (!r->in_block && !r->n_stack) return r->acc;
  Bits x = r->in_block ? fold_lanes(r) : r->stack[--r->n_stack];              /* an odd one is carried up */
  while (r->n_stack) x = reduce_pair(r->kind, r->type, r->stack[--r->n_stack], x);
  return x;
}

/* --- contraction ------------------------------------------------------------------------------------------------------------------- */

void contractor_start(Contractor *c, Type type) { *c = (Contractor){.type = type}; }

static void close_chain(Contractor *c) {
  c->total = pair(ELEMENT_ADD, c->type, c->total, c->acc);
  c->acc = 0;
  c->in_block = 0;
}

void contractor_feed(Contractor *c, const Bits *a, size_t a_step, const Bits *b, size_t b_step, const Bits *out, size_t n) {
  for (size_t i = 0; i < n; i++) {
    Bits x[3] = {a[i * a_step], b[i * b_step], c->acc};
    if (out && out[i]) {}
    else if (c->type == TYPE_F32) c->acc = element_eval(ELEMENT_FMA, TYPE_F32, TYPE_F32, x);
    else c->acc = pair(ELEMENT_ADD, c->type, c->acc, pair(ELEMENT_MUL, c->type, x[0], x[1]));    /* f64: two roundings */
    if (++c->in_block == CONTRACT_BLOCK) close_chain(c);
  }
}

Bits contractor_result(Contractor *c) {
  if (c->in_block) close_chain(c);
  return pair(ELEMENT_ADD, c->type, c->total, 0);
}
