/* bench_rules.c: rules whose least traffic is known, as shares of the bandwidth probe (4 streams read, 3 written in place), counted on those bytes; a step as one call against its
 * parts as four.
 *   usage: bench_rules OUT.json [quick] [rule]   (from the root of the tree: compiles the rules that it measures) */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/bench/adamw_peers.h"
#include "tests/bench/measure.h"

enum { MAX_ITEMS = 160, STREAMS = 4, REGIONS = 6, PARTS = 4 };

/* bytes: the least that must move, an element. store, cpu: as in optc_compile_options. tensor: by region, which tensor lies there (none named: in order of declaration). */
typedef struct Row { const char *file, *rule; double bytes, bar; const char *what, *store, *cpu, *tensor[REGIONS]; } Row;
#define CODES "m=q8[256] nearest,v=q8u[256] nearest"
static const Row rows[] = {
  {"rules/lion.opt", "lion", 20, 0.95, "", NULL, NULL, {NULL}}, {"rules/lamb.opt", "lamb", 40, 0.90, "", NULL, NULL, {NULL}}, {"tests/bench/clip_adamw.opt", "clip_adamw", 32, 0.90, "", NULL, NULL, {NULL}},
  {"rules/adafactor.opt", "adafactor", 24, 0.60, "", NULL, NULL, {NULL}},
  {"rules/adamw.opt", "adamw", 16, 0.18, " with states in 8 bits", CODES, NULL, {NULL}}, {"rules/adamw.opt", "adamw", 16, 0.18, " with states in 8 bits, AVX2", CODES, "x86-64-v3", {NULL}},
};

/* The step: clipping, AdamW, an average of the parameters, a working copy in bf16. */
#define FILE_OF_STEP "tests/bench/together.opt"
static const Row step = {FILE_OF_STEP, "together", 42, 0, "", "p=bf16+master", NULL, {"p_master", "g", "m", "v", "ema", "p"}};
static const Row parts[PARTS] = {
  {FILE_OF_STEP, "clip", 12, 0, "", NULL, NULL, {"", "g"}}, {"rules/adamw.opt", "adamw", 28, 0, "", NULL, NULL, {NULL}},
  {FILE_OF_STEP, "average", 12, 0, "", NULL, NULL, {"p", "", "", "", "ema"}}, {FILE_OF_STEP, "copy", 6, 0, "", NULL, NULL, {"p", "", "", "", "", "w"}},
};

typedef struct Shapes { const char *what; int n; int64_t rank[MAX_ITEMS], axis[MAX_ITEMS][2], count[MAX_ITEMS], total; } Shapes;

/* A call of any rule on tensors that lie one after the other in one region a role. */
typedef struct Work {
  const Row *row;
  const Shapes *shapes;
  optc_rule *rule;
  char *items, *hyper, *global, *workspace;
  optc_call call;
  optc_error error;
  float **region;
  AdamwScalars scalars;
  int threads;
} Work;

static void fail(const char *what) { fprintf(stderr, "bench: %s\n", what); exit(1); }

static void run_ours(void *self) {
  Work *w = self;
  if (optc_rule_call_raw(w->rule, optc_rule_entry(w->rule, "step"), &w->call)) fail(w->error.text);
}

static void run_parts(void *self) { for (int k = 0; k < PARTS; k++) run_ours(((Work **)self)[k]); }

static void probe_chunk(void *self, int64_t index) {
  Work *w = self;
  int64_t n = w->shapes->total, lo = n*index/w->threads/64*64, hi = index + 1 == w->threads ? n : n*(index + 1)/w->threads/64*64;
  adamw_probe(w->region[0] + lo, w->region[1] + lo, w->region[2] + lo, w->region[3] + lo, (size_t)(hi - lo), &w->scalars);
}
static void run_probe(void *self) {
  Work *w = self;
  if (w->threads == 1) { probe_chunk(w, 0); return; }
  w->call.parallel->run(w->call.parallel->self, w->threads, probe_chunk, w);
}

static float random_float(uint64_t *s) {
  *s = *s*6364136223846793005u + 1442695040888963407u;
  return (float)(int32_t)(*s >> 32)*0x1p-31f;
}

