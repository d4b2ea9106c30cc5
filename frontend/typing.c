/* typing.c: which type an operation happens in, where f64 ends, and what the operators mean (language, sections 4 and 5). */
#include <math.h>
#include <string.h>
#include "frontend/values.h"

typedef enum OperandClass { NUMBERS, INTEGERS, REALS, CONDITIONS } OperandClass;

static const struct OperRow { Oper oper; const char *text; Op op; OperandClass takes; bool compares; } opers[] = {
  {OPER_ADD, "+", OP_ADD, NUMBERS, false},    {OPER_SUB, "-", OP_SUB, NUMBERS, false},   {OPER_MUL, "*", OP_MUL, NUMBERS, false},
  {OPER_DIV, "/", OP_DIV, REALS, false},      {OPER_IDIV, "//", OP_IDIV, INTEGERS, false}, {OPER_MOD, "%", OP_IMOD, INTEGERS, false},
  {OPER_SHL, "<<", OP_SHL, INTEGERS, false},  {OPER_SHR, ">>", OP_SHR, INTEGERS, false}, {OPER_BAND, "&", OP_AND, INTEGERS, false},
  {OPER_BOR, "|", OP_OR, INTEGERS, false},    {OPER_AND, "and", OP_AND, CONDITIONS, false}, {OPER_OR, "or", OP_OR, CONDITIONS, false},
  {OPER_LT, "<", OP_LT, NUMBERS, true},       {OPER_LE, "<=", OP_LE, NUMBERS, true},     {OPER_GT, ">", OP_GT, NUMBERS, true},
  {OPER_GE, ">=", OP_GE, NUMBERS, true},      {OPER_EQ, "==", OP_EQ, NUMBERS, true},     {OPER_NE, "!=", OP_NE, NUMBERS, true},
  {OPER_POW, "^", OP_POW, NUMBERS, false},    {OPER_MATMUL, "@", OP_CONTRACT, NUMBERS, false},
  {OPER_NOT, "not", OP_NOT, CONDITIONS, false}, {OPER_NEG, "-", OP_NEG, NUMBERS, false},
};

static const struct OperRow *oper_row(Oper oper) {
  for (size_t i = 0; i < sizeof opers/sizeof *opers; i++) if (opers[i].oper == oper) return &opers[i];
  return &opers[0];
}

bool value_is(const Value *v, TypeKind kind) { return v->node && type_kind((Type)v->node->type) == kind; }

static Value poison(void) { return (Value){0}; }

Value value_of(const Node *node) { return (Value){.node = node}; }

Value value_like(const Node *node, Value a, Value b) {
  return (Value){.node = node, .tensor = a.tensor || b.tensor, .space = a.tensor ? a.space : b.space, .wide = (a.wide || b.wide) && node->type == TYPE_F64};
}

/* A constant of the text that f32 has no number for. */
static void warn_beyond_f32(Lower *l, const Node *n) {
  double x = bits_to_f64((Bits)n->imm, TYPE_F64);
  if (!n->where.source || !isfinite(x) || x == 0) return;
  if (isinf((float)x)) lower_warning(l, n->where, "'%s' is beyond the largest f32, 3.4e38: where it meets f32 data it is inf", lower_text(l, n->where));
  else if ((float)x == 0) lower_warning(l, n->where, "'%s' is below the least f32, 1.4e-45: where it meets f32 data it is 0", lower_text(l, n->where));
}

/* A constant changes its type while compiling (a literal rounds once to the type it meets); everything else by a CAST. */
Value value_convert(Lower *l, Value v, Type type) {
  if (!v.node || v.node->type == type) return v;
  const Node *node;
  if (v.node->op == OP_CONST) {
    Bits bits = (Bits)v.node->imm;
    if (type == TYPE_F32 && v.node->type == TYPE_F64) warn_beyond_f32(l, v.node);
    node = graph_const(l->graph, type, element_eval(ELEMENT_CAST, type, (Type)v.node->type, &bits));
  } else {
    node = graph_cast(l->graph, type, v.node);
  }
  Value made = value_like(node, v, v);
  made.literal = v.literal && type == TYPE_I64;
  made.opaque = v.opaque;
  return made;
}

