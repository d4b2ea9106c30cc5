/* backends_ptx_faults_test.c: planted faults, each found where it stands: in text that is refused, in memory, between threads, in what NaN and order may not
 * decide. Every kernel runs clean without its fault. */
#include <stdlib.h>
#include "tests/support/ptx_lab.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

#define COUNT(a) (sizeof (a)/sizeof *(a))
enum { N = 4096 };

/* A kernel and one change to it. */
typedef struct Fault {
  const char *name, *from, *to;          /* `from` in the text becomes `to` */
  PtxFindingKind kind;
  const char *at;                        /* the line that the finding must name: the first with this text */
  unsigned blocks, threads;              /* 0: one */
} Fault;

static char *changed(const char *text, const char *from, const char *to) {
  const char *at = strstr(text, from);
  CU_ASSERT_PTR_NOT_NULL_FATAL(at);
  size_t before = (size_t)(at - text), n = strlen(text) + strlen(to) + 1;
  char *made = malloc(n);
  snprintf(made, n, "%.*s%s%s", (int)before, text, to, at + strlen(from));
  return made;
}

static unsigned line_with(const char *text, const char *what) {
  const char *at = strstr(text, what);
  unsigned line = 1;
  for (const char *c = text; at && c < at; c++) line += *c == '\n';
  return at ? line : 0;
}

typedef struct Data { uint32_t x[N], y[N]; } Data;

static bool launch(PtxLab *l, Data *d, const char *text, unsigned blocks, unsigned threads, uint64_t seed, uint64_t nan_seed, unsigned access) {
  if (!lab_open(l, text, PTX_STRICT)) { lab_show(l); CU_FAIL("the text is refused"); return false; }
  uint64_t params[3] = {ptx_map(l->memory, d->x, sizeof d->x, PTX_READ, "x"), ptx_map(l->memory, d->y, sizeof d->y, PTX_READ | PTX_WRITE | access, "y"), N};
  l->launch.grid[0] = blocks ? blocks : 1;
  l->launch.block[0] = threads ? threads : 1;
  l->launch.seed = seed;
  l->launch.nan_seed = nan_seed;
  l->launch.global_races = true;
  l->launch.step_limit = 1 << 22;
  return lab_run(l, params);
}

static void start(Data *d) {
  uint64_t s = 1;
  for (int i = 0; i < N; i++) {
    d->x[i] = 0x3f800000 + (uint32_t)(next_random(&s) >> 41);
    d->y[i] = 0;
  }
}

static void check_faults(const char *text, const Fault *faults, size_t n) {
  static Data d;
  for (size_t k = 0; k < n; k++)
    for (uint64_t seed = 0; seed < 3; seed++) {
      const Fault *f = &faults[k];
      PtxLab l;
      start(&d);
      if (!launch(&l, &d, text, f->blocks, f->threads, seed, 0, 0)) { printf("\n%s, without the fault:", f->name); lab_show(&l); CU_FAIL("a good kernel has a finding"); }
      lab_close(&l);
      char *bad = changed(text, f->from, f->to);
      bool good = launch(&l, &d, bad, f->blocks, f->threads, seed, 0, 0);
      unsigned line = f->at ? line_with(bad, f->at) : 0;
      if (good || !lab_found_at(&l, f->kind, line)) {
        printf("\n%s, seed %d: not found, or elsewhere than in line %u:", f->name, (int)seed, line);
        lab_show(&l);
        CU_FAIL("a fault is not found");
      } else CU_PASS();
      lab_close(&l);
      free(bad);
    }
}

