/* survey.c: what a kernel's text does to memory, read off without executing it: accesses by their width and by the loop they stand in. */
#include "backends/ptx/machine.h"
#include "backends/ptx/ops.h"

enum { MOST_HOPS = 15 };

typedef struct Survey { const PtxKernel *kernel; uint8_t *hops; } Survey;      /* by register: how many loads lie between the kernel's parameters and it */

static unsigned hops_of(const Survey *s, PtxRef r) { return r & PTX_FIXED_ROW ? 0 : s->hops[r]; }

static bool raise_to(Survey *s, PtxRef r, unsigned hops) {
  if (r & PTX_FIXED_ROW || !r || s->hops[r] >= hops) return false;                       /* row 0 is nobody's */
  s->hops[r] = (uint8_t)hops;
  return true;
}

/* Whether something was learnt. */
static bool follow(Survey *s, const PtxInst *i) {
  const PtxRef from[] = {i->a, i->b, i->c};
  unsigned most = 0;
  bool news = false;
  for (int k = 0; k < 3; k++) if (hops_of(s, from[k]) > most) most = hops_of(s, from[k]);
  if (i->run == ptx_run_load) {
    const PtxAccess *a = i->more;
    unsigned hops = a->space == PTX_PARAM ? 0 : hops_of(s, i->a) + 1;
    for (unsigned k = 0; k < a->count; k++) news |= raise_to(s, a->value[k], hops < MOST_HOPS ? hops : MOST_HOPS);
    return news;
  }
  if (i->run == ptx_run_store) return false;
  news = raise_to(s, i->d, most);
  return raise_to(s, i->e, most) || news;
}

/* The loops: from where a branch backwards leads to, to the branch. */
static void find_loops(const PtxKernel *k, Arena *arena, PtxSurvey *out) {
  size_t capacity = 0;
  for (uint32_t at = 0; at < k->n_code; at++) {
    const PtxInst *i = &k->code[at];
    if (i->run != ptx_run_branch || i->target > (int32_t)at) continue;
    unsigned known = 0;
    while (known < out->n_loops && out->loop[known].first != (uint32_t)i->target) known++;
    if (known == out->n_loops) {
      out->loop = arena_grow(arena, out->loop, &capacity, ++out->n_loops, sizeof *out->loop);
      out->loop[known] = (PtxTraffic){.first = (uint32_t)i->target, .line = k->code[i->target].line};
    }
    out->loop[known].last = at;
  }
}

static bool holds(const PtxTraffic *l, uint32_t at) { return l->first <= at && at <= l->last; }

/* The loop around an instruction that no other one is in. */
static PtxTraffic *loop_at(PtxSurvey *s, uint32_t at) {
  PtxTraffic *best = &s->outside;
  for (unsigned l = 0; l < s->n_loops; l++)
    if (holds(&s->loop[l], at) && (best == &s->outside || holds(best, s->loop[l].first))) best = &s->loop[l];
  return best;
}

static void count(PtxSurvey *out, const PtxInst *i, uint32_t at) {
  const PtxAccess *a = i->more;
  unsigned width = (unsigned)__builtin_ctz(a->bytes*a->count);
  PtxTraffic *l = loop_at(out, at);
  if (width >= PTX_WIDTHS) return;
  if (i->run == ptx_run_load) l->loads[width]++;
  else l->stores[width]++;
}

void ptx_survey(const PtxKernel *k, Arena *arena, unsigned hops, PtxSurvey *out) {
  Survey s = {k, arena_array(arena, (size_t)k->n_rows + 1, 1)};
  bool news = true;
  *out = (PtxSurvey){.outside.last = k->n_code};
  find_loops(k, arena, out);
  while (news) {
    news = false;
    for (uint32_t at = 0; at < k->n_code; at++) news |= follow(&s, &k->code[at]);
  }
  for (uint32_t at = 0; at < k->n_code; at++) {
    const PtxInst *i = &k->code[at];
    out->barriers += i->meet == PTX_MEET_BLOCK;
    out->shuffles += i->run == ptx_run_shuffle;
    out->products += i->run == ptx_run_mma;
    if (i->run != ptx_run_load && i->run != ptx_run_store) continue;
    PtxSpace space = (PtxSpace)((const PtxAccess *)i->more)->space;
    if ((space == PTX_GENERIC || space == PTX_GLOBAL) && hops_of(&s, i->a) >= hops) count(out, i, at);
  }
}
