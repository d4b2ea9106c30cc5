/* backends_fold_test.c: reductions inside loops: interpreter, scalar code and vectors of every width give the bits of the language's order. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/backend.h"
#include "ir/interpret.h"
#include "tests/support/fixture.h"
#include "tests/support/object_file.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

/* --- the order, in plain C ------------------------------------------------------------------------------------------------------------- */

/* NAME(x, on, n): positions 0..n-1 of x, those where on[i] is 0 left out (on NULL: all). */
#define REFERENCE(NAME, T, IDENTITY, PAIR) \
  static T NAME##_pair(T a, T b) { return PAIR; } \
  static T NAME##_block(const T *x, const uint8_t *on, int64_t n) { \
    T lane[16]; \
    for (int l = 0; l < 16; l++) lane[l] = IDENTITY; \
    for (int64_t i = 0; i < n; i++) if (!on || on[i]) lane[i % 16] = NAME##_pair(lane[i % 16], x[i]); \
    for (int half = 8; half; half /= 2) for (int l = 0; l < half; l++) lane[l] = NAME##_pair(lane[l], lane[l + half]); \
    return lane[0]; \
  } \
  static T NAME(const T *x, const uint8_t *on, int64_t n) { \
    int64_t blocks = (n + 1023)/1024; \
    if (!n) return IDENTITY; \
    T *level = malloc((size_t)blocks*sizeof *level); \
    for (int64_t b = 0; b < blocks; b++) level[b] = NAME##_block(x + 1024*b, on ? on + 1024*b : NULL, n - 1024*b < 1024 ? n - 1024*b : 1024); \
    for (; blocks > 1; blocks = (blocks + 1)/2) \
      for (int64_t b = 0; b < blocks; b += 2) level[b/2] = b + 1 < blocks ? NAME##_pair(level[b], level[b + 1]) : level[b]; \
    T made = level[0]; \
    free(level); \
    return made; \
  }
REFERENCE(sum_f32, float, 0, a + b)
REFERENCE(prod_f32, float, 1, a * b)
REFERENCE(max_f32, float, -INFINITY, isnan(a) || isnan(b) ? NAN : a > b || (a == b && signbit(b)) ? a : b)
REFERENCE(min_f32, float, INFINITY, isnan(a) || isnan(b) ? NAN : a < b || (a == b && signbit(a)) ? a : b)
REFERENCE(sum_f64, double, 0, a + b)
REFERENCE(max_f64, double, -INFINITY, isnan(a) || isnan(b) ? NAN : a > b || (a == b && signbit(b)) ? a : b)
REFERENCE(sum_i64, uint64_t, 0, a + b)
REFERENCE(min_i64, int64_t, INT64_MAX, a < b ? a : b)
REFERENCE(max_i64, int64_t, INT64_MIN, a > b ? a : b)
REFERENCE(prod_i32, uint32_t, 1, a * b)
REFERENCE(any, uint8_t, 0, a | b)
REFERENCE(every, uint8_t, 1, a & b)

/* --- a rule of folds --------------------------------------------------------------------------------------------------------------------- */

static Operand operands[] = {
  {.name = "p", .role = ROLE_PARAM, .storage = TYPE_F32, .item_shape = true}, {.name = "x", .role = ROLE_IN, .storage = TYPE_F32, .item_shape = true},
  {.name = "h", .role = ROLE_IN, .storage = TYPE_BF16, .item_shape = true, .optional = true}, {.name = "c", .role = ROLE_IN, .storage = TYPE_BOOL, .item_shape = true},
  {.name = "d", .role = ROLE_IN, .storage = TYPE_F64, .item_shape = true}, {.name = "l", .role = ROLE_IN, .storage = TYPE_I64, .item_shape = true},
  {.name = "of", .role = ROLE_OUT, .storage = TYPE_F32, .item_shape = true}, {.name = "od", .role = ROLE_OUT, .storage = TYPE_F64, .item_shape = true},
  {.name = "ol", .role = ROLE_OUT, .storage = TYPE_I64, .item_shape = true}, {.name = "ob", .role = ROLE_OUT, .storage = TYPE_BOOL, .item_shape = true}};
enum { P, X, H, C, D, L, OF, OD, OL, OB, N_OPERANDS };

/* `many`: sixteen folds of every kind and type in one sweep that only reads. `one`: the common case. `writes`: a fold of what the loop stores, over
 * half of the positions, whose loads have guards too; a loop whose guard never holds. `rows`: a loop in a loop, around which a value is carried.
 * `moved`: memory at other places than the index. */
