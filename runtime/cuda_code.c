/* cuda_code.c: what the host must know of each kernel of a rule that was compiled for PTX. */
#include "runtime/cuda.h"

/* A loop that GPU threads share: one that folds keeps its order in one thread. */
static bool is_shared(const Inst *inst) { return inst->op == KOP_E_FOR && inst->binding != BIND_SEQ && !loop_folds(inst); }

static bool threads_write(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (!is_shared(inst) && (!threads_write(inst->body) || !threads_write(inst->otherwise))) return false;
    if (!inst->body && inst->op >= ELEMENT_COUNT && !kop_has_result((KOp)inst->op) && inst->op != KOP_E_YIELD && inst->op != KOP_E_FOLD) return false;
  }
  return true;
}
bool gpu_threads_share(const Kernel *k) { return k->launch == LAUNCH_CHUNK && threads_write(k->body); }

static bool has(const Block *block, bool (*is)(const Inst *)) {
  for (unsigned i = 0; block && i < block->n; i++)
    if (is(block->insts[i]) || has(block->insts[i]->body, is) || has(block->insts[i]->otherwise, is)) return true;
  return false;
}

/* Tensors, and what lies in the workspace. */
static bool is_on_device(const Inst *inst) {
  Touch touch[MAX_TOUCHES];
  return inst_touches(inst, touch) || inst->op == KOP_E_SLOT || inst->op == KOP_E_SET_SLOT || inst->op == KOP_E_TOTAL || inst->op == KOP_E_SET_TOTAL;
}
static bool is_answer(const Inst *inst) { return inst->op == KOP_E_REQUIRE || inst->op == KOP_E_SKIP || inst->op == KOP_E_SET_UNIFORM; }
static bool is_number(const Inst *inst) { return inst->op == KOP_E_SET_SCALAR; }

static bool runs_first(Launch launch) { return launch == LAUNCH_CHECK || launch == LAUNCH_GROUP || launch == LAUNCH_SIZES || launch == LAUNCH_CALL_SIZES; }

const struct GpuCode *gpu_code(const Module *m, Program *const *programs, const char *text, size_t length, const char *const *names) {
  struct GpuCode *code = arena_alloc(m->arena, sizeof *code);
  CacheField field = {text, length};
  *code = (struct GpuCode){.module = m, .text = text, .length = length, .key = cache_key(&field, 1), .kernels = arena_array(m->arena, (size_t)m->n_graphs + 1, sizeof *code->kernels)};
  for (unsigned i = 0; i < m->n_graphs; i++) {
    const Program *p = programs[i];
    GpuKernel *kernels = arena_array(m->arena, (size_t)p->n_kernels + 1, sizeof *kernels);
    for (unsigned k = 0; k < p->n_kernels; k++) {
      const Kernel *kernel = p->kernels[k];
      kernels[k] = (GpuKernel){.program = p, .kernel = kernel, .name = *names++, .on_host = runs_first(kernel->launch) && !has(kernel->body, is_on_device), .by_threads = gpu_threads_share(kernel),
        .answers = has(kernel->body, is_answer), .sets_numbers = has(kernel->body, is_number)};
    }
    code->kernels[i] = kernels;
  }
  return code;
}
