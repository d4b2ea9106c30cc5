/* graph_verify.c: what a well-formed module and graph are. One check a node, then one a root; all findings are reported. */
#include <string.h>
#include "ir/graph.h"
#include "ir/graph_analysis.h"

typedef struct Checker {
  const Graph *g;
  Diag *diag;
  const Node *node;                      /* being checked */
  const uint64_t *carries;               /* by id: bit d: the value depends on what a scan at depth d carries */
  bool good;
} Checker;

__attribute__((format(printf, 2, 3))) static void wrong(Checker *c, const char *format, ...) {
  va_list list;
  va_start(list, format);
  const char *text = arena_vprintf(c->g->arena, format, list);
  va_end(list);
  c->good = false;
  if (c->node) diag_error(c->diag, c->node->where, "graph %s: %%%u = %s: %s", c->g->name, c->node->id, op_name((Op)c->node->op), text);
  else diag_error(c->diag, (Range){0}, "graph %s: %s", c->g->name, text);
}
#define NEED(c, condition, ...) do { if (!(condition)) wrong(c, __VA_ARGS__); } while (0)

static bool arithmetic(Type t) { return t == TYPE_BOOL || t == TYPE_I32 || t == TYPE_I64 || t == TYPE_F32 || t == TYPE_F64; }
static bool belongs(const Graph *g, const Node *n) { return n && n->id < g->n_nodes && g->nodes[n->id] == n; }
static bool is_scalar(const Node *n, Type t) { return n->type == t && n->space->rank == 0; }
static bool fits(const Node *n, const Space *s) { return !n->space->rank || n->space == s; }    /* rank 0 is broadcast */

/* Whether `s` is the first axes of `whole`, `less` fewer. */
static bool prefix(const Space *s, const Space *whole, int64_t less) {
  return less >= 0 && less <= whole->rank && s->rank == whole->rank - less && (!s->rank || !memcmp(s->extent, whole->extent, s->rank * sizeof *s->extent));
}

bool graph_is_item_space(const Module *m, const Space *s) {
  if (s->rank != 1 || s->extent[0]->op != OP_SIZE || s->extent[0]->aux != -1) return false;
  int64_t k = s->extent[0]->imm;
  return k >= 0 && k < m->n_operands && m->operands[k].item_shape;
}

static bool operand_space(const Module *m, const Operand *o, const Space *s) {
  if (o->item_shape) return graph_is_item_space(m, s);
  return o->shape && o->shape->rank == s->rank;                             /* extents stand in another graph, and passes rewrite them */
}

static const Operand *operand_of(Checker *c, int64_t k) {
  if (k < 0 || k >= c->g->module->n_operands) { wrong(c, "there is no operand %lld", (long long)k); return NULL; }
  const Operand *o = &c->g->module->operands[k];
  NEED(c, !o->entry || !strcmp(o->entry, c->g->name), "operand '%s' belongs to entry '%s'", o->name, o->entry);
  return o;
}
static bool is_tensor(const Operand *o) { return operand_is_tensor(o); }

static void check_indices(Checker *c, unsigned from, unsigned n, const Space *s) {
  const Node *x = c->node;
  for (unsigned i = from; i < from + n && i < x->n_args; i++)
    NEED(c, x->args[i]->type == TYPE_I64 && fits(x->args[i], s), "argument %u is no index over this space", i);
}

static void check_read(Checker *c) {
  const Node *n = c->node;
  const Operand *o = operand_of(c, n->imm);
  if (!o) return;
  NEED(c, is_tensor(o), "operand '%s' is a number; its value is 'scalar'", o->name);
  NEED(c, n->type == type_arithmetic(o->storage), "operand '%s' is read as %s", o->name, type_name(type_arithmetic(o->storage)));
  if (n->aux != 0 && n->aux != 1) { wrong(c, "aux is 0 or 1"); return; }
  unsigned guard = (unsigned)n->aux, axes = o->item_shape ? 1 : o->shape ? o->shape->rank : 0;
  if (n->n_args < guard || (n->n_args != guard && n->n_args != guard + axes)) { wrong(c, "operand '%s' takes %u indices", o->name, axes); return; }
  if (n->n_args == guard) NEED(c, operand_space(c->g->module, o, n->space), "a read without indices has the operand's own space");
  check_indices(c, 0, n->n_args - guard, n->space);
  if (guard) NEED(c, n->args[n->n_args - 1]->type == TYPE_BOOL && fits(n->args[n->n_args - 1], n->space), "the guard is no bool over this space");
}

