/* lower_nest.h: private to passes/lower*.c: lowering of any graph into loop nests with temporaries, and the words in which the nests are written.
 *
 * A loop or condition under construction is not yet in the block around it, so what is appended to an outer block meanwhile stands before it:
 * that is how scalars that an inner loop turns out to need come to dominate it. */
#ifndef OPTC_PASSES_LOWER_NEST_H
#define OPTC_PASSES_LOWER_NEST_H
#include "ir/graph_analysis.h"
#include "passes/pass.h"

enum { NEST_RANK = 8, NEST_DEPTH = 64, NEST_STRIP = 256 };              /* STRIP: columns side by side */

typedef struct Memo { unsigned epoch; Inst *inst; } Memo;
/* A number made of extents: for each group of axes of a space, how many units of so many their product fills. */
enum { ROOM_GROUPS = 3 };
typedef struct Room { const Space *space; unsigned axes[ROOM_GROUPS]; int64_t unit[ROOM_GROUPS]; } Room;       /* unit 0: no such group */
typedef struct Wanted { unsigned buffer; const Space *space; int64_t fixed; int64_t operand; Room room; const Node *when; } Wanted;      /* elements of a temporary: of a space, a number, an operand's (>= 0),
                                                                                                                   or of all units of a room; when: else none */
/* A launch space: the positions of the first axes, at least so many a tile; or the units of a room, one a tile. when: else none. */
typedef struct Tiles { const Space *space; unsigned axes, least; Room room; const Node *when; } Tiles;
typedef struct NestConst { Type type; Bits bits; Inst *inst; } NestConst;
typedef struct NestFormula { Op op; Type type; const Graph *graph; const Node *argument[2], *result; } NestFormula;
typedef struct Scratch { unsigned elements; Type type; unsigned buffer; } Scratch;       /* a local buffer */

/* Sets of axes: what a value depends on, what its elements in memory lie along; of an index: that it steps with. And whether a matrix equals its transpose. */
typedef struct ProductAxes { uint16_t all, along, step; uint8_t symmetric; } ProductAxes;

typedef struct Nest {
  Unit *unit;
  const Graph *graph;
  const Module *module;
  Program *program;
  Arena *arena;
  const uint64_t *carry;                 /* by node: bit d: depends on what the scan at depth d carries */
  bool *stored;                          /* by node: has elements that are kept in a temporary */
  bool *keeps;                           /* by node of rank 0: its number is kept in a temporary for later kernels */
  const Node *const *work, *const *room; /* by node: where its value is needed at all, and where it has a temporary; NULL: always. See schedule_demand.c */
  const Write **direct;                  /* by node: its elements are stored as the new value of a tensor, and nowhere else; or NULL */
  unsigned *source;                      /* by node: 1 + operand whose elements are the node's by now */
  unsigned *stage; int *slot; unsigned n_stages, n_slots;

  /* of the launches of items, and of those of the call */
  bool call;                             /* which of the two is being built */
  unsigned *temp[2];                     /* by node: 1 + its buffer */
  unsigned *next[2];                     /* by node of a scan: 1 + the first of the buffers of the values that it carries: now, next, now, next, .. */
  bool *kept[2];                         /* by node: an earlier kernel has left the value in its temporary */
  Wanted *wanted[2]; unsigned n_wanted[2]; size_t wanted_capacity[2];
  ProductAxes *product_axes;             /* by node; NULL: not yet asked */

  Scratch *scratch; size_t n_scratch, scratch_capacity;
  Tiles tiles[OPTC_MAX_SPACES];          /* by launch space: of kernels that nest_begin_tile made; NULL: another's */
  bool folds;                            /* reductions are written as FOLD where they can be */

  /* the kernel being built */
  Launch launch;
  Block *top, *at;
  struct { Inst *inst; Block *outer; } open[NEST_DEPTH]; unsigned depth;
  Inst **scalar;                         /* by node of rank 0 */
  bool *done;                            /* by node: the temporary holds its value here */
  Inst *(*extent)[NEST_RANK];            /* by operand: its logical axes */
  NestConst *constants; size_t n_constants, constants_capacity;
  NestFormula *formulas; size_t n_formulas, formulas_capacity;
  const Node *scan[64]; Inst *loop[64];
  unsigned tile;                         /* so many axes of its nest are the positions of the launch; 0: none */
  Inst *position;
  const Node *under;                     /* a condition that holds here, or NULL */

  /* the position at which elements are computed */
  const Space *space;
  Inst *index[NEST_RANK], *flat;
  Inst *shard;                           /* what the index lacks: elements before the shard, or NULL */
  Inst **known;                          /* by node: its value at the position, told by who opened the loops; or NULL */
  Memo *memo; unsigned epoch;
  unsigned outer;                        /* epoch of what was computed before the innermost loop, and holds in it */
} Nest;

