/* forms.h: a rule in all its forms, on made-up data: the graph interpreter, the kernels at -O0 and -O2 interpreted, machine code of both. They have to give the same bits.
 *
 * A Forms owns an arena, in which its data and what is saved of it lie too; forms_drop ends all. */
#ifndef OPTC_TESTS_NEST_FORMS_H
#define OPTC_TESTS_NEST_FORMS_H
#include "ir/graph.h"
#include "runtime/interp.h"
#include "runtime/jit.h"

enum { MOST_OPERANDS = 16, MOST_RANK = 6, FORMS = 5 };

typedef struct Forms {
  Arena *arena;
  Module *module;
  const optc_rule_desc *desc[FORMS];
  Jit *jit[2];
  optc_rule *rule[3];
  uint64_t seed;                         /* of the next data */
} Forms;
extern const char *const form_names[FORMS];

void forms_read(Forms *, const char *text);                              /* of a module's text; what is wrong with it is fatal to the test */
void forms_finish(Forms *, Diag *);                                      /* of a module and an arena that are there */
void forms_drop(Forms *);
void forms_say(const Diag *);

typedef struct Tensor { char *data; int64_t shape[MOST_RANK], rank, count; size_t bytes; } Tensor;
typedef struct Data {
  Forms *forms;
  unsigned n_items, n;
  Tensor *tensor;                        /* item*n + operand; those of the call with item 0 */
  char *items, *global, *hyper, *workspace;
  int64_t *item_shape;
  size_t workspace_size;
  optc_error error;
} Data;

enum { DATA_SPECIAL = 1,                 /* infinities, NaN, zeros and subnormals among the numbers */
       DATA_MATRICES = 2 };              /* items have rank 2 where that can be */
/* `shapes`: "x 3 257;q 9": the extents of tensors whose shape the caller chooses; items have counts[i] elements. */
void forms_data(Data *, Forms *, unsigned n_items, const int64_t *counts, const char *shapes, unsigned flags);
/* Runs an entry in every form; the data then hold the result. What the graph interpreter returns is what all must return. */
int forms_run_entry(Data *, unsigned entry, const char *what);
void forms_run(Data *, const char *what);                                /* the main entry */
Tensor *forms_tensor(Data *, unsigned item, const char *name);
float *forms_floats(Data *, const char *name);                           /* of item 0 */
bool same_float(float, float);           /* bits; NaN is one value */
#endif
