/* backends_tile_test.c: register tiles: a whole product through packed panels gives the bits of the language's chains, whatever the machine's tile is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/backend.h"
#include "ir/interpret.h"
#include "tests/support/object_file.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

/* --- C = A B in blocks of 512 positions, and T = A' ----------------------------------------------------------------------------------- */

static Hyper hypers[] = {{.name = "M", .type = TYPE_I64}, {.name = "N", .type = TYPE_I64}, {.name = "K", .type = TYPE_I64}, {.name = "stride", .type = TYPE_I64}};
static Operand operands[] = {{.name = "c", .role = ROLE_INOUT, .item_shape = true}, {.name = "a", .role = ROLE_IN, .item_shape = true}, {.name = "b", .role = ROLE_IN, .item_shape = true},
                             {.name = "t", .role = ROLE_INOUT, .item_shape = true}};
enum { C, A, B, T, PANEL_A, PANEL_B, N_BUFFERS };

/* Columns are packed as vectors: a loop over them reads and writes from places that only start with it. */
static const char text[] =
"program step {\n temp pa: TYPE\n temp pb: TYPE\n"
" kernel product item {\n"
"  %1 = hyper i64 M@0\n  %2 = hyper i64 N@1\n  %3 = hyper i64 K@2\n  %4 = hyper i64 stride@3\n  %5 = tile_rows i64\n  %6 = tile_columns i64\n  %7 = const i64 0x0\n"
"  %8 = const i64 0x1\n  %9 = const i64 0x200\n  %10 = const i64 0x10\n"
"  %11 = add i64 %1, %5\n  %12 = sub i64 %11, %8\n  %13 = idiv i64 %12, %5\n"                  /* panels A */
"  %14 = add i64 %2, %6\n  %15 = sub i64 %14, %8\n  %16 = idiv i64 %15, %6\n"                  /* panels B */
"  %17 = const i64 0x1ff\n  %18 = add i64 %3, %17\n  %19 = idiv i64 %18, %9\n  %20 = mul i64 %5, %9\n  %21 = mul i64 %6, %9\n"
"  %30 = for %7 to %19 seq {\n"                                                               /* blocks */
"   %31 = mul i64 %30, %9\n   %32 = sub i64 %3, %31\n   %33 = lt bool %32, %9\n   %34 = select i64 %33, %32, %9\n"
"   %40 = for %7 to %13 seq {\n    %41 = for %7 to %5 seq {\n     %42 = for %7 to %34 seq {\n"
"      %43 = mul i64 %40, %5\n      %44 = add i64 %43, %41\n      %45 = lt bool %44, %1\n      %46 = mul i64 %44, %3\n      %47 = add i64 %46, %31\n      %48 = add i64 %47, %42\n"
"      %49 = load TYPE a@1, %48, %45\n      %50 = idiv i64 %42, %10\n      %51 = imod i64 %42, %10\n      %52 = mul i64 %50, %5\n      %53 = add i64 %52, %41\n      %54 = mul i64 %53, %10\n"
"      %55 = add i64 %54, %51\n      %56 = mul i64 %40, %20\n      %57 = add i64 %55, %56\n      store pa@4, %57, %49\n      yield\n     }\n     yield\n    }\n    yield\n   }\n"
"   %60 = for %7 to %16 seq {\n    %61 = for %7 to %34 seq {\n     %62 = for %7 to %6 vector(8, 2) {\n"
"      %63 = mul i64 %60, %6\n      %64 = add i64 %63, %62\n      %65 = lt bool %64, %2\n      %66 = add i64 %31, %61\n      %67 = mul i64 %66, %2\n      %68 = add i64 %67, %64\n"
"      %69 = load TYPE b@2, %68, %65\n      %70 = mul i64 %61, %6\n      %71 = add i64 %70, %62\n      %72 = mul i64 %60, %21\n      %73 = add i64 %71, %72\n      store pb@5, %73, %69\n"
"      yield\n     }\n     yield\n    }\n    yield\n   }\n"
"   %80 = for %7 to %13 seq {\n    %81 = for %7 to %16 seq {\n"
"     %82 = mul i64 %80, %5\n     %83 = mul i64 %81, %6\n     %84 = mul i64 %82, %4\n     %85 = add i64 %84, %83\n     %86 = sub i64 %1, %82\n     %87 = lt bool %86, %5\n"
"     %88 = select i64 %87, %86, %5\n     %89 = sub i64 %2, %83\n     %90 = lt bool %89, %6\n     %91 = select i64 %90, %89, %6\n     %92 = mul i64 %80, %20\n     %93 = mul i64 %81, %21\n"
"     %94 = lt bool %7, %30\n     tile_contract c@0, pa@4, pb@5, a@1, %85, %4, %88, %91, %92, %93, %34, %94, %82, %3\n     yield\n    }\n    yield\n   }\n   yield\n  }\n"
"  tile_transpose t@3, a@1, %8, %1, %8, %3, %1, %3\n }\n}\n";             /* one element in, so that nothing is aligned */

