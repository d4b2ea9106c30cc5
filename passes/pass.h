/* pass.h: what a pass is, and the pipelines.
 *
 * A pass turns a graph into a graph or a program into a program, is one file with one function of this signature, and
 * says whether it is exact (keeps every bit of the meaning). passes/passes.def lists them all, in the order of the default
 * pipelines, which is told there alone; a pipeline is data ("expand,canon,fold,lower,fuse,vectorise(lanes=16,unroll=2)"). */
#ifndef OPTC_PASSES_PASS_H
#define OPTC_PASSES_PASS_H
#include "ir/graph.h"
#include "ir/kernel.h"

typedef enum PassForm { PASS_GRAPH, PASS_LOWER, PASS_KERNEL } PassForm;   /* LOWER: the one step from graph to program */

typedef struct Unit {                    /* one entry on its way */
  const Module *module;
  Arena *arena;
  Diag *diag;
  Graph *graph;
  Program *program;                      /* NULL until lowered */
  bool scheduled;                        /* by pass `schedule`: `lower` has nothing to do */
  bool gpu;                              /* GPUs run the program too: many threads share its loops, and none has much room of its own */
} Unit;

typedef struct PassArgs { int64_t lanes, unroll, limit; } PassArgs;       /* what may stand in brackets; 0: not given */
enum { PASS_TAKES_LANES = 1, PASS_TAKES_UNROLL = 2, PASS_TAKES_LIMIT = 4 };
typedef void (*PassRun)(Unit *, const PassArgs *);

typedef struct Pass {
  const char *name, *summary;
  PassForm form;
  bool exact, required;                  /* required: lowering needs it, so -O0 runs it too */
  int since;                             /* lowest -O level that runs it by default */
  unsigned takes;                        /* PASS_TAKES_* */
  PassRun run;
} Pass;
extern const Pass passes[];
extern const unsigned n_passes;
extern const Pass *const pass_order[];                                   /* of the default pipelines; some passes run more than once */
extern const unsigned n_pass_order;
const Pass *pass_find(const char *name);

typedef struct Step { const Pass *pass; PassArgs args; } Step;
typedef struct Pipeline { Step *steps; unsigned n; } Pipeline;
Pipeline pipeline_default(Arena *, int level, bool fast);                /* 0, 1, 2; fast: and what is not exact */
bool pipeline_parse(Arena *, Diag *, const char *text, Pipeline *);      /* false after an error; repeats are allowed */

typedef struct PassTrace {               /* all optional */
  const char *print_after;               /* a pass's name, or "all" */
  bool verify_each, time;
  void (*printed)(void *self, const char *entry, const char *pass, const char *text);
  void (*timed)(void *self, const char *entry, const char *pass, double seconds);
  void *self;
} PassTrace;
/* Runs a pipeline on one entry. false after an error (an unlowered construct, a verifier finding). */
bool pipeline_run(Unit *, const Pipeline *, const PassTrace *);

/* The expansions of functions (passes/expand*.c), for whoever evaluates a function alone: a graph node for op(args). */
const Node *expand_function(Graph *, Op, Type, unsigned n_args, const Node *const *args);
/* A graph without function nodes. */
Graph *expand_graph(const Graph *);
/* The same expansion of the extents of operands, in place. */
void expand_shapes(Module *);
/* Adds entry `backward` to a module whose rule declares it (language reference, section 6), before the passes. false after an error. */
bool gradient_build(Module *, Diag *);
#endif
