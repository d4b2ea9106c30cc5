/* lower_build.h: private to passes: the words in which loop nests are written. All go into the kernel at hand, at its block; those of memory name temporaries
 * of the launches at hand. Instructions, blocks and buffers belong to the program, whose arena frees them.
 *
 * A loop or condition under construction is not yet in the block around it, so what is appended to an outer block meanwhile stands before it:
 * that is how scalars that an inner loop turns out to need come to dominate it. */
#ifndef OPTC_PASSES_LOWER_BUILD_H
#define OPTC_PASSES_LOWER_BUILD_H
#include "ir/graph_analysis.h"
#include "passes/pass.h"

typedef struct Nest Nest;                 /* lower_nest.h */

/* A number made of extents: for each group of axes of a space, how many units of so many their product fills. */
enum { ROOM_GROUPS = 3 };
typedef struct Room { const Space *space; unsigned axes[ROOM_GROUPS]; int64_t unit[ROOM_GROUPS]; } Room;       /* unit 0: no such group */
/* Where an extent is from <= .. < to. NULL: everywhere. */
typedef struct Reach { const Node *extent; int64_t from, to; } Reach;
/* How many elements a temporary has: those of a space, a number, an operand's (>= 0), or those of all units of a room (fixed: so many a unit); when, reach: else none. */
typedef struct Wanted { unsigned buffer; const Space *space; int64_t fixed; int64_t operand; Room room; const Node *when; Reach reach; } Wanted;

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
unsigned nest_scratch(Nest *, Type, unsigned elements, bool rows);       /* a local buffer that nests share one after the other: empty from here on; rows: so many for each of the machine's tile_rows */
#endif
