/* emit_tile_gpu.c: products of matrices on a GPU (kernel.def: tile_contract, tile_contract_fast): a function that all threads of a block call together.
 *
 * Panels pass through shared memory in slabs of 128 bytes of positions; rows there are longer than they need be, so that what a warp reads lies in different banks. What
 * is past the matrix is 0 in a slab. There are two: while one is multiplied the next one is copied, from sm_80 on without passing through registers (cp.async). One
 * barrier a slab: behind it the copies of all threads are there, and nobody reads what is overwritten now.
 *
 *   chains     a thread has ROWS x COLUMNS neighbours of C, a chain of fma each, in the order of positions: the bits of every other machine.
 *   fragments  (fast, from sm_80 on) a warp has 8 columns of C, three m16n8 fragments one below the other, in the sums of the tensor core: mma.sync, operands bf16 or
 *              f16 by ldmatrix (k = 16), or f32 rounded to tf32 (k = 8). Who holds what: PTX ISA, "Matrix Fragments for mma.m16n8k16" and "... m16n8k8".
 *
 * A block of fewer threads than a tile has shares goes over the panels again for the others. */
#include "backends/emit.h"
#include <string.h>

enum { SHARED = 3, GLOBAL = 1, WARP = 32, SLAB_BYTES = 128 };
enum { ROWS = 3, COLUMNS = 4, PAIR = 2, GROUP = KERNEL_TILE_GROUP };      /* of a thread; positions of which it reads A at once (four take more registers than a thread may have) */
enum { FRAGMENT_ROWS = 16, FRAGMENT_COLUMNS = 8, FRAGMENTS = GPU_TILE_ROWS/FRAGMENT_ROWS };
enum { SHARES = GPU_TILE_ROWS/ROWS*(GPU_TILE_COLUMNS/COLUMNS), WARPS = GPU_TILE_COLUMNS/FRAGMENT_COLUMNS };
_Static_assert(GPU_TILE_ROWS % ROWS == 0 && GPU_TILE_COLUMNS % COLUMNS == 0 && SHARES == WARPS*WARP, "as many threads for chains as for fragments");

/* What stands in a slab, by the type in which it is kept: 128 bytes of positions. A row of A has a group of positions, a row of B the columns of a tile; `pad` keeps rows off each other's banks. */
typedef struct Slab { Type type; unsigned positions, pad_a, pad_b, size_a, size_b; LLVMValueRef a, b; } Slab;

typedef struct GpuTile {
  Type type, panel;                      /* of C; of the panels */
  bool fragments, direct;                /* direct: whole slabs are copied without passing through registers */
  Slab slab;
  LLVMValueRef c, a, b, stride, n_rows, n_columns, k, add;
  LLVMValueRef thread, threads, share;   /* this thread, of how many; which part of the tile it has now */
} GpuTile;

static LLVMValueRef number(const Emitter *e, uint64_t n) { return LLVMConstInt(e->i64, n, 0); }
static LLVMValueRef plus(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildAdd(e->b, x, y, ""); }
static LLVMValueRef times(const Emitter *e, LLVMValueRef x, uint64_t n) { return LLVMBuildMul(e->b, x, number(e, n), ""); }
static LLVMValueRef quotient(const Emitter *e, LLVMValueRef x, uint64_t n) { return LLVMBuildUDiv(e->b, x, number(e, n), ""); }
static LLVMValueRef rest(const Emitter *e, LLVMValueRef x, uint64_t n) { return LLVMBuildURem(e->b, x, number(e, n), ""); }
static LLVMValueRef below(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildICmp(e->b, LLVMIntSLT, x, y, ""); }
static LLVMValueRef least(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildSelect(e->b, below(e, x, y), x, y, ""); }
static LLVMValueRef special(const Emitter *e, const char *name) { return LLVMBuildZExt(e->b, emit_intrinsic(e, name, NULL, 0, NULL, 0), e->i64, ""); }
static void barrier(const Emitter *e) { emit_intrinsic(e, "llvm.nvvm.barrier0", NULL, 0, NULL, 0); }

