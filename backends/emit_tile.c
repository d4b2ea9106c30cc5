/* emit_tile.c: the register tiles of matrix products (kernel.def: tile_contract, tile_transpose).
 *
 * tile_contract: tile_rows x tile_columns accumulators stay in registers over all positions; an iteration loads a row of panel B as vectors, spreads the
 * elements of panel A one after the other, and does one fma a register. A type of which the columns do not fit goes over them in parts. What is whole is added to C
 * by vectors; at an edge the accumulators go to the stack, and what counts is added from there. While it runs it fetches the rows that are read soon, a line of each
 * row in turn, one in STEP positions.
 * It is a function that kernels call. Panels of 16-bit floats are widened on the way; tile_contract_fast multiplies pairs of bf16 positions where the machine can.
 * tile_transpose: squares of one register a side by interleaving rows, log2(side) times; the rest element by element.
 * tile_copy: rows by vectors; of a width that is known to be whole vectors, without a loop along them. */
#include "backends/emit.h"
#include <string.h>

enum { ACCUMULATORS = 32, STEP = 4, COPY_VECTORS = 8 };

typedef struct Tile {
  Type type, panel;                      /* of C, and of what is multiplied */
  bool dots;                             /* two positions at a time */
  unsigned rows, columns, lanes, vectors;              /* of a part: vectors a row */
  LLVMValueRef c, a, b, stride, n_rows, n_columns, k, add, next, next_stride, first;         /* first: column of the part */
} Tile;

static LLVMValueRef number(const Emitter *e, uint64_t n) { return LLVMConstInt(e->i64, n, 0); }
static LLVMValueRef plus(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildAdd(e->b, x, y, ""); }
static LLVMValueRef times(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildMul(e->b, x, y, ""); }
static LLVMValueRef least(const Emitter *e, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, x, y, ""), x, y, ""); }

static LLVMValueRef step(const Emitter *e, Type type, LLVMValueRef pointer, LLVMValueRef elements) {
  return LLVMBuildInBoundsGEP2(e->b, e->type[type], pointer, &elements, 1, "");
}

static LLVMValueRef load(const Emitter *e, Type type, unsigned lanes, LLVMValueRef pointer) {
  LLVMValueRef x = LLVMBuildLoad2(e->b, emit_type(e, type, lanes), pointer, "");
  LLVMSetAlignment(x, type_bytes(type));
  return x;
}

static void store(const Emitter *e, Type type, LLVMValueRef x, LLVMValueRef pointer) { LLVMSetAlignment(LLVMBuildStore(e->b, x, pointer), type_bytes(type)); }

/* --- loops ---------------------------------------------------------------------------------------------------------------------------- */

/* do { .. } while ((i += by) < high) with carried values, which are the current ones while it is open, the last ones afterwards. */
typedef struct Loop { LLVMBasicBlockRef body; LLVMValueRef index, high, by, *carried; unsigned n; } Loop;

static Loop open_loop(Emitter *e, LLVMValueRef low, LLVMValueRef high, uint64_t by, unsigned n, const LLVMValueRef *first) {
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
  Loop l = {emit_new_block(e), NULL, high, number(e, by), arena_array(e->arena, n + 1, sizeof *l.carried), n};
  LLVMBuildBr(e->b, l.body);
  LLVMPositionBuilderAtEnd(e->b, l.body);
  l.index = LLVMBuildPhi(e->b, e->i64, "");
  LLVMAddIncoming(l.index, &low, &before, 1);
  for (unsigned i = 0; i < n; i++) {
    LLVMValueRef x = first[i];
    l.carried[i] = LLVMBuildPhi(e->b, LLVMTypeOf(x), "");
    LLVMAddIncoming(l.carried[i], &x, &before, 1);
  }
  return l;
}

static void close_loop(Emitter *e, Loop *l, LLVMValueRef *next) {
  LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b), after = emit_new_block(e);
  LLVMValueRef index = plus(e, l->index, l->by);
  LLVMAddIncoming(l->index, &index, &last, 1);
  for (unsigned i = 0; i < l->n; i++) LLVMAddIncoming(l->carried[i], &next[i], &last, 1);
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, index, l->high, ""), l->body, after);
  LLVMPositionBuilderAtEnd(e->b, after);
  for (unsigned i = 0; i < l->n; i++) l->carried[i] = next[i];
}

