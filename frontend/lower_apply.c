/* lower_apply.c: `apply` inserts another rule: its hyper-parameters are values, its param and grad are ours, its states become ours. */
#include <string.h>
#include "frontend/statements.h"
#include "ir/suggest.h"

const char *apply_state_name(Lower *l, const char *name, bool collides) {
  return collides ? arena_printf(l->arena, "%s/%s", l->scope->insert->rule->name.text, name) : name;
}

static const Bind *find_bind(Insert *insert, const char *name) {
  for (unsigned i = 0; i < insert->stmt->binds.n; i++) {
    if (strcmp(insert->stmt->binds.at[i].name.text, name)) continue;
    insert->taken[i] = true;
    return &insert->stmt->binds.at[i];
  }
  return NULL;
}

static void bind(Lower *l, const char *name, Range where, Value v, const char *bound) {
  if (!name_is_free(l, name, where)) return;
  Symbol *symbol = symbol_new(l, name, SYMBOL_BOUND, 0, where);
  symbol->bound = bound;
  Binding *binding = scope_add(l, symbol);
  binding->value = v;
  binding->set = true;
  binding->poison = !v.node;
}

/* The value that `apply` gives, seen from where it stands. */
static Value outer_value(Lower *l, const Expr *e) {
  Lexical there, *outer = l->scope->insert->outer;
  scope_enter(l, &there);
  there.names = outer->names;
  there.insert = outer->insert;
  there.step = outer->step;
  Value v = lower_expr(l, e);
  scope_leave(l);
  return v;
}

static void bind_hyper(Lower *l, const HyperDecl *d) {
  const Bind *given = find_bind(l->scope->insert, d->name.text);
  const Expr *e = given ? given->value : d->value;
  if (!e) {
    if (lower_error(l, l->scope->insert->stmt->name.where, "apply %s: '%s' needs a value", l->scope->insert->rule->name.text, d->name.text))
      diag_note(l->diag, d->name.where, "declared here, without a default");
    bind(l, d->name.text, d->name.where, (Value){0}, NULL);
    return;
  }
  Value v = given ? outer_value(l, e) : lower_expr(l, e);
  const char *want = d->storage.type ? d->storage.type : "f64";
  Type type = !strcmp(want, "int") ? TYPE_I64 : !strcmp(want, "bool") ? TYPE_BOOL : TYPE_F64;
  if (v.node) {
    bool is_bool = value_is(&v, KIND_BOOL);
    if (v.tensor) { lower_error(l, e->where, "'%s' is one scalar, this has %s", d->name.text, shape_of_item(l)); v = (Value){0}; }
    else if (is_bool != (type == TYPE_BOOL)) { lower_error(l, e->where, "'%s' is %s, this is a %s", d->name.text, is_bool ? "a number" : "bool", is_bool ? "bool" : "number"); v = (Value){0}; }
    else if (type == TYPE_I64 && !value_is(&v, KIND_INT)) { lower_error(l, e->where, "'%s' is int, this is real", d->name.text); v = (Value){0}; }
    else v = value_convert(l, v, type);
  }
  v.literal = false;
  v.operand = 0;
  bind(l, d->name.text, d->name.where, v, NULL);
}

/* The k-th operand of a role outside, for the k-th inside. */
static Binding *by_role(Lower *l, Role role) {
  unsigned k = 0;
  for (unsigned i = 0; i < l->scope->names->n; i++)
    if (l->scope->names->at[i].symbol->kind == SYMBOL_BOUND && l->scope->names->at[i].symbol->index == (unsigned)role + 1) k++;
  Names *outer = l->scope->insert->outer->names;
  for (unsigned i = 0; i < outer->n; i++) {
    const Symbol *s = outer->at[i].symbol;
    bool same = s->kind == SYMBOL_OPERAND ? l->context->module->operands[s->index].role == role : s->kind == SYMBOL_BOUND && s->index == (unsigned)role + 1;
    if (same && k-- == 0) return &outer->at[i];
  }
  return NULL;
}

