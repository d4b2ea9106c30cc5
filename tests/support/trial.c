/* trial.c: see trial.h. */
#include "tests/support/trial.h"
#include <stdlib.h>
#include <string.h>
#include "ir/module.h"
#include "tests/support/float_environment.h"
#include "tests/support/random.h"
#include "tests/support/shape_text.h"
#include "tests/support/values.h"

enum { GUARD = 64, FILL = 0xa5, ATTEMPTS = 60, REPAIRS = 40, MAX_HYPERS = 64, MAX_CALLS = 64, MAX_COUNT = 1 << 26 };

/* A tensor; guard bytes on both sides of each copy. fenced: where it lies while it is called, or NULL: in `work`. */
typedef struct Cell { TrialShape shape; int64_t count; size_t bytes; char *first, *work, *kept, *fenced; } Cell;

struct Trial {
  const optc_rule_desc *desc;
  TrialPlan plan;
  int n_items;
  Cell *cell;                            /* item*n_operands + operand; those of the call after the last item */
  char *hyper, *items, *first_items, *global, *first_global;
  size_t n_numbers;
  uint64_t *numbers, *kept_numbers;
  const char *trouble;
  char text[256], shapes[1024];
  int attempt;
};

static bool is_tensor(const Trial *t, int64_t k) { return t->desc->operands[k].tensor; }
static bool of_call(const Trial *t, int64_t k) { return t->desc->operands[k].scope == SCOPE_GLOBAL; }
static bool only_read(const Trial *t, int64_t k) { return t->desc->operands[k].role == ROLE_GRAD || t->desc->operands[k].role == ROLE_IN; }
static Cell *cell_of(Trial *t, int64_t i, int64_t k) { return &t->cell[(of_call(t, k) ? t->n_items : i)*t->desc->n_operands + k]; }
static bool absent(const Trial *t, int64_t i, int64_t k) { return t->desc->operands[k].optional && i%2 && !of_call(t, k); }
/* Operand k stands in row i: those of the call in the row after the items. */
static bool here(const Trial *t, int64_t i, int64_t k) { return is_tensor(t, k) && of_call(t, k) == (i == t->n_items); }

/* --- sizes ------------------------------------------------------------------------------------------------------------------------------------ */
int trial_sizes(const optc_rule_desc *desc) { char names[SHAPE_NAMES][SHAPE_NAME]; return shape_names(desc, names); }

static uint64_t hash(const char *name, size_t n, uint64_t s) {
  for (size_t i = 0; i < n; i++) s = s*1099511628211u + (unsigned char)name[i];
  return next_random(&s);
}

static int64_t size_named(const void *self, const char *name, size_t n) {
  const Trial *t = self;
  static const int64_t sizes[] = {1, 2, 3, 4, 4, 5, 6, 8, 8, 12, 16};
  char names[SHAPE_NAMES][SHAPE_NAME];
  for (int64_t h = 0; h < t->desc->n_hypers; h++)
    if (strlen(t->desc->hypers[h].name) == n && !strncmp(t->desc->hypers[h].name, name, n)) { int64_t v; memcpy(&v, t->hyper + 8*h, 8); return v > 0 && v < 4096 ? v : 1; }
  int known = shape_names(t->desc, names);
  for (int i = 0; i < known && t->plan.length; i++)
    if (i == t->plan.long_size && strlen(names[i]) == n && !strncmp(names[i], name, n)) return t->plan.length;
  if (t->plan.length && t->attempt < 2) return 2 - t->attempt;         /* what stands beside a long size is small: some work grows with its square */
  if (t->attempt == 0) return 2 + (unsigned char)*name%4;
  if (t->attempt < 3) return t->attempt*4;
  return sizes[hash(name, n, (uint64_t)t->attempt*977 + t->plan.seed)%(sizeof sizes/sizeof *sizes)];
}

/* --- data ------------------------------------------------------------------------------------------------------------------------------------- */
static void drop(Cell *c) {
  free(c->first);
  free(c->work);
  free(c->kept);
  *c = (Cell){0};
}

