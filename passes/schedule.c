/* schedule.c: pass `schedule`: graph to program in as few sweeps over memory as its reductions allow. Exact.
 *
 * Before: a graph without function nodes. After: a program, unless the rule is computed element by element (then `lower` and `fuse` have the better form).
 * What is computed is cut into rounds: a value that needs the whole of another (a reduction, a tensor read at other positions) belongs to a later
 * round. A round is
 *   totals     of the call that its numbers need (slots, then what they make)
 *   rows_r_n, columns_r_n   temporaries that later rounds read, and new values of tensors that are not flat, in tiles: schedule_rows.c
 *   item_r     what does not go row by row, nest by nest, as in lower_nest.c
 *   phase_r    one loop over the elements in chunks: reductions over the whole tensor leave one partial a chunk; new values of tensors are written
 *   join_r     the partials of the chunks, in the order of the language
 * Rules that go by blocks of a constant length are one sweep block by block in the last round: schedule_blocks.c.
 * A tensor's new value is written in the first round that knows it, so that later rounds read it, where that moves fewer bytes than to compute it
 * again in the last round, and where nothing later needs the old one. Values between rounds are computed again from what lies in memory. */
#include <string.h>
#include "passes/passes.h"
#include "passes/schedule.h"

static unsigned later(unsigned a, unsigned b) { return a > b ? a : b; }

/* --- rounds ----------------------------------------------------------------------------------------------------------------------- */

static bool is_bit(const Node *x) { return x->op == OP_CONST && (x->imm == 0 || x->imm == 1); }

/* Integers 0 and 1: their sum over a chunk is a number that f64 holds exactly. */
static bool counts(const Node *x) { return (x->op == OP_CAST && x->args[0]->type == TYPE_BOOL) || (x->op == OP_SELECT && is_bit(x->args[1]) && is_bit(x->args[2])); }

static bool is_fold(const Schedule *s, const Node *n) {
  if (n->op != OP_REDUCE || n->space->rank || s->nest.plan.carry[n->id] || !graph_is_item_space(s->graph->module, n->args[0]->space)) return false;
  switch ((ReduceKind)(n->aux & 255)) {
    case REDUCE_SUM: return n->aux >> 8 == ORDER_LANES && (type_kind(n->type) == KIND_FLOAT || counts(n->args[0]));
    case REDUCE_PROD: return n->aux >> 8 == ORDER_LANES && type_kind(n->type) == KIND_FLOAT;
    case REDUCE_MAX: case REDUCE_MIN: return type_kind(n->type) == KIND_FLOAT;
    case REDUCE_ANY: case REDUCE_EVERY: return true;
    default: return false;
  }
}

/* A scan of numbers alone costs less than a place to keep what it gives. */
static void find_whole(Schedule *s) {
  const Graph *g = s->graph;
  bool *data = nest_by_node(&s->nest, sizeof *data);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    data[i] = n->space->rank || n->op == OP_READ || n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND;
    for (unsigned k = 0; k < n->n_args; k++) data[i] |= data[n->args[k]->id] && !s->whole[n->args[k]->id];
    for (unsigned k = 0; n->region && k < n->region->n_results; k++) data[i] |= data[n->region->results[k]->id] && !s->whole[n->region->results[k]->id];
    s->fold[i] = is_fold(s, n);
    s->whole[i] = !s->nest.plan.carry[i] && (s->nest.plan.stored[i] || (nest_costs(&s->nest, n) && (n->op != OP_RESULT || data[i])));
  }
}

/* When the totals of a stage are there: they are made together. */
static unsigned stage_ready(const Schedule *s, unsigned stage) {
  unsigned round = 0;
  for (unsigned i = 0; i < s->graph->n_nodes; i++)
    if (s->nest.plan.slot[i] >= 0 && s->nest.plan.stage[i] == stage) round = later(round, s->ready[s->graph->nodes[i]->args[0]->id]);
  return round;
}

