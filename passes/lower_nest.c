/* lower_nest.c: lowering of any graph: plain loop nests with temporaries, in the order of the nodes. Exact.
 *
 * A node that needs more than its own position (reductions, contractions, softmax, running values, orders, scatters, decompositions, what a scan
 * gives) and the argument of a map are computed whole into a temporary; what is computed position by position is written where it is used.
 * A scan is one loop that holds the nests of its body; carried tensors stand in two temporaries: new ones are complete before they are copied. */
#include "passes/lower_nest.h"

static Inst *node_value(Nest *, const Node *);
static const Operand *operand_of(const Nest *l, int64_t k) { return &l->module->operands[k]; }

static void take_result(Nest *, const Node *);
static void take_carry(Nest *, const Node *);

/* What is computed whole into its temporary, and by what; all else position by position. */
static void (*const whole[OP_COUNT])(Nest *, const Node *) = {
  [OP_REDUCE] = nest_fold, [OP_CONTRACT] = nest_fold, [OP_ATTEND] = nest_fold, [OP_SOFTMAX] = nest_softmax, [OP_CUMULATE] = nest_cumulate, [OP_ORDER] = nest_order,
  [OP_SCATTER] = nest_scatter, [OP_EIGVEC] = nest_eigvec, [OP_QR] = nest_qr, [OP_RESULT] = take_result, [OP_CARRY] = take_carry,
};

/* What a map can read at another position without a temporary. */
static bool read_anywhere(const Node *x) { return !x->space->rank || x->op == OP_INDEX || (x->op == OP_READ && x->n_args == (unsigned)(x->aux == 1) && (x->aux != 1 || !x->args[0]->space->rank)); }

void nest_choose_stored(Nest *l) {
  for (unsigned i = 0; i < l->graph->n_nodes; i++) {
    const Node *n = l->graph->nodes[i];
    if (n->space->rank && whole[n->op]) l->plan.stored[i] = true;
    if (n->op == OP_MAP && !read_anywhere(n->args[0])) l->plan.stored[n->args[0]->id] = true;
    if ((n->op == OP_ORDER || n->op == OP_EIGVEC || n->op == OP_QR) && n->args[0]->space->rank) l->plan.stored[n->args[0]->id] = true;
  }
}

bool nest_costs(const Nest *l, const Node *n) {
  return !n->space->rank && !l->plan.carry[n->id] && (n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND || n->op == OP_RESULT);
}

/* --- buffers and extents ----------------------------------------------------------------------------------------------------------------- */

unsigned nest_buffer(Nest *l, const Node *n) {
  unsigned *temp = &l->temps->buffer[n->id];
  if (!*temp) *temp = 1 + nest_temp(l, op_name((Op)n->op), (Type)n->type, (Wanted){.space = n->space, .fixed = 1, .operand = -1, .when = l->plan.room && n->space->rank && !l->plan.carry[n->id] ? l->plan.room[n->id] : NULL});
  return *temp - 1;
}

/* Whether what a block has computed so far is known to what is written now. */
static bool is_around(const Nest *l, const Block *block) {
  if (block == l->kernel.top || l->kernel.at == l->kernel.top) return block == l->kernel.top;
  bool around = block == l->kernel.at;
  for (unsigned k = 0; k < l->kernel.depth && !around; k++) around = block == l->kernel.open[k].outer;
  return around;
}

Inst *nest_extent(Nest *l, const Node *e) {
  NestExtent *known = &l->kernel.least[e->id];
  Inst *x = l->kernel.scalar[e->id], *zero = nest_i64(l, 0);
  if (x->op == KOP_E_CONST && x->imm >= 0) return x;
  if (known->of != x || !is_around(l, known->at)) *known = (NestExtent){x, nest_select(l, nest_op2(l, KOP_LT, x, zero), zero, x), l->kernel.at};
  return known->inst;
}

/* An extent of an operand's shape: of a graph of its own, whose nodes are numbers. */
static Inst *shape_value(Nest *l, const Node *n, unsigned depth);

