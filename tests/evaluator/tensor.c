/* tensor.c: tensors; frames of names; which indices a value depends on; values already computed in this statement. */
#include "internal.h"

Tensor *ev_tensor(Ctx *c, Kind kind, unsigned rank, const int64_t *shape) {
  Tensor *t = arena_alloc(c->arena, sizeof *t);
  t->kind = kind;
  t->rank = rank;
  t->count = 1;
  for (unsigned k = 0; k < rank; k++) t->count *= t->shape[k] = shape[k];
  size_t n = (size_t)(t->count > 0 ? t->count : 1);
  if (kind <= K_INT) t->i = arena_array(c->arena, n, sizeof *t->i);
  else t->d = arena_array(c->arena, n, sizeof *t->d);
  return t;
}

Val ev_get(const Tensor *t, int64_t at) {
  if (t->absent) return t->kind <= K_INT ? (Val){.kind = t->kind, .i = 0} : (Val){.kind = t->kind, .d = 0};
  if (t->kind <= K_INT) return (Val){.kind = t->kind, .i = t->i[at]};
  return (Val){.kind = t->kind, .d = t->d[at], .node = t->node ? t->node[at] : 0};
}

void ev_put(Ctx *c, Tensor *t, int64_t at, Val v) {
  v = ev_to(c, v, t->kind);
  if (t->kind <= K_INT) { t->i[at] = v.i; return; }
  t->d[at] = v.d;
  if (v.node && !t->node) t->node = arena_array(c->arena, (size_t)t->count, sizeof *t->node);
  if (t->node) t->node[at] = v.node;
}

Tensor *ev_convert_tensor(Ctx *c, const Tensor *from, Kind kind) {
  if (from->kind == kind) return (Tensor *)from;
  Tensor *t = ev_tensor(c, kind, from->rank, from->shape);
  for (int64_t i = 0; i < t->count; i++) ev_put(c, t, i, ev_get(from, i));
  return t;
}

Tensor *ev_view(Ctx *c, const Tensor *from, unsigned rank, const int64_t *shape) {
  Tensor *t = arena_alloc(c->arena, sizeof *t);
  *t = *from;
  t->rank = rank;
  memcpy(t->shape, shape, rank * sizeof *shape);
  return t;
}

bool ev_same_shape(const Tensor *t, unsigned rank, const int64_t *shape) { return t->rank == rank && !memcmp(t->shape, shape, rank * sizeof *shape); }

const char *ev_shape_text(Ctx *c, unsigned rank, const int64_t *shape) {
  Text text = {.arena = c->arena};
  text_add(&text, "[");
  for (unsigned k = 0; k < rank; k++) text_add(&text, "%s%ld", k ? ", " : "", (long)shape[k]);
  text_add(&text, "]");
  return text.data;
}

/* --- frames and names ---------------------------------------------------------------------------------------------------------------------- */

Frame *ev_frame(Ctx *c, Frame *parent, const void *node) {
  for (unsigned i = 0; i < parent->n_children; i++)
    if (parent->children[i]->node == node) return parent->children[i];
  Frame *f = arena_alloc(c->arena, sizeof *f);
  f->parent = parent;
  f->node = node;
  f->item = parent->item;
  parent->children = arena_grow(c->arena, parent->children, &parent->children_capacity, (size_t)parent->n_children + 1, sizeof *parent->children);
  return parent->children[parent->n_children++] = f;
}

Binding *ev_own(Ctx *c, Frame *f, const char *name) {
  for (unsigned i = 0; i < f->n; i++)
    if (!strcmp(f->at[i]->name, name)) return f->at[i];
  Binding *b = arena_alloc(c->arena, sizeof *b);
  b->name = name;
  f->at = arena_grow(c->arena, f->at, &f->capacity, (size_t)f->n + 1, sizeof *f->at);
  return f->at[f->n++] = b;
}

static size_t mix(size_t h, uint64_t v) { return (h ^ (v * UINT64_C(0x9E3779B97F4A7C15))) * UINT64_C(0xff51afd7ed558ccd) >> 7 ^ h << 23; }

static Binding *look(Frame *f, const char *name) {
  for (Frame *g = f; g; g = g->lexical)
    for (unsigned i = 0; i < g->n; i++)
      if (!strcmp(g->at[i]->name, name)) {
        if (g == f) return g->at[i];
        if (g->at[i]->kind != BIND_INDEX && g->at[i]->kind != BIND_NONE) return g->at[i];
      }
  return NULL;
}

