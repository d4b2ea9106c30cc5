/* emit_gpu.c: what is of GPUs only: the loop of a block over its work entries, and how a team of threads goes through a kernel (ir/gpu_map.h).
 *
 * e->team says who runs the code at hand: threads of a block or a group of 16 together, or each alone in iterations of its own. Every thread of a team computes what is
 * uniform; where something is written, its first thread does that. */
#include "backends/emit.h"
#include <stddef.h>

enum { WARP = 32, SHARED_SPACE = 3 };

static LLVMValueRef number(const Emitter *e, uint64_t n) { return LLVMConstInt(e->i64, n, 0); }
static LLVMValueRef word(const Emitter *e, uint64_t n) { return LLVMConstInt(e->i32, n, 0); }
static LLVMValueRef plus(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildAdd(e->b, x, y, ""); }
static LLVMValueRef minus(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildSub(e->b, x, y, ""); }
static LLVMValueRef times(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildMul(e->b, x, y, ""); }
static LLVMValueRef less(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildICmp(e->b, LLVMIntSLT, x, y, ""); }
static LLVMValueRef least(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildSelect(e->b, less(e, x, y), x, y, ""); }
static LLVMValueRef shifted(const Emitter *e, LLVMValueRef x, unsigned bits) { return LLVMBuildLShr(e->b, x, number(e, bits), ""); }

static LLVMValueRef special(Emitter *e, const char *name) { return emit_intrinsic(e, name, NULL, 0, NULL, 0); }
static LLVMValueRef wide(Emitter *e, LLVMValueRef x) { return LLVMBuildZExt(e->b, x, e->i64, ""); }

/* if (condition) around what is written between the two. */
typedef struct Under { LLVMBasicBlockRef before, after; } Under;
static Under open_under(Emitter *e, LLVMValueRef condition) {
  LLVMBasicBlockRef then = emit_new_block(e);
  Under u = {LLVMGetInsertBlock(e->b), emit_new_block(e)};
  LLVMBuildCondBr(e->b, condition, then, u.after);
  LLVMPositionBuilderAtEnd(e->b, then);
  return u;
}
static void close_under(Emitter *e, const Under *u) {
  LLVMBuildBr(e->b, u->after);
  LLVMPositionBuilderAtEnd(e->b, u->after);
}

/* --- work entries ----------------------------------------------------------------------------------------------------------------------- */

static LLVMValueRef entry_word(Emitter *e, LLVMValueRef work, LLVMValueRef index, uint64_t offset) {
  LLVMValueRef at = plus(e, times(e, index, number(e, sizeof(optc_work))), number(e, offset));
  return LLVMBuildLoad2(e->b, e->i64, LLVMBuildInBoundsGEP2(e->b, e->i8, work, &at, 1, ""), "");
}

static LLVMValueRef shared_room(Emitter *e, const char *name, LLVMTypeRef type) {
  LLVMValueRef place = LLVMAddGlobalInAddressSpace(e->llvm, type, name, SHARED_SPACE);
  LLVMSetLinkage(place, LLVMInternalLinkage);
  LLVMSetInitializer(place, LLVMGetUndef(type));
  LLVMSetAlignment(place, 16);
  return place;
}

/* Which thread of its team this one is. */
static void number_threads(Emitter *e) {
  GpuThread *t = &e->thread;
  t->lane = special(e, "llvm.nvvm.read.ptx.sreg.tid.x");
  LLVMValueRef rank = wide(e, t->lane), size = wide(e, special(e, "llvm.nvvm.read.ptx.sreg.ntid.x"));
  t->own_group = shifted(e, rank, 4);
  if (e->map->splits) {
    rank = plus(e, rank, times(e, size, wide(e, special(e, "llvm.nvvm.read.ptx.sreg.ctaid.y"))));
    size = times(e, size, wide(e, special(e, "llvm.nvvm.read.ptx.sreg.nctaid.y")));
  }
  t->rank[TEAM_BLOCK] = rank;
  t->size[TEAM_BLOCK] = size;
  t->group = shifted(e, rank, 4);
  t->groups = shifted(e, size, 4);
  t->rank[TEAM_GROUP] = LLVMBuildAnd(e->b, rank, number(e, GPU_GROUP - 1), "");
  t->size[TEAM_GROUP] = number(e, GPU_GROUP);
  t->members = LLVMBuildShl(e->b, word(e, 0xffff), LLVMBuildAnd(e->b, t->lane, word(e, GPU_GROUP), ""), "");
  if (e->map->slots) t->slots = shared_room(e, "slots", LLVMArrayType2(e->i64, e->map->slots));
}

