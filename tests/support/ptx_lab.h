/* ptx_lab.h: PTX text loaded and launched in tests: one module and its memory at a time. Inline: only suites that link the executor have it. */
#ifndef OPTC_TESTS_PTX_LAB_H
#define OPTC_TESTS_PTX_LAB_H
#include <stdio.h>
#include <string.h>
#include "backends/ptx/ptx.h"

typedef struct PtxLab {
  Arena *arena;
  Diag *diag;
  PtxModule *module;
  PtxMemory *memory;
  PtxReport report;
  PtxLaunch launch;
} PtxLab;

#define PTX_HEAD ".version 8.0\n.target sm_90\n.address_size 64\n"

/* False after an error of the text, which is in the diag. The launch starts as one thread of the first kernel. */
static inline bool lab_open(PtxLab *l, const char *text, PtxMode mode) {
  *l = (PtxLab){.arena = arena_new(NULL, 0)};
  l->diag = diag_new(l->arena, 0);
  l->memory = ptx_memory_new(l->arena);
  l->report.arena = l->arena;
  Source *source = arena_alloc(l->arena, sizeof *source);
  *source = (Source){"text.ptx", text, strlen(text)};
  l->module = ptx_load(l->arena, l->diag, source, mode);
  if (l->module && ptx_kernels(l->module)) l->launch = (PtxLaunch){.kernel = ptx_kernel(l->module, 0), .grid = {1, 1, 1}, .block = {1, 1, 1}};
  return l->module != NULL;
}

static inline void lab_close(PtxLab *l) { arena_free(l->arena); }

static inline bool lab_run(PtxLab *l, const void *params) {
  l->launch.params = params;
  return ptx_launch(l->module, l->memory, &l->launch, &l->report);
}

/* A finding of that kind at a line (0: any), or NULL. */
static inline const PtxFinding *lab_found_at(const PtxLab *l, PtxFindingKind kind, unsigned line) {
  for (unsigned k = 0; k < l->report.n; k++)
    if (l->report.findings[k].kind == kind && (!line || l->report.findings[k].line == line)) return &l->report.findings[k];
  return NULL;
}
static inline const PtxFinding *lab_found(const PtxLab *l, PtxFindingKind kind) { return lab_found_at(l, kind, 0); }

static inline void lab_show(PtxLab *l) {
  Text text = {.arena = l->arena};
  diag_render_text(l->diag, &text, false);
  ptx_report_print(&l->report, &text);
  if (text.data) printf("\n%s", text.data);
}
#endif
