/* rule_args.c: from the arrays and DLPack tensors of a caller to the rule's own structs, checked against its declarations, and back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "ir/module.h"
#include "runtime/rule_call.h"

/* The DLPack type of each storage type. */
static const struct { uint8_t code, bits; } dl_type[TYPE_COUNT] = {
  [TYPE_BOOL] = {kDLBool, 8}, [TYPE_I8] = {kDLInt, 8}, [TYPE_U8] = {kDLUInt, 8}, [TYPE_I32] = {kDLInt, 32}, [TYPE_I64] = {kDLInt, 64},
  [TYPE_BF16] = {kDLBfloat, 16}, [TYPE_F16] = {kDLFloat, 16}, [TYPE_F32] = {kDLFloat, 32}, [TYPE_F64] = {kDLFloat, 64},
};

int optc_dlpack_type(const char *type, DLDataType *out) {
  if (!type || !out) return OPTC_E_NULL;
  for (int t = 0; t < TYPE_COUNT; t++) {
    if (strcmp(type_name((Type)t), type)) continue;
    *out = (DLDataType){dl_type[t].code, dl_type[t].bits, 1};
    return OPTC_OK;
  }
  return OPTC_E_TYPE;
}

static uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* Numbers in the call structs: a double, or an int64_t for integer and bool. */
static uint64_t number_bits(int64_t type, double x) {
  if (type == TYPE_F64 || type == TYPE_F32) return bits_of(x);
  if (type == TYPE_BOOL) return x != 0;
  return isnan(x) ? 0 : x >= 9223372036854775808.0 ? (uint64_t)INT64_MAX : x < -9223372036854775808.0 ? (uint64_t)INT64_MIN : (uint64_t)(int64_t)x;
}
static double number_f64(int64_t type, uint64_t bits) { return type == TYPE_F64 || type == TYPE_F32 ? bits_to_f64(bits, TYPE_F64) : (double)(int64_t)bits; }

/* A whole number for an integer; NaN asks for a default that the rule computes, as it does for a real number. */
static bool hyper_takes(const optc_hyper_desc *h, double x) {
  if (h->type == TYPE_F64) return true;
  if (h->type == TYPE_BOOL) return x == 0 || x == 1;
  if (isnan(x)) return h->has_default && h->value == (uint64_t)INT64_MIN;
  return x >= -0x1p63 && x < 0x1p63 && x == trunc(x);
}

static int build_groups(const optc_rule *r, const optc_call_args *a, char *at) {
  const optc_rule_desc *d = r->desc;
  int64_t n = a->groups ? a->n_groups : 1;
  for (int64_t g = 0; g < n; g++)
    for (int64_t k = 0; k < d->n_hypers; k++) {
      const optc_hyper_desc *h = &d->hypers[k];
      uint64_t bits = h->value;
      if (a->groups) {
        const char *wrong = rule_hyper_text(r, k);
        if (!a->groups[g]) return rule_fail(a->error, OPTC_E_NULL, "the hyper-parameters of a group are NULL: group", -1, 1, (double)g, 0, 0);
        double x = a->groups[g][k];
        if (!hyper_takes(h, x)) return rule_fail(a->error, OPTC_E_TYPE, wrong, -1, 1, x, 0, 0);
        bits = isnan(x) && h->type != TYPE_F64 ? h->value : number_bits(h->type, x);
      } else if (!h->has_default) return rule_fail(a->error, OPTC_E_NULL, "a hyper-parameter has no default and no group is given: index", -1, 1, (double)k, 0, 0);
      memcpy(at + g*d->hyper_size + 8*k, &bits, 8);
    }
  return OPTC_OK;
}

bool rule_is_dense(const int64_t *shape, const int64_t *stride, int64_t rank) {
  int64_t expected = 1;
  bool dense = true;
  for (int64_t a = rank; stride && a-- > 0;) {
    if (shape[a] == 0) return true;
    dense &= shape[a] == 1 || stride[a] == expected;
    dense &= !__builtin_mul_overflow(expected, shape[a], &expected);
  }
  return dense;
}

static bool is_dense(const DLTensor *t) { return rule_is_dense(t->shape, t->strides, t->ndim); }

/* Where a call's tensors must lie. */
static int check_place(const optc_rule *r, const optc_call_args *a, int64_t item, int64_t k, const DLTensor *t, const RuleWay *way) {
  DLDevice at = t->device;
  if (way->anywhere || (at.device_type == way->device.device_type && (at.device_type == kDLCPU || at.device_id == way->device.device_id))) {
    if (way->device.device_type == kDLCPU || is_dense(t)) return OPTC_OK;
    return rule_fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_STRIDED, item, 0, 0, 0, 0);
  }
  return rule_fail_of(r, a->error, OPTC_E_TYPE, k, way->device.device_type == kDLCPU ? TEXT_DEVICE : TEXT_GPU, item, 0, 0, 0, 0);
}

