/* emit_kernel.c: one kernel becomes one function `void f(optc_frame *)`: frame fields, memory, control flow. */
#include "backends/emit.h"
#include <stddef.h>
#include <string.h>

enum { PTX_KERNEL = 71, GLOBAL_SPACE = 1 };            /* LLVM's numbers of the calling convention, of the address space */

#define FRAME(name) (offsetof(optc_frame, name))

LLVMBasicBlockRef emit_new_block(const Emitter *e) { return LLVMAppendBasicBlockInContext(e->context, e->fn, ""); }

static LLVMValueRef at(const Emitter *e, LLVMBuilderRef b, LLVMValueRef base, uint64_t offset) {
  if (!offset) return base;
  LLVMValueRef k = LLVMConstInt(e->i64, offset, 0);
  return LLVMBuildInBoundsGEP2(b, e->i8, base, &k, 1, "");
}

static LLVMValueRef field(Emitter *, size_t offset, LLVMTypeRef);

/* t and seed, on a GPU: where the call has them, in device memory, so that steps may be launched again with the same frames. */
static LLVMValueRef call_field(Emitter *e, size_t offset) {
  LLVMValueRef x = LLVMBuildLoad2(e->entry, e->i64, at(e, e->entry, field(e, FRAME(global), e->pointer), offset == FRAME(t) ? 0 : 8), "");
  return offset == FRAME(t) ? LLVMBuildAdd(e->entry, x, LLVMConstInt(e->i64, e->program->advances, 0), "") : x;
}

/* A field of the frame, read once in the first block. */
static LLVMValueRef field(Emitter *e, size_t offset, LLVMTypeRef type) {
  LLVMValueRef *known = &e->field[offset/8];
  if (!*known && e->variant->arch == ARCH_NVPTX && (offset == FRAME(t) || offset == FRAME(seed))) *known = call_field(e, offset);
  if (!*known) *known = LLVMBuildLoad2(e->entry, type, at(e, e->entry, e->frame, offset), "");
  return *known;
}
_Static_assert(FRAME(trip)/8 + OPTC_MAX_REPEATS <= FIELD_COUNT, "fields that are cached");

/* Stands in the function's first block, wherever it is asked for: one place a call. */
LLVMValueRef emit_stack(Emitter *e, LLVMTypeRef type, uint64_t elements) {
  LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b), first = LLVMGetEntryBasicBlock(e->fn);
  LLVMValueRef before = LLVMGetFirstInstruction(first);
  if (before) LLVMPositionBuilderBefore(e->b, before);
  else LLVMPositionBuilderAtEnd(e->b, first);
  LLVMValueRef place = LLVMBuildAlloca(e->b, LLVMArrayType2(type, elements), "");
  LLVMSetAlignment(place, 64);
  LLVMPositionBuilderAtEnd(e->b, here);
  return place;
}

static LLVMValueRef data_pointer(Emitter *e, int64_t buffer) {
  LLVMValueRef *known = &e->data[buffer];
  const Buffer *temp = buffer < (int64_t)e->module->n_operands ? NULL : &e->program->temps[buffer - e->module->n_operands];
  if (!*known && temp && temp->local) {
    *known = e->map ? emit_gpu_local(e, (unsigned)(buffer - e->module->n_operands)) : emit_stack(e, emit_memory_type(e, temp->type), buffer_elements(temp, e->variant->tile_rows));
  } else if (!*known) {
    LLVMValueRef table = field(e, FRAME(data), e->pointer);
    *known = LLVMBuildLoad2(e->entry, e->pointer, at(e, e->entry, table, 8*(uint64_t)buffer), "");
    if (e->map) *known = LLVMBuildAddrSpaceCast(e->entry, *known, LLVMPointerTypeInContext(e->context, GLOBAL_SPACE), "");
  }
  return *known;
}

/* --- memory ------------------------------------------------------------------------------------------------------------------ */

LLVMTypeRef emit_memory_type(const Emitter *e, Type type) { return type == TYPE_BOOL ? e->i8 : e->type[type]; }

LLVMValueRef emit_from_memory(const Emitter *e, Type type, LLVMValueRef x, unsigned lanes) {
  return type == TYPE_BOOL ? LLVMBuildICmp(e->b, LLVMIntNE, x, LLVMConstNull(LLVMTypeOf(x)), "") : x;
}

