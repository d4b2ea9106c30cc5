/* reduce.c: reductions in the order the language fixes, contractions, blocked softmax, operators that keep their index. */
#include <math.h>
#include "internal.h"

#define CONTRACT_BLOCK 512
#define SOFTMAX_BLOCK 256
#define LANES 16
#define LANES_BLOCK 1024

static const char *const reductions[] = {"sum", "prod", "max", "min", "mean", "var", "norm", "rms", "any", "every", "logsumexp", "argmax", "argmin", "total", NULL};
static const char *const keeping[] = {"softmax", "cumsum", "cumprod", "cummax", "order", NULL};

static bool among(const char *const *list, const char *name) {
  for (; *list; list++)
    if (!strcmp(*list, name)) return true;
  return false;
}

bool ev_is_reduction(const char *name) { return among(reductions, name); }
bool ev_is_keeping(const char *name) { return among(keeping, name); }

/* --- the indices of a reduction: named ones, or the elements of a whole tensor ------------------------------------------------------ */

typedef struct Binder {
  Binding *at[EVAL_MAX_RANK];
  unsigned n;
  int64_t count;
  bool whole;
  Place place, *outer;
} Binder;

static void place_at(Binder *b, int64_t position) {
  if (b->whole) { b->place.b.index = position; return; }
  for (unsigned k = b->n; k--;) {
    b->at[k]->index = position % b->at[k]->extent;
    position /= b->at[k]->extent;
  }
}

static void open_binder(Ctx *c, Binder *b, const Expr *e, Frame *f) {
  const Expr *body = e->args.at[0];
  *b = (Binder){.outer = c->whole, .count = 1};
  if (!e->has_subs) {
    c->whole = NULL;
    b->whole = true;
    if (!ev_shape(c, body, f, &b->place.rank, b->place.shape)) b->place.rank = 0;
    for (unsigned k = 0; k < b->place.rank; k++) b->count *= b->place.shape[k];
    b->place.b = (Binding){.name = "element", .kind = BIND_INDEX, .extent = b->count};
    c->whole = &b->place;
    c->active++;
    return;
  }
  c->whole = NULL;
  for (unsigned k = 0; k < e->subs.n; k++) {
    const char *name;
    const Expr *limit;
    if (k == EVAL_MAX_RANK) ev_fail(c, e->where, "too many indices");
    if (e->subs.at[k].ellipsis) {                          /* the axes of `...` are one index here */
      if (c->has_ell) ev_fail(c, e->where, "'...' is already in use here");
      c->ell = (Binding){.name = "...", .kind = BIND_INDEX};
      if (!ev_ellipsis(c, body, f)) ev_fail(c, e->where, "which axes does '...' stand for?");
      c->has_ell = true;
      b->at[b->n++] = &c->ell;
      continue;
    }
    if (!ev_is_index_sub(c, &e->subs.at[k], f, &name, &limit)) ev_fail(c, e->where, "an index of %s is a value, or already in use here", e->name);
    int64_t extent = limit ? ev_integer(c, limit, f) : -1;
    Binding *own = b->at[b->n++] = ev_own(c, f, name);
    own->kind = BIND_INDEX;
    own->index = 0;
    own->extent = limit && extent < 0 ? 0 : extent;
  }
  for (unsigned k = 0; k < b->n; k++) {
    if (b->at[k] == &c->ell) continue;
    if (b->at[k]->extent < 0) b->at[k]->extent = ev_range(c, b->at[k], body, f, -1);
    if (b->at[k]->extent < 0) ev_fail(c, e->where, "the range of index '%s' is not known; write '%s < n' where it is introduced", b->at[k]->name, b->at[k]->name);
  }
  for (unsigned k = 0; k < b->n; k++) b->count *= b->at[k]->extent;
  c->active += b->n;
}

static void close_binder(Ctx *c, Binder *b) {
  c->whole = b->outer;
  c->active -= b->whole ? 1 : b->n;
  for (unsigned k = 0; k < b->n; k++) {
    if (b->at[k] == &c->ell) c->has_ell = false;
    b->at[k]->kind = BIND_NONE;
  }
}

/* --- factors -------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Factor { const Expr *e; Frame *f; bool may_be_zero; } Factor;
typedef struct Product { Factor at[16]; unsigned n; int softmax; } Product;      /* softmax: the factor over our own indices, or -1 */

