/* ast_print.c: canonical source text of a tree: parsing it again gives the same tree. */
#define _GNU_SOURCE
#include <locale.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include "frontend/frontend.h"

typedef struct OperText { const char *text; int level; } OperText;      /* level: how tightly it binds */
enum { LEVEL_OR = 1, LEVEL_AND, LEVEL_NOT, LEVEL_COMPARE, LEVEL_BOR, LEVEL_BAND, LEVEL_SHIFT, LEVEL_SUM, LEVEL_PRODUCT, LEVEL_NEGATE, LEVEL_POWER, LEVEL_POSTFIX, LEVEL_PRIMARY };

static const OperText opers[] = {
  [OPER_ADD] = {" + ", LEVEL_SUM}, [OPER_SUB] = {" - ", LEVEL_SUM}, [OPER_MUL] = {"*", LEVEL_PRODUCT}, [OPER_DIV] = {"/", LEVEL_PRODUCT},
  [OPER_IDIV] = {"//", LEVEL_PRODUCT}, [OPER_MOD] = {" % ", LEVEL_PRODUCT}, [OPER_MATMUL] = {" @ ", LEVEL_PRODUCT}, [OPER_POW] = {"^", LEVEL_POWER},
  [OPER_SHL] = {" << ", LEVEL_SHIFT}, [OPER_SHR] = {" >> ", LEVEL_SHIFT}, [OPER_BAND] = {" & ", LEVEL_BAND}, [OPER_BOR] = {" | ", LEVEL_BOR},
  [OPER_AND] = {" and ", LEVEL_AND}, [OPER_OR] = {" or ", LEVEL_OR}, [OPER_NOT] = {"not ", LEVEL_NOT}, [OPER_NEG] = {"-", LEVEL_NEGATE},
  [OPER_LT] = {" < ", LEVEL_COMPARE}, [OPER_LE] = {" <= ", LEVEL_COMPARE}, [OPER_GT] = {" > ", LEVEL_COMPARE}, [OPER_GE] = {" >= ", LEVEL_COMPARE},
  [OPER_EQ] = {" == ", LEVEL_COMPARE}, [OPER_NE] = {" != ", LEVEL_COMPARE},
};

static void print_expr(const Expr *, int level, Text *);
static void print_stmts(const StmtList *, unsigned indent, Text *);

static void print_indent(unsigned indent, Text *out) { for (; indent; indent--) text_add(out, "  "); }

/* --- expressions ------------------------------------------------------------------------------------------------------ */

/* The shortest digits that read back as the same number, with a point or an exponent, whatever the locale of the host. */
static void print_real(double x, Text *out) {
  char digits[40] = "";
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = c ? uselocale(c) : (locale_t)0;
  for (int n = 1; n <= 17; n++) {
    snprintf(digits, sizeof digits, "%.*g", n, x);
    if (strtod(digits, NULL) == x) break;
  }
  if (c) uselocale(before), freelocale(c);
  text_add(out, "%s%s", digits, strpbrk(digits, ".e") ? "" : ".0");
}

static void print_exprs(const ExprList *l, Text *out) {
  for (unsigned i = 0; i < l->n; i++) text_add(out, i ? ", " : ""), print_expr(l->at[i], 0, out);
}

static void print_subs(const SubList *l, Text *out) {
  for (unsigned i = 0; i < l->n; i++) {
    if (i) text_add(out, ", ");
    if (l->at[i].ellipsis) text_add(out, "...");
    else print_expr(l->at[i].expr, 0, out);
  }
}

static void print_shape(const Shape *s, Text *out) {
  text_add(out, "[");
  for (unsigned i = 0; i < s->n; i++) {
    const Dim *d = &s->at[i];
    if (i) text_add(out, ", ");
    if (d->ellipsis) text_add(out, "...");
    else if (d->flat) text_add(out, "flat %s", d->flat);
    else print_expr(d->expr, 0, out);
  }
  text_add(out, "]");
}

static int level_of(const Expr *e) {
  switch (e->kind) {
    case EXPR_UNARY: case EXPR_BINARY: return opers[e->op].level;
    case EXPR_CHAIN: case EXPR_IS: return LEVEL_COMPARE;
    case EXPR_TRANSPOSE: return LEVEL_POSTFIX;
    default: return LEVEL_PRIMARY;
  }
}

static void print_call(const Expr *e, Text *out) {
  text_add(out, "%s", e->name);
  if (e->has_subs) {
    text_add(out, "[");
    print_subs(&e->subs, out);
    if (e->order) text_add(out, "; %s", e->order);
    text_add(out, "]");
  }
  text_add(out, "(");
  print_exprs(&e->args, out);
  text_add(out, ")");
}

