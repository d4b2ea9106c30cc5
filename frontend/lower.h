/* lower.h: private to analysis and lowering. The tree is walked once an entry, and every expression becomes graph nodes at once:
 * names, types, levels and values are found in the same walk, and a mistake gives a poisoned value that stays silent.
 *
 * Six floors; a file includes the header of its own floor, which includes those below, and calls nothing above; within a floor it
 * calls those named before it. What an expression or a block is worth is asked through the doors at the end of this header, from
 * whatever floor: the language nests.
 *
 *   lower.h        what lives how long; report.c
 *   nodes.h        nodes and spaces: transfer.c (other graphs, values known while compiling), spaces.c, agree.c (what must hold at entry), move.c (other positions)
 *   values.h       values: shapes.c (which disagree), views.c (the item's tensors with axes), typing.c (conversions, operators, powers), totals.c (over items)
 *   names.h        what a name means: builtins.c, names.c (scopes), joins.c (types in all assignments), indices.c, sizes.c, storage_codes.c (8-bit and 4-bit states), storage_master.c (copies of params), operands.c, tables.c (consts),
 *                  meaning.c (its value), patterns.c (`is`), ranges.c (how far an index runs)
 *   expressions.h  lower_random.c, lower_matrix.c, lower_keep.c (softmax, cumsum, order), lower_reduce.c, lower_element.c, lower_call.c, lower_expr.c
 *   statements.h   lower_indexed.c, policy.c (--store), storage.c (rounding), declare_shape.c, lower_apply.c, declare.c, lower_scan.c, lower_skip.c, lower_stmt.c, lower_backward.c
 *   lower.c        the rule chosen, entries, the graphs of a module
 */
#ifndef OPTC_FRONTEND_LOWER_H
#define OPTC_FRONTEND_LOWER_H
#include "frontend/frontend.h"

#define LOWER_MAX_NAMES 2048             /* in one scope */
#define LOWER_MAX_REPEATS 8              /* of a repeat that is written out; longer ones are a SCAN */
#define LOWER_MAX_AXES 8                 /* of a space */
#define LOWER_MAX_CALLS 64               /* fn within fn, apply within apply */
#define LOWER_MAX_DEPTH 2000             /* of the walk, calls included */
#define LOWER_MAX_STEPS 500000           /* expressions evaluated: fns that call each other twice grow as 2^n */
#define LOWER_MAX_WALKS 32               /* of a rule, until the types of its names stay */

typedef struct Names Names;
typedef struct Lower Lower;
typedef struct Lexical Lexical;
typedef struct Policy Policy;             /* policy.c */
typedef struct Builtin Builtin;           /* names.h */
typedef struct Join Join;                 /* joins.c */
typedef struct Site Site;                 /* joins.c: an entry, a call of a fn, an applied rule */

/* Factors of a product, as `sum` looks at them. Opaque: a name assigned more than once, which does not stand for its expression. */
typedef struct Factor { const Node *node; bool opaque; } Factor;
typedef struct Factors { unsigned n; Factor at[]; } Factors;

/* What an expression is. A value with axes is either an element value, over the indices in scope, or a whole tensor. A value with node NULL is poison (already reported) unless it names a function. */
typedef struct Value {
  const Node *node;
  bool tensor;                           /* a whole tensor (its node may still be a scalar that fills it) */
  const Space *space;                    /* of a tensor */
  unsigned around;                       /* made in a fn that is called at indices: its first axes are those, and it is read where they are in scope */
  bool wide;                             /* an f64 that stays f64 beside f32: from an f64 tensor, or f64(e) */
  bool literal;                          /* an integer written as such: powers look */
  bool opaque; const Factors *product;   /* of a chain of `*`, or a name that stands for one */
  unsigned operand;                      /* 1 + the operand that the expression names, or 0 */
  const Fn *fn; Names *home;             /* a fn and the scope it sees; home NULL: the file's */
  const Builtin *builtin;                /* a function of the language */
  const Shape *shape; const char *name;  /* for messages: the shape as written, also of poison; the name that it is */
} Value;

typedef enum SymbolKind { SYMBOL_LOCAL, SYMBOL_HYPER, SYMBOL_OPERAND, SYMBOL_PARAMETER, SYMBOL_BOUND, SYMBOL_FN, SYMBOL_SIZE } SymbolKind;

