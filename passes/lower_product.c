/* lower_product.c: contractions that are products of matrices, in packed panels and register tiles (kernel.def: tile_contract). Exact.
 *
 * A contraction is such a product where its last factor and the product of the others each have an axis of the result that the other lacks: rows and
 * columns; axes that both have are around it. Its kernels, each over a launch space of its own:
 *   pack_rows, pack_columns    panels; the factors, whatever they are, are evaluated here, along the axis they lie along in memory. Where panels want the
 *                              other axis, 16 of them pass through a square that is transposed
 *   product                    tiles of C in cache: blocks of 512 positions in order, panels of rows, panels of columns, tile_contract. Rows that lie in memory
 *                              along positions need no kernel of their own: each panel is packed here, where it is used, into a buffer that stays in the first cache (on a GPU,
 *                              where one panel is shared by blocks, they have one)
 *   mirror                     of a product that equals its transpose: only tiles that reach below the diagonal are computed, the rest is copied
 *   left_out                   of a product with weights, whose zeros leave terms out: a tile adds such a term too. It is 0 times what stands beside it, a zero, which changes nothing
 *                              (sums end with + 0: the sign of a zero does not last), unless inf or NaN stands there: then the element is NaN. What is NaN is computed again, term by term
 * What is made of a product element by element (its epilogue) is made in the product's kernel, behind the last block of positions, of each panel of rows while its sums are in
 * cache. Then the sums stand where the epilogue's values go, and have no room of their own; where those are written over something that the epilogue reads, they have. */
#include "passes/lower_program.h"

enum { ROWS, COLUMNS };
enum { BLOCK = 512, GROUP = KERNEL_TILE_GROUP };
/* Of panels packed together: whole ones on every machine. Of a tile in cache: its panels of columns stay in the second cache, its panels of rows pass by: the more of them,
 * the better, where there are enough tiles. */
static const int64_t panel_unit[] = {KERNEL_TILE_ROWS, KERNEL_TILE_COLUMNS}, cache_unit[] = {KERNEL_TILE_ROWS, 4*KERNEL_TILE_COLUMNS};
enum { CACHE_UNITS = 11, MIRROR = 64, FETCH = 64 };                       /* FETCH: positions of the rows behind, fetched while one tile is computed */

typedef struct Side {
  const Node *factor[NEST_RANK]; unsigned n;
  unsigned axes;                         /* of the result */
  bool along;                            /* lies in memory along positions, not along its own axis */
  bool matrix;                           /* stands in memory as it is multiplied: places step evenly along both axes, along one of them by one */
  bool at_once;                          /* its panels are packed where they are used */
  unsigned panels;                       /* buffer */
} Side;