static void print_bare(const Expr *e, Text *out) {
  int level = level_of(e);
  switch (e->kind) {
    case EXPR_INT: text_add(out, "%lld", (long long)e->value); break;
    case EXPR_REAL: print_real(e->number, out); break;
    case EXPR_WORD: case EXPR_NAME: text_add(out, "%s", e->name); break;
    case EXPR_UNARY:
      text_add(out, "%s", opers[e->op].text);
      print_expr(e->a, level, out);
      break;
    case EXPR_BINARY:                                                     /* `^` takes a postfix on its left and a unary on its right */
      print_expr(e->a, e->op == OPER_POW ? LEVEL_POSTFIX : level, out);
      text_add(out, "%s", opers[e->op].text);
      print_expr(e->b, e->op == OPER_POW ? LEVEL_NEGATE : level + 1, out);
      break;
    case EXPR_CHAIN:
      print_expr(e->a, level + 1, out);
      for (unsigned i = 0; i < e->n_links; i++) {
        text_add(out, "%s", opers[e->links[i].op].text);
        print_expr(e->links[i].operand, level + 1, out);
      }
      break;
    case EXPR_IS:
      print_expr(e->a, level + 1, out);
      text_add(out, " is ");
      print_shape(e->shape, out);
      break;
    case EXPR_TRANSPOSE:
      print_expr(e->a, level, out);
      text_add(out, "'");
      break;
    case EXPR_CONVERT:
      text_add(out, "%s(", e->name);
      print_expr(e->a, 0, out);
      text_add(out, ")");
      break;
    case EXPR_CALL: print_call(e, out); break;
    case EXPR_INDEX:
      text_add(out, "%s[", e->name);
      print_subs(&e->subs, out);
      text_add(out, "]");
      break;
  }
}

/* Parentheses where the source had them, for they make one factor, and where the operators ask for them. */
static void print_expr(const Expr *e, int level, Text *out) {
  bool paren = e->parenthesised || level_of(e) < level;
  text_add(out, paren ? "(" : "");
  print_bare(e, out);
  text_add(out, paren ? ")" : "");
}

/* --- declarations ------------------------------------------------------------------------------------------------------ */

static void print_doc(const char *doc, unsigned indent, Text *out) {
  for (const char *p = doc, *end; p; p = *end ? end + 1 : NULL) {
    end = p + strcspn(p, "\n");
    print_indent(indent, out);
    text_add(out, "##%s%.*s\n", end > p ? " " : "", (int)(end - p), p);
  }
}

static void print_storage(const Storage *s, Text *out) {
  if (!s->type) return;
  text_add(out, ": %s", s->type);
  if (s->block) text_add(out, "["), print_expr(s->block, 0, out), text_add(out, "]");
  if (s->stochastic) text_add(out, " stochastic");
  if (s->bits_from) text_add(out, "(%s)", s->bits_from);
  if (s->flush) text_add(out, " flush");
  if (s->nearest) text_add(out, " nearest");
}

static void print_value(const Expr *value, const char *external, Text *out) {
  if (value) text_add(out, " = "), print_expr(value, 0, out);
  if (external) text_add(out, " as \"%s\"", external);
}

static void print_names(const NameList *l, Text *out) {
  for (unsigned i = 0; i < l->n; i++) text_add(out, "%s%s", i ? ", " : "", l->at[i].text);
}

static void print_decl_stmt(const Stmt *s, Text *out) {
  static const char *const roles[] = {[ROLE_PARAM] = "param", [ROLE_GRAD] = "grad", [ROLE_IN] = "in", [ROLE_OUT] = "out", [ROLE_INOUT] = "inout", [ROLE_STATE] = "state"};
  static const char *const scopes[] = {[SCOPE_TENSOR] = "", [SCOPE_SCALAR] = " scalar", [SCOPE_GLOBAL] = " global"};
  text_add(out, "%s%s", roles[s->role], scopes[s->scope]);
  for (unsigned i = 0; i < s->decls.n; i++) {
    const Decl *d = &s->decls.at[i];
    text_add(out, "%s%s", i ? ", " : " ", d->name);
    if (d->shape) print_shape(d->shape, out);
    print_storage(&d->storage, out);
    if (d->optional) text_add(out, " optional");
    print_value(d->value, d->external, out);
  }
}

/* --- statements ---------------------------------------------------------------------------------------------------------- */

static void print_block(const StmtList *l, unsigned indent, Text *out) {
  if (!l->n) { text_add(out, "{ }"); return; }
  text_add(out, "{\n");
  print_stmts(l, indent + 1, out);
  print_indent(indent, out);
  text_add(out, "}");
}

static void print_fn(const Fn *f, unsigned indent, Text *out) {
  text_add(out, "fn %s(", f->name.text);
  print_names(&f->params, out);
  text_add(out, ")");
  if (!f->returns) {
    text_add(out, " = ");
    if (f->value) print_expr(f->value, 0, out);
    return;
  }
  text_add(out, " {\n");
  print_stmts(&f->body, indent + 1, out);
  print_indent(indent + 1, out);
  text_add(out, "return ");
  print_expr(f->returns, 0, out);
  text_add(out, "\n");
  print_indent(indent, out);
  text_add(out, "}");
}

static const char *assign_text(Oper op) {
  return op == OPER_ADD ? " += " : op == OPER_SUB ? " -= " : op == OPER_MUL ? " *= " : op == OPER_DIV ? " /= " : " = ";
}

