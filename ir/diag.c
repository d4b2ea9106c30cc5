/* diag.c: diagnostics: kept in order, sorted by place when rendered as text (in the manner of clang) or JSON. */
#include "ir/diag.h"
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 20, WIDTH = 120, MARGIN = 40 };                            /* WIDTH: columns of a source line shown; MARGIN: kept left of the caret */

struct Diag {
  Arena *arena;
  unsigned limit, errors, warnings;
  bool dropped;                                                           /* the last error or warning was beyond the limit: so are its notes */
  DiagMessage *at; size_t n, capacity;
};

Diag *diag_new(Arena *a, unsigned error_limit) {
  Diag *d = arena_alloc(a, sizeof *d);
  d->arena = a;
  d->limit = error_limit ? error_limit : LIMIT;
  return d;
}

static void add(Diag *d, DiagLevel level, Range where, const char *format, va_list list) {
  if (level != DIAG_NOTE) d->dropped = (level == DIAG_ERROR ? d->errors++ : d->warnings++) >= d->limit;
  if (d->dropped) return;
  const char *text = arena_vprintf(d->arena, format, list);
  if (level == DIAG_NOTE && !d->n) level = DIAG_ERROR;                    /* a note with nothing before it must not vanish */
  d->at = arena_grow(d->arena, d->at, &d->capacity, d->n + 1, sizeof *d->at);
  d->at[d->n++] = (DiagMessage){level, where, text, NULL};
}

void diag_error(Diag *d, Range where, const char *format, ...) {
  va_list list;
  va_start(list, format);
  add(d, DIAG_ERROR, where, format, list);
  va_end(list);
}

void diag_warning(Diag *d, Range where, const char *format, ...) {
  va_list list;
  va_start(list, format);
  add(d, DIAG_WARNING, where, format, list);
  va_end(list);
}

void diag_note(Diag *d, Range where, const char *format, ...) {
  va_list list;
  va_start(list, format);
  add(d, DIAG_NOTE, where, format, list);
  va_end(list);
}

void diag_fix(Diag *d, const char *replacement) {
  if (!d->dropped && d->n) d->at[d->n - 1].fix = arena_strndup(d->arena, replacement, strlen(replacement));
}

unsigned diag_errors(const Diag *d) { return d->errors; }
size_t diag_count(const Diag *d) { return d->n; }

void diag_rewind(Diag *d, size_t count) {
  if (count < d->n) d->n = count;
  d->errors = d->warnings = 0;
  d->dropped = false;
  for (size_t i = 0; i < d->n; i++) {
    d->errors += d->at[i].level == DIAG_ERROR;
    d->warnings += d->at[i].level == DIAG_WARNING;
  }
}

const DiagMessage *diag_get(const Diag *d, size_t index) { return index < d->n ? &d->at[index] : NULL; }

/* --- places ------------------------------------------------------------------------------------------------------ */

static size_t clamp_offset(const Source *s, size_t at) { return at < s->length ? at : s->length; }

static size_t line_begin(const Source *s, size_t at) {
  while (at && s->text[at - 1] != '\n') at--;
  return at;
}

static size_t line_end(const Source *s, size_t at) {
  while (at < s->length && s->text[at] != '\n') at++;
  return at;
}

void diag_place(Range r, unsigned *line, unsigned *column) {
  *line = *column = 1;
  if (!r.source) return;
  size_t at = clamp_offset(r.source, r.begin), begin = line_begin(r.source, at);
  *column = (unsigned)(at - begin) + 1;
  const char *p = r.source->text, *end = p + begin;
  for (; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++) ++*line;
}

/* --- order: messages with their notes, by source (first met first), then by offset ------------------------------------- */

typedef struct Group { size_t first, count, source; uint32_t begin; } Group;

static int compare_groups(const void *a, const void *b) {
  const Group *x = a, *y = b;
  if (x->source != y->source) return x->source < y->source ? -1 : 1;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  return x->first < y->first ? -1 : x->first > y->first;
}

