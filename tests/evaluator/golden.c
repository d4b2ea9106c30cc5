/* golden.c: recorded data run on a rule: names as rules/README.md says, tolerances as tests/golden/README.md says. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "golden.h"
#include "tests/support/fixture.h"

/* --- bars ---------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Bar { const char *rule; double absolute, relative; } Bar;
static const Bar step_bars[] = {                           /* |got - want| <= absolute + relative*|want| */
  {"adamw_bf16_sr", 0, 0x1p-7},                             /* a unit of bf16: f32 may cross a random threshold */
  {"muon", 2e-6, 2e-5}, {"auon", 2e-6, 2e-5}, {"hybrid_auon", 2e-6, 2e-5}, {"soap", 2e-6, 2e-5}, {"dog", 2e-6, 2e-5}, {"ldog", 2e-6, 2e-5},
  {"prodigy", 2e-6, 2e-5}, {"dadapt_", 2e-6, 2e-5}, {"mechanic_", 2e-6, 2e-5}, {"muon_", 2e-6, 2e-5}, {"mars_shampoo", 2e-6, 2e-5}, {"shampoo", 2e-6, 2e-5},
  {"galore", 2e-6, 2e-5}, {"apollo", 2e-6, 2e-5}, {"mkor", 2e-6, 2e-5}, {"", 1e-6, 4e-6},
};
static const Bar call_bars[] = {                           /* times the largest |want| of the tensor */
  {"layernorm", 4e-4, 4e-4},                                /* a row near 100 with a spread of 0.01, recorded from its decimals, not from the nearest f32 */
  {"sdpa_large_logits", 2e-4, 1e-5}, {"sinkhorn_log", 1e-4, 1e-4}, {"linear_attention", 1e-4, 1e-4}, {"retention", 1e-4, 1e-4}, {"simple_gla", 1e-4, 1e-4},
  {"gla", 1e-4, 1e-4}, {"delta_rule", 1e-4, 1e-4}, {"gated_delta_rule", 1e-4, 1e-4}, {"kda", 1e-4, 1e-4}, {"hgrn", 1e-4, 1e-4},
  {"forgetting_attention", 1e-4, 1e-4}, {"conjugate_gradient", 1e-4, 1e-4}, {"", 1e-5, 1e-5},
};

/* In f64 what was recorded in f64 agrees far better, but for these. */
static const Bar f64_step_bars[] = {{"soap", 1e-7, 1e-7}, {"", 1e-11, 1e-9}};                                  /* its authors decompose in f32 */
static const Bar f64_call_bars[] = {{"layernorm", 4e-4, 4e-4}, {"softmax", 1e-5, 1e-5}, {"", 1e-12, 1e-7}};    /* rows near 100, from their decimals */

static const Bar *bar_of(const Bar *bars, const char *rule) {
  while (strncmp(bars->rule, rule, strlen(bars->rule)) || (*bars->rule && bars->rule[strlen(bars->rule) - 1] != '_' && rule[strlen(bars->rule)] && rule[strlen(bars->rule)] != '_')) bars++;
  return bars;
}

/* --- reading ---------------------------------------------------------------------------------------------------------------------------------- */

static double number(const json_t *j, bool as_f32) {
  double v = json_is_string(j) ? (!strcmp(json_string_value(j), "nan") ? NAN : !strcmp(json_string_value(j), "inf") ? INFINITY : -INFINITY)
    : json_is_boolean(j) ? json_is_true(j) : json_number_value(j);
  return as_f32 ? (double)(float)v : v;
}

/* --- what the rule declares --------------------------------------------------------------------------------------------------------------------- */

typedef struct Declared { const Decl *d; Role role; Scope level; const char *entry, *external, *name; } Declared;
typedef struct Golden {
  Arena *arena;
  GoldenReport *report;
  json_t *data;
  const char *name;
  bool f64;
  EvalCall call;
  const Rule *rule;
  Declared *operands; unsigned n; size_t capacity;
  const char *entries[16]; unsigned n_entries;
  EvalSet global;
} Golden;