/* A tensor against its declaration and the shape of the item. */
static int check_tensor(const optc_rule *r, const optc_call_args *a, int64_t item, int64_t k, const DLTensor *t, const DLTensor *shape, const RuleWay *way) {
  const optc_operand_desc *o = &r->desc->operands[k];
  int status = check_place(r, a, item, k, t, way);
  if (status) return status;
  if (t->dtype.code != dl_type[o->type].code || t->dtype.bits != dl_type[o->type].bits || t->dtype.lanes != 1)
    return rule_fail_of(r, a->error, OPTC_E_TYPE, k, TEXT_TYPE, item, 0, 0, 0, 0);
  if (t->ndim < 0 || t->ndim > 64) return rule_fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_NO_RANK, item, 1, t->ndim, 0, 0);
  if (t->ndim && !t->shape) return rule_fail_of(r, a->error, OPTC_E_NULL, k, TEXT_NO_SHAPE, item, 1, t->ndim, 0, 0);
  for (int i = 0; i < t->ndim; i++)
    if (t->shape[i] < 0) return rule_fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_NEGATIVE, item, 2, i, (double)t->shape[i], 0);
  if (!o->item_shape) return OPTC_OK;
  if (t->ndim != shape->ndim) return rule_fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_RANK, item, 2, t->ndim, shape->ndim, 0);
  for (int i = 0; i < t->ndim; i++)
    if (t->shape[i] != shape->shape[i])
      return rule_fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_EXTENT, item, 3, i, (double)t->shape[i], (double)shape->shape[i]);
  return OPTC_OK;
}

/* Into the field of a struct that is all zero. */
static void put_tensor(const optc_operand_desc *o, const DLTensor *t, char *at) {
  optc_shaped raw = {.data = t->data ? (char *)t->data + t->byte_offset : NULL, .stride = is_dense(t) ? NULL : t->strides, .shape = t->shape, .rank = t->ndim};
  memcpy(at, &raw, o->shaped ? sizeof raw : sizeof(optc_tensor));       /* data and stride come first in both */
}

static int build_item(const optc_rule *r, const optc_entry_desc *entry, const optc_call_args *a, int64_t index, char *at, const RuleWay *way) {
  const optc_rule_desc *d = r->desc;
  const optc_item_args *item = &a->items[index];
  const DLTensor *shape = NULL;
  for (int64_t k = 0; k < d->n_operands && !shape; k++)
    if (d->operands[k].item_shape && d->operands[k].scope == SCOPE_TENSOR && item->tensor) shape = item->tensor[k];
  for (int64_t k = 0; k < d->n_operands; k++) {
    const optc_operand_desc *o = &d->operands[k];
    if (o->scope == SCOPE_GLOBAL) continue;
    if (o->scope == SCOPE_SCALAR) {
      if (!item->scalar && entry->uses[k] && !o->optional) return rule_fail_of(r, a->error, OPTC_E_NULL, k, TEXT_SCALAR, index, 0, 0, 0, 0);
      uint64_t bits = item->scalar ? number_bits(o->type, item->scalar[k]) : 0;
      memcpy(at + o->offset, &bits, 8);
      continue;
    }
    const DLTensor *t = item->tensor ? item->tensor[k] : NULL;
    if (t) {
      int status = check_tensor(r, a, index, k, t, shape, way);
      if (status) return status;
      put_tensor(o, t, at + o->offset);
    } else if (entry->uses[k] & USE_TOUCHED && !o->optional && (o->role == ROLE_PARAM || o->role == ROLE_GRAD || o->role == ROLE_IN || o->role == ROLE_INOUT))
      return rule_fail_of(r, a->error, OPTC_E_NULL, k, TEXT_MISSING, index, 0, 0, 0, 0);
  }
  int64_t rank = shape ? shape->ndim : 0, count = shape ? 1 : 0, first = 0;
  for (int64_t i = 0; i < rank; i++)
    if (__builtin_mul_overflow(count, shape->shape[i], &count)) return rule_fail(a->error, OPTC_E_SHAPE, "an item has more than 2^63 elements", index, 0, 0, 0, 0);
  const int64_t *extents = shape ? shape->shape : NULL;
  memcpy(at + d->item_group, &item->group, 8);
  memcpy(at + d->item_rank, &rank, 8);
  memcpy(at + d->item_shape, &extents, sizeof extents);
  memcpy(at + d->item_first, &first, 8);
  memcpy(at + d->item_count, &count, 8);
  return OPTC_OK;
}