static const char text[] =
"program step {\n"
"  kernel many item {\n    %0 = begin i64\n    %1 = end i64\n    %2 = for %0 to %1 BINDING {\n"
"      %3 = load f32 x@1, %2\n      %4 = load bool c@3, %2\n      %5 = mul f32 %3, %3\n      fold 0 sum, %5\n      fold 1 sum, %3, %4\n"
"      %8 = load f32 p@0, %2\n      fold 2 prod, %8\n      fold 3 max, %3, %4\n      fold 4 min, %3\n      fold 5 max, %3\n"
"      %13 = load bf16 h@2, %2, %4\n      %14 = cast f32 %13\n      fold 6 sum, %14\n      %16 = load f64 d@4, %2\n      fold 7 sum, %16\n      fold 8 max, %16, %4\n"
"      %19 = load i64 l@5, %2\n      fold 9 sum, %19\n      fold 10 min, %19, %4\n      fold 11 max, %19\n      %23 = cast i32 %19\n      fold 12 prod, %23, %4\n"
"      %25 = const i64 0x3e8  # 1000\n      %26 = lt bool %19, %25\n      fold 13 any, %4\n      fold 14 every, %4\n      fold 15 every, %26, %4\n      yield\n    }\n"
"    %31 = const i64 0x0  # 0\n    %32 = const i64 0x1  # 1\n    %33 = const i64 0x2  # 2\n    %34 = const i64 0x3  # 3\n    %35 = const i64 0x4  # 4\n    %36 = const i64 0x5  # 5\n    %37 = const i64 0x6  # 6\n"
"    %38 = folded f32 0, %2\n    store of@6, %31, %38\n    %40 = folded f32 1, %2\n    store of@6, %32, %40\n    %42 = folded f32 2, %2\n    store of@6, %33, %42\n"
"    %44 = folded f32 3, %2\n    store of@6, %34, %44\n    %46 = folded f32 4, %2\n    store of@6, %35, %46\n    %48 = folded f32 5, %2\n    store of@6, %36, %48\n"
"    %50 = folded f32 6, %2\n    store of@6, %37, %50\n    %52 = folded f64 7, %2\n    store od@7, %31, %52\n    %54 = folded f64 8, %2\n    store od@7, %32, %54\n"
"    %56 = folded i64 9, %2\n    store ol@8, %31, %56\n    %58 = folded i64 10, %2\n    store ol@8, %32, %58\n    %60 = folded i64 11, %2\n    store ol@8, %33, %60\n"
"    %62 = folded i32 12, %2\n    %63 = cast i64 %62\n    store ol@8, %34, %63\n    %65 = folded bool 13, %2\n    store ob@9, %31, %65\n    %67 = folded bool 14, %2\n    store ob@9, %32, %67\n"
"    %69 = folded bool 15, %2\n    store ob@9, %33, %69\n  }\n"
"  kernel one item {\n    %0 = begin i64\n    %1 = end i64\n    %2 = for %0 to %1 BINDING {\n"
"      %3 = load f32 x@1, %2\n      %4 = mul f32 %3, %3\n      fold 0 sum, %4\n      yield\n    }\n"
"    %7 = folded f32 0, %2\n    %8 = const i64 0x0  # 0\n    store of@6, %8, %7\n  }\n"
"  kernel writes item {\n    %0 = begin i64\n    %1 = end i64\n    %2 = const bool 0x0  # 0\n    %3 = for %0 to %1 BINDING {\n"
"      %4 = load bool c@3, %3\n      %5 = load f32 x@1, %3, %4\n      %6 = load f32 p@0, %3\n      %7 = add f32 %6, %5\n      store p@0, %3, %7, %4\n"
"      %9 = load f32 p@0, %3\n      fold 0 sum, %9\n      fold 1 max, %9, %2\n      yield\n    }\n"
"    %13 = folded f32 0, %3\n    %14 = folded f32 1, %3\n    %15 = const i64 0x0  # 0\n    %16 = const i64 0x1  # 1\n    store of@6, %15, %13\n    store of@6, %16, %14\n  }\n"
"  kernel rows item {\n    %0 = begin i64\n    %1 = const i64 0x0  # 0\n    %2 = const i64 0x5  # 5\n    %3 = end i64\n    %4 = for %1 to %2 carry %1 seq {\n"
"      %5 = add i64 %0, %4\n      %6 = for %5 to %3 BINDING {\n        %7 = load i64 l@5, %6\n        %8 = add i64 %7, %4\n        fold 0 max, %8\n        yield\n      }\n"
"      %11 = folded i64 0, %6\n      %12 = carried i64 0, %4\n      %13 = xor i64 %12, %11\n      fold 0 sum, %11\n      yield %13\n    }\n"
"    %16 = carried i64 0, %4\n    store ol@8, %1, %16\n    %18 = folded i64 0, %4\n    %19 = const i64 0x1  # 1\n    store ol@8, %19, %18\n  }\n"
"  kernel moved item {\n    %0 = begin i64\n    %1 = end i64\n    %2 = const i64 0x0  # 0\n    %3 = sub i64 %1, %0\n    %4 = for %2 to %3 BINDING {\n"
"      %5 = add i64 %4, %0\n      %6 = load f32 x@1, %5\n      %7 = load bool c@3, %5\n      fold 0 sum, %6, %7\n"
"      %9 = load bf16 h@2, %4\n      %10 = cast f32 %9\n      fold 1 max, %10\n      yield\n    }\n"
"    %13 = folded f32 0, %4\n    %14 = folded f32 1, %4\n    %15 = const i64 0x1  # 1\n    store of@6, %2, %13\n    store of@6, %15, %14\n  }\n}\n";
enum { MANY, ONE, WRITES, ROWS, MOVED, N_KERNELS };

