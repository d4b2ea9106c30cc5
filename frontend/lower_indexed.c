/* lower_indexed.c: indexed statements: a whole tensor defined, or some of its elements written. */
#include <string.h>
#include "frontend/statements.h"

/* --- the left side ------------------------------------------------------------------------------------------------------------------------- */

typedef struct Left {
  Lower *l;
  const Stmt *s;
  Indices ix;
  bool known, whole;                     /* the name has axes already; every one of them is a new index */
  Axes axes;
  const char *name;
} Left;

/* Indices that an expression of the left side introduces: names that mean nothing else and that no reduction in it binds. */
static bool introduce(Left *left, const Expr *e, const char **bound, unsigned n_bound) {
  Lower *l = left->l;
  if (!e) return true;
  if (e->kind == EXPR_NAME) {
    for (unsigned k = 0; k < n_bound; k++) if (!strcmp(bound[k], e->name)) return true;
    if (index_find(&left->ix, e->name) >= 0 || index_find(l->scope->ix, e->name) >= 0 || scope_find(l->scope->names, e->name) || file_const(l, e->name) || builtin_find(e->name)) return true;
    if (file_fn(l, e->name) || (l->context->has_step && !strcmp(e->name, "t")) || !strcmp(e->name, "all")) return true;
    bool poisoned = false;
    const Node *extent = index_range(l, e->name, left->s->value, NULL, (Extent){0}, &poisoned);
    for (unsigned k = 0; k < left->s->subs.n; k++)
      if (!left->s->subs.at[k].ellipsis) extent = index_range(l, e->name, left->s->subs.at[k].expr, NULL, (Extent){extent, "the other axis", {0}}, &poisoned);
    if (!extent) {
      if (!poisoned) lower_error(l, e->where, "the range of index '%s' is not known; write '%s < n' where it is introduced", e->name, e->name);
      return false;
    }
    return index_add(l, &left->ix, e->name, extent, e->where);
  }
  const char *more[16];
  unsigned n = 0;
  bool reduces = e->kind == EXPR_CALL && e->has_subs && is_reduction(e);
  for (; n < n_bound; n++) more[n] = bound[n];
  for (unsigned k = 0; k < e->subs.n; k++) {
    const Expr *x = e->subs.at[k].expr;
    if (e->subs.at[k].ellipsis) continue;
    if (reduces) {
      const Expr *limit;
      const char *name = sub_index(l, &e->subs.at[k], &limit);
      if (name && n < 16) more[n++] = name;
    } else if (!introduce(left, x, bound, n_bound)) return false;
  }
  for (unsigned k = 0; k < e->args.n; k++) if (!introduce(left, e->args.at[k], more, n)) return false;
  for (unsigned k = 0; k < e->n_links; k++) if (!introduce(left, e->links[k].operand, bound, n_bound)) return false;
  return introduce(left, e->a, bound, n_bound) && introduce(left, e->b, bound, n_bound);
}

/* An axis in which the index stands as `i + 1` or `i - n`, by the name of its size. */
static const char *likely_size(Lower *l, const char *name, const Expr *e) {
  if (!e) return NULL;
  const char *found = NULL;
  const Binding *b = e->kind == EXPR_INDEX ? scope_find(l->scope->names, e->name) : NULL;
  const Shape *shape = b ? b->symbol->shape : NULL;
  for (unsigned k = 0; k < e->subs.n && shape && shape->n == e->subs.n && !found; k++) {
    const Expr *x = e->subs.at[k].ellipsis ? NULL : e->subs.at[k].expr, *dim = shape->at[k].expr;
    if (!x || x->kind != EXPR_BINARY || (x->op != OPER_ADD && x->op != OPER_SUB) || !dim || dim->kind != EXPR_NAME) continue;
    bool here = (x->a->kind == EXPR_NAME && !strcmp(x->a->name, name)) || (x->b->kind == EXPR_NAME && !strcmp(x->b->name, name));
    if (here) found = dim->name;
  }
  for (unsigned k = 0; k < e->args.n && !found; k++) found = likely_size(l, name, e->args.at[k]);
  for (unsigned k = 0; k < e->n_links && !found; k++) found = likely_size(l, name, e->links[k].operand);
  if (!found) found = likely_size(l, name, e->a);
  return found ? found : likely_size(l, name, e->b);
}

static void range_not_known(Left *left, const Sub *sub, const char *name) {
  Lower *l = left->l;
  const char *size = likely_size(l, name, left->s->value);
  Text repaired = {.arena = l->arena};
  for (unsigned k = 0; size && k < left->s->subs.n; k++) {
    const Sub *one = &left->s->subs.at[k];
    text_add(&repaired, "%s%s", k ? ", " : "", lower_text(l, one->where));
    if (one == sub) text_add(&repaired, " < %s", size);
  }
  if (size) lower_error(l, sub->where, "the range of index '%s' is not known; write '%s < n' where it is introduced: '%s[%s] ='", name, name, left->name, repaired.data);
  else lower_error(l, sub->where, "the range of index '%s' is not known; write '%s < n' where it is introduced", name, name);
}

