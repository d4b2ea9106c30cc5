/* expression.c: the value of an expression at one place: indices have values, or an index-free expression is at one of its elements. */
#include <math.h>
#include "internal.h"

/* An integer literal, also through the parameter of a fn that is substituted. */
int64_t ev_literal(Ctx *c, const Expr *e, Frame *f, bool *is) {
  int64_t sign = 1;
  while (e->kind == EXPR_UNARY && e->op == OPER_NEG) { sign = -sign; e = e->a; }
  if (e->kind == EXPR_NAME) ev_resolve(c, &f, &e);
  while (e->kind == EXPR_UNARY && e->op == OPER_NEG) { sign = -sign; e = e->a; }
  *is = e->kind == EXPR_INT;
  return *is ? sign * e->value : 0;
}

int64_t ev_integer(Ctx *c, const Expr *e, Frame *f) {
  Place *outer = c->whole;
  c->whole = NULL;
  Val v = ev_eval(c, e, f);
  c->whole = outer;
  if (v.kind != K_INT) ev_fail(c, e->where, "an integer is needed here");
  return v.i;
}

bool ev_condition(Ctx *c, const Expr *e, Frame *f) {
  Val v = ev_eval(c, e, f);
  if (v.kind != K_BOOL) ev_fail(c, e->where, "a condition is needed here");
  return v.i;
}

/* A bare name that is no value: an index, perhaps with its range. */
bool ev_is_index_sub(Ctx *c, const Sub *s, Frame *f, const char **name, const Expr **limit) {
  const Expr *e = s->expr;
  *limit = NULL;
  if (s->ellipsis) return false;
  if (e->kind == EXPR_CHAIN && e->n_links == 1 && e->links[0].op == OPER_LT && e->a->kind == EXPR_NAME) {
    *limit = e->links[0].operand;
    e = e->a;
  }
  if (e->kind != EXPR_NAME) return false;
  *name = e->name;
  return !ev_find(c, f, e->name);
}

Val ev_read(Ctx *c, const Tensor *t, const SubList *subs, Frame *f, Range where) {
  int64_t at = 0;
  unsigned axis = 0;
  bool inside = !t->absent;
  Place *outer = c->whole;
  c->whole = NULL;
  for (unsigned k = 0; k < subs->n; k++) {
    const Sub *s = &subs->at[k];
    if (s->ellipsis) {
      if (t->rank + 1 < subs->n) ev_fail(c, s->where, "too many indices");
      int64_t extent = 1;
      for (unsigned n = t->rank + 1 - subs->n; n--; axis++) extent *= t->shape[axis];
      if (extent != c->ell.extent) ev_fail(c, s->where, "'...' stands for different axes");
      at = at * extent + c->ell.index;
      continue;
    }
    Val v = ev_eval(c, s->expr, f);
    if (v.kind != K_INT) ev_fail(c, s->where, "an index is an integer");
    if (axis >= t->rank) ev_fail(c, where, "%u indices, the tensor has %u axes", subs->n, t->rank);
    if (v.i < 0 || v.i >= t->shape[axis]) inside = false;
    else at = at * t->shape[axis] + v.i;
    axis++;
  }
  c->whole = outer;
  if (axis != t->rank) ev_fail(c, where, "%u indices, the tensor has %u axes", subs->n, t->rank);
  return inside ? ev_get(t, at) : ev_zero(c, t->kind);
}

static Val lazy(Ctx *c, Binding *b) {
  Place *outer = c->whole;
  c->whole = NULL;
  const Expr *e = b->expr;
  if (!e) ev_fail(c, (Range){0}, "'%s' needs a value", b->name);
  b->expr = NULL;                                          /* a default that needs itself ends above */
  Val v = ev_eval(c, e, b->scope);
  c->whole = outer;
  if (b->type && (!strcmp(b->type, "int") || !strcmp(b->type, "bool"))) v = ev_convert(c, b->type, v, e->where);
  else if (b->type || v.kind > K_WEAK) v = ev_to(c, v, K_WEAK);
  b->kind = BIND_NUMBER;
  return b->number = v;
}