LLVMValueRef emit_to_memory(const Emitter *e, Type type, LLVMValueRef x, unsigned lanes) {
  return type == TYPE_BOOL ? LLVMBuildZExt(e->b, x, lanes == 1 ? e->i8 : LLVMVectorType(e->i8, lanes), "") : x;
}

LLVMValueRef emit_address(Emitter *e, int64_t buffer, LLVMValueRef index) {
  return LLVMBuildInBoundsGEP2(e->b, emit_memory_type(e, program_buffer_type(e->program, (unsigned)buffer)), data_pointer(e, buffer), &index, 1, "");
}

bool emit_is_optional(const Emitter *e, int64_t buffer) { return buffer < (int64_t)e->module->n_operands && e->module->operands[buffer].optional; }

void emit_prefetch(const Emitter *e, LLVMValueRef pointer, bool written, unsigned cache) {
  if (e->variant->arch == ARCH_NVPTX) return;
  LLVMTypeRef type = e->pointer;
  LLVMValueRef args[4] = {pointer, LLVMConstInt(e->i32, written, 0), LLVMConstInt(e->i32, 4 - cache, 0), LLVMConstInt(e->i32, 1, 0)};
  emit_intrinsic(e, "llvm.prefetch", &type, 1, args, 4);
}

LLVMValueRef emit_presence(Emitter *e, int64_t buffer, LLVMValueRef guard) {
  if (!emit_is_optional(e, buffer)) return guard;
  LLVMValueRef present = LLVMBuildIsNotNull(e->b, data_pointer(e, buffer), "");
  return guard ? LLVMBuildAnd(e->b, guard, present, "") : present;
}

/* Eight bytes of a call struct, a slot: f64, i64, or a bool as a whole word. f32 and i32 stand in the low half of a slot. */
static LLVMValueRef load_word(Emitter *e, Type type, LLVMValueRef place) {
  if (type != TYPE_BOOL) return LLVMBuildLoad2(e->b, e->type[type], place, "");
  return LLVMBuildIsNotNull(e->b, LLVMBuildLoad2(e->b, e->i64, place, ""), "");
}

static void store_word(Emitter *e, Type type, LLVMValueRef x, LLVMValueRef place) {
  if (type == TYPE_F32) x = LLVMBuildBitCast(e->b, x, e->i32, "");
  if (type != TYPE_F64 && type != TYPE_I64) x = LLVMBuildZExt(e->b, x, e->i64, "");
  LLVMBuildStore(e->b, x, place);
}

static LLVMValueRef scalar_place(Emitter *e, int64_t operand) {
  bool global = e->module->operands[operand].scope == SCOPE_GLOBAL;
  return at(e, e->b, field(e, global ? FRAME(global) : FRAME(item), e->pointer), e->layout->operand[operand]);
}

static LLVMValueRef scalar_load(Emitter *e, const Inst *inst) {
  Type type = program_buffer_type(e->program, (unsigned)inst->imm);
  LLVMValueRef index = e->value[inst->args[0]->id], guard = emit_presence(e, inst->imm, inst->n_args > 1 ? e->value[inst->args[1]->id] : NULL);
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), then = NULL, join = NULL;
  if (guard) {
    LLVMBuildCondBr(e->b, guard, then = emit_new_block(e), join = emit_new_block(e));
    LLVMPositionBuilderAtEnd(e->b, then);
  }
  LLVMValueRef loaded = LLVMBuildLoad2(e->b, emit_memory_type(e, type), emit_address(e, inst->imm, index), ""), x = emit_from_memory(e, type, loaded, 1);
  emit_gpu_constant(e, inst->imm, loaded);
  if (!guard) return x;
  LLVMBuildBr(e->b, join);
  LLVMPositionBuilderAtEnd(e->b, join);
  LLVMValueRef phi = LLVMBuildPhi(e->b, LLVMTypeOf(x), ""), in[2] = {x, LLVMConstNull(LLVMTypeOf(x))};
  LLVMBasicBlockRef from[2] = {then, before};
  LLVMAddIncoming(phi, in, from, 2);
  return phi;
}

