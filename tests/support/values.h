/* values.h: made-up values of tensors and numbers, the same on every machine, and what to compare them by. Links with nothing but the C library; keeps nothing but the
 * caller's state of random.h. Types are numbers of ir/type.h, as descriptors have them. */
#ifndef OPTC_TESTS_VALUES_H
#define OPTC_TESTS_VALUES_H
#include <stdbool.h>
#include <stdint.h>

/* An element in memory: mostly moderate floats, every eighth special (zeros, subnormals, infinities, NaN) or, with any_bits, arbitrary ones; integers of all sizes. */
void value_make_up(char *at, int64_t type, uint64_t *s, bool any_bits, bool positive);
/* Floats within 2, none but 0 small: of few bits, whose products are exact, or dense, whose products are rounded. */
void value_moderate(char *at, int64_t type, uint64_t *s, bool positive, bool dense);
uint64_t value_number(int64_t type, uint64_t *s);                        /* a number in a struct: a double, or an int64_t */
bool value_is_nan(uint64_t bits, int64_t type);
uint64_t value_load(const char *at, int64_t bytes);
#endif