static LLVMValueRef place(const Emitter *e, Type type, LLVMValueRef base, LLVMValueRef element) { return LLVMBuildInBoundsGEP2(e->b, e->type[type], base, &element, 1, ""); }
static LLVMValueRef load(const Emitter *e, Type type, unsigned lanes, LLVMValueRef at) {
  LLVMValueRef x = LLVMBuildLoad2(e->b, emit_type(e, type, lanes), at, "");
  LLVMSetAlignment(x, lanes*type_bytes(type) < 16 ? lanes*type_bytes(type) : 16);
  return x;
}
static void store(const Emitter *e, Type type, unsigned lanes, LLVMValueRef x, LLVMValueRef at) {
  LLVMSetAlignment(LLVMBuildStore(e->b, x, at), lanes*type_bytes(type) < 16 ? lanes*type_bytes(type) : 16);
}

/* --- control -------------------------------------------------------------------------------------------------------------------------------- */

/* for (index = from; index < to; index += step) with carried values: current ones while it is open, the last ones afterwards. */
typedef struct Turns { LLVMBasicBlockRef head, after; LLVMValueRef index, step, carried[ROWS*COLUMNS]; unsigned n; } Turns;

static Turns open_turns(Emitter *e, LLVMValueRef from, LLVMValueRef to, LLVMValueRef step, unsigned n, const LLVMValueRef *first) {
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), body = emit_new_block(e);
  Turns t = {.head = emit_new_block(e), .after = emit_new_block(e), .step = step, .n = n};
  LLVMBuildBr(e->b, t.head);
  LLVMPositionBuilderAtEnd(e->b, t.head);
  t.index = LLVMBuildPhi(e->b, e->i64, "");
  LLVMAddIncoming(t.index, &from, &before, 1);
  for (unsigned i = 0; i < n; i++) {
    LLVMValueRef x = first[i];
    t.carried[i] = LLVMBuildPhi(e->b, LLVMTypeOf(x), "");
    LLVMAddIncoming(t.carried[i], &x, &before, 1);
  }
  LLVMBuildCondBr(e->b, below(e, t.index, to), body, t.after);
  LLVMPositionBuilderAtEnd(e->b, body);
  return t;
}

static void close_turns(Emitter *e, const Turns *t, LLVMValueRef *next) {
  LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
  LLVMValueRef index = plus(e, t->index, t->step);
  LLVMAddIncoming(t->index, &index, &last, 1);
  for (unsigned i = 0; i < t->n; i++) LLVMAddIncoming(t->carried[i], &next[i], &last, 1);
  LLVMBuildBr(e->b, t->head);
  LLVMPositionBuilderAtEnd(e->b, t->after);
}

typedef struct Sides { LLVMBasicBlockRef otherwise, after; } Sides;
static Sides open_sides(Emitter *e, LLVMValueRef condition) {
  LLVMBasicBlockRef then = emit_new_block(e);
  Sides s = {emit_new_block(e), emit_new_block(e)};
  LLVMBuildCondBr(e->b, condition, then, s.otherwise);
  LLVMPositionBuilderAtEnd(e->b, then);
  return s;
}
static void other_side(Emitter *e, const Sides *s) {
  LLVMBuildBr(e->b, s->after);
  LLVMPositionBuilderAtEnd(e->b, s->otherwise);
}
static void close_sides(Emitter *e, const Sides *s) {
  LLVMBuildBr(e->b, s->after);
  LLVMPositionBuilderAtEnd(e->b, s->after);
}

/* --- slabs ---------------------------------------------------------------------------------------------------------------------------------- */

static unsigned pitch_a(const Slab *s) { return GROUP + s->pad_a; }
static unsigned pitch_b(const Slab *s) { return GPU_TILE_COLUMNS + s->pad_b; }

static LLVMValueRef shared_array(Emitter *e, Type type, unsigned elements) {
  LLVMTypeRef array = LLVMArrayType2(e->type[type], elements);
  LLVMValueRef g = LLVMAddGlobalInAddressSpace(e->llvm, array, arena_printf(e->arena, "%s_slab", e->module->name), SHARED);
  LLVMSetLinkage(g, LLVMInternalLinkage);
  LLVMSetInitializer(g, LLVMGetUndef(array));
  LLVMSetAlignment(g, 16);
  return g;
}

