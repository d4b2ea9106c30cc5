/* calls.c: see calls.h. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/cuda/calls.h"
#include "tests/support/fixture.h"
#include "tests/support/trial.h"
#include "tests/support/values.h"

CudaStub *stub;
CUstream stream;
static void *library;
static CudaStubReplay replay;

/* --- the driver, from the outside as a program that owns device memory sees it ------------------------------------------------------------- */
static struct {
#define CUDA(name, suffix, params) CUresult (*name) params;
#include "runtime/cuda.def"
#undef CUDA
} cu;

int cuda_enter(void) {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
  if (n < 0) return 1;
  path[n] = 0;
  strcpy(strrchr(path, '/'), "/libcuda_stub.so");
  setenv("OPTC_CUDA_LIBRARY", path, 1);
  library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return 1;
  CudaStubOf of;
  *(void **)&of = dlsym(library, "cuda_stub");
  stub = of();
  *(void **)&replay = dlsym(library, "cuda_stub_replay");
  stub->stream = stream = (CUstream)(void *)&stream;
#define CUDA(name, suffix, params) *(void **)&cu.name = dlsym(library, #name #suffix);
#include "runtime/cuda.def"
#undef CUDA
  return 0;
}
int cuda_leave(void) { return dlclose(library); }

optc_gpu *open_gpu(void) {
  optc_gpu *gpu;
  optc_error error;
  CU_ASSERT_EQUAL_FATAL(optc_gpu_open(0, &gpu, &error), OPTC_OK);
  stub->finding[0] = 0;
  stub->strangers = 0;
  return gpu;
}

void everything_is_given_back(optc_gpu *gpu) {
  optc_gpu_close(gpu);
  CU_ASSERT_EQUAL(stub->memory, 0);
  CU_ASSERT_EQUAL(stub->contexts, 0);
  CU_ASSERT_EQUAL(stub->pushed, 0);
  CU_ASSERT_EQUAL(stub->modules, 0);
  CU_ASSERT_EQUAL(stub->strangers, 0);
}

CUdeviceptr to_gpu(const void *data, size_t size) {
  CUdeviceptr at = 0;
  CUcontext left;
  CU_ASSERT_EQUAL_FATAL(stub->contexts > 0, 1);
  cu.cuCtxPushCurrent((CUcontext)stub->context);
  CU_ASSERT_EQUAL(cu.cuMemAllocAsync(&at, size, stream), CUDA_SUCCESS);
  CU_ASSERT_EQUAL(cu.cuMemcpyHtoDAsync(at, data, size, stream), CUDA_SUCCESS);
  cu.cuCtxPopCurrent(&left);
  return at;
}

void from_gpu(void *data, CUdeviceptr at, size_t size) {
  CUcontext left;
  cu.cuCtxPushCurrent((CUcontext)stub->context);
  CU_ASSERT_EQUAL(cu.cuMemcpyDtoHAsync(data, at, size, stream), CUDA_SUCCESS);
  CU_ASSERT_EQUAL(cu.cuMemFreeAsync(at, stream), CUDA_SUCCESS);
  cu.cuCtxPopCurrent(&left);
}

optc_rule *compile_at(const char *path, const char *name, int backend, int level) {
  optc_context *cx = fixture_context();
  optc_compile_options options = {.size = sizeof options, .level = level, .backend = backend, .rule = name};
  optc_rule *rule;
  if (optc_compile_file(cx, path, &options, &rule)) printf("\n%s: %s", path, optc_context_diagnostics(cx));
  CU_ASSERT_PTR_NOT_NULL_FATAL(rule);
  optc_context_free(cx);
  return rule;
}

optc_rule *compile(const char *path, const char *name, int backend) { return compile_at(path, name, backend, backend == OPTC_BACKEND_JIT ? 0 : 2); }

void begin_capture(void) {
  stub->capturing = 1;
  stub->captured = 0;
  stub->broken[0] = 0;
}
void end_capture(void) {
  stub->capturing = 0;
  CU_ASSERT_STRING_EQUAL(stub->broken, "");
}
void replay_capture(void) { replay(); }