typedef struct Sizes { int64_t m, n, k, stride; } Sizes;
static const Sizes sizes[] = {{1, 1, 1, 1}, {12, 32, 16, 32}, {24, 64, 512, 64}, {13, 33, 17, 40}, {5, 7, 513, 7}, {61, 47, 1030, 64}, {7, 70, 0, 70}, {36, 96, 15, 97}, {3, 100, 1100, 100}};
enum { N_SIZES = sizeof sizes/sizeof *sizes, ROOM = 1 << 18, GUARD = 64 };

typedef struct World { Type type; char *data[N_BUFFERS]; Sizes size; } World;

static void put(const World *w, int buffer, int64_t i, double x) { if (w->type == TYPE_F32) ((float *)w->data[buffer])[i] = (float)x; else ((double *)w->data[buffer])[i] = x; }

/* Values of all sizes and signs, zeros of both signs, and now and then what is no number. */
static void open_world(World *w, Type type, Sizes size) {
  *w = (World){type, .size = size};
  uint64_t state = 11;
  for (int k = 0; k < N_BUFFERS; k++) {
    w->data[k] = malloc((size_t)(ROOM + GUARD)*type_bytes(type));
    for (int64_t i = 0; i < ROOM + GUARD; i++) {
      uint64_t seed = next_random(&state);
      double x = ldexp((double)(int64_t)seed, -63 - (int)(seed >> 20 & 15));
      if ((seed >> 33 & 255) == 0) x = seed >> 41 & 1 ? 0.0 : -0.0;
      if (k == B && (seed >> 33 & 0xffff) == 1) x = seed >> 50 & 1 ? INFINITY : NAN;
      if (k == B && (seed >> 33 & 0xfff) == 2) x *= 0x1p-140;
      put(w, k, i, x);
    }
  }
}
static void close_world(World *w) { for (int k = 0; k < N_BUFFERS; k++) free(w->data[k]); }

/* Language reference, section 5. */
static void product(World *w) {
  Sizes s = w->size;
  for (int64_t i = 0; i < s.m && s.k; i++)
    for (int64_t j = 0; j < s.n; j++) {
      double sum = 0;
      for (int64_t low = 0; low < s.k; low += 512) {
        double acc = 0;
        for (int64_t p = low; p < s.k && p < low + 512; p++)
          if (w->type == TYPE_F32) acc = fmaf(((float *)w->data[A])[i*s.k + p], ((float *)w->data[B])[p*s.n + j], (float)acc);
          else { double x = ((double *)w->data[A])[i*s.k + p]*((double *)w->data[B])[p*s.n + j]; acc += x; }
        sum = w->type == TYPE_F32 ? (float)sum + (float)acc : sum + acc;
      }
      put(w, C, i*s.stride + j, sum);
    }
  for (int64_t i = 0; i < s.m; i++)
    for (int64_t p = 0; p < s.k; p++) put(w, T, 1 + p*s.m + i, w->type == TYPE_F32 ? ((float *)w->data[A])[1 + i*s.k + p] : ((double *)w->data[A])[1 + i*s.k + p]);
}

