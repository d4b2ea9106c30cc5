/* emit_descriptor.c: the table `<rule>_rule` of ir/frame.h as constant data. */
#include <assert.h>
#include <string.h>
#include "backends/emit.h"
#include "ir/graph.h"

/* A row or list of tables: every field is a pointer or eight bytes. */
typedef struct Table { Emitter *e; LLVMValueRef *field; size_t n, capacity; } Table;

static void add(Table *t, LLVMValueRef x) {
  t->field = arena_grow(t->e->arena, t->field, &t->capacity, t->n + 1, sizeof *t->field);
  t->field[t->n++] = x;
}
static void add_number(Table *t, int64_t n) { add(t, LLVMConstInt(t->e->i64, (uint64_t)n, 0)); }
static LLVMValueRef null(const Emitter *e) { return LLVMConstPointerNull(e->pointer); }

static LLVMValueRef constant(Emitter *e, const char *name, LLVMValueRef init, bool local) {
  LLVMValueRef g = LLVMAddGlobal(e->llvm, LLVMTypeOf(init), name);
  LLVMSetInitializer(g, init);
  LLVMSetGlobalConstant(g, 1);
  if (local) {
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
  }
  return g;
}

static LLVMValueRef text(Emitter *e, const char *s) {
  if (!s) return null(e);
  return constant(e, "", LLVMConstStringInContext2(e->context, s, strlen(s), 0), true);
}
static void add_text(Table *t, const char *s) { add(t, text(t->e, s)); }

/* The table, with as many fields as `bytes` of structs of ir/frame.h have. */
static LLVMValueRef finish(Table *t, size_t bytes) {
  assert(t->n * 8 == bytes);
  (void)bytes;
  if (!t->n) return null(t->e);
  LLVMValueRef g = constant(t->e, "", LLVMConstStructInContext(t->e->context, t->field, (unsigned)t->n, 0), true);
  LLVMSetAlignment(g, 8);
  return g;
}

/* --- what an entry does with its operands ------------------------------------------------------------------------------------ */

enum { USE_READ = 1, USE_WRITTEN = 2, USE_PREDICATE = 4, USE_SIZES = 8 };

/* `always`: touched wherever the block runs. Of an `if`: what both of its blocks touch. */
static void find_uses(const Program *p, const Block *block, int64_t *uses, bool *always) {
  unsigned n = p->module->n_operands;
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool load = inst->op == KOP_E_LOAD, store = inst->op == KOP_E_STORE;
    if ((load || store || inst->op == KOP_E_SCALAR || inst->op == KOP_E_SET_SCALAR) && inst->imm < (int64_t)n) {
      uses[inst->imm] |= load || inst->op == KOP_E_SCALAR ? USE_READ : USE_WRITTEN;
      if (inst->n_args <= (load ? 1u : 2u)) always[inst->imm] = true;
    }
    if (inst->op == KOP_E_SIZE && operand_is_shaped(&p->module->operands[inst->imm])) uses[inst->imm] |= USE_SIZES;
    if (inst->op == KOP_E_IF) {
      bool *then = arena_array(p->arena, (size_t)n + 1, sizeof *then), *otherwise = arena_array(p->arena, (size_t)n + 1, sizeof *otherwise);
      find_uses(p, inst->body, uses, then);
      find_uses(p, inst->otherwise, uses, otherwise);
      for (unsigned k = 0; k < n; k++) always[k] |= then[k] && otherwise[k];
    } else {
      find_uses(p, inst->body, uses, always);
    }
  }
}

void backend_uses(const Program *p, int64_t *uses) {
  unsigned n = p->module->n_operands;
  bool *always = arena_array(p->arena, (size_t)n + 1, sizeof *always);
  for (unsigned k = 0; k < n; k++) uses[k] = 0;
  for (unsigned k = 0; k < p->n_kernels; k++) find_uses(p, p->kernels[k]->body, uses, always);
  for (unsigned k = 0; k < n; k++) if (uses[k] & (USE_READ | USE_WRITTEN) && !always[k]) uses[k] |= USE_PREDICATE;
}

static bool of_item(const Module *m, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool operand = inst->op == KOP_E_SIZE || inst->op == KOP_E_PRESENT || inst->op == KOP_E_SCALAR;
    if (inst->op == KOP_E_ITEM || inst->op == KOP_E_COUNT || (operand && m->operands[inst->imm].scope != SCOPE_GLOBAL)) return true;
    if (of_item(m, inst->body) || of_item(m, inst->otherwise)) return true;
  }
  return false;
}

bool backend_checks_items(const Program *p) {
  for (unsigned k = 0; k < p->n_kernels; k++) if (p->kernels[k]->launch == LAUNCH_CHECK && of_item(p->module, p->kernels[k]->body)) return true;
  return false;
}

/* --- the table ------------------------------------------------------------------------------------------------------------------ */

static LLVMValueRef hypers(Emitter *e) {
  Table t = {.e = e};
  for (unsigned i = 0; i < e->module->n_hypers; i++) {
    const Hyper *h = &e->module->hypers[i];
    add_text(&t, h->name);
    add_text(&t, h->external);
    add_text(&t, h->doc);
    add_number(&t, h->type);
    add_number(&t, h->has_default);
    add_number(&t, (int64_t)h->value);
  }
  return finish(&t, e->module->n_hypers * sizeof(optc_hyper_desc));
}

