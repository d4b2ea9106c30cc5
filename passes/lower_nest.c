/* lower_nest.c: lowering of any graph: plain loop nests with temporaries, in the order of the nodes. Exact.
 *
 * A node that needs more than its own position (reductions, contractions, softmax, running values, orders, scatters, decompositions, what a scan
 * gives) and the argument of a map are computed whole into a temporary; what is computed position by position is written where it is used. The program:
 *   sizes, call_sizes   elements of the temporaries and of states with their own shape
 *   check, layout       as in lower.c
 *   stage_s, total_s    what totals of stage s need from an item, one slot each; what the slots make
 *   item                everything else of an item: values first, then the writes, so that every value sees its operands as they were at entry
 *   finish              the same for operands of the call
 * A scan is one loop that holds the nests of its body; carried tensors stand in two temporaries: new ones are complete before they are copied. */
#include "passes/lower_nest.h"

static Inst *node_value(Nest *, const Node *);
static const Operand *operand_of(const Nest *l, int64_t k) { return &l->module->operands[k]; }
static bool may_be_absent(const Operand *o) { return o->optional || o->role == ROLE_OUT; }
static Type field_type(const Operand *o) { return type_kind(o->storage) == KIND_FLOAT ? TYPE_F64 : type_kind(o->storage) == KIND_INT ? TYPE_I64 : TYPE_BOOL; }

static bool keeps_whole(const Node *n) {
  switch ((int)n->op) {
    case OP_REDUCE: case OP_CONTRACT: case OP_ATTEND: case OP_SOFTMAX: case OP_CUMULATE: case OP_ORDER: case OP_SCATTER: case OP_RESULT: case OP_CARRY: case OP_EIGVEC: case OP_QR:
      return true;
    default: return false;
  }
}

/* What a map can read at another position without a temporary. */
static bool read_anywhere(const Node *x) { return !x->space->rank || x->op == OP_INDEX || (x->op == OP_READ && x->n_args == (unsigned)(x->aux == 1) && (x->aux != 1 || !x->args[0]->space->rank)); }

static void choose_stored(Nest *l) {
  for (unsigned i = 0; i < l->graph->n_nodes; i++) {
    const Node *n = l->graph->nodes[i];
    if (n->space->rank && keeps_whole(n)) l->stored[i] = true;
    if (n->op == OP_MAP && !read_anywhere(n->args[0])) l->stored[n->args[0]->id] = true;
    if ((n->op == OP_ORDER || n->op == OP_EIGVEC || n->op == OP_QR) && n->args[0]->space->rank) l->stored[n->args[0]->id] = true;
  }
}

/* Numbers that cost a loop are kept for the kernels behind a total. */
static bool keeps_number(const Nest *l, const Node *n) {
  return l->n_stages && !n->space->rank && !l->carry[n->id] && (n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND || n->op == OP_RESULT);
}

/* --- buffers and extents ----------------------------------------------------------------------------------------------------------------- */

unsigned nest_buffer(Nest *l, const Node *n) {
  unsigned *temp = &l->temp[l->call][n->id];
  if (!*temp) *temp = 1 + nest_temp(l, op_name((Op)n->op), (Type)n->type, (Wanted){.space = n->space, .fixed = 1, .operand = -1});
  return *temp - 1;
}

Inst *nest_extent(Nest *l, const Node *e) {
  Inst *x = l->scalar[e->id], *zero = nest_i64(l, 0);
  if (x->op == KOP_E_CONST && x->imm >= 0) return x;
  return nest_select(l, nest_op2(l, KOP_LT, x, zero), zero, x);
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
  if (axis == -1 && !o->shape) return nest_add(l, KOP_E_COUNT, TYPE_I64, 0, 0, NULL);
  Inst *size = nest_add(l, KOP_E_SIZE, TYPE_I64, k, 0, NULL);
  size->aux = axis;
  return size;
}

