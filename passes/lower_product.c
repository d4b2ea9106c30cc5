/* lower_product.c: contractions that are products of matrices, in packed panels and register tiles (kernel.def: tile_contract). Exact.
 *
 * A contraction is such a product where its last factor and the product of the others each have an axis of the result that the other lacks: rows and
 * columns; axes that both have are around it. Its kernels, each over a launch space of its own:
 *   pack_rows, pack_columns    panels; the factors, whatever they are, are evaluated here, along the axis they lie along in memory. Where panels want the
 *                              other axis, 16 of them pass through a square that is transposed
 *   product                    tiles of C in cache: blocks of 512 positions in order, panels of rows, panels of columns, tile_contract
 *   mirror                     of a product that equals its transpose: only tiles that reach below the diagonal are computed, the rest is copied */
#include "passes/lower_program.h"

enum { ROWS, COLUMNS };
enum { BLOCK = 512, GROUP = KERNEL_TILE_GROUP };
/* Of panels packed together: whole ones on every machine. Of a tile in cache: its panels of columns stay in the second cache, its panels of rows pass by. */
static const int64_t panel_unit[] = {KERNEL_TILE_ROWS, KERNEL_TILE_COLUMNS}, cache_unit[] = {11*KERNEL_TILE_ROWS, 4*KERNEL_TILE_COLUMNS};
enum { MIRROR = 64 };

typedef struct Side {
  const Node *factor[NEST_RANK]; unsigned n;
  unsigned axes;                         /* of the result */
  bool along;                            /* lies in memory along positions, not along its own axis */
  unsigned panels;                       /* buffer */
} Side;

typedef struct Product {
  const Node *node;
  const Space *space;                    /* of the factors: axes of the result, then positions */
  unsigned around, positions;            /* axes */
  Side side[2];
  Type type;
} Product;

/* --- which they are --------------------------------------------------------------------------------------------------------------------- */

static bool is_computed(const Node *n) { return op_is_element((Op)n->op) || n->op == OP_MAP || (n->op == OP_READ && n->n_args > (unsigned)(n->aux == 1)); }

/* The axis with which an index grows by one, as a set; none if there is not one. */
static unsigned step_of(const Nest *l, const Node *n) {
  const ProductAxes *of = l->product_axes;
  if (n->op == OP_INDEX) return 1u << n->imm;
  if (n->op == OP_CAST) return of[n->args[0]->id].step;
  if (n->op != OP_ADD && n->op != OP_SUB) return 0;
  const Node *a = n->args[0], *b = n->args[1];
  if (of[a->id].step && !(of[a->id].step & of[b->id].all)) return of[a->id].step;
  return n->op == OP_ADD && !(of[b->id].step & of[a->id].all) ? of[b->id].step : 0;
}

static void find_axes(Nest *l) {
  l->product_axes = nest_by_node(l, sizeof *l->product_axes);
  for (unsigned i = 0; i < l->graph->n_nodes; i++) {
    const Node *n = l->graph->nodes[i];
    ProductAxes *to = &l->product_axes[i];
    if (!n->space->rank) continue;
    unsigned first = n->op == OP_MAP, guard = n->op == OP_READ && n->aux == 1;
    if (!is_computed(n)) to->all = n->op == OP_INDEX ? 1u << n->imm : (1u << n->space->rank) - 1;
    else for (unsigned k = first; k < n->n_args; k++) to->all |= l->product_axes[n->args[k]->id].all;
    if (op_is_element((Op)n->op)) for (unsigned k = 0; k < n->n_args; k++) to->along |= l->product_axes[n->args[k]->id].along;
    else if (is_computed(n) && n->n_args > guard + first) to->along = l->product_axes[n->args[n->n_args - 1 - guard]->id].step;
    if (n->type == TYPE_I64 || n->type == TYPE_I32) to->step = step_of(l, n);
  }
}

static bool is_run(unsigned axes) { return axes && !((axes >> __builtin_ctz(axes)) & ((axes >> __builtin_ctz(axes)) + 1)); }

