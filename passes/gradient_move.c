/* gradient_move.c: values over other index spaces: what a value depends on, the value at other positions, and a value of fewer axes. */
#include <string.h>
#include "passes/gradient.h"

static bool pointwise(const Node *n) { return n->op < OP_CONST || n->op == OP_INDEX || n->op == OP_READ || n->op == OP_MAP || n->op == OP_PHILOX; }
static bool whole_read(const Node *n) { return n->op == OP_READ && n->n_args == (unsigned)(n->aux == 1); }

/* Of a tensor in memory, at indices: it costs the same at any others. */
static bool read_at_indices(const Node *n) {
  if (n->op != OP_READ || n->aux == 1) return false;
  for (unsigned k = 0; k < n->n_args; k++) if (n->args[k]->op != OP_INDEX) return false;
  return true;
}

/* --- what it depends on --------------------------------------------------------------------------------------------------------------------- */

unsigned gradient_axes(Gradient *G, const Node *n) {
  if (!n->space->rank) return 0;
  if (n->id >= G->n_axes) {
    unsigned size = G->g->n_nodes + G->g->n_nodes/2 + 64;
    uint16_t *axes = arena_array(G->arena, size, sizeof *axes);
    if (G->n_axes) memcpy(axes, G->axes, G->n_axes*sizeof *axes);
    G->axes = axes;
    G->n_axes = size;
  }
  if (G->axes[n->id]) return G->axes[n->id] - 1u;
  unsigned mask = 0;
  if (n->op == OP_INDEX) mask = 1u << n->imm;
  else if (!pointwise(n) || whole_read(n)) mask = (1u << n->space->rank) - 1;
  else for (unsigned k = n->op == OP_MAP; k < n->n_args; k++) mask |= gradient_axes(G, n->args[k]);
  G->axes[n->id] = (uint16_t)(mask + 1);
  return mask;
}

/* --- spaces ------------------------------------------------------------------------------------------------------------------------------------ */

const Space *gradient_space(Gradient *G, const Space *from, unsigned n, const unsigned *axis) {
  const Node *extent[GRADIENT_AXES] = {0};
  for (unsigned k = 0; k < n; k++) extent[k] = from->extent[axis[k]];
  return graph_space(G->g, n, extent);
}

const Node *gradient_index(Gradient *G, const Space *s, unsigned axis) { return graph_node(G->g, OP_INDEX, TYPE_I64, s, axis, 0, 0, NULL); }

const Node *gradient_spread(Gradient *G, const Node *n, const Space *s) {
  return n->space->rank || !s->rank ? n : graph_node(G->g, OP_MAP, (Type)n->type, s, 0, 0, 1, &n);
}

