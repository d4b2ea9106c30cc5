/* backends_emit_test.c: whole rules as objects: control flow, guards and scalars like the interpreter, the C interface, header, variants, targets. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/backend.h"
#include "ir/describe.h"
#include "ir/interpret.h"
#include "tests/support/assembler.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/fixture.h"
#include "tests/support/object_file.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

/* --- a rule that uses every kernel operation ------------------------------------------------------------------------------------------ */

static Hyper hypers[] = {
  {.name = "a", .type = TYPE_F64, .has_default = true, .value = UINT64_C(0x3fb999999999999a), .doc = "A factor, */ tricky."}, {.name = "times", .type = TYPE_I64, .has_default = true, .value = 5},
  {.name = "default", .external = "flag", .type = TYPE_BOOL}};
static Operand operands[] = {
  {.name = "p", .role = ROLE_PARAM, .storage = TYPE_F32, .item_shape = true}, {.name = "g", .role = ROLE_GRAD, .storage = TYPE_F32, .item_shape = true},
  {.name = "h", .role = ROLE_IN, .storage = TYPE_BF16, .item_shape = true, .optional = true, .doc = "maybe\nabsent"}, {.name = "c", .role = ROLE_IN, .storage = TYPE_BOOL, .item_shape = true},
  {.name = "o", .role = ROLE_OUT, .storage = TYPE_I64, .item_shape = true}, {.name = "m", .external = "exp_avg", .role = ROLE_STATE, .storage = TYPE_F16, .item_shape = true},
  {.name = "count", .role = ROLE_STATE, .scope = SCOPE_SCALAR, .storage = TYPE_I64}, {.name = "flag", .role = ROLE_IN, .scope = SCOPE_SCALAR, .storage = TYPE_BOOL},
  {.name = "t", .role = ROLE_STATE, .scope = SCOPE_GLOBAL, .storage = TYPE_F64}};
enum { P, G, H, C, O, M, COUNT, FLAG, SUM, N_OPERANDS };

static const char step_text[] =
"program step advances {\n  uniforms 4\n  text \"a must be at least 0\"\n  text \"a below times\"\n  temp w: f64\n"
"  kernel check check {\n"
"    %0 = hyper f64 a@0\n    %1 = const f64 0x0\n    %2 = ge bool %0, %1\n    require 0, %2, %0\n"
"    %4 = hyper i64 times@1\n    %5 = cast f64 %4\n    %6 = lt bool %0, %5\n    require 1, %6, %0, %5\n  }\n"
"  kernel power group {\n"                                           /* a^times by a loop; slot 1 depends on the bool hyper; slot 2 is a bool, slot 3 an f32 */
"    %0 = const i64 0x0\n    %1 = hyper i64 times@1\n    %2 = const f64 0x3ff0000000000000\n    %3 = hyper f64 a@0\n"
"    %4 = for %0 to %1 carry %2, %0 seq {\n      %5 = carried f64 0, %4\n      %6 = mul f64 %5, %3\n      %7 = carried i64 1, %4\n      %8 = add i64 %7, %4\n      yield %6, %8\n    }\n"
"    %10 = carried f64 0, %4\n    set_uniform 0, %10\n    %12 = hyper bool default@2\n"
"    if %12 {\n      %13 = carried i64 1, %4\n      set_uniform 1, %13\n    } else {\n      %14 = step i64\n      set_uniform 1, %14\n    }\n"
"    set_uniform 2, %12\n    %16 = cast f32 %10\n    set_uniform 3, %16\n  }\n"
"  kernel scalars item {\n"
"    %0 = scalar i64 count@6\n    %1 = size i64 p@0, 0\n    %2 = size i64 p@0, 1\n    %3 = size i64 p@0, 5\n    %4 = size i64 p@0, -1\n    %5 = size i64 p@0, -2\n"
"    %6 = add i64 %0, %1\n    %7 = add i64 %6, %2\n    %8 = add i64 %7, %3\n    %9 = add i64 %8, %4\n    %10 = add i64 %9, %5\n"
"    %11 = item i64\n    %12 = add i64 %10, %11\n    %13 = seed i64\n    %14 = xor i64 %12, %13\n    %15 = present bool h@2\n    %16 = cast i64 %15\n    %17 = add i64 %14, %16\n"
"    %18 = scalar bool flag@7\n    %19 = cast i64 %18\n    %20 = add i64 %17, %19\n    set_scalar count@6, %20\n"
"    %22 = const i64 0x0\n    %23 = const i64 0x3\n    %24 = const f64 0x0\n"
"    %25 = for %22 to %4 carry %24 seq {\n"                          /* a running sum in order, every third read from beyond is guarded away */
"      %26 = imod i64 %25, %23\n      %27 = ne bool %26, %22\n      %28 = load f32 g@1, %25, %27\n      %29 = cast f64 %28\n      %30 = carried f64 0, %25\n      %31 = add f64 %30, %29\n"
"      store w@9, %25, %31\n      %33 = load bf16 h@2, %25\n      %34 = cast i64 %33\n      store o@4, %25, %34, %27\n      yield %31\n    }\n  }\n"
"  kernel update chunk {\n    %0 = begin i64\n    %1 = end i64\n"
"    %2 = for %0 to %1 vector(LANES, UNROLL) {\n"
"      %3 = load f32 p@0, %2\n      %4 = load bool c@3, %2\n      %5 = uniform bool 2\n      %6 = load f32 g@1, %2, %5\n      %7 = load f16 m@5, %2, %4\n      %8 = cast f32 %7\n"
"      %9 = load bf16 h@2, %2\n      %10 = cast f32 %9\n      %11 = uniform f32 3\n      %12 = mul f32 %6, %11\n      %13 = add f32 %12, %8\n      %14 = add f32 %13, %10\n"
"      %15 = load f64 w@9, %2\n      %16 = uniform f64 0\n      %17 = mul f64 %15, %16\n      %18 = cast f32 %17\n      %19 = add f32 %14, %18\n      %20 = sub f32 %3, %19\n      store p@0, %2, %20\n"
"      %22 = cast f16 %19\n      store m@5, %2, %22, %4\n      %24 = uniform i64 1\n      %25 = mul i64 %24, %2\n      %26 = cast i64 %20\n      %27 = xor i64 %25, %26\n      store o@4, %2, %27, %5\n"
"      yield\n    }\n  }\n"
"  kernel finish finish {\n    %0 = scalar f64 t@8\n    %1 = hyper f64 a@0\n    %2 = add f64 %0, %1\n    set_scalar t@8, %2\n  }\n}\n";
static const char layout_text[] = "program layout {\n  kernel layout item {\n    %0 = scalar bool flag@7\n    exists m@5, %0\n    %2 = const bool 0x1\n    exists count@6, %2\n  }\n}\n";
static const char init_text[] =
"program init {\n  kernel scalars item {\n    %0 = const i64 0x7\n    set_scalar count@6, %0\n  }\n"
"  kernel tensors chunk {\n    %0 = begin i64\n    %1 = end i64\n    %2 = const f32 0x3f800000\n    %3 = cast f16 %2\n    %4 = scalar bool flag@7\n    %5 = for %0 to %1 seq {\n      store m@5, %5, %3, %4\n      yield\n    }\n  }\n"
"  kernel finish finish {\n    %0 = const f64 0x0\n    set_scalar t@8, %0\n  }\n}\n";

