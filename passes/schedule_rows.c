/* schedule_rows.c: values of a tensor that are computed whole, in tiles of rows: each node is one kernel over the positions of its first axes, its free ones where
 * it reduces. What goes along the axis behind them is one loop, in the order of the language. */
#include "passes/schedule.h"

/* The axes whose positions do not need each other; 0: it is not computed row by row. */
static unsigned free_axes(const Node *n) {
  switch ((int)n->op) {
    case OP_REDUCE: return n->space->rank;
    case OP_SOFTMAX: return n->space->rank - (unsigned)n->imm;
    case OP_CUMULATE: return n->space->rank - 1;
    case OP_CONTRACT: case OP_ATTEND: case OP_ORDER: case OP_SCATTER: case OP_EIGVEC: case OP_QR: case OP_RESULT: case OP_CARRY: return 0;
    default: return n->space->rank > 1 ? n->space->rank - 1 : n->space->rank;
  }
}

static bool takes(const Schedule *s, unsigned i, unsigned round) {
  const Node *n = s->graph->nodes[i];
  return s->whole[i] && !s->fold[i] && s->round[i] == round && n->space->rank && free_axes(n) && s->nest.program->n_spaces < OPTC_MAX_SPACES;
}

void schedule_rows(Schedule *s, unsigned round) {
  Nest *l = &s->nest;
  l->folds = true;
  for (unsigned i = 0; i < s->graph->n_nodes; i++) {
    const Node *n = s->graph->nodes[i];
    if (!takes(s, i, round)) continue;
    bool columns = n->op == OP_REDUCE && nest_goes_by_columns(l, n);
    Tiles tiles = {.space = n->op == OP_REDUCE ? n->args[0]->space : n->space, .axes = free_axes(n), .least = columns ? NEST_STRIP : 1, .when = l->work ? l->work[i] : NULL};
    bool *need = nest_begin_tile(l, arena_printf(l->arena, "%s_%u_%u", columns ? "columns" : "rows", round, i), tiles);
    need[i] = true;
    if (l->direct[i]) graph_mark(need, l->direct[i]->when);
    nest_close_need(l, need);
    nest_emit(l, need, -1);
  }
}

/* --- new values of tensors that are not flat -------------------------------------------------------------------------------------------------- */

/* Whether a node, or another write, needs the old value of a tensor or the elements of its new one. */
static bool is_met(const Schedule *s, unsigned write) {
  const Graph *g = s->graph;
  const Write *w = &g->writes[write];
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (n->op == OP_READ && n->imm == w->operand) return true;
    for (unsigned k = 0; k < node_parts(n); k++) if (node_part(n, k) == w->value) return true;
  }
  for (unsigned k = 0; k < g->n_writes; k++) if (k != write && (g->writes[k].operand == w->operand || g->writes[k].value == w->value)) return true;
  return false;
}

void schedule_values(Schedule *s) {
  Nest *l = &s->nest;
  for (unsigned k = 0; k < s->graph->n_writes; k++) {
    const Write *w = &s->graph->writes[k];
    const Operand *o = schedule_target(s, k);
    bool flat = o->item_shape && graph_is_item_space(s->graph->module, w->value->space);
    if (o->scope != SCOPE_TENSOR || flat || !w->value->space->rank || l->carry[w->value->id]) continue;
    if (!l->stored[w->value->id] && !free_axes(w->value)) continue;
    l->stored[w->value->id] = true;
    if (free_axes(w->value) && !is_met(s, k)) l->direct[w->value->id] = w;
  }
}
