/* lower_stmt.c: statements. Names hold values, so assigning is binding; `if` runs both branches and selects. */
#include <string.h>
#include "frontend/statements.h"

/* --- assignment ------------------------------------------------------------------------------------------------------------------ */

/* A value as a name takes it that already has one: kinds stay, a scalar fills a tensor. */
static Value fit(Lower *l, const Binding *binding, Value v, const Expr *e) {
  Value old = binding_current(l, binding);
  if (!v.node || !old.node) return v;
  if (value_is(&old, KIND_BOOL) != value_is(&v, KIND_BOOL)) {
    bool is_bool = value_is(&v, KIND_BOOL);
    if (lower_error(l, e->where, "'%s' is a %s, this is a %s", binding->symbol->name, is_bool ? "number" : "bool", is_bool ? "bool; write where(c, 1, 0)" : "number"))
      diag_note(l->diag, binding->symbol->where, "first assigned here");
    return (Value){0};
  }
  if (old.tensor && !v.tensor) {
    if (old.node->type == TYPE_F32) v = value_convert(l, v, TYPE_F32);
    v.tensor = true;
    v.space = value_space(l, &old);
    v.wide |= old.wide && v.node->type == TYPE_F64;
  }
  return v;
}

/* `p =- x` with the space where `p -= x` has it. */
static void warn_exchanged(Lower *l, const Stmt *s) {
  const Expr *e = s->value;
  while (e->kind == EXPR_BINARY || e->kind == EXPR_CHAIN) e = e->a;
  bool adjoins = s->op == OPER_NONE && e->kind == EXPR_UNARY && e->op == OPER_NEG && !e->parenthesised && e->op_where.begin == s->op_where.end;
  if (!adjoins || e->a->where.begin == e->op_where.end || !l->context->options->warnings) return;
  Range both = {s->op_where.source, s->op_where.begin, e->op_where.end};
  if (lower_warning(l, both, "'=-' gives '%s' a negated value; did you mean '-='?", s->name.text)) diag_fix(l->diag, "-=");
}

/* What an index-free statement gives its name. Random numbers count by the elements of what is assigned: where a fn is called at indices that is one number. */
static Value right_side(Lower *l, const Stmt *s, Binding *binding) {
  const char *name = s->name.text;
  Value target = binding ? binding_current(l, binding) : (Value){0};
  Lexical inner;
  Indices around;
  scope_enter(l, &inner)->statement = target.node ? target.tensor ? value_space(l, &target) : NULL : l->context->has_param ? item_space(l) : NULL;
  if (inner.ix) {
    around = *inner.ix;
    around.first = around.statement = 0;
    inner.ix = &around;
  }
  Value v, old = {0};
  if (s->op != OPER_NONE) {
    old = binding ? binding_value(l, binding, s->name.where) : name_value(l, name, s->name.where, false);
    if (!binding && (old.node || old.fn || old.builtin)) {
      lower_error(l, s->name.where, "'%s' cannot be assigned", name);
      old = (Value){0};
    }
  }
  v = lower_expr(l, s->value);
  graph_at(l->graph, s->where);
  if (s->op != OPER_NONE) v = value_operate(l, s->op, s->op_where, old, v);
  scope_leave(l);
  return v;
}

