/* runtime_explain_test.c: explain says what rules move, in words, as JSON and as a picture, for every rule that ships. */
#define _GNU_SOURCE
#include <dirent.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "tests/support/suite.h"

static optc_context *cx;
static int enter(void) { return !(cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""})); }
static int leave(void) { optc_context_free(cx); return 0; }

enum { TEXT, JSON, SVG, KINDS };
typedef struct Explained { optc_emission *e; const char *at[KINDS]; size_t size[KINDS]; } Explained;

static bool explain(Explained *x, const char *file, const char *rule, int level) {
  static const int kinds[] = {OPTC_EMIT_EXPLAIN, OPTC_EMIT_EXPLAIN_JSON, OPTC_EMIT_EXPLAIN_SVG};
  char path[300];
  snprintf(path, sizeof path, "rules/%s", file);
  optc_emit_options o = {.size = sizeof o, .kinds = kinds, .n_kinds = KINDS, .level = level, .rule = rule, .bandwidth = 10, .peak = 100, .peak_measured = 1};
  *x = (Explained){0};
  if (optc_emit_file(cx, path, &o, &x->e)) {
    fprintf(stderr, "%s, %s, -O%d: %s\n", file, rule, level, optc_context_diagnostics(cx));
    return false;
  }
  for (int k = 0; k < KINDS; k++) x->at[k] = optc_emission_data(x->e, k, &x->size[k]);
  return true;
}

/* --- JSON ---------------------------------------------------------------------------------------------------------------------------- */
static json_t *parse(const Explained *x) {
  json_error_t error;
  json_t *root = json_loadb(x->at[JSON], x->size[JSON], 0, &error);
  if (!root) fprintf(stderr, "line %d: %s\n", error.line, error.text);
  return root;
}

static json_t *entry_of(json_t *root, const char *name) {
  size_t i;
  json_t *e;
  json_array_foreach(json_object_get(root, "entries"), i, e) if (!strcmp(json_string_value(json_object_get(e, "entry")), name)) return e;
  return NULL;
}

static double number(json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

/* --- XML: elements close in order, attributes are quoted, entities are known -------------------------------------------------------- */
static const char *after_name(const char *s) {
  while (*s && !strchr(" />=", *s)) s++;
  return s;
}

/* Behind the attributes of a tag; NULL: they are not well-formed. */
static const char *after_attributes(const char *s) {
  for (;;) {
    while (*s == ' ') s++;
    if (*s == '/' || *s == '>' || *s == '?') return s;
    s = after_name(s);
    if (s[0] != '=' || s[1] != '"') return NULL;
    for (s += 2; *s != '"'; s++) if (!*s || *s == '<') return NULL;
    s++;
  }
}

static bool is_entity(const char *s) { return !strncmp(s, "&lt;", 4) || !strncmp(s, "&gt;", 4) || !strncmp(s, "&amp;", 5) || !strncmp(s, "&quot;", 6); }

static bool is_xml(const char *s) {
  struct { const char *at; size_t n; } open[64];
  int depth = 0, roots = 0;
  if (strncmp(s, "<?xml ", 6) || !(s = after_attributes(s + 6))) return false;
  for (s += 2; *s; s++) {
    if (*s == '&' && !is_entity(s)) return false;
    if (*s == '>' && !depth) return false;
    if (*s != '<') continue;
    bool closes = s[1] == '/';
    const char *name = s + 1 + closes, *end = after_name(name);
    size_t n = (size_t)(end - name);
    if (closes) {
      if (!depth || open[--depth].n != n || memcmp(open[depth].at, name, n) || *end != '>') return false;
      s = end;
      continue;
    }
    if (!n || !(end = after_attributes(end)) || depth == 64) return false;
    roots += !depth;
    if (*end == '/') end++;
    else open[depth].at = name, open[depth++].n = n;
    if (*end != '>') return false;
    s = end;
  }
  return !depth && roots == 1;
}

static void the_reader_of_xml_refuses_what_is_none(void) {
  static const char head[] = "<?xml version=\"1.0\"?>";
  static const struct { const char *text; bool good; } cases[] = {{"<a><b c=\"d\"/>x &lt; y</a>", true}, {"<a><b></a></b>", false}, {"<a>", false}, {"<a b=c/>", false}, {"<a>&x</a>", false},
    {"<a/><b/>", false}, {"<a b=\"<\"/>", false}, {"</a>", false}};
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    char text[128];
    snprintf(text, sizeof text, "%s%s", head, cases[i].text);
    CU_ASSERT_EQUAL(is_xml(text), cases[i].good);
  }
}

