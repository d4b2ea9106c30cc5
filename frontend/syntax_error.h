/* syntax_error.h: the messages of the parser. Private to it. */
#ifndef OPTC_FRONTEND_SYNTAX_ERROR_H
#define OPTC_FRONTEND_SYNTAX_ERROR_H
#include "frontend/parser.h"

bool syntax_check_text(Diag *, const Source *);         /* size, NUL bytes, UTF-8; false after an error */
void syntax_never_closed(Parser *, Token open);
void syntax_closes_nothing(Parser *, Token closer);
void syntax_brace_on_next_line(Parser *, Token brace);
void syntax_bad_token(Parser *, Token);
#endif
