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
 *   indices.c     index spaces, which indices are in scope, how far an index runs
 *   move.c        a value at other positions, or over other indices
 *   sizes.c       shapes that name sizes: solving, checking
 *   views.c       the item's tensors seen with named axes; tensors brought to one shape; `is`
 *   lower_index.c reads at indices, indexed statements
 *   lower_reduce.c indices, whole tensors and all items reduced
 *   lower_keep.c  softmax, cumsum, order and what else keeps its index
 *   lower_matrix.c @ and '
 *   lower_scan.c  scan, repeat
 *   lower_skip.c  skip if
 *   lower_random.c uniform, normal, philox
 *   lower_backward.c what `backward` declares
 *   lower_stmt.c  statements, `if` as selection
 *   lower_apply.c another rule inserted
 *   storage.c     rounding when values are written back
 *   storage_codes.c states kept as 8-bit and 4-bit codes
 *   tables.c      const values and tables
 *   transfer.c    nodes of one graph in another (conditions and first values of states); values known while compiling
 *   unsupported.c what parses and is refused */
#ifndef OPTC_FRONTEND_LOWER_H
#define OPTC_FRONTEND_LOWER_H
#include "frontend/frontend.h"

#define LOWER_MAX_NAMES 2048             /* in one scope */
#define LOWER_MAX_REPEATS 8              /* of a repeat that is written out; longer ones are a SCAN */
#define LOWER_MAX_AXES 8                 /* of a space */
#define LOWER_MAX_CALLS 64               /* fn within fn, apply within apply */
#define LOWER_MAX_DEPTH 2000             /* of the walk, calls included */
#define LOWER_MAX_ERRORS 100             /* then the rest of the text is left alone */
#define LOWER_MAX_STEPS 500000           /* expressions evaluated: fns that call each other twice grow as 2^n */

typedef struct Names Names;
typedef struct Lower Lower;
typedef struct Lexical Lexical;
typedef struct Builtin Builtin;

/* Factors of a product, as `sum` looks at them. Opaque: a name assigned more than once, which does not stand for its expression. */
typedef struct Factor { const Node *node; bool opaque; } Factor;
typedef struct Factors { unsigned n; Factor at[]; } Factors;

/* What an expression is. A value with axes is either an element value, over the indices in scope, or a whole tensor. A value with node NULL is poison (already reported) unless it names a function. */
typedef struct Value {
  const Node *node;
  bool tensor;                           /* a whole tensor (its node may still be a scalar that fills it) */
  const Space *space;                    /* of a tensor */
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
  bool used, poisoned;
  bool once;                             /* a local value that the text assigns once: it stands for its expression */
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
  Lexical *outer;                          /* of the statement */
  bool *taken;                           /* a bind each */
} Insert;

/* A size that a shape names: axis `dim` of operand `operand`, or what the expression there must be to fit it. */
typedef struct SizeDef { const char *name; unsigned operand; const Shape *shape; unsigned dim; bool item; bool solving; Range where; } SizeDef;
typedef struct Reserved { const Decl *decl; unsigned operand; } Reserved;

/* Indices in scope, outermost first; the value of an expression here has `space` or rank 0. Names below `barrier` are not seen (a fn's caller). */
typedef struct Index { const char *name; const Node *extent; Range where; bool used; } Index;
typedef struct Indices { unsigned n, barrier, statement; Index at[LOWER_MAX_AXES]; const Space *space; } Indices;

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

/* A state kept as codes: the operands of its codes and of its blocks' maxima; shape NULL: the item's. */
typedef struct Coded { unsigned operand, maxima, map; int64_t block; const Space *shape; } Coded;

/* Values that were moved, by id; a walk is a stamp. */
typedef struct Memo { unsigned *by; const Node **to; unsigned n, walk; } Memo;

/* --- what lives how long --------------------------------------------------------------------------------------------------------------- */

