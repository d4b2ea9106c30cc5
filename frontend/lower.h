/* lower.h: private to analysis and lowering. The tree is walked once an entry, and every expression becomes graph nodes at once:
 * names, types, levels and values are found in the same walk, and a mistake gives a poisoned value that stays silent.
 *
 *   lower.c       the rule chosen, entries, the graphs of a module
 *   names.c       scopes, what a name means, suggestions, names that are never used
 *   declare.c     hyper-parameters and operands
 *   shapes.c      which shapes disagree
 *   typing.c      conversions, operators, powers
 *   lower_expr.c  expressions
 *   lower_call.c  functions of the language and of the file
 *   lower_reduce.c whole tensors and all items reduced
 *   lower_stmt.c  statements, `if` as selection
 *   lower_apply.c another rule inserted
 *   tables.c      const values and tables
 *   transfer.c    nodes of one graph in another (conditions and first values of states); values known while compiling
 *   unsupported.c what parses and is refused */
#ifndef OPTC_FRONTEND_LOWER_H
#define OPTC_FRONTEND_LOWER_H
#include "frontend/frontend.h"

#define LOWER_MAX_NAMES 2048             /* in one scope */
#define LOWER_MAX_REPEATS 64             /* of a repeat that is written out */
#define LOWER_MAX_CALLS 64               /* fn within fn, apply within apply */
#define LOWER_MAX_DEPTH 2000             /* of the walk, calls included */
#define LOWER_MAX_ERRORS 100             /* then the rest of the text is left alone */
#define LOWER_MAX_STEPS 500000           /* expressions evaluated: fns that call each other twice grow as 2^n */

typedef struct Names Names;
typedef struct Lower Lower;
typedef struct Builtin Builtin;

/* What an expression is. A value with node NULL is poison (already reported) unless it names a function. */
typedef struct Value {
  const Node *node;
  bool tensor;                           /* has the item's shape (its node may still be a scalar that fills it) */
  bool wide;                             /* an f64 that stays f64 beside f32: from an f64 tensor, or f64(e) */
  bool literal;                          /* an integer written as such: powers look */
  unsigned operand;                      /* 1 + the operand that the expression names, or 0 */
  const Fn *fn; Names *home;             /* a fn and the scope it sees; home NULL: the file's */
  const Builtin *builtin;                /* a function of the language */
  const Shape *shape; const char *name;  /* for messages: the shape as written, also of poison; the name that it is */
} Value;

typedef enum SymbolKind { SYMBOL_LOCAL, SYMBOL_HYPER, SYMBOL_OPERAND, SYMBOL_PARAMETER, SYMBOL_BOUND, SYMBOL_FN } SymbolKind;

typedef struct Symbol {
  const char *name;
  SymbolKind kind;
  unsigned index;                        /* hyper or operand */
  Range where;
  const Node *guard;                     /* operand declared inside `if`: the condition, in the entry's graph */
  bool used, poisoned;
  const Shape *shape;                    /* as declared */
  const char *bound;                     /* in an applied rule: the name of the param it stands for, outside */
} Symbol;

/* A symbol and what it is worth at this point of the text. Node NULL and not poisoned: as at entry. */
typedef struct Binding {
  Symbol *symbol;
  Value value;
  bool set, poison;
  bool partial, partial_when;            /* assigned in one branch only; the value of the condition that leaves it without */
  Range partial_cond;
} Binding;

struct Names { Binding *at; unsigned n; size_t capacity; Names *outer; };

/* A value to be written when the entry ends, of an operand whose scope has ended before. */
typedef struct Final { Symbol *symbol; Value value; bool poison; } Final;
typedef struct First { unsigned operand; const Graph *graph; const Node *value, *guard; Range where, guard_where; } First;      /* a state's first value (NULL: 0) */
typedef struct Call { const char *name; const void *what; Range where; struct Call *outer; } Call;

typedef struct Insert {                  /* `apply`, while the rule is inserted */
  const Rule *rule;
  const Stmt *stmt;
  Names *outer;                          /* of the statement */
  bool *taken;                           /* a bind each */
  struct Insert *enclosing;
} Insert;

struct Lower {
  Arena *arena;
  Diag *diag;
  const FileSet *files;
  const FrontendOptions *options;
  Module *module;
  const Rule *rule;
  Graph *graph;                          /* being built */
  Names *scope;
  const char *entry;                     /* the entry's own name while its operands are declared, or NULL */
  const Node *guard;                     /* conditions of the enclosing ifs, or NULL */
  Range guard_where;                     /* the innermost */
  bool has_param, has_step;
  unsigned param;                        /* operand: the first param */
  const char *param_name;
  const Shape *param_shape;              /* as declared, or NULL */
  Value step;                            /* t, where `apply` gives another */
  Final *finals; unsigned n_finals; size_t finals_capacity;
  First *firsts; unsigned n_firsts; size_t firsts_capacity;
  Symbol **hypers;                       /* one each */
  Symbol **symbols; unsigned n_symbols; size_t symbols_capacity;         /* for warnings */
  const char **unknown; unsigned n_unknown; size_t unknown_capacity;     /* names already reported */
  Call *calls; unsigned n_calls;
  Insert *insert;
  bool in_fn;
  unsigned depth; unsigned steps; bool exhausted;
  size_t hypers_capacity, operands_capacity, graphs_capacity;
};

