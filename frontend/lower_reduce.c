/* lower_reduce.c: reductions of a whole tensor, and over all items of the call: norm(p), sum[all](g^2).
 *
 * Sums are `lanes` of the item in row-major order; a scalar result of f32 data continues in f64, so that divisions and roots
 * after it are f64 (language, sections 3 to 5). */
#include <string.h>
#include "frontend/lower.h"

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

/* A tensor's node over the item space, also where a scalar fills it. */
static const Node *spread(Lower *l, const Node *node) {
  return node->space->rank ? node : graph_node(l->graph, OP_MAP, (Type)node->type, item_space(l), 0, 0, 1, &node);
}

/* One number: of the item, or of the call. */
static Value reduce(Lower *l, ReduceKind kind, bool all, Value x) {
  Type type = (Type)x.node->type;
  if (kind == REDUCE_ARGMAX || kind == REDUCE_ARGMIN) type = TYPE_I64;
  if (all && type_kind(type) == KIND_FLOAT) type = TYPE_F64;
  const Node *arg = spread(l, x.node);
  int32_t aux = (int32_t)kind | (kind == REDUCE_LOGSUMEXP ? ORDER_BLOCKS : ORDER_LANES) << 8;
  const Node *node = graph_node(l->graph, all ? OP_TOTAL : OP_REDUCE, type, graph_scalar_space(l->graph), all ? 0 : 1, aux, 1, &arg);
  return type == TYPE_F32 ? value_convert(l, value_of(node), TYPE_F64) : value_of(node);
}

/* How many elements: of the item, or of all items. */
static Value count(Lower *l, bool all) {
  if (all) return reduce(l, REDUCE_SUM, true, value_of(graph_i64(l->graph, 1)));
  return value_of(graph_node(l->graph, OP_SIZE, TYPE_I64, graph_scalar_space(l->graph), l->param, -1, 0, NULL));
}

/* A factor whose exact 0 leaves its term out of a sum, whatever stands beside it (zero weights, section 5). */
static bool is_weight(const Node *n) {
  while (n->op == OP_CAST) n = n->args[0];
  return n->op == OP_EXP || n->op == OP_SEXP || (n->op == OP_SELECT && n->args[2]->op == OP_CONST && n->args[2]->imm == 0 && n->type != TYPE_BOOL);
}

static Value without_zero_weights(Lower *l, Value x) {
  if (x.node->op != OP_MUL) return x;
  const Node *zero = graph_const(l->graph, (Type)x.node->type, 0), *out = NULL;
  for (const Node *n = x.node, *next; n; n = next) {
    bool product = n->op == OP_MUL;
    const Node *factor = product ? n->args[1] : n;
    next = product ? n->args[0] : NULL;
    if (!is_weight(factor)) continue;
    const Node *is_zero = graph_op2(l->graph, OP_EQ, factor, zero);
    out = out ? graph_op2(l->graph, OP_OR, out, is_zero) : is_zero;
  }
  return out ? value_like(graph_select(l->graph, out, zero, x.node), x, x) : x;
}

static Value root(Lower *l, Value x) { return value_of(graph_op1(l->graph, OP_SQRT, value_real(l, x).node)); }

static Value finish(Lower *l, const Expr *e, const struct Reduction *r, bool all, Value x) {
  Range at = e->op_where;
  if (r->after == VARIANCE) {
    Value mean = value_operate(l, OPER_DIV, at, reduce(l, REDUCE_SUM, all, x), count(l, all));
    x = value_operate(l, OPER_SUB, at, x, mean);
  }
  if (r->after == NORM || r->after == RMS || r->after == VARIANCE) x = value_operate(l, OPER_MUL, at, x, x);
  if (r->kind == REDUCE_SUM && (r->after == PLAIN || r->after == MEAN)) x = without_zero_weights(l, x);
  Value v = reduce(l, r->kind, all, x);
  if (r->after == MEAN || r->after == RMS || r->after == VARIANCE) v = value_operate(l, OPER_DIV, at, v, count(l, all));
  return r->after == NORM || r->after == RMS ? root(l, v) : v;
}

Value lower_reduction(Lower *l, const Expr *e) {
  const struct Reduction *r = find(e->name);
  bool all = !strcmp(e->name, "total");
  if (e->has_subs) {
    all = e->subs.n == 1 && !e->subs.at[0].ellipsis && e->subs.at[0].expr->kind == EXPR_NAME && !strcmp(e->subs.at[0].expr->name, "all");
    if (!all || e->order) return lower_unsupported(l, e->op_where, e->name);
  }
  if (e->args.n != 1) {
    lower_error(l, e->op_where, "%s takes 1 argument, %u are given", e->name, e->args.n);
    return (Value){0};
  }
  Value x = lower_expr(l, e->args.at[0]);
  if (!x.node) return (Value){0};
  Range arg = e->args.at[0]->where;
  if (all && (!r->over_all || (l->guard && l->guard->level > LEVEL_GLOBAL)))
    return lower_unsupported(l, e->op_where, r->over_all ? "[all] under a condition that differs from item to item" : arena_printf(l->arena, "%s[all]", e->name));
  if (!x.tensor) {
    lower_error(l, arg, "'%s' is taken of a tensor, this is one number", e->name);
    return (Value){0};
  }
  bool is_bool = value_is(&x, KIND_BOOL);
  if (is_bool ? r->takes == TAKES_NUMBERS : r->takes == TAKES_BOOLS) {
    lower_error(l, arg, is_bool ? "'%s' of a bool; write where(c, 1, 0)" : "'%s' takes a condition, this is a number; compare it", e->name);
    return (Value){0};
  }
  graph_at(l->graph, e->where);
  if (is_bool && r->kind == REDUCE_SUM) {                                 /* counts */
    Value one = value_of(graph_i64(l->graph, 1)), zero = value_of(graph_i64(l->graph, 0));
    x = value_select(l, arg, x, one, zero);
  }
  if (r->after == LOGSUM) x = value_real(l, x);
  return finish(l, e, r, all, x);
}

bool is_reduction(const Expr *e) {
  bool both = !strcmp(e->name, "max") || !strcmp(e->name, "min");         /* also functions of two values */
  return find(e->name) && (!both || e->has_subs || e->args.n == 1);
}
