/* command_check_compare.c: what a rule wrote against what was recorded, and what of the data was not used. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/command_check.h"

enum { PARAM = OPTC_ROLE_PARAM, GRAD = OPTC_ROLE_GRAD, IN = OPTC_ROLE_IN, OUT = OPTC_ROLE_OUT, INOUT = OPTC_ROLE_INOUT, STATE = OPTC_ROLE_STATE };
enum { CALL = OPTC_SCOPE_CALL };

/* --- one number, one tensor --------------------------------------------------------------------------------------------------- */
static double error_of(double got, double want, double bar) {
  if (isnan(want) || isinf(want)) return (isnan(want) && isnan(got)) || got == want ? 0 : INFINITY;
  double error = fabs(got - want);
  return isnan(got) ? INFINITY : bar > 0 ? error/bar : error > 0 ? INFINITY : 0;
}

static const CheckBar exactly = {"", "", 0, 0, OF_NUMBER, false};

void check_one(Check *c, const Want *w, const CheckBar *bar, int64_t at, double got, double want, double largest) {
  const CheckBar asked = {.relative = c->options->within, .scale = OF_TENSOR};
  if (c->options->within > 0 && bar != &exactly) bar = &asked;
  double size = bar->scale == OF_TENSOR ? largest : fabs(want);
  double allowed = (w->scaled ? bar->absolute*largest : bar->absolute) + bar->relative*size, error = error_of(got, want, allowed);
  char place[150] = "", element[32] = "", step[32] = "";
  c->compared++;
  if (error <= c->worst && error <= 1) return;
  if (at >= 0) snprintf(element, sizeof element, "[%lld]", (long long)at);
  if (w->step >= 0) snprintf(step, sizeof step, " step %d", w->step + 1);
  snprintf(place, sizeof place, "%s%s%s%s%s", w->key, w->tensor ? " " : "", w->tensor ? w->tensor : "", element, step);
  int digits = c->options->wide ? 17 : 9;                    /* as many as tell numbers of that type apart */
  if (error > 1 && !c->departures++) snprintf(c->first_place, sizeof c->first_place, "%s: %.*g is not %.*g", place, digits, got, digits, want);
  if (error <= c->worst) return;
  c->worst = error;
  snprintf(c->worst_place, sizeof c->worst_place, "%s", place);
}

static bool is_whole(const char *type) { return type[0] == 'i' || type[0] == 'u' || !strcmp(type, "bool") || !strcmp(type, "q8"); }

/* A tensor of the rule against numbers: a list, or a record with `data` and `dtype`. */
static bool compare_tensor(CheckRun *r, const Want *w, int item, int operand, json_t *value) {
  Check *c = r->c;
  const DLTensor *t = check_tensor(r, item, operand);
  json_t *list = json_is_object(value) ? json_object_get(value, "data") : value;
  const char *type = c->operands[operand].type, *recorded = json_string_value(json_object_get(value, "dtype"));
  int64_t n = check_elements(t);
  if (c->options->store && c->operands[operand].role == STATE && !strcmp(type, "u8") && !recorded) {
    check_note(c, "%s is kept as codes", c->operands[operand].name);
    return true;
  }
  double largest = 0, *want = check_alloc(c, (size_t)n + 1, sizeof *want);
  if (!check_numbers(c, list, n, want, w->key, w->step, c->format == CHECK_STEPS && item < r->n_items ? item : -1)) return false;
  const CheckBar *bar = is_whole(type) || (recorded && is_whole(recorded)) ? &exactly : check_bar(c, w->key, w->wide);
  bool in_f32 = !w->wide && bar != &exactly && (recorded ? !strcmp(recorded, "f32") : c->format == CHECK_STEPS || (c->format == CHECK_CALL && strcmp(type, "f64")));
  for (int64_t e = 0; e < n; e++) {
    if (in_f32) want[e] = (double)(float)want[e];            /* recorded as f32: its shortest decimal */
    largest = fmax(largest, isfinite(want[e]) ? fabs(want[e]) : 0);
  }
  for (int64_t e = 0; e < n; e++) check_one(c, w, bar, e, check_load(type, t->data, e), want[e], largest);
  return true;
}