/* for (w = ctaid.x; w < n_work; w += nctaid.x): the builder stands in the first block of the function, then e->entry where the frame is entered. */
void emit_open_work(Emitter *e) {
  LLVMValueRef frames = LLVMGetParam(e->fn, 0), work = LLVMGetParam(e->fn, 1), from = wide(e, special(e, "llvm.nvvm.read.ptx.sreg.ctaid.x"));
  if (e->map->shared) number_threads(e);
  e->team = e->map->shared ? TEAM_BLOCK : TEAM_NONE;
  e->blocks = emit_open_count(e, from, LLVMGetParam(e->fn, 2), wide(e, special(e, "llvm.nvvm.read.ptx.sreg.nctaid.x")));
  LLVMValueRef index = e->blocks.index, at = times(e, entry_word(e, work, index, offsetof(optc_work, frame)), number(e, sizeof(optc_frame)));
  e->frame = LLVMBuildInBoundsGEP2(e->b, e->i8, frames, &at, 1, "");
  e->field[offsetof(optc_frame, begin)/8] = entry_word(e, work, index, offsetof(optc_work, begin));
  e->field[offsetof(optc_frame, end)/8] = entry_word(e, work, index, offsetof(optc_work, end));
  LLVMPositionBuilderAtEnd(e->entry, LLVMGetInsertBlock(e->b));
}

static void meet(Emitter *e) {
  if (e->team == TEAM_BLOCK) emit_intrinsic(e, "llvm.nvvm.barrier0", NULL, 0, NULL, 0);
  else emit_intrinsic(e, "llvm.nvvm.bar.warp.sync", NULL, 0, &e->thread.members, 1);
}

/* What lies in shared memory the next work entry writes anew. */
void emit_close_work(Emitter *e) {
  if (e->map->keeps) meet(e);
  emit_close_count(e, &e->blocks);
}

static LLVMValueRef local_room(Emitter *e, const Buffer *b, GpuHome home) {
  uint64_t n = buffer_elements(b, e->variant->tile_rows);
  LLVMTypeRef type = emit_memory_type(e, b->type);
  if (!e->map->shared || home == HOME_THREAD) return emit_stack(e, type, n);
  if (home == HOME_BLOCK) return shared_room(e, b->name, LLVMArrayType2(type, n));
  uint64_t bytes = (n*type_bytes(b->type) + 15) & ~(uint64_t)15;
  LLVMValueRef all = shared_room(e, b->name, LLVMArrayType2(e->i8, bytes*(GPU_BLOCK/GPU_GROUP)));
  LLVMValueRef offset = LLVMBuildMul(e->entry, e->thread.own_group, number(e, bytes), "");
  return LLVMBuildInBoundsGEP2(e->entry, e->i8, all, &offset, 1, "");
}

/* A local buffer: on the stack where a thread has its own, in shared memory where a group or the block has. */
LLVMValueRef emit_gpu_local(Emitter *e, unsigned temp) {
  GpuHome home = e->home ? e->home[temp] : HOME_BLOCK;
  LLVMValueRef *known = &e->local[HOMES*temp + home];
  if (!*known) *known = local_room(e, &e->program->temps[temp], home);
  return *known;
}

