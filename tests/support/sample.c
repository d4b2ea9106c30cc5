/* sample.c: small rules as graphs. */
#include "tests/support/sample.h"
#include <string.h>

const char *const sample_names[SAMPLE_COUNT] = {"adamw", "momentum", "scalars", "swap", "branches", "scans"};

static unsigned add_operand(Module *m, const char *name, Role role, Scope scope, Type storage) {
  Operand *all = arena_array(m->arena, m->n_operands + 1, sizeof *all);
  if (m->n_operands) memcpy(all, m->operands, m->n_operands * sizeof *all);
  all[m->n_operands] = (Operand){.name = name, .role = role, .scope = scope, .storage = storage, .item_shape = scope == SCOPE_TENSOR};
  m->operands = all;
  return m->n_operands++;
}

static unsigned add_hyper(Module *m, const char *name, Type type, double value) {
  Hyper *all = arena_array(m->arena, m->n_hypers + 1, sizeof *all);
  if (m->n_hypers) memcpy(all, m->hypers, m->n_hypers * sizeof *all);
  Bits bits = type == TYPE_F64 ? bits_from_f64(value, TYPE_F64) : (Bits)(int64_t)value;
  all[m->n_hypers] = (Hyper){.name = name, .type = type, .has_default = true, .value = bits};
  m->hypers = all;
  return m->n_hypers++;
}

typedef const Node *N;
typedef struct Builder { Module *m; Graph *g; const Space *space; } Builder;

static N scalar(Builder *b, Op op, Type type, int64_t imm) { return graph_node(b->g, op, type, graph_scalar_space(b->g), imm, 0, 0, NULL); }
static N hyper(Builder *b, unsigned k) { return scalar(b, OP_HYPER, b->m->hypers[k].type, k); }
static N read(Builder *b, unsigned k, N when) { return graph_node(b->g, OP_READ, type_arithmetic(b->m->operands[k].storage), b->space, k, when != NULL, when != NULL, &when); }
static N op(Builder *b, Op o, N x, N y) { return graph_op2(b->g, o, x, y); }
static N f32(Builder *b, N x) { return graph_cast(b->g, TYPE_F32, x); }
static N powi(Builder *b, N x, N n) { return graph_element(b->g, OP_POWI, x->type, 2, (N[]){x, n}); }

static Builder begin(Arena *arena, Diag *diag, const char *name) {
  Builder b = {.m = arena_alloc(arena, sizeof(Module))};
  b.m->arena = arena;
  b.m->diag = diag;
  b.m->name = name;
  b.m->has_step = true;
  return b;
}

/* Once the declarations are there: the one graph, `step`. */
static void open_graph(Builder *b) {
  b->g = graph_new(b->m, "step");
  b->g->advances = true;
  N count = graph_node(b->g, OP_SIZE, TYPE_I64, graph_scalar_space(b->g), 0, -1, 0, NULL);
  b->space = graph_space(b->g, 1, &count);
  b->m->graphs = arena_array(b->m->arena, 1, sizeof *b->m->graphs);
  b->m->graphs[b->m->n_graphs++] = b->g;
}