/* What runs only where the condition holds. */
typedef struct Under { LLVMBasicBlockRef before, after; } Under;
static Under open_under(Emitter *e, LLVMValueRef condition) {
  LLVMBasicBlockRef then = emit_new_block(e);
  Under r = {LLVMGetInsertBlock(e->b), emit_new_block(e)};
  LLVMBuildCondBr(e->b, condition, then, r.after);
  LLVMPositionBuilderAtEnd(e->b, then);
  return r;
}
static void close_under(Emitter *e, const Under *r) {
  LLVMBuildBr(e->b, r->after);
  LLVMPositionBuilderAtEnd(e->b, r->after);
}

/* --- functions that kernels share ----------------------------------------------------------------------------------------------------- */

/* known: written already. Else the builder stands in it until it is closed. */
typedef struct Shared { LLVMValueRef fn, outer; bool known; LLVMBasicBlockRef at, entry, body; } Shared;

static Shared open_shared(Emitter *e, const char *what, LLVMTypeRef signature) {
  char *name = arena_printf(e->arena, "%s_%s_%s", e->module->name, what, e->variant->label);
  for (char *s = name; *s; s++) if (*s == '-' || *s == '.') *s = '_';
  Shared f = {LLVMGetNamedFunction(e->llvm, name), e->fn, true, LLVMGetInsertBlock(e->b), LLVMGetInsertBlock(e->entry), NULL};
  if (f.fn) return f;
  f.known = false;
  f.fn = e->fn = LLVMAddFunction(e->llvm, name, signature);
  emit_attributes(e);
  LLVMPositionBuilderAtEnd(e->entry, emit_new_block(e));
  LLVMPositionBuilderAtEnd(e->b, f.body = emit_new_block(e));
  return f;
}

static LLVMValueRef close_shared(Emitter *e, const Shared *f) {
  LLVMBuildRetVoid(e->b);
  LLVMBuildBr(e->entry, f->body);
  e->fn = f->outer;
  LLVMPositionBuilderAtEnd(e->b, f->at);
  LLVMPositionBuilderAtEnd(e->entry, f->entry);
  return f->fn;
}

/* --- products ------------------------------------------------------------------------------------------------------------------------- */

static LLVMValueRef load_panel(const Emitter *e, const Tile *t, unsigned lanes, LLVMValueRef pointer) {
  LLVMValueRef x = load(e, t->panel, lanes, pointer);
  return t->panel == t->type ? x : emit_element(e, ELEMENT_CAST, t->type, t->panel, &x, lanes);
}

/* acc[row][vector] of one position: `a` is at row 0 of it in panel A, `b` at the part's first column in panel B. */
static void multiply(Emitter *e, const Tile *t, LLVMValueRef a, LLVMValueRef b, const LLVMValueRef *acc, LLVMValueRef *next) {
  LLVMValueRef row[ACCUMULATORS];
  for (unsigned v = 0; v < t->vectors; v++) row[v] = load_panel(e, t, t->lanes, step(e, t->panel, b, number(e, v*t->lanes)));
  for (unsigned r = 0; r < t->rows; r++) {
    LLVMValueRef x = emit_splat(e, load_panel(e, t, 1, step(e, t->panel, a, number(e, r*KERNEL_TILE_GROUP))), t->lanes);
    for (unsigned v = 0; v < t->vectors; v++) {
      unsigned i = r*t->vectors + v;
      LLVMValueRef in[3] = {x, row[v], acc[i]};
      if (t->type == TYPE_F32) next[i] = emit_element(e, ELEMENT_FMA, TYPE_F32, TYPE_F32, in, t->lanes);
      else next[i] = LLVMBuildFAdd(e->b, acc[i], LLVMBuildFMul(e->b, x, row[v], ""), "");
    }
  }
}

