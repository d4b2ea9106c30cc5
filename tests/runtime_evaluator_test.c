/* runtime_evaluator_test.c: the graph interpreter gives the evaluator's bits: every rule that compiles, on made-up data, several steps, all entries. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/evaluator/golden.h"
#include "tests/evaluator/made_up.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

#define STEPS 4

/* --- numbers in memory ---------------------------------------------------------------------------------------------------------------------- */

static DLDataType dl_type(const char *name) {
  static const struct { const char *name; DLDataType type; } types[] = {
    {"f32", {kDLFloat, 32, 1}}, {"f64", {kDLFloat, 64, 1}}, {"bf16", {kDLBfloat, 16, 1}}, {"f16", {kDLFloat, 16, 1}}, {"i32", {kDLInt, 32, 1}},
    {"i8", {kDLInt, 8, 1}}, {"u8", {kDLUInt, 8, 1}}, {"bool", {kDLBool, 8, 1}}, {"i64", {kDLInt, 64, 1}},
  };
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(name, types[i].name)) return types[i].type;
  return (DLDataType){0, 0, 0};
}

static uint64_t seed;

/* --- one rule -------------------------------------------------------------------------------------------------------------------------------- */

typedef struct Pair {                    /* the same call on both sides */
  Arena *arena;
  optc_rule *rule;
  const Rule *ast;
  EvalCall call;
  EvalSet global;
  optc_operand_info *operands; int n;
  optc_item_args *items;
  DLTensor **bound, *tensors;
  double *scalars, *globals;
  int64_t t;
  const char *name;
  bool first_try;
} Pair;

static DLTensor *tensor_of(Pair *p, unsigned item, int k) { return &p->tensors[item * (unsigned)p->n + (unsigned)k]; }

static void make(Pair *p, unsigned item, int k, unsigned rank, const int64_t *shape) {
  DLTensor *x = tensor_of(p, item, k);
  int64_t count = 1;
  x->device.device_type = kDLCPU;
  x->dtype = dl_type(p->operands[k].type);
  x->ndim = (int32_t)rank;
  x->shape = arena_array(p->arena, rank + 1, 8);
  for (unsigned i = 0; i < rank; i++) count *= x->shape[i] = shape[i];
  x->data = arena_array(p->arena, (size_t)count + 1, 8);
  p->bound[item * (unsigned)p->n + (unsigned)k] = x;
}

static void fill(Pair *p, unsigned item, int k) {
  DLTensor *x = tensor_of(p, item, k);
  int64_t count = 1, shape[EVAL_MAX_RANK] = {0};
  for (int i = 0; i < x->ndim; i++) count *= shape[i] = x->shape[i];
  EvalArray *a = evaluator_set(p->arena, &p->call.items[item], p->operands[k].name, (unsigned)x->ndim, shape, NULL);
  for (int64_t i = 0; i < count; i++) memory_store(p->operands[k].type, x->data, i, a->data[i] = made_up_number(p->operands[k].type, &seed));
}

static bool differs(Pair *p, const char *entry, const char *name, unsigned item, int64_t at, double got, double want) {
  printf("\n%s, %s: item %u %s[%ld]: the interpreter has %.17g, the evaluator %.17g\n", p->name, entry, item, name, (long)at, got, want);
  CU_FAIL("different bits");
  return false;
}

