/* genome.h: what a fuzz input says: a module with one graph, a list of passes with arguments, and which data.
 *
 * The first byte chooses the kind. Odd: the rest is .opt text. Even: a head of GENOME_HEAD bytes (declarations, data, what is written),
 * then records of GENOME_RECORD bytes, each of which is one operation of the graph or one pass. A record reads its own bytes only, past its end every
 * decision is 0, and what it refers to is chosen among what there is. So any bytes are a genome, records can be cut out, moved, doubled and
 * taken from another genome, and every graph is well formed by construction. */
#ifndef OPTC_FUZZ_GENOME_H
#define OPTC_FUZZ_GENOME_H
#include "fuzz/oracle.h"

enum { GENOME_HEAD = 64, GENOME_RECORD = 8, GENOME_OPERATIONS = 64, GENOME_FUNCTIONS = 3, GENOME_PASSES = 12 };

/* Module, pipeline and data of the case; arena and diag are given. */
void genome_case(OracleCase *, const uint8_t *data, size_t size);

/* libFuzzer's two doors (mutate.c) use only their seed. */
extern const char *const mutator_names[];
enum { MUTATORS = 10 };

/* How often each was made: `never` lists what no input made yet. Counting costs nothing. */
typedef struct Statistics {
  uint64_t inputs, graphs, well_formed, texts, texts_accepted;
  uint64_t op[OP_COUNT], pass[64], mutator[MUTATORS];
} Statistics;
extern Statistics statistics;
void statistics_print(void);
#endif
