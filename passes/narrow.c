/* narrow.c: pass `narrow`: 64-bit integer operations become 32-bit ones where the ranges of operands and result show that nothing is lost.
 *
 * Twice as many fit a vector, and 32-bit integers convert to floats in one instruction everywhere. Only operations whose operands
 * are 32-bit for nothing are changed: constants, widened i32, bool and small storage integers, results of this pass. Exact: every value keeps
 * its number. Works best after `fold`. */
#include "ir/codes.h"
#include "passes/passes.h"

typedef struct Interval { bool known; int64_t low, high; } Interval;
typedef struct Narrow { Interval *of; unsigned n; size_t capacity; } Narrow;     /* by id of the new graph */

static const Interval everything = {true, INT64_MIN, INT64_MAX};

static Interval between(int64_t low, int64_t high) { return (Interval){true, low, high}; }

static Interval type_interval(Type t) {
  switch (t) {
    case TYPE_BOOL: return between(0, 1);
    case TYPE_I8: return between(INT8_MIN, INT8_MAX);
    case TYPE_U8: return between(0, UINT8_MAX);
    case TYPE_I32: return between(INT32_MIN, INT32_MAX);
    default: return everything;
  }
}

static Interval hull(const int64_t *x, unsigned n) {
  Interval r = between(x[0], x[0]);
  for (unsigned i = 1; i < n; i++) {
    if (x[i] < r.low) r.low = x[i];
    if (x[i] > r.high) r.high = x[i];
  }
  return r;
}

static bool fits(Interval r) { return r.low >= INT32_MIN && r.high <= INT32_MAX; }

static Interval range(Narrow *p, const Graph *g, const Node *n);

/* ADD, SUB, MUL: the corners, unless one wraps. */
static Interval arithmetic(Op op, Interval a, Interval b) {
  int64_t corner[4];
  for (unsigned i = 0; i < 4; i++) {
    int64_t x = i & 1 ? a.high : a.low, y = i & 2 ? b.high : b.low;
    bool wraps = op == OP_ADD ? __builtin_add_overflow(x, y, &corner[i]) : op == OP_SUB ? __builtin_sub_overflow(x, y, &corner[i])
                                                                                        : __builtin_mul_overflow(x, y, &corner[i]);
    if (wraps) return everything;
  }
  return hull(corner, 4);
}

static int64_t fill(int64_t x) {                           /* the least 2^k - 1 not below x >= 0 */
  uint64_t u = (uint64_t)x;
  for (unsigned s = 1; s < 64; s *= 2) u |= u >> s;
  return (int64_t)u;
}

static Interval range_of(Narrow *p, const Graph *g, const Node *n) {
  const Node *const *x = n->args;
  if (n->op == OP_CONST) {
    int64_t c = n->type == TYPE_I32 ? (int32_t)n->imm : n->imm;
    return between(c, c);
  }
  if (n->op == OP_SIZE || n->op == OP_INDEX) return between(0, INT64_C(1) << 62);
  if (n->op == OP_READ) return type_interval(g->module->operands[n->imm].storage);     /* 0 outside is in every one */
  if (n->op == OP_PHILOX) return between(0, UINT32_MAX);
  if (n->op == OP_CAST) return type_kind((Type)x[0]->type) == KIND_FLOAT ? everything : range(p, g, x[0]);
  if (!op_is_element((Op)n->op) || n->op == OP_BITCAST) return everything;
  if (element_rule((Element)n->op) == RULE_ENCODE) return between(0, code_maps[code_map_of((Element)n->op)].codes - 1);
  Interval a = range(p, g, x[n->op == OP_SELECT ? 1 : 0]), b = n->n_args > 1 ? range(p, g, x[n->n_args - 1]) : a;
  bool shift = b.low == b.high && b.low >= 0 && b.low < 64;
  switch ((int)n->op) {
    case OP_ADD: case OP_SUB: case OP_MUL: return arithmetic((Op)n->op, a, b);
    case OP_NEG: return arithmetic(OP_SUB, between(0, 0), a);
    case OP_SELECT: return hull((int64_t[]){a.low, a.high, b.low, b.high}, 4);
    case OP_AND:
      if (a.low >= 0 && b.low >= 0) return between(0, a.high < b.high ? a.high : b.high);
      return a.low >= 0 ? between(0, a.high) : b.low >= 0 ? between(0, b.high) : everything;
    case OP_OR: case OP_XOR: return a.low >= 0 && b.low >= 0 ? between(0, fill(a.high | b.high)) : everything;
    case OP_USHR: return shift && b.low > 0 ? (a.low >= 0 ? between(a.low >> b.low, a.high >> b.low) : between(0, INT64_MAX >> (b.low - 1))) : everything;
    case OP_SHR: return shift ? between(a.low >> b.low, a.high >> b.low) : everything;
    case OP_SHL: return shift && b.low < 62 ? arithmetic(OP_MUL, a, between(INT64_C(1) << b.low, INT64_C(1) << b.low)) : everything;
    case OP_IMOD: return b.low == b.high && b.low > 0 ? between(0, b.low - 1) : everything;
    case OP_IDIV: return a.low >= 0 && b.low == b.high && b.low > 0 ? between(a.low / b.low, a.high / b.low) : everything;
    default: return everything;
  }
}

