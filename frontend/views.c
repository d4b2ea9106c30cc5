/* views.c: the item's tensors, flat in memory, seen with named axes; tensors brought to one space. */
#include <string.h>
#include "frontend/values.h"

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
  out->n = s->rank - v->around;
  if (out->n) memcpy(out->extent, s->extent + v->around, out->n*sizeof *s->extent);
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

static Value same_rank(Lower *l, Value v, const Space *to, Range where, const char *name) {
  const Space *from = value_space(l, &v);
  const Node *index[LOWER_MAX_AXES];
  for (unsigned k = 0; k < to->rank; k++) {
    const char *other = arena_printf(l->arena, "axis %u of %s", k, name ? name : "the other side");
    const char *own = arena_printf(l->arena, "axis %u of %s", k, v.name && v.name != name ? v.name : "the value");
    extents_agree(l, where, (Extent){to->extent[k], other, {0}}, (Extent){from->extent[k], own, axis_where(&v, k)});
    index[k] = index_node(l, to, k);
  }
  return moved(v, node_at(l, v.node, from, to, index, to->rank), to);
}

bool spaces_meet(Lower *l, const Space *a, const Space *b) {
  if (is_item_space(l, b)) { const Space *t = a; a = b; b = t; }
  if (a == b || !is_item_space(l, a)) return a == b;
  const View *here = view_here(l);
  return view_of_space(l, b) || (here && here->space->rank == b->rank);
}

static Value to_space(Lower *l, Value v, const Space *to, Range where, const char *name) {
  const Space *from = value_space(l, &v);
  if (from == to) return v;
  if (is_item_space(l, from) && to->rank) {
    const View *view = view_of_space(l, to), *here = view ? view : view_here(l);
    if (view) return from_flat(l, v, view);
    if (here && here->space->rank == to->rank) return same_rank(l, from_flat(l, v, here), to, where, name);
  } else if (is_item_space(l, to)) {
    const View *view = view_of_space(l, from), *here = view ? view : view_here(l);
    if (view) return to_flat(l, v, view);
    if (here && here->space->rank == from->rank) return to_flat(l, same_rank(l, v, here->space, where, name), here);
  } else if (from->rank == to->rank) {
    return same_rank(l, v, to, where, name);
  }
  lower_error(l, where, "shapes differ: %s %s, %s %s", v.name ? v.name : "this", space_clause(l, from), name ? name : "the other side", space_clause(l, to));
  return (Value){0};
}

/* What one number fills has a shape too; in another one it is the same number. */
Value value_to_space(Lower *l, Value v, const Space *to, Range where, const char *name) {
  if (!v.node || !v.tensor) return v;
  Value made = to_space(l, v, to, where, name);
  if (made.node && !v.node->space->rank) made.node = v.node;
  return made;
}

Value value_viewed(Lower *l, Value v, Range where) {
  if (!v.node || !v.tensor || !is_item_space(l, value_space(l, &v))) return v;
  Axes axes;
  axes_of(l, &v, &axes);
  if (axes.unnamed) { axes_unnamed(l, v.name ? v.name : l->context->param_name, where); return (Value){0}; }
  if (!v.node->space->rank) { v.space = axes.view->space; return v; }
  return from_flat(l, v, axes.view);
}

bool value_align(Lower *l, const char *oper, Range where, Value *v, unsigned n) {
  const Value *first = NULL, *flat = NULL;
  bool all = true;
  for (unsigned i = 0; i < n; i++) {
    if (!v[i].node) { all = false; continue; }
    if (!v[i].tensor) continue;
    if (l->scope->ix) {
      const char *name = v[i].name ? v[i].name : "the tensor";
      lower_error(l, where, "'%s' needs its indices here: an indexed statement computes one element; write %s[...]", name, name);
      return false;
    }
    if (!first) first = &v[i];
    else if (n == 2 && oper && !shapes_agree(l, oper, where, first, &v[i])) return false;
    if (!flat && is_item_space(l, value_space(l, &v[i]))) flat = &v[i];
  }
  if (!all) return false;
  if (!first) return true;
  const Value *target = flat ? flat : first;
  const Space *to = value_space(l, target);
  const char *name = target->name;
  for (unsigned i = 0; i < n; i++) {
    if (!v[i].tensor) continue;
    v[i] = value_to_space(l, v[i], to, where, name);
    if (!v[i].node) return false;
  }
  return true;
}

Value value_around(Lower *l, Value v, const Space *outer, unsigned around) {
  const Space *from = value_space(l, &v);
  const Node *extent[LOWER_MAX_AXES], *index[LOWER_MAX_AXES];
  unsigned own = from->rank - v.around, at = 0;
  if (around + own > LOWER_MAX_AXES) return (Value){0};
  for (unsigned k = 0; k < around; k++) extent[k] = outer->extent[k];
  for (unsigned k = 0; k < own; k++) extent[around + k] = from->extent[v.around + k];
  const Space *to = graph_space(l->graph, around + own, extent);
  for (unsigned k = 0; k < v.around; k++) index[at++] = index_node(l, to, k);
  for (unsigned k = 0; k < own; k++) index[at++] = index_node(l, to, around + k);
  v.node = node_at(l, v.node, from, to, index, at);
  v.space = to;
  v.around = around;
  v.product = NULL;
  return v;
}
