/* runtime_ptx_faults_test.c: faults planted into the PTX of shipped rules: each is refused as text, reported by the executor, or gives other bits than the CPU. And what is no
 * fault, another order of blocks and warps, gives the same bits. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include "backends/ptx/ptx.h"
#include "runtime/cuda.h"
#include "runtime/interp.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/object_file.h"
#include "tests/support/suite.h"
#include "tests/support/trial.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
static const DrillWay plain = {0};

/* --- one rule, and data that it takes ---------------------------------------------------------------------------------------------------------- */
/* Which fusions of a product and a sum show: where the kernel form has no multiply-add at all, each, by the text. Elsewhere results have to differ, and what is multiplied by 1 is
 * rounded to the same number: one block of keys has nothing to be rescaled. */
typedef enum Shows { SHOW_ALL, SHOW_SOME } Shows;
static const struct { ShippedRule rule; Shows fusions; } subjects[] = {
  {{"rules/adamw.opt", "adamw"}, SHOW_ALL}, {{"rules/lamb.opt", "lamb"}, SHOW_ALL}, {{"rules/lamb.opt", "lamb_nv"}, SHOW_ALL}, {{"rules/clip.opt", "clip_adamw_amp"}, SHOW_ALL},
  {{"rules/adafactor.opt", "adafactor"}, SHOW_ALL}, {{"rules/attention.opt", "attention_causal"}, SHOW_SOME},
};

enum { DATA = 5, LONG = 2 };            /* data set LONG has a tensor of two chunks, for one block: so its seed says */
typedef struct Subject {
  const ShippedRule *shipped;
  optc_rule *code, *ptx;
  Trial *trial[DATA];                    /* the CPU's bits are kept; made where they are needed */
  char *text;
} Subject;

static bool subject_open(Subject *s, const ShippedRule *r, uint64_t seed) {
  optc_compile_options yardstick = {.size = sizeof yardstick, .level = 0, .rule = r->name}, options = {.size = sizeof options, .level = 2, .backend = OPTC_BACKEND_PTX, .rule = r->name, .seed = seed};
  *s = (Subject){.shipped = r, .code = shipped_compile(r, &yardstick), .ptx = shipped_compile(r, &options)};
  if (!s->code || !s->ptx) return false;
  s->text = strdup(s->ptx->gpu->targets[0].text);
  return true;
}

static void subject_close(Subject *s) {
  for (int d = 0; d < DATA; d++) if (s->trial[d]) trial_free(s->trial[d]);
  optc_rule_free(s->code);
  optc_rule_free(s->ptx);
  free(s->text);
}

/* Each has another of the rule's sizes long, where it may be. */
static Trial *data(Subject *s, int d) {
  int n = trial_sizes(s->code->desc);
  TrialPlan plan = {.seed = (uint64_t)d + 1, .data = TRIAL_DENSE, .steps = 3, .item = {{2, {d == LONG ? 150 : 24, 70}}, {1, {d == LONG ? 70000 : 1500}}, {0}, {3, {2, 3, 4}}}, .n_items = 4,
    .long_size = n ? n - 1 - d%n : 0, .length = !n ? 0 : d == 1 ? 300 : 100};
  DrillRule form = drill_rule(s->code);
  if (s->trial[d]) return s->trial[d];
  s->trial[d] = trial_new(&form, &plan);
  plan.length = 0;
  if (!s->trial[d]) s->trial[d] = trial_new(&form, &plan);
  CU_ASSERT_PTR_NOT_NULL_FATAL(s->trial[d]);
  trial_keep(s->trial[d]);
  return s->trial[d];
}

/* What a text in place of the rule's own does on data, in an order for each: what the executor says, or how the bits differ from the CPU's; NULL: neither. */
static const char *run(Subject *s, int d) {
  DrillRule executed = drill_rule(s->ptx);
  Trial *t = data(s, d);
  s->ptx->seed += (uint64_t)d;
  s->ptx->n_findings = 0;
  s->ptx->finding[0] = 0;
  trial_run(t, &executed, &plain);
  s->ptx->seed -= (uint64_t)d;
  return s->ptx->n_findings ? s->ptx->finding : trial_difference(t);
}

