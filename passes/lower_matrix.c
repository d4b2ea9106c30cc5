/* lower_matrix.c: eigenvectors by cyclic Jacobi, and the Q of a Householder decomposition, in kernel form: the sequence that ir/matrix.h states. */
#include "ir/matrix.h"
#include "passes/lower_nest.h"

#define ADD(a, b) nest_op2(l, KOP_ADD, a, b)
#define SUB(a, b) nest_op2(l, KOP_SUB, a, b)
#define MUL(a, b) nest_op2(l, KOP_MUL, a, b)
#define DIV(a, b) nest_op2(l, KOP_DIV, a, b)
#define SQRT(a) nest_op1(l, KOP_SQRT, a)
#define ABS(a) nest_op1(l, KOP_ABS, a)
#define LT(a, b) nest_op2(l, KOP_LT, a, b)
#define SELECT(c, a, b) nest_select(l, c, a, b)
#define N(x) nest_i64(l, x)
#define D(x) nest_real(l, TYPE_F64, x)
#define LOAD(buffer, at) nest_load(l, buffer, at, NULL)
#define STORE(buffer, at, x) nest_store(l, buffer, at, x, NULL)
#define FOR(low, high) nest_open(l, low, high, 0, NULL)
#define END nest_close(l, 0, NULL)

/* What both need: the matrix at hand, widened to f64 in `a`. */
typedef struct Matrices { Inst *rows, *columns, *base; unsigned a, v, q; } Matrices;

static Matrices open_matrices(Nest *l, const Node *n) {
  unsigned rank = n->space->rank - 2;
  const Wanted size = {.space = n->space, .operand = -1};
  Matrices m = {.a = nest_temp(l, "matrix", TYPE_F64, size), .v = nest_temp(l, "vectors", TYPE_F64, size), .q = nest_temp(l, "result", TYPE_F64, size)};
  m.rows = nest_extent(l, n->space->extent[rank]);
  m.columns = nest_extent(l, n->space->extent[rank + 1]);
  nest_axes(l, n->space, rank);
  m.base = rank ? MUL(nest_flat(l, n->space, rank), MUL(m.rows, m.columns)) : N(0);
  Inst *i = FOR(N(0), MUL(m.rows, m.columns));
  STORE(m.a, i, nest_cast(l, TYPE_F64, LOAD(nest_buffer(l, n->args[0]), ADD(m.base, i))));
  END;
  return m;
}

static void close_matrices(Nest *l, const Node *n, const Matrices *m) {
  Inst *i = FOR(N(0), MUL(m->rows, m->columns));
  STORE(nest_buffer(l, n), ADD(m->base, i), nest_cast(l, (Type)n->type, LOAD(m->q, i)));
  END;
  nest_close_axes(l, n->space->rank - 2);
}

static void identity(Nest *l, unsigned buffer, Inst *rows, Inst *columns) {
  Inst *i = FOR(N(0), rows), *j = FOR(N(0), columns);
  STORE(buffer, ADD(MUL(i, columns), j), SELECT(nest_op2(l, KOP_EQ, i, j), D(1), D(0)));
  END;
  END;
}

/* --- Jacobi ---------------------------------------------------------------------------------------------------------------------------- */

/* (x, y) -> (c*x - s*y, s*x + c*y), n pairs `step` apart. */
static void rotate(Nest *l, unsigned buffer, Inst *x, Inst *y, Inst *step, Inst *n, Inst *c, Inst *s) {
  Inst *i = FOR(N(0), n), *offset = MUL(i, step), *at_x = ADD(x, offset), *at_y = ADD(y, offset), *a = LOAD(buffer, at_x), *b = LOAD(buffer, at_y);
  STORE(buffer, at_x, SUB(MUL(c, a), MUL(s, b)));
  STORE(buffer, at_y, ADD(MUL(s, a), MUL(c, b)));
  END;
}

static void sweeps(Nest *l, const Matrices *m) {
  Inst *n = m->rows;
  FOR(N(0), N(JACOBI_SWEEPS));
  Inst *p = FOR(N(0), n), *q = FOR(ADD(p, N(1)), n), *row_p = MUL(p, n), *row_q = MUL(q, n), *apq = LOAD(m->a, ADD(row_p, q));
  nest_if(l, nest_op2(l, KOP_NE, apq, D(0)));
  Inst *theta = DIV(SUB(LOAD(m->a, ADD(row_q, q)), LOAD(m->a, ADD(row_p, p))), MUL(D(2), apq));
  Inst *t = DIV(D(1), ADD(ABS(theta), SQRT(ADD(MUL(theta, theta), D(1)))));
  t = SELECT(LT(theta, D(0)), nest_op1(l, KOP_NEG, t), t);
  Inst *c = DIV(D(1), SQRT(ADD(MUL(t, t), D(1)))), *s = MUL(t, c);
  rotate(l, m->a, p, q, n, n, c, s);
  rotate(l, m->a, row_p, row_q, N(1), n, c, s);
  rotate(l, m->v, p, q, n, n, c, s);
  STORE(m->a, ADD(row_p, q), D(0));
  STORE(m->a, ADD(row_q, p), D(0));
  nest_end_if(l);
  END;
  END;
  END;
}