/* The applied rule names the axes of its param: sizes of its own, and a requirement. */
static void apply_pattern(Lower *l, const Shape *shape) {
  const Node *test = pattern_test(l, shape), *cond = test;
  cond = under_guard(l, cond);
  if (test->op != OP_CONST) {
    const Node *rank = graph_node(l->graph, OP_SIZE, TYPE_I64, graph_scalar_space(l->graph), l->context->param, -2, 0, NULL);
    const Node *value = graph_cast(l->graph, TYPE_F64, rank);
    const char *name = arena_printf(l->arena, "rank(%s)", l->context->param_name);
    const char *text = arena_printf(l->arena, "tensor '%s' is %s, as the applied rule has it", l->context->param_name, shape_text(l, shape));
    graph_require(l->graph, text, cond, 1, &value, &name)->about = l->context->param;
  }
  pattern_bind(l, shape, l->scope->guard ? bool_and(l, l->scope->guard, test) : NULL);
}

static void bind_size(Lower *l, const char *name, const Node *size, Range where) {
  Binding *b = scope_add(l, symbol_new(l, name, SYMBOL_SIZE, 0, where));
  b->value = value_of(size);
  b->set = true;
}

/* The unknown of `S + 1`, `2*H`; NULL after an error. */
static const Node *solved(Lower *l, const Node *extent, const char *axis, const Expr *e, const char *name) {
  const Node *size = size_solved(l, extent, e, name);
  if (!size) return NULL;
  const Node *values[2] = {graph_cast(l->graph, TYPE_F64, extent), graph_cast(l->graph, TYPE_F64, size)};
  const char *names[2] = {axis, name};
  const Node *good = under_guard(l, graph_op2(l->graph, OP_GE, size, graph_i64(l->graph, 0)));
  graph_require(l->graph, arena_printf(l->arena, "%s is {}, so %s is {}", axis, name), good, 2, values, names)->about = extent_owner(extent);
  return size;
}

/* What is given to an applied rule has the axes that its declaration names: sizes of its own, and requirements. False after an error. */
static bool apply_axes(Lower *l, const Decl *d, const Value *v, Range where) {
  const Shape *shape = d->shape;
  const Space *space = value_space(l, v);
  if (is_item_space(l, space)) {                         /* the param's shape: seen as the param is */
    const Shape *seen = l->scope->view ? l->scope->view->shape : NULL;
    if (!seen || strcmp(shape_text(l, seen), shape_text(l, shape))) apply_pattern(l, shape);
    return true;
  }
  unsigned open = 0;
  for (unsigned k = 0; k < shape->n; k++) {
    open += shape->at[k].ellipsis;
    if (shape->at[k].flat) { lower_error(l, where, "'%s' is declared %s; 'flat' is for what has the shape of a param", d->name, shape_text(l, shape)); return false; }
  }
  if (open ? space->rank + 1 < shape->n : space->rank != shape->n) {
    if (lower_error(l, where, "'%s' has shape %s, this has %s", d->name, shape_text(l, shape), shape_of_value(l, v))) diag_note(l->diag, shape->where, "%s has this shape", d->name);
    return false;
  }
  for (int alone = 1; alone >= 0; alone--)
    for (unsigned k = 0, axis = 0; k < shape->n; k++, axis++) {
      const Dim *dim = &shape->at[k];
      if (dim->ellipsis) { axis = space->rank - shape->n + k; continue; }
      const Node *extent = space->extent[axis];
      const char *name = dim_gives(l, dim, alone), *what = arena_printf(l->arena, "axis %u of %s", k, d->name);
      if (name && !scope_find(l->scope->names, name)) {
        const Node *size = alone ? extent : solved(l, extent, what, dim->expr, name);
        if (size) bind_size(l, name, size, dim->where);
        if (!size || alone) continue;
      }
      const Node *want = (dim_name(dim) != NULL) == (bool)alone ? index_limit(l, dim->expr) : NULL;
      if (want) extents_agree(l, where, (Extent){want, lower_text(l, dim->where), dim->where}, (Extent){extent, what, where});
    }
  return true;
}