static Slab open_slab(Emitter *e, Type type) {
  static const struct { Type type; unsigned pad_a, pad_b; } pads[] = {{TYPE_F64, 2, 2}, {TYPE_F32, 4, 8}, {TYPE_BF16, 8, 8}, {TYPE_F16, 8, 8}};
  unsigned k = 0;
  while (pads[k].type != type) k++;
  Slab s = {.type = type, .positions = SLAB_BYTES/(unsigned)type_bytes(type), .pad_a = pads[k].pad_a, .pad_b = pads[k].pad_b};
  s.size_a = s.positions/GROUP*GPU_TILE_ROWS*pitch_a(&s);
  s.size_b = s.positions*pitch_b(&s);
  s.a = shared_array(e, type, 2*s.size_a);
  s.b = shared_array(e, type, 2*s.size_b);
  return s;
}

/* The same with that one of the two slabs which position `low` falls into. */
static GpuTile with_slab(const Emitter *e, const GpuTile *t, LLVMValueRef low) {
  GpuTile one = *t;
  LLVMValueRef which = rest(e, quotient(e, low, t->slab.positions), 2);
  one.slab.a = place(e, t->slab.type, t->slab.a, times(e, which, t->slab.size_a));
  one.slab.b = place(e, t->slab.type, t->slab.b, times(e, which, t->slab.size_b));
  return one;
}

/* In a slab: row and position of A, position and column of B. */
static LLVMValueRef in_a(const Emitter *e, const GpuTile *t, LLVMValueRef row, LLVMValueRef position) {
  LLVMValueRef line = plus(e, times(e, quotient(e, position, GROUP), GPU_TILE_ROWS), row);
  return place(e, t->slab.type, t->slab.a, plus(e, times(e, line, pitch_a(&t->slab)), rest(e, position, GROUP)));
}
static LLVMValueRef in_b(const Emitter *e, const GpuTile *t, LLVMValueRef position, LLVMValueRef column) {
  return place(e, t->slab.type, t->slab.b, plus(e, times(e, position, pitch_b(&t->slab)), column));
}

static LLVMValueRef kept(const Emitter *e, const GpuTile *t, LLVMValueRef x) {
  return t->slab.type == t->panel ? x : emit_element(e, ELEMENT_CAST, t->slab.type, t->panel, &x, 1);
}

/* `n` lines of `length` elements that follow each other in memory, `piece` at a time, from a panel to a slab. `at`: where a line and what is in it have their place. */
static void copy_whole(Emitter *e, const GpuTile *t, LLVMValueRef from, unsigned n, unsigned length, bool of_a) {
  unsigned piece = 16/(unsigned)type_bytes(t->panel), pieces = length/piece;
  Turns turn = open_turns(e, t->thread, number(e, (uint64_t)n*pieces), t->threads, 0, NULL);
  LLVMValueRef line = quotient(e, turn.index, pieces), within = times(e, rest(e, turn.index, pieces), piece);
  LLVMValueRef at = place(e, t->panel, from, times(e, turn.index, piece));
  LLVMValueRef to = of_a ? in_a(e, t, rest(e, line, GPU_TILE_ROWS), plus(e, times(e, quotient(e, line, GPU_TILE_ROWS), GROUP), within)) : in_b(e, t, line, within);
  if (t->direct) emit_intrinsic(e, "llvm.nvvm.cp.async.cg.shared.global.16", NULL, 0, (LLVMValueRef[]){to, at}, 2);
  else store(e, t->slab.type, piece, load(e, t->panel, piece, at), to);
  close_turns(e, &turn, NULL);
}

/* The same element by element, 0 where the matrices end. */
static void copy_guarded(Emitter *e, const GpuTile *t, LLVMValueRef from, LLVMValueRef length, unsigned n, unsigned line_length, bool of_a) {
  Turns turn = open_turns(e, t->thread, number(e, (uint64_t)n*line_length), t->threads, 0, NULL);
  LLVMValueRef line = quotient(e, turn.index, line_length), within = rest(e, turn.index, line_length), row = rest(e, line, GPU_TILE_ROWS);
  LLVMValueRef position = of_a ? plus(e, times(e, quotient(e, line, GPU_TILE_ROWS), GROUP), within) : line;
  LLVMValueRef inside = LLVMBuildAnd(e->b, below(e, position, length), of_a ? below(e, row, t->n_rows) : below(e, within, t->n_columns), "");
  LLVMValueRef to = of_a ? in_a(e, t, row, position) : in_b(e, t, line, within);
  Sides side = open_sides(e, inside);
  store(e, t->slab.type, 1, kept(e, t, load(e, t->panel, 1, place(e, t->panel, from, turn.index))), to);
  other_side(e, &side);
  store(e, t->slab.type, 1, emit_const(e, t->slab.type, 0, 1), to);
  close_sides(e, &side);
  close_turns(e, &turn, NULL);
}