static Inst *size_of(Nest *l, int64_t k, int32_t axis, unsigned depth) {
  const Operand *o = operand_of(l, k);
  if (o->shape && !operand_is_shaped(o)) {                                  /* a state: what its shape says */
    unsigned rank = o->shape->rank;
    int64_t at = axis >= 0 ? axis : (int64_t)rank + axis + 2;
    if (axis == -2) return nest_i64(l, rank);
    if (axis != -1) return at >= 0 && at < rank ? shape_value(l, o->shape->extent[at], depth + 1) : nest_i64(l, 1);
    Inst *n = nest_i64(l, 1);
    for (unsigned a = 0; a < rank; a++) n = nest_op2(l, KOP_MUL, n, shape_value(l, o->shape->extent[a], depth + 1));
    return n;
  }
  Inst *size = nest_add(l, KOP_E_SIZE, TYPE_I64, k, 0, NULL);
  size->aux = axis;
  return size;
}

static Inst *shape_value(Nest *l, const Node *n, unsigned depth) {
  if (depth > 64) return nest_i64(l, 0);
  switch ((int)n->op) {
    case OP_CONST: return nest_const(l, (Type)n->type, (Bits)n->imm);
    case OP_HYPER: return nest_add(l, KOP_E_HYPER, (Type)n->type, n->imm, 0, NULL);
    case OP_SCALAR: return nest_cast(l, (Type)n->type, nest_add(l, KOP_E_SCALAR, operand_field_type(operand_of(l, n->imm)), n->imm, 0, NULL));
    case OP_PRESENT: return nest_add(l, KOP_E_PRESENT, TYPE_BOOL, n->imm, 0, NULL);
    case OP_SIZE: return size_of(l, n->imm, n->aux, depth + 1);
    default: break;
  }
  Inst *args[4];
  for (unsigned k = 0; k < n->n_args && k < 4; k++) args[k] = shape_value(l, n->args[k], depth + 1);
  return nest_add(l, (KOp)n->op, (Type)n->type, 0, n->n_args, args);
}

/* A logical axis of an operand, computed at the top of the kernel. */
Inst *nest_operand_extent(Nest *l, int64_t k, unsigned axis) {
  Inst **known = &l->kernel.extent[k][axis];
  if (*known) return *known;
  Block *at = l->kernel.at;
  l->kernel.at = l->kernel.top;
  const Operand *o = operand_of(l, k);
  Inst *x = o->shape ? shape_value(l, o->shape->extent[axis], 0) : nest_add(l, KOP_E_COUNT, TYPE_I64, 0, 0, NULL), *zero = nest_i64(l, 0);
  *known = o->shape ? nest_select(l, nest_op2(l, KOP_LT, x, zero), zero, x) : x;
  l->kernel.at = at;
  return *known;
}

Inst *nest_operand_count(Nest *l, int64_t k) {
  const Operand *o = operand_of(l, k);
  Inst *n = o->shape && !o->shape->rank ? nest_i64(l, 1) : nest_operand_extent(l, k, 0);
  for (unsigned a = 1; o->shape && a < o->shape->rank; a++) n = nest_times(l, n, nest_operand_extent(l, k, a));
  return n;
}

/* --- positions ------------------------------------------------------------------------------------------------------------------------------ */

/* The first indices are the digits of a flat position of them. */
void nest_digits(Nest *l, const Space *s, unsigned axes, Inst *at) {
  for (unsigned a = axes; a-- > 0;) {
    Inst *e = nest_extent(l, s->extent[a]);
    l->point.index[a] = a ? nest_op2(l, KOP_IMOD, at, e) : at;
    if (a) at = nest_op2(l, KOP_IDIV, at, e);
  }
}

static void open_tile(Nest *l, const Space *s, unsigned axes) {
  l->kernel.position = nest_open(l, nest_add(l, KOP_E_BEGIN, TYPE_I64, 0, 0, NULL), nest_add(l, KOP_E_END, TYPE_I64, 0, 0, NULL), 0, NULL);
  nest_digits(l, s, axes, l->kernel.position);
}

/* Rows of `length` that begin..end has a part of: a loop over them, and which part of it that is of the row at hand. */
Inst *nest_open_rows(Nest *l, Inst *length, Inst *begin, Inst *end, Inst **part) {
  Inst *some = nest_select(l, nest_op2(l, KOP_LT, nest_i64(l, 0), length), length, nest_i64(l, 1));
  Inst *behind = nest_op2(l, KOP_IDIV, nest_op2(l, KOP_ADD, end, nest_op2(l, KOP_SUB, some, nest_i64(l, 1))), some);
  Inst *row = nest_open(l, nest_op2(l, KOP_IDIV, begin, some), behind, 0, NULL), *first = nest_op2(l, KOP_MUL, row, length);
  part[0] = nest_select(l, nest_op2(l, KOP_LT, first, begin), begin, first);
  part[1] = nest_min(l, end, nest_op2(l, KOP_ADD, first, length));
  return row;
}