typedef struct Built { Arena *arena; Diag *diag; Module module; Program *program; } Built;

/* lanes 0: no vectors. */
static bool build(Built *b, unsigned lanes) {
  Arena *a = arena_new(NULL, 0);
  *b = (Built){.arena = a, .diag = diag_new(a, 0)};
  b->module = (Module){.arena = a, .diag = b->diag, .name = "folds", .operands = operands, .n_operands = N_OPERANDS, .has_step = true};
  Text t = {.arena = a};
  for (const char *c = text; *c; c++) {
    if (strncmp(c, "BINDING", 7)) { text_append(&t, c, 1); continue; }
    if (lanes) text_add(&t, "vector(%u, 1)", lanes);
    else text_add(&t, "seq");
    c += 6;
  }
  Source *s = arena_alloc(a, sizeof *s);
  *s = (Source){"rule", t.data, t.length};
  b->program = program_parse(&b->module, a, b->diag, s);
  if (!b->program || !program_verify(b->program, b->diag)) { fixture_show(b->diag, a); return false; }
  Text back = {.arena = a};
  program_print(b->program, &back);
  CU_ASSERT_STRING_EQUAL(back.data, t.data);
  return true;
}

/* --- data ---------------------------------------------------------------------------------------------------------------------------------- */

enum { LOW = 3, MOST = 3*65537, ROOM = LOW + MOST };
typedef enum Sort { NORMAL, TINY, INFINITE, NOT_A_NUMBER, MINUS_ZERO, N_SORTS } Sort;

typedef struct World {
  float p[ROOM], x[ROOM]; uint16_t h[ROOM]; uint8_t c[ROOM]; double d[ROOM]; int64_t l[ROOM];
  float of[8]; double od[8]; int64_t ol[8]; uint8_t ob[8];
} World;

static uint32_t next(uint64_t *seed) { return (uint32_t)next_random(seed); }

static float sample(Sort sort, uint32_t u, int64_t i) {
  float x = ldexpf((float)(int32_t)u, -31 + (int)(u % 9));
  switch (sort) {
    case TINY: return ldexpf((float)(int32_t)(u << 4 >> 12), -149)*(u & 1 ? -1.0f : 1.0f);
    case INFINITE: return i % 4001 == 7 ? INFINITY : x;
    case NOT_A_NUMBER: return i % 3001 == 11 ? NAN : i % 4001 == 7 ? INFINITY : i % 5003 == 13 ? -INFINITY : x;
    case MINUS_ZERO: return i % 9001 == 5 ? 0.0f : -0.0f;
    default: return x;
  }
}

static void fill(World *w, Sort sort) {
  uint64_t seed = 11 + (uint64_t)sort;
  memset(w, 0x55, sizeof *w);
  for (int64_t i = 0; i < ROOM; i++) {
    w->x[i] = sample(sort, next(&seed), i);
    w->p[i] = sort == MINUS_ZERO ? -0.0f : 1 + ldexpf((float)(int32_t)next(&seed), -40);
    w->h[i] = bf16_from_f32(sample(sort, next(&seed), i));
    w->c[i] = sort == INFINITE ? 0 : sort == TINY ? 1 + i % 3 : (uint8_t)(next(&seed) % 3);      /* any byte but 0 is true */
    w->d[i] = (double)sample(sort, next(&seed), i)*(1 + ldexp((double)next(&seed), -60));
    w->l[i] = (int64_t)((uint64_t)next(&seed) << 32 | next(&seed));
    if (sort == TINY) w->l[i] = w->l[i] >> 54 | 1;
  }
}