static void check_kind(Checker *c, Type x, ReduceKind kind, unsigned order) {
  Type t = (Type)c->node->type;
  bool number = arithmetic(x) && x != TYPE_BOOL, floating = type_kind(x) == KIND_FLOAT;
  switch (kind) {
    case REDUCE_SUM: case REDUCE_PROD: case REDUCE_MAX: case REDUCE_MIN:
      NEED(c, number && (t == x || (c->node->op == OP_TOTAL && floating && t == TYPE_F64)), "takes and gives one type of number");
      break;
    case REDUCE_ANY: case REDUCE_EVERY: NEED(c, x == TYPE_BOOL && t == TYPE_BOOL, "takes and gives bool"); break;
    case REDUCE_ARGMAX: case REDUCE_ARGMIN: NEED(c, number && t == TYPE_I64, "takes numbers and gives i64"); break;
    case REDUCE_LOGSUMEXP: NEED(c, floating && t == x, "takes and gives one float type"); break;
    default: wrong(c, "unknown kind of reduction"); return;
  }
  NEED(c, kind == REDUCE_LOGSUMEXP ? order == ORDER_BLOCKS : order == ORDER_LANES || order == ORDER_SEQ, "this kind has no such order");
}

/* A carry of the depth of the scan at hand, inside its region. */
static void check_carried(Checker *c, const Node *x) {
  const Node *n = c->node;
  if (x->imm < -1 || x->imm >= (int64_t)n->region->n_results) { wrong(c, "%%%u: no carried value %lld", x->id, (long long)x->imm); return; }
  if (x->imm < 0) { NEED(c, is_scalar(x, TYPE_I64), "%%%u: the trip index is an i64 of rank 0", x->id); return; }
  const Node *first = n->args[x->imm + 1], *result = n->region->results[x->imm];
  Level level = (Level)x->level;
  NEED(c, x->type == first->type && x->space == first->space, "%%%u: differs in type or space from the value carried", x->id);
  NEED(c, level >= first->level && level >= result->level && level >= n->args[0]->level, "%%%u: the value carried has a higher level", x->id);
}

static void check_scan(Checker *c) {
  const Graph *g = c->g;
  const Node *n = c->node;
  NEED(c, is_scalar(n, TYPE_BOOL), "a scan has no value of its own: bool, rank 0");
  NEED(c, n->aux == 0 || n->aux == 1, "aux is 0 or 1");
  if (!n->n_args || !n->region) { wrong(c, "a scan has a trip count and a region"); return; }
  NEED(c, is_scalar(n->args[0], TYPE_I64), "the trip count is an i64 of rank 0");
  if (n->imm < 0 || n->imm > 63) { wrong(c, "depth %lld is not 0..63", (long long)n->imm); return; }
  if (n->region->n_results != n->n_args - 1) { wrong(c, "%u values are carried, the region has %u results", n->n_args - 1, n->region->n_results); return; }
  for (unsigned i = 0; i < n->region->n_results; i++) {
    const Node *r = n->region->results[i], *x = n->args[i + 1];
    NEED(c, r->type == x->type && r->space == x->space, "result %u differs in type or space from its first value", i);
  }
  const bool *in = graph_scan_body(g, n, c->carries, g->arena);
  for (unsigned id = n->id; id-- > 0;) {
    const Node *x = g->nodes[id];
    if (!in[id]) continue;
    if (x->op == OP_SCAN && x->imm <= n->imm) wrong(c, "%%%u, a scan inside this region, is not deeper", x->id);
    if (x->op == OP_CARRY && (x->aux & 255) == n->imm) check_carried(c, x);
  }
}

/* --- one check an operation -------------------------------------------------------------------------------------------------------- */

static bool is_float(Type t) { return arithmetic(t) && type_kind(t) == KIND_FLOAT; }

static void check_const(Checker *c) {
  const Node *n = c->node;
  Type t = (Type)n->type;
  NEED(c, arithmetic(t) && !n->space->rank, "a constant has an arithmetic type and rank 0");
  NEED(c, bits_normal((Bits)n->imm, t) == (Bits)n->imm, "bits beyond the type");
}

