/* interp_ptx.c: descriptors over kernels as PTX text, executed. The driver calls a kernel with a frame of host pointers, as it calls every other; here
 * all that the frame reaches is mapped, and the kernel gets a copy of the frame with device addresses, as a host program for a GPU would make one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/ptx/ptx.h"
#include "ir/describe.h"
#include "ir/gpu_map.h"
#include "runtime/cuda.h"
#include "runtime/interp.h"

enum { THREADS = 64, MAX_BLOCKS = 3, MAX_SHARE = 3 };      /* fewer than there may be work entries and shares of one: each block takes several */

typedef struct PtxCall {
  const Module *module;
  const optc_entry_desc *entry;
  const PtxModule *code;
  const PtxKernel *kernel;
  const Program *program;
  Launch launch;
  const GpuMap *map;                     /* who does what */
  PtxTensor tensor;
  optc_rule *rule;
} PtxCall;

/* Where what a frame reaches is mapped: as it is, or copies of it, the numbers of tensors a little off. */
typedef struct Mapped { PtxMemory *memory; Arena *arena; bool copied; } Mapped;

/* As far from where lines begin as what it is copied from. */
static void *copy_of(Arena *arena, const void *data, size_t bytes) {
  enum { LINE = 256 };
  char *room = arena_array(arena, bytes + 2*LINE, 1);
  room += (((uintptr_t)data & (LINE - 1)) - (uintptr_t)room) & (LINE - 1);
  return memcpy(room, data, bytes);
}

/* Another bit in the middle of each fraction: what was near stays near, what was finite stays so. */
static void *shaken(char *data, int64_t bytes, Type type) {
  static const uint8_t at[TYPE_COUNT] = {[TYPE_BF16] = 0, [TYPE_F16] = 0, [TYPE_F32] = 2, [TYPE_F64] = 5}, bit[TYPE_COUNT] = {[TYPE_BF16] = 4, [TYPE_F16] = 32, [TYPE_F32] = 4, [TYPE_F64] = 64};
  for (int64_t k = at[type]; bit[type] && k < bytes; k += type_bytes(type)) data[k] = (char)(data[k] ^ bit[type]);
  return data;
}

/* Device address of numbers of a type, or of what a pointer reaches; NULL stays NULL. */
static void *map_numbers(const Mapped *m, const void *data, int64_t bytes, unsigned access, const char *name, Type type) {
  if (!data || bytes <= 0) return (void *)(uintptr_t)data;
  void *host = m->copied ? shaken(copy_of(m->arena, data, (size_t)bytes), bytes, type) : (void *)(uintptr_t)data;
  return (void *)(uintptr_t)ptx_map(m->memory, host, (size_t)bytes, access, name);
}
static void *map(const Mapped *m, const void *data, int64_t bytes, unsigned access, const char *name) { return map_numbers(m, data, bytes, access, name, TYPE_I64); }

/* Elements of temporaries, and of states with a shape of their own, as the sizes kernels tell them: the driver asks once and keeps only where the buffers lie. */
static const int64_t *measure(const PtxCall *c, const optc_frame *f, Arena *arena) {
  int64_t n = c->module->n_operands, n_buffers = n + c->entry->n_temps;
  int64_t *counts = arena_array(arena, (size_t)n_buffers + 1, sizeof *counts);
  memcpy(counts, f->counts, (size_t)n_buffers*sizeof *counts);
  if (!f->item || c->launch == LAUNCH_SIZES) return counts;
  optc_frame scratch = *f;
  scratch.counts = counts;
  scratch.extents = arena_array(arena, (size_t)n*OPTC_MAX_RANK + 1, sizeof *scratch.extents);
  scratch.spaces = arena_array(arena, (size_t)c->entry->n_spaces + 1, sizeof *scratch.spaces);
  memcpy(scratch.extents, f->extents, (size_t)n*OPTC_MAX_RANK*sizeof *scratch.extents);
  for (int64_t k = 0; k < c->entry->n_kernels; k++) {
    if (c->entry->kernels[k].launch != LAUNCH_SIZES) continue;
    scratch.self = c->entry->kernels[k].self;
    c->entry->kernels[k].fn[0](&scratch);
  }
  return counts;
}

static int64_t buffer_bytes(const PtxCall *c, const optc_frame *f, const int64_t *counts, int64_t k) {
  int64_t n = c->module->n_operands, kind = k < n || !c->entry->temp_kind ? 0 : c->entry->temp_kind[k - n];
  if (k < n) return counts[k]*type_bytes(c->module->operands[k].storage);
  if (kind & TEMP_LOCAL || (!f->item && !(kind & TEMP_CALL))) return 0;        /* nobody's, or an item's where there is none */
  if (kind & TEMP_PARTIAL) return (f->total + OPTC_CHUNK - 1)/OPTC_CHUNK*8;
  return (kind & (TEMP_SIZED | TEMP_CALL) ? counts[k] : f->count)*c->entry->temp_bytes[k - n];
}

