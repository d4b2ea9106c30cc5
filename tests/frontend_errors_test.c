/* frontend_errors_test.c: the error table of the language reference, row by row: message and caret. */
#include <stdio.h>
#include <string.h>
#include "frontend/frontend.h"
#include "tests/support/suite.h"

/* Text with the caret's range between backquotes; what is said there. */
typedef struct Row { const char *text, *message; DiagLevel level; } Row;

static const Source *no_file(void *self, Arena *a, const char *path, const char **why) { *why = "none"; return NULL; }

static void check(const Row *row, bool parses) {
  Arena *a = arena_new(NULL, 0);
  char *text = arena_strndup(a, row->text, strlen(row->text)), *to = text;
  unsigned mark[2] = {0, 0}, marks = 0, found = 0, placed = 0;
  for (const char *from = text; *from; from++) {
    if (*from == '`') { if (marks < 2) mark[marks] = (unsigned)(to - text); marks++; }
    else *to++ = *from;
  }
  *to = 0;
  CU_ASSERT_EQUAL(marks, 2);
  Source source = {"a.opt", text, strlen(text)};
  Diag *d = diag_new(a, 0);
  FrontendOptions options = {.read = no_file, .warnings = true};
  FileSet *set = frontend_load(a, d, &source, &options);
  CU_ASSERT_EQUAL(set != NULL, parses);
  Module *m = set ? frontend_lower(a, d, set, &options) : NULL;
  if (m) CU_ASSERT_TRUE(module_verify(m, d));
  for (size_t k = 0; k < diag_count(d); k++) {
    const DiagMessage *x = diag_get(d, k);
    if (x->level != row->level || strcmp(x->text, row->message)) continue;
    found++;
    placed += x->where.begin == mark[0] && x->where.end == mark[1];
  }
  bool good = found == 1 && placed == 1 && diag_errors(d) == (row->level == DIAG_ERROR) && (m == NULL) == (row->level == DIAG_ERROR);
  if (!good) {
    Text out = {.arena = a};
    diag_render_text(d, &out, false);
    printf("\n%s\n%s\nwant: %s at %u to %u\n", text, out.data ? out.data : "no message", row->message, mark[0], mark[1]);
  }
  CU_ASSERT_TRUE(good);
  arena_free(a);
}
#define CHECK(rows, parses) for (size_t i = 0; i < sizeof rows/sizeof *rows; i++) check(&rows[i], parses)

#define ADAM "rule r(lr = 1e-3, beta1 = 0.9) {\n  param p\n  grad g\n  state exp_avg\n  exp_avg = beta1*exp_avg + lr*g\n  p -= exp_avg\n"
#define MATRIX "rule r(lr = 1e-3, c: int = 4, w = 2) {\n  param p[R, C]\n  grad g\n  p -= lr*c*w*g\n"
#define VECTOR "rule r(k: int = 2, w = 2) {\n  in a[N, M], x[N], z[N]\n  out y[N]\n  y[i] = k*w*x[i]\n"