/* --- lower_build.c: words ------------------------------------------------------------------------------------------------------ */
Inst *nest_add(Nest *, KOp, Type, int64_t imm, unsigned n, Inst *const *args);
Inst *nest_const(Nest *, Type, Bits);
Inst *nest_i64(Nest *, int64_t);
Inst *nest_real(Nest *, Type, double);
Inst *nest_op1(Nest *, KOp, Inst *);
Inst *nest_op2(Nest *, KOp, Inst *, Inst *);                             /* SAME and COMPARE */
Inst *nest_select(Nest *, Inst *c, Inst *a, Inst *b);
Inst *nest_cast(Nest *, Type, Inst *);
Inst *nest_both(Nest *, Inst *, Inst *);                                 /* and; NULL is true */
Inst *nest_min(Nest *, Inst *, Inst *);                                  /* i64 */
Inst *nest_blocks(Nest *, Inst *n, unsigned bits);                       /* i64: blocks of 2^bits that n positions fill, the last perhaps in part */
Inst *nest_bits(Nest *, Inst *n);                                        /* i64 n >= 0: how many bits it has; 0: 0 */
Inst *nest_times(Nest *, Inst *a, Inst *b);                              /* the product of two extents */
Inst *nest_fma(Nest *, Inst *a, Inst *b, Inst *c);                       /* f32: one rounding; others: product and sum */
Inst *nest_call(Nest *, Op, Inst *a, Inst *b);                           /* a function of one or two numbers, expanded */
Inst *nest_formula(Nest *, const Formula *, Inst *);
Inst *nest_load(Nest *, unsigned buffer, Inst *index, Inst *guard);      /* guard NULL: always */
void nest_store(Nest *, unsigned buffer, Inst *index, Inst *value, Inst *guard);
void nest_fetch(Nest *, size_t from, const Inst *loop, Inst *ahead);     /* what the block at hand loads of tensors, from its instruction `from` on, is fetched so many elements before */
Inst *nest_open(Nest *, Inst *low, Inst *high, unsigned n, Inst *const *first);      /* a loop: what follows is its body */
Inst *nest_carried(Nest *, Inst *loop, unsigned which);
void nest_close(Nest *, unsigned n, Inst *const *next);
void nest_if(Nest *, Inst *condition);
void nest_end_if(Nest *);
unsigned nest_temp(Nest *, const char *name, Type, Wanted size);         /* a temporary of the launches being built */
void nest_set_axes(Nest *, const Space *, unsigned axes, Inst *flat);     /* index of these axes: the digits of a position */
Inst *nest_axes_count(Nest *, const Space *, unsigned axes);            /* product of their extents */
unsigned nest_scratch(Nest *, Type, unsigned elements);                  /* a local buffer that nests share one after the other */

/* --- lower_nest.c ---------------------------------------------------------------------------------------------------------------- */
void nest_axes(Nest *, const Space *, unsigned axes);                    /* opens loops over the first axes of the space; sets index */
void nest_digits(Nest *, const Space *, unsigned axes, Inst *at);        /* indices of the first axes, of their flat position */
Inst *nest_open_rows(Nest *, Inst *length, Inst *begin, Inst *end, Inst **part);        /* a loop over the rows that a range has a part of */
void nest_close_axes(Nest *, unsigned axes);
void nest_here(Nest *, const Space *, Inst *flat);                       /* elements of the space are now computed at index and flat */
Inst *nest_flat(Nest *, const Space *, unsigned axes);                   /* of index, row-major */
Inst *nest_extent(Nest *, const Node *extent);                           /* i64, at least 0 */
Inst *nest_element(Nest *, const Node *);                                /* the value at the position, or the number */
Inst *nest_place(Nest *, const Space *, const Node *const *indices, Inst **inside);      /* flat position of indices in a space; inside: whether there is one (NULL: always) */
/* Computes, before the loops over some axes (bits), what of the marked nodes does not depend on them. */
void nest_settle(Nest *, const Space *, unsigned axes, bool *need);
void nest_settle_value(Nest *, const Space *, unsigned axes, const Node *);
Inst *nest_work(Nest *, const Node *);                                   /* the condition under which a node's temporary holds its value; NULL: sure here */
void nest_store_value(Nest *, const Node *, Inst *at, Inst *);           /* an element of a stored node */
unsigned nest_buffer(Nest *, const Node *);                              /* the temporary of a stored node */
void nest_choose_stored(Nest *);
bool nest_costs(const Nest *, const Node *);                             /* a number that costs a loop */
Inst *nest_operand_extent(Nest *, int64_t operand, unsigned axis);
Inst *nest_operand_count(Nest *, int64_t operand);
Inst *nest_space_count(Nest *, const Space *);
void nest_close_need(const Nest *, bool *need);                          /* all that the marked nodes need in this kernel */
void nest_emit(Nest *, const bool *need, int depth);                     /* the needed nodes of the body of the scan at `depth` (-1: outside), in order */
void nest_emit_stored(Nest *, const Node *);                             /* computes a stored node into its temporary */

