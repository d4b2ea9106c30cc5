/* statement.c: statements, one at a time for all items together, so that [all] sees every item at the same point. */
#include "internal.h"

/* --- what is known of a name before it runs: how often it is assigned, and the join of its types ------------------------------------------ */

static unsigned count_assignments(const StmtList *l, const char *name) {
  unsigned n = 0;
  for (unsigned i = 0; i < l->n; i++) {
    const Stmt *s = l->at[i];
    n += s->kind == STMT_ASSIGN && !strcmp(s->name.text, name);
    n += count_assignments(&s->body, name) + count_assignments(&s->otherwise, name);
  }
  return n;
}

/* Frames of one call, applied rule or entry: of any item and round. */
static bool same_place(const Frame *a, const Frame *b) {
  for (; a && b; a = a->parent, b = b->parent) if (a->node != b->node) return false;
  return a == b;
}

static unsigned join_of(Ctx *c, Frame *f, const char *name) {
  const StmtList *body = f->fn ? &f->fn->body : &f->rule->body;
  unsigned k = 0;
  while (k < c->n_joins && (strcmp(c->joins[k].name, name) || !same_place(c->joins[k].owner, f))) k++;
  if (k == c->n_joins) {
    c->joins = arena_grow(c->call->arena, c->joins, &c->joins_capacity, (size_t)c->n_joins + 1, sizeof *c->joins);
    c->joins[c->n_joins++] = (__typeof__(*c->joins)){.owner = f, .name = name, .assignments = count_assignments(body, name)};
  }
  return k;
}

/* The kind a name has everywhere; where it grows after it was used, the entry runs once more. */
static Kind joined(Ctx *c, Frame *f, const char *name, Kind kind) {
  unsigned k = join_of(c, f, name);
  if (!c->joins[k].set) { c->joins[k].set = true; c->joins[k].kind = kind; return kind; }
  Kind old = c->joins[k].kind;
  if (old == kind || old == K_BOOL || kind == K_BOOL) return kind;
  if (kind > old) { c->joins[k].kind = kind; c->again = true; }
  return c->joins[k].kind;
}

/* --- assignment ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Indices { Binding *at[2 * EVAL_MAX_RANK]; const Expr *limit[2 * EVAL_MAX_RANK]; unsigned n; } Indices;

static void add_index(Ctx *c, Indices *x, Frame *f, const char *name, const Expr *limit, Range where) {
  for (unsigned k = 0; k < x->n; k++)
    if (!strcmp(x->at[k]->name, name)) { if (limit) x->limit[k] = limit; return; }
  if (x->n == 2 * EVAL_MAX_RANK) ev_fail(c, where, "too many indices");
  x->limit[x->n] = limit;
  x->at[x->n++] = ev_own(c, f, name);
}

/* Indices inside an expression on the left: names that are no values, and not bound in it. */
static void inner_indices(Ctx *c, Indices *x, const Expr *e, Frame *f, const char **bound, unsigned n_bound) {
  if (!e) return;
  Frame *lexical;
  if (e->kind == EXPR_NAME) {
    bool is = !ev_find(c, f, e->name) && !(c->has_t && !strcmp(e->name, "t")) && !ev_find_fn(c, f, e->name, &lexical);
    for (unsigned k = 0; k < n_bound; k++) is &= strcmp(bound[k], e->name) != 0;
    if (is) add_index(c, x, f, e->name, NULL, e->where);
    return;
  }
  const char *names[32];
  unsigned n = n_bound;
  if (n_bound) memcpy(names, bound, n_bound * sizeof *bound);
  bool reduces = e->kind == EXPR_CALL && e->has_subs && ev_is_reduction(e->name);
  for (unsigned k = 0; k < e->subs.n; k++) {
    if (e->subs.at[k].ellipsis) continue;
    const Expr *s = e->subs.at[k].expr;
    if (!reduces) { inner_indices(c, x, s, f, bound, n_bound); continue; }
    if (s->kind == EXPR_CHAIN) s = s->a;
    if (n < 32) names[n++] = s->name;
  }
  for (unsigned k = 0; k < e->args.n; k++) inner_indices(c, x, e->args.at[k], f, names, n);
  for (unsigned k = 0; k < e->n_links; k++) inner_indices(c, x, e->links[k].operand, f, bound, n_bound);
  inner_indices(c, x, e->a, f, bound, n_bound);
  inner_indices(c, x, e->b, f, bound, n_bound);
}

