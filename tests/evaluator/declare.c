/* declare.c: operands and states: their shapes, the sizes these name, their values at entry, and what is written back. */
#include <math.h>
#include "internal.h"

bool ev_is_number(const Decl *d, Scope level) { return d->shape ? d->shape->n == 0 : level != SCOPE_TENSOR; }

Kind ev_kind_of(Ctx *c, const Decl *d, Scope level) {
  const char *type = d->storage.type;
  if (type && !strcmp(type, "bool")) return K_BOOL;
  if (type && (!strcmp(type, "int") || !strcmp(type, "i32") || !strcmp(type, "i8") || !strcmp(type, "u8"))) return K_INT;
  if (ev_is_number(d, level)) return K_WEAK;
  if (type ? !strcmp(type, "f64") : level == SCOPE_GLOBAL) return K_F64;
  return c->call->f64 ? K_F64 : K_F32;
}

/* --- patterns ----------------------------------------------------------------------------------------------------------------------------- */

static void bind_size(Ctx *c, Frame *f, const char *name, int64_t n, bool by_pattern) {
  Binding *b = ev_own(c, f, name);
  b->kind = BIND_NUMBER;
  b->number = ev_int(n);
  b->is_size = true;
  b->by_pattern = by_pattern;
}

static bool known(Ctx *c, Frame *f, const char *name) { return ev_find(c, f, name) != NULL; }

/* N + 1 or 2*H with an unknown name: what it is for this extent. */
static bool solve(Ctx *c, const Expr *e, Frame *f, int64_t extent, const char **name, int64_t *value) {
  if (e->kind != EXPR_BINARY) return false;
  const Expr *a = e->a, *b = e->b;
  if (e->op == OPER_ADD && a->kind == EXPR_NAME && b->kind == EXPR_INT && !known(c, f, a->name)) { *name = a->name; *value = extent - b->value; return true; }
  if (e->op == OPER_MUL && a->kind == EXPR_INT && b->kind == EXPR_NAME && a->value && !known(c, f, b->name)) {
    *name = b->name;
    *value = extent / a->value;
    return extent % a->value == 0;
  }
  return false;
}

/* Holds the pattern against a shape. `matches` set: a question (`is`), else a mismatch is an error. The view has flat axes joined. */
void ev_pattern(Ctx *c, const Shape *s, unsigned rank, const int64_t *shape, Frame *f, const char *what, bool *matches, unsigned *view_rank, int64_t *view) {
  unsigned axis = 0;
  bool ok = true, open = false;
  unsigned fixed = 0;
  *view_rank = 0;
  for (unsigned k = 0; k < s->n; k++) {
    if (s->at[k].ellipsis || s->at[k].flat) open = true;
    else fixed++;
  }
  if (open ? rank < fixed : rank != fixed) ok = false;
  for (unsigned k = 0; k < s->n && ok; k++) {
    const Dim *d = &s->at[k];
    if (d->ellipsis) {
      unsigned n = rank - fixed;
      if (!what || !f->has_ell) {
        f->has_ell = true;
        f->ell_rank = n;
        memcpy(f->ell_shape, shape + axis, n * sizeof *shape);
      }
      for (unsigned i = 0; i < n; i++) view[(*view_rank)++] = shape[axis++];
      continue;
    }
    if (d->flat) {
      int64_t n = 1;
      for (; axis < rank; axis++) n *= shape[axis];
      Binding *b = ev_find(c, f, d->flat);
      if (!b || (b->is_size && b->by_pattern && matches)) bind_size(c, f, d->flat, n, matches != NULL);
      else if (b->number.i != n) ok = false;
      view[(*view_rank)++] = n;
      continue;
    }
    int64_t extent = shape[axis++], value;
    const char *name;
    view[(*view_rank)++] = extent;
    if (d->expr->kind == EXPR_NAME) {
      Binding *b = ev_find(c, f, d->expr->name);
      if (!b || (b->is_size && b->by_pattern && matches)) { bind_size(c, f, d->expr->name, extent, matches != NULL); continue; }
    } else if (solve(c, d->expr, f, extent, &name, &value)) {
      bind_size(c, f, name, value, matches != NULL);
      continue;
    }
    int64_t want = ev_integer(c, d->expr, f);
    if (want == extent) continue;
    if (!matches) ev_fail(c, d->where, "axis %u of %s is %ld, it has to be %ld", axis - 1, what, (long)extent, (long)want);
    ok = false;
  }
  if (!ok && !matches) ev_fail(c, s->where, "'%s' has the shape %s", what, ev_shape_text(c, rank, shape));
  if (matches) *matches = ok;
}

