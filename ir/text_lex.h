/* text_lex.h: tokens of the text forms; for graph_parse.c, kernel_parse.c and their printers only. Any bytes are answered with tokens or with one error.
 *
 * A Lexer lies with the parser; the texts of its tokens lie in the arena and outlast it. After the first error nothing is accepted or taken any more, and what
 * is taken then is "", 0 or NULL-like: parsers go on to their end and look at `failed` where a loop or an index needs it. */
#ifndef OPTC_IR_TEXT_LEX_H
#define OPTC_IR_TEXT_LEX_H
#include "ir/diag.h"
#include "ir/type.h"

/* WORD: letters, digits, _ and what the form adds; numbers are words. NODE: % and a word. SIGN: one other character. */
typedef enum TokenKind { TOKEN_END, TOKEN_WORD, TOKEN_STRING, TOKEN_NODE, TOKEN_SIGN } TokenKind;
typedef struct Token { TokenKind kind; uint32_t begin, end; const char *text; bool first; } Token;     /* text: without % or quotes, unescaped; first: of its line */

typedef struct Lexer {
  Arena *arena;
  Diag *diag;
  const Source *source;
  const char *in_words;                  /* characters that words may have beside letters, digits and _ */
  Token now;
  uint32_t at;                           /* behind it */
  bool failed;
} Lexer;

Lexer lex_open(Arena *, Diag *, const Source *, const char *in_words);   /* at the first token; failed if the text is too long */
void lex_next(Lexer *);
Range lex_range(const Lexer *, uint32_t begin, uint32_t end);
bool lex_fail(Lexer *, const char *format, ...) __attribute__((format(printf, 2, 3)));         /* the first error, at the token; false */
bool lex_fail_at(Lexer *, Token, const char *format, ...) __attribute__((format(printf, 3, 4)));

bool lex_is(const Lexer *, TokenKind, const char *text);
bool lex_word(Lexer *, const char *word);                                /* accepts it */
bool lex_sign(Lexer *, const char *sign);                                /* accepts it */
bool lex_expect(Lexer *, const char *sign);
const char *lex_take(Lexer *, TokenKind, const char *what);              /* "expected `what`" */
int64_t lex_integer(Lexer *);
Type lex_type(Lexer *);

/* Numbers, without the locale. */
bool lex_digits(const char *, uint64_t *);                               /* decimal, or 0x and hexadecimal */
bool lex_signed(const char *, int64_t *);
bool lex_real(const char *, double *);   /* inf; hexadecimal of up to 16 digits, or a decimal that one rounding gets right (digits up to 2^53, a power of ten up to 22) */

void text_add_quoted(Text *, const char *);                              /* as a STRING reads back */
#endif
