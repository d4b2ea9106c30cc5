/* ast_build.c: what the grammar's actions call: tree nodes with their ranges. A node ends where the last token given to the grammar ends. */
#include <string.h>
#include "frontend/grammar.h"
#include "frontend/parser.h"

Range parse_range(const Parser *p, uint32_t begin, uint32_t end) { return (Range){p->source, begin, end}; }
Range parse_token_range(const Parser *p, Token t) { return parse_range(p, t.begin, t.end); }
static Range from(const Parser *p, uint32_t begin) { return parse_range(p, begin, p->last.end > begin ? p->last.end : begin); }
static Name name_of(const Parser *p, Token t) { return (Name){t.text, parse_token_range(p, t)}; }

#define PUSH(p, list, item) ((list)->at = arena_grow((p)->arena, (list)->at, &(list)->capacity, (size_t)(list)->n + 1, sizeof *(list)->at), \
  (list)->at[(list)->n++] = (item))
#define LIST(p, list) ((list) ? (list) : arena_alloc((p)->arena, sizeof *(list)))

/* --- expressions --------------------------------------------------------------------------------------------------- */

static unsigned depth_of(const Expr *e) { return e ? e->depth : 0; }

static Expr *expr(Parser *p, ExprKind kind, uint32_t begin) {
  Expr *e = arena_alloc(p->arena, sizeof *e);
  e->kind = kind;
  e->where = e->op_where = from(p, begin);
  e->depth = 1;
  return e;
}

/* Later rooms walk the tree by recursion: it must not be deeper than they can go. A tree that is becomes a leaf, after one error. */
static Expr *grown(Parser *p, Expr *e, unsigned below) {
  e->depth = below + 1;
  if (e->depth <= FRONTEND_MAX_EXPR_DEPTH) return e;
  if (!p->stop) diag_error(p->diag, e->op_where, "the expression is longer than %d operators; name a part of it", FRONTEND_MAX_EXPR_DEPTH);
  p->stop = true;
  return expr(p, EXPR_INT, e->where.begin);
}

static unsigned max2(unsigned a, unsigned b) { return a > b ? a : b; }

Expr *build_number(Parser *p, Token t) {
  Expr *e = expr(p, t.text ? EXPR_REAL : EXPR_INT, t.begin);
  e->value = t.value;
  e->number = t.text ? t.number : (double)t.value;
  return e;
}

static Expr *named(Parser *p, ExprKind kind, Token t) {
  Expr *e = expr(p, kind, t.begin);
  e->name = t.text;
  e->op_where = parse_token_range(p, t);
  return e;
}

Expr *build_word(Parser *p, Token t) { return named(p, EXPR_WORD, t); }
Expr *build_name(Parser *p, Token t) { return named(p, EXPR_NAME, t); }

static Expr *operation(Parser *p, ExprKind kind, uint32_t begin, Token op, Oper oper, const Expr *a, const Expr *b) {
  Expr *e = expr(p, kind, begin);
  e->op = oper;
  e->op_where = parse_token_range(p, op);
  e->a = a;
  e->b = b;
  return grown(p, e, max2(depth_of(a), depth_of(b)));
}

Expr *build_unary(Parser *p, Token op, Oper oper, Expr *a) { return operation(p, EXPR_UNARY, op.begin, op, oper, a, NULL); }
Expr *build_binary(Parser *p, Expr *a, Token op, Oper oper, Expr *b) { return operation(p, EXPR_BINARY, a->where.begin, op, oper, a, b); }
Expr *build_transpose(Parser *p, Expr *a, Token op) { return operation(p, EXPR_TRANSPOSE, a->where.begin, op, OPER_NONE, a, NULL); }

static bool is_chain_to_extend(const Expr *e) { return e->kind == EXPR_CHAIN && !e->parenthesised; }

/* 1 up, -1 down, 0 neither: a chain goes one way, as in mathematics. */
static int direction(Oper op) { return op == OPER_LT || op == OPER_LE ? 1 : op == OPER_GT || op == OPER_GE ? -1 : 0; }

/* The chain's op is the first of its comparisons that has a direction. */
static void check_direction(Parser *p, Expr *chain, Token op, Oper oper) {
  bool unequal = chain->op == OPER_NE || oper == OPER_NE, back = direction(chain->op)*direction(oper) < 0;
  if (unequal || back)
    diag_error(p->diag, parse_token_range(p, op), unequal ? "'!=' does not chain; write 'and'" : "a chain of comparisons goes in one direction; write 'and'");
  else if (!direction(chain->op)) chain->op = oper;
}