/* Where column k goes: how many eigenvalues come before its own. */
static Inst *position(Nest *l, const Matrices *m, Inst *k) {
  Inst *n = m->rows, *own = LOAD(m->a, ADD(MUL(k, n), k)), *first = N(0), *j = nest_open(l, N(0), n, 1, &first), *other = LOAD(m->a, ADD(MUL(j, n), j));
  Inst *before = nest_op2(l, KOP_OR, LT(other, own), nest_op2(l, KOP_AND, nest_op1(l, KOP_NOT, LT(own, other)), LT(j, k)));
  Inst *next = ADD(nest_carried(l, j, 0), SELECT(before, N(1), N(0)));
  nest_close(l, 1, &next);
  return nest_carried(l, j, 0);
}

void nest_eigvec(Nest *l, const Node *node) {
  Matrices m = open_matrices(l, node);
  Inst *n = m.rows, *square = nest_op2(l, KOP_EQ, n, m.columns), *all = FOR(N(0), MUL(n, m.columns));
  STORE(m.q, all, D(0));
  END;
  nest_if(l, square);
  Inst *i = FOR(N(0), n), *j = FOR(ADD(i, N(1)), n);
  STORE(m.a, ADD(MUL(i, n), j), LOAD(m.a, ADD(MUL(j, n), i)));
  END;
  END;
  identity(l, m.v, n, n);
  sweeps(l, &m);
  Inst *k = FOR(N(0), n), *at = position(l, &m, k), *first[2] = {D(0), D(1)};
  i = nest_open(l, N(0), n, 2, first);
  Inst *x = LOAD(m.v, ADD(MUL(i, n), k)), *more = LT(nest_carried(l, i, 0), ABS(x));
  Inst *next[2] = {SELECT(more, ABS(x), nest_carried(l, i, 0)), SELECT(more, SELECT(LT(x, D(0)), D(-1), D(1)), nest_carried(l, i, 1))};
  nest_close(l, 2, next);
  Inst *sign = nest_carried(l, i, 1);
  i = FOR(N(0), SELECT(LT(at, n), n, N(0)));
  STORE(m.q, ADD(MUL(i, n), at), MUL(sign, LOAD(m.v, ADD(MUL(i, n), k))));
  END;
  END;
  nest_end_if(l);
  close_matrices(l, node, &m);
}

/* --- Householder --------------------------------------------------------------------------------------------------------------------------- */

/* Sum of v[i]*x[i], from <= i < rows; v stands at `v` of its buffer, x at `x`, `step` apart. */
static Inst *dot(Nest *l, const Matrices *m, Inst *v, unsigned buffer, Inst *x, Inst *step, Inst *from) {
  Inst *zero = D(0), *i = nest_open(l, from, m->rows, 1, &zero);
  Inst *next = ADD(nest_carried(l, i, 0), MUL(LOAD(m->v, ADD(v, i)), LOAD(buffer, ADD(x, MUL(i, step)))));
  nest_close(l, 1, &next);
  return nest_carried(l, i, 0);
}

/* The reflection of columns from..to of a buffer. */
static void reflect(Nest *l, const Matrices *m, Inst *v, Inst *beta, unsigned buffer, Inst *from, Inst *to, Inst *k) {
  Inst *j = FOR(from, to), *f = DIV(MUL(D(2), dot(l, m, v, buffer, j, m->columns, k)), beta), *i = FOR(k, m->rows), *at = ADD(MUL(i, m->columns), j);
  STORE(buffer, at, SUB(LOAD(buffer, at), MUL(LOAD(m->v, ADD(v, i)), f)));
  END;
  END;
}

void nest_qr(Nest *l, const Node *node) {
  Matrices m = open_matrices(l, node);
  Inst *zero = N(0), *least = nest_min(l, m.rows, m.columns), *k = FOR(zero, least), *v = MUL(k, m.rows), *i = FOR(zero, m.rows);
  STORE(m.v, ADD(v, i), SELECT(LT(i, k), D(0), LOAD(m.a, ADD(MUL(i, m.columns), k))));
  END;
  Inst *norm = SQRT(dot(l, &m, v, m.v, v, N(1), k)), *corner = LOAD(m.v, ADD(v, k));
  STORE(m.v, ADD(v, k), SUB(corner, SELECT(nest_op2(l, KOP_GE, corner, D(0)), nest_op1(l, KOP_NEG, norm), norm)));
  Inst *beta = dot(l, &m, v, m.v, v, N(1), k);
  reflect(l, &m, v, beta, m.a, k, SELECT(nest_op2(l, KOP_NE, norm, D(0)), m.columns, zero), k);
  END;
  identity(l, m.q, m.rows, m.columns);
  Inst *back = FOR(zero, least);
  k = SUB(SUB(least, N(1)), back);
  v = MUL(k, m.rows);
  beta = dot(l, &m, v, m.v, v, N(1), k);
  reflect(l, &m, v, beta, m.q, zero, SELECT(nest_op2(l, KOP_NE, beta, D(0)), least, zero), k);
  END;
  close_matrices(l, node, &m);
}