/* int with int is int; f32 rounds every f64 that it meets but those that stay f64; int with real is real. */
static Type join(const Value *v, unsigned n) {
  bool all_int = true, f32 = false;
  for (unsigned i = 0; i < n; i++) {
    Type type = (Type)v[i].node->type;
    if (type == TYPE_F64 && v[i].wide) return TYPE_F64;
    if (type != TYPE_I64) all_int = false;
    if (type == TYPE_F32) f32 = true;
  }
  return all_int ? TYPE_I64 : f32 ? TYPE_F32 : TYPE_F64;
}

Value value_join(Lower *l, Value *v, unsigned n) {
  for (unsigned i = 0; i < n; i++) if (!v[i].node) return poison();
  Type type = join(v, n);
  for (unsigned i = 0; i < n; i++) v[i] = value_convert(l, v[i], type);
  return v[0];
}

Value value_real(Lower *l, Value v) { return value_is(&v, KIND_INT) ? value_convert(l, v, TYPE_F64) : v; }

/* Whether the operator takes such a value; reports. */
static bool takes(Lower *l, const struct OperRow *row, Range op_where, const Value *v) {
  bool is_bool = value_is(v, KIND_BOOL), is_int = value_is(v, KIND_INT);
  switch (row->takes) {
    case CONDITIONS:
      if (is_bool) return true;
      lower_error(l, op_where, "'%s' takes conditions, this is a number; compare it", row->text);
      return false;
    case INTEGERS:
      if (is_int) return true;
      if (is_bool) lower_error(l, op_where, "'%s' on a bool; write where(c, 1, 0)", row->text);
      else lower_error(l, op_where, "'%s' takes integers, this is real", row->text);
      return false;
    case NUMBERS: case REALS:
      if (!is_bool) return true;
      lower_error(l, op_where, "'%s' on a bool; write where(c, 1, 0)", row->text);
      return false;
  }
  return false;
}

static Value power(Lower *l, Value a, Value b) {
  Graph *g = l->graph;
  if (value_is(&b, KIND_INT)) {
    if (b.literal) {
      int64_t n = b.node->imm;
      if (n < 0) a = value_real(l, a);
      if (n == 1) { a.literal = false; a.operand = 0; return a; }
      if (n == 2) return value_like(graph_op2(g, OP_MUL, a.node, a.node), a, a);
      const Node *args[2] = {a.node, b.node};
      return value_like(graph_element(g, OP_POWI, (Type)a.node->type, 2, args), a, a);
    }
    a = value_real(l, a);
    if (a.node->type == TYPE_F64) {
      const Node *args[2] = {a.node, b.node};
      return value_like(graph_element(g, OP_POWI, TYPE_F64, 2, args), a, b);
    }
  }
  Value v[2] = {value_real(l, a), b};
  value_join(l, v, 2);
  return value_like(graph_op2(g, OP_POW, v[0].node, v[1].node), v[0], v[1]);
}

static Value operate(Lower *l, Oper oper, Range op_where, Value a, Value b) {
  const struct OperRow *row = oper_row(oper);
  bool both_bool = value_is(&a, KIND_BOOL) && value_is(&b, KIND_BOOL);
  if ((oper == OPER_EQ || oper == OPER_NE) && both_bool) return value_like(graph_op2(l->graph, row->op, a.node, b.node), a, b);
  if (!takes(l, row, op_where, &a) || !takes(l, row, op_where, &b)) return poison();
  if (row->takes == CONDITIONS) return value_like(graph_op2(l->graph, row->op, a.node, b.node), a, b);
  if (oper == OPER_POW) return power(l, a, b);
  Value v[2] = {a, b};
  value_join(l, v, 2);
  if (row->takes == REALS) for (int i = 0; i < 2; i++) v[i] = value_real(l, v[i]);
  return value_like(graph_op2(l->graph, row->op, v[0].node, v[1].node), v[0], v[1]);
}