static void gather(Golden *g, const StmtList *l, const char *entry, unsigned depth) {
  for (unsigned i = 0; i < l->n; i++) {
    const Stmt *s = l->at[i];
    if (s->kind == STMT_APPLY && depth < 8) {
      const Rule *r = evaluator_rule(g->call.files, s->name.text);
      if (r) gather(g, &r->body, entry, depth + 1);
    }
    if (s->kind == STMT_ENTRY) gather(g, &s->body, s->name.text, depth);
    if (s->kind == STMT_IF) { gather(g, &s->body, entry, depth); gather(g, &s->otherwise, entry, depth); }
    for (unsigned k = 0; s->kind == STMT_DECL && k < s->decls.n; k++) {
      const Decl *d = &s->decls.at[k];
      if (depth && s->role != ROLE_STATE) continue;
      bool known = false;
      for (unsigned j = 0; j < g->n; j++) known |= !strcmp(g->operands[j].name, d->name) && g->operands[j].role == s->role && g->operands[j].entry == entry;
      if (known) continue;
      g->operands = arena_grow(g->arena, g->operands, &g->capacity, (size_t)g->n + 1, sizeof *g->operands);
      g->operands[g->n++] = (Declared){d, s->role, s->scope, entry, d->external ? d->external : d->name, d->name};
    }
  }
}

/* "betas[0]", "layers.bias", "code_b{bits}", "kind=matrix", "hess[{accepted}]" */
static json_t *lookup(Golden *g, json_t *in, const char *external) {
  char name[256];
  size_t n = 0;
  for (const char *p = external; *p && n < sizeof name - 32; p++) {
    if (*p != '{') { name[n++] = *p; continue; }
    size_t k = strcspn(p, "}") - 1;
    for (unsigned i = 0; i < g->call.n_hyper; i++)
      if (strlen(g->call.hyper[i].name) == k && !strncmp(g->call.hyper[i].name, p + 1, k)) n += (size_t)snprintf(name + n, 31, "%g", g->call.hyper[i].value);
    char inside[64];
    snprintf(inside, sizeof inside, "%.*s", (int)k, p + 1);
    const EvalArray *counter = evaluator_find(&g->global, inside);
    if (counter && counter->count == 1) n += (size_t)snprintf(name + n, 31, "%g", counter->data[0]);
    p += k + 1;
    if (!*p) break;
  }
  name[n] = 0;
  json_t *j = json_object_get(in, name);
  if (j) return j;
  char *equals = strchr(name, '=');
  if (equals) {                                            /* "kind=matrix": is that the text? */
    *equals = 0;
    const char *text = json_string_value(json_object_get(in, name));
    return !text ? NULL : strcmp(text, equals + 1) ? json_false() : json_true();
  }
  char *bracket = strchr(name, '['), *dot = strchr(name, '.');
  if (bracket) {
    long k = strtol(bracket + 1, NULL, 10);
    *bracket = 0;
    return json_array_get(json_object_get(in, name), (size_t)k);
  }
  if (dot) {
    *dot = 0;
    return lookup(g, json_object_get(in, name), dot + 1);
  }
  return NULL;
}

/* --- comparing ---------------------------------------------------------------------------------------------------------------------------------------- */

static GoldenRow *row(Golden *g, const char *name) {
  GoldenReport *r = g->report;
  for (unsigned i = 0; i < r->n; i++)
    if (!strcmp(r->rows[i].name, name)) return &r->rows[i];
  r->rows = arena_grow(g->arena, r->rows, &r->capacity, (size_t)r->n + 1, sizeof *r->rows);
  GoldenRow *w = &r->rows[r->n++];
  *w = (GoldenRow){0};
  snprintf(w->name, sizeof w->name, "%s", name);
  return w;
}

static void compare(Golden *g, const char *name, double got, double want, double tolerance, long step, long tensor, long element) {
  GoldenRow *r = row(g, name);
  double ratio = isnan(want) || isnan(got) ? (isnan(want) && isnan(got) ? 0 : INFINITY) : isinf(want) || isinf(got) ? (got == want ? 0 : INFINITY)
    : got == want ? 0 : tolerance > 0 ? fabs(got - want) / tolerance : INFINITY;
  if (!r->compared++ || ratio > r->ratio) {
    r->ratio = ratio;
    r->got = got;
    r->want = want;
    r->tolerance = tolerance;
    r->step = step;
    r->tensor = tensor;
    r->element = element;
  }
}

typedef enum How { HOW_PARAM, HOW_STATE, HOW_CALL, HOW_EXACT, HOW_HOST } How;

