/* graph_reduce.h: reductions in the orders that the language fixes, fed piece by piece; for the graph interpreter.
 *
 * A Reducer is the caller's and holds all of its state: it needs no memory and may be copied. */
#ifndef OPTC_IR_GRAPH_REDUCE_H
#define OPTC_IR_GRAPH_REDUCE_H
#include "ir/graph.h"

typedef struct Reducer {
  Type type;                             /* of the operand */
  ReduceKind kind;
  ReduceOrder order;
  Bits acc;                              /* seq, max, min, any, every, argmax, argmin */
  Bits lane[LANES_COUNT];
  unsigned in_block;                     /* positions of the current block */
  unsigned n_stack; uint64_t blocks;     /* complete blocks: the tree's pending subtrees, one for each bit set */
  Bits stack[64];
  int64_t seen, best;
} Reducer;

extern const char *const reduce_names[];                                 /* by kind, NULL at the end */
Bits reduce_identity(ReduceKind, Type);
Bits reduce_pair(ReduceKind, Type, Bits, Bits);                          /* sum, prod, max, min, any, every */
void reducer_start(Reducer *, Type, ReduceKind, ReduceOrder);
void reducer_feed(Reducer *, const Bits *x, size_t step, size_t n);      /* step 0: the same value n times */
Bits reducer_result(Reducer *);

/* Contraction: chains of fma in blocks of 512, blocks added in increasing order, +0 at the end. */
typedef struct Contractor { Type type; Bits acc, total; unsigned in_block; } Contractor;
void contractor_start(Contractor *, Type);
/* `out`: where not NULL and not 0 at a position, its term is left out. */
void contractor_feed(Contractor *, const Bits *a, size_t a_step, const Bits *b, size_t b_step, const Bits *out, size_t n);
Bits contractor_result(Contractor *);
#endif
