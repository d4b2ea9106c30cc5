/* gradient.c: entry `backward`: reverse accumulation on the forward graph (language reference, section 6).
 *
 * The forward graph is copied; a sweep goes over it from its outputs back and gives each node's adjoint to its arguments, so the new graph is some
 * times as large as the old one. Contractions keep their factors over the axes that these depend on, as values of their own, so that a factor's
 * adjoint is a contraction too. At the end saved outputs are read in place of their values.
 *
 * A scan becomes two: one forward that also keeps, trip by trip, the carried values that the other needs; one in the opposite order that carries
 * their adjoints and those of all values from outside. Exact: the same operations as the tape of the text. */
#include <string.h>
#include "passes/gradient.h"

/* --- what stands where ------------------------------------------------------------------------------------------------------------------------- */

static bool is_float(const Node *n) { return type_kind((Type)n->type) == KIND_FLOAT; }
static const Node *zero_over(Gradient *G, Type type, const Space *s) { return gradient_spread(G, graph_const(G->g, type, 0), s); }

/* Levels of carried numbers: no higher one is needed where items are the only ones. */
static int32_t carry_aux(int64_t depth, const Space *s) { return (int32_t)(depth | (s->rank ? LEVEL_ELEMENT : LEVEL_ITEM) << 8); }
static const Node *carry(Gradient *G, int64_t depth, int64_t which, Type type, const Space *s) {
  return graph_node(G->g, OP_CARRY, type, s, which, carry_aux(depth, s), 0, NULL);
}

bool gradient_wants(const Gradient *G, const Node *n) { return n->id < G->n_forward && G->sweep->active[n->id]; }

void gradient_refuse(Gradient *G, const Node *n, const char *what) {
  diag_error(G->diag, n->where, "there is no derivative of %s", what);
}

/* --- shares ------------------------------------------------------------------------------------------------------------------------------------- */

static void pend(Gradient *G, const Node *to, Share share) {
  if (!gradient_wants(G, to)) return;
  Share *s = arena_alloc(G->arena, sizeof *s);
  *s = share;
  G->pending = arena_grow(G->arena, G->pending, &G->pending_capacity, G->n_pending + 1, sizeof *G->pending);
  G->pending[G->n_pending++] = (Pending){to, s};
}

/* A number that is made of all items gets a share from each of them, which are added. */
void gradient_give(Gradient *G, const Node *to, const Node *share) {
  bool each = to->id < G->n_forward && G->over_items[to->id] && G->sweep->depth < 0 && !graph_is_global(G->g, share);
  if (each) {
    const Node *wide = graph_cast(G->g, TYPE_F64, share);
    share = graph_cast(G->g, (Type)share->type, graph_node(G->g, OP_TOTAL, TYPE_F64, graph_scalar_space(G->g), 0, REDUCE_SUM, 1, &wide));
  }
  pend(G, to, (Share){.value = share});
}

void gradient_scatter(Gradient *G, const Node *to, const Node *share, unsigned n, const Node *const *index) {
  const Node **own = arena_array(G->arena, n + 1, sizeof *own);
  memcpy(own, index, n*sizeof *own);
  pend(G, to, (Share){.value = share, .index = own, .n_index = n, .scattered = true});
}

/* Users are met from the last to the first: what one gives goes before the rest, in its own order. */
static void settle(Gradient *G) {
  while (G->n_pending) {
    Pending *p = &G->pending[--G->n_pending];
    p->share->next = G->sweep->share[p->to->id];
    G->sweep->share[p->to->id] = p->share;
  }
}

/* acc + all shares, in order. NULL: 0. */
static const Node *add_up(Gradient *G, const Node *n, const Node *acc) {
  for (const Share *s = G->sweep->share[n->id]; s; s = s->next) {
    if (!s->scattered) { acc = acc ? graph_op2(G->g, OP_ADD, acc, s->value) : s->value; continue; }
    const Node *args[GRADIENT_AXES + 2] = {acc ? gradient_spread(G, acc, n->space) : zero_over(G, (Type)n->type, n->space), s->value};
    for (unsigned k = 0; k < s->n_index; k++) args[k + 2] = s->index[k];
    acc = graph_node(G->g, OP_SCATTER, (Type)n->type, n->space, 0, 1, s->n_index + 2, args);
  }
  return acc;
}

/* --- which values matter --------------------------------------------------------------------------------------------------------------------------- */

static void activate(Gradient *G, int depth, unsigned end, bool *active, const bool *carried, unsigned n_carried);

