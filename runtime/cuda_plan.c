/* cuda_plan.c: a call that is launched again and again: what it needs lies on the GPU, numbers of the step among it, and a launch is kernels alone, so that it can be
 * captured into a graph. Group kernels run on the GPU each time; the number of steps grows there. */
#include <string.h>
#include "runtime/cuda.h"

struct optc_gpu_plan {
  optc_gpu *gpu;
  Arena *arena;                          /* this struct lives there too */
  GpuPlaced placed;
  enum { KEEPS_T, ADVANCES_T, RESETS_T } steps;
  size_t size[OPTC_PLAN_PARTS];
};

/* *t += *skip == 0 */
static const char steps_text[] =
  ".version 6.0\n.target sm_70\n.address_size 64\n"
  ".visible .entry optc_advance(.param .u64 t, .param .u64 skip)\n{\n"
  "  .reg .pred %p<2>;\n  .reg .b64 %rd<6>;\n"
  "  ld.param.u64 %rd1, [t];\n  ld.param.u64 %rd2, [skip];\n"
  "  cvta.to.global.u64 %rd1, %rd1;\n  cvta.to.global.u64 %rd2, %rd2;\n"
  "  ld.global.u64 %rd3, [%rd2];\n  setp.ne.s64 %p1, %rd3, 0;\n  @%p1 bra $done;\n"
  "  ld.global.u64 %rd4, [%rd1];\n  add.s64 %rd5, %rd4, 1;\n  st.global.u64 [%rd1], %rd5;\n"
  "$done:\n  ret;\n}\n";

static bool load_steps(GpuQueue *q) {
  optc_gpu *gpu = q->gpu;
  if (gpu->advance) return true;
  if (!gpu->steps && (q->status = gpu_load(gpu, steps_text, &gpu->steps, &q->error)) != OPTC_OK) return false;
  return CU(q, cuModuleGetFunction, &gpu->advance, gpu->steps, "optc_advance");
}

/* Afterwards no stream has to wait for this one. */
static optc_gpu_plan *make(GpuQueue *q, Arena *arena, const optc_gpu_desc *code, int64_t entry, const optc_call *call) {
  const optc_entry_desc *e = &code->rule->entries[entry];
  GpuModule *module;
  optc_gpu_plan *plan = arena_alloc(arena, sizeof *plan);
  GpuRecord *r = gpu_prepare(q, arena, code, entry, call, true, &module);
  *plan = (optc_gpu_plan){.gpu = q->gpu, .arena = arena, .steps = e->advances ? ADVANCES_T : !strcmp(e->name, "init") ? RESETS_T : KEEPS_T,
    .size = {(size_t)(call->n_groups*code->rule->hyper_size), (size_t)code->rule->global_size, (size_t)(call->n_items*code->rule->item_size)}};
  if (r && load_steps(q) && gpu_put(q, module, r, &plan->placed) && CU(q, cuStreamSynchronize, q->stream)) return plan;
  gpu_release(q, &plan->placed);
  return NULL;
}

static int plan_in(GpuQueue *q, Arena *arena, const optc_gpu_desc *code, int64_t entry, const optc_call *call, optc_gpu_plan **plan) {
  if (setjmp(*arena_guard(arena))) gpu_refuse(q, OPTC_E_MEMORY, "out of memory");
  else *plan = make(q, arena, code, entry, call);
  return q->status;
}

static int new_plan(CUstream stream, optc_gpu *gpu, const optc_gpu_desc *code, int64_t entry, const optc_call *call, optc_gpu_plan **plan) {
  GpuQueue q = {0};
  int status = gpu_check(code, call);
  if (status != OPTC_OK) return status;
  Arena *arena = arena_new(NULL, 0);
  if (!arena) gpu_refuse(&q, OPTC_E_MEMORY, "out of memory");
  else if (gpu_enter(&q, gpu, stream)) plan_in(&q, arena, code, entry, call, plan);
  if (arena && !*plan) arena_free(arena);
  return gpu_leave(&q, call->error);
}

typedef struct PlanWay { RuleWay way; optc_gpu *gpu; CUstream stream; optc_gpu_plan **plan; } PlanWay;

static int plan_there(const RuleWay *way, const optc_rule *r, int64_t entry, const optc_call *call) {
  const PlanWay *there = (const PlanWay *)way;
  return new_plan(there->stream, there->gpu, r->gpu, entry, call, there->plan);
}

int optc_gpu_plan_new(void *stream, optc_gpu *gpu, const optc_rule *rule, int entry, const optc_call_args *a, optc_gpu_plan **plan) {
  if (plan) *plan = NULL;
  if (!gpu || !rule || !a || !plan) return OPTC_E_NULL;
  PlanWay there = {.way = {.device = {kDLCUDA, gpu->ordinal}, .drive = plan_there}, .gpu = gpu, .stream = stream, .plan = plan};
  return rule_call(rule, entry, a, &there.way);
}

int optc_gpu_plan_new_raw(void *stream, optc_gpu *gpu, const struct optc_gpu_desc *code, const char *entry, const void *R_call, optc_gpu_plan **plan) {
  int64_t at;
  if (plan) *plan = NULL;
  if (!gpu || !code || !entry || !R_call || !plan) return OPTC_E_NULL;
  int status = gpu_find_entry(code, entry, R_call, &at);
  return status == OPTC_OK ? new_plan(stream, gpu, code, at, R_call, plan) : status;
}

static void step(GpuQueue *q, const optc_gpu_plan *plan) {
  const GpuPlaced *p = &plan->placed;
  CUdeviceptr t = p->base + p->record->global, skip = p->base + p->record->skip;
  void *params[] = {&t, &skip};
  gpu_launch(q, p);
  if (q->status != OPTC_OK) return;
  if (plan->steps == ADVANCES_T) CU(q, cuLaunchKernel, plan->gpu->advance, 1, 1, 1, 1, 1, 1, 0, q->stream, params, NULL);
  if (plan->steps == RESETS_T) CU(q, cuMemsetD8Async, t, 0, sizeof(int64_t), q->stream);
}

int optc_gpu_launch(void *stream, const optc_gpu_plan *plan, optc_error *error) {
  GpuQueue q;
  if (!plan) return OPTC_E_NULL;
  if (gpu_enter(&q, plan->gpu, stream)) step(&q, plan);
  return gpu_leave(&q, error);
}

void *optc_gpu_plan_memory(const optc_gpu_plan *plan, int part, size_t *size) {
  if (!plan || part < 0 || part >= OPTC_PLAN_PARTS) return NULL;
  const GpuRecord *r = plan->placed.record;
  const size_t place[OPTC_PLAN_PARTS] = {[OPTC_PLAN_GROUPS] = r->groups, [OPTC_PLAN_GLOBAL] = r->global, [OPTC_PLAN_ITEMS] = r->items};
  if (size) *size = plan->size[part];
  return (void *)(uintptr_t)(plan->placed.base + place[part]);
}

void optc_gpu_plan_free(void *stream, optc_gpu_plan *plan) {
  GpuQueue q;
  if (!plan) return;
  if (gpu_enter(&q, plan->gpu, stream)) gpu_release(&q, &plan->placed);
  gpu_leave(&q, NULL);
  arena_free(plan->arena);
}