static bool find_product(Nest *l, const Node *n, Product *p) {
  *p = (Product){.node = n, .type = (Type)n->type};
  if (!l->product_axes) find_axes(l);
  const ProductAxes *of = l->product_axes;
  unsigned rank = n->space->rank, all = (1u << rank) - 1, last = n->n_args - 1, axes[2] = {0};
  if (n->op != OP_CONTRACT || n->n_args < 2 || n->n_args > NEST_RANK || n->aux || rank < 2) return false;
  if ((n->type != TYPE_F32 && n->type != TYPE_F64)) return false;
  for (unsigned k = 0; k < n->n_args; k++) {
    if (n->args[k]->space->rank) p->space = n->args[k]->space;
    axes[k == last] |= of[n->args[k]->id].all;
  }
  if (!p->space || p->space->rank > NEST_RANK) return false;
  bool swapped = axes[0] >> (rank - 1) & 1;                               /* the last axis belongs to the columns: factors commute */
  for (unsigned k = 0; k <= last; k++) {
    Side *s = &p->side[(k == last) != swapped ? COLUMNS : ROWS];
    s->factor[s->n++] = n->args[k];
  }
  p->side[ROWS].axes = axes[swapped] & ~axes[!swapped] & all;
  p->side[COLUMNS].axes = axes[!swapped] & ~axes[swapped] & all;
  p->around = all & ~(p->side[ROWS].axes | p->side[COLUMNS].axes);
  p->positions = ((1u << p->space->rank) - 1) & ~all;
  for (int side = ROWS; side <= COLUMNS; side++) {
    Side *s = &p->side[side];
    unsigned along = 0;
    for (unsigned k = 0; k < s->n; k++) along |= of[s->factor[k]->id].along;
    s->along = along & p->positions && (side == ROWS || !(along & s->axes));
  }
  return is_run(p->side[ROWS].axes) && is_run(p->side[COLUMNS].axes) && p->side[COLUMNS].axes >> (rank - 1) & 1;
}

/* --- which equal their transpose -------------------------------------------------------------------------------------------------------- */

enum { UNKNOWN, SYMMETRIC, NOT_SYMMETRIC, STEPS = 2000 };                  /* a proof of more steps is given up */

static bool shows_symmetry(Nest *, const Node *, unsigned *steps);

/* Whether b is a with the first two axes swapped. */
static bool mirrors(Nest *l, const Node *a, const Node *b, unsigned *steps) {
  if (!*steps) return false;
  --*steps;
  if (a->op != b->op || a->type != b->type || a->space != b->space || a->aux != b->aux || a->n_args != b->n_args) return false;
  if (a == b && !(l->product_axes[a->id].all & 3)) return true;
  if (a->op == OP_INDEX) return a->imm + b->imm == 1;
  if (a->imm != b->imm) return false;
  if (!is_computed(a)) return a == b && shows_symmetry(l, a, steps);
  const Node *const *x = a->args, *const *y = b->args;
  if (a->op == OP_MAP && x[0] != y[0]) return false;
  bool pairs = true;
  for (unsigned k = a->op == OP_MAP; k < a->n_args && pairs; k++) pairs = mirrors(l, x[k], y[k], steps);
  if (pairs) return true;
  if (a->op == OP_ADD || a->op == OP_MUL) return mirrors(l, x[0], y[1], steps) && mirrors(l, x[1], y[0], steps);
  return a->op == OP_MAP && a->n_args == 3 && mirrors(l, x[1], y[2], steps) && mirrors(l, x[2], y[1], steps) && shows_symmetry(l, x[0], steps);
}

/* Of a matrix: each element has the bits of the one across the diagonal. The two factors of a product may change places. */
static bool shows_symmetry(Nest *l, const Node *n, unsigned *steps) {
  uint8_t *known = &l->product_axes[n->id].symmetric;
  if (*known != UNKNOWN) return *known == SYMMETRIC;
  bool good = n->space->rank == 2 && n->space->extent[0] == n->space->extent[1];
  if (good && op_is_element((Op)n->op)) good = mirrors(l, n, n, steps);
  else good = good && n->op == OP_CONTRACT && n->n_args == 2 && !n->aux && mirrors(l, n->args[0], n->args[1], steps) && mirrors(l, n->args[1], n->args[0], steps);
  if (*steps) *known = good ? SYMMETRIC : NOT_SYMMETRIC;
  return good;
}