/* The tree's names are stable pointers: (name, frame) leads to a binding that stays. */
Binding *ev_find(Ctx *c, Frame *f, const char *name) {
  if (!c->cache) {
    c->cache_size = 4096;
    c->cache = arena_array(c->arena, c->cache_size, sizeof *c->cache);
  }
  size_t at = mix(mix(0, (uint64_t)(uintptr_t)name), (uint64_t)(uintptr_t)f) & (c->cache_size - 1);
  if (c->cache[at].name != name || c->cache[at].frame != f) {
    Binding *b = look(f, name);
    if (!b) return NULL;
    c->cache[at].name = name;
    c->cache[at].frame = f;
    c->cache[at].binding = b;
  }
  Binding *b = c->cache[at].binding;
  return b->kind == BIND_NONE ? NULL : b;
}

Binding *ev_resolve(Ctx *c, Frame **f, const Expr **e) {
  while ((*e)->kind == EXPR_NAME) {
    Binding *b = ev_find(c, *f, (*e)->name);
    if (!b || b->kind != BIND_CLOSURE) return b;
    *f = b->scope;
    *e = b->expr;
  }
  return NULL;
}

static const Fn *rule_fn(const Rule *rule, const char *name) {
  for (unsigned i = 0; i < rule->body.n; i++)
    if (rule->body.at[i]->kind == STMT_FN && !strcmp(rule->body.at[i]->fn->name.text, name)) return rule->body.at[i]->fn;
  return NULL;
}

const Fn *ev_find_fn(Ctx *c, Frame *f, const char *name, Frame **lexical) {
  for (;;) {                                               /* a parameter that is the name of a function */
    Binding *b = NULL;
    for (unsigned i = 0; i < f->n && !b; i++)
      if (!strcmp(f->at[i]->name, name)) b = f->at[i];
    if (!b || b->kind != BIND_CLOSURE || b->expr->kind != EXPR_NAME) break;
    name = b->expr->name;
    f = b->scope;
  }
  for (Frame *g = f; g; g = g->lexical) {
    const Fn *fn = g->rule ? rule_fn(g->rule, name) : NULL;
    if (fn) { *lexical = g; return fn; }
  }
  *lexical = c->consts;
  for (unsigned k = 0; k < c->call->files->n; k++)
    for (unsigned i = 0; i < c->call->files->files[k]->n_fns; i++)
      if (!strcmp(c->call->files->files[k]->fns[i]->name.text, name)) return c->call->files->files[k]->fns[i];
  return NULL;
}

static void own_assigned(Ctx *c, Frame *f, const StmtList *l) {
  for (unsigned i = 0; i < l->n; i++) {
    const Stmt *s = l->at[i];
    if (s->kind == STMT_ASSIGN) ev_own(c, f, s->name.text);
    own_assigned(c, f, &s->body);
    own_assigned(c, f, &s->otherwise);
  }
}

Frame *ev_call_frame(Ctx *c, Frame *caller, const Expr *call, const Fn *fn, Frame *lexical) {
  Frame *f = ev_frame(c, caller, call);
  if (f->fn == fn) return f;
  unsigned depth = 0;
  for (Frame *g = caller; g; g = g->parent) {
    if (g->fn == fn && depth++ > 64) ev_fail(c, call->where, "fn '%s' calls itself", fn->name.text);
  }
  if (call->args.n != fn->params.n) ev_fail(c, call->where, "'%s' has %u parameters", fn->name.text, fn->params.n);
  f->fn = fn;
  f->lexical = lexical;
  for (unsigned i = 0; i < fn->params.n; i++) {
    Binding *b = ev_own(c, f, fn->params.at[i].text);
    b->kind = BIND_CLOSURE;
    b->expr = call->args.at[i];
    b->scope = caller;
  }
  own_assigned(c, f, &fn->body);
  return f;
}

/* The frame that stands to `to` as f to `from`. */
Frame *ev_translate(Ctx *c, Frame *f, Frame *from, Frame *to) {
  if (f == from) return to;
  if (!f->parent) return NULL;
  Frame *parent = ev_translate(c, f->parent, from, to);
  if (!parent) return NULL;
  Frame *g = ev_frame(c, parent, f->node);
  if (!g->n && f->fn) {
    Frame *lexical = f->lexical == c->consts ? c->consts : ev_translate(c, f->lexical, from, to);
    if (!lexical)
      for (lexical = to; lexical && lexical->rule != f->lexical->rule; lexical = lexical->parent) {}
    ev_call_frame(c, parent, f->node, f->fn, lexical);
  }
  return g;
}

