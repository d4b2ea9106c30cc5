/* expand.c: pass `expand`: functions become primitive element operations. Here the formulas and the table; f64 and f32 elementary
 * functions in expand_f64.c and expand_f32.c.
 *
 * Needs nothing; afterwards the graph has no function node and no philox, and operations that hold an exponential or a logarithm find it in the graph. Exact by definition: the expansion is the meaning, and the
 * interpreters run it too. Required: lowering knows element operations only. */
#include "ir/graph_analysis.h"
#include "passes/expand.h"
#include "passes/passes.h"

/* --- max, min and what is made of them ------------------------------------------------------------------------------------------ */

static bool is_float(Value a) { return type_kind((Type)a->type) == KIND_FLOAT; }
static bool is_zero(Value a, bool negative) {
  return a->op == OP_CONST && a->imm == (int64_t)(negative ? a->type == TYPE_F64 ? UINT64_C(1) << 63 : UINT64_C(1) << 31 : 0);
}
static bool is_number(Value a) {                           /* a constant, not NaN */
  double x = a->op == OP_CONST ? bits_to_f64((Bits)a->imm, (Type)a->type) : __builtin_nan("");
  return x == x;
}

/* max(a, c) for a constant c: one comparison. NaN compares false and stays; where a == c either has the bits of the result,
 * except c = +0, which must win over -0. */
static Value max_constant(Graph *g, Value a, Value c) { return SELECT(is_zero(c, false) ? LE(a, c) : LT(a, c), c, a); }
static Value min_constant(Graph *g, Value a, Value c) { return SELECT(is_zero(c, true) ? LE(c, a) : LT(c, a), c, a); }

/* Where a == b the bits differ in the sign of zero at most: `and` gives +0, `or` gives -0. Unordered: a + b is NaN. */
static Value max_of(Graph *g, Value a, Value b) {
  if (!is_float(a)) return SELECT(LT(a, b), b, a);
  if (is_number(b)) return max_constant(g, a, b);
  if (is_number(a)) return max_constant(g, b, a);
  Value equal = FLOAT(AND(BITS(a), BITS(b)));
  return SELECT(LT(b, a), a, SELECT(LT(a, b), b, SELECT(EQ(a, b), equal, ADD(a, b))));
}

static Value min_of(Graph *g, Value a, Value b) {
  if (!is_float(a)) return SELECT(LT(b, a), b, a);
  if (is_number(b)) return min_constant(g, a, b);
  if (is_number(a)) return min_constant(g, b, a);
  Value equal = FLOAT(OR(BITS(a), BITS(b)));
  return SELECT(LT(a, b), a, SELECT(LT(b, a), b, SELECT(EQ(a, b), equal, ADD(a, b))));
}

static Value zero_like(Graph *g, Value a) { return graph_const(g, (Type)a->type, 0); }
static Value number_like(Graph *g, Value a, int x) {
  return graph_const(g, (Type)a->type, is_float(a) ? bits_from_f64(x, (Type)a->type) : (Bits)(int64_t)x);
}

/* x itself for 0, -0 and NaN. */
static Value sign(Graph *g, Value x) {
  Value zero = zero_like(g, x);
  return SELECT(LT(zero, x), number_like(g, x, 1), SELECT(LT(x, zero), number_like(g, x, -1), x));
}

/* --- integer powers --------------------------------------------------------------------------------------------------------------- */

static Value reciprocal(Graph *g, Value x) {
  return is_float(x) ? DIV(number_like(g, x, 1), x) : graph_op2(g, OP_IDIV, number_like(g, x, 1), x);
}

/* Binary powering from the top bit of a literal exponent: square, and multiply where the bit is set. */
static Value power_literal(Graph *g, Value x, int64_t n) {
  uint64_t m = n < 0 ? -(uint64_t)n : (uint64_t)n;
  if (!m) return number_like(g, x, 1);
  Value y = x;
  for (int bit = 62 - __builtin_clzll(m); bit >= 0; bit--) {
    y = MUL(y, y);
    if (m >> bit & 1) y = MUL(y, x);
  }
  return n < 0 ? reciprocal(g, y) : y;
}

/* The depth a new scan has beside these arguments: one more than the deepest region whose carried values they use. */
static int scan_depth(Graph *g, unsigned n, const Value *args) {
  const uint64_t *carries = graph_carries(g, g->arena);
  int depth = 0;
  for (unsigned i = 0; i < n; i++) if (carries_depth(carries[args[i]->id]) >= depth) depth = carries_depth(carries[args[i]->id]) + 1;
  return depth;
}

/* One step from y at bit `place` of m: y*y, times x where the bit is set. Leading zeros keep y = 1. */
static Value power_step(Graph *g, Value y, Value x, Value m, Value place) {
  y = MUL(y, y);
  return SELECT(NE(AND(USHR(m, place), I(1)), I(0)), MUL(y, x), y);
}

