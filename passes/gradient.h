/* gradient.h: private to passes/gradient*.c: reverse accumulation on a graph.
 *
 * gradient.c       the forward graph copied, the sweep over it from its outputs back, scans, what is written
 * gradient_rules.c what each operation gives to its arguments, for the adjoint of its value
 * gradient_fold.c  the same for reductions, contractions, softmax and running values
 * gradient_move.c  values over other index spaces
 *
 * An adjoint has the type of its value, and its space or rank 0 (the same for all positions). A node gets one share a use; shares are added in the
 * order of the uses. NULL is an adjoint that is 0 everywhere. */
#ifndef OPTC_PASSES_GRADIENT_H
#define OPTC_PASSES_GRADIENT_H
#include "ir/graph_analysis.h"
#include "passes/pass.h"

enum { GRADIENT_AXES = 8 };

typedef struct Share {
  const Node *value;                     /* to be added: over the node's space, or over its own and added at `index` */
  const Node *const *index; unsigned n_index;
  bool scattered;
  struct Share *next;
} Share;

typedef struct Pending { const Node *to; Share *share; } Pending;

typedef struct Sweep {                   /* over the whole graph, or over the body of a scan */
  int depth;                             /* -1: the whole */
  Share **share;                         /* by id, first use first */
  bool *active;                          /* by id: the value depends on what the gradient is taken for */
} Sweep;

/* The arguments of a contraction, each over the axes that it depends on: a value of the forward graph of its own. */
typedef struct Projected { const Node *node; unsigned n, axis[GRADIENT_AXES]; } Projected;

typedef struct Gradient {
  Graph *g;
  Module *module;
  Arena *arena;
  Diag *diag;
  unsigned n_forward;                    /* nodes that the sweep looks at: ids below */
  uint64_t *carries;                     /* of these, by id */
  const Node **instead;                  /* of these, by id: what stands for the value in the end (a saved output, a result of another scan) */
  Projected **projected;                 /* of contractions, by id */
  bool **carried;                        /* of scans, by id: which of the carried values are active */
  bool *output;                          /* by id: is the value of an output */
  bool *over_items;                      /* of these, by id: one number of the call, made of a TOTAL */
  const Node **leaf;                     /* by operand: the whole tensor or number that a gradient is asked for, or NULL */
  bool *hyper;                           /* by hyper-parameter: the same */
  Sweep *sweep;
  Pending *pending; unsigned n_pending; size_t pending_capacity;
  uint16_t *axes; unsigned n_axes;       /* memo by id: 1 + mask */
  const Node **moved; unsigned *moved_by, n_moved, moves;
} Gradient;

/* --- gradient.c ---------------------------------------------------------------------------------------------------------------------------- */
void gradient_give(Gradient *, const Node *to, const Node *share);       /* over the space of `to`, or rank 0 */
void gradient_scatter(Gradient *, const Node *to, const Node *share, unsigned n, const Node *const *index);
bool gradient_wants(const Gradient *, const Node *);                     /* the node is active here */
void gradient_refuse(Gradient *, const Node *, const char *what);

/* --- gradient_move.c ------------------------------------------------------------------------------------------------------------------------ */
unsigned gradient_axes(Gradient *, const Node *);                        /* mask: on which axes of its space the value depends */
const Space *gradient_space(Gradient *, const Space *from, unsigned n, const unsigned *axis);
const Node *gradient_index(Gradient *, const Space *, unsigned axis);
const Node *gradient_move(Gradient *, const Node *, const Space *to, const Node *const *index);      /* computed at other positions, all inside */
const Node *gradient_spread(Gradient *, const Node *, const Space *);    /* rank 0 to a space */
const Node *gradient_place(Gradient *, const Node *, const Space *to, const Node *const *index);     /* the same elements; not computed again where there are more positions */
const Node *gradient_project(Gradient *, const Node *, unsigned n, const unsigned *axis);            /* over these of its axes, the only ones that it depends on */
const Node *gradient_at(Gradient *, const Node *, const Space *to, unsigned n, const Node *const *index);    /* MAP; rank 0 stays */

/* --- gradient_rules.c, gradient_fold.c ---------------------------------------------------------------------------------------------------------- */
bool gradient_is_constant(Op);            /* its derivative is 0 wherever it has one */
void gradient_of(Gradient *, const Node *, const Node *adjoint);         /* gives to the arguments */
const Node *gradient_times(Gradient *, const Node *adjoint, const Node *derivative);        /* 0 where the adjoint is */
const Node *gradient_over(Gradient *, const Node *adjoint, const Node *divisor);
const Node *gradient_sum(Gradient *, const Node *, unsigned axes);       /* over trailing axes */
void gradient_of_reduce(Gradient *, const Node *, const Node *);
void gradient_of_contract(Gradient *, const Node *, const Node *);
void gradient_of_attend(Gradient *, const Node *, const Node *);
void gradient_of_softmax(Gradient *, const Node *, const Node *);
void gradient_of_cumulate(Gradient *, const Node *, const Node *);
#endif
