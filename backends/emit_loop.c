/* emit_loop.c: loops over vectors.
 *
 * for i in low..high, lanes L, unroll U becomes
 *     i = low;  while (i + L*U <= high) { U vectors side by side; i += L*U }
 *               while (i < high)        { one register under the mask lane < high - i; i += its lanes }     or one element at a time
 * What does not depend on i is computed once before. The second loop needs masked loads and stores; where a machine has none for the
 * element sizes of the loop, single elements are quicker to compile and give the same bits. Side by side: an instruction is written for
 * every copy before the next one, so all loads of an iteration come before its stores. Memory is touched at i, or at i and what does not change.
 * An iteration begins with asking for the cache lines that a later one will load: division and square root fill the processor's window long
 * before it sees that far by itself. */
#include "backends/emit.h"

static bool touches_memory(const Inst *inst) { return inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE || inst->op == KOP_E_PREFETCH; }

/* Shapes, and everything uniform written in front of the loop. */
void emit_hoist(Emitter *e, const Inst *loop) {
  e->shape[loop->id] = SHAPE_INDEX;
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    bool uniform = inst->op < ELEMENT_COUNT;
    for (unsigned a = 0; a < inst->n_args; a++) uniform = uniform && e->shape[inst->args[a]->id] == SHAPE_UNIFORM;
    uniform = uniform || kop_is(inst->op, KPROP_LEAF);
    e->shape[inst->id] = uniform ? SHAPE_UNIFORM : SHAPE_VARYING;
    if (!uniform) continue;
    LLVMValueRef x[3] = {NULL};
    for (unsigned a = 0; a < inst->n_args; a++) x[a] = e->value[inst->args[a]->id];
    e->value[inst->id] = inst->op < ELEMENT_COUNT ? emit_element(e, (Element)inst->op, (Type)inst->type, (Type)inst->args[inst->n_args - 1]->type, x, 1) : emit_leaf(e, inst);
  }
}

static LLVMValueRef lane_numbers(const Emitter *e, LLVMTypeRef type, unsigned lanes) {
  LLVMValueRef k[64];
  for (unsigned i = 0; i < lanes; i++) k[i] = LLVMConstInt(type, i, 0);
  return LLVMConstVector(k, lanes);
}

static LLVMValueRef number(const Emitter *e, uint64_t n) { return LLVMConstInt(e->i64, n, 0); }

/* Some bytes behind an address. */
static LLVMValueRef behind(const Emitter *e, LLVMValueRef place, uint64_t bytes) {
  LLVMValueRef offset = number(e, bytes);
  return bytes ? LLVMBuildInBoundsGEP2(e->b, e->i8, place, &offset, 1, "") : place;
}

static LLVMValueRef copy_index(const Emitter *e, const Width *w, LLVMValueRef index, unsigned copy) {
  if (copy/w->group) index = LLVMBuildAdd(e->b, index, LLVMBuildMul(e->b, w->far, number(e, copy/w->group), ""), "");
  return copy % w->group ? LLVMBuildAdd(e->b, index, number(e, (uint64_t)(copy % w->group)*w->lanes), "") : index;
}

/* The copies of an argument: shared scalars are spread to all lanes where they are first met. */
static void spread(Emitter *e, const Inst *arg, const Width *w, LLVMValueRef index) {
  LLVMValueRef *copy = e->copies[arg->id];
  if (e->shape[arg->id] == SHAPE_VARYING || copy[0]) return;
  if (e->shape[arg->id] == SHAPE_UNIFORM) {
    copy[0] = emit_splat(e, e->value[arg->id], w->lanes);
    for (unsigned c = 1; c < w->copies; c++) copy[c] = copy[0];
    return;
  }
  for (unsigned c = 0; c < w->copies; c++) {
    LLVMValueRef first = copy_index(e, w, index, c);
    copy[c] = w->lanes == 1 ? first : LLVMBuildAdd(e->b, emit_splat(e, first, w->lanes), lane_numbers(e, e->i64, w->lanes), "");
  }
}

