/* lower.c: pass `lower`: graph to program, in the plainest form. Exact; required.
 *
 * Before: a graph without function nodes (pass `expand`). After: a program of
 *   check    the requirements (once a parameter group)
 *   value_m  one a written tensor: a loop over the item computes what will be stored into a temporary
 *   write_m  one a written tensor: a loop copies the temporary to its operand
 *   scalars  item scalars: all computed, then all set
 *   layout   which states an item has (entry layout)
 *   finish   global scalars: all computed, then all set
 * so that every value sees its operands as they were at entry. Scalars are computed before the loops, elements inside;
 * a scan is a sequential loop with carried values. A write under a condition is a loop under `if`.
 * Storage: LOAD gives the type in memory and a CAST the arithmetic type; a CAST to storage stands before STORE. `flush`
 * stores +0 for what is below 2^-126 in magnitude. Absent tensors (optional, out) are guarded by PRESENT.
 * All this where a rule is computed element by element; every other graph is lower_nest.c's. */
#include <inttypes.h>
#include "passes/lower_program.h"
#include "passes/passes.h"

typedef struct Lowering {
  Unit *unit;
  const Graph *graph;
  const Module *module;
  Program *program;
  Arena *arena;
  const uint64_t *carry;                 /* by node: bit d: depends on what the scan at depth d carries */
  bool *element;                         /* by node: differs from element to element */
  Inst **map;                            /* by node: its instruction in the kernel being built */
  bool *need;                            /* by node: wanted in the kernel being built */
  Block *prologue;                       /* where scalars go */
  Inst *index;                           /* the element loop */
  Inst *scan[64];                        /* open scan loops by depth */
  const Node *scan_node[64];
} Lowering;

static Inst *add(Lowering *l, Block *b, KOp op, Type type, int64_t imm, unsigned n, Inst *const *args) { return block_add(l->arena, b, op, type, imm, n, args); }
static Inst *constant(Lowering *l, Block *b, Type type, Bits bits) { return add(l, b, KOP_E_CONST, type, (int64_t)bits, 0, NULL); }
static Inst *convert(Lowering *l, Block *b, Inst *x, Type type) { return x->type == type ? x : add(l, b, KOP_CAST, type, 0, 1, &x); }
static Inst *both(Lowering *l, Block *b, Inst *x, Inst *y) { return !x || x == y ? y : !y ? x : add(l, b, KOP_AND, TYPE_BOOL, 0, 2, (Inst *[]){x, y}); }

static const Operand *operand(const Lowering *l, int64_t k) { return &l->module->operands[k]; }


/* --- what can be lowered ------------------------------------------------------------------------------------------------ */

/* Whether a value differs from element to element: by its space, or by what it is made of. */
static void find_elements(Lowering *l) {
  for (unsigned id = 0; id < l->graph->n_nodes; id++) {
    const Node *n = l->graph->nodes[id];
    l->element[id] = n->space->rank > 0;
    for (unsigned k = 0; k < node_parts(n); k++) l->element[id] |= l->element[node_part(n, k)->id];
  }
}

static bool item_space(const Space *s) { return s->rank == 1 && s->extent[0]->op == OP_SIZE && s->extent[0]->aux == -1; }

static bool reads_own_element(const Lowering *l, const Node *n) {
  const Operand *o = operand(l, n->imm);
  return o->scope == SCOPE_TENSOR && o->item_shape && n->n_args == (unsigned)(n->aux == 1) && n->space->rank;
}

static bool supported(Lowering *l, const Node *n) {
  if (n->space->rank && !item_space(n->space)) return false;
  if (op_is_element(n->op)) return true;
  switch ((Op)n->op) {
    case OP_CONST: case OP_HYPER: case OP_STEP: case OP_SEED: case OP_ITEM: case OP_INDEX: case OP_SCALAR: case OP_CARRY: case OP_RESULT: case OP_PRESENT: return true;
    case OP_SIZE: return operand(l, n->imm)->item_shape;
    case OP_READ: return reads_own_element(l, n);
    case OP_SCAN: return n->imm >= 0 && n->imm <= 63;
    default: return false;
  }
}