static void compare_list(Golden *g, const char *name, const EvalArray *a, const json_t *want, bool is_f64, How how, long step, long tensor) {
  double largest = 0;
  size_t n = json_is_array(want) ? json_array_size(want) : 1;
  if (!a || (int64_t)n != a->count) {
    if (!*g->report->message) snprintf(g->report->message, sizeof g->report->message, "%s: %ld numbers, the data has %zu", name, a ? (long)a->count : -1L, n);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    double w = fabs(number(json_is_array(want) ? json_array_get(want, i) : want, false));
    if (isfinite(w) && w > largest) largest = w;
  }
  bool as_f64 = g->f64 && (is_f64 || how == HOW_CALL);
  const Bar *bar = bar_of(how == HOW_CALL ? as_f64 ? f64_call_bars : call_bars : as_f64 ? f64_step_bars : step_bars, g->name);
  for (size_t i = 0; i < n; i++) {
    double w = number(json_is_array(want) ? json_array_get(want, i) : want, !is_f64 && how != HOW_HOST && how != HOW_EXACT), tolerance = 0;
    if (how == HOW_EXACT) tolerance = 0;
    else if (how == HOW_HOST) tolerance = 1e-12 * fabs(w) + 1e-15;
    else if (as_f64 && how != HOW_CALL) tolerance = bar->absolute + bar->relative * (fabs(w) > largest * 1e-3 ? fabs(w) : largest);
    else if (g->f64) tolerance = bar->absolute + bar->relative * largest;
    else if (how == HOW_CALL) tolerance = bar->absolute + bar->relative * largest;
    else if (how == HOW_STATE) tolerance = (bar->absolute + bar->relative) * largest;
    else tolerance = bar->absolute + bar->relative * fabs(w);
    compare(g, name, a->data[i], w, tolerance, step, tensor, (long)i);
  }
}

/* --- data of single calls: inputs, outputs, grads ---------------------------------------------------------------------------------------------------------- */

static bool fail(Golden *g, const char *format, const char *a, const char *b) {
  const char *text = arena_printf(g->arena, format, a, b);
  snprintf(g->report->message, sizeof g->report->message, "%.700s", text);
  return false;
}

static void put(Golden *g, EvalSet *set, const char *name, const json_t *list, unsigned rank, const int64_t *shape) {
  EvalArray *a = evaluator_set(g->arena, set, name, rank, shape, NULL);
  for (int64_t i = 0; i < a->count; i++) {
    const json_t *j = json_is_array(list) ? json_array_get(list, (size_t)i) : list;
    a->data[i] = number(j, !json_is_integer(j));
  }
}

static void put_record(Golden *g, EvalSet *set, const char *name, json_t *record) {
  json_t *dims = json_object_get(record, "shape");
  int64_t shape[EVAL_MAX_RANK];
  unsigned rank = (unsigned)json_array_size(dims);
  for (unsigned k = 0; k < rank && k < EVAL_MAX_RANK; k++) shape[k] = json_integer_value(json_array_get(dims, k));
  put(g, set, name, json_object_get(record, "data"), rank, shape);
}

static bool run(Golden *g, const char *entry) {
  g->call.entry = entry;
  return evaluator_run(&g->call) || fail(g, "%s%s", g->call.message, "");
}

static bool has_backward(const Rule *r) {
  for (unsigned i = 0; i < r->body.n; i++)
    if (r->body.at[i]->kind == STMT_BACKWARD || (r->body.at[i]->kind == STMT_ENTRY && !strcmp(r->body.at[i]->name.text, "backward"))) return true;
  return false;
}

