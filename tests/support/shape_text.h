/* shape_text.h: shapes from their text in a descriptor, `[B, 2*N-1, (N+c-1)//c, min(C, 4), flat C]`. Links with nothing but the C library; keeps nothing. */
#ifndef OPTC_TESTS_SHAPE_TEXT_H
#define OPTC_TESTS_SHAPE_TEXT_H
#include <stddef.h>
#include "ir/frame.h"

enum { SHAPE_AXES = 8, SHAPE_NAMES = 64, SHAPE_NAME = 32 };
typedef struct ShapeValue { int64_t rank, axis[SHAPE_AXES]; } ShapeValue;

typedef int64_t ShapeSize(const void *self, const char *name, size_t length);           /* what a name of the text is worth */
ShapeValue shape_read(const char *text, ShapeSize *, const void *self);
int shape_names(const optc_rule_desc *, char (*names)[SHAPE_NAME]);       /* of the sizes of the inputs, in their order: how many, SHAPE_NAMES at most */
size_t shape_word(const char *);         /* the length of the name or number that a text begins with */
#endif