/* Exponent known at run time: the same products as the literal form. A scalar is a scan over the bits (their number from the f64
 * exponent of m; rounding up may add one leading zero, which changes nothing); a tensor takes all 64. */
static Value power_variable(Graph *g, Value x, Value n) {
  Value m = SELECT(LT(n, I(0)), NEG(n), n), one = number_like(g, x, 1), y;
  if (x->space->rank || n->space->rank) {
    y = one;
    for (int bit = 63; bit >= 0; bit--) y = power_step(g, y, x, m, I(bit));
  } else {
    Value exponent = AND(USHR(BITS(ABS(TO(TYPE_F64, m))), I(52)), I(2047));
    Value trips = SELECT(EQ(m, I(0)), I(0), SUB(exponent, I(1022)));
    int depth = scan_depth(g, 2, (Value[]){x, n});
    unsigned level = x->level > n->level ? x->level : n->level;
    int32_t aux = depth | (int32_t)level << 8;
    const Space *scalar = graph_scalar_space(g);
    Value trip = graph_node(g, OP_CARRY, TYPE_I64, scalar, -1, aux, 0, NULL);
    Value now = graph_node(g, OP_CARRY, (Type)x->type, scalar, 0, aux, 0, NULL);
    Value next = power_step(g, now, x, m, SUB(SUB(trips, I(1)), trip));
    Value scan = graph_region_node(g, OP_SCAN, TYPE_BOOL, scalar, depth, 0, 2, (Value[]){trips, one}, &(Region){1, &next});
    y = graph_node(g, OP_RESULT, (Type)x->type, scalar, 0, 0, 1, &scan);
  }
  return SELECT(LT(n, I(0)), reciprocal(g, y), y);
}

static Value power(Graph *g, Value x, Value n) {
  return n->op == OP_CONST ? power_literal(g, x, n->imm) : power_variable(g, x, n);
}

/* --- the table ----------------------------------------------------------------------------------------------------------------------- */

static Value call(Graph *g, Op op, Value x) { return expand_function(g, op, (Type)x->type, 1, &x); }

/* max(a, b) + log1p(exp(-abs(d))) */
static Value soft_max(Graph *g, Value greater, Value d) { return ADD(greater, call(g, OP_LOG1P, call(g, OP_EXP, NEG(ABS(d))))); }

static Value gelu(Graph *g, Value x) {
  Type type = (Type)x->type;
  return MUL(x, MUL(REAL(0.5), ADD(REAL(1), call(g, OP_ERF, MUL(x, REAL(0.7071067811865476))))));
}

static Value logaddexp(Graph *g, Value a, Value b) {
  Type type = (Type)a->type;
  Value m = max_of(g, a, b);
  return SELECT(EQ(ABS(m), REAL(__builtin_inf())), m, soft_max(g, m, SUB(a, b)));
}

typedef Value (*Expand1)(Graph *, Value);
static const struct { Expand1 f32, f64; } elementary[OP_COUNT] = {
  [OP_EXP] = {expand_f32_exp, expand_f64_exp}, [OP_EXP2] = {expand_f32_exp2, expand_f64_exp2},
  [OP_EXPM1] = {expand_f32_expm1, expand_f64_expm1}, [OP_LOG] = {expand_f32_log, expand_f64_log},
  [OP_LOG2] = {expand_f32_log2, expand_f64_log2}, [OP_LOG1P] = {expand_f32_log1p, expand_f64_log1p},
  [OP_TANH] = {expand_f32_tanh, expand_f64_tanh}, [OP_SIGMOID] = {expand_f32_sigmoid, expand_f64_sigmoid},
  [OP_ERF] = {expand_f32_erf, expand_f64_erf}, [OP_RSQRT] = {expand_f32_rsqrt, expand_f64_rsqrt},
  [OP_SIN] = {expand_f32_sin, expand_f64_sin}, [OP_COS] = {expand_f32_cos, expand_f64_cos}, [OP_COSH] = {expand_f32_cosh, expand_f64_cosh},
  [OP_SEXP] = {expand_sexp, NULL}, [OP_FAST_EXP] = {expand_fast_exp, NULL}, [OP_FAST_LOG] = {expand_fast_log, NULL},
  [OP_FAST_TANH] = {expand_fast_tanh, NULL},
};