/* Reports once a place and text; false when it was already there. Notes say where the enclosing fn was called. */
bool lower_error(Lower *, Range, const char *format, ...) __attribute__((format(printf, 3, 4)));
Value lower_unsupported(Lower *, Range, const char *construct);
const char *lower_text(Lower *, Range);                                  /* the source text of a range, on one line */
unsigned lower_line(Range);

/* names.c */
Names *scope_new(Lower *, Names *outer);
Symbol *symbol_new(Lower *, const char *name, SymbolKind, unsigned index, Range);
Binding *scope_add(Lower *, Symbol *);                                   /* to the current scope; NULL after an error */
Binding *scope_find(Names *, const char *name);                          /* in this scope and those outside */
Binding *scope_find_here(Names *, const char *name);
Value name_value(Lower *, const char *name, Range, bool as_function);    /* what a name is worth; reports unknown names */
Value binding_current(Lower *, const Binding *);                         /* the same, as no use of the name */
Value binding_value(Lower *, Binding *, Range use);
bool name_is_free(Lower *, const char *name, Range);                     /* reports a name that cannot be declared again */
void names_check_parameters(Lower *, const Fn *);
void names_warn_unused(Lower *);
const Fn *file_fn(Lower *, const char *name);
const Rule *file_rule(Lower *, const char *name);
const Const *file_const(Lower *, const char *name);
const char *symbol_word(const Lower *, const Symbol *);                  /* "state", "hyper-parameter", ... */
void name_poison(Lower *, const char *name, Range);                      /* from now on silent */

/* declare.c */
void declare_hypers(Lower *);
void declare_find_param(Lower *, const StmtList *);
void declare(Lower *, const Stmt *);                                     /* STMT_DECL */
const Space *item_space(Lower *);
Value operand_at_entry(Lower *, const Symbol *);
Value operand_fit(Lower *, const Operand *, Value, const Expr *);        /* a value as the operand takes it; reports; NULL node after an error */

/* typing.c */
Value value_of(const Node *);
Value value_like(const Node *, Value a, Value b);                        /* shape and width from both */
Value value_convert(Lower *, Value, Type);
Value value_join(Lower *, Value *, unsigned n);                          /* converts all to one numeric type; the first is returned for its type */
Value value_real(Lower *, Value);                                        /* an int becomes f64 */
Value value_operate(Lower *, Oper, Range op_where, Value a, Value b);
Value value_negate(Lower *, Range op_where, Value);
Value value_select(Lower *, Range, Value c, Value a, Value b);
Value value_type_call(Lower *, const Expr *, Value);                     /* f32(e), int(e) ... */
const Node *bool_and(Lower *, const Node *a, const Node *b);             /* either may be NULL: true */
const char *oper_text(Oper);
bool value_is(const Value *, TypeKind);

/* lower_expr.c, lower_call.c */
Value lower_expr(Lower *, const Expr *);
Value lower_argument(Lower *, const Expr *);                             /* may be the name of a function */
Value lower_condition(Lower *, const Expr *, const char *who);           /* one bool scalar, or poison */
Value lower_call(Lower *, const Expr *);
const Builtin *builtin_find(const char *name);
size_t builtin_names(const char **out, size_t room);                     /* for suggestions */

/* lower_stmt.c, lower_apply.c, unsupported.c */
void lower_block(Lower *, const StmtList *);
void lower_stmt(Lower *, const Stmt *);
void lower_register_fns(Lower *, const StmtList *);
void lower_require(Lower *, const Stmt *);
void scope_finish(Lower *, const Names *, unsigned from);                /* operands of a scope that ends go to the finals */
void lower_apply(Lower *, const Stmt *);
bool apply_declare(Lower *, const Stmt *, const Decl *);                 /* a declaration of the applied rule; false: declare it as usual */
void poison_assigned(Lower *, const StmtList *);                         /* names that a refused block would have set */
const char *apply_state_name(Lower *, const char *name, bool collides);

/* shapes.c */
const char *shape_of_item(Lower *);                                      /* "shape [R, C]" or "the shape of p" */
const char *shape_text(Lower *, const Shape *);
bool shapes_agree(Lower *, Oper, Range op_where, const Value *a, const Value *b);
bool indices_match(Lower *, const char *name, const Shape *, const SubList *, Range bracket);

/* lower_reduce.c */
bool is_reduction(const Expr *);                                         /* a call that reduces: max(x), not max(x, y) */
Value lower_reduction(Lower *, const Expr *);

/* tables.c */
Value const_value(Lower *, const Const *, Range use);
Value const_index(Lower *, const Const *, const Expr *);                 /* c[i] */

/* transfer.c */
const Node *node_transfer(Lower *, const Graph *from, const Node *, Graph *to);
bool node_uses(const Graph *, const Node *, bool (*leaf)(const Module *, const Node *), const Module *);    /* some reachable leaf satisfies it */
bool node_constant(const Graph *, const Node *, Bits *out);              /* its value if nothing in it depends on a call */
#endif