/* A place that follows the loop, at one index of it: in scalar words. */
static LLVMValueRef place_at(Emitter *e, const Inst *at, LLVMValueRef index) {
  if (e->shape[at->id] == SHAPE_UNIFORM) return e->value[at->id];
  if (e->shape[at->id] == SHAPE_INDEX) return index;
  LLVMValueRef x = place_at(e, at->args[0], index), y = place_at(e, at->args[1], index);
  return at->op == KOP_ADD ? LLVMBuildAdd(e->b, x, y, "") : LLVMBuildSub(e->b, x, y, "");
}

static LLVMValueRef place_of(Emitter *e, const Inst *inst, const Width *w, LLVMValueRef index, unsigned copy) {
  uint64_t bytes = type_bytes(program_buffer_type(e->program, (unsigned)inst->imm));
  LLVMValueRef first = copy_index(e, w, index, copy/w->group*w->group);
  return behind(e, emit_address(e, inst->imm, place_at(e, inst->args[0], first)), copy%w->group*w->lanes*bytes);
}

/* The condition of an access: `branch` is one scalar for all of it, `mask` one bit a lane; either may be NULL. */
typedef struct Guard { LLVMValueRef branch, mask; } Guard;

static Guard guard_of(Emitter *e, const Inst *inst, const Width *w, unsigned copy) {
  const Inst *arg = inst->n_args > (inst->op == KOP_E_LOAD ? 1u : 2u) ? inst->args[inst->n_args - 1] : NULL;
  bool varying = arg && e->shape[arg->id] != SHAPE_UNIFORM;
  Guard g = {emit_presence(e, inst->imm, arg && !varying ? e->value[arg->id] : NULL), w->mask[copy]};
  if (varying) g.mask = g.mask ? LLVMBuildAnd(e->b, g.mask, e->copies[arg->id][copy], "") : e->copies[arg->id][copy];
  if (varying && w->lanes == 1) {
    g.branch = g.branch ? LLVMBuildAnd(e->b, g.branch, g.mask, "") : g.mask;
    g.mask = NULL;
  }
  return g;
}

static void align(const Emitter *e, LLVMValueRef access, Type type) { LLVMSetAlignment(access, type_bytes(type)); }

static LLVMValueRef load_one(Emitter *e, const Inst *inst, Type type, const Width *w, LLVMValueRef index, unsigned c, LLVMValueRef mask) {
  LLVMTypeRef memory = emit_memory_type(e, type);
  if (w->lanes > 1) memory = LLVMVectorType(memory, w->lanes);
  LLVMValueRef place = place_of(e, inst, w, index, c), x;
  if (mask) {
    LLVMTypeRef types[2] = {memory, e->pointer};
    LLVMValueRef args[4] = {place, LLVMConstInt(e->i32, type_bytes(type), 0), mask, LLVMConstNull(memory)};
    x = emit_intrinsic(e, "llvm.masked.load", types, 2, args, 4);
  } else {
    x = LLVMBuildLoad2(e->b, memory, place, "");
    align(e, x, type);
    emit_gpu_constant(e, inst->imm, x);
  }
  return emit_from_memory(e, type, x, w->lanes);
}

LLVMValueRef emit_place(Emitter *e, const Inst *access, LLVMValueRef index) { return emit_address(e, access->imm, place_at(e, access->args[0], index)); }

static LLVMValueRef part_of(const Emitter *e, LLVMValueRef x, unsigned c) { return LLVMBuildExtractElement(e->b, x, LLVMConstInt(e->i32, c, 0), ""); }

/* Whether an access is one for all copies: no lane decides for itself. */
static bool is_joined(const Emitter *e, const Inst *inst, const Width *w) {
  const Inst *arg = inst->n_args > (inst->op == KOP_E_LOAD ? 1u : 2u) ? inst->args[inst->n_args - 1] : NULL;
  return w->joined && (!arg || e->shape[arg->id] == SHAPE_UNIFORM);
}