/* --- which indices ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct Walk { Binding *at[64]; unsigned n; bool whole, data; } Walk;

static void add(Walk *w, Binding *b) {
  for (unsigned i = 0; i < w->n; i++)
    if (w->at[i] == b) return;
  if (w->n < 64) w->at[w->n++] = b;
}

static void walk(Ctx *c, Walk *w, const Expr *e, Frame *f);

static void walk_name(Ctx *c, Walk *w, const Expr *e, Frame *f, bool indexed) {
  Binding *b = ev_find(c, f, e->name);
  if (!b) return;
  if (b->kind == BIND_INDEX) add(w, b);
  w->data |= b->kind == BIND_TENSOR && (b->decl || b->reads_data || b->tensor->kind >= K_F32);
  if (b->kind == BIND_NUMBER || b->kind == BIND_TENSOR) for (unsigned i = 0; i < b->n_on; i++) if (b->on[i]->kind == BIND_INDEX) add(w, b->on[i]);
  if (b->kind == BIND_TENSOR && !indexed && w->whole && c->whole) add(w, &c->whole->b);
  if (b->kind != BIND_CLOSURE) return;
  if (indexed && b->expr->kind == EXPR_NAME) { walk_name(c, w, b->expr, b->scope, true); return; }
  bool whole = w->whole;
  if (indexed) w->whole = false;
  walk(c, w, b->expr, b->scope);
  w->whole = whole;
}

static void walk_subs(Ctx *c, Walk *w, const SubList *subs, Frame *f) {
  for (unsigned i = 0; i < subs->n; i++) {
    if (subs->at[i].ellipsis) { if (c->has_ell) add(w, &c->ell); }
    else walk(c, w, subs->at[i].expr, f);
  }
}

static void walk(Ctx *c, Walk *w, const Expr *e, Frame *f) {
  bool whole = w->whole;
  switch (e->kind) {
    case EXPR_NAME: walk_name(c, w, e, f, false); return;
    case EXPR_INDEX: walk_name(c, w, e, f, true); walk_subs(c, w, &e->subs, f); return;
    case EXPR_CALL: {
      Frame *lexical;
      const Fn *fn = ev_find_fn(c, f, e->name, &lexical);
      if (!strcmp(e->name, "eigvec") || !strcmp(e->name, "qr")) {
        if (w->whole && c->whole) add(w, &c->whole->b);
        w->whole = false;
        walk(c, w, e->args.at[0], f);
        w->whole = whole;
        return;
      }
      if (fn) {
        if (fn->value) walk(c, w, fn->value, ev_call_frame(c, f, e, fn, lexical));
        else {
          if (w->whole && c->whole) add(w, &c->whole->b);
          w->whole = false;
          for (unsigned i = 0; i < e->args.n; i++) walk(c, w, e->args.at[i], f);
          w->whole = whole;
        }
        return;
      }
      bool reduces = ev_is_reduction(e->name) && (e->has_subs || e->args.n == 1) && strcmp(e->name, "fma");
      if (!strcmp(e->name, "uniform") || !strcmp(e->name, "normal")) {
        if (e->has_subs) walk_subs(c, w, &e->subs, f);
        else if (c->statement.indexed) for (unsigned i = 0; i < c->statement.n; i++) add(w, c->statement.at[i]);
        else if (c->statement.tensor && c->whole) add(w, &c->whole->b);
      } else if (e->has_subs) walk_subs(c, w, &e->subs, f);
      if (reduces || !strcmp(e->name, "size") || !strcmp(e->name, "rank") || !strcmp(e->name, "present")) w->whole = false;
      for (unsigned i = 0; i < e->args.n; i++) walk(c, w, e->args.at[i], f);
      w->whole = whole;
      return;
    }
    case EXPR_CHAIN:
      walk(c, w, e->a, f);
      for (unsigned i = 0; i < e->n_links; i++) walk(c, w, e->links[i].operand, f);
      return;
    case EXPR_TRANSPOSE: if (w->whole && c->whole) add(w, &c->whole->b); w->whole = false; walk(c, w, e->a, f); w->whole = whole; return;
    case EXPR_BINARY:
      if (e->op == OPER_MATMUL && w->whole && c->whole) { add(w, &c->whole->b); w->whole = false; }
      walk(c, w, e->a, f);
      walk(c, w, e->b, f);
      w->whole = whole;
      return;
    case EXPR_UNARY: case EXPR_CONVERT: walk(c, w, e->a, f); return;
    default: return;
  }
}

void ev_depends(Ctx *c, Binding *b, const Stmt *s, Frame *f, bool keeps) {
  Walk w = {0};
  unsigned n = 0;
  for (unsigned i = 0; keeps && i < b->n_on; i++) add(&w, b->on[i]);
  walk(c, &w, s->value, f);
  for (unsigned i = 0; i < s->subs.n; i++) if (!s->subs.at[i].ellipsis) walk(c, &w, s->subs.at[i].expr, f);
  b->on = arena_array(c->arena, w.n + 1, sizeof *b->on);
  for (unsigned i = 0; i < w.n; i++) if (w.at[i]->kind == BIND_INDEX) b->on[n++] = w.at[i];
  b->n_on = n;
}

static const char deps_tag[] = "deps";

const Deps *ev_deps(Ctx *c, const Expr *e, Frame *f) {
  Memo *m = ev_memo(c, e, f, c->whole ? (const void *)c->whole : deps_tag, NULL, NULL, 0);
  if (m->deps) return m->deps;
  Walk w = {.whole = true};
  walk(c, &w, e, f);
  Deps *d = arena_alloc(c->scratch, sizeof *d);
  d->n = w.n;
  d->data = w.data;
  d->at = arena_array(c->scratch, w.n + 1, sizeof *d->at);
  memcpy(d->at, w.at, w.n * sizeof *d->at);
  return m->deps = d;
}

/* --- values of this statement -------------------------------------------------------------------------------------------------------------------- */

