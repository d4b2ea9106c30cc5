/* gradient_fold.c: what reductions, contractions, softmax and running values give to their arguments (language reference, section 6).
 *
 * A factor of a sum gets a contraction over the axes that it lacks: first everything is brought to a space in which these are the last. */
#include <math.h>
#include "passes/expand.h"
#include "passes/gradient.h"

static const Node *zero_of(Graph *g, const Node *n) { return graph_const(g, (Type)n->type, 0); }

/* A value over the first axes of a space, over all of it. */
static const Node *wide(Gradient *G, const Node *n, const Space *s) {
  const Node *index[GRADIENT_AXES];
  for (unsigned k = 0; k < n->space->rank; k++) index[k] = gradient_index(G, s, k);
  return gradient_place(G, n, s, index);
}

/* p*d, 0 where one of them is: also for a weight of a masked key, whatever stands there, and for no adjoint, whatever the weight. */
static const Node *weigh(Graph *g, const Node *p, const Node *d) {
  return SELECT(OR(EQ(p, zero_of(g, p)), EQ(d, zero_of(g, d))), zero_of(g, p), MUL(p, d));
}

/* --- sums of products ------------------------------------------------------------------------------------------------------------------------ */

typedef struct Product { const Space *space; unsigned n; const Node *factor[32]; uint32_t weights; } Product;

/* Summed over the axes that are not kept. */
static const Node *contract(Gradient *G, const Product *p, unsigned n_kept, const unsigned *kept) {
  Graph *g = G->g;
  unsigned order[GRADIENT_AXES], n = 0, mask = 0, rank = p->space->rank;
  const Node *index[GRADIENT_AXES], *factor[32];
  bool spread = false;
  for (; n < n_kept; n++) { order[n] = kept[n]; mask |= 1u << kept[n]; }
  for (unsigned k = 0; k < rank; k++) if (!(mask >> k & 1)) order[n++] = k;
  const Space *sorted = gradient_space(G, p->space, rank, order);
  for (unsigned k = 0; k < rank; k++) index[order[k]] = gradient_index(G, sorted, k);
  for (unsigned k = 0; k < p->n; k++) {
    factor[k] = gradient_move(G, p->factor[k], sorted, index);
    spread |= factor[k]->space->rank != 0;
  }
  if (!spread) factor[0] = gradient_spread(G, factor[0], sorted);
  if (n_kept < rank)
    return graph_node(g, OP_CONTRACT, (Type)factor[0]->type, gradient_space(G, p->space, n_kept, kept), rank - n_kept, (int32_t)p->weights, p->n, factor);
  const Node *product = factor[0], *none = NULL, *zero = zero_of(g, product);
  for (unsigned k = 1; k < p->n; k++) product = MUL(product, factor[k]);
  for (unsigned k = 0; k < p->n; k++)
    if (p->weights >> k & 1) none = none ? OR(none, EQ(factor[k], zero)) : EQ(factor[k], zero);
  return none ? SELECT(none, zero, product) : product;
}

void gradient_of_contract(Gradient *G, const Node *n, const Node *a) {
  const Projected *p = G->projected[n->id];
  Product whole = {.n = n->n_args};
  for (unsigned k = 0; k < n->n_args; k++) if (n->args[k]->space->rank) whole.space = n->args[k]->space;
  a = wide(G, a, whole.space);
  for (unsigned k = 0; k < n->n_args; k++) {
    if (!gradient_wants(G, p[k].node)) continue;
    for (unsigned i = 0; i < n->n_args; i++) whole.factor[i] = i == k ? a : n->args[i];
    whole.weights = ((uint32_t)n->aux & ~(1u << k)) | 1u << k;            /* the adjoint too: where it is 0 nothing is added */
    gradient_give(G, p[k].node, contract(G, &whole, p[k].n, p[k].axis));
  }
}

/* --- softmax ----------------------------------------------------------------------------------------------------------------------------------- */

/* exp(s - logsumexp(s)) over trailing axes, 0 where s is -inf. */
static const Node *weights_of(Gradient *G, const Node *s, unsigned axes) {
  Graph *g = G->g;
  const Type type = (Type)s->type;
  unsigned keep[GRADIENT_AXES];
  for (unsigned k = 0; k < s->space->rank; k++) keep[k] = k;
  const Node *lse = graph_node(g, OP_REDUCE, type, gradient_space(G, s->space, s->space->rank - axes, keep), axes, REDUCE_LOGSUMEXP | ORDER_BLOCKS << 8, 1, &s);
  const Node *p = graph_op1(g, type == TYPE_F64 ? OP_EXP : OP_SEXP, SUB(s, wide(G, lse, s->space)));
  return SELECT(EQ(s, REAL(-INFINITY)), REAL(0), p);
}