void nest_axes(Nest *l, const Space *s, unsigned axes) {
  nest_unsettle(l);
  if (axes && axes == l->kernel.tile) { open_tile(l, s, axes); return; }
  for (unsigned a = 0; a < axes; a++) {
    Inst *high = nest_extent(l, s->extent[a]);
    l->point.index[a] = nest_open(l, nest_i64(l, 0), high, 0, NULL);
  }
}

void nest_close_axes(Nest *l, unsigned axes) {
  nest_unsettle(l);
  for (unsigned loops = axes && axes == l->kernel.tile ? 1 : axes; loops > 0; loops--) nest_close(l, 0, NULL);
}

Inst *nest_flat(Nest *l, const Space *s, unsigned axes) {
  if (axes && axes == l->kernel.tile) return l->kernel.position;
  Inst *at = axes ? l->point.index[0] : nest_i64(l, 0);
  for (unsigned a = 1; a < axes; a++) at = nest_op2(l, KOP_ADD, nest_op2(l, KOP_MUL, at, nest_extent(l, s->extent[a])), l->point.index[a]);
  return at;
}

Inst *nest_axes_count(Nest *l, const Space *s, unsigned axes) {
  Inst *n = NULL;
  for (unsigned a = 0; a < s->rank; a++) {
    if (!(axes >> a & 1)) continue;
    Inst *e = nest_extent(l, s->extent[a]);
    n = n ? nest_times(l, n, e) : e;
  }
  return n ? n : nest_i64(l, 1);
}

void nest_set_axes(Nest *l, const Space *s, unsigned axes, Inst *flat) {
  for (unsigned a = s->rank; a-- > 0;) {
    if (!(axes >> a & 1)) continue;
    axes &= ~(1u << a);
    l->point.index[a] = axes ? nest_op2(l, KOP_IMOD, flat, nest_extent(l, s->extent[a])) : flat;
    if (axes) flat = nest_op2(l, KOP_IDIV, flat, nest_extent(l, s->extent[a]));
  }
}

void nest_here(Nest *l, const Space *s, Inst *flat) {
  l->point.space = s;
  l->point.flat = flat;
  l->point.epoch++;
}

/* The flat position: of the indices, where those who opened the loops had no use for it. */
static Inst *flat_here(Nest *l) {
  if (!l->point.flat) l->point.flat = nest_flat(l, l->point.space, l->point.space->rank);
  return l->point.flat;
}

/* The flat position of n indices, and the condition that all are inside. `extent(k)` are instructions; `sure` says whether index k cannot be outside. */
static Inst *place_of(Nest *l, unsigned n, const Node *const *indices, Inst *const *extent, const bool *sure, Inst **inside) {
  Inst *at = NULL, *zero = nest_i64(l, 0);
  *inside = NULL;
  for (unsigned k = 0; k < n; k++) {
    Inst *x = nest_element(l, indices[k]);
    if (!sure[k]) *inside = nest_both(l, *inside, nest_both(l, nest_op2(l, KOP_LE, zero, x), nest_op2(l, KOP_LT, x, extent[k])));
    at = at ? nest_op2(l, KOP_ADD, nest_op2(l, KOP_MUL, at, extent[k]), x) : x;
  }
  return at ? at : zero;
}

static bool is_item(const Nest *l, const Space *s) { return graph_is_item_space(l->module, s); }

/* Index k of a place in a space cannot be outside. */
static bool is_sure(const Nest *l, const Space *s, const Node *x, unsigned k) {
  if (index_in_axis(x, s->extent[k]) || (is_item(l, s) && index_in_item(l->module, x))) return true;
  return l->kernel.under && extent_condition(s->extent[k]) == l->kernel.under && index_is_digit(l->module, x, s->extent[k]);
}

Inst *nest_place(Nest *l, const Space *s, const Node *const *indices, Inst **inside) {
  Inst *extent[NEST_RANK];
  bool sure[NEST_RANK];
  for (unsigned k = 0; k < s->rank; k++) {
    extent[k] = nest_extent(l, s->extent[k]);
    sure[k] = is_sure(l, s, indices[k], k);
  }
  return place_of(l, s->rank, indices, extent, sure, inside);
}

