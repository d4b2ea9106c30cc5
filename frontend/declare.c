/* declare.c: hyper-parameters and operands: roles, scopes, storage types, defaults, first values. */
#include <string.h>
#include "frontend/lower.h"

/* --- storage types -------------------------------------------------------------------------------------------------------- */

/* The type in memory; false after an error. `int` is 64-bit wherever it stands. */
static bool storage_type(Lower *l, const Storage *s, Type otherwise, Type *out) {
  *out = otherwise;
  if (!s->type) return true;
  if (s->stochastic) { lower_unsupported(l, s->where, "stochastic"); return false; }
  if (!strcmp(s->type, "int")) { *out = TYPE_I64; return true; }
  if (s->block || !type_parse(s->type, out)) { lower_unsupported(l, s->where, s->type); return false; }
  if (s->flush && *out != TYPE_F32) { lower_error(l, s->where, "'flush' goes with f32"); return false; }
  return true;
}

/* --- hyper-parameters ------------------------------------------------------------------------------------------------------- */

static Type hyper_type(Lower *l, const HyperDecl *d) {
  const char *type = d->storage.type;
  if (!type || !strcmp(type, "f64")) return TYPE_F64;
  if (!strcmp(type, "int")) return TYPE_I64;
  if (!strcmp(type, "bool")) return TYPE_BOOL;
  lower_error(l, d->storage.where, "a hyper-parameter is real, int or bool");
  return TYPE_F64;
}

static void number_default(Lower *l, const HyperDecl *d, Hyper *h) {
  unsigned errors = diag_errors(l->diag);
  Value v = lower_expr(l, d->value);
  if (!v.node) {
    if (diag_errors(l->diag) == errors) lower_error(l, d->value->where, "a default that depends on sizes is not supported yet");
    return;
  }
  bool is_bool = value_is(&v, KIND_BOOL), is_int = value_is(&v, KIND_INT);
  if (h->type == TYPE_BOOL && !is_bool) { lower_error(l, d->value->where, "'%s' is bool, its default is a number", h->name); return; }
  if (h->type != TYPE_BOOL && is_bool) {
    lower_error(l, d->value->where, "'%s' is %s, its default is a bool; declare '%s: bool'", h->name, h->type == TYPE_I64 ? "int" : "real", h->name);
    return;
  }
  if (h->type == TYPE_I64 && !is_int) { lower_error(l, d->value->where, "'%s' is int, its default is real", h->name); return; }
  v = value_convert(l, v, h->type);
  if (!node_constant(l->graph, v.node, &h->value)) {
    lower_error(l, d->value->where, "a default that is computed from other values is not supported yet");
    return;
  }
  h->has_default = true;
}

void declare_hypers(Lower *l) {
  Module *m = l->module;
  Graph *scratch = graph_new(m, "defaults"), *graph = l->graph;
  l->graph = scratch;
  l->hypers = arena_array(l->arena, l->rule->hypers.n, sizeof *l->hypers);
  for (unsigned i = 0; i < l->rule->hypers.n; i++) {
    const HyperDecl *d = &l->rule->hypers.at[i];
    bool is_free = name_is_free(l, d->name.text, d->name.where);
    Hyper h = {.name = d->name.text, .external = d->external, .doc = d->doc, .type = hyper_type(l, d), .is_const = d->is_const, .where = d->name.where};
    if (d->value) number_default(l, d, &h);
    else if (d->is_const) lower_error(l, d->name.where, "'const %s' needs its value", d->name.text);
    m->hypers = arena_grow(l->arena, m->hypers, &l->hypers_capacity, m->n_hypers + 1, sizeof *m->hypers);
    m->hypers[m->n_hypers] = h;
    Symbol *symbol = symbol_new(l, h.name, SYMBOL_HYPER, m->n_hypers, h.where);
    l->hypers[m->n_hypers++] = symbol;
    if (is_free) scope_add(l, symbol);                  /* also where the default is wrong: the type is known */
  }
  l->graph = graph;
}

/* --- what the rule declares, before the walk ---------------------------------------------------------------------------------- */

static void size_names(Lower *l, const Shape *shape) {
  for (unsigned i = 0; shape && i < shape->n; i++) {
    const Dim *dim = &shape->at[i];
    const Expr *e = dim->expr;
    while (e && e->kind == EXPR_BINARY) e = e->a->kind == EXPR_NAME ? e->a : e->b;
    const char *name = dim->flat ? dim->flat : e && e->kind == EXPR_NAME ? e->name : NULL;
    if (name && !scope_find(l->scope, name)) name_poison(l, name, dim->where);
  }
}

