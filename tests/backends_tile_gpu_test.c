/* backends_tile_gpu_test.c: tiles on a GPU, executed: chains have the bits of the language whatever the edges and however many threads a block has; fragments of
 * tensor cores stay within the bound of --fast on each generation. */
#include <math.h>
#include <stdlib.h>
#include "backends/backend.h"
#include "tests/support/ptx_lab.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
enum { ROWS = 48, COLUMNS = 64, GROUP = KERNEL_TILE_GROUP, MOST_K = 512, C_STRIDE = 70 };

/* One tile: all sizes are hyper-parameters. */
static Hyper hypers[] = {{.name = "rows", .type = TYPE_I64}, {.name = "columns", .type = TYPE_I64}, {.name = "k", .type = TYPE_I64}, {.name = "add", .type = TYPE_BOOL}};
static Operand operands[] = {{.name = "c", .role = ROLE_INOUT, .item_shape = true}, {.name = "a", .role = ROLE_IN, .item_shape = true}, {.name = "b", .role = ROLE_IN, .item_shape = true}};
static const char text[] =
"program step {\n kernel product item {\n  %1 = hyper i64 rows@0\n  %2 = hyper i64 columns@1\n  %3 = hyper i64 k@2\n  %4 = hyper bool add@3\n  %5 = const i64 0x46\n  %6 = const i64 0x0\n"
"  %7 = const i64 0x2\n  OP c@0, a@1, b@2, a@1, %7, %5, %1, %2, %6, %6, %3, %4, %6, %6\n }\n}\n";

typedef struct Way { const char *gpu; PtxTensor tensor; Type type, panel; bool fast; uint32_t threads; } Way;
typedef struct Built { PtxLab lab; const Way *way; } Built;

static bool build(Built *b, const Way *way) {
  Arena *arena = arena_new(NULL, 0);
  Diag *diag = diag_new(arena, 0);
  for (int k = 0; k < 3; k++) operands[k].storage = k ? way->panel : way->type;
  Module module = {.arena = arena, .diag = diag, .name = "tile", .hypers = hypers, .n_hypers = 4, .operands = operands, .n_operands = 3, .has_step = true};
  const char *at = strstr(text, "OP");
  char *made = arena_printf(arena, "%.*stile_contract%s%s", (int)(at - text), text, way->fast ? "_fast" : "", at + 2);
  Source source = {"tile", made, strlen(made)};
  Program *program = program_parse(&module, arena, diag, &source);
  Output out = {0};
  bool good = program && program_verify(program, diag) &&
              backend_emit(arena, diag, &module, &program, 1, &(Target){.triple = "nvptx64-nvidia-cuda", .cpus = &way->gpu, .n_cpus = 1, .level = 2}, EMIT_PTX, &out);
  *b = (Built){.way = way};
  if (good) {
    char *ptx = malloc(out.size + 1);            /* the lab's module refers to it */
    memcpy(ptx, out.data, out.size);
    ptx[out.size] = 0;
    good = lab_open(&b->lab, ptx, way->fast ? PTX_RELAXED : PTX_STRICT);
    if (!good) lab_show(&b->lab);
    CU_ASSERT_EQUAL(strstr(ptx, way->fast && way->panel == TYPE_F32 ? "mma.sync.aligned.m16n8k8." : "mma.sync.aligned.m16n8k16.") != NULL, way->fast);
    CU_ASSERT_EQUAL(strstr(ptx, "cp.async.") != NULL, strcmp(way->gpu, "sm_80") >= 0 && (way->fast || way->panel == way->type));
  } else {
    Text says = {.arena = arena};
    diag_render_text(diag, &says, false);
    printf("\n%s\n", says.data ? says.data : "no message");
  }
  arena_free(arena);
  return good;
}

/* --- numbers -------------------------------------------------------------------------------------------------------------------------------- */
static double get(const void *data, Type type, int64_t i) {
  if (type == TYPE_F64) return ((const double *)data)[i];
  if (type == TYPE_F32) return ((const float *)data)[i];
  return bits_to_f64(((const uint16_t *)data)[i], type);
}
static void put(void *data, Type type, int64_t i, double x) {
  if (type == TYPE_F64) ((double *)data)[i] = x;
  else if (type == TYPE_F32) ((float *)data)[i] = (float)x;
  else ((uint16_t *)data)[i] = (uint16_t)bits_from_f64(x, type);
}