/* Nothing that the definition reads has been assigned since. */
static bool still_holds(Ctx *c, const Expr *e, Frame *f, uint64_t stamp) {
  if (!e) return true;
  if (e->kind == EXPR_NAME || e->kind == EXPR_INDEX) {
    Binding *b = ev_find(c, f, e->name);
    if (b && b->stamp > stamp) return false;
  }
  for (unsigned i = 0; i < e->args.n; i++) if (!still_holds(c, e->args.at[i], f, stamp)) return false;
  for (unsigned i = 0; i < e->n_links; i++) if (!still_holds(c, e->links[i].operand, f, stamp)) return false;
  for (unsigned i = 0; i < e->subs.n; i++) if (!e->subs.at[i].ellipsis && !still_holds(c, e->subs.at[i].expr, f, stamp)) return false;
  return still_holds(c, e->a, f, stamp) && still_holds(c, e->b, f, stamp);
}

/* One step from a name that was assigned once, a fn or a parameter to what it stands for. */
static bool look_through(Ctx *c, Factor *x) {
  const Expr *e = x->e;
  Frame *lexical;
  if (e->kind == EXPR_CALL) {
    const Fn *fn = ev_find_fn(c, x->f, e->name, &lexical);
    if (!fn || !fn->value) return false;
    x->f = ev_call_frame(c, x->f, e, fn, lexical);
    x->e = fn->value;
    return true;
  }
  if (e->kind != EXPR_NAME && e->kind != EXPR_INDEX) return false;
  Binding *b = ev_find(c, x->f, e->name);
  if (!b) return false;
  if (b->kind == BIND_CLOSURE && e->kind == EXPR_NAME) { x->e = b->expr; x->f = b->scope; return true; }
  const Stmt *s = b->definition;
  Frame *home = b->scope;
  if (!s || !home || s->has_subs != (e->kind == EXPR_INDEX)) return false;
  if (!still_holds(c, s->value, home, b->stamp)) return false;
  if (!s->has_subs) { x->e = s->value; x->f = home; return true; }
  if (s->subs.n != e->subs.n) return false;
  Frame *g = ev_frame(c, x->f, e);
  for (unsigned k = 0; k < s->subs.n; k++) {
    const Expr *left = s->subs.at[k].expr, *right = e->subs.at[k].expr;
    if (s->subs.at[k].ellipsis != e->subs.at[k].ellipsis) return false;
    if (s->subs.at[k].ellipsis) continue;
    if (left->kind == EXPR_CHAIN) left = left->a;
    if (left->kind != EXPR_NAME || right->kind != EXPR_NAME) return false;         /* other places may lie outside the axis */
    Binding *index = ev_own(c, g, left->name);
    index->kind = BIND_CLOSURE;
    index->expr = right;
    index->scope = x->f;
  }
  g->lexical = home;
  g->item = x->f->item;
  x->e = s->value;
  x->f = g;
  return true;
}

static bool own_softmax(Ctx *c, const Binder *b, const Expr *e, Frame *f) {
  if (b->whole || e->kind != EXPR_CALL || strcmp(e->name, "softmax") || !e->has_subs || e->subs.n != b->n) return false;
  for (unsigned k = 0; k < b->n; k++) {
    const Expr *s = e->subs.at[k].expr;
    Frame *g = f;
    if (e->subs.at[k].ellipsis ? b->at[k] != &c->ell : s->kind != EXPR_NAME || ev_resolve(c, &g, &s) != b->at[k]) return false;
  }
  return true;
}

static bool literal_zero(const Expr *e) {
  return (e->kind == EXPR_INT && e->value == 0) || (e->kind == EXPR_REAL && e->number == 0);
}

static void classify(Ctx *c, const Binder *b, Product *p, unsigned k) {
  Factor x = p->at[k];
  for (unsigned steps = 0; steps < 100; steps++) {
    const Expr *e = x.e;
    if (e->kind == EXPR_CALL && (!strcmp(e->name, "softmax") || !strcmp(e->name, "exp") || !strcmp(e->name, "sexp") || !strcmp(e->name, "where"))) {
      p->at[k].may_be_zero = strcmp(e->name, "where") || (e->args.n == 3 && literal_zero(e->args.at[2]));
      if (p->softmax < 0 && own_softmax(c, b, e, x.f)) { p->softmax = (int)k; p->at[k].e = x.e; p->at[k].f = x.f; }
      return;
    }
    if (!look_through(c, &x)) return;
  }
}

