/* kernel_sweep.c: dead code of a whole program: instructions, temporaries, uniform slots, kernels. Exact. */
#include "passes/kernel_edit.h"

typedef struct Sweeper {
  Program *program;
  bool *loaded;                          /* by temporary: some kernel loads it */
  bool *read;                            /* by slot */
  bool *live;                            /* by id, of the kernel at hand */
  bool changed;
} Sweeper;

static bool has_effect(const Sweeper *, const Inst *);

static bool block_has_effect(const Sweeper *s, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) if (has_effect(s, block->insts[i])) return true;
  return false;
}

static bool has_effect(const Sweeper *s, const Inst *inst) {
  unsigned operands = s->program->module->n_operands;
  switch ((KOp)inst->op) {
    case KOP_E_STORE: case KOP_E_TILE: case KOP_E_TILE_FAST: case KOP_E_TILE_TRANSPOSE: case KOP_E_TILE_COPY: {
      Touch touch[MAX_TOUCHES];
      inst_touches(inst, touch);
      return touch->buffer < operands || s->loaded[touch->buffer - operands];
    }
    case KOP_E_SET_UNIFORM: return s->read[inst->imm];
    case KOP_E_SET_COUNT: return inst->imm < operands || s->loaded[inst->imm - operands];
    case KOP_E_FRESH: return false;      /* is_needed_fresh */
    case KOP_E_PREFETCH: return true;
    case KOP_E_FOR: case KOP_E_IF: return block_has_effect(s, inst->body) || block_has_effect(s, inst->otherwise);
    default: return kop_is(inst->op, KPROP_EFFECT);
  }
}

/* What is emptied, and read again. */
static bool is_needed_fresh(const Sweeper *s, const Inst *inst) { return inst->op == KOP_E_FRESH && s->loaded[inst->imm - s->program->module->n_operands]; }

/* A fold is needed where what it makes is read, which is behind its loop. */
static void keep_fold(Sweeper *s, const Inst *folded) { s->live[loop_fold(folded->args[0], (unsigned)folded->imm)->id] = true; }

/* Folds that are left are numbered anew, in the order of the body: first as their readers see them, then themselves. */
static void renumber_readers(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    renumber_readers(inst->body);
    renumber_readers(inst->otherwise);
    if (inst->op != KOP_E_FOLDED) continue;
    int64_t before = 0;
    const Inst *const *at = (const Inst *const *)inst->args[0]->body->insts;
    for (; (*at)->op != KOP_E_FOLD || (*at)->imm != inst->imm; at++) before += (*at)->op == KOP_E_FOLD;
    inst->imm = before;
  }
}

static void renumber_folds(const Block *block) {
  int64_t n = 0;
  for (unsigned i = 0; block && i < block->n; i++) {
    if (block->insts[i]->op == KOP_E_FOLD) block->insts[i]->imm = n++;
    renumber_folds(block->insts[i]->body);
    renumber_folds(block->insts[i]->otherwise);
  }
}

/* Backwards, so that users are seen before what they use. Marks and keeps what is needed. */
static void sweep_block(Sweeper *s, Block *block) {
  for (unsigned i = block->n; i-- > 0;) {
    Inst *inst = block->insts[i];
    bool live = s->live[inst->id] || inst->op == KOP_E_YIELD || is_needed_fresh(s, inst) || has_effect(s, inst);
    s->live[inst->id] = live;
    if (!live) continue;
    for (unsigned a = 0; a < inst->n_args; a++) s->live[inst->args[a]->id] = true;
    if (inst->op == KOP_E_FOLDED) keep_fold(s, inst);
    if (inst->body) sweep_block(s, inst->body);
    if (inst->otherwise) sweep_block(s, inst->otherwise);
    if (inst->otherwise && !inst->otherwise->n) inst->otherwise = NULL;
  }
  unsigned kept = 0;
  for (unsigned i = 0; i < block->n; i++) {
    if (s->live[block->insts[i]->id]) block->insts[kept++] = block->insts[i];
    else s->changed = true;
  }
  block->n = kept;
}

static void note_reads(Sweeper *s, const Block *block) {
  unsigned operands = s->program->module->n_operands;
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Touch touch[MAX_TOUCHES];
    for (unsigned n = inst_touches(inst, touch), k = 0; k < n; k++)
      if (touch[k].read && !touch[k].written && touch[k].buffer >= operands) s->loaded[touch[k].buffer - operands] = true;
    if (inst->op == KOP_E_UNIFORM) s->read[inst->imm] = true;
    note_reads(s, inst->body);
    note_reads(s, inst->otherwise);
  }
}

static void renumber(const Block *block, unsigned operands, const unsigned *temp, const unsigned *slot) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    Touch touch[MAX_TOUCHES];
    for (unsigned n = inst_touches(inst, touch), k = 0; k < n; k++)
      if (touch[k].buffer >= operands) inst_set_buffer(inst, k, operands + temp[touch[k].buffer - operands]);
    if (inst->op == KOP_E_SET_COUNT && inst->imm >= operands) inst->imm = operands + temp[inst->imm - operands];
    if (inst->op == KOP_E_UNIFORM || inst->op == KOP_E_SET_UNIFORM) inst->imm = slot[inst->imm];
    renumber(inst->body, operands, temp, slot);
    renumber(inst->otherwise, operands, temp, slot);
  }
}

static void drop_unused(Sweeper *s) {
  Program *p = s->program;
  unsigned *temp = arena_array(p->arena, p->n_temps + 1, sizeof *temp), *slot = arena_array(p->arena, p->n_uniforms + 1, sizeof *slot), temps = 0, slots = 0;
  for (unsigned k = 0; k < p->n_temps; k++) {
    temp[k] = temps;
    if (s->loaded[k]) p->temps[temps++] = p->temps[k];
  }
  for (unsigned k = 0; k < p->n_uniforms; k++) {
    slot[k] = slots;
    slots += s->read[k];
  }
  for (unsigned k = 0; k < p->n_kernels; k++) renumber(p->kernels[k]->body, p->module->n_operands, temp, slot);
  p->n_temps = temps;
  p->n_uniforms = slots;
}

void program_sweep(Program *p) {
  Sweeper s = {.program = p};
  do {
    s.changed = false;
    s.loaded = arena_array(p->arena, p->n_temps + 1, sizeof *s.loaded);
    s.read = arena_array(p->arena, p->n_uniforms + 1, sizeof *s.read);
    for (unsigned k = 0; k < p->n_kernels; k++) note_reads(&s, p->kernels[k]->body);
    for (unsigned k = 0; k < p->n_kernels; k++) {
      kernel_number(p->kernels[k]);
      s.live = arena_array(p->arena, p->kernels[k]->n_insts + 1, sizeof *s.live);
      sweep_block(&s, p->kernels[k]->body);
      renumber_readers(p->kernels[k]->body);
      renumber_folds(p->kernels[k]->body);
      kernel_number(p->kernels[k]);
    }
  } while (s.changed);
  drop_unused(&s);
  unsigned kept = 0;
  for (unsigned k = 0; k < p->n_kernels; k++) if (p->kernels[k]->body->n || p->kernels[k]->launch == LAUNCH_REPEAT || p->kernels[k]->launch == LAUNCH_END) p->kernels[kept++] = p->kernels[k];
  p->n_kernels = kept;
}
