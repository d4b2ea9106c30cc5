/* command_check_bind.c: what the data says goes into the memory of a call: hyper-parameters, tensors and their shapes, numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/command_check.h"

enum { PARAM = OPTC_ROLE_PARAM, GRAD = OPTC_ROLE_GRAD, IN = OPTC_ROLE_IN, OUT = OPTC_ROLE_OUT, INOUT = OPTC_ROLE_INOUT, STATE = OPTC_ROLE_STATE };
enum { CALL = OPTC_SCOPE_CALL };

static const char check_init[] = "init of tensors";

static size_t place_of(const CheckRun *r, int item, int operand) { return (size_t)item*(size_t)r->c->n_operands + (size_t)operand; }
DLTensor *check_tensor(CheckRun *r, int item, int operand) { return &r->tensors[place_of(r, item, operand)]; }
double *check_scalar(CheckRun *r, int item, int operand) { return &r->scalars[place_of(r, item, operand)]; }

int64_t check_elements(const DLTensor *t) {
  int64_t n = 1;
  for (int a = 0; a < t->ndim; a++) n *= t->shape[a];
  return n;
}

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

/* "kind=embedding": whether the key `kind` is that word. */
static bool is_word(json_t *object, const char *external, double *out) {
  const char *equals = strchr(external, '=');
  char key[128];
  if (!equals || (size_t)(equals - external) >= sizeof key) return false;
  snprintf(key, sizeof key, "%.*s", (int)(equals - external), external);
  const char *word = json_string_value(json_object_get(object, key));
  if (word) *out = !strcmp(word, equals + 1);
  return word != NULL;
}

