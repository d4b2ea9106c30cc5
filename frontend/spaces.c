/* spaces.c: spaces, their indices, and the extents that the caller gives. */
#include "frontend/nodes.h"

const Node *bool_and(Lower *l, const Node *a, const Node *b) {
  if (!a || !b) return a ? a : b;
  return graph_op2(l->graph, OP_AND, a, b);
}

const Node *index_node(Lower *l, const Space *s, unsigned axis) { return graph_node(l->graph, OP_INDEX, TYPE_I64, s, axis, 0, 0, NULL); }

const Node *node_spread(Lower *l, const Node *n, const Space *s) {
  return n->space->rank || !s->rank ? n : graph_node(l->graph, OP_MAP, (Type)n->type, s, 0, 0, 1, &n);
}

const Space *space_pick(Lower *l, const Space *from, unsigned n, const unsigned *axis) {
  const Node *extent[LOWER_MAX_AXES];
  for (unsigned k = 0; k < n; k++) extent[k] = from->extent[axis[k]];
  return graph_space(l->graph, n, extent);
}

const Space *item_space(Lower *l) {
  const Node *count = graph_node(l->graph, OP_SIZE, TYPE_I64, graph_scalar_space(l->graph), l->context->param, -1, 0, NULL);
  return graph_space(l->graph, 1, &count);
}

bool is_item_space(Lower *l, const Space *s) {
  return l->context->has_param && s->rank == 1 && s->extent[0]->op == OP_SIZE && s->extent[0]->aux == -1 && s->extent[0]->imm == l->context->param;
}

const Space *value_space(Lower *l, const Value *v) {
  return v->node && v->node->space->rank ? v->node->space : v->space ? v->space : item_space(l);
}

const Node *size_node(Lower *l, unsigned operand, int32_t axis) {
  return graph_node(l->graph, OP_SIZE, TYPE_I64, graph_scalar_space(l->graph), operand, axis, 0, NULL);
}

/* As it lies in memory: what the caller gives. */
const Node *dim_extent(Lower *l, unsigned operand, bool item, const Shape *shape, unsigned dim) {
  unsigned open = 0;
  while (open < shape->n && !shape->at[open].ellipsis && !shape->at[open].flat) open++;
  if (item && shape->n == 1) return size_node(l, operand, -1);
  if (dim < open) return size_node(l, operand, (int32_t)dim);
  if (dim > open) return size_node(l, operand, -3 - (int32_t)(shape->n - 1 - dim));
  const Node *others = NULL;
  for (unsigned k = 0; k < shape->n; k++) {
    if (k == dim) continue;
    const Node *one = dim_extent(l, operand, item, shape, k);
    others = others ? graph_op2(l->graph, OP_MUL, others, one) : one;
  }
  return others ? graph_op2(l->graph, OP_IDIV, size_node(l, operand, -1), others) : size_node(l, operand, -1);
}
