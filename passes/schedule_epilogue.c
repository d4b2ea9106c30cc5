/* schedule_epilogue.c: which values are made with the product that they are made of (lower_product.c), which saves a sweep over memory. */
#include "passes/schedule.h"

/* Whether all that a node needs beside the product is there, or is computed where it is used. */
static bool is_at_hand(const Schedule *s, const Node *root, const Node *product) {
  const NestPlan *plan = &s->nest.plan;
  bool *need = nest_by_node(&s->nest, sizeof *need);
  need[root->id] = true;
  for (unsigned i = root->id + 1; i-- > 0;) {
    const Node *n = s->graph->nodes[i];
    bool there = n == product || s->nest.items.kept[i] || plan->source[i] || (plan->slot[i] >= 0 && s->ready[i] <= s->now);
    if (!need[i] || there) continue;
    if (plan->slot[i] >= 0 || (n != root && (s->whole[i] || s->fold[i] || plan->stored[i]))) return false;
    for (unsigned k = 0; k < node_parts(n); k++) need[node_part(n, k)->id] = true;
  }
  return true;
}

const Node *schedule_epilogue(const Schedule *s, const Node *product, const bool *sink) {
  const Graph *g = s->graph;
  const Node *end = NULL;
  const bool *live = graph_reachable(g, s->nest.arena);
  bool *of = nest_by_node(&s->nest, sizeof *of);                           /* computed where it is used, of the product */
  if (product->op != OP_CONTRACT) return NULL;
  of[product->id] = true;
  for (unsigned i = product->id + 1; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    bool uses = false;
    if (!live[i]) continue;
    for (unsigned k = 0; k < node_parts(n); k++) uses |= of[node_part(n, k)->id];
    if (!uses) continue;
    if (!op_is_element((Op)n->op) || n->space != product->space || (sink[i] && end)) return NULL;
    if (sink[i]) end = n;
    else of[i] = true;
  }
  for (unsigned k = 0; k < g->n_writes; k++) if (of[g->writes[k].value->id]) return NULL;
  return end && nest_demand(&s->nest, end) == nest_demand(&s->nest, product) && is_at_hand(s, end, product) ? end : NULL;
}