bool check_hypers(CheckRun *r, int variant, int *n_variants) {
  static const char *const kinds[] = {"a number", "an integer", "true or false"};
  Check *c = r->c;
  json_t *hyper = json_object_get(c->data, "hyper");
  if (hyper && !json_is_object(hyper) && !json_is_null(hyper)) return check_bad(c, 1, "'hyper' is not an object");
  double *values = c->hyper_values = check_alloc(c, (size_t)c->n_hypers + 1, sizeof *values);
  *n_variants = 1;
  for (int i = 0; i < c->n_hypers; i++) {
    const optc_hyper_info *h = &c->hypers[i];
    json_t *value = check_key(hyper, h->external);
    values[i] = h->value;
    if (is_word(hyper, h->external, &values[i])) continue;
    if (json_array_size(value)) {                            /* a list for one number: the check runs once an element */
      *n_variants = (int)json_array_size(value);
      value = json_array_get(value, (size_t)variant % json_array_size(value));
    }
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

/* --- memory ----------------------------------------------------------------------------------------------------------------- */
void check_shape(CheckRun *r, int item, int operand, int rank, const int64_t *extent) {
  DLTensor *t = check_tensor(r, item, operand);
  int64_t *room = &r->room[place_of(r, item, operand)];
  const char *type = r->c->operands[operand].type;
  bool same = t->data && t->ndim == rank;
  for (int a = 0; same && a < rank; a++) same = t->shape[a] == extent[a];
  if (same) return;
  t->device.device_type = kDLCPU;
  t->ndim = rank;
  t->shape = check_alloc(r->c, (size_t)rank + 1, sizeof *t->shape);
  if (rank) memcpy(t->shape, extent, (size_t)rank*sizeof *extent);
  int64_t n = check_elements(t);
  int bytes = check_element_type(type, &t->dtype);
  if (!t->data || n > *room) {
    t->data = check_alloc(r->c, (size_t)n + 1, (size_t)bytes);
    *room = n;
  }
}

static double *numbers(CheckRun *r, int64_t n) {
  if (n > r->n_numbers || !r->numbers) {
    r->numbers = check_alloc(r->c, (size_t)n + 1, sizeof *r->numbers);
    r->n_numbers = n;
  }
  return r->numbers;
}

/* Of a record of layers: "layers.weight" says which of the tensors of the data is the operand's; else a tensor of its name. */
int check_tensor_of(CheckRun *r, int item, int operand) {
  Check *c = r->c;
  if (!r->several) return item;
  if (c->operands[operand].role == GRAD && !c->operands[operand].entry) {               /* of the param that stands in its place */
    int place = 0, n = 0;
    for (int k = 0; k < operand; k++) place += c->operands[k].role == GRAD && !c->operands[k].entry;
    for (int k = 0; k < c->n_operands; k++) if (c->operands[k].role == PARAM && n++ == place) return check_tensor_of(r, item, k);
  }
  const char *external = c->operands[operand].external, *dot = strchr(external, '.');
  if (dot) {
    char key[128];
    snprintf(key, sizeof key, "%.*s", (int)(dot - external), external);
    json_t *record = json_array_get(json_object_get(c->data, key), (size_t)item), *index = json_object_get(record, dot + 1);
    return json_is_integer(index) && json_integer_value(index) >= 0 && json_integer_value(index) < c->n_items ? (int)json_integer_value(index) : -1;
  }
  for (int i = 0; i < c->n_items; i++) if (c->items[i].name && !strcmp(c->items[i].name, external)) return i;
  return -1;
}

static bool count_items(CheckRun *r) {
  Check *c = r->c;
  int n_params = 0;
  r->param = -1;
  r->n_items = c->n_items;
  for (int k = c->n_operands; k-- > 0;) if (c->operands[k].role == PARAM) { r->param = k; n_params++; }
  r->several = n_params > 1;
  if (!r->several) return true;
  const char *external = c->operands[r->param].external, *dot = strchr(external, '.');
  char key[128];
  r->n_items = 1;
  if (dot) {
    snprintf(key, sizeof key, "%.*s", (int)(dot - external), external);
    r->n_items = (int)json_array_size(json_object_get(c->data, key));
    if (!r->n_items) return check_bad(c, 1, "the rule has several params, and the data no list '%s' that says which tensors belong together", key);
    return true;
  }
  for (int k = 0; k < c->n_operands; k++)
    if (c->operands[k].role == PARAM && check_tensor_of(r, 0, k) < 0)
      return check_bad(c, 1, "the rule has several params, and the data no tensor '%s': it does not say which tensors belong together", c->operands[k].external);
  return true;
}

/* --- shapes ----------------------------------------------------------------------------------------------------------------- */
/* Sets Check.sizes. */
static void learn_sizes(CheckRun *r, int item) {
  Check *c = r->c;
  c->sizes.n = 0;
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    const DLTensor *t = check_tensor(r, o->scope == CALL ? r->n_items : item, k);
    if (o->tensor && o->shape && t->data && o->role != OUT && o->role != STATE) shape_learn(&c->sizes, o->shape, t->ndim, t->shape);
  }
  for (int i = 0; i < c->n_hypers; i++)
    if (c->hypers[i].type == 1) shape_set(&c->sizes, c->hypers[i].name, (int64_t)c->hyper_values[i]);
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    if (!o->tensor && !strcmp(o->type, "i64")) shape_set(&c->sizes, o->name, (int64_t)(o->scope == CALL ? r->globals[k] : *check_scalar(r, item, k)));
  }
}

/* Nested lists as a shape; 0: they are not even. */
static int nested_shape(const json_t *value, int64_t *extent) {
  int rank = 0;
  int64_t n = 1;
  for (const json_t *at = value; json_is_array(at) && rank < 8; at = json_array_get(at, 0)) n *= extent[rank++] = (int64_t)json_array_size(at);
  return n == check_count(value) ? rank : 0;
}

/* -1: it has none that is one, which is recorded. */
static int shape_of_data(CheckRun *r, int item, int operand, json_t *value, json_t *data, int64_t *extent) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[operand];
  json_t *shape = json_is_object(value) ? json_object_get(value, "shape") : NULL;
  if (shape) return check_extents(c, shape, o->name, extent);
  if (o->rank == 0) return 0;
  int rank = nested_shape(data, extent);
  if (rank > 1 && (o->rank < 0 || rank == o->rank)) return rank;
  learn_sizes(r, item);
  int64_t count = check_count(data);
  int solved = o->shape ? shape_of_count(&c->sizes, o->shape, count, extent) : -1;
  if (solved >= 0) return solved;
  extent[0] = count;
  return 1;
}