static void assign(Lower *l, const Stmt *s) {
  warn_exchanged(l, s);
  const char *name = s->name.text;
  Binding *binding = scope_find_assigned(l, name);
  l->scope->target = name;
  Value v = s->has_subs ? lower_indexed(l, s, binding) : right_side(l, s, binding);
  l->scope->target = NULL;
  binding = scope_find_assigned(l, name);               /* the expression may have added names */
  if (!binding && (s->has_subs ? !v.node : s->op != OPER_NONE)) { name_poison(l, name, s->name.where); return; }
  v.literal = false;
  v.operand = 0;
  if (!binding) {
    bool is_free = l->scope->in_fn ? strcmp(name, "t") : name_is_free(l, name, s->name.where);
    if (!is_free && l->scope->in_fn) lower_error(l, s->name.where, "'%s' is predeclared and cannot be assigned", name);
    if (!is_free) return;
    binding = scope_add(l, symbol_new(l, name, SYMBOL_LOCAL, 0, s->name.where));
    symbol_set_once(l, binding->symbol);
  } else if (binding->symbol->kind == SYMBOL_FN) {
    if (lower_error(l, s->name.where, "'%s' is a fn and cannot be assigned", name)) diag_note(l->diag, binding->symbol->where, "first declared here");
    return;
  } else if (binding->symbol->kind == SYMBOL_OPERAND) {
    binding->symbol->assigned = true;
    if (binding->partial) { binding_value(l, binding, s->name.where); return; }
    const Operand *o = &l->context->module->operands[binding->symbol->index];
    bool written = o->role == ROLE_PARAM || o->role == ROLE_STATE || o->role == ROLE_OUT || o->role == ROLE_INOUT;
    v = written ? operand_fit(l, o, v, s->value) : fit(l, binding, v, s->value);
    if (written && o->scope == SCOPE_GLOBAL && l->scope->guard && l->scope->guard->level > LEVEL_GLOBAL && v.node) {
      if (lower_error(l, s->name.where, "'%s' is global, the condition at line %u differs from item to item", name, lower_line(l->scope->guard_where)))
        diag_note(l->diag, l->scope->guard_where, "this condition");
      v = (Value){0};
    }
  } else if (!binding->partial) {
    v = fit(l, binding, v, s->value);
    if (binding->symbol->kind == SYMBOL_HYPER && v.node)
      lower_warning(l, s->name.where, "'%s' is a hyper-parameter: it is changed for the rest of this call, not for the next; give the new value a name of its own", name);
  }
  if (binding->symbol->kind == SYMBOL_LOCAL) v = value_joined(l, &s->name, v);
  v.name = name;
  binding->value = v;
  binding->set = true;
  binding->poison = !v.node;
  binding->partial = false;
  if (!v.node) binding->symbol->shape = v.shape;        /* messages still compare it */
  if (!v.node) binding->symbol->used = true;            /* whether it is used cannot be said */
}

/* --- if ----------------------------------------------------------------------------------------------------------------------------- */

static bool unchanged(const Binding *a, const Binding *b) {
  return a->value.node == b->value.node && a->set == b->set && a->poison == b->poison && a->partial == b->partial && a->value.tensor == b->value.tensor;
}

/* The choice between what two branches made; tensors are chosen as a whole, also where a fn is called at indices. */
static Value choose(Lower *l, Range where, Value c, Value x, Value y) {
  if (!x.tensor || !y.tensor) return value_select(l, where, c, x, y);
  unsigned around = x.around > y.around ? x.around : y.around;
  Lexical whole;
  scope_enter(l, &whole)->ix = NULL;
  if (x.around < around) x = value_around(l, x, value_space(l, &y), around);
  if (y.around < around) y = value_around(l, y, value_space(l, &x), around);
  Value made = value_select(l, where, c, x, y);
  made.around = around;
  scope_leave(l);
  return made;
}

/* One name after the `if`, from what it is at the end of either branch. */
static Binding merge(Lower *l, const Stmt *s, Value c, const Binding *a, const Binding *b) {
  Binding made = *a;
  if (unchanged(a, b)) return made;
  if (a->poison || b->poison || !c.node) { made.poison = true; return made; }
  if (a->partial && b->partial) return made;
  if (a->partial || b->partial) {
    made.partial = true;
    made.clash = NULL;
    made.partial_when = a->partial;
    made.partial_cond = s->cond->where;
    return made;
  }
  Value x = binding_current(l, a), y = binding_current(l, b);
  x.literal = y.literal = false;
  made.set = true;
  if (x.node == y.node) { made.value = x; made.value.tensor |= y.tensor; made.value.wide |= y.wide; return made; }
  if (x.node && y.node && value_is(&x, KIND_BOOL) != value_is(&y, KIND_BOOL)) {
    lower_error(l, s->cond->where, "'%s' is a bool in one branch and a number in the other", a->symbol->name);
    made.poison = true;
    return made;
  }
  graph_at(l->graph, s->where);
  made.value = choose(l, s->cond->where, c, x, y);
  made.poison = !made.value.node;
  return made;
}

/* Tensors made in both branches agree where their shapes are surely one. */
static bool shapes_agree_surely(Lower *l, const Binding *a, const Binding *b) {
  Value x = binding_current(l, a), y = binding_current(l, b);
  if (!x.node || !y.node || !x.tensor || !y.tensor) return true;         /* a scalar fills */
  return spaces_meet(l, value_space(l, &x), value_space(l, &y));
}

