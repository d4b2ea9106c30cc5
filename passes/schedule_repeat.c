/* schedule_repeat.c: a scan that multiplies matrices, or whose trips do not grow with the data: the kernels of its body stand between a repeat and its end, once a trip.
 *
 * What is carried stays in temporaries. What the body computes whole, tensors and sums to one number, has kernels in order of the nodes: products, rows, the rest; then the new values
 * of what is carried, tensors first: numbers are computed and stored together. A carried tensor that only scatters of the body write into (what a gradient keeps, trip by trip) stays where it is.
 * A new value that needs the old ones at its own position alone, where no later one needs them, is written over the old one; others go through a second temporary. One that
 * is made of a product goes there with it. */
#include <string.h>
#include "passes/schedule.h"

/* Of a number: known from shapes and hyper-parameters, before anything is read. */
static bool is_known(const Schedule *s, const Node *n) {
  if (n->op != OP_CONST && n->op != OP_SIZE && n->op != OP_HYPER && n->op != OP_PRESENT && !op_is_element((Op)n->op)) return false;
  for (unsigned k = 0; k < n->n_args; k++) if (!is_known(s, n->args[k])) return false;
  return !n->space->rank && !s->nest.plan.carry[n->id];
}

static bool in_scan(const Nest *l, const Node *n, const Node *scan) { return l->plan.carry[n->id] >> scan->imm & 1; }
static bool in_body(const Schedule *s, const Node *n, const Node *scan) { return in_scan(&s->nest, n, scan); }

/* What of the body its new values need. */
static bool *body_of(const Schedule *s, const Node *scan) {
  bool *need = nest_by_node(&s->nest, sizeof *need);
  for (unsigned k = 0; k < scan->region->n_results; k++) need[scan->region->results[k]->id] = true;
  for (unsigned i = s->graph->n_nodes; i-- > 0;) {
    const Node *n = s->graph->nodes[i];
    need[i] = need[i] && in_body(s, n, scan);
    for (unsigned k = 0; need[i] && k < node_parts(n); k++) need[node_part(n, k)->id] = true;
  }
  return need;
}

static bool sums(const Node *n) { return n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND; }
static bool is_number(const Node *n) { return !n->space->rank; }

static const Plain nested = {"a scan in another one", "repeat by a constant writes the inner one out"},
  unknown_trips = {"how often a scan runs is not known from sizes and hyper-parameters", "repeat to the largest number, and keep the rest by where(k < n, new, old)"},
  waits = {"a scan needs a total over all tensors of the call in each trip", NULL},
  holds_another = {"another scan is in it", "repeat by a constant writes the inner one out"},
  short_trips = {"trips of a scan are many and short", "what does not need the trip before, sums and running values (cumsum) among it, goes before or behind the scan"},
  full = {"the rule has more kernels than there is room for", NULL};

/* Why a scan does not become kernels; NULL: it does. */
static const Plain *refusal(Schedule *s, const Node *scan, const bool *body) {
  Nest *l = &s->nest;
  const bool *of_trips = graph_needs(s->graph, scan->args[0], l->arena);
  unsigned spaces = 1 + 3*scan->region->n_results, products = 0;
  bool tensors = false, long_ = false;
  if (scan->imm || l->repeat) return &nested;
  if (!is_known(s, scan->args[0])) return &unknown_trips;
  for (unsigned k = 0; k < scan->region->n_results; k++) tensors |= !is_number(scan->args[k + 1]);
  for (unsigned i = 0; i <= scan->args[0]->id; i++) long_ |= of_trips[i] && s->graph->nodes[i]->op == OP_SIZE;
  for (unsigned i = 0; i < s->graph->n_nodes; i++) {
    const Node *n = s->graph->nodes[i];
    if (!body[i]) continue;
    if (n->op == OP_TOTAL) return &waits;
    if (n->op == OP_SCAN || n->op == OP_RESULT) return &holds_another;
    spaces += l->plan.stored[i] ? 4 : 0;
    products += !is_number(n) && nest_is_product(l, n);
  }
  if (!products && (long_ || !tensors)) return &short_trips;
  return l->program->n_spaces + spaces > OPTC_MAX_SPACES ? &full : NULL;
}

/* A kernel over the rows of a node. */
static bool *begin_rows(Nest *l, const char *name, const Node *n, unsigned axes, const Node *when) {
  return nest_begin_tile(l, arena_printf(l->arena, "%s_%u", name, n->id), (Tiles){.space = sums(n) ? nest_terms_space(n) : n->space, .axes = axes, .least = 1, .when = when});
}

static unsigned all_rows(const Space *s) { return s->rank > 1 ? s->rank - 1 : s->rank; }

static void copy_to(Nest *l, const char *name, const Node *x, unsigned buffer, const Node *when) {
  bool *need = begin_rows(l, name, x, all_rows(x->space), when);
  need[x->id] = true;
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  nest_copy_value(l, x, buffer);
}

