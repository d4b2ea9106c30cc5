/* frontend_parse_test.c: the parser reads the whole language, prints what it read, explains what it cannot read, and survives any bytes. */
#include <dirent.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/fixture.h"
#include "tests/support/random.h"
#include "tests/support/same_tree.h"
#include "tests/support/suite.h"

#define DATA "tests/data/parse"
#define COUNT(table) (sizeof(table) / sizeof *(table))

/* --- helpers ---------------------------------------------------------------------------------------------------------- */

static const Source *source_new(Arena *a, const char *name, const char *text, size_t length) {
  Source *s = arena_alloc(a, sizeof *s);
  *s = (Source){name, text, length};
  return s;
}

static File *parse(Arena *a, Diag *d, const char *text) { return frontend_parse(a, d, source_new(a, "t.opt", text, strlen(text))); }

static const char *printed(Arena *a, const File *f) {
  Text out = {.arena = a};
  ast_print(f, &out);
  return out.data ? out.data : "";
}

static void show(Arena *a, const Diag *d, const char *text) {
  Text out = {.arena = a};
  diag_render_text(d, &out, false);
  printf("\n%s\n%s\n", text, out.data ? out.data : "no message");
}

/* Parsing what was printed gives the same tree and the same text. */
static bool prints_back(Arena *a, const File *f) {
  Diag *d = diag_new(a, 0);
  const char *text = printed(a, f);
  const File *again = parse(a, d, text);
  bool same = !diag_errors(d) && same_tree(f, again) && !strcmp(text, printed(a, again));
  if (!same) show(a, d, text);
  return same;
}

/* --- the language -------------------------------------------------------------------------------------------------------- */

static void test_every_exemplar_parses_and_prints_back_to_the_same_tree(void) {
  DIR *dir = opendir(DATA);
  CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
  int seen = 0;
  for (struct dirent *e; (e = readdir(dir));) {
    if (!strstr(e->d_name, ".opt")) continue;
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    const char *why;
    const File *f = frontend_parse(a, d, fixture_read(NULL, a, arena_printf(a, "%s/%s", DATA, e->d_name), &why));
    if (diag_count(d)) show(a, d, "");
    CU_ASSERT_EQUAL(diag_count(d), 0);
    CU_ASSERT_EQUAL(f->n_rules, 1);
    CU_ASSERT(prints_back(a, f));
    seen++;
    arena_free(a);
  }
  closedir(dir);
  CU_ASSERT(seen >= 16);
}

static const Expr *expr_of(Arena *a, const char *text) {
  Diag *d = diag_new(a, 0);
  const File *f = parse(a, d, arena_printf(a, "rule r() { x = %s }", text));
  if (diag_errors(d) || !f->n_rules) { show(a, d, text); return NULL; }
  return f->rules[0]->body.at[0]->value;
}

/* Two spellings of one tree, parentheses aside. */
static bool same_shape_of_tree(const Expr *a, const Expr *b) {
  if (!a || !b) return a == b;
  bool same = a->kind == b->kind && a->op == b->op && a->n_links == b->n_links && same_shape_of_tree(a->a, b->a) && same_shape_of_tree(a->b, b->b) && a->value == b->value
    && (!a->name || !strcmp(a->name, b->name));
  for (unsigned i = 0; same && i < a->n_links; i++) same = same_shape_of_tree(a->links[i].operand, b->links[i].operand);
  return same;
}

static void test_operators_bind_as_the_reference_says(void) {
  static const struct { const char *text, *means; } rows[] = {
    {"-x^2", "-(x^2)"}, {"a^b^c", "a^(b^c)"}, {"a^-b^c", "a^(-(b^c))"}, {"a - b - c", "(a - b) - c"}, {"a/b/c", "(a/b)/c"}, {"a*-b", "a*(-b)"},
    {"a >> n & m", "(a >> n) & m"}, {"a & m == 0", "(a & m) == 0"}, {"a | b & c", "a | (b & c)"}, {"a << b + c", "a << (b + c)"}, {"a + b*c", "a + (b*c)"},
    {"not a == b and c or d", "((not (a == b)) and c) or d"}, {"not a and b", "(not a) and b"}, {"x'^2", "(x')^2"}, {"-x'", "-(x')"}, {"A @ B*c", "(A @ B)*c"},
    {"a//b % c", "(a//b) % c"}, {"a or b or c", "(a or b) or c"}, {"not not a", "not (not a)"},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    Arena *a = arena_new(NULL, 0);
    bool same = same_shape_of_tree(expr_of(a, rows[i].text), expr_of(a, rows[i].means));
    if (!same) printf("\n%s is not %s\n", rows[i].text, rows[i].means);
    CU_ASSERT(same);
    arena_free(a);
  }
}

