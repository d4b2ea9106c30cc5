/* case.h: one case of the language fuzzer: a whole rule as .opt text whose first comments say which sizes, items and data it is called with. */
#ifndef OPTC_FUZZ_CASE_H
#define OPTC_FUZZ_CASE_H
#include <stddef.h>
#include <stdint.h>

enum { CASE_TEXT = 32768, CASE_SIZES = 8, CASE_ITEMS = 4, CASE_RANK = 4, CASE_MESSAGE = 1024 };

/* What came of a case; the numbers are exit codes of the process that ran it. */
typedef enum Verdict {
  AGREES, REFUSED,                       /* by the front end */
  CALL_REFUSED,                          /* the rule's own requirement, the same everywhere */
  FINDING_COMPILE = 10,                  /* accepted, yet a back end or a level does not take it */
  FINDING_TEXT,                          /* printed, parsed and printed again is another text */
  FINDING_O0, FINDING_O2, FINDING_KERNEL,/* other bits than the graph interpreter */
  FINDING_CALL,                          /* the call failed inside */
  FINDING_MEANING,                       /* the graph interpreter has other bits than the evaluator on the syntax tree */
  FINDING_CRASH, FINDING_TIME
} Verdict;

/* Writes a rule of its own for every number. Returns its length. */
size_t generate_rule(uint64_t seed, char text[CASE_TEXT]);
/* Compiles and calls it; `message` says what was found. `all`: every level and form, else -O0 only. */
Verdict case_run(const char *text, size_t length, char message[CASE_MESSAGE]);
#endif
