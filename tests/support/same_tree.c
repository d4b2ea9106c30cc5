/* same_tree.c: whether two parsed files are one tree, places aside. */
#include <string.h>
#include "tests/support/same_tree.h"

static bool same_text(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }
static bool same_name(Name a, Name b) { return same_text(a.text, b.text); }

static bool same_shape(const Shape *a, const Shape *b) {
  if (!a || !b) return a == b;
  bool same = a->n == b->n;
  for (unsigned i = 0; same && i < a->n; i++)
    same = a->at[i].ellipsis == b->at[i].ellipsis && same_text(a->at[i].flat, b->at[i].flat) && same_expr(a->at[i].expr, b->at[i].expr);
  return same;
}

static bool same_exprs(const ExprList *a, const ExprList *b) {
  bool same = a->n == b->n;
  for (unsigned i = 0; same && i < a->n; i++) same = same_expr(a->at[i], b->at[i]);
  return same;
}

static bool same_subs(const SubList *a, const SubList *b) {
  bool same = a->n == b->n;
  for (unsigned i = 0; same && i < a->n; i++) same = a->at[i].ellipsis == b->at[i].ellipsis && same_expr(a->at[i].expr, b->at[i].expr);
  return same;
}

bool same_expr(const Expr *a, const Expr *b) {
  if (!a || !b) return a == b;
  bool same = a->kind == b->kind && a->op == b->op && a->parenthesised == b->parenthesised && a->depth == b->depth && same_text(a->name, b->name)
    && same_text(a->order, b->order) && a->value == b->value && !memcmp(&a->number, &b->number, sizeof a->number) && same_expr(a->a, b->a) && same_expr(a->b, b->b)
    && same_exprs(&a->args, &b->args) && a->has_subs == b->has_subs && same_subs(&a->subs, &b->subs) && a->n_links == b->n_links && same_shape(a->shape, b->shape);
  for (unsigned i = 0; same && i < a->n_links; i++) same = a->links[i].op == b->links[i].op && same_expr(a->links[i].operand, b->links[i].operand);
  return same;
}

static bool same_storage(const Storage *a, const Storage *b) {
  return same_text(a->type, b->type) && same_expr(a->block, b->block) && a->stochastic == b->stochastic && a->flush == b->flush && same_text(a->bits_from, b->bits_from);
}

static bool same_names(const NameList *a, const NameList *b) {
  bool same = a->n == b->n;
  for (unsigned i = 0; same && i < a->n; i++) same = same_name(a->at[i], b->at[i]);
  return same;
}

static bool same_decls(const DeclList *a, const DeclList *b) {
  bool same = a->n == b->n;
  for (unsigned i = 0; same && i < a->n; i++) {
    const Decl *x = &a->at[i], *y = &b->at[i];
    same = same_text(x->name, y->name) && same_text(x->external, y->external) && same_shape(x->shape, y->shape) && same_storage(&x->storage, &y->storage)
      && x->optional == y->optional && same_expr(x->value, y->value);
  }
  return same;
}

static bool same_binds(const BindList *a, const BindList *b) {
  bool same = a->n == b->n;
  for (unsigned i = 0; same && i < a->n; i++) same = same_name(a->at[i].name, b->at[i].name) && same_expr(a->at[i].value, b->at[i].value);
  return same;
}

static bool same_stmts(const StmtList *a, const StmtList *b);

static bool same_fn(const Fn *a, const Fn *b) {
  if (!a || !b) return a == b;
  return same_name(a->name, b->name) && same_names(&a->params, &b->params) && same_expr(a->value, b->value) && same_stmts(&a->body, &b->body)
    && same_expr(a->returns, b->returns) && same_text(a->doc, b->doc);
}

static bool same_stmt(const Stmt *a, const Stmt *b) {
  return a->kind == b->kind && a->role == b->role && a->scope == b->scope && same_decls(&a->decls, &b->decls) && same_expr(a->cond, b->cond) && same_name(a->name, b->name)
    && a->has_subs == b->has_subs && same_subs(&a->subs, &b->subs) && a->op == b->op && same_expr(a->value, b->value) && same_stmts(&a->body, &b->body)
    && a->has_otherwise == b->has_otherwise && same_stmts(&a->otherwise, &b->otherwise) && a->reverse == b->reverse && same_binds(&a->binds, &b->binds)
    && same_fn(a->fn, b->fn) && same_names(&a->wrt, &b->wrt) && same_names(&a->saving, &b->saving) && same_text(a->doc, b->doc) && a->depth == b->depth;
}

static bool same_stmts(const StmtList *a, const StmtList *b) {
  bool same = a->n == b->n;
  for (unsigned i = 0; same && i < a->n; i++) same = same_stmt(a->at[i], b->at[i]);
  return same;
}

static bool same_rule(const Rule *a, const Rule *b) {
  bool same = same_name(a->name, b->name) && same_text(a->doc, b->doc) && a->hypers.n == b->hypers.n && same_stmts(&a->body, &b->body);
  for (unsigned i = 0; same && i < a->hypers.n; i++) {
    const HyperDecl *x = &a->hypers.at[i], *y = &b->hypers.at[i];
    same = x->is_const == y->is_const && same_name(x->name, y->name) && same_storage(&x->storage, &y->storage) && same_expr(x->value, y->value)
      && same_text(x->external, y->external) && same_text(x->doc, y->doc);
  }
  return same;
}

static bool same_const(const Const *a, const Const *b) {
  return same_name(a->name, b->name) && same_shape(a->shape, b->shape) && same_storage(&a->storage, &b->storage) && same_expr(a->value, b->value)
    && a->is_table == b->is_table && same_text(a->doc, b->doc) && same_exprs(&a->values, &b->values);
}

bool same_tree(const File *a, const File *b) {
  bool same = a->n_uses == b->n_uses && a->n_fns == b->n_fns && a->n_rules == b->n_rules && a->n_consts == b->n_consts;
  for (unsigned i = 0; same && i < a->n_uses; i++) same = same_text(a->uses[i].path, b->uses[i].path);
  for (unsigned i = 0; same && i < a->n_consts; i++) same = same_const(a->consts[i], b->consts[i]);
  for (unsigned i = 0; same && i < a->n_fns; i++) same = same_fn(a->fns[i], b->fns[i]);
  for (unsigned i = 0; same && i < a->n_rules; i++) same = same_rule(a->rules[i], b->rules[i]);
  return same;
}