/* --- words ------------------------------------------------------------------------------------------------------------------------------ */

static Inst *add(Nest *l, Inst *a, Inst *b) { return nest_op2(l, KOP_ADD, a, b); }
static Inst *sub(Nest *l, Inst *a, Inst *b) { return nest_op2(l, KOP_SUB, a, b); }
static Inst *mul(Nest *l, Inst *a, Inst *b) { return nest_op2(l, KOP_MUL, a, b); }
static Inst *quotient(Nest *l, Inst *a, Inst *b) { return nest_op2(l, KOP_IDIV, a, b); }
static Inst *remainder_of(Nest *l, Inst *a, Inst *b) { return nest_op2(l, KOP_IMOD, a, b); }
static Inst *units(Nest *l, Inst *n, Inst *unit) { return quotient(l, sub(l, add(l, n, unit), nest_i64(l, 1)), unit); }
static Inst *whole(Nest *l, Inst *n, int64_t unit) { return mul(l, units(l, n, nest_i64(l, unit)), nest_i64(l, unit)); }
static Inst *count_to(Nest *l, Inst *high) { return nest_open(l, nest_i64(l, 0), high, 0, NULL); }

/* What a kernel of a product computes with. */
typedef struct Frame { Inst *extent[2], *tile[2], *padded[2], *k, *k_whole, *blocks; } Frame;

static Frame open_frame(Nest *l, const Product *p, bool *need) {
  Frame f;
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  f.tile[ROWS] = nest_add(l, KOP_E_TILE_ROWS, TYPE_I64, 0, 0, NULL);
  f.tile[COLUMNS] = nest_add(l, KOP_E_TILE_COLUMNS, TYPE_I64, 0, 0, NULL);
  for (int side = ROWS; side <= COLUMNS; side++) {
    f.extent[side] = nest_axes_count(l, p->space, p->side[side].axes);
    f.padded[side] = whole(l, f.extent[side], panel_unit[side]);
  }
  f.k = nest_axes_count(l, p->space, p->positions);
  f.k_whole = whole(l, f.k, GROUP);
  f.blocks = units(l, f.k, nest_i64(l, BLOCK));
  return f;
}

/* One position of the launch space after the other: its digits. A group of extent NULL is the axes around. */
static Inst *open_positions(Nest *l, const Product *p, unsigned n, Inst *const *counts, Inst **digit) {
  Inst *at = nest_open(l, nest_add(l, KOP_E_BEGIN, TYPE_I64, 0, 0, NULL), nest_add(l, KOP_E_END, TYPE_I64, 0, 0, NULL), 0, NULL), *rest = at;
  for (unsigned k = n; k-- > 0;) {
    digit[k] = remainder_of(l, rest, counts[k]);
    rest = quotient(l, rest, counts[k]);
  }
  nest_set_axes(l, p->space, p->around, rest);
  return rest;                           /* which of the products around */
}

static Inst *block_length(Nest *l, const Frame *f, Inst *low) { return nest_min(l, sub(l, f->k, low), nest_i64(l, BLOCK)); }

/* Where panel `which` of a block of positions starts: blocks one after the other, in each the panels. */
static Inst *panel_place(Nest *l, const Frame *f, int side, Inst *around, Inst *low, Inst *length, Inst *which) {
  Inst *block = add(l, mul(l, mul(l, around, f->k_whole), f->padded[side]), mul(l, low, f->padded[side]));
  return add(l, block, mul(l, mul(l, which, f->tile[side]), side == ROWS ? whole(l, length, GROUP) : length));
}

/* --- packing ---------------------------------------------------------------------------------------------------------------------------- */