/* --- demand --------------------------------------------------------------------------------------------------------------------------------------- */

/* A condition made of numbers alone, at the top of the kernel. */
static Inst *number_at_top(Nest *l, const Node *n) {
  Inst **known = &l->kernel.scalar[n->id];
  if (*known) return *known;
  for (unsigned k = 0; k < n->n_args; k++) number_at_top(l, n->args[k]);
  Block *at = l->kernel.at;
  l->kernel.at = l->kernel.top;
  *known = node_value(l, n);
  l->kernel.at = at;
  return *known;
}

/* The condition under which a node's temporary holds its value; NULL: sure here. */
static Inst *work_condition(Nest *l, const Node *n) {
  const Node *when = nest_demand(l, n);
  return !when || when == l->kernel.under ? NULL : number_at_top(l, when);
}

/* --- values at a position ---------------------------------------------------------------------------------------------------------------------- */

static Inst *read_at(Nest *l, const Node *read, Inst *at, Inst *guard) {
  const Operand *o = operand_of(l, read->imm);
  if (operand_may_be_absent(o)) guard = nest_both(l, nest_add(l, KOP_E_PRESENT, TYPE_BOOL, read->imm, 0, NULL), guard);
  return nest_cast(l, (Type)read->type, nest_load(l, (unsigned)read->imm, at, guard));
}

static Inst *read_value(Nest *l, const Node *n) {
  unsigned guarded = n->aux == 1, axes = n->n_args - guarded;
  Inst *guard = guarded ? nest_element(l, n->args[axes]) : NULL, *inside = NULL;
  if (!axes) return read_at(l, n, n->space->rank ? flat_here(l) : nest_i64(l, 0), guard);
  Inst *extent[NEST_RANK];
  bool sure[NEST_RANK] = {false};
  const Operand *o = operand_of(l, n->imm);
  for (unsigned k = 0; k < axes; k++) {
    extent[k] = nest_operand_extent(l, n->imm, k);
    sure[k] = o->shape ? index_in_axis(n->args[k], o->shape->extent[k]) : o->item_shape && index_in_item(l->module, n->args[k]);
  }
  if (axes == 1 && sure[0] && o->item_shape && l->point.flat && n->space == l->point.space && index_is_flat(n->args[0])) return read_at(l, n, l->point.flat, guard);
  Inst *at = place_of(l, axes, n->args, extent, sure, &inside);
  return read_at(l, n, at, nest_both(l, guard, inside));
}

/* x at other positions; 0 outside. */
static Inst *map_value(Nest *l, const Node *n) {
  const Node *x = n->args[0];
  if (!x->space->rank) return nest_element(l, x);
  Inst *inside, *at = nest_place(l, x->space, n->args + 1, &inside);
  if (l->plan.stored[x->id]) return nest_load(l, nest_buffer(l, x), at, nest_both(l, inside, work_condition(l, x)));
  if (x->op == OP_READ) return read_at(l, x, at, nest_both(l, x->aux == 1 ? nest_element(l, x->args[0]) : NULL, inside));
  Inst *index = nest_element(l, n->args[1 + x->imm]);                      /* x is an index itself */
  return inside ? nest_select(l, inside, index, nest_i64(l, 0)) : index;
}