static void adamw(Builder *b) {
  Module *m = b->m;
  unsigned lr = add_hyper(m, "lr", TYPE_F64, 1e-3), beta1 = add_hyper(m, "beta1", TYPE_F64, 0.9), beta2 = add_hyper(m, "beta2", TYPE_F64, 0.999);
  unsigned eps = add_hyper(m, "eps", TYPE_F64, 1e-8), decay = add_hyper(m, "decay", TYPE_F64, 1e-2);
  unsigned p = add_operand(m, "p", ROLE_PARAM, SCOPE_TENSOR, TYPE_F32), g = add_operand(m, "g", ROLE_GRAD, SCOPE_TENSOR, TYPE_F32);
  unsigned ms = add_operand(m, "m", ROLE_STATE, SCOPE_TENSOR, TYPE_F32), vs = add_operand(m, "v", ROLE_STATE, SCOPE_TENSOR, TYPE_F32);
  open_graph(b);
  N one = graph_f64(b->g, 1), t = scalar(b, OP_STEP, TYPE_I64, 0), zero = graph_f64(b->g, 0);
  N gr = read(b, g, NULL), b1 = hyper(b, beta1), b2 = hyper(b, beta2);
  graph_require(b->g, "0 <= beta1 < 1", op(b, OP_AND, op(b, OP_LE, zero, b1), op(b, OP_LT, b1, one)), 1, &b1, (const char *[]){"beta1"});
  N pv = op(b, OP_MUL, read(b, p, NULL), f32(b, op(b, OP_SUB, one, op(b, OP_MUL, hyper(b, lr), hyper(b, decay)))));
  N mv = op(b, OP_ADD, op(b, OP_MUL, f32(b, b1), read(b, ms, NULL)), op(b, OP_MUL, f32(b, op(b, OP_SUB, one, b1)), gr));
  N vv = op(b, OP_ADD, op(b, OP_MUL, f32(b, b2), read(b, vs, NULL)), op(b, OP_MUL, f32(b, op(b, OP_SUB, one, b2)), op(b, OP_MUL, gr, gr)));
  N step = f32(b, op(b, OP_DIV, hyper(b, lr), op(b, OP_SUB, one, powi(b, b1, t))));
  N root = graph_op1(b->g, OP_SQRT, op(b, OP_DIV, vv, f32(b, op(b, OP_SUB, one, powi(b, b2, t)))));
  pv = op(b, OP_SUB, pv, op(b, OP_DIV, op(b, OP_MUL, step, mv), op(b, OP_ADD, root, f32(b, hyper(b, eps)))));
  graph_write(b->g, p, pv, NULL);
  graph_write(b->g, ms, mv, NULL);
  graph_write(b->g, vs, vv, NULL);
}

static void momentum(Builder *b) {
  Module *m = b->m;
  unsigned lr = add_hyper(m, "lr", TYPE_F64, 0.1), mom = add_hyper(m, "momentum", TYPE_F64, 0.9), nesterov = add_hyper(m, "nesterov", TYPE_BOOL, 1);
  unsigned p = add_operand(m, "p", ROLE_PARAM, SCOPE_TENSOR, TYPE_F32), g = add_operand(m, "g", ROLE_GRAD, SCOPE_TENSOR, TYPE_BF16);
  unsigned buf = add_operand(m, "b", ROLE_STATE, SCOPE_TENSOR, TYPE_BF16);
  open_graph(b);
  N has = op(b, OP_GT, hyper(b, mom), graph_f64(b->g, 0)), t = scalar(b, OP_STEP, TYPE_I64, 0), gr = read(b, g, NULL);
  N first = op(b, OP_EQ, t, graph_i64(b->g, 1));
  N bv = graph_select(b->g, first, gr, op(b, OP_ADD, op(b, OP_MUL, f32(b, hyper(b, mom)), read(b, buf, has)), gr));
  N u = graph_select(b->g, hyper(b, nesterov), op(b, OP_ADD, gr, op(b, OP_MUL, f32(b, hyper(b, mom)), bv)), bv);
  u = graph_select(b->g, has, u, gr);
  graph_write(b->g, p, op(b, OP_SUB, read(b, p, NULL), op(b, OP_MUL, f32(b, hyper(b, lr)), u)), NULL);
  graph_write(b->g, buf, bv, has);
}

