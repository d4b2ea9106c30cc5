/* command_run.c: optc run RULE.opt: a rule on made-up data, against a probe with the same streams and only additions; with --backend=ptx its PTX, executed, against
 * the code for the CPU. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "runtime/command.h"
#include "runtime/command_run.h"

enum { MAX_STREAMS = 32, CHUNK = 65536, PTX_ELEMENTS = CHUNK + 4464, PTX_STEPS = 2 };      /* of PTX: two chunks, the second one short */

typedef struct Request {
  Common common;
  const char *input, *entry, *cpu, *cache_dir;
  long long elements, steps, threads;
  bool elements_given, backend_given, seeded;
  int backend;
  const char *gpu;
  uint64_t seed;
  bool json;
  const char *set[RUN_MAX_SETS]; int n_sets;
  RunWish wish;
  Timing timing;
} Request;

/* The made-up item, and what the entry moves of it. */
typedef struct Data {
  const optc_rule *rule;
  int entry, n_operands;
  int64_t n;                             /* elements of the item, or of the largest tensor */
  bool own;                              /* tensors have shapes of their own: bytes are those of a call */
  DLTensor *tensor, **pointer, **globals;
  RunShape *shape;                       /* one an operand */
  char **map; size_t *mapped;
  double *scalar, *global, *hyper;
  int read, written;                     /* tensors */
  bool at_most;                          /* some of them only where a condition holds, on hyper-parameters or on the step */
  long long bytes_read, bytes_written;   /* an element, or a call */
  float *stream_read[MAX_STREAMS], *stream_written[MAX_STREAMS];
  int64_t words_read[MAX_STREAMS], words_written[MAX_STREAMS];
  int streams_read, streams_written;
} Data;

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}
static double median(double *x, long long n) {
  qsort(x, (size_t)n, sizeof *x, by_size);
  return n % 2 ? x[n/2] : 0.5*(x[n/2 - 1] + x[n/2]);
}

/* --- the probe ------------------------------------------------------------------------------------------------------------------- */
typedef struct Probe { const Data *data; int64_t n; } Probe;
typedef float Lanes __attribute__((vector_size(64), aligned(4)));

/* Reads what is only read, and reads and writes what the rule writes, in place. The sum is subtracted from itself, so that the data stays
 * as it is; the compiler may not drop that, for it is not an identity of floating-point numbers. With constant counts the streams are
 * unrolled, as in the kernel that is measured. */
static inline __attribute__((always_inline)) void probe_streams(const Data *d, int64_t begin, int64_t end, int reads, int writes) {
  const float *read[MAX_STREAMS];
  float *written[MAX_STREAMS];
  for (int k = 0; k < reads; k++) read[k] = d->stream_read[k];
  for (int k = 0; k < writes; k++) written[k] = d->stream_written[k];
#pragma GCC unroll 2
  for (int64_t i = begin; i + 16 <= end; i += 16) {
    Lanes sum = {0};
    for (int k = 0; k < reads; k++) sum += *(const Lanes *)(read[k] + i);
    sum -= sum;
    for (int k = 0; k < writes; k++) *(Lanes *)(written[k] + i) += sum;
  }
}

/* One chunk. Streams of element types of different size have different lengths: what is left of the longer ones is gone through apart. */
__attribute__((target_clones("avx512f", "avx2", "default")))
static void probe_chunk(void *context, int64_t index) {
  const Data *d = ((const Probe *)context)->data;
  int64_t tasks = ((const Probe *)context)->n, longest = 0, shortest = INT64_MAX;
  for (int k = 0; k < d->streams_read + d->streams_written; k++) {
    int64_t words = k < d->streams_read ? d->words_read[k] : d->words_written[k - d->streams_read];
    longest = words > longest ? words : longest;
    shortest = words < shortest ? words : shortest;
  }
  int64_t begin = shortest/tasks*index & ~(int64_t)15, end = index + 1 == tasks ? shortest : shortest/tasks*(index + 1) & ~(int64_t)15;
  switch (16*d->streams_read + d->streams_written) {
#define CASE(r, w) case 16*r + w: probe_streams(d, begin, end, r, w); break;
#define CASES(r) CASE(r, 1) CASE(r, 2) CASE(r, 3) CASE(r, 4) CASE(r, 5)
  CASES(0) CASES(1) CASES(2) CASES(3)
#undef CASES
#undef CASE
  default: probe_streams(d, begin, end, d->streams_read, d->streams_written);
  }
  begin = shortest + (longest - shortest)/tasks*index;
  end = shortest + (longest - shortest)/tasks*(index + 1);
  for (int k = 0; k < d->streams_read + d->streams_written && longest > shortest; k++) {
    bool writes = k >= d->streams_read;
    const float *at = writes ? d->stream_written[k - d->streams_read] : d->stream_read[k];
    int64_t words = writes ? d->words_written[k - d->streams_read] : d->words_read[k];
    Lanes sum = {0};
    for (int64_t i = begin; i + 16 <= end && i + 16 <= words; i += 16)
      if (writes) *(Lanes *)(size_t)(at + i) += sum;
      else sum += *(const Lanes *)(at + i);
    __asm__ volatile("" : : "m"(sum));
  }
}

