/* runtime_cuda_test.c: calls on a GPU through a driver that has none (tests/cuda/stub.c): the bits of machine code, and what is said when something fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "runtime/cuda.h"
#include "tests/cuda/stub.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/object_file.h"
#include "tests/support/suite.h"
#include "tests/support/values.h"
#include "tests/support/trial.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
static CudaStub *stub;
static void *library;
static CudaStubReplay replay;
static CUstream stream;

/* --- the driver, from the outside as a program that owns device memory sees it ------------------------------------------------------------- */
static struct {
#define CUDA(name, suffix, params) CUresult (*name) params;
#include "runtime/cuda.def"
#undef CUDA
} cu;

static int enter(void) {
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
static int leave(void) { return dlclose(library); }

static optc_gpu *open_gpu(void) {
  optc_gpu *gpu;
  optc_error error;
  CU_ASSERT_EQUAL_FATAL(optc_gpu_open(0, &gpu, &error), OPTC_OK);
  stub->finding[0] = 0;
  stub->strangers = 0;
  return gpu;
}

static void everything_is_given_back(optc_gpu *gpu) {
  optc_gpu_close(gpu);
  CU_ASSERT_EQUAL(stub->memory, 0);
  CU_ASSERT_EQUAL(stub->contexts, 0);
  CU_ASSERT_EQUAL(stub->pushed, 0);
  CU_ASSERT_EQUAL(stub->modules, 0);
  CU_ASSERT_EQUAL(stub->strangers, 0);
}

static CUdeviceptr to_gpu(const void *data, size_t size) {
  CUdeviceptr at = 0;
  CUcontext left;
  CU_ASSERT_EQUAL_FATAL(stub->contexts > 0, 1);
  cu.cuCtxPushCurrent((CUcontext)stub->context);
  CU_ASSERT_EQUAL(cu.cuMemAllocAsync(&at, size, stream), CUDA_SUCCESS);
  CU_ASSERT_EQUAL(cu.cuMemcpyHtoDAsync(at, data, size, stream), CUDA_SUCCESS);
  cu.cuCtxPopCurrent(&left);
  return at;
}

static void from_gpu(void *data, CUdeviceptr at, size_t size) {
  CUcontext left;
  cu.cuCtxPushCurrent((CUcontext)stub->context);
  CU_ASSERT_EQUAL(cu.cuMemcpyDtoHAsync(data, at, size, stream), CUDA_SUCCESS);
  CU_ASSERT_EQUAL(cu.cuMemFreeAsync(at, stream), CUDA_SUCCESS);
  cu.cuCtxPopCurrent(&left);
}

static optc_rule *compile_at(const char *path, const char *name, int backend, int level) {
  optc_context *cx = fixture_context();
  optc_compile_options options = {.size = sizeof options, .level = level, .backend = backend, .rule = name};
  optc_rule *rule;
  if (optc_compile_file(cx, path, &options, &rule)) printf("\n%s: %s", path, optc_context_diagnostics(cx));
  CU_ASSERT_PTR_NOT_NULL_FATAL(rule);
  optc_context_free(cx);
  return rule;
}

/* What is compared with is made without passes. */
static optc_rule *compile(const char *path, const char *name, int backend) { return compile_at(path, name, backend, backend == OPTC_BACKEND_JIT ? 0 : 2); }

/* --- lists of tensors through DLPack ------------------------------------------------------------------------------------------------------------ */
enum { ITEMS = 4, MANY = 148, OPERANDS = 4 };         /* p, g, m, v; as many tensors as GPT-2 has */
typedef struct List {
  int n;
  int64_t shape[MANY][2];
  float *data[MANY][OPERANDS];
  CUdeviceptr device[MANY][OPERANDS];
  DLTensor tensor[MANY][OPERANDS], *pointer[MANY][OPERANDS];
  optc_item_args items[MANY];
  int64_t t;
  optc_error error;
  optc_call_args call;
} List;
static const int64_t shapes[ITEMS][2] = {{7, 1}, {0, 3}, {70001, 1}, {33, 9}};

static size_t bytes_of(const List *l, int i) { return (size_t)(l->shape[i][0]*l->shape[i][1])*sizeof(float); }

/* The first items have the shapes above, more of them few elements. */
static void list_make(List *l, int n) {
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
static void list_free(List *l) {
  for (int i = 0; i < l->n; i++) for (int k = 0; k < OPERANDS; k++) free(l->data[i][k]);
}

static void list_move(List *l, bool there) {
  for (int i = 0; i < l->n; i++)
    for (int k = 0; k < OPERANDS; k++) {
      if (there) l->device[i][k] = to_gpu(l->data[i][k], bytes_of(l, i) + 4);
      else from_gpu(l->data[i][k], l->device[i][k], bytes_of(l, i) + 4);
      l->tensor[i][k].data = there ? (void *)(uintptr_t)l->device[i][k] : l->data[i][k];
      l->tensor[i][k].device.device_type = there ? kDLCUDA : kDLCPU;
    }
}

static bool same_lists(const List *a, const List *b) {
  for (int i = 0; i < a->n; i++)
    for (int k = 0; k < OPERANDS; k++)
      for (size_t e = 0; e < bytes_of(a, i)/4; e++) {
        float x = a->data[i][k][e], y = b->data[i][k][e];
        if (memcmp(&x, &y, 4) && (x == x || y == y)) return false;
      }
  return a->t == b->t;
}

/* Two steps here and there. How many kernels the second one launched. */
static unsigned steps_agree(optc_gpu *gpu, const char *path, const char *name, int n) {
  optc_rule *code = compile(path, name, OPTC_BACKEND_JIT), *ptx = compile(path, name, OPTC_BACKEND_PTX);
  List here, there;
  list_make(&here, n);
  list_make(&there, n);
  list_move(&there, true);
  unsigned before = 0;
  for (int step = 0; step < 2; step++) {
    before = stub->launches;
    CU_ASSERT_EQUAL(optc_rule_call(code, optc_rule_entry(code, "step"), &here.call), OPTC_OK);
    int status = optc_gpu_call(stream, gpu, ptx, optc_rule_entry(ptx, "step"), &there.call);
    if (status) printf("\n%s: %s %s\n", name, there.error.text, stub->finding);
    CU_ASSERT_EQUAL(status, OPTC_OK);
  }
  list_move(&there, false);
  CU_ASSERT(same_lists(&here, &there));
  list_free(&here);
  list_free(&there);
  optc_rule_free(code);
  optc_rule_free(ptx);
  return stub->launches - before;
}

static void adamw_gives_the_bits_of_machine_code(void) {
  optc_gpu *gpu = open_gpu();
  unsigned waits = stub->waits;
  CU_ASSERT_EQUAL(steps_agree(gpu, "rules/adamw.opt", "adamw", ITEMS), 1);
  CU_ASSERT_EQUAL(steps_agree(gpu, "rules/adamw.opt", "adamw", MANY), 1);           /* whatever the list */
  CU_ASSERT_EQUAL(stub->waits, waits);
  everything_is_given_back(gpu);
}

static void lamb_gives_the_bits_of_machine_code(void) {
  optc_gpu *gpu = open_gpu();
  CU_ASSERT_EQUAL(steps_agree(gpu, "rules/lamb.opt", "lamb", ITEMS), steps_agree(gpu, "rules/lamb.opt", "lamb", MANY));
  steps_agree(gpu, "rules/lamb.opt", "lamb_nv", MANY);
  everything_is_given_back(gpu);
}

static void a_rule_is_loaded_once_a_gpu(void) {
  optc_gpu *gpu = open_gpu(), *other = open_gpu();
  unsigned loads = stub->loads;
  steps_agree(gpu, "rules/adamw.opt", "adamw", ITEMS);
  CU_ASSERT_EQUAL(stub->loads, loads + 1);
  steps_agree(gpu, "rules/adamw.opt", "adamw", ITEMS);                                     /* compiled anew: the same text */
  CU_ASSERT_EQUAL(stub->loads, loads + 1);
  steps_agree(other, "rules/adamw.opt", "adamw", ITEMS);
  CU_ASSERT_EQUAL(stub->loads, loads + 2);
  optc_gpu_close(other);
  everything_is_given_back(gpu);
}

/* Under --fast the GPU's tensor cores have the last word; the host code is the same. */
static void a_fast_product_gives_the_bits_of_its_ptx(void) {
  enum { M = 50, N = 70, K = 40 };
  static const char text[] = "rule product() { in A[M, K]: bf16, B[K, N]: bf16\n out C[M, N]\n C = A @ B }\n";
  static uint16_t a[M*K], b[K*N];
  static float c[M*N], there[M*N];
  static int64_t shapes_of[3][2] = {{M, K}, {K, N}, {M, N}};
  for (int i = 0; i < M*K; i++) a[i] = (uint16_t)(0x3c00 + i*37%1024);
  for (int i = 0; i < K*N; i++) b[i] = (uint16_t)(0xbc00 - i*91%1024);
  optc_context *cx = fixture_context();
  optc_compile_options options = {.size = sizeof options, .level = 2, .backend = OPTC_BACKEND_PTX, .cpu = "sm_90", .fast = 1};
  optc_rule *rule = NULL;
  CU_ASSERT_FATAL(!optc_compile_memory(cx, "product.opt", text, strlen(text), &options, &rule));
  optc_gpu *gpu = open_gpu();
  void *host[3] = {a, b, c};
  size_t size[3] = {sizeof a, sizeof b, sizeof c};
  DLTensor tensor[3], *at[3];
  for (int k = 0; k < 3; k++) {
    tensor[k] = (DLTensor){.data = host[k], .device = {kDLCPU, 0}, .ndim = 2, .shape = shapes_of[k]};
    optc_dlpack_type(k < 2 ? "bf16" : "f32", &tensor[k].dtype);
    at[k] = &tensor[k];
  }
  optc_item_args item = {.tensor = at};
  optc_error error = {0};
  optc_call_args call = {.size = sizeof call, .items = &item, .n_items = 1, .error = &error};
  CU_ASSERT_EQUAL(optc_rule_call(rule, optc_rule_entry(rule, "forward"), &call), OPTC_OK);
  CUdeviceptr device[3];
  for (int k = 0; k < 3; k++) {
    tensor[k].device.device_type = kDLCUDA;
    tensor[k].data = (void *)(uintptr_t)(device[k] = to_gpu(host[k], size[k]));
  }
  CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, rule, optc_rule_entry(rule, "forward"), &call), OPTC_OK);
  if (error.code) printf("\n%s\n", error.text);
  for (int k = 0; k < 2; k++) from_gpu(host[k], device[k], size[k]);
  from_gpu(there, device[2], sizeof there);
  CU_ASSERT(!memcmp(there, c, sizeof c) && c[0] < 0 && c[M*N - 1] < 0);
  optc_rule_free(rule);
  optc_context_free(cx);
  everything_is_given_back(gpu);
}

