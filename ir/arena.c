/* arena.c: blocks in a list, bump allocation, one jump when memory is out. */
#include "ir/arena.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __has_feature
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1                                            /* clang tells it otherwise */
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

enum { ALIGN = 16, BLOCK = 64 * 1024, GAP = 16 };                         /* GAP: poisoned between objects under AddressSanitizer */

typedef struct ArenaBlock { struct ArenaBlock *next; size_t size, used; } ArenaBlock;
#define HEAD ((sizeof(ArenaBlock) + ALIGN - 1) / ALIGN * ALIGN)

struct Arena {
  Allocator from;
  size_t limit, taken, used;
  ArenaBlock *block;
  jmp_buf guard;
};

static void *from_malloc(void *self, size_t size) { return malloc(size); }
static void to_free(void *self, void *block) { free(block); }

static ArenaBlock *new_block(Arena *a, size_t payload) {
  size_t size = HEAD + payload;
  if (a->limit && size > a->limit - a->taken) return NULL;
  ArenaBlock *b = a->from.alloc(a->from.self, size);
  if (!b) return NULL;
  a->taken += size;
  *b = (ArenaBlock){a->block, payload, 0};
  POISON((char *)b + HEAD, payload);
  return a->block = b;
}

Arena *arena_new(const Allocator *allocator, size_t limit) {
  Allocator from = allocator && allocator->alloc ? *allocator : (Allocator){from_malloc, to_free, NULL};
  Arena *a = from.alloc(from.self, sizeof *a);
  if (!a) return NULL;
  memset(a, 0, sizeof *a);
  a->from = from;
  a->limit = limit ? (limit > BLOCK * 2 ? limit : BLOCK * 2) : 0;
  if (!new_block(a, BLOCK)) { from.release(from.self, a); return NULL; }
  return a;
}

void arena_free(Arena *a) {
  if (!a) return;
  Allocator from = a->from;
  for (ArenaBlock *b = a->block, *next; b; b = next) {
    next = b->next;
    UNPOISON((char *)b + HEAD, b->size);
    from.release(from.self, b);
  }
  from.release(from.self, a);
}

jmp_buf *arena_guard(Arena *a) { return &a->guard; }

void *arena_raw(Arena *a, size_t size) {
  if (size > SIZE_MAX / 4) longjmp(a->guard, 1);
  size_t need = (size + ALIGN - 1) / ALIGN * ALIGN;
#if defined(__SANITIZE_ADDRESS__)
  need += GAP;
#endif
  ArenaBlock *b = a->block;
  if (b->size - b->used < need && !(b = new_block(a, need > BLOCK / 4 ? need : BLOCK))) longjmp(a->guard, 1);
  char *p = (char *)b + HEAD + b->used;
  b->used += need;
  a->used += need;
  if (b->size == need && b->next) {                                       /* a large object fills its block: keep bumping in the one before */
    ArenaBlock *before = b->next;
    b->next = before->next; before->next = b; a->block = before;
  }
  UNPOISON(p, size);
  return p;
}

void *arena_alloc(Arena *a, size_t size) { return memset(arena_raw(a, size), 0, size); }

void *arena_array(Arena *a, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) longjmp(a->guard, 1);
  return arena_alloc(a, bytes);
}

void *arena_grow(Arena *a, void *old, size_t *capacity, size_t need, size_t size) {
  if (need <= *capacity) return old;
  size_t grown = *capacity ? *capacity * 2 : 8;
  if (grown < need) grown = need;
  void *p = arena_array(a, grown, size);
  if (*capacity) memcpy(p, old, *capacity * size);
  *capacity = grown;
  return p;
}

char *arena_strndup(Arena *a, const char *text, size_t length) {
  char *p = arena_alloc(a, length + 1);
  if (length) memcpy(p, text, length);
  return p;
}

char *arena_vprintf(Arena *a, const char *format, va_list list) {
  va_list again;
  va_copy(again, list);
  int n = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (n < 0) n = 0;
  char *p = arena_alloc(a, (size_t)n + 1);
  vsnprintf(p, (size_t)n + 1, format, list);
  return p;
}

char *arena_printf(Arena *a, const char *format, ...) {
  va_list list;
  va_start(list, format);
  char *p = arena_vprintf(a, format, list);
  va_end(list);
  return p;
}

void text_append(Text *t, const char *bytes, size_t length) {
  t->data = arena_grow(t->arena, t->data, &t->capacity, t->length + length + 1, 1);
  if (length) memcpy(t->data + t->length, bytes, length);
  t->length += length;
  t->data[t->length] = 0;
}

void text_add(Text *t, const char *format, ...) {
  va_list list;
  va_start(list, format);
  char small[256];
  va_list again;
  va_copy(again, list);
  int n = vsnprintf(small, sizeof small, format, again);
  va_end(again);
  if (n >= 0 && (size_t)n < sizeof small) text_append(t, small, (size_t)n);
  else if (n >= 0) {
    t->data = arena_grow(t->arena, t->data, &t->capacity, t->length + (size_t)n + 1, 1);
    vsnprintf(t->data + t->length, (size_t)n + 1, format, list);
    t->length += (size_t)n;
  }
  va_end(list);
}
