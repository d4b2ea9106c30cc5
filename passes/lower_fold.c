/* lower_fold.c: reductions, contractions and softmax as loop nests, in the orders that the language fixes (reference, section 5). */
#include "passes/lower_nest.h"

/* The terms of a fold: x at position q of the bound axes, whose loops are open around the fold. */
typedef struct Terms {
  const Node *node;
  const Space *space;                    /* of the arguments */
  unsigned free_axes, buffer;            /* buffer: 1 + a block's values, instead of the node's */
  Inst *n, *row;                         /* bound positions; flat position of the free axes */
  Inst *low;                             /* of the block in `buffer` */
} Terms;

/* Sets the position: bound indices are the digits of q. */
static void go_to(Nest *l, const Terms *t, Inst *q) {
  unsigned rank = t->space->rank;
  Inst *rest = q;
  for (unsigned a = rank; a-- > t->free_axes;) {
    Inst *e = nest_extent(l, t->space->extent[a]);
    l->point.index[a] = a == t->free_axes ? rest : nest_op2(l, KOP_IMOD, rest, e);
    if (a > t->free_axes) rest = nest_op2(l, KOP_IDIV, rest, e);
  }
  nest_here(l, t->space, t->free_axes ? nest_op2(l, KOP_ADD, nest_op2(l, KOP_MUL, t->row, t->n), q) : q);
}

/* What does not change along the bound axes is computed before them. */
static void settle(Nest *l, const Terms *t) { if (t->free_axes) nest_settle_value(l, t->space, ~0u << t->free_axes, t->node->args[0]); }

static Inst *term(Nest *l, const Terms *t, Inst *q) {
  if (t->buffer) return nest_load(l, t->buffer - 1, nest_op2(l, KOP_SUB, q, t->low), NULL);
  go_to(l, t, q);
  return nest_element(l, t->node->args[0]);
}

static Terms terms_of(Nest *l, const Node *n, const Space *space, unsigned free_axes) {
  Terms t = {.node = n, .space = space, .free_axes = free_axes, .n = nest_i64(l, 1)};
  for (unsigned a = free_axes; a < space->rank; a++) {
    Inst *e = nest_extent(l, space->extent[a]);
    t.n = a == free_axes ? e : nest_op2(l, KOP_MUL, t.n, e);
  }
  return t;
}

static Terms open_terms(Nest *l, const Node *n, const Space *space, unsigned free_axes) {
  Terms t = terms_of(l, n, space, free_axes);
  nest_axes(l, space, free_axes);
  t.row = free_axes ? nest_flat(l, space, free_axes) : NULL;
  return t;
}

/* --- pairs ----------------------------------------------------------------------------------------------------------------------------- */

Bits nest_identity(ReduceKind kind, Type t) {
  bool floating = type_kind(t) == KIND_FLOAT;
  switch (kind) {
    case REDUCE_PROD: return floating ? bits_from_f64(1, t) : 1;
    case REDUCE_MAX: return floating ? bits_from_f64(-__builtin_inf(), t) : (Bits)1 << (type_bits(t) - 1);
    case REDUCE_MIN: return floating ? bits_from_f64(__builtin_inf(), t) : ((Bits)1 << (type_bits(t) - 1)) - 1;
    case REDUCE_EVERY: return 1;
    default: return 0;
  }
}

Inst *nest_pair(Nest *l, ReduceKind kind, Inst *a, Inst *b) {
  switch (kind) {
    case REDUCE_PROD: return nest_op2(l, KOP_MUL, a, b);
    case REDUCE_MAX: return nest_call(l, OP_MAX, a, b);
    case REDUCE_MIN: return nest_call(l, OP_MIN, a, b);
    case REDUCE_ANY: return nest_op2(l, KOP_OR, a, b);
    case REDUCE_EVERY: return nest_op2(l, KOP_AND, a, b);
    default: return nest_op2(l, KOP_ADD, a, b);
  }
}

/* --- lanes ------------------------------------------------------------------------------------------------------------------------------ */

