/* meet.c: operations that lanes do together: barriers, shuffles, votes, reductions of integers (PTX ISA, "Parallel Synchronization and
 * Communication Instructions"). */
#include <string.h>
#include "backends/ptx/ops.h"

/* --- barriers of the block ------------------------------------------------------------------------------------------------------------------------ */

/* bar.sync a[, b]; bar.arrive a, b: barrier a, for b threads (none: all of the block) */
bool ptx_decode_barrier(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  unsigned n = ptx_operands(s->operands);
  bool arrives = strstr(s->name, "arrive") != NULL;
  if (n < 1 || n > 2 || (arrives && n < 2)) return ptx_refuse_statement(d, "'%s' takes a barrier and a number of threads", s->name);
  return ptx_decode_value(d, s->operands, 'r', false, &i->a) && (n == 1 || ptx_decode_value(d, s->operands->next, 'r', false, &i->b));
}

static int arrive(PtxWarp *w, const PtxInst *i, uint32_t on) {
  PtxGrid *g = w->grid;
  unsigned lane = (unsigned)__builtin_ctz(on);
  uint32_t number = (uint32_t)ptx_get(w, i->a, lane, 32), threads = (uint32_t)ptx_get(w, i->b, lane, 32);
  ptx_use(w, i, i->a, on, "a barrier");
  ptx_use(w, i, i->b, on, "a barrier");
  if (number >= PTX_BARRIERS || threads%PTX_LANES) {
    ptx_find_fault(w, i, (int)lane, PTX_DIVERGENT_BARRIER, 0, "barrier %u for %u threads: there are %d barriers, for multiples of 32", number, threads, PTX_BARRIERS);
    g->stopped = true;
    return -1;
  }
  PtxBarrier *b = &g->barrier[number];
  if (b->arrived && b->expected != threads)
    ptx_find_fault(w, i, (int)lane, PTX_DIVERGENT_BARRIER, 0, "barrier %u for %u threads, where others wait for %u", number, threads, b->expected);
  b->expected = threads;
  b->arrived += PTX_LANES;
  for (unsigned k = 0; k < PTX_MAX_WARPS; k++)
    if (w->clock[k] > b->clock[k]) b->clock[k] = w->clock[k];
  return (int)number;
}

void ptx_run_barrier(PtxWarp *w, const PtxInst *i, uint32_t on) {
  w->waiting = arrive(w, i, on);
  w->wait_line = i->line;
}
void ptx_run_arrive(PtxWarp *w, const PtxInst *i, uint32_t on) {
  arrive(w, i, on);
  w->clock[w->number]++;                 /* what comes now is not covered */
}

/* --- lanes of a warp ---------------------------------------------------------------------------------------------------------------------------------- */
bool ptx_decode_warp_barrier(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  i->members = i->a;
  return true;
}
void ptx_run_warp_barrier(PtxWarp *w, const PtxInst *i, uint32_t on) { ptx_warp_ordered(w); }

void ptx_run_active(PtxWarp *w, const PtxInst *i, uint32_t on) {
  PTX_EACH(l, on) ptx_set(w, i->d, l, 32, on);
  ptx_taint(w, i->d, on, 0);
}

enum { IDX, UP, DOWN, BFLY };

/* shfl.sync.mode.b32 d[|p], a, b, c, membermask */
bool ptx_decode_shuffle(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  static const char *const modes[] = {[IDX] = ".idx.", [UP] = ".up.", [DOWN] = ".down.", [BFLY] = ".bfly."};
  const PtxOperand *o = s->operands;
  while (!strstr(s->name, modes[i->mode])) i->mode++;
  if (ptx_operands(o) != 5) return ptx_refuse_statement(d, "'%s' takes 5 operands", s->name);
  PtxOperand value = {.kind = PTX_NAME, .name = o->name}, found = {.kind = PTX_NAME, .name = o->second};
  if (o->kind != PTX_PAIR) value = *o;
  if (!ptx_decode_value(d, &value, 'r', true, &i->d) || (o->kind == PTX_PAIR && !ptx_decode_value(d, &found, 'p', true, &i->e))) return false;
  const PtxOperand *a = o->next, *b = a->next, *c = b->next;
  return ptx_decode_value(d, a, 'r', false, &i->a) && ptx_decode_value(d, b, 'r', false, &i->b) && ptx_decode_value(d, c, 'r', false, &i->c) &&
         ptx_decode_value(d, c->next, 'r', false, &i->members);
}

/* Which lane a lane reads; false: its own, because the one asked for is outside of its segment. */
static bool source_lane(int mode, int lane, uint32_t b, uint32_t c, int *from) {
  int value = (int)(b & 31), clamp = (int)(c & 31), segment = (int)(c >> 8 & 31), highest = (lane & segment) | (clamp & ~segment), lowest = lane & segment;
  bool good = false;
  switch (mode) {
  case UP: *from = lane - value; good = *from >= highest; break;          /* here c holds the lowest lane */
  case DOWN: *from = lane + value; good = *from <= highest; break;
  case BFLY: *from = lane ^ value; good = *from <= highest; break;
  case IDX: *from = lowest | (value & ~segment); good = *from <= highest; break;
  }
  if (!good) *from = lane;
  return good;
}