static void collect(Product *p, const Expr *e, Frame *f, bool top) {
  if (e->kind == EXPR_BINARY && e->op == OPER_MUL && (top || !e->parenthesised) && p->n < 14) {
    collect(p, e->a, f, false);
    collect(p, e->b, f, false);
  } else p->at[p->n++] = (Factor){.e = e, .f = f};
}

static void factors(Ctx *c, const Binder *b, Product *p, const Expr *body, Frame *f) {
  Factor x = {.e = body, .f = f};
  *p = (Product){.softmax = -1};
  for (unsigned steps = 0; steps < 100; steps++) {         /* a body that is a name or a fn stands for its expression */
    Factor next = x;
    if (x.e->kind == EXPR_BINARY || !look_through(c, &next)) break;
    if (next.e->kind == EXPR_CALL && ev_is_keeping(next.e->name) && !own_softmax(c, b, next.e, next.f)) break;
    x = next;
  }
  bool is_product = x.e->kind == EXPR_BINARY && x.e->op == OPER_MUL;
  bool is_softmax = own_softmax(c, b, x.e, x.f);
  if (!is_product && !is_softmax) x = (Factor){.e = body, .f = f};
  collect(p, x.e, x.f, true);
  for (unsigned k = 0; k < p->n; k++) classify(c, b, p, k);
}

/* Every factor lacks one of the indices of the body. */
static bool is_contraction(Ctx *c, const Binder *b, const Product *p) {
  Binding *all[64];
  unsigned n = 0;
  const Deps *of[16];
  if (p->n < 2 || b->whole) return false;
  for (unsigned k = 0; k < b->n; k++) all[n++] = b->at[k];
  for (unsigned k = 0; k < p->n; k++) {
    of[k] = ev_deps(c, p->at[k].e, p->at[k].f);
    for (unsigned i = 0; i < of[k]->n; i++) {
      unsigned j = 0;
      while (j < n && all[j] != of[k]->at[i]) j++;
      if (j == n && n < 64) all[n++] = of[k]->at[i];
    }
  }
  for (unsigned k = 0; k < p->n; k++)
    if (of[k]->n >= n) return false;
  return true;
}

/* f1*...*f(n-1) and fn at the present place; true: the term is left out. `softmax`: takes the place of that factor. */
static bool term(Ctx *c, const Product *p, const Val *softmax, Val *first, Val *last) {
  bool skip = false;
  Val product = ev_int(1);
  unsigned n = 0;
  if (softmax) { product = *softmax; skip = ev_is_zero(product); n = 1; }          /* it comes first, wherever it stands */
  for (unsigned k = 0; k < p->n; k++) {
    if (softmax && p->softmax == (int)k) continue;
    Val v = ev_eval(c, p->at[k].e, p->at[k].f);
    if (p->at[k].may_be_zero && ev_is_zero(v)) skip = true;
    if (++n == p->n && n > 1) *last = v;
    else product = n > 1 ? ev_arith(c, OPER_MUL, product, v, p->at[k].e->where) : v;
  }
  *first = product;
  if (p->n == 1) *last = ev_number(c, ev_is_real(product) ? product.kind : K_WEAK, 1);
  return skip;
}

/* --- orders of addition ------------------------------------------------------------------------------------------------------------------- */

static Val plus(Ctx *c, Val a, Val b) { return ev_arith(c, OPER_ADD, a, b, (Range){0}); }

static Val combine(Ctx *c, Val a, Val b, Oper op) { return ev_arith(c, op, a, b, (Range){0}); }

/* Blocks of 1,024, 16 interleaved lanes each, lanes and then blocks added in trees. */
Val ev_lanes(Ctx *c, const Val *v, const bool *skip, int64_t n, Oper op) {
  Kind kind = n ? v[0].kind : K_F32;
  int64_t blocks = (n + LANES_BLOCK - 1) / LANES_BLOCK;
  Val unit = kind <= K_INT ? ev_int(op == OPER_MUL) : ev_number(c, kind, op == OPER_MUL);
  if (!blocks) return unit;
  Val *tree = arena_array(c->scratch, (size_t)blocks, sizeof *tree);
  for (int64_t b = 0; b < blocks; b++) {
    Val lane[LANES];
    for (int l = 0; l < LANES; l++) lane[l] = unit;
    for (int64_t i = b * LANES_BLOCK; i < n && i < (b + 1) * LANES_BLOCK; i++)
      if (!skip || !skip[i]) lane[i % LANES] = combine(c, lane[i % LANES], v[i], op);
    for (int half = LANES / 2; half; half /= 2)
      for (int l = 0; l < half; l++) lane[l] = combine(c, lane[l], lane[l + half], op);
    tree[b] = lane[0];
  }
  for (; blocks > 1; blocks = (blocks + 1) / 2)
    for (int64_t b = 0; b < (blocks + 1) / 2; b++) tree[b] = 2 * b + 1 < blocks ? combine(c, tree[2 * b], tree[2 * b + 1], op) : tree[2 * b];
  return tree[0];
}

