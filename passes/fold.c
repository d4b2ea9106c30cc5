/* fold.c: pass `fold`: operations on constants are done now, by element_eval, the one meaning of every operation; a selection by
 * a constant is its operand; a short scan of constants is run. Exact: folding does what run time would, bit for bit. */
#include "passes/passes.h"

enum { TRIPS = 256 };                    /* longest scan that is run here */

static bool all_const(const Node *n) {
  for (unsigned i = 0; i < n->n_args; i++) if (n->args[i]->op != OP_CONST) return false;
  return n->n_args > 0;
}

static Bits evaluate(const Node *n, const Bits *x) {
  return element_eval((Element)n->op, (Type)n->type, (Type)n->args[n->n_args - 1]->type, x);
}

/* A constant, or one rounded to a storage type: that has no constants of its own. */
static bool known(const Node *n, Bits *x) {
  if (n->op == OP_CONST) { *x = (Bits)n->imm; return true; }
  if (n->op != OP_CAST || type_arithmetic((Type)n->type) == n->type || n->args[0]->op != OP_CONST) return false;
  Bits from = (Bits)n->args[0]->imm;
  *x = evaluate(n, &from);
  return true;
}

/* --- scans ------------------------------------------------------------------------------------------------------------------------ */

typedef struct Trip {
  int depth;
  int64_t index;
  const Bits *carried;
  unsigned *stamp, now;                  /* value[id] belongs to this trip where stamp[id] == now */
  Bits *value;
} Trip;

/* The value of a node of the region in this trip; false where it is not made of constants and carried values by element operations. */
static bool region_value(Trip *t, const Node *n, Bits *out) {
  if (n->op == OP_CONST) { *out = (Bits)n->imm; return true; }
  if (n->op == OP_CARRY && (n->aux & 255) == t->depth) { *out = n->imm < 0 ? (Bits)t->index : t->carried[n->imm]; return true; }
  if (!op_is_element((Op)n->op)) return false;
  if (t->stamp[n->id] != t->now) {
    Bits x[3];
    for (unsigned i = 0; i < n->n_args; i++) if (!region_value(t, n->args[i], &x[i])) return false;
    t->value[n->id] = evaluate(n, x);
    t->stamp[n->id] = t->now;
  }
  *out = t->value[n->id];
  return true;
}

static const Node *fold_scan(Graph *g, const Node *result) {
  const Node *scan = result->args[0];
  unsigned n = scan->region->n_results;
  if (!all_const(scan) || scan->args[0]->imm > TRIPS) return result;
  int64_t trips = scan->args[0]->imm;
  Bits *now = arena_array(g->arena, n, sizeof *now), *next = arena_array(g->arena, n, sizeof *next);
  for (unsigned i = 0; i < n; i++) now[i] = (Bits)scan->args[i + 1]->imm;
  Trip t = {.depth = (int)scan->imm, .stamp = arena_array(g->arena, g->n_nodes, sizeof *t.stamp), .value = arena_array(g->arena, g->n_nodes, sizeof *t.value)};
  for (int64_t k = 0; k < trips; k++) {
    t.index = scan->aux & 1 ? trips - 1 - k : k;
    t.carried = now;
    t.now++;
    for (unsigned i = 0; i < n; i++) if (!region_value(&t, scan->region->results[i], &next[i])) return result;
    Bits *old = now;
    now = next;
    next = old;
  }
  return graph_const(g, (Type)result->type, now[result->imm]);
}

/* --- the pass ----------------------------------------------------------------------------------------------------------------------- */

static const Node *fold_node(Graph *g, const Node *n, void *context) {
  if (n->op == OP_RESULT) return fold_scan(g, n);
  if (!op_is_element((Op)n->op)) return n;
  Bits x[3];
  unsigned k = 0;
  while (k < n->n_args && known(n->args[k], &x[k])) k++;
  if (k && k == n->n_args && type_arithmetic((Type)n->type) == n->type) return graph_const(g, (Type)n->type, evaluate(n, x));
  if (n->op == OP_SELECT && n->args[0]->op == OP_CONST) {
    const Node *chosen = n->args[n->args[0]->imm ? 1 : 2];
    if (chosen->space == n->space) return chosen;          /* a scalar that was spread over a tensor stays an operand */
  }
  return n;
}

void pass_fold(Unit *unit, const PassArgs *args) { unit->graph = graph_rewrite(unit->graph, fold_node, NULL); }
