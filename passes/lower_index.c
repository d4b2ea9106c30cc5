/* lower_index.c: what is known of indices: which extents are the same, flat positions in a space, and indices that cannot be outside. */
#include "passes/lower_index.h"

enum { FACTORS = 16, DEEP = 12 };

/* --- equal extents, also of operands, whose shapes are a graph of their own that no pass has put in canonical form --------------------------------- */

typedef struct View { Op op; const Node *a, *b; } View;                  /* a comparison, in one spelling */

static View view_of(const Node *n) {
  View v = {(Op)n->op, n->n_args > 0 ? n->args[0] : NULL, n->n_args > 1 ? n->args[1] : NULL};
  if (n->op == OP_GT || n->op == OP_GE) v = (View){n->op == OP_GT ? OP_LT : OP_LE, n->args[1], n->args[0]};
  if (n->op == OP_NOT && (n->args[0]->op == OP_EQ || n->args[0]->op == OP_NE)) v = (View){n->args[0]->op == OP_EQ ? OP_NE : OP_EQ, n->args[0]->args[0], n->args[0]->args[1]};
  return v;
}

static bool alike(const Node *, const Node *, unsigned deep);

static bool alike_pair(const View *x, const View *y, bool crossed, unsigned deep) {
  return alike(x->a, crossed ? y->b : y->a, deep) && alike(x->b, crossed ? y->a : y->b, deep);
}

static bool alike(const Node *a, const Node *b, unsigned deep) {
  if (a == b || !a || !b || !deep) return a == b;
  if (a->space->rank || b->space->rank || a->type != b->type) return false;
  View x = view_of(a), y = view_of(b);
  if (x.op != y.op) return false;
  if (op_is_element(x.op) && x.b && a->n_args <= 2) {
    bool commutes = x.op == OP_ADD || x.op == OP_MUL || x.op == OP_AND || x.op == OP_OR || x.op == OP_EQ || x.op == OP_NE;
    return alike_pair(&x, &y, false, deep - 1) || (commutes && alike_pair(&x, &y, true, deep - 1));
  }
  if (a->imm != b->imm || a->aux != b->aux || a->n_args != b->n_args || a->region) return false;
  for (unsigned k = 0; k < a->n_args; k++) if (!alike(a->args[k], b->args[k], deep - 1)) return false;
  return true;
}

/* An extent of an axis that exists only where a condition holds: what it is there. */
static bool is_zero(const Node *n) { return n->op == OP_CONST && !n->imm; }
static const Node *where_it_is(const Node *e) { return e->op == OP_SELECT && is_zero(e->args[2]) ? e->args[1] : e; }

const Node *extent_condition(const Node *e) { return e->op == OP_SELECT && is_zero(e->args[2]) ? e->args[0] : NULL; }

/* Whether `e` is never more than `limit`. */
static bool at_most(const Node *e, const Node *limit) { return alike(e, limit, DEEP) || alike(where_it_is(e), limit, DEEP); }

/* --- flat positions ------------------------------------------------------------------------------------------------------------------------ */

/* x = (i*J + j)*K + k of its own space's indices: their axes, outermost first. */
static bool row_major(const Node *x, unsigned *axes, unsigned *n) {
  const Space *s = x->space;
  if (!s->rank) return false;
  if (x->op == OP_INDEX) { axes[(*n)++] = (unsigned)x->imm; return true; }
  if (x->op != OP_ADD) return false;
  for (unsigned k = 0; k < 2; k++) {
    const Node *index = x->args[k], *product = x->args[1 - k];
    if (index->op != OP_INDEX || product->op != OP_MUL || index->space != s) continue;
    for (unsigned f = 0; f < 2; f++) {
      const Node *extent = product->args[f], *rest = product->args[1 - f];
      if (rest->space != s || !alike(extent, s->extent[index->imm], DEEP) || !row_major(rest, axes, n)) continue;
      for (unsigned a = 0; a < *n; a++) if (axes[a] == (unsigned)index->imm) return false;
      axes[(*n)++] = (unsigned)index->imm;
      return true;
    }
  }
  return false;
}

bool index_is_flat(const Node *x) {
  unsigned axes[NEST_RANK], n = 0;
  if (!row_major(x, axes, &n) || n != x->space->rank) return false;
  for (unsigned a = 0; a < n; a++) if (axes[a] != a) return false;
  return true;
}

int index_unit_axis(const Node *x) {
  unsigned axes[NEST_RANK], n = 0;
  return row_major(x, axes, &n) ? (int)axes[n - 1] : -1;
}

static bool is_size(const Module *m, const Node *n) { return n->op == OP_SIZE && m->operands[n->imm].item_shape; }
static bool is_count(const Module *m, const Node *n) { return is_size(m, n) && n->aux == -1; }

