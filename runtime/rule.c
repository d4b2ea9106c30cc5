/* rule.c: compiled rules: looking at them, and calling them on arrays and DLPack tensors. */
#define _GNU_SOURCE
#include "runtime/rule.h"
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ir/module.h"

/* --- texts that name an operand: error texts must outlive the call ------------------------------------------------------- */
typedef enum RuleText { TEXT_MISSING, TEXT_TYPE, TEXT_DEVICE, TEXT_GPU, TEXT_STRIDED, TEXT_RANK, TEXT_EXTENT, TEXT_SCALAR, TEXT_COUNT_OF, TEXT_NO_SHAPE, TEXT_NO_RANK, TEXT_NEGATIVE, TEXT_COUNT } RuleText;
static const char *const text_format[TEXT_COUNT] = {
  [TEXT_MISSING] = "tensor '%s' is not given",
  [TEXT_TYPE] = "tensor '%s' does not have element type %s",
  [TEXT_DEVICE] = "tensor '%s' is not in main memory",
  [TEXT_GPU] = "tensor '%s' is not on the GPU",
  [TEXT_STRIDED] = "tensor '%s' is strided: on a GPU all are dense",
  [TEXT_RANK] = "tensor '%s' has {} axes, expected {}",
  [TEXT_EXTENT] = "tensor '%s': axis {} has extent {}, expected {}",
  [TEXT_COUNT_OF] = "tensor '%s' has {} elements, expected {}",
  [TEXT_NO_SHAPE] = "tensor '%s' has {} axes and its shape is NULL",
  [TEXT_NO_RANK] = "tensor '%s' has {} axes: it may have 0 to 64",
  [TEXT_NEGATIVE] = "tensor '%s': axis {} has a negative extent, {}",
  [TEXT_SCALAR] = "number '%s' is not given",
};

static const char *hyper_format(int64_t type) { return type == TYPE_BOOL ? "hyper-parameter '%s' is a bool, 0 or 1, not {}" : "hyper-parameter '%s' is an integer, and {} is none of 64 bits"; }

/* Those of the operands, then one a hyper-parameter. */
static int64_t text_count(const optc_rule_desc *d) { return d->n_operands*TEXT_COUNT + d->n_hypers; }

optc_rule *rule_new(void) { return calloc(1, sizeof(optc_rule)); }

bool rule_adopt(optc_rule *r, const optc_rule_desc *desc) {
  char **texts = calloc((size_t)text_count(desc) + 1, sizeof *texts);
  if (!texts) return false;
  r->desc = desc;
  r->texts = texts;
  r->layout = -1;
  for (int64_t e = 0; e < desc->n_entries; e++)
    if (!strcmp(desc->entries[e].name, "layout")) r->layout = e;
  for (int64_t k = 0; k < desc->n_operands; k++)
    for (int i = 0; i < TEXT_COUNT; i++)
      if (asprintf(&texts[k*TEXT_COUNT + i], text_format[i], desc->operands[k].name, desc->operands[k].type_name) < 0) {
        texts[k*TEXT_COUNT + i] = NULL;
        return false;
      }
  for (int64_t k = 0; k < desc->n_hypers; k++) {
    char **text = &texts[desc->n_operands*TEXT_COUNT + k];
    if (asprintf(text, hyper_format(desc->hypers[k].type), desc->hypers[k].name) < 0) { *text = NULL; return false; }
  }
  return true;
}

static const char *rule_text(const optc_rule *r, int64_t operand, RuleText text) { return r->texts[operand*TEXT_COUNT + text]; }

void optc_rule_free(optc_rule *r) {
  if (!r) return;
  if (r->texts)
    for (int64_t i = 0; i < text_count(r->desc); i++) free(r->texts[i]);
  free(r->texts);
  jit_free(r->jit);
  if (r->arena) arena_free(r->arena);
  if (r->library) dlclose(r->library);
  free(r);
}

/* --- looking ------------------------------------------------------------------------------------------------------------- */
const char *optc_rule_name(const optc_rule *r) { return r ? r->desc->name : NULL; }
int optc_rule_hypers(const optc_rule *r) { return r ? (int)r->desc->n_hypers : 0; }
int optc_rule_operands(const optc_rule *r) { return r ? (int)r->desc->n_operands : 0; }
int optc_rule_entries(const optc_rule *r) { return r ? (int)r->desc->n_entries - (r->layout >= 0) : 0; }