typedef struct Symbol {
  const char *name;
  SymbolKind kind;
  unsigned index;                        /* hyper, operand or size */
  Range where;
  const Node *guard;                     /* operand declared inside `if`: the condition, in the entry's graph */
  bool used, assigned, poisoned;         /* used: read */
  bool once;                             /* a local value that the text assigns once: it stands for its expression */
  const Shape *shape;                    /* as declared */
  const char *bound;                     /* in an applied rule: the name of the param it stands for, outside */
  const char *unseen;                    /* in an entry of an applied rule: what the main body gave for it, of names that entries do not see */
} Symbol;

/* What both branches of an `if` made of one name, and why it is not one thing behind them. */
typedef struct Clash { const char *why, *note[2]; Range where[2]; } Clash;

/* A symbol and what it is worth at this point of the text. Node NULL and not poisoned: as at entry. */
typedef struct Binding {
  Symbol *symbol;
  Value value;
  bool set, poison;
  bool partial, partial_when;            /* assigned in one branch only; the value of the condition that leaves it without */
  Range partial_cond;
  const Clash *clash;                    /* partial, though both branches made it; or NULL */
} Binding;

struct Names { Binding *at; unsigned n; size_t capacity; Names *outer; };

/* A value to be written when the entry ends, of an operand whose scope has ended before. */
typedef struct Final { Symbol *symbol; Value value; bool poison; } Final;
typedef struct First { unsigned operand; const Graph *graph; const Node *value, *guard; Range where, guard_where; } First;      /* a state's first value (NULL: 0) */
typedef struct Call { const char *name; const void *what; Range where; struct Call *outer; } Call;

typedef struct Insert {                  /* `apply`, while the rule is inserted */
  const Rule *rule;
  const Stmt *stmt;
  Lexical *outer;                          /* of the statement */
  bool *taken;                           /* a bind each */
} Insert;

/* A rule with entries that the main body applies: they become ours. */
typedef struct Applied { const Rule *rule; const Stmt *stmt; const Names *names; } Applied;

/* A size that a shape names: axis `dim` of operand `operand`, or what the expression there must be to fit it. */
typedef struct SizeDef { const char *name; unsigned operand; const Shape *shape; unsigned dim; bool item; bool solving; Range where; } SizeDef;
typedef struct Reserved { const Decl *decl; unsigned operand; } Reserved;

/* Indices in scope, outermost first; the value of an expression here has `space` or rank 0. Names below `barrier` are not seen (a fn's caller);
 * those from `first` to `statement` are the left side's. */
typedef struct Index { const char *name; const Node *extent; Range where; bool used; } Index;
typedef struct Indices { unsigned n, barrier, first, statement; Index at[LOWER_MAX_AXES]; const Space *space; } Indices;

/* The item's tensors, flat in memory, seen with axes. */
typedef struct View { const Space *space; const Node *flat; const Shape *shape; struct View *next; } View;

/* The axes of a tensor as indices meet them. */
typedef struct Axes { unsigned n; const Node *extent[LOWER_MAX_AXES]; const View *view; const Shape *shape; bool unnamed; } Axes;

/* What the condition of an `if` asks with `is`. */
typedef struct Patterns { unsigned n; const Shape *at[8]; } Patterns;

/* `skip if`: what the entry leaves when the condition holds. */
typedef struct Skip { const Node *cond; const Names *names; struct Skip *earlier; } Skip;

/* A stochastic operand: its random bits come from a tensor, or from a stream. */
typedef struct Stochastic { unsigned operand; const char *bits_from; int64_t stream; Range where; Names *scope; } Stochastic;

/* A param in a narrow type, and the state that is its copy in f32. */
typedef struct Master { unsigned operand, copy; } Master;

/* A state narrower than f32 that is rounded to nearest, and the text that says so. */
typedef struct Narrow { unsigned operand; const Storage *storage; } Narrow;

/* A state kept as codes: the operands of its codes and of its blocks' maxima; shape NULL: the item's. */
typedef struct Coded { unsigned operand, maxima, map; int64_t block; const Space *shape; } Coded;

/* Values that were moved, by id; a walk is a stamp. */
typedef struct Memo { unsigned *by; const Node **to; unsigned n, walk; } Memo;

/* --- what lives how long --------------------------------------------------------------------------------------------------------------- */

