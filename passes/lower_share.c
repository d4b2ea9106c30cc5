/* lower_share.c: temporaries of one size whose times do not meet are one. Exact.
 *
 * Kernels of an item run in order, so a temporary lives from the first kernel that touches it to the last; inside a repeat, as long as the repeat. One that is made
 * element by element in the kernel that reads another for the last time, at the same places, is written over it. Steps of an iteration that is written out come to have
 * the same temporaries, and so the same code. */
#include "passes/lower_program.h"

typedef struct Life { unsigned first, last; bool touched; } Life;

static void touch(Life *life, unsigned kernel) {
  if (!life->touched || kernel < life->first) life->first = kernel;
  if (!life->touched || kernel > life->last) life->last = kernel;
  life->touched = true;
}

static void visit(const Block *block, unsigned operands, Life *life, unsigned first, unsigned last, const unsigned *instead) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Inst *inst = block->insts[i];
    Touch at[MAX_TOUCHES];
    for (unsigned n = inst_touches(inst, at), k = 0; k < n; k++) {
      if (at[k].buffer < operands) continue;
      unsigned temp = at[k].buffer - operands;
      if (instead) { inst_set_buffer(inst, k, operands + instead[temp]); continue; }
      touch(&life[temp], first);
      touch(&life[temp], last);
    }
    visit(inst->body, operands, life, first, last, instead);
    visit(inst->otherwise, operands, life, first, last, instead);
  }
}

static bool same_size(const Wanted *a, const Wanted *b) {
  return a->space == b->space && a->fixed == b->fixed && a->operand == b->operand && a->when == b->when && nest_same_room(&a->room, &b->room) && nest_same_reach(&a->reach, &b->reach);
}

/* Of one kernel: whether `made` is stored at one place alone, and `read`, with those that share it, is loaded there before and nowhere else. */
typedef struct InPlace { const unsigned *instead; unsigned operands, made, read; const Block *block; const Inst *place; bool stored; } InPlace;

/* A place that no two trips of the loops around it have: the index of the launch's loop, or of a row in it. */
static bool is_own_place(const Inst *at, const Inst *const *loop, unsigned depth) {
  if (!depth || depth > 2 || loop[0]->args[0]->op != KOP_E_BEGIN) return false;
  if (depth == 1) return at == loop[0];
  bool whole = loop[1]->args[0]->op == KOP_E_CONST && !loop[1]->args[0]->imm, row = at->op == KOP_ADD && at->args[0]->op == KOP_MUL && at->args[1] == loop[1];
  return whole && row && at->args[0]->args[0] == loop[0] && at->args[0]->args[1] == loop[1]->args[1];
}

static bool is_in_place(InPlace *x, const Block *block, const Inst **loop, unsigned depth) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Touch at[MAX_TOUCHES];
    for (unsigned n = inst_touches(inst, at), k = 0; k < n; k++) {
      unsigned temp = at[k].buffer - x->operands;
      bool made = temp == x->made, read = !made && at[k].buffer >= x->operands && x->instead[temp] == x->read;
      if (!made && !read) continue;
      if (inst->op != (made ? KOP_E_STORE : KOP_E_LOAD) || x->stored || !is_own_place(inst->args[0], loop, depth)) return false;
      if (x->block ? x->block != block || x->place != inst->args[0] : made) return false;
      x->block = block;
      x->place = inst->args[0];
      x->stored = made;
    }
    bool opens = inst->op == KOP_E_FOR;
    if (opens && depth < NEST_DEPTH) loop[depth] = inst;
    if (!is_in_place(x, inst->body, loop, depth + opens) || !is_in_place(x, inst->otherwise, loop, depth + opens)) return false;
  }
  return true;
}

static bool takes_place(const Program *p, unsigned kernel, unsigned operands, const unsigned *instead, unsigned made, unsigned read) {
  const Inst *loop[NEST_DEPTH];
  InPlace x = {.instead = instead, .operands = operands, .made = made, .read = read};
  return p->kernels[kernel]->launch == LAUNCH_TILE && is_in_place(&x, p->kernels[kernel]->body, loop, 0) && x.stored;
}

void nest_share_temps(Nest *l) {
  Program *p = l->program;
  unsigned operands = l->module->n_operands, n = l->items.n_wanted, depth = 0, opened = 0;
  Life *life = arena_array(l->arena, p->n_temps + 1, sizeof *life);
  unsigned *instead = arena_array(l->arena, p->n_temps + 1, sizeof *instead);
  for (unsigned k = 0; k < p->n_temps; k++) instead[k] = k;
  for (unsigned k = 0; k < p->n_kernels; k++) {
    if (p->kernels[k]->launch == LAUNCH_REPEAT && !depth++) opened = k;
    if (p->kernels[k]->launch == LAUNCH_END) depth--;
    unsigned end = k;
    for (unsigned d = depth; d; d -= p->kernels[end]->launch == LAUNCH_END) d += p->kernels[++end]->launch == LAUNCH_REPEAT;
    visit(p->kernels[k]->body, operands, life, depth ? opened : k, end, NULL);
  }
  for (unsigned k = 0; k < n; k++) {
    const Wanted *w = &l->items.wanted[k];
    Life *mine = &life[w->buffer - operands];
    for (unsigned o = 0; o < k && mine->touched; o++) {
      const Wanted *v = &l->items.wanted[o];
      unsigned other = v->buffer - operands;
      Life *its = &life[other];
      if (instead[other] != other || !its->touched || p->temps[other].type != p->temps[w->buffer - operands].type || !same_size(v, w)) continue;
      bool follows = its->last == mine->first && takes_place(p, mine->first, operands, instead, w->buffer - operands, other);
      if (its->last >= mine->first && mine->last >= its->first && !follows) continue;
      instead[w->buffer - operands] = other;                             /* lives are in order of kernels, as temporaries are made: what is between stays free of both */
      if (mine->last > its->last) its->last = mine->last; else its->first = mine->first;
      break;
    }
  }
  for (unsigned k = 0; k < p->n_kernels; k++) visit(p->kernels[k]->body, operands, life, k, k, instead);
}
