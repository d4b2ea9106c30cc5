/* passes_evaluator_test.c: lowered rules without a param, interpreted as graphs, have the evaluator's bits, and in f64 its gradients. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ir/graph_analysis.h"
#include "ir/interpret.h"
#include "passes/pass.h"
#include "tests/evaluator/golden.h"
#include "tests/evaluator/made_up.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

typedef enum Outcome { AGREES, DIFFERS, REFUSED, LEFT_OUT } Outcome;
typedef struct Forward {
  Arena *arena;
  const char *name;
  Module *module;
  EvalCall call;
  EvalSet set, global;
  void **data; char *hyper, *globals, *item;
  const int64_t **shapes; int64_t *ranks;
} Forward;

static const char *type_of(const Operand *o) { return type_name(o->storage); }

static void give(Forward *w, unsigned k, const EvalArray *a) {
  const char *type = type_of(&w->module->operands[k]);
  w->data[k] = arena_array(w->arena, (size_t)a->count + 1, 8);
  for (int64_t i = 0; i < a->count; i++) memory_store(type, w->data[k], i, a->data[i]);
  int64_t *shape = arena_array(w->arena, EVAL_MAX_RANK, 8);
  memcpy(shape, a->shape, sizeof a->shape);
  w->shapes[k] = shape;
  w->ranks[k] = a->rank;
}

static bool run_graph(Forward *w, const Graph *g) {
  double totals[64] = {0}, slots[64] = {0};
  optc_frame f = {.hyper = w->hyper, .global = w->globals, .item = w->item, .data = w->data, .t = w->call.t, .seed = w->call.seed, .count = 1, .total = 1, .end = 1,
    .shapes = w->shapes, .ranks = w->ranks, .n_items = 1, .rank = 0, .shape = (int64_t[]){1}, .exists = arena_alloc(w->arena, w->module->n_operands + 1),
    .totals = (void *)totals, .slots = (void *)slots};
  graph_interpret(g, LAUNCH_CHECK, &f, w->arena);
  unsigned stages;
  graph_stages(g, w->arena, &stages);
  for (unsigned s = 0; s < stages && !f.failed; s++) {                    /* what runs over all items of the call */
    graph_interpret_stage(g, LAUNCH_ITEM, s, &f, w->arena);
    graph_interpret_stage(g, LAUNCH_TOTAL, s, &f, w->arena);
  }
  if (f.failed) return false;
  graph_interpret(g, LAUNCH_ITEM, &f, w->arena);
  graph_interpret(g, LAUNCH_FINISH, &f, w->arena);
  return !f.failed;
}

