/* fuse.c: pass `fuse`: neighbouring kernels of pointwise loops become one kernel with one loop. Exact.
 *
 * Before: any program. A run of neighbouring item (or chunk) kernels takes part when each holds nothing but pure scalars and
 * loops over the whole launch that touch memory only at their own index, bare or under `if` without `else`.
 * After: such a run is one kernel: the scalars of all, then one loop with the bodies in their order. A loop under `if c` becomes guards c
 * on its stores, and on its loads of tensors that may be absent (if all loops have one condition, the loop stays under it).
 * Then a load of a temporary that the same iteration stored takes the stored value, and temporaries that nobody loads go.
 *
 * Why it keeps the meaning: iteration i reads and writes elements i only, operands do not overlap (the driver checks), so within one element the
 * accesses keep their order, and between elements there is none. Loads under a condition that is false may now happen: the
 * tensors exist, and a value that is not stored leaves no trace. */
#include <string.h>
#include "passes/kernel_edit.h"
#include "passes/passes.h"

/* --- what can take part ------------------------------------------------------------------------------------------------------ */

typedef struct Survey { const Inst *loop; unsigned loops; bool mixed; } Survey;

static bool survey(const Block *block, Survey *found) {
  for (unsigned i = 0; i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (inst_is_pure(inst)) continue;
    if (inst->op == KOP_E_IF && !inst->otherwise) { if (!survey(inst->body, found)) return false; continue; }
    if (!loop_is_pointwise(inst) || !loop_covers_launch(inst)) return false;
    const Inst *one = found->loop;
    if (one && !inst_same_binding(one, inst)) found->mixed = true;
    if (!one) found->loop = inst;
    found->loops++;
  }
  return true;
}

static bool takes_part(const Kernel *k, Survey *found) {
  *found = (Survey){0};
  return (k->launch == LAUNCH_ITEM || k->launch == LAUNCH_CHUNK) && survey(k->body, found) && found->loops && !found->mixed;
}

/* --- one kernel: scalars first, then loops, each under at most one `if` --------------------------------------------------------- */

static void gather(Arena *arena, const Block *block, Inst *guard, Block *scalars, Block *loops) {
  for (unsigned i = 0; i < block->n; i++) {
    Inst *inst = block->insts[i];
    if (inst->op == KOP_E_IF) {
      Inst *both = guard ? block_add(arena, scalars, KOP_AND, TYPE_BOOL, 0, 2, (Inst *[]){guard, inst->args[0]}) : inst->args[0];
      gather(arena, inst->body, both, scalars, loops);
    } else if (inst_is_pure(inst)) block_push(arena, scalars, inst);
    else if (!guard) block_push(arena, loops, inst);
    else {
      Inst *under = block_add(arena, loops, KOP_E_IF, TYPE_BOOL, 0, 1, &guard);
      under->body = block_new(arena);
      block_push(arena, under->body, inst);
    }
  }
}

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

static void append_body(Program *p, Block *to, Block *scalars, Inst *loop, Inst *guard, Inst *merged) {
  replace_uses(loop->body, loop, merged);
  for (unsigned i = 0; i < loop->body->n; i++) {
    Inst *inst = loop->body->insts[i];
    if (inst->op == KOP_E_YIELD) continue;
    if (guard && (inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE)) add_guard(p, to, scalars, inst, guard);
    block_push(p->arena, to, inst);
  }
}

/* The kernel is scalars and loops (bare, or alone under an `if`): makes one loop of them. */
static void merge_loops(Program *p, Kernel *k) {
  Block *scalars = block_new(p->arena), *body = block_new(p->arena);
  Inst *merged = NULL, *common = NULL;
  bool one_guard = true, first = true;
  for (unsigned i = 0; i < k->body->n; i++) {
    Inst *inst = k->body->insts[i];
    if (inst_is_pure(inst)) { block_push(p->arena, scalars, inst); continue; }
    Inst *guard = inst->op == KOP_E_IF ? inst->args[0] : NULL;
    if (!first && guard != common) one_guard = false;
    common = guard;
    first = false;
  }
  for (unsigned i = 0; i < k->body->n; i++) {
    Inst *inst = k->body->insts[i];
    if (inst_is_pure(inst)) continue;
    Inst *guard = inst->op == KOP_E_IF ? inst->args[0] : NULL, *loop = guard ? inst->body->insts[0] : inst;
    if (!merged) {
      merged = block_add(p->arena, block_new(p->arena), KOP_E_FOR, TYPE_I64, 0, 2, loop->args);
      inst_take_binding(merged, loop);
      merged->body = body;
    }
    append_body(p, body, scalars, loop, one_guard ? NULL : guard, merged);
  }
  block_add(p->arena, body, KOP_E_YIELD, TYPE_BOOL, 0, 0, NULL);
  Block *to = scalars;
  if (one_guard && common) {
    Inst *under = block_add(p->arena, scalars, KOP_E_IF, TYPE_BOOL, 0, 1, &common);
    to = under->body = block_new(p->arena);
  }
  block_push(p->arena, to, merged);
  k->body = scalars;
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
    if (inst->op == KOP_E_FOR && loop_is_pointwise(inst)) forward_in(p, inst->body);
    else if (inst->op == KOP_E_IF) {
      forward_temps(p, inst->body);
      if (inst->otherwise) forward_temps(p, inst->otherwise);
    }
  }
}

static const char *fused_name(const Program *p, unsigned done) {
  return done ? arena_printf(p->arena, "%s_%u", p->entry, done + 1) : p->entry;
}

void pass_fuse(Unit *unit, const PassArgs *args) {
  Program *p = unit->program;
  unsigned kept = 0, fused = 0;
  for (unsigned k = 0; k < p->n_kernels;) {
    Kernel *kernel = p->kernels[k];
    Survey all, more;
    unsigned end = k + 1;
    if (takes_part(kernel, &all)) {
      while (end < p->n_kernels && p->kernels[end]->launch == kernel->launch && takes_part(p->kernels[end], &more) && inst_same_binding(all.loop, more.loop)) {
        all.loops += more.loops;
        end++;
      }
      if (all.loops > 1) {
        Block *body = block_new(p->arena), *loops = block_new(p->arena);
#ifdef OPTC_FAULT_FUSE                   /* a fault for the fuzzer to find: what is written early is read late */
        for (unsigned n = end - k, i = 0; i < n && n % 2 == 0; i++) gather(p->arena, p->kernels[k + (i % 2 ? n / 2 : 0) + i / 2]->body, NULL, body, loops);
        if ((end - k) % 2 == 0) k = end;
#endif
        for (; k < end; k++) gather(p->arena, p->kernels[k]->body, NULL, body, loops);
        for (unsigned i = 0; i < loops->n; i++) block_push(p->arena, body, loops->insts[i]);
        kernel->body = body;
        kernel->name = fused_name(p, fused++);
        kernel_simplify(p, kernel);      /* equal conditions are one instruction now */
        if (takes_part(kernel, &all)) merge_loops(p, kernel);
        kernel_simplify(p, kernel);
        forward_temps(p, kernel->body);
        kernel_simplify(p, kernel);
      }
    }
    k = end;
    p->kernels[kept++] = kernel;
  }
  p->n_kernels = kept;
  program_sweep(p);
}