static void run_probe(const Data *d, const optc_parallel *parallel) {
  Probe p = {.data = d, .n = (d->n + CHUNK - 1)/CHUNK};
  if (p.n > 256) p.n = 256;
  parallel->run(parallel->self, p.n, probe_chunk, &p);
}

/* --- made-up data ------------------------------------------------------------------------------------------------------------------- */
/* Whole huge pages where the system gives them; a start that differs from buffer to buffer, so that streams do not fall on the same cache sets. */
static void *buffer(size_t bytes, int which, char **map, size_t *mapped) {
  size_t huge = 2u << 20, size = (bytes + (size_t)(which + 1)*4160 + 2*huge) & ~(huge - 1);
  char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return NULL;
  madvise(at, size, MADV_HUGEPAGE);
  *map = at;
  *mapped = size;
  char *aligned = (char *)(((size_t)at + huge - 1) & ~(huge - 1));
  return aligned + (size_t)which*4160;
}

static uint64_t mix(uint64_t x) {                           /* SplitMix64's finaliser */
  x = (x ^ x >> 30)*0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27)*0x94d049bb133111ebu;
  return x ^ x >> 31;
}

typedef struct Fill { const DLTensor *t; uint64_t seed; int64_t n; double scale; } Fill;

/* Uniform in (-scale, scale); integers stay 0. */
static void fill_chunk(void *context, int64_t index) {
  const Fill *f = context;
  int64_t end = (index + 1)*CHUNK < f->n ? (index + 1)*CHUNK : f->n;
  for (int64_t i = index*CHUNK; i < end; i++) {
    uint64_t bits = mix(f->seed + (uint64_t)i*0x9e3779b97f4a7c15u);
    double x = f->scale*((double)(int64_t)bits*0x1p-63);
    float y = (float)x;
    uint32_t word;
    memcpy(&word, &y, 4);
    if (f->t->dtype.code == kDLBfloat) ((uint16_t *)f->t->data)[i] = (uint16_t)(word >> 16);
    else if (f->t->dtype.code == kDLFloat && f->t->dtype.bits == 32) ((float *)f->t->data)[i] = y;
    else if (f->t->dtype.code == kDLFloat && f->t->dtype.bits == 64) ((double *)f->t->data)[i] = x;
    else if (f->t->dtype.code == kDLFloat) ((uint16_t *)f->t->data)[i] = (uint16_t)(0x2c00 | (bits & 0x83ff));      /* f16: 0.06 to 0.13 */
  }
}

static int call_failed(const optc_error *e, const char *entry) {
  char why[400];
  fprintf(stderr, "optc: error: entry %s: %s\n", entry, optc_error_format(why, sizeof why, e));
  return e->code == OPTC_E_INTERNAL ? COMMAND_INTERNAL : COMMAND_INPUT;
}