/* Which carried values of a scan depend on what the gradient is taken for: until nothing is added. */
static void activate_scan(Gradient *G, const Node *scan, const bool *outside) {
  unsigned n = scan->region->n_results;
  bool *carried = G->carried[scan->id], changed = true;
  if (!carried) carried = G->carried[scan->id] = arena_array(G->arena, n + 1, sizeof *carried);
  for (unsigned k = 0; k < n; k++) carried[k] = is_float(scan->args[k + 1]) && outside[scan->args[k + 1]->id];
  bool *inside = arena_array(G->arena, G->n_forward + 1, sizeof *inside);
  while (changed) {
    changed = false;
    memcpy(inside, outside, G->n_forward*sizeof *inside);
    activate(G, (int)scan->imm, scan->id, inside, carried, n);
    for (unsigned k = 0; k < n; k++) {
      if (carried[k] || !is_float(scan->args[k + 1]) || !inside[scan->region->results[k]->id]) continue;
      carried[k] = changed = true;
    }
  }
}

static bool is_active(Gradient *G, const Node *n, const bool *active, const bool *carried, unsigned n_carried, int depth) {
  if (!is_float(n)) return false;
  switch ((int)n->op) {
    case OP_HYPER: return G->hyper[n->imm];
    case OP_SCALAR: case OP_READ: return G->leaf[n->imm] != NULL;
    case OP_CARRY: return (n->aux & 255) == depth && n->imm >= 0 && n->imm < n_carried && carried[n->imm];
    case OP_RESULT: return G->carried[n->args[0]->id] && G->carried[n->args[0]->id][n->imm];
    default: break;
  }
  if (gradient_is_constant((Op)n->op)) return false;
  for (unsigned k = 0; k < n->n_args; k++) if (active[n->args[k]->id]) return true;
  return false;
}

static void activate(Gradient *G, int depth, unsigned end, bool *active, const bool *carried, unsigned n_carried) {
  for (unsigned i = 0; i < end; i++) {
    const Node *n = G->g->nodes[i];
    if (carries_depth(G->carries[i]) != depth) continue;
    if (n->op == OP_SCAN) activate_scan(G, n, active);
    else active[i] = is_active(G, n, active, carried, n_carried, depth);
  }
}

/* --- the sweep ---------------------------------------------------------------------------------------------------------------------------------- */

static void of_scan(Gradient *G, const Node *scan);

static void sweep(Gradient *G, unsigned end) {
  Sweep *s = G->sweep;
  for (unsigned i = end; i-- > 0;) {
    const Node *n = G->g->nodes[i];
    if (carries_depth(G->carries[i]) != s->depth) continue;
    graph_at(G->g, n->where);
    if (n->op == OP_SCAN) { of_scan(G, n); settle(G); continue; }
    if (n->op == OP_RESULT || n->op == OP_CARRY || n->op == OP_HYPER || n->op == OP_SCALAR) continue;
    if (!s->share[i] || (n->op == OP_READ && n == G->leaf[n->imm])) continue;
    gradient_of(G, n, add_up(G, n, NULL));
    settle(G);
  }
}

/* --- other nodes in place of some ------------------------------------------------------------------------------------------------------------------- */

typedef struct Replace {
  Gradient *G;
  const Node **now; bool *done; unsigned n;              /* memo by id */
  int64_t depth; unsigned n_carried;                     /* -1: no scan */
  const Node *const *history;                            /* by carried value: all its values, or NULL */
} Replace;

static Replace replace_new(Gradient *G, int64_t depth, unsigned n_carried, const Node *const *history) {
  unsigned n = G->g->n_nodes;
  return (Replace){G, arena_array(G->arena, n + 1, sizeof(const Node *)), arena_array(G->arena, n + 1, sizeof(bool)), n, depth, n_carried, history};
}

static const Node *replace(Replace *r, const Node *n);

/* A carried value before the trip that its adjoint is computed for; the adjoints that the new scan carries. */
static const Node *replace_carry(Replace *r, const Node *n) {
  Gradient *G = r->G;
  const Node *index[GRADIENT_AXES];
  if (r->depth < 0 || (n->aux & 255) != r->depth || n->imm < 0) return n;
  if (n->imm >= r->n_carried) return carry(G, r->depth, n->imm - r->n_carried, (Type)n->type, n->space);
  const Node *all = r->history[n->imm];
  if (!all) return n;
  index[0] = carry(G, r->depth, -1, TYPE_I64, graph_scalar_space(G->g));
  for (unsigned k = 0; k < n->space->rank; k++) index[k + 1] = gradient_index(G, n->space, k);
  return gradient_at(G, all, n->space, n->space->rank + 1, index);
}