static const char *buffer_name(const PtxCall *c, Arena *arena, int64_t k) {
  return k < (int64_t)c->module->n_operands ? c->module->operands[k].name : arena_printf(arena, "temporary %lld", (long long)(k - c->module->n_operands));
}

/* Pointers to pointers: tables of their own. */
static void map_tables(const PtxCall *c, const Mapped *m, const optc_frame *f, optc_frame *device) {
  Arena *arena = m->arena;
  int64_t n = c->module->n_operands, buffers = n + c->entry->n_temps;
  void **data = arena_array(arena, (size_t)buffers + 1, sizeof *data), **shapes = arena_array(arena, (size_t)n + 1, sizeof *shapes);
  const int64_t *counts = measure(c, f, arena);
  for (int64_t k = 0; k < buffers; k++)
    data[k] = map_numbers(m, f->data[k], buffer_bytes(c, f, counts, k), PTX_READ | PTX_WRITE, buffer_name(c, arena, k), program_buffer_type(c->program, (unsigned)k));
  for (int64_t k = 0; k < n; k++) shapes[k] = map(m, f->shapes[k], f->ranks[k]*8, PTX_READ, "a shape");
  device->data = map(m, data, buffers*8, PTX_READ, "the table of tensors");
  device->shapes = map(m, shapes, n*8, PTX_READ, "the table of shapes");
}

static void map_frame(const PtxCall *c, const Mapped *m, const optc_frame *f, optc_frame *device) {
  const optc_rule_desc *rule = c->rule->desc;
  int64_t n = c->module->n_operands, slots = c->entry->n_slots;
  *device = *f;
  map_tables(c, m, f, device);
  device->hyper = map(m, f->hyper, rule->hyper_size, PTX_READ, "the hyper-parameters");
  device->global = map(m, f->global, rule->global_size, PTX_READ | PTX_WRITE, "the call's numbers");
  device->item = map(m, f->item, rule->item_size, PTX_READ | PTX_WRITE, "the item");
  device->uniform = map(m, f->uniform, c->entry->n_uniforms*8, PTX_READ | PTX_WRITE, "the group's numbers");
  device->shape = map(m, f->shape, f->rank*8, PTX_READ, "the item's shape");
  device->exists = map(m, f->exists, n, PTX_READ | PTX_WRITE, "the layout");
  device->ranks = map(m, f->ranks, n*8, PTX_READ, "the ranks");
  device->counts = map(m, f->counts, (n + c->entry->n_temps)*8, PTX_READ | PTX_WRITE, "the counts");
  device->extents = map(m, f->extents, n*OPTC_MAX_RANK*8, PTX_READ | PTX_WRITE, "the extents");
  device->slots = map(m, f->slots, slots*f->n_items*8, PTX_READ | PTX_WRITE, "the slots");
  device->totals = map(m, f->totals, slots*8, PTX_READ | PTX_WRITE, "the totals");
  device->spaces = map(m, f->spaces, c->entry->n_spaces*(int64_t)sizeof *f->spaces, PTX_READ | PTX_WRITE, "the launch spaces");
  device->self = NULL;
}

static void keep_finding(const PtxCall *c, const PtxReport *report) {
  Text text = {.arena = report->arena};
  ptx_report_print(report, &text);
  if (atomic_fetch_add(&c->rule->n_findings, 1)) return;     /* the first one is told */
  snprintf(c->rule->finding, sizeof c->rule->finding, "PTX kernel %s: %.*s", ptx_kernel_info(c->kernel)->name, (int)strcspn(text.data, "\n"), text.data);
}

/* The work entries of a launch: chunk by chunk, also where the driver asks for many at once. `before` more stand in front, alike. */
static optc_work *cut(const PtxCall *c, const optc_frame *f, Arena *arena, int64_t before, int64_t *n, int64_t *longest) {
  int64_t left = f->end - f->begin;
  bool many = c->launch == LAUNCH_CHUNK && left > OPTC_CHUNK;
  *n = before + (many ? (left - 1)/OPTC_CHUNK + 1 : 1);
  *longest = many ? OPTC_CHUNK : left;
  optc_work *work = arena_array(arena, (size_t)*n, sizeof *work), *first = work + before;
  for (int64_t k = 0; first + k < work + *n; k++) first[k] = (optc_work){before, f->begin + k*OPTC_CHUNK, first + k + 1 < work + *n ? f->begin + (k + 1)*OPTC_CHUNK : f->end};
  if (before) *work = (optc_work){0, first->begin, first->end};
  return work;
}

