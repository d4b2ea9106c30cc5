/* emit_fold.c: the folds of a loop (KOP_E_FOLD) in the language's order `lanes`, for scalar code and for vectors.
 *
 * Blocks of 1,024 positions, 16 interleaved lanes each, lanes joined (l, l+8), (l, l+4), (l, l+2), (l, l+1), blocks as pairs of neighbours in a tree.
 * A place on the stack holds what registers do not: the 16 lanes (scalar code), the blocks of a chunk (vectors), the tree: level k waits in
 * tree[k] where bit k of the number of what came so far is set. Whatever is missing, a lane, a block, the neighbour of an odd one, is the
 * identity: sums and products that began with it, like extremes, keep every bit when it is joined once more. */
#include "backends/emit.h"

enum { LEVELS = 48, PIECE = 8 };          /* PIECE: pairs of blocks that are joined side by side */

static LLVMValueRef number(const Emitter *e, uint64_t n) { return LLVMConstInt(e->i64, n, 0); }

/* --- values ------------------------------------------------------------------------------------------------------------------------ */

/* Extremes of floats are folded as integers in the order of the floats, where -0 is below +0 and a NaN is the most extreme: one instruction each,
 * and what the numbers go through before does not wait for the last of them. Flipping all bits below a sign that is set gives that order, and back. */
static bool is_extreme(const Fold *f) { return f->kind == REDUCE_MAX || f->kind == REDUCE_MIN; }
static bool is_ordered(const Fold *f) { return is_extreme(f) && type_kind((Type)f->inst->args[0]->type) == KIND_FLOAT; }

static LLVMValueRef flip(const Emitter *e, const Fold *f, LLVMValueRef bits, unsigned lanes) {
  LLVMValueRef sign = LLVMBuildAShr(e->b, bits, emit_const(e, f->type, type_bits(f->type) - 1, lanes), "");
  return LLVMBuildXor(e->b, bits, LLVMBuildLShr(e->b, sign, emit_const(e, f->type, 1, lanes), ""), "");
}

static LLVMValueRef kept_form(const Emitter *e, const Fold *f, LLVMValueRef x, unsigned lanes) {
  if (!is_ordered(f)) return x;
  Type type = (Type)f->inst->args[0]->type;
  Bits nan = bits_from_f64(__builtin_nan(""), type) | (f->kind == REDUCE_MIN ? (Bits)1 << (type_bits(type) - 1) : 0);
  LLVMValueRef bits = LLVMBuildBitCast(e->b, x, emit_type(e, f->type, lanes), "");
  return flip(e, f, LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealUNO, x, x, ""), emit_const(e, f->type, nan, lanes), bits, ""), lanes);
}

static LLVMValueRef given_form(const Emitter *e, const Fold *f, LLVMValueRef x) {
  return is_ordered(f) ? LLVMBuildBitCast(e->b, flip(e, f, x, 1), e->type[f->inst->args[0]->type], "") : x;
}

LLVMValueRef emit_fold_identity(const Emitter *e, const Fold *f, unsigned lanes) {
  Bits bits = reduce_identity(f->kind, (Type)f->inst->args[0]->type), sign = (Bits)1 << (type_bits(f->type) - 1);
  return emit_const(e, f->type, is_ordered(f) && bits & sign ? bits ^ (sign - 1) : bits, lanes);
}

static LLVMValueRef pair(const Emitter *e, const Fold *f, LLVMValueRef a, LLVMValueRef b, unsigned lanes) {
  static const Element element[] = {
    [REDUCE_SUM] = ELEMENT_ADD, [REDUCE_PROD] = ELEMENT_MUL, [REDUCE_ANY] = ELEMENT_OR, [REDUCE_EVERY] = ELEMENT_AND};
  LLVMValueRef x[2] = {a, b};
  if (!is_extreme(f)) return emit_element(e, element[f->kind], f->type, f->type, x, lanes);
  LLVMTypeRef type = emit_type(e, f->type, lanes);
  return emit_intrinsic(e, f->kind == REDUCE_MAX ? "llvm.smax" : "llvm.smin", &type, 1, x, 2);
}

LLVMValueRef emit_fold_pair(const Emitter *e, const Fold *f, LLVMValueRef a, LLVMValueRef b) { return pair(e, f, a, b, 1); }

void emit_fold_give(Emitter *e, const Fold *f, LLVMValueRef x) { e->value[f->inst->id] = given_form(e, f, x); }

void emit_fold_value(Emitter *e, const Fold *f, LLVMValueRef *into, LLVMValueRef x, LLVMValueRef guard, unsigned lanes) {
  x = kept_form(e, f, x, lanes);
  if (guard) x = LLVMBuildSelect(e->b, guard, x, emit_fold_identity(e, f, lanes), "");
  *into = pair(e, f, *into, x, lanes);
}