static void test_comparisons_chain_in_one_direction(void) {
  Arena *a = arena_new(NULL, 0);
  const Expr *e = expr_of(a, "i - w < j <= i");
  CU_ASSERT(e->kind == EXPR_CHAIN && e->n_links == 2 && e->links[0].op == OPER_LT && e->links[1].op == OPER_LE && e->a->kind == EXPR_BINARY);
  CU_ASSERT_EQUAL(expr_of(a, "(a < b) == (c < d)")->n_links, 1);
  static const char *const wrong[] = {"a < b > c", "a == b < c >= d", "a != b != c", "a < b != c"};
  for (size_t i = 0; i < COUNT(wrong); i++) {
    Diag *d = diag_new(a, 0);
    parse(a, d, arena_printf(a, "rule r() { x = %s }", wrong[i]));
    CU_ASSERT_EQUAL(diag_errors(d), 1);
  }
  arena_free(a);
}

static void test_numbers_are_read_correctly_rounded_and_refused_beyond_their_range(void) {
  Arena *a = arena_new(NULL, 0);
  setlocale(LC_ALL, "de_DE.UTF-8");                                       /* where it exists, its comma must not matter */
  static const struct { const char *text; double want; } reals[] = {
    {"1.0", 1.0}, {".5", 0.5}, {"1e-3", 1e-3}, {"3.", 3.0}, {"2.5E+3", 2500.0}, {"0.1", 0.1}, {"9007199254740993.0", 9007199254740992.0}, {"4.9e-324", 0x1p-1074},
    {"2.2250738585072011e-308", 0x0.fffffffffffffp-1022}, {"1e-400", 0.0},
  };
  for (size_t i = 0; i < COUNT(reals); i++) {
    const Expr *e = expr_of(a, reals[i].text);
    CU_ASSERT(e && e->kind == EXPR_REAL && e->number == reals[i].want);
  }
  setlocale(LC_ALL, "C");
  static const struct { const char *text; int64_t want; } integers[] = {{"0", 0}, {"0x5F", 95}, {"9223372036854775807", INT64_MAX}, {"0x7fffffffffffffff", INT64_MAX}, {"007", 7}};
  for (size_t i = 0; i < COUNT(integers); i++) {
    const Expr *e = expr_of(a, integers[i].text);
    CU_ASSERT(e && e->kind == EXPR_INT && e->value == integers[i].want);
  }
  static const char *const wrong[] = {"9223372036854775808", "0x8000000000000000", "1e309", "2e308", "12abc", "0x", "1.5f", "1e", "1_000"};
  for (size_t i = 0; i < COUNT(wrong); i++) {
    Diag *d = diag_new(a, 0);
    parse(a, d, arena_printf(a, "rule r() { x = %s }", wrong[i]));
    CU_ASSERT_EQUAL(diag_errors(d), 1);
    CU_ASSERT_EQUAL(diag_get(d, 0)->where.begin, 15);
  }
  arena_free(a);
}

static void test_new_lines_count_only_where_a_statement_can_end(void) {
  static const struct { const char *text, *means; } rows[] = {
    {"x = 1\n  + 2", "x = 1 + 2"}, {"x = 1 +\n 2", "x = 1 + 2"}, {"x = f(1\n , 2\n)", "x = f(1, 2)"}, {"x = a[i\n + 1]", "x = a[i + 1]"}, {"x =\n 1", "x = 1"},
    {"x = a\n and b\n or not\n c", "x = a and b or not c"}, {"if c\n is [N] {\n x = 1 }\n else {\n x = 2\n }", "if c is [N] { x = 1 } else { x = 2 }"},
    {"x = 1;;; y = 2;", "x = 1; y = 2"}, {"\n\n;x = 1\n\n\n;\ny = 2\n;\n", "x = 1; y = 2"}, {"state m\n as \"a\"", "state m as \"a\""}, {"state m,\n v", "state m, v"},
    {"x = 1 # note + \ny = 2", "x = 1; y = 2"}, {"x = 1\r\ny = 2\r\n", "x = 1; y = 2"}, {"x = a'\ny = 2", "x = a'; y = 2"}, {"x = 1\n- y", "x = 1 - y"}, {"x\n= 1", "x = 1"},
    {"x = (a\n\n\n)", "x = (a)"}, {"x = sum[i; seq](a[i])", "x = sum[i;\nseq](a[i])"}, {"apply f(\n a = 1,\n b = 2\n)", "apply f(a = 1, b = 2)"},
    {"param p; grad g", "param p\ngrad g"}, {"state a: f32 flush\nstate b: bf16 stochastic\nin c optional\nx = 1", "state a: f32 flush; state b: bf16 stochastic; in c optional; x = 1"},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    const File *f = parse(a, d, arena_printf(a, "rule r() {%s}", rows[i].text)), *g = parse(a, d, arena_printf(a, "rule r() { %s }", rows[i].means));
    bool same = !diag_errors(d) && same_tree(f, g);
    if (!same) show(a, d, rows[i].text);
    CU_ASSERT(same);
    arena_free(a);
  }
}