/* --- promises ------------------------------------------------------------------------------------------------------------------------ */
#define PRINTS(x, text) do { if (!strstr((x).at[TEXT], text)) fprintf(stderr, "no '%s' in:\n%.6000s", text, (x).at[TEXT]); CU_ASSERT_PTR_NOT_NULL(strstr((x).at[TEXT], text)); } while (0)

static void bytes_are_those_of_the_sweeps(void) {
  static const struct { const char *file, *rule; double bytes, least, sweeps; } cases[] = {
    {"adamw.opt", "adamw", 28, 28, 1}, {"lion.opt", "lion", 20, 20, 1}, {"lamb.opt", "lamb", 40, 28, 2}, {"lamb.opt", "lamb_nv", 48, 28, 3}, {"clip.opt", "clip_adamw_amp", 32, 28, 2},
    {"adamw_bf16.opt", "adamw_bf16_sr", 18, 18, 1}, {"mezo.opt", "mezo", 12, 12, 1}};
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    Explained x;
    CU_ASSERT_FATAL(explain(&x, cases[i].file, cases[i].rule, 2));
    json_t *root = parse(&x), *bytes = json_object_get(entry_of(root, "step"), "bytes");
    double moved = number(bytes, "read") + number(bytes, "written"), least = number(bytes, "least_read") + number(bytes, "least_written");
    if (moved < cases[i].bytes || moved > cases[i].bytes + 0.01) fprintf(stderr, "%s: %g bytes an element\n", cases[i].rule, moved);
    CU_ASSERT(moved >= cases[i].bytes && moved < cases[i].bytes + 0.01);            /* a partial a chunk is 8/65536 */
    CU_ASSERT_EQUAL(least, cases[i].least);
    CU_ASSERT_EQUAL(number(bytes, "sweeps"), cases[i].sweeps);
    CU_ASSERT(number(bytes, "least_for_sweeps") <= moved);
    json_t *predicted = json_object_get(entry_of(root, "step"), "predicted");
    CU_ASSERT_DOUBLE_EQUAL(number(predicted, "seconds"), 1e-10*moved, 1e-15);
    json_decref(root);
    optc_emission_free(x.e);
  }
}

static void reductions_are_told_with_why_they_cut(void) {
  Explained x;
  CU_ASSERT_FATAL(explain(&x, "lamb.opt", "lamb_nv", 2));
  PRINTS(x, "phase 3 of 3");
  PRINTS(x, "reduces g*g to one number a chunk (sum)");
  PRINTS(x, "a total over all tensors of the call comes between");
  PRINTS(x, "a reduction needs the whole tensor first");
  PRINTS(x, "adds up what the chunks left: partial_0, partial_1");
  PRINTS(x, "f64[chunks], one a chunk, 128 B");
  PRINTS(x, "on the stack");
  PRINTS(x, "ns an element at 10 GB/s (given)");
  optc_emission_free(x.e);
  CU_ASSERT_FATAL(explain(&x, "adafactor.opt", "adafactor", 2));
  PRINTS(x, "one room for the largest window");
  PRINTS(x, "a reduction along rows or columns comes first");
  PRINTS(x, "conditions that do not hold at these sizes");
  optc_emission_free(x.e);
}