typedef struct Built { Arena *arena; Diag *diag; Module module; Program *programs[3]; } Built;

static Program *parse(Built *b, const char *text, unsigned lanes, unsigned unroll) {
  Text t = {.arena = b->arena};
  for (const char *c = text; *c; c++) {
    if (!strncmp(c, "LANES, UNROLL", 13)) { text_add(&t, "%u, %u", lanes, unroll); c += 12; }
    else text_append(&t, c, 1);
  }
  Source *s = arena_alloc(b->arena, sizeof *s);
  *s = (Source){"rule", t.data, t.length};
  Program *p = program_parse(&b->module, b->arena, b->diag, s);
  if (!p || !program_verify(p, b->diag)) { fixture_show(b->diag, b->arena); return NULL; }
  return p;
}

static bool build_in(Built *b, Arena *a, unsigned lanes, unsigned unroll) {
  *b = (Built){.arena = a, .diag = diag_new(a, 0)};
  b->module = (Module){.arena = a, .diag = b->diag, .name = "flow", .doc = "A rule for tests.", .hypers = hypers, .n_hypers = 3, .operands = operands, .n_operands = N_OPERANDS, .has_step = true};
  b->programs[0] = parse(b, init_text, lanes, unroll);
  b->programs[1] = parse(b, layout_text, lanes, unroll);
  b->programs[2] = parse(b, step_text, lanes, unroll);
  return b->programs[0] && b->programs[1] && b->programs[2];
}

static bool emit(Built *b, const Target *target, Emit form, Output *out) {
  bool good = backend_emit(b->arena, b->diag, &b->module, b->programs, 3, target, form, out);
  if (!good) fixture_show(b->diag, b->arena);
  return good;
}

/* --- data ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct FlowHyper { double a; int64_t times, flag; } FlowHyper;
typedef struct FlowItem { optc_tensor p, g, h, c, o, m; int64_t count, flag, group, rank; const int64_t *shape; int64_t first, number; } FlowItem;
typedef struct FlowGlobal { int64_t t; uint64_t seed; double sum; } FlowGlobal;
enum { N_ITEMS = 6 };
static const int64_t shapes[N_ITEMS][3] = {{0, 3, 1}, {1, 1, 1}, {7, 1, 1}, {11, 3, 1}, {65553, 1, 1}, {4, 5, 9}};
static const unsigned bytes[6] = {4, 4, 2, 1, 8, 2};
typedef struct World { FlowHyper groups[2]; FlowItem items[N_ITEMS]; FlowGlobal global; void *data[N_ITEMS][6]; void *workspace; optc_call call; optc_error error; } World;

static void open_world(World *w, const optc_rule_desc *rule) {
  memset(w, 0, sizeof *w);
  uint64_t state = 3;
  w->groups[0] = (FlowHyper){0.75, 5, 1};
  w->groups[1] = (FlowHyper){1.25, 7, 0};
  for (int k = 0; k < N_ITEMS; k++) {
    int64_t n = shapes[k][0]*shapes[k][1]*shapes[k][2];
    optc_tensor *tensors[6] = {&w->items[k].p, &w->items[k].g, &w->items[k].h, &w->items[k].c, &w->items[k].o, &w->items[k].m};
    for (int o = 0; o < 6; o++) {
      char *x = w->data[k][o] = malloc((size_t)n*bytes[o] + 8);
      for (int64_t i = 0; i < n + 1; i++) {
        uint64_t seed = next_random(&state);
        float f = (float)(int64_t)(seed >> 20)*0x1p-44f;
        uint64_t v = seed >> 33;
        if (bytes[o] == 4) memcpy(&v, &f, 4);
        if (o == 2) v = bf16_from_f32(f);
        if (o == 5) v = f16_from_f32(f);
        if (o == 3) v = v % 3;                                         /* any byte but 0 is true */
        if (i < n || bytes[o] < 8) memcpy(x + i*bytes[o], &v, bytes[o]);
      }
      tensors[o]->data = x;
    }
    if (k == 2 || k == 5) w->items[k].h.data = NULL;
    w->items[k].flag = k != 3;
    w->items[k].count = k;
    w->items[k].group = k & 1;
    w->items[k].rank = k == 5 ? 3 : k == 3 ? 2 : 1;
    w->items[k].shape = shapes[k];
  }
  w->global = (FlowGlobal){9, 77, 0.5};
  w->call = (optc_call){.size = sizeof w->call, .groups = w->groups, .n_groups = 2, .items = w->items, .n_items = N_ITEMS, .first_item = 100, .global = &w->global, .error = &w->error};
  w->call.workspace_size = optc_drive_workspace(rule, &w->call);
  w->call.workspace = w->workspace = calloc(1, w->call.workspace_size);
}