/* y[i] = 2*x[i] for i < n, four at a time. */
static const char elementwise[] = PTX_HEAD
  ".visible .entry k(.param .u64 x, .param .u64 y, .param .u64 n) {\n"
  ".reg .pred %p<4>;\n.reg .b32 %r<8>;\n.reg .f32 %f<20>;\n.reg .b64 %l<20>;\n"
  "mov.u32 %r1, %tid.x;\nmov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %ntid.x;\nmad.lo.s32 %r4, %r2, %r3, %r1;\n"
  "ld.param.u64 %l1, [x];\nld.param.u64 %l2, [y];\nld.param.u64 %l3, [n];\n"
  "mul.wide.u32 %l4, %r4, 4;\n"
  "add.s64 %l5, %l4, 4;\nsetp.gt.s64 %p1, %l5, %l3;\n@%p1 bra DONE;\n"
  "shl.b64 %l6, %l4, 2;\nadd.s64 %l7, %l1, %l6;\nadd.s64 %l8, %l2, %l6;\n"
  "ld.global.nc.v4.f32 {%f1, %f2, %f3, %f4}, [%l7];\n"
  "add.rn.f32 %f5, %f1, %f1;\nadd.rn.f32 %f6, %f2, %f2;\nadd.rn.f32 %f7, %f3, %f3;\nadd.rn.f32 %f8, %f4, %f4;\n"
  "st.global.v4.f32 [%l8], {%f5, %f6, %f7, %f8};\n"
  "DONE: ret;\n}\n";

static void accesses_out_of_bounds_misaligned_and_undefined(void) {
  static const Fault faults[] = {
    {"a store one element too far", "[%l8]", "[%l8+16]", PTX_OUT_OF_BOUNDS, "st.global.v4", 16, 64},
    {"a load in front", "[%l7]", "[%l7+-16]", PTX_OUT_OF_BOUNDS, "ld.global.nc", 16, 64},
    {"no test of the bound", "@%p1 bra DONE;", "@%p1 bra NEXT; NEXT:", PTX_OUT_OF_BOUNDS, "ld.global.nc", 17, 64},
    {"an address of one space in another", "ld.global.nc.v4.f32", "ld.shared.v4.f32", PTX_OUT_OF_BOUNDS, "ld.shared", 16, 64},
    {"a vector on 4 bytes", "[%l7]", "[%l7+4]", PTX_MISALIGNED, "ld.global.nc", 16, 63},
    {"a write to what is read only", "add.s64 %l8, %l2, %l6", "add.s64 %l8, %l1, %l6", PTX_READ_ONLY, "st.global.v4", 16, 64},
    {"a register nobody has written", "{%f5, %f6, %f7, %f8}", "{%f5, %f6, %f7, %f9}", PTX_UNDEFINED_VALUE, "st.global.v4", 16, 64},
    {"an address nobody has written", "[%l8]", "[%l9]", PTX_UNDEFINED_VALUE, "st.global.v4", 16, 64},
    {"a branch on nothing", "@%p1", "@%p2", PTX_UNDEFINED_VALUE, "@%p2", 16, 64},
    {"an undefined sum", "add.rn.f32 %f6, %f2, %f2", "add.rn.f32 %f6, %f2, %f10", PTX_UNDEFINED_VALUE, "st.global.v4", 16, 64},
    {"a division by zero that is used", "shl.b64 %l6, %l4, 2", "div.u64 %l6, %l4, 0", PTX_UNDEFINED_VALUE, "ld.global.nc", 16, 64},
  };
  check_faults(elementwise, faults, COUNT(faults));
}

static void constant_loads_of_what_the_launch_writes(void) {
  static const Fault faults[] = {{"a cached load of y", "DONE: ret", "ld.global.nc.f32 %f9, [%l8];\nDONE: ret", PTX_READ_ONLY, "ld.global.nc.f32", 16, 64}};
  check_faults(elementwise, faults, COUNT(faults));
}

static void undefined_global_memory(void) {
  static Data d;
  static const char *const ways[][2] = {{"ld.global.nc.v4.f32 {%f1, %f2, %f3, %f4}, [%l7]", "ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%l8]"}, {"[%l7]", "[%l7]"}};
  for (int k = 0; k < 2; k++) {
    PtxLab l;
    char *text = changed(elementwise, ways[k][0], ways[k][1]);
    start(&d);
    CU_ASSERT_EQUAL(launch(&l, &d, text, 16, 64, 0, 0, PTX_UNDEFINED), k == 1);
    CU_ASSERT_EQUAL(lab_found(&l, PTX_UNDEFINED_VALUE) != NULL, k == 0);
    lab_close(&l);
    free(text);
  }
}