void ptx_run_shuffle(PtxWarp *w, const PtxInst *i, uint32_t on) {
  uint32_t value[PTX_LANES], undefined = *ptx_undefined(w, i->a), result = 0, found = 0;
  ptx_use(w, i, i->b, on, "a lane's number");
  ptx_use(w, i, i->c, on, "a lane's number");
  PTX_EACH(l, on) {
    int from = 0;
    if (source_lane(i->mode, (int)l, (uint32_t)ptx_get(w, i->b, l, 32), (uint32_t)ptx_get(w, i->c, l, 32), &from)) found |= 1u << l;
    if (!(on >> from & 1)) ptx_find_fault(w, i, (int)l, PTX_UNDEFINED_LANE, 0, "reads lane %d, which takes no part", from);
    value[l] = (uint32_t)ptx_get(w, i->a, (unsigned)from, 32);
    result |= (undefined >> from & 1) << l;
  }
  PTX_EACH(l, on) ptx_set(w, i->d, l, 32, value[l]);
  ptx_taint(w, i->d, on, result);
  if (i->e == (PtxRef)PTX_ZERO_ROW) return;
  uint32_t *p = ptx_row(w, i->e);
  *p = (*p & ~on) | found;
  ptx_taint(w, i->e, on, 0);
}

enum { ALL, ANY, UNI, BALLOT };
bool ptx_decode_vote(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  static const char *const modes[] = {[ALL] = ".all.", [ANY] = ".any.", [UNI] = ".uni.", [BALLOT] = ".ballot."};
  const PtxOperand *o = s->operands;
  while (!strstr(s->name, modes[i->mode])) i->mode++;
  if (ptx_operands(o) != 3) return ptx_refuse_statement(d, "'%s' takes 3 operands", s->name);
  return ptx_decode_value(d, o, i->mode == BALLOT ? 'r' : 'p', true, &i->d) && ptx_decode_predicate(d, o->next, &i->a, &i->negated) &&
         ptx_decode_value(d, o->next->next, 'r', false, &i->members);
}
void ptx_run_vote(PtxWarp *w, const PtxInst *i, uint32_t on) {
  uint32_t yes = (ptx_mask(w, i->a) ^ (i->negated ? PTX_ALL : 0)) & on, undefined = *ptx_undefined(w, i->a) & on ? PTX_ALL : 0;
  bool answer = i->mode == ALL ? yes == on : i->mode == ANY ? yes != 0 : yes == 0 || yes == on;
  if (i->mode == BALLOT) PTX_EACH(l, on) ptx_set(w, i->d, l, 32, yes);
  else {
    uint32_t *p = ptx_row(w, i->d);
    *p = (*p & ~on) | (answer ? on : 0);
  }
  ptx_taint(w, i->d, on, undefined);
}

typedef enum Reduce { R_ADD, R_MIN_U, R_MIN_S, R_MAX_U, R_MAX_S, R_AND, R_OR, R_XOR } Reduce;
bool ptx_decode_redux(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  static const struct { const char *name; Reduce op; } names[] = {{".add.", R_ADD}, {".min.u32", R_MIN_U}, {".min.s32", R_MIN_S}, {".max.u32", R_MAX_U}, {".max.s32", R_MAX_S},
    {".and.", R_AND}, {".or.", R_OR}, {".xor.", R_XOR}};
  const PtxOperand *o = s->operands;
  for (unsigned k = 0; k < sizeof names/sizeof *names; k++)
    if (strstr(s->name, names[k].name)) i->mode = (uint8_t)names[k].op;
  if (ptx_operands(o) != 3) return ptx_refuse_statement(d, "'%s' takes 3 operands", s->name);
  return ptx_decode_value(d, o, 'r', true, &i->d) && ptx_decode_value(d, o->next, 'r', false, &i->a) && ptx_decode_value(d, o->next->next, 'r', false, &i->members);
}
static uint32_t reduce(Reduce op, uint32_t a, uint32_t b) {
  switch (op) {
  case R_ADD: return a + b;
  case R_MIN_U: return a < b ? a : b;
  case R_MIN_S: return (int32_t)a < (int32_t)b ? a : b;
  case R_MAX_U: return a > b ? a : b;
  case R_MAX_S: return (int32_t)a > (int32_t)b ? a : b;
  case R_AND: return a & b;
  case R_OR: return a | b;
  case R_XOR: return a ^ b;
  }
  return 0;
}
void ptx_run_redux(PtxWarp *w, const PtxInst *i, uint32_t on) {
  unsigned first = (unsigned)__builtin_ctz(on);
  uint32_t all = (uint32_t)ptx_get(w, i->a, first, 32);
  PTX_EACH(l, on & ~(1u << first)) all = reduce((Reduce)i->mode, all, (uint32_t)ptx_get(w, i->a, l, 32));
  uint32_t undefined = *ptx_undefined(w, i->a) & on ? PTX_ALL : 0;
  PTX_EACH(l, on) ptx_set(w, i->d, l, 32, all);
  ptx_taint(w, i->d, on, undefined);
}
