/* cuda_call.c: one call on a GPU: recorded, copied there, launched; numbers come back. */
#include <string.h>
#include "runtime/cuda.h"
#include "runtime/rule_call.h"

enum { MAX_AXES = 64, NUMBERS_AT = 16 };         /* a call's numbers stand behind t and seed */

static int refuse(const optc_call *call, int code, const char *text) {
  if (call->error) *call->error = (optc_error){.code = code, .text = text, .item = -1};
  return code;
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
      if (!x.data || x.rank < 0 || x.rank > MAX_AXES || !x.shape || rule_is_dense(x.shape, x.stride, x.rank)) continue;
      if (call->error) *call->error = (optc_error){.code = OPTC_E_SHAPE, .text = "it is strided: on a GPU all are dense", .item = i, .operand = o->name};
      return OPTC_E_SHAPE;
    }
  return OPTC_OK;
}

int gpu_check(const optc_gpu_desc *code, const optc_call *call) {
  if (call->size != sizeof *call) return OPTC_E_SIZE;
  if (!code) return refuse(call, OPTC_E_TARGET, "the rule is not compiled for PTX");
  if (code->version != OPTC_DESC_VERSION) return refuse(call, OPTC_E_TARGET, "the object was made by another version of optc");
  return check_strides(code, call);
}

int gpu_find_entry(const optc_gpu_desc *code, const char *name, const optc_call *call, int64_t *entry) {
  if (call->size != sizeof *call) return OPTC_E_SIZE;
  if (code->version != OPTC_DESC_VERSION) return gpu_check(code, call);
  for (*entry = 0; *entry < code->rule->n_entries; ++*entry)
    if (!strcmp(code->rule->entries[*entry].name, name) && strcmp(name, "layout")) return OPTC_OK;
  return refuse(call, OPTC_E_NULL, "there is no such entry");
}

GpuRecord *gpu_prepare(GpuQueue *q, Arena *arena, const optc_gpu_desc *code, int64_t entry, const optc_call *call, bool again, GpuModule **module) {
  int capturing = 0;
  GpuRecord *r = arena_alloc(arena, sizeof *r);
  r->arena = arena;
  if (!CU(q, cuStreamIsCapturing, q->stream, &capturing)) return NULL;
  if (capturing) gpu_refuse(q, OPTC_E_DEVICE, "the stream is being captured: only plans can be launched in it");
  if (q->status == OPTC_OK) q->status = gpu_module(q->gpu, code, module, &q->error);
  if (q->status == OPTC_E_MEMORY) q->error = (optc_error){.code = OPTC_E_MEMORY, .text = "out of memory", .item = -1};
  if (q->status != OPTC_OK) return NULL;
  optc_call own = *call;
  own.error = &q->error;
  bool fits = (*module)->fits == code;
  q->status = gpu_record(r, code, entry, &own, again, &fits);
  if (fits) (*module)->fits = code;
  return q->status == OPTC_OK ? r : NULL;
}

/* What kernels have set, where the caller looks for it. */
static void fetch(GpuQueue *q, const GpuPlaced *placed, const optc_gpu_desc *code, int64_t entry, const optc_call *call) {
  const GpuRecord *r = placed->record;
  int64_t n = code->entries[entry].n_kernels, global = code->rule->global_size, items = call->n_items*code->rule->item_size;
  uint64_t skip = 0;
  bool set = false;
  for (int64_t k = 0; k < n; k++) set |= (code->entries[entry].kernels[k].does & GPU_SETS_NUMBERS) != 0;
  if (r->skip) CU(q, cuMemcpyDtoHAsync, &skip, placed->base + r->skip, sizeof skip, q->stream);
  if (set && global > NUMBERS_AT) CU(q, cuMemcpyDtoHAsync, (char *)call->global + NUMBERS_AT, placed->base + r->global + NUMBERS_AT, (size_t)(global - NUMBERS_AT), q->stream);
  if (set && items) CU(q, cuMemcpyDtoHAsync, call->items, placed->base + r->items, (size_t)items, q->stream);
  if (r->skip || set) CU(q, cuStreamSynchronize, q->stream);
  if (q->status == OPTC_OK && !skip) memcpy(call->global, &r->t, sizeof r->t);
}

static void run(GpuQueue *q, Arena *arena, const optc_gpu_desc *code, int64_t entry, const optc_call *call) {
  GpuModule *module;
  GpuPlaced placed = {0};
  GpuRecord *r = gpu_prepare(q, arena, code, entry, call, false, &module);
  if (r && gpu_put(q, module, r, &placed)) gpu_launch(q, &placed);
  if (q->status == OPTC_OK) fetch(q, &placed, code, entry, call);
  gpu_release(q, &placed);
}

static int gpu_drive(CUstream stream, optc_gpu *gpu, const optc_gpu_desc *code, int64_t entry, const optc_call *call) {
  GpuQueue q = {0};
  int status = gpu_check(code, call);
  if (status != OPTC_OK) return status;
  Arena *arena = arena_new(NULL, 0);
  if (!arena) gpu_refuse(&q, OPTC_E_MEMORY, "out of memory");
  else if (gpu_enter(&q, gpu, stream)) {
    if (setjmp(*arena_guard(arena))) gpu_refuse(&q, OPTC_E_MEMORY, "out of memory");
    else run(&q, arena, code, entry, call);
  }
  if (arena) arena_free(arena);
  return gpu_leave(&q, call->error);
}

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
  int64_t at;
  if (!gpu || !code || !entry || !R_call) return OPTC_E_NULL;
  int status = gpu_find_entry(code, entry, R_call, &at);
  return status == OPTC_OK ? gpu_drive(stream, gpu, code, at, R_call) : status;
}

const struct optc_gpu_desc *optc_rule_gpu(const optc_rule *rule) { return rule ? rule->gpu : NULL; }
