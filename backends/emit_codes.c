/* emit_codes.c: reading and making codes of the maps of ir/codes.h, on scalars or vectors.
 *
 * An entry is looked up. A code is found from the bits of the number's magnitude, which order as the magnitudes do: their upper part is a bucket so short that it
 * holds one edge between codes at most. A table has for each bucket how many edges lie below it, in 8 bits, and in the others the lower part of the edge in it.
 * Half of a signed map mirrors the other, but that an edge belongs to the code nearer 0 on one side and to the other on the other: 1 is added to the bits of what is negative.
 * Tables are looked up lane by lane: not every machine has gathers, and AVX-512's were slower where it was measured (Zen 5: 8-bit AdamW at 9.0 GB/s instead of 10.4). */
#include "backends/emit.h"
#include <string.h>
#include "ir/codes.h"

typedef struct Buckets { unsigned edges, shift; uint32_t low, high; uint32_t edge[CODE_MOST]; } Buckets;      /* edges above 0; the first bucket, and the one behind the last edge's */

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
static unsigned zero_code(const CodeMapInfo *m) { return m->is_signed ? m->codes/2 - 1 : 0; }

enum { EDGE_BITS = 23 };

/* The longest buckets that have no two edges. */
static Buckets buckets_of(CodeMap map) {
  const CodeMapInfo *m = &code_maps[map];
  Buckets b = {.edges = m->codes - 1 - zero_code(m), .shift = EDGE_BITS};
  for (unsigned k = 0; k < b.edges; k++) b.edge[k] = bits_of(code_edge(map, zero_code(m) + k));
  for (unsigned k = 1; k < b.edges; k++) while (b.edge[k] >> b.shift == b.edge[k - 1] >> b.shift) b.shift--;
  b.low = b.edge[0] >> b.shift;
  b.high = (b.edge[b.edges - 1] >> b.shift) + 1;
  return b;
}

/* A constant array of the module, made once. PTX: in constant memory. */
static LLVMValueRef table(const Emitter *e, CodeMap map, const char *what, LLVMTypeRef type, LLVMValueRef *values, unsigned n) {
  char name[64] = "optc_";
  strcat(strcat(strcat(name, code_maps[map].name), "_"), what);
  LLVMValueRef g = LLVMGetNamedGlobal(e->llvm, name);
  if (g) return g;
  g = LLVMAddGlobalInAddressSpace(e->llvm, LLVMArrayType2(type, n), name, e->machine->arch == ARCH_NVPTX ? 4 : 0);
  LLVMSetInitializer(g, LLVMConstArray2(type, values, n));
  LLVMSetGlobalConstant(g, 1);
  LLVMSetLinkage(g, e->machine->arch == ARCH_NVPTX ? LLVMInternalLinkage : LLVMPrivateLinkage);
  LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
  LLVMSetAlignment(g, CACHE_LINE);
  return g;
}

/* The elements at indices of so many bits. Indices leave the vector a word at a time: single lanes would take as long as all the rest. */
static LLVMValueRef look_up(const Emitter *e, LLVMValueRef table, LLVMTypeRef type, LLVMValueRef index, unsigned bits, unsigned lanes) {
  LLVMTypeRef array = LLVMGlobalGetValueType(table), one = LLVMIntTypeInContext(e->context, bits);
  unsigned each = lanes*bits < 64 ? lanes : 64/bits;                                    /* to a word */
  LLVMTypeRef word = LLVMIntTypeInContext(e->context, each*bits);
  LLVMValueRef all = lanes > 1 ? LLVMGetPoison(LLVMVectorType(type, lanes)) : NULL, words = NULL, from = NULL;
  if (lanes > 1) words = LLVMBuildBitCast(e->b, LLVMBuildTrunc(e->b, index, LLVMVectorType(one, lanes), ""), LLVMVectorType(word, lanes/each), "");
  for (unsigned k = 0; k < lanes; k++) {
    LLVMValueRef at = index;
    if (lanes > 1) {
      if (k % each == 0) from = LLVMBuildExtractElement(e->b, words, LLVMConstInt(e->i32, k/each, 0), "");
      at = LLVMBuildTrunc(e->b, LLVMBuildLShr(e->b, from, LLVMConstInt(word, k%each*bits, 0), ""), one, "");
    }
    LLVMValueRef place[2] = {LLVMConstInt(e->i64, 0, 0), LLVMBuildZExt(e->b, at, e->i64, "")};
    LLVMValueRef x = LLVMBuildLoad2(e->b, type, LLVMBuildInBoundsGEP2(e->b, array, table, place, 2, ""), "");
    all = lanes > 1 ? LLVMBuildInsertElement(e->b, all, x, LLVMConstInt(e->i32, k, 0), "") : x;
  }
  return all;
}