static void check_hyper(Checker *c) {
  const Node *n = c->node;
  const Module *m = c->g->module;
  if (n->imm < 0 || n->imm >= m->n_hypers) { wrong(c, "there is no hyper-parameter %lld", (long long)n->imm); return; }
  NEED(c, is_scalar(n, m->hypers[n->imm].type), "hyper-parameter '%s' is %s", m->hypers[n->imm].name, type_name(m->hypers[n->imm].type));
}

static void check_integer(Checker *c) { NEED(c, is_scalar(c->node, TYPE_I64), "gives an i64 of rank 0"); }

static void check_step(Checker *c) {
  NEED(c, c->g->module->has_step, "this rule has no step counter");
  check_integer(c);
}

static void check_size(Checker *c) {
  const Node *n = c->node;
  const Operand *o = operand_of(c, n->imm);
  if (!o) return;
  NEED(c, is_scalar(n, TYPE_I64) && is_tensor(o), "the size of a tensor, an i64 of rank 0");
  NEED(c, n->aux >= -2 - 64 && n->aux < 64, "no axis %d", n->aux);
}

static void check_present(Checker *c) {
  const Operand *o = operand_of(c, c->node->imm);
  if (o) NEED(c, is_scalar(c->node, TYPE_BOOL) && is_tensor(o), "whether a tensor is there, a bool of rank 0");
}

static void check_index(Checker *c) {
  const Node *n = c->node;
  NEED(c, n->type == TYPE_I64 && n->imm >= 0 && n->imm < n->space->rank, "an axis of its own space, i64");
}

static void check_scalar(Checker *c) {
  const Operand *o = operand_of(c, c->node->imm);
  if (!o) return;
  NEED(c, !is_tensor(o), "operand '%s' is a tensor; it is read by 'read'", o->name);
  NEED(c, is_scalar(c->node, type_arithmetic(o->storage)), "operand '%s' is %s", o->name, type_name(type_arithmetic(o->storage)));
}

static void check_map(Checker *c) {
  const Node *n = c->node, *x = n->n_args ? n->args[0] : NULL;
  if (!x || n->n_args != 1 + x->space->rank) { wrong(c, "takes a value and one index an axis of it"); return; }
  NEED(c, n->type == x->type, "gives the type of its value");
  check_indices(c, 1, x->space->rank, n->space);
}

static void check_reduce(Checker *c) {
  const Node *n = c->node, *x = n->args[0];
  NEED(c, prefix(n->space, x->space, n->imm), "the space is the argument's without %lld trailing axes", (long long)n->imm);
  check_kind(c, (Type)x->type, (ReduceKind)(n->aux & 255), (unsigned)n->aux >> 8);
}

static void check_total(Checker *c) {
  const Node *n = c->node, *x = n->args[0];
  Type t = (Type)n->type;
  NEED(c, !n->space->rank, "gives one number");
  if (x->space->rank) { check_kind(c, (Type)x->type, (ReduceKind)(n->aux & 255), (unsigned)n->aux >> 8); return; }
  NEED(c, n->aux >= 0 && n->aux <= REDUCE_EVERY, "no kind that can be combined over items");
  NEED(c, t == x->type && (n->aux < REDUCE_ANY ? t == TYPE_F64 || t == TYPE_I64 : t == TYPE_BOOL), "takes and gives f64 or i64, any and every bool");
}

static void check_contract(Checker *c) {
  const Node *n = c->node;
  Type t = (Type)n->type;
  const Space *whole = NULL;
  for (unsigned i = 0; i < n->n_args; i++) {
    NEED(c, n->args[i]->type == t, "factor %u has another type", i);
    if (!n->args[i]->space->rank) continue;
    NEED(c, !whole || whole == n->args[i]->space, "factor %u has another space", i);
    whole = n->args[i]->space;
  }
  NEED(c, t != TYPE_BOOL && arithmetic(t) && n->n_args && n->n_args <= 30, "factors are numbers, 30 at most");
  NEED(c, n->aux >= 0 && (uint64_t)n->aux >> n->n_args == 0, "a weight is one of the factors");
  NEED(c, whole && prefix(n->space, whole, n->imm), "the space is the factors' without %lld trailing axes", (long long)n->imm);
}

static void check_attend(Checker *c) {
  const Node *n = c->node, *x = n->n_args ? n->args[0] : NULL;
  if (n->n_args < 2) { wrong(c, "takes scores and at least one factor"); return; }
  NEED(c, is_float((Type)n->type) && prefix(n->space, x->space, n->imm), "the space is the scores' without %lld trailing axes", (long long)n->imm);
  for (unsigned i = 0; i < n->n_args; i++) NEED(c, n->args[i]->type == n->type && fits(n->args[i], x->space), "argument %u has another type or space", i);
}

