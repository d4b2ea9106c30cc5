/* ptx_grammar.y: PTX text (PTX ISA, "Syntax" and "State Spaces, Types, and Variables"), as far as compilers print it. Which opcodes and operands there are
 * is not the grammar's business: an instruction is a word and operands. */
%name PtxGrammar
%token_prefix PTX_T_
%token_type {PtxToken}
%default_type {PtxToken}
%extra_argument {PtxParser *p}
%stack_size 1000
%start_symbol file
%syntax_error { ptx_refuse(p, TOKEN, TOKEN.kind ? "unexpected '%.*s'" : "the text ends too early%.*s", (int)TOKEN.length, TOKEN.text ? TOKEN.text : ""); }
%stack_overflow { p->failed = true; }
%include {
#include <string.h>
#include "backends/ptx/ptx_grammar.h"
#include "backends/ptx/syntax.h"
size_t ptx_grammar_size(void);
void PtxGrammarInit(void *);
void PtxGrammar(void *, int, PtxToken, PtxParser *);
}
%code { size_t ptx_grammar_size(void) { return sizeof(yyParser); } }

%token BAD UNKNOWN.
%type stmts {PtxStatements}
%type stmt {PtxStatements}
%type regs {PtxStatements}
%type reg {PtxStatement *}
%type operands {PtxOperands}
%type operands_opt {PtxOperands}
%type operand {PtxOperand *}
%type name_list {PtxOperands}
%type var {PtxVariable *}
%type params {PtxVariables}
%type params_opt {PtxVariables}
%type param {PtxVariable *}
%type results_opt {PtxVariables}
%type space {PtxSpace}
%type number {uint64_t}
%type integer {uint64_t}
%type align_opt {uint64_t}
%type dims_opt {uint64_t}
%type attrs {uint64_t}
%type dims3 {uint64_t}

file ::= items.
items ::= .
items ::= items item.
item ::= VERSION DECIMAL.
item ::= TARGET target_names.
item ::= ADDRESS_SIZE INTEGER(n).  { if (n.value != 64) ptx_refuse(p, n, "addresses of %d bits are not executed", (int)n.value); }
item ::= linkage var(v) SEMICOLON.  { ptx_add_variable(p, v); }
item ::= EXTERN var(v) SEMICOLON.  { v->external = true; ptx_add_variable(p, v); }
item ::= linkage ENTRY NAME(n) LPAREN params_opt(a) RPAREN attrs(l) LBRACE stmts(b) RBRACE.  { ptx_function(p, true, n, NULL, a.first, l, b.first); }
item ::= linkage ENTRY NAME(n) attrs(l) LBRACE stmts(b) RBRACE.  { ptx_function(p, true, n, NULL, NULL, l, b.first); }
item ::= linkage FUNC results_opt(r) NAME(n) LPAREN params_opt(a) RPAREN LBRACE stmts(b) RBRACE.  { ptx_function(p, false, n, r.first, a.first, 0, b.first); }
item ::= linkage FUNC results_opt NAME LPAREN params_opt RPAREN noreturn_opt SEMICOLON.
item ::= EXTERN FUNC results_opt NAME LPAREN params_opt RPAREN noreturn_opt SEMICOLON.
target_names ::= NAME.
target_names ::= target_names COMMA NAME.
linkage ::= .
linkage ::= VISIBLE.
noreturn_opt ::= .
noreturn_opt ::= NORETURN.

attrs(r) ::= .  { r = 0; }
attrs(r) ::= attrs(l) THREADS dims3(n).  { r = l && l < n ? l : n; }
attrs(r) ::= attrs(l) HINT INTEGER.  { r = l; }
dims3(r) ::= INTEGER(n).  { r = n.value; }
dims3(r) ::= dims3(l) COMMA INTEGER(n).  { r = l*n.value; }

