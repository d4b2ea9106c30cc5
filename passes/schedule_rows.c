/* schedule_rows.c: values of a tensor that are computed whole, in tiles of rows: kernels over the positions of their first axes, the free ones where
 * they reduce. What goes along the axis behind them is one loop, in the order of the language. */
#include "passes/lower_lanes.h"
#include "passes/schedule.h"

unsigned schedule_row_axes(const Node *n) {
  switch ((int)n->op) {
    case OP_REDUCE: case OP_CONTRACT: case OP_ATTEND: return n->space->rank;
    case OP_SOFTMAX: return n->space->rank - (unsigned)n->imm;
    case OP_CUMULATE: return n->space->rank - 1;
    case OP_ORDER: case OP_SCATTER: case OP_EIGVEC: case OP_QR: case OP_RESULT: case OP_CARRY: return 0;
    default: return n->space->rank > 1 ? n->space->rank - 1 : n->space->rank;
  }
}

static const Space *tile_space(const Node *n) { return n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND ? nest_terms_space(n) : n->space; }

/* Products of matrices have a better way. */
static bool takes(Schedule *s, unsigned i) {
  const Node *n = s->graph->nodes[i];
  unsigned axes = schedule_row_axes(n);
  return s->whole[i] && !s->fold[i] && n->space->rank && axes && nest_knows(&s->nest, tile_space(n), axes) && !s->nest.items.kept[i] && !nest_is_product(&s->nest, n);
}

static bool takes_columns(Schedule *s, const Node *n) { return lanes_take_column(&s->nest, n) && nest_knows(&s->nest, tile_space(n), tile_space(n)->rank); }
static bool by_columns(Schedule *s, const Node *n) { return n->op == OP_REDUCE && nest_goes_by_columns(&s->nest, n) && nest_knows(&s->nest, tile_space(n), tile_space(n)->rank); }

/* --- kernels of several nodes ------------------------------------------------------------------------------------------------------------------- */

/* Nodes whose rows are the same positions go together, tile by tile, where each needs of the others its own row alone: then it is in cache. */
typedef struct Group { Schedule *schedule; unsigned round; const Space *space; unsigned axes; bool *member; } Group;

static bool has_rows(const Group *g, const Space *s) {
  for (unsigned a = 0; a < g->axes; a++) if (a >= s->rank || s->extent[a] != g->space->extent[a]) return false;
  return true;
}

/* A map's place begins with the row at hand. */
static bool is_own_row(const Group *g, const Node *map) {
  for (unsigned a = 0; a < g->axes; a++) {
    const Node *x = a + 1 < map->n_args ? map->args[a + 1] : map;
    if (x->op != OP_INDEX || x->imm != a || x->space != map->space) return false;
  }
  return has_rows(g, map->space) && has_rows(g, map->args[0]->space);
}

/* Whether all that a node is made of is there when the group runs, or made in it for the same row. */
static bool is_at_hand(const Group *g, const Node *root) {
  const Schedule *s = g->schedule;
  const Nest *l = &s->nest;
  bool *need = arena_array(l->arena, root->id + 1, sizeof *need);
  need[root->id] = true;
  for (unsigned i = root->id + 1; i-- > 0;) {
    const Node *n = s->graph->nodes[i];
    bool kept = l->items.kept[i] && (s->whole[i] || s->fold[i]);
    if (!need[i] || kept || (l->plan.slot[i] >= 0 && s->ready[i] <= g->round)) continue;
    bool there = n == root || !(s->whole[i] || s->fold[i] || l->plan.slot[i] >= 0);
    if (!there && !(g->member[i] && n->space->rank)) return false;
    if (!there) continue;
    for (unsigned k = 0; k < node_parts(n); k++) {
      const Node *x = node_part(n, k);
      if (g->member[x->id] && !has_rows(g, n->op == OP_MAP ? x->space : n == root ? tile_space(n) : n->space)) return false;
      if (g->member[x->id] && n->op == OP_MAP && !is_own_row(g, n)) return false;
      need[x->id] = true;
    }
  }
  return true;
}

static void emit_group(Group *g, const Node *first) {
  Schedule *s = g->schedule;
  Nest *l = &s->nest;
  const Space *widest = g->space;
  g->member[first->id] = true;
  for (unsigned i = first->id + 1; i < s->graph->n_nodes; i++) {
    const Node *n = s->graph->nodes[i];
    if (!takes(s, i) || schedule_row_axes(n) != g->axes || !has_rows(g, tile_space(n)) || nest_demand(l, n) != nest_demand(l, first) || by_columns(s, n) || !is_at_hand(g, n)) continue;
    g->member[i] = true;
    if (tile_space(n)->rank > widest->rank) widest = tile_space(n);
  }
  bool *need = nest_begin_tile(l, arena_printf(l->arena, "rows_%u_%u", g->round, first->id), (Tiles){.space = widest, .axes = g->axes, .least = 1, .when = nest_demand(l, first)});
  for (unsigned i = 0; i < s->graph->n_nodes; i++) {
    if (!g->member[i]) continue;
    need[i] = true;
    if (l->plan.direct[i]) graph_mark(need, l->plan.direct[i]->when);
  }
  nest_close_need(l, need);
  nest_emit(l, need, -1);
}

/* --- columns ---------------------------------------------------------------------------------------------------------------------------------------- */