static bool compare(Pair *p, const char *entry) {
  for (int k = 0; k < p->n; k++) {
    const optc_operand_info *o = &p->operands[k];
    if (o->role == 1 || o->role == 2) continue;
    double slack = !strcmp(o->type, "f64") ? 0x1p-50 : 0;      /* functions of f64: the C library's in the evaluator */
    if (o->scope == 2) {
      const EvalArray *a = evaluator_find(&p->global, o->name);
      if (a && a->rank == 0 && !memory_same(p->globals[k], a->data[0], slack)) return differs(p, entry, o->name, 0, 0, p->globals[k], a->data[0]);
      continue;
    }
    for (unsigned i = 0; i < p->call.n_items; i++) {
      const EvalArray *a = evaluator_find(&p->call.items[i], o->name);
      const DLTensor *x = p->bound[i * (unsigned)p->n + (unsigned)k];
      if (!a) continue;
      if (o->scope == 1) {
        double got = p->items[i].scalar[k];
        if (!memory_same(got, a->data[0], slack)) return differs(p, entry, o->name, i, 0, got, a->data[0]);
      }
      for (int64_t e = 0; o->scope == 0 && x && e < a->count; e++)
        if (!memory_same(memory_load(o->type, x->data, e), a->data[e], slack)) return differs(p, entry, o->name, i, e, memory_load(o->type, x->data, e), a->data[e]);
    }
  }
  return true;
}

typedef enum Outcome { AGREES, DIFFERS, REFUSED, LEFT_OUT } Outcome;

static Outcome call_entry(Pair *p, const char *entry) {
  int which = optc_rule_entry(p->rule, entry);
  optc_error error = {0};
  if (which < 0) return LEFT_OUT;
  for (int k = 0; k < p->n; k++) {                         /* fresh inputs */
    const optc_operand_info *o = &p->operands[k];
    if ((o->role != 1 && o->role != 2) || (o->entry && strcmp(o->entry, entry))) continue;
    if (o->scope == 2) evaluator_set_number(p->arena, &p->global, o->name, p->globals[k] = made_up_number(o->type, &seed));
    for (unsigned i = 0; i < p->call.n_items; i++) {
      if (o->scope == 0 && p->bound[i * (unsigned)p->n + (unsigned)k]) fill(p, i, k);
    }
  }
  bool init = !strcmp(entry, "init"), main_body = !strcmp(entry, "step") || !strcmp(entry, "forward");
  p->call.entry = main_body || init ? NULL : entry;
  p->call.t = init ? 0 : main_body ? p->t + 1 : p->t;
  bool good = init ? evaluator_init(&p->call) : evaluator_run(&p->call);
  for (int k = 0; k < p->n; k++)
    for (unsigned i = 0; i < p->call.n_items && p->operands[k].role == 3 && p->operands[k].scope == 0; i++) {
      const EvalArray *a = evaluator_find(&p->call.items[i], p->operands[k].name);
      if (a && !p->bound[i * (unsigned)p->n + (unsigned)k]) make(p, i, k, a->rank, a->shape);
    }
  optc_call_args args = {.size = sizeof args, .items = p->items, .n_items = p->call.n_items, .global_scalar = p->globals, .t = &p->t, .seed = 42, .error = &error};
  double *group = NULL;
  const double *groups[1];
  int n_hypers = optc_rule_hypers(p->rule);
  group = arena_array(p->arena, (size_t)n_hypers + 1, sizeof *group);
  for (int h = 0; h < n_hypers; h++) {
    optc_hyper_info info;
    optc_rule_hyper(p->rule, h, &info);
    group[h] = info.value;
    for (unsigned k = 0; k < p->call.n_hyper; k++) if (!strcmp(p->call.hyper[k].name, info.name)) group[h] = p->call.hyper[k].value;
  }
  groups[0] = group;
  args.groups = groups;
  args.n_groups = 1;
  if (!good && strstr(p->call.message, "requirement")) return LEFT_OUT;
  if (!good && p->first_try) return LEFT_OUT;
  if (!good) { printf("\n%s, %s: %s\n", p->name, entry, p->call.message); CU_FAIL("the evaluator refuses"); return DIFFERS; }
  int code = optc_rule_call(p->rule, which, &args);
  if (code && p->first_try) return LEFT_OUT;               /* sizes that do not fit */
  if (code == OPTC_E_SHAPE) { printf("\n%s, %s: %s\n", p->name, entry, error.text ? error.text : ""); return LEFT_OUT; }
  if (code) { printf("\n%s, %s: the call fails: %d %s (%g, %g)\n", p->name, entry, code, error.text ? error.text : "", error.value[0], error.value[1]); CU_FAIL("the call fails"); return DIFFERS; }
  return compare(p, entry) ? AGREES : DIFFERS;
}

