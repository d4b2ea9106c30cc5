/* agree.c: what must hold at entry: extents that are one, under the conditions that are known before anything is read. */
#include "frontend/nodes.h"

static bool leaf_of_elements(const Module *m, const Node *n) { return n->op == OP_READ || n->op == OP_CARRY || n->op == OP_RESULT || n->op == OP_TOTAL; }

/* What of the enclosing conditions is known before anything is read: a requirement holds where they do. */
static const Node *known_part(Lower *l, const Node *guard) {
  if (guard->op == OP_AND && node_uses(l->graph, guard, leaf_of_elements, l->context->module)) {
    const Node *a = known_part(l, guard->args[0]), *b = known_part(l, guard->args[1]);
    return bool_and(l, a, b);
  }
  return node_uses(l->graph, guard, leaf_of_elements, l->context->module) ? NULL : guard;
}

const Node *under_guard(Lower *l, const Node *cond) {
  const Node *guard = l->scope->guard ? known_part(l, l->scope->guard) : NULL;
  return guard ? graph_op2(l->graph, OP_OR, graph_op1(l->graph, OP_NOT, guard), cond) : cond;
}

/* Never taken: what stands there is no mistake. */
static bool in_dead_branch(Lower *l) {
  Bits taken;
  return l->scope->guard && node_constant(l->graph, l->scope->guard, &taken) && !taken;
}

static void note_extent(Lower *l, Range at, const Extent *e, int64_t n) {
  bool here = e->where.source == at.source && e->where.begin == at.begin && e->where.end == at.end;
  if (e->where.source && !here) diag_note(l->diag, e->where, "%s is %lld", e->what, (long long)n);
}

int64_t extent_owner(const Node *extent) { return extent->op == OP_SIZE ? extent->imm : ABOUT_SHAPES; }

void extents_agree(Lower *l, Range at, Extent a, Extent b) {
  Bits x, y;
  if (a.node == b.node) return;
  if (node_uses(l->graph, a.node, leaf_of_elements, l->context->module) || node_uses(l->graph, b.node, leaf_of_elements, l->context->module)) return;
  if (node_constant(l->graph, a.node, &x) && node_constant(l->graph, b.node, &y)) {
    if (x == y || in_dead_branch(l)) return;
    if (!lower_error(l, at, "%s is %lld, %s is %lld: this never fits", b.what, (long long)y, a.what, (long long)x)) return;
    note_extent(l, at, &a, (int64_t)x);
    note_extent(l, at, &b, (int64_t)y);
    return;
  }
  const Node *cond = under_guard(l, graph_op2(l->graph, OP_EQ, a.node, b.node));
  for (unsigned i = 0; i < l->graph->n_requires; i++) if (l->graph->requires[i].cond == cond) return;
  const Node *values[2] = {graph_cast(l->graph, TYPE_F64, b.node), graph_cast(l->graph, TYPE_F64, a.node)};
  const char *names[2] = {b.what, a.what};
  graph_require(l->graph, arena_printf(l->arena, "%s is {}, %s is {}", b.what, a.what), cond, 2, values, names)->about = extent_owner(b.node) >= 0 ? extent_owner(b.node) : extent_owner(a.node);
}
