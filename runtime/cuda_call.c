/* cuda_call.c: one call on a GPU. The driver of all backends walks the call in main memory; here its kernels become launches.
 *
 * Everything that a kernel may reach and that is not the caller's tensor has a mirror on the device: the call's structs, copied there first, and the
 * workspace, whose room there is the real one (here it holds the driver's records, the rest is addresses that are never touched). A launch gets a packet: the frame,
 * the tables it points to, with device addresses, and the work entries. One packet is enough, as copies and kernels are ordered by the stream and a copy from pageable
 * memory returns when that memory may change. Kernels that only compute numbers before the others (requirements, sizes, a group's uniforms) run here, as the
 * rule's own machine code or interpreted: no launch, no wait. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include "runtime/cuda.h"

enum { THREADS = 256, MAX_WORK = 4096, MAX_SHARE = 64, MAX_AXES = 64, NUMBERS_AT = 16 };      /* SHARE: blocks of one work entry; a call's numbers stand behind t and seed */
enum { GROUPS, GLOBAL, ITEMS, WORKSPACE, MIRRORS };

typedef struct Mirror { char *host; size_t size; CUdeviceptr device; } Mirror;

typedef struct GpuCall GpuCall;
typedef struct Launcher {                /* optc_frame.self */
  GpuCall *call;
  const optc_gpu_kernel_desc *kernel;
  const optc_kernel_desc *host;          /* as it runs here */
  CUfunction function;
} Launcher;

struct GpuCall {
  optc_gpu *gpu;
  CUstream stream;
  GpuModule *module;
  Arena *arena;
  const optc_gpu_desc *code;
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

static bool does(const Launcher *l, int64_t what) { return (l->kernel->does & what) != 0; }

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
  bool share_chunk = does(l, GPU_BY_THREADS);
  unsigned threads = does(l, GPU_BY_BLOCK) ? GPU_BLOCK : share_chunk ? THREADS : 1, share = share_chunk ? up_to((longest + THREADS - 1)/THREADS, MAX_SHARE) : 1;
  CUdeviceptr frames = c->packet_at, work = (CUdeviceptr)(uintptr_t)put(c, c->work, n*(int64_t)sizeof *c->work/8);
  void *params[] = {&frames, &work, &n};
  if (!l->function && !CU(c, cuModuleGetFunction, &l->function, c->module->module, l->kernel->name)) return;
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
  int64_t launch = l->host->launch;
  return c->pending == l && (launch == LAUNCH_CHUNK || launch == LAUNCH_TILE) && last->position == f->position && !memcmp(last->trip, f->trip, sizeof f->trip);
}

