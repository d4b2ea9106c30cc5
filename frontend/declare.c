/* declare.c: hyper-parameters and operands: roles, scopes, storage types, defaults, first values. */
#include <math.h>
#include <string.h>
#include "frontend/statements.h"

/* --- storage types -------------------------------------------------------------------------------------------------------- */

/* The type in memory; false after an error. `int` is 64-bit wherever it stands. */
static bool storage_type(Lower *l, const Storage *s, Type otherwise, Type *out) {
  *out = otherwise;
  if (*out == TYPE_F32 && l->context->options->store_f64 && !s->type) *out = TYPE_F64;
  if (!s->type) return true;
  if (!strcmp(s->type, "int")) { *out = TYPE_I64; return true; }
  if (s->block || !type_parse(s->type, out)) { lower_unsupported(l, s->where, s->type); return false; }
  if (*out == TYPE_F32 && l->context->options->store_f64) *out = TYPE_F64;
  if (s->stochastic && *out != TYPE_BF16 && *out != TYPE_F16) { lower_error(l, s->where, "'stochastic' goes with bf16 and f16"); return false; }
  if (s->nearest && *out != TYPE_BF16 && *out != TYPE_F16) { lower_error(l, s->where, "'nearest' goes with bf16, f16 and codes"); return false; }
  if (s->flush && strcmp(s->type, "f32")) { lower_error(l, s->where, "'flush' goes with f32"); return false; }
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
    if (diag_errors(l->diag) == errors) lower_error(l, d->value->where, "this default cannot be computed");
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
  if (v.tensor || v.node->space->rank) { lower_error(l, d->value->where, "a default is one number"); return; }
  h->has_default = true;
  if (node_constant(l->graph, v.node, &h->value)) return;
  if (h->is_const || h->type == TYPE_BOOL) {
    lower_error(l, d->value->where, "the value of %s '%s' must be known while compiling", h->is_const ? "const" : "the bool", h->name);
    return;
  }
  h->computed = true;                                   /* the caller leaves it to the rule by giving this value */
  h->value = h->type == TYPE_F64 ? bits_from_f64(NAN, TYPE_F64) : (Bits)INT64_MIN;
}

/* Their names and types; defaults may use sizes, so they come when those are known. */
void declare_hypers(Lower *l) {
  Module *m = l->context->module;
  l->context->hypers = arena_array(l->arena, l->context->rule->hypers.n, sizeof *l->context->hypers);
  for (unsigned i = 0; i < l->context->rule->hypers.n; i++) {
    const HyperDecl *d = &l->context->rule->hypers.at[i];
    bool is_free = name_is_free(l, d->name.text, d->name.where);
    Hyper h = {.name = d->name.text, .external = d->external, .doc = d->doc, .type = hyper_type(l, d), .is_const = d->is_const, .where = d->name.where};
    if (i == OPTC_MAX_HYPERS) lower_error(l, d->name.where, "a rule has at most %d hyper-parameters", OPTC_MAX_HYPERS);
    if (!d->value && d->is_const) lower_error(l, d->name.where, "'const %s' needs its value", d->name.text);
    m->hypers = arena_grow(l->arena, m->hypers, &l->context->hypers_capacity, m->n_hypers + 1, sizeof *m->hypers);
    m->hypers[m->n_hypers] = h;
    Symbol *symbol = symbol_new(l, h.name, SYMBOL_HYPER, m->n_hypers, h.where);
    l->context->hypers[m->n_hypers++] = symbol;
    if (is_free) scope_add(l, symbol);                  /* also where the default is wrong: the type is known */
  }
}

void declare_defaults(Lower *l) {
  Graph *graph = l->graph;
  Entry *entry = l->entry, defaults = {0};
  Lexical inner;
  scope_enter(l, &inner);
  l->entry = &defaults;
  l->graph = graph_new(l->context->module, "defaults");
  for (unsigned i = 0; i < l->context->rule->hypers.n && i < l->context->module->n_hypers; i++) {
    Symbol *symbol = l->context->hypers[i];
    bool used = symbol->used;
    if (l->context->rule->hypers.at[i].value) number_default(l, &l->context->rule->hypers.at[i], &l->context->module->hypers[i]);
    symbol->used = used;
  }
  l->graph = graph;
  l->entry = entry;
  scope_leave(l);
}

