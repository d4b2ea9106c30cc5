/* fuse.c: pass `fuse`: neighbouring kernels of elementwise loops become one kernel with one loop. Exact.
 *
 * Before: any program. A run of neighbouring item (or chunk) kernels takes part when each holds nothing but pure scalars,
 * loops over the whole launch that touch memory only at their own index, bare or under `if` without `else`, and, behind bare loops that
 * fold, what becomes of the folds: a tail of pure scalars, stores to temporaries, and slots. Kernels without folds join chunk kernels too.
 * After: such a run is one kernel: the scalars of all, then one loop with the bodies in their order, then the tails. A loop under `if c` becomes
 * guards c on its stores, and on its loads of tensors that may be absent (if all loops have one condition, the loop stays under it).
 * Then a load of a temporary that the same iteration stored takes the stored value, and temporaries that nobody loads go.
 *
 * Why it keeps the meaning: iteration i reads and writes elements i only, operands do not overlap (the driver checks), so within one element the
 * accesses keep their order, and between elements there is none. Loads under a condition that is false may now happen: the
 * tensors exist, and a value that is not stored leaves no trace. A tail goes behind loops only where those touch no temporary that it stores. */
#include <string.h>
#include "passes/kernel_edit.h"
#include "passes/passes.h"

/* --- what can take part ------------------------------------------------------------------------------------------------------ */

typedef struct Survey {
  const Inst *loop; unsigned loops;
  bool mixed, anchored;                  /* loops of several bindings; folds or a tail, which belong to a launch */
  bool *stored;                          /* by temporary: a tail stores it; of the whole run */
} Survey;

typedef enum Part { PART_SCALAR, PART_LOOP, PART_TAIL } Part;

static bool depends(const Inst *inst, const bool *behind);
static bool block_depends(const Block *block, const bool *behind) {
  for (unsigned i = 0; block && i < block->n; i++) if (depends(block->insts[i], behind)) return true;
  return false;
}
static bool depends(const Inst *inst, const bool *behind) {
  for (unsigned a = 0; a < inst->n_args; a++) if (behind[inst->args[a]->id]) return true;
  return block_depends(inst->body, behind) || block_depends(inst->otherwise, behind);
}

/* Where an instruction of a kernel's own block stands. `behind`, by id: it is known behind the loops only. */
static Part part_of(const Inst *inst, bool *behind) {
  bool of_memory = inst->op == KOP_E_FOLDED && !inst_is_pure(inst->args[0]);
  if (inst_is_pure(inst)) return (behind[inst->id] = of_memory || depends(inst, behind)) ? PART_TAIL : PART_SCALAR;
  return inst->op == KOP_E_STORE || inst->op == KOP_E_SET_SLOT ? PART_TAIL : PART_LOOP;
}

static bool *new_marks(Program *p, Kernel *k) {
  kernel_number(k);
  return arena_array(p->arena, k->n_insts + 1, sizeof(bool));
}

static bool meets_tail(const Program *p, const Block *block, const bool *stored) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool temp = (inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE) && inst->imm >= p->module->n_operands;
    if ((temp && stored[inst->imm - p->module->n_operands]) || meets_tail(p, inst->body, stored) || meets_tail(p, inst->otherwise, stored)) return true;
  }
  return false;
}

static bool survey_loop(const Program *p, const Inst *loop, bool bare, Survey *found) {
  bool folds = loop->op == KOP_E_FOR && loop_folds(loop);
  if (!loop_is_elementwise(loop) || !loop_covers_launch(loop) || (folds && !bare) || meets_tail(p, loop->body, found->stored)) return false;
  const Inst *one = found->loop;
  if (one && !inst_same_binding(one, loop)) found->mixed = true;
  if (!one) found->loop = loop;
  found->loops++;
  return true;
}

static bool survey_under(const Program *p, const Block *block, Survey *found) {
  for (unsigned i = 0; i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (inst_is_pure(inst)) continue;
    bool branch = inst->op == KOP_E_IF && !inst->otherwise;
    if (branch ? !survey_under(p, inst->body, found) : !survey_loop(p, inst, false, found)) return false;
  }
  return true;
}

static bool survey_tail(const Program *p, const Inst *inst, Survey *found) {
  if (inst->op == KOP_E_STORE) {
    if (inst->imm < p->module->n_operands) return false;
    found->stored[inst->imm - p->module->n_operands] = true;
  }
  found->anchored = true;
  return true;
}

