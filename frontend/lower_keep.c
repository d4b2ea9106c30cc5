/* lower_keep.c: what names an index in scope and keeps it: softmax, cumsum, cumprod, cummax, order. */
#include <string.h>
#include "frontend/expressions.h"

static const struct Keeping { const char *name; Op op; ReduceKind kind; } table[] = {
  {"softmax", OP_SOFTMAX, REDUCE_SUM}, {"cumsum", OP_CUMULATE, REDUCE_SUM}, {"cumprod", OP_CUMULATE, REDUCE_PROD}, {"cummax", OP_CUMULATE, REDUCE_MAX},
  {"order", OP_ORDER, REDUCE_SUM},
};

static const struct Keeping *find(const char *name) {
  for (size_t i = 0; i < sizeof table/sizeof *table; i++) if (!strcmp(table[i].name, name)) return &table[i];
  return NULL;
}

/* The kept axes, in the order written; `...` may be none. */
static bool kept_axes(Lower *l, const Expr *e, unsigned *axis, unsigned *count) {
  unsigned n = 0;
  if (!e->has_subs) { lower_error(l, e->op_where, "%s keeps an index in scope; write %s[j](...)", e->name, e->name); return false; }
  for (unsigned k = 0; k < e->subs.n; k++) {
    const Sub *sub = &e->subs.at[k];
    if (sub->ellipsis) {
      for (unsigned a = 0; l->scope->ix && a < l->scope->ix->n && n < LOWER_MAX_AXES; a++) if (*l->scope->ix->at[a].name == '.') axis[n++] = a;
      continue;
    }
    const Expr *x = sub->expr;
    Value v = {0};
    int at = x->kind == EXPR_NAME ? index_find(l->scope->ix, x->name) : -1;
    if (at < 0 && x->kind == EXPR_NAME && scope_find(l->scope->names, x->name)) {       /* a fn's parameter that is an index */
      v = name_value(l, x->name, x->where, false);
      if (v.node && v.node->op == OP_INDEX && l->scope->ix && v.node->space == l->scope->ix->space) at = (int)v.node->imm;
    }
    for (unsigned i = 0; i < n && at >= 0; i++) if (axis[i] == (unsigned)at) at = -1;
    if (at < 0 || n == LOWER_MAX_AXES) {
      lower_error(l, x->where, "%s keeps an index in scope; '%s' is not one", e->name, lower_text(l, x->where));
      return false;
    }
    axis[n++] = (unsigned)at;
  }
  *count = n;
  return true;
}

Value lower_keeping(Lower *l, const Expr *e) {
  const struct Keeping *f = find(e->name);
  unsigned kept[LOWER_MAX_AXES], order[LOWER_MAX_AXES], n = 0, mask = 0, n_kept;
  if (e->args.n != 1) { lower_error(l, e->op_where, "%s takes 1 argument, %u are given%s", e->name, e->args.n, e->args.n == 2 && !e->has_subs ? "; an axis is named by its index: softmax[j](x[i, j])" : ""); return (Value){0}; }
  if (!kept_axes(l, e, kept, &n_kept)) return (Value){0};
  Value v = lower_expr(l, e->args.at[0]);
  if (!v.node) return v;
  if (v.tensor) { value_align(l, NULL, e->args.at[0]->where, &v, 1); return (Value){0}; }
  if (f->op != OP_SOFTMAX && n_kept != 1) { lower_error(l, e->op_where, "%s keeps one index", e->name); return (Value){0}; }
  if (value_is(&v, KIND_BOOL)) {
    if (f->op != OP_CUMULATE || f->kind != REDUCE_SUM) { lower_error(l, e->args.at[0]->where, "'%s' of a bool; write where(c, 1, 0)", e->name); return (Value){0}; }
    v = value_select(l, e->where, v, value_of(graph_i64(l->graph, 1)), value_of(graph_i64(l->graph, 0)));
  }
  if (f->op == OP_SOFTMAX) v = value_real(l, v);
  const Space *s = l->scope->ix->space;
  for (unsigned k = 0; k < n_kept; k++) mask |= 1u << kept[k];
  unsigned used = node_axes(l, v.node, s) & ~mask;
  for (unsigned a = 0; a < s->rank; a++) if (used >> a & 1) order[n++] = a;
  for (unsigned k = 0; k < n_kept; k++) order[n++] = kept[k];
  const Space *own = space_pick(l, s, n, order);
  const Node *arg = node_spread(l, node_project(l, v.node, s, own, order), own), *index[LOWER_MAX_AXES];
  graph_at(l->graph, e->where);
  const Node *node = graph_node(l->graph, f->op, f->op == OP_ORDER ? TYPE_I64 : (Type)arg->type, own, f->op == OP_SOFTMAX ? n_kept : 0,
                                f->op == OP_CUMULATE ? (int32_t)f->kind : 0, 1, &arg);
  for (unsigned a = 0; a < n; a++) index[a] = index_node(l, s, order[a]);
  return (Value){.node = node_move(l, node, s, index), .wide = v.wide && f->op != OP_ORDER};
}