/* The same of two positions, of which the second (of B: in row b2) may be missing: then it is 0. Pairs of bf16 lie side by side in panel A; columns of B meet here. */
static void multiply_pairs(Emitter *e, const Tile *t, LLVMValueRef a, LLVMValueRef b, LLVMValueRef b2, const LLVMValueRef *acc, LLVMValueRef *next) {
  LLVMTypeRef pairs = LLVMVectorType(LLVMBFloatTypeInContext(e->context), 2*t->lanes);
  LLVMValueRef row[ACCUMULATORS], low = LLVMConstInt(e->i32, 0xffff, 0);
  for (unsigned v = 0; v < t->vectors; v++) {
    LLVMValueRef at = number(e, v*t->lanes), x = load(e, t->panel, t->lanes, step(e, t->panel, b, at)), y = b2 ? load(e, t->panel, t->lanes, step(e, t->panel, b2, at)) : NULL, mask[64];
    for (unsigned i = 0; i < 2*t->lanes; i++) mask[i] = LLVMConstInt(e->i32, i/2 + (i % 2 ? t->lanes : 0), 0);
    row[v] = LLVMBuildBitCast(e->b, LLVMBuildShuffleVector(e->b, x, y ? y : LLVMConstNull(LLVMTypeOf(x)), LLVMConstVector(mask, 2*t->lanes), ""), pairs, "");
  }
  for (unsigned r = 0; r < t->rows; r++) {
    LLVMValueRef pair = LLVMBuildLoad2(e->b, e->i32, step(e, t->panel, a, number(e, r*KERNEL_TILE_GROUP)), "");
    LLVMSetAlignment(pair, type_bytes(t->panel));
    LLVMValueRef x = LLVMBuildBitCast(e->b, emit_splat(e, b2 ? pair : LLVMBuildAnd(e->b, pair, low, ""), t->lanes), pairs, "");
    for (unsigned v = 0; v < t->vectors; v++) {
      unsigned i = r*t->vectors + v;
      LLVMValueRef in[3] = {acc[i], x, row[v]};
      next[i] = emit_intrinsic(e, "llvm.x86.avx512bf16.dpbf16ps.512", NULL, 0, in, 3);
    }
  }
}

/* The line of a row of what is read soon; the place of the one after it, carried behind the accumulators with the number of its row. */
static void fetch(Emitter *e, const Tile *t, const LLVMValueRef *at, LLVMValueRef *next) {
  emit_prefetch(e, step(e, t->panel, t->next, at[0]), false, 2);
  LLVMValueRef row = plus(e, at[1], number(e, 1)), wraps = LLVMBuildICmp(e->b, LLVMIntEQ, row, number(e, t->rows), "");
  LLVMValueRef first = LLVMBuildSub(e->b, plus(e, at[0], number(e, 64/type_bytes(t->panel))), times(e, t->next_stride, number(e, t->rows - 1)), "");
  next[0] = LLVMBuildSelect(e->b, wraps, first, plus(e, at[0], t->next_stride), "");
  next[1] = LLVMBuildSelect(e->b, wraps, number(e, 0), row, "");
}

/* What the n values of acc are behind a condition under which they became `inner`. */
static void merge(Emitter *e, const Under *under, unsigned n, const LLVMValueRef *inner, LLVMValueRef *acc) {
  LLVMBasicBlockRef from[2] = {under->before, LLVMGetInsertBlock(e->b)};
  close_under(e, under);
  for (unsigned i = 0; i < n; i++) {
    LLVMValueRef in[2] = {acc[i], inner[i]};
    acc[i] = LLVMBuildPhi(e->b, LLVMTypeOf(in[0]), "");
    LLVMAddIncoming(acc[i], in, from, 2);
  }
}

/* Positions of one group, onto acc. */
static void multiply_at(Emitter *e, const Tile *t, LLVMValueRef position, unsigned by, LLVMValueRef *acc) {
  LLVMValueRef within = LLVMBuildAnd(e->b, position, number(e, KERNEL_TILE_GROUP - 1), ""), group = LLVMBuildSub(e->b, position, within, "");
  LLVMValueRef a = step(e, t->panel, t->a, plus(e, times(e, group, number(e, t->rows)), within));
  LLVMValueRef b = step(e, t->panel, t->b, plus(e, times(e, position, number(e, t->columns)), t->first));
  for (unsigned p = 0; p < by; p += 1 + t->dots) {
    LLVMValueRef x = step(e, t->panel, a, number(e, p)), y = step(e, t->panel, b, number(e, p*t->columns));
    if (t->dots) multiply_pairs(e, t, x, y, by > 1 ? step(e, t->panel, y, number(e, t->columns)) : NULL, acc, acc);
    else multiply(e, t, x, y, acc, acc);
  }
}