static void find_written(Emitter *e, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    Touch touch[MAX_TOUCHES];
    for (unsigned n = inst_touches(block->insts[i], touch), k = 0; k < n; k++) if (touch[k].written) e->constant[touch[k].buffer] = false;
    find_written(e, block->insts[i]->body);
    find_written(e, block->insts[i]->otherwise);
  }
}

void emit_gpu_constants(Emitter *e, const Kernel *k) {
  unsigned operands = e->module->n_operands, n = operands + e->program->n_temps;
  e->constant = arena_array(e->arena, n + 1, sizeof *e->constant);
  for (unsigned b = 0; b < n; b++) e->constant[b] = b < operands || !e->program->temps[b - operands].local;
  find_written(e, k->body);
}

void emit_gpu_constant(const Emitter *e, int64_t buffer, LLVMValueRef load) {
  static const char name[] = "invariant.load";
  if (!e->map || !e->constant[buffer]) return;
  LLVMSetMetadata(load, LLVMGetMDKindIDInContext(e->context, name, sizeof name - 1), LLVMMetadataAsValue(e->context, LLVMMDNodeInContext2(e->context, NULL, 0)));
}

/* --- numbers that threads tell each other ------------------------------------------------------------------------------------------------- */

/* The words of 32 bits of a number, and back. */
static unsigned to_words(Emitter *e, LLVMValueRef x, LLVMValueRef *out) {
  LLVMTypeRef type = LLVMTypeOf(x);
  if (type == e->f32) x = LLVMBuildBitCast(e->b, x, e->i32, "");
  if (type == e->f64) x = LLVMBuildBitCast(e->b, x, e->i64, "");
  if (LLVMTypeOf(x) != e->i64) { out[0] = LLVMBuildZExtOrBitCast(e->b, x, e->i32, ""); return 1; }
  out[0] = LLVMBuildTrunc(e->b, x, e->i32, "");
  out[1] = LLVMBuildTrunc(e->b, shifted(e, x, 32), e->i32, "");
  return 2;
}
static LLVMValueRef from_words(Emitter *e, LLVMTypeRef type, const LLVMValueRef *in) {
  if (type == e->f32) return LLVMBuildBitCast(e->b, in[0], type, "");
  if (type != e->i64 && type != e->f64) return LLVMBuildTruncOrBitCast(e->b, in[0], type, "");
  LLVMValueRef x = LLVMBuildOr(e->b, wide(e, in[0]), LLVMBuildShl(e->b, wide(e, in[1]), number(e, 32), ""), "");
  return type == e->f64 ? LLVMBuildBitCast(e->b, x, type, "") : x;
}

/* What another lane has: its number with some bits flipped, or the first one of the group. */
static LLVMValueRef shuffle(Emitter *e, const char *name, LLVMValueRef members, LLVMValueRef x, unsigned lane, unsigned range) {
  LLVMValueRef words[2];
  unsigned n = to_words(e, x, words);
  for (unsigned k = 0; k < n; k++) {
    LLVMValueRef args[4] = {members, words[k], word(e, lane), word(e, range)};
    words[k] = emit_intrinsic(e, name, NULL, 0, args, 4);
  }
  return from_words(e, LLVMTypeOf(x), words);
}
static LLVMValueRef from_lane(Emitter *e, LLVMValueRef members, LLVMValueRef x, unsigned flip) { return shuffle(e, "llvm.nvvm.shfl.sync.bfly.i32", members, x, flip, WARP - 1); }
static LLVMValueRef from_first(Emitter *e, LLVMValueRef x) {
  return shuffle(e, "llvm.nvvm.shfl.sync.idx.i32", e->thread.members, x, 0, (WARP - GPU_GROUP) << 8 | (WARP - 1));
}

static LLVMValueRef slot(Emitter *e, LLVMValueRef index) { return LLVMBuildInBoundsGEP2(e->b, e->i64, e->thread.slots, &index, 1, ""); }
static void put_slot(Emitter *e, Type type, LLVMValueRef index, LLVMValueRef x) { LLVMBuildStore(e->b, emit_to_memory(e, type, x, 1), slot(e, index)); }
static LLVMValueRef get_slot(Emitter *e, Type type, LLVMValueRef index) {
  return emit_from_memory(e, type, LLVMBuildLoad2(e->b, emit_memory_type(e, type), slot(e, index), ""), 1);
}

