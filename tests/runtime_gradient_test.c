/* runtime_gradient_test.c: entry `backward` of every rule gives the same bits on all backends, and checks the shapes that it is given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/evaluator/golden.h"
#include "tests/evaluator/made_up.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

typedef struct Tensors { DLTensor *at, **given; size_t *bytes; int n; } Tensors;
typedef enum Outcome { SAME, OTHER, NO_DATA } Outcome;

static DLDataType dl_type(const char *name) {
  static const struct { const char *name; DLDataType type; } types[] = {
    {"f32", {kDLFloat, 32, 1}}, {"f64", {kDLFloat, 64, 1}}, {"bf16", {kDLBfloat, 16, 1}}, {"f16", {kDLFloat, 16, 1}}, {"i32", {kDLInt, 32, 1}},
    {"i8", {kDLInt, 8, 1}}, {"u8", {kDLUInt, 8, 1}}, {"bool", {kDLBool, 8, 1}}, {"i64", {kDLInt, 64, 1}},
  };
  for (size_t i = 0; i < sizeof types/sizeof *types; i++) if (!strcmp(name, types[i].name)) return types[i].type;
  return (DLDataType){0, 0, 0};
}

/* Gradients have the declarations of what they belong to. */
static bool make(Arena *arena, const optc_rule *rule, const Rule *ast, const MadeUp *sizes, Tensors *t) {
  uint64_t seed = 11;
  t->n = optc_rule_operands(rule);
  t->at = arena_array(arena, (size_t)t->n + 1, sizeof *t->at);
  t->given = arena_array(arena, (size_t)t->n + 1, sizeof *t->given);
  t->bytes = arena_array(arena, (size_t)t->n + 1, sizeof *t->bytes);
  for (int k = 0; k < t->n; k++) {
    optc_operand_info o;
    optc_rule_operand(rule, k, &o);
    const Decl *d = made_up_decl(&ast->body, o.name);
    if (!d && o.entry && *o.name == 'd') d = made_up_decl(&ast->body, o.name + 1);
    if (!o.tensor || o.scope || !dl_type(o.type).bits) return false;
    int64_t shape[EVAL_MAX_RANK] = {0}, count = 1;
    unsigned rank = 0;
    if (d && d->shape) made_up_shape(d, sizes, &rank, shape);
    DLTensor *x = t->given[k] = &t->at[k];
    *x = (DLTensor){.device = {kDLCPU, 0}, .ndim = (int32_t)rank, .dtype = dl_type(o.type), .shape = arena_array(arena, rank + 1, 8)};
    for (unsigned i = 0; i < rank; i++) count *= x->shape[i] = shape[i];
    x->data = arena_array(arena, (size_t)count + 1, 8);
    t->bytes[k] = (size_t)count*(size_t)o.bytes;
    if (o.role == OPTC_ROLE_IN) for (int64_t i = 0; i < count; i++) memory_store(o.type, x->data, i, made_up_number(o.type, &seed));
  }
  return true;
}

static int call(optc_rule *rule, const Rule *ast, const char *entry, const Tensors *t, int64_t base, optc_error *error) {
  double hyper[64] = {0};
  const double *groups[1] = {hyper};
  for (int h = 0; h < optc_rule_hypers(rule) && h < 64; h++) {
    optc_hyper_info info;
    optc_rule_hyper(rule, h, &info);
    hyper[h] = info.has_default ? info.value : made_up_hyper(&ast->hypers.at[h], base);
    if (!info.has_default && ast->hypers.at[h].value) hyper[h] = .25;
  }
  optc_item_args item = {.tensor = t->given};
  int64_t step = 0;
  optc_call_args args = {.size = sizeof args, .groups = groups, .n_groups = 1, .items = &item, .n_items = 1, .t = &step, .seed = 42, .error = error};
  return optc_rule_call(rule, optc_rule_entry(rule, entry), &args);
}

