/* emit_element.c: the element operations of ir/element.def in LLVM's terms, on scalars or on vectors of any number of lanes.
 *
 * No fast-math flag and no library call: what an instruction set lacks is written in operations that all of them have. */
#include "backends/emit.h"
#include <string.h>

LLVMTypeRef emit_type(const Emitter *e, Type type, unsigned lanes) { return lanes == 1 ? e->type[type] : LLVMVectorType(e->type[type], lanes); }

LLVMValueRef emit_splat(const Emitter *e, LLVMValueRef x, unsigned lanes) {
  if (lanes == 1) return x;
  LLVMTypeRef vector = LLVMVectorType(LLVMTypeOf(x), lanes);
  if (LLVMIsConstant(x)) {
    LLVMValueRef all[64];
    for (unsigned i = 0; i < lanes; i++) all[i] = x;
    return LLVMConstVector(all, lanes);
  }
  LLVMValueRef one = LLVMBuildInsertElement(e->b, LLVMGetPoison(vector), x, LLVMConstInt(e->i32, 0, 0), "");
  return LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(vector), LLVMConstNull(LLVMVectorType(e->i32, lanes)), "");
}

LLVMValueRef emit_const(const Emitter *e, Type type, uint64_t bits, unsigned lanes) {
  LLVMValueRef x = LLVMConstInt(type == TYPE_F32 ? e->i32 : type == TYPE_F64 ? e->i64 : e->type[type], bits, 0);
  return emit_splat(e, type == TYPE_F32 || type == TYPE_F64 ? LLVMConstBitCast(x, e->type[type]) : x, lanes);
}

LLVMValueRef emit_intrinsic(const Emitter *e, const char *name, LLVMTypeRef *types, unsigned n_types, LLVMValueRef *args, unsigned n_args) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMValueRef f = LLVMGetIntrinsicDeclaration(e->llvm, id, types, n_types);
  return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->context, id, types, n_types), f, args, n_args, "");
}

static LLVMValueRef call(const Emitter *e, const char *name, Type type, const LLVMValueRef *x, unsigned n, unsigned lanes) {
  LLVMTypeRef t = emit_type(e, type, lanes);
  LLVMValueRef args[3] = {x[0], n > 1 ? x[1] : NULL, n > 2 ? x[2] : NULL};
  return emit_intrinsic(e, name, &t, 1, args, n);
}

/* --- integers ------------------------------------------------------------------------------------------------------------ */

#define ICMP(p, x, y) LLVMBuildICmp(b, LLVMInt##p, x, y, "")
#define FCMP(p, x, y) LLVMBuildFCmp(b, LLVMReal##p, x, y, "")
#define SEL(c, x, y) LLVMBuildSelect(b, c, x, y, "")
#define ADD(x, y) LLVMBuildAdd(b, x, y, "")
#define SUB(x, y) LLVMBuildSub(b, x, y, "")
#define MUL(x, y) LLVMBuildMul(b, x, y, "")
#define AND(x, y) LLVMBuildAnd(b, x, y, "")
#define OR(x, y) LLVMBuildOr(b, x, y, "")
#define XOR(x, y) LLVMBuildXor(b, x, y, "")
#define LSHR(x, y) LLVMBuildLShr(b, x, y, "")
#define FADD(x, y) LLVMBuildFAdd(b, x, y, "")
#define FSUB(x, y) LLVMBuildFSub(b, x, y, "")
#define FMUL(x, y) LLVMBuildFMul(b, x, y, "")

/* Division towards minus infinity without the two traps of the instruction: divisor 0 gives 0, divisor -1 wraps. */
static LLVMValueRef floor_division(const Emitter *e, bool quotient, Type type, LLVMValueRef x, LLVMValueRef y, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  LLVMValueRef zero = emit_const(e, type, 0, lanes), one = emit_const(e, type, 1, lanes), all = emit_const(e, type, ~UINT64_C(0), lanes);
  LLVMValueRef is_zero = ICMP(EQ, y, zero), is_minus = ICMP(EQ, y, all);
  LLVMValueRef safe = SEL(OR(is_zero, is_minus), one, y);
  LLVMValueRef q = LLVMBuildSDiv(b, x, safe, ""), r = SUB(x, MUL(q, safe));
  LLVMValueRef below = AND(ICMP(NE, r, zero), ICMP(SLT, XOR(r, safe), zero));
  if (!quotient) return SEL(OR(is_zero, is_minus), zero, SEL(below, ADD(r, safe), r));
  q = ADD(q, LLVMBuildSExt(b, below, emit_type(e, type, lanes), ""));
  return SEL(is_zero, zero, SEL(is_minus, SUB(zero, x), q));
}