/* --- lower_index.c ---------------------------------------------------------------------------------------------------------------- */
bool index_is_flat(const Node *);                                        /* the flat position in its own space */
int index_unit_axis(const Node *);                                       /* of a flat position: the axis of its own space along which it moves by one; -1: none is known */
bool index_in_item(const Module *, const Node *);                        /* 0 <= x < elements of the item */
bool index_in_axis(const Node *, const Node *extent);                    /* an index of its own space that is always below an extent */
bool index_is_digit(const Module *, const Node *, const Node *extent);   /* one that the position in an item gives: inside at every position of an item, where the extent is not 0 */
bool extents_make_item(const Module *, const Node *const *, unsigned n);  /* their product is the number of its elements, if it has any and their condition holds */
bool extent_divides_item(const Module *, const Node *);                  /* not 0 where an item has elements and its condition holds */
const Node *extent_condition(const Node *);                              /* where it does not hold, the extent is 0; or NULL */

/* --- lower_program.c -------------------------------------------------------------------------------------------------------------- */
bool nest_start(Nest *, Unit *);                                         /* a new program; false: refused, reported */
bool *nest_begin(Nest *, const char *name, Launch);                      /* a new kernel; an array to mark what it needs */
bool *nest_begin_tile(Nest *, const char *name, Tiles);
bool *nest_begin_room(Nest *, const char *name, Room, const Node *when);      /* kernels of equal rooms share a launch space */
bool nest_checks(Nest *);
bool nest_layout(Nest *);
void nest_stage(Nest *, unsigned stage);                                 /* the totals of a stage */
Inst *nest_to_storage(Nest *, const Operand *, Inst *);
unsigned nest_compute_write(Nest *, const Write *);                      /* a new value into a temporary: 1 + its buffer; 0: a number */
void nest_copy_write(Nest *, const Write *, unsigned from);
void nest_set_number(Nest *, const Write *, Inst *);
void nest_writes(Nest *, const char *name, Launch);                      /* all writes of items, or of the call */
bool nest_same_room(const Room *, const Room *);
void nest_share_temps(Nest *);                                           /* lower_share.c: those whose times do not meet are one */
void nest_finish(Nest *);                                                /* kernels of the call and of sizes; the program is the unit's */
void lower_nests(Unit *);

/* --- lower_product.c ----------------------------------------------------------------------------------------------------------------- */
bool nest_product(Nest *, const Node *);                                 /* kernels of a contraction that is a product of matrices; false: it is none */

/* --- lower.c ---------------------------------------------------------------------------------------------------------------------------- */
bool lower_is_pointwise(Unit *);                                         /* every loop of the rule is one over the item's elements */

/* --- lower_fold.c: orders of evaluation of the language, section 5 ------------------------------------------------------------------ */
Bits nest_identity(ReduceKind, Type);
Inst *nest_pair(Nest *, ReduceKind, Inst *, Inst *);
bool nest_goes_by_columns(Nest *, const Node *);                         /* of a REDUCE: memory lies along its last free axis */
void nest_fold_columns(Nest *, const Node *);                            /* lower_columns.c: such a one, in tiles */
void nest_fold(Nest *, const Node *);                                    /* reduce, contract, attend: into the temporary, or scalar[] */
Inst *nest_join(Nest *, unsigned partial, Inst *chunks, ReduceKind, Type);         /* the partials of chunks, joined */
void nest_softmax(Nest *, const Node *);
void nest_cumulate(Nest *, const Node *);

/* --- lower_order.c, lower_matrix.c ---------------------------------------------------------------------------------------------------- */
void nest_order(Nest *, const Node *);
void nest_scatter(Nest *, const Node *);
void nest_eigvec(Nest *, const Node *);
void nest_qr(Nest *, const Node *);
#endif