static Interval range(Narrow *p, const Graph *g, const Node *n) {
  if (n->type != TYPE_I64 && n->type != TYPE_I32) return type_interval((Type)n->type);
  if (n->id >= p->n) {
    p->of = arena_grow(g->arena, p->of, &p->capacity, n->id + 1, sizeof *p->of);
    while (p->n <= n->id) p->of[p->n++] = (Interval){0};
  }
  if (!p->of[n->id].known) {
    Interval r = range_of(p, g, n);
    p->of[n->id] = n->type == TYPE_I64 || fits(r) ? r : type_interval(TYPE_I32);       /* i32 wraps where it does not fit */
  }
  return p->of[n->id];
}

/* x in 32 bits, where that costs nothing; else NULL. */
static const Node *narrow(Narrow *p, Graph *g, const Node *x) {
  if (x->type != TYPE_I64 || !fits(range(p, g, x))) return NULL;
  if (x->op == OP_CONST) return graph_const(g, TYPE_I32, (Bits)x->imm & UINT32_MAX);
  if (x->op == OP_READ) return graph_cast(g, TYPE_I32, x);
  if (x->op == OP_CAST && x->args[0]->type == TYPE_I32) return x->args[0];
  if (x->op == OP_CAST && x->args[0]->type == TYPE_BOOL) return graph_cast(g, TYPE_I32, x->args[0]);
  return NULL;
}

static bool changeable(Op op) {
  switch ((int)op) {
    case OP_ADD: case OP_SUB: case OP_MUL: case OP_NEG: case OP_AND: case OP_OR: case OP_XOR: case OP_SHL: case OP_SHR: case OP_USHR: case OP_IDIV:
    case OP_IMOD: case OP_SELECT: case OP_LT: case OP_LE: case OP_GT: case OP_GE: case OP_EQ: case OP_NE: return true;
    default: return false;
  }
}

static const Node *narrow_node(Graph *g, const Node *n, void *context) {
  Narrow *p = context;
  if (n->op == OP_CAST && type_kind((Type)n->type) == KIND_FLOAT && n->args[0]->type == TYPE_I64 && n->args[0]->op == OP_CAST) {
    const Node *x = narrow(p, g, n->args[0]);              /* the same integer, rounded once either way */
    return x ? graph_cast(g, (Type)n->type, x) : n;
  }
  if (!changeable((Op)n->op) || n->args[n->n_args - 1]->type != TYPE_I64) return n;
  bool compares = n->type == TYPE_BOOL;
  if (!compares && !fits(range(p, g, n))) return n;
  bool shifts = n->op == OP_SHL || n->op == OP_SHR || n->op == OP_USHR;
  if (shifts && (range(p, g, n->args[1]).low < 0 || range(p, g, n->args[1]).high > 31)) return n;      /* 32 and more give 0 in i32 */
  if (n->op == OP_USHR && range(p, g, n->args[0]).low < 0) return n;       /* the sign bits that come down differ in number */
  const Node *x[3];
  bool constant = true;
  for (unsigned i = 0; i < n->n_args; i++) {
    bool condition = n->op == OP_SELECT && !i;
    x[i] = condition ? n->args[0] : narrow(p, g, n->args[i]);
    if (!x[i]) return n;
    constant = constant && (condition || x[i]->op == OP_CONST);
  }
  if (constant) return n;
  const Node *y = graph_element(g, (Op)n->op, compares ? TYPE_BOOL : TYPE_I32, n->n_args, x);
  return compares ? y : graph_cast(g, TYPE_I64, y);
}

void pass_narrow(Unit *unit, const PassArgs *args) {
  Narrow p = {0};
  unit->graph = graph_rewrite(unit->graph, narrow_node, &p);
}