typedef struct Chain { Val total, block; int64_t in_block; bool any, open; } Chain;

static void chain_end_block(Ctx *c, Chain *s) {
  if (s->open) s->total = s->any ? plus(c, s->total, s->block) : s->block;
  s->any |= s->open;
  s->open = false;
  s->in_block = 0;
}

static void chain_add(Ctx *c, Chain *s, Val first, Val last, bool skip) {
  Kind kind = first.kind > last.kind ? first.kind : last.kind;
  if (!s->in_block) { s->block = ev_zero(c, kind); s->open = true; }
  if (!skip) s->block = ev_fma(c, first, last, s->block);
  if (++s->in_block == CONTRACT_BLOCK) chain_end_block(c, s);
}

static Val chain_end(Ctx *c, Chain *s, Kind kind) {
  chain_end_block(c, s);
  if (!s->any) return ev_zero(c, kind);
  return ev_is_real(s->total) ? plus(c, s->total, ev_zero(c, s->total.kind)) : s->total;
}

Tensor *ev_matmul(Ctx *c, const Tensor *a, const Tensor *b, Range where) {
  int64_t shape[EVAL_MAX_RANK], outer = 1;
  if (a->rank < 2 || b->rank != a->rank || memcmp(a->shape, b->shape, (a->rank - 2) * sizeof *shape) || a->shape[a->rank - 1] != b->shape[b->rank - 2])
    ev_fail(c, where, "'@' of %s and %s", ev_shape_text(c, a->rank, a->shape), ev_shape_text(c, b->rank, b->shape));
  memcpy(shape, a->shape, sizeof shape);
  int64_t rows = shape[a->rank - 2], inner = shape[a->rank - 1], columns = shape[a->rank - 1] = b->shape[b->rank - 1];
  for (unsigned k = 0; k + 2 < a->rank; k++) outer *= shape[k];
  Kind kind = ev_join(c, a->kind, b->kind, where);
  Tensor *t = ev_tensor(c, kind, a->rank, shape);
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < columns; j++) {
        Chain s = {0};
        for (int64_t k = 0; k < inner; k++) {
          Val x = ev_to(c, ev_get(a, (o * rows + i) * inner + k), kind), y = ev_to(c, ev_get(b, (o * inner + k) * columns + j), kind);
          if (kind <= K_INT) s.total = ev_arith(c, OPER_ADD, s.any ? s.total : ev_int(0), ev_arith(c, OPER_MUL, x, y, where), where), s.any = true;
          else chain_add(c, &s, x, y, false);
        }
        ev_put(c, t, (o * rows + i) * columns + j, chain_end(c, &s, kind));
      }
  return t;
}

/* --- softmax in blocks ------------------------------------------------------------------------------------------------------------------------ */

typedef struct Soft { double m; Val l, n; bool any, nan; Kind kind; } Soft;

static Val constant(Kind kind, double d) { return (Val){.kind = kind, .d = d}; }

static Val soft_exp(Ctx *c, Val s, double m) { return ev_sexp(c, ev_arith(c, OPER_SUB, s, constant(s.kind, m), (Range){0})); }