/* --- what the rule declares, before the walk ---------------------------------------------------------------------------------- */

static void find_roles(Lower *l, const StmtList *list) {
  for (unsigned i = 0; i < list->n; i++) {
    const Stmt *s = list->at[i];
    if (s->kind == STMT_ENTRY || s->kind == STMT_IF) {
      find_roles(l, &s->body);
      find_roles(l, &s->otherwise);
    }
    if (s->kind == STMT_DECL && (s->role == ROLE_PARAM || s->role == ROLE_STATE)) l->context->has_step = true;
  }
}

/* Finds the first param and whether steps are counted. Operands are numbered in the order of their declarations. */
void declare_find_param(Lower *l, const StmtList *body) {
  unsigned position = 0;
  find_roles(l, body);
  for (unsigned i = 0; i < body->n && !l->context->has_param; i++) {
    const Stmt *s = body->at[i];
    if (s->kind != STMT_DECL) continue;
    if (s->role != ROLE_PARAM || s->scope != SCOPE_TENSOR) { position += s->decls.n; continue; }
    l->context->has_param = true;
    l->context->param = position;
    l->context->param_name = s->decls.at[0].name;
    l->context->param_shape = s->decls.at[0].shape;
  }
}

/* --- operands ------------------------------------------------------------------------------------------------------------------ */

