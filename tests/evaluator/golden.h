/* golden.h: recorded data (tests/golden) run on a rule with the evaluator. */
#ifndef OPTC_TESTS_EVALUATOR_GOLDEN_H
#define OPTC_TESTS_EVALUATOR_GOLDEN_H
#include "evaluator.h"

typedef struct GoldenRow {               /* one quantity: the largest of |got - want|/tolerance over all steps and tensors */
  char name[64];
  double ratio, got, want, tolerance;
  long step, tensor, element, compared;
} GoldenRow;

typedef struct GoldenReport { GoldenRow *rows; unsigned n; size_t capacity; unsigned untested; char message[768]; char note[512]; } GoldenReport;

/* `rule`: an .opt file, or a folder with an `index` (the data's name finds the rule). False: the rule does not parse or run, or the
 * data cannot be read (message). Numbers that differ are in the rows: ratio > 1. */
bool golden_run(Arena *, const char *rule, const char *data, bool f64, GoldenReport *);
#endif