Expr *build_chain(Parser *p, Expr *first, Token op, Oper oper, Expr *next) {
  bool extend = is_chain_to_extend(first);
  Expr *e = extend ? first : expr(p, EXPR_CHAIN, first->where.begin);
  if (!extend) e->a = first, e->op_where = parse_token_range(p, op), e->op = oper;
  else check_direction(p, e, op, oper);
  e->links = arena_grow(p->arena, e->links, &e->links_capacity, (size_t)e->n_links + 1, sizeof *e->links);
  e->links[e->n_links++] = (Link){oper, parse_token_range(p, op), next};
  e->where = from(p, e->where.begin);
  return grown(p, e, max2(extend ? e->depth - 1 : depth_of(first), depth_of(next)));
}

static unsigned depth_of_shape(const Shape *s) {
  unsigned depth = 0;
  for (unsigned i = 0; s && i < s->n; i++) depth = max2(depth, depth_of(s->at[i].expr));
  return depth;
}

Expr *build_is(Parser *p, Expr *a, Token is, Shape *shape) {
  Expr *e = expr(p, EXPR_IS, a->where.begin);
  e->op_where = parse_token_range(p, is);
  e->a = a;
  e->shape = shape;
  return grown(p, e, max2(depth_of(a), depth_of_shape(shape)));
}

/* Leaves keep the place of their own text; wider things take their parentheses in. */
Expr *build_paren(Parser *p, Token open, Expr *e) {
  e->parenthesised = true;
  if (e->kind != EXPR_NAME && e->kind != EXPR_WORD && e->kind != EXPR_INT && e->kind != EXPR_REAL) e->where = from(p, open.begin);
  return e;
}

Expr *build_convert(Parser *p, Token type, Expr *a) {
  Expr *e = named(p, EXPR_CONVERT, type);
  e->a = a;
  return grown(p, e, depth_of(a));
}

static unsigned depth_of_subs(const SubList *s) {
  unsigned depth = 0;
  for (unsigned i = 0; s && i < s->n; i++) depth = max2(depth, depth_of(s->at[i].expr));
  return depth;
}

Expr *build_call(Parser *p, Token name, SubList *subs, const Token *order, ExprList *args) {
  Expr *e = named(p, EXPR_CALL, name);
  unsigned depth = depth_of_subs(subs);
  e->has_subs = subs != NULL;
  if (subs) e->subs = *subs;
  if (order) e->order = order->text;
  if (args) e->args = *args;
  for (unsigned i = 0; i < e->args.n; i++) depth = max2(depth, depth_of(e->args.at[i]));
  return grown(p, e, depth);
}

Expr *build_index(Parser *p, Token name, Token bracket, SubList *subs) {
  Expr *e = named(p, EXPR_INDEX, name);
  e->op_where = parse_token_range(p, bracket);
  e->has_subs = true;
  e->subs = *subs;
  return grown(p, e, depth_of_subs(subs));
}

ExprList *build_exprs(Parser *p, ExprList *l, Expr *e) {
  l = LIST(p, l);
  PUSH(p, l, e);
  return l;
}

SubList *build_subs(Parser *p, SubList *l, Sub s) {
  l = LIST(p, l);
  PUSH(p, l, s);
  return l;
}

Sub build_sub(Parser *p, Expr *e) { return (Sub){false, e, e->where}; }
Sub build_sub_ellipsis(Parser *p, Token t) { return (Sub){true, NULL, parse_token_range(p, t)}; }

Shape *build_dims(Parser *p, Shape *l, Dim d) {
  l = LIST(p, l);
  PUSH(p, l, d);
  return l;
}

Shape *build_shape(Parser *p, Token open, Shape *l) {
  l = LIST(p, l);
  l->where = from(p, open.begin);
  for (unsigned a = 0, open_ended = 0; a < l->n; a++)
    if ((l->at[a].ellipsis || l->at[a].flat) && open_ended++) { diag_error(p->diag, l->at[a].where, "a shape has one '...' or 'flat': with two it is not known where the axes between them lie"); break; }
  return l;
}

Dim build_dim(Parser *p, Expr *e) { return (Dim){false, NULL, e, e->where}; }
Dim build_dim_ellipsis(Parser *p, Token t) { return (Dim){true, NULL, NULL, parse_token_range(p, t)}; }
Dim build_dim_flat(Parser *p, Token flat, Token name) { return (Dim){false, name.text, NULL, from(p, flat.begin)}; }

/* --- declarations -------------------------------------------------------------------------------------------------- */

Storage *build_storage(Parser *p, Token type, Expr *block) {
  Storage *s = arena_alloc(p->arena, sizeof *s);
  s->type = type.text;
  s->block = block;
  s->where = from(p, type.begin);
  return s;
}

Storage *build_storage_stochastic(Parser *p, Token type, const Token *bits) {
  Storage *s = build_storage(p, type, NULL);
  s->stochastic = true;
  if (bits) s->bits_from = bits->text;
  return s;
}