/* Every second value of a vector, from `first` on; or half of it. */
static LLVMValueRef pick(const Emitter *e, LLVMValueRef x, unsigned n, unsigned first, unsigned step) {
  LLVMValueRef k[FOLD_LANES];
  if (n == 1) return LLVMBuildExtractElement(e->b, x, LLVMConstInt(e->i32, first, 0), "");
  for (unsigned i = 0; i < n; i++) k[i] = LLVMConstInt(e->i32, first + i*step, 0);
  return LLVMBuildShuffleVector(e->b, x, LLVMGetPoison(LLVMTypeOf(x)), LLVMConstVector(k, n), "");
}

LLVMValueRef emit_fold_join(Emitter *e, const Fold *f, const LLVMValueRef *lanes, unsigned width) {
  LLVMValueRef x[FOLD_LANES];
  unsigned n = FOLD_LANES/width;
  for (unsigned i = 0; i < n; i++) x[i] = lanes[i];
  while (n > 1) {
    n /= 2;
    for (unsigned i = 0; i < n; i++) x[i] = pair(e, f, x[i], x[i + n], width);
  }
  for (; width > 1; width /= 2) x[0] = pair(e, f, pick(e, x[0], width/2, 0, 1), pick(e, x[0], width/2, width/2, 1), width/2);
  return x[0];
}

/* --- places on the stack ------------------------------------------------------------------------------------------------------------- */

static LLVMValueRef room(Emitter *e, const Fold *f, unsigned n) {
  return emit_stack(e, emit_memory_type(e, f->type), n);
}

static LLVMValueRef place_at(Emitter *e, const Fold *f, LLVMValueRef base, LLVMValueRef index) {
  return LLVMBuildInBoundsGEP2(e->b, emit_memory_type(e, f->type), base, &index, 1, "");
}

static LLVMValueRef get(Emitter *e, const Fold *f, LLVMValueRef base, LLVMValueRef index, unsigned lanes) {
  LLVMTypeRef type = emit_memory_type(e, f->type);
  LLVMValueRef x = LLVMBuildLoad2(e->b, lanes > 1 ? LLVMVectorType(type, lanes) : type, place_at(e, f, base, index), "");
  LLVMSetAlignment(x, type_bytes(f->type));
  return emit_from_memory(e, f->type, x, lanes);
}

static void put(Emitter *e, const Fold *f, LLVMValueRef base, LLVMValueRef index, LLVMValueRef x, unsigned lanes) {
  LLVMSetAlignment(LLVMBuildStore(e->b, emit_to_memory(e, f->type, x, lanes), place_at(e, f, base, index)), type_bytes(f->type));
}

void emit_fold_keep_lanes(Emitter *e, const Fold *f, const LLVMValueRef *lanes, unsigned width) {
  for (unsigned i = 0; i < FOLD_LANES/width; i++) put(e, f, f->lanes, number(e, i*width), lanes[i], width);
}

void emit_fold_take_lanes(Emitter *e, const Fold *f, LLVMValueRef *lanes, unsigned width) {
  for (unsigned i = 0; i < FOLD_LANES/width; i++) lanes[i] = get(e, f, f->lanes, number(e, i*width), width);
}

void emit_fold_keep_block(Emitter *e, const Fold *f, LLVMValueRef index, LLVMValueRef x) { put(e, f, f->blocks, index, x, 1); }

void emit_fold_position(Emitter *e, const Fold *f, LLVMValueRef x, LLVMValueRef guard) {
  LLVMValueRef lane = LLVMBuildAnd(e->b, f->position, number(e, FOLD_LANES - 1), ""), sum = get(e, f, f->lanes, lane, 1);
  emit_fold_value(e, f, &sum, x, guard, 1);
  put(e, f, f->lanes, lane, sum, 1);
}

/* --- loops of the order itself --------------------------------------------------------------------------------------------------------- */

Count emit_open_count(Emitter *e, LLVMValueRef from, LLVMValueRef to, LLVMValueRef step) {
  Count c = {.head = emit_new_block(e), .after = emit_new_block(e), .step = step};
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), body = emit_new_block(e);
  LLVMBuildBr(e->b, c.head);
  LLVMPositionBuilderAtEnd(e->b, c.head);
  c.index = LLVMBuildPhi(e->b, e->i64, "");
  LLVMAddIncoming(c.index, &from, &before, 1);
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, c.index, to, ""), body, c.after);
  LLVMPositionBuilderAtEnd(e->b, body);
  return c;
}