static void extents(Ctx *c, const Decl *d, Frame *f, unsigned *rank, int64_t *shape) {
  *rank = 0;
  for (unsigned k = 0; k < d->shape->n; k++) {
    const Dim *dim = &d->shape->at[k];
    if (dim->ellipsis) {
      if (!f->has_ell) ev_fail(c, dim->where, "no pattern says what '...' stands for");
      for (unsigned i = 0; i < f->ell_rank; i++) shape[(*rank)++] = f->ell_shape[i];
      continue;
    }
    int64_t n;
    if (dim->flat) {
      Binding *b = ev_find(c, f, dim->flat);
      if (!b) ev_fail(c, dim->where, "the size '%s' is not known", dim->flat);
      n = b->number.i;
    } else n = ev_integer(c, dim->expr, f);
    if (n < 0) ev_fail(c, dim->where, "an axis of '%s' is %ld", d->name, (long)n);
    shape[(*rank)++] = n;
  }
}

/* --- sets ------------------------------------------------------------------------------------------------------------------------------------- */

static EvalSet *set_of(Ctx *c, Scope level, const Frame *f) { return level == SCOPE_GLOBAL ? c->call->global : &c->call->items[f->item]; }

static Frame *root_of(Frame *f) {
  while (f->parent) f = f->parent;
  return f;
}

/* "rule/name" where the name is taken by another state of the item. */
static const char *array_name(Ctx *c, const Decl *d, const Stmt *s, Frame *f) {
  if (!f->parent || s->role != ROLE_STATE) return d->name;
  for (unsigned i = 0; i < c->n_declared; i++) {
    const Binding *b = c->declared[i];
    if (b->scope != f && b->scope->item == f->item && !strcmp(b->array, d->name) && b->decl != d) return arena_printf(c->arena, "%s/%s", f->rule->name.text, d->name);
  }
  return d->name;
}

static void declared(Ctx *c, Binding *b) {
  c->declared = arena_grow(c->arena, c->declared, &c->declared_capacity, (size_t)c->n_declared + 1, sizeof *c->declared);
  c->declared[c->n_declared++] = b;
}

static Tensor *tensor_of(Ctx *c, const EvalArray *a, Kind kind, unsigned rank, const int64_t *shape) {
  Tensor *t = ev_tensor(c, kind, rank, shape);
  for (int64_t i = 0; i < t->count; i++) {
    if (kind <= K_INT) t->i[i] = (int64_t)a->data[i];
    else t->d[i] = a->data[i];
  }
  return t;
}

static Binding *param_of(Frame *f, unsigned k) {
  for (unsigned i = 0; i < f->n; i++)
    if (f->at[i]->decl && f->at[i]->role == ROLE_PARAM && f->at[i]->kind == BIND_TENSOR && k-- == 0) return f->at[i];
  return NULL;
}

Binding *ev_param(Frame *f) {
  while (f->fn && f->parent) f = f->parent;
  return param_of(f, 0);
}

/* The k-th param of the rule for its k-th grad. */
static unsigned place_in_role(const Frame *f, const Binding *b) {
  unsigned k = 0;
  for (unsigned i = 0; i < f->n && f->at[i] != b; i++) k += f->at[i]->decl && f->at[i]->role == b->role && f->at[i]->level == b->level;
  return k;
}

static void leaves(Ctx *c, Binding *b) {
  if (!c->tape) return;
  for (unsigned i = 0; i < c->rule->body.n; i++) {
    const Stmt *s = c->rule->body.at[i];
    if (s->kind != STMT_BACKWARD) continue;
    for (unsigned k = 0; k < s->wrt.n; k++) {
      if (strcmp(s->wrt.at[k].text, b->name)) continue;
      Tape *t = c->tape;
      int64_t n = b->kind == BIND_TENSOR ? b->tensor->count : 1;
      if (!t->n) t->n = 1;
      t->at = arena_grow(c->arena, t->at, &t->capacity, (size_t)t->n + (size_t)n, sizeof *t->at);
      if (b->kind == BIND_TENSOR) b->tensor->node = arena_array(c->arena, (size_t)n, sizeof *b->tensor->node);
      for (int64_t j = 0; j < n; j++) {
        t->at[t->n] = (struct TapeNode){0};
        if (b->kind == BIND_TENSOR) b->tensor->node[j] = t->n++;
        else b->number.node = t->n++;
      }
    }
  }
}