/* One name that both branches made, and not as one thing: two shapes, or what is declared in one of them. NULL: one has no value to speak of. The names that
 * each has at its end say its sizes. */
static const Clash *clash_of(Lower *l, const Binding *a, const Names *then, const Binding *b, const Names *otherwise) {
  if (a->poison || b->poison || a->partial || b->partial) return NULL;
  Clash *clash = arena_alloc(l->arena, sizeof *clash);
  const char *name = a->symbol->name, *word = symbol_word(l, b->symbol);
  unsigned lines[2] = {lower_line(a->symbol->where), lower_line(b->symbol->where)};
  *clash = (Clash){.note = {"here", "and here"}, .where = {a->symbol->where, b->symbol->where}};
  if (a->symbol->kind != SYMBOL_LOCAL || b->symbol->kind != SYMBOL_LOCAL) {
    clash->why = arena_printf(l->arena, "'%s' is %s %s at line %u and %s %s at line %u: what is used behind both branches is declared before the 'if'", name,
                              symbol_article(l, a->symbol), symbol_word(l, a->symbol), lines[0], strcmp(word, symbol_word(l, a->symbol)) ? symbol_article(l, b->symbol) : "another", word, lines[1]);
    return clash;
  }
  Names *here = l->scope->names, outside = *here;
  Value x = binding_current(l, a), y = binding_current(l, b);
  *here = *then;
  const char *one = space_clause(l, value_space(l, &x));
  *here = *otherwise;
  const char *other = space_clause(l, value_space(l, &y));
  *here = outside;
  clash->why = arena_printf(l->arena, "'%s' %s at line %u and %s at line %u: both branches must give it one shape", name, one, lines[0], strncmp(one, other, 3) ? other : other + 3, lines[1]);
  clash->note[0] = arena_printf(l->arena, "'%s' %s here", name, one);
  clash->note[1] = arena_printf(l->arena, "'%s' %s here", name, other);
  return clash;
}

/* A name that only one branch made: known, without a value. Operands are written when the entry ends, under their condition. */
static void add_partial(Lower *l, const Stmt *s, const Binding *from, bool missing_when, const Clash *clash) {
  Binding *binding = scope_add(l, from->symbol);
  *binding = *from;
  if (clash) binding->clash = clash;
  else if (!from->partial) binding->clash = NULL;
  if (from->poison) return;
  if (!from->partial) { binding->partial_when = missing_when; binding->partial_cond = s->cond->where; }
  binding->partial = true;
}

static void lower_if(Lower *l, const Stmt *s) {
  Names *scope = l->scope->names, base = *names_copy(l, scope);
  Lexical when;
  Patterns asked = {0};
  scope_enter(l, &when)->patterns = &asked;
  Value c = lower_condition(l, s->cond, "if");
  when.patterns = when.outer->patterns;
  when.guard = bool_and(l, when.guard, c.node);
  when.guard_where = c.node ? s->cond->where : when.guard_where;
  for (unsigned i = 0; i < asked.n && c.node; i++) pattern_bind(l, asked.at[i], when.guard);
  l->context->steps += 4*base.n;                        /* a branch costs as much as there are names */
  lower_block(l, &s->body);
  scope_finish(l, scope, base.n);
  scope_leave(l);
  Names then = *scope;
  *scope = *names_copy(l, &base);
  if (s->has_otherwise) {
    scope_enter(l, &when);
    if (c.node) { when.guard = bool_and(l, when.guard, graph_op1(l->graph, OP_NOT, c.node)); when.guard_where = s->cond->where; }
    lower_block(l, &s->otherwise);
    scope_finish(l, scope, base.n);
    scope_leave(l);
  }
  Names otherwise = *scope;
  *scope = base;
  for (unsigned i = 0; i < base.n; i++) scope->at[i] = merge(l, s, c, &then.at[i], &otherwise.at[i]);
  for (unsigned i = base.n; i < then.n; i++) {
    const Binding *a = &then.at[i], *b = NULL;
    if (a->symbol->kind == SYMBOL_SIZE) continue;       /* sizes that a pattern names end with its block */
    for (unsigned k = base.n; k < otherwise.n && !b; k++) if (!strcmp(otherwise.at[k].symbol->name, a->symbol->name)) b = &otherwise.at[k];
    if (b && a->symbol->kind == SYMBOL_LOCAL && b->symbol->kind == SYMBOL_LOCAL && shapes_agree_surely(l, a, b)) {
      Binding made = merge(l, s, c, a, b);
      *scope_add(l, a->symbol) = made;
    } else {
      add_partial(l, s, a, false, b ? clash_of(l, a, &then, b, &otherwise) : NULL);
    }
  }
  for (unsigned k = base.n; k < otherwise.n; k++)
    if (otherwise.at[k].symbol->kind != SYMBOL_SIZE && !scope_find_here(scope, otherwise.at[k].symbol->name)) add_partial(l, s, &otherwise.at[k], true, NULL);
}