const Node *expand_function(Graph *g, Op op, Type result, unsigned n_args, const Node *const *args) {
  Value x = args[0], y = n_args > 1 ? args[1] : NULL;
  Type type = (Type)x->type;
  (void)result;
  if (elementary[op].f32) return (type == TYPE_F64 ? elementary[op].f64 : elementary[op].f32)(g, x);
  switch ((int)op) {
    case OP_MAX: return max_of(g, x, y);
    case OP_MIN: return min_of(g, x, y);
    case OP_SIGN: return sign(g, x);
    case OP_ISNAN: return NE(x, x);
    case OP_FINITE: return LT(ABS(x), REAL(__builtin_inf()));
    case OP_CLAMP: return min_of(g, max_of(g, x, y), args[2]);
    case OP_RELU: return max_of(g, x, zero_like(g, x));
    case OP_STOP: return x;
    case OP_POWI: return power(g, x, y);
    case OP_POW: return type == TYPE_F64 ? expand_f64_pow(g, x, y) : expand_f32_pow(g, x, y);
    case OP_SILU: return MUL(x, call(g, OP_SIGMOID, x));
    case OP_GELU: return gelu(g, x);
    case OP_SOFTPLUS: return soft_max(g, max_of(g, x, zero_like(g, x)), x);
    case OP_LOGADDEXP: return logaddexp(g, x, y);
    default: return graph_element(g, op, result, n_args, args);            /* an element operation stands for itself */
  }
}

/* --- random numbers, exponentials inside operations --------------------------------------------------------------------------------------- */

/* Philox 4x32 with 10 rounds. Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011). Words are i64 of which the low 32 bits count. */
static Value philox(Graph *g, const Node *const *args, unsigned word) {
  Value c[4], k[2], low = I(0xffffffff);
  for (int i = 0; i < 6; i++) *(i < 4 ? &c[i] : &k[i - 4]) = AND(args[i], low);
  for (int round = 0; round < 10; round++) {
    Value a = MUL(c[0], I(0xD2511F53)), b = MUL(c[2], I(0xCD9E8D57));
    c[0] = XOR(XOR(USHR(b, I(32)), c[1]), k[0]);
    c[2] = XOR(XOR(USHR(a, I(32)), c[3]), k[1]);
    c[1] = AND(b, low);
    c[3] = AND(a, low);
    k[0] = AND(ADD(k[0], I(0x9E3779B9)), low);
    k[1] = AND(ADD(k[1], I(0xBB67AE85)), low);
  }
  return c[word & 3];
}

/* A function of one number by itself, in the module's arena. */
static const Formula *formula_of(Module *m, Op op, Type type) {
  Graph *g = graph_new(m, op_name(op));
  Formula *f = arena_alloc(m->arena, sizeof *f);
  f->graph = g;
  f->argument = graph_node(g, OP_CARRY, type, graph_scalar_space(g), 0, LEVEL_ELEMENT << 8, 0, NULL);
  f->result = call(g, op, f->argument);
  return f;
}

static void add_formulas(Graph *g) {
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    bool wide = n->type == TYPE_F64, logarithm = n->op == OP_REDUCE && (n->aux & 255) == REDUCE_LOGSUMEXP;
    if (n->op != OP_ATTEND && n->op != OP_SOFTMAX && !logarithm) continue;
    if (!g->exponential[wide]) g->exponential[wide] = formula_of(g->module, wide ? OP_EXP : OP_SEXP, (Type)n->type);
    if (logarithm && !g->logarithm[wide]) g->logarithm[wide] = formula_of(g->module, OP_LOG, (Type)n->type);
  }
}

static const Node *expand_node(Graph *to, const Node *n, void *context) {
  if (n->op == OP_PHILOX) {
    Value word = philox(to, n->args, (unsigned)n->imm);
    return word->space == n->space ? word : graph_node(to, OP_MAP, TYPE_I64, n->space, 0, 0, 1, &word);
  }
  if (!op_is_function((Op)n->op)) return n;
  return expand_function(to, (Op)n->op, (Type)n->type, n->n_args, n->args);
}

/* The second rewrite leaves the function nodes behind, which nothing uses any more. */
Graph *expand_graph(const Graph *from) {
  Graph *g = graph_rewrite(graph_rewrite(from, expand_node, NULL), NULL, NULL);
  add_formulas(g);
  return g;
}

/* Extents of operands too: in place, once. */
void expand_shapes(Module *m) {
  if (!m->shapes) return;
  Graph *from = m->shapes, *to = graph_new(m, from->name);
  const Node **now = arena_array(m->arena, from->n_nodes, sizeof *now);
  for (unsigned i = 0; i < from->n_nodes; i++) {
    const Node *n = from->nodes[i];
    const Node *args[8];
    for (unsigned k = 0; k < n->n_args && k < 8; k++) args[k] = now[n->args[k]->id];
    now[i] = expand_node(to, graph_node(to, (Op)n->op, (Type)n->type, graph_scalar_space(to), n->imm, n->aux, n->n_args, args), NULL);
  }
  for (unsigned k = 0; k < m->n_operands; k++) {
    Operand *o = &m->operands[k];
    if (!o->shape) continue;
    const Node *extent[64];
    unsigned rank = o->shape->rank < 64 ? o->shape->rank : 64;
    for (unsigned a = 0; a < rank; a++) extent[a] = now[o->shape->extent[a]->id];
    o->shape = graph_space(to, rank, extent);
  }
  m->shapes = to;
}

void pass_expand(Unit *unit, const PassArgs *args) { unit->graph = expand_graph(unit->graph); }
