/* entry.c: the door: one entry of a rule for a list of items. */
#include <stdarg.h>
#include <stdio.h>
#include "internal.h"

_Noreturn void ev_fail(Ctx *c, Range where, const char *format, ...) {
  va_list args;
  char text[384];
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  unsigned line = 0, column = 0;
  if (where.source) diag_place(where, &line, &column);
  if (where.source) snprintf(c->call->message, sizeof c->call->message, "%.80s:%u:%u: %s", where.source->name ? where.source->name : "", line, column, text);
  else snprintf(c->call->message, sizeof c->call->message, "%s", text);
  longjmp(c->fail, 1);
}

EvalArray *evaluator_find(const EvalSet *s, const char *name) {
  for (unsigned i = 0; i < s->n; i++)
    if (!strcmp(s->at[i].name, name)) return &s->at[i];
  return NULL;
}

EvalArray *evaluator_set(Arena *arena, EvalSet *s, const char *name, unsigned rank, const int64_t *shape, const double *data) {
  EvalArray *a = evaluator_find(s, name);
  if (!a) {
    s->at = arena_grow(arena, s->at, &s->capacity, (size_t)s->n + 1, sizeof *s->at);
    a = &s->at[s->n++];
    a->name = arena_strndup(arena, name, strlen(name));
    a->count = -1;
  }
  int64_t count = 1;
  for (unsigned k = 0; k < rank; k++) count *= shape[k];
  if (count != a->count) a->data = arena_array(arena, (size_t)count + 1, sizeof *a->data);
  a->rank = rank;
  a->count = count;
  memset(a->shape, 0, sizeof a->shape);
  if (rank) memcpy(a->shape, shape, rank * sizeof *shape);
  if (data) memcpy(a->data, data, (size_t)count * sizeof *data);
  else memset(a->data, 0, (size_t)count * sizeof *a->data);
  return a;
}

EvalArray *evaluator_set_number(Arena *arena, EvalSet *s, const char *name, double value) { return evaluator_set(arena, s, name, 0, NULL, &value); }

const Rule *evaluator_rule(const FileSet *files, const char *name) {
  const File *first = files->files[0];
  if (!name) return first->n_rules ? first->rules[first->n_rules - 1] : NULL;
  for (unsigned k = 0; k < files->n; k++)
    for (unsigned i = 0; i < files->files[k]->n_rules; i++)
      if (!strcmp(files->files[k]->rules[i]->name.text, name)) return files->files[k]->rules[i];
  return NULL;
}

static bool has_step(const StmtList *l) {
  for (unsigned i = 0; i < l->n; i++)
    if ((l->at[i]->kind == STMT_DECL && (l->at[i]->role == ROLE_PARAM || l->at[i]->role == ROLE_STATE)) || has_step(&l->at[i]->body) || has_step(&l->at[i]->otherwise)) return true;
  return false;
}

static void constants(Ctx *c) {
  c->consts = arena_alloc(c->arena, sizeof *c->consts);
  for (unsigned k = 0; k < c->call->files->n; k++)
    for (unsigned i = 0; i < c->call->files->files[k]->n_consts; i++) {
      const Const *d = c->call->files->files[k]->consts[i];
      const char *type = d->storage.type ? d->storage.type : "f64";
      Binding *b = ev_own(c, c->consts, d->name.text);
      if (!d->is_table) {
        *b = (Binding){.name = d->name.text, .kind = BIND_LAZY, .expr = d->value, .scope = c->consts, .type = d->storage.type};
        continue;
      }
      int64_t n = d->values.n, shape[EVAL_MAX_RANK] = {n};
      unsigned rank = d->shape && d->shape->n <= EVAL_MAX_RANK ? d->shape->n : 1;
      for (unsigned j = 0; d->shape && j < rank; j++) shape[j] = d->shape->at[j].expr ? d->shape->at[j].expr->value : n;
      b->kind = BIND_TENSOR;
      b->tensor = ev_tensor(c, !strcmp(type, "int") || !strcmp(type, "i32") ? K_INT : !strcmp(type, "bool") ? K_BOOL : !strcmp(type, "f32") && !c->call->f64 ? K_F32 : K_WEAK, rank, shape);
      for (int64_t j = 0; j < n; j++) ev_put(c, b->tensor, j, ev_eval(c, d->values.at[j], c->consts));
    }
}