/* Memory and numbers of one tensor, and the streams of the probe. */
static int make_tensor(Data *d, int k, const optc_operand_info *info, const optc_parallel *parallel) {
  DLTensor *t = &d->tensor[k];
  const RunShape *s = &d->shape[k];
  int64_t n = 1;
  optc_dlpack_type(info->type, &t->dtype);
  for (int a = 0; a < s->rank; a++)
    if (__builtin_mul_overflow(n, s->extent[a], &n) || n > (int64_t)1 << 40) return command_error(COMMAND_USAGE, "tensor '%s' has too many elements", info->name);
  t->device.device_type = kDLCPU;
  t->ndim = s->rank;
  t->shape = d->shape[k].extent;
  t->data = buffer((size_t)n*(size_t)info->bytes, k, &d->map[k], &d->mapped[k]);
  if (!t->data) return command_error(COMMAND_INPUT, "out of memory: %lld elements of '%s'", (long long)n, info->name);
  (info->scope == OPTC_SCOPE_CALL ? d->globals : d->pointer)[k] = t;
  Fill fill = {.t = t, .seed = mix((uint64_t)k + 1), .n = n, .scale = info->role == OPTC_ROLE_GRAD ? 0.01 : 0.1};
  parallel->run(parallel->self, (n + CHUNK - 1)/CHUNK, fill_chunk, &fill);
  int use = optc_rule_use(d->rule, d->entry, k);
  int64_t words = n*info->bytes/4, bytes = d->own ? n*info->bytes : info->bytes;
  bool read = use & OPTC_USE_READ, written = use & OPTC_USE_WRITTEN;
  d->n = n > d->n ? n : d->n;
  d->at_most |= info->item_shape && info->role != OPTC_ROLE_STATE && use & OPTC_USE_CONDITIONAL;      /* a state is there where its condition holds */
  d->read += read;
  d->written += written;
  d->bytes_read += read ? bytes : 0;
  d->bytes_written += written ? bytes : 0;
  if (written && d->streams_written < MAX_STREAMS) { d->words_written[d->streams_written] = words; d->stream_written[d->streams_written++] = t->data; }
  else if (read && d->streams_read < MAX_STREAMS) { d->words_read[d->streams_read] = words; d->stream_read[d->streams_read++] = t->data; }
  return -1;
}

static int make_data(Data *d, const Request *r, const optc_parallel *parallel) {
  size_t n = (size_t)d->n_operands + 1;
  d->tensor = calloc(n, sizeof *d->tensor);
  d->pointer = calloc(n, sizeof *d->pointer);
  d->globals = calloc(n, sizeof *d->globals);
  d->shape = calloc(n, sizeof *d->shape);
  d->map = calloc(n, sizeof *d->map);
  d->mapped = calloc(n, sizeof *d->mapped);
  d->scalar = calloc(n, sizeof *d->scalar);
  d->global = calloc(n, sizeof *d->global);
  if (!d->tensor || !d->pointer || !d->globals || !d->shape || !d->map || !d->mapped || !d->scalar || !d->global) return command_error(COMMAND_INPUT, "out of memory");
  int code = run_shapes(d->rule, &r->wish, d->hyper, d->shape);
  if (code >= 0) return code;
  for (int pass = 0; pass < 2 && code < 0; pass++)
    for (int k = 0; k < d->n_operands && code < 0; k++) {
      optc_operand_info info;
      optc_rule_operand(d->rule, k, &info);
      if (!info.tensor && info.has_default) (info.scope == OPTC_SCOPE_CALL ? d->global : d->scalar)[k] = info.value;
      if (!info.tensor) continue;
      if (!pass) d->own |= !info.item_shape;
      else if (d->shape[k].known && info.role != OPTC_ROLE_STATE) code = make_tensor(d, k, &info, parallel);
    }
  return code;
}

/* The states that the layout says the item has, with these hyper-parameters: what is absent is given no memory, and no bytes of it are counted. */
static int make_states(Data *d, const optc_call_args *call, const optc_parallel *parallel) {
  optc_state_info *states = calloc((size_t)d->n_operands + 1, sizeof *states), *s = states;
  if (!states) return command_error(COMMAND_INPUT, "out of memory");
  int status = optc_rule_layout(d->rule, call, 0, states), code = -1;
  if (status != OPTC_OK) code = call_failed(call->error, "layout");
  for (int k = 0; k < d->n_operands && code < 0; k++) {
    optc_operand_info info;
    optc_rule_operand(d->rule, k, &info);
    if (info.role != OPTC_ROLE_STATE) continue;
    if (info.tensor && s->exists && !d->shape[k].known) {
      d->shape[k].rank = (int)s->rank;
      memcpy(d->shape[k].extent, s->shape, sizeof s->shape);
    }
    if (info.tensor && s->exists) code = make_tensor(d, k, &info, parallel);
    s++;
  }
  free(states);
  return code;
}