static void print_if(const Stmt *s, unsigned indent, Text *out) {
  for (;; s = s->otherwise.at[0]) {                                       /* `else if` is one IF inside else */
    text_add(out, "if ");
    print_expr(s->cond, 0, out);
    text_add(out, " ");
    print_block(&s->body, indent, out);
    if (!s->has_otherwise) return;
    text_add(out, " else ");
    if (s->otherwise.n != 1 || s->otherwise.at[0]->kind != STMT_IF || s->otherwise.at[0]->doc) break;
  }
  print_block(&s->otherwise, indent, out);
}

static void print_apply(const Stmt *s, Text *out) {
  text_add(out, "apply %s(", s->name.text);
  for (unsigned i = 0; i < s->binds.n; i++) {
    text_add(out, "%s%s = ", i ? ", " : "", s->binds.at[i].name.text);
    print_expr(s->binds.at[i].value, 0, out);
  }
  text_add(out, ")");
}

static void print_headed(const char *word, const Expr *e, const StmtList *body, unsigned indent, Text *out) {
  text_add(out, "%s ", word);
  print_expr(e, 0, out);
  if (body) text_add(out, " "), print_block(body, indent, out);
}

static void print_stmt(const Stmt *s, unsigned indent, Text *out) {
  print_doc(s->doc, indent, out);
  print_indent(indent, out);
  switch (s->kind) {
    case STMT_DECL: print_decl_stmt(s, out); break;
    case STMT_REQUIRE: print_headed("require", s->cond, NULL, indent, out); break;
    case STMT_ASSIGN:
      text_add(out, "%s", s->name.text);
      if (s->has_subs) text_add(out, "["), print_subs(&s->subs, out), text_add(out, "]");
      text_add(out, "%s", assign_text(s->op));
      print_expr(s->value, 0, out);
      break;
    case STMT_IF: print_if(s, indent, out); break;
    case STMT_REPEAT: print_headed("repeat", s->cond, &s->body, indent, out); break;
    case STMT_SCAN:
      text_add(out, "scan ");
      print_subs(&s->subs, out);
      text_add(out, s->reverse ? " reverse " : " ");
      print_block(&s->body, indent, out);
      break;
    case STMT_SKIP: print_headed("skip if", s->cond, s->body.n ? &s->body : NULL, indent, out); break;
    case STMT_APPLY: print_apply(s, out); break;
    case STMT_FN: print_fn(s->fn, indent, out); break;
    case STMT_ENTRY:
      text_add(out, "entry %s ", s->name.text);
      print_block(&s->body, indent, out);
      break;
    case STMT_BACKWARD:
      text_add(out, "backward wrt ");
      print_names(&s->wrt, out);
      if (s->saving.n) text_add(out, " saving "), print_names(&s->saving, out);
      break;
  }
  text_add(out, "\n");
}

static void print_stmts(const StmtList *l, unsigned indent, Text *out) {
  for (unsigned i = 0; i < l->n; i++) print_stmt(l->at[i], indent, out);
}

/* --- items ------------------------------------------------------------------------------------------------------------------ */

static void print_hypers(const HyperList *l, Text *out) {
  bool lines = false;                                                     /* documented ones take a line each */
  for (unsigned i = 0; i < l->n; i++) lines |= l->at[i].doc != NULL;
  for (unsigned i = 0; i < l->n; i++) {
    const HyperDecl *h = &l->at[i];
    text_add(out, i ? "," : "");
    text_add(out, lines ? "\n" : i ? " " : "");
    print_doc(h->doc, 2, out);
    print_indent(lines ? 2 : 0, out);
    text_add(out, "%s%s", h->is_const ? "const " : "", h->name.text);
    print_storage(&h->storage, out);
    print_value(h->value, h->external, out);
  }
}

static void print_const(const Const *c, Text *out) {
  print_doc(c->doc, 0, out);
  text_add(out, "const %s", c->name.text);
  if (c->shape) print_shape(c->shape, out);
  print_storage(&c->storage, out);
  text_add(out, c->is_table ? " = [" : " = ");
  if (c->is_table) print_exprs(&c->values, out);
  else if (c->value) print_expr(c->value, 0, out);
  text_add(out, c->is_table ? "]\n" : "\n");
}

static void print_rule(const Rule *r, Text *out) {
  print_doc(r->doc, 0, out);
  text_add(out, "rule %s(", r->name.text);
  print_hypers(&r->hypers, out);
  text_add(out, ") {\n");
  print_stmts(&r->body, 1, out);
  text_add(out, "}\n");
}

void ast_print(const File *f, Text *out) {
  for (unsigned i = 0; i < f->n_uses; i++) text_add(out, "use \"%s\"\n", f->uses[i].path);
  for (unsigned i = 0; i < f->n_consts; i++) print_const(f->consts[i], out);
  for (unsigned i = 0; i < f->n_fns; i++) print_doc(f->fns[i]->doc, 0, out), print_fn(f->fns[i], 0, out), text_add(out, "\n");
  for (unsigned i = 0; i < f->n_rules; i++) print_rule(f->rules[i], out);
}