static void find_rounds(Schedule *s) {
  const Graph *g = s->graph;
  bool changed = true;
  while (changed) {                      /* totals of a stage wait for each other, whatever their numbers */
    changed = false;
    for (unsigned i = 0; i < g->n_nodes; i++) {
      const Node *n = g->nodes[i];
      unsigned at = 0;
      for (unsigned k = 0; k < n->space->rank; k++) at = later(at, s->ready[n->space->extent[k]->id]);
      for (unsigned k = 0; k < n->n_args; k++) at = later(at, s->ready[n->args[k]->id]);
      for (unsigned k = 0; n->region && k < n->region->n_results; k++) at = later(at, s->ready[n->region->results[k]->id]);
      if (s->nest.plan.slot[i] >= 0) at = stage_ready(s, s->nest.plan.stage[i]);
      s->round[i] = at;
      at += s->whole[i];
      changed |= at != s->ready[i];
      s->ready[i] = at;
    }
  }
}

static unsigned known_at(const Schedule *s, const Write *w) { return later(s->ready[w->value->id], w->when ? s->ready[w->when->id] : 0); }

/* --- where the writes go ------------------------------------------------------------------------------------------------------------ */

/* What stands in memory after the write is the value itself. */
static bool leaves_value(const Schedule *s, unsigned write) {
  const Operand *o = schedule_target(s, write);
  const Write *w = &s->graph->writes[write];
  return !w->when && w->value->space->rank && o->storage == (Type)w->value->type && !o->flush && !operand_may_be_absent(o);
}

static void set_sources(Schedule *s, unsigned round) {
  for (unsigned k = 0; k < s->graph->n_writes; k++)
    if (s->in_loop[k] && s->write_round[k] < round && leaves_value(s, k)) s->nest.plan.source[s->graph->writes[k].value->id] = 1 + s->graph->writes[k].operand;
}

static void clear_sources(Schedule *s) { memset(s->nest.plan.source, 0, (s->graph->n_nodes + 1) * sizeof *s->nest.plan.source); }

/* Marks what the work of a round needs, down to what is kept from earlier ones and to what was written. */
static bool *round_needs(Schedule *s, unsigned round) {
  const Graph *g = s->graph;
  bool *need = nest_by_node(&s->nest, sizeof *need);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    if (s->whole[i] && s->round[i] == round) need[i] = true;
    if (s->nest.plan.slot[i] >= 0 && s->ready[i] == round) graph_mark(need, g->nodes[i]->args[0]);
  }
  for (unsigned k = 0; k < g->n_writes; k++) {
    if (schedule_target(s, k)->scope == SCOPE_GLOBAL || s->write_round[k] != round) continue;
    graph_mark(need, g->writes[k].value);
    graph_mark(need, g->writes[k].when);
  }
  set_sources(s, round);
  for (unsigned i = g->n_nodes; i-- > 0;) {
    const Node *n = g->nodes[i];
    if (!need[i] || s->nest.plan.source[i] || s->nest.plan.slot[i] >= 0 || (s->whole[i] && s->round[i] < round)) continue;
    for (unsigned k = 0; k < n->n_args; k++) need[n->args[k]->id] = true;
    for (unsigned k = 0; n->region && k < n->region->n_results; k++) need[n->region->results[k]->id] = true;
  }
  return need;
}

/* Tensors that a round reads, as a set by operand. */
static void mark_reads(Schedule *s, const bool *need, bool *read) {
  for (unsigned i = 0; i < s->graph->n_nodes; i++) {
    if (need[i] && s->nest.plan.source[i]) read[s->nest.plan.source[i] - 1] = true;
    else if (need[i] && s->graph->nodes[i]->op == OP_READ) read[s->graph->nodes[i]->imm] = true;
  }
}

static bool needs_old(Schedule *s, const bool *need, unsigned operand) {
  for (unsigned i = 0; i < s->graph->n_nodes; i++)
    if (need[i] && !s->nest.plan.source[i] && s->graph->nodes[i]->op == OP_READ && s->graph->nodes[i]->imm == operand) return true;
  return false;
}

