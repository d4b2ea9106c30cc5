/* failing_allocator.c: an allocator for tests that fails at its n-th call and counts what is still out. */
#include <stdbool.h>
#include <stdlib.h>
#include "tests/support/failing_allocator.h"

static void *take(void *self, size_t size) {
  FailingAllocator *f = self;
  if (++f->calls >= f->fail_at && f->fail_at) return NULL;
  void *block = malloc(size);
  if (block) f->live++;
  return block;
}

static void release(void *self, void *block) {
  FailingAllocator *f = self;
  if (block) f->live--;
  free(block);
}

Allocator failing_allocator(FailingAllocator *f) { return (Allocator){take, release, f}; }

static bool run_guarded(Arena *a, void (*work)(Arena *, void *), void *self) {
  if (setjmp(*arena_guard(a))) return false;
  work(a, self);
  return true;
}

unsigned long failing_allocator_try_all(void (*work)(Arena *, void *self), void *self, unsigned long most) {
  for (unsigned long n = 1; n <= most; n++) {
    FailingAllocator f = {.fail_at = n};
    Allocator from = failing_allocator(&f);
    Arena *a = arena_new(&from, 0);
    bool done = a && run_guarded(a, work, self);
    arena_free(a);
    if (f.live) return 0;
    if (done) return n;
  }
  return 0;
}
