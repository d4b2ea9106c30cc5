/* hoist.c: pass `hoist`: scalars of chunk kernels that are the same for a whole parameter group are computed once a group. Exact.
 *
 * Before: any program. After: what chunk kernels computed from hyper-parameters, t, seed, global scalars and constants alone
 * stands in one group kernel, which runs first; each value that is used elsewhere is set into a uniform slot there and read from it
 * in the chunk kernel. A bare hyper-parameter or constant stays where it is: reading it costs what reading a slot costs. */
#include <string.h>
#include "passes/kernel_edit.h"
#include "passes/passes.h"

static bool is_leaf(const Inst *inst) {
  return inst->op == KOP_E_CONST || inst->op == KOP_E_HYPER || inst->op == KOP_E_STEP || inst->op == KOP_E_SEED || inst->op == KOP_E_SCALAR;
}

/* `shared`, by id: same for the group. Arguments come before their users, so one look at each suffices. */
static bool same_for_group(const Module *m, const Inst *inst, bool *shared) {
  if (type_is_storage((Type)inst->type)) return false;                     /* slots hold arithmetic types */
  if (inst->op == KOP_E_SCALAR) return m->operands[inst->imm].scope == SCOPE_GLOBAL;
  if (kop_is(inst->op, KPROP_OWN) || !inst_is_pure(inst)) return false;
  for (unsigned a = 0; a < inst->n_args; a++) if (!shared[inst->args[a]->id]) return false;
  if (!inst->body) return true;
  shared[inst->id] = true;               /* for the CARRIED inside */
  unsigned last = inst->id;
  bool all = true;
  for (unsigned i = 0; i < inst->body->n && all; i++) {
    const Inst *in = inst->body->insts[i];
    all = shared[in->id] = same_for_group(m, in, shared);
    last = in->id;
  }
  for (unsigned id = inst->id; !all && id <= last; id++) shared[id] = false;          /* the loop stays, and with it all that is in it */
  return all;
}

static void note_uses(const Block *block, const bool *shared, bool *wanted) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (shared[inst->id]) continue;
    for (unsigned a = 0; a < inst->n_args; a++) wanted[inst->args[a]->id] = true;
    note_uses(inst->body, shared, wanted);
    note_uses(inst->otherwise, shared, wanted);
  }
}

static void hoist_from(Program *p, Kernel *kernel, Kernel *group) {
  kernel_number(kernel);
  bool *shared = arena_array(p->arena, kernel->n_insts + 1, sizeof *shared), *wanted = arena_array(p->arena, kernel->n_insts + 1, sizeof *wanted);
  for (unsigned i = 0; i < kernel->body->n; i++) {
    const Inst *inst = kernel->body->insts[i];
    shared[inst->id] = same_for_group(p->module, inst, shared);
  }
  note_uses(kernel->body, shared, wanted);
  Inst **map = arena_array(p->arena, kernel->n_insts + 1, sizeof *map);
  for (unsigned i = 0; i < kernel->body->n; i++) {
    Inst *inst = kernel->body->insts[i];
    if (!shared[inst->id]) continue;
    Inst *copy = inst_clone(p->arena, group->body, inst, map);
    if (!wanted[inst->id] || is_leaf(inst) || inst->op == KOP_E_FOR) continue;
    block_add(p->arena, group->body, KOP_E_SET_UNIFORM, TYPE_BOOL, p->n_uniforms, 1, &copy);
    inst->op = KOP_E_UNIFORM;
    inst->imm = p->n_uniforms++;
    inst->n_args = 0;
  }
}

/* The kernel last added moves behind the checks. */
static void move_first(Program *p) {
  Kernel *group = p->kernels[p->n_kernels - 1];
  unsigned at = 0;
  while (at < p->n_kernels - 1 && p->kernels[at]->launch == LAUNCH_CHECK) at++;
  memmove(p->kernels + at + 1, p->kernels + at, (p->n_kernels - 1 - at) * sizeof *p->kernels);
  p->kernels[at] = group;
}

void pass_hoist(Unit *unit, const PassArgs *args) {
  Program *p = unit->program;
  unsigned n = p->n_kernels, groups = 0;
  for (unsigned k = 0; k < n; k++) groups += p->kernels[k]->launch == LAUNCH_GROUP;
  Kernel *group = program_kernel(p, groups ? arena_printf(p->arena, "group_%u", groups + 1) : "group", LAUNCH_GROUP);
  for (unsigned k = 0; k < n; k++) if (p->kernels[k]->launch == LAUNCH_CHUNK || p->kernels[k]->launch == LAUNCH_TILE) hoist_from(p, p->kernels[k], group);
  move_first(p);
  kernel_simplify(p, group);
  program_sweep(p);                      /* an empty group kernel goes as well */
}
