/* parse.c: from PTX text to statements: runs lexer and grammar, and the builders that the grammar's actions call. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "backends/ptx/syntax.h"

size_t ptx_grammar_size(void);
void PtxGrammarInit(void *);
void PtxGrammar(void *, int, PtxToken, PtxParser *);

static Range range_of(const PtxParser *p, PtxToken t) { return (Range){p->source, t.begin, t.begin + t.length}; }
const char *ptx_word(PtxParser *p, PtxToken t) { return arena_strndup(p->arena, t.text, t.length); }

void ptx_refuse(PtxParser *p, PtxToken t, const char *format, ...) {
  if (p->failed) return;                 /* what follows the first mistake tells nothing */
  p->failed = true;
  char text[300];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  diag_error(p->diag, range_of(p, t), "%s", text);
}

PtxOperand *ptx_operand(PtxParser *p, PtxOperandKind kind, const PtxToken *name, uint64_t value) {
  PtxOperand *o = arena_alloc(p->arena, sizeof *o);
  *o = (PtxOperand){.kind = kind, .name = name ? ptx_word(p, *name) : NULL, .value = value};
  return o;
}

PtxStatement *ptx_statement(PtxParser *p, PtxStatementKind kind, PtxToken name) {
  PtxStatement *s = arena_alloc(p->arena, sizeof *s);
  *s = (PtxStatement){.kind = kind, .where = range_of(p, name), .name = name.length ? ptx_word(p, name) : NULL};
  return s;
}

PtxVariable *ptx_variable(PtxParser *p, PtxSpace space, uint64_t align, PtxToken type, PtxToken name, uint64_t count) {
  PtxVariable *v = arena_alloc(p->arena, sizeof *v);
  if (align > 4096 || (align & (align - 1))) ptx_refuse(p, name, "'%.*s' cannot be aligned to %llu", (int)name.length, name.text, (unsigned long long)align);
  if (count > UINT32_MAX) ptx_refuse(p, name, "'%.*s' is too large", (int)name.length, name.text);
  *v = (PtxVariable){.space = space, .type = ptx_word(p, type), .name = ptx_word(p, name), .align = (uint32_t)align, .count = count, .where = range_of(p, name)};
  return v;
}

void ptx_add_variable(PtxParser *p, PtxVariable *v) {
  if (p->variables.last) p->variables.last->next = v;
  else p->variables.first = v;
  p->variables.last = v;
}

void ptx_function(PtxParser *p, bool entry, PtxToken name, PtxVariable *results, PtxVariable *params, uint64_t limit, PtxStatement *body) {
  PtxFunction *f = arena_alloc(p->arena, sizeof *f);
  *f = (PtxFunction){.name = ptx_word(p, name), .entry = entry, .where = range_of(p, name), .params = params, .results = results, .body = body,
    .block_limit = limit > 1024 ? 1024 : (unsigned)limit};
  if (!body) {                           /* `{ }` is a body too */
    f->body = ptx_statement(p, PTX_LABEL, name);
    f->body->name = NULL;
  }
  if (p->last_function) p->last_function->next = f;
  else p->functions = f;
  p->last_function = f;
}

bool ptx_parse(PtxParser *p) {
  PtxLexer lexer = {.text = p->source->text, .cursor = p->source->text, .marker = p->source->text, .limit = p->source->text + p->source->length};
  void *grammar = arena_alloc(p->arena, ptx_grammar_size());
  PtxGrammarInit(grammar);
  PtxToken t;
  do {
    ptx_lexer_next(&lexer, &t);
    PtxGrammar(grammar, t.kind, t, p);
  } while (t.kind && !p->failed);
  return !p->failed;
}
