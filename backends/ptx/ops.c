/* ops.c: the operations of ops.def as loops over 32 lanes, and the table of all opcodes. */
#include <stddef.h>
#include "backends/ptx/arith.h"
#include "backends/ptx/machine.h"
#include "backends/ptx/ops.h"

/* Lanes of a row, by type: as they lie in memory (rows are read as several types), as they are computed with, how they get there. */
typedef uint32_t __attribute__((may_alias)) Lane32;
typedef uint64_t __attribute__((may_alias)) Lane64;
typedef float __attribute__((may_alias)) LaneF32;
typedef double __attribute__((may_alias)) LaneF64;
#define LANE_none Lane32
#define LANE_u16 Lane32
#define LANE_s16 Lane32
#define LANE_u32 Lane32
#define LANE_s32 Lane32
#define LANE_f32 LaneF32
#define LANE_u64 Lane64
#define LANE_s64 Lane64
#define LANE_f64 LaneF64
#define LANE_f16 Lane32
#define LANE_bf16 Lane32
#define VALUE_none uint32_t
#define VALUE_u16 uint16_t
#define VALUE_s16 int16_t
#define VALUE_u32 uint32_t
#define VALUE_s32 int32_t
#define VALUE_f32 float
#define VALUE_u64 uint64_t
#define VALUE_s64 int64_t
#define VALUE_f64 double
#define VALUE_f16 double
#define VALUE_bf16 double
#define WIDEN_f16(h) ptx_f64_of_f16(h)
#define WIDEN_bf16(h) f64_of_bf16(h)
#define GET(x) x
#define GET_none GET
#define GET_u16 (uint16_t)
#define GET_s16 (int16_t)
#define GET_u32 GET
#define GET_s32 (int32_t)
#define GET_f32 GET
#define GET_u64 GET
#define GET_s64 (int64_t)
#define GET_f64 GET
#define GET_f16(x) ptx_f64_of_f16((uint16_t)(x))
#define GET_bf16(x) f64_of_bf16((uint16_t)(x))
#define PUT_u16 (uint16_t)
#define PUT_s16 (uint16_t)
#define PUT_u32 (uint32_t)
#define PUT_s32 (uint32_t)
#define PUT_f32 (float)
#define PUT_u64 (uint64_t)
#define PUT_s64 (uint64_t)
#define PUT_f64 (double)
#define PUT_f16 ptx_f16
#define PUT_bf16 ptx_bf16
/* Operands as the decoder checks them. */
#define SIGN_none ""
#define SIGN_u16 "h"
#define SIGN_s16 "h"
#define SIGN_u32 "r"
#define SIGN_s32 "r"
#define SIGN_f32 "f"
#define SIGN_u64 "l"
#define SIGN_s64 "l"
#define SIGN_f64 "d"
#define SIGN_f16 "h"
#define SIGN_bf16 "h"
#define CLAMP_u16 to_unsigned
#define CLAMP_u32 to_unsigned
#define CLAMP_u64 to_unsigned
#define CLAMP_s16 to_signed
#define CLAMP_s32 to_signed
#define CLAMP_s64 to_signed
#define SIGNED_u16 0
#define SIGNED_u32 0
#define SIGNED_u64 0
#define SIGNED_s16 1
#define SIGNED_s32 1
#define SIGNED_s64 1

/* Both halves of 32 bits. */
#define PAIR(h, meaning) __extension__({ \
  uint32_t r_ = 0; \
  for (int k_ = 0; k_ < 32; k_ += 16) { \
    double A_ = WIDEN_##h((uint16_t)(A >> k_)), B_ = WIDEN_##h((uint16_t)(B >> k_)), C_ = WIDEN_##h((uint16_t)(C >> k_)); \
    (void)B_, (void)C_; \
    r_ |= (uint32_t)ptx_##h(meaning) << k_; \
  } \
  r_; \
})

