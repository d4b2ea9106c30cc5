/* totals.c: one number an item into one of the call. */
#include <math.h>
#include "frontend/values.h"

static const Node *identity(Lower *l, ReduceKind kind, Type type) {
  bool is_max = kind == REDUCE_MAX, extreme = is_max || kind == REDUCE_MIN;
  if (type == TYPE_BOOL) return graph_bool(l->graph, kind == REDUCE_EVERY);
  if (type == TYPE_I64) return graph_i64(l->graph, extreme ? is_max ? INT64_MIN : INT64_MAX : kind == REDUCE_PROD);
  return graph_f64(l->graph, extreme ? is_max ? -HUGE_VAL : HUGE_VAL : kind == REDUCE_PROD);
}

/* Items that do not come here contribute nothing. */
Value value_over_items(Lower *l, ReduceKind kind, Value item) {
  if (value_is(&item, KIND_FLOAT)) item = value_convert(l, item, TYPE_F64);
  const Node *node = item.node;
  if (l->scope->guard && l->scope->guard->level > LEVEL_GLOBAL) node = graph_select(l->graph, l->scope->guard, node, identity(l, kind, (Type)node->type));
  return value_of(graph_node(l->graph, OP_TOTAL, (Type)node->type, graph_scalar_space(l->graph), 0, kind, 1, &node));
}

/* A rule without param has one item: its numbers are the call's. */
Value value_of_call(Lower *l, Value item) {
  Value v = value_over_items(l, value_is(&item, KIND_BOOL) ? REDUCE_ANY : REDUCE_SUM, item);
  v.literal = false;
  return v;
}
