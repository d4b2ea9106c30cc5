/* suggest.c: names by the edits between them. */
#include "ir/suggest.h"
#include <string.h>

enum { LONGEST = 64 };

/* Edits (insert, delete, replace, swap neighbours) between two names of at most LONGEST bytes. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb) {
  unsigned rows[3][LONGEST + 1], *before = rows[0], *above = rows[1], *row = rows[2];
  for (size_t j = 0; j <= nb; j++) above[j] = (unsigned)j;
  memset(before, 0, sizeof rows[0]);
  for (size_t i = 1; i <= na; i++) {
    row[0] = (unsigned)i;
    for (size_t j = 1; j <= nb; j++) {
      unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
      if (above[j] + 1 < best) best = above[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best) best = before[j - 2] + 1;
      row[j] = best;
    }
    unsigned *oldest = before;
    before = above; above = row; row = oldest;
  }
  return above[nb];
}

const char *suggest_word(const char *word, const char *const *candidates, size_t count) {
  size_t n = strlen(word);
  if (!n || n > LONGEST) return NULL;
  unsigned allowed = n / 3 > 1 ? (unsigned)(n / 3) : 1;
  const char *best = NULL;
  for (size_t i = 0; i < count; i++) {
    size_t k = candidates[i] ? strlen(candidates[i]) : 0;
    if (!k || k > LONGEST || (k > n ? k - n : n - k) > allowed) continue;
    unsigned d = distance(word, n, candidates[i], k);
    if (d > allowed || d >= n || (best && d == allowed)) continue;        /* a tie keeps the first; d == n shares no letter */
    best = candidates[i];
    allowed = d;
  }
  return best;
}