static optc_frame frame_of(World *w, void **data, int64_t n) {
  void *const all[N_OPERANDS] = {w->p, w->x, w->h, w->c, w->d, w->l, w->of, w->od, w->ol, w->ob};
  memcpy(data, all, sizeof all);
  return (optc_frame){.data = data, .count = ROOM, .begin = LOW, .end = LOW + n};
}

/* What the C above makes of it, in place of kernel k; `absent`: there is no h. */
static void reference(World *w, unsigned k, int64_t n, bool absent) {
  static float square[MOST], half[MOST];
  static uint32_t low[MOST];
  static uint8_t small[MOST], on[MOST];
  const float *x = w->x + LOW;
  for (int64_t i = 0; i < n; i++) {
    square[i] = x[i]*x[i];
    on[i] = w->c[LOW + i] != 0;
    half[i] = on[i] && !absent ? f32_from_bf16(w->h[LOW + i]) : 0;
    low[i] = (uint32_t)w->l[LOW + i];
    small[i] = w->l[LOW + i] < 1000;
  }
  if (k == MANY) {
    float of[7] = {sum_f32(square, NULL, n), sum_f32(x, on, n), prod_f32(w->p + LOW, NULL, n), max_f32(x, on, n), min_f32(x, NULL, n), max_f32(x, NULL, n), sum_f32(half, NULL, n)};
    double od[2] = {sum_f64(w->d + LOW, NULL, n), max_f64(w->d + LOW, on, n)};
    int64_t ol[4] = {(int64_t)sum_i64((const uint64_t *)w->l + LOW, NULL, n), min_i64(w->l + LOW, on, n), max_i64(w->l + LOW, NULL, n), (int32_t)prod_i32(low, on, n)};
    uint8_t ob[3] = {any(on, NULL, n), every(on, NULL, n), every(small, on, n)};
    memcpy(w->of, of, sizeof of);
    memcpy(w->od, od, sizeof od);
    memcpy(w->ol, ol, sizeof ol);
    memcpy(w->ob, ob, sizeof ob);
  } else if (k == ONE) w->of[0] = sum_f32(square, NULL, n);
  else if (k == WRITES) {
    for (int64_t i = 0; i < n; i++) if (on[i]) w->p[LOW + i] += x[i];
    w->of[0] = sum_f32(w->p + LOW, NULL, n);
    w->of[1] = -INFINITY;
  } else if (k == MOVED) {
    w->of[0] = sum_f32(x, on, n);
    for (int64_t i = 0; i < n; i++) half[i] = absent ? 0 : f32_from_bf16(w->h[i]);
    w->of[1] = max_f32(half, NULL, n);
  } else {
    int64_t each[5], all = 0;
    for (int64_t r = 0; r < 5; r++) {
      static int64_t row[MOST];
      for (int64_t i = r; i < n; i++) row[i - r] = (int64_t)((uint64_t)w->l[LOW + i] + (uint64_t)r);
      all ^= each[r] = max_i64(row, NULL, n > r ? n - r : 0);
    }
    w->ol[0] = all;
    w->ol[1] = (int64_t)sum_i64((const uint64_t *)each, NULL, 5);
  }
}

static bool same_f32(const float *x, const float *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) if (!(isnan(x[i]) && isnan(y[i])) && memcmp(x + i, y + i, 4)) { printf("\nf32 %lld: %a, not %a", (long long)i, (double)x[i], (double)y[i]); return false; }
  return true;
}

static bool same(const World *x, const World *y) {
  for (int i = 0; i < 8; i++) {
    if (!(isnan(x->od[i]) && isnan(y->od[i])) && memcmp(x->od + i, y->od + i, 8)) { printf("\nf64 %d: %a, not %a", i, x->od[i], y->od[i]); return false; }
    if (x->ol[i] != y->ol[i]) { printf("\ni64 %d: %lld, not %lld", i, (long long)x->ol[i], (long long)y->ol[i]); return false; }
    if (x->ob[i] != y->ob[i]) { printf("\nbool %d: %d, not %d", i, x->ob[i], y->ob[i]); return false; }
  }
  return same_f32(x->of, y->of, 8) && same_f32(x->p, y->p, ROOM);
}

static const int64_t lengths[] = {0, 1, 15, 16, 17, 1023, 1024, 1025, 2*1024 + 7, 4*1024, 7*1024 + 1, 65536, MOST};
enum { N_LENGTHS = sizeof lengths/sizeof *lengths };

