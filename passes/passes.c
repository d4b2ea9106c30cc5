/* passes.c: the table of passes and the order of the default pipelines, from passes.def. */
#include "passes/passes.h"
#include <string.h>

enum { NOTHING = 0, LANES = PASS_TAKES_LANES, UNROLL = PASS_TAKES_UNROLL, LIMIT = PASS_TAKES_LIMIT };

const Pass passes[] = {
#define PASS(function, form, exact, required, since, takes, summary) {#function, summary, PASS_##form, exact, required, since, takes, pass_##function},
#define AGAIN(name)
#include "passes/passes.def"
#undef PASS
#undef AGAIN
};
const unsigned n_passes = sizeof passes / sizeof passes[0];

enum {
#define PASS(function, ...) NUMBER_##function,
#define AGAIN(name)
#include "passes/passes.def"
#undef PASS
#undef AGAIN
};

const Pass *const pass_order[] = {
#define PASS(function, ...) &passes[NUMBER_##function],
#define AGAIN(name) &passes[NUMBER_##name],
#include "passes/passes.def"
#undef PASS
#undef AGAIN
};
const unsigned n_pass_order = sizeof pass_order / sizeof pass_order[0];

const Pass *pass_find(const char *name) {
  for (unsigned k = 0; k < n_passes; k++)
    if (!strcmp(passes[k].name, name)) return &passes[k];
  return NULL;
}
