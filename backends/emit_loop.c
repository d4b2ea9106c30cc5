/* emit_loop.c: loops over vectors, and the grid-stride loops of a GPU.
 *
 * for i in low..high, lanes L, unroll U becomes
 *     i = low;  while (i + L*U <= high) { U vectors side by side; i += L*U }
 *               while (i < high)        { one register under the mask lane < high - i; i += its lanes }     or one element at a time
 * What does not depend on i is computed once before. The second loop needs masked loads and stores; where a machine has none for the
 * element sizes of the loop, single elements are quicker to compile and give the same bits. Side by side: an instruction is written for
 * every copy before the next one, so all loads of an iteration come before its stores. */
#include "backends/emit.h"

static bool touches_memory(const Inst *inst) { return inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE; }

/* Shapes, and everything uniform written in front of the loop. */
static void hoist(Emitter *e, const Inst *loop) {
  e->shape[loop->id] = SHAPE_INDEX;
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    bool uniform = emit_is_leaf((KOp)inst->op) || inst->op < ELEMENT_COUNT;
    for (unsigned a = 0; a < inst->n_args; a++) uniform = uniform && e->shape[inst->args[a]->id] == SHAPE_UNIFORM;
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
    LLVMValueRef first = c ? LLVMBuildAdd(e->b, index, LLVMConstInt(e->i64, (uint64_t)c*w->lanes, 0), "") : index;
    copy[c] = w->lanes == 1 ? first : LLVMBuildAdd(e->b, emit_splat(e, first, w->lanes), lane_numbers(e, e->i64, w->lanes), "");
  }
}

static LLVMValueRef place_of(Emitter *e, const Inst *inst, const Width *w, LLVMValueRef index, unsigned copy) {
  LLVMValueRef i = copy ? LLVMBuildAdd(e->b, index, LLVMConstInt(e->i64, (uint64_t)copy*w->lanes, 0), "") : index;
  return emit_address(e, inst->imm, i);
}

/* The condition of an access: `branch` is one scalar for all of it, `mask` one bit a lane; either may be NULL. */
typedef struct Guard { LLVMValueRef branch, mask; } Guard;

static Guard guard_of(Emitter *e, const Inst *inst, const Width *w, unsigned copy) {
  const Inst *arg = inst->n_args > (inst->op == KOP_E_LOAD ? 1u : 2u) ? inst->args[inst->n_args - 1] : NULL;
  bool varying = arg && e->shape[arg->id] != SHAPE_UNIFORM;
  Guard g = {emit_presence(e, inst->imm, arg && !varying ? e->value[arg->id] : NULL), w->mask};
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
  }
  return emit_from_memory(e, type, x, w->lanes);
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
    if (inst->op == KOP_E_LOAD) vector_load(e, inst, w, index);
    else if (inst->op == KOP_E_STORE) vector_store(e, inst, w, index);
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

/* A loop over vectors (lanes 1: over elements): while (index < bound) { body; index += step }. `masked`: lanes from `high` on are off. Returns
 * the index behind it, where the builder stands then. */
static LLVMValueRef counted_loop(Emitter *e, const Inst *loop, const Width *w, bool masked, LLVMValueRef low, LLVMValueRef bound, LLVMValueRef high, LLVMValueRef step) {
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), body = emit_new_block(e), after = emit_new_block(e);
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, low, bound, ""), body, after);
  LLVMPositionBuilderAtEnd(e->b, body);
  LLVMValueRef index = LLVMBuildPhi(e->b, e->i64, "");
  LLVMAddIncoming(index, &low, &before, 1);
  Width width = *w;
  if (masked) {
    LLVMValueRef left = LLVMBuildSub(e->b, high, index, ""), full = LLVMConstInt(e->i64, w->lanes, 0);
    left = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, left, full, ""), left, full, "");
    left = LLVMBuildTrunc(e->b, left, e->i32, "");
    width.mask = LLVMBuildICmp(e->b, LLVMIntSLT, lane_numbers(e, e->i32, w->lanes), emit_splat(e, left, w->lanes), "");
  }
  vector_body(e, loop, &width, index);
  LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
  LLVMValueRef next = LLVMBuildAdd(e->b, index, step, "");
  LLVMAddIncoming(index, &next, &last, 1);
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, next, bound, ""), body, after);
  LLVMPositionBuilderAtEnd(e->b, after);
  LLVMValueRef end = LLVMBuildPhi(e->b, e->i64, ""), in[2] = {low, next};
  LLVMBasicBlockRef from[2] = {before, last};
  LLVMAddIncoming(end, in, from, 2);
  return end;
}

static LLVMValueRef number(const Emitter *e, uint64_t n) { return LLVMConstInt(e->i64, n, 0); }

void emit_vector_loop(Emitter *e, const Inst *loop) {
  unsigned unroll = e->cold ? 1 : loop->unroll < MAX_COPIES ? loop->unroll : MAX_COPIES;
  LLVMValueRef low = e->value[loop->args[0]->id], high = e->value[loop->args[1]->id];
  hoist(e, loop);
  unsigned whole = e->variant->wide ? 16 : 8, narrow = loop->lanes < whole ? loop->lanes : whole;         /* one register of f32 */
  Width wide = {loop->lanes, unroll, NULL}, one = {1, 1, NULL}, vector = {narrow, 1, NULL};
  uint64_t step = (uint64_t)loop->lanes*unroll;
  LLVMValueRef limit = LLVMBuildSub(e->b, high, number(e, step - 1), "");
  LLVMValueRef rest = counted_loop(e, loop, &wide, false, low, limit, high, number(e, step));
  bool masked = loop->lanes > 1 && can_mask(e, loop);
  counted_loop(e, loop, masked ? &vector : &one, masked, rest, high, high, number(e, masked ? narrow : 1));
}

/* --- GPU ------------------------------------------------------------------------------------------------------------------------ */

static LLVMValueRef special(Emitter *e, const char *name) {
  return LLVMBuildZExt(e->b, emit_intrinsic(e, name, NULL, 0, NULL, 0), e->i64, "");
}

/* Thread k of n takes elements low + k, low + k + n, ... */
void emit_thread_loop(Emitter *e, const Inst *loop) {
  LLVMValueRef low = e->value[loop->args[0]->id], high = e->value[loop->args[1]->id];
  hoist(e, loop);
  LLVMValueRef block = special(e, "llvm.nvvm.read.ptx.sreg.ntid.x");
  LLVMValueRef first = LLVMBuildMul(e->b, special(e, "llvm.nvvm.read.ptx.sreg.ctaid.x"), block, "");
  first = LLVMBuildAdd(e->b, first, special(e, "llvm.nvvm.read.ptx.sreg.tid.x"), "");
  LLVMValueRef threads = LLVMBuildMul(e->b, special(e, "llvm.nvvm.read.ptx.sreg.nctaid.x"), block, "");
  Width one = {1, 1, NULL};
  counted_loop(e, loop, &one, false, LLVMBuildAdd(e->b, low, first, ""), high, high, threads);
}