static void open_frames(Ctx *c) {
  c->n_declared = 0;
  c->cache = NULL;
  c->skipped = c->again = false;
  c->statement = (Statement){0};
  c->whole = NULL;
  c->has_ell = false;
  c->active = c->loops = 0;
  if (c->tape) c->tape->n = 0;
  constants(c);
  c->n_roots = c->call->n_items;
  c->roots = arena_array(c->arena, c->n_roots + 1, sizeof *c->roots);
  for (unsigned k = 0; k < c->n_roots; k++) {
    Frame *f = c->roots[k] = arena_alloc(c->arena, sizeof *f);
    f->item = k;
    f->rule = c->rule;
    f->lexical = c->consts;
    ev_bind_hypers(c, f, NULL);
  }
  c->group = c->roots;
  c->n_group = c->n_roots;
}

static const Stmt *find_entry(const Rule *r, const char *name) {
  for (unsigned i = 0; i < r->body.n; i++)
    if (r->body.at[i]->kind == STMT_ENTRY && !strcmp(r->body.at[i]->name.text, name)) return r->body.at[i];
  return NULL;
}

/* An entry of a rule that the main body applies; *apply: where. */
static const Stmt *applied_entry(Ctx *c, const char *name, const Stmt **apply) {
  for (unsigned i = 0; i < c->rule->body.n; i++) {
    const Stmt *s = c->rule->body.at[i];
    const Rule *r = s->kind == STMT_APPLY ? evaluator_rule(c->call->files, s->name.text) : NULL;
    const Stmt *entry = r ? find_entry(r, name) : NULL;
    if (entry) { *apply = s; return entry; }
  }
  return NULL;
}

static void try_default(Ctx *c, Frame *f, Binding *b, const Expr *const volatile e) {
  jmp_buf outer;
  memcpy(&outer, &c->fail, sizeof outer);
  if (!setjmp(c->fail)) ev_eval(c, &(Expr){.kind = EXPR_NAME, .where = e->where, .name = b->name}, f);
  else { b->expr = b->kind == BIND_LAZY ? e : NULL; c->whole = NULL; }
  memcpy(&c->fail, &outer, sizeof outer);
}

/* Defaults are what they are at entry; one that needs what the rule has not got yet waits until it is asked for. */
static void settle_hypers(Ctx *c) {
  for (unsigned k = 0; k < c->n_roots; k++)
    for (unsigned i = 0; i < c->rule->hypers.n; i++) {
      Binding *b = ev_own(c, c->roots[k], c->rule->hypers.at[i].name.text);
      if (b->kind == BIND_LAZY && b->expr) try_default(c, c->roots[k], b, b->expr);
    }
  c->call->message[0] = 0;
  ev_forget(c);
}

static void run_entry(Ctx *c, const Stmt *entry, const Stmt *apply) {
  for (;;) {                                               /* until the types of all names are known */
    open_frames(c);
    for (unsigned k = 0; k < c->n_roots; k++) {
      ev_solve_sizes(c, &c->rule->body, c->roots[k]);
      if (entry) ev_solve_sizes(c, &entry->body, c->roots[k]);
    }
    settle_hypers(c);
    if (entry) {
      c->mode = MODE_DECLARE;
      ev_run(c, &c->rule->body, c->roots, c->n_roots);
      c->mode = MODE_RUN;
    }
    Frame **frames = apply ? arena_array(c->arena, c->n_roots + 1, sizeof *frames) : c->roots;
    for (unsigned k = 0; k < c->n_roots && apply; k++) {
      frames[k] = ev_frame(c, c->roots[k], apply);
      frames[k]->own = true;
    }
    ev_run(c, entry ? &entry->body : &c->rule->body, frames, c->n_roots);
    for (unsigned k = 0; k < c->n_roots && apply; k++) ev_hand_back(c, frames[k]);
    if (!c->again) return;
  }
}

static const Stmt *wrt(const Rule *r) {
  for (unsigned i = 0; i < r->body.n; i++)
    if (r->body.at[i]->kind == STMT_BACKWARD) return r->body.at[i];
  return NULL;
}