static void test_syntax(void) {
  static const Row rows[] = {
    {"rule r() { param p; p = p *`*` 2 }", "expected an operand after '*'; a power is written '^'", DIAG_ERROR},
    {"rule r() { param p; p = where(p > 0 `&&` p < 1, 1, 0) }", "'&&' is not an operator; write 'and'", DIAG_ERROR},
    {"rule r() { param p; p = p > 0 `?` 1 : 0 }", "unexpected '?'; a choice is written where(c, a, b)", DIAG_ERROR},
    {"rule r() { param p; p = p`.`T }", "unexpected '.'; the transpose is written g'", DIAG_ERROR},
    {"rule r(lr = 1) { param p; grad g; p = lr `g` }", "expected an operator or a new line before 'g'", DIAG_ERROR},
    {"rule r(x = 1) { param p; if x `=` 1 { p = 1 } }", "'=' assigns; compare with '=='", DIAG_ERROR},
    {"rule r() { param p; state m = 0 `v` = 0; p = m }", "expected ',' between declarations", DIAG_ERROR},
    {"rule r() { param p; `for` i in 3 { p = 1 } }", "there is no 'for': an index runs over its axis; a recurrence is 'scan i { }'", DIAG_ERROR},
    {"rule r() { param p; state m: `float`; p = m }", "unknown type 'float'; did you mean 'f32'?", DIAG_ERROR},
    {"rule r() { param p; `in` = 3 }", "'in' is a keyword and cannot be a name", DIAG_ERROR},
    {"rule r() { param p; p = p[i]`[`j] }", "one bracket holds all indices: x[i, j]", DIAG_ERROR},
    {"rule r() { param p; grad g; if p is [..., I, `...`] { p -= g } }", "a shape has one '...' or 'flat': with two it is not known where the axes between them lie", DIAG_ERROR},
    {"rule r() { param p; p = `\xce\xb2`*p }", "names are ASCII; write 'beta'", DIAG_ERROR},
  };
  CHECK(rows, false);
}

/* What is written by the habit of another language. */
static void test_habits(void) {
  static const Row rows[] = {
    {"rule r() {\n  param p  `//` the weights\n  grad g\n  p -= g\n}", "a comment begins with '#'; '//' divides integers", DIAG_ERROR},
    {"rule r() {\n  param p\n  grad g\n  `//` update\n  p -= g\n}", "a comment begins with '#'; '//' divides integers", DIAG_ERROR},
    {"rule r() { in x[N, M]; out y[N]; y[i] = x[`:`, 0] }", "there are no slices: an index runs over its whole axis, y[i] = x[i, 0], or over a part of it, y[i < n] = x[i + first]", DIAG_ERROR},
    {"rule r() { in x[N]; out y[N]; y = x[0`:`3] }", "there are no slices: an index runs over its whole axis, y[i] = x[i, 0], or over a part of it, y[i < n] = x[i + first]", DIAG_ERROR},
    {"rule r() { param p; p = mean(p, `axis`=1) }", "an axis is named by its index: mean[j](x[i, j])", DIAG_ERROR},
    {"rule r() { param p; p = p`.`sum(1) }", "unexpected '.'; there are neither methods nor modules: sum[j](x[i, j]) runs over an index, sum(x) over all elements", DIAG_ERROR},
    {"rule r() { param p; p = np`.`sqrt(p) }", "unexpected '.'; there are neither modules nor methods: functions are called by their name, as in sqrt(x)", DIAG_ERROR},
    {"rule r() { in x[N]; out y[N]; h = 0; scan `reverse` i { h = h + x[i]; y[i] = h } }", "'reverse' stands behind the index: 'scan i reverse { }'", DIAG_ERROR},
  };
  CHECK(rows, false);
  static const Row meanings[] = {
    {"rule r() { in x[N, M]; out y[N]; y = `sum`(x, 1) }", "sum takes 1 argument, 2 are given; an axis is named by its index: sum[j](x[i, j])", DIAG_ERROR},
    {"rule r() { in x[N, M]; out y[N]; y[i] = `softmax`(x, 1) }", "softmax takes 1 argument, 2 are given; an axis is named by its index: softmax[j](x[i, j])", DIAG_ERROR},
    {"rule r() { param p; p = `zeros_like`(p) }", "unknown function 'zeros_like'; a tensor of zeros is x[i < N] = 0; a state begins with 0", DIAG_ERROR},
    {"rule r(lr = 1) { param p; grad g; m = 0.9*`m` + g; p -= lr*m }", "unknown name 'm': it has no value before this statement; what is kept from call to call is declared, 'state m'", DIAG_ERROR},
    {"rule r(lr = 1) { param p; grad g; `m` += g; p -= lr*m }", "unknown name 'm': it has no value before this statement; what is kept from call to call is declared, 'state m'", DIAG_ERROR},
    {"rule r() { in x[N]; out y[N]; h[i] = 0.9*`h`[i] + x[i]; y = h }", "unknown name 'h': it has no value before this statement", DIAG_ERROR},
    {"rule b(lr = 1) { param p; grad g; p -= lr*g }\nrule r() { param p; grad g; apply b(`lrr` = 2) }", "rule 'b' has no hyper-parameter or operand 'lrr'; did you mean 'lr'?", DIAG_ERROR},
    {"rule b(lr = 1) { param weight; grad g; weight -= lr*g }\nrule r() { param p; grad g; apply b(`wieght` = p) }", "rule 'b' has no hyper-parameter or operand 'wieght'; did you mean 'weight'?", DIAG_ERROR},
  };
  CHECK(meanings, true);
}