/* Whether an item has a state, as the rule's layout says. */
static bool exists(CheckRun *r, int item, int operand) {
  int at = 0;
  for (int k = 0; k < operand; k++) at += r->c->operands[k].role == STATE;
  return optc_rule_layout(r->c->rule, &r->args, item, r->states) != OPTC_OK || r->states[at].exists;
}

static const char *last_part(const char *external) { return strrchr(external, '/') ? strrchr(external, '/') + 1 : external; }

/* States under different conditions may be known by one name, but for the prefix of the rule that was inserted: the one that the item has. */
static int existing(CheckRun *r, int item, int operand) {
  const optc_operand_info *o = r->c->operands;
  if (o[operand].role != STATE || exists(r, item, operand)) return operand;
  for (int k = 0; k < r->c->n_operands; k++)
    if (k != operand && o[k].role == STATE && o[k].tensor && !strcmp(last_part(o[k].external), last_part(o[operand].external)) && exists(r, item, k)) return k;
  return operand;
}

json_t *check_recorded(Check *c, const char *key, bool *wide) {
  char name[200];
  snprintf(name, sizeof name, "%s_f64", key);
  json_t *found = c->options->wide ? check_path(c, c->data, name) : NULL;
  *wide = found != NULL;
  return found ? found : check_path(c, c->data, key);
}

static bool all_zero(const json_t *list) {
  double x = 1;
  for (size_t e = 0; e < json_array_size(list); e++)
    if (!check_number(json_array_get(list, e), &x) || x != 0) return false;
  return true;
}

/* A list of tensors (null: nothing to compare) against an operand of every item. */
static bool compare_tensors(CheckRun *r, const Want *want, int operand, json_t *lists) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[operand];
  int n = o->role == PARAM ? c->n_items : r->n_items;
  if (json_is_null(lists) && (o->role != PARAM || want->wide)) return true;
  if (json_array_size(lists) != (size_t)n)
    return check_bad(c, 1, "%s has %zu tensors at step %d, 'tensors' has %d", want->key, json_array_size(lists), want->step + 1, n);
  for (int i = 0; i < r->n_items; i++) {
    int at = o->role == PARAM ? check_tensor_of(r, i, operand) : i;
    if (at < 0) continue;
    json_t *list = json_array_get(lists, (size_t)at);
    Want w = *want;
    if (at < c->n_items) w.tensor = c->items[at].name;
    bool state = o->role == STATE, none = json_is_null(list);
    int held = existing(r, i, operand);
    if (state && json_is_array(list) && !json_array_size(list) && c->items[at].count) continue;          /* not recorded */
    if (none && !state) return check_bad(c, 1, "%s is null at step %d for tensor %d", w.key, w.step + 1, i);
    if (state && !none && all_zero(list) && !exists(r, i, held)) continue;           /* never used by either */
    if (state && none == exists(r, i, held)) {
      c->worst = INFINITY;
      snprintf(c->worst_place, sizeof c->worst_place, "%s %s", w.key, w.tensor);
      if (!c->departures++) snprintf(c->first_place, sizeof c->first_place, "%s: the %s has no such state", c->worst_place, none ? "data" : "rule");
    } else if (!none && !compare_tensor(r, &w, i, held, list)) return false;
  }
  return true;
}

bool check_params(CheckRun *r, const char *key, json_t *lists, int step, bool wide) {
  if (wide && json_is_null(lists)) return true;              /* left out to save space */
  for (int k = 0; k < r->c->n_operands; k++)
    if (r->c->operands[k].role == PARAM && !compare_tensors(r, &(Want){.key = key, .step = step, .wide = wide}, k, lists)) return false;
  return true;
}

/* A number, or one a tensor, or one a tensor in a list of its own, against a scalar operand. */
static bool compare_numbers(CheckRun *r, const char *key, int step, int operand, json_t *value) {
  Check *c = r->c;
  int n = c->operands[operand].scope == CALL ? 1 : r->n_items;
  for (int i = 0; i < n; i++) {
    json_t *one = json_is_array(value) ? json_array_get(value, json_array_size(value) == 1 ? 0 : (size_t)i) : value;
    if (json_is_array(one) && json_array_size(one) == 1) one = json_array_get(one, 0);
    double want, got = c->operands[operand].scope == CALL ? r->globals[operand] : *check_scalar(r, i, operand);
    if (json_is_null(one)) continue;
    if (!one || !check_number(one, &want)) return check_bad(c, 1, "%s at step %d is not a number, or one a tensor", key, step + 1);
    Want at = {.key = key, .tensor = json_is_array(value) && i < c->n_items ? c->items[i].name : NULL, .step = step, .scaled = true};
    check_one(c, &at, check_bar(c, key, false), -1, got, want, fabs(want));
    if (!json_is_array(value)) break;
  }
  return true;
}