static void align_joined(LLVMValueRef access, Type type, unsigned copies) { LLVMSetAlignment(access, copies*type_bytes(type) < 16 ? copies*type_bytes(type) : 16); }

/* What is under a condition that is the same for all copies. */
static LLVMBasicBlockRef open_branch(Emitter *e, LLVMValueRef condition) {
  LLVMBasicBlockRef then = emit_new_block(e), join = emit_new_block(e);
  LLVMBuildCondBr(e->b, condition, then, join);
  LLVMPositionBuilderAtEnd(e->b, then);
  return join;
}

static void joined_load(Emitter *e, const Inst *inst, const Width *w, LLVMValueRef index) {
  Type type = program_buffer_type(e->program, (unsigned)inst->imm);
  LLVMTypeRef memory = LLVMVectorType(emit_memory_type(e, type), w->copies);
  LLVMValueRef branch = guard_of(e, inst, w, 0).branch;
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), join = branch ? open_branch(e, branch) : NULL;
  LLVMValueRef x = LLVMBuildLoad2(e->b, memory, place_of(e, inst, w, index, 0), "");
  align_joined(x, type, w->copies);
  emit_gpu_constant(e, inst->imm, x);
  if (join) {
    LLVMBasicBlockRef from[2] = {LLVMGetInsertBlock(e->b), before};
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
    LLVMValueRef phi = LLVMBuildPhi(e->b, memory, ""), in[2] = {x, LLVMConstNull(memory)};
    LLVMAddIncoming(phi, in, from, 2);
    x = phi;
  }
  for (unsigned c = 0; c < w->copies; c++) e->copies[inst->id][c] = emit_from_memory(e, type, part_of(e, x, c), 1);
}

static void joined_store(Emitter *e, const Inst *inst, const Width *w, LLVMValueRef index) {
  Type type = program_buffer_type(e->program, (unsigned)inst->imm);
  LLVMValueRef branch = guard_of(e, inst, w, 0).branch, x = LLVMGetUndef(LLVMVectorType(emit_memory_type(e, type), w->copies));
  LLVMBasicBlockRef join = branch ? open_branch(e, branch) : NULL;
  for (unsigned c = 0; c < w->copies; c++)
    x = LLVMBuildInsertElement(e->b, x, emit_to_memory(e, type, e->copies[inst->args[1]->id][c], 1), LLVMConstInt(e->i32, c, 0), "");
  align_joined(LLVMBuildStore(e->b, x, place_of(e, inst, w, index, 0)), type, w->copies);
  if (!join) return;
  LLVMBuildBr(e->b, join);
  LLVMPositionBuilderAtEnd(e->b, join);
}

static void vector_load(Emitter *e, const Inst *inst, const Width *w, LLVMValueRef index) {
  Type type = program_buffer_type(e->program, (unsigned)inst->imm);
  for (unsigned c = 0; c < w->copies; c++) {
    Guard g = guard_of(e, inst, w, c);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), then = NULL, join = NULL;
    if (g.branch) {
      LLVMBuildCondBr(e->b, g.branch, then = emit_new_block(e), join = emit_new_block(e));
      LLVMPositionBuilderAtEnd(e->b, then);
    }
    LLVMValueRef x = load_one(e, inst, type, w, index, c, g.mask);
    if (g.branch) {
      LLVMBuildBr(e->b, join);
      LLVMPositionBuilderAtEnd(e->b, join);
      LLVMValueRef phi = LLVMBuildPhi(e->b, LLVMTypeOf(x), ""), in[2] = {x, LLVMConstNull(LLVMTypeOf(x))};
      LLVMBasicBlockRef from[2] = {then, before};
      LLVMAddIncoming(phi, in, from, 2);
      x = phi;
    }
    e->copies[inst->id][c] = x;
  }
}