static bool survey(Program *p, Kernel *k, Survey *found) {
  bool *behind = new_marks(p, k);
  for (unsigned i = 0; i < k->body->n; i++) {
    const Inst *inst = k->body->insts[i];
    Part part = part_of(inst, behind);
    if (part == PART_TAIL && !survey_tail(p, inst, found)) return false;
    if (inst->op == KOP_E_FOR && loop_folds(inst) && loop_covers_launch(inst)) found->anchored = true;
    if (part != PART_LOOP) continue;
    bool branch = inst->op == KOP_E_IF && !inst->otherwise;
    if (depends(inst, behind) || (branch ? !survey_under(p, inst->body, found) : !survey_loop(p, inst, true, found))) return false;
  }
  return true;
}

/* `stored`: of the kernels before, or NULL. */
static bool takes_part(Program *p, Kernel *k, bool *stored, Survey *found) {
  *found = (Survey){.stored = stored ? stored : arena_array(p->arena, p->n_temps + 1, sizeof *stored)};
  return (k->launch == LAUNCH_ITEM || k->launch == LAUNCH_CHUNK) && survey(p, k, found) && found->loops && !found->mixed;
}

/* Pointwise loops may run in any pieces, and are better off in chunks than with folds that need the whole item. */
static bool join_launch(Launch *launch, bool *anchored, const Kernel *k, bool k_anchored) {
  if (*anchored != k_anchored && (*anchored ? *launch : k->launch) != LAUNCH_CHUNK) return false;
  if (*anchored && k_anchored && *launch != k->launch) return false;
  if (*launch != k->launch) *launch = LAUNCH_CHUNK;
  *anchored |= k_anchored;
  return true;
}

/* --- one kernel: scalars first, then loops, each under at most one `if`, then tails ------------------------------------------- */

typedef struct Parts { Block *scalars, *loops, *tail; } Parts;

static void gather_under(Arena *arena, const Block *block, Inst *guard, const Parts *to) {
  for (unsigned i = 0; i < block->n; i++) {
    Inst *inst = block->insts[i];
    if (inst->op == KOP_E_IF) {
      Inst *both = guard ? block_add(arena, to->scalars, KOP_AND, TYPE_BOOL, 0, 2, (Inst *[]){guard, inst->args[0]}) : inst->args[0];
      gather_under(arena, inst->body, both, to);
    } else if (inst_is_pure(inst)) block_push(arena, to->scalars, inst);
    else {
      Inst *under = block_add(arena, to->loops, KOP_E_IF, TYPE_BOOL, 0, 1, &guard);
      under->body = block_new(arena);
      block_push(arena, under->body, inst);
    }
  }
}

static void gather(Program *p, Kernel *k, const Parts *to) {
  bool *behind = new_marks(p, k);
  for (unsigned i = 0; i < k->body->n; i++) {
    Inst *inst = k->body->insts[i];
    Part part = part_of(inst, behind);
    if (inst->op == KOP_E_IF) gather_under(p->arena, inst->body, inst->args[0], to);
    else block_push(p->arena, part == PART_SCALAR ? to->scalars : part == PART_LOOP ? to->loops : to->tail, inst);
  }
}

static void append(Arena *arena, Block *to, const Block *from) { for (unsigned i = 0; i < from->n; i++) block_push(arena, to, from->insts[i]); }

static void replace_uses(const Block *block, const Inst *old, Inst *new) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    for (unsigned a = 0; a < inst->n_args; a++) if (inst->args[a] == old) inst->args[a] = new;
    replace_uses(inst->body, old, new);
    replace_uses(inst->otherwise, old, new);
  }
}

/* Grads, inputs and params that are not optional are there whatever the conditions are: loading them needs no guard. */
static bool always_there(const Program *p, int64_t buffer) {
  if (buffer >= p->module->n_operands) return false;
  const Operand *o = &p->module->operands[buffer];
  return !o->optional && o->role != ROLE_OUT && o->role != ROLE_STATE;
}