static bool has_ellipsis(const Shape *s) {
  for (unsigned k = 0; k < s->n; k++)
    if (s->at[k].ellipsis || s->at[k].flat) return true;
  return false;
}

static Outcome one_rule(const char *path, const char *rule, const FileSet *files, int64_t base) {
  Arena *arena = arena_new(NULL, 0);
  optc_context *context = fixture_context();
  Pair pair = {.arena = arena, .name = rule, .first_try = !base}, *p = &pair;
  optc_compile_options options = {.size = sizeof options, .level = 0, .rule = rule, .backend = OPTC_BACKEND_GRAPH};
  Outcome outcome = REFUSED;
  seed = 1;
  if (optc_compile_file(context, path, &options, &p->rule)) goto done;
  outcome = AGREES;
  p->ast = evaluator_rule(files, rule);
  p->n = optc_rule_operands(p->rule);
  p->operands = arena_array(arena, (size_t)p->n + 1, sizeof *p->operands);
  bool has_param = false;
  for (int k = 0; k < p->n; k++) {
    optc_rule_operand(p->rule, k, &p->operands[k]);
    has_param |= p->operands[k].role == 0;
    if (p->operands[k].scope == 0 && !dl_type(p->operands[k].type).bits) { outcome = LEFT_OUT; goto done; }
  }
  bool matrices = false;                                   /* states of a shape of their own may be as large as the square of an axis, or more */
  for (int k = 0; k < p->n; k++) {
    const Decl *d = p->operands[k].role == 5 ? made_up_decl(&p->ast->body, p->operands[k].name) : NULL;
    matrices |= d && d->shape && d->shape->n > 1;
  }
  struct { unsigned rank; int64_t shape[3]; } shapes[] = {{2, {5, 7}}, {1, {matrices ? 20 : 1100}}, {0, {0}}, {3, {2, 3, 4}}};
  unsigned n_items = has_param ? 4 : 1;
  p->call = (EvalCall){.arena = arena, .files = files, .rule = rule, .n_items = n_items, .items = arena_array(arena, n_items, sizeof(EvalSet)), .global = &p->global, .seed = 42};
  p->call.hyper = arena_array(arena, p->ast->hypers.n + 1, sizeof(EvalNumber));
  for (unsigned i = 0; i < p->ast->hypers.n; i++) {
    const HyperDecl *h = &p->ast->hypers.at[i];
    if (!h->value) p->call.hyper[p->call.n_hyper++] = (EvalNumber){h->name.text, made_up_hyper(h, base)};
  }
  p->items = arena_array(arena, n_items, sizeof *p->items);
  p->tensors = arena_array(arena, n_items * (size_t)p->n + 1, sizeof *p->tensors);
  p->bound = arena_array(arena, n_items * (size_t)p->n + 1, sizeof *p->bound);
  p->scalars = arena_array(arena, n_items * (size_t)p->n + 1, sizeof *p->scalars);
  p->globals = arena_array(arena, (size_t)p->n + 1, sizeof *p->globals);
  for (unsigned i = 0; i < n_items; i++) {
    p->items[i] = (optc_item_args){.tensor = &p->bound[i * (unsigned)p->n], .scalar = &p->scalars[i * (unsigned)p->n]};
    for (int k = 0; k < p->n; k++) {
      const optc_operand_info *o = &p->operands[k];
      const Decl *d = made_up_decl(&p->ast->body, o->name);
      unsigned rank = shapes[i].rank;
      int64_t shape[EVAL_MAX_RANK] = {0};
      if (o->scope == 2 && d && d->shape && d->shape->n) { outcome = LEFT_OUT; goto done; }       /* a tensor of the call */
      if (o->scope == 1 && o->role == 2) evaluator_set_number(p->arena, &p->call.items[i], o->name, p->items[i].scalar[k] = made_up_number(o->type, &seed));     /* states may depend on it */
      if (o->scope || o->role == 3 || o->role == 5) continue;
      if (o->optional && i % 2) continue;
      const Decl *param = made_up_decl(&p->ast->body, p->operands[0].name);
      unsigned like = i < 3 && has_param && param && param->shape ? 0 : i;      /* [R, flat C] needs an axis */
      rank = shapes[like].rank;
      memcpy(shape, shapes[like].shape, sizeof shapes[like].shape);
      if ((!d || !d->shape) && param && param->shape && !has_ellipsis(param->shape)) made_up_shape(param, &(MadeUp){.base = base}, &rank, shape);
      if (d && d->shape && (o->role != 0 || !has_ellipsis(d->shape))) made_up_shape(d, &(MadeUp){.base = base}, &rank, shape);
      make(p, i, k, rank, shape);
      fill(p, i, k);
    }
  }
  optc_call_args args = {.size = sizeof args, .items = p->items, .n_items = n_items, .global_scalar = p->globals, .t = &p->t, .seed = 42};
  int n_states = 0;
  for (int k = 0; k < p->n; k++) n_states += p->operands[k].role == 5;
  optc_state_info *states = arena_array(arena, (size_t)n_states + 1, sizeof *states);
  for (unsigned i = 0; i < n_items && n_states; i++) {
    int s = 0;
    if (optc_rule_layout(p->rule, &args, i, states)) { outcome = LEFT_OUT; goto done; }
    for (int k = 0; k < p->n; k++) {
      if (p->operands[k].role != 5) continue;
      if (states[s].exists && p->operands[k].scope == 0) make(p, i, k, (unsigned)states[s].rank, states[s].shape);
      s++;
    }
  }
  if (n_states) outcome = call_entry(p, "init");
  for (int step = 0; step < STEPS && outcome == AGREES; step++)
    for (int e = 0; e < optc_rule_entries(p->rule) && outcome == AGREES; e++) {
      const char *entry = optc_rule_entry_name(p->rule, e);
      if (strcmp(entry, "init") && strcmp(entry, "backward")) outcome = call_entry(p, entry);
    }
done:
  optc_rule_free(p->rule);
  optc_context_free(context);
  arena_free(arena);
  return outcome;
}

