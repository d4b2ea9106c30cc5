/* usual_passes.c: read from passes.def. */
#include "tests/support/usual_passes.h"
#include <stdio.h>
#include <string.h>

void usual_passes(char *text, size_t size, const char *last) {
  static const struct { const char *name; int level; } rows[] = {
#define PASS(name, form, exact, required, level, ...) {#name, level},
#define AGAIN(name) {#name, 0},
#include "passes/passes.def"
#undef PASS
#undef AGAIN
  };
  size_t used = 0;
  for (size_t k = 0; k < sizeof rows/sizeof *rows; k++)
    if (rows[k].level <= 2 && strcmp(rows[k].name, "vectorise")) used += (size_t)snprintf(text + used, used < size ? size - used : 0, "%s%s", used ? "," : "", rows[k].name);
  snprintf(text + used, used < size ? size - used : 0, "%s", last);
}