results_opt(r) ::= .  { r = (PtxVariables){0}; }
results_opt(r) ::= LPAREN params_opt(l) RPAREN.  { r = l; }
params_opt(r) ::= .  { r = (PtxVariables){0}; }
params_opt(r) ::= params(l).  { r = l; }
params(r) ::= param(v).  { r = (PtxVariables){v, v}; }
params(r) ::= params(l) COMMA param(v).  { r = l; r.last->next = v; r.last = v; }
param(r) ::= PARAM align_opt(a) TYPE(t) pointer_opt NAME(n) dims_opt(d).  { r = ptx_variable(p, PTX_PARAM, a, t, n, d); }
pointer_opt ::= .
pointer_opt ::= PTR space align_opt.
pointer_opt ::= PTR align_opt.

space(r) ::= SHARED.  { r = PTX_SHARED; }
space(r) ::= LOCAL.  { r = PTX_LOCAL; }
space(r) ::= GLOBAL.  { r = PTX_GLOBAL; }
space(r) ::= CONST.  { r = PTX_CONST; }
space(r) ::= PARAM.  { r = PTX_PARAM; }
align_opt(r) ::= .  { r = 0; }
align_opt(r) ::= ALIGN INTEGER(n).  { r = n.value; }
dims_opt(r) ::= .  { r = 1; }
dims_opt(r) ::= dims_opt(l) LBRACKET INTEGER(n) RBRACKET.  { r = l*n.value; }
dims_opt(r) ::= dims_opt LBRACKET RBRACKET.  { r = 0; }
var(r) ::= space(s) align_opt(a) TYPE(t) NAME(n) dims_opt(d).  { r = ptx_variable(p, s, a, t, n, d); }
var(r) ::= space(s) align_opt(a) TYPE(t) NAME(n) dims_opt(d) ASSIGN LBRACE operands(v) RBRACE.  { r = ptx_variable(p, s, a, t, n, d); r->values = v.first; }
var(r) ::= space(s) align_opt(a) TYPE(t) NAME(n) dims_opt(d) ASSIGN number(v).  { r = ptx_variable(p, s, a, t, n, d); r->values = ptx_operand(p, PTX_INTEGER, NULL, v); }

stmts(r) ::= .  { r = (PtxStatements){0}; }
stmts(r) ::= stmts(l) stmt(s).  { r = l; if (r.last) r.last->next = s.first; else r.first = s.first; if (s.last) r.last = s.last; }
stmt(r) ::= NAME(n) COLON.  { PtxStatement *s = ptx_statement(p, PTX_LABEL, n); r = (PtxStatements){s, s}; }
stmt(r) ::= NAME(n) COLON BRANCHTARGETS name_list(l) SEMICOLON.  { PtxStatement *s = ptx_statement(p, PTX_TARGETS, n); s->operands = l.first; r = (PtxStatements){s, s}; }
stmt(r) ::= LBRACE(o) stmts(l) RBRACE(c).  {
  PtxStatement *first = ptx_statement(p, PTX_OPEN, o), *last = ptx_statement(p, PTX_CLOSE, c);
  first->next = l.first ? l.first : last;
  if (l.last) l.last->next = last;
  r = (PtxStatements){first, last};
}
stmt(r) ::= REG reg_type regs(l) SEMICOLON.  { r = l; }
stmt(r) ::= var(v) SEMICOLON.  { PtxStatement *s = ptx_statement(p, PTX_VARIABLE, (PtxToken){0}); s->variable = v; s->where = v->where; r = (PtxStatements){s, s}; }
stmt(r) ::= PRAGMA STRING(t) SEMICOLON.  { PtxStatement *s = ptx_statement(p, PTX_LABEL, t); s->name = NULL; r = (PtxStatements){s, s}; }
stmt(r) ::= op(o) operands_opt(l) SEMICOLON.  { PtxStatement *s = ptx_statement(p, PTX_INSTRUCTION, o); s->operands = l.first; r = (PtxStatements){s, s}; }
stmt(r) ::= AT NAME(g) op(o) operands_opt(l) SEMICOLON.  {
  PtxStatement *s = ptx_statement(p, PTX_INSTRUCTION, o);
  s->operands = l.first; s->guard = ptx_word(p, g); r = (PtxStatements){s, s};
}
stmt(r) ::= AT NOT NAME(g) op(o) operands_opt(l) SEMICOLON.  {
  PtxStatement *s = ptx_statement(p, PTX_INSTRUCTION, o);
  s->operands = l.first; s->guard = ptx_word(p, g); s->unless = true; r = (PtxStatements){s, s};
}
op(r) ::= NAME(t).  { r = t; }
op(r) ::= DOTTED(t).  { r = t; }

