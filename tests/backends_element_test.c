/* backends_element_test.c: every element operation, as machine code of every variant and loop form, gives the bits that element_eval says. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/backend.h"
#include "backends/ptx/ptx.h"
#include "ir/codes.h"
#include "ir/interpret.h"
#include "tests/support/assembler.h"
#include "tests/support/fixture.h"
#include "tests/support/object_file.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

/* Operands: a_T, b_T, c_T read and r_T written, for every type T. */
enum { SLOTS = 4, N_OPERANDS = SLOTS*TYPE_COUNT, MAX_CASES = 512 };

typedef struct Case { Element op; Type result, operand; } Case;
typedef struct Suite {
  Arena *arena;
  Diag *diag;
  Module module;
  Case cases[MAX_CASES]; unsigned n_cases;
  int64_t n;                             /* elements */
  void *data[N_OPERANDS];
} Suite;

static const uint64_t f32_special[] = {
  0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff, 0x3f000000, 0xbf000000, 0x3fc00000, 0x40200000, 0xc0200000,
  0x33800000, 0x33000000, 0x33000001, 0x38800000, 0x387fffff, 0x477fe000, 0x477fefff, 0x477ff000, 0x47800000, 0x4b000000, 0x4b000001, 0x4effffff, 0x4f000000, 0xcf000000,
  0xcf000001, 0x5f000000, 0x5effffff, 0xdf000000, 0x7f7fffff, 0xff7fffff, 0x7f7f8000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x7f800001, 0x42ff0000, 0x43000000, 0xc3000000, 0xc3010000, 0x437f0000, 0x43800000};
static const uint64_t f64_special[] = {
  0, 0x8000000000000000, 1, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x3fefffffffffffff, 0x3fe0000000000000, 0x4004000000000000,
  0xc004000000000000, 0x41dfffffffc00000, 0x41dfffffffffffff, 0x41e0000000000000, 0xc1e0000000000000, 0xc1e0000000200000, 0x43e0000000000000, 0x43dfffffffffffff, 0xc3e0000000000000, 0xc3e0000000000001,
  0x47efffffe0000000, 0x47effffff0000000, 0x47efffffefffffff, 0x36a0000000000000, 0x3690000000000000, 0x3690000000000001, 0x380fffffe0000000, 0x380ffffff0000000, 0x7fefffffffffffff, 0x7ff0000000000000,
  0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0xfff8000000000003, 0x405fc00000000000, 0x4060000000000000, 0xc060200000000000, 0x406fe00000000000, 0x4340000000000001};
static const uint64_t int_special[] = {0, 1, 2, 3, 5, 7, 31, 32, 33, 63, 64, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000,
  0xffffffffffffffff, 0xfffffffffffffffe, 0xfffffffffffffffd, 0xffffffffffffff80, 0xffffffff80000000, 0x1000001, 0x20000000000001, 0x123456789abcdef};

/* The numbers around every edge between codes, on both sides of 0, in order; false past the last. */
static bool near_edge(int64_t k, uint64_t *x) {
  enum { AROUND = 5 };
  for (unsigned map = 0; map < CODE_MAPS; map++) {
    int64_t n = 2*AROUND*(int64_t)(code_maps[map].codes - 1);
    if (k >= n) { k -= n; continue; }
    float edge = code_edge((CodeMap)map, (unsigned)(k/(2*AROUND)));
    uint32_t bits;
    memcpy(&bits, &edge, sizeof bits);
    *x = ((bits + (uint32_t)(k % AROUND - AROUND/2)) ^ (k/AROUND % 2 ? 0x80000000 : 0)) & 0xffffffff;
    return true;
  }
  return false;
}

static uint64_t sample(Type t, uint64_t *seed, int64_t i, unsigned slot) {
  const uint64_t *special = t == TYPE_F32 ? f32_special : t == TYPE_F64 ? f64_special : int_special;
  size_t n = t == TYPE_F32 ? sizeof f32_special/8 : t == TYPE_F64 ? sizeof f64_special/8 : sizeof int_special/8;
  uint64_t r = next_random(seed);
  if (t == TYPE_BF16 || t == TYPE_F16) return slot ? r : (uint64_t)i;                /* all codes, in order */
  if (t == TYPE_BOOL) return r & 1;
  if (i < (int64_t)(n*n)) return slot == 0 ? special[(size_t)i/n] : slot == 1 ? special[(size_t)i%n] : special[r%n];      /* all pairs */
  if (t == TYPE_F32 && !slot && near_edge(i - (int64_t)(n*n), &r)) return r;
  if (r & 1) return next_random(seed);
  return type_kind(t) == KIND_FLOAT ? bits_from_f64(ldexp((double)(int64_t)next_random(seed), (int)(r >> 8)%40 - 70), t) : next_random(seed) >> (r >> 8)%64;
}