/* Writes whose old value some later round needs move to the last one, until none is left. */
static void settle(Schedule *s) {
  for (bool changed = true; changed;) {
    changed = false;
    for (unsigned k = 0; k < s->graph->n_writes; k++)
      for (unsigned r = s->write_round[k] + 1; r < s->n_rounds && s->in_loop[k] && s->write_round[k] + 1 < s->n_rounds; r++) {
        bool old = needs_old(s, round_needs(s, r), s->graph->writes[k].operand);
        clear_sources(s);
        if (!old) continue;
        s->write_round[k] = s->n_rounds - 1;
        changed = true;
      }
  }
}

/* Tensors read, all rounds together; what is written does not depend on where. */
static unsigned traffic(Schedule *s) {
  unsigned n = 0;
  for (unsigned r = 0; r < s->n_rounds; r++) {
    bool *read = arena_array(s->nest.arena, s->graph->module->n_operands + 1, sizeof *read);
    mark_reads(s, round_needs(s, r), read);
    clear_sources(s);
    for (unsigned k = 0; k < s->graph->module->n_operands; k++) n += read[k];
  }
  return n;
}

static void copy_rounds(const Schedule *s, unsigned *to, const unsigned *from) { memcpy(to, from, s->graph->n_writes * sizeof *to); }

/* The writes to one tensor stay in order: several go together, in the last round, and all in its loop or none. */
static void keep_order(Schedule *s) {
  const Graph *g = s->graph;
  for (unsigned k = 0; k < g->n_writes; k++)
    for (unsigned i = 0; i < g->n_writes; i++) {
      if (i == k || g->writes[i].operand != g->writes[k].operand) continue;
      s->write_round[k] = s->n_rounds - 1;
      s->in_loop[k] &= s->in_loop[i];
    }
}

/* From the earliest places on, each write moves to the last round where that saves reads. */
static void find_write_rounds(Schedule *s) {
  const Graph *g = s->graph;
  unsigned *best = arena_array(s->nest.arena, g->n_writes + 1, sizeof *best);
  for (unsigned k = 0; k < g->n_writes; k++) s->write_round[k] = s->in_loop[k] ? known_at(s, &g->writes[k]) : s->n_rounds - 1;
  for (int twice = 0; twice < 2; twice++) keep_order(s);
  settle(s);
  unsigned least = traffic(s);
  copy_rounds(s, best, s->write_round);
  for (unsigned k = 0; k < g->n_writes; k++) {
    if (s->write_round[k] + 1 >= s->n_rounds) continue;
    s->write_round[k] = s->n_rounds - 1;
    settle(s);
    unsigned n = traffic(s);
    if (n < least) { least = n; copy_rounds(s, best, s->write_round); }
    else copy_rounds(s, s->write_round, best);
  }
}

/* What the loop of a round computes, and in the last round what is computed behind it: numbers, conditions. All else was made whole before. */
static bool *loop_needs(Schedule *s, unsigned round) {
  const Graph *g = s->graph;
  bool *need = nest_by_node(&s->nest, sizeof *need);
  for (unsigned i = 0; i < g->n_nodes; i++) if (s->fold[i] && s->round[i] == round) graph_mark(need, g->nodes[i]->args[0]);
  for (unsigned k = 0; k < g->n_writes; k++) {
    if (s->write_round[k] != round || schedule_target(s, k)->scope == SCOPE_GLOBAL) continue;
    if (s->in_loop[k] || !g->writes[k].value->space->rank) graph_mark(need, g->writes[k].value);
    graph_mark(need, g->writes[k].when);
  }
  for (unsigned i = g->n_nodes; i-- > 0;) {
    const Node *n = g->nodes[i];
    if (!need[i] || s->whole[i] || s->nest.plan.slot[i] >= 0) continue;
    for (unsigned k = 0; k < n->n_args; k++) need[n->args[k]->id] = true;
    for (unsigned k = 0; n->region && k < n->region->n_results; k++) need[n->region->results[k]->id] = true;
  }
  return need;
}

/* Whether a tensor is read at other positions than the loop's: then its new elements must not be there before the loop ends. */
static bool is_read_elsewhere(const Schedule *s, const bool *need, unsigned operand) {
  for (unsigned i = 0; i < s->graph->n_nodes; i++) {
    const Node *n = s->graph->nodes[i];
    if (!need[i]) continue;
    if (n->op == OP_READ && n->imm == operand && n->n_args != (unsigned)(n->aux == 1)) return true;
    if (n->op == OP_MAP && n->args[0]->op == OP_READ && n->args[0]->imm == operand) return true;
  }
  return false;
}

