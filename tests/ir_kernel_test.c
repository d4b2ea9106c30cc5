/* ir_kernel_test.c: the kernel form: text, verifier, interpreter, memory running out. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ir/interpret.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/fixture.h"
#include "tests/support/sample.h"
#include "tests/support/suite.h"

static Module *module_named(Arena *a, Diag *d, const char *path) {
  const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  for (unsigned k = 0; k < SAMPLE_COUNT; k++)
    if (!strncmp(name, sample_names[k], strlen(sample_names[k]))) return sample_module(a, d, (Sample)k);
  return sample_module(a, d, SAMPLE_ADAMW);
}

static Program *parse(Module *m, Arena *a, Diag *d, const char *text) {
  Source *s = arena_alloc(a, sizeof *s);
  *s = (Source){"test", text, strlen(text)};
  return program_parse(m, a, d, s);
}

static const char *read_file(Arena *a, const char *path) {
  const char *why;
  const Source *source = fixture_read(NULL, a, path, &why);
  return source ? source->text : "";
}

static void texts_print_back_to_themselves(void) {
  glob_t found;
  CU_ASSERT_EQUAL_FATAL(glob("tests/data/kernel/*.kernel", 0, NULL, &found), 0);
  CU_ASSERT(found.gl_pathc >= 9);
  for (size_t k = 0; k < found.gl_pathc; k++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    Module *m = module_named(a, d, found.gl_pathv[k]);
    const char *text = read_file(a, found.gl_pathv[k]);
    Program *p = parse(m, a, d, text);
    CU_ASSERT_PTR_NOT_NULL(p);
    if (p) {
      Text out = {.arena = a};
      program_print(p, &out);
      CU_ASSERT_STRING_EQUAL(out.data, text);
      if (!strstr(found.gl_pathv[k], "hand")) CU_ASSERT(program_verify(p, d));
    }
    arena_free(a);
  }
  globfree(&found);
}

/* A kernel around `body`, for the module of adamw: hypers lr beta1 beta2 eps decay (f64), operands p g m v (f32). */
static const char *in_kernel(Arena *a, const char *launch, const char *body) {
  return arena_printf(a, "program step {\n uniforms 2\n text \"t\"\n temp u: f32\n kernel k %s {\n%s\n }\n}\n", launch, body);
}

typedef struct Bad { const char *launch, *body, *says; } Bad;

static void malformed_texts_are_refused(void) {
  static const Bad bad[] = {
    {"item", "%0 = begin i64\n%0 = end i64", "defined twice"},
    {"item", "%1 = neg i64 %0", "used before it is defined"},
    {"item", "%0 = frob i64", "expected an operation"},
    {"item", "store p@0", NULL},
    {"item", "%0 = begin", "expected a type"},
    {"item", "%0 = load f32 q@0, %0", "number 0 is 'p'"},
    {"item", "%0 = load f32 p@9, %0", "the number of an operand"},
    {"item", "%0 = hyper f64 lr@7", "the number of a hyper-parameter"},
    {"item", "%0 = const i64 0xfffffffffffffffff", "expected"},
    {"item", "%99999999 = begin i64", "smaller number"},
    {"item", "%0 = begin i64\n%1 = for %0 to %0 sideways { yield }", "'seq', 'vector', 'thread' or 'block'"},
    {"item", "%0 = begin i64\n%1 = for %0 to %0 vector(16) { yield }", "expected ','"},
    {"moon", "", "'check', 'group'"},
    {"item", "if %0 {", "used before"},
    {"item", "yield \"", "never closed"},
    {"item", "%0 = const f32 0x0\nfold sum, %0", "expected a number"},
    {"item", "%0 = const f32 0x0\nfold 0 argmax, %0", "'sum', 'prod', 'max'"},
  };
  for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    Program *p = parse(sample_module(a, d, SAMPLE_ADAMW), a, d, in_kernel(a, bad[k].launch, bad[k].body));
    if (!bad[k].says) { CU_ASSERT(!p || !program_verify(p, d)); }
    else {
      CU_ASSERT_PTR_NULL(p);
      CU_ASSERT_FATAL(diag_count(d) > 0);
      if (!strstr(diag_get(d, 0)->text, bad[k].says)) { printf("\n%s: %s\n", bad[k].body, diag_get(d, 0)->text); CU_FAIL("another message"); }
    }
    arena_free(a);
  }
}