/* Chunk by chunk, also where the driver asks for many at once. */
static void add_work(GpuCall *c, Launcher *l, const optc_frame *f) {
  bool cuts = l->host->launch == LAUNCH_CHUNK;
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

static void run_here(const Launcher *l, optc_frame *f) {
  f->self = l->host->self;
  l->host->fn[0](f);                     /* scalar work: the same in every variant */
}

static void launch(optc_frame *f) {
  Launcher *l = f->self;
  GpuCall *c = l->call;
  if (does(l, GPU_ON_HOST)) { run_here(l, f); return; }
  if (c->status != OPTC_OK) return;      /* the driver goes on: kernels cannot fail */
  add_work(c, l, f);
  if (!does(l, GPU_ANSWERS)) return;
  flush(c);
  answer(c, f);
}

/* --- the call -------------------------------------------------------------------------------------------------------------------------------- */
/* The rule's descriptor with this call's launchers as its kernels. */
static void describe(GpuCall *c) {
  const optc_rule_desc *d = c->code->rule;
  optc_entry_desc *entries = arena_array(c->arena, (size_t)d->n_entries + 1, sizeof *entries);
  for (int64_t e = 0; e < d->n_entries; e++) {
    size_t n = (size_t)d->entries[e].n_kernels;
    optc_kernel_desc *kernels = arena_array(c->arena, n + 1, sizeof *kernels);
    Launcher *launchers = arena_array(c->arena, n + 1, sizeof *launchers);
    for (size_t k = 0; k < n; k++) {
      kernels[k] = d->entries[e].kernels[k];
      launchers[k] = (Launcher){.call = c, .kernel = &c->code->entries[e].kernels[k], .host = &d->entries[e].kernels[k]};
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
  for (int64_t k = 0; k < c->entry->n_kernels; k++) set |= (c->code->entries[entry].kernels[k].does & GPU_SETS_NUMBERS) != 0;
  if (!set || c->status != OPTC_OK) return;
  const Mirror *global = &c->mirror[GLOBAL], *items = &c->mirror[ITEMS];
  if (global->size > NUMBERS_AT) CU(c, cuMemcpyDtoHAsync, global->host + NUMBERS_AT, global->device + NUMBERS_AT, global->size - NUMBERS_AT, c->stream);
  if (items->size) CU(c, cuMemcpyDtoHAsync, items->host, items->device, items->size, c->stream);
  CU(c, cuStreamSynchronize, c->stream);
}

/* Main memory for the driver's records and for as many addresses as the device's workspace has; what is not touched is not there. */
static void *reserve(GpuCall *c, size_t size) {
  void *at = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : NULL;
  if (at != MAP_FAILED) return at;
  c->status = starve(&c->error);
  return NULL;
}

static unsigned starved(const GpuCall *c) { return c->code->starved ? atomic_load((atomic_uint *)c->code->starved) : 0; }

static int drive_with(GpuCall *c, int64_t entry, const optc_call *call) {
  int status = OPTC_OK;
  unsigned before = starved(c);
  int32_t chosen = 0;
  mirror(c, call);
  if (c->status == OPTC_OK) {
    status = optc_drive(&c->desc, entry, call, c->module->fits == c->code ? NULL : &chosen);
    if (chosen > 0) c->module->fits = c->code;
    flush(c);
    if (status == OPTC_OK) fetch_numbers(c, entry);
  }
  if (c->memory) CU(c, cuMemFreeAsync, c->memory, c->stream);
  if (c->status == OPTC_OK && starved(c) != before) c->status = starve(&c->error);
  return status;
}

static int drive(GpuCall *c, int64_t entry, const optc_call *call) {
  describe(c);
  c->entry = &c->desc.entries[entry];
  c->status = gpu_module(c->gpu, c->code, &c->module, &c->error);
  if (c->status == OPTC_E_MEMORY) starve(&c->error);
  optc_call own = *call;
  own.parallel = NULL;
  own.workspace_size = optc_drive_workspace(&c->desc, call);
  own.workspace = reserve(c, own.workspace_size);
  int status = c->status == OPTC_OK ? drive_with(c, entry, &own) : OPTC_OK;
  if (own.workspace) munmap(own.workspace, own.workspace_size);
  if (c->status == OPTC_OK) return status;
  if (call->error) *call->error = c->error;
  return c->status;
}

static int refuse(const optc_call *call, int code, const char *text) {
  if (call->error) *call->error = (optc_error){.code = code, .text = text, .item = -1};
  return code;
}

/* Whether strides are those of a dense tensor. */
static bool is_dense(const int64_t *shape, int64_t rank, const int64_t *stride) {
  int64_t step = 1;
  bool dense = true, empty = false;
  for (int64_t a = rank; stride && shape && a-- > 0; step *= shape[a]) {
    dense &= shape[a] == 1 || stride[a] == step;
    empty |= shape[a] == 0;
  }
  return dense || empty;
}

/* The driver would pack strided tensors, here, where it cannot read them. */
static int check_strides(const optc_gpu_desc *code, const optc_call *call) {
  const optc_rule_desc *d = code->rule;
  for (int64_t i = 0; call->items && i < call->n_items; i++)
    for (int64_t k = 0; k < d->n_operands; k++) {
      const optc_operand_desc *o = &d->operands[k];
      const char *item = (const char *)call->items + i*d->item_size;
      optc_shaped x = {0};
      if (o->scope != SCOPE_TENSOR) continue;
      memcpy(&x, item + o->offset, o->shaped ? sizeof x : sizeof(optc_tensor));
      if (!o->shaped) {
        memcpy(&x.rank, item + d->item_rank, 8);
        memcpy(&x.shape, item + d->item_shape, 8);
      }
      if (!x.data || x.rank < 0 || x.rank > MAX_AXES || is_dense(x.shape, x.rank, x.stride)) continue;
      if (call->error) *call->error = (optc_error){.code = OPTC_E_SHAPE, .text = "it is strided: on a GPU all are dense", .item = i, .operand = o->name};
      return OPTC_E_SHAPE;
    }
  return OPTC_OK;
}

static int check(const optc_gpu_desc *code, const optc_call *call) {
  if (call->size != sizeof *call) return OPTC_E_SIZE;
  if (!code) return refuse(call, OPTC_E_TARGET, "the rule is not compiled for PTX");
  if (code->version != OPTC_DESC_VERSION) return refuse(call, OPTC_E_TARGET, "the object was made by another version of optc");
  return check_strides(code, call);
}

static int drive_in_context(CUstream stream, optc_gpu *gpu, const optc_gpu_desc *code, int64_t entry, const optc_call *call) {
  CUcontext left;
  CUresult entered = gpu->cuda.cuCtxPushCurrent(gpu->context);
  if (entered) return gpu_fail(gpu, call->error, "cuCtxPushCurrent", entered);
  int status = OPTC_E_MEMORY;
  Arena *arena = arena_new(NULL, 0);
  if (!arena || setjmp(*arena_guard(arena))) starve(call->error);
  else {
    GpuCall *c = arena_alloc(arena, sizeof *c);
    *c = (GpuCall){.gpu = gpu, .stream = stream, .arena = arena, .code = code};
    status = drive(c, entry, call);
  }
  if (arena) arena_free(arena);
  gpu->cuda.cuCtxPopCurrent(&left);
  return status;
}

int gpu_drive(CUstream stream, optc_gpu *gpu, const optc_gpu_desc *code, int64_t entry, const optc_call *call) {
  int status = check(code, call);
  return status ? status : drive_in_context(stream, gpu, code, entry, call);
}

/* --- the public calls -------------------------------------------------------------------------------------------------------------------------- */
typedef struct GpuWay { RuleWay way; optc_gpu *gpu; CUstream stream; } GpuWay;

static int drive_there(const RuleWay *way, const optc_rule *r, int64_t entry, const optc_call *call) {
  const GpuWay *there = (const GpuWay *)way;
  return gpu_drive(there->stream, there->gpu, r->gpu, entry, call);
}

int optc_gpu_call(void *stream, optc_gpu *gpu, const optc_rule *rule, int entry, const optc_call_args *a) {
  if (!gpu || !rule || !a) return OPTC_E_NULL;
  GpuWay there = {.way = {.device = {kDLCUDA, gpu->ordinal}, .drive = drive_there}, .gpu = gpu, .stream = stream};
  return rule_call(rule, entry, a, &there.way);
}

int optc_gpu_call_raw(void *stream, optc_gpu *gpu, const struct optc_gpu_desc *code, const char *entry, const void *R_call) {
  const optc_call *call = R_call;
  if (!gpu || !code || !entry || !call) return OPTC_E_NULL;
  if (call->size != sizeof *call) return OPTC_E_SIZE;
  for (int64_t e = 0; e < code->rule->n_entries; e++)
    if (!strcmp(code->rule->entries[e].name, entry) && strcmp(entry, "layout")) return gpu_drive(stream, gpu, code, e, call);
  return refuse(call, OPTC_E_NULL, "there is no such entry");
}

const struct optc_gpu_desc *optc_rule_gpu(const optc_rule *rule) { return rule ? rule->gpu : NULL; }
