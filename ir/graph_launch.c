/* graph_launch.c: the graph form as the driver's kernels SIZES, CHECK, ITEM, TOTAL and FINISH.
 *
 * Values over all items: before the writes, item kernels of stage 0, 1, ... fill the slots of the totals that depend on 0, 1, ... totals themselves,
 * each followed by its TOTAL kernel. */
#include <string.h>
#include "ir/graph_eval.h"
#include "ir/graph_reduce.h"

static bool fills_slot(const Interp *I, unsigned id, unsigned stage) { return I->slot[id] >= 0 && I->stage[id] == stage + 1; }

/* What is needed for this launch, and which values with axes are kept whole. */
static void prepare(Interp *I, Launch launch, unsigned stage, bool writes) {
  const Graph *g = I->g;
  I->live = arena_array(I->arena, g->n_nodes, sizeof *I->live);
  I->stored = arena_array(I->arena, g->n_nodes, sizeof *I->stored);
  I->number = arena_array(I->arena, g->n_nodes, sizeof *I->number);
  I->array = arena_array(I->arena, g->n_nodes, sizeof *I->array);
  I->piece = arena_array(I->arena, g->n_nodes, sizeof *I->piece);
  I->plan = arena_array(I->arena, g->n_nodes, sizeof *I->plan);
  I->scan = arena_array(I->arena, g->n_nodes, sizeof *I->scan);
  I->carries = graph_carries(g, I->arena);
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    if ((launch == LAUNCH_FINISH) != (g->module->operands[w->operand].scope == SCOPE_GLOBAL) || !writes) continue;
    graph_mark_write(I->live, w);
  }
  if (launch == LAUNCH_FINISH) graph_mark(I->live, g->skip);
  for (unsigned i = 0; i < g->n_nodes; i++) if (launch == LAUNCH_ITEM && !writes && fills_slot(I, i, stage)) graph_mark(I->live, g->nodes[i]->args[0]);
  if (launch == LAUNCH_ITEM && writes) graph_mark_exists(g, I->live);
  if (launch == LAUNCH_CHECK) graph_mark_requires(g, I->live);
  graph_mark_missing(g, I->live, NULL);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (!I->live[i]) continue;
    if (!eval_is_pointwise(n)) I->stored[i] = true;
    bool all = n->op == OP_CUMULATE || n->op == OP_ORDER || n->op == OP_SCATTER || n->op == OP_SCAN || n->op == OP_SOFTMAX || n->op == OP_EIGVEC || n->op == OP_QR;
    for (unsigned k = 0; k < n->n_args && (all || (n->op == OP_MAP && k == 0)); k++) I->stored[n->args[k]->id] = true;
    for (unsigned k = 0; n->region && k < n->region->n_results; k++) I->stored[n->region->results[k]->id] = true;
  }
}

/* --- launches -------------------------------------------------------------------------------------------------------------------------------- */

static void check(Interp *I) {
  const Graph *g = I->g;
  optc_frame *f = I->frame;
  for (unsigned i = 0; i < g->n_requires; i++) {
    const Requirement *r = &g->requires[i];
    if (I->number[r->cond->id] & 1) continue;
    f->failed = 1 + i;
    f->n_values = r->n;
    for (unsigned k = 0; k < r->n; k++) f->value[k] = bits_to_f64(I->number[r->value[k]->id], (Type)r->value[k]->type);
    return;
  }
}

static bool is_on(const Interp *I, const Write *w) { return !w->when || I->number[w->when->id] & 1; }

/* Tensor writes. Straight to the operands, a piece of all values before a piece of all stores, where every value is computed
 * from its own position over one space; else all values first. */
static void write_tensors(Interp *I) {
  const Graph *g = I->g;
  const Node **value = arena_array(I->arena, g->n_writes, sizeof *value);
  unsigned *which = arena_array(I->arena, g->n_writes, sizeof *which), n = 0;
  const Space *space = NULL;
  bool straight = true;
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    if (!operand_is_tensor(&g->module->operands[w->operand]) || g->module->operands[w->operand].scope == SCOPE_GLOBAL || !is_on(I, w) || !eval_data(I, w->operand)) continue;
    for (unsigned k = 0; k < n; k++) if (g->writes[which[k]].operand == w->operand) straight = false;      /* the later one stays */
    which[n] = i;
    value[n++] = w->value;
    if (!w->value->space->rank) continue;
    if (space && space != w->value->space) straight = false;
    space = w->value->space;
  }
  List *plan = eval_plan(I, n, value);
  for (unsigned i = 0; i < plan->n; i++) {
    const Node *x = g->nodes[plan->id[i]];
    if (x->op == OP_READ && x->n_args > (unsigned)(x->aux == 1)) straight = false;
  }
  if (straight && space) {
    int64_t count = eval_count(I, space);
    for (int64_t at = 0; at < count; at += EVAL_PIECE) {
      int64_t now = count - at < EVAL_PIECE ? count - at : EVAL_PIECE;
      eval_piece(I, plan, at, now);
      for (unsigned i = 0; i < n; i++) {
        if (!value[i]->space->rank) continue;
        size_t step;
        const Bits *x = eval_values(I, value[i], at, &step);
        eval_store(&g->module->operands[g->writes[which[i]].operand], eval_data(I, g->writes[which[i]].operand), at, now, x, step, (Type)value[i]->type);
      }
    }
  } else {
    for (unsigned i = 0; i < n; i++) if (value[i]->space->rank && !I->stored[value[i]->id]) eval_materialise(I, value[i]);
  }
  for (unsigned i = 0; i < n; i++) {
    if (straight && value[i]->space->rank) continue;
    unsigned k = g->writes[which[i]].operand;
    size_t step;
    const Bits *x = eval_values(I, value[i], 0, &step);
    eval_store(&g->module->operands[k], eval_data(I, k), 0, value[i]->space->rank ? eval_count(I, value[i]->space) : eval_elements(I, k), x, step, (Type)value[i]->type);
  }
}

