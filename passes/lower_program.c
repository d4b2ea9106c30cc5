/* lower_program.c: the kernels around the nests: checks, layout, totals, writes, sizes. The program of lower_nests:
 *   sizes, call_sizes   elements of the temporaries and of states with their own shape
 *   check, layout       as in lower.c
 *   stage_s, total_s    what totals of stage s need from an item, one slot each; what the slots make
 *   item                everything else of an item: values first, then the writes, so that every value sees its operands as they were at entry
 *   finish              the same for operands of the call */
#include <string.h>
#include "ir/graph_analysis.h"
#include "passes/lower_program.h"

static const Operand *operand_of(const Nest *l, int64_t k) { return &l->module->operands[k]; }

bool *nest_begin(Nest *l, const char *name, Launch launch) {
  Kernel *k = program_kernel(l->program, name, launch);
  l->temps = launch == LAUNCH_FINISH || launch == LAUNCH_TOTAL || launch == LAUNCH_CALL_SIZES ? &l->call : &l->items;
  l->kernel = (NestKernel){.launch = launch, .top = k->body, .at = k->body};
  l->kernel.scalar = nest_by_node(l, sizeof *l->kernel.scalar);
  l->kernel.least = nest_by_node(l, sizeof *l->kernel.least);
  l->kernel.done = nest_by_node(l, sizeof *l->kernel.done);
  l->kernel.extent = arena_array(l->arena, l->module->n_operands + 1, sizeof *l->kernel.extent);
  l->point = (NestPoint){.known = l->point.known, .memo = l->point.memo, .epoch = l->point.epoch};
  if (l->repeat) l->kernel.scan[l->repeat->imm] = (NestScan){l->repeat, nest_add(l, KOP_E_TRIP, TYPE_I64, 0, 0, NULL)};
  return nest_by_node(l, sizeof(bool));
}

bool nest_same_room(const Room *a, const Room *b) {
  return a->space == b->space && !memcmp(a->axes, b->axes, sizeof a->axes) && !memcmp(a->unit, b->unit, sizeof a->unit);
}

bool nest_same_reach(const Reach *a, const Reach *b) { return a->extent == b->extent && a->from == b->from && a->to == b->to; }

static bool same_tiles(const Tiles *a, const Tiles *b) {
  return a->space == b->space && a->axes == b->axes && a->least == b->least && a->most == b->most && a->trips == b->trips && a->when == b->when && nest_same_room(&a->room, &b->room) && nest_same_reach(&a->reach, &b->reach);
}

/* Equal launch spaces are one. */
static unsigned launch_space(Nest *l, const Tiles *t) {
  unsigned k = 0, n = l->program->n_spaces;
  while (k < n && !same_tiles(&l->tiles[k], t)) k++;
  if (k == n) l->tiles[l->program->n_spaces++] = *t;
  return k;
}

bool *nest_begin_tile(Nest *l, const char *name, Tiles tiles) {
  const Space *space = tiles.room.space ? tiles.room.space : tiles.space;
  bool *need = nest_begin(l, name, LAUNCH_TILE);
  l->program->kernels[l->program->n_kernels - 1]->space = launch_space(l, &tiles);
  l->kernel.under = tiles.when;
  l->kernel.tile = tiles.axes;
  for (unsigned a = 0; a < space->rank; a++) graph_mark(need, space->extent[a]);
  return need;
}

bool *nest_begin_room(Nest *l, const char *name, Room room, unsigned most, const Node *when) { return nest_begin_tile(l, name, (Tiles){.room = room, .most = most, .when = when}); }

void nest_open_repeat(Nest *l, const Node *scan) {
  const Tiles trips = {.trips = scan->args[0], .when = nest_demand(l, scan)};
  nest_begin(l, arena_printf(l->arena, "repeat_%u", scan->id), LAUNCH_REPEAT);
  l->program->kernels[l->program->n_kernels - 1]->space = launch_space(l, &trips);
  l->repeat = scan;
}

void nest_close_repeat(Nest *l) {
  const Node *scan = l->repeat;
  l->repeat = NULL;
  nest_begin(l, arena_printf(l->arena, "end_%u", scan->id), LAUNCH_END);
}

static bool refuse(Nest *l, const Node *n, const char *what) {
  diag_error(l->unit->diag, n->where, "%s", what);
  return false;
}

/* Has elements, or is made of them. */
static bool is_data(const Node *n) {
  return n->space->rank || n->op == OP_READ || n->op == OP_MAP || n->op == OP_TOTAL || n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND;
}

