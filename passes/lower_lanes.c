/* lower_lanes.c: reductions along columns, and along rows of the same data, in one sweep over whole rows.
 *
 * In the order `lanes` of the language row i of a block of 1,024 goes to lane i mod 16 of each column. A unit of the launch has some lanes of one block:
 *
 *   for four rows of a lane, which lie 16 rows apart {
 *     for column { lane[column] = lane[column] + x0 + x1 + x2 + x3;  fold x0, x1, x2, x3, each along its row }
 *   }
 *
 * Rows are done then. The lanes of columns stand in a temporary, 16 rows for each block, and nest_fold_columns makes one row of them.
 * Where there are few rows that temporary would be as large as what is reduced: lower_columns.c has the other way. */
#include "passes/lower_lanes.h"

enum { LANES = LANES_COUNT, UNIT_BITS = 7, SIDE = 4, FETCH = 512 };     /* UNIT: rows; SIDE: rows side by side; FETCH: elements */

typedef struct Sweep {
  Nest *nest;
  const Lanes *lanes;
  const Space *columns, *rows;           /* the same elements: [.., column, row] and [.., row, column] */
  unsigned along;                        /* axes before these two */
  Inst *n_rows, *n_columns, *around, *first;       /* around: which matrix; first: row of the temporary that is the block's lane 0 */
} Sweep;

static Inst *op(const Sweep *w, KOp code, Inst *a, Inst *b) { return nest_op2(w->nest, code, a, b); }
static Inst *add(const Sweep *w, Inst *a, Inst *b) { return op(w, KOP_ADD, a, b); }
static Inst *sub(const Sweep *w, Inst *a, Inst *b) { return op(w, KOP_SUB, a, b); }
static Inst *times(const Sweep *w, Inst *a, Inst *b) { return op(w, KOP_MUL, a, b); }
static Inst *number(const Sweep *w, int64_t n) { return nest_i64(w->nest, n); }

/* --- what can go together ------------------------------------------------------------------------------------------------------------- */

bool lanes_take_column(Nest *l, const Node *n) { return n->op == OP_REDUCE && nest_is_fold(n) && nest_goes_by_columns(l, n); }

bool lanes_take_row(const Node *column, const Node *n) {
  const Space *c = column->args[0]->space, *r = n->op == OP_REDUCE ? n->args[0]->space : NULL;
  unsigned along = c->rank - 2;
  if (!r || n->imm != 1 || !nest_is_fold(n) || r->rank != c->rank) return false;
  for (unsigned a = 0; a < along; a++) if (r->extent[a] != c->extent[a]) return false;
  return r->extent[along] == c->extent[along + 1] && r->extent[along + 1] == c->extent[along];
}

Room lanes_room(const Node *column) {
  const Space *s = column->args[0]->space;
  unsigned along = s->rank - 2;
  return (Room){.space = s, .axes = {(1u << along) - 1, 2u << along}, .unit = {1, 1 << UNIT_BITS}};
}

Room lanes_blocks(const Node *column) {
  const Space *s = column->args[0]->space;
  unsigned along = s->rank - 2;
  return (Room){.space = s, .axes = {(1u << along) - 1, 2u << along, 1u << along}, .unit = {1, LANES_BLOCK, 1}};
}

/* --- the sweep -------------------------------------------------------------------------------------------------------------------------- */

/* Elements of one row are computed apart from those of another: each has a point of its own. */
static NestPoint row_point(const Sweep *w, const Space *s, Inst *row, const Node *const *roots, unsigned n) {
  Nest *l = w->nest;
  unsigned axis = w->along + (s == w->columns);
  bool *need = nest_by_node(l, sizeof *need);
  l->point.memo = nest_by_node(l, sizeof *l->point.memo);
  l->point.index[axis] = row;
  for (unsigned k = 0; k < n; k++) graph_mark(need, roots[k]->args[0]);
  nest_settle(l, s, 1u << (2*w->along + 1 - axis), need);
  return l->point;
}

/* The values of some reductions' arguments at a column of a row. */
static void row_values(const Sweep *w, const NestPoint *at, const Space *s, Inst *flat, Inst *column, const Node *const *roots, unsigned n, Inst **value) {
  Nest *l = w->nest;
  l->point = *at;
  l->point.index[w->along + (s != w->columns)] = column;
  nest_here(l, s, flat);
  for (unsigned k = 0; k < n; k++) value[k] = nest_element(l, roots[k]->args[0]);
}