/* --- steps ---------------------------------------------------------------------------------------------------------------------- */
/* The operand that is kept or written under a name. -1: none. */
static int result_named(const Check *c, const char *name, size_t length) {
  for (int k = 0; k < c->n_operands; k++)
    if ((c->operands[k].role == STATE || c->operands[k].role == OUT || c->operands[k].role == INOUT) && strlen(c->operands[k].external) == length &&
        !memcmp(c->operands[k].external, name, length))
      return k;
  return -1;
}

static size_t without_suffix(const char *key) {
  static const char suffix[] = "_per_step";
  size_t n = strlen(key), s = sizeof suffix - 1;
  return n > s && !strcmp(key + n - s, suffix) ? n - s : n;
}

/* A tensor operand against a list of the whole file: nested by step and item, by item at the end, or every few steps. */
static bool compare_listed(CheckRun *r, int k, const char *key, json_t *list, int step, bool wide) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[k];
  int depth = check_depth(list), n = (int)json_array_size(list), last = c->steps - 1;
  Want want = {.key = key, .step = step, .wide = wide};
  if (depth < 0) return true;
  if (o->scope == CALL) {
    json_t *now = depth >= 2 && n == c->steps ? json_array_get(list, (size_t)step) : step == last ? list : NULL;
    return !now || !check_tensor(r, r->n_items, k)->data || compare_tensor(r, &want, r->n_items, k, now);
  }
  if (depth >= 3) {
    int every = n && c->steps % n == 0 ? c->steps/n : 0;
    if (!every) return check_bad(c, 1, "'%s' is not a list of %d steps", key, c->steps);
    return (step + 1) % every ? true : compare_tensors(r, &want, k, json_array_get(list, (size_t)((step + 1)/every - 1)));
  }
  bool by_item = depth == 2 && n == r->n_items && !(r->n_items == 1 && n == c->steps);
  if (by_item) return step < last || compare_tensors(r, &want, k, list);
  if (r->n_items != 1) return check_bad(c, 1, "'%s' is not a list of %d tensors", key, r->n_items);
  json_t *now = depth == 2 ? json_array_get(list, (size_t)step) : o->rank == 0 && n == c->steps ? json_array_get(list, (size_t)step) : step == last ? list : NULL;
  return !now || json_is_null(now) || compare_tensor(r, &want, 0, k, now);
}

bool check_per_step(CheckRun *r, int step) {
  Check *c = r->c;
  const char *key;
  json_t *value;
  json_object_foreach(json_object_get(c->data, "state_scalars"), key, value) {
    size_t length = without_suffix(key);
    int k = result_named(c, key, length);
    if (k < 0 || (c->operands[k].tensor && c->operands[k].rank != 0) || (!key[length] && step + 1 < c->steps)) continue;
    if (key[length] && json_array_size(value) != (size_t)c->steps) return check_bad(c, 1, "state_scalars.%s has not one number a step", key);
    json_t *now = key[length] ? json_array_get(value, (size_t)step) : value;
    if (c->operands[k].tensor) {
      if (json_array_size(now) == 1) now = json_array_get(now, 0);
      if (!compare_tensor(r, &(Want){.key = key, .step = step, .scaled = true}, c->operands[k].scope == CALL ? r->n_items : 0, k, now)) return false;
    } else if (!compare_numbers(r, key, step, k, now)) return false;
  }
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    if (o->role != STATE && o->role != OUT && o->role != INOUT) continue;
    bool wide;
    if (o->tensor && o->role != OUT) {
      json_t *each = check_path(c, json_object_get(c->data, "state_per_step"), o->external), *listed = each ? each : check_recorded(c, o->external, &wide);
      if (listed && !compare_listed(r, k, o->external, listed, step, !each && wide)) return false;
      continue;
    }
    json_t *list = o->tensor ? NULL : check_recorded(c, o->external, &wide);             /* numbers of the host: one a step */
    if (!list || o->scope != CALL) continue;
    if (json_array_size(list) != (size_t)c->steps) return check_bad(c, 1, "'%s' has not one number a step", o->external);
    if (!compare_numbers(r, o->external, step, k, json_array_get(list, (size_t)step))) return false;
  }
  return true;
}