static void scalar_store(Emitter *e, const Inst *inst) {
  Type type = program_buffer_type(e->program, (unsigned)inst->imm);
  LLVMValueRef guard = emit_presence(e, inst->imm, inst->n_args > 2 ? e->value[inst->args[2]->id] : NULL);
  LLVMBasicBlockRef then = NULL, join = NULL;
  if (guard) {
    LLVMBuildCondBr(e->b, guard, then = emit_new_block(e), join = emit_new_block(e));
    LLVMPositionBuilderAtEnd(e->b, then);
  }
  LLVMBuildStore(e->b, emit_to_memory(e, type, e->value[inst->args[1]->id], 1), emit_address(e, inst->imm, e->value[inst->args[0]->id]));
  if (!guard) return;
  LLVMBuildBr(e->b, join);
  LLVMPositionBuilderAtEnd(e->b, join);
}

/* --- leaves ------------------------------------------------------------------------------------------------------------------- */

static LLVMValueRef number(const Emitter *e, int64_t n) { return LLVMConstInt(e->i64, (uint64_t)n, 0); }
static LLVMValueRef word_of(Emitter *e, size_t table, LLVMTypeRef type, uint64_t index) {
  return LLVMBuildLoad2(e->b, type, at(e, e->b, field(e, table, e->pointer), 8*index), "");
}

/* shape[axis] of the item or of a tensor that has its own, 1 for an axis that is not there. */
static LLVMValueRef extent(Emitter *e, const Inst *inst) {
  bool shaped = operand_is_shaped(&e->module->operands[inst->imm]);
  uint64_t k = (uint64_t)inst->imm;
  if (inst->aux == -1) return shaped ? word_of(e, FRAME(counts), e->i64, k) : field(e, FRAME(total), e->i64);
  LLVMValueRef rank = shaped ? word_of(e, FRAME(ranks), e->i64, k) : field(e, FRAME(rank), e->i64);
  if (inst->aux == -2) return rank;
  LLVMValueRef shape = shaped ? word_of(e, FRAME(shapes), e->pointer, k) : field(e, FRAME(shape), e->pointer);
  LLVMValueRef axis = inst->aux >= 0 ? number(e, inst->aux) : LLVMBuildAdd(e->b, rank, number(e, inst->aux + 2), "");
  LLVMValueRef has = LLVMBuildICmp(e->b, LLVMIntULT, axis, rank, "");
  LLVMValueRef place = LLVMBuildSelect(e->b, has, LLVMBuildGEP2(e->b, e->i64, shape, &axis, 1, ""), at(e, e->b, e->frame, FRAME(rank)), "");
  return LLVMBuildSelect(e->b, has, LLVMBuildLoad2(e->b, e->i64, place, ""), number(e, 1), "");
}

/* Slot k of an item at a position of the list. */
static LLVMValueRef slot_place(Emitter *e, int64_t slot, LLVMValueRef position) {
  LLVMValueRef index = LLVMBuildAdd(e->b, LLVMBuildMul(e->b, number(e, slot), field(e, FRAME(n_items), e->i64), ""), position, "");
  return LLVMBuildInBoundsGEP2(e->b, e->i64, field(e, FRAME(slots), e->pointer), &index, 1, "");
}

static LLVMValueRef total_place(Emitter *e, int64_t slot) { return at(e, e->b, field(e, FRAME(totals), e->pointer), 8*(uint64_t)slot); }