static void test_names(void) {
  static const Row rows[] = {
    {ADAM "  p -= `beta`*g\n}", "unknown name 'beta'; did you mean 'beta1'?", DIAG_ERROR},
    {ADAM "  `exp_av` = g\n}", "'exp_av' is never used; did you mean the state 'exp_avg'?", DIAG_WARNING},
    {ADAM "  if lr > 0 { u = 1 }\n  p -= `u`*g\n}", "'u' has no value when the condition at line 7 is false", DIAG_ERROR},
    {"rule r(`lr` = 1) { param p; grad g; p -= g }", "'lr' is never used", DIAG_WARNING},
    {ADAM "  state `v`\n}", "'v' is never used", DIAG_WARNING},
    {ADAM "  state `v`; v = g\n}", "state 'v' is written and never read", DIAG_WARNING},
    {ADAM "  state `v`; p -= v*g\n}", "state 'v' is never written: it stays 0", DIAG_WARNING},
    {ADAM "  if lr > 0 { state v; v = g; p -= v } else { state `w`; w = g }\n}", "state 'w' is written and never read", DIAG_WARNING},
    {ADAM "  out `y`\n}", "out 'y' is never assigned: it stays 0", DIAG_WARNING},
    {ADAM "  p `=-` lr*g\n}", "'=-' gives 'p' a negated value; did you mean '-='?", DIAG_WARNING},
    {"fn f(x) = `f`(x)\nrule r() { param p; p = f(p) }", "fn 'f' calls itself", DIAG_ERROR},
    {"rule r() { in Q[N]; out O[N]; O[i] = Q[i]*`t` }", "'t' counts the steps of a rule with param or state", DIAG_ERROR},
    {"rule r() { param p; grad g; p -= g; entry a { in s; p -= s }; entry b { in `s`; p += s } }", "'s' is declared twice: what entries declare stands in one struct", DIAG_ERROR},
    {"rule r() { in Q[N], table[N]: i32; out O[N]; backward wrt Q, `table`; O[i] = Q[i]*table[i] }", "cannot differentiate with respect to 'table': i32", DIAG_ERROR},
  };
  CHECK(rows, true);
}

