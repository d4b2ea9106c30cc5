/* syntax_error.c: what the parser says about a text it cannot read (language reference, section 7, rows marked P).
 *
 * A refused token is explained by the first of the `explanations` that applies: special mistakes first, then what the token
 * before it needs, then what the statement needs. */
#include <string.h>
#include "frontend/grammar.h"
#include "frontend/habits.h"
#include "frontend/lexer.h"
#include "frontend/syntax_error.h"
#include "ir/suggest.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* --- the text as a whole ------------------------------------------------------------------------------------------------ */

/* Bytes of the UTF-8 sequence at p, or 0. */
static unsigned utf8_bytes(const unsigned char *p, size_t left) {
  static const struct { unsigned char from, to, second_from, second_to; unsigned n; } rows[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
  };
  if (*p < 0x80) return 1;
  for (size_t i = 0; i < COUNT(rows); i++) {
    if (*p < rows[i].from || *p > rows[i].to) continue;
    if (left < rows[i].n || p[1] < rows[i].second_from || p[1] > rows[i].second_to) return 0;
    for (unsigned k = 2; k < rows[i].n; k++) if ((p[k] & 0xc0) != 0x80) return 0;
    return rows[i].n;
  }
  return 0;
}

bool syntax_check_text(Diag *d, const Source *s) {
  if (s->length > FRONTEND_MAX_BYTES) {
    diag_error(d, (Range){s, 0, 0}, "the file has %zu bytes, more than the %u a source may have", s->length, FRONTEND_MAX_BYTES);
    return false;
  }
  for (size_t i = 0; i < s->length;) {
    const unsigned char *p = (const unsigned char *)s->text + i;
    unsigned n = utf8_bytes(p, s->length - i);
    if (n && *p) { i += n; continue; }
    Range where = {s, (uint32_t)i, (uint32_t)i + 1};
    if (n) diag_error(d, where, "a NUL byte in the text: this is not a source file");
    else diag_error(d, where, "the byte 0x%02x is not UTF-8; save the file as UTF-8", *p);
    return false;
  }
  return true;
}

/* --- tokens in words ------------------------------------------------------------------------------------------------------ */

static const char *token_text(const Parser *p, Token t) {
  if (t.kind == T_SEP) return "the end of the line";
  if (t.kind == 0) return "the end of the file";
  unsigned n = t.end - t.begin;
  return n > 32 ? arena_printf(p->arena, "%.29s...", p->source->text + t.begin) : arena_strndup(p->arena, p->source->text + t.begin, n);
}

static const char *quoted(const Parser *p, Token t) {
  return t.kind == T_SEP || t.kind == 0 ? token_text(p, t) : arena_printf(p->arena, "'%s'", token_text(p, t));
}

static bool is_keyword(int kind) {
  for (const Keyword *k = lexer_keywords; k->text; k++) if (k->kind == kind && kind != T_TYPE && kind != T_WORD) return true;
  return false;
}

static bool is_role(int kind) { return kind == T_PARAM || kind == T_GRAD || kind == T_IN || kind == T_OUT || kind == T_INOUT || kind == T_STATE; }
static bool is_assign(int kind) { return kind == T_ASSIGN || kind == T_ADD_ASSIGN || kind == T_SUB_ASSIGN || kind == T_MUL_ASSIGN || kind == T_DIV_ASSIGN; }

static bool starts_operand(int kind) { return kind == T_NAME || kind == T_NUMBER || kind == T_WORD || kind == T_TYPE || kind == T_LPAREN || kind == T_STRING; }
static bool ends_operand(int kind) {
  return kind == T_NAME || kind == T_NUMBER || kind == T_WORD || kind == T_RPAREN || kind == T_RBRACKET || kind == T_PRIME || kind == T_STRING || kind == T_TYPE
    || kind == T_RBRACE || kind == T_OPTIONAL || kind == T_STOCHASTIC || kind == T_FLUSH || kind == T_NEAREST;
}
static bool starts_statement(int kind) {
  return is_role(kind) || kind == T_REQUIRE || kind == T_IF || kind == T_REPEAT || kind == T_SCAN || kind == T_SKIP || kind == T_APPLY || kind == T_FN
    || kind == T_ENTRY || kind == T_BACKWARD || kind == T_RULE || kind == T_USE || kind == T_RETURN;
}

