/* launch.c: modules are loaded, grids run: blocks one after the other, the warps of a block in turns until each waits or has left. */
#include <fenv.h>
#include <string.h>
#include "backends/ptx/machine.h"

PtxModule *ptx_load(Arena *arena, Diag *diag, const Source *source, PtxMode mode) {
  PtxModule *m = arena_alloc(arena, sizeof *m);
  m->arena = arena;
  m->mode = mode;
  Source *copy = arena_alloc(arena, sizeof *copy);            /* the lexer wants a zero byte after the text */
  *copy = (Source){source->name, arena_strndup(arena, source->text, source->length), source->length};
  PtxParser parser = {.arena = arena, .diag = diag, .source = copy};
  return ptx_parse(&parser) && ptx_decode(m, &parser) ? m : NULL;
}

unsigned ptx_kernels(const PtxModule *m) { return m->n_kernels; }
const PtxKernel *ptx_kernel(const PtxModule *m, unsigned index) { return m->kernels[index]; }
const PtxKernelInfo *ptx_kernel_info(const PtxKernel *k) { return &k->info; }
const PtxKernel *ptx_find(const PtxModule *m, const char *name) {
  for (unsigned k = 0; k < m->n_kernels; k++)
    if (!strcmp(m->kernels[k]->info.name, name)) return m->kernels[k];
  return NULL;
}

/* --- what a launch needs --------------------------------------------------------------------------------------------------------------------------- */
static PtxPiece fresh(Arena *a, const char *name, uint64_t size, uint64_t times, unsigned access) {
  return (PtxPiece){.data = arena_array(a, size*times + 16, 1), .size = size, .access = access, .name = name,
    .defined = access & PTX_UNDEFINED ? arena_array(a, size*times + 16, 1) : NULL};
}
static size_t pages_of(const PtxPiece *p) { return p->size/4/PTX_PAGE + 1; }
static PtxCell **cells_for(Arena *a, const PtxPiece *p) { return arena_array(a, pages_of(p), sizeof(PtxCell *)); }

static void place_statics(PtxGrid *g) {
  const PtxModule *m = g->module;
  g->constants = fresh(g->arena, ".const memory", m->const_size, 1, PTX_READ);
  g->globals = fresh(g->arena, ".global memory", m->global_size, 1, PTX_READ | PTX_WRITE);
  for (unsigned k = 0; k < m->n_statics; k++) {
    const PtxStatic *s = &m->statics[k];
    memcpy((s->space == PTX_CONST ? g->constants : g->globals).data + s->offset, s->image, s->size);
  }
}

static void place_memory(PtxGrid *g) {
  const PtxKernelInfo *info = &g->kernel->info;
  Arena *a = g->arena;
  size_t shared = info->shared_bytes;
  if (g->kernel->extern_shared) shared = ((shared + 15) & ~(size_t)15) + g->launch->shared_bytes;
  g->shared = fresh(a, "shared memory", shared, 1, PTX_READ | PTX_WRITE | PTX_UNDEFINED);
  g->shared.cells = cells_for(a, &g->shared);
  g->local = fresh(a, "local memory", info->local_bytes, (uint64_t)g->n_warps*PTX_LANES, PTX_READ | PTX_WRITE | PTX_UNDEFINED);
  g->params = fresh(a, "the parameters", info->param_bytes, 1, PTX_READ);
  if (info->param_bytes) memcpy(g->params.data, g->launch->params, info->param_bytes);
  place_statics(g);
  bool races = g->launch->global_races;
  for (size_t k = 0; k < g->memory->n; k++) {
    PtxPiece *p = &g->memory->pieces[k];
    p->cells = races && p->size ? cells_for(a, p) : NULL;
  }
  if (races) g->globals.cells = cells_for(a, &g->globals);
  if (races) g->ordered = arena_array(a, g->n_blocks/8 + 1, 1);
}

static void place_warps(PtxGrid *g) {
  const PtxKernel *k = g->kernel;
  g->warps = arena_array(g->arena, g->n_warps, sizeof *g->warps);
  uint32_t *none = arena_array(g->arena, k->n_fixed, sizeof *none);         /* immediates are defined */
  for (uint32_t n = 0; n < g->n_warps; n++) {
    PtxWarp *w = &g->warps[n];
    w->grid = g;
    w->number = n;
    w->rows[0] = arena_array(g->arena, k->n_rows, PTX_ROW);
    w->rows[1] = (char *)(uintptr_t)k->fixed;                               /* only read */
    w->undefined[0] = arena_array(g->arena, k->n_rows, sizeof(uint32_t));
    w->undefined[1] = none;
  }
}

