/* sizes.c: shapes that name sizes: which axis gives a size its value, and what every other axis must then be (language, sections 2 and 5). */
#include <string.h>
#include "frontend/lower.h"

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

static const char *bare(const Dim *d) { return d->flat ? d->flat : !d->ellipsis && d->expr->kind == EXPR_NAME ? d->expr->name : NULL; }

static void define(Lower *l, const char *name, unsigned operand, const Shape *shape, unsigned dim, bool item, const StmtList *body) {
  if (scope_find(l->scope->names, name) || count_assignments(body, name)) return;
  l->context->sizes = arena_grow(l->arena, l->context->sizes, &l->context->sizes_capacity, l->context->n_sizes + 1, sizeof *l->context->sizes);
  l->context->sizes[l->context->n_sizes] = (SizeDef){name, operand, shape, dim, item, false, shape->at[dim].where};
  scope_add(l, symbol_new(l, name, SYMBOL_SIZE, l->context->n_sizes++, shape->at[dim].where));
}

/* The one name without a value in `S + 1`, `2*H`. */
static void unknown_in(Lower *l, const Expr *e, const char **name, unsigned *n) {
  if (!e) return;
  if (e->kind == EXPR_NAME && !scope_find(l->scope->names, e->name)) { *name = e->name; ++*n; }
  if (e->kind != EXPR_BINARY) return;
  unknown_in(l, e->a, name, n);
  unknown_in(l, e->b, name, n);
}

static bool solvable(const Expr *e) {
  return e->kind == EXPR_NAME || e->kind == EXPR_INT || (e->kind == EXPR_BINARY && (e->op == OPER_ADD || e->op == OPER_SUB || e->op == OPER_MUL) && solvable(e->a) && solvable(e->b));
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
        unsigned operand = (unsigned)operand_reserved(l, d);
        if (items) operand = l->context->param;
        for (unsigned a = 0; a < d->shape->n; a++) {
          const Dim *dim = &d->shape->at[a];
          const char *name = bare(dim);
          unsigned unknown = 0;
          if (pass == 1 && name) define(l, name, operand, d->shape, a, items, body);
          if (pass != 2 || name || dim->ellipsis || !solvable(dim->expr)) continue;
          unknown_in(l, dim->expr, &name, &unknown);
          if (unknown == 1) define(l, name, operand, d->shape, a, items, body);
        }
      }
    }
}

/* --- the value of a size --------------------------------------------------------------------------------------------------------------- */

