/* emit_codes.c: reading and making codes of the maps of ir/codes.h, on scalars or vectors.
 *
 * An entry is looked up, or computed where a machine chooses from eight numbers of a register. A code is found from the bits of the number's magnitude, which order as the
 * magnitudes do: their upper part is a bucket so short that it holds one edge between codes at most. A table has for each bucket what to add to the bits: their upper part
 * becomes how many edges lie below the bucket, and the lower part, past the edge, carries one into it.
 * Half of a signed map mirrors the other, but that an edge belongs to the code nearer 0 on one side and to the other on the other: 1 is added to the bits of what is negative.
 * Tables are looked up lane by lane: not every machine has gathers, and they were slower where it was measured (Zen 5: AVX-512, 8-bit AdamW at 9.0 GB/s instead of 10.4; AVX2, 0.36 ns an
 * element instead of 0.19). */
#include "backends/emit.h"
#include <string.h>
#include "ir/codes.h"

typedef struct Buckets { unsigned edges, shift; uint32_t low, high; uint32_t edge[CODE_MOST]; } Buckets;      /* edges above 0; the first bucket, and the one behind the last edge's */

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
static unsigned zero_code(const CodeMapInfo *m) { return m->is_signed ? m->codes/2 - 1 : 0; }

/* The longest buckets that have no two edges. */
static Buckets buckets_of(CodeMap map) {
  const CodeMapInfo *m = &code_maps[map];
  Buckets b = {.edges = m->codes - 1 - zero_code(m), .shift = 23};
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

/* The elements at indices, counted from `first`. Indices leave the vector two at a time, in a word: single lanes would take as long as all the rest, and four of 16 bits take longer to part. */
static LLVMValueRef look_up(const Emitter *e, LLVMValueRef table, LLVMTypeRef type, LLVMValueRef index, unsigned first, unsigned lanes) {
  enum { EACH = 2, BITS = 32 };
  LLVMTypeRef array = LLVMGlobalGetValueType(table);
  LLVMValueRef all = lanes > 1 ? LLVMGetPoison(LLVMVectorType(type, lanes)) : NULL, words = NULL, from = NULL;
  if (lanes > 1) words = LLVMBuildBitCast(e->b, index, LLVMVectorType(e->i64, lanes/EACH), "");
  for (unsigned k = 0; k < lanes; k++) {
    LLVMValueRef at = index;
    if (lanes > 1) {
      if (k % EACH == 0) from = LLVMBuildExtractElement(e->b, words, LLVMConstInt(e->i32, k/EACH, 0), "");
      at = LLVMBuildTrunc(e->b, LLVMBuildLShr(e->b, from, LLVMConstInt(e->i64, k%EACH*BITS, 0), ""), e->i32, "");
    }
    LLVMValueRef place[2] = {LLVMConstInt(e->i64, 0, 0), LLVMBuildSub(e->b, LLVMBuildZExt(e->b, at, e->i64, ""), LLVMConstInt(e->i64, first, 0), "")};
    LLVMValueRef x = LLVMBuildLoad2(e->b, type, LLVMBuildInBoundsGEP2(e->b, array, table, place, 2, ""), "");
    all = lanes > 1 ? LLVMBuildInsertElement(e->b, all, x, LLVMConstInt(e->i32, k, 0), "") : x;
  }
  return all;
}

/* --- entries without a look-up -------------------------------------------------------------------------------------------------------------- */

/* Place k of a map has f = 2*k + 1 (signed: k counts from 0, else from 1). The entries of a decade lie on a line of f, and a decade is what has one exponent of f. So
 * have 0, an exponent lower, and 1, one higher: both lie on an eighth line, because no map has more than seven decades, and a machine takes one of eight lines out of a
 * register by the low bits of the exponent. Entries were rounded once. To round the same number, a line has a high part, multiples of a unit so large that f*slope + start
 * is exact, and a low one. */
enum { LINES = 8, LINE_PARTS = 2 };
typedef struct Line { float slope[LINE_PARTS], start[LINE_PARTS]; } Line;

static double rounded(double x, double unit) { return (double)(int64_t)(x/unit + (x < 0 ? -0.5 : 0.5))*unit; }

/* slope*f + start, whose parts are multiples of this unit and of a much smaller one. */
static Line line_of(double slope, double start, double unit) {
  Line line;
  for (int part = 0; part < LINE_PARTS; part++, unit *= 0x1p-16) {
    line.slope[part] = (float)rounded(slope, unit);
    line.start[part] = (float)rounded(start, unit);
    slope -= line.slope[part];
    start -= line.start[part];
  }
  return line;
}

static Line line_of_decade(const CodeMapInfo *m, unsigned decade) {
  double top = code_decade((CodeMap)(m - code_maps), decade), unit = 0x1p-23;
  while (unit >= top*0x1p-22) unit /= 2;
  return line_of(0.9*top/(double)(2u << decade << !m->is_signed), -0.8*top, unit);
}

/* 0 where f is `low`, 1 where it is `high`: the start is so many slopes. */
static Line line_of_ends(unsigned low, unsigned high) {
  double slope = rounded(1.0/(high - low), 0x1p-36);
  return line_of(slope, -slope*low, 0x1p-20);
}

/* That of all f whose exponent, with its excess, has these low bits. */
static Line line_at(const CodeMapInfo *m, unsigned bits) {
  unsigned first = !m->is_signed, decade = (bits + LINES - first) % LINES;      /* decade 0 has exponent first + 1; the excess is 127 */
  return decade < m->decades ? line_of_decade(m, decade) : line_of_ends(2*first + 1, 2*(m->is_signed ? m->codes/2 : m->codes) + 1);
}

/* One register of 8 or 16, or two of 8. */
static bool takes_lines(const Emitter *e, CodeMap map, unsigned lanes) { return !code_maps[map].linear && e->variant->mask_bits && e->variant->fma && (lanes == LINES || lanes == 2*LINES); }

static LLVMValueRef run_of(const Emitter *e, LLVMValueRef x, LLVMValueRef y, unsigned from, unsigned n) {
  LLVMValueRef k[2*LINES];
  for (unsigned i = 0; i < n; i++) k[i] = LLVMConstInt(e->i32, from + i, 0);
  return LLVMBuildShuffleVector(e->b, x, y, LLVMConstVector(k, n), "");
}

/* Of eight numbers those at the low bits of indices: one instruction a register. */
static LLVMValueRef pick(const Emitter *e, const float *from, LLVMValueRef index, unsigned lanes) {
  LLVMValueRef entry[2*LINES], half[2];
  for (unsigned k = 0; k < 2*LINES; k++) entry[k] = emit_const(e, TYPE_F32, bits_of(from[k % LINES]), 1);
  if (lanes > LINES && e->variant->wide) return emit_intrinsic(e, "llvm.x86.avx512.permvar.sf.512", NULL, 0, (LLVMValueRef[]){LLVMConstVector(entry, lanes), index}, 2);
  for (unsigned k = 0; k < lanes/LINES; k++) {
    LLVMValueRef own = lanes > LINES ? run_of(e, index, LLVMGetPoison(LLVMTypeOf(index)), k*LINES, LINES) : index;
    half[k] = emit_intrinsic(e, "llvm.x86.avx2.permps", NULL, 0, (LLVMValueRef[]){LLVMConstVector(entry, LINES), own}, 2);
  }
  return lanes > LINES ? run_of(e, half[0], half[1], 0, lanes) : half[0];
}

#define K(bits) emit_const(e, TYPE_I32, bits, lanes)

static LLVMValueRef decode_by_lines(const Emitter *e, CodeMap map, LLVMValueRef code, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  const CodeMapInfo *m = &code_maps[map];
  LLVMValueRef place = m->is_signed ? LLVMBuildSub(b, code, K(zero_code(m)), "") : code, sign = LLVMBuildAShr(b, place, K(31), ""), sum[LINE_PARTS];
  if (m->is_signed) place = LLVMBuildSub(b, LLVMBuildXor(b, place, sign, ""), sign, "");
  LLVMValueRef f = LLVMBuildSIToFP(b, LLVMBuildAdd(b, LLVMBuildAdd(b, place, place, ""), K(m->is_signed ? 1 : 3), ""), emit_type(e, TYPE_F32, lanes), "");
  LLVMValueRef exponent = LLVMBuildLShr(b, LLVMBuildBitCast(b, f, emit_type(e, TYPE_I32, lanes), ""), K(23), "");
  for (int part = 0; part < LINE_PARTS; part++) {
    float slope[LINES], start[LINES];
    for (unsigned k = 0; k < LINES; k++) {
      Line line = line_at(m, k);
      slope[k] = line.slope[part];
      start[k] = line.start[part];
    }
    LLVMValueRef x[3] = {f, pick(e, slope, exponent, lanes), pick(e, start, exponent, lanes)};
    sum[part] = emit_element(e, ELEMENT_FMA, TYPE_F32, TYPE_F32, x, lanes);
  }
  LLVMValueRef entry = LLVMBuildFAdd(b, sum[0], sum[1], "");
  if (!m->is_signed) return entry;
  LLVMValueRef bits = LLVMBuildBitCast(b, entry, emit_type(e, TYPE_I32, lanes), "");
  return LLVMBuildBitCast(b, LLVMBuildXor(b, bits, LLVMBuildAnd(b, sign, K(0x80000000u), ""), ""), emit_type(e, TYPE_F32, lanes), "");
}

LLVMValueRef emit_decode(const Emitter *e, Element op, LLVMValueRef code, unsigned lanes) {
  CodeMap map = code_map_of(op);
  LLVMValueRef entry[CODE_MOST], low = LLVMBuildAnd(e->b, code, emit_const(e, TYPE_I32, code_maps[map].codes - 1, lanes), "");
  if (takes_lines(e, map, lanes)) return decode_by_lines(e, map, low, lanes);
  for (unsigned k = 0; k < code_maps[map].codes; k++) entry[k] = emit_const(e, TYPE_F32, bits_of(code_entry(map, k)), 1);
  return look_up(e, table(e, map, "entries", e->f32, entry, code_maps[map].codes), e->f32, low, 0, lanes);
}

/* --- codes ------------------------------------------------------------------------------------------------------------------------------------- */

static LLVMValueRef bucket_table(const Emitter *e, CodeMap map, const Buckets *b) {
  unsigned n = b->high - b->low + 1, below = 0;
  uint32_t lower = (1u << b->shift) - 1;
  LLVMValueRef *bucket = arena_array(e->arena, n, sizeof *bucket);
  for (unsigned k = 0; k < n; k++) {
    bool holds = below < b->edges && b->edge[below] >> b->shift == b->low + k;
    uint32_t edge = holds ? b->edge[below] & lower : lower;
    bucket[k] = LLVMConstInt(e->i32, (uint32_t)((below << b->shift) + (lower - edge) - ((b->low + k) << b->shift)), 0);
    below += holds;
  }
  return table(e, map, "buckets", e->i32, bucket, n);
}

#define SMALLER(x, y) LLVMBuildICmp(b, LLVMIntSLT, x, y, "")
#define PICK(c, x, y) LLVMBuildSelect(b, c, x, y, "")

/* How many of the edges above 0 are below a magnitude's bits. */
static LLVMValueRef edges_below(const Emitter *e, CodeMap map, LLVMValueRef bits, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  Buckets of = buckets_of(map);
  LLVMValueRef first = K(of.low << of.shift), last = K(of.high << of.shift);
  bits = PICK(SMALLER(bits, first), first, bits);
  bits = PICK(SMALLER(bits, last), bits, last);
  LLVMValueRef bucket = look_up(e, bucket_table(e, map, &of), e->i32, LLVMBuildLShr(b, bits, K(of.shift), ""), of.low, lanes);
  return LLVMBuildLShr(b, LLVMBuildAdd(b, bucket, bits, ""), K(of.shift), "");
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