static Group *groups_of(const Diag *d, Arena *a, size_t *count) {
  Group *g = arena_array(a, d->n ? d->n : 1, sizeof *g);
  size_t n = 0;
  for (size_t i = 0; i < d->n; i++) {
    const DiagMessage *m = &d->at[i];
    if (m->level == DIAG_NOTE) { g[n - 1].count++; continue; }
    size_t source = d->n;                                                 /* without a place: last */
    for (size_t j = 0; m->where.source && j <= i && source == d->n; j++)
      if (d->at[j].level != DIAG_NOTE && d->at[j].where.source == m->where.source) source = j;
    g[n++] = (Group){i, 1, source, m->where.source ? m->where.begin : 0};
  }
  qsort(g, n, sizeof *g, compare_groups);
  *count = n;
  return g;
}

/* --- text -------------------------------------------------------------------------------------------------------------- */

/* Bytes of the well-formed UTF-8 sequence at p, or 0. */
static unsigned utf8_length(const char *p, const char *end) {
  unsigned char c = (unsigned char)*p;
  if (c < 0x80) return 1;
  unsigned n = c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  if (!n || (size_t)(end - p) < n) return 0;
  for (unsigned i = 1; i < n; i++) if (((unsigned char)p[i] & 0xc0) != 0x80) return 0;
  unsigned char second = (unsigned char)p[1];
  if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f)) return 0;
  return n;
}

/* Characters end at code points; a byte that is no UTF-8 is one character. */
static size_t back_characters(const char *text, size_t begin, size_t at, size_t n) {
  while (n-- && at > begin) {
    size_t p = at - 1;
    while (p > begin && at - p < 4 && ((unsigned char)text[p] & 0xc0) == 0x80) p--;
    at = utf8_length(text + p, text + at) == at - p ? p : at - 1;
  }
  return at;
}

static size_t forward_characters(const char *text, size_t at, size_t end, size_t n) {
  while (n-- && at < end) {
    unsigned k = utf8_length(text + at, text + end);
    at += k ? k : 1;
  }
  return at;
}

/* One character of the line (control characters and broken bytes replaced: they must not reach a terminal) and its mark below. */
static void add_character(Text *line, Text *marks, const char *p, unsigned n, char mark) {
  if (*p == '\t') text_append(line, p, 1), text_append(marks, mark == ' ' ? "\t" : &mark, 1);
  else {
    bool control = n == 1 && ((unsigned char)*p < 0x20 || (unsigned char)*p == 0x7f);
    if (!n || control || (n == 2 && (unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0)) text_append(line, "\xef\xbf\xbd", 3);
    else text_append(line, p, n);
    text_append(marks, &mark, 1);
  }
}

/* A tab under the caret range would be wider than its mark: lines with one there are shown with spaces instead. */
static void add_source_line(Text *out, const DiagMessage *m, bool color) {
  const Source *s = m->where.source;
  size_t at = clamp_offset(s, m->where.begin), begin = line_begin(s, at), end = line_end(s, at);
  size_t last = clamp_offset(s, m->where.end);
  if (last > end) last = end;
  if (end > begin && s->text[end - 1] == '\r') end--;
  if (at > end) at = end;
  size_t from = back_characters(s->text, begin, at, MARGIN), to;
  if (at - begin <= WIDTH - MARGIN) from = begin;
  to = forward_characters(s->text, from, end, WIDTH);
  Text line = {.arena = out->arena}, marks = {.arena = out->arena};
  if (from > begin) text_add(&line, "..."), text_add(&marks, "   ");
  size_t caret_column = 0;
  for (size_t p = from; p < to;) {
    unsigned n = utf8_length(s->text + p, s->text + to);
    if (p == at) caret_column = marks.length;
    char mark = p == at ? '^' : p > at && p < last ? '~' : ' ';
    if (s->text[p] == '\t' && mark != ' ') text_add(&line, " "), text_append(&marks, &mark, 1);
    else add_character(&line, &marks, s->text + p, n, mark);
    p += n ? n : 1;
  }
  if (to < end) text_add(&line, "...");
  if (at >= to) caret_column = marks.length, text_add(&marks, "^");
  while (marks.length && (marks.data[marks.length - 1] == ' ' || marks.data[marks.length - 1] == '\t')) marks.length--;
  text_append(out, line.data, line.length);
  text_add(out, "\n%s%.*s%s\n", color ? "\033[1;32m" : "", (int)marks.length, marks.data, color ? "\033[0m" : "");
  if (m->fix && !strpbrk(m->fix, "\n\r")) {
    for (size_t i = 0; i < caret_column; i++) text_append(out, marks.data[i] == '\t' ? "\t" : " ", 1);
    text_add(out, "%s%s%s\n", color ? "\033[32m" : "", m->fix, color ? "\033[0m" : "");
  }
}

static const char *level_name(DiagLevel level) { return level == DIAG_ERROR ? "error" : level == DIAG_WARNING ? "warning" : "note"; }

static void render_message(Text *out, const DiagMessage *m, bool color) {
  static const char *const colors[] = {"\033[1;31m", "\033[1;35m", "\033[1;36m"};
  unsigned line, column;
  if (m->where.source) {
    diag_place(m->where, &line, &column);
    text_add(out, "%s%s:%u:%u:%s ", color ? "\033[1m" : "", m->where.source->name ? m->where.source->name : "<text>", line, column, color ? "\033[0m" : "");
  }
  text_add(out, "%s%s:%s ", color ? colors[m->level] : "", level_name(m->level), color ? "\033[0m" : "");
  text_add(out, "%s%s%s\n", color ? "\033[1m" : "", m->text, color ? "\033[0m" : "");
  if (m->where.source) add_source_line(out, m, color);
  else if (m->fix) text_add(out, "  %s\n", m->fix);
}

void diag_render_text(const Diag *d, Text *out, bool color) {
  size_t n;
  const Group *g = groups_of(d, out->arena, &n);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < g[i].count; k++) render_message(out, &d->at[g[i].first + k], color);
  if (d->errors > d->limit) text_add(out, "%u more error%s not shown\n", d->errors - d->limit, d->errors - d->limit == 1 ? "" : "s");
  if (d->warnings > d->limit) text_add(out, "%u more warning%s not shown\n", d->warnings - d->limit, d->warnings - d->limit == 1 ? "" : "s");
}

