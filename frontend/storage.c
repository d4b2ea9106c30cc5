/* storage.c: how a value is rounded when it is written back: `stochastic` storage as operations on bits (language, sections 2 and 5). */
#include "frontend/statements.h"
#include "ir/graph_analysis.h"

/* A state that rounds to nearest without saying so. */
static void narrow_declare(Lower *l, unsigned operand, const Storage *s) {
  Context *x = l->context;
  const Operand *o = &x->module->operands[operand];
  bool narrow = storage_is_codes(s) || o->storage == TYPE_BF16 || o->storage == TYPE_F16;
  if (!narrow || o->role != ROLE_STATE || s->stochastic || s->nearest) return;
  x->narrow = arena_grow(l->arena, x->narrow, &x->narrow_capacity, x->n_narrow + 1, sizeof *x->narrow);
  x->narrow[x->n_narrow++] = (Narrow){operand, s};
}

void storage_declare(Lower *l, unsigned operand, const Storage *s, const Symbol *symbol) {
  narrow_declare(l, operand, s);
  if (!s->stochastic) return;
  unsigned drawn = 0;
  for (unsigned i = 0; i < l->context->n_stochastic; i++) {
    if (l->context->stochastic[i].operand == operand) return;                      /* declared in both branches of an `if` */
    drawn += !l->context->stochastic[i].bits_from;
  }
  l->context->stochastic = arena_grow(l->arena, l->context->stochastic, &l->context->stochastic_capacity, l->context->n_stochastic + 1, sizeof *l->context->stochastic);
  l->context->stochastic[l->context->n_stochastic++] = (Stochastic){operand, s->bits_from, 65535 - (int64_t)drawn, s->where, l->scope->names};
}

static const Node *i32(Lower *l, int64_t x) { return graph_const(l->graph, TYPE_I32, (Bits)(uint32_t)x); }
static const Node *f32(Lower *l, double x) { return graph_f32(l->graph, (float)x); }
static const Node *cast_bits(Lower *l, Type type, const Node *x) { return graph_element(l->graph, OP_BITCAST, type, 1, &x); }

/* bf16: the low 16 bits are dropped. */
static const Node *to_bf16(Lower *l, const Node *x, const Node *random) {
  Graph *g = l->graph;
  const Node *bits = cast_bits(l, TYPE_I32, x), *dropped = graph_op2(g, OP_AND, bits, i32(l, 0xffff));
  const Node *up = graph_select(g, graph_op2(g, OP_LT, random, dropped), i32(l, 0x10000), i32(l, 0));
  return cast_bits(l, TYPE_F32, graph_op2(g, OP_ADD, graph_op2(g, OP_SUB, bits, dropped), up));
}

/* f16: as a multiple of its spacing at x, which is 2^(e - 10), 2^-24 for subnormals. Both scales are powers of 2, made of their exponents. */
static const Node *to_f16(Lower *l, const Node *x, const Node *random) {
  Graph *g = l->graph;
  const Node *bits = cast_bits(l, TYPE_I32, x), *sign = graph_op2(g, OP_AND, bits, i32(l, (int64_t)0x80000000)), *size = graph_op2(g, OP_SUB, bits, sign);
  const Node *e = graph_op2(g, OP_SHR, size, i32(l, 23)), *low = i32(l, 127 - 14);
  e = graph_select(g, graph_op2(g, OP_LT, e, low), low, e);
  const Node *scale = cast_bits(l, TYPE_F32, graph_op2(g, OP_SHL, graph_op2(g, OP_SUB, i32(l, 2*127 + 10), e), i32(l, 23)));
  const Node *step = cast_bits(l, TYPE_F32, graph_op2(g, OP_SHL, graph_op2(g, OP_SUB, e, i32(l, 10)), i32(l, 23)));
  const Node *y = graph_op2(g, OP_MUL, cast_bits(l, TYPE_F32, size), scale), *whole = graph_op1(g, OP_FLOOR, y);
  const Node *dropped = graph_cast(g, TYPE_I32, graph_op2(g, OP_MUL, graph_op2(g, OP_SUB, y, whole), f32(l, 65536)));
  const Node *up = graph_select(g, graph_op2(g, OP_LT, random, dropped), f32(l, 1), f32(l, 0));
  const Node *r = graph_op2(g, OP_MUL, graph_op2(g, OP_ADD, whole, up), step);
  r = graph_select(g, graph_op2(g, OP_GT, r, f32(l, 65504)), f32(l, __builtin_inf()), r);
  return cast_bits(l, TYPE_F32, graph_op2(g, OP_OR, cast_bits(l, TYPE_I32, r), sign));
}