static void find_param(Lower *l, const StmtList *list, unsigned *position, bool main) {
  for (unsigned i = 0; i < list->n; i++) {
    const Stmt *s = list->at[i];
    if (s->kind == STMT_ENTRY) find_param(l, &s->body, position, false);
    if (s->kind == STMT_IF) {
      if (s->cond->kind == EXPR_IS) size_names(l, s->cond->shape);
      find_param(l, &s->body, position, main);
      if (s->has_otherwise) find_param(l, &s->otherwise, position, main);
    }
    if (s->kind != STMT_DECL) continue;
    for (unsigned k = 0; k < s->decls.n; k++) {
      size_names(l, s->decls.at[k].shape);
      if (s->role == ROLE_PARAM && !l->has_param) {
        l->has_param = true;
        l->param = *position;
        l->param_name = s->decls.at[k].name;
        l->param_shape = s->decls.at[k].shape;
      }
      if (s->role == ROLE_PARAM || s->role == ROLE_STATE) l->has_step = true;
      if (main) ++*position;
    }
  }
}

/* Finds the first param and whether steps are counted, and makes sizes known names (they are refused where they are declared). */
void declare_find_param(Lower *l, const StmtList *body) {
  unsigned position = 0;
  find_param(l, body, &position, true);
}

const Space *item_space(Lower *l) {
  const Node *count = graph_node(l->graph, OP_SIZE, TYPE_I64, graph_scalar_space(l->graph), l->param, -1, 0, NULL);
  return graph_space(l->graph, 1, &count);
}

/* --- operands ------------------------------------------------------------------------------------------------------------------ */

/* The value of an operand before anything was assigned to it. */
Value operand_at_entry(Lower *l, const Symbol *symbol) {
  const Operand *o = &l->module->operands[symbol->index];
  Type type = type_arithmetic(o->storage);
  bool tensor = o->scope == SCOPE_TENSOR;
  Value v;
  if (o->role == ROLE_OUT) {
    v = value_of(graph_const(l->graph, type, 0));
  } else if (!tensor) {
    v = value_of(graph_node(l->graph, OP_SCALAR, type, graph_scalar_space(l->graph), symbol->index, 0, 0, NULL));
  } else {
    const Node *guard = symbol->guard;
    if (o->optional) guard = bool_and(l, guard, graph_node(l->graph, OP_PRESENT, TYPE_BOOL, graph_scalar_space(l->graph), symbol->index, 0, 0, NULL));
    v = value_of(graph_node(l->graph, OP_READ, type, item_space(l), symbol->index, guard != NULL, guard != NULL, &guard));
  }
  if (type == TYPE_F32 && (!tensor || l->options->compute_f64)) v = value_convert(l, v, TYPE_F64);
  v.tensor = tensor;
  v.wide = tensor && v.node->type == TYPE_F64;
  return v;
}

static const char *number_word(Type type) { return type == TYPE_BOOL ? "bool" : type == TYPE_I64 ? "int" : "real"; }

/* Storage never changes arithmetic: what is assigned stays unrounded until the entry ends. */
Value operand_fit(Lower *l, const Operand *o, Value v, const Expr *e) {
  Value bad = {0};
  if (!v.node) return bad;
  Type type = type_arithmetic(o->storage), have = (Type)v.node->type;
  if (o->scope != SCOPE_TENSOR && v.tensor) {
    if (o->scope == SCOPE_GLOBAL) lower_error(l, e->where, "'%s' is global, %s differs from element to element; use [all]", o->name, lower_text(l, e->where));
    else lower_error(l, e->where, "'%s' is one number an item, %s has %s", o->name, lower_text(l, e->where), shape_of_item(l));
    return bad;
  }
  if (o->scope == SCOPE_GLOBAL && v.node->level > LEVEL_GLOBAL) {
    lower_error(l, e->where, "'%s' is global, %s differs from item to item; use [all]", o->name, lower_text(l, e->where));
    return bad;
  }
  if ((have == TYPE_BOOL) != (type == TYPE_BOOL)) {
    if (have == TYPE_BOOL) lower_error(l, e->where, "'%s' is %s, this is a bool; write where(c, 1, 0)", o->name, number_word(type));
    else lower_error(l, e->where, "'%s' is bool, this is a number; compare it", o->name);
    return bad;
  }
  if (type == TYPE_I64 && have != TYPE_I64) {
    lower_error(l, e->where, "'%s' is int, this is real; write int(...)", o->name);
    return bad;
  }
  bool tensor = o->scope == SCOPE_TENSOR, stays = have == TYPE_F64 && v.wide;
  if (!tensor && type == TYPE_F32) type = TYPE_F64;
  if (tensor && type == TYPE_F32 && (stays || l->options->compute_f64)) type = TYPE_F64;
  v = value_convert(l, v, type);
  v.literal = false;
  v.tensor = tensor;
  v.wide = tensor && type == TYPE_F64;
  return v;
}

