/* threads.c: pass `threads`: pointwise loops over the whole launch are bound to GPU threads, which stride over the grid. In place of `vectorise` for GPU targets.
 * Before and after: any program. Exact: threads are iterations, which do not meet; kernels that fold memory are left to one thread. */
#include "passes/kernel_edit.h"
#include "passes/passes.h"

static void bind(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    bool nested = inst->op == KOP_E_FOR && (block_has(inst->body, KOP_E_FOR) || block_has(inst->body, KOP_E_IF));
    if (inst->op == KOP_E_FOR && !nested && loop_is_pointwise(inst) && loop_covers_launch(inst)) {
      inst->binding = BIND_THREAD;
      inst->lanes = inst->unroll = 0;
      continue;
    }
    bind(inst->body);
    bind(inst->otherwise);
  }
}

/* Folds of memory take every element of a launch in one order: a kernel with one is a single thread's, whatever else it does. */
static bool folds_memory(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (inst->op == KOP_E_FOR && loop_folds(inst) && !inst_is_pure(inst)) return true;
    if (folds_memory(inst->body) || folds_memory(inst->otherwise)) return true;
  }
  return false;
}

void pass_threads(Unit *unit, const PassArgs *args) {
  for (unsigned k = 0; k < unit->program->n_kernels; k++)
    if (!folds_memory(unit->program->kernels[k]->body)) bind(unit->program->kernels[k]->body);
}
