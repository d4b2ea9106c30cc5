/* passes.h: every pass's function, one a file. passes.c puts them in a table from passes.def. */
#ifndef OPTC_PASSES_PASSES_H
#define OPTC_PASSES_PASSES_H
#include "passes/pass.h"

#define AGAIN(name)
#define PASS(function, ...) void pass_##function(Unit *, const PassArgs *);
#include "passes/passes.def"
#undef PASS
#undef AGAIN
#endif