static void add_guard(Program *p, Block *body, Block *scalars, Inst *inst, Inst *guard) {
  bool load = inst->op == KOP_E_LOAD;
  unsigned at = load ? 1 : 2;
  if (load && always_there(p, inst->imm)) return;
  Inst *old = inst->n_args > at ? inst->args[at] : NULL;
  if (old == guard) return;
  if (old) {
    bool outside = false;
    for (unsigned i = 0; i < scalars->n; i++) outside |= scalars->insts[i] == old;
    guard = block_add(p->arena, outside ? scalars : body, KOP_AND, TYPE_BOOL, 0, 2, (Inst *[]){guard, old});
  }
  Inst **args = arena_array(p->arena, at + 1, sizeof *args);
  memcpy(args, inst->args, at * sizeof *args);
  args[at] = guard;
  inst->args = args;
  inst->n_args = at + 1;
}

/* Reads of a loop's folds become reads of the merged loop's, `before` of which came first. */
static void redirect_folded(const Block *block, const Inst *loop, Inst *merged, int64_t before) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    if (inst->op == KOP_E_FOLDED && inst->args[0] == loop) { inst->args[0] = merged; inst->imm += before; }
    redirect_folded(inst->body, loop, merged, before);
  }
}

static void append_body(Program *p, Block *to, const Parts *parts, Inst *loop, Inst *guard, Inst *merged) {
  Block *scalars = parts->scalars;
  int64_t folds = 0;
  for (unsigned i = 0; i < to->n; i++) folds += to->insts[i]->op == KOP_E_FOLD;
  replace_uses(loop->body, loop, merged);
  redirect_folded(parts->tail, loop, merged, folds);
  for (unsigned i = 0; i < loop->body->n; i++) {
    Inst *inst = loop->body->insts[i];
    if (inst->op == KOP_E_YIELD) continue;
    if (guard && (inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE)) add_guard(p, to, scalars, inst, guard);
    if (inst->op == KOP_E_FOLD) inst->imm += folds;
    block_push(p->arena, to, inst);
  }
}

/* The condition of all loops, NULL too; false if they have several. */
static bool common_guard(const Block *loops, Inst **guard) {
  for (unsigned i = 0; i < loops->n; i++) {
    Inst *own = loops->insts[i]->op == KOP_E_IF ? loops->insts[i]->args[0] : NULL;
    if (i && own != *guard) return false;
    *guard = own;
  }
  return true;
}

/* The kernel is scalars, loops (bare, or alone under an `if`) and tails: makes one loop of them. */
static void merge_loops(Program *p, Kernel *k) {
  Parts parts = {block_new(p->arena), block_new(p->arena), block_new(p->arena)};
  gather(p, k, &parts);
  Block *body = block_new(p->arena), *to = parts.scalars;
  Inst *merged = NULL, *common = NULL;
  bool one_guard = common_guard(parts.loops, &common);
  for (unsigned i = 0; i < parts.loops->n; i++) {
    Inst *inst = parts.loops->insts[i], *guard = inst->op == KOP_E_IF ? inst->args[0] : NULL, *loop = guard ? inst->body->insts[0] : inst;
    if (!merged) {
      merged = block_add(p->arena, block_new(p->arena), KOP_E_FOR, TYPE_I64, 0, 2, loop->args);
      inst_take_binding(merged, loop);
      merged->body = body;
    }
    append_body(p, body, &parts, loop, one_guard ? NULL : guard, merged);
  }
  block_add(p->arena, body, KOP_E_YIELD, TYPE_BOOL, 0, 0, NULL);
  if (one_guard && common) {
    Inst *under = block_add(p->arena, parts.scalars, KOP_E_IF, TYPE_BOOL, 0, 1, &common);
    to = under->body = block_new(p->arena);
  }
  block_push(p->arena, to, merged);
  append(p->arena, parts.scalars, parts.tail);
  k->body = parts.scalars;
}

/* --- temporaries ---------------------------------------------------------------------------------------------------------------- */

/* Whether every use of a load is the value of a store under this guard, so that it does not matter what it is elsewhere. */
static bool stored_only_under(const Block *body, const Inst *load, const Inst *guard) {
  for (unsigned i = 0; i < body->n; i++) {
    const Inst *inst = body->insts[i];
    for (unsigned a = 0; a < inst->n_args; a++)
      if (inst->args[a] == load && !(inst->op == KOP_E_STORE && a == 1 && inst->n_args > 2 && inst->args[2] == guard)) return false;
    if (block_uses(inst->body, load)) return false;
  }
  return true;
}

