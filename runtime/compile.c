/* compile.c: from .opt text to a rule that can be called: through the cache, the code generator or an interpreter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/ptx/ptx.h"
#include "runtime/build.h"
#include "runtime/cache.h"
#include "runtime/cuda.h"
#include "runtime/interp.h"
#include "runtime/profile.h"
#include <runtime/build_id.h>

typedef struct Compile { Build build; optc_compile_options options; optc_rule *rule; } Compile;

static const Range nowhere = {0};

/* Everything that the object's bytes, or the diagnostics kept beside them, depend on. */
static CacheKey compile_key(Compilation *c, const Compile *k, const char *features) {
  const Build *b = &k->build;
  const optc_compile_options *o = &k->options;
  int numbers[] = {OPTC_DESC_VERSION, b->level, b->fast, o->compute_f64, c->context->color};
  const char *texts[] = {OPTC_BUILD_ID, optc_version(), backend_host_triple(c->arena), backend_host_cpu(c->arena), features,
                         o->cpu ? o->cpu : "", o->passes ? o->passes : "(default)", o->rule ? o->rule : "(last)", o->store ? o->store : ""};
  enum { TEXTS = sizeof texts/sizeof *texts };
  CacheField *fields = arena_array(c->arena, 1 + TEXTS + 2*b->files->n, sizeof *fields);
  size_t n = 0;
  fields[n++] = (CacheField){numbers, sizeof numbers};
  for (int i = 0; i < TEXTS; i++) fields[n++] = (CacheField){texts[i], strlen(texts[i])};
  for (unsigned i = 0; i < b->files->n; i++) {
    const Source *s = b->files->files[i]->source;
    fields[n++] = (CacheField){s->name, strlen(s->name)};
    fields[n++] = (CacheField){s->text, s->length};
  }
  return cache_key(fields, n);
}

static int link_object(Compilation *c, Compile *k, const char *name, const void *object, size_t size) {
  char why[256];
  const void *address;
  k->rule->jit = jit_link(object, size, arena_printf(c->arena, "%s_rule", name), &address, why, sizeof why);
  if (!k->rule->jit) {
    diag_error(c->diag, nowhere, "cannot link the generated code: %s", why);
    return OPTC_E_INTERNAL;
  }
  if (!rule_adopt(k->rule, address)) {                     /* another object may be linked in its place */
    jit_free(k->rule->jit);
    k->rule->jit = NULL;
    return OPTC_E_MEMORY;
  }
  profile_publish(k->rule->desc);
  compilation_stage(c, "link");
  return OPTC_OK;
}

static int compile_jit(Compilation *c, Compile *k) {
  Build *b = &k->build;
  char *found = jit_host_features();
  if (!found) return OPTC_E_MEMORY;
  char features[4096];                                      /* no malloc'ed memory is held across arena calls */
  snprintf(features, sizeof features, "%s", found);
  free(found);
  const char *cpus[] = {k->options.cpu ? k->options.cpu : "native"};
  Target target = {.cpus = cpus, .n_cpus = 1, .level = b->level ? 2 : 0, .unchecked = !b->verify_each};
  CacheKey key = compile_key(c, k, features);
  CacheEntry entry;
  if (cache_load(c->context->cache_dir, c->arena, &key, &entry)) {
    compilation_stage(c, "cache");
    if (link_object(c, k, entry.part[CACHE_RULE].data, entry.part[CACHE_OBJECT].data, entry.part[CACHE_OBJECT].size) == OPTC_OK) {
      if (entry.part[CACHE_TEXT].size) {                    /* they include those of this parse */
        c->diag = diag_new(c->arena, 0);
        context_adopt(c->context, entry.part[CACHE_TEXT].data, entry.part[CACHE_JSON].data);
      }
      return OPTC_OK;
    }
    c->diag = diag_new(c->arena, 0);                        /* an entry that does not link is replaced */
  } else compilation_stage(c, "cache");

  if (!backend_check_target(c->arena, &target, c->diag)) return OPTC_E_TARGET;
  int status = build_analyse(c, b);
  if (status == OPTC_OK) status = build_lower(c, b);
  if (status != OPTC_OK) return status;
  Output object;
  c->context->compilations++;
  if (!backend_emit(c->arena, c->diag, b->module, b->programs, b->module->n_graphs, &target, EMIT_OBJECT, &object)) return OPTC_E_INTERNAL;
  compilation_stage(c, "codegen");
  status = link_object(c, k, b->module->name, object.data, object.size);
  if (status != OPTC_OK) return status;
  Text text = {.arena = c->arena}, json = {.arena = c->arena};
  if (diag_count(c->diag)) {
    diag_render_text(c->diag, &text, c->context->color);
    diag_render_json(c->diag, &json);
  }
  entry = (CacheEntry){{{b->module->name, strlen(b->module->name)}, {text.data, text.length}, {json.data, json.length}, {object.data, object.size}}};
  cache_store(c->context->cache_dir, c->arena, &key, &entry);
  compilation_stage(c, "cache");
  return OPTC_OK;
}