static Inst *shape_value(Nest *l, const Node *n, unsigned depth) {
  if (depth > 64) return nest_i64(l, 0);
  switch ((int)n->op) {
    case OP_CONST: return nest_const(l, (Type)n->type, (Bits)n->imm);
    case OP_HYPER: return nest_add(l, KOP_E_HYPER, (Type)n->type, n->imm, 0, NULL);
    case OP_SCALAR: return nest_cast(l, (Type)n->type, nest_add(l, KOP_E_SCALAR, field_type(operand_of(l, n->imm)), n->imm, 0, NULL));
    case OP_PRESENT: return nest_add(l, KOP_E_PRESENT, TYPE_BOOL, n->imm, 0, NULL);
    case OP_SIZE: return size_of(l, n->imm, n->aux, depth + 1);
    default: break;
  }
  Inst *args[4];
  for (unsigned k = 0; k < n->n_args && k < 4; k++) args[k] = shape_value(l, n->args[k], depth + 1);
  return nest_add(l, (KOp)n->op, (Type)n->type, 0, n->n_args, args);
}

/* A logical axis of an operand, computed at the top of the kernel. */
static Inst *operand_extent(Nest *l, int64_t k, unsigned axis) {
  Inst **known = &l->extent[k][axis];
  if (*known) return *known;
  Block *at = l->at;
  l->at = l->top;
  const Operand *o = operand_of(l, k);
  Inst *x = o->shape ? shape_value(l, o->shape->extent[axis], 0) : nest_add(l, KOP_E_COUNT, TYPE_I64, 0, 0, NULL), *zero = nest_i64(l, 0);
  *known = o->shape ? nest_select(l, nest_op2(l, KOP_LT, x, zero), zero, x) : x;
  l->at = at;
  return *known;
}

static Inst *operand_count(Nest *l, int64_t k) {
  const Operand *o = operand_of(l, k);
  Inst *n = o->shape && !o->shape->rank ? nest_i64(l, 1) : operand_extent(l, k, 0);
  for (unsigned a = 1; o->shape && a < o->shape->rank; a++) n = nest_op2(l, KOP_MUL, n, operand_extent(l, k, a));
  return n;
}

/* --- positions ------------------------------------------------------------------------------------------------------------------------------ */

void nest_axes(Nest *l, const Space *s, unsigned axes) {
  for (unsigned a = 0; a < axes; a++) {
    Inst *high = nest_extent(l, s->extent[a]);
    l->index[a] = nest_open(l, nest_i64(l, 0), high, 0, NULL);
  }
}

void nest_close_axes(Nest *l, unsigned axes) { while (axes--) nest_close(l, 0, NULL); }

Inst *nest_flat(Nest *l, const Space *s, unsigned axes) {
  Inst *at = axes ? l->index[0] : nest_i64(l, 0);
  for (unsigned a = 1; a < axes; a++) at = nest_op2(l, KOP_ADD, nest_op2(l, KOP_MUL, at, nest_extent(l, s->extent[a])), l->index[a]);
  return at;
}

