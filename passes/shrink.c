/* shrink.c: pass `shrink`: what is the same along rows or columns of an item is computed once for each of them. Exact.
 *
 * Before and after: a graph without function nodes. Over the positions of an item, an element operation on values of some axes of a view of it (x[i] where the position
 * is row i) becomes the operation over those axes, read at the same place: sqrt(map x, i) = map (sqrt x), i. That holds where the view exists; where it does not, a map reads 0,
 * and the operation on zeros is selected: select c, (map (sqrt x), i), sqrt(0). */
#include "passes/lower_index.h"
#include "passes/passes.h"

/* select(where, map(x, place), otherwise), or the map alone: otherwise is 0. */
typedef struct Part { const Node *where, *map, *otherwise; } Part;

static bool part_of(Graph *g, const Node *n, Part *p) {
  *p = (Part){.map = n};
  if (n->op == OP_SELECT && n->args[1]->op == OP_MAP && !n->args[2]->space->rank) *p = (Part){n->args[0], n->args[1], n->args[2]};
  const Node *map = p->map;
  if (map->op != OP_MAP || !map->args[0]->space->rank || !graph_is_item_space(g->module, map->space)) return false;
  const Space *s = map->args[0]->space;
  const Node *where = extent_condition(s->extent[0]);
  for (unsigned k = 0; k < s->rank; k++)
    if (extent_condition(s->extent[k]) != where || !index_is_digit(g->module, map->args[k + 1], s->extent[k]) || !extent_divides_item(g->module, s->extent[k])) return false;
  if (p->where ? p->where != where : extents_make_item(g->module, s->extent, s->rank)) return false;       /* all of the item: nothing is the same */
  if (!p->otherwise) p->otherwise = graph_const(g, (Type)n->type, 0);
  p->where = where;
  return true;
}

static int axis_of(const Node *map, const Node *place) {
  for (unsigned k = 1; k < map->n_args; k++) if (map->args[k] == place) return (int)k - 1;
  return -1;
}

/* Over the space of `at`, whose place has all that the place of `map` has; NULL: it has not. */
static const Node *over(Graph *g, const Node *map, const Node *at) {
  const Space *s = at->args[0]->space;
  const Node *args[NEST_RANK + 1] = {map->args[0]};
  bool same = map->n_args == at->n_args;
  for (unsigned k = 1; k < map->n_args; k++) {
    int axis = axis_of(at, map->args[k]);
    if (axis < 0 || map->args[0]->space->extent[k - 1] != s->extent[axis]) return NULL;
    same &= axis == (int)k - 1;
    args[k] = graph_node(g, OP_INDEX, TYPE_I64, s, axis, 0, 0, NULL);
  }
  return same ? map->args[0] : graph_node(g, OP_MAP, (Type)map->type, s, 0, 0, map->n_args, args);
}

static const Node *rule(Graph *g, const Node *n, void *context) {
  if (!op_is_element((Op)n->op) || !n->space->rank || n->n_args > 3) return n;
  Part part[3];
  const Node *inner[3], *outer[3], *most = NULL, *where = NULL;
  for (unsigned k = 0; k < n->n_args; k++) {
    const Node *x = n->args[k];
    part[k] = (Part){.otherwise = x};
    if (x->space->rank && (!part_of(g, x, &part[k]) || (most && part[k].where != where))) return n;
    if (part[k].map && (!most || part[k].map->n_args > most->n_args)) most = part[k].map;
    if (part[k].map) where = part[k].where;
  }
  if (!most || (n->op == OP_SELECT && n->args[0] == where)) return n;
  for (unsigned k = 0; k < n->n_args; k++) {
    inner[k] = part[k].map ? over(g, part[k].map, most) : n->args[k];
    outer[k] = part[k].otherwise;
    if (!inner[k]) return n;
  }
  const Node *args[NEST_RANK + 1] = {graph_element(g, (Op)n->op, (Type)n->type, n->n_args, inner)};
  for (unsigned k = 1; k < most->n_args; k++) args[k] = most->args[k];
  const Node *map = graph_node(g, OP_MAP, (Type)n->type, n->space, 0, 0, most->n_args, args);
  return where ? graph_select(g, where, map, graph_element(g, (Op)n->op, (Type)n->type, n->n_args, outer)) : map;
}

void pass_shrink(Unit *unit, const PassArgs *args) {
  bool maps = false;
  for (unsigned i = 0; i < unit->graph->n_nodes; i++) maps |= unit->graph->nodes[i]->op == OP_MAP;
  if (maps) unit->graph = graph_rewrite(graph_rewrite(unit->graph, rule, NULL), NULL, NULL);
}
