/* graph_eval.h: what the files of the graph interpreter share: graph_data.c, graph_interpret.c, graph_launch.c. */
#ifndef OPTC_IR_GRAPH_EVAL_H
#define OPTC_IR_GRAPH_EVAL_H
#include "ir/graph_analysis.h"
#include "ir/interpret.h"

enum { EVAL_PIECE = 1024 };
#define EVAL_FIELD(base, offset, type) (*(type *)((char *)(uintptr_t)(base) + (offset)))

typedef struct List { unsigned n; unsigned *id; } List;                        /* nodes in order */
typedef struct Array { Bits *data; int64_t count, capacity; } Array;
typedef struct Scan { Array *now, *after; } Scan;                              /* one a carried value */

typedef struct Interp {
  const Graph *g;
  optc_frame *frame;
  Arena *arena;
  const Layout *layout;
  bool *live, *stored;                                 /* by id */
  const uint64_t *carries;
  Bits *number;                                        /* rank 0 */
  Array *array;                                        /* stored values */
  Bits **piece;                                        /* values of the current piece */
  List **plan;                                         /* of streamed roots, and of scans: their bodies */
  Scan *scan;
  int *slot; unsigned *stage;                          /* of totals */
  const Node *bound[64];                               /* the scan that runs at each depth */
  int64_t trip[64];
} Interp;

/* --- graph_data.c: numbers, sizes, tensors of the frame ------------------------------------------------------------------------------- */
int64_t eval_count(const Interp *, const Space *);                       /* positions */
Bits eval_hyper(const Interp *, int64_t k, Type);
Bits eval_number(const Interp *, int64_t k);                             /* of an operand that is one number */
void eval_set_number(const Interp *, unsigned k, Bits, Type);
void *eval_data(const Interp *, int64_t k);
int64_t eval_size(const Interp *, int64_t k, int32_t axis, unsigned depth);          /* as OP_SIZE */
int64_t eval_extent(const Interp *, int64_t k, unsigned axis, unsigned depth);       /* of the logical shape */
int64_t eval_elements(const Interp *, int64_t k);
Bits eval_load_one(const void *data, int64_t i, Type storage);
void eval_load(Bits *out, const void *data, int64_t from, int64_t n, Type storage);
void eval_store(const Operand *, void *data, int64_t from, int64_t n, const Bits *x, size_t step, Type);

/* --- graph_interpret.c: values ----------------------------------------------------------------------------------------------------------- */
/* Where a node's values from position `from` stand; *step 0: one value for all. */
const Bits *eval_values(const Interp *, const Node *, int64_t from, size_t *step);
List *eval_plan(Interp *, unsigned n_roots, const Node *const *roots);   /* what to evaluate, piece by piece, to have the roots' values */
void eval_piece(Interp *, const List *plan, int64_t from, int64_t count);
void eval_materialise(Interp *, const Node *);
void eval_node(Interp *, const Node *);
bool eval_is_pointwise(const Node *);
const char *eval_unknown(const Graph *, const bool *live);
#endif
