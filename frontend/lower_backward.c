/* lower_backward.c: `backward wrt Q, K saving O`: which gradients the rule gives, and the operands that carry them. */
#include <string.h>
#include "frontend/statements.h"

static bool is_real(Type t) { return type_kind(t) == KIND_FLOAT; }

static const char *written_type(Type t) { return t == TYPE_I64 ? "int" : type_name(t); }

/* d<name>: the shape of what it belongs to, f32. */
static unsigned gradient_operand(Lower *l, const char *name, const Operand *of, Role role, Range where) {
  Module *m = l->context->module;
  Operand made = {.name = arena_printf(l->arena, "d%s", name), .role = role, .scope = of ? of->scope : SCOPE_TENSOR, .storage = of && of->storage == TYPE_F64 ? TYPE_F64 : TYPE_F32,
                  .optional = role == ROLE_IN, .entry = "backward", .item_shape = of && of->item_shape, .shape = of ? of->shape : NULL,
                  .shape_text = of ? of->shape_text : "[]", .any_rank = of && of->any_rank, .where = where};
  if (!of) {                                                              /* of a hyper-parameter: one number */
    if (!m->shapes) m->shapes = graph_new(m, "shapes");
    made.shape = graph_space(m->shapes, 0, NULL);
  }
  if (of && of->external) made.external = arena_printf(l->arena, "d%s", of->external);
  for (unsigned i = 0; i < m->n_operands; i++)
    if (!strcmp(m->operands[i].name, made.name)) lower_error(l, where, "'%s' is the gradient of '%s' and cannot be a name", made.name, name);
  m->operands = arena_grow(l->arena, m->operands, &l->context->operands_capacity, m->n_operands + 1, sizeof *m->operands);
  m->operands[m->n_operands] = made;
  return m->n_operands++;
}

static int find_operand(const Module *m, const char *name) {
  for (unsigned i = 0; i < m->n_operands; i++) if (!m->operands[i].entry && !strcmp(m->operands[i].name, name)) return (int)i;
  return -1;
}

static int find_hyper(const Module *m, const char *name) {
  for (unsigned i = 0; i < m->n_hypers; i++) if (!strcmp(m->hypers[i].name, name)) return (int)i;
  return -1;
}

static void unknown(Lower *l, const Name *name, const char *what) {
  name_value(l, name->text, name->where, false);                          /* reports a name that means nothing */
  if (scope_find(l->scope->names, name->text)) lower_error(l, name->where, "'%s' is not %s", name->text, what);
}

void lower_backward(Lower *l, const Stmt *s) {
  Module *m = l->context->module;
  Range where = {s->where.source, s->where.begin, s->where.begin + (uint32_t)strlen("backward")};
  if (l->context->has_step) { lower_error(l, where, "'backward' is for rules without param and state"); return; }
  if (m->backward) { lower_error(l, where, "'backward' is declared twice"); return; }
  Backward *b = m->backward = arena_alloc(l->arena, sizeof *b);
  b->where = s->where;
  b->wrt = arena_array(l->arena, s->wrt.n, sizeof *b->wrt);
  b->saving = arena_array(l->arena, s->saving.n, sizeof *b->saving);
  b->seeds = arena_array(l->arena, m->n_operands, sizeof *b->seeds);
  for (unsigned i = 0; i < s->saving.n; i++) {
    int k = find_operand(m, s->saving.at[i].text);
    if (k < 0 || m->operands[k].role != ROLE_OUT) { unknown(l, &s->saving.at[i], "an out of this rule: only outputs are saved"); continue; }
    b->saving[b->n_saving++] = (unsigned)k;
  }
  unsigned declared = m->n_operands;
  for (unsigned k = 0; k < declared; k++) {
    const Operand *o = &m->operands[k];
    if (o->role != ROLE_OUT || o->entry || !is_real(o->storage)) continue;
    unsigned gradient = gradient_operand(l, o->name, o, ROLE_IN, where);
    b->seeds[b->n_seeds++] = (BackwardSeed){k, gradient};
  }
  for (unsigned i = 0; i < s->wrt.n; i++) {
    const Name *name = &s->wrt.at[i];
    int k = find_operand(m, name->text), h = k < 0 ? find_hyper(m, name->text) : -1;
    for (unsigned j = 0; j < i; j++) if (!strcmp(s->wrt.at[j].text, name->text)) lower_error(l, name->where, "'%s' is given twice", name->text);
    if (k < 0 && h < 0) { unknown(l, name, "an input or a hyper-parameter: it has no gradient of its own"); continue; }
    if (k >= 0 && m->operands[k].role != ROLE_IN && m->operands[k].role != ROLE_INOUT) { lower_error(l, name->where, "'%s' is not an input", name->text); continue; }
    Type type = k >= 0 ? m->operands[k].storage : m->hypers[h].type;
    if (!is_real(type)) { lower_error(l, name->where, "cannot differentiate with respect to '%s': %s", name->text, written_type(type)); continue; }
    unsigned gradient = gradient_operand(l, name->text, k >= 0 ? &m->operands[k] : NULL, ROLE_OUT, name->where);
    b->wrt[b->n_wrt++] = (BackwardWrt){k < 0, (unsigned)(k < 0 ? h : k), gradient};
  }
}