static LLVMValueRef is_first(Emitter *e) { return LLVMBuildIsNull(e->b, e->thread.rank[e->team], ""); }

/* --- loops that are dealt out -------------------------------------------------------------------------------------------------------------- */

/* Iterations of a dealt loop have some local buffers of their own: those stand elsewhere while it is open. */
typedef struct Homes { LLVMValueRef *data; GpuHome *home; Team team; } Homes;

static Homes enter_homes(Emitter *e, const Inst *loop, GpuHome home, Team team) {
  unsigned operands = e->module->n_operands, n = e->program->n_temps;
  Homes kept = {e->data, e->home, e->team};
  e->data = arena_array(e->arena, operands + n + 1, sizeof *e->data);
  e->home = arena_array(e->arena, n + 1, sizeof *e->home);
  for (unsigned k = 0; k < operands + n; k++) e->data[k] = kept.data[k];
  for (unsigned k = 0; k < n; k++) {
    e->home[k] = kept.home ? kept.home[k] : HOME_BLOCK;
    if (!e->program->temps[k].local || !gpu_is_own(loop, operands + k)) continue;
    e->home[k] = home;
    e->data[operands + k] = NULL;
  }
  e->team = team;
  return kept;
}

static void leave_homes(Emitter *e, const Homes *kept) {
  unsigned operands = e->module->n_operands;
  for (unsigned k = 0; k < operands + e->program->n_temps; k++) {
    bool own = k >= operands && e->home[k - operands] != (kept->home ? kept->home[k - operands] : HOME_BLOCK);
    if (!own) kept->data[k] = e->data[k];
  }
  e->data = kept->data;
  e->home = kept->home;
  e->team = kept->team;
}

/* Nothing inside, and places that move with the loop: the body may be written several times side by side. */
static bool is_flat(const Inst *loop) {
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    bool access = inst->op == KOP_E_LOAD || inst->op == KOP_E_STORE;
    if (inst->body || inst->op == KOP_E_FRESH || (access && !place_follows(inst->args[0], loop))) return false;
  }
  return true;
}

/* for (index = from; index < to; index += step) { body }; folds add to sum[0]. */
static void plain_loop(Emitter *e, const Inst *loop, LLVMValueRef from, LLVMValueRef to, LLVMValueRef step) {
  Folds *folds = &e->folds[loop->id];
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
  LLVMValueRef *around = arena_array(e->arena, folds->n + 1, sizeof *around);
  Count c = emit_open_count(e, from, to, step);
  LLVMBasicBlockRef body = LLVMGetInsertBlock(e->b);
  LLVMPositionBuilderBefore(e->b, c.index);
  for (unsigned k = 0; k < folds->n; k++) {
    around[k] = LLVMBuildPhi(e->b, LLVMTypeOf(folds->fold[k].sum[0]), "");
    LLVMAddIncoming(around[k], &folds->fold[k].sum[0], &before, 1);
    folds->fold[k].sum[0] = around[k];
  }
  LLVMPositionBuilderAtEnd(e->b, body);
  e->value[loop->id] = c.index;
  emit_block(e, loop->body);
  LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
  for (unsigned k = 0; k < folds->n; k++) {
    LLVMAddIncoming(around[k], &folds->fold[k].sum[0], &last, 1);
    folds->fold[k].sum[0] = around[k];
  }
  emit_close_count(e, &c);
}

