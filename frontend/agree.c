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

void extents_agree(Lower *l, const Node *a, const char *what_a, const Node *b, const char *what_b) {
  Bits x, y;
  if (a == b) return;
  if (node_uses(l->graph, a, leaf_of_elements, l->context->module) || node_uses(l->graph, b, leaf_of_elements, l->context->module)) return;
  if (a->op == OP_CONST && b->op == OP_CONST && node_constant(l->graph, a, &x) && node_constant(l->graph, b, &y) && x == y) return;
  const Node *cond = graph_op2(l->graph, OP_EQ, a, b);
  cond = under_guard(l, cond);
  for (unsigned i = 0; i < l->graph->n_requires; i++) if (l->graph->requires[i].cond == cond) return;
  const Node *values[2] = {graph_cast(l->graph, TYPE_F64, b), graph_cast(l->graph, TYPE_F64, a)};
  const char *names[2] = {what_b, what_a};
  graph_require(l->graph, arena_printf(l->arena, "%s is {}, %s is {}", what_b, what_a), cond, 2, values, names);
}
