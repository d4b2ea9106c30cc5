/* lexer.re: from bytes to tokens (re2c). Never fails: what is no token becomes a T_BAD that says why. */
#include <string.h>
#include "frontend/grammar.h"
#include "frontend/habits.h"
#include "frontend/lexer.h"
#include "frontend/parser.h"

void lexer_start(Lexer *x, Arena *a, const Source *source) {
  x->arena = a;
  x->source = source;
  x->begin = x->cursor = x->marker = arena_strndup(a, source->text, source->length);
  x->limit = x->begin + source->length;
}

/* --- keywords -------------------------------------------------------------------------------------------------- */

static int keyword(const char *text, size_t n) {
  for (size_t i = 0; lexer_keywords[i].text; i++)
    if (*lexer_keywords[i].text == *text && strlen(lexer_keywords[i].text) == n && !memcmp(lexer_keywords[i].text, text, n)) return lexer_keywords[i].kind;
  return T_NAME;
}

static void name_token(Lexer *x, Token *t, const char *begin) {
  size_t n = (size_t)(x->cursor - begin);
  t->kind = keyword(begin, n);
  t->text = arena_strndup(x->arena, begin, n);
}

static void bad_token(Token *t, const char *message, const char *fix) {
  t->kind = T_BAD;
  t->text = message;
  t->fix = fix;
}

/* `##` lines: one blank after the marks is not part of the text; lines of one block are joined by new lines. */
static void doc_line(Lexer *x, Text *doc, const char *begin) {
  const char *p = begin + 2, *end = x->cursor;
  if (p < end && *p == ' ') p++;
  while (end > p && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t')) end--;
  if (doc->data) text_append(doc, "\n", 1);
  text_append(doc, p, (size_t)(end - p));
}

void lexer_next(Lexer *x, Token *t) {
  *t = (Token){.kind = 0};
  Text doc = {.arena = x->arena};
  const char *begin;
  /*!re2c
    re2c:api:style = free-form;
    re2c:define:YYCTYPE = "unsigned char";
    re2c:define:YYCURSOR = "x->cursor";
    re2c:define:YYMARKER = "x->marker";
    re2c:define:YYLIMIT = "x->limit";
    re2c:yyfill:enable = 0;
    re2c:eof = 0;

    digits = [0-9]+;
    exponent = [eE] [+-]? digits;
    name = [A-Za-z_] [A-Za-z0-9_]*;
    cont = [\x80-\xbf];
    utf8 = [\xc2-\xdf] cont | "\xe0" [\xa0-\xbf] cont | [\xe1-\xec\xee\xef] cont cont | "\xed" [\x80-\x9f] cont
         | "\xf0" [\x90-\xbf] cont cont | [\xf1-\xf3] cont cont cont | "\xf4" [\x80-\x8f] cont cont;
  */
  for (;;) {
    begin = x->cursor;
    /*!re2c
      $ { t->kind = 0; break; }
      [ \t\r]+ { continue; }
      "\n" { t->after_newline = true; continue; }
      "##" [^\n\x00]* { doc_line(x, &doc, begin); continue; }
      "#" [^\n\x00]* { continue; }

      name { name_token(x, t, begin); break; }
      digits { lexer_integer(x->arena, t, begin, x->cursor, 10); break; }
      '0x' [0-9a-fA-F]+ { lexer_integer(x->arena, t, begin + 2, x->cursor, 16); break; }
      (digits "." [0-9]* | "." digits) exponent? | digits exponent { lexer_real(x->arena, t, begin, x->cursor); break; }
      (digits [A-Za-z0-9_]+ | (digits "." [0-9]* | "." digits) exponent? name) { lexer_bad_number(x->arena, t, begin, x->cursor); break; }

      "\"" [^"\n\x00]* "\"" { t->kind = T_STRING; t->text = arena_strndup(x->arena, begin + 1, (size_t)(x->cursor - begin) - 2); break; }
      "\"" [^"\n\x00]* { bad_token(t, "the string is never closed: '\"' is missing", NULL); break; }

      "..." { t->kind = T_ELLIPSIS; break; }
      "<<" { t->kind = T_SHL; break; }
      ">>" { t->kind = T_SHR; break; }
      "<=" { t->kind = T_LE; break; }
      ">=" { t->kind = T_GE; break; }
      "==" { t->kind = T_EQ; break; }
      "!=" { t->kind = T_NE; break; }
      "+=" { t->kind = T_ADD_ASSIGN; break; }
      "-=" { t->kind = T_SUB_ASSIGN; break; }
      "*=" { t->kind = T_MUL_ASSIGN; break; }
      "/=" { t->kind = T_DIV_ASSIGN; break; }
      "//" { t->kind = T_IDIV; break; }
      "=" { t->kind = T_ASSIGN; break; }
      "<" { t->kind = T_LT; break; }
      ">" { t->kind = T_GT; break; }
      "|" { t->kind = T_BOR; break; }
      "&" { t->kind = T_BAND; break; }
      "+" { t->kind = T_PLUS; break; }
      "-" { t->kind = T_MINUS; break; }
      "*" { t->kind = T_STAR; break; }
      "/" { t->kind = T_SLASH; break; }
      "%" { t->kind = T_PERCENT; break; }
      "@" { t->kind = T_AT; break; }
      "^" { t->kind = T_CARET; break; }
      "'" { t->kind = T_PRIME; break; }
      "," { t->kind = T_COMMA; break; }
      ":" { t->kind = T_COLON; break; }
      ";" { t->kind = T_SEMICOLON; break; }
      "(" { t->kind = T_LPAREN; break; }
      ")" { t->kind = T_RPAREN; break; }
      "[" { t->kind = T_LBRACKET; break; }
      "]" { t->kind = T_RBRACKET; break; }
      "{" { t->kind = T_LBRACE; break; }
      "}" { t->kind = T_RBRACE; break; }

      "&&" { bad_token(t, "'&&' is not an operator; write 'and'", "and"); break; }
      "||" { bad_token(t, "'||' is not an operator; write 'or'", "or"); break; }
      "!" { bad_token(t, "'!' is not an operator; write 'not'", "not "); break; }
      "?" { bad_token(t, "unexpected '?'; a choice is written where(c, a, b)", NULL); break; }
      "." name { bad_token(t, habit_attribute(arena_strndup(x->arena, begin + 1, (size_t)(x->cursor - begin) - 1)), NULL); x->cursor = begin + 1; break; }
      "." { bad_token(t, "unexpected '.'", NULL); break; }
      "\x00" { bad_token(t, "a NUL byte in the text: this is not a source file", NULL); break; }
      utf8 { lexer_bad_character(x->arena, t, begin, x->cursor); break; }
      * { lexer_bad_character(x->arena, t, begin, x->cursor); break; }
    */
  }
  t->doc = doc.data;
  t->begin = (uint32_t)(begin - x->begin);
  t->end = (uint32_t)(x->cursor - x->begin);
}