static void vector_store(Emitter *e, const Inst *inst, const Width *w, LLVMValueRef index) {
  Type type = program_buffer_type(e->program, (unsigned)inst->imm);
  for (unsigned c = 0; c < w->copies; c++) {
    Guard g = guard_of(e, inst, w, c);
    LLVMBasicBlockRef then = NULL, join = NULL;
    if (g.branch) {
      LLVMBuildCondBr(e->b, g.branch, then = emit_new_block(e), join = emit_new_block(e));
      LLVMPositionBuilderAtEnd(e->b, then);
    }
    LLVMValueRef x = emit_to_memory(e, type, e->copies[inst->args[1]->id][c], w->lanes), place = place_of(e, inst, w, index, c);
    if (g.mask) {
      LLVMTypeRef types[2] = {LLVMTypeOf(x), e->pointer};
      LLVMValueRef args[4] = {x, place, LLVMConstInt(e->i32, type_bytes(type), 0), g.mask};
      emit_intrinsic(e, "llvm.masked.store", types, 2, args, 4);
    } else {
      align(e, LLVMBuildStore(e->b, x, place), type);
    }
    if (g.branch) {
      LLVMBuildBr(e->b, join);
      LLVMPositionBuilderAtEnd(e->b, join);
    }
  }
}

static void vector_fold(Emitter *e, const Inst *inst, const Width *w) {
  Fold *f = e->fold[inst->id];
  for (unsigned c = 0; c < w->copies; c++) {
    LLVMValueRef x = e->copies[inst->args[0]->id][c], guard = inst->n_args > 1 ? e->copies[inst->args[1]->id][c] : NULL, mask = w->mask[c];
    if (mask) guard = guard ? LLVMBuildAnd(e->b, mask, guard, "") : mask;
    if (f->position) emit_fold_position(e, f, x, guard);
    else emit_fold_value(e, f, &f->sum[w->chain ? 0 : c], x, guard, w->lanes);
  }
}

/* Left to the machine: tensors that may be absent, and loads under a condition. */
static bool is_fetched(const Emitter *e, const Inst *inst) { return inst->op == KOP_E_LOAD && inst->n_args == 1 && !emit_is_optional(e, inst->imm); }

/* Asks for the cache lines that the iteration `w->ahead` elements from here will load, or the last one: what lies behind it may be another
 * thread's. */
static void fetch_ahead(Emitter *e, const Inst *loop, const Width *w, LLVMValueRef index, LLVMValueRef last) {
  LLVMTypeRef types[1] = {e->pointer};
  LLVMValueRef load = LLVMConstInt(e->i32, 0, 0), nearest = LLVMConstInt(e->i32, 3, 0), data = LLVMConstInt(e->i32, 1, 0);
  LLVMValueRef then = LLVMBuildAdd(e->b, index, number(e, w->ahead), "");
  then = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, then, last, ""), then, last, "");
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    if (!is_fetched(e, inst)) continue;
    uint64_t stretch = (uint64_t)w->lanes*w->copies*type_bytes(program_buffer_type(e->program, (unsigned)inst->imm));
    LLVMValueRef first = emit_address(e, inst->imm, place_at(e, inst->args[0], then));
    for (uint64_t at = 0; at < stretch; at += CACHE_LINE) {
      LLVMValueRef args[4] = {behind(e, first, at), load, nearest, data};
      emit_intrinsic(e, "llvm.prefetch", types, 1, args, 4);
    }
  }
}

