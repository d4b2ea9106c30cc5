/* tables.c: `const` values and tables of a file: known while compiling; a table read at an index is a constant or a choice. */
#include <string.h>
#include "frontend/lower.h"

#define TABLE_MAX 256                    /* elements that a choice may run through */

/* The arithmetic type of a const, and whether its storage rounds it first. */
static bool const_type(Lower *l, const Const *c, Type *type, Type *storage) {
  *type = *storage = TYPE_F64;
  if (!c->storage.type) return true;
  if (!strcmp(c->storage.type, "int")) { *type = *storage = TYPE_I64; return true; }
  if (!type_parse(c->storage.type, storage) || c->storage.stochastic || c->storage.flush) { lower_unsupported(l, c->storage.where, lower_text(l, c->storage.where)); return false; }
  *type = type_kind(*storage) == KIND_FLOAT ? TYPE_F64 : type_arithmetic(*storage);
  return true;
}

/* One element, computed in a scope that sees the file only. */
static Value const_element(Lower *l, const Const *c, const Expr *e, Range use) {
  Value bad = {0};
  Type type, storage;
  if (!const_type(l, c, &type, &storage)) return bad;
  for (const Call *outer = l->calls; outer; outer = outer->outer)
    if (outer->what == c) { lower_error(l, use, "const '%s' needs its own value", c->name.text); return bad; }
  Call call = {c->name.text, c, use, l->calls};
  Names *scope = l->scope;
  l->scope = scope_new(l, NULL);
  l->calls = &call;
  Value v = lower_expr(l, e);
  l->calls = call.outer;
  l->scope = scope;
  Bits bits;
  if (!v.node) return bad;
  if (v.tensor || !node_constant(l->graph, v.node, &bits)) {
    lower_error(l, e->where, "the value of a const is not known while compiling");
    return bad;
  }
  Type have = (Type)v.node->type;
  if (!c->storage.type && !c->is_table) return value_of(graph_const(l->graph, have, bits));         /* as it was written: an int stays one */
  if ((have == TYPE_BOOL) != (type == TYPE_BOOL) || (type == TYPE_I64 && have != TYPE_I64)) {
    lower_error(l, e->where, "'%s' is %s, this is %s", c->name.text, type == TYPE_BOOL ? "bool" : type == TYPE_I64 ? "int" : "real",
                have == TYPE_BOOL ? "a bool" : have == TYPE_I64 ? "a number" : "real");
    return bad;
  }
  v = value_of(graph_const(l->graph, have, bits));
  if (storage != type) {
    Bits stored = element_eval(ELEMENT_CAST, storage, have, &bits);
    v = value_of(graph_const(l->graph, type, element_eval(ELEMENT_CAST, type, storage, &stored)));
  }
  return value_convert(l, v, type);
}

Value const_value(Lower *l, const Const *c, Range use) {
  if (!c->is_table && !(c->shape && c->shape->n)) return const_element(l, c, c->value, use);
  if (lower_error(l, use, "'%s' is a table; read it at an index: %s[i]", c->name.text, c->name.text)) diag_note(l->diag, c->name.where, "first declared here");
  return (Value){0};
}

static bool shape_good(Lower *l, const Const *c) {
  if (!c->is_table || (c->shape && c->shape->n != 1)) { lower_unsupported(l, c->name.where, c->name.text); return false; }
  const Expr *extent = c->shape ? c->shape->at[0].expr : NULL;
  if (extent && extent->kind == EXPR_INT && extent->value == (int64_t)c->values.n) return true;
  if (!extent || extent->kind != EXPR_INT) { lower_unsupported(l, c->name.where, c->name.text); return false; }
  lower_error(l, c->shape->where, "'%s' has %lld elements by its shape, %u are given", c->name.text, (long long)extent->value, c->values.n);
  return false;
}

/* c[i]: 0 outside, like every read. */
Value const_index(Lower *l, const Const *c, const Expr *e) {
  Value bad = {0};
  if (!shape_good(l, c)) return bad;
  if (e->subs.n != 1 || e->subs.at[0].ellipsis) {
    lower_error(l, e->op_where, "'%s' has 1 axis, %u indices are given", c->name.text, e->subs.n);
    return bad;
  }
  Value at = lower_expr(l, e->subs.at[0].expr);
  if (!at.node) return bad;
  if (!value_is(&at, KIND_INT)) {
    lower_error(l, e->subs.at[0].where, "an index is an integer, this is %s", value_is(&at, KIND_BOOL) ? "a bool" : "real");
    return bad;
  }
  Type type, storage;
  if (!const_type(l, c, &type, &storage)) return bad;
  Value all = value_of(graph_const(l->graph, type, 0));
  Bits index;
  if (node_constant(l->graph, at.node, &index)) return index < c->values.n ? const_element(l, c, c->values.at[index], e->where) : all;
  if (c->values.n > TABLE_MAX) return lower_unsupported(l, e->where, lower_text(l, e->where));
  for (unsigned k = 0; k < c->values.n; k++) {
    Value one = const_element(l, c, c->values.at[k], e->where), here;
    if (!one.node) return bad;
    here = value_like(graph_op2(l->graph, OP_EQ, at.node, graph_i64(l->graph, k)), at, at);
    all = value_like(graph_select(l->graph, here.node, one.node, all.node), at, at);
  }
  return all;
}