/* --- NaN: an operation's answer is one pattern, or random bits where a launch asks for it ------------------------------------------------------ */
static uint64_t random_nan(PtxWarp *w, uint64_t exponent, unsigned bits) {
  uint64_t r = ptx_random(&w->grid->nan), fraction = ~exponent & (UINT64_MAX >> (65 - bits));
  return exponent | (r & fraction) | (r >> 63) << (bits - 1) | (fraction + 1) >> 1;      /* quiet */
}
static void finish_f32(PtxWarp *w, const PtxInst *i, uint32_t on) {
  LaneF32 *d = ptx_row(w, i->d);
  uint32_t nan = 0;
  for (int l = 0; l < PTX_LANES; l++) nan |= (uint32_t)(d[l] != d[l]);
  if (!nan) return;
  PTX_EACH(l, on) if (d[l] != d[l]) ((Lane32 *)d)[l] = w->grid->nan ? (uint32_t)random_nan(w, 0x7f800000, 32) : PTX_NAN_F32;
}
static void finish_f64(PtxWarp *w, const PtxInst *i, uint32_t on) {
  LaneF64 *d = ptx_row(w, i->d);
  PTX_EACH(l, on) if (d[l] != d[l]) ((Lane64 *)d)[l] = w->grid->nan ? random_nan(w, UINT64_C(0x7ff0000000000000), 64) : PTX_NAN_F64;
}
static void finish_half(PtxWarp *w, const PtxInst *i, uint32_t on, uint32_t exponent) {
  Lane32 *d = ptx_row(w, i->d);
  if (!w->grid->nan) return;
  PTX_EACH(l, on) if (d[l] == PTX_NAN_16) d[l] = (uint32_t)random_nan(w, exponent, 16);
}
#define FINISH_u16(w, i, on)
#define FINISH_s16(w, i, on)
#define FINISH_u32(w, i, on)
#define FINISH_s32(w, i, on)
#define FINISH_u64(w, i, on)
#define FINISH_s64(w, i, on)
#define FINISH_f32(w, i, on) finish_f32(w, i, on)
#define FINISH_f64(w, i, on) finish_f64(w, i, on)
#define FINISH_f16(w, i, on) finish_half(w, i, on, 0x7c00)
#define FINISH_bf16(w, i, on) finish_half(w, i, on, 0x7f80)

/* --- loops -------------------------------------------------------------------------------------------------------------------------------------- */
static void taint_result(PtxWarp *w, const PtxInst *i, uint32_t on) {
  ptx_taint(w, i->d, on, *ptx_undefined(w, i->a) | *ptx_undefined(w, i->b) | *ptx_undefined(w, i->c));
}

/* A full warp takes a plain loop, which the compiler makes vectors of: two rows are one or do not overlap. */
#ifdef __clang__
#define ROWS_APART _Pragma("clang loop vectorize(assume_safety)")
#else
#define ROWS_APART _Pragma("GCC ivdep")
#endif
#define EACH_LANE(TA, TB, TC, statement) \
  const LANE_##TA *a_ = ptx_row(w, i->a); \
  const LANE_##TB *b_ = ptx_row(w, i->b); \
  const LANE_##TC *c_ = ptx_row(w, i->c); \
  if (on == PTX_ALL) \
    ROWS_APART for (uint32_t l = 0; l < PTX_LANES; l++) { WITH(TA, TB, TC, statement) } \
  else \
    PTX_EACH(l, on) { WITH(TA, TB, TC, statement) }
#define WITH(TA, TB, TC, statement) \
  VALUE_##TA A = GET_##TA(a_[l]); VALUE_##TB B = GET_##TB(b_[l]); VALUE_##TC C = GET_##TC(c_[l]); \
  (void)A, (void)B, (void)C; \
  statement;

#define OP(name, names, only, TD, TA, TB, TC, meaning) \
  static void run_##name(PtxWarp *w, const PtxInst *i, uint32_t on) { \
    LANE_##TD *d_ = ptx_row(w, i->d); \
    EACH_LANE(TA, TB, TC, d_[l] = PUT_##TD(meaning)) \
    FINISH_##TD(w, i, on); \
    taint_result(w, i, on); \
  }
#define DIVIDE(name, names, T, meaning) \
  static void run_##name(PtxWarp *w, const PtxInst *i, uint32_t on) { \
    LANE_##T *d_ = ptx_row(w, i->d); \
    uint32_t zero = 0; \
    EACH_LANE(T, T, none, zero |= (uint32_t)!B << l; d_[l] = PUT_##T(meaning)) \
    taint_result(w, i, on); \
    *ptx_undefined(w, i->d) |= zero; \
  }
#define COMPARE(name, names, T, meaning) \
  static void run_##name(PtxWarp *w, const PtxInst *i, uint32_t on) { \
    uint32_t m = 0; \
    EACH_LANE(T, T, none, m |= (uint32_t)(meaning) << l) \
    ptx_set_predicates(w, i, on, m); \
  }
#include "backends/ptx/ops.def"
#undef OP
#undef DIVIDE
#undef COMPARE

/* --- the table ------------------------------------------------------------------------------------------------------------------------------------ */
static const PtxOp ops[] = {
#define OP(name, names, only, TD, TA, TB, TC, meaning) {names, SIGN_##TD SIGN_##TA SIGN_##TB SIGN_##TC, PTX_##only, PTX_MEET_NOT, run_##name, NULL},
#define DIVIDE(name, names, T, meaning) {names, SIGN_##T SIGN_##T SIGN_##T, PTX_EVERYWHERE, PTX_MEET_NOT, run_##name, NULL},
#define COMPARE(name, names, T, meaning) {names, "p" SIGN_##T SIGN_##T, PTX_EVERYWHERE, PTX_MEET_NOT, run_##name, ptx_decode_compare},
#include "backends/ptx/ops.def"
#include "backends/ptx/control.def"
};

const PtxOp *ptx_ops(unsigned *n) {
  *n = sizeof ops/sizeof *ops;
  return ops;
}
