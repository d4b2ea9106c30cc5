/* statements.h: statements and declarations. */
#ifndef OPTC_FRONTEND_STATEMENTS_H
#define OPTC_FRONTEND_STATEMENTS_H
#include "frontend/expressions.h"

/* lower_indexed.c */
Value lower_indexed(Lower *, const Stmt *, Binding *);                   /* what x[i, j] = e makes of x: a whole tensor */

/* policy.c */
void policies_read(Lower *, const char *text);                           /* NULL: none */
const Storage *policy_storage(Lower *, const Stmt *, const Decl *, const char *name, bool *master);      /* how a declaration is kept; name: the operand's */
void policies_finish(Lower *);                                           /* reports names that nothing has */

/* storage.c */
void storage_declare(Lower *, unsigned operand, const Storage *, const Symbol *);
void storage_warn(Lower *, unsigned operand, const Node *);              /* a narrow state that is written a value it loses bits of */
const Node *storage_round(Lower *, unsigned operand, const Node *);      /* as it is written back, before the storage type */

/* declare_shape.c */
bool shape_declare(Lower *, unsigned operand, const Shape *, bool callers, Range);      /* extents into Operand.shape, checks into the requirements */

/* lower_apply.c */
void lower_apply(Lower *, const Stmt *);
void apply_entry(Lower *, const Applied *, const Stmt *entry);           /* an entry of an applied rule, in one of ours */
bool apply_declare(Lower *, const Stmt *, const Decl *);                 /* a declaration of the applied rule; false: declare it as usual */
const char *apply_state_name(Lower *, const char *name, bool collides);

/* declare.c */
void declare_hypers(Lower *);
void declare_defaults(Lower *);
void declare_find_param(Lower *, const StmtList *);
void declare(Lower *, const Stmt *);                                     /* STMT_DECL */

/* lower_scan.c, lower_skip.c, lower_stmt.c, lower_backward.c */
void lower_scan(Lower *, const Stmt *);
void lower_repeat(Lower *, const Stmt *);
void lower_skip(Lower *, const Stmt *);
Value skip_value(Lower *, const Skip *, const Symbol *);
void lower_backward(Lower *, const Stmt *);
#endif
