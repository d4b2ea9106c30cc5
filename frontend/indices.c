/* indices.c: index spaces: which indices are in scope, what introduces one, and how far it runs (language, section 3). */
#include <string.h>
#include "frontend/lower.h"

/* --- indices in scope ---------------------------------------------------------------------------------------------------------- */

void indices_enter(Lower *l, Indices *inner) {
  if (l->scope->ix) *inner = *l->scope->ix;
  else *inner = (Indices){.space = graph_scalar_space(l->graph)};
}

int index_find(const Indices *ix, const char *name) {
  for (unsigned k = ix ? ix->n : 0; k-- > (ix ? ix->barrier : 0);) if (!strcmp(ix->at[k].name, name)) return (int)k;
  return -1;
}

/* False after an error. */
bool index_add(Lower *l, Indices *ix, const char *name, const Node *extent, Range where) {
  int old = *name == '.' ? -1 : index_find(ix, name);
  if (old >= 0) {
    if (lower_error(l, where, "index '%s' is already in use here", name)) diag_note(l->diag, ix->at[old].where, "introduced here");
    return false;
  }
  if (ix->n == LOWER_MAX_AXES) {
    lower_error(l, where, "more than %d indices at one place", LOWER_MAX_AXES);
    return false;
  }
  ix->at[ix->n++] = (Index){name, extent, where, false};
  return true;
}

void indices_close(Lower *l, Indices *ix) {
  const Node *extent[LOWER_MAX_AXES];
  for (unsigned k = 0; k < ix->n; k++) extent[k] = ix->at[k].extent;
  ix->space = graph_space(l->graph, ix->n, extent);
  l->scope->ix = ix;
}

const Node *index_node(Lower *l, const Space *s, unsigned axis) { return graph_node(l->graph, OP_INDEX, TYPE_I64, s, axis, 0, 0, NULL); }

/* --- what introduces an index -------------------------------------------------------------------------------------------------------- */

bool name_is_value(Lower *l, const char *name) {
  if (index_find(l->scope->ix, name) >= 0) return false;
  const Binding *b = scope_find(l->scope->names, name);
  if (b) return !(b->poison && b->symbol->poisoned);
  return file_const(l, name) != NULL;
}

const char *sub_index(Lower *l, const Sub *sub, const Expr **limit) {
  const Expr *e = sub->expr;
  *limit = NULL;
  if (sub->ellipsis || !e) return NULL;
  if (e->kind == EXPR_CHAIN && e->n_links == 1 && e->links[0].op == OPER_LT && !e->parenthesised && e->a->kind == EXPR_NAME) {
    *limit = e->links[0].operand;
    e = e->a;
  }
  if (e->kind != EXPR_NAME || (!*limit && e->parenthesised)) return NULL;
  if (!*limit && (name_is_value(l, e->name) || !strcmp(e->name, "t"))) if (name_is_value(l, e->name) || l->context->has_step) return NULL;
  return e->name;
}

const Node *index_limit(Lower *l, const Expr *e) {
  Value v = lower_expr(l, e);
  if (!v.node) return NULL;
  if (!value_is(&v, KIND_INT)) {
    index_not_integer(l, e, &v);
    return NULL;
  }
  if (v.tensor || v.node->space->rank) {
    lower_error(l, e->where, "the range of an index is one number, this differs from element to element; compare in the body");
    return NULL;
  }
  return v.node;
}

/* --- how far it runs: the axes in which it stands bare ----------------------------------------------------------------------------------- */

/* A fn's parameters stand for the arguments of its call. */
typedef struct Env { const Fn *fn; const Expr *call; Names *scope; const struct Env *outer; unsigned depth; } Env;

typedef struct Search { Lower *l; const char *name; const Node *extent; const char *what; bool *poisoned; bool ellipsis; unsigned n; const Node *all[LOWER_MAX_AXES]; } Search;

