/* world.h: made-up data of a call (items, groups, globals), and a small driver that runs a graph or a program on it with the interpreters. */
#ifndef OPTC_TESTS_WORLD_H
#define OPTC_TESTS_WORLD_H
#include "ir/interpret.h"

typedef struct World {
  const Module *module;
  Arena *arena;
  unsigned n_items;
  int64_t *count;                        /* by item */
  void **data;                           /* item*n_operands + operand; NULL: absent */
  char *hyper, *global, *items;          /* one group; structs as layout_of says */
  uint8_t *exists;
  int64_t failed;
  double value[4];
  size_t item_size, global_size;
} World;

/* Random finite numbers, some of them 0, negative and subnormal. Optional operands are absent in every other item. */
World *world_new(const Module *, Arena *, uint64_t seed, unsigned n_items, const int64_t *counts);
World *world_copy(const World *);
void world_set_hyper(World *, unsigned hyper, double value);
void world_run_program(World *, const Program *);
void world_run_graph(World *, const Graph *);
/* NULL if all tensors, scalars and findings agree bit for bit (NaN is one value); else what differs first. */
const char *world_difference(const World *, const World *);
#endif