/* What the body computes whole; marked as kept while it lasts. */
static void emit_whole(Schedule *s, const Node *n, const bool *sink) {
  Nest *l = &s->nest;
  if (!is_number(n) && nest_product(l, n, schedule_epilogue(s, n, sink))) return;
  unsigned axes = is_number(n) ? 0 : schedule_row_axes(n);
  bool *need = axes ? begin_rows(l, "rows", n, axes, nest_demand(l, n)) : nest_begin(l, arena_printf(l->arena, "item_%u", n->id), LAUNCH_ITEM);
  if (!axes) l->program->kernels[l->program->n_kernels - 1]->plain = schedule_plain(n);
  need[n->id] = true;
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  l->items.kept[n->id] = true;
}

/* Whether a new value needs a carried one, or (elsewhere) at other positions than its own: when it is made, all that the body computes whole is there. */
static bool needs(const Nest *l, const Node *root, const Node *carry, bool elsewhere) {
  bool *need = nest_by_node(l, sizeof *need);
  need[root->id] = true;
  for (unsigned i = root->id + 1; i-- > 0;) {
    const Node *n = l->graph->nodes[i];
    if (!need[i] || (n != carry && (l->items.kept[i] || l->plan.stored[i] || l->plan.keeps[i]))) continue;
    if (n->op == OP_MAP && n->args[0] == carry) return true;
    for (unsigned k = 0; k < n->n_args; k++) need[n->args[k]->id] = true;
  }
  return need[carry->id] && !elsewhere;
}

static bool goes_in_place(const Nest *l, const Node *scan, unsigned k, const Node *const *carry) {
  if (!carry[k]) return true;
  if (needs(l, scan->region->results[k], carry[k], true)) return false;
  for (unsigned j = 0; j < scan->region->n_results; j++)
    if (j != k && (j > k || is_number(scan->args[j + 1])) && needs(l, scan->region->results[j], carry[k], false)) return false;
  return true;
}

/* A new value that nothing else refers to: it may have its place before the others. */
static bool is_alone(const Nest *l, const Node *scan, unsigned k) {
  const Node *x = scan->region->results[k];
  unsigned uses = 0;
  for (unsigned i = x->id + 1; i < l->graph->n_nodes; i++)
    for (unsigned part = 0; part < node_parts(l->graph->nodes[i]); part++) uses += node_part(l->graph->nodes[i], part) == x;
  return uses == 1 && !is_number(x) && !l->plan.stored[x->id] && in_scan(l, x, scan);
}

/* Written over the old value, it must be the last to need it. */
static bool is_last(const Nest *l, const Node *scan, unsigned k, const Node *const *carry, const bool *body, const Node *product) {
  for (unsigned i = 0; i < l->graph->n_nodes && carry[k]; i++)
    if (body[i] && (l->plan.stored[i] || l->plan.keeps[i]) && !l->items.kept[i] && l->graph->nodes[i] != product) return false;
  for (unsigned j = 0; j < scan->region->n_results && carry[k]; j++) if (j != k && needs(l, scan->region->results[j], carry[k], false)) return false;
  return true;
}

/* Where a product may leave what is made of it: temporaries, and places of new values. */
static bool *find_sinks(Nest *l, const Node *scan, const Node *const *carry, const bool *in_place, const bool *body, const Node *product) {
  bool *sink = nest_by_node(l, sizeof *sink);
  memcpy(sink, l->plan.stored, l->graph->n_nodes*sizeof *sink);
  for (unsigned k = 0; k < scan->region->n_results; k++) {
    const Node *x = scan->region->results[k];
    if (!is_alone(l, scan, k) || (in_place[k] && !is_last(l, scan, k, carry, body, product))) continue;
    sink[x->id] = true;
    l->items.buffer[x->id] = 1 + nest_carried_buffer(l, scan, k, !in_place[k]);
  }
  return sink;
}

/* Carried numbers, as the scan begins or after a trip: all are computed, then all are stored. */
static void emit_numbers(Nest *l, const char *name, const Node *scan, const Node *const *value) {
  unsigned n = scan->region->n_results, any = 0;
  for (unsigned k = 0; k < n; k++) any += is_number(scan->args[k + 1]);
  if (!any) return;
  bool *need = nest_begin(l, arena_printf(l->arena, "%s_%u", name, scan->id), LAUNCH_ITEM);
  for (unsigned k = 0; k < n; k++) if (is_number(scan->args[k + 1])) graph_mark(need, value[k]);
  nest_close_need(l, need);
  nest_emit(l, need, -1);
  for (unsigned k = 0; k < n; k++) if (is_number(scan->args[k + 1])) nest_store(l, nest_carried_buffer(l, scan, k, false), nest_i64(l, 0), l->kernel.scalar[value[k]->id], NULL);
}

typedef struct Carried { const Node **carry; bool *in_place, *stays; } Carried;        /* by carried value; carry: as the body has it, or NULL */