/* --- lists of tensors through DLPack ------------------------------------------------------------------------------------------------------------ */
static const int64_t shapes[ITEMS][2] = {{7, 1}, {0, 3}, {70001, 1}, {33, 9}};

size_t bytes_of(const List *l, int i) { return (size_t)(l->shape[i][0]*l->shape[i][1])*sizeof(float); }

void list_make(List *l, int n) {
  *l = (List){.n = n};
  uint64_t random = 5;
  for (int i = 0; i < n; i++) {
    for (int a = 0; a < 2; a++) l->shape[i][a] = i < ITEMS ? shapes[i][a] : 1 + (7*i + 3*a)%11;
    for (int k = 0; k < OPERANDS; k++) {
      l->data[i][k] = calloc(1, bytes_of(l, i) + 4);
      for (size_t e = 0; e < bytes_of(l, i)/4 && k < 2; e++) value_make_up((char *)(l->data[i][k] + e), TYPE_F32, &random, false, false);
      l->tensor[i][k] = (DLTensor){.data = l->data[i][k], .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = l->shape[i]};
      l->pointer[i][k] = &l->tensor[i][k];
    }
    l->items[i] = (optc_item_args){.tensor = l->pointer[i]};
  }
  l->call = (optc_call_args){.size = sizeof l->call, .items = l->items, .n_items = n, .t = &l->t, .error = &l->error};
}
void list_free(List *l) {
  for (int i = 0; i < l->n; i++) for (int k = 0; k < OPERANDS; k++) free(l->data[i][k]);
}

void list_move(List *l, bool there) {
  for (int i = 0; i < l->n; i++)
    for (int k = 0; k < OPERANDS; k++) {
      if (there) l->device[i][k] = to_gpu(l->data[i][k], bytes_of(l, i) + 4);
      else from_gpu(l->data[i][k], l->device[i][k], bytes_of(l, i) + 4);
      l->tensor[i][k].data = there ? (void *)(uintptr_t)l->device[i][k] : l->data[i][k];
      l->tensor[i][k].device.device_type = there ? kDLCUDA : kDLCPU;
    }
}

bool same_lists(const List *a, const List *b) {
  for (int i = 0; i < a->n; i++)
    for (int k = 0; k < OPERANDS; k++)
      for (size_t e = 0; e < bytes_of(a, i)/4; e++) {
        float x = a->data[i][k][e], y = b->data[i][k][e];
        if (memcmp(&x, &y, 4) && (x == x || y == y)) return false;
      }
  return a->t == b->t;
}

/* --- calls with a rule's own structs, whose tensors are moved there and back ------------------------------------------------------------------------- */
typedef struct Moved { void **field, *host; CUdeviceptr device; size_t size; } Moved;

static int64_t product(const int64_t *shape, int64_t rank) {
  int64_t n = 1;
  for (int64_t a = 0; a < rank; a++) n *= shape[a];
  return n;
}

/* Elements that an operand has in memory. */
static int64_t elements(const optc_rule_desc *d, const optc_operand_desc *o, const char *base, const char *item, const optc_state_info *states) {
  const optc_shaped *x = (const optc_shaped *)(const void *)(base + o->offset);
  if (o->shaped) return product(x->shape, x->rank);
  if (!o->item_shape) {
    for (const optc_state_info *s = states; ; s++) if (!strcmp(s->name, o->name)) return s->count;
  }
  int64_t rank;
  const int64_t *shape;
  memcpy(&rank, item + d->item_rank, 8);
  memcpy(&shape, item + d->item_shape, 8);
  return product(shape, rank);
}

static size_t move(const There *w, const optc_call *call, char *base, const char *item, const optc_state_info *states, bool global, Moved *moved) {
  const optc_rule_desc *d = w->desc;
  size_t n = 0;
  for (int64_t k = 0; k < d->n_operands; k++) {
    const optc_operand_desc *o = &d->operands[k];
    if (!o->tensor || (o->scope == SCOPE_GLOBAL) != global) continue;
    void **field = (void **)(void *)(base + o->offset);
    if (!*field) continue;
    size_t size = (size_t)(elements(d, o, base, item, states)*o->bytes);
    if (!size) continue;
    moved[n++] = (Moved){field, *field, to_gpu(*field, size), size};
    *field = (void *)(uintptr_t)moved[n - 1].device;
  }
  return n;
}

