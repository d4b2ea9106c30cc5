/* lower_program.h: private to passes: a program's kernels, one after the other, from nest_start to nest_finish. A kernel is begun, what it needs is marked and closed
 * (nest_close_need), emitted (nest_emit), and then what it is there for is written. The arrays to mark and the kernels lie in the arena of the unit. */
#ifndef OPTC_PASSES_LOWER_PROGRAM_H
#define OPTC_PASSES_LOWER_PROGRAM_H
#include "passes/lower_nest.h"

bool nest_start(Nest *, Unit *);                                         /* a new program; false: refused, reported */
bool *nest_begin(Nest *, const char *name, Launch);                      /* a new kernel; an array to mark what it needs */
bool *nest_begin_tile(Nest *, const char *name, Tiles);
bool *nest_begin_room(Nest *, const char *name, Room, unsigned most, const Node *when);      /* at most so many units a tile; kernels of equal rooms share a launch space */
void nest_open_repeat(Nest *, const Node *scan);                         /* kernels until it is closed are of the body of a scan: once a trip */
void nest_close_repeat(Nest *);
bool nest_checks(Nest *);
bool nest_layout(Nest *);
void nest_stage(Nest *, unsigned stage);                                 /* the totals of a stage */
unsigned nest_compute_write(Nest *, const Write *);                      /* a new value into a temporary: 1 + its buffer; 0: a number */
void nest_copy_write(Nest *, const Write *, unsigned from);
void nest_set_number(Nest *, const Write *, Inst *);
bool nest_same_room(const Room *, const Room *);
bool nest_same_reach(const Reach *, const Reach *);
void nest_share_temps(Nest *);                                           /* lower_share.c: those whose times do not meet are one */
void nest_finish(Nest *);                                                /* kernels of the call and of sizes; the program is the unit's */
void lower_nests(Unit *);

/* --- lower_product.c, lower.c ------------------------------------------------------------------------------------------------------- */
/* Kernels of a contraction that is a product of matrices; false: it is none. epilogue: what is made of it element by element, and all that is; or NULL. Where it is made with the
 * product, it is marked as kept. */
bool nest_product(Nest *, const Node *, const Node *epilogue);
bool nest_is_product(Nest *, const Node *);
bool lower_is_pointwise(Unit *);                                         /* every loop of the rule is one over the item's elements */
#endif