static bool is_next(const Nest *l, const Node *scan, const Carried *c, unsigned k) {
  const Node *x = scan->region->results[k];
  return !is_number(x) && x != c->carry[k] && !c->stays[k] && (l->plan.stored[x->id] || !l->items.kept[x->id]);
}

static void emit_results(Nest *l, const Node *scan, const Carried *c) {
  const Node *when = nest_demand(l, scan);
  unsigned n = scan->region->n_results;
  for (unsigned k = 0; k < n; k++) if (is_next(l, scan, c, k)) copy_to(l, "next", scan->region->results[k], nest_carried_buffer(l, scan, k, !c->in_place[k]), when);
  emit_numbers(l, "numbers", scan, scan->region->results);
  for (unsigned k = 0; k < n; k++) {
    if (c->in_place[k] || scan->region->results[k] == c->carry[k]) continue;
    bool *need = begin_rows(l, "take", scan->args[k + 1], all_rows(scan->args[k + 1]->space), when);
    nest_close_need(l, need);
    nest_emit(l, need, -1);
    nest_copy_buffer(l, nest_carried_buffer(l, scan, k, false), nest_carried_buffer(l, scan, k, true), scan->args[k + 1]->space);
  }
}

static Carried find_carried(Schedule *s, const Node *scan, const bool *body) {
  Nest *l = &s->nest;
  unsigned n = scan->region->n_results;
  Carried c = {arena_array(l->arena, n + 1, sizeof *c.carry), arena_array(l->arena, n + 1, sizeof *c.in_place), arena_array(l->arena, n + 1, sizeof *c.stays)};
  for (unsigned i = 0; i < s->graph->n_nodes; i++) {
    const Node *x = s->graph->nodes[i];
    if (body[i] && x->op == OP_CARRY && x->imm >= 0) c.carry[x->imm] = x;
    l->plan.keeps[i] |= body[i] && is_number(x) && (sums(x) || (x->op == OP_CARRY && x->imm >= 0));
  }
  for (unsigned k = 0; k < n; k++) {
    c.stays[k] = nest_stays(l, scan, body, k);
    c.in_place[k] = c.stays[k] || is_number(scan->args[k + 1]) || goes_in_place(l, scan, k, c.carry);
  }
  return c;
}

/* The values that the trip begins with are there, each in its place. */
static void take_carried(Nest *l, const Node *scan, const Carried *c) {
  for (unsigned k = 0; k < scan->region->n_results; k++) {
    unsigned place = 1 + nest_carried_buffer(l, scan, k, false);
    if (c->stays[k]) nest_scatter_to(l, scan, k, place);
    if (!c->carry[k]) continue;
    l->items.buffer[c->carry[k]->id] = place;
    l->items.kept[c->carry[k]->id] = true;
  }
}

/* Scans of one depth share what is carried: outside this one nothing of it is there but its results. */
static void leave_carried(Schedule *s, const Node *scan, const Carried *c) {
  Nest *l = &s->nest;
  for (unsigned k = 0; k < scan->region->n_results; k++) if (c->stays[k]) nest_scatter_to(l, scan, k, 0);
  for (unsigned i = 0; i < s->graph->n_nodes; i++) {
    const Node *x = s->graph->nodes[i];
    if (in_body(s, x, scan)) l->items.kept[i] = l->plan.keeps[i] = false;
    if (x->op != OP_RESULT || x->args[0] != scan) continue;
    l->items.buffer[i] = 1 + nest_carried_buffer(l, scan, (unsigned)x->imm, false);
    l->items.kept[i] = true;
    l->plan.keeps[i] = is_number(x);
  }
}

const Plain *schedule_repeat(Schedule *s, const Node *scan) {
  Nest *l = &s->nest;
  bool *body = body_of(s, scan);
  unsigned n = scan->region->n_results;
  const Plain *refused = refusal(s, scan, body);
  if (refused) return refused;
  const Carried c = find_carried(s, scan, body);
  l->temps = &l->items;                                                    /* the last kernel may have been one of the call */
  nest_make_carried(l, scan, c.in_place);
  for (unsigned k = 0; k < n; k++) if (!is_number(scan->args[k + 1])) copy_to(l, "first", scan->args[k + 1], nest_carried_buffer(l, scan, k, false), nest_demand(l, scan));
  emit_numbers(l, "first", scan, scan->args + 1);
  nest_open_repeat(l, scan);
  take_carried(l, scan, &c);
  for (unsigned i = 0; i < s->graph->n_nodes; i++) if (body[i] && (l->plan.stored[i] || l->plan.keeps[i]) && !l->items.kept[i])
    emit_whole(s, s->graph->nodes[i], find_sinks(l, scan, c.carry, c.in_place, body, s->graph->nodes[i]));
  emit_results(l, scan, &c);
  nest_close_repeat(l);
  leave_carried(s, scan, &c);
  return NULL;
}