static void test_ranges_cover_what_they_name(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  const char *text = "rule r() {\n  x[i] += alpha*(b + c[j])^2 - f(k) # end\n}\n";
  const File *f = parse(a, d, text);
  const Stmt *s = f->rules[0]->body.at[0];
  const Expr *minus = s->value, *product = minus->a, *power = product->b, *paren = power->a;
  const struct { Range where; const char *want; } rows[] = {
    {s->where, "x[i] += alpha*(b + c[j])^2 - f(k)"}, {s->name.where, "x"}, {s->op_where, "+="}, {minus->where, "alpha*(b + c[j])^2 - f(k)"}, {minus->op_where, "-"},
    {product->where, "alpha*(b + c[j])^2"}, {power->where, "(b + c[j])^2"}, {power->op_where, "^"}, {paren->where, "(b + c[j])"}, {paren->b->where, "c[j]"},
    {paren->b->op_where, "["}, {minus->b->where, "f(k)"}, {minus->b->op_where, "f"}, {s->subs.at[0].where, "i"}, {f->rules[0]->name.where, "r"},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    const char *got = arena_strndup(a, text + rows[i].where.begin, rows[i].where.end - rows[i].where.begin);
    CU_ASSERT_STRING_EQUAL(got, rows[i].want);
  }
  arena_free(a);
}

static void test_documentation_goes_to_the_next_item(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  const File *f = parse(a, d, "## one\n##two \n# no doc\n\nrule r(## rate\nlr = 1, beta = 2) {\n  param p  ## for g\n  grad g\n  ## x's\n  x = 1\n  y = 2\n}\n## last\nfn f(a) = a\n");
  CU_ASSERT_EQUAL(diag_errors(d), 0);
  const Rule *r = f->rules[0];
  CU_ASSERT_STRING_EQUAL(r->doc, "one\ntwo");
  CU_ASSERT_STRING_EQUAL(r->hypers.at[0].doc, "rate");
  CU_ASSERT_PTR_NULL(r->hypers.at[1].doc);
  CU_ASSERT_PTR_NULL(r->body.at[0]->doc);
  CU_ASSERT_STRING_EQUAL(r->body.at[1]->doc, "for g");
  CU_ASSERT_STRING_EQUAL(r->body.at[2]->doc, "x's");
  CU_ASSERT_PTR_NULL(r->body.at[3]->doc);
  CU_ASSERT_STRING_EQUAL(f->fns[0]->doc, "last");
  arena_free(a);
}

/* --- errors ------------------------------------------------------------------------------------------------------------------- */

/* `text` stands in a rule; the caret is at the '$' (which is taken out), and at that place the only error is reported. */
static void check_error(const char *text, const char *message, bool whole_file) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  char *t = whole_file ? arena_printf(a, "%s", text) : arena_printf(a, "rule r(lr = 1) {\n  param p\n  %s\n  last = 1\n}\n", text);
  char *mark = strchr(t, '$');
  memmove(mark, mark + 1, strlen(mark));
  const File *f = parse(a, d, t);
  const DiagMessage *m = diag_get(d, 0);
  bool right = diag_errors(d) == 1 && m && !strcmp(m->text, message) && m->where.begin == (uint32_t)(mark - t);
  if (!whole_file) right &= f->n_rules == 1 && f->rules[0]->body.n >= 2 && !strcmp(f->rules[0]->body.at[f->rules[0]->body.n - 1]->name.text, "last");
  if (!right) printf("\nwanted: %s", message), show(a, d, t);
  CU_ASSERT(right);
  arena_free(a);
}

