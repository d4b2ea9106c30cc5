/* fence.h: memory whose ends are watched: between pages that nobody may touch, or of the heap and exactly as long as asked for, for tools that watch that. */
#ifndef OPTC_TESTS_FENCE_H
#define OPTC_TESTS_FENCE_H
#include <stdbool.h>
#include <stddef.h>

typedef enum Fence {
  FENCE_NONE,
  FENCE_LEFT,                            /* begins right behind such a page */
  FENCE_RIGHT,                           /* ends right in front of one, as near as the alignment lets it */
  FENCE_HEAP                             /* of malloc, its bytes undefined */
} Fence;

/* NULL: there is no memory, or it would be more than 64 MiB. Not for FENCE_NONE. */
void *fence_new(Fence, size_t bytes, size_t align);
/* false: what lies between the block and the far end of its pages was written. NULL is nothing. */
bool fence_free(Fence, void *, size_t bytes);
#endif
