/* cuda_call.c: one call on a GPU. The driver of all backends walks the call in main memory; here its kernels become launches.
 *
 * Everything that a kernel may reach and that is not the caller's tensor has a mirror on the device: the call's structs, copied there first, and the
 * workspace, whose room there is the real one. A launch gets a packet: the frame, the tables it points to, with device addresses, and the work entries. One packet is
 * enough, as copies and kernels are ordered by the stream and a copy from pageable memory returns when that memory may change. Kernels that only compute numbers before the
 * others (requirements, sizes, a group's uniforms) are interpreted here: no launch, no wait. */
#include <string.h>
#include "ir/interpret.h"
#include "runtime/cuda.h"

enum { THREADS = 256, MAX_WORK = 4096, MAX_SHARE = 64, MAX_AXES = 64, NUMBERS_AT = 16 };      /* SHARE: blocks of one work entry; a call's numbers stand behind t and seed */
enum { GROUPS, GLOBAL, ITEMS, WORKSPACE, MIRRORS };

typedef struct Mirror { char *host; size_t size; CUdeviceptr device; } Mirror;

typedef struct GpuCall GpuCall;
typedef struct Launcher { GpuCall *call; const GpuKernel *kernel; CUfunction function; } Launcher;      /* optc_frame.self */

struct GpuCall {
  optc_gpu *gpu;
  CUstream stream;
  CUmodule module;
  Arena *arena;
  const optc_rule *rule;
  optc_rule_desc desc;                   /* the rule's, with launchers as kernels */
  const optc_entry_desc *entry;
  Mirror mirror[MIRRORS];
  CUdeviceptr memory, packet_at;
  char *packet; size_t used, uniforms_at;
  void **table;                          /* of pointers, before it is put into the packet */
  Launcher *pending;                     /* its packet is ready but for the work entries: more of the same item may join */
  optc_work *work; size_t n_work;
  int status;
  optc_error error;
};

static bool passed(GpuCall *c, const char *function, CUresult result) {
  if (result && c->status == OPTC_OK) c->status = gpu_fail(c->gpu, &c->error, function, result);
  return c->status == OPTC_OK;
}
#define CU(c, name, ...) passed(c, #name, (c)->gpu->cuda.name(__VA_ARGS__))

static int starve(optc_error *error) {
  if (error) *error = (optc_error){.code = OPTC_E_MEMORY, .text = "out of memory", .item = -1};
  return OPTC_E_MEMORY;
}

/* --- packets --------------------------------------------------------------------------------------------------------------------------------- */
/* What lies in a mirrored range, on the device; all else already is an address there. */
static void *on_device(const GpuCall *c, const void *p) {
  for (int k = 0; k < MIRRORS; k++) {
    uintptr_t offset = (uintptr_t)p - (uintptr_t)c->mirror[k].host;
    if (p && c->mirror[k].size && offset < c->mirror[k].size) return (void *)(uintptr_t)(c->mirror[k].device + offset);
  }
  return (void *)(uintptr_t)p;
}

static void *put(GpuCall *c, const void *words, int64_t n) {
  if (!words || n <= 0) return NULL;
  size_t at = c->used;
  memcpy(c->packet + at, words, (size_t)n*8);
  c->used += (size_t)n*8;
  return (void *)(uintptr_t)(c->packet_at + at);
}

static size_t packet_size(const GpuCall *c) {
  size_t n = (size_t)c->desc.n_operands, words = n*(4 + MAX_AXES) + (size_t)c->entry->n_temps + (size_t)c->entry->n_uniforms + 2*(size_t)c->entry->n_spaces + MAX_AXES;
  return sizeof(optc_frame) + 8*words + MAX_WORK*sizeof(optc_work);
}

