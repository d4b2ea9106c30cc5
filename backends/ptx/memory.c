/* memory.c: checked memory: what is mapped, what an address reaches, who touched it before.
 *
 * Races are found by happens-before, not by watching values: every warp has a vector clock that barriers join (Lamport 1978; as in FastTrack,
 * Flanagan and Freund 2009), four bytes remember their last writer and two readers with the clocks they had, and an access conflicts with
 * one that its warp's clock does not cover. Lanes of a warp are ordered by bar.warp.sync only: shuffles order no memory. */
#include <string.h>
#include "backends/ptx/machine.h"

PtxMemory *ptx_memory_new(Arena *arena) {
  PtxMemory *m = arena_alloc(arena, sizeof *m);
  m->arena = arena;
  return m;
}

uint64_t ptx_map(PtxMemory *m, void *data, size_t size, unsigned access, const char *name) {
  m->pieces = arena_grow(m->arena, m->pieces, &m->capacity, m->n + 1, sizeof *m->pieces);
  uint64_t address = ((uint64_t)(m->n + 1) << PTX_SLOT_BITS) + (1 << 20) + ((uintptr_t)data & 255);
  m->pieces[m->n++] = (PtxPiece){.address = address, .data = data, .size = size, .access = access, .name = arena_printf(m->arena, "%s", name ? name : "memory"),
    .defined = access & PTX_UNDEFINED ? arena_array(m->arena, size + 1, 1) : NULL};
  return address;
}

void ptx_unmap(PtxMemory *m, uint64_t address) {
  PtxPiece *p = &m->pieces[(address >> PTX_SLOT_BITS) - 1];
  p->data = p->defined = NULL;
  p->size = 0;
}

/* --- what an address reaches -------------------------------------------------------------------------------------------------------------------- */
static const PtxPiece *piece_at(const PtxGrid *g, PtxSpace space, uint64_t *address) {
  unsigned top = (unsigned)(*address >> 56);
  if (space <= PTX_GLOBAL && top > 0x70) {                   /* a generic address in the window of another space */
    PtxSpace in = (PtxSpace)(top - 0x70);
    if (space == PTX_GLOBAL && in != PTX_GLOBAL) return NULL;
    space = in;
    *address -= PTX_WINDOW(in);
    if (space == PTX_GLOBAL) return &g->globals;
  }
  switch (space) {
  case PTX_SHARED: return &g->shared;
  case PTX_PARAM: return &g->params;
  case PTX_CONST: return &g->constants;
  case PTX_LOCAL: return &g->local;
  default: break;
  }
  uint64_t slot = *address >> PTX_SLOT_BITS;
  if (slot == 0 || slot > g->memory->n) return NULL;
  const PtxPiece *p = &g->memory->pieces[slot - 1];
  *address -= p->address;
  return p;
}

uint8_t *ptx_reach(PtxWarp *w, const PtxInst *i, unsigned lane, PtxSpace space, uint64_t address, uint32_t size, unsigned access, PtxReached *r) {
  const PtxGrid *g = w->grid;
  uint64_t offset = address;
  const PtxPiece *p = piece_at(g, space, &offset);
  if (!p) {
    ptx_find_fault(w, i, (int)lane, PTX_OUT_OF_BOUNDS, address, "%u bytes at 0x%llx, where nothing is", size, (unsigned long long)address);
    return NULL;
  }
  if (address & (size - 1)) {
    ptx_find_fault(w, i, (int)lane, PTX_MISALIGNED, address, "%u bytes at offset %lld of %s, which is no multiple of %u", size, (long long)offset, p->name, size);
    return NULL;
  }
  if (offset >= p->size || size > p->size - offset) {
    ptx_find_fault(w, i, (int)lane, PTX_OUT_OF_BOUNDS, address, "%u bytes at offset %lld of %s, which has %llu bytes", size, (long long)offset, p->name, (unsigned long long)p->size);
    return NULL;
  }
  if (access & ~p->access) {
    ptx_find_fault(w, i, (int)lane, PTX_READ_ONLY, address, "a write at offset %lld of %s, which is only read", (long long)offset, p->name);
    return NULL;
  }
  if (p == &g->local) offset += (w->number*PTX_LANES + lane)*p->size;     /* every thread has its own */
  *r = (PtxReached){p, offset, p->defined ? p->defined + offset : NULL};
  return p->data + offset;
}

uint8_t *ptx_reach_together(PtxWarp *w, const PtxInst *i, uint32_t on, PtxSpace space, uint32_t size, unsigned access, uint64_t from[PTX_LANES], PtxReached *r) {
  uint64_t low = UINT64_MAX, high = 0, bits = 0;
  PTX_EACH(l, on) {
    uint64_t at = from[l] = ptx_address(w, i, l);
    low = at < low ? at : low;
    high = at > high ? at : high;
    bits |= at;
  }
  uint64_t offset = low, span = high - low;
  const PtxPiece *p = bits & (size - 1) ? NULL : piece_at(w->grid, space, &offset);
  if (!p || p == &w->grid->local || access & ~p->access || offset >= p->size || span >= p->size - offset || size > p->size - offset - span) return NULL;
  PTX_EACH(l, on) from[l] -= low;
  *r = (PtxReached){p, offset, p->defined ? p->defined + offset : NULL};
  return p->data + offset;
}

