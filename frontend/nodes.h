/* nodes.h: nodes and spaces, without names of the text. They belong to the graph at hand (its arena), which interns them: compare them by pointer. */
#ifndef OPTC_FRONTEND_NODES_H
#define OPTC_FRONTEND_NODES_H
#include "frontend/lower.h"

/* transfer.c */
const Node *node_transfer(Lower *, const Graph *from, const Node *, Graph *to);
bool node_uses(const Graph *, const Node *, bool (*leaf)(const Module *, const Node *), const Module *);    /* some reachable leaf satisfies it */
bool node_constant(const Graph *, const Node *, Bits *out);              /* its value if nothing in it depends on a call */

/* spaces.c */
const Node *index_node(Lower *, const Space *, unsigned axis);
const Node *node_spread(Lower *, const Node *, const Space *);           /* a scalar over a space */
const Node *bool_and(Lower *, const Node *a, const Node *b);             /* either may be NULL: true */
const Space *space_pick(Lower *, const Space *from, unsigned n, const unsigned *axes);
const Space *item_space(Lower *);
bool is_item_space(Lower *, const Space *);
const Space *value_space(Lower *, const Value *);
const Node *size_node(Lower *, unsigned operand, int32_t axis);
const Node *dim_extent(Lower *, unsigned operand, bool item, const Shape *, unsigned dim);

/* agree.c */
int64_t extent_owner(const Node *);                                      /* the operand whose axis it is, or ABOUT_SHAPES */
const Node *under_guard(Lower *, const Node *cond);                      /* a requirement where the enclosing conditions hold */
typedef struct Extent { const Node *node; const char *what; Range where; } Extent;       /* of an axis: "axis 0 of x", and what says so (no source: nothing in the text) */
void extents_agree(Lower *, Range at, Extent a, Extent b);               /* proved, refused, or required at entry */

/* move.c */
const Node *node_move(Lower *, const Node *, const Space *to, const Node *const *index);      /* every index inside its axis: pointwise values are computed anew */
const Node *node_at(Lower *, const Node *, const Space *of, const Space *to, const Node *const *index, unsigned n);      /* a tensor read at indices: total */
unsigned node_axes(Lower *, const Node *, const Space *);                /* mask: on which axes of the space it depends */
const Node *node_project(Lower *, const Node *, const Space *from, const Space *to, const unsigned *axes);      /* axes[k]: axis of `from` that is axis k of `to` */
bool node_reads_data(Lower *, const Node *);                             /* depends on elements of tensors */
#endif