static void add_case(Suite *s, Element op, Type result, Type operand, const Type *args) {
  if (element_types_ok(op, result, args)) s->cases[s->n_cases++] = (Case){op, result, operand};
}

static void open_suite(Suite *s, int64_t n) {
  memset(s, 0, sizeof *s);
  s->arena = arena_new(NULL, 0);
  s->diag = diag_new(s->arena, 0);
  s->n = n;
  Operand *operands = arena_array(s->arena, N_OPERANDS, sizeof *operands);
  uint64_t seed = 1;
  for (unsigned t = 0; t < TYPE_COUNT; t++)
    for (unsigned k = 0; k < SLOTS; k++) {
      unsigned o = t*SLOTS + k;
      operands[o] = (Operand){.name = arena_printf(s->arena, "%c_%s", "abcr"[k], type_name((Type)t)), .role = k == 3 ? ROLE_OUT : ROLE_IN, .storage = (Type)t, .item_shape = true};
      unsigned bytes = type_bytes((Type)t);
      char *data = s->data[o] = malloc((size_t)n*bytes + 64);
      for (int64_t i = 0; i < n; i++) {
        uint64_t x = sample((Type)t, &seed, i, k);
        memcpy(data + i*bytes, &x, bytes);
      }
    }
  operands[TYPE_F32*SLOTS].role = ROLE_PARAM;
  s->module = (Module){.arena = s->arena, .diag = s->diag, .name = "elements", .operands = operands, .n_operands = N_OPERANDS};
  for (unsigned op = 0; op < ELEMENT_COUNT; op++)
    for (unsigned t = 0; t < TYPE_COUNT; t++)
      for (unsigned from = 0; from < TYPE_COUNT; from++) {
        ElementRule rule = element_rule((Element)op);
        Type to = (Type)t, x = (Type)from;
        if (rule == RULE_SAME && t == from) add_case(s, op, to, to, (Type[]){to, to, to});
        if (rule == RULE_COMPARE && t == TYPE_BOOL) add_case(s, op, to, x, (Type[]){x, x, x});
        if (rule == RULE_SELECT && t == from) add_case(s, op, to, to, (Type[]){TYPE_BOOL, to, to});
        if (rule == RULE_CAST || rule == RULE_BITS || rule == RULE_DECODE || rule == RULE_ENCODE) add_case(s, op, to, x, (Type[]){x, x, x});
      }
}

static void close_suite(Suite *s) {
  for (unsigned k = 0; k < N_OPERANDS; k++) free(s->data[k]);
  arena_free(s->arena);
}

/* for i in begin..end: r[i] = op(a[i], b[i], c[i]) */
static void build_kernel(Suite *s, Program *p, const Case *c, unsigned lanes, unsigned unroll) {
  Arena *a = s->arena;
  Kernel *k = program_kernel(p, arena_printf(a, "%s_%s_%s", element_name(c->op), type_name(c->result), type_name(c->operand)), LAUNCH_CHUNK);
  Inst *bounds[2] = {block_add(a, k->body, KOP_E_BEGIN, TYPE_I64, 0, 0, NULL), block_add(a, k->body, KOP_E_END, TYPE_I64, 0, 0, NULL)};
  Inst *loop = block_add(a, k->body, KOP_E_FOR, TYPE_I64, 0, 2, bounds);
  loop->binding = lanes ? BIND_VECTOR : BIND_SEQ;
  loop->lanes = (uint16_t)lanes;
  loop->unroll = (uint16_t)unroll;
  loop->body = block_new(a);
  Inst *args[3];
  unsigned n = element_arity(c->op);
  for (unsigned i = 0; i < n; i++) {
    Type t = element_rule(c->op) == RULE_SELECT && !i ? TYPE_BOOL : c->operand;
    args[i] = block_add(a, loop->body, KOP_E_LOAD, t, t*SLOTS + i, 1, &loop);
  }
  Inst *value[2] = {loop, block_add(a, loop->body, (KOp)c->op, c->result, 0, n, args)};
  block_add(a, loop->body, KOP_E_STORE, TYPE_BOOL, c->result*SLOTS + 3, 2, value);
  block_add(a, loop->body, KOP_E_YIELD, TYPE_BOOL, 0, 0, NULL);
  kernel_number(k);
}

