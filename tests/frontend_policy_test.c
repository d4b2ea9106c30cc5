/* frontend_policy_test.c: storage policies: any rule kept as its text does not say is the rule whose text says so; what does not fit is refused at its
 * place; a narrow state without rounding help is warned of, and `nearest` says that it is meant. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend.h"
#include "ir/graph_text.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

static const Source *no_file(void *self, Arena *a, const char *path, const char **why) { *why = "none"; return NULL; }

static Module *lower(Arena *a, Diag *d, const char *text, const char *store) {
  Source *source = arena_alloc(a, sizeof *source);
  *source = (Source){"a.opt", text, strlen(text)};
  const FrontendOptions options = {.read = no_file, .warnings = true, .store = store};
  FileSet *set = frontend_load(a, d, source, &options);
  Module *m = set ? frontend_lower(a, d, set, &options) : NULL;
  if (m) CU_ASSERT_TRUE(module_verify(m, d));
  return m;
}

#define ADAM(P, G, M, V) "rule adam(lr = 1e-3, k: int = 2) {\n  param p" P "\n  grad g" G "\n  in scalar c: int\n  in r: i32, w: f64\n  state m" M ", v" V " = 0.5*p\n  state scalar n\n" \
  "  m = 0.9*m + 0.1*g\n  v = 0.99*v + 0.01*g^2\n  n += 1\n  p -= lr*k*c*n*m/(sqrt(v) + w)*r\n}"
#define PLAIN ADAM("", "", "", "")

/* --- the same rule ------------------------------------------------------------------------------------------------------------------- */

/* The lines in alphabetical order: writes of different operands have none. */
static char *sorted(Arena *a, const char *text) {
  char *copy = arena_strndup(a, text, strlen(text)), *rest = NULL, *line[500];
  size_t n = 0;
  for (char *at = strtok_r(copy, "\n", &rest); at && n < 500; at = strtok_r(NULL, "\n", &rest)) line[n++] = at;
  qsort(line, n, sizeof *line, fixture_by_name);
  Text out = {.arena = a};
  for (size_t i = 0; i < n; i++) text_add(&out, "%s\n", line[i]);
  return out.data;
}

static void same(const char *text, const char *store, const char *written) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  Module *kept = lower(a, d, text, store), *said = lower(a, d, written, NULL);
  if (!kept || !said) fixture_show(d, a);
  CU_ASSERT_FATAL(kept && said);
  Text x = {.arena = a}, y = {.arena = a};
  module_print(kept, &x);
  module_print(said, &y);
  bool equal = !strcmp(sorted(a, x.data), sorted(a, y.data));
  CU_ASSERT_TRUE(equal);
  if (!equal) printf("\n%s:\n%s\n%s", store, x.data, y.data);
  arena_free(a);
}

static void test_policy_is_what_the_text_could_say(void) {
  static const struct { const char *store, *written; } rows[] = {
    {"m=bf16", ADAM("", "", ": bf16", "")},
    {" m = bf16 , v = f16 ", ADAM("", "", ": bf16", ": f16")},
    {"m=bf16 stochastic,v=f16 stochastic(r)", ADAM("", "", ": bf16 stochastic", ": f16 stochastic(r)")},
    {"v=q8u[256],m=q8[64] nearest", ADAM("", "", ": q8[64] nearest", ": q8u[256]")},
    {"v=q4u,m=q4[128]", ADAM("", "", ": q4[128]", ": q4u")},
    {"p=bf16 stochastic,g=bf16,v=f32 flush", ADAM(": bf16 stochastic", ": bf16", "", ": f32 flush")},
    {"", PLAIN},
  };
  for (size_t i = 0; i < sizeof rows/sizeof *rows; i++) same(PLAIN, rows[i].store, rows[i].written);
  same(ADAM("", "", ": bf16 stochastic", ": q8u"), "m=f32,v=f32", PLAIN);
  same(ADAM("", "", ": f32 flush", ""), "m=f32", PLAIN);
}

#define BRANCHES(A, B) "rule r(lr = 1, late: bool = false) { param p; grad g\n if late { state m" A "; m += g; p -= lr*m } else { state m" B "; m = 0.5*m + g; p -= lr*m } }"
#define APPLIED(A) "rule base() { param p; grad g; state m" A "; m += g; p -= m }\nrule r() { param p; grad g; state m; m += g; g = m; apply base() }"
#define ENTRIES(A) "rule r() { param p; grad g; state h" A "; p -= g/(h + 1)\n entry refresh { in s; h = 0.9*h + s^2 } }"
#define SHAPED(A) "rule r() { param p; grad g; if p is [I, J] { state R[I]" A "; R[i] = 0.5*R[i] + sum[j](g[i, j]^2); p[i, j] -= g[i, j]*R[i] } }"

static void test_policy_holds_in_branches_applied_rules_entries_and_for_shapes(void) {
  same(BRANCHES("", ""), "m=bf16", BRANCHES(": bf16", ": bf16"));
  same(BRANCHES("", ""), "m=q8[64]", BRANCHES(": q8[64]", ": q8[64]"));
  same(APPLIED(""), "base/m=bf16", APPLIED(": bf16"));
  same(ENTRIES(""), "h=f16 stochastic", ENTRIES(": f16 stochastic"));
  same(SHAPED(""), "R=q8u[32]", SHAPED(": q8u[32]"));
}

