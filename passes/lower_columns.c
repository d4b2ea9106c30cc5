/* lower_columns.c: reductions along an axis that is not the one along which memory lies: columns side by side, in strips. Of many rows lower_lanes.c makes the lanes.
 *
 * A tile is a run of positions of the free axes, a strip WIDTH of them in one row. Order `lanes` of the language: 16 lanes of each column stand in lane[16][WIDTH],
 * where row i of a block of 1,024 goes to lane i mod 16; a block's lanes become one row, rows of blocks wait in tree[level][WIDTH], as in lower_fold.c. */
#include "passes/lower_nest.h"

enum { WIDTH = NEST_STRIP, LANES = LANES_COUNT, LEVELS = 24, AHEAD = 16 };       /* AHEAD: rows */

/* Which of its own axes an access follows element by element; -1: none. */
static int unit_axis(const Nest *l, const Node *n) {
  unsigned rank = n->space->rank, places = n->n_args - (n->op == OP_READ && n->aux == 1);
  if (l->plan.stored[n->id] || l->plan.source[n->id] || (n->op == OP_READ && !places)) return (int)rank - 1;
  return places ? index_unit_axis(n->args[places - 1]) : -1;
}

bool nest_goes_by_columns(Nest *l, const Node *n) {
  const Node *root = n->args[0];
  const Space *s = root->space;
  bool *need = arena_array(l->arena, root->id + 1, sizeof *need), columns = false;
  if (n->imm != 1 || s->rank < 2) return false;
  need[root->id] = true;
  for (unsigned i = root->id + 1; i-- > 0;) {
    const Node *x = l->graph->nodes[i];
    if (!need[i] || x->space != s) continue;
    bool access = l->plan.stored[i] || l->plan.source[i] || x->op == OP_READ || x->op == OP_MAP;
    int axis = access ? unit_axis(l, x) : -1;
    if (axis == (int)s->rank - 1) return false;
    columns |= axis == (int)s->rank - 2;
    for (unsigned k = 0; !access && k < x->n_args; k++) need[x->args[k]->id] = true;
  }
  return columns;
}

typedef struct Strip {
  Nest *nest;
  ReduceKind kind;
  Type type;
  unsigned lane, tree, sum;              /* local buffers */
  Inst *low, *n;                         /* its first column in the row, and how many there are */
} Strip;

static Inst *plus(Nest *l, Inst *a, Inst *b) { return nest_op2(l, KOP_ADD, a, b); }
static Inst *row_of(Nest *l, Inst *row, Inst *column) { return plus(l, nest_op2(l, KOP_MUL, row, nest_i64(l, WIDTH)), column); }
static Inst *open_columns(const Strip *t) { return nest_open(t->nest, nest_i64(t->nest, 0), t->n, 0, NULL); }
static void close_columns(const Strip *t) { nest_close(t->nest, 0, NULL); }

static void fill(const Strip *t, unsigned buffer, Inst *n) {
  Nest *l = t->nest;
  Inst *i = nest_open(l, nest_i64(l, 0), n, 0, NULL);
  nest_store(l, buffer, i, nest_const(l, t->type, nest_identity(t->kind, t->type)), NULL);
  nest_close(l, 0, NULL);
}

/* Rows low..high of one block into the lanes. */
static void add_rows(const Strip *t, const Node *x, Inst *low, Inst *high) {
  Nest *l = t->nest;
  unsigned along = x->space->rank - 2;
  Inst *row = nest_open(l, low, high, 0, NULL), *lane = nest_op2(l, KOP_AND, row, nest_i64(l, LANES - 1));
  l->point.index[along + 1] = row;
  nest_settle_value(l, x->space, 1u << along, x);
  l->point.index[along] = nest_open(l, t->low, plus(l, t->low, t->n), 0, NULL);
  nest_here(l, x->space, NULL);
  Inst *at = row_of(l, lane, nest_op2(l, KOP_SUB, l->point.index[along], t->low));
  size_t first = l->kernel.at->n;
  Inst *value = nest_element(l, x);
  /* rows lie apart, in pieces too short for a machine to see where the next one is */
  nest_fetch(l, first, l->point.index[along], nest_op2(l, KOP_MUL, nest_extent(l, x->space->extent[along]), nest_i64(l, AHEAD)));
  nest_store(l, t->lane, at, nest_pair(l, t->kind, nest_load(l, t->lane, at, NULL), value), NULL);
  nest_close(l, 0, NULL);
  nest_unsettle(l);
  nest_close(l, 0, NULL);
}

/* The lanes stand in a buffer from `at` on, so far apart. */
static void join_lanes(const Strip *t, unsigned buffer, Inst *at, Inst *apart) {
  Nest *l = t->nest;
  Inst *c = open_columns(t), *x[LANES];
  for (int k = 0; k < LANES; k++) x[k] = nest_load(l, buffer, plus(l, plus(l, at, nest_op2(l, KOP_MUL, nest_i64(l, k), apart)), c), NULL);
  for (int half = LANES/2; half; half /= 2)
    for (int k = 0; k < half; k++) x[k] = nest_pair(l, t->kind, x[k], x[k + half]);
  nest_store(l, t->sum, c, x[0], NULL);
  close_columns(t);
}

