/* graph_data.c: what the graph interpreter finds in its frame: hyper-parameters, numbers, sizes, elements of tensors in memory. */
#include "ir/graph_eval.h"
#include <string.h>

/* Extents multiplied: the product stops above the largest count that a tensor can have, and does not wrap. */
static int64_t times(int64_t n, int64_t e) {
  int64_t product;
  return __builtin_mul_overflow(n, e < 0 ? 0 : e, &product) || product > OPTC_MAX_COUNT ? OPTC_MAX_COUNT + 1 : product;
}

/* Of a shard's elements, those that are there. */
int64_t eval_count(const Interp *I, const Space *s) {
  int64_t n = 1;
  if (I->frame->count != I->frame->total && graph_is_item_space(I->g->module, s)) return I->frame->count;
  for (unsigned k = 0; k < s->rank; k++) n = times(n, (int64_t)I->number[s->extent[k]->id]);
  return n;
}

Bits eval_hyper(const Interp *I, int64_t k, Type type) {
  Bits x = EVAL_FIELD(I->frame->hyper, 8 * k, uint64_t);
  return type == TYPE_BOOL ? x != 0 : x;
}

static void *number_at(const Interp *I, int64_t k) {
  const Operand *o = &I->g->module->operands[k];
  char *base = o->scope == SCOPE_GLOBAL ? I->frame->global : I->frame->item;
  return base ? base + I->layout->operand[k] : NULL;
}

/* Numbers are kept in 8 bytes: double, int64_t, or int64_t 0 and 1. */
Bits eval_number(const Interp *I, int64_t k) {
  const Operand *o = &I->g->module->operands[k];
  const void *at = number_at(I, k);
  if (!at) return 0;
  Bits x;
  memcpy(&x, at, 8);
  if (o->storage == TYPE_BOOL) return x != 0;
  Type kept = type_kind(o->storage) == KIND_FLOAT ? TYPE_F64 : TYPE_I64;
  return element_eval(ELEMENT_CAST, type_arithmetic(o->storage), kept, &x);
}

void *eval_data(const Interp *I, int64_t k) {
  const Operand *o = &I->g->module->operands[k];
  if (o->scope != SCOPE_GLOBAL) return I->frame->data[k];
  return I->frame->global ? EVAL_FIELD(I->frame->global, I->layout->operand[k], void *) : NULL;
}


/* An extent of an operand's shape, which stands in a graph of its own. */
static Bits extent_value(const Interp *I, const Node *n, unsigned depth) {
  Bits x[3] = {0};
  if (depth > 64) return 0;
  switch ((int)n->op) {
    case OP_CONST: return (Bits)n->imm;
    case OP_HYPER: return eval_hyper(I, n->imm, (Type)n->type);
    case OP_SCALAR: return eval_number(I, n->imm);
    case OP_PRESENT: return eval_data(I, n->imm) != NULL;
    case OP_SIZE: return (Bits)eval_size(I, n->imm, n->aux, depth + 1);
    default: break;
  }
  if (!op_is_element((Op)n->op)) return 0;
  for (unsigned i = 0; i < n->n_args && i < 3; i++) x[i] = extent_value(I, n->args[i], depth + 1);
  return element_eval((Element)n->op, (Type)n->type, (Type)n->args[n->n_args - 1]->type, x);
}

/* An axis of an operand's logical shape. */
int64_t eval_extent(const Interp *I, int64_t k, unsigned axis, unsigned depth) {
  const Operand *o = &I->g->module->operands[k];
  if (!o->shape) return I->frame->count;
  return axis < o->shape->rank ? (int64_t)extent_value(I, o->shape->extent[axis], depth + 1) : 1;
}

int64_t eval_elements(const Interp *I, int64_t k) {
  const Operand *o = &I->g->module->operands[k];
  if (!o->shape) return I->frame->count;
  int64_t n = 1;
  for (unsigned a = 0; a < o->shape->rank; a++) n = times(n, eval_extent(I, k, a, 0));
  return n;
}

