/* storage_codes.c: states kept as codes: q8, q8u, q4, q4u (language, sections 2 and 5).
 *
 * Such a state is two in memory: its codes, row-major (two to a byte for q4, low nibble first), and the largest magnitude of each block. A
 * code stands for an entry of a fixed map: the dynamic map of Dettmers et al. 2021, arXiv 2110.02861, whose decade i holds the middles of 2^i (unsigned: 2^(i + 1)) equal
 * parts of [0.1, 1], or sixteenths (q4u). Entries are computed in f64 and rounded to f32. */
#include <string.h>
#include "frontend/names.h"

static const struct Map { const char *name; unsigned codes, decades; bool is_signed, linear, nibbles; int64_t block; } maps[] = {
  {"q8", 256, 7, true, false, false, 256}, {"q8u", 256, 7, false, false, false, 256}, {"q4", 16, 3, true, false, true, 128}, {"q4u", 16, 0, false, true, true, 128},
};

static const struct Map *map_of(const Storage *s) {
  const struct Map *map = maps;
  while (strcmp(map->name, s->type)) map++;
  return map;
}

bool storage_is_codes(const Storage *s) { return s->type && *s->type == 'q'; }

const Coded *coded_of(const Lower *l, unsigned operand) {
  for (unsigned i = 0; i < l->context->n_coded; i++) if (l->context->coded[i].operand == operand) return &l->context->coded[i];
  return NULL;
}

/* The tensor that the codes stand for, in this graph. */
const Space *coded_space(Lower *l, const Coded *c) {
  const Node *extent[LOWER_MAX_AXES];
  if (!c->shape) return item_space(l);
  for (unsigned k = 0; k < c->shape->rank; k++) extent[k] = node_transfer(l, l->context->module->shapes, c->shape->extent[k], l->graph);
  return graph_space(l->graph, c->shape->rank, extent);
}

/* --- the map ------------------------------------------------------------------------------------------------------------------------- */

static const Node *int2(Lower *l, Op op, const Node *a, int64_t b) { return graph_op2(l->graph, op, a, graph_i64(l->graph, b)); }

/* The entry of a code, f32. k: place in the positive half; its decade i and its place j there. */
static const Node *entry(Lower *l, const struct Map *m, const Node *code) {
  Graph *g = l->graph;
  if (m->linear) return graph_cast(g, TYPE_F32, graph_op2(g, OP_DIV, graph_cast(g, TYPE_F64, int2(l, OP_ADD, code, 1)), graph_f64(g, 16)));
  const Node *k = m->is_signed ? int2(l, OP_SUB, code, m->codes/2 - 1) : code, *below = int2(l, OP_LT, k, 0), *zero = int2(l, OP_EQ, k, 0);
  k = graph_select(g, below, graph_op1(g, OP_NEG, k), k);
  const Node *place = m->is_signed ? k : int2(l, OP_ADD, k, 1), *last = int2(l, OP_EQ, k, m->is_signed ? m->codes/2 : m->codes - 1);
  const Node *first = graph_i64(g, m->is_signed ? 1 : 2), *ten = graph_f64(g, 1e-6);
  static const double powers[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1};
  const double *tens = powers + 7 - m->decades;
  ten = graph_f64(g, tens[0]);
  for (unsigned i = 1; i < m->decades; i++) {
    int64_t from = (int64_t)1 << (i + !m->is_signed);
    const Node *here = int2(l, OP_GE, place, from);
    first = graph_select(g, here, graph_i64(g, from), first);
    ten = graph_select(g, here, graph_f64(g, tens[i]), ten);
  }
  const Node *j = graph_op2(g, OP_SUB, place, first), *odd = graph_cast(g, TYPE_F64, int2(l, OP_ADD, int2(l, OP_MUL, j, 2), 1));
  const Node *part = graph_op2(g, OP_DIV, odd, graph_cast(g, TYPE_F64, int2(l, OP_MUL, first, 2)));
  const Node *x = graph_op2(g, OP_MUL, ten, graph_op2(g, OP_ADD, graph_f64(g, 0.1), graph_op2(g, OP_MUL, graph_f64(g, 0.9), part)));
  x = graph_cast(g, TYPE_F32, graph_select(g, last, graph_f64(g, 1), x));
  x = graph_select(g, below, graph_op1(g, OP_NEG, x), x);
  return graph_select(g, zero, graph_f32(g, 0), x);
}