/* A caller's number of an entry as the descriptor counts them; -1: there is none. */
static int64_t entry_at(const optc_rule *r, int64_t entry) {
  if (entry < 0 || entry >= optc_rule_entries(r)) return -1;
  return entry + (r->layout >= 0 && entry >= r->layout);
}
const char *optc_rule_entry_name(const optc_rule *r, int entry) {
  int64_t at = entry_at(r, entry);
  return at < 0 ? NULL : r->desc->entries[at].name;
}
int optc_rule_entry(const optc_rule *r, const char *name) {
  for (int i = 0; name && i < optc_rule_entries(r); i++)
    if (!strcmp(optc_rule_entry_name(r, i), name)) return i;
  return -1;
}

static double f64_of(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
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
static double number_f64(int64_t type, uint64_t bits) { return type == TYPE_F64 || type == TYPE_F32 ? f64_of(bits) : (double)(int64_t)bits; }

int optc_rule_hyper(const optc_rule *r, int index, optc_hyper_info *out) {
  if (!r || !out || index < 0 || index >= r->desc->n_hypers) return OPTC_E_NULL;
  const optc_hyper_desc *h = &r->desc->hypers[index];
  bool real = h->type == TYPE_F64;
  *out = (optc_hyper_info){.name = h->name, .external = h->external, .type = real ? 0 : h->type == TYPE_BOOL ? 2 : 1, .has_default = h->has_default != 0,
                           .value = !h->has_default ? 0 : real ? f64_of(h->value) : (double)(int64_t)h->value};
  return OPTC_OK;
}

int optc_rule_operand(const optc_rule *r, int index, optc_operand_info *out) {
  if (!r || !out || index < 0 || index >= r->desc->n_operands) return OPTC_E_NULL;
  const optc_operand_desc *o = &r->desc->operands[index];
  *out = (optc_operand_info){.name = o->name, .external = o->external, .type = o->type_name, .role = (int)o->role, .scope = (int)o->scope,
                             .optional = o->optional || (o->role == ROLE_OUT && o->tensor), .bytes = (int)o->bytes, .entry = o->entry, .tensor = o->tensor != 0, .item_shape = o->tensor && o->item_shape,
                             .rank = o->any_rank || (o->tensor && o->item_shape) ? -1 : (int)o->rank, .shape = o->shape, .has_default = o->has_default != 0,
                             .value = !o->has_default ? 0 : bits_to_f64(o->value, type_arithmetic((Type)o->type))};
  return OPTC_OK;
}

int optc_rule_use(const optc_rule *r, int entry, int operand) {
  int64_t at = entry_at(r, entry);
  if (at < 0 || operand < 0 || operand >= r->desc->n_operands) return -1;
  return (int)(r->desc->entries[at].reads[operand] & 15);
}

/* --- calling ------------------------------------------------------------------------------------------------------------- */
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

typedef struct Raw {                     /* the rule's own structs, built for one call */
  optc_call call;
  char *block;                           /* one allocation: groups, global, items */
  void *workspace;
} Raw;

static int fail(optc_error *error, int code, const char *text, int64_t item, int n, double a, double b, double c) {
  if (error) *error = (optc_error){.code = code, .text = text, .item = item, .n = n, .value = {a, b, c}};
  return code;
}

/* About an operand. */
static int fail_of(const optc_rule *r, optc_error *error, int code, int64_t operand, RuleText text, int64_t item, int n, double a, double b, double c) {
  fail(error, code, rule_text(r, operand, text), item, n, a, b, c);
  if (error) error->operand = r->desc->operands[operand].name;
  return code;
}

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
        const char *wrong = r->texts[d->n_operands*TEXT_COUNT + k];
        if (!a->groups[g]) return fail(a->error, OPTC_E_NULL, "the hyper-parameters of a group are NULL: group", -1, 1, (double)g, 0, 0);
        double x = a->groups[g][k];
        if (!hyper_takes(h, x)) return fail(a->error, OPTC_E_TYPE, wrong, -1, 1, x, 0, 0);
        bits = isnan(x) && h->type != TYPE_F64 ? h->value : number_bits(h->type, x);
      } else if (!h->has_default) return fail(a->error, OPTC_E_NULL, "a hyper-parameter has no default and no group is given: index", -1, 1, (double)k, 0, 0);
      memcpy(at + g*d->hyper_size + 8*k, &bits, 8);
    }
  return OPTC_OK;
}