static void check_softmax(Checker *c) {
  const Node *n = c->node, *x = n->args[0];
  NEED(c, is_float((Type)n->type) && x->type == n->type, "takes and gives one float type");
  NEED(c, n->space == x->space && n->imm >= 0 && n->imm <= x->space->rank, "the space is the argument's, which has %lld axes at least", (long long)n->imm);
}

static void check_matrices(Checker *c) {
  const Node *n = c->node, *x = n->args[0];
  NEED(c, is_float((Type)n->type) && x->type == n->type, "takes and gives one float type");
  NEED(c, n->space == x->space && x->space->rank >= 2, "the space is the argument's, of two axes at least");
}

static void check_cumulate(Checker *c) {
  const Node *n = c->node, *x = n->args[0];
  NEED(c, n->aux == REDUCE_SUM || n->aux == REDUCE_PROD || n->aux == REDUCE_MAX || n->aux == REDUCE_MIN, "a running sum, product, max or min");
  NEED(c, n->type == x->type && arithmetic((Type)n->type) && n->type != TYPE_BOOL && n->space == x->space && x->space->rank, "type and space are the argument's");
}

static void check_order(Checker *c) {
  const Node *n = c->node, *x = n->args[0];
  NEED(c, n->type == TYPE_I64 && arithmetic((Type)x->type) && n->space == x->space && x->space->rank, "gives an i64 over the argument's space");
}

static void check_scatter(Checker *c) {
  const Node *n = c->node, *x = n->n_args ? n->args[0] : NULL;
  if (n->n_args < 2 || n->n_args != 2 + x->space->rank) { wrong(c, "takes a base, a value, and one index an axis of the base"); return; }
  NEED(c, n->aux == 0 || (n->aux == 1 && n->type != TYPE_BOOL), "aux is 0, or 1 for numbers");
  NEED(c, n->args[1]->type == n->type && x->type == n->type && n->space == x->space, "type and space are the base's");
  check_indices(c, 2, x->space->rank, n->args[1]->space);
}

static void check_carry(Checker *c) { NEED(c, c->node->aux >= 0 && (c->node->aux & 255) < 64 && c->node->aux >> 8 <= LEVEL_ELEMENT, "no such depth or level"); }

static void check_result(Checker *c) {
  const Node *n = c->node, *x = n->args[0];
  if (x->op != OP_SCAN || !x->region || n->imm < 0 || n->imm + 1 >= (int64_t)x->n_args) { wrong(c, "takes a scan that carries value %lld", (long long)n->imm); return; }
  NEED(c, n->type == x->args[n->imm + 1]->type && n->space == x->args[n->imm + 1]->space, "type and space are the carried value's");
}

static void check_philox(Checker *c) {
  const Node *n = c->node;
  NEED(c, n->n_args == 6 && n->type == TYPE_I64 && n->imm >= 0 && n->imm < 4, "takes 4 counters and 2 keys, gives word 0..3 as i64");
  check_indices(c, 0, 6, n->space);
}

/* Every operation of graph.def; the number of arguments is right where it is fixed. */
static void (*const structure[OP_COUNT])(Checker *) = {
  [OP_CONST] = check_const, [OP_HYPER] = check_hyper, [OP_STEP] = check_step, [OP_SEED] = check_integer, [OP_ITEM] = check_integer, [OP_SIZE] = check_size, [OP_PRESENT] = check_present,
  [OP_INDEX] = check_index, [OP_READ] = check_read, [OP_SCALAR] = check_scalar, [OP_MAP] = check_map, [OP_REDUCE] = check_reduce, [OP_TOTAL] = check_total, [OP_CONTRACT] = check_contract,
  [OP_ATTEND] = check_attend, [OP_SOFTMAX] = check_softmax, [OP_CUMULATE] = check_cumulate, [OP_ORDER] = check_order, [OP_EIGVEC] = check_matrices, [OP_QR] = check_matrices,
  [OP_SCATTER] = check_scatter, [OP_SCAN] = check_scan, [OP_CARRY] = check_carry, [OP_RESULT] = check_result, [OP_PHILOX] = check_philox,
};