static Val name(Ctx *c, const Expr *e, Frame *f) {
  Binding *b = ev_find(c, f, e->name);
  if (!b) {
    if (!strcmp(e->name, "t")) return ev_int(c->mode == MODE_INIT ? 0 : c->call->t);
    ev_fail(c, e->where, "unknown name '%s', or it has no value here", e->name);
  }
  switch (b->kind) {
    case BIND_NUMBER: return b->number;
    case BIND_INDEX: return ev_int(b->index);
    case BIND_CLOSURE: return ev_eval(c, b->expr, b->scope);
    case BIND_LAZY: return lazy(c, b);
    default: break;
  }
  if (!c->whole) ev_fail(c, e->where, "the tensor '%s' needs its indices here", e->name);
  if (!ev_same_shape(b->tensor, c->whole->rank, c->whole->shape))
    ev_fail(c, e->where, "shapes differ: '%s' is %s, beside %s", e->name, ev_shape_text(c, b->tensor->rank, b->tensor->shape), ev_shape_text(c, c->whole->rank, c->whole->shape));
  return ev_get(b->tensor, c->whole->b.index);
}

static Val word(Ctx *c, const Expr *e) {
  if (!strcmp(e->name, "true") || !strcmp(e->name, "false")) return ev_bool(*e->name == 't');
  return ev_weak(!strcmp(e->name, "inf") ? INFINITY : !strcmp(e->name, "nan") ? NAN : M_PI);
}

static Val is(Ctx *c, const Expr *e, Frame *f) {
  const Tensor *t = ev_tensor_of(c, e->a, f);
  bool matches = false;
  unsigned view_rank;
  int64_t view[EVAL_MAX_RANK];
  if (!t) ev_fail(c, e->where, "'is' asks for the shape of a tensor");
  ev_pattern(c, e->shape, t->rank, t->shape, f, NULL, &matches, &view_rank, view);
  return ev_bool(matches);
}

/* The value at the current place of a sub-expression that has to be computed as a whole. */
static Val at_place(Ctx *c, const Expr *e, Frame *f) {
  Place *place = c->whole;
  c->whole = NULL;
  Whole w = ev_whole(c, e, f);
  c->whole = place;
  if (!w.tensor) return w.number;
  if (!place) ev_fail(c, e->where, "a whole tensor where one number is needed");
  if (!ev_same_shape(w.tensor, place->rank, place->shape))
    ev_fail(c, e->where, "shapes differ: %s beside %s", ev_shape_text(c, w.tensor->rank, w.tensor->shape), ev_shape_text(c, place->rank, place->shape));
  return ev_get(w.tensor, place->b.index);
}

static Val random_number(Ctx *c, const Expr *e, Frame *f) {
  const Statement *s = &c->statement;
  int64_t at = s->indexed ? s->element : s->tensor && c->whole ? c->whole->b.index : 0;
  if (e->args.n != 1) ev_fail(c, e->where, "%s has one argument, the stream", e->name);
  if (e->has_subs) {
    at = 0;
    for (unsigned k = 0; k < e->subs.n; k++) {
      const Expr *sub = e->subs.at[k].expr;
      Frame *g = f;
      Binding *b = e->subs.at[k].ellipsis ? &c->ell : sub->kind == EXPR_NAME ? ev_resolve(c, &g, &sub) : NULL;
      if (!b || b->kind == BIND_TENSOR) ev_fail(c, e->where, "%s[...] is numbered by indices in scope", e->name);
      if (b->kind == BIND_INDEX) at = at * b->extent + b->index;
      else at = at * b->extent + b->number.i;
    }
  }
  Val v = ev_random(c, *e->name == 'n', (uint64_t)at, ev_integer(c, e->args.at[0], f), f->item);
  return e->has_subs || (s->indexed ? s->n > 0 : s->tensor) ? v : ev_to(c, v, K_WEAK);
}