/* Inputs, then all outputs of the evaluator's run as zeros for the graph. */
static Outcome forward(const FileSet *files, const char *rule, const MadeUp *sizes, bool f64, bool backward) {
  Arena *arena = arena_new(NULL, 0);
  Diag *diag = diag_new(arena, 3);
  Forward world = {.arena = arena, .name = rule}, *w = &world;
  Outcome outcome = REFUSED;
  uint64_t seed = 5;
  const Rule *ast = evaluator_rule(files, rule);
  Module *m = w->module = frontend_lower(arena, diag, files, &(FrontendOptions){.rule = rule, .compute_f64 = f64, .read = fixture_read});
  if (m && !gradient_build(m, diag)) { arena_free(arena); return REFUSED; }
  const Graph *g = m ? module_graph(m, backward ? "backward" : "forward") : NULL;
  if (!g) { arena_free(arena); return m && backward ? LEFT_OUT : REFUSED; }
  expand_shapes(m);
  g = expand_graph(g);
  outcome = LEFT_OUT;
  w->data = arena_array(arena, m->n_operands + 1, sizeof *w->data);
  w->shapes = arena_array(arena, m->n_operands + 1, sizeof *w->shapes);
  w->ranks = arena_array(arena, m->n_operands + 1, sizeof *w->ranks);
  const Layout *layout = layout_of(m);
  w->hyper = arena_alloc(arena, layout->hyper_size + 8);
  w->globals = arena_alloc(arena, layout->global_size + 64);
  w->item = arena_alloc(arena, layout->item_size + 64);
  w->call = (EvalCall){.arena = arena, .files = files, .rule = rule, .items = &w->set, .n_items = 1, .global = &w->global, .seed = 42, .f64 = f64};
  w->call.hyper = arena_array(arena, m->n_hypers + 1, sizeof(EvalNumber));
  for (unsigned i = 0; i < m->n_hypers; i++) {
    const Hyper *h = &m->hypers[i];
    double v = type_kind(h->type) == KIND_FLOAT ? bits_to_f64(h->value, TYPE_F64) : (double)(int64_t)h->value;
    if (!h->has_default) v = made_up_hyper(&ast->hypers.at[i], sizes->base);
    int64_t whole = (int64_t)v;
    if (h->has_default || !ast->hypers.at[i].value) memcpy(w->hyper + 8 * i, h->type == TYPE_F64 ? (void *)&v : (void *)&whole, 8);
    if (!h->has_default && ast->hypers.at[i].value) { v = .25; memcpy(w->hyper + 8 * i, &v, 8); }      /* a default from sizes: the caller's number here */
    if (!h->has_default) w->call.hyper[w->call.n_hyper++] = (EvalNumber){h->name, v};
  }
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    const Decl *d = made_up_decl(&ast->body, o->name);
    const char *type = type_of(o);
    int64_t shape[EVAL_MAX_RANK] = {0};
    unsigned rank = 0;
    if (!memory_bytes(type) || o->role == ROLE_PARAM || o->role == ROLE_STATE || o->role == ROLE_GRAD) { if (o->role <= ROLE_GRAD || o->role == ROLE_STATE) outcome = LEFT_OUT; goto done; }
    if (operand_is_tensor(o) && o->scope == SCOPE_GLOBAL) goto done;         /* they lie in the call's struct: runtime_evaluator_test has them */
    if (o->role == ROLE_OUT || !d) continue;
    if (d->shape) made_up_shape(d, sizes, &rank, shape);
    EvalSet *to = o->scope == SCOPE_GLOBAL && !(d->shape && !d->shape->n) ? &w->global : &w->set;
    EvalArray *a = evaluator_set(arena, to, o->name, rank, shape, NULL);
    for (int64_t i = 0; i < a->count; i++) a->data[i] = made_up_number(type, &seed);
    if (!strcmp(o->name, "cu") || (d->external && !strncmp(d->external, "cu_", 3))) for (int64_t i = 0; i < a->count; i++) a->data[i] = (double)(2 * i);
    if (operand_is_tensor(o)) { give(w, k, a); continue; }
    char *at = (o->scope == SCOPE_GLOBAL ? w->globals : w->item) + layout->operand[k];
    int64_t whole = (int64_t)a->data[0];
    memcpy(at, type_kind(o->storage) == KIND_FLOAT ? (void *)a->data : (void *)&whole, 8);
  }
  w->call.entry = NULL;
  if (!evaluator_run(&w->call)) {
    if (sizes->base && !sizes->long_name && !strstr(w->call.message, "requirement")) { printf("\n%s: %s\n", rule, w->call.message); CU_FAIL("the evaluator refuses"); outcome = DIFFERS; }
    goto done;
  }
  outcome = AGREES;
  if (backward) {                                          /* incoming gradients, and saved outputs as they came out */
    for (unsigned k = 0; k < m->n_operands; k++) {
      const Operand *o = &m->operands[k];
      EvalArray *out = *o->name == 'd' && o->role == ROLE_IN && o->entry ? evaluator_find(&w->set, o->name + 1) : NULL;
      if (out && !made_up_decl(&ast->body, o->name)) {
        EvalArray *a = evaluator_set(arena, &w->set, o->name, out->rank, out->shape, NULL);
        for (int64_t i = 0; i < a->count; i++) a->data[i] = made_up_number("f32", &seed);
        give(w, k, a);
      } else if (!w->data[k] && operand_is_tensor(o) && o->role == ROLE_IN && evaluator_find(&w->set, o->name)) give(w, k, evaluator_find(&w->set, o->name));
    }
    w->call.entry = "backward";
    if (!evaluator_run(&w->call)) { printf("\n%s, backward: %s\n", rule, w->call.message); CU_FAIL("the evaluator refuses"); outcome = DIFFERS; goto done; }
  }
  for (unsigned k = 0; k < m->n_operands; k++) {
    const EvalArray *a = evaluator_find(m->operands[k].scope == SCOPE_GLOBAL && !evaluator_find(&w->set, m->operands[k].name) ? &w->global : &w->set, m->operands[k].name);
    if ((m->operands[k].role != ROLE_OUT && !(m->operands[k].role == ROLE_INOUT && !w->data[k])) || !a || !operand_is_tensor(&m->operands[k])) continue;
    EvalArray zeros = *a;
    zeros.data = arena_array(arena, (size_t)a->count + 1, sizeof *zeros.data);
    give(w, k, &zeros);
  }
  if (!run_graph(w, g)) { outcome = LEFT_OUT; goto done; }                 /* it checks ranges that the evaluator lets pass */
  for (unsigned k = 0; k < m->n_operands && outcome == AGREES; k++) {
    const Operand *o = &m->operands[k];
    const EvalArray *a = evaluator_find(&w->set, o->name);
    if ((o->role != ROLE_OUT && o->role != ROLE_INOUT) || !a || !w->data[k] || !operand_is_tensor(o)) continue;
    if (backward != (o->entry != NULL && !strcmp(o->entry, "backward"))) continue;
    double largest = 0;
    for (int64_t i = 0; i < a->count; i++) if (isfinite(a->data[i]) && fabs(a->data[i]) > largest) largest = fabs(a->data[i]);
    for (int64_t i = 0; i < a->count && outcome == AGREES; i++) {
      double got = memory_load(type_of(o), w->data[k], i), want = f64 && !backward ? evaluator_round(type_of(o), a->data[i]) : a->data[i];
      if (memory_same(got, want, f64 ? 0x1p-22 : 0)) continue;
      if (f64 && fabs(got - want) <= 1e-6 * largest) continue;
      printf("\n%s%s%s: %s[%ld]: the interpreter has %.17g, the evaluator %.17g\n", rule, f64 ? ", f64" : "", backward ? ", backward" : "", o->name, (long)i, got, want);
      CU_FAIL("different bits");
      outcome = DIFFERS;
    }
  }