void nest_here(Nest *l, const Space *s, Inst *flat) {
  l->space = s;
  l->flat = flat;
  l->epoch++;
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

static bool is_own_index(const Nest *l, const Node *x, const Node *extent) { return x->op == OP_INDEX && x->space == l->space && x->space->extent[x->imm] == extent; }

Inst *nest_place(Nest *l, const Space *s, const Node *const *indices, Inst **inside) {
  Inst *extent[NEST_RANK];
  bool sure[NEST_RANK];
  for (unsigned k = 0; k < s->rank; k++) {
    extent[k] = nest_extent(l, s->extent[k]);
    sure[k] = is_own_index(l, indices[k], s->extent[k]);
  }
  return place_of(l, s->rank, indices, extent, sure, inside);
}

/* --- values at a position ---------------------------------------------------------------------------------------------------------------------- */

static Inst *read_at(Nest *l, const Node *read, Inst *at, Inst *guard) {
  const Operand *o = operand_of(l, read->imm);
  if (may_be_absent(o)) guard = nest_both(l, nest_add(l, KOP_E_PRESENT, TYPE_BOOL, read->imm, 0, NULL), guard);
  return nest_cast(l, (Type)read->type, nest_load(l, (unsigned)read->imm, at, guard));
}

static Inst *read_value(Nest *l, const Node *n) {
  unsigned guarded = n->aux == 1, axes = n->n_args - guarded;
  Inst *guard = guarded ? nest_element(l, n->args[axes]) : NULL, *inside = NULL;
  if (!axes) return read_at(l, n, n->space->rank ? l->flat : nest_i64(l, 0), guard);
  Inst *extent[NEST_RANK];
  bool sure[NEST_RANK] = {false};
  for (unsigned k = 0; k < axes; k++) extent[k] = operand_extent(l, n->imm, k);
  Inst *at = place_of(l, axes, n->args, extent, sure, &inside);
  return read_at(l, n, at, nest_both(l, guard, inside));
}

/* x at other positions; 0 outside. */
static Inst *map_value(Nest *l, const Node *n) {
  const Node *x = n->args[0];
  if (!x->space->rank) return nest_element(l, x);
  Inst *inside, *at = nest_place(l, x->space, n->args + 1, &inside);
  if (l->stored[x->id]) return nest_load(l, nest_buffer(l, x), at, inside);
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
    case OP_SCALAR: return nest_cast(l, type, nest_add(l, KOP_E_SCALAR, field_type(operand_of(l, n->imm)), n->imm, 0, NULL));
    case OP_INDEX: return l->index[n->imm];
    case OP_READ: return read_value(l, n);
    case OP_MAP: return map_value(l, n);
    case OP_TOTAL: return nest_add(l, KOP_E_TOTAL, type, l->slot[n->id], 0, NULL);
    default: return NULL;
  }
}

Inst *nest_element(Nest *l, const Node *n) {
  if (!n->space->rank) return l->scalar[n->id];
  Memo *m = &l->memo[n->id];
  if (m->epoch == l->epoch) return m->inst;
  Inst *x = l->stored[n->id] ? nest_load(l, nest_buffer(l, n), l->flat, NULL) : node_value(l, n);
  *m = (Memo){l->epoch, x};
  return x;
}

/* --- nodes in order -------------------------------------------------------------------------------------------------------------------------- */

/* All that the marked nodes need here: not what an earlier kernel has left, and of totals nothing. */
static void close_need(const Nest *l, bool *need) { graph_mark_missing(l->graph, need, l->kept[l->call]); }

static void emit_nodes(Nest *, const bool *need, int depth);

/* The value of every element of a node's space, or the number, into a buffer. */
static void copy_value(Nest *l, const Node *n, unsigned buffer) {
  nest_axes(l, n->space, n->space->rank);
  Inst *at = nest_flat(l, n->space, n->space->rank);
  nest_here(l, n->space, at);
  nest_store(l, buffer, at, nest_element(l, n), NULL);
  nest_close_axes(l, n->space->rank);
}

static Inst *space_count(Nest *l, const Space *s) {
  Inst *n = nest_i64(l, 1);
  for (unsigned a = 0; a < s->rank; a++) n = nest_op2(l, KOP_MUL, n, nest_extent(l, s->extent[a]));
  return n;
}

static void copy_buffer(Nest *l, unsigned to, unsigned from, const Space *s) {
  Inst *i = nest_open(l, nest_i64(l, 0), space_count(l, s), 0, NULL);
  nest_store(l, to, i, nest_load(l, from, i, NULL), NULL);
  nest_close(l, 0, NULL);
}

/* Carried value k of a scan: its temporary, or the one for the value after the trip. */
static unsigned carried_buffer(Nest *l, const Node *scan, unsigned k, bool next) {
  unsigned *first = &l->next[l->call][scan->id];
  if (!*first) {
    *first = 1 + l->module->n_operands + l->program->n_temps;
    for (unsigned c = 0; c < scan->region->n_results; c++) {
      const Node *x = scan->args[c + 1];
      const Wanted size = {.space = x->space, .fixed = 1, .operand = -1};
      nest_temp(l, "carried", (Type)x->type, size);
      nest_temp(l, "after", (Type)x->type, size);
    }
  }
  return *first - 1 + 2 * k + next;
}

/* Which of the numbers that the loop carries is carried value k. */
static unsigned number_of(const Node *scan, unsigned k) {
  unsigned n = 0;
  for (unsigned c = 0; c < k; c++) n += !scan->args[c + 1]->space->rank;
  return n;
}