static bool fill_tensor(CheckRun *r, int item, int operand, json_t *value, const char *what, int step) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[operand];
  DLTensor *t = check_tensor(r, item, operand);
  json_t *data = json_is_object(value) ? json_object_get(value, "data") : value;
  int64_t extent[SHAPE_MAX];
  if (!(o->item_shape && t->shape)) {
    int rank = shape_of_data(r, item, operand, value, data, extent);
    if (rank < 0) return false;
    check_shape(r, item, operand, rank, extent);
  }
  int64_t n = check_elements(t);
  double *from = numbers(r, n);
  bool by_item = item < r->n_items && c->format == CHECK_STEPS && strcmp(what, check_init);
  if (!check_numbers(c, data, n, from, what, c->format == CHECK_CALL ? -1 : step, by_item ? item : -1)) return false;
  bool real = o->type[0] == 'f' || !strcmp(o->type, "bf16");           /* recorded as f32: its shortest decimal, also where f64 is asked for */
  for (int64_t e = 0; e < n && !real; e++)
    if (!check_fits(o->type, from[e])) return check_bad(c, 1, "%s[%lld] is %.17g, '%s' is %s", what, (long long)e, from[e], o->name, o->type);
  for (int64_t e = 0; e < n; e++) check_store(o->type, t->data, e, real ? (double)(float)from[e] : from[e]);
  return true;
}

bool check_memory(CheckRun *r) {
  Check *c = r->c;
  if (c->format == CHECK_HOST) r->n_items = 1;                /* without tensors: states of the call are told with an item */
  else if (!count_items(r)) return false;
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    DLDataType type;
    if (c->format == CHECK_HOST && o->scope != CALL) return check_bad(c, 1, "'%s' of the rule belongs to a tensor, and the data has none", o->name);
    if (o->tensor && !check_element_type(o->type, &type)) return check_bad(c, 1, "'%s' of the rule is stored as %s, which check cannot fill", o->name, o->type);
  }
  if (c->format == CHECK_STEPS && r->param < 0) return check_bad(c, 1, "the rule has no param");
  size_t n = (size_t)c->n_operands + 1, rows = (size_t)r->n_items + 1;
  r->items = check_alloc(c, rows, sizeof *r->items);
  r->tensors = check_alloc(c, rows*n, sizeof *r->tensors);
  r->room = check_alloc(c, rows*n, sizeof *r->room);
  r->bound = check_alloc(c, rows*n, sizeof *r->bound);
  r->scalars = check_alloc(c, rows*n, sizeof *r->scalars);
  c->globals = r->globals = check_alloc(c, n, sizeof *r->globals);
  r->states = check_alloc(c, n, sizeof *r->states);
  for (int i = 0; i < r->n_items; i++) {
    r->items[i] = (optc_item_args){.tensor = &r->bound[place_of(r, i, 0)], .scalar = check_scalar(r, i, 0)};
    for (int k = 0; k < c->n_operands && c->format == CHECK_STEPS; k++) {
      const optc_operand_info *o = &c->operands[k];
      int at = check_tensor_of(r, i, o->role == PARAM ? k : r->param);
      if (!o->tensor || o->scope == CALL || (o->role != PARAM && !o->item_shape) || at < 0) continue;
      check_shape(r, i, k, c->items[at].rank, c->items[at].shape);
      if (o->role == PARAM && !fill_tensor(r, i, k, json_object_get(c->items[at].json, "init"), check_init, at)) return false;
    }
  }
  return true;
}

/* --- inputs ----------------------------------------------------------------------------------------------------------------- */
static bool of_grads(const optc_operand_info *o, const CheckRun *r) {
  return o->role == GRAD && r->c->format == CHECK_STEPS && (!strcmp(o->name, o->external) || (r->several && check_tensor_of((CheckRun *)(size_t)r, 0, (int)(o - r->c->operands)) >= 0));
}

static const char *recorded_name(const CheckRun *r, const optc_operand_info *o) { return of_grads(o, r) ? "grads" : o->external; }