#define LOOP "%0 = begin i64\n%1 = end i64\n%2 = for %0 to %1 seq {\n"
static void verifier_refuses(void) {
  static const Bad bad[] = {
    {"item", "%0 = begin f32", "must be i64"},
    {"item", "%0 = begin i64\n%1 = add f32 %0, %0", "types do not fit"},
    {"item", "%0 = begin i64\n%1 = add i64 %0", "takes 2 arguments"},
    {"item", "%0 = const bf16 0x0", "arithmetic type"},
    {"item", "%0 = const bool 0x2", "bits do not fit"},
    {"item", "%0 = const f32 0x100000000", "bits do not fit"},
    {"item", "%0 = hyper i64 lr@0", "type is not that of 'lr'"},
    {"item", "%0 = uniform f32 2", "no such slot"},
    {"item", "%0 = begin i64\n%1 = load f64 p@0, %0", "not that of the buffer"},
    {"item", "%0 = begin i64\n%1 = load f32 p@0, %0, %0", "guard must be bool"},
    {"item", "%0 = begin i64\n%1 = load f32 p@0", "takes 1 or 2"},
    {"item", "%0 = begin i64\n%1 = load f32 p@0, %0\nstore g@1, %0, %1", "only read"},
    {"item", "%0 = scalar f64 p@0", "is a tensor"},
    {"item", "%0 = begin i64\nset_uniform 0, %0", "not allowed in a item kernel"},
    {"group", "%0 = begin i64", "not allowed in a group kernel"},
    {"finish", "%0 = count i64", "not allowed in a finish kernel"},
    {"chunk", "%0 = const bool 0x1\nrequire 0, %0", "not allowed in a chunk kernel"},
    {"check", "%0 = const bool 0x1\nrequire 1, %0", "no such text"},
    {"check", "%0 = const i64 0x1\nrequire 0, %0", "takes a bool"},
    {"check", "%0 = const bool 0x1\nrequire 0, %0, %0", "must be f64"},
    {"item", LOOP "}", "must end in yield"},
    {"item", LOOP "yield %0\n}", "carries 0 values and yields 1"},
    {"item", LOOP "yield\n}\n%3 = neg i64 %2", "seen in its loop only"},
    {"item", LOOP "%4 = neg i64 %2\nyield\n}\n%5 = neg i64 %4", "not defined before"},
    {"item", LOOP "yield\n}\n%3 = carried i64 0, %2", "carries fewer"},
    {"item", "yield", "yield ends"},
    {"item", "%0 = begin i64\nif %0 {\n}", "condition must be bool"},
    {"item", "%0 = begin i64\n%1 = for %0 to %0 vector(3, 1) {\nyield\n}", "power of 2"},
    {"item", "%0 = begin i64\n%1 = for %0 to %0 carry %0 vector(4, 1) {\nyield %0\n}", "carries nothing"},
    {"item", "%0 = begin i64\n%1 = for %0 to %0 vector(4, 1) {\n%2 = load f32 p@0, %0\nyield\n}", "only the elements at its index"},
    {"item", "%0 = const f32 0x0\nfold 0 sum, %0", "in the body of a loop"},
    {"item", LOOP "%3 = const bool 0x1\nif %3 {\nfold 0 any, %3\n}\nyield\n}", "in the body of a loop, and not deeper"},
    {"item", "%0 = begin i64\n%1 = for %0 to %0 block {\n%2 = load f32 p@0, %1\nstore p@0, %1, %2\nyield\n}", "holds products of tiles only"},
    {"item", LOOP "fold 0 sum, %2, %2\nyield\n}", "guard must be bool"},
    {"item", LOOP "fold 0 sum\nyield\n}", "a value and perhaps a guard"},
    {"item", LOOP "fold 0 any, %2\nyield\n}", "take numbers, any and every bool"},
    {"item", LOOP "%3 = const bool 0x1\nfold 0 max, %3\nyield\n}", "take numbers, any and every bool"},
    {"item", LOOP "%3 = cast bf16 %2\nfold 0 sum, %3\nyield\n}", "take numbers, any and every bool"},
    {"item", LOOP "fold 1 sum, %2\nyield\n}", "numbered from 0"},
    {"item", LOOP "fold 0 sum, %2\nfold 0 sum, %2\nyield\n}", "each once"},
    {"item", LOOP "fold -1 sum, %2\nyield\n}", "numbered from 0"},
    {"item", LOOP "yield\n}\n%4 = folded i64 0, %2", "no such fold"},
    {"item", LOOP "fold 0 sum, %2\nyield\n}\n%5 = folded i64 1, %2", "no such fold"},
    {"item", LOOP "fold 0 sum, %2\nyield\n}\n%5 = folded i64 0, %1", "no such fold"},
    {"item", LOOP "fold 0 sum, %2\nyield\n}\n%5 = folded f32 0, %2", "not that of the fold"},
    {"item", LOOP "fold 0 sum, %2\n%4 = folded i64 0, %2\nyield\n}", "known after it"},
    {"item", "%0 = const bool 0x1\nexists p@0, %0\n%1 = exists", NULL},
  };
  for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    Program *p = parse(sample_module(a, d, SAMPLE_ADAMW), a, d, in_kernel(a, bad[k].launch, bad[k].body));
    if (!p) { if (bad[k].says) { printf("\n%s: %s\n", bad[k].body, diag_get(d, 0)->text); CU_FAIL("does not parse"); } arena_free(a); continue; }
    CU_ASSERT_FALSE(program_verify(p, d));
    if (diag_count(d) && bad[k].says && !strstr(diag_get(d, 0)->text, bad[k].says)) { printf("\n%s: %s\n", bad[k].body, diag_get(d, 0)->text); CU_FAIL("another message"); }
    arena_free(a);
  }
}