static bool call_data(Golden *g) {
  json_t *inputs = json_object_get(g->data, "inputs"), *outputs = json_object_get(g->data, "outputs"), *grads = json_object_get(g->data, "grads");
  json_t *hyper = json_object_get(g->data, "hyper"), *j;
  const char *key;
  EvalSet *set = &g->call.items[0];
  for (unsigned i = 0; i < g->n; i++) {
    const Declared *o = &g->operands[i];
    if (o->role == ROLE_OUT || o->role == ROLE_STATE) continue;
    EvalSet *to = o->level == SCOPE_GLOBAL ? &g->global : set;
    if ((j = lookup(g, inputs, o->external))) {
      if (json_is_object(j)) put_record(g, to, o->name, j);
      else evaluator_set_number(g->arena, to, o->name, number(j, false));
    } else if ((j = lookup(g, hyper, o->external))) {
      int64_t n = (int64_t)json_array_size(j);
      if (json_is_array(j)) { EvalArray *a = evaluator_set(g->arena, to, o->name, 1, &n, NULL); for (int64_t k = 0; k < n; k++) a->data[k] = number(json_array_get(j, (size_t)k), false); }
      else evaluator_set_number(g->arena, to, o->name, number(j, false));
    }
  }
  if (!run(g, NULL)) return false;
  for (unsigned i = 0; i < g->n; i++) {
    const Declared *o = &g->operands[i];
    if ((o->role != ROLE_OUT && o->role != ROLE_INOUT) || o->entry || !(j = lookup(g, outputs, o->external))) continue;
    const char *type = json_string_value(json_object_get(j, "dtype"));
    bool exact = type && *type != 'f';
    compare_list(g, o->external, evaluator_find(o->level == SCOPE_GLOBAL ? &g->global : set, o->name), json_is_object(j) ? json_object_get(j, "data") : j, false, exact ? HOW_EXACT : HOW_CALL, -1, -1);
  }
  json_object_foreach(outputs, key, j) {
    bool used = false;
    for (unsigned i = 0; i < g->n; i++) used |= (g->operands[i].role == ROLE_OUT || g->operands[i].role == ROLE_INOUT) && lookup(g, outputs, g->operands[i].external) == j;
    if (!used) { g->report->untested++; snprintf(g->report->note + strlen(g->report->note), sizeof g->report->note - strlen(g->report->note), " %s", key); }
  }
  if (!grads || !json_object_size(grads) || !has_backward(g->rule)) {
    if (json_object_size(grads)) { g->report->untested++; snprintf(g->report->note + strlen(g->report->note), sizeof g->report->note - strlen(g->report->note), " grads"); }
    return true;
  }
  for (unsigned i = 0; i < g->n; i++)                      /* incoming gradients: among the inputs */
    if (g->operands[i].role == ROLE_OUT || g->operands[i].role == ROLE_INOUT) {
      char name[256];
      snprintf(name, sizeof name, "d%s", g->operands[i].external);
      if ((j = lookup(g, inputs, name))) put_record(g, set, arena_printf(g->arena, "d%s", g->operands[i].name), j);
    }
  if (!run(g, "backward")) return false;
  json_object_foreach(grads, key, j) {
    bool used = false;
    for (unsigned i = 0; i < g->n && !used; i++) {
      const Declared *o = &g->operands[i];
      EvalArray *a = o->role == ROLE_OUT ? (o->entry && !strcmp(o->external, key) ? evaluator_find(set, o->name) : NULL)
        : *key == 'd' && !strcmp(key + 1, o->external) ? evaluator_find(set, arena_printf(g->arena, "d%s", o->name)) : NULL;
      if (!a) continue;
      used = true;
      compare_list(g, key, a, json_object_get(j, "data"), false, HOW_CALL, -1, -1);
    }
    for (unsigned i = 0; i < g->rule->hypers.n && !used; i++) {
      const HyperDecl *h = &g->rule->hypers.at[i];
      EvalArray *a = *key == 'd' && !strcmp(key + 1, h->external ? h->external : h->name.text) ? evaluator_find(set, arena_printf(g->arena, "d%s", h->name.text)) : NULL;
      if (a) { used = true; compare_list(g, key, a, json_is_object(j) ? json_object_get(j, "data") : j, false, HOW_CALL, -1, -1); }
    }
    if (!used) { g->report->untested++; snprintf(g->report->note + strlen(g->report->note), sizeof g->report->note - strlen(g->report->note), " %s", key); }
  }
  return true;
}

/* --- data of steps ------------------------------------------------------------------------------------------------------------------------------------------ */

static json_t *at2(json_t *j, size_t step, size_t tensor) { return json_array_get(json_array_get(j, step), tensor); }
/* What a tensor is given at a step: of lists a step and tensor; of lists a step, where the file has one tensor; or of one list, given once. */
static json_t *given(json_t *j, size_t step, size_t tensor) {
  json_t *row = json_array_get(j, step);
  if (json_is_number(json_array_get(j, 0))) return j;
  return json_is_number(json_array_get(row, 0)) ? row : json_array_get(row, tensor);
}

/* Of fewer lists than tensors each belongs to the next tensor of its size. */
static json_t *given_by_size(Golden *g, json_t *row, size_t tensor) {
  json_t *tensors = json_object_get(g->data, "tensors");
  size_t n = json_array_size(row), next = 0;
  for (size_t t = 0; t < json_array_size(tensors) && next < n; t++) {
    if (json_array_size(json_array_get(row, next)) != json_array_size(json_object_get(json_array_get(tensors, t), "init"))) continue;
    if (t == tensor) return json_array_get(row, next);
    next++;
  }
  return NULL;
}

/* Which tensor of the data parameter k of an item is, -1: none. A rule of one parameter has an item a tensor; of several, an item a layer
 * (`as "layers.bias"`) or one item, whose parameters are found by name. */
static long tensor_of(Golden *g, unsigned item, unsigned k) {
  json_t *tensors = json_object_get(g->data, "tensors");
  const char *name = NULL;
  unsigned n = 0;
  for (unsigned i = 0; i < g->n; i++)
    if (g->operands[i].role == ROLE_PARAM && n++ == k) name = g->operands[i].external;
  if (n <= 1) return k ? -1 : (long)item;
  if (name && !strncmp(name, "layers.", 7)) {
    json_t *index = json_object_get(json_array_get(json_object_get(g->data, "layers"), item), name + 7);
    return json_is_integer(index) ? (long)json_integer_value(index) : -1;
  }
  for (size_t t = 0; name && t < json_array_size(tensors); t++)
    if (!strcmp(json_string_value(json_object_get(json_array_get(tensors, t), "name")), name)) return (long)t;
  return -1;
}

