/* command_refusal.c: why a rule refused a call, in words: its text with the numbers that were found. */
#include <stdio.h>
#include <string.h>
#include "runtime/command.h"

/* "axis 1 of K is {}, G is {}" takes its numbers in; what has no places for them shows them behind. */
const char *command_refusal(const optc_error *e, char *out, size_t size) {
  const char *text = e->text ? e->text : "refused";
  size_t at = 0;
  int used = 0;
  out[0] = 0;
#define ADD(...) do { int n_ = snprintf(out + at, size - at, __VA_ARGS__); at += n_ < 0 ? 0 : (size_t)n_ < size - at ? (size_t)n_ : size - at - 1; } while (0)
  for (const char *p = text; *p;) {
    const char *hole = strstr(p, "{}");
    if (!hole || used >= e->n || used >= 4) { ADD("%s", p); break; }
    ADD("%.*s%.9g", (int)(hole - p), p, e->value[used++]);
    p = hole + 2;
  }
  for (int i = used; i < e->n && i < 4; i++) ADD("%s%.9g", i > used ? ", " : " (", e->value[i]);
  if (used < e->n && used < 4) ADD(")");
#undef ADD
  return out;
}
