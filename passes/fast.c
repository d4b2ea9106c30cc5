/* fast.c: pass `fast`: products of matrices may take what the machine has for operands of few bits (tile_contract_fast). Not exact: language reference, "--fast", has the bound.
 *
 * Panels in which nothing stands but what was widened from bf16, or from f16, hold it unwidened: half the bytes, and the type that such units multiply.
 * That half is exact. Both panels of a product hold one type, so do the squares that are transposed into them. Needs packed panels (`schedule`). */
#include "passes/kernel_edit.h"
#include "passes/passes.h"

/* What a temporary could hold, by buffer: not yet known; 16-bit floats of one type; numbers that need their own type. */
enum { OPEN = -1, OWN = -2 };

typedef struct Panels { const Program *program; int *holds; bool changed; } Panels;

static void limit(Panels *p, unsigned buffer, int holds) {
  int *now = &p->holds[buffer], next = *now == OPEN || *now == holds ? holds : OWN;
  if (holds == OPEN || *now == next) return;
  *now = next;
  p->changed = true;
}

static void join(Panels *p, unsigned a, unsigned b) {
  limit(p, a, p->holds[b]);
  limit(p, b, p->holds[a]);
}

/* The 16-bit type that a value was widened from. */
static int widened_from(const Inst *x) {
  Type from = x->op == KOP_CAST && x->type == TYPE_F32 ? (Type)x->args[0]->type : TYPE_F32;
  return from == TYPE_BF16 || from == TYPE_F16 ? (int)from : OWN;
}

static void look(Panels *p, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Touch touch[MAX_TOUCHES];
    unsigned n = inst_touches(inst, touch);
    if (inst->op == KOP_E_STORE) limit(p, touch[0].buffer, widened_from(inst->args[1]));
    else if (kop_moves(inst->op)) join(p, touch[0].buffer, touch[1].buffer);
    else if (kop_contracts(inst->op)) {
      limit(p, touch[0].buffer, OWN);
      join(p, touch[1].buffer, touch[2].buffer);
    } else if (n && touch[0].read) limit(p, touch[0].buffer, OWN);
    look(p, inst->body);
    look(p, inst->otherwise);
  }
}

static bool is_narrow(const Panels *p, unsigned buffer) { return p->holds[buffer] >= 0; }

static void change(const Panels *p, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    if (inst->op == KOP_E_STORE && is_narrow(p, (unsigned)inst->imm)) inst->args[1] = inst->args[1]->args[0];
    if (inst->op == KOP_E_TILE) inst->op = KOP_E_TILE_FAST;
    change(p, inst->body);
    change(p, inst->otherwise);
  }
}

void pass_fast(Unit *unit, const PassArgs *args) {
  Program *program = unit->program;
  unsigned operands = program->module->n_operands, n = operands + program->n_temps;
  Panels p = {.program = program, .holds = arena_array(unit->arena, n + 1, sizeof *p.holds), .changed = true};
  for (unsigned b = 0; b < n; b++) p.holds[b] = b >= operands && program->temps[b - operands].type == TYPE_F32 ? OPEN : OWN;
  while (p.changed) {
    p.changed = false;
    for (unsigned k = 0; k < program->n_kernels; k++) look(&p, program->kernels[k]->body);
  }
  for (unsigned k = 0; k < program->n_kernels; k++) change(&p, program->kernels[k]->body);
  for (unsigned b = operands; b < n; b++) if (is_narrow(&p, b)) program->temps[b - operands].type = (Type)p.holds[b];
}