/* Sums of blocks: shuffles in a warp, shared memory between warps. */
static const char sums[] = PTX_HEAD
  ".shared .align 4 .b8 part[128];\n"
  ".visible .entry k(.param .u64 x, .param .u64 y, .param .u64 n) {\n"
  ".reg .pred %p<4>;\n.reg .b32 %r<20>;\n.reg .f32 %f<20>;\n.reg .b64 %l<20>;\n"
  "mov.u32 %r1, %tid.x;\nmov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %ntid.x;\nmad.lo.s32 %r4, %r2, %r3, %r1;\nmov.u32 %r5, %laneid;\nshr.u32 %r6, %r1, 5;\n"
  "ld.param.u64 %l1, [x];\nld.param.u64 %l2, [y];\n"
  "mul.wide.u32 %l4, %r4, 4;\nadd.s64 %l5, %l1, %l4;\nmul.wide.u32 %l6, %r2, 4;\nadd.s64 %l7, %l2, %l6;\n"
  "mov.u32 %r7, part;\nshl.b32 %r8, %r6, 2;\nadd.s32 %r8, %r8, %r7;\nshl.b32 %r9, %r5, 2;\nadd.s32 %r9, %r9, %r7;\n"
  "ld.global.f32 %f1, [%l5];\n"
  "shfl.sync.bfly.b32 %f2, %f1, 16, 31, -1;\nadd.rn.f32 %f1, %f1, %f2;\n"
  "shfl.sync.bfly.b32 %f2, %f1, 8, 31, -1;\nadd.rn.f32 %f1, %f1, %f2;\n"
  "setp.ne.s32 %p1, %r5, 0;\n"
  "@%p1 bra WAIT;\nst.shared.f32 [%r8], %f1;\n"
  "WAIT: bar.sync 0;\n"
  "setp.gt.u32 %p2, %r1, 3;\n@%p2 bra DONE;\n"
  "ld.shared.f32 %f3, [%r9];\n"
  "shfl.sync.down.b32 %f4, %f3, 2, 3, 15;\nadd.rn.f32 %f3, %f3, %f4;\nshfl.sync.down.b32 %f4, %f3, 1, 3, 15;\nadd.rn.f32 %f3, %f3, %f4;\n"
  "setp.ne.s32 %p3, %r1, 0;\n@%p3 bra DONE;\n"
  "st.global.f32 [%l7], %f3;\n"
  "DONE: ret;\n}\n";