/* Refusals and mistakes of one declaration; true when an operand can be made of it. */
static bool declaration_good(Lower *l, const Stmt *s, const Decl *d) {
  bool tensor = s->scope == SCOPE_TENSOR;
  if (d->shape) {
    lower_unsupported(l, d->shape->where, lower_text(l, d->shape->where));
    return false;
  }
  if (!tensor && s->role != ROLE_STATE && s->role != ROLE_IN && s->role != ROLE_OUT) {
    lower_error(l, d->where, "a %s is a tensor; 'scalar' and 'global' go with state, in and out", role_name(s->role));
    return false;
  }
  if (l->guard && (s->role == ROLE_PARAM || s->role == ROLE_OUT)) {
    lower_error(l, d->where, "'%s' inside 'if' is not supported yet", role_name(s->role));
    return false;
  }
  if (s->role == ROLE_INOUT) { lower_unsupported(l, d->where, "inout"); return false; }
  if (tensor && !l->has_param) {
    lower_error(l, d->where, "the shape of '%s' is not known: give it, the rule has no param", d->name);
    return false;
  }
  if (d->optional && (!tensor || (s->role != ROLE_GRAD && s->role != ROLE_IN))) {
    lower_error(l, d->where, "only a tensor that is read (grad, in) can be optional");
    return false;
  }
  if (d->value && s->role != ROLE_STATE && !(s->role == ROLE_IN && s->scope == SCOPE_SCALAR)) {
    lower_error(l, d->value->where, "only 'state' and 'in scalar' have a value here");
    return false;
  }
  if (l->in_fn) { lower_error(l, d->where, "a fn cannot declare operands"); return false; }
  return true;
}

static bool external_taken(const Module *m, const char *name) {
  for (unsigned i = 0; i < m->n_operands; i++) {
    const char *other = m->operands[i].external ? m->operands[i].external : m->operands[i].name;
    if (!strcmp(other, name)) return true;
  }
  return false;
}

static bool name_taken(const Module *m, const char *name) {
  for (unsigned i = 0; i < m->n_operands; i++) if (!strcmp(m->operands[i].name, name)) return true;
  return false;
}

static void declare_one(Lower *l, const Stmt *s, const Decl *d) {
  Module *m = l->module;
  bool tensor = s->scope == SCOPE_TENSOR;
  if (!name_is_free(l, d->name, d->where)) return;
  Type type;
  if (!declaration_good(l, s, d) || !storage_type(l, &d->storage, tensor ? TYPE_F32 : TYPE_F64, &type)) {
    name_poison(l, d->name, d->where);
    scope_find(l->scope, d->name)->symbol->shape = d->shape;
    return;
  }
  const char *name = d->name, *external = d->external;
  if (l->insert) {
    name = apply_state_name(l, name, name_taken(m, name));
    external = apply_state_name(l, external ? external : d->name, external_taken(m, external ? external : d->name));
    if (!strcmp(external, name)) external = NULL;
  }
  if (name_taken(m, name)) {
    if (lower_error(l, d->where, "declaring '%s' again under another condition is not supported yet", name))
      for (unsigned i = 0; i < m->n_operands; i++)
        if (!strcmp(m->operands[i].name, name)) diag_note(l->diag, m->operands[i].where, "first declared here");
    name_poison(l, d->name, d->where);
    return;
  }
  m->operands = arena_grow(l->arena, m->operands, &l->operands_capacity, m->n_operands + 1, sizeof *m->operands);
  unsigned index = m->n_operands++;
  m->operands[index] = (Operand){.name = name, .external = external, .doc = s->doc, .role = s->role, .scope = s->scope, .storage = type,
    .flush = d->storage.flush, .optional = d->optional, .entry = l->entry, .item_shape = tensor, .where = d->where};
  Symbol *symbol = symbol_new(l, d->name, SYMBOL_OPERAND, index, d->where);
  symbol->guard = l->guard;
  Value first = {0};
  if (d->value) {
    first = lower_expr(l, d->value);
    first = operand_fit(l, &m->operands[index], first, d->value);
    first = value_convert(l, first, type_arithmetic(type));
  }
  scope_add(l, symbol);
  if (s->role == ROLE_IN && first.node) {
    m->operands[index].has_default = node_constant(l->graph, first.node, &m->operands[index].value);
    if (!m->operands[index].has_default) lower_error(l, d->value->where, "a default that is computed from other values is not supported yet");
  }
  if (s->role != ROLE_STATE) return;
  l->firsts = arena_grow(l->arena, l->firsts, &l->firsts_capacity, l->n_firsts + 1, sizeof *l->firsts);
  l->firsts[l->n_firsts++] = (First){index, l->graph, first.node, l->guard, d->value ? d->value->where : d->where, l->guard_where};
}

void declare(Lower *l, const Stmt *s) {
  for (unsigned i = 0; i < s->decls.n; i++) {
    const Decl *d = &s->decls.at[i];
    if (l->insert && !l->in_fn && apply_declare(l, s, d)) continue;
    declare_one(l, s, d);
  }
}