static const Node *replace_parts(Replace *r, const Node *n) {
  Gradient *G = r->G;
  const Node *extent[GRADIENT_AXES + 1];
  const Node **args = arena_array(G->arena, n->n_args + 1, sizeof *args);
  bool same = true;
  for (unsigned k = 0; k < n->space->rank; k++) { extent[k] = replace(r, n->space->extent[k]); same &= extent[k] == n->space->extent[k]; }
  for (unsigned k = 0; k < n->n_args; k++) { args[k] = replace(r, n->args[k]); same &= args[k] == n->args[k]; }
  Region region = {0, NULL};
  if (n->region) {
    region = (Region){n->region->n_results, arena_array(G->arena, n->region->n_results + 1, sizeof *region.results)};
    for (unsigned k = 0; k < region.n_results; k++) { region.results[k] = replace(r, n->region->results[k]); same &= region.results[k] == n->region->results[k]; }
  }
  if (same) return n;
  const Space *space = graph_space(G->g, n->space->rank, extent);
  graph_at(G->g, n->where);
  return graph_region_node(G->g, (Op)n->op, (Type)n->type, space, n->imm, n->aux, n->n_args, args, n->region ? &region : NULL);
}

/* Another scan at the depth, whose results the body reads: nothing of it depends on what ours carries, and its carried values go by the same numbers. */
static bool is_apart(const Node *n, int64_t depth) { return n->op == OP_SCAN && n->imm == depth; }

static const Node *replace(Replace *r, const Node *n) {
  if (n->id >= r->n || is_apart(n, r->depth)) return n;
  if (r->done[n->id]) return r->now[n->id];
  /* Inside scans only where a new body is made: the old one goes on without what is kept for it. */
  bool here = n->id < r->G->n_forward && (r->depth >= 0 || !r->G->carries[n->id]);
  const Node *other = here ? r->G->instead[n->id] : NULL;
  const Node *now = other ? replace(r, other) : n->op == OP_CARRY ? replace_carry(r, n) : replace_parts(r, n);
  r->done[n->id] = true;
  return r->now[n->id] = now;
}

/* --- scans -------------------------------------------------------------------------------------------------------------------------------------- */

/* Marks the carried values of the scan that a new value needs. */
static void find_needed(Gradient *G, const Node *n, bool *seen, int64_t depth, unsigned n_carried, bool *needed) {
  if (seen[n->id] || is_apart(n, depth)) return;
  seen[n->id] = true;
  if (n->op == OP_CARRY && (n->aux & 255) == depth && n->imm >= 0 && n->imm < n_carried) needed[n->imm] = true;
  if (n->id < G->n_forward && G->instead[n->id]) find_needed(G, G->instead[n->id], seen, depth, n_carried, needed);
  if (n->id < G->n_forward && carries_depth(G->carries[n->id]) < depth) return;
  for (unsigned k = 0; k < node_parts(n); k++) find_needed(G, node_part(n, k), seen, depth, n_carried, needed);
}

/* Room for what is kept is made before tensors are read and before any loop runs. */
static bool trips_are_known(Gradient *G, const Node *trips) {
  const bool *needs = graph_needs(G->g, trips, G->arena);
  for (unsigned i = 0; i <= trips->id; i++) {
    const Node *n = G->g->nodes[i];
    bool later = n->space->rank || n->op == OP_READ || n->op == OP_MAP || n->op == OP_TOTAL || n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND || n->op == OP_CARRY || n->op == OP_RESULT;
    if (needs[i] && later) return false;
  }
  return true;
}

static void refuse_trips(Gradient *G, const Node *scan) {
  Range all = scan->where, trips = scan->args[0]->where;
  bool inside = trips.source && trips.source == all.source && trips.begin >= all.begin && trips.end <= all.end;        /* the first place of the number may be another */
  diag_error(G->diag, inside ? trips : all, "'backward' keeps what this scan carries, trip by trip, in room that is made before tensors are read: "
    "the number of trips may not depend on their elements, nor on a loop around it; scan to the largest number, 'scan k < N', and keep the rest by where(k < n, new, old)");
}

