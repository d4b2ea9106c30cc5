/* vectorise.c: pass `vectorise(lanes, unroll)`: innermost pointwise loops are bound to vectors, 16 lanes and 2 in flight unless told otherwise.
 * Before and after: any program; a loop that is bound already is bound anew, except to GPU threads. Exact: lanes are iterations, which do not meet. */
#include "passes/kernel_edit.h"
#include "passes/passes.h"

static bool is_innermost(const Inst *loop) {
  for (unsigned i = 0; i < loop->body->n; i++) if (loop->body->insts[i]->body) return false;
  return true;
}

static void bind(const Block *block, unsigned lanes, unsigned unroll) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    if (inst->op == KOP_E_FOR && inst->binding != BIND_THREAD && loop_is_pointwise(inst) && is_innermost(inst) && block_has(inst->body, KOP_E_STORE)) {
      inst->binding = BIND_VECTOR;
      inst->lanes = (uint16_t)lanes;
      inst->unroll = (uint16_t)unroll;
      continue;
    }
    bind(inst->body, lanes, unroll);
    bind(inst->otherwise, lanes, unroll);
  }
}

void pass_vectorise(Unit *unit, const PassArgs *args) {
  unsigned lanes = args->lanes ? (unsigned)args->lanes : 16, unroll = args->unroll ? (unsigned)args->unroll : 2;
  for (unsigned k = 0; k < unit->program->n_kernels; k++) bind(unit->program->kernels[k]->body, lanes, unroll);
}