/* Where one block takes all work entries, its first is a copy of the launch: what the block leaves in shared memory meets the next entry in every kernel. */
static void execute_in(const PtxCall *c, optc_frame *f, Arena *arena) {
  unsigned most = MAX_BLOCKS - (unsigned)(c->rule->seed%MAX_BLOCKS);
  int64_t n = 0, longest = 0, before = most == 1 && c->map->shared && !c->map->splits;
  Mapped direct = {ptx_memory_new(arena), arena, false}, copied = {direct.memory, arena, true};
  PtxReport report = {.arena = arena};
  optc_frame frames[2], *device = &frames[before];
  if (before) map_frame(c, &copied, f, frames);
  map_frame(c, &direct, f, device);
  optc_work *work = cut(c, f, arena, before, &n, &longest);
  uint64_t params[3] = {ptx_map(direct.memory, frames, (size_t)(before + 1)*sizeof *frames, PTX_READ | PTX_WRITE, "the frame"), ptx_map(direct.memory, work, (size_t)n*sizeof *work, PTX_READ, "the work"), (uint64_t)n};
  uint64_t seed = c->rule->seed + 1;     /* no bit may depend on it; 0 would be order */
  PtxLaunch launch = {.kernel = c->kernel, .grid = {n < most ? (uint32_t)n : most, 1, 1}, .block = {1, 1, 1}, .params = params, .tensor = c->tensor, .seed = seed, .nan_seed = seed, .global_races = c->map->shared || n > 1};
  if (c->map->splits && (c->map->tiles || longest > THREADS)) launch.grid[1] = MAX_SHARE;
  if (c->map->shared) launch.block[0] = c->map->contracts ? GPU_BLOCK : THREADS;
  if (!ptx_launch(c->code, direct.memory, &launch, &report)) keep_finding(c, &report);
  f->skip = device->skip;
  f->failed = device->failed;
  f->n_values = device->n_values;
  memcpy(f->value, device->value, sizeof f->value);
}

static void execute(optc_frame *frame) {
  const PtxCall *c = frame->self;
  Arena *arena = arena_new(NULL, 0);
  if (!arena || setjmp(*arena_guard(arena))) atomic_fetch_add(&c->rule->starved, 1);
  else execute_in(c, frame, arena);
  if (arena) arena_free(arena);
}

/* Whose tensor cores a GPU has. */
static PtxTensor tensor_of(const char *gpu) {
  static const struct { long compute; PtxTensor tensor; } first[] = {{90, PTX_HOPPER}, {80, PTX_AMPERE}, {75, PTX_TURING}};
  long compute = strtol(gpu + strcspn(gpu, "0123456789"), NULL, 10);
  for (size_t k = 0; k < sizeof first/sizeof *first; k++) if (compute >= first[k].compute) return first[k].tensor;
  return PTX_VOLTA;
}

const optc_rule_desc *interp_describe_ptx(optc_rule *rule, const Module *m, Program *const *programs, const PtxModule *code, const char *gpu) {
  static const int64_t no_features[1] = {OPTC_ISA_BASE};
  optc_entry_desc *entries = arena_array(m->arena, (size_t)m->n_graphs + 1, sizeof *entries);
  unsigned at = 0;
  for (unsigned i = 0; i < m->n_graphs; i++) {
    optc_kernel_desc *kernels = describe_program(programs[i], &entries[i], m->arena);
    for (unsigned k = 0; k < programs[i]->n_kernels; k++) {
      if (at == ptx_kernels(code)) return NULL;
      PtxCall *call = arena_alloc(m->arena, sizeof *call);
      const Kernel *kernel = programs[i]->kernels[k];
      *call = (PtxCall){m, &entries[i], code, ptx_kernel(code, at++), programs[i], kernel->launch, gpu_map(m->arena, programs[i], kernel), tensor_of(gpu), rule};
      kernels[k].self = call;
      for (int v = 0; v < OPTC_MAX_VARIANTS; v++) kernels[k].fn[v] = execute;
    }
  }
  optc_rule_desc *desc = describe_rule(m, entries, m->n_graphs, m->arena);
  desc->n_variants = 1;
  desc->variant_features = no_features;
  return at == ptx_kernels(code) ? desc : NULL;
}

bool interp_replace_ptx(const optc_rule *rule, const PtxModule *code) {
  unsigned at = 0;
  for (int64_t e = 0; e < rule->desc->n_entries; e++)
    for (int64_t k = 0; k < rule->desc->entries[e].n_kernels; k++) {
      PtxCall *call = rule->desc->entries[e].kernels[k].self;
      if (at == ptx_kernels(code)) return false;
      call->code = code;
      call->kernel = ptx_kernel(code, at++);
    }
  return at == ptx_kernels(code);
}

static bool block_fuses(const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    if (inst->op == KOP_FMA || kop_contracts(inst->op) || block_fuses(inst->body) || block_fuses(inst->otherwise)) return true;
  }
  return false;
}

bool interp_ptx_fuses(const optc_rule *rule, int64_t entry, int64_t kernel) {
  const PtxCall *call = rule->desc->entries[entry].kernels[kernel].self;
  return block_fuses(call->program->kernels[kernel]->body);
}