reg_type ::= TYPE(t).  { p->pending_type = ptx_word(p, t); }
regs(r) ::= reg(s).  { r = (PtxStatements){s, s}; }
regs(r) ::= regs(l) COMMA reg(s).  { r = l; r.last->next = s; r.last = s; }
reg(r) ::= NAME(n).  { r = ptx_statement(p, PTX_REGISTERS, n); r->type = p->pending_type; }
reg(r) ::= NAME(n) LESS INTEGER(c) GREATER.  { r = ptx_statement(p, PTX_REGISTERS, n); r->type = p->pending_type; r->count = c.value; }

operands_opt(r) ::= .  { r = (PtxOperands){0}; }
operands_opt(r) ::= operands(l).  { r = l; }
operands(r) ::= operand(o).  { r = (PtxOperands){o, o}; }
operands(r) ::= operands(l) COMMA operand(o).  { r = l; r.last->next = o; r.last = o; }
name_list(r) ::= NAME(n).  { PtxOperand *o = ptx_operand(p, PTX_NAME, &n, 0); r = (PtxOperands){o, o}; }
name_list(r) ::= name_list(l) COMMA NAME(n).  { r = l; r.last->next = ptx_operand(p, PTX_NAME, &n, 0); r.last = r.last->next; }

operand(r) ::= NAME(n).  { r = ptx_operand(p, PTX_NAME, &n, 0); }
operand(r) ::= DOTTED(n).  { r = ptx_operand(p, PTX_NAME, &n, 0); }
operand(r) ::= NAME(n) PLUS integer(v).  { r = ptx_operand(p, PTX_NAME, &n, v); }
operand(r) ::= NOT NAME(n).  { r = ptx_operand(p, PTX_NOT_NAME, &n, 0); }
operand(r) ::= NAME(n) BAR NAME(m).  { r = ptx_operand(p, PTX_PAIR, &n, 0); r->second = ptx_word(p, m); }
operand(r) ::= integer(v).  { r = ptx_operand(p, PTX_INTEGER, NULL, v); }
operand(r) ::= SINGLE(t).  { r = ptx_operand(p, PTX_F32, NULL, t.value); }
operand(r) ::= DOUBLE(t).  { r = ptx_operand(p, PTX_F64, NULL, t.value); }
operand(r) ::= LBRACE operands(l) RBRACE.  { r = ptx_operand(p, PTX_VECTOR, NULL, 0); r->items = l.first; }
operand(r) ::= LPAREN operands_opt(l) RPAREN.  { r = ptx_operand(p, PTX_LIST, NULL, 0); r->items = l.first; }
operand(r) ::= LBRACKET NAME(n) RBRACKET.  { r = ptx_operand(p, PTX_ADDRESS, &n, 0); }
operand(r) ::= LBRACKET NAME(n) PLUS integer(v) RBRACKET.  { r = ptx_operand(p, PTX_ADDRESS, &n, v); }
operand(r) ::= LBRACKET integer(v) RBRACKET.  { r = ptx_operand(p, PTX_ADDRESS, NULL, v); }

integer(r) ::= INTEGER(t).  { r = t.value; }
integer(r) ::= MINUS INTEGER(t).  { r = 0 - t.value; }
number(r) ::= integer(v).  { r = v; }
number(r) ::= SINGLE(t).  { r = t.value; }
number(r) ::= DOUBLE(t).  { r = t.value; }