/* Outputs of an entry, recorded under their own name; and the parameters after an entry, under the entry's. */
bool check_outputs(CheckRun *r, int entry, int step) {
  Check *c = r->c;
  const char *name = optc_rule_entry_name(c->rule, entry);
  bool wide;
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    if (o->role != OUT || optc_rule_use(c->rule, entry, k) <= 0 || !o->tensor) continue;
    json_t *steps = check_recorded(c, o->external, &wide), *last = json_object_get(json_object_get(c->data, "state"), o->external);
    char per_step[200];
    snprintf(per_step, sizeof per_step, "%s_per_step", o->external);
    json_t *scalars = json_object_get(c->data, "state_scalars");
    if (steps && !compare_listed(r, k, o->external, steps, step, wide)) return false;
    if (!steps && last && step + 1 == c->steps && !compare_tensors(r, &(Want){.key = o->external, .step = step, .scaled = true}, k, last)) return false;
    if (!steps && !last && !json_object_get(scalars, o->external) && !json_object_get(scalars, per_step)) check_note(c, "output %s", o->external);
  }
  json_t *after = strcmp(name, "step") && result_named(c, name, strlen(name)) < 0 ? check_recorded(c, name, &wide) : NULL;
  if (!after) return true;
  if (json_array_size(after) != (size_t)c->steps) return check_bad(c, 1, "'%s' is not a list of %d steps", name, c->steps);
  return check_params(r, name, json_array_get(after, (size_t)step), step, wide);
}

bool check_final(CheckRun *r) {
  Check *c = r->c;
  static const char *const objects[] = {"state", "state_scalars"};
  for (int i = 0; i < 2; i++) {
    json_t *object = json_object_get(c->data, objects[i]);
    if (object && !json_is_object(object)) return check_bad(c, 1, "'%s' is not an object", objects[i]);
  }
  const char *key;
  json_t *value, *in_f64 = c->options->wide ? json_object_get(c->data, "state_f64") : NULL;
  json_object_foreach(json_object_get(c->data, "state"), key, value) {
    int k = result_named(c, key, strlen(key));
    if (k < 0 && r->several) { check_note(c, "state.%s", key); continue; }
    if (k < 0) return check_bad(c, 1, "state.%s: the rule has nothing of that name", key);
    json_t *wide = json_object_get(in_f64, key);
    Want want = {.key = key, .step = c->steps - 1, .scaled = true, .wide = wide != NULL && !json_is_null(wide)};
    if (want.wide) value = wide;
    if (c->operands[k].role == OUT) continue;
    if (!c->operands[k].tensor ? !compare_numbers(r, key, c->steps - 1, k, value)
        : c->operands[k].scope == CALL ? !compare_tensor(r, &want, r->n_items, k, json_array_size(value) == 1 ? json_array_get(value, 0) : value)
                                       : !compare_tensors(r, &want, k, value))
      return false;
  }
  return true;
}

/* --- one call -------------------------------------------------------------------------------------------------------------------- */
static bool compare_result(CheckRun *r, int item, int k, json_t *value) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[k];
  Want want = {.key = o->external, .step = -1, .tensor = r->n_items > 1 && item < r->n_items ? json_string_value(json_object_get(c->items[item].json, "name")) : NULL};
  if (o->tensor) return compare_tensor(r, &want, item, k, value);
  double number, got = o->scope == CALL ? r->globals[k] : *check_scalar(r, item, k);
  if (json_is_object(value)) value = json_array_get(json_object_get(value, "data"), 0);
  if (!check_number(value, &number)) return check_bad(c, 1, "%s is not a number", o->external);
  check_one(c, &want, check_bar(c, o->external, false), -1, got, number, fabs(number));
  return true;
}

