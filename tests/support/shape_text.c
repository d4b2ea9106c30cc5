/* shape_text.c: see shape_text.h. */
#include "tests/support/shape_text.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "ir/module.h"

typedef struct Reader { ShapeSize *size; const void *self; const char *at; } Reader;

size_t shape_word(const char *at) {
  size_t n = 0;
  while (isalnum((unsigned char)at[n]) || at[n] == '_') n++;
  return n;
}

int shape_names(const optc_rule_desc *desc, char (*names)[SHAPE_NAME]) {
  int n = 0;
  for (int64_t k = 0; k < desc->n_operands; k++) {
    const optc_operand_desc *o = &desc->operands[k];
    if (o->role == ROLE_OUT || o->role == ROLE_STATE || !o->shape) continue;
    for (const char *at = o->shape; *at;) {
      size_t length = shape_word(at);
      if (!length) { at++; continue; }
      bool known = isdigit((unsigned char)*at) || length >= SHAPE_NAME || (length == 4 && !strncmp(at, "flat", 4));
      for (int64_t h = 0; h < desc->n_hypers; h++) known |= strlen(desc->hypers[h].name) == length && !strncmp(desc->hypers[h].name, at, length);
      for (int i = 0; i < n; i++) known |= strlen(names[i]) == length && !strncmp(names[i], at, length);
      if (!known && n < SHAPE_NAMES) { memcpy(names[n], at, length); names[n++][length] = 0; }
      at += length;
    }
  }
  return n;
}

static int64_t sum(Reader *r);
static void blanks(Reader *r) { while (*r->at == ' ') r->at++; }
static int64_t atom(Reader *r) {
  blanks(r);
  if (*r->at == '(') {
    r->at++;
    int64_t v = sum(r);
    blanks(r);
    r->at += *r->at == ')';
    return v;
  }
  if (isdigit((unsigned char)*r->at)) return strtoll(r->at, (char **)&r->at, 10);
  size_t n = shape_word(r->at);
  const char *name = r->at;
  if (!n) { r->at += *r->at != 0 && *r->at != ']' && *r->at != ','; return 1; }
  r->at += n;
  blanks(r);
  if (*r->at == '(' && n == 3) {         /* min(a, b), max(a, b) */
    r->at++;
    int64_t a = sum(r);
    blanks(r);
    r->at += *r->at == ',';
    int64_t b = sum(r);
    blanks(r);
    r->at += *r->at == ')';
    return (a < b) == (name[1] == 'i') ? a : b;
  }
  return r->size(r->self, name, n);
}
static int64_t product(Reader *r) {
  int64_t v = atom(r);
  for (;;) {
    blanks(r);
    if (*r->at == '*') { r->at++; v *= atom(r); continue; }
    if (*r->at != '/') return v;
    r->at += r->at[1] == '/' ? 2 : 1;
    int64_t b = atom(r);
    v = b ? v/b : 0;
  }
}
static int64_t sum(Reader *r) {
  int64_t v = product(r);
  for (;;) {
    blanks(r);
    if (*r->at != '+' && *r->at != '-') return v;
    bool minus = *r->at++ == '-';
    int64_t b = product(r);
    v += minus ? -b : b;
  }
}

ShapeValue shape_read(const char *text, ShapeSize *size, const void *self) {
  ShapeValue s = {0};
  Reader r = {size, self, text + (*text == '[')};
  for (blanks(&r); *r.at && *r.at != ']' && s.rank < SHAPE_AXES; blanks(&r)) {
    if (!strncmp(r.at, "...", 3)) r.at += 3;
    else {
      if (!strncmp(r.at, "flat ", 5)) r.at += 5;
      int64_t v = sum(&r);
      s.axis[s.rank++] = v > 0 ? v : 0;
    }
    blanks(&r);
    r.at += *r.at == ',';
  }
  return s;
}