static void test_each_syntax_error_of_the_reference_has_its_message_and_caret(void) {
  static const struct { const char *text, *message; } rows[] = {
    {"x = p *$* 2", "expected an operand after '*'; a power is written '^'"},
    {"x = a $&& b", "'&&' is not an operator; write 'and'"},
    {"x = c $? a : b", "unexpected '?'; a choice is written where(c, a, b)"},
    {"x = g$.T", "unexpected '.'; the transpose is written g'"},
    {"lr $g", "expected an operator or a new line before 'g'"},
    {"x = lr $g", "expected an operator or a new line before 'g'"},
    {"if x $= 1 {\n u = 1\n v = 2\n } else { w = 2 }", "'=' assigns; compare with '=='"},
    {"state m = 0 $v = 0", "expected ',' between declarations"},
    {"$for i in 3", "there is no 'for': an index runs over its axis; a recurrence is 'scan i { }'"},
    {"$for i in 3 {\n x = 1\n }", "there is no 'for': an index runs over its axis; a recurrence is 'scan i { }'"},
    {"x = $(p + 1", "'(' is never closed"},
    {"x = f$(a[i]\n  y = 2", "'(' is never closed"},
    {"x = a$[i\n  state m", "'[' is never closed"},
    {"x = $(a]", "'(' is never closed"},
    {"state m: $float", "unknown type 'float'; did you mean 'f32'?"},
    {"state m: $bf61", "unknown type 'bf61'; did you mean 'bf16'?"},
    {"state m: $complex", "unknown type 'complex'; types are f64 f32 bf16 f16 i32 i8 u8 q8 q8u q4 q4u int bool"},
    {"$in = 3", "'in' is a keyword and cannot be a name"},
    {"state $in = 3", "'in' is a keyword and cannot be a name"},
    {"x =$\n  y = 2", "expected an expression after '='"}, {"x = a +$\n  y[i] += 2", "expected an operand after '+'"}, {"if a and$\n  y = 2", "expected an operand after 'and'"},
    {"x = a + $state", "'state' is a keyword and cannot be a name"},
    {"$f32 = 3", "'f32' is a type and cannot be a name"},
    {"$pi = 3", "'pi' is a constant and cannot be a name"},
    {"x = x[i]$[j]", "one bracket holds all indices: x[i, j]"},
    {"x[i]$[j] = 1", "one bracket holds all indices: x[i, j]"},
    {"x = $\xce\xb2*m", "names are ASCII; write 'beta'"},
    {"x = a $\xe2\x89\xa4 b", "the language is ASCII; write '<='"},
    {"x = $\xe4\xb8\xad", "names are ASCII: '\xe4\xb8\xad' cannot be used"},
  };
  for (size_t i = 0; i < COUNT(rows); i++) check_error(rows[i].text, rows[i].message, false);
  check_error("rule r() {\n  p =$\n}\n", "expected an expression after '='", true);
  check_error("rule r() {\n  x = $(p + 1\n}\n", "'(' is never closed", true);
}

static void test_other_slips_are_explained(void) {
  static const struct { const char *text, *message; } rows[] = {
    {"x = a $|| b", "'||' is not an operator; write 'or'"}, {"x = $!a", "'!' is not an operator; write 'not'"}, {"x = 3$]", "']' closes nothing"},
    {"if c\n  ${ x = 1 }", "'{' stands at the end of the line it belongs to, not on the next"}, {"repeat 3$", "expected '{' before the end of the line"},
    {"if c { x = 1 } $elif d { x = 2 }", "'elif' is written 'else if'"}, {"if c { x = 1 }\n  $elif d { x = 2 }", "'elif' is written 'else if'"},
    {"$stat m = 0", "'stat' is not a keyword; did you mean 'state'?"}, {"$f(x)", "a call alone does nothing; assign its value, 'x = f(...)'"},
    {"x$", "expected '=' before the end of the line: a statement assigns a value"}, {"$return 3", "'return' stands only at the end of a fn with a block"},
    {"$else { x = 1 }", "'else' has no 'if' before it"}, {"x = f(a $b)", "expected an operator or ',' before 'b'"}, {"x = (a $= b)", "'=' assigns; compare with '=='"},
    {"x = \"abc$\"", "unexpected"}, {"x = $\"abc", "the string is never closed: '\"' is missing"}, {"state m as $v", "expected a name in quotes after 'as'"},
    {"if c { x = 1 } $y = 2", "expected a new line before 'y'"}, {"skip $x", "expected 'if' after 'skip'"}, {"x = $[1]", "expected an expression after '='"},
    {"x = f(a,$)", "expected an expression after ','"}, {"$while c { x = 1 }", "there is no 'while': a fixed number of rounds is 'repeat n { }'"},
    {"x = a < b $> c", "a chain of comparisons goes in one direction; write 'and'"}, {"entry e { $entry f { x = 1 } }", "'entry' stands only directly in a rule"},
    {"state m:$", "expected a type after ':'"}, {"fn f(x) {\n  y = 1\n  $}", "fn 'f' has a block without 'return'; write 'return' and the result before the '}'"},
    {"fn f(x) { return x$\n  y = 1 }", "expected '}' after the value of 'return', which ends the fn"}, {"x = 1 $# 2 \\ 3", ""},
  };
  for (size_t i = 0; i + 1 < COUNT(rows); i++) if (strcmp(rows[i].message, "unexpected")) check_error(rows[i].text, rows[i].message, false);
  static const struct { const char *text, *message; } files[] = {
    {"$rul r() { x = 1 }", "'rul' is not a keyword; did you mean 'rule'?"},
    {"$x = 1", "expected 'use', 'const', 'fn' or 'rule', not 'x'; statements stand inside a rule"},
    {"rule r() ${ param p\n", "'{' is never closed"}, {"rule r() { param p }\n$}\n", "'}' closes nothing"},
    {"rule r$ { x = 1 }", "expected '(' before '{': a rule lists its hyper-parameters, 'rule r() {'"},
    {"rule r() { x = 1\n$rule s() { y = 1 }\n", "'rule' inside a block; a '}' is missing before it"},
    {"rule r(lr = 1 $b = 2) { x = 1 }", "expected ',' between hyper-parameters"}, {"rule r() { $}", "a rule without statements does nothing"},
    {"use $a", "expected a file name in quotes after 'use'"}, {"rule r() { x = 1$\\ }", "unexpected '\\'"},
  };
  for (size_t i = 0; i < COUNT(files); i++) {
    char text[200], *mark;
    strcpy(text, files[i].text);
    if (i == 4) { mark = strchr(text, '$'); memmove(mark, mark + 1, strlen(mark)); mark = strchr(text, '{'); memmove(mark + 1, mark, strlen(mark) + 1); *mark = '$'; }
    check_error(text, files[i].message, true);
  }
}

