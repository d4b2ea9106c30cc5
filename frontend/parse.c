/* parse.c: from a source to its tree: the filter that turns new lines into separators, brackets, and recovery after an error. */
#include <string.h>
#include "frontend/grammar.h"
#include "frontend/parser.h"
#include "frontend/syntax_error.h"

size_t grammar_size(void);
void grammar_recovered(void *);
void GrammarInit(void *);
void Grammar(void *, int, Token, Parser *);

/* --- what a token may do at the end and at the beginning of a line --------------------------------------------------------- */

bool parse_can_end(int kind) {
  switch (kind) {
    case T_NAME: case T_NUMBER: case T_WORD: case T_STRING: case T_TYPE: case T_RPAREN: case T_RBRACKET: case T_RBRACE: case T_PRIME:
    case T_OPTIONAL: case T_REVERSE: case T_STOCHASTIC: case T_FLUSH: case T_NEAREST: case T_RETURN: case T_BAD: return true;
    default: return false;
  }
}

static bool continues(int kind) {
  switch (kind) {
    case T_OR: case T_AND: case T_LT: case T_LE: case T_GT: case T_GE: case T_EQ: case T_NE: case T_BOR: case T_BAND: case T_SHL: case T_SHR:
    case T_PLUS: case T_MINUS: case T_STAR: case T_SLASH: case T_IDIV: case T_PERCENT: case T_AT: case T_CARET:
    case T_ASSIGN: case T_ADD_ASSIGN: case T_SUB_ASSIGN: case T_MUL_ASSIGN: case T_DIV_ASSIGN:
    case T_COMMA: case T_RBRACE: case T_RPAREN: case T_RBRACKET: case T_AS: case T_IS: case T_ELSE: return true;
    default: return false;
  }
}

/* --- to the grammar, or past it ------------------------------------------------------------------------------------------------ */

static unsigned braces_open(const Parser *p) {
  unsigned n = p->n_open;
  while (n && p->open[n - 1].kind != T_LBRACE) n--;
  return n;
}

static bool inside_bracket(const Parser *p) { return p->n_open && p->open[p->n_open - 1].kind != T_LBRACE; }

/* Where reading goes on after an error: at the end of the statement, or of the hyper-parameter in a rule's header. */
static bool in_rule_header(const Parser *p) { return p->first.kind == T_RULE && p->n_open && p->open[0].kind == T_LPAREN; }

static bool ends_hyper(const Parser *p, Token t) {
  return p->first.kind == T_RULE && ((t.kind == T_COMMA && p->n_open == 1 && p->open[0].kind == T_LPAREN) || (t.kind == T_RPAREN && !p->n_open));
}

static bool ends_statement(const Parser *p, Token t) {
  if (p->skip_hyper && ends_hyper(p, t)) return true;
  return t.kind == 0 || (t.kind == T_SEP && p->n_open <= p->skip_open) || (t.kind == T_RBRACE && p->n_open < p->skip_open);
}

/* After so many errors in one source the rest is not read: nobody looks at them, and each costs memory. */
enum { MOST_ERRORS = 1000 };

static void give(Parser *p, Token t) {
  if (p->stop) return;
  if (p->skip) {
    if (!ends_statement(p, t)) { p->last = t; return; }
    p->skip = false;
  }
  bool starts = p->last.kind == 0 || p->last.kind == T_SEP || p->last.kind == T_LBRACE;
  if (starts) {
    p->first = t;
    if (t.kind == T_FN) p->unsound = false;
  }
  if (t.after_newline) p->before_line = p->last, p->line = t;
  p->failed = false;
  Grammar(p->grammar, t.kind, t, p);
  p->before_last = p->last;
  p->last = t;
  if (!p->failed) return;
  p->unsound = true;
  if (++p->n_failed >= MOST_ERRORS) p->stop = true;
  if (p->reread) {
    p->reread = false;
    p->last = (Token){.kind = T_SEP, .begin = p->reread_at, .end = p->reread_at};
    grammar_recovered(p->grammar);
    Grammar(p->grammar, T_SEP, p->last, p);
    p->lexer.cursor = p->lexer.begin + p->reread_at;
    return;
  }
  p->skip_hyper = in_rule_header(p);
  if (t.kind == T_SEP || t.kind == T_RBRACE || t.kind == 0 || ends_hyper(p, t)) { grammar_recovered(p->grammar); return; }
  p->skip = true;
  p->skip_open = braces_open(p);
}

