/* parser.h: what lexer, grammar and tree builders share. Private to the parser; the door is frontend.h. */
#ifndef OPTC_FRONTEND_PARSER_H
#define OPTC_FRONTEND_PARSER_H
#include "frontend/frontend.h"

typedef struct Token {
  int kind;                              /* T_... of grammar.h; 0 at the end of the text */
  uint32_t begin, end;
  bool after_newline;                    /* first on its line */
  const char *text;                      /* names, words, types; the contents of a string; the message of a T_BAD */
  const char *doc;                       /* the `##` lines before it */
  const char *fix;                       /* of a T_BAD */
  int64_t value;
  double number;
} Token;

typedef struct Lexer {
  Arena *arena;
  const Source *source;
  const char *begin, *cursor, *marker, *limit;       /* a copy of the text that ends with NUL */
} Lexer;

typedef struct Parser {
  Arena *arena;
  Diag *diag;
  const Source *source;
  File *file;
  Lexer lexer;
  void *grammar;
  Token before_last, last;               /* given to the grammar before the token it looks at: each reduction ends where `last` ends */
  Token first;                           /* of the statement or item that `last` belongs to */
  Token open[FRONTEND_MAX_DEPTH]; unsigned n_open;
  bool failed; unsigned n_failed;        /* the grammar has just refused a token; how many it has refused */
  Token line, before_line;               /* the first token of its line, and the one before it */
  bool reread; uint32_t reread_at;       /* what was refused belongs to a statement that begins here: read it again as one */
  bool skip, skip_hyper; unsigned skip_open;        /* tokens are dropped until the statement ends at this many open brackets */
  bool unsound;                          /* an error was reported inside the fn that is open */
  bool stop;                             /* given up: nested too deep */
} Parser;

void lexer_start(Lexer *, Arena *, const Source *);
void lexer_next(Lexer *, Token *);       /* never fails: what is no token is a T_BAD that carries its message */

/* --- called by the grammar -------------------------------------------------------------------------------------- */

void parse_refused(Parser *, Token);     /* syntax error at this token */
void parse_too_deep(Parser *);
bool parse_can_end(int kind);            /* whether a statement can end with this token */
void parse_too_deep_at(Parser *, Token);

Range parse_range(const Parser *, uint32_t begin, uint32_t end);
Range parse_token_range(const Parser *, Token);

Expr *build_number(Parser *, Token);
Expr *build_word(Parser *, Token);
Expr *build_name(Parser *, Token);
Expr *build_unary(Parser *, Token op, Oper, Expr *);
Expr *build_binary(Parser *, Expr *, Token op, Oper, Expr *);
Expr *build_chain(Parser *, Expr *first, Token op, Oper, Expr *next);
Expr *build_is(Parser *, Expr *, Token is, Shape *);
Expr *build_transpose(Parser *, Expr *, Token);
Expr *build_paren(Parser *, Token open, Expr *);
Expr *build_convert(Parser *, Token type, Expr *);
Expr *build_call(Parser *, Token name, SubList *, const Token *order, ExprList *);
Expr *build_index(Parser *, Token name, Token bracket, SubList *);
ExprList *build_exprs(Parser *, ExprList *, Expr *);
SubList *build_subs(Parser *, SubList *, Sub);
Sub build_sub(Parser *, Expr *);
Sub build_sub_ellipsis(Parser *, Token);
Shape *build_dims(Parser *, Shape *, Dim);
Shape *build_shape(Parser *, Token open, Shape *);
Dim build_dim(Parser *, Expr *);
Dim build_dim_ellipsis(Parser *, Token);
Dim build_dim_flat(Parser *, Token flat, Token name);

Storage *build_storage(Parser *, Token type, Expr *block);
Storage *build_storage_stochastic(Parser *, Token type, const Token *from);
Storage *build_storage_flush(Parser *, Token type);
Storage *build_storage_nearest(Parser *, Token type, Expr *block);
Decl *build_decl(Parser *, Token name, Shape *, Storage *, bool optional, Expr *value, Token as);
DeclList *build_decls(Parser *, DeclList *, Decl *);
NameList *build_names(Parser *, NameList *, Token);
BindList *build_binds(Parser *, BindList *, Token name, Expr *);

StmtList *build_stmts(Parser *, StmtList *, Stmt *);
Stmt *build_decl_stmt(Parser *, Token role, Scope, DeclList *);
Stmt *build_require(Parser *, Token, Expr *);
Stmt *build_assign(Parser *, Token name, SubList *, Token op, Expr *);
Stmt *build_if(Parser *, Token, Expr *cond, StmtList *body, StmtList *otherwise);
StmtList *build_else_if(Parser *, Stmt *);
Stmt *build_repeat(Parser *, Token, Expr *count, StmtList *);
Stmt *build_scan(Parser *, Token, Sub, bool reverse, StmtList *);
Stmt *build_skip(Parser *, Token, Expr *cond, StmtList *);
Stmt *build_apply(Parser *, Token, Token name, BindList *);
Stmt *build_fn_stmt(Parser *, Fn *);
Stmt *build_entry(Parser *, Token, Token name, StmtList *);
Stmt *build_backward(Parser *, Token, NameList *wrt, NameList *saving);

Fn *build_fn_without_return(Parser *, Token, Token name, NameList *params, StmtList *body);
Fn *build_fn(Parser *, Token, Token name, NameList *params, StmtList *body, Expr *value);
HyperDecl *build_hyper(Parser *, const Token *is_const, Token name, Storage *, Expr *value, Token as);
HyperList *build_hypers(Parser *, HyperList *, HyperDecl *);
void build_rule(Parser *, Token, Token name, HyperList *, StmtList *);
void build_use(Parser *, Token, Token path);
void build_file_fn(Parser *, Fn *);
void build_const(Parser *, Token, Token name, Shape *, Storage *, Expr *value, ExprList *table);
#endif