static Inst *node_value(Nest *l, const Node *n) {
  if (op_is_element((Op)n->op)) {
    Inst *args[4];
    for (unsigned k = 0; k < n->n_args; k++) args[k] = nest_element(l, n->args[k]);
    return nest_add(l, (KOp)n->op, (Type)n->type, 0, n->n_args, args);
  }
  Type type = (Type)n->type;
  switch ((int)n->op) {
    case OP_CONST: return nest_const(l, type, (Bits)n->imm);
    case OP_HYPER: return nest_cast(l, type, nest_add(l, KOP_E_HYPER, l->module->hypers[n->imm].type, n->imm, 0, NULL));
    case OP_STEP: return nest_add(l, KOP_E_STEP, TYPE_I64, 0, 0, NULL);
    case OP_SEED: return nest_add(l, KOP_E_SEED, TYPE_I64, 0, 0, NULL);
    case OP_ITEM: return nest_add(l, KOP_E_ITEM, TYPE_I64, 0, 0, NULL);
    case OP_SIZE: return size_of(l, n->imm, n->aux, 0);
    case OP_PRESENT:
      return operand_is_tensor(operand_of(l, n->imm)) ? nest_add(l, KOP_E_PRESENT, TYPE_BOOL, n->imm, 0, NULL) : nest_const(l, TYPE_BOOL, 1);
    case OP_SCALAR: return nest_cast(l, type, nest_add(l, KOP_E_SCALAR, operand_field_type(operand_of(l, n->imm)), n->imm, 0, NULL));
    case OP_INDEX: return l->point.shard ? nest_op2(l, KOP_ADD, l->point.index[n->imm], l->point.shard) : l->point.index[n->imm];
    case OP_READ: return read_value(l, n);
    case OP_MAP: return map_value(l, n);
    case OP_TOTAL: return nest_add(l, KOP_E_TOTAL, type, l->plan.slot[n->id], 0, NULL);
    default: return NULL;
  }
}

Inst *nest_element(Nest *l, const Node *n) {
  if (!n->space->rank) return l->kernel.scalar[n->id];
  Memo *m = &l->point.memo[n->id];
  if (l->point.known[n->id]) return l->point.known[n->id];
  if (m->inst && (m->epoch == l->point.epoch || m->epoch == l->point.outer)) return m->inst;
  Inst *x = l->plan.source[n->id] ? nest_cast(l, (Type)n->type, nest_load(l, l->plan.source[n->id] - 1, flat_here(l), NULL)) : l->plan.stored[n->id] ? nest_load(l, nest_buffer(l, n), flat_here(l), work_condition(l, n)) : node_value(l, n);
  *m = (Memo){l->point.epoch, x};
  return x;
}

/* What is the same at all positions of some axes. */
static bool is_fixed(const Nest *l, const Node *n, unsigned axes, const bool *varies) {
  bool own = l->plan.source[n->id] || l->plan.stored[n->id] || (n->op == OP_READ && n->n_args == (unsigned)(n->aux == 1));
  if (l->point.known[n->id]) return true;
  if (own || (n->op == OP_INDEX && axes >> n->imm & 1)) return false;
  for (unsigned k = 0; k < n->n_args; k++) if (varies[n->args[k]->id]) return false;
  return true;
}

void nest_settle(Nest *l, const Space *s, unsigned axes, bool *need) {
  bool *varies = nest_by_node(l, sizeof *varies);
  for (unsigned i = 0; i < l->graph->n_nodes; i++) {
    const Node *n = l->graph->nodes[i];
    varies[i] = n->space == s && !is_fixed(l, n, axes, varies);
  }
  nest_here(l, s, NULL);
  for (unsigned i = l->graph->n_nodes; i-- > 0;) {
    const Node *n = l->graph->nodes[i];
    if (!need[i] || n->space != s) continue;
    if (!varies[i]) nest_element(l, n);
    for (unsigned k = n->op == OP_MAP; varies[i] && k < n->n_args && !l->plan.source[i] && !l->plan.stored[i]; k++) need[n->args[k]->id] = true;
  }
  l->point.outer = l->point.epoch;
}

void nest_unsettle(Nest *l) { l->point.outer = 0; }

void nest_settle_value(Nest *l, const Space *s, unsigned axes, const Node *root) {
  bool *need = nest_by_node(l, sizeof *need);
  need[root->id] = true;
  nest_settle(l, s, axes, need);
}

/* --- nodes in order -------------------------------------------------------------------------------------------------------------------------- */

/* All that the marked nodes need here: not what an earlier kernel has left, and of totals nothing. */
void nest_close_need(const Nest *l, bool *need) {
  bool *there = nest_by_node(l, sizeof *there);
  for (unsigned i = 0; i < l->graph->n_nodes; i++) there[i] = l->temps->kept[i] || l->plan.source[i];
  graph_mark_missing(l->graph, need, there);
}

Inst *nest_to_storage(Nest *l, const Operand *o, Inst *x) {
  if (o->flush && x->type == TYPE_F32) {
    Inst *tiny = nest_op2(l, KOP_LT, nest_op1(l, KOP_ABS, x), nest_const(l, TYPE_F32, 0x00800000));
    x = nest_select(l, tiny, nest_const(l, TYPE_F32, 0), x);
  }
  return nest_cast(l, o->storage, x);
}