/* Row-major, axes of one element apart: then the strides are not passed on. */
static bool is_dense(const DLTensor *t) {
  if (!t->strides) return true;
  int64_t expected = 1;
  for (int k = t->ndim; k-- > 0;) {
    if (t->shape[k] == 0) return true;
    if (t->shape[k] != 1 && t->strides[k] != expected) return false;
    expected *= t->shape[k];
  }
  return true;
}

/* Where a call's tensors must lie. */
static int check_place(const optc_rule *r, const optc_call_args *a, int64_t item, int64_t k, const DLTensor *t, const RuleWay *way) {
  DLDevice at = t->device;
  if (way->anywhere || (at.device_type == way->device.device_type && (at.device_type == kDLCPU || at.device_id == way->device.device_id))) {
    if (way->device.device_type == kDLCPU || is_dense(t)) return OPTC_OK;
    return fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_STRIDED, item, 0, 0, 0, 0);
  }
  return fail_of(r, a->error, OPTC_E_TYPE, k, way->device.device_type == kDLCPU ? TEXT_DEVICE : TEXT_GPU, item, 0, 0, 0, 0);
}

/* A tensor against its declaration and the shape of the item. */
static int check_tensor(const optc_rule *r, const optc_call_args *a, int64_t item, int64_t k, const DLTensor *t, const DLTensor *shape, const RuleWay *way) {
  const optc_operand_desc *o = &r->desc->operands[k];
  int status = check_place(r, a, item, k, t, way);
  if (status) return status;
  if (t->dtype.code != dl_type[o->type].code || t->dtype.bits != dl_type[o->type].bits || t->dtype.lanes != 1)
    return fail_of(r, a->error, OPTC_E_TYPE, k, TEXT_TYPE, item, 0, 0, 0, 0);
  if (t->ndim < 0 || t->ndim > 64) return fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_NO_RANK, item, 1, t->ndim, 0, 0);
  if (t->ndim && !t->shape) return fail_of(r, a->error, OPTC_E_NULL, k, TEXT_NO_SHAPE, item, 1, t->ndim, 0, 0);
  for (int i = 0; i < t->ndim; i++)
    if (t->shape[i] < 0) return fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_NEGATIVE, item, 2, i, (double)t->shape[i], 0);
  if (!o->item_shape) return OPTC_OK;
  if (t->ndim != shape->ndim) return fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_RANK, item, 2, t->ndim, shape->ndim, 0);
  for (int i = 0; i < t->ndim; i++)
    if (t->shape[i] != shape->shape[i])
      return fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_EXTENT, item, 3, i, (double)t->shape[i], (double)shape->shape[i]);
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
      if (!item->scalar && entry->reads[k] && !o->optional) return fail_of(r, a->error, OPTC_E_NULL, k, TEXT_SCALAR, index, 0, 0, 0, 0);
      uint64_t bits = item->scalar ? number_bits(o->type, item->scalar[k]) : 0;
      memcpy(at + o->offset, &bits, 8);
      continue;
    }
    const DLTensor *t = item->tensor ? item->tensor[k] : NULL;
    if (t) {
      int status = check_tensor(r, a, index, k, t, shape, way);
      if (status) return status;
      put_tensor(o, t, at + o->offset);
    } else if ((entry->reads[k] & (USE_READ | USE_WRITTEN)) && !o->optional && (o->role == ROLE_PARAM || o->role == ROLE_GRAD || o->role == ROLE_IN || o->role == ROLE_INOUT))
      return fail_of(r, a->error, OPTC_E_NULL, k, TEXT_MISSING, index, 0, 0, 0, 0);
  }
  int64_t rank = shape ? shape->ndim : 0, count = shape ? 1 : 0, first = 0;
  for (int64_t i = 0; i < rank; i++)
    if (__builtin_mul_overflow(count, shape->shape[i], &count)) return fail(a->error, OPTC_E_SHAPE, "an item has more than 2^63 elements", index, 0, 0, 0, 0);
  const int64_t *extents = shape ? shape->shape : NULL;
  memcpy(at + d->item_group, &item->group, 8);
  memcpy(at + d->item_rank, &rank, 8);
  memcpy(at + d->item_shape, &extents, sizeof extents);
  memcpy(at + d->item_first, &first, 8);
  memcpy(at + d->item_count, &count, 8);
  return OPTC_OK;
}

