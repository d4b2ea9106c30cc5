/* lower_nest.h: private to passes: the state of lowering a graph into loop nests with temporaries, and the doors of the files that write nests of nodes.
 *
 * A Nest is one entry's lowering; it lies in the frame of the pass that runs it and does not move (`temps` points into it). What it points to lies in the arena
 * of the unit. Its parts end at different times, and each says who writes it:
 *   NestPlan     as long as the program: what is decided about each node
 *   NestTemps    as long as the program, once for the launches of items and once for those of the call: which temporaries there are and what is in them
 *   NestKernel   nest_begin makes it anew: no instruction of one kernel is seen in another
 *   NestPoint    where in the loops at hand elements are computed, and what was computed there */
#ifndef OPTC_PASSES_LOWER_NEST_H
#define OPTC_PASSES_LOWER_NEST_H
#include "passes/lower_build.h"
#include "passes/lower_index.h"

enum { NEST_DEPTH = 64, NEST_SCANS = 64, NEST_STRIP = 256 };        /* STRIP: columns side by side */

/* By node, all of them. Written by nest_start and by the pass between kernels; nests read it, but put aside `stored` of the node that they write. */
typedef struct NestPlan {
  const uint64_t *carry;                 /* bit d: depends on what the scan at depth d carries */
  unsigned *stage, n_stages; int *slot;   /* of totals */
  bool *known;                           /* of rank 0: known before tensors are read and loops run, so that room can be made for it */
  bool *stored;                          /* has elements that are kept in a temporary */
  bool *keeps;                           /* of rank 0: its number is kept in a temporary for later kernels */
  const Write **direct;                  /* its elements are stored as the new value of a tensor, and nowhere else; or NULL */
  unsigned *source;                      /* 1 + operand whose elements are the node's by now */
  const Node *const *work, *const *room; /* where its value is needed at all, and where it has a temporary; NULL: always. See schedule_demand.c */
  bool folds;                            /* reductions are written as FOLD where they can be */
} NestPlan;

/* By node. Kernels of items see the temporaries of items alone, those of the call their own. Written by nest_buffer and by what fills a temporary. */
typedef struct NestTemps {
  bool call;
  unsigned *buffer;                      /* 1 + its temporary */
  unsigned *carried;                     /* of a scan: 1 + the first of the buffers of the values that it carries: now, next, now, next, .. */
  bool *kept;                            /* an earlier kernel has left the value in its temporary */
  Wanted *wanted; unsigned n_wanted; size_t capacity;             /* their elements, for the kernel of sizes */
} NestTemps;

typedef struct NestConst { Type type; Bits bits; Inst *inst; } NestConst;
typedef struct NestExtent { const Inst *of; Inst *inst; const Block *at; } NestExtent;
typedef struct NestScan { const Node *node; Inst *loop; } NestScan;

/* The kernel being built. What it knows by node or operand was computed where it holds for all that follows. */
typedef struct NestKernel {
  Launch launch;
  Block *top, *at;                       /* constants and extents stand at the top; what is written goes to `at` */
  struct { Inst *inst; Block *outer; } open[NEST_DEPTH]; unsigned depth;      /* loops and conditions around `at` */
  NestScan scan[NEST_SCANS];             /* by depth: the scan whose body is being written */
  Inst **scalar;                         /* by node of rank 0 */
  NestExtent *least;                     /* by node of rank 0: as an extent, and the block that has computed it */
  bool *done;                            /* by node: the temporary holds its value here */
  Inst *(*extent)[NEST_RANK];            /* by operand: its logical axes */
  NestConst *constants; size_t n_constants, constants_capacity;
  unsigned tile;                         /* so many axes of its nest are the positions of the launch; 0: none */
  Inst *position;                        /* of the launch, where tile is not 0 */
  const Node *under;                     /* a condition that holds here, or NULL */
} NestKernel;