static Whole assign_indexed(Ctx *c, const Stmt *s, Frame *f) {
  Binding *target = ev_own(c, f, s->name.text);
  Tensor *old = target->kind == BIND_TENSOR ? target->tensor : NULL, *result = NULL;
  Binding outer_ell = c->ell;
  bool outer_has = c->has_ell, all_new = true;
  Expr left = {.kind = EXPR_INDEX, .where = s->where, .name = s->name.text, .has_subs = true, .subs = s->subs};
  if (target->kind != BIND_TENSOR && target->kind != BIND_NONE) ev_fail(c, s->where, "'%s' is one number", s->name.text);
  bool dots = false;                     /* else those on the right are bound there */
  for (unsigned k = 0; k < s->subs.n; k++) dots |= s->subs.at[k].ellipsis;
  if (!c->has_ell && dots && (ev_ellipsis(c, &left, f) || ev_ellipsis(c, s->value, f))) {
    int64_t extent = c->ell.extent;
    c->ell = (Binding){.name = "...", .kind = BIND_INDEX, .extent = extent};
    c->has_ell = true;
  }
  Indices x = {0};
  for (unsigned k = 0; k < s->subs.n; k++) {
    const char *name = NULL;
    const Expr *limit = NULL;
    if (s->subs.at[k].ellipsis) {
      if (!c->has_ell) ev_fail(c, s->where, "which axes does '...' stand for?");
      if (x.n == 2 * EVAL_MAX_RANK) ev_fail(c, s->where, "too many indices");
      x.at[x.n++] = &c->ell;
    } else if (ev_is_index_sub(c, &s->subs.at[k], f, &name, &limit) && !(c->has_t && !strcmp(name, "t"))) add_index(c, &x, f, name, limit, s->where);
    else { all_new = false; inner_indices(c, &x, s->subs.at[k].expr, f, NULL, 0); }
  }
  if (!old && !all_new) ev_fail(c, s->where, "'%s' has no shape yet: its first assignment has new indices only", s->name.text);
  if (old && s->subs.n > old->rank + 1) ev_fail(c, s->where, "'%s' has %u axes", s->name.text, old->rank);
  for (unsigned k = 0; k < x.n; k++) {
    if (x.at[k] == &c->ell) continue;
    if (x.at[k]->kind != BIND_NONE) ev_fail(c, s->where, "index '%s' is a value", x.at[k]->name);
    int64_t extent = x.limit[k] ? ev_integer(c, x.limit[k], f) : -1;
    x.at[k]->extent = x.limit[k] && extent < 0 ? 0 : extent;
  }
  for (unsigned k = 0; k < x.n; k++) if (x.at[k] != &c->ell) x.at[k]->kind = BIND_INDEX;
  int64_t count = 1, shape[EVAL_MAX_RANK];
  for (unsigned k = 0; k < x.n; k++) {
    Binding *b = x.at[k];
    if (b != &c->ell && b->extent < 0 && old) {            /* the axes of the left side, else those of the right */
      unsigned axis = 0;
      for (unsigned i = 0; i < s->subs.n; i++) {
        const Expr *sub = s->subs.at[i].expr;
        if (s->subs.at[i].ellipsis) { axis += old->rank + 1 - s->subs.n; continue; }
        if (sub->kind == EXPR_NAME && !strcmp(sub->name, b->name) && axis < old->rank && b->extent < 0) b->extent = old->shape[axis];
        axis++;
      }
    }
    if (b != &c->ell && b->extent < 0) {                   /* all bare places agree */
      b->extent = ev_range(c, b, s->value, f, b->extent);
      b->extent = ev_range(c, b, &left, f, b->extent);
    }
    if (b->extent < 0) ev_fail(c, s->where, "the range of index '%s' is not known; write '%s < n' where it is introduced", b->name, b->name);
    count *= b->extent;
  }
  unsigned rank = 0;
  if (all_new) {
    for (unsigned k = 0; k < x.n; k++) {
      if (x.at[k] == &c->ell) for (unsigned i = 0; i < c->ell_rank; i++) shape[rank++] = c->ell_shape[i];
      else shape[rank++] = x.at[k]->extent;
    }
  }
  bool whole = all_new && (!old || ev_same_shape(old, rank, shape));
  if (!whole) {
    result = ev_tensor(c, old->kind, old->rank, old->shape);
    for (int64_t i = 0; i < result->count; i++) ev_put(c, result, i, ev_get(old, i));
  }
  if (s->op != OPER_NONE && !old) ev_fail(c, s->where, "'%s' has no value yet", s->name.text);
  Statement outer_statement = c->statement;
  c->statement = (Statement){.indexed = true, .at = x.at, .n = x.n};
  c->active += x.n;
  for (int64_t p = 0; p < count; p++) {
    int64_t rest = p, at = p;
    for (unsigned k = x.n; k--; rest /= x.at[k]->extent) x.at[k]->index = rest % x.at[k]->extent;
    if (!whole) {
      unsigned axis = 0;
      at = 0;
      for (unsigned k = 0; k < s->subs.n && at >= 0; k++) {
        const Expr *sub = s->subs.at[k].expr;
        if (s->subs.at[k].ellipsis) {
          at = at * c->ell.extent + c->ell.index;
          axis += c->ell_rank;
          continue;
        }
        if (sub->kind == EXPR_CHAIN && all_new) sub = sub->a;
        int64_t i = ev_integer(c, sub, f);
        if (axis >= old->rank) ev_fail(c, s->where, "'%s' has %u axes", s->name.text, old->rank);
        at = i < 0 || i >= old->shape[axis] ? -1 : at * old->shape[axis] + i;
        axis++;
      }
      if (at < 0) continue;
      if (axis != old->rank) ev_fail(c, s->where, "'%s' has %u axes", s->name.text, old->rank);
    }
    c->statement.element = p;
    Val v = ev_eval(c, s->value, f);
    bool adds = s->op == OPER_ADD || s->op == OPER_SUB;      /* source by source; of other operations on one element the last stays */
    if (s->op != OPER_NONE) v = ev_arith(c, s->op, ev_get(adds && !whole ? result : old, at), v, s->where);
    if (!result) result = ev_tensor(c, v.kind, rank, shape);
    if (v.kind > result->kind && !target->decl) result = ev_convert_tensor(c, result, ev_join(c, v.kind, result->kind, s->where));
    ev_put(c, result, at, v);
  }
  c->statement = outer_statement;
  c->active -= x.n;
  for (unsigned k = 0; k < x.n; k++) if (x.at[k] != &c->ell) x.at[k]->kind = BIND_NONE;
  c->ell = outer_ell;
  c->has_ell = outer_has;
  if (!result) result = ev_tensor(c, old ? old->kind : c->call->f64 ? K_F64 : K_F32, rank, shape);
  return (Whole){.tensor = result};
}