/* Into a temporary, or as the new value of a tensor. */
static void store_value(Nest *l, unsigned buffer, Inst *at, Inst *x, const Write *direct) {
  if (!direct) { nest_store(l, buffer, at, x, NULL); return; }
  const Operand *o = operand_of(l, direct->operand);
  Inst *present = operand_may_be_absent(o) ? nest_add(l, KOP_E_PRESENT, TYPE_BOOL, direct->operand, 0, NULL) : NULL;
  nest_store(l, direct->operand, at, nest_to_storage(l, o, x), nest_both(l, present, direct->when ? l->kernel.scalar[direct->when->id] : NULL));
}

void nest_store_value(Nest *l, const Node *n, Inst *at, Inst *x) { store_value(l, l->plan.direct[n->id] ? 0 : nest_buffer(l, n), at, x, l->plan.direct[n->id]); }

/* The value of every element of a node's space, or the number, into a buffer. */
static void copy_value(Nest *l, const Node *n, unsigned buffer, const Write *direct) {
  unsigned rank = n->space->rank, rows = l->kernel.tile ? l->kernel.tile : rank;
  nest_axes(l, n->space, rows);
  if (rows < rank) {                     /* a row at a time */
    Inst *row = nest_flat(l, n->space, rows), *length = nest_extent(l, n->space->extent[rows]);
    nest_settle_value(l, n->space, 1u << rows, n);
    l->point.index[rows] = nest_open(l, nest_i64(l, 0), length, 0, NULL);
    nest_here(l, n->space, nest_op2(l, KOP_ADD, nest_op2(l, KOP_MUL, row, length), l->point.index[rows]));
  } else nest_here(l, n->space, nest_flat(l, n->space, rank));
  store_value(l, buffer, l->point.flat, nest_element(l, n), direct);
  if (rows < rank) nest_close(l, 0, NULL);
  nest_close_axes(l, rows);
}

Inst *nest_space_count(Nest *l, const Space *s) {
  Inst *n = nest_i64(l, 1);
  for (unsigned a = 0; a < s->rank; a++) n = nest_times(l, n, nest_extent(l, s->extent[a]));
  return n;
}

/* Loops over a space, or over what a kernel of tiles has of it, row by row. Returns the place, and how many loops there are behind the rows. */
static Inst *open_copy(Nest *l, const Space *s, unsigned *behind) {
  unsigned rows = l->kernel.tile ? l->kernel.tile : s->rank;
  nest_axes(l, s, rows);
  Inst *row = nest_flat(l, s, rows);
  *behind = rows < s->rank;
  if (!*behind) return row;
  Inst *length = nest_extent(l, s->extent[rows]), *i = nest_open(l, nest_i64(l, 0), length, 0, NULL);
  return nest_op2(l, KOP_ADD, nest_op2(l, KOP_MUL, row, length), i);
}

void nest_copy_buffer(Nest *l, unsigned to, unsigned from, const Space *s) {
  unsigned behind;
  Inst *at = open_copy(l, s, &behind);
  nest_store(l, to, at, nest_load(l, from, at, NULL), NULL);
  if (behind) nest_close(l, 0, NULL);
  nest_close_axes(l, l->kernel.tile ? l->kernel.tile : s->rank);
}

void nest_copy_to_operand(Nest *l, const Write *w, unsigned from) {
  const Space *s = w->value->space;
  unsigned behind;
  Inst *at = open_copy(l, s, &behind);
  store_value(l, 0, at, nest_load(l, from, at, NULL), &(Write){w->operand, w->value, NULL});
  if (behind) nest_close(l, 0, NULL);
  nest_close_axes(l, l->kernel.tile ? l->kernel.tile : s->rank);
}

void nest_copy_value(Nest *l, const Node *n, unsigned buffer) { copy_value(l, n, buffer, NULL); }

unsigned nest_carried_buffer(const Nest *l, const Node *scan, unsigned k, bool next) { return l->temps->carried[scan->id] - 1 + 2 * k + next; }

void nest_make_carried(Nest *l, const Node *scan, const bool *in_place) {
  if (l->temps->carried[scan->id]) return;
  l->temps->carried[scan->id] = 1 + l->module->n_operands + l->program->n_temps;
  for (unsigned c = 0; c < scan->region->n_results; c++) {
    const Node *x = scan->args[c + 1];
    Wanted size = {.space = x->space, .fixed = 1, .operand = -1};
    nest_temp(l, "carried", (Type)x->type, size);
    if (in_place[c]) size.space = scan->space;             /* one number's: it is not used */
    nest_temp(l, "after", (Type)x->type, size);
  }
}