/* Sizes of tensors as they lie in memory: the item's, the caller's, or, of states, what the rule says. */
int64_t eval_size(const Interp *I, int64_t k, int32_t axis, unsigned depth) {
  const Operand *o = &I->g->module->operands[k];
  const optc_frame *f = I->frame;
  if (o->shape && !operand_is_shaped(o)) {
    int64_t at = axis >= 0 ? axis : (int64_t)o->shape->rank + axis + 2;
    if (axis == -2) return o->shape->rank;
    return axis == -1 ? eval_elements(I, k) : at >= 0 ? eval_extent(I, k, (unsigned)at, depth) : 1;
  }
  const int64_t *shape = o->shape ? f->shapes ? f->shapes[k] : NULL : f->shape;
  int64_t rank = o->shape ? f->ranks ? f->ranks[k] : 0 : f->rank, n = 1, at = axis >= 0 ? axis : rank + axis + 2;
  if (axis == -2) return rank;
  if (axis != -1) return shape && at >= 0 && at < rank ? shape[at] : 1;
  if (!o->shape) return f->total;
  for (int64_t a = 0; a < rank; a++) n = (int64_t)((uint64_t)n * (uint64_t)shape[a]);
  return n;
}

Bits eval_load_one(const void *data, int64_t i, Type storage) {
  switch (storage) {
    case TYPE_BOOL: return ((const uint8_t *)data)[i] != 0;
    case TYPE_I8: return (Bits)(int64_t)((const int8_t *)data)[i];
    case TYPE_U8: return ((const uint8_t *)data)[i];
    case TYPE_I32: return (Bits)(int64_t)((const int32_t *)data)[i];
    case TYPE_F32: return ((const uint32_t *)data)[i];
    case TYPE_BF16: return (Bits)((const uint16_t *)data)[i] << 16;
    case TYPE_F16: { float x = f32_from_f16(((const uint16_t *)data)[i]); uint32_t u; memcpy(&u, &x, 4); return u; }
    default: return ((const uint64_t *)data)[i];
  }
}

void eval_load(Bits *out, const void *data, int64_t from, int64_t n, Type storage) {
  if (storage == TYPE_F32) for (int64_t i = 0; i < n; i++) out[i] = ((const uint32_t *)data)[from + i];
  else for (int64_t i = 0; i < n; i++) out[i] = eval_load_one(data, from + i, storage);
}

/* What is stored for a value: +0 below 2^-126 with `flush`, then the storage type. */
static Bits to_storage(const Operand *o, Bits x, Type type) {
  if (o->flush && type == TYPE_F32 && (x & 0x7fffffff) < 0x00800000) x = 0;
  return o->storage == type ? x : element_eval(ELEMENT_CAST, o->storage, type, &x);
}

void eval_store(const Operand *o, void *data, int64_t from, int64_t n, const Bits *x, size_t step, Type type) {
  unsigned bytes = type_bytes(o->storage);
  for (int64_t i = 0; i < n; i++) {
    Bits b = to_storage(o, x[(size_t)i * step], type);
    switch (bytes) {
      case 1: ((uint8_t *)data)[from + i] = (uint8_t)b; break;
      case 2: ((uint16_t *)data)[from + i] = (uint16_t)b; break;
      case 4: ((uint32_t *)data)[from + i] = (uint32_t)b; break;
      default: ((uint64_t *)data)[from + i] = b; break;
    }
  }
}

void eval_set_number(const Interp *I, unsigned k, Bits x, Type type) {
  const Operand *o = &I->g->module->operands[k];
  void *at = number_at(I, k);
  if (!at) return;
  x = to_storage(o, x, type);
  Type kept = type_kind(o->storage) == KIND_FLOAT ? TYPE_F64 : TYPE_I64;
  x = element_eval(ELEMENT_CAST, kept, o->storage, &x);
  memcpy(at, &x, 8);
}