/* Whether random numbers are drawn that the statement's elements count. */
static bool draws(Ctx *c, const Expr *e, Frame *f) {
  if (!e) return false;
  if (e->kind == EXPR_NAME) {
    Binding *b = ev_find(c, f, e->name);
    return b && b->kind == BIND_CLOSURE && draws(c, b->expr, b->scope);
  }
  Frame *lexical;
  const Fn *fn = e->kind == EXPR_CALL ? ev_find_fn(c, f, e->name, &lexical) : NULL;
  if (fn && fn->value && draws(c, fn->value, ev_call_frame(c, f, e, fn, lexical))) return true;
  if (e->kind == EXPR_CALL && !fn && !e->has_subs && (!strcmp(e->name, "uniform") || !strcmp(e->name, "normal"))) return true;
  for (unsigned k = 0; k < e->args.n; k++) if (draws(c, e->args.at[k], f)) return true;
  for (unsigned k = 0; k < e->n_links; k++) if (draws(c, e->links[k].operand, f)) return true;
  return draws(c, e->a, f) || draws(c, e->b, f);
}

/* The whole tensor of an index-free statement: the name's; that of the right side; the param's. */
Statement ev_statement_of(Ctx *c, const Stmt *s, Frame *f) {
  Statement to = {.stmt = s};
  Binding *b = ev_own(c, f, s->name.text), *p;
  const Tensor *t = b->kind == BIND_TENSOR ? b->tensor : NULL;
  if (!t && b->kind == BIND_NUMBER) return to;
  c->statement = to;
  to.tensor = !t && ev_shape(c, s->value, f, &to.rank, to.shape);
  if (to.tensor) return to;
  if (!t && (p = ev_param(f)) && p->kind == BIND_TENSOR) t = p->tensor;
  if (!t) return (Statement){.stmt = s};
  to.tensor = true;
  to.rank = t->rank;
  memcpy(to.shape, t->shape, sizeof to.shape);
  return to;
}

