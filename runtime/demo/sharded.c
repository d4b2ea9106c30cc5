/* sharded.c: one optimizer step over tensors that several processes share, ZeRO-style: every rank has the states of its own chunks only.
 *
 *   mpirun -n 4 sharded [STEPS]      prints a sum of all bits of parameters and states: the same for any number of ranks
 *   sharded --whole [STEPS]          the same with whole tensors and one call a step
 *
 * The sequence of calls, a step:
 *   for each phase:  RULE_phase(i, &call)                 this rank's chunks
 *                    RULE_partials(i, &call, &at)         what they left: doubles, at the same places in all ranks
 *                    MPI_Allreduce(at, SUM)               0 wherever another rank owns the chunk, so the sum is exact
 * and at its end every rank sends its chunks of p to the others. With NCCL: partials lie in host memory, a few hundred doubles; ncclAllReduce(..., ncclDouble, ncclSum)
 * on a copy of them, ncclReduceScatter for g before the step, ncclAllGather for p after it. */
#include <inttypes.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "demo_rule.h"

enum { N = 6, CHUNK = 65536 };
static const int64_t shapes[N][2] = {{768, 768}, {200, 983}, {65536, 1}, {65537, 1}, {10, 1}, {1, 1}};
static int rank, ranks;

static void die(const char *what, const char *why) {
  fprintf(stderr, "sharded: %s: %s\n", what, why);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static void refused(const char *what, const optc_error *error) {
  char why[300];
  die(what, optc_error_format(why, sizeof why, error));
}

static void *room(size_t bytes) {
  void *p = calloc(1, bytes + 64);
  if (!p) die("memory", "none left");
  return p;
}

static float draw(uint64_t *state) {                                       /* the same numbers on every rank */
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (float)(int32_t)(*state >> 32) / 2147483648.0f;
}

static int64_t count_of(int k) { return shapes[k][0] * shapes[k][1]; }
static int64_t chunks_of(int k) { return (count_of(k) + CHUNK - 1) / CHUNK; }

/* The elements of tensor k that rank r owns: from *first on. */
static int64_t share(int k, int r, int64_t *first) {
  int64_t from = chunks_of(k) * r / ranks, to = chunks_of(k) * (r + 1) / ranks, end = to * CHUNK < count_of(k) ? to * CHUNK : count_of(k);
  *first = from < to ? from * CHUNK : 0;
  return from < to ? end - *first : 0;
}

/* A sum over the bits of elements that does not depend on who adds them up. */
static uint64_t digest(const void *data, int64_t count, int64_t bytes, int64_t first, uint64_t salt) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; i++) {
    uint64_t x = 0;
    memcpy(&x, (const char *)data + i * bytes, (size_t)bytes);
    x = (x ^ salt ^ (uint64_t)(first + i) * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    sum += x ^ x >> 31;
  }
  return sum;
}

/* One call of the rule for all processes together. */
static void step(RULE(call) *call, const optc_error *error, int whole) {
  if (whole) { if (RULE(step)(call)) refused(RULE_NAME, error); return; }
  for (int phase = 0; phase < RULE(phases); phase++) {
    if (RULE(phase)(phase, call)) refused(RULE_NAME, error);
    double *at;
    int64_t n = RULE(partials)(phase, call, &at);
    if (n < 0) die("partials", "the call is wrong");
    if (n) MPI_Allreduce(MPI_IN_PLACE, at, (int)n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  }
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  int whole = argc > 1 && !strcmp(argv[1], "--whole"), steps = argc > 1 + whole ? atoi(argv[1 + whole]) : 3;
  RULE(hyper) hyper = RULE_DEFAULTS;
  RULE(global) global = {0};
  RULE(item) item[N];
  optc_error error = {0};
  float *p[N], *g[N];
  int64_t first[N], count[N], held = 0;
  uint64_t random = 1;
  for (int k = 0; k < N; k++) {
    p[k] = room((size_t)count_of(k) * sizeof(float));
    g[k] = room((size_t)count_of(k) * sizeof(float));
    for (int64_t i = 0; i < count_of(k); i++) p[k][i] = draw(&random);
    count[k] = share(k, rank, &first[k]);
    item[k] = (RULE(item)){.p.data = p[k] + first[k], .g.data = g[k] + first[k], .rank = 2, .shape = shapes[k]};
    if (ranks > 1) { item[k].first = first[k]; item[k].count = count[k] ? count[k] : -1; }
  }
  RULE(call) call = {.size = sizeof call, .groups = &hyper, .n_groups = 1, .items = item, .n_items = N, .global = &global, .error = &error};
  optc_state_info state[N][RULE_STATES];
  for (int k = 0; k < N; k++) {                                              /* states of what is here, and no more */
    if (RULE(layout)(&call, k, state[k])) refused("layout", &error);
    for (int s = 0; s < RULE_N_STATES; s++) {
      if (!state[k][s].exists || state[k][s].scope) continue;
      ((optc_tensor *)((char *)&item[k] + state[k][s].offset))->data = room((size_t)state[k][s].bytes);
      held += state[k][s].bytes;
    }
  }
  call.workspace_size = RULE(workspace_size)(&call);
  call.workspace = room(call.workspace_size);
  if (RULE(init)(&call)) refused("init", &error);
  for (int t = 0; t < steps; t++) {
    for (int k = 0; k < N; k++) for (int64_t i = 0; i < count_of(k); i++) g[k][i] = draw(&random);
    step(&call, &error, whole);
    for (int k = 0; k < N; k++)
      for (int r = 0; r < ranks; r++) {
        int64_t from, n = share(k, r, &from);
        MPI_Bcast(p[k] + from, (int)n, MPI_FLOAT, r, MPI_COMM_WORLD);
      }
  }
  uint64_t sum = 0, all = 0;
  for (int k = 0; k < N; k++) {
    sum += digest(p[k] + first[k], count[k], sizeof(float), first[k], (uint64_t)k);
    for (int s = 0; s < RULE_N_STATES; s++)
      if (state[k][s].exists && !state[k][s].scope)
        sum += digest(((optc_tensor *)((char *)&item[k] + state[k][s].offset))->data, state[k][s].count, state[k][s].bytes / (state[k][s].count ? state[k][s].count : 1), first[k], (uint64_t)(k + N * (s + 1)));
  }
  MPI_Reduce(&sum, &all, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
  all += digest(&global, sizeof global / 8, 8, 0, 99);
  if (!rank) printf("%s: %d steps, %d phases, sum of all bits %016" PRIx64 "\n", RULE_NAME, steps, RULE(phases), all);
  if (!rank && !whole) fprintf(stderr, "%d ranks; this one holds %" PRId64 " bytes of state\n", ranks, held);
  MPI_Finalize();
  return 0;
}