/* By node: NestPlan.known. */
static bool *find_known(const Nest *l) {
  bool *known = nest_by_node(l, sizeof *known);
  for (unsigned i = 0; i < l->graph->n_nodes; i++) {
    const Node *n = l->graph->nodes[i];
    known[i] = !is_data(n) && !l->plan.carry[i];
    for (unsigned k = 0; k < node_parts(n); k++) known[i] = known[i] && (known[node_part(n, k)->id] || l->plan.carry[node_part(n, k)->id]);
  }
  return known;
}

bool nest_knows(const Nest *l, const Space *s, unsigned axes) {
  for (unsigned a = 0; a < axes; a++) if (!l->plan.known[s->extent[a]->id]) return false;
  return true;
}

/* Before data may be touched there are only numbers. */
static bool emit_numbers(Nest *l, bool *need, const char *what) {
  nest_close_need(l, need);
  for (unsigned i = 0; i < l->graph->n_nodes; i++)
    if (need[i] && is_data(l->graph->nodes[i])) return refuse(l, l->graph->nodes[i], what);
  nest_emit(l, need, -1);
  return true;
}

bool nest_checks(Nest *l) {
  const Graph *g = l->graph;
  if (!g->n_requires) return true;
  bool *need = nest_begin(l, "check", LAUNCH_CHECK);
  graph_mark_requires(g, need);
  if (!emit_numbers(l, need, "a requirement is checked before anything is computed, so it cannot depend on the elements of a tensor")) return false;
  for (unsigned k = 0; k < g->n_requires; k++) {
    const Requirement *r = &g->requires[k];
    Inst *args[5] = {l->kernel.scalar[r->cond->id]};
    for (unsigned v = 0; v < r->n; v++) args[v + 1] = nest_cast(l, TYPE_F64, l->kernel.scalar[r->value[v]->id]);
    nest_add(l, KOP_E_REQUIRE, TYPE_BOOL, program_text(l->program, requirement_text(r, l->program->arena), r->about), 1 + r->n, args);
  }
  return true;
}

