/* grammar.y: the grammar of the language (language reference, section 1). Actions call one builder each (ast_build.c).
 * `error` stands where a statement may, and behind one that the grammar took for complete before it met the mistake. */
%name Grammar
%token_prefix T_
%token_type {Token}
%default_type {Token}
%extra_argument {Parser *p}
%stack_size 8192
%start_symbol file
%syntax_error { parse_refused(p, TOKEN); }
%stack_overflow { parse_too_deep(p); }
%include {
#include <string.h>
#include "frontend/parser.h"
#include "frontend/grammar.h"
size_t grammar_size(void);
void grammar_recovered(void *);
void GrammarInit(void *);
void Grammar(void *, int, Token, Parser *);
static const Token NO_TOKEN;
}
%code {
size_t grammar_size(void) { return sizeof(yyParser); }
void grammar_recovered(void *parser) { ((yyParser *)parser)->yyerrcnt = -1; }
}

%token BAD.

%type expr {Expr *}
%type conj {Expr *}
%type neg {Expr *}
%type rel {Expr *}
%type chain {Expr *}
%type bits {Expr *}
%type band {Expr *}
%type shift {Expr *}
%type sum {Expr *}
%type prod {Expr *}
%type unary {Expr *}
%type power {Expr *}
%type postfix {Expr *}
%type primary {Expr *}
%type value_opt {Expr *}
%type exprs {ExprList *}
%type sub {Sub}
%type subs {SubList *}
%type dim {Dim}
%type dims {Shape *}
%type shape {Shape *}
%type shape_opt {Shape *}
%type storage {Storage *}
%type storage_opt {Storage *}
%type optional_opt {bool}
%type reverse_opt {bool}
%type scope {Scope}
%type decl {Decl *}
%type decls {DeclList *}
%type names {NameList *}
%type names_opt {NameList *}
%type binds {BindList *}
%type binds_opt {BindList *}
%type stmt {Stmt *}
%type if {Stmt *}
%type ritem {Stmt *}
%type stmts {StmtList *}
%type fn_stmts {StmtList *}
%type ritems {StmtList *}
%type block {StmtList *}
%type fn {Fn *}
%type hyper {HyperDecl *}
%type hypers {HyperList *}

file ::= .
file ::= items.
items ::= item.
items ::= items SEP item.
items ::= items error.
item ::= USE(k) STRING(s).  { build_use(p, k, s); }
item ::= fn(f).  { build_file_fn(p, f); }
item ::= RULE(k) NAME(n) LPAREN RPAREN LBRACE ritems(b) RBRACE.  { build_rule(p, k, n, NULL, b); }
item ::= RULE(k) NAME(n) LPAREN hypers(h) RPAREN LBRACE ritems(b) RBRACE.  { build_rule(p, k, n, h, b); }
item ::= CONST(k) NAME(n) shape_opt(s) storage_opt(t) ASSIGN expr(e).  { build_const(p, k, n, s, t, e, NULL); }
item ::= CONST(k) NAME(n) shape_opt(s) storage_opt(t) ASSIGN LBRACKET exprs(l) RBRACKET.  { build_const(p, k, n, s, t, NULL, l); }
item ::= error.

fn(r) ::= FN(k) NAME(n) LPAREN names_opt(a) RPAREN ASSIGN expr(e).  { r = build_fn(p, k, n, a, NULL, e); }
fn(r) ::= FN(k) NAME(n) LPAREN names_opt(a) RPAREN LBRACE fn_stmts(b) RETURN expr(e) RBRACE.  { r = build_fn(p, k, n, a, b, e); }
fn(r) ::= FN(k) NAME(n) LPAREN names_opt(a) RPAREN LBRACE fn_stmts(b) RBRACE.  { r = build_fn_without_return(p, k, n, a, b); }
fn(r) ::= FN(k) NAME(n) LPAREN names_opt(a) RPAREN LBRACE fn_stmts(b) stmt(s) RBRACE.  { r = build_fn_without_return(p, k, n, a, build_stmts(p, b, s)); }
fn_stmts(r) ::= .  { r = NULL; }
fn_stmts(r) ::= fn_stmts(l) stmt(s) SEP.  { r = build_stmts(p, l, s); }
fn_stmts(r) ::= fn_stmts(l) stmt(s) error SEP.  { r = build_stmts(p, l, s); }

