/* command_check_run.c: feeds recorded inputs to a rule, step by step, and compares what comes out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/command_check.h"

enum { PARAM = OPTC_ROLE_PARAM, GRAD = OPTC_ROLE_GRAD, IN = OPTC_ROLE_IN, OUT = OPTC_ROLE_OUT, INOUT = OPTC_ROLE_INOUT, STATE = OPTC_ROLE_STATE };
enum { TENSOR = OPTC_SCOPE_TENSOR, CALL = OPTC_SCOPE_CALL };

typedef struct Run {
  Check *c;
  optc_item_args *items;
  DLTensor *tensors, **bound;            /* one an item and operand; bound: those of the next call */
  double *scalars, *globals, *numbers;   /* numbers: one tensor of the data */
  const double *group;
  int64_t t;
  optc_call_args args;
  optc_error error;
  optc_state_info *states;               /* of one item, as its layout says */
  int param;                             /* the operand */
  int entries[CHECK_ENTRIES], n_entries; /* in the order of the calls */
} Run;

static DLTensor *tensor_of(Run *r, int item, int operand) { return &r->tensors[(size_t)item*(size_t)r->c->n_operands + (size_t)operand]; }
static double *scalar_of(Run *r, int item, int operand) { return &r->scalars[(size_t)item*(size_t)r->c->n_operands + (size_t)operand]; }

/* --- hyper-parameters ------------------------------------------------------------------------------------------------------ */
/* "betas[1]": what the data has as `betas`. NULL: nothing, or not a name of that form. */
static json_t *hyper_list(json_t *hyper, const char *name) {
  const char *bracket = strchr(name, '[');
  char key[128];
  if (!bracket || (size_t)(bracket - name) >= sizeof key) return NULL;
  snprintf(key, sizeof key, "%.*s", (int)(bracket - name), name);
  json_t *list = json_object_get(hyper, key);
  return json_is_null(list) ? NULL : list;
}

static bool fill_hypers(Run *r) {
  static const char *const kinds[] = {"a number", "an integer", "true or false"};
  Check *c = r->c;
  json_t *hyper = json_object_get(c->data, "hyper");
  if (hyper && !json_is_object(hyper) && !json_is_null(hyper)) return check_bad(c, 1, "'hyper' is not an object");
  double *values = c->hyper_values = check_alloc(c, (size_t)c->n_hypers + 1, sizeof *values);
  for (int i = 0; i < c->n_hypers; i++) {
    const optc_hyper_info *h = &c->hypers[i];
    json_t *value = check_key(hyper, h->external);
    values[i] = h->value;
    json_t *list = value ? NULL : hyper_list(hyper, h->external);
    if (list && !json_is_array(list)) return check_bad(c, 1, "hyper.%s: that is not a list", h->external);
    if (list && !h->has_default && (size_t)atoi(strchr(h->external, '[') + 1) >= json_array_size(list))
      return check_bad(c, 1, "hyper.%s: the list has %zu numbers", h->external, json_array_size(list));
    if (!value && !h->has_default) return check_bad(c, 1, "hyper.%s is missing, and the rule has no default", h->external);
    if (!value) continue;
    bool fits = check_number(value, &values[i]) && (h->type == 2 ? values[i] == 0 || values[i] == 1 : !json_is_boolean(value));
    if (h->type == 1 && fits) fits = values[i] == floor(values[i]) && fabs(values[i]) < 9e15;
    if (!fits) return check_bad(c, 1, "hyper.%s is not %s", h->external, kinds[h->type]);
  }
  r->group = values;
  return true;
}