/* Refusals and mistakes of one declaration; true when an operand can be made of it. */
static bool declaration_good(Lower *l, const Stmt *s, const Decl *d) {
  bool tensor = s->scope == SCOPE_TENSOR;
  if (d->shape && s->scope == SCOPE_SCALAR) { lower_error(l, d->shape->where, "'scalar' is one number an item and has no shape"); return false; }
  if (!tensor && s->role != ROLE_STATE && s->role != ROLE_IN && s->role != ROLE_OUT) {
    lower_error(l, d->where, "a %s is a tensor; 'scalar' and 'global' go with state, in and out", role_name(s->role));
    return false;
  }
  if (l->scope->guard && s->role == ROLE_PARAM) {
    lower_error(l, d->where, "a param stands outside of 'if'");
    return false;
  }
  if (tensor && !d->shape && (!l->context->has_param || s->role == ROLE_INOUT)) {
    if (l->context->has_param) { lower_error(l, d->where, "the shape of inout '%s' must be given", d->name); return false; }
    lower_error(l, d->where, "the shape of '%s' is not known: give it, the rule has no param", d->name);
    return false;
  }
  if (d->optional && (s->scope == SCOPE_SCALAR || s->role == ROLE_STATE || s->role == ROLE_OUT)) {
    lower_error(l, d->where, "only a tensor that the caller gives (param, grad, in, inout) can be optional");
    return false;
  }
  if (d->value && s->role != ROLE_STATE && !(s->role == ROLE_IN && s->scope == SCOPE_SCALAR)) {
    lower_error(l, d->value->where, "only 'state' and 'in scalar' have a value here");
    return false;
  }
  if (l->scope->in_fn) { lower_error(l, d->where, "a fn cannot declare operands"); return false; }
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

static bool same_kind(const Operand *o, const Stmt *s, Type type, bool items) {
  return o->role == s->role && o->scope == s->scope && o->storage == type && (items ? o->item_shape : s->scope != SCOPE_TENSOR && !o->shape);
}

/* Whether a condition and its opposite stand in the two. */
static bool exclusive(const Node *a, const Node *b) {
  if (!a || !b) return false;
  if (a->op == OP_AND) return exclusive(a->args[0], b) || exclusive(a->args[1], b);
  if (b->op == OP_AND && !(a->op == OP_NOT && a->args[0] == b)) return exclusive(a, b->args[0]) || exclusive(a, b->args[1]) || (a->op == OP_NOT && a->args[0] == b);
  return (a->op == OP_NOT && a->args[0] == b) || (b->op == OP_NOT && b->args[0] == a);
}

/* Every declaration of this operand so far stands in another branch. */
static bool in_other_branch(Lower *l, unsigned operand) {
  for (unsigned i = 0; i < l->context->n_firsts; i++)
    if (l->context->firsts[i].operand == operand && (l->context->firsts[i].graph != l->graph || !exclusive(l->context->firsts[i].guard, l->scope->guard))) return false;
  return true;
}

/* The operand of a declaration: kept free for it, shared with the other branch of an `if`, or new. -1 after an error. */
static int operand_for(Lower *l, const Stmt *s, const Decl *d, const char *name, const Storage *storage, Type type, bool items) {
  Module *m = l->context->module;
  int reserved = l->scope->insert ? -1 : operand_reserved(l, d);
  const char *external = d->external;
  if (l->scope->insert) {
    external = apply_state_name(l, external ? external : d->name, external_taken(m, external ? external : d->name));
    if (!strcmp(external, name)) external = NULL;
  }
  if (reserved < 0 && name_taken(m, name)) {
    for (unsigned i = 0; i < m->n_operands; i++) {
      if (strcmp(m->operands[i].name, name)) continue;
      bool other = s->role == ROLE_STATE && m->operands[i].role == ROLE_STATE && in_other_branch(l, i);
      if (other && same_kind(&m->operands[i], s, type, items)) return (int)i;
      if (other || l->scope->insert) continue;
      if (lower_error(l, d->where, "'%s' is declared twice", name)) diag_note(l->diag, m->operands[i].where, "first declared here");
      return -1;
    }
    const char *base = name;
    external = l->scope->insert ? NULL : external ? external : name;
    for (unsigned i = 2; name_taken(m, name); i++) name = arena_printf(l->arena, "%s_%u", base, i);
  }
  for (int i = 0; i < reserved; i++) {                   /* fields of one struct, in whatever entry they stand */
    if (strcmp(m->operands[i].name, name) || !m->operands[i].entry || !l->entry->name) continue;
    if (lower_error(l, d->where, "'%s' is declared twice: what entries declare stands in one struct", name)) diag_note(l->diag, m->operands[i].where, "first declared here");
    return -1;
  }
  if (reserved < 0) {
    m->operands = arena_grow(l->arena, m->operands, &l->context->operands_capacity, m->n_operands + 1, sizeof *m->operands);
    reserved = (int)m->n_operands++;
  }
  m->operands[reserved] = (Operand){.name = name, .external = external, .doc = s->doc, .role = s->role, .scope = s->scope, .storage = type,
    .flush = storage->flush, .optional = d->optional, .entry = l->entry->name, .item_shape = items, .shape_text = d->shape ? shape_text(l, d->shape) : NULL, .where = d->where};
  for (unsigned a = 0; d->shape && a < d->shape->n; a++) m->operands[reserved].any_rank |= d->shape->at[a].ellipsis || d->shape->at[a].flat;
  return reserved;
}

/* Two states of one item under one name of checkpoints; those of opposite branches never meet. */
static void warn_shared_external(Lower *l, const First *f) {
  const Module *m = l->context->module;
  const Operand *o = &m->operands[f->operand];
  const char *name = o->external ? o->external : o->name;
  for (unsigned i = 0; i < l->context->n_firsts; i++) {
    const First *g = &l->context->firsts[i];
    const Operand *other = &m->operands[g->operand];
    if (g->operand == f->operand || strcmp(other->external ? other->external : other->name, name)) continue;
    if (g->graph == f->graph && exclusive(g->guard, f->guard)) continue;
    if (lower_warning(l, o->where, "states '%s' and '%s' are both called \"%s\" in checkpoints", other->name, o->name, name)) diag_note(l->diag, other->where, "declared here");
    return;
  }
}

/* Where f32 operands are f64 in memory, so is what is only read or only written: nothing is rounded on the way. */
static Type in_memory(const Lower *l, const Stmt *s, const Storage *storage, Type type) {
  bool passes = s->role == ROLE_IN || s->role == ROLE_GRAD || s->role == ROLE_OUT, narrow = type == TYPE_BF16 || type == TYPE_F16;
  return l->context->options->store_f64 && passes && narrow && !storage->stochastic ? TYPE_F64 : type;
}

static void declare_one(Lower *l, const Stmt *s, const Decl *d) {
  Module *m = l->context->module;
  bool tensor = s->scope == SCOPE_TENSOR, items = tensor && l->context->has_param && (!d->shape || shape_is_items(l, d->shape));
  if (!name_is_free(l, d->name, d->where)) return;
  Type type = TYPE_F32;
  int index = -1;
  bool master;
  const char *name = l->scope->insert ? apply_state_name(l, d->name, name_taken(m, d->name)) : d->name;
  const Storage *storage = policy_storage(l, s, d, name, &master);
  bool codes = storage_is_codes(storage);
  int64_t block = 0;
  if (declaration_good(l, s, d) && (codes ? (block = coded_block(l, s, storage)) != 0 : storage_type(l, storage, tensor ? TYPE_F32 : TYPE_F64, &type)))
    index = operand_for(l, s, d, name, storage, codes ? TYPE_U8 : (type = in_memory(l, s, storage, type)), items && !codes);
  for (int alone = 1; alone >= 0 && index >= 0 && l->scope->insert && d->shape && s->role != ROLE_STATE; alone--)
    sizes_define(l, (unsigned)index, d->shape, items, l->scope->body, alone);               /* sizes_reserve has not seen an applied rule */
  if (index >= 0 && d->shape && !shape_declare(l, (unsigned)index, d->shape, s->role != ROLE_STATE, d->where)) index = -1;
  if (index >= 0 && codes) coded_declare(l, (unsigned)index, storage, block, items);
  if (index < 0) {
    name_poison(l, d->name, d->where);
    scope_find(l->scope->names, d->name)->symbol->shape = d->shape;
    return;
  }
  Symbol *symbol = symbol_new(l, d->name, SYMBOL_OPERAND, (unsigned)index, d->where);
  symbol->guard = l->scope->guard;
  symbol->shape = d->shape;
  storage_declare(l, (unsigned)index, storage, symbol);
  if (master) master_declare(l, (unsigned)index, storage);
  Value first = {0};
  if (d->value) {
    Lexical inner;
    scope_enter(l, &inner);
    inner.statement = codes ? coded_space(l, coded_of(l, (unsigned)index)) : items || d->shape ? operand_space_here(l, (unsigned)index) : NULL;
    inner.first = s->role == ROLE_STATE;
    first = lower_expr(l, d->value);
    scope_leave(l);
    first = operand_fit(l, &m->operands[index], first, d->value);
    first = value_convert(l, first, codes ? TYPE_F32 : type_arithmetic(type));
  }
  scope_add(l, symbol);
  if (s->role == ROLE_IN && first.node) {
    m->operands[index].has_default = node_constant(l->graph, first.node, &m->operands[index].value);
    if (!m->operands[index].has_default) lower_error(l, d->value->where, "a default that is computed from other values is not supported yet");
  }
  if (s->role != ROLE_STATE) return;
  l->context->firsts = arena_grow(l->arena, l->context->firsts, &l->context->firsts_capacity, l->context->n_firsts + 1, sizeof *l->context->firsts);
  l->context->firsts[l->context->n_firsts++] = (First){(unsigned)index, l->graph, first.node, l->scope->guard, d->value ? d->value->where : d->where, l->scope->guard_where};
  warn_shared_external(l, &l->context->firsts[l->context->n_firsts - 1]);
}

void declare(Lower *l, const Stmt *s) {
  for (unsigned i = 0; i < s->decls.n; i++) {
    const Decl *d = &s->decls.at[i];
    if (l->scope->insert && !l->scope->in_fn && apply_declare(l, s, d)) continue;
    declare_one(l, s, d);
  }
}