hypers(r) ::= hyper(h).  { r = build_hypers(p, NULL, h); }
hypers(r) ::= hypers(l) COMMA hyper(h).  { r = build_hypers(p, l, h); }
hypers(r) ::= hypers(l) error.  { r = l; }
hyper(r) ::= NAME(n) storage_opt(t) value_opt(v) as_opt(a).  { r = build_hyper(p, NULL, n, t, v, a); }
hyper(r) ::= error.  { r = NULL; }
hyper(r) ::= CONST(c) NAME(n) storage_opt(t) value_opt(v) as_opt(a).  { r = build_hyper(p, &c, n, t, v, a); }

value_opt(r) ::= .  { r = NULL; }
value_opt(r) ::= ASSIGN expr(e).  { r = e; }
as_opt(r) ::= .  { r = NO_TOKEN; }
as_opt(r) ::= AS STRING(s).  { r = s; }
storage_opt(r) ::= .  { r = NULL; }
storage_opt(r) ::= COLON storage(s).  { r = s; }
storage(r) ::= TYPE(t).  { r = build_storage(p, t, NULL); }
storage(r) ::= TYPE(t) LBRACKET expr(e) RBRACKET.  { r = build_storage(p, t, e); }
storage(r) ::= TYPE(t) STOCHASTIC.  { r = build_storage_stochastic(p, t, NULL); }
storage(r) ::= TYPE(t) STOCHASTIC LPAREN NAME(n) RPAREN.  { r = build_storage_stochastic(p, t, &n); }
storage(r) ::= TYPE(t) FLUSH.  { r = build_storage_flush(p, t); }
storage(r) ::= TYPE(t) NEAREST.  { r = build_storage_nearest(p, t, NULL); }
storage(r) ::= TYPE(t) LBRACKET expr(e) RBRACKET NEAREST.  { r = build_storage_nearest(p, t, e); }

ritems(r) ::= ritem(s).  { r = build_stmts(p, NULL, s); }
ritems(r) ::= ritems(l) SEP ritem(s).  { r = build_stmts(p, l, s); }
ritems(r) ::= ritems(l) error.  { r = l; }
ritem(r) ::= stmt(s).  { r = s; }
ritem(r) ::= fn(f).  { r = build_fn_stmt(p, f); }
ritem(r) ::= ENTRY(k) NAME(n) block(b).  { r = build_entry(p, k, n, b); }
ritem(r) ::= ENTRY(k) BACKWARD(n) block(b).  { r = build_entry(p, k, n, b); }
ritem(r) ::= BACKWARD(k) WRT names(w).  { r = build_backward(p, k, w, NULL); }
ritem(r) ::= BACKWARD(k) WRT names(w) SAVING names(s).  { r = build_backward(p, k, w, s); }

stmts(r) ::= stmt(s).  { r = build_stmts(p, NULL, s); }
stmts(r) ::= stmts(l) SEP stmt(s).  { r = build_stmts(p, l, s); }
stmts(r) ::= stmts(l) error.  { r = l; }
block(r) ::= LBRACE RBRACE.  { r = build_stmts(p, NULL, NULL); }
block(r) ::= LBRACE stmts(l) RBRACE.  { r = l; }

stmt(r) ::= error.  { r = NULL; }
stmt(r) ::= role(k) scope(s) decls(d).  { r = build_decl_stmt(p, k, s, d); }
stmt(r) ::= REQUIRE(k) expr(e).  { r = build_require(p, k, e); }
stmt(r) ::= NAME(n) assign(o) expr(e).  { r = build_assign(p, n, NULL, o, e); }
stmt(r) ::= NAME(n) LBRACKET subs(s) RBRACKET assign(o) expr(e).  { r = build_assign(p, n, s, o, e); }
stmt(r) ::= if(s).  { r = s; }
stmt(r) ::= REPEAT(k) expr(e) block(b).  { r = build_repeat(p, k, e, b); }
stmt(r) ::= SCAN(k) sub(s) reverse_opt(v) block(b).  { r = build_scan(p, k, s, v, b); }
stmt(r) ::= SKIP(k) IF expr(e).  { r = build_skip(p, k, e, NULL); }
stmt(r) ::= SKIP(k) IF expr(e) block(b).  { r = build_skip(p, k, e, b); }
stmt(r) ::= APPLY(k) NAME(n) LPAREN binds_opt(b) RPAREN.  { r = build_apply(p, k, n, b); }
if(r) ::= IF(k) expr(e) block(b).  { r = build_if(p, k, e, b, NULL); }
if(r) ::= IF(k) expr(e) block(b) ELSE block(o).  { r = build_if(p, k, e, b, o); }
if(r) ::= IF(k) expr(e) block(b) ELSE if(o).  { r = build_if(p, k, e, b, build_else_if(p, o)); }