static optc_rule *compile(const Row *r) {
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  optc_rule *rule;
  if (optc_compile_file(cx, r->file, &(optc_compile_options){.size = sizeof(optc_compile_options), .level = 2, .rule = r->rule, .store = r->store, .cpu = r->cpu}, &rule)) fail(optc_context_diagnostics(cx));
  optc_context_free(cx);
  return rule;
}

/* Where a tensor of the item's shape lies: the place that its name has, or the next. */
static int region_of(const Row *row, const char *name, int *next) {
  if (!row->tensor[0]) return (*next)++;
  int r = 0;
  while (r < REGIONS && !(row->tensor[r] && !strcmp(row->tensor[r], name))) r++;
  return r;
}

/* Tensors of the item's shape in the regions; states of other shapes in memory of their own, those that do not exist nowhere. */
static void place(Work *w) {
  const optc_rule_desc *d = w->rule->desc;
  const Shapes *s = w->shapes;
  optc_state_info *info = calloc((size_t)d->n_operands, sizeof *info);
  size_t at = 0;
  for (int k = 0; k < s->n; k++) {
    char *item = w->items + k*d->item_size;
    *(int64_t *)(item + d->item_rank) = s->rank[k];
    *(const int64_t **)(item + d->item_shape) = s->axis[k];
    if (optc_drive_layout(d, &w->call, k, info, &w->rule->chosen)) fail(w->error.text);
    int next = 0;
    for (int64_t o = 0, state = 0; o < d->n_operands; o++) {
      const optc_state_info *x = d->operands[o].role == ROLE_STATE ? &info[state++] : NULL;
      if (d->operands[o].scope != SCOPE_TENSOR || (x && !x->exists)) continue;
      void **data = (void **)(item + d->operands[o].offset);
      int r = d->operands[o].item_shape ? region_of(w->row, d->operands[o].name, &next) : REGIONS;
      if (r < (w->row->tensor[0] ? REGIONS : STREAMS)) *data = w->region[r] + at;
      else if (!(*data = calloc((size_t)s->count[k] + 8, 8))) fail("no memory");
    }
    at += ((size_t)s->count[k] + 63)/64*64;
  }
  free(info);
}

static void fill(Work *w) {
  uint64_t seed = 1;
  for (int r = 0; r < STREAMS; r++)
    for (int64_t i = 0; i < w->shapes->total; i++) w->region[r][i] = r == 3 ? 1e-4f*(random_float(&seed) + 1) + 1e-6f : r == 2 ? 0 : 0.01f*random_float(&seed);
}

static Work *work_new(const Row *row, const Shapes *s, float **region) {
  Work *w = calloc(1, sizeof *w);
  w->row = row;
  w->rule = compile(row);
  w->shapes = s;
  w->region = region;
  const optc_rule_desc *d = w->rule->desc;
  w->items = calloc((size_t)s->n, (size_t)d->item_size);
  w->hyper = calloc(1, (size_t)d->hyper_size);
  w->global = calloc(1, (size_t)d->global_size + 64);
  for (int64_t k = 0; k < d->n_hypers; k++) memcpy(w->hyper + 8*k, &d->hypers[k].value, 8);
  *(int64_t *)w->global = 1000;
  w->call = (optc_call){.size = sizeof w->call, .groups = w->hyper, .n_groups = 1, .items = w->items, .n_items = s->n, .global = w->global, .error = &w->error};
  place(w);
  w->call.workspace_size = optc_rule_workspace_size(w->rule, &w->call);
  w->call.workspace = w->workspace = bench_memory(w->call.workspace_size + 64);
  w->scalars = (AdamwScalars){0};
  fill(w);
  return w;
}

