/* cuda_queue.c: what is queued in a stream: memory, copies, the launches of a record. */
#include "ir/gpu_map.h"
#include "runtime/cuda.h"

enum { MAX_SHARE = 64, MAX_BLOCKS = 8192, EACH = 16 };       /* blocks of one work entry, of a launch; positions that are worth a block */

bool gpu_passed(GpuQueue *q, const char *function, CUresult result) {
  if (result && q->status == OPTC_OK) q->status = gpu_fail(q->gpu, &q->error, function, result);
  return q->status == OPTC_OK;
}

bool gpu_enter(GpuQueue *q, optc_gpu *gpu, CUstream stream) {
  *q = (GpuQueue){.gpu = gpu, .stream = stream, .error = {.item = -1}};
  return q->entered = CU(q, cuCtxPushCurrent, gpu->context);
}

int gpu_leave(GpuQueue *q, optc_error *error) {
  CUcontext left;
  if (q->entered) q->gpu->cuda.cuCtxPopCurrent(&left);
  if (error) *error = q->error;
  return q->status;
}

void gpu_refuse(GpuQueue *q, int code, const char *text) {
  if (q->status != OPTC_OK) return;
  q->status = code;
  q->error = (optc_error){.code = code, .text = text, .item = -1};
}

bool gpu_put(GpuQueue *q, const GpuModule *module, GpuRecord *r, GpuPlaced *placed) {
  *placed = (GpuPlaced){.record = r};
  for (size_t k = 0; k < r->n_launches; k++) if (!CU(q, cuModuleGetFunction, &r->launches[k].function, module->module, r->launches[k].kernel->name)) return false;
  if (!CU(q, cuMemAllocAsync, &placed->memory, r->workspace + r->size, q->stream)) return false;
  placed->base = placed->memory + r->workspace;
  gpu_place(r, placed->base);
  return CU(q, cuMemcpyHtoDAsync, placed->base, r->image, r->size, q->stream);
}

static unsigned up_to(int64_t n, int64_t most) { return n < 1 ? 1 : n > most ? (unsigned)most : (unsigned)n; }

/* Blocks that share a work entry: enough to fill a device, and no more than find work. */
static unsigned share_of(const GpuLaunch *l) {
  int64_t fair = MAX_BLOCKS/(l->n_work > 0 ? (int64_t)l->n_work : 1);
  int64_t most = fair > MAX_SHARE ? MAX_SHARE : fair > 1 ? fair : 1, pieces = l->kernel->does & GPU_MULTIPLIES ? GPU_TILES : (l->longest + EACH - 1)/EACH;
  return l->kernel->does & GPU_SPLITS ? up_to(pieces, most) : 1;
}

/* Nothing here but what may be captured into a graph. */
void gpu_launch(GpuQueue *q, const GpuPlaced *placed) {
  const GpuRecord *r = placed->record;
  if (r->n_partials && !CU(q, cuMemsetD8Async, placed->base + (CUdeviceptr)r->partials, 0, 8*r->n_partials, q->stream)) return;
  for (size_t k = 0; k < r->n_launches; k++) {
    const GpuLaunch *l = &r->launches[k];
    unsigned threads = l->kernel->does & GPU_BY_THREADS ? GPU_BLOCK : 1, share = share_of(l);
    CUdeviceptr frames = placed->base, work = placed->base + l->work;
    int64_t n = l->n_work;
    void *params[] = {&frames, &work, &n};
    if (!CU(q, cuLaunchKernel, l->function, up_to(n, INT32_MAX), share, 1, threads, 1, 1, 0, q->stream, params, NULL)) return;
  }
}

void gpu_release(GpuQueue *q, GpuPlaced *placed) {
  if (placed->memory) CU(q, cuMemFreeAsync, placed->memory, q->stream);
  placed->memory = 0;
}