/* Level k of the tree waits in tree[k] where bit k of the number of blocks so far is set. */
static void push_block(const Strip *t, Inst *block) {
  Nest *l = t->nest;
  Inst *one = nest_i64(l, 1), *full = nest_op2(l, KOP_SUB, nest_bits(l, nest_op2(l, KOP_XOR, block, plus(l, block, one))), one);      /* trailing ones */
  Inst *level = nest_open(l, nest_i64(l, 0), full, 0, NULL), *c = open_columns(t);
  nest_store(l, t->sum, c, nest_pair(l, t->kind, nest_load(l, t->tree, row_of(l, level, c), NULL), nest_load(l, t->sum, c, NULL)), NULL);
  close_columns(t);
  nest_close(l, 0, NULL);
  c = open_columns(t);
  nest_store(l, t->tree, row_of(l, full, c), nest_load(l, t->sum, c, NULL), NULL);
  close_columns(t);
}

static void finish_tree(const Strip *t, Inst *blocks) {
  Nest *l = t->nest;
  Inst *zero = nest_i64(l, 0), *one = nest_i64(l, 1), *level = nest_open(l, zero, nest_bits(l, blocks), 0, NULL), *bit = nest_op2(l, KOP_SHL, one, level);
  Inst *first = nest_op2(l, KOP_EQ, nest_op2(l, KOP_AND, blocks, nest_op2(l, KOP_SUB, bit, one)), zero);
  nest_if(l, nest_op2(l, KOP_NE, nest_op2(l, KOP_AND, blocks, bit), zero));
  Inst *c = open_columns(t), *waits = nest_load(l, t->tree, row_of(l, level, c), NULL);
  nest_store(l, t->sum, c, nest_select(l, first, waits, nest_pair(l, t->kind, waits, nest_load(l, t->sum, c, NULL))), NULL);
  close_columns(t);
  nest_end_if(l);
  nest_close(l, 0, NULL);
}

/* Block `block` from the elements. */
static void fold_block(const Strip *t, const Node *x, Inst *rows, Inst *block) {
  Nest *l = t->nest;
  Inst *low = nest_op2(l, KOP_SHL, block, nest_i64(l, LANES_BLOCK_BITS));
  fill(t, t->lane, nest_i64(l, LANES*WIDTH));
  add_rows(t, x, low, nest_min(l, rows, plus(l, low, nest_i64(l, LANES_BLOCK))));
  join_lanes(t, t->lane, nest_i64(l, 0), nest_i64(l, WIDTH));
}

/* around: which matrix; columns: how many it has; lanes: as of nest_fold_columns. */
static void fold_strip(const Strip *t, const Node *x, Inst *around, Inst *columns, unsigned lanes) {
  Nest *l = t->nest;
  Inst *rows = nest_extent(l, x->space->extent[x->space->rank - 1]), *blocks = nest_blocks(l, rows, LANES_BLOCK_BITS);
  fill(t, t->sum, t->n);                 /* what no rows make */
  Inst *block = nest_open(l, nest_i64(l, 0), blocks, 0, NULL), *first = nest_op2(l, KOP_SHL, plus(l, nest_op2(l, KOP_MUL, around, blocks), block), nest_i64(l, LANES_BITS));
  if (lanes) join_lanes(t, lanes - 1, plus(l, nest_op2(l, KOP_MUL, first, columns), t->low), columns);
  else fold_block(t, x, rows, block);
  push_block(t, block);
  nest_close(l, 0, NULL);
  finish_tree(t, blocks);
}

void nest_fold_columns(Nest *l, const Node *n, unsigned lanes) {
  const Node *x = n->args[0];
  unsigned along = x->space->rank - 2;
  Type type = (Type)n->type;
  Strip strip = {l, (ReduceKind)(n->aux & 255), type, lanes ? 0 : nest_scratch(l, type, LANES*WIDTH, false), nest_scratch(l, type, LEVELS*WIDTH, false), nest_scratch(l, type, WIDTH, false), NULL, NULL};
  Inst *length = nest_extent(l, x->space->extent[along]), *bounds[2];
  Inst *row = nest_open_rows(l, length, nest_add(l, KOP_E_BEGIN, TYPE_I64, 0, 0, NULL), nest_add(l, KOP_E_END, TYPE_I64, 0, 0, NULL), bounds);
  Inst *first = nest_op2(l, KOP_MUL, row, length);
  nest_digits(l, x->space, along, row);
  Inst *strips = nest_op2(l, KOP_IDIV, plus(l, nest_op2(l, KOP_SUB, bounds[1], bounds[0]), nest_i64(l, WIDTH - 1)), nest_i64(l, WIDTH));
  Inst *at = plus(l, bounds[0], nest_op2(l, KOP_MUL, nest_open(l, nest_i64(l, 0), strips, 0, NULL), nest_i64(l, WIDTH)));
  strip.low = nest_op2(l, KOP_SUB, at, first);
  strip.n = nest_min(l, nest_i64(l, WIDTH), nest_op2(l, KOP_SUB, bounds[1], at));
  fold_strip(&strip, x, row, length, lanes);
  Inst *c = open_columns(&strip);
  nest_store_value(l, n, plus(l, at, c), nest_load(l, strip.sum, c, NULL));
  close_columns(&strip);
  nest_close(l, 0, NULL);
  nest_close(l, 0, NULL);
}