static Outcome one_rule(const char *path, const char *name, const Rule *ast, int64_t base) {
  static const struct { int backend, level; const char *text; } ways[] = {
    {OPTC_BACKEND_GRAPH, 0, "graphs"}, {OPTC_BACKEND_KERNEL, 0, "kernels"}, {OPTC_BACKEND_JIT, 0, "JIT -O0"}, {OPTC_BACKEND_JIT, 2, "JIT -O2"},
  };
  enum { WAYS = sizeof ways/sizeof *ways };
  Arena *arena = arena_new(NULL, 0);
  Tensors t[WAYS];
  Outcome outcome = SAME;
  for (int w = 0; w < WAYS && outcome == SAME; w++) {
    optc_context *context = fixture_context();
    optc_rule *rule = NULL;
    optc_error error = {0};
    const optc_compile_options options = {.size = sizeof options, .level = ways[w].level, .rule = name, .backend = ways[w].backend, .verify_each = w == 2};
    if (optc_compile_file(context, path, &options, &rule)) {
      printf("\n%s, %s: does not compile\n", name, ways[w].text);
      CU_FAIL("compile");
      outcome = OTHER;
    } else if (optc_rule_entry(rule, "backward") < 0 || !make(arena, rule, ast, &(MadeUp){.base = base}, &t[w]) || call(rule, ast, "forward", &t[w], base, &error)) outcome = NO_DATA;
    else if (call(rule, ast, "backward", &t[w], base, &error)) {
      printf("\n%s, %s: backward fails: %s (%g, %g)\n", name, ways[w].text, error.text ? error.text : "", error.value[0], error.value[1]);
      CU_FAIL("call");
      outcome = OTHER;
    }
    for (int k = 0; w && outcome == SAME && k < t[w].n; k++) {
      optc_operand_info o;
      optc_rule_operand(rule, k, &o);
      for (size_t i = 0; i < t[w].bytes[k]/(size_t)o.bytes && outcome == SAME; i++) {
        double a = memory_load(o.type, t[0].at[k].data, (int64_t)i), b = memory_load(o.type, t[w].at[k].data, (int64_t)i);
        if (memory_same(a, b, 0)) continue;
        printf("\n%s: %s[%zu]: graphs have %.17g, %s %.17g\n", name, o.name, i, a, ways[w].text, b);
        CU_FAIL("different bits");
        outcome = OTHER;
      }
    }
    optc_rule_free(rule);
    optc_context_free(context);
  }
  arena_free(arena);
  return outcome;
}

static unsigned folder(const char *rules) {
  const char *paths[512];
  Arena *list = arena_new(NULL, 0);
  unsigned n = fixture_rules(list, rules, paths, 512), same = 0;
  CU_ASSERT(n > 0);
  for (unsigned i = 0; i < n; i++) {
    Arena *arena = arena_new(NULL, 0);
    const char *path = paths[i];
    const FileSet *files = fixture_files(arena, path);
    for (unsigned k = 0; files && k < files->files[0]->n_rules; k++) {
      const Rule *rule = files->files[0]->rules[k];
      bool backward = false;
      for (unsigned s = 0; s < rule->body.n; s++) backward |= rule->body.at[s]->kind == STMT_BACKWARD;
      if (!backward) continue;
      Outcome o = one_rule(path, rule->name.text, rule, 0);
      if (o == NO_DATA) o = one_rule(path, rule->name.text, rule, 4);
      if (o == NO_DATA) printf("\n%s: no made-up data fits it\n", rule->name.text);
      same += o == SAME;
    }
    arena_free(arena);
  }
  arena_free(list);
  return same;
}

static void test_all_backends_agree(void) {
  unsigned rules = folder("rules"), others = folder("tests/data/evaluator");
  printf("\n%u rules and %u small ones have the same bits\n", rules, others);
  CU_ASSERT(rules >= 55);
}

/* --- shapes --------------------------------------------------------------------------------------------------------------------------------------- */

static const char text[] = "rule r() {\n  in x[N, M]\n  out y[M, N], s[N]\n  backward wrt x saving s\n  s[i] = sum[j](x[i, j])^2\n  y[j, i] = x[i, j]/s[i]\n}\n";

static int call_with(const char *change, optc_error *error, float *dx) {
  static const char *const names[] = {"x", "y", "s", "dy", "ds", "dx"};
  static int64_t shapes[6][2] = {{2, 3}, {3, 2}, {2, 0}, {3, 2}, {2, 0}, {2, 3}};
  static float data[6][6];
  DLTensor tensors[6], *given[6];
  int64_t other[2] = {5, 5};
  optc_context *context = fixture_context();
  optc_rule *rule;
  const optc_compile_options options = {.size = sizeof options, .level = 0};
  CU_ASSERT_FATAL(!optc_compile_memory(context, "text", text, strlen(text), &options, &rule));
  for (int k = 0; k < 6; k++) {
    optc_operand_info o;
    optc_rule_operand(rule, k, &o);
    CU_ASSERT_STRING_EQUAL(o.name, names[k]);
    tensors[k] = (DLTensor){.data = data[k], .device = {kDLCPU, 0}, .ndim = shapes[k][1] ? 2 : 1, .dtype = {kDLFloat, 32, 1}, .shape = shapes[k]};
    for (int i = 0; i < 6; i++) data[k][i] = k == 5 ? 7 : (float)(i + 1);
    given[k] = &tensors[k];
    if (*change == '-' && !strcmp(change + 1, names[k])) given[k] = NULL;
    if (!strcmp(change, names[k])) tensors[k].shape = other;
  }
  optc_item_args item = {.tensor = given};
  optc_call_args args = {.size = sizeof args, .items = &item, .n_items = 1, .error = error};
  int code = optc_rule_call(rule, optc_rule_entry(rule, "backward"), &args);
  if (error->text) printf("\n%s (%g, %g)\n", error->text, error->value[0], error->value[1]);
  memcpy(dx, data[5], sizeof data[5]);
  optc_rule_free(rule);
  optc_context_free(context);
  return code;
}

