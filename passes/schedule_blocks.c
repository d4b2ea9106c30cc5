/* schedule_blocks.c: rules whose elements need of other elements only what a block of so many around them makes: states kept as codes, whose blocks have a
 * largest magnitude. All that they write is one sweep, in tiles of blocks:
 *
 *   for block {
 *     for element     what reductions need, into local buffers
 *     for element     reductions
 *     values of the block
 *     for element     new values, written
 *   }
 *
 * A value belongs to an element of the item (FLAT), to a block (ROW), or to a place of a block (BLOCKED), where it is that of an element, or 0 behind the item's end. What is read
 * of a tensor that is written belongs to the same block and is read before that is written. Blocks have a constant length that divides a chunk. */
#include "passes/schedule.h"

enum { MAX_BLOCK = 4096, FETCH = 1024 };      /* FETCH: elements ahead; blocks are short, and the next is behind their end */

typedef enum Class { NONE, NUMBER, FLAT, ROW, BLOCKED } Class;

struct Blocks {
  const Graph *graph;
  const Space *item, *row, *blocked;
  Class *class;                          /* by node */
  bool *late;                            /* by node: needs a reduction over a block */
  bool *staged;                          /* by node of class FLAT: some BLOCKED value is made of it */
};

static bool is_const(const Node *n, int64_t x) { return n->op == OP_CONST && n->imm == x; }
static bool is_element_value(Class c) { return c == FLAT || c == ROW || c == BLOCKED; }

/* --- whether a rule is of that kind ------------------------------------------------------------------------------------------------------ */

/* [(count + length - 1)//length, length] */
static bool has_blocks(const Module *m, const Space *s, const Node **count) {
  if (s->rank != 2 || s->extent[0]->op != OP_IDIV || s->extent[1]->op != OP_CONST) return false;
  const Node *sum = s->extent[0]->args[0];
  int64_t length = s->extent[1]->imm;
  if (length < 1 || length > MAX_BLOCK || OPTC_CHUNK % length || !is_const(s->extent[0]->args[1], length) || sum->op != OP_ADD) return false;
  unsigned k = is_const(sum->args[0], length - 1);
  *count = sum->args[k];
  return is_const(sum->args[1 - k], length - 1) && (*count)->op == OP_SIZE && (*count)->aux == -1 && m->operands[(*count)->imm].item_shape;
}

static bool find_spaces(struct Blocks *b) {
  const Node *count = NULL;
  for (unsigned i = 0; i < b->graph->n_nodes && !b->blocked; i++) if (has_blocks(b->graph->module, b->graph->nodes[i]->space, &count)) b->blocked = b->graph->nodes[i]->space;
  for (unsigned i = 0; i < b->graph->n_nodes && b->blocked; i++) {
    const Space *s = b->graph->nodes[i]->space;
    if (s->rank == 1 && s->extent[0] == count) b->item = s;
    if (s->rank == 1 && s->extent[0] == b->blocked->extent[0]) b->row = s;
  }
  return b->item && b->row;
}

/* Which block the element is in. */
static bool is_block_index(const struct Blocks *b, const Node *n) {
  return n->op == OP_IDIV && n->space == b->item && n->args[0]->op == OP_INDEX && is_const(n->args[1], b->blocked->extent[1]->imm);
}

static const Write *write_to(const struct Blocks *b, int64_t operand) {
  for (unsigned k = 0; k < b->graph->n_writes; k++) if (b->graph->writes[k].operand == operand) return &b->graph->writes[k];
  return NULL;
}

/* A read at indices: of what is written, only what belongs to the element or its block. */
static bool reads_well(const struct Blocks *b, const Node *n) {
  const Write *w = write_to(b, n->imm);
  if (!w) return true;
  if (n->n_args != 1 || n->aux || n->space != b->item) return false;
  return w->value->space == b->row ? is_block_index(b, n->args[0]) : n->args[0]->op == OP_INDEX;
}

