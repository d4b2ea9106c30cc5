/* command_check.h: `optc check`: recorded reference data against a rule. Shared by the files command_check*.c. */
#ifndef OPTC_RUNTIME_COMMAND_CHECK_H
#define OPTC_RUNTIME_COMMAND_CHECK_H
#include <jansson.h>
#include <stdbool.h>
#include "runtime/optc.h"

typedef enum CheckBackend { CHECK_INTERP, CHECK_KERNELS, CHECK_JIT, CHECK_AOT } CheckBackend;

typedef struct CheckOptions {
  CheckBackend backend;
  int level;                             /* 0, 1, 2; -1: the default */
  const char *rules;                     /* folder of the rules */
  const char *rule;                      /* a .opt file that replaces the one found there, or NULL */
} CheckOptions;

#define CHECK_ENTRIES 8                  /* entries called for one recorded step, at most */

/* What stands in rules/index, or follows from the name. */
typedef struct CheckIndex {
  char file[4096], rule[128];            /* rule: "": the last of the file */
  char entries[CHECK_ENTRIES][64];
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
  bool host;                             /* no tensors: numbers of the host, one a step */
  optc_context *context;
  optc_rule *rule;
  CheckIndex index;
  int steps, n_items, n_hypers, n_operands;
  CheckItem *items;
  optc_hyper_info *hypers; double *hyper_values;
  optc_operand_info *operands;
  double absolute, relative;             /* the bar: |got - want| <= absolute + relative*|want| */
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

/* command_check_data.c: numbers of the data */
json_t *check_key(json_t *object, const char *path);                      /* "betas[0]", "layers.bias"; NULL: absent, or null */
bool check_number(const json_t *, double *);                              /* also "inf", "-inf", "nan", true, false */
bool check_numbers(Check *, const json_t *list, int64_t count, double *out, const char *what, int step, int item);
bool check_tensors(Check *);                                              /* steps, tensors and shapes */
bool check_host_steps(Check *);                                           /* steps of an element of a `list`: as many as it has `values` */
bool check_is_tensors(const json_t *);                                    /* one list of numbers a tensor, not a list of those */
int check_element_type(const char *type, DLDataType *);                   /* bytes an element; 0: not a type that check fills */
void check_store(const char *type, void *data, int64_t at, double value);
double check_load(const char *type, const void *data, int64_t at);

/* command_check_rule.c: which rule, and its code */
bool check_find(Check *);
bool check_compile(Check *);

/* command_check_run.c: calls and comparisons */
bool check_run(Check *);
#endif
