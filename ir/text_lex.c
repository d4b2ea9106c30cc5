/* text_lex.c: see text_lex.h. */
#include "ir/text_lex.h"
#include <math.h>
#include <string.h>

/* --- tokens ------------------------------------------------------------------------------------------------------------------ */

Range lex_range(const Lexer *l, uint32_t begin, uint32_t end) { return (Range){l->source, begin, end}; }

static bool fail_at(Lexer *l, const Token *at, const char *format, va_list list) {
  if (l->failed) return false;
  l->failed = true;
  diag_error(l->diag, lex_range(l, at->begin, at->end), "%s", arena_vprintf(l->arena, format, list));
  return false;
}

bool lex_fail(Lexer *l, const char *format, ...) {
  va_list list;
  va_start(list, format);
  fail_at(l, &l->now, format, list);
  va_end(list);
  return false;
}

bool lex_fail_at(Lexer *l, Token at, const char *format, ...) {
  va_list list;
  va_start(list, format);
  fail_at(l, &at, format, list);
  va_end(list);
  return false;
}

static bool in_word(const Lexer *l, unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c && strchr(l->in_words, c));
}

static unsigned hex_digit(unsigned char c) {
  return c >= '0' && c <= '9' ? c - 48u : c >= 'a' && c <= 'f' ? c - 'a' + 10u : c >= 'A' && c <= 'F' ? c - 'A' + 10u : 99;
}

static void read_string(Lexer *l) {
  const char *s = l->source->text;
  uint32_t end = (uint32_t)l->source->length, begin = l->at++;
  size_t most = 0;
  for (uint32_t i = l->at; i < end && s[i] != '"' && s[i] != '\n'; i += s[i] == '\\' ? 2 : 1) most++;
  char *to = arena_alloc(l->arena, most + 1), *out = to;
  while (l->at < end && s[l->at] != '"' && s[l->at] != '\n') {
    char c = s[l->at++];
    if (c == '\\' && l->at < end) {
      c = s[l->at++];
      if (c == 'n') c = '\n';
      else if (c == 'x' && end - l->at >= 2 && hex_digit((unsigned char)s[l->at]) < 16 && hex_digit((unsigned char)s[l->at + 1]) < 16) {
        c = (char)(hex_digit((unsigned char)s[l->at]) * 16 + hex_digit((unsigned char)s[l->at + 1]));
        l->at += 2;
      }
    }
    if (c) *out++ = c;
  }
  l->now = (Token){TOKEN_STRING, begin, l->at, to, false};
  if (l->at < end && s[l->at] == '"') l->now.end = ++l->at;
  else lex_fail(l, "this string is never closed");
}

void lex_next(Lexer *l) {
  const char *s = l->source->text;
  uint32_t end = (uint32_t)l->source->length;
  bool first = false;
  while (l->at < end) {
    first |= s[l->at] == '\n';
    if (s[l->at] == '#') while (l->at < end && s[l->at] != '\n') l->at++;
    else if (s[l->at] == ' ' || s[l->at] == '\n' || s[l->at] == '\t' || s[l->at] == '\r') l->at++;
    else break;
  }
  uint32_t begin = l->at;
  l->now = (Token){TOKEN_END, begin, begin, "", true};
  if (begin == end) return;
  if (s[begin] == '"') { read_string(l); return; }
  bool node = s[begin] == '%';
  if (node || in_word(l, (unsigned char)s[begin])) {
    l->at++;
    while (l->at < end && in_word(l, (unsigned char)s[l->at])) l->at++;
    l->now = (Token){node ? TOKEN_NODE : TOKEN_WORD, begin, l->at, arena_strndup(l->arena, s + begin + node, l->at - begin - node), first};
    return;
  }
  l->at++;
  l->now = (Token){TOKEN_SIGN, begin, l->at, arena_strndup(l->arena, s + begin, 1), first};
}

Lexer lex_open(Arena *arena, Diag *diag, const Source *source, const char *in_words) {
  Lexer l = {.arena = arena, .diag = diag, .source = source, .in_words = in_words, .now = {.text = ""}};
  if (source->length >= UINT32_MAX) lex_fail(&l, "the text is too long");
  else lex_next(&l);
  return l;
}

bool lex_is(const Lexer *l, TokenKind kind, const char *text) { return l->now.kind == kind && !strcmp(l->now.text, text); }

