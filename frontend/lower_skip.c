/* lower_skip.c: `skip if c { }`: params, states and t stay as they were at entry, outputs as they are here; the block may assign global states. */
#include "frontend/statements.h"

static bool assigns_globals_only(Lower *l, const StmtList *list) {
  bool good = true;
  for (unsigned i = 0; i < list->n; i++) {
    const Stmt *s = list->at[i];
    if (s->kind == STMT_ASSIGN) {
      const Binding *b = scope_find(l->scope->names, s->name.text);
      const Operand *o = b && b->symbol->kind == SYMBOL_OPERAND ? &l->context->module->operands[b->symbol->index] : NULL;
      if (o && o->role == ROLE_STATE && o->scope == SCOPE_GLOBAL) continue;
      lower_error(l, s->name.where, "the block of 'skip if' may assign global states only");
      good = false;
    } else if (s->kind == STMT_IF) {
      good &= assigns_globals_only(l, &s->body);
      good &= assigns_globals_only(l, &s->otherwise);
    } else {
      lower_error(l, s->where, "the block of 'skip if' holds assignments and 'if' only");
      good = false;
    }
  }
  return good;
}

void lower_skip(Lower *l, const Stmt *s) {
  Value c = lower_condition(l, s->cond, "skip if");
  if (!c.node) return;
  if (l->scope->scans || l->scope->in_fn || l->scope->insert) { lower_error(l, s->where, "'skip if' stands directly in a rule or an entry"); return; }
  if (l->context->has_param && c.node->level > LEVEL_GLOBAL) {
    lower_error(l, s->cond->where, "'skip if' is for the whole call, this differs from item to item; use [all]");
    return;
  }
  if (l->scope->guard) c = value_of(bool_and(l, l->scope->guard, c.node));
  if (l->context->has_param && c.node->level > LEVEL_GLOBAL) { lower_error(l, s->where, "'skip if' stands under a condition that differs from item to item"); return; }
  if (!assigns_globals_only(l, &s->body)) return;
  Names *here = names_copy(l, l->scope->names);
  for (unsigned i = 0; i < here->n; i++) {
    const Symbol *symbol = here->at[i].symbol;
    if (symbol->kind != SYMBOL_OPERAND) continue;
    Role role = l->context->module->operands[symbol->index].role;
    if (role == ROLE_PARAM || role == ROLE_STATE) here->at[i].set = false;
  }
  Lexical inner;
  scope_enter(l, &inner)->names = here;
  lower_block(l, &s->body);
  scope_leave(l);
  Skip *skip = arena_alloc(l->arena, sizeof *skip);
  *skip = (Skip){c.node, here, l->entry->skips};
  l->entry->skips = skip;
  l->graph->skip = l->graph->skip ? graph_op2(l->graph, OP_OR, l->graph->skip, c.node) : c.node;
}

/* What the entry leaves of an operand when it is skipped there. A state that one branch declares is not set, though its name has no value outside. */
Value skip_value(Lower *l, const Skip *skip, const Symbol *symbol) {
  for (unsigned i = 0; i < skip->names->n; i++) {
    const Binding *b = &skip->names->at[i];
    if (b->symbol == symbol && (b->set || !b->partial)) return binding_current(l, b);
  }
  return operand_at_entry(l, symbol);
}
