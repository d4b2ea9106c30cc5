/* context.h: what a context holds, and how one compilation runs under its guard. For the files of this room only. */
#ifndef OPTC_RUNTIME_CONTEXT_H
#define OPTC_RUNTIME_CONTEXT_H
#include <stdbool.h>
#include "ir/diag.h"
#include "runtime/optc.h"

struct optc_context {
  char *cache_dir;                       /* NULL: no cache */
  bool color;
  char *text, *json;                     /* diagnostics of the last compilation, rendered; NULL: none */
  bool out_of_memory;                    /* the last compilation ended for want of memory */
  char *targets;
  unsigned compilations;
};

/* One compilation. Everything it allocates is in `arena`, which is freed with it, or goes to `*keep` when all of it has ended well: diagnostics are rendered
 * after the body, so that memory can end behind it too. */
typedef struct Compilation {
  optc_context *context;
  Arena *arena;
  Diag *diag;
  optc_timed timed; void *timed_self;
  double mark;                           /* CPU clock at the end of the last stage */
  Arena **keep;
} Compilation;

/* Runs `body` with a fresh arena and diagnostics; when memory ends, control comes back here and the result is OPTC_E_MEMORY.
 * The body returns an error code; afterwards the diagnostics are rendered into the context. */
typedef int (*CompilationBody)(Compilation *, void *self);
int context_compile(optc_context *, CompilationBody, void *self);

int context_refuse(optc_context *, int status);       /* OPTC_E_NULL or OPTC_E_MEMORY before a compilation began: nothing of an earlier one stays. The context may be NULL */

void compilation_time(Compilation *, optc_timed, void *self);
void compilation_stage(Compilation *, const char *stage);                /* the time since the last mark was spent in `stage` */

/* Adds diagnostics rendered by an earlier compilation (a cache entry's warnings) to this one's. */
void context_adopt(optc_context *, const char *text, const char *json);

/* A copy of *options with the fields that its `size` does not reach left at their defaults. */
void options_copy(void *to, size_t to_size, const void *options, size_t options_size);
#endif
