/* range.c: how far an index runs; what shape an index-free expression has. */
#include "internal.h"

static bool refers(Ctx *c, const Binding *index, const Expr *e, Frame *f) {
  return e->kind == EXPR_NAME && ev_resolve(c, &f, &e) == index;
}

static int64_t agree(Ctx *c, const Binding *index, int64_t found, int64_t extent, Range where) {
  if (found >= 0 && found != extent) ev_fail(c, where, "index '%s' runs over %ld and %ld", index->name, (long)found, (long)extent);
  return extent;
}

Tensor *ev_tensor_of(Ctx *c, const Expr *e, Frame *f) {
  Binding *b = ev_resolve(c, &f, &e);
  if (b) return b->kind == BIND_TENSOR ? b->tensor : NULL;
  if (e->kind == EXPR_NAME) return NULL;
  Place *outer = c->whole;
  c->whole = NULL;
  Tensor *t = ev_whole(c, e, f).tensor;
  c->whole = outer;
  return t;
}

/* The tensor that x in x[i] is, if it is known yet; made-up expression: only the name counts. */
static Tensor *indexed(Ctx *c, const Expr *e, Frame *f) {
  Binding *b = ev_find(c, f, e->name);
  if (!b) return NULL;
  if (b->kind == BIND_CLOSURE) return ev_tensor_of(c, b->expr, b->scope);
  return b->kind == BIND_TENSOR ? b->tensor : NULL;
}

static int64_t range_of_subs(Ctx *c, Binding *index, const SubList *subs, const Tensor *t, Frame *f, int64_t found) {
  unsigned axis = 0;
  for (unsigned k = 0; k < subs->n; k++) {
    const Sub *s = &subs->at[k];
    if (s->ellipsis) { axis += t && t->rank + 1 > subs->n ? t->rank + 1 - subs->n : 0; continue; }
    if (t && axis < t->rank && refers(c, index, s->expr, f)) found = agree(c, index, found, t->shape[axis], s->where);
    else found = ev_range(c, index, s->expr, f, found);
    axis++;
  }
  return found;
}

int64_t ev_range(Ctx *c, Binding *index, const Expr *e, Frame *f, int64_t found) {
  switch (e->kind) {
    case EXPR_NAME: {
      Binding *b = ev_find(c, f, e->name);
      return b && b->kind == BIND_CLOSURE ? ev_range(c, index, b->expr, b->scope, found) : found;
    }
    case EXPR_INDEX: {
      Binding *b = ev_find(c, f, e->name);
      if (b && b->kind == BIND_CLOSURE && b->expr->kind != EXPR_NAME) found = ev_range(c, index, b->expr, b->scope, found);
      return range_of_subs(c, index, &e->subs, indexed(c, e, f), f, found);
    }
    case EXPR_CALL: {
      Frame *lexical;
      const Fn *fn = ev_find_fn(c, f, e->name, &lexical);
      if (fn && fn->value) return ev_range(c, index, fn->value, ev_call_frame(c, f, e, fn, lexical), found);
      for (unsigned i = 0; i < e->args.n; i++) found = ev_range(c, index, e->args.at[i], f, found);
      return found;
    }
    case EXPR_CHAIN:
      found = ev_range(c, index, e->a, f, found);
      for (unsigned i = 0; i < e->n_links; i++) found = ev_range(c, index, e->links[i].operand, f, found);
      return found;
    case EXPR_BINARY: return ev_range(c, index, e->b, f, ev_range(c, index, e->a, f, found));
    case EXPR_UNARY: case EXPR_CONVERT: case EXPR_TRANSPOSE: return ev_range(c, index, e->a, f, found);
    default: return found;
  }
}

int64_t ev_range_in(Ctx *c, Binding *index, const StmtList *l, Frame *f, int64_t found) {
  for (unsigned i = 0; i < l->n; i++) {
    const Stmt *s = l->at[i];
    if (s->kind == STMT_ASSIGN) {
      Binding *b = ev_find(c, f, s->name.text);
      if (s->has_subs) found = range_of_subs(c, index, &s->subs, b && b->kind == BIND_TENSOR ? b->tensor : NULL, f, found);
      found = ev_range(c, index, s->value, f, found);
    }
    if (s->cond) found = ev_range(c, index, s->cond, f, found);
    found = ev_range_in(c, index, &s->body, f, found);
    found = ev_range_in(c, index, &s->otherwise, f, found);
  }
  return found;
}

static bool set_ellipsis(Ctx *c, const Tensor *t, const SubList *subs) {
  unsigned first = 0;
  if (!t || t->rank + 1 < subs->n) return false;
  while (first < subs->n && !subs->at[first].ellipsis) first++;
  if (first == subs->n) return false;
  c->ell_rank = t->rank + 1 - subs->n;
  c->ell.extent = 1;
  for (unsigned k = 0; k < c->ell_rank; k++) c->ell.extent *= c->ell_shape[k] = t->shape[first + k];
  return true;
}

