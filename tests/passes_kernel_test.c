/* passes_kernel_test.c: lowering, pipelines and kernel passes: shapes before and after, and the same bits whatever runs in whatever order. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend.h"
#include "passes/pass.h"
#include "passes/passes.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/fixture.h"
#include "tests/support/sample.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/world.h"

static const int64_t counts[] = {1300, 0, 1, 700, 17};
enum { ITEMS = sizeof counts / sizeof counts[0] };

static bool lower_with(Unit *u, const char *text) {
  Pipeline p;
  return pipeline_parse(u->arena, u->diag, text, &p) && pipeline_run(u, &p, &(PassTrace){.verify_each = true});
}

static Unit unit_of(Arena *a, Sample which) {
  Diag *d = diag_new(a, 0);
  Module *m = sample_module(a, d, which);
  return (Unit){.module = m, .arena = a, .diag = d, .graph = m->graphs[0]};
}

static void show_diag(const Unit *u) {
  Text t = {.arena = u->arena};
  text_append(&t, "", 0);
  diag_render_text(u->diag, &t, false);
  printf("\n%s", t.data);
}

static const char *text_of(const Program *p) {
  Text t = {.arena = p->arena};
  program_print(p, &t);
  return t.data;
}

static unsigned count_ops(const Block *b, KOp op) {
  unsigned n = 0;
  for (unsigned i = 0; b && i < b->n; i++) n += (b->insts[i]->op == op) + count_ops(b->insts[i]->body, op) + count_ops(b->insts[i]->otherwise, op);
  return n;
}

/* --- the same bits --------------------------------------------------------------------------------------------------------------- */

/* Values that take every condition of a sample both ways. */
static void choose_hypers(World *w, unsigned variant) {
  for (unsigned k = 0; k < w->module->n_hypers; k++) {
    Type type = w->module->hypers[k].type;
    if (type == TYPE_BOOL) world_set_hyper(w, k, variant >> k & 1);
    else if (type == TYPE_I64) world_set_hyper(w, k, (double)variant - 1);
    else if (variant & 1) world_set_hyper(w, k, 0);
  }
}

static void expect_same(const World *want, const World *start, const Program *p, const char *sample, const char *passes_run) {
  World *w = world_copy(start);
  world_run_program(w, p);
  const char *difference = world_difference(want, w);
  if (difference) { printf("\n%s after %s: %s\n%s", sample, passes_run, difference, text_of(p)); CU_FAIL("other bits"); }
}

static void pipeline_keeps_bits(Sample which, const char *text) {
  Arena *a = arena_new(NULL, 0);
  Unit u = unit_of(a, which), plain = unit_of(a, which);
  bool good = lower_with(&u, text) && lower_with(&plain, "");
  if (!good) { printf("%s", text); show_diag(&u); }
  CU_ASSERT(good);
  if (good) {
    Graph *g = expand_graph(u.module->graphs[0]);
    for (unsigned variant = 0; variant < 8; variant++) {
      World *start = world_new(u.module, a, 11 + variant, ITEMS, counts);
      choose_hypers(start, variant);
      World *want = world_copy(start);
      world_run_graph(want, g);
      expect_same(want, start, plain.program, sample_names[which], "lower");
      expect_same(want, start, u.program, sample_names[which], text);
    }
  }
  arena_free(a);
}

static void every_pass_keeps_every_bit(void) {
  static const char *const pipelines[] = {
    "", "expand,lower,cleanup", "expand,lower,fuse", "expand,lower,parallel", "expand,lower,vectorise", "expand,lower,unswitch", "expand,lower,hoist",
    "expand,lower,parallel,hoist", "expand,lower,fuse,parallel,hoist,unswitch,vectorise", "expand,lower,fuse,unswitch(limit=2)", "expand,lower,vectorise(lanes=4,unroll=1),fuse",
    "expand,lower,fuse,parallel,hoist,hoist,cleanup,fuse", "expand,canon,fold,algebra,fold,dce,narrow,dce,lower,fuse,cleanup,parallel,hoist,unswitch,cleanup,vectorise",
  };
  for (unsigned s = 0; s < SAMPLE_COUNT; s++)
    for (size_t k = 0; k < sizeof pipelines / sizeof pipelines[0]; k++) pipeline_keeps_bits((Sample)s, pipelines[k]);
}