void emit_close_count(Emitter *e, const Count *c) {
  LLVMValueRef next = LLVMBuildAdd(e->b, c->index, c->step, "");
  LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
  LLVMAddIncoming(c->index, &next, &last, 1);
  LLVMBuildBr(e->b, c->head);
  LLVMPositionBuilderAtEnd(e->b, c->after);
}

/* while (test(state)) state = next: two values go around. The builder stands in `body` after the test is closed. */
typedef struct Round { LLVMBasicBlockRef head, body, after; LLVMValueRef state[2]; } Round;

static Round open_round(Emitter *e, LLVMValueRef x, LLVMValueRef y) {
  Round r = {emit_new_block(e), emit_new_block(e), emit_new_block(e), {NULL}};
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
  LLVMValueRef first[2] = {x, y};
  LLVMBuildBr(e->b, r.head);
  LLVMPositionBuilderAtEnd(e->b, r.head);
  for (int k = 0; k < 2; k++) {
    r.state[k] = LLVMBuildPhi(e->b, LLVMTypeOf(first[k]), "");
    LLVMAddIncoming(r.state[k], &first[k], &before, 1);
  }
  return r;
}

static void test_round(Emitter *e, const Round *r, LLVMValueRef goes_on) {
  LLVMBuildCondBr(e->b, goes_on, r->body, r->after);
  LLVMPositionBuilderAtEnd(e->b, r->body);
}

static void close_round(Emitter *e, const Round *r, LLVMValueRef x, LLVMValueRef y) {
  LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
  LLVMAddIncoming(r->state[0], &x, &last, 1);
  LLVMAddIncoming(r->state[1], &y, &last, 1);
  LLVMBuildBr(e->b, r->head);
  LLVMPositionBuilderAtEnd(e->b, r->after);
}

/* A whole subtree joins its left neighbours: one for each trailing 1 of how many there are. */
void emit_fold_push(Emitter *e, const Fold *f, LLVMValueRef x, LLVMValueRef index) {
  LLVMValueRef one = number(e, 1), ones = LLVMBuildXor(e->b, index, LLVMBuildAdd(e->b, index, one, ""), "");     /* and the bit above them */
  Round r = open_round(e, number(e, 0), x);
  LLVMValueRef left = LLVMBuildLShr(e->b, ones, LLVMBuildAdd(e->b, r.state[0], one, ""), "");
  test_round(e, &r, LLVMBuildIsNotNull(e->b, left, ""));
  LLVMValueRef joined = pair(e, f, get(e, f, f->tree, r.state[0], 1), r.state[1], 1);
  close_round(e, &r, LLVMBuildAdd(e->b, r.state[0], one, ""), joined);
  put(e, f, f->tree, r.state[0], r.state[1], 1);
}

static LLVMValueRef finish(Emitter *e, const Fold *f, LLVMValueRef count) {
  Round r = open_round(e, count, emit_fold_identity(e, f, 1));
  test_round(e, &r, LLVMBuildIsNotNull(e->b, r.state[0], ""));
  LLVMValueRef args[2] = {r.state[0], LLVMConstInt(e->i1, 1, 0)}, level = emit_intrinsic(e, "llvm.cttz", &e->i64, 1, args, 2);
  LLVMValueRef joined = pair(e, f, get(e, f, f->tree, level, 1), r.state[1], 1);
  close_round(e, &r, LLVMBuildAnd(e->b, r.state[0], LLVMBuildSub(e->b, r.state[0], number(e, 1), ""), ""), joined);
  return r.state[1];
}

/* Level by level in place, a few pairs at a time; what is computed beyond the last is not read. */
LLVMValueRef emit_fold_tree(Emitter *e, const Fold *f, LLVMValueRef count) {
  LLVMValueRef one = number(e, 1), zero = number(e, 0);
  Round r = open_round(e, count, zero);
  test_round(e, &r, LLVMBuildICmp(e->b, LLVMIntSGT, r.state[0], one, ""));
  put(e, f, f->blocks, r.state[0], emit_fold_identity(e, f, 1), 1);
  LLVMValueRef half = LLVMBuildLShr(e->b, LLVMBuildAdd(e->b, r.state[0], one, ""), one, "");
  Count c = emit_open_count(e, zero, half, number(e, PIECE));
  LLVMValueRef x = get(e, f, f->blocks, LLVMBuildShl(e->b, c.index, one, ""), 2*PIECE);
  put(e, f, f->blocks, c.index, pair(e, f, pick(e, x, PIECE, 0, 2), pick(e, x, PIECE, 1, 2), PIECE), PIECE);
  emit_close_count(e, &c);
  close_round(e, &r, half, zero);
  return get(e, f, f->blocks, zero, 1);
}