static LLVMValueRef shift(const Emitter *e, Element op, Type type, LLVMValueRef x, LLVMValueRef n, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  LLVMValueRef zero = emit_const(e, type, 0, lanes);
  LLVMValueRef ok = ICMP(ULT, n, emit_const(e, type, type_bits(type), lanes)), count = SEL(ok, n, zero);
  LLVMValueRef y = op == ELEMENT_SHL ? LLVMBuildShl(b, x, count, "") : op == ELEMENT_SHR ? LLVMBuildAShr(b, x, count, "") : LSHR(x, count);
  return SEL(ok, y, zero);
}

/* --- conversions ------------------------------------------------------------------------------------------------------------ */

static LLVMValueRef f32_bits(const Emitter *e, LLVMValueRef x, unsigned lanes) { return LLVMBuildBitCast(e->b, x, emit_type(e, TYPE_I32, lanes), ""); }
static LLVMValueRef bits_f32(const Emitter *e, LLVMValueRef x, unsigned lanes) { return LLVMBuildBitCast(e->b, x, emit_type(e, TYPE_F32, lanes), ""); }
#define K(bits) emit_const(e, TYPE_I32, bits, lanes)

/* Storage floats in integer operations: the instructions and library calls for them differ from machine to machine. */
static LLVMValueRef bf16_of_f32(const Emitter *e, LLVMValueRef x, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  LLVMValueRef u = f32_bits(e, x, lanes), high = LSHR(u, K(16));
  LLVMValueRef rounded = LSHR(ADD(u, ADD(AND(high, K(1)), K(0x7fff))), K(16));
  return LLVMBuildTrunc(b, SEL(FCMP(UNO, x, x), OR(high, K(0x40)), rounded), emit_type(e, TYPE_BF16, lanes), "");
}

static LLVMValueRef f32_of_bf16(const Emitter *e, LLVMValueRef h, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  return bits_f32(e, LLVMBuildShl(b, LLVMBuildZExt(b, h, emit_type(e, TYPE_I32, lanes), ""), K(16), ""), lanes);
}

/* Below 2^-14 the sum with 0.5 rounds to multiples of 2^-24, the smallest f16; its low bits are the code. */
static LLVMValueRef f16_of_f32(const Emitter *e, LLVMValueRef x, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  LLVMValueRef u = f32_bits(e, x, lanes), a = AND(u, K(0x7fffffff)), sign = AND(LSHR(u, K(16)), K(0x8000));
  LLVMValueRef normal = LSHR(ADD(SUB(a, K(0x38000000)), ADD(K(0xfff), AND(LSHR(a, K(13)), K(1)))), K(13));
  LLVMValueRef tiny = SUB(f32_bits(e, FADD(bits_f32(e, a, lanes), emit_const(e, TYPE_F32, 0x3f000000, lanes)), lanes), K(0x3f000000));
  LLVMValueRef nan = OR(K(0x7e00), AND(LSHR(a, K(13)), K(0x3ff)));
  LLVMValueRef y = SEL(ICMP(UGE, a, K(0x38800000)), normal, tiny);
  y = SEL(ICMP(UGE, a, K(0x47800000)), K(0x7c00), y);
  y = SEL(ICMP(UGT, a, K(0x7f800000)), nan, y);
  return LLVMBuildTrunc(b, OR(y, sign), emit_type(e, TYPE_F16, lanes), "");
}