/* --- memory of the items --------------------------------------------------------------------------------------------------- */
static bool make_tensors(Run *r) {
  Check *c = r->c;
  size_t n = (size_t)c->n_operands + 1;
  int64_t most = 1;
  r->items = check_alloc(c, (size_t)c->n_items, sizeof *r->items);
  r->tensors = check_alloc(c, (size_t)c->n_items*n, sizeof *r->tensors);
  r->bound = check_alloc(c, (size_t)c->n_items*n, sizeof *r->bound);
  r->scalars = check_alloc(c, (size_t)c->n_items*n, sizeof *r->scalars);
  r->globals = check_alloc(c, n, sizeof *r->globals);
  r->param = -1;
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    DLDataType type;
    if (c->host && o->scope != CALL) return check_bad(c, 1, "'%s' of the rule belongs to a tensor, and the data has none", o->name);
    if (o->role == PARAM && r->param >= 0)
      return check_bad(c, 1, "the rule has several params: the data does not say which tensors belong together");
    if (o->role == PARAM) r->param = k;
    if (o->role == INOUT) return check_bad(c, 1, "'%s' of the rule is inout, which data of an optimizer does not have", o->name);
    if (o->scope == TENSOR && !check_element_type(o->type, &type))
      return check_bad(c, 1, "'%s' of the rule is stored as %s, which check cannot fill", o->name, o->type);
  }
  if (!c->host && r->param < 0) return check_bad(c, 1, "the rule has no param");
  for (int i = 0; i < c->n_items; i++) {
    const CheckItem *item = &c->items[i];
    if (item->count > most) most = item->count;
    r->items[i] = (optc_item_args){.tensor = &r->bound[(size_t)i*(size_t)c->n_operands], .scalar = scalar_of(r, i, 0)};
    for (int k = 0; k < c->n_operands; k++) {
      DLTensor *x = tensor_of(r, i, k);
      if (c->operands[k].scope != TENSOR) continue;
      x->device.device_type = kDLCPU;
      x->ndim = item->rank;
      x->shape = item->shape;
      x->data = check_alloc(c, (size_t)item->count + 1, (size_t)check_element_type(c->operands[k].type, &x->dtype));
    }
  }
  r->numbers = check_alloc(c, (size_t)most, sizeof *r->numbers);
  for (int i = 0; i < c->n_items; i++) {
    if (!check_numbers(c, json_object_get(c->items[i].json, "init"), c->items[i].count, r->numbers, "init of tensors", i, -1)) return false;
    for (int64_t e = 0; e < c->items[i].count; e++) check_store(c->operands[r->param].type, tensor_of(r, i, r->param)->data, e, r->numbers[e]);
  }
  return true;
}

/* --- inputs ----------------------------------------------------------------------------------------------------------------- */
typedef enum Bound { READY, LEFT_OUT, BAD } Bound;           /* LEFT_OUT: the data has no input for the entry at this step */

static json_t *recorded(Check *c, const optc_operand_info *o) {
  if (o->role == GRAD && !strcmp(o->name, o->external)) return check_key(c->data, "grads");
  json_t *list = check_key(json_object_get(c->data, "extra_inputs"), o->external);
  if (!list) list = check_key(json_object_get(c->data, "inputs"), o->external);
  if (!list && o->scope == CALL) list = check_key(json_object_get(c->data, "hyper"), o->external);
  return list;
}

static const char *recorded_name(const optc_operand_info *o) { return o->role == GRAD && !strcmp(o->name, o->external) ? "grads" : o->external; }

/* The list of one step: lists that do not change from step to step stand for all. */
static json_t *at_step(json_t *list, int step) { return check_is_tensors(list) ? list : json_array_get(list, (size_t)step); }

static Bound bind_tensors(Run *r, int k, int step) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[k];
  json_t *list = recorded(c, o), *now = at_step(list, step);
  const char *name = recorded_name(o);
  if (!o->optional && (!list || json_is_null(now))) return LEFT_OUT;
  if (list && !now) return check_bad(c, 1, "%s has no step %d", name, step), BAD;
  if (list && !json_is_null(now) && json_array_size(now) != (size_t)c->n_items)
    return check_bad(c, 1, "%s[%d] has %zu tensors, 'tensors' has %d", name, step, json_array_size(now), c->n_items), BAD;
  for (int i = 0; i < c->n_items; i++) {
    json_t *numbers = json_array_get(now, (size_t)i);
    DLTensor *x = tensor_of(r, i, k);
    if (o->optional && (!numbers || json_is_null(numbers))) continue;
    if (!check_numbers(c, numbers, c->items[i].count, r->numbers, name, step, i)) return BAD;
    for (int64_t e = 0; e < c->items[i].count; e++) check_store(o->type, x->data, e, r->numbers[e]);
    r->bound[(size_t)i*(size_t)c->n_operands + (size_t)k] = x;
  }
  return READY;
}