/* 16 random bits for each element of the operand: from the tensor named, or drawn. */
static const Node *random_for(Lower *l, const Stochastic *s, const Space *space) {
  const Node *bits;
  if (s->bits_from) {
    Binding *b = scope_find(s->scope, s->bits_from);
    if (b) b->symbol->used = true;
    if (!b || b->symbol->kind != SYMBOL_OPERAND || b->poison) { lower_error(l, s->where, "'%s' is no operand that holds random bits", s->bits_from); return NULL; }
    Value v = operand_at_entry(l, b->symbol);
    if (!v.node || !value_is(&v, KIND_INT)) { lower_error(l, s->where, "'%s' is not an integer tensor", s->bits_from); return NULL; }
    v = value_to_space(l, v, space, s->where, l->context->module->operands[s->operand].name);
    if (!v.node) return NULL;
    bits = v.node;
  } else {
    const Node *element = graph_i64(l->graph, 0);
    for (unsigned k = 0; k < space->rank; k++) {
      const Node *i = index_node(l, space, k);
      element = k ? graph_op2(l->graph, OP_ADD, graph_op2(l->graph, OP_MUL, element, space->extent[k]), i) : i;
    }
    bits = random_bits(l, element, s->stream);
  }
  return graph_cast(l->graph, TYPE_I32, graph_op2(l->graph, OP_AND, bits, graph_i64(l->graph, 0xffff)));
}

const Node *storage_round(Lower *l, unsigned operand, const Node *x) {
  const Stochastic *s = NULL;
  for (unsigned i = 0; i < l->context->n_stochastic; i++) if (l->context->stochastic[i].operand == operand) s = &l->context->stochastic[i];
  if (!s || x->type != TYPE_F32) return x;
  graph_at(l->graph, s->where);
  const Space *space = operand_space_here(l, operand);
  const Node *random = random_for(l, s, space);
  if (!random) return x;
  x = node_spread(l, x, space);
  const Node *rounded = l->context->module->operands[operand].storage == TYPE_BF16 ? to_bf16(l, x, random) : to_f16(l, x, random);
  return graph_select(l->graph, graph_op1(l->graph, OP_FINITE, x), rounded, x);
}

/* --- a warning ------------------------------------------------------------------------------------------------------------------------- */

/* The rule itself makes it a number of this type, and may keep what is lost: nothing is rounded when it is written. */
static bool is_rounded(const Node *n, Type type, unsigned operand) {
  if (n->op == OP_SELECT) return is_rounded(n->args[1], type, operand) && is_rounded(n->args[2], type, operand);
  return (n->op == OP_CAST && n->args[0]->type == type) || (n->op == OP_READ && n->imm == operand);
}

static bool reads_operand(Lower *l, const Node *value, unsigned operand) {
  const bool *need = graph_needs(l->graph, value, l->arena);
  for (unsigned i = 0; i < l->graph->n_nodes; i++)
    if (need[i] && l->graph->nodes[i]->op == OP_READ && l->graph->nodes[i]->imm == operand) return true;
  return false;
}

/* An average that moves by less than half its last bit stands still: of states that run on from their own last value. */
void storage_warn(Lower *l, unsigned operand, const Node *value) {
  if (!l->context->options->warnings) return;
  for (unsigned i = 0; i < l->context->n_narrow; i++) {
    const Storage *s = l->context->narrow[i].storage;
    const Operand *o = &l->context->module->operands[operand];
    if (l->context->narrow[i].operand != operand || is_rounded(value, o->storage, operand) || !reads_operand(l, value, operand)) continue;
    const char *help = storage_is_codes(s) ? "" : arena_printf(l->arena, "'%s stochastic' keeps them on average; ", s->type);
    lower_warning(l, s->where, "state '%s' runs on from its own last value in %s: steps below half its last bit are lost; %swrite '%s nearest' if that is meant", o->name, s->type, help, lower_text(l, s->where));
  }
}