static void vector_body(Emitter *e, const Inst *loop, const Width *w, LLVMValueRef index) {
  for (unsigned i = 0; i < loop->body->n; i++) {                      /* nothing is left of another width */
    const Inst *inst = loop->body->insts[i];
    e->copies[inst->id][0] = NULL;
    for (unsigned a = 0; a < inst->n_args; a++)
      if (e->shape[inst->args[a]->id] != SHAPE_VARYING) e->copies[inst->args[a]->id][0] = NULL;
  }
  for (unsigned i = 0; i < loop->body->n; i++) {                      /* before any branch: shared values serve the whole body */
    const Inst *inst = loop->body->insts[i];
    if (inst->op == KOP_E_YIELD || e->shape[inst->id] == SHAPE_UNIFORM) continue;
    for (unsigned a = touches_memory(inst); a < inst->n_args; a++) spread(e, inst->args[a], w, index);
  }
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    if (inst->op == KOP_E_YIELD || e->shape[inst->id] == SHAPE_UNIFORM) continue;
    if (inst->op == KOP_E_LOAD && is_joined(e, inst, w)) joined_load(e, inst, w, index);
    else if (inst->op == KOP_E_LOAD) vector_load(e, inst, w, index);
    else if (inst->op == KOP_E_FOLD) vector_fold(e, inst, w);
    else if (inst->op == KOP_E_STORE && is_joined(e, inst, w)) joined_store(e, inst, w, index);
    else if (inst->op == KOP_E_STORE) vector_store(e, inst, w, index);
    else if (inst->op == KOP_E_PREFETCH) for (unsigned c = 0; c < w->copies; c++) emit_prefetch(e, place_of(e, inst, w, index, c), false, 1);
    else
      for (unsigned c = 0; c < w->copies; c++) {
        LLVMValueRef x[3] = {NULL};
        for (unsigned a = 0; a < inst->n_args; a++) x[a] = e->copies[inst->args[a]->id][c];
        e->copies[inst->id][c] = emit_element(e, (Element)inst->op, (Type)inst->type, (Type)inst->args[inst->n_args - 1]->type, x, w->lanes);
      }
  }
}

/* Whether masked accesses of this machine fit every element size of the loop. */
static bool can_mask(const Emitter *e, const Inst *loop) {
  if (!e->variant->mask_bits) return false;
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    if (touches_memory(inst) && type_bits(program_buffer_type(e->program, (unsigned)inst->imm)) < e->variant->mask_bits) return false;
  }
  return true;
}

/* What goes around in a loop: the sums of its folds, one a copy. Scalar code has them on the stack. */
static LLVMValueRef **sums_of(Emitter *e, const Inst *loop, const Width *w, unsigned *n) {
  const Folds *folds = &e->folds[loop->id];
  LLVMValueRef **sums = arena_array(e->arena, (size_t)folds->n*w->copies + 1, sizeof *sums);
  *n = 0;
  for (unsigned k = 0; k < folds->n && !w->origin; k++)
    for (unsigned c = 0; c < (w->chain ? 1 : w->copies); c++) sums[(*n)++] = &folds->fold[k].sum[c];
  return sums;
}

/* In front of a loop under masks, low..high: where in it each lane is off. The numbers of lanes stand here and not in the loop, because the code
 * generator would move them, and makes a table of all instructions first: half a millisecond. */
static LLVMValueRef ends_of_lanes(Emitter *e, const Width *w, LLVMValueRef low, LLVMValueRef high) {
  LLVMValueRef n = LLVMBuildTrunc(e->b, LLVMBuildSub(e->b, high, low, ""), e->i32, "");
  return LLVMBuildSub(e->b, emit_splat(e, n, w->lanes), lane_numbers(e, e->i32, w->lanes), "");
}

static void set_masks(Emitter *e, Width *w, LLVMValueRef index, LLVMValueRef low, LLVMValueRef ends) {
  LLVMValueRef done = LLVMBuildTrunc(e->b, LLVMBuildSub(e->b, index, low, ""), e->i32, "");
  for (unsigned c = 0; c < w->copies; c++) {
    LLVMValueRef own = c ? LLVMBuildAdd(e->b, done, LLVMConstInt(e->i32, c*w->lanes, 0), "") : done;
    w->mask[c] = LLVMBuildICmp(e->b, LLVMIntSLT, emit_splat(e, own, w->lanes), ends, "");
  }
}