static Program *build_program(Suite *s, const char *entry, unsigned lanes, unsigned unroll) {
  Program *p = program_new(&s->module, s->arena, entry);
  for (unsigned i = 0; i < s->n_cases; i++) build_kernel(s, p, &s->cases[i], lanes, unroll);
  return p;
}

/* Compares one kernel's output with element_eval; says where they part. */
static unsigned long compare(const Suite *s, const Case *c, const void *got, const char *what) {
  unsigned bytes = type_bytes(c->result);
  unsigned long wrong = 0;
  for (int64_t i = 0; i < s->n; i++) {
    Bits x[3] = {0}, have = 0;
    for (unsigned k = 0; k < element_arity(c->op); k++) {
      Type t = element_rule(c->op) == RULE_SELECT && !k ? TYPE_BOOL : c->operand;
      memcpy(&x[k], (const char *)s->data[t*SLOTS + k] + i*type_bytes(t), type_bytes(t));
    }
    memcpy(&have, (const char *)got + i*bytes, bytes);
    Bits want = element_eval(c->op, c->result, c->operand, x);
    if (bits_equal(have, want, c->result)) continue;
    if (!wrong++) printf("\n%s: %s %s of %s (%llx, %llx, %llx) is %llx, should be %llx\n", what, element_name(c->op), type_name(c->result), type_name(c->operand),
                         (unsigned long long)x[0], (unsigned long long)x[1], (unsigned long long)x[2], (unsigned long long)have, (unsigned long long)want);
  }
  return wrong;
}

static const struct Form { const char *entry; unsigned lanes, unroll; } forms[] = {{"seq", 0, 0}, {"lanes4", 4, 1}, {"lanes8", 8, 4}, {"lanes16", 16, 2}};
enum { N_FORMS = sizeof forms/sizeof *forms };

static void run_kernels(Suite *s, const optc_rule_desc *rule, int64_t entry, const char *what, unsigned long *wrong) {
  for (unsigned i = 0; i < s->n_cases; i++) {
    Type t = s->cases[i].result;
    memset(s->data[t*SLOTS + 3], 0x55, (size_t)s->n*type_bytes(t));
    optc_frame f = {.data = s->data, .count = s->n, .total = s->n, .begin = 0, .end = s->n, .shape = &s->n, .rank = 1};
    rule->entries[entry].kernels[i].fn[0](&f);
    *wrong += compare(s, &s->cases[i], s->data[t*SLOTS + 3], what);
  }
}

static bool machine_has(const char *cpu) {
  if (!strcmp(cpu, "x86-64-v4")) return __builtin_cpu_supports("x86-64-v4");
  if (!strcmp(cpu, "x86-64-v3")) return __builtin_cpu_supports("x86-64-v3");
  return true;
}

