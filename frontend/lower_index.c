/* lower_index.c: elements of tensors, and indexed statements: a whole tensor defined, or some of its elements written. */
#include <string.h>
#include "frontend/lower.h"

/* --- index expressions ---------------------------------------------------------------------------------------------------------------- */

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

/* Positions along all axes; `...` are the indices that stand for it. */
static bool positions(Lower *l, const char *name, const Axes *axes, const SubList *subs, Range bracket, const Node **out) {
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

/* --- reading ---------------------------------------------------------------------------------------------------------------------------- */

static const Node *read_node(Lower *l, const Node *node, const Space *of, const Axes *axes, const Node *const *index) {
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
  if (!positions(l, e->name, &axes, &e->subs, e->op_where, index)) return (Value){0};
  graph_at(l->graph, e->where);
  Value made = {.node = read_node(l, v.node, of, &axes, index), .wide = v.wide, .name = e->name};
  made.opaque = binding && binding->symbol->kind == SYMBOL_LOCAL && !binding->symbol->once;
  if (v.product && !made.opaque) {
    Factors *f = arena_alloc(l->arena, sizeof *f + v.product->n*sizeof *f->at);
    f->n = v.product->n;
    for (unsigned k = 0; k < f->n; k++) f->at[k] = (Factor){read_node(l, v.product->at[k].node, of, &axes, index), v.product->at[k].opaque};
    made.product = f;
  }
  if (!made.node->space->rank && made.node->type == TYPE_F32) { made.product = NULL; made = value_convert(l, made, TYPE_F64); }
  return made;
}

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
    const Node *extent = index_range(l, e->name, left->s->value, NULL, NULL, NULL, &poisoned);
    for (unsigned k = 0; k < left->s->subs.n; k++)
      if (!left->s->subs.at[k].ellipsis) extent = index_range(l, e->name, left->s->subs.at[k].expr, NULL, extent, "the other axis", &poisoned);
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
    extent = index_range(l, name, left->s->value, NULL, left->axes.extent[axis], arena_printf(l->arena, "axis %u of %s", axis, left->name), &poisoned);
  } else {
    extent = index_range(l, name, left->s->value, NULL, NULL, NULL, &poisoned);
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
  const Node *args[LOWER_MAX_AXES + 2] = {node_spread(l, both[0].node, space), node_spread(l, both[1].node, left->ix.space)};
  unsigned n = 2;
  if (left->axes.view) args[n++] = view_position(l, left->axes.view, index);
  else for (unsigned k = 0; k < left->axes.n; k++) args[n++] = index[k];
  const Node *node = graph_node(l->graph, OP_SCATTER, (Type)args[0]->type, space, 0, add, n, args);
  return (Value){.node = node, .tensor = true, .space = space, .wide = both[0].wide || both[1].wide};
}

static Value element_before(Left *left, Value base, const Node *const *index) {
  Lower *l = left->l;
  Value v = {.node = read_node(l, base.node, value_space(l, &base), &left->axes, index), .wide = base.wide, .name = left->name};
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
    if (!positions(l, left->name, &left->axes, &plain, s->name.where, index)) return (Value){0};
  }
  Value v = lower_expr(l, s->value);
  if (v.node && v.tensor) {
    value_align(l, OPER_NONE, s->value->where, &v, 1);
    return (Value){0};
  }
  graph_at(l->graph, s->where);
  if (add && s->op == OPER_SUB) v = value_negate(l, s->op_where, v);
  if (operates && !add) v = value_operate(l, s->op, s->op_where, element_before(left, base, index), v);
  if (!v.node) return (Value){0};
  if (!left->whole) return scatter(left, base, v, index, add);
  Value made = {.node = v.node, .tensor = true, .space = left->ix.space, .wide = v.wide, .product = v.product, .shape = left->axes.shape};
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

unsigned count_assignments(const StmtList *list, const char *name) {
  unsigned n = 0;
  for (unsigned i = 0; list && i < list->n; i++) {
    const Stmt *s = list->at[i];
    if (s->kind == STMT_ASSIGN) n += !strcmp(s->name.text, name);
    else if (s->kind != STMT_ENTRY) n += count_assignments(&s->body, name) + count_assignments(&s->otherwise, name);
  }
  return n;
}

void symbol_set_once(Lower *l, Symbol *symbol) { symbol->once = symbol->kind == SYMBOL_LOCAL && count_assignments(l->scope->body, symbol->name) == 1; }

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
  if (outer && outer->n) return lower_unsupported(l, s->name.where, "an indexed statement in a fn that is called at indices");
  indices_enter(l, &left.ix);
  left.ix.barrier = left.ix.n;
  if (!left_indices(&left)) { l->scope->ix = outer; return (Value){0}; }
  if (!left.known && !left.whole) {
    lower_error(l, s->name.where, "'%s' is new: its left side defines its shape and holds new indices only", left.name);
    l->scope->ix = outer;
    return (Value){0};
  }
  if (!left.known && s->op != OPER_NONE) { lower_error(l, s->name.where, "unknown name '%s'", left.name); l->scope->ix = outer; return (Value){0}; }
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
  if (base.node && binding) binding->symbol->used |= s->op != OPER_NONE;
  Value v = compute(&left, base);
  l->scope->ix = outer;
  if (!v.node || !left.axes.view || !left.whole) return v;
  return value_to_space(l, v, item_space(l), s->value->where, left.name);
}