/* --- every rule, through its own structs -------------------------------------------------------------------------------------------------------- */
typedef struct There { optc_gpu *gpu; const optc_rule_desc *desc; const optc_gpu_desc *code; bool planned; } There;
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
static int layout_there(void *self, const optc_call *call, int64_t item, optc_state_info *out) { return optc_drive_layout(((There *)self)->desc, call, item, out, NULL); }
static bool has_layout(const optc_rule_desc *d) {
  for (int64_t e = 0; e < d->n_entries; e++) if (!strcmp(d->entries[e].name, "layout")) return true;
  return false;
}

/* Between these two nothing may be called that a graph cannot hold. */
static void begin_capture(void) {
  stub->capturing = 1;
  stub->captured = 0;
  stub->broken[0] = 0;
}
static void end_capture(void) {
  stub->capturing = 0;
  CU_ASSERT_STRING_EQUAL(stub->broken, "");
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

static int call_there(void *self, int64_t entry, const optc_call *call) {
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
static size_t workspace_there(void *self, const optc_call *call) { return 0; }

/* A step or two of made-up data against machine code. */
static void bits_agree(const char *name, optc_rule *code, There *there) {
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

static void every_rule_has_its_bits(bool planned) {
  int n;
  const ShippedRule *rules = shipped_rules(&n);
  const char *only = getenv("OPTC_TEST_RULE");
  optc_gpu *gpu = open_gpu();
  for (int i = 0; i < n; i++) {
    if (only && strcmp(only, rules[i].name)) continue;
    optc_rule *code = compile(rules[i].path, rules[i].name, OPTC_BACKEND_JIT), *ptx = compile(rules[i].path, rules[i].name, OPTC_BACKEND_PTX);
    bits_agree(rules[i].name, code, &(There){gpu, ptx->desc, optc_rule_gpu(ptx), planned});
    optc_rule_free(code);
    optc_rule_free(ptx);
  }
  CU_ASSERT_STRING_EQUAL(stub->finding, "");
  everything_is_given_back(gpu);
}

static void every_rule_gives_the_bits_of_machine_code(void) { every_rule_has_its_bits(false); }
static void every_rule_has_these_bits_as_a_captured_plan(void) { every_rule_has_its_bits(true); }

/* Items of other windows have their temporaries in the same room, also where one kernel is all there is between two totals. */
static void small_windows_keep_the_bits(void) {
  static const char *const rules[][2] = {{"rules/lamb.opt", "lamb"}, {"rules/muon.opt", "muon"}, {"rules/shampoo.opt", "shampoo"}, {"rules/clip.opt", "clip_adamw_amp"}};
  optc_gpu *gpu = open_gpu();
  for (int i = 0; i < COUNT(rules); i++) {
    optc_rule *code = compile(rules[i][0], rules[i][1], OPTC_BACKEND_JIT), *ptx = compile_at(rules[i][0], rules[i][1], OPTC_BACKEND_PTX, i%2*2);
    optc_gpu_desc table = *optc_rule_gpu(ptx);
    optc_rule_desc small = *table.rule;
    small.window = 1;
    table.rule = &small;
    bits_agree(rules[i][1], code, &(There){gpu, ptx->desc, &table, i == 0});
    optc_rule_free(code);
    optc_rule_free(ptx);
  }
  CU_ASSERT_STRING_EQUAL(stub->finding, "");
  everything_is_given_back(gpu);
}

static const char guarded[] =
  "rule guarded(lr = 0.5) {\n  param p\n  grad g\n  state m = 0, v = 0\n  skip if any[all](not finite(g))\n  m += g\n  v += lr*m\n  p -= v/t\n}\n";

/* Whether t goes on is found out on the GPU: calls wait for it, a plan knows it there. */
static void skipped_steps_do_not_count(void) {
  optc_context *cx = fixture_context();
  optc_gpu *gpu = open_gpu();
  optc_rule *rule;
  optc_gpu_plan *plan;
  optc_compile_options options = {.size = sizeof options, .level = -1, .backend = OPTC_BACKEND_PTX};
  CU_ASSERT_EQUAL_FATAL(optc_compile_memory(cx, "guarded", guarded, strlen(guarded), &options, &rule), OPTC_OK);
  List calls, planned, *lists[] = {&calls, &planned};
  for (int k = 0; k < 2; k++) {
    list_make(lists[k], ITEMS);
    for (int i = 0; i < ITEMS; i++) for (size_t e = 0; e < bytes_of(lists[k], i)/4; e++) lists[k]->data[i][1][e] = (float)(e%7) - 2.5f;
    list_move(lists[k], true);
  }
  int step = optc_rule_entry(rule, "step");
  CU_ASSERT_EQUAL_FATAL(optc_gpu_plan_new(stream, gpu, rule, step, &planned.call, &plan), OPTC_OK);
  float wrong = NAN, right = 0.25f;
  static const int64_t expected[] = {1, 1, 2};
  for (int s = 0; s < COUNT(expected); s++) {
    unsigned waits = stub->waits;
    for (int k = 0; k < 2; k++) CU_ASSERT_EQUAL(optc_gpu_write(stream, gpu, lists[k]->tensor[2][1].data, s == 1 ? &wrong : &right, sizeof wrong, NULL), OPTC_OK);
    CU_ASSERT_EQUAL(optc_gpu_launch(stream, plan, NULL), OPTC_OK);
    CU_ASSERT_EQUAL(stub->waits, waits);
    CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, rule, step, &calls.call), OPTC_OK);
    CU_ASSERT_EQUAL(stub->waits, waits + 1);
    CU_ASSERT_EQUAL(calls.t, expected[s]);
    CU_ASSERT_EQUAL(optc_gpu_read(stream, gpu, &planned.t, optc_gpu_plan_memory(plan, OPTC_PLAN_GLOBAL, NULL), sizeof planned.t, NULL), OPTC_OK);
    CU_ASSERT_EQUAL(planned.t, expected[s]);
  }
  optc_gpu_plan_free(stream, plan);
  for (int k = 0; k < 2; k++) list_move(lists[k], false);
  CU_ASSERT(same_lists(&calls, &planned));
  for (int k = 0; k < 2; k++) list_free(lists[k]);
  optc_rule_free(rule);
  optc_context_free(cx);
  everything_is_given_back(gpu);
}

/* --- plans ----------------------------------------------------------------------------------------------------------------------------------------- */
/* Captured once, three times done, with other hyper-parameters for the last: as three calls. */
static void plan_agrees(optc_gpu *gpu, const char *path, const char *name, int n, unsigned launches) {
  optc_rule *ptx = compile(path, name, OPTC_BACKEND_PTX);
  List calls, planned;
  optc_gpu_plan *plan;
  double hyper[16];
  const double *groups[] = {hyper};
  for (int k = 0; k < optc_rule_hypers(ptx); k++) {
    optc_hyper_info info;
    optc_rule_hyper(ptx, k, &info);
    hyper[k] = info.value;
  }
  list_make(&calls, n);
  list_make(&planned, n);
  list_move(&calls, true);
  list_move(&planned, true);
  calls.call.groups = planned.call.groups = groups;
  calls.call.n_groups = planned.call.n_groups = 1;
  CU_ASSERT_EQUAL_FATAL(optc_gpu_plan_new(stream, gpu, ptx, optc_rule_entry(ptx, "step"), &planned.call, &plan), OPTC_OK);
  begin_capture();
  CU_ASSERT_EQUAL(optc_gpu_launch(stream, plan, &planned.error), OPTC_OK);
  CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, ptx, optc_rule_entry(ptx, "step"), &planned.call), OPTC_E_DEVICE);
  CU_ASSERT_STRING_EQUAL(planned.error.text, "the stream is being captured: only plans can be launched in it");
  end_capture();
  CU_ASSERT_EQUAL(stub->captured, launches);
  if (stub->captured != launches) printf("\n%s: %u launches\n", name, stub->captured);
  for (int step = 0; step < 3; step++) {
    if (step == 2) {
      hyper[0] = 0.125;
      CU_ASSERT_EQUAL(optc_gpu_write(stream, gpu, optc_gpu_plan_memory(plan, OPTC_PLAN_GROUPS, NULL), hyper, sizeof *hyper, NULL), OPTC_OK);
    }
    CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, ptx, optc_rule_entry(ptx, "step"), &calls.call), OPTC_OK);
    replay();
  }
  CU_ASSERT_EQUAL(optc_gpu_read(stream, gpu, &planned.t, optc_gpu_plan_memory(plan, OPTC_PLAN_GLOBAL, NULL), sizeof planned.t, NULL), OPTC_OK);
  CU_ASSERT_EQUAL(planned.t, 3);
  optc_gpu_plan_free(stream, plan);
  list_move(&calls, false);
  list_move(&planned, false);
  CU_ASSERT(same_lists(&calls, &planned));
  list_free(&calls);
  list_free(&planned);
  optc_rule_free(ptx);
}

