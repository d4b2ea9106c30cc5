/* frontend.h: from the text of an .opt file to a module. The only door of the front end. */
#ifndef OPTC_FRONTEND_H
#define OPTC_FRONTEND_H
#include "frontend/ast.h"
#include "ir/graph.h"

#define FRONTEND_MAX_BYTES (16u << 20)   /* of one source */
#define FRONTEND_MAX_DEPTH 256           /* nested brackets, blocks, `else if`, fn calls */
#define FRONTEND_MAX_EXPR_DEPTH 1000     /* of one expression's tree: a + a + a and - - - a have a level an operator */

/* Parses one source. Syntax errors are in the diag; the tree holds what could be read. */
File *frontend_parse(Arena *, Diag *, const Source *);

/* Reads the files named by `use`, relative to the file that names them. Returns NULL and sets *why when a file cannot be read. */
typedef const Source *(*FrontendReader)(void *self, Arena *, const char *path, const char **why);

typedef struct FrontendOptions {
  FrontendReader read; void *read_self;
  const char *rule;                      /* which rule of the file; NULL: the last one */
  bool compute_f64;                      /* --compute f64 */
  const char *store;                     /* policies: operands that are kept otherwise than the text says: "m=bf16,v=q8[256]"; NULL: none */
  bool store_f64;                        /* with it: f32 operands are f64 in memory too, as recorded f64 data need it; narrow ones that are only read or only written as well */
  bool warnings;
} FrontendOptions;

/* All files a source uses, itself first, each once, parsed. NULL after an error (also for a cycle of `use`). */
typedef struct FileSet { File **files; unsigned n; size_t capacity; } FileSet;
FileSet *frontend_load(Arena *, Diag *, const Source *, const FrontendOptions *);

/* Names, shapes, types, and lowering to graphs. NULL after an error. */
Module *frontend_lower(Arena *, Diag *, const FileSet *, const FrontendOptions *);

void ast_print(const File *, Text *);    /* canonical source text: parsing it again gives the same tree */
#endif