/* A loop over vectors (lanes 1: over elements): while (index < bound) { body; index += step }. `masked`: lanes from `high` on are off,
 * and there are fewer than 2^31 elements. Returns the index behind it, where the builder stands then. */
LLVMValueRef emit_counted_loop(Emitter *e, const Inst *loop, const Width *w, bool masked, LLVMValueRef low, LLVMValueRef bound, LLVMValueRef high, LLVMValueRef step) {
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), body = emit_new_block(e), after = emit_new_block(e);
  LLVMValueRef ends = masked ? ends_of_lanes(e, w, low, high) : NULL;
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, low, bound, ""), body, after);
  LLVMPositionBuilderAtEnd(e->b, body);
  LLVMValueRef index = LLVMBuildPhi(e->b, e->i64, "");
  LLVMAddIncoming(index, &low, &before, 1);
  unsigned n = 0;
  LLVMValueRef **sum = sums_of(e, loop, w, &n), *first = arena_array(e->arena, n + 1, sizeof *first), *around = arena_array(e->arena, n + 1, sizeof *around);
  for (unsigned k = 0; k < n; k++) {
    first[k] = *sum[k];
    *sum[k] = around[k] = LLVMBuildPhi(e->b, LLVMTypeOf(first[k]), "");
    LLVMAddIncoming(around[k], &first[k], &before, 1);
  }
  Width width = *w;
  if (masked) set_masks(e, &width, index, low, ends);
  for (unsigned k = 0; k < e->folds[loop->id].n; k++) e->folds[loop->id].fold[k].position = w->origin ? LLVMBuildSub(e->b, index, w->origin, "") : NULL;
  if (w->ahead) fetch_ahead(e, loop, w, index, bound);
  vector_body(e, loop, &width, index);
  LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b), from[2] = {before, last};
  LLVMValueRef next = LLVMBuildAdd(e->b, index, step, "");
  LLVMAddIncoming(index, &next, &last, 1);
  for (unsigned k = 0; k < n; k++) LLVMAddIncoming(around[k], sum[k], &last, 1);
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, next, bound, ""), body, after);
  LLVMPositionBuilderAtEnd(e->b, after);
  LLVMValueRef end = LLVMBuildPhi(e->b, e->i64, ""), in[2] = {low, next};
  LLVMAddIncoming(end, in, from, 2);
  for (unsigned k = 0; k < n; k++) {
    LLVMValueRef both[2] = {first[k], *sum[k]};
    *sum[k] = LLVMBuildPhi(e->b, LLVMTypeOf(first[k]), "");
    LLVMAddIncoming(*sum[k], both, from, 2);
  }
  return end;
}

/* --- folds ------------------------------------------------------------------------------------------------------------------------ */

static void clear_sums(Emitter *e, const Inst *loop, const Width *w) {
  for (unsigned k = 0; k < e->folds[loop->id].n; k++) {
    Fold *f = &e->folds[loop->id].fold[k];
    for (unsigned c = 0; c < w->copies; c++) f->sum[c] = emit_fold_identity(e, f, w->lanes);
  }
}

/* Blocks are done: one a group of copies; they are numbers `index`, `index` + apart, ... of the chunk. */
static void keep_blocks(Emitter *e, const Inst *loop, const Width *w, LLVMValueRef index, LLVMValueRef apart) {
  for (unsigned k = 0; k < e->folds[loop->id].n; k++) {
    const Fold *f = &e->folds[loop->id].fold[k];
    LLVMValueRef at = index;
    for (unsigned c = 0; c < w->copies; c += w->group) {
      if (c) at = LLVMBuildAdd(e->b, at, apart, "");
      emit_fold_keep_block(e, f, at, emit_fold_join(e, f, f->sum + c, w->lanes));
    }
  }
}