static uint32_t special(const PtxGrid *g, const PtxWarp *w, PtxSpecial s, uint32_t lane) {
  const uint32_t *n = g->launch->block, thread = w->number*PTX_LANES + lane;
  switch (s) {
  case PTX_TID_X: return thread%n[0];
  case PTX_TID_Y: return thread/n[0]%n[1];
  case PTX_TID_Z: return thread/n[0]/n[1];
  case PTX_NTID_X: case PTX_NTID_Y: case PTX_NTID_Z: return n[s - PTX_NTID_X];
  case PTX_CTAID_X: case PTX_CTAID_Y: case PTX_CTAID_Z: return g->block[s - PTX_CTAID_X];
  case PTX_NCTAID_X: case PTX_NCTAID_Y: case PTX_NCTAID_Z: return g->launch->grid[s - PTX_NCTAID_X];
  case PTX_LANEID: return lane;
  case PTX_WARPID: return w->number;
  case PTX_LANEMASK_EQ: return 1u << lane;
  case PTX_LANEMASK_LE: return PTX_ALL >> (31 - lane);
  case PTX_LANEMASK_LT: return (1u << lane) - 1;
  case PTX_LANEMASK_GE: return PTX_ALL << lane;
  case PTX_LANEMASK_GT: return (PTX_ALL << lane) & ~(1u << lane);
  case PTX_SPECIALS: break;
  }
  return 0;
}

static void start_warp(PtxGrid *g, PtxWarp *w) {
  uint32_t threads = g->n_threads - w->number*PTX_LANES;
  memset(w->undefined[0], 0xff, g->kernel->n_rows*sizeof(uint32_t));
  for (int s = 0; s < PTX_SPECIALS; s++) {
    PtxRef row = g->kernel->special[s];
    if (!row) continue;
    for (uint32_t l = 0; l < PTX_LANES; l++) ptx_set(w, row, l, 32, special(g, w, (PtxSpecial)s, l));
    *ptx_undefined(w, row) = 0;
  }
  w->live = w->on = threads >= PTX_LANES ? PTX_ALL : (1u << threads) - 1;
  w->parked = 0;
  w->at = 0;
  w->merge = INT32_MAX;
  w->waiting = -1;
  w->fenced = false;
  w->copies = NULL;
  memset(w->groups, 0, sizeof w->groups);
  memset(w->clock, 0, sizeof w->clock);
  w->clock[w->number] = 1;
}

/* --- barriers ------------------------------------------------------------------------------------------------------------------------------------------ */
static uint32_t live_warps(const PtxGrid *g) {
  uint32_t n = 0;
  for (uint32_t k = 0; k < g->n_warps; k++) n += g->warps[k].live != 0;
  return n;
}

/* A barrier is complete when as many threads as it is for have come; when it is for all, when all that have not left wait. */
static void release(PtxGrid *g) {
  for (int number = 0; number < PTX_BARRIERS; number++) {
    PtxBarrier *b = &g->barrier[number];
    if (!b->arrived || b->arrived < (b->expected ? b->expected : live_warps(g)*PTX_LANES)) continue;
    for (uint32_t k = 0; k < g->n_warps; k++) {
      PtxWarp *w = &g->warps[k];
      if (w->waiting != number) continue;
      w->waiting = -1;
      for (uint32_t u = 0; u < PTX_MAX_WARPS; u++)
        if (b->clock[u] > w->clock[u]) w->clock[u] = b->clock[u];
      w->clock[k]++;
    }
    *b = (PtxBarrier){0};
  }
}

static void report_deadlock(PtxGrid *g) {
  Text text = {.arena = g->report->arena};
  for (uint32_t k = 0; k < g->n_warps; k++)
    if (g->warps[k].live) text_add(&text, "%swarp %u waits at barrier %d in line %u", text.length ? ", " : "", k, g->warps[k].waiting, g->warps[k].wait_line);
  ptx_report_add(g->report, (PtxFinding){.kind = PTX_DEADLOCK, .block = {g->block[0], g->block[1], g->block[2]}, .text = text.data});
  g->stopped = true;
}

/* --- blocks -------------------------------------------------------------------------------------------------------------------------------------------- */
static void shuffle(uint32_t *order, uint32_t n, uint64_t seed, uint64_t *random) {
  for (uint32_t k = 0; k < n; k++) order[k] = k;
  for (uint32_t k = n; seed && k > 1; k--) {
    uint32_t other = (uint32_t)(ptx_random(random)%k), kept = order[k - 1];
    order[k - 1] = order[other];
    order[other] = kept;
  }
}

static void start_block(PtxGrid *g, uint32_t number) {
  const uint32_t *n = g->launch->grid;
  g->block_number = number;
  g->block[0] = number%n[0];
  g->block[1] = number/n[0]%n[1];
  g->block[2] = number/n[0]/n[1];
  memset(g->shared.defined, 0, g->shared.size);
  for (size_t k = 0; k < pages_of(&g->shared); k++) if (g->shared.cells[k]) memset(g->shared.cells[k], 0, PTX_PAGE*sizeof(PtxCell));
  memset(g->local.defined, 0, g->local.size*g->n_warps*PTX_LANES);
  memset(g->barrier, 0, sizeof g->barrier);
  if (g->ordered) memset(g->ordered, 0, g->n_blocks/8 + 1);
  for (uint32_t k = 0; k < g->n_warps; k++) start_warp(g, &g->warps[k]);
}