static bool same(const World *x, const World *y) {
  for (int64_t i = 0; i < ROOM + GUARD; i++)
    for (int k = C; k <= T; k++) {
      double a = x->type == TYPE_F32 ? ((float *)x->data[k])[i] : ((double *)x->data[k])[i], b = x->type == TYPE_F32 ? ((float *)y->data[k])[i] : ((double *)y->data[k])[i];
      if (memcmp(&a, &b, 8) && !(isnan(a) && isnan(b))) { printf("\n%s[%lld]: %a, should be %a\n", operands[k].name, (long long)i, a, b); return false; }
    }
  return true;
}

typedef struct Built { Arena *arena; Diag *diag; Module module; Program *program; } Built;

static bool build(Built *b, Type type) {
  Arena *a = arena_new(NULL, 0);
  *b = (Built){.arena = a, .diag = diag_new(a, 0)};
  for (int k = 0; k < 4; k++) operands[k].storage = type;
  b->module = (Module){.arena = a, .diag = b->diag, .name = "tiles", .hypers = hypers, .n_hypers = 4, .operands = operands, .n_operands = 4, .has_step = true};
  Text t = {.arena = a};
  for (const char *c = text; *c; c++) {
    if (!strncmp(c, "TYPE", 4)) { text_add(&t, "%s", type_name(type)); c += 3; }
    else text_append(&t, c, 1);
  }
  Source *s = arena_alloc(a, sizeof *s);
  *s = (Source){"tiles", t.data, t.length};
  b->program = program_parse(&b->module, a, b->diag, s);
  bool good = b->program && program_verify(b->program, b->diag);
  Text out = {.arena = a};
  diag_render_text(b->diag, &out, false);
  if (out.data) printf("\n%s\n", out.data);
  return good;
}

static void run(World *w, optc_kernel_fn fn, const Built *b) {
  optc_frame f = {.hyper = &w->size, .data = (void *const *)w->data, .count = ROOM, .end = ROOM};
  if (fn) { fn(&f); return; }
  Arena *scratch = arena_new(NULL, 0);
  kernel_interpret(b->program, b->program->kernels[0], &f, scratch);
  arena_free(scratch);
}

static bool agrees(const Built *b, Type type, optc_kernel_fn fn) {
  bool good = true;
  for (int k = 0; k < N_SIZES && good; k++) {
    World x, y;
    open_world(&x, type, sizes[k]);
    open_world(&y, type, sizes[k]);
    product(&y);
    run(&x, fn, b);
    good = same(&x, &y);
    if (!good) printf("%s, %lld x %lld x %lld\n", type_name(type), (long long)sizes[k].m, (long long)sizes[k].n, (long long)sizes[k].k);
    close_world(&x);
    close_world(&y);
  }
  return good;
}

static void test_the_interpreter_gives_the_chains_of_the_language(void) {
  for (Type type = TYPE_F32; type <= TYPE_F64; type += TYPE_F64 - TYPE_F32) {
    Built b;
    CU_ASSERT_FATAL(build(&b, type));
    CU_ASSERT(agrees(&b, type, NULL));
    arena_free(b.arena);
  }
}

static void test_every_instruction_set_gives_the_chains_of_the_language(void) {
  static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
  bool has[] = {true, __builtin_cpu_supports("x86-64-v3"), __builtin_cpu_supports("x86-64-v4")};
  for (Type type = TYPE_F32; type <= TYPE_F64; type += TYPE_F64 - TYPE_F32)
    for (int level = 0; level <= 2; level += 2) {
      Built b;
      CU_ASSERT_FATAL(build(&b, type));
      Output out;
      CU_ASSERT_FATAL(backend_emit(b.arena, b.diag, &b.module, &b.program, 1, &(Target){.triple = "x86_64-linux-gnu", .cpus = levels, .n_cpus = 3, .level = level}, EMIT_OBJECT, &out));
      void *so = object_load(out.data, out.size, arena_printf(b.arena, "tiles-%s-%d", type_name(type), level));
      CU_ASSERT_PTR_NOT_NULL_FATAL(so);
      const optc_rule_desc *rule = dlsym(so, "tiles_rule");
      for (int v = 0; v < 3; v++) {
        if (!has[v]) { printf("\nskipped: %s, this machine lacks it\n", levels[v]); continue; }
        bool good = agrees(&b, type, rule->entries->kernels->fn[v]);
        if (!good) printf("%s, code generation level %d\n", levels[v], level);
        CU_ASSERT(good);
      }
      dlclose(so);
      arena_free(b.arena);
    }
}