static LLVMValueRef f32_of_f16(const Emitter *e, LLVMValueRef h, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  LLVMValueRef u = LLVMBuildZExt(b, h, emit_type(e, TYPE_I32, lanes), ""), a = AND(u, K(0x7fff));
  LLVMValueRef moved = LLVMBuildShl(b, a, K(13), "");
  LLVMValueRef tiny = f32_bits(e, FMUL(LLVMBuildSIToFP(b, a, emit_type(e, TYPE_F32, lanes), ""), emit_const(e, TYPE_F32, 0x33800000, lanes)), lanes);
  LLVMValueRef large = ADD(moved, K(UINT32_C(224) << 23)), quiet = SEL(ICMP(UGT, a, K(0x7c00)), OR(large, K(0x400000)), large);
  LLVMValueRef y = SEL(ICMP(ULT, a, K(0x400)), tiny, ADD(moved, K(UINT32_C(112) << 23)));
  y = SEL(ICMP(UGE, a, K(0x7c00)), quiet, y);
  return bits_f32(e, OR(y, LLVMBuildShl(b, AND(u, K(0x8000)), K(16), "")), lanes);
}

static LLVMValueRef cast_to_int(const Emitter *e, LLVMValueRef x, Type from, Type to, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  LLVMTypeRef t = emit_type(e, to, lanes);
  if (type_kind(from) == KIND_FLOAT) {
    LLVMTypeRef types[2] = {t, emit_type(e, from, lanes)};
    return emit_intrinsic(e, to == TYPE_U8 ? "llvm.fptoui.sat" : "llvm.fptosi.sat", types, 2, &x, 1);
  }
  unsigned have = from == TYPE_BOOL ? 1 : type_bits(from), want = type_bits(to);
  if (have > want) return LLVMBuildTrunc(b, x, t, "");
  if (have == want) return x;
  return from == TYPE_BOOL || from == TYPE_U8 ? LLVMBuildZExt(b, x, t, "") : LLVMBuildSExt(b, x, t, "");
}

static LLVMValueRef cast(const Emitter *e, LLVMValueRef x, Type from, Type to, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  if (from == to) return x;
  if (from == TYPE_BF16 || from == TYPE_F16) {
    x = from == TYPE_BF16 ? f32_of_bf16(e, x, lanes) : f32_of_f16(e, x, lanes);
    from = TYPE_F32;
  }
  bool floating = type_kind(from) == KIND_FLOAT;
  if (to == TYPE_BOOL) return floating ? FCMP(UNE, x, LLVMConstNull(emit_type(e, from, lanes))) : ICMP(NE, x, LLVMConstNull(emit_type(e, from, lanes)));
  if (type_kind(to) == KIND_INT) return cast_to_int(e, x, from, to, lanes);
  Type reached = to == TYPE_F64 ? TYPE_F64 : TYPE_F32;                /* the 16-bit floats are reached through f32 */
  LLVMTypeRef t = emit_type(e, reached, lanes);
  if (!floating) x = from == TYPE_BOOL || from == TYPE_U8 ? LLVMBuildUIToFP(b, x, t, "") : LLVMBuildSIToFP(b, x, t, "");
  else if (from != reached) x = reached == TYPE_F64 ? LLVMBuildFPExt(b, x, t, "") : LLVMBuildFPTrunc(b, x, t, "");
  return to == TYPE_BF16 ? bf16_of_f32(e, x, lanes) : to == TYPE_F16 ? f16_of_f32(e, x, lanes) : x;
}

/* f32 fma without the instruction, branch free and exact: the product is exact in f64, the sum is rounded to odd there, then once to f32
 * (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008). */
static LLVMValueRef emulated_fma(const Emitter *e, const LLVMValueRef *x, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  LLVMTypeRef f64 = emit_type(e, TYPE_F64, lanes), i64 = emit_type(e, TYPE_I64, lanes);
  LLVMValueRef zero = LLVMConstNull(f64), c = LLVMBuildFPExt(b, x[2], f64, "");
  LLVMValueRef p = FMUL(LLVMBuildFPExt(b, x[0], f64, ""), LLVMBuildFPExt(b, x[1], f64, ""));
  LLVMValueRef s = FADD(p, c), t = FSUB(s, p), error = FADD(FSUB(p, FSUB(s, t)), FSUB(c, t));
  LLVMValueRef bits = LLVMBuildBitCast(b, s, i64, "");
  bits = ADD(bits, LLVMBuildSExt(b, FCMP(OLT, FMUL(error, s), zero), i64, ""));        /* truncate ... */
  bits = OR(bits, LLVMBuildZExt(b, FCMP(ONE, error, zero), i64, ""));                   /* ... and keep that something was cut */
  return LLVMBuildFPTrunc(b, LLVMBuildBitCast(b, bits, f64, ""), emit_type(e, TYPE_F32, lanes), "");
}