LLVMValueRef emit_leaf(Emitter *e, const Inst *inst) {
  Type type = (Type)inst->type;
  switch ((KOp)inst->op) {
    case KOP_E_CONST: return emit_const(e, type, (uint64_t)inst->imm, 1);
    case KOP_E_HYPER: return load_word(e, type, at(e, e->b, field(e, FRAME(hyper), e->pointer), 8*(uint64_t)inst->imm));
    case KOP_E_STEP: return field(e, FRAME(t), e->i64);
    case KOP_E_SEED: return field(e, FRAME(seed), e->i64);
    case KOP_E_ITEM: return field(e, FRAME(index), e->i64);
    case KOP_E_COUNT: return field(e, FRAME(count), e->i64);
    case KOP_E_FIRST: return field(e, FRAME(first), e->i64);
    case KOP_E_TRIP: return field(e, FRAME(trip) + 8*(size_t)inst->imm, e->i64);
    case KOP_E_BEGIN: return field(e, FRAME(begin), e->i64);
    case KOP_E_END: return field(e, FRAME(end), e->i64);
    case KOP_E_SIZE: return extent(e, inst);
    case KOP_E_TILE_ROWS: return number(e, e->variant->tile_rows);
    case KOP_E_TILE_COLUMNS: return number(e, e->variant->tile_columns);
    case KOP_E_ITEMS: return field(e, FRAME(n_items), e->i64);
    case KOP_E_TOTAL: return load_word(e, type, total_place(e, inst->imm));
    case KOP_E_PRESENT: return LLVMBuildIsNotNull(e->b, data_pointer(e, inst->imm), "");
    case KOP_E_UNIFORM: return load_word(e, type, at(e, e->b, field(e, FRAME(uniform), e->pointer), 8*(uint64_t)inst->imm));
    case KOP_E_SCALAR: return load_word(e, type, scalar_place(e, inst->imm));
    case KOP_E_CARRIED: return e->carried[inst->args[0]->id][inst->imm];
    case KOP_E_FOLDED: return e->value[loop_fold(inst->args[0], (unsigned)inst->imm)->id];
    default: return NULL;
  }
}

/* --- control flow --------------------------------------------------------------------------------------------------------------- */

void emit_sequential_loop(Emitter *e, const Inst *inst) {
  unsigned n = inst->n_args - 2;
  LLVMValueRef low = e->value[inst->args[0]->id], high = e->value[inst->args[1]->id];
  emit_begin_scalar_folds(e, inst);
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), head = emit_new_block(e), body = emit_new_block(e), after = emit_new_block(e);
  LLVMBuildBr(e->b, head);
  LLVMPositionBuilderAtEnd(e->b, head);
  LLVMValueRef index = LLVMBuildPhi(e->b, e->i64, ""), *carried = arena_array(e->arena, n + 1, sizeof *carried);
  LLVMAddIncoming(index, &low, &before, 1);
  for (unsigned k = 0; k < n; k++) {
    LLVMValueRef first = e->value[inst->args[k + 2]->id];
    carried[k] = LLVMBuildPhi(e->b, LLVMTypeOf(first), "");
    LLVMAddIncoming(carried[k], &first, &before, 1);
  }
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, index, high, ""), body, after);
  LLVMPositionBuilderAtEnd(e->b, body);
  e->value[inst->id] = index;
  e->carried[inst->id] = carried;                                      /* the phis: current inside, final after */
  if (loop_folds(inst)) emit_enter_scalar_folds(e, inst, LLVMBuildSub(e->b, index, low, ""));
  emit_block(e, inst->body);
  emit_leave_scalar_folds(e, inst);
  const Inst *yield = inst->body->insts[inst->body->n - 1];
  LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
  LLVMValueRef next = LLVMBuildAdd(e->b, index, LLVMConstInt(e->i64, 1, 0), "");
  LLVMAddIncoming(index, &next, &last, 1);
  for (unsigned k = 0; k < n; k++) LLVMAddIncoming(carried[k], &e->value[yield->args[k]->id], &last, 1);
  LLVMBuildBr(e->b, head);
  LLVMPositionBuilderAtEnd(e->b, after);
  emit_end_scalar_folds(e, inst);
}

static void emit_if(Emitter *e, const Inst *inst) {
  LLVMBasicBlockRef then = emit_new_block(e), otherwise = inst->otherwise ? emit_new_block(e) : NULL, join = emit_new_block(e);
  LLVMBuildCondBr(e->b, e->value[inst->args[0]->id], then, otherwise ? otherwise : join);
  LLVMPositionBuilderAtEnd(e->b, then);
  emit_block(e, inst->body);
  LLVMBuildBr(e->b, join);
  if (otherwise) {
    LLVMPositionBuilderAtEnd(e->b, otherwise);
    emit_block(e, inst->otherwise);
    LLVMBuildBr(e->b, join);
  }
  LLVMPositionBuilderAtEnd(e->b, join);
}