static void kernel_passes_commute_with_the_meaning(void) {
  static const char *const names[] = {"fuse", "cleanup", "parallel", "hoist", "unswitch", "vectorise", "unswitch(limit=3)", "vectorise(lanes=8)"};
  uint64_t state = 1;
  for (unsigned round = 0; round < 40; round++) {
    char text[200] = "expand,lower";
    for (unsigned k = 0; k < 6; k++) {
      strcat(text, ",");
      strcat(text, names[next_random(&state) % (sizeof names/sizeof *names)]);
    }
    pipeline_keeps_bits((Sample)(round % SAMPLE_COUNT), text);
  }
}

/* --- shapes ------------------------------------------------------------------------------------------------------------------------- */

static void adamw_is_one_loop_at_level_2(void) {
  Arena *a = arena_new(NULL, 0);
  Unit u = unit_of(a, SAMPLE_ADAMW);
  Pipeline p = pipeline_default(a, 2, false);
  CU_ASSERT_FATAL(pipeline_run(&u, &p, &(PassTrace){.verify_each = true}));
  CU_ASSERT_EQUAL_FATAL(u.program->n_kernels, 3);
  CU_ASSERT_EQUAL(u.program->kernels[0]->launch, LAUNCH_CHECK);
  CU_ASSERT_EQUAL(u.program->kernels[1]->launch, LAUNCH_GROUP);
  CU_ASSERT_EQUAL(u.program->kernels[2]->launch, LAUNCH_CHUNK);
  CU_ASSERT_EQUAL(u.program->n_temps, 0);
  CU_ASSERT(u.program->advances);
  const Block *body = u.program->kernels[2]->body;
  CU_ASSERT_EQUAL(count_ops(body, KOP_E_FOR), 1);
  CU_ASSERT_EQUAL(count_ops(body, KOP_E_LOAD), 4);
  CU_ASSERT_EQUAL(count_ops(body, KOP_E_STORE), 3);
  CU_ASSERT_EQUAL(count_ops(body, KOP_CAST), 0);
  const Inst *loop = body->insts[body->n - 1];
  CU_ASSERT(loop->op == KOP_E_FOR && loop->binding == BIND_VECTOR && loop->lanes == 16 && loop->unroll == 2);
  bool stored = false;
  for (unsigned i = 0; i < loop->body->n; i++) {
    if (loop->body->insts[i]->op == KOP_E_STORE) stored = true;
    if (loop->body->insts[i]->op == KOP_E_LOAD) CU_ASSERT_FALSE(stored);
  }
  arena_free(a);
}

static void level_0_is_one_temporary_a_write(void) {
  Arena *a = arena_new(NULL, 0);
  Unit u = unit_of(a, SAMPLE_ADAMW);
  Pipeline p = pipeline_default(a, 0, false);
  CU_ASSERT_EQUAL(p.n, 2);
  CU_ASSERT_FATAL(pipeline_run(&u, &p, &(PassTrace){.verify_each = true}));
  CU_ASSERT_EQUAL(u.program->n_temps, 3);
  CU_ASSERT_EQUAL(u.program->n_kernels, 7);
  arena_free(a);
}

static void no_guard_is_left_in_a_loop_after_unswitch(void) {
  Arena *a = arena_new(NULL, 0);
  Unit u = unit_of(a, SAMPLE_MOMENTUM);
  Pipeline p = pipeline_default(a, 2, false);
  CU_ASSERT_FATAL(pipeline_run(&u, &p, &(PassTrace){.verify_each = true}));
  const char *text = text_of(u.program);
  CU_ASSERT_EQUAL(u.program->n_temps, 0);
  CU_ASSERT_EQUAL(count_ops(u.program->kernels[u.program->n_kernels - 1]->body, KOP_E_FOR), 2);
  for (const char *at = text; (at = strstr(at, "store ")); at += 6) {
    unsigned commas = 0;
    for (const char *c = at; *c != '\n'; c++) commas += *c == ',';
    CU_ASSERT_EQUAL(commas, 2);          /* index and value */
  }
  arena_free(a);
}