/* A slab of both panels from position `low` on. */
static void fill_slab(Emitter *e, const GpuTile *tile, LLVMValueRef low) {
  GpuTile one = with_slab(e, tile, low), *t = &one;
  const Slab *s = &t->slab;
  unsigned lines = s->positions/GROUP*GPU_TILE_ROWS;
  LLVMValueRef a = place(e, t->panel, t->a, times(e, low, GPU_TILE_ROWS)), b = place(e, t->panel, t->b, times(e, low, GPU_TILE_COLUMNS)), length = LLVMBuildSub(e->b, t->k, low, "");
  LLVMValueRef full = LLVMBuildICmp(e->b, LLVMIntSGE, length, number(e, s->positions), "");
  LLVMValueRef inside = LLVMBuildAnd(e->b, LLVMBuildICmp(e->b, LLVMIntSGE, t->n_rows, number(e, GPU_TILE_ROWS), ""), LLVMBuildICmp(e->b, LLVMIntSGE, t->n_columns, number(e, GPU_TILE_COLUMNS), ""), "");
  bool as_it_is = s->type == t->panel;
  Sides side = {0};
  if (as_it_is) {
    side = open_sides(e, LLVMBuildAnd(e->b, full, inside, ""));
    copy_whole(e, t, a, lines, GROUP, true);
    copy_whole(e, t, b, s->positions, GPU_TILE_COLUMNS, false);
    other_side(e, &side);
  }
  copy_guarded(e, t, a, length, lines, GROUP, true);
  copy_guarded(e, t, b, length, s->positions, GPU_TILE_COLUMNS, false);
  if (as_it_is) close_sides(e, &side);
}

/* Until what this thread copied has arrived, and then for all others. */
static void meet(const Emitter *e, const GpuTile *t) {
  if (t->direct) emit_intrinsic(e, "llvm.nvvm.cp.async.wait.all", NULL, 0, NULL, 0);
  barrier(e);
}

/* --- chains --------------------------------------------------------------------------------------------------------------------------------- */

static LLVMValueRef extract(const Emitter *e, LLVMValueRef vector, unsigned i) { return LLVMBuildExtractElement(e->b, vector, LLVMConstInt(e->i32, i, 0), ""); }

static LLVMValueRef chained(const Emitter *e, const GpuTile *t, LLVMValueRef x, LLVMValueRef y, LLVMValueRef acc) {
  LLVMValueRef in[3] = {x, y, acc};
  return t->type == TYPE_F32 ? emit_element(e, ELEMENT_FMA, TYPE_F32, TYPE_F32, in, 1) : LLVMBuildFAdd(e->b, acc, LLVMBuildFMul(e->b, x, y, ""), "");
}

/* The thread's rows of A times its columns of B at `n` positions, a pair or one, from where `a` and `b` are. */
static void multiply(Emitter *e, const GpuTile *t, LLVMValueRef a, LLVMValueRef b, unsigned n, const LLVMValueRef *acc, LLVMValueRef *next) {
  LLVMValueRef x[ROWS];
  memcpy(next, acc, ROWS*COLUMNS*sizeof *next);
  for (unsigned r = 0; r < ROWS; r++) x[r] = load(e, t->type, n, place(e, t->type, a, number(e, r*pitch_a(&t->slab))));
  for (unsigned p = 0; p < n; p++) {
    LLVMValueRef y = load(e, t->type, COLUMNS, place(e, t->type, b, number(e, p*pitch_b(&t->slab))));
    for (unsigned r = 0; r < ROWS; r++)
      for (unsigned c = 0; c < COLUMNS; c++) next[r*COLUMNS + c] = chained(e, t, n > 1 ? extract(e, x[r], p) : x[r], extract(e, y, c), next[r*COLUMNS + c]);
  }
}