static void emit_scan(Nest *l, const Node *n) {
  unsigned d = (unsigned)n->imm, carried = n->region->n_results, numbers = number_of(n, carried);
  Inst **first = arena_array(l->arena, numbers + 1, sizeof *first), **after = arena_array(l->arena, numbers + 1, sizeof *after);
  for (unsigned k = 0; k < carried; k++) {
    const Node *x = n->args[k + 1];
    if (x->space->rank) copy_value(l, x, carried_buffer(l, n, k, false));
    else first[number_of(n, k)] = l->scalar[x->id];
  }
  const Node *outer = l->scan[d];
  Inst *outer_loop = l->loop[d], *loop = nest_open(l, nest_i64(l, 0), l->scalar[n->args[0]->id], numbers, first);
  l->scan[d] = n;
  l->loop[d] = loop;
  bool *need = arena_array(l->arena, l->graph->n_nodes + 1, sizeof *need);
  for (unsigned k = 0; k < carried; k++) need[n->region->results[k]->id] = true;
  close_need(l, need);
  emit_nodes(l, need, (int)d);
  for (unsigned k = 0; k < carried; k++) {
    const Node *x = n->region->results[k];
    if (x->space->rank) copy_value(l, x, carried_buffer(l, n, k, true));
    else after[number_of(n, k)] = l->scalar[x->id];
  }
  for (unsigned k = 0; k < carried; k++)
    if (n->args[k + 1]->space->rank) copy_buffer(l, carried_buffer(l, n, k, false), carried_buffer(l, n, k, true), n->args[k + 1]->space);
  nest_close(l, numbers, after);
  l->scan[d] = outer;
  l->loop[d] = outer_loop;
  for (unsigned i = 0; i < l->graph->n_nodes; i++)                         /* carried values are shared by all scans of a depth */
    if (l->carry[i] >> d & 1) { l->scalar[i] = NULL; l->done[i] = false; }
  l->scalar[n->id] = loop;
}

static Inst *trip_of(Nest *l, unsigned depth) {
  Inst *loop = l->loop[depth];
  if (!l->scan[depth]->aux) return loop;
  return nest_op2(l, KOP_SUB, nest_op2(l, KOP_SUB, loop->args[1], nest_i64(l, 1)), loop);
}

static void emit_number(Nest *l, const Node *n) {
  bool fold = n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND;
  bool *kept = &l->kept[l->call][n->id];
  if (keeps_number(l, n) && *kept) { l->scalar[n->id] = nest_load(l, nest_buffer(l, n), nest_i64(l, 0), NULL); return; }
  if (fold) nest_fold(l, n);
  else if (n->op == OP_SCAN) emit_scan(l, n);
  else if (n->op == OP_RESULT) l->scalar[n->id] = nest_carried(l, l->scalar[n->args[0]->id], number_of(n->args[0], (unsigned)n->imm));
  else if (n->op == OP_CARRY) l->scalar[n->id] = n->imm < 0 ? trip_of(l, n->aux & 63) : nest_carried(l, l->loop[n->aux & 63], number_of(l->scan[n->aux & 63], (unsigned)n->imm));
  else {
    nest_here(l, n->space, NULL);
    l->scalar[n->id] = node_value(l, n);
  }
  if (keeps_number(l, n) && l->launch == LAUNCH_ITEM) {
    nest_store(l, nest_buffer(l, n), nest_i64(l, 0), l->scalar[n->id], NULL);
    *kept = true;
  }
}

static void emit_stored(Nest *l, const Node *n) {
  switch ((int)n->op) {
    case OP_REDUCE: case OP_CONTRACT: case OP_ATTEND: nest_fold(l, n); break;
    case OP_SOFTMAX: nest_softmax(l, n); break;
    case OP_CUMULATE: nest_cumulate(l, n); break;
    case OP_ORDER: nest_order(l, n); break;
    case OP_SCATTER: nest_scatter(l, n); break;
    case OP_EIGVEC: nest_eigvec(l, n); break;
    case OP_QR: nest_qr(l, n); break;
    case OP_RESULT: l->temp[l->call][n->id] = 1 + carried_buffer(l, n->args[0], (unsigned)n->imm, false); break;
    case OP_CARRY: l->temp[l->call][n->id] = 1 + carried_buffer(l, l->scan[n->aux & 63], (unsigned)n->imm, false); break;
    default:
      l->stored[n->id] = false;                                            /* for its own nest */
      copy_value(l, n, nest_buffer(l, n));
      l->stored[n->id] = true;
  }
  l->done[n->id] = true;
  if (!l->carry[n->id] && l->launch == LAUNCH_ITEM) l->kept[l->call][n->id] = true;
}