static void test_indices(void) {
  static const Row rows[] = {
    {MATRIX "  p[i, j] = g`[`i]\n}", "'g' has 2 axes, 1 index is given", DIAG_ERROR},
    {VECTOR "  s[`I`] = sum[r < k](x[I*k + r])\n  y[i] = s[i]\n}", "the range of index 'I' is not known; write 'I < n' where it is introduced", DIAG_ERROR},
    {VECTOR "  s[i < N, `c`] = a[i, c + 1]\n  y[i] = s[i, 0]\n}", "the range of index 'c' is not known; write 'c < n' where it is introduced: 's[i < N, c < M] ='", DIAG_ERROR},
    {VECTOR "  s[`I`] = 2*I\n  y[i] = s[i]\n}", "the range of index 'I' is not known; write 'I < n' where it is introduced", DIAG_ERROR},
    {VECTOR "  y[i] = a[i, `j`]\n}", "index 'j' is on the right only; sum over it or put it on the left", DIAG_ERROR},
    {VECTOR "  y[i] = sum[j](sum[`j`](a[i, j]))\n}", "index 'j' is already in use here", DIAG_ERROR},
    {VECTOR "  y[`k`] = x[k]\n}", "'k' is a hyper-parameter, not an index: this would write one element", DIAG_ERROR},
    {VECTOR "  y[i] = sum[j](softmax[`k`](a[i, j]))\n}", "softmax keeps an index in scope; 'k' is not one", DIAG_ERROR},
    {VECTOR "  y[j] = `sum`(x[i]*z[i])\n}", "over which index? write sum[i](...)", DIAG_ERROR},
    {VECTOR "  y[h] = x[h*N`/`k]\n}", "an index is an integer and '/' gives a real; use '//'", DIAG_ERROR},
    {VECTOR "  y[i] = x[i - `w`]\n}", "'w' is real; declare 'w: int'", DIAG_ERROR},
    {VECTOR "  y[i] = sum[j < N - `w`](x[j])\n}", "'w' is real; declare 'w: int'", DIAG_ERROR},
    {VECTOR "  y[i] = x[`-`1]\n}", "always outside the axis, reads 0; the last element is x[N - 1]", DIAG_WARNING},
    {VECTOR "  y[i] = a[i, `-`1]\n}", "always outside the axis, reads 0; the last element is a[i, M - 1]", DIAG_WARNING},
    {VECTOR "  y[i] = `y`[i - 1] + x[i]\n}", "the right side reads y as it was before; a running result is 'scan i { }'", DIAG_WARNING},
  };
  CHECK(rows, true);
}

static void test_kinds_and_levels(void) {
  static const Row rows[] = {
    {"rule r() { param p[R, C]; grad b[R]; p = p `-` b }", "shapes differ: p is [R, C], b is [R]; write p[i, j] - b[i]", DIAG_ERROR},
    {ADAM "  p = (g > 0) `+` 1\n}", "'+' on a bool; write where(c, 1, 0)", DIAG_ERROR},
    {MATRIX "  if `g > 0` { p = 1 }\n}", "'if' needs one scalar, this has shape [R, C]; use where", DIAG_ERROR},
    {ADAM "  state global d; d = `norm(p)`\n}", "'d' is global, norm(p) differs from item to item; use [all]", DIAG_ERROR},
  };
  CHECK(rows, true);
}

/* 64 are taken, the 65th is not. */
static void test_hyper_parameters_are_64_at_most(void) {
  for (unsigned n = 64; n <= 65; n++) {
    Arena *a = arena_new(NULL, 0);
    Text text = {.arena = a};
    text_add(&text, "rule r(h0 = 1");
    for (unsigned k = 1; k < n; k++) text_add(&text, k < 64 ? ", h%u = 1" : ", `h%u` = 1", k);
    text_add(&text, ") {\n  param p\n  grad g\n  p -= (h0");
    for (unsigned k = 1; k < n; k++) text_add(&text, " + h%u", k);
    text_add(&text, ")*g\n}\n");
    Row row = {text.data, "a rule has at most 64 hyper-parameters", DIAG_ERROR};
    Source source = {"a.opt", text.data, text.length};
    Diag *d = diag_new(a, 0);
    FrontendOptions options = {.read = no_file, .warnings = true};
    FileSet *set = n == 64 ? frontend_load(a, d, &source, &options) : NULL;
    if (n == 65) check(&row, true);
    else CU_ASSERT_TRUE(set && frontend_lower(a, d, set, &options) && !diag_count(d));
    arena_free(a);
  }
}