/* All positions of a slab: pairs, and what is left of one. */
static void chains_of_slab(Emitter *e, const GpuTile *t, LLVMValueRef row, LLVMValueRef column, LLVMValueRef length, const LLVMValueRef *acc, LLVMValueRef *next) {
  const unsigned unit[2] = {PAIR, 1};
  LLVMValueRef groups = times(e, quotient(e, length, unit[0]), unit[0]), from[2] = {number(e, 0), groups}, to[2] = {groups, length};
  memcpy(next, acc, ROWS*COLUMNS*sizeof *next);
  for (int k = 0; k < 2; k++) {
    Turns turn = open_turns(e, from[k], to[k], number(e, unit[k]), ROWS*COLUMNS, next);
    multiply(e, t, in_a(e, t, row, turn.index), in_b(e, t, turn.index, column), unit[k], turn.carried, next);
    close_turns(e, &turn, next);
    memcpy(next, turn.carried, ROWS*COLUMNS*sizeof *next);
  }
}

/* --- fragments ------------------------------------------------------------------------------------------------------------------------------ */

static LLVMValueRef load_matrix(const Emitter *e, const char *name, LLVMValueRef at) { return emit_intrinsic(e, name, &(LLVMTypeRef){LLVMTypeOf(at)}, 1, &at, 1); }

/* Registers of A and of B for one step of k, from where this lane has its first element of each: `t`, `g` of the ISA's figures are lane % 4 and lane / 4. */
static LLVMValueRef as_tf32(const Emitter *e, LLVMValueRef base, unsigned offset) {
  LLVMValueRef x = load(e, TYPE_F32, 1, place(e, TYPE_F32, base, number(e, offset)));
  return emit_intrinsic(e, "llvm.nvvm.f2tf32.rna", NULL, 0, &x, 1);
}

static void fragment_a(const Emitter *e, const GpuTile *t, LLVMValueRef at, LLVMValueRef *out) {
  LLVMValueRef four = t->slab.type == TYPE_F32 ? NULL : load_matrix(e, "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16", at);
  for (unsigned r = 0; r < 4; r++) out[r] = four ? LLVMBuildExtractValue(e->b, four, r, "") : as_tf32(e, at, r % 2*8*pitch_a(&t->slab) + r/2*4);
}

static void fragment_b(const Emitter *e, const GpuTile *t, LLVMValueRef at, LLVMValueRef *out) {
  LLVMValueRef two = t->slab.type == TYPE_F32 ? NULL : load_matrix(e, "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.trans.b16", at);
  for (unsigned r = 0; r < 2; r++) out[r] = two ? LLVMBuildExtractValue(e->b, two, r, "") : as_tf32(e, at, r*4*pitch_b(&t->slab));
}

static void multiply_fragment(const Emitter *e, const GpuTile *t, const LLVMValueRef *a, const LLVMValueRef *b, const LLVMValueRef *acc, LLVMValueRef *next) {
  const char *name = t->slab.type == TYPE_F32 ? "llvm.nvvm.mma.m16n8k8.row.col.tf32" : t->slab.type == TYPE_BF16 ? "llvm.nvvm.mma.m16n8k16.row.col.bf16" : "llvm.nvvm.mma.m16n8k16.row.col.f32.f32";
  LLVMValueRef in[10];
  for (unsigned r = 0; r < 6; r++) {
    in[r] = r < 4 ? a[r] : b[r - 4];
    if (t->slab.type == TYPE_F16) in[r] = LLVMBuildBitCast(e->b, in[r], LLVMVectorType(LLVMHalfTypeInContext(e->context), 2), "");
  }
  for (unsigned r = 0; r < 4; r++) in[6 + r] = acc[r];
  LLVMValueRef d = emit_intrinsic(e, name, NULL, 0, in, 10);
  for (unsigned r = 0; r < 4; r++) next[r] = LLVMBuildExtractValue(e->b, d, r, "");
}

/* `n` steps of k, from position `from` of the slab on. */
static void multiply_fragments(const Emitter *e, const GpuTile *t, LLVMValueRef a_lane, LLVMValueRef b_lane, LLVMValueRef from, unsigned k, unsigned n, const LLVMValueRef *acc, LLVMValueRef *next) {
  const Slab *s = &t->slab;
  memcpy(next, acc, 4*FRAGMENTS*sizeof *next);
  for (unsigned step = 0; step < n; step++) {
    LLVMValueRef a[4], b[2], position = plus(e, from, number(e, step*k)), group = quotient(e, position, GROUP);
    LLVMValueRef in_a_lane = plus(e, times(e, group, GPU_TILE_ROWS*pitch_a(s)), rest(e, position, GROUP));
    fragment_b(e, t, place(e, s->type, b_lane, times(e, position, pitch_b(s))), b);
    for (unsigned f = 0; f < FRAGMENTS; f++) {
      fragment_a(e, t, place(e, s->type, place(e, s->type, a_lane, in_a_lane), number(e, f*FRAGMENT_ROWS*pitch_a(s))), a);
      multiply_fragment(e, t, a, b, next + 4*f, next + 4*f);
    }
  }
}