/* What the data has for an input, and whether it stays the same from step to step. */
static json_t *recorded(CheckRun *r, int operand, bool *constant) {
  static const char *const inputs[] = {"extra_inputs", "inputs"};
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[operand];
  json_t *found = NULL;
  *constant = c->format == CHECK_CALL;
  if (of_grads(o, r)) return check_key(c->data, "grads");
  for (int i = 0; i < 2 && !found; i++) found = check_path(c, json_object_get(c->data, inputs[i]), o->external);
  if (found) return found;
  found = check_path(c, json_object_get(c->data, "hyper"), o->external);
  if (!found) found = check_path(c, c->data, o->external);
  if (o->tensor) *constant = true;
  return found;
}

/* Lists nest by step and item, where they do; lists of one tensor, or of one a step, leave that level out. */
static json_t *at_step(CheckRun *r, json_t *list, int operand, int step, int item) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[operand];
  int depth = check_depth(list);
  size_t n = json_array_size(list);
  bool steps = n == (size_t)c->steps;
  json_t *now = json_array_get(list, (size_t)step);
  if (o->scope == CALL) return depth >= 2 && steps ? now : list;
  if (depth >= 3 || depth < 0) {
    int index = r->several && of_grads(o, r) ? check_tensor_of(r, item, operand) : item;
    return json_is_null(now) || !now ? now : json_array_get(now, (size_t)index);
  }
  if (depth == 2 && n == (size_t)r->n_items && !(r->n_items == 1 && steps)) return json_array_get(list, (size_t)item);
  if (depth == 2) return r->n_items == 1 ? now : NULL;
  return o->rank == 0 && steps ? now : list;
}

/* Of fewer lists than there are tensors each belongs to the next tensor of its size. NULL: none does. */
static json_t *of_its_size(CheckRun *r, json_t *lists, int item) {
  size_t next = 0;
  for (int i = 0; i < r->c->n_items && next < json_array_size(lists); i++) {
    if ((int64_t)json_array_size(json_array_get(lists, next)) != r->c->items[i].count) continue;
    if (i == item) return json_array_get(lists, next);
    next++;
  }
  return NULL;
}

static Bound bind_tensor(CheckRun *r, int k, int step, int item) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[k];
  bool constant;
  json_t *list = recorded(r, k, &constant), *value = list;
  const char *name = recorded_name(r, o);
  if (c->format == CHECK_CALL && item < r->n_items && c->items[item].json != c->data) {       /* one of `tensors`: its own keys first */
    json_t *own = check_path(c, c->items[item].json, o->external);
    if (own) value = list = own;
  }
  if (!constant && list) {
    json_t *now = json_array_get(list, (size_t)step);
    bool by_step = of_grads(o, r) || check_depth(list) >= 3;
    if (by_step && !now) return check_bad(c, 1, "%s has no step %d", name, step), BAD;
    bool fewer = o->item_shape && o->optional && by_step && json_array_size(now) && json_array_size(now) < (size_t)r->n_items && !r->several;
    if (by_step && !fewer && !json_is_null(now) && o->scope != CALL && json_array_size(now) != (size_t)(of_grads(o, r) ? c->n_items : r->n_items))
      return check_bad(c, 1, "%s[%d] has %zu tensors, 'tensors' has %d", name, step, json_array_size(now), c->n_items), BAD;
    value = fewer ? of_its_size(r, now, item) : at_step(r, list, k, step, item);
  } else if (c->format == CHECK_STEPS && list && o->scope != CALL && check_depth(list) == 2 && json_array_size(list) == (size_t)r->n_items)
    value = json_array_get(list, (size_t)item);
  if (!value || json_is_null(value)) return o->optional ? READY : LEFT_OUT;
  if (!fill_tensor(r, item, k, value, name, step)) return BAD;
  r->bound[place_of(r, item, k)] = check_tensor(r, item, k);
  return READY;
}

