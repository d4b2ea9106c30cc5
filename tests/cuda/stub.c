/* stub.c: the functions of runtime/cuda.def without a GPU. Device memory has addresses of its own, which the host cannot read; kernels are executed by
 * backends/ptx, at once. Thus host code that confuses the two memories, forgets a copy or launches with a wrong frame gives no or other results. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/ptx/ptx.h"
#include "runtime/cuda_api.h"
#include "tests/cuda/stub.h"

#define EXPORT __attribute__((visibility("default")))
enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_PTX = 218, UNSUPPORTED_PTX_VERSION = 222, NOT_FOUND = 500, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900, MAX_NODES = 4096, MAX_PIECES = 1 << 16 };

typedef struct Piece { void *data; size_t size; uint64_t address; } Piece;        /* freed: size 0; its address is given to no other, so that a later access is found */
struct CUctx_st { int nothing; };
struct CUmod_st { Arena *arena; PtxModule *code; };

static struct CUctx_st context;
static Piece pieces[MAX_PIECES];         /* in the order of their addresses */
static size_t n_pieces;
static Arena *mapped;
static PtxMemory *memory;                /* all of the device's memory as the executor sees it */
static CudaStub stub = {.context = &context, .compute = 90};

CudaStub *cuda_stub(void);
EXPORT CudaStub *cuda_stub(void) { return &stub; }

#define CUDA(name, suffix, params) CUresult name##suffix params;
#include "runtime/cuda.def"
#undef CUDA

/* A stream that is captured takes launches and what else needs no host memory; a function that waits, or would read memory of the host when the graph is launched, breaks it. */
static bool breaks(const char *name) {
  static const char *const may[] = {"cuLaunchKernel", "cuMemsetD8Async", "cuStreamIsCapturing", "cuCtxPushCurrent"};
  for (size_t k = 0; k < sizeof may/sizeof *may; k++) if (!strcmp(may[k], name)) return false;
  if (stub.capturing && !*stub.broken) snprintf(stub.broken, sizeof stub.broken, "%s", name);
  return stub.capturing;
}

/* What a function gives before it has done anything. */
static CUresult begin(const char *name) {
  if (breaks(name)) return CAPTURE_UNSUPPORTED;
  return stub.fails && !strcmp(stub.fails, name) ? stub.code : CUDA_SUCCESS;
}
static CUresult begin_in_context(const char *name) { return stub.pushed > 0 ? begin(name) : INVALID_CONTEXT; }
static CUresult begin_on(const char *name, CUstream stream) {
  stub.strangers += (void *)stream != stub.stream;
  return begin_in_context(name);
}

__attribute__((constructor)) static void open_memory(void) {
  mapped = arena_new(NULL, 0);
  memory = ptx_memory_new(mapped);
}
__attribute__((destructor)) static void close_memory(void) { arena_free(mapped); }

/* The piece that has all of a range, or NULL. */
static Piece *piece_at(CUdeviceptr at, size_t size) {
  size_t low = 0, high = n_pieces;       /* those before low begin at or before it, those from high on behind it */
  while (low < high) {
    size_t middle = (low + high)/2;
    if (pieces[middle].address <= at) low = middle + 1;
    else high = middle;
  }
  Piece *p = low ? &pieces[low - 1] : NULL;
  return p && at - p->address < p->size && size <= p->size - (at - p->address) ? p : NULL;
}

/* Host address of a range, or NULL. */
static char *reach(CUdeviceptr at, size_t size) {
  const Piece *p = piece_at(at, size);
  return p ? (char *)p->data + (at - p->address) : NULL;
}

EXPORT CUresult cuInit(unsigned flags) { return begin("cuInit"); }

EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? begin("cuDeviceGet") : INVALID_DEVICE;
}

EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
  *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? stub.compute/10 : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? stub.compute%10 : -1;
  return *value < 0 ? INVALID_VALUE : begin("cuDeviceGetAttribute");
}

EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device) {
  CUresult result = begin("cuDevicePrimaryCtxRetain");
  if (result) return result;
  *out = &context;
  stub.contexts++;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) { stub.contexts--; return CUDA_SUCCESS; }

EXPORT CUresult cuCtxPushCurrent_v2(CUcontext c) {
  CUresult result = c == &context ? begin("cuCtxPushCurrent") : INVALID_CONTEXT;
  stub.pushed += !result;
  return result;
}

EXPORT CUresult cuCtxPopCurrent_v2(CUcontext *out) {
  if (stub.pushed <= 0) return INVALID_CONTEXT;
  stub.pushed--;
  *out = &context;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned n, int *options, void **values) {
  CUresult result = begin_in_context("cuModuleLoadDataEx");
  Arena *arena = arena_new(NULL, 0);
  Diag *diag = diag_new(arena, 0);
  Source *source = arena_alloc(arena, sizeof *source);
  *source = (Source){"module.ptx", image, strlen(image)};
  Text text = {.arena = arena};
  PtxModule *code = result ? NULL : ptx_load(arena, diag, source, strstr(image, "mma.sync") ? PTX_RELAXED : PTX_STRICT);      /* strict code has none */
  if (result) text_add(&text, "ptxas error: as the test asks");
  else if (!code) diag_render_text(diag, &text, false);
  for (unsigned k = 0; k + 1 < n && text.length; k++)
    if (options[k] == CU_JIT_ERROR_LOG_BUFFER && options[k + 1] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) snprintf(values[k], (size_t)(uintptr_t)values[k + 1], "%s", text.data);
  if (!code) {
    arena_free(arena);
    return result ? result : INVALID_PTX;
  }
  CUmodule module = arena_alloc(arena, sizeof *module);
  *module = (struct CUmod_st){arena, code};
  *out = module;
  stub.modules++;
  stub.loads++;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleUnload(CUmodule module) {
  arena_free(module->arena);
  stub.modules--;
  return begin_in_context("cuModuleUnload");
}

/* --- what can be captured: done at once, or kept with its parameters ----------------------------------------------------------------------- */
/* A function is its module with a number. */
typedef struct Function { CUmodule module; const PtxKernel *kernel; } Function;
typedef struct Node {                    /* one of a launch and a memset */
  const Function *function;
  char *params;
  PtxLaunch launch;
  CUdeviceptr to; unsigned char value; size_t size;
} Node;
static Node nodes[MAX_NODES];

static CUresult fill(const Node *n) {
  char *at = reach(n->to, n->size);
  if (at) memset(at, n->value, n->size);
  return at ? CUDA_SUCCESS : INVALID_VALUE;
}

static CUresult execute(const Node *n) {
  if (!n->function) return fill(n);
  Arena *arena = arena_new(NULL, 0);
  PtxReport report = {.arena = arena};
  const uint32_t *grid = n->launch.grid, *block = n->launch.block;
  bool ran = ptx_launch(n->function->module->code, memory, &n->launch, &report);
  if (!ran && !*stub.finding) {
    Text text = {.arena = arena};
    ptx_report_print(&report, &text);
    snprintf(stub.finding, sizeof stub.finding, "%s: %s", ptx_kernel_info(n->function->kernel)->name, text.data ? text.data : "");
  }
  stub.launches++;
  stub.threads += grid[0]*grid[1]*grid[2]*block[0]*block[1]*block[2];
  arena_free(arena);
  return ran ? CUDA_SUCCESS : LAUNCH_FAILED;
}

static CUresult take(Node node) {
  CUresult result = CUDA_SUCCESS;
  if (stub.capturing && stub.captured < MAX_NODES) { nodes[stub.captured++] = node; return result; }
  result = execute(&node);
  free(node.params);
  return result;
}

void cuda_stub_replay(void);
EXPORT void cuda_stub_replay(void) {
  for (unsigned k = 0; k < stub.captured; k++) execute(&nodes[k]);
}

EXPORT CUresult cuStreamIsCapturing(CUstream stream, int *status) {
  *status = stub.capturing;
  return begin_on("cuStreamIsCapturing", stream);
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t size, CUstream stream) {
  CUresult result = begin_on("cuMemsetD8Async", stream);
  return result ? result : take((Node){.to = to, .value = value, .size = size});
}

EXPORT CUresult cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name) {
  CUresult result = begin_in_context("cuModuleGetFunction");
  const PtxKernel *kernel = ptx_find(module->code, name);
  if (result || !kernel) return result ? result : NOT_FOUND;
  Function *f = arena_alloc(module->arena, sizeof *f);
  *f = (Function){module, kernel};
  *out = (CUfunction)(void *)f;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAllocAsync(CUdeviceptr *out, size_t size, CUstream stream) {
  CUresult result = begin_on("cuMemAllocAsync", stream);
  if (result) return result;
  if (!size || n_pieces == MAX_PIECES) return size ? OUT_OF_MEMORY : INVALID_VALUE;
  size_t whole = (size + 255) & ~(size_t)255;
  void *data = aligned_alloc(256, whole);
  if (!data) return OUT_OF_MEMORY;
  memset(data, 0xa5, whole);
  *out = ptx_map(memory, data, size, PTX_READ | PTX_WRITE, "device memory");
  pieces[n_pieces++] = (Piece){data, size, *out};
  stub.memory++;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemFreeAsync(CUdeviceptr at, CUstream stream) {
  CUresult result = begin_on("cuMemFreeAsync", stream);
  Piece *p = result ? NULL : piece_at(at, 1);
  if (!p) return result ? result : INVALID_VALUE;
  ptx_unmap(memory, p->address);
  free(p->data);
  p->data = NULL;
  p->size = 0;
  stub.memory--;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
  CUresult result = begin_on("cuMemcpyHtoDAsync", stream);
  char *at = result ? NULL : reach(to, size);
  if (at) memcpy(at, from, size);
  return result ? result : at ? CUDA_SUCCESS : INVALID_VALUE;
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) {
  CUresult result = begin_on("cuMemcpyDtoHAsync", stream);
  const char *at = result ? NULL : reach(from, size);
  if (at) memcpy(to, at, size);
  return result ? result : at ? CUDA_SUCCESS : INVALID_VALUE;
}

EXPORT CUresult cuStreamSynchronize(CUstream stream) {
  stub.waits++;
  return begin_on("cuStreamSynchronize", stream);
}

EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, CUstream stream, void **params, void **extra) {
  CUresult result = begin_on("cuLaunchKernel", stream);
  if (result) return result;
  const Function *f = (const Function *)(const void *)function;
  const PtxKernelInfo *info = ptx_kernel_info(f->kernel);
  char *block = calloc(1, info->param_bytes + 1);
  if (stub.most_blocks && gx > stub.most_blocks) gx = stub.most_blocks;
  for (unsigned k = 0; k < info->n_params; k++) memcpy(block + info->param_offset[k], params[k], info->param_size[k]);
  return take((Node){.function = f, .params = block,
    .launch = {.kernel = f->kernel, .grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared_bytes = shared, .params = block, .seed = 1, .nan_seed = 1, .tensor = stub.compute >= 90 ? PTX_HOPPER : PTX_AMPERE, .global_races = gx*gy*bx > 1}});
}

EXPORT CUresult cuGetErrorName(CUresult result, const char **name) {
  static const struct { CUresult code; const char *name; } names[] = {
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"}, {INVALID_PTX, "CUDA_ERROR_INVALID_PTX"}, {UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"}, {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}, {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
  };
  for (size_t k = 0; k < sizeof names/sizeof *names; k++)
    if (names[k].code == result) { *name = names[k].name; return CUDA_SUCCESS; }
  return INVALID_VALUE;
}