/* In the loop of a round goes what that loop reads at its own positions alone. */
static void place_writes(Schedule *s) {
  const Graph *g = s->graph;
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Operand *o = schedule_target(s, k);
    const Node *x = g->writes[k].value;
    s->in_loop[k] = !s->blocks && o->scope == SCOPE_TENSOR && o->item_shape && (!x->space->rank || graph_is_item_space(g->module, x->space));
  }
  for (bool changed = true; changed;) {
    changed = false;
    find_write_rounds(s);
    for (unsigned k = 0; k < g->n_writes && !changed; k++) {
      if (!s->in_loop[k] || !is_read_elsewhere(s, loop_needs(s, s->write_round[k]), g->writes[k].operand)) continue;
      s->in_loop[k] = false;
      changed = true;
    }
  }
}

/* --- kernels -------------------------------------------------------------------------------------------------------------------------- */

/* The totals that this round's numbers need. */
static void emit_totals(Schedule *s, unsigned round) {
  for (unsigned stage = 1; stage <= s->nest.plan.n_stages; stage++)
    if (stage_ready(s, stage) == round) nest_stage(&s->nest, stage - 1);
}

static bool is_left(const Schedule *s, unsigned i, unsigned round) { return s->whole[i] && !s->fold[i] && s->round[i] == round && !s->nest.items.kept[i]; }

/* A number that costs a loop and is not always needed: elsewhere what its temporary holds is read and dropped. */
static void emit_number_in_arm(Schedule *s, const Node *n, unsigned round) {
  Nest *l = &s->nest;
  bool *need = schedule_begin(s, arena_printf(l->arena, "number_%u", n->id), round, LAUNCH_ITEM);
  need[n->id] = true;
  graph_mark(need, l->plan.work[n->id]);
  nest_close_need(l, need);
  need[n->id] = false;
  nest_emit(l, need, -1);
  need[n->id] = true;
  nest_if(l, l->kernel.scalar[l->plan.work[n->id]->id]);
  nest_emit(l, need, -1);
  nest_end_if(l);
}

/* What this round computes whole, but for reductions over all elements. */
static void emit_whole(Schedule *s, unsigned round) {
  const Graph *g = s->graph;
  bool any = false, *need;
  schedule_rows(s, round);
  const Plain *why = NULL;
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Plain *refused = is_left(s, i, round) && g->nodes[i]->op == OP_RESULT ? schedule_repeat(s, g->nodes[i]->args[0]) : NULL;
    if (refused) why = refused;
  }
  for (unsigned i = 0; i < g->n_nodes; i++) if (is_left(s, i, round)) nest_product(&s->nest, g->nodes[i], schedule_epilogue(s, g->nodes[i], s->nest.plan.stored));
  for (unsigned i = 0; i < g->n_nodes; i++) if (is_left(s, i, round) && !g->nodes[i]->space->rank && s->nest.plan.work[i]) emit_number_in_arm(s, g->nodes[i], round);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    if (!is_left(s, i, round)) continue;
    any = true;
    if (!why) why = schedule_plain(g->nodes[i]);
  }
  if (!any) return;
  need = schedule_begin(s, "item", round, LAUNCH_ITEM);
  s->nest.program->kernels[s->nest.program->n_kernels - 1]->plain = why;
  for (unsigned i = 0; i < g->n_nodes; i++) need[i] = is_left(s, i, round);
  nest_close_need(&s->nest, need);
  nest_emit(&s->nest, need, -1);
}

