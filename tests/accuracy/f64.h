/* f64.h: the second table: f64 functions on random operands against MPFR. */
#ifndef OPTC_TESTS_ACCURACY_F64_H
#define OPTC_TESTS_ACCURACY_F64_H
#include <stdbool.h>
#include <stdio.h>

/* `operands` of each function; rows go to every stream of `out` that is not NULL. false when a function does not compile, or an error
 * of 1 ulp or more, or a wrong zero, infinity or NaN was seen. */
bool accuracy_f64(FILE *const out[2], const char *folder, bool gcc, long operands);
#endif