static void pack(GpuCall *c, const optc_frame *f) {
  int64_t n = c->desc.n_operands, buffers = n + c->entry->n_temps;
  optc_frame device = *f;
  c->used = sizeof device;
  for (int64_t k = 0; k < buffers; k++) c->table[k] = on_device(c, f->data[k]);
  device.data = put(c, c->table, buffers);
  for (int64_t k = 0; k < n; k++) c->table[k] = put(c, f->shapes[k], f->ranks[k]);
  device.shapes = put(c, c->table, n);
  device.ranks = put(c, f->ranks, n);
  device.counts = put(c, f->counts, n);
  device.shape = put(c, f->shape, f->rank);
  device.spaces = put(c, f->spaces, 2*c->entry->n_spaces);
  c->uniforms_at = c->used;
  device.uniform = put(c, f->uniform, c->entry->n_uniforms);
  device.hyper = on_device(c, f->hyper);
  device.global = on_device(c, f->global);
  device.item = on_device(c, f->item);
  device.slots = on_device(c, f->slots);
  device.totals = on_device(c, f->totals);
  device.exists = NULL;                  /* these are for kernels of the host */
  device.extents = NULL;
  device.self = NULL;
  memcpy(c->packet, &device, sizeof device);
}

/* --- launches -------------------------------------------------------------------------------------------------------------------------------- */
static unsigned up_to(int64_t n, int64_t most) { return n < 1 ? 1 : n > most ? (unsigned)most : (unsigned)n; }

static void flush(GpuCall *c) {
  Launcher *l = c->pending;
  c->pending = NULL;
  if (!l || c->status != OPTC_OK) return;
  int64_t longest = 0, n = (int64_t)c->n_work;
  for (int64_t k = 0; k < n; k++) if (c->work[k].end - c->work[k].begin > longest) longest = c->work[k].end - c->work[k].begin;
  unsigned threads = l->kernel->by_threads ? THREADS : 1, share = l->kernel->by_threads ? up_to((longest + THREADS - 1)/THREADS, MAX_SHARE) : 1;
  CUdeviceptr frames = c->packet_at, work = (CUdeviceptr)(uintptr_t)put(c, c->work, n*(int64_t)sizeof *c->work/8);
  void *params[] = {&frames, &work, &n};
  if (!l->function && !CU(c, cuModuleGetFunction, &l->function, c->module, l->kernel->name)) return;
  if (CU(c, cuMemcpyHtoDAsync, c->packet_at, c->packet, c->used, c->stream)) CU(c, cuLaunchKernel, l->function, (unsigned)n, share, 1, threads, 1, 1, 0, c->stream, params, NULL);
}

/* What the driver reads of a kernel. */
static void answer(GpuCall *c, optc_frame *f) {
  if (c->status != OPTC_OK || !CU(c, cuMemcpyDtoHAsync, c->packet, c->packet_at, c->used, c->stream) || !CU(c, cuStreamSynchronize, c->stream)) return;
  const optc_frame *device = (const optc_frame *)c->packet;
  f->skip = device->skip;
  f->failed = device->failed;
  f->n_values = device->n_values;
  memcpy(f->value, device->value, sizeof f->value);
  memcpy(f->uniform, c->packet + c->uniforms_at, (size_t)c->entry->n_uniforms*8);
}

/* Chunks and tiles of one item differ in where they begin and end alone. */
static bool joins(const GpuCall *c, const Launcher *l, const optc_frame *f) {
  const optc_frame *last = (const optc_frame *)c->packet;
  Launch launch = l->kernel->kernel->launch;
  return c->pending == l && (launch == LAUNCH_CHUNK || launch == LAUNCH_TILE) && last->position == f->position && !memcmp(last->trip, f->trip, sizeof f->trip);
}

/* Chunk by chunk, also where the driver asks for many at once. */
static void add_work(GpuCall *c, Launcher *l, const optc_frame *f) {
  bool cuts = l->kernel->kernel->launch == LAUNCH_CHUNK;
  int64_t begin = f->begin;
  do {
    if (!joins(c, l, f) || c->n_work == MAX_WORK) {
      flush(c);
      pack(c, f);
      c->pending = l;
      c->n_work = 0;
    }
    int64_t end = cuts && f->end - begin > OPTC_CHUNK ? begin + OPTC_CHUNK : f->end;
    c->work[c->n_work++] = (optc_work){0, begin, end};
    begin = end;
  } while (begin < f->end);
}

static void interpret(GpuCall *c, const GpuKernel *k, optc_frame *f) {
  Arena *scratch = arena_new(NULL, 0);
  if (!scratch || setjmp(*arena_guard(scratch))) c->status = starve(&c->error);
  else kernel_interpret(k->program, k->kernel, f, scratch);
  if (scratch) arena_free(scratch);
}