/* Sum of positions low .. low + n (1,024 at most): 16 interleaved lanes, then (l, l+8), (l, l+4), (l, l+2), (l, l+1). */
static Inst *block_of_lanes(Nest *l, const Terms *t, ReduceKind kind, Type type, Inst *low, Inst *n) {
  unsigned lanes = nest_scratch(l, type, LANES_COUNT, false);
  Inst *first = nest_const(l, type, nest_identity(kind, type)), *lane = nest_open(l, nest_i64(l, 0), nest_i64(l, LANES_COUNT), 0, NULL);
  Inst *steps = nest_blocks(l, nest_op2(l, KOP_SUB, n, lane), LANES_BITS);
  Inst *from = nest_op2(l, KOP_ADD, low, lane), *loop = nest_open(l, nest_i64(l, 0), steps, 1, &first);
  Inst *q = nest_op2(l, KOP_ADD, from, nest_op2(l, KOP_SHL, loop, nest_i64(l, LANES_BITS)));
  Inst *sum = nest_pair(l, kind, nest_carried(l, loop, 0), term(l, t, q));
  nest_close(l, 1, &sum);
  nest_store(l, lanes, lane, nest_carried(l, loop, 0), NULL);
  nest_close(l, 0, NULL);
  Inst *x[16];
  for (int k = 0; k < 16; k++) x[k] = nest_load(l, lanes, nest_i64(l, k), NULL);
#ifdef OPTC_FAULT_NEST                                   /* neighbours first: see fuzz/README.md */
  for (int half = 8; half; half /= 2)
    for (int k = 0; k < half; k++) x[k] = nest_pair(l, kind, x[2*k], x[2*k + 1]);
  return x[0];
#endif
  for (int half = 8; half; half /= 2)
    for (int k = 0; k < half; k++) x[k] = nest_pair(l, kind, x[k], x[k + half]);
  return x[0];
}

/* Neighbours in pairs at every level, an odd one carried up: as the carries of a counter of leaves. Level k of the tree waits in tree[k] where bit k
 * of the number of leaves so far is set. */
typedef struct Tree { unsigned buffer; ReduceKind kind; Type type; Inst *leaf; } Tree;

static Tree open_tree(Nest *l, ReduceKind kind, Type type, Inst *leaves) {
  unsigned buffer = nest_scratch(l, type, 64, false);
  return (Tree){buffer, kind, type, nest_open(l, nest_i64(l, 0), leaves, 0, NULL)};
}

static Inst *close_tree(Nest *l, const Tree *t, Inst *leaves, Inst *x) {
  Inst *zero = nest_i64(l, 0), *one = nest_i64(l, 1), *next = nest_op2(l, KOP_ADD, t->leaf, one);
  Inst *full = nest_op2(l, KOP_SUB, nest_bits(l, nest_op2(l, KOP_XOR, t->leaf, next)), one);            /* trailing ones */
  Inst *merge = nest_open(l, zero, full, 1, &x), *joined = nest_pair(l, t->kind, nest_load(l, t->buffer, merge, NULL), nest_carried(l, merge, 0));
  nest_close(l, 1, &joined);
  nest_store(l, t->buffer, full, nest_carried(l, merge, 0), NULL);
  nest_close(l, 0, NULL);
  Inst *first[2] = {nest_const(l, t->type, nest_identity(t->kind, t->type)), nest_const(l, TYPE_BOOL, 0)};
  Inst *rest = nest_open(l, zero, nest_bits(l, leaves), 2, first);
  Inst *set = nest_op2(l, KOP_NE, nest_op2(l, KOP_AND, nest_op2(l, KOP_SHR, leaves, rest), one), zero);
  Inst *waits = nest_load(l, t->buffer, rest, set), *sum = nest_carried(l, rest, 0), *any = nest_carried(l, rest, 1);
  Inst *last[2] = {nest_select(l, set, nest_select(l, any, nest_pair(l, t->kind, waits, sum), waits), sum), nest_op2(l, KOP_OR, any, set)};
  nest_close(l, 2, last);
  return nest_carried(l, rest, 0);
}

/* Blocks of 1,024, then the tree. */
static Inst *lanes(Nest *l, const Terms *t, ReduceKind kind, Type type) {
  Inst *blocks = nest_blocks(l, t->n, LANES_BLOCK_BITS);
  Tree tree = open_tree(l, kind, type, blocks);
  Inst *low = nest_op2(l, KOP_SHL, tree.leaf, nest_i64(l, LANES_BLOCK_BITS));
  Inst *x = block_of_lanes(l, t, kind, type, low, nest_min(l, nest_op2(l, KOP_SUB, t->n, low), nest_i64(l, LANES_BLOCK)));
  return close_tree(l, &tree, blocks, x);
}