static void forward_in(Program *p, Block *body) {
  unsigned operands = p->module->n_operands;
  Inst **last = arena_array(p->arena, p->n_temps + 1, sizeof *last);      /* the store whose value the temporary holds */
  Block *to = block_new(p->arena);
  for (unsigned i = 0; i < body->n; i++) {
    Inst *inst = body->insts[i];
    bool temp = (inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE) && inst->imm >= operands;
    Inst *store = temp ? last[inst->imm - operands] : NULL;
    if (temp && inst->op == KOP_E_STORE) last[inst->imm - operands] = inst;
    if (temp && inst->op == KOP_E_LOAD && store) {
      Inst *value = store->args[1], *guard = store->n_args > 2 ? store->args[2] : NULL, *wanted = inst->n_args > 1 ? inst->args[1] : NULL;
      bool certain = !guard || guard == wanted;                           /* where the load happens, the store has happened */
      if (certain && (!wanted || stored_only_under(body, inst, wanted))) { replace_uses(body, inst, value); continue; }
      if (certain && !type_is_storage((Type)inst->type)) {
        Inst *zero = block_add(p->arena, to, KOP_E_CONST, inst->type, 0, 0, NULL);
        Inst *select = block_add(p->arena, to, KOP_SELECT, inst->type, 0, 3, (Inst *[]){wanted, value, zero});
        replace_uses(body, inst, select);
        continue;
      }
    }
    block_push(p->arena, to, inst);
  }
  *body = *to;
}

static void forward_temps(Program *p, Block *block) {
  for (unsigned i = 0; i < block->n; i++) {
    Inst *inst = block->insts[i];
    if (inst->op == KOP_E_FOR && loop_is_elementwise(inst)) forward_in(p, inst->body);
    else if (inst->op == KOP_E_IF) {
      forward_temps(p, inst->body);
      if (inst->otherwise) forward_temps(p, inst->otherwise);
    }
  }
}

static const char *fused_name(const Program *p, unsigned done) {
  return done ? arena_printf(p->arena, "%s_%u", p->entry, done + 1) : p->entry;
}

/* Kernels k..end as one. */
static void fuse_run(Program *p, unsigned k, unsigned end, Launch launch, unsigned done) {
  Kernel *kernel = p->kernels[k];
  Parts all = {block_new(p->arena), block_new(p->arena), block_new(p->arena)};
#ifdef OPTC_FAULT_FUSE                   /* a fault for the fuzzer to find: what is written early is read late */
  for (unsigned n = end - k, i = 0; i < n && n % 2 == 0; i++) gather(p, p->kernels[k + (i % 2 ? n / 2 : 0) + i / 2], &all);
  if ((end - k) % 2 == 0) k = end;
#endif
  for (; k < end; k++) gather(p, p->kernels[k], &all);
  append(p->arena, all.scalars, all.loops);
  append(p->arena, all.scalars, all.tail);
  kernel->body = all.scalars;
  kernel->launch = launch;
  kernel->name = fused_name(p, done);
  kernel_simplify(p, kernel);            /* equal conditions are one instruction now */
  Survey found;
  if (takes_part(p, kernel, NULL, &found)) merge_loops(p, kernel);
  kernel_simplify(p, kernel);
  forward_temps(p, kernel->body);
  kernel_simplify(p, kernel);
}

void pass_fuse(Unit *unit, const PassArgs *args) {
  Program *p = unit->program;
  unsigned kept = 0, fused = 0;
  for (unsigned k = 0, end; k < p->n_kernels; k = end) {
    Kernel *kernel = p->kernels[k];
    Launch launch = kernel->launch;
    Survey all, more;
    end = k + 1;
    if (takes_part(p, kernel, NULL, &all)) {
      for (; end < p->n_kernels && takes_part(p, p->kernels[end], all.stored, &more) && inst_same_binding(all.loop, more.loop); end++) {
        if (!join_launch(&launch, &all.anchored, p->kernels[end], more.anchored)) break;
        all.loops += more.loops;
      }
      if (all.loops > 1) fuse_run(p, k, end, launch, fused++);
    }
    p->kernels[kept++] = kernel;
  }
  p->n_kernels = kept;
  program_sweep(p);
}