static void scalars(Builder *b) {
  Module *m = b->m;
  unsigned lr = add_hyper(m, "lr", TYPE_F64, 0.1);
  unsigned p = add_operand(m, "p", ROLE_PARAM, SCOPE_TENSOR, TYPE_F32), g = add_operand(m, "g", ROLE_GRAD, SCOPE_TENSOR, TYPE_F32);
  unsigned x = add_operand(m, "x", ROLE_IN, SCOPE_TENSOR, TYPE_F16), y = add_operand(m, "y", ROLE_OUT, SCOPE_TENSOR, TYPE_F32);
  m->operands[x].optional = true;
  m->operands[y].optional = true;        /* absent in some items */
  m->operands[p].flush = true;
  unsigned k = add_operand(m, "k", ROLE_STATE, SCOPE_SCALAR, TYPE_I64), s = add_operand(m, "s", ROLE_STATE, SCOPE_SCALAR, TYPE_F64), h = add_operand(m, "h", ROLE_STATE, SCOPE_SCALAR, TYPE_F32);
  unsigned d = add_operand(m, "d", ROLE_STATE, SCOPE_GLOBAL, TYPE_F64), e = add_operand(m, "e", ROLE_STATE, SCOPE_GLOBAL, TYPE_F64);
  open_graph(b);
  N kv = scalar(b, OP_SCALAR, TYPE_I64, k), sv = scalar(b, OP_SCALAR, TYPE_F64, s), hv = scalar(b, OP_SCALAR, TYPE_F32, h);
  N dv = scalar(b, OP_SCALAR, TYPE_F64, d), ev = scalar(b, OP_SCALAR, TYPE_F64, e);
  N odd = op(b, OP_EQ, op(b, OP_AND, kv, graph_i64(b->g, 1)), graph_i64(b->g, 1));
  N xv = read(b, x, NULL), gv = read(b, g, NULL);
  N scale = f32(b, op(b, OP_MUL, op(b, OP_MUL, hyper(b, lr), op(b, OP_ADD, sv, dv)), graph_cast(b->g, TYPE_F64, hv)));
  graph_write(b->g, p, op(b, OP_MUL, graph_f32(b->g, 1e-38f), op(b, OP_SUB, read(b, p, NULL), op(b, OP_MUL, scale, op(b, OP_ADD, gv, xv)))), odd);
  graph_write(b->g, y, op(b, OP_ADD, gv, f32(b, sv)), NULL);
  graph_write(b->g, k, op(b, OP_ADD, kv, graph_i64(b->g, 1)), NULL);
  graph_write(b->g, s, op(b, OP_ADD, sv, graph_cast(b->g, TYPE_F64, kv)), odd);
  graph_write(b->g, h, op(b, OP_MUL, hv, f32(b, sv)), NULL);
  graph_write(b->g, d, op(b, OP_ADD, ev, hyper(b, lr)), NULL);
  graph_write(b->g, e, dv, op(b, OP_LT, dv, graph_f64(b->g, 0)));
}

static void swap(Builder *b) {
  Module *m = b->m;
  unsigned p = add_operand(m, "p", ROLE_PARAM, SCOPE_TENSOR, TYPE_F32), q = add_operand(m, "q", ROLE_STATE, SCOPE_TENSOR, TYPE_F32);
  open_graph(b);
  graph_write(b->g, p, read(b, q, NULL), NULL);
  graph_write(b->g, q, read(b, p, NULL), NULL);
}

static void branches(Builder *b) {
  Module *m = b->m;
  unsigned n = add_hyper(m, "n", TYPE_I64, 3), c = add_hyper(m, "c", TYPE_BOOL, 1), d = add_hyper(m, "d", TYPE_BOOL, 0);
  unsigned p = add_operand(m, "p", ROLE_PARAM, SCOPE_TENSOR, TYPE_F32), q = add_operand(m, "q", ROLE_STATE, SCOPE_TENSOR, TYPE_I32), r = add_operand(m, "r", ROLE_STATE, SCOPE_TENSOR, TYPE_U8);
  open_graph(b);
  N cv = hyper(b, c), both = op(b, OP_AND, cv, hyper(b, d)), pv = read(b, p, NULL), qv = read(b, q, cv), rv = read(b, r, both);
  graph_write(b->g, p, powi(b, pv, hyper(b, n)), NULL);
  graph_write(b->g, q, op(b, OP_IMOD, op(b, OP_ADD, qv, rv), graph_i64(b->g, 7)), cv);
  graph_write(b->g, r, graph_select(b->g, op(b, OP_GT, pv, graph_f32(b->g, 0)), qv, op(b, OP_ADD, rv, graph_i64(b->g, 200))), both);
}

