/* optimizer_gpu.h: the optimizer of train.c on an NVIDIA GPU: parameters, gradients and states live there, a step is one launch of a plan.
 *
 * The object carries the PTX and the library the way to the driver, so that neither building nor running this needs a CUDA toolkit. The model's own forward and backward
 * stay on the CPU: gradients go to the GPU before each step, parameters come back after it. A model that lives on the GPU as well would leave out both copies and
 * could capture the launch into a CUDA graph. */
#include "optc.h"

typedef struct Optimizer {
  RULE(hyper) hyper; RULE(item) item[N_PARAMS]; RULE(global) global; RULE(call) call; optc_error error;
  Model *model;
  optc_gpu *gpu;
  optc_gpu_plan *step;
} Optimizer;

static void must(Optimizer *o, const char *what, int status) { if (status) refused(what, &o->error); }

/* The same elements on the GPU. */
static void *there(Optimizer *o, const void *here, size_t size) {
  void *at;
  must(o, "memory of the GPU", optc_gpu_alloc(NULL, o->gpu, size, &at, &o->error));
  if (here) must(o, "copy to the GPU", optc_gpu_write(NULL, o->gpu, at, here, size, &o->error));
  return at;
}

static size_t bytes_of(const Model *m, int k) { return (size_t)m->count[k] * sizeof(float); }

static void optimizer_init(Optimizer *o, Model *m, double lr) {
  *o = (Optimizer){.hyper = RULE_DEFAULTS, .model = m};
  if (lr > 0) o->hyper.lr = lr;
  if (optc_gpu_open(0, &o->gpu, &o->error)) {                              /* no driver, no GPU: nothing to show, and nothing wrong */
    char why[300];
    printf("no GPU to train on: %s\n", optc_error_format(why, sizeof why, &o->error));
    exit(0);
  }
  for (int k = 0; k < N_PARAMS; k++)
    o->item[k] = (RULE(item)){.p.data = there(o, m->value[k], bytes_of(m, k)), .g.data = there(o, m->gradient[k], bytes_of(m, k)), .rank = m->rank[k], .shape = m->shape[k]};
  o->call = (RULE(call)){.size = sizeof o->call, .groups = &o->hyper, .n_groups = 1, .items = o->item, .n_items = N_PARAMS, .global = &o->global, .error = &o->error};
  for (int k = 0; k < N_PARAMS; k++) {                                     /* states: as many, and as large, as the rule says */
    optc_state_info state[RULE_STATES];
    must(o, "layout", RULE(layout)(&o->call, k, state));
    for (int s = 0; s < RULE_N_STATES; s++)
      if (state[s].exists && state[s].scope == 0) ((optc_tensor *)((char *)&o->item[k] + state[s].offset))->data = there(o, NULL, (size_t)state[s].bytes);
  }
  must(o, "init", optc_gpu_call_raw(NULL, o->gpu, &RULE(gpu), "init", &o->call));
  must(o, RULE_NAME, optc_gpu_plan_new_raw(NULL, o->gpu, &RULE(gpu), "step", &o->call, &o->step));
}

static void optimizer_step(Optimizer *o) {
  for (int k = 0; k < N_PARAMS; k++) must(o, "gradients", optc_gpu_write(NULL, o->gpu, o->item[k].g.data, o->model->gradient[k], bytes_of(o->model, k), &o->error));
  must(o, RULE_NAME, optc_gpu_launch(NULL, o->step, &o->error));           /* the whole model, every state */
  for (int k = 0; k < N_PARAMS; k++) must(o, "parameters", optc_gpu_read(NULL, o->gpu, o->model->value[k], o->item[k].p.data, bytes_of(o->model, k), &o->error));
}

static void optimizer_close(Optimizer *o) {
  optc_gpu_plan_free(NULL, o->step);
  for (int k = 0; k < N_PARAMS; k++) {
    optc_state_info state[RULE_STATES];
    must(o, "layout", RULE(layout)(&o->call, k, state));
    for (int s = 0; s < RULE_N_STATES; s++)
      if (state[s].exists && state[s].scope == 0) optc_gpu_free(NULL, o->gpu, ((optc_tensor *)((char *)&o->item[k] + state[s].offset))->data, NULL);
    optc_gpu_free(NULL, o->gpu, o->item[k].p.data, NULL);
    optc_gpu_free(NULL, o->gpu, o->item[k].g.data, NULL);
  }
  optc_gpu_close(o->gpu);
}
