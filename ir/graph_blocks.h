/* graph_blocks.h: softmax-weighted sums and logsumexp in blocks of 256 that are merged (language reference, section 5); for the graph interpreter. */
#ifndef OPTC_IR_GRAPH_BLOCKS_H
#define OPTC_IR_GRAPH_BLOCKS_H
#include "ir/graph.h"

/* A formula with room for one block of values. */
typedef struct FormulaRun { const Formula *formula; Bits **value; bool *live; } FormulaRun;
FormulaRun formula_run_new(Arena *, const Formula *, size_t most);

typedef struct Attender {
  Type type;
  FormulaRun exponential;
  unsigned n_factors, in_block;
  Bits *score, **factor, *weight;        /* of the block */
  Bits m, l, n;
  bool any;                              /* a block counted */
} Attender;

Attender *attender_new(Arena *, Type, const Formula *exponential, unsigned n_factors);
void attender_start(Attender *);
void attender_feed(Attender *, const Bits *s, size_t s_step, const Bits *const *v, const size_t *v_step, size_t n);
void attender_end(Attender *);           /* m, l and n are those of all blocks */
Bits attender_result(const Attender *);  /* n/l, or 0 */
Bits attender_logsumexp(const Attender *, const FormulaRun *logarithm);
void attender_softmax(const Attender *, const Bits *s, size_t n, Bits *out);   /* after attender_end; n <= SOFTMAX_BLOCK */
#endif
