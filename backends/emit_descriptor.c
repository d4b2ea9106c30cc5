/* emit_descriptor.c: the table `<rule>_rule` of ir/frame.h as constant data, and the functions of the C interface, which call the driver. */
#include <string.h>
#include "backends/emit.h"

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

static LLVMValueRef finish(Table *t) {
  if (!t->n) return null(t->e);
  LLVMValueRef g = constant(t->e, "", LLVMConstStructInContext(t->e->context, t->field, (unsigned)t->n, 0), true);
  LLVMSetAlignment(g, 8);
  return g;
}

/* --- what an entry does with its operands ------------------------------------------------------------------------------------ */

enum { USE_READ = 1, USE_WRITTEN = 2, USE_PREDICATE = 4 };

static void find_uses(const Block *block, unsigned n_operands, int64_t *uses, bool *always) {
  for (unsigned i = 0; i < block->n; i++) {
    const Inst *inst = block->insts[i];
    bool load = inst->op == KOP_E_LOAD, store = inst->op == KOP_E_STORE;
    if ((load || store || inst->op == KOP_E_SCALAR || inst->op == KOP_E_SET_SCALAR) && inst->imm < (int64_t)n_operands) {
      uses[inst->imm] |= load || inst->op == KOP_E_SCALAR ? USE_READ : USE_WRITTEN;
      if (inst->n_args <= (load ? 1u : 2u)) always[inst->imm] = true;
    }
    if (inst->body) find_uses(inst->body, n_operands, uses, always);
    if (inst->otherwise) find_uses(inst->otherwise, n_operands, uses, always);
  }
}

void backend_uses(const Program *p, int64_t *uses) {
  unsigned n = p->module->n_operands;
  bool *always = arena_array(p->arena, (size_t)n + 1, sizeof *always);
  for (unsigned k = 0; k < n; k++) uses[k] = 0;
  for (unsigned k = 0; k < p->n_kernels; k++) find_uses(p->kernels[k]->body, n, uses, always);
  for (unsigned k = 0; k < n; k++) if (uses[k] && !always[k]) uses[k] |= USE_PREDICATE;
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
  return finish(&t);
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
  }
  return finish(&t);
}

static LLVMValueRef kernels(Emitter *e, const Program *p, LLVMValueRef **fns, unsigned n_variants) {
  Table t = {.e = e};
  for (unsigned k = 0; k < p->n_kernels; k++) {
    add_text(&t, p->kernels[k]->name);
    add_number(&t, p->kernels[k]->launch);
    for (unsigned v = 0; v < OPTC_MAX_VARIANTS; v++) add(&t, v < n_variants ? *(*fns)++ : null(e));
    add(&t, null(e));
  }
  return finish(&t);
}

static LLVMValueRef entries(Emitter *e, Program *const *programs, unsigned n, LLVMValueRef *fns, unsigned n_variants) {
  Table t = {.e = e};
  for (unsigned i = 0; i < n; i++) {
    const Program *p = programs[i];
    Table texts = {.e = e}, reads = {.e = e}, temps = {.e = e};
    for (unsigned k = 0; k < p->n_texts; k++) add_text(&texts, p->texts[k]);
    int64_t *uses = arena_array(e->arena, (size_t)e->module->n_operands + 1, sizeof *uses);
    backend_uses(p, uses);
    for (unsigned k = 0; k < e->module->n_operands; k++) add_number(&reads, uses[k]);
    for (unsigned k = 0; k < p->n_temps; k++) add_number(&temps, type_bytes(p->temps[k].type));
    add_text(&t, p->entry);
    add(&t, kernels(e, p, &fns, n_variants));
    add_number(&t, p->n_kernels);
    add(&t, finish(&texts));
    add_number(&t, p->n_texts);
    add(&t, finish(&reads));
    add(&t, finish(&temps));
    add_number(&t, p->n_temps);
    add_number(&t, (int64_t)p->equal_hypers);
    add_number(&t, p->n_uniforms);
    add_number(&t, p->advances);
  }
  return finish(&t);
}

/* --- the C interface -------------------------------------------------------------------------------------------------------------- */

typedef struct Interface { Emitter *e; LLVMValueRef rule, chosen; } Interface;

/* A declaration of a function of the driver. */
static LLVMValueRef driver(Emitter *e, const char *name, LLVMTypeRef type) {
  LLVMValueRef f = LLVMGetNamedFunction(e->llvm, name);
  if (f) return f;
  f = LLVMAddFunction(e->llvm, name, type);
  LLVMSetVisibility(f, LLVMHiddenVisibility);
  return f;
}

static LLVMValueRef open_function(Emitter *e, const char *name, LLVMTypeRef result, LLVMTypeRef *params, unsigned n) {
  LLVMValueRef f = LLVMAddFunction(e->llvm, arena_printf(e->arena, "%s_%s", e->module->name, name), LLVMFunctionType(result, params, n, 0));
  LLVMAddAttributeAtIndex(f, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(e->context, LLVMGetEnumAttributeKindForName("nounwind", 8), 0));
  e->fn = f;
  LLVMPositionBuilderAtEnd(e->b, emit_new_block(e));
  return f;
}

