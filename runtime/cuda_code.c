/* cuda_code.c: the table of a rule that was compiled for PTX: what the host must know of each kernel, and which text a GPU takes. */
#include <stdlib.h>
#include <string.h>
#include "runtime/cache.h"
#include "ir/gpu_map.h"
#include "runtime/cuda.h"

static bool has(const Block *block, bool (*is)(const Inst *)) {
  for (unsigned i = 0; block && i < block->n; i++)
    if (is(block->insts[i]) || has(block->insts[i]->body, is) || has(block->insts[i]->otherwise, is)) return true;
  return false;
}

/* Tensors, and what lies in the workspace. */
static bool is_on_device(const Inst *inst) {
  Touch touch[MAX_TOUCHES];
  return inst_touches(inst, touch) || kop_is(inst->op, KPROP_PARTS);
}
static bool is_answer(const Inst *inst) { return kop_is(inst->op, KPROP_ANSWER); }
static bool is_number(const Inst *inst) { return inst->op == KOP_E_SET_SCALAR; }

static bool runs_first(Launch launch) { return launch == LAUNCH_CHECK || launch == LAUNCH_GROUP || launch == LAUNCH_SIZES || launch == LAUNCH_CALL_SIZES; }

static int64_t what_it_does(const Program *p, const Kernel *k) {
  const GpuMap *map = gpu_map(p->arena, p, k);
  int64_t does = runs_first(k->launch) && !has(k->body, is_on_device) ? GPU_ON_HOST : 0;
  if (map->shared) does |= GPU_BY_THREADS;
  if (map->splits) does |= GPU_SPLITS;
  if (map->tiles) does |= GPU_MULTIPLIES;
  if (has(k->body, is_answer)) does |= GPU_ANSWERS;
  return has(k->body, is_number) ? does | GPU_SETS_NUMBERS : does;
}

/* sm_90a is for 9.0 and nothing later; all others are for what they name and later. */
static optc_gpu_target_desc describe_target(const GpuText *t) {
  CacheField field = {t->text, t->length};
  CacheKey key = cache_key(&field, 1);
  char *end;
  optc_gpu_target_desc target = {.name = t->target, .compute = strtol(t->target + strcspn(t->target, "0123456789"), &end, 10), .text = t->text};
  target.exact = *end == 'a';
  memcpy(&target.key, key.bytes, 8);
  memcpy(&target.more_key, key.bytes + 8, 8);
  return target;
}

optc_gpu_desc *gpu_describe(const Module *m, Program *const *programs, const char *const *names, const GpuText *texts, unsigned n_texts) {
  optc_gpu_entry_desc *entries = arena_array(m->arena, (size_t)m->n_graphs + 1, sizeof *entries);
  for (unsigned i = 0; i < m->n_graphs; i++) {
    unsigned n = programs[i]->n_kernels;
    optc_gpu_kernel_desc *kernels = arena_array(m->arena, (size_t)n + 1, sizeof *kernels);
    for (unsigned k = 0; k < n; k++) kernels[k] = (optc_gpu_kernel_desc){*names++, what_it_does(programs[i], programs[i]->kernels[k])};
    entries[i] = (optc_gpu_entry_desc){kernels, n};
  }
  optc_gpu_target_desc *targets = arena_array(m->arena, (size_t)n_texts + 1, sizeof *targets);
  for (unsigned i = 0; i < n_texts; i++) targets[i] = describe_target(&texts[i]);
  optc_gpu_desc *code = arena_alloc(m->arena, sizeof *code);
  *code = (optc_gpu_desc){.version = OPTC_DESC_VERSION, .entries = entries, .n_entries = m->n_graphs, .targets = targets, .n_targets = n_texts};
  return code;
}

const optc_gpu_target_desc *gpu_choose(const optc_gpu_desc *code, int compute) {
  const optc_gpu_target_desc *best = NULL;
  for (int64_t k = 0; k < code->n_targets; k++) {
    const optc_gpu_target_desc *t = &code->targets[k];
    bool runs = t->exact ? t->compute == compute : t->compute <= compute;
    if (runs && (!best || t->compute > best->compute || (t->compute == best->compute && t->exact))) best = t;
  }
  return best;
}
