/* move.c: a value at other positions: index nodes replaced by expressions, and values over more or fewer indices.
 *
 * Values that are computed position by position are computed anew where that costs nothing (all indices inside their axes, as
 * many as before); what looks at more than its own position is read by MAP. */
#include "frontend/nodes.h"

/* --- a memo by id, fresh for each walk --------------------------------------------------------------------------------------------- */

static void memo_start(Lower *l) {
  unsigned n = l->graph->n_nodes;
  if (n > l->context->memo.n) {
    n += n/2 + 64;
    l->context->memo.to = arena_array(l->arena, n, sizeof *l->context->memo.to);
    l->context->memo.by = arena_array(l->arena, n, sizeof *l->context->memo.by);
    l->context->memo.n = n;
    l->context->memo.walk = 0;
  }
  l->context->memo.walk++;
}

static bool memo_has(const Lower *l, const Node *n) { return n->id < l->context->memo.n && l->context->memo.by[n->id] == l->context->memo.walk; }

static const Node *memo_set(Lower *l, const Node *n, const Node *to) {
  if (n->id < l->context->memo.n) { l->context->memo.by[n->id] = l->context->memo.walk; l->context->memo.to[n->id] = to; }
  return to;
}

/* --- pointwise values ------------------------------------------------------------------------------------------------------------------ */

static bool pointwise(const Node *n) {
  return n->op < OP_CONST || n->op == OP_INDEX || n->op == OP_READ || n->op == OP_MAP || n->op == OP_PHILOX;
}

typedef struct Move { Lower *l; const Space *from, *to; const Node *const *index; } Move;

static bool item_index(Lower *l, const Node *n) { return n->op == OP_INDEX && is_item_space(l, n->space); }

static const Space *space_of(Lower *l, const Space *to, unsigned n, const Node *const *args) {
  for (unsigned k = 0; k < n; k++) if (args[k]->space->rank) return to;
  return graph_scalar_space(l->graph);
}

/* An element of an operand; of the item's shape at a flat position. */
static const Node *read_at(Lower *l, const Node *read, const Space *to, unsigned n_index, const Node *const *index) {
  const Node *args[LOWER_MAX_AXES + 2];
  unsigned guards = read->aux == 1, n = 0;
  bool whole = l->context->module->operands[read->imm].item_shape && n_index == 1 && item_index(l, index[0]);
  for (unsigned k = 0; k < n_index && !whole; k++) args[n++] = index[k];
  for (unsigned k = 0; k < guards; k++) args[n++] = read->args[read->n_args - 1];
  return graph_node(l->graph, OP_READ, (Type)read->type, whole ? index[0]->space : space_of(l, to, n_index, index), read->imm, read->aux, n, args);
}

static const Node *move(Move *m, const Node *n);

static const Node *map_at(Lower *l, const Node *x, const Space *to, unsigned n, const Node *const *index) {
  const Node *args[LOWER_MAX_AXES + 1] = {x};
  bool same = n == to->rank && x->space == to;
  for (unsigned k = 0; k < n; k++) {
    args[k + 1] = index[k];
    same = same && index[k]->op == OP_INDEX && index[k]->imm == k && index[k]->space == to;
  }
  if (same) return x;
  return graph_node(l->graph, OP_MAP, (Type)x->type, n ? space_of(l, to, n, index) : to, 0, 0, n + 1, args);
}

static const Node *move_args(Move *m, const Node *n, unsigned first) {
  Lower *l = m->l;
  const Node **args = arena_array(l->arena, n->n_args + 1, sizeof *args);
  for (unsigned k = 0; k < n->n_args; k++) args[k] = k < first ? n->args[k] : move(m, n->args[k]);
  if (n->op == OP_MAP && n->n_args == 1) return node_spread(l, n->args[0], m->to);
  const Space *space = space_of(l, m->to, n->n_args - first, args + first);
  if (n->op == OP_READ && n->n_args - (n->aux == 1) == 1) return read_at(l, n, m->to, 1, args);
  if (n->op == OP_MAP && n->n_args > 1) return map_at(l, args[0], m->to, n->n_args - 1, args + 1);
  graph_at(l->graph, n->where);
  return graph_node(l->graph, (Op)n->op, (Type)n->type, space, n->imm, n->aux, n->n_args, args);
}

static const Node *move(Move *m, const Node *n) {
  Lower *l = m->l;
  if (!n->space->rank) return n;
  if (memo_has(l, n)) return l->context->memo.to[n->id];
  if (l->context->depth >= LOWER_MAX_DEPTH || ++l->context->steps > LOWER_MAX_STEPS) { l->context->exhausted = true; lower_error(l, n->where, "this needs too many steps to compile"); return graph_const(l->graph, (Type)n->type, 0); }
  l->context->depth++;
  const Node *made;
  if (!pointwise(n)) made = map_at(l, n, m->to, m->from->rank, m->index);
  else if (n->op == OP_INDEX) made = m->index[n->imm];
  else if (n->op == OP_READ && n->n_args == (unsigned)(n->aux == 1)) made = read_at(l, n, m->to, m->from->rank, m->index);
  else made = move_args(m, n, n->op == OP_MAP ? 1 : 0);
  l->context->depth--;
  return memo_set(l, n, made);
}

