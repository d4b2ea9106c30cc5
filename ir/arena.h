/* arena.h: memory of one compilation. Everything a compilation allocates lives in one arena and goes with it at once.
 *
 * Allocation never returns NULL: when memory is out, or a request is absurd, control jumps to the guard that the owner
 * of the arena set (as in Lua's protected calls), and the owner reports OPTC_E_MEMORY. Rooms that allocate only from
 * the arena therefore need no error path for memory, and nothing leaks. Never hold malloc'ed memory across an
 * arena call. */
#ifndef OPTC_IR_ARENA_H
#define OPTC_IR_ARENA_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

typedef struct Arena Arena;

/* Where blocks come from. NULL functions: malloc and free. Tests pass an allocator that fails at the n-th call. */
typedef struct Allocator {
  void *(*alloc)(void *self, size_t size);
  void (*release)(void *self, void *block);
  void *self;
} Allocator;

/* `limit`: bytes the arena may take in all (0: no limit). Returns NULL when the first block cannot be had. */
Arena *arena_new(const Allocator *allocator, size_t limit);
void arena_free(Arena *);

/* if (setjmp(*arena_guard(a))) { out of memory }. One guard an arena; the innermost protected call saves and restores it. */
jmp_buf *arena_guard(Arena *);

void *arena_alloc(Arena *, size_t size);                     /* zeroed, aligned to 16 */
void *arena_raw(Arena *, size_t size);                       /* not zeroed: for much memory of which little is used */
void *arena_array(Arena *, size_t count, size_t size);       /* count*size, overflow checked */
/* Grows an array so that `need` elements fit: returns old or a larger copy, and updates *capacity (elements). */
void *arena_grow(Arena *, void *old, size_t *capacity, size_t need, size_t size);
char *arena_strndup(Arena *, const char *text, size_t length);
char *arena_printf(Arena *, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Arena *, const char *format, va_list);

/* Text that grows at its end. */
typedef struct Text { Arena *arena; char *data; size_t length, capacity; } Text;
void text_add(Text *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_append(Text *, const char *bytes, size_t length);
#endif