static void test_every_other_target_compiles_tiles(void) {
  static const Target targets[] = {{.triple = "aarch64-linux-gnu", .level = 2}, {.triple = "nvptx64-nvidia-cuda", .level = 2}};
  for (int k = 0; k < 2; k++) {
    Built b;
    CU_ASSERT_FATAL(build(&b, TYPE_F32));
    Output out;
    CU_ASSERT(backend_emit(b.arena, b.diag, &b.module, &b.program, 1, &targets[k], k ? EMIT_PTX : EMIT_ASSEMBLY, &out));
    arena_free(b.arena);
  }
}

static void test_texts_of_tiles_print_back_and_wrong_ones_are_refused(void) {
  static const struct { const char *from, *to, *says; } wrong[] = {
    {"tile_contract c@0, pa@4, pb@5,", "tile_contract c@0, pa@4, c@0,", "is read and written"}, {"tile_contract c@0, pa@4,", "tile_contract b@2, pa@4,", "is only read"},
    {"temp pb: f32", "temp pb: f64", "type"}, {"%93, %34, %94", "%93, %94, %34", "argument 6 must be i64"}, {"%93, %34, %94", "%93, %34", "takes 10 arguments"},
  };
  Built b;
  CU_ASSERT_FATAL(build(&b, TYPE_F32));
  Text out = {.arena = b.arena}, again = {.arena = b.arena};
  program_print(b.program, &out);
  Source s = {"tiles", out.data, out.length};
  Program *p = program_parse(&b.module, b.arena, b.diag, &s);
  CU_ASSERT_PTR_NOT_NULL_FATAL(p);
  program_print(p, &again);
  CU_ASSERT_STRING_EQUAL(out.data, again.data);
  for (size_t k = 0; k < sizeof wrong/sizeof *wrong; k++) {
    Text t = {.arena = b.arena};
    for (const char *c = text; *c; c++) {
      if (!strncmp(c, "TYPE", 4)) { text_add(&t, "f32"); c += 3; }
      else text_append(&t, c, 1);
    }
    char *place = strstr(t.data, wrong[k].from);
    CU_ASSERT_PTR_NOT_NULL_FATAL(place);
    char *body = arena_printf(b.arena, "%.*s%s%s", (int)(place - t.data), t.data, wrong[k].to, place + strlen(wrong[k].from));
    Source bad = {"tiles", body, strlen(body)};
    Diag *d = diag_new(b.arena, 0);
    Program *q = program_parse(&b.module, b.arena, d, &bad);
    CU_ASSERT(!q || !program_verify(q, d));
    bool said = diag_errors(d) && strstr(diag_get(d, 0)->text, wrong[k].says);
    CU_ASSERT(said);
    if (!said) printf("\n%zu: %s\n", k, diag_errors(d) ? diag_get(d, 0)->text : "accepted");
  }
  arena_free(b.arena);
}

int main(void) {
  static const SuiteTest tests[] = {
    {"the interpreter gives the chains of the language", test_the_interpreter_gives_the_chains_of_the_language},
    {"every instruction set gives the chains of the language", test_every_instruction_set_gives_the_chains_of_the_language},
    {"every other target compiles tiles", test_every_other_target_compiles_tiles},
    {"texts of tiles print back, and wrong ones are refused", test_texts_of_tiles_print_back_and_wrong_ones_are_refused},
  };
  return suite_run("tiles", tests);
}