static void launch(optc_frame *f) {
  Launcher *l = f->self;
  GpuCall *c = l->call;
  if (l->kernel->on_host) { interpret(c, l->kernel, f); return; }
  if (c->status != OPTC_OK) return;      /* the driver goes on: kernels cannot fail */
  add_work(c, l, f);
  if (!l->kernel->answers) return;
  flush(c);
  answer(c, f);
}

/* --- the call -------------------------------------------------------------------------------------------------------------------------------- */
/* The rule's descriptor with this call's launchers as its kernels. */
static void describe(GpuCall *c) {
  const optc_rule_desc *d = c->rule->desc;
  optc_entry_desc *entries = arena_array(c->arena, (size_t)d->n_entries + 1, sizeof *entries);
  for (int64_t e = 0; e < d->n_entries; e++) {
    size_t n = (size_t)d->entries[e].n_kernels;
    optc_kernel_desc *kernels = arena_array(c->arena, n + 1, sizeof *kernels);
    Launcher *launchers = arena_array(c->arena, n + 1, sizeof *launchers);
    for (size_t k = 0; k < n; k++) {
      kernels[k] = d->entries[e].kernels[k];
      launchers[k] = (Launcher){.call = c, .kernel = &c->rule->gpu->kernels[e][k]};
      kernels[k].self = &launchers[k];
      for (int v = 0; v < OPTC_MAX_VARIANTS; v++) kernels[k].fn[v] = launch;
    }
    entries[e] = d->entries[e];
    entries[e].kernels = kernels;
  }
  c->desc = *d;
  c->desc.entries = entries;
}

static size_t align256(size_t n) { return (n + 255) & ~(size_t)255; }

/* Room on the device, and there what the call's structs say. Partials that other ranks would fill are 0. */
static void mirror(GpuCall *c, const optc_call *call) {
  uintptr_t base = ((uintptr_t)call->workspace + 63) & ~(uintptr_t)63;     /* buffers keep their alignment */
  size_t skipped = call->workspace ? base - (uintptr_t)call->workspace : 0;
  c->mirror[GROUPS] = (Mirror){(char *)(uintptr_t)call->groups, (size_t)(call->n_groups*c->desc.hyper_size), 0};
  c->mirror[GLOBAL] = (Mirror){call->global, (size_t)c->desc.global_size, 0};
  c->mirror[ITEMS] = (Mirror){call->items, (size_t)(call->n_items*c->desc.item_size), 0};
  if (call->workspace && call->workspace_size > skipped) c->mirror[WORKSPACE] = (Mirror){(char *)base, call->workspace_size - skipped, 0};
  size_t packet = packet_size(c), room = align256(packet);
  c->packet = arena_array(c->arena, packet, 1);
  c->table = arena_array(c->arena, (size_t)(c->desc.n_operands + c->entry->n_temps) + 1, sizeof *c->table);
  c->work = arena_array(c->arena, MAX_WORK, sizeof *c->work);
  for (int k = 0; k < MIRRORS; k++) room += align256(c->mirror[k].size);
  if (!CU(c, cuMemAllocAsync, &c->memory, room, c->stream)) return;
  CUdeviceptr at = c->packet_at = c->memory;
  at += align256(packet);
  for (int k = 0; k < MIRRORS; k++) {
    c->mirror[k].device = at;
    at += align256(c->mirror[k].size);
    if (k != WORKSPACE && c->mirror[k].size && !CU(c, cuMemcpyHtoDAsync, c->mirror[k].device, c->mirror[k].host, c->mirror[k].size, c->stream)) return;
  }
  bool partials = false;
  for (int64_t k = 0; c->entry->temp_kind && k < c->entry->n_temps; k++) partials |= (c->entry->temp_kind[k] & TEMP_PARTIAL) != 0;
  if (partials && c->mirror[WORKSPACE].size) CU(c, cuMemsetD8Async, c->mirror[WORKSPACE].device, 0, c->mirror[WORKSPACE].size, c->stream);
}