Storage *build_storage_flush(Parser *p, Token type) {
  Storage *s = build_storage(p, type, NULL);
  s->flush = true;
  return s;
}

Storage *build_storage_nearest(Parser *p, Token type, Expr *block) {
  Storage *s = build_storage(p, type, block);
  s->nearest = true;
  return s;
}

Decl *build_decl(Parser *p, Token name, Shape *shape, Storage *storage, bool optional, Expr *value, Token as) {
  Decl *d = arena_alloc(p->arena, sizeof *d);
  d->name = name.text;
  d->shape = shape;
  if (storage) d->storage = *storage;
  d->optional = optional;
  d->value = value;
  d->external = as.text;
  if (as.text) d->external_where = parse_token_range(p, as);
  d->where = parse_token_range(p, name);
  return d;
}

DeclList *build_decls(Parser *p, DeclList *l, Decl *d) {
  l = LIST(p, l);
  PUSH(p, l, *d);
  return l;
}

NameList *build_names(Parser *p, NameList *l, Token name) {
  l = LIST(p, l);
  PUSH(p, l, name_of(p, name));
  return l;
}

BindList *build_binds(Parser *p, BindList *l, Token name, Expr *value) {
  l = LIST(p, l);
  Bind b = {name_of(p, name), value};
  PUSH(p, l, b);
  return l;
}

/* --- statements ---------------------------------------------------------------------------------------------------- */

/* A statement that could not be read is NULL and left out. */
StmtList *build_stmts(Parser *p, StmtList *l, Stmt *s) {
  l = LIST(p, l);
  if (s) PUSH(p, l, s);
  return l;
}

static Stmt *stmt(Parser *p, StmtKind kind, Token first) {
  Stmt *s = arena_alloc(p->arena, sizeof *s);
  s->kind = kind;
  s->where = from(p, first.begin);
  s->doc = first.doc;
  s->depth = 1;
  return s;
}

/* Blocks are bounded by their braces; a chain of `else if` nests too, without any. */
static void add_block(Parser *p, Stmt *s, StmtList *to, const StmtList *block) {
  *to = *block;
  for (unsigned i = 0; i < block->n; i++) s->depth = max2(s->depth, block->at[i]->depth + 1);
  if (s->depth <= FRONTEND_MAX_DEPTH) return;
  parse_too_deep_at(p, p->last);
  *to = (StmtList){0};
  s->depth = 1;
}

static Role role_of(int kind) {
  switch (kind) {
    case T_PARAM: return ROLE_PARAM;
    case T_GRAD: return ROLE_GRAD;
    case T_IN: return ROLE_IN;
    case T_OUT: return ROLE_OUT;
    case T_INOUT: return ROLE_INOUT;
    default: return ROLE_STATE;
  }
}

Stmt *build_decl_stmt(Parser *p, Token role, Scope scope, DeclList *decls) {
  Stmt *s = stmt(p, STMT_DECL, role);
  s->role = role_of(role.kind);
  s->scope = scope;
  s->decls = *decls;
  return s;
}

Stmt *build_require(Parser *p, Token k, Expr *cond) {
  Stmt *s = stmt(p, STMT_REQUIRE, k);
  s->cond = cond;
  return s;
}

static Oper assigned(int kind) {
  switch (kind) {
    case T_ADD_ASSIGN: return OPER_ADD;
    case T_SUB_ASSIGN: return OPER_SUB;
    case T_MUL_ASSIGN: return OPER_MUL;
    case T_DIV_ASSIGN: return OPER_DIV;
    default: return OPER_NONE;
  }
}

Stmt *build_assign(Parser *p, Token name, SubList *subs, Token op, Expr *value) {
  Stmt *s = stmt(p, STMT_ASSIGN, name);
  s->name = name_of(p, name);
  s->has_subs = subs != NULL;
  if (subs) s->subs = *subs;
  s->op = assigned(op.kind);
  s->op_where = parse_token_range(p, op);
  s->value = value;
  return s;
}

Stmt *build_if(Parser *p, Token k, Expr *cond, StmtList *body, StmtList *otherwise) {
  Stmt *s = stmt(p, STMT_IF, k);
  s->cond = cond;
  add_block(p, s, &s->body, body);
  s->has_otherwise = otherwise != NULL;
  if (otherwise) add_block(p, s, &s->otherwise, otherwise);
  return s;
}

StmtList *build_else_if(Parser *p, Stmt *s) { return build_stmts(p, NULL, s); }

Stmt *build_repeat(Parser *p, Token k, Expr *count, StmtList *body) {
  Stmt *s = stmt(p, STMT_REPEAT, k);
  s->cond = count;
  add_block(p, s, &s->body, body);
  return s;
}

