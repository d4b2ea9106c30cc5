/* meaning.c: what a name is worth where it stands; names that mean nothing. */
#include <string.h>
#include "frontend/habits.h"
#include "frontend/names.h"
#include "ir/suggest.h"

/* Everything a name could have meant here. */
static const char *suggest(Lower *l, const char *name, bool functions_only) {
  size_t room = 256, n = 0;
  for (const Names *s = l->scope->names; s; s = s->outer) room += s->n;
  for (unsigned f = 0; f < l->context->files->n; f++) room += l->context->files->files[f]->n_fns + l->context->files->files[f]->n_consts;
  const char **names = arena_array(l->arena, room, sizeof *names);
  for (const Names *s = l->scope->names; s; s = s->outer)
    for (unsigned i = 0; i < s->n; i++) if (!functions_only || s->at[i].symbol->kind == SYMBOL_FN) names[n++] = s->at[i].symbol->name;
  for (unsigned f = 0; f < l->context->files->n; f++) {
    const File *file = l->context->files->files[f];
    for (unsigned i = 0; i < file->n_fns; i++) names[n++] = file->fns[i]->name.text;
    if (!functions_only) for (unsigned i = 0; i < file->n_consts; i++) names[n++] = file->consts[i]->name.text;
  }
  if (functions_only) n += builtin_names(names + n, room - n);
  return suggest_word(name, names, n);
}

static bool known_unknown(Lower *l, const char *name) {
  for (unsigned i = 0; i < l->context->n_unknown; i++) if (!strcmp(l->context->unknown[i], name)) return true;
  l->context->unknown = arena_grow(l->arena, l->context->unknown, &l->context->unknown_capacity, l->context->n_unknown + 1, sizeof *l->context->unknown);
  l->context->unknown[l->context->n_unknown++] = name;
  return false;
}

/* An element value over the indices around, where more are in scope now. */
static Value value_lifted(Lower *l, Value v) {
  const Node *index[LOWER_MAX_AXES];
  for (unsigned k = 0; k < v.node->space->rank && k < l->scope->ix->n; k++) index[k] = index_node(l, l->scope->ix->space, k);
  if (v.node->space->rank > l->scope->ix->n) return (Value){0};
  if (v.product) {
    Factors *f = arena_alloc(l->arena, sizeof *f + v.product->n*sizeof *f->at);
    *f = (Factors){.n = v.product->n};
    for (unsigned k = 0; k < f->n; k++) f->at[k] = (Factor){node_move(l, v.product->at[k].node, l->scope->ix->space, index), v.product->at[k].opaque};
    v.product = f;
  }
  v.node = node_move(l, v.node, l->scope->ix->space, index);
  return v;
}

Value binding_current(Lower *l, const Binding *binding) {
  const Symbol *symbol = binding->symbol;
  if (binding->poison || binding->partial) return (Value){0};
  Value value = binding->value;
  if (!binding->set && symbol->kind == SYMBOL_OPERAND) value = operand_at_entry(l, symbol);
  if (!binding->set && symbol->kind == SYMBOL_HYPER) {
    const Hyper *hyper = &l->context->module->hypers[symbol->index];
    value = hyper->is_const ? value_of(graph_const(l->graph, hyper->type, hyper->value)) : hyper_value(l, symbol->index);
  }
  if (!binding->set && symbol->kind == SYMBOL_SIZE) value = size_value(l, symbol, symbol->where);
  if (symbol->kind == SYMBOL_OPERAND) value.operand = symbol->index + 1;
  if (value.tensor && symbol->kind == SYMBOL_OPERAND) { value.shape = symbol->shape ? symbol->shape : l->context->param_shape; value.name = symbol->name; }
  if (value.tensor && symbol->kind != SYMBOL_OPERAND && !value.name) value.name = symbol->name;
  if (symbol->kind == SYMBOL_LOCAL) {
    value.opaque = !symbol->once;
    if (value.opaque) value.product = NULL;
  }
  if (value.node && value.node->space->rank && !value.tensor && l->scope->ix && value.node->space != l->scope->ix->space) value = value_lifted(l, value);
  return value;
}

