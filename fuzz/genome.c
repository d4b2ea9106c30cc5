/* genome.c: decisions to modules, pipelines and data; generated from the operation tables. */
#include "fuzz/genome.h"
#include <string.h>

unsigned decide(Decisions *d, unsigned n) {
  unsigned value = 0;
  for (unsigned bytes = n > 256 ? 2 : 1; bytes--; ) value = value << 8 | (d->at < d->size ? d->data[d->at++] : 0);
  return n ? value % n : 0;
}

static const double special[] = {0.0, -0.0, 1, -1, 0.5, 2, 3, 1e-8, 0.9, 0.999, 1e30, -1e30, 1e-30, 0x1p-126, 0x1p-149, -0x1p-149, 0x1.fffffep-127,
                                 0x1.fffffep127, __builtin_inf(), -__builtin_inf(), __builtin_nan(""), 0x1.000001p0, 16777217.0, 1e300, 0x1p-1074, 65504, 1e-3};
enum { SPECIAL = sizeof special / sizeof *special };

Bits decide_value(Decisions *d, Type type) {
  unsigned k = decide(d, SPECIAL + 8);
  if (type == TYPE_BOOL) return k & 1;
  if (type_kind(type) == KIND_INT) {
    static const int64_t whole[] = {0, 1, -1, 2, 7, 63, 64, -64, 1000, 2147483647, -2147483648LL, 9223372036854775807LL, -9223372036854775807LL - 1};
    int64_t v = k < SPECIAL ? whole[k % (sizeof whole / sizeof *whole)] : (int64_t)decide(d, 65536) - 32768;
    return type_bits(type) == 64 ? (Bits)v : (Bits)v & (((Bits)1 << type_bits(type)) - 1);
  }
  if (k < SPECIAL) return bits_from_f64(special[k], type);
  Bits raw = 0;
  for (unsigned i = 0; i < type_bytes(type); i++) raw = raw << 8 | decide(d, 256);
  return raw;
}

/* --- module -------------------------------------------------------------------------------------------------------- */
static const Type storages[] = {TYPE_F32, TYPE_F32, TYPE_BF16, TYPE_F16, TYPE_I32, TYPE_U8, TYPE_F64};

static void declare(Module *m, const char *name, Role role, Scope scope, Type storage, bool flush) {
  m->operands[m->n_operands++] = (Operand){.name = name, .role = role, .scope = scope, .storage = storage, .flush = flush, .item_shape = scope == SCOPE_TENSOR};
}

typedef struct Pool { Graph *graph; const Node *node[512]; unsigned n; const Space *item; } Pool;

static const Node *add(Pool *p, const Node *n) {
  if (n && p->n < sizeof p->node / sizeof *p->node) p->node[p->n++] = n;
  return n;
}

static const Node *constant(Pool *p, Decisions *d, Type type) {
  Bits bits = decide_value(d, type);
  return graph_const(p->graph, type, bits);
}

/* A value of the pool with this type and at most this level; a constant when there is none or chance says so. */
static const Node *pick(Pool *p, Decisions *d, Type type, Level at_most) {
  unsigned fit = 0;
  for (unsigned i = 0; i < p->n; i++) fit += p->node[i]->type == type && p->node[i]->level <= at_most;
  unsigned k = decide(d, fit + 1 + fit / 4);
  for (unsigned i = p->n; i-- > 0; )
    if (p->node[i]->type == type && p->node[i]->level <= at_most && k-- == 0) return p->node[i];
  return add(p, constant(p, d, type));
}

typedef struct Shape_ { Op op; unsigned arity; ElementRule rule; unsigned types; } OpShape;
enum { F = 1, I = 2, B = 4, S = 8 };
static const OpShape shapes[] = {
#define ELEMENT(id, name, arity, rule, types, f, i) {OP_##id, arity, RULE_##rule, types},
#include "ir/element.def"
#undef ELEMENT
#define FUNCTION(id, name, arity, rule, types, accuracy) {OP_##id, arity, RULE_##rule, types},
#include "ir/function.def"
#undef FUNCTION
};

