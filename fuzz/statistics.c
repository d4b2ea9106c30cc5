/* statistics.c: what a campaign made. With OPTC_FUZZ_STATISTICS in the environment it is printed at the end; what was never made is a gap. */
#include "fuzz/genome.h"
#include <stdio.h>

Statistics statistics;

static void line(const char *kind, const char *name, uint64_t n) {
  if (n) fprintf(stderr, "%s %s %llu\n", kind, name, (unsigned long long)n);
  else fprintf(stderr, "never %s %s\n", kind, name);
}

void statistics_print(void) {
  const Statistics *s = &statistics;
  fprintf(stderr, "inputs %llu, graphs %llu, well formed %llu, texts %llu, accepted %llu\n", (unsigned long long)s->inputs, (unsigned long long)s->graphs,
          (unsigned long long)s->well_formed, (unsigned long long)s->texts, (unsigned long long)s->texts_accepted);
  for (unsigned k = 0; k < OP_COUNT; k++) line("operation", op_name((Op)k), s->op[k]);
  for (unsigned k = 0; k < n_passes; k++) if (passes[k].exact) line("pass", passes[k].name, s->pass[k]);      /* the genome takes no others */
  for (unsigned k = 0; k < MUTATORS; k++) line("mutator", mutator_names[k], s->mutator[k]);
}