static Class class_of(const struct Blocks *b, const Node *n) {
  const Space *s = n->space;
  Class own = !s->rank ? NUMBER : s == b->item ? FLAT : s == b->row ? ROW : s == b->blocked ? BLOCKED : NONE;
  if (own == NUMBER || own == NONE || n->op == OP_INDEX) return own;
  if (n->op == OP_MAP) {
    Class from = b->class[n->args[0]->id];
    if (own == FLAT) return from == ROW && is_block_index(b, n->args[1]) ? FLAT : NONE;
    return own == BLOCKED && from == FLAT && !b->late[n->args[0]->id] && index_is_flat(n->args[1]) ? BLOCKED : NONE;
  }
  if (n->op == OP_REDUCE) return own == ROW && b->class[n->args[0]->id] == BLOCKED && n->imm == 1 && nest_is_fold(n) ? ROW : NONE;
  if (!op_is_element((Op)n->op) && n->op != OP_READ) return NONE;
  for (unsigned k = 0; k < n->n_args; k++) if (b->class[n->args[k]->id] != own && b->class[n->args[k]->id] != NUMBER) return NONE;
  if (n->op != OP_READ || n->n_args == (unsigned)(n->aux == 1)) return own;
  return reads_well(b, n) ? own : NONE;
}

/* Numbers are made by earlier sweeps, which know nothing of blocks. */
static bool is_early(const struct Blocks *b, const Node *n) {
  if (n->op == OP_MAP && is_element_value(b->class[n->args[0]->id])) return false;
  return !b->late[n->id];
}

static bool write_fits(const struct Blocks *b, const Write *w) {
  const Operand *o = &b->graph->module->operands[w->operand];
  Class c = b->class[w->value->id];
  for (const Write *other = b->graph->writes; other < w; other++) if (other->operand == w->operand) return false;
  if (o->scope != SCOPE_TENSOR) return true;
  if (c == ROW) return !o->item_shape;
  return c == FLAT || (c == NUMBER && o->item_shape);
}

const Blocks *schedule_find_blocks(Schedule *s) {
  struct Blocks *b = arena_alloc(s->nest.arena, sizeof *b);
  const Graph *g = b->graph = s->graph;
  const bool *live = graph_reachable(g, s->nest.arena);
  bool any = false;
  if (!find_spaces(b)) return NULL;
  b->class = nest_by_node(&s->nest, sizeof *b->class);
  b->late = nest_by_node(&s->nest, sizeof *b->late);
  b->staged = nest_by_node(&s->nest, sizeof *b->staged);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (!live[i]) continue;
    b->class[i] = class_of(b, n);
    b->late[i] = n->op == OP_REDUCE && b->class[i] == ROW;
    any |= b->late[i];
    for (unsigned k = 0; k < n->n_args; k++) b->late[i] |= b->late[n->args[k]->id];
    if (n->op == OP_MAP && b->class[i] == BLOCKED) b->staged[n->args[0]->id] = true;
    if (b->class[i] == NONE ? n->op == OP_MAP && is_element_value(b->class[n->args[0]->id]) : b->class[i] == NUMBER && !is_early(b, n)) return NULL;
  }
  for (unsigned k = 0; k < g->n_writes; k++) if (!write_fits(b, &g->writes[k])) return NULL;
  for (unsigned i = 0; i < g->n_nodes && any; i++) if (is_element_value(b->class[i])) s->nest.plan.stored[i] = false;
  return any ? b : NULL;
}

/* --- the sweep ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct Sweep {
  const Blocks *blocks;
  Schedule *schedule;
  Nest *nest;
  Inst *block, *first, *count;           /* of the block at hand: its number, first element, elements */
  unsigned *buffer;                      /* by staged node */
} Sweep;

/* The writes of one kind. */
static bool is_of(const Sweep *w, unsigned k, Class row) {
  const Write *write = &w->schedule->graph->writes[k];
  return schedule_target(w->schedule, k)->scope == SCOPE_TENSOR && (w->blocks->class[write->value->id] == ROW) == (row == ROW);
}