/* --- reading --------------------------------------------------------------------------------------------------------------------------- */

static const Node *read(Lower *l, unsigned operand, const Node *at, const Node *guard) {
  const Node *args[2] = {at, guard};
  return graph_node(l->graph, OP_READ, type_arithmetic(l->context->module->operands[operand].storage), at->space, operand, guard != NULL, guard ? 2 : 1, args);
}

static const Node *flat_number(Lower *l, const Space *s) {
  const Node *at = graph_i64(l->graph, 0);
  for (unsigned k = 0; k < s->rank; k++) {
    const Node *i = index_node(l, s, k);
    at = k ? graph_op2(l->graph, OP_ADD, graph_op2(l->graph, OP_MUL, at, s->extent[k]), i) : i;
  }
  return at;
}

const Node *coded_read(Lower *l, const Coded *c, const Node *guard) {
  const struct Map *m = &maps[c->map];
  const Node *at = flat_number(l, coded_space(l, c));
  const Node *code = read(l, c->operand, m->nibbles ? int2(l, OP_IDIV, at, 2) : at, guard);
  if (m->nibbles) code = int2(l, OP_AND, graph_op2(l->graph, OP_SHR, code, int2(l, OP_MUL, int2(l, OP_IMOD, at, 2), 4)), 15);
  return graph_op2(l->graph, OP_MUL, entry(l, m, code), read(l, c->maxima, int2(l, OP_IDIV, at, c->block), guard));
}

/* --- writing ---------------------------------------------------------------------------------------------------------------------------- */

/* The value's element number `at`; 0 past the end. */
static const Node *element(Lower *l, const Node *value, const Space *of, const Node *at) {
  const Node *index[LOWER_MAX_AXES];
  for (unsigned k = of->rank; k-- > 0;) {
    index[k] = k ? graph_op2(l->graph, OP_IMOD, at, of->extent[k]) : at;
    if (k) at = graph_op2(l->graph, OP_IDIV, at, of->extent[k]);
  }
  return node_at(l, value, of, index[0]->space, index, of->rank);
}

void coded_write(Lower *l, const Coded *c, const Node *value, const Node *when) {
  Graph *g = l->graph;
  const struct Map *m = &maps[c->map];
  const Space *of = coded_space(l, c), *blocks = operand_space_here(l, c->maxima), *bytes = operand_space_here(l, c->operand);
  const Node *size[2] = {blocks->extent[0], graph_i64(g, c->block)}, *count = graph_i64(g, 1);
  for (unsigned k = 0; k < of->rank; k++) count = k ? graph_op2(g, OP_MUL, count, of->extent[k]) : of->extent[k];
  value = node_spread(l, value, of);
  const Space *in_blocks = graph_space(g, 2, size);
  const Node *at = graph_op2(g, OP_ADD, int2(l, OP_MUL, index_node(l, in_blocks, 0), c->block), index_node(l, in_blocks, 1));
  const Node *magnitude = graph_op1(g, OP_ABS, element(l, value, of, at));
  const Node *largest = graph_node(g, OP_REDUCE, TYPE_F32, blocks, 1, REDUCE_MAX | ORDER_LANES << 8, 1, &magnitude);
  largest = graph_select(g, graph_op1(g, OP_FINITE, largest), largest, graph_f32(g, __builtin_nanf("")));
  const Node *entries[2] = {count, graph_i64(g, m->codes - 1)};
  const Space *flat = graph_space(g, 1, entries), *search = graph_space(g, 2, entries);
  const Node *i = index_node(l, search, 0), *n = index_node(l, search, 1), *block = int2(l, OP_IDIV, i, c->block);
  const Node *top = node_at(l, largest, blocks, search, &block, 1), *one = graph_f32(g, 1), *zero = graph_f32(g, 0);
  const Node *y = graph_op2(g, OP_MUL, element(l, value, of, i), graph_op2(g, OP_DIV, one, top));
  y = graph_select(g, graph_op2(g, OP_EQ, top, zero), zero, y);
  const Node *middle = graph_op2(g, OP_DIV, graph_op2(g, OP_ADD, entry(l, m, n), entry(l, m, int2(l, OP_ADD, n, 1))), graph_f32(g, 2));
  const Node *above = graph_select(g, graph_op2(g, OP_LT, middle, y), graph_i64(g, 1), graph_i64(g, 0));
  const Node *code = graph_node(g, OP_REDUCE, TYPE_I64, flat, 1, REDUCE_SUM | ORDER_LANES << 8, 1, &above);
  if (m->nibbles) {
    const Node *low = int2(l, OP_MUL, index_node(l, bytes, 0), 2), *high = int2(l, OP_ADD, low, 1);
    code = graph_op2(g, OP_OR, node_at(l, code, flat, bytes, &low, 1), int2(l, OP_SHL, node_at(l, code, flat, bytes, &high, 1), 4));
  }
  graph_write(g, c->operand, code, when);
  graph_write(g, c->maxima, largest, when);
}