void ev_forget(Ctx *c) {
  if (!c->memo || c->n_memo) {
    if (c->scratch) arena_free(c->scratch);
    c->scratch = arena_new(NULL, 0);
    c->n_memo = 0;
    c->memo_capacity = 64;
    c->memo = arena_array(c->scratch, c->memo_capacity, sizeof *c->memo);
  }
}

Memo *ev_memo(Ctx *c, const Expr *e, Frame *f, const void *tag, const Deps *deps, const Binding *const *without, unsigned n_without) {
  int64_t key[64];
  unsigned n = 0;
  size_t h = mix(mix(mix(7, (uint64_t)(uintptr_t)e), (uint64_t)(uintptr_t)f), (uint64_t)(uintptr_t)tag);
  for (unsigned i = 0; deps && i < deps->n; i++) {
    bool skip = false;
    for (unsigned k = 0; k < n_without; k++) skip |= without[k] == deps->at[i];
    if (!skip) h = mix(h, (uint64_t)(key[n++] = deps->at[i]->index));
  }
  size_t at = h & (c->memo_capacity - 1);
  for (; c->memo[at]; at = (at + 1) & (c->memo_capacity - 1)) {
    Memo *m = c->memo[at];
    if (m->expr == e && m->frame == f && m->tag == tag && m->n == n && !memcmp(m->key, key, n * sizeof *key)) return m;
  }
  Memo *m = arena_alloc(c->scratch, sizeof *m);
  int64_t *copy = arena_array(c->scratch, n + 1, sizeof *copy);
  memcpy(copy, key, n * sizeof *copy);
  *m = (Memo){.expr = e, .frame = f, .tag = tag, .n = n, .key = copy};
  c->memo[at] = m;
  if (++c->n_memo * 2 > c->memo_capacity) {
    size_t old = c->memo_capacity;
    Memo **from = c->memo;
    c->memo_capacity *= 4;
    c->memo = arena_array(c->scratch, c->memo_capacity, sizeof *c->memo);
    for (size_t i = 0; i < old; i++) {
      if (!from[i]) continue;
      size_t g = mix(mix(mix(7, (uint64_t)(uintptr_t)from[i]->expr), (uint64_t)(uintptr_t)from[i]->frame), (uint64_t)(uintptr_t)from[i]->tag);
      for (unsigned k = 0; k < from[i]->n; k++) g = mix(g, (uint64_t)from[i]->key[k]);
      size_t to = g & (c->memo_capacity - 1);
      while (c->memo[to]) to = (to + 1) & (c->memo_capacity - 1);
      c->memo[to] = from[i];
    }
  }
  return m;
}