static Bound bind_numbers(Run *r, int k, int step) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[k];
  if (o->scope == CALL) {
    json_t *list = recorded(c, o), *now = json_is_array(list) ? json_array_get(list, (size_t)step) : list;
    if (!now || json_is_null(now)) return o->optional ? READY : LEFT_OUT;
    return check_number(now, &r->globals[k]) ? READY : (check_bad(c, 1, "%s[%d] is not a number", o->external, step), BAD);
  }
  for (int i = 0; i < c->n_items; i++) {
    json_t *value = check_key(c->items[i].json, o->external);
    if (!value && !o->optional) return check_bad(c, 1, "tensors[%d] has no key '%s'", i, o->external), BAD;
    if (value && !check_number(value, scalar_of(r, i, k))) return check_bad(c, 1, "tensors[%d].%s is not a number", i, o->external), BAD;
  }
  return READY;
}

/* What the entry's operands point to. Operands of other entries stay NULL. */
static Bound bind(Run *r, int entry, int step) {
  Check *c = r->c;
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    int use = optc_rule_use(c->rule, entry, k);
    bool input = o->role == GRAD || o->role == IN;
    for (int i = 0; i < c->n_items; i++)
      r->bound[(size_t)i*(size_t)c->n_operands + (size_t)k] = o->scope == TENSOR && !input && (use > 0 || o->role != OUT) ? tensor_of(r, i, k) : NULL;
    if (!input || use <= 0 || step < 0) continue;
    Bound bound = o->scope == TENSOR ? bind_tensors(r, k, step) : bind_numbers(r, k, step);
    if (bound == READY) continue;
    const char *name = optc_rule_entry_name(c->rule, entry);
    if (bound == LEFT_OUT && !strcmp(name, "step"))
      return check_bad(c, 1, "step %d: the rule needs '%s', which the data does not have", step + 1, recorded_name(o)), BAD;
    if (bound == LEFT_OUT && !recorded(c, o)) check_note(c, "entry %s", name);
    return bound;
  }
  return READY;
}

/* --- comparison --------------------------------------------------------------------------------------------------------------- */
typedef struct Want { const char *key, *tensor; int step; bool scaled; } Want;       /* scaled: the bar goes with the largest magnitude */

static double error_of(double got, double want, double bar) {
  if (isnan(want) || isinf(want)) return (isnan(want) && isnan(got)) || got == want ? 0 : INFINITY;
  double error = fabs(got - want);
  return isnan(got) ? INFINITY : bar > 0 ? error/bar : error > 0 ? INFINITY : 0;
}

static void compare_one(Check *c, const Want *w, int64_t at, double got, double want, double largest) {
  double bar = (w->scaled ? c->absolute*largest : c->absolute) + c->relative*fabs(want), error = error_of(got, want, bar);
  char place[150] = "", element[32] = "";
  c->compared++;
  if (error <= c->worst && error <= 1) return;
  if (at >= 0) snprintf(element, sizeof element, "[%lld]", (long long)at);
  snprintf(place, sizeof place, "%s%s%s%s step %d", w->key, w->tensor ? " " : "", w->tensor ? w->tensor : "", element, w->step + 1);
  if (error > 1 && !c->departures++) snprintf(c->first_place, sizeof c->first_place, "%s: %.9g is not %.9g", place, got, want);
  if (error <= c->worst) return;
  c->worst = error;
  snprintf(c->worst_place, sizeof c->worst_place, "%s", place);
}

static bool compare_tensor(Run *r, const Want *w, int item, int operand, json_t *list) {
  Check *c = r->c;
  double largest = 0;
  if (!check_numbers(c, list, c->items[item].count, r->numbers, w->key, w->step, item)) return false;
  for (int64_t e = 0; e < c->items[item].count; e++) largest = fmax(largest, isfinite(r->numbers[e]) ? fabs(r->numbers[e]) : 0);
  for (int64_t e = 0; e < c->items[item].count; e++)
    compare_one(c, w, e, check_load(c->operands[operand].type, tensor_of(r, item, operand)->data, e), r->numbers[e], largest);
  return true;
}

