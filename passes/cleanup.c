/* cleanup.c: pass `cleanup`: equal instructions become one, constants and known conditions fold, and what nothing needs goes:
 * instructions, stores to temporaries that nobody loads, uniform slots, kernels without effect. Before and after: any program. Exact. */
#include "passes/kernel_edit.h"
#include "passes/passes.h"

void pass_cleanup(Unit *unit, const PassArgs *args) {
  Program *p = unit->program;
  for (unsigned k = 0; k < p->n_kernels; k++) kernel_simplify(p, p->kernels[k]);
  program_sweep(p);
}