/* Positions low to high, `by` at a time, all in one group: acc, and what `fetch` carries, are taken on. */
static void positions(Emitter *e, const Tile *t, LLVMValueRef low, LLVMValueRef high, unsigned by, LLVMValueRef *acc) {
  unsigned n = t->rows*t->vectors, fetched = t->lanes > 1 ? 2 : 0;
  LLVMValueRef next[ACCUMULATORS + 2];
  Under some = open_under(e, LLVMBuildICmp(e->b, LLVMIntSLT, low, high, ""));
  Loop loop = open_loop(e, low, high, by, n + fetched, acc);
  memcpy(next, loop.carried, (n + fetched)*sizeof *next);
  if (fetched) fetch(e, t, loop.carried + n, next + n);
  multiply_at(e, t, loop.index, by, next);
  close_loop(e, &loop, next);
  merge(e, &some, n + fetched, loop.carried, acc);
}

/* All positions from zeros: by steps, then by twos where two go together, then what is left. */
static void chains(Emitter *e, const Tile *t, LLVMValueRef *acc) {
  const unsigned n = t->rows*t->vectors, by[] = {t->lanes > 1 && e->variant->fma ? STEP : 1, t->dots ? 2 : 1, 1};
  LLVMValueRef rest = number(e, 0);
  for (unsigned i = 0; i < n; i++) acc[i] = emit_const(e, t->type, 0, t->lanes);
  acc[n] = acc[n + 1] = number(e, 0);
  for (unsigned i = 0; i < 3; i++) {
    if (i < 2 && by[i] == 1) continue;
    LLVMValueRef high = LLVMBuildAnd(e->b, t->k, LLVMConstInt(e->i64, ~(uint64_t)(by[i] - 1), 0), "");
    positions(e, t, rest, high, by[i], acc);
    rest = high;
  }
}

/* C (or 0) and what is added; where C does not count, its memory is not read: it may never have been written. */
static void whole_rows(Emitter *e, const Tile *t, const LLVMValueRef *acc, LLVMValueRef c, bool add) {
  unsigned n = t->rows*t->vectors;
  LLVMValueRef place[ACCUMULATORS], sum[ACCUMULATORS];
  for (unsigned i = 0; i < n; i++) {
    LLVMValueRef row = step(e, t->type, c, times(e, t->stride, number(e, i/t->vectors)));
    place[i] = step(e, t->type, row, number(e, i%t->vectors*t->lanes));
    sum[i] = LLVMBuildFAdd(e->b, add ? load(e, t->type, t->lanes, place[i]) : emit_const(e, t->type, 0, t->lanes), acc[i], "");
  }
  for (unsigned i = 0; i < n; i++) store(e, t->type, sum[i], place[i]);   /* behind all loads: rows a power of two apart look alike to a processor that waits for a store */
}

static void edge(Emitter *e, const Tile *t, const LLVMValueRef *acc, LLVMValueRef c, LLVMValueRef scratch, LLVMValueRef columns) {
  unsigned width = t->vectors*t->lanes;
  for (unsigned i = 0; i < t->rows*t->vectors; i++) store(e, t->type, acc[i], step(e, t->type, scratch, number(e, i*t->lanes)));
  LLVMValueRef zero = number(e, 0), none = emit_const(e, t->type, 0, 1);
  Count rows = emit_open_count(e, zero, t->n_rows, number(e, 1));
  LLVMValueRef to = step(e, t->type, c, times(e, rows.index, t->stride)), from = step(e, t->type, scratch, times(e, rows.index, number(e, width)));
  Count elements = emit_open_count(e, zero, columns, number(e, 1));
  LLVMValueRef place = step(e, t->type, to, elements.index);
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
  Under old = open_under(e, t->add);
  LLVMValueRef in[2] = {none, load(e, t->type, 1, place)};
  LLVMBasicBlockRef blocks[2] = {before, LLVMGetInsertBlock(e->b)};
  close_under(e, &old);
  LLVMValueRef base = LLVMBuildPhi(e->b, e->type[t->type], "");
  LLVMAddIncoming(base, in, blocks, 2);
  store(e, t->type, LLVMBuildFAdd(e->b, base, load(e, t->type, 1, step(e, t->type, from, elements.index)), ""), place);
  emit_close_count(e, &elements);
  emit_close_count(e, &rows);
}