/* Operands of one entry for one step. False: an input is null, the entry is not called. */
static bool step_inputs(Golden *g, const char *entry, size_t step, bool *bad) {
  json_t *tensors = json_object_get(g->data, "tensors"), *extra = json_object_get(g->data, "extra_inputs"), *grads = json_object_get(g->data, "grads"), *hyper = json_object_get(g->data, "hyper");
  bool there = true, lists = false;
  unsigned n_grads = 0;
  for (unsigned i = 0; i < g->n; i++) {
    const Declared *o = &g->operands[i];
    unsigned nth = o->role == ROLE_GRAD && !o->entry ? n_grads++ : 0;
    if (o->entry && (!entry || strcmp(o->entry, entry))) continue;
    if (!o->entry && entry && o->level == SCOPE_TENSOR) continue;
    if (o->role != ROLE_GRAD && o->role != ROLE_IN) continue;
    json_t *of = o->role == ROLE_GRAD && !o->d->external ? grads : lookup(g, extra, o->external);
    if (o->role == ROLE_GRAD && !o->d->external && o->entry && lookup(g, extra, o->name)) of = lookup(g, extra, o->name);
    if (o->level == SCOPE_GLOBAL) {
      json_t *j = json_is_array(of) ? json_array_get(of, step) : NULL;
      if (json_is_null(j)) { there = false; continue; }
      bool f32 = j || (o->d->storage.type && !strcmp(o->d->storage.type, "f32"));
      if (!j && json_is_number(of)) j = of;
      if (!j) j = lookup(g, hyper, o->external);
      if (!j) j = lookup(g, g->data, o->external);
      if (!j) continue;
      int64_t n = (int64_t)json_array_size(j);
      EvalArray *a = json_is_array(j) ? evaluator_set(g->arena, &g->global, o->name, 1, &n, NULL) : evaluator_set_number(g->arena, &g->global, o->name, number(j, f32));
      for (int64_t k = 0; json_is_array(j) && k < n; k++) a->data[k] = number(json_array_get(j, (size_t)k), f32);
      continue;
    }
    for (unsigned t = 0; t < g->call.n_items; t++) {
      long index = tensor_of(g, t, nth);
      if (index < 0) continue;
      json_t *tensor = json_array_get(tensors, (size_t)index), *dims = json_object_get(tensor, "shape"), *j;
      if (o->level == SCOPE_SCALAR) {
        if ((j = lookup(g, tensor, o->external)) && !json_is_null(j)) evaluator_set_number(g->arena, &g->call.items[t], o->name, number(j, false));
        else if ((j = at2(of, step, t)) && json_is_number(j)) evaluator_set_number(g->arena, &g->call.items[t], o->name, number(j, true));
        continue;
      }
      json_t *row = json_array_get(of, step);
      lists = json_is_array(json_array_get(row, 0)) && json_array_size(row) < g->call.n_items;
      j = lists ? given_by_size(g, row, t) : given(of, step, o->role == ROLE_GRAD ? (size_t)index : t);
      if (!j || json_is_null(j)) {
        if (!o->d->optional) { there = false; if (!of && !*bad) { *bad = true; fail(g, "no data for '%s'%s", o->external, ""); } }
        continue;
      }
      int64_t shape[EVAL_MAX_RANK], count = 1, n = (int64_t)json_array_size(j);
      unsigned rank = (unsigned)json_array_size(dims);
      for (unsigned k = 0; k < rank; k++) count *= shape[k] = json_integer_value(json_array_get(dims, k));
      if (n != count) {                                    /* a shape of its own: flat, or rows as long as the tensor where the rule wants a matrix */
        bool matrix = o->d->shape && o->d->shape->n == 2 && count && n % count == 0;
        rank = matrix ? 2 : 1;
        shape[0] = matrix ? n / count : n;
        shape[1] = count;
      }
      put(g, &g->call.items[t], o->name, j, rank, shape);
    }
  }
  return there;
}

static json_t *pick(Golden *g, const char *name, bool *is_f64) {
  json_t *j = NULL;
  *is_f64 = false;
  if (g->f64) {
    char wide[256];
    snprintf(wide, sizeof wide, "%s_f64", name);
    j = lookup(g, g->data, wide);
    *is_f64 = j != NULL;
  }
  return j ? j : lookup(g, g->data, name);
}

