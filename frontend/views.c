/* views.c: the item's tensors, flat in memory, seen with named axes; `is`; tensors brought to one space. */
#include <string.h>
#include "frontend/lower.h"

bool is_item_space(Lower *l, const Space *s) {
  return l->context->has_param && s->rank == 1 && s->extent[0]->op == OP_SIZE && s->extent[0]->aux == -1 && s->extent[0]->imm == l->context->param;
}

const Space *value_space(Lower *l, const Value *v) {
  return v->node && v->node->space->rank ? v->node->space : v->space ? v->space : item_space(l);
}

/* --- views --------------------------------------------------------------------------------------------------------------------------- */

/* Row-major. Every index is inside its axis, or -1 stands for the whole. */
static const Node *flat_of(Lower *l, unsigned n, const Node *const *extents, const Node *const *index) {
  const Node *flat = index[0], *inside = NULL;
  for (unsigned k = 1; k < n; k++) flat = graph_op2(l->graph, OP_ADD, graph_op2(l->graph, OP_MUL, flat, extents[k]), index[k]);
  for (unsigned k = 0; k < n; k++) {
    if (index[k]->op == OP_INDEX && index[k]->space->extent[index[k]->imm] == extents[k]) continue;
    const Node *low = graph_op2(l->graph, OP_LE, graph_i64(l->graph, 0), index[k]), *high = graph_op2(l->graph, OP_LT, index[k], extents[k]);
    inside = bool_and(l, inside, graph_op2(l->graph, OP_AND, low, high));
  }
  return inside ? graph_select(l->graph, inside, flat, graph_i64(l->graph, -1)) : flat;
}

const Node *view_position(Lower *l, const View *v, const Node *const *index) { return flat_of(l, v->space->rank, v->space->extent, index); }

View *view_make(Lower *l, const Shape *shape, unsigned n, const Node *const *extents) {
  const Space *space = graph_space(l->graph, n, extents);
  for (View *v = l->entry->views; v; v = v->next) if (v->space == space) return v;
  const Node *index[LOWER_MAX_AXES];
  for (unsigned k = 0; k < n; k++) index[k] = index_node(l, space, k);
  View *v = arena_alloc(l->arena, sizeof *v);
  *v = (View){space, n ? flat_of(l, n, extents, index) : graph_i64(l->graph, 0), shape, l->entry->views};
  l->entry->views = v;
  return v;
}

const View *view_here(Lower *l) {
  if (!l->scope->view && l->context->has_param && l->context->param_shape && l->context->param_shape->n && l->context->param_shape->n <= LOWER_MAX_AXES) {
    const Node *extent[LOWER_MAX_AXES];
    for (unsigned k = 0; k < l->context->param_shape->n; k++) extent[k] = dim_extent(l, l->context->param, true, l->context->param_shape, k);
    l->scope->view = view_make(l, l->context->param_shape, l->context->param_shape->n, extent);
  }
  return l->scope->view;
}

static const View *view_of_space(Lower *l, const Space *s) {
  for (const View *v = l->entry->views; v; v = v->next) if (v->space == s) return v;
  return NULL;
}

void axes_unnamed(Lower *l, const char *name, Range where) {
  lower_error(l, where, "the axes of '%s' have no names here; write 'param %s[R, C]' or 'if %s is [R, C] { }'", name, l->context->param_name, l->context->param_name);
}

/* Without a pattern in scope, what has the item's shape is one axis of all its elements. */
bool axes_of(Lower *l, const Value *v, Axes *out) {
  const Space *s = value_space(l, v);
  *out = (Axes){.shape = v->shape};
  if (is_item_space(l, s)) {
    out->view = view_here(l);
    out->unnamed = !out->view;
    if (!out->view) out->view = view_make(l, NULL, 1, s->extent);
    s = out->view->space;
    out->shape = out->view->shape;
  }
  out->n = s->rank;
  if (s->rank) memcpy(out->extent, s->extent, s->rank*sizeof *s->extent);
  return true;
}

/* --- tensors brought to one space -------------------------------------------------------------------------------------------------------- */

static Value moved(Value v, const Node *node, const Space *space) {
  v.node = node;
  v.space = space;
  v.product = NULL;
  return v;
}

