/* run.h: one case being called: its sizes, operands and data; shared by the oracle of machine code (run.c) and that of the meaning (meaning.c). */
#ifndef OPTC_FUZZ_RUN_H
#define OPTC_FUZZ_RUN_H
#include "frontend/frontend.h"
#include "fuzz/language/case.h"
#include "runtime/optc.h"

enum { CASE_SEED = 77 };

typedef struct Item { int rank; int64_t shape[CASE_RANK]; } Item;
typedef struct Mark { size_t at; char text[48]; } Mark;
typedef struct Log { uint8_t *bytes; size_t n; Mark *marks; int n_marks; bool called; int code; } Log;
typedef struct Meaning Meaning;
typedef struct Run {
  Arena *arena;
  uint64_t seed;
  bool wild;
  struct { char name; int64_t value; } size[CASE_SIZES]; int n_sizes;
  Item item[CASE_ITEMS]; int n_items;
  optc_rule *rule;
  int n;
  optc_operand_info *operand;
  DLTensor **bound;                      /* item*n + operand */
  double *scalar, *global;
  DLTensor **global_tensor;
  int64_t t;
  Log *log;
  Meaning *meaning;                      /* NULL: another form has been held against it */
} Run;

const Source *no_files(void *self, Arena *, const char *path, const char **why);

/* The same calls through the evaluator on the syntax tree (tests/evaluator). meaning_run stands before the call and takes its data from the
 * memory of that call; meaning_compare stands after it. */
Meaning *meaning_new(Arena *, const char *text, size_t length);
void meaning_run(Meaning *, Run *, const char *entry);
void meaning_compare(Meaning *, Run *, const char *entry, int code);
bool meaning_trouble(const Meaning *, char message[CASE_MESSAGE]);       /* whether something differed, and what first */
#endif