/* The scan itself, which also keeps the needed values as they are before each trip: history[k] over [trips, axes of the value]. */
static bool keep_values(Gradient *G, const Node *scan, const bool *needed, const Node **history) {
  Graph *g = G->g;
  unsigned n = scan->region->n_results, all = n;
  const Node **args = arena_array(G->arena, 2*n + 1, sizeof *args), **results = arena_array(G->arena, 2*n + 1, sizeof *results);
  memcpy(args, scan->args, (n + 1)*sizeof *args);
  memcpy(results, scan->region->results, n*sizeof *results);
  for (unsigned k = 0; k < n; k++) {
    if (!needed[k]) continue;
    const Node *first = scan->args[k + 1], *extent[GRADIENT_AXES + 1] = {scan->args[0]}, *put[GRADIENT_AXES + 3];
    const Space *s = first->space;
    if (s->rank >= GRADIENT_AXES) { gradient_refuse(G, scan, "a scan that carries 8 axes"); return false; }
    if (all == n && !trips_are_known(G, scan->args[0])) { refuse_trips(G, scan); return false; }
    for (unsigned a = 0; a < s->rank; a++) extent[a + 1] = s->extent[a];
    const Space *whole = graph_space(g, s->rank + 1, extent);
    put[0] = carry(G, scan->imm, all, (Type)first->type, whole);
    put[1] = carry(G, scan->imm, k, (Type)first->type, s);
    put[2] = carry(G, scan->imm, -1, TYPE_I64, graph_scalar_space(g));
    for (unsigned a = 0; a < s->rank; a++) put[a + 3] = gradient_index(G, s, a);
    args[all + 1] = zero_over(G, (Type)first->type, whole);
    results[all++] = graph_node(g, OP_SCATTER, (Type)first->type, whole, 0, 0, s->rank + 3, put);
  }
  if (all == n) return true;
  const Node *both = graph_region_node(g, OP_SCAN, TYPE_BOOL, graph_scalar_space(g), scan->imm, scan->aux, all + 1, args, &(Region){all, results});
  for (unsigned k = 0, next = n; k < n; k++)
    if (needed[k]) { history[k] = graph_node(g, OP_RESULT, (Type)args[next + 1]->type, args[next + 1]->space, next, 0, 1, &both); next++; }
  for (unsigned i = scan->id + 1; i < G->n_forward; i++) {                /* one scan gives both */
    const Node *x = g->nodes[i];
    if (x->op == OP_RESULT && x->args[0] == scan) G->instead[i] = graph_node(g, OP_RESULT, (Type)x->type, x->space, x->imm, 0, 1, &both);
  }
  return true;
}

static void of_scan(Gradient *G, const Node *scan) {
  Graph *g = G->g;
  const bool *active = G->carried[scan->id];
  unsigned n = scan->region->n_results, n_back = 0;
  int64_t depth = scan->imm;
  Sweep *outer = G->sweep, body = {.depth = (int)depth};
  const Node **first = arena_array(G->arena, n + 1, sizeof *first);        /* adjoints behind the last trip */
  bool any = false;
  for (unsigned k = 0; k < n; k++) {
    if (!active[k]) continue;
    const Node *x = scan->args[k + 1], *result = graph_node(g, OP_RESULT, (Type)x->type, x->space, k, 0, 1, &scan);
    if (result->id < G->n_forward) first[k] = add_up(G, result, NULL);
    any |= first[k] != NULL;
  }
  if (!any) return;

  unsigned *place = arena_array(G->arena, n + 1, sizeof *place);
  for (unsigned k = 0; k < n; k++) if (active[k]) place[k] = n_back++;
  body.active = arena_array(G->arena, G->n_forward + 1, sizeof *body.active);
  body.share = arena_array(G->arena, G->n_forward + 1, sizeof *body.share);
  memcpy(body.active, outer->active, G->n_forward*sizeof *body.active);
  activate(G, (int)depth, scan->id, body.active, active, n);
  G->sweep = &body;
  for (unsigned k = 0; k < n; k++)
    if (active[k]) gradient_give(G, scan->region->results[k], carry(G, depth, n + place[k], (Type)scan->args[k + 1]->type, scan->args[k + 1]->space));
  settle(G);
  sweep(G, scan->id);

  /* What the new scan carries: the adjoints of the carried values, then those of values from outside. Until their bodies are put together its values have
   * the numbers behind those of the old one. */
  size_t capacity = 0, result_capacity = 0, target_capacity = 0;
  const Node **args = arena_grow(G->arena, NULL, &capacity, n_back + 1, sizeof *args);
  const Node **results = arena_grow(G->arena, NULL, &result_capacity, n_back + 1, sizeof *results);
  const Node **target = arena_grow(G->arena, NULL, &target_capacity, n_back + 1, sizeof *target);
  args[0] = scan->args[0];
  for (unsigned k = 0; k < n; k++) {
    if (!active[k]) continue;
    const Node *x = scan->args[k + 1], *own = carry(G, depth, k, (Type)x->type, x->space);
    const Node *back = own->id < G->n_forward ? add_up(G, own, NULL) : NULL, *none = zero_over(G, (Type)x->type, x->space);
    args[place[k] + 1] = first[k] ? gradient_spread(G, first[k], x->space) : none;
    results[place[k]] = back ? gradient_spread(G, back, x->space) : none;
    target[place[k]] = x;
  }
  unsigned n_out = n_back;
  for (unsigned i = 0; i < scan->id; i++) {
    if (!body.share[i] || carries_depth(G->carries[i]) >= depth) continue;
    const Node *x = g->nodes[i];
    args = arena_grow(G->arena, args, &capacity, n_out + 2, sizeof *args);
    results = arena_grow(G->arena, results, &result_capacity, n_out + 1, sizeof *results);
    target = arena_grow(G->arena, target, &target_capacity, n_out + 1, sizeof *target);
    args[n_out + 1] = zero_over(G, (Type)x->type, x->space);
    results[n_out] = gradient_spread(G, add_up(G, x, carry(G, depth, n + n_out, (Type)x->type, x->space)), x->space);
    target[n_out++] = x;
  }

  bool *needed = arena_array(G->arena, n + 1, sizeof *needed), *seen = arena_array(G->arena, g->n_nodes + 1, sizeof *seen);
  const Node **history = arena_array(G->arena, n + 1, sizeof *history);
  for (unsigned k = 0; k < n_out; k++) find_needed(G, results[k], seen, depth, n, needed);
  G->sweep = outer;
  if (!keep_values(G, scan, needed, history)) return;
  Replace r = replace_new(G, depth, n, history);
  for (unsigned k = 0; k < n_out; k++) results[k] = replace(&r, results[k]);
  const Node *back = graph_region_node(g, OP_SCAN, TYPE_BOOL, graph_scalar_space(g), depth, !scan->aux, n_out + 1, args, &(Region){n_out, results});
  for (unsigned k = 0; k < n_out; k++) gradient_give(G, target[k], graph_node(g, OP_RESULT, (Type)target[k]->type, target[k]->space, k, 0, 1, &back));
}

