/* command_shape.h: shapes as a rule writes them, "[B, H, T//c, D]": sizes found in extents, extents computed from sizes. For `optc check` and `optc run`. */
#ifndef OPTC_RUNTIME_COMMAND_SHAPE_H
#define OPTC_RUNTIME_COMMAND_SHAPE_H
#include <stdbool.h>
#include <stdint.h>

enum { SHAPE_MAX = 64 };                 /* axes of a tensor; names */
typedef struct ShapeNames { struct { char name[48]; int64_t value; } at[SHAPE_MAX]; int n; } ShapeNames;

void shape_set(ShapeNames *, const char *name, int64_t value);           /* a name that is there already keeps its value */
/* Learns the names that stand alone, then those that one dimension determines (`S + 1`, `2*H`). */
void shape_learn(ShapeNames *, const char *text, int rank, const int64_t *extent);
/* The extents that a text says; `...` is no axis. How many; -1: a name is not known (its place in *unknown), or the text cannot be read here. */
int shape_evaluate(const ShapeNames *, const char *text, int64_t *extent, char unknown[48]);
/* The same for a tensor of `count` elements, where one dimension may be unknown. */
int shape_of_count(const ShapeNames *, const char *text, int64_t count, int64_t *extent);
#endif