static void verifier_wants_dense_numbers(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  Program *p = parse(sample_module(a, d, SAMPLE_SWAP), a, d, "program s { kernel k item { %0 = begin i64 %1 = neg i64 %0 } }");
  CU_ASSERT_PTR_NOT_NULL_FATAL(p);
  CU_ASSERT(program_verify(p, d));
  p->kernels[0]->body->insts[1]->id = 7;
  CU_ASSERT_FALSE(program_verify(p, d));
  arena_free(a);
}

/* --- interpreter ------------------------------------------------------------------------------------------------------------ */

typedef struct Call { Arena *a; Program *p; void *data[5]; float p_[1500], g[1500], m[1500]; double hyper[5]; uint64_t uniform[2]; int64_t count; optc_frame f; } Call;

static void open_call(Call *c, const char *launch, const char *body) {
  memset(c, 0, sizeof *c);
  c->a = arena_new(NULL, 0);
  Diag *d = diag_new(c->a, 0);
  c->p = parse(sample_module(c->a, d, SAMPLE_ADAMW), c->a, d, in_kernel(c->a, launch, body));
  CU_ASSERT_PTR_NOT_NULL_FATAL(c->p);
  CU_ASSERT(program_verify(c->p, d));
  for (int i = 0; i < 1500; i++) { c->p_[i] = (float)i; c->g[i] = 1; c->m[i] = -1; }
  c->count = 1500;
  c->data[0] = c->p_; c->data[1] = c->g; c->data[2] = c->m;
  c->hyper[0] = 0.5;
  c->f = (optc_frame){.hyper = c->hyper, .data = c->data, .uniform = c->uniform, .t = 4, .index = 2, .count = 1500, .total = 1500, .begin = 10, .end = 1490, .shape = &c->count, .rank = 1};
}
static void run_call(Call *c) { kernel_interpret(c->p, c->p->kernels[0], &c->f, c->a); }

static void strips_do_what_single_iterations_do(void) {
  /* The second text has a condition in its body, which the interpreter runs one by one. */
  static const char *const body[] = {
    LOOP "%3 = load f32 p@0, %2\n%4 = mul f32 %3, %3\n%5 = const f32 0x44480000\n%6 = lt bool %3, %5\nstore m@2, %2, %4, %6\nyield\n}",
    LOOP "%3 = load f32 p@0, %2\n%4 = mul f32 %3, %3\n%5 = const f32 0x44480000\n%6 = lt bool %3, %5\nif %6 {\nstore m@2, %2, %4\n}\nyield\n}",
  };
  for (int k = 0; k < 2; k++) {
    Call c;
    open_call(&c, "item", body[k]);
    run_call(&c);
    for (int i = 0; i < 1500; i++) {
      float want = i >= 10 && i < 1490 && i < 800 ? (float)i * (float)i : -1;
      if (c.m[i] != want) { CU_FAIL("wrong element"); break; }
    }
    arena_free(c.a);
  }
}

static void order_of_iterations_is_kept_where_they_meet(void) {
  Call c;                                /* m[i] = m[i - 1] + p[i]: a running sum through memory */
  open_call(&c, "item", LOOP "%3 = const i64 0x1\n%4 = sub i64 %2, %3\n%5 = load f32 m@2, %4\n%6 = load f32 p@0, %2\n%7 = add f32 %5, %6\nstore m@2, %2, %7\nyield\n}");
  run_call(&c);
  CU_ASSERT_EQUAL(c.m[9], -1);
  CU_ASSERT_EQUAL(c.m[10], 9);
  CU_ASSERT_EQUAL(c.m[12], 9 + 11 + 12);
  CU_ASSERT_EQUAL(c.m[1490], -1);
  arena_free(c.a);
}

