/* trial.h: one rule of any shapes on made-up data that fits it: sizes and hyper-parameters are found by trying, guided by what the calls refuse; then its entries
 * in turn, and what came out, to be compared in every bit between ways to run it. (drill.h has longer lists of items for rules that go element by element.)
 *
 * Links with nothing but the C library, drill.c, fence.c, shape_text.c and values.c, and finds the same data on every machine. */
#ifndef OPTC_TESTS_TRIAL_H
#define OPTC_TESTS_TRIAL_H
#include "tests/support/drill.h"
#include "tests/support/shape_text.h"

/* Numbers of few bits; every eighth a special one; arbitrary bits; numbers, but every param is 0; numbers whose products are rounded. */
typedef enum TrialData { TRIAL_MODERATE, TRIAL_SPECIAL, TRIAL_ANY_BITS, TRIAL_ZEROS, TRIAL_DENSE } TrialData;
enum { TRIAL_ITEMS = 4 };
typedef ShapeValue TrialShape;

typedef struct TrialPlan {
  uint64_t seed;                         /* 0: hyper-parameters with a default keep it where that fits */
  TrialData data;
  int steps;
  TrialShape item[TRIAL_ITEMS]; int n_items;     /* of rules with tensors as the item; 0: small ones of each rank */
  bool exact;                            /* no other items are tried where these do not fit */
  Fence fence;                           /* of the first run */
  int long_size; int64_t length;         /* that size, by number, is so long; length 0: all are small */
} TrialPlan;

typedef struct Trial Trial;
/* After a first run, as trial_run does it. NULL: nothing was found that the rule takes. The rule outlives the trial. */
Trial *trial_new(const DrillRule *, const TrialPlan *);
void trial_free(Trial *);
int trial_sizes(const optc_rule_desc *); /* named sizes of its inputs: long_size is below that */
void trial_run(Trial *, const DrillRule *, const DrillWay *);    /* the rule, or another form of it */
void trial_keep(Trial *);
const char *trial_difference(Trial *);   /* as drill_difference */
const char *trial_not_finite(Trial *);   /* NULL: every param has finite numbers; else which has not */
const char *trial_shapes(Trial *);       /* the shapes as text */
void trial_write(Trial *, FILE *);
bool trial_read(Trial *, FILE *);
#endif