static void a_captured_plan_is_a_step_each_time(void) {
  optc_gpu *gpu = open_gpu();
  plan_agrees(gpu, "rules/adamw.opt", "adamw", MANY, 3);                            /* group, step, t */
  plan_agrees(gpu, "rules/adamw.opt", "adamw", ITEMS, 3);
  plan_agrees(gpu, "rules/lamb.opt", "lamb", ITEMS, 6);                               /* partials to 0, group, two phases with a join between them, t */
  CU_ASSERT_STRING_EQUAL(stub->finding, "");
  everything_is_given_back(gpu);
}

static void plans_that_cannot_be_made(void) {
  optc_gpu *gpu = open_gpu();
  optc_rule *code = compile("rules/adamw.opt", "adamw", OPTC_BACKEND_JIT), *ptx = compile("rules/adamw.opt", "adamw", OPTC_BACKEND_PTX);
  optc_gpu_plan *plan = (void *)&stub;
  List l;
  list_make(&l, ITEMS);
  list_move(&l, true);
  CU_ASSERT_EQUAL(optc_gpu_plan_new(stream, gpu, code, optc_rule_entry(code, "step"), &l.call, &plan), OPTC_E_TARGET);
  CU_ASSERT_PTR_NULL(plan);
  static const char *const functions[] = {"cuModuleGetFunction", "cuMemAllocAsync", "cuMemcpyHtoDAsync", "cuStreamSynchronize", "cuStreamIsCapturing", "cuModuleLoadDataEx"};
  for (int k = 0; k < COUNT(functions); k++) {
    stub->fails = functions[k];
    stub->code = 1;
    CU_ASSERT_EQUAL(optc_gpu_plan_new(stream, gpu, ptx, optc_rule_entry(ptx, "step"), &l.call, &plan), k == 5 ? OPTC_OK : OPTC_E_DEVICE);        /* loaded by then */
    stub->fails = NULL;
    if (k < 5) CU_ASSERT(!plan && !strncmp(l.error.text, functions[k], strlen(functions[k])));
  }
  stub->fails = "cuLaunchKernel";
  CU_ASSERT_EQUAL(optc_gpu_launch(stream, plan, &l.error), OPTC_E_DEVICE);
  CU_ASSERT_STRING_EQUAL(l.error.text, "cuLaunchKernel: CUDA_ERROR_INVALID_VALUE (1)");
  stub->fails = NULL;
  CU_ASSERT_PTR_NULL(optc_gpu_plan_memory(plan, OPTC_PLAN_PARTS, NULL));
  optc_gpu_plan_free(stream, plan);
  list_move(&l, false);
  list_free(&l);
  optc_rule_free(code);
  optc_rule_free(ptx);
  everything_is_given_back(gpu);
}