bool nest_layout(Nest *l) {
  const Graph *g = l->graph;
  if (!g->n_exists) return true;
  bool *need = nest_begin(l, "layout", LAUNCH_ITEM);
  graph_mark_exists(g, need);
  if (!emit_numbers(l, need, "whether a state exists cannot depend on the elements of a tensor")) return false;
  for (unsigned k = 0; k < g->n_exists; k++) {
    Inst *exists = g->exists[k].when ? l->kernel.scalar[g->exists[k].when->id] : nest_const(l, TYPE_BOOL, 1);
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
void nest_stage(Nest *l, unsigned stage) {
  const Graph *g = l->graph;
  bool *need = nest_begin(l, arena_printf(l->arena, "stage_%u", stage), LAUNCH_ITEM);
  for (unsigned i = 0; i < g->n_nodes; i++) if (l->plan.slot[i] >= 0 && l->plan.stage[i] == stage + 1) graph_mark(need, g->nodes[i]->args[0]);
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  for (unsigned i = 0; i < g->n_nodes; i++)
    if (l->plan.slot[i] >= 0 && l->plan.stage[i] == stage + 1) nest_add(l, KOP_E_SET_SLOT, TYPE_BOOL, l->plan.slot[i], 1, &l->kernel.scalar[g->nodes[i]->args[0]->id]);
  nest_begin(l, arena_printf(l->arena, "total_%u", stage), LAUNCH_TOTAL);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (l->plan.slot[i] < 0 || l->plan.stage[i] != stage + 1) continue;
    ReduceKind kind = (ReduceKind)(n->aux & 255);
    Inst *first = first_of_call(l, kind, (Type)n->type), *item = nest_open(l, nest_i64(l, 0), nest_add(l, KOP_E_ITEMS, TYPE_I64, 0, 0, NULL), 1, &first);
    Inst *next = pair_of_call(l, kind, nest_carried(l, item, 0), nest_add(l, KOP_E_SLOT, (Type)n->type, l->plan.slot[i], 1, &item));
    nest_close(l, 1, &next);
    Inst *total = nest_carried(l, item, 0);
    nest_add(l, KOP_E_SET_TOTAL, TYPE_BOOL, l->plan.slot[i], 1, &total);
  }
}

/* --- writes ---------------------------------------------------------------------------------------------------------------------------------- */

/* A new value, if it is not kept anyway; it stands in the type of memory. Returns 1 + its buffer; 0: a number. */
unsigned nest_compute_write(Nest *l, const Write *w) {
  const Node *x = w->value;
  const Operand *o = operand_of(l, w->operand);
  if (!x->space->rank || l->plan.stored[x->id]) return x->space->rank ? 1 + nest_buffer(l, x) : 0;
  unsigned buffer = nest_temp(l, arena_printf(l->arena, "new_%s", o->name), o->storage, (Wanted){.space = x->space, .operand = -1});
  if (w->when) nest_if(l, l->kernel.scalar[w->when->id]);
  nest_axes(l, x->space, x->space->rank);
  Inst *at = nest_flat(l, x->space, x->space->rank);
  nest_here(l, x->space, at);
  nest_store(l, buffer, at, nest_to_storage(l, o, nest_element(l, x)), NULL);
  nest_close_axes(l, x->space->rank);
  if (w->when) nest_end_if(l);
  return 1 + buffer;
}

void nest_copy_write(Nest *l, const Write *w, unsigned from) {
  const Operand *o = operand_of(l, w->operand);
  Inst *count = nest_operand_count(l, w->operand), *present = operand_may_be_absent(o) ? nest_add(l, KOP_E_PRESENT, TYPE_BOOL, w->operand, 0, NULL) : NULL;
  if (w->when) nest_if(l, l->kernel.scalar[w->when->id]);
  Inst *i = nest_open(l, nest_i64(l, 0), count, 0, NULL), *x = from ? nest_load(l, from - 1, i, NULL) : l->kernel.scalar[w->value->id];
  if (x->type != o->storage || !from || l->plan.stored[w->value->id]) x = nest_to_storage(l, o, x);
  nest_store(l, w->operand, i, x, present);
  nest_close(l, 0, NULL);
  if (w->when) nest_end_if(l);
}

void nest_set_number(Nest *l, const Write *w, Inst *x) {
  if (w->when) nest_if(l, l->kernel.scalar[w->when->id]);
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

static void write_all(Nest *l, const char *name, Launch launch) {
  const Graph *g = l->graph;
  bool call = launch == LAUNCH_FINISH, any = call && g->skip;
  for (unsigned k = 0; k < g->n_writes; k++) any |= (operand_of(l, g->writes[k].operand)->scope == SCOPE_GLOBAL) == call;
  if (!any) return;
  bool *need = nest_begin(l, name, launch);
  if (call) graph_mark(need, g->skip);
  for (unsigned k = 0; k < g->n_writes; k++)
    if ((operand_of(l, g->writes[k].operand)->scope == SCOPE_GLOBAL) == call) graph_mark_write(need, &g->writes[k]);
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  unsigned *from = arena_array(l->arena, g->n_writes + 1, sizeof *from);
  Inst **number = arena_array(l->arena, g->n_writes + 1, sizeof *number);
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Operand *o = operand_of(l, g->writes[k].operand);
    if ((o->scope == SCOPE_GLOBAL) != call) continue;
    if (operand_is_tensor(o)) from[k] = nest_compute_write(l, &g->writes[k]);
    else number[k] = nest_cast(l, operand_field_type(o), nest_to_storage(l, o, l->kernel.scalar[g->writes[k].value->id]));
  }
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Operand *o = operand_of(l, g->writes[k].operand);
    if ((o->scope == SCOPE_GLOBAL) != call) continue;
    if (operand_is_tensor(o)) nest_copy_write(l, &g->writes[k], from[k]);
    else nest_set_number(l, &g->writes[k], number[k]);
  }
  if (call && g->skip) nest_add(l, KOP_E_SKIP, TYPE_BOOL, 0, 1, &l->kernel.scalar[g->skip->id]);
}

/* --- sizes ------------------------------------------------------------------------------------------------------------------------------------- */

static Inst *where(Nest *l, const Node *when, const Reach *reach, Inst *n) {
  Inst *none = nest_i64(l, 0), *x = reach->extent ? nest_extent(l, reach->extent) : NULL;
  if (x) n = nest_select(l, nest_op2(l, KOP_LT, x, nest_i64(l, reach->from)), none, nest_select(l, nest_op2(l, KOP_LT, x, nest_i64(l, reach->to)), n, none));
  return when ? nest_select(l, l->kernel.scalar[when->id], n, none) : n;
}
static void set_count(Nest *l, unsigned buffer, Inst *n) { nest_add(l, KOP_E_SET_COUNT, TYPE_BOOL, buffer, 1, &n); }