/* s: the scores. With `p`, n is the sum of the terms whose softmax factor is e. */
static Soft soft(Ctx *c, const Val *s, int64_t n, const Product *p, Binder *b) {
  Soft r = {.kind = n ? s[0].kind : K_F32};
  Val *e = arena_array(c->scratch, SOFTMAX_BLOCK, sizeof *e);
  for (int64_t at = 0; at < n; at += SOFTMAX_BLOCK) {
    int64_t k = n - at < SOFTMAX_BLOCK ? n - at : SOFTMAX_BLOCK;
    double top = -INFINITY;
    for (int64_t i = 0; i < k; i++) {
      if (isnan(s[at + i].d)) r.nan = true;
      if (s[at + i].d > top) top = s[at + i].d;
    }
    if (top == INFINITY) r.nan = true;
    if (r.nan) return r;
    if (top == -INFINITY) continue;
    for (int64_t i = 0; i < k; i++) e[i] = s[at + i].d == -INFINITY ? constant(r.kind, 0) : soft_exp(c, s[at + i], top);
    Val l = ev_lanes(c, e, NULL, k, OPER_ADD), sum = constant(r.kind, 0);
    for (int64_t i = 0; p && i < k; i++) {
      Val first, last;
      place_at(b, at + i);
      if (!term(c, p, &e[i], &first, &last)) sum = ev_fma(c, first, last, sum);
    }
    if (!r.any) { r.any = true; r.m = -INFINITY; r.l = r.n = constant(r.kind, 0); }
    double m = r.m > top ? r.m : top;
    Val one = constant(r.kind, 1);
    Val a = r.m == m ? one : r.m == -INFINITY ? constant(r.kind, 0) : soft_exp(c, constant(r.kind, r.m), m), z = top == m ? one : soft_exp(c, constant(r.kind, top), m);
    r.l = plus(c, ev_arith(c, OPER_MUL, a, r.l, (Range){0}), ev_arith(c, OPER_MUL, z, l, (Range){0}));
    if (p) r.n = plus(c, ev_arith(c, OPER_MUL, a, r.n, (Range){0}), ev_arith(c, OPER_MUL, z, sum, (Range){0}));
    r.m = m;
  }
  return r;
}

/* --- reductions ----------------------------------------------------------------------------------------------------------------------------------- */

static Val value_at(Ctx *c, Binder *b, const Expr *body, Frame *f, int64_t position) {
  place_at(b, position);
  return ev_eval(c, body, f);
}

static Val real_of(Ctx *c, Val v, const Expr *e) {
  if (v.kind == K_BOOL) ev_fail(c, e->where, "%s of bools", e->name);
  return v.kind == K_INT ? ev_to(c, v, K_WEAK) : v;
}

static Val *values_of(Ctx *c, Binder *b, const Expr *body, Frame *f) {
  Val *v = arena_array(c->scratch, (size_t)b->count + 1, sizeof *v);
  Kind kind = K_BOOL;
  for (int64_t i = 0; i < b->count; i++) {
    v[i] = value_at(c, b, body, f, i);
    if (v[i].kind > kind) kind = v[i].kind;
  }
  for (int64_t i = 0; i < b->count; i++) v[i] = ev_to(c, v[i], kind);
  return v;
}

/* The sum in `lanes`, of bools the count. */
static Val sum_values(Ctx *c, Val *v, const bool *skip, int64_t n, Oper op) {
  for (int64_t i = 0; i < n; i++)
    if (v[i].kind == K_BOOL) v[i] = ev_int(v[i].i);
  return ev_lanes(c, v, skip, n, op);
}

static Val sum(Ctx *c, Binder *b, const Expr *e, Frame *f) {
  Product p;
  const Expr *body = e->args.at[0];
  const char *order = e->order;
  if (!b->count) return ev_zero(c, c->call->f64 ? K_F64 : K_F32);
  factors(c, b, &p, body, f);
  if (order && strcmp(order, "seq") && strcmp(order, "lanes")) ev_fail(c, e->where, "unknown order '%s'", order);
  if (!order && p.softmax >= 0) {
    const Factor *x = &p.at[p.softmax];
    Val *s = values_of(c, b, x->e->args.at[0], x->f);
    for (int64_t i = 0; i < b->count; i++) s[i] = real_of(c, s[i], x->e);
    Val first, last;
    place_at(b, 0);
    term(c, &p, &s[0], &first, &last);                     /* for its type: all of it has that of the sum */
    Kind kind = first.kind > last.kind ? first.kind : last.kind;
    for (int64_t i = 0; i < b->count && kind > s[i].kind; i++) s[i] = ev_to(c, s[i], kind);
    Soft r = soft(c, s, b->count, &p, b);
    if (r.nan) return constant(r.kind, NAN);
    return r.any ? ev_arith(c, OPER_DIV, r.n, r.l, e->where) : constant(r.kind, 0);
  }
  if (p.n == 1 && !order) return sum_values(c, values_of(c, b, body, f), NULL, b->count, OPER_ADD);
  if (!order && is_contraction(c, b, &p)) {
    Chain s = {0};
    Val integer = ev_int(0), first, last;
    bool integers = false;
    for (int64_t i = 0; i < b->count; i++) {
      place_at(b, i);
      bool skip = term(c, &p, NULL, &first, &last);
      integers = first.kind == K_INT && last.kind == K_INT;
      if (integers) integer = plus(c, integer, ev_arith(c, OPER_MUL, first, last, e->where));
      else chain_add(c, &s, first, last, skip);
    }
    return integers ? integer : chain_end(c, &s, K_F32);
  }
  Val *v = arena_array(c->scratch, (size_t)b->count, sizeof *v), first, last;
  bool *skip = arena_array(c->scratch, (size_t)b->count, sizeof *skip);
  for (int64_t i = 0; i < b->count; i++) {
    place_at(b, i);
    if (p.n == 1) { v[i] = ev_eval(c, body, f); continue; }
    skip[i] = term(c, &p, NULL, &first, &last);
    v[i] = skip[i] ? ev_zero(c, ev_join(c, first.kind, last.kind, e->where)) : ev_arith(c, OPER_MUL, first, last, e->where);
  }
  if (!order || strcmp(order, "seq")) return sum_values(c, v, skip, b->count, OPER_ADD);
  Val total = v[0].kind <= K_INT ? ev_int(0) : ev_zero(c, v[0].kind);
  for (int64_t i = 0; i < b->count; i++)
    if (!skip[i]) total = plus(c, total, v[i].kind == K_BOOL ? ev_int(v[i].i) : v[i]);
  return total;
}

