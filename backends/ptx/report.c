/* report.c: findings: one a kind and line, with a count and the first one's place. */
#include <stdarg.h>
#include "backends/ptx/machine.h"

static const char *const names[] = {
  [PTX_OUT_OF_BOUNDS] = "out of bounds", [PTX_MISALIGNED] = "misaligned", [PTX_READ_ONLY] = "read-only memory", [PTX_UNDEFINED_VALUE] = "undefined value",
  [PTX_SHARED_RACE] = "race in shared memory", [PTX_GLOBAL_RACE] = "race in global memory", [PTX_DIVERGENT_BARRIER] = "divergent barrier",
  [PTX_UNDEFINED_LANE] = "undefined lane", [PTX_DEADLOCK] = "deadlock", [PTX_STEP_LIMIT] = "step limit", [PTX_TRAP] = "trap", [PTX_BAD_LAUNCH] = "bad launch",
};

static PtxFinding *seen(PtxReport *r, PtxFindingKind kind, unsigned line) {
  for (unsigned k = 0; k < r->n; k++)
    if (r->findings[k].kind == kind && r->findings[k].line == line) return &r->findings[k];
  return NULL;
}

void ptx_report_add(PtxReport *r, PtxFinding f) {
  PtxFinding *old = seen(r, f.kind, f.line);
  if (old) { old->count++; return; }
  r->findings = arena_grow(r->arena, r->findings, &r->capacity, r->n + 1, sizeof *r->findings);
  f.count = 1;
  r->findings[r->n++] = f;
}

void ptx_find_fault(PtxWarp *w, const PtxInst *i, int lane, PtxFindingKind kind, uint64_t address, const char *format, ...) {
  PtxGrid *g = w->grid;
  PtxFinding *old = seen(g->report, kind, i->line);
  if (old) { old->count++; return; }
  PtxFinding f = {.kind = kind, .line = i->line, .address = address};
  const uint32_t *n = g->launch->block;
  uint32_t thread = w->number*PTX_LANES + (uint32_t)lane, place[3] = {thread%n[0], thread/n[0]%n[1], thread/n[0]/n[1]};
  for (int k = 0; k < 3; k++) {
    f.block[k] = g->block[k];
    f.thread[k] = place[k];
  }
  va_list arguments;
  va_start(arguments, format);
  f.text = arena_vprintf(g->report->arena, format, arguments);
  va_end(arguments);
  ptx_report_add(g->report, f);
}

void ptx_use(PtxWarp *w, const PtxInst *i, PtxRef r, uint32_t on, const char *what) {
  uint32_t undefined = *ptx_undefined(w, r) & on;
  if (undefined) ptx_find_fault(w, i, __builtin_ctz(undefined), PTX_UNDEFINED_VALUE, 0, "%s depends on a register or memory that nobody has written", what);
}

void ptx_report_print(const PtxReport *r, Text *out) {
  for (unsigned k = 0; k < r->n; k++) {
    const PtxFinding *f = &r->findings[k];
    text_add(out, "%s: ", names[f->kind]);
    if (f->line) text_add(out, "line %u, block (%u,%u,%u), thread (%u,%u,%u): ", f->line, f->block[0], f->block[1], f->block[2], f->thread[0], f->thread[1], f->thread[2]);
    text_add(out, "%s", f->text);
    if (f->count > 1) text_add(out, " (%llu times)", (unsigned long long)f->count);
    text_add(out, "\n");
  }
}