/* --- require ------------------------------------------------------------------------------------------------------------------------- */

typedef struct Numbers { unsigned n; const Node *value[4]; const char *name[4]; } Numbers;

/* The names in a condition and what they are worth, in order, for the message. */
static void numbers_of(Lower *l, const Expr *e, Numbers *out) {
  for (; e && out->n < 4; e = e->kind == EXPR_BINARY ? e->b : NULL) {
    bool asks = e->kind == EXPR_CALL && (!strcmp(e->name, "rank") || !strcmp(e->name, "size"));
    if (e->kind == EXPR_NAME || asks) {
      Value v = lower_argument(l, e);
      const char *name = lower_text(l, e->where);
      bool known = false;
      for (unsigned i = 0; i < out->n; i++) known |= !strcmp(out->name[i], name);
      if (known || !v.node || v.tensor || v.node->space->rank || value_is(&v, KIND_BOOL)) return;
      out->name[out->n] = name;
      out->value[out->n++] = value_convert(l, v, TYPE_F64).node;
      return;
    }
    if (e->kind == EXPR_CALL) for (unsigned i = 0; i < e->args.n; i++) numbers_of(l, e->args.at[i], out);
    if (e->kind != EXPR_CALL && l->context->depth < LOWER_MAX_DEPTH) { l->context->depth++; numbers_of(l, e->a, out); l->context->depth--; }
    if (e->kind == EXPR_CHAIN) for (unsigned i = 0; i < e->n_links; i++) numbers_of(l, e->links[i].operand, out);
  }
}

static void lower_require(Lower *l, const Stmt *s) {
  Value c = lower_condition(l, s->cond, "require");
  if (!c.node) return;
  if (node_reads_data(l, c.node)) {
    lower_error(l, s->cond->where, "'require' is checked before anything is read: it may not depend on tensors; choose by 'if' or 'where', or let the caller check an out");
    return;
  }
  Numbers numbers = {0};
  numbers_of(l, s->cond, &numbers);
  const Node *cond = under_guard(l, c.node);
  graph_require(l->graph, lower_text(l, s->cond->where), cond, numbers.n, numbers.value, numbers.name);
}

/* --- statements ------------------------------------------------------------------------------------------------------------------------ */

static void lower_stmt(Lower *l, const Stmt *s) {
  if (l->context->exhausted) return;
  if (l->context->depth >= LOWER_MAX_DEPTH) {
    lower_error(l, s->where, "this nests too deeply");
    l->context->exhausted = true;
    return;
  }
  l->context->depth++;
  graph_at(l->graph, s->where);
  switch (s->kind) {
    case STMT_DECL: declare(l, s); break;
    case STMT_REQUIRE: lower_require(l, s); break;
    case STMT_ASSIGN: assign(l, s); break;
    case STMT_IF: lower_if(l, s); break;
    case STMT_REPEAT: lower_repeat(l, s); break;
    case STMT_SCAN: lower_scan(l, s); break;
    case STMT_SKIP: lower_skip(l, s); break;
    case STMT_APPLY: lower_apply(l, s); break;
    case STMT_BACKWARD: break;                          /* when the rule ends: lower_backward */
    case STMT_ENTRY: break;                             /* after the main body: lower.c */
    case STMT_FN: break;                                /* known since the rule began */
  }
  l->context->depth--;
}

void lower_block(Lower *l, const StmtList *list) {
  for (unsigned i = 0; i < list->n; i++) lower_stmt(l, list->at[i]);
}
