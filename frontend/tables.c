/* tables.c: `const` values and tables of a file: known while compiling; a table read at an index is a constant or a choice. */
#include <string.h>
#include "frontend/names.h"

#define TABLE_MAX 256                    /* elements that a choice may run through */

/* The arithmetic type of a const, and whether its storage rounds it first. */
static bool const_type(Lower *l, const Const *c, Type *type, Type *storage) {
  *type = *storage = TYPE_F64;
  if (!c->storage.type) return true;
  if (!strcmp(c->storage.type, "int")) { *type = *storage = TYPE_I64; return true; }
  if (!type_parse(c->storage.type, storage) || c->storage.stochastic || c->storage.flush || c->storage.nearest) { lower_unsupported(l, c->storage.where, lower_text(l, c->storage.where)); return false; }
  *type = type_kind(*storage) == KIND_FLOAT ? TYPE_F64 : type_arithmetic(*storage);
  return true;
}

/* One element, computed in a scope that sees the file only. */
static Value const_element(Lower *l, const Const *c, const Expr *e, Range use) {
  Value bad = {0};
  Type type, storage;
  if (!const_type(l, c, &type, &storage)) return bad;
  for (const Call *outer = l->scope->calls; outer; outer = outer->outer)
    if (outer->what == c) { lower_error(l, use, "const '%s' needs its own value", c->name.text); return bad; }
  Call call = {c->name.text, c, use, l->scope->calls};
  Lexical inner;
  scope_enter(l, &inner);
  inner.names = scope_new(l, NULL);
  inner.calls = &call;
  Value v = lower_expr(l, e);
  scope_leave(l);
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

/* Extents of its axes, which are literals. */
static bool shape_good(Lower *l, const Const *c, int64_t *extent, unsigned *n) {
  *n = c->shape ? c->shape->n : 1;
  extent[0] = c->values.n;
  int64_t all = 1;
  if (!c->is_table || !*n || *n > LOWER_MAX_AXES) { lower_error(l, c->name.where, "'%s' is one number, it has no axes", c->name.text); return false; }
  for (unsigned k = 0; c->shape && k < *n; k++) {
    const Dim *d = &c->shape->at[k];
    if (!d->expr || d->expr->kind != EXPR_INT || d->expr->value < 0 || d->expr->value > INT32_MAX) {
      lower_error(l, d->where, "the shape of a const table is written in integers");
      return false;
    }
    extent[k] = d->expr->value;
    if (__builtin_mul_overflow(all, extent[k], &all)) all = -1;
  }
  if (!c->shape || all == (int64_t)c->values.n) return true;
  lower_error(l, c->shape->where, "'%s' has %lld elements by its shape, %u are given", c->name.text, (long long)all, c->values.n);
  return false;
}

/* Its place in the table, row-major; -1 outside. NULL after an error. */
static const Node *table_position(Lower *l, const Const *c, const Expr *e, const int64_t *extent, unsigned n) {
  const Node *flat = NULL, *inside = NULL;
  if (e->subs.n != n) {
    lower_error(l, e->op_where, "'%s' has %u ax%s, %u ind%s given", c->name.text, n, n == 1 ? "is" : "es", e->subs.n, e->subs.n == 1 ? "ex is" : "ices are");
    return NULL;
  }
  for (unsigned k = 0; k < n; k++) {
    const Expr *x = e->subs.at[k].expr;
    if (!x) { lower_error(l, e->subs.at[k].where, "a table takes no '...'"); return NULL; }
    Value at = lower_expr(l, x);
    if (!at.node) return NULL;
    if (!value_is(&at, KIND_INT)) { index_not_integer(l, x, &at); return NULL; }
    if (at.tensor) { lower_error(l, x->where, "an index is one integer, this is a whole tensor"); return NULL; }
    const Node *size = graph_i64(l->graph, extent[k]);
    if (n > 1) {
      const Node *here = graph_op2(l->graph, OP_AND, graph_op2(l->graph, OP_LE, graph_i64(l->graph, 0), at.node), graph_op2(l->graph, OP_LT, at.node, size));
      inside = bool_and(l, inside, here);
    }
    flat = flat ? graph_op2(l->graph, OP_ADD, graph_op2(l->graph, OP_MUL, flat, size), at.node) : at.node;
  }
  return inside ? graph_select(l->graph, inside, flat, graph_i64(l->graph, -1)) : flat;
}

static const char *table_shape(Lower *l, const int64_t *extent, unsigned n) {
  Text out = {.arena = l->arena};
  for (unsigned k = 0; k < n; k++) text_add(&out, "%s%lld", k ? ", " : "[", (long long)extent[k]);
  text_add(&out, "]");
  return out.data;
}

/* c[i]: 0 outside, like every read. */
Value const_index(Lower *l, const Const *c, const Expr *e) {
  Value bad = {0};
  int64_t extent[LOWER_MAX_AXES];
  unsigned n;
  if (!shape_good(l, c, extent, &n)) return bad;
  const Node *at = table_position(l, c, e, extent, n);
  Type type, storage;
  if (!at || !const_type(l, c, &type, &storage)) return bad;
  Value all = value_of(graph_const(l->graph, type, 0));
  Bits index;
  if (node_constant(l->graph, at, &index)) {
    if (index < c->values.n) return const_element(l, c, c->values.at[index], e->where);
    lower_warning(l, e->where, "always outside the table, reads 0: '%s' is %s", c->name.text, table_shape(l, extent, n));
    return all;
  }
  if (c->values.n > TABLE_MAX) { lower_error(l, e->where, "a const table that is read at a run-time index has at most %d elements; give it as 'in global'", TABLE_MAX); return bad; }
  for (unsigned k = 0; k < c->values.n; k++) {
    Value one = const_element(l, c, c->values.at[k], e->where);
    if (!one.node) return bad;
    all = value_of(graph_select(l->graph, graph_op2(l->graph, OP_EQ, at, graph_i64(l->graph, k)), one.node, all.node));
  }
  return all;
}