static void check_cpu(const char *cpu, int level) {
  if (!machine_has(cpu)) { printf("\nskipped: %s, this machine lacks it\n", cpu); return; }
  Suite s;
  open_suite(&s, 8192);                  /* all that near_edge has, and more */
  for (unsigned k = 0; k < N_FORMS; k++) {
    Program *p = build_program(&s, forms[k].entry, forms[k].lanes, forms[k].unroll);
    CU_ASSERT_FATAL(program_verify(p, s.diag));
    Target target = {.triple = "x86_64-linux-gnu", .cpus = &cpu, .n_cpus = 1, .level = level};
    Output out;
    bool good = backend_emit(s.arena, s.diag, &s.module, &p, 1, &target, EMIT_OBJECT, &out);
    if (!good) fixture_show(s.diag, s.arena);
    CU_ASSERT_FATAL(good);
    char name[64];
    snprintf(name, sizeof name, "%s-%s-%d", cpu, forms[k].entry, level);
    void *so = object_load(out.data, out.size, name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(so);
    CU_ASSERT_EQUAL(scratch_run("test -z \"$(nm -u %s.o)\"", name), 0);
    unsigned long wrong = 0;
    run_kernels(&s, dlsym(so, "elements_rule"), 0, name, &wrong);
    CU_ASSERT_EQUAL(wrong, 0);
    dlclose(so);
  }
  close_suite(&s);
}

static void test_every_operation_on_x86_64_v2_gives_the_defined_bits(void) { check_cpu("x86-64-v2", 2); }
static void test_every_operation_on_x86_64_v3_gives_the_defined_bits(void) { check_cpu("x86-64-v3", 2); }
static void test_every_operation_on_x86_64_v4_gives_the_defined_bits(void) { check_cpu("x86-64-v4", 2); }
static void test_every_operation_at_code_generation_level_0_gives_the_defined_bits(void) { check_cpu("x86-64-v2", 0); check_cpu("x86-64-v3", 0); }

/* --- fma without the instruction --------------------------------------------------------------------------------------------------- */

static float some_float(uint64_t *seed, unsigned kind) {
  uint64_t r = next_random(seed);
  uint32_t u = (uint32_t)r;
  if (kind == 1) u = (uint32_t)f32_special[(r >> 32)%(sizeof f32_special/8)];
  if (kind == 2) u = (u & 0x807fffff) | (127 - 12 + (uint32_t)(r >> 32)%24) << 23;         /* near 1: cancellation, halfway cases */
  if (kind == 3) u &= 0x807fffff;                                                            /* subnormal */
  float f;
  memcpy(&f, &u, 4);
  return f;
}

static void test_emulated_fma_equals_fmaf_on_random_and_edge_triples(void) {
  enum { N = 1 << 20 };
  Suite s;
  open_suite(&s, N);
  s.n_cases = 0;
  add_case(&s, ELEMENT_FMA, TYPE_F32, TYPE_F32, (Type[]){TYPE_F32, TYPE_F32, TYPE_F32});
  float *x[4];
  for (unsigned k = 0; k < 4; k++) x[k] = s.data[TYPE_F32*SLOTS + k];
  uint64_t seed = 7;
  for (size_t i = 0; i < N; i++) {
    uint64_t r = next_random(&seed);
    for (unsigned k = 0; k < 3; k++) x[k][i] = some_float(&seed, r >> 2*k & 3);
    if ((r >> 8)%4 == 0) x[2][i] = -(x[0][i]*x[1][i]);                                       /* all that is left is the product's tail */
    if ((r >> 8)%4 == 1) x[2][i] = x[0][i]*x[1][i]*0x1p-24f;
    if ((r >> 8)%4 == 2) x[2][i] = x[0][i]*x[1][i]*0x1p24f;
  }
  const char *cpu = "x86-64-v2";
  Program *p = build_program(&s, "lanes16", 16, 2);
  Target target = {.triple = "x86_64-linux-gnu", .cpus = &cpu, .n_cpus = 1, .level = 2};
  Output out;
  CU_ASSERT_FATAL(backend_emit(s.arena, s.diag, &s.module, &p, 1, &target, EMIT_OBJECT, &out));
  void *so = object_load(out.data, out.size, "fma");
  CU_ASSERT_PTR_NOT_NULL_FATAL(so);
  unsigned long wrong = 0;
  run_kernels(&s, dlsym(so, "elements_rule"), 0, "emulated fma", &wrong);
  CU_ASSERT_EQUAL(wrong, 0);
  for (size_t i = 0; i < N; i++) {
    float want = fmaf(x[0][i], x[1][i], x[2][i]);
    if (memcmp(&want, &x[3][i], 4) && (want == want || x[3][i] == x[3][i])) wrong++;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  dlclose(so);
  close_suite(&s);
}

/* --- aarch64 ---------------------------------------------------------------------------------------------------------------------------- */

/* Runs there: reads all operands from `in`, runs every kernel, writes its output to `out`. The size of each output comes with the file. */
static const char harness[] =
  "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include \"ir/frame.h\"\n"
  "extern const optc_rule_desc elements_rule;\n"
  "int main(void) {\n"
  "  FILE *in = fopen(\"in\", \"rb\"), *out = fopen(\"out\", \"wb\");\n"
  "  int64_t n, n_cases, result;\n"
  "  if (!in || !out || fread(&n, 8, 1, in) != 1 || fread(&n_cases, 8, 1, in) != 1) return 1;\n"
  "  void *data[256];\n"
  "  for (int64_t k = 0; k < elements_rule.n_operands; k++) {\n"
  "    size_t size = (size_t)(n*elements_rule.operands[k].bytes);\n"
  "    data[k] = malloc(size + 64);\n"
  "    if (fread(data[k], 1, size, in) != size) return 2;\n"
  "  }\n"
  "  for (int64_t e = 0; e < elements_rule.n_entries; e++) {\n"
  "    fseek(in, -8*n_cases, SEEK_END);\n"
  "    for (int64_t i = 0; i < n_cases; i++) {\n"
  "      if (fread(&result, 8, 1, in) != 1) return 3;\n"
  "      size_t size = (size_t)(n*elements_rule.operands[result].bytes);\n"
  "      memset(data[result], 0x55, size);\n"
  "      optc_frame f = {.data = data, .count = n, .total = n, .end = n, .shape = &n, .rank = 1};\n"
  "      elements_rule.entries[e].kernels[i].fn[0](&f);\n"
  "      if (fwrite(data[result], 1, size, out) != size) return 4;\n"
  "    }\n"
  "  }\n"
  "  return fclose(out) != 0;\n}\n";

static void test_every_operation_on_aarch64_gives_the_defined_bits_under_emulation(void) {
  if (!command_exists("aarch64-linux-gnu-gcc") || !command_exists("qemu-aarch64")) { printf("\nskipped: aarch64, no cross compiler or emulator\n"); return; }
  Suite s;
  open_suite(&s, 2503);
  Program *p[N_FORMS];
  for (unsigned k = 0; k < N_FORMS; k++) p[k] = build_program(&s, forms[k].entry, forms[k].lanes, forms[k].unroll);
  const char *cpu = "generic";
  Target target = {.triple = "aarch64-linux-gnu", .cpus = &cpu, .n_cpus = 1, .level = 2, .with_driver = true};
  Output out;
  bool good = backend_emit(s.arena, s.diag, &s.module, p, N_FORMS, &target, EMIT_OBJECT, &out);
  if (!good) fixture_show(s.diag, s.arena);
  CU_ASSERT_FATAL(good);
  char *here = realpath(".", NULL);
  FILE *in = fopen(scratch_path("in"), "wb");
  int64_t n_cases = s.n_cases;
  fwrite(&s.n, 8, 1, in);
  fwrite(&n_cases, 8, 1, in);
  for (unsigned k = 0; k < N_OPERANDS; k++) fwrite(s.data[k], 1, (size_t)s.n*type_bytes((Type)(k/SLOTS)), in);
  for (unsigned i = 0; i < s.n_cases; i++) fwrite(&(int64_t){s.cases[i].result*SLOTS + 3}, 8, 1, in);
  fclose(in);
  CU_ASSERT_FATAL(scratch_write("arm.o", out.data, out.size) && scratch_write("harness.c", harness, strlen(harness)));
  CU_ASSERT_EQUAL(scratch_run("test -z \"$(aarch64-linux-gnu-nm -u arm.o)\""), 0);
  CU_ASSERT_EQUAL_FATAL(scratch_run("aarch64-linux-gnu-gcc -static -O1 -I%s harness.c arm.o -o harness && qemu-aarch64 ./harness", here), 0);
  free(here);
  size_t size, at = 0;
  char *bytes = scratch_read("out", &size);
  unsigned long wrong = 0;
  for (unsigned k = 0; k < N_FORMS; k++)
    for (unsigned i = 0; i < s.n_cases; at += (size_t)s.n*type_bytes(s.cases[i].result), i++) {
      char what[64];
      snprintf(what, sizeof what, "aarch64 %s", forms[k].entry);
      wrong += compare(&s, &s.cases[i], bytes + at, what);
    }
  CU_ASSERT_EQUAL(at, size);
  CU_ASSERT_EQUAL(wrong, 0);
  free(bytes);
  close_suite(&s);
}

/* --- NVPTX ----------------------------------------------------------------------------------------------------------------------------- */

static void test_every_operation_becomes_ptx_that_assembles(void) {
  static const char *const gpus[] = {"sm_70", "sm_80", "sm_90"};
  for (unsigned g = 0; g < 3; g++) {
    Suite s;
    open_suite(&s, 16);
    Program *p = build_program(&s, "all", 16, 2);
    Target target = {.triple = "nvptx64-nvidia-cuda", .cpus = &gpus[g], .n_cpus = 1, .level = 2};
    Output out;
    bool good = backend_emit(s.arena, s.diag, &s.module, &p, 1, &target, EMIT_PTX, &out);
    if (!good) fixture_show(s.diag, s.arena);
    CU_ASSERT_FATAL(good);
    CU_ASSERT_PTR_NOT_NULL(strstr((const char *)out.data, ".visible .entry elements_all_fma_f32_f32("));
    CU_ASSERT_PTR_NOT_NULL(strstr((const char *)out.data, "div.rn.f32"));
    CU_ASSERT_PTR_NULL(strstr((const char *)out.data, ".ftz"));
    CU_ASSERT_PTR_NULL(strstr((const char *)out.data, ".approx"));
    scratch_write("all.ptx", out.data, out.size);
    const char *ptxas = assembler_for(gpus[g]);
    if (ptxas) CU_ASSERT_EQUAL(scratch_run("'%s' -O1 -arch=%s all.ptx -o all.cubin", ptxas, gpus[g]), 0);
    close_suite(&s);
  }
}

/* One kernel on a copy of its frame with device addresses. */
static bool execute_ptx(Suite *s, const PtxModule *code, unsigned index, uint64_t seed) {
  PtxMemory *memory = ptx_memory_new(s->arena);
  PtxReport report = {.arena = s->arena};
  uint64_t data[N_OPERANDS];
  for (unsigned k = 0; k < N_OPERANDS; k++)
    data[k] = ptx_map(memory, s->data[k], (size_t)s->n*type_bytes((Type)(k/SLOTS)), k%SLOTS == 3 ? PTX_READ | PTX_WRITE : PTX_READ, s->module.operands[k].name);
  optc_frame f = {.data = (void *)(uintptr_t)ptx_map(memory, data, sizeof data, PTX_READ, "data"), .count = s->n, .rank = 1};
  optc_work work[] = {{0, 0, 1000}, {0, 1000, s->n}};
  uint64_t params[] = {ptx_map(memory, &f, sizeof f, PTX_READ, "frame"), ptx_map(memory, work, sizeof work, PTX_READ, "work"), 2};
  PtxLaunch launch = {.kernel = ptx_kernel(code, index), .grid = {1 + (unsigned)(seed & 1), 5, 1}, .block = {96, 1, 1}, .params = params, .seed = seed, .global_races = true};
  bool good = ptx_launch(code, memory, &launch, &report);
  if (!good) {
    Text text = {.arena = s->arena};
    ptx_report_print(&report, &text);
    printf("\n%s: %s", ptx_kernel_info(launch.kernel)->name, text.data);
  }
  return good;
}

static void check_gpu(const char *gpu, int level) {
  Suite s;
  open_suite(&s, 8192);                  /* all that near_edge has, and more */
  Program *p = build_program(&s, "executed", 0, 0);
  Target target = {.triple = "nvptx64-nvidia-cuda", .cpus = &gpu, .n_cpus = 1, .level = level};
  Output out;
  bool good = backend_emit(s.arena, s.diag, &s.module, &p, 1, &target, EMIT_PTX, &out);
  Source source = {gpu, (const char *)out.data, out.size};
  const PtxModule *code = good ? ptx_load(s.arena, s.diag, &source, PTX_STRICT) : NULL;
  if (!code) fixture_show(s.diag, s.arena);
  CU_ASSERT_PTR_NOT_NULL_FATAL(code);
  CU_ASSERT_EQUAL_FATAL(ptx_kernels(code), s.n_cases);
  unsigned long wrong = 0, faults = 0;
  for (unsigned i = 0; i < s.n_cases; i++) {
    Type t = s.cases[i].result;
    memset(s.data[t*SLOTS + 3], 0x55, (size_t)s.n*type_bytes(t));
    faults += !execute_ptx(&s, code, i, i);
    wrong += compare(&s, &s.cases[i], s.data[t*SLOTS + 3], gpu);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_EQUAL(faults, 0);
  close_suite(&s);
}
static void test_every_operation_as_ptx_executes_to_the_defined_bits(void) {
  check_gpu("sm_70", 2);
  check_gpu("sm_80", 0);
  check_gpu("sm_80", 2);
  check_gpu("sm_90", 2);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(test_every_operation_on_x86_64_v2_gives_the_defined_bits),
    TEST(test_every_operation_on_x86_64_v3_gives_the_defined_bits),
    TEST(test_every_operation_on_x86_64_v4_gives_the_defined_bits),
    TEST(test_every_operation_at_code_generation_level_0_gives_the_defined_bits),
    TEST(test_emulated_fma_equals_fmaf_on_random_and_edge_triples),
    TEST(test_every_operation_on_aarch64_gives_the_defined_bits_under_emulation),
    TEST(test_every_operation_becomes_ptx_that_assembles),
    TEST(test_every_operation_as_ptx_executes_to_the_defined_bits),
  };
  return suite_run("element operations as machine code", tests);
}