/* --- other positions ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct Move { Gradient *G; const Space *to; const Node *const *index; } Move;

static const Space *space_of(Gradient *G, const Space *to, unsigned n, const Node *const *args) {
  for (unsigned k = 0; k < n; k++) if (args[k]->space->rank) return to;
  return graph_scalar_space(G->g);
}

const Node *gradient_at(Gradient *G, const Node *x, const Space *to, unsigned n, const Node *const *index) {
  const Node *args[GRADIENT_AXES + 1] = {x};
  bool same = n == to->rank && x->space == to;
  if (!x->space->rank) return x;
  for (unsigned k = 0; k < n; k++) {
    args[k + 1] = index[k];
    same = same && index[k]->op == OP_INDEX && index[k]->imm == k && index[k]->space == to;
  }
  return same ? x : graph_node(G->g, OP_MAP, (Type)x->type, space_of(G, to, n, index), 0, 0, n + 1, args);
}

static const Node *move(Move *m, const Node *n);

static const Node *move_args(Move *m, const Node *n) {
  Gradient *G = m->G;
  unsigned first = n->op == OP_MAP;
  const Node **args = arena_array(G->arena, n->n_args + 1, sizeof *args);
  if (n->op == OP_MAP && n->n_args == 1) return gradient_spread(G, n->args[0], m->to);
  for (unsigned k = 0; k < n->n_args; k++) args[k] = k < first ? n->args[k] : move(m, n->args[k]);
  if (n->op == OP_MAP) return gradient_at(G, args[0], m->to, n->n_args - 1, args + 1);
  graph_at(G->g, n->where);
  return graph_node(G->g, (Op)n->op, (Type)n->type, space_of(G, m->to, n->n_args, args), n->imm, n->aux, n->n_args, args);
}

static const Node *move_read(Move *m, const Node *n) {
  Gradient *G = m->G;
  const Node *args[GRADIENT_AXES + 1];
  unsigned axes = n->space->rank, guard = n->aux == 1;
  for (unsigned k = 0; k < axes; k++) args[k] = m->index[k];
  if (guard) args[axes] = n->args[0];
  return graph_node(G->g, OP_READ, (Type)n->type, space_of(G, m->to, axes, m->index), n->imm, n->aux, axes + guard, args);
}

static const Node *move(Move *m, const Node *n) {
  Gradient *G = m->G;
  if (!n->space->rank) return n;
  if (n->id < G->n_moved && G->moved_by[n->id] == G->moves) return G->moved[n->id];
  const Node *made;
  if (!pointwise(n)) made = gradient_at(G, n, m->to, n->space->rank, m->index);
  else if (n->op == OP_INDEX) made = m->index[n->imm];
  else if (whole_read(n) && !(n->aux == 1 && n->args[0]->space->rank)) made = move_read(m, n);
  else if (whole_read(n)) made = gradient_at(G, n, m->to, n->space->rank, m->index);
  else made = move_args(m, n);
  if (n->id < G->n_moved) { G->moved[n->id] = made; G->moved_by[n->id] = G->moves; }
  return made;
}

const Node *gradient_move(Gradient *G, const Node *n, const Space *to, const Node *const *index) {
  if (!n->space->rank) return n;
  bool same = n->space == to;
  for (unsigned k = 0; same && k < to->rank; k++) same = index[k]->op == OP_INDEX && index[k]->imm == k && index[k]->space == to;
  if (same) return n;
  if (n->id >= G->n_moved) {
    G->n_moved = G->g->n_nodes + G->g->n_nodes/2 + 64;
    G->moved = arena_array(G->arena, G->n_moved, sizeof *G->moved);
    G->moved_by = arena_array(G->arena, G->n_moved, sizeof *G->moved_by);
    G->moves = 0;
  }
  G->moves++;
  Move m = {G, to, index};
  return move(&m, n);
}

/* Elements of a tensor in memory, or of a constant, are read anew; the same elements in another order are computed there; else they are computed once. */
const Node *gradient_place(Gradient *G, const Node *n, const Space *to, const Node *const *index) {
  unsigned used = 0;
  bool same = n->space->rank == to->rank;
  for (unsigned k = 0; same && k < to->rank; k++) {
    same = index[k]->op == OP_INDEX && index[k]->space == to && to->extent[index[k]->imm] == n->space->extent[k] && !(used >> index[k]->imm & 1);
    if (same) used |= 1u << index[k]->imm;
  }
  if (same || !n->space->rank || whole_read(n) || read_at_indices(n) || n->op == OP_INDEX || (n->op == OP_MAP && n->n_args == 1)) return gradient_move(G, n, to, index);
  if (n->op == OP_CAST) return graph_cast(G->g, (Type)n->type, gradient_place(G, n->args[0], to, index));
  return gradient_at(G, n, to, n->space->rank, index);
}

const Node *gradient_project(Gradient *G, const Node *n, unsigned count, const unsigned *axis) {
  const Node *index[GRADIENT_AXES];
  if (!n->space->rank) return n;
  const Space *to = gradient_space(G, n->space, count, axis);
  for (unsigned k = 0; k < n->space->rank; k++) index[k] = graph_i64(G->g, 0);        /* not used */
  for (unsigned k = 0; k < count; k++) index[axis[k]] = gradient_index(G, to, k);
  return gradient_move(G, n, to, index);
}