static bool inside_bracket(const Parser *p) { return p->n_open && p->open[p->n_open - 1].kind != T_LBRACE; }
static bool at_statement_start(const Parser *p) { return p->last.kind == 0 || p->last.kind == T_SEP || p->last.kind == T_LBRACE; }
static bool in_rule_header(const Parser *p) { return p->first.kind == T_RULE && p->n_open == 1 && p->open[0].kind == T_LPAREN; }

/* A token on another line is not where the eye looks: then the place is behind the token before. */
static Range place_of(const Parser *p, Token t) {
  if ((t.after_newline || t.kind == T_SEP || t.kind == 0) && p->last.kind) return parse_range(p, p->last.end, p->last.end);
  return parse_token_range(p, t);
}

/* --- what must follow a token ------------------------------------------------------------------------------------------------- */

typedef struct Needs { int kind; const char *what; } Needs;
static const Needs needs[] = {
  {T_ASSIGN, "an expression"}, {T_ADD_ASSIGN, "an expression"}, {T_SUB_ASSIGN, "an expression"}, {T_MUL_ASSIGN, "an expression"}, {T_DIV_ASSIGN, "an expression"},
  {T_REQUIRE, "a condition"}, {T_IF, "a condition"}, {T_REPEAT, "a number of rounds"}, {T_RETURN, "an expression"}, {T_SCAN, "an index"},
  {T_PLUS, "an operand"}, {T_MINUS, "an operand"}, {T_STAR, "an operand"}, {T_SLASH, "an operand"}, {T_IDIV, "an operand"}, {T_PERCENT, "an operand"},
  {T_AT, "an operand"}, {T_CARET, "an operand"}, {T_SHL, "an operand"}, {T_SHR, "an operand"}, {T_BAND, "an operand"}, {T_BOR, "an operand"},
  {T_LT, "an operand"}, {T_LE, "an operand"}, {T_GT, "an operand"}, {T_GE, "an operand"}, {T_EQ, "an operand"}, {T_NE, "an operand"},
  {T_AND, "an operand"}, {T_OR, "an operand"}, {T_NOT, "an operand"}, {T_LPAREN, "an expression"}, {T_LBRACKET, "an index"}, {T_COMMA, "an expression"},
  {T_SEMICOLON, "'seq' or 'lanes'"}, {T_COLON, "a type"}, {T_AS, "a name in quotes"}, {T_USE, "a file name in quotes"}, {T_IS, "a shape in '[ ]'"},
  {T_SKIP, "'if'"}, {T_BACKWARD, "'wrt'"}, {T_ELSE, "'{' or 'if'"}, {T_REVERSE, "'{'"},
};

static const char *needs_of(int kind) {
  for (size_t i = 0; i < COUNT(needs); i++) if (needs[i].kind == kind) return needs[i].what;
  return NULL;
}

/* --- brackets ---------------------------------------------------------------------------------------------------------------- */

void syntax_never_closed(Parser *p, Token open) {
  diag_error(p->diag, parse_token_range(p, open), "'%s' is never closed", token_text(p, open));
}

void syntax_closes_nothing(Parser *p, Token t) {
  diag_error(p->diag, parse_token_range(p, t), "'%s' closes nothing", token_text(p, t));
}

void syntax_brace_on_next_line(Parser *p, Token t) {
  diag_error(p->diag, parse_token_range(p, t), "'{' stands at the end of the line it belongs to, not on the next");
}

void syntax_bad_token(Parser *p, Token t) {
  diag_error(p->diag, parse_token_range(p, t), "%s", t.text);
  if (t.fix) diag_fix(p->diag, t.fix);
}

/* --- explanations: special mistakes -------------------------------------------------------------------------------------------- */

static bool end_of_file(Parser *p, Token t) {
  if (t.kind || !p->n_open) return false;
  syntax_never_closed(p, p->open[p->n_open - 1]);
  return true;
}