static const Node *of_scores(Gradient *G, const Node *p, const Node *dp, const Node *delta) {
  Graph *g = G->g;
  return weigh(g, p, SUB(dp, wide(G, delta, p->space)));
}

void gradient_of_softmax(Gradient *G, const Node *n, const Node *a) {
  const Node *p = weights_of(G, n->args[0], (unsigned)n->imm);
  a = gradient_spread(G, a, n->space);
  gradient_give(G, n->args[0], of_scores(G, p, a, gradient_sum(G, weigh(G->g, p, a), (unsigned)n->imm)));
}

/* sum(adjoint*value) over the axes of the result that the scores lack. */
static const Node *delta_of_output(Gradient *G, const Node *n, const Node *a, const Projected *s) {
  unsigned order[GRADIENT_AXES], count = 0, mask = 0, rank = n->space->rank;
  const Node *index[GRADIENT_AXES], *x = gradient_spread(G, gradient_times(G, a, n), n->space);
  for (unsigned k = 0; k < s->n; k++) if (s->axis[k] < rank) { order[count++] = s->axis[k]; mask |= 1u << s->axis[k]; }
  unsigned kept = count;
  for (unsigned k = 0; k < rank; k++) if (!(mask >> k & 1)) order[count++] = k;
  const Space *sorted = gradient_space(G, n->space, rank, order);
  for (unsigned k = 0; k < rank; k++) index[order[k]] = gradient_index(G, sorted, k);
  return gradient_sum(G, gradient_move(G, x, sorted, index), rank - kept);
}

void gradient_of_attend(Gradient *G, const Node *n, const Node *a) {
  const Projected *p = G->projected[n->id];
  const Node *s = p[0].node, *index[GRADIENT_AXES];
  const Space *space = n->args[0]->space;
  const Node *weight = weights_of(G, s, (unsigned)n->imm);
  Product whole = {.space = space, .n = n->n_args};
  for (unsigned k = 0; k < p[0].n; k++) index[k] = gradient_index(G, space, p[0].axis[k]);
  const Node *everywhere = gradient_at(G, weight, space, p[0].n, index), *da = wide(G, a, space);
  for (unsigned k = 1; k < n->n_args; k++) {
    if (!gradient_wants(G, p[k].node)) continue;
    for (unsigned i = 0; i < n->n_args; i++) whole.factor[i] = i == 0 ? everywhere : i == k ? da : n->args[i];
    whole.weights = 1u | 1u << k;
    gradient_give(G, p[k].node, contract(G, &whole, p[k].n, p[k].axis));
  }
  if (!gradient_wants(G, s)) return;
  for (unsigned i = 0; i + 1 < n->n_args; i++) whole.factor[i] = n->args[i + 1];
  whole.factor[n->n_args - 1] = da;
  whole.weights = 1u << (n->n_args - 1);
  const Node *dp = gradient_spread(G, contract(G, &whole, p[0].n, p[0].axis), s->space);
  const Node *delta = G->output[n->id] ? delta_of_output(G, n, a, &p[0]) : gradient_sum(G, weigh(G->g, weight, dp), (unsigned)n->imm);
  gradient_give(G, s, of_scores(G, weight, dp, delta));
}

/* --- reductions ---------------------------------------------------------------------------------------------------------------------------------- */

/* Of a product: by the other factors. One 0 among them leaves the derivative by itself, two leave none. */
static const Node *of_product(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  const Node *x = n->args[0];
  const Type type = (Type)n->type;
  unsigned axes = (unsigned)n->imm;
  const Node *is_zero = EQ(x, REAL(0)), *others = SELECT(is_zero, REAL(1), x);
  const Node *zeros = wide(G, gradient_sum(G, SELECT(is_zero, I(1), I(0)), axes), x->space);
  const Node *rest = graph_node(g, OP_REDUCE, type, n->space, axes, REDUCE_PROD | ORDER_LANES << 8, 1, &others);
  const Node *by_zero = SELECT(AND(is_zero, EQ(zeros, I(1))), wide(G, rest, x->space), REAL(0));
  const Node *d = SELECT(EQ(zeros, I(0)), DIV(wide(G, n, x->space), x), by_zero);
  return gradient_times(G, wide(G, a, x->space), d);
}

