/* sizes.c: shapes that name sizes: which axis gives a size its value (language, sections 2 and 5). */
#include <string.h>
#include "frontend/names.h"

/* --- what is declared, before the walk ----------------------------------------------------------------------------------------------- */

int operand_reserved(const Lower *l, const Decl *d) {
  for (unsigned i = 0; i < l->context->n_reserved; i++) if (l->context->reserved[i].decl == d) return (int)l->context->reserved[i].operand;
  return -1;
}

static bool same_text(Range a, Range b) {
  const char *x = a.source->text + a.begin, *y = b.source->text + b.begin, *ex = a.source->text + a.end, *ey = b.source->text + b.end;
  for (;;) {
    while (x < ex && (*x == ' ' || *x == '\n' || *x == '\t')) x++;
    while (y < ey && (*y == ' ' || *y == '\n' || *y == '\t')) y++;
    if (x == ex || y == ey) return x == ex && y == ey;
    if (*x++ != *y++) return false;
  }
}

bool shape_is_items(Lower *l, const Shape *s) {
  return l->context->has_param && (s == l->context->param_shape || (l->context->param_shape && s && s->n && same_text(s->where, l->context->param_shape->where)));
}

const char *dim_name(const Dim *d) { return d->flat ? d->flat : !d->ellipsis && d->expr->kind == EXPR_NAME ? d->expr->name : NULL; }

static void define(Lower *l, const char *name, unsigned operand, const Shape *shape, unsigned dim, bool item, const StmtList *body) {
  if (scope_find(l->scope->names, name) || count_assignments(body, name)) return;
  l->context->sizes = arena_grow(l->arena, l->context->sizes, &l->context->sizes_capacity, l->context->n_sizes + 1, sizeof *l->context->sizes);
  l->context->sizes[l->context->n_sizes] = (SizeDef){name, operand, shape, dim, item, false, shape->at[dim].where};
  scope_add(l, symbol_new(l, name, SYMBOL_SIZE, l->context->n_sizes++, shape->at[dim].where));
}

/* The one name without a value in `S + 1`, `2*H`; NULL: there is none, or more. */
static const char *unknown_in(Lower *l, const Expr *e, unsigned *n) {
  const char *name = NULL;
  if (e->kind == EXPR_NAME && !scope_find(l->scope->names, e->name)) { name = e->name; ++*n; }
  if (e->kind != EXPR_BINARY) return name;
  const char *a = unknown_in(l, e->a, n), *b = unknown_in(l, e->b, n);
  return a ? a : b;
}

static bool solvable(const Expr *e) {
  return e->kind == EXPR_NAME || e->kind == EXPR_INT || (e->kind == EXPR_BINARY && (e->op == OPER_ADD || e->op == OPER_SUB || e->op == OPER_MUL) && solvable(e->a) && solvable(e->b));
}

const char *dim_gives(Lower *l, const Dim *d, bool alone) {
  unsigned unknown = 0;
  const char *name = dim_name(d);
  if (alone || name || d->ellipsis || !solvable(d->expr)) return alone ? name : NULL;
  name = unknown_in(l, d->expr, &unknown);
  return unknown == 1 ? name : NULL;
}

void sizes_define(Lower *l, unsigned operand, const Shape *shape, bool items, const StmtList *body, bool alone) {
  for (unsigned a = 0; a < shape->n; a++) {
    const char *name = dim_gives(l, &shape->at[a], alone);
    if (name) define(l, name, items ? l->context->param : operand, shape, a, items, body);
  }
}

void sizes_reserve(Lower *l, const StmtList *body) {
  Module *m = l->context->module;
  for (int pass = 0; pass < 3; pass++)
    for (unsigned i = 0; i < body->n; i++) {
      const Stmt *s = body->at[i];
      if (s->kind != STMT_DECL) continue;
      for (unsigned k = 0; k < s->decls.n; k++) {
        const Decl *d = &s->decls.at[k];
        bool tensor = s->scope == SCOPE_TENSOR, items = tensor && l->context->has_param && (!d->shape || shape_is_items(l, d->shape));
        if (pass == 0) {
          m->operands = arena_grow(l->arena, m->operands, &l->context->operands_capacity, m->n_operands + 1, sizeof *m->operands);
          m->operands[m->n_operands] = (Operand){.name = d->name, .external = d->external, .role = s->role, .scope = s->scope, .storage = tensor ? TYPE_F32 : TYPE_F64,
            .entry = l->entry->name, .item_shape = items, .where = d->where};
          l->context->reserved = arena_grow(l->arena, l->context->reserved, &l->context->reserved_capacity, l->context->n_reserved + 1, sizeof *l->context->reserved);
          l->context->reserved[l->context->n_reserved++] = (Reserved){d, m->n_operands++};
          continue;
        }
        if (!d->shape || s->role == ROLE_STATE) continue;
        sizes_define(l, (unsigned)operand_reserved(l, d), d->shape, items, body, pass == 1);
      }
    }
}

/* --- the value of a size --------------------------------------------------------------------------------------------------------------- */

static bool mentions(const Expr *e, const char *name) {
  return e && ((e->kind == EXPR_NAME && !strcmp(e->name, name)) || (e->kind == EXPR_BINARY && (mentions(e->a, name) || mentions(e->b, name))));
}

const Node *size_solved(Lower *l, const Node *x, const Expr *e, const char *name) {
  while (x && e->kind == EXPR_BINARY) {
    bool left = mentions(e->a, name);
    const Node *known = index_limit(l, left ? e->b : e->a);
    if (!known) { x = NULL; break; }
    if (e->op == OPER_ADD) x = graph_op2(l->graph, OP_SUB, x, known);
    else if (e->op == OPER_SUB) x = left ? graph_op2(l->graph, OP_ADD, x, known) : graph_op2(l->graph, OP_SUB, known, x);
    else x = graph_op2(l->graph, OP_IDIV, x, known);
    e = left ? e->a : e->b;
  }
  return x;
}

Value size_value(Lower *l, const Symbol *symbol, Range use) {
  SizeDef *d = &l->context->sizes[symbol->index];
  const Node *x = dim_extent(l, d->operand, d->item, d->shape, d->dim);
  const Expr *e = d->shape->at[d->dim].expr;
  if (!e || e->kind == EXPR_NAME) return value_of(x);
  if (d->solving) { lower_error(l, use, "size '%s' cannot be solved from [%s]", d->name, lower_text(l, e->where)); return (Value){0}; }
  Indices *ix = l->scope->ix;
  l->scope->ix = NULL;
  d->solving = true;
  x = size_solved(l, x, e, d->name);
  l->context->sizes[symbol->index].solving = false;
  l->scope->ix = ix;
  return x ? value_of(x) : (Value){0};
}

const Space *operand_space_here(Lower *l, unsigned operand) {
  const Operand *o = &l->context->module->operands[operand];
  if (o->item_shape || !o->shape) return item_space(l);
  const Node *extent[LOWER_MAX_AXES];
  for (unsigned k = 0; k < o->shape->rank; k++) extent[k] = node_transfer(l, l->context->module->shapes, o->shape->extent[k], l->graph);
  return graph_space(l->graph, o->shape->rank, extent);
}