/* Which of the numbers that the loop carries is carried value k. */
static unsigned number_of(const Node *scan, unsigned k) {
  unsigned n = 0;
  for (unsigned c = 0; c < k; c++) n += !scan->args[c + 1]->space->rank;
  return n;
}

/* How often the needed nodes of a scan's body refer to a node; the carried results are `carried`. */
static unsigned references(const Nest *l, const Node *scan, const bool *need, const Node *to) {
  unsigned n = 0;
  for (unsigned k = 0; k < scan->region->n_results; k++) n += scan->region->results[k] == to;
  for (unsigned i = to->id + 1; i < l->graph->n_nodes; i++) {
    const Node *x = l->graph->nodes[i];
    for (unsigned k = 0; k < (need[i] ? node_parts(x) : 0); k++) n += node_part(x, k) == to;
  }
  return n;
}

/* A carried tensor of which a trip writes some elements only, and whose last value nobody else meets, stays where it lies: a trip costs what it writes.
 * What refers to it depends on it, so that no value of another kernel is among that: the answer is the same wherever the scan is emitted. */
bool nest_stays(const Nest *l, const Node *scan, const bool *need, unsigned k) {
  const Node *n = scan->region->results[k];
  if (n->op != OP_SCATTER) return false;
  for (; n->op == OP_SCATTER; n = n->args[0]) if (references(l, scan, need, n) != 1) return false;
  return n->op == OP_CARRY && (n->aux & 63) == (int32_t)scan->imm && n->imm == k && references(l, scan, need, n) == 1;
}

/* Where the scatters of such a tensor write: to = 0 leaves them on their own again. */
void nest_scatter_to(Nest *l, const Node *scan, unsigned k, unsigned to) {
  for (const Node *n = scan->region->results[k]; n->op == OP_SCATTER; n = n->args[0]) l->temps->buffer[n->id] = to;
}

static void emit_scan(Nest *l, const Node *n) {
  unsigned d = (unsigned)n->imm, carried = n->region->n_results, numbers = number_of(n, carried);
  Inst **first = arena_array(l->arena, numbers + 1, sizeof *first), **after = arena_array(l->arena, numbers + 1, sizeof *after);
  bool *need = nest_by_node(l, sizeof *need), *in_place = arena_array(l->arena, carried + 1, sizeof *in_place);
  for (unsigned k = 0; k < carried; k++) need[n->region->results[k]->id] = true;
  nest_close_need(l, need);
  for (unsigned k = 0; k < carried; k++) in_place[k] = nest_stays(l, n, need, k);
  nest_make_carried(l, n, in_place);
  for (unsigned k = 0; k < carried; k++) {
    const Node *x = n->args[k + 1];
    if (x->space->rank) copy_value(l, x, nest_carried_buffer(l, n, k, false), NULL);
    else first[number_of(n, k)] = l->kernel.scalar[x->id];
  }
  const NestScan outer = l->kernel.scan[d];
  Inst *when = work_condition(l, n), *trips = l->kernel.scalar[n->args[0]->id];       /* not needed: no trips, since what the body keeps has no room then */
  if (when) trips = nest_select(l, when, trips, nest_i64(l, 0));
  Inst *loop = nest_open(l, nest_i64(l, 0), trips, numbers, first);
  l->kernel.scan[d] = (NestScan){n, loop};
  for (unsigned k = 0; k < carried; k++) if (in_place[k]) nest_scatter_to(l, n, k, 1 + nest_carried_buffer(l, n, k, false));
  nest_emit(l, need, (int)d);
  for (unsigned k = 0; k < carried; k++) {
    const Node *x = n->region->results[k];
    if (in_place[k]) nest_scatter_to(l, n, k, 0);
    else if (x->space->rank) copy_value(l, x, nest_carried_buffer(l, n, k, true), NULL);
    else after[number_of(n, k)] = l->kernel.scalar[x->id];
  }
  for (unsigned k = 0; k < carried; k++)
    if (n->args[k + 1]->space->rank && !in_place[k]) nest_copy_buffer(l, nest_carried_buffer(l, n, k, false), nest_carried_buffer(l, n, k, true), n->args[k + 1]->space);
  nest_close(l, numbers, after);
  l->kernel.scan[d] = outer;
  for (unsigned i = 0; i < l->graph->n_nodes; i++)                         /* carried values are shared by all scans of a depth */
    if (l->plan.carry[i] >> d & 1) { l->kernel.scalar[i] = NULL; l->kernel.done[i] = false; }
  l->kernel.scalar[n->id] = loop;
}