/* Which states an item has; rules without any have no layout. */
int layout_there(void *self, const optc_call *call, int64_t item, optc_state_info *out) { return optc_drive_layout(((There *)self)->desc, call, item, out, NULL); }
static bool has_layout(const optc_rule_desc *d) {
  for (int64_t e = 0; e < d->n_entries; e++) if (!strcmp(d->entries[e].name, "layout")) return true;
  return false;
}

/* A plan of the call, its launch captured and done once; numbers come back by hand. */
static int plan_there(const There *w, const char *entry, const optc_call *call) {
  optc_gpu_plan *plan;
  int status = optc_gpu_plan_new_raw(stream, w->gpu, w->code, entry, call, &plan);
  if (status) return status;
  begin_capture();
  CU_ASSERT_EQUAL(optc_gpu_launch(stream, plan, NULL), OPTC_OK);
  end_capture();
  replay();
  size_t size;
  void *to[] = {[OPTC_PLAN_GLOBAL] = call->global, [OPTC_PLAN_ITEMS] = call->items};
  for (int part = OPTC_PLAN_GLOBAL; part <= OPTC_PLAN_ITEMS; part++) {
    const void *at = optc_gpu_plan_memory(plan, part, &size);
    if (size) CU_ASSERT_EQUAL(optc_gpu_read(stream, w->gpu, to[part], at, size, NULL), OPTC_OK);
  }
  optc_gpu_plan_free(stream, plan);
  return status;
}

int call_there(void *self, int64_t entry, const optc_call *call) {
  const There *w = self;
  const optc_rule_desc *d = w->desc;
  if (call->size != sizeof *call || call->n_items < 0) return optc_drive(d, entry, call, NULL);
  Moved *moved = calloc((size_t)((call->n_items + 1)*d->n_operands) + 1, sizeof *moved);
  optc_state_info *states = calloc((size_t)d->n_operands + 1, sizeof *states);
  size_t n = 0;
  int status = OPTC_OK;
  for (int64_t i = 0; i < call->n_items && status == OPTC_OK; i++)
    if (has_layout(d)) status = optc_drive_layout(d, call, i, states, NULL);
  for (int64_t i = 0; i < call->n_items && status == OPTC_OK; i++) {
    char *item = (char *)call->items + i*d->item_size;
    if (has_layout(d)) status = optc_drive_layout(d, call, i, states, NULL);
    if (!i) n += move(w, call, call->global, item, states, true, moved + n);
    n += move(w, call, item, item, states, false, moved + n);
  }
  if (status == OPTC_OK) status = w->planned ? plan_there(w, d->entries[entry].name, call) : optc_gpu_call_raw(stream, w->gpu, w->code, d->entries[entry].name, call);
  for (size_t k = 0; k < n; k++) {
    from_gpu(moved[k].host, moved[k].device, moved[k].size);
    *moved[k].field = moved[k].host;
  }
  free(moved);
  free(states);
  return status;
}
size_t workspace_there(void *self, const optc_call *call) { return 0; }

void bits_agree(const char *name, optc_rule *code, There *there) {
  static const DrillWay plain = {0};
  DrillRule form = drill_rule(code), executed = {there->desc, call_there, workspace_there, there, layout_there};
  Trial *t = trial_new(&form, &(TrialPlan){.seed = 1, .steps = there->planned ? 1 : 2});
  if (!t) return;
  trial_keep(t);
  trial_run(t, &executed, &plain);
  const char *difference = trial_difference(t);
  if (difference) printf("\n%s: %s\n%s %s\n", name, difference, there->gpu->text, stub->finding);
  CU_ASSERT_PTR_NULL(difference);
  trial_free(t);
}
