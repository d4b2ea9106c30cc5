/* ast.h: the tree of an .opt file, as parsed: no names resolved, no types. Owned by the compilation's arena. */
#ifndef OPTC_FRONTEND_AST_H
#define OPTC_FRONTEND_AST_H
#include "ir/diag.h"
#include "ir/module.h"

typedef struct Expr Expr;
typedef struct Stmt Stmt;

typedef enum ExprKind {
  EXPR_INT,                              /* integer: value */
  EXPR_REAL,                             /* real: number */
  EXPR_WORD,                             /* name: inf nan pi true false */
  EXPR_NAME,                             /* name */
  EXPR_UNARY,                            /* op ("-", "not"), a */
  EXPR_BINARY,                           /* op (+ - * / // % @ ^ << >> & | and or), a, b */
  EXPR_CHAIN,                            /* a, then links: a < b <= c */
  EXPR_IS,                               /* a is [shape] */
  EXPR_TRANSPOSE,                        /* a' */
  EXPR_CONVERT,                          /* f32(a): type name in `name` */
  EXPR_CALL,                             /* name(args), name[subs](args), name[subs; order](args) */
  EXPR_INDEX                             /* name[subs] */
} ExprKind;

typedef enum Oper { OPER_NONE, OPER_ADD, OPER_SUB, OPER_MUL, OPER_DIV, OPER_IDIV, OPER_MOD, OPER_MATMUL, OPER_POW, OPER_SHL, OPER_SHR, OPER_BAND, OPER_BOR,
  OPER_AND, OPER_OR, OPER_NOT, OPER_NEG, OPER_LT, OPER_LE, OPER_GT, OPER_GE, OPER_EQ, OPER_NE } Oper;

typedef struct ExprList { const Expr **at; unsigned n; size_t capacity; } ExprList;
typedef struct Link { Oper op; Range where; const Expr *operand; } Link;
typedef struct Sub { bool ellipsis; const Expr *expr; Range where; } Sub;            /* an index with a range is the CHAIN `i < n` */
typedef struct SubList { Sub *at; unsigned n; size_t capacity; } SubList;
typedef struct Dim { bool ellipsis; const char *flat; const Expr *expr; Range where; } Dim;     /* flat: the name after `flat` */
typedef struct Shape { Dim *at; unsigned n; size_t capacity; Range where; } Shape;

struct Expr {
  ExprKind kind;
  Range where;                           /* the whole expression */
  Range op_where;                        /* the operator, bracket or call name */
  Oper op;
  bool parenthesised;                    /* (a): one factor of a contraction */
  unsigned depth;                        /* of the tree below, 1 for a leaf; at most FRONTEND_MAX_EXPR_DEPTH */
  const char *name;
  const char *order;                     /* CALL: after ';' */
  int64_t value;
  double number;
  const Expr *a, *b;
  ExprList args;
  bool has_subs;
  SubList subs;
  Link *links; unsigned n_links; size_t links_capacity;
  const Shape *shape;                    /* IS */
};

typedef struct Storage {                 /* after ':' */
  const char *type;                      /* f64 f32 bf16 f16 i32 i8 u8 q8 q8u q4 q4u int bool, or NULL */
  const Expr *block;                     /* q8[256] */
  bool stochastic, flush, nearest;
  const char *bits_from;                 /* stochastic(r) */
  Range where;
} Storage;

typedef struct Decl {
  const char *name, *external;
  const Shape *shape;                    /* NULL: none written; [] has n == 0 */
  Storage storage;
  bool optional;
  const Expr *value;
  Range where, external_where;
} Decl;
typedef struct DeclList { Decl *at; unsigned n; size_t capacity; } DeclList;

typedef struct StmtList { const Stmt **at; unsigned n; size_t capacity; } StmtList;

typedef struct Name { const char *text; Range where; } Name;
typedef struct NameList { Name *at; unsigned n; size_t capacity; } NameList;
typedef struct Bind { Name name; const Expr *value; } Bind;                       /* apply f(a = e) */
typedef struct BindList { Bind *at; unsigned n; size_t capacity; } BindList;

typedef struct Fn { Name name; NameList params; const Expr *value; StmtList body; const Expr *returns; const char *doc; Range where; } Fn;

typedef enum StmtKind { STMT_DECL, STMT_REQUIRE, STMT_ASSIGN, STMT_IF, STMT_REPEAT, STMT_SCAN, STMT_SKIP, STMT_APPLY, STMT_FN, STMT_ENTRY, STMT_BACKWARD } StmtKind;
struct Stmt {
  StmtKind kind;
  Range where;
  Role role; Scope scope; DeclList decls;            /* DECL */
  const Expr *cond;                                  /* REQUIRE, IF, SKIP, REPEAT (the count) */
  Name name;                                         /* ASSIGN, APPLY, ENTRY */
  bool has_subs; SubList subs;                       /* ASSIGN; SCAN: one */
  Oper op; Range op_where;                           /* ASSIGN: NONE for '=', ADD for '+=' ... */
  const Expr *value;                                 /* ASSIGN */
  StmtList body;                                     /* IF, REPEAT, SCAN, SKIP, ENTRY */
  bool has_otherwise; StmtList otherwise;            /* IF: else (else if: one IF inside) */
  bool reverse;                                      /* SCAN */
  BindList binds;                                    /* APPLY */
  const Fn *fn;                                      /* FN */
  NameList wrt, saving;                              /* BACKWARD */
  unsigned depth;                                    /* of the statements below, 1 without; at most FRONTEND_MAX_DEPTH */
  const char *doc;
};

typedef struct HyperDecl { bool is_const; Name name; Storage storage; const Expr *value; const char *external; Range where; const char *doc; } HyperDecl;
typedef struct HyperList { HyperDecl *at; unsigned n; size_t capacity; } HyperList;
typedef struct Rule { Name name; HyperList hypers; StmtList body; const char *doc; Range where; } Rule;
typedef struct Const { Name name; const Shape *shape; Storage storage; const Expr *value; ExprList values; bool is_table; const char *doc; Range where; } Const;
typedef struct Use { const char *path; Range where; } Use;

typedef struct File {
  const Source *source;
  Use *uses; unsigned n_uses; size_t uses_capacity;
  const Fn **fns; unsigned n_fns; size_t fns_capacity;
  const Rule **rules; unsigned n_rules; size_t rules_capacity;
  const Const **consts; unsigned n_consts; size_t consts_capacity;
} File;
#endif
