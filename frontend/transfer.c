/* transfer.c: nodes of one graph in another (conditions and first values of states), and values known while compiling. */
#include "frontend/nodes.h"

/* What a node needs, marked from high ids to low ones. */
static bool *needed(Arena *arena, const Graph *g, const Node *root) {
  bool *live = arena_array(arena, (size_t)root->id + 1, sizeof *live);
  live[root->id] = true;
  for (unsigned i = root->id + 1; i-- > 0;) {
    if (!live[i]) continue;
    const Node *n = g->nodes[i];
    for (unsigned k = 0; k < n->n_args; k++) live[n->args[k]->id] = true;
    for (unsigned k = 0; k < n->space->rank; k++) live[n->space->extent[k]->id] = true;
  }
  return live;
}

const Node *node_transfer(Lower *l, const Graph *from, const Node *root, Graph *to) {
  if (from == to) return root;
  bool *live = needed(l->arena, from, root);
  const Node **now = arena_array(l->arena, (size_t)root->id + 1, sizeof *now);
  for (unsigned i = 0; i <= root->id; i++) {
    if (!live[i]) continue;
    const Node *n = from->nodes[i];
    unsigned rank = n->space->rank;
    const Node **args = arena_array(l->arena, (size_t)n->n_args + rank + 1, sizeof *args);
    for (unsigned k = 0; k < rank; k++) args[k] = now[n->space->extent[k]->id];
    const Space *space = graph_space(to, rank, args);
    for (unsigned k = 0; k < n->n_args; k++) args[k] = now[n->args[k]->id];
    graph_at(to, n->where);
    now[i] = graph_node(to, (Op)n->op, (Type)n->type, space, n->imm, n->aux, n->n_args, args);
  }
  return now[root->id];
}

bool node_uses(const Graph *g, const Node *root, bool (*leaf)(const Module *, const Node *), const Module *m) {
  bool *live = needed(m->arena, g, root);
  for (unsigned i = 0; i <= root->id; i++) if (live[i] && leaf(m, g->nodes[i])) return true;
  return false;
}

static Bits power_of(Bits base, int64_t n, Type type) {
  uint64_t e = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
  Bits one = bits_from_f64(1, type), r = one;
  for (int bit = 63; bit >= 0; bit--) {
    Bits square[2] = {r, r}, times[2];
    r = element_eval(ELEMENT_MUL, type, type, square);
    times[0] = r, times[1] = base;
    if (e >> bit & 1) r = element_eval(ELEMENT_MUL, type, type, times);
  }
  Bits quotient[2] = {one, r};
  return n < 0 ? element_eval(ELEMENT_DIV, type, type, quotient) : r;
}

bool node_constant(const Graph *g, const Node *root, Bits *out) {
  Arena *arena = g->arena;
  bool *live = needed(arena, g, root);
  Bits *value = arena_array(arena, (size_t)root->id + 1, sizeof *value);
  for (unsigned i = 0; i <= root->id; i++) {
    if (!live[i]) continue;
    const Node *n = g->nodes[i];
    Bits args[4] = {0};
    if (n->space->rank || n->n_args > 4) return false;
    for (unsigned k = 0; k < n->n_args; k++) args[k] = value[n->args[k]->id];
    if (n->op == OP_CONST) value[i] = (Bits)n->imm;
    else if (op_is_element((Op)n->op)) value[i] = element_eval((Element)n->op, (Type)n->type, (Type)n->args[n->n_args - 1]->type, args);
    else if (n->op == OP_POWI) value[i] = power_of(args[0], (int64_t)args[1], (Type)n->type);
    else return false;
  }
  *out = value[root->id];
  return true;
}