/* --- the forward graph ------------------------------------------------------------------------------------------------------------------------------ */

/* An extent of an operand's shape, in this graph. */
static const Node *extent_here(Graph *g, const Node *n) {
  const Node *args[4] = {0};
  for (unsigned k = 0; k < n->n_args && k < 4; k++) args[k] = extent_here(g, n->args[k]);
  return graph_node(g, (Op)n->op, (Type)n->type, graph_scalar_space(g), n->imm, n->aux, n->n_args, args);
}

static const Space *operand_space(Gradient *G, unsigned operand) {
  const Space *shape = G->module->operands[operand].shape;
  const Node *extent[GRADIENT_AXES];
  if (!shape || shape->rank > GRADIENT_AXES) return graph_scalar_space(G->g);
  for (unsigned k = 0; k < shape->rank; k++) extent[k] = extent_here(G->g, shape->extent[k]);
  return graph_space(G->g, shape->rank, extent);
}

static const Node *operand_value(Gradient *G, unsigned operand, const Space *s) {
  const Operand *o = &G->module->operands[operand];
  if (!operand_is_tensor(o)) return graph_node(G->g, OP_SCALAR, type_arithmetic(o->storage), graph_scalar_space(G->g), operand, 0, 0, NULL);
  return graph_node(G->g, OP_READ, type_arithmetic(o->storage), s, operand, 0, 0, NULL);
}

/* The axes of what is read at indices of its own, in order of memory: so its gradient is computed in that order. 0: it is not that. */
static unsigned axes_in_memory(const Node *n, unsigned *axis) {
  while (n->op == OP_CAST) n = n->args[0];
  unsigned first = n->op == OP_MAP, count = n->n_args - first, seen = 0;
  if (n->op != OP_MAP && (n->op != OP_READ || n->aux == 1)) return 0;
  for (unsigned k = 0; k < count; k++) {
    const Node *x = n->args[first + k];
    if (x->op != OP_INDEX || seen >> x->imm & 1) return 0;
    seen |= 1u << x->imm;
    axis[k] = (unsigned)x->imm;
  }
  return count;
}

/* A factor by the axes that it depends on; the scores of a softmax keep those that the sum runs over. */
static Projected project(Gradient *G, const Node *n, unsigned keep) {
  Projected p = {n, 0, {0}};
  if (!n->space->rank) return p;
  unsigned mask = gradient_axes(G, n), rank = n->space->rank, in_memory = keep ? 0 : axes_in_memory(n, p.axis);
  if (in_memory && in_memory < rank) p.n = in_memory;
  else for (unsigned k = 0; k < rank; k++) if (mask >> k & 1 || k + keep >= rank) p.axis[p.n++] = k;
  p.node = p.n == rank ? n : gradient_spread(G, gradient_project(G, n, p.n, p.axis), gradient_space(G, n->space, p.n, p.axis));
  return p;
}