static Val square_sum(Ctx *c, Val *v, int64_t n, const Expr *e) {
  for (int64_t i = 0; i < n; i++) {
    v[i] = real_of(c, v[i], e);
    v[i] = ev_arith(c, OPER_MUL, v[i], v[i], e->where);
  }
  return ev_lanes(c, v, NULL, n, OPER_ADD);
}

static Val root(Ctx *c, Val x, const Expr *e) {
  if (ev_double(x) == 0 && x.node) x.node = 0;             /* its derivative at 0 is 0 */
  return ev_function(c, "sqrt", &x, 1, e->where);
}

static Val extreme(Ctx *c, Val *v, int64_t n, bool min, bool place, const Expr *e) {
  if (place) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++) {
      if (v[i].kind >= K_WEAK && isnan(v[i].d)) return ev_int(i);
      if (best < 0 || ev_compare(c, min ? OPER_LT : OPER_GT, v[i], v[best], e->where)) best = i;
    }
    return ev_int(best);
  }
  if (!n) return ev_weak(min ? INFINITY : -INFINITY);
  Val r = v[0];
  r.node = 0;
  for (int64_t i = 1; i < n; i++) {
    Val w = v[i];
    w.node = 0;
    r = ev_max(c, r, w, min, e->where);
  }
  if (r.kind >= K_WEAK && c->tape) {                       /* equal shares */
    int64_t ties = 0;
    for (int64_t i = 0; i < n; i++) ties += v[i].d == r.d;
    for (int64_t i = 0; i < n; i++)
      if (v[i].d == r.d) r.node = ev_node(c, r.node, 1, v[i].node, 1. / (double)ties);
  }
  return r;
}

/* Divided and rooted in f64 if it is one number, else in its own type. What comes from f64 tensors stays f64. */
static Val settle(Ctx *c, Val v, bool scalar) { return scalar && ev_is_real(v) && (v.kind == K_F32 || c->call->f64) ? ev_to(c, v, K_WEAK) : v; }

static Val divide(Ctx *c, Val v, int64_t n, const Expr *e) { return ev_arith(c, OPER_DIV, v, ev_int(n), e->where); }