static void close_world(World *w) {
  for (int k = 0; k < N_ITEMS; k++) for (int o = 0; o < 6; o++) free(w->data[k][o]);
  free(w->workspace);
}

static bool same(const World *x, const World *y) {
  for (int k = 0; k < N_ITEMS; k++) {
    int64_t n = shapes[k][0]*shapes[k][1]*shapes[k][2];
    for (int o = 0; o < 6; o++)
      if (memcmp(x->data[k][o], y->data[k][o], (size_t)n*bytes[o] + (bytes[o] < 8 ? bytes[o] : 0))) { printf("\nitem %d, operand %s differs\n", k, operands[o].name); return false; }
    if (x->items[k].count != y->items[k].count) { printf("\nitem %d: count %lld, %lld\n", k, (long long)x->items[k].count, (long long)y->items[k].count); return false; }
  }
  return !memcmp(&x->global, &y->global, sizeof x->global) && x->error.code == y->error.code && x->error.n == y->error.n && !memcmp(x->error.value, y->error.value, 32);
}

/* The same table with the interpreter behind every kernel. */
typedef struct Interpreted { const Program *program; const Kernel *kernel; } Interpreted;
static void interpret(optc_frame *f) {
  const Interpreted *k = f->self;
  Arena *scratch = arena_new(NULL, 0);
  kernel_interpret(k->program, k->kernel, f, scratch);
  arena_free(scratch);
}
static const optc_rule_desc *interpreted(const optc_rule_desc *rule, Built *b) {
  optc_rule_desc *copy = arena_alloc(b->arena, sizeof *copy);
  optc_entry_desc *entries = arena_array(b->arena, 3, sizeof *entries);
  *copy = *rule;
  copy->entries = entries;
  for (int e = 0; e < 3; e++) {
    entries[e] = rule->entries[e];
    optc_kernel_desc *kernels = arena_array(b->arena, (size_t)entries[e].n_kernels, sizeof *kernels);
    for (int k = 0; k < entries[e].n_kernels; k++) {
      Interpreted *i = arena_alloc(b->arena, sizeof *i);
      *i = (Interpreted){b->programs[e], b->programs[e]->kernels[k]};
      kernels[k] = entries[e].kernels[k];
      kernels[k].fn[0] = interpret;
      kernels[k].self = i;
    }
    entries[e].kernels = kernels;
  }
  return copy;
}

/* step, init, step on the same data through both tables; `chosen` picks the variant. */
static bool agrees(const optc_rule_desc *rule, Built *b, int32_t chosen) {
  World x, y;
  open_world(&x, rule);
  open_world(&y, rule);
  const optc_rule_desc *oracle = interpreted(rule, b);
  bool good = true;
  for (int round = 0; round < 3 && good; round++) {
    int entry = round == 1 ? 0 : 2, code = optc_drive(rule, entry, &x.call, &chosen), want = optc_drive(oracle, entry, &y.call, NULL);
    good = code == want && code == OPTC_OK && same(&x, &y);
  }
  x.groups[1].a = y.groups[1].a = round(1e3);                           /* the second requirement fails, and says why */
  good = good && optc_drive(rule, 2, &x.call, &chosen) == OPTC_E_REQUIRE && optc_drive(oracle, 2, &y.call, NULL) == OPTC_E_REQUIRE && same(&x, &y) && x.error.n == 2;
  good = good && x.error.value[0] == 1e3 && x.error.value[1] == 7 && !strcmp(x.error.text, "a below times");
  close_world(&x);
  close_world(&y);
  return good;
}

/* --- tests -------------------------------------------------------------------------------------------------------------------------------- */

static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
static void test_control_flow_guards_and_scalars_agree_with_the_interpreter_at_every_width(void) {
  static const unsigned widths[][2] = {{1, 1}, {4, 1}, {8, 2}, {16, 1}, {16, 2}, {16, 3}, {8, 4}, {64, 1}};
  for (size_t i = 0; i < sizeof widths/sizeof *widths; i++)
    for (int level = 0; level < 3; level++) {
      if (!fixture_machine_has(level)) { if (!i) printf("\nskipped: %s, this machine lacks it\n", levels[level]); continue; }
      Built b;
      CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), widths[i][0], widths[i][1]));
      Target target = {.triple = "x86_64-linux-gnu", .cpus = &levels[level], .n_cpus = 1, .level = 2};
      Output out;
      CU_ASSERT_FATAL(emit(&b, &target, EMIT_OBJECT, &out));
      void *so = object_load(out.data, out.size, arena_printf(b.arena, "flow-%d-%zu", level, i));
      CU_ASSERT_PTR_NOT_NULL_FATAL(so);
      bool good = agrees(dlsym(so, "flow_rule"), &b, 1);
      if (!good) printf("\n%s, %u lanes, unrolled %u\n", levels[level], widths[i][0], widths[i][1]);
      CU_ASSERT(good);
      dlclose(so);
      arena_free(b.arena);
    }
}

static void test_code_generation_level_0_and_the_native_cpu_give_the_same_bits(void) {
  for (int level = 0; level < 3; level += 2) {
    Built b;
    CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
    Target target = {.level = level};
    Output out;
    CU_ASSERT_FATAL(emit(&b, &target, EMIT_OBJECT, &out));
    void *so = object_load(out.data, out.size, level ? "native2" : "native0");
    CU_ASSERT_PTR_NOT_NULL_FATAL(so);
    CU_ASSERT(agrees(dlsym(so, "flow_rule"), &b, 1));
    dlclose(so);
    arena_free(b.arena);
  }
}

static Output emit_all_variants(Built *b) {
  static Target target;
  target = (Target){.triple = "x86_64-linux-gnu", .cpus = levels, .n_cpus = 3, .level = 2, .with_driver = true};
  Output out = {0};
  CU_ASSERT_FATAL(build_in(b, arena_new(NULL, 0), 16, 2));
  CU_ASSERT_FATAL(emit(b, &target, EMIT_OBJECT, &out));
  return out;
}