static Val call(Ctx *c, const Expr *e, Frame *f) {
  Frame *lexical;
  const Fn *fn = ev_find_fn(c, f, e->name, &lexical);
  if (fn && fn->value) return ev_eval(c, fn->value, ev_call_frame(c, f, e, fn, lexical));
  if (fn) return at_place(c, e, f);
  if (!strcmp(e->name, "where")) {
    if (e->args.n != 3) ev_fail(c, e->where, "where has three arguments");
    bool yes = ev_condition(c, e->args.at[0], f);
    Val a = ev_eval(c, e->args.at[1], f), b = ev_eval(c, e->args.at[2], f);
    Kind kind = ev_join(c, a.kind, b.kind, e->where);
    const Deps *d = kind == K_WEAK ? ev_deps(c, e->args.at[0], f) : NULL;
    if (d && d->n && d->data && !c->call->f64) kind = K_F32;         /* a choice made by data is data */
    return ev_to(c, yes ? a : b, kind);
  }
  if (!strcmp(e->name, "uniform") || !strcmp(e->name, "normal")) return random_number(c, e, f);
  if (!strcmp(e->name, "int")) return ev_convert(c, "int", ev_eval(c, e->args.at[0], f), e->where);
  if (!strcmp(e->name, "present") || !strcmp(e->name, "rank") || !strcmp(e->name, "size")) {
    if (e->args.n != 1) ev_fail(c, e->where, "%s has one argument", e->name);
    const Expr *of = e->args.at[0];
    Frame *g = f;
    if (*e->name == 'p') {
      Binding *b = ev_resolve(c, &g, &of);
      return ev_bool(b && b->stored);
    }
    Tensor *t = ev_tensor_of(c, of, g);
    if (!t) ev_fail(c, e->where, "%s of a tensor", e->name);
    return ev_int(*e->name == 'r' ? t->rank : t->count);
  }
  if (!strcmp(e->name, "eigvec") || !strcmp(e->name, "qr")) return at_place(c, e, f);
  if (ev_is_keeping(e->name)) return ev_keep(c, e, f);
  if (ev_is_reduction(e->name) && (e->has_subs || e->args.n == 1)) return ev_reduce(c, e, f);
  if (!ev_is_function(e->name)) ev_fail(c, e->where, "the evaluator has no function '%s'", e->name);
  Val v[8];
  if (e->args.n > 8) ev_fail(c, e->where, "too many arguments");
  for (unsigned i = 0; i < e->args.n; i++) v[i] = ev_eval(c, e->args.at[i], f);
  return ev_function(c, e->name, v, e->args.n, e->where);
}

static Val binary(Ctx *c, const Expr *e, Frame *f) {
  if (e->op == OPER_AND || e->op == OPER_OR) {
    bool a = ev_condition(c, e->a, f);
    return ev_bool(e->op == OPER_AND ? a && ev_condition(c, e->b, f) : a || ev_condition(c, e->b, f));
  }
  if (e->op == OPER_MATMUL) return at_place(c, e, f);
  Val a = ev_eval(c, e->a, f);
  if (e->op == OPER_POW) {
    bool literal;
    int64_t n = ev_literal(c, e->b, f, &literal);
    return literal ? ev_power_int(c, a, n, e->where) : ev_power(c, a, ev_eval(c, e->b, f), e->where);
  }
  return ev_arith(c, e->op, a, ev_eval(c, e->b, f), e->where);
}

Val ev_eval(Ctx *c, const Expr *e, Frame *f) {
  switch (e->kind) {
    case EXPR_INT: return ev_int(e->value);
    case EXPR_REAL: return ev_weak(e->number);
    case EXPR_WORD: return word(c, e);
    case EXPR_NAME: return name(c, e, f);
    case EXPR_UNARY:
      if (e->op == OPER_NOT) return ev_bool(!ev_condition(c, e->a, f));
      return ev_neg(c, ev_eval(c, e->a, f), e->where);
    case EXPR_BINARY: return binary(c, e, f);
    case EXPR_CHAIN: {
      Val left = ev_eval(c, e->a, f);
      bool yes = true;
      for (unsigned i = 0; i < e->n_links; i++) {
        Val right = ev_eval(c, e->links[i].operand, f);
        yes &= ev_compare(c, e->links[i].op, left, right, e->where);
        left = right;
      }
      return ev_bool(yes);
    }
    case EXPR_IS: return is(c, e, f);
    case EXPR_TRANSPOSE: return at_place(c, e, f);
    case EXPR_CONVERT: return ev_convert(c, e->name, ev_eval(c, e->a, f), e->where);
    case EXPR_CALL: return call(c, e, f);
    case EXPR_INDEX: {
      Binding *b = ev_find(c, f, e->name);
      if (!b) ev_fail(c, e->where, "unknown name '%s', or it has no value here", e->name);
      Tensor *t = b->kind == BIND_TENSOR ? b->tensor : b->kind == BIND_CLOSURE ? ev_tensor_of(c, b->expr, b->scope) : NULL;
      if (!t) ev_fail(c, e->where, "'%s' is no tensor", e->name);
      Val v = ev_read(c, t, &e->subs, f, e->where);
      return (v.kind == K_F32 || (v.kind == K_F64 && c->call->f64)) && !ev_deps(c, e, f)->n ? ev_to(c, v, K_WEAK) : v;            /* what depends on no index is f64 */
    }
  }
  ev_fail(c, e->where, "no such expression");
}

/* --- wholes ---------------------------------------------------------------------------------------------------------------------------------------- */