bool apply_declare(Lower *l, const Stmt *s, const Decl *d) {
  if (s->role == ROLE_STATE || s->role == ROLE_OUT || s->role == ROLE_INOUT) return false;       /* ours from here on */
  Insert *insert = l->scope->insert;
  const char *rule = insert->rule->name.text;
  const Bind *given = find_bind(insert, d->name);
  Value v = {0};
  const char *bound = NULL;
  bool by_name = given && given->value->kind == EXPR_NAME;
  Binding *outside = by_name ? scope_find(insert->outer->names, given->value->name) : given ? NULL : by_role(l, s->role);
  if (s->role == ROLE_PARAM) {
    bool is_param = outside && (outside->symbol->bound || (outside->symbol->kind == SYMBOL_OPERAND && l->context->module->operands[outside->symbol->index].role == ROLE_PARAM));
    if (given && !is_param) lower_error(l, given->value->where, "'%s' is a param: give the name of one", d->name);
    if (!given && !is_param) lower_error(l, insert->stmt->name.where, "apply %s: there is no param for '%s'", rule, d->name);
    if (is_param && d->shape && d->shape->n) apply_pattern(l, d->shape);
    if (is_param) { bound = outside->symbol->name; v = binding_value(l, outside, insert->stmt->name.where); }
  } else if (given) {
    v = outer_value(l, given->value);
  } else if (s->role == ROLE_GRAD && outside) {
    v = binding_value(l, outside, insert->stmt->name.where);
  } else if (d->value) {
    v = lower_expr(l, d->value);
  } else {
    lower_error(l, insert->stmt->name.where, "apply %s: '%s' needs a value", rule, d->name);
  }
  Range where = given ? given->value->where : insert->stmt->name.where;
  bool tensor = d->shape ? d->shape->n > 0 : s->scope == SCOPE_TENSOR;
  if (v.node && v.tensor != tensor) {
    if (tensor) lower_error(l, where, "'%s' is a tensor, this is one scalar", d->name);
    else lower_error(l, where, "'%s' is one number, this has %s", d->name, shape_of_value(l, &v));
    v = (Value){0};
  }
  if (v.node && d->shape && tensor && s->role != ROLE_PARAM) {
    if (!apply_axes(l, d, &v, where)) v = (Value){0};
    if (!is_item_space(l, value_space(l, &v))) v.shape = d->shape;
  }
  bind(l, d->name, d->where, v, bound);
  Binding *binding = scope_find_here(l->scope->names, d->name);
  if (binding && binding->symbol->kind == SYMBOL_BOUND) binding->symbol->index = (unsigned)s->role + 1;
  return true;
}

/* What the rule made of a param is the param's value from here on. */
static void hand_back(Lower *l, const Names *inner, Names *outer, const Stmt *s) {
  for (unsigned i = 0; i < inner->n; i++) {
    const Binding *from = &inner->at[i];
    Binding *to = from->symbol->bound ? scope_find(outer, from->symbol->bound) : NULL;
    if (!to) continue;
    Value v = binding_current(l, from);
    Expr at = {.where = s->name.where};
    if (v.node && to->symbol->kind == SYMBOL_OPERAND) v = operand_fit(l, &l->context->module->operands[to->symbol->index], v, &at);
    v.operand = 0;
    to->value = v;
    to->set = true;
    to->poison = !v.node;
    to->symbol->assigned = true;
  }
}

static bool given_before(const Stmt *s, unsigned i) {
  for (unsigned k = 0; k < i; k++) if (!strcmp(s->binds.at[k].name.text, s->binds.at[i].name.text)) return true;
  return false;
}