/* Whether memory gives and takes `n` elements at once, from the index `low` on: 0, or bits of the addresses that should not be there. */
static LLVMValueRef misaligned(Emitter *e, const Inst *loop, LLVMValueRef low, unsigned n) {
  LLVMValueRef bits = number(e, 0);
  for (unsigned i = 0; i < loop->body->n; i++) {
    const Inst *inst = loop->body->insts[i];
    if (inst->op != KOP_E_LOAD && inst->op != KOP_E_STORE) continue;
    uint64_t bytes = (uint64_t)n*type_bytes(program_buffer_type(e->program, (unsigned)inst->imm));
    LLVMValueRef at = LLVMBuildPtrToInt(e->b, emit_place(e, inst, low), e->i64, "");
    bits = LLVMBuildOr(e->b, bits, LLVMBuildAnd(e->b, at, number(e, (bytes < 16 ? bytes : 16) - 1), ""), "");
  }
  return bits;
}

/* Four neighbours a thread where that is 16 bytes or fewer of each tensor, which all then begin well; what is left, one by one. */
static void flat_loop(Emitter *e, const Inst *loop, LLVMValueRef low, LLVMValueRef high, LLVMValueRef rank, LLVMValueRef size) {
  enum { AT_ONCE = 4, LONGEST = 400 };
  Width one = {.lanes = 1, .copies = 1, .group = 1}, four = {.lanes = 1, .copies = AT_ONCE, .group = AT_ONCE, .joined = true};
  emit_hoist(e, loop);
  if (e->map->wide && loop->body->n <= LONGEST) {
    LLVMValueRef zero = number(e, 0), n = minus(e, high, low), fits = LLVMBuildAnd(e->b, less(e, zero, n), LLVMBuildIsNull(e->b, misaligned(e, loop, low, AT_ONCE), ""), "");
    LLVMValueRef whole = LLVMBuildAnd(e->b, n, LLVMConstInt(e->i64, ~(uint64_t)(AT_ONCE - 1), 0), ""), end = plus(e, low, LLVMBuildSelect(e->b, fits, whole, zero, ""));
    emit_counted_loop(e, loop, &four, false, plus(e, low, times(e, rank, number(e, AT_ONCE))), end, high, times(e, size, number(e, AT_ONCE)));
    low = end;
  }
  emit_counted_loop(e, loop, &one, false, plus(e, low, rank), high, high, size);
}

static void deal_to_threads(Emitter *e, const Inst *loop) {
  LLVMValueRef low = e->value[loop->args[0]->id], high = e->value[loop->args[1]->id], rank = e->thread.rank[e->team], size = e->thread.size[e->team];
  Homes kept = enter_homes(e, loop, HOME_THREAD, TEAM_NONE);
  if (is_flat(loop)) flat_loop(e, loop, low, high, rank, size);
  else plain_loop(e, loop, plus(e, low, rank), high, size);
  leave_homes(e, &kept);
}

static void deal_to_groups(Emitter *e, const Inst *loop) {
  LLVMValueRef low = e->value[loop->args[0]->id], high = e->value[loop->args[1]->id];
  Homes kept = enter_homes(e, loop, HOME_GROUP, TEAM_GROUP);
  if (e->map->gather[loop->id]) meet(e);
  plain_loop(e, loop, plus(e, low, e->thread.group), high, e->thread.groups);
  leave_homes(e, &kept);
}

/* The first thread alone; then all know what the loop carries and folds. */
static void leave_to_first(Emitter *e, const Inst *loop) {
  unsigned n = 0, carried = loop->n_args - 2;
  Type type[64];
  LLVMValueRef *result[64], zero[64];
  Team team = e->team;
  Under first = open_under(e, is_first(e));
  e->team = TEAM_NONE;
  emit_sequential_loop(e, loop);
  e->team = team;
  for (; n < carried && n < 64; n++) {
    type[n] = (Type)loop->args[n + 2]->type;
    result[n] = &e->carried[loop->id][n];
  }
  for (const Inst *fold; n < 64 && (fold = loop_fold(loop, n - carried)); n++) {
    type[n] = (Type)fold->args[0]->type;
    result[n] = &e->value[fold->id];
  }
  for (unsigned k = 0; k < n && team == TEAM_BLOCK; k++) put_slot(e, type[k], number(e, k), *result[k]);
  LLVMBasicBlockRef from[2] = {LLVMGetInsertBlock(e->b), first.before};
  close_under(e, &first);
  if (team == TEAM_BLOCK && n) meet(e);
  for (unsigned k = 0; k < n && team == TEAM_GROUP; k++) {
    LLVMValueRef phi = LLVMBuildPhi(e->b, LLVMTypeOf(*result[k]), ""), in[2] = {*result[k], LLVMConstNull(LLVMTypeOf(*result[k]))};
    LLVMAddIncoming(phi, in, from, 2);
    zero[k] = phi;
  }
  for (unsigned k = 0; k < n; k++) *result[k] = team == TEAM_BLOCK ? get_slot(e, type[k], number(e, k)) : from_first(e, zero[k]);
}

