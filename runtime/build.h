/* build.h: from a source to programs: the part that compiling and emitting share. For the files of this room only.
 *
 * A Build lies with its caller. Texts asked for stay the caller's; all that is made lies in the arena of the compilation and goes with it. */
#ifndef OPTC_RUNTIME_BUILD_H
#define OPTC_RUNTIME_BUILD_H
#include "backends/backend.h"
#include "frontend/frontend.h"
#include "passes/pass.h"
#include "runtime/context.h"

typedef struct Build {
  /* asked for */
  const char *path;                      /* of a file; NULL: the text below */
  const char *name, *text; size_t length;
  const char *rule, *passes, *store;
  int level;                             /* 0, 1, 2 */
  bool compute_f64, store_f64, verify_each, fast, gpu;      /* gpu: GPUs run it too */
  const char *print_after;
  void (*printed)(void *self, const char *entry, const char *pass, const char *text); void *printed_self;
  /* made */
  Source source;
  FrontendOptions frontend;
  FileSet *files;
  Module *module;
  Graph **graphs;                        /* one an entry, as the graph passes left it */
  Program **programs;                    /* one an entry */
} Build;

bool build_is_given(const Build *);      /* a path, or a name and a text */
/* Sets the level; -1 is the default. false (and an error reported): no such level, or `fast` where it cannot be. */
bool build_level(Compilation *, Build *, int asked);
/* Each returns an OPTC_* code and goes on from the one before: read and parse; analyse; run the passes. */
int build_load(Compilation *, Build *);
int build_analyse(Compilation *, Build *);
int build_lower(Compilation *, Build *);
#endif