/* --- loops that fold --------------------------------------------------------------------------------------------------------------------- */

void emit_open_folds(Emitter *e, const Inst *loop, unsigned places) {
  Folds *folds = &e->folds[loop->id];
  *folds = (Folds){0, arena_array(e->arena, loop->body->n, sizeof *folds->fold)};
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    if (inst->op != KOP_E_FOLD) continue;
    Fold *f = &folds->fold[folds->n++];
    e->fold[inst->id] = f;
    *f = (Fold){.inst = inst, .kind = (ReduceKind)inst->aux, .type = (Type)inst->args[0]->type};
    if (is_ordered(f)) f->type = f->type == TYPE_F64 ? TYPE_I64 : TYPE_I32;
    if (places & FOLD_LANE) f->lanes = room(e, f, FOLD_LANES);
    if (places & FOLD_TREE) f->tree = room(e, f, LEVELS);
    if (places & FOLD_BLOCKS) f->blocks = room(e, f, FOLD_CHUNK_BLOCKS + 2*PIECE);
  }
}

LLVMValueRef emit_fold_positions(Emitter *e, const Inst *loop) {
  LLVMValueRef low = e->value[loop->args[0]->id], high = e->value[loop->args[1]->id];
  return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSGT, high, low, ""), LLVMBuildSub(e->b, high, low, ""), number(e, 0), "");
}

static void clear_lanes(Emitter *e, const Fold *f) {
  LLVMValueRef all = emit_fold_identity(e, f, FOLD_LANES);
  emit_fold_keep_lanes(e, f, &all, FOLD_LANES);
}

static LLVMValueRef in_block(Emitter *e, LLVMValueRef position) { return LLVMBuildAnd(e->b, position, number(e, FOLD_BLOCK - 1), ""); }

/* if (condition) the block at hand is the next of the tree. */
static void close_block(Emitter *e, const Inst *loop, LLVMValueRef condition, LLVMValueRef position) {
  LLVMBasicBlockRef then = emit_new_block(e), join = emit_new_block(e);
  LLVMBuildCondBr(e->b, condition, then, join);
  LLVMPositionBuilderAtEnd(e->b, then);
  LLVMValueRef index = LLVMBuildLShr(e->b, position, number(e, FOLD_BLOCK_BITS), "");
  for (unsigned k = 0; k < e->folds[loop->id].n; k++) {
    const Fold *f = &e->folds[loop->id].fold[k];
    LLVMValueRef lanes;
    emit_fold_take_lanes(e, f, &lanes, FOLD_LANES);
    emit_fold_push(e, f, emit_fold_join(e, f, &lanes, FOLD_LANES), index);
    clear_lanes(e, f);
  }
  LLVMBuildBr(e->b, join);
  LLVMPositionBuilderAtEnd(e->b, join);
}

void emit_begin_scalar_folds(Emitter *e, const Inst *loop) {
  emit_open_folds(e, loop, FOLD_TREE | FOLD_LANE);
  for (unsigned k = 0; k < e->folds[loop->id].n; k++) clear_lanes(e, &e->folds[loop->id].fold[k]);
}

void emit_enter_scalar_folds(Emitter *e, const Inst *loop, LLVMValueRef position) {
  for (unsigned k = 0; k < e->folds[loop->id].n; k++) e->folds[loop->id].fold[k].position = position;
}

void emit_leave_scalar_folds(Emitter *e, const Inst *loop) {
  if (!e->folds[loop->id].n) return;
  LLVMValueRef position = e->folds[loop->id].fold->position;
  close_block(e, loop, LLVMBuildICmp(e->b, LLVMIntEQ, in_block(e, position), number(e, FOLD_BLOCK - 1), ""), position);
}

void emit_end_scalar_folds(Emitter *e, const Inst *loop) {
  if (!e->folds[loop->id].n) return;
  LLVMValueRef n = emit_fold_positions(e, loop);
  close_block(e, loop, LLVMBuildIsNotNull(e->b, in_block(e, n), ""), n);
  emit_close_folds(e, loop, LLVMBuildLShr(e->b, LLVMBuildAdd(e->b, n, number(e, FOLD_BLOCK - 1), ""), number(e, FOLD_BLOCK_BITS), ""));
}

void emit_close_folds(Emitter *e, const Inst *loop, LLVMValueRef count) {
  for (unsigned k = 0; k < e->folds[loop->id].n; k++) {
    const Fold *f = &e->folds[loop->id].fold[k];
    emit_fold_give(e, f, finish(e, f, count));
  }
}