/* --- folds ---------------------------------------------------------------------------------------------------------------------------------- */

/* Positions low..high of a block, of which this thread is one lane: it adds every 16th, several of which it has asked for before it adds. */
static void add_lane(Emitter *e, const Inst *loop, LLVMValueRef low, LLVMValueRef high) {
  enum { AT_ONCE = 4 };
  Folds *folds = &e->folds[loop->id];
  LLVMValueRef from = plus(e, low, e->thread.rank[TEAM_GROUP]), step = number(e, GPU_GROUP);
  for (unsigned k = 0; k < folds->n; k++) folds->fold[k].sum[0] = emit_fold_identity(e, &folds->fold[k], 1);
  Homes kept = enter_homes(e, loop, HOME_THREAD, TEAM_NONE);
  if (is_flat(loop)) {
    Width one = {.lanes = 1, .copies = 1, .group = 1, .chain = true}, some = {.lanes = 1, .copies = AT_ONCE, .group = 1, .far = step, .chain = true};
    emit_hoist(e, loop);
    from = emit_counted_loop(e, loop, &some, false, from, minus(e, high, number(e, (AT_ONCE - 1)*GPU_GROUP)), high, number(e, AT_ONCE*GPU_GROUP));
    emit_counted_loop(e, loop, &one, false, from, high, high, step);
  } else {
    for (unsigned k = 0; k < folds->n; k++) folds->fold[k].chain = true;
    plain_loop(e, loop, from, high, step);
  }
  leave_homes(e, &kept);
  for (unsigned k = 0; k < folds->n; k++)
    for (unsigned half = GPU_GROUP/2; half; half /= 2) folds->fold[k].sum[0] = emit_fold_pair(e, &folds->fold[k], folds->fold[k].sum[0], from_lane(e, e->thread.members, folds->fold[k].sum[0], half));
}

static LLVMValueRef blocks_of(Emitter *e, LLVMValueRef n) { return shifted(e, plus(e, n, number(e, FOLD_BLOCK - 1)), FOLD_BLOCK_BITS); }

/* 64 blocks at once, by the lanes of a warp: neighbours, then pairs of them, and so on. Blocks that are not there are the identity. */
static LLVMValueRef join_blocks(Emitter *e, const Fold *f, unsigned which, LLVMValueRef blocks) {
  LLVMValueRef lane = wide(e, LLVMBuildAnd(e->b, e->thread.lane, word(e, WARP - 1), "")), x[2], everyone = word(e, UINT32_MAX);
  for (unsigned k = 0; k < 2; k++) {
    LLVMValueRef index = plus(e, LLVMBuildShl(e->b, lane, number(e, 1), ""), number(e, k)), there = less(e, index, blocks);
    LLVMValueRef at = plus(e, LLVMBuildSelect(e->b, there, index, number(e, 0), ""), number(e, which*GPU_SLOTS));
    x[k] = LLVMBuildSelect(e->b, there, get_slot(e, f->type, at), emit_fold_identity(e, f, 1), "");
  }
  LLVMValueRef sum = emit_fold_pair(e, f, x[0], x[1]);
  for (unsigned flip = 1; flip < WARP; flip *= 2) sum = emit_fold_pair(e, f, sum, from_lane(e, everyone, sum, flip));
  return sum;
}