static void mark_extents(const Space *s, bool *need) { for (unsigned a = 0; s && a < s->rank; a++) graph_mark(need, s->extent[a]); }

/* The units of a room, or the elements of all of them. */
static Inst *room_count(Nest *l, const Room *room, bool elements) {
  Inst *n = nest_i64(l, 1);
  for (unsigned g = 0; g < ROOM_GROUPS && room->unit[g]; g++) {
    Inst *x = nest_axes_count(l, room->space, room->axes[g]), *unit = nest_i64(l, room->unit[g]);
    if (room->unit[g] > 1) x = nest_op2(l, KOP_IDIV, nest_op2(l, KOP_ADD, x, nest_i64(l, room->unit[g] - 1)), unit);
    if (room->unit[g] > 1 && elements) x = nest_times(l, x, unit);
    n = nest_times(l, n, x);
  }
  return n;
}

static Inst *elements_of(Nest *l, const Wanted *w) {
  if (w->room.space) return w->fixed ? nest_times(l, room_count(l, &w->room, false), nest_i64(l, w->fixed)) : room_count(l, &w->room, true);
  return w->space ? nest_space_count(l, w->space) : nest_i64(l, w->fixed);
}

enum { ROOM_TILES = 16 };                /* so many tiles there are before they grow: workers share them evenly */

/* Positions of the first axes, and tiles of about as many elements as a chunk has; of a room, as many units as leave enough tiles. */
static void set_space(Nest *l, unsigned space) {
  const Tiles *t = &l->tiles[space];
  Inst *one = nest_i64(l, 1), *zero = nest_i64(l, 0), *positions = one, *each = one;
  if (t->trips) {
    Inst *n = nest_cast(l, TYPE_I64, l->kernel.scalar[t->trips->id]);
    nest_add(l, KOP_E_SET_SPACE, TYPE_BOOL, space, 2, (Inst *[]){where(l, t->when, &t->reach, nest_select(l, nest_op2(l, KOP_LT, n, zero), zero, n)), one});
    return;
  }
  if (t->room.space) {
    Inst *all = room_count(l, &t->room, false), *part = nest_op2(l, KOP_IDIV, all, nest_i64(l, ROOM_TILES));
    Inst *grain = t->most > 1 ? nest_select(l, nest_op2(l, KOP_LT, part, one), one, nest_min(l, part, nest_i64(l, t->most))) : one;
    nest_add(l, KOP_E_SET_SPACE, TYPE_BOOL, space, 2, (Inst *[]){where(l, t->when, &t->reach, all), grain});
    return;
  }
  for (unsigned a = 0; a < t->space->rank; a++) {
    Inst **n = a < t->axes ? &positions : &each;
    if (a >= t->axes && !l->plan.known[t->space->extent[a]->id]) continue;       /* a tile's size is no matter of bits */
    *n = nest_times(l, *n, nest_extent(l, t->space->extent[a]));
  }
  Inst *grain = nest_op2(l, KOP_IDIV, nest_i64(l, OPTC_CHUNK), nest_select(l, nest_op2(l, KOP_LT, each, one), one, each)), *least = nest_i64(l, t->least);
  nest_add(l, KOP_E_SET_SPACE, TYPE_BOOL, space, 2, (Inst *[]){where(l, t->when, &t->reach, positions), nest_select(l, nest_op2(l, KOP_LT, grain, least), least, grain)});
}