static Bound bind_number(CheckRun *r, int k, int step, int item) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[k];
  double *to = o->scope == CALL ? &r->globals[k] : check_scalar(r, item, k);
  bool constant;
  if (o->scope != CALL && !r->several && is_word(c->items[item].json, o->external, to)) return READY;
  json_t *list = recorded(r, k, &constant), *value = list;
  if (o->scope != CALL) {
    json_t *own = check_path(c, c->items[r->several ? 0 : item].json, o->external);
    value = json_is_array(list) ? json_array_get(list, (size_t)step) : list;
    if (json_is_array(value)) value = json_array_get(value, (size_t)item);
    if (own) value = own;
    else if (!list) value = NULL;
  } else if (json_is_array(list)) value = json_array_get(list, (size_t)step);
  if (json_array_size(value) == 1) value = json_array_get(value, 0);
  if (!value || json_is_null(value)) {
    if (o->has_default) *to = o->value;
    if (o->has_default || o->optional) return READY;
    if (o->scope == CALL) return LEFT_OUT;
    return check_bad(c, 1, "tensors[%d] has no key '%s'", item, o->external), BAD;
  }
  if (check_number(value, to)) {
    if (list && list == check_path(c, json_object_get(c->data, "extra_inputs"), o->external) && strcmp(o->type, "i64")) *to = (double)(float)*to;
    return READY;
  }
  return (o->scope == CALL ? check_bad(c, 1, "%s[%d] is not a number", o->external, step) : check_bad(c, 1, "tensors[%d].%s is not a number", item, o->external)), BAD;
}

/* The shape of an output: what was recorded of it, else what its declaration says. false: not known, it is left out. */
static bool shape_output(CheckRun *r, int item, int k, int entry) {
  Check *c = r->c;
  const optc_operand_info *o = &c->operands[k];
  if (o->item_shape && c->format == CHECK_STEPS) return check_tensor(r, item, k)->data;
  bool backward = !strcmp(optc_rule_entry_name(c->rule, entry), "backward");
  json_t *want = c->format == CHECK_CALL ? check_path(c, json_object_get(c->data, backward ? "grads" : "outputs"), o->external) : NULL;
  int64_t extent[SHAPE_MAX];
  char unknown[48];
  int rank = -1;
  json_t *shape = json_is_object(want) ? json_object_get(want, "shape") : NULL;
  if (shape && (rank = check_extents(c, shape, o->name, extent)) < 0) return false;
  learn_sizes(r, item < r->n_items ? item : 0);
  if (rank < 0 && o->shape) rank = shape_evaluate(&c->sizes, o->shape, extent, unknown);
  if (rank < 0) {                                            /* one size only the numbers tell */
    json_t *list = want ? want : check_path(c, c->data, o->external);
    if (c->format == CHECK_STEPS && list) list = at_step(r, list, k, 0, item);
    if (list && o->shape) rank = shape_of_count(&c->sizes, o->shape, check_count(list), extent);
    if (rank < 0 && list && o->rank == 1) { extent[0] = check_count(list); rank = 1; }
  }
  if (rank < 0 && o->rank == 0) rank = 0;
  if (rank < 0) return check_tensor(r, item, k)->data;
  check_shape(r, item, k, rank, extent);
  return true;
}

static Bound bind_input(CheckRun *r, int entry, int k, int step) {
  const optc_operand_info *o = &r->c->operands[k];
  int from = o->scope == CALL ? r->n_items : 0, to = o->scope == CALL ? r->n_items + 1 : r->n_items;
  for (int i = from; i < to; i++) {
    Bound bound = o->tensor ? bind_tensor(r, k, step < 0 ? 0 : step, i) : bind_number(r, k, step < 0 ? 0 : step, i);
    if (bound == READY) continue;
    if (step < 0 && bound == LEFT_OUT) { r->bound[place_of(r, i, k)] = NULL; continue; }
    const char *name = optc_rule_entry_name(r->c->rule, entry);
    bool constant;
    if (bound == LEFT_OUT && (!strcmp(name, "step") || !strcmp(name, "forward"))) {
      if (r->c->format == CHECK_CALL) return check_bad(r->c, 1, "the rule needs '%s', which the data does not have", o->external), BAD;
      return check_bad(r->c, 1, "step %d: the rule needs '%s', which the data does not have", step + 1, recorded_name(r, o)), BAD;
    }
    if (bound == LEFT_OUT && !recorded(r, k, &constant)) check_note(r->c, "entry %s", name);
    return bound;
  }
  return READY;
}