static const Expr *resolve(const Env **env, const Expr *e) {
  while (e->kind == EXPR_NAME && (*env)->fn) {
    unsigned k = 0;
    const Fn *fn = (*env)->fn;
    while (k < fn->params.n && strcmp(fn->params.at[k].text, e->name)) k++;
    if (k == fn->params.n) break;
    if (k >= (*env)->call->args.n) return NULL;
    e = (*env)->call->args.at[k];
    *env = (*env)->outer;
  }
  return e;
}

/* The tensor that the name of x[i] is. */
static bool tensor_named(Search *s, const Env *env, const char *name, Axes *axes, const char **shown) {
  Expr e = {.kind = EXPR_NAME, .name = name};
  const Expr *r = resolve(&env, &e);
  if (!r || r->kind != EXPR_NAME || index_find(s->l->scope->ix, r->name) >= 0) return false;
  Binding *b = scope_find(env->scope, r->name);
  if (b && b->poison) *s->poisoned = true;
  if (!b || b->poison || b->partial || b->symbol->kind == SYMBOL_FN || b->symbol->kind == SYMBOL_SIZE) return false;
  *shown = r->name;
  Value v = binding_current(s->l, b);
  return v.node && v.tensor && axes_of(s->l, &v, axes);
}

static void found(Search *s, const Node *extent, unsigned axis, const char *tensor) {
  const char *what = arena_printf(s->l->arena, "axis %u of %s", axis, tensor);
  if (!s->extent) { s->extent = extent; s->what = what; }
  else extents_agree(s->l, s->extent, s->what, extent, what);
}

static void search(Search *s, const Env *env, const Expr *e);

static void search_subs(Search *s, const Env *env, const char *name, const SubList *subs) {
  Axes axes = {0};
  const char *shown = name;
  bool known = tensor_named(s, env, name, &axes, &shown);
  unsigned at = 0;
  for (unsigned k = 0; k < subs->n; k++) {
    const Sub *sub = &subs->at[k];
    if (sub->ellipsis) {
      unsigned more = known && axes.n + 1 >= subs->n ? axes.n + 1 - subs->n : 0;
      if (s->ellipsis && known && !s->n && !s->extent) {
        s->n = more;
        s->extent = graph_i64(s->l->graph, 0);
        for (unsigned i = 0; i < more; i++) s->all[i] = axes.extent[at + i];
      }
      at += more;
      continue;
    }
    const Env *outer = env;
    const Expr *r = resolve(&outer, sub->expr);
    bool bare = s->name && r && r->kind == EXPR_NAME && !strcmp(r->name, s->name) && !outer->fn;
    if (bare && known && at < axes.n) found(s, axes.extent[at], at, shown);
    else search(s, env, sub->expr);
    at++;
  }
}

static void search(Search *s, const Env *env, const Expr *e) {
  if (!e || env->depth > LOWER_MAX_CALLS || s->l->context->exhausted) return;
  if (++s->l->context->steps > LOWER_MAX_STEPS) return;
  if (e->kind == EXPR_INDEX) { search_subs(s, env, e->name, &e->subs); return; }
  if (e->kind == EXPR_CALL) {
    const Env *outer = env;
    Expr named = {.kind = EXPR_NAME, .name = e->name};
    const Expr *r = resolve(&outer, &named);
    Binding *b = r && r->kind == EXPR_NAME ? scope_find(outer->scope, r->name) : NULL;
    const Fn *fn = b ? b->value.fn : r && r->kind == EXPR_NAME ? file_fn(s->l, r->name) : NULL;
    if (fn && fn->value && !e->has_subs) {
      Env inner = {fn, e, b && b->value.home ? b->value.home : s->l->scope->names, env, env->depth + 1};
      search(s, &inner, fn->value);
      return;
    }
  }
  for (unsigned i = 0; i < e->args.n; i++) search(s, env, e->args.at[i]);
  for (unsigned i = 0; i < e->n_links; i++) search(s, env, e->links[i].operand);
  for (unsigned i = 0; e->kind == EXPR_CALL && i < e->subs.n; i++)
    if (!e->subs.at[i].ellipsis && e->subs.at[i].expr->kind == EXPR_CHAIN) for (unsigned k = 0; k < e->subs.at[i].expr->n_links; k++) search(s, env, e->subs.at[i].expr->links[k].operand);
  if (e->kind == EXPR_IS) return;
  search(s, env, e->a);
  search(s, env, e->b);
}

