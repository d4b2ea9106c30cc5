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

enum { MAX_GPUS = 8 };
typedef struct Emission {
  Build build;
  optc_emit_options options;
  const char *gpu[MAX_GPUS]; unsigned n_gpus;            /* of options.gpu; sm_80 where that is NULL */
  Output ptx[MAX_GPUS];                  /* where anything asks for it */
  Target cpu, target[MAX_GPUS];
  Program **for_cpu;                     /* what machine code is made of: programs that no GPU runs */
  optc_emission *made;
} Emission;

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

static bool is_machine_code(int kind) {
  for (size_t i = 0; i < sizeof machine_kinds/sizeof *machine_kinds; i++) if (machine_kinds[i].kind == kind) return kind != OPTC_EMIT_PTX;
  return false;
}

static bool asks_for_machine_code(const optc_emit_options *o) {
  for (int i = 0; i < o->n_kinds; i++) if (is_machine_code(o->kinds[i])) return true;
  return false;
}

static int generate(Compilation *c, Emission *e, const Target *target, Emit emit, Output *out) {
  Build *b = &e->build;
  c->context->compilations++;
  bool done = backend_emit(c->arena, c->diag, b->module, emit == EMIT_PTX ? b->programs : e->for_cpu, b->module->n_graphs, target, emit, out);
  compilation_stage(c, "codegen");
  if (done) return OPTC_OK;
  if (!diag_errors(c->diag)) diag_error(c->diag, nowhere, "code generation ended without a result");
  return OPTC_E_INTERNAL;
}

/* What EXPLAIN shows of a GPU; NULL: none is asked for, or an error, which is in the diag. */
static const GpuView *view_gpu(Compilation *c, Emission *e) {
  const Build *b = &e->build;
  Output text;
  if (!e->options.gpu || generate(c, e, &e->target[0], EMIT_PTX, &text) != OPTC_OK) return NULL;
  Source *source = arena_alloc(c->arena, sizeof *source);
  GpuView *view = arena_alloc(c->arena, sizeof *view);
  *source = (Source){arena_printf(c->arena, "%s.ptx", b->module->name), (const char *)text.data, text.size};
  *view = (GpuView){.name = e->gpu[0], .code = ptx_load(c->arena, c->diag, source, PTX_RELAXED), .assembled = e->options.assembled};
  view->table = gpu_describe(b->module, b->programs, backend_kernel_names(c->arena, b->module, b->programs, b->module->n_graphs), NULL, 0);
  return view->code ? view : NULL;
}

/* One output. Machine code of several kinds is generated once for each: they are asked for together only when somebody looks. */
static int emit_one(Compilation *c, Emission *e, int kind, Output *out) {
  Build *b = &e->build;
  Text text = {.arena = c->arena};
  const optc_emit_options *o = &e->options;
  Machine machine = {.bandwidth = o->bandwidth, .peak = o->peak, .bandwidth_measured = o->bandwidth_measured, .peak_measured = o->peak_measured};
  for (size_t i = 0; i < sizeof machine_kinds/sizeof *machine_kinds; i++)
    if (machine_kinds[i].kind == kind && kind != OPTC_EMIT_PTX) return generate(c, e, &e->cpu, machine_kinds[i].emit, out);
  const GpuView *view = kind == OPTC_EMIT_EXPLAIN || kind == OPTC_EMIT_EXPLAIN_JSON ? view_gpu(c, e) : NULL;
  if (diag_errors(c->diag)) return OPTC_E_TARGET;
  switch (kind) {
  case OPTC_EMIT_PTX: *out = e->ptx[0]; return OPTC_OK;
  case OPTC_EMIT_GRAPH: print_graphs(b, &text); break;
  case OPTC_EMIT_KERNELS:
    for (unsigned i = 0; i < b->module->n_graphs; i++) program_print(b->programs[i], &text);
    break;
  case OPTC_EMIT_HEADER: backend_header(b->module, b->programs, b->module->n_graphs, o->gpu, &text); break;
  case OPTC_EMIT_EXPLAIN: explain_text(b->module, b->programs, b->module->n_graphs, &machine, view, &text); break;
  case OPTC_EMIT_EXPLAIN_JSON: explain_json(b->module, b->programs, b->module->n_graphs, &machine, view, &text); break;
  case OPTC_EMIT_EXPLAIN_SVG: explain_svg(b->module, b->programs, b->module->n_graphs, &machine, &text); break;
  default: diag_error(c->diag, nowhere, "there is no output of kind %d", kind); return OPTC_E_INPUT;
  }
  *out = text_output(&text);
  compilation_stage(c, "print");
  return OPTC_OK;
}

/* The list in options.gpu. */
static int read_gpus(Compilation *c, Emission *e) {
  const char *at = e->options.gpu ? e->options.gpu : "sm_80";
  for (; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
    const char *name = arena_strndup(c->arena, at, strcspn(at, ","));
    bool twice = false;
    for (unsigned i = 0; i < e->n_gpus; i++) twice |= !strcmp(e->gpu[i], name);
    if (twice) continue;
    if (e->n_gpus == MAX_GPUS) {
      diag_error(c->diag, nowhere, "more than %d GPUs are given", MAX_GPUS);
      return OPTC_E_TARGET;
    }
    e->gpu[e->n_gpus++] = name;
  }
  bool text = asks_for(&e->options, OPTC_EMIT_PTX), explained = asks_for(&e->options, OPTC_EMIT_EXPLAIN) || asks_for(&e->options, OPTC_EMIT_EXPLAIN_JSON);
  if (e->n_gpus == 1 || (!text && !explained)) return OPTC_OK;
  diag_error(c->diag, nowhere, "%s for one GPU, and %u are given: '%s'; an object carries several", text ? "PTX is one text" : "it is explained", e->n_gpus, e->options.gpu);
  return OPTC_E_TARGET;
}