static void reread_from(Parser *p, Token t) {
  p->reread = true;
  p->reread_at = t.begin;
}

/* A line that begins a statement while a bracket is open: the bracket is the mistake. Hyper-parameters and bindings look like assignments. */
static bool bracket_left_open(Parser *p, Token t) {
  if (!inside_bracket(p) || !t.after_newline || !ends_operand(p->last.kind)) return false;
  bool list = p->first.kind == T_RULE || p->first.kind == T_APPLY;
  bool begins = starts_statement(t.kind);
  if (t.kind == T_NAME && !list) {
    Lexer ahead = p->lexer;
    Token next;
    lexer_next(&ahead, &next);
    begins = is_assign(next.kind);
  }
  if (!begins) return false;
  syntax_never_closed(p, p->open[p->n_open - 1]);
  while (inside_bracket(p)) p->n_open--;
  reread_from(p, t);
  return true;
}

/* `x =` and on the next line another statement: the mistake is where the first line ends. */
static bool line_left_open(Parser *p, Token t) {
  int before = p->before_line.kind;
  bool open = before && before != T_SEP && before != T_LBRACE && !parse_can_end(before);
  if (!open || inside_bracket(p) || p->line.kind != T_NAME || !is_assign(t.kind) || t.after_newline || p->first.begin == p->line.begin) return false;
  const char *what = needs_of(before);
  diag_error(p->diag, parse_range(p, p->before_line.end, p->before_line.end), "expected %s after '%s'", what ? what : "more", token_text(p, p->before_line));
  reread_from(p, p->line);
  return true;
}

static bool else_without_if(Parser *p, Token t) {
  if (t.kind != T_ELSE) return false;
  diag_error(p->diag, parse_token_range(p, t), "'else' has no 'if' before it");
  return true;
}

static bool rule_inside_rule(Parser *p, Token t) {
  if ((t.kind != T_RULE && t.kind != T_USE) || !at_statement_start(p) || !p->n_open) return false;
  diag_error(p->diag, parse_token_range(p, t), "'%s' inside a block; a '}' is missing before it", token_text(p, t));
  diag_note(p->diag, parse_token_range(p, p->open[p->n_open - 1]), "this '{' is open");
  p->stop = true;
  return true;
}

static bool double_star(Parser *p, Token t) {
  if (t.kind != T_STAR || p->last.kind != T_STAR || p->last.end != t.begin) return false;
  diag_error(p->diag, parse_token_range(p, t), "expected an operand after '*'; a power is written '^'");
  return true;
}

static bool foreign_word(Parser *p, Token t) {
  if (t.kind == T_NAME && !strcmp(t.text, "elif") && p->last.kind == T_RBRACE) {
    diag_error(p->diag, parse_token_range(p, t), "%s", habit_statement(t.text));
    diag_fix(p->diag, "else if");
    return true;
  }
  Token word = at_statement_start(p) ? t : p->first;
  if (word.kind != T_NAME || (!at_statement_start(p) && p->last.begin != word.begin) || is_assign(t.kind)) return false;
  const char *message = habit_statement(word.text);
  if (message) diag_error(p->diag, parse_token_range(p, word), "%s", message);
  return message != NULL;
}

/* Two words at the beginning of a statement (or of an item): the first may be a keyword with a slip. */
static bool misspelt_keyword(Parser *p, Token t) {
  bool item = at_statement_start(p) && !p->n_open && t.kind == T_NAME;
  bool two = p->first.kind == T_NAME && p->last.begin == p->first.begin && !inside_bracket(p) && p->last.kind == T_NAME && (starts_operand(t.kind) || t.kind == T_LBRACE)
    && t.kind != T_LPAREN;
  if (!item && !two) return false;
  Token word = item ? t : p->first;
  static const char *const statements[] = {"param", "grad", "state", "inout", "require", "repeat", "scan", "skip", "apply", "entry", "backward", "return", "rule", "use", "const"};
  static const char *const items[] = {"rule", "use", "const", "fn"};
  const char *near = strlen(word.text) < 3 ? NULL : item ? suggest_word(word.text, items, COUNT(items)) : suggest_word(word.text, statements, COUNT(statements));
  if (!near && item) diag_error(p->diag, parse_token_range(p, t), "expected 'use', 'const', 'fn' or 'rule', not '%s'; statements stand inside a rule", token_text(p, t));
  if (!near) return item;
  diag_error(p->diag, parse_token_range(p, word), "'%s' is not a keyword; did you mean '%s'?", word.text, near);
  diag_fix(p->diag, near);
  return true;
}

