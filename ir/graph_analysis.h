/* graph_analysis.h: questions about a whole graph. What a node is made of has lower ids than the node, so that one sweep answers each; answers are by id. */
#ifndef OPTC_IR_GRAPH_ANALYSIS_H
#define OPTC_IR_GRAPH_ANALYSIS_H
#include "ir/graph.h"

/* The parts of a node: its arguments, the extents of its space, the results of its region. */
static inline unsigned node_parts(const Node *n) { return n->n_args + n->space->rank + (n->region ? n->region->n_results : 0); }
static inline const Node *node_part(const Node *n, unsigned k) {
  if (k < n->n_args) return n->args[k];
  k -= n->n_args;
  return k < n->space->rank ? n->space->extent[k] : n->region->results[k - n->space->rank];
}

/* --- what is needed: sets of nodes ---------------------------------------------------------------------------------------------- */

static inline void graph_mark(bool *marked, const Node *n) { if (n) marked[n->id] = true; }      /* NULL: nothing */
void graph_mark_write(bool *marked, const Write *);                      /* its value and condition */
void graph_mark_requires(const Graph *, bool *marked);
void graph_mark_exists(const Graph *, bool *marked);
void graph_mark_roots(const Graph *, bool *marked);                      /* all that an entry does */

void graph_mark_operands(const Graph *, bool *marked);                   /* closes the set: all that marked nodes need */
void graph_mark_values(const Graph *, bool *marked);                     /* without extents: where every space is the item's */
/* Down to totals, and to values that are there already (`there`, or NULL): of those the extents only. */
void graph_mark_missing(const Graph *, bool *marked, const bool *there);
bool *graph_needs(const Graph *, const Node *root, Arena *);             /* what one node needs, itself included */
/* Whether a write, requirement or layout predicate needs the node. */
bool *graph_reachable(const Graph *, Arena *);

/* --- scans ---------------------------------------------------------------------------------------------------------------------- */

/* Bit d is set where the value depends on what a scan at depth d carries. */
uint64_t *graph_carries(const Graph *, Arena *);
static inline int carries_depth(uint64_t carries) { return carries ? 63 - __builtin_clzll(carries) : -1; }       /* of the innermost such scan; -1: none */
/* What the region of a scan computes anew each trip: the nodes in it that depend on what this scan carries. */
bool *graph_scan_body(const Graph *, const Node *scan, const uint64_t *carries, Arena *);

/* --- the call and its items ----------------------------------------------------------------------------------------------------- */

/* Whether a value is the same for all items: made of no operand, size or number of an item. */
bool graph_is_global(const Graph *, const Node *);
/* A bit for each hyper-parameter that global writes or `skip if` depend on, but by totals: groups must agree on them. */
uint64_t graph_shared_hypers(const Graph *, Arena *);
/* How many totals stand one above the other below the node: item values of stage s wait for the totals of stage s. *n_stages: the highest number. */
unsigned *graph_stages(const Graph *, Arena *, unsigned *n_stages);
/* The slot of a TOTAL that a write needs, numbered in order of id; -1 for other nodes. */
int *graph_slots(const Graph *, Arena *, unsigned *n_slots);
#endif