/* The factor over all axes again: computed once, however many sums it stands in. */
static const Node *unproject(Gradient *G, const Projected *p, const Node *n) {
  const Node *index[GRADIENT_AXES];
  if (p->node == n) return n;
  for (unsigned k = 0; k < p->n; k++) index[k] = gradient_index(G, n->space, p->axis[k]);
  return gradient_spread(G, gradient_place(G, p->node, n->space, index), n->space);
}

typedef struct Sum { const Node *node; Projected *args; struct Sum *next; } Sum;

/* By id of the old graph: the copies. */
static const Node **copy_forward(Gradient *G, const Graph *from) {
  Graph *g = G->g;
  const Node **now = arena_array(G->arena, from->n_nodes + 1, sizeof *now);
  bool *live = graph_reachable(from, G->arena);
  Sum *sums = NULL;
  for (unsigned i = 0; i < from->n_nodes; i++) {
    const Node *n = from->nodes[i];
    if (!live[i]) continue;
    const Node **args = arena_array(G->arena, n->n_args + n->space->rank + 1, sizeof *args);
    for (unsigned k = 0; k < n->space->rank; k++) args[k] = now[n->space->extent[k]->id];
    const Space *space = graph_space(g, n->space->rank, args);
    for (unsigned k = 0; k < n->n_args; k++) args[k] = now[n->args[k]->id];
    Region region = {0, NULL};
    if (n->region) region = (Region){n->region->n_results, arena_array(G->arena, n->region->n_results + 1, sizeof *region.results)};
    for (unsigned k = 0; k < region.n_results; k++) region.results[k] = now[n->region->results[k]->id];
    graph_at(g, n->where);
    Sum *sum = NULL;
    if (n->op == OP_CONTRACT || n->op == OP_ATTEND) {
      sum = arena_alloc(G->arena, sizeof *sum);
      *sum = (Sum){NULL, arena_array(G->arena, n->n_args, sizeof *sum->args), sums};
      for (unsigned k = 0; k < n->n_args; k++) sum->args[k] = project(G, args[k], n->op == OP_ATTEND && k == 0 ? (unsigned)n->imm : 0);
      for (unsigned k = 0; k < n->n_args; k++) args[k] = unproject(G, &sum->args[k], args[k]);
      sums = sum;
    }
    int32_t aux = n->op == OP_CARRY ? carry_aux(n->aux & 255, n->space) : n->aux;
    now[i] = graph_region_node(g, (Op)n->op, (Type)n->type, space, n->imm, aux, n->n_args, args, n->region ? &region : NULL);
    if (sum) sum->node = now[i];
  }
  G->n_forward = g->n_nodes;
  G->projected = arena_array(G->arena, G->n_forward + 1, sizeof *G->projected);
  for (; sums; sums = sums->next) G->projected[sums->node->id] = sums->args;
  for (unsigned i = 0; i < from->n_requires; i++) {
    const Requirement *r = &from->requires[i];
    const Node *values[4];
    for (unsigned k = 0; k < r->n; k++) values[k] = now[r->value[k]->id];
    graph_require(g, r->text, now[r->cond->id], r->n, values, r->name)->about = r->about;
  }
  return now;
}

/* --- the entry -------------------------------------------------------------------------------------------------------------------------------------- */

/* The gradients that come in. They are the last uses of the outputs, in the order of these. */
static void seed(Gradient *G, const Graph *from, const Node *const *now) {
  Graph *g = G->g;
  const Backward *b = G->module->backward;
  for (unsigned i = 0; i < b->n_seeds; i++)
    for (unsigned k = 0; k < from->n_writes; k++) {
      const Write *w = &from->writes[k];
      if (w->operand != b->seeds[i].of) continue;
      const Node *value = now[w->value->id], *in = operand_value(G, b->seeds[i].gradient, value->space->rank ? value->space : operand_space(G, w->operand));
      in = graph_cast(g, (Type)value->type, in);
      if (w->when) in = graph_select(g, now[w->when->id], in, graph_const(g, (Type)in->type, 0));
      if (!value->space->rank && in->space->rank) in = gradient_sum(G, in, in->space->rank);
      gradient_give(G, value, in);
    }
  settle(G);
}