static void unknown_bind(Lower *l, const Rule *rule, const Name *given) {
  unsigned n = 0, room = rule->hypers.n + 1;
  for (unsigned i = 0; i < rule->body.n; i++) room += rule->body.at[i]->decls.n;
  const char **names = arena_array(l->arena, room, sizeof *names);
  for (unsigned i = 0; i < rule->hypers.n; i++) names[n++] = rule->hypers.at[i].name.text;
  for (unsigned i = 0; i < rule->body.n; i++) {
    const Stmt *s = rule->body.at[i];
    for (unsigned k = 0; k < s->decls.n && (s->role == ROLE_PARAM || s->role == ROLE_GRAD || s->role == ROLE_IN); k++) names[n++] = s->decls.at[k].name;
  }
  const char *nearest = suggest_word(given->text, names, n);
  if (!nearest) lower_error(l, given->where, "rule '%s' has no hyper-parameter or operand '%s'", rule->name.text, given->text);
  else if (lower_error(l, given->where, "rule '%s' has no hyper-parameter or operand '%s'; did you mean '%s'?", rule->name.text, given->text, nearest)) diag_fix(l->diag, nearest);
}

/* Entries of the applied rule become ours where it always runs. */
static void keep_entries(Lower *l, const Rule *rule, const Stmt *s, const Names *names) {
  Context *x = l->context;
  bool any = false;
  for (unsigned i = 0; i < rule->body.n; i++) any |= rule->body.at[i]->kind == STMT_ENTRY;
  if (!any) return;
  if (l->scope->insert || l->entry->name || l->scope->guard) {
    lower_error(l, s->name.where, "rule '%s' has entries: it is applied in the main body of a rule, not under 'if' or in an entry", rule->name.text);
    return;
  }
  x->applied = arena_grow(l->arena, x->applied, &x->applied_capacity, x->n_applied + 1, sizeof *x->applied);
  x->applied[x->n_applied++] = (Applied){rule, s, names};
}

void lower_apply(Lower *l, const Stmt *s) {
  const Rule *rule = file_rule(l, s->name.text);
  if (!rule) {
    unsigned n = 0, room = 0;
    for (unsigned f = 0; f < l->context->files->n; f++) room += l->context->files->files[f]->n_rules;
    const char **names = arena_array(l->arena, room + 1, sizeof *names);
    for (unsigned f = 0; f < l->context->files->n; f++)
      for (unsigned i = 0; i < l->context->files->files[f]->n_rules; i++) names[n++] = l->context->files->files[f]->rules[i]->name.text;
    const char *nearest = suggest_word(s->name.text, names, n);
    if (nearest) { if (lower_error(l, s->name.where, "unknown rule '%s'; did you mean '%s'?", s->name.text, nearest)) diag_fix(l->diag, nearest); }
    else lower_error(l, s->name.where, "unknown rule '%s'", s->name.text);
    return;
  }
  if (l->scope->in_fn) { lower_error(l, s->name.where, "a fn cannot apply a rule"); return; }
  bool again = rule == l->context->rule;
  unsigned depth = 0;
  for (const Call *c = l->scope->calls; c; c = c->outer, depth++) again |= c->what == rule;
  if (again) { lower_error(l, s->name.where, "rule '%s' applies itself", s->name.text); return; }
  if (depth >= LOWER_MAX_CALLS) { lower_error(l, s->name.where, "rules are applied too deeply at '%s'", s->name.text); return; }

  Lexical *outer = l->scope, inner;
  Insert insert = {.rule = rule, .stmt = s, .outer = outer, .taken = arena_array(l->arena, s->binds.n + 1, sizeof(bool))};
  Call call = {rule->name.text, rule, s->name.where, l->scope->calls};
  scope_enter(l, &inner);
  inner.body = &rule->body;
  inner.site = site_inside(l, outer->site, s);
  inner.insert = &insert;
  const Bind *t = find_bind(&insert, "t");
  Value n = {0};
  if (t) {
    n = outer_value(l, t->value);
    if (n.node && (!value_is(&n, KIND_INT) || n.tensor)) { lower_error(l, t->value->where, "'t' is one integer, this is not"); n = (Value){0}; }
    n.literal = false;
  }
  inner.names = scope_new(l, NULL);
  inner.calls = &call;
  for (unsigned i = 0; i < rule->hypers.n; i++) bind_hyper(l, &rule->hypers.at[i]);
  if (n.node) inner.step = n;
  names_register_fns(l, &rule->body);
  lower_block(l, &rule->body);
  scope_leave(l);
  for (unsigned i = 0; i < s->binds.n; i++)
    if (given_before(s, i)) lower_error(l, s->binds.at[i].name.where, "'%s' is given twice", s->binds.at[i].name.text);
    else if (!insert.taken[i]) { unknown_bind(l, rule, &s->binds.at[i].name); lower_argument(l, s->binds.at[i].value); }
  scope_finish(l, inner.names, 0);
  hand_back(l, inner.names, outer->names, s);
  keep_entries(l, rule, s, inner.names);
}