int rule_build(const optc_rule *r, int64_t entry, int64_t given, const optc_call_args *a, const RuleWay *way, RawCall *raw) {
  const optc_rule_desc *d = r->desc;
  *raw = (RawCall){0};
  if (a->error) *a->error = (optc_error){.item = -1};
  if (a->size != sizeof *a) return rule_fail(a->error, OPTC_E_SIZE, "size of the call's struct, expected", -1, 2, (double)a->size, (double)sizeof *a, 0);
  if (entry < 0) return rule_fail(a->error, OPTC_E_NULL, "there is no such entry", -1, 1, (double)given, 0, 0);
  if (a->n_items < 0 || (a->groups && a->n_groups < 0)) return rule_fail(a->error, OPTC_E_SHAPE, a->n_items < 0 ? "n_items is negative" : "n_groups is negative", -1, 1, (double)(a->n_items < 0 ? a->n_items : a->n_groups), 0, 0);
  if (a->n_items && !a->items) return rule_fail(a->error, OPTC_E_NULL, "the items are NULL", -1, 0, 0, 0, 0);
  if (d->entries[entry].advances && !a->t) return rule_fail(a->error, OPTC_E_NULL, "t is NULL: the entry counts steps", -1, 0, 0, 0, 0);
  int64_t n_groups = a->groups ? a->n_groups : 1;
  size_t groups, items, global = rule_align64((size_t)d->global_size);
  bool wraps = __builtin_mul_overflow((size_t)n_groups, (size_t)d->hyper_size, &groups) || groups > SIZE_MAX/4;
  wraps = wraps || __builtin_mul_overflow((size_t)a->n_items, (size_t)d->item_size, &items) || items > SIZE_MAX/4;
  if (wraps) return rule_fail(a->error, OPTC_E_MEMORY, "out of memory", -1, 0, 0, 0, 0);
  groups = rule_align64(groups);
  raw->block = calloc(1, groups + global + items + 64);
  if (!raw->block) return rule_fail(a->error, OPTC_E_MEMORY, "out of memory", -1, 0, 0, 0, 0);
  char *global_at = raw->block + groups, *items_at = global_at + global;
  raw->call = (optc_call){.size = sizeof raw->call, .groups = raw->block, .n_groups = n_groups, .items = items_at, .n_items = a->n_items, .first_item = a->first_item,
                          .global = global_at, .parallel = a->parallel, .error = a->error};
  int status = build_groups(r, a, raw->block);
  if (status) return status;
  int64_t t = a->t ? *a->t : 0;
  memcpy(global_at, &t, 8);
  memcpy(global_at + 8, &a->seed, 8);
  for (int64_t k = 0; k < d->n_operands; k++) {
    const optc_operand_desc *o = &d->operands[k];
    if (o->scope != SCOPE_GLOBAL) continue;
    if (o->tensor) {
      const DLTensor *tensor = a->global_tensor ? a->global_tensor[k] : NULL;
      status = tensor ? check_tensor(r, a, -1, k, tensor, NULL, way) : OPTC_OK;
      if (!tensor && d->entries[entry].uses[k] & USE_TOUCHED && !o->optional && (o->role == ROLE_IN || o->role == ROLE_INOUT))
        status = rule_fail_of(r, a->error, OPTC_E_NULL, k, TEXT_MISSING, -1, 0, 0, 0, 0);
      if (status) return status;
      if (tensor) put_tensor(o, tensor, global_at + o->offset);
      continue;
    }
    if (!a->global_scalar && d->entries[entry].uses[k] && !o->optional) return rule_fail_of(r, a->error, OPTC_E_NULL, k, TEXT_SCALAR, -1, 0, 0, 0, 0);
    uint64_t bits = a->global_scalar ? number_bits(o->type, a->global_scalar[k]) : 0;
    memcpy(global_at + o->offset, &bits, 8);
  }
  for (int64_t i = 0; i < a->n_items; i++) {
    status = build_item(r, &d->entries[entry], a, i, items_at + (size_t)i*(size_t)d->item_size, way);
    if (status) return status;
  }
  return OPTC_OK;
}

void rule_copy_back(const optc_rule *r, int64_t entry, const optc_call_args *a, const RawCall *raw) {
  const optc_rule_desc *d = r->desc;
  if (a->t) memcpy(a->t, raw->call.global, 8);
  for (int64_t k = 0; k < d->n_operands; k++) {
    const optc_operand_desc *o = &d->operands[k];
    if (!(d->entries[entry].uses[k] & USE_WRITTEN) || o->tensor) continue;
    uint64_t bits;
    if (o->scope == SCOPE_GLOBAL) {
      if (!a->global_scalar) continue;
      memcpy(&bits, (const char *)raw->call.global + o->offset, 8);
      a->global_scalar[k] = number_f64(o->type, bits);
    } else
      for (int64_t i = 0; i < a->n_items; i++) {
        if (!a->items[i].scalar) continue;
        memcpy(&bits, (const char *)raw->call.items + (size_t)i*(size_t)d->item_size + o->offset, 8);
        a->items[i].scalar[k] = number_f64(o->type, bits);
      }
  }
}