static bool make(Trial *t, int64_t i, int64_t k, const TrialShape *shape, uint64_t *s) {
  const optc_operand_desc *o = &t->desc->operands[k];
  Cell *c = cell_of(t, i, k);
  drop(c);
  c->shape = *shape;
  c->count = 1;
  for (int64_t a = 0; a < shape->rank; a++) c->count = c->count > MAX_COUNT ? c->count : c->count*shape->axis[a];
  if (c->count > MAX_COUNT) return false;
  c->bytes = (size_t)(c->count*o->bytes);
  c->first = malloc(c->bytes + 2*GUARD);
  c->work = malloc(c->bytes + 2*GUARD);
  c->kept = calloc(1, c->bytes + 2*GUARD);
  if (!c->first || !c->work || !c->kept) return false;
  memset(c->first, FILL, c->bytes + 2*GUARD);
  bool index = o->type >= TYPE_I8 && o->type < TYPE_BF16, moderate = t->plan.data == TRIAL_MODERATE || t->plan.data == TRIAL_ZEROS || t->plan.data == TRIAL_DENSE;
  if (t->plan.data == TRIAL_ZEROS && o->role == ROLE_PARAM) { memset(c->first + GUARD, 0, c->bytes); return true; }
  for (int64_t e = 0; e < c->count; e++) {
    char *at = c->first + GUARD + e*o->bytes;
    if (index && (moderate || next_random(s)%8)) {        /* mostly positions within a small axis */
      int64_t v = (int64_t)(next_random(s)%5);
      memcpy(at, &v, (size_t)o->bytes);
      continue;
    }
    if (moderate) value_moderate(at, o->type, s, t->plan.seed & 1, t->plan.data == TRIAL_DENSE);      /* positive: masses, variances, decays: what a logarithm or a root wants */
    else value_make_up(at, o->type, s, t->plan.data == TRIAL_ANY_BITS, false);
  }
  return true;
}

static void bind_row(Trial *t, int64_t i) {
  const optc_rule_desc *desc = t->desc;
  for (int64_t k = 0; k < desc->n_operands; k++) {
    const optc_operand_desc *o = &desc->operands[k];
    if (!here(t, i, k)) continue;
    Cell *c = cell_of(t, i, k);
    char *base = of_call(t, k) ? t->global : t->items + i*desc->item_size;
    optc_shaped x = {.data = !c->first || absent(t, i, k) ? NULL : c->fenced ? c->fenced : c->work + GUARD};
    if (o->shaped && c->first) { x.shape = c->shape.axis; x.rank = c->shape.rank; }
    memcpy(base + o->offset, &x, o->shaped ? sizeof x : sizeof(optc_tensor));
  }
}

static void bind(Trial *t, const TrialShape *item, int64_t n_items) {
  const optc_rule_desc *desc = t->desc;
  for (int64_t i = 0; i <= n_items; i++) bind_row(t, i);
  for (int64_t i = 0; i < n_items; i++) {
    char *at = t->items + i*desc->item_size;
    const int64_t *shape = item[i].rank ? item[i].axis : NULL;
    int64_t zero = 0;
    memcpy(at + desc->item_group, &zero, 8);
    memcpy(at + desc->item_rank, &item[i].rank, 8);
    memcpy(at + desc->item_shape, &shape, sizeof shape);
    memcpy(at + desc->item_first, &zero, 8);
    memcpy(at + desc->item_count, &zero, 8);
  }
}

static optc_call call_of(Trial *t, optc_error *error) {
  return (optc_call){.size = sizeof(optc_call), .groups = t->hyper, .n_groups = 1, .items = t->items, .n_items = t->n_items, .global = t->global, .error = error};
}

/* --- memory between fences ------------------------------------------------------------------------------------------------------------------ */
static bool fence_cells(Trial *t, Fence fence) {
  int64_t n = t->desc->n_operands;
  for (int64_t c = 0; c < (t->n_items + 1)*n; c++) {
    Cell *x = &t->cell[c];
    const optc_operand_desc *o = &t->desc->operands[c%n];
    if (!x->first || fence == FENCE_NONE) continue;
    if (!(x->fenced = fence_new(fence, x->bytes, (size_t)o->bytes))) return false;
    if (fence != FENCE_HEAP || o->role != ROLE_OUT) memcpy(x->fenced, x->first + GUARD, x->bytes);      /* what is out need not be defined before */
  }
  return true;
}

