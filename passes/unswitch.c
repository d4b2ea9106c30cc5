/* unswitch.c: pass `unswitch(limit)`: loops are cloned for the values of conditions that do not change in them. Exact.
 *
 * Before: any program. After: a loop that guards a load or store, or branches, on a value computed outside it (or selects by one, where a load that does not
 * move with the loop keeps it from vectors) stands twice, under `if c` and `else`,
 * and what c decides is folded in each; again, until no such condition is left or the kernel holds `limit` loops (8 unless told otherwise)
 * or a great many instructions.
 * A loop whose end is read behind it (values it carries, folds) stays one.
 * Conditions are taken in order of definition, so that what others are made of comes first. */
#include "passes/kernel_edit.h"
#include "passes/passes.h"

enum { LOOPS = 8, INSTRUCTIONS = 2000 };

/* The condition of lowest number, defined before the loop, that something in it depends on. */
static void find_condition(const Block *block, unsigned loop_id, bool selections, const Inst **best) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i], *c = NULL;
    if (inst->op == KOP_E_LOAD && inst->n_args > 1) c = inst->args[1];
    if (inst->op == KOP_E_STORE && inst->n_args > 2) c = inst->args[2];
    if (inst->op == KOP_E_IF || (selections && inst->op == KOP_SELECT)) c = inst->args[0];
    if (c && c->id < loop_id && c->op != KOP_E_CONST && (!*best || c->id < (*best)->id)) *best = c;
    find_condition(inst->body, loop_id, selections, best);
    find_condition(inst->otherwise, loop_id, selections, best);
  }
}

/* Whether something in it is loaded from places that do not move with the loop around them. */
static bool strays(const Inst *loop) {
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    if ((inst->op == KOP_E_LOAD && !place_follows(inst->args[0], loop)) || (inst->op == KOP_E_FOR && strays(inst))) return true;
  }
  return false;
}

/* Splits the first loop that can be split. */
static bool split_one(Program *p, Block *block, unsigned n_insts) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    const Inst *c = NULL;
    if (inst->op == KOP_E_FOR && inst->n_args == 2 && !loop_folds(inst) && block_has(inst->body, KOP_E_STORE)) find_condition(inst->body, inst->id, strays(inst), &c);
    if (c) {
      Inst *arg = (Inst *)c;
      Block *yes = block_new(p->arena), *no = block_new(p->arena);
      Inst *branch = block_add(p->arena, block_new(p->arena), KOP_E_IF, TYPE_BOOL, 0, 1, &arg);
      block_push(p->arena, yes, inst);
      inst_clone(p->arena, no, inst, arena_array(p->arena, n_insts + 1, sizeof(Inst *)));
      branch->body = yes;
      branch->otherwise = no;
      block->insts[i] = branch;
      return true;
    }
    if (split_one(p, inst->body, n_insts) || split_one(p, inst->otherwise, n_insts)) return true;
  }
  return false;
}

static unsigned count_loops(const Block *block) {
  unsigned n = 0;
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    n += (inst->op == KOP_E_FOR && !inst_is_pure(inst)) + count_loops(inst->body) + count_loops(inst->otherwise);
  }
  return n;
}

void pass_unswitch(Unit *unit, const PassArgs *args) {
  Program *p = unit->program;
  unsigned limit = args->limit ? (unsigned)args->limit : LOOPS;
  program_sweep(p);
  for (unsigned k = 0; k < p->n_kernels;) {
    Kernel *kernel = p->kernels[k];
    bool data = kernel->launch == LAUNCH_ITEM || kernel->launch == LAUNCH_CHUNK || kernel->launch == LAUNCH_TILE;
    if (!data || count_loops(kernel->body) >= limit || kernel->n_insts > INSTRUCTIONS || !split_one(p, kernel->body, kernel->n_insts)) { k++; continue; }
    kernel_simplify(p, kernel);
    program_sweep(p);                    /* so that dead loads ask for no clones; kernels may go, so begin again */
    k = 0;
  }
}