LLVMValueRef emit_decode(const Emitter *e, Element op, LLVMValueRef code, unsigned lanes) {
  CodeMap map = code_map_of(op);
  LLVMValueRef entry[CODE_MOST];
  for (unsigned k = 0; k < code_maps[map].codes; k++) entry[k] = emit_const(e, TYPE_F32, bits_of(code_entry(map, k)), 1);
  LLVMValueRef low = LLVMBuildAnd(e->b, code, emit_const(e, TYPE_I32, code_maps[map].codes - 1, lanes), "");
  return look_up(e, table(e, map, "entries", e->f32, entry, code_maps[map].codes), e->f32, low, 8, lanes);
}

static LLVMValueRef bucket_table(const Emitter *e, CodeMap map, const Buckets *b) {
  unsigned n = b->high - b->low + 1, below = 0;
  uint32_t lower = (1u << b->shift) - 1;
  LLVMValueRef *bucket = arena_array(e->arena, n, sizeof *bucket);
  for (unsigned k = 0; k < n; k++) {
    bool holds = below < b->edges && b->edge[below] >> b->shift == b->low + k;
    bucket[k] = LLVMConstInt(e->i32, below << EDGE_BITS | (holds ? b->edge[below] & lower : lower), 0);
    below += holds;
  }
  return table(e, map, "buckets", e->i32, bucket, n);
}

#define K(bits) emit_const(e, TYPE_I32, bits, lanes)
#define SMALLER(x, y) LLVMBuildICmp(b, LLVMIntSLT, x, y, "")
#define PICK(c, x, y) LLVMBuildSelect(b, c, x, y, "")

/* How many of the edges above 0 are below a magnitude's bits. */
static LLVMValueRef edges_below(const Emitter *e, CodeMap map, LLVMValueRef bits, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  Buckets of = buckets_of(map);
  LLVMValueRef first = K(of.low << of.shift), last = K(of.high << of.shift);
  bits = PICK(SMALLER(bits, first), first, bits);
  bits = PICK(SMALLER(bits, last), bits, last);
  LLVMValueRef bucket = look_up(e, bucket_table(e, map, &of), e->i32, LLVMBuildSub(b, LLVMBuildLShr(b, bits, K(of.shift), ""), K(of.low), ""), 16, lanes);
  LLVMValueRef edge = LLVMBuildAnd(b, bucket, K((1u << EDGE_BITS) - 1), ""), lower = LLVMBuildAnd(b, bits, K((1u << of.shift) - 1), "");
  return LLVMBuildSub(b, LLVMBuildLShr(b, bucket, K(EDGE_BITS), ""), LLVMBuildSExt(b, SMALLER(edge, lower), emit_type(e, TYPE_I32, lanes), ""), "");
}

LLVMValueRef emit_encode(const Emitter *e, Element op, LLVMValueRef x, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  CodeMap map = code_map_of(op);
  const CodeMapInfo *m = &code_maps[map];
  LLVMValueRef bits = LLVMBuildBitCast(b, x, emit_type(e, TYPE_I32, lanes), ""), none = K(0);
  if (!m->is_signed) {
    LLVMValueRef above = LLVMBuildFCmp(b, LLVMRealOGT, x, emit_const(e, TYPE_F32, 0, lanes), "");
    return edges_below(e, map, PICK(above, bits, none), lanes);
  }
  LLVMValueRef sign = LLVMBuildAShr(b, bits, K(31), "");                                /* -1 or 0 */
  LLVMValueRef size = LLVMBuildSub(b, LLVMBuildAnd(b, bits, K(0x7fffffff), ""), sign, "");
  LLVMValueRef n = edges_below(e, map, size, lanes);
  LLVMValueRef code = LLVMBuildAdd(b, LLVMBuildSub(b, LLVMBuildXor(b, n, sign, ""), sign, ""), K(zero_code(m)), "");
  code = PICK(SMALLER(code, none), none, code);
  return PICK(LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), none, code);
}
