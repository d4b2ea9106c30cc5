/* usual_passes.h: the default pipeline at -O2 as --passes has it, up to its last pass, `vectorise`, which tests run with lanes of their own. */
#ifndef OPTC_TESTS_USUAL_PASSES_H
#define OPTC_TESTS_USUAL_PASSES_H
#include <stddef.h>

/* `last` (",vectorise(lanes=8)", or "") behind it. */
void usual_passes(char *text, size_t size, const char *last);
#endif
