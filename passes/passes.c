/* passes.c: the table of passes, from passes.def. */
#include "passes/passes.h"
#include <string.h>

const Pass passes[] = {
#define PASS(function, form, exact, required, since, summary) {#function, summary, PASS_##form, exact, required, since, pass_##function},
#include "passes/passes.def"
#undef PASS
};
const unsigned n_passes = sizeof passes / sizeof passes[0];

const Pass *pass_find(const char *name) {
  for (unsigned k = 0; k < n_passes; k++)
    if (!strcmp(passes[k].name, name)) return &passes[k];
  return NULL;
}