static size_t align64(size_t n) { return (n + 63) & ~(size_t)63; }

/* `given`: how the caller calls it. */
static int build_call(const optc_rule *r, int64_t entry, int64_t given, const optc_call_args *a, const RuleWay *way, Raw *raw) {
  const optc_rule_desc *d = r->desc;
  *raw = (Raw){0};
  if (a->error) *a->error = (optc_error){.item = -1};
  if (a->size != sizeof *a) return fail(a->error, OPTC_E_SIZE, "size of the call's struct, expected", -1, 2, (double)a->size, (double)sizeof *a, 0);
  if (entry < 0) return fail(a->error, OPTC_E_NULL, "there is no such entry", -1, 1, (double)given, 0, 0);
  if (a->n_items < 0 || (a->groups && a->n_groups < 0)) return fail(a->error, OPTC_E_SHAPE, a->n_items < 0 ? "n_items is negative" : "n_groups is negative", -1, 1, (double)(a->n_items < 0 ? a->n_items : a->n_groups), 0, 0);
  if (a->n_items && !a->items) return fail(a->error, OPTC_E_NULL, "the items are NULL", -1, 0, 0, 0, 0);
  if (d->entries[entry].advances && !a->t) return fail(a->error, OPTC_E_NULL, "t is NULL: the entry counts steps", -1, 0, 0, 0, 0);
  int64_t n_groups = a->groups ? a->n_groups : 1;
  size_t groups = align64((size_t)n_groups*(size_t)d->hyper_size), global = align64((size_t)d->global_size), items;
  if (__builtin_mul_overflow((size_t)a->n_items, (size_t)d->item_size, &items) || items > SIZE_MAX/2) return fail(a->error, OPTC_E_MEMORY, "out of memory", -1, 0, 0, 0, 0);
  raw->block = calloc(1, groups + global + items + 64);
  if (!raw->block) return fail(a->error, OPTC_E_MEMORY, "out of memory", -1, 0, 0, 0, 0);
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
      if (!tensor && (d->entries[entry].reads[k] & (USE_READ | USE_WRITTEN)) && !o->optional && (o->role == ROLE_IN || o->role == ROLE_INOUT))
        status = fail_of(r, a->error, OPTC_E_NULL, k, TEXT_MISSING, -1, 0, 0, 0, 0);
      if (status) return status;
      if (tensor) put_tensor(o, tensor, global_at + o->offset);
      continue;
    }
    if (!a->global_scalar && d->entries[entry].reads[k] && !o->optional) return fail_of(r, a->error, OPTC_E_NULL, k, TEXT_SCALAR, -1, 0, 0, 0, 0);
    uint64_t bits = a->global_scalar ? number_bits(o->type, a->global_scalar[k]) : 0;
    memcpy(global_at + o->offset, &bits, 8);
  }
  for (int64_t i = 0; i < a->n_items; i++) {
    status = build_item(r, &d->entries[entry], a, i, items_at + (size_t)i*(size_t)d->item_size, way);
    if (status) return status;
  }
  return OPTC_OK;
}