/* What the entry's operands point to. Operands of other entries stay NULL. */
Bound check_bind(CheckRun *r, int entry, int step) {
  Check *c = r->c;
  for (int k = 0; k < c->n_operands; k++)                    /* what is there from before */
    for (int i = 0; i <= r->n_items; i++) {
      const optc_operand_info *o = &c->operands[k];
      DLTensor *t = check_tensor(r, i, k);
      int use = optc_rule_use(c->rule, entry, k);
      bool kept = o->role == PARAM || o->role == STATE || (use > 0 && (o->role == OUT || (o->role == INOUT && step > 0)));
      r->bound[place_of(r, i, k)] = kept && o->tensor && t->data ? t : NULL;
    }
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    bool input = o->role == GRAD || o->role == IN || (o->role == INOUT && step <= 0);
    if (!input || (step >= 0 ? optc_rule_use(c->rule, entry, k) <= 0 : o->entry != NULL)) continue;
    Bound bound = bind_input(r, entry, k, step);
    if (bound != READY) return bound;
  }
  for (int k = 0; k < c->n_operands && step >= 0; k++) {
    const optc_operand_info *o = &c->operands[k];
    if (o->role != OUT || !o->tensor || optc_rule_use(c->rule, entry, k) <= 0) continue;
    for (int i = o->scope == CALL ? r->n_items : 0; i < (o->scope == CALL ? r->n_items + 1 : r->n_items); i++)
      if (shape_output(r, i, k, entry)) r->bound[place_of(r, i, k)] = check_tensor(r, i, k);
  }
  return *c->problem ? BAD : READY;
}

bool check_states(CheckRun *r) {
  Check *c = r->c;
  int own = 0, at = -1;
  for (int k = 0; k < c->n_operands; k++) own += c->operands[k].role == STATE && c->operands[k].tensor && !c->operands[k].item_shape;
  if (!own) return true;
  for (int i = 0; i < r->n_items; i++, at = -1) {
    if (optc_rule_layout(c->rule, &r->args, i, r->states) != OPTC_OK)
      return check_bad(c, 1, "the states of %s: %s", c->items[i].name ? c->items[i].name : "the call", r->error.text ? r->error.text : "refused");
    for (int k = 0; k < c->n_operands; k++) {
      const optc_operand_info *o = &c->operands[k];
      if (o->role != STATE) continue;
      const optc_state_info *s = &r->states[++at];
      int row = o->scope == CALL ? r->n_items : i;
      if (!o->tensor || o->item_shape || !s->exists) continue;
      check_shape(r, row, k, (int)s->rank, s->shape);
      r->bound[place_of(r, row, k)] = check_tensor(r, row, k);
    }
  }
  return true;
}

/* A master copy begins as the data's parameters, which a param of 16 bits does not hold. */
bool check_master(CheckRun *r) {
  Check *c = r->c;
  for (int k = 0; k < c->n_operands; k++)
    for (int i = 0; i < r->n_items && c->operands[k].role == STATE && c->operands[k].tensor && !strcmp(c->operands[k].external, "master") && !r->several; i++)
      if (check_tensor(r, i, k)->data && !fill_tensor(r, i, k, json_object_get(c->items[i].json, "init"), check_init, i)) return false;
  return true;
}

/* What was recorded of a step becomes what the next one begins with. */
bool check_restart(CheckRun *r, int step) {
  Check *c = r->c;
  json_t *states = json_object_get(c->data, "state_per_step");
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    json_t *list = o->role == PARAM ? json_object_get(c->data, "params") : o->role == STATE ? check_path(c, states, o->external) : NULL;
    if (!list || !o->tensor || o->scope == CALL) continue;
    for (int i = 0; i < r->n_items; i++) {
      json_t *value = json_array_get(json_array_get(list, (size_t)step), (size_t)check_tensor_of(r, i, k));
      if (json_is_array(value) && check_tensor(r, i, k)->data && !fill_tensor(r, i, k, value, o->external, step)) return false;
    }
  }
  return true;
}