static LLVMValueRef operands(Emitter *e) {
  Table t = {.e = e};
  for (unsigned i = 0; i < e->module->n_operands; i++) {
    const Operand *o = &e->module->operands[i];
    add_text(&t, o->name);
    add_text(&t, o->external);
    add_text(&t, o->doc);
    add_text(&t, type_name(o->storage));
    add_number(&t, o->role);
    add_number(&t, o->scope);
    add_number(&t, o->storage);
    add_number(&t, type_bytes(o->storage));
    add_number(&t, o->optional);
    add_number(&t, o->item_shape);
    add_number(&t, e->layout->operand[i]);
    add_text(&t, o->entry);
    add_number(&t, operand_is_tensor(o));
    add_number(&t, operand_is_shaped(o));
    add_number(&t, o->shape ? o->shape->rank : 0);
    add_text(&t, operand_shape_text(e->module, o, e->arena));
    add_number(&t, o->any_rank);
    add_number(&t, o->has_default);
    add_number(&t, (int64_t)o->value);
  }
  return finish(&t, e->module->n_operands * sizeof(optc_operand_desc));
}

static LLVMValueRef kernels(Emitter *e, const Program *p, LLVMValueRef **fns, unsigned n_variants) {
  Table t = {.e = e};
  for (unsigned k = 0; k < p->n_kernels; k++) {
    add_text(&t, p->kernels[k]->name);
    add_number(&t, p->kernels[k]->launch);
    for (unsigned v = 0; v < OPTC_MAX_VARIANTS; v++) add(&t, v < n_variants ? *(*fns)++ : null(e));
    add(&t, null(e));
  }
  return finish(&t, p->n_kernels * sizeof(optc_kernel_desc));
}

static LLVMValueRef entries(Emitter *e, Program *const *programs, unsigned n, LLVMValueRef *fns, unsigned n_variants) {
  Table t = {.e = e};
  for (unsigned i = 0; i < n; i++) {
    const Program *p = programs[i];
    Table texts = {.e = e}, reads = {.e = e}, temps = {.e = e}, kinds = {.e = e};
    for (unsigned k = 0; k < p->n_texts; k++) add_text(&texts, p->texts[k]);
    int64_t *uses = arena_array(e->arena, (size_t)e->module->n_operands + 1, sizeof *uses);
    backend_uses(p, uses);
    for (unsigned k = 0; k < e->module->n_operands; k++) add_number(&reads, uses[k]);
    for (unsigned k = 0; k < p->n_temps; k++) {
      add_number(&temps, type_bytes(p->temps[k].type));
      add_number(&kinds, p->temps[k].sized | p->temps[k].call << 1);
    }
    add_text(&t, p->entry);
    add(&t, kernels(e, p, &fns, n_variants));
    add_number(&t, p->n_kernels);
    add(&t, finish(&texts, p->n_texts * sizeof(char *)));
    add_number(&t, p->n_texts);
    add(&t, finish(&reads, e->module->n_operands * sizeof(int64_t)));
    add(&t, finish(&temps, p->n_temps * sizeof(int64_t)));
    add_number(&t, p->n_temps);
    add_number(&t, (int64_t)p->equal_hypers);
    add_number(&t, p->n_uniforms);
    add_number(&t, p->advances);
    add_number(&t, p->n_slots);
    add(&t, finish(&kinds, p->n_temps * sizeof(int64_t)));
    add_number(&t, backend_checks_items(p));
  }
  return finish(&t, n * sizeof(optc_entry_desc));
}

void emit_descriptor(Emitter *e, Program *const *programs, unsigned n, LLVMValueRef *fns) {
  unsigned n_variants = e->target->n_cpus ? e->target->n_cpus : 1;
  const Layout *l = e->layout;
  Table t = {.e = e}, needs = {.e = e};
  for (unsigned v = 0; v < n_variants; v++) add_number(&needs, e->machine[v].isa);
  add_number(&t, OPTC_DESC_VERSION);
  add_text(&t, e->module->name);
  add_text(&t, e->module->doc);
  add(&t, hypers(e));
  add_number(&t, e->module->n_hypers);
  add(&t, operands(e));
  add_number(&t, e->module->n_operands);
  add(&t, entries(e, programs, n, fns, n_variants));
  add_number(&t, n);
  const int64_t numbers[] = {l->hyper_size, l->item_size, l->global_size, l->item_group, l->item_rank, l->item_shape, l->item_first, l->item_count, n_variants};
  for (unsigned i = 0; i < sizeof numbers/sizeof *numbers; i++) add_number(&t, numbers[i]);
  add(&t, finish(&needs, n_variants * sizeof(int64_t)));
  assert(t.n * 8 == sizeof(optc_rule_desc));
  /* Our own functions use the table by a local name; the public one is an alias, so that they need no global offset table. */
  LLVMValueRef table = constant(e, arena_printf(e->arena, "%s_table", e->module->name), LLVMConstStructInContext(e->context, t.field, (unsigned)t.n, 0), true);
  LLVMSetLinkage(table, LLVMInternalLinkage);
  LLVMSetAlignment(table, 8);
  LLVMAddAlias2(e->llvm, LLVMGlobalGetValueType(table), 0, table, arena_printf(e->arena, "%s_rule", e->module->name));
}