/* What the entry wrote into the structs, back into the caller's arrays. */
static void copy_back(const optc_rule *r, int64_t entry, const optc_call_args *a, const Raw *raw) {
  const optc_rule_desc *d = r->desc;
  if (a->t) memcpy(a->t, raw->call.global, 8);
  for (int64_t k = 0; k < d->n_operands; k++) {
    const optc_operand_desc *o = &d->operands[k];
    if (!(d->entries[entry].reads[k] & USE_WRITTEN) || o->tensor) continue;
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

static int32_t *dispatch_word(const optc_rule *r) { return r->desc->n_variants > 1 ? (int32_t *)&r->chosen : NULL; }

/* phase -1: all of the entry. */
static int drive(const optc_rule *r, int64_t entry, int64_t phase, const optc_call *call) {
  unsigned before = atomic_load((atomic_uint *)&r->starved), findings = atomic_load((atomic_uint *)&r->n_findings);
  int status = phase < 0 ? optc_drive(r->desc, entry, call, dispatch_word(r)) : optc_drive_phase(r->desc, entry, phase, call, dispatch_word(r));
  if (status == OPTC_OK && atomic_load((atomic_uint *)&r->starved) != before) return fail(call->error, OPTC_E_MEMORY, "the interpreter ran out of memory", -1, 0, 0, 0, 0);
  if (status == OPTC_OK && atomic_load((atomic_uint *)&r->n_findings) != findings) return fail(call->error, OPTC_E_INTERNAL, r->finding, -1, 0, 0, 0, 0);
  return status;
}

/* States with a shape of their own against what the layout says: their sizes are the rule's. */
static int check_states(const optc_rule *r, int64_t entry, const optc_call_args *a, const Raw *raw) {
  const optc_rule_desc *d = r->desc;
  int64_t n_states = 0, n_own = 0;
  for (int64_t k = 0; k < d->n_operands; k++) {
    n_states += d->operands[k].role == ROLE_STATE;
    n_own += d->operands[k].role == ROLE_STATE && d->operands[k].tensor && !d->operands[k].item_shape && d->entries[entry].reads[k] & (USE_READ | USE_WRITTEN);
  }
  if (!n_own) return OPTC_OK;
  optc_call call = raw->call;
  char *nobody = call.n_items ? NULL : calloc(1, (size_t)d->item_size + 1);            /* states of the call are told with an item */
  optc_state_info *states = calloc((size_t)n_states, sizeof *states);
  if (!states || (!call.n_items && !nobody)) {
    free(states);
    free(nobody);
    return fail(a->error, OPTC_E_MEMORY, "out of memory", -1, 0, 0, 0, 0);
  }
  if (!call.n_items) { call.items = nobody; call.n_items = 1; }
  int status = OPTC_OK;
  for (int64_t i = 0; i < call.n_items && status == OPTC_OK; i++) {
    status = optc_drive_layout(d, &call, i, states, dispatch_word(r));
    for (int64_t k = 0, n = -1; k < d->n_operands && status == OPTC_OK; k++) {
      const optc_operand_desc *o = &d->operands[k];
      if (o->role != ROLE_STATE) continue;
      const optc_state_info *s = &states[++n];
      if (!o->tensor || o->item_shape || !s->exists || !(d->entries[entry].reads[k] & (USE_READ | USE_WRITTEN)) || (o->scope != SCOPE_GLOBAL && nobody)) continue;
      DLTensor *const *list = o->scope == SCOPE_GLOBAL ? a->global_tensor : a->items[i].tensor;
      const DLTensor *t = list ? list[k] : NULL;
      int64_t count = 1, item = o->scope == SCOPE_GLOBAL ? -1 : i;
      if (!t) { status = s->count ? fail_of(r, a->error, OPTC_E_NULL, k, TEXT_MISSING, item, 0, 0, 0, 0) : OPTC_OK; continue; }
      for (int x = 0; x < t->ndim; x++) if (__builtin_mul_overflow(count, t->shape[x], &count)) count = -1;
      for (int x = 0; x < t->ndim && !o->any_rank && t->ndim == s->rank && x < 8 && status == OPTC_OK; x++)
        if (t->shape[x] != s->shape[x]) status = fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_EXTENT, item, 3, x, (double)t->shape[x], (double)s->shape[x]);
      if (status == OPTC_OK && count != s->count) status = fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_COUNT_OF, item, 2, (double)count, (double)s->count, 0);
    }
  }
  free(states);
  free(nobody);
  return status;
}

/* Whether the entry may need memory beside the operands: temporaries, slots, dense copies of strided tensors. */
static bool needs_workspace(const optc_rule *r, int64_t entry, const optc_call_args *a) {
  const optc_entry_desc *e = &r->desc->entries[entry];
  bool strided = false;
  for (int64_t i = 0; i < a->n_items && !strided; i++)
    for (int64_t k = 0; k < r->desc->n_operands && a->items[i].tensor && !strided; k++)
      strided = r->desc->operands[k].scope == SCOPE_TENSOR && a->items[i].tensor[k] && !is_dense(a->items[i].tensor[k]);
  return e->n_temps || e->n_slots || e->n_spaces || strided;
}

