/* target.c: one fuzz input: verify, print and parse back, interpret before and after every pass, and compare bit for bit.
 *
 * A finding is printed with the graph, the passes so far and the first difference, then the process aborts (libFuzzer keeps the input). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend.h"
#include "fuzz/genome.h"
#include "ir/interpret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Run { Arena *arena; Diag *diag; Module *module; const Data *input; Text log; } Run;

static void finding(Run *r, const char *what, const char *detail) {
  Text t = {.arena = r->arena};
  diag_render_text(r->diag, &t, false);
  fprintf(stderr, "FINDING: %s: %s\n%s\n%s\n", what, detail ? detail : "", r->log.data ? r->log.data : "", t.data ? t.data : "");
  abort();
}

static optc_frame frame_of(Run *r, const Data *x, void **data) {
  for (unsigned k = 0; k < r->module->n_operands; k++) data[k] = x->tensor[k];
  return (optc_frame){.hyper = x->hyper, .global = x->global, .item = x->item, .data = data, .t = x->t, .seed = 1, .count = x->count, .begin = 0, .end = x->count,
                      .shape = &x->count, .rank = 1};
}

/* The meaning of a graph: its state of the data after a step. `refused`: a requirement is not met, nothing is written. */
static Data *run_graph(Run *r, const Graph *g, bool *refused) {
  Data *x = data_copy(r->arena, r->module, r->input);
  void **data = arena_array(r->arena, r->module->n_operands, sizeof *data);
  optc_frame f = frame_of(r, x, data);
  graph_interpret(g, LAUNCH_CHECK, &f, r->arena);
  *refused = f.failed != 0;
  if (*refused) return x;
  graph_interpret(g, LAUNCH_ITEM, &f, r->arena);
  graph_interpret(g, LAUNCH_FINISH, &f, r->arena);
  return x;
}

static Data *run_program(Run *r, const Program *p, bool *refused) {
  Data *x = data_copy(r->arena, r->module, r->input);
  unsigned n = r->module->n_operands;
  void **data = arena_array(r->arena, n + p->n_temps, sizeof *data);
  for (unsigned k = 0; k < p->n_temps; k++) data[n + k] = arena_array(r->arena, (size_t)x->count + 1, type_bytes(p->temps[k].type));
  optc_frame f = frame_of(r, x, data);
  f.uniform = arena_array(r->arena, p->n_uniforms + 1, sizeof *f.uniform);
  static const Launch order[][2] = {{LAUNCH_CHECK, LAUNCH_CHECK}, {LAUNCH_GROUP, LAUNCH_GROUP}, {LAUNCH_ITEM, LAUNCH_CHUNK}, {LAUNCH_FINISH, LAUNCH_FINISH}};
  *refused = false;
  for (unsigned stage = 0; stage < 4; stage++)
    for (unsigned k = 0; k < p->n_kernels; k++)
      if (p->kernels[k]->launch == order[stage][0] || p->kernels[k]->launch == order[stage][1]) {
        kernel_interpret(p, p->kernels[k], &f, r->arena);
        if (stage == 0 && f.failed) { *refused = true; return x; }
      }
  return x;
}

static void same_text(Run *r) {
  Text first = {.arena = r->arena}, second = {.arena = r->arena};
  module_print(r->module, &first);
  Source source = {"printed", first.data, first.length};
  Module *again = module_parse(r->arena, r->diag, &source);
  if (!again) { text_append(&r->log, first.data, first.length); finding(r, "a printed module does not parse", NULL); }
  module_print(again, &second);
  if (first.length != second.length || memcmp(first.data, second.data, first.length)) { text_append(&r->log, first.data, first.length); finding(r, "print, parse, print differs", second.data); }
}