static Type decide_type(Decisions *d, unsigned types) {
  Type choice[5];
  unsigned n = 0;
  if (types & (F | S)) choice[n++] = TYPE_F32;
  if (types & F) choice[n++] = TYPE_F64;
  if (types & I) choice[n++] = TYPE_I64;
  if (types & I) choice[n++] = TYPE_I32;
  if (types & B) choice[n++] = TYPE_BOOL;
  return choice[decide(d, n)];
}

static void grow(Pool *p, Decisions *d) {
  const OpShape *s = &shapes[decide(d, sizeof shapes / sizeof *shapes)];
  Level level = decide(d, 3) ? LEVEL_ELEMENT : LEVEL_GLOBAL;
  Type t = decide_type(d, s->types), result = s->rule == RULE_COMPARE ? TYPE_BOOL : t;
  const Node *a[3] = {0};
  for (unsigned k = 0; k < s->arity; k++) a[k] = pick(p, d, s->rule == RULE_SELECT && k == 0 ? TYPE_BOOL : t, level);
  switch (s->rule) {
  case RULE_CAST: result = decide_type(d, F | I | B); break;
  case RULE_BITS: result = t == TYPE_F32 ? TYPE_I32 : t == TYPE_F64 ? TYPE_I64 : t == TYPE_I32 ? TYPE_F32 : TYPE_F64; break;
  case RULE_POWI: a[1] = decide(d, 2) ? graph_i64(p->graph, (int64_t)decide(d, 12) - 2) : pick(p, d, TYPE_I64, LEVEL_GLOBAL); break;
  default: break;
  }
  if (s->op == OP_CAST && a[0]->type == result) return;
  add(p, graph_element(p->graph, s->op, result, s->arity, a));
}

