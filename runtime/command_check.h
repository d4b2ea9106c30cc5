/* command_check.h: `optc check`: recorded reference data against a rule. Shared by the files command_check*.c. */
#ifndef OPTC_RUNTIME_COMMAND_CHECK_H
#define OPTC_RUNTIME_COMMAND_CHECK_H
#include <jansson.h>
#include <stdbool.h>
#include "runtime/command_run.h"
#include "runtime/optc.h"

typedef enum CheckBackend { CHECK_GRAPH, CHECK_KERNEL, CHECK_JIT, CHECK_AOT, CHECK_PTX } CheckBackend;

typedef struct CheckOptions {
  CheckBackend backend;
  int level;                             /* 0, 1, 2; -1: the default */
  const char *rules;                     /* folder of the rules */
  const char *rule;                      /* a .opt file that replaces the one found there, or NULL */
  bool wide;                             /* arithmetic and tensors in f64, compared with what was recorded in f64 */
  int fast;
  const char *store;                     /* storage policies, or NULL */
  double within;                         /* > 0: the bar of every number, of the largest magnitude of its tensor */
  const char *gpu;                       /* of CHECK_PTX; NULL: the default */
  uint64_t seed;                         /* of CHECK_PTX */
  bool seeded, backend_given;
  bool gradient;                         /* the entry backward against central differences, on random data or that of the file */
  RunWish wish; const char *set[RUN_MAX_SETS]; int n_sets; bool positive;      /* of made-up data */
} CheckOptions;

/* What a file of data is: steps of an optimizer; one call with inputs and outputs; numbers of the host, one a step. */
typedef enum CheckFormat { CHECK_STEPS, CHECK_CALL, CHECK_HOST } CheckFormat;

/* How far a number may be off. A line of the table in command_check.c. */
typedef enum CheckScale { OF_NUMBER, OF_TENSOR } CheckScale;
typedef struct CheckBar {
  const char *rule, *key;                /* patterns of the data's rule, and of the name compared */
  double absolute, relative;             /* |got - want| <= absolute + relative*|want|; OF_TENSOR: of the largest |want| of the tensor */
  CheckScale scale;
  bool restart;                          /* every step begins with what was recorded of the step before */
} CheckBar;

#define CHECK_ENTRIES 8                  /* entries called for one recorded step, at most */

/* What stands in rules/index, or follows from the name. */
typedef struct CheckIndex {
  char file[4096], rule[128];            /* rule: "": the last of the file */
  char entries[CHECK_ENTRIES][64];
  bool listed;                           /* else the rule is guessed from the name */
  int n_entries;                         /* 0: step first, then the others in the order of the text */
} CheckIndex;

typedef struct CheckItem {
  const char *name;
  json_t *json;                          /* its object in the data */
  int64_t *shape, count;
  int rank;
} CheckItem;

/* One file of data and its rule. */
typedef struct Check {
  const char *path;                      /* of the data */
  const char *data_rule;                 /* its key `rule`, or `name` in a list */
  const CheckOptions *options;
  json_t *data;                          /* the whole file, or one of its `list` */
  CheckFormat format;
  bool quiet;                            /* nothing is said of it */
  int nth;                               /* which line of the index: data may be for several rules */
  bool listed;                           /* one of a `list` or of `cases` */
  optc_context *context;
  optc_rule *rule;
  CheckIndex index;
  int steps, n_items, n_hypers, n_operands;
  CheckItem *items;
  optc_hyper_info *hypers; double *hyper_values;
  optc_operand_info *operands;
  const char *family;                    /* key `rule` of the whole file */
  ShapeNames sizes;                      /* of the item at hand */
  const double *globals;                 /* numbers of the call, one an operand */
  json_t *made;                          /* lists that were put together from the data */
  double worst; char worst_place[200];   /* largest error as a part of the bar, and where */
  char first_place[300];                 /* where it departs first */
  long departures, compared;
  char notes[1000];                      /* keys of the data, and parts of the rule, that were not used */
  int status;                            /* exit code of this file so far */
  char problem[2000];                    /* what is wrong with the input, if something is */
  void **memory; size_t n_memory;        /* freed with the check */
} Check;