/* The needed nodes that belong to the body of the scan at `depth` (-1: outside all scans), in order. */
static void emit_nodes(Nest *l, const bool *need, int depth) {
  for (unsigned i = 0; i < l->graph->n_nodes; i++) {
    const Node *n = l->graph->nodes[i];
    if (!need[i] || carries_depth(l->carry[i]) != depth) continue;
    if (!n->space->rank) { if (!l->scalar[i]) emit_number(l, n); }
    else if (l->stored[i] && !l->done[i] && !l->kept[l->call][i]) emit_stored(l, n);
  }
}

/* --- kernels ------------------------------------------------------------------------------------------------------------------------------------ */

static bool *begin(Nest *l, const char *name, Launch launch) {
  Kernel *k = program_kernel(l->program, name, launch);
  l->launch = launch;
  l->call = launch == LAUNCH_FINISH || launch == LAUNCH_TOTAL || launch == LAUNCH_CALL_SIZES;
  l->top = l->at = k->body;
  l->depth = 0;
  l->scalar = arena_array(l->arena, l->graph->n_nodes + 1, sizeof *l->scalar);
  l->done = arena_array(l->arena, l->graph->n_nodes + 1, sizeof *l->done);
  l->extent = arena_array(l->arena, l->module->n_operands + 1, sizeof *l->extent);
  l->n_constants = 0;
  return arena_array(l->arena, l->graph->n_nodes + 1, sizeof(bool));
}

static bool refuse(Nest *l, const Node *n, const char *what) {
  diag_error(l->unit->diag, n->where, "%s", what);
  return false;
}

/* Before data may be touched there are only numbers. */
static bool emit_numbers(Nest *l, bool *need, const char *what) {
  close_need(l, need);
  for (unsigned i = 0; i < l->graph->n_nodes; i++) {
    const Node *n = l->graph->nodes[i];
    bool data = n->space->rank || n->op == OP_READ || n->op == OP_MAP || n->op == OP_TOTAL || n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND;
    if (need[i] && data) return refuse(l, n, what);
  }
  emit_nodes(l, need, -1);
  return true;
}

static bool lower_checks(Nest *l) {
  const Graph *g = l->graph;
  if (!g->n_requires) return true;
  bool *need = begin(l, "check", LAUNCH_CHECK);
  graph_mark_requires(g, need);
  if (!emit_numbers(l, need, "a requirement is checked before anything is computed, so it cannot depend on the elements of a tensor")) return false;
  for (unsigned k = 0; k < g->n_requires; k++) {
    const Requirement *r = &g->requires[k];
    Inst *args[5] = {l->scalar[r->cond->id]};
    for (unsigned v = 0; v < r->n; v++) args[v + 1] = nest_cast(l, TYPE_F64, l->scalar[r->value[v]->id]);
    nest_add(l, KOP_E_REQUIRE, TYPE_BOOL, program_text(l->program, requirement_text(r, l->program->arena)), 1 + r->n, args);
  }
  return true;
}

static bool lower_layout(Nest *l) {
  const Graph *g = l->graph;
  if (!g->n_exists) return true;
  bool *need = begin(l, "layout", LAUNCH_ITEM);
  graph_mark_exists(g, need);
  if (!emit_numbers(l, need, "whether a state exists cannot depend on the elements of a tensor")) return false;
  for (unsigned k = 0; k < g->n_exists; k++) {
    Inst *exists = g->exists[k].when ? l->scalar[g->exists[k].when->id] : nest_const(l, TYPE_BOOL, 1);
    nest_add(l, KOP_E_EXISTS, TYPE_BOOL, g->exists[k].operand, 1, &exists);
  }
  return true;
}