static void compare_params(Golden *g, const char *key, size_t step) {
  bool is_f64;
  json_t *want = pick(g, key, &is_f64);
  if (is_f64 && json_is_null(json_array_get(want, step))) return;
  unsigned k = 0;
  for (unsigned i = 0; i < g->n; i++) {
    if (g->operands[i].role != ROLE_PARAM) continue;
    for (unsigned t = 0; t < g->call.n_items; t++) {
      long index = tensor_of(g, t, k);
      json_t *j = index < 0 ? NULL : at2(want, step, (size_t)index);
      if (j && !json_is_null(j)) compare_list(g, key, evaluator_find(&g->call.items[t], g->operands[i].name), j, is_f64, HOW_PARAM, (long)step + 1, index);
    }
    k++;
  }
}

static void compare_states(Golden *g, size_t step, bool last) {
  json_t *scalars = json_object_get(g->data, "state_scalars"), *per_step = json_object_get(g->data, "state_per_step");
  bool is_f64;
  json_t *state = pick(g, "state", &is_f64);
  for (unsigned i = 0; i < g->n; i++) {
    const Declared *o = &g->operands[i];
    if (o->role != ROLE_STATE && o->role != ROLE_OUT) continue;
    char name[256];
    snprintf(name, sizeof name, "%s_per_step", o->external);
    bool number_like = o->level != SCOPE_TENSOR && !(o->d->shape && o->d->shape->n);
    if (number_like) {
      json_t *now = json_array_get(lookup(g, scalars, name), step), *end = last ? lookup(g, scalars, o->external) : NULL;
      if (!now && o->role == ROLE_OUT) now = json_array_get(lookup(g, g->data, o->external), step);
      for (int which = 0; which < 2; which++) {
        json_t *j = which ? end : now;
        if (!j || json_is_null(j)) continue;
        if (o->level == SCOPE_GLOBAL) {
          if (json_is_array(j)) j = json_array_get(j, 0);
          if (!json_is_array(j)) compare_list(g, o->external, evaluator_find(&g->global, o->name), j, false, HOW_STATE, (long)step + 1, -1);
          continue;
        }
        for (unsigned t = 0; t < g->call.n_items; t++)
          if (json_is_array(j) && !json_is_array(json_array_get(j, t)) && !json_is_null(json_array_get(j, t)) && evaluator_find(&g->call.items[t], o->name))
            compare_list(g, o->external, evaluator_find(&g->call.items[t], o->name), json_array_get(j, t), false, HOW_STATE, (long)step + 1, (long)t);
      }
      continue;
    }
    bool wide = false;
    json_t *each = o->role == ROLE_OUT ? pick(g, o->external, &wide) : NULL;
    for (unsigned t = 0; t < g->call.n_items; t++) {
      const EvalArray *a = evaluator_find(&g->call.items[t], o->name);
      json_t *j = given(each, step, t), *k = at2(lookup(g, per_step, o->external), step, t), *end = last ? json_array_get(lookup(g, state, o->external), t) : NULL;
      if (!a) continue;
      if (json_is_array(j) && (last || j != each)) compare_list(g, o->external, a, j, wide, HOW_PARAM, (long)step + 1, (long)t);
      if (json_is_array(k)) compare_list(g, o->external, a, k, false, HOW_STATE, (long)step + 1, (long)t);
      if (json_array_size(end)) compare_list(g, o->external, a, end, is_f64, HOW_STATE, (long)step + 1, (long)t);
    }
  }
}

static bool entry_is_there(Golden *g, const char *entry) {
  for (unsigned i = 0; i < g->rule->body.n; i++)
    if (g->rule->body.at[i]->kind == STMT_ENTRY && !strcmp(g->rule->body.at[i]->name.text, entry)) return true;
  return false;
}

