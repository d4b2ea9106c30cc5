/* storage_master.c: params with a master copy: bf16 or f16 in the model, f32 in a state beside it that the rule computes with (policy `+master`).
 *
 * What the rule reads of the param is the copy; what it makes of the param is written to both, rounded to nearest for the param, in the same pass.
 * Before step 1 the copy is the param. Micikevicius et al. 2017, arXiv 1710.03740, section 3.1. */
#include <string.h>
#include "frontend/names.h"

unsigned master_of(const Lower *l, unsigned operand) {
  for (unsigned i = 0; i < l->context->n_masters; i++) if (l->context->masters[i].operand == operand) return l->context->masters[i].copy;
  return operand;
}

/* What an entry reads of an operand. The copy comes from the param when there is none yet. */
unsigned master_read(const Lower *l, unsigned operand) { return l->scope->first ? operand : master_of(l, operand); }

static bool is_taken(const Module *m, const char *name, const char *external) {
  for (unsigned i = 0; i < m->n_operands; i++) {
    const Operand *o = &m->operands[i];
    if ((name && !strcmp(o->name, name)) || (external && !strcmp(o->external ? o->external : o->name, external))) return true;
  }
  return false;
}

void master_declare(Lower *l, unsigned operand, const Storage *storage) {
  Context *x = l->context;
  Module *m = x->module;
  const char *name = arena_printf(l->arena, "%s_master", m->operands[operand].name);
  if (is_taken(m, name, NULL)) { lower_error(l, storage->where, "the master copy would be called '%s', as another operand is", name); return; }
  const Node *param = graph_node(l->graph, OP_READ, type_arithmetic(m->operands[operand].storage), operand_space_here(l, operand), operand, 0, 0, NULL);
  const char *external = is_taken(m, NULL, "master") ? NULL : "master";
  m->operands = arena_grow(l->arena, m->operands, &x->operands_capacity, m->n_operands + 1, sizeof *m->operands);
  unsigned copy = m->n_operands++;
  m->operands[copy] = m->operands[operand];
  m->operands[copy].name = name;
  m->operands[copy].external = external;
  m->operands[copy].doc = NULL;
  m->operands[copy].role = ROLE_STATE;
  m->operands[copy].storage = x->options->store_f64 ? TYPE_F64 : TYPE_F32;
  x->masters = arena_grow(l->arena, x->masters, &x->masters_capacity, x->n_masters + 1, sizeof *x->masters);
  x->masters[x->n_masters++] = (Master){operand, copy};
  x->firsts = arena_grow(l->arena, x->firsts, &x->firsts_capacity, x->n_firsts + 1, sizeof *x->firsts);
  x->firsts[x->n_firsts++] = (First){.operand = copy, .graph = l->graph, .value = graph_cast(l->graph, type_arithmetic(m->operands[copy].storage), param), .where = storage->where};
}