static void same_program_text(Run *r, const Program *p) {
  Text first = {.arena = r->arena}, second = {.arena = r->arena};
  program_print(p, &first);
  Source source = {"printed", first.data, first.length};
  Program *again = program_parse(r->module, r->arena, r->diag, &source);
  if (!again) finding(r, "a printed program does not parse", first.data);
  program_print(again, &second);
  if (first.length != second.length || memcmp(first.data, second.data, first.length)) finding(r, "print, parse, print differs", first.data);
}

static void test_graph(Run *r, Decisions *d) {
  Arena *a = r->arena;
  r->module = genome_module(a, r->diag, d);
  r->input = data_make(a, r->module, d);
  Graph *g = r->module->graphs[0];
  if (!module_verify(r->module, r->diag)) finding(r, "a generated module is not well formed", NULL);
  same_text(r);
  Pipeline pipeline = genome_pipeline(a, d);
  graph_print(g, &r->log);
  bool refused, now;
  const Data *want = run_graph(r, expand_graph(g), &refused);
  Unit unit = {.module = r->module, .arena = a, .diag = r->diag, .graph = g};
  for (unsigned k = 0; k < pipeline.n; k++) {
    const Step *s = &pipeline.steps[k];
    text_add(&r->log, "# %s(lanes=%lld, unroll=%lld, limit=%lld)\n", s->pass->name, (long long)s->args.lanes, (long long)s->args.unroll, (long long)s->args.limit);
    s->pass->run(&unit, &s->args);
    if (diag_errors(r->diag)) finding(r, "a pass refused a well-formed input", s->pass->name);
    if (!(unit.program ? program_verify(unit.program, r->diag) : graph_verify(unit.graph, r->diag))) finding(r, "not well formed after a pass", s->pass->name);
    if (unit.program) same_program_text(r, unit.program);
    const Data *got = unit.program ? run_program(r, unit.program, &now) : run_graph(r, expand_graph(unit.graph), &now);
    const char *difference = now != refused ? "requirement" : data_difference(a, r->module, want, got);
    if (difference) {
      text_add(&r->log, "--- after:\n");
      if (unit.program) program_print(unit.program, &r->log); else graph_print(unit.graph, &r->log);
      finding(r, s->pass->name, difference);
    }
  }
}

static const Source *no_files(void *self, Arena *a, const char *path, const char **why) { *why = "no files here"; return NULL; }

static void test_text(Run *r, const uint8_t *data, size_t size) {
  Source source = {"fuzz.opt", (const char *)data, size};
  FrontendOptions options = {.read = no_files, .warnings = true};
  FileSet *files = frontend_load(r->arena, r->diag, &source, &options);
  Module *m = files ? frontend_lower(r->arena, r->diag, files, &options) : NULL;
  if (!m && !diag_errors(r->diag)) finding(r, "refused without a diagnostic", NULL);
  if (m && diag_errors(r->diag)) finding(r, "accepted with an error", NULL);
  Text t = {.arena = r->arena};
  diag_render_text(r->diag, &t, true);
  diag_render_json(r->diag, &t);
  if (!m) return;
  if (!module_verify(m, r->diag)) finding(r, "the front end made a module that is not well formed", NULL);
  r->module = m;
  same_text(r);
  for (unsigned k = 0; k < m->n_graphs; k++) {
    Unit unit = {.module = m, .arena = r->arena, .diag = r->diag, .graph = m->graphs[k]};
    Pipeline p = pipeline_default(r->arena, 2);
    PassTrace trace = {.verify_each = true};
    if (!pipeline_run(&unit, &p, &trace) && !diag_errors(r->diag)) finding(r, "a pipeline failed without a diagnostic", NULL);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 65536) return 0;
  Arena *a = arena_new(NULL, (size_t)512 << 20);
  if (!a) return 0;
  if (!setjmp(*arena_guard(a))) {
    Run r = {.arena = a, .diag = diag_new(a, 0), .log = {.arena = a}};
    Decisions d = {data, size, 1};
    if (data[0] & 1) test_text(&r, data + 1, size - 1);
    else test_graph(&r, &d);
  }
  arena_free(a);
  return 0;
}
