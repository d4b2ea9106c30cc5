/* vectorise.c: pass `vectorise(lanes, unroll)`: innermost data-parallel loops are bound to vectors, 16 lanes and 2 in flight unless told otherwise.
 * Before and after: any program; a loop that is bound already is bound anew. Exact: lanes are iterations, which meet in folds at most, and those have one order at every width. */
#include "passes/kernel_edit.h"
#include "passes/passes.h"

static bool is_innermost(const Inst *loop) {
  for (unsigned i = 0; i < loop->body->n; i++) if (loop->body->insts[i]->body) return false;
  return true;
}

/* Work on memory: what only counts is left to scalars. */
static bool is_worth_it(const Inst *loop) { return block_has(loop->body, KOP_E_STORE) || (loop_folds(loop) && block_has(loop->body, KOP_E_LOAD)); }

/* Where the number of iterations is known, no more side by side than it fills. */
static unsigned copies_for(const Inst *loop, unsigned lanes, unsigned unroll) {
  if (loop->args[0]->op != KOP_E_CONST || loop->args[1]->op != KOP_E_CONST) return unroll;
  int64_t full = (loop->args[1]->imm - loop->args[0]->imm)/lanes;
  return full < 1 ? 1 : full < unroll ? (unsigned)full : unroll;
}

static void bind(const Block *block, unsigned lanes, unsigned unroll) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    if (inst->op == KOP_E_FOR && loop_is_data_parallel(inst) && is_innermost(inst) && is_worth_it(inst)) {
      inst->binding = BIND_VECTOR;
      inst->lanes = (uint16_t)lanes;
      inst->unroll = (uint16_t)copies_for(inst, lanes, unroll);
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