/* On the first `most` data sets, until one shows something. */
static const char *outcome(Subject *s, const char *text, int most) {
  static char said[512];
  Arena *arena = arena_new(NULL, 0);
  Source source = {"changed.ptx", text, strlen(text)};
  const PtxModule *module = ptx_load(arena, diag_new(arena, 0), &source, PTX_STRICT);
  const char *found = module ? NULL : "refused";
  if (module) CU_ASSERT(interp_replace_ptx(s->ptx, module));
  for (int d = 0; d < most && !found; d++) found = run(s, d);
  if (found) snprintf(said, sizeof said, "%s", found);
  arena_free(arena);
  return found ? said : NULL;
}

/* --- faults: a change at the k-th place of a kernel's text; false: there are fewer ------------------------------------------------------------- */
typedef struct Edit { const char *at; size_t n; char to[256]; } Edit;      /* n bytes there give way */
typedef bool Fault(const char *text, int k, Edit *);

static const char *next_line(const char *at) { return strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL; }
static size_t line_length(const char *at) { return strcspn(at, "\n"); }

static int line_of(const char *text, const char *at) {
  int n = 1;
  for (; text < at; text++) n += *text == '\n';
  return n;
}

static const char *nth_line(const char *text, int k, bool (*is)(const char *line)) {
  for (const char *at = text; at && *at; at = next_line(at))
    if (is(at) && !k--) return at;
  return NULL;
}

static bool starts(const char *line, const char *word) {
  line += strspn(line, " \t");
  return !strncmp(line, word, strlen(word));
}

static bool is_barrier(const char *line) { return starts(line, "bar.sync") || starts(line, "barrier.sync") || starts(line, "bar.warp.sync"); }
static bool removed_barrier(const char *text, int k, Edit *e) {
  e->at = nth_line(text, k, is_barrier);
  if (!e->at) return false;
  e->n = line_length(e->at);
  e->to[0] = 0;
  return true;
}

/* The mask is the last operand. */
static bool is_shuffle(const char *line) { return starts(line, "shfl.sync"); }
static bool half_a_mask(const char *text, int k, Edit *e) {
  const char *line = nth_line(text, k, is_shuffle);
  if (!line) return false;
  e->at = memrchr(line, ',', line_length(line));
  e->n = line_length(e->at);
  strcpy(e->to, ", 65535;");
  return true;
}

static bool is_store(const char *line) { return starts(line, "st.") && !starts(line, "st.local") && !starts(line, "st.shared") && !starts(line, "st.param"); }
static int bytes_of(const char *op) {
  int bits = 0, times = 1;
  for (const char *at = op; *at != ' ' && *at != '\t'; at++) {
    if (!strncmp(at, ".v2", 3)) times = 2;
    if (!strncmp(at, ".v4", 3)) times = 4;
    if (*at == '.' && strchr("ubfs", at[1])) bits = atoi(at + 2);
  }
  return times*bits/8;
}
static bool store_too_far(const char *text, int k, Edit *e) {
  const char *line = nth_line(text, k, is_store);
  if (!line) return false;
  e->at = strchr(line, '[');
  e->n = strcspn(e->at, "]");
  size_t base = strcspn(e->at, "+]");
  snprintf(e->to, sizeof e->to, "%.*s+%d", (int)base, e->at, (e->at[base] == '+' ? atoi(e->at + base + 1) : 0) + bytes_of(line + strspn(line, " \t")));
  return true;
}

/* mul d, x, y; ... add e, d, z becomes fma e, x, y, z. */
typedef struct Operands { char d[32], a[48], b[48]; } Operands;
static bool reads(const char *line, const char *format, Operands *o) { return sscanf(line, format, o->d, o->a, o->b) == 3; }
static bool fusion(const char *text, int k, Edit *e) {
  Operands mul = {.d = ""}, add, other;
  for (const char *at = text; at && *at; at = next_line(at)) {
    if (reads(at, " mul.rn.f32 %31[^,], %47[^,], %47[^;];", &other)) mul = other;
    if (!reads(at, " add.rn.f32 %31[^,], %47[^,], %47[^;];", &add) || (strcmp(add.a, mul.d) && strcmp(add.b, mul.d)) || k--) continue;
    e->at = at;
    e->n = line_length(at);
    snprintf(e->to, sizeof e->to, "\tfma.rn.f32 %s, %s, %s, %s;", add.d, mul.a, mul.b, strcmp(add.a, mul.d) ? add.a : add.b);
    return true;
  }
  return false;
}