static void part(Emitter *e, const Tile *t, LLVMValueRef scratch) {
  LLVMValueRef acc[ACCUMULATORS + 2], c = step(e, t->type, t->c, t->first);
  unsigned width = t->vectors*t->lanes;
  if (e->variant->lanes > 1)
    for (unsigned r = 0; r < t->rows; r++) {
      LLVMValueRef row = step(e, t->type, c, times(e, t->stride, number(e, r)));
      emit_prefetch(e, row, true, 1);
      emit_prefetch(e, step(e, t->type, row, number(e, width - 1)), true, 1);
    }
  chains(e, t, acc);
  LLVMValueRef columns = LLVMBuildSub(e->b, t->n_columns, t->first, "");
  LLVMValueRef whole = LLVMBuildAnd(e->b, LLVMBuildICmp(e->b, LLVMIntSGE, t->n_rows, number(e, t->rows), ""), LLVMBuildICmp(e->b, LLVMIntSGE, columns, number(e, width), ""), "");
  LLVMBasicBlockRef fits = emit_new_block(e), added = emit_new_block(e), fresh = emit_new_block(e), partial = emit_new_block(e), done = emit_new_block(e);
  LLVMBuildCondBr(e->b, whole, fits, partial);
  LLVMPositionBuilderAtEnd(e->b, fits);
  LLVMBuildCondBr(e->b, t->add, added, fresh);
  LLVMPositionBuilderAtEnd(e->b, added);
  whole_rows(e, t, acc, c, true);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, fresh);
  whole_rows(e, t, acc, c, false);
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, partial);
  edge(e, t, acc, c, scratch, least(e, columns, number(e, width)));
  LLVMBuildBr(e->b, done);
  LLVMPositionBuilderAtEnd(e->b, done);
}

enum { PARAMETERS = 10 };

static void whole_tile(Emitter *e, Type type, Type panel, bool dots, LLVMValueRef fn) {
  const Machine *m = e->variant;
  LLVMValueRef x[PARAMETERS];
  for (unsigned i = 0; i < PARAMETERS; i++) x[i] = LLVMGetParam(fn, i);
  unsigned lanes = type == TYPE_F64 && m->lanes > 1 ? m->lanes/2 : m->lanes, width = m->tile_columns*lanes/m->lanes;
  Tile t = {.type = type, .panel = panel, .dots = dots, .rows = m->tile_rows, .columns = m->tile_columns, .lanes = lanes, .vectors = width/lanes, .c = x[0], .a = x[1], .b = x[2], .stride = x[3],
            .n_rows = x[4], .n_columns = x[5], .k = x[6], .add = x[7], .next = x[8], .next_stride = x[9], .first = number(e, 0)};
  LLVMValueRef scratch = emit_stack(e, e->type[type], t.rows*width);
  if (width == t.columns) { part(e, &t, scratch); return; }
  Loop parts = open_loop(e, t.first, number(e, t.columns), width, 0, NULL);
  t.first = parts.index;
  part(e, &t, scratch);
  close_loop(e, &parts, NULL);
}

/* One function for the types and the variant: kernels that multiply are many, and its code is long. fast: on a unit for operands of few bits. */
static LLVMValueRef tile_function(Emitter *e, Type type, Type panel, bool fast, LLVMTypeRef signature) {
  Shared f = open_shared(e, arena_printf(e->arena, "tile%s_%s_%s", fast ? "_fast" : "", type_name(panel), type_name(type)), signature);
  if (f.known) return f.fn;
  if (e->variant->arch == ARCH_NVPTX) emit_tile_on_block(e, type, panel, fast, e->fn);
  else whole_tile(e, type, panel, fast, e->fn);
  return close_shared(e, &f);
}

void emit_tile_contract(Emitter *e, const Inst *inst) {
  Touch buffer[MAX_TOUCHES];
  inst_touches(inst, buffer);
  LLVMValueRef x[TILE_ARGS];
  for (unsigned i = 0; i < TILE_ARGS; i++) x[i] = e->value[inst->args[i]->id];
  LLVMValueRef args[PARAMETERS] = {emit_address(e, buffer[0].buffer, x[TILE_C]), emit_address(e, buffer[1].buffer, x[TILE_A]), emit_address(e, buffer[2].buffer, x[TILE_B]), x[TILE_C_STRIDE], x[TILE_M], x[TILE_N], x[TILE_K], x[TILE_ADDS],
                                   emit_address(e, buffer[3].buffer, x[TILE_NEXT]), x[TILE_NEXT_STRIDE]};
  LLVMTypeRef types[PARAMETERS] = {e->pointer, e->pointer, e->pointer, e->i64, e->i64, e->i64, e->i64, e->i1, e->pointer, e->i64};
  for (unsigned i = 0; i < PARAMETERS; i++)
    if (types[i] == e->pointer && LLVMTypeOf(args[i]) != e->pointer) args[i] = LLVMBuildAddrSpaceCast(e->b, args[i], e->pointer, "");
  LLVMTypeRef signature = LLVMFunctionType(e->none, types, PARAMETERS, 0);
  Type type = program_buffer_type(e->program, buffer[0].buffer), panel = program_buffer_type(e->program, buffer[1].buffer);
  if (e->variant->arch == ARCH_NVPTX) emit_bound_block(e);
  bool unit = e->variant->fragments ? type == TYPE_F32 : e->variant->dots && panel == TYPE_BF16;
  LLVMBuildCall2(e->b, signature, tile_function(e, type, panel, unit && inst->op == KOP_E_TILE_FAST, signature), args, PARAMETERS, "");
}