static void bench(Report *report, const Row *row, const Shapes *s, float **region, int rounds) {
  Work *w = work_new(row, s, region);
  Contender c[] = {{"optc", run_ours, w}, {"probe 4r3w", run_probe, w}};
  double *seconds = malloc((size_t)(2*rounds)*sizeof *seconds), *share = malloc((size_t)rounds*sizeof *share);
  for (int threads = 1; threads <= 2; threads++) {
    char name[120];
    optc_parallel team = optc_parallel_openmp(threads);
    w->threads = threads;
    w->call.parallel = threads > 1 ? &team : NULL;
    measure_rounds(c, 2, rounds, 1, threads == 1, seconds);
    for (int r = 0; r < rounds; r++) share[r] = row->bytes/28*seconds[rounds + r]/seconds[r];
    snprintf(name, sizeof name, "%s%s %s, %d thread%s (%g bytes an element, bar %.2f)", row->rule, row->what, s->what, threads, threads > 1 ? "s" : "", row->bytes, row->bar);
    report_row(report, name, row->bytes*1e-9*(double)s->total/median(seconds, rounds), c[1].name, 28e-9*(double)s->total/median(seconds + rounds, rounds), "GB/s", median(share, rounds), rounds);
  }
  free(seconds);
  free(share);
}

static void bench_step(Report *report, const Shapes *s, float **region, int rounds) {
  Work *one = work_new(&step, s, region), *part[PARTS];
  for (int k = 0; k < PARTS; k++) part[k] = work_new(&parts[k], s, region);
  Contender c[] = {{"optc, one call", run_ours, one}, {"the same as four calls", run_parts, part}};
  double *seconds = malloc((size_t)(2*rounds)*sizeof *seconds);
  for (int threads = 1; threads <= 2; threads++) {
    char name[120];
    optc_parallel team = optc_parallel_openmp(threads), *parallel = threads > 1 ? &team : NULL;
    one->call.parallel = parallel;
    for (int k = 0; k < PARTS; k++) part[k]->call.parallel = parallel;
    measure_rounds(c, 2, rounds, 1, threads == 1, seconds);
    snprintf(name, sizeof name, "clip + AdamW + average + bf16 copy, %s, %d thread%s (bar 1.3)", s->what, threads, threads > 1 ? "s" : "");
    report_rounds(report, name, c, 2, rounds, seconds, step.bytes*1e-9*(double)s->total, "GB/s");
  }
  free(seconds);
}

static void add(Shapes *s, int64_t rank, int64_t a, int64_t b) {
  s->rank[s->n] = rank;
  s->axis[s->n][0] = a;
  s->axis[s->n][1] = b;
  s->count[s->n] = rank > 1 ? a*b : a;
  s->total += (s->count[s->n++] + 63)/64*64;
}

/* The tensors of GPT-2 124M, 148 of them. */
static Shapes gpt2(void) {
  Shapes s = {.what = "GPT-2 124M, 148 tensors"};
  add(&s, 2, 50257, 768);
  add(&s, 2, 1024, 768);
  for (int layer = 0; layer < 12; layer++) {
    add(&s, 1, 768, 0); add(&s, 1, 768, 0); add(&s, 2, 768, 2304); add(&s, 1, 2304, 0); add(&s, 2, 768, 768); add(&s, 1, 768, 0);
    add(&s, 1, 768, 0); add(&s, 1, 768, 0); add(&s, 2, 768, 3072); add(&s, 1, 3072, 0); add(&s, 2, 3072, 768); add(&s, 1, 768, 0);
  }
  add(&s, 1, 768, 0);
  add(&s, 1, 768, 0);
  return s;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  int quick = argc > 2 && !strcmp(argv[2], "quick");
  Report *report = report_open(argv[1]);
  Shapes shapes[2] = {gpt2(), {.what = "4096 x 4096"}};
  add(&shapes[1], 2, 4096, 4096);
  float *region[REGIONS];
  for (int r = 0; r < REGIONS; r++) region[r] = (float *)bench_memory((size_t)shapes[0].total*sizeof(float) + 65536) + r*1040;         /* staggered: equal offsets share cache sets */
  for (unsigned k = 0; k < sizeof rows/sizeof *rows; k++)
    for (int i = 0; i < 2; i++)
      if (argc < 4 || !strcmp(argv[3], rows[k].rule)) bench(report, &rows[k], &shapes[i], region, quick ? 5 : 21);
  for (int i = 0; i < 2; i++) if (argc < 4 || !strcmp(argv[3], step.rule)) bench_step(report, &shapes[i], region, quick ? 5 : 21);
  return report_close(report);
}