static void test_several_errors_come_in_one_run_and_the_rest_is_kept(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  const File *f = parse(a, d, "rule a(lr = 1, \xce\xb2 = 3, c: float = 1, d = 2) {\n  x = p ** 2\n  if x = 1 {\n    u = 1\n  }\n  y = 1\n}\nfn f(x) { return x + }\nrul b() { }\n"
    "rule c() {\n  in = 3\n  z = (1\n  w = 2\n}\n");
  CU_ASSERT_EQUAL(diag_errors(d), 8);
  CU_ASSERT_EQUAL(f->n_rules, 2);
  CU_ASSERT_EQUAL(f->rules[0]->hypers.n, 2);
  CU_ASSERT_EQUAL(f->rules[0]->body.n, 1);
  CU_ASSERT_EQUAL(f->rules[1]->body.n, 1);
  if (diag_errors(d) != 8) show(a, d, "");
  arena_free(a);
}

static void test_bytes_that_are_no_text_are_refused(void) {
  static const struct { const char *text; size_t length; const char *message; uint32_t at; } rows[] = {
    {"rule r() { x = 1 } # \xff", 22, "the byte 0xff is not UTF-8; save the file as UTF-8", 21}, {"# \xed\xa0\x80", 5, "the byte 0xed is not UTF-8; save the file as UTF-8", 2},
    {"# \xc0\xaf", 4, "the byte 0xc0 is not UTF-8; save the file as UTF-8", 2}, {"# \xf4\x90\x80\x80", 6, "the byte 0xf4 is not UTF-8; save the file as UTF-8", 2},
    {"# \xe2\x82", 4, "the byte 0xe2 is not UTF-8; save the file as UTF-8", 2}, {"rule\0r", 6, "a NUL byte in the text: this is not a source file", 4},
    {"\xef\xbb\xbfrule r() { x = 1 }", 21, "a byte order mark; save the file without", 0}, {"rule r() { x = \x01 }", 18, "unexpected control character 0x01", 15},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    frontend_parse(a, d, source_new(a, "t.opt", rows[i].text, rows[i].length));
    const DiagMessage *m = diag_get(d, 0);
    bool right = m && !strcmp(m->text, rows[i].message) && m->where.begin == rows[i].at;
    if (!right) show(a, d, rows[i].message);
    CU_ASSERT(right);
    arena_free(a);
  }
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  char *large = malloc(FRONTEND_MAX_BYTES + 1);
  memset(large, ' ', FRONTEND_MAX_BYTES + 1);
  frontend_parse(a, d, source_new(a, "t.opt", large, FRONTEND_MAX_BYTES));
  CU_ASSERT_EQUAL(diag_errors(d), 0);
  frontend_parse(a, d, source_new(a, "t.opt", large, FRONTEND_MAX_BYTES + 1));
  CU_ASSERT_EQUAL(diag_errors(d), 1);
  free(large);
  arena_free(a);
}

/* --- limits --------------------------------------------------------------------------------------------------------------------- */