/* What code is made for, each checked. */
static int set_targets(Compilation *c, Emission *e) {
  const optc_emit_options *o = &e->options;
  int level = e->build.level ? 2 : 0, status = read_gpus(c, e);
  e->cpu = (Target){.triple = o->target, .cpus = o->cpus, .n_cpus = (unsigned)o->n_cpus, .features = o->features, .level = level, .with_driver = true, .debug = o->debug};
  if (status == OPTC_OK && asks_for_machine_code(o) && !backend_check_target(c->arena, &e->cpu, c->diag)) status = OPTC_E_TARGET;
  for (unsigned i = 0; i < e->n_gpus && status == OPTC_OK; i++) {
    e->target[i] = (Target){.triple = "nvptx64-nvidia-cuda", .cpus = &e->gpu[i], .n_cpus = 1, .level = level, .debug = o->debug};
    if (!backend_check_target(c->arena, &e->target[i], c->diag)) status = OPTC_E_TARGET;
  }
  return status;
}

static bool same_programs(Compilation *c, Program *const *a, Program *const *b, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    Text x = {.arena = c->arena}, y = {.arena = c->arena};
    program_print(a[i], &x);
    program_print(b[i], &y);
    if (x.length != y.length || memcmp(x.data, y.data, x.length)) return false;
  }
  return true;
}

/* PTX, where it is asked for or objects carry it. */
static int emit_gpus(Compilation *c, Emission *e) {
  const Build *b = &e->build;
  bool carried = e->options.gpu && asks_for_machine_code(&e->options);
  if (!carried && !asks_for(&e->options, OPTC_EMIT_PTX)) return OPTC_OK;
  GpuText *texts = arena_array(c->arena, e->n_gpus, sizeof *texts);
  for (unsigned i = 0; i < e->n_gpus; i++) {
    int status = generate(c, e, &e->target[i], EMIT_PTX, &e->ptx[i]);
    if (status != OPTC_OK) return status;
    texts[i] = (GpuText){e->gpu[i], (const char *)e->ptx[i].data, e->ptx[i].size};
  }
  const char *const *names = backend_kernel_names(c->arena, b->module, b->programs, b->module->n_graphs);
  if (!carried) return OPTC_OK;
  e->cpu.gpu = gpu_describe(b->module, b->programs, names, texts, e->n_gpus);
  if (!same_programs(c, b->programs, e->for_cpu, b->module->n_graphs)) e->cpu.gpu_programs = b->programs;
  return OPTC_OK;
}

/* An object has the machine code that it would have without PTX: what is lowered for GPUs is theirs. */
static int lower(Compilation *c, Emission *e) {
  int status = build_lower(c, &e->build);
  e->for_cpu = e->build.programs;
  if (status != OPTC_OK || !e->build.gpu || !asks_for_machine_code(&e->options)) return status;
  Build own = e->build;
  own.gpu = false;
  own.printed = NULL;
  status = build_lower(c, &own);
  e->for_cpu = own.programs;
  return status;
}

static int emit(Compilation *c, void *self) {
  Emission *e = self;
  const optc_emit_options *o = &e->options;
  Build *b = &e->build;
  b->gpu = o->gpu || asks_for(o, OPTC_EMIT_PTX);
  compilation_time(c, o->timed, o->timed_self);
  if (!build_level(c, b, o->level)) return OPTC_E_INPUT;
  int status = set_targets(c, e);
  if (status != OPTC_OK) return status;
  bool wants_lowered = o->passes != NULL || o->print_after;
  for (int i = 0; i < o->n_kinds; i++)
    if (o->kinds[i] != OPTC_EMIT_GRAPH) wants_lowered = true;

  status = build_load(c, b);
  if (status == OPTC_OK) status = build_analyse(c, b);
  if (status == OPTC_OK && wants_lowered) status = lower(c, e);
  if (status != OPTC_OK) return status;
  if (o->warnings_are_errors && diag_count(c->diag)) {
    diag_error(c->diag, nowhere, "warnings are treated as errors");
    return OPTC_E_INPUT;
  }

  optc_emission *made = arena_alloc(c->arena, sizeof *made);
  made->rule = b->module->name;
  made->n_sources = (int)b->files->n;
  made->sources = arena_array(c->arena, b->files->n + 1, sizeof *made->sources);
  for (unsigned i = 0; i < b->files->n; i++) made->sources[i] = b->files->files[i]->source->name;
  made->n_outputs = o->n_kinds;
  made->outputs = arena_array(c->arena, (size_t)o->n_kinds + 1, sizeof *made->outputs);
  status = emit_gpus(c, e);
  for (int i = 0; i < o->n_kinds && status == OPTC_OK; i++) status = emit_one(c, e, o->kinds[i], &made->outputs[i]);
  if (status != OPTC_OK) return status;
  c->keep = &made->arena;
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
  if (!cx || !made || !build_is_given(&e->build) || !lists_are_given(&e->options)) return context_refuse(cx, OPTC_E_NULL);
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