static bool assignment_as_condition(Parser *p, Token t) {
  if (t.kind != T_ASSIGN || !ends_operand(p->last.kind) || in_rule_header(p)) return false;
  diag_error(p->diag, parse_token_range(p, t), "'=' assigns; compare with '=='");
  diag_fix(p->diag, "==");
  return true;
}

typedef struct Alias { const char *word, *type; } Alias;
static const Alias aliases[] = {
  {"float", "f32"}, {"float32", "f32"}, {"single", "f32"}, {"fp32", "f32"}, {"real", "f32"}, {"double", "f64"}, {"float64", "f64"}, {"fp64", "f64"},
  {"half", "f16"}, {"float16", "f16"}, {"fp16", "f16"}, {"bfloat16", "bf16"}, {"bfloat", "bf16"}, {"int32", "i32"}, {"int8", "i8"}, {"uint8", "u8"},
  {"byte", "u8"}, {"char", "i8"}, {"integer", "int"}, {"long", "int"}, {"int64", "int"}, {"i64", "int"}, {"boolean", "bool"}, {"logical", "bool"},
};

static bool unknown_type(Parser *p, Token t) {
  if (p->last.kind != T_COLON || t.kind != T_NAME || t.after_newline) return false;
  static const char *const types[] = {"f64", "f32", "bf16", "f16", "i32", "i8", "u8", "q8", "q8u", "q4", "q4u", "int", "bool"};
  const char *near = NULL;
  for (size_t i = 0; i < COUNT(aliases) && !near; i++) if (!strcmp(aliases[i].word, t.text)) near = aliases[i].type;
  if (!near) near = suggest_word(t.text, types, COUNT(types));
  if (near) diag_error(p->diag, parse_token_range(p, t), "unknown type '%s'; did you mean '%s'?", t.text, near), diag_fix(p->diag, near);
  else diag_error(p->diag, parse_token_range(p, t), "unknown type '%s'; types are f64 f32 bf16 f16 i32 i8 u8 q8 q8u q4 q4u int bool", t.text);
  return true;
}

/* Two tokens that never stand side by side, and what was meant. */
typedef struct Pair { int before, now; const char *message; } Pair;
static const Pair pairs[] = {
  {T_RBRACKET, T_LBRACKET, "one bracket holds all indices: x[i, j]"},
  {T_SCAN, T_REVERSE, "'reverse' stands behind the index: 'scan i reverse { }'"},
  {T_REPEAT, T_REVERSE, "'repeat' has no order of its rounds; 'scan i reverse { }' has"},
};

static bool wrong_pair(Parser *p, Token t) {
  for (size_t i = 0; i < COUNT(pairs); i++) {
    if (p->last.kind != pairs[i].before || t.kind != pairs[i].now) continue;
    diag_error(p->diag, parse_token_range(p, t), "%s", pairs[i].message);
    return true;
  }
  return false;
}

static bool slice(Parser *p, Token t) {
  if (t.kind != T_COLON || !inside_bracket(p) || p->open[p->n_open - 1].kind != T_LBRACKET) return false;
  diag_error(p->diag, parse_token_range(p, t), "there are no slices: an index runs over its whole axis, y[i] = x[i, 0], or over a part of it, y[i < n] = x[i + first]");
  return true;
}

static bool named_argument(Parser *p, Token t) {
  const char *message = t.kind == T_ASSIGN && p->last.kind == T_NAME && inside_bracket(p) ? habit_argument(p->last.text) : NULL;
  if (!message || in_rule_header(p)) return false;
  diag_error(p->diag, parse_token_range(p, p->last), "%s", message);
  return true;
}

