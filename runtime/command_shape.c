/* command_shape.c: shapes as a rule writes them: sizes found in extents, extents computed from sizes. */
#include "runtime/command_shape.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool value_of(const ShapeNames *names, const char *name, int64_t *value) {
  for (int i = 0; i < names->n; i++)
    if (!strcmp(names->at[i].name, name)) return *value = names->at[i].value, true;
  return false;
}

void shape_set(ShapeNames *names, const char *name, int64_t value) {
  int64_t old;
  if (names->n == SHAPE_MAX || value_of(names, name, &old)) return;
  snprintf(names->at[names->n].name, sizeof names->at[0].name, "%s", name);
  names->at[names->n++].value = value;
}

/* --- one dimension: sum = product {(+ | -) product}, product = unary {(* | / | // | %) unary} ------------------------------------------------ */
typedef struct Reader { const ShapeNames *names; const char *at, *end; char unknown[48]; bool wrong; } Reader;

static int64_t floor_divide(int64_t a, int64_t b) { return b == 0 || b == -1 ? (b ? -a : 0) : a/b - (a%b != 0 && (a%b < 0) != (b < 0)); }

static int peek(Reader *r) {
  while (r->at < r->end && isspace((unsigned char)*r->at)) r->at++;
  return r->at < r->end ? (unsigned char)*r->at : 0;
}

static int64_t read_sum(Reader *r);

static int64_t read_call(Reader *r, bool largest) {
  r->at++;
  int64_t a = read_sum(r), b = a;
  if (peek(r) == ',') { r->at++; b = read_sum(r); }
  if (peek(r) == ')') r->at++;
  else r->wrong = true;
  return (a > b) == largest ? a : b;
}

static int64_t read_unary(Reader *r) {
  int c = peek(r);
  if (c == '-') { r->at++; return -read_unary(r); }
  if (c == '(') {
    r->at++;
    int64_t x = read_sum(r);
    if (peek(r) == ')') r->at++;
    else r->wrong = true;
    return x;
  }
  if (isdigit(c)) {
    char *end;
    int64_t x = strtoll(r->at, &end, 0);
    r->at = end;
    return x;
  }
  char name[48];
  size_t n = 0;
  while (r->at < r->end && (isalnum((unsigned char)*r->at) || *r->at == '_')) {
    if (n + 1 < sizeof name) name[n++] = *r->at;
    r->at++;
  }
  name[n] = 0;
  int64_t value = 0;
  if (!n) r->wrong = true;
  else if (peek(r) == '(' && (!strcmp(name, "max") || !strcmp(name, "min"))) return read_call(r, !strcmp(name, "max"));
  else if (peek(r) == '(') r->wrong = true;
  else if (!value_of(r->names, name, &value) && !*r->unknown) snprintf(r->unknown, sizeof r->unknown, "%s", name);
  return value;
}

static int64_t read_product(Reader *r) {
  int64_t x = read_unary(r);
  for (int c; !r->wrong && ((c = peek(r)) == '*' || c == '/' || c == '%');) {
    r->at++;
    if (c == '/' && r->at < r->end && *r->at == '/') r->at++;
    int64_t y = read_unary(r);
    if (c == '*') { if (__builtin_mul_overflow(x, y, &x)) r->wrong = true; }
    else x = c == '/' ? floor_divide(x, y) : y ? x - y*floor_divide(x, y) : 0;
  }
  return x;
}

static int64_t read_sum(Reader *r) {
  int64_t x = read_product(r);
  for (int c; !r->wrong && ((c = peek(r)) == '+' || c == '-');) {
    r->at++;
    int64_t y = read_product(r);
    if (c == '+' ? __builtin_add_overflow(x, y, &x) : __builtin_sub_overflow(x, y, &x)) r->wrong = true;
  }
  return x;
}

typedef struct Dim { char text[200]; bool ellipsis, flat; } Dim;