static bool is_rounded(const char *line) { return starts(line, "add.rn.f") || starts(line, "mul.rn.f") || starts(line, "sub.rn.f") || starts(line, "fma.rn.f"); }
static bool missing_rounding(const char *text, int k, Edit *e) {
  const char *line = nth_line(text, k, is_rounded);
  if (!line) return false;
  *e = (Edit){.at = strstr(line, ".rn"), .n = 3};
  return true;
}

/* --- all of them ------------------------------------------------------------------------------------------------------------------------------ */
enum { MOST_PLACES = 6, MOST_KERNELS = 64 };

/* The parts of a text that are worth a fault: kernels that work on tensors, each with a zero byte behind it. */
typedef struct Part { size_t at, n; char *text; bool fuses; } Part;
static int find_parts(const Subject *s, Part *parts) {
  int n = 0;
  const char *at = s->text;
  for (int64_t e = 0; e < s->ptx->desc->n_entries; e++)
    for (int64_t k = 0; k < s->ptx->desc->entries[e].n_kernels && n < MOST_KERNELS; k++) {
      int64_t launch = s->ptx->desc->entries[e].kernels[k].launch;
      const char *entry = s->ptx->desc->entries[e].name;
      bool works = launch == LAUNCH_ITEM || launch == LAUNCH_CHUNK || launch == LAUNCH_TILE || launch == LAUNCH_TOTAL;
      at = strstr(at, ".entry ");
      CU_ASSERT_PTR_NOT_NULL_FATAL(at);
      const char *end = strstr(at + 1, ".entry ");
      size_t length = end ? (size_t)(end - at) : strlen(at);
      if (works && strcmp(entry, "init") && strcmp(entry, "layout")) parts[n++] = (Part){(size_t)(at - s->text), length, strndup(at, length), interp_ptx_fuses(s->ptx, e, k)};
      at++;
    }
  return n;
}

/* All of the text, with `n` bytes at a place of a part replaced. */
static char *changed(const Subject *s, const Part *p, const char *at, size_t n, const char *to) {
  size_t before = p->at + (size_t)(at - p->text);
  char *made;
  CU_ASSERT_FATAL(asprintf(&made, "%.*s%s%s", (int)before, s->text, to, s->text + before + n) > 0);
  return made;
}

/* Whether the data gets there at all: a trap is found. */
static bool reached(Subject *s, const Part *p, const char *at) {
  while (at > p->text && at[-1] != '\n') at--;
  char *text = changed(s, p, at, 0, "\ttrap;\n");
  bool found = outcome(s, text, 1) != NULL;
  free(text);
  return found;
}

/* What text alone shows: a multiply-add where the kernel form has none. */
static const char *fuses_unasked(const char *text, const Part *p) {
  const char *from = text + p->at, *end = strstr(from + 1, ".entry "), *at = strstr(from, "fma.rn.f");
  return !p->fuses && at && (!end || at < end) ? "a multiply-add that the kernel form has not" : NULL;
}

typedef struct Tally { int tried, found, unreached; } Tally;
static void plant(Subject *s, const char *name, const Part *p, const Edit *e, Tally *t) {
  char *text = changed(s, p, e->at, e->n, e->to);
  const char *how = fuses_unasked(text, p);
  if (!how) how = outcome(s, text, DATA);
  bool there = how || reached(s, p, e->at);
  *(there ? &t->tried : &t->unreached) += 1;
  t->found += how != NULL;
  if (getenv("OPTC_TEST_TIMES") || (there && !how))
    printf("\n%s, %s, %.*s, +%d: %.*s: %s\n", s->shipped->name, name, (int)strcspn(p->text, "("), p->text, line_of(p->text, e->at), (int)line_length(e->at), e->at, !there ? "not reached" : how ? how : "not found");
  free(text);
}

