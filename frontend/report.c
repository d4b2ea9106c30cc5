/* report.c: errors and warnings of the walk, once a place and text; the source text of a range. */
#include <ctype.h>
#include <string.h>
#include "frontend/lower.h"

static bool same_place(Range a, Range b) { return a.source == b.source && a.begin == b.begin && a.end == b.end; }

static bool is_said(const Lower *l, DiagLevel level, Range where, const char *text) {
  for (size_t i = 0; i < diag_count(l->diag); i++) {
    const DiagMessage *m = diag_get(l->diag, i);
    if (m->level == level && same_place(m->where, where) && !strcmp(m->text, text)) return true;
  }
  return false;
}

bool lower_warning(Lower *l, Range where, const char *format, ...) {
  if (!l->context->options->warnings) return false;
  va_list args;
  va_start(args, format);
  const char *text = arena_vprintf(l->arena, format, args);
  va_end(args);
  if (is_said(l, DIAG_WARNING, where, text)) return false;
  diag_warning(l->diag, where, "%s", text);
  return true;
}

bool lower_error(Lower *l, Range where, const char *format, ...) {
  va_list args;
  va_start(args, format);
  const char *text = arena_vprintf(l->arena, format, args);
  va_end(args);
  if (is_said(l, DIAG_ERROR, where, text)) return false;
  diag_error(l->diag, where, "%s", text);
  unsigned n = 0;
  unsigned line = lower_line(where);
  for (const Call *c = l->scope->calls; c && n < 4; c = c->outer) {
    if (c->where.source == where.source && lower_line(c->where) == line) continue;      /* it is in sight */
    diag_note(l->diag, c->where, "in '%s', used here", c->name);
    n++;
  }
  return true;
}

const char *lower_text(Lower *l, Range r) {
  if (!r.source) return "?";
  char *text = arena_strndup(l->arena, r.source->text + r.begin, r.end - r.begin);
  char *to = text;
  for (const char *from = text; *from; from++) {
    bool space = isspace((unsigned char)*from);
    if (space && to > text && to[-1] == ' ') continue;
    *to++ = space ? ' ' : *from;
  }
  *to = 0;
  return text;
}

unsigned lower_line(Range r) {
  unsigned line = 0, column;
  if (r.source) diag_place(r, &line, &column);
  return line;
}

Value lower_unsupported(Lower *l, Range where, const char *construct) {
  lower_error(l, where, "'%s' is not supported yet", construct);
  return (Value){0};
}