/* The dimensions of a text; -1: it is none. */
static int split(const char *text, Dim *dims) {
  int n = 0, depth = 0;
  if (!text || *text != '[') return -1;
  const char *from = text + 1;
  for (const char *s = from;; s++) {
    if (!*s) return -1;
    if (*s == '(') depth++;
    if (*s == ')') depth--;
    if ((*s != ',' && *s != ']') || depth) continue;
    while (from < s && isspace((unsigned char)*from)) from++;
    if (from == s && *s == ']' && !n) return 0;
    if (n == SHAPE_MAX || (size_t)(s - from) >= sizeof dims[0].text) return -1;
    Dim *d = &dims[n++];
    d->ellipsis = !strncmp(from, "...", 3);
    d->flat = !strncmp(from, "flat ", 5);
    if (d->flat) from += 5;
    snprintf(d->text, sizeof d->text, "%.*s", (int)(s - from), from);
    if (*s == ']') return n;
    from = s + 1;
  }
}

static bool evaluate(const ShapeNames *names, const Dim *d, int64_t *value, char unknown[48]) {
  Reader r = {.names = names, .at = d->text, .end = d->text + strlen(d->text)};
  *value = read_sum(&r);
  if (peek(&r)) r.wrong = true;
  if (unknown) snprintf(unknown, 48, "%s", r.unknown);
  return !r.wrong && !*r.unknown;
}

static bool bare(const Dim *d) {
  for (const char *s = d->text; *s; s++)
    if (!isalnum((unsigned char)*s) && *s != '_') return false;
  return !isdigit((unsigned char)d->text[0]);
}

/* The name that one dimension determines: it is linear in it, so two values tell the slope. */
static void solve(ShapeNames *names, const Dim *d, int64_t extent) {
  char unknown[48], other[48];
  int64_t x, at[2];
  if (evaluate(names, d, &x, unknown) || !*unknown) return;
  for (int i = 0; i < 2; i++) {
    ShapeNames tried = *names;
    shape_set(&tried, unknown, i);
    if (!evaluate(&tried, d, &at[i], other)) return;
  }
  if (at[1] != at[0] && (extent - at[0]) % (at[1] - at[0]) == 0) shape_set(names, unknown, (extent - at[0])/(at[1] - at[0]));
}

void shape_learn(ShapeNames *names, const char *text, int rank, const int64_t *extent) {
  Dim dims[SHAPE_MAX];
  int n = split(text, dims), open = -1;
  for (int k = 0; k < n; k++) if (dims[k].ellipsis || dims[k].flat) open = k;
  if (n < 0 || (open < 0 ? n != rank : rank < n - 1)) return;
  for (int pass = 0; pass < 2; pass++)
    for (int k = 0; k < n; k++) {
      if (dims[k].ellipsis) continue;
      int from = open >= 0 && k > open ? rank - (n - k) : k, to = k == open ? rank - (n - 1 - k) : from + 1;
      int64_t size = 1;
      for (int a = from; a < to; a++) size *= extent[a];
      if (pass) solve(names, &dims[k], size);
      else if (bare(&dims[k])) shape_set(names, dims[k].text, size);
    }
}

int shape_evaluate(const ShapeNames *names, const char *text, int64_t *extent, char unknown[48]) {
  Dim dims[SHAPE_MAX];
  int n = split(text, dims), rank = 0;
  *unknown = 0;
  for (int k = 0; k < n; k++) {
    if (dims[k].ellipsis) continue;
    if (!evaluate(names, &dims[k], &extent[rank++], unknown) || extent[rank - 1] < 0) return -1;
  }
  return n < 0 ? -1 : rank;
}

int shape_of_count(const ShapeNames *names, const char *text, int64_t count, int64_t *extent) {
  Dim dims[SHAPE_MAX];
  int n = split(text, dims), open = -1;
  int64_t known = 1;
  for (int k = 0; k < n; k++) {
    if (!dims[k].ellipsis && evaluate(names, &dims[k], &extent[k], NULL)) {
      if (extent[k] < 0 || __builtin_mul_overflow(known, extent[k], &known)) return -1;
    } else if (open >= 0) return -1;
    else open = k;
  }
  if (n < 0 || (open < 0 ? known != count : known ? count % known != 0 : count != 0)) return -1;
  if (open >= 0) extent[open] = known ? count/known : 0;
  return n;
}