static void finish(Ctx *c, Binding *b) {
  leaves(c, b);
  b->stamp = ++c->stamp;
  b->entry = (Whole){b->kind == BIND_TENSOR ? b->tensor : NULL, b->number};
  declared(c, b);
}

/* --- declarations --------------------------------------------------------------------------------------------------------------------------------- */

static void bind_shape(Ctx *c, Binding *b, const Decl *d, Frame *f, const EvalArray *a, unsigned *rank, int64_t *shape) {
  b->own_rank = a->rank;
  memcpy(b->own_shape, a->shape, sizeof a->shape);
  if (d->shape) { ev_pattern(c, d->shape, a->rank, a->shape, f, d->name, NULL, rank, shape); return; }
  *rank = a->rank;
  memcpy(shape, a->shape, sizeof a->shape);
  Binding *p = b->role == ROLE_PARAM ? NULL : param_of(f, b->role == ROLE_GRAD ? place_in_role(f, b) : 0);
  if (!p && b->role != ROLE_PARAM) p = param_of(f, 0);
  if (!p) return;
  if (a->count != p->tensor->count) ev_fail(c, d->where, "'%s' has the shape %s, the param %s", d->name, ev_shape_text(c, a->rank, a->shape), ev_shape_text(c, p->tensor->rank, p->tensor->shape));
  *rank = p->tensor->rank;
  memcpy(shape, p->tensor->shape, sizeof a->shape);
}

static void default_shape(Ctx *c, Binding *b, const Decl *d, Frame *f, unsigned *rank, int64_t *shape) {
  if (d->shape) { extents(c, d, f, rank, shape); return; }
  Binding *p = param_of(f, 0);
  if (!p) ev_fail(c, d->where, "'%s' needs a shape", d->name);
  *rank = p->tensor->rank;
  memcpy(shape, p->tensor->shape, sizeof p->tensor->shape);
}

static void own_shape(Ctx *c, Binding *b, Frame *f, const Tensor *t) {
  Binding *p = b->default_shape ? param_of(f, 0) : NULL;
  b->own_rank = p && p->own_rank + p->own_shape[0] ? p->own_rank : t->rank;
  memcpy(b->own_shape, p && p->own_rank + p->own_shape[0] ? p->own_shape : t->shape, sizeof b->own_shape);
}

/* --- random bits of stochastic storage ---------------------------------------------------------------------------------------------------- */

typedef struct Streams { const Decl *decl; const Frame *frame; const Decl *seen[256]; const void *seen_in[256]; unsigned n; int found; } Streams;

/* Declared in both branches of an `if`, with the param's shape: one state. */
static bool one_state(const Decl *a, const Decl *b) { return !strcmp(a->name, b->name) && !a->shape && !b->shape && !strcmp(a->storage.type, b->storage.type); }

/* Counts the declarations that draw, as they stand in the text: the main body with the rules it applies, then the entries. */
static void count_streams(Ctx *c, Streams *s, const StmtList *l, const Frame *f, const void *place, bool entries) {
  for (unsigned i = 0; i < l->n; i++) {
    const Stmt *x = l->at[i];
    if (x->kind == STMT_ENTRY) { if (entries) count_streams(c, s, &x->body, f, place, false); continue; }
    if (entries) continue;
    for (unsigned k = 0; x->kind == STMT_DECL && k < x->decls.n; k++) {
      const Decl *d = &x->decls.at[k];
      unsigned same = 0;
      if (!d->storage.stochastic || d->storage.bits_from) continue;
      while (same < s->n && (s->seen_in[same] != place || !one_state(s->seen[same], d))) same++;
      if (same == s->n && s->n < 256) { s->seen_in[s->n] = place; s->seen[s->n++] = d; }
      if (d == s->decl && f == s->frame) s->found = (int)same;
    }
    if (x->kind == STMT_APPLY) {
      const Rule *rule = evaluator_rule(c->call->files, x->name.text);
      const Frame *inner = NULL;
      for (unsigned k = 0; f && k < f->n_children; k++) if (f->children[k]->node == x) inner = f->children[k];
      if (rule) count_streams(c, s, &rule->body, inner, x, false);
    }
    count_streams(c, s, &x->body, f, place, false);
    count_streams(c, s, &x->otherwise, f, place, false);
  }
}

