/* lower_random.c: uniform, normal, philox: random numbers counted by element, stream, item and step (language, sections 3 and 5). */
#include "frontend/expressions.h"

/* Row-major over some indices. */
static const Node *number_of(Lower *l, const Space *s, unsigned n, const unsigned *axis) {
  const Node *at = NULL;
  for (unsigned k = 0; k < n; k++) {
    const Node *i = index_node(l, s, axis[k]);
    at = at ? graph_op2(l->graph, OP_ADD, graph_op2(l->graph, OP_MUL, at, s->extent[axis[k]]), i) : i;
  }
  return at ? at : graph_i64(l->graph, 0);
}

static bool numbered_by(Lower *l, const Expr *e, unsigned *axis, unsigned *n) {
  for (unsigned k = 0; k < e->subs.n; k++) {
    const Expr *x = e->subs.at[k].ellipsis ? NULL : e->subs.at[k].expr;
    int at = x && x->kind == EXPR_NAME ? index_find(l->scope->ix, x->name) : -1;
    if (at < 0 || *n == LOWER_MAX_AXES) { lower_error(l, e->subs.at[k].where, "%s is numbered by indices in scope; '%s' is not one", e->name, lower_text(l, e->subs.at[k].where)); return false; }
    axis[(*n)++] = (unsigned)at;
  }
  return true;
}

static const Node *word(Lower *l, const Node *element, int64_t stream, unsigned which) {
  Graph *g = l->graph;
  const Node *low = graph_i64(g, 0xffffffff), *seed = graph_node(g, OP_SEED, TYPE_I64, graph_scalar_space(g), 0, 0, 0, NULL);
  const Node *high = graph_op2(g, OP_AND, graph_op2(g, OP_SHR, element, graph_i64(g, 32)), graph_i64(g, 0xffff));
  const Node *step = l->context->has_step && !l->scope->first ? graph_node(g, OP_STEP, TYPE_I64, graph_scalar_space(g), 0, 0, 0, NULL) : graph_i64(g, 0);
  const Node *args[6] = {
    graph_op2(g, OP_AND, element, low), graph_op2(g, OP_OR, high, graph_i64(g, stream << 16)), graph_node(g, OP_ITEM, TYPE_I64, graph_scalar_space(g), 0, 0, 0, NULL),
    step, graph_op2(g, OP_AND, seed, low), graph_op2(g, OP_AND, graph_op2(g, OP_SHR, seed, graph_i64(g, 32)), low)};
  return graph_node(g, OP_PHILOX, TYPE_I64, element->space, which, 0, 6, args);
}

/* (word >> 8 | 1)*2^-24 */
static const Node *uniform(Lower *l, const Node *element, int64_t stream, unsigned which, Type type) {
  Graph *g = l->graph;
  const Node *bits = graph_op2(g, OP_OR, graph_op2(g, OP_SHR, word(l, element, stream, which), graph_i64(g, 8)), graph_i64(g, 1));
  return graph_op2(g, OP_MUL, graph_cast(g, type, bits), graph_const(g, type, bits_from_f64(0x1p-24, type)));
}

const Node *random_bits(Lower *l, const Node *element, int64_t stream) { return word(l, element, stream, 0); }

Value lower_random(Lower *l, const Expr *e) {
  unsigned axis[LOWER_MAX_AXES], n = 0;
  Bits stream = 0;
  if (e->args.n != 1) { lower_error(l, e->op_where, "%s takes 1 argument, the stream, %u are given", e->name, e->args.n); return (Value){0}; }
  Value k = lower_expr(l, e->args.at[0]);
  if (!k.node) return k;
  if (!value_is(&k, KIND_INT) || !node_constant(l->graph, k.node, &stream) || stream > 65535) {
    lower_error(l, e->args.at[0]->where, "the stream of %s is a constant integer from 0 to 65535", e->name);
    return (Value){0};
  }
  if (e->has_subs && !numbered_by(l, e, axis, &n)) return (Value){0};
  const Space *s = l->scope->ix ? l->scope->ix->space : l->scope->statement ? l->scope->statement : graph_scalar_space(l->graph);
  if (!e->has_subs) {
    unsigned first = l->scope->ix ? l->scope->ix->first : 0;
    n = (l->scope->ix ? l->scope->ix->statement : s->rank) - first;
    for (unsigned i = 0; i < n; i++) axis[i] = first + i;
  }
  graph_at(l->graph, e->where);
  Type type = l->context->options->compute_f64 ? TYPE_F64 : TYPE_F32;
  const Node *element = number_of(l, s, n, axis), *u = uniform(l, element, (int64_t)stream, 0, type);
  if (*e->name == 'n') {                                                  /* Box-Muller */
    Graph *g = l->graph;
    const Node *two_pi = graph_const(g, type, bits_from_f64(6.283185307179586476925, type)), *v = uniform(l, element, (int64_t)stream, 1, type);
    const Node *radius = graph_op1(g, OP_SQRT, graph_op2(g, OP_MUL, graph_const(g, type, bits_from_f64(-2, type)), graph_op1(g, OP_LOG, u)));
    u = graph_op2(g, OP_MUL, radius, graph_op1(g, OP_COS, graph_op2(g, OP_MUL, two_pi, v)));
  }
  Value made = {.node = u, .tensor = !l->scope->ix && s->rank, .space = s};
  made.wide = type == TYPE_F64 && u->space->rank;
  return u->space->rank ? made : value_convert(l, made, TYPE_F64);
}

/* philox(w, c0, c1, c2, c3, k0, k1) */
Value lower_philox(Lower *l, const Expr *e) {
  Value v[7];
  const Node *args[6];
  Bits which;
  if (e->args.n != 7 || e->has_subs) { lower_error(l, e->op_where, "philox takes 7 arguments (word, 4 counters, 2 keys), %u are given", e->args.n); return (Value){0}; }
  for (unsigned k = 0; k < 7; k++) v[k] = lower_expr(l, e->args.at[k]);
  if (!value_align(l, NULL, e->op_where, v, 7)) return (Value){0};
  for (unsigned k = 0; k < 7; k++)
    if (!value_is(&v[k], KIND_INT)) { lower_error(l, e->args.at[k]->where, "philox takes integers, this is not one"); return (Value){0}; }
  if (!node_constant(l->graph, v[0].node, &which) || which > 3) { lower_error(l, e->args.at[0]->where, "the word of philox is a constant from 0 to 3"); return (Value){0}; }
  Value made = {0};
  const Space *space = graph_scalar_space(l->graph);
  for (unsigned k = 0; k < 6; k++) {
    args[k] = v[k + 1].node;
    if (args[k]->space->rank) space = args[k]->space;
    if (v[k + 1].tensor) { made.tensor = true; made.space = v[k + 1].space; }
  }
  made.node = graph_node(l->graph, OP_PHILOX, TYPE_I64, space, (int64_t)which, 0, 6, args);
  return made;
}