/* --- few blocks: each takes a launch's work entries one after the other --------------------------------------------------------------------------- */
/* The barrier between two entries of a kernel that adds up stands first in its text. Without it what the executor says ends up in stub->finding. */
static void without_a_barrier(optc_gpu *gpu, optc_rule *code, optc_rule *ptx, const char *kernel) {
  optc_gpu_desc changed = *optc_rule_gpu(ptx);
  optc_gpu_target_desc target = changed.targets[0];
  char *text = strdup(target.text), *at = strstr(text, kernel), *barrier = at ? strstr(at, "bar.sync") : NULL;
  CU_ASSERT_PTR_NOT_NULL_FATAL(barrier);
  memset(barrier, ' ', strcspn(barrier, ";") + 1);
  target.text = text;
  target.key++;                          /* another module */
  changed.targets = &target;
  There there = {.gpu = gpu, .desc = ptx->desc, .code = &changed};
  DrillRule form = drill_rule(code), executed = {ptx->desc, call_there, workspace_there, &there, layout_there};
  Trial *t = trial_new(&form, &(TrialPlan){.seed = 1, .steps = 1});
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  trial_run(t, &executed, &(DrillWay){0});
  trial_free(t);
  free(text);
}

static void blocks_that_take_several_work_entries(void) {
  static const ShippedRule rules[] = {{"rules/lamb.opt", "lamb"}, {"rules/clip.opt", "clip_adamw_amp"}, {"rules/adafactor.opt", "adafactor"}, {"rules/muon.opt", "muon"}};
  optc_gpu *gpu = open_gpu();
  stub->most_blocks = 1;
  for (int i = 0; i < COUNT(rules); i++) {
    optc_rule *code = compile(rules[i].path, rules[i].name, OPTC_BACKEND_JIT), *ptx = compile(rules[i].path, rules[i].name, OPTC_BACKEND_PTX);
    bits_agree(rules[i].name, code, &(There){.gpu = gpu, .desc = ptx->desc, .code = optc_rule_gpu(ptx)});
    CU_ASSERT_STRING_EQUAL(stub->finding, "");
    if (!i) {
      without_a_barrier(gpu, code, ptx, ".entry lamb_step_phase_0");
      CU_ASSERT_PTR_NOT_NULL(strstr(stub->finding, "race in shared memory"));
      stub->finding[0] = 0;
    }
    optc_rule_free(code);
    optc_rule_free(ptx);
  }
  stub->most_blocks = 0;
  everything_is_given_back(gpu);
}

