/* genome.h: what a fuzz input says: a stream of decisions that makes a module with one graph, and a list of passes with arguments.
 *
 * The first byte chooses the kind: even: graph and passes; odd: the rest is .opt text. Decisions are read front to back; past the end
 * every decision is 0, so any bytes are a genome, and a prefix of a genome is one too (reduction by cutting works). */
#ifndef OPTC_FUZZ_GENOME_H
#define OPTC_FUZZ_GENOME_H
#include "ir/graph.h"
#include "passes/pass.h"

typedef struct Decisions { const uint8_t *data; size_t size, at; } Decisions;
unsigned decide(Decisions *, unsigned n);              /* 0..n-1; reads a byte, or two when n > 256 */
Bits decide_value(Decisions *, Type);                  /* from the pool of special values, or raw bits */

/* A module with the operands every optimizer has, and an entry `step` of up to ~60 operations. Always well formed. */
Module *genome_module(Arena *, Diag *, Decisions *);
/* Up to 12 steps: graph passes, `lower`, kernel passes, each with arguments, repetition allowed. */
Pipeline genome_pipeline(Arena *, Decisions *);

/* Data of one item for the module: bits of every operand, hyper-parameters, t. */
typedef struct Data {
  int64_t count, t;
  void **tensor;                                       /* one an operand, count elements of its storage type */
  uint8_t *item, *global, *hyper;                      /* R_item, R_global, R_hyper */
  size_t item_size, global_size, hyper_size;
} Data;
Data *data_make(Arena *, const Module *, Decisions *);
Data *data_copy(Arena *, const Module *, const Data *);
/* First difference as text, or NULL when equal (NaN as one value). */
const char *data_difference(Arena *, const Module *, const Data *, const Data *);
#endif