static void unfence_cells(Trial *t, Fence fence) {
  for (int64_t c = 0; c < (t->n_items + 1)*t->desc->n_operands; c++) {
    Cell *x = &t->cell[c];
    if (!x->fenced) continue;
    memcpy(x->work + GUARD, x->fenced, x->bytes);
    if (!fence_free(fence, x->fenced, x->bytes)) t->trouble = "written outside a tensor";
    x->fenced = NULL;
  }
}

/* A part of the call for as long as the call lasts. */
typedef struct Part { char **own; size_t size; char *at; } Part;

static int call_between_fences(Trial *t, const DrillRule *rule, int64_t e, Fence fence, optc_call call) {
  const optc_rule_desc *desc = t->desc;
  Part part[3] = {{&t->hyper, (size_t)desc->hyper_size, NULL}, {&t->items, (size_t)(t->n_items*desc->item_size), NULL}, {&t->global, (size_t)desc->global_size, NULL}};
  int code = OPTC_E_MEMORY;
  bool there = true;
  for (int k = 0; k < 3; k++) {
    there &= (part[k].at = fence_new(fence, part[k].size, 8)) != NULL;
    if (part[k].at) memcpy(part[k].at, *part[k].own, part[k].size);
  }
  call.groups = part[0].at;
  call.items = part[1].at;
  call.global = part[2].at;
  if (there && call.workspace_size) there = (call.workspace = fence_new(fence, call.workspace_size, 1)) != NULL;
  if (there) code = rule->call(rule->self, e, &call);
  for (int k = 0; k < 3; k++) {
    if (part[k].at) memcpy(*part[k].own, part[k].at, part[k].size);
    if (!fence_free(fence, part[k].at, part[k].size)) t->trouble = "written outside the call";
  }
  if (!fence_free(fence, call.workspace, call.workspace_size)) t->trouble = "written outside the workspace";
  return code;
}

static int call_entry(Trial *t, const DrillRule *rule, int64_t e, const DrillWay *way, optc_error *error) {
  optc_call call = call_of(t, error);
  call.parallel = way->parallel;
  call.workspace_size = rule->workspace(rule->self, &call);
  if (way->fence) return call_between_fences(t, rule, e, way->fence, call);
  char *workspace = call.workspace_size ? malloc(call.workspace_size + GUARD) : NULL;
  call.workspace = workspace;
  if (workspace) memset(workspace, FILL, call.workspace_size + GUARD);
  if (way->hostile) float_environment_set(FLOAT_HOSTILE);
  int code = rule->call(rule->self, e, &call);
  uint64_t found = float_environment();
  float_environment_set(FLOAT_USUAL);
  if (found != (way->hostile ? FLOAT_HOSTILE : FLOAT_USUAL)) t->trouble = "the floating-point environment was not restored";
  for (size_t k = 0; workspace && k < GUARD; k++)
    if ((unsigned char)workspace[call.workspace_size + k] != FILL) t->trouble = "written past the workspace";
  free(workspace);
  return code;
}

static int run_calls(Trial *t, const DrillRule *rule, const DrillWay *way, optc_error *error) {
  const optc_rule_desc *desc = t->desc;
  size_t calls = 0;
  for (int step = 0; step <= t->plan.steps; step++)
    for (int64_t e = 0; e < desc->n_entries; e++) {
      bool init = !strcmp(desc->entries[e].name, "init");
      if (init != (step == 0) || !strcmp(desc->entries[e].name, "layout")) continue;
      int code = call_entry(t, rule, e, way, error);
      if (calls < MAX_CALLS) t->numbers[calls++] = (uint64_t)code;
      if (code) return code;
    }
  return 0;
}

static int run_entries(Trial *t, const DrillRule *rule, const DrillWay *way, optc_error *error) {
  const optc_rule_desc *desc = t->desc;
  int64_t seed = 42;
  t->trouble = NULL;
  for (int64_t c = 0; c < (t->n_items + 1)*desc->n_operands; c++) if (t->cell[c].first) memcpy(t->cell[c].work, t->cell[c].first, t->cell[c].bytes + 2*GUARD);
  memcpy(t->items, t->first_items, (size_t)(t->n_items*desc->item_size));
  memcpy(t->global, t->first_global, (size_t)desc->global_size);
  memcpy(t->global + 8, &seed, 8);
  memset(t->numbers, 0, t->n_numbers*8);
  int code = OPTC_E_MEMORY;
  if (fence_cells(t, way->fence)) {
    bind(t, t->plan.item, t->n_items);
    code = run_calls(t, rule, way, error);
  }
  unfence_cells(t, way->fence);
  return code;
}