bool check_results(CheckRun *r, int entry) {
  Check *c = r->c;
  bool backward = !strcmp(optc_rule_entry_name(c->rule, entry), "backward");
  json_t *results = json_object_get(c->data, backward ? "grads" : "outputs");
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    if ((o->role != OUT && o->role != INOUT && o->role != STATE) || !(optc_rule_use(c->rule, entry, k) & OPTC_USE_WRITTEN)) continue;
    bool found = false;
    for (int i = o->scope == CALL ? r->n_items : 0; i < (o->scope == CALL ? r->n_items + 1 : r->n_items); i++) {
      json_t *value = check_path(c, results, o->external);
      if (!value) value = check_path(c, c->items[i < r->n_items ? i : 0].json, o->external);
      if (!value) value = check_path(c, c->data, o->external);
      if (!value || (o->tensor && !check_tensor(r, i, k)->data)) continue;
      found = true;
      if (!compare_result(r, i, k, value)) return false;
    }
    if (!found) check_note(c, "output %s", o->external);
  }
  return true;
}

/* --- what was not used ----------------------------------------------------------------------------------------------------------- */
static bool hyper_used(const Check *c, const char *key) {
  size_t n = strlen(key);
  for (int i = 0; i < c->n_hypers; i++)
    if (!strncmp(c->hypers[i].external, key, n) && (!c->hypers[i].external[n] || strchr("[.=", c->hypers[i].external[n]))) return true;
  for (int k = 0; k < c->n_operands; k++)
    if (c->operands[k].role == IN && !strncmp(c->operands[k].external, key, n) && (!c->operands[k].external[n] || c->operands[k].external[n] == '.')) return true;
  return false;
}

/* Whether an operand is called by a key, or by something in it. `roles`: one bit each. */
static bool operand_used(Check *c, json_t *object, const char *key, json_t *value, unsigned roles) {
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    size_t n = strlen(key);
    if (!(roles >> o->role & 1)) continue;
    if (check_path(c, object, o->external) == value || (!strncmp(o->external, key, n) && o->external[n] == '.')) return true;
    size_t before = strcspn(o->external, "{");
    if (o->external[before] && !strncmp(o->external, key, before)) return true;        /* of another variant */
  }
  return false;
}

void check_unused(CheckRun *r) {
  static const char *const known[] = {"rule", "source", "reference", "note", "hyper", "dtype", "t_first", "seed", "rng_seed", "tensors", "steps", "grads", "extra_inputs", "inputs",
    "outputs", "layout", "params", "params_f64", "f32_vs_f64", "name", "state", "state_f64", "state_scalars", "state_per_step", "list", "values", "second_backend", "cases"};
  static const struct { const char *key; unsigned roles; } objects[] = {
    {"extra_inputs", 1u << IN | 1u << GRAD}, {"inputs", 1u << IN | 1u << INOUT | 1u << GRAD}, {"outputs", 1u << OUT | 1u << INOUT | 1u << STATE}, {"grads", 1u << OUT},
    {"state_per_step", 1u << STATE}};
  Check *c = r->c;
  const char *key;
  json_t *value;
  json_object_foreach(json_object_get(c->data, "hyper"), key, value)
    if (!hyper_used(c, key) && (!json_is_string(value) || c->format != CHECK_CALL)) check_note(c, "hyper.%s", key);
  for (size_t i = 0; i < sizeof objects/sizeof *objects; i++)
    json_object_foreach(json_object_get(c->data, objects[i].key), key, value) {
      bool incoming = !strcmp(objects[i].key, "inputs") && optc_rule_entry(c->rule, "backward") < 0 && key[0] == 'd' && json_object_get(c->data, "grads");
      if (!operand_used(c, json_object_get(c->data, objects[i].key), key, value, objects[i].roles) && !incoming) check_note(c, "%s.%s", objects[i].key, key);
    }
  json_object_foreach(json_object_get(c->data, "state_scalars"), key, value) {
    int k = result_named(c, key, without_suffix(key));
    if (k < 0 || (c->operands[k].tensor && c->operands[k].rank)) check_note(c, "state_scalars.%s", key);
  }
  json_object_foreach(c->data, key, value) {
    size_t n = strlen(key);
    bool used = operand_used(c, c->data, key, value, ~0u) || optc_rule_entry(c->rule, key) >= 0 || (n > 4 && !strcmp(key + n - 4, "_f64"));
    for (size_t i = 0; i < sizeof known/sizeof *known; i++) used |= !strcmp(key, known[i]);
    if (!used) check_note(c, "%s", key);
  }
}