/* The first requirement that is not met ends the kernel: it has no other effect. */
static void emit_require(Emitter *e, const Inst *inst) {
  LLVMBasicBlockRef fails = emit_new_block(e), next = emit_new_block(e);
  LLVMBuildCondBr(e->b, e->value[inst->args[0]->id], next, fails);
  LLVMPositionBuilderAtEnd(e->b, fails);
  LLVMBuildStore(e->b, LLVMConstInt(e->i64, (uint64_t)inst->imm + 1, 0), at(e, e->b, e->frame, FRAME(failed)));
  LLVMBuildStore(e->b, LLVMConstInt(e->i64, inst->n_args - 1, 0), at(e, e->b, e->frame, FRAME(n_values)));
  for (unsigned a = 1; a < inst->n_args; a++) LLVMBuildStore(e->b, e->value[inst->args[a]->id], at(e, e->b, e->frame, FRAME(value) + 8*(a - 1)));
  LLVMBuildBr(e->b, e->done);
  LLVMPositionBuilderAtEnd(e->b, next);
}

static void emit_loop(Emitter *e, const Inst *inst) {
  if (e->map || inst->binding != BIND_VECTOR) emit_sequential_loop(e, inst);
  else emit_vector_loop(e, inst);
}

static void scalar_fold(Emitter *e, Fold *f, LLVMValueRef x, LLVMValueRef guard) {
  if (f->chain) emit_fold_value(e, f, &f->sum[0], x, guard, 1);
  else emit_fold_position(e, f, x, guard);
}

void emit_alone(Emitter *e, const Inst *inst) {
  if (inst->op < ELEMENT_COUNT) {
    LLVMValueRef x[3] = {NULL};
    for (unsigned a = 0; a < inst->n_args; a++) x[a] = e->value[inst->args[a]->id];
    e->value[inst->id] = emit_element(e, (Element)inst->op, (Type)inst->type, (Type)inst->args[inst->n_args - 1]->type, x, 1);
    return;
  }
  switch ((KOp)inst->op) {
    case KOP_E_LOAD: e->value[inst->id] = scalar_load(e, inst); return;
    case KOP_E_STORE: scalar_store(e, inst); return;
    case KOP_E_FRESH: return;
    case KOP_E_PREFETCH: emit_prefetch(e, emit_address(e, inst->imm, e->value[inst->args[0]->id]), false, 1); return;
    case KOP_E_TILE: case KOP_E_TILE_FAST: emit_tile_contract(e, inst); return;
    case KOP_E_TILE_TRANSPOSE: case KOP_E_TILE_COPY:
      if (e->map) emit_gpu_move(e, inst);
      else if (inst->op == KOP_E_TILE_COPY) emit_tile_copy(e, inst);
      else emit_tile_transpose(e, inst);
      return;
    case KOP_E_SET_UNIFORM:
      store_word(e, (Type)inst->args[0]->type, e->value[inst->args[0]->id], at(e, e->b, field(e, FRAME(uniform), e->pointer), 8*(uint64_t)inst->imm));
      return;
    case KOP_E_SET_SCALAR: store_word(e, (Type)inst->args[0]->type, e->value[inst->args[0]->id], scalar_place(e, inst->imm)); return;
    case KOP_E_SET_COUNT: LLVMBuildStore(e->b, e->value[inst->args[0]->id], at(e, e->b, field(e, FRAME(counts), e->pointer), 8*(uint64_t)inst->imm)); return;
    case KOP_E_SET_SPACE:
      for (unsigned a = 0; a < 2; a++) LLVMBuildStore(e->b, e->value[inst->args[a]->id], at(e, e->b, field(e, FRAME(spaces), e->pointer), 16*(uint64_t)inst->imm + 8*a));
      return;
    case KOP_E_SET_EXTENT:
      LLVMBuildStore(e->b, e->value[inst->args[0]->id], at(e, e->b, field(e, FRAME(extents), e->pointer), 8*(uint64_t)(OPTC_MAX_RANK*inst->imm + inst->aux)));
      return;
    case KOP_E_SET_SLOT: store_word(e, (Type)inst->args[0]->type, e->value[inst->args[0]->id], slot_place(e, inst->imm, field(e, FRAME(position), e->i64))); return;
    case KOP_E_SLOT: e->value[inst->id] = load_word(e, (Type)inst->type, slot_place(e, inst->imm, e->value[inst->args[0]->id])); return;
    case KOP_E_SKIP: LLVMBuildStore(e->b, LLVMBuildZExt(e->b, e->value[inst->args[0]->id], e->i64, ""), at(e, e->b, e->frame, FRAME(skip))); return;
    case KOP_E_SET_TOTAL: store_word(e, (Type)inst->args[0]->type, e->value[inst->args[0]->id], total_place(e, inst->imm)); return;
    case KOP_E_FOR: emit_loop(e, inst); return;
    case KOP_E_FOLD: scalar_fold(e, e->fold[inst->id], e->value[inst->args[0]->id], inst->n_args > 1 ? e->value[inst->args[1]->id] : NULL); return;
    case KOP_E_YIELD: return;
    case KOP_E_IF: emit_if(e, inst); return;
    case KOP_E_REQUIRE: emit_require(e, inst); return;
    case KOP_E_EXISTS:
      LLVMBuildStore(e->b, LLVMBuildZExt(e->b, e->value[inst->args[0]->id], e->i8, ""), at(e, e->b, field(e, FRAME(exists), e->pointer), (uint64_t)inst->imm));
      return;
    default: e->value[inst->id] = emit_leaf(e, inst); return;
  }
}