/* What is computed once for a position: valid in its epoch, or in that of what was computed before the innermost loop. */
typedef struct Memo { unsigned epoch; Inst *inst; } Memo;

/* The position at which elements are computed. Whoever opens the loops sets index and says nest_here; an epoch comes once in a program. */
typedef struct NestPoint {
  const Space *space;
  Inst *index[NEST_RANK], *flat;
  Inst *shard;                           /* what the index lacks: elements before the shard, or NULL */
  Inst **known;                          /* by node: its value at the position, told by who opened the loops; or NULL */
  Memo *memo;                            /* by node */
  unsigned epoch, outer;                 /* outer: of what nest_settle computed; 0: nothing */
} NestPoint;

/* A launch space: the positions of the first axes, at least so many a tile; or the units of a room, at most so many a tile; or the trips of a repeat. when, reach: else none. */
typedef struct Tiles { const Space *space; unsigned axes, least, most; Room room; const Node *when; Reach reach; const Node *trips; } Tiles;

typedef struct NestFormula { Op op; Type type; const Graph *graph; const Node *argument[2], *result; } NestFormula;
typedef struct Scratch { unsigned elements; bool rows; Type type; unsigned buffer; } Scratch;       /* a local buffer */
/* Sets of axes: what a value depends on, what its elements in memory lie along; of an index: that it steps with. And whether a matrix equals its transpose. */
typedef struct ProductAxes { uint16_t all, along, step; uint8_t symmetric; } ProductAxes;

struct Nest {
  Unit *unit;
  const Graph *graph;
  const Module *module;
  Program *program;
  Arena *arena;
  NestPlan plan;
  NestTemps items, call, *temps;         /* temps: the one of the two that the kernel belongs to */
  NestKernel kernel;
  NestPoint point;
  const Node *repeat;                    /* the scan of whose body the kernels at hand are, trip by trip: schedule_repeat.c; or NULL */

  /* found once, for all kernels */
  Tiles tiles[OPTC_MAX_SPACES];          /* by launch space: of kernels that nest_begin_tile made; NULL: another's */
  Scratch *scratch; size_t n_scratch, scratch_capacity;
  NestFormula *formulas; size_t n_formulas, formulas_capacity;
  ProductAxes *product_axes;             /* by node; NULL: not yet asked */
};

/* An array by node, all 0. */
bool nest_knows(const Nest *, const Space *, unsigned axes);               /* whether room can be made for so many first axes: they are known before tensors are read and loops run */
static inline void *nest_by_node(const Nest *l, size_t size) { return arena_array(l->arena, l->graph->n_nodes + 1, size); }
/* Where a node's value is needed: a condition, or NULL: always. */
static inline const Node *nest_demand(const Nest *l, const Node *n) { return l->plan.work ? l->plan.work[n->id] : NULL; }