static void races_divergence_and_lanes_that_take_no_part(void) {
  static const Fault faults[] = {
    {"a removed barrier", "WAIT: bar.sync 0;", "WAIT:", PTX_SHARED_RACE, NULL, 4, 128},
    {"a barrier that orders no warp", "WAIT: bar.sync 0;", "WAIT: bar.warp.sync -1;", PTX_SHARED_RACE, NULL, 4, 128},
    {"a barrier in a branch", "@%p1 bra WAIT;\nst.shared", "@%p1 bra WAIT;\nbar.sync 0; st.shared", PTX_DIVERGENT_BARRIER, NULL, 4, 128},
    {"a barrier for half of the block", "WAIT: bar.sync 0;", "WAIT: bar.sync 0, 64;", PTX_SHARED_RACE, NULL, 1, 128},
    {"a barrier for more than there are", "WAIT: bar.sync 0;", "WAIT: bar.sync 0, 256;", PTX_DEADLOCK, NULL, 1, 128},
    {"a barrier for no whole warp", "WAIT: bar.sync 0;", "WAIT: bar.sync 0, 50;", PTX_DIVERGENT_BARRIER, "bar.sync", 1, 128},
    {"a shuffle mask too wide", "shfl.sync.down.b32 %f4, %f3, 2, 3, 15", "shfl.sync.down.b32 %f4, %f3, 2, 3, 7", PTX_UNDEFINED_LANE, "%f4, %f3, 2", 1, 128},
    {"a lane that the mask and the shuffle leave out", "shfl.sync.down.b32 %f4, %f3, 2, 3, 15;", "@%p1 shfl.sync.down.b32 %f4, %f3, 2, 3, 14;", PTX_UNDEFINED_VALUE, "st.global.f32", 1, 128},
    {"a shuffle from lanes that have left", "shfl.sync.down.b32 %f4, %f3, 1, 3, 15;", "shfl.sync.bfly.b32 %f4, %f3, 4, 31, 15;", PTX_UNDEFINED_LANE, "%f4, %f3, 4", 1, 128},
    {"lanes of the mask that stay away", "shfl.sync.bfly.b32 %f2, %f1, 8, 31, -1;", "@%p1 bra WAIT; shfl.sync.bfly.b32 %f2, %f1, 8, 31, -1;", PTX_UNDEFINED_VALUE, "@%p1", 1, 128},
    {"more warps than have a place", "shl.b32 %r8, %r6, 2", "shl.b32 %r8, %r6, 6", PTX_OUT_OF_BOUNDS, "st.shared.f32", 1, 128},
    {"shared memory nobody has written", "setp.gt.u32 %p2, %r1, 3", "setp.gt.u32 %p2, %r1, 3; add.s32 %r9, %r9, 16", PTX_UNDEFINED_VALUE, "st.global.f32", 1, 128},
    {"all blocks write one place", "add.s64 %l7, %l2, %l6", "mov.u64 %l7, %l2", PTX_GLOBAL_RACE, "st.global.f32", 4, 128},
    {"a loop without an end", "DONE: ret;", "DONE: bra DONE;", PTX_STEP_LIMIT, NULL, 1, 128},
    {"a trap", "st.global.f32", "trap; st.global.f32", PTX_TRAP, "trap", 1, 128},
  };
  check_faults(sums, faults, COUNT(faults));
}

/* y[i] = x[i ^ 32], over shared memory that is filled asynchronously. */
static const char copies[] = PTX_HEAD
  ".shared .align 16 .b8 tile[512];\n"
  ".visible .entry k(.param .u64 x, .param .u64 y, .param .u64 n) {\n"
  ".reg .b32 %r<20>;\n.reg .b64 %l<20>;\n"
  "mov.u32 %r1, %tid.x;\nmov.u32 %r2, tile;\nshl.b32 %r3, %r1, 2;\nadd.s32 %r4, %r2, %r3;\nxor.b32 %r5, %r3, 128;\nadd.s32 %r5, %r5, %r2;\n"
  "ld.param.u64 %l1, [x];\nld.param.u64 %l2, [y];\nmul.wide.u32 %l3, %r1, 4;\nadd.s64 %l4, %l1, %l3;\nadd.s64 %l5, %l2, %l3;\n"
  "cp.async.ca.shared.global [%r4], [%l4], 4;\ncp.async.commit_group;\n"
  "cp.async.wait_group 0;\n"
  "bar.sync 0;\n"
  "ld.shared.u32 %r6, [%r5];\nst.global.u32 [%l5], %r6;\nret;\n}\n";

static void asynchronous_copies_without_their_wait_or_barrier(void) {
  static const Fault faults[] = {
    {"no barrier behind the wait", "bar.sync 0;", "", PTX_SHARED_RACE, "ld.shared", 1, 128}, {"a copy too far", "[%r4]", "[%r4+16]", PTX_OUT_OF_BOUNDS, "cp.async.ca", 1, 128},
    {"a source too far", "[%l4], 4", "[%l4+16352], 4", PTX_OUT_OF_BOUNDS, "cp.async.ca", 1, 128}, {"a copy on no multiple of its size", "[%l4], 4", "[%l4+2], 4", PTX_MISALIGNED, "cp.async.ca", 1, 128},
  };
  check_faults(copies, faults, COUNT(faults));
  static Data d;
  static const char *const waits[] = {"", "cp.async.wait_group 1;"};
  for (int k = 0; k < 2; k++) {          /* in order, what has not been waited for has not landed */
    PtxLab l;
    char *bad = changed(copies, "cp.async.wait_group 0;", waits[k]);
    start(&d);
    CU_ASSERT_FALSE(launch(&l, &d, bad, 1, 128, 0, 0, 0));
    const PtxFinding *f = lab_found(&l, PTX_UNDEFINED_VALUE);
    CU_ASSERT(f && f->line == line_with(bad, "st.global"));
    lab_close(&l);
    free(bad);
  }
}

