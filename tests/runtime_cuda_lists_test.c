/* runtime_cuda_lists_test.c: lists of tensors on a GPU give the bits of machine code, through a driver that has none (tests/cuda/stub.c). */
#include <stdlib.h>
#include <string.h>
#include "tests/cuda/calls.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"


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

int main(void) {
  static const SuiteTest tests[] = {
    TEST(adamw_gives_the_bits_of_machine_code),
    TEST(lamb_gives_the_bits_of_machine_code),
    TEST(a_rule_is_loaded_once_a_gpu),
    TEST(a_fast_product_gives_the_bits_of_its_ptx),
  };
  return suite_run_with("lists of tensors on a GPU", tests, cuda_enter, cuda_leave);
}