static bool check_parts(Checker *c) {
  const Graph *g = c->g;
  const Node *n = c->node;
  const Node *const *parts[3] = {n->args, n->space->extent, n->region ? (const Node *const *)n->region->results : NULL};
  unsigned count[3] = {n->n_args, n->space->rank, n->region ? n->region->n_results : 0};
  if (n->space->rank > OPTC_MAX_RANK) { wrong(c, "has %u axes, more than %d", n->space->rank, OPTC_MAX_RANK); return false; }
  for (unsigned k = 0; k < 3; k++)
    for (unsigned i = 0; i < count[k]; i++) {
      const Node *x = parts[k][i];
      if (!belongs(g, x) || x->id >= n->id) { wrong(c, "uses a node that does not stand before it in this graph"); return false; }
      if (k == 1) NEED(c, is_scalar(x, TYPE_I64), "extent %u is no i64 of rank 0", i);
    }
  return true;
}

static void check_element(Checker *c) {
  const Node *n = c->node;
  Type types[4] = {0};
  for (unsigned i = 0; i < n->n_args; i++) {
    types[i] = (Type)n->args[i]->type;
    NEED(c, fits(n->args[i], n->space), "argument %u has another space", i);
  }
  NEED(c, op_types_ok((Op)n->op, (Type)n->type, types), "does not give %s of %s%s%s%s%s", type_name((Type)n->type), type_name(types[0]),
       n->n_args > 1 ? ", " : "", n->n_args > 1 ? type_name(types[1]) : "", n->n_args > 2 ? ", " : "", n->n_args > 2 ? type_name(types[2]) : "");
}

static void check_node(Checker *c) {
  const Node *n = c->node;
  int arity = op_arity((Op)n->op);
  if (arity >= 0 && (unsigned)arity != n->n_args) { wrong(c, "takes %d arguments, has %u", arity, n->n_args); return; }
  NEED(c, n->level == graph_level(c->g, n), "has level %u", n->level);
  (n->op >= OP_CONST ? structure[n->op] : check_element)(c);
  NEED(c, (n->region != NULL) == (n->op == OP_SCAN), "only a scan has a region");
}

/* --- roots -------------------------------------------------------------------------------------------------------------------------- */

static bool root(Checker *c, const Node *n, const char *what) {
  if (belongs(c->g, n) && !c->carries[n->id]) return true;
  wrong(c, belongs(c->g, n) ? "%s depends on a value carried by a scan around it" : "%s is no node of this graph", what);
  return false;
}

static void check_condition(Checker *c, const Node *n, const char *what, Level most) {
  if (root(c, n, what)) NEED(c, is_scalar(n, TYPE_BOOL) && n->level <= most, "%s is no bool of rank 0 at this level", what);
}

static void check_roots(Checker *c) {
  const Graph *g = c->g;
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    const Operand *o = operand_of(c, w->operand);
    if (!o) continue;
    Level most = o->scope == SCOPE_GLOBAL ? LEVEL_GLOBAL : LEVEL_ITEM;
    NEED(c, o->role != ROLE_GRAD && o->role != ROLE_IN, "'%s' is not written", o->name);
    if (root(c, w->value, "the value of a write")) {
      NEED(c, w->value->type == type_arithmetic(o->storage), "the write of '%s' has type %s", o->name, type_name((Type)w->value->type));
      if (is_tensor(o)) NEED(c, !w->value->space->rank || operand_space(g->module, o, w->value->space), "the write of '%s' has another space", o->name);
      if (o->scope == SCOPE_GLOBAL) NEED(c, graph_is_global(g, w->value), "the write of '%s' depends on an item", o->name);
      if (!is_tensor(o)) NEED(c, !w->value->space->rank && w->value->level <= most, "the write of '%s' is no number at its level", o->name);
    }
    if (w->when) check_condition(c, w->when, "the predicate of a write", most);
    for (unsigned k = 0; k < i; k++)
      if (g->writes[k].operand == w->operand) NEED(c, w->when && g->writes[k].when, "'%s' is written twice", o->name);
  }
  if (g->skip) check_condition(c, g->skip, "the condition that skips a step", LEVEL_ITEM);
  for (unsigned i = 0; i < g->n_exists; i++) {
    const Operand *o = operand_of(c, g->exists[i].operand);
    if (o) NEED(c, o->role == ROLE_STATE, "'%s' is no state", o->name);
    if (g->exists[i].when) check_condition(c, g->exists[i].when, "the condition of a state", LEVEL_ITEM);
  }
  for (unsigned i = 0; i < g->n_requires; i++) {
    check_condition(c, g->requires[i].cond, "a requirement", LEVEL_ITEM);
    for (unsigned k = 0; k < g->requires[i].n; k++)
      if (root(c, g->requires[i].value[k], "a number of a requirement")) NEED(c, !g->requires[i].value[k]->space->rank, "a number of a requirement has axes");
  }
}