Inst *nest_join(Nest *l, unsigned partial, Inst *chunks, ReduceKind kind, Type type) {
  Tree tree = open_tree(l, kind, type, chunks);
  Inst *x = nest_load(l, partial, tree.leaf, NULL);
  x = type == TYPE_BOOL ? nest_op2(l, KOP_NE, x, nest_real(l, TYPE_F64, 0)) : nest_cast(l, type, x);
  return close_tree(l, &tree, chunks, x);
}

enum { FETCH = 2048 };                   /* elements that a row is fetched ahead: it is one stream, and those wait */

/* The same as one instruction, where there is one. */
bool nest_is_fold(const Node *n) {
  Type type = (Type)n->args[0]->type;
  switch ((ReduceKind)(n->aux & 255)) {
    case REDUCE_SUM: case REDUCE_PROD: return n->aux >> 8 == ORDER_LANES && type_kind(type) == KIND_FLOAT;
    case REDUCE_MAX: case REDUCE_MIN: return type_kind(type) == KIND_FLOAT;
    case REDUCE_ANY: case REDUCE_EVERY: return true;
    default: return false;
  }
}

static Inst *folded(Nest *l, const Terms *t, ReduceKind kind, Type type) {
  settle(l, t);
  Inst *q = nest_open(l, nest_i64(l, 0), t->n, 0, NULL);
  size_t from = l->kernel.at->n;
  Inst *x = term(l, t, q);
  nest_fetch(l, from, q, nest_i64(l, FETCH));
  nest_add(l, KOP_E_FOLD, TYPE_BOOL, 0, 1, &x)->aux = (int32_t)kind;
  nest_close(l, 0, NULL);
  return nest_add(l, KOP_E_FOLDED, type, 0, 1, &q);
}

/* --- one position after the other ---------------------------------------------------------------------------------------------------------- */

static Inst *sequential(Nest *l, const Terms *t, ReduceKind kind, Type type) {
  Inst *first = nest_const(l, type, nest_identity(kind, type)), *q = nest_open(l, nest_i64(l, 0), t->n, 1, &first);
  Inst *next = nest_pair(l, kind, nest_carried(l, q, 0), term(l, t, q));
  nest_close(l, 1, &next);
  return nest_carried(l, q, 0);
}

/* The first extreme element, where a NaN is the most extreme. */
static Inst *arg_extreme(Nest *l, const Terms *t, ReduceKind kind, Type type) {
  Inst *first[2] = {nest_const(l, type, 0), nest_i64(l, -1)}, *q = nest_open(l, nest_i64(l, 0), t->n, 2, first);
  Inst *x = term(l, t, q), *most = nest_carried(l, q, 0), *best = nest_carried(l, q, 1);
  Inst *take = nest_op2(l, kind == REDUCE_ARGMAX ? KOP_GT : KOP_LT, x, most);
  if (type_kind(type) == KIND_FLOAT) {
    take = nest_op2(l, KOP_OR, take, nest_op2(l, KOP_NE, x, x));
    take = nest_op2(l, KOP_AND, take, nest_op2(l, KOP_EQ, most, most));
  }
  take = nest_op2(l, KOP_OR, take, nest_op2(l, KOP_LT, best, nest_i64(l, 0)));
  Inst *next[2] = {nest_select(l, take, x, most), nest_select(l, take, q, best)};
  nest_close(l, 2, next);
  return nest_carried(l, q, 1);
}

/* Chains in blocks of 512, blocks added in increasing order, +0 at the end. A weight of 0 leaves its term out. */
static Inst *contraction(Nest *l, const Terms *t, Type type) {
  const Node *n = t->node;
  Inst *zero = nest_const(l, type, 0), *blocks = nest_blocks(l, t->n, CONTRACT_BLOCK_BITS);
  Inst *block = nest_open(l, nest_i64(l, 0), blocks, 1, &zero), *low = nest_op2(l, KOP_SHL, block, nest_i64(l, CONTRACT_BLOCK_BITS));
  Inst *q = nest_open(l, low, nest_min(l, t->n, nest_op2(l, KOP_ADD, low, nest_i64(l, CONTRACT_BLOCK))), 1, &zero);
  go_to(l, t, q);
  Inst *acc = nest_carried(l, q, 0), *product = NULL, *last = NULL, *left_out = NULL;
  for (unsigned k = 0; k < n->n_args; k++) {
    Inst *f = nest_element(l, n->args[k]);
    if (n->aux >> k & 1) {
      Inst *is_zero = nest_op2(l, KOP_EQ, f, zero);
      left_out = left_out ? nest_op2(l, KOP_OR, left_out, is_zero) : is_zero;
    }
    if (k + 1 == n->n_args) last = f;
    else product = product ? nest_op2(l, KOP_MUL, product, f) : f;
  }
  if (!product) { product = last; last = nest_real(l, type, 1); }
  Inst *next = nest_fma(l, product, last, acc);
  if (left_out) next = nest_select(l, left_out, acc, next);
  nest_close(l, 1, &next);
  Inst *sum = nest_op2(l, KOP_ADD, nest_carried(l, block, 0), nest_carried(l, q, 0));
  nest_close(l, 1, &sum);
  return nest_op2(l, KOP_ADD, nest_carried(l, block, 0), zero);
}