void emit_block(Emitter *e, const Block *block) {
  for (unsigned i = 0; i < block->n; i++) {
    if (e->team != TEAM_NONE) emit_team(e, block->insts[i]);
    else emit_alone(e, block->insts[i]);
  }
}

/* --- the function ---------------------------------------------------------------------------------------------------------------- */

static void enum_attribute(Emitter *e, const char *name) {
  LLVMAddAttributeAtIndex(e->fn, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(e->context, LLVMGetEnumAttributeKindForName(name, strlen(name)), 0));
}
static void text_attribute(Emitter *e, const char *key, const char *value) {
  LLVMAttributeRef a = LLVMCreateStringAttribute(e->context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(e->fn, LLVMAttributeFunctionIndex, a);
}

/* Of a function of this variant. */
void emit_attributes(Emitter *e) {
  const Machine *m = e->variant;
  if (LLVMGetFunctionCallConv(e->fn) != PTX_KERNEL) LLVMSetLinkage(e->fn, LLVMInternalLinkage);
  enum_attribute(e, "nounwind");
  text_attribute(e, "no-builtins", "");
  text_attribute(e, "target-cpu", m->cpu);
  if (m->features[0]) text_attribute(e, "target-features", m->features);
  if (m->wide) text_attribute(e, "prefer-vector-width", "512");
}

static bool touches_data(const Block *block) {
  for (unsigned i = 0; i < block->n; i++) {
    const Inst *inst = block->insts[i];
    Touch touch[MAX_TOUCHES];
    if (inst_touches(inst, touch)) return true;
    if ((inst->body && touches_data(inst->body)) || (inst->otherwise && touches_data(inst->otherwise))) return true;
  }
  return false;
}

static bool is_cold(const Program *p, const Kernel *k) { return !touches_data(k->body) || !strcmp(p->entry, "init"); }

/* A function in which the code of a kernel stands: e->b and e->entry are in it until it is closed. */
static void open_function(Emitter *e, const Program *p, const Kernel *k, const Machine *variant, const char *name, LLVMTypeRef signature, bool cold) {
  bool gpu = variant->arch == ARCH_NVPTX;
  e->program = p;
  e->kernel = k;
  e->variant = variant;
  e->map = gpu ? gpu_map(e->arena, p, k) : NULL;
  e->team = TEAM_NONE;
  e->home = NULL;
  e->fn = LLVMAddFunction(e->llvm, name, signature);
  if (gpu) LLVMSetFunctionCallConv(e->fn, PTX_KERNEL);
  emit_attributes(e);
  e->cold = cold;
  if (e->cold) {                         /* a few scalars, or run once: the quickest code generation is good enough */
    enum_attribute(e, "noinline");
    enum_attribute(e, "optnone");
  }
  for (unsigned i = 0; i < FIELD_COUNT; i++) e->field[i] = NULL;
  e->data = arena_array(e->arena, p->module->n_operands + p->n_temps + 1, sizeof *e->data);
  e->local = arena_array(e->arena, (size_t)p->n_temps*HOMES + 1, sizeof *e->local);
  e->value = arena_array(e->arena, (size_t)k->n_insts + 1, sizeof *e->value);
  e->copies = arena_array(e->arena, (size_t)k->n_insts + 1, sizeof *e->copies);
  e->carried = arena_array(e->arena, (size_t)k->n_insts + 1, sizeof *e->carried);
  e->folds = arena_array(e->arena, (size_t)k->n_insts + 1, sizeof *e->folds);
  e->fold = arena_array(e->arena, (size_t)k->n_insts + 1, sizeof *e->fold);
  e->shape = arena_array(e->arena, (size_t)k->n_insts + 1, sizeof *e->shape);
  if (gpu) emit_gpu_constants(e, k);
  LLVMBasicBlockRef first = emit_new_block(e);
  LLVMPositionBuilderAtEnd(e->b, first);
  if (gpu) emit_open_work(e);
  else {
    e->frame = LLVMGetParam(e->fn, 0);
    LLVMPositionBuilderAtEnd(e->entry, first);
  }
  e->body = emit_new_block(e);
  e->done = emit_new_block(e);
  LLVMPositionBuilderAtEnd(e->b, e->body);
}

static LLVMValueRef close_function(Emitter *e) {
  LLVMBuildBr(e->b, e->done);
  LLVMBuildBr(e->entry, e->body);
  LLVMMoveBasicBlockAfter(e->done, LLVMGetLastBasicBlock(e->fn));
  LLVMPositionBuilderAtEnd(e->b, e->done);
  if (e->map) emit_close_work(e);
  LLVMBuildRetVoid(e->b);
  return e->failed ? NULL : e->fn;
}

LLVMValueRef emit_kernel(Emitter *e, const Program *p, const Kernel *k, const Machine *variant, const char *name) {
  bool gpu = variant->arch == ARCH_NVPTX;
  LLVMTypeRef params[3] = {e->pointer, e->pointer, e->i64};
  open_function(e, p, k, variant, name, LLVMFunctionType(e->none, params, gpu ? 3 : 1, 0), !gpu && is_cold(p, k));
  emit_block(e, k->body);
  return close_function(e);
}

/* --- functions of several kernels -------------------------------------------------------------------------------------------------- */

static bool is_local(const Outline *o, unsigned which) { return o->program->temps[o->buffer[which] - o->program->module->n_operands].local; }

/* The frame, temporaries, numbers. */
static LLVMTypeRef outline_signature(Emitter *e, const Outline *o) {
  LLVMTypeRef *types = arena_array(e->arena, 1 + o->n_buffers + o->n_numbers, sizeof *types);
  unsigned n = 0;
  types[n++] = e->pointer;
  for (unsigned k = 0; k < o->n_buffers; k++) if (!is_local(o, k)) types[n++] = e->pointer;
  for (unsigned k = 0; k < o->n_numbers; k++) types[n++] = e->type[o->number[k]->type];
  return LLVMFunctionType(e->none, types, n, 0);
}

LLVMValueRef emit_outline(Emitter *e, const Outline *o, const Machine *variant, const char *name) {
  unsigned n = 1;
  open_function(e, o->program, o->kernel, variant, name, outline_signature(e, o), false);
  for (unsigned k = 0; k < o->n_buffers; k++) if (!is_local(o, k)) e->data[o->buffer[k]] = LLVMGetParam(e->fn, n++);
  for (unsigned k = 0; k < o->n_numbers; k++) e->value[o->number[k]->id] = LLVMGetParam(e->fn, n++);
  emit_block(e, o->known);
  emit_block(e, o->rest);
  return close_function(e);
}

LLVMValueRef emit_call_of(Emitter *e, const Outline *o, LLVMValueRef body, const Machine *variant, const char *name) {
  LLVMValueRef *args = arena_array(e->arena, 1 + o->n_buffers + o->n_numbers, sizeof *args);
  unsigned n = 0;
  open_function(e, o->program, o->kernel, variant, name, LLVMFunctionType(e->none, &e->pointer, 1, 0), true);
  emit_block(e, o->head);
  args[n++] = e->frame;
  for (unsigned k = 0; k < o->n_buffers; k++) if (!is_local(o, k)) args[n++] = data_pointer(e, o->buffer[k]);
  for (unsigned k = 0; k < o->n_numbers; k++) args[n++] = e->value[o->number[k]->id];
  LLVMBuildCall2(e->b, LLVMGlobalGetValueType(body), body, args, n, "");
  return close_function(e);
}