static void test_one_object_holds_three_variants_each_with_the_same_bits(void) {
  Built b;
  Output out = emit_all_variants(&b);
  void *so = object_load(out.data, out.size, "three");
  CU_ASSERT_PTR_NOT_NULL_FATAL(so);
  for (int level = 0; level < 3; level++) if (fixture_machine_has(level)) CU_ASSERT(agrees(dlsym(so, "flow_rule"), &b, level + 1));
  dlclose(so);
  arena_free(b.arena);
}

static void test_the_object_has_the_whole_c_interface_and_needs_nothing(void) {
  Built b;
  Output out = emit_all_variants(&b);
  void *so = object_load(out.data, out.size, "whole");
  CU_ASSERT_PTR_NOT_NULL_FATAL(so);
  CU_ASSERT_EQUAL(scratch_run("test -z \"$(nm -u whole.o)\""), 0);
  CU_ASSERT_EQUAL(scratch_run("test \"$(nm -g --defined-only whole.o | awk '{print $3}' | grep -v '^flow_')\" = ''"), 0);
  CU_ASSERT_EQUAL(scratch_run("! readelf -S whole.o | grep -q eh_frame && readelf -S whole.o | grep -q GNU-stack"), 0);
  int (*step)(const void *) = (int (*)(const void *))dlsym(so, "flow_step"), (*init)(const void *) = (int (*)(const void *))dlsym(so, "flow_init");
  int (*check)(const void *) = (int (*)(const void *))dlsym(so, "flow_check"), (*phase)(int, const void *) = (int (*)(int, const void *))dlsym(so, "flow_phase");
  int (*layout)(const void *, int64_t, optc_state_info *) = (int (*)(const void *, int64_t, optc_state_info *))dlsym(so, "flow_layout");
  size_t (*size)(const void *) = (size_t (*)(const void *))dlsym(so, "flow_workspace_size");
  const int *phases = dlsym(so, "flow_phases");
  CU_ASSERT_FATAL(step && init && check && phase && layout && size && phases);
  const optc_rule_desc *rule = dlsym(so, "flow_rule"), *oracle = interpreted(rule, &b);
  World x, y;
  open_world(&x, rule);
  open_world(&y, rule);
  CU_ASSERT_EQUAL(size(&x.call), y.call.workspace_size);
  CU_ASSERT_EQUAL(check(&x.call), OPTC_OK);
  CU_ASSERT_EQUAL(*phases, 1);
  CU_ASSERT_EQUAL(step(&x.call), optc_drive(oracle, 2, &y.call, NULL));
  CU_ASSERT_EQUAL(x.global.t, 10);
  CU_ASSERT_EQUAL(phase(0, &x.call), optc_drive(oracle, 2, &y.call, NULL));
  CU_ASSERT_EQUAL(x.global.t, 11);
  static const int wrong[] = {1, 9, -1, INT32_MIN, INT32_MAX};
  optc_call call = x.call;
  for (size_t i = 0; i < sizeof wrong/sizeof *wrong; i++) {
    optc_error error = {.code = -1};
    call.error = &error;
    CU_ASSERT_EQUAL(phase(wrong[i], &call), OPTC_E_SHAPE);
    CU_ASSERT(error.code == OPTC_E_SHAPE && error.item == -1 && error.text && strstr(error.text, "phase"));
    error.code = -1;
    call.size--;                                                       /* where `error` lies is not known then */
    CU_ASSERT(phase(wrong[i], &call) == OPTC_E_SIZE && error.code == -1 && phase(wrong[i], NULL) == OPTC_E_NULL);
    call.size++;
  }
  CU_ASSERT(same(&x, &y));
  CU_ASSERT_EQUAL(init(&x.call), optc_drive(oracle, 0, &y.call, NULL));
  CU_ASSERT(same(&x, &y));
  optc_state_info info[3];
  CU_ASSERT_EQUAL(layout(&x.call, 3, info), OPTC_OK);
  CU_ASSERT(info[0].exists == 0 && info[0].rank == 2 && info[0].count == 33 && info[0].bytes == 66 && !strcmp(info[0].type, "f16") && !strcmp(info[0].external, "exp_avg"));
  CU_ASSERT(info[1].exists == 1 && info[1].scope == 1 && info[2].scope == 2);
  CU_ASSERT_EQUAL(layout(&x.call, 4, info), OPTC_OK);
  CU_ASSERT_EQUAL(info[0].exists, 1);
  close_world(&x);
  close_world(&y);
  dlclose(so);
  arena_free(b.arena);
}

static void test_the_table_says_what_each_entry_does_with_each_operand(void) {
  Built b;
  CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
  static const int64_t want[N_OPERANDS] = {[P] = 3, [G] = 1 | 4, [H] = 1, [C] = 1, [O] = 2 | 4, [M] = 3 | 4, [COUNT] = 3, [FLAG] = 1, [SUM] = 3};
  const int64_t *uses = describe_uses(b.programs[2], b.arena);
  for (int k = 0; k < N_OPERANDS; k++) CU_ASSERT_EQUAL(uses[k], want[k]);
  arena_free(b.arena);
}

static const char user[] =
  "#include \"flow.h\"\n#include \"flow.h\"\n"
  "static const flow_hyper standard = flow_HYPER_DEFAULTS;\n"
  "int main(void) {\n"
  "  float p[3] = {1, 2, 3}, g[3] = {4, 5, 6}; unsigned char c[3] = {1, 0, 1}; int64_t o[3]; uint16_t m[3] = {0, 0, 0};\n"
  "  const int64_t shape[1] = {3};\n  static char space[4096];\n"
  "  flow_hyper h = standard; flow_item item; flow_global global; flow_call call; optc_error error; optc_state_info info[flow_N_STATES];\n"
  "  item.p.data = p; item.g.data = g; item.h.data = 0; item.c.data = c; item.o.data = o; item.m.data = m;\n"
  "  item.p.stride = item.g.stride = item.h.stride = item.c.stride = item.o.stride = item.m.stride = 0;\n"
  "  item.count_ = 0; item.flag = 1; item.group = 0; item.rank = 1; item.shape = shape; item.first = 0; item.count = 0;\n"
  "  global.t = 0; global.seed = 1; global.t_ = 0;\n  h.default_ = 1;\n"
  "  call.size = sizeof call; call.groups = &h; call.n_groups = 1; call.items = &item; call.n_items = 1; call.first_item = 0; call.global = &global;\n"
  "  call.workspace = space; call.workspace_size = sizeof space; call.parallel = 0; call.error = &error;\n"
  "  if (h.a != 0.1 || h.times != 5) return 2;\n"
  "  if (flow_workspace_size(&call) > sizeof space || flow_check(&call) || flow_layout(&call, 0, info) || !info[0].exists) return 3;\n"
  "  if (flow_init(&call) || m[1] != 0x3c00 || flow_phases != 1) return 4;\n"
  "  if (flow_phase(9, &call) != OPTC_E_SHAPE || error.code != OPTC_E_SHAPE || flow_phase(-1, &call) != OPTC_E_SHAPE) return 5;\n"
  "  return flow_step(&call) == OPTC_OK && global.t == 1 && p[0] != 1 ? 0 : 1;\n}\n";