/* What the chunks left becomes a number, chunk by chunk in the tree of the language. */
static void emit_join(Schedule *s, unsigned round) {
  Nest *l = &s->nest;
  const Graph *g = s->graph;
  bool *need = NULL;
  Inst *chunks = NULL;
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (!s->fold[i] || s->round[i] != round) continue;
    if (!need) {
      need = schedule_begin(s, "join", round, LAUNCH_ITEM);
      graph_mark(need, n->args[0]->space->extent[0]);
      nest_close_need(l, need);
      nest_emit(l, need, -1);
      Inst *count = l->kernel.scalar[n->args[0]->space->extent[0]->id];
      chunks = nest_op2(l, KOP_SHR, nest_op2(l, KOP_ADD, count, nest_i64(l, OPTC_CHUNK - 1)), nest_i64(l, 16));
    }
    nest_store(l, nest_buffer(l, n), nest_i64(l, 0), nest_join(l, s->partial[i], chunks, (ReduceKind)(n->aux & 255), (Type)n->type), NULL);
    l->items.kept[i] = true;
  }
}

/* --- the last round --------------------------------------------------------------------------------------------------------------------- */

static bool is_apart(const Schedule *s, unsigned k) {
  Scope scope = schedule_target(s, k)->scope;
  return !s->in_loop[k] && !s->nest.plan.direct[s->graph->writes[k].value->id] && scope != SCOPE_GLOBAL && !(s->blocks && scope == SCOPE_TENSOR);
}

static bool is_whole_tensor(const Schedule *s, unsigned k) { return is_apart(s, k) && schedule_target(s, k)->scope == SCOPE_TENSOR && s->graph->writes[k].value->space->rank; }

static unsigned all_rows(const Space *x) { return x->rank > 1 ? x->rank - 1 : x->rank; }

/* A kernel over the rows of what a write writes; true: its condition is open. */
static bool begin_write(Schedule *s, const char *name, unsigned k, bool value) {
  Nest *l = &s->nest;
  const Write *w = &s->graph->writes[k];
  const Space *x = w->value->space;
  const char *own = arena_printf(l->arena, "%s_%u", name, w->value->id);
  bool *need = l->program->n_spaces < OPTC_MAX_SPACES ? nest_begin_tile(l, own, (Tiles){.space = x, .axes = all_rows(x), .least = 1}) : nest_begin(l, own, LAUNCH_ITEM);
  for (unsigned a = 0; a < x->rank; a++) graph_mark(need, x->extent[a]);
  if (value) graph_mark(need, w->value);
  graph_mark(need, w->when);
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  if (w->when) nest_if(l, l->kernel.scalar[w->when->id]);
  return w->when != NULL;
}

/* A number that would be another behind the writes. */
static void keep_number(Schedule *s, const Node *n, bool *need) {
  bool changes = false;
  const bool *of = n && !n->space->rank ? graph_needs(s->graph, n, s->nest.arena) : NULL;
  for (unsigned i = 0; of && i <= n->id; i++) changes |= of[i] && (s->graph->nodes[i]->op == OP_READ || s->graph->nodes[i]->op == OP_SCALAR);
  if (!changes) return;
  s->nest.plan.keeps[n->id] = need[n->id] = true;
}

static void keep_numbers(Schedule *s) {
  bool any = false;
  for (unsigned k = 0; k < s->graph->n_writes; k++) any |= is_whole_tensor(s, k);
  if (!any) return;
  bool *need = nest_begin(&s->nest, "numbers", LAUNCH_ITEM);
  for (unsigned k = 0; k < s->graph->n_writes; k++) {
    if (!is_apart(s, k)) continue;
    keep_number(s, s->graph->writes[k].value, need);
    keep_number(s, s->graph->writes[k].when, need);
  }
  nest_close_need(&s->nest, need);
  nest_emit(&s->nest, need, -1);
}

/* New values of what is not written in a loop over elements: computed before anything of this round is written, */
static void emit_values(Schedule *s, unsigned *from) {
  Nest *l = &s->nest;
  keep_numbers(s);
  for (unsigned k = 0; k < s->graph->n_writes; k++) {
    const Node *x = s->graph->writes[k].value;
    if (!is_whole_tensor(s, k)) continue;
    if (l->plan.stored[x->id]) { from[k] = 1 + nest_buffer(l, x); continue; }
    bool open = begin_write(s, "values", k, true);
    from[k] = 1 + nest_temp(l, arena_printf(l->arena, "new_%s", schedule_target(s, k)->name), (Type)x->type, (Wanted){.space = x->space, .operand = -1});
    nest_copy_value(l, x, from[k] - 1);
    if (open) nest_end_if(l);
  }
}

