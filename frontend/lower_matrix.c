/* lower_matrix.c: whole matrices: a @ b, a', eigvec, qr: on the last two axes, leading axes equal. */
#include "frontend/expressions.h"

static bool is_matrix(Lower *l, Range where, const Value *v, const char *what) {
  if (!v->node) return false;
  if (l->scope->ix) { lower_error(l, where, "'%s' takes whole tensors; an indexed statement computes one element", what); return false; }
  if (v->tensor && value_space(l, v)->rank >= 2) return true;
  lower_error(l, where, "'%s' needs at least two axes, this has %u", what, v->tensor ? value_space(l, v)->rank : 0);
  return false;
}

static Value tensor(const Node *node, const Space *space, bool wide) { return (Value){.node = node, .tensor = true, .space = space, .wide = wide}; }

Value lower_matmul(Lower *l, Range where, Value a, Value b) {
  a = value_viewed(l, a, where);
  b = value_viewed(l, b, where);
  if (!is_matrix(l, where, &a, "@") || !is_matrix(l, where, &b, "@")) return (Value){0};
  const Space *x = value_space(l, &a), *y = value_space(l, &b);
  unsigned rank = x->rank, lead = rank - 2;
  if (rank != y->rank) { lower_error(l, where, "'@' needs equal leading axes: the sides have %u and %u axes", rank, y->rank); return (Value){0}; }
  if (rank == LOWER_MAX_AXES) { lower_error(l, where, "more than %d indices at one place", LOWER_MAX_AXES); return (Value){0}; }
  Value v[2] = {a, b};
  if (value_is(&a, KIND_BOOL) || value_is(&b, KIND_BOOL)) { lower_error(l, where, "'@' on a bool; write where(c, 1, 0)"); return (Value){0}; }
  value_join(l, v, 2);
  const Node *extent[LOWER_MAX_AXES], *left[LOWER_MAX_AXES], *right[LOWER_MAX_AXES];
  for (unsigned k = 0; k < lead; k++) {
    extent[k] = x->extent[k];
    extents_agree(l, where, (Extent){x->extent[k], "the left side's axis of '@'", axis_where(&a, k)}, (Extent){y->extent[k], "the right side's", axis_where(&b, k)});
  }
  extents_agree(l, where, (Extent){x->extent[rank - 1], "the left side's last axis of '@'", axis_where(&a, rank - 1)},
                (Extent){y->extent[rank - 2], "the right side's last but one", axis_where(&b, rank - 2)});
  extent[lead] = x->extent[lead];
  extent[lead + 1] = y->extent[rank - 1];
  extent[lead + 2] = x->extent[rank - 1];
  const Space *body = graph_space(l->graph, rank + 1, extent), *result = graph_space(l->graph, rank, extent);
  for (unsigned k = 0; k < lead; k++) left[k] = right[k] = index_node(l, body, k);
  left[lead] = index_node(l, body, lead);
  left[lead + 1] = right[lead] = index_node(l, body, rank);
  right[lead + 1] = index_node(l, body, lead + 1);
  const Node *args[2] = {node_at(l, v[0].node, x, body, left, rank), node_at(l, v[1].node, y, body, right, rank)};
  bool ints = args[0]->type == TYPE_I64;
  if (ints) args[0] = graph_op2(l->graph, OP_MUL, args[0], args[1]);
  if (ints || (!args[0]->space->rank && !args[1]->space->rank)) args[0] = node_spread(l, args[0], body);
  const Node *node = ints ? graph_node(l->graph, OP_REDUCE, TYPE_I64, result, 1, REDUCE_SUM, 1, args)
                          : graph_node(l->graph, OP_CONTRACT, (Type)args[0]->type, result, 1, 0, 2, args);
  return tensor(node, result, v[0].wide || v[1].wide);
}

Value lower_transpose(Lower *l, Range where, Value v) {
  v = value_viewed(l, v, where);
  if (!is_matrix(l, where, &v, "'")) return (Value){0};
  const Space *from = value_space(l, &v);
  const Node *extent[LOWER_MAX_AXES], *index[LOWER_MAX_AXES];
  unsigned rank = from->rank;
  for (unsigned k = 0; k < rank; k++) extent[k] = from->extent[k + 2 < rank ? k : 2*rank - 3 - k];
  const Space *to = graph_space(l->graph, rank, extent);
  for (unsigned k = 0; k < rank; k++) index[k] = index_node(l, to, k + 2 < rank ? k : 2*rank - 3 - k);
  return tensor(node_at(l, v.node, from, to, index, rank), to, v.wide);
}

Value lower_matrix_function(Lower *l, const Expr *e, Op op, Value v) {
  v = value_viewed(l, v, e->args.at[0]->where);
  if (!is_matrix(l, e->op_where, &v, e->name)) return (Value){0};
  v = value_real(l, v);
  if (!value_is(&v, KIND_FLOAT)) { lower_error(l, e->args.at[0]->where, "'%s' of a bool; write where(c, 1, 0)", e->name); return (Value){0}; }
  const Space *space = value_space(l, &v);
  const Node *arg = node_spread(l, v.node, space);
  if (op == OP_EIGVEC) 
    extents_agree(l, e->op_where, (Extent){space->extent[space->rank - 2], "the last but one axis of eigvec", axis_where(&v, space->rank - 2)},
                  (Extent){space->extent[space->rank - 1], "the last axis", axis_where(&v, space->rank - 1)});
  return tensor(graph_node(l->graph, op, (Type)arg->type, space, 0, 0, 1, &arg), space, v.wide);
}
