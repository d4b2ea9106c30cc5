/* team.c: see team.h. */
#include "tests/support/team.h"
#include <pthread.h>
#include <stddef.h>

static void *work(void *self) {
  Team *team = self;
  for (;;) {
    int64_t i = __atomic_fetch_add(&team->next, 1, __ATOMIC_RELAXED), n = team->n, step = n > 7 && n%7 ? 7 : 1;
    if (i >= n) return NULL;
    team->chunk(team->context, team->order == FORWARDS ? i : team->order == BACKWARDS ? n - 1 - i : (i*step + n/2)%n);
  }
}

void run_team(void *self, int64_t n, void (*chunk)(void *, int64_t), void *context) {
  Team *team = self;
  pthread_t thread[16];
  int started = 1;
  team->n = n;
  team->next = 0;
  team->chunk = chunk;
  team->context = context;
  for (; started < team->threads; started++)
    if (pthread_create(&thread[started], NULL, work, team)) { team->failed = true; break; }
  work(team);
  for (int k = 1; k < started; k++) pthread_join(thread[k], NULL);
}