static int stream_of(Ctx *c, const Binding *b) {
  Streams s = {.decl = b->decl, .frame = b->scope};
  const Frame *root = root_of(b->scope);
  count_streams(c, &s, &c->rule->body, root, root, false);
  count_streams(c, &s, &c->rule->body, root, root, true);
  return 65535 - s.found;
}

static uint32_t stochastic_bits(Ctx *c, Binding *b, int64_t element) {
  const Storage *storage = &b->decl->storage;
  if (!storage->stochastic) return 0;
  Binding *given_bits = storage->bits_from ? ev_find(c, b->scope, storage->bits_from) : NULL;
  if (given_bits) return given_bits->kind == BIND_TENSOR ? (uint32_t)ev_double(ev_get(given_bits->tensor, element)) & 0xffff : 0;
  uint32_t counter[4] = {(uint32_t)element, (uint32_t)((uint64_t)element >> 32 & 0xffff), (uint32_t)(c->call->first_item + b->scope->item), (uint32_t)c->call->t}, out[4];
  counter[1] |= (uint32_t)stream_of(c, b) << 16;
  ev_philox(counter, (uint32_t[2]){(uint32_t)c->call->seed, (uint32_t)(c->call->seed >> 32)}, out);
  return out[0] & 0xffff;
}

/* What a state is before the first step: seen with the values at entry of everything else. */
static void initial(Ctx *c, Binding *b, const Decl *d, Frame *f) {
  unsigned rank = 0;
  int64_t shape[EVAL_MAX_RANK] = {0};
  EvalSet *set = set_of(c, b->level, f);
  if (!set) ev_fail(c, d->where, "'%s' needs a set for the call", d->name);
  Whole w = {.number = ev_int(0)};
  bool number = ev_is_number(d, b->level);
  if (!number) default_shape(c, b, d, f, &rank, shape);
  if (d->value) {
    Statement outer = c->statement;
    c->whole = NULL;
    c->statement = (Statement){.tensor = !number, .rank = rank};
    memcpy(c->statement.shape, shape, sizeof shape);
    w = ev_whole(c, d->value, f);
    c->statement = outer;
  }
  Kind kind = ev_kind_of(c, d, b->level);
  if (number) {
    if (w.tensor) ev_fail(c, d->where, "'%s' is one number", d->name);
    double v = ev_double(kind == K_BOOL ? w.number : ev_to(c, w.number, kind));
    evaluator_set_number(c->call->arena, set, b->array, ev_store(c, &(Storage){.type = d->storage.type ? d->storage.type : "f64"}, v, 0));
    b->kind = BIND_NUMBER;
    b->number = kind <= K_INT ? (Val){.kind = kind, .i = (int64_t)v} : ev_number(c, kind, v);
    return;
  }
  Tensor *t = ev_tensor(c, kind, rank, shape);
  if (w.tensor && w.tensor->count != t->count) ev_fail(c, d->where, "'%s' is %s, its value %s", d->name, ev_shape_text(c, rank, shape), ev_shape_text(c, w.tensor->rank, w.tensor->shape));
  double *data = arena_array(c->arena, (size_t)t->count + 1, sizeof *data);
  for (int64_t i = 0; i < t->count; i++) {
    ev_put(c, t, i, w.tensor ? ev_get(w.tensor, i) : w.number);
    if (!ev_is_codes(&d->storage)) data[i] = ev_store(c, &d->storage, ev_double(ev_get(t, i)), stochastic_bits(c, b, i));
  }
  b->kind = BIND_TENSOR;
  b->tensor = t;
  if (ev_is_codes(&d->storage)) { ev_encode(c, &d->storage, ev_block_of(c, &d->storage, f), t, set, b->array); return; }
  own_shape(c, b, f, t);
  evaluator_set(c->call->arena, set, b->array, b->own_rank, b->own_shape, data);
}