/* Where `//` stands on the line before a token. */
static bool slashes_before(const Parser *p, Token t, Range *where) {
  for (uint32_t at = t.begin; at > 1 && p->source->text[at - 1] != '\n'; at--) {
    if (p->source->text[at - 1] != '/' || p->source->text[at - 2] != '/') continue;
    *where = parse_range(p, at - 2, at);
    return true;
  }
  return false;
}

static bool slashes_as_comment(Parser *p, Token t) {
  if (t.kind != T_IDIV) return false;
  diag_error(p->diag, parse_token_range(p, t), "a comment begins with '#'; '//' divides integers");
  diag_fix(p->diag, "#");
  return true;
}

/* --- explanations: keywords in the wrong place -------------------------------------------------------------------------------------- */

typedef struct Misplaced { int kind; const char *message; } Misplaced;
static const Misplaced misplaced[] = {
  {T_RETURN, "'return' stands only at the end of a fn with a block"},
  {T_ENTRY, "'entry' stands only directly in a rule"},
  {T_BACKWARD, "'backward' stands only directly in a rule"},
  {T_FN, "a fn stands only directly in a rule or in the file"},
  {T_CONST, "a 'const' table stands in the file, outside rules"},
};

static bool wants_name(const Parser *p, Token t) {
  int k = p->last.kind;
  return is_role(k) || k == T_SCALAR || k == T_GLOBAL || k == T_FN || k == T_RULE || k == T_ENTRY || k == T_APPLY || k == T_WRT || k == T_SAVING || k == T_FLAT
    || (k == T_CONST && !at_statement_start(p)) || (k == T_COMMA && !inside_bracket(p) && t.kind != T_RPAREN && t.kind != T_RBRACKET)
    || (in_rule_header(p) && (k == T_LPAREN || k == T_COMMA)) || (p->first.kind == T_RULE && !p->n_open && t.kind == T_RPAREN);
}

static bool keyword_as_name(Parser *p, Token t) {
  bool word = t.kind == T_TYPE || t.kind == T_WORD || is_keyword(t.kind);
  const char *what = t.kind == T_WORD ? "constant" : t.kind == T_TYPE ? "type" : "keyword";
  if (at_statement_start(p) && (t.kind == T_TYPE || t.kind == T_WORD)) word = true;
  else if (at_statement_start(p) && p->n_open)
    for (size_t i = 0; i < COUNT(misplaced); i++)
      if (misplaced[i].kind == t.kind) { diag_error(p->diag, parse_token_range(p, t), "%s", misplaced[i].message); return true; }
  Token name = t;
  if (is_assign(t.kind) && (is_keyword(p->last.kind) || p->last.kind == T_TYPE)) name = p->last, word = true, what = "keyword";
  else if (!word || (t.after_newline && !at_statement_start(p))) return false;
  else if (!at_statement_start(p) && !wants_name(p, t) && (ends_operand(p->last.kind) || is_keyword(p->last.kind) || p->last.kind == T_COLON)) return false;
  diag_error(p->diag, parse_token_range(p, name), "'%s' is a %s and cannot be a name", token_text(p, name), what);
  return true;
}

/* --- explanations: what the token before needs ---------------------------------------------------------------------------------------- */

static bool needed_after(Parser *p, Token t) {
  const char *what = NULL;
  if (wants_name(p, t)) what = "a name";
  if (p->last.kind == T_LBRACE && t.kind == T_RBRACE) {
    diag_error(p->diag, parse_token_range(p, t), "a rule without statements does nothing");
    return true;
  }
  if (!what) what = needs_of(p->last.kind);
  if (p->last.kind == T_TYPE && t.kind != T_LPAREN && p->before_last.kind != T_COLON) what = "'('";
  if (!what || (p->last.kind == T_CONST && in_rule_header(p) && t.kind == T_NAME)) return false;
  diag_error(p->diag, place_of(p, t), "expected %s after '%s'", what, token_text(p, p->last));
  if (t.after_newline && !inside_bracket(p) && (t.kind == T_NAME || starts_statement(t.kind))) reread_from(p, t);
  return true;
}

/* --- explanations: what the statement needs -------------------------------------------------------------------------------------------------- */