static bool all_supported(Lowering *l) {
  const Graph *g = l->graph;
  bool *need = arena_array(l->arena, g->n_nodes + 1, sizeof *need);
  graph_mark_roots(g, need);
  graph_mark_values(g, need);
  for (unsigned id = 0; id < g->n_nodes; id++) if (need[id] && !supported(l, g->nodes[id])) return false;
  return true;
}

/* --- nodes --------------------------------------------------------------------------------------------------------------- */

static void emit_level(Lowering *, Block *, const bool *need, int depth, bool element);

static Inst *emit_scan(Lowering *l, Block *b, const Node *n) {
  unsigned depth = (unsigned)n->imm, carried = n->n_args - 1;
  Inst **args = arena_array(l->arena, carried + 2, sizeof *args);
  args[0] = constant(l, b, TYPE_I64, 0);
  args[1] = l->map[n->args[0]->id];
  for (unsigned c = 0; c < carried; c++) args[c + 2] = l->map[n->args[c + 1]->id];
  Inst *loop = add(l, b, KOP_E_FOR, TYPE_I64, 0, carried + 2, args);
  loop->body = block_new(l->arena);
  l->scan[depth] = loop;
  l->scan_node[depth] = n;
  emit_level(l, loop->body, graph_scan_body(l->graph, n, l->carry, l->arena), (int)depth, false);
  Inst **results = arena_array(l->arena, carried + 1, sizeof *results);
  for (unsigned r = 0; r < n->region->n_results && r < carried; r++) results[r] = l->map[n->region->results[r]->id];
  add(l, loop->body, KOP_E_YIELD, TYPE_BOOL, 0, carried, results);
  for (unsigned id = 0; id < l->graph->n_nodes; id++) if (l->carry[id] >> depth & 1) l->map[id] = NULL;     /* carried nodes are shared by all scans of a depth */
  return loop;
}

static Inst *emit_carry(Lowering *l, Block *b, const Node *n) {
  unsigned depth = (unsigned)n->aux & 63;
  Inst *loop = l->scan[depth];
  if (n->imm >= 0) return add(l, b, KOP_E_CARRIED, n->type, n->imm, 1, &loop);
  if (l->scan_node[depth]->aux != 1) return loop;
  Inst *last = add(l, b, KOP_SUB, TYPE_I64, 0, 2, (Inst *[]){loop->args[1], constant(l, b, TYPE_I64, 1)});
  return add(l, b, KOP_SUB, TYPE_I64, 0, 2, (Inst *[]){last, loop});
}

static Inst *emit_read(Lowering *l, Block *b, const Node *n) {
  const Operand *o = operand(l, n->imm);
  Inst *guard = n->aux == 1 ? l->map[n->args[0]->id] : NULL;
  if (operand_may_be_absent(o)) {
    Block *place = guard && l->element[n->args[0]->id] ? b : l->prologue;
    guard = both(l, place, add(l, l->prologue, KOP_E_PRESENT, TYPE_BOOL, n->imm, 0, NULL), guard);
  }
  Inst *x = add(l, b, KOP_E_LOAD, o->storage, n->imm, guard ? 2 : 1, (Inst *[]){l->index, guard});
  return convert(l, b, x, n->type);
}

static Inst *emit_size(Lowering *l, Block *b, const Node *n) {
  Inst *size = add(l, b, KOP_E_SIZE, TYPE_I64, n->imm, 0, NULL);
  size->aux = n->aux;
  return size;
}

