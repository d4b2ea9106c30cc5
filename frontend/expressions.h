/* expressions.h: expressions. The tree is only read; what is made of it lies in the arena of the module. */
#ifndef OPTC_FRONTEND_EXPRESSIONS_H
#define OPTC_FRONTEND_EXPRESSIONS_H
#include "frontend/names.h"

/* lower_random.c, lower_matrix.c, lower_keep.c */
const Node *random_bits(Lower *, const Node *element, int64_t stream);   /* 32 of them */
Value lower_random(Lower *, const Expr *);
Value lower_philox(Lower *, const Expr *);
Value lower_matmul(Lower *, Range, Value a, Value b);
Value lower_transpose(Lower *, Range, Value);
Value lower_matrix_function(Lower *, const Expr *, Op, Value);
Value lower_keeping(Lower *, const Expr *);

/* lower_reduce.c */
bool is_reduction(const Expr *);                                         /* a call that reduces: max(x), not max(x, y) */
Value lower_reduction(Lower *, const Expr *);

/* lower_element.c */
Value lower_element(Lower *, const Expr *);                              /* x[i, j] */
bool element_positions(Lower *, const char *name, const Axes *, const SubList *, Range bracket, const Node **out);
const Node *element_read(Lower *, const Node *, const Space *of, const Axes *, const Node *const *index);

/* lower_call.c, lower_expr.c */
Value lower_call(Lower *, const Expr *);
Value lower_condition(Lower *, const Expr *, const char *who);           /* one bool scalar, or poison */
#endif
