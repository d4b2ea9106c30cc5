/* patterns.c: `p is [..., I, J]`: the question, and the names and the view that it gives. */
#include <string.h>
#include "frontend/names.h"

static bool is_new_size(Lower *l, const Dim *d) {
  if (d->flat) return true;
  if (d->ellipsis || d->expr->kind != EXPR_NAME) return false;
  const Binding *b = scope_find(l->scope->names, d->expr->name);
  return !b || b->poison || b->partial;
}

const Node *pattern_test(Lower *l, const Shape *shape) {
  bool open = false;
  for (unsigned k = 0; k < shape->n; k++) open |= shape->at[k].ellipsis || shape->at[k].flat;
  const Node *rank = graph_node(l->graph, OP_SIZE, TYPE_I64, graph_scalar_space(l->graph), l->context->param, -2, 0, NULL);
  const Node *n = graph_i64(l->graph, (int64_t)shape->n - open);
  const Node *test = open && shape->n == 1 ? graph_bool(l->graph, true) : graph_op2(l->graph, open ? OP_GE : OP_EQ, rank, n);
  for (unsigned k = 0; k < shape->n; k++) {
    const Dim *d = &shape->at[k];
    if (d->ellipsis || is_new_size(l, d)) continue;
    const Node *want = index_limit(l, d->expr);
    if (want) test = bool_and(l, test, graph_op2(l->graph, OP_EQ, dim_extent(l, l->context->param, true, shape, k), want));
  }
  return test;
}

/* For who shows extents in the rule's words. */
void extent_named(Lower *l, unsigned operand, const char *name, const Node *extent, unsigned n_axes) {
  Module *m = l->context->module;
  bool whole = extent->op == OP_SIZE;
  if (!whole && (extent->op != OP_IDIV || extent->args[0]->op != OP_SIZE)) return;
  SizeName one = {name, operand, whole ? extent->aux : -1, whole ? 0 : n_axes - 1};
  for (unsigned i = 0; i < m->n_size_names; i++)
    if (!strcmp(m->size_names[i].name, name) || (m->size_names[i].operand == operand && m->size_names[i].axis == one.axis && m->size_names[i].rest == one.rest)) return;
  m->size_names = arena_grow(l->arena, m->size_names, &l->context->size_names_capacity, m->n_size_names + 1, sizeof *m->size_names);
  m->size_names[m->n_size_names++] = one;
}

/* Binds its names, or binds them again under a narrower condition. */
void pattern_bind(Lower *l, const Shape *shape, const Node *when) {
  const Node *extent[LOWER_MAX_AXES], *zero = graph_i64(l->graph, 0);
  if (shape->n > LOWER_MAX_AXES) { lower_error(l, shape->where, "more than %d axes", LOWER_MAX_AXES); return; }
  for (unsigned k = 0; k < shape->n; k++) {
    const Dim *d = &shape->at[k];
    const Node *raw = dim_extent(l, l->context->param, true, shape, k);
    extent[k] = when && when->op != OP_CONST ? graph_select(l->graph, when, raw, zero) : raw;
    const char *name = d->flat ? d->flat : d->ellipsis || d->expr->kind != EXPR_NAME ? NULL : d->expr->name;
    if (!name) continue;
    Binding *b = scope_find_here(l->scope->names, name);
    bool ours = b && b->symbol->kind == SYMBOL_SIZE && b->symbol->where.begin == d->where.begin && b->symbol->where.source == d->where.source;
    if (!ours && scope_find(l->scope->names, name) && !is_new_size(l, d)) continue;
    if (!ours) b = scope_add(l, symbol_new(l, name, SYMBOL_SIZE, 0, d->where));
    b->value = value_of(extent[k]);
    b->set = true;
    extent_named(l, l->context->param, name, raw, shape->n);
  }
  if (shape->n) l->scope->view = view_make(l, shape, shape->n, extent);
}

Value lower_is(Lower *l, const Expr *e) {
  Value v = e->a->kind == EXPR_NAME ? name_value(l, e->a->name, e->a->where, false) : lower_expr(l, e->a);
  if (!v.node) return v;
  if (!v.tensor || !is_item_space(l, value_space(l, &v))) {
    lower_error(l, e->a->where, "'is' asks for the shape of a param, or of what has its shape");
    return (Value){0};
  }
  const Node *test = pattern_test(l, e->shape);
  Patterns *asked = l->scope->patterns;
  if (asked && asked->n < sizeof asked->at/sizeof *asked->at) {
    asked->at[asked->n++] = e->shape;
    pattern_bind(l, e->shape, test);
  }
  return value_of(test);
}