#define MASTER(P, S, X, LAST) "rule r(lr = 1) {\n param p" P "; grad g; state m" S "\n m = 0.9*m + g\n " X " -= lr*m\n " LAST "}"

/* Of the operands of the step: read and written by their names. */
static void test_master_copy_is_a_state_that_the_param_is_rounded_from(void) {
  same(MASTER("", "", "p", ""), "p=bf16+master,m=bf16", MASTER(": bf16", ": bf16, p_master = p as \"master\"", "p_master", "p = p_master\n "));
  same(MASTER("", "", "p", ""), "p=f16+master", MASTER(": f16", ", p_master = p as \"master\"", "p_master", "p = p_master\n "));
}

/* --- refusals ---------------------------------------------------------------------------------------------------------------------------- */

static void refused(const char *rule, const char *marked, const char *message) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  char *store = arena_strndup(a, marked, strlen(marked)), *to = store;
  unsigned mark[2] = {0, 0}, marks = 0, found = 0;
  for (const char *from = marked; *from; from++) {
    if (*from != '`') *to++ = *from;
    else if (marks < 2) mark[marks++] = (unsigned)(to - store);
  }
  *to = 0;
  Module *m = lower(a, d, rule, store);
  for (size_t k = 0; k < diag_count(d); k++) {
    const DiagMessage *x = diag_get(d, k);
    found += x->level == DIAG_ERROR && !strcmp(x->text, message) && x->where.source && !strcmp(x->where.source->name, "--store") && x->where.begin == mark[0] && x->where.end == mark[1];
  }
  CU_ASSERT_PTR_NULL(m);
  CU_ASSERT_EQUAL(marks, 2);
  CU_ASSERT_EQUAL(found, 1);
  CU_ASSERT_EQUAL(diag_errors(d), 1);
  if (found != 1 || diag_errors(d) != 1) { printf("\n%s: want %s", marked, message); fixture_show(d, a); }
  arena_free(a);
}

static void test_what_does_not_fit_is_refused_at_its_place(void) {
  static const struct { const char *store, *message; } rows[] = {
    {"m=`bf17`", "unknown type 'bf17'; did you mean 'bf16'?"},
    {"`mm`=bf16", "rule 'adam' has no operand 'mm'; did you mean 'm'?"},
    {"`exp_avg`=bf16", "rule 'adam' has no operand 'exp_avg'"},
    {"`other/m`=bf16", "rule 'adam' has no operand 'other/m'; did you mean 'm'?"},
    {"`lr`=bf16", "'lr' is a hyper-parameter, not a tensor of the rule"},
    {"`n`=bf16", "'n' is one number an item; a storage policy is for tensors"},
    {"`r`=bf16", "'r' holds i32, not real numbers"},
    {"`w`=bf16", "'w' is f64: another type would change the arithmetic"},
    {"m=`f64`", "f64 would change the arithmetic; see --compute f64"},
    {"m=`i8`", "'m' holds real numbers, not i8"},
    {"g=`bf16 stochastic`", "'g' is only read: nothing is rounded"},
    {"g=`q8`", "'q8' goes with states that are tensors of an item"},
    {"p=`q8[64]`", "'q8' goes with states that are tensors of an item"},
    {"m=q8[`0`]", "a block has a constant number of elements, from 1 to 1048576"},
    {"m=q8[`100000000000`]", "a block has a constant number of elements, from 1 to 1048576"},
    {"m=bf16 `stochstic`", "unknown word 'stochstic'; did you mean 'stochastic'?"},
    {"m=bf16 `neerest`,v=f16", "unknown word 'neerest'; did you mean 'nearest'?"},
    {"p=bf16+`mastr`", "unknown word 'mastr'; did you mean 'master'?"},
    {"m=`f32 stochastic`", "'stochastic' goes with bf16 and f16"},
    {"m=`f32 nearest`", "'nearest' goes with bf16, f16 and codes"},
    {"m=`bf16 flush`", "'flush' goes with f32"},
    {"m=`bf16 stochastic(q)`", "'q' is no operand that holds random bits"},
    {"`m`=bf16+master", "a master copy is for params"},
    {"p=`f32`+master", "a master copy stands beside a param in bf16 or f16"},
    {"p=`bf16 stochastic`+master", "beside a master copy the param is the copy rounded to nearest"},
    {"m=bf16 nearest,`m`=f16", "'m' is given twice"},
  };
  for (size_t i = 0; i < sizeof rows/sizeof *rows; i++) refused(PLAIN, rows[i].store, rows[i].message);
  refused("rule r() { param p; grad g; state m as \"exp_avg\"; m += g; p -= m }", "`exp_avg`=bf16", "rule 'r' has no operand 'exp_avg'; did you mean 'm'?");
  refused("rule r() { param p optional; grad g; p -= g }", "`p`=bf16+master", "a master copy is for params that are never absent");
  refused("rule r() { param p; grad g; state p_master; p_master += g; p -= p_master }", "p=`bf16`+master", "the master copy would be called 'p_master', as another operand is");
}