bool graph_verify(const Graph *g, Diag *diag) {
  Checker c = {.g = g, .diag = diag, .good = true};
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = c.node = g->nodes[i];
    if (n->id != i || n->op >= OP_COUNT || n->type >= TYPE_COUNT || n->level > LEVEL_ELEMENT) { wrong(&c, "has no number, operation, type or level of its own"); return false; }
    if (!check_parts(&c)) return false;
  }
  c.carries = graph_carries(g, g->arena);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    c.node = g->nodes[i];
    check_node(&c);
  }
  c.node = NULL;
  check_roots(&c);
  return c.good;
}

static bool check_extent(const Module *m, const Node *n) {
  if (!n || n->type >= TYPE_COUNT || n->space->rank || n->op >= OP_COUNT || (op_arity((Op)n->op) >= 0 && (unsigned)op_arity((Op)n->op) != n->n_args)) return false;
  Type types[4] = {0};
  for (unsigned i = 0; i < n->n_args; i++) {
    if (!check_extent(m, n->args[i]) || i >= 4) return false;
    types[i] = (Type)n->args[i]->type;
  }
  switch ((int)n->op) {
    case OP_CONST: return arithmetic((Type)n->type);
    case OP_HYPER: return n->imm >= 0 && n->imm < m->n_hypers && m->hypers[n->imm].type == n->type;
    case OP_SIZE: case OP_SCALAR: case OP_PRESENT: return n->imm >= 0 && n->imm < m->n_operands;
    default: return n->op < OP_CONST && op_types_ok((Op)n->op, (Type)n->type, types);
  }
}

bool module_verify(const Module *m, Diag *diag) {
  bool good = true;
  const Range nowhere = {0};
  if (m->n_hypers > OPTC_MAX_HYPERS) { diag_error(diag, nowhere, "%u hyper-parameters, more than %d", m->n_hypers, OPTC_MAX_HYPERS); good = false; }
  for (unsigned i = 0; i < m->n_hypers; i++) {
    const Hyper *h = &m->hypers[i];
    if (h->type == TYPE_F64 || h->type == TYPE_I64 || (h->type == TYPE_BOOL && h->value <= 1)) continue;
    diag_error(diag, nowhere, "hyper-parameter '%s' is f64, i64 or bool", h->name);
    good = false;
  }
  for (unsigned i = 0; i < m->n_operands; i++) {
    const Operand *o = &m->operands[i];
    const char *what = NULL;
    if ((unsigned)o->storage >= TYPE_COUNT || (unsigned)o->role > ROLE_STATE || (unsigned)o->scope > SCOPE_GLOBAL) what = "has no such type, role or scope";
    else if (o->item_shape && (o->shape || o->scope != SCOPE_TENSOR)) what = "has the item's shape and another";
    else if (o->scope == SCOPE_TENSOR && !o->item_shape && !o->shape) what = "is a tensor without shape";
    else if (o->scope == SCOPE_SCALAR && o->shape) what = "is one number and has a shape";
    else if (o->shape && o->shape->rank > OPTC_MAX_RANK) what = "has more than 8 axes";
    for (unsigned k = 0; !what && o->shape && k < o->shape->rank; k++)
      if (!check_extent(m, o->shape->extent[k]) || o->shape->extent[k]->type != TYPE_I64) what = "has an extent that is no integer of this rule";
    if (!what) continue;
    diag_error(diag, nowhere, "operand '%s' %s", o->name, what);
    good = false;
  }
  for (unsigned i = 0; i < m->n_graphs; i++) {
    for (unsigned k = 0; k < i; k++)
      if (!strcmp(m->graphs[i]->name, m->graphs[k]->name)) { diag_error(diag, nowhere, "two graphs '%s'", m->graphs[i]->name); good = false; }
    if (m->graphs[i]->module != m) { diag_error(diag, nowhere, "graph '%s' belongs to another module", m->graphs[i]->name); good = false; }
    else if (good) good = graph_verify(m->graphs[i], diag);
  }
  return good;
}