/* As long as the module is made: the rule and what all its entries have together. */
typedef struct Context {
  const FileSet *files;
  const FrontendOptions *options;
  Module *module; size_t hypers_capacity, operands_capacity, graphs_capacity, size_names_capacity;
  const Rule *rule;
  Names *rule_names;                     /* hyper-parameters and sizes: where defaults are seen from */
  bool has_param, has_step;
  unsigned param;                        /* operand: the first param */
  const char *param_name;
  const Shape *param_shape;              /* as declared, or NULL */
  Symbol **hypers;                       /* one each */
  SizeDef *sizes; unsigned n_sizes; size_t sizes_capacity;
  Reserved *reserved; unsigned n_reserved; size_t reserved_capacity;
  First *firsts; unsigned n_firsts; size_t firsts_capacity;
  Policy *policies; unsigned n_policies; size_t policies_capacity;
  Coded *coded; unsigned n_coded; size_t coded_capacity;
  Master *masters; unsigned n_masters; size_t masters_capacity;
  Narrow *narrow; unsigned n_narrow; size_t narrow_capacity;
  Stochastic *stochastic; unsigned n_stochastic; size_t stochastic_capacity;
  Applied *applied; unsigned n_applied; size_t applied_capacity;
  Symbol **symbols; unsigned n_symbols; size_t symbols_capacity;         /* for warnings */
  const char **unknown; unsigned n_unknown; size_t unknown_capacity;     /* names already reported */
  Memo memo;                             /* of move.c */
  Site *sites; const Name *grew;         /* kept from walk to walk; a name whose type grew in this one, or NULL */
  unsigned depth, steps; bool exhausted; /* of the walk: LOWER_MAX_DEPTH, LOWER_MAX_STEPS */
} Context;

/* As long as one graph is made. */
typedef struct Entry {
  const char *name;                      /* of an `entry`; NULL: the main body */
  View *views;                           /* of this graph */
  const Node *ellipsis;                  /* what `...` stands for in declarations of a rule without param */
  Skip *skips;
  Final *finals; unsigned n_finals; size_t finals_capacity;
} Entry;

/* Around one stretch of the text: a branch, the body of a fn, an applied rule, a default. What a scope does not say it has from the one outside. */
struct Lexical {
  Lexical *outer;
  Names *names;
  const StmtList *body;                  /* of the rule, entry or fn: where assignments are counted */
  Site *site;                            /* this run of it: where types are joined */
  const Node *guard;                     /* conditions of the enclosing ifs, or NULL */
  Range guard_where;                     /* the innermost */
  Indices *ix;                           /* NULL: no indices, tensors are whole */
  const View *view;                      /* the one seen here */
  const char *target;                    /* the name that the statement assigns */
  const Space *statement;                /* of the tensor that an index-free statement assigns, or NULL */
  unsigned scans;                        /* depth */
  Call *calls;
  Insert *insert;                        /* in an applied rule */
  Value step;                            /* t, where `apply` gives another */
  bool in_fn;
  bool first;                            /* in the first value of a state: the step is 0 */
  Patterns *patterns;                    /* `is` in the condition of an `if`: its names are bound */
};

/* Where the walk stands. */
struct Lower {
  Arena *arena;
  Diag *diag;
  Graph *graph;                          /* being built */
  Context *context;
  Entry *entry;
  Lexical *scope;
};

Lexical *scope_enter(Lower *, Lexical *inner);                               /* like the present one, inside it; pair with scope_leave */
void scope_leave(Lower *);

/* --- report.c ------------------------------------------------------------------------------------------------------------------------------- */

/* Reports once a place and text; false when it was already there. Notes say where the enclosing fn was called. */
bool lower_error(Lower *, Range, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool lower_warning(Lower *, Range, const char *format, ...) __attribute__((format(printf, 3, 4)));       /* once a place and text */
Value lower_unsupported(Lower *, Range, const char *construct);
const char *lower_text(Lower *, Range);                                  /* the source text of a range, on one line */
unsigned lower_line(Range);

/* --- the doors ------------------------------------------------------------------------------------------------------------------------------ */

Value lower_expr(Lower *, const Expr *);
Value lower_argument(Lower *, const Expr *);                             /* may be the name of a function */
void lower_block(Lower *, const StmtList *);
#endif
