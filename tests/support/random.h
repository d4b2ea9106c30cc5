/* random.h: the random numbers of tests. Inline and without anything of the project, so that programs for another machine have them too. */
#ifndef OPTC_TESTS_RANDOM_H
#define OPTC_TESTS_RANDOM_H
#include <stdint.h>

/* SplitMix64 (Steele, Lea, Flood 2014): the same numbers from the same state everywhere. */
static inline uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30)*UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27)*UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

/* In [-1, 1): a multiple of 2^-52. */
static inline double random_unit(uint64_t *state) { return (double)(next_random(state) >> 11)*0x1p-52 - 1; }
#endif
