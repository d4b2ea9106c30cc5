/* lower_lanes.h: private to passes: reductions along columns, and along rows of the same data, in one sweep. */
#ifndef OPTC_PASSES_LOWER_LANES_H
#define OPTC_PASSES_LOWER_LANES_H
#include "passes/lower_nest.h"

enum { LANES_LEAST_ROWS = 128 };         /* fewer go another way */

/* What goes together: columns that reduce the elements of one space, each with the temporary for its lanes; behind them in the array rows of the same elements. */
typedef struct Lanes { const Node **column, **row; unsigned *buffer, n_columns, n_rows; } Lanes;

bool lanes_take_column(Nest *, const Node *);                            /* a REDUCE that can go by columns */
bool lanes_take_row(const Node *column, const Node *);                   /* one along the rows of the same elements */
Room lanes_room(const Node *column);                                     /* the launch */
Room lanes_blocks(const Node *column);                                   /* of the temporary: a unit has LANES_COUNT elements */
void nest_fold_lanes(Nest *, const Lanes *);                             /* rows are done then; columns are what nest_fold_columns makes of their lanes */
#endif