static void lanes_that_never_meet(void) {
  static Data d;
  PtxLab l;
  char *bad = changed(sums, "WAIT: bar.sync 0;", "WAIT: @%p1 bra OTHER; bar.sync 0; bra NEXT;\nOTHER: bar.sync 1;\nNEXT:");
  start(&d);
  CU_ASSERT_FALSE(launch(&l, &d, bad, 1, 128, 0, 0, 0));
  const PtxFinding *f = lab_found(&l, PTX_DIVERGENT_BARRIER);
  CU_ASSERT_PTR_NOT_NULL_FATAL(f);
  CU_ASSERT_PTR_NOT_NULL(strstr(f->text, "others at bar.sync in line"));
  lab_close(&l);
  free(bad);
}

/* --- results that change without a finding: what comparing bits is for -------------------------------------------------------------------------------- */
static void outcome(const char *text, uint64_t seed, uint64_t nan_seed, Data *d) {
  PtxLab l;
  CU_ASSERT(launch(&l, d, text, 8, 128, seed, nan_seed, 0));
  lab_close(&l);
}

static const char step[] = PTX_HEAD
  ".visible .entry k(.param .u64 x, .param .u64 y, .param .u64 n) {\n"
  ".reg .b32 %r<8>;\n.reg .f32 %f<20>;\n.reg .b64 %l<20>;\n"
  "mov.u32 %r1, %tid.x;\nmov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %ntid.x;\nmad.lo.s32 %r4, %r2, %r3, %r1;\n"
  "ld.param.u64 %l1, [x];\nld.param.u64 %l2, [y];\nmul.wide.u32 %l4, %r4, 4;\nadd.s64 %l5, %l1, %l4;\nadd.s64 %l6, %l2, %l4;\n"
  "ld.global.f32 %f1, [%l5];\n"
  "mul.rn.f32 %f2, %f1, 0f3F7FBE77;\nadd.rn.f32 %f3, %f2, %f1;\nsqrt.rn.f32 %f4, %f3;\nneg.f32 %f5, %f4;\nabs.f32 %f6, %f5;\n"
  "st.global.f32 [%l6], %f6;\nret;\n}\n";

static bool is_nan(uint32_t u) { return (u & 0x7fffffff) > 0x7f800000; }
static bool same_modulo_nan(const Data *a, const Data *b) {
  for (int i = 0; i < N; i++)
    if (a->y[i] != b->y[i] && !(is_nan(a->y[i]) && is_nan(b->y[i]))) return false;
  return true;
}

static void fma_in_place_of_mul_and_add_changes_bits(void) {
  static Data a, b;
  start(&a);
  start(&b);
  char *fused = changed(step, "mul.rn.f32 %f2, %f1, 0f3F7FBE77;\nadd.rn.f32 %f3, %f2, %f1;", "fma.rn.f32 %f3, %f1, 0f3F7FBE77, %f1;");
  outcome(step, 0, 0, &a);
  outcome(fused, 0, 0, &b);
  CU_ASSERT_FALSE(same_modulo_nan(&a, &b));
  for (int i = 0; i < 1024; i++) {
    float x;
    memcpy(&x, &a.x[i], 4);
    float want = __builtin_sqrtf(x*0x1.ff7ceep-1f + x);
    CU_ASSERT(!memcmp(&want, &a.y[i], 4));
  }
  free(fused);
}

