/* describe.c: from a module and its programs to the descriptor that the driver reads. */
#include "ir/describe.h"

/* --- what an entry does with its operands ------------------------------------------------------------------------------------ */

/* `always`: touched wherever the block runs. Of an `if`: what both of its blocks touch. */
static void find_uses(const Program *p, const Block *block, Arena *arena, int64_t *uses, bool *always) {
  unsigned n = p->module->n_operands;
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool guarded = inst->n_args > (inst->op == KOP_E_LOAD ? 1u : 2u) && (inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE);
    Touch touch[MAX_TOUCHES] = {{(unsigned)inst->imm, inst->op == KOP_E_SCALAR, inst->op == KOP_E_SET_SCALAR}};
    unsigned touches = touch->read || touch->written ? 1 : inst_touches(inst, touch);
    for (unsigned t = 0; t < touches; t++) {
      if (touch[t].buffer >= n) continue;
      uses[touch[t].buffer] |= (touch[t].read ? USE_READ : 0) | (touch[t].written ? USE_WRITTEN : 0);
      if (!guarded) always[touch[t].buffer] = true;
    }
    if (inst->op == KOP_E_SIZE && operand_is_shaped(&p->module->operands[inst->imm])) uses[inst->imm] |= USE_SIZES;
    if (inst->op == KOP_E_IF) {
      bool *then = arena_array(arena, (size_t)n + 1, sizeof *then), *otherwise = arena_array(arena, (size_t)n + 1, sizeof *otherwise);
      find_uses(p, inst->body, arena, uses, then);
      find_uses(p, inst->otherwise, arena, uses, otherwise);
      for (unsigned k = 0; k < n; k++) always[k] |= then[k] && otherwise[k];
    } else {
      find_uses(p, inst->body, arena, uses, always);
    }
  }
}

const int64_t *describe_uses(const Program *p, Arena *arena) {
  unsigned n = p->module->n_operands;
  int64_t *uses = arena_array(arena, (size_t)n + 1, sizeof *uses);
  bool *always = arena_array(arena, (size_t)n + 1, sizeof *always);
  for (unsigned k = 0; k < p->n_kernels; k++) find_uses(p, p->kernels[k]->body, arena, uses, always);
  for (unsigned k = 0; k < n; k++) {
    if (p->module->operands[k].role == ROLE_OUT) uses[k] &= ~(int64_t)USE_READ;      /* a product that is summed up in it reads what it has written */
    if (uses[k] & USE_TOUCHED && !always[k]) uses[k] |= USE_PREDICATE;
  }
  return uses;
}

static bool of_item(const Module *m, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool operand = inst->op == KOP_E_SIZE || inst->op == KOP_E_PRESENT || inst->op == KOP_E_SCALAR;
    if (inst->op == KOP_E_ITEM || inst->op == KOP_E_COUNT || inst->op == KOP_E_FIRST || (operand && m->operands[inst->imm].scope != SCOPE_GLOBAL)) return true;
    if (of_item(m, inst->body) || of_item(m, inst->otherwise)) return true;
  }
  return false;
}

/* Whether requirements depend on the item. */
static bool checks_items(const Program *p) {
  for (unsigned k = 0; k < p->n_kernels; k++) if (p->kernels[k]->launch == LAUNCH_CHECK && of_item(p->module, p->kernels[k]->body)) return true;
  return false;
}

/* --- phases ------------------------------------------------------------------------------------------------------------------- */

/* Marks, by temporary, what a block loads and stores. */
static void mark_temps(const Program *p, const Block *block, bool *loads, bool *stores) {
  unsigned n = p->module->n_operands;
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Touch touch[MAX_TOUCHES];
    for (unsigned t = 0, touches = inst_touches(inst, touch); t < touches; t++) {
      if (touch[t].buffer < n) continue;
      loads[touch[t].buffer - n] |= touch[t].read;
      stores[touch[t].buffer - n] |= touch[t].written;
    }
    mark_temps(p, inst->body, loads, stores);
    mark_temps(p, inst->otherwise, loads, stores);
  }
}

/* A phase begins where partials are loaded that the one before has stored. A temporary that is used on both sides of a phase's border or of a
 * total is kept. Returns how many phases there are. */
static int64_t find_phases(const Program *p, optc_kernel_desc *kernels, int64_t *kind, Arena *arena) {
  bool *fresh = arena_array(arena, (size_t)p->n_temps + 1, sizeof *fresh);
  int64_t phase = 0, segment = 1, *seen = arena_array(arena, (size_t)p->n_temps + 1, sizeof *seen);
  for (unsigned k = 0; k < p->n_kernels; k++) {
    bool *loads = arena_array(arena, (size_t)p->n_temps + 1, sizeof *loads), *stores = arena_array(arena, (size_t)p->n_temps + 1, sizeof *stores);
    mark_temps(p, p->kernels[k]->body, loads, stores);
    bool border = false;
    for (unsigned i = 0; i < p->n_temps; i++) border |= loads[i] && fresh[i];
    if (border) {
      phase++;
      segment++;
      for (unsigned i = 0; i < p->n_temps; i++) fresh[i] = false;
    }
    segment += p->kernels[k]->launch == LAUNCH_TOTAL;
    kernels[k].phase = phase;
    for (unsigned i = 0; i < p->n_temps; i++) {
      if (stores[i] && p->temps[i].partial) {
        fresh[i] = true;
        kind[i] |= phase << TEMP_PHASE_SHIFT;
      }
      if ((!loads[i] && !stores[i]) || p->temps[i].local) continue;
      if (seen[i] && seen[i] != segment) kind[i] |= TEMP_KEPT;
      seen[i] = segment;
    }
  }
  return phase + 1;
}