static const NestScan *scan_of(const Nest *l, const Node *carry) { return &l->kernel.scan[carry->aux & 63]; }

static Inst *trip_of(Nest *l, const NestScan *s) {
  if (!s->node->aux) return s->loop;
  Inst *trips = s->loop->op == KOP_E_TRIP ? number_at_top(l, s->node->args[0]) : s->loop->args[1];
  return nest_op2(l, KOP_SUB, nest_op2(l, KOP_SUB, trips, nest_i64(l, 1)), s->loop);
}

static Inst *carried_number(Nest *l, const NestScan *s, const Node *n) {
  return n->imm < 0 ? trip_of(l, s) : nest_carried(l, s->loop, number_of(s->node, (unsigned)n->imm));
}

static void emit_number(Nest *l, const Node *n) {
  bool fold = n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND;
  bool *kept = &l->temps->kept[n->id];
  if (l->plan.keeps[n->id] && *kept) { l->kernel.scalar[n->id] = nest_load(l, nest_buffer(l, n), nest_i64(l, 0), NULL); return; }
  if (fold) nest_fold(l, n);
  else if (n->op == OP_SCAN) emit_scan(l, n);
  else if (n->op == OP_RESULT) l->kernel.scalar[n->id] = nest_carried(l, l->kernel.scalar[n->args[0]->id], number_of(n->args[0], (unsigned)n->imm));
  else if (n->op == OP_CARRY) l->kernel.scalar[n->id] = carried_number(l, scan_of(l, n), n);
  else {
    nest_here(l, n->space, NULL);
    l->kernel.scalar[n->id] = node_value(l, n);
  }
  if (l->plan.keeps[n->id] && l->kernel.launch == LAUNCH_ITEM) {
    nest_store(l, nest_buffer(l, n), nest_i64(l, 0), l->kernel.scalar[n->id], NULL);
    *kept = true;
  }
}

static void take_result(Nest *l, const Node *n) { l->temps->buffer[n->id] = 1 + nest_carried_buffer(l, n->args[0], (unsigned)n->imm, false); }
static void take_carry(Nest *l, const Node *n) { l->temps->buffer[n->id] = 1 + nest_carried_buffer(l, scan_of(l, n)->node, (unsigned)n->imm, false); }

static void emit_positions(Nest *l, const Node *n) {
  l->plan.stored[n->id] = false;                                           /* for its own nest */
  copy_value(l, n, l->plan.direct[n->id] ? 0 : nest_buffer(l, n), l->plan.direct[n->id]);
  l->plan.stored[n->id] = true;
}

/* A stored node into its temporary. */
static void emit_stored(Nest *l, const Node *n) {
  (whole[n->op] ? whole[n->op] : emit_positions)(l, n);
  l->kernel.done[n->id] = true;
  if (!l->plan.carry[n->id] && (l->kernel.launch == LAUNCH_ITEM || l->kernel.launch == LAUNCH_TILE)) l->temps->kept[n->id] = true;
}

/* The needed nodes that belong to the body of the scan at `depth` (-1: outside all scans), in order. */
void nest_emit(Nest *l, const bool *need, int depth) {
  for (unsigned i = 0; i < l->graph->n_nodes; i++) {
    const Node *n = l->graph->nodes[i];
    int own = carries_depth(l->plan.carry[i]);
    bool repeated = depth < 0 && l->repeat && own == (int)l->repeat->imm;
    if (!need[i] || (own != depth && !repeated)) continue;
    if (!n->space->rank) { if (!l->kernel.scalar[i]) emit_number(l, n); }
    else if (l->plan.stored[i] && !l->kernel.done[i] && !l->temps->kept[i]) {
      Inst *when = work_condition(l, n);
      if (when) nest_if(l, when);
      emit_stored(l, n);
      if (when) nest_end_if(l);
    }
  }
}
