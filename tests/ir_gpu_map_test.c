/* ir_gpu_map_test.c: which loops of a kernel threads of a GPU share, where they meet first, and where they need not. */
#include <string.h>
#include "ir/gpu_map.h"
#include "tests/support/fixture.h"
#include "tests/support/sample.h"
#include "tests/support/suite.h"

/* A kernel for the module of adamw: tensors p@0 g@1 m@2 v@3, the temporaries u@4 and w@5, the local s@6. */
typedef struct Case {
  const char *body;
  const char *ways;                      /* of its loops, a letter each: each, one, threads, groups, fold */
  const char *barriers;                  /* before which instructions the block meets, or a group does: "12 g15" */
  bool splits, keeps;
} Case;

#define N "%0 = const i64 0x0\n%1 = const i64 0x40\n%2 = begin i64\n%3 = end i64\n"
#define LOOP(body) " = for %0 to %1 seq {\n" body "yield\n}\n"

static void add(Text *out, bool group, unsigned id) { text_add(out, "%s%s%u", out->data ? " " : "", group ? "g" : "", id); }

static void describe(const GpuMap *map, const Block *block, Text *ways, Text *barriers) {
  static const char letters[] = {[GPU_EACH] = 'e', [GPU_ONE] = 'o', [GPU_THREADS] = 't', [GPU_GROUPS] = 'g', [GPU_BLOCKS] = 'b', [GPU_FOLD] = 'f'};
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (inst->op == KOP_E_FOR) text_add(ways, "%c", letters[map->way[inst->id]]);
    if (map->barrier && map->barrier[inst->id]) add(barriers, false, inst->id);
    if (map->gather && map->gather[inst->id]) add(barriers, true, inst->id);
    describe(map, inst->body, ways, barriers);
    describe(map, inst->otherwise, ways, barriers);
  }
}

static void check(const Case *c) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  const char *text = arena_printf(a, "program step {\n temp u: f32\n temp w: f32\n temp s: f32 local 64\n kernel k item {\n%s }\n}\n", c->body);
  Source source = {"test", text, strlen(text)};
  Program *p = program_parse(sample_module(a, d, SAMPLE_ADAMW), a, d, &source);
  bool good = p && program_verify(p, d);
  if (!good) fixture_show(d, a);
  CU_ASSERT_FATAL(good);
  const GpuMap *map = gpu_map(a, p, p->kernels[0]);
  Text ways = {.arena = a}, barriers = {.arena = a};
  describe(map, p->kernels[0]->body, &ways, &barriers);
  const char *got[2] = {ways.data ? ways.data : "", barriers.data ? barriers.data : ""};
  if (strcmp(got[0], c->ways) || strcmp(got[1], c->barriers) || map->splits != c->splits || map->keeps != c->keeps)
    printf("\n%s\nways %s, barriers \"%s\"%s%s; expected %s, \"%s\"%s%s\n", c->body, got[0], got[1], map->splits ? ", splits" : "", map->keeps ? ", keeps" : "", c->ways, c->barriers, c->splits ? ", splits" : "", c->keeps ? ", keeps" : "");
  CU_ASSERT_STRING_EQUAL(got[0], c->ways);
  CU_ASSERT_STRING_EQUAL(got[1], c->barriers);
  CU_ASSERT_EQUAL(map->splits, c->splits);
  CU_ASSERT_EQUAL(map->keeps, c->keeps);
  arena_free(a);
}

static void check_all(const Case *cases, size_t n) { for (size_t k = 0; k < n; k++) check(&cases[k]); }
#define CHECK_ALL(cases) check_all(cases, sizeof (cases)/sizeof *(cases))

#define WRITE_U "%4" LOOP("%5 = load f32 p@0, %4\nstore u@4, %4, %5\n")

static void iterations_that_do_not_meet_are_dealt_out(void) {
  static const Case cases[] = {
    {N "%4" LOOP("%5 = load f32 p@0, %4\nstore m@2, %4, %5\n"), "t", "", true, false},
    {N "%4" LOOP("%5 = load f32 p@0, %4\nstore m@2, %0, %5\n"), "o", "", false, false},                                          /* all at one place */
    {N "%4" LOOP("%5 = load f32 p@0, %4\n%6 = sub i64 %1, %4\n%7 = load f32 m@2, %6\nstore m@2, %4, %5\n"), "o", "", false, false},  /* one reads what another writes */
    {N "%4" LOOP("%5" LOOP("%6 = mul i64 %4, %1\n%7 = add i64 %6, %5\n%8 = load f32 p@0, %7\nstore m@2, %7, %8\n")), "gt", "", true, false},
    {N "%4" LOOP("%5 = load f32 p@0, %4\nfold 0 sum, %5\n") "%8 = folded f32 0, %4\nstore u@4, %0, %8\n", "f", "", false, true},
  };
  CHECK_ALL(cases);
}

