/* graph_analysis.c: what nodes need, what scans carry, what is the same for a whole call: sweeps over a graph in order of id. */
#include "ir/graph_analysis.h"

/* --- what is needed ------------------------------------------------------------------------------------------------------------ */

void graph_mark_write(bool *marked, const Write *w) {
  graph_mark(marked, w->value);
  graph_mark(marked, w->when);
}

void graph_mark_requires(const Graph *g, bool *marked) {
  for (unsigned i = 0; i < g->n_requires; i++) {
    graph_mark(marked, g->requires[i].cond);
    for (unsigned k = 0; k < g->requires[i].n; k++) graph_mark(marked, g->requires[i].value[k]);
  }
}

void graph_mark_exists(const Graph *g, bool *marked) {
  for (unsigned i = 0; i < g->n_exists; i++) graph_mark(marked, g->exists[i].when);
}

void graph_mark_roots(const Graph *g, bool *marked) {
  for (unsigned i = 0; i < g->n_writes; i++) graph_mark_write(marked, &g->writes[i]);
  graph_mark_exists(g, marked);
  graph_mark_requires(g, marked);
  graph_mark(marked, g->skip);
}

static void mark_parts(const Node *n, bool *marked) {
  for (unsigned k = 0; k < node_parts(n); k++) marked[node_part(n, k)->id] = true;
}

static void mark_extents(const Node *n, bool *marked) {
  for (unsigned k = 0; k < n->space->rank; k++) marked[n->space->extent[k]->id] = true;
}

static void mark_below(const Graph *g, unsigned end, bool *marked) {
  for (unsigned i = end; i-- > 0;) if (marked[i]) mark_parts(g->nodes[i], marked);
}

void graph_mark_operands(const Graph *g, bool *marked) { mark_below(g, g->n_nodes, marked); }

void graph_mark_values(const Graph *g, bool *marked) {
  for (unsigned i = g->n_nodes; i-- > 0;) {
    const Node *n = g->nodes[i];
    if (!marked[i]) continue;
    for (unsigned k = 0; k < n->n_args; k++) marked[n->args[k]->id] = true;
    for (unsigned k = 0; n->region && k < n->region->n_results; k++) marked[n->region->results[k]->id] = true;
  }
}

void graph_mark_missing(const Graph *g, bool *marked, const bool *there) {
  for (unsigned i = g->n_nodes; i-- > 0;) {
    const Node *n = g->nodes[i];
    if (!marked[i]) continue;
    if (n->op == OP_TOTAL || (there && there[i])) mark_extents(n, marked);
    else mark_parts(n, marked);
  }
}

bool *graph_needs(const Graph *g, const Node *root, Arena *arena) {
  bool *marked = arena_array(arena, g->n_nodes, sizeof *marked);
  marked[root->id] = true;
  mark_below(g, root->id + 1, marked);
  return marked;
}

bool *graph_reachable(const Graph *g, Arena *arena) {
  bool *marked = arena_array(arena, g->n_nodes, sizeof *marked);
  graph_mark_roots(g, marked);
  graph_mark_operands(g, marked);
  return marked;
}

/* --- scans ---------------------------------------------------------------------------------------------------------------------- */

uint64_t *graph_carries(const Graph *g, Arena *arena) {
  uint64_t *carries = arena_array(arena, g->n_nodes, sizeof *carries);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    uint64_t inside = 0, outside = n->op == OP_CARRY ? UINT64_C(1) << (n->aux & 63) : 0;
    for (unsigned k = 0, around = n->n_args + n->space->rank; k < node_parts(n); k++) *(k < around ? &outside : &inside) |= carries[node_part(n, k)->id];
    if (n->op == OP_SCAN) inside &= ~(UINT64_C(1) << (n->imm & 63));
    carries[i] = inside | outside;
  }
  return carries;
}

bool *graph_scan_body(const Graph *g, const Node *scan, const uint64_t *carries, Arena *arena) {
  bool *in = arena_array(arena, g->n_nodes, sizeof *in);
  for (unsigned k = 0; k < scan->region->n_results; k++) graph_mark(in, scan->region->results[k]);
  for (unsigned i = scan->id; i-- > 0;) {
    in[i] = in[i] && carries[i] >> scan->imm & 1;
    if (in[i]) mark_parts(g->nodes[i], in);
  }
  return in;
}

/* --- the call and its items ----------------------------------------------------------------------------------------------------- */

static bool of_call(const Graph *g, int64_t operand) { return operand >= 0 && operand < g->module->n_operands && g->module->operands[operand].scope == SCOPE_GLOBAL; }

static bool is_global(const Graph *g, const Node *n, bool *seen) {
  if (seen[n->id]) return true;
  seen[n->id] = true;
  switch ((int)n->op) {
    case OP_TOTAL: return true;
    case OP_ITEM: return false;
    case OP_SCALAR: case OP_SIZE: case OP_PRESENT: case OP_READ: if (!of_call(g, n->imm)) return false; break;
    case OP_CARRY: return (n->aux >> 8 & 3) != LEVEL_ITEM;                   /* carried elements are found at the scan */
    default: break;
  }
  for (unsigned k = 0; k < node_parts(n); k++) if (!is_global(g, node_part(n, k), seen)) return false;
  return true;
}

bool graph_is_global(const Graph *g, const Node *n) { return is_global(g, n, arena_array(g->arena, g->n_nodes + 1, sizeof(bool))); }

uint64_t graph_shared_hypers(const Graph *g, Arena *arena) {
  bool *marked = arena_array(arena, g->n_nodes + 1, sizeof *marked);
  for (unsigned i = 0; i < g->n_writes; i++) if (of_call(g, g->writes[i].operand)) graph_mark_write(marked, &g->writes[i]);
  graph_mark(marked, g->skip);
  graph_mark_missing(g, marked, NULL);
  uint64_t set = 0;
  for (unsigned i = 0; i < g->n_nodes; i++)
    if (marked[i] && g->nodes[i]->op == OP_HYPER && g->nodes[i]->imm < OPTC_MAX_HYPERS) set |= UINT64_C(1) << g->nodes[i]->imm;
  return set;
}

unsigned *graph_stages(const Graph *g, Arena *arena, unsigned *n_stages) {
  unsigned *stage = arena_array(arena, g->n_nodes + 1, sizeof *stage);
  const bool *live = graph_reachable(g, arena);
  *n_stages = 0;
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    for (unsigned k = 0; k < node_parts(n); k++) if (stage[node_part(n, k)->id] > stage[i]) stage[i] = stage[node_part(n, k)->id];
    stage[i] += n->op == OP_TOTAL;
    if (live[i] && stage[i] > *n_stages) *n_stages = stage[i];
  }
  return stage;
}

int *graph_slots(const Graph *g, Arena *arena, unsigned *n_slots) {
  int *slot = arena_array(arena, g->n_nodes + 1, sizeof *slot);
  const bool *live = graph_reachable(g, arena);
  *n_slots = 0;
  for (unsigned i = 0; i < g->n_nodes; i++) slot[i] = live[i] && g->nodes[i]->op == OP_TOTAL ? (int)(*n_slots)++ : -1;
  return slot;
}