static Inst *pair_of_call(Nest *l, ReduceKind kind, Inst *a, Inst *b) {
  static const KOp ops[] = {[REDUCE_SUM] = KOP_ADD, [REDUCE_PROD] = KOP_MUL, [REDUCE_ANY] = KOP_OR, [REDUCE_EVERY] = KOP_AND};
  if (kind == REDUCE_MAX || kind == REDUCE_MIN) return nest_call(l, kind == REDUCE_MAX ? OP_MAX : OP_MIN, a, b);
  return nest_op2(l, ops[kind], a, b);
}

static Inst *first_of_call(Nest *l, ReduceKind kind, Type type) {
  if (kind == REDUCE_EVERY || kind == REDUCE_PROD) return nest_real(l, type, 1);
  if (kind != REDUCE_MAX && kind != REDUCE_MIN) return nest_const(l, type, 0);
  if (type == TYPE_F64) return nest_real(l, type, kind == REDUCE_MAX ? -__builtin_inf() : __builtin_inf());
  return nest_const(l, type, (Bits)(kind == REDUCE_MAX ? INT64_MIN : INT64_MAX));
}

/* The slots of a stage, then what they make, in order of the list. */
static void lower_stage(Nest *l, unsigned stage) {
  const Graph *g = l->graph;
  bool *need = begin(l, arena_printf(l->arena, "stage_%u", stage), LAUNCH_ITEM);
  for (unsigned i = 0; i < g->n_nodes; i++) if (l->slot[i] >= 0 && l->stage[i] == stage + 1) graph_mark(need, g->nodes[i]->args[0]);
  close_need(l, need);
  emit_nodes(l, need, -1);
  for (unsigned i = 0; i < g->n_nodes; i++)
    if (l->slot[i] >= 0 && l->stage[i] == stage + 1) nest_add(l, KOP_E_SET_SLOT, TYPE_BOOL, l->slot[i], 1, &l->scalar[g->nodes[i]->args[0]->id]);
  begin(l, arena_printf(l->arena, "total_%u", stage), LAUNCH_TOTAL);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (l->slot[i] < 0 || l->stage[i] != stage + 1) continue;
    ReduceKind kind = (ReduceKind)(n->aux & 255);
    Inst *first = first_of_call(l, kind, (Type)n->type), *item = nest_open(l, nest_i64(l, 0), nest_add(l, KOP_E_ITEMS, TYPE_I64, 0, 0, NULL), 1, &first);
    Inst *next = pair_of_call(l, kind, nest_carried(l, item, 0), nest_add(l, KOP_E_SLOT, (Type)n->type, l->slot[i], 1, &item));
    nest_close(l, 1, &next);
    Inst *total = nest_carried(l, item, 0);
    nest_add(l, KOP_E_SET_TOTAL, TYPE_BOOL, l->slot[i], 1, &total);
  }
}

/* --- writes ---------------------------------------------------------------------------------------------------------------------------------- */

static Inst *to_storage(Nest *l, const Operand *o, Inst *x) {
  if (o->flush && x->type == TYPE_F32) {
    Inst *tiny = nest_op2(l, KOP_LT, nest_op1(l, KOP_ABS, x), nest_const(l, TYPE_F32, 0x00800000));
    x = nest_select(l, tiny, nest_const(l, TYPE_F32, 0), x);
  }
  return nest_cast(l, o->storage, x);
}

/* A new value, if it is not kept anyway; it stands in the type of memory. Returns 1 + its buffer; 0: a number. */
static unsigned compute_write(Nest *l, const Write *w) {
  const Node *x = w->value;
  const Operand *o = operand_of(l, w->operand);
  if (!x->space->rank || l->stored[x->id]) return x->space->rank ? 1 + nest_buffer(l, x) : 0;
  unsigned buffer = nest_temp(l, arena_printf(l->arena, "new_%s", o->name), o->storage, (Wanted){.space = x->space, .operand = -1});
  if (w->when) nest_if(l, l->scalar[w->when->id]);
  nest_axes(l, x->space, x->space->rank);
  Inst *at = nest_flat(l, x->space, x->space->rank);
  nest_here(l, x->space, at);
  nest_store(l, buffer, at, to_storage(l, o, nest_element(l, x)), NULL);
  nest_close_axes(l, x->space->rank);
  if (w->when) nest_end_if(l);
  return 1 + buffer;
}

