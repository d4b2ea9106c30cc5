/* lower_element.c: elements of tensors read at indices. */
#include <string.h>
#include "frontend/expressions.h"

/* The position that a sub asks for; NULL after an error. */
static const Node *position(Lower *l, const Sub *sub) {
  const Expr *e = sub->expr;
  if (e->kind == EXPR_NAME && index_find(l->scope->ix, e->name) < 0 && !name_is_value(l, e->name) && !(l->context->has_step && !strcmp(e->name, "t"))) {
    if (!scope_find(l->scope->names, e->name))
      lower_error(l, e->where, "index '%s' is on the right only; sum over it or put it on the left", e->name);
    return NULL;
  }
  if (e->kind == EXPR_CHAIN) { lower_error(l, e->where, "an index has its range where it is introduced, not where it is used"); return NULL; }
  Value v = lower_expr(l, e);
  if (!v.node) return NULL;
  if (v.tensor) { lower_error(l, e->where, "an index is one integer, this is a whole tensor"); return NULL; }
  if (!value_is(&v, KIND_INT)) { index_not_integer(l, e, &v); return NULL; }
  return v.node;
}

/* x[-1]: the message shows how the last element is written. */
static void warn_before_first(Lower *l, const char *name, const Axes *axes, const SubList *subs, unsigned k, unsigned axis) {
  const Expr *e = subs->at[k].expr;
  if (!l->context->options->warnings || e->kind != EXPR_UNARY || e->op != OPER_NEG || e->a->kind != EXPR_INT || e->a->value < 1) return;
  Text text = {.arena = l->arena};
  bool named = axes->shape && axes->shape->n == axes->n && axes->shape->at[axis].expr && axes->shape->at[axis].expr->kind == EXPR_NAME;
  for (unsigned i = 0; i < subs->n; i++) {
    if (i == k) text_add(&text, "%s%s - %lld", i ? ", " : "", named ? axes->shape->at[axis].expr->name : "n", (long long)e->a->value);
    else text_add(&text, "%s%s", i ? ", " : "", lower_text(l, subs->at[i].where));
  }
  const char *which = e->a->value == 1 ? "the last element" : "an element counted from the end";
  lower_warning(l, e->op_where, "always outside the axis, reads 0; %s is %s[%s]", which, name, text.data);
}

/* A constant position in an axis whose extent is a constant: x[5] of x[3]. */
static void warn_outside(Lower *l, const char *name, const Node *at, const Node *extent, unsigned axis, Range where) {
  Bits x, n;
  if (!at || at->op != OP_CONST || !node_constant(l->graph, extent, &n)) return;
  x = (Bits)at->imm;
  if (x >= n && (int64_t)x >= 0) lower_warning(l, where, "always outside the axis, reads 0: axis %u of %s is %lld", axis, name, (long long)n);
}

/* Positions along all axes; `...` are the indices that stand for it. */
bool element_positions(Lower *l, const char *name, const Axes *axes, const SubList *subs, Range bracket, const Node **out) {
  unsigned n = 0, dots = 0;
  bool good = true;
  for (unsigned k = 0; k < subs->n; k++) dots += subs->at[k].ellipsis;
  if (dots > 1) { lower_error(l, bracket, "one '...' at most in a bracket"); return false; }
  unsigned more = dots && axes->n + 1 >= subs->n ? axes->n + 1 - subs->n : 0, given = subs->n - dots;
  if (axes->unnamed && (given != 1 || dots)) { axes_unnamed(l, name, bracket); return false; }
  if (dots ? given > axes->n : given != axes->n) {
    if (lower_error(l, bracket, "'%s' has %u ax%s, %u ind%s given", name, axes->n, axes->n == 1 ? "is" : "es", given, given == 1 ? "ex is" : "ices are") && axes->shape)
      diag_note(l->diag, axes->shape->where, "%s has this shape", name);
    return false;
  }
  for (unsigned k = 0; k < subs->n; k++) {
    if (!subs->at[k].ellipsis) {
      warn_before_first(l, name, axes, subs, k, n);
      out[n] = position(l, &subs->at[k]);
      warn_outside(l, name, out[n], axes->extent[n], n, subs->at[k].where);
      good &= out[n++] != NULL;
      continue;
    }
    unsigned have = 0;
    for (unsigned a = l->scope->ix ? l->scope->ix->barrier : 0; l->scope->ix && a < l->scope->ix->n; a++) {
      if (*l->scope->ix->at[a].name != '.') continue;
      if (have++ < more) out[n++] = index_node(l, l->scope->ix->space, a);
    }
    if (have == more) continue;
    lower_error(l, subs->at[k].where, have ? "'...' stands for %u axes here and for %u elsewhere in the statement" : "'...' stands for axes that the left side names with '...'", more, have);
    return false;
  }
  return good;
}

const Node *element_read(Lower *l, const Node *node, const Space *of, const Axes *axes, const Node *const *index) {
  const Space *to = l->scope->ix ? l->scope->ix->space : graph_scalar_space(l->graph);
  if (!axes->view) return node_at(l, node, of, to, index, axes->n);
  const Node *flat = view_position(l, axes->view, index);
  bool inside = flat->op != OP_SELECT;
  if (!node->space->rank && inside) return node;
  if (inside && axes->n == to->rank) {                                    /* the view's own element: computed where it is read */
    unsigned used = 0;
    bool all = true;
    for (unsigned k = 0; k < axes->n; k++) { all &= index[k]->op == OP_INDEX && index[k]->space == to; used |= index[k]->op == OP_INDEX ? 1u << index[k]->imm : 0; }
    if (all && used == (1u << to->rank) - 1) return node_move(l, node, to, &flat);
  }
  return node_at(l, node, of, to, &flat, 1);
}

Value lower_element(Lower *l, const Expr *e) {
  Binding *binding = scope_find(l->scope->names, e->name);
  const Const *table = binding ? NULL : file_const(l, e->name);
  if (table) return const_index(l, table, e);
  Value v = name_value(l, e->name, (Range){e->where.source, e->where.begin, e->where.begin + (uint32_t)strlen(e->name)}, false);
  if (!v.node) {
    if (binding && v.shape) indices_match(l, e->name, v.shape, &e->subs, e->op_where);
    return (Value){0};
  }
  if (!v.tensor) {
    lower_error(l, e->op_where, "'%s' is one number, it has no axes", e->name);
    return (Value){0};
  }
  Axes axes;
  const Node *index[LOWER_MAX_AXES] = {0};
  const Space *of = value_space(l, &v);
  axes_of(l, &v, &axes);
  for (unsigned k = 0; k < v.around; k++) index[k] = index_node(l, l->scope->ix->space, k);
  if (!element_positions(l, e->name, &axes, &e->subs, e->op_where, index + v.around)) return (Value){0};
  axes.n += v.around;
  graph_at(l->graph, e->where);
  Value made = {.node = element_read(l, v.node, of, &axes, index), .wide = v.wide, .name = e->name};
  made.opaque = binding && binding->symbol->kind == SYMBOL_LOCAL && !binding->symbol->once;
  if (v.product && !made.opaque) {
    Factors *f = arena_alloc(l->arena, sizeof *f + v.product->n*sizeof *f->at);
    f->n = v.product->n;
    for (unsigned k = 0; k < f->n; k++) f->at[k] = (Factor){element_read(l, v.product->at[k].node, of, &axes, index), v.product->at[k].opaque};
    made.product = f;
  }
  if (!made.node->space->rank && made.node->type == TYPE_F32) { made.product = NULL; made = value_convert(l, made, TYPE_F64); }
  return made;
}