int64_t describe_phases(const Program *p, Arena *arena) {
  optc_entry_desc entry;
  describe_program(p, &entry, arena);
  return entry.n_phases;
}

/* Every access to an operand of the item is at the index of a loop that begins with the launch: a shard is as good as the whole. Tiles are of matrices. */
static bool is_flat(const Module *m, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool memory = inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE;
    if (kop_is_tile(inst->op)) return false;
    if (memory && inst->imm < (int64_t)m->n_operands && m->operands[inst->imm].scope == SCOPE_TENSOR) {
      const Inst *index = inst->args[0];
      if (!m->operands[inst->imm].item_shape || index->op != KOP_E_FOR || index->args[0]->op != KOP_E_BEGIN) return false;
    }
    if (!is_flat(m, inst->body) || !is_flat(m, inst->otherwise)) return false;
  }
  return true;
}

/* --- the structs ---------------------------------------------------------------------------------------------------------------- */

optc_kernel_desc *describe_program(const Program *p, optc_entry_desc *entry, Arena *arena) {
  optc_kernel_desc *kernels = arena_array(arena, (size_t)p->n_kernels + 1, sizeof *kernels);
  for (unsigned k = 0; k < p->n_kernels; k++) kernels[k] = (optc_kernel_desc){.name = p->kernels[k]->name, .launch = p->kernels[k]->launch, .space = p->kernels[k]->space};
  int64_t *bytes = arena_array(arena, (size_t)p->n_temps + 1, sizeof *bytes), *kind = arena_array(arena, (size_t)p->n_temps + 1, sizeof *kind);
  for (unsigned k = 0; k < p->n_temps; k++) {
    bytes[k] = type_bytes(p->temps[k].type);
    kind[k] = (p->temps[k].sized ? TEMP_SIZED : 0) | (p->temps[k].call ? TEMP_CALL : 0) | (p->temps[k].partial ? TEMP_PARTIAL : 0) | (p->temps[k].local ? TEMP_LOCAL : 0);
  }
  int64_t n_phases = find_phases(p, kernels, kind, arena);
  bool flat = true;
  for (unsigned k = 0; k < p->n_kernels; k++) flat &= is_flat(p->module, p->kernels[k]->body);
  *entry = (optc_entry_desc){.name = p->entry, .kernels = kernels, .n_kernels = p->n_kernels, .texts = p->texts, .about = p->about, .n_texts = p->n_texts, .uses = describe_uses(p, arena),
    .temp_bytes = bytes, .n_temps = p->n_temps, .equal_hypers = p->equal_hypers, .n_uniforms = p->n_uniforms, .advances = p->advances, .n_slots = p->n_slots,
    .temp_kind = kind, .n_spaces = p->n_spaces, .n_phases = n_phases, .flat = flat, .item_checks = checks_items(p)};
  return kernels;
}

static const optc_hyper_desc *describe_hypers(const Module *m, Arena *arena) {
  optc_hyper_desc *hypers = arena_array(arena, (size_t)m->n_hypers + 1, sizeof *hypers);
  for (unsigned i = 0; i < m->n_hypers; i++) {
    const Hyper *h = &m->hypers[i];
    hypers[i] = (optc_hyper_desc){.name = h->name, .external = h->external, .doc = h->doc, .type = h->type, .has_default = h->has_default, .value = h->value};
  }
  return hypers;
}

static const optc_operand_desc *describe_operands(const Module *m, const Layout *layout, Arena *arena) {
  optc_operand_desc *operands = arena_array(arena, (size_t)m->n_operands + 1, sizeof *operands);
  for (unsigned i = 0; i < m->n_operands; i++) {
    const Operand *o = &m->operands[i];
    operands[i] = (optc_operand_desc){.name = o->name, .external = o->external, .doc = o->doc, .type_name = type_name(o->storage), .role = o->role, .scope = o->scope,
      .type = o->storage, .bytes = type_bytes(o->storage), .optional = o->optional, .item_shape = o->item_shape, .offset = layout->operand[i], .entry = o->entry,
      .tensor = operand_is_tensor(o), .shaped = operand_is_shaped(o), .rank = o->shape ? o->shape->rank : 0, .shape = operand_shape_text(m, o, arena),
      .any_rank = o->any_rank, .dots_at = o->dots.at, .dots_first = o->dots.first, .dots_others = o->dots.others, .has_default = o->has_default, .value = o->value};
  }
  return operands;
}

optc_rule_desc *describe_rule(const Module *m, const optc_entry_desc *entries, unsigned n_entries, Arena *arena) {
  const Layout *l = layout_in(m, arena);
  optc_rule_desc *rule = arena_alloc(arena, sizeof *rule);
  *rule = (optc_rule_desc){.version = OPTC_DESC_VERSION, .name = m->name, .doc = m->doc, .hypers = describe_hypers(m, arena), .n_hypers = m->n_hypers,
    .operands = describe_operands(m, l, arena), .n_operands = m->n_operands, .entries = entries, .n_entries = n_entries, .hyper_size = l->hyper_size,
    .item_size = l->item_size, .global_size = l->global_size, .item_group = l->item_group, .item_rank = l->item_rank, .item_shape = l->item_shape,
    .item_first = l->item_first, .item_count = l->item_count};
  return rule;
}