uint64_t ptx_address(const PtxWarp *w, const PtxInst *i, unsigned lane) { return ptx_get(w, i->a, lane, i->mode & PTX_WIDE ? 64 : 32) + (uint64_t)i->imm; }

/* --- who touched it --------------------------------------------------------------------------------------------------------------------------------- */

/* Threads are numbered over the grid from 1: 1024 a block. */
static uint32_t thread_number(const PtxWarp *w, unsigned lane) { return (w->grid->block_number << 10) + w->number*PTX_LANES + lane + 1; }

static bool ordered(const PtxWarp *w, const PtxTouch *t, uint32_t me) {
  if (!t->thread || t->thread == me) return true;
  uint32_t block = (t->thread - 1) >> 10, warp = ((t->thread - 1) & 1023)/PTX_LANES;
  if (block != w->grid->block_number) return w->grid->ordered && w->grid->ordered[block/8] >> block%8 & 1;
  return warp == w->number ? t->clock < w->clock[warp] : t->clock <= w->clock[warp];
}

static bool conflicts(const PtxWarp *w, const PtxTouch *t, uint32_t me, uint8_t bytes, bool atomic) {
  return t->bytes & bytes && !(atomic && t->atomic) && !ordered(w, t, me);
}

static void report_race(PtxWarp *w, const PtxInst *i, unsigned lane, const PtxPiece *p, uint64_t offset, const PtxTouch *t, const char *what) {
  uint32_t thread = t->thread - 1;
  bool shared = p == &w->grid->shared;
  ptx_find_fault(w, i, (int)lane, shared ? PTX_SHARED_RACE : PTX_GLOBAL_RACE, offset, "%s offset %llu of %s, after thread %u of block %u without a barrier between them", what,
    (unsigned long long)offset, p->name, thread & 1023, thread >> 10);
}

static void remember(PtxTouch *t, PtxTouch now) {
  if (t->thread == now.thread && t->clock == now.clock && t->atomic == now.atomic) now.bytes = now.bytes | t->bytes;
  *t = now;
}

static void touch_word(PtxWarp *w, const PtxInst *i, unsigned lane, const PtxPiece *p, uint64_t word, uint8_t bytes, PtxHow how) {
  PtxCell **page = &p->cells[word >> PTX_PAGE_BITS];
  if (!*page) *page = arena_array(w->grid->arena, PTX_PAGE, sizeof **page);
  PtxCell *c = &(*page)[word & (PTX_PAGE - 1)];
  uint32_t me = thread_number(w, lane);
  bool write = how >= PTX_WRITES, atomic = how == PTX_UPDATES || how == PTX_READS_STRONG;
  PtxTouch now = {me, w->clock[w->number], bytes, atomic, c->write.constant};
  if (how != PTX_REWRITES && conflicts(w, &c->write, me, bytes, atomic)) report_race(w, i, lane, p, 4*word, &c->write, write ? "writes" : "reads");
  if (!write) {
    if (how == PTX_READS_ONCE && c->write.thread)
      ptx_find_fault(w, i, (int)lane, PTX_READ_ONLY, 4*word, "reads offset %llu of %s as constant, which this launch has written", (unsigned long long)(4*word), p->name);
    if (how == PTX_READS_ONCE) c->write.constant = true;
    remember(ordered(w, &c->read, me) ? &c->read : &c->other_read, now);
    return;
  }
  if (how != PTX_REWRITES && conflicts(w, &c->read, me, bytes, atomic)) report_race(w, i, lane, p, 4*word, &c->read, "writes");
  else if (how != PTX_REWRITES && conflicts(w, &c->other_read, me, bytes, atomic)) report_race(w, i, lane, p, 4*word, &c->other_read, "writes");
  if (c->write.constant) ptx_find_fault(w, i, (int)lane, PTX_READ_ONLY, 4*word, "writes offset %llu of %s, which was read as constant", (unsigned long long)(4*word), p->name);
  remember(&c->write, now);
}

void ptx_touch(PtxWarp *w, const PtxInst *i, unsigned lane, const PtxReached *r, uint32_t size, PtxHow how) {
  if (!r->piece->cells) return;
  for (uint64_t at = r->offset, end = at + size; at < end;) {
    uint64_t word = at/4, stop = 4*word + 4 < end ? 4*word + 4 : end;
    touch_word(w, i, lane, r->piece, word, (uint8_t)(((1u << (stop - at)) - 1) << at%4), how);
    at = stop;
  }
}

void ptx_warp_ordered(PtxWarp *w) { w->clock[w->number]++; }

/* A fence and an atomic on a place order this block behind those that did the same there before. */
void ptx_order_blocks(PtxWarp *w, const PtxReached *r) {
  PtxGrid *g = w->grid;
  if (!w->fenced || !g->ordered) return;
  uint64_t place = (uint64_t)(uintptr_t)(r->piece->data + r->offset);
  uint32_t bytes = g->n_blocks/8 + 1;
  PtxMeeting *m = g->meetings;
  while (m && m->place != place) m = m->next;
  if (!m) {
    m = arena_alloc(g->arena, sizeof *m);
    *m = (PtxMeeting){place, arena_array(g->arena, bytes, 1), g->meetings};
    g->meetings = m;
  }
  m->blocks[g->block_number/8] |= (uint8_t)(1 << g->block_number%8);
  for (uint32_t k = 0; k < bytes; k++) g->ordered[k] |= m->blocks[k];
}