typedef struct World {
  int64_t rows, columns, k;
  bool add;
  Type type, panel;
  double a[ROWS*MOST_K], b[MOST_K*COLUMNS];           /* by row, position; by position, column */
  char c[8*(ROWS*C_STRIDE + 16)], old[8*(ROWS*C_STRIDE + 16)];
  _Alignas(64) char panel_a[8*ROWS*MOST_K];
  _Alignas(64) char panel_b[8*MOST_K*COLUMNS];
} World;

static void open_world(World *w, const Way *way, int64_t rows, int64_t columns, int64_t k, bool add, int spread) {
  uint64_t state = (uint64_t)(rows*1000 + columns*100 + k);
  memset(w, 0, sizeof *w);
  *w = (World){.rows = rows, .columns = columns, .k = k, .add = add, .type = way->type, .panel = way->panel};
  double probe[1];
  for (int64_t p = 0; p < k; p++)
    for (int64_t line = 0; line < ROWS + COLUMNS; line++) {
      double x = ldexp((double)(int64_t)next_random(&state), -63 - (int)(next_random(&state)%(uint64_t)spread));
      put(probe, way->panel, 0, x);
      x = get(probe, way->panel, 0);
      if (line < ROWS) put(w->panel_a, way->panel, (p/GROUP*ROWS + line)*GROUP + p%GROUP, w->a[line*MOST_K + p] = x);
      else put(w->panel_b, way->panel, p*COLUMNS + line - ROWS, w->b[p*COLUMNS + line - ROWS] = x);
    }
  for (int64_t i = 0; i < ROWS*C_STRIDE + 16; i++) put(w->c, way->type, i, ldexp((double)(int64_t)next_random(&state), -62));
  memcpy(w->old, w->c, sizeof w->c);
}

static bool run(Built *b, World *w) {
  PtxLab *l = &b->lab;
  uint64_t hyper[4] = {(uint64_t)w->rows, (uint64_t)w->columns, (uint64_t)w->k, w->add};
  int64_t size = type_bytes(w->type), panel = type_bytes(w->panel), groups = (w->k + GROUP - 1)/GROUP;
  l->memory = ptx_memory_new(l->arena);
  l->report = (PtxReport){.arena = l->arena};
  char none[16];
  void *data[3] = {(void *)(uintptr_t)ptx_map(l->memory, w->c, (size_t)((ROWS*C_STRIDE + 16)*size), PTX_READ | PTX_WRITE, "c"),
                   (void *)(uintptr_t)ptx_map(l->memory, w->k ? w->panel_a : none, (size_t)(w->k ? groups*GROUP*ROWS*panel : 16), PTX_READ, "a"),
                   (void *)(uintptr_t)ptx_map(l->memory, w->k ? w->panel_b : none, (size_t)(w->k ? w->k*COLUMNS*panel : 16), PTX_READ, "b")};
  optc_frame frame = {.hyper = (void *)(uintptr_t)ptx_map(l->memory, hyper, sizeof hyper, PTX_READ, "hyper"), .data = (void *)(uintptr_t)ptx_map(l->memory, data, sizeof data, PTX_READ, "data")};
  optc_work work = {0};
  uint64_t params[3] = {ptx_map(l->memory, &frame, sizeof frame, PTX_READ, "frame"), ptx_map(l->memory, &work, sizeof work, PTX_READ, "work"), 1};
  l->launch.block[0] = b->way->threads;
  l->launch.tensor = b->way->tensor;
  l->launch.seed = 3;
  bool good = lab_run(l, params);
  if (!good) lab_show(l);
  return good;
}

