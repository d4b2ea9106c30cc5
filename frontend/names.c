/* names.c: scopes and their names, names of files, and names that are never used. */
#include <string.h>
#include "frontend/names.h"
#include "ir/suggest.h"

Lexical *scope_enter(Lower *l, Lexical *inner) {
  *inner = *l->scope;
  inner->outer = l->scope;
  return l->scope = inner;
}

void scope_leave(Lower *l) { l->scope = l->scope->outer; }

Names *names_copy(Lower *l, const Names *names) {
  Names *copy = arena_alloc(l->arena, sizeof *copy);
  *copy = *names;
  copy->capacity = 0;
  copy->at = arena_grow(l->arena, NULL, &copy->capacity, names->n + 1, sizeof *copy->at);
  if (names->n) memcpy(copy->at, names->at, names->n*sizeof *copy->at);
  return copy;
}

Names *scope_new(Lower *l, Names *outer) {
  Names *scope = arena_alloc(l->arena, sizeof *scope);
  scope->outer = outer;
  return scope;
}

Symbol *symbol_new(Lower *l, const char *name, SymbolKind kind, unsigned index, Range where) {
  Symbol *symbol = arena_alloc(l->arena, sizeof *symbol);
  *symbol = (Symbol){.name = name, .kind = kind, .index = index, .where = where};
  if (l->scope->insert || l->scope->in_fn) return symbol;
  l->context->symbols = arena_grow(l->arena, l->context->symbols, &l->context->symbols_capacity, l->context->n_symbols + 1, sizeof *l->context->symbols);
  l->context->symbols[l->context->n_symbols++] = symbol;
  return symbol;
}

Binding *scope_add(Lower *l, Symbol *symbol) {
  Names *scope = l->scope->names;
  if (scope->n >= LOWER_MAX_NAMES) {
    lower_error(l, symbol->where, "more than %d names in one rule", LOWER_MAX_NAMES);
    l->context->exhausted = true;
    scope->n = LOWER_MAX_NAMES - 1;
  }
  scope->at = arena_grow(l->arena, scope->at, &scope->capacity, scope->n + 1, sizeof *scope->at);
  scope->at[scope->n] = (Binding){.symbol = symbol};
  return &scope->at[scope->n++];
}

Binding *scope_find_here(Names *scope, const char *name) {
  for (unsigned i = 0; i < scope->n; i++) if (!strcmp(scope->at[i].symbol->name, name)) return &scope->at[i];
  return NULL;
}

Binding *scope_find(Names *scope, const char *name) {
  for (; scope; scope = scope->outer) {
    Binding *binding = scope_find_here(scope, name);
    if (binding) return binding;
  }
  return NULL;
}

/* A fn assigns its own names only. */
Binding *scope_find_assigned(Lower *l, const char *name) { return l->scope->in_fn ? scope_find_here(l->scope->names, name) : scope_find(l->scope->names, name); }

/* Names of a file are seen by every file of the set; the file compiled is the first. */
#define FILE_LOOKUP(function, Kind, list, count) \
  const Kind *function(Lower *l, const char *name) { \
    for (unsigned f = 0; f < l->context->files->n; f++) { \
      const File *file = l->context->files->files[f]; \
      for (unsigned i = 0; i < file->count; i++) if (!strcmp(file->list[i]->name.text, name)) return file->list[i]; \
    } \
    return NULL; \
  }
FILE_LOOKUP(file_fn, Fn, fns, n_fns)
FILE_LOOKUP(file_rule, Rule, rules, n_rules)
FILE_LOOKUP(file_const, Const, consts, n_consts)

const char *symbol_word(const Lower *l, const Symbol *symbol) {
  switch (symbol->kind) {
    case SYMBOL_HYPER: return "hyper-parameter";
    case SYMBOL_OPERAND: return role_name(l->context->module->operands[symbol->index].role);
    case SYMBOL_FN: return "fn";
    case SYMBOL_SIZE: return "size";
    case SYMBOL_PARAMETER: return "fn parameter";
    default: return "local value";
  }
}

const char *symbol_article(const Lower *l, const Symbol *symbol) {
  const char *word = symbol_word(l, symbol);
  return *word == 'i' || *word == 'o' ? "an" : "a";
}

void name_poison(Lower *l, const char *name, Range where) {
  Binding *binding = scope_find(l->scope->names, name);
  if (!binding) {
    Symbol *symbol = symbol_new(l, name, SYMBOL_LOCAL, 0, where);
    symbol->poisoned = true;
    binding = scope_add(l, symbol);
  }
  binding->poison = true;
  binding->partial = false;
  binding->symbol->used = true;
}

bool name_is_free(Lower *l, const char *name, Range where) {
  Binding *binding = scope_find(l->scope->names, name);
  if (binding) {
    if (binding->poison && binding->symbol->poisoned) return true;
    if (binding->partial) return true;
    if (lower_error(l, where, "'%s' is declared twice", name)) diag_note(l->diag, binding->symbol->where, "first declared here");
    return false;
  }
  if ((!strcmp(name, "t") && l->context->has_step) || !strcmp(name, "all")) { lower_error(l, where, "'%s' is predeclared", name); return false; }
  return true;
}

void scope_finish(Lower *l, const Names *scope, unsigned from) {
  for (unsigned i = from; i < scope->n; i++) {
    const Binding *b = &scope->at[i];
    if (b->symbol->kind != SYMBOL_OPERAND || b->partial) continue;
    l->entry->finals = arena_grow(l->arena, l->entry->finals, &l->entry->finals_capacity, l->entry->n_finals + 1, sizeof *l->entry->finals);
    l->entry->finals[l->entry->n_finals++] = (Final){b->symbol, b->set ? b->value : (Value){0}, b->poison};
  }
}