done:
  arena_free(arena);
  return outcome;
}

static unsigned counts[4], without_data;                    /* without_data: of LEFT_OUT, those that have what is asked for */

static bool has_backward(const Rule *rule) {
  for (unsigned i = 0; i < rule->body.n; i++)
    if (rule->body.at[i]->kind == STMT_BACKWARD || (rule->body.at[i]->kind == STMT_ENTRY && !strcmp(rule->body.at[i]->name.text, "backward"))) return true;
  return false;
}

/* One axis longer than the others, where that is what a rule requires: whole groups of channels, tiles of positions. */
static Outcome with_one_axis_longer(const FileSet *files, const Rule *rule, bool f64, bool backward) {
  static const int64_t lengths[] = {4, 32};
  const char *sizes[16];
  unsigned n = made_up_sizes(&rule->body, sizes, 16);
  Outcome o = LEFT_OUT;
  for (unsigned k = 0; k < 2*n && o == LEFT_OUT; k++) o = forward(files, rule->name.text, &(MadeUp){.base = 2, .long_name = sizes[k/2], .length = lengths[k%2]}, f64, backward);
  return o;
}

static void folder(const char *rules, bool f64, bool backward, int64_t length) {
  const char *paths[512];
  Arena *list = arena_new(NULL, 0);
  unsigned n = fixture_rules(list, rules, paths, 512);
  CU_ASSERT(n > 0);
  for (unsigned i = 0; i < n; i++) {
    Arena *arena = arena_new(NULL, 0);
    const FileSet *files = fixture_files(arena, paths[i]);
    for (unsigned k = 0; files && k < files->files[0]->n_rules; k++) {
      const Rule *rule = files->files[0]->rules[k];
      bool has_param = false;
      for (unsigned s = 0; s < rule->body.n; s++) has_param |= rule->body.at[s]->kind == STMT_DECL && (rule->body.at[s]->role == ROLE_PARAM || rule->body.at[s]->role == ROLE_STATE);
      if (has_param) continue;
      if (length && (!strcmp(rule->name.text, "simplicial") || !strcmp(rule->name.text, "vsa"))) continue;            /* cubic in an axis; a square of tiles */
      const char *name = rule->name.text, *sizes[16];
      unsigned n_sizes = length ? made_up_sizes(&rule->body, sizes, 16) : 1;
      Outcome o = LEFT_OUT;
      for (unsigned j = 0; j < n_sizes; j++) {             /* with `length`: each axis in turn is long */
        MadeUp m = {.base = length ? 2 : 0, .long_name = length ? sizes[j] : NULL, .length = length};
        Outcome now = forward(files, name, &m, f64, backward);
        if (now == LEFT_OUT && !length) now = forward(files, name, &(MadeUp){.base = 4}, f64, backward);
        if (now == DIFFERS || (o != DIFFERS && now != LEFT_OUT)) o = now;
      }
      bool wanted = !length && (!backward || has_backward(rule));
      if (o == LEFT_OUT && wanted) o = with_one_axis_longer(files, rule, f64, backward);
      counts[o]++;
      without_data += o == LEFT_OUT && wanted;
      if (o == LEFT_OUT && wanted) printf("\n%s: no made-up data fits it\n", rule->name.text);
      if (o == REFUSED && !backward && !length) printf("\n%s: does not compile\n", rule->name.text);
    }
    arena_free(arena);
  }
  arena_free(list);
}