static void free_data(Data *d) {
  for (int k = 0; k < d->n_operands && d->map && d->mapped; k++)
    if (d->map[k]) munmap(d->map[k], d->mapped[k]);
  free(d->tensor);
  free(d->pointer);
  free(d->globals);
  free(d->shape);
  free(d->map);
  free(d->mapped);
  free(d->scalar);
  free(d->global);
  free(d->hyper);
}

/* A call on the data, after init. */
typedef struct Call { optc_call_args args; const double *groups[1]; optc_item_args item; int64_t t; optc_error error; } Call;

static int begin(Data *d, Call *c, const optc_parallel *parallel) {
  *c = (Call){.groups = {d->hyper}, .item = {.tensor = d->pointer, .scalar = d->scalar}};
  c->args = (optc_call_args){.size = sizeof c->args, .groups = c->groups, .n_groups = 1, .items = &c->item, .n_items = 1, .global_scalar = d->global, .t = &c->t, .parallel = parallel, .error = &c->error,
    .global_tensor = d->globals};
  int made = make_states(d, &c->args, parallel), init = optc_rule_entry(d->rule, "init");
  if (made >= 0) return made;
  return init >= 0 && optc_rule_call(d->rule, init, &c->args) ? call_failed(&c->error, "init") : -1;
}

/* "Q [2, 128], K [2, 128]" */
static void list_shapes(const Data *d, char *out, size_t size) {
  size_t at = 0;
  for (int k = 0; k < d->n_operands; k++) {
    optc_operand_info info;
    optc_rule_operand(d->rule, k, &info);
    if (!d->tensor[k].data || info.role == OPTC_ROLE_STATE || info.entry) continue;
    if (at < size) at += (size_t)snprintf(out + at, size - at, "%s%s [", at ? ", " : "", info.name);
    for (int a = 0; a < d->tensor[k].ndim && at < size; a++) at += (size_t)snprintf(out + at, size - at, "%s%lld", a ? ", " : "", (long long)d->tensor[k].shape[a]);
    if (at < size) at += (size_t)snprintf(out + at, size - at, "]");
  }
}

static int call_once(const Data *d, Call *c) {
  int status = optc_rule_call(d->rule, d->entry, &c->args);
  if (status == OPTC_OK) return -1;
  int code = call_failed(&c->error, optc_rule_entry_name(d->rule, d->entry));
  char shapes[400] = "";
  list_shapes(d, shapes, sizeof shapes);
  if (status == OPTC_E_MEMORY) fprintf(stderr, "optc: it was called with %s\n", shapes);
  return code;
}

/* --- PTX against the CPU -------------------------------------------------------------------------------------------------------------------- */
/* The bits of an element; any NaN is one. */
static uint64_t element_bits(DLDataType type, const char *data, int64_t i) {
  static const struct { uint8_t code, bits; uint64_t infinity; } types[] = {{kDLFloat, 64, 0x7ff0000000000000}, {kDLFloat, 32, 0x7f800000}, {kDLFloat, 16, 0x7c00}, {kDLBfloat, 16, 0x7f80}};
  uint64_t bits = 0, size = type.bits/8u;
  memcpy(&bits, data + (size_t)i*size, size);
  for (size_t k = 0; k < sizeof types/sizeof *types; k++) {
    bool same = types[k].code == type.code && types[k].bits == type.bits;
    if (same && (bits & ~(UINT64_C(1) << (type.bits - 1))) > types[k].infinity) return UINT64_MAX;
  }
  return bits;
}

typedef struct Difference { long long compared; char first[200]; } Difference;

static void compare(Difference *x, const char *name, DLDataType type, const void *cpu, const void *ptx, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    uint64_t a = element_bits(type, cpu, i), b = element_bits(type, ptx, i);
    if (a != b && !*x->first) snprintf(x->first, sizeof x->first, "element %lld of '%s': 0x%llx on the CPU, 0x%llx in PTX", (long long)i, name, (unsigned long long)a, (unsigned long long)b);
  }
  x->compared += n;
}

static void compare_data(Difference *x, const Data *cpu, const Data *ptx) {
  static const DLDataType number = {kDLFloat, 64, 1};
  for (int k = 0; k < cpu->n_operands; k++) {
    optc_operand_info info;
    optc_rule_operand(cpu->rule, k, &info);
    int64_t n = 1;
    for (int a = 0; a < cpu->tensor[k].ndim; a++) n *= cpu->tensor[k].shape[a];
    if (!(optc_rule_use(cpu->rule, cpu->entry, k) & OPTC_USE_WRITTEN)) continue;
    if (cpu->tensor[k].data && ptx->tensor[k].data) compare(x, info.name, cpu->tensor[k].dtype, cpu->tensor[k].data, ptx->tensor[k].data, n);
    else if (!info.tensor) compare(x, info.name, number, info.scope == OPTC_SCOPE_CALL ? &cpu->global[k] : &cpu->scalar[k], info.scope == OPTC_SCOPE_CALL ? &ptx->global[k] : &ptx->scalar[k], 1);
  }
}

