/* orders.h: two orders of the language (section 5) in plain C, written from its text: what sums have to be, bit for bit. Inline and without anything of the project. */
#ifndef OPTC_TESTS_ORDERS_H
#define OPTC_TESTS_ORDERS_H
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* Blocks of 1,024 in 16 interleaved lanes, halves of lanes added, then neighbours in pairs. */
static inline float plain_lanes(const float *x, int64_t n) {
  int64_t blocks = (n + 1023)/1024;
  float *level = calloc((size_t)blocks + 1, sizeof *level);
  for (int64_t b = 0; b < blocks; b++) {
    float lane[16] = {0};
    for (int64_t i = 1024*b; i < n && i < 1024*(b + 1); i++) lane[i%16] += x[i];
    for (int half = 8; half; half /= 2) for (int k = 0; k < half; k++) lane[k] += lane[k + half];
    level[b] = lane[0];
  }
  for (; blocks > 1; blocks = (blocks + 1)/2)
    for (int64_t i = 0; i < (blocks + 1)/2; i++) level[i] = 2*i + 1 < blocks ? level[2*i] + level[2*i + 1] : level[2*i];
  float sum = level[0];
  free(level);
  return sum;
}

/* Chains of fused multiply-adds in blocks of 512, which are added in order. */
static inline float plain_contract(const float *a, const float *b, int64_t n) {
  float total = 0;
  for (int64_t low = 0; low < n; low += 512) {
    float acc = 0;
    for (int64_t i = low; i < n && i < low + 512; i++) acc = fmaf(a[i], b[i], acc);
    total += acc;
  }
  return total + 0.0f;
}
#endif