static void collect(Trial *t) {
  const optc_rule_desc *desc = t->desc;
  int64_t n = desc->n_operands;
  uint64_t *at = t->numbers + MAX_CALLS;
  memcpy(at++, t->global, 8);
  for (int64_t k = 0; k < n; k++) {
    const optc_operand_desc *o = &desc->operands[k];
    for (int64_t i = 0; i < t->n_items && !o->tensor && o->scope == SCOPE_SCALAR; i++) memcpy(at + i*n + k, t->items + i*desc->item_size + o->offset, 8);
    if (o->scope == SCOPE_GLOBAL && !o->tensor) memcpy(at + TRIAL_ITEMS*n + k, t->global + o->offset, 8);
    for (int64_t i = 0; i <= t->n_items; i++) {
      if (!here(t, i, k)) continue;
      const Cell *c = cell_of(t, i, k);
      if (c->first && only_read(t, k) && memcmp(c->first, c->work, c->bytes + 2*GUARD)) t->trouble = "a tensor that is only read was written";
    }
  }
}

/* --- finding data that the rule takes ----------------------------------------------------------------------------------------------------- */
static void choose_hypers(Trial *t, uint64_t *s) {
  static const int64_t small[] = {2, 1, 4, 2, 3, 8, 1, 4};
  for (int64_t k = 0; k < t->desc->n_hypers; k++) {
    const optc_hyper_desc *h = &t->desc->hypers[k];
    uint64_t r = next_random(s), value = h->value;
    double x;
    memcpy(&x, &value, 8);
    bool other = !h->has_default || (t->attempt > 2 || t->plan.seed ? r%3 == 0 : false);
    if (other && h->type == TYPE_F64) {
      x = h->has_default && x != 0 ? x*(0.5 + (double)(r >> 8 & 7)/16) : 0.5 + (double)(r >> 8 & 3)/8;
      memcpy(&value, &x, 8);
    } else if (other && h->type == TYPE_BOOL) value = h->has_default ? !value : 1;
    else if (other) value = (uint64_t)small[t->attempt ? (r >> 8)%(sizeof small/sizeof *small) : 0];
    memcpy(t->hyper + 8*k, &value, 8);
  }
}

static const TrialShape fallback[] = {{2, {6, 4}}, {2, {4, 4}}, {2, {8, 8}}, {1, {32}}, {1, {8}}, {3, {2, 4, 4}}, {2, {16, 32}}, {1, {1}}, {4, {2, 3, 3, 3}}};
enum { N_FALLBACK = sizeof fallback/sizeof *fallback };

/* `axis K of ... is {}, .. is {}`: the operand's axis becomes what it is compared with. */
static bool repair(Trial *t, const optc_error *error, uint64_t *s) {
  int axis, length = 0;
  if (!error->text || !error->operand || error->n != 2 || sscanf(error->text, "axis %d of %n", &axis, &length) != 1 || !length) return false;
  double wanted = error->value[1];
  if (wanted < 0 || wanted > 1 << 20) return false;
  for (int64_t k = 0; k < t->desc->n_operands; k++) {
    if (strcmp(t->desc->operands[k].name, error->operand) || !is_tensor(t, k)) continue;
    bool changed = false;
    for (int64_t i = 0; i < t->n_items; i++) {
      TrialShape shape = cell_of(t, i, k)->shape;
      if (axis < 0 || axis >= shape.rank || (shape.axis[axis] == (int64_t)wanted && !of_call(t, k))) continue;
      if (error->item >= 0 && error->item != i && !of_call(t, k)) continue;
      shape.axis[axis] = (int64_t)wanted;
      if (!make(t, i, k, &shape, s)) return false;
      changed = true;
    }
    return changed;
  }
  return false;
}