/* What the outputs' gradients d<out> make of the tape becomes d<in>. */
static void gradients(Ctx *c) {
  Tape *t = c->tape;
  double *adjoint = arena_array(c->arena, (size_t)t->n + 1, sizeof *adjoint);
  for (unsigned k = 0; k < c->n_declared; k++) {
    Binding *b = c->declared[k];
    if (b->role != ROLE_OUT) continue;
    const EvalArray *d = evaluator_find(&c->call->items[b->scope->item], arena_printf(c->arena, "d%s", b->name));
    if (d && b->kind == BIND_NUMBER) adjoint[b->number.node] += d->data[0];
    if (!d || b->kind != BIND_TENSOR || !b->tensor->node) continue;
    if (d->count != b->tensor->count) ev_fail(c, b->decl->where, "d%s has %ld elements", b->name, (long)d->count);
    for (int64_t i = 0; i < d->count; i++) adjoint[b->tensor->node[i]] += d->data[i];
  }
  for (uint32_t i = t->n; i-- > 1;) {
    if (adjoint[i] == 0) continue;                         /* a zero adjoint stays zero, whatever the derivative */
    struct TapeNode *n = &t->at[i];
    if (n->a && n->da != 0) adjoint[n->a] += adjoint[i] * n->da;
    if (n->b && n->db != 0) adjoint[n->b] += adjoint[i] * n->db;
  }
  const Stmt *s = wrt(c->rule);
  for (unsigned k = 0; k < s->wrt.n; k++) {
    Binding *b = ev_own(c, c->roots[0], s->wrt.at[k].text);
    const char *name = arena_printf(c->arena, "d%s", b->name);
    if (!b->entry.tensor) {
      evaluator_set_number(c->call->arena, &c->call->items[0], name, adjoint[b->entry.number.node]);
      continue;
    }
    EvalArray *d = evaluator_set(c->call->arena, &c->call->items[0], name, b->own_rank, b->own_shape, NULL);
    for (int64_t i = 0; i < d->count; i++) d->data[i] = b->entry.tensor->node ? adjoint[b->entry.tensor->node[i]] : 0;
  }
}

static bool call(EvalCall *call_, Mode mode) {
  Ctx ctx = {.call = call_, .mode = mode}, *c = &ctx;
  bool f64 = call_->f64;
  volatile bool ok = true;
  call_->message[0] = 0;
  call_->loose = false;
  c->rule = evaluator_rule(call_->files, call_->rule);
  if (!c->rule) { snprintf(call_->message, sizeof call_->message, "no such rule"); return false; }
  c->arena = arena_new(NULL, 0);
  c->has_t = has_step(&c->rule->body);
  ev_forget(c);
  if (setjmp(c->fail)) ok = false;
  else {
    const Stmt *entry = call_->entry ? find_entry(c->rule, call_->entry) : NULL, *apply = NULL;
    if (call_->entry && !entry) entry = applied_entry(c, call_->entry, &apply);
    bool main_body = !call_->entry || !strcmp(call_->entry, "step") || !strcmp(call_->entry, "forward");
    if (mode == MODE_INIT) {
      open_frames(c);
      for (unsigned k = 0; k < c->n_roots; k++) ev_solve_sizes(c, &c->rule->body, c->roots[k]);
      settle_hypers(c);
      ev_run(c, &c->rule->body, c->roots, c->n_roots);
    } else if (entry || main_body) {
      run_entry(c, entry, apply);
      ev_write_back(c);
    } else if (!strcmp(call_->entry, "backward") && wrt(c->rule)) {
      Tape tape = {0};
      c->tape = &tape;
      call_->f64 = true;
      run_entry(c, NULL, NULL);
      gradients(c);
    } else ev_fail(c, (Range){0}, "the rule has no entry '%s'", call_->entry);
    call_->skipped = c->skipped;
  }
  call_->f64 = f64;
  arena_free(c->scratch);
  while (c->n_scratches) arena_free(c->scratches[--c->n_scratches]);
  arena_free(c->arena);
  return ok;
}

bool evaluator_init(EvalCall *c) { return call(c, MODE_INIT); }
bool evaluator_run(EvalCall *c) { return call(c, MODE_RUN); }