static Whole assign_whole(Ctx *c, const Stmt *s, Frame *f) {
  c->whole = NULL;
  if (s->op == OPER_NONE) return ev_whole(c, s->value, f);
  Expr *name = arena_alloc(c->scratch, sizeof *name), *e = arena_alloc(c->scratch, sizeof *e);
  *name = (Expr){.kind = EXPR_NAME, .where = s->where, .name = s->name.text, .depth = 1};
  *e = (Expr){.kind = EXPR_BINARY, .where = s->where, .op = s->op, .a = name, .b = s->value};
  return ev_whole(c, e, f);
}

static Tensor *filled(Ctx *c, const Tensor *like, Kind kind, Val v) {
  Tensor *t = ev_tensor(c, kind, like->rank, like->shape);
  for (int64_t i = 0; i < t->count; i++) ev_put(c, t, i, v);
  return t;
}

/* Some elements of a tensor that is there. */
static bool writes_some(Ctx *c, const Stmt *s, Frame *f, const Binding *b) {
  const char *name;
  const Expr *limit;
  bool some = false;
  for (unsigned i = 0; i < s->subs.n; i++) some |= !s->subs.at[i].ellipsis && (!ev_is_index_sub(c, &s->subs.at[i], f, &name, &limit) || limit);
  return some && b->kind == BIND_TENSOR;
}