/* Constants that can only be a mistake. */
static void test_constants(void) {
  static const Row rows[] = {
    {ADAM "  p -= `1e39`*g\n}", "'1e39' is beyond the largest f32, 3.4e38: where it meets f32 data it is inf", DIAG_WARNING},
    {ADAM "  p -= g/(abs(g) + `1e-50`)\n}", "'1e-50' is below the least f32, 1.4e-45: where it meets f32 data it is 0", DIAG_WARNING},
    {"const b[3] = [1, 2, 3]\n" ADAM "  p -= `b[3]`*g\n}", "always outside the table, reads 0: 'b' is [3]", DIAG_WARNING},
    {"const b[3] = [1, 2, 3]\n" ADAM "  p -= `b[-1]`*g\n}", "always outside the table, reads 0: 'b' is [3]", DIAG_WARNING},
    {"const b[1, 2] = [1, 2]\n" ADAM "  p -= `b[0, 2]`*g\n}", "always outside the table, reads 0: 'b' is [1, 2]", DIAG_WARNING},
    {"rule r() { in x[3]; out y[3]; y[i] = x[`3`] }", "always outside the axis, reads 0: axis 0 of x is 3", DIAG_WARNING},
    {ADAM "  state `v` as \"exp_avg\"; v = v + g; p -= v\n}", "states 'exp_avg' and 'v' are both called \"exp_avg\" in checkpoints", DIAG_WARNING},
    {ADAM "  `lr` = 0.5*lr; p -= lr*g\n}", "'lr' is a hyper-parameter: it is changed for the rest of this call, not for the next; give the new value a name of its own", DIAG_WARNING},
    {"rule r() { in x[N], k[N]: i32; out y[N]; `x`[k[i]] = 1; y[i] = x[i] }", "'x' is an in: its elements change in this call, not in the caller's tensor; 'inout' writes there", DIAG_WARNING},
  };
  CHECK(rows, true);
}

static void test_shapes_that_never_fit(void) {
  static const Row rows[] = {
    {"rule r() { in x[3], z[4]; out y[3]; y[i] = x[i] + z[`i`] }", "axis 0 of z is 4, axis 0 of y is 3: this never fits", DIAG_ERROR},
    {"rule r() { in x[3], z[4]; out y[]; y = sum[i](x[i]*z[`i`]) }", "axis 0 of z is 4, axis 0 of x is 3: this never fits", DIAG_ERROR},
    {"rule r() { in x[N, 3], z[4, N]; out y[N, N]; y = x `@` z }", "the right side's last but one is 4, the left side's last axis of '@' is 3: this never fits", DIAG_ERROR},
    {"rule r() { in x[3]; out y[3]; w[i < 2*2] = x[i]; y = `w` }", "axis 0 of w is 4, axis 0 of y is 3: this never fits", DIAG_ERROR},
    {"rule b() { param p; in w[3]; p -= w[0] }\nrule r() { param p; in z[4]; apply b(w = `z`) }", "axis 0 of w is 4, 3 is 3: this never fits", DIAG_ERROR},
  };
  CHECK(rows, true);
  static const char fits[] = "rule r(const n: int = 4) { in x[3], z[n]; out y[3]; if n == 3 { y[i] = x[i] + z[i] } else { y = x } }";      /* a branch that is never taken */
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  Source source = {"a.opt", fits, strlen(fits)};
  FrontendOptions options = {.read = no_file, .warnings = true};
  FileSet *set = frontend_load(a, d, &source, &options);
  CU_ASSERT_TRUE(set && frontend_lower(a, d, set, &options) && !diag_count(d));
  arena_free(a);
}

int main(void) {
  static const SuiteTest tests[] = {
    {"syntax", test_syntax},
    {"habits", test_habits},
    {"names", test_names},
    {"constants", test_constants},
    {"shapes that never fit", test_shapes_that_never_fit},
    {"indices", test_indices},
    {"kinds, shapes and levels", test_kinds_and_levels},
    {"hyper-parameters are 64 at most", test_hyper_parameters_are_64_at_most},
  };
  return suite_run("errors", tests);
}