Module *genome_module(Arena *a, Diag *diag, Decisions *d) {
  Module *m = arena_alloc(a, sizeof *m);
  *m = (Module){.arena = a, .diag = diag, .name = "fuzz", .has_step = true};
  m->hypers = arena_array(a, 4, sizeof *m->hypers);
  static const struct { const char *name; Type type; } hypers[] = {{"lr", TYPE_F64}, {"beta", TYPE_F64}, {"k", TYPE_I64}, {"on", TYPE_BOOL}};
  for (unsigned k = 0; k < 4; k++) m->hypers[m->n_hypers++] = (Hyper){.name = hypers[k].name, .type = hypers[k].type, .has_default = true};
  m->operands = arena_array(a, 8, sizeof *m->operands);
  declare(m, "p", ROLE_PARAM, SCOPE_TENSOR, TYPE_F32, false);
  declare(m, "g", ROLE_GRAD, SCOPE_TENSOR, storages[decide(d, 4)], false);
  declare(m, "m", ROLE_STATE, SCOPE_TENSOR, storages[decide(d, 7)], false);
  declare(m, "v", ROLE_STATE, SCOPE_TENSOR, TYPE_F32, decide(d, 2));
  declare(m, "b", ROLE_STATE, SCOPE_TENSOR, TYPE_F32, false);
  declare(m, "q", ROLE_STATE, SCOPE_SCALAR, TYPE_F64, false);
  declare(m, "s", ROLE_STATE, SCOPE_GLOBAL, TYPE_F64, false);
  declare(m, "c", ROLE_STATE, SCOPE_GLOBAL, TYPE_I64, false);
  Graph *g = graph_new(m, "step");
  g->advances = true;
  m->graphs = arena_array(a, 1, sizeof *m->graphs);
  m->graphs[m->n_graphs++] = g;

  Pool *p = arena_alloc(a, sizeof *p);
  const Space *scalar = graph_scalar_space(g);
  const Node *count = graph_node(g, OP_SIZE, TYPE_I64, scalar, 0, -1, 0, NULL);
  p->graph = g;
  p->item = graph_space(g, 1, &count);
  for (unsigned k = 0; k < m->n_hypers; k++) add(p, graph_node(g, OP_HYPER, m->hypers[k].type, scalar, k, 0, 0, NULL));
  add(p, graph_node(g, OP_STEP, TYPE_I64, scalar, 0, 0, 0, NULL));
  const Node *guard = decide(d, 2) ? p->node[3] : graph_element(g, OP_GT, TYPE_BOOL, 2, (const Node *[]){p->node[0], graph_f64(g, 0)});
  add(p, guard);
  for (unsigned k = 0; k < m->n_operands; k++) {
    Operand *o = &m->operands[k];
    Type t = type_arithmetic(o->storage);
    if (o->scope != SCOPE_TENSOR) add(p, graph_node(g, OP_SCALAR, t, scalar, k, 0, 0, NULL));
    else if (k == 4) add(p, graph_node(g, OP_READ, t, p->item, k, 1, 1, &guard));      /* a state inside `if` */
    else add(p, graph_node(g, OP_READ, t, p->item, k, 0, 0, NULL));
  }
  for (unsigned n = 4 + decide(d, 56); n--; ) grow(p, d);

  static const unsigned written[] = {0, 2, 3, 4, 5, 6, 7};
  for (unsigned k = 0; k < sizeof written / sizeof *written; k++) {
    const Operand *o = &m->operands[written[k]];
    if (written[k] != 0 && !decide(d, 3)) continue;
    Level most = o->scope == SCOPE_TENSOR ? LEVEL_ELEMENT : o->scope == SCOPE_SCALAR ? LEVEL_ITEM : LEVEL_GLOBAL;
    const Node *value = pick(p, d, type_arithmetic(o->storage), most);
    const Node *when = written[k] == 4 ? guard : decide(d, 3) ? NULL : pick(p, d, TYPE_BOOL, LEVEL_GLOBAL);
    graph_write(g, written[k], value, when);
  }
  if (decide(d, 4) == 1) graph_require(g, "fuzz", pick(p, d, TYPE_BOOL, LEVEL_GLOBAL), 0, NULL, NULL);
  return m;
}

Pipeline genome_pipeline(Arena *a, Decisions *d) {
  Pipeline p = {.steps = arena_array(a, 40, sizeof(Step))};
  const Pass *lower = NULL;
  for (unsigned k = 0; k < n_passes; k++)
    if (passes[k].form == PASS_LOWER) lower = &passes[k];
  for (unsigned part = 0; part < 2; part++) {
    PassForm form = part ? PASS_KERNEL : PASS_GRAPH;
    const Pass *choice[64];
    unsigned n = 0;
    for (unsigned k = 0; k < n_passes && n < 64; k++)
      if (passes[k].form == form) {
        choice[n++] = &passes[k];
        if (!part && passes[k].required) p.steps[p.n++] = (Step){.pass = &passes[k]};      /* the interpreters need it */
      }
    for (unsigned k = 1 + decide(d, 10); k-- && n; ) {
      Step *s = &p.steps[p.n++];
      s->pass = choice[decide(d, n)];
      if (part) s->args = (PassArgs){.lanes = 1 << decide(d, 6), .unroll = 1 << decide(d, 3), .limit = decide(d, 9)};
    }
    if (!part) p.steps[p.n++] = (Step){.pass = lower};
  }
  return p;
}

/* --- data ---------------------------------------------------------------------------------------------------------- */
static void put(void *at, Type type, Bits bits) { memcpy(at, &bits, type_bytes(type)); }