Value value_operate(Lower *l, Oper oper, Range op_where, Value a, Value b) {
  Value both[2] = {a, b};
  if ((!a.node || !b.node) && !shapes_agree(l, oper_row(oper)->text, op_where, &a, &b)) return poison();
  Value v = value_align(l, oper_row(oper)->text, op_where, both, 2) ? operate(l, oper, op_where, both[0], both[1]) : poison();
  v.shape = a.shape ? a.shape : b.shape;
  v.name = NULL;
  return v;
}

Value value_negate(Lower *l, Range op_where, Value v) {
  if (!v.node) return v;
  if (!value_align(l, NULL, op_where, &v, 1) || !takes(l, oper_row(OPER_NEG), op_where, &v)) return poison();
  if (v.node->op == OP_CONST) {
    Bits bits = (Bits)v.node->imm;
    Type type = (Type)v.node->type;
    return (Value){.node = graph_const(l->graph, type, element_eval(ELEMENT_NEG, type, type, &bits)), .literal = v.literal, .wide = v.wide, .tensor = v.tensor, .space = v.space};
  }
  return value_like(graph_op1(l->graph, OP_NEG, v.node), v, v);
}

/* A choice made by data is data: its sides round to f32 where they meet the condition. */
Value value_select(Lower *l, Range where, Value c, Value a, Value b) {
  if (!c.node || !a.node || !b.node) return poison();
  if (!value_is(&c, KIND_BOOL)) { lower_error(l, where, "a choice needs a condition, this is a number; compare it"); return poison(); }
  bool bool_a = value_is(&a, KIND_BOOL), bool_b = value_is(&b, KIND_BOOL);
  if (bool_a != bool_b) { lower_error(l, where, "one side is a bool, the other a number"); return poison(); }
  Value all[3] = {c, a, b};
  if (!value_align(l, NULL, where, all, 3)) return poison();
  c = all[0];
  Value v[2] = {all[1], all[2]};
  if (!bool_a) {
    value_join(l, v, 2);
    bool by_data = c.tensor || (c.node->space->rank && node_reads_data(l, c.node));
    if (by_data && v[0].node->type == TYPE_F64 && !v[0].wide && !v[1].wide && !l->context->options->compute_f64)
      for (int i = 0; i < 2; i++) v[i] = value_convert(l, v[i], TYPE_F32);
  }
  Value made = value_like(graph_select(l->graph, c.node, v[0].node, v[1].node), v[0], v[1]);
  if (c.tensor && !made.tensor) { made.tensor = true; made.space = c.space; }
  return made;
}

/* f32(e) and the like: f64 leaves early or data becomes f64, storage types round once, int cuts. */
Value value_type_call(Lower *l, const Expr *e, Value v) {
  Type type;
  bool is_int = !strcmp(e->name, "int");
  if (!is_int && !type_parse(e->name, &type)) return lower_unsupported(l, e->op_where, e->name);
  if (!v.node) return v;
  if (!value_align(l, NULL, e->op_where, &v, 1)) return poison();
  if (is_int) type = TYPE_I64;
  v.literal = false;
  v.operand = 0;
  if (type == TYPE_BOOL) {
    if (value_is(&v, KIND_BOOL)) return v;
    Value zero = value_convert(l, value_of(graph_i64(l->graph, 0)), (Type)v.node->type);
    return value_like(graph_op2(l->graph, OP_NE, v.node, zero.node), v, v);
  }
  if (type == TYPE_F64) { v = value_convert(l, v, TYPE_F64); v.wide = true; return v; }
  if (type == TYPE_F32 || type == TYPE_I64) return value_convert(l, v, type);
  bool floating = type_kind(type) == KIND_FLOAT;
  if (!floating) v = value_convert(l, v, TYPE_I64);
  const Node *stored = graph_cast(l->graph, type, v.node);
  return value_like(graph_cast(l->graph, floating ? TYPE_F32 : TYPE_I64, stored), v, v);
}