static void commit(Ctx *c, const Stmt *s, Frame *f, Whole w) {
  Binding *b = ev_own(c, f, s->name.text);
  b->stamp = ++c->stamp;
  if (b->kind == BIND_CLOSURE) ev_fail(c, s->where, "'%s' is a parameter of the fn", b->name);
  if (b->is_size) ev_fail(c, s->where, "'%s' is a size", b->name);
  if (b->decl || b->outer) {
    bool number = b->kind == BIND_NUMBER;
    if (number) {
      if (w.tensor) ev_fail(c, s->where, "'%s' is one number", b->name);
      b->number = ev_to(c, w.number, b->decl ? ev_kind_of(c, b->decl, b->level) : b->number.kind);
      return;
    }
    bool stays = (w.tensor ? w.tensor->kind : w.number.kind) == K_F64 && b->tensor->kind == K_F32;        /* unrounded until it is stored */
    if (!w.tensor) { b->tensor = filled(c, b->tensor, stays ? K_F64 : b->tensor->kind, w.number); return; }
    if (!ev_same_shape(w.tensor, b->tensor->rank, b->tensor->shape))
      ev_fail(c, s->where, "'%s' is %s, its new value %s", b->name, ev_shape_text(c, b->tensor->rank, b->tensor->shape), ev_shape_text(c, w.tensor->rank, w.tensor->shape));
    c->call->loose |= c->loops && stays;      /* the first trip has had f32 here */
    b->tensor = ev_convert_tensor(c, w.tensor, stays ? K_F64 : b->tensor->kind);
    return;
  }
  Kind kind = w.tensor ? w.tensor->kind : w.number.kind;
  b->reads_data |= ev_deps(c, s->value, f)->data;
  kind = joined(c, f, b->name, !w.tensor && b->kind == BIND_TENSOR && b->tensor->kind > kind ? b->tensor->kind : kind);
  b->definition = c->joins[join_of(c, f, b->name)].assignments == 1 && s->op == OPER_NONE ? s : NULL;
  b->scope = f;
  if (f->fn) ev_depends(c, b, s, f, s->op != OPER_NONE || writes_some(c, s, f, b));
  if (!w.tensor && b->kind == BIND_TENSOR) { b->tensor = filled(c, b->tensor, kind, w.number); return; }
  b->kind = w.tensor ? BIND_TENSOR : BIND_NUMBER;
  if (w.tensor) b->tensor = ev_convert_tensor(c, w.tensor, kind);
  else b->number = ev_to(c, w.number, kind);
}

/* --- fns with statements ---------------------------------------------------------------------------------------------------------------------------- */

void ev_call_block(Ctx *c, const Expr *call, const Fn *fn, Frame **callers, Frame **frames, unsigned n) {
  struct { Arena *scratch; Memo **memo; size_t n_memo, capacity; Frame **group; unsigned n_group; Place *whole; } outer =
    {c->scratch, c->memo, c->n_memo, c->memo_capacity, c->group, c->n_group, c->whole};
  for (unsigned k = 0; k < n; k++)
    for (unsigned i = 0; i < frames[k]->n; i++)
      if (frames[k]->at[i]->kind != BIND_CLOSURE) frames[k]->at[i]->kind = BIND_NONE;
  if (c->n_scratches == 256) ev_fail(c, call->where, "fns call each other too deeply");
  c->scratches[c->n_scratches++] = c->scratch;
  c->scratch = NULL;
  c->memo = NULL;
  ev_forget(c);
  c->whole = NULL;
  c->group = callers ? frames : NULL;
  c->n_group = callers ? n : 0;
  ev_run(c, &fn->body, frames, n);
  c->group = callers ? frames : NULL;
  c->n_group = callers ? n : 0;
  for (unsigned k = 0; k < n; k++) {
    frames[k]->result = ev_whole(c, fn->returns, frames[k]);
    frames[k]->ready = callers != NULL;
  }
  arena_free(c->scratch);
  c->n_scratches--;
  c->scratch = outer.scratch;
  c->memo = outer.memo;
  c->n_memo = outer.n_memo;
  c->memo_capacity = outer.capacity;
  c->group = outer.group;
  c->n_group = outer.n_group;
  c->whole = outer.whole;
}

