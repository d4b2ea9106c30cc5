/* schedule_phase.c: the loop over the elements of an item in a round: reductions over the whole tensor leave one partial a chunk; new values of tensors are written.
 *
 * Values of a view of the item (rows and columns of its last axes) are found by division of the position. Where they are needed, and the view exists, a chunk goes
 * row by row: what is the same in a row is computed before it, and what is left has places that move with the loop. A reduction has blocks,
 * wherever rows end: the elements of some are staged in a local buffer, and folded there. */
#include "passes/schedule.h"

enum { MAX_VIEWS = 4, BLOCK_BITS = 11, BLOCK = 1 << BLOCK_BITS, BLOCKS = OPTC_CHUNK/BLOCK };       /* 2 of the language's: while they are folded memory is idle but for what was fetched */
enum { FETCH = 1024 };                   /* elements ahead where nothing is folded; rows may be short, and the next is behind its end */

typedef struct Phase {
  Schedule *schedule;
  Nest *nest;
  const bool *need;
  const Space *space;                    /* of the item */
  const Node *view[MAX_VIEWS]; unsigned n_views;         /* lengths of rows */
  const Node **fold; unsigned *partial, *staged, *block, n_folds;
  unsigned *write, n_writes;             /* by number: which of the graph's */
  Inst *begin, *end, *first, *chunk;
} Phase;

bool *schedule_begin(Schedule *s, const char *name, unsigned round, Launch launch) {
  return nest_begin(&s->nest, arena_printf(s->nest.arena, "%s_%u", name, round), launch);
}

/* --- what is in it ------------------------------------------------------------------------------------------------------------------------- */

/* A position of the item divided by the length of a row: which row (IDIV), where in it (IMOD). */
static bool divides_position(const Phase *p, const Node *n) { return (n->op == OP_IDIV || n->op == OP_IMOD) && n->space == p->space && n->args[0]->op == OP_INDEX && !n->args[1]->space->rank; }

static void find_views(Phase *p) {
  const Graph *g = p->schedule->graph;
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (!p->need[i] || !divides_position(p, n) || !extent_divides_item(g->module, n->args[1])) continue;
    unsigned k = 0;
    while (k < p->n_views && p->view[k] != n->args[1]) k++;
    if (k == p->n_views && k < MAX_VIEWS) p->view[p->n_views++] = n->args[1];
  }
}

static bool find_work(Phase *p, unsigned round) {
  Schedule *s = p->schedule;
  const Graph *g = s->graph;
  Arena *arena = p->nest->arena;
  p->fold = arena_array(arena, g->n_nodes + 1, sizeof *p->fold);
  p->write = arena_array(arena, g->n_writes + 1, sizeof *p->write);
  for (unsigned i = 0; i < g->n_nodes; i++) if (s->fold[i] && s->round[i] == round) p->fold[p->n_folds++] = g->nodes[i];
  for (unsigned k = 0; k < g->n_writes; k++) if (s->in_loop[k] && s->write_round[k] == round) p->write[p->n_writes++] = k;
  p->partial = arena_array(arena, p->n_folds + 1, sizeof *p->partial);
  p->staged = arena_array(arena, p->n_folds + 1, sizeof *p->staged);
  p->block = arena_array(arena, p->n_folds + 1, sizeof *p->block);
  return p->n_folds || p->n_writes;
}

static const Write *write_of(const Phase *p, unsigned k) { return &p->schedule->graph->writes[p->write[k]]; }

static void mark_work(const Phase *p, bool *need) {
  for (unsigned k = 0; k < p->n_folds; k++) graph_mark(need, p->fold[k]->args[0]);
  for (unsigned k = 0; k < p->n_writes; k++) graph_mark(need, write_of(p, k)->value);
}

/* --- one element ----------------------------------------------------------------------------------------------------------------------------- */