static Inst *value(Nest *l, const Product *p, const Side *s, Inst *own, Inst *position) {
  nest_set_axes(l, p->space, s->axes, own);
  nest_set_axes(l, p->space, p->positions, position);
  nest_here(l, p->space, nest_i64(l, 0));
  Inst *x = nest_element(l, s->factor[0]);
  for (unsigned k = 1; k < s->n; k++) x = mul(l, x, nest_element(l, s->factor[k]));
  return x;
}

static void transpose(Nest *l, unsigned to, unsigned from, Inst *to_at, Inst *to_stride, Inst *from_at, Inst *from_stride, Inst *rows, Inst *columns) {
  nest_add(l, KOP_E_TILE_TRANSPOSE, TYPE_BOOL, to, 6, (Inst *[]){to_at, to_stride, from_at, from_stride, rows, columns})->aux = (int32_t)from;
}

/* Panels of one unit of rows or columns, all positions: for what lies along positions. */
static void pack_along(Nest *l, const Product *p, const Frame *f, int side, unsigned square) {
  const Side *s = &p->side[side];
  Inst *digit[1], *unit = nest_i64(l, panel_unit[side]), *group = nest_i64(l, GROUP), *t = f->tile[side];
  Inst *around = open_positions(l, p, 1, (Inst *[]){units(l, f->extent[side], unit)}, digit), *low_own = mul(l, digit[0], unit);
  Inst *high_own = nest_min(l, f->extent[side], add(l, low_own, unit)), *last = sub(l, f->extent[side], nest_i64(l, 1));
  Inst *block = count_to(l, f->blocks), *low = mul(l, block, nest_i64(l, BLOCK)), *length = block_length(l, f, low);
  Inst *panel = nest_open(l, quotient(l, low_own, t), units(l, high_own, t), 0, NULL), *base = panel_place(l, f, side, around, low, length, panel);
  if (side == ROWS) {
    Inst *r = count_to(l, t), *own = nest_min(l, add(l, mul(l, panel, t), r), last), *full = quotient(l, length, group), *start = add(l, base, mul(l, r, group));
    Inst *g = count_to(l, full), *from = add(l, low, mul(l, g, group)), *to = add(l, start, mul(l, mul(l, g, t), group)), *q = count_to(l, group);
    nest_store(l, s->panels, add(l, to, q), value(l, p, s, own, add(l, from, q)), NULL);
    nest_close_axes(l, 2);
    from = add(l, low, mul(l, full, group));
    to = add(l, start, mul(l, mul(l, full, t), group));
    q = count_to(l, remainder_of(l, length, group));
    nest_store(l, s->panels, add(l, to, q), value(l, p, s, own, add(l, from, q)), NULL);
    nest_close_axes(l, 2);
  } else {
    Inst *g = count_to(l, units(l, length, group)), *first = mul(l, g, group), *from = add(l, low, first), *n = nest_min(l, group, sub(l, length, first));
    Inst *c = count_to(l, t), *own = nest_min(l, add(l, mul(l, panel, t), c), last), *to = mul(l, c, group);
    Inst *q = count_to(l, n);
    nest_store(l, square, add(l, to, q), value(l, p, s, own, add(l, from, q)), NULL);
    nest_close_axes(l, 2);
    transpose(l, s->panels, square, add(l, base, mul(l, first, t)), t, nest_i64(l, 0), group, t, n);
    nest_close_axes(l, 1);
  }
  nest_close_axes(l, 3);
}