/* Fewer than 16 positions that are left of a block low..high. */
static void rest_of_block(Emitter *e, const Inst *loop, const Width *w, LLVMValueRef low, LLVMValueRef rest, LLVMValueRef high) {
  const Folds *folds = &e->folds[loop->id];
  if (w->lanes > 1 && can_mask(e, loop)) { emit_counted_loop(e, loop, w, true, rest, high, high, number(e, FOLD_LANES)); return; }
  Width one = {.lanes = 1, .copies = 1, .group = 1, .origin = low};
  for (unsigned k = 0; k < folds->n; k++) emit_fold_keep_lanes(e, &folds->fold[k], folds->fold[k].sum, w->lanes);
  emit_counted_loop(e, loop, &one, false, rest, high, high, number(e, 1));
  for (unsigned k = 0; k < folds->n; k++) emit_fold_take_lanes(e, &folds->fold[k], folds->fold[k].sum, w->lanes);
}

static LLVMValueRef least(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, x, y, ""), x, y, ""); }

/* Blocks from..to of a chunk at `base`, and at the same time as many behind `apart`, 2*apart, ... of them. They are whole, or, `end` not NULL, the last may stop there. */
static void fold_blocks(Emitter *e, const Inst *loop, const Width *w, LLVMValueRef base, LLVMValueRef from, LLVMValueRef to, LLVMValueRef apart, LLVMValueRef end) {
  Count block = emit_open_count(e, from, to, number(e, 1));
  LLVMValueRef low = LLVMBuildAdd(e->b, base, LLVMBuildShl(e->b, block.index, number(e, FOLD_BLOCK_BITS), ""), ""), high = LLVMBuildAdd(e->b, low, number(e, FOLD_BLOCK), "");
  if (end) high = least(e, high, end);
  clear_sums(e, loop, w);
  LLVMValueRef rest = emit_counted_loop(e, loop, w, false, low, end ? LLVMBuildSub(e->b, high, number(e, FOLD_LANES - 1), "") : high, high, number(e, FOLD_LANES));
  if (end) rest_of_block(e, loop, w, low, rest, high);
  keep_blocks(e, loop, w, block.index, apart);
  emit_close_count(e, &block);
}

static LLVMValueRef shifted(const Emitter *e, LLVMValueRef x, unsigned bits) { return LLVMBuildLShr(e->b, x, number(e, bits), ""); }
static LLVMValueRef rounded_up(const Emitter *e, LLVMValueRef x, unsigned bits) { return shifted(e, LLVMBuildAdd(e->b, x, number(e, (1u << bits) - 1), ""), bits); }

static bool only_reads(const Inst *loop) {
  for (unsigned i = 0; i < loop->body->n; i++) if (loop->body->insts[i]->op == KOP_E_STORE) return false;
  return true;
}

/* In chunks of 64 blocks. A sweep that only reads goes through a chunk from PLACES places at once: streams that lie apart are fetched side by side,
 * and their sums do not wait for each other (in cache up to twice as fast as one). */
