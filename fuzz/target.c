/* target.c: one fuzz input. A graph: verify, print and parse back, interpret before and after every pass, and compare bit for bit. A text: the front end
 * accepts it or says why not; what it accepts goes the same way through the default pipelines.
 *
 * A finding is printed (as a text that tests/data/fuzz takes, where it is a graph), then the process aborts and libFuzzer keeps the input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend.h"
#include "fuzz/genome.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void report(const OracleCase *c, const OracleFinding *f) {
  Text text = {.arena = c->arena}, after = {.arena = c->arena}, diag = {.arena = c->arena};
  if (c->module) oracle_print(c, &text);
  if (f->program) program_print(f->program, &after);
  else if (f->graph) graph_print(f->graph, &after);
  diag_render_text(c->diag, &diag, false);
  fprintf(stderr, "%s\n--- after:\n%s\n%s\nFINDING: %s: %s\n", text.data ? text.data : "", after.data ? after.data : "", diag.data ? diag.data : "", f->what, f->detail ? f->detail : "");
  abort();
}

static void test_graph(OracleCase *c, const uint8_t *data, size_t size) {
  OracleFinding f = {0};
  genome_case(c, data, size);
  statistics.graphs++;
  bool good = oracle_check(c, &f);
  if (good) { statistics.well_formed++; return; }
  report(c, &f);
}

static const Source *no_files(void *self, Arena *a, const char *path, const char **why) { *why = "no files here"; return NULL; }

static void test_text(OracleCase *c, const uint8_t *data, size_t size) {
  Source source = {"fuzz.opt", (const char *)data, size};
  FrontendOptions options = {.read = no_files, .warnings = true};
  OracleFinding f = {0};
  FileSet *files = frontend_load(c->arena, c->diag, &source, &options);
  c->module = files ? frontend_lower(c->arena, c->diag, files, &options) : NULL;
  statistics.texts++;
  if (!c->module && !diag_errors(c->diag)) f.what = "refused without a diagnostic";
  if (c->module && diag_errors(c->diag)) f.what = "accepted with an error";
  if (f.what) report(c, &f);
  Text t = {.arena = c->arena};
  diag_render_text(c->diag, &t, true);
  diag_render_json(c->diag, &t);
  if (!c->module) return;
  statistics.texts_accepted++;
  c->may_refuse = true;
  c->texts = true;
  c->data = size & 0xffff;
  c->pipeline = pipeline_default(c->arena, 2, false);
  expand_shapes(c->module);              /* as every compilation does */
  for (unsigned k = 0; k < c->module->n_graphs; k++) {
    c->graph = c->module->graphs[k];
    c->diag = diag_new(c->arena, 0);
    c->module->diag = c->diag;
    if (!oracle_check(c, &f)) report(c, &f);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 65536) return 0;
  Arena *a = arena_new(NULL, (size_t)256 << 20);
  if (!a) return 0;
  statistics.inputs++;
  if (!setjmp(*arena_guard(a))) {
    OracleCase c = {.arena = a, .diag = diag_new(a, 0)};
    if (data[0] & 1) test_text(&c, data + 1, size - 1);
    else test_graph(&c, data, size);
  }
  arena_free(a);
  return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  if (getenv("OPTC_FUZZ_STATISTICS")) atexit(statistics_print);
  return 0;
}