static bool step_data(Golden *g) {
  json_t *tensors = json_object_get(g->data, "tensors"), *steps = json_object_get(g->data, "steps");
  unsigned n_params = 0;
  bool layers = false;
  for (unsigned i = 0; i < g->n; i++)
    if (g->operands[i].role == ROLE_PARAM) { n_params++; layers |= !strncmp(g->operands[i].external, "layers.", 7); }
  if (!n_params) return fail(g, "the rule has no param for %s%s", "tensors", "");
  g->call.n_items = n_params == 1 ? (unsigned)json_array_size(tensors) : layers ? (unsigned)json_array_size(json_object_get(g->data, "layers")) : 1;
  g->call.items = arena_array(g->arena, g->call.n_items + 1, sizeof(EvalSet));
  for (unsigned i = 0, k = 0; i < g->n; i++) {
    if (g->operands[i].role != ROLE_PARAM) continue;
    for (unsigned t = 0; t < g->call.n_items; t++) {
      long index = tensor_of(g, t, k);
      if (index < 0) continue;
      json_t *tensor = json_array_get(tensors, (size_t)index), *dims = json_object_get(tensor, "shape");
      int64_t shape[EVAL_MAX_RANK];
      unsigned rank = (unsigned)json_array_size(dims);
      for (unsigned d = 0; d < rank && d < EVAL_MAX_RANK; d++) shape[d] = json_integer_value(json_array_get(dims, d));
      put(g, &g->call.items[t], g->operands[i].name, json_object_get(tensor, "init"), rank, shape);
    }
    k++;
  }
  if (!g->n_entries) {
    g->entries[g->n_entries++] = "step";
    for (unsigned i = 0; i < g->rule->body.n && g->n_entries < 16; i++)
      if (g->rule->body.at[i]->kind == STMT_ENTRY) g->entries[g->n_entries++] = g->rule->body.at[i]->name.text;
  }
  bool bad = false, from_stored = !strcmp(g->name, "adamw_bf16_sr") || !strcmp(g->name, "adam8bit_blockwise");
  step_inputs(g, NULL, 0, &bad);
  if (bad) return false;
  if (!evaluator_init(&g->call)) return fail(g, "initial states: %s%s", g->call.message, "");
  int64_t t = 0;
  size_t n = (size_t)json_integer_value(steps);
  for (size_t step = 0; step < n; step++) {
    for (unsigned k = 0; k < g->n_entries; k++) {
      const char *entry = entry_is_there(g, g->entries[k]) ? g->entries[k] : NULL;
      if (!entry && strcmp(g->entries[k], "step")) return fail(g, "the rule has no entry '%s'%s", g->entries[k], "");
      if (!step_inputs(g, entry, step, &bad)) { if (bad) return false; continue; }
      g->call.t = entry ? t : t + 1;
      if (!run(g, entry)) return false;
      if (!entry && !g->call.skipped) t++;
      if (entry) compare_params(g, entry, step);
    }
    compare_params(g, "params", step);
    compare_states(g, step, step + 1 == n);
    for (unsigned i = 0; i < g->n && from_stored; i++) {
      json_t *want = json_object_get(g->data, "params");
      const Declared *o = &g->operands[i];
      if (o->role == ROLE_STATE) want = lookup(g, json_object_get(g->data, "state_per_step"), o->external);
      if ((o->role != ROLE_PARAM && o->role != ROLE_STATE) || !want) continue;
      for (unsigned k = 0; k < g->call.n_items; k++) {
        EvalArray *a = evaluator_find(&g->call.items[k], o->name);
        json_t *j = at2(want, step, k);
        for (int64_t e = 0; a && e < a->count; e++) a->data[e] = number(json_array_get(j, (size_t)e), true);
      }
    }
  }
  return true;
}

/* --- one file -------------------------------------------------------------------------------------------------------------------------------------------------- */

/* rules/index: data name, file, rule, entries. */
static void find_rule(Golden *g, const char *folder, char *file, size_t size, char *rule, size_t rule_size) {
  char path[1024], line[1024];
  snprintf(file, size, "%s/%s.opt", folder, g->name);
  snprintf(path, sizeof path, "%s/index", folder);
  FILE *index = fopen(path, "r");
  while (index && fgets(line, sizeof line, index)) {
    char *rest = NULL, *comment = strchr(line, '#');
    if (comment) *comment = 0;
    const char *name = strtok_r(line, " \t\r\n", &rest);
    if (!name || strcmp(name, g->name)) continue;
    const char *f = strtok_r(NULL, " \t\r\n", &rest), *r = f ? strtok_r(NULL, " \t\r\n", &rest) : NULL;
    if (f) snprintf(file, size, "%s/%s", folder, f);
    if (r) snprintf(rule, rule_size, "%s", r);
    for (const char *e; (e = strtok_r(NULL, " \t\r\n", &rest)) && g->n_entries < 16;) g->entries[g->n_entries++] = arena_strndup(g->arena, e, strlen(e));
    break;
  }
  if (index) fclose(index);
}

static bool load(Golden *g, const char *path) {
  const char *why = NULL;
  const Source *source = fixture_read(NULL, g->arena, path, &why);
  if (!source) return fail(g, "cannot read %s: %s", path, why);
  Diag *diag = diag_new(g->arena, 3);
  g->call.files = frontend_load(g->arena, diag, source, &(FrontendOptions){.read = fixture_read});
  if (g->call.files) return true;
  Text text = {.arena = g->arena};
  diag_render_text(diag, &text, false);
  return fail(g, "%s%s", text.data ? text.data : "no parse", "");
}