/* Sixteen positions of all panels: for what lies along rows or columns. */
static void pack_across(Nest *l, const Product *p, const Frame *f, int side, unsigned square) {
  const Side *s = &p->side[side];
  Inst *digit[1], *group = nest_i64(l, GROUP), *t = f->tile[side], *chunks = units(l, f->k, group);
  Inst *around = open_positions(l, p, 1, &chunks, digit), *from = mul(l, digit[0], group), *n = nest_min(l, group, sub(l, f->k, from));
  Inst *low = nest_op2(l, KOP_AND, from, nest_i64(l, ~(int64_t)(BLOCK - 1))), *length = block_length(l, f, low), *within = sub(l, from, low);
  Inst *panels = units(l, f->extent[side], t);
  if (side == COLUMNS) {
    Inst *panel = count_to(l, panels), *first = mul(l, panel, t), *base = panel_place(l, f, side, around, low, length, panel);
    Inst *width = nest_min(l, t, sub(l, f->extent[side], first)), *k = count_to(l, n), *to = add(l, base, mul(l, add(l, within, k), t)), *c = count_to(l, width);
    nest_store(l, s->panels, add(l, to, c), value(l, p, s, add(l, first, c), add(l, from, k)), NULL);
    nest_close_axes(l, 3);
  } else {
    Inst *panel = count_to(l, panels), *first = mul(l, panel, t), *rows = nest_min(l, t, sub(l, f->extent[side], first));
    Inst *k = count_to(l, n), *to = mul(l, k, t), *r = count_to(l, rows);
    nest_store(l, square, add(l, to, r), value(l, p, s, add(l, first, r), add(l, from, k)), NULL);
    nest_close_axes(l, 2);
    Inst *base = panel_place(l, f, side, around, low, length, panel);
    transpose(l, s->panels, square, add(l, base, mul(l, within, t)), group, nest_i64(l, 0), t, n, rows);
    nest_close_axes(l, 1);
  }
  nest_close_axes(l, 1);
}

static void pack(Nest *l, Product *p, int side) {
  static const char *const name[] = {"pack_rows", "pack_columns"};
  Side *s = &p->side[side];
  Room room = {.space = p->space, .axes = {p->around, s->along ? s->axes : p->positions}, .unit = {1, s->along ? panel_unit[side] : GROUP}};
  Room panels = {.space = p->space, .axes = {p->around, s->axes, p->positions}, .unit = {1, panel_unit[side], GROUP}};
  bool *need = nest_begin_room(l, arena_printf(l->arena, "%s_%u", name[side], p->node->id), room, nest_demand(l, p->node));
  for (unsigned k = 0; k < s->n; k++) graph_mark(need, s->factor[k]);
  Frame f = open_frame(l, p, need);
  s->panels = nest_temp(l, name[side], p->type, (Wanted){.room = panels, .operand = -1, .when = l->plan.room ? l->plan.room[p->node->id] : NULL});
  unsigned square = s->along == (side == COLUMNS) ? nest_scratch(l, p->type, KERNEL_TILE_COLUMNS*GROUP) : 0;
  (s->along ? pack_along : pack_across)(l, p, &f, side, square);
}

/* --- the product ------------------------------------------------------------------------------------------------------------------------ */

/* Of an element of C; around is set. */
static Inst *place(Nest *l, const Product *p, Inst *row, Inst *column) {
  nest_set_axes(l, p->space, p->side[ROWS].axes, row);
  nest_set_axes(l, p->space, p->side[COLUMNS].axes, column);
  return nest_flat(l, p->node->space, p->node->space->rank);
}

static Inst *row_stride(Nest *l, const Product *p) {
  unsigned last = 31 - (unsigned)__builtin_clz(p->side[ROWS].axes), all = (1u << p->node->space->rank) - 1;
  return nest_axes_count(l, p->node->space, all & ~((2u << last) - 1));
}