/* Runs the fns with statements that an index-free expression calls, for all items together; or forgets what they gave. */
static void hoist(Ctx *c, const Expr *e, Frame **frames, unsigned n, bool run) {
  if (!e || e->kind == EXPR_INDEX || (e->kind == EXPR_CALL && e->has_subs)) {
    bool all = e && e->kind == EXPR_CALL && e->subs.n == 1 && !e->subs.at[0].ellipsis && e->subs.at[0].expr->kind == EXPR_NAME && !strcmp(e->subs.at[0].expr->name, "all");
    if (!all) return;
  }
  hoist(c, e->a, frames, n, run);
  hoist(c, e->b, frames, n, run);
  for (unsigned k = 0; k < e->n_links; k++) hoist(c, e->links[k].operand, frames, n, run);
  for (unsigned k = 0; k < e->args.n; k++) hoist(c, e->args.at[k], frames, n, run);
  if (e->kind == EXPR_NAME && n) {
    Binding *b = ev_find(c, frames[0], e->name);
    if (b && b->kind == BIND_CLOSURE) return;              /* hoisted where it is passed */
  }
  Frame *lexical;
  const Fn *fn = e->kind == EXPR_CALL && n ? ev_find_fn(c, frames[0], e->name, &lexical) : NULL;
  if (!fn) return;
  Frame **inner = arena_array(c->arena, n, sizeof(Frame *));
  for (unsigned k = 0; k < n; k++) {
    ev_find_fn(c, frames[k], e->name, &lexical);
    inner[k] = ev_call_frame(c, frames[k], e, fn, lexical);
    if (!run) inner[k]->ready = false;
  }
  if (fn->value) hoist(c, fn->value, inner, n, run);
  else if (run) ev_call_block(c, e, fn, frames, inner, n);
}

/* --- control -------------------------------------------------------------------------------------------------------------------------------------------- */

static const Expr *pattern_of(const Expr *e) {
  if (e->kind == EXPR_IS) return e;
  if (e->kind != EXPR_BINARY || e->op != OPER_AND) return NULL;
  const Expr *a = pattern_of(e->a);
  return a ? a : pattern_of(e->b);
}

/* Under `if p is [R, flat C]` what has the param's shape is seen so. */
static void look_flat(Ctx *c, const Expr *cond, Frame *f, bool enter) {
  const Expr *is = pattern_of(cond);
  unsigned rank = 0;
  int64_t view[EVAL_MAX_RANK];
  bool flat = false, matches;
  for (unsigned k = 0; is && k < is->shape->n; k++) flat |= is->shape->at[k].flat != NULL;
  if (!flat) return;
  Frame *home = f;
  const Expr *subject = is->a;
  Binding *p = ev_resolve(c, &home, &subject);
  if (!p || p->kind != BIND_TENSOR) return;
  if (enter) {
    Tensor whole = *p->tensor;
    ev_pattern(c, is->shape, whole.rank, whole.shape, f, NULL, &matches, &rank, view);
    for (unsigned i = 0; i < f->n; i++) {
      Binding *b = f->at[i];
      if (b->kind != BIND_TENSOR || !(b->decl || b->outer) || !ev_same_shape(b->tensor, whole.rank, whole.shape)) continue;
      b->tensor = ev_view(c, b->tensor, rank, view);
      b->viewed = true;
    }
    return;
  }
  for (unsigned i = 0; i < f->n; i++) {
    Binding *b = f->at[i];
    if (b->kind != BIND_TENSOR || !(b->decl || b->outer) || (!b->viewed && !b->default_shape)) continue;
    if (b->tensor->count == p->entry.tensor->count) b->tensor = ev_view(c, b->tensor, p->entry.tensor->rank, p->entry.tensor->shape);
    b->viewed = false;
  }
}

static bool declares(const StmtList *l) {
  for (unsigned i = 0; i < l->n; i++)
    if (l->at[i]->kind == STMT_DECL || l->at[i]->kind == STMT_APPLY || declares(&l->at[i]->body) || declares(&l->at[i]->otherwise)) return true;
  return false;
}

static bool names_f64(Ctx *c, const Expr *e, Frame *f) {
  if (!e) return false;
  const Binding *b = e->kind == EXPR_NAME || e->kind == EXPR_INDEX ? ev_find(c, f, e->name) : NULL;
  bool found = e->kind == EXPR_CONVERT && !strcmp(e->name, "f64");
  if (b) found = (b->kind == BIND_NUMBER && b->number.kind == K_F64) || (b->kind == BIND_TENSOR && b->tensor->kind == K_F64);
  for (unsigned k = 0; k < e->args.n && !found; k++) found = names_f64(c, e->args.at[k], f);
  for (unsigned k = 0; k < e->n_links && !found; k++) found = names_f64(c, e->links[k].operand, f);
  return found || names_f64(c, e->a, f) || names_f64(c, e->b, f);
}