/* Numbers that kernels have set, where the caller looks for them. */
static void fetch_numbers(GpuCall *c, int64_t entry) {
  bool set = false;
  for (int64_t k = 0; k < c->entry->n_kernels; k++) set |= c->rule->gpu->kernels[entry][k].sets_numbers;
  if (!set || c->status != OPTC_OK) return;
  const Mirror *global = &c->mirror[GLOBAL], *items = &c->mirror[ITEMS];
  if (global->size > NUMBERS_AT) CU(c, cuMemcpyDtoHAsync, global->host + NUMBERS_AT, global->device + NUMBERS_AT, global->size - NUMBERS_AT, c->stream);
  if (items->size) CU(c, cuMemcpyDtoHAsync, items->host, items->device, items->size, c->stream);
  CU(c, cuStreamSynchronize, c->stream);
}

static int drive(GpuCall *c, int64_t entry, const optc_call *call) {
  describe(c);
  c->entry = &c->desc.entries[entry];
  c->status = gpu_module(c->gpu, c->rule->gpu, &c->module, &c->error);
  if (c->status == OPTC_E_MEMORY) starve(&c->error);
  if (c->status == OPTC_OK) mirror(c, call);
  int status = OPTC_OK;
  if (c->status == OPTC_OK) {
    status = optc_drive(&c->desc, entry, call, NULL);
    flush(c);
    if (status == OPTC_OK) fetch_numbers(c, entry);
  }
  if (c->memory) CU(c, cuMemFreeAsync, c->memory, c->stream);
  if (c->status == OPTC_OK) return status;
  if (call->error) *call->error = c->error;
  return c->status;
}

static int refuse(const optc_call *call, const char *text) {
  if (call->error) *call->error = (optc_error){.code = OPTC_E_TARGET, .text = text, .item = -1};
  return OPTC_E_TARGET;
}

int gpu_drive(optc_gpu *gpu, const optc_rule *rule, int64_t entry, CUstream stream, const optc_call *call) {
  if (!rule->gpu) return refuse(call, "the rule is not compiled for PTX");
  CUcontext left;
  CUresult entered = gpu->cuda.cuCtxPushCurrent(gpu->context);
  if (entered) return gpu_fail(gpu, call->error, "cuCtxPushCurrent", entered);
  int status = OPTC_E_MEMORY;
  Arena *arena = arena_new(NULL, 0);
  if (!arena || setjmp(*arena_guard(arena))) starve(call->error);
  else {
    GpuCall *c = arena_alloc(arena, sizeof *c);
    *c = (GpuCall){.gpu = gpu, .stream = stream, .arena = arena, .rule = rule};
    status = drive(c, entry, call);
  }
  if (arena) arena_free(arena);
  gpu->cuda.cuCtxPopCurrent(&left);
  return status;
}

static size_t measure(Arena *arena, const optc_rule *rule, const optc_call *call) {
  GpuCall *c = arena_alloc(arena, sizeof *c);
  *c = (GpuCall){.arena = arena, .rule = rule};
  describe(c);
  return optc_drive_workspace(&c->desc, call);
}

/* Sizes kernels are interpreted: none of them reads elements. 0 where memory ends, as where the call is wrong. */
size_t gpu_workspace(const optc_rule *rule, const optc_call *call) {
  Arena *arena = rule->gpu ? arena_new(NULL, 0) : NULL;
  if (!arena) return 0;
  if (setjmp(*arena_guard(arena))) {
    arena_free(arena);
    return 0;
  }
  size_t size = measure(arena, rule, call);
  arena_free(arena);
  return size;
}

typedef struct GpuWay { RuleWay way; optc_gpu *gpu; CUstream stream; } GpuWay;

static int drive_there(const RuleWay *way, const optc_rule *r, int64_t entry, const optc_call *call) {
  const GpuWay *gpu = (const GpuWay *)way;
  return gpu_drive(gpu->gpu, r, entry, gpu->stream, call);
}
static size_t workspace_there(const RuleWay *way, const optc_rule *r, const optc_call *call) { return gpu_workspace(r, call); }

int optc_gpu_call(optc_gpu *gpu, const optc_rule *rule, int entry, void *stream, const optc_call_args *a) {
  if (!gpu || !rule || !a) return OPTC_E_NULL;
  GpuWay there = {.way = {.device = {kDLCUDA, gpu->ordinal}, .drive = drive_there, .workspace = workspace_there}, .gpu = gpu, .stream = stream};
  return rule_call(rule, entry, a, &there.way);
}