static char *nested(Arena *a, const char *before, const char *open, unsigned n, const char *middle, const char *close, const char *after) {
  Text t = {.arena = a};
  text_add(&t, "%s", before);
  for (unsigned i = 0; i < n; i++) text_append(&t, open, strlen(open));
  text_add(&t, "%s", middle);
  for (unsigned i = 0; i < n; i++) text_append(&t, close, strlen(close));
  text_add(&t, "%s", after);
  return t.data;
}

static void test_what_nests_too_deep_is_one_error_and_what_fits_parses(void) {
  enum { DEEP = FRONTEND_MAX_DEPTH, LONG = FRONTEND_MAX_EXPR_DEPTH };
  static const char in_rule[] = "rule r() { x = ", end[] = " }", deep[] = "nested deeper than 256", wide[] = "the expression is longer than 1000 operators; name a part of it";
  static const struct { const char *before, *open, *middle, *close, *after; unsigned fits; const char *message; } rows[] = {
    {in_rule, "(", "a", ")", end, DEEP - 1, deep}, {in_rule, "f(", "a", ")", end, DEEP - 1, deep}, {in_rule, "a[", "i", "]", end, DEEP - 1, deep},
    {"rule r() { ", "repeat 2 { ", "x = 1", " }", end, DEEP - 1, deep}, {"rule r() { ", "if a { x = 1 } else ", "{ x = 2 }", "", end, DEEP - 1, deep},
    {in_rule, "a + ", "a", "", end, LONG - 1, wide}, {in_rule, "-", "a", "", end, LONG - 1, wide}, {in_rule, "not ", "a", "", end, LONG - 1, wide},
    {in_rule, "a^", "a", "", end, LONG - 1, wide}, {in_rule, "", "a", "'", end, LONG - 1, wide}, {in_rule, "a < ", "a", "", end, 100000, NULL},
    {in_rule, "a or b and not c < d | e & f << g + h*f[k^-", "a", "]", end, 70, wide}, {"", "## line\n", "rule r() { x = 1 }", "", "", 100000, NULL},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    const File *f = parse(a, d, nested(a, rows[i].before, rows[i].open, rows[i].fits, rows[i].middle, rows[i].close, rows[i].after));
    if (diag_errors(d)) show(a, d, rows[i].open);
    CU_ASSERT(!diag_errors(d) && f->n_rules == 1 && prints_back(a, f));
    for (unsigned k = 0; k < 3 && rows[i].message; k++) {
      unsigned n = k == 0 ? rows[i].fits + 1 : k == 1 ? 5000 : 300000;
      if (i == 11 && k == 0) continue;
      d = diag_new(a, 0);
      f = parse(a, d, nested(a, rows[i].before, rows[i].open, n, rows[i].middle, rows[i].close, rows[i].after));
      bool right = diag_errors(d) == 1 && (!strcmp(diag_get(d, 0)->text, rows[i].message) || (k && !strcmp(diag_get(d, 0)->text, deep)));
      if (!right) printf("%u of '%s'", n, rows[i].open), show(a, d, "");
      CU_ASSERT(right);
      printed(a, f);
    }
    arena_free(a);
  }
}

/* --- any bytes -------------------------------------------------------------------------------------------------------------------- */

/* Whatever it was: no crash, and what has no error prints back. */
static void survive(const char *text, size_t length) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  const File *f = frontend_parse(a, d, source_new(a, "t.opt", text, length));
  Text out = {.arena = a};
  diag_render_text(d, &out, true);
  diag_render_json(d, &out);
  if (diag_errors(d)) printed(a, f);
  else CU_ASSERT(prints_back(a, f));
  arena_free(a);
}

static void test_a_mebibyte_of_random_bytes_is_survived(void) {
  uint64_t state = 7;
  enum { N = 1 << 20 };
  char *text = malloc(N);
  for (size_t i = 0; i < N; i++) text[i] = (char)next_random(&state);
  survive(text, N);
  for (size_t i = 0; i < N; i++) text[i] = (char)(next_random(&state) % 96 + 32), text[i] = text[i] == 127 ? '\n' : text[i];
  survive(text, N);
  static const char symbols[] = "{}()[];,=+-*/<>\n\n'#\"abx1 ";
  for (size_t i = 0; i < N; i++) text[i] = symbols[next_random(&state) % (sizeof symbols - 1)];
  survive(text, N);
  for (size_t i = 0; i + 64 < N; i += 512) survive(text + i, 64);
  free(text);
}