/* --- the operations ---------------------------------------------------------------------------------------------------------- */

static LLVMValueRef compare(const Emitter *e, Element op, Type type, LLVMValueRef x, LLVMValueRef y) {
  static const struct { LLVMRealPredicate real; LLVMIntPredicate integer; } predicate[] = {
    [ELEMENT_LT] = {LLVMRealOLT, LLVMIntSLT}, [ELEMENT_LE] = {LLVMRealOLE, LLVMIntSLE}, [ELEMENT_GT] = {LLVMRealOGT, LLVMIntSGT},
    [ELEMENT_GE] = {LLVMRealOGE, LLVMIntSGE}, [ELEMENT_EQ] = {LLVMRealOEQ, LLVMIntEQ}, [ELEMENT_NE] = {LLVMRealUNE, LLVMIntNE},
  };
  return type_kind(type) == KIND_FLOAT ? LLVMBuildFCmp(e->b, predicate[op].real, x, y, "") : LLVMBuildICmp(e->b, predicate[op].integer, x, y, "");
}

LLVMValueRef emit_element(const Emitter *e, Element op, Type result, Type operand, const LLVMValueRef *x, unsigned lanes) {
  LLVMBuilderRef b = e->b;
  bool real = type_kind(operand) == KIND_FLOAT;
  switch (op) {
    case ELEMENT_ADD: return real ? FADD(x[0], x[1]) : ADD(x[0], x[1]);
    case ELEMENT_SUB: return real ? FSUB(x[0], x[1]) : SUB(x[0], x[1]);
    case ELEMENT_MUL: return real ? FMUL(x[0], x[1]) : MUL(x[0], x[1]);
    case ELEMENT_DIV: return LLVMBuildFDiv(b, x[0], x[1], "");
    case ELEMENT_IDIV: case ELEMENT_IMOD: return floor_division(e, op == ELEMENT_IDIV, operand, x[0], x[1], lanes);
    case ELEMENT_NEG: return real ? LLVMBuildFNeg(b, x[0], "") : SUB(emit_const(e, operand, 0, lanes), x[0]);
    case ELEMENT_ABS: return call(e, "llvm.fabs", operand, x, 1, lanes);
    case ELEMENT_SQRT: return call(e, "llvm.sqrt", operand, x, 1, lanes);
    case ELEMENT_FMA: return e->variant->fma ? call(e, "llvm.fma", operand, x, 3, lanes) : emulated_fma(e, x, lanes);
    case ELEMENT_FLOOR: return call(e, "llvm.floor", operand, x, 1, lanes);
    case ELEMENT_CEIL: return call(e, "llvm.ceil", operand, x, 1, lanes);
    case ELEMENT_TRUNC: return call(e, "llvm.trunc", operand, x, 1, lanes);
    case ELEMENT_RINT: return call(e, "llvm.roundeven", operand, x, 1, lanes);
    case ELEMENT_LT: case ELEMENT_LE: case ELEMENT_GT: case ELEMENT_GE: case ELEMENT_EQ: case ELEMENT_NE: return compare(e, op, operand, x[0], x[1]);
    case ELEMENT_AND: return AND(x[0], x[1]);
    case ELEMENT_OR: return OR(x[0], x[1]);
    case ELEMENT_XOR: return XOR(x[0], x[1]);
    case ELEMENT_NOT: return LLVMBuildNot(b, x[0], "");
    case ELEMENT_SHL: case ELEMENT_SHR: case ELEMENT_USHR: return shift(e, op, operand, x[0], x[1], lanes);
    case ELEMENT_SELECT: return SEL(x[0], x[1], x[2]);
    case ELEMENT_CAST: return cast(e, x[0], operand, result, lanes);
    case ELEMENT_BITCAST: return LLVMBuildBitCast(b, x[0], emit_type(e, result, lanes), "");
    case ELEMENT_DECODE_Q8: case ELEMENT_DECODE_Q8U: case ELEMENT_DECODE_Q4: case ELEMENT_DECODE_Q4U: return emit_decode(e, op, x[0], lanes);
    case ELEMENT_ENCODE_Q8: case ELEMENT_ENCODE_Q8U: case ELEMENT_ENCODE_Q4: case ELEMENT_ENCODE_Q4U: return emit_encode(e, op, x[0], lanes);
    default: return NULL;
  }
}
