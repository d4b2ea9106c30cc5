/* declare_shape.c: the extents that a declared shape gives an operand, and what every other axis must then be (language, sections 2 and 5). */
#include "frontend/statements.h"

static void require(Lower *l, unsigned operand, const Node *absent, const Node *cond, const char *text, const Node *a, const char *name_a, const Node *b, const char *name_b) {
  if (absent) cond = graph_op2(l->graph, OP_OR, absent, cond);
  cond = under_guard(l, cond);
  const Node *values[2] = {graph_cast(l->graph, TYPE_F64, a), graph_cast(l->graph, TYPE_F64, b)};
  const char *names[2] = {name_a, name_b};
  graph_require(l->graph, text, cond, 2, values, names)->about = operand;
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

/* Which axes of the item a `...` stands for: hosts are told a state's axes as the item has them. */
static Dots dots_of(Lower *l, const Shape *shape) {
  const View *view = view_here(l);
  Dots dots = {0};
  for (unsigned k = 0; k < shape->n; k++) if (shape->at[k].ellipsis) dots.at = k + 1;
  if (!dots.at || !view || !view->shape) return (Dots){0};
  while (dots.first < view->shape->n && !view->shape->at[dots.first].ellipsis) dots.first++;
  dots.others = view->shape->n - 1;
  return dots.first < view->shape->n ? dots : (Dots){0};
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
    const char *name = shape->at[k].flat ? shape->at[k].flat : dim_name(&shape->at[k]);
    if (name && callers) extent_named(l, subject, name, extent[k], shape->n);
  }
  bool may_lack = m->operands[operand].optional || m->operands[operand].role == ROLE_OUT;
  if (callers && may_lack) absent = graph_op1(l->graph, OP_NOT, graph_node(l->graph, OP_PRESENT, TYPE_BOOL, graph_scalar_space(l->graph), operand, 0, 0, NULL));
  if (callers && shape->n && !(open && shape->n == 1) && (!items || operand == l->context->param)) {
    const Node *rank = size_node(l, subject, -2), *n = graph_i64(l->graph, (int64_t)shape->n - open);
    const char *text = arena_printf(l->arena, "tensor '%s' has {} axes, %s wants {}", m->operands[operand].name, shape_text(l, shape));
    require(l, operand, absent, graph_op2(l->graph, open ? OP_GE : OP_EQ, rank, n), text, rank, arena_printf(l->arena, "rank(%s)", m->operands[operand].name), n, shape_text(l, shape));
  }
  for (unsigned k = 0; callers && k < shape->n; k++) {
    const Dim *d = &shape->at[k];
    bool is_bare = dim_name(d) != NULL, own = gives(l, subject, shape, k);
    if (own && is_bare) continue;
    const Node *have = dim_extent(l, subject, items, shape, k), *want = items && d->expr ? index_limit(l, d->expr) : items && d->flat ? written_extent(l, operand, shape, k, callers) : extent[k];
    if (!want || want == have) continue;
    const char *text = d->ellipsis ? "..." : lower_text(l, d->where), *axis = arena_printf(l->arena, "axis %u of tensor '%s'", k, m->operands[operand].name);
    require(l, operand, absent, graph_op2(l->graph, OP_EQ, have, want), arena_printf(l->arena, "%s is {}, %s is {}", axis, text), have, axis, want, text);
    if (own)
      for (unsigned i = 0; i < l->context->n_sizes; i++) {
        if (l->context->sizes[i].operand != subject || l->context->sizes[i].shape != shape || l->context->sizes[i].dim != k) continue;
        const Node *size = name_value(l, l->context->sizes[i].name, d->where, false).node;
        if (size) require(l, operand, absent, graph_op2(l->graph, OP_GE, size, graph_i64(l->graph, 0)), arena_printf(l->arena, "%s is {}, so %s is {}", axis, l->context->sizes[i].name), have, axis, size, l->context->sizes[i].name);
      }
  }
  if (items) return true;
  if (!m->shapes) m->shapes = graph_new(m, "shapes");
  const Node *kept[LOWER_MAX_AXES];
  for (unsigned k = 0; k < shape->n; k++) kept[k] = node_transfer(l, l->graph, extent[k], m->shapes);
  m->operands[operand].shape = graph_space(m->shapes, shape->n, kept);
  if (m->operands[operand].role == ROLE_STATE) m->operands[operand].dots = dots_of(l, shape);
  return true;
}