static void order_changes_nothing_and_a_seed_repeats_itself(void) {
  static Data a, b;
  start(&a);
  outcome(sums, 0, 0, &a);
  for (uint64_t seed = 1; seed < 6; seed++) {
    start(&b);
    outcome(sums, seed, 0, &b);
    CU_ASSERT(!memcmp(a.y, b.y, sizeof a.y));
  }
}

static void random_nans_find_who_looks_inside_one(void) {
  static Data a, b;
  static const struct { const char *from, *to; bool leaks; } ways[] = {
    {"neg.f32 %f5, %f4", "neg.f32 %f5, %f4", false}, {"abs.f32 %f6, %f5", "copysign.f32 %f6, %f5, 0f3F800000", true}, {"abs.f32 %f6, %f5", "mov.b32 %r5, %f5; shr.u32 %r6, %r5, 8; mov.b32 %f6, %r6", true},
  };
  for (size_t k = 0; k < COUNT(ways); k++) {
    char *text = changed(step, ways[k].from, ways[k].to);
    bool differs = false, raw = false;
    start(&a);
    for (int i = 0; i < N; i += 4) a.x[i] = i%8 ? 0x7f800000 : 0xff800000 + (uint32_t)i;
    b = a;
    outcome(text, 0, 0, &a);
    for (uint64_t seed = 1; seed < 4; seed++) {
      outcome(text, 0, seed, &b);
      differs |= !same_modulo_nan(&a, &b);
      raw |= memcmp(a.y, b.y, sizeof a.y) != 0;
    }
    CU_ASSERT_EQUAL(differs, ways[k].leaks);
    CU_ASSERT(raw);
    free(text);
  }
}

/* --- refused text ------------------------------------------------------------------------------------------------------------------------------------------ */
static void what_is_not_known_is_refused_with_its_line(void) {
  static const struct { const char *from, *to, *says; } ways[] = {
    {"add.rn.f32 %f5", "add.f32 %f5", "no rounding"}, {"add.rn.f32 %f5", "add.rn.ftz.f32 %f5", "flushes"}, {"add.rn.f32 %f5", "add.nr.f32 %f5", "'add.nr.f32' is not known here"},
    {"add.rn.f32 %f5, %f1, %f1", "rcp.approx.ftz.f32 %f5, %f1", "not known"}, {"add.rn.f32 %f5, %f1, %f1", "ex2.approx.f32 %f5, %f1", "not known"}, {"add.rn.f32 %f5, %f1, %f1", "sqrt.approx.f32 %f5, %f1", "not known"},
    {"add.rn.f32 %f5, %f1, %f1", "div.full.f32 %f5, %f1, %f1", "not known"}, {"ld.global.nc.v4.f32", "ld.global.nc.v8.f32", "not known"}, {"ld.global.nc.v4.f32", "ld.tensor.v4.f32", "not known"},
    {"ld.global.nc.v4.f32", "ld.nc.v4.f32", "not known"}, {"st.global.v4.f32", "st.const.v4.f32", "not known"}, {"add.rn.f32 %f5, %f1, %f1", "add.rn.f32 %f5, %f1", "3 operands"}, {"add.rn.f32 %f5, %f1, %f1", "add.rn.f32 %f5, %f1, 1", "an integer stands where a float"},
    {"add.rn.f32 %f5, %f1, %f1", "add.rn.f32 %f5, %f1, %l1", "64 bits where 32"}, {"add.rn.f32 %f5", "add.rn.f32 %f77", "not a register"}, {"bra DONE", "bra GONE", "there is no label 'GONE'"},
    {"DONE: ret", "DONE: DONE: ret", "declared twice"}, {"setp.gt.s64 %p1", "setp.gt.s64 %l9", "64 bits where 1"}, {"[x]", "[z]", "there is no 'z'"}, {"@%p1", "@%r1", "not a predicate"},
    {"@%p1 bra DONE", "call (x), f, (y)", "no function 'f'"}, {"{%f1, %f2, %f3, %f4}", "{%f1, %f2}", "2 registers for 4"}, {"DONE: ret", "tanh.approx.f32 %f5, %f1; DONE: ret", "not known"},
    {"DONE: ret", "red.global.add.f32 [%l8], %f1; DONE: ret", "no certain order"}, {"DONE: ret", "bar.red.popc.u32 %r1, 0, %p1; DONE: ret", "not known"}, {".reg .b32 %r<8>", ".reg .b32 %r<8>, %r<9>", "declared twice"},
    {".reg .b32 %r<8>", ".reg .b128 %r<8>", "unexpected '.b128'"}, {".visible", ".hidden", "unexpected '.hidden'"}, {".visible", ".const .b8 t[2] = {1, 2, 3}; .visible", "fewer elements than values"},
    {".visible", ".global .u64 t = other; .visible", ""}, {".visible", ".global .u64 t[1] = {other}; .visible", "no number"}, {".visible", ".extern .global .u32 t; .visible", "defined elsewhere"}, {".address_size 64", ".address_size 32", "addresses of 32 bits"},
    {"mov.u32 %r1, %tid.x", "mov.u32 %r1, %clock", "there is no '%clock'"}, {"DONE: ret;\n}", "DONE: ret;", "ends too early"}, {"mad.lo.s32 %r4, %r2, %r3, %r1", "mad.lo.s32 %r4, %r2, %r3, 4294967296", "does not fit"},
    {"DONE: ret", "st.global.f32 [%l8], 0d3FF0000000000000; DONE: ret", "an f64 stands"}, {"DONE: ret", "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%f1}, {%r1}, {%r1}, {%f1}; DONE: ret", "strict"},
  };
  for (size_t k = 0; k < COUNT(ways); k++) {
    PtxLab l;
    char *bad = changed(elementwise, ways[k].from, ways[k].to);
    unsigned line = line_with(bad, ways[k].to), said = 0, column;
    bool refused = !lab_open(&l, bad, PTX_STRICT), reason = false;
    for (size_t n = 0; n < diag_count(l.diag); n++) {
      diag_place(diag_get(l.diag, n)->where, &said, &column);
      reason |= strstr(diag_get(l.diag, n)->text, ways[k].says) != NULL;
    }
    bool well = refused && reason && (said == line || strstr(ways[k].says, "early") || strstr(ways[k].says, "label"));
    if (!well) {
      printf("\n%s: not refused as it should be, in line %u:", ways[k].to, line);
      lab_show(&l);
      CU_FAIL("text is read wrongly");
    } else CU_PASS();
    lab_close(&l);
    free(bad);
  }
}

