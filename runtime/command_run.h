/* command_run.h: what is made up of a rule's tensors and hyper-parameters, for `optc run` and `optc check --gradient`. */
#ifndef OPTC_RUNTIME_COMMAND_RUN_H
#define OPTC_RUNTIME_COMMAND_RUN_H
#include "runtime/command_shape.h"
#include "runtime/optc.h"

enum { RUN_MAX_SETS = 64 };
typedef struct RunShape { bool known; int rank; int64_t extent[SHAPE_MAX]; } RunShape;
/* What was asked for: `--shape Q=2,4,64,32`, `--size N=1024,D=64`, elements of an item. */
typedef struct RunWish { const char *shape[RUN_MAX_SETS]; int n_shapes; ShapeNames sizes; int64_t elements; bool elements_given; } RunWish;

/* One shape an operand; those of states with their own shape are left to the layout. -1, or the exit code after an error that was reported. */
int run_shapes(const optc_rule *, const RunWish *, const double *hyper, RunShape *);
int run_sizes(const char *text, ShapeNames *);

/* command_set.c: values of all hyper-parameters: defaults, and what `--set NAME=X` gave. -1, or the exit code after an error that was reported. */
int command_hypers(const optc_rule *, const char *const *set, int n_sets, double *out);
#endif
