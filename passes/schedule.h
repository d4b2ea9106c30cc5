/* schedule.h: private to passes/schedule*.c: the state of pass `schedule`. */
#ifndef OPTC_PASSES_SCHEDULE_H
#define OPTC_PASSES_SCHEDULE_H
#include "passes/lower_program.h"

typedef struct Blocks Blocks;             /* schedule_blocks.c */

typedef struct Schedule {
  Nest nest;
  const Graph *graph;
  unsigned *ready;                       /* by node: the first round in which its value can be had */
  unsigned *round;                       /* by node that is computed whole: in which */
  bool *whole;                           /* by node: its value at one position needs another value's at many; computed once, kept */
  bool *fold;                            /* by node: a reduction over the elements of the item, made of partials */
  unsigned *partial;                     /* by such a node: its temporary */
  unsigned *write_round;                 /* by write */
  bool *in_loop;                         /* by write: to a tensor of the item's shape, element by element */
  unsigned n_rounds, now;                /* now: the round whose kernels are written */
  const Blocks *blocks;                  /* all tensors are written block by block, in the last round; or NULL */
} Schedule;

static inline const Operand *schedule_target(const Schedule *s, unsigned write) { return &s->graph->module->operands[s->graph->writes[write].operand]; }
bool *schedule_begin(Schedule *, const char *name, unsigned round, Launch);           /* a kernel, as nest_begin */

/* schedule_demand.c: conditions, added to the graph, by id: where work needs a value, and where its temporary needs room. NULL: always. */
void schedule_demands(Graph *, Arena *, const Node ***work, const Node ***room);
/* schedule_phase.c: the loop over elements of a round, in chunks. */
void schedule_phase(Schedule *, unsigned round);
/* schedule_repeat.c: the kernels of a scan, and what carries its results marked as kept: NULL; or why it cannot be one kernel after the other. */
const Plain *schedule_repeat(Schedule *, const Node *scan);
const Plain *schedule_plain(const Node *);                /* schedule_plain.c: why a node is computed whole one element after the other; NULL: it is not */
/* schedule_epilogue.c: of a product: the node that is made of it element by element, if nothing else is made of it and all that it needs is there; or NULL. sink: by node:
 * it has a place in memory. */
const Node *schedule_epilogue(const Schedule *, const Node *product, const bool *sink);
/* schedule_blocks.c: rules that go by blocks of a constant length. */
const Blocks *schedule_find_blocks(Schedule *);          /* before `whole`: values of elements and blocks are then kept nowhere. NULL: the rule is not of that kind */
void schedule_blocks(Schedule *);
/* schedule_rows.c: what a round computes whole, row by row; marks what is done as kept. */
void schedule_rows(Schedule *, unsigned round);
unsigned schedule_row_axes(const Node *);                /* axes whose positions do not need each other; 0: it is not computed row by row */
void schedule_values(Schedule *);        /* chooses the new values of tensors that are computed that way, and those that are stored in place at once */
#endif