static void test_shapes_are_checked(void) {
  static const struct { const char *change; bool good; } cases[] = {{"", true}, {"-dy", true}, {"-ds", true}, {"-dx", true}, {"-y", true}, {"-s", false}, {"dy", false}, {"ds", false}, {"dx", false}, {"s", false}};
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    optc_error error = {0};
    float dx[6];
    int code = call_with(cases[i].change, &error, dx);
    if ((code == 0) != cases[i].good) { printf("\n'%s' gives %d\n", cases[i].change, code); CU_FAIL("shape"); }
    CU_ASSERT_EQUAL(dx[0] == 7 && dx[5] == 7, code != 0 || !strcmp(cases[i].change, "-dx"));
  }
}

/* Two items: z = x*norm[all](x) + max[all](x), against what the derivative is by hand. n = norm over both: dx = dz*n + x*(sum over both of dz*x)/n,
 * and the sum of all dz in equal shares where the maximum is. */
static void test_items_share_what_runs_over_all_of_them(void) {
  static const char both[] = "rule r() { in x[N]; out z[N]; backward wrt x; z[i] = x[i]*norm[all](x) + max[all](x) }";
  static const float want_max[4] = {0, .5f, .5f, 0}, x[4] = {1, 2, 2, -4}, dz[4] = {1, -2, .5f, 3};
  double dot = 0, all = 0;
  for (int k = 0; k < 4; k++) { dot += dz[k]*x[k]; all += dz[k]; }
  for (int backend = 0; backend < 3; backend++) {
    static const int backends[] = {OPTC_BACKEND_GRAPH, OPTC_BACKEND_KERNEL, OPTC_BACKEND_JIT};
    optc_context *context = fixture_context();
    optc_rule *rule = NULL;
    const optc_compile_options options = {.size = sizeof options, .level = 2, .backend = backends[backend]};
    CU_ASSERT_EQUAL_FATAL(optc_compile_memory(context, "two.opt", both, strlen(both), &options, &rule), 0);
    int n = optc_rule_operands(rule);
    float room[8][4] = {{0}};
    int64_t two = 2, step = 0;
    DLTensor t[8];
    DLTensor *given[2][4] = {{NULL}};
    optc_item_args items[2] = {{.tensor = given[0]}, {.tensor = given[1]}};
    CU_ASSERT_EQUAL_FATAL(n, 4);
    for (int k = 0; k < n; k++) {
      optc_operand_info o;
      optc_rule_operand(rule, k, &o);
      const float *from = !strcmp(o.name, "x") ? x : !strcmp(o.name, "dz") ? dz : NULL;
      for (int i = 0; i < 2; i++) {
        t[2*k + i] = (DLTensor){.data = room[2*k + i], .device = {kDLCPU, 0}, .ndim = 1, .dtype = dl_type("f32"), .shape = &two};
        if (from) memcpy(room[2*k + i], from + 2*i, 2*sizeof *from);
        given[i][k] = &t[2*k + i];
      }
      if (strcmp(o.name, "dx")) continue;
      for (int j = 0; j < 4; j++) room[2*k + j/2][j%2] = 99;
    }
    optc_call_args args = {.size = sizeof args, .items = items, .n_items = 2, .t = &step};
    CU_ASSERT_EQUAL(optc_rule_call(rule, optc_rule_entry(rule, "backward"), &args), 0);
    for (int k = 0; k < n; k++) {
      optc_operand_info o;
      optc_rule_operand(rule, k, &o);
      for (int j = 0; j < 4 && !strcmp(o.name, "dx"); j++) {
        double want = 5*dz[j] + x[j]*dot/5 + all*want_max[j], got = room[2*k + j/2][j%2];
        if (got < want - 1e-5 || got > want + 1e-5) { printf("\nbackend %d: dx[%d] is %g, not %g\n", backend, j, got, want); CU_FAIL("gradient"); }
      }
    }
    optc_rule_free(rule);
    optc_context_free(context);
  }
}

int main(void) {
  static const SuiteTest tests[] = {{"all backends agree", test_all_backends_agree}, {"shapes are checked", test_shapes_are_checked},
    {"items share what runs over all of them", test_items_share_what_runs_over_all_of_them}};
  return suite_run("gradient", tests);
}