/* --- PTX in objects ------------------------------------------------------------------------------------------------------------------------------- */
/* An object with PTX for these GPUs as a shared one: its path, a new one each time. Its header says what it carries. */
static const char *object(const char *path, const char *name, const char *gpus, const char *const *cpus, int n_cpus) {
  static const int kinds[] = {OPTC_EMIT_OBJECT, OPTC_EMIT_HEADER};
  optc_context *cx = fixture_context();
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 2, .level = -1, .rule = name, .gpu = gpus, .cpus = cpus, .n_cpus = n_cpus};
  optc_emission *e;
  size_t size;
  static int number;
  char file[80];
  snprintf(file, sizeof file, "object_%d.so", number++);
  CU_ASSERT_EQUAL_FATAL(optc_emit_file(cx, path, &options, &e), OPTC_OK);
  const void *bytes = optc_emission_data(e, 0, &size);
  CU_ASSERT(scratch_write("object.o", bytes, size));
  CU_ASSERT_EQUAL(scratch_run("cc -shared -Wl,-z,text -Wl,-z,defs -nostdlib -o %s object.o", file), 0);        /* it needs no library */
  CU_ASSERT_EQUAL(!!strstr(optc_emission_data(e, 1, NULL), "extern const struct optc_gpu_desc"), gpus != NULL);
  optc_emission_free(e);
  optc_context_free(cx);
  return scratch_path(file);
}

static void *load(const char *path, const char *name, const char *what) {
  char symbol[80];
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(handle);
  snprintf(symbol, sizeof symbol, "%s_%s", name, what);
  return dlsym(handle, symbol);
}

static void objects_carry_ptx(void) {
  static const struct { const char *path, *name; } rules[] = {{"rules/adamw.opt", "adamw"}, {"rules/lamb.opt", "lamb"}, {"rules/muon.opt", "muon"}, {"rules/attention.opt", "attention"}};
  static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
  const char *const *cpus = fixture_machine_has(0) ? levels : NULL;
  optc_gpu *gpu = open_gpu();
  for (int i = 0; i < COUNT(rules); i++) {
    const char *path = object(rules[i].path, rules[i].name, "sm_70,sm_80,sm_90", cpus, cpus ? 3 : 0);
    There there = {gpu, load(path, rules[i].name, "rule"), load(path, rules[i].name, "gpu"), i == 1};
    CU_ASSERT_PTR_NOT_NULL_FATAL(there.code);
    CU_ASSERT_EQUAL(there.code->rule == there.desc, i < 2);             /* products are packed another way on a GPU: such a rule has a table for each */
    optc_rule *code = compile(rules[i].path, rules[i].name, OPTC_BACKEND_JIT);
    bits_agree(rules[i].name, code, &there);
    optc_rule_free(code);
  }
  CU_ASSERT_STRING_EQUAL(stub->finding, "");
  everything_is_given_back(gpu);
}

static optc_emission *assembly(const char *path, const char *name, const char *gpus) {
  static const int kinds[] = {OPTC_EMIT_ASSEMBLY};
  optc_context *cx = fixture_context();
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 1, .level = -1, .rule = name, .gpu = gpus};
  optc_emission *e;
  CU_ASSERT_EQUAL_FATAL(optc_emit_file(cx, path, &options, &e), OPTC_OK);
  optc_context_free(cx);
  return e;
}

/* The code of a function: what stands in a text between its name and its size. */
static const char *body_of(const char *text, const char *name, size_t *size) {
  char first[100], last[100];
  snprintf(first, sizeof first, "\n%s:", name);
  snprintf(last, sizeof last, "\t.size\t%s,", name);
  const char *at = strstr(text, first), *end = at ? strstr(at, last) : NULL;
  *size = end ? (size_t)(end - at) : 0;
  return at;
}