static Inst *emit_node(Lowering *l, Block *b, const Node *n) {
  if (op_is_element(n->op)) {
    Inst *args[4];
    for (unsigned a = 0; a < n->n_args && a < 4; a++) args[a] = l->map[n->args[a]->id];
    return add(l, b, (KOp)n->op, n->type, 0, n->n_args, args);
  }
  switch ((Op)n->op) {
    case OP_CONST: return constant(l, b, n->type, (Bits)n->imm);
    case OP_HYPER: return convert(l, b, add(l, b, KOP_E_HYPER, l->module->hypers[n->imm].type, n->imm, 0, NULL), n->type);
    case OP_STEP: return convert(l, b, add(l, b, KOP_E_STEP, TYPE_I64, 0, 0, NULL), n->type);
    case OP_SEED: return convert(l, b, add(l, b, KOP_E_SEED, TYPE_I64, 0, 0, NULL), n->type);
    case OP_ITEM: return convert(l, b, add(l, b, KOP_E_ITEM, TYPE_I64, 0, 0, NULL), n->type);
    case OP_SIZE: return convert(l, b, emit_size(l, b, n), n->type);
    case OP_PRESENT: return add(l, b, KOP_E_PRESENT, TYPE_BOOL, n->imm, 0, NULL);
    case OP_INDEX: return convert(l, b, add(l, b, KOP_ADD, TYPE_I64, 0, 2, (Inst *[]){l->index, add(l, b, KOP_E_FIRST, TYPE_I64, 0, 0, NULL)}), n->type);      /* counted in the whole tensor, also in a shard */
    case OP_READ: return emit_read(l, b, n);
    case OP_SCALAR: return convert(l, b, add(l, b, KOP_E_SCALAR, operand_field_type(operand(l, n->imm)), n->imm, 0, NULL), n->type);
    case OP_SCAN: return emit_scan(l, b, n);
    case OP_CARRY: return emit_carry(l, b, n);
    case OP_RESULT: return add(l, b, KOP_E_CARRIED, n->type, n->imm, 1, (Inst *[]){l->map[n->args[0]->id]});
    default: return NULL;
  }
}

/* Emits the needed nodes that belong to the body of the scan at `depth` (-1: outside all scans; then scalars or elements). */
static void emit_level(Lowering *l, Block *b, const bool *need, int depth, bool element) {
  for (unsigned id = 0; id < l->graph->n_nodes; id++) {
    if (!need[id] || l->map[id] || carries_depth(l->carry[id]) != depth) continue;
    if (depth < 0 && l->element[id] != element) continue;
    l->map[id] = emit_node(l, b, l->graph->nodes[id]);
  }
}

/* --- kernels ---------------------------------------------------------------------------------------------------------------- */

static Kernel *begin_kernel(Lowering *l, const char *name, Launch launch) {
  Kernel *k = program_kernel(l->program, name, launch);
  l->prologue = k->body;
  l->map = arena_array(l->arena, l->graph->n_nodes + 1, sizeof *l->map);
  l->need = arena_array(l->arena, l->graph->n_nodes + 1, sizeof *l->need);
  l->index = NULL;
  return k;
}

static void emit_scalars(Lowering *l) {
  graph_mark_values(l->graph, l->need);
  emit_level(l, l->prologue, l->need, -1, false);
}

/* A loop over the launch's elements, not yet in a block; end_loop puts it behind the scalars, under `when` if there is one. */
static Block *begin_loop(Lowering *l) {
  Inst *bounds[] = {add(l, l->prologue, KOP_E_BEGIN, TYPE_I64, 0, 0, NULL), add(l, l->prologue, KOP_E_END, TYPE_I64, 0, 0, NULL)};
  l->index = add(l, block_new(l->arena), KOP_E_FOR, TYPE_I64, 0, 2, bounds);
  return l->index->body = block_new(l->arena);
}

static void end_loop(Lowering *l, const Node *when) {
  add(l, l->index->body, KOP_E_YIELD, TYPE_BOOL, 0, 0, NULL);
  Block *to = l->prologue;
  if (when) {
    Inst *inst = add(l, to, KOP_E_IF, TYPE_BOOL, 0, 1, &l->map[when->id]);
    to = inst->body = block_new(l->arena);
  }
  block_push(l->arena, to, l->index);
}

static Inst *to_storage(Lowering *l, Block *b, const Operand *o, Inst *x) {
  if (o->flush && x->type == TYPE_F32) {
    Inst *least = constant(l, b, TYPE_F32, 0x00800000), *zero = constant(l, b, TYPE_F32, 0);
    Inst *size = add(l, b, KOP_ABS, TYPE_F32, 0, 1, &x);
    Inst *tiny = add(l, b, KOP_LT, TYPE_BOOL, 0, 2, (Inst *[]){size, least});
    x = add(l, b, KOP_SELECT, TYPE_F32, 0, 3, (Inst *[]){tiny, zero, x});
  }
  return convert(l, b, x, o->storage);
}