static void contractions_are_counted_in_operations(void) {
  static const struct { const char *file, *rule, *entry; double least; } cases[] = {
    {"muon.opt", "muon", "step", 5*3*2.0*1024*1024*1024}, {"attention.opt", "attention", "forward", 2*2.0*4*16*1024*1024*64}};
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    Explained x;
    CU_ASSERT_FATAL(explain(&x, cases[i].file, cases[i].rule, 2));
    PRINTS(x, "GFLOP of contractions");
    PRINTS(x, "GFLOP/s for contractions (measured)");
    json_t *root = parse(&x), *kernel, *loop;
    size_t k, l;
    double work = 0;
    json_array_foreach(json_object_get(entry_of(root, cases[i].entry), "kernels"), k, kernel) {
      json_array_foreach(json_object_get(kernel, "loops"), l, loop) if (json_is_true(json_object_get(loop, "counted"))) work += number(loop, "contraction_flops");
    }
    if (work < 0.4*cases[i].least || work > 2.1*cases[i].least) fprintf(stderr, "%s: %g operations, dense %g\n", cases[i].rule, work, cases[i].least);
    CU_ASSERT(work >= 0.4*cases[i].least && work <= 2.1*cases[i].least);            /* half where symmetric products are halved; twice where a transposed one is kept too */
    json_decref(root);
    optc_emission_free(x.e);
  }
}

/* What the schedule does not take is said, with its time as loops have it: at 1 GFLOP/s, not at the peak of 100. */
static void plain_loops_are_told_and_timed(void) {
  static const char text[] = "rule r() { in A[M, M], k[1]: i32\n out C[M, M]\n X = A\n scan i < k[0] { X = X @ A }\n C = X }";
  static const int kinds[] = {OPTC_EMIT_EXPLAIN, OPTC_EMIT_EXPLAIN_JSON};
  optc_emit_options o = {.size = sizeof o, .kinds = kinds, .n_kinds = 2, .level = 2, .bandwidth = 10, .peak = 100};
  Explained x = {0};
  CU_ASSERT_FATAL(!optc_emit_memory(cx, "r.opt", text, sizeof text - 1, &o, &x.e));
  for (int k = 0; k < 2; k++) x.at[k] = optc_emission_data(x.e, k, &x.size[k]);
  PRINTS(x, "plain loops: how often a scan runs is not known from sizes and hyper-parameters");
  PRINTS(x, "hint: repeat to the largest number, and keep the rest by where(k < n, new, old)");
  json_t *root = parse(&x), *kernel, *loop;
  size_t k, l, plain = 0;
  json_array_foreach(json_object_get(entry_of(root, "forward"), "kernels"), k, kernel) {
    plain += json_is_object(json_object_get(kernel, "plain"));
    json_array_foreach(json_object_get(kernel, "loops"), l, loop)
      if (number(loop, "contraction_flops") > 0) CU_ASSERT_DOUBLE_EQUAL(number(loop, "seconds"), 1e-9*number(loop, "contraction_flops"), 1e-6);
  }
  CU_ASSERT(plain == 1);
  json_decref(root);
  optc_emission_free(x.e);
}

/* Names of the kernels of all entries that the picture has. */
static void check_picture(const Explained *x, json_t *root, const char *what) {
  char *svg = strndup(x->at[SVG], x->size[SVG]);
  size_t i, k;
  json_t *entry, *kernel;
  bool good = is_xml(svg);
  json_array_foreach(json_object_get(root, "entries"), i, entry) {
    if (!strcmp(json_string_value(json_object_get(entry, "entry")), "init")) continue;
    json_array_foreach(json_object_get(entry, "kernels"), k, kernel) {
      char name[256];
      snprintf(name, sizeof name, "  %s</text>", json_string_value(json_object_get(kernel, "name")));
      good &= strstr(svg, name) != NULL;
    }
  }
  if (!good) fprintf(stderr, "%s: the picture is broken, or lacks a kernel\n", what);
  CU_ASSERT(good);
  free(svg);
}