static void test_the_header_compiles_as_c99_and_cxx11_and_fits_its_object_only(void) {
  Built b;
  Output out = emit_all_variants(&b);
  Text header = {.arena = b.arena};
  backend_header(&b.module, b.programs, 3, "sm_80,sm_90", &header);
  CU_ASSERT_FATAL(scratch_write("flow.h", header.data, header.length) && scratch_write("user.c", user, strlen(user)) && scratch_write("flow.o", out.data, out.size));
  CU_ASSERT_EQUAL(scratch_run("cc -std=c99 -pedantic -Wall -Wextra -Wconversion -Werror user.c flow.o -o user99 && ./user99"), 0);
  CU_ASSERT_EQUAL(scratch_run("cc -std=c99 -O2 -fPIE -pie user.c flow.o -o user-pie && ./user-pie && cc -static user.c flow.o -o user-static && ./user-static"), 0);
  CU_ASSERT_EQUAL(scratch_run("g++ -x c++ -std=c++11 -pedantic -Wall -Wextra -Werror -c user.c -o user++.o && g++ user++.o flow.o -o user++ && ./user++"), 0);
  CU_ASSERT_EQUAL(scratch_run("cc -shared -Wl,-z,now -Wl,-z,text flow.o -o libflow.so && cc user.c ./libflow.so -o user-so && ./user-so"), 0);
  CU_ASSERT_NOT_EQUAL(scratch_run("sed 's/flow_abi_[0-9a-f]\\{16\\}/flow_abi_0123456789abcdef/g' flow.h > other.h && sed 's/flow[.]h/other.h/' user.c > other.c && cc other.c flow.o -o other 2> link.log"), 0);
  CU_ASSERT_EQUAL(scratch_run("grep -q 'undefined reference to .flow_abi_0123456789abcdef' link.log"), 0);
  CU_ASSERT_PTR_NOT_NULL(strstr(header.data, "default 0.1"));
  CU_ASSERT_PTR_NOT_NULL(strstr(header.data, "in checkpoints: exp_avg"));
  arena_free(b.arena);
}

/* --- tensors whose shape is the caller's ------------------------------------------------------------------------------------------------ */

static const char shaped_text[] =
  "module \"mix\"\n"
  "operand Q in tensor f32 [size(Q, 0), size(Q, 1)]\noperand w in tensor bf16 [size(Q, 1), 3] optional\noperand q in global f32 [256]\noperand s state tensor f32 [size(Q, 0)]\n"
  "operand O out tensor f32 [size(Q, 0), 3]\noperand loss out tensor f32 []\n"
  "graph forward {\n}\n";
static const char shaped_user[] =
  "#include \"mix.h\"\n"
  "int main(void) {\n"
  "  static float q[4], o[6]; static const int64_t shape[2] = {2, 2}, out[2] = {2, 3}, table[1] = {256};\n"
  "  mix_item item; mix_global global;\n"
  "  item.Q.data = q; item.Q.stride = 0; item.Q.shape = shape; item.Q.rank = 2; item.w.data = 0; item.s.data = 0; item.s.stride = 0;\n"
  "  item.O.data = o; item.O.shape = out; item.O.rank = 2; item.loss.shape = 0; item.loss.rank = 0;\n"
  "  global.q.shape = table; global.q.rank = 1;\n"
  "  return item.Q.rank + global.q.rank == 3 ? 0 : 1;\n}\n";

static void test_the_header_shows_shapes_as_the_rule_writes_them(void) {
  Arena *a = arena_new(NULL, 0);
  Diag *diag = diag_new(a, 0);
  Module *m = module_parse(a, diag, &(Source){"mix", shaped_text, strlen(shaped_text)});
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  m->operands[0].shape_text = "[N, D]";
  m->operands[4].shape_text = "[N, 3]";
  Text header = {.arena = a};
  backend_header(m, NULL, 0, NULL, &header);
  static const char *const has[] = {
    "optc_shaped Q;  /* in, f32 [N, D], only read */", "optc_shaped w;  /* in, bf16 [Q1, 3], only read, may be absent (data NULL) */", "optc_shaped q;  /* in, f32 [256], only read */",
    "optc_tensor s;  /* state, f32 [Q0], dense, as large as mix_layout says */", "optc_shaped O;  /* out, f32 [N, 3], data NULL: not wanted */", "optc_shaped loss;  /* out, f32 []",
    "/* One problem of the list.", "axis 1 of tensor 'K' is {}, G is {}"};
  for (size_t i = 0; i < sizeof has/sizeof *has; i++) {
    CU_ASSERT_PTR_NOT_NULL(strstr(header.data, has[i]));
    if (!strstr(header.data, has[i])) printf("\n  no '%s'", has[i]);
  }
  CU_ASSERT_FATAL(scratch_write("mix.h", header.data, header.length) && scratch_write("mix.c", shaped_user, strlen(shaped_user)));
  CU_ASSERT_EQUAL(scratch_run("sed -i /mix_abi/d mix.h && cc -std=c99 -pedantic -Wall -Wextra -Wconversion -Werror mix.c -o mix && ./mix"), 0);
  CU_ASSERT_EQUAL(scratch_run("g++ -x c++ -std=c++11 -pedantic -Wall -Wextra -Werror -fsyntax-only mix.c"), 0);
  const Layout *l = layout_of(m);
  CU_ASSERT(l->operand[0] == 0 && l->operand[1] == 32 && l->operand[3] == 64 && l->operand[4] == 80 && l->operand[5] == 112 && l->item_group == 144 && l->operand[2] == 16 && l->global_size == 48);
  uint64_t hash = backend_abi_hash(m);
  m->operands[3].role = ROLE_IN;
  CU_ASSERT_NOT_EQUAL(backend_abi_hash(m), hash);
  arena_free(a);
}