/* --- softmax -------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Softmax { Inst *m, *l, *n, *any; } Softmax;

static Inst *exponential(Nest *l, Inst *x) { return nest_formula(l, l->graph->exponential[x->type == TYPE_F64], x); }

static Inst *rescale(Nest *l, Inst *m, Inst *most) {
  return nest_select(l, nest_op2(l, KOP_EQ, m, most), nest_real(l, (Type)m->type, 1), exponential(l, nest_op2(l, KOP_SUB, m, most)));
}

static Inst *merged(Nest *l, Inst *counts, Inst *a, Inst *old, Inst *b, Inst *now) {
  return nest_select(l, counts, nest_op2(l, KOP_ADD, nest_op2(l, KOP_MUL, a, old), nest_op2(l, KOP_MUL, b, now)), old);
}

/* Blocks of 256: scores, then exponentials stand in a temporary; the chain of e*v1*..*vn; merged into what came before. */
static Softmax blocks(Nest *l, Terms *t, Type type, bool weighs) {
  const Node *node = t->node;
  unsigned buffer = nest_scratch(l, type, SOFTMAX_BLOCK, false), carried = weighs ? 4 : 3;
  Inst *lowest = nest_real(l, type, -__builtin_inf()), *zero = nest_const(l, type, 0), *zero64 = nest_i64(l, 0);
  Inst *first[4] = {lowest, zero, nest_const(l, TYPE_BOOL, 0), zero};
  Inst *count = nest_blocks(l, t->n, SOFTMAX_BLOCK_BITS);
  Inst *block = nest_open(l, zero64, count, carried, first), *low = nest_op2(l, KOP_SHL, block, nest_i64(l, SOFTMAX_BLOCK_BITS));
  Inst *end = nest_min(l, t->n, nest_op2(l, KOP_ADD, low, nest_i64(l, SOFTMAX_BLOCK)));

  Inst *q = nest_open(l, low, end, 1, &lowest), *s = term(l, t, q);
  nest_store(l, buffer, nest_op2(l, KOP_SUB, q, low), s, NULL);
  Inst *most = nest_call(l, OP_MAX, nest_carried(l, q, 0), s);
  nest_close(l, 1, &most);
  Inst *m = nest_carried(l, q, 0), *counts = nest_op2(l, KOP_NE, m, lowest);             /* a block of -inf is left out: NaN is not equal */
  end = nest_select(l, counts, end, low);

  q = nest_open(l, low, end, 0, NULL);
  Inst *place = nest_op2(l, KOP_SUB, q, low);
  nest_store(l, buffer, place, exponential(l, nest_op2(l, KOP_SUB, nest_load(l, buffer, place, NULL), m)), NULL);
  nest_close(l, 0, NULL);
  Terms weights = {.node = node, .space = t->space, .buffer = buffer + 1, .low = low};
  Inst *sum = block_of_lanes(l, &weights, REDUCE_SUM, type, low, nest_op2(l, KOP_SUB, end, low)), *chain = NULL;

  if (weighs) {
    q = nest_open(l, low, end, 1, &zero);
    Inst *e = nest_load(l, buffer, nest_op2(l, KOP_SUB, q, low), NULL), *product = e, *acc = nest_carried(l, q, 0);
    go_to(l, t, q);
    for (unsigned k = 1; k + 1 < node->n_args; k++) product = nest_op2(l, KOP_MUL, product, nest_element(l, node->args[k]));
    Inst *next = nest_select(l, nest_op2(l, KOP_EQ, e, zero), acc, nest_fma(l, product, nest_element(l, node->args[node->n_args - 1]), acc));
    nest_close(l, 1, &next);
    chain = nest_carried(l, q, 0);
  }
  Inst *old = nest_carried(l, block, 0), *both = nest_call(l, OP_MAX, old, m), *a = rescale(l, old, both), *b = rescale(l, m, both);
  Inst *next[4] = {nest_select(l, counts, both, old), merged(l, counts, a, nest_carried(l, block, 1), b, sum), nest_op2(l, KOP_OR, nest_carried(l, block, 2), counts)};
  if (weighs) next[3] = merged(l, counts, a, nest_carried(l, block, 3), b, chain);
  nest_close(l, carried, next);
  return (Softmax){nest_carried(l, block, 0), nest_carried(l, block, 1), weighs ? nest_carried(l, block, 3) : NULL, nest_carried(l, block, 2)};
}