static bool make_all(Trial *t, uint64_t *s) {
  for (int64_t i = 0; i <= t->n_items; i++)
    for (int64_t k = 0; k < t->desc->n_operands; k++) {
      const optc_operand_desc *o = &t->desc->operands[k];
      if (!here(t, i, k) || (o->role == ROLE_STATE && !o->item_shape)) continue;
      TrialShape shape = o->item_shape ? t->plan.item[i] : o->shape ? shape_read(o->shape, size_named, t) : (TrialShape){0};
      if (!make(t, i, k, &shape, s)) return false;
    }
  return true;
}

/* States with a shape of their own, as the layout tells. */
static int make_states(Trial *t, const DrillRule *rule, optc_error *error, uint64_t *s) {
  const optc_rule_desc *desc = t->desc;
  optc_state_info states[OPTC_MAX_OPERANDS];
  bool any = false;
  for (int64_t k = 0; k < desc->n_operands; k++) any |= desc->operands[k].role == ROLE_STATE && is_tensor(t, k) && !desc->operands[k].item_shape;
  for (int64_t i = 0; i < t->n_items && any; i++) {
    bind(t, t->plan.item, t->n_items);
    optc_call call = call_of(t, error);
    int code = rule->layout(rule->self, &call, i, states);
    if (code) return code;
    for (int64_t k = 0, at = 0; k < desc->n_operands; k++) {
      if (desc->operands[k].role != ROLE_STATE) continue;
      const optc_state_info *x = &states[at++];
      if (!x->exists || !is_tensor(t, k) || desc->operands[k].item_shape) continue;
      TrialShape shape = {.rank = x->rank};
      memcpy(shape.axis, x->shape, sizeof shape.axis);
      if (!make(t, i, k, &shape, s)) return OPTC_E_MEMORY;
    }
  }
  return 0;
}

static void forget(Trial *t) { for (int64_t c = 0; c < (TRIAL_ITEMS + 1)*t->desc->n_operands; c++) drop(&t->cell[c]); }

static bool attempt(Trial *t, const DrillRule *rule, const TrialShape *wanted) {
  uint64_t s = t->plan.seed*1000003 + (uint64_t)t->attempt*31 + 17;
  int tried[TRIAL_ITEMS] = {0};
  optc_error error = {0};
  memcpy(t->plan.item, wanted, sizeof t->plan.item);
  choose_hypers(t, &s);
  forget(t);
  memcpy(t->items, t->first_items, (size_t)(t->n_items*t->desc->item_size));
  memcpy(t->global, t->first_global, (size_t)t->desc->global_size);
  if (!make_all(t, &s)) return false;
  for (int r = 0; r < REPAIRS; r++) {
    error = (optc_error){.item = -1};
    int code = make_states(t, rule, &error, &s);
    if (!code) code = run_entries(t, rule, &(DrillWay){.fence = t->plan.fence}, &error);
    if (!code) return true;
    if (repair(t, &error, &s)) continue;
    if (error.item < 0 || error.item >= t->n_items || tried[error.item] >= N_FALLBACK || t->plan.exact) break;
    t->plan.item[error.item] = fallback[(tried[error.item]++ + t->attempt)%N_FALLBACK];
    forget(t);
    if (!make_all(t, &s)) return false;
  }
  snprintf(t->text, sizeof t->text, "%s (%g, %g)", error.text ? error.text : "?", error.value[0], error.value[1]);
  return false;
}