static bool lower_sizes(Nest *l, const NestTemps *temps) {
  bool call = temps->call;
  unsigned states = 0;
  for (unsigned k = 0; k < l->module->n_operands; k++) {
    const Operand *o = operand_of(l, k);
    states += o->shape && !operand_is_shaped(o) && (o->scope == SCOPE_GLOBAL) == call;
  }
  bool tiles = !call && l->program->n_spaces;
  if (!states && !temps->n_wanted && !tiles) return true;
  bool *need = nest_begin(l, call ? "call_sizes" : "sizes", call ? LAUNCH_CALL_SIZES : LAUNCH_SIZES);
  for (unsigned k = 0; k < temps->n_wanted; k++) {
    mark_extents(temps->wanted[k].space, need);
    mark_extents(temps->wanted[k].room.space, need);
    graph_mark(need, temps->wanted[k].reach.extent);
    graph_mark(need, temps->wanted[k].when);
  }
  for (unsigned k = 0; tiles && k < l->program->n_spaces; k++) {
    for (unsigned a = 0; l->tiles[k].space && a < l->tiles[k].space->rank; a++)
      if (a < l->tiles[k].axes || l->plan.known[l->tiles[k].space->extent[a]->id]) graph_mark(need, l->tiles[k].space->extent[a]);
    mark_extents(l->tiles[k].room.space, need);
    graph_mark(need, l->tiles[k].reach.extent);
    graph_mark(need, l->tiles[k].when);
    graph_mark(need, l->tiles[k].trips);
  }
  for (unsigned i = 0; i < l->graph->n_nodes; i++)
    if (need[i] && l->plan.carry[i]) return refuse(l, l->graph->nodes[i], "the room for this value is made before the loop: an extent may not change from trip to trip; give it the largest and mask the rest");
  if (!emit_numbers(l, need, "the room for this value is made before tensors are read: an extent may not depend on their elements; give it the largest and mask the rest")) return false;
  for (unsigned k = 0; k < l->module->n_operands; k++) {
    const Operand *o = operand_of(l, k);
    if (!o->shape || operand_is_shaped(o) || (o->scope == SCOPE_GLOBAL) != call) continue;
    for (unsigned a = 0; a < o->shape->rank; a++) {
      Inst *n = nest_operand_extent(l, k, a);
      nest_add(l, KOP_E_SET_EXTENT, TYPE_BOOL, k, 1, &n)->aux = (int32_t)a;
    }
    set_count(l, k, nest_operand_count(l, k));
  }
  for (unsigned k = 0; k < temps->n_wanted; k++) {
    const Wanted *w = &temps->wanted[k];
    set_count(l, w->buffer, where(l, w->when, &w->reach, elements_of(l, w)));
  }
  for (unsigned k = 0; tiles && k < l->program->n_spaces; k++) if (l->tiles[k].space || l->tiles[k].room.space || l->tiles[k].trips) set_space(l, k);
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

static NestTemps temps_new(const Nest *l, bool call) {
  NestTemps t = {.call = call};
  t.buffer = nest_by_node(l, sizeof *t.buffer);
  t.carried = nest_by_node(l, sizeof *t.carried);
  t.kept = nest_by_node(l, sizeof *t.kept);
  return t;
}

bool nest_start(Nest *l, Unit *unit) {
  const Graph *g = unit->graph;
  *l = (Nest){.unit = unit, .graph = g, .module = unit->module, .arena = unit->arena};
  l->program = program_new(unit->module, unit->arena, g->name);
  l->program->advances = g->advances;
  l->program->equal_hypers = graph_shared_hypers(g, l->arena);
  l->plan.carry = graph_carries(g, l->arena);
  l->plan.stage = graph_stages(g, l->arena, &l->plan.n_stages);
  l->plan.slot = graph_slots(g, l->arena, &l->program->n_slots);
  l->plan.known = find_known(l);
  l->plan.stored = nest_by_node(l, sizeof *l->plan.stored);
  l->plan.keeps = nest_by_node(l, sizeof *l->plan.keeps);
  l->plan.source = nest_by_node(l, sizeof *l->plan.source);
  l->plan.direct = nest_by_node(l, sizeof *l->plan.direct);
  l->point.known = nest_by_node(l, sizeof *l->point.known);
  l->point.memo = nest_by_node(l, sizeof *l->point.memo);
  l->items = temps_new(l, false);
  l->call = temps_new(l, true);
  l->temps = &l->items;
  nest_choose_stored(l);
  return ranks_fit(l) && globals_ok(l);
}

void nest_finish(Nest *l) {
  write_all(l, "finish", LAUNCH_FINISH);
  if (!lower_sizes(l, &l->items) || !lower_sizes(l, &l->call)) return;
  for (unsigned k = 0; k < l->program->n_kernels; k++) kernel_number(l->program->kernels[k]);
  l->unit->program = l->program;
}

void lower_nests(Unit *unit) {
  Nest nest, *l = &nest;
  if (!nest_start(l, unit) || !nest_checks(l) || !nest_layout(l)) return;
  for (unsigned i = 0; i < l->graph->n_nodes; i++) l->plan.keeps[i] = l->plan.n_stages && nest_costs(l, l->graph->nodes[i]);
  for (unsigned stage = 0; stage < l->plan.n_stages; stage++) nest_stage(l, stage);
  write_all(l, "item", LAUNCH_ITEM);
  nest_finish(l);
}
