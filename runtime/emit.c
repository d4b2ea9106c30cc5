/* emit.c: files for other programs: objects, assembly, the forms in between, headers. */
#include <string.h>
#include "backends/ptx/ptx.h"
#include "runtime/build.h"
#include "runtime/cuda.h"
#include "runtime/explain.h"

struct optc_emission {
  Arena *arena;
  const char *rule;
  Output *outputs; int n_outputs;
  const char **sources; int n_sources;
};

typedef struct Emission { Build build; optc_emit_options options; optc_emission *made; } Emission;

static const Range nowhere = {0};
static const struct { int kind; Emit emit; } machine_kinds[] = {
  {OPTC_EMIT_OBJECT, EMIT_OBJECT}, {OPTC_EMIT_ASSEMBLY, EMIT_ASSEMBLY}, {OPTC_EMIT_LLVM_IR, EMIT_LLVM_IR}, {OPTC_EMIT_BITCODE, EMIT_BITCODE}, {OPTC_EMIT_PTX, EMIT_PTX},
};

static Output text_output(const Text *text) { return (Output){.data = (const uint8_t *)(text->data ? text->data : ""), .size = text->length}; }

static bool asks_for(const optc_emit_options *o, int kind) {
  for (int i = 0; i < o->n_kinds; i++)
    if (o->kinds[i] == kind) return true;
  return false;
}

static void print_graphs(const Build *b, Text *text) {
  Module shown = *b->module;
  if (b->passes) shown.graphs = b->graphs;
  module_print(&shown, text);
}

/* What EXPLAIN shows of a GPU; NULL: none is asked for, or an error, which is in the diag. */
static const GpuView *view_gpu(Compilation *c, const Build *b, const optc_emit_options *o, const Target *gpu) {
  Output text;
  if (!o->gpu || !backend_check_target(c->arena, gpu, c->diag) || !backend_emit(c->arena, c->diag, b->module, b->programs, b->module->n_graphs, gpu, EMIT_PTX, &text)) return NULL;
  Source *source = arena_alloc(c->arena, sizeof *source);
  GpuView *view = arena_alloc(c->arena, sizeof *view);
  *source = (Source){arena_printf(c->arena, "%s.ptx", b->module->name), (const char *)text.data, text.size};
  *view = (GpuView){.name = o->gpu, .code = ptx_load(c->arena, c->diag, source, PTX_RELAXED), .assembled = o->assembled};
  if (!view->code) return NULL;
  const char **names = arena_array(c->arena, (size_t)ptx_kernels(view->code) + 1, sizeof *names);
  for (unsigned i = 0; i < ptx_kernels(view->code); i++) names[i] = ptx_kernel_info(ptx_kernel(view->code, i))->name;
  view->table = gpu_code(b->module, b->programs, source->text, source->length, names);
  return view;
}

/* One output. Machine code of several kinds is generated once for each: they are asked for together only when somebody looks. */
static int emit_one(Compilation *c, Emission *e, int kind, const Target *cpu, const Target *gpu, Output *out) {
  Build *b = &e->build;
  Text text = {.arena = c->arena};
  const optc_emit_options *o = &e->options;
  Machine machine = {.bandwidth = o->bandwidth, .peak = o->peak, .bandwidth_measured = o->bandwidth_measured, .peak_measured = o->peak_measured};
  for (size_t i = 0; i < sizeof machine_kinds/sizeof *machine_kinds; i++)
    if (machine_kinds[i].kind == kind) {
      Emit emit = machine_kinds[i].emit;
      c->context->compilations++;
      bool done = backend_emit(c->arena, c->diag, b->module, b->programs, b->module->n_graphs, emit == EMIT_PTX ? gpu : cpu, emit, out);
      compilation_stage(c, "codegen");
      if (done) return OPTC_OK;
      if (!diag_errors(c->diag)) diag_error(c->diag, nowhere, "code generation ended without a result");
      return OPTC_E_INTERNAL;
    }
  const GpuView *view = kind == OPTC_EMIT_EXPLAIN || kind == OPTC_EMIT_EXPLAIN_JSON ? view_gpu(c, b, o, gpu) : NULL;
  if (diag_errors(c->diag)) return OPTC_E_TARGET;
  switch (kind) {
  case OPTC_EMIT_GRAPH: print_graphs(b, &text); break;
  case OPTC_EMIT_KERNELS:
    for (unsigned i = 0; i < b->module->n_graphs; i++) program_print(b->programs[i], &text);
    break;
  case OPTC_EMIT_HEADER: backend_header(b->module, b->programs, b->module->n_graphs, &text); break;
  case OPTC_EMIT_EXPLAIN: explain_text(b->module, b->programs, b->module->n_graphs, &machine, view, &text); break;
  case OPTC_EMIT_EXPLAIN_JSON: explain_json(b->module, b->programs, b->module->n_graphs, &machine, view, &text); break;
  case OPTC_EMIT_EXPLAIN_SVG: explain_svg(b->module, b->programs, b->module->n_graphs, &machine, &text); break;
  default: diag_error(c->diag, nowhere, "there is no output of kind %d", kind); return OPTC_E_INPUT;
  }
  *out = text_output(&text);
  compilation_stage(c, "print");
  return OPTC_OK;
}