static int against_cpu(const Request *r, Data *cpu, Data *ptx, const optc_parallel *parallel) {
  Call a, b;
  Difference x = {0};
  int code = begin(cpu, &a, parallel);
  if (code < 0) code = begin(ptx, &b, parallel);
  for (long long s = 0; s < r->steps && code < 0; s++) {
    code = call_once(cpu, &a);
    if (code < 0) code = call_once(ptx, &b);
  }
  if (code >= 0) return code;
  compare_data(&x, cpu, ptx);
  if (a.t != b.t && !*x.first) snprintf(x.first, sizeof x.first, "t: %lld on the CPU, %lld in PTX", (long long)a.t, (long long)b.t);
  const char *rule = optc_rule_name(cpu->rule), *entry = optc_rule_entry_name(cpu->rule, cpu->entry), *gpu = r->gpu ? r->gpu : "sm_80";
  if (r->json) printf("{\"rule\": \"%s\", \"entry\": \"%s\", \"gpu\": \"%s\", \"steps\": %lld, \"compared\": %lld, \"same\": %s}\n", rule, entry, gpu, r->steps, x.compared, *x.first ? "false" : "true");
  else if (!*x.first) printf("rule %s, entry %s: PTX for %s, executed without a GPU, has the CPU's bits: %lld numbers after %lld call%s\n", rule, entry, gpu, x.compared, r->steps, r->steps == 1 ? "" : "s");
  else printf("rule %s, entry %s: PTX for %s DEPARTS from the CPU's bits, first in %s\n", rule, entry, gpu, x.first);
  return *x.first ? COMMAND_CHECK : COMMAND_OK;
}

/* --- measuring --------------------------------------------------------------------------------------------------------------------------- */
static int measure(Request *r, Data *d, const optc_parallel *parallel, double compile_ms) {
  Call call;
  int code = begin(d, &call, parallel);
  if (code >= 0) return code;
  double *own = calloc((size_t)r->steps, sizeof *own), *probe = calloc((size_t)r->steps, sizeof *probe), *ratio = calloc((size_t)r->steps, sizeof *ratio);
  code = own && probe && ratio ? COMMAND_OK : command_error(COMMAND_INPUT, "out of memory");
  for (long long s = -1; s < r->steps && !code; s++) {       /* the first of each warms up */
    double a = seconds();
    int failed = call_once(d, &call);
    if (failed >= 0) code = failed;
    double b = seconds();
    run_probe(d, parallel);
    double c = seconds();
    if (s >= 0) { own[s] = b - a; probe[s] = c - b; ratio[s] = (c - b)/(b - a); }
  }
  if (!code) {
    double step = median(own, r->steps), best = own[0], reference = median(probe, r->steps);
    /* The probe reads what it writes: its bytes are those of its own streams. */
    double probe_bytes = 0;
    for (int k = 0; k < d->streams_read; k++) probe_bytes += 4.0*(double)d->words_read[k];
    for (int k = 0; k < d->streams_written; k++) probe_bytes += 8.0*(double)d->words_written[k];
    double moved = (double)(d->bytes_read + d->bytes_written)*(d->own ? 1 : (double)d->n), rate = moved/step*1e-9, reference_rate = probe_bytes/reference*1e-9;
    double share = probe_bytes > 0 ? median(ratio, r->steps)*moved/probe_bytes : 0;           /* of each call and the probe behind it: what slows the machine down for a while slows both */
    if (r->json)
      printf("{\"rule\": \"%s\", \"entry\": \"%s\", \"elements\": %lld, \"steps\": %lld, \"threads\": %lld, \"compile_ms\": %.3f, \"step_ms\": %.6f, \"best_ms\": %.6f, "
             "\"bytes_read\": %lld, \"bytes_written\": %lld, \"gb_per_s\": %.3f, \"probe_ms\": %.6f, \"probe_gb_per_s\": %.3f, \"share\": %.4f}\n",
             optc_rule_name(d->rule), optc_rule_entry_name(d->rule, d->entry), (long long)d->n, r->steps, r->threads, compile_ms, 1e3*step, 1e3*best, d->bytes_read,
             d->bytes_written, rate, 1e3*reference, reference_rate, share);
    else {
      printf("rule %s, entry %s: %lld elements, %lld steps, %lld thread%s\n", optc_rule_name(d->rule), optc_rule_entry_name(d->rule, d->entry), (long long)d->n, r->steps,
             r->threads, r->threads == 1 ? "" : "s");
      printf("  compile    %10.3f ms\n", compile_ms);
      printf("  step       %10.3f ms (median; best %.3f)\n", 1e3*step, 1e3*best);
      printf("  bytes      %10lld %s (%s%d tensors read, %d written)\n", d->bytes_read + d->bytes_written, d->own ? "a call" : "an element", d->at_most ? "at most: " : "", d->read,
             d->written);
      printf("  bandwidth  %10.2f GB/s\n", rate);
      printf("  probe      %10.2f GB/s (the same streams, additions only)\n", reference_rate);
      printf("  share      %10.3f of the probe (median of %lld pairs)\n", share, r->steps);
    }
  }
  free(own);
  free(probe);
  free(ratio);
  return code;
}