static void multiply(Nest *l, const Product *p, bool symmetric) {
  unsigned c = nest_buffer(l, p->node);
  Room room = {.space = p->space, .axes = {p->around, p->side[ROWS].axes, p->side[COLUMNS].axes}, .unit = {1, cache_unit[ROWS], cache_unit[COLUMNS]}};
  bool *need = nest_begin_room(l, arena_printf(l->arena, "product_%u", p->node->id), room, nest_demand(l, p->node));
  Frame f = open_frame(l, p, need);
  Inst *stride = row_stride(l, p), *digit[2], *counts[2], *low[2], *high[2], *one = nest_i64(l, 1), *zero = nest_i64(l, 0);
  for (int s = ROWS; s <= COLUMNS; s++) counts[s] = units(l, f.extent[s], nest_i64(l, cache_unit[s]));
  Inst *around = open_positions(l, p, 2, counts, digit);
  for (int s = ROWS; s <= COLUMNS; s++) {
    low[s] = mul(l, digit[s], nest_i64(l, cache_unit[s]));
    high[s] = nest_min(l, f.extent[s], add(l, low[s], nest_i64(l, cache_unit[s])));
  }
  Inst *some = nest_op2(l, KOP_LT, zero, f.blocks), *blocks = nest_select(l, some, f.blocks, one);          /* of no positions: one that makes zeros */
  if (symmetric) blocks = nest_select(l, nest_op2(l, KOP_LT, low[COLUMNS], high[ROWS]), blocks, zero);
  Inst *block = count_to(l, blocks), *position = mul(l, block, nest_i64(l, BLOCK)), *length = block_length(l, &f, position);
  Inst *more = nest_op2(l, KOP_LT, zero, block);
  Inst *i = nest_open(l, quotient(l, low[ROWS], f.tile[ROWS]), units(l, high[ROWS], f.tile[ROWS]), 0, NULL), *row = mul(l, i, f.tile[ROWS]);
  Inst *rows = nest_min(l, f.tile[ROWS], sub(l, high[ROWS], row)), *a = panel_place(l, &f, ROWS, around, position, length, i);
  Inst *end = symmetric ? nest_min(l, high[COLUMNS], add(l, row, rows)) : high[COLUMNS];
  Inst *j = nest_open(l, quotient(l, low[COLUMNS], f.tile[COLUMNS]), units(l, end, f.tile[COLUMNS]), 0, NULL), *column = mul(l, j, f.tile[COLUMNS]);
  Inst *columns = nest_min(l, f.tile[COLUMNS], sub(l, high[COLUMNS], column)), *b = panel_place(l, &f, COLUMNS, around, position, length, j);
  Inst *args[8] = {place(l, p, row, column), stride, rows, columns, a, b, length, more};
  nest_add(l, KOP_E_TILE, TYPE_BOOL, c, 8, args)->aux = (int32_t)(p->side[ROWS].panels | p->side[COLUMNS].panels << 16);
  i->binding = j->binding = BIND_BLOCK;    /* each tile of C is one pair's */
  nest_close_axes(l, 4);
}

/* What lies above the diagonal, rows by rows below it. */
static void mirror(Nest *l, const Product *p) {
  unsigned c = nest_buffer(l, p->node);
  Room room = {.space = p->space, .axes = {p->around, p->side[ROWS].axes}, .unit = {1, MIRROR}};
  bool *need = nest_begin_room(l, arena_printf(l->arena, "mirror_%u", p->node->id), room, nest_demand(l, p->node));
  Frame f = open_frame(l, p, need);
  Inst *stride = row_stride(l, p), *digit[1], *unit = nest_i64(l, MIRROR), *zero = nest_i64(l, 0), *one = nest_i64(l, 1);
  open_positions(l, p, 1, (Inst *[]){units(l, f.extent[ROWS], unit)}, digit);
  Inst *low = mul(l, digit[0], unit), *rows = nest_min(l, unit, sub(l, f.extent[ROWS], low));
  transpose(l, c, c, place(l, p, zero, low), stride, place(l, p, low, zero), stride, rows, low);
  Inst *r = nest_open(l, add(l, low, one), add(l, low, rows), 0, NULL), *q = nest_open(l, low, r, 0, NULL);
  Inst *x = nest_load(l, c, place(l, p, r, q), NULL);
  nest_store(l, c, place(l, p, q, r), x, NULL);
  nest_close_axes(l, 3);
}

bool nest_product(Nest *l, const Node *n) {
  Product p;
  if (l->program->n_spaces + 4 > OPTC_MAX_SPACES || !find_product(l, n, &p)) return false;
  pack(l, &p, ROWS);
  pack(l, &p, COLUMNS);
  unsigned steps = STEPS;
  bool symmetric = shows_symmetry(l, n, &steps);
  multiply(l, &p, symmetric);
  if (symmetric) mirror(l, &p);
  l->items.kept[n->id] = true;
  return true;
}