static void test_the_hash_follows_the_interface(void) {
  Built b;
  CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
  uint64_t first = backend_abi_hash(&b.module);
  CU_ASSERT_EQUAL(first, backend_abi_hash(&b.module));
  Operand changed[N_OPERANDS];
  memcpy(changed, operands, sizeof changed);
  b.module.operands = changed;
  changed[M].storage = TYPE_BF16;
  CU_ASSERT_NOT_EQUAL(first, backend_abi_hash(&b.module));
  changed[M].storage = TYPE_F16;
  changed[M].doc = "other words";
  CU_ASSERT_EQUAL(first, backend_abi_hash(&b.module));
  changed[M].name = "mm";
  CU_ASSERT_NOT_EQUAL(first, backend_abi_hash(&b.module));
  arena_free(b.arena);
}

/* Of what `update` loads, p, c and w are there whatever happens: 32 elements of 4, 1 and 8 bytes are 2, 1 and 4 cache lines. */
static void test_loops_ask_ahead_for_what_they_are_sure_to_load(void) {
  static const struct { const char *triple; unsigned lines; } machines[] = {{"x86_64-linux-gnu", 7}, {"aarch64-linux-gnu", 0}};
  for (size_t i = 0; i < 2; i++) {
    Built b;
    CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
    Target target = {.triple = machines[i].triple, .level = 2};
    Output out;
    CU_ASSERT_FATAL(emit(&b, &target, EMIT_LLVM_IR, &out));
    unsigned lines = 0;
    for (const char *at = (const char *)out.data; (at = strstr(at, "call void @llvm.prefetch")); at++) lines++;
    CU_ASSERT_EQUAL(lines, machines[i].lines);
    arena_free(b.arena);
  }
}

static void test_every_form_of_output_can_be_had(void) {
  static const struct { Emit form; const char *has; } wanted[] = {{EMIT_ASSEMBLY, "flow_step:"}, {EMIT_LLVM_IR, "@flow_rule = "}, {EMIT_BITCODE, "BC\xc0\xde"}, {EMIT_OBJECT, "\x7f" "ELF"}};
  for (size_t i = 0; i < 4; i++) {
    Built b;
    CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
    Target target = {.triple = "x86_64-linux-gnu", .cpus = levels, .n_cpus = 3, .level = 2, .with_driver = true};
    Output out;
    CU_ASSERT_FATAL(emit(&b, &target, wanted[i].form, &out));
    CU_ASSERT(i < 2 ? strstr((const char *)out.data, wanted[i].has) != NULL : !memcmp(out.data, wanted[i].has, 4));
    CU_ASSERT_EQUAL(out.data[out.size], 0);
    if (!i) {
      scratch_write("flow.s", out.data, out.size);
      CU_ASSERT_EQUAL(scratch_run("cc -c flow.s -o from-s.o && test -z \"$(nm -u from-s.o)\""), 0);
    }
    if (i == 1) {
      scratch_write("flow.ll", out.data, out.size);
      CU_ASSERT_EQUAL(scratch_run("clang-19 -fPIC -c flow.ll -o from-ll.o && test -z \"$(nm -u from-ll.o)\" && nm from-ll.o | grep -q 'T flow_step'"), 0);
    }
    if (i < 2) {                                                       /* a reader sees the rule's kernels first */
      const char *kernel = strstr((const char *)out.data, "flow_step_update_x86_64_v2"), *interface = strstr((const char *)out.data, "flow_workspace_size");
      const char *driver = strstr((const char *)out.data, ".Loptc_driver");
      CU_ASSERT(kernel && interface && driver && kernel < interface && interface < driver);
    }
    arena_free(b.arena);
  }
}

static void test_equal_kernels_are_one_function_and_kernels_that_differ_in_a_number_are_not(void) {
  static const char text[] =
    "program init {\n  kernel one item {\n    %0 = const i64 0x7\n    set_scalar count@6, %0\n  }\n  kernel two item {\n    %0 = const i64 0x8\n    set_scalar count@6, %0\n  }\n"
    "  kernel three item {\n    %0 = const i64 0x7\n    set_scalar count@6, %0\n  }\n}\n";
  Built b;
  CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
  b.programs[0] = parse(&b, text, 1, 1);
  Target target = {.triple = "x86_64-linux-gnu", .level = 2};
  Output out;
  CU_ASSERT_FATAL(b.programs[0] && emit(&b, &target, EMIT_OBJECT, &out));
  void *so = object_load(out.data, out.size, "equal");
  CU_ASSERT_PTR_NOT_NULL_FATAL(so);
  const optc_rule_desc *rule = dlsym(so, "flow_rule");
  const optc_kernel_desc *k = rule->entries[0].kernels;
  CU_ASSERT(k[0].fn[0] != k[1].fn[0] && k[0].fn[0] == k[2].fn[0]);
  CU_ASSERT(rule->entries[2].kernels[0].fn[0] != k[0].fn[0]);
  dlclose(so);
  arena_free(b.arena);
}

static unsigned count_of(const char *text, const char *what) {
  unsigned n = 0;
  for (; (text = strstr(text, what)); text++) n++;
  return n;
}