/* A branch that is not taken would have given a name f64 elements. */
static bool would_widen(Ctx *c, const StmtList *l, Frame *f) {
  for (unsigned i = 0; i < l->n; i++)
    if (names_f64(c, l->at[i]->value, f) || would_widen(c, &l->at[i]->body, f) || would_widen(c, &l->at[i]->otherwise, f)) return true;
  return false;
}

static bool run_if(Ctx *c, const Stmt *s, Frame **frames, unsigned n) {
  if (c->mode != MODE_RUN && !declares(&s->body) && !declares(&s->otherwise)) return true;
  Frame **yes = arena_array(c->arena, n + 1, sizeof *yes), **no = arena_array(c->arena, n + 1, sizeof *no);
  unsigned n_yes = 0, n_no = 0;
  hoist(c, s->cond, frames, n, true);
  for (unsigned k = 0; k < n; k++) {
    if (ev_condition(c, s->cond, frames[k])) yes[n_yes++] = frames[k];
    else no[n_no++] = frames[k];
  }
  hoist(c, s->cond, frames, n, false);
  c->call->loose |= (n_no && would_widen(c, &s->body, no[0])) || (n_yes && would_widen(c, &s->otherwise, yes[0]));
  for (unsigned k = 0; k < n_yes; k++) look_flat(c, s->cond, yes[k], true);
  bool go = !n_yes || ev_run(c, &s->body, yes, n_yes);
  for (unsigned k = 0; k < n_yes; k++) look_flat(c, s->cond, yes[k], false);
  return go && (!n_no || ev_run(c, &s->otherwise, no, n_no));
}

static bool run_loop(Ctx *c, const Stmt *s, Frame **frames, unsigned n) {
  int64_t *trips = arena_array(c->arena, n, sizeof *trips), most = 0;
  const char *name = NULL;
  Binding **index = arena_array(c->arena, n, sizeof *index);
  for (unsigned k = 0; k < n; k++) {
    if (s->kind == STMT_REPEAT) trips[k] = ev_integer(c, s->cond, frames[k]);
    else {
      const Expr *limit;
      if (!ev_is_index_sub(c, &s->subs.at[0], frames[k], &name, &limit)) ev_fail(c, s->where, "the index of a scan is a value, or in use");
      index[k] = ev_own(c, frames[k], name);
      trips[k] = limit ? ev_integer(c, limit, frames[k]) : -1;
      index[k]->kind = BIND_INDEX;
      if (!limit) trips[k] = ev_range_in(c, index[k], &s->body, frames[k], -1);
      if (!limit && trips[k] < 0) ev_fail(c, s->where, "the range of index '%s' is not known; write '%s < n'", name, name);
    }
    if (trips[k] > most) most = trips[k];
  }
  Frame **now = arena_array(c->arena, n + 1, sizeof *now);
  for (int64_t i = 0; i < most; i++) {
    unsigned m = 0;
    for (unsigned k = 0; k < n; k++) {
      if (i >= trips[k]) continue;
      now[m++] = frames[k];
      if (index[k]) { index[k]->kind = BIND_NUMBER; index[k]->number = ev_int(s->reverse ? trips[k] - 1 - i : i); index[k]->extent = trips[k]; }
    }
    c->loops++;
    bool go = ev_run(c, &s->body, now, m);
    c->loops--;
    if (!go) return false;
  }
  for (unsigned k = 0; k < n; k++)
    if (index[k]) index[k]->kind = BIND_NONE;
  return true;
}

static bool run_skip(Ctx *c, const Stmt *s, Frame **frames, unsigned n) {
  hoist(c, s->cond, frames, n, true);
  bool skip = n && ev_condition(c, s->cond, frames[0]);
  hoist(c, s->cond, frames, n, false);
  if (!skip) return true;
  c->skipped = true;
  for (unsigned i = 0; i < c->n_declared; i++) {
    Binding *b = c->declared[i];
    if (b->role != ROLE_PARAM && b->role != ROLE_STATE) continue;
    b->tensor = b->entry.tensor;
    b->number = b->entry.number;
  }
  ev_run(c, &s->body, frames, n);
  return false;
}

