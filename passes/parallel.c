/* parallel.c: pass `parallel`: item kernels whose loops are pointwise over the whole launch become chunk kernels, which the driver runs
 * once a chunk of 65,536 elements, in parallel. Before and after: any program. Exact: no element depends on another, and chunk kernels write no scalars. */
#include "passes/kernel_edit.h"
#include "passes/passes.h"

static bool fits(const Block *block, unsigned *loops) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (inst->op == KOP_E_FOR && loop_folds(inst) && loop_covers_launch(inst)) return false;      /* over the item, not over each chunk */
    if (inst_is_pure(inst)) continue;
    if (inst->op == KOP_E_IF) { if (!fits(inst->body, loops) || !fits(inst->otherwise, loops)) return false; continue; }
    if (!loop_is_pointwise(inst) || !loop_covers_launch(inst)) return false;
    ++*loops;
  }
  return true;
}

void pass_parallel(Unit *unit, const PassArgs *args) {
  for (unsigned k = 0; k < unit->program->n_kernels; k++) {
    Kernel *kernel = unit->program->kernels[k];
    unsigned loops = 0;
    if (kernel->launch == LAUNCH_ITEM && fits(kernel->body, &loops) && loops) kernel->launch = LAUNCH_CHUNK;
  }
}
