/* emit_gpu.c: what is of GPUs only: the loop of a block over its work entries, and loops that threads share. */
#include "backends/emit.h"
#include <stddef.h>

static LLVMValueRef number(const Emitter *e, uint64_t n) { return LLVMConstInt(e->i64, n, 0); }

static LLVMValueRef special(Emitter *e, const char *name) {
  return LLVMBuildZExt(e->b, emit_intrinsic(e, name, NULL, 0, NULL, 0), e->i64, "");
}

/* --- work entries ----------------------------------------------------------------------------------------------------------------------- */

static LLVMValueRef word(Emitter *e, LLVMValueRef base, LLVMValueRef index, uint64_t size, uint64_t offset) {
  LLVMValueRef at = LLVMBuildAdd(e->b, LLVMBuildMul(e->b, index, number(e, size), ""), number(e, offset), "");
  return LLVMBuildLoad2(e->b, e->i64, LLVMBuildInBoundsGEP2(e->b, e->i8, base, &at, 1, ""), "");
}

/* for (w = ctaid.x; w < n_work; w += nctaid.x): the builder stands in the first block of the function, then e->entry where the frame is entered. */
void emit_open_work(Emitter *e) {
  LLVMValueRef frames = LLVMGetParam(e->fn, 0), work = LLVMGetParam(e->fn, 1), from = special(e, "llvm.nvvm.read.ptx.sreg.ctaid.x");
  e->blocks = emit_open_count(e, from, LLVMGetParam(e->fn, 2), special(e, "llvm.nvvm.read.ptx.sreg.nctaid.x"));
  LLVMValueRef index = e->blocks.index, at = LLVMBuildMul(e->b, word(e, work, index, sizeof(optc_work), offsetof(optc_work, frame)), number(e, sizeof(optc_frame)), "");
  e->frame = LLVMBuildInBoundsGEP2(e->b, e->i8, frames, &at, 1, "");
  e->field[offsetof(optc_frame, begin)/8] = word(e, work, index, sizeof(optc_work), offsetof(optc_work, begin));
  e->field[offsetof(optc_frame, end)/8] = word(e, work, index, sizeof(optc_work), offsetof(optc_work, end));
  LLVMPositionBuilderAtEnd(e->entry, LLVMGetInsertBlock(e->b));
}

void emit_close_work(Emitter *e) { emit_close_count(e, &e->blocks); }

/* --- loops ------------------------------------------------------------------------------------------------------------------------------ */

/* Thread k of the n that blocks (x, 0), (x, 1), ... have takes elements low + k, low + k + n, ... */
void emit_thread_loop(Emitter *e, const Inst *loop) {
  LLVMValueRef low = e->value[loop->args[0]->id], high = e->value[loop->args[1]->id];
  emit_hoist(e, loop);
  LLVMValueRef block = special(e, "llvm.nvvm.read.ptx.sreg.ntid.x");
  LLVMValueRef first = LLVMBuildMul(e->b, special(e, "llvm.nvvm.read.ptx.sreg.ctaid.y"), block, "");
  first = LLVMBuildAdd(e->b, first, special(e, "llvm.nvvm.read.ptx.sreg.tid.x"), "");
  LLVMValueRef threads = LLVMBuildMul(e->b, special(e, "llvm.nvvm.read.ptx.sreg.nctaid.y"), block, "");
  Width one = {.lanes = 1, .copies = 1, .group = 1};
  emit_counted_loop(e, loop, &one, false, LLVMBuildAdd(e->b, low, first, ""), high, high, threads);
}