static void global_hypers_must_agree(void) {
  Arena *a = arena_new(NULL, 0);
  Unit u = unit_of(a, SAMPLE_SCALARS);
  CU_ASSERT_FATAL(lower_with(&u, ""));
  CU_ASSERT_EQUAL(u.program->equal_hypers, 1);
  Unit v = unit_of(a, SAMPLE_ADAMW);
  CU_ASSERT_FATAL(lower_with(&v, ""));
  CU_ASSERT_EQUAL(v.program->equal_hypers, 0);
  arena_free(a);
}

/* Files of three parts: "passes and sample", before, after; parted by lines "====". */
static void passes_turn_before_into_after(void) {
  glob_t found;
  CU_ASSERT_EQUAL_FATAL(glob("tests/data/passes/*.kernels", 0, NULL, &found), 0);
  for (size_t k = 0; k < found.gl_pathc; k++) {
    Arena *a = arena_new(NULL, 0);
    const char *why;
    const Source *file = fixture_read(NULL, a, found.gl_pathv[k], &why);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char *text = arena_strndup(a, file->text, file->length);
    char *before = strstr(text, "====\n"), *after = before ? strstr(before + 5, "====\n") : NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(after);
    *before = *after = 0;
    before += 5;
    after += 5;
    unsigned s = 0;
    while (s < SAMPLE_COUNT && !strstr(text, sample_names[s])) s++;
    CU_ASSERT_FATAL(s < SAMPLE_COUNT);
    char *passes_text = strstr(text, "passes: ") + 8;
    *strchr(passes_text, '\n') = 0;
    Unit u = unit_of(a, (Sample)s);
    Source source = {found.gl_pathv[k], before, strlen(before)};
    u.program = program_parse(u.module, a, u.diag, &source);
    bool good = u.program && program_verify(u.program, u.diag);
    Source again = source;
    Program *original = good ? program_parse(u.module, a, u.diag, &again) : NULL;
    good = good && lower_with(&u, passes_text);
    if (!good) show_diag(&u);
    CU_ASSERT(good);
    if (good && strcmp(text_of(u.program), after)) { printf("\n%s:\n%s", found.gl_pathv[k], text_of(u.program)); CU_FAIL("another text"); }
    if (good)
      for (unsigned variant = 0; variant < 4; variant++) {
        World *start = world_new(u.module, a, 5 + variant, ITEMS, counts);
        choose_hypers(start, variant);
        World *want = world_copy(start);
        world_run_program(want, original);
        expect_same(want, start, u.program, found.gl_pathv[k], passes_text);
      }
    arena_free(a);
  }
  globfree(&found);
}

/* --- pipelines ------------------------------------------------------------------------------------------------------------------------ */

static void pipeline_errors_are_told(void) {
  static const struct { const char *text, *says; } bad[] = {
    {"fusse", "did you mean 'fuse'"}, {"fuse,", "unknown pass ''"}, {"fuse vectorise", "expected ','"}, {"vectorise(width=3)", "lanes, unroll or limit"},
    {"fuse(lanes=4)", "pass 'fuse' takes no 'lanes'"}, {"vectorise(lanes=3)", "power of 2"}, {"vectorise(lanes=9999999999999999999)", "1 to 64"}, {"vectorise(lanes=4", "expected ',' or ')'"}, {"vectorise(lanes)", "expected '='"},
    {"fuse", "'lower' must run before"}, {"expand,lower,lower", "has run before"}, {"expand,lower,canon", "must run before 'lower'"}, {"lower", "'expand' must run"},
  };
  for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
    Arena *a = arena_new(NULL, 0);
    Unit u = unit_of(a, SAMPLE_ADAMW);
    CU_ASSERT_FALSE(lower_with(&u, bad[k].text));
    CU_ASSERT_FATAL(diag_count(u.diag) > 0);
    if (!strstr(diag_get(u.diag, 0)->text, bad[k].says)) { printf("\n%s: %s\n", bad[k].text, diag_get(u.diag, 0)->text); CU_FAIL("another message"); }
    arena_free(a);
  }
}

