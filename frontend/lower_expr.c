/* lower_expr.c: expressions become nodes, in the order they are written. */
#include <math.h>
#include <string.h>
#include "frontend/expressions.h"

static Value constant_word(Lower *l, const Expr *e) {
  static const struct { const char *name; double value; } reals[] = {{"inf", HUGE_VAL}, {"nan", NAN}, {"pi", 3.14159265358979323846}};
  for (size_t i = 0; i < sizeof reals/sizeof *reals; i++) if (!strcmp(e->name, reals[i].name)) return value_of(graph_f64(l->graph, reals[i].value));
  return value_of(graph_bool(l->graph, !strcmp(e->name, "true")));
}

/* The factors of a chain of `*`. A factor that changed its type to meet the other is one whole value. */
static const Factors *product_of(Lower *l, const Factors *chain, Value a, Value b, const Node *made) {
  if (!made || made->op != OP_MUL) return NULL;
  bool continues = chain && made->args[0] == a.node;
  unsigned n = continues ? chain->n : 1;
  Factors *f = arena_alloc(l->arena, sizeof *f + (n + 1)*sizeof *f->at);
  f->n = n + 1;
  if (continues) memcpy(f->at, chain->at, n*sizeof *f->at);
  else f->at[0] = (Factor){made->args[0], a.opaque};
  f->at[n] = (Factor){made->args[1], b.opaque};
  return f;
}

/* Left operands nest as deeply as a sum is long: they are taken from a list, not by recursion. */
static Value binary(Lower *l, const Expr *e) {
  unsigned n = 0, at;
  for (const Expr *x = e; x->kind == EXPR_BINARY; x = x->a) n++;
  const Expr **spine = arena_array(l->arena, n, sizeof *spine);
  at = n;
  const Expr *first = e;
  for (; first->kind == EXPR_BINARY; first = first->a) spine[--at] = first;
  Value v = lower_expr(l, first);
  for (at = 0; at < n; at++) {
    Value b = lower_expr(l, spine[at]->b);
    graph_at(l->graph, spine[at]->where);
    Value left = v;
    v = spine[at]->op == OPER_MATMUL ? lower_matmul(l, spine[at]->op_where, v, b) : value_operate(l, spine[at]->op, spine[at]->op_where, v, b);
    if (spine[at]->op == OPER_MUL) v.product = product_of(l, at && !spine[at - 1]->parenthesised && spine[at - 1]->op == OPER_MUL ? left.product : NULL, left, b, v.node);
  }
  return v;
}

static Value chain(Lower *l, const Expr *e) {
  Value a = lower_expr(l, e->a), all = {0};
  bool good = true;
  for (unsigned i = 0; i < e->n_links; i++) {
    Value b = lower_expr(l, e->links[i].operand);
    graph_at(l->graph, e->where);
    Value one = value_operate(l, e->links[i].op, e->links[i].where, a, b);
    if (!one.node) good = false;
    else all = all.node ? value_operate(l, OPER_AND, e->links[i].where, all, one) : one;
    a = b;
  }
  return good ? all : (Value){0};
}

static Value unary(Lower *l, const Expr *e) {
  Value v = lower_expr(l, e->a);
  graph_at(l->graph, e->where);
  if (e->op == OPER_NEG) return value_negate(l, e->op_where, v);
  if (!v.node) return v;
  if (!value_is(&v, KIND_BOOL)) {
    lower_error(l, e->op_where, "'not' takes a condition, this is a number; compare it");
    return (Value){0};
  }
  if (!value_align(l, NULL, e->op_where, &v, 1)) return (Value){0};
  return value_like(graph_op1(l->graph, OP_NOT, v.node), v, v);
}

static Value single(Lower *l, const Expr *e) {
  switch (e->kind) {
    case EXPR_INT: return (Value){.node = graph_i64(l->graph, e->value), .literal = true};
    case EXPR_REAL: return value_of(graph_f64(l->graph, e->number));
    case EXPR_WORD: return constant_word(l, e);
    case EXPR_NAME: return name_value(l, e->name, e->where, false);
    case EXPR_UNARY: return unary(l, e);
    case EXPR_BINARY: return binary(l, e);
    case EXPR_CHAIN: return chain(l, e);
    case EXPR_CONVERT: return value_type_call(l, e, lower_expr(l, e->a));
    case EXPR_CALL: return lower_call(l, e);
    case EXPR_IS: return lower_is(l, e);
    case EXPR_TRANSPOSE: return lower_transpose(l, e->op_where, lower_expr(l, e->a));
    case EXPR_INDEX: return lower_element(l, e);
  }
  return (Value){0};
}

Value lower_argument(Lower *l, const Expr *e) {
  if (!e || l->context->exhausted) return (Value){0};
  if (++l->context->steps > LOWER_MAX_STEPS || l->context->depth >= LOWER_MAX_DEPTH) {
    lower_error(l, e->where, l->context->depth >= LOWER_MAX_DEPTH ? "this nests too deeply" : "this needs too many steps to compile: fns that call fns grow fast");
    l->context->exhausted = true;
    return (Value){0};
  }
  l->context->depth++;
  graph_at(l->graph, e->where);
  Value v = single(l, e);
  l->context->depth--;
  return v;
}

Value lower_expr(Lower *l, const Expr *e) {
  Value v = lower_argument(l, e);
  if (!v.fn && !v.builtin) return v;
  lower_error(l, e->where, "'%s' is a function; call it", lower_text(l, e->where));
  return (Value){0};
}

Value lower_condition(Lower *l, const Expr *e, const char *who) {
  Value v = lower_expr(l, e);
  if (!v.node) return v;
  if (!value_is(&v, KIND_BOOL)) lower_error(l, e->where, "'%s' needs a condition, this is a number; compare it", who);
  else if (v.tensor || v.node->space->rank) lower_error(l, e->where, "'%s' needs one scalar, this has %s; use where", who, shape_of_value(l, &v));
  else return v;
  return (Value){0};
}