assign(r) ::= ASSIGN(o).  { r = o; }
assign(r) ::= ADD_ASSIGN(o).  { r = o; }
assign(r) ::= SUB_ASSIGN(o).  { r = o; }
assign(r) ::= MUL_ASSIGN(o).  { r = o; }
assign(r) ::= DIV_ASSIGN(o).  { r = o; }
reverse_opt(r) ::= .  { r = false; }
reverse_opt(r) ::= REVERSE.  { r = true; }
binds_opt(r) ::= .  { r = NULL; }
binds_opt(r) ::= binds(b).  { r = b; }
binds(r) ::= NAME(n) ASSIGN expr(e).  { r = build_binds(p, NULL, n, e); }
binds(r) ::= binds(l) COMMA NAME(n) ASSIGN expr(e).  { r = build_binds(p, l, n, e); }

role(r) ::= PARAM(k).  { r = k; }
role(r) ::= GRAD(k).  { r = k; }
role(r) ::= IN(k).  { r = k; }
role(r) ::= OUT(k).  { r = k; }
role(r) ::= INOUT(k).  { r = k; }
role(r) ::= STATE(k).  { r = k; }
scope(r) ::= .  { r = SCOPE_TENSOR; }
scope(r) ::= SCALAR.  { r = SCOPE_SCALAR; }
scope(r) ::= GLOBAL.  { r = SCOPE_GLOBAL; }
decls(r) ::= decl(d).  { r = build_decls(p, NULL, d); }
decls(r) ::= decls(l) COMMA decl(d).  { r = build_decls(p, l, d); }
decl(r) ::= NAME(n) shape_opt(s) storage_opt(t) optional_opt(o) value_opt(v) as_opt(a).  { r = build_decl(p, n, s, t, o, v, a); }
optional_opt(r) ::= .  { r = false; }
optional_opt(r) ::= OPTIONAL.  { r = true; }
shape_opt(r) ::= .  { r = NULL; }
shape_opt(r) ::= shape(s).  { r = s; }
shape(r) ::= LBRACKET(b) RBRACKET.  { r = build_shape(p, b, NULL); }
shape(r) ::= LBRACKET(b) dims(d) RBRACKET.  { r = build_shape(p, b, d); }
dims(r) ::= dim(d).  { r = build_dims(p, NULL, d); }
dims(r) ::= dims(l) COMMA dim(d).  { r = build_dims(p, l, d); }
dim(r) ::= expr(e).  { r = build_dim(p, e); }
dim(r) ::= ELLIPSIS(t).  { r = build_dim_ellipsis(p, t); }
dim(r) ::= FLAT(f) NAME(n).  { r = build_dim_flat(p, f, n); }
names_opt(r) ::= .  { r = NULL; }
names_opt(r) ::= names(l).  { r = l; }
names(r) ::= NAME(n).  { r = build_names(p, NULL, n); }
names(r) ::= names(l) COMMA NAME(n).  { r = build_names(p, l, n); }
subs(r) ::= sub(s).  { r = build_subs(p, NULL, s); }
subs(r) ::= subs(l) COMMA sub(s).  { r = build_subs(p, l, s); }
sub(r) ::= expr(e).  { r = build_sub(p, e); }
sub(r) ::= ELLIPSIS(t).  { r = build_sub_ellipsis(p, t); }
exprs(r) ::= expr(e).  { r = build_exprs(p, NULL, e); }
exprs(r) ::= exprs(l) COMMA expr(e).  { r = build_exprs(p, l, e); }

