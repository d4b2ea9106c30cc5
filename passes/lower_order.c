/* lower_order.c: order along an axis (a merge sort of positions) and scatters as loop nests. */
#include "passes/lower_nest.h"

/* NaN first, then downwards. */
static Inst *before(Nest *l, Inst *a, Inst *b) {
  if (a->type == TYPE_BOOL) return nest_op2(l, KOP_AND, a, nest_op1(l, KOP_NOT, b));
  Inst *greater = nest_op2(l, KOP_GT, a, b);
  if (type_kind((Type)a->type) != KIND_FLOAT) return greater;
  return nest_op2(l, KOP_OR, greater, nest_op2(l, KOP_AND, nest_op2(l, KOP_NE, a, a), nest_op2(l, KOP_EQ, b, b)));
}

/* Two sorted runs, low..mid and mid..end of `from`, become one in `to`; of equals the left one comes first. */
static void merge(Nest *l, unsigned x, Inst *row, unsigned from, unsigned to, Inst *low, Inst *mid, Inst *end) {
  Inst *first[2] = {low, mid}, *k = nest_open(l, low, end, 2, first), *a = nest_carried(l, k, 0), *b = nest_carried(l, k, 1), *one = nest_i64(l, 1);
  Inst *has_a = nest_op2(l, KOP_LT, a, mid), *has_b = nest_op2(l, KOP_LT, b, end), *at_a = nest_load(l, from, a, has_a), *at_b = nest_load(l, from, b, has_b);
  Inst *x_a = nest_load(l, x, nest_op2(l, KOP_ADD, row, at_a), has_a), *x_b = nest_load(l, x, nest_op2(l, KOP_ADD, row, at_b), has_b);
  Inst *right = nest_op2(l, KOP_AND, has_b, nest_op2(l, KOP_OR, nest_op1(l, KOP_NOT, has_a), before(l, x_b, x_a)));
  nest_store(l, to, k, nest_select(l, right, at_b, at_a), NULL);
  Inst *next[2] = {nest_select(l, right, a, nest_op2(l, KOP_ADD, a, one)), nest_select(l, right, nest_op2(l, KOP_ADD, b, one), b)};
  nest_close(l, 2, next);
}

void nest_order(Nest *l, const Node *n) {
  unsigned rank = n->space->rank - 1, x = nest_buffer(l, n->args[0]), out = nest_buffer(l, n);
  const Wanted size = {.space = n->space, .operand = -1};
  unsigned from = nest_temp(l, "sorted", TYPE_I64, size), to = nest_temp(l, "merged", TYPE_I64, size);
  Inst *length = nest_extent(l, n->space->extent[rank]), *zero = nest_i64(l, 0), *one = nest_i64(l, 1);
  nest_axes(l, n->space, rank);
  Inst *row = rank ? nest_op2(l, KOP_MUL, nest_flat(l, n->space, rank), length) : zero;
  Inst *i = nest_open(l, zero, length, 0, NULL);
  nest_store(l, from, i, i, NULL);
  nest_close(l, 0, NULL);

  Inst *pass = nest_open(l, zero, nest_bits(l, nest_op2(l, KOP_SUB, nest_select(l, nest_op2(l, KOP_LT, length, one), one, length), one)), 0, NULL);
  Inst *width = nest_op2(l, KOP_SHL, one, pass), *twice = nest_op2(l, KOP_ADD, width, width), *up = nest_op2(l, KOP_SUB, twice, one);
  Inst *runs = nest_op2(l, KOP_SHR, nest_op2(l, KOP_ADD, length, up), nest_op2(l, KOP_ADD, pass, one)), *run = nest_open(l, zero, runs, 0, NULL);
  Inst *low = nest_op2(l, KOP_MUL, run, twice);
  merge(l, x, row, from, to, low, nest_min(l, nest_op2(l, KOP_ADD, low, width), length), nest_min(l, nest_op2(l, KOP_ADD, low, twice), length));
  nest_close(l, 0, NULL);
  i = nest_open(l, zero, length, 0, NULL);
  nest_store(l, from, i, nest_load(l, to, i, NULL), NULL);
  nest_close(l, 0, NULL);
  nest_close(l, 0, NULL);

  i = nest_open(l, zero, length, 0, NULL);
  nest_store(l, out, nest_op2(l, KOP_ADD, row, nest_load(l, from, i, NULL)), i, NULL);
  nest_close(l, 0, NULL);
  nest_close_axes(l, rank);
}

/* The base is copied, unless the new version lies where it does; then the values in lexicographic order of their positions are set or added. */
void nest_scatter(Nest *l, const Node *n) {
  const Node *base = n->args[0], *value = n->args[1];
  unsigned out = nest_buffer(l, n);
  if (l->temps->buffer[base->id] != 1 + out) {
    nest_axes(l, n->space, n->space->rank);
    Inst *at = nest_flat(l, n->space, n->space->rank);
    nest_here(l, n->space, at);
    nest_store(l, out, at, nest_element(l, base), NULL);
    nest_close_axes(l, n->space->rank);
  }

  nest_axes(l, value->space, value->space->rank);
  nest_here(l, value->space, nest_flat(l, value->space, value->space->rank));
  Inst *inside, *place = nest_place(l, base->space, n->args + 2, &inside), *x = nest_element(l, value);
  if (n->aux) x = nest_op2(l, KOP_ADD, nest_load(l, out, place, inside), x);
  nest_store(l, out, place, x, inside);
  nest_close_axes(l, value->space->rank);
}