static Val reduce(Ctx *c, Binder *b, const Expr *e, Frame *f, bool scalar) {
  const char *name = e->name;
  const Expr *body = e->args.at[0];
  int64_t n = b->count;
  if (!strcmp(name, "sum")) return sum(c, b, e, f);
  Val *v = values_of(c, b, body, f);
  if (!strcmp(name, "prod")) return n ? sum_values(c, v, NULL, n, OPER_MUL) : ev_weak(1);
  if (!strcmp(name, "max") || !strcmp(name, "min")) return extreme(c, v, n, name[1] == 'i', false, e);
  if (!strcmp(name, "argmax") || !strcmp(name, "argmin")) return extreme(c, v, n, name[4] == 'i', true, e);
  if (!strcmp(name, "any") || !strcmp(name, "every")) {
    bool r = *name == 'e';
    for (int64_t i = 0; i < n; i++) {
      if (v[i].kind != K_BOOL) ev_fail(c, e->where, "%s of conditions", name);
      r = *name == 'e' ? r && v[i].i : r || v[i].i;
    }
    return ev_bool(r);
  }
  if (!strcmp(name, "mean")) return n ? divide(c, settle(c, sum_values(c, v, NULL, n, OPER_ADD), scalar), n, e) : ev_weak(NAN);
  if (!strcmp(name, "norm")) return n ? root(c, settle(c, square_sum(c, v, n, e), scalar), e) : ev_weak(0);
  if (!strcmp(name, "rms")) return n ? root(c, divide(c, settle(c, square_sum(c, v, n, e), scalar), n, e), e) : ev_weak(NAN);
  if (!strcmp(name, "var")) {
    if (!n) return ev_weak(NAN);
    Val *copy = arena_array(c->scratch, (size_t)n, sizeof *copy);
    memcpy(copy, v, (size_t)n * sizeof *copy);
    Val mean = divide(c, settle(c, sum_values(c, copy, NULL, n, OPER_ADD), scalar), n, e);
    for (int64_t i = 0; i < n; i++) v[i] = ev_arith(c, OPER_SUB, v[i], mean, e->where);
    return divide(c, settle(c, square_sum(c, v, n, e), scalar), n, e);
  }
  for (int64_t i = 0; i < n; i++) v[i] = real_of(c, v[i], e);      /* logsumexp */
  Soft r = soft(c, v, n, NULL, b);
  if (r.nan) return constant(r.kind, NAN);
  if (!r.any) return constant(n ? r.kind : K_WEAK, -INFINITY);
  return plus(c, constant(r.kind, r.m), ev_function(c, "log", &r.l, 1, e->where));
}

/* [all]: each item as above, then f64 in the order of the list. */
static Val reduce_all(Ctx *c, const Expr *e, Frame *f) {
  const char *name = !strcmp(e->name, "total") ? "sum" : e->name;
  Frame *from = NULL;
  if (!c->group) ev_fail(c, e->where, "[all] inside one element");
  for (unsigned k = 0; k < c->n_group; k++)
    if (c->group[k]->item == f->item) from = c->group[k];
  bool squares = !strcmp(name, "norm") || !strcmp(name, "rms"), sums = squares || !strcmp(name, "sum") || !strcmp(name, "mean");
  int64_t count = 0;
  Val r = {0};
  bool any = false;
  Statement outer = c->statement;
  for (unsigned k = 0; k < c->n_group; k++) {
    if (outer.stmt) c->statement = ev_statement_of(c, outer.stmt, c->group[k]);
    Frame *g = ev_translate(c, f, from, c->group[k]);
    if (!g) ev_fail(c, e->where, "[all] has no such place in another item");
    Binder b;
    Expr whole = *e;
    whole.has_subs = false;
    open_binder(c, &b, &whole, g);
    Val x, *v = NULL;
    if (!strcmp(name, "sum")) { whole.name = "sum"; x = sum(c, &b, &whole, g); }
    else if (squares || sums) {
      v = values_of(c, &b, e->args.at[0], g);
      x = squares ? square_sum(c, v, b.count, e) : sum_values(c, v, NULL, b.count, OPER_ADD);
    } else x = reduce(c, &b, &whole, g, true);
    count += b.count;
    close_binder(c, &b);
    if (ev_is_real(x)) x = ev_to(c, x, K_WEAK);
    if (!any) r = sums && ev_is_real(x) ? plus(c, ev_weak(0), x) : x;
    else if (sums) r = plus(c, r, x);
    else if (!strcmp(name, "max") || !strcmp(name, "min")) r = ev_max(c, r, x, name[1] == 'i', e->where);
    else if (!strcmp(name, "any")) r.i |= x.i;
    else if (!strcmp(name, "every")) r.i &= x.i;
    else ev_fail(c, e->where, "no %s[all]", name);
    any = true;
  }
  c->statement = outer;
  if (!strcmp(name, "mean") || !strcmp(name, "rms")) r = divide(c, r, count, e);
  return squares ? root(c, ev_is_real(r) ? r : ev_to(c, r, K_WEAK), e) : r;
}

static bool is_all(const Expr *e) {
  if (!strcmp(e->name, "total")) return true;
  if (!e->has_subs || e->subs.n != 1 || e->subs.at[0].ellipsis) return false;
  const Expr *s = e->subs.at[0].expr;
  return s->kind == EXPR_NAME && !strcmp(s->name, "all");
}

static const char reduce_tag[] = "reduce", keep_tag[] = "keep";

