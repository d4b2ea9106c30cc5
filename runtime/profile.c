/* profile.c: names of compiled kernels for perf: one line each, "address size name", in hexadecimal without 0x. */
#define _GNU_SOURCE
#include "runtime/profile.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_KERNELS = 64 };
typedef struct Symbol { uintptr_t at; const char *entry, *kernel; } Symbol;

static int by_address(const void *a, const void *b) {
  uintptr_t x = ((const Symbol *)a)->at, y = ((const Symbol *)b)->at;
  return x < y ? -1 : x > y;
}

/* Sizes are not known here: a kernel ends where the next one begins, the last one after a page. */
void profile_publish(const optc_rule_desc *rule) {
  const char *asked = getenv("OPTC_PERF_MAP");
  if (!asked || !asked[0] || (asked[0] == '0' && !asked[1])) return;
  Symbol symbol[MAX_KERNELS + 1];
  int n = 0;
  for (int64_t e = 0; e < rule->n_entries; e++)
    for (int64_t k = 0; k < rule->entries[e].n_kernels && n < MAX_KERNELS; k++)
      symbol[n++] = (Symbol){(uintptr_t)rule->entries[e].kernels[k].fn[0], rule->entries[e].name, rule->entries[e].kernels[k].name};
  qsort(symbol, (size_t)n, sizeof *symbol, by_address);
  symbol[n].at = n ? symbol[n - 1].at + 4096 : 0;
  char path[64];
  snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
  for (int i = 0; i < n && file >= 0; i++)
    if (symbol[i + 1].at > symbol[i].at)                    /* kernels that are equal are one */
      dprintf(file, "%llx %llx %s_%s_%s\n", (unsigned long long)symbol[i].at, (unsigned long long)(symbol[i + 1].at - symbol[i].at), rule->name, symbol[i].entry,
              symbol[i].kernel);
  if (file >= 0) close(file);
}
