/* views.c: pass `views`: a value that is computed again with its axes in another order (x' where x is kept) is read from where it is kept.
 *
 * map(y, i, j) becomes map(x, j, i) where y[j, i] and x[i, j] are one expression: so the two factors of x @ x' are one matrix, which is then seen to be
 * symmetric, packed from one place, and computed once. A flat position that is taken apart again, (i*n + j) idiv n and imod n, is i and j. And what is made of products
 * over the positions p of an item, y[p], where a matrix x of as many elements is kept whose x[p idiv n, p imod n] or x[p imod n, p idiv n] is the same expression, is read
 * from there: of an iteration one matrix, not one a step. Exact: the same operations on the same elements. Before `canon`, which orders operands by their numbers. */
#include "passes/gradient.h"
#include "passes/lower_index.h"
#include "passes/passes.h"
#include <string.h>

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

/* A map of all elements, each at its own place. */
static bool is_all(const Node *n) {
  bool all = n->op == OP_MAP && n->space == n->args[0]->space && n->n_args == n->space->rank + 1;
  for (unsigned k = 1; all && k < n->n_args; k++) all = n->args[k]->op == OP_INDEX && n->args[k]->imm == k - 1 && n->args[k]->space == n->space;
  return all;
}

static const Node *view(Graph *g, const Node *n, void *context) {
  Views *v = context;
  const Node *simple = digit(n);
  if (simple || is_all(n)) return simple ? simple : n->args[0];
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

/* --- matrices over the positions of an item ------------------------------------------------------------------------------------------------ */

/* A matrix over positions p of an item: element [place[0], place[1]], which are p idiv n and p imod n in one of both orders. */
typedef struct Flat { const Node *place[2], *row, *column, *length; const Node **same; bool *makes; unsigned steps; } Flat;
enum { STEPS = 2000 };                                                    /* a comparison of more is given up */

/* row*length + column of a matrix that lies like the item. */
static bool is_position(const Flat *f, const Node *sum, const Space *matrix) {
  if (sum->op != OP_ADD || sum->space != matrix) return false;
  for (unsigned k = 0; k < 2; k++) {
    const Node *j = sum->args[k], *product = sum->args[1 - k];
    if (j->op != OP_INDEX || f->place[j->imm] != f->column || product->op != OP_MUL) continue;
    for (unsigned m = 0; m < 2; m++)
      if (product->args[m] == f->length && product->args[1 - m]->op == OP_INDEX && f->place[product->args[1 - m]->imm] == f->row) return true;
  }
  return false;
}

/* y is x at f's place. What was found stays: the steps of an iteration stand on each other. */
static bool is_same(Flat *f, const Node *x, const Node *y, const Space *matrix) {
  if (x->space != matrix) return x == y;
  if (x->op == OP_INDEX) return y == f->place[x->imm];
  if (f->same[x->id] == y) return true;
  if (!f->steps) return false;
  f->steps--;
  bool element = op_is_element((Op)x->op), map = x->op == OP_MAP, read = x->op == OP_READ && x->n_args == 1 && !x->aux, good;
  if (read && y->op == OP_READ && !y->n_args && !y->aux) good = x->imm == y->imm && x->type == y->type && is_position(f, x->args[0], matrix);
  else if (!element && !map && !read) good = y->op == OP_MAP && y->args[0] == x && y->n_args == 3 && y->args[1] == f->place[0] && y->args[2] == f->place[1];
  else {
    good = x->op == y->op && x->type == y->type && x->imm == y->imm && x->aux == y->aux && x->n_args == y->n_args && (!map || x->args[0] == y->args[0]);
    for (unsigned k = map; good && k < x->n_args; k++) good = is_same(f, x->args[k], y->args[k], matrix);
  }
  if (good) f->same[x->id] = y;
  return good;
}

/* Values made of what is computed whole, which costs memory to read again. */
static bool *made_of_whole(const Graph *g) {
  bool *made = arena_array(g->arena, g->n_nodes + 1, sizeof *made);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    made[i] = n->space->rank && !op_is_element((Op)n->op) && n->op != OP_INDEX && n->op != OP_READ && n->op != OP_MAP;
    for (unsigned k = 0; n->space->rank && (op_is_element((Op)n->op) || n->op == OP_MAP) && k < n->n_args; k++) made[i] |= made[n->args[k]->id];
  }
  return made;
}

static void find_same(Flat *f, Graph *g, const Space *item, const Node *x, const Node **instead, unsigned n) {
  const Space *matrix = x->space;
  for (unsigned turned = 0; turned < 2; turned++) {
    const Node *extent[2] = {matrix->extent[turned], matrix->extent[1 - turned]};
    if (extent_condition(extent[0]) || extent_condition(extent[1]) || !extents_make_item(g->module, extent, 2)) continue;
    const Node *p = graph_node(g, OP_INDEX, TYPE_I64, item, 0, 0, 0, NULL);
    f->length = extent[1];
    f->row = graph_op2(g, OP_IDIV, p, extent[1]);
    f->column = graph_op2(g, OP_IMOD, p, extent[1]);
    f->place[turned] = f->row;
    f->place[1 - turned] = f->column;
    memset(f->same, 0, n*sizeof *f->same);
    for (unsigned i = 0; i < n; i++) {
      const Node *y = g->nodes[i];
      f->steps = STEPS;
      if (y->space != item || y->op != x->op || !f->makes[i] || instead[i] || !is_same(f, x, y, matrix)) continue;
      instead[i] = graph_node(g, OP_MAP, (Type)x->type, item, 0, 0, 3, (const Node *[]){x, f->place[0], f->place[1]});
      f->same[x->id] = NULL;
    }
  }
}

static Graph *read_matrices(Graph *g) {
  unsigned n = g->n_nodes;
  bool *kept = arena_array(g->arena, n + 1, sizeof *kept), any = false;
  const Space *item = NULL;
  const Node **instead = arena_array(g->arena, n + 1, sizeof *instead);
  Flat f = {.makes = made_of_whole(g), .same = arena_array(g->arena, n + 1, sizeof *f.same)};
  for (unsigned i = 0; i < n; i++) {
    const Node *x = g->nodes[i]->op == OP_MAP ? g->nodes[i]->args[0] : NULL;
    if (graph_is_item_space(g->module, g->nodes[i]->space)) item = g->nodes[i]->space;
    else if (x && op_is_element((Op)x->op) && x->space->rank == 2 && f.makes[x->id]) kept[x->id] = true;
  }
  for (unsigned i = 0; item && i < n; i++) if (kept[i]) find_same(&f, g, item, g->nodes[i], instead, n);
  for (unsigned i = 0; i < n; i++) any |= instead[i] != NULL;
  if (!any) return g;
  const Node **all = arena_array(g->arena, g->n_nodes + 1, sizeof *all);
  memcpy(all, instead, n*sizeof *all);
  return graph_replace(g, all);
}

void pass_views(Unit *unit, const PassArgs *args) {
  Views *v = arena_alloc(unit->arena, sizeof *v);
  v->move.arena = unit->arena;
  unit->graph = read_matrices(graph_rewrite(unit->graph, view, v));
}