/* result name(params) { return callee(args); } */
static void forward(Interface *t, const char *name, LLVMTypeRef result, LLVMTypeRef *params, unsigned n_params, const char *callee, LLVMValueRef *args, unsigned n) {
  Emitter *e = t->e;
  LLVMTypeRef types[5];
  for (unsigned k = 0; k < n; k++) types[k] = args[k] ? LLVMTypeOf(args[k]) : params[0];
  LLVMValueRef f = open_function(e, name, result, params, n_params);
  for (unsigned k = 0, p = 0; k < n; k++) if (!args[k]) args[k] = LLVMGetParam(f, p++);
  LLVMTypeRef type = LLVMFunctionType(result, types, n, 0);
  LLVMValueRef call = LLVMBuildCall2(e->b, type, driver(e, callee, type), args, n, "");
  LLVMSetTailCall(call, 1);
  LLVMBuildRet(e->b, call);
}

static void phases(Interface *t, unsigned main_entry) {
  Emitter *e = t->e;
  constant(e, arena_printf(e->arena, "%s_phases", e->module->name), LLVMConstInt(e->i32, 1, 0), false);
  LLVMTypeRef params[2] = {e->i32, e->pointer}, types[4] = {e->pointer, e->i64, e->pointer, e->pointer};
  LLVMValueRef f = open_function(e, "phase", e->i32, params, 2);
  LLVMBasicBlockRef first = emit_new_block(e), other = emit_new_block(e);
  LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, LLVMGetParam(f, 0), ""), first, other);
  LLVMPositionBuilderAtEnd(e->b, first);
  LLVMTypeRef type = LLVMFunctionType(e->i32, types, 4, 0);
  LLVMValueRef args[4] = {t->rule, LLVMConstInt(e->i64, main_entry, 0), LLVMGetParam(f, 1), t->chosen};
  LLVMBuildRet(e->b, LLVMBuildCall2(e->b, type, driver(e, "optc_drive", type), args, 4, ""));
  LLVMPositionBuilderAtEnd(e->b, other);
  LLVMBuildRet(e->b, LLVMConstInt(e->i32, OPTC_E_SHAPE, 0));
}

extern const char backend_driver_x86_64[], backend_driver_aarch64[];             /* embed.S */

static void interface(Interface *t, Program *const *programs, unsigned n) {
  Emitter *e = t->e;
  const char *code = e->machine->arch == ARCH_X86_64 ? backend_driver_x86_64 : backend_driver_aarch64;
  LLVMSetModuleInlineAsm2(e->llvm, code, strlen(code));
  t->chosen = LLVMAddGlobal(e->llvm, e->i32, arena_printf(e->arena, "%s_chosen", e->module->name));
  LLVMSetInitializer(t->chosen, LLVMConstInt(e->i32, 0, 0));
  LLVMSetLinkage(t->chosen, LLVMInternalLinkage);
  LLVMTypeRef call[3] = {e->pointer, e->i64, e->pointer};
  unsigned main_entry = 0;
  for (unsigned i = 0; i < n; i++) {
    const char *name = programs[i]->entry;
    if (!strcmp(name, "layout")) continue;
    if (!strcmp(name, "step") || !strcmp(name, "forward")) main_entry = i;
    LLVMValueRef args[4] = {t->rule, LLVMConstInt(e->i64, i, 0), NULL, t->chosen};
    forward(t, name, e->i32, call, 1, "optc_drive", args, 4);
  }
  forward(t, "workspace_size", e->i64, call, 1, "optc_drive_workspace", (LLVMValueRef[]){t->rule, NULL}, 2);
  forward(t, "check", e->i32, call, 1, "optc_drive_check", (LLVMValueRef[]){t->rule, NULL}, 2);
  /* Parameters keep their order: rule, call, item, out, chosen. */
  LLVMTypeRef types[5] = {e->pointer, e->pointer, e->i64, e->pointer, e->pointer}, type = LLVMFunctionType(e->i32, types, 5, 0);
  LLVMValueRef f = open_function(e, "layout", e->i32, call, 3);
  LLVMValueRef args[5] = {t->rule, LLVMGetParam(f, 0), LLVMGetParam(f, 1), LLVMGetParam(f, 2), t->chosen};
  LLVMBuildRet(e->b, LLVMBuildCall2(e->b, type, driver(e, "optc_drive_layout", type), args, 5, ""));
  phases(t, main_entry);
  constant(e, arena_printf(e->arena, "%s_abi_%016llx", e->module->name, (unsigned long long)backend_abi_hash(e->module)), LLVMConstInt(e->i8, 1, 0), false);
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
  add(&t, finish(&needs));
  /* Our own functions use the table itself: the public name is another one for it, so that they need no global offset table. */
  Interface made = {.e = e, .rule = finish(&t)};
  LLVMAddAlias2(e->llvm, LLVMGlobalGetValueType(made.rule), 0, made.rule, arena_printf(e->arena, "%s_rule", e->module->name));
  if (e->target->with_driver) interface(&made, programs, n);
}
