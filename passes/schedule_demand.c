/* schedule_demand.c: where a value is needed at all. Of `if R > C { .. } else { .. }` both sides stand in the graph and a select takes one: what only the other side
 * needs is not computed, and its temporaries take no room.
 *
 * A demand is a condition, a number of the graph: NULL stands for always. Two kinds, for room must be known before a call: `room` depends on shapes alone, `work` on
 * everything that is known before data are read. */
#include "ir/graph_analysis.h"
#include "passes/schedule.h"

typedef struct Demands { Graph *graph; Arena *arena; const bool *known; const Node **by_id; bool *reached; unsigned n; } Demands;

/* Conditions made of what is known: of shapes, or of all that is there before data are read. */
static bool *find_known(const Graph *g, Arena *arena, bool shapes) {
  bool *known = arena_array(arena, (size_t)g->n_nodes + 1, sizeof *known);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    switch ((int)n->op) {
      case OP_CONST: case OP_SIZE: case OP_PRESENT: known[i] = true; continue;
      case OP_HYPER: case OP_STEP: case OP_ITEM: known[i] = !shapes; continue;
      case OP_SCALAR: known[i] = !shapes && g->module->operands[n->imm].role == ROLE_IN; continue;
      default: known[i] = op_is_element((Op)n->op) && !n->space->rank;
    }
    for (unsigned k = 0; k < n->n_args; k++) known[i] &= known[n->args[k]->id];
  }
  return known;
}

static const Node *negation(Graph *g, const Node *c) { return c->op == OP_NOT ? c->args[0] : graph_element(g, OP_NOT, TYPE_BOOL, 1, &c); }

static const Node *both(Graph *g, const Node *a, const Node *b) {
  if (!a || a == b) return b;
  return graph_element(g, OP_AND, TYPE_BOOL, 2, (const Node *[]){a, b});
}

/* NULL: always. (d and c) or (d and not c) is d again. */
static const Node *either(Graph *g, const Node *a, const Node *b) {
  if (!a || !b) return NULL;
  if (a == b || (b->op == OP_AND && (b->args[0] == a || b->args[1] == a))) return a;
  if (a->op == OP_AND && (a->args[0] == b || a->args[1] == b)) return b;
  if (negation(g, a) == b || negation(g, b) == a) return NULL;
  if (a->op == OP_AND && b->op == OP_AND && a->args[0] == b->args[0] && (negation(g, a->args[1]) == b->args[1] || negation(g, b->args[1]) == a->args[1])) return a->args[0];
  return graph_element(g, OP_OR, TYPE_BOOL, 2, (const Node *[]){a, b});
}

static void demand(Demands *d, const Node *n, const Node *when) {
  if (!n || n->id >= d->n) return;
  d->by_id[n->id] = d->reached[n->id] ? either(d->graph, d->by_id[n->id], when) : when;
  d->reached[n->id] = true;
}

static bool is_known(const Demands *d, const Node *c) { return c && c->id < d->n && d->known[c->id]; }

static void pass_on(Demands *d, const Node *n) {
  const Node *when = d->by_id[n->id];
  bool chooses = n->op == OP_SELECT && is_known(d, n->args[0]) && !n->args[0]->space->rank, outside = n->op == OP_TOTAL;
  for (unsigned k = 0; k < node_parts(n); k++) {
    const Node *part = node_part(n, k);
    bool arm = chooses && k && k < n->n_args;
    const Node *c = !arm ? NULL : k == 1 ? n->args[0] : negation(d->graph, n->args[0]);
    demand(d, part, outside || (chooses && !k) ? NULL : arm ? both(d->graph, when, c) : when);
  }
}

/* By id of the nodes that are there: the demand for it. Adds conditions to the graph. */
static const Node **find_demands(Graph *g, Arena *arena, bool shapes) {
  Demands d = {.graph = g, .arena = arena, .n = g->n_nodes, .known = find_known(g, arena, shapes)};
  d.by_id = arena_array(arena, (size_t)d.n + 1, sizeof *d.by_id);
  d.reached = arena_array(arena, (size_t)d.n + 1, sizeof *d.reached);
  for (unsigned k = 0; k < g->n_writes; k++) {
    const Write *w = &g->writes[k];
    demand(&d, w->value, is_known(&d, w->when) ? w->when : NULL);
    demand(&d, w->when, NULL);
  }
  demand(&d, g->skip, NULL);
  for (unsigned k = 0; k < g->n_exists; k++) demand(&d, g->exists[k].when, NULL);
  for (unsigned i = d.n; i-- > 0;) if (d.reached[i]) pass_on(&d, g->nodes[i]);
  return d.by_id;
}

/* By id of all nodes that are there now. */
static const Node **extended(const Graph *g, Arena *arena, const Node *const *by_id, unsigned n) {
  const Node **all = arena_array(arena, (size_t)g->n_nodes + 1, sizeof *all);
  for (unsigned i = 0; i < n; i++) all[i] = by_id[i];
  return all;
}

void schedule_demands(Graph *g, Arena *arena, const Node ***work, const Node ***room) {
  unsigned n = g->n_nodes;
  const Node **of_work = find_demands(g, arena, false), **of_room = find_demands(g, arena, true);
  *work = extended(g, arena, of_work, n);
  *room = extended(g, arena, of_room, n);
}