static const char *write_name(Lowering *l, const char *what, unsigned write) {
  const Graph *g = l->graph;
  unsigned before = 0;
  for (unsigned k = 0; k < write; k++) before += g->writes[k].operand == g->writes[write].operand;
  const char *name = operand(l, g->writes[write].operand)->name;
  return before ? arena_printf(l->arena, "%s_%s_%u", what, name, before + 1) : arena_printf(l->arena, "%s_%s", what, name);
}

static void lower_value(Lowering *l, unsigned write, unsigned temp) {
  const Write *w = &l->graph->writes[write];
  begin_kernel(l, write_name(l, "value", write), LAUNCH_ITEM);
  graph_mark_write(l->need, w);
  emit_scalars(l);
  Block *body = begin_loop(l);
  emit_level(l, body, l->need, -1, true);
  Inst *x = to_storage(l, l->element[w->value->id] ? body : l->prologue, operand(l, w->operand), l->map[w->value->id]);
  add(l, body, KOP_E_STORE, TYPE_BOOL, temp, 2, (Inst *[]){l->index, x});
  end_loop(l, w->when);
}

static void lower_copy(Lowering *l, unsigned write, unsigned temp) {
  const Write *w = &l->graph->writes[write];
  const Operand *o = operand(l, w->operand);
  begin_kernel(l, write_name(l, "write", write), LAUNCH_ITEM);
  graph_mark(l->need, w->when);
  emit_scalars(l);
  Inst *guard = operand_may_be_absent(o) ? add(l, l->prologue, KOP_E_PRESENT, TYPE_BOOL, w->operand, 0, NULL) : NULL;
  Block *body = begin_loop(l);
  Inst *x = add(l, body, KOP_E_LOAD, o->storage, temp, 1, &l->index);
  add(l, body, KOP_E_STORE, TYPE_BOOL, w->operand, guard ? 3 : 2, (Inst *[]){l->index, x, guard});
  end_loop(l, w->when);
}

static void lower_tensors(Lowering *l) {
  const Graph *g = l->graph;
  unsigned *temp = arena_array(l->arena, g->n_writes + 1, sizeof *temp);
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Operand *o = operand(l, g->writes[k].operand);
    if (o->scope != SCOPE_TENSOR) continue;
    temp[k] = program_temp(l->program, write_name(l, "new", k), o->storage);
    lower_value(l, k, temp[k]);
  }
  for (unsigned k = 0; k < g->n_writes; k++) if (operand(l, g->writes[k].operand)->scope == SCOPE_TENSOR) lower_copy(l, k, temp[k]);
}

/* Item scalars, or global ones: all values first. */
static void lower_scalars(Lowering *l, Scope scope, const char *name, Launch launch) {
  const Graph *g = l->graph;
  unsigned n = 0;
  for (unsigned k = 0; k < g->n_writes; k++) n += operand(l, g->writes[k].operand)->scope == scope;
  if (!n) return;
  begin_kernel(l, name, launch);
  for (unsigned k = 0; k < g->n_writes; k++)
    if (operand(l, g->writes[k].operand)->scope == scope) graph_mark_write(l->need, &g->writes[k]);
  emit_scalars(l);
  Inst **value = arena_array(l->arena, g->n_writes, sizeof *value);
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Operand *o = operand(l, g->writes[k].operand);
    if (o->scope == scope) value[k] = convert(l, l->prologue, convert(l, l->prologue, l->map[g->writes[k].value->id], o->storage), operand_field_type(o));
  }
  for (unsigned k = 0; k < g->n_writes; k++) {
    if (!value[k]) continue;
    Block *to = l->prologue;
    if (g->writes[k].when) {
      Inst *inst = add(l, to, KOP_E_IF, TYPE_BOOL, 0, 1, &l->map[g->writes[k].when->id]);
      to = inst->body = block_new(l->arena);
    }
    add(l, to, KOP_E_SET_SCALAR, TYPE_BOOL, g->writes[k].operand, 1, &value[k]);
  }
}