/* All values first, so that each sees its operands as they were; then folds (or the place `at` of a block, where they are staged) and stores. */
static void emit_element(const Phase *p, Inst *flat, Inst *at) {
  Nest *l = p->nest;
  Inst **value = arena_array(l->arena, p->n_folds + p->n_writes + 1, sizeof *value);
  for (unsigned k = 0; k < p->n_folds; k++) value[k] = nest_element(l, p->fold[k]->args[0]);
  for (unsigned k = 0; k < p->n_writes; k++) value[p->n_folds + k] = nest_to_storage(l, schedule_target(p->schedule, p->write[k]), nest_element(l, write_of(p, k)->value));
  for (unsigned k = 0; k < p->n_folds; k++) {
    if (at) nest_store(l, p->staged[k], at, value[k], NULL);
    else nest_add(l, KOP_E_FOLD, TYPE_BOOL, k, 1, &value[k])->aux = p->fold[k]->aux & 255;
  }
  for (unsigned k = 0; k < p->n_writes; k++) {
    const Write *w = write_of(p, k);
    Inst *guard = operand_may_be_absent(schedule_target(p->schedule, p->write[k])) ? nest_add(l, KOP_E_PRESENT, TYPE_BOOL, w->operand, 0, NULL) : NULL;
    nest_store(l, w->operand, flat, value[p->n_folds + k], nest_both(l, w->when ? l->kernel.scalar[w->when->id] : NULL, guard));
  }
}

static Inst *to_partial(Nest *l, Inst *x) { return x->type == TYPE_BOOL ? nest_select(l, x, nest_real(l, TYPE_F64, 1), nest_real(l, TYPE_F64, 0)) : nest_cast(l, TYPE_F64, x); }

/* What the chunk makes of its folds. */
static void keep_partial(const Phase *p, unsigned k, Inst *x) { nest_store(p->nest, p->partial[k], p->chunk, to_partial(p->nest, x), NULL); }

static void keep_folded(const Phase *p, Inst *loop) {
  for (unsigned k = 0; k < p->n_folds; k++) keep_partial(p, k, nest_add(p->nest, KOP_E_FOLDED, (Type)p->fold[k]->type, k, 1, &loop));
}

/* Element by element, whatever that costs. */
static void emit_flat(const Phase *p) {
  Nest *l = p->nest;
  l->point.shard = p->first;
  Inst *loop = nest_open(l, p->begin, p->end, 0, NULL);
  l->point.index[0] = loop;
  nest_here(l, p->space, loop);
  emit_element(p, loop, NULL);
  nest_close(l, 0, NULL);
  l->point.shard = NULL;
  keep_folded(p, loop);
}

/* --- row by row -------------------------------------------------------------------------------------------------------------------------------- */

static void know(const Phase *p, const Node *length, Op op, Inst *x) {
  for (unsigned i = 0; i < p->schedule->graph->n_nodes; i++) {
    const Node *n = p->schedule->graph->nodes[i];
    if (p->need[i] && n->op == op && divides_position(p, n) && n->args[1] == length) p->nest->point.known[i] = x;
  }
}

/* Elements begin..end of the item; `low`: the first of those that are staged. */
static void emit_rows(const Phase *p, const Node *length, Inst *begin, Inst *end, Inst *low) {
  Nest *l = p->nest;
  Inst *part[2], *n = nest_extent(l, length), *row = nest_open_rows(l, n, nest_op2(l, KOP_ADD, begin, p->first), nest_op2(l, KOP_ADD, end, p->first), part);
  Inst *first = nest_op2(l, KOP_MUL, row, n);
  bool *roots = nest_by_node(l, sizeof *roots);
  mark_work(p, roots);
  l->kernel.under = extent_condition(length);
  know(p, length, OP_IDIV, row);
  nest_settle(l, p->space, 1, roots);
  Inst *at = nest_open(l, part[0], part[1], 0, NULL), *flat = nest_op2(l, KOP_SUB, at, p->first);
  know(p, length, OP_IMOD, nest_op2(l, KOP_SUB, at, first));
  l->point.index[0] = at;
  nest_here(l, p->space, flat);
  size_t from = l->kernel.at->n;
  emit_element(p, flat, low ? nest_op2(l, KOP_SUB, at, low) : NULL);
  nest_fetch(l, from, at, nest_i64(l, low ? BLOCK : FETCH));
  nest_close(l, 0, NULL);
  know(p, length, OP_IMOD, NULL);
  know(p, length, OP_IDIV, NULL);
  l->kernel.under = NULL;
  nest_unsettle(l);
  nest_close(l, 0, NULL);
}