/* The rule keeps the arena that all of it lives in. */
static int adopt_interpreted(Compilation *c, Compile *k, const optc_rule_desc *desc) {
  if (!rule_adopt(k->rule, desc)) return OPTC_E_MEMORY;
  c->keep = &k->rule->arena;
  return OPTC_OK;
}

static int compile_interpreted(Compilation *c, Compile *k) {
  Build *b = &k->build;
  int status = build_analyse(c, b);
  if (status == OPTC_OK && k->options.backend == OPTC_BACKEND_KERNEL) status = build_lower(c, b);
  if (status != OPTC_OK) return status;
  const optc_rule_desc *desc = interp_describe(k->rule, b->module, b->programs);
  compilation_stage(c, "describe");
  return adopt_interpreted(c, k, desc);
}

static int compile_ptx(Compilation *c, Compile *k) {
  Build *b = &k->build;
  const char *gpus[] = {k->options.cpu ? k->options.cpu : "sm_80"};
  Target target = {.triple = "nvptx64-nvidia-cuda", .cpus = gpus, .n_cpus = 1, .level = b->level ? 2 : 0};
  if (!backend_check_target(c->arena, &target, c->diag)) return OPTC_E_TARGET;
  int status = build_analyse(c, b);
  if (status == OPTC_OK) status = build_lower(c, b);
  if (status != OPTC_OK) return status;
  Output text;
  c->context->compilations++;
  if (!backend_emit(c->arena, c->diag, b->module, b->programs, b->module->n_graphs, &target, EMIT_PTX, &text)) return OPTC_E_INTERNAL;
  compilation_stage(c, "codegen");
  Source *source = arena_alloc(c->arena, sizeof *source);
  *source = (Source){arena_printf(c->arena, "%s.ptx", b->module->name), (const char *)text.data, text.size};
  const PtxModule *code = ptx_load(c->arena, c->diag, source, b->fast ? PTX_RELAXED : PTX_STRICT);
  k->rule->seed = k->options.seed;
  const optc_rule_desc *desc = code ? interp_describe_ptx(k->rule, b->module, b->programs, code, gpus[0]) : NULL;
  compilation_stage(c, "describe");
  if (code && !desc) diag_error(c->diag, nowhere, "the PTX has other kernels than the rule");
  if (!desc) return OPTC_E_INTERNAL;
  GpuText ptx = {arena_strndup(c->arena, *gpus, strlen(*gpus)), source->text, source->length};
  optc_gpu_desc *gpu = gpu_describe(b->module, b->programs, backend_kernel_names(c->arena, b->module, b->programs, b->module->n_graphs), &ptx, 1);
  gpu->rule = interp_describe(k->rule, b->module, b->programs);
  gpu->starved = &k->rule->starved;
  k->rule->gpu = gpu;
  return adopt_interpreted(c, k, desc);
}

static int compile(Compilation *c, void *self) {
  Compile *k = self;
  compilation_time(c, k->options.timed, k->options.timed_self);
  if (!build_level(c, &k->build, k->options.level)) return OPTC_E_INPUT;
  int status = build_load(c, &k->build);
  if (status != OPTC_OK) return status;
  switch (k->options.backend) {
  case OPTC_BACKEND_JIT: return compile_jit(c, k);
  case OPTC_BACKEND_GRAPH:
  case OPTC_BACKEND_KERNEL: return compile_interpreted(c, k);
  case OPTC_BACKEND_PTX: return compile_ptx(c, k);
  default: diag_error(c->diag, nowhere, "there is no backend %d", k->options.backend); return OPTC_E_INPUT;
  }
}

static int compile_rule(optc_context *cx, Compile *k, const optc_compile_options *options, optc_rule **rule) {
  if (rule) *rule = NULL;
  if (!cx || !rule || !build_is_given(&k->build)) return context_refuse(cx, OPTC_E_NULL);
  k->options = (optc_compile_options){.size = sizeof k->options, .level = -1};
  options_copy(&k->options, sizeof k->options, options, options ? options->size : 0);
  k->build.rule = k->options.rule;
  k->build.passes = k->options.passes;
  k->build.store = k->options.store;
  k->build.fast = k->options.fast;
  k->build.gpu = k->options.backend == OPTC_BACKEND_PTX;
  k->build.compute_f64 = k->options.compute_f64;
  k->build.store_f64 = k->options.compute_f64 > 1;
  k->build.verify_each = k->options.verify_each;
  k->rule = rule_new();
  if (!k->rule) return context_refuse(cx, OPTC_E_MEMORY);
  int status = context_compile(cx, compile, k);
  if (status == OPTC_OK) *rule = k->rule;
  else optc_rule_free(k->rule);
  return status;
}

int optc_compile_file(optc_context *cx, const char *path, const optc_compile_options *options, optc_rule **rule) {
  Compile k = {.build = {.path = path}};
  return compile_rule(cx, &k, options, rule);
}

int optc_compile_memory(optc_context *cx, const char *name, const char *text, size_t length, const optc_compile_options *options, optc_rule **rule) {
  Compile k = {.build = {.name = name, .text = text, .length = length}};
  return compile_rule(cx, &k, options, rule);
}