/* Several steps at once, and what is left of them. */
static void fragments_of_slab(Emitter *e, const GpuTile *t, LLVMValueRef lane, LLVMValueRef column, LLVMValueRef length, const LLVMValueRef *acc, LLVMValueRef *next) {
  bool tf32 = t->slab.type == TYPE_F32;
  unsigned k = tf32 ? 8 : 16, whole = tf32 ? GROUP : t->slab.positions;      /* more at once takes more registers than a thread may have */
  LLVMValueRef high = quotient(e, lane, tf32 ? 4 : 16), low = rest(e, lane, tf32 ? 4 : 16);
  LLVMValueRef a_lane = tf32 ? in_a(e, t, high, low) : in_a(e, t, low, times(e, high, 8)), b_lane = tf32 ? in_b(e, t, low, plus(e, column, high)) : in_b(e, t, low, column);
  Turns all = open_turns(e, number(e, 0), times(e, quotient(e, length, whole), whole), number(e, whole), 4*FRAGMENTS, acc);
  multiply_fragments(e, t, a_lane, b_lane, all.index, k, whole/k, all.carried, next);
  close_turns(e, &all, next);
  Turns turn = open_turns(e, times(e, quotient(e, length, whole), whole), length, number(e, k), 4*FRAGMENTS, all.carried);
  multiply_fragments(e, t, a_lane, b_lane, turn.index, k, 1, turn.carried, next);
  close_turns(e, &turn, next);
  memcpy(next, turn.carried, 4*FRAGMENTS*sizeof *next);
}
_Static_assert(4*FRAGMENTS == ROWS*COLUMNS, "accumulators of a thread");

/* --- the tile ------------------------------------------------------------------------------------------------------------------------------- */

/* Where accumulator i belongs: the row and the column. */
static void own(const Emitter *e, const GpuTile *t, unsigned i, LLVMValueRef row, LLVMValueRef column, LLVMValueRef lane, LLVMValueRef *to_row, LLVMValueRef *to_column) {
  if (t->fragments) {
    *to_row = plus(e, quotient(e, lane, 4), number(e, i/4*FRAGMENT_ROWS + i % 4/2*8));
    *to_column = plus(e, column, plus(e, times(e, rest(e, lane, 4), 2), number(e, i % 2)));
  } else {
    *to_row = plus(e, row, number(e, i/COLUMNS));
    *to_column = plus(e, column, number(e, i % COLUMNS));
  }
}

static void add_up(Emitter *e, const GpuTile *t, const LLVMValueRef *acc, LLVMValueRef row, LLVMValueRef column, LLVMValueRef lane) {
  for (unsigned i = 0; i < ROWS*COLUMNS; i++) {
    LLVMValueRef r, c;
    own(e, t, i, row, column, lane, &r, &c);
    LLVMValueRef at = place(e, t->type, t->c, plus(e, LLVMBuildMul(e->b, r, t->stride, ""), c));
    Sides inside = open_sides(e, LLVMBuildAnd(e->b, below(e, r, t->n_rows), below(e, c, t->n_columns), ""));
    Sides added = open_sides(e, t->add);
    store(e, t->type, 1, LLVMBuildFAdd(e->b, load(e, t->type, 1, at), acc[i], ""), at);
    other_side(e, &added);
    store(e, t->type, 1, LLVMBuildFAdd(e->b, emit_const(e, t->type, 0, 1), acc[i], ""), at);
    close_sides(e, &added);
    other_side(e, &inside);
    close_sides(e, &inside);
  }
}

