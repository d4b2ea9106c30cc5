/* failing_allocator.h: an allocator for tests that fails at its n-th call and counts what is still out. */
#ifndef OPTC_TESTS_FAILING_ALLOCATOR_H
#define OPTC_TESTS_FAILING_ALLOCATOR_H
#include "ir/arena.h"

typedef struct FailingAllocator {
  unsigned long fail_at;                 /* the call that gets NULL, from 1, and all after it; 0: none */
  unsigned long calls;                   /* made so far */
  long live;                             /* blocks not yet released */
} FailingAllocator;

Allocator failing_allocator(FailingAllocator *);         /* over malloc and free */

/* Runs `work` in a fresh arena with the 1st, the 2nd, ... allocation failing, until it ends without a failure or `most` is reached.
 * Returns how many runs it took, 0 if a block leaked or no run succeeded. `work` must hold everything in the arena. */
unsigned long failing_allocator_try_all(void (*work)(Arena *, void *self), void *self, unsigned long most);
#endif