/* Block by block: staged, then folded. */
static void emit_blocks(const Phase *p, const Node *length) {
  Nest *l = p->nest;
  Inst *zero = nest_i64(l, 0), *size = nest_i64(l, BLOCK), *count = nest_op2(l, KOP_SUB, p->end, p->begin);
  Inst *blocks = nest_op2(l, KOP_SHR, nest_op2(l, KOP_ADD, count, nest_i64(l, BLOCK - 1)), nest_i64(l, BLOCK_BITS));
  Inst *block = nest_open(l, zero, blocks, 0, NULL), *begin = nest_op2(l, KOP_ADD, p->begin, nest_op2(l, KOP_MUL, block, size));
  Inst *end = nest_min(l, p->end, nest_op2(l, KOP_ADD, begin, size));
  emit_rows(p, length, begin, end, nest_op2(l, KOP_ADD, begin, p->first));
  Inst *at = nest_open(l, zero, nest_op2(l, KOP_SUB, end, begin), 0, NULL);
  for (unsigned k = 0; k < p->n_folds; k++) {
    Inst *x = nest_load(l, p->staged[k], at, NULL);
    nest_add(l, KOP_E_FOLD, TYPE_BOOL, k, 1, &x)->aux = p->fold[k]->aux & 255;
  }
  nest_close(l, 0, NULL);
  for (unsigned k = 0; k < p->n_folds; k++) nest_store(l, p->block[k], block, to_partial(l, nest_add(l, KOP_E_FOLDED, (Type)p->fold[k]->type, k, 1, &at)), NULL);
  nest_close(l, 0, NULL);
  for (unsigned k = 0; k < p->n_folds; k++) keep_partial(p, k, nest_join(l, p->block[k], blocks, (ReduceKind)(p->fold[k]->aux & 255), (Type)p->fold[k]->type));
}

/* Under the condition of a view by its rows, otherwise by those of the next; in the end element by element. */
static void emit_views(const Phase *p, unsigned k) {
  Nest *l = p->nest;
  if (k == p->n_views) { emit_flat(p); return; }
  const Node *condition = extent_condition(p->view[k]);
  if (condition) nest_if(l, l->kernel.scalar[condition->id]);
  if (p->n_folds) emit_blocks(p, p->view[k]);
  else emit_rows(p, p->view[k], p->begin, p->end, NULL);
  if (!condition) return;
  nest_end_if(l);
  nest_if(l, nest_op1(l, KOP_NOT, l->kernel.scalar[condition->id]));
  emit_views(p, k + 1);
  nest_end_if(l);
}

void schedule_phase(Schedule *s, unsigned round) {
  Nest *l = &s->nest;
  const Graph *g = s->graph;
  Phase phase = {.schedule = s, .nest = l}, *p = &phase;
  if (!find_work(p, round)) return;
  bool *need = schedule_begin(s, "phase", round, LAUNCH_CHUNK);
  mark_work(p, need);
  for (unsigned k = 0; k < p->n_writes; k++) graph_mark(need, write_of(p, k)->when);
  nest_close_need(l, need);
  p->need = need;
  for (unsigned i = 0; i < g->n_nodes && !p->space; i++) if (need[i] && graph_is_item_space(g->module, g->nodes[i]->space)) p->space = g->nodes[i]->space;
  find_views(p);
  for (unsigned k = 0; k < p->n_views; k++) graph_mark(need, extent_condition(p->view[k]));
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  p->begin = nest_add(l, KOP_E_BEGIN, TYPE_I64, 0, 0, NULL);
  p->end = nest_add(l, KOP_E_END, TYPE_I64, 0, 0, NULL);
  p->first = nest_add(l, KOP_E_FIRST, TYPE_I64, 0, 0, NULL);
  p->chunk = p->n_folds ? nest_op2(l, KOP_SHR, nest_op2(l, KOP_ADD, p->first, p->begin), nest_i64(l, 16)) : NULL;
  for (unsigned k = 0; k < p->n_folds; k++) {
    p->partial[k] = s->partial[p->fold[k]->id] = program_temp(l->program, arena_printf(l->arena, "partial_%u", l->program->n_temps), TYPE_F64);
    l->program->temps[l->program->n_temps - 1].partial = true;
    if (!p->n_views) continue;
    p->staged[k] = program_local(l->program, arena_printf(l->arena, "staged_%u", l->program->n_temps), (Type)p->fold[k]->args[0]->type, BLOCK);
    p->block[k] = program_local(l->program, arena_printf(l->arena, "blocks_%u", l->program->n_temps), TYPE_F64, BLOCKS);
  }
  emit_views(p, 0);
}