/* Loops are numbered as they are read, also where others refer to them; of a loop no line is told twice. */
static bool is_orderly(const char *text) {
  unsigned expected = 1, number, from;
  char before[1000] = "";
  for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
    size_t length = strcspn(at, "\n");
    const char *loop = at + strspn(at, " ");
    if (strstr(at, ", entry ") && strstr(at, ", entry ") < at + length && *at != ' ') expected = 1;
    if (sscanf(loop, "loop %u:", &number) == 1 && number != expected++) return false;
    if (sscanf(loop, "not fused with loop %u:", &from) == 1 && from >= expected - 1) return false;
    bool fold = !strncmp(loop, "reduces ", 8);
    if (fold && strlen(before) == length && !strncmp(before, at, length)) return false;
    snprintf(before, sizeof before, "%.*s", fold ? (int)length : 0, at);
  }
  return true;
}

static void extents_and_reductions_read_as_the_rule_does(void) {
  static const struct { const char *file, *rule, *has; } cases[] = {
    {"muon.opt", "muon", "R x C, 16 lanes"}, {"muon.opt", "muon", "(R + 255)//256*((R + 47)//48) positions"}, {"adagradnorm.opt", "adagradnorm_row", ": R x "}, {"attention.opt", "attention", "isnan("}, {"attention.opt", "attention", "f32[B*H*((M + 63)//64*64)*((D + 15)//16*16)]"},
    {"lamb.opt", "lamb_nv", "a reduction needs the whole tensor first (reduce_3, reduce_4)"}};
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) {
    Explained x;
    CU_ASSERT_FATAL(explain(&x, cases[i].file, cases[i].rule, 2));
    PRINTS(x, cases[i].has);
    CU_ASSERT(!strstr(x.at[TEXT], "shape["));
    optc_emission_free(x.e);
  }
}

static void check_rule(const char *file, const char *rule) {
  for (int level = 0; level <= 2; level += 2) {
    Explained x;
    bool done = explain(&x, file, rule, level);
    CU_ASSERT(done);
    if (!done) continue;
    json_t *root = parse(&x);
    CU_ASSERT_PTR_NOT_NULL(root);
    CU_ASSERT(x.size[TEXT] > 0);
    CU_ASSERT_PTR_NULL(strstr(x.at[TEXT], " nan"));
    bool orderly = is_orderly(x.at[TEXT]);
    if (!orderly) fprintf(stderr, "%s: loops out of order, or a reduction twice\n", rule);
    CU_ASSERT(orderly);
    check_picture(&x, root, rule);
    json_decref(root);
    optc_emission_free(x.e);
  }
}

static void every_rule_is_explained(void) {
  DIR *d = opendir("rules");
  unsigned n = 0;
  CU_ASSERT_PTR_NOT_NULL_FATAL(d);
  for (struct dirent *e; (e = readdir(d));) {
    size_t length = strlen(e->d_name);
    if (length < 4 || strcmp(e->d_name + length - 4, ".opt")) continue;
    char path[300], line[1024], rule[128];
    snprintf(path, sizeof path, "rules/%.255s", e->d_name);
    FILE *f = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    while (fgets(line, sizeof line, f))
      if (sscanf(line, "rule %127[A-Za-z0-9_]", rule) == 1) {
        check_rule(e->d_name, rule);
        n++;
      }
    fclose(f);
  }
  closedir(d);
  CU_ASSERT(n > 150);
}

int main(void) {
  static const SuiteTest tests[] = {TEST(the_reader_of_xml_refuses_what_is_none), TEST(bytes_are_those_of_the_sweeps), TEST(reductions_are_told_with_why_they_cut),
    TEST(contractions_are_counted_in_operations), TEST(extents_and_reductions_read_as_the_rule_does), TEST(plain_loops_are_told_and_timed), TEST(every_rule_is_explained)};
  return suite_run_with("explain", tests, enter, leave);
}