/* As long as the module is made: the rule and what all its entries have together. */
typedef struct Context {
  const FileSet *files;
  const FrontendOptions *options;
  Module *module; size_t hypers_capacity, operands_capacity, graphs_capacity;
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
  Coded *coded; unsigned n_coded; size_t coded_capacity;
  Stochastic *stochastic; unsigned n_stochastic; size_t stochastic_capacity;
  Symbol **symbols; unsigned n_symbols; size_t symbols_capacity;         /* for warnings */
  const char **unknown; unsigned n_unknown; size_t unknown_capacity;     /* names already reported */
  Memo memo;                             /* of move.c */
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
  const Node *guard;                     /* conditions of the enclosing ifs, or NULL */
  Range guard_where;                     /* the innermost */
  Indices *ix;                           /* NULL: no indices, tensors are whole */
  const View *view;                      /* the one seen here */
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

/* Reports once a place and text; false when it was already there. Notes say where the enclosing fn was called. */
bool lower_error(Lower *, Range, const char *format, ...) __attribute__((format(printf, 3, 4)));
void lower_warning(Lower *, Range, const char *format, ...) __attribute__((format(printf, 3, 4)));       /* once a place and text */
Value lower_unsupported(Lower *, Range, const char *construct);
const char *lower_text(Lower *, Range);                                  /* the source text of a range, on one line */
unsigned lower_line(Range);

/* indices.c */
void indices_enter(Lower *, Indices *inner);                             /* a copy of those in scope, to be extended */
bool index_add(Lower *, Indices *, const char *name, const Node *extent, Range);
void indices_close(Lower *, Indices *);                                  /* makes the space: before values are built */
const Node *index_node(Lower *, const Space *, unsigned axis);
int index_find(const Indices *, const char *name);                       /* -1 */
bool name_is_value(Lower *, const char *name);                           /* not an index, whatever the bracket says */
const char *sub_index(Lower *, const Sub *, const Expr **limit);         /* the name of a sub that introduces an index, its range or NULL; NULL: an expression */
const Node *index_range(Lower *, const char *name, const Expr *, const StmtList *, const Node *found, const char *found_in, bool *poisoned);      /* poisoned: it may hang on a name that was refused */
const Node *index_limit(Lower *, const Expr *);                          /* n of `i < n` */
unsigned ellipsis_extents(Lower *, const Expr *, const Node **extents, bool *found);       /* what `...` stands for in an expression */
const Node *under_guard(Lower *, const Node *cond);                      /* a requirement where the enclosing conditions hold */
void extents_agree(Lower *, const Node *a, const char *what_a, const Node *b, const char *what_b);     /* proved, or required at entry */

/* move.c */
const Node *node_move(Lower *, const Node *, const Space *to, const Node *const *index);      /* every index inside its axis: pointwise values are computed anew */
const Node *node_at(Lower *, const Node *, const Space *of, const Space *to, const Node *const *index, unsigned n);      /* a tensor read at indices: total */
unsigned node_axes(Lower *, const Node *, const Space *);                /* mask: on which axes of the space it depends */
const Node *node_project(Lower *, const Node *, const Space *from, const Space *to, const unsigned *axes);      /* axes[k]: axis of `from` that is axis k of `to` */
const Node *node_spread(Lower *, const Node *, const Space *);           /* a scalar over a space */
bool node_reads_data(Lower *, const Node *);                             /* depends on elements of tensors */
const Space *space_pick(Lower *, const Space *from, unsigned n, const unsigned *axes);

/* sizes.c */
void sizes_reserve(Lower *, const StmtList *);                           /* operands and sizes that a body declares, before it is walked */
Value size_value(Lower *, const Symbol *, Range);
int operand_reserved(const Lower *, const Decl *);                       /* its index, or -1 */
const Node *dim_extent(Lower *, unsigned operand, bool item, const Shape *, unsigned dim);
bool shape_declare(Lower *, unsigned operand, const Shape *, bool callers, Range);      /* extents into Operand.shape, checks into the requirements */
const Space *operand_space_here(Lower *, unsigned operand);              /* in this graph */
bool shape_is_items(Lower *, const Shape *);                             /* written as the first param's */

/* views.c */
const View *view_here(Lower *);                                          /* NULL: the item's axes have no names */
const Node *view_position(Lower *, const View *, const Node *const *index);       /* flat; -1 outside */
View *view_make(Lower *, const Shape *, unsigned n, const Node *const *extents);
Value value_viewed(Lower *, Value, Range);                               /* with named axes */
bool axes_of(Lower *, const Value *, Axes *);
void axes_unnamed(Lower *, const char *name, Range);                     /* reports */
bool value_align(Lower *, Oper, Range, Value *, unsigned n);             /* tensors brought to one space; reports shapes that differ */
Value value_to_space(Lower *, Value, const Space *, Range, const char *name);
Value lower_is(Lower *, const Expr *);
bool is_item_space(Lower *, const Space *);
const Space *value_space(Lower *, const Value *);
void pattern_bind(Lower *, const Shape *, const Node *when);             /* names the sizes of the item's axes in the current scope */
const Node *pattern_test(Lower *, const Shape *);

/* lower_index.c */
void index_not_integer(Lower *, const Expr *, const Value *);           /* reports */
Value lower_element(Lower *, const Expr *);                              /* x[i, j] */
Value lower_indexed(Lower *, const Stmt *, Binding *);                   /* what x[i, j] = e makes of x: a whole tensor */
unsigned count_assignments(const StmtList *, const char *name);
void symbol_set_once(Lower *, Symbol *);

/* lower_matrix.c, lower_keep.c, lower_random.c, lower_scan.c, lower_skip.c, lower_backward.c */
Value lower_matmul(Lower *, Range, Value a, Value b);
Value lower_transpose(Lower *, Range, Value);
Value lower_matrix_function(Lower *, const Expr *, Op, Value);
bool is_keeping(const Expr *);
Value lower_keeping(Lower *, const Expr *);
const Node *random_bits(Lower *, const Node *element, int64_t stream);  /* 32 of them */
Value lower_random(Lower *, const Expr *);
Value lower_philox(Lower *, const Expr *);
void lower_scan(Lower *, const Stmt *);
void lower_repeat(Lower *, const Stmt *);
void lower_skip(Lower *, const Stmt *);
Value skip_value(Lower *, const Skip *, const Symbol *);
void lower_backward(Lower *, const Stmt *);

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
const char *symbol_article(const Lower *, const Symbol *);
void name_poison(Lower *, const char *name, Range);                      /* from now on silent */

/* declare.c */
void declare_hypers(Lower *);
void declare_defaults(Lower *);
void declare_find_param(Lower *, const StmtList *);
void declare(Lower *, const Stmt *);                                     /* STMT_DECL */
const Space *item_space(Lower *);
Value operand_at_entry(Lower *, const Symbol *);
Value hyper_value(Lower *, unsigned hyper);                              /* its run-time value, or its default where that is computed */
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
const char *shape_of_value(Lower *, const Value *);
const char *shape_of_item(Lower *);                                      /* "shape [R, C]" or "the shape of p" */
const char *shape_text(Lower *, const Shape *);
bool shapes_agree(Lower *, Oper, Range op_where, const Value *a, const Value *b);
bool indices_match(Lower *, const char *name, const Shape *, const SubList *, Range bracket);

/* lower_reduce.c */
bool is_reduction(const Expr *);                                         /* a call that reduces: max(x), not max(x, y) */
Value lower_reduction(Lower *, const Expr *);
Value value_of_call(Lower *, Value item);

/* storage.c */
void storage_declare(Lower *, unsigned operand, const Storage *, const Symbol *);
const Node *storage_round(Lower *, unsigned operand, const Node *);     /* as it is written back, before the storage type */

/* storage_codes.c */
bool storage_is_codes(const Storage *);
const Coded *coded_of(const Lower *, unsigned operand);                 /* NULL: kept as numbers */
const Space *coded_space(Lower *, const Coded *);
const Node *coded_read(Lower *, const Coded *, const Node *guard);
void coded_write(Lower *, const Coded *, const Node *value, const Node *when);       /* both operands */
int coded_declare(Lower *, const Stmt *, const Decl *, bool items);
int operand_for(Lower *, const Stmt *, const Decl *, Type, bool items);  /* declare.c */

/* tables.c */
Value const_value(Lower *, const Const *, Range use);
Value const_index(Lower *, const Const *, const Expr *);                 /* c[i] */

/* transfer.c */
const Node *node_transfer(Lower *, const Graph *from, const Node *, Graph *to);
bool node_uses(const Graph *, const Node *, bool (*leaf)(const Module *, const Node *), const Module *);    /* some reachable leaf satisfies it */
bool node_constant(const Graph *, const Node *, Bits *out);              /* its value if nothing in it depends on a call */
#endif