static void lower_checks(Lowering *l) {
  const Graph *g = l->graph;
  if (!g->n_requires) return;
  begin_kernel(l, "check", LAUNCH_CHECK);
  graph_mark_requires(g, l->need);
  emit_scalars(l);
  for (unsigned k = 0; k < g->n_requires; k++) {
    const Requirement *r = &g->requires[k];
    Inst *args[5] = {l->map[r->cond->id]};
    for (unsigned v = 0; v < r->n; v++) args[v + 1] = convert(l, l->prologue, l->map[r->value[v]->id], TYPE_F64);
    add(l, l->prologue, KOP_E_REQUIRE, TYPE_BOOL, program_text(l->program, requirement_text(r, l->program->arena), r->about), 1 + r->n, args);
  }
}

static void lower_layout(Lowering *l) {
  const Graph *g = l->graph;
  if (!g->n_exists) return;
  begin_kernel(l, "layout", LAUNCH_ITEM);
  graph_mark_exists(g, l->need);
  emit_scalars(l);
  for (unsigned k = 0; k < g->n_exists; k++) {
    const Node *when = g->exists[k].when;
    Inst *exists = when ? l->map[when->id] : constant(l, l->prologue, TYPE_BOOL, 1);
    add(l, l->prologue, KOP_E_EXISTS, TYPE_BOOL, g->exists[k].operand, 1, &exists);
  }
}

/* --- what the levels of the writes allow -------------------------------------------------------------------------------------- */

static bool is_number(const Lowering *l, const Node *n) { return !n || !l->element[n->id]; }

static bool levels_ok(Lowering *l) {
  const Graph *g = l->graph;
  for (unsigned k = 0; k < g->n_requires; k++) if (!is_number(l, g->requires[k].cond)) return false;
  for (unsigned k = 0; k < g->n_exists; k++) if (!is_number(l, g->exists[k].when)) return false;
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Write *w = &g->writes[k];
    const Operand *o = operand(l, w->operand);
    if (!is_number(l, w->when) || (o->scope == SCOPE_TENSOR ? !o->item_shape : operand_is_tensor(o) || !is_number(l, w->value))) return false;
    if (o->scope == SCOPE_GLOBAL && (!graph_is_global(g, w->value) || (w->when && !graph_is_global(g, w->when)))) return false;
  }
  return true;
}

/* Whether the rule is computed element by element: then every loop is one over the item. */
static bool is_pointwise(Lowering *l) {
  for (unsigned k = 0; k < l->module->n_operands; k++) {
    const Operand *o = operand(l, k);
    if (o->shape && !operand_is_shaped(o)) return false;                    /* its sizes must be told */
  }
  return !l->graph->skip && all_supported(l) && levels_ok(l);
}

static bool functions_left(Lowering *l) {
  const bool *live = graph_reachable(l->graph, l->arena);
  for (unsigned id = 0; id < l->graph->n_nodes; id++) {
    const Node *n = l->graph->nodes[id];
    if (!live[id] || (!op_is_function(n->op) && n->op != OP_PHILOX)) continue;
    diag_error(l->unit->diag, n->where, "function '%s' is left in the graph: the pass 'expand' must run before 'lower'", op_name(n->op));
    return true;
  }
  return false;
}

static Lowering start(Unit *unit) {
  const Graph *g = unit->graph;
  Lowering l = {.unit = unit, .graph = g, .module = unit->module, .arena = unit->arena};
  l.program = program_new(unit->module, unit->arena, g->name);
  l.program->advances = g->advances;
  l.program->equal_hypers = graph_shared_hypers(g, l.arena);
  l.carry = graph_carries(g, l.arena);
  l.element = arena_array(l.arena, g->n_nodes + 1, sizeof *l.element);
  find_elements(&l);
  return l;
}

bool lower_is_pointwise(Unit *unit) {
  Lowering l = start(unit);
  return is_pointwise(&l);
}

void pass_lower(Unit *unit, const PassArgs *args) {
  Lowering l = start(unit);
  if (functions_left(&l)) return;
  if (!is_pointwise(&l)) { lower_nests(unit); return; }
  lower_checks(&l);
  lower_layout(&l);
  lower_tensors(&l);
  lower_scalars(&l, SCOPE_SCALAR, "scalars", LAUNCH_ITEM);
  lower_scalars(&l, SCOPE_GLOBAL, "finish", LAUNCH_FINISH);
  for (unsigned k = 0; k < l.program->n_kernels; k++) kernel_number(l.program->kernels[k]);
  unit->program = l.program;
}
