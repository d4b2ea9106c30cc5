/* ranges.c: how far an index runs: the axes in which it stands bare (language, section 3). */
#include <string.h>
#include "frontend/names.h"

/* A fn's parameters stand for the arguments of its call. */
typedef struct Env { const Fn *fn; const Expr *call; Names *scope; const struct Env *outer; unsigned depth; } Env;

typedef struct Search { Lower *l; const char *name; Extent found; bool *poisoned; bool ellipsis; unsigned n; const Node *all[LOWER_MAX_AXES]; } Search;

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

static void found(Search *s, const Node *extent, unsigned axis, const char *tensor, Range where) {
  Extent now = {extent, arena_printf(s->l->arena, "axis %u of %s", axis, tensor), where};
  if (!s->found.node) s->found = now;
  else extents_agree(s->l, where, s->found, now);
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
      if (s->ellipsis && known && !s->n && !s->found.node) {
        s->n = more;
        s->found.node = graph_i64(s->l->graph, 0);
        for (unsigned i = 0; i < more; i++) s->all[i] = axes.extent[at + i];
      }
      at += more;
      continue;
    }
    const Env *outer = env;
    const Expr *r = resolve(&outer, sub->expr);
    bool bare = s->name && r && r->kind == EXPR_NAME && !strcmp(r->name, s->name) && !outer->fn;
    if (bare && known && at < axes.n) found(s, axes.extent[at], at, shown, sub->where);
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

const Node *index_range(Lower *l, const char *name, const Expr *e, const StmtList *block, Extent given, bool *poisoned) {
  Search s = {.l = l, .name = name, .found = given, .poisoned = poisoned};
  Env env = {.scope = l->scope->names};
  if (e) search(&s, &env, e);
  if (block) search_block(&s, &env, block);
  return s.found.node;
}

unsigned ellipsis_extents(Lower *l, const Expr *e, const Node **extents, bool *known) {
  bool poisoned = false;
  Search s = {.l = l, .ellipsis = true, .poisoned = &poisoned};
  Env env = {.scope = l->scope->names};
  search(&s, &env, e);
  *known = s.found.node != NULL;
  memcpy(extents, s.all, s.n*sizeof *extents);
  return s.n;
}