static Tensor *transpose(Ctx *c, const Tensor *a, Range where) {
  int64_t shape[EVAL_MAX_RANK];
  if (a->rank < 2) ev_fail(c, where, "a transpose needs two axes");
  memcpy(shape, a->shape, sizeof shape);
  int64_t rows = shape[a->rank - 2], columns = shape[a->rank - 1];
  shape[a->rank - 2] = columns;
  shape[a->rank - 1] = rows;
  Tensor *t = ev_tensor(c, a->kind, a->rank, shape);
  for (int64_t k = 0; k < t->count; k++) {
    int64_t in = k % (rows * columns);
    ev_put(c, t, k, ev_get(a, k - in + in % rows * columns + in / rows));
  }
  return t;
}

static Tensor *elements(Ctx *c, const Expr *e, Frame *f, unsigned rank, const int64_t *shape) {
  Place place = {.rank = rank}, *outer = c->whole;
  int64_t n = 1;
  Tensor *t = NULL;
  memcpy(place.shape, shape, rank * sizeof *shape);
  for (unsigned k = 0; k < rank; k++) n *= shape[k];
  place.b = (Binding){.name = "element", .kind = BIND_INDEX, .extent = n};
  c->whole = &place;
  c->active++;
  for (int64_t i = 0; i < n; i++) {
    place.b.index = i;
    Val v = ev_eval(c, e, f);
    if (!t) t = ev_tensor(c, v.kind, rank, shape);
    if (v.kind > t->kind) t = ev_convert_tensor(c, t, ev_join(c, v.kind, t->kind, e->where));
    ev_put(c, t, i, v);
  }
  c->active--;
  c->whole = outer;
  return t ? t : ev_tensor(c, c->call->f64 ? K_F64 : K_F32, rank, shape);
}

static const char whole_tag[] = "whole";

static Whole compute(Ctx *c, const Expr *e, Frame *f) {
  unsigned rank = 0;
  int64_t shape[EVAL_MAX_RANK];
  Frame *lexical;
  if (e->kind == EXPR_NAME) {
    Binding *b = ev_resolve(c, &f, &e);
    if (b && b->kind == BIND_TENSOR) return (Whole){.tensor = b->tensor};
    if (!b && e->kind != EXPR_NAME) return ev_whole(c, e, f);
    return (Whole){.number = ev_eval(c, e, f)};
  }
  const Fn *fn = e->kind == EXPR_CALL ? ev_find_fn(c, f, e->name, &lexical) : NULL;
  if (fn && fn->value) return ev_whole(c, fn->value, ev_call_frame(c, f, e, fn, lexical));
  if (fn) {
    Frame *inner = ev_call_frame(c, f, e, fn, lexical);
    if (inner->ready) return inner->result;
    ev_call_block(c, e, fn, NULL, &inner, 1);
    inner->ready = false;
    return inner->result;
  }
  if (e->kind == EXPR_TRANSPOSE || (e->kind == EXPR_BINARY && e->op == OPER_MATMUL)) {
    Whole a = ev_whole(c, e->a, f), b = {0};
    if (e->kind == EXPR_BINARY) b = ev_whole(c, e->b, f);
    if (!a.tensor || (e->b && !b.tensor)) ev_fail(c, e->where, "a matrix is needed here");
    return (Whole){.tensor = e->kind == EXPR_TRANSPOSE ? transpose(c, a.tensor, e->where) : ev_matmul(c, a.tensor, b.tensor, e->where)};
  }
  if (e->kind == EXPR_CALL && (!strcmp(e->name, "eigvec") || !strcmp(e->name, "qr"))) {
    Whole a = ev_whole(c, e->args.at[0], f);
    if (!a.tensor) ev_fail(c, e->where, "a matrix is needed here");
    return (Whole){.tensor = ev_decompose(c, e->name, a.tensor, e->where)};
  }
  if (!ev_shape(c, e, f, &rank, shape)) return (Whole){.number = ev_eval(c, e, f)};
  return (Whole){.tensor = elements(c, e, f, rank, shape)};
}

Whole ev_whole(Ctx *c, const Expr *e, Frame *f) {
  Place *outer = c->whole;
  c->whole = NULL;
  Memo *m = ev_memo(c, e, f, whole_tag, ev_deps(c, e, f), NULL, 0);
  if (!m->set) {
    Whole w = compute(c, e, f);
    m->set = true;
    m->tensor = w.tensor;
    m->number = w.number;
  }
  c->whole = outer;
  return (Whole){m->tensor, m->number};
}