static const Node *size_node(Lower *l, unsigned operand, int32_t axis) {
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

static bool mentions(const Expr *e, const char *name) {
  return e && ((e->kind == EXPR_NAME && !strcmp(e->name, name)) || (e->kind == EXPR_BINARY && (mentions(e->a, name) || mentions(e->b, name))));
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
  while (x && e->kind == EXPR_BINARY) {
    bool left = mentions(e->a, d->name);
    const Node *known = index_limit(l, left ? e->b : e->a);
    if (!known) { x = NULL; break; }
    if (e->op == OPER_ADD) x = graph_op2(l->graph, OP_SUB, x, known);
    else if (e->op == OPER_SUB) x = left ? graph_op2(l->graph, OP_ADD, x, known) : graph_op2(l->graph, OP_SUB, known, x);
    else x = graph_op2(l->graph, OP_IDIV, x, known);
    e = left ? e->a : e->b;
  }
  l->context->sizes[symbol->index].solving = false;
  l->scope->ix = ix;
  return x ? value_of(x) : (Value){0};
}

/* --- what a declaration requires ---------------------------------------------------------------------------------------------------------- */

static void require(Lower *l, const Node *absent, const Node *cond, const char *text, const Node *a, const char *name_a, const Node *b, const char *name_b) {
  if (absent) cond = graph_op2(l->graph, OP_OR, absent, cond);
  cond = under_guard(l, cond);
  const Node *values[2] = {graph_cast(l->graph, TYPE_F64, a), graph_cast(l->graph, TYPE_F64, b)};
  const char *names[2] = {name_a, name_b};
  graph_require(l->graph, text, cond, 2, values, names);
}

static bool leaf_of_call(const Module *m, const Node *n) {
  return n->op == OP_READ || n->op == OP_STEP || n->op == OP_SEED || n->op == OP_CARRY || n->op == OP_RESULT || n->op == OP_TOTAL || (n->op == OP_SCALAR && m->operands[n->imm].role != ROLE_IN);
}

/* The extent that the shape says, in this graph; NULL after an error. */
static const Node *written_extent(Lower *l, unsigned operand, const Shape *shape, unsigned k, bool callers) {
  const Dim *d = &shape->at[k];
  if (d->ellipsis) {
    const View *view = view_here(l);
    for (unsigned a = 0; view && view->shape && a < view->shape->n; a++) if (view->shape->at[a].ellipsis) return view->space->extent[a];
    if (l->entry->ellipsis) return l->entry->ellipsis;
    if (callers) return l->entry->ellipsis = dim_extent(l, operand, false, shape, k);
    lower_error(l, d->where, "'...' stands for axes that the param's pattern matches with '...'");
    return NULL;
  }
  if (d->flat) {
    Value v = name_value(l, d->flat, d->where, false);
    if (value_is(&v, KIND_INT) && !v.node->space->rank) return v.node;
    if (v.node) lower_error(l, d->where, "'%s' is no integer", d->flat);
    return NULL;
  }
  const Node *n = index_limit(l, d->expr);
  if (n && node_uses(l->graph, n, leaf_of_call, l->context->module)) {
    lower_error(l, d->where, "the size of an axis may depend on sizes, hyper-parameters and 'in scalar' only");
    return NULL;
  }
  return n;
}

static bool gives(Lower *l, unsigned operand, const Shape *shape, unsigned dim) {
  for (unsigned i = 0; i < l->context->n_sizes; i++)
    if (l->context->sizes[i].operand == operand && l->context->sizes[i].shape == shape && l->context->sizes[i].dim == dim) return true;
  return false;
}

bool shape_declare(Lower *l, unsigned operand, const Shape *shape, bool callers, Range where) {
  Module *m = l->context->module;
  const Node *extent[LOWER_MAX_AXES], *absent = NULL;
  bool items = m->operands[operand].item_shape, open = false;
  if (shape->n > LOWER_MAX_AXES) { lower_error(l, shape->where, "more than %d axes", LOWER_MAX_AXES); return false; }
  unsigned subject = items ? l->context->param : operand;
  for (unsigned k = 0; k < shape->n; k++) {
    open |= shape->at[k].ellipsis || shape->at[k].flat;
    extent[k] = items ? dim_extent(l, subject, true, shape, k) : written_extent(l, operand, shape, k, callers);
    if (!extent[k]) return false;
  }
  bool may_lack = m->operands[operand].optional || m->operands[operand].role == ROLE_OUT;
  if (callers && may_lack) absent = graph_op1(l->graph, OP_NOT, graph_node(l->graph, OP_PRESENT, TYPE_BOOL, graph_scalar_space(l->graph), operand, 0, 0, NULL));
  if (callers && shape->n && !(open && shape->n == 1) && (!items || operand == l->context->param)) {
    const Node *rank = size_node(l, subject, -2), *n = graph_i64(l->graph, (int64_t)shape->n - open);
    const char *text = arena_printf(l->arena, "%s has {} axes, %s wants {}", m->operands[operand].name, shape_text(l, shape));
    require(l, absent, graph_op2(l->graph, open ? OP_GE : OP_EQ, rank, n), text, rank, arena_printf(l->arena, "rank(%s)", m->operands[operand].name), n, shape_text(l, shape));
  }
  for (unsigned k = 0; callers && k < shape->n; k++) {
    const Dim *d = &shape->at[k];
    bool is_bare = bare(d) != NULL, own = gives(l, subject, shape, k);
    if (own && is_bare) continue;
    const Node *have = dim_extent(l, subject, items, shape, k), *want = items && d->expr ? index_limit(l, d->expr) : items && d->flat ? written_extent(l, operand, shape, k, callers) : extent[k];
    if (!want || want == have) continue;
    const char *text = d->ellipsis ? "..." : lower_text(l, d->where), *axis = arena_printf(l->arena, "axis %u of %s", k, m->operands[operand].name);
    require(l, absent, graph_op2(l->graph, OP_EQ, have, want), arena_printf(l->arena, "%s is {}, %s is {}", axis, text), have, axis, want, text);
    if (own)
      for (unsigned i = 0; i < l->context->n_sizes; i++) {
        if (l->context->sizes[i].operand != subject || l->context->sizes[i].shape != shape || l->context->sizes[i].dim != k) continue;
        const Node *size = name_value(l, l->context->sizes[i].name, d->where, false).node;
        if (size) require(l, absent, graph_op2(l->graph, OP_GE, size, graph_i64(l->graph, 0)), arena_printf(l->arena, "%s is {}, so %s is {}", axis, l->context->sizes[i].name), have, axis, size, l->context->sizes[i].name);
      }
  }
  if (items) return true;
  if (!m->shapes) m->shapes = graph_new(m, "shapes");
  const Node *kept[LOWER_MAX_AXES];
  for (unsigned k = 0; k < shape->n; k++) kept[k] = node_transfer(l, l->graph, extent[k], m->shapes);
  m->operands[operand].shape = graph_space(m->shapes, shape->n, kept);
  return true;
}

const Space *operand_space_here(Lower *l, unsigned operand) {
  const Operand *o = &l->context->module->operands[operand];
  if (o->item_shape || !o->shape) return item_space(l);
  const Node *extent[LOWER_MAX_AXES];
  for (unsigned k = 0; k < o->shape->rank; k++) extent[k] = node_transfer(l, l->context->module->shapes, o->shape->extent[k], l->graph);
  return graph_space(l->graph, o->shape->rank, extent);
}