/* Two sweeps that read two temporaries, or operands, and write one: with another number in the head, and another constant in the loop. */
#define SWEEP(name, head, factor, x, y, to) \
  "  kernel " name " tile 0 {\n    %0 = begin i64\n    %1 = end i64\n    %2 = " head "\n    %3 = cast f32 %2\n    %4 = const f32 " factor "\n" \
  "    %5 = for %0 to %1 vector(16, 2) {\n      %6 = load f32 " x ", %5\n      %7 = mul f32 %6, %3\n      %8 = add f32 %7, %4\n" \
  "      %9 = load f32 " y ", %5\n      %10 = add f32 %8, %9\n      store " to ", %5, %10\n      yield\n    }\n  }\n"
#define FIRST SWEEP("one", "hyper i64 times@1", "0x3f800000", "u@9", "g@1", "v@10")
#define TURNED SWEEP("one", "hyper i64 times@1", "0x3f800000", "u@9", "v@10", "u@9")
static void test_kernels_that_differ_in_temporaries_and_numbers_of_the_head_share_a_function(void) {
  static const struct { const char *text; unsigned functions, calls; } cases[] = {
    {FIRST SWEEP("two", "size i64 p@0, 0", "0x3f800000", "v@10", "g@1", "u@9"), 1, 2},
    {FIRST SWEEP("two", "hyper f64 a@0", "0x3f800000", "u@9", "g@1", "v@10"), 1, 2},
    {FIRST SWEEP("two", "size i64 p@0, 0", "0x40000000", "u@9", "g@1", "v@10"), 0, 0},
    {FIRST SWEEP("two", "size i64 p@0, 0", "0x3f800000", "u@9", "p@0", "v@10"), 0, 0},            /* operands are no arguments */
    {TURNED SWEEP("two", "size i64 p@0, 0", "0x3f800000", "v@10", "u@9", "v@10"), 1, 2},
    {TURNED SWEEP("two", "size i64 p@0, 0", "0x3f800000", "v@10", "u@9", "u@9"), 0, 0},           /* another of the two is written */
  };
  for (unsigned i = 0; i < sizeof cases/sizeof *cases; i++) {
    Built b;
    CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
    char text[4000];
    snprintf(text, sizeof text, "program step {\n  spaces 1\n  temp u: f32\n  temp v: f32\n%s}\n", cases[i].text);
    b.programs[0] = parse(&b, text, 1, 1);
    Target target = {.triple = "x86_64-linux-gnu", .level = 2};
    Output out;
    CU_ASSERT_FATAL(b.programs[0] && emit(&b, &target, EMIT_LLVM_IR, &out));
    unsigned functions = count_of((const char *)out.data, "_for_all(") - count_of((const char *)out.data, "call void @flow_step_one"), calls = count_of((const char *)out.data, "call void @flow_step_one");
    if (functions != cases[i].functions || calls != cases[i].calls) printf("\ncase %u: %u functions, %u calls\n", i, functions, calls);
    CU_ASSERT(functions == cases[i].functions && calls == cases[i].calls);
    arena_free(b.arena);
  }
}

static void test_two_emissions_of_one_rule_are_one_file(void) {
  Built x, y;
  Output a = emit_all_variants(&x), b = emit_all_variants(&y);
  CU_ASSERT(a.size == b.size && !memcmp(a.data, b.data, a.size));
  arena_free(x.arena);
  arena_free(y.arena);
}

/* --- aarch64 and PTX ------------------------------------------------------------------------------------------------------------------------ */

static void test_the_interface_works_on_aarch64_under_emulation(void) {
  if (!command_exists("aarch64-linux-gnu-gcc") || !command_exists("qemu-aarch64")) { printf("\nskipped: aarch64, no cross compiler or emulator\n"); return; }
  Built b;
  CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 8, 2));
  Target target = {.triple = "aarch64-linux-gnu", .level = 2, .with_driver = true};
  Output out;
  CU_ASSERT_FATAL(emit(&b, &target, EMIT_OBJECT, &out));
  Text header = {.arena = b.arena};
  backend_header(&b.module, b.programs, 3, NULL, &header);
  CU_ASSERT_FATAL(scratch_write("flow.h", header.data, header.length) && scratch_write("user.c", user, strlen(user)) && scratch_write("arm.o", out.data, out.size));
  CU_ASSERT_EQUAL(scratch_run("test -z \"$(aarch64-linux-gnu-nm -u arm.o)\""), 0);
  CU_ASSERT_EQUAL(scratch_run("aarch64-linux-gnu-gcc -static user.c arm.o -o user-arm && qemu-aarch64 ./user-arm"), 0);
  CU_ASSERT_EQUAL(scratch_run("aarch64-linux-gnu-gcc -shared -Wl,-z,text arm.o -o libarm.so"), 0);
  arena_free(b.arena);
}

static void test_the_rule_becomes_ptx_for_each_gpu(void) {
  static const char *const gpus[] = {"sm_70", "sm_80", "sm_90"};
  for (unsigned g = 0; g < 3; g++) {
    Built b;
    CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
    Target target = {.triple = "nvptx64-nvidia-cuda", .cpus = &gpus[g], .n_cpus = 1, .level = 2};
    Output out;
    CU_ASSERT_FATAL(emit(&b, &target, EMIT_PTX, &out));
    CU_ASSERT_PTR_NOT_NULL(strstr((const char *)out.data, ".visible .entry flow_step_update("));
    CU_ASSERT_PTR_NULL(strstr((const char *)out.data, "fma.rn"));
    scratch_write("flow.ptx", out.data, out.size);
    const char *ptxas = assembler_for(gpus[g]);
    if (ptxas) CU_ASSERT_EQUAL(scratch_run("'%s' -arch=%s flow.ptx -o flow.cubin", ptxas, gpus[g]), 0);
    arena_free(b.arena);
  }
}

/* --- refusals ---------------------------------------------------------------------------------------------------------------------------------- */

static void refuse(const Target *target, const char *words) {
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  CU_ASSERT_FALSE(backend_check_target(a, target, d));
  CU_ASSERT_EQUAL_FATAL(diag_errors(d), 1);
  CU_ASSERT_PTR_NOT_NULL(strstr(diag_get(d, 0)->text, words));
  if (!strstr(diag_get(d, 0)->text, words)) printf("\n%s\n", diag_get(d, 0)->text);
  arena_free(a);
}

