/* storage_codes.c: states kept as codes: q8, q8u, q4, q4u (language, sections 2 and 5).
 *
 * Such a state is two in memory: its codes, row-major (two to a byte for q4, low nibble first), and the largest magnitude of each block. A
 * code stands for an entry of a fixed map: ir/codes.h. */
#include <string.h>
#include "frontend/names.h"
#include "ir/codes.h"

static CodeMap map_of(const Storage *s) {
  unsigned map = 0;
  while (strcmp(code_maps[map].name, s->type)) map++;
  return (CodeMap)map;
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

static const Node *int2(Lower *l, Op op, const Node *a, int64_t b) { return graph_op2(l->graph, op, a, graph_i64(l->graph, b)); }

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
  const CodeMapInfo *m = &code_maps[c->map];
  const Node *at = flat_number(l, coded_space(l, c));
  const Node *code = read(l, c->operand, m->nibbles ? int2(l, OP_IDIV, at, 2) : at, guard);
  if (m->nibbles) code = int2(l, OP_AND, graph_op2(l->graph, OP_SHR, code, int2(l, OP_MUL, int2(l, OP_IMOD, at, 2), 4)), 15);
  const Node *entry = graph_cast(l->graph, TYPE_I32, code);
  entry = graph_element(l->graph, (Op)code_decode_element((CodeMap)c->map), TYPE_F32, 1, &entry);
  return graph_op2(l->graph, OP_MUL, entry, read(l, c->maxima, int2(l, OP_IDIV, at, c->block), guard));
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
  const CodeMapInfo *m = &code_maps[c->map];
  const Space *of = coded_space(l, c), *blocks = operand_space_here(l, c->maxima), *bytes = operand_space_here(l, c->operand);
  const Node *size[2] = {blocks->extent[0], graph_i64(g, c->block)}, *count = graph_i64(g, 1);
  for (unsigned k = 0; k < of->rank; k++) count = k ? graph_op2(g, OP_MUL, count, of->extent[k]) : of->extent[k];
  value = node_spread(l, value, of);
  const Space *in_blocks = graph_space(g, 2, size);
  const Node *at = graph_op2(g, OP_ADD, int2(l, OP_MUL, index_node(l, in_blocks, 0), c->block), index_node(l, in_blocks, 1));
  const Node *magnitude = graph_op1(g, OP_ABS, element(l, value, of, at));
  const Node *largest = graph_node(g, OP_REDUCE, TYPE_F32, blocks, 1, REDUCE_MAX | ORDER_LANES << 8, 1, &magnitude);
  largest = graph_select(g, graph_op1(g, OP_FINITE, largest), largest, graph_f32(g, __builtin_nanf("")));
  const Space *flat = graph_space(g, 1, &count);
  const Node *i = index_node(l, flat, 0), *block = int2(l, OP_IDIV, i, c->block);
  const Node *top = node_at(l, largest, blocks, flat, &block, 1), *one = graph_f32(g, 1), *zero = graph_f32(g, 0);
  const Node *y = graph_op2(g, OP_MUL, element(l, value, of, i), graph_op2(g, OP_DIV, one, top));
  y = graph_select(g, graph_op2(g, OP_EQ, top, zero), zero, y);
  const Node *code = graph_cast(g, TYPE_I64, graph_element(g, (Op)code_encode_element((CodeMap)c->map), TYPE_I32, 1, &y));
  if (m->nibbles) {
    const Node *low = int2(l, OP_MUL, index_node(l, bytes, 0), 2), *high = int2(l, OP_ADD, low, 1);
    code = graph_op2(g, OP_OR, node_at(l, code, flat, bytes, &low, 1), int2(l, OP_SHL, node_at(l, code, flat, bytes, &high, 1), 4));
  }
  graph_write(g, c->operand, code, when);
  graph_write(g, c->maxima, largest, when);
}

/* --- declaring ----------------------------------------------------------------------------------------------------------------------------- */

int64_t coded_block(Lower *l, const Stmt *s, const Storage *storage) {
  Bits block = (Bits)code_maps[map_of(storage)].block;
  if (s->role != ROLE_STATE || s->scope != SCOPE_TENSOR) { lower_error(l, storage->where, "'%s' goes with states that are tensors of an item", storage->type); return 0; }
  if (!storage->block) return (int64_t)block;
  const Node *n = index_limit(l, storage->block);
  if (!n) return 0;
  if (node_constant(l->graph, n, &block) && block >= 1 && block <= 1048576) return (int64_t)block;
  lower_error(l, storage->block->where, "a block has a constant number of elements, from 1 to 1048576");
  return 0;
}

/* Makes a declared operand the codes, and one more of the maxima. */
void coded_declare(Lower *l, unsigned operand, const Storage *storage, int64_t block, bool items) {
  Context *x = l->context;
  Module *m = x->module;
  CodeMap map = map_of(storage);
  Coded c = {.operand = operand, .map = map, .block = block, .shape = items ? NULL : m->operands[operand].shape};
  if (!m->shapes) m->shapes = graph_new(m, "shapes");
  Graph *graph = l->graph;
  const Space *of = coded_space(l, &c);
  const Node *count = of->rank ? of->extent[0] : graph_i64(graph, 1);
  for (unsigned k = 1; k < of->rank; k++) count = graph_op2(graph, OP_MUL, count, of->extent[k]);
  const Node *bytes = code_maps[map].nibbles ? int2(l, OP_IDIV, int2(l, OP_ADD, count, 1), 2) : count;
  const Node *blocks = int2(l, OP_IDIV, int2(l, OP_ADD, count, block - 1), block);
  bytes = node_transfer(l, graph, bytes, m->shapes);
  blocks = node_transfer(l, graph, blocks, m->shapes);
  m->operands[operand].shape = graph_space(m->shapes, 1, &bytes);
  m->operands[operand].item_shape = false;
  m->operands[operand].shape_text = NULL;
  m->operands[operand].dots = (Dots){0};
  m->operands = arena_grow(l->arena, m->operands, &x->operands_capacity, m->n_operands + 1, sizeof *m->operands);
  c.maxima = m->n_operands++;
  m->operands[c.maxima] = m->operands[operand];
  m->operands[c.maxima].name = arena_printf(l->arena, "%s_max", m->operands[operand].name);
  m->operands[c.maxima].external = m->operands[operand].external ? arena_printf(l->arena, "%s_max", m->operands[operand].external) : NULL;
  m->operands[c.maxima].storage = TYPE_F32;
  m->operands[c.maxima].shape = graph_space(m->shapes, 1, &blocks);
  const char *name = m->operands[operand].name;
  m->operands[operand].memory = code_maps[map].nibbles ? arena_printf(l->arena, "%s codes (language, Codes), two elements to a byte, the first in its low bits: (n + 1)/2 bytes for n elements, row-major", code_maps[map].name)
                                                       : arena_printf(l->arena, "%s codes (language, Codes), a byte an element, row-major", code_maps[map].name);
  m->operands[c.maxima].memory = arena_printf(l->arena, "the largest magnitude of each block of %lld elements of %s: (n + %lld)/%lld for n elements", (long long)block, name, (long long)block - 1, (long long)block);
  x->coded = arena_grow(l->arena, x->coded, &x->coded_capacity, x->n_coded + 1, sizeof *x->coded);
  x->coded[x->n_coded++] = c;
}
