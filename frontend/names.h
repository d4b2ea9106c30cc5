/* names.h: what a name means: functions of the language, scopes, indices, sizes, operands, tables. */
#ifndef OPTC_FRONTEND_NAMES_H
#define OPTC_FRONTEND_NAMES_H
#include "frontend/values.h"

/* builtins.c */
typedef enum BuiltinKind { BUILTIN_ELEMENT, BUILTIN_ABS, BUILTIN_FMA, BUILTIN_WHERE, BUILTIN_LERP, BUILTIN_EXTENT, BUILTIN_PRESENT, BUILTIN_MATRIX,
  BUILTIN_REDUCTION, BUILTIN_KEEPING, BUILTIN_RANDOM, BUILTIN_PHILOX } BuiltinKind;
enum { BUILTIN_TAKES_FLOATS = 1, BUILTIN_TAKES_INTS = 2, BUILTIN_TAKES_F32 = 4 };
struct Builtin {
  const char *name;
  uint8_t min, max;                      /* arguments */
  uint8_t op;                            /* Op */
  uint8_t types;                         /* what the operation takes; ints become f64 where it takes reals only */
  uint8_t kind;                          /* BuiltinKind */
};
const Builtin *builtin_find(const char *name);
size_t builtin_names(const char **out, size_t room);                     /* for suggestions */

/* names.c */
Names *scope_new(Lower *, Names *outer);
Names *names_copy(Lower *, const Names *);
Symbol *symbol_new(Lower *, const char *name, SymbolKind, unsigned index, Range);
void symbol_set_once(Lower *, Symbol *);
unsigned count_assignments(const StmtList *, const char *name);
Binding *scope_add(Lower *, Symbol *);                                   /* to the current scope; NULL after an error */
Binding *scope_find(Names *, const char *name);                          /* in this scope and those outside */
Binding *scope_find_here(Names *, const char *name);
Binding *scope_find_assigned(Lower *, const char *name);                 /* what an assignment here gives a value */
void scope_finish(Lower *, const Names *, unsigned from);                /* operands of a scope that ends go to the finals */
bool name_is_free(Lower *, const char *name, Range);                     /* reports a name that cannot be declared again */
void name_poison(Lower *, const char *name, Range);                      /* from now on silent */
void poison_assigned(Lower *, const StmtList *);                         /* names that a refused block would have set */
void names_register_fns(Lower *, const StmtList *);
void names_check_parameters(Lower *, const Fn *);
void names_warn_unused(Lower *);
const Fn *file_fn(Lower *, const char *name);
const Rule *file_rule(Lower *, const char *name);
const Const *file_const(Lower *, const char *name);
const char *symbol_word(const Lower *, const Symbol *);                  /* "state", "hyper-parameter", ... */
const char *symbol_article(const Lower *, const Symbol *);

/* joins.c */
Site *sites_new(Arena *);                                                 /* of a rule: what its entries are inside of */
Site *site_inside(Lower *, Site *outer, const void *at);                 /* the one of a statement or call; the same in every walk */
Value value_joined(Lower *, const Name *, Value);                        /* an assigned value in the type that its name has everywhere */

/* indices.c */
void indices_enter(Lower *, Indices *inner);                             /* a copy of those in scope, to be extended */
bool index_add(Lower *, Indices *, const char *name, const Node *extent, Range);
void indices_close(Lower *, Indices *);                                  /* makes the space: before values are built */
int index_find(const Indices *, const char *name);                       /* -1 */
bool name_is_value(Lower *, const char *name);                           /* not an index, whatever the bracket says */
const char *sub_index(Lower *, const Sub *, const Expr **limit);         /* the name of a sub that introduces an index, its range or NULL; NULL: an expression */
const Node *index_limit(Lower *, const Expr *);                          /* n of `i < n` */
void index_not_integer(Lower *, const Expr *, const Value *);            /* reports */

/* sizes.c */
const char *dim_name(const Dim *);                                       /* of a dim that is one name, or NULL */
const char *dim_gives(Lower *, const Dim *, bool alone);                 /* the size that a dim gives: alone, or as the unknown of `S + 1`, `2*H`; or NULL */
void sizes_define(Lower *, unsigned operand, const Shape *, bool items, const StmtList *body, bool alone);      /* those without a value yet */
const Node *size_solved(Lower *, const Node *extent, const Expr *, const char *name);      /* what the name is where the expression is the extent; NULL after an error */
void sizes_reserve(Lower *, const StmtList *);                           /* operands and sizes that a body declares, before it is walked */
Value size_value(Lower *, const Symbol *, Range);
int operand_reserved(const Lower *, const Decl *);                       /* its index, or -1 */
const Space *operand_space_here(Lower *, unsigned operand);              /* in this graph */
bool shape_is_items(Lower *, const Shape *);                             /* written as the first param's */

/* storage_codes.c */
bool storage_is_codes(const Storage *);
const Coded *coded_of(const Lower *, unsigned operand);                  /* NULL: kept as numbers */
const Space *coded_space(Lower *, const Coded *);
const Node *coded_read(Lower *, const Coded *, const Node *guard);
void coded_write(Lower *, const Coded *, const Node *value, const Node *when);       /* both operands */
int64_t coded_block(Lower *, const Stmt *, const Storage *);              /* the elements of a block; 0 after an error */
void coded_declare(Lower *, unsigned operand, const Storage *, int64_t block, bool items);

/* storage_master.c */
unsigned master_of(const Lower *, unsigned operand);                     /* its copy; without one itself */
unsigned master_read(const Lower *, unsigned operand);                   /* what is read for it */
void master_declare(Lower *, unsigned operand, const Storage *);

/* operands.c */
Value operand_at_entry(Lower *, const Symbol *);
Value hyper_value(Lower *, unsigned hyper);                              /* its run-time value, or its default where that is computed */
Value operand_fit(Lower *, const Operand *, Value, const Expr *);        /* a value as the operand takes it; reports; NULL node after an error */

/* tables.c */
Value const_value(Lower *, const Const *, Range use);
Value const_index(Lower *, const Const *, const Expr *);                 /* c[i] */

/* meaning.c */
Value name_value(Lower *, const char *name, Range, bool as_function);    /* what a name is worth; reports unknown names */
Value binding_current(Lower *, const Binding *);                         /* the same, as no use of the name */
Value binding_value(Lower *, Binding *, Range use);

/* patterns.c */
Value lower_is(Lower *, const Expr *);
void extent_named(Lower *, unsigned operand, const char *name, const Node *extent, unsigned n_axes);      /* Module.size_names; of a shape of so many axes */
void pattern_bind(Lower *, const Shape *, const Node *when);             /* names the sizes of the item's axes in the current scope */
const Node *pattern_test(Lower *, const Shape *);

/* ranges.c */
const Node *index_range(Lower *, const char *name, const Expr *, const StmtList *, Extent found, bool *poisoned);      /* poisoned: it may hang on a name that was refused */
unsigned ellipsis_extents(Lower *, const Expr *, const Node **extents, bool *found);       /* what `...` stands for in an expression */
#endif