/* Whether all names of an expression mean something here. */
static bool seen(Lower *l, const Expr *e) {
  if (!e) return true;
  if (e->kind == EXPR_NAME || e->kind == EXPR_INDEX) {
    const Binding *b = scope_find(l->scope->names, e->name);
    if (b ? b->partial : strcmp(e->name, "t") && !file_const(l, e->name)) return false;
  }
  bool good = seen(l, e->a) && seen(l, e->b);
  for (unsigned i = 0; i < e->args.n && good; i++) good = seen(l, e->args.at[i]);
  for (unsigned i = 0; i < e->n_links && good; i++) good = seen(l, e->links[i].operand);
  for (unsigned i = 0; i < e->subs.n && good && e->kind == EXPR_INDEX; i++) good = seen(l, e->subs.at[i].expr);
  return good;
}

/* A hyper-parameter that is given by names of the main body is an error where the entry uses it. */
static void bind_hyper_again(Lower *l, Lexical *outer, const HyperDecl *d) {
  const Bind *given = find_bind(l->scope->insert, d->name.text);
  Lexical *here = l->scope;
  l->scope = outer;
  bool good = !given || seen(l, given->value);
  l->scope = here;
  if (good) { bind_hyper(l, d); return; }
  bind(l, d->name.text, d->name.where, (Value){0}, NULL);
  scope_find_here(l->scope->names, d->name.text)->symbol->unseen = lower_text(l, given->value->where);
}

/* The applied rule as its entries see it: hyper-parameters, given anew from what our entry sees, params, states that always exist, fns. */
void apply_entry(Lower *l, const Applied *applied, const Stmt *entry) {
  const Rule *rule = applied->rule;
  Lexical *outer = l->scope, inner;
  Insert insert = {.rule = rule, .stmt = applied->stmt, .outer = outer, .taken = arena_array(l->arena, applied->stmt->binds.n + 1, sizeof(bool))};
  Call call = {rule->name.text, rule, applied->stmt->name.where, outer->calls};
  scope_enter(l, &inner);
  inner.names = scope_new(l, NULL);
  inner.calls = &call;
  inner.insert = &insert;
  const Bind *t = find_bind(&insert, "t");
  if (t) inner.step = outer_value(l, t->value);
  for (unsigned i = 0; i < rule->hypers.n; i++) bind_hyper_again(l, outer, &rule->hypers.at[i]);
  for (unsigned i = 0; i < rule->body.n; i++) {
    const Stmt *s = rule->body.at[i];
    for (unsigned k = 0; s->kind == STMT_DECL && s->role == ROLE_PARAM && k < s->decls.n; k++) apply_declare(l, s, &s->decls.at[k]);
  }
  for (unsigned i = 0; i < applied->names->n; i++) {
    Symbol *s = applied->names->at[i].symbol;
    if (s->kind == SYMBOL_OPERAND && l->context->module->operands[s->index].role == ROLE_STATE && !s->guard) scope_add(l, s);
  }
  names_register_fns(l, &rule->body);
  inner.insert = NULL;                                  /* what the entry declares is the caller's to give */
  sizes_reserve(l, &entry->body);
  lower_block(l, &entry->body);
  scope_leave(l);
  scope_finish(l, inner.names, 0);
  hand_back(l, inner.names, outer->names, applied->stmt);
}