static void lowering_refuses_what_it_cannot_do(void) {
  Arena *a = arena_new(NULL, 0);
  Unit u = unit_of(a, SAMPLE_SWAP);
  Graph *g = u.graph;
  const Node *sum = graph_node(g, OP_REDUCE, TYPE_F32, graph_scalar_space(g), 1, REDUCE_SUM, 1, &g->writes[0].value);
  graph_require(g, "sum < 0", graph_op2(g, OP_LT, sum, graph_f32(g, 0)), 0, NULL, NULL);
  CU_ASSERT_FALSE(lower_with(&u, ""));
  CU_ASSERT_FATAL(diag_count(u.diag) > 0);
  CU_ASSERT_PTR_NOT_NULL(strstr(diag_get(u.diag, 0)->text, "cannot depend on the elements of a tensor"));
  arena_free(a);
}

/* Panels hold what they were widened from where nothing else stands in them, in those they meet and in squares that are transposed into them. */
static void fast_narrows_panels_that_hold_nothing_else(void) {
  static const char head[] = "program step {\n temp pa: f32\n temp pb: f32\n temp sq: f32 local 256\n kernel k item {\n  %1 = const i64 0x0\n  %2 = const i64 0x10\n  %3 = const bool 0x0\n"
    "  %4 = load bf16 x@0, %1\n  %5 = cast f32 %4\n  %6 = load f16 y@1, %1\n  %7 = cast f32 %6\n  %8 = load f32 z@2, %1\n";
  static const char tail[] = "  tile_contract c@3, pa@4, pb@5, z@2, %1, %2, %2, %2, %1, %1, %2, %3, %1, %2\n }\n}\n";
  static const struct { const char *body, *types[3]; } rows[] = {
    {"  store pa@4, %1, %5\n  store pb@5, %1, %5\n", {"bf16", "bf16", "f32"}},
    {"  store pa@4, %1, %7\n  store pb@5, %1, %7\n  store pb@5, %2, %7\n", {"f16", "f16", "f32"}},
    {"  store pa@4, %1, %5\n  store sq@6, %1, %5\n  tile_transpose pb@5, sq@6, %1, %2, %1, %2, %2, %2\n", {"bf16", "bf16", "bf16"}},
    {"  store pa@4, %1, %5\n  store pb@5, %1, %7\n", {"f32", "f32", "f32"}},                           /* of two types */
    {"  store pa@4, %1, %5\n  store pb@5, %1, %8\n", {"f32", "f32", "f32"}},                           /* one is f32 itself */
    {"  store pa@4, %1, %5\n  store pb@5, %1, %5\n  store pb@5, %2, %8\n", {"f32", "f32", "f32"}},      /* in part */
    {"  store pa@4, %1, %5\n  store sq@6, %1, %8\n  tile_transpose pb@5, sq@6, %1, %2, %1, %2, %2, %2\n", {"f32", "f32", "f32"}},
    {"  store pa@4, %1, %5\n  store pb@5, %1, %5\n  %9 = load f32 pa@4, %1\n  store c@3, %1, %9\n", {"f32", "f32", "f32"}},      /* read by others */
  };
  static Operand operands[] = {{.name = "x", .storage = TYPE_BF16, .role = ROLE_IN, .item_shape = true}, {.name = "y", .storage = TYPE_F16, .role = ROLE_IN, .item_shape = true},
                               {.name = "z", .storage = TYPE_F32, .role = ROLE_IN, .item_shape = true}, {.name = "c", .storage = TYPE_F32, .role = ROLE_INOUT, .item_shape = true}};
  for (size_t k = 0; k < sizeof rows/sizeof rows[0]; k++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    Module m = {.arena = a, .diag = d, .name = "panels", .operands = operands, .n_operands = 4, .has_step = true};
    char *text = arena_printf(a, "%s%s%s", head, rows[k].body, tail);
    Unit u = {.module = &m, .arena = a, .diag = d, .program = program_parse(&m, a, d, &(Source){"panels", text, strlen(text)})};
    bool good = u.program && program_verify(u.program, d);
    if (!good) show_diag(&u);
    CU_ASSERT_FATAL(good);
    pass_fast(&u, &(PassArgs){0});
    for (unsigned t = 0; t < 3; t++) CU_ASSERT_STRING_EQUAL(type_name(u.program->temps[t].type), rows[k].types[t]);
    CU_ASSERT_EQUAL(count_ops(u.program->kernels[0]->body, KOP_E_TILE), 0);
    CU_ASSERT_EQUAL(count_ops(u.program->kernels[0]->body, KOP_E_TILE_FAST), 1);
    kernel_number(u.program->kernels[0]);
    CU_ASSERT(program_verify(u.program, d));
    arena_free(a);
  }
}

