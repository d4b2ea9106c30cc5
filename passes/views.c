/* views.c: pass `views`: a value that is computed again with its axes in another order (x' where x is kept) is read from where it is kept.
 *
 * map(y, i, j) becomes map(x, j, i) where y[j, i] and x[i, j] are one expression: so the two factors of x @ x' are one matrix, which is then seen to be
 * symmetric, packed from one place, and computed once. A flat position that is taken apart again, (i*n + j) idiv n and imod n, is i and j. Exact: the same operations on the same elements. Before `canon`, which orders operands by their
 * numbers. */
#include "passes/gradient.h"
#include "passes/passes.h"

enum { MOST = 256 };

typedef struct Views { Gradient move; const Node *kept[MOST]; unsigned n; } Views;

/* y, with the axes of x in its own order, or NULL. */
static const Node *turned(Views *v, Graph *g, const Node *x, const Space *space) {
  if (x->space->rank != 2 || space->rank != 2 || x->space->extent[0] != space->extent[1] || x->space->extent[1] != space->extent[0]) return NULL;
  v->move.g = g;
  const Node *index[2];
  for (unsigned a = 0; a < 2; a++) index[a] = graph_node(g, OP_INDEX, TYPE_I64, space, 1 - a, 0, 0, NULL);
  return gradient_move(&v->move, x, space, index);
}

/* i or j of (i*n + j) idiv n and imod n, where j is the index of an axis of n; NULL: it is not that. */
static const Node *digit(const Node *n) {
  const Node *sum = n->n_args == 2 ? n->args[0] : NULL, *extent = sum ? n->args[1] : NULL;
  if ((n->op != OP_IDIV && n->op != OP_IMOD) || sum->op != OP_ADD || sum->type != TYPE_I64) return NULL;
  for (unsigned k = 0; k < 2; k++) {
    const Node *j = sum->args[k], *product = sum->args[1 - k];
    if (j->op != OP_INDEX || j->space->extent[j->imm] != extent || product->op != OP_MUL) continue;
    const Node *i = product->args[product->args[0] == extent];
    if (i->op == OP_INDEX && (product->args[0] == extent || product->args[1] == extent)) return n->op == OP_IDIV ? i : j;
  }
  return NULL;
}

static const Node *view(Graph *g, const Node *n, void *context) {
  Views *v = context;
  const Node *simple = digit(n);
  if (simple) return simple;
  const Node *y = n->op == OP_MAP ? n->args[0] : NULL;
  if (!y || !op_is_element((Op)y->op) || y->space->rank != 2) return n;
  for (unsigned k = 0; k < v->n; k++) {
    const Node *x = v->kept[k];
    if (x == y) return n;
    if (x->op != y->op || x->type != y->type || turned(v, g, x, y->space) != y) continue;
    return graph_node(g, OP_MAP, (Type)n->type, n->space, n->imm, n->aux, 3, (const Node *[]){x, n->args[2], n->args[1]});
  }
  if (v->n < MOST) v->kept[v->n++] = y;
  return n;
}

void pass_views(Unit *unit, const PassArgs *args) {
  Views *v = arena_alloc(unit->arena, sizeof *v);
  v->move.arena = unit->arena;
  unit->graph = graph_rewrite(unit->graph, view, v);
}