static void folding_loop(Emitter *e, const Inst *loop) {
  enum { PLACE_BITS = 2, PLACES = 1 << PLACE_BITS };
  unsigned lanes = loop->lanes < FOLD_LANES ? loop->lanes : FOLD_LANES, group = FOLD_LANES/lanes;
  bool spread_out = only_reads(loop) && group*PLACES <= MAX_COPIES;
  Width one = {.lanes = lanes, .copies = group, .group = group}, all = {.lanes = lanes, .copies = group*PLACES, .group = group};
  emit_open_folds(e, loop, FOLD_TREE | FOLD_LANE | FOLD_BLOCKS);
  LLVMValueRef low = e->value[loop->args[0]->id], n = emit_fold_positions(e, loop), chunk = number(e, 1 << FOLD_CHUNK_BITS);
  Count c = emit_open_count(e, number(e, 0), n, chunk);
  LLVMValueRef base = LLVMBuildAdd(e->b, low, c.index, ""), left = least(e, LLVMBuildSub(e->b, n, c.index, ""), chunk);
  LLVMValueRef blocks = rounded_up(e, left, FOLD_BLOCK_BITS), done = number(e, 0);
  if (spread_out) {
    LLVMValueRef each = shifted(e, left, FOLD_BLOCK_BITS + PLACE_BITS);
    all.far = LLVMBuildShl(e->b, each, number(e, FOLD_BLOCK_BITS), "");
    fold_blocks(e, loop, &all, base, done, each, each, NULL);
    done = LLVMBuildShl(e->b, each, number(e, PLACE_BITS), "");
  }
  fold_blocks(e, loop, &one, base, done, blocks, NULL, LLVMBuildAdd(e->b, base, left, ""));
  for (unsigned k = 0; k < e->folds[loop->id].n; k++) {
    const Fold *f = &e->folds[loop->id].fold[k];
    emit_fold_push(e, f, emit_fold_tree(e, f, blocks), shifted(e, c.index, FOLD_CHUNK_BITS));
  }
  emit_close_count(e, &c);
  emit_close_folds(e, loop, rounded_up(e, n, FOLD_CHUNK_BITS));
}

/* Whether the program says itself what it asks memory for. */
static bool fetches(const Inst *loop) {
  for (unsigned i = 0; i < loop->body->n; i++) if (loop->body->insts[i]->op == KOP_E_PREFETCH) return true;
  return false;
}

/* How far a loop is ahead: what is on its way is shared by the tensors that it reads, if they are few. Zen 5, one thread beyond its caches: of 2 tensors 0.84 of the
 * bandwidth probe 256 elements ahead, 0.94 768 ahead; of 3 (Lion) 0.95, and 1.02 512 ahead. Of 4 and more 256 is best: AdamW in cache, two threads, 0.97 of
 * intrinsics, 384 ahead 0.94. */
static unsigned distance(const Emitter *e, const Inst *loop) {
  enum { FEW = 3, LEAST = 256, MULTIPLE = 128 };
  unsigned n = 0;
  for (unsigned i = 0; i < loop->body->n; i++) n += is_fetched(e, loop->body->insts[i]);
  if (e->cold || !e->variant->ahead || !n || fetches(loop)) return 0;
  unsigned share = e->variant->ahead/n/MULTIPLE*MULTIPLE;
  return n > FEW || share < LEAST ? LEAST : share;
}

void emit_vector_loop(Emitter *e, const Inst *loop) {
  emit_hoist(e, loop);
  if (loop_folds(loop)) { folding_loop(e, loop); return; }
  unsigned unroll = e->cold ? 1 : loop->unroll < MAX_COPIES ? loop->unroll : MAX_COPIES;
  LLVMValueRef low = e->value[loop->args[0]->id], high = e->value[loop->args[1]->id];
  unsigned whole = e->variant->wide ? 16 : 8, narrow = loop->lanes < whole ? loop->lanes : whole;         /* one register of f32 */
  Width wide = {.lanes = loop->lanes, .copies = unroll, .group = unroll, .ahead = distance(e, loop)};
  Width one = {.lanes = 1, .copies = 1, .group = 1}, vector = {.lanes = narrow, .copies = 1, .group = 1};
  uint64_t step = (uint64_t)loop->lanes*unroll;
  LLVMValueRef limit = LLVMBuildSub(e->b, high, number(e, step - 1), "");
  LLVMValueRef rest = emit_counted_loop(e, loop, &wide, false, low, limit, high, number(e, step));
  bool masked = loop->lanes > 1 && can_mask(e, loop);
  emit_counted_loop(e, loop, masked ? &vector : &one, masked, rest, high, high, number(e, masked ? narrow : 1));
}
