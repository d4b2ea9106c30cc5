/* runtime_cuda_failures_test.c: what is said when a driver, a call or memory of a GPU fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include "tests/cuda/calls.h"
#include "tests/support/suite.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))

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
    TEST(without_a_driver),
    TEST(a_driver_that_does_not_start),
    TEST(a_driver_that_fails),
    TEST(calls_that_do_not_fit),
    TEST(raw_calls_that_do_not_fit),
    TEST(memory_of_a_gpu),
  };
  return suite_run_with("failures on a GPU", tests, cuda_enter, cuda_leave);
}