static void false_guards_touch_no_memory(void) {
  Call c;
  open_call(&c, "item", LOOP "%3 = const bool 0x0\n%4 = load f32 g@1, %2, %3\nstore m@2, %2, %4\nstore v@3, %2, %4, %3\nyield\n}");
  c.data[1] = (void *)16;                /* not to be touched */
  c.data[3] = (void *)16;
  run_call(&c);
  CU_ASSERT_EQUAL(c.m[10], 0);
  CU_ASSERT_EQUAL(c.m[9], -1);
  arena_free(c.a);
}

static void carried_values_go_around(void) {
  Call c;                                /* 0 trips keep the start; nested loops; the value after the loop */
  open_call(&c, "group", "%0 = const i64 0x0\n%1 = const i64 0x5\n%2 = const f64 0x3ff0000000000000\n%3 = hyper f64 lr@0\n"
    "%4 = for %0 to %1 carry %2, %0 seq {\n%5 = carried f64 0, %4\n%6 = carried i64 1, %4\n%7 = mul f64 %5, %3\n"
    "%8 = for %0 to %4 carry %6 seq {\n%9 = carried i64 0, %8\n%10 = add i64 %9, %8\nyield %10\n}\n%11 = carried i64 0, %8\nyield %7, %11\n}\n"
    "%12 = carried f64 0, %4\n%13 = carried i64 1, %4\nset_uniform 0, %12\nset_uniform 1, %13");
  run_call(&c);
  double x;
  memcpy(&x, &c.uniform[0], 8);
  CU_ASSERT_EQUAL(x, 0.03125);
  CU_ASSERT_EQUAL(c.uniform[1], 0 + 0 + 1 + 3 + 6);
  arena_free(c.a);
}

static void first_failed_requirement_is_kept(void) {
  Call c;
  open_call(&c, "check", "%0 = hyper f64 lr@0\n%1 = const f64 0x0\n%2 = lt bool %0, %1\n%3 = lt bool %1, %0\nrequire 0, %3, %1\nrequire 0, %2, %0\nrequire 0, %2, %1");
  run_call(&c);
  CU_ASSERT_EQUAL(c.f.failed, 1);
  CU_ASSERT_EQUAL(c.f.n_values, 1);
  CU_ASSERT_EQUAL(c.f.value[0], 0.5);
  arena_free(c.a);
}

static void leaves_read_the_frame(void) {
  Call c;
  open_call(&c, "item", LOOP "%3 = step i64\n%4 = item i64\n%5 = count i64\n%6 = size i64 p@0, 0\n%7 = size i64 p@0, 3\n%8 = add i64 %3, %4\n%9 = add i64 %5, %6\n"
    "%10 = add i64 %8, %9\n%11 = add i64 %10, %7\n%12 = cast f32 %11\nstore m@2, %2, %12\nyield\n}");
  run_call(&c);
  CU_ASSERT_EQUAL(c.m[10], 4 + 2 + 1500 + 1500 + 1);                     /* an axis that is not there has one position */
  arena_free(c.a);
}

/* --- memory -------------------------------------------------------------------------------------------------------------------- */

static void whole_way(Arena *a, void *text) {
  Diag *d = diag_new(a, 0);
  Program *p = parse(sample_module(a, d, SAMPLE_ADAMW), a, d, text);
  if (!p || !program_verify(p, d)) { CU_FAIL("the text is not read"); return; }
  Text out = {.arena = a};
  program_print(p, &out);
  static float data[4][8];
  double hyper[5] = {0};
  uint64_t uniform[16];
  void *at[4] = {data[0], data[1], data[2], data[3]};
  optc_frame frame = {.hyper = hyper, .data = at, .uniform = uniform, .count = 8, .total = 8, .end = 8};
  for (unsigned k = 0; k < p->n_kernels; k++) kernel_interpret(p, p->kernels[k], &frame, a);
}

static void every_allocation_may_fail(void) {
  Arena *a = arena_new(NULL, 0);
  CU_ASSERT(failing_allocator_try_all(whole_way, (void *)(uintptr_t)read_file(a, "tests/data/kernel/adamw_fused.kernel"), 10000) > 1);
  arena_free(a);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(texts_print_back_to_themselves),
    TEST(malformed_texts_are_refused),
    TEST(verifier_refuses),
    TEST(verifier_wants_dense_numbers),
    TEST(strips_do_what_single_iterations_do),
    TEST(order_of_iterations_is_kept_where_they_meet),
    TEST(false_guards_touch_no_memory),
    TEST(carried_values_go_around),
    TEST(first_failed_requirement_is_kept),
    TEST(leaves_read_the_frame),
    TEST(every_allocation_may_fail),
  };
  return suite_run("kernel form", tests);
}