static void test_what_is_no_policy_is_refused_where_it_goes_wrong(void) {
  static const struct { const char *store, *what; } rows[] = {
    {"m=bf16 nearest,``", "the name of a tensor"}, {"`=`bf16", "the name of a tensor"}, {"m `bf16`", "'='"}, {"m=``", "a storage type"}, {"m=`3`", "a storage type"},
    {"m=q8[``", "the elements of a block"}, {"m=q8[`x`]", "the elements of a block"}, {"m=q8[`2.5`]", "the elements of a block"}, {"p=bf16+`copy`", "'master'"}, {"p=bf16+``", "'master'"},
    {"m=bf16 stochastic(`3`)", "the operand that holds the random bits"}, {"m=q8[64`)`", "']'"},
  };
  for (size_t i = 0; i < sizeof rows/sizeof *rows; i++) {
    char message[200];
    snprintf(message, sizeof message, "expected %s, as in m=bf16,v=q8[256],p=bf16+master", rows[i].what);
    refused(PLAIN, rows[i].store, message);
  }
}

/* --- the warning ------------------------------------------------------------------------------------------------------------------------------- */

static unsigned warned(const char *text, const char *store) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  unsigned n = 0;
  if (!lower(a, d, text, store)) { fixture_show(d, a); CU_FAIL("a rule is refused"); }
  for (size_t k = 0; k < diag_count(d); k++) n += diag_get(d, k)->level == DIAG_WARNING && strstr(diag_get(d, k)->text, "runs on from its own last value") != NULL;
  arena_free(a);
  return n;
}
#define AVERAGE(STORAGE) "rule r() { param p; grad g; state m" STORAGE "; m = 0.9*m + 0.1*g; p -= m }"

static void test_narrow_averages_without_rounding_help_are_warned_of(void) {
  CU_ASSERT_EQUAL(warned(AVERAGE(""), NULL), 0);
  CU_ASSERT_EQUAL(warned(AVERAGE(": bf16"), NULL), 1);
  CU_ASSERT_EQUAL(warned(AVERAGE(": f16"), NULL), 1);
  CU_ASSERT_EQUAL(warned(AVERAGE(": q8[64]"), NULL), 1);
  CU_ASSERT_EQUAL(warned(AVERAGE(": q4"), NULL), 1);
  CU_ASSERT_EQUAL(warned(AVERAGE(""), "m=bf16"), 1);
  CU_ASSERT_EQUAL(warned(AVERAGE(": bf16"), "m=f32"), 0);
  CU_ASSERT_EQUAL(warned(AVERAGE(": bf16 stochastic"), NULL), 0);
  CU_ASSERT_EQUAL(warned(AVERAGE(": bf16 nearest"), NULL), 0);
  CU_ASSERT_EQUAL(warned(AVERAGE(": q8[64] nearest"), NULL), 0);
  CU_ASSERT_EQUAL(warned(AVERAGE(""), "m=q4u nearest"), 0);
  CU_ASSERT_EQUAL(warned("rule r() { param p; grad g; state last: bf16; p -= g - last; last = g }", NULL), 0);                    /* no average */
  CU_ASSERT_EQUAL(warned("rule r() { param p; grad g; state m: bf16, e; x = 0.9*m + e + 0.1*g; m = bf16(x); e = x - m; p -= m }", NULL), 0);      /* its error is kept */
  CU_ASSERT_EQUAL(warned("rule r(k = 1) { param p; grad g; state m: bf16; if k > 0 { m = 0.9*m + g }; p -= m }", NULL), 1);
  CU_ASSERT_EQUAL(warned("rule r() { param p; grad g; state m: bf16; p -= m\n entry other { in s; m = m + s } }", NULL), 1);
}

static void test_nearest_is_a_name_elsewhere(void) {
  same("rule r(nearest = 1) { param p; grad g; p -= nearest*g }", NULL, "rule r(nearest = 1) { param p; grad g; p -= nearest*g }");
  same("fn nearest(x) = x\nrule r() { param p[N]; grad g[N]; state m\n m[i] = nearest(g[i])\n p -= m }", "m=bf16 nearest",
       "fn nearest(x) = x\nrule r() { param p[N]; grad g[N]; state m: bf16 nearest\n m[i] = nearest(g[i])\n p -= m }");
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(test_policy_is_what_the_text_could_say), TEST(test_policy_holds_in_branches_applied_rules_entries_and_for_shapes),
    TEST(test_master_copy_is_a_state_that_the_param_is_rounded_from), TEST(test_what_does_not_fit_is_refused_at_its_place),
    TEST(test_what_is_no_policy_is_refused_where_it_goes_wrong), TEST(test_narrow_averages_without_rounding_help_are_warned_of), TEST(test_nearest_is_a_name_elsewhere),
  };
  return suite_run("storage policies", tests);
}