/* Rows row, row + 16, ... of the matrix, all in this lane of the block. */
static void add_rows(const Sweep *w, Inst *lane, Inst *row, unsigned side) {
  Nest *l = w->nest;
  const Lanes *t = w->lanes;
  const NestPoint before = l->point;
  NestPoint of_columns[SIDE], of_rows[SIDE];
  Inst *flat[SIDE], *number_of[SIDE], **value = arena_array(l->arena, SIDE*(size_t)(t->n_columns + t->n_rows), sizeof *value);
  for (unsigned q = 0; q < side; q++) {
    Inst *i = q ? add(w, row, number(w, LANES*q)) : row;
    number_of[q] = add(w, times(w, w->around, w->n_rows), i);
    flat[q] = times(w, number_of[q], w->n_columns);
    of_columns[q] = row_point(w, w->columns, i, t->column, t->n_columns);
    if (t->n_rows) of_rows[q] = row_point(w, w->rows, i, t->row, t->n_rows);
    l->point = before;
  }
  Inst *base = times(w, add(w, w->first, lane), w->n_columns), *column = nest_open(l, number(w, 0), w->n_columns, 0, NULL), *at = add(w, base, column);
  size_t from = l->kernel.at->n;
  for (unsigned q = 0; q < side; q++) row_values(w, &of_columns[q], w->columns, NULL, column, t->column, t->n_columns, value + q*t->n_columns);
  nest_fetch(l, from, column, number(w, FETCH));
  for (unsigned k = 0; k < t->n_columns; k++) {
    ReduceKind kind = (ReduceKind)(t->column[k]->aux & 255);
    Inst *sum = nest_load(l, t->buffer[k], at, NULL);
    for (unsigned q = 0; q < side; q++) sum = nest_pair(l, kind, sum, value[q*t->n_columns + k]);
    nest_store(l, t->buffer[k], at, sum, NULL);
  }
  for (unsigned q = 0; q < side && t->n_rows; q++) {
    row_values(w, &of_rows[q], w->rows, add(w, flat[q], column), column, t->row, t->n_rows, value);
    for (unsigned k = 0; k < t->n_rows; k++) nest_add(l, KOP_E_FOLD, TYPE_BOOL, q*t->n_rows + k, 1, &value[k])->aux = t->row[k]->aux & 255;
  }
  nest_close(l, 0, NULL);
  l->point = before;
  for (unsigned q = 0; q < side; q++)
    for (unsigned k = 0; k < t->n_rows; k++)
      nest_store_value(l, t->row[k], number_of[q], nest_add(l, KOP_E_FOLDED, (Type)t->row[k]->type, q*t->n_rows + k, 1, &column));
}

static void clear_lanes(const Sweep *w, Inst *low, Inst *high) {
  Nest *l = w->nest;
  Inst *at = nest_open(l, times(w, add(w, w->first, low), w->n_columns), times(w, add(w, w->first, high), w->n_columns), 0, NULL);
  for (unsigned k = 0; k < w->lanes->n_columns; k++) {
    const Node *n = w->lanes->column[k];
    nest_store(l, w->lanes->buffer[k], at, nest_const(l, (Type)n->type, nest_identity((ReduceKind)(n->aux & 255), (Type)n->type)), NULL);
  }
  nest_close(l, 0, NULL);
}

/* Lanes low..high of the block of n rows that begins at row `block`. */
static void sweep_block(const Sweep *w, Inst *block, Inst *n, Inst *low, Inst *high) {
  Nest *l = w->nest;
  clear_lanes(w, low, high);
  Inst *full = op(w, KOP_IDIV, n, number(w, SIDE*LANES)), *group = nest_open(l, number(w, 0), full, 0, NULL), *lane = nest_open(l, low, high, 0, NULL);
  add_rows(w, lane, add(w, block, add(w, times(w, group, number(w, SIDE*LANES)), lane)), SIDE);
  nest_close_axes(l, 2);
  Inst *rest = times(w, full, number(w, SIDE*LANES)), *left = nest_blocks(l, sub(w, n, rest), LANES_BITS), *some = nest_open(l, number(w, 0), left, 0, NULL);
  Inst *row = add(w, rest, times(w, some, number(w, LANES)));
  lane = nest_open(l, low, nest_min(l, high, sub(w, n, row)), 0, NULL);
  add_rows(w, lane, add(w, block, add(w, row, lane)), 1);
  nest_close_axes(l, 2);
}

/* A block has as many units as its rows fill, 8 at most: unit k of u has lanes 16*k/u .. 16*(k + 1)/u. */
void nest_fold_lanes(Nest *l, const Lanes *lanes) {
  const Space *s = lanes->column[0]->args[0]->space;
  Sweep sweep = {.nest = l, .lanes = lanes, .columns = s, .rows = lanes->n_rows ? lanes->row[0]->args[0]->space : NULL, .along = s->rank - 2}, *w = &sweep;
  w->n_rows = nest_extent(l, s->extent[w->along + 1]);
  w->n_columns = nest_extent(l, s->extent[w->along]);
  Inst *units = nest_blocks(l, w->n_rows, UNIT_BITS), *blocks = nest_blocks(l, w->n_rows, LANES_BLOCK_BITS);
  Inst *at = nest_open(l, nest_add(l, KOP_E_BEGIN, TYPE_I64, 0, 0, NULL), nest_add(l, KOP_E_END, TYPE_I64, 0, 0, NULL), 0, NULL);
  Inst *unit = op(w, KOP_IMOD, at, units), *block = op(w, KOP_SHR, unit, number(w, LANES_BLOCK_BITS - UNIT_BITS));
  w->around = op(w, KOP_IDIV, at, units);
  w->first = op(w, KOP_SHL, add(w, times(w, w->around, blocks), block), number(w, LANES_BITS));
  nest_set_axes(l, s, (1u << w->along) - 1, w->around);
  Inst *row = op(w, KOP_SHL, block, number(w, LANES_BLOCK_BITS)), *n = nest_min(l, number(w, LANES_BLOCK), sub(w, w->n_rows, row)), *own = nest_blocks(l, n, UNIT_BITS);
  Inst *k = op(w, KOP_AND, unit, number(w, (LANES_BLOCK >> UNIT_BITS) - 1)), *low = times(w, k, number(w, LANES)), *high = add(w, low, number(w, LANES));
  sweep_block(w, row, n, op(w, KOP_IDIV, low, own), op(w, KOP_IDIV, high, own));
  nest_close_axes(l, 1);
}