static void cpu_code_of_an_object_does_not_depend_on_its_ptx(void) {
  static const struct { const char *path, *name; } rules[] = {{"rules/adamw.opt", "adamw"}, {"rules/muon.opt", "muon"}, {"rules/shampoo.opt", "shampoo"}, {"rules/attention.opt", "attention"}};
  for (int i = 0; i < COUNT(rules); i++) {
    optc_emission *alone = assembly(rules[i].path, rules[i].name, NULL), *carrying = assembly(rules[i].path, rules[i].name, "sm_80");
    const char *text = optc_emission_data(alone, 0, NULL), *other = optc_emission_data(carrying, 0, NULL);
    int functions = 0;
    for (const char *at = text; (at = strstr(at, ",@function\n")); at++) {
      const char *begin = at;
      char name[90];
      size_t size, other_size;
      while (begin > text && begin[-1] != '\t' && begin[-1] != ' ') begin--;
      snprintf(name, sizeof name, "%.*s", (int)(at - begin), begin);
      const char *x = body_of(text, name, &size), *y = body_of(other, name, &other_size);
      if (!size) continue;                                               /* the driver's own are text of another form */
      functions++;
      CU_ASSERT_EQUAL(size, other_size);
      CU_ASSERT(size == other_size && !memcmp(x, y, size));
    }
    CU_ASSERT(functions > 3);
    optc_emission_free(alone);
    optc_emission_free(carrying);
  }
}

static void the_best_text_for_a_gpu_is_taken(void) {
  static const struct { int compute; const char *taken; } cases[] = {{60, NULL}, {70, "sm_70"}, {75, "sm_70"}, {80, "sm_80"}, {89, "sm_80"}, {90, "sm_90a"}, {100, "sm_80"}};
  const char *path = object("rules/adamw.opt", "adamw", "sm_90a,sm_70,sm_80", NULL, 0);
  const optc_gpu_desc *code = load(path, "adamw", "gpu");
  for (int k = 0; k < COUNT(cases); k++) {
    const optc_gpu_target_desc *t = gpu_choose(code, cases[k].compute);
    if (!cases[k].taken) CU_ASSERT_PTR_NULL(t);
    if (cases[k].taken) CU_ASSERT_STRING_EQUAL(t->name, cases[k].taken);
  }
  for (int64_t k = 0; k < code->n_targets; k++) {
    static const char *const versions[] = {".version 8.0\n.target sm_90a", ".version 6.0\n.target sm_70", ".version 7.0\n.target sm_80"};
    CU_ASSERT_PTR_NOT_NULL(strstr(code->targets[k].text, versions[k]));
  }
}

/* DLPack tensors, a rule loaded from a shared object; without PTX it is refused. */
static void loaded_rules_run_on_a_gpu(void) {
  optc_context *cx = fixture_context();
  optc_gpu *gpu = open_gpu();
  for (int with = 0; with < 2; with++) {
    optc_rule *rule;
    List l;
    CU_ASSERT_EQUAL_FATAL(optc_load(cx, object("rules/lion.opt", "lion", with ? "sm_80" : NULL, NULL, 0), "lion", &rule), OPTC_OK);
    CU_ASSERT_EQUAL(optc_rule_gpu(rule) != NULL, with);
    list_make(&l, ITEMS);
    list_move(&l, true);
    CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, rule, optc_rule_entry(rule, "step"), &l.call), with ? OPTC_OK : OPTC_E_TARGET);
    if (!with) CU_ASSERT_STRING_EQUAL(l.error.text, "the rule is not compiled for PTX");
    CU_ASSERT_EQUAL(l.t, with);
    list_move(&l, false);
    list_free(&l);
    optc_rule_free(rule);
  }
  optc_context_free(cx);
  everything_is_given_back(gpu);
}

/* --- what is said when something fails ------------------------------------------------------------------------------------------------------------ */
static void open_fails(const char *path, const char *text) {
  char *kept = strdup(getenv("OPTC_CUDA_LIBRARY"));
  if (path) setenv("OPTC_CUDA_LIBRARY", path, 1);
  else unsetenv("OPTC_CUDA_LIBRARY");
  optc_gpu *gpu;
  optc_error error;
  CU_ASSERT_EQUAL(optc_gpu_open(0, &gpu, &error), OPTC_E_DEVICE);
  CU_ASSERT_PTR_NULL(gpu);
  CU_ASSERT_STRING_EQUAL(error.text, text);
  setenv("OPTC_CUDA_LIBRARY", kept, 1);
  free(kept);
}

static void without_a_driver(void) {
  open_fails("/nowhere/libcuda.so.1", "no NVIDIA driver: the library that OPTC_CUDA_LIBRARY names was not found");
  open_fails("libm.so.6", "the NVIDIA driver has no cuInit: it is older than CUDA 11.2");
  void *real = dlopen("libcuda.so.1", RTLD_LAZY);
  if (!real) open_fails(NULL, "no NVIDIA driver: libcuda.so.1 was not found");
  else dlclose(real);
}

static void a_driver_that_does_not_start(void) {
  optc_gpu *gpu;
  optc_error error;
  stub->fails = "cuInit";
  stub->code = 100;
  CU_ASSERT_EQUAL(optc_gpu_open(0, &gpu, &error), OPTC_E_DEVICE);
  CU_ASSERT_STRING_EQUAL(error.text, "the NVIDIA driver does not start: cuInit gives CUresult {}");
  CU_ASSERT_EQUAL(error.value[0], 100);
  stub->fails = "cuDeviceGetAttribute";
  CU_ASSERT_EQUAL(optc_gpu_open(0, &gpu, &error), OPTC_E_DEVICE);
  CU_ASSERT_STRING_EQUAL(error.text, "GPU {} does not tell its compute capability");
  stub->fails = NULL;
  CU_ASSERT_EQUAL(optc_gpu_open(7, &gpu, &error), OPTC_E_DEVICE);
  CU_ASSERT_STRING_EQUAL(error.text, "there is no GPU {}");
  CU_ASSERT_EQUAL(error.value[0], 7);
  CU_ASSERT_EQUAL(stub->contexts, 0);
}

