/* lexer.h: the keywords, numbers and foreign characters of the lexer. Private to the parser. */
#ifndef OPTC_FRONTEND_LEXER_H
#define OPTC_FRONTEND_LEXER_H
#include "frontend/parser.h"

typedef struct Keyword { const char *text; int kind; } Keyword;
extern const Keyword lexer_keywords[];   /* ends with a NULL text; types are T_TYPE, word constants T_WORD */

void lexer_integer(Arena *, Token *, const char *begin, const char *end, int base);
void lexer_real(Arena *, Token *, const char *begin, const char *end);
void lexer_bad_number(Arena *, Token *, const char *begin, const char *end);
void lexer_bad_character(Arena *, Token *, const char *begin, const char *end);
#endif
