/* mutate.c: libFuzzer's mutator and crossover: records are inserted, cut out, doubled, moved and changed; text is libFuzzer's own business.
 *
 * Both use nothing but their seed, so a campaign can be run again. A mutator that never changes anything is a mistake: see the statistics. */
#include "fuzz/genome.h"
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t max_size, unsigned int seed);

const char *const mutator_names[] = {"head", "insert operation", "insert pass", "change a byte", "change a record", "cut", "double", "exchange", "text", "crossover"};
enum { HEAD, INSERT, INSERT_PASS, BYTE, RECORD, CUT, DOUBLE, EXCHANGE, TEXT, CROSSOVER };

static uint32_t next(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

typedef struct Genome { uint8_t *data; size_t size, max; uint32_t seed; } Genome;

static size_t records(const Genome *g) { return g->size > GENOME_HEAD ? (g->size - GENOME_HEAD) / GENOME_RECORD : 0; }
static uint8_t *record(const Genome *g, size_t k) { return g->data + GENOME_HEAD + k * GENOME_RECORD; }

/* Room for a record in front of record k; NULL when there is none. */
static uint8_t *open_gap(Genome *g, size_t k) {
  if (g->size + GENOME_RECORD > g->max) return NULL;
  memmove(record(g, k + 1), record(g, k), (records(g) - k) * GENOME_RECORD);
  g->size += GENOME_RECORD;
  return record(g, k);
}

static bool insert(Genome *g, bool pass) {
  uint8_t *to = open_gap(g, next(&g->seed) % (records(g) + 1));
  for (unsigned i = 0; to && i < GENOME_RECORD; i++) to[i] = (uint8_t)next(&g->seed);
  if (to) to[0] = (uint8_t)(pass ? 0xd0 + to[0] % 0x30 : to[0] % 0xd0);
  return to != NULL;
}

static bool cut(Genome *g) {
  size_t n = records(g);
  if (!n) return false;
  size_t k = next(&g->seed) % n, length = 1 + next(&g->seed) % 4;
  if (length > n - k) length = n - k;
  memmove(record(g, k), record(g, k + length), (n - k - length) * GENOME_RECORD);
  g->size -= length * GENOME_RECORD;
  return true;
}

static bool double_one(Genome *g) {
  size_t n = records(g);
  if (!n) return false;
  uint8_t one[GENOME_RECORD];
  memcpy(one, record(g, next(&g->seed) % n), GENOME_RECORD);
  if (next(&g->seed) & 1) one[1 + next(&g->seed) % (GENOME_RECORD - 1)] = (uint8_t)next(&g->seed);
  uint8_t *to = open_gap(g, next(&g->seed) % (n + 1));
  return to && memcpy(to, one, GENOME_RECORD);
}

static bool exchange(Genome *g) {
  size_t n = records(g);
  if (n < 2) return false;
  uint8_t one[GENOME_RECORD], *a = record(g, next(&g->seed) % n), *b = record(g, next(&g->seed) % n);
  memcpy(one, a, GENOME_RECORD);
  memmove(a, b, GENOME_RECORD);
  memcpy(b, one, GENOME_RECORD);
  return a != b;
}

static bool change(Genome *g, unsigned which) {
  size_t n = records(g);
  if (which == HEAD) { g->data[1 + next(&g->seed) % (GENOME_HEAD - 1)] = (uint8_t)next(&g->seed); return true; }
  if (!n) return false;
  uint8_t *r = record(g, next(&g->seed) % n);
  if (which == BYTE) r[next(&g->seed) % GENOME_RECORD] = (uint8_t)next(&g->seed);
  else LLVMFuzzerMutate(r, GENOME_RECORD, GENOME_RECORD);
  return true;
}

static bool mutate(Genome *g, unsigned which) {
  switch (which) {
    case INSERT: case INSERT_PASS: return insert(g, which == INSERT_PASS);
    case CUT: return cut(g);
    case DOUBLE: return double_one(g);
    case EXCHANGE: return exchange(g);
    default: return change(g, which);
  }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  if (size && data[0] & 1) {
    size_t n = 1 + LLVMFuzzerMutate(data + 1, size - 1, max_size - 1);
    statistics.mutator[TEXT]++;
    return n;
  }
  if (max_size < GENOME_HEAD + GENOME_RECORD) return size;
  if (size < GENOME_HEAD) memset(data + size, 0, GENOME_HEAD - size);
  Genome g = {data, size < GENOME_HEAD ? GENOME_HEAD : size - (size - GENOME_HEAD) % GENOME_RECORD, max_size, seed};
  data[0] &= 0xfe;
  for (unsigned times = 1 + next(&g.seed) % 4; times--; ) {
    unsigned which = next(&g.seed) % TEXT;
    if (mutate(&g, which)) statistics.mutator[which]++;
  }
  return g.size;
}

/* The first part of one and the last of the other, cut between records; the head is the first's. Texts are cut at line ends. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t max_size, unsigned int seed) {
  uint32_t s = seed;
  if (!a_size || !b_size || (a[0] & 1) != (b[0] & 1) || a_size > max_size) return 0;
  size_t from, to;
  if (a[0] & 1) {
    from = 1 + next(&s) % a_size;
    to = next(&s) % b_size;
    while (from < a_size && a[from - 1] != '\n') from++;
    while (to < b_size && b[to] != '\n') to++;
  } else {
    if (a_size < GENOME_HEAD || b_size < GENOME_HEAD) return 0;
    from = GENOME_HEAD + next(&s) % ((a_size - GENOME_HEAD) / GENOME_RECORD + 1) * GENOME_RECORD;
    to = GENOME_HEAD + next(&s) % ((b_size - GENOME_HEAD) / GENOME_RECORD + 1) * GENOME_RECORD;
  }
  if (from > a_size) from = a_size;
  size_t rest = b_size - to < max_size - from ? b_size - to : max_size - from;
  memcpy(out, a, from);
  memcpy(out + from, b + to, rest);
  statistics.mutator[CROSSOVER]++;
  return from + rest;
}
