/* ptx_lexer.re: from PTX text to tokens (re2c). What is no token becomes PTX_T_BAD. */
#include <stdlib.h>
#include <string.h>
#include "backends/ptx/ptx_grammar.h"
#include "backends/ptx/syntax.h"

static const struct { const char *text; int kind; } directives[] = {
  {".version", PTX_T_VERSION}, {".target", PTX_T_TARGET}, {".address_size", PTX_T_ADDRESS_SIZE}, {".entry", PTX_T_ENTRY}, {".func", PTX_T_FUNC},
  {".visible", PTX_T_VISIBLE}, {".weak", PTX_T_VISIBLE}, {".extern", PTX_T_EXTERN}, {".reg", PTX_T_REG}, {".align", PTX_T_ALIGN}, {".pragma", PTX_T_PRAGMA},
  {".param", PTX_T_PARAM}, {".shared", PTX_T_SHARED}, {".local", PTX_T_LOCAL}, {".global", PTX_T_GLOBAL}, {".const", PTX_T_CONST}, {".ptr", PTX_T_PTR},
  {".maxntid", PTX_T_THREADS}, {".reqntid", PTX_T_THREADS}, {".minnctapersm", PTX_T_HINT}, {".maxnreg", PTX_T_HINT}, {".maxnctapersm", PTX_T_HINT},
  {".noreturn", PTX_T_NORETURN}, {".branchtargets", PTX_T_BRANCHTARGETS},
  {".pred", PTX_T_TYPE}, {".b8", PTX_T_TYPE}, {".b16", PTX_T_TYPE}, {".b32", PTX_T_TYPE}, {".b64", PTX_T_TYPE}, {".u8", PTX_T_TYPE}, {".u16", PTX_T_TYPE},
  {".u32", PTX_T_TYPE}, {".u64", PTX_T_TYPE}, {".s8", PTX_T_TYPE}, {".s16", PTX_T_TYPE}, {".s32", PTX_T_TYPE}, {".s64", PTX_T_TYPE}, {".f16", PTX_T_TYPE},
  {".f16x2", PTX_T_TYPE}, {".bf16", PTX_T_TYPE}, {".bf16x2", PTX_T_TYPE}, {".f32", PTX_T_TYPE}, {".f64", PTX_T_TYPE},
};

static int directive(const char *text, size_t n) {
  for (size_t i = 0; i < sizeof directives/sizeof *directives; i++)
    if (strlen(directives[i].text) == n && !memcmp(directives[i].text, text, n)) return directives[i].kind;
  return PTX_T_UNKNOWN;
}

/* An integer in any of PTX's bases; too large a one is no token. */
static int integer(PtxToken *t, const char *digits, const char *end, unsigned base) {
  t->value = 0;
  for (; digits < end && *digits != 'U'; digits++) {
    unsigned d = *digits <= '9' ? (unsigned)(*digits - '0') : (unsigned)((*digits | 32) - 'a') + 10;
    if (t->value > (UINT64_MAX - d)/base) return PTX_T_BAD;
    t->value = t->value*base + d;
  }
  return PTX_T_INTEGER;
}

void ptx_lexer_next(PtxLexer *x, PtxToken *t) {
  const char *begin;
  *t = (PtxToken){0};
  /*!re2c
    re2c:api:style = free-form;
    re2c:define:YYCTYPE = "unsigned char";
    re2c:define:YYCURSOR = "x->cursor";
    re2c:define:YYMARKER = "x->marker";
    re2c:define:YYLIMIT = "x->limit";
    re2c:yyfill:enable = 0;
    re2c:eof = 0;

    hex  = [0-9a-fA-F];
    word = [A-Za-z_$%] [A-Za-z0-9_$]*;
    part = [A-Za-z0-9_$]+ ("::" [A-Za-z0-9_$]+)*;
  */
  for (;;) {
    begin = x->cursor;
    /*!re2c
      $ { t->kind = 0; break; }
      [ \t\r\n]+ { continue; }
      "//" [^\n\x00]* { continue; }
      "/*" ([^*\x00] | "*"+ [^*/\x00])* "*"+ "/" { continue; }

      word { t->kind = PTX_T_NAME; break; }
      word ("." part)+ { t->kind = PTX_T_DOTTED; break; }
      "." part { t->kind = directive(begin, (size_t)(x->cursor - begin)); break; }

      "0" [fF] hex{8} { integer(t, begin + 2, x->cursor, 16); t->kind = PTX_T_SINGLE; break; }
      "0" [dD] hex{16} { integer(t, begin + 2, x->cursor, 16); t->kind = PTX_T_DOUBLE; break; }
      "0" [xX] hex+ "U"? { t->kind = integer(t, begin + 2, x->cursor, 16); break; }
      "0" [bB] [01]+ "U"? { t->kind = integer(t, begin + 2, x->cursor, 2); break; }
      "0" [0-7]* "U"? { t->kind = integer(t, begin, x->cursor, 8); break; }
      [1-9] [0-9]* "U"? { t->kind = integer(t, begin, x->cursor, 10); break; }
      [0-9]+ "." [0-9]+ { t->kind = PTX_T_DECIMAL; break; }
      "\"" [^"\n\x00]* "\"" { t->kind = PTX_T_STRING; break; }

      "," { t->kind = PTX_T_COMMA; break; }
      ";" { t->kind = PTX_T_SEMICOLON; break; }
      ":" { t->kind = PTX_T_COLON; break; }
      "{" { t->kind = PTX_T_LBRACE; break; }
      "}" { t->kind = PTX_T_RBRACE; break; }
      "(" { t->kind = PTX_T_LPAREN; break; }
      ")" { t->kind = PTX_T_RPAREN; break; }
      "[" { t->kind = PTX_T_LBRACKET; break; }
      "]" { t->kind = PTX_T_RBRACKET; break; }
      "<" { t->kind = PTX_T_LESS; break; }
      ">" { t->kind = PTX_T_GREATER; break; }
      "+" { t->kind = PTX_T_PLUS; break; }
      "-" { t->kind = PTX_T_MINUS; break; }
      "@" { t->kind = PTX_T_AT; break; }
      "!" { t->kind = PTX_T_NOT; break; }
      "|" { t->kind = PTX_T_BAR; break; }
      "=" { t->kind = PTX_T_ASSIGN; break; }
      * { t->kind = PTX_T_BAD; break; }
    */
  }
  t->text = begin;
  t->length = (uint32_t)(x->cursor - begin);
  t->begin = (uint32_t)(begin - x->text);
}