static int choose_entry(const optc_rule *rule, const char *asked) {
  static const char *const usual[] = {"step", "forward"};
  if (asked) return optc_rule_entry(rule, asked);
  for (int i = 0; i < 2; i++)
    if (optc_rule_entry(rule, usual[i]) >= 0) return optc_rule_entry(rule, usual[i]);
  return -1;
}

static int compile(Request *r, optc_context *cx, const char *text, size_t length, int backend, optc_rule **rule) {
  bool ptx = backend == OPTC_BACKEND_PTX;
  optc_compile_options options = {.size = sizeof options, .level = r->common.level, .fast = r->common.fast, .passes = r->common.passes, .rule = r->common.rule, .store = r->common.store,
    .cpu = ptx ? r->gpu : r->cpu, .backend = backend, .seed = r->seed, .compute_f64 = r->common.compute_f64, .verify_each = r->common.verify_each,
    .timed = r->common.time ? timing_add : NULL, .timed_self = &r->timing};
  int status = text ? optc_compile_memory(cx, "<stdin>", text, length, &options, rule) : optc_compile_file(cx, r->input, &options, rule);
  return command_report(cx, status, r->common.json);
}

/* The rule's made-up data. -1, or an exit code. */
static int open_data(Data *d, const Request *r, const optc_rule *rule, const optc_parallel *parallel) {
  *d = (Data){.rule = rule, .entry = choose_entry(rule, r->entry), .n_operands = optc_rule_operands(rule)};
  if (d->entry < 0) return command_error(COMMAND_USAGE, "the rule has no entry '%s'", r->entry ? r->entry : "step");
  d->hyper = calloc((size_t)optc_rule_hypers(rule) + 1, sizeof *d->hyper);
  int code = d->hyper ? command_hypers(rule, r->set, r->n_sets, d->hyper) : command_error(COMMAND_INPUT, "out of memory");
  return code < 0 ? make_data(d, r, parallel) : code;
}

static int run(Request *r, optc_context *cx) {
  bool ptx = r->backend == OPTC_BACKEND_PTX;
  optc_rule *rule[2] = {NULL, NULL};
  Data data[2] = {0};
  size_t length = 0;
  char *text = strcmp(r->input, "-") ? NULL : command_stdin(&length);
  if (!text && !strcmp(r->input, "-")) return COMMAND_INPUT;
  optc_parallel parallel = optc_parallel_openmp((int)r->threads);
  r->wish.elements = r->elements;
  r->wish.elements_given = r->elements_given;
  double begun = seconds();
  int code = compile(r, cx, text, length, ptx ? OPTC_BACKEND_JIT : r->backend, &rule[0]);
  double compile_ms = 1e3*(seconds() - begun);
  if (!code && ptx) code = compile(r, cx, text, length, OPTC_BACKEND_PTX, &rule[1]);
  free(text);
  code = code ? code : -1;
  for (int k = 0; k <= ptx && code < 0; k++) code = open_data(&data[k], r, rule[k], &parallel);
  if (code < 0) code = ptx ? against_cpu(r, &data[0], &data[1], &parallel) : measure(r, &data[0], &parallel, compile_ms);
  for (int k = 0; k < 2; k++) {
    free_data(&data[k]);
    optc_rule_free(rule[k]);
  }
  return code;
}

