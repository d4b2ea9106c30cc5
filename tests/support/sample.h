/* sample.h: rules built by hand as graphs, for tests that need no front end. Each covers constructs that the others lack. */
#ifndef OPTC_TESTS_SAMPLE_H
#define OPTC_TESTS_SAMPLE_H
#include "ir/graph.h"

typedef enum Sample {
  SAMPLE_ADAMW,                          /* AdamW with beta^t by powi: f64 scalars, three writes, a requirement */
  SAMPLE_MOMENTUM,                       /* state under a condition, bool hyper, select, bf16 state */
  SAMPLE_SCALARS,                        /* item scalars and global states that read each other, optional input, output that may be absent, flush */
  SAMPLE_SWAP,                           /* two tensors exchanged: reads see entry values */
  SAMPLE_BRANCHES,                       /* writes under different conditions, integers, a power an element */
  SAMPLE_SCANS,                          /* scans: reverse, nested, of numbers and of elements */
  SAMPLE_COUNT
} Sample;
Module *sample_module(Arena *, Diag *, Sample);
extern const char *const sample_names[SAMPLE_COUNT];
#endif