/* Records what is wrong (the first time) and returns false. `status`: 1 bad input, 70 a defect of optc. */
bool check_bad(Check *, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void check_note(Check *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *check_alloc(Check *, size_t n, size_t size);                        /* zeroed; ends the program when there is no memory */

/* command_check.c */
const CheckBar *check_bar(const Check *, const char *key, bool wide);      /* wide: what was recorded is a result in f64 */

/* command_check_data.c: numbers of the data */
json_t *check_key(json_t *object, const char *path);                      /* "betas[0]", "layers.bias"; NULL: absent, or null */
json_t *check_path(Check *, json_t *object, const char *external);        /* also "code_b{bits}", and a key of every record of a list */
bool check_number(const json_t *, double *);                              /* also "inf", "-inf", "nan", true, false */
bool check_numbers(Check *, const json_t *list, int64_t count, double *out, const char *what, int step, int item);       /* nested lists row by row */
int64_t check_count(const json_t *);                                      /* numbers in nested lists */
int check_depth(const json_t *);                                          /* of nested lists, down to the first number; -1: there is none */
enum { CHECK_AXES = 16 };
int check_extents(Check *, const json_t *shape, const char *of, int64_t *extent);        /* a list as the shape of `of`: its rank, at most CHECK_AXES and 2^30 elements; -1: it is none (recorded) */
bool check_tensors(Check *);                                              /* steps, tensors and shapes */
bool check_host_steps(Check *);                                           /* numbers of the host: as many steps as it has `values` */
bool check_problems(Check *);                                             /* a call: one item, or one of each of `tensors` */
int check_element_type(const char *type, DLDataType *);                   /* bytes an element; 0: not a type that check fills */
bool check_fits(const char *type, double value);                          /* an integer type that has this number, or these bits; a bool: 0 or 1 */
void check_store(const char *type, void *data, int64_t at, double value);
double check_load(const char *type, const void *data, int64_t at);

/* command_check_rule.c: which rule, and its code */
bool check_find(Check *);
bool check_compile(Check *);

/* command_check_made.c: data of a rule that comes without */
bool check_is_rule(const char *path);
bool check_make(Check *);                                                 /* of the compiled rule: Check.data */

/* --- one run of a rule: shared by command_check_run.c, _bind.c, _compare.c, _gradient.c ---------------------------------------------- */
typedef struct CheckRun {
  Check *c;
  int n_items;                           /* of the call */
  optc_item_args *items;
  DLTensor *tensors, **bound;            /* by item and operand, those of the whole call in row n_items; bound: of the next call */
  int64_t *room;                         /* elements behind each tensor */
  double *scalars, *globals, *numbers;   /* numbers: one tensor of the data */
  int64_t n_numbers;
  const double *group;
  int64_t t;
  optc_call_args args;
  optc_error error;
  optc_state_info *states;               /* of one item, as its layout says */
  int param;                             /* the first one; -1: none */
  bool several;                          /* params: an item is several tensors of the data */
  int entries[CHECK_ENTRIES], n_entries; /* in the order of the calls */
} CheckRun;

bool check_run(Check *);
bool check_call(CheckRun *, int entry, int step);                         /* false: refused, and reported */

/* command_check_bind.c: inputs */
typedef enum Bound { READY, LEFT_OUT, BAD } Bound;                        /* LEFT_OUT: the data has no input for the entry at this step */
bool check_hypers(CheckRun *, int variant, int *n_variants);
bool check_memory(CheckRun *);
bool check_states(CheckRun *);                                            /* memory of states with their own shape, as the layout says */
Bound check_bind(CheckRun *, int entry, int step);                        /* step -1: before the first (init), with what the first step has */
bool check_master(CheckRun *);
bool check_restart(CheckRun *, int step);
DLTensor *check_tensor(CheckRun *, int item, int operand);                /* item n_items: of the whole call */
double *check_scalar(CheckRun *, int item, int operand);
void check_shape(CheckRun *, int item, int operand, int rank, const int64_t *extent);      /* and memory for it, 0 where it is new */
int64_t check_elements(const DLTensor *);
int check_tensor_of(CheckRun *, int item, int operand);                   /* which of `tensors` an operand of an item is; -1: none */

/* command_check_compare.c: results */
typedef struct Want { const char *key, *tensor; int step; bool scaled, wide; } Want;     /* scaled: the bar goes with the largest magnitude; wide: recorded in f64 */
void check_one(Check *, const Want *, const CheckBar *, int64_t at, double got, double want, double largest);
bool check_params(CheckRun *, const char *key, json_t *lists, int step, bool wide);
bool check_outputs(CheckRun *, int entry, int step);
bool check_per_step(CheckRun *, int step);
bool check_final(CheckRun *);
bool check_results(CheckRun *, int entry);                                /* of one call: `outputs`, or `grads` for the entry backward */
json_t *check_recorded(Check *, const char *key, bool *wide);             /* a key of the whole file, its _f64 form where that is asked for */
void check_unused(CheckRun *);

/* command_check_gradient.c */
bool check_has_gradient(Check *);                             /* reports a rule without */
bool check_gradient(CheckRun *);
#endif