static void launches_that_no_device_takes(void) {
  static Data d;
  static const struct { uint32_t grid, block; size_t shared; } ways[] = {{0, 32, 0}, {1, 0, 0}, {1, 1025, 0}, {1, 32, 1 << 20}};
  for (size_t k = 0; k < COUNT(ways); k++) {
    PtxLab l;
    CU_ASSERT(lab_open(&l, elementwise, PTX_STRICT));
    l.launch.grid[0] = ways[k].grid;
    l.launch.block[0] = ways[k].block;
    l.launch.shared_bytes = ways[k].shared;
    uint64_t params[3] = {ptx_map(l.memory, d.x, sizeof d.x, PTX_READ, "x"), 0, 0};
    CU_ASSERT_FALSE(lab_run(&l, params));
    CU_ASSERT_PTR_NOT_NULL(lab_found(&l, PTX_BAD_LAUNCH));
    lab_close(&l);
  }
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(accesses_out_of_bounds_misaligned_and_undefined),
    TEST(constant_loads_of_what_the_launch_writes),
    TEST(undefined_global_memory),
    TEST(races_divergence_and_lanes_that_take_no_part),
    TEST(asynchronous_copies_without_their_wait_or_barrier),
    TEST(lanes_that_never_meet),
    TEST(fma_in_place_of_mul_and_add_changes_bits),
    TEST(order_changes_nothing_and_a_seed_repeats_itself),
    TEST(random_nans_find_who_looks_inside_one),
    TEST(what_is_not_known_is_refused_with_its_line),
    TEST(launches_that_no_device_takes),
  };
  return suite_run("PTX with planted faults", tests);
}
