/* lower_reduce.c: reductions: over indices that they bind, over a whole tensor, over all items of the call (language, sections 3 to 5).
 *
 * A reduction runs over the indices that it binds, for each value of the free indices that its body depends on. A sum over a
 * product is a CONTRACT, or an ATTEND where softmax over its own indices weighs it; other sums are `lanes`. */
#include <math.h>
#include <string.h>
#include "frontend/expressions.h"

typedef enum After { PLAIN, MEAN, NORM, RMS, VARIANCE, LOGSUM } After;
typedef enum Takes { TAKES_NUMBERS, TAKES_BOOLS, TAKES_BOTH } Takes;

static const struct Reduction { const char *name; ReduceKind kind; After after; Takes takes; bool over_all; } reductions[] = {
  {"sum", REDUCE_SUM, PLAIN, TAKES_BOTH, true},       {"total", REDUCE_SUM, PLAIN, TAKES_BOTH, true},
  {"prod", REDUCE_PROD, PLAIN, TAKES_NUMBERS, false}, {"max", REDUCE_MAX, PLAIN, TAKES_NUMBERS, true},
  {"min", REDUCE_MIN, PLAIN, TAKES_NUMBERS, true},    {"any", REDUCE_ANY, PLAIN, TAKES_BOOLS, true},
  {"every", REDUCE_EVERY, PLAIN, TAKES_BOOLS, true},  {"mean", REDUCE_SUM, MEAN, TAKES_BOTH, true},
  {"norm", REDUCE_SUM, NORM, TAKES_NUMBERS, true},    {"rms", REDUCE_SUM, RMS, TAKES_NUMBERS, false},
  {"var", REDUCE_SUM, VARIANCE, TAKES_NUMBERS, false}, {"argmax", REDUCE_ARGMAX, PLAIN, TAKES_NUMBERS, false},
  {"argmin", REDUCE_ARGMIN, PLAIN, TAKES_NUMBERS, false}, {"logsumexp", REDUCE_LOGSUMEXP, LOGSUM, TAKES_NUMBERS, false},
};

static const struct Reduction *find(const char *name) {
  for (size_t i = 0; i < sizeof reductions/sizeof *reductions; i++) if (!strcmp(reductions[i].name, name)) return &reductions[i];
  return NULL;
}

/* What is reduced: the trailing `bound` axes of a space. Free axes are those of `outer`, the indices around. */
typedef struct Body { Lower *l; const Space *space, *outer; unsigned bound; bool all; ReduceOrder order; } Body;

/* --- over the axes that matter ------------------------------------------------------------------------------------------------------------ */

typedef struct Kept { unsigned n, axis[LOWER_MAX_AXES]; const Space *space, *result; } Kept;

/* Free axes in the mask, then the bound ones. */
static Kept kept_axes(const Body *b, unsigned mask) {
  Kept k = {0};
  unsigned free = b->space->rank - b->bound;
  for (unsigned a = 0; a < b->space->rank; a++) if (a >= free || mask >> a & 1) k.axis[k.n++] = a;
  k.space = space_pick(b->l, b->space, k.n, k.axis);
  k.result = space_pick(b->l, b->space, k.n - b->bound, k.axis);
  return k;
}

static const Node *take(const Body *b, const Kept *k, const Node *n) { return node_project(b->l, n, b->space, k->space, k->axis); }

/* From the axes it depends on to all indices around. One number of f32 data continues in f64. */
static Value give(const Body *b, const Kept *k, const Node *node, bool wide) {
  Lower *l = b->l;
  const Node *index[LOWER_MAX_AXES];
  Value v = {.node = node, .wide = wide && node->type == TYPE_F64};
  if (!node->space->rank) return node->type == TYPE_F32 ? value_convert(l, v, TYPE_F64) : v;
  for (unsigned a = 0; a < node->space->rank; a++) index[a] = index_node(l, b->outer, k->axis[a]);
  v.node = node_move(l, node, b->outer, index);
  return v;
}

/* --- one reduction -------------------------------------------------------------------------------------------------------------------------------- */

