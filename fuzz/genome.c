/* genome.c: bytes to modules, pipelines and data; generated from the operation tables. */
#include "fuzz/genome.h"
#include <string.h>

/* --- decisions --------------------------------------------------------------------------------------------------------- */

typedef struct Decisions { const uint8_t *data; size_t size, at; } Decisions;

static unsigned byte(Decisions *d) { return d->at < d->size ? d->data[d->at++] : 0; }
static unsigned decide(Decisions *d, unsigned n) { return n ? byte(d) % n : 0; }

static const double special[] = {0.0, -0.0, 1, -1, 0.5, 2, 3, 1e-8, 0.9, 0.999, 1e30, -1e30, 1e-30, 0x1p-126, 0x1p-149, -0x1p-149, 0x1.fffffep-127, 0x1.fffffep127,
                                 __builtin_inf(), -__builtin_inf(), __builtin_nan(""), 0x1.000001p0, 16777217.0, 1e300, 0x1p-1074, 65504, 1e-3, 0.25, 4, -2, 10, 0x1p-127};
static const int64_t whole[] = {0, 1, -1, 2, 7, 31, 32, 63, 64, -64, 1000, 2147483647, -2147483648LL, 9223372036854775807LL, -9223372036854775807LL - 1, 3};
enum { SPECIAL = sizeof special / sizeof *special, WHOLE = sizeof whole / sizeof *whole };

static Bits decide_value(Decisions *d, Type type) {
  unsigned k = byte(d);
  if (type == TYPE_BOOL) return k & 1;
  if (type_kind(type) == KIND_INT) return bits_normal((Bits)(k < 64 ? whole[k % WHOLE] : k < 128 ? whole[k & 3] : (int64_t)(k - 128) - 20), type);
  if (k < 224) return bits_from_f64(special[k < 128 ? k % SPECIAL : k & 3], type);        /* neutral elements more often */
  Bits raw = 0;
  for (unsigned i = 0; i < 8; i++) raw = raw << 8 | (byte(d) * 37 & 255);
  return bits_normal(raw, type);
}

/* --- declarations -------------------------------------------------------------------------------------------------------- */

typedef struct Declared { const char *name; Role role; Scope scope; bool optional; const Type *storage; } Declared;
static const Type only_f32[8] = {TYPE_F32, TYPE_F32, TYPE_F32, TYPE_F32, TYPE_F32, TYPE_BF16, TYPE_F16, TYPE_F64};
static const Type tensors[8] = {TYPE_F32, TYPE_F32, TYPE_BF16, TYPE_F16, TYPE_I32, TYPE_U8, TYPE_F64, TYPE_I8};
static const Type numbers[8] = {TYPE_F64, TYPE_F32, TYPE_I64, TYPE_BF16, TYPE_I32, TYPE_BOOL, TYPE_F64, TYPE_U8};
static const Declared declared[] = {
  {"p", ROLE_PARAM, SCOPE_TENSOR, false, only_f32}, {"g", ROLE_GRAD, SCOPE_TENSOR, false, only_f32}, {"m", ROLE_STATE, SCOPE_TENSOR, false, tensors},
  {"v", ROLE_STATE, SCOPE_TENSOR, false, tensors}, {"b", ROLE_STATE, SCOPE_TENSOR, false, only_f32}, {"x", ROLE_IN, SCOPE_TENSOR, true, tensors},
  {"y", ROLE_OUT, SCOPE_TENSOR, false, tensors}, {"q", ROLE_STATE, SCOPE_SCALAR, false, numbers}, {"h", ROLE_IN, SCOPE_SCALAR, false, numbers},
  {"s", ROLE_STATE, SCOPE_GLOBAL, false, numbers}, {"c", ROLE_STATE, SCOPE_GLOBAL, false, numbers}, {"n", ROLE_OUT, SCOPE_GLOBAL, false, numbers},
};
enum { DECLARED = sizeof declared / sizeof *declared, GUARDED = 4, HYPERS = 4 };
static const struct { const char *name; Type type; double value; } hypers[HYPERS] = {{"lr", TYPE_F64, 1e-3}, {"beta", TYPE_F64, 0.9}, {"k", TYPE_I64, 3}, {"on", TYPE_BOOL, 1}};