/* Saved outputs are read where their values are used; as they were rounded when they were written. */
static void read_saved(Gradient *G, const Graph *from, const Node *const *now) {
  const Backward *b = G->module->backward;
  for (unsigned i = 0; i < b->n_saving; i++)
    for (unsigned k = 0; k < from->n_writes; k++) {
      const Write *w = &from->writes[k];
      const Node *value = now[w->value->id];
      if (w->operand == b->saving[i] && !w->when && value->op != OP_CONST && value->op != OP_READ && value->space->rank == operand_space(G, w->operand)->rank)
        G->instead[value->id] = operand_value(G, w->operand, value->space);
    }
}

static void write_gradients(Gradient *G) {
  Graph *g = G->g;
  const Backward *b = G->module->backward;
  const Node **all = arena_array(G->arena, b->n_wrt + 1, sizeof *all);
  for (unsigned i = 0; i < b->n_wrt; i++) {
    const BackwardWrt *w = &b->wrt[i];
    const Node *leaf = w->hyper ? graph_node(g, OP_HYPER, G->module->hypers[w->of].type, graph_scalar_space(g), w->of, 0, 0, NULL) : G->leaf[w->of];
    all[i] = leaf->id < G->n_forward ? add_up(G, leaf, NULL) : NULL;
    if (!all[i]) all[i] = graph_const(g, (Type)leaf->type, 0);
  }
  Replace r = replace_new(G, -1, 0, NULL);                                /* behind all new nodes */
  for (unsigned i = 0; i < b->n_wrt; i++) {
    const BackwardWrt *w = &b->wrt[i];
    const Operand *o = &G->module->operands[w->gradient];
    const Node *value = replace(&r, all[i]);
    if (o->scope == SCOPE_GLOBAL && !graph_is_global(g, value)) {         /* of the whole call: the items' gradients are added */
      if (value->space->rank) { diag_error(G->diag, o->where, "the gradient of '%s' is the sum over all items: it has axes, which is not supported", G->module->operands[w->of].name); continue; }
      value = graph_cast(g, TYPE_F64, value);
      value = graph_node(g, OP_TOTAL, TYPE_F64, graph_scalar_space(g), 0, REDUCE_SUM, 1, &value);
    }
    graph_write(g, w->gradient, graph_cast(g, type_arithmetic(o->storage), value), NULL);
  }
}

/* --- what a call must fulfil -------------------------------------------------------------------------------------------------------------------------- */

static const Node *size_node(Graph *g, unsigned operand, int32_t axis) { return graph_node(g, OP_SIZE, TYPE_I64, graph_scalar_space(g), operand, axis, 0, NULL); }
static const Node *is_given(Graph *g, unsigned operand) { return graph_node(g, OP_PRESENT, TYPE_BOOL, graph_scalar_space(g), operand, 0, 0, NULL); }

/* Dimension k of a shape as it is written, "[B, 2*H]". */
static const char *dim_text(Arena *arena, const char *shape, unsigned k) {
  const char *from = shape + 1, *to = from;
  for (unsigned depth = 0; *to && (depth || *to != ']'); to++) {
    depth += *to == '(' || *to == '[';
    depth -= *to == ')' || *to == ']';
    if (depth || *to != ',') continue;
    if (!k--) break;
    from = to + 1;
  }
  while (*from == ' ') from++;
  return arena_strndup(arena, from, (size_t)(to - from));
}

static void require_equal(Gradient *G, unsigned operand, const char *text, const char *what, const Node *have, const char *name, const Node *want) {
  Graph *g = G->g;
  const Node *cond = graph_op2(g, OP_OR, graph_op1(g, OP_NOT, is_given(g, operand)), graph_op2(g, OP_EQ, have, want));
  const Node *values[2] = {graph_cast(g, TYPE_F64, have), graph_cast(g, TYPE_F64, want)};
  graph_require(g, text, cond, 2, values, (const char *const[]){what, name})->about = operand;
}