static Value reduce(const Body *b, ReduceKind kind, Value x) {
  Lower *l = b->l;
  Type type = kind == REDUCE_ARGMAX || kind == REDUCE_ARGMIN ? TYPE_I64 : (Type)x.node->type;
  if (b->all && !b->bound) return value_over_items(l, kind, x);
  Kept k = kept_axes(b, node_axes(l, x.node, b->space));
  const Node *arg = node_spread(l, take(b, &k, x.node), k.space);
  int32_t aux = (int32_t)kind | (kind == REDUCE_LOGSUMEXP ? ORDER_BLOCKS : b->order) << 8;
  Value v = give(b, &k, graph_node(l->graph, OP_REDUCE, type, k.result, b->bound, aux, 1, &arg), x.wide);
  return b->all ? value_over_items(l, kind, v) : v;
}

/* How many positions. */
static Value count(const Body *b) {
  Lower *l = b->l;
  const Node *n = NULL;
  for (unsigned a = b->space->rank - b->bound; a < b->space->rank; a++)
    n = n ? graph_op2(l->graph, OP_MUL, n, b->space->extent[a]) : b->space->extent[a];
  Value v = value_of(n ? n : graph_i64(l->graph, 1));
  return b->all ? value_over_items(l, REDUCE_SUM, v) : v;
}

/* --- sums of products ---------------------------------------------------------------------------------------------------------------------------- */

static bool plain_indices(const Node *map) {
  for (unsigned k = 1; k < map->n_args; k++) if (map->args[k]->op != OP_INDEX) return false;
  return true;
}

/* A factor whose exact 0 leaves its term out of a sum, whatever stands beside it (zero weights, section 5). */
static bool is_weight(const Factor *f) {
  const Node *n = f->node;
  if (f->opaque) return false;
  while (n->op == OP_CAST || (n->op == OP_MAP && plain_indices(n))) n = n->args[0];
  return n->op == OP_EXP || n->op == OP_SEXP || n->op == OP_SOFTMAX || (n->op == OP_SELECT && n->args[2]->op == OP_CONST && n->args[2]->imm == 0 && n->type != TYPE_BOOL);
}

static Value without_zero_weights(Lower *l, const Factors *f, Value x) {
  const Node *zero = graph_const(l->graph, (Type)x.node->type, 0), *out = NULL;
  for (unsigned i = f->n; i-- > 0;) {
    if (!is_weight(&f->at[i])) continue;
    const Node *factor = value_convert(l, value_of(f->at[i].node), (Type)x.node->type).node;
    const Node *is_zero = graph_op2(l->graph, OP_EQ, factor, zero);
    out = out ? graph_op2(l->graph, OP_OR, out, is_zero) : is_zero;
  }
  return out ? value_like(graph_select(l->graph, out, zero, x.node), x, x) : x;
}

/* The scores of a softmax over just the bound indices, or NULL. */
static const Node *scores_of(const Body *b, const Factor *f) {
  const Node *n = f->node, *soft = n->op == OP_MAP ? n->args[0] : n;
  unsigned free = b->space->rank - b->bound;
  if (f->opaque || soft->op != OP_SOFTMAX || soft->imm != b->bound || n->space != b->space) return NULL;
  if (n == soft) return soft->args[0];
  for (unsigned k = 0; k < soft->space->rank; k++) {
    const Node *i = n->args[k + 1];
    bool is_bound = k + b->bound >= soft->space->rank;
    if (i->op != OP_INDEX || i->space != b->space || b->space->extent[i->imm] != soft->space->extent[k]) return NULL;
    if (is_bound ? i->imm != free + (k + b->bound - soft->space->rank) : i->imm >= free) return NULL;
  }
  return node_move(b->l, soft->args[0], b->space, n->args + 1);
}