static void test_unknown_targets_cpus_and_features_are_named(void) {
  refuse(&(Target){.triple = "riscv64-linux-gnu"}, "unknown target 'riscv64-linux-gnu'");
  refuse(&(Target){.triple = "x86_64-linux-gnus"}, "did you mean 'x86_64-linux-gnu'");
  refuse(&(Target){.triple = "x86_64-linux-gnu", .cpus = (const char *[]){"x86-64-v5"}, .n_cpus = 1}, "did you mean 'x86-64-v");
  refuse(&(Target){.triple = "x86_64-linux-gnu", .cpus = (const char *[]){"neoverse-n1"}, .n_cpus = 1}, "unknown cpu 'neoverse-n1'");
  refuse(&(Target){.triple = "x86_64-linux-gnu", .features = "+avx3"}, "unknown target feature '+avx3'");
  refuse(&(Target){.triple = "x86_64-linux-gnu", .features = "avx"}, "unknown target feature 'avx'");
  refuse(&(Target){.triple = "x86_64-linux-gnu", .cpus = (const char *[]){"x86-64-v3", "x86-64-v2"}, .n_cpus = 2}, "lowest first");
  refuse(&(Target){.triple = "x86_64-linux-gnu", .cpus = (const char *[]){"x86-64-v2", "znver3"}, .n_cpus = 2}, "several variants");
  refuse(&(Target){.triple = "x86_64-linux-gnu", .cpus = levels, .n_cpus = 5}, "at most 4");
  refuse(&(Target){.triple = "aarch64-linux-gnu", .cpus = (const char *[]){"native"}, .n_cpus = 1}, "needs a target of this machine");
  Arena *a = arena_new(NULL, 0);
  Diag *d = diag_new(a, 0);
  CU_ASSERT(backend_check_target(a, &(Target){0}, d));
  CU_ASSERT(backend_check_target(a, &(Target){.triple = "x86_64-linux-gnu", .features = "+avx512bf16,-fma"}, d));
  Text out = {.arena = a};
  backend_print_targets(&out);
  CU_ASSERT(strstr(out.data, "x86-64-v3") && strstr(out.data, "sm_80") && strstr(out.data, "aarch64-linux-gnu"));
  arena_free(a);
}

static void test_entries_that_the_interface_cannot_hold_are_refused(void) {
  Built b;
  CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
  Target target = {.triple = "x86_64-linux-gnu", .level = 2, .with_driver = true};
  Output out;
  b.programs[2]->entry = "check";
  CU_ASSERT_FALSE(backend_emit(b.arena, b.diag, &b.module, b.programs, 3, &target, EMIT_OBJECT, &out));
  b.programs[2]->entry = "step";
  b.programs[2]->n_uniforms = OPTC_MAX_UNIFORMS + 1;
  CU_ASSERT_FALSE(backend_emit(b.arena, b.diag, &b.module, b.programs, 3, &target, EMIT_OBJECT, &out));
  CU_ASSERT_EQUAL(diag_errors(b.diag), 2);
  arena_free(b.arena);
}

/* Every R_<name> of a header is an entry or a name that no entry can have. */
static void test_no_entry_can_have_a_name_of_the_header(void) {
  Built b;
  CU_ASSERT_FATAL(build_in(&b, arena_new(NULL, 0), 16, 2));
  Text header = {.arena = b.arena};
  backend_header(&b.module, b.programs, 3, "sm_80", &header);
  unsigned names = 0;
  for (const char *at = header.data; (at = strstr(at, "flow_")); names++) {
    bool inside = at[-1] == '_';                                       /* of the include guard */
    at += strlen("flow_");
    const char *name = arena_strndup(b.arena, at, strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"));
    bool known = inside || interface_has_name(name) || entry_is_made(name) || !strncmp(name, "abi_", 4);
    CU_ASSERT(known);
    if (!known) printf("\nflow_%s\n", name);
  }
  CU_ASSERT(names > 30 && !interface_has_name("decay") && !entry_is_made("decay"));
  arena_free(b.arena);
}

static void emit_work(Arena *a, void *self) {
  Built b;
  Output out;
  Target target = {.triple = "x86_64-linux-gnu", .level = 0, .with_driver = true};
  if (!build_in(&b, a, 4, 1) || !backend_emit(a, b.diag, &b.module, b.programs, 3, &target, EMIT_OBJECT, &out)) abort();
  Text header = {.arena = a};
  backend_header(&b.module, b.programs, 3, NULL, &header);
}

static void test_emission_survives_every_failing_allocation(void) {
  CU_ASSERT_NOT_EQUAL(failing_allocator_try_all(emit_work, NULL, 5000), 0);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(test_control_flow_guards_and_scalars_agree_with_the_interpreter_at_every_width),
    TEST(test_code_generation_level_0_and_the_native_cpu_give_the_same_bits),
    TEST(test_one_object_holds_three_variants_each_with_the_same_bits),
    TEST(test_the_object_has_the_whole_c_interface_and_needs_nothing),
    TEST(test_the_table_says_what_each_entry_does_with_each_operand),
    TEST(test_the_header_shows_shapes_as_the_rule_writes_them),
    TEST(test_the_header_compiles_as_c99_and_cxx11_and_fits_its_object_only),
    TEST(test_the_hash_follows_the_interface),
    TEST(test_loops_ask_ahead_for_what_they_are_sure_to_load), TEST(test_every_form_of_output_can_be_had),
    TEST(test_equal_kernels_are_one_function_and_kernels_that_differ_in_a_number_are_not),
    TEST(test_kernels_that_differ_in_temporaries_and_numbers_of_the_head_share_a_function), TEST(test_two_emissions_of_one_rule_are_one_file),
    TEST(test_the_interface_works_on_aarch64_under_emulation),
    TEST(test_the_rule_becomes_ptx_for_each_gpu),
    TEST(test_unknown_targets_cpus_and_features_are_named),
    TEST(test_entries_that_the_interface_cannot_hold_are_refused),
    TEST(test_no_entry_can_have_a_name_of_the_header),
    TEST(test_emission_survives_every_failing_allocation),
  };
  return suite_run("rules as objects", tests);
}