/* Each function that a call needs, failing in turn. */
static void a_driver_that_fails(void) {
  static const struct { const char *function; int code; const char *text; } cases[] = {
    {"cuModuleLoadDataEx", 218, "cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX (218)\nptxas error: as the test asks"},
    {"cuModuleLoadDataEx", 222, "cuModuleLoadDataEx: CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222): the driver is older than the PTX\nptxas error: as the test asks"},
    {"cuModuleGetFunction", 500, "cuModuleGetFunction: an unknown error (500)"},
    {"cuMemAllocAsync", 2, "cuMemAllocAsync: CUDA_ERROR_OUT_OF_MEMORY (2)"},
    {"cuMemcpyHtoDAsync", 1, "cuMemcpyHtoDAsync: CUDA_ERROR_INVALID_VALUE (1)"},
    {"cuLaunchKernel", 719, "cuLaunchKernel: CUDA_ERROR_LAUNCH_FAILED (719)"},
    {"cuCtxPushCurrent", 1, "cuCtxPushCurrent: CUDA_ERROR_INVALID_VALUE (1)"},
  };
  optc_rule *rule = compile("rules/adamw.opt", "adamw", OPTC_BACKEND_PTX);
  for (int k = 0; k < COUNT(cases); k++) {
    optc_gpu *gpu = open_gpu();
    List l;
    list_make(&l, ITEMS);
    list_move(&l, true);
    stub->fails = cases[k].function;
    stub->code = cases[k].code;
    CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, rule, optc_rule_entry(rule, "step"), &l.call), OPTC_E_DEVICE);
    CU_ASSERT_STRING_EQUAL(l.error.text, cases[k].text);
    CU_ASSERT_EQUAL(l.error.code, OPTC_E_DEVICE);
    CU_ASSERT_EQUAL(l.t, 0);
    stub->fails = NULL;
    CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, rule, optc_rule_entry(rule, "step"), &l.call), OPTC_OK);      /* the gpu is as good as before */
    CU_ASSERT_EQUAL(l.t, 1);
    list_move(&l, false);
    list_free(&l);
    everything_is_given_back(gpu);
  }
  optc_rule_free(rule);
}

static void refused(optc_gpu *gpu, optc_rule *rule, List *l, int status, const char *text) {
  unsigned before = stub->launches;
  CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, rule, optc_rule_entry(rule, "step"), &l->call), status);
  CU_ASSERT_STRING_EQUAL(l->error.text, text);
  CU_ASSERT_EQUAL(stub->launches, before);
}

static void calls_that_do_not_fit(void) {
  static int64_t strides[2] = {20, 2};
  optc_gpu *gpu = open_gpu();
  optc_rule *code = compile("rules/adamw.opt", "adamw", OPTC_BACKEND_JIT), *ptx = compile("rules/adamw.opt", "adamw", OPTC_BACKEND_PTX);
  List l;
  list_make(&l, ITEMS);
  refused(gpu, ptx, &l, OPTC_E_TYPE, "tensor 'p' is not on the GPU");
  list_move(&l, true);
  refused(gpu, code, &l, OPTC_E_TARGET, "the rule is not compiled for PTX");
  l.tensor[3][1].strides = strides;
  refused(gpu, ptx, &l, OPTC_E_SHAPE, "tensor 'g' is strided: on a GPU all are dense");
  l.tensor[3][1].strides = NULL;
  l.tensor[2][2].device.device_id = 1;
  refused(gpu, ptx, &l, OPTC_E_TYPE, "tensor 'm' is not on the GPU");
  l.tensor[2][2].device.device_id = 0;
  stub->compute = 75;
  optc_gpu *old = open_gpu();
  refused(old, ptx, &l, OPTC_E_TARGET, "the rule has no PTX for this GPU, whose compute capability is {}");
  CU_ASSERT_EQUAL(l.error.value[0], 7.5);
  optc_gpu_close(old);
  stub->compute = 90;
  static const double beta1 = 2;
  double hyper[16];
  const double *groups[] = {hyper};
  for (int k = 0; k < optc_rule_hypers(ptx); k++) {
    optc_hyper_info info;
    optc_rule_hyper(ptx, k, &info);
    hyper[k] = !strcmp(info.name, "beta1") ? beta1 : info.value;
  }
  l.call.groups = groups;
  l.call.n_groups = 1;
  unsigned before = stub->launches;
  CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, ptx, optc_rule_entry(ptx, "step"), &l.call), OPTC_E_REQUIRE);       /* found in main memory */
  CU_ASSERT_EQUAL(stub->launches, before);
  list_move(&l, false);
  list_free(&l);
  optc_rule_free(code);
  optc_rule_free(ptx);
  everything_is_given_back(gpu);
}