static N carry(Builder *b, Type type, const Space *space, int64_t which, int depth, Level level) {
  return graph_node(b->g, OP_CARRY, type, space, which, depth | (int)level << 8, 0, NULL);
}

static N scan(Builder *b, int depth, bool reverse, N trips, unsigned n, const N *start, const N *next) {
  N args[4] = {trips};
  for (unsigned k = 0; k < n; k++) args[k + 1] = start[k];
  N results[3];
  for (unsigned k = 0; k < n; k++) results[k] = next[k];
  return graph_region_node(b->g, OP_SCAN, TYPE_BOOL, graph_scalar_space(b->g), depth, reverse, n + 1, args, &(Region){n, results});
}

static N result(Builder *b, N of, Type type, const Space *space, int64_t which) { return graph_node(b->g, OP_RESULT, type, space, which, 0, 1, &of); }

static void scans(Builder *b) {
  Module *m = b->m;
  unsigned n = add_hyper(m, "n", TYPE_I64, 3), lr = add_hyper(m, "lr", TYPE_F64, 0.1);
  unsigned p = add_operand(m, "p", ROLE_PARAM, SCOPE_TENSOR, TYPE_F32), q = add_operand(m, "q", ROLE_STATE, SCOPE_TENSOR, TYPE_F32), s = add_operand(m, "s", ROLE_STATE, SCOPE_SCALAR, TYPE_F64);
  open_graph(b);
  const Space *none = graph_scalar_space(b->g);
  N nv = hyper(b, n), half = graph_f64(b->g, 0.5), lrv = hyper(b, lr), pv = read(b, p, NULL);
  /* a = a/2 + k, k downwards; c += the sum of a*j over j < k */
  N k = carry(b, TYPE_I64, none, -1, 0, LEVEL_GLOBAL), a = carry(b, TYPE_F64, none, 0, 0, LEVEL_GLOBAL), c = carry(b, TYPE_F64, none, 1, 0, LEVEL_GLOBAL);
  N j = carry(b, TYPE_I64, none, -1, 1, LEVEL_GLOBAL), d = carry(b, TYPE_F64, none, 0, 1, LEVEL_GLOBAL);
  N inner = scan(b, 1, false, k, 1, &c, (N[]){op(b, OP_ADD, d, op(b, OP_MUL, a, graph_cast(b->g, TYPE_F64, j)))});
  N next[2] = {op(b, OP_ADD, op(b, OP_MUL, a, half), graph_cast(b->g, TYPE_F64, k)), result(b, inner, TYPE_F64, none, 0)};
  N outer = scan(b, 0, true, nv, 2, (N[]){lrv, half}, next);
  N x = result(b, outer, TYPE_F64, none, 0), y = result(b, outer, TYPE_F64, none, 1);
  /* an element: e = e*p + k, k downwards */
  N e = carry(b, TYPE_F32, b->space, 0, 0, LEVEL_ELEMENT);
  N poly = scan(b, 0, true, nv, 1, &pv, (N[]){op(b, OP_ADD, op(b, OP_MUL, e, pv), f32(b, k))});
  graph_write(b->g, p, op(b, OP_MUL, result(b, poly, TYPE_F32, b->space, 0), f32(b, x)), NULL);
  graph_write(b->g, q, op(b, OP_ADD, read(b, q, NULL), f32(b, y)), op(b, OP_OR, op(b, OP_LT, lrv, y), op(b, OP_LT, y, graph_f64(b->g, 0))));
  graph_write(b->g, s, op(b, OP_SUB, y, x), NULL);
}

Module *sample_module(Arena *arena, Diag *diag, Sample which) {
  static void (*const make[SAMPLE_COUNT])(Builder *) = {adamw, momentum, scalars, swap, branches, scans};
  Builder b = begin(arena, diag, sample_names[which]);
  make[which](&b);
  return b.m;
}