/* Element k of hyper-parameters that are lists; how many there are. */
static size_t hypers(Golden *g, json_t *hyper, size_t k) {
  size_t variants = 1;
  g->call.hyper = arena_array(g->arena, g->rule->hypers.n + 1, sizeof(EvalNumber));
  g->call.n_hyper = 0;
  for (unsigned i = 0; i < g->rule->hypers.n; i++) {
    const HyperDecl *h = &g->rule->hypers.at[i];
    json_t *j = lookup(g, hyper, h->external ? h->external : h->name.text);
    if (json_is_array(j)) { variants = json_array_size(j); j = json_array_get(j, k); }
    if (!j || json_is_null(j) || (json_is_string(j) && strcmp(json_string_value(j), "inf") && strcmp(json_string_value(j), "-inf"))) continue;
    g->call.hyper[g->call.n_hyper++] = (EvalNumber){h->name.text, number(j, false)};
  }
  return variants;
}

static bool one(Golden *g, const char *rule) {
  char file[1200] = "", name[128] = "";
  const char *dot = strrchr(rule, '.');
  if (dot && !strcmp(dot, ".opt")) snprintf(file, sizeof file, "%s", rule);
  else find_rule(g, rule, file, sizeof file, name, sizeof name);
  if (!load(g, file)) return false;
  g->rule = evaluator_rule(g->call.files, *name ? name : g->name);
  if (!g->rule && !*name) g->rule = evaluator_rule(g->call.files, NULL);
  if (!g->rule) return fail(g, "no rule in %s%s", file, "");
  g->call.rule = g->rule->name.text;
  gather(g, &g->rule->body, NULL, 0);
  json_t *hyper = json_object_get(g->data, "hyper"), *values = json_object_get(g->data, "values");
  g->call.seed = (uint64_t)json_integer_value(json_object_get(g->data, "rng_seed"));
  size_t variants = 1;
  for (size_t k = 0; k < variants; k++) {
    variants = hypers(g, hyper, k);
    g->global = (EvalSet){0};
    g->call.global = &g->global;
    g->call.n_items = 1;
    g->call.items = arena_array(g->arena, 1, sizeof(EvalSet));
    g->call.f64 = g->f64;
    g->call.arena = g->arena;
    if (json_object_get(g->data, "tensors")) { if (!step_data(g)) return false; continue; }
    if (json_object_get(g->data, "inputs")) { if (!call_data(g)) return false; continue; }
    if (!values) return fail(g, "what is in %s?%s", g->name, "");
    const char *param = NULL;
    for (unsigned i = 0; i < g->n; i++) if (g->operands[i].role == ROLE_PARAM) param = g->operands[i].name;
    for (unsigned i = 0; i < g->n; i++) {
      int64_t n = 1;
      if (param && (g->operands[i].role == ROLE_PARAM || g->operands[i].role == ROLE_GRAD)) evaluator_set(g->arena, &g->call.items[0], g->operands[i].name, 1, &n, NULL);
    }
    if (!evaluator_init(&g->call)) return fail(g, "initial states: %s%s", g->call.message, "");
    for (size_t step = 0; step < json_array_size(values); step++) {
      g->call.t = (int64_t)step + 1;
      if (!run(g, NULL)) return false;
      for (unsigned i = 0; i < g->n; i++)
        if (g->operands[i].level == SCOPE_GLOBAL && (g->operands[i].role == ROLE_OUT || !strcmp(g->operands[i].external, "values")))
          compare_list(g, g->name, evaluator_find(&g->global, g->operands[i].name), json_array_get(values, step), false, HOW_HOST, (long)step + 1, -1);
    }
  }
  return true;
}

bool golden_run(Arena *arena, const char *rule, const char *path, bool f64, GoldenReport *report) {
  json_error_t error;
  *report = (GoldenReport){0};
  json_t *data = json_load_file(path, 0, &error);
  Golden g = {.arena = arena, .report = report, .data = data, .f64 = f64};
  bool good = data != NULL || fail(&g, "%s: %s", path, error.text);
  json_t *list = json_object_get(data, "list");
  if (good && json_is_array(list)) {
    for (size_t i = 0; i < json_array_size(list) && good; i++) {
      json_t *item = json_array_get(list, i);
      Golden h = {.arena = arena, .report = report, .data = item, .f64 = f64, .name = json_string_value(json_object_get(item, "name"))};
      good = one(&h, rule);
    }
  } else if (good) {
    g.name = json_string_value(json_object_get(data, "rule"));
    good = g.name ? one(&g, rule) : fail(&g, "no '%s' in %s", "rule", path);
  }
  json_decref(data);
  return good && !*report->message;
}