/* Up to MOST_PLACES of each kernel, spread over it. */
static void plant_all(Subject *s, const char *name, Fault *fault, Tally *t) {
  Part parts[MOST_KERNELS];
  int n_parts = find_parts(s, parts);
  for (int p = 0; p < n_parts; p++) {
    Edit e;
    int n = 0;
    CU_ASSERT_PTR_NULL(fuses_unasked(s->text, &parts[p]));
    while (fault(parts[p].text, n, &e)) n++;
    for (int k = 0, some = n < MOST_PLACES ? n : MOST_PLACES; k < some; k++) {
      CU_ASSERT_FATAL(fault(parts[p].text, k*n/some, &e));
      plant(s, name, &parts[p], &e, t);
    }
    free(parts[p].text);
  }
}

static void all_are_found(const char *name, Fault *fault) {
  Tally all = {0};
  for (int i = 0; i < COUNT(subjects); i++) {
    Subject s;
    Tally t = {0};
    /* A barrier before what the same thread wrote, or between work entries of which the block here has one, orders nothing. */
    Shows shows = fault == fusion ? subjects[i].fusions : fault == removed_barrier ? SHOW_SOME : SHOW_ALL;
    if (subject_open(&s, &subjects[i].rule, 0)) {
      CU_ASSERT_PTR_NULL(outcome(&s, s.text, DATA));
      plant_all(&s, name, fault, &t);
    }
    subject_close(&s);
    CU_ASSERT(shows == SHOW_ALL ? t.found == t.tried : !t.tried || t.found > 0);
    all = (Tally){all.tried + t.tried, all.found + t.found, all.unreached + t.unreached};
  }
  printf("\n%s: %d of %d found; %d more stand where these data do not lead\n", name, all.found, all.tried, all.unreached);
  CU_ASSERT(all.tried > 0);
}

static void a_removed_barrier(void) { all_are_found("a removed barrier", removed_barrier); }
static void a_wrong_shuffle_mask(void) { all_are_found("a wrong shuffle mask", half_a_mask); }
static void a_store_one_element_too_far(void) { all_are_found("a store one element too far", store_too_far); }
static void fma_in_place_of_mul_and_add(void) { all_are_found("fma in place of mul, add", fusion); }
static void a_missing_rounding(void) { all_are_found("a missing .rn", missing_rounding); }

/* --- what is no fault --------------------------------------------------------------------------------------------------------------------------- */
static void another_order_of_blocks_and_warps(void) {
  for (int i = 0; i < COUNT(subjects); i++)
    for (uint64_t seed = 1; seed < 4; seed++) {
      Subject s;
      if (subject_open(&s, &subjects[i].rule, seed)) {
        const char *how = outcome(&s, s.text, 1);
        if (how) printf("\n%s, seed %d: %s\n", subjects[i].rule.name, (int)seed, how);
        CU_ASSERT_PTR_NULL(how);
      }
      subject_close(&s);
    }
}

static void the_command_takes_a_seed(void) {
  char *command = realpath(getenv("OPTC") ? getenv("OPTC") : "build/optc", NULL), *here = realpath(".", NULL);
  CU_ASSERT_FATAL(command && here);
  CU_ASSERT_EQUAL(scratch_run("cd '%s' && '%s' check tests/golden/optim/lamb.json --seed 7", here, command), 0);
  CU_ASSERT_EQUAL(scratch_run("cd '%s' && '%s' check tests/golden/optim/lamb.json --seed x", here, command) != 0, 1);
  free(command);
  free(here);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(a_removed_barrier), TEST(a_wrong_shuffle_mask), TEST(a_store_one_element_too_far), TEST(fma_in_place_of_mul_and_add), TEST(a_missing_rounding), TEST(another_order_of_blocks_and_warps), TEST(the_command_takes_a_seed),
  };
  return suite_run("shipped rules as PTX with planted faults", tests);
}