/* A kernel of tiles, with the numbers that these reductions need; where `whole`, the reductions too. */
static void emit_tiles(Schedule *s, const char *name, unsigned round, Tiles tiles, const Node *const *nodes, unsigned n, bool whole) {
  Nest *l = &s->nest;
  bool *need = nest_begin_tile(l, arena_printf(l->arena, "%s_%u_%u", name, round, nodes[0]->id), tiles);
  for (unsigned k = 0; k < n; k++) {
    const Write *direct = l->plan.direct[nodes[k]->id];
    graph_mark(need, whole ? nodes[k] : nodes[k]->args[0]);
    if (direct) graph_mark(need, direct->when);
  }
  nest_close_need(l, need);
  nest_emit(l, need, -1);
}

static bool is_ready(Schedule *s, unsigned i, unsigned round) { return takes(s, i) && s->round[i] == round; }

static Lanes find_lanes(Schedule *s, const Node *first, unsigned round) {
  Nest *l = &s->nest;
  Lanes t = {.column = nest_by_node(l, sizeof *t.column), .buffer = nest_by_node(l, sizeof *t.buffer)};
  for (int rows = 0; rows < 2; rows++) {
    t.row = t.column + t.n_columns;
    for (unsigned i = 0; i < s->graph->n_nodes; i++) {
      const Node *n = s->graph->nodes[i];
      if (!is_ready(s, i, round) || nest_demand(l, n) != nest_demand(l, first)) continue;
      if (rows && lanes_take_row(first, n)) t.row[t.n_rows++] = n;
      if (!rows && tile_space(n) == tile_space(first) && takes_columns(s, n)) t.column[t.n_columns++] = n;
    }
  }
  return t;
}

/* Reductions by columns, and those by rows of the same elements. Where there are few rows: each in its own kernel. */
static void emit_columns(Schedule *s, const Node *first, unsigned round) {
  Nest *l = &s->nest;
  Lanes lanes = find_lanes(s, first, round), *t = &lanes;
  const Node *demand = nest_demand(l, first), *rows = tile_space(first)->extent[schedule_row_axes(first)];
  Tiles by_column = {.space = tile_space(first), .axes = schedule_row_axes(first), .least = NEST_STRIP, .when = demand, .reach = {rows, 0, LANES_LEAST_ROWS}};
  if (t->n_rows) emit_tiles(s, "rows", round, (Tiles){.space = tile_space(t->row[0]), .axes = schedule_row_axes(first), .least = 1, .when = demand, .reach = by_column.reach}, t->row, t->n_rows, true);
  for (unsigned k = 0; k < t->n_columns; k++) emit_tiles(s, "columns", round, by_column, &t->column[k], 1, true);
  by_column.reach = (Reach){rows, LANES_LEAST_ROWS, INT64_MAX};
  for (unsigned k = 0; k < t->n_columns; k++)
    t->buffer[k] = nest_temp(l, "lanes", (Type)t->column[k]->type, (Wanted){.room = lanes_blocks(first), .fixed = LANES_COUNT, .operand = -1, .when = l->plan.room ? l->plan.room[first->id] : NULL, .reach = by_column.reach});
  emit_tiles(s, "lanes", round, (Tiles){.room = lanes_room(first), .when = demand, .reach = by_column.reach}, t->column, t->n_columns + t->n_rows, false);
  nest_fold_lanes(l, t);
  for (unsigned k = 0; k < t->n_columns; k++) {
    emit_tiles(s, "joined", round, by_column, &t->column[k], 1, false);
    nest_fold_columns(l, t->column[k], 1 + t->buffer[k]);
  }
}

void schedule_rows(Schedule *s, unsigned round) {
  Nest *l = &s->nest;
  l->plan.folds = true;
  for (unsigned i = 0; i < s->graph->n_nodes; i++)
    if (is_ready(s, i, round) && takes_columns(s, s->graph->nodes[i]) && l->program->n_spaces + 4 <= OPTC_MAX_SPACES) emit_columns(s, s->graph->nodes[i], round);
  for (unsigned i = 0; i < s->graph->n_nodes; i++) {
    const Node *n = s->graph->nodes[i];
    if (is_ready(s, i, round) && l->program->n_spaces < OPTC_MAX_SPACES) emit_group(&(Group){s, round, tile_space(n), schedule_row_axes(n), nest_by_node(l, sizeof(bool))}, n);
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

/* A product that a tensor can hold while it is summed up. */
static bool is_new_product(Schedule *s, unsigned write) {
  const Write *w = &s->graph->writes[write];
  const Operand *o = schedule_target(s, write);
  return !w->when && o->storage == (Type)w->value->type && !o->flush && nest_is_product(&s->nest, w->value);
}

void schedule_values(Schedule *s) {
  Nest *l = &s->nest;
  for (unsigned k = 0; k < s->graph->n_writes; k++) {
    const Write *w = &s->graph->writes[k];
    const Operand *o = schedule_target(s, k);
    bool flat = o->item_shape && graph_is_item_space(s->graph->module, w->value->space);
    if (o->scope != SCOPE_TENSOR || flat || !w->value->space->rank || l->plan.carry[w->value->id]) continue;
    if (!l->plan.stored[w->value->id] && !schedule_row_axes(w->value)) continue;
    l->plan.stored[w->value->id] = true;
    if ((nest_is_product(l, w->value) ? is_new_product(s, k) : schedule_row_axes(w->value) != 0) && !is_met(s, k)) l->plan.direct[w->value->id] = w;
  }
}