static bool run_apply(Ctx *c, const Stmt *s, Frame **frames, unsigned n) {
  const Rule *rule = evaluator_rule(c->call->files, s->name.text);
  if (!rule) ev_fail(c, s->where, "unknown rule '%s'", s->name.text);
  Frame **inner = arena_array(c->arena, n + 1, sizeof *inner);
  for (unsigned k = 0; k < n; k++) {
    inner[k] = ev_frame(c, frames[k], s);
    inner[k]->rule = rule;
    inner[k]->lexical = c->consts;
    inner[k]->has_ell = frames[k]->has_ell;
    ev_bind_hypers(c, inner[k], s);
    ev_solve_sizes(c, &rule->body, inner[k]);
  }
  bool go = ev_run(c, &rule->body, inner, n);
  for (unsigned k = 0; k < n && go; k++) ev_hand_back(c, inner[k]);
  return go;
}

static void run_assign(Ctx *c, const Stmt *s, Frame **frames, unsigned n) {
  if (c->mode != MODE_RUN) {                               /* only for what shapes and conditions of states ask for */
    for (unsigned k = 0; k < n; k++) {
      Binding *b = ev_own(c, frames[k], s->name.text);
      if (s->has_subs || s->op != OPER_NONE || b->decl || b->kind != BIND_NONE) continue;
      b->kind = BIND_LAZY;
      b->expr = s->value;
      b->scope = frames[k];
    }
    return;
  }
  Whole *w = arena_array(c->arena, n, sizeof *w);
  if (!s->has_subs) hoist(c, s->value, frames, n, true);
  for (unsigned k = 0; k < n; k++) {
    Statement outer = c->statement;
    if (!s->has_subs && draws(c, s->value, frames[k])) c->statement = ev_statement_of(c, s, frames[k]);
    w[k] = s->has_subs ? assign_indexed(c, s, frames[k]) : assign_whole(c, s, frames[k]);
    c->statement = outer;
  }
  for (unsigned k = 0; k < n; k++) commit(c, s, frames[k], w[k]);
  if (!s->has_subs) hoist(c, s->value, frames, n, false);
}

bool ev_run(Ctx *c, const StmtList *l, Frame **frames, unsigned n) {
  Frame **outer_group = c->group;
  unsigned outer_n = c->n_group;
  bool together = c->group != NULL, go = true;
  for (unsigned i = 0; i < l->n && go; i++) {
    const Stmt *s = l->at[i];
    if (together) { c->group = frames; c->n_group = n; }
    switch (s->kind) {
      case STMT_DECL: for (unsigned k = 0; k < n; k++) ev_declare(c, s, frames[k]); break;
      case STMT_REQUIRE:
        if (c->mode != MODE_RUN) break;
        for (unsigned k = 0; k < n; k++)
          if (!ev_condition(c, s->cond, frames[k])) ev_fail(c, s->where, "requirement not met");
        break;
      case STMT_ASSIGN: run_assign(c, s, frames, n); break;
      case STMT_IF: go = run_if(c, s, frames, n); break;
      case STMT_REPEAT: case STMT_SCAN: if (c->mode == MODE_RUN) go = run_loop(c, s, frames, n); break;
      case STMT_SKIP: if (c->mode == MODE_RUN) go = run_skip(c, s, frames, n); break;
      case STMT_APPLY: go = run_apply(c, s, frames, n); break;
      case STMT_ENTRY: if (c->mode == MODE_INIT) ev_run(c, &s->body, frames, n); break;
      case STMT_FN: case STMT_BACKWARD: break;
    }
    ev_forget(c);
  }
  c->group = outer_group;
  c->n_group = outer_n;
  return go;
}