static bool new_axis(Left *left, const Sub *sub, unsigned axis, const char *name, const Expr *limit) {
  Lower *l = left->l;
  const Node *extent = NULL;
  bool poisoned = false;
  if (limit) {
    if (name_is_value(l, name)) { lower_error(l, sub->expr->a->where, "'%s' is a value, not an index; an index needs a name of its own", name); return false; }
    extent = index_limit(l, limit);
    if (!extent) return false;
    if (left->known && extent != left->axes.extent[axis]) left->whole = false;
  } else if (left->known && axis < left->axes.n) {
    extent = index_range(l, name, left->s->value, NULL, (Extent){left->axes.extent[axis], arena_printf(l->arena, "axis %u of %s", axis, left->name), sub->where}, &poisoned);
  } else {
    extent = index_range(l, name, left->s->value, NULL, (Extent){0}, &poisoned);
  }
  if (!extent) {
    if (!poisoned) range_not_known(left, sub, name);
    return false;
  }
  return index_add(l, &left->ix, name, extent, sub->where);
}

static bool dots_axes(Left *left, unsigned axis) {
  Lower *l = left->l;
  static const char *const names[LOWER_MAX_AXES] = {"...0", "...1", "...2", "...3", "...4", "...5", "...6", "...7"};
  const Node *extent[LOWER_MAX_AXES];
  unsigned n = 0;
  bool found = left->known;
  if (left->known) for (unsigned k = 0; k + left->s->subs.n <= left->axes.n; k++) extent[n++] = left->axes.extent[axis + k];
  else n = ellipsis_extents(l, left->s->value, extent, &found);
  if (!found) { lower_error(l, left->s->subs.at[0].where, "what '...' stands for is not known: no tensor on the right has it"); return false; }
  for (unsigned k = 0; k < n; k++) if (!index_add(l, &left->ix, names[k], extent[k], left->s->subs.at[0].where)) return false;
  return true;
}

/* Finds the indices that the left side introduces, in order. */
static bool left_indices(Left *left) {
  Lower *l = left->l;
  const SubList *subs = &left->s->subs;
  unsigned given = 0, dots = 0, axis = 0;
  for (unsigned k = 0; k < subs->n; k++) { dots += subs->at[k].ellipsis; given += !subs->at[k].ellipsis; }
  if (left->known && left->axes.unnamed && (given != 1 || dots)) { axes_unnamed(l, left->name, left->s->name.where); return false; }
  if (left->known && (dots ? given > left->axes.n : given != left->axes.n)) {
    if (lower_error(l, left->s->name.where, "'%s' has %u ax%s, %u ind%s given", left->name, left->axes.n, left->axes.n == 1 ? "is" : "es", given, given == 1 ? "ex is" : "ices are") && left->axes.shape)
      diag_note(l->diag, left->axes.shape->where, "%s has this shape", left->name);
    return false;
  }
  for (unsigned k = 0; k < subs->n; k++) {
    const Sub *sub = &subs->at[k];
    const Expr *limit;
    if (sub->ellipsis) {
      if (!dots_axes(left, axis)) return false;
      if (left->known) axis += left->axes.n - given;
      continue;
    }
    const char *name = sub_index(l, sub, &limit);
    if (name && index_find(&left->ix, name) < 0) {
      if (!new_axis(left, sub, axis, name, limit)) return false;
    } else {
      const Binding *b = sub->expr->kind == EXPR_NAME ? scope_find(l->scope->names, sub->expr->name) : NULL;
      if (b && b->symbol->kind == SYMBOL_HYPER) {
        lower_error(l, sub->where, "'%s' is %s %s, not an index: this would write one element", b->symbol->name, symbol_article(l, b->symbol), symbol_word(l, b->symbol));
        return false;
      }
      left->whole = false;
    }
    axis++;
  }
  for (unsigned k = 0; k < subs->n && !left->whole; k++) {
    const Expr *limit;
    if (!subs->at[k].ellipsis && !sub_index(l, &subs->at[k], &limit) && !introduce(left, subs->at[k].expr, NULL, 0)) return false;
  }
  return true;
}

/* --- writing --------------------------------------------------------------------------------------------------------------------------------- */