/* --- transposing ---------------------------------------------------------------------------------------------------------------------- */

/* x and y, element by element in turn: the lower or the upper halves. */
static LLVMValueRef interleave(const Emitter *e, LLVMValueRef x, LLVMValueRef y, unsigned lanes, bool upper) {
  LLVMValueRef mask[64];
  for (unsigned i = 0; i < lanes; i++) mask[i] = LLVMConstInt(e->i32, (upper ? lanes/2 : 0) + i/2 + (i % 2 ? lanes : 0), 0);
  return LLVMBuildShuffleVector(e->b, x, y, LLVMConstVector(mask, lanes), "");
}

static void square(Emitter *e, Type type, unsigned side, LLVMValueRef to, LLVMValueRef to_stride, LLVMValueRef from, LLVMValueRef from_stride) {
  LLVMValueRef row[64], next[64];
  for (unsigned i = 0; i < side; i++) row[i] = load(e, type, side, step(e, type, from, times(e, from_stride, number(e, i))));
  for (unsigned n = 1; n < side; n *= 2) {
    for (unsigned i = 0; i < side; i++) next[i] = interleave(e, row[i/2], row[i/2 + side/2], side, i % 2);
    memcpy(row, next, side*sizeof *row);
  }
  for (unsigned i = 0; i < side; i++) store(e, type, row[i], step(e, type, to, times(e, to_stride, number(e, i))));
}

/* Rows low_row .. rows and columns low_column .. columns, one by one. */
static void elements(Emitter *e, Type type, LLVMValueRef to, LLVMValueRef to_stride, LLVMValueRef from, LLVMValueRef from_stride, LLVMValueRef low_row, LLVMValueRef rows,
                     LLVMValueRef low_column, LLVMValueRef columns) {
  Count row = emit_open_count(e, low_row, rows, number(e, 1));
  LLVMValueRef source = step(e, type, from, times(e, row.index, from_stride));
  Count column = emit_open_count(e, low_column, columns, number(e, 1));
  LLVMValueRef place = plus(e, times(e, column.index, to_stride), row.index);
  store(e, type, load(e, type, 1, step(e, type, source, column.index)), step(e, type, to, place));
  emit_close_count(e, &column);
  emit_close_count(e, &row);
}

/* x: as tile_transpose has its arguments, but pointers for places. */
static void whole_transpose(Emitter *e, Type type, unsigned side, const LLVMValueRef *x) {
  LLVMValueRef zero = number(e, 0), to = x[MOVE_TO], from = x[MOVE_FROM], rows = x[MOVE_ROWS], columns = x[MOVE_COLUMNS];
  if (side < 2) { elements(e, type, to, x[MOVE_TO_STRIDE], from, x[MOVE_FROM_STRIDE], zero, rows, zero, columns); return; }
  LLVMValueRef keep = LLVMConstInt(e->i64, ~(uint64_t)(side - 1), 0), whole_rows = LLVMBuildAnd(e->b, rows, keep, ""), whole_columns = LLVMBuildAnd(e->b, columns, keep, "");
  Count row = emit_open_count(e, zero, whole_rows, number(e, side)), column = emit_open_count(e, zero, whole_columns, number(e, side));
  LLVMValueRef place = plus(e, times(e, column.index, x[MOVE_TO_STRIDE]), row.index), source = plus(e, times(e, row.index, x[MOVE_FROM_STRIDE]), column.index);
  square(e, type, side, step(e, type, to, place), x[MOVE_TO_STRIDE], step(e, type, from, source), x[MOVE_FROM_STRIDE]);
  emit_close_count(e, &column);
  emit_close_count(e, &row);
  elements(e, type, to, x[MOVE_TO_STRIDE], from, x[MOVE_FROM_STRIDE], zero, whole_rows, whole_columns, columns);
  elements(e, type, to, x[MOVE_TO_STRIDE], from, x[MOVE_FROM_STRIDE], whole_rows, rows, zero, columns);
}