/* --- lower_nest.c ---------------------------------------------------------------------------------------------------------------- */
void nest_axes(Nest *, const Space *, unsigned axes);                    /* opens loops over the first axes of the space; sets index */
void nest_digits(Nest *, const Space *, unsigned axes, Inst *at);        /* indices of the first axes, of their flat position */
Inst *nest_open_rows(Nest *, Inst *length, Inst *begin, Inst *end, Inst **part);        /* a loop over the rows that a range has a part of */
void nest_close_axes(Nest *, unsigned axes);
void nest_here(Nest *, const Space *, Inst *flat);                       /* elements of the space are now computed at index and flat (NULL: made of the indices where it is asked for) */
Inst *nest_flat(Nest *, const Space *, unsigned axes);                   /* of index, row-major */
Inst *nest_extent(Nest *, const Node *extent);                           /* i64, at least 0 */
void nest_set_axes(Nest *, const Space *, unsigned axes, Inst *flat);     /* index of these axes: the digits of a position */
Inst *nest_axes_count(Nest *, const Space *, unsigned axes);             /* product of their extents */
Inst *nest_element(Nest *, const Node *);                                /* the value at the position, or the number */
Inst *nest_place(Nest *, const Space *, const Node *const *indices, Inst **inside);      /* flat position of indices in a space; inside: whether there is one (NULL: always) */
/* Computes, before the loops over some axes (bits), what of the marked nodes does not depend on them. */
void nest_settle(Nest *, const Space *, unsigned axes, bool *need);
void nest_settle_value(Nest *, const Space *, unsigned axes, const Node *);
void nest_unsettle(Nest *);                                              /* behind those loops */
Inst *nest_to_storage(Nest *, const Operand *, Inst *);                  /* a new value as the tensor keeps it */
void nest_store_value(Nest *, const Node *, Inst *at, Inst *);           /* an element of a stored node */
void nest_copy_value(Nest *, const Node *, unsigned buffer);             /* all elements, or the number; of a kernel of tiles, those of the tile */
void nest_copy_to_operand(Nest *, const Write *, unsigned from);         /* the same into the tensor of a write, as it keeps them */
void nest_copy_buffer(Nest *, unsigned to, unsigned from, const Space *);
void nest_make_carried(Nest *, const Node *scan, const bool *in_place);  /* temporaries of what a scan carries; in_place: the value after the trip needs none */
unsigned nest_carried_buffer(const Nest *, const Node *scan, unsigned k, bool next);       /* carried value k of a scan: its temporary, or the one for the value after the trip */
bool nest_stays(const Nest *, const Node *scan, const bool *need, unsigned k);             /* carried value k of a scan lies where it is, and scatters of the body (need) write into it */
void nest_scatter_to(Nest *, const Node *scan, unsigned k, unsigned to); /* these scatters: to buffer to - 1; 0: to their own again */
unsigned nest_buffer(Nest *, const Node *);                              /* the temporary of a stored node */
void nest_choose_stored(Nest *);
bool nest_costs(const Nest *, const Node *);                             /* a number that costs a loop */
Inst *nest_operand_extent(Nest *, int64_t operand, unsigned axis);
Inst *nest_operand_count(Nest *, int64_t operand);
Inst *nest_space_count(Nest *, const Space *);
void nest_close_need(const Nest *, bool *need);                          /* all that the marked nodes need in this kernel */
void nest_emit(Nest *, const bool *need, int depth);                     /* the needed nodes of the body of the scan at `depth` (-1: outside), in order */

/* --- lower_fold.c: orders of evaluation of the language, section 5 ------------------------------------------------------------------ */
Bits nest_identity(ReduceKind, Type);
Inst *nest_pair(Nest *, ReduceKind, Inst *, Inst *);
bool nest_goes_by_columns(Nest *, const Node *);                         /* of a REDUCE: memory lies along its last free axis */
bool nest_is_fold(const Node *);                                         /* of a REDUCE: FOLD has its order */
void nest_fold_columns(Nest *, const Node *, unsigned lanes);            /* lower_columns.c: such a one, in tiles; lanes: 1 + the temporary that has them, or 0 */
void nest_fold(Nest *, const Node *);                                    /* reduce, contract, attend: into the temporary, or scalar[] */
const Space *nest_terms_space(const Node *);                             /* of what a reduction, contraction or attend adds up */
Inst *nest_contraction(Nest *, const Node *, Inst *at);                  /* one element, number `at` of it: index has its position */
Inst *nest_join(Nest *, unsigned partial, Inst *chunks, ReduceKind, Type);         /* the partials of chunks, joined */
void nest_softmax(Nest *, const Node *);
void nest_cumulate(Nest *, const Node *);

/* --- lower_order.c, lower_matrix.c ---------------------------------------------------------------------------------------------------- */
void nest_order(Nest *, const Node *);
void nest_scatter(Nest *, const Node *);
void nest_eigvec(Nest *, const Node *);
void nest_qr(Nest *, const Node *);
#endif
