/* rule_call.h: what the files rule*.c share: errors of calls, and the structs that are built for one. Private to them.
 *
 * A RawCall belongs to the function that builds it, also where building fails: it frees `block` and `workspace`. What its structs point to is the caller's. */
#ifndef OPTC_RUNTIME_RULE_CALL_H
#define OPTC_RUNTIME_RULE_CALL_H
#include "runtime/rule.h"

/* Texts that name an operand: error texts must outlive the call, so the rule has them all. */
typedef enum RuleText { TEXT_MISSING, TEXT_TYPE, TEXT_DEVICE, TEXT_GPU, TEXT_STRIDED, TEXT_RANK, TEXT_EXTENT, TEXT_SCALAR, TEXT_COUNT_OF, TEXT_NO_SHAPE, TEXT_NO_RANK, TEXT_NEGATIVE, TEXT_COUNT } RuleText;

/* Fill the error, if there is one, and return the code; rule_fail_of: about an operand. */
int rule_fail(optc_error *, int code, const char *text, int64_t item, int n, double a, double b, double c);
int rule_fail_of(const optc_rule *, optc_error *, int code, int64_t operand, RuleText, int64_t item, int n, double a, double b, double c);
const char *rule_hyper_text(const optc_rule *, int64_t hyper);           /* it does not take this number */
int64_t rule_entry_at(const optc_rule *, int64_t entry);                 /* a caller's number of an entry as the descriptor counts them; -1: there is none */

typedef struct RawCall {                 /* the rule's own structs, built for one call */
  optc_call call;
  char *block;                           /* one allocation: groups, global, items */
  void *workspace;
} RawCall;

static inline size_t rule_align64(size_t n) { return (n + 63) & ~(size_t)63; }
bool rule_is_dense(const int64_t *shape, const int64_t *stride, int64_t rank);      /* row-major without gaps, or empty: then the strides (NULL: dense) are not passed on */
/* `entry` as the descriptor counts, `given` as the caller does. A status. */
int rule_build(const optc_rule *, int64_t entry, int64_t given, const optc_call_args *, const RuleWay *, RawCall *);
void rule_copy_back(const optc_rule *, int64_t entry, const optc_call_args *, const RawCall *);       /* what the entry wrote into the structs */
#endif