static const Bind *given(const Stmt *apply, const char *name) {
  for (unsigned i = 0; i < apply->binds.n; i++)
    if (!strcmp(apply->binds.at[i].name.text, name)) return &apply->binds.at[i];
  return NULL;
}

/* An operand of a rule that is applied: bound by name or by role. True if it is one of ours. */
static bool from_outside(Ctx *c, Binding *b, const Decl *d, Frame *f) {
  if (b->role == ROLE_STATE || b->role == ROLE_OUT || b->role == ROLE_INOUT) return false;
  const Bind *by_name = given(f->node, d->name);
  Frame *outer = f->parent;
  if (by_name) {
    Frame *g = outer;
    const Expr *e = by_name->value;
    b->outer = b->role == ROLE_PARAM ? ev_resolve(c, &g, &e) : NULL;
    Whole w = ev_whole(c, by_name->value, outer);
    b->kind = w.tensor ? BIND_TENSOR : BIND_NUMBER;
    b->tensor = w.tensor;
    b->number = w.number;
  } else {
    unsigned k = place_in_role(f, b);
    Binding *same = NULL;
    for (unsigned i = 0; i < outer->n && !same; i++)
      if (outer->at[i]->decl && outer->at[i]->role == b->role && outer->at[i]->level == b->level && (b->role != ROLE_IN || !strcmp(outer->at[i]->name, b->name)) && (b->role == ROLE_IN || k-- == 0)) same = outer->at[i];
    if (!same) return false;
    if (b->role == ROLE_PARAM) b->outer = same;
    b->kind = same->kind;
    b->tensor = same->tensor;
    b->number = same->number;
  }
  if (b->kind == BIND_TENSOR && d->shape && d->shape->n) {
    unsigned rank;
    int64_t view[EVAL_MAX_RANK];
    ev_pattern(c, d->shape, b->tensor->rank, b->tensor->shape, f, d->name, NULL, &rank, view);
    b->tensor = ev_view(c, b->tensor, rank, view);
  }
  b->stored = true;
  b->stamp = ++c->stamp;
  b->own_rank = b->kind == BIND_TENSOR ? b->tensor->rank : 0;
  if (b->kind == BIND_TENSOR) memcpy(b->own_shape, b->tensor->shape, sizeof b->own_shape);
  if (b->outer) { b->own_rank = b->outer->own_rank; memcpy(b->own_shape, b->outer->own_shape, sizeof b->own_shape); }
  b->entry = b->outer ? b->outer->entry : (Whole){b->tensor, b->number};
  return true;
}

void ev_hand_back(Ctx *c, Frame *f) {
  for (unsigned i = 0; i < f->n; i++) {
    Binding *b = f->at[i];
    if (!b->outer || b->kind != BIND_TENSOR) continue;
    b->outer->tensor = ev_view(c, b->tensor, b->outer->tensor->rank, b->outer->tensor->shape);
    b->outer->stamp = ++c->stamp;
  }
}