/* Of the indices around a call only those matter on which something here depends. */
static const Node *scattered(Left *left, const Value both[2], const Space *space, unsigned around, const Node *const *index, bool add) {
  Lower *l = left->l;
  const Space *source = left->ix.space;
  unsigned mask = node_axes(l, both[0].node, space) | node_axes(l, both[1].node, source), from[LOWER_MAX_AXES], to[LOWER_MAX_AXES], n_from = 0, n_to = 0, n = 2;
  for (unsigned k = around; k < space->rank && !left->axes.view; k++) mask |= node_axes(l, index[k], source);
  for (unsigned k = 0; k < around; k++) if (mask >> k & 1) from[n_from++] = to[n_to++] = k;
  unsigned kept = n_to;
  for (unsigned k = around; k < source->rank; k++) from[n_from++] = k;
  for (unsigned k = around; k < space->rank; k++) to[n_to++] = k;
  const Space *reads = space_pick(l, source, n_from, from), *writes = space_pick(l, space, n_to, to);
  const Node *args[LOWER_MAX_AXES + 2] = {node_spread(l, node_project(l, both[0].node, space, writes, to), writes), node_spread(l, node_project(l, both[1].node, source, reads, from), reads)};
  for (unsigned k = 0; k < kept; k++) args[n++] = index_node(l, reads, k);
  if (left->axes.view) args[n++] = view_position(l, left->axes.view, index);
  else for (unsigned k = around; k < space->rank; k++) args[n++] = node_project(l, index[k], source, reads, from);
  const Node *node = graph_node(l->graph, OP_SCATTER, (Type)args[0]->type, writes, 0, add, n, args), *place[LOWER_MAX_AXES];
  for (unsigned k = 0; k < n_to; k++) place[k] = index_node(l, space, to[k]);
  return node_move(l, node, space, place);
}

/* Some elements: a new version of the tensor. `+=` adds in order. */
static Value scatter(Left *left, Value base, Value v, const Node *const *index, bool add) {
  Lower *l = left->l;
  const Space *space = value_space(l, &base);
  bool bool_a = value_is(&base, KIND_BOOL), bool_b = value_is(&v, KIND_BOOL);
  if (bool_a != bool_b || (bool_a && add)) {
    lower_error(l, left->s->value->where, "'%s' is a %s, this is a %s", left->name, bool_a ? "bool" : "number", bool_b ? "bool; write where(c, 1, 0)" : "number");
    return (Value){0};
  }
  Value both[2] = {base, v};
  if (!bool_a) value_join(l, both, 2);
  if (both[0].node->type == TYPE_F64 && !base.wide && !v.wide && !l->context->options->compute_f64 && (node_reads_data(l, v.node) || node_reads_data(l, base.node)))
    for (int k = 0; k < 2; k++) both[k] = value_convert(l, both[k], TYPE_F32);        /* a tensor that holds data is f32 */
  const Node *node = scattered(left, both, space, base.around, index, add);
  return (Value){.node = node, .tensor = true, .space = space, .around = base.around, .wide = both[0].wide || both[1].wide};
}

static Value element_before(Left *left, Value base, const Node *const *index) {
  Lower *l = left->l;
  Axes all = left->axes;
  all.n += base.around;
  Value v = {.node = element_read(l, base.node, value_space(l, &base), &all, index), .wide = base.wide, .name = left->name};
  return !v.node->space->rank && v.node->type == TYPE_F32 ? value_convert(l, v, TYPE_F64) : v;
}

static Value compute(Left *left, Value base) {
  Lower *l = left->l;
  const Stmt *s = left->s;
  const Node *index[LOWER_MAX_AXES] = {0};
  bool operates = s->op != OPER_NONE, add = operates && !left->whole && (s->op == OPER_ADD || s->op == OPER_SUB);
  if (left->known) {
    SubList plain = {.at = arena_array(l->arena, s->subs.n, sizeof *plain.at), .n = s->subs.n};
    for (unsigned k = 0; k < s->subs.n; k++) {
      const Expr *limit;
      plain.at[k] = s->subs.at[k];
      if (!plain.at[k].ellipsis && sub_index(l, &s->subs.at[k], &limit) && limit) plain.at[k].expr = plain.at[k].expr->a;
    }
    for (unsigned k = 0; k < base.around; k++) index[k] = index_node(l, left->ix.space, k);
    if (!element_positions(l, left->name, &left->axes, &plain, s->name.where, index + base.around)) return (Value){0};
  }
  Value v = lower_expr(l, s->value);
  if (v.node && v.tensor) {
    value_align(l, NULL, s->value->where, &v, 1);
    return (Value){0};
  }
  graph_at(l->graph, s->where);
  if (add && s->op == OPER_SUB) v = value_negate(l, s->op_where, v);
  if (operates && !add) v = value_operate(l, s->op, s->op_where, element_before(left, base, index), v);
  if (!v.node) return (Value){0};
  if (!left->whole) return scatter(left, base, v, index, add);
  Value made = {.node = v.node, .tensor = true, .space = left->ix.space, .around = left->ix.first, .wide = v.wide, .product = v.product, .shape = left->axes.shape};
  if (!made.product && v.opaque) made.opaque = true;
  return made;
}