bool ev_ellipsis(Ctx *c, const Expr *e, Frame *f) {
  if (!e) return false;
  if (e->kind == EXPR_NAME) {
    Binding *b = ev_find(c, f, e->name);
    return b && b->kind == BIND_CLOSURE && ev_ellipsis(c, b->expr, b->scope);
  }
  if (e->kind == EXPR_INDEX && set_ellipsis(c, indexed(c, e, f), &e->subs)) return true;
  Frame *lexical;
  const Fn *fn = e->kind == EXPR_CALL ? ev_find_fn(c, f, e->name, &lexical) : NULL;
  if (fn && fn->value && ev_ellipsis(c, fn->value, ev_call_frame(c, f, e, fn, lexical))) return true;
  for (unsigned i = 0; i < e->args.n; i++)
    if (ev_ellipsis(c, e->args.at[i], f)) return true;
  for (unsigned i = 0; i < e->n_links; i++)
    if (ev_ellipsis(c, e->links[i].operand, f)) return true;
  for (unsigned i = 0; i < e->subs.n; i++)
    if (!e->subs.at[i].ellipsis && ev_ellipsis(c, e->subs.at[i].expr, f)) return true;
  return ev_ellipsis(c, e->a, f) || ev_ellipsis(c, e->b, f);
}

/* --- shapes ------------------------------------------------------------------------------------------------------------------------------------ */

static bool take(const Tensor *t, unsigned *rank, int64_t *shape) {
  if (!t) return false;
  *rank = t->rank;
  memcpy(shape, t->shape, t->rank * sizeof *shape);
  return true;
}

bool ev_shape(Ctx *c, const Expr *e, Frame *f, unsigned *rank, int64_t *shape) {
  switch (e->kind) {
    case EXPR_NAME: {
      Binding *b = ev_resolve(c, &f, &e);
      if (b) return b->kind == BIND_TENSOR && take(b->tensor, rank, shape);
      return e->kind != EXPR_NAME && ev_shape(c, e, f, rank, shape);
    }
    case EXPR_UNARY: case EXPR_CONVERT: return ev_shape(c, e->a, f, rank, shape);
    case EXPR_TRANSPOSE: {
      if (!ev_shape(c, e->a, f, rank, shape)) return false;
      if (*rank < 2) ev_fail(c, e->where, "a transpose needs two axes");
      int64_t n = shape[*rank - 1];
      shape[*rank - 1] = shape[*rank - 2];
      shape[*rank - 2] = n;
      return true;
    }
    case EXPR_BINARY: {
      if (e->op == OPER_MATMUL) {
        unsigned other = 0;
        int64_t right[EVAL_MAX_RANK];
        if (!ev_shape(c, e->a, f, rank, shape) || !ev_shape(c, e->b, f, &other, right) || *rank < 2 || other < 2) ev_fail(c, e->where, "'@' needs two matrices");
        shape[*rank - 1] = right[other - 1];
        return true;
      }
      return ev_shape(c, e->a, f, rank, shape) || ev_shape(c, e->b, f, rank, shape);
    }
    case EXPR_CHAIN:
      if (ev_shape(c, e->a, f, rank, shape)) return true;
      for (unsigned i = 0; i < e->n_links; i++)
        if (ev_shape(c, e->links[i].operand, f, rank, shape)) return true;
      return false;
    case EXPR_CALL: {
      Frame *lexical;
      const Fn *fn = ev_find_fn(c, f, e->name, &lexical);
      if (fn && fn->value) return ev_shape(c, fn->value, ev_call_frame(c, f, e, fn, lexical), rank, shape);
      if (fn) {
        Place *outer = c->whole;
        c->whole = NULL;
        Tensor *t = ev_whole(c, e, f).tensor;
        c->whole = outer;
        return take(t, rank, shape);
      }
      if (!e->has_subs && (!strcmp(e->name, "uniform") || !strcmp(e->name, "normal"))) {
        *rank = c->statement.rank;
        memcpy(shape, c->statement.shape, sizeof c->statement.shape);
        return c->statement.tensor;
      }
      if (e->has_subs || !strcmp(e->name, "size") || !strcmp(e->name, "rank") || !strcmp(e->name, "present")) return false;
      if (ev_is_reduction(e->name) && e->args.n == 1) return false;
      for (unsigned i = 0; i < e->args.n; i++)
        if (ev_shape(c, e->args.at[i], f, rank, shape)) return true;
      return false;
    }
    default: return false;
  }
}