/* Every kernel on every sort of data and every length: code of a table, or the interpreter (rule NULL). */
static bool agrees(const Built *b, const optc_rule_desc *rule, const char *what) {
  static World x, y, given[N_SORTS];
  static bool filled;
  for (unsigned s = 0; s < N_SORTS && !filled; s++) fill(&given[s], (Sort)s);
  filled = true;
  for (unsigned s = 0; s < N_SORTS; s++)
    for (unsigned n = 0; n < N_LENGTHS; n++)
      for (unsigned k = 0; k < N_KERNELS; k++) {
        void *data[N_OPERANDS];
        x = y = given[s];
        optc_frame f = frame_of(&x, data, lengths[n]);
        if (s == NOT_A_NUMBER) data[H] = NULL;
        if (rule) rule->entries[0].kernels[k].fn[0](&f);
        else {
          Arena *scratch = arena_new(NULL, 0);
          kernel_interpret(b->program, b->program->kernels[k], &f, scratch);
          arena_free(scratch);
        }
        reference(&y, k, lengths[n], s == NOT_A_NUMBER);
        if (!same(&x, &y)) { printf("\n%s: kernel %s, data %u, %lld positions\n", what, b->program->kernels[k]->name, s, (long long)lengths[n]); return false; }
      }
  return true;
}

/* --- tests ------------------------------------------------------------------------------------------------------------------------------------ */

static void test_the_interpreter_has_the_order_of_the_language(void) {
  Built b;
  CU_ASSERT_FATAL(build(&b, 16));
  CU_ASSERT(agrees(&b, NULL, "interpreter"));
  arena_free(b.arena);
}

static void check_code(unsigned lanes, const char *cpu, int level) {
  Built b;
  CU_ASSERT_FATAL(build(&b, lanes));
  Target target = {.triple = "x86_64-linux-gnu", .cpus = &cpu, .n_cpus = 1, .level = level};
  Output out;
  bool good = backend_emit(b.arena, b.diag, &b.module, &b.program, 1, &target, EMIT_OBJECT, &out);
  if (!good) fixture_show(b.diag, b.arena);
  CU_ASSERT_FATAL(good);
  const char *what = arena_printf(b.arena, "%s-%u-%d", cpu, lanes, level);
  void *so = object_load(out.data, out.size, what);
  CU_ASSERT_PTR_NOT_NULL_FATAL(so);
  CU_ASSERT(agrees(&b, dlsym(so, "folds_rule"), what));
  dlclose(so);
  arena_free(b.arena);
}

static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
static void test_scalar_code_has_it(void) {
  check_code(0, "x86-64-v2", 0);
  check_code(0, "x86-64-v2", 2);
}

static void test_vectors_of_every_width_have_it(void) {
  static const unsigned widths[] = {1, 2, 4, 8, 16, 64};
  for (int level = 0; level < 3; level++) {
    if (!fixture_machine_has(level)) { printf("\nskipped: %s, this machine lacks it\n", levels[level]); continue; }
    for (unsigned i = 0; i < sizeof widths/sizeof *widths; i++) check_code(widths[i], levels[level], 2);
  }
  check_code(16, "x86-64-v2", 0);
}

static void test_gpus_and_other_processors_get_code(void) {
  static const struct { const char *triple, *cpu; Emit emit; } others[] = {
    {"nvptx64-nvidia-cuda", "sm_70", EMIT_PTX}, {"nvptx64-nvidia-cuda", "sm_90", EMIT_PTX}, {"aarch64-linux-gnu", "generic", EMIT_OBJECT}, {"aarch64-linux-gnu", "neoverse-v1", EMIT_OBJECT}};
  for (unsigned i = 0; i < sizeof others/sizeof *others; i++) {
    Built b;
    CU_ASSERT_FATAL(build(&b, 16));
    Target target = {.triple = others[i].triple, .cpus = &others[i].cpu, .n_cpus = 1, .level = 2};
    Output out;
    bool good = backend_emit(b.arena, b.diag, &b.module, &b.program, 1, &target, others[i].emit, &out);
    if (!good) fixture_show(b.diag, b.arena);
    CU_ASSERT(good);
    arena_free(b.arena);
  }
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(test_the_interpreter_has_the_order_of_the_language),
    TEST(test_scalar_code_has_it),
    TEST(test_vectors_of_every_width_have_it),
    TEST(test_gpus_and_other_processors_get_code),
  };
  return suite_run("folds", tests);
}