/* Up to a chunk of positions from `base`: blocks are dealt to groups, their values stand in shared memory until all are there. The first one always is. */
static void fold_chunk(Emitter *e, const Inst *loop, LLVMValueRef base, LLVMValueRef left) {
  Folds *folds = &e->folds[loop->id];
  LLVMValueRef blocks = blocks_of(e, left), some = LLVMBuildSelect(e->b, less(e, blocks, number(e, 1)), number(e, 1), blocks, ""), end = plus(e, base, left);
  Count c = emit_open_count(e, e->thread.group, some, e->thread.groups);
  LLVMValueRef low = plus(e, base, LLVMBuildShl(e->b, c.index, number(e, FOLD_BLOCK_BITS), ""));
  add_lane(e, loop, low, least(e, end, plus(e, low, number(e, FOLD_BLOCK))));
  Under first = open_under(e, LLVMBuildIsNull(e->b, e->thread.rank[TEAM_GROUP], ""));
  for (unsigned k = 0; k < folds->n; k++) put_slot(e, folds->fold[k].type, plus(e, c.index, number(e, k*GPU_SLOTS)), folds->fold[k].sum[0]);
  close_under(e, &first);
  emit_close_count(e, &c);
  meet(e);
  for (unsigned k = 0; k < folds->n; k++) folds->fold[k].sum[0] = join_blocks(e, &folds->fold[k], k, blocks);
}

static void fold_in_block(Emitter *e, const Inst *loop) {
  Folds *folds = &e->folds[loop->id];
  LLVMValueRef low = e->value[loop->args[0]->id], n = emit_fold_positions(e, loop);
  bool one = e->kernel->launch == LAUNCH_CHUNK && loop->args[0]->op == KOP_E_BEGIN && loop->args[1]->op == KOP_E_END;
  emit_open_folds(e, loop, one ? 0 : FOLD_TREE);
  if (one) {
    fold_chunk(e, loop, low, n);
    for (unsigned k = 0; k < folds->n; k++) emit_fold_give(e, &folds->fold[k], folds->fold[k].sum[0]);
    return;
  }
  LLVMValueRef chunk = number(e, OPTC_CHUNK);
  Count c = emit_open_count(e, number(e, 0), n, chunk);
  Under later = open_under(e, LLVMBuildIsNotNull(e->b, c.index, ""));
  meet(e);
  close_under(e, &later);
  fold_chunk(e, loop, plus(e, low, c.index), least(e, minus(e, n, c.index), chunk));
  for (unsigned k = 0; k < folds->n; k++) emit_fold_push(e, &folds->fold[k], folds->fold[k].sum[0], shifted(e, c.index, FOLD_CHUNK_BITS));
  emit_close_count(e, &c);
  emit_close_folds(e, loop, shifted(e, plus(e, n, number(e, OPTC_CHUNK - 1)), FOLD_CHUNK_BITS));
}

/* Block after block. */
static void fold_in_group(Emitter *e, const Inst *loop) {
  Folds *folds = &e->folds[loop->id];
  LLVMValueRef low = e->value[loop->args[0]->id], n = emit_fold_positions(e, loop), block = number(e, FOLD_BLOCK);
  emit_open_folds(e, loop, FOLD_TREE);
  Count c = emit_open_count(e, number(e, 0), n, block);
  LLVMValueRef from = plus(e, low, c.index);
  add_lane(e, loop, from, plus(e, from, least(e, block, minus(e, n, c.index))));
  for (unsigned k = 0; k < folds->n; k++) emit_fold_push(e, &folds->fold[k], folds->fold[k].sum[0], shifted(e, c.index, FOLD_BLOCK_BITS));
  emit_close_count(e, &c);
  emit_close_folds(e, loop, blocks_of(e, n));
}