Val ev_reduce(Ctx *c, const Expr *e, Frame *f) {
  if (e->args.n != 1) ev_fail(c, e->where, "%s has one argument", e->name);
  Place *outer = c->whole;
  c->whole = NULL;
  const Deps *deps = ev_deps(c, e, f);
  bool scalar = !deps->n;
  Memo *m = deps->n < c->active + c->has_ell || !deps->n ? ev_memo(c, e, f, reduce_tag, deps, NULL, 0) : NULL;
  if (m && m->set) { c->whole = outer; return m->number; }
  Val r;
  if (is_all(e)) r = reduce_all(c, e, f);
  else {
    Binder b;
    open_binder(c, &b, e, f);
    r = reduce(c, &b, e, f, scalar);
    close_binder(c, &b);
  }
  r = settle(c, r, scalar);
  c->whole = outer;
  if (m) { m->set = true; m->number = r; }
  return r;
}

/* --- operators that keep their index: a row at once ----------------------------------------------------------------------------------------- */

static bool before(const Val *v, int64_t a, int64_t b) {             /* downwards, nan first, ties by place */
  if (v[a].kind <= K_INT) return v[a].i > v[b].i || (v[a].i == v[b].i && a < b);
  bool na = isnan(v[a].d), nb = isnan(v[b].d);
  if (na || nb) return na && (!nb || a < b);
  return v[a].d > v[b].d || (v[a].d == v[b].d && a < b);
}

static void keep_row(Ctx *c, const Expr *e, Val *v, int64_t n, Val *row) {
  const char *name = e->name;
  if (!strcmp(name, "softmax")) {
    for (int64_t i = 0; i < n; i++) v[i] = real_of(c, v[i], e);
    Soft r = soft(c, v, n, NULL, NULL);
    for (int64_t i = 0; i < n; i++) {
      if (r.nan) row[i] = constant(r.kind, NAN);
      else if (!r.any || v[i].d == -INFINITY) row[i] = constant(r.kind, 0);
      else row[i] = ev_arith(c, OPER_DIV, soft_exp(c, v[i], r.m), r.l, e->where);
    }
  } else if (!strcmp(name, "order")) {
    for (int64_t i = 0; i < n; i++) {
      int64_t first = 0;
      for (int64_t k = 0; k < n; k++) first += before(v, k, i);
      row[i] = ev_int(first);
    }
  } else {
    Oper op = !strcmp(name, "cumprod") ? OPER_MUL : OPER_ADD;
    for (int64_t i = 0; i < n; i++) {
      Val x = v[i].kind == K_BOOL ? ev_int(v[i].i) : v[i];
      Val unit = x.kind == K_INT ? ev_int(op == OPER_MUL) : constant(x.kind, op == OPER_MUL);
      if (!strcmp(name, "cummax")) row[i] = i ? ev_max(c, row[i - 1], x, false, e->where) : x;
      else row[i] = ev_arith(c, op, i ? row[i - 1] : unit, x, e->where);
    }
  }
}

Val ev_keep(Ctx *c, const Expr *e, Frame *f) {
  Binder b = {.count = 1, .outer = c->whole};
  if (!e->has_subs || e->args.n != 1) ev_fail(c, e->where, "%s names an index in scope", e->name);
  c->whole = NULL;
  for (unsigned k = 0; k < e->subs.n; k++) {
    const Expr *s = e->subs.at[k].expr;
    Frame *g = f;
    Binding *own = e->subs.at[k].ellipsis ? (c->has_ell ? &c->ell : NULL) : s->kind == EXPR_NAME ? ev_resolve(c, &g, &s) : NULL;
    if (!own || own->kind != BIND_INDEX || b.n == EVAL_MAX_RANK) ev_fail(c, e->where, "%s keeps an index in scope", e->name);
    b.at[b.n++] = own;
    b.count *= own->extent;
  }
  int64_t position = 0;
  for (unsigned k = 0; k < b.n; k++) position = position * b.at[k]->extent + b.at[k]->index;
  Memo *m = ev_memo(c, e, f, keep_tag, ev_deps(c, e, f), (const Binding *const *)b.at, b.n);
  if (!m->row) {
    Val *v = values_of(c, &b, e->args.at[0], f);
    m->row = arena_array(c->scratch, (size_t)b.count + 1, sizeof *m->row);
    keep_row(c, e, v, b.count, m->row);
    place_at(&b, position);
  }
  c->whole = b.outer;
  return m->row[position];
}
