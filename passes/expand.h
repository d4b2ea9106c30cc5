/* expand.h: private to passes/expand*.c: the words in which the expansions are written, so that they read like the maths.
 *
 * Every word makes a node in the graph `g` in scope. Operators round once in the type of their operands; nothing here fuses. */
#ifndef OPTC_PASSES_EXPAND_H
#define OPTC_PASSES_EXPAND_H
#include "ir/graph.h"

typedef const Node *Value;

#define ADD(a, b) graph_op2(g, OP_ADD, a, b)
#define SUB(a, b) graph_op2(g, OP_SUB, a, b)
#define MUL(a, b) graph_op2(g, OP_MUL, a, b)
#define DIV(a, b) graph_op2(g, OP_DIV, a, b)
#define NEG(a) graph_op1(g, OP_NEG, a)
#define ABS(a) graph_op1(g, OP_ABS, a)
#define SQRT(a) graph_op1(g, OP_SQRT, a)
#define RINT(a) graph_op1(g, OP_RINT, a)
#define FMA(a, b, c) graph_element(g, OP_FMA, TYPE_F32, 3, (Value[]){a, b, c})        /* f32 */
#define LT(a, b) graph_op2(g, OP_LT, a, b)
#define LE(a, b) graph_op2(g, OP_LE, a, b)
#define GT(a, b) graph_op2(g, OP_GT, a, b)
#define EQ(a, b) graph_op2(g, OP_EQ, a, b)
#define NE(a, b) graph_op2(g, OP_NE, a, b)
#define AND(a, b) graph_op2(g, OP_AND, a, b)
#define OR(a, b) graph_op2(g, OP_OR, a, b)
#define XOR(a, b) graph_op2(g, OP_XOR, a, b)
#define NOT(a) graph_op1(g, OP_NOT, a)
#define SHL(a, b) graph_op2(g, OP_SHL, a, b)
#define SHR(a, b) graph_op2(g, OP_SHR, a, b)
#define USHR(a, b) graph_op2(g, OP_USHR, a, b)
#define SELECT(c, a, b) graph_select(g, c, a, b)
#define TO(type, a) graph_cast(g, type, a)
#define D(x) graph_f64(g, x)                       /* constants */
#define S(x) graph_f32(g, x)
#define I(x) graph_i64(g, x)
#define REAL(x) expand_real(g, (Type)(type), x)     /* of the type in scope */

/* Bits of a float as the integer of its width, and back. */
#define BITS(a) graph_element(g, OP_BITCAST, (a)->type == TYPE_F64 ? TYPE_I64 : TYPE_I32, 1, (Value[]){a})
#define FLOAT(a) graph_element(g, OP_BITCAST, (a)->type == TYPE_I64 ? TYPE_F64 : TYPE_F32, 1, (Value[]){a})

static inline Value expand_real(Graph *g, Type type, double x) { return graph_const(g, type, bits_from_f64(x, type)); }
static inline Value expand_i32(Graph *g, int32_t x) { return graph_const(g, TYPE_I32, (uint32_t)x); }

/* c[0] + x*(c[1] + x*(... c[n-1])): product and sum round separately (f64). */
static inline Value horner(Graph *g, Value x, const double *c, unsigned n) {
  Value y = D(c[n - 1]);
  while (--n > 0) y = ADD(MUL(y, x), D(c[n - 1]));
  return y;
}
#define HORNER(x, table) horner(g, x, table, sizeof(table) / sizeof *(table))

/* The f64 parts, one function each; op(args) in type f64. */
Value expand_f64_exp(Graph *g, Value x);
Value expand_f64_exp2(Graph *g, Value x);
Value expand_f64_expm1(Graph *g, Value x);
Value expand_f64_log(Graph *g, Value x);
Value expand_f64_log2(Graph *g, Value x);
Value expand_f64_log1p(Graph *g, Value x);
Value expand_f64_tanh(Graph *g, Value x);
Value expand_f64_sigmoid(Graph *g, Value x);
Value expand_f64_erf(Graph *g, Value x);
Value expand_f64_rsqrt(Graph *g, Value x);
Value expand_f64_sin(Graph *g, Value x);
Value expand_f64_cos(Graph *g, Value x);
Value expand_f64_cosh(Graph *g, Value x);
Value expand_f64_pow(Graph *g, Value x, Value y);

/* f32, f64 inside. */
Value expand_f32_exp(Graph *g, Value x);
Value expand_f32_exp2(Graph *g, Value x);
Value expand_f32_expm1(Graph *g, Value x);
Value expand_f32_log(Graph *g, Value x);
Value expand_f32_log2(Graph *g, Value x);
Value expand_f32_log1p(Graph *g, Value x);
Value expand_f32_tanh(Graph *g, Value x);
Value expand_f32_sigmoid(Graph *g, Value x);
Value expand_f32_erf(Graph *g, Value x);
Value expand_f32_rsqrt(Graph *g, Value x);
Value expand_f32_sin(Graph *g, Value x);
Value expand_f32_cos(Graph *g, Value x);
Value expand_f32_cosh(Graph *g, Value x);
Value expand_f32_pow(Graph *g, Value x, Value y);

/* f32 only, fma inside. */
Value expand_sexp(Graph *g, Value x);
Value expand_fast_exp(Graph *g, Value x);
Value expand_fast_log(Graph *g, Value x);
Value expand_fast_tanh(Graph *g, Value x);

/* The same pattern of bits in the result as in the operands: see expand.c. */
#endif
