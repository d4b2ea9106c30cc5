/* fence.c: see fence.h.
 *
 *   | closed page | slack, block or block, slack | closed page |      slack: less than a page, filled
 */
#include "tests/support/fence.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILL = 0x5a, MOST = 1 << 26 };    /* a rule asked for a square matrix of a long vector has a workspace that would fill the machine */

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }
static size_t open_size(size_t bytes) { return (bytes + page() - 1)/page()*page(); }
/* The pages of a block that may be touched. A block of none lies at a border of the two closed ones. */
static char *pages_of(Fence fence, char *at, size_t bytes) {
  return fence == FENCE_LEFT ? at : (char *)(((uintptr_t)at + bytes + page() - 1)/page()*page() - open_size(bytes));
}

void *fence_new(Fence fence, size_t bytes, size_t align) {
  if (bytes > MOST) return NULL;
  if (fence == FENCE_HEAP) return malloc(bytes);
  size_t size = open_size(bytes);
  char *base = mmap(NULL, size + 2*page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return NULL;
  char *pages = base + page();
  if (size && mprotect(pages, size, PROT_READ | PROT_WRITE)) { munmap(base, size + 2*page()); return NULL; }
  memset(pages, FILL, size);
  return fence == FENCE_LEFT ? pages : pages + (size - bytes)/align*align;
}

bool fence_free(Fence fence, void *block, size_t bytes) {
  if (!block) return true;
  if (fence == FENCE_HEAP) { free(block); return true; }
  char *pages = pages_of(fence, block, bytes), *at = block;
  size_t size = open_size(bytes);
  bool good = true;
  for (char *p = pages; p < pages + size; p++) if (p == at) p += bytes ? bytes - 1 : 0; else good &= *p == FILL;
  munmap(pages - page(), size + 2*page());
  return good;
}