/* Equal shares of all extreme elements. */
static const Node *of_extreme(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  const Node *x = n->args[0], *best = EQ(x, wide(G, n, x->space));
  const Type type = (Type)n->type;
  const Node *how_many = gradient_sum(G, SELECT(best, REAL(1), REAL(0)), (unsigned)n->imm);
  return SELECT(best, wide(G, gradient_spread(G, gradient_over(G, a, how_many), n->space), x->space), REAL(0));
}

void gradient_of_reduce(Gradient *G, const Node *n, const Node *a) {
  const Node *x = n->args[0], *share = NULL;
  switch (n->aux & 255) {
    case REDUCE_SUM: share = wide(G, a, x->space); break;
    case REDUCE_PROD: share = of_product(G, n, a); break;
    case REDUCE_MAX: case REDUCE_MIN: share = of_extreme(G, n, a); break;
    case REDUCE_LOGSUMEXP: share = weigh(G->g, weights_of(G, x, (unsigned)n->imm), wide(G, a, x->space)); break;
    default: return;
  }
  gradient_give(G, x, share);
}

/* --- running values along the last axis ------------------------------------------------------------------------------------------------------------- */

static const Node *cumulate(Gradient *G, const Node *x, ReduceKind kind) { return graph_node(G->g, OP_CUMULATE, (Type)x->type, x->space, 0, kind, 1, &x); }

static const Node *backwards(Gradient *G, const Node *x) {
  Graph *g = G->g;
  const Node *index[GRADIENT_AXES];
  unsigned last = x->space->rank - 1;
  for (unsigned k = 0; k < last; k++) index[k] = gradient_index(G, x->space, k);
  index[last] = SUB(SUB(x->space->extent[last], I(1)), gradient_index(G, x->space, last));
  return gradient_at(G, x, x->space, last + 1, index);
}

static const Node *sum_behind(Gradient *G, const Node *x) { return backwards(G, cumulate(G, backwards(G, x), REDUCE_SUM)); }

/* x[k] from all products that hold it: sum(adjoint*product)/x[k] behind it. The first 0 of a row gets what the products are without it; behind it all are 0. */
static const Node *of_running_product(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  const Node *x = n->args[0];
  const Type type = (Type)n->type;
  const Node *is_zero = EQ(x, REAL(0)), *zeros = cumulate(G, SELECT(is_zero, I(1), I(0)), REDUCE_SUM);
  const Node *first = AND(is_zero, EQ(zeros, I(1))), *without = cumulate(G, SELECT(first, REAL(1), x), REDUCE_PROD);
  const Node *plain = gradient_over(G, sum_behind(G, gradient_times(G, a, n)), x);
  return SELECT(is_zero, SELECT(first, sum_behind(G, gradient_times(G, a, without)), REAL(0)), plain);
}

/* Equal shares of all elements so far that the running extreme equals. */
static const Node *of_running_extreme(Gradient *G, const Node *n, const Node *a) {
  Graph *g = G->g;
  const Node *x = n->args[0];
  const Type type = (Type)n->type;
  unsigned rank = n->space->rank;
  const Node *extent[GRADIENT_AXES], *lead[GRADIENT_AXES], *own[GRADIENT_AXES];
  if (rank == GRADIENT_AXES) { gradient_refuse(G, n, "a running extreme of 8 axes"); return REAL(0); }
  for (unsigned k = 0; k <= rank; k++) extent[k] = n->space->extent[k < rank ? k : rank - 1];
  const Space *pairs = graph_space(g, rank + 1, extent);
  for (unsigned k = 0; k < rank; k++) {
    lead[k] = gradient_index(G, pairs, k);
    own[k] = gradient_index(G, pairs, k + 1 < rank ? k : rank);
  }
  const Node *at = lead[rank - 1], *other = own[rank - 1];
  const Node *counts = SELECT(AND(LE(other, at), EQ(gradient_at(G, x, pairs, rank, own), gradient_at(G, n, pairs, rank, lead))), REAL(1), REAL(0));
  const Node *part = gradient_spread(G, gradient_over(G, a, gradient_sum(G, counts, 1)), n->space);        /* of each element that it equals */
  const Node *equal = AND(LE(at, other), EQ(gradient_at(G, x, pairs, rank, lead), gradient_at(G, n, pairs, rank, own)));
  return gradient_sum(G, SELECT(equal, gradient_at(G, part, pairs, rank, own), REAL(0)), 1);
}

void gradient_of_cumulate(Gradient *G, const Node *n, const Node *a) {
  a = gradient_spread(G, a, n->space);
  const Node *share = n->aux == REDUCE_SUM ? sum_behind(G, a) : n->aux == REDUCE_PROD ? of_running_product(G, n, a) : of_running_extreme(G, n, a);
  gradient_give(G, n->args[0], share);
}