static void test_random_words_of_the_language_are_survived(void) {
  static const char *const words[] = {"use ", "const ", "fn ", "rule ", "return ", "param ", "grad ", "state ", "scalar ", "global ", "in ", "out ", "inout ", "optional ", "entry ",
    "backward ", "wrt ", "saving ", "require ", "if ", "else ", "repeat ", "scan ", "reverse ", "skip ", "apply ", "as ", "is ", "flat ", "stochastic ", "flush ", "and ", "or ", "not ",
    "f32 ", "q8 ", "int ", "inf ", "a", "b", "f", "1", "2.5", "\"s\"", "(", ")", "[", "]", "{", "}", ";", "\n", ",", ":", "=", "+=", "+", "-", "*", "/", "//", "%", "@", "^", "'",
    "<", "<=", "==", "!=", "<<", "&", "|", "...", "## d\n", "rule r() {", "x = ", "x = ", "\n", "\n", "a", "1"};
  uint64_t state = 11;
  for (int round = 0; round < 5000; round++) {
    char text[2000] = "";
    size_t n = 0, count = next_random(&state) % 60;
    if (round % 2) n = (size_t)snprintf(text, sizeof text, "rule r(lr = 1) {\n");
    for (size_t i = 0; i < count; i++) n += (size_t)snprintf(text + n, sizeof text - n, "%s", words[next_random(&state) % COUNT(words)]);
    survive(text, n);
  }
}

static void test_damaged_exemplars_are_survived(void) {
  Arena *a = arena_new(NULL, 0);
  const char *why;
  const Source *source = fixture_read(NULL, a, DATA "/every_form.opt", &why);
  CU_ASSERT_PTR_NOT_NULL_FATAL(source);
  const char *whole = source->text;
  size_t n = source->length;
  char *text = arena_alloc(a, 2*n);
  uint64_t state = 13;
  for (int round = 0; round < 5000; round++) {
    size_t at = next_random(&state) % n, length = next_random(&state) % 12, to = next_random(&state) % n;
    if (at + length > n) length = n - at;
    memcpy(text, whole, n);
    switch (round % 4) {
      case 0: memmove(text + at, text + at + length, n - at - length); survive(text, n - length); break;
      case 1: memmove(text + to + length, text + to, n - to); memcpy(text + to, whole + at, length); survive(text, n + length); break;
      case 2: text[at] = (char)(next_random(&state) % 128); survive(text, n); break;
      default: survive(text, at); break;
    }
  }
  arena_free(a);
}

/* --- memory ------------------------------------------------------------------------------------------------------------------------ */

static void parse_and_print(Arena *a, void *self) {
  const Source *s = self;
  Diag *d = diag_new(a, 0);
  const File *f = frontend_parse(a, d, s);
  printed(a, f);
  Text out = {.arena = a};
  diag_render_text(d, &out, false);
}

static void test_no_memory_at_any_allocation_neither_crashes_nor_leaks(void) {
  Arena *a = arena_new(NULL, 0);
  const char *why;
  const Source *source = fixture_read(NULL, a, DATA "/every_form.opt", &why);
  CU_ASSERT_PTR_NOT_NULL_FATAL(source);
  const char *whole = source->text;
  char *many = nested(a, "", arena_printf(a, "%s\n", whole), 40, "", "x = = 1\n", "");
  Source s = {"t.opt", many, strlen(many)};
  CU_ASSERT(failing_allocator_try_all(parse_and_print, &s, 2000) > 20);
  arena_free(a);
}