static void search_block(Search *s, const Env *env, const StmtList *list) {
  for (unsigned i = 0; i < list->n; i++) {
    const Stmt *st = list->at[i];
    if (st->kind == STMT_ASSIGN) {
      if (st->has_subs) search_subs(s, env, st->name.text, &st->subs);
      search(s, env, st->value);
    }
    if (st->cond) search(s, env, st->cond);
    search_block(s, env, &st->body);
    search_block(s, env, &st->otherwise);
  }
}

const Node *index_range(Lower *l, const char *name, const Expr *e, const StmtList *block, const Node *extent, const char *what, bool *poisoned) {
  Search s = {.l = l, .name = name, .extent = extent, .what = what, .poisoned = poisoned};
  Env env = {.scope = l->scope->names};
  if (e) search(&s, &env, e);
  if (block) search_block(&s, &env, block);
  return s.extent;
}

unsigned ellipsis_extents(Lower *l, const Expr *e, const Node **extents, bool *known) {
  bool poisoned = false;
  Search s = {.l = l, .ellipsis = true, .poisoned = &poisoned};
  Env env = {.scope = l->scope->names};
  search(&s, &env, e);
  *known = s.extent != NULL;
  memcpy(extents, s.all, s.n*sizeof *extents);
  return s.n;
}

/* --- agreement ------------------------------------------------------------------------------------------------------------------------------ */

static bool leaf_of_elements(const Module *m, const Node *n) { return n->op == OP_READ || n->op == OP_CARRY || n->op == OP_RESULT || n->op == OP_TOTAL; }

/* What of the enclosing conditions is known before anything is read: a requirement holds where they do. */
static const Node *known_part(Lower *l, const Node *guard) {
  if (guard->op == OP_AND && node_uses(l->graph, guard, leaf_of_elements, l->context->module)) {
    const Node *a = known_part(l, guard->args[0]), *b = known_part(l, guard->args[1]);
    return bool_and(l, a, b);
  }
  return node_uses(l->graph, guard, leaf_of_elements, l->context->module) ? NULL : guard;
}

const Node *under_guard(Lower *l, const Node *cond) {
  const Node *guard = l->scope->guard ? known_part(l, l->scope->guard) : NULL;
  return guard ? graph_op2(l->graph, OP_OR, graph_op1(l->graph, OP_NOT, guard), cond) : cond;
}

void extents_agree(Lower *l, const Node *a, const char *what_a, const Node *b, const char *what_b) {
  Bits x, y;
  if (a == b) return;
  if (node_uses(l->graph, a, leaf_of_elements, l->context->module) || node_uses(l->graph, b, leaf_of_elements, l->context->module)) return;
  if (a->op == OP_CONST && b->op == OP_CONST && node_constant(l->graph, a, &x) && node_constant(l->graph, b, &y) && x == y) return;
  const Node *cond = graph_op2(l->graph, OP_EQ, a, b);
  cond = under_guard(l, cond);
  for (unsigned i = 0; i < l->graph->n_requires; i++) if (l->graph->requires[i].cond == cond) return;
  const Node *values[2] = {graph_cast(l->graph, TYPE_F64, b), graph_cast(l->graph, TYPE_F64, a)};
  const char *names[2] = {what_b, what_a};
  graph_require(l->graph, arena_printf(l->arena, "%s is {}, %s is {}", what_b, what_a), cond, 2, values, names);
}