expr(r) ::= conj(a).  { r = a; }
expr(r) ::= expr(a) OR(o) conj(b).  { r = build_binary(p, a, o, OPER_OR, b); }
conj(r) ::= neg(a).  { r = a; }
conj(r) ::= conj(a) AND(o) neg(b).  { r = build_binary(p, a, o, OPER_AND, b); }
neg(r) ::= rel(a).  { r = a; }
neg(r) ::= NOT(o) neg(a).  { r = build_unary(p, o, OPER_NOT, a); }
rel(r) ::= bits(a).  { r = a; }
rel(r) ::= chain(a).  { r = a; }
rel(r) ::= bits(a) IS(k) shape(s).  { r = build_is(p, a, k, s); }
chain(r) ::= bits(a) LT(o) bits(b).  { r = build_chain(p, a, o, OPER_LT, b); }
chain(r) ::= bits(a) LE(o) bits(b).  { r = build_chain(p, a, o, OPER_LE, b); }
chain(r) ::= bits(a) GT(o) bits(b).  { r = build_chain(p, a, o, OPER_GT, b); }
chain(r) ::= bits(a) GE(o) bits(b).  { r = build_chain(p, a, o, OPER_GE, b); }
chain(r) ::= bits(a) EQ(o) bits(b).  { r = build_chain(p, a, o, OPER_EQ, b); }
chain(r) ::= bits(a) NE(o) bits(b).  { r = build_chain(p, a, o, OPER_NE, b); }
chain(r) ::= chain(a) LT(o) bits(b).  { r = build_chain(p, a, o, OPER_LT, b); }
chain(r) ::= chain(a) LE(o) bits(b).  { r = build_chain(p, a, o, OPER_LE, b); }
chain(r) ::= chain(a) GT(o) bits(b).  { r = build_chain(p, a, o, OPER_GT, b); }
chain(r) ::= chain(a) GE(o) bits(b).  { r = build_chain(p, a, o, OPER_GE, b); }
chain(r) ::= chain(a) EQ(o) bits(b).  { r = build_chain(p, a, o, OPER_EQ, b); }
chain(r) ::= chain(a) NE(o) bits(b).  { r = build_chain(p, a, o, OPER_NE, b); }
bits(r) ::= band(a).  { r = a; }
bits(r) ::= bits(a) BOR(o) band(b).  { r = build_binary(p, a, o, OPER_BOR, b); }
band(r) ::= shift(a).  { r = a; }
band(r) ::= band(a) BAND(o) shift(b).  { r = build_binary(p, a, o, OPER_BAND, b); }
shift(r) ::= sum(a).  { r = a; }
shift(r) ::= shift(a) SHL(o) sum(b).  { r = build_binary(p, a, o, OPER_SHL, b); }
shift(r) ::= shift(a) SHR(o) sum(b).  { r = build_binary(p, a, o, OPER_SHR, b); }
sum(r) ::= prod(a).  { r = a; }
sum(r) ::= sum(a) PLUS(o) prod(b).  { r = build_binary(p, a, o, OPER_ADD, b); }
sum(r) ::= sum(a) MINUS(o) prod(b).  { r = build_binary(p, a, o, OPER_SUB, b); }
prod(r) ::= unary(a).  { r = a; }
prod(r) ::= prod(a) STAR(o) unary(b).  { r = build_binary(p, a, o, OPER_MUL, b); }
prod(r) ::= prod(a) SLASH(o) unary(b).  { r = build_binary(p, a, o, OPER_DIV, b); }
prod(r) ::= prod(a) IDIV(o) unary(b).  { r = build_binary(p, a, o, OPER_IDIV, b); }
prod(r) ::= prod(a) PERCENT(o) unary(b).  { r = build_binary(p, a, o, OPER_MOD, b); }
prod(r) ::= prod(a) AT(o) unary(b).  { r = build_binary(p, a, o, OPER_MATMUL, b); }
unary(r) ::= power(a).  { r = a; }
unary(r) ::= MINUS(o) unary(a).  { r = build_unary(p, o, OPER_NEG, a); }
power(r) ::= postfix(a).  { r = a; }
power(r) ::= postfix(a) CARET(o) unary(b).  { r = build_binary(p, a, o, OPER_POW, b); }
postfix(r) ::= primary(a).  { r = a; }
postfix(r) ::= postfix(a) PRIME(o).  { r = build_transpose(p, a, o); }
primary(r) ::= NUMBER(t).  { r = build_number(p, t); }
primary(r) ::= WORD(t).  { r = build_word(p, t); }
primary(r) ::= NAME(t).  { r = build_name(p, t); }
primary(r) ::= LPAREN(o) expr(e) RPAREN.  { r = build_paren(p, o, e); }
primary(r) ::= TYPE(t) LPAREN expr(e) RPAREN.  { r = build_convert(p, t, e); }
primary(r) ::= NAME(t) LPAREN RPAREN.  { r = build_call(p, t, NULL, NULL, NULL); }
primary(r) ::= NAME(t) LPAREN exprs(l) RPAREN.  { r = build_call(p, t, NULL, NULL, l); }
primary(r) ::= NAME(t) LBRACKET(b) subs(s) RBRACKET.  { r = build_index(p, t, b, s); }
primary(r) ::= NAME(t) LBRACKET subs(s) RBRACKET LPAREN exprs(l) RPAREN.  { r = build_call(p, t, s, NULL, l); }
primary(r) ::= NAME(t) LBRACKET subs(s) SEMICOLON NAME(o) RBRACKET LPAREN exprs(l) RPAREN.  { r = build_call(p, t, s, &o, l); }