/* One share of the tile: over all slabs. Threads without a share help to fill them. */
static void share_of_tile(Emitter *e, const GpuTile *t) {
  LLVMValueRef acc[ROWS*COLUMNS], next[ROWS*COLUMNS], lane = rest(e, t->share, WARP), row = times(e, quotient(e, t->share, GPU_TILE_COLUMNS/COLUMNS), ROWS);
  LLVMValueRef column = t->fragments ? times(e, quotient(e, t->share, WARP), FRAGMENT_COLUMNS) : times(e, rest(e, t->share, GPU_TILE_COLUMNS/COLUMNS), COLUMNS);
  LLVMValueRef has = below(e, t->share, number(e, SHARES));
  for (unsigned i = 0; i < ROWS*COLUMNS; i++) acc[i] = emit_const(e, t->type, 0, 1);
  barrier(e);                            /* nobody reads slabs of a tile before */
  fill_slab(e, t, number(e, 0));
  Turns slab = open_turns(e, number(e, 0), t->k, number(e, t->slab.positions), ROWS*COLUMNS, acc);
  LLVMValueRef behind = plus(e, slab.index, slab.step);
  meet(e, t);
  Sides more = open_sides(e, below(e, behind, t->k));
  fill_slab(e, t, behind);
  other_side(e, &more);
  close_sides(e, &more);
  GpuTile one = with_slab(e, t, slab.index);
  LLVMValueRef length = least(e, LLVMBuildSub(e->b, t->k, slab.index, ""), number(e, t->slab.positions)), own_length = LLVMBuildSelect(e->b, has, length, number(e, 0), "");
  if (t->fragments) fragments_of_slab(e, &one, lane, column, own_length, slab.carried, next);
  else chains_of_slab(e, &one, row, column, own_length, slab.carried, next);
  close_turns(e, &slab, next);
  Sides side = open_sides(e, has);
  add_up(e, t, slab.carried, row, column, lane);
  other_side(e, &side);
  close_sides(e, &side);
}

/* Registers for two blocks on a multiprocessor: one multiplies while the other waits. Of the kernel that calls a tile; once. */
void emit_bound_block(Emitter *e) {
  static const struct { const char *name; unsigned value; } bounds[] = {{"maxntidx", GPU_BLOCK}, {"minctasm", 2}};
  static const char table[] = "nvvm.annotations";
  unsigned n = LLVMGetNamedMetadataNumOperands(e->llvm, table);
  LLVMValueRef *known = arena_array(e->arena, n + 1, sizeof *known);
  LLVMGetNamedMetadataOperands(e->llvm, table, known);
  for (unsigned i = 0; i < n; i++) if (LLVMGetOperand(known[i], 0) == e->fn) return;
  for (unsigned k = 0; k < 2; k++) {
    LLVMMetadataRef row[] = {LLVMValueAsMetadata(e->fn), LLVMMDStringInContext2(e->context, bounds[k].name, strlen(bounds[k].name)), LLVMValueAsMetadata(LLVMConstInt(e->i32, bounds[k].value, 0))};
    LLVMAddNamedMetadataOperand(e->llvm, table, LLVMMetadataAsValue(e->context, LLVMMDNodeInContext2(e->context, row, 3)));
  }
}

void emit_tile_on_block(Emitter *e, Type type, Type panel, bool fast, LLVMValueRef fn) {
  LLVMTypeRef global = LLVMPointerTypeInContext(e->context, GLOBAL);
  LLVMValueRef x[8];
  for (unsigned i = 0; i < 8; i++) x[i] = i < 3 ? LLVMBuildAddrSpaceCast(e->b, LLVMGetParam(fn, i), global, "") : LLVMGetParam(fn, i);
  bool fragments = fast && type == TYPE_F32 && e->variant->fragments;
  GpuTile t = {.type = type, .panel = panel, .fragments = fragments, .slab = open_slab(e, fragments ? panel : type), .c = x[0], .a = x[1], .b = x[2], .stride = x[3],
               .n_rows = x[4], .n_columns = x[5], .k = x[6], .add = x[7]};
  t.direct = t.slab.type == panel && e->variant->fragments;
  t.thread = special(e, "llvm.nvvm.read.ptx.sreg.tid.x");
  t.threads = special(e, "llvm.nvvm.read.ptx.sreg.ntid.x");
  Turns round = open_turns(e, number(e, 0), number(e, SHARES), t.threads, 0, NULL);
  t.share = plus(e, round.index, t.thread);
  share_of_tile(e, &t);
  close_turns(e, &round, NULL);
}