/* --- nodes ------------------------------------------------------------------------------------------------------------------------------------ */

static Inst *fold(Nest *l, Terms *t) {
  const Node *n = t->node;
  Type type = (Type)n->args[0]->type;
  ReduceKind kind = (ReduceKind)(n->aux & 255);
  if (n->op == OP_CONTRACT) return contraction(l, t, type);
  if (n->op == OP_ATTEND) {
    Softmax s = blocks(l, t, type, true);
    return nest_select(l, s.any, nest_op2(l, KOP_DIV, s.n, s.l), nest_const(l, type, 0));
  }
  if (l->plan.folds && nest_is_fold(n)) return folded(l, t, kind, type);
  switch (kind) {
    case REDUCE_LOGSUMEXP: {
      Softmax s = blocks(l, t, type, false);
      return nest_select(l, s.any, nest_op2(l, KOP_ADD, s.m, nest_formula(l, l->graph->logarithm[type == TYPE_F64], s.l)), nest_real(l, type, -__builtin_inf()));
    }
    case REDUCE_ARGMAX: case REDUCE_ARGMIN: return arg_extreme(l, t, kind, type);
    case REDUCE_SUM: case REDUCE_PROD: return n->aux >> 8 == ORDER_LANES ? lanes(l, t, kind, type) : sequential(l, t, kind, type);
    default: return sequential(l, t, kind, type);
  }
}

/* Of the terms: the widest that there is. */
const Space *nest_terms_space(const Node *n) {
  const Space *space = n->args[0]->space;
  for (unsigned k = 0; k < n->n_args; k++) if (n->args[k]->space->rank) space = n->args[k]->space;
  return space;
}

Inst *nest_contraction(Nest *l, const Node *n, Inst *at) {
  Terms t = terms_of(l, n, nest_terms_space(n), n->space->rank);
  t.row = at;
  return contraction(l, &t, (Type)n->type);
}

void nest_fold(Nest *l, const Node *n) {
  if (l->kernel.tile && n->op == OP_REDUCE && nest_is_fold(n) && nest_goes_by_columns(l, n)) { nest_fold_columns(l, n, 0); return; }
  unsigned rank = n->space->rank;
  Terms t = open_terms(l, n, nest_terms_space(n), rank);
  Inst *x = fold(l, &t);
  if (rank) nest_store_value(l, n, t.row, x);
  else l->kernel.scalar[n->id] = x;
  nest_close_axes(l, rank);
}

void nest_softmax(Nest *l, const Node *n) {
  unsigned rank = n->space->rank - (unsigned)n->imm;
  Type type = (Type)n->type;
  Terms t = open_terms(l, n, n->space, rank);
  Softmax s = blocks(l, &t, type, false);
  Inst *q = nest_open(l, nest_i64(l, 0), t.n, 0, NULL), *e = exponential(l, nest_op2(l, KOP_SUB, term(l, &t, q), s.m));
  Inst *place = l->point.flat;
  nest_store_value(l, n, place, nest_select(l, s.any, nest_op2(l, KOP_DIV, e, s.l), nest_const(l, type, 0)));
  nest_close(l, 0, NULL);
  nest_close_axes(l, rank);
}

/* The running value starts from the identity, as a sequential sum does. */
void nest_cumulate(Nest *l, const Node *n) {
  unsigned rank = n->space->rank - 1;
  ReduceKind kind = (ReduceKind)(n->aux & 255);
  Type type = (Type)n->type;
  Terms t = open_terms(l, n, n->space, rank);
  Inst *first = nest_const(l, type, nest_identity(kind, type)), *q = nest_open(l, nest_i64(l, 0), t.n, 1, &first);
  Inst *x = term(l, &t, q), *place = l->point.flat, *next = nest_pair(l, kind, nest_carried(l, q, 0), x);
  nest_store_value(l, n, place, next);
  nest_close(l, 1, &next);
  nest_close_axes(l, rank);
}