static bool take_count(const char *option, const char *value, long long most, long long *out) {
  if (command_count(value, out) && *out >= 1 && *out <= most) return true;
  command_error(COMMAND_USAGE, "%s wants a number from 1 to %lld, not '%s'", option, most, value);
  return false;
}

static int take_option(Request *r, const Options *o, int id) {
  static const Choice backends[] = {{"jit", OPTC_BACKEND_JIT}, {"graph", OPTC_BACKEND_GRAPH}, {"kernel", OPTC_BACKEND_KERNEL}, {"ptx", OPTC_BACKEND_PTX}, {"interp", OPTC_BACKEND_GRAPH}, {"kernels", OPTC_BACKEND_KERNEL}};
  switch (id) {
  case OPTION_ELEMENTS: r->elements_given = true; return take_count("--elements", o->value, 1ll << 40, &r->elements) ? -1 : COMMAND_USAGE;
  case OPTION_STEPS: return take_count("--steps", o->value, 1000000, &r->steps) ? -1 : COMMAND_USAGE;
  case OPTION_THREADS: return take_count("--threads", o->value, 4096, &r->threads) ? -1 : COMMAND_USAGE;
  case OPTION_ENTRY: r->entry = o->value; break;
  case OPTION_MCPU: r->cpu = strncmp(o->value, "cpu=", 4) ? o->value : o->value + 4; break;
  case OPTION_CACHE_DIR: r->cache_dir = o->value; break;
  case OPTION_SET:
    if (r->n_sets == RUN_MAX_SETS) return command_error(COMMAND_USAGE, "--set is given too often");
    r->set[r->n_sets++] = o->value;
    break;
  case OPTION_SHAPE:
    if (r->wish.n_shapes == RUN_MAX_SETS) return command_error(COMMAND_USAGE, "--shape is given too often");
    r->wish.shape[r->wish.n_shapes++] = o->value;
    break;
  case OPTION_SIZE: return run_sizes(o->value, &r->wish.sizes);
  case OPTION_BACKEND:
    r->backend_given = true;
    return command_choice("--backend", o->value, backends, sizeof backends/sizeof *backends, 4, &r->backend) ? -1 : COMMAND_USAGE;
  case OPTION_PTX_GPU: r->gpu = o->value; break;
  case OPTION_SEED:
    r->seeded = true;
    return command_seed(o->value, &r->seed) ? -1 : COMMAND_USAGE;
  case OPTION_FORMAT: return command_format("--format", o->value, &r->json) ? -1 : COMMAND_USAGE;
  }
  return -1;
}

int command_run(int argc, char **argv) {
  Request r = {.threads = sysconf(_SC_NPROCESSORS_ONLN), .backend = OPTC_BACKEND_JIT};
  Options o = {.argc = argc, .argv = argv, .command = COMMAND_R};
  int id, code;
  common_default(&r.common);
  while ((id = options_next(&o)) != -1) {
    if (!common_option(&r.common, &o, id, &code)) code = take_option(&r, &o, id);
    if (code >= 0) return code;
  }
  bool ptx = r.gpu || r.seeded || r.backend == OPTC_BACKEND_PTX;
  if (ptx && r.backend_given && r.backend != OPTC_BACKEND_PTX) return command_error(COMMAND_USAGE, command_ptx_only);
  if (ptx && r.common.fast) return command_error(COMMAND_USAGE, "--fast has other bits on a GPU than on a CPU: there is nothing to compare");
  if (ptx) r.backend = OPTC_BACKEND_PTX;
  if (!r.elements_given) r.elements = ptx ? PTX_ELEMENTS : 16ll << 20;
  if (!r.steps) r.steps = ptx ? PTX_STEPS : 15;
  if (o.first + 1 != argc) return command_error(COMMAND_USAGE, "optc run wants one rule file");
  r.input = argv[o.first];
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = r.cache_dir, .color = r.common.color});
  if (!cx) return command_error(COMMAND_INPUT, "out of memory");
  code = run(&r, cx);
  optc_context_free(cx);
  if (r.common.time) timing_print(&r.timing);
  return code;
}
