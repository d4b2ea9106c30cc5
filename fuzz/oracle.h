/* oracle.h: one entry on made-up data before and after every pass, compared bit for bit: what the fuzzer and the replay of its findings agree on.
 *
 * Data come from the module and one number alone, so a finding is a text: the module, the passes and that number. */
#ifndef OPTC_FUZZ_ORACLE_H
#define OPTC_FUZZ_ORACLE_H
#include "ir/interpret.h"
#include "passes/pass.h"

typedef struct OracleCase {
  Arena *arena;
  Diag *diag;
  Module *module;
  const Graph *graph;                    /* one of the module's */
  Pipeline pipeline;
  uint32_t data;                         /* low 3 bits: how many elements; the rest: which values */
  bool may_refuse;                       /* the pipeline may end with a diagnostic ("not supported yet"); else that is a finding */
  bool texts;                            /* also print and parse every form back */
} OracleCase;

typedef struct OracleFinding { const char *what, *detail; const Program *program; const Graph *graph; } OracleFinding;

/* Whether an interpreter can run it: all tensors of the item's shape, no operation without evaluation. */
bool oracle_can_run(const OracleCase *);
/* Verifies, runs, compares. true: nothing found. `what` is the name of the pass that changed the meaning, or a sentence. */
bool oracle_check(const OracleCase *, OracleFinding *);
/* The case as a text that oracle_read takes: "# passes: ..." and "# data: N", then the module. */
void oracle_print(const OracleCase *, Text *);
bool oracle_read(OracleCase *, const Source *);                            /* arena and diag are given */
#endif