static void run_block(PtxGrid *g, uint32_t number) {
  uint32_t order[PTX_MAX_WARPS];
  start_block(g, number);
  while (!g->stopped && live_warps(g)) {
    bool ran = false;
    shuffle(order, g->n_warps, g->launch->seed, &g->random);
    for (uint32_t k = 0; k < g->n_warps && !g->stopped; k++) {
      PtxWarp *w = &g->warps[order[k]];
      if (!w->live || w->waiting >= 0) continue;
      ran = true;
      ptx_warp_run(w, g->launch->seed ? 1 + ptx_random(&g->random)%200 : UINT64_MAX);
      release(g);                        /* at once: who comes later is in the barrier's next round */
    }
    if (!ran && !g->stopped) report_deadlock(g);
    if (g->steps >= g->step_limit && !g->stopped) {
      ptx_report_add(g->report, (PtxFinding){.kind = PTX_STEP_LIMIT, .block = {g->block[0], g->block[1], g->block[2]}, .text = "the kernel does not come to its end"});
      g->stopped = true;
    }
  }
}

static bool refuse_launch(PtxReport *r, const char *text) {
  ptx_report_add(r, (PtxFinding){.kind = PTX_BAD_LAUNCH, .text = text});
  return false;
}

/* CUDA's limits ("Technical Specifications per Compute Capability"). */
static bool fits(const PtxLaunch *l, PtxReport *r) {
  const PtxKernelInfo *info = ptx_kernel_info(l->kernel);
  uint64_t threads = (uint64_t)l->block[0]*l->block[1]*l->block[2], blocks = (uint64_t)l->grid[0]*l->grid[1];
  for (int k = 0; k < 3; k++)
    if (!l->grid[k] || !l->block[k]) return refuse_launch(r, "a grid or block of no extent");
  if (l->block[0] > 1024 || l->block[1] > 1024 || l->block[2] > 64 || threads > 1024) return refuse_launch(r, "more than 1024 threads in a block");
  if (info->block_limit && threads > info->block_limit) return refuse_launch(r, "more threads in a block than the kernel says");
  if (blocks > UINT32_MAX/l->grid[2] || l->grid[1] > 65535 || l->grid[2] > 65535 || blocks*l->grid[2] >> 22) return refuse_launch(r, "more blocks than are executed here");
  if (info->shared_bytes + l->shared_bytes > 232448) return refuse_launch(r, "more shared memory than any device has");
  if (info->param_bytes && !l->params) return refuse_launch(r, "no parameters");
  return true;
}

static void run_grid(PtxGrid *g) {
  uint32_t *order = arena_array(g->arena, g->n_blocks, sizeof *order);
  place_memory(g);
  place_warps(g);
  shuffle(order, g->n_blocks, g->launch->seed, &g->random);
  for (uint32_t k = 0; k < g->n_blocks && !g->stopped; k++) run_block(g, order[k]);
}

/* Both arenas may run out: the launch's own goes, then the caller's guard has its turn. */
static bool run_protected(PtxGrid *g, Arena *reports) {
  jmp_buf outer;
  memcpy(&outer, arena_guard(reports), sizeof outer);
  bool starved = setjmp(*arena_guard(g->arena)) != 0;
  fenv_t environment;
  fegetenv(&environment);
  fesetenv(FE_DFL_ENV);                  /* to nearest, nothing flushed */
  bool lost = !starved && setjmp(*arena_guard(reports)) != 0;
  if (!starved && !lost) run_grid(g);
  fesetenv(&environment);
  memcpy(arena_guard(reports), &outer, sizeof outer);
  if (lost) {
    arena_free(g->arena);
    longjmp(*arena_guard(reports), 1);
  }
  return !starved;
}

bool ptx_launch(const PtxModule *m, PtxMemory *memory, const PtxLaunch *launch, PtxReport *report) {
  report->n = 0;
  report->steps = 0;
  if (!fits(launch, report)) return false;
  Arena *arena = arena_new(NULL, 0);
  if (!arena) return refuse_launch(report, "out of memory");
  PtxGrid *g = arena_alloc(arena, sizeof *g);
  *g = (PtxGrid){.arena = arena, .module = m, .kernel = launch->kernel, .launch = launch, .memory = memory, .report = report, .random = launch->seed,
    .nan = launch->nan_seed, .step_limit = launch->step_limit ? launch->step_limit : UINT64_C(1) << 40};
  g->n_threads = launch->block[0]*launch->block[1]*launch->block[2];
  g->n_warps = (g->n_threads + PTX_LANES - 1)/PTX_LANES;
  g->n_blocks = launch->grid[0]*launch->grid[1]*launch->grid[2];
  bool ran = run_protected(g, report->arena);
  report->steps = g->steps;
  arena_free(arena);
  return ran ? report->n == 0 : refuse_launch(report, "out of memory");
}