static Value folded(const Body *b, Op op, unsigned n, const Node **args, int32_t aux, bool wide) {
  unsigned mask = 0;
  for (unsigned i = 0; i < n; i++) mask |= node_axes(b->l, args[i], b->space);
  Kept k = kept_axes(b, mask);
  bool spread = false;
  for (unsigned i = 0; i < n; i++) { args[i] = take(b, &k, args[i]); spread |= args[i]->space->rank != 0; }
  if (!spread || op == OP_ATTEND) args[0] = node_spread(b->l, args[0], k.space);
  return give(b, &k, graph_node(b->l->graph, op, (Type)args[0]->type, k.result, b->bound, aux, n, args), wide);
}

static bool is_contraction(const Body *b, const Factors *f) {
#ifdef OPTC_FAULT_CONTRACT
  return false;
#endif
  unsigned all = 0, free = b->space->rank - b->bound;
  for (unsigned a = free; a < b->space->rank; a++) all |= 1u << a;
  for (unsigned i = 0; i < f->n; i++) all |= node_axes(b->l, f->at[i].node, b->space);
  for (unsigned i = 0; i < f->n; i++) if (node_axes(b->l, f->at[i].node, b->space) == all) return false;
  return f->n >= 2;
}

static Value sum(const Body *b, Value x) {
  Lower *l = b->l;
  Factors *one = arena_alloc(l->arena, sizeof *one + sizeof *one->at);
  *one = (Factors){.n = 1};
  one->at[0] = (Factor){x.node, x.opaque};
  const Factors *f = x.product ? x.product : one;
  bool floats = value_is(&x, KIND_FLOAT), free_order = b->order == ORDER_LANES && !b->all;
  const Node **args = arena_array(l->arena, f->n + 2, sizeof *args), *scores = NULL;
  unsigned soft = 0, n = 0;
  int32_t aux = 0;
  for (unsigned i = 0; i < f->n && floats && free_order && !scores; i++) if ((scores = scores_of(b, &f->at[i])) != NULL) soft = i;
  if (scores) args[n++] = value_convert(l, value_of(scores), (Type)x.node->type).node;
  for (unsigned i = 0; i < f->n && i < 30; i++) {
    if (scores && i == soft) continue;
    aux |= is_weight(&f->at[i]) ? 1 << n : 0;
    args[n++] = value_convert(l, value_of(f->at[i].node), (Type)x.node->type).node;
  }
  if (scores && n == 1) args[n++] = value_convert(l, value_of(graph_i64(l->graph, 1)), (Type)x.node->type).node;
  if (scores) return folded(b, OP_ATTEND, n, args, 0, x.wide);
  if (floats && free_order && f->n < 30 && is_contraction(b, f)) return folded(b, OP_CONTRACT, n, args, aux, x.wide);
  return reduce(b, REDUCE_SUM, f->n > 1 ? without_zero_weights(l, f, x) : x);
}

/* --- the functions ---------------------------------------------------------------------------------------------------------------------------------- */

static Value root(Lower *l, Value x) {
  x = value_real(l, x);
  return value_like(graph_op1(l->graph, OP_SQRT, x.node), x, x);
}

/* A value over the indices around, inside. */
static Value inside(const Body *b, Value v) {
  const Node *index[LOWER_MAX_AXES];
  for (unsigned a = 0; a < b->space->rank; a++) index[a] = index_node(b->l, b->space, a);
  if (v.node->space->rank) v.node = node_move(b->l, v.node, b->space, index);
  return v;
}

static Value finish(const Body *b, const Expr *e, const struct Reduction *r, Value x) {
  Lower *l = b->l;
  Range at = e->op_where;
  Indices *ix = l->scope->ix, here = {.space = b->space};
  x.tensor = false;
  l->scope->ix = &here;
  if (r->after == VARIANCE) {
    Value mean = value_operate(l, OPER_DIV, at, reduce(b, REDUCE_SUM, x), count(b));
    x = value_operate(l, OPER_SUB, at, x, inside(b, mean));
  }
  if (r->after == NORM || r->after == RMS || r->after == VARIANCE) x = value_operate(l, OPER_MUL, at, x, x);
  Value v = r->kind == REDUCE_SUM && r->after == PLAIN ? sum(b, x) : reduce(b, r->kind, x);
  if (r->after == MEAN || r->after == RMS || r->after == VARIANCE) v = value_operate(l, OPER_DIV, at, v, count(b));
  if (r->after == NORM || r->after == RMS) v = root(l, v);
  l->scope->ix = ix;
  return v;
}