typedef struct Product {
  const Node *node, *end;                /* end: what is left in memory, the product or its epilogue */
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

static bool is_one(unsigned axes) { return axes && !(axes & (axes - 1)); }

/* Whether it is read at indices alone, each once, all of them inside: a diagonal has no stride of one axis. */
static bool is_matrix(const Nest *l, const Node *n, Type type, const Node *demand) {
  const Node *x = n->op == OP_MAP ? n->args[0] : n;
  const Operand *o = x->op == OP_READ ? &l->module->operands[x->imm] : NULL;
  bool stored = l->plan.stored[x->id], own = n->op == OP_READ;
  if ((Type)n->type != type || (!stored && !own && n->op != OP_MAP)) return false;
  if (stored ? nest_demand(l, x) && nest_demand(l, x) != demand : !o || o->storage != type || operand_may_be_absent(o) || x->aux == 1) return false;
  if (n->op == OP_MAP && !stored && x->n_args) return false;
  unsigned first = n->op == OP_MAP, axes = n->op == OP_MAP || own ? n->n_args - first : 0, seen = 0;
  const Space *s = own && !stored ? o->shape : x->space;
  if (axes && (!s || s->rank != axes)) return false;
  for (unsigned k = 0; k < axes; k++) {
    const Node *index = n->args[first + k];
    if (index->op != OP_INDEX || seen >> index->imm & 1 || !index_in_axis(index, s->extent[k])) return false;
    seen |= 1u << index->imm;
  }
  return axes > 1;
}

static bool find_product(Nest *l, const Node *n, Product *p) {
  *p = (Product){.node = n, .end = n, .type = (Type)n->type};
  if (!l->product_axes) find_axes(l);
  const ProductAxes *of = l->product_axes;
  unsigned rank = n->space->rank, all = (1u << rank) - 1, last = n->n_args - 1, axes[2] = {0};
  if (n->op != OP_CONTRACT || n->n_args < 2 || n->n_args > NEST_RANK || rank < 2) return false;
  if ((n->type != TYPE_F32 && n->type != TYPE_F64)) return false;
  for (unsigned k = 0; k < n->n_args; k++) {
    if (n->args[k]->space->rank) p->space = n->args[k]->space;
    axes[k == last] |= of[n->args[k]->id].all;
  }
  if (!p->space || p->space->rank > NEST_RANK || !nest_knows(l, p->space, p->space->rank)) return false;
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
    s->matrix = s->n == 1 && is_one(p->positions) && is_one(s->axes) && along & (p->positions | s->axes) && is_matrix(l, s->factor[0], p->type, nest_demand(l, n));
    s->at_once = side == ROWS && s->along && s->matrix && !l->unit->gpu;
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

static void copy(Nest *l, unsigned to, unsigned from, Inst *to_at, Inst *to_stride, Inst *from_at, Inst *from_stride, Inst *rows, Inst *columns) {
  nest_add(l, KOP_E_TILE_COPY, TYPE_BOOL, to, 6, (Inst *[]){to_at, to_stride, from_at, from_stride, rows, columns})->aux = (int32_t)from;
}

/* Where an element of a matrix lies: the load goes, its place stays. */
static Inst *matrix_place(Nest *l, const Product *p, const Side *s, Inst *own, Inst *position, unsigned *buffer) {
  Inst *x = value(l, p, s, own, position), *at = x->args[0];
  l->kernel.at->n--;
  *buffer = (unsigned)x->imm;
  return at;
}

/* Panel A number `panel` of a block of positions, which starts at `base`, from what lies along them. Rows past the matrix are its last one again. */
static void pack_panel(Nest *l, const Product *p, const Frame *f, Inst *base, Inst *panel, Inst *low, Inst *length) {
  const Side *s = &p->side[ROWS];
  Inst *group = nest_i64(l, GROUP), *t = f->tile[ROWS], *last = sub(l, f->extent[ROWS], nest_i64(l, 1)), *zero = nest_i64(l, 0), *one = nest_i64(l, 1);
  Inst *r = count_to(l, t), *own = nest_min(l, add(l, mul(l, panel, t), r), last), *full = quotient(l, length, group), *start = add(l, base, mul(l, r, group));
  if (s->matrix) {
    unsigned buffer;
    Inst *at = matrix_place(l, p, s, own, low, &buffer), *whole_groups = mul(l, full, group);
    copy(l, s->panels, buffer, start, mul(l, t, group), at, group, full, group);
    copy(l, s->panels, buffer, add(l, start, mul(l, whole_groups, t)), zero, add(l, at, whole_groups), zero, one, remainder_of(l, length, group));
    nest_close_axes(l, 1);
    return;
  }
  Inst *g = count_to(l, full), *from = add(l, low, mul(l, g, group)), *to = add(l, start, mul(l, mul(l, g, t), group)), *q = count_to(l, group);
  nest_store(l, s->panels, add(l, to, q), value(l, p, s, own, add(l, from, q)), NULL);
  nest_close_axes(l, 2);
  from = add(l, low, mul(l, full, group));
  to = add(l, start, mul(l, mul(l, full, t), group));
  q = count_to(l, remainder_of(l, length, group));
  nest_store(l, s->panels, add(l, to, q), value(l, p, s, own, add(l, from, q)), NULL);
  nest_close_axes(l, 2);
}

/* Panels of one unit of rows or columns, all positions: for what lies along positions. */
static void pack_along(Nest *l, const Product *p, const Frame *f, int side, unsigned square) {
  const Side *s = &p->side[side];
  Inst *digit[1], *unit = nest_i64(l, panel_unit[side]), *group = nest_i64(l, GROUP), *t = f->tile[side];
  Inst *around = open_positions(l, p, 1, (Inst *[]){units(l, f->extent[side], unit)}, digit), *low_own = mul(l, digit[0], unit);
  Inst *high_own = nest_min(l, f->extent[side], add(l, low_own, unit)), *last = sub(l, f->extent[side], nest_i64(l, 1));
  Inst *block = count_to(l, f->blocks), *low = mul(l, block, nest_i64(l, BLOCK)), *length = block_length(l, f, low);
  Inst *panel = nest_open(l, quotient(l, low_own, t), units(l, high_own, t), 0, NULL), *base = panel_place(l, f, side, around, low, length, panel);
  if (side == ROWS) pack_panel(l, p, f, base, panel, low, length);
  else if (s->matrix) {
    unsigned buffer;
    Inst *own = mul(l, panel, t), *at = matrix_place(l, p, s, own, low, &buffer), *stride = sub(l, matrix_place(l, p, s, add(l, own, nest_i64(l, 1)), low, &buffer), at);
    transpose(l, s->panels, buffer, base, t, at, stride, nest_min(l, t, sub(l, f->extent[side], own)), length);
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
  if (side == COLUMNS && s->matrix) {
    Inst *full = quotient(l, f->extent[side], t), *rest = remainder_of(l, f->extent[side], t), *first = mul(l, full, t), *one = nest_i64(l, 1);
    unsigned buffer;
    Inst *stride = sub(l, matrix_place(l, p, s, first, add(l, from, one), &buffer), matrix_place(l, p, s, first, from, &buffer));
    Inst *panel = count_to(l, full), *to = add(l, panel_place(l, f, side, around, low, length, panel), mul(l, within, t));
    copy(l, s->panels, buffer, to, t, matrix_place(l, p, s, mul(l, panel, t), from, &buffer), stride, n, t);
    nest_close_axes(l, 1);
    to = add(l, panel_place(l, f, side, around, low, length, full), mul(l, within, t));
    copy(l, s->panels, buffer, to, t, matrix_place(l, p, s, first, from, &buffer), stride, nest_select(l, nest_op2(l, KOP_LT, nest_i64(l, 0), rest), n, nest_i64(l, 0)), rest);
  } else if (side == COLUMNS) {
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
  bool *need = nest_begin_room(l, arena_printf(l->arena, "%s_%u", name[side], p->node->id), room, 1, nest_demand(l, p->node));
  for (unsigned k = 0; k < s->n; k++) graph_mark(need, s->factor[k]);
  Frame f = open_frame(l, p, need);
  s->panels = nest_temp(l, name[side], p->type, (Wanted){.room = panels, .operand = -1, .when = l->plan.room ? l->plan.room[p->node->id] : NULL});
  unsigned square = s->along == (side == COLUMNS) ? nest_scratch(l, p->type, KERNEL_TILE_COLUMNS*GROUP, false) : 0;
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

/* Where the result lies: the tensor whose new value it is, or its temporary. */
static unsigned result_buffer(Nest *l, const Product *p) {
  const Write *direct = l->plan.direct[p->end->id];
  return direct ? direct->operand : nest_buffer(l, p->end);
}

/* Whether the epilogue reads what its values are written over. */
static bool is_written_over(const Nest *l, const Product *p) {
  unsigned to = l->temps->buffer[p->end->id];
  bool *need = nest_by_node(l, sizeof *need), over = false;
  need[p->end->id] = to && p->end != p->node;
  for (unsigned i = p->end->id + 1; i-- > 0;) {
    const Node *n = l->graph->nodes[i];
    if (!need[i] || n == p->node) continue;
    over |= n != p->end && l->temps->buffer[i] == to;
    for (unsigned k = 0; k < n->n_args && !(l->temps->kept[i] && n != p->end); k++) need[n->args[k]->id] = true;
  }
  return over;
}

/* A tensor that may be absent is written where it is there. */
static bool open_presence(Nest *l, const Product *p) {
  const Write *direct = l->plan.direct[p->end->id];
  bool optional = direct && operand_may_be_absent(&l->module->operands[direct->operand]);
  if (optional) nest_if(l, nest_add(l, KOP_E_PRESENT, TYPE_BOOL, direct->operand, 0, NULL));
  return optional;
}

static void mark_epilogue(Nest *l, const Product *p, bool *need) {
  for (unsigned k = 0; k < p->end->n_args && p->end != p->node; k++) graph_mark(need, p->end->args[k]);
}

/* The epilogue of rows row .. end_row and columns column .. end_column, whose sums are complete. */
static void finish(Nest *l, const Product *p, unsigned sums, Inst *row, Inst *end_row, Inst *column, Inst *end_column) {
  const Node *e = p->end;
  bool stored = l->plan.stored[e->id];
  Inst **known = &l->point.known[p->node->id], *r = nest_open(l, row, end_row, 0, NULL), *first = place(l, p, r, nest_i64(l, 0));
  l->plan.stored[e->id] = false;                                           /* for its own nest */
  nest_settle_value(l, e->space, p->side[COLUMNS].axes, e);
  Inst *c = nest_open(l, column, end_column, 0, NULL), *at = add(l, first, c);
  nest_set_axes(l, p->space, p->side[COLUMNS].axes, c);
  nest_here(l, e->space, at);
  *known = nest_load(l, sums, at, NULL);
  Inst *x = nest_element(l, e);
  *known = NULL;
  l->plan.stored[e->id] = stored;
  nest_store_value(l, e, at, x);
  nest_close_axes(l, 2);
}

/* Strips of columns from both ends in turn: of a symmetric product one has the less rows below the diagonal the later it is, and neighbours go to one thread. */
static Inst *from_both_ends(Nest *l, Inst *strip, Inst *count) {
  Inst *half = nest_op2(l, KOP_SHR, strip, nest_i64(l, 1)), *odd = nest_op2(l, KOP_NE, nest_op2(l, KOP_AND, strip, nest_i64(l, 1)), nest_i64(l, 0));
  return nest_select(l, odd, sub(l, sub(l, count, nest_i64(l, 1)), half), half);
}

/* Launches go over the rows of a tile of columns, then to the next one. Each takes its part of the rows. */
static void multiply(Nest *l, Product *p, bool symmetric) {
  const Side *side = p->side;
  Room room = {.space = p->space, .axes = {p->around, side[COLUMNS].axes, side[ROWS].axes}, .unit = {1, cache_unit[COLUMNS], cache_unit[ROWS]}};
  bool *need = nest_begin_room(l, arena_printf(l->arena, "product_%u", p->node->id), room, CACHE_UNITS, nest_demand(l, p->node));
  for (unsigned k = 0; k < side[ROWS].n && side[ROWS].at_once; k++) graph_mark(need, side[ROWS].factor[k]);
  mark_epilogue(l, p, need);
  l->temps->kept[p->node->id] = true;    /* the epilogue has it at hand */
  Frame f = open_frame(l, p, need);
  unsigned c = is_written_over(l, p) ? nest_buffer(l, p->node) : result_buffer(l, p);
  if (side[ROWS].at_once) p->side[ROWS].panels = nest_scratch(l, p->type, BLOCK, true);
  bool optional = open_presence(l, p);
  Inst *stride = row_stride(l, p), *low[2], *high[2], *part[2], *one = nest_i64(l, 1), *zero = nest_i64(l, 0), *unit[2], *counts[2];
  for (int s = ROWS; s <= COLUMNS; s++) counts[s] = units(l, f.extent[s], unit[s] = nest_i64(l, cache_unit[s]));
  Inst *strip = nest_open_rows(l, counts[ROWS], nest_add(l, KOP_E_BEGIN, TYPE_I64, 0, 0, NULL), nest_add(l, KOP_E_END, TYPE_I64, 0, 0, NULL), part);
  Inst *around = quotient(l, strip, counts[COLUMNS]), *first = mul(l, strip, counts[ROWS]);
  nest_set_axes(l, p->space, p->around, around);
  Inst *which = remainder_of(l, strip, counts[COLUMNS]);
  low[COLUMNS] = mul(l, symmetric ? from_both_ends(l, which, counts[COLUMNS]) : which, unit[COLUMNS]);
  high[COLUMNS] = nest_min(l, f.extent[COLUMNS], add(l, low[COLUMNS], unit[COLUMNS]));
  low[ROWS] = mul(l, sub(l, part[0], first), unit[ROWS]);
  high[ROWS] = nest_min(l, f.extent[ROWS], mul(l, sub(l, part[1], first), unit[ROWS]));
  if (symmetric) low[ROWS] = nest_select(l, nest_op2(l, KOP_LT, low[ROWS], low[COLUMNS]), mul(l, quotient(l, low[COLUMNS], f.tile[ROWS]), f.tile[ROWS]), low[ROWS]);
  Inst *some = nest_op2(l, KOP_LT, zero, f.blocks), *blocks = nest_select(l, some, f.blocks, one), *block = count_to(l, blocks);       /* of no positions: one that makes zeros */
  Inst *position = mul(l, block, nest_i64(l, BLOCK)), *length = block_length(l, &f, position), *more = nest_op2(l, KOP_LT, zero, block);
  Inst *i = nest_open(l, quotient(l, low[ROWS], f.tile[ROWS]), units(l, high[ROWS], f.tile[ROWS]), 0, NULL), *row = mul(l, i, f.tile[ROWS]), *behind = add(l, row, f.tile[ROWS]);
  Inst *rows = nest_min(l, f.tile[ROWS], sub(l, high[ROWS], row)), *a, *next, *next_stride;
  unsigned next_buffer = side[ROWS].panels;
  if (side[ROWS].at_once) {
    pack_panel(l, p, &f, a = zero, i, position, length);
    next = matrix_place(l, p, &side[ROWS], behind, position, &next_buffer);
    next_stride = sub(l, matrix_place(l, p, &side[ROWS], add(l, behind, one), position, &next_buffer), next);
  } else {
    a = panel_place(l, &f, ROWS, around, position, length, i);
    next_stride = whole(l, length, GROUP);
    next = add(l, a, mul(l, f.tile[ROWS], next_stride));
  }
  Inst *end = symmetric ? nest_min(l, high[COLUMNS], add(l, row, rows)) : high[COLUMNS], *start = quotient(l, low[COLUMNS], f.tile[COLUMNS]);
  Inst *j = nest_open(l, start, units(l, end, f.tile[COLUMNS]), 0, NULL), *column = mul(l, j, f.tile[COLUMNS]);
  Inst *columns = nest_min(l, f.tile[COLUMNS], sub(l, high[COLUMNS], column)), *b = panel_place(l, &f, COLUMNS, around, position, length, j);
  Inst *soon = add(l, next, mul(l, sub(l, j, start), nest_i64(l, FETCH)));
  Inst *args[TILE_ARGS] = {place(l, p, row, column), stride, rows, columns, a, b, length, more, soon, next_stride};
  nest_add(l, KOP_E_TILE, TYPE_BOOL, c | next_buffer << 16, TILE_ARGS, args)->aux = (int32_t)(side[ROWS].panels | side[COLUMNS].panels << 16);
  if (!side[ROWS].at_once && p->end == p->node) i->binding = j->binding = BIND_BLOCK;       /* each tile of C is one pair's */
  nest_close_axes(l, 1);
  if (p->end != p->node) {
    nest_if(l, nest_op2(l, KOP_EQ, add(l, block, one), blocks));
    finish(l, p, c, row, add(l, row, rows), low[COLUMNS], end);
    nest_end_if(l);
  }
  nest_close_axes(l, 3);
  if (optional) nest_end_if(l);
}

/* What lies above the diagonal, rows by rows below it. */
static void mirror(Nest *l, const Product *p) {
  Room room = {.space = p->space, .axes = {p->around, p->side[ROWS].axes}, .unit = {1, MIRROR}};
  bool *need = nest_begin_room(l, arena_printf(l->arena, "mirror_%u", p->node->id), room, 1, nest_demand(l, p->node));
  Frame f = open_frame(l, p, need);
  unsigned c = result_buffer(l, p);
  bool optional = open_presence(l, p);
  Inst *stride = row_stride(l, p), *digit[1], *unit = nest_i64(l, MIRROR), *zero = nest_i64(l, 0), *one = nest_i64(l, 1);
  open_positions(l, p, 1, (Inst *[]){units(l, f.extent[ROWS], unit)}, digit);
  Inst *low = mul(l, digit[0], unit), *rows = nest_min(l, unit, sub(l, f.extent[ROWS], low));
  transpose(l, c, c, place(l, p, zero, low), stride, place(l, p, low, zero), stride, rows, low);
  Inst *r = nest_open(l, add(l, low, one), add(l, low, rows), 0, NULL), *q = nest_open(l, low, r, 0, NULL);
  Inst *x = nest_load(l, c, place(l, p, r, q), NULL);
  nest_store(l, c, place(l, p, q, r), x, NULL);
  nest_close_axes(l, 3);
  if (optional) nest_end_if(l);
}

/* Row by row, those that have a NaN. */
static void leave_out(Nest *l, const Product *p) {
  const Node *n = p->node;
  unsigned rows = n->space->rank - 1;
  bool *need = nest_begin_tile(l, arena_printf(l->arena, "left_out_%u", n->id), (Tiles){.space = n->space, .axes = rows, .least = 1, .when = nest_demand(l, n)});
  for (unsigned k = 0; k < n->n_args; k++) graph_mark(need, n->args[k]);
  for (unsigned a = 0; a < p->space->rank; a++) graph_mark(need, p->space->extent[a]);
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  unsigned c = result_buffer(l, p);
  bool optional = open_presence(l, p);
  nest_axes(l, n->space, rows);
  Inst *length = nest_extent(l, n->space->extent[rows]), *start = mul(l, nest_flat(l, n->space, rows), length);
  Inst *column = count_to(l, length), *x = nest_load(l, c, add(l, start, column), NULL), *is_nan = nest_op2(l, KOP_NE, x, x);
  nest_add(l, KOP_E_FOLD, TYPE_BOOL, 0, 1, &is_nan)->aux = REDUCE_ANY;
  nest_close(l, 0, NULL);
  nest_if(l, nest_add(l, KOP_E_FOLDED, TYPE_BOOL, 0, 1, &column));
  column = count_to(l, length);
  Inst *at = add(l, start, column);
  x = nest_load(l, c, at, NULL);
  nest_if(l, nest_op2(l, KOP_NE, x, x));
  l->point.index[rows] = column;
  nest_store(l, c, at, nest_contraction(l, n, at), NULL);
  nest_end_if(l);
  nest_close(l, 0, NULL);
  nest_end_if(l);
  nest_close_axes(l, rows);
  if (optional) nest_end_if(l);
}

bool nest_is_product(Nest *l, const Node *n) {
  Product p;
  return find_product(l, n, &p);
}

/* Not of sums that are not complete yet: terms are still to be left out. A symmetric product computes half its tiles: an epilogue that is not symmetric is left to a sweep of its own, and so is one that would write over rows still to be multiplied.
 * On a GPU a tile's threads have its sums in registers, and memory is faster. */
static bool takes_epilogue(Nest *l, const Product *p, const Node *end, bool symmetric) {
  const Side *rows = &p->side[ROWS];
  const Write *w = l->plan.direct[end->id];
  const Node *read = rows->factor[0]->op == OP_MAP ? rows->factor[0]->args[0] : rows->factor[0];
  unsigned steps = STEPS, to = l->items.buffer[end->id];
  if (l->unit->gpu || p->node->aux || (Type)end->type != p->type || (rows->at_once && to && to == l->items.buffer[read->id])) return false;
  if (w && (w->when || l->module->operands[w->operand].storage != p->type || l->module->operands[w->operand].flush)) return false;
  return !symmetric || shows_symmetry(l, end, &steps);
}

bool nest_product(Nest *l, const Node *n, const Node *epilogue) {
  Product p;
  if (l->program->n_spaces + 4 > OPTC_MAX_SPACES || !find_product(l, n, &p)) return false;
  unsigned steps = STEPS;
  bool symmetric = shows_symmetry(l, n, &steps);
  if (epilogue && takes_epilogue(l, &p, epilogue, symmetric)) p.end = epilogue;
  if (!p.side[ROWS].at_once) pack(l, &p, ROWS);
  pack(l, &p, COLUMNS);
  multiply(l, &p, symmetric);
  if (symmetric) mirror(l, &p);
  if (n->aux) leave_out(l, &p);
  l->items.kept[p.end->id] = true;
  return true;
}
