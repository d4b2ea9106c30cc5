/* team.h: a team of threads that takes chunks in a given order; its threads sleep where they wait, so it also does on a busy machine. */
#ifndef OPTC_TESTS_TEAM_H
#define OPTC_TESTS_TEAM_H
#include <stdbool.h>
#include <stdint.h>

typedef enum Order { FORWARDS, BACKWARDS, SHUFFLED } Order;
typedef struct Team { int threads; Order order; int64_t n, next; void (*chunk)(void *, int64_t); void *context; bool failed; } Team;
/* As optc_parallel.run, self a Team with threads (up to 16) and order set. `failed`: a thread could not be had. */
void run_team(void *self, int64_t n, void (*chunk)(void *, int64_t), void *context);
#endif