/* --- what is reduced ----------------------------------------------------------------------------------------------------------------------------------- */

/* The first index without range in an expression that a reduction without brackets is given. */
static const char *bare_index(Lower *l, const Expr *e) {
  if (!e) return NULL;
  const char *found = NULL;
  for (unsigned k = 0; k < e->subs.n && e->kind == EXPR_INDEX && !found; k++) {
    const Expr *x = e->subs.at[k].expr;
    if (!e->subs.at[k].ellipsis && x->kind == EXPR_NAME && (!name_is_value(l, x->name) || index_find(l->scope->ix, x->name) >= 0)) found = x->name;
  }
  if (e->kind == EXPR_CALL && e->has_subs) return NULL;
  for (unsigned k = 0; k < e->args.n && !found; k++) found = bare_index(l, e->args.at[k]);
  for (unsigned k = 0; k < e->n_links && !found; k++) found = bare_index(l, e->links[k].operand);
  if (!found) found = bare_index(l, e->a);
  return found ? found : bare_index(l, e->b);
}

static bool bind_dots(Lower *l, Indices *inner, const Expr *body, Range where) {
  static const char *const names[LOWER_MAX_AXES] = {"...0", "...1", "...2", "...3", "...4", "...5", "...6", "...7"};
  const Node *extent[LOWER_MAX_AXES];
  bool found;
  unsigned n = ellipsis_extents(l, body, extent, &found);
  if (!found) { lower_error(l, where, "what '...' stands for is not known: no tensor here has it"); return false; }
  for (unsigned k = 0; k < n; k++) if (!index_add(l, inner, names[k], extent[k], where)) return false;
  return true;
}

/* The indices that the bracket binds. */
static bool bind(Lower *l, const Expr *e, Indices *inner) {
  bool good = true;
  for (unsigned k = 0; k < e->subs.n; k++) {
    const Sub *sub = &e->subs.at[k];
    const Expr *limit;
    if (sub->ellipsis) { good &= bind_dots(l, inner, e->args.at[0], sub->where); continue; }
    const char *name = sub_index(l, sub, &limit);
    Range where = limit ? sub->expr->a->where : sub->where;
    if (!name || name_is_value(l, name)) {
      const Binding *b = name ? scope_find(l->scope->names, name) : sub->expr->kind == EXPR_NAME ? scope_find(l->scope->names, sub->expr->name) : NULL;
      if (b) lower_error(l, where, "'%s' is %s %s, not an index", b->symbol->name, symbol_article(l, b->symbol), symbol_word(l, b->symbol));
      else lower_error(l, where, "%s binds new indices: '%s[j]' or '%s[j < n]'", e->name, e->name, e->name);
      good = false;
      continue;
    }
    if (index_find(inner, name) >= 0) { index_add(l, inner, name, NULL, where); good = false; continue; }
    bool poisoned = false;
    const Node *extent = limit ? index_limit(l, limit) : index_range(l, name, e->args.at[0], NULL, (Extent){0}, &poisoned);
    if (!extent && !limit && !poisoned) lower_error(l, where, "the range of index '%s' is not known; write '%s < n' where it is introduced", name, name);
    if (!extent || !index_add(l, inner, name, extent, where)) good = false;
  }
  return good;
}

static bool order_of(Lower *l, const Expr *e, ReduceOrder *order) {
  *order = e->order && !strcmp(e->order, "seq") ? ORDER_SEQ : ORDER_LANES;
  if (!e->order || !strcmp(e->order, "seq") || !strcmp(e->order, "lanes")) return true;
  lower_error(l, e->op_where, "the order of a sum is 'seq' or 'lanes', not '%s'", e->order);
  return false;
}

static bool over_all(const Expr *e) {
  return e->has_subs ? e->subs.n == 1 && !e->subs.at[0].ellipsis && e->subs.at[0].expr->kind == EXPR_NAME && !strcmp(e->subs.at[0].expr->name, "all") : !strcmp(e->name, "total");
}