void names_register_fns(Lower *l, const StmtList *list) {
  for (unsigned i = 0; i < list->n; i++) {
    const Stmt *s = list->at[i];
    if (s->kind != STMT_FN) continue;
    if (!name_is_free(l, s->fn->name.text, s->fn->name.where)) continue;
    if (builtin_find(s->fn->name.text)) {
      lower_error(l, s->fn->name.where, "'%s' is a function of the language and cannot be a name", s->fn->name.text);
      continue;
    }
    names_check_parameters(l, s->fn);
    Binding *binding = scope_add(l, symbol_new(l, s->fn->name.text, SYMBOL_FN, 0, s->fn->name.where));
    binding->value = (Value){.fn = s->fn, .home = l->scope->names};
    binding->set = true;
  }
}

void poison_assigned(Lower *l, const StmtList *list) {
  for (unsigned i = 0; i < list->n; i++) {
    const Stmt *s = list->at[i];
    switch (s->kind) {
      case STMT_ASSIGN: name_poison(l, s->name.text, s->name.where); break;
      case STMT_DECL: for (unsigned k = 0; k < s->decls.n; k++) name_poison(l, s->decls.at[k].name, s->decls.at[k].where); break;
      case STMT_IF: poison_assigned(l, &s->body); if (s->has_otherwise) poison_assigned(l, &s->otherwise); break;
      case STMT_REPEAT: case STMT_SCAN: case STMT_SKIP: poison_assigned(l, &s->body); break;
      default: break;
    }
  }
}

unsigned count_assignments(const StmtList *list, const char *name) {
  unsigned n = 0;
  for (unsigned i = 0; list && i < list->n; i++) {
    const Stmt *s = list->at[i];
    if (s->kind == STMT_ASSIGN) n += !strcmp(s->name.text, name);
    else if (s->kind != STMT_ENTRY) n += count_assignments(&s->body, name) + count_assignments(&s->otherwise, name);
  }
  return n;
}

void symbol_set_once(Lower *l, Symbol *symbol) { symbol->once = symbol->kind == SYMBOL_LOCAL && count_assignments(l->scope->body, symbol->name) == 1; }

/* Parameters are a scope of their own, with each name once. */
void names_check_parameters(Lower *l, const Fn *fn) {
  for (unsigned i = 0; i < fn->params.n; i++)
    for (unsigned k = 0; k < i; k++) {
      if (strcmp(fn->params.at[i].text, fn->params.at[k].text)) continue;
      if (lower_error(l, fn->params.at[i].where, "'%s' is declared twice", fn->params.at[i].text)) diag_note(l->diag, fn->params.at[k].where, "first declared here");
    }
}

/* A first value in the text; a state without one starts at 0. */
static bool starts_given(const Context *x, const Symbol *s) {
  for (unsigned i = 0; i < x->n_firsts; i++) if (x->firsts[i].operand == s->index && x->firsts[i].value) return true;
  return false;
}

/* What is strange about the uses of a name, or NULL. */
static const char *complaint(const Lower *l, const Symbol *s, bool used, bool assigned) {
  if (s->kind == SYMBOL_LOCAL || s->kind == SYMBOL_HYPER) return used ? NULL : "'%s' is never used";
  if (s->kind != SYMBOL_OPERAND || diag_errors(l->diag)) return NULL;      /* what a refused statement does with it is not known */
  const Operand *o = &l->context->module->operands[s->index];
  Role role = o->role;
  bool record = o->scope == SCOPE_GLOBAL;               /* numbers of the call that the host looks at */
  if (role == ROLE_OUT) return assigned ? NULL : "out '%s' is never assigned: it stays 0";
  if (role != ROLE_STATE) return NULL;
  if (!used && assigned && record) return NULL;
  if (!used) return assigned ? "state '%s' is written and never read" : "'%s' is never used";
  return assigned || starts_given(l->context, s) ? NULL : "state '%s' is never written: it stays 0";
}

void names_warn_unused(Lower *l) {
  const Context *x = l->context;
  if (!x->options->warnings || x->n_symbols > 4*LOWER_MAX_NAMES) return;
  const char **names = arena_array(l->arena, x->n_symbols, sizeof *names);
  for (unsigned i = 0; i < x->n_symbols; i++) {
    const Symbol *symbol = x->symbols[i], *meant = NULL;
    bool used = false, assigned = false;               /* both branches of an `if` may make a value that is used after it */
    unsigned n = 0;
    if (symbol->poisoned || !complaint(l, symbol, symbol->used, symbol->assigned)) continue;
    for (unsigned k = 0; k < x->n_symbols; k++) {
      const Symbol *other = x->symbols[k];
      if (strcmp(other->name, symbol->name)) { names[n++] = other->name; continue; }
      used |= other->used;
      assigned |= other->assigned;
    }
    const char *text = complaint(l, symbol, used, assigned);
    if (!text) continue;
    const char *nearest = symbol->kind == SYMBOL_LOCAL ? suggest_word(symbol->name, names, n) : NULL;
    for (unsigned k = 0; nearest && k < x->n_symbols && !meant; k++) if (!strcmp(x->symbols[k]->name, nearest)) meant = x->symbols[k];
    if (!meant) lower_warning(l, symbol->where, text, symbol->name);
    else if (lower_warning(l, symbol->where, "'%s' is never used; did you mean the %s '%s'?", symbol->name, symbol_word(l, meant), nearest)) diag_fix(l->diag, nearest);
  }
}