/* Transposed or copied: elements are dealt to threads. One that is alone has them all. */
void emit_gpu_move(Emitter *e, const Inst *inst) {
  bool alone = e->team == TEAM_NONE;
  Touch buffer[MAX_TOUCHES];
  LLVMValueRef x[MOVE_ARGS];
  inst_touches(inst, buffer);
  for (unsigned i = 0; i < MOVE_ARGS; i++) x[i] = e->value[inst->args[i]->id];
  LLVMTypeRef type = emit_memory_type(e, program_buffer_type(e->program, buffer[0].buffer));
  Count c = emit_open_count(e, alone ? number(e, 0) : e->thread.rank[e->team], times(e, x[MOVE_ROWS], x[MOVE_COLUMNS]), alone ? number(e, 1) : e->thread.size[e->team]);
  LLVMValueRef row = LLVMBuildUDiv(e->b, c.index, x[MOVE_COLUMNS], ""), column = minus(e, c.index, times(e, row, x[MOVE_COLUMNS]));
  LLVMValueRef value = LLVMBuildLoad2(e->b, type, emit_address(e, buffer[1].buffer, plus(e, x[MOVE_FROM], plus(e, times(e, row, x[MOVE_FROM_STRIDE]), column))), "");
  LLVMValueRef line = inst->op == KOP_E_TILE_COPY ? row : column, within = inst->op == KOP_E_TILE_COPY ? column : row;
  LLVMBuildStore(e->b, value, emit_address(e, buffer[0].buffer, plus(e, x[MOVE_TO], plus(e, times(e, line, x[MOVE_TO_STRIDE]), within))));
  emit_close_count(e, &c);
}

/* Tile (i, j) of an entry is block number i*GPU_TILES_ACROSS + j's, around and around: the same one's in every block of positions. */
static void deal_to_blocks(Emitter *e, const Inst *loop) {
  LLVMValueRef low = e->value[loop->args[0]->id], high = e->value[loop->args[1]->id], own = wide(e, special(e, "llvm.nvvm.read.ptx.sreg.ctaid.y")), blocks = wide(e, special(e, "llvm.nvvm.read.ptx.sreg.nctaid.y"));
  const Inst *outer = e->dealt;
  if (outer) own = minus(e, own, times(e, minus(e, e->value[outer->id], e->value[outer->args[0]->id]), number(e, GPU_TILES_ACROSS)));
  LLVMValueRef first = LLVMBuildSRem(e->b, own, blocks, "");
  first = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, first, number(e, 0), ""), plus(e, first, blocks), first, "");
  plain_loop(e, loop, plus(e, low, first), high, blocks);
}

static void go_each(Emitter *e, const Inst *loop) {
  const Inst *before = e->dealt;
  if (loop->binding == BIND_BLOCK) e->dealt = loop;
  emit_sequential_loop(e, loop);
  e->dealt = before;
}

/* --- a team -------------------------------------------------------------------------------------------------------------------------------- */

static void team_loop(Emitter *e, const Inst *loop) {
  switch ((GpuWay)e->map->way[loop->id]) {
    case GPU_EACH: go_each(e, loop); return;
    case GPU_BLOCKS: deal_to_blocks(e, loop); return;
    case GPU_ONE: leave_to_first(e, loop); return;
    case GPU_THREADS: deal_to_threads(e, loop); return;
    case GPU_GROUPS: deal_to_groups(e, loop); return;
    case GPU_FOLD:
      if (e->team == TEAM_BLOCK) fold_in_block(e, loop);
      else fold_in_group(e, loop);
  }
}

void emit_team(Emitter *e, const Inst *inst) {
  bool inner = inst->op < ELEMENT_COUNT || kop_has_result((KOp)inst->op) || inst->op == KOP_E_IF || inst->op == KOP_E_FOLD || inst->op == KOP_E_YIELD || inst->op == KOP_E_FRESH;
  if (e->map->barrier[inst->id]) meet(e);
  if (inst->op == KOP_E_FOR) team_loop(e, inst);
  else if (kop_moves(inst->op)) emit_gpu_move(e, inst);
  else if (inner || kop_contracts(inst->op)) emit_alone(e, inst);
  else {
    Under first = open_under(e, is_first(e));
    emit_alone(e, inst);
    close_under(e, &first);
  }
}
