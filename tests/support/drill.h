/* drill.h: one rule on made-up data: its entries in turn for some steps, and what came out, to be compared in every bit between ways to run it.
 *
 * Links with nothing but the C library and values.c (of the project only headers), so that the same drill also runs in a program for another machine. */
#ifndef OPTC_TESTS_DRILL_H
#define OPTC_TESTS_DRILL_H
#include <stdbool.h>
#include <stdio.h>
#include "ir/frame.h"
#include "tests/support/fence.h"

typedef struct DrillRule {
  const optc_rule_desc *desc;
  int (*call)(void *self, int64_t entry, const optc_call *);
  size_t (*workspace)(void *self, const optc_call *);
  void *self;
  int (*layout)(void *self, const optc_call *, int64_t item, optc_state_info *);      /* trials only */
} DrillRule;

typedef struct DrillPlan {
  const int64_t *counts; int n_items;    /* elements by item; an item of one element has rank 0, the others rank 1 */
  int n_groups, steps;
  uint64_t seed;                         /* odd: the drill begins late (large t) */
  bool any_bits;                         /* tensors hold arbitrary bits; else mostly moderate numbers, every eighth a special one */
} DrillPlan;

typedef enum DrillCut {
  DRILL_WHOLE,                           /* one call for the list */
  DRILL_LISTS,                           /* two calls, each a part of the list */
  DRILL_SHARDS                           /* a call for every chunk of every item, the last first */
} DrillCut;

typedef struct DrillWay {
  const optc_parallel *parallel;
  DrillCut cut;
  bool hostile;                          /* the caller flushes subnormals and rounds upwards */
  Fence fence;                           /* trials only: where the operands, the structs of the call and the workspace lie */
} DrillWay;

typedef struct Drill Drill;
/* Data, and hyper-parameters away from their defaults wherever the rule's requirements let them be. NULL: out of memory. The rule outlives the drill. */
Drill *drill_new(const DrillRule *, const DrillPlan *);
void drill_free(Drill *);
/* Runs the drill from its beginning; the rule may be another form of the one that the drill was made with. */
void drill_run(Drill *, const DrillRule *, const DrillWay *);
void drill_keep(Drill *);                /* what came out last is what later runs are compared with */
/* NULL: the last run gave the kept bits (NaN is one value) and touched nothing else; otherwise a text that tells the first difference. */
const char *drill_difference(Drill *);
/* What came out last, NaN made one value: same bytes on every machine. */
void drill_write(Drill *, FILE *);
bool drill_read(Drill *, FILE *);        /* takes the place of the last run's outcome; false: the file is short */
/* Whether every entry goes element by element, so that lists and tensors may be cut: rules for which drills are made. Others have trials (trial.h). */
bool drill_elementwise(const optc_rule_desc *);
#endif