/* With the rule's own structs: what only those can have wrong. */
static void raw_calls_that_do_not_fit(void) {
  optc_gpu *gpu = open_gpu();
  optc_rule *ptx = compile("rules/adamw.opt", "adamw", OPTC_BACKEND_PTX);
  const optc_gpu_desc *code = optc_rule_gpu(ptx);
  optc_gpu_desc other = *code;
  other.version++;
  int64_t shape[2] = {3, 4}, stride[2] = {8, 1};
  char *item = calloc(1, (size_t)code->rule->item_size), *global = calloc(1, (size_t)code->rule->global_size), *hyper = calloc(1, (size_t)code->rule->hyper_size);
  const int64_t rank = 2, *at = shape;
  memcpy(item + code->rule->item_rank, &rank, 8);
  memcpy(item + code->rule->item_shape, &at, 8);
  *(optc_tensor *)(void *)(item + code->rule->operands[1].offset) = (optc_tensor){shape, stride};
  optc_error error;
  optc_call call = {.size = sizeof call, .groups = hyper, .n_groups = 1, .items = item, .n_items = 1, .global = global, .error = &error};
  const struct { const optc_gpu_desc *code; const char *entry; int status; const char *text; } cases[] = {
    {code, "step", OPTC_E_SHAPE, "it is strided: on a GPU all are dense"}, {code, "backward", OPTC_E_NULL, "there is no such entry"}, {code, "layout", OPTC_E_NULL, "there is no such entry"},
    {&other, "step", OPTC_E_TARGET, "the object was made by another version of optc"}};
  optc_gpu_plan *plan;
  for (int k = 0; k < COUNT(cases); k++) {
    CU_ASSERT_EQUAL(optc_gpu_call_raw(stream, gpu, cases[k].code, cases[k].entry, &call), cases[k].status);
    CU_ASSERT_STRING_EQUAL(error.text, cases[k].text);
    CU_ASSERT_EQUAL(optc_gpu_plan_new_raw(stream, gpu, cases[k].code, cases[k].entry, &call, &plan), cases[k].status);
  }
  CU_ASSERT_EQUAL(optc_gpu_call_raw(stream, gpu, code, "step", &call), OPTC_E_SHAPE);
  CU_ASSERT_STRING_EQUAL(error.operand, code->rule->operands[1].name);
  const struct { void *items; int64_t n_items, n_groups; void *global; int status; } heads[] = {
    {item, -1, 1, global, OPTC_E_SHAPE}, {NULL, 1, 1, global, OPTC_E_NULL}, {item, 1, -1, global, OPTC_E_GROUP}, {item, 1, 0, global, OPTC_E_GROUP}, {item, 1, 1, NULL, OPTC_E_NULL}};
  memset(item + code->rule->operands[1].offset, 0, sizeof(optc_tensor));
  for (int k = 0; k < COUNT(heads); k++) {
    call.items = heads[k].items;
    call.n_items = heads[k].n_items;
    call.n_groups = heads[k].n_groups;
    call.global = heads[k].global;
    CU_ASSERT_EQUAL(optc_gpu_call_raw(stream, gpu, code, "step", &call), heads[k].status);
    CU_ASSERT_EQUAL(error.code, heads[k].status);
  }
  call.size--;
  CU_ASSERT_EQUAL(optc_gpu_call_raw(stream, gpu, code, "step", &call), OPTC_E_SIZE);
  CU_ASSERT_EQUAL(optc_gpu_call_raw(stream, gpu, NULL, "step", &call), OPTC_E_NULL);
  free(item);
  free(global);
  free(hyper);
  optc_rule_free(ptx);
  everything_is_given_back(gpu);
}

static void memory_of_a_gpu(void) {
  optc_gpu *gpu = open_gpu();
  optc_error error;
  int here = 7, back = 0;
  void *there;
  CU_ASSERT_EQUAL_FATAL(optc_gpu_alloc(stream, gpu, sizeof here, &there, &error), OPTC_OK);
  CU_ASSERT_EQUAL(error.code, OPTC_OK);
  CU_ASSERT_EQUAL(optc_gpu_write(stream, gpu, there, &here, sizeof here, NULL), OPTC_OK);
  CU_ASSERT_EQUAL(optc_gpu_read(stream, gpu, &back, there, sizeof back, NULL), OPTC_OK);
  CU_ASSERT_EQUAL(back, 7);
  CU_ASSERT_EQUAL(optc_gpu_read(stream, gpu, &back, (char *)there + 4, sizeof back, &error), OPTC_E_DEVICE);
  CU_ASSERT_STRING_EQUAL(error.text, "cuMemcpyDtoHAsync: CUDA_ERROR_INVALID_VALUE (1)");
  CU_ASSERT_EQUAL(optc_gpu_free(stream, gpu, there, NULL), OPTC_OK);
  CU_ASSERT_EQUAL(optc_gpu_free(stream, gpu, NULL, NULL), OPTC_OK);
  CU_ASSERT_EQUAL(optc_gpu_write(stream, gpu, there, &here, sizeof here, &error), OPTC_E_DEVICE);
  stub->fails = "cuMemAllocAsync";
  stub->code = 2;
  CU_ASSERT_EQUAL(optc_gpu_alloc(stream, gpu, sizeof here, &there, &error), OPTC_E_DEVICE);
  CU_ASSERT_STRING_EQUAL(error.text, "cuMemAllocAsync: CUDA_ERROR_OUT_OF_MEMORY (2)");
  CU_ASSERT_PTR_NULL(there);
  stub->fails = NULL;
  CU_ASSERT_EQUAL(optc_gpu_alloc(stream, NULL, 1, &there, NULL), OPTC_E_NULL);
  everything_is_given_back(gpu);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(adamw_gives_the_bits_of_machine_code),
    TEST(lamb_gives_the_bits_of_machine_code),
    TEST(a_rule_is_loaded_once_a_gpu),
    TEST(a_fast_product_gives_the_bits_of_its_ptx),
    TEST(every_rule_gives_the_bits_of_machine_code),
    TEST(small_windows_keep_the_bits),
    TEST(skipped_steps_do_not_count),
    TEST(every_rule_has_these_bits_as_a_captured_plan),
    TEST(a_captured_plan_is_a_step_each_time),
    TEST(plans_that_cannot_be_made),
    TEST(blocks_that_take_several_work_entries),
    TEST(objects_carry_ptx),
    TEST(cpu_code_of_an_object_does_not_depend_on_its_ptx),
    TEST(the_best_text_for_a_gpu_is_taken),
    TEST(loaded_rules_run_on_a_gpu),
    TEST(without_a_driver),
    TEST(a_driver_that_does_not_start),
    TEST(a_driver_that_fails),
    TEST(calls_that_do_not_fit),
    TEST(raw_calls_that_do_not_fit),
    TEST(memory_of_a_gpu),
  };
  return suite_run_with("calls on a GPU", tests, enter, leave);
}