static void all(bool f64, bool backward, int64_t length) {
  memset(counts, 0, sizeof counts);
  without_data = 0;
  if (!length) folder("rules", f64, backward, length);
  folder("tests/data/evaluator", f64, backward, length);
  printf("\n%u rules agree, %u differ, %u do not compile, for %u no data\n", counts[AGREES], counts[DIFFERS], counts[REFUSED], counts[LEFT_OUT]);
}

static void expect(unsigned at_least) {
  CU_ASSERT(counts[AGREES] >= at_least);
  CU_ASSERT_EQUAL(counts[DIFFERS] + counts[REFUSED], 0);
}

static void test_graphs_have_the_evaluators_bits(void) { all(false, false, 0); expect(115); }
static void test_graphs_in_f64_have_the_evaluators_numbers(void) { all(true, false, 0); expect(115); }
static void test_long_axes_cross_blocks_with_the_same_bits(void) { all(false, false, 530); expect(16); }
static void test_gradients_are_those_of_the_tape(void) { all(true, true, 0); expect(86); CU_ASSERT_EQUAL(without_data, 0); }

int main(void) {
  static const SuiteTest tests[] = {
    {"graphs have the evaluator's bits", test_graphs_have_the_evaluators_bits},
    {"graphs in f64 have the evaluator's numbers", test_graphs_in_f64_have_the_evaluators_numbers},
    {"long axes cross blocks with the same bits", test_long_axes_cross_blocks_with_the_same_bits},
    {"gradients are those of the tape", test_gradients_are_those_of_the_tape},
  };
  return suite_run("evaluator", tests);
}