Trial *trial_new(const DrillRule *rule, const TrialPlan *plan) {
  static const TrialShape usual[TRIAL_ITEMS] = {{2, {5, 7}}, {1, {33}}, {0}, {3, {2, 3, 4}}};
  const optc_rule_desc *desc = rule->desc;
  int64_t n = desc->n_operands;
  Trial *t = calloc(1, sizeof *t);
  if (!t) return NULL;
  t->desc = desc;
  t->plan = *plan;
  bool like_item = false, param = false;
  for (int64_t k = 0; k < n; k++) { like_item |= desc->operands[k].item_shape != 0; param |= desc->operands[k].role == ROLE_PARAM; }
  t->n_items = !like_item ? (param ? 2 : 1) : plan->n_items ? plan->n_items : TRIAL_ITEMS;
  t->cell = calloc((size_t)((TRIAL_ITEMS + 1)*n + 1), sizeof *t->cell);
  t->hyper = calloc(1, (size_t)desc->hyper_size + 8);
  t->items = calloc(TRIAL_ITEMS, (size_t)desc->item_size + 8);
  t->first_items = calloc(TRIAL_ITEMS, (size_t)desc->item_size + 8);
  t->global = calloc(1, (size_t)desc->global_size + 16);
  t->first_global = calloc(1, (size_t)desc->global_size + 16);
  t->n_numbers = (size_t)((TRIAL_ITEMS + 1)*n + 1) + MAX_CALLS;
  t->numbers = calloc(t->n_numbers, 8);
  t->kept_numbers = calloc(t->n_numbers, 8);
  if (!t->cell || !t->hyper || !t->items || !t->first_items || !t->global || !t->first_global || !t->numbers || !t->kept_numbers) { trial_free(t); return NULL; }
  uint64_t s = plan->seed + 5;
  for (int64_t k = 0; k < n; k++) {
    const optc_operand_desc *o = &desc->operands[k];
    for (int64_t i = 0; i < TRIAL_ITEMS && !is_tensor(t, k); i++) {
      uint64_t value = o->has_default ? o->value : value_number(o->type, &s);
      memcpy(o->scope == SCOPE_GLOBAL ? t->first_global + o->offset : t->first_items + i*desc->item_size + o->offset, &value, 8);
    }
  }
  TrialShape wanted[TRIAL_ITEMS];
  memcpy(wanted, plan->n_items ? plan->item : usual, sizeof wanted);
  if (!like_item) memset(wanted, 0, sizeof wanted);
  for (; t->attempt < ATTEMPTS; t->attempt++) if (attempt(t, rule, wanted)) { collect(t); return t; }
  if (getenv("OPTC_TEST_RULE")) printf("%s: %s\n", desc->name, t->text);
  trial_free(t);
  return NULL;
}

void trial_free(Trial *t) {
  if (!t) return;
  if (t->cell) forget(t);
  void *all[] = {t->cell, t->hyper, t->items, t->first_items, t->global, t->first_global, t->numbers, t->kept_numbers, t};
  for (size_t k = 0; k < sizeof all/sizeof *all; k++) free(all[k]);
}

/* --- running and comparing --------------------------------------------------------------------------------------------------------------------- */
void trial_run(Trial *t, const DrillRule *rule, const DrillWay *way) {
  optc_error error = {0};
  if (run_entries(t, rule, way, &error)) t->trouble = "a call was refused";
  collect(t);
}

void trial_keep(Trial *t) {
  memcpy(t->kept_numbers, t->numbers, t->n_numbers*8);
  for (int64_t c = 0; c < (t->n_items + 1)*t->desc->n_operands; c++) if (t->cell[c].first) memcpy(t->cell[c].kept, t->cell[c].work, t->cell[c].bytes + 2*GUARD);
}

static bool same(uint64_t a, uint64_t b, int64_t type) { return a == b || (value_is_nan(a, type) && value_is_nan(b, type)); }

const char *trial_difference(Trial *t) {
  const optc_rule_desc *desc = t->desc;
  int64_t n = desc->n_operands;
  if (t->trouble) return t->trouble;
  for (int64_t i = 0; i <= t->n_items; i++)
    for (int64_t k = 0; k < n; k++) {
      const optc_operand_desc *o = &desc->operands[k];
      if (!here(t, i, k)) continue;
      const Cell *c = cell_of(t, i, k);
      if (!c->first || !memcmp(c->work, c->kept, c->bytes + 2*GUARD)) continue;
      for (int64_t e = 0; e < c->count; e++) {
        uint64_t x = value_load(c->kept + GUARD + e*o->bytes, o->bytes), y = value_load(c->work + GUARD + e*o->bytes, o->bytes);
        if (same(x, y, o->type)) continue;
        snprintf(t->text, sizeof t->text, "tensor %s of item %d, element %lld of %lld: %0*llx, expected %0*llx", o->name, (int)i, (long long)e, (long long)c->count,
                 (int)o->bytes*2, (unsigned long long)y, (int)o->bytes*2, (unsigned long long)x);
        return t->text;
      }
      if (memcmp(c->work, c->kept, GUARD) || memcmp(c->work + GUARD + c->bytes, c->kept + GUARD + c->bytes, GUARD)) {
        snprintf(t->text, sizeof t->text, "written outside tensor %s of item %d", o->name, (int)i);
        return t->text;
      }
    }
  for (size_t k = 0; k < t->n_numbers; k++) {
    const optc_operand_desc *o = k > MAX_CALLS ? &desc->operands[(k - MAX_CALLS - 1)%(size_t)n] : NULL;
    if (same(t->kept_numbers[k], t->numbers[k], o && o->type >= TYPE_BF16 ? TYPE_F64 : TYPE_I64)) continue;
    snprintf(t->text, sizeof t->text, "%s: %016llx, expected %016llx", o ? o->name : k < MAX_CALLS ? "a call's code" : "t", (unsigned long long)t->numbers[k],
             (unsigned long long)t->kept_numbers[k]);
    return t->text;
  }
  return NULL;
}