static bool list_of_declarations(Parser *p, Token t) {
  if (t.kind != T_NAME || t.after_newline || !ends_operand(p->last.kind)) return false;
  if (in_rule_header(p)) diag_error(p->diag, parse_token_range(p, t), "expected ',' between hyper-parameters");
  else if (is_role(p->first.kind) && !inside_bracket(p) && p->last.kind != T_RBRACE) diag_error(p->diag, parse_token_range(p, t), "expected ',' between declarations");
  else return false;
  return true;
}

static bool two_operands(Parser *p, Token t) {
  if (!ends_operand(p->last.kind) || (!starts_operand(t.kind) && !starts_statement(t.kind))) return false;
  if (t.kind == T_LPAREN && p->first.begin == p->last.begin) return false;
  if (p->last.kind == T_RBRACE) diag_error(p->diag, parse_token_range(p, t), "expected a new line before '%s'", token_text(p, t));
  else if (inside_bracket(p)) diag_error(p->diag, place_of(p, t), "expected an operator or ',' before '%s'", token_text(p, t));
  else diag_error(p->diag, parse_token_range(p, t), "expected an operator or a new line before '%s'", token_text(p, t));
  Range slashes;
  if (slashes_before(p, t, &slashes)) diag_note(p->diag, slashes, "'//' divides integers; a comment begins with '#'");
  return true;
}

static bool statement_needs(Parser *p, Token t) {
  bool ends = t.kind == T_SEP || t.kind == T_RBRACE || t.kind == 0;
  const char *before = quoted(p, t);
  if (p->first.kind == T_NAME && t.kind == T_LPAREN && p->first.begin == p->last.begin) {
    diag_error(p->diag, parse_token_range(p, p->first), "a call alone does nothing; assign its value, 'x = %s(...)'", token_text(p, p->first));
    return true;
  }
  if (at_statement_start(p) || inside_bracket(p)) return false;
  switch (p->first.kind) {
    case T_NAME:
      if (!ends_operand(p->last.kind)) return false;
      diag_error(p->diag, place_of(p, t), "expected '=' before %s: a statement assigns a value", before);
      return true;
    case T_RETURN:
      if (t.kind != T_SEP) return false;
      diag_error(p->diag, place_of(p, t), "expected '}' after the value of 'return', which ends the fn");
      return true;
    case T_IF: case T_REPEAT: case T_SCAN: case T_ENTRY:
      if (!ends) return false;
      diag_error(p->diag, place_of(p, t), "expected '{' before %s", before);
      return true;
    case T_RULE:
      diag_error(p->diag, place_of(p, t), p->last.kind == T_NAME ? "expected '(' before %s: a rule lists its hyper-parameters, 'rule %s() {'" : "expected '{' before %s",
        before, token_text(p, p->last));
      return true;
    case T_FN:
      diag_error(p->diag, place_of(p, t), p->last.kind == T_NAME ? "expected '(' before %s" : "expected '=' or '{' before %s", before);
      return true;
    case T_APPLY:
      diag_error(p->diag, place_of(p, t), "expected '(' before %s", before);
      return true;
    case T_CONST:
      if (!ends) return false;
      diag_error(p->diag, place_of(p, t), "expected '=' before %s: a constant has a value", before);
      return true;
    default: return false;
  }
}

static bool unexpected(Parser *p, Token t) {
  diag_error(p->diag, place_of(p, t), "unexpected %s", quoted(p, t));
  return true;
}

static bool (*const explanations[])(Parser *, Token) = {
  end_of_file, bracket_left_open, line_left_open, else_without_if, rule_inside_rule, double_star, foreign_word, slashes_as_comment, misspelt_keyword, unknown_type, wrong_pair, slice, named_argument,
  assignment_as_condition,
  keyword_as_name, list_of_declarations, two_operands, needed_after, statement_needs, unexpected,
};

void parse_refused(Parser *p, Token t) {
  p->failed = true;
  if (t.kind == T_BAD || p->stop) return;                                 /* a T_BAD has been reported */
  for (size_t i = 0; i < COUNT(explanations) && !explanations[i](p, t); i++) { }
}
