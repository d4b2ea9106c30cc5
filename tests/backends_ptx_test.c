/* backends_ptx_test.c: hand-written PTX gives what the ISA manual says: operations on edge values, control flow, what lanes do together, matrices. */
#include <math.h>
#include <stdlib.h>
#include "tests/support/ptx_lab.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

#define NAN32 0x7fffffff
#define ONE 0x3f800000
#define TWO64 UINT64_C(0x4000000000000000)

static uint32_t bits32(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static float of_bits32(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }

/* --- one instruction on one thread ---------------------------------------------------------------------------------------------------------------- */

/* types: of the result, then of the operands: h r l registers of 16, 32, 64 bits, p a predicate. What stands behind them follows '|' in `op`. */
typedef struct Row { const char *op, *types; uint64_t x[4], want; } Row;

static const Row rows[] = {
  /* integers */
  {"add.s32", "rrr", {0x7fffffff, 1}, 0x80000000}, {"add.u64", "lll", {UINT64_MAX, 2}, 1}, {"add.s16", "hhh", {0xffff, 2}, 1}, {"sub.s32", "rrr", {0, 1}, 0xffffffff},
  {"mul.lo.s32", "rrr", {0xffffffff, 7}, 0xfffffff9}, {"mul.hi.u32", "rrr", {0xffffffff, 0xffffffff}, 0xfffffffe}, {"mul.hi.s32", "rrr", {0xffffffff, 0xffffffff}, 0},
  {"mul.wide.u32", "lrr", {0xffffffff, 0xffffffff}, UINT64_C(0xfffffffe00000001)}, {"mul.wide.s32", "lrr", {0xffffffff, 5}, UINT64_C(0xfffffffffffffffb)},
  {"mul.wide.s16", "rhh", {0x8000, 2}, 0xffff0000}, {"mul.hi.u64", "lll", {UINT64_MAX, UINT64_MAX}, UINT64_MAX - 1}, {"mul.hi.s64", "lll", {UINT64_MAX, UINT64_MAX}, 0},
  {"mad.lo.s32", "rrrr", {3, 4, 5}, 17}, {"mad.hi.u32", "rrrr", {0x80000000, 4, 1}, 3}, {"mad.wide.u32", "lrrl", {0xffffffff, 2, 3}, UINT64_C(0x200000001)},
  {"div.s32", "rrr", {(uint32_t)-7, 2}, (uint32_t)-3}, {"rem.s32", "rrr", {(uint32_t)-7, 2}, (uint32_t)-1}, {"div.u32", "rrr", {(uint32_t)-7, 2}, 0x7ffffffc},
  {"div.s64", "lll", {UINT64_C(1) << 63, UINT64_MAX}, UINT64_C(1) << 63}, {"rem.s64", "lll", {UINT64_C(1) << 63, UINT64_MAX}, 0}, {"rem.u64", "lll", {UINT64_MAX, 10}, 5},
  {"abs.s32", "rr", {0x80000000}, 0x80000000}, {"abs.s64", "ll", {UINT64_MAX}, 1}, {"neg.s32", "rr", {1}, 0xffffffff}, {"min.s32", "rrr", {0xffffffff, 1}, 0xffffffff},
  {"min.u32", "rrr", {0xffffffff, 1}, 1}, {"max.s64", "lll", {UINT64_MAX, 1}, 1}, {"max.u64", "lll", {UINT64_MAX, 1}, UINT64_MAX}, {"max.s16", "hhh", {0x8000, 1}, 1},
  {"popc.b32", "rr", {0xf0f0f0f0}, 16}, {"popc.b64", "rl", {UINT64_MAX}, 64}, {"clz.b32", "rr", {0}, 32}, {"clz.b32", "rr", {1}, 31}, {"clz.b64", "rl", {1}, 63}, {"brev.b32", "rr", {1}, 0x80000000},
  {"brev.b64", "ll", {2}, UINT64_C(1) << 62}, {"bfe.u32", "rrrr", {0xabcdef12, 8, 8}, 0xef}, {"bfe.s32", "rrrr", {0xabcdef12, 8, 8}, 0xffffffef}, {"bfe.s32", "rrrr", {0x80000000, 31, 8}, 0xffffffff},
  {"bfe.u32", "rrrr", {0xabcdef12, 0, 0}, 0}, {"bfe.u32", "rrrr", {0xabcdef12, 28, 16}, 0xa}, {"bfe.u64", "llrr", {UINT64_C(0x7ff0000000000000), 52, 11}, 0x7ff},
  {"bfi.b32", "rrrrr", {0xff, 0, 4, 8}, 0xff0}, {"bfi.b32", "rrrrr", {0xff, 0xffffffff, 28, 8}, 0xffffffff}, {"bfi.b64", "lllrr", {5, 0, 60, 3}, UINT64_C(5) << 60},
  /* bits */
  {"shl.b32", "rrr", {1, 31}, 0x80000000}, {"shl.b32", "rrr", {1, 32}, 0}, {"shl.b64", "llr", {1, 63}, UINT64_C(1) << 63}, {"shl.b16", "hhr", {1, 16}, 0}, {"shr.u32", "rrr", {0x80000000, 32}, 0},
  {"shr.s32", "rrr", {0x80000000, 99}, 0xffffffff}, {"shr.s32", "rrr", {0x40000000, 99}, 0}, {"shr.s64", "llr", {UINT64_C(1) << 63, 63}, UINT64_MAX}, {"shr.u64", "llr", {UINT64_MAX, 64}, 0},
  {"shr.s16", "hhr", {0x8000, 3}, 0xf000}, {"shf.l.wrap.b32", "rrrr", {0x80000000, 1, 33}, 3}, {"shf.r.wrap.b32", "rrrr", {2, 1, 1}, 0x80000001}, {"shf.l.clamp.b32", "rrrr", {7, 9, 40}, 7},
  {"shf.r.clamp.b32", "rrrr", {7, 9, 40}, 9}, {"prmt.b32", "rrrr", {0x33221100, 0x77665544, 0x7610}, 0x77661100}, {"prmt.b32", "rrrr", {0x80, 0x7f, 0x8c48}, 0xff007fff},
  {"and.b32", "rrr", {12, 10}, 8}, {"or.b64", "lll", {12, 10}, 14}, {"xor.b16", "hhh", {12, 10}, 6}, {"not.b32", "rr", {0}, 0xffffffff}, {"cnot.b32", "rr", {0}, 1},
  {"lop3.b32|, 0x96", "rrrr", {0xf0, 0xcc, 0xaa}, 0x96}, {"selp.b32", "rrrp", {1, 2, 0}, 2}, {"selp.f64", "lllp", {1, 2, 1}, 1}, {"selp.s16", "hhhp", {1, 2, 1}, 1},
  /* f32: rounding, subnormals, infinities, NaN */
  {"add.rn.f32", "rrr", {ONE, 0x33800000}, ONE}, {"add.rn.f32", "rrr", {0x3f800001, 0x33800000}, 0x3f800002}, {"add.rp.f32", "rrr", {ONE, 1}, 0x3f800001}, {"add.rz.f32", "rrr", {ONE, 0x80000001}, 0x3f7fffff},
  {"sub.rm.f32", "rrr", {ONE, ONE}, 0x80000000}, {"sub.rn.f32", "rrr", {ONE, ONE}, 0}, {"add.rn.f32", "rrr", {0x7f800000, 0xff800000}, NAN32}, {"mul.rn.f32", "rrr", {0, 0x7f800000}, NAN32},
  {"mul.rn.f32", "rrr", {0x00800000, 0x3f000000}, 0x00400000}, {"mul.rn.f32", "rrr", {1, 0x3f000000}, 0}, {"mul.rp.f32", "rrr", {1, 0x3f000000}, 1}, {"mul.rn.f32", "rrr", {0x7f7fffff, 0x40000000}, 0x7f800000},
  {"fma.rn.f32", "rrrr", {0x3f800001, 0x3f800001, 0xbf800002}, 0x28800000}, {"fma.rz.f32", "rrrr", {ONE, ONE, 0x80000001}, 0x3f7fffff}, {"div.rn.f32", "rrr", {ONE, 0x40400000}, 0x3eaaaaab},
  {"div.rz.f32", "rrr", {ONE, 0x40400000}, 0x3eaaaaaa}, {"div.rn.f32", "rrr", {ONE, 0x80000000}, 0xff800000}, {"div.rn.f32", "rrr", {0, 0}, NAN32}, {"sqrt.rn.f32", "rr", {0x40000000}, 0x3fb504f3},
  {"sqrt.rp.f32", "rr", {0x40000000}, 0x3fb504f4}, {"sqrt.rn.f32", "rr", {0x80000000}, 0x80000000}, {"sqrt.rn.f32", "rr", {0xbf800000}, NAN32}, {"rcp.rn.f32", "rr", {0x40400000}, 0x3eaaaaab},
  {"rcp.rn.f32", "rr", {0x7f000000}, 0x00400000}, {"abs.f32", "rr", {0xbf800000}, ONE}, {"neg.f32", "rr", {0}, 0x80000000}, {"neg.f32", "rr", {0xffc12345}, NAN32}, {"copysign.f32", "rrr", {0x80000000, ONE}, 0xbf800000},
  {"min.f32", "rrr", {0, 0x80000000}, 0x80000000}, {"max.f32", "rrr", {0x80000000, 0}, 0}, {"min.f32", "rrr", {0x7fc00000, ONE}, ONE}, {"max.f32", "rrr", {ONE, 0xffc00000}, ONE},
  {"max.f32", "rrr", {0x7fc00000, 0x7fc00000}, NAN32}, {"max.NaN.f32", "rrr", {ONE, 0xffc00000}, NAN32}, {"min.NaN.f32", "rrr", {0x80000000, 0}, 0x80000000},
  /* f64 */
  {"add.rn.f64", "lll", {UINT64_C(0x3ff0000000000000), UINT64_C(0x3ca0000000000000)}, UINT64_C(0x3ff0000000000000)}, {"add.rp.f64", "lll", {UINT64_C(0x3ff0000000000000), 1}, UINT64_C(0x3ff0000000000001)},
  {"sqrt.rn.f64", "ll", {TWO64}, UINT64_C(0x3ff6a09e667f3bcd)}, {"rcp.rn.f64", "ll", {TWO64}, UINT64_C(0x3fe0000000000000)}, {"fma.rn.f64", "llll", {TWO64, TWO64, TWO64}, UINT64_C(0x4018000000000000)},
  {"div.rn.f64", "lll", {0, 0}, UINT64_C(0x7fffffffffffffff)}, {"max.f64", "lll", {UINT64_C(1) << 63, 0}, 0}, {"neg.f64", "ll", {TWO64}, UINT64_C(0xc000000000000000)},
  /* comparisons: ne is ordered, neu is not */
  {"setp.lt.s32", "prr", {0xffffffff, 0}, 1}, {"setp.lt.u32", "prr", {0xffffffff, 0}, 0}, {"setp.lo.u32", "prr", {0, 1}, 1}, {"setp.hs.u64", "pll", {1, 1}, 1}, {"setp.ge.s16", "phh", {0x8000, 0}, 0},
  {"setp.eq.f32", "prr", {0, 0x80000000}, 1}, {"setp.ne.f32", "prr", {0x7fc00000, ONE}, 0}, {"setp.neu.f32", "prr", {0x7fc00000, ONE}, 1}, {"setp.equ.f32", "prr", {0x7fc00000, ONE}, 1},
  {"setp.lt.f32", "prr", {0x7fc00000, ONE}, 0}, {"setp.ltu.f32", "prr", {0x7fc00000, ONE}, 1}, {"setp.leu.f32", "prr", {0x40000000, ONE}, 0}, {"setp.gtu.f32", "prr", {ONE, 0x7fc00000}, 1},
  {"setp.geu.f64", "pll", {0, TWO64}, 0}, {"setp.nan.f32", "prr", {0x7fc00000, ONE}, 1}, {"setp.num.f32", "prr", {0x7fc00000, ONE}, 0}, {"setp.num.f64", "pll", {0, TWO64}, 1},
  {"setp.lt.and.s32", "prrp", {1, 2, 1}, 1}, {"setp.lt.and.s32", "prrp", {1, 2, 0}, 0}, {"setp.gt.or.s32", "prrp", {1, 2, 1}, 1}, {"setp.lt.xor.s32", "prrp", {1, 2, 1}, 0},
  {"and.pred", "ppp", {1, 0}, 0}, {"or.pred", "ppp", {1, 0}, 1}, {"xor.pred", "ppp", {1, 1}, 0}, {"not.pred", "pp", {1}, 0}, {"mov.pred", "pp", {1}, 1},
  /* conversions: out of range clamps, NaN gives 0, ties to even, the sign of zero is kept */
  {"cvt.rzi.s32.f32", "rr", {0x4f000000}, 0x7fffffff}, {"cvt.rzi.s32.f32", "rr", {0xff800000}, 0x80000000}, {"cvt.rzi.s32.f32", "rr", {0x7fc00000}, 0}, {"cvt.rzi.u32.f32", "rr", {0xbf800000}, 0},
  {"cvt.rzi.u32.f32", "rr", {0x4f800000}, 0xffffffff}, {"cvt.rni.s32.f32", "rr", {0x40200000}, 2}, {"cvt.rni.s32.f32", "rr", {0x40600000}, 4}, {"cvt.rmi.s32.f32", "rr", {0xbf000000}, 0xffffffff},
  {"cvt.rpi.s32.f32", "rr", {0x3f000000}, 1}, {"cvt.rzi.s64.f32", "lr", {0x5f000000}, INT64_MAX}, {"cvt.rzi.u64.f64", "ll", {UINT64_C(0x43f0000000000000)}, UINT64_MAX}, {"cvt.rzi.s16.f32", "hr", {0x47c35000}, 0x7fff},
  {"cvt.rzi.s64.f64", "ll", {UINT64_C(0xc3e0000000000000)}, UINT64_C(1) << 63}, {"cvt.rn.f32.s32", "rr", {0x01000001}, 0x4b800000}, {"cvt.rp.f32.s32", "rr", {0x01000001}, 0x4b800001},
  {"cvt.rn.f32.u64", "rl", {UINT64_MAX}, 0x5f800000}, {"cvt.rz.f32.u64", "rl", {UINT64_MAX}, 0x5f7fffff}, {"cvt.rn.f32.s64", "rl", {UINT64_MAX}, 0xbf800000}, {"cvt.rn.f64.s64", "ll", {INT64_MAX}, UINT64_C(0x43e0000000000000)},
  {"cvt.rm.f64.s64", "ll", {INT64_MAX}, UINT64_C(0x43dfffffffffffff)}, {"cvt.rn.f64.u32", "lr", {0xffffffff}, UINT64_C(0x41efffffffe00000)}, {"cvt.f64.f32", "lr", {1}, UINT64_C(0x36a0000000000000)},
  {"cvt.rn.f32.f64", "rl", {UINT64_C(0x3690000000000001)}, 1}, {"cvt.rn.f32.f64", "rl", {UINT64_C(0x3690000000000000)}, 0}, {"cvt.rm.f32.f64", "rl", {UINT64_C(0xb690000000000000)}, 0x80000001},
  {"cvt.rni.f32.f32", "rr", {0xbf000000}, 0x80000000}, {"cvt.rni.f32.f32", "rr", {0x3fc00000}, 0x40000000}, {"cvt.rzi.f32.f32", "rr", {0xbfc00000}, 0xbf800000}, {"cvt.rmi.f32.f32", "rr", {0xbf000000}, 0xbf800000},
  {"cvt.rpi.f64.f64", "ll", {UINT64_C(0xbfe0000000000000)}, UINT64_C(1) << 63}, {"cvt.u64.u32", "lr", {0xffffffff}, 0xffffffff}, {"cvt.s64.s32", "lr", {0xffffffff}, UINT64_MAX}, {"cvt.u32.u64", "rl", {UINT64_MAX}, 0xffffffff},
  {"cvt.s32.s16", "rh", {0x8000}, 0xffff8000}, {"cvt.u16.u32", "hr", {0x12345}, 0x2345}, {"cvt.s32.s8", "rr", {0x80}, 0xffffff80}, {"cvt.u32.u8", "rh", {0x1ff}, 0xff}, {"cvt.s8.s32", "rr", {0x1ff}, 0xffffffff},
  {"cvt.rn.bf16.f32", "hr", {0x3f808000}, 0x3f80}, {"cvt.rn.bf16.f32", "hr", {0x3f818000}, 0x3f82}, {"cvt.rn.bf16.f32", "hr", {0x7f7fffff}, 0x7f80}, {"cvt.rn.bf16.f32", "hr", {0xffc00001}, 0x7fff},
  {"cvt.rn.bf16.f32", "hr", {0x00008001}, 1}, {"cvt.rn.f16.f32", "hr", {0x477fefff}, 0x7bff}, {"cvt.rn.f16.f32", "hr", {0x477ff000}, 0x7c00}, {"cvt.rn.f16.f32", "hr", {0x33000000}, 0}, {"cvt.rn.f16.f32", "hr", {0x33000001}, 1},
  {"cvt.rn.bf16x2.f32", "rrr", {ONE, 0x40000000}, 0x3f804000}, {"cvt.rn.f16x2.f32", "rrr", {ONE, 0x40000000}, 0x3c004000}, {"cvt.f32.bf16", "rh", {0x3f81}, 0x3f810000}, {"cvt.f32.f16", "rh", {1}, 0x33800000},
  {"cvt.rna.tf32.f32", "rr", {0x3f801000}, 0x3f802000}, {"cvt.rna.tf32.f32", "rr", {0x3f800fff}, 0x3f800000}, {"cvt.rna.tf32.f32", "rr", {0x7f800000}, 0x7f800000},
  /* 16-bit floats: one rounding */
  {"add.rn.f16", "hhh", {0x3c00, 0x1000}, 0x3c00}, {"fma.rn.f16", "hhhh", {0x3c01, 0x3c01, 0x8001}, 0x3c02}, {"mul.rn.bf16", "hhh", {0x3f81, 0x3f81}, 0x3f82}, {"add.rn.bf16", "hhh", {0x3f80, 0x3b80}, 0x3f80},
  {"add.rn.bf16", "hhh", {0x3f80, 0x3b81}, 0x3f81}, {"fma.rn.bf16", "hhhh", {0x3f80, 0x3b80, 0x3f80}, 0x3f80}, {"add.rn.f16x2", "rrr", {0x3c004000, 0x3c003c00}, 0x40004200},
  {"fma.rn.bf16x2", "rrrr", {0x40003f80, 0x40003f80, 0x3f803f80}, 0x40a04000}, {"max.NaN.bf16", "hhh", {0x7fc0, 0x3f80}, 0x7fff}, {"neg.f16", "hh", {0x3c00}, 0xbc00}, {"setp.lt.f16", "phh", {0x8000, 1}, 1}, {"setp.neu.bf16", "phh", {0x7fc0, 0x7fc0}, 1},
  {"cvt.rzi.s32.f16", "rh", {0xc2ff}, (uint32_t)-3}, {"cvt.rn.f16.u64", "hl", {65519}, 0x7bff}, {"cvt.rn.f16.s32", "hr", {65520}, 0x7c00},
};
/* What strict kernels may not have. */
static const Row relaxed_rows[] = {
  {"add.f32", "rrr", {ONE, ONE}, 0x40000000}, {"add.rn.ftz.f32", "rrr", {1, 1}, 0}, {"mul.ftz.f32", "rrr", {0x80000001, 0x40000000}, 0x80000000}, {"mul.rn.sat.f32", "rrr", {0x40000000, ONE}, ONE},
  {"add.rn.sat.f32", "rrr", {0x7fc00000, ONE}, 0}, {"add.rn.ftz.sat.f32", "rrr", {0xbf800000, 0}, 0}, {"fma.rn.ftz.f32", "rrrr", {ONE, 0x00800000, 0x80000001}, 0x00800000},
  {"div.rn.ftz.f32", "rrr", {0x00800000, 0x40000000}, 0}, {"mul.f64", "lll", {TWO64, TWO64}, UINT64_C(0x4010000000000000)},
};
#define COUNT(a) (sizeof (a)/sizeof *(a))

static void row_text(const Row *r, char *text, size_t size) {
  char operands[200] = "";
  int n = snprintf(text, size, PTX_HEAD ".visible .entry k(.param .u64 from, .param .u64 to) {\n.reg .pred %%p<9>; .reg .b16 %%h<9>; .reg .b32 %%r<9>; .reg .b64 %%l<9>;\n"
    ".reg .b64 %%from, %%to; .reg .b32 %%t; .reg .b64 %%wide;\nld.param.u64 %%from, [from]; ld.param.u64 %%to, [to];\n");
  for (unsigned k = 1; r->types[k]; k++) {
    char c = r->types[k];
    snprintf(operands + strlen(operands), sizeof operands - strlen(operands), ", %%%c%u", c, k);
    if (c == 'p') n += snprintf(text + n, size - (size_t)n, "ld.global.u32 %%t, [%%from+%u]; setp.ne.u32 %%p%u, %%t, 0;\n", 8*(k - 1), k);
    else n += snprintf(text + n, size - (size_t)n, "ld.global.%s %%%c%u, [%%from+%u];\n", c == 'h' ? "b16" : c == 'r' ? "b32" : "b64", c, k, 8*(k - 1));
  }
  char c = *r->types;
  int length = (int)strcspn(r->op, "|");
  n += snprintf(text + n, size - (size_t)n, "%.*s %%%c0%s%s;\n", length, r->op, c, operands, r->op[length] ? r->op + length + 1 : "");
  const char *widen = c == 'p' ? "selp.b64 %wide, 1, 0, %p0;" : c == 'h' ? "cvt.u64.u16 %wide, %h0;" : c == 'r' ? "cvt.u64.u32 %wide, %r0;" : "mov.b64 %wide, %l0;";
  snprintf(text + n, size - (size_t)n, "%s\nst.global.b64 [%%to], %%wide;\nret;\n}\n", widen);
}

static void check_rows(const Row *table, size_t n, PtxMode mode) {
  for (size_t k = 0; k < n; k++) {
    char text[4000];
    uint64_t got = 0;
    PtxLab l;
    row_text(&table[k], text, sizeof text);
    bool good = lab_open(&l, text, mode);
    uint64_t params[2] = {ptx_map(l.memory, (void *)(uintptr_t)table[k].x, sizeof table[k].x, PTX_READ, "from"), ptx_map(l.memory, &got, 8, PTX_READ | PTX_WRITE, "to")};
    good = good && lab_run(&l, params);
    if (!good || got != table[k].want) {
      printf("\n%s of %llx, %llx, %llx: %llx, should be %llx\n", table[k].op, (unsigned long long)table[k].x[0], (unsigned long long)table[k].x[1], (unsigned long long)table[k].x[2],
        (unsigned long long)got, (unsigned long long)table[k].want);
      lab_show(&l);
      CU_FAIL("an operation is wrong");
    } else CU_PASS();
    lab_close(&l);
  }
}

static void operations_on_edge_values(void) { check_rows(rows, COUNT(rows), PTX_STRICT); }

static void relaxed_operations_and_strict_refusal(void) {
  check_rows(relaxed_rows, COUNT(relaxed_rows), PTX_RELAXED);
  for (size_t k = 0; k < COUNT(relaxed_rows); k++) {
    char text[4000];
    PtxLab l;
    row_text(&relaxed_rows[k], text, sizeof text);
    CU_ASSERT_FALSE(lab_open(&l, text, PTX_STRICT));
    CU_ASSERT_EQUAL(diag_errors(l.diag), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(diag_get(l.diag, 0)->text, "not in a strict kernel"));
    lab_close(&l);
  }
}

/* --- kernels over arrays ---------------------------------------------------------------------------------------------------------------------------- */

/* `body` in a kernel whose threads have their number in %i and the addresses of element i of two arrays of 32-bit words in %x and %y. */
static const char *kernel_of(const char *before, const char *body) {
  static char text[16000];
  snprintf(text, sizeof text, PTX_HEAD "%s\n.visible .entry k(.param .u64 x, .param .u64 y) {\n.reg .pred %%p<20>; .reg .b16 %%h<20>; .reg .b32 %%r<60>; .reg .b64 %%l<20>; .reg .f64 %%d<9>;\n"
    ".reg .b32 %%i, %%n, %%b; .reg .b64 %%x, %%y, %%x0, %%y0, %%o;\nld.param.u64 %%x0, [x]; ld.param.u64 %%y0, [y];\n"
    "mov.u32 %%i, %%tid.x; mov.u32 %%n, %%ntid.x; mov.u32 %%b, %%ctaid.x; mad.lo.s32 %%i, %%b, %%n, %%i;\n"
    "mul.wide.u32 %%o, %%i, 4; add.s64 %%x, %%x0, %%o; add.s64 %%y, %%y0, %%o;\n%s\nret;\n}\n", before, body);
  return text;
}

enum { MOST = 4096 };
typedef struct Arrays { uint32_t x[MOST], y[MOST]; } Arrays;

static bool run_body(const char *before, const char *body, Arrays *a, unsigned blocks, unsigned threads, uint64_t seed, PtxMode mode, PtxTensor tensor) {
  PtxLab l;
  bool good = lab_open(&l, kernel_of(before, body), mode);
  uint64_t params[2] = {ptx_map(l.memory, a->x, sizeof a->x, PTX_READ | PTX_WRITE, "x"), ptx_map(l.memory, a->y, sizeof a->y, PTX_READ | PTX_WRITE, "y")};
  if (good) {
    l.launch.grid[0] = blocks;
    l.launch.block[0] = threads;
    l.launch.seed = seed;
    l.launch.tensor = tensor;
    good = lab_run(&l, params);
  }
  if (!good) lab_show(&l);
  lab_close(&l);
  return good;
}

static bool run(const char *before, const char *body, Arrays *a, unsigned blocks, unsigned threads, uint64_t seed) {
  return run_body(before, body, a, blocks, threads, seed, PTX_STRICT, PTX_AMPERE);
}

static void fill(Arrays *a, uint64_t seed) {
  for (int i = 0; i < MOST; i++) {
    a->x[i] = (uint32_t)next_random(&seed);
    a->y[i] = 0;
  }
}

static void all_16_bit_floats_widen_and_narrow(void) {
  static Arrays a;
  static const char widen[] = "ld.global.u32 %r1, [%x]; cvt.u16.u32 %h1, %r1; cvt.f32.f16 %r2, %h1; st.global.b32 [%y], %r2;";
  static const char narrow[] = "ld.global.b32 %r1, [%x]; cvt.rn.f16.f32 %h1, %r1; cvt.u32.u16 %r2, %h1; st.global.u32 [%y], %r2;";
  static const char narrow_b[] = "ld.global.b32 %r1, [%x]; cvt.rn.bf16.f32 %h1, %r1; cvt.u32.u16 %r2, %h1; st.global.u32 [%y], %r2;";
  long wrong = 0;
  for (uint32_t first = 0; first < 65536; first += MOST) {
    for (uint32_t i = 0; i < MOST; i++) a.x[i] = first + i;
    CU_ASSERT(run("", widen, &a, MOST/256, 256, 0));
    for (uint32_t i = 0; i < MOST; i++) {
      uint16_t h = (uint16_t)(first + i);
      _Float16 f;
      memcpy(&f, &h, 2);
      float want = (float)f;
      wrong += want != want ? a.y[i] != NAN32 : a.y[i] != bits32(want);
    }
    uint64_t seed = first + 1;
    for (uint32_t i = 0; i < MOST; i++) a.x[i] = i%2 ? (uint32_t)next_random(&seed) : bits32(of_bits32(0x33000000 + (uint32_t)(next_random(&seed)%0x15000000)));
    CU_ASSERT(run("", narrow, &a, MOST/256, 256, 0));
    for (uint32_t i = 0; i < MOST; i++) {
      float f = of_bits32(a.x[i]);
      _Float16 h = (_Float16)f;
      uint16_t want;
      memcpy(&want, &h, 2);
      wrong += f != f ? a.y[i] != 0x7fff : a.y[i] != want;
    }
    CU_ASSERT(run("", narrow_b, &a, MOST/256, 256, 0));
    for (uint32_t i = 0; i < MOST; i++) {
      uint32_t u = a.x[i], want = (u + 0x7fff + (u >> 16 & 1)) >> 16;
      wrong += (u & 0x7fffffff) > 0x7f800000 ? a.y[i] != 0x7fff : a.y[i] != want;
    }
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

/* --- control flow ------------------------------------------------------------------------------------------------------------------------------------- */
static void lanes_part_and_meet_again(void) {
  static Arrays a;
  static const char collatz[] =
    "ld.global.u32 %r1, [%x]; and.b32 %r1, %r1, 1023; or.b32 %r1, %r1, 1; mov.u32 %r2, 0;\n"
    "LOOP: setp.eq.u32 %p1, %r1, 1; @%p1 bra DONE;\n"
    "and.b32 %r3, %r1, 1; setp.eq.u32 %p2, %r3, 0; @%p2 bra EVEN;\n"
    "mad.lo.s32 %r1, %r1, 3, 1; bra.uni NEXT;\n"
    "EVEN: shr.u32 %r1, %r1, 1;\n"
    "NEXT: add.s32 %r2, %r2, 1; bra LOOP;\n"
    "DONE: st.global.u32 [%y], %r2;";
  for (unsigned threads = 1; threads <= 256; threads = threads*2 + 5) {
    fill(&a, threads);
    CU_ASSERT(run("", collatz, &a, 3, threads, threads));
    long wrong = 0;
    for (unsigned i = 0; i < 3*threads; i++) {
      uint32_t n = (a.x[i] & 1023) | 1, steps = 0;
      for (; n != 1; steps++) n = n%2 ? 3*n + 1 : n/2;
      wrong += a.y[i] != steps;
    }
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

static void tables_of_branches_predication_and_early_exit(void) {
  static Arrays a;
  static const char body[] =
    "setp.gt.u32 %p3, %i, 50; @%p3 exit;\n"
    "rem.u32 %r1, %i, 4; mov.u32 %r2, 7;\n"
    "T: .branchtargets A, B, C, A;\n"
    "brx.idx %r1, T;\n"
    "A: add.s32 %r2, %r2, 1; bra OUT;\n"
    "B: add.s32 %r2, %r2, 10; bra OUT;\n"
    "C: { .reg .b32 %r2x; mov.u32 %r2x, 100; add.s32 %r2, %r2, %r2x; }\n"
    "OUT: setp.lt.s32 %p1|%p2, %i, 10; @%p1 add.s32 %r2, %r2, 1000; @!%p1 add.s32 %r2, %r2, 2000; @%p2 add.s32 %r2, %r2, 5000;\n"
    "st.global.u32 [%y], %r2;";
  fill(&a, 1);
  CU_ASSERT(run("", body, &a, 1, 100, 0));
  for (unsigned i = 0; i < 100; i++) {
    static const uint32_t add[] = {1, 10, 100, 1};
    CU_ASSERT_EQUAL(a.y[i], i > 50 ? 0 : 7 + add[i%4] + (i < 10 ? 1000 : 7000));
  }
}

static void calls_local_memory_and_constants(void) {
  static Arrays a;
  static const char before[] =
    ".const .align 4 .b32 table[4] = {10, 20, 30, -40};\n.global .align 4 .b8 bytes[3] = {1, 2, 250};\n"
    ".func (.param .b32 result) square(.param .b32 value) {\n.reg .b32 %r<4>; .reg .pred %p<2>;\nld.param.b32 %r1, [value]; setp.lt.s32 %p1, %r1, 100; @%p1 bra SMALL;\n"
    "st.param.b32 [result+0], -1; ret;\nSMALL: mul.lo.s32 %r2, %r1, %r1; st.param.b32 [result], %r2; ret;\n}\n"
    ".func (.param .b32 result) twice(.param .b32 value) {\n.reg .b32 %r<4>;\nld.param.b32 %r1, [value];\n{ .param .b32 a; st.param.b32 [a], %r1; .param .b32 r; call.uni (r), square, (a); ld.param.b32 %r2, [r]; }\n"
    "add.s32 %r3, %r2, %r2; st.param.b32 [result], %r3; ret;\n}\n";
  static const char body[] =
    ".local .align 8 .b8 depot[32]; .reg .b64 %SP, %SPL;\nmov.u64 %SPL, depot; cvta.local.u64 %SP, %SPL;\n"
    "{ .param .b32 a; .param .b32 r; st.param.b32 [a], %i; call.uni (r), twice, (a); ld.param.b32 %r1, [r]; }\n"
    "st.u32 [%SP+4], %r1; st.local.u32 [%SPL], %i; ld.local.v2.u32 {%r2, %r3}, [%SPL]; add.s32 %r4, %r2, %r3;\n"
    "and.b32 %r5, %i, 3; mul.wide.u32 %l1, %r5, 4; mov.u64 %l2, table; add.s64 %l2, %l2, %l1; ld.const.s32 %r6, [%l2]; cvta.const.u64 %l3, %l2; ld.u32 %r7, [%l3];\n"
    "sub.s32 %r6, %r6, %r7; add.s32 %r4, %r4, %r6; ld.const.u32 %r8, [table+4]; add.s32 %r4, %r4, %r8; ld.global.s8 %r9, [bytes+2]; add.s32 %r4, %r4, %r9;\n"
    "st.global.u32 [%y], %r4;";
  fill(&a, 1);
  CU_ASSERT(run(before, body, &a, 2, 64, 3));
  for (int i = 0; i < 128; i++) CU_ASSERT_EQUAL((int)a.y[i], (i < 100 ? 2*i*i : -2) + i + 20 - 6);
}

static void directives_that_compilers_print(void) {
  static const char text[] =
    ".version 8.5\n.target sm_90, texmode_independent\n.address_size 64\n.extern .func (.param .b32 func_retval0) vprintf(.param .b64 a, .param .b64 b);\n.extern .shared .align 16 .b8 smem[];\n"
    ".visible .global .align 4 .u32 counter = 5;\n.global .align 8 .f64 half[2] = {0d3FE0000000000000, 0d4008000000000000};\n.const .align 4 .b8 grid[2][3];\n.const .align 4 .b8 row[6] = {1, 2, 3, 0xff, 0b11, 017};\n"
    ".weak .func helper(.param .b32 a) { ret; }\n"
    ".visible .entry k(.param .u64 .ptr .global .align 16 x, .param .u64 .ptr .align 1 y, .param .align 8 .b8 pack[24])\n.maxntid 128, 1, 1\n.minnctapersm 2\n.maxnreg 64\n{\n"
    ".reg .pred %p<2>; .reg .b32 %r<9>, %one; .reg .b64 %rd<9>; .reg .f64 %fd<3>;\n/* a block * comment **/\n.pragma \"nounroll\";\n"
    "ld.param.u64 %rd1, [y]; ld.param.u32 %r1, [pack+20]; mov.b64 %rd2, pack; cvta.param.u64 %rd3, %rd2; ld.u32 %r2, [%rd3+4]; ld.param.u8 %r8, [%rd2+1];\n"
    "ld.global.u32 %r3, [counter]; ld.const.u8 %r4, [row+3]; ld.global.f64 %fd1, [half+8]; cvt.rzi.s32.f64 %r5, %fd1; ld.const.u8 %one, [grid+1];\n"
    "{ // callseq 0, 0\n.param .b32 param0; st.param.b32 [param0+0], %r1; call.uni \nhelper, \n(\nparam0\n);\n} // callseq 0\n"
    "add.s32 %r1, %r1, %r2; add.s32 %r1, %r1, %r3; add.s32 %r1, %r1, %r4; add.s32 %r1, %r1, %r5; add.s32 %r1, %r1, %r8; add.s32 %r1, %r1, %one;\n"
    "st.global.u32 [%rd1], %r1;\nexit;\n}\n";
  PtxLab l;
  uint32_t y = 0;
  CU_ASSERT_FATAL(lab_open(&l, text, PTX_STRICT));
  const PtxKernelInfo *info = ptx_kernel_info(l.launch.kernel);
  CU_ASSERT(info->n_params == 3 && info->param_bytes == 40 && info->param_offset[2] == 16 && info->param_size[2] == 24 && info->block_limit == 128);
  struct { uint64_t x, y; uint8_t pack[24]; } params = {.pack = {[1] = 77, [4] = 1, [20] = 100}};
  params.y = ptx_map(l.memory, &y, 4, PTX_READ | PTX_WRITE, "y");
  CU_ASSERT(lab_run(&l, &params));
  CU_ASSERT_EQUAL(y, 100 + 1 + 5 + 255 + 3 + 77);
  l.launch.block[0] = 129;
  CU_ASSERT_FALSE(lab_run(&l, &params));
  lab_close(&l);
}

static void vectors_packs_and_narrow_accesses(void) {
  static Arrays a;
  static const char body[] =
    "mul.wide.u32 %l1, %i, 16; add.s64 %l2, %x0, %l1; add.s64 %l3, %y0, %l1;\n"
    "ld.global.nc.v4.u32 {%r1, %r2, %r3, %r4}, [%l2]; mov.b64 %l4, {%r1, %r2}; shr.u64 %l4, %l4, 16; mov.b64 {%r5, _}, %l4;\n"
    "mov.b32 {%h1, %h2}, %r3; mov.b32 %r6, {%h2, %h1}; ld.global.s8 %r7, [%l2+15]; ld.global.u16 %h3, [%l2+14]; cvt.u32.u16 %r8, %h3;\n"
    "st.global.v2.u32 [%l3], {%r5, %r6}; st.global.v2.b32 [%l3+8], {%r7, %r8}; st.global.u8 [%l3+13], %r1;";
  fill(&a, 9);
  CU_ASSERT(run("", body, &a, 1, 77, 0));
  for (int i = 0; i < 77; i++) {
    const uint32_t *x = &a.x[4*i], *y = &a.y[4*i];
    CU_ASSERT_EQUAL(y[0], x[0] >> 16 | x[1] << 16);
    CU_ASSERT_EQUAL(y[1], x[2] >> 16 | x[2] << 16);
    CU_ASSERT_EQUAL(y[2], (uint32_t)(int8_t)(x[3] >> 24));
    CU_ASSERT_EQUAL(y[3], (x[3] >> 16 & 0xff00ff) | (x[0] & 0xff) << 8);
  }
}

/* --- together ------------------------------------------------------------------------------------------------------------------------------------------- */
static const char reverse_before[] = ".shared .align 4 .b8 tile[1024];";
static const char reverse_body[] =
  "mov.u32 %r1, %tid.x; mov.u32 %r2, tile; shl.b32 %r3, %r1, 2; add.s32 %r3, %r3, %r2; ld.global.u32 %r4, [%x]; st.shared.u32 [%r3], %r4;\n"
  "bar.sync 0;\n"
  "not.b32 %r5, %r1; add.s32 %r5, %r5, %n; shl.b32 %r5, %r5, 2; add.s32 %r5, %r5, %r2; ld.shared.u32 %r6, [%r5]; st.global.u32 [%y], %r6;";

static void barriers_order_shared_memory(void) {
  static Arrays a;
  for (unsigned seed = 0; seed < 20; seed++) {
    fill(&a, seed);
    unsigned threads = seed%2 ? 250 : 256;
    CU_ASSERT(run(reverse_before, reverse_body, &a, 5, threads, seed));
    long wrong = 0;
    for (unsigned i = 0; i < 5*threads; i++) wrong += a.y[i] != a.x[i/threads*threads + threads - 1 - i%threads];
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

/* The launch says how large the extern array is; it stands behind what the text declares. */
static void dynamic_shared_memory(void) {
  static Arrays a;
  static const char before[] = ".extern .shared .align 16 .b8 all[];\n.shared .align 4 .b32 one;";
  static const char body[] =
    "mov.u32 %r1, one; st.shared.u32 [%r1], 7; mov.u32 %r2, all; shl.b32 %r3, %i, 2; add.s32 %r3, %r3, %r2; st.shared.u32 [%r3], %i; bar.sync 0;\n"
    "ld.shared.u32 %r4, [%r1]; ld.shared.u32 %r5, [%r3]; mad.lo.s32 %r4, %r4, 1000, %r5; sub.s32 %r6, %r2, %r1; mad.lo.s32 %r4, %r6, 1000000, %r4; st.global.u32 [%y], %r4;";
  for (int missing = 0; missing < 2; missing++) {
    PtxLab l;
    CU_ASSERT_FATAL(lab_open(&l, kernel_of(before, body), PTX_STRICT));
    uint64_t params[2] = {0, ptx_map(l.memory, a.y, sizeof a.y, PTX_READ | PTX_WRITE, "y")};
    l.launch.block[0] = 64;
    l.launch.shared_bytes = missing ? 252 : 256;
    CU_ASSERT_EQUAL(lab_run(&l, params), !missing);
    CU_ASSERT_EQUAL(lab_found(&l, PTX_OUT_OF_BOUNDS) != NULL, missing);
    for (unsigned i = 0; i < 63; i++) CU_ASSERT_EQUAL(a.y[i], 16007000 + i);
    lab_close(&l);
  }
}

/* Two producers' warps and two consumers' warps: one arrives and goes on, the other waits. */
static void named_barriers(void) {
  static Arrays a;
  static const char body[] =
    "mov.u32 %r1, %tid.x; mov.u32 %r2, tile; setp.ge.u32 %p1, %r1, 64; @%p1 bra CONSUMER;\n"
    "ld.global.u32 %r4, [%x]; shl.b32 %r3, %r1, 2; add.s32 %r3, %r3, %r2; st.shared.u32 [%r3], %r4; bar.arrive 1, 128; bra OUT;\n"
    "CONSUMER: bar.sync 1, 128; xor.b32 %r5, %r1, 127; shl.b32 %r5, %r5, 2; add.s32 %r5, %r5, %r2; ld.shared.u32 %r6, [%r5]; st.global.u32 [%y], %r6;\nOUT:";
  for (unsigned seed = 0; seed < 10; seed++) {
    fill(&a, seed);
    CU_ASSERT(run(reverse_before, body, &a, 1, 128, seed));
    for (unsigned i = 64; i < 128; i++) CU_ASSERT_EQUAL(a.y[i], a.x[i ^ 127]);
  }
}

/* The formula of the manual, "shfl.sync". */
static uint32_t shuffle_of(const char *mode, int lane, uint32_t b, uint32_t c, const uint32_t *x, bool *p) {
  int bval = (int)(b & 31), cval = (int)(c & 31), mask = (int)(c >> 8 & 31), highest = (lane & mask) | (cval & ~mask), lowest = lane & mask, j = 0;
  if (!strcmp(mode, "up")) { j = lane - bval; *p = j >= highest; }
  if (!strcmp(mode, "down")) { j = lane + bval; *p = j <= highest; }
  if (!strcmp(mode, "bfly")) { j = lane ^ bval; *p = j <= highest; }
  if (!strcmp(mode, "idx")) { j = lowest | (bval & ~mask); *p = j <= highest; }
  return x[*p ? j : lane];
}

static void shuffles_in_all_modes_and_segments(void) {
  static Arrays a;
  static const char *const modes[] = {"up", "down", "bfly", "idx"};
  for (int m = 0; m < 8; m++)
    for (int width = 32; width >= 4; width /= 2)
      for (unsigned b = 0; b < 32; b += b < 5 ? 1 : 9) {
        char body[500];
        uint32_t usual = m%4 ? 31 : 0, c = (uint32_t)(32 - width) << 8 | (m < 4 ? usual : usual ^ 6);
        snprintf(body, sizeof body, "ld.global.u32 %%r1, [%%x]; shfl.sync.%s.b32 %%r2|%%p1, %%r1, %u, %u, -1; @%%p1 add.s32 %%r2, %%r2, 1; st.global.u32 [%%y], %%r2;", modes[m%4], b, c);
        fill(&a, b);
        CU_ASSERT(run("", body, &a, 1, 64, 0));
        long wrong = 0;
        for (int i = 0; i < 64; i++) {
          bool p = false;
          uint32_t want = shuffle_of(modes[m%4], i%32, b, c, a.x + i/32*32, &p);
          wrong += a.y[i] != want + p;
        }
        CU_ASSERT_EQUAL(wrong, 0);
      }
}

/* Half the warp runs ahead to its own shuffle: each half has its own membermask. A reduction of a partial warp. */
static void parts_of_warps(void) {
  static Arrays a;
  static const char halves[] =
    "ld.global.u32 %r1, [%x]; mov.u32 %r2, %laneid; setp.lt.u32 %p1, %r2, 16; @%p1 bra LOW;\n"
    "shfl.sync.bfly.b32 %r3, %r1, 1, 31, 0xffff0000; bra OUT;\n"
    "LOW: add.s32 %r1, %r1, 5; shfl.sync.bfly.b32 %r3, %r1, 2, 31, 0xffff;\nOUT: bar.warp.sync -1; st.global.u32 [%y], %r3;";
  fill(&a, 2);
  CU_ASSERT(run("", halves, &a, 1, 32, 0));
  for (int i = 0; i < 32; i++) CU_ASSERT_EQUAL(a.y[i], i < 16 ? a.x[i ^ 2] + 5 : a.x[i ^ 1]);
  static const char partial[] =
    "ld.global.u32 %r1, [%x]; activemask.b32 %r9; redux.sync.add.s32 %r2, %r1, %r9; redux.sync.max.u32 %r3, %r1, %r9; add.s32 %r2, %r2, %r3;\n"
    "setp.gt.u32 %p1, %r1, 0x7fffffff; vote.sync.ballot.b32 %r4, %p1, %r9; xor.b32 %r2, %r2, %r4; vote.sync.any.pred %p2, !%p1, %r9; @%p2 add.s32 %r2, %r2, 3; st.global.u32 [%y], %r2;";
  fill(&a, 3);
  CU_ASSERT(run("", partial, &a, 1, 40, 0));
  for (int w = 0; w < 2; w++) {
    uint32_t sum = 0, most = 0, votes = 0;
    int n = w ? 8 : 32;
    for (int i = 0; i < n; i++) {
      uint32_t x = a.x[32*w + i];
      sum += x;
      most = x > most ? x : most;
      votes |= (uint32_t)(x > 0x7fffffff) << i;
    }
    uint32_t all = n == 32 ? UINT32_MAX : (1u << n) - 1;
    for (int i = 0; i < n; i++) CU_ASSERT_EQUAL(a.y[32*w + i], ((sum + most) ^ votes) + (votes != all ? 3 : 0));
  }
}

static void atomics(void) {
  static Arrays a;
  static const char body[] =
    "atom.global.add.u32 %r1, [%y0], 1; red.global.max.u32 [%y0+4], %i; atom.global.inc.u32 %r2, [%y0+8], 6; atom.global.cas.b32 %r3, [%y0+12], 0, %r1; red.global.xor.b32 [%y0+16], %i;\n"
    "atom.global.dec.u32 %r4, [%y0+20], 9; atom.global.min.s32 %r5, [%y0+24], -7; atom.global.add.u64 %l1, [%y0+32], 5; mul.wide.u32 %l2, %r1, 4; add.s64 %l2, %l2, %x0; st.global.u32 [%l2], %r2;";
  for (unsigned seed = 0; seed < 4; seed++) {
    fill(&a, 1);
    CU_ASSERT(run("", body, &a, 4, 50, seed));
    CU_ASSERT_EQUAL(a.y[0], 200);
    CU_ASSERT_EQUAL(a.y[1], 199);
    CU_ASSERT_EQUAL(a.y[2], 200%7);
    CU_ASSERT_EQUAL(a.y[4], 0);                              /* 0 ^ 1 ^ ... ^ 199 */
    CU_ASSERT_EQUAL(a.y[5], 0);                              /* 0 becomes 9, which counts down 9 times: 20 rounds of 10 */
    CU_ASSERT_EQUAL(a.y[6], (uint32_t)-7);
    CU_ASSERT_EQUAL(a.y[8], 1000);
    uint64_t seen = 0;
    for (int i = 0; i < 200; i++) seen += a.x[i];            /* every ticket drew one value of 0..6 in turn */
    CU_ASSERT(seed || seen == 28*21 + 0 + 1 + 2 + 3);
  }
}

/* Blocks sum to slots; the last one to come adds them in order. */
static void the_last_block_adds_what_the_others_left(void) {
  static Arrays a;
  static const char body[] =
    "mov.u32 %r1, %tid.x; mul.wide.u32 %l1, %b, 4; add.s64 %l2, %y0, %l1; ld.global.u32 %r2, [%x]; redux.sync.add.u32 %r2, %r2, -1;\n"
    "setp.ne.u32 %p1, %r1, 0; @%p1 bra OUT; st.global.u32 [%l2+64], %r2; membar.gl; atom.global.add.u32 %r3, [%y0], 1; mov.u32 %r4, %nctaid.x; sub.s32 %r4, %r4, 1;\n"
    "setp.ne.u32 %p2, %r3, %r4; @%p2 bra OUT; membar.gl; mov.u32 %r5, 0; mov.u32 %r6, 0; add.s64 %l3, %y0, 64;\n"
    "LOOP: ld.global.u32 %r7, [%l3]; add.s32 %r5, %r5, %r7; add.s64 %l3, %l3, 4; add.s32 %r6, %r6, 1; setp.le.u32 %p3, %r6, %r4; @%p3 bra LOOP;\n"
    "st.global.u32 [%y0+4], %r5;\nOUT:";
  for (int planted = 0; planted < 2; planted++)
    for (uint64_t seed = 0; seed < 5; seed++) {
      PtxLab l;
      char text[4000];
      fill(&a, seed);
      snprintf(text, sizeof text, "%s", body);
      if (planted) memset(strstr(text, "membar.gl;"), ' ', 10);
      CU_ASSERT_FATAL(lab_open(&l, kernel_of("", text), PTX_STRICT));
      uint64_t params[2] = {ptx_map(l.memory, a.x, sizeof a.x, PTX_READ, "x"), ptx_map(l.memory, a.y, sizeof a.y, PTX_READ | PTX_WRITE, "y")};
      l.launch.grid[0] = 13;
      l.launch.block[0] = 32;
      l.launch.seed = seed;
      l.launch.global_races = true;
      uint32_t sum = 0;
      for (int i = 0; i < 13*32; i++) sum += a.x[i];
      bool good = lab_run(&l, params);
      CU_ASSERT_EQUAL(good, !planted);
      CU_ASSERT_EQUAL(lab_found(&l, PTX_GLOBAL_RACE) != NULL, planted);
      CU_ASSERT_EQUAL(a.y[1], sum);
      lab_close(&l);
    }
}

/* --- matrices -------------------------------------------------------------------------------------------------------------------------------------------- */

/* x: A (16 by 8, 4 registers a lane, then B, then C), y: D; each lane's registers stand together. */
static void mma_body(char *text, size_t size, const char *op, int n_a, int n_b) {
  int n = snprintf(text, size, "mul.wide.u32 %%l1, %%i, %d; add.s64 %%l2, %%x0, %%l1; mul.wide.u32 %%l3, %%i, 16; add.s64 %%l4, %%y0, %%l3;\n", 4*(n_a + n_b + 4));
  for (int k = 0; k < n_a + n_b + 4; k++) n += snprintf(text + n, size - (size_t)n, "ld.global.b32 %%r%d, [%%l2+%d];\n", k, 4*k);
  n += snprintf(text + n, size - (size_t)n, "%s\n {%%r20, %%r21, %%r22, %%r23},\n {", op);
  for (int k = 0; k < n_a; k++) n += snprintf(text + n, size - (size_t)n, "%s%%r%d", k ? ", " : "", k);
  n += snprintf(text + n, size - (size_t)n, "},\n {");
  for (int k = 0; k < n_b; k++) n += snprintf(text + n, size - (size_t)n, "%s%%r%d", k ? ", " : "", n_a + k);
  n += snprintf(text + n, size - (size_t)n, "},\n {");
  for (int k = 0; k < 4; k++) n += snprintf(text + n, size - (size_t)n, "%s%%r%d", k ? ", " : "", n_a + n_b + k);
  snprintf(text + n, size - (size_t)n, "};\nst.global.v4.b32 [%%l4], {%%r20, %%r21, %%r22, %%r23};");
}

typedef struct Mma { const char *op; int k, pack, n_a, n_b; bool bf16; } Mma;
static const Mma mmas[] = {
  {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 16, 2, 4, 2, true}, {"mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", 8, 2, 2, 1, true},
  {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 16, 2, 4, 2, false}, {"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", 8, 2, 2, 1, false},
  {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 8, 1, 4, 2, false}, {"mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", 4, 1, 2, 1, false},
};

static uint32_t code_of(const Mma *m, float f) {
  if (m->pack == 1) return bits32(f);
  if (m->bf16) return bits32(f) >> 16;
  _Float16 h = (_Float16)f;
  uint16_t u;
  memcpy(&u, &h, 2);
  return u;
}

/* Where an element stands (PTX ISA, "Matrix Fragments for mma"): A register r: row g + 8*(r & 1), k of 4*pack*(r >> 1); 8-bit halves by k. */
static void put(const Mma *m, uint32_t *words, int stride, int base, int line, int k, bool of_a, uint32_t code) {
  int lane = line%8*4 + k/m->pack%4, r = of_a ? line/8 + 2*(k/(4*m->pack)) : k/(4*m->pack);
  uint32_t *w = &words[lane*stride + base + r];
  *w = m->pack == 1 ? code : *w | code << 16*(k%2);
}

static void mma_adds_small_integers_exactly_in_every_shape(void) {
  static Arrays a;
  for (size_t n = 0; n < COUNT(mmas); n++) {
    const Mma *m = &mmas[n];
    char body[4000];
    float A[16][16], B[16][8], C[16][8];
    uint64_t seed = n + 1;
    int stride = m->n_a + m->n_b + 4;
    memset(&a, 0, sizeof a);
    for (int i = 0; i < 16; i++)
      for (int k = 0; k < m->k; k++) put(m, a.x, stride, 0, i, k, true, code_of(m, A[i][k] = (float)((int)(next_random(&seed)%17) - 8)));
    for (int k = 0; k < m->k; k++)
      for (int j = 0; j < 8; j++) put(m, a.x, stride, m->n_a, j, k, false, code_of(m, B[k][j] = (float)((int)(next_random(&seed)%17) - 8)));
    for (int i = 0; i < 16; i++)
      for (int j = 0; j < 8; j++) a.x[(i%8*4 + j/2)*stride + m->n_a + m->n_b + i/8*2 + j%2] = bits32(C[i][j] = (float)((int)(next_random(&seed)%2001) - 1000));
    mma_body(body, sizeof body, m->op, m->n_a, m->n_b);
    CU_ASSERT(run_body("", body, &a, 1, 32, 0, PTX_RELAXED, n%2 ? PTX_HOPPER : PTX_AMPERE));
    long wrong = 0;
    for (int i = 0; i < 16; i++)
      for (int j = 0; j < 8; j++) {
        float sum = C[i][j];
        for (int k = 0; k < m->k; k++) sum += A[i][k]*B[k][j];
        wrong += of_bits32(a.y[(i%8*4 + j/2)*4 + i/8*2 + j%2]) != sum;
      }
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

/* One element of D from the codes of A's row, B's column and C, at some place of the tile. */
static uint32_t mma_element(const Mma *m, const uint32_t *a, const uint32_t *b, uint32_t c, int row, int column, PtxTensor tensor) {
  static Arrays words;
  char body[4000];
  int stride = m->n_a + m->n_b + 4, lane = row%8*4 + column/2, r = row/8*2 + column%2;
  memset(&words, 0, sizeof words);
  for (int k = 0; k < m->k; k++) {
    put(m, words.x, stride, 0, row, k, true, a[k]);
    put(m, words.x, stride, m->n_a, column, k, false, b[k]);
  }
  words.x[lane*stride + m->n_a + m->n_b + r] = c;
  mma_body(body, sizeof body, m->op, m->n_a, m->n_b);
  CU_ASSERT(run_body("", body, &words, 1, 32, 0, PTX_RELAXED, tensor));
  return words.y[lane*4 + r];
}

/* What measurements show of the adder: a bf16 product's sum. */
static float mma_row(const float *x, const float *y, float c, PtxTensor tensor) {
  uint32_t a[16], b[16];
  for (int k = 0; k < 16; k++) {
    a[k] = code_of(&mmas[0], x[k]);
    b[k] = code_of(&mmas[0], y[k]);
  }
  return of_bits32(mma_element(&mmas[0], a, b, bits32(c), 0, 0, tensor));
}

static void mma_aligns_and_cuts_as_measured(void) {
  float x[16] = {0}, y[16] = {0};
  for (int k = 0; k < 16; k++) y[k] = 1;
  x[0] = 0x1p-24f;                                           /* beside 1: kept with 24 bits of fraction, cut with 23 */
  x[1] = 0x1p-24f;
  CU_ASSERT_EQUAL(mma_row(x, y, 1, PTX_AMPERE), 1 + 0x1p-23f);
  CU_ASSERT_EQUAL(mma_row(x, y, 1, PTX_VOLTA), 1);
  CU_ASSERT_EQUAL(mma_row(x, y, -1, PTX_AMPERE), -1 + 0x1p-23f);
  x[0] = x[1] = x[2] = x[3] = 0x1p-25f;
  CU_ASSERT_EQUAL(mma_row(x, y, 1, PTX_AMPERE), 1);          /* each is cut before the sum */
  CU_ASSERT_EQUAL(mma_row(x, y, 1, PTX_HOPPER), 1 + 0x1p-23f);
  memset(x, 0, sizeof x);
  x[0] = 1;
  x[1] = 0x1.8p-23f;                                         /* the sum is cut, not rounded */
  CU_ASSERT_EQUAL(mma_row(x, y, 0, PTX_AMPERE), 1 + 0x1p-23f);
  memset(x, 0, sizeof x);
  x[0] = 0x1p30f;                                            /* k = 0..7 and 8..15 are two groups, of 16 one */
  x[8] = -0x1p30f;
  x[9] = 1;
  CU_ASSERT_EQUAL(mma_row(x, y, 1, PTX_AMPERE), 0);
  x[8] = 0;
  x[1] = -0x1p30f;
  CU_ASSERT_EQUAL(mma_row(x, y, 1, PTX_AMPERE), 1);
  CU_ASSERT_EQUAL(mma_row(x, y, 1, PTX_HOPPER), 0);
  x[0] = INFINITY;
  x[1] = 0;
  CU_ASSERT_EQUAL(mma_row(x, y, 1, PTX_AMPERE), INFINITY);
  x[1] = -INFINITY;
  CU_ASSERT(isnan(mma_row(x, y, 1, PTX_AMPERE)));
}

/* tests/tools/mma_vectors.py wrote them. */
static void mma_gives_the_bits_of_a_simulator_that_agrees_with_devices(void) {
  static const struct { const char *name; PtxTensor tensor; } units[] = {{"Ampere", PTX_AMPERE}, {"Turing", PTX_TURING}, {"Hopper", PTX_HOPPER}};
  FILE *f = fopen("tests/data/ptx/mma.txt", "r");
  CU_ASSERT_PTR_NOT_NULL_FATAL(f);
  char unit[16], format[8];
  int k, lines = 0;
  while (fscanf(f, "%15s %7s %d", unit, format, &k) == 3) {
    uint32_t a[16], b[16], c, want, n = 0, u = 0;
    for (int i = 0; i < 2*k; i++) CU_ASSERT_EQUAL_FATAL(fscanf(f, "%x", i < k ? &a[i] : &b[i - k]), 1);
    CU_ASSERT_EQUAL_FATAL(fscanf(f, "%x %x", &c, &want), 2);
    char shape[64];
    snprintf(shape, sizeof shape, "m16n8k%d.row.col.f32.%s.", k, format);
    while (n < COUNT(mmas) && !strstr(mmas[n].op, shape)) n++;
    while (u < COUNT(units) && strcmp(units[u].name, unit)) u++;
    CU_ASSERT_FATAL(n < COUNT(mmas) && u < COUNT(units));
    uint32_t got = mma_element(&mmas[n], a, b, c, lines*5%16, lines*3%8, units[u].tensor);
    if (got != want) printf("\nline %d, %s %s, k %d: %08x, should be %08x\n", lines + 1, unit, format, k, got, want);
    CU_ASSERT_EQUAL(got, want);
    lines++;
  }
  fclose(f);
  CU_ASSERT(lines > 300);
}

static void ldmatrix_and_asynchronous_copies(void) {
  static Arrays a;
  static const char before[] = ".shared .align 16 .b8 tile[1024];";
  static const char body[] =                                 /* 32 rows of 8 halves; lane l copies row l and gives its address */
    "mov.u32 %r1, tile; shl.b32 %r2, %i, 4; add.s32 %r3, %r1, %r2; mul.wide.u32 %l1, %i, 16; add.s64 %l2, %x0, %l1;\n"
    "cp.async.cg.shared.global [%r3], [%l2], 16; cp.async.ca.shared.global [%r3+512], [%l2], 16, 5; cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;\n"
    "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r3]; ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r8, %r9}, [%r3];\n"
    "ld.shared.v2.u32 {%r10, %r11}, [%r3+512]; add.s64 %l3, %y0, %l1; add.s64 %l4, %l3, 512;\n"
    "st.global.v4.b32 [%l3], {%r4, %r5, %r6, %r7}; st.global.v4.b32 [%l4], {%r8, %r9, %r10, %r11};";
  for (uint64_t seed = 0; seed < 4; seed++) {
    fill(&a, seed);
    CU_ASSERT(run(before, body, &a, 1, 32, seed));
    const uint16_t *half = (const uint16_t *)(const void *)a.x;
    long wrong = 0;
    for (int l = 0; l < 32; l++) {
      int g = l/4, t = 2*(l%4);
      for (int m = 0; m < 4; m++) wrong += a.y[4*l + m] != (half[(8*m + g)*8 + t] | (uint32_t)half[(8*m + g)*8 + t + 1] << 16);
      for (int m = 0; m < 2; m++) wrong += a.y[128 + 4*l + m] != (half[(8*m + t)*8 + g] | (uint32_t)half[(8*m + t + 1)*8 + g] << 16);
      wrong += a.y[128 + 4*l + 2] != a.x[4*l] || a.y[128 + 4*l + 3] != (a.x[4*l + 1] & 0xff);
    }
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(operations_on_edge_values),
    TEST(relaxed_operations_and_strict_refusal),
    TEST(all_16_bit_floats_widen_and_narrow),
    TEST(lanes_part_and_meet_again),
    TEST(tables_of_branches_predication_and_early_exit),
    TEST(calls_local_memory_and_constants),
    TEST(directives_that_compilers_print),
    TEST(vectors_packs_and_narrow_accesses),
    TEST(barriers_order_shared_memory),
    TEST(dynamic_shared_memory),
    TEST(named_barriers),
    TEST(shuffles_in_all_modes_and_segments),
    TEST(parts_of_warps),
    TEST(atomics),
    TEST(the_last_block_adds_what_the_others_left),
    TEST(mma_adds_small_integers_exactly_in_every_shape),
    TEST(mma_aligns_and_cuts_as_measured),
    TEST(mma_gives_the_bits_of_a_simulator_that_agrees_with_devices),
    TEST(ldmatrix_and_asynchronous_copies),
  };
  return suite_run("PTX, executed", tests);
}
