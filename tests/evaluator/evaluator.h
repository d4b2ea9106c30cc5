/* evaluator.h: the meaning of a rule, read off its syntax tree: plain, slow, and sharing nothing with lowering, passes or interpreters.
 *
 * A rule is called with sets of named arrays, one set an item and one for the whole call. Arrays have the names that the rule's
 * declarations give them (a state that `apply` brings in under a name already taken: "rule/name"), hold numbers widened to f64 (codes
 * of quantised states too), and are made by the evaluator where they are missing: states by evaluator_init, results by evaluator_run. Errors are
 * values: false, and the reason in `message`. */
#ifndef OPTC_TESTS_EVALUATOR_H
#define OPTC_TESTS_EVALUATOR_H
#include "frontend/frontend.h"

#define EVAL_MAX_RANK 8

typedef struct EvalArray {
  const char *name;
  unsigned rank;
  int64_t shape[EVAL_MAX_RANK];
  int64_t count;
  double *data;
} EvalArray;

typedef struct EvalSet { EvalArray *at; unsigned n; size_t capacity; } EvalSet;
typedef struct EvalNumber { const char *name; double value; } EvalNumber;

typedef struct EvalCall {
  Arena *arena;                          /* the sets' memory */
  const FileSet *files;                  /* frontend_load */
  const char *rule;                      /* NULL: the last one of the first file */
  const char *entry;                     /* NULL: the main body; "backward": generated if the rule has `backward` and no entry of that name */
  bool f64;                              /* everything in f64 */
  EvalNumber *hyper; unsigned n_hyper;   /* all items form one group */
  EvalSet *items; unsigned n_items;      /* rules without a param: one set */
  EvalSet *global;                       /* `global` operands and states; may be NULL */
  int64_t t;                             /* the step this call is (from 1); 0 where there is none */
  uint64_t seed;
  int64_t first_item;                    /* place of the first item in the whole model's list */
  bool skipped;                          /* result: `skip if` held */
  bool loose;                            /* result: a function went through the C library: its last bits, and what depends on them, are no claim */
  char message[512];
} EvalCall;

const Rule *evaluator_rule(const FileSet *, const char *name);
bool evaluator_init(EvalCall *);              /* makes the states, in their sets */
bool evaluator_run(EvalCall *);

EvalArray *evaluator_find(const EvalSet *, const char *name);
/* Copies the data (NULL: zeros) to an array of this name. */
EvalArray *evaluator_set(Arena *, EvalSet *, const char *name, unsigned rank, const int64_t *shape, const double *data);
EvalArray *evaluator_set_number(Arena *, EvalSet *, const char *name, double value);

double evaluator_round(const char *type, double value);       /* to a storage type and back: f32 bf16 f16 f64 i32 i8 u8 int bool */
#endif