/* The room of a value is made before tensors are read and before a loop runs. */
static void extents_of_what_is_kept_are_known_before(void) {
  static const struct { const char *body, *says; } bad[] = {
    {"s[i < len[0]] = x[i]; s[0] = 1; y[i] = s[i]", "made before tensors are read: an extent may not depend on their elements"},
    {"n = 1; scan i { n += 1; s[k < n] = x[k]*2; s[0] = 1; y[i] = sum(s) }", "made before the loop: an extent may not change from trip to trip"},
    {"y[i] = sum[j < len[0]](x[j])", NULL},                               /* nothing is kept */
  };
  for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    const char *text = arena_printf(a, "rule r() { in x[N], len[N]: i32; out y[N]\n%s }\n", bad[k].body);
    Source *source = arena_alloc(a, sizeof *source);
    *source = (Source){"a.opt", text, strlen(text)};
    const FrontendOptions options = {.read = fixture_no_files};
    const FileSet *files = frontend_load(a, d, source, &options);
    Module *m = files ? frontend_lower(a, d, files, &options) : NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    expand_shapes(m);
    Unit u = {.module = m, .arena = a, .diag = d, .graph = (Graph *)module_graph(m, "forward")};
    CU_ASSERT_EQUAL(lower_with(&u, ""), bad[k].says == NULL);
    const char *said = diag_count(d) ? diag_get(d, 0)->text : "nothing";
    if (bad[k].says && !strstr(said, bad[k].says)) { printf("\n%s: %s\n", bad[k].body, said); CU_FAIL("another message"); }
    arena_free(a);
  }
}

typedef struct Trace { unsigned printed, timed; bool has_program; } Trace;
static void note_printed(void *self, const char *entry, const char *pass, const char *text) {
  Trace *t = self;
  t->printed++;
  t->has_program |= !strcmp(pass, "lower") && !strcmp(entry, "step") && !strncmp(text, "program step", 12);
}
static void note_timed(void *self, const char *entry, const char *pass, double seconds) { ((Trace *)self)->timed += seconds >= 0; }

static void traces_see_every_pass(void) {
  Arena *a = arena_new(NULL, 0);
  Unit u = unit_of(a, SAMPLE_MOMENTUM);
  Pipeline p = pipeline_default(a, 2, false);
  Trace t = {0};
  PassTrace trace = {.print_after = "all", .time = true, .printed = note_printed, .timed = note_timed, .self = &t};
  CU_ASSERT(pipeline_run(&u, &p, &trace));
  CU_ASSERT_EQUAL(t.printed, p.n);
  CU_ASSERT_EQUAL(t.timed, p.n);
  CU_ASSERT(t.has_program);
  arena_free(a);
}

/* --- memory ----------------------------------------------------------------------------------------------------------------------------- */

static void whole_way(Arena *a, void *which) {
  Unit u = unit_of(a, *(Sample *)which);
  Pipeline p = pipeline_default(a, 2, false);
  CU_ASSERT(pipeline_run(&u, &p, &(PassTrace){.verify_each = true}));
}

static void every_allocation_may_fail(void) {
  for (Sample s = 0; s < SAMPLE_COUNT; s++) CU_ASSERT(failing_allocator_try_all(whole_way, &s, 1000) > 1);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(every_pass_keeps_every_bit),
    TEST(kernel_passes_commute_with_the_meaning),
    TEST(adamw_is_one_loop_at_level_2),
    TEST(level_0_is_one_temporary_a_write),
    TEST(no_guard_is_left_in_a_loop_after_unswitch),
    TEST(global_hypers_must_agree),
    TEST(passes_turn_before_into_after),
    TEST(fast_narrows_panels_that_hold_nothing_else),
    TEST(pipeline_errors_are_told),
    TEST(lowering_refuses_what_it_cannot_do),
    TEST(extents_of_what_is_kept_are_known_before),
    TEST(traces_see_every_pass),
    TEST(every_allocation_may_fail),
  };
  return suite_run("kernel passes", tests);
}
