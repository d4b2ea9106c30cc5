/* indices.c: which indices are in scope, and what introduces one (language, section 3). */
#include <string.h>
#include "frontend/names.h"

/* --- indices in scope ---------------------------------------------------------------------------------------------------------- */

void indices_enter(Lower *l, Indices *inner) {
  if (l->scope->ix) *inner = *l->scope->ix;
  else *inner = (Indices){.space = graph_scalar_space(l->graph)};
}

int index_find(const Indices *ix, const char *name) {
  for (unsigned k = ix ? ix->n : 0; k-- > (ix ? ix->barrier : 0);) if (!strcmp(ix->at[k].name, name)) return (int)k;
  return -1;
}

/* False after an error. */
bool index_add(Lower *l, Indices *ix, const char *name, const Node *extent, Range where) {
  int old = *name == '.' ? -1 : index_find(ix, name);
  if (old >= 0) {
    if (lower_error(l, where, "index '%s' is already in use here", name)) diag_note(l->diag, ix->at[old].where, "introduced here");
    return false;
  }
  if (ix->n == LOWER_MAX_AXES) {
    lower_error(l, where, "more than %d indices at one place", LOWER_MAX_AXES);
    return false;
  }
  ix->at[ix->n++] = (Index){name, extent, where, false};
  return true;
}

void indices_close(Lower *l, Indices *ix) {
  const Node *extent[LOWER_MAX_AXES];
  for (unsigned k = 0; k < ix->n; k++) extent[k] = ix->at[k].extent;
  ix->space = graph_space(l->graph, ix->n, extent);
  l->scope->ix = ix;
}

/* --- what introduces an index -------------------------------------------------------------------------------------------------------- */

bool name_is_value(Lower *l, const char *name) {
  if (index_find(l->scope->ix, name) >= 0) return false;
  const Binding *b = scope_find(l->scope->names, name);
  if (b) return !(b->poison && b->symbol->poisoned);
  return file_const(l, name) != NULL;
}

const char *sub_index(Lower *l, const Sub *sub, const Expr **limit) {
  const Expr *e = sub->expr;
  *limit = NULL;
  if (sub->ellipsis || !e) return NULL;
  if (e->kind == EXPR_CHAIN && e->n_links == 1 && e->links[0].op == OPER_LT && !e->parenthesised && e->a->kind == EXPR_NAME) {
    *limit = e->links[0].operand;
    e = e->a;
  }
  if (e->kind != EXPR_NAME || (!*limit && e->parenthesised)) return NULL;
  if (!*limit && (name_is_value(l, e->name) || !strcmp(e->name, "t"))) if (name_is_value(l, e->name) || l->context->has_step) return NULL;
  return e->name;
}

static const Expr *find_division(const Expr *e) {
  while (e && e->kind == EXPR_BINARY) {
    if (e->op == OPER_DIV) return e;
    const Expr *right = e->b && e->b->kind == EXPR_BINARY ? find_division(e->b) : NULL;
    if (right) return right;
    e = e->a;
  }
  return NULL;
}

static const Expr *find_real_name(Lower *l, const Expr *e) {
  if (!e) return NULL;
  if (e->kind == EXPR_NAME) { Value v = lower_expr(l, e); return value_is(&v, KIND_FLOAT) ? e : NULL; }
  if (e->kind != EXPR_BINARY && e->kind != EXPR_UNARY) return NULL;
  const Expr *a = find_real_name(l, e->a);
  return a ? a : find_real_name(l, e->b);
}

void index_not_integer(Lower *l, const Expr *e, const Value *v) {
  const Expr *at = find_division(e);
  if (value_is(v, KIND_BOOL)) { lower_error(l, e->where, "an index is an integer, this is a bool"); return; }
  if (at) { if (lower_error(l, at->op_where, "an index is an integer and '/' gives a real; use '//'")) diag_fix(l->diag, "//"); return; }
  at = find_real_name(l, e);
  if (at) lower_error(l, at->where, "'%s' is real; declare '%s: int'", at->name, at->name);
  else lower_error(l, e->where, "an index is an integer, this is real");
}

const Node *index_limit(Lower *l, const Expr *e) {
  Value v = lower_expr(l, e);
  if (!v.node) return NULL;
  if (!value_is(&v, KIND_INT)) {
    index_not_integer(l, e, &v);
    return NULL;
  }
  if (v.tensor || v.node->space->rank) {
    lower_error(l, e->where, "the range of an index is one number, this differs from element to element; compare in the body");
    return NULL;
  }
  return v.node;
}