const char *trial_not_finite(Trial *t) {
  for (int64_t i = 0; i < t->n_items; i++)
    for (int64_t k = 0; k < t->desc->n_operands; k++) {
      const optc_operand_desc *o = &t->desc->operands[k];
      const Cell *c = cell_of(t, i, k);
      if (o->role != ROLE_PARAM || o->type != TYPE_F32 || !c->first) continue;
      for (int64_t e = 0; e < c->count; e++) if ((value_load(c->work + GUARD + e*o->bytes, o->bytes) & 0x7f800000) == 0x7f800000) return o->name;
    }
  return NULL;
}

const char *trial_shapes(Trial *t) {
  size_t at = 0;
  *t->shapes = 0;
  for (int64_t k = 0; k < t->desc->n_hypers && at < sizeof t->shapes - 200; k++) {
    const optc_hyper_desc *h = &t->desc->hypers[k];
    double x;
    int64_t v;
    memcpy(&x, t->hyper + 8*k, 8);
    memcpy(&v, t->hyper + 8*k, 8);
    at += (size_t)snprintf(t->shapes + at, 64, " %s=%g", h->name, h->type == TYPE_F64 ? x : (double)v);
  }
  for (int64_t i = 0; i <= t->n_items; i++)
    for (int64_t k = 0; k < t->desc->n_operands && at < sizeof t->shapes - 200; k++) {
      const Cell *c = cell_of(t, i, k);
      if (!here(t, i, k) || !c->first || t->desc->operands[k].role == ROLE_OUT) continue;
      at += (size_t)snprintf(t->shapes + at, 64, " %.20s[", t->desc->operands[k].name);
      for (int64_t a = 0; a < c->shape.rank; a++) at += (size_t)snprintf(t->shapes + at, 24, a ? ",%lld" : "%lld", (long long)c->shape.axis[a]);
      at += (size_t)snprintf(t->shapes + at, 4, "]");
    }
  return t->shapes;
}

/* --- to another machine and back -------------------------------------------------------------------------------------------------------------------- */
void trial_write(Trial *t, FILE *file) {
  uint64_t trouble = t->trouble != NULL;
  fwrite(&trouble, 8, 1, file);
  fwrite(t->numbers, 8, t->n_numbers, file);
  for (int64_t c = 0; c < (t->n_items + 1)*t->desc->n_operands; c++) {
    const optc_operand_desc *o = &t->desc->operands[c%t->desc->n_operands];
    Cell *x = &t->cell[c];
    for (int64_t e = 0; e < x->count; e++) {
      char *at = x->work + GUARD + e*o->bytes;
      if (value_is_nan(value_load(at, o->bytes), o->type)) memset(at, 0xff, (size_t)o->bytes);
    }
    if (x->first) fwrite(x->work, 1, x->bytes + 2*GUARD, file);
  }
}

bool trial_read(Trial *t, FILE *file) {
  uint64_t trouble;
  bool good = fread(&trouble, 8, 1, file) == 1 && fread(t->numbers, 8, t->n_numbers, file) == t->n_numbers;
  for (int64_t c = 0; c < (t->n_items + 1)*t->desc->n_operands && good; c++) {
    Cell *x = &t->cell[c];
    good = !x->first || fread(x->work, 1, x->bytes + 2*GUARD, file) == x->bytes + 2*GUARD;
  }
  t->trouble = good && trouble ? "a promise was broken on the other machine" : NULL;
  return good;
}