static int emit(Compilation *c, void *self) {
  Emission *e = self;
  const optc_emit_options *o = &e->options;
  Build *b = &e->build;
  compilation_time(c, o->timed, o->timed_self);
  if (!build_level(c, b, o->level)) return OPTC_E_INPUT;
  const char *gpus[] = {o->gpu ? o->gpu : "sm_80"};
  Target cpu = {.triple = o->target, .cpus = o->cpus, .n_cpus = (unsigned)o->n_cpus, .features = o->features, .level = b->level ? 2 : 0, .with_driver = true, .debug = o->debug};
  Target gpu = {.triple = "nvptx64-nvidia-cuda", .cpus = gpus, .n_cpus = 1, .level = b->level ? 2 : 0, .debug = o->debug};
  bool wants_cpu = false, wants_lowered = o->passes != NULL;
  for (size_t i = 0; i < sizeof machine_kinds/sizeof *machine_kinds; i++)
    if (machine_kinds[i].kind != OPTC_EMIT_PTX && asks_for(o, machine_kinds[i].kind)) wants_cpu = true;
  for (int i = 0; i < o->n_kinds; i++)
    if (o->kinds[i] != OPTC_EMIT_GRAPH) wants_lowered = true;
  if (o->print_after) wants_lowered = true;
  if (wants_cpu && !backend_check_target(c->arena, &cpu, c->diag)) return OPTC_E_TARGET;
  if (asks_for(o, OPTC_EMIT_PTX) && !backend_check_target(c->arena, &gpu, c->diag)) return OPTC_E_TARGET;

  int status = build_load(c, b);
  if (status == OPTC_OK) status = build_analyse(c, b);
  if (status == OPTC_OK && wants_lowered) status = build_lower(c, b);
  if (status != OPTC_OK) return status;
  if (o->warnings_are_errors && diag_count(c->diag)) {
    diag_error(c->diag, nowhere, "warnings are treated as errors");
    return OPTC_E_INPUT;
  }

  optc_emission *made = arena_alloc(c->arena, sizeof *made);
  made->arena = c->arena;
  made->rule = b->module->name;
  made->n_sources = (int)b->files->n;
  made->sources = arena_array(c->arena, b->files->n + 1, sizeof *made->sources);
  for (unsigned i = 0; i < b->files->n; i++) made->sources[i] = b->files->files[i]->source->name;
  made->n_outputs = o->n_kinds;
  made->outputs = arena_array(c->arena, (size_t)o->n_kinds + 1, sizeof *made->outputs);
  for (int i = 0; i < o->n_kinds; i++) {
    status = emit_one(c, e, o->kinds[i], &cpu, &gpu, &made->outputs[i]);
    if (status != OPTC_OK) return status;
  }
  c->keep = true;
  e->made = made;
  return OPTC_OK;
}

static bool lists_are_given(const optc_emit_options *o) {
  bool given = o->n_kinds >= 0 && o->n_cpus >= 0 && (o->kinds || !o->n_kinds) && (o->cpus || !o->n_cpus);
  for (int i = 0; given && i < o->n_cpus; i++) given = o->cpus[i] != NULL;
  return given;
}

static int emission(optc_context *cx, Emission *e, const optc_emit_options *options, optc_emission **made) {
  if (made) *made = NULL;
  e->options = (optc_emit_options){.size = sizeof e->options, .level = -1};
  options_copy(&e->options, sizeof e->options, options, options ? options->size : 0);
  if (!cx || !made || !build_is_given(&e->build) || !lists_are_given(&e->options)) return OPTC_E_NULL;
  Build *b = &e->build;
  b->rule = e->options.rule;
  b->passes = e->options.passes;
  b->store = e->options.store;
  b->fast = e->options.fast;
  b->compute_f64 = e->options.compute_f64;
  b->store_f64 = e->options.compute_f64 > 1;
  b->verify_each = e->options.verify_each;
  b->print_after = e->options.print_after;
  b->printed = e->options.printed;
  b->printed_self = e->options.printed_self;
  int status = context_compile(cx, emit, e);
  if (status == OPTC_OK) *made = e->made;
  return status;
}

int optc_emit_file(optc_context *cx, const char *path, const optc_emit_options *options, optc_emission **made) {
  Emission e = {.build = {.path = path}};
  return emission(cx, &e, options, made);
}

int optc_emit_memory(optc_context *cx, const char *name, const char *text, size_t length, const optc_emit_options *options, optc_emission **made) {
  Emission e = {.build = {.name = name, .text = text, .length = length}};
  return emission(cx, &e, options, made);
}

void optc_emission_free(optc_emission *e) {
  if (e) arena_free(e->arena);
}
const char *optc_emission_rule(const optc_emission *e) { return e ? e->rule : NULL; }
const void *optc_emission_data(const optc_emission *e, int output, size_t *size) {
  if (!e || output < 0 || output >= e->n_outputs) return NULL;
  if (size) *size = e->outputs[output].size;
  return e->outputs[output].data;
}
const char *optc_emission_source(const optc_emission *e, int index) { return e && index >= 0 && index < e->n_sources ? e->sources[index] : NULL; }
