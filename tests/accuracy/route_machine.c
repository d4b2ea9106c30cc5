/* route_machine.c: a function by the default pipeline and the back end, as an object for this machine. */
#include "tests/accuracy/route.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include "backends/backend.h"
#include "passes/passes.h"
#include "tests/support/function_graph.h"

enum { UNIFORMS = 256 };

static void run(const Route *r, const void *in0, const void *in1, void *out, long n) {
  const optc_rule_desc *rule = r->rule;
  const optc_entry_desc *e = &rule->entries[0];
  void *data[FUNCTION_ARGS + 1] = {(void *)(uintptr_t)in0, (void *)(uintptr_t)in1, (void *)(uintptr_t)in0, out};
  uint64_t uniform[UNIFORMS] = {0}, hyper[3] = {0}, global[8] = {0}, item[64] = {0};
  int64_t shape = n;
  optc_frame f = {.hyper = hyper, .global = global, .item = item, .data = data, .uniform = uniform, .count = n, .total = n, .begin = 0, .end = n, .shape = &shape, .rank = 1, .t = 1};
  for (int64_t k = 0; k < e->n_kernels; k++) e->kernels[k].fn[0](&f);
}

bool route_machine(Route *route, Op op, Type type, const char *folder, Arena *a) {
  Graph *g = function_graph(a, op, type);
  Module *m = g->module;
  Unit unit = {.module = m, .arena = a, .diag = m->diag, .graph = g};
  Pipeline pipeline = pipeline_default(a, 2, false);
  Target target = {.level = 2};
  Output object;
  bool good = pipeline_run(&unit, &pipeline, NULL) && backend_emit(a, m->diag, m, &unit.program, 1, &target, EMIT_OBJECT, &object);
  if (!good) {
    Text text = {.arena = a};
    diag_render_text(m->diag, &text, false);
    fprintf(stderr, "%s", text.data ? text.data : "");
    return false;
  }
  if (unit.program->n_temps || unit.program->n_uniforms > UNIFORMS) return false;
  const char *name = arena_printf(a, "%s/machine_%s_%s", folder, op_name(op), type_name(type));
  FILE *out = fopen(arena_printf(a, "%s.o", name), "wb");
  if (!out) return false;
  fwrite(object.data, 1, object.size, out);
  if (fclose(out) || system(arena_printf(a, "gcc -shared -o %s.so %s.o", name, name))) return false;
  void *library = dlopen(arena_printf(a, "%s.so", name), RTLD_NOW);
  route->run = run;
  route->rule = library ? dlsym(library, "function_rule") : NULL;
  return route->rule != NULL;
}