/* --- files ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct Disk { const char *(*files)[2]; size_t n; int reads; } Disk;

static const Source *read_disk(void *self, Arena *a, const char *path, const char **why) {
  Disk *disk = self;
  disk->reads++;
  for (size_t i = 0; i < disk->n; i++)
    if (!strcmp(disk->files[i][0], path)) return source_new(a, path, disk->files[i][1], strlen(disk->files[i][1]));
  *why = "no such file";
  return NULL;
}

static FileSet *load(Arena *a, Diag *d, Disk *disk, const char *name, const char *text) {
  FrontendOptions options = {.read = read_disk, .read_self = disk};
  return frontend_load(a, d, source_new(a, name, text, strlen(text)), &options);
}

static void test_used_files_are_read_once_relative_to_the_file_that_names_them(void) {
  static const char *files[][2] = {{"lib/a.opt", "use \"b.opt\"\nuse \"../top.opt\"\nfn a(x) = x"}, {"lib/b.opt", "use \"./sub/../../top.opt\"\nfn b(x) = x"}, {"top.opt", "fn top(x) = x"}};
  Disk disk = {files, COUNT(files), 0};
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  const FileSet *set = load(a, d, &disk, "main.opt", "use \"lib/a.opt\"\nuse \"top.opt\"\nuse \"lib/a.opt\"\nrule r() { x = 1 }");
  if (diag_count(d)) show(a, d, "");
  CU_ASSERT_PTR_NOT_NULL_FATAL(set);
  CU_ASSERT_EQUAL(set->n, 4);
  CU_ASSERT_EQUAL(disk.reads, 3);
  CU_ASSERT_STRING_EQUAL(set->files[0]->source->name, "main.opt");
  CU_ASSERT_STRING_EQUAL(set->files[1]->source->name, "lib/a.opt");
  CU_ASSERT_STRING_EQUAL(set->files[2]->source->name, "lib/b.opt");
  CU_ASSERT_STRING_EQUAL(set->files[3]->source->name, "top.opt");
  arena_free(a);
}

static void test_a_cycle_of_use_is_an_error_that_shows_the_chain(void) {
  static const char *files[][2] = {{"/d/b.opt", "use \"c.opt\"\nfn b(x) = x"}, {"/d/c.opt", "fn c(x) = x\nuse \"b.opt\""}};
  Disk disk = {files, COUNT(files), 0};
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  CU_ASSERT_PTR_NULL(load(a, d, &disk, "/d/main.opt", "use \"b.opt\"\nrule r() { x = 1 }"));
  CU_ASSERT_EQUAL(diag_count(d), 2);
  CU_ASSERT_STRING_EQUAL(diag_get(d, 0)->text, "'/d/b.opt' uses itself");
  CU_ASSERT_STRING_EQUAL(diag_get(d, 0)->where.source->name, "/d/c.opt");
  CU_ASSERT_STRING_EQUAL(diag_get(d, 1)->text, "'/d/c.opt' is used here");
  CU_ASSERT_STRING_EQUAL(diag_get(d, 1)->where.source->name, "/d/b.opt");
  d = diag_new(a, 0);
  CU_ASSERT_PTR_NULL(load(a, d, &disk, "self.opt", "use \"./self.opt\"\nrule r() { x = 1 }"));
  CU_ASSERT_STRING_EQUAL(diag_get(d, 0)->text, "'self.opt' uses itself");
  arena_free(a);
}

static void test_a_missing_file_is_an_error_at_its_name(void) {
  Disk disk = {NULL, 0, 0};
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  const char *text = "rule r() { x = 1 }\nuse \"gone.opt\"\n";
  CU_ASSERT_PTR_NULL(load(a, d, &disk, "m.opt", text));
  CU_ASSERT_STRING_EQUAL(diag_get(d, 0)->text, "cannot read 'gone.opt': no such file");
  CU_ASSERT_EQUAL(diag_get(d, 0)->where.begin, (uint32_t)(strchr(text, '"') - text));
  d = diag_new(a, 0);
  CU_ASSERT_PTR_NULL(frontend_load(a, d, source_new(a, "m.opt", text, strlen(text)), NULL));
  CU_ASSERT_EQUAL(diag_errors(d), 1);
  arena_free(a);
}

int main(void) {
  static const SuiteTest tests[] = {
    {"every exemplar parses and prints back to the same tree", test_every_exemplar_parses_and_prints_back_to_the_same_tree},
    {"operators bind as the reference says", test_operators_bind_as_the_reference_says},
    {"comparisons chain in one direction", test_comparisons_chain_in_one_direction},
    {"numbers are read correctly rounded and refused beyond their range", test_numbers_are_read_correctly_rounded_and_refused_beyond_their_range},
    {"new lines count only where a statement can end", test_new_lines_count_only_where_a_statement_can_end},
    {"ranges cover what they name", test_ranges_cover_what_they_name},
    {"documentation goes to the next item", test_documentation_goes_to_the_next_item},
    {"each syntax error of the reference has its message and caret", test_each_syntax_error_of_the_reference_has_its_message_and_caret},
    {"other slips are explained", test_other_slips_are_explained},
    {"several errors come in one run and the rest is kept", test_several_errors_come_in_one_run_and_the_rest_is_kept},
    {"bytes that are no text are refused", test_bytes_that_are_no_text_are_refused},
    {"what nests too deep is one error and what fits parses", test_what_nests_too_deep_is_one_error_and_what_fits_parses},
    {"a mebibyte of random bytes is survived", test_a_mebibyte_of_random_bytes_is_survived},
    {"random words of the language are survived", test_random_words_of_the_language_are_survived},
    {"damaged exemplars are survived", test_damaged_exemplars_are_survived},
    {"no memory at any allocation neither crashes nor leaks", test_no_memory_at_any_allocation_neither_crashes_nor_leaks},
    {"used files are read once, relative to the file that names them", test_used_files_are_read_once_relative_to_the_file_that_names_them},
    {"a cycle of use is an error that shows the chain", test_a_cycle_of_use_is_an_error_that_shows_the_chain},
    {"a missing file is an error at its name", test_a_missing_file_is_an_error_at_its_name},
  };
  return suite_run("parse", tests);
}