static void threads_meet_where_one_may_find_what_another_did(void) {
  static const Case cases[] = {
    {N WRITE_U "%8" LOOP("%9 = load f32 u@4, %8\nstore m@2, %8, %9\n"), "tt", "", true, false},                                    /* its own */
    {N WRITE_U "%8" LOOP("%9 = sub i64 %1, %8\n%10 = load f32 u@4, %9\nstore m@2, %8, %10\n"), "tt", "8", false, false},
    {N WRITE_U "%8 = load f32 u@4, %0\nstore m@2, %0, %8\n", "t", "8", false, false},
    /* The row's length, computed twice, is one number: rows stay with their group. */
    {N "%4 = size i64 p@0, -1\n%5" LOOP("%6 = and i64 %4, %1\n%7 = for %0 to %6 seq {\n%8 = mul i64 %5, %6\n%9 = add i64 %8, %7\n%10 = load f32 p@0, %9\nstore u@4, %9, %10\nyield\n}\n")
       "%14" LOOP("%15 = and i64 %4, %1\n%16 = for %0 to %15 seq {\n%17 = mul i64 %14, %15\n%18 = add i64 %17, %16\n%19 = load f32 u@4, %18\nstore m@2, %18, %19\nyield\n}\n"), "gtgt", "", true, false},
    /* Its lanes meet where one reads another's place. */
    {N "%4" LOOP("%5" LOOP("%6 = mul i64 %4, %1\n%7 = add i64 %6, %5\n%8 = load f32 p@0, %7\nstore u@4, %7, %8\n"))
       "%12" LOOP("%13 = mul i64 %12, %1\n%14 = load f32 u@4, %13\n%15" LOOP("%16 = add i64 %13, %15\nstore m@2, %16, %14\n")), "gtgt", "g12", true, false},
  };
  CHECK_ALL(cases);
}

static void of_two_that_exclude_each_other_neither_waits(void) {
  static const Case cases[] = {
    {N "%4 = present bool g@1\n%5 = not bool %4\nif %4 {\n%7" LOOP("%8 = load f32 p@0, %7\nstore u@4, %7, %8\n") "}\nif %5 {\n%12" LOOP("%13 = sub i64 %1, %12\n%14 = load f32 u@4, %13\nstore m@2, %12, %14\n") "}\n",
     "tt", "", true, false},
    {N "%4 = present bool g@1\n%5 = present bool m@2\nif %4 {\n%7" LOOP("%8 = load f32 p@0, %7\nstore u@4, %7, %8\n") "}\nif %5 {\n%12" LOOP("%13 = sub i64 %1, %12\n%14 = load f32 u@4, %13\nstore m@2, %12, %14\n") "}\n",
     "tt", "12", false, false},
  };
  CHECK_ALL(cases);
}

/* An iteration that empties a local buffer has one of its own; one that does not may read what another has left. */
static void what_is_empty_is_an_iterations_own(void) {
  static const Case cases[] = {
    {N "%4" LOOP("fresh s@6\n%6 = load f32 p@0, %4\nstore s@6, %0, %6\n%8 = load f32 s@6, %0\nstore m@2, %4, %8\n"), "t", "", true, false},
    {N "%4" LOOP("%5 = load f32 p@0, %4\nstore s@6, %0, %5\n%7 = load f32 s@6, %0\nstore m@2, %4, %7\n"), "o", "", false, false},
  };
  CHECK_ALL(cases);
}

/* Between two work entries: where the first one's places in shared memory are others' in the next. */
static void work_entries_meet_where_shared_memory_is_shared(void) {
  static const Case cases[] = {
    {N "%4" LOOP("%5 = load f32 p@0, %4\nstore s@6, %4, %5\n") "%8" LOOP("%9 = load f32 s@6, %8\nstore m@2, %8, %9\n"), "tt", "", false, false},
    {N "%4" LOOP("%5 = load f32 p@0, %4\nstore s@6, %4, %5\n") "%8" LOOP("%9 = sub i64 %1, %8\n%10 = load f32 s@6, %9\nstore m@2, %8, %10\n"), "tt", "8", false, true},
  };
  CHECK_ALL(cases);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(iterations_that_do_not_meet_are_dealt_out),
    TEST(threads_meet_where_one_may_find_what_another_did),
    TEST(of_two_that_exclude_each_other_neither_waits),
    TEST(what_is_empty_is_an_iterations_own),
    TEST(work_entries_meet_where_shared_memory_is_shared),
  };
  return suite_run("how threads of a GPU share a kernel", tests);
}