static void declare(Ctx *c, const Stmt *s, const Decl *d, Frame *f) {
  Binding *b = ev_own(c, f, d->name);
  b->decl = d;
  b->role = s->role;
  b->level = s->scope;
  b->scope = f;
  b->stored = false;
  b->outer = NULL;
  b->kind = BIND_NONE;
  b->default_shape = !d->shape && s->scope == SCOPE_TENSOR;
  if (f->parent && !f->own && from_outside(c, b, d, f)) return;
  b->array = array_name(c, d, s, f);
  EvalSet *set = set_of(c, b->level, f);
  const EvalArray *a = set ? evaluator_find(set, b->array) : NULL;
  Kind kind = ev_kind_of(c, d, b->level);
  bool number = ev_is_number(d, b->level), reads = s->role != ROLE_OUT;
  bool named_entry = c->mode == MODE_DECLARE;
  if (named_entry && (s->role == ROLE_OUT || (s->role == ROLE_GRAD && !a))) return;
  if (c->mode == MODE_INIT && s->role == ROLE_STATE) { initial(c, b, d, f); finish(c, b); return; }
  if (c->mode == MODE_INIT && (s->role == ROLE_OUT || (!a && !d->value))) return;
  b->stored = a != NULL;
  if (number) {
    double v = a && reads ? a->data[0] : 0;
    b->kind = BIND_NUMBER;
    if (!a && reads && d->value && s->role != ROLE_STATE) v = ev_double(ev_eval(c, d->value, f));
    else if (!a && reads && !d->optional && s->role != ROLE_STATE) ev_fail(c, d->where, "'%s' is not given", d->name);
    if (d->storage.type || d->shape) v = ev_store(c, &(Storage){.type = d->storage.type ? d->storage.type : "f32"}, v, 0);
    b->number = kind <= K_INT ? (Val){.kind = kind, .i = (int64_t)v} : ev_number(c, kind, v);
    finish(c, b);
    return;
  }
  unsigned rank = 0;
  int64_t shape[EVAL_MAX_RANK] = {0};
  if (a && ev_is_codes(&d->storage)) {
    default_shape(c, b, d, f, &rank, shape);
    b->tensor = ev_tensor(c, kind, rank, shape);
    ev_decode(c, &d->storage, ev_block_of(c, &d->storage, f), a, evaluator_find(set, arena_printf(c->arena, "%s_max", b->array)), b->tensor);
  } else if (a && reads) {
    bind_shape(c, b, d, f, a, &rank, shape);
    b->tensor = tensor_of(c, a, kind, rank, shape);
  } else {
    if (named_entry && !a && s->role != ROLE_STATE) return;
    if (reads && !d->optional && s->role != ROLE_STATE && !d->value) ev_fail(c, d->where, "'%s' is not given", d->name);
    default_shape(c, b, d, f, &rank, shape);
    b->tensor = ev_tensor(c, kind, rank, shape);
    own_shape(c, b, f, b->tensor);
    if (reads && d->value && s->role != ROLE_STATE) {
      Whole w = ev_whole(c, d->value, f);
      for (int64_t i = 0; i < b->tensor->count; i++) ev_put(c, b->tensor, i, w.tensor ? ev_get(w.tensor, i) : w.number);
    } else if (reads) b->tensor->absent = s->role != ROLE_STATE;
  }
  b->kind = BIND_TENSOR;
  finish(c, b);
}

void ev_declare(Ctx *c, const Stmt *s, Frame *f) {
  for (unsigned i = 0; i < s->decls.n; i++) declare(c, s, &s->decls.at[i], f);
}

/* --- sizes and hyper-parameters ------------------------------------------------------------------------------------------------------------------------ */

static bool is_assigned(const StmtList *l, const char *name) {
  for (unsigned i = 0; i < l->n; i++)
    if ((l->at[i]->kind == STMT_ASSIGN && !strcmp(l->at[i]->name.text, name)) || is_assigned(&l->at[i]->body, name) || is_assigned(&l->at[i]->otherwise, name)) return true;
  return false;
}

/* Bare names first, in order; then those of `S + 1` and `2*H` that no bare axis gives. */
void ev_solve_sizes(Ctx *c, const StmtList *l, Frame *f) {
  for (int pass = 0; pass < 2; pass++)
    for (unsigned i = 0; i < l->n; i++) {
      const Stmt *s = l->at[i];
      if (s->kind != STMT_DECL || s->role == ROLE_OUT) continue;
      for (unsigned j = 0; j < s->decls.n; j++) {
        const Decl *d = &s->decls.at[j];
        EvalSet *set = set_of(c, s->scope, f);
        const EvalArray *a = set && d->shape && d->shape->n && !f->parent ? evaluator_find(set, d->name) : NULL;
        if (!a) continue;
        unsigned from_end = 0;
        for (unsigned k = 0; k < d->shape->n; k++) {
          const Dim *dim = &d->shape->at[k];
          if (dim->ellipsis || dim->flat) { from_end = d->shape->n; continue; }
          if (a->rank + from_end < d->shape->n) break;
          int64_t extent = from_end ? a->shape[a->rank - (d->shape->n - k)] : k < a->rank ? a->shape[k] : -1, value;
          const char *name;
          if (extent < 0) break;
          if (pass == 0 && dim->expr->kind == EXPR_NAME && !known(c, f, dim->expr->name) && !is_assigned(l, dim->expr->name)) bind_size(c, f, dim->expr->name, extent, false);
          if (pass == 1 && solve(c, dim->expr, f, extent, &name, &value) && !is_assigned(l, name)) {
            if (value < 0) ev_fail(c, dim->where, "the size '%s' would be %ld", name, (long)value);
            bind_size(c, f, name, value, false);
          }
        }
      }
    }
}

