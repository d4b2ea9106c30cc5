/* outline.c: kernels that differ in their temporaries, and in the numbers that they compute before all else, are one function of these: the steps of an iteration that is
 * written out, both arms of an `if` that turns a matrix.
 *
 * A kernel falls into a head, numbers made of sizes and hyper-parameters alone, and the rest. What the rest uses of the head becomes an argument, in the order in which the
 * rest comes to it, and so do the temporaries. Constants, and what a machine has as one, stay in the rest: code is better for knowing them. */
#include "backends/outline.h"

enum { NUMBER = 1u << 31, SEEN = 1u << 30 };             /* of a place: an argument, else the ordinal of an instruction of the rest */

static bool is_known_there(const Inst *inst) {
  return inst->op == KOP_E_CONST || inst->op == KOP_E_TILE_ROWS || inst->op == KOP_E_TILE_COLUMNS || inst->op == KOP_E_BEGIN || inst->op == KOP_E_END;
}

static bool is_head(const Inst *inst, const bool *head) {
  switch (inst->op) {
    case KOP_E_HYPER: case KOP_E_STEP: case KOP_E_SEED: case KOP_E_ITEM: case KOP_E_COUNT: case KOP_E_FIRST: case KOP_E_TRIP: case KOP_E_SIZE: case KOP_E_PRESENT: case KOP_E_UNIFORM:
    case KOP_E_SCALAR: case KOP_E_ITEMS: case KOP_E_TOTAL: return true;
    default: if (inst->op >= ELEMENT_COUNT) return is_known_there(inst);
  }
  for (unsigned k = 0; k < inst->n_args; k++) if (!head[inst->args[k]->id]) return false;
  return true;
}

static void take_buffers(Outline *o, const Inst *inst) {
  Touch touch[MAX_TOUCHES];
  unsigned n = inst_touches(inst, touch), operands = o->program->module->n_operands;
  for (unsigned k = 0; k < n; k++) {
    if (touch[k].buffer < operands || o->order[touch[k].buffer - operands]) continue;
    o->buffer[o->n_buffers++] = touch[k].buffer;
    o->order[touch[k].buffer - operands] = o->n_buffers;
  }
}

static void take(Outline *o, Arena *arena, const Block *block, const bool *head, unsigned *ordinal) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    for (unsigned k = 0; k < inst->n_args; k++) {
      Inst *x = inst->args[k];
      if (!head[x->id] || o->place[x->id]) continue;
      if (is_known_there(x)) block_push(arena, o->known, x);
      else o->number[o->n_numbers++] = x;
      o->place[x->id] = SEEN | (is_known_there(x) ? (*ordinal)++ : NUMBER | (o->n_numbers - 1));
    }
    o->place[inst->id] = SEEN | (*ordinal)++;
    take_buffers(o, inst);
    take(o, arena, inst->body, head, ordinal);
    take(o, arena, inst->otherwise, head, ordinal);
  }
}

Outline *outline_kernel(Arena *arena, const Program *p, const Kernel *k) {
  Outline *o = arena_alloc(arena, sizeof *o);
  unsigned ordinal = 0;
  bool *head = arena_array(arena, k->n_insts + 1, sizeof *head);
  Block *rest = block_new(arena);
  *o = (Outline){.program = p, .kernel = k, .head = block_new(arena), .known = block_new(arena), .rest = rest};
  o->place = arena_array(arena, k->n_insts + 1, sizeof *o->place);
  o->order = arena_array(arena, p->n_temps + 1, sizeof *o->order);
  o->buffer = arena_array(arena, p->n_temps + 1, sizeof *o->buffer);
  o->number = arena_array(arena, k->n_insts + 1, sizeof *o->number);
  for (unsigned i = 0; i < k->body->n; i++) {
    Inst *inst = k->body->insts[i];
    head[inst->id] = is_head(inst, head);
    block_push(arena, head[inst->id] ? o->head : rest, inst);
  }
  take(o, arena, rest, head, &ordinal);
  return o;
}

static bool same_buffer(const Outline *a, unsigned x, const Outline *b, unsigned y) {
  unsigned operands = a->program->module->n_operands;
  if (x < operands || y < operands) return x == y;
  const Buffer *s = &a->program->temps[x - operands], *t = &b->program->temps[y - operands];
  return a->order[x - operands] == b->order[y - operands] && s->type == t->type && s->local == t->local && s->rows == t->rows;
}

static bool same_inst(const Outline *a, const Inst *x, const Outline *b, const Inst *y) {
  Touch mine[MAX_TOUCHES], other[MAX_TOUCHES];
  if (x->op != y->op || x->n_args != y->n_args) return false;
  Inst s = *x, t = *y;
  for (unsigned n = inst_touches(x, mine), k = 0; k < n; k++) {
    inst_touches(y, other);
    if (!same_buffer(a, mine[k].buffer, b, other[k].buffer)) return false;
    inst_set_buffer(&s, k, 0);
    inst_set_buffer(&t, k, 0);
  }
  for (unsigned k = 0; k < x->n_args; k++) if (a->place[x->args[k]->id] != b->place[y->args[k]->id] || x->args[k]->type != y->args[k]->type) return false;
  return inst_same(&s, &t);
}

static bool same_block(const Outline *a, const Block *x, const Outline *b, const Block *y) {
  if (!x || !y || x->n != y->n) return x == y;
  for (unsigned i = 0; i < x->n; i++) {
    const Inst *s = x->insts[i], *t = y->insts[i];
    if (!same_inst(a, s, b, t) || !same_block(a, s->body, b, t->body) || !same_block(a, s->otherwise, b, t->otherwise)) return false;
  }
  return true;
}

bool outline_same(const Outline *a, const Outline *b) {
  return a->n_numbers == b->n_numbers && a->n_buffers == b->n_buffers && same_block(a, a->rest, b, b->rest) && same_block(a, a->known, b, b->known);
}
