/* made_up.h: made-up calls, the same for the evaluator and for what is compared with it. */
#ifndef OPTC_TESTS_EVALUATOR_MADE_UP_H
#define OPTC_TESTS_EVALUATOR_MADE_UP_H
#include "evaluator.h"

double made_up_number(const char *type, uint64_t *seed);          /* a storage type; some are 0, some small */
const Decl *made_up_decl(const StmtList *, const char *name);     /* the declaration of an operand, also inside `if` and `entry` */
/* A shape for a declaration. base 0: sizes from 2 to 5, by their first letter; else all sizes are `base`. The size `long_name` (or NULL) is `length`. */
typedef struct MadeUp { int64_t base; const char *long_name; int64_t length; } MadeUp;
void made_up_shape(const Decl *, const MadeUp *, unsigned *rank, int64_t *shape);
unsigned made_up_sizes(const StmtList *, const char **names, unsigned room);          /* names of the sizes of all `in`s */
double made_up_hyper(const HyperDecl *, int64_t base);            /* one without a default */

/* Numbers as they lie in memory: f32 f64 bf16 f16 i32 i8 u8 bool i64. */
unsigned memory_bytes(const char *type);                          /* 0: no such type */
double memory_load(const char *type, const void *data, int64_t at);
void memory_store(const char *type, void *data, int64_t at, double v);
/* Equal bits, nan is one value; `slack`: how far they may be apart, relative. */
bool memory_same(double a, double b, double slack);
#endif
