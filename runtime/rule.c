/* rule.c: compiled rules: making them, what error texts say of their operands, and looking at them. rule_args.c, rule_call.c: calling them. */
#define _GNU_SOURCE
#include "runtime/rule_call.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ir/module.h"

/* --- texts that name an operand: error texts must outlive the call ------------------------------------------------------- */
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

/* The descriptor may be gone by now, with an arena. */
static void forget_texts(optc_rule *r) {
  for (int64_t i = 0; i < r->n_texts; i++) free(r->texts[i]);
  free(r->texts);
  r->texts = NULL;
  r->n_texts = 0;
}

static bool make_texts(char **texts, const optc_rule_desc *desc) {
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

bool rule_adopt(optc_rule *r, const optc_rule_desc *desc) {
  r->texts = calloc((size_t)text_count(desc) + 1, sizeof *r->texts);
  if (!r->texts) return false;
  r->n_texts = text_count(desc);
  if (!make_texts(r->texts, desc)) { forget_texts(r); return false; }
  r->desc = desc;
  r->layout = -1;
  for (int64_t e = 0; e < desc->n_entries; e++)
    if (!strcmp(desc->entries[e].name, "layout")) r->layout = e;
  return true;
}

int rule_fail(optc_error *error, int code, const char *text, int64_t item, int n, double a, double b, double c) {
  if (error) *error = (optc_error){.code = code, .text = text, .item = item, .n = n, .value = {a, b, c}};
  return code;
}

int rule_fail_of(const optc_rule *r, optc_error *error, int code, int64_t operand, RuleText text, int64_t item, int n, double a, double b, double c) {
  rule_fail(error, code, r->texts[operand*TEXT_COUNT + text], item, n, a, b, c);
  if (error) error->operand = r->desc->operands[operand].name;
  return code;
}

const char *rule_hyper_text(const optc_rule *r, int64_t hyper) { return r->texts[r->desc->n_operands*TEXT_COUNT + hyper]; }

void optc_rule_free(optc_rule *r) {
  if (!r) return;
  forget_texts(r);
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

int64_t rule_entry_at(const optc_rule *r, int64_t entry) {
  if (entry < 0 || entry >= optc_rule_entries(r)) return -1;
  return entry + (r->layout >= 0 && entry >= r->layout);
}
const char *optc_rule_entry_name(const optc_rule *r, int entry) {
  int64_t at = rule_entry_at(r, entry);
  return at < 0 ? NULL : r->desc->entries[at].name;
}
int optc_rule_entry(const optc_rule *r, const char *name) {
  for (int i = 0; name && i < optc_rule_entries(r); i++)
    if (!strcmp(optc_rule_entry_name(r, i), name)) return i;
  return -1;
}

int optc_rule_hyper(const optc_rule *r, int index, optc_hyper_info *out) {
  if (!r || !out || index < 0 || index >= r->desc->n_hypers) return OPTC_E_NULL;
  const optc_hyper_desc *h = &r->desc->hypers[index];
  bool real = h->type == TYPE_F64;
  *out = (optc_hyper_info){.name = h->name, .external = h->external, .type = real ? 0 : h->type == TYPE_BOOL ? 2 : 1, .has_default = h->has_default != 0,
                           .value = !h->has_default ? 0 : real ? bits_to_f64(h->value, TYPE_F64) : (double)(int64_t)h->value};
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
  int64_t at = rule_entry_at(r, entry);
  if (at < 0 || operand < 0 || operand >= r->desc->n_operands) return -1;
  return (int)(r->desc->entries[at].uses[operand] & 15);
}