/* Squares of registers are long code too. */
void emit_tile_transpose(Emitter *e, const Inst *inst) {
  Touch buffer[MAX_TOUCHES];
  inst_touches(inst, buffer);
  Type type = program_buffer_type(e->program, buffer[0].buffer);
  LLVMTypeRef types[MOVE_ARGS] = {e->pointer, e->i64, e->pointer, e->i64, e->i64, e->i64}, signature = LLVMFunctionType(e->none, types, MOVE_ARGS, 0);
  LLVMValueRef x[MOVE_ARGS], inside[MOVE_ARGS];
  for (unsigned i = 0; i < MOVE_ARGS; i++) x[i] = e->value[inst->args[i]->id];
  x[MOVE_TO] = emit_address(e, buffer[0].buffer, x[MOVE_TO]);
  x[MOVE_FROM] = emit_address(e, buffer[1].buffer, x[MOVE_FROM]);
  unsigned side = type == TYPE_F64 ? e->variant->lanes/2 : e->variant->lanes;
  if (side < 2) { whole_transpose(e, type, side, x); return; }
  Shared f = open_shared(e, arena_printf(e->arena, "transpose_%s", type_name(type)), signature);
  if (!f.known) {
    for (unsigned i = 0; i < MOVE_ARGS; i++) inside[i] = LLVMGetParam(f.fn, i);
    whole_transpose(e, type, side, inside);
    close_shared(e, &f);
  }
  LLVMBuildCall2(e->b, signature, f.fn, x, MOVE_ARGS, "");
}

/* --- copying -------------------------------------------------------------------------------------------------------------------------- */

static void copy_vector(Emitter *e, Type type, unsigned lanes, LLVMValueRef to, LLVMValueRef from, LLVMValueRef at) {
  store(e, type, load(e, type, lanes, step(e, type, from, at)), step(e, type, to, at));
}

void emit_tile_copy(Emitter *e, const Inst *inst) {
  Touch buffer[MAX_TOUCHES];
  inst_touches(inst, buffer);
  LLVMValueRef x[MOVE_ARGS], zero = number(e, 0);
  for (unsigned i = 0; i < MOVE_ARGS; i++) x[i] = e->value[inst->args[i]->id];
  Type type = program_buffer_type(e->program, buffer[0].buffer);
  unsigned lanes = type == TYPE_F64 && e->variant->lanes > 1 ? e->variant->lanes/2 : e->variant->lanes;
  uint64_t width = LLVMIsAConstantInt(x[MOVE_COLUMNS]) ? LLVMConstIntGetZExtValue(x[MOVE_COLUMNS]) : 0;
  Under some = open_under(e, LLVMBuildICmp(e->b, LLVMIntSLT, zero, x[MOVE_ROWS], ""));
  Loop row = open_loop(e, zero, x[MOVE_ROWS], 1, 2, (LLVMValueRef[]){emit_address(e, buffer[0].buffer, x[MOVE_TO]), emit_address(e, buffer[1].buffer, x[MOVE_FROM])});
  LLVMValueRef to = row.carried[0], from = row.carried[1], next[2] = {step(e, type, to, x[MOVE_TO_STRIDE]), step(e, type, from, x[MOVE_FROM_STRIDE])};
  if (width && width % lanes == 0 && width/lanes <= COPY_VECTORS) {
    for (unsigned v = 0; v < width/lanes; v++) copy_vector(e, type, lanes, to, from, number(e, v*lanes));
  } else {
    LLVMValueRef whole = LLVMBuildAnd(e->b, x[MOVE_COLUMNS], LLVMConstInt(e->i64, ~(uint64_t)(lanes - 1), 0), "");
    Count vectors = emit_open_count(e, zero, whole, number(e, lanes));
    copy_vector(e, type, lanes, to, from, vectors.index);
    emit_close_count(e, &vectors);
    Count rest = emit_open_count(e, whole, x[MOVE_COLUMNS], number(e, 1));
    copy_vector(e, type, 1, to, from, rest.index);
    emit_close_count(e, &rest);
  }
  close_loop(e, &row, next);
  close_under(e, &some);
}
