/* adamw_list.c: the compiled AdamW behind plain arrays, for the Python peers: f32 tensors, one call for the list. */
#include <omp.h>
#include <stdlib.h>
#include "adamw.h"

static void team_run(void *self, int64_t n, void (*chunk)(void *, int64_t), void *context) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(*(int *)self)
  for (int64_t i = 0; i < n; i++) chunk(context, i);
}

/* One step with the rule's defaults on `tensors` tensors of n[k] elements; *t counts steps. Returns the error code, 0 if good. */
int adamw_list(float **p, float **g, float **m, float **v, const int64_t *n, int64_t tensors, int64_t *t, int threads) {
  adamw_item *item = calloc((size_t)tensors, sizeof *item);
  if (!item) return OPTC_E_MEMORY;
  for (int64_t k = 0; k < tensors; k++)
    item[k] = (adamw_item){.p.data = p[k], .g.data = g[k], .m.data = m[k], .v.data = v[k], .rank = 1, .shape = n + k};
  adamw_hyper hyper = adamw_HYPER_DEFAULTS;
  adamw_global global = {.t = *t};
  optc_parallel team = {team_run, &threads};
  adamw_call call = {.size = sizeof call, .groups = &hyper, .n_groups = 1, .items = item, .n_items = tensors, .global = &global,
                     .parallel = threads > 1 ? &team : NULL};
  int code = adamw_step(&call);
  *t = global.t;
  free(item);
  return code;
}
