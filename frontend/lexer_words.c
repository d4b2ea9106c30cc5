/* lexer_words.c: what the lexer asks about a word: keywords, the value of a number, the name of a foreign character. */
#define _GNU_SOURCE
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "frontend/grammar.h"
#include "frontend/lexer.h"

const Keyword lexer_keywords[] = {
  {"use", T_USE}, {"const", T_CONST}, {"fn", T_FN}, {"rule", T_RULE}, {"return", T_RETURN}, {"param", T_PARAM}, {"grad", T_GRAD}, {"state", T_STATE},
  {"scalar", T_SCALAR}, {"global", T_GLOBAL}, {"in", T_IN}, {"out", T_OUT}, {"inout", T_INOUT}, {"optional", T_OPTIONAL}, {"entry", T_ENTRY},
  {"backward", T_BACKWARD}, {"wrt", T_WRT}, {"saving", T_SAVING}, {"require", T_REQUIRE}, {"if", T_IF}, {"else", T_ELSE}, {"repeat", T_REPEAT},
  {"scan", T_SCAN}, {"reverse", T_REVERSE}, {"skip", T_SKIP}, {"apply", T_APPLY}, {"as", T_AS}, {"is", T_IS}, {"flat", T_FLAT},
  {"stochastic", T_STOCHASTIC}, {"flush", T_FLUSH}, {"and", T_AND}, {"or", T_OR}, {"not", T_NOT},
  {"f64", T_TYPE}, {"f32", T_TYPE}, {"bf16", T_TYPE}, {"f16", T_TYPE}, {"i32", T_TYPE}, {"i8", T_TYPE}, {"u8", T_TYPE}, {"q8", T_TYPE}, {"q8u", T_TYPE},
  {"q4", T_TYPE}, {"q4u", T_TYPE}, {"int", T_TYPE}, {"bool", T_TYPE},
  {"inf", T_WORD}, {"nan", T_WORD}, {"pi", T_WORD}, {"true", T_WORD}, {"false", T_WORD},
  {NULL, 0}
};

/* --- numbers ------------------------------------------------------------------------------------------------------ */

void lexer_integer(Arena *a, Token *t, const char *begin, const char *end, int base) {
  int64_t value = 0;
  t->kind = T_NUMBER;
  for (const char *p = begin; p < end; p++) {
    int digit = *p <= '9' ? *p - '0' : (*p | 32) - 'a' + 10;
    if (__builtin_mul_overflow(value, (int64_t)base, &value) || __builtin_add_overflow(value, (int64_t)digit, &value)) {
      t->kind = T_BAD;
      t->text = "the integer is larger than 2^63 - 1; a real is written with '.' or 'e'";
      return;
    }
  }
  t->value = value;
}

/* strtod rounds correctly; the C locale makes '.' the point whatever the host program has set. */
void lexer_real(Arena *a, Token *t, const char *begin, const char *end) {
  const char *text = arena_strndup(a, begin, (size_t)(end - begin));
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (!c) longjmp(*arena_guard(a), 1);
  t->number = strtod_l(text, NULL, c);
  freelocale(c);
  t->kind = T_NUMBER;
  t->text = text;                                                         /* says that it is a real */
  if (isinf(t->number)) {
    t->kind = T_BAD;
    t->text = "the number is larger than the largest f64, 1.7976931348623157e308; infinity is written 'inf'";
  }
}

static int clip(const char *begin, const char *end) { return end - begin > 40 ? 40 : (int)(end - begin); }

void lexer_bad_number(Arena *a, Token *t, const char *begin, const char *end) {
  t->kind = T_BAD;
  t->text = arena_printf(a, "'%.*s' is neither a number nor a name", clip(begin, end), begin);
}

/* --- characters that are not ASCII ---------------------------------------------------------------------------------- */

typedef struct Foreign { const char *character, *ascii; bool is_name; } Foreign;
static const Foreign foreign[] = {
  {"α", "alpha", true}, {"β", "beta", true}, {"γ", "gamma", true}, {"δ", "delta", true}, {"ε", "eps", true}, {"ϵ", "eps", true}, {"ζ", "zeta", true},
  {"η", "eta", true}, {"θ", "theta", true}, {"ι", "iota", true}, {"κ", "kappa", true}, {"λ", "lambda", true}, {"μ", "mu", true}, {"µ", "mu", true},
  {"ν", "nu", true}, {"ξ", "xi", true}, {"ρ", "rho", true}, {"σ", "sigma", true}, {"τ", "tau", true}, {"φ", "phi", true}, {"ϕ", "phi", true},
  {"χ", "chi", true}, {"ψ", "psi", true}, {"ω", "omega", true}, {"Γ", "Gamma", true}, {"Δ", "Delta", true}, {"Θ", "Theta", true}, {"Λ", "Lambda", true},
  {"Σ", "Sigma", true}, {"Φ", "Phi", true}, {"Ψ", "Psi", true}, {"Ω", "Omega", true}, {"π", "pi", true},
  {"×", "*", false}, {"·", "*", false}, {"÷", "/", false}, {"−", "-", false}, {"–", "-", false}, {"≤", "<=", false}, {"≥", ">=", false}, {"≠", "!=", false},
  {"∞", "inf", false}, {"√", "sqrt(...)", false}, {"∑", "sum[i](...)", false}, {"²", "^2", false}, {"³", "^3", false}, {"ᵀ", "'", false}, {"∧", "and", false},
  {"∨", "or", false}, {"¬", "not", false}, {"…", "...", false}, {"“", "\"", false}, {"”", "\"", false}, {"‘", "'", false}, {"’", "'", false},
};

void lexer_bad_character(Arena *a, Token *t, const char *begin, const char *end) {
  size_t n = (size_t)(end - begin);
  unsigned char c = (unsigned char)*begin;
  t->kind = T_BAD;
  for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
    if (strlen(foreign[i].character) == n && !memcmp(foreign[i].character, begin, n)) {
      t->text = arena_printf(a, foreign[i].is_name ? "names are ASCII; write '%s'" : "the language is ASCII; write '%s'", foreign[i].ascii);
      t->fix = strchr(foreign[i].ascii, '(') ? NULL : foreign[i].ascii;
      return;
    }
  if (n == 3 && !memcmp(begin, "\xef\xbb\xbf", 3)) t->text = "a byte order mark; save the file without";
  else if (n > 1) t->text = arena_printf(a, "names are ASCII: '%.*s' cannot be used", (int)n, begin);
  else if (c >= 0x80) t->text = arena_printf(a, "the byte 0x%02x is not UTF-8", c);
  else if (c < 0x20 || c == 0x7f) t->text = arena_printf(a, "unexpected control character 0x%02x", c);
  else t->text = arena_printf(a, "unexpected '%c'", c);
}