void ev_bind_hypers(Ctx *c, Frame *f, const Stmt *apply) {
  for (unsigned i = 0; i < f->rule->hypers.n; i++) {
    const HyperDecl *h = &f->rule->hypers.at[i];
    Binding *b = ev_own(c, f, h->name.text);
    const char *type = h->storage.type ? h->storage.type : "f64";
    const Bind *bind = apply ? given(apply, h->name.text) : NULL;
    *b = (Binding){.name = h->name.text, .kind = BIND_LAZY, .expr = bind ? bind->value : h->value, .scope = bind ? f->parent : f, .type = type};
    for (unsigned k = 0; !apply && k < c->call->n_hyper; k++) {
      if (strcmp(c->call->hyper[k].name, h->name.text)) continue;
      double v = c->call->hyper[k].value;
      b->kind = BIND_NUMBER;
      b->number = !strcmp(type, "int") ? ev_int((int64_t)v) : !strcmp(type, "bool") ? ev_bool(v != 0) : ev_weak(v);
      leaves(c, b);
    }
    b->entry.number = b->number;
    if (!apply || !bind) continue;
    ev_eval(c, &(Expr){.kind = EXPR_NAME, .where = h->name.where, .name = h->name.text}, f);       /* what it is here and now */
  }
  const Bind *t = apply ? given(apply, "t") : NULL;
  if (t) {
    Binding *b = ev_own(c, f, "t");
    b->kind = BIND_NUMBER;
    b->number = ev_int(c->mode == MODE_RUN ? ev_integer(c, t->value, f->parent) : 0);
  } else if (apply) {
    Binding *outer = ev_find(c, f->parent, "t");
    if (outer && outer->kind == BIND_NUMBER) { Binding *b = ev_own(c, f, "t"); b->kind = BIND_NUMBER; b->number = outer->number; }
  }
}

/* --- the end of an entry ---------------------------------------------------------------------------------------------------------------------------------- */

void ev_write_back(Ctx *c) {
  for (unsigned k = 0; k < c->n_declared; k++) {
    Binding *b = c->declared[k];
    bool writes = b->role == ROLE_PARAM || b->role == ROLE_STATE || b->role == ROLE_OUT || b->role == ROLE_INOUT;
    if (!writes || (b->role != ROLE_OUT && !b->stored)) continue;
    if (c->skipped && b->role != ROLE_OUT && !(b->role == ROLE_STATE && b->level == SCOPE_GLOBAL)) continue;
    if (b->level == SCOPE_GLOBAL && b->scope->item != c->roots[0]->item) continue;
    EvalSet *set = set_of(c, b->level, root_of(b->scope));
    if (!set) ev_fail(c, b->decl->where, "'%s' needs a set for the call", b->name);
    Storage storage = b->decl->storage;
    if (b->kind == BIND_NUMBER) {
      if (!storage.type) storage.type = b->decl->shape ? "f32" : "f64";
      if (c->call->f64 && !strcmp(storage.type, "f32")) storage.type = "f64";
      evaluator_set_number(c->call->arena, set, b->array, ev_store(c, &storage, ev_double(b->number), 0));
      continue;
    }
    if (ev_is_codes(&storage) && b->entry.tensor && b->tensor->d == b->entry.tensor->d) continue;    /* not assigned: its codes stay, which others could stand for too */
    if (ev_is_codes(&storage)) { ev_encode(c, &storage, ev_block_of(c, &storage, b->scope), b->tensor, set, b->array); continue; }
    double *data = arena_array(c->arena, (size_t)b->tensor->count + 1, sizeof *data);
    for (int64_t i = 0; i < b->tensor->count; i++) {
      data[i] = ev_store(c, &storage, ev_double(ev_get(b->tensor, i)), stochastic_bits(c, b, i));
    }
    if (b->role == ROLE_OUT) { b->own_rank = b->tensor->rank; memcpy(b->own_shape, b->tensor->shape, sizeof b->own_shape); }
    evaluator_set(c->call->arena, set, b->array, b->own_rank, b->own_shape, data);
  }
}