/* Whether an item has a state, as the rule's layout says. */
static bool exists(Run *r, int item, int operand) {
  Check *c = r->c;
  int at = 0;
  for (int k = 0; k < operand; k++) at += c->operands[k].role == STATE;
  optc_state_info *states = r->states;
  return optc_rule_layout(c->rule, &r->args, item, states) != OPTC_OK || states[at].exists;
}

/* A list of tensors (null: nothing to compare) against an operand. */
static bool compare_tensors(Run *r, const char *key, int step, bool scaled, int operand, json_t *lists) {
  Check *c = r->c;
  if (json_is_null(lists) && operand != r->param) return true;
  if (json_array_size(lists) != (size_t)c->n_items)
    return check_bad(c, 1, "%s has %zu tensors at step %d, 'tensors' has %d", key, json_array_size(lists), step + 1, c->n_items);
  for (int i = 0; i < c->n_items; i++) {
    json_t *list = json_array_get(lists, (size_t)i);
    Want want = {.key = key, .tensor = c->items[i].name, .step = step, .scaled = scaled};
    bool state = c->operands[operand].role == STATE, none = json_is_null(list);
    if (none && !state) return check_bad(c, 1, "%s is null at step %d for tensor %d", key, step + 1, i);
    if (state && none == exists(r, i, operand)) {
      c->worst = INFINITY;
      snprintf(c->worst_place, sizeof c->worst_place, "%s %s", key, want.tensor);
      if (!c->departures++) snprintf(c->first_place, sizeof c->first_place, "%s: the %s has no such state", c->worst_place, none ? "data" : "rule");
    } else if (!none && !compare_tensor(r, &want, i, operand, list)) return false;
  }
  return true;
}

/* A number, or one a tensor, or one a tensor in a list of its own, against a scalar operand. */
static bool compare_numbers(Run *r, const char *key, int step, int operand, json_t *value) {
  Check *c = r->c;
  for (int i = 0; i < c->n_items + c->host; i++) {
    json_t *one = json_is_array(value) ? json_array_get(value, json_array_size(value) == 1 ? 0 : (size_t)i) : value;
    if (json_is_array(one) && json_array_size(one) == 1) one = json_array_get(one, 0);
    double want, got = c->operands[operand].scope == CALL ? r->globals[operand] : *scalar_of(r, i, operand);
    if (json_is_null(one)) continue;
    if (!one || !check_number(one, &want)) return check_bad(c, 1, "%s at step %d is not a number, or one a tensor", key, step + 1);
    Want at = {.key = key, .tensor = json_is_array(value) ? c->items[i].name : NULL, .step = step, .scaled = true};
    compare_one(c, &at, -1, got, want, fabs(want));
    if (!json_is_array(value)) break;
  }
  return true;
}

/* The operand that is kept or written under a name. -1: none. */
static int result_named(const Check *c, const char *name, size_t length) {
  for (int k = 0; k < c->n_operands; k++)
    if ((c->operands[k].role == STATE || c->operands[k].role == OUT) && strlen(c->operands[k].external) == length && !memcmp(c->operands[k].external, name, length))
      return k;
  return -1;
}

static size_t without_suffix(const char *key) {
  static const char suffix[] = "_per_step";
  size_t n = strlen(key), s = sizeof suffix - 1;
  return n > s && !strcmp(key + n - s, suffix) ? n - s : n;
}

static bool compare_per_step(Run *r, int step) {
  Check *c = r->c;
  const char *key;
  json_t *value;
  json_object_foreach(json_object_get(c->data, "state_scalars"), key, value) {
    size_t length = without_suffix(key);
    int k = result_named(c, key, length);
    if (k < 0 || c->operands[k].scope == TENSOR || (!key[length] && step + 1 < c->steps)) continue;
    if (key[length] && json_array_size(value) != (size_t)c->steps) return check_bad(c, 1, "state_scalars.%s has not one number a step", key);
    if (!compare_numbers(r, key, step, k, key[length] ? json_array_get(value, (size_t)step) : value)) return false;
  }
  for (int k = 0; k < c->n_operands; k++) {                  /* numbers of the host: a list of the whole file, one a step */
    const optc_operand_info *o = &c->operands[k];
    json_t *list = o->role == STATE || o->role == OUT ? json_object_get(c->data, o->external) : NULL;
    if (!list || o->scope != CALL) continue;
    if (json_array_size(list) != (size_t)c->steps) return check_bad(c, 1, "'%s' has not one number a step", o->external);
    if (!compare_numbers(r, o->external, step, k, json_array_get(list, (size_t)step))) return false;
  }
  return true;
}