/* What is not of the tile keeps its bits; inside, each element has `error` of the exact sum within the bound, or, strict, the very bits. */
static bool right(const World *w, const Way *way) {
  double u = way->fast && way->panel == TYPE_F32 ? 0x1p-11 : 0, small = way->panel == TYPE_F16 ? 0x1p-34 : 0x1p-126, length = (double)((w->k + 15)/16*16);
  for (int64_t i = 0; i < ROWS*C_STRIDE + 16; i++) {
    int64_t row = (i - 2)/C_STRIDE, column = (i - 2)%C_STRIDE;
    double got = get(w->c, w->type, i), before = get(w->old, w->type, i);
    if (i < 2 || row >= w->rows || column >= w->columns) {
      if (memcmp(&got, &before, 8)) { printf("\nelement %lld was written", (long long)i); return false; }
      continue;
    }
    double sum = 0, products = 0, all = 0, acc = 0;
    float chain = 0;
    for (int64_t p = 0; p < w->k; p++) {
      double a = w->a[row*MOST_K + p], b = w->b[p*COLUMNS + column], product = a*b;
      chain = fmaf((float)a, (float)b, chain);
      acc = acc + product;
      sum += product;
      products += fabs(product);
      all += fabs(a) + fabs(b);
    }
    double base = w->add ? before : 0;
    if (!way->fast) {
      double want = w->type == TYPE_F32 ? (double)((float)base + chain) : base + acc;
      if (memcmp(&got, &want, 8)) { printf("\nelement %lld, %lld is %a, should be %a", (long long)row, (long long)column, got, want); return false; }
    } else {
      double bound = (2*u + u*u + length*0x1p-23)*products + small*(length + all) + (w->add ? 0x1p-24*(fabs(base) + products) : 0);
      if (!(fabs(got - (base + sum)) <= bound)) { printf("\nelement %lld, %lld is off by %g, bound %g", (long long)row, (long long)column, got - (base + sum), bound); return false; }
    }
  }
  return true;
}

static const int64_t sizes[][3] = {{48, 64, 32}, {48, 64, 64}, {48, 64, 80}, {47, 64, 64}, {48, 63, 32}, {1, 1, 1}, {5, 9, 3}, {17, 20, 65}, {48, 64, 0}, {33, 31, 127}};

static void check(const Way *way) {
  Built b;
  World *w = malloc(sizeof *w);
  CU_ASSERT_FATAL(build(&b, way));
  for (int s = 0; s < COUNT(sizes); s++) {
    open_world(w, way, sizes[s][0], sizes[s][1], sizes[s][2], s % 2, way->panel == TYPE_F16 ? 8 : 24);
    bool good = run(&b, w) && right(w, way);
    if (!good) printf("\n%s, %s panels, %s, %u threads: %lld x %lld x %lld\n", way->gpu, type_name(way->panel), way->fast ? "fast" : "strict", way->threads, (long long)w->rows, (long long)w->columns, (long long)w->k);
    CU_ASSERT(good);
  }
  free(w);
  lab_close(&b.lab);
}

static void chains_have_the_bits_of_the_language(void) {
  static const Way ways[] = {
    {"sm_70", PTX_VOLTA, TYPE_F32, TYPE_F32, false, 256}, {"sm_80", PTX_AMPERE, TYPE_F32, TYPE_F32, false, 96}, {"sm_90", PTX_HOPPER, TYPE_F32, TYPE_F32, false, 224},
    {"sm_80", PTX_AMPERE, TYPE_F64, TYPE_F64, false, 256}, {"sm_80", PTX_AMPERE, TYPE_F32, TYPE_BF16, false, 256}, {"sm_90", PTX_HOPPER, TYPE_F32, TYPE_F16, false, 128},
  };
  for (int k = 0; k < COUNT(ways); k++) check(&ways[k]);
}

static void fragments_stay_within_the_bound(void) {
  static const Way ways[] = {
    {"sm_80", PTX_AMPERE, TYPE_F32, TYPE_F32, true, 256}, {"sm_90", PTX_HOPPER, TYPE_F32, TYPE_F32, true, 128}, {"sm_80", PTX_AMPERE, TYPE_F32, TYPE_BF16, true, 96},
    {"sm_90", PTX_HOPPER, TYPE_F32, TYPE_BF16, true, 256}, {"sm_80", PTX_AMPERE, TYPE_F32, TYPE_F16, true, 256}, {"sm_90", PTX_HOPPER, TYPE_F32, TYPE_F16, true, 224},
  };
  for (int k = 0; k < COUNT(ways); k++) check(&ways[k]);
}

int main(void) {
  static const SuiteTest tests[] = {TEST(chains_have_the_bits_of_the_language), TEST(fragments_stay_within_the_bound)};
  return suite_run("tiles on a GPU", tests);
}