static Value from_flat(Lower *l, Value v, const View *view) {
  return moved(v, node_at(l, v.node, item_space(l), view->space, &view->flat, 1), view->space);
}

static Value to_flat(Lower *l, Value v, const View *view) {
  const Space *flat = item_space(l), *s = view->space;
  const Node *index[LOWER_MAX_AXES], *f = index_node(l, flat, 0);
  for (unsigned k = s->rank; k-- > 0;) {
    index[k] = k ? graph_op2(l->graph, OP_IMOD, f, s->extent[k]) : f;
    if (k) f = graph_op2(l->graph, OP_IDIV, f, s->extent[k]);
  }
  return moved(v, node_move(l, v.node, flat, index), flat);
}

static Value same_rank(Lower *l, Value v, const Space *to, const char *name) {
  const Space *from = value_space(l, &v);
  const Node *index[LOWER_MAX_AXES];
  for (unsigned k = 0; k < to->rank; k++) {
    extents_agree(l, to->extent[k], arena_printf(l->arena, "axis %u of %s", k, name && v.name != name ? name : "the other side"), from->extent[k], arena_printf(l->arena, "axis %u of %s", k, v.name ? v.name : name ? name : "a value"));
    index[k] = index_node(l, to, k);
  }
  return moved(v, node_at(l, v.node, from, to, index, to->rank), to);
}

Value value_to_space(Lower *l, Value v, const Space *to, Range where, const char *name) {
  if (!v.node || !v.tensor) return v;
  const Space *from = value_space(l, &v);
  if (!v.node->space->rank) { v.space = to; if (from->rank == to->rank || is_item_space(l, to) || is_item_space(l, from)) return v; }
  else if (from == to) return v;
  if (is_item_space(l, from) && to->rank) {
    const View *view = view_of_space(l, to), *here = view ? view : view_here(l);
    if (view) return from_flat(l, v, view);
    if (here && here->space->rank == to->rank) return same_rank(l, from_flat(l, v, here), to, name);
  } else if (is_item_space(l, to)) {
    const View *view = view_of_space(l, from), *here = view ? view : view_here(l);
    if (view) return to_flat(l, v, view);
    if (here && here->space->rank == from->rank) return to_flat(l, same_rank(l, v, here->space, name), here);
  } else if (from->rank == to->rank) {
    return same_rank(l, v, to, name);
  }
  lower_error(l, where, "shapes differ: %s has %u ax%s, %s has %u", v.name ? v.name : "this", from->rank, from->rank == 1 ? "is" : "es", name ? name : "the other side", to->rank);
  return (Value){0};
}

Value value_viewed(Lower *l, Value v, Range where) {
  if (!v.node || !v.tensor || !is_item_space(l, value_space(l, &v))) return v;
  Axes axes;
  axes_of(l, &v, &axes);
  if (axes.unnamed) { axes_unnamed(l, v.name ? v.name : l->context->param_name, where); return (Value){0}; }
  if (!v.node->space->rank) { v.space = axes.view->space; return v; }
  return from_flat(l, v, axes.view);
}

bool value_align(Lower *l, Oper oper, Range where, Value *v, unsigned n) {
  const Value *first = NULL;
  bool flat = false, all = true;
  for (unsigned i = 0; i < n; i++) {
    if (!v[i].node) { all = false; continue; }
    if (!v[i].tensor) continue;
    if (l->scope->ix) {
      const char *name = v[i].name ? v[i].name : "the tensor";
      lower_error(l, where, "'%s' needs its indices here: an indexed statement computes one element; write %s[...]", name, name);
      return false;
    }
    if (!first) first = &v[i];
    else if (n == 2 && oper != OPER_NONE && !shapes_agree(l, oper, where, first, &v[i])) return false;
    flat |= is_item_space(l, value_space(l, &v[i]));
  }
  if (!all) return false;
  if (!first) return true;
  const Space *to = flat ? item_space(l) : value_space(l, first);
  const char *name = first->name;
  for (unsigned i = 0; i < n; i++) {
    if (!v[i].tensor) continue;
    v[i] = value_to_space(l, v[i], to, where, name);
    if (!v[i].node) return false;
  }
  return true;
}

/* --- patterns: p is [..., I, J] -------------------------------------------------------------------------------------------------------------- */

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