/* Outputs of an entry, recorded every step under their own name. */
static bool compare_outputs(Run *r, int entry, int step) {
  Check *c = r->c;
  const char *name = optc_rule_entry_name(c->rule, entry);
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    if (o->role != OUT || optc_rule_use(c->rule, entry, k) <= 0 || o->scope != TENSOR) continue;
    json_t *steps = json_object_get(c->data, o->external), *last = json_object_get(json_object_get(c->data, "state"), o->external);
    if (steps && json_array_size(steps) != (size_t)c->steps) return check_bad(c, 1, "'%s' is not a list of %d steps", o->external, c->steps);
    if (steps && !compare_tensors(r, o->external, step, false, k, json_array_get(steps, (size_t)step))) return false;
    if (!steps && last && step + 1 == c->steps && !compare_tensors(r, o->external, step, true, k, last)) return false;
    if (!steps && !last) check_note(c, "output %s", o->external);
  }
  json_t *after = strcmp(name, "step") ? json_object_get(c->data, name) : NULL;
  if (!after) return true;
  if (json_array_size(after) != (size_t)c->steps) return check_bad(c, 1, "'%s' is not a list of %d steps", name, c->steps);
  return compare_tensors(r, name, step, false, r->param, json_array_get(after, (size_t)step));
}

static bool compare_states(Run *r) {
  Check *c = r->c;
  static const char *const objects[] = {"state", "state_scalars"};
  for (int i = 0; i < 2; i++) {
    json_t *object = json_object_get(c->data, objects[i]);
    if (object && !json_is_object(object)) return check_bad(c, 1, "'%s' is not an object", objects[i]);
  }
  const char *key;
  json_t *value;
  json_object_foreach(json_object_get(c->data, "state"), key, value) {
    int k = result_named(c, key, strlen(key));
    if (k < 0) return check_bad(c, 1, "state.%s: the rule has nothing of that name", key);
    if (c->operands[k].role == OUT) continue;
    if (c->operands[k].scope != TENSOR ? !compare_numbers(r, key, c->steps - 1, k, value) : !compare_tensors(r, key, c->steps - 1, true, k, value))
      return false;
  }
  return true;
}

/* --- calls --------------------------------------------------------------------------------------------------------------------- */
static bool call(Run *r, int entry, int step) {
  Check *c = r->c;
  r->error = (optc_error){0};
  int code = optc_rule_call(c->rule, entry, &r->args);
  if (!code) return true;
  const optc_error error = r->error;
  char values[120] = "";
  for (int i = 0, n = 0; i < error.n && i < 4; i++) n += snprintf(values + n, sizeof values - (size_t)n, "%s%.9g", i ? ", " : " (", error.value[i]);
  return check_bad(c, code == OPTC_E_INTERNAL ? 70 : 1, "step %d: entry %s: %s%s%s%s%s", step + 1, optc_rule_entry_name(c->rule, entry),
    code == OPTC_E_REQUIRE ? "requirement not met: " : "", error.text ? error.text : "refused", values, *values ? ")" : "",
    error.item >= 0 && error.item < c->n_items && code != OPTC_E_REQUIRE ? " of a tensor" : "");
}