static void copy_write(Nest *l, const Write *w, unsigned from) {
  const Operand *o = operand_of(l, w->operand);
  Inst *count = operand_count(l, w->operand), *present = may_be_absent(o) ? nest_add(l, KOP_E_PRESENT, TYPE_BOOL, w->operand, 0, NULL) : NULL;
  if (w->when) nest_if(l, l->scalar[w->when->id]);
  Inst *i = nest_open(l, nest_i64(l, 0), count, 0, NULL), *x = from ? nest_load(l, from - 1, i, NULL) : l->scalar[w->value->id];
  if (x->type != o->storage || !from || l->stored[w->value->id]) x = to_storage(l, o, x);
  nest_store(l, w->operand, i, x, present);
  nest_close(l, 0, NULL);
  if (w->when) nest_end_if(l);
}

static void set_number(Nest *l, const Write *w, Inst *x) {
  if (w->when) nest_if(l, l->scalar[w->when->id]);
  nest_add(l, KOP_E_SET_SCALAR, TYPE_BOOL, w->operand, 1, &x);
  if (w->when) nest_end_if(l);
}

/* What is written once for the call is the same for all items. */
static bool globals_ok(Nest *l) {
  for (unsigned k = 0; k < l->graph->n_writes; k++) {
    const Write *w = &l->graph->writes[k];
    if (operand_of(l, w->operand)->scope != SCOPE_GLOBAL) continue;
    if (graph_is_global(l->graph, w->value) && (!w->when || graph_is_global(l->graph, w->when))) continue;
    diag_error(l->unit->diag, w->value->where, "'%s' is one for the whole call, its value differs from item to item", operand_of(l, w->operand)->name);
    return false;
  }
  return true;
}

static void lower_writes(Nest *l, const char *name, Launch launch) {
  const Graph *g = l->graph;
  bool call = launch == LAUNCH_FINISH, any = call && g->skip;
  for (unsigned k = 0; k < g->n_writes; k++) any |= (operand_of(l, g->writes[k].operand)->scope == SCOPE_GLOBAL) == call;
  if (!any) return;
  bool *need = begin(l, name, launch);
  if (call) graph_mark(need, g->skip);
  for (unsigned k = 0; k < g->n_writes; k++)
    if ((operand_of(l, g->writes[k].operand)->scope == SCOPE_GLOBAL) == call) graph_mark_write(need, &g->writes[k]);
  close_need(l, need);
  emit_nodes(l, need, -1);
  unsigned *from = arena_array(l->arena, g->n_writes + 1, sizeof *from);
  Inst **number = arena_array(l->arena, g->n_writes + 1, sizeof *number);
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Operand *o = operand_of(l, g->writes[k].operand);
    if ((o->scope == SCOPE_GLOBAL) != call) continue;
    if (operand_is_tensor(o)) from[k] = compute_write(l, &g->writes[k]);
    else number[k] = nest_cast(l, field_type(o), to_storage(l, o, l->scalar[g->writes[k].value->id]));
  }
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Operand *o = operand_of(l, g->writes[k].operand);
    if ((o->scope == SCOPE_GLOBAL) != call) continue;
    if (operand_is_tensor(o)) copy_write(l, &g->writes[k], from[k]);
    else set_number(l, &g->writes[k], number[k]);
  }
  if (call && g->skip) nest_add(l, KOP_E_SKIP, TYPE_BOOL, 0, 1, &l->scalar[g->skip->id]);
}

/* --- sizes ------------------------------------------------------------------------------------------------------------------------------------- */

static void set_count(Nest *l, unsigned buffer, Inst *n) { nest_add(l, KOP_E_SET_COUNT, TYPE_BOOL, buffer, 1, &n); }