/* The warning of `x[i] = x[i - 1] + ...`. */
static const Expr *reads_itself(Lower *l, const char *name, const Indices *ix, const Expr *e) {
  if (!e) return NULL;
  const Expr *found = NULL;
  for (unsigned k = 0; k < e->subs.n && e->kind == EXPR_INDEX && !strcmp(e->name, name); k++) {
    const Expr *x = e->subs.at[k].expr;
    if (!e->subs.at[k].ellipsis && x->kind == EXPR_BINARY && x->op == OPER_SUB && x->a->kind == EXPR_NAME && x->b->kind == EXPR_INT && index_find(ix, x->a->name) >= 0) return e;
  }
  for (unsigned k = 0; k < e->args.n && !found; k++) found = reads_itself(l, name, ix, e->args.at[k]);
  for (unsigned k = 0; k < e->n_links && !found; k++) found = reads_itself(l, name, ix, e->links[k].operand);
  if (!found) found = reads_itself(l, name, ix, e->a);
  return found ? found : reads_itself(l, name, ix, e->b);
}

/* Elements of what is only read: the rule sees them changed, the caller's tensor does not. */
static void warn_input(Lower *l, const Stmt *s, const Symbol *symbol) {
  if (symbol->kind != SYMBOL_OPERAND) return;
  const Operand *o = &l->context->module->operands[symbol->index];
  if (o->role != ROLE_IN && o->role != ROLE_GRAD) return;
  lower_warning(l, s->name.where, "'%s' is %s %s: its elements change in this call, not in the caller's tensor; 'inout' writes there", o->name, symbol_article(l, symbol), role_name(o->role));
}

/* The value of an indexed statement, as a whole tensor; false when its name cannot be assigned so. */
Value lower_indexed(Lower *l, const Stmt *s, Binding *binding) {
  Left left = {.l = l, .s = s, .whole = true, .name = s->name.text};
  Value base = {0};
  if (binding && !binding->partial) {
    base = binding_current(l, binding);
    if (binding->poison) return (Value){0};
    left.known = base.node && base.tensor;
    if (base.node && !base.tensor && binding->symbol->kind != SYMBOL_LOCAL) {
      lower_error(l, s->name.where, "'%s' is one number, it has no axes", left.name);
      return (Value){0};
    }
    if (left.known) axes_of(l, &base, &left.axes);
  }
  Indices *outer = l->scope->ix;
  indices_enter(l, &left.ix);
  left.ix.barrier = left.ix.first = left.ix.n;
  if (left.known && left.ix.n > base.around) {
    if (left.axes.view) {
      lower_error(l, s->name.where, "'%s' has the shape of a param: where a fn is called at indices it is not assigned element by element", left.name);
      return (Value){0};
    }
    base = value_around(l, base, left.ix.space, left.ix.n);
    if (!base.node) { lower_error(l, s->name.where, "more than %d indices at one place", LOWER_MAX_AXES); return (Value){0}; }
  }
  if (!left_indices(&left)) { l->scope->ix = outer; return (Value){0}; }
  if (!left.known && !left.whole) {
    lower_error(l, s->name.where, "'%s' is new: its left side defines its shape and holds new indices only", left.name);
    l->scope->ix = outer;
    return (Value){0};
  }
  if (!left.known && s->op != OPER_NONE) { name_value(l, left.name, s->name.where, false); l->scope->ix = outer; return (Value){0}; }
  indices_close(l, &left.ix);
  left.ix.statement = left.ix.n;
  const Expr *self = left.whole && left.known && l->context->options->warnings ? reads_itself(l, left.name, &left.ix, s->value) : NULL;
  if (self) {
    Range where = {self->where.source, self->where.begin, self->where.begin + (uint32_t)strlen(self->name)};
    const char *i = left.ix.at[0].name;
    for (unsigned k = 0; k < self->subs.n; k++) {
      const Expr *x = self->subs.at[k].expr;
      if (x && x->kind == EXPR_BINARY && x->a->kind == EXPR_NAME && index_find(&left.ix, x->a->name) >= 0) i = x->a->name;
    }
    lower_warning(l, where, "the right side reads %s as it was before; a running result is 'scan %s { }'", self->name, i);
  }
  if (binding && !left.whole) warn_input(l, s, binding->symbol);
  if (base.node && binding) binding->symbol->used |= s->op != OPER_NONE;
  Value v = compute(&left, base);
  l->scope->ix = outer;
  if (!v.node || !left.axes.view || !left.whole) return v;
  return value_to_space(l, v, item_space(l), s->value->where, left.name);
}