/* The entries of one recorded step: those of the index, else step and the others, in the order of the text. */
static bool order_entries(Run *r) {
  static const char *const inner[] = {"init", "layout"};
  Check *c = r->c;
  for (int i = 0; i < c->index.n_entries; i++) {
    r->entries[i] = optc_rule_entry(c->rule, c->index.entries[i]);
    if (r->entries[i] < 0)
      return check_bad(c, 1, "%s/index: rule '%s' has no entry '%s'", c->options->rules, optc_rule_name(c->rule), c->index.entries[i]);
  }
  r->n_entries = c->index.n_entries;
  for (int e = 0; !c->index.n_entries && e < optc_rule_entries(c->rule); e++) {
    const char *name = optc_rule_entry_name(c->rule, e);
    if (!strcmp(name, inner[0]) || !strcmp(name, inner[1])) continue;
    if (r->n_entries == CHECK_ENTRIES) return check_bad(c, 1, "the rule has more than %d entries", CHECK_ENTRIES);
    r->entries[r->n_entries++] = e;
  }
  return r->n_entries > 0 || check_bad(c, 1, "the rule has no entry to call");
}

static bool step(Run *r, int at) {
  Check *c = r->c;
  for (int n = 0; n < r->n_entries; n++) {
    Bound bound = bind(r, r->entries[n], at);
    if (bound == BAD) return false;
    if (bound == LEFT_OUT) continue;
    if (!call(r, r->entries[n], at) || !compare_outputs(r, r->entries[n], at)) return false;
  }
  json_t *params = json_array_get(json_object_get(c->data, "params"), (size_t)at);
  return (c->host || compare_tensors(r, "params", at, false, r->param, params)) && compare_per_step(r, at);
}

/* --- what was not used ----------------------------------------------------------------------------------------------------------- */
static bool hyper_used(const Check *c, const char *key) {
  size_t n = strlen(key);
  for (int i = 0; i < c->n_hypers; i++)
    if (!strncmp(c->hypers[i].external, key, n) && strchr("[.", c->hypers[i].external[n])) return true;
  for (int k = 0; k < c->n_operands; k++)
    if (c->operands[k].role == IN && !strcmp(c->operands[k].external, key)) return true;
  return false;
}

static void note_unused(Check *c) {
  static const char *const known[] = {"rule", "source", "reference", "note", "hyper", "dtype", "t_first", "seed", "tensors", "steps", "grads", "extra_inputs", "inputs", "params",
    "params_f64", "f32_vs_f64", "name", "state", "state_f64", "state_scalars"};
  const char *key;
  json_t *value;
  json_object_foreach(json_object_get(c->data, "hyper"), key, value) if (!hyper_used(c, key)) check_note(c, "hyper.%s", key);
  json_object_foreach(json_object_get(c->data, "extra_inputs"), key, value) {
    bool used = false;
    for (int k = 0; k < c->n_operands; k++) used |= (c->operands[k].role == IN || c->operands[k].role == GRAD) && !strcmp(c->operands[k].external, key);
    if (!used) check_note(c, "extra_inputs.%s", key);
  }
  json_object_foreach(json_object_get(c->data, "state_scalars"), key, value) {
    int k = result_named(c, key, without_suffix(key));
    if (k < 0 || c->operands[k].scope == TENSOR) check_note(c, "state_scalars.%s", key);
  }
  json_object_foreach(c->data, key, value) {
    size_t n = strlen(key);
    bool used = result_named(c, key, n) >= 0 || optc_rule_entry(c->rule, key) >= 0 || (n > 4 && !strcmp(key + n - 4, "_f64"));
    for (size_t i = 0; i < sizeof known/sizeof *known; i++) used |= !strcmp(key, known[i]);
    if (!used) check_note(c, "%s", key);
  }
}

bool check_run(Check *c) {
  Run run = {.c = c};
  Run *r = &run;
  if (!fill_hypers(r) || !make_tensors(r) || !order_entries(r)) return false;
  r->states = check_alloc(c, (size_t)c->n_operands + 1, sizeof *r->states);
  r->args = (optc_call_args){.size = sizeof r->args, .groups = &r->group, .n_groups = 1, .items = r->items, .n_items = c->n_items, .global_scalar = r->globals, .t = &r->t,
    .error = &r->error};
  int init = optc_rule_entry(c->rule, "init");
  if (init >= 0 && (bind(r, init, -1) == BAD || !call(r, init, -1))) return false;
  for (int at = 0; at < c->steps; at++)
    if (!step(r, at)) return false;
  if (!compare_states(r)) return false;
  note_unused(c);
  return true;
}