/* A gradient has the shape of what it belongs to. */
static void require_shape(Gradient *G, unsigned operand) {
  Graph *g = G->g;
  const Operand *o = &G->module->operands[operand];
  const char *text = operand_shape_text(G->module, o, G->arena);
  if (!operand_is_tensor(o) || !o->shape || !text) return;
  const Space *s = operand_space(G, operand);
  if (o->any_rank) {
    const Node *n = graph_i64(g, 1);
    for (unsigned k = 0; k < s->rank; k++) n = graph_op2(g, OP_MUL, n, s->extent[k]);
    require_equal(G, operand, arena_printf(G->arena, "tensor '%s' has {} elements, %s wants {}", o->name, text), arena_printf(G->arena, "size(%s)", o->name), size_node(g, operand, -1), text, n);
    return;
  }
  require_equal(G, operand, arena_printf(G->arena, "tensor '%s' has {} axes, %s wants {}", o->name, text), arena_printf(G->arena, "rank(%s)", o->name), size_node(g, operand, -2), text, graph_i64(g, s->rank));
  for (unsigned k = 0; k < s->rank; k++) {
    const char *axis = arena_printf(G->arena, "axis %u of tensor '%s'", k, o->name), *dim = dim_text(G->arena, text, k);
    require_equal(G, operand, arena_printf(G->arena, "%s is {}, %s is {}", axis, dim), axis, size_node(g, operand, (int32_t)k), dim, s->extent[k]);
  }
}

/* Saved outputs that are used must be there. */
static void require_saved(Gradient *G) {
  Graph *g = G->g;
  const Backward *b = G->module->backward;
  bool *live = graph_reachable(g, G->arena);
  for (unsigned i = 0; i < b->n_saving; i++) {
    bool used = false;
    for (unsigned k = 0; k < g->n_nodes && !used; k++) used = live[k] && g->nodes[k]->op == OP_READ && g->nodes[k]->imm == b->saving[i];
    if (used && operand_is_tensor(&G->module->operands[b->saving[i]]))
      graph_require(g, arena_printf(G->arena, "'%s', which is saved, is given", G->module->operands[b->saving[i]].name), is_given(g, b->saving[i]), 0, NULL, NULL);
  }
}

bool gradient_build(Module *m, Diag *diag) {
  const Graph *from = module_graph(m, "forward");
  if (!m->backward || !from || module_graph(m, "backward")) return true;
  unsigned errors = diag_errors(diag);
  Gradient gradient = {.module = m, .arena = m->arena, .diag = diag, .g = graph_new(m, "backward")}, *G = &gradient;
  G->leaf = arena_array(G->arena, m->n_operands + 1, sizeof *G->leaf);
  G->hyper = arena_array(G->arena, m->n_hypers + 1, sizeof *G->hyper);
  for (unsigned i = 0; i < m->backward->n_wrt; i++) {
    const BackwardWrt *w = &m->backward->wrt[i];
    if (w->hyper) G->hyper[w->of] = true;
    else G->leaf[w->of] = operand_value(G, w->of, operand_space(G, w->of));
  }
  const Node **now = copy_forward(G, from);
  G->carries = graph_carries(G->g, G->arena);
  G->instead = arena_array(G->arena, G->n_forward + 1, sizeof *G->instead);
  G->carried = arena_array(G->arena, G->n_forward + 1, sizeof *G->carried);
  G->output = arena_array(G->arena, G->n_forward + 1, sizeof *G->output);
  G->over_items = arena_array(G->arena, G->n_forward + 1, sizeof *G->over_items);
  for (unsigned i = 0; i < G->n_forward; i++) {
    const Node *n = G->g->nodes[i];
    G->over_items[i] = n->op == OP_TOTAL;
    for (unsigned k = 0; k < n->n_args && n->level == LEVEL_GLOBAL; k++) G->over_items[i] |= G->over_items[n->args[k]->id];
  }
  for (unsigned i = 0; i < from->n_writes; i++) {
    const Node *value = now[from->writes[i].value->id];
    while (value->op == OP_CAST) value = value->args[0];
    G->output[value->id] = true;
  }
  Sweep whole = {.depth = -1, .share = arena_array(G->arena, G->n_forward + 1, sizeof *whole.share), .active = arena_array(G->arena, G->n_forward + 1, sizeof *whole.active)};
  G->sweep = &whole;
  activate(G, -1, G->n_forward, whole.active, NULL, 0);
  seed(G, from, now);
  sweep(G, G->n_forward);
  if (diag_errors(diag) != errors) return false;
  read_saved(G, from, now);
  write_gradients(G);
  if (diag_errors(diag) != errors) return false;
  for (unsigned i = 0; i < m->backward->n_seeds; i++) require_shape(G, m->backward->seeds[i].gradient);
  for (unsigned i = 0; i < m->backward->n_wrt; i++) require_shape(G, m->backward->wrt[i].gradient);
  require_saved(G);
  Graph **graphs = arena_array(m->arena, m->n_graphs + 1, sizeof *graphs);
  memcpy(graphs, m->graphs, m->n_graphs*sizeof *graphs);
  graphs[m->n_graphs++] = graph_rewrite(G->g, NULL, NULL);                /* without what nothing needs */
  m->graphs = graphs;
  return true;
}