static bool lower_sizes(Nest *l, bool call) {
  unsigned states = 0;
  for (unsigned k = 0; k < l->module->n_operands; k++) {
    const Operand *o = operand_of(l, k);
    states += o->shape && !operand_is_shaped(o) && (o->scope == SCOPE_GLOBAL) == call;
  }
  if (!states && !l->n_wanted[call]) return true;
  bool *need = begin(l, call ? "call_sizes" : "sizes", call ? LAUNCH_CALL_SIZES : LAUNCH_SIZES);
  for (unsigned k = 0; k < l->n_wanted[call]; k++) {
    const Space *s = l->wanted[call][k].space;
    for (unsigned a = 0; s && a < s->rank; a++) graph_mark(need, s->extent[a]);
  }
  for (unsigned i = 0; i < l->graph->n_nodes; i++)
    if (need[i] && l->carry[i]) return refuse(l, l->graph->nodes[i], "the room for this value is made before the loop: an extent may not change from trip to trip; give it the largest and mask the rest");
  if (!emit_numbers(l, need, "the room for this value is made before tensors are read: an extent may not depend on their elements; give it the largest and mask the rest")) return false;
  for (unsigned k = 0; k < l->module->n_operands; k++) {
    const Operand *o = operand_of(l, k);
    if (!o->shape || operand_is_shaped(o) || (o->scope == SCOPE_GLOBAL) != call) continue;
    for (unsigned a = 0; a < o->shape->rank; a++) {
      Inst *n = operand_extent(l, k, a);
      nest_add(l, KOP_E_SET_EXTENT, TYPE_BOOL, k, 1, &n)->aux = (int32_t)a;
    }
    set_count(l, k, operand_count(l, k));
  }
  for (unsigned k = 0; k < l->n_wanted[call]; k++) {
    const Wanted *w = &l->wanted[call][k];
    set_count(l, w->buffer, w->space ? space_count(l, w->space) : nest_i64(l, w->fixed));
  }
  return true;
}

static bool ranks_fit(Nest *l) {
  const bool *live = graph_reachable(l->graph, l->arena);
  for (unsigned i = 0; i < l->graph->n_nodes; i++) {
    const Node *n = l->graph->nodes[i];
    if (live[i] && n->space->rank > NEST_RANK) return refuse(l, n, "more than 8 axes are not supported");
    if (live[i] && n->op == OP_SCAN && (n->imm < 0 || n->imm > 31)) return refuse(l, n, "scans this deep are not supported");
  }
  return true;
}

void lower_nests(Unit *unit) {
  const Graph *g = unit->graph;
  Nest nest = {.unit = unit, .graph = g, .module = unit->module, .arena = unit->arena}, *l = &nest;
  l->program = program_new(unit->module, unit->arena, g->name);
  l->program->advances = g->advances;
  l->carry = graph_carries(g, l->arena);
  l->stage = graph_stages(g, l->arena, &l->n_stages);
  l->slot = graph_slots(g, l->arena, &l->n_slots);
  l->program->n_slots = l->n_slots;
  l->program->equal_hypers = graph_shared_hypers(g, l->arena);
  l->stored = arena_array(l->arena, g->n_nodes + 1, sizeof *l->stored);
  l->memo = arena_array(l->arena, g->n_nodes + 1, sizeof *l->memo);
  for (int call = 0; call < 2; call++) {
    l->temp[call] = arena_array(l->arena, g->n_nodes + 1, sizeof **l->temp);
    l->next[call] = arena_array(l->arena, g->n_nodes + 1, sizeof **l->next);
    l->kept[call] = arena_array(l->arena, g->n_nodes + 1, sizeof **l->kept);
  }
  choose_stored(l);
  if (!ranks_fit(l) || !globals_ok(l) || !lower_checks(l) || !lower_layout(l)) return;
  for (unsigned stage = 0; stage < l->n_stages; stage++) lower_stage(l, stage);
  lower_writes(l, "item", LAUNCH_ITEM);
  lower_writes(l, "finish", LAUNCH_FINISH);
  if (!lower_sizes(l, false) || !lower_sizes(l, true)) return;
  for (unsigned k = 0; k < l->program->n_kernels; k++) kernel_number(l->program->kernels[k]);
  unit->program = l->program;
}