/* --- JSON -------------------------------------------------------------------------------------------------------------- */

static void add_json_string(Text *out, const char *s) {
  if (!s) { text_add(out, "null"); return; }
  text_add(out, "\"");
  for (const char *end = s + strlen(s); s < end;) {
    unsigned char c = (unsigned char)*s;
    unsigned n = utf8_length(s, end);
    if (!n) text_append(out, "\xef\xbf\xbd", 3), n = 1;
    else if (c == '"' || c == '\\') text_add(out, "\\%c", c);
    else if (c == '\n') text_add(out, "\\n");
    else if (c == '\t') text_add(out, "\\t");
    else if (c == '\r') text_add(out, "\\r");
    else if (c < 0x20 || c == 0x7f) text_add(out, "\\u%04x", c);
    else text_append(out, s, n);
    s += n;
  }
  text_add(out, "\"");
}

static void add_json_fields(Text *out, const DiagMessage *m) {
  unsigned line = 0, column = 0, end_line = 0, end_column = 0;
  if (m->where.source) {
    diag_place(m->where, &line, &column);
    uint32_t end = m->where.end > m->where.begin ? m->where.end : m->where.begin;
    diag_place((Range){m->where.source, end, end}, &end_line, &end_column);
  }
  text_add(out, "{\"file\": ");
  add_json_string(out, m->where.source ? m->where.source->name ? m->where.source->name : "<text>" : NULL);
  text_add(out, ", \"line\": %u, \"column\": %u, \"end_line\": %u, \"end_column\": %u", line, column, end_line, end_column);
  text_add(out, ", \"level\": \"%s\", \"message\": ", level_name(m->level));
  add_json_string(out, m->text);
  text_add(out, ", \"fix\": ");
  add_json_string(out, m->fix);
}

void diag_render_json(const Diag *d, Text *out) {
  size_t n;
  const Group *g = groups_of(d, out->arena, &n);
  text_add(out, "[");
  for (size_t i = 0; i < n; i++) {
    text_add(out, i ? ",\n " : "\n ");
    add_json_fields(out, &d->at[g[i].first]);
    text_add(out, ", \"notes\": [");
    for (size_t k = 1; k < g[i].count; k++) {
      if (k > 1) text_add(out, ", ");
      add_json_fields(out, &d->at[g[i].first + k]);
      text_add(out, "}");
    }
    text_add(out, "]}");
  }
  text_add(out, n ? "\n]\n" : "]\n");
}