Stmt *build_scan(Parser *p, Token k, Sub sub, bool reverse, StmtList *body) {
  Stmt *s = stmt(p, STMT_SCAN, k);
  s->has_subs = true;
  PUSH(p, &s->subs, sub);
  s->reverse = reverse;
  add_block(p, s, &s->body, body);
  return s;
}

Stmt *build_skip(Parser *p, Token k, Expr *cond, StmtList *body) {
  Stmt *s = stmt(p, STMT_SKIP, k);
  s->cond = cond;
  if (body) add_block(p, s, &s->body, body);
  return s;
}

Stmt *build_apply(Parser *p, Token k, Token name, BindList *binds) {
  Stmt *s = stmt(p, STMT_APPLY, k);
  s->name = name_of(p, name);
  if (binds) s->binds = *binds;
  return s;
}

Stmt *build_fn_stmt(Parser *p, Fn *f) {
  Stmt *s = arena_alloc(p->arena, sizeof *s);
  s->kind = STMT_FN;
  s->where = f->where;
  s->name = f->name;
  s->fn = f;
  s->depth = 1;
  s->doc = f->doc;
  return s;
}

Stmt *build_entry(Parser *p, Token k, Token name, StmtList *body) {
  Stmt *s = stmt(p, STMT_ENTRY, k);
  s->name = name_of(p, name);
  add_block(p, s, &s->body, body);
  return s;
}

Stmt *build_backward(Parser *p, Token k, NameList *wrt, NameList *saving) {
  Stmt *s = stmt(p, STMT_BACKWARD, k);
  s->wrt = *wrt;
  if (saving) s->saving = *saving;
  return s;
}

/* --- items ------------------------------------------------------------------------------------------------------------ */

Fn *build_fn(Parser *p, Token k, Token name, NameList *params, StmtList *body, Expr *value) {
  Fn *f = arena_alloc(p->arena, sizeof *f);
  bool block = p->last.kind == T_RBRACE;
  f->name = name_of(p, name);
  if (params) f->params = *params;
  if (body) f->body = *body;
  *(block ? &f->returns : &f->value) = value;
  f->doc = k.doc;
  f->where = from(p, k.begin);
  return f;
}

Fn *build_fn_without_return(Parser *p, Token k, Token name, NameList *params, StmtList *body) {
  if (!p->unsound) diag_error(p->diag, parse_token_range(p, p->last), "fn '%s' has a block without 'return'; write 'return' and the result before the '}'", name.text);
  return build_fn(p, k, name, params, body, NULL);
}

HyperDecl *build_hyper(Parser *p, const Token *is_const, Token name, Storage *storage, Expr *value, Token as) {
  HyperDecl *h = arena_alloc(p->arena, sizeof *h);
  h->is_const = is_const != NULL;
  h->name = name_of(p, name);
  if (storage) h->storage = *storage;
  h->value = value;
  h->external = as.text;
  h->where = parse_token_range(p, name);
  h->doc = is_const ? is_const->doc : name.doc;
  return h;
}

HyperList *build_hypers(Parser *p, HyperList *l, HyperDecl *h) {
  l = LIST(p, l);
  if (h) PUSH(p, l, *h);                                                   /* NULL: could not be read */
  return l;
}

#define PUSH_FILE(p, what, count, item) ((p)->file->what = arena_grow((p)->arena, (p)->file->what, &(p)->file->what##_capacity, \
  (size_t)(p)->file->count + 1, sizeof *(p)->file->what), (p)->file->what[(p)->file->count++] = (item))

void build_rule(Parser *p, Token k, Token name, HyperList *hypers, StmtList *body) {
  Rule *r = arena_alloc(p->arena, sizeof *r);
  r->name = name_of(p, name);
  if (hypers) r->hypers = *hypers;
  r->body = *body;
  r->doc = k.doc;
  r->where = from(p, k.begin);
  PUSH_FILE(p, rules, n_rules, r);
}

void build_use(Parser *p, Token k, Token path) {
  Use u = {path.text, parse_token_range(p, path)};
  PUSH_FILE(p, uses, n_uses, u);
}

void build_file_fn(Parser *p, Fn *f) { PUSH_FILE(p, fns, n_fns, f); }

void build_const(Parser *p, Token k, Token name, Shape *shape, Storage *storage, Expr *value, ExprList *table) {
  Const *c = arena_alloc(p->arena, sizeof *c);
  c->name = name_of(p, name);
  c->shape = shape;
  if (storage) c->storage = *storage;
  c->value = value;
  c->is_table = table != NULL;
  c->doc = k.doc;
  if (table) c->values = *table;
  c->where = from(p, k.begin);
  PUSH_FILE(p, consts, n_consts, c);
}