const Node *node_move(Lower *l, const Node *n, const Space *to, const Node *const *index) {
  if (!n->space->rank || n->space == to) {
    bool same = n->space == to;
    for (unsigned k = 0; same && k < to->rank; k++) same = index[k]->op == OP_INDEX && index[k]->imm == k && index[k]->space == to;
    if (!n->space->rank || same) return n;
  }
  memo_start(l);
  Move m = {l, n->space, to, index};
  for (const View *v = l->entry->views; v; v = v->next)                          /* a flat position that is taken apart and put together again */
    if (v->space == n->space && is_item_space(l, to) && v->flat->space->rank) memo_set(l, v->flat, index_node(l, to, 0));
  return move(&m, n);
}

const Node *node_at(Lower *l, const Node *n, const Space *of, const Space *to, const Node *const *index, unsigned count) {
  if (!n->space->rank) {                                                  /* filled by a scalar: 0 outside */
    const Node *inside = NULL;
    for (unsigned k = 0; k < count; k++) {
      if (index[k]->op == OP_INDEX && index[k]->space->extent[index[k]->imm] == of->extent[k]) continue;
      const Node *low = graph_op2(l->graph, OP_LE, graph_i64(l->graph, 0), index[k]), *high = graph_op2(l->graph, OP_LT, index[k], of->extent[k]);
      inside = bool_and(l, inside, graph_op2(l->graph, OP_AND, low, high));
    }
    return inside ? graph_select(l->graph, inside, n, graph_const(l->graph, (Type)n->type, 0)) : n;
  }
  if (n->op == OP_READ && n->n_args == (unsigned)(n->aux == 1)) return read_at(l, n, to, count, index);
  if (n->op == OP_CAST) return graph_cast(l->graph, (Type)n->type, node_at(l, n->args[0], of, to, index, count));
  bool inside = true, all = count == to->rank, cheap = n->op == OP_READ || n->op == OP_MAP || n->op == OP_INDEX;
  unsigned used = 0;
  for (unsigned k = 0; k < count && inside; k++) {
    inside = index[k]->op == OP_INDEX && index[k]->space == to && to->extent[index[k]->imm] == of->extent[k];
    all = all && inside && !(used >> index[k]->imm & 1);                  /* the same elements in another order: nothing is computed twice */
    if (inside) used |= 1u << index[k]->imm;
  }
  for (const View *v = l->entry->views; v && !inside && count == 1; v = v->next) inside = all = index[0] == v->flat && to == v->space && is_item_space(l, of);
  return inside && (all || cheap) ? node_move(l, n, to, index) : map_at(l, n, to, count, index);
}

/* --- over more or fewer indices ------------------------------------------------------------------------------------------------------------ */

static unsigned axes(Lower *l, const Node *n, const Space *s) {
  if (!n->space->rank) return 0;
  if (memo_has(l, n)) return (unsigned)(uintptr_t)l->context->memo.to[n->id];
  unsigned mask = 0, all = (1u << s->rank) - 1;
  l->context->depth++;
  if (n->op == OP_INDEX) mask = 1u << n->imm;
  else if (!pointwise(n) || (n->op == OP_READ && n->n_args == (unsigned)(n->aux == 1)) || l->context->depth > LOWER_MAX_DEPTH) mask = all;
  else for (unsigned k = n->op == OP_MAP; k < n->n_args && mask != all; k++) mask |= axes(l, n->args[k], s);
  l->context->depth--;
  memo_set(l, n, (const Node *)(uintptr_t)mask);
  return mask;
}

unsigned node_axes(Lower *l, const Node *n, const Space *s) {
  memo_start(l);
  return axes(l, n, s);
}

const Node *node_project(Lower *l, const Node *n, const Space *from, const Space *to, const unsigned *axis) {
  const Node *index[LOWER_MAX_AXES] = {0};
  if (from == to) { bool same = true; for (unsigned k = 0; k < to->rank; k++) same = same && axis[k] == k; if (same) return n; }
  if (!n->space->rank) return n;
  for (unsigned k = 0; k < from->rank; k++) index[k] = graph_i64(l->graph, 0);        /* not used */
  for (unsigned k = 0; k < to->rank; k++) index[axis[k]] = index_node(l, to, k);
  memo_start(l);
  Move m = {l, from, to, index};
  return move(&m, n);
}

static bool leaf_of_tensor(const Module *m, const Node *n) { return n->op == OP_READ; }

bool node_reads_data(Lower *l, const Node *n) { return node_uses(l->graph, n, leaf_of_tensor, l->context->module); }