static void give_end_of_skip(Parser *p, Token t) {
  bool was = p->skip;
  give(p, t);
  if (was && !p->skip) grammar_recovered(p->grammar);
}

/* The bracket on top is never closed: one error there, and the statement around it is left out. */
static void drop_brackets(Parser *p, Token at) {
  if (!inside_bracket(p)) return;
  Token open = p->open[p->n_open - 1];
  p->n_open = braces_open(p);
  if (p->skip) return;
  syntax_never_closed(p, open);
  give(p, (Token){.kind = T_BAD, .begin = at.begin, .end = at.begin});
}

static int closer_of(int open) { return open == T_LPAREN ? T_RPAREN : open == T_LBRACKET ? T_RBRACKET : T_RBRACE; }
static bool is_closer(int kind) { return kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE; }

/* False: the token is dropped. */
static bool track_closer(Parser *p, Token t) {
  if (t.kind == T_RBRACE) drop_brackets(p, t);
  if (!p->n_open || (t.kind != T_RBRACE && p->open[p->n_open - 1].kind == T_LBRACE)) {
    if (!p->skip) syntax_closes_nothing(p, t), give(p, (Token){.kind = T_BAD, .begin = t.begin, .end = t.end});
    return false;
  }
  if (closer_of(p->open[p->n_open - 1].kind) != t.kind) {                 /* ( closed by ] */
    drop_brackets(p, t);
    return false;
  }
  p->n_open--;
  return true;
}

static void track_opener(Parser *p, Token t) {
  if (p->n_open < FRONTEND_MAX_DEPTH) p->open[p->n_open++] = t;
  else parse_too_deep_at(p, t);
}

void parse_too_deep_at(Parser *p, Token t) {
  if (!p->stop) diag_error(p->diag, parse_token_range(p, t), "nested deeper than %d", FRONTEND_MAX_DEPTH);
  p->stop = true;
}

void parse_too_deep(Parser *p) { parse_too_deep_at(p, p->last); }

/* A word only after a storage type, where no name can stand. */
static bool is_nearest(const Parser *p, const Token *t) {
  return t->kind == T_NAME && !t->after_newline && (p->last.kind == T_TYPE || p->last.kind == T_RBRACKET) && !strcmp(t->text, "nearest");
}

static void parse_tokens(Parser *p) {
  const char *doc = NULL;
  bool pending = false;
  for (Token t; !p->stop;) {
    lexer_next(&p->lexer, &t);
    if (is_nearest(p, &t)) t.kind = T_NEAREST;
    if (t.doc) doc = t.doc;
    if (t.kind == T_SEMICOLON && !inside_bracket(p)) { pending = true; continue; }
    if (t.kind == T_LBRACE || t.kind == 0) drop_brackets(p, t);
    bool new_line = t.after_newline && !inside_bracket(p) && (p->skip || parse_can_end(p->last.kind)) && !continues(t.kind);
    if (new_line && t.kind == T_LBRACE && !p->skip) syntax_brace_on_next_line(p, t), new_line = false;
    if (is_closer(t.kind) && !track_closer(p, t)) continue;
    bool empty = p->last.kind == 0 || p->last.kind == T_SEP || p->last.kind == T_LBRACE;
    if ((pending || new_line) && !empty && t.kind != T_RBRACE && t.kind != 0)
      give_end_of_skip(p, (Token){.kind = T_SEP, .begin = p->last.end, .end = p->last.end});
    pending = false;
    if (t.kind == T_BAD && !p->skip) syntax_bad_token(p, t);
    t.doc = doc;
    doc = NULL;
    give_end_of_skip(p, t);
    if (t.kind == T_LPAREN || t.kind == T_LBRACKET || t.kind == T_LBRACE) track_opener(p, t);
    if (t.kind == 0) break;
  }
}

/* --- the door ---------------------------------------------------------------------------------------------------------------------- */

File *frontend_parse(Arena *a, Diag *diag, const Source *source) {
  File *file = arena_alloc(a, sizeof *file);
  file->source = source;
  if (!syntax_check_text(diag, source)) return file;
  Parser *p = arena_alloc(a, sizeof *p);
  p->arena = a;
  p->diag = diag;
  p->source = source;
  p->file = file;
  p->grammar = arena_raw(a, grammar_size());                           /* half a megabyte, for deep rules */
  GrammarInit(p->grammar);
  lexer_start(&p->lexer, a, source);
  parse_tokens(p);
  return file;
}