static Module *declare(Arena *a, Diag *diag, Decisions *d) {
  Module *m = arena_alloc(a, sizeof *m);
  *m = (Module){.arena = a, .diag = diag, .name = "fuzz", .has_step = true};
  m->hypers = arena_array(a, HYPERS, sizeof *m->hypers);
  for (unsigned k = 0; k < HYPERS; k++)
    m->hypers[m->n_hypers++] = (Hyper){.name = hypers[k].name, .type = hypers[k].type, .has_default = true, .value = bits_from_f64(hypers[k].value, hypers[k].type)};
  m->operands = arena_array(a, DECLARED, sizeof *m->operands);
  for (unsigned k = 0; k < DECLARED; k++) {
    const Declared *x = &declared[k];
    unsigned how = byte(d);
    m->operands[m->n_operands++] = (Operand){.name = x->name, .role = x->role, .scope = x->scope, .optional = x->optional, .storage = x->storage[how & 7],
      .flush = (how & 24) == 24 && x->scope == SCOPE_TENSOR, .item_shape = x->scope == SCOPE_TENSOR};
  }
  return m;
}

/* --- the pool of values ---------------------------------------------------------------------------------------------------- */

enum { POOL = 512, SPACES = 5 };
typedef struct Pool {
  Graph *graph;
  const Node *node[POOL]; unsigned n;
  const Space *space[SPACES];            /* scalar, item; only `wide`: [3], [3, elements], [3, 3] */
  bool wide, unrunnable;                 /* wide: also what reads other positions than its own; unrunnable: also totals over all items */
  unsigned depth;                        /* of scans that are open */
  Level most;                            /* inside a scan: what its values may depend on */
  const uint8_t *record, *end;           /* what is not read yet */
  unsigned left, long_left;              /* operations; functions whose expansions are long */
} Pool;

static const Node *add(Pool *p, const Node *n) {
  if (n && p->n < POOL) p->node[p->n++] = n;
  return n;
}

static bool fits(const Node *n, Type type, Level most, const Space *s) { return n->type == type && n->level <= most && (!n->space->rank || n->space == s); }

/* A value over this space, or of rank 0, chosen backwards from the newest; a constant when there is none or chance says so. */
static const Node *pick(Pool *p, Decisions *d, Type type, Level most, const Space *s) {
  unsigned fit = 0;
  for (unsigned i = 0; i < p->n; i++) fit += fits(p->node[i], type, most, s);
  unsigned k = decide(d, fit + 1 + fit / 4);
  for (unsigned i = p->n; i-- > 0;) if (fits(p->node[i], type, most, s) && k-- == 0) return p->node[i];
  return graph_const(p->graph, type, decide_value(d, type));
}

/* The same, exactly over this space. */
static const Node *pick_over(Pool *p, Decisions *d, Type type, Level most, const Space *s) {
  const Node *x = pick(p, d, type, most, s);
  if (x->space == s) return x;
  const Node *index = graph_node(p->graph, OP_INDEX, TYPE_I64, s, 0, 0, 0, NULL), *half = graph_i64(p->graph, decide(d, 4));
  return graph_select(p->graph, graph_op2(p->graph, OP_LT, index, half), x, pick(p, d, type, most, s));
}

static const Space *decide_space(Pool *p, Decisions *d, bool axes) {
  if (p->most < LEVEL_ELEMENT) return p->space[0];
  if (!p->wide) return p->space[axes || decide(d, 3)];
  return p->space[axes ? 1 + decide(d, SPACES - 1) : decide(d, SPACES)];
}

