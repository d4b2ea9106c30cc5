/* operands.c: hyper-parameters and operands as values: at entry, and what is assigned to them. */
#include "frontend/names.h"
#include "ir/graph_analysis.h"

/* A default that depends on sizes or other hyper-parameters is computed by every entry: NaN (INT64_MIN for an int) asks for it. */
Value hyper_value(Lower *l, unsigned k) {
  const Hyper *h = &l->context->module->hypers[k];
  const Node *given = graph_node(l->graph, OP_HYPER, h->type, graph_scalar_space(l->graph), k, 0, 0, NULL);
  if (!h->computed) return value_of(given);
  const HyperDecl *d = &l->context->rule->hypers.at[k];
  for (const Call *c = l->scope->calls; c; c = c->outer)
    if (c->what == d) { lower_error(l, d->value->where, "the default of '%s' needs its own value", h->name); return (Value){0}; }
  Call call = {h->name, d, d->value->where, l->scope->calls};
  Lexical inner;
  scope_enter(l, &inner);
  inner.names = l->context->rule_names;
  inner.ix = NULL;
  inner.insert = NULL;
  inner.calls = &call;
  Value v = value_convert(l, lower_expr(l, d->value), h->type);
  scope_leave(l);
  if (!v.node) return v;
  const Node *asks = h->type == TYPE_F64 ? graph_op2(l->graph, OP_NE, given, given) : graph_op2(l->graph, OP_EQ, given, graph_i64(l->graph, INT64_MIN));
  return value_of(graph_select(l->graph, asks, v.node, given));
}

/* The value of an operand before anything was assigned to it. */
Value operand_at_entry(Lower *l, const Symbol *symbol) {
  unsigned operand = master_read(l, symbol->index);
  const Operand *o = &l->context->module->operands[operand];
  Type type = type_arithmetic(o->storage);
  bool tensor = operand_is_tensor(o);
  Value v = {0};
  const Coded *coded = coded_of(l, symbol->index);
  if (coded) {
    v = (Value){.node = coded_read(l, coded, symbol->guard), .tensor = true, .space = coded_space(l, coded)};
    if (l->context->options->compute_f64) { v = value_convert(l, v, TYPE_F64); v.wide = true; }
    return v;
  }
  if (tensor && !o->item_shape && !o->shape) return v;                   /* its shape was refused */
  if (o->role == ROLE_OUT) {
    v = value_of(graph_const(l->graph, type, 0));
    if (tensor) v.space = operand_space_here(l, operand);
  } else if (!tensor) {
    v = value_of(graph_node(l->graph, OP_SCALAR, type, graph_scalar_space(l->graph), operand, 0, 0, NULL));
  } else {
    const Node *guard = symbol->guard;
    if (o->optional) guard = bool_and(l, guard, graph_node(l->graph, OP_PRESENT, TYPE_BOOL, graph_scalar_space(l->graph), operand, 0, 0, NULL));
    const Space *space = operand_space_here(l, operand);
    v = value_of(graph_node(l->graph, OP_READ, type, space, operand, guard != NULL, guard != NULL, &guard));
    v.space = space;
  }
  if (tensor && v.space->rank == 0) tensor = false;                       /* [] is one number */
  if (type == TYPE_F32 && (!tensor || l->context->options->compute_f64)) v = value_convert(l, v, TYPE_F64);
  v.tensor = tensor;
  v.wide = tensor && v.node->type == TYPE_F64;
  return v;
}

static const char *number_word(Type type) { return type == TYPE_BOOL ? "bool" : type == TYPE_I64 ? "int" : "real"; }

/* Storage never changes arithmetic: what is assigned stays unrounded until the entry ends. */
Value operand_fit(Lower *l, const Operand *o, Value v, const Expr *e) {
  Value bad = {0};
  if (!v.node) return bad;
  const Coded *coded = coded_of(l, (unsigned)(o - l->context->module->operands));
  Type type = coded ? TYPE_F32 : type_arithmetic(o->storage), have = (Type)v.node->type;
  bool tensor = operand_is_tensor(o) && (o->item_shape || !o->shape || o->shape->rank);
  if (!tensor && v.tensor) {
    if (o->scope == SCOPE_GLOBAL) lower_error(l, e->where, "'%s' is global, %s differs from element to element; use [all]", o->name, lower_text(l, e->where));
    else lower_error(l, e->where, "'%s' is one number%s, %s has %s", o->name, o->scope == SCOPE_SCALAR ? " an item" : "", lower_text(l, e->where), shape_of_value(l, &v));
    return bad;
  }
  if (o->scope == SCOPE_GLOBAL && !l->context->has_param && !tensor && !l->scope->scans && v.node->level > LEVEL_GLOBAL) v = value_of_call(l, v);
  if (o->scope == SCOPE_GLOBAL && (tensor ? !graph_is_global(l->graph, v.node) : v.node->level > LEVEL_GLOBAL)) {
    lower_error(l, e->where, "'%s' is global, %s differs from item to item; use [all]", o->name, lower_text(l, e->where));
    return bad;
  }
  if ((have == TYPE_BOOL) != (type == TYPE_BOOL)) {
    if (have == TYPE_BOOL) lower_error(l, e->where, "'%s' is %s, this is a bool; write where(c, 1, 0)", o->name, number_word(type));
    else lower_error(l, e->where, "'%s' is bool, this is a number; compare it", o->name);
    return bad;
  }
  if (type == TYPE_I64 && have != TYPE_I64) {
    lower_error(l, e->where, "'%s' is int, this is real; write int(...)", o->name);
    return bad;
  }
  const Space *space = coded ? coded_space(l, coded) : tensor ? operand_space_here(l, (unsigned)(o - l->context->module->operands)) : NULL;
  if (tensor && v.tensor) {
    v = value_to_space(l, v, space, e->where, o->name);
    if (!v.node) return bad;
  }
  bool stays = have == TYPE_F64 && v.wide;
  if (!tensor && type == TYPE_F32) type = TYPE_F64;
  if (tensor && type == TYPE_F32 && (stays || l->context->options->compute_f64)) type = TYPE_F64;
  v = value_convert(l, v, type);
  v.literal = false;
  v.tensor = tensor;
  v.space = space;
  v.wide = tensor && type == TYPE_F64;
  return v;
}