Value binding_value(Lower *l, Binding *binding, Range use) {
  Symbol *symbol = binding->symbol;
  symbol->used = true;
  if (symbol->unseen) lower_error(l, use, "'%s' was given as '%s', which an entry does not see: it has names of the main body", symbol->name, symbol->unseen);
  if (binding->poison) return (Value){.shape = symbol->shape, .name = symbol->name};
  if (binding->partial && binding->clash) {
    const Clash *c = binding->clash;
    for (unsigned i = 0, said = lower_error(l, use, "%s", c->why); i < 2 && said; i++) diag_note(l->diag, c->where[i], "%s", c->note[i]);
    binding->poison = true;
    return (Value){0};
  }
  if (binding->partial) {
    if (lower_error(l, use, "'%s' has no value when the condition at line %u is %s", symbol->name, lower_line(binding->partial_cond),
                    binding->partial_when ? "true" : "false"))
      diag_note(l->diag, binding->partial_cond, "this condition");
    binding->poison = true;
    return (Value){0};
  }
  Value v = binding_current(l, binding);
  if (v.around && (!l->scope->ix || l->scope->ix->n < v.around)) {
    lower_error(l, use, "'%s' was made at the indices of a call: it is read at its own, as in sum[j](%s[j])", symbol->name, symbol->name);
    return (Value){0};
  }
  return v;
}

static Value step_value(Lower *l, Range where) {
  if (l->scope->step.node) return l->scope->step;
  if (!l->context->has_step) {
    lower_error(l, where, "'t' counts the steps of a rule with param or state");
    return (Value){0};
  }
  return value_of(graph_node(l->graph, OP_STEP, TYPE_I64, graph_scalar_space(l->graph), 0, 0, 0, NULL));
}

/* Where a body declares or assigns a name, itself or in its blocks; NULL: nowhere. */
static const Range *made_in(const StmtList *list, const char *name) {
  const Range *found = NULL;
  for (unsigned i = 0; list && i < list->n && !found; i++) {
    const Stmt *s = list->at[i];
    for (unsigned k = 0; k < s->decls.n && !found; k++) if (!strcmp(s->decls.at[k].name, name)) found = &s->decls.at[k].where;
    if (s->kind == STMT_ASSIGN && !strcmp(s->name.text, name)) found = &s->name.where;
    if (!found && s->kind != STMT_ENTRY) found = made_in(&s->body, name);
    if (!found) found = made_in(&s->otherwise, name);
  }
  return found;
}

/* Why a name means nothing: what stands for it here, a slip, a value of the last call that was not declared. */
static void unknown_name(Lower *l, const char *name, Range where, bool as_function) {
  const char *habit = habit_name(name), *nearest = habit ? NULL : suggest(l, name, as_function), *what = as_function ? "function" : "name";
  Binding *meant = nearest ? scope_find(l->scope->names, nearest) : NULL;
  if (meant) meant->symbol->used = true;                /* no second complaint about the same slip */
  bool itself = l->scope->target && !strcmp(l->scope->target, name) && !as_function;
  if (habit) lower_error(l, where, "unknown %s '%s'; %s", what, name, habit);
  else if (nearest) { if (lower_error(l, where, "unknown %s '%s'; did you mean '%s'?", what, name, nearest)) diag_fix(l->diag, nearest); }
  else if (itself && l->context->has_param && !l->scope->in_fn) lower_error(l, where, "unknown name '%s': it has no value before this statement; what is kept from call to call is declared, 'state %s'", name, name);
  else if (itself) lower_error(l, where, "unknown name '%s': it has no value before this statement", name);
  else {
    const Range *below = as_function ? NULL : made_in(l->scope->body, name);
    if (lower_error(l, where, "unknown %s '%s'", what, name) && below && below->begin > where.begin) diag_note(l->diag, *below, "it gets its value below");
  }
}

Value name_value(Lower *l, const char *name, Range where, bool as_function) {
  int index = index_find(l->scope->ix, name);
  if (index >= 0) return value_of(index_node(l, l->scope->ix->space, (unsigned)index));
  Binding *binding = scope_find(l->scope->names, name);
  if (binding) return binding_value(l, binding, where);
  if (!strcmp(name, "t")) return step_value(l, where);
  const Const *constant = file_const(l, name);
  if (constant) return const_value(l, constant, where);
  const Fn *fn = file_fn(l, name);
  if (fn) return (Value){.fn = fn};
  const Builtin *builtin = builtin_find(name);
  if (builtin) return (Value){.builtin = builtin};
  if (!known_unknown(l, name)) unknown_name(l, name, where, as_function);
  return (Value){0};
}