enum { F = 1, I = 2, B = 4, S = 8 };
static Type decide_type(Decisions *d, unsigned types) {
  static const Type order[] = {TYPE_F32, TYPE_F64, TYPE_I64, TYPE_I32, TYPE_BOOL};
  static const unsigned needs[] = {F | S, F, I, I, B};
  Type choice[5];
  unsigned n = 0;
  for (unsigned k = 0; k < 5; k++) if (types & needs[k]) choice[n++] = order[k];
  return choice[decide(d, n)];
}

/* --- element operations and functions ------------------------------------------------------------------------------------------- */

typedef struct OpShape { Op op; unsigned arity; ElementRule rule; unsigned types; } OpShape;
static const OpShape shapes[] = {
#define ELEMENT(id, name, arity, rule, types, f, i) {OP_##id, arity, RULE_##rule, types},
#include "ir/element.def"
#undef ELEMENT
#define FUNCTION(id, name, arity, rule, types, accuracy) {OP_##id, arity, RULE_##rule, types},
#include "ir/function.def"
#undef FUNCTION
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static Type other_width(Type t) { return t == TYPE_F32 ? TYPE_I32 : t == TYPE_F64 ? TYPE_I64 : t == TYPE_I32 ? TYPE_F32 : TYPE_F64; }

static void make_element(Pool *p, Decisions *d, unsigned which) {
  const OpShape *s = &shapes[which];
  if (s->op >= OP_EXP && s->op < OP_CONST && !p->long_left--) { p->long_left = 0; s = &shapes[which % ELEMENT_COUNT]; }
  unsigned how = byte(d);
  const Space *space = p->space[p->most < LEVEL_ELEMENT ? 0 : p->wide ? (how >> 4) % SPACES : (how >> 4) % 3 != 0];
  Level level = space != p->space[0] ? LEVEL_ELEMENT : (how & 1) && p->most >= LEVEL_ITEM ? LEVEL_ITEM : LEVEL_GLOBAL;
  Decisions of = {(const uint8_t[]){(uint8_t)(how >> 1 & 7)}, 1, 0};
  Type t = decide_type(&of, s->types), result = s->rule == RULE_COMPARE ? TYPE_BOOL : t;
  const Node *a[3] = {0};
  for (unsigned k = 0; k < s->arity; k++) {
    Type type = s->rule == RULE_SELECT && k == 0 ? TYPE_BOOL : s->rule == RULE_POWI && k == 1 ? TYPE_I64 : t;
    a[k] = pick(p, d, type, level, space);
  }
  if (s->rule == RULE_CAST) result = decide_type(d, F | I | B);
  if (s->rule == RULE_BITS) result = other_width(t);
  if (s->rule == RULE_ENCODE) result = TYPE_I32;
  if (s->rule == RULE_DECODE) { a[0] = graph_cast(p->graph, TYPE_I32, a[0]); result = TYPE_F32; }
  if (s->rule == RULE_POWI && decide(d, 4)) a[1] = graph_i64(p->graph, (int64_t)decide(d, 12) - 2);
  if (s->op == OP_CAST && a[0]->type == result) return;
  add(p, graph_element(p->graph, s->op, result, s->arity, a));
}

/* --- leaves and structure ------------------------------------------------------------------------------------------------------- */

static void make_leaf(Pool *p, Decisions *d) {
  Graph *g = p->graph;
  const Space *scalar = p->space[0];
  const Module *m = g->module;
  unsigned which = decide(d, 8), k = decide(d, m->n_operands);
  bool item = p->most >= LEVEL_ITEM, element = p->most >= LEVEL_ELEMENT;
  if (which == 0) add(p, graph_node(g, OP_SEED, TYPE_I64, scalar, 0, 0, 0, NULL));
  if (which == 1 && item) add(p, graph_node(g, OP_ITEM, TYPE_I64, scalar, 0, 0, 0, NULL));
  if (which == 2 && item && m->operands[k].item_shape) add(p, graph_node(g, OP_SIZE, TYPE_I64, scalar, k, (int32_t)decide(d, 3) - 2, 0, NULL));
  if (which == 3 && item && m->operands[k].item_shape) add(p, graph_node(g, OP_PRESENT, TYPE_BOOL, scalar, k, 0, 0, NULL));
  if (which == 4 && element) {
    const Space *s = decide_space(p, d, true);
    add(p, graph_node(g, OP_INDEX, TYPE_I64, s, decide(d, s->rank), 0, 0, NULL));
  }
  if (which == 5 && element && m->operands[k].item_shape) {                /* under a condition, of an item or of each element */
    const Node *guard = pick(p, d, TYPE_BOOL, LEVEL_ELEMENT, p->space[1]);
    add(p, graph_node(g, OP_READ, type_arithmetic(m->operands[k].storage), p->space[1], k, 1, 1, &guard));
  }
  if (which == 6) add(p, graph_node(g, OP_STEP, TYPE_I64, scalar, 0, 0, 0, NULL));
  if (which == 7) { Type t = decide_type(d, F | I | B); add(p, graph_const(g, t, decide_value(d, t))); }
}

static void make_operation(Pool *p);

/* The next records are its body, among whose values are the carried ones. */
static void make_scan(Pool *p, Decisions *d) {
  Graph *g = p->graph;
  Level outer = p->most, most = p->wide && outer == LEVEL_ELEMENT && decide(d, 2) ? LEVEL_ELEMENT : outer >= LEVEL_ITEM && decide(d, 2) ? LEVEL_ITEM : LEVEL_GLOBAL;
  Level scalars = most < LEVEL_ITEM ? most : LEVEL_ITEM;
  unsigned how = byte(d), carried = 1 + (how & 3) % 3, length = 1 + (how >> 2 & 7), kept = p->n, depth = p->depth;
  const Node *args[4] = {how & 32 ? graph_op2(g, OP_IMOD, pick(p, d, TYPE_I64, scalars, p->space[0]), graph_i64(g, 5)) : graph_i64(g, (int64_t)(how >> 6) * 3 - 1)};
  const Node *results[3];
  p->most = most;
  for (unsigned c = 0; c < carried; c++) {
    const Space *s = most == LEVEL_ELEMENT ? decide_space(p, d, false) : p->space[0];
    args[c + 1] = pick_over(p, d, decide_type(d, F | I | B), s->rank ? LEVEL_ELEMENT : scalars, s);
  }
  for (unsigned c = 0; c < carried; c++)
    add(p, graph_node(g, OP_CARRY, (Type)args[c + 1]->type, args[c + 1]->space, c, (int32_t)(depth | (args[c + 1]->space->rank ? LEVEL_ELEMENT : scalars) << 8), 0, NULL));
  add(p, graph_node(g, OP_CARRY, TYPE_I64, p->space[0], -1, (int32_t)(depth | (unsigned)scalars << 8), 0, NULL));
  p->depth++;
  while (length-- && p->record < p->end && p->left) make_operation(p);
  for (unsigned c = 0; c < carried; c++)
    results[c] = pick_over(p, d, (Type)args[c + 1]->type, args[c + 1]->space->rank ? LEVEL_ELEMENT : scalars, args[c + 1]->space);
  p->depth--;
  p->most = outer;
  p->n = kept;                           /* what depends on carried values stays inside */
  const Region body = {carried, results};
  const Node *scan = graph_region_node(g, OP_SCAN, TYPE_BOOL, p->space[0], depth, how >> 5 & 1, carried + 1, args, &body);
  for (unsigned c = 0; c < carried; c++) {
    const Node *result = graph_node(g, OP_RESULT, (Type)args[c + 1]->type, args[c + 1]->space, c, 0, 1, &scan);
    if (result->level == scan->level) add(p, result);                     /* lowering takes a scan as a whole */
  }
}

static const Node *index_over(Pool *p, Decisions *d, const Space *s) {
  if (s->rank && decide(d, 2)) return graph_node(p->graph, OP_INDEX, TYPE_I64, s, decide(d, s->rank), 0, 0, NULL);
  return pick(p, d, TYPE_I64, LEVEL_ELEMENT, s);
}

/* The space without its last axes: [3, n] without one is [3]. */
static const Space *without(const Pool *p, const Space *s, unsigned axes) { return !axes ? s : p->space[s->rank == axes ? 0 : 2]; }

static void make_reduce(Pool *p, Decisions *d) {
  Graph *g = p->graph;
  const Space *s = decide_space(p, d, true);
  unsigned kind = decide(d, 9), order = decide(d, 2) ? ORDER_SEQ : ORDER_LANES;
  Type x = kind == REDUCE_ANY || kind == REDUCE_EVERY ? TYPE_BOOL : decide_type(d, kind == REDUCE_LOGSUMEXP ? F : F | I), t = x;
  if (kind == REDUCE_ARGMAX || kind == REDUCE_ARGMIN) t = TYPE_I64;
  if (kind == REDUCE_LOGSUMEXP) order = ORDER_BLOCKS;
  const Node *a = pick_over(p, d, x, LEVEL_ELEMENT, s);
  unsigned axes = decide(d, s->rank + 1);
  add(p, graph_node(g, OP_REDUCE, t, without(p, s, axes), axes, (int32_t)(kind | order << 8), 1, &a));
}

static void make_contract(Pool *p, Decisions *d) {
  const Space *s = decide_space(p, d, true);
  Type t = decide_type(d, F | I);
  unsigned n = 1 + decide(d, 3), axes = decide(d, s->rank + 1);
  const Node *a[3] = {pick_over(p, d, t, LEVEL_ELEMENT, s)};
  for (unsigned k = 1; k < n; k++) a[k] = pick(p, d, t, LEVEL_ELEMENT, s);
  add(p, graph_node(p->graph, OP_CONTRACT, t, without(p, s, axes), axes, (int32_t)decide(d, 1u << n), n, a));
}

static void make_map(Pool *p, Decisions *d) {
  const Space *from = decide_space(p, d, true), *to = decide_space(p, d, false);
  Type t = decide_type(d, F | I | B);
  const Node *a[3] = {pick_over(p, d, t, LEVEL_ELEMENT, from)};
  for (unsigned k = 0; k < from->rank; k++) a[k + 1] = index_over(p, d, to);
  add(p, graph_node(p->graph, OP_MAP, t, to, 0, 0, 1 + from->rank, a));
}

static void make_gather(Pool *p, Decisions *d) {
  const Module *m = p->graph->module;
  unsigned k = decide(d, m->n_operands);
  const Space *s = decide_space(p, d, false);
  if (!m->operands[k].item_shape) return;
  const Node *a[2] = {index_over(p, d, s), pick(p, d, TYPE_BOOL, LEVEL_ELEMENT, s)};
  unsigned guarded = decide(d, 2);
  add(p, graph_node(p->graph, OP_READ, type_arithmetic(m->operands[k].storage), s, k, (int32_t)guarded, 1 + guarded, a));
}

static void make_rows(Pool *p, Decisions *d) {
  static const ReduceKind kinds[] = {REDUCE_SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN};
  Graph *g = p->graph;
  unsigned which = decide(d, 6);
  const Space *s = which < 4 ? decide_space(p, d, true) : p->space[which == 4 ? 4 : 3 + decide(d, 2)];
  Type t = decide_type(d, which < 2 ? F | I : F);
  const Node *x = pick_over(p, d, t, LEVEL_ELEMENT, s), *args[3] = {x};
  unsigned axes = decide(d, s->rank + 1), n = 1 + decide(d, 2);
  for (unsigned k = 0; k < n; k++) args[k + 1] = which == 3 ? pick(p, d, t, LEVEL_ELEMENT, s) : NULL;
  switch (which) {
    case 0: add(p, graph_node(g, OP_CUMULATE, t, s, 0, kinds[decide(d, 4)], 1, &x)); break;
    case 1: add(p, graph_node(g, OP_ORDER, TYPE_I64, s, 0, 0, 1, &x)); break;
    case 2: add(p, graph_node(g, OP_SOFTMAX, t, s, axes, 0, 1, &x)); break;
    case 3: add(p, graph_node(g, OP_ATTEND, t, without(p, s, axes), axes, 0, 1 + n, args)); break;
    default: add(p, graph_node(g, which == 4 ? OP_EIGVEC : OP_QR, t, s, 0, 0, 1, &x)); break;
  }
}

/* Over the items of a call: the oracle has one item and does not run it. */
static void make_total(Pool *p, Decisions *d) {
  static const Type types[] = {TYPE_F64, TYPE_I64, TYPE_BOOL};
  unsigned which = decide(d, 3);
  if (!p->unrunnable) return;
  const Node *x = pick(p, d, types[which], LEVEL_ITEM, p->space[0]);
  add(p, graph_node(p->graph, OP_TOTAL, types[which], p->space[0], 0, (int32_t)(which == 2 ? REDUCE_ANY + decide(d, 2) : decide(d, 4)), 1, &x));
}

static void make_scatter(Pool *p, Decisions *d) {
  const Space *s = decide_space(p, d, true), *from = decide_space(p, d, true);
  unsigned adds = decide(d, 2);
  Type t = decide_type(d, adds ? F | I : F | I | B);
  const Node *a[4] = {pick_over(p, d, t, LEVEL_ELEMENT, s), pick_over(p, d, t, LEVEL_ELEMENT, from)};
  for (unsigned k = 0; k < s->rank; k++) a[k + 2] = index_over(p, d, from);
  add(p, graph_node(p->graph, OP_SCATTER, t, s, 0, (int32_t)adds, 2 + s->rank, a));
}

static void make_philox(Pool *p, Decisions *d) {
  const Space *s = decide_space(p, d, false);
  const Node *a[6];
  for (unsigned k = 0; k < 6; k++) a[k] = k ? pick(p, d, TYPE_I64, LEVEL_ELEMENT, s) : index_over(p, d, s);
  add(p, graph_node(p->graph, OP_PHILOX, TYPE_I64, s, decide(d, 4), 0, 6, a));
}

typedef void (*Maker)(Pool *, Decisions *);
static const Maker structure[] = {make_reduce, make_contract, make_map, make_gather, make_rows, make_scatter, make_philox, make_rows, make_total};
enum { STRUCTURE = sizeof structure / sizeof *structure, LEAVES = 6, SCANS = 4, IS_PASS = 0xd0 };      /* first bytes above IS_PASS are passes */

static void make_operation(Pool *p) {
  Decisions d = {p->record, GENOME_RECORD, 0};
  p->record += GENOME_RECORD;
  unsigned which = byte(&d);
  if (which >= IS_PASS) return;
  p->left--;
  which %= SHAPES + LEAVES + SCANS + (p->wide && p->most == LEVEL_ELEMENT ? 4 * STRUCTURE : 0);
  if (which < SHAPES) make_element(p, &d, which);
  else if ((which -= SHAPES) < LEAVES) make_leaf(p, &d);
  else if ((which -= LEAVES) >= SCANS) structure[(which - SCANS) % STRUCTURE](p, &d);
  else if (p->depth < 3) make_scan(p, &d);
}

/* --- roots ----------------------------------------------------------------------------------------------------------------------- */

static void make_write(Pool *p, Decisions *d, unsigned k, const Node *guard) {
  const Operand *o = &p->graph->module->operands[k];
  Level most = o->scope == SCOPE_TENSOR ? LEVEL_ELEMENT : o->scope == SCOPE_SCALAR ? LEVEL_ITEM : LEVEL_GLOBAL;
  Level condition = o->scope == SCOPE_GLOBAL ? LEVEL_GLOBAL : LEVEL_ITEM;
  unsigned how = byte(d);
  if (o->role == ROLE_GRAD || o->role == ROLE_IN || (k && how % 3 == 0)) return;
  const Space *s = p->space[o->scope == SCOPE_TENSOR];
  const Node *value = pick(p, d, type_arithmetic(o->storage), most, s);
  const Node *when = k == GUARDED ? guard : how % 3 == 1 ? pick(p, d, TYPE_BOOL, condition, p->space[0]) : NULL;
  graph_write(p->graph, k, value, when);
  if (when && how & 128) graph_write(p->graph, k, pick(p, d, type_arithmetic(o->storage), most, s), pick(p, d, TYPE_BOOL, condition, p->space[0]));
  if (o->role == ROLE_STATE && how & 64) graph_exists(p->graph, k, how & 32 ? pick(p, d, TYPE_BOOL, condition, p->space[0]) : NULL);
}

static void make_requirement(Pool *p, Decisions *d) {
  static const char *const names[4] = {"a", NULL, "b", "c"};
  const Node *value[4];
  unsigned n = decide(d, 5);
  for (unsigned k = 0; k < n; k++) value[k] = pick(p, d, decide_type(d, F | I | B), LEVEL_GLOBAL, p->space[0]);
  const Node *c = pick(p, d, TYPE_BOOL, LEVEL_GLOBAL, p->space[0]), *more = graph_op2(p->graph, OP_OR, c, p->node[HYPERS - 1]);
  graph_require(p->graph, "fuzz \"it\"", decide(d, 3) ? more : c, n, value, names);
}

/* false: the oracle, which has one item, cannot run all that may be in it. *wide: lowering may refuse it: a requirement may need elements, an extent may. */
static bool make_graph(Module *m, bool *wide, Decisions *head, const uint8_t *records, const uint8_t *end) {
  Graph *g = graph_new(m, "step");
  g->advances = true;
  m->graphs = arena_array(m->arena, 1, sizeof *m->graphs);
  m->graphs[m->n_graphs++] = g;
  Pool *p = arena_alloc(m->arena, sizeof *p);
  unsigned how = byte(head);
  *p = (Pool){.graph = g, .most = LEVEL_ELEMENT, .record = records, .end = end, .left = GENOME_OPERATIONS, .long_left = GENOME_FUNCTIONS, .wide = how % 4 == 3, .unrunnable = how % 8 == 7};
  const Space *scalar = p->space[0] = graph_scalar_space(g);
  const Node *count = graph_node(g, OP_SIZE, TYPE_I64, scalar, 0, -1, 0, NULL), *three = p->wide ? graph_i64(g, 3) : NULL, *both[2] = {three, count}, *square[2] = {three, three};
  p->space[1] = graph_space(g, 1, &count);
  if (p->wide) { p->space[2] = graph_space(g, 1, &three); p->space[3] = graph_space(g, 2, both); p->space[4] = graph_space(g, 2, square); }
  for (unsigned k = 0; k < HYPERS; k++) add(p, graph_node(g, OP_HYPER, m->hypers[k].type, scalar, k, 0, 0, NULL));
  add(p, graph_node(g, OP_STEP, TYPE_I64, scalar, 0, 0, 0, NULL));
  const Node *guard = decide(head, 2) ? p->node[3] : graph_element(g, OP_GT, TYPE_BOOL, 2, (const Node *[]){p->node[0], graph_f64(g, 0)});
  add(p, guard);
  for (unsigned k = 0; k < m->n_operands; k++) {
    Type t = type_arithmetic(m->operands[k].storage);
    if (m->operands[k].scope != SCOPE_TENSOR) add(p, graph_node(g, OP_SCALAR, t, scalar, k, 0, 0, NULL));
    else add(p, graph_node(g, OP_READ, t, p->space[1], k, k == GUARDED, k == GUARDED, &guard));
  }
  while (p->record < p->end && p->left) make_operation(p);
  for (unsigned k = 0; k < m->n_operands; k++) make_write(p, head, k, guard);
  for (unsigned n = decide(head, 8); n > 5; n--) make_requirement(p, head);
  *wide = p->wide;
  return !p->unrunnable;
}

/* --- passes ------------------------------------------------------------------------------------------------------------------------ */

/* Functions are expanded after the first `early` passes; lowering, with a schedule or without, follows the graph passes. */
static Pipeline make_pipeline(Arena *a, const uint8_t *record, const uint8_t *end, unsigned early, bool lowers, bool schedules) {
  Step *steps[2] = {arena_array(a, GENOME_PASSES + 1, sizeof(Step)), arena_array(a, GENOME_PASSES + 1, sizeof(Step))};
  unsigned n[2] = {0, 0};
  const Pass *choice[2][64], *expand = pass_find("expand");
  unsigned choices[2] = {0, 0};
  for (unsigned k = 0; k < n_passes; k++) {
    if (passes[k].form != PASS_LOWER && passes[k].exact) choice[passes[k].form == PASS_KERNEL][choices[passes[k].form == PASS_KERNEL]++] = &passes[k];
  }
  for (; record < end; record += GENOME_RECORD) {
    Decisions d = {record, GENOME_RECORD, 0};
    if (byte(&d) < IS_PASS) continue;
    unsigned part = byte(&d) & 1, which = decide(&d, choices[part]), how = byte(&d);
    if (n[part] == GENOME_PASSES) continue;
    Step *s = &steps[part][n[part]++];
    s->pass = choice[part][which];
    if (part && how & 1) s->args = (PassArgs){.lanes = 1 << (how >> 1) % 7, .unroll = 1 + decide(&d, 16), .limit = 1 + decide(&d, 64)};
  }
  Pipeline p = {.steps = arena_array(a, 2 * GENOME_PASSES + 4, sizeof(Step))};
  for (unsigned k = 0; k < n[0] || k <= early; k++) {
    if (k == early) p.steps[p.n++].pass = expand;
    if (k < n[0]) p.steps[p.n++] = steps[0][k];
  }
  if (!lowers) return p;
  if (schedules) p.steps[p.n++].pass = pass_find("schedule");
  p.steps[p.n++].pass = pass_find("lower");
  for (unsigned k = 0; k < n[1]; k++) p.steps[p.n++] = steps[1][k];
  return p;
}

/* --- the case ------------------------------------------------------------------------------------------------------------------------ */

void genome_case(OracleCase *c, const uint8_t *data, size_t size) {
  uint8_t head[GENOME_HEAD] = {0};
  memcpy(head, data, size < GENOME_HEAD ? size : GENOME_HEAD);
  Decisions d = {head, GENOME_HEAD, 1};
  const uint8_t *records = data + (size < GENOME_HEAD ? size : GENOME_HEAD), *end = records + (data + size - records) / GENOME_RECORD * GENOME_RECORD;
  c->data = byte(&d);
  c->data |= byte(&d) << 8;
  unsigned how = byte(&d), early = how & 1 ? 0 : how >> 1 & 3;
  c->texts = how % 5 == 0;
  c->module = declare(c->arena, c->diag, &d);
  bool runs = make_graph(c->module, &c->may_refuse, &d, records, end);
  c->graph = c->module->graphs[0];
  c->pipeline = make_pipeline(c->arena, records, end, early, runs, how & 64);
  for (unsigned i = 0; i < c->graph->n_nodes; i++) statistics.op[c->graph->nodes[i]->op]++;
  for (unsigned k = 0; k < c->pipeline.n; k++) statistics.pass[c->pipeline.steps[k].pass - passes]++;
}