int rule_call(const optc_rule *r, int given, const optc_call_args *a, const RuleWay *way) {
  Raw raw;
  int64_t entry = entry_at(r, given);
  int status = build_call(r, entry, given, a, way, &raw);
  if (status == OPTC_OK) status = check_states(r, entry, a, &raw);
  if (status == OPTC_OK && way->workspace && needs_workspace(r, entry, a) && (raw.call.workspace_size = way->workspace(way, r, &raw.call))) {
    raw.workspace = aligned_alloc(64, align64(raw.call.workspace_size));
    raw.call.workspace = raw.workspace;
    if (!raw.workspace) status = fail(a->error, OPTC_E_MEMORY, "out of memory", -1, 0, 0, 0, 0);
  }
  if (status == OPTC_OK) status = way->drive(way, r, entry, &raw.call);
  if (status == OPTC_OK) copy_back(r, entry, a, &raw);
  free(raw.workspace);
  free(raw.block);
  return status;
}

static int drive_here(const RuleWay *way, const optc_rule *r, int64_t entry, const optc_call *call) { return drive(r, entry, -1, call); }
static size_t workspace_here(const RuleWay *way, const optc_rule *r, const optc_call *call) { return optc_drive_workspace(r->desc, call); }
static const RuleWay here = {.device = {.device_type = kDLCPU}, .drive = drive_here, .workspace = workspace_here};

int optc_rule_call(const optc_rule *r, int given, const optc_call_args *a) { return r && a ? rule_call(r, given, a, &here) : OPTC_E_NULL; }

int optc_rule_layout(const optc_rule *r, const optc_call_args *a, int64_t item, optc_state_info *out) {
  if (!r || !a || !out) return OPTC_E_NULL;
  if (r->layout < 0) return OPTC_OK;                        /* a rule without states */
  Raw raw;
  static const RuleWay any = {.anywhere = true, .device = {.device_type = kDLCPU}};        /* no elements are looked at */
  int status = build_call(r, r->layout, -1, a, &any, &raw);
  if (status == OPTC_OK && (item < 0 || item >= a->n_items)) status = fail(a->error, OPTC_E_SHAPE, "there is no such item", item, 0, 0, 0, 0);
  if (status == OPTC_OK) status = optc_drive_layout(r->desc, &raw.call, item, out, dispatch_word(r));
  free(raw.block);
  return status;
}

int optc_rule_call_raw(const optc_rule *r, int entry, const void *R_call) {
  const optc_call *call = R_call;
  if (!r || !call) return OPTC_E_NULL;
  if (call->size != sizeof *call) return OPTC_E_SIZE;
  int64_t at = entry_at(r, entry);
  return at < 0 ? fail(call->error, OPTC_E_NULL, "there is no such entry", -1, 1, entry, 0, 0) : drive(r, at, -1, call);
}

int optc_rule_phases(const optc_rule *r, int entry) {
  int64_t at = r ? entry_at(r, entry) : -1;
  return at < 0 ? 0 : (int)r->desc->entries[at].n_phases;
}

int optc_rule_phase_raw(const optc_rule *r, int entry, int phase, const void *R_call) {
  const optc_call *call = R_call;
  if (!r || !call) return OPTC_E_NULL;
  int64_t at = entry_at(r, entry);
  if (at < 0) return call->size == sizeof *call ? fail(call->error, OPTC_E_NULL, "there is no such entry", -1, 1, entry, 0, 0) : OPTC_E_SIZE;
  return phase < 0 || phase >= r->desc->entries[at].n_phases ? optc_drive_phase(r->desc, at, phase, call, dispatch_word(r)) : drive(r, at, phase, call);
}

int64_t optc_rule_partials(const optc_rule *r, int entry, int phase, const void *R_call, double **out) {
  int64_t at = r ? entry_at(r, entry) : -1;
  return at < 0 ? -1 : optc_drive_partials(r->desc, at, phase, R_call, out);
}

size_t optc_rule_workspace_size(const optc_rule *r, const void *R_call) { return r ? optc_drive_workspace(r->desc, R_call) : 0; }