/* --- declaring ----------------------------------------------------------------------------------------------------------------------------- */

int64_t coded_block(Lower *l, const Stmt *s, const Storage *storage) {
  Bits block = (Bits)map_of(storage)->block;
  if (s->role != ROLE_STATE || s->scope != SCOPE_TENSOR) { lower_error(l, storage->where, "'%s' goes with states that are tensors of an item", storage->type); return 0; }
  if (!storage->block) return (int64_t)block;
  const Node *n = index_limit(l, storage->block);
  if (!n) return 0;
  if (node_constant(l->graph, n, &block) && block >= 1 && block <= 1 << 20) return (int64_t)block;
  lower_error(l, storage->block->where, "a block has a constant number of elements");
  return 0;
}

/* Makes a declared operand the codes, and one more of the maxima. */
void coded_declare(Lower *l, unsigned operand, const Storage *storage, int64_t block, bool items) {
  Context *x = l->context;
  Module *m = x->module;
  const struct Map *map = map_of(storage);
  Coded c = {.operand = operand, .map = (unsigned)(map - maps), .block = block, .shape = items ? NULL : m->operands[operand].shape};
  if (!m->shapes) m->shapes = graph_new(m, "shapes");
  Graph *graph = l->graph;
  const Space *of = coded_space(l, &c);
  const Node *count = of->rank ? of->extent[0] : graph_i64(graph, 1);
  for (unsigned k = 1; k < of->rank; k++) count = graph_op2(graph, OP_MUL, count, of->extent[k]);
  const Node *bytes = map->nibbles ? int2(l, OP_IDIV, int2(l, OP_ADD, count, 1), 2) : count;
  const Node *blocks = int2(l, OP_IDIV, int2(l, OP_ADD, count, block - 1), block);
  bytes = node_transfer(l, graph, bytes, m->shapes);
  blocks = node_transfer(l, graph, blocks, m->shapes);
  m->operands[operand].shape = graph_space(m->shapes, 1, &bytes);
  m->operands[operand].item_shape = false;
  m->operands[operand].shape_text = NULL;
  m->operands = arena_grow(l->arena, m->operands, &x->operands_capacity, m->n_operands + 1, sizeof *m->operands);
  c.maxima = m->n_operands++;
  m->operands[c.maxima] = m->operands[operand];
  m->operands[c.maxima].name = arena_printf(l->arena, "%s_max", m->operands[operand].name);
  m->operands[c.maxima].external = m->operands[operand].external ? arena_printf(l->arena, "%s_max", m->operands[operand].external) : NULL;
  m->operands[c.maxima].storage = TYPE_F32;
  m->operands[c.maxima].shape = graph_space(m->shapes, 1, &blocks);
  x->coded = arena_grow(l->arena, x->coded, &x->coded_capacity, x->n_coded + 1, sizeof *x->coded);
  x->coded[x->n_coded++] = c;
}