/* and copied after all is; then numbers: all are computed, then all are stored. */
static void emit_apart(Schedule *s, const unsigned *from) {
  Nest *l = &s->nest;
  const Graph *g = s->graph;
  bool any = false, *need;
  for (unsigned k = 0; k < g->n_writes; k++) {
    if (!is_whole_tensor(s, k)) { any |= is_apart(s, k); continue; }
    bool open = begin_write(s, "write", k, false);
    nest_copy_to_operand(l, &g->writes[k], from[k] - 1);
    if (open) nest_end_if(l);
  }
  if (!any) return;
  need = nest_begin(l, "write", LAUNCH_ITEM);
  for (unsigned k = 0; k < g->n_writes; k++) if (is_apart(s, k) && !is_whole_tensor(s, k)) graph_mark_write(need, &g->writes[k]);
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  Inst **number = arena_array(l->arena, g->n_writes + 1, sizeof *number);
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Operand *o = schedule_target(s, k);
    if (is_apart(s, k) && o->scope == SCOPE_SCALAR) number[k] = nest_cast(l, operand_field_type(o), nest_to_storage(l, o, l->kernel.scalar[g->writes[k].value->id]));
  }
  for (unsigned k = 0; k < g->n_writes; k++) {
    if (!is_apart(s, k) || is_whole_tensor(s, k)) continue;
    if (number[k]) nest_set_number(l, &g->writes[k], number[k]);
    else nest_copy_write(l, &g->writes[k], 0);
  }
}

static void emit_program(Schedule *s) {
  Nest *l = &s->nest;
  unsigned *from = arena_array(l->arena, s->graph->n_writes + 1, sizeof *from);
  for (unsigned round = 0; round < s->n_rounds; round++) {
    s->now = round;
    set_sources(s, round);
    emit_totals(s, round);
    emit_whole(s, round);
    if (round + 1 == s->n_rounds) emit_values(s, from);
    if (round + 1 == s->n_rounds && s->blocks) schedule_blocks(s);
    schedule_phase(s, round);
    emit_join(s, round);
  }
  set_sources(s, s->n_rounds);
  emit_apart(s, from);
  clear_sources(s);
}

void pass_schedule(Unit *unit, const PassArgs *args) {
  const Graph *g = unit->graph;
  if (lower_is_pointwise(unit)) return;
  Schedule schedule = {.graph = g}, *s = &schedule;
  Nest *l = &s->nest;
  const Node **work, **room;
  schedule_demands(unit->graph, unit->arena, &work, &room);
  if (!nest_start(l, unit) || !nest_checks(l) || !nest_layout(l)) return;
  l->plan.work = work;
  l->plan.room = room;
  s->ready = nest_by_node(l, sizeof *s->ready);
  s->round = nest_by_node(l, sizeof *s->round);
  s->whole = nest_by_node(l, sizeof *s->whole);
  s->fold = nest_by_node(l, sizeof *s->fold);
  s->partial = nest_by_node(l, sizeof *s->partial);
  s->write_round = arena_array(l->arena, g->n_writes + 1, sizeof *s->write_round);
  s->in_loop = arena_array(l->arena, g->n_writes + 1, sizeof *s->in_loop);
  s->blocks = schedule_find_blocks(s);
  if (!s->blocks) schedule_values(s);
  find_whole(s);
  find_rounds(s);
  for (unsigned k = 0; k < g->n_writes; k++)
    if (schedule_target(s, k)->scope != SCOPE_GLOBAL) s->n_rounds = later(s->n_rounds, known_at(s, &g->writes[k]) + 1);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    if (l->plan.slot[i] >= 0) s->n_rounds = later(s->n_rounds, s->ready[i] + 1);      /* globals and later calls may want it */
    l->plan.keeps[i] = s->whole[i] && !g->nodes[i]->space->rank;
  }
  place_writes(s);
  emit_program(s);
  nest_share_temps(l);
  nest_finish(l);
  unit->scheduled = unit->program != NULL;
}
