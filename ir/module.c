/* module.c: names of roles and scopes, and where each declaration lies in the call structs. */
#include <string.h>
#include "ir/graph.h"

Type type_arithmetic(Type storage) {
  switch (type_kind(storage)) {
    case KIND_BOOL: return TYPE_BOOL;
    case KIND_INT: return TYPE_I64;
    default: return storage == TYPE_F64 ? TYPE_F64 : TYPE_F32;
  }
}

const char *role_name(Role r) {
  static const char *const names[] = {[ROLE_PARAM] = "param", [ROLE_GRAD] = "grad", [ROLE_IN] = "in", [ROLE_OUT] = "out", [ROLE_INOUT] = "inout", [ROLE_STATE] = "state"};
  return (unsigned)r < sizeof names / sizeof *names ? names[r] : "?";
}

const char *scope_name(Scope s) {
  static const char *const names[] = {[SCOPE_TENSOR] = "tensor", [SCOPE_SCALAR] = "scalar", [SCOPE_GLOBAL] = "global"};
  return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

const Graph *module_graph(const Module *m, const char *entry) {
  for (unsigned i = 0; i < m->n_graphs; i++)
    if (!strcmp(m->graphs[i]->name, entry)) return m->graphs[i];
  return NULL;
}

static bool is_one_of(const char *name, const char *const *names, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(name, names[i])) return true;
  return false;
}

/* What the object and the header call R_<name>; but for R_layout, which stands for the entry behind it. */
bool interface_has_name(const char *name) {
  static const char *const names[] = {"workspace_size", "check", "phase", "partials", "phases", "rule", "table", "chosen", "gpu", "call", "item", "global", "hyper", "N_STATES", "HYPER_DEFAULTS",
                                      "call_has_its_size", "item_has_its_size", "global_has_its_size", "hyper_has_its_size", "abi_reference"};
  return is_one_of(name, names, sizeof names/sizeof *names);
}

bool entry_is_made(const char *name) {
  static const char *const names[] = {"init", "layout", "step", "forward"};
  return is_one_of(name, names, sizeof names/sizeof *names);
}

/* A rank of 0 (`loss[]`) is a tensor of one element. */
bool operand_may_be_absent(const Operand *o) { return o->optional || o->role == ROLE_OUT; }
Type operand_field_type(const Operand *o) { return type_kind(o->storage) == KIND_FLOAT ? TYPE_F64 : type_kind(o->storage) == KIND_INT ? TYPE_I64 : TYPE_BOOL; }
bool operand_is_tensor(const Operand *o) { return o->scope == SCOPE_TENSOR || (o->scope == SCOPE_GLOBAL && o->shape); }
bool operand_is_shaped(const Operand *o) { return operand_is_tensor(o) && o->shape && o->role != ROLE_STATE; }

/* An extent that nothing was written for: a number, a size called after the first tensor that has it, or "?". */
const char *operand_shape_text(const Module *m, const Operand *o, Arena *arena) {
  if (o->shape_text || !o->shape || !operand_is_tensor(o)) return operand_is_tensor(o) ? o->shape_text : NULL;
  Text text = {.arena = arena};
  text_add(&text, "[");
  for (unsigned a = 0; a < o->shape->rank; a++) {
    const Node *n = o->shape->extent[a];
    if (a) text_add(&text, ", ");
    if (n->op == OP_CONST) text_add(&text, "%lld", (long long)(int64_t)n->imm);
    else if (n->op == OP_SIZE && n->aux >= 0) text_add(&text, "%s%d", m->operands[n->imm].name, n->aux);
    else text_add(&text, "?");
  }
  text_add(&text, "]");
  return text.data;
}

/* R_item:   tensors and numbers of the item in order of declaration, then group, rank, shape, first, count.
 * R_global: t, seed, then the global operands. 8 bytes a number; a tensor 16 (optc_tensor), 32 where its shape is the caller's (optc_shaped). */
const Layout *layout_in(const Module *m, Arena *arena) {
  Layout *l = arena_alloc(arena, sizeof *l);
  l->operand = arena_array(arena, m->n_operands, sizeof *l->operand);
  unsigned item = 0, global = 16;
  for (unsigned i = 0; i < m->n_operands; i++) {
    const Operand *o = &m->operands[i];
    unsigned *end = o->scope == SCOPE_GLOBAL ? &global : &item;
    l->operand[i] = *end;
    *end += operand_is_shaped(o) ? 32 : operand_is_tensor(o) ? 16 : 8;
  }
  l->item_group = item;
  l->item_rank = item + 8;
  l->item_shape = item + 16;
  l->item_first = item + 24;
  l->item_count = item + 32;
  l->item_size = item + 40;
  l->hyper_size = 8 * m->n_hypers;
  l->global_size = global;
  return l;
}

const Layout *layout_of(const Module *m) { return layout_in(m, m->arena); }