/* Writes of global operands that have axes: numbers and whole tensors, all values before all stores. */
static void write_globals(Interp *I) {
  const Graph *g = I->g;
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Node *value = g->writes[i].value;
    if (g->module->operands[g->writes[i].operand].scope == SCOPE_GLOBAL && value->space->rank && !I->stored[value->id]) eval_materialise(I, value);
  }
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    const Operand *o = &g->module->operands[w->operand];
    if (o->scope != SCOPE_GLOBAL || !operand_is_tensor(o) || !is_on(I, w) || !eval_data(I, w->operand)) continue;
    size_t step;
    const Bits *x = eval_values(I, w->value, 0, &step);
    eval_store(o, eval_data(I, w->operand), 0, step ? eval_count(I, w->value->space) : eval_elements(I, w->operand), x, step, (Type)w->value->type);
  }
}

static void write_numbers(Interp *I, Scope scope) {
  const Graph *g = I->g;
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    const Operand *o = &g->module->operands[w->operand];
    if (o->scope == scope && !operand_is_tensor(o) && is_on(I, w)) eval_set_number(I, w->operand, I->number[w->value->id], (Type)w->value->type);
  }
}

/* Sizes of the states that have a shape of their own. */
static void write_sizes(const Interp *I, bool call) {
  const Module *m = I->g->module;
  optc_frame *f = I->frame;
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    if (!o->shape || operand_is_shaped(o) || (o->scope == SCOPE_GLOBAL) != call) continue;
    f->counts[k] = eval_elements(I, k);
    for (unsigned a = 0; a < o->shape->rank && a < OPTC_MAX_RANK; a++) f->extents[OPTC_MAX_RANK * k + a] = eval_extent(I, k, a, 0);
  }
}

static void fill_slots(Interp *I, unsigned stage) {
  optc_frame *f = I->frame;
  for (unsigned i = 0; i < I->g->n_nodes; i++)
    if (fills_slot(I, i, stage)) f->slots[I->slot[i] * f->n_items + f->position] = I->number[I->g->nodes[i]->args[0]->id];
}

/* In order of the list, from the identity. */
static void combine_slots(Interp *I, unsigned stage) {
  optc_frame *f = I->frame;
  for (unsigned i = 0; i < I->g->n_nodes; i++) {
    const Node *n = I->g->nodes[i];
    if (!fills_slot(I, i, stage)) continue;
    ReduceKind kind = (ReduceKind)(n->aux & 255);
    Bits x = reduce_identity(kind, (Type)n->type);
    for (int64_t k = 0; k < f->n_items; k++) x = reduce_pair(kind, (Type)n->type, x, f->slots[I->slot[i] * f->n_items + k]);
    f->totals[I->slot[i]] = x;
  }
}

void graph_interpret_stage(const Graph *g, Launch launch, unsigned stage, optc_frame *frame, Arena *scratch) {
  Interp interp = {.g = g, .frame = frame, .arena = scratch, .layout = layout_in(g->module, scratch)}, *I = &interp;
  unsigned n_slots, n_stages;
  if (launch == LAUNCH_SIZES || launch == LAUNCH_CALL_SIZES) { write_sizes(I, launch == LAUNCH_CALL_SIZES); return; }
  I->slot = graph_slots(g, scratch, &n_slots);
  I->stage = graph_stages(g, scratch, &n_stages);
  if (launch == LAUNCH_TOTAL) { combine_slots(I, stage); return; }
  bool writes = launch == LAUNCH_FINISH || (launch == LAUNCH_ITEM && stage >= n_stages);
  prepare(I, launch, stage, writes);
  if (eval_unknown(g, I->live)) return;
  for (unsigned i = 0; i < g->n_nodes; i++) if (I->live[i] && !I->carries[i]) eval_node(I, g->nodes[i]);
  switch (launch) {
    case LAUNCH_CHECK: check(I); return;
    case LAUNCH_ITEM:
      if (!writes) { fill_slots(I, stage); return; }
      write_tensors(I);
      write_numbers(I, SCOPE_SCALAR);
      for (unsigned i = 0; frame->exists && i < g->n_exists; i++)
        frame->exists[g->exists[i].operand] = !g->exists[i].when || (I->number[g->exists[i].when->id] & 1);
      return;
    case LAUNCH_FINISH:
      write_globals(I);
      write_numbers(I, SCOPE_GLOBAL);
      if (g->skip) frame->skip = (int64_t)(I->number[g->skip->id] & 1);
      return;
    default: return;
  }
}

void graph_interpret(const Graph *g, Launch launch, optc_frame *frame, Arena *scratch) { graph_interpret_stage(g, launch, ~0u, frame, scratch); }
