/* ir_diag_test.c: how diagnostics look as text and as JSON, in which order, and which names are suggested. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ir/diag.h"
#include "ir/suggest.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/suite.h"

static Source source_of(const char *text) { return (Source){"a.opt", text, strlen(text)}; }

static Range find(const Source *s, const char *word) {
  uint32_t at = (uint32_t)(strstr(s->text, word) - s->text);
  return (Range){s, at, at + (uint32_t)strlen(word)};
}

static const char *text_of(Arena *a, const Diag *d, bool color) {
  Text out = {.arena = a};
  diag_render_text(d, &out, color);
  return out.data ? out.data : "";
}

#define EQUAL(got, want) do { const char *g_ = (got), *w_ = (want); if (strcmp(g_, w_)) printf("\ngot:\n%s\nwant:\n%s\n", g_, w_); CU_ASSERT_STRING_EQUAL(g_, w_); } while (0)

static void test_an_error_shows_its_line_range_note_and_fix(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  Source s = source_of("rule r() {\n  p = beta*m\n}\n");
  diag_error(d, find(&s, "beta"), "unknown name '%s'", "beta");
  diag_fix(d, "beta1");
  diag_note(d, find(&s, "rule"), "in this rule");
  EQUAL(text_of(a, d, false), "a.opt:2:7: error: unknown name 'beta'\n  p = beta*m\n      ^~~~\n      beta1\na.opt:1:1: note: in this rule\nrule r() {\n^~~~\n");
  CU_ASSERT_EQUAL(diag_errors(d), 1);
  CU_ASSERT_EQUAL(diag_count(d), 2);
  CU_ASSERT_PTR_NULL(diag_get(d, 2));
  CU_ASSERT_PTR_NOT_NULL(strstr(text_of(a, d, true), "\033[1;31merror:\033[0m"));
  arena_free(a);
}

static void test_messages_come_in_order_of_place_with_warnings_and_notes(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  Source s = source_of("one\ntwo\nthree\n"), other = source_of("x");
  other.name = "b.opt";
  diag_error(d, find(&s, "three"), "third");
  diag_note(d, find(&s, "one"), "of the third");
  diag_error(d, (Range){NULL, 0, 0}, "nowhere");
  diag_error(d, (Range){&other, 0, 1}, "other file");
  diag_warning(d, find(&s, "one"), "first");
  diag_error(d, find(&s, "two"), "second");
  EQUAL(text_of(a, d, false), "a.opt:1:1: warning: first\none\n^~~\na.opt:2:1: error: second\ntwo\n^~~\na.opt:3:1: error: third\nthree\n^~~~~\n"
    "a.opt:1:1: note: of the third\none\n^~~\nb.opt:1:1: error: other file\nx\n^\nerror: nowhere\n");
  CU_ASSERT_EQUAL(diag_errors(d), 4);
  arena_free(a);
}

static void test_tabs_and_wide_characters_keep_the_caret_below_its_place(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  Source s = source_of("\t\xce\xb2 = x\x01\xff y");
  diag_error(d, find(&s, "y"), "here");
  EQUAL(text_of(a, d, false), "a.opt:1:11: error: here\n\t\xce\xb2 = x\xef\xbf\xbd\xef\xbf\xbd y\n\t        ^\n");
  arena_free(a);
}

static void test_a_long_line_is_clipped_around_the_caret(void) {
  Arena *a = arena_new(NULL, 0);
  char *line = malloc(1 << 20);
  memset(line, 'a', 1 << 20);
  line[500000] = 'Z';
  Source s = {"a.opt", line, 1 << 20};
  Diag *d = diag_new(a, 0);
  diag_error(d, (Range){&s, 500000, 900000}, "long");
  const char *out = text_of(a, d, false), *shown = strchr(out, '\n') + 1, *marks = strchr(shown, '\n') + 1;
  CU_ASSERT(strlen(out) < 400);
  CU_ASSERT(!strncmp(out, "a.opt:1:500001: error: long\n...aaa", 33));
  CU_ASSERT_EQUAL(strchr(shown, 'Z') - shown, strchr(marks, '^') - marks);
  free(line);
  arena_free(a);
}

static void test_a_place_at_the_end_of_a_line_or_of_the_text_has_a_caret(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  Source s = source_of("p =\r\nq");
  diag_error(d, (Range){&s, 3, 3}, "line end");
  diag_error(d, (Range){&s, 900, 901}, "beyond");
  EQUAL(text_of(a, d, false), "a.opt:1:4: error: line end\np =\n   ^\na.opt:2:2: error: beyond\nq\n ^\n");
  arena_free(a);
}

static void test_errors_beyond_the_limit_are_counted_not_kept(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 2);
  Source s = source_of("x");
  for (int i = 0; i < 5; i++) diag_error(d, (Range){&s, 0, 1}, "e%d", i), diag_note(d, (Range){&s, 0, 1}, "n%d", i), diag_fix(d, "f");
  CU_ASSERT_EQUAL(diag_errors(d), 5);
  CU_ASSERT_EQUAL(diag_count(d), 4);
  CU_ASSERT_PTR_NOT_NULL(strstr(text_of(a, d, false), "3 more errors not shown\n"));
  arena_free(a);
}

static void test_what_is_rewound_was_never_said(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 2);
  Source s = source_of("p = beta*m\n");
  diag_warning(d, find(&s, "p"), "first");
  for (int i = 0; i < 5; i++) diag_error(d, find(&s, "beta"), "%d", i);
  diag_note(d, find(&s, "m"), "of an error beyond the limit");
  diag_rewind(d, 1);
  CU_ASSERT_EQUAL(diag_errors(d), 0);
  CU_ASSERT_EQUAL(diag_count(d), 1);
  diag_error(d, find(&s, "beta"), "again");
  diag_note(d, find(&s, "m"), "here");
  CU_ASSERT_EQUAL(diag_errors(d), 1);
  CU_ASSERT_EQUAL(diag_count(d), 3);
  CU_ASSERT_STRING_EQUAL(diag_get(d, 2)->text, "here");
  arena_free(a);
}

static void test_json_is_well_formed_whatever_the_bytes(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  Source s = source_of("ab\ncd");
  s.name = "d\"ir\\a.opt";
  diag_error(d, (Range){&s, 1, 4}, "quote \" back \\ tab \t bell \a bad \xff ok \xce\xb2");
  diag_fix(d, "new\nline");
  diag_note(d, (Range){&s, 3, 5}, "note");
  diag_warning(d, (Range){NULL, 0, 0}, "no place");
  Text out = {.arena = a};
  diag_render_json(d, &out);
  json_t *all = json_loads(out.data, 0, NULL), *e = json_array_get(all, 0), *notes = json_object_get(e, "notes");
  CU_ASSERT_EQUAL(json_array_size(all), 2);
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(e, "file")), "d\"ir\\a.opt");
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(e, "message")), "quote \" back \\ tab \t bell \a bad \xef\xbf\xbd ok \xce\xb2");
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(e, "fix")), "new\nline");
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(e, "level")), "error");
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(e, "line")), 1);
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(e, "column")), 2);
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(e, "end_line")), 2);
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(e, "end_column")), 2);
  CU_ASSERT_EQUAL(json_array_size(notes), 1);
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(json_array_get(notes, 0), "message")), "note");
  CU_ASSERT(json_is_null(json_object_get(json_array_get(all, 1), "file")));
  json_decref(all);
  Text empty = {.arena = a};
  diag_render_json(diag_new(a, 0), &empty);
  EQUAL(empty.data, "[]\n");
  arena_free(a);
}

static void test_the_nearest_name_within_a_third_of_its_length_is_suggested(void) {
  static const char *const names[] = {"beta1", "beta2", "exp_avg", "decay", "lr", "state"};
  static const struct { const char *word, *want; } rows[] = {
    {"beta", "beta1"}, {"bta2", "beta2"}, {"exp_av", "exp_avg"}, {"xep_avg", "exp_avg"}, {"dceay", "decay"}, {"stat", "state"}, {"rl", "lr"}, {"l", NULL},
    {"zzz", NULL}, {"momentum", NULL}, {"", NULL}, {"lrx", "lr"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *got = suggest_word(rows[i].word, names, sizeof names / sizeof *names);
    if ((got != NULL) != (rows[i].want != NULL) || (got && strcmp(got, rows[i].want))) printf("\n'%s': got %s\n", rows[i].word, got ? got : "none");
    CU_ASSERT((got == NULL) == (rows[i].want == NULL) && (!got || !strcmp(got, rows[i].want)));
  }
  char huge[200];
  memset(huge, 'a', 199);
  huge[199] = 0;
  CU_ASSERT_PTR_NULL(suggest_word(huge, names, 6));
}

static void report_much(Arena *a, void *self) {
  Source *s = self;
  Diag *d = diag_new(a, 1000);
  for (int i = 0; i < 1000; i++) diag_error(d, (Range){s, 0, 1}, "error %d", i);
  Text out = {.arena = a};
  diag_render_text(d, &out, true);
  diag_render_json(d, &out);
}

static void test_no_memory_at_any_allocation_neither_crashes_nor_leaks(void) {
  Source s = source_of("x = 1");
  CU_ASSERT(failing_allocator_try_all(report_much, &s, 1000) > 2);
}

int main(void) {
  static const SuiteTest tests[] = {
    {"an error shows its line, range, note and fix", test_an_error_shows_its_line_range_note_and_fix},
    {"messages come in order of place, with warnings and notes", test_messages_come_in_order_of_place_with_warnings_and_notes},
    {"tabs and wide characters keep the caret below its place", test_tabs_and_wide_characters_keep_the_caret_below_its_place},
    {"a long line is clipped around the caret", test_a_long_line_is_clipped_around_the_caret},
    {"a place at the end of a line or of the text has a caret", test_a_place_at_the_end_of_a_line_or_of_the_text_has_a_caret},
    {"errors beyond the limit are counted, not kept", test_errors_beyond_the_limit_are_counted_not_kept},
    {"JSON is well formed whatever the bytes", test_json_is_well_formed_whatever_the_bytes},
    {"what is rewound was never said", test_what_is_rewound_was_never_said},
    {"the nearest name within a third of its length is suggested", test_the_nearest_name_within_a_third_of_its_length_is_suggested},
    {"no memory at any allocation neither crashes nor leaks", test_no_memory_at_any_allocation_neither_crashes_nor_leaks},
  };
  return suite_run("diag", tests);
}