static bool accept(Lexer *l, TokenKind kind, const char *text) {
  if (l->failed || !lex_is(l, kind, text)) return false;
  lex_next(l);
  return true;
}

bool lex_word(Lexer *l, const char *word) { return accept(l, TOKEN_WORD, word); }
bool lex_sign(Lexer *l, const char *sign) { return accept(l, TOKEN_SIGN, sign); }
bool lex_expect(Lexer *l, const char *sign) { return lex_sign(l, sign) || lex_fail(l, "expected '%s'", sign); }

const char *lex_take(Lexer *l, TokenKind kind, const char *what) {
  if (l->failed || l->now.kind != kind) { lex_fail(l, "expected %s", what); return ""; }
  const char *text = l->now.text;
  lex_next(l);
  return text;
}

int64_t lex_integer(Lexer *l) {
  int64_t v = 0;
  Token token = l->now;
  const char *s = lex_take(l, TOKEN_WORD, "an integer");
  if (!l->failed && !lex_signed(s, &v)) lex_fail_at(l, token, "expected an integer, not '%s'", s);
  return v;
}

Type lex_type(Lexer *l) {
  Type type = TYPE_F32;
  if (l->failed || l->now.kind != TOKEN_WORD || !type_parse(l->now.text, &type)) lex_fail(l, "expected a type");
  else lex_next(l);
  return type;
}

/* --- numbers, without the locale ----------------------------------------------------------------------------------------------- */

bool lex_digits(const char *s, uint64_t *out) {
  unsigned base = s[0] == '0' && s[1] == 'x' ? 16 : 10;
  if (base == 16) s += 2;
  uint64_t v = 0;
  if (!*s) return false;
  for (; *s; s++) {
    unsigned d = hex_digit((unsigned char)*s);
    if (d >= base || __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v)) return false;
  }
  *out = v;
  return true;
}

bool lex_signed(const char *s, int64_t *out) {
  bool minus = *s == '-';
  uint64_t v;
  if (!lex_digits(s + minus, &v) || v > (uint64_t)INT64_MAX + minus) return false;
  *out = (int64_t)(minus ? 0 - v : v);
  return true;
}

static bool parse_exponent(const char *s, int *out) {
  bool minus = *s == '-';
  uint64_t v;
  if (*s == '-' || *s == '+') s++;
  if (s[0] == '0' && s[1] == 'x') return false;
  if (!lex_digits(s, &v) || v > 5000) return false;
  *out = minus ? -(int)v : (int)v;
  return true;
}

bool lex_real(const char *s, double *out) {
  bool minus = *s == '-';
  if (minus) s++;
  if (!strcmp(s, "inf")) { *out = minus ? -INFINITY : INFINITY; return true; }
  bool hex = s[0] == '0' && s[1] == 'x';
  if (hex) s += 2;
  uint64_t mantissa = 0;
  int digits = 0, after = 0, exponent = 0;
  bool point = false;
  for (; *s; s++) {
    if (*s == '.') { if (point) return false; point = true; continue; }
    unsigned d = hex_digit((unsigned char)*s);
    if (d >= (hex ? 16 : 10)) break;
    digits++;
    if (mantissa > (hex ? UINT64_MAX >> 4 : UINT64_C(1) << 53)) return false;
    mantissa = mantissa * (hex ? 16 : 10) + d;
    after += point;
  }
  if (!hex && mantissa > UINT64_C(1) << 53) return false;
  if (!digits || (*s && *s != (hex ? 'p' : 'e')) || (*s && !parse_exponent(s + 1, &exponent))) return false;
  double x;
  if (hex) x = ldexp((double)mantissa, exponent - 4 * after);
  else {
    static const double ten[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    exponent -= after;
    if (exponent < -22 || exponent > 22) return false;
    x = exponent < 0 ? (double)mantissa / ten[-exponent] : (double)mantissa * ten[exponent];
  }
  *out = minus ? -x : x;
  return true;
}

void text_add_quoted(Text *out, const char *s) {
  text_append(out, "\"", 1);
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') text_add(out, "\\%c", c);
    else if (c == '\n') text_append(out, "\\n", 2);
    else if (c < 32 || c == 127) text_add(out, "\\x%02x", c);
    else text_append(out, s, 1);
  }
  text_append(out, "\"", 1);
}