static bool kinds_good(Lower *l, const Expr *e, const struct Reduction *r, Value *x) {
  Range arg = e->args.at[0]->where;
  bool is_bool = value_is(x, KIND_BOOL);
  if (is_bool ? r->takes == TAKES_NUMBERS : r->takes == TAKES_BOOLS) {
    lower_error(l, arg, is_bool ? "'%s' of a bool; write where(c, 1, 0)" : "'%s' takes a condition, this is a number; compare it", e->name);
    return false;
  }
  graph_at(l->graph, e->where);
  if (is_bool && r->kind == REDUCE_SUM) {                                 /* counts */
    Value one = value_of(graph_i64(l->graph, 1)), zero = value_of(graph_i64(l->graph, 0));
    *x = value_select(l, arg, *x, one, zero);
  }
  if (r->after == LOGSUM) *x = value_real(l, *x);
  return x->node != NULL;
}

static Value over_indices(Lower *l, const Expr *e, const struct Reduction *r) {
  Indices *outer = l->scope->ix, inner;
  Body b = {.l = l, .outer = outer ? outer->space : graph_scalar_space(l->graph), .order = ORDER_LANES};
  if (!order_of(l, e, &b.order)) return (Value){0};
  indices_enter(l, &inner);
  unsigned before = inner.n;
  if (!bind(l, e, &inner)) return (Value){0};
  indices_close(l, &inner);
  b.space = inner.space;
  b.bound = inner.n - before;
  Value x = lower_expr(l, e->args.at[0]), made = {0};
  if (x.node && x.tensor) value_align(l, NULL, e->args.at[0]->where, &x, 1);
  else if (x.node && kinds_good(l, e, r, &x)) made = finish(&b, e, r, x);
  l->scope->ix = outer;
  return made;
}

static Value over_whole(Lower *l, const Expr *e, const struct Reduction *r, bool all) {
  Indices *outer = l->scope->ix;
  const char *bare = bare_index(l, e->args.at[0]);
  if (bare) { lower_error(l, e->op_where, "over which index? write %s[%s](...)", e->name, bare); return (Value){0}; }
  l->scope->ix = NULL;
  Value x = lower_expr(l, e->args.at[0]);
  l->scope->ix = outer;
  if (!x.node) return x;
  if (!x.tensor && !all) {
    lower_error(l, e->args.at[0]->where, "'%s' is taken of a tensor, this is one number", e->name);
    return (Value){0};
  }
  l->scope->ix = NULL;
  Body b = {.l = l, .space = x.tensor ? value_space(l, &x) : graph_scalar_space(l->graph), .outer = graph_scalar_space(l->graph), .all = all, .order = ORDER_LANES};
  b.bound = b.space->rank;
  Value made = kinds_good(l, e, r, &x) ? finish(&b, e, r, x) : (Value){0};
  l->scope->ix = outer;
  return made;
}

Value lower_reduction(Lower *l, const Expr *e) {
  const struct Reduction *r = find(e->name);
  bool all = over_all(e);
  if (e->args.n != 1) {
    lower_error(l, e->op_where, "%s takes 1 argument, %u are given%s", e->name, e->args.n, e->args.n == 2 && !e->has_subs ? "; an axis is named by its index: sum[j](x[i, j])" : "");
    return (Value){0};
  }
  if (all && !r->over_all) { lower_error(l, e->op_where, "'%s' does not run over all items; sum, mean, max, min, norm, any and every do", e->name); return (Value){0}; }
  if (all && l->scope->scans) { lower_error(l, e->op_where, "[all] stands outside of scans"); return (Value){0}; }
  return e->has_subs && !all ? over_indices(l, e, r) : over_whole(l, e, r, all);
}

bool is_reduction(const Expr *e) {
  bool both = !strcmp(e->name, "max") || !strcmp(e->name, "min");         /* also functions of two values */
  return find(e->name) && (!both || e->has_subs || e->args.n == 1);
}