static void mark_flat(const Sweep *w, bool *need, bool stage) {
  const Graph *g = w->schedule->graph;
  for (unsigned i = 0; i < g->n_nodes && stage; i++) need[i] |= w->blocks->staged[i];
  for (unsigned k = 0; k < g->n_writes && !stage; k++) if (is_of(w, k, FLAT)) graph_mark(need, g->writes[k].value);
}

static bool *new_set(const Sweep *w) { return nest_by_node(w->nest, sizeof(bool)); }

/* A loop over the elements of the block; what is the same for all of them is computed before. Returns the place in the block. */
static Inst *open_elements(const Sweep *w, bool stage) {
  Nest *l = w->nest;
  bool *roots = new_set(w);
  mark_flat(w, roots, stage);
  nest_settle(l, w->blocks->item, 1, roots);
  Inst *at = nest_open(l, nest_i64(l, 0), w->count, 0, NULL);
  l->point.index[0] = nest_op2(l, KOP_ADD, at, w->first);
  nest_here(l, w->blocks->item, l->point.index[0]);
  return at;
}

static void close_elements(const Sweep *w) {
  nest_close(w->nest, 0, NULL);
  nest_unsettle(w->nest);
}

static void stage(const Sweep *w) {
  Nest *l = w->nest;
  const Graph *g = w->schedule->graph;
  Inst *at = open_elements(w, true);
  size_t from = l->kernel.at->n;
  for (unsigned i = 0; i < g->n_nodes; i++) if (w->blocks->staged[i]) nest_store(l, w->buffer[i], at, nest_element(l, g->nodes[i]), NULL);
  nest_fetch(l, from, at, nest_i64(l, FETCH));
  close_elements(w);
  at = nest_open(l, w->count, nest_i64(l, w->blocks->blocked->extent[1]->imm), 0, NULL);
  for (unsigned i = 0; i < g->n_nodes; i++) if (w->blocks->staged[i]) nest_store(l, w->buffer[i], at, nest_const(l, (Type)g->nodes[i]->type, 0), NULL);
  nest_close(l, 0, NULL);
}

static bool is_reduction(const Sweep *w, const Node *n) { return n->op == OP_REDUCE && w->blocks->class[n->id] == ROW; }

static void reduce(const Sweep *w) {
  Nest *l = w->nest;
  const Graph *g = w->schedule->graph;
  bool *roots = new_set(w);
  unsigned n = 0;
  for (unsigned i = 0; i < g->n_nodes; i++) if (is_reduction(w, g->nodes[i])) graph_mark(roots, g->nodes[i]->args[0]);
  l->point.index[0] = w->block;
  nest_settle(l, w->blocks->blocked, 2, roots);
  Inst *at = nest_open(l, nest_i64(l, 0), nest_i64(l, w->blocks->blocked->extent[1]->imm), 0, NULL);
  l->point.index[1] = at;
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *map = g->nodes[i];
    if (map->op == OP_MAP && w->blocks->class[i] == BLOCKED) l->point.known[i] = nest_load(l, w->buffer[map->args[0]->id], at, NULL);
  }
  nest_here(l, w->blocks->blocked, nest_op2(l, KOP_ADD, at, w->first));
  for (unsigned i = 0; i < g->n_nodes; i++) {
    if (!is_reduction(w, g->nodes[i])) continue;
    Inst *x = nest_element(l, g->nodes[i]->args[0]);
    nest_add(l, KOP_E_FOLD, TYPE_BOOL, n++, 1, &x)->aux = g->nodes[i]->aux & 255;
  }
  close_elements(w);
  n = 0;
  for (unsigned i = 0; i < g->n_nodes; i++) {
    if (w->blocks->class[i] == BLOCKED) l->point.known[i] = NULL;
    if (is_reduction(w, g->nodes[i])) l->point.known[i] = nest_add(l, KOP_E_FOLDED, (Type)g->nodes[i]->type, n++, 1, &at);
  }
}

static Inst *stored_value(const Sweep *w, unsigned k) { return nest_to_storage(w->nest, schedule_target(w->schedule, k), nest_element(w->nest, w->schedule->graph->writes[k].value)); }