Data *data_make(Arena *a, const Module *m, Decisions *d) {
  static const int64_t counts[] = {0, 1, 5, 16, 33, 100, 70};
  const Layout *l = layout_of(m);
  Data *x = arena_alloc(a, sizeof *x);
  x->count = counts[decide(d, sizeof counts / sizeof *counts)];
  x->t = 1 + decide(d, 20);
  x->item_size = l->item_size; x->global_size = l->global_size; x->hyper_size = l->hyper_size;
  x->item = arena_alloc(a, l->item_size + 1); x->global = arena_alloc(a, l->global_size + 1); x->hyper = arena_alloc(a, l->hyper_size + 1);
  for (unsigned k = 0; k < m->n_hypers; k++) {
    Bits bits = decide_value(d, m->hypers[k].type);
    memcpy(x->hyper + 8 * k, &bits, 8);
  }
  x->tensor = arena_array(a, m->n_operands, sizeof *x->tensor);
  uint64_t noise = 88172645463325252u + decide(d, 256);
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    if (o->scope == SCOPE_TENSOR) {
      unsigned bytes = type_bytes(o->storage), mode = decide(d, 3);
      uint8_t *data = x->tensor[k] = arena_array(a, (size_t)x->count + 1, bytes);
      for (int64_t i = 0; i < x->count; i++) {                             /* the first by decision, the rest special values, plain numbers or raw bits */
        noise ^= noise << 13; noise ^= noise >> 7; noise ^= noise << 17;
        Bits bits = i < 4 ? decide_value(d, o->storage) : mode == 0 ? noise : mode == 1 ? bits_from_f64((double)(int64_t)noise * 0x1p-62, o->storage)
                                                        : bits_from_f64(special[noise % SPECIAL], o->storage);
        put(data + (size_t)i * bytes, o->storage, bits);
      }
    } else {
      Bits bits = decide_value(d, type_arithmetic(o->storage));
      memcpy((o->scope == SCOPE_SCALAR ? x->item : x->global) + l->operand[k], &bits, 8);
    }
  }
  return x;
}

static void *copy(Arena *a, const void *from, size_t size) {
  void *p = arena_alloc(a, size + 1);
  return size ? memcpy(p, from, size) : p;
}

Data *data_copy(Arena *a, const Module *m, const Data *x) {
  Data *y = copy(a, x, sizeof *x);
  y->tensor = arena_array(a, m->n_operands, sizeof *y->tensor);
  for (unsigned k = 0; k < m->n_operands; k++)
    if (x->tensor[k]) y->tensor[k] = copy(a, x->tensor[k], (size_t)x->count * type_bytes(m->operands[k].storage));
  y->item = copy(a, x->item, x->item_size); y->global = copy(a, x->global, x->global_size); y->hyper = copy(a, x->hyper, x->hyper_size);
  return y;
}

static Bits get(const void *at, Type type) {
  Bits bits = 0;
  memcpy(&bits, at, type_bytes(type));
  return bits;
}

const char *data_difference(Arena *a, const Module *m, const Data *x, const Data *y) {
  const Layout *l = layout_of(m);
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    Type t = o->scope == SCOPE_TENSOR ? o->storage : type_arithmetic(o->storage);
    int64_t n = o->scope == SCOPE_TENSOR ? x->count : 1;
    const uint8_t *at[2];
    for (int side = 0; side < 2; side++) {
      const Data *z = side ? y : x;
      at[side] = o->scope == SCOPE_TENSOR ? z->tensor[k] : (o->scope == SCOPE_SCALAR ? z->item : z->global) + l->operand[k];
    }
    for (int64_t i = 0; i < n; i++) {
      Bits u = get(at[0] + (size_t)i * type_bytes(t), t), v = get(at[1] + (size_t)i * type_bytes(t), t);
      if (!bits_equal(u, v, t))
        return arena_printf(a, "%s[%lld]: %#llx (%.9g) against %#llx (%.9g)", o->name, (long long)i, (unsigned long long)u, bits_to_f64(u, t),
                            (unsigned long long)v, bits_to_f64(v, t));
    }
  }
  return NULL;
}
