/* lower_share.c: temporaries of one size whose times do not meet are one. Exact.
 *
 * Kernels of an item run in order, so a temporary lives from the first kernel that touches it to the last; inside a repeat, as long as the repeat. */
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

void nest_share_temps(Nest *l) {
  Program *p = l->program;
  unsigned operands = l->module->n_operands, n = l->items.n_wanted, depth = 0, opened = 0;
  Life *life = arena_array(l->arena, p->n_temps + 1, sizeof *life);
  unsigned *instead = arena_array(l->arena, p->n_temps + 1, sizeof *instead);
  for (unsigned k = 0; k < p->n_temps; k++) instead[k] = k;
  for (unsigned k = 0; k < p->n_kernels; k++) {
    if (p->kernels[k]->launch == LAUNCH_REPEAT && !depth++) opened = k;
    unsigned end = k;
    for (unsigned d = depth; d; d -= p->kernels[end]->launch == LAUNCH_END) d += p->kernels[++end]->launch == LAUNCH_REPEAT;
    visit(p->kernels[k]->body, operands, life, depth ? opened : k, end, NULL);
    depth -= p->kernels[k]->launch == LAUNCH_END;
  }
  for (unsigned k = 0; k < n; k++) {
    const Wanted *w = &l->items.wanted[k];
    Life *mine = &life[w->buffer - operands];
    for (unsigned o = 0; o < k && mine->touched; o++) {
      const Wanted *v = &l->items.wanted[o];
      unsigned other = v->buffer - operands;
      Life *its = &life[other];
      if (instead[other] != other || !its->touched || p->temps[other].type != p->temps[w->buffer - operands].type || !same_size(v, w)) continue;
      if (its->last >= mine->first && mine->last >= its->first) continue;
      instead[w->buffer - operands] = other;                             /* lives are in order of kernels, as temporaries are made: what is between stays free of both */
      if (mine->last > its->last) its->last = mine->last; else its->first = mine->first;
      break;
    }
  }
  for (unsigned k = 0; k < p->n_kernels; k++) visit(p->kernels[k]->body, operands, life, k, k, instead);
}