static void store(const Sweep *w, unsigned k, Inst *at, Inst *value) {
  Nest *l = w->nest;
  const Write *write = &w->schedule->graph->writes[k];
  Inst *guard = operand_may_be_absent(schedule_target(w->schedule, k)) ? nest_add(l, KOP_E_PRESENT, TYPE_BOOL, write->operand, 0, NULL) : NULL;
  nest_store(l, write->operand, at, value, nest_both(l, write->when ? l->kernel.scalar[write->when->id] : NULL, guard));
}

/* Values of the block, for its elements and to be written behind them. */
static void find_rows(const Sweep *w, Inst **value) {
  Nest *l = w->nest;
  const Graph *g = w->schedule->graph;
  l->point.index[0] = w->block;
  nest_here(l, w->blocks->row, w->block);
  for (unsigned k = 0; k < g->n_writes; k++) if (is_of(w, k, ROW)) value[k] = stored_value(w, k);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *map = g->nodes[i];
    if (map->op == OP_MAP && w->blocks->class[i] == FLAT) l->point.known[i] = nest_element(l, map->args[0]);
  }
}

static void write_elements(const Sweep *w, Inst **value) {
  Nest *l = w->nest;
  const Graph *g = w->schedule->graph;
  Inst *at = open_elements(w, false), *flat = l->point.flat;
  size_t from = l->kernel.at->n;
  for (unsigned i = 0; i < g->n_nodes; i++) if (w->blocks->staged[i]) l->point.known[i] = nest_load(l, w->buffer[i], at, NULL);
  for (unsigned k = 0; k < g->n_writes; k++) if (is_of(w, k, FLAT)) value[k] = stored_value(w, k);
  nest_fetch(l, from, at, nest_i64(l, FETCH));
  for (unsigned k = 0; k < g->n_writes; k++) if (is_of(w, k, FLAT)) store(w, k, flat, value[k]);
  close_elements(w);
}

void schedule_blocks(Schedule *s) {
  Nest *l = &s->nest;
  const Graph *g = s->graph;
  const Blocks *b = s->blocks;
  Sweep sweep = {.blocks = b, .schedule = s, .nest = l, .buffer = nest_by_node(l, sizeof *sweep.buffer)}, *w = &sweep;
  Inst **value = arena_array(l->arena, g->n_writes + 1, sizeof *value);
  bool *need = nest_begin_tile(l, "blocks", (Tiles){.space = b->blocked, .axes = 1, .least = 1});
  for (unsigned k = 0; k < g->n_writes; k++) if (schedule_target(s, k)->scope == SCOPE_TENSOR) graph_mark_write(need, &g->writes[k]);
  graph_mark(need, b->item->extent[0]);
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  int64_t length = b->blocked->extent[1]->imm;
  for (unsigned i = 0; i < g->n_nodes; i++) if (b->staged[i]) w->buffer[i] = program_local(l->program, arena_printf(l->arena, "staged_%u", i), (Type)g->nodes[i]->type, (unsigned)length);
  Inst *count = nest_extent(l, b->item->extent[0]);
  w->block = nest_open(l, nest_add(l, KOP_E_BEGIN, TYPE_I64, 0, 0, NULL), nest_add(l, KOP_E_END, TYPE_I64, 0, 0, NULL), 0, NULL);
  w->first = nest_op2(l, KOP_MUL, w->block, nest_i64(l, length));
  w->count = nest_min(l, nest_op2(l, KOP_SUB, count, w->first), nest_i64(l, length));
  for (unsigned i = 0; i < g->n_nodes; i++) if (need[i] && is_block_index(b, g->nodes[i])) l->point.known[i] = w->block;
  stage(w);
  reduce(w);
  find_rows(w, value);
  write_elements(w, value);
  for (unsigned k = 0; k < g->n_writes; k++) if (is_of(w, k, ROW)) store(w, k, w->block, value[k]);
  nest_close(l, 0, NULL);
  for (unsigned i = 0; i < g->n_nodes; i++) l->point.known[i] = NULL;
}
