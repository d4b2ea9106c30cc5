/* syntax_error.c: what the parser says about a text it cannot read (language reference, section 7, rows marked P). */
#include <string.h>
#include "frontend/grammar.h"
#include "frontend/lexer.h"
#include "frontend/syntax_error.h"

bool syntax_check_text(Arena *a, Diag *d, const Source *s) {
  if (s->length > FRONTEND_MAX_BYTES) {
    diag_error(d, (Range){s, 0, 0}, "the file has %zu bytes, more than the %u a source may have", s->length, FRONTEND_MAX_BYTES);
    return false;
  }
  return true;
}

void syntax_never_closed(Parser *p, Token open) {
  diag_error(p->diag, parse_token_range(p, open), "'%s' is never closed", open.kind == T_LPAREN ? "(" : open.kind == T_LBRACKET ? "[" : "{");
}

void syntax_closes_nothing(Parser *p, Token t) {
  diag_error(p->diag, parse_token_range(p, t), "'%s' closes nothing", t.kind == T_RPAREN ? ")" : t.kind == T_RBRACKET ? "]" : "}");
}

void syntax_brace_on_next_line(Parser *p, Token t) {
  diag_error(p->diag, parse_token_range(p, t), "'{' must stand on the line of what it belongs to");
}

void syntax_bad_token(Parser *p, Token t) {
  diag_error(p->diag, parse_token_range(p, t), "%s", t.text);
  if (t.fix) diag_fix(p->diag, t.fix);
}

void parse_refused(Parser *p, Token t) {
  p->failed = true;
  if (t.kind == T_BAD) return;
  diag_error(p->diag, parse_token_range(p, t), "syntax error");
}
