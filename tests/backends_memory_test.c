/* backends_memory_test.c: want of memory on the whole way: with every allocation failing in turn, from the text of a rule through all passes to
 * header, graph and kernel text, nothing is lost and nothing crashes. */
#include <stdio.h>
#include <string.h>
#include "backends/backend.h"
#include "frontend/frontend.h"
#include "passes/pass.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/suite.h"

typedef struct Work { const char *text; size_t length, padding; unsigned finished; size_t written; } Work;

static char text_of_file[1 << 16];
static size_t read_rule(const char *path) {
  FILE *f = fopen(path, "rb");
  CU_ASSERT_PTR_NOT_NULL_FATAL(f);
  size_t n = fread(text_of_file, 1, sizeof text_of_file - 1, f);
  fclose(f);
  text_of_file[n] = 0;
  return n;
}

static void count_text(void *self, const char *entry, const char *pass, const char *text) { ((Work *)self)->written += strlen(text); }

static void compile(Arena *a, void *self) {
  Work *w = self;
  w->written = 0;
  arena_alloc(a, w->padding);
  Diag *diag = diag_new(a, 0);
  Source *source = arena_alloc(a, sizeof *source);
  *source = (Source){.name = "rule.opt", .text = arena_strndup(a, w->text, w->length), .length = w->length};
  FrontendOptions options = {.warnings = true};
  FileSet *files = frontend_load(a, diag, source, &options);
  CU_ASSERT_PTR_NOT_NULL_FATAL(files);
  Module *module = frontend_lower(a, diag, files, &options);
  CU_ASSERT_PTR_NOT_NULL_FATAL(module);
  Pipeline pipeline = pipeline_default(a, 2, false);
  PassTrace trace = {.print_after = "all", .verify_each = true, .printed = count_text, .self = w};
  Program **programs = arena_array(a, module->n_graphs, sizeof *programs);
  Text out = {.arena = a};
  for (unsigned i = 0; i < module->n_graphs; i++) {
    Unit unit = {.module = module, .arena = a, .diag = diag, .graph = module->graphs[i]};
    CU_ASSERT_FATAL(pipeline_run(&unit, &pipeline, &trace));
    programs[i] = unit.program;
    graph_print(unit.graph, &out);
    program_print(unit.program, &out);
  }
  backend_header(module, programs, module->n_graphs, NULL, &out);
  diag_render_text(diag, &out, true);
  diag_render_json(diag, &out);
  CU_ASSERT(out.length > 1000 && w->written > out.length);
  w->finished++;
}

/* The arena takes blocks of 64 KiB; the padding in front moves the ends of blocks, so that each time other steps of the work meet them. */
static void check(const char *path) {
  Work w = {.text = text_of_file, .length = read_rule(path)};
  unsigned rounds = 0;
  for (w.padding = 0; w.padding < 65536; w.padding += 1072, rounds++) {
    unsigned long runs = failing_allocator_try_all(compile, &w, 100000);
    CU_ASSERT(runs > 5);                 /* it failed in several places before it succeeded; 0: a block was lost */
  }
  CU_ASSERT_EQUAL(w.finished, rounds);
}
static void adamw_survives_every_failing_allocation(void) { check("rules/adamw.opt"); }
static void sgd_survives_every_failing_allocation(void) { check("rules/sgd.opt"); }

int main(void) {
  static const SuiteTest tests[] = {
    TEST(adamw_survives_every_failing_allocation), TEST(sgd_survives_every_failing_allocation),
  };
  return suite_run("want of memory", tests);
}