static bool factors_of(const Node *n, const Node **factor, unsigned *count) {
  n = where_it_is(n);
  if (n->op == OP_MUL) return factors_of(n->args[0], factor, count) && factors_of(n->args[1], factor, count);
  if (*count == FACTORS) return false;
  factor[(*count)++] = n;
  return true;
}

/* Each of them is one of the others. */
static bool cancels(const Node *const *x, unsigned n, const Node *const *y, unsigned m) {
  bool used[FACTORS] = {false};
  for (unsigned i = 0; i < n; i++) {
    unsigned k = 0;
    while (k < m && (used[k] || !alike(x[i], y[k], DEEP))) k++;
    if (k == m) return false;
    used[k] = true;
  }
  return true;
}

/* Axes of the item, each once, counted from one end. */
static bool are_axes(const Module *m, const Node *const *factor, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    if (!is_size(m, factor[i]) || factor[i]->aux == -1 || factor[i]->aux == -2 || (factor[i]->aux >= 0) != (factor[0]->aux >= 0)) return false;
    for (unsigned k = 0; k < i; k++) if (factor[k]->aux == factor[i]->aux) return false;
  }
  return true;
}

/* Whether the condition says that the item has n axes. */
static bool says_rank(const Module *m, const Node *c, unsigned n) {
  if (!c) return false;
  if (c->op == OP_AND) return says_rank(m, c->args[0], n) || says_rank(m, c->args[1], n);
  if (c->op != OP_EQ) return false;
  for (unsigned k = 0; k < 2; k++)
    if (is_size(m, c->args[k]) && c->args[k]->aux == -2 && c->args[1 - k]->op == OP_CONST && c->args[1 - k]->imm == n) return true;
  return false;
}

/* Whether the extents make the item's number of elements, if none of them is 0: they are its axes, or some of them and what is left of it when it is divided
 * by these. (An axis that an item has not is 1.) */
bool extents_make_item(const Module *m, const Node *const *extent, unsigned n) {
  const Node *factor[FACTORS], *by[FACTORS];
  unsigned count = 0, divisors = 0, rest = FACTORS;
  for (unsigned k = 0; k < n; k++) if (!factors_of(extent[k], factor, &count)) return false;
  for (unsigned k = 0; k < count; k++) if (factor[k]->op == OP_IDIV && is_count(m, factor[k]->args[0])) rest = k;
  if (rest == FACTORS) return (count == 1 && is_count(m, factor[0])) || (are_axes(m, factor, count) && says_rank(m, extent_condition(extent[0]), count));
  if (!factors_of(factor[rest]->args[1], by, &divisors) || !are_axes(m, by, divisors)) return false;
  factor[rest] = factor[--count];
  return count == divisors && cancels(factor, count, by, divisors);
}

bool index_in_item(const Module *m, const Node *x) {
  unsigned axes[NEST_RANK], n = 0;
  const Node *extent[NEST_RANK];
  if (!row_major(x, axes, &n)) return false;
  for (unsigned a = 0; a < n; a++) extent[a] = x->space->extent[axes[a]];
  return extents_make_item(m, extent, n);
}

bool index_in_axis(const Node *x, const Node *extent) { return x->op == OP_INDEX && x->space->rank && at_most(x->space->extent[x->imm], extent); }

bool extent_divides_item(const Module *m, const Node *e) {
  const Node *factor[FACTORS], *by[FACTORS];
  unsigned count = 0, divisors = 0;
  if (!factors_of(e, factor, &count)) return false;
  for (unsigned k = 0; k < count; k++) {
    bool rest = factor[k]->op == OP_IDIV && is_count(m, factor[k]->args[0]) && factors_of(factor[k]->args[1], by, &divisors) && are_axes(m, by, divisors);
    if (!rest && (!is_size(m, factor[k]) || factor[k]->aux == -2)) return false;
    divisors = 0;
  }
  return true;
}

/* x in the item's space, divided: the divisors, outermost last; false: it is something else. */
static bool divided_position(const Module *m, const Node *x, const Node **by, unsigned *n) {
  for (*n = 0; x->op == OP_IDIV && *n + 1 < NEST_RANK && !x->args[1]->space->rank; x = x->args[0]) by[(*n)++] = x->args[1];
  return x->op == OP_INDEX && x->space->rank == 1 && is_count(m, x->space->extent[0]);
}

bool index_is_digit(const Module *m, const Node *x, const Node *extent) {
  const Node *by[NEST_RANK];
  unsigned n;
  if (x->op == OP_IMOD) return alike(x->args[1], extent, DEEP) && divided_position(m, x->args[0], by, &n);
  if (!divided_position(m, x, by, &n) || !n) return false;
  by[n] = extent;
  return extents_make_item(m, by, n + 1);
}