static unsigned compared, refused, left_out;

static void folder(const char *rules) {
  const char *paths[512];
  Arena *list = arena_new(NULL, 0);
  unsigned n = fixture_rules(list, rules, paths, 512);
  CU_ASSERT(n > 0);
  for (unsigned i = 0; i < n; i++) {
    Arena *arena = arena_new(NULL, 0);
    const char *path = paths[i];
    const FileSet *files = fixture_files(arena, path);
    for (unsigned k = 0; files && k < files->files[0]->n_rules; k++) {
      const char *rule = files->files[0]->rules[k]->name.text;
      Outcome o = one_rule(path, rule, files, 0);
      if (o == LEFT_OUT) o = one_rule(path, rule, files, 4);
      compared += o == AGREES;
      refused += o == REFUSED;
      left_out += o == LEFT_OUT;
      if (o == LEFT_OUT) printf("\n%s: no made-up data fits it\n", rule);
    }
    arena_free(arena);
  }
  arena_free(list);
}

static void test_the_graph_interpreter_has_the_evaluators_bits(void) {
  compared = refused = left_out = 0;
  folder("rules");
  folder("tests/data/evaluator");
  printf("\n%u rules agree, %u do not compile, for %u no data\n", compared, refused, left_out);
  CU_ASSERT(compared >= 213);
  CU_ASSERT_EQUAL(refused, 0);
}

int main(void) {
  static const SuiteTest tests[] = {{"the graph interpreter has the evaluator's bits", test_the_graph_interpreter_has_the_evaluators_bits}};
  return suite_run("evaluator", tests);
}
