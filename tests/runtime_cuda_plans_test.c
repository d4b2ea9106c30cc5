/* runtime_cuda_plans_test.c: calls that are launched again and again: captured, stepped, refused. */
#include <math.h>
#include <string.h>
#include "tests/cuda/calls.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))

static const char guarded[] =
  "rule guarded(lr = 0.5) {\n  param p\n  grad g\n  state m = 0, v = 0\n  skip if any[all](not finite(g))\n  m += g\n  v += lr*m\n  p -= v/t\n}\n";

/* Back from the GPU, compared, and freed. */
static void lists_agree(List *const lists[2]) {
  for (int k = 0; k < 2; k++) list_move(lists[k], false);
  CU_ASSERT(same_lists(lists[0], lists[1]));
  for (int k = 0; k < 2; k++) list_free(lists[k]);
}

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
  lists_agree(lists);
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
    replay_capture();
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

/* With and without what is required of lr. */
#define BOUNDED(require) "rule bounded(lr = 0.5) {\n" require "  param p\n  grad g\n  state m = 0, v = 0\n  m += g\n  v += lr*m\n  p -= v/t\n}\n"
static optc_rule *bounded(const char *text) {
  optc_context *cx = fixture_context();
  optc_rule *rule = NULL;
  optc_compile_options options = {.size = sizeof options, .level = -1, .backend = OPTC_BACKEND_PTX};
  CU_ASSERT_EQUAL_FATAL(optc_compile_memory(cx, "bounded", text, strlen(text), &options, &rule), OPTC_OK);
  optc_context_free(cx);
  return rule;
}

/* A plan is refused as its call would be; a launch goes by what stands in the plan's memory, whatever that is. */
static void requirements_are_those_of_the_plan_s_making(void) {
  optc_gpu *gpu = open_gpu();
  optc_rule *rule = bounded(BOUNDED("  require lr >= 0\n")), *free_rule = bounded(BOUNDED(""));
  int step = optc_rule_entry(rule, "step");
  double lr = -1;
  const double *groups[] = {&lr};
  optc_gpu_plan *plan;
  List calls, planned, *lists[] = {&calls, &planned};
  for (int k = 0; k < 2; k++) {
    list_make(lists[k], ITEMS);
    list_move(lists[k], true);
    lists[k]->call.groups = groups;
    lists[k]->call.n_groups = 1;
  }
  int memory = stub->memory;
  unsigned launches = stub->launches;
  CU_ASSERT_EQUAL(optc_gpu_plan_new(stream, gpu, rule, step, &planned.call, &plan), OPTC_E_REQUIRE);
  CU_ASSERT_PTR_NULL(plan);
  CU_ASSERT_EQUAL(planned.error.code, OPTC_E_REQUIRE);
  CU_ASSERT(planned.error.n == 1 && planned.error.value[0] == -1);
  CU_ASSERT_EQUAL(stub->memory, memory);
  CU_ASSERT_EQUAL(stub->launches, launches);
  lr = 0.5;
  CU_ASSERT_EQUAL_FATAL(optc_gpu_plan_new(stream, gpu, rule, step, &planned.call, &plan), OPTC_OK);
  lr = -1;
  CU_ASSERT_EQUAL(optc_gpu_write(stream, gpu, optc_gpu_plan_memory(plan, OPTC_PLAN_GROUPS, NULL), &lr, sizeof lr, NULL), OPTC_OK);
  CU_ASSERT_EQUAL(optc_gpu_launch(stream, plan, NULL), OPTC_OK);
  CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, rule, step, &calls.call), OPTC_E_REQUIRE);
  CU_ASSERT_EQUAL(optc_gpu_call(stream, gpu, free_rule, step, &calls.call), OPTC_OK);
  CU_ASSERT_EQUAL(optc_gpu_read(stream, gpu, &planned.t, optc_gpu_plan_memory(plan, OPTC_PLAN_GLOBAL, NULL), sizeof planned.t, NULL), OPTC_OK);
  optc_gpu_plan_free(stream, plan);
  lists_agree(lists);
  optc_rule_free(rule);
  optc_rule_free(free_rule);
  everything_is_given_back(gpu);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(skipped_steps_do_not_count),
    TEST(a_captured_plan_is_a_step_each_time),
    TEST(plans_that_cannot_be_made),
    TEST(requirements_are_those_of_the_plan_s_making),
  };
  return suite_run_with("plans on a GPU", tests, cuda_enter, cuda_leave);
}
