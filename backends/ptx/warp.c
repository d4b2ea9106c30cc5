/* warp.c: how a warp runs. Each lane has a place of its own; the lanes at the lowest place run together until they part, or come to where other
 * lanes wait. At an operation that lanes do together they park; when nobody can run, a set of lanes that all stand at one such operation does it
 * (lowest-place-first alone would let half a warp reach a barrier that stands before the other half's code). */
#include "backends/ptx/ops.h"

uint64_t ptx_random(uint64_t *state) {   /* splitmix64 */
  uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ x >> 30)*UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27)*UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

/* --- who runs ------------------------------------------------------------------------------------------------------------------------------------- */
static bool gather(PtxWarp *w) {
  w->at = w->merge = INT32_MAX;
  w->on = 0;
  PTX_EACH(l, w->live & ~w->parked) {
    if (w->pc[l] < w->at) {
      w->merge = w->at;
      w->at = w->pc[l];
      w->on = 0;
    }
    if (w->pc[l] == w->at) w->on |= 1u << l;
    else if (w->pc[l] < w->merge) w->merge = w->pc[l];
  }
  return w->on != 0;
}

static void scatter(PtxWarp *w, uint32_t lanes, int32_t at) { PTX_EACH(l, lanes) w->pc[l] = at; }

/* --- where lanes meet ----------------------------------------------------------------------------------------------------------------------------- */

/* The lanes of a set that do the operation together now; 0: they wait for others. */
static uint32_t complete(PtxWarp *w, const PtxInst *i, uint32_t here) {
  if (i->meet != PTX_MEET_MASK) return here == w->live ? here : 0;
  uint32_t left = here;
  while (left) {                         /* lanes may stand here with several masks */
    unsigned first = (unsigned)__builtin_ctz(left);
    uint32_t mask = (uint32_t)ptx_get(w, i->members, first, 32), same = 0;
    PTX_EACH(l, here) if ((uint32_t)ptx_get(w, i->members, l, 32) == mask) same |= 1u << l;
    if ((mask & w->live & ~same) == 0) return same;
    left &= ~same;
  }
  return 0;
}

static void meet(PtxWarp *w, const PtxInst *i, uint32_t on) {
  if (i->meet == PTX_MEET_MASK) {
    ptx_use(w, i, i->members, on, "a membermask");
    PTX_EACH(l, on)
      if (!((uint32_t)ptx_get(w, i->members, l, 32) >> l & 1)) ptx_find_fault(w, i, (int)l, PTX_UNDEFINED_LANE, 0, "a lane is not in its own membermask");
  }
  i->run(w, i, on);
}

static void report_divergence(PtxWarp *w) {
  const PtxInst *code = w->grid->kernel->code, *first = NULL, *other = NULL;
  uint32_t at_first = 0;
  PTX_EACH(l, w->parked) {
    const PtxInst *i = &code[w->pc[l]];
    if (!first || i == first) { first = i; at_first |= 1u << l; }
    else other = i;
  }
  if (other) ptx_find_fault(w, first, __builtin_ctz(at_first), PTX_DIVERGENT_BARRIER, 0, "lanes %08x wait at %s, others at %s in line %u", at_first, first->name, other->name, other->line);
  else ptx_find_fault(w, first, __builtin_ctz(at_first), PTX_DIVERGENT_BARRIER, 0, "lanes %08x wait at %s for lanes that do not come", at_first, first->name);
  w->grid->stopped = true;
}

/* Nobody can run: a set of parked lanes goes on. */
static void wake(PtxWarp *w) {
  uint32_t left = w->parked;
  while (left) {
    int32_t at = w->pc[__builtin_ctz(left)];
    uint32_t here = 0;
    PTX_EACH(l, w->parked) if (w->pc[l] == at) here |= 1u << l;
    const PtxInst *i = &w->grid->kernel->code[at];
    uint32_t on = complete(w, i, here);
    if (on) {
      scatter(w, on, at + 1);
      w->parked &= ~on;
      meet(w, i, on);
      return;
    }
    left &= ~here;
  }
  report_divergence(w);
}

/* --- the loop -------------------------------------------------------------------------------------------------------------------------------------- */
static uint32_t guarded(PtxWarp *w, const PtxInst *i) {
  ptx_use(w, i, i->guard, w->on, "a branch");
  return w->on & (i->unless ? ~ptx_mask(w, i->guard) : ptx_mask(w, i->guard));
}

void ptx_warp_run(PtxWarp *w, uint64_t turn) {
  PtxGrid *g = w->grid;
  const PtxInst *code = g->kernel->code;
  if (turn > g->step_limit - g->steps) turn = g->step_limit - g->steps;
  uint64_t steps = 0;
  while (steps < turn && w->live && w->waiting < 0 && !g->stopped) {
    if (!w->on && !gather(w)) {
      steps++;
      wake(w);
      continue;
    }
    if (w->at >= w->merge) {
      scatter(w, w->on, w->at);
      w->on = 0;
      continue;
    }
    const PtxInst *i = &code[w->at++];
    uint32_t on = i->guarded ? guarded(w, i) : w->on;
    steps++;
    if (!on) continue;
    if (i->meet == PTX_MEET_NOT) i->run(w, i, on);
    else if (on == w->live && complete(w, i, on) == on) meet(w, i, on);
    else {
      scatter(w, on, w->at - 1);
      w->parked |= on;
      w->on &= ~on;
    }
  }
  g->steps += steps;
}

/* --- control flow ------------------------------------------------------------------------------------------------------------------------------------ */
void ptx_run_branch(PtxWarp *w, const PtxInst *i, uint32_t on) {
  if (on == w->on) { w->at = i->target; return; }
  scatter(w, w->on & ~on, w->at);
  scatter(w, on, i->target);
  w->on = 0;
}

void ptx_run_table(PtxWarp *w, const PtxInst *i, uint32_t on) {
  const PtxTargets *t = i->more;
  ptx_use(w, i, i->a, on, "a branch");
  scatter(w, w->on & ~on, w->at);
  PTX_EACH(l, on) {
    uint64_t k = ptx_get(w, i->a, l, 32);
    if (k < t->n) { w->pc[l] = t->at[k]; continue; }
    ptx_find_fault(w, i, (int)l, PTX_OUT_OF_BOUNDS, k, "branch %llu of %u", (unsigned long long)k, t->n);
    w->grid->stopped = true;
  }
  w->on = 0;
}

void ptx_run_exit(PtxWarp *w, const PtxInst *i, uint32_t on) {
  w->live &= ~on;
  w->on &= ~on;
}

void ptx_run_trap(PtxWarp *w, const PtxInst *i, uint32_t on) {
  ptx_find_fault(w, i, __builtin_ctz(on), PTX_TRAP, 0, "trap");
  w->grid->stopped = true;
}

void ptx_run_nothing(PtxWarp *w, const PtxInst *i, uint32_t on) {}
void ptx_run_fence(PtxWarp *w, const PtxInst *i, uint32_t on) { w->fenced = true; }
