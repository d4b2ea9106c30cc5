/* driver.c: one call of a compiled rule: validates it, then runs its kernels over groups, items and chunks.
 *
 * Freestanding: no library call, no allocation, no state but the dispatch word that the caller hands in. It is part of the host
 * library (where it also drives the interpreters) and, as machine code without relocations, of every object that the compiler writes. */
#include "ir/frame.h"

enum { LAUNCH_CHECK, LAUNCH_GROUP, LAUNCH_ITEM, LAUNCH_CHUNK, LAUNCH_FINISH };        /* as in ir/kernel.h */
enum { ROLE_STATE = 5, SCOPE_TENSOR = 0, READ = 1, WRITTEN = 2, PREDICATE = 4, NO_GROUP = -1, MAX_RANK = 64, MAX_TASKS = 256 };

/* An item after its shape and shard are checked. */
typedef struct view { char *item; const int64_t *shape; int64_t rank, group, total, count; } view;

/* One worker: its frame, its own uniforms, and what it has met so far. */
typedef struct worker {
  optc_frame frame;
  int64_t group;                         /* whose uniforms these are */
  char *temps;                           /* of the next item */
  void *data[OPTC_MAX_BUFFERS];
  uint64_t uniform[OPTC_MAX_UNIFORMS];
} worker;

typedef struct job {
  const optc_rule_desc *rule;
  const optc_entry_desc *entry;
  const optc_call *call;
  int64_t variant;
  const optc_kernel_desc *kernel;
  int64_t units, n_tasks;
} job;

#define FIELD(base, offset, type) (*(type *)((char *)(base) + (offset)))

/* Rows of text, not pointers: the driver's machine code is copied into objects as it is and so may hold no address. */
static const char texts[15][88] = {
  [OPTC_E_SIZE] = "call->size is not the size of this rule's call struct", [OPTC_E_NULL] = "a pointer that must be given is NULL",
  [OPTC_E_SHAPE] = "a rank, extent, shard or stride does not fit", [OPTC_E_GROUP] = "an item's group is not one of the call's",
  [OPTC_E_HYPER] = "the groups differ in a hyper-parameter that must be equal in all of them",
  [OPTC_E_OVERLAP] = "tensors overlap, and one of them is written", [OPTC_E_WORKSPACE] = "the workspace is missing or too small",
  [OPTC_E_ALIGN] = "a pointer is not aligned to its element", [OPTC_E_TARGET] = "this machine lacks the instructions that this object was compiled for",
  [OPTC_E_MEMORY] = "too many operands, temporaries or uniform values",
};

/* --- the floating-point environment: ours while we run ------------------------------------------------------------------ */
#if defined(__x86_64__)
static uint64_t float_enter(void) {
  uint32_t old, ours = 0x1f80;           /* nearest even, nothing flushed, every exception masked */
  __asm__ volatile("stmxcsr %0" : "=m"(old));
  __asm__ volatile("ldmxcsr %0" : : "m"(ours) : "memory");
  return old;
}
static void float_leave(uint64_t saved) {
  uint32_t old = (uint32_t)saved;
  __asm__ volatile("ldmxcsr %0" : : "m"(old) : "memory");
}
#elif defined(__aarch64__)
static uint64_t float_enter(void) {
  uint64_t old;
  __asm__ volatile("mrs %0, fpcr" : "=r"(old));
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0) : "memory");
  return old;
}
static void float_leave(uint64_t saved) { __asm__ volatile("msr fpcr, %0" : : "r"(saved) : "memory"); }
#endif

/* --- which instruction set ------------------------------------------------------------------------------------------------ */
#if defined(__x86_64__)
static void cpuid(uint32_t leaf, uint32_t r[4]) {
  __asm__("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

/* The level of the x86-64 psABI that processor and system give. */
static int64_t machine_isa(void) {
  uint32_t r[4], basic, extended, seven = 0, mask = 0;
  cpuid(0, r);
  uint32_t leaves = r[0];
  cpuid(1, r);
  basic = r[2];
  cpuid(0x80000001, r);
  extended = r[2];
  if (leaves >= 7) {
    cpuid(7, r);
    seven = r[1];
  }
  if (basic & 1u << 27) {                /* OSXSAVE: ask which registers the system saves */
    uint32_t high;
    __asm__("xgetbv" : "=a"(mask), "=d"(high) : "c"(0));
  }
  const uint32_t v2 = 1u | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23;      /* sse3 ssse3 cx16 sse4.1 sse4.2 popcnt */
  const uint32_t v3 = 1u << 12 | 1u << 22 | 1u << 28 | 1u << 29;                      /* fma movbe avx f16c */
  const uint32_t v3_seven = 1u << 3 | 1u << 5 | 1u << 8;                              /* bmi1 avx2 bmi2 */
  const uint32_t v4_seven = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;     /* avx512 f dq cd bw vl */
  if ((basic & v2) != v2 || !(extended & 1u)) return OPTC_ISA_BASE;
  if ((basic & v3) != v3 || (seven & v3_seven) != v3_seven || !(extended & 1u << 5) || (mask & 0x6) != 0x6) return OPTC_ISA_X86_64_V2;
  return (seven & v4_seven) == v4_seven && (mask & 0xe6) == 0xe6 ? OPTC_ISA_X86_64_V4 : OPTC_ISA_X86_64_V3;
}
#else
static int64_t machine_isa(void) { return OPTC_ISA_BASE; }
#endif

/* The last variant that the machine can run, or -1. The word is written once with a value that never changes: no race matters. */
static int64_t choose(const optc_rule_desc *rule, int32_t *chosen) {
  if (!chosen) return 0;
  int32_t known = __atomic_load_n(chosen, __ATOMIC_RELAXED);
  if (!known) {
    int64_t isa = machine_isa();
    for (int64_t i = 0; i < rule->n_variants; i++)
      if (rule->variant_features[i] <= isa) known = (int32_t)i + 1;
    if (!known) return -1;
    __atomic_store_n(chosen, known, __ATOMIC_RELAXED);
  }
  return known - 1;
}

/* --- items ---------------------------------------------------------------------------------------------------------------- */
static int look(const optc_rule_desc *rule, const optc_call *call, int64_t i, view *v) {
  char *item = (char *)call->items + i*rule->item_size;
  v->item = item;
  v->group = FIELD(item, rule->item_group, int64_t);
  v->rank = FIELD(item, rule->item_rank, int64_t);
  v->shape = FIELD(item, rule->item_shape, const int64_t *);
  int64_t first = FIELD(item, rule->item_first, int64_t), count = FIELD(item, rule->item_count, int64_t), total = 1, zero = 0;
  if (v->rank < 0 || v->rank > MAX_RANK) return OPTC_E_SHAPE;
  if (v->rank && !v->shape) return OPTC_E_NULL;
  for (int64_t a = 0; a < v->rank; a++) {
    int64_t n = v->shape[a];
    if (n < 0) return OPTC_E_SHAPE;
    if (!n) zero = 1;
    else if (total > (INT64_MAX >> 5)/n) return OPTC_E_SHAPE;
    else total *= n;
  }
  if (zero) total = 0;
  if (first < 0 || count < 0 || first > total || count > total - first || first%OPTC_CHUNK) return OPTC_E_SHAPE;
  v->total = total;
  v->count = !count && !first ? total : count;
  return 0;
}

/* Work is counted in chunks; an item without elements is one unit, because its scalars still have their kernels. */
static int64_t units_of(const view *v) { return v->count ? (v->count + OPTC_CHUNK - 1)/OPTC_CHUNK : 1; }

static size_t temp_size(const optc_entry_desc *entry, int64_t k, int64_t count) { return ((size_t)(entry->temp_bytes[k]*count) + 63) & ~(size_t)63; }

static void start(worker *w, const job *j) {
  const optc_call *call = j->call;
  optc_frame *f = &w->frame;
  f->hyper = call->groups;
  f->global = call->global;
  f->item = 0;
  f->data = w->data;
  f->uniform = w->uniform;
  f->t = FIELD(call->global, 0, int64_t) + (j->entry->advances != 0);
  f->seed = FIELD(call->global, 8, uint64_t);
  f->index = f->count = f->begin = f->end = f->rank = f->failed = f->n_values = 0;
  f->shape = 0;
  f->exists = 0;
  f->self = 0;
  w->group = NO_GROUP;
  w->temps = (char *)(((uintptr_t)call->workspace + 63) & ~(uintptr_t)63);
}

static void launch(worker *w, const job *j, const optc_kernel_desc *kernel) {
  w->frame.self = kernel->self;
  kernel->fn[j->variant](&w->frame);
}

static void enter_group(worker *w, const job *j, int64_t group) {
  if (w->group == group) return;
  w->group = group;
  w->frame.hyper = (const char *)j->call->groups + group*j->rule->hyper_size;
  for (int64_t k = 0; k < j->entry->n_kernels; k++)
    if (j->entry->kernels[k].launch == LAUNCH_GROUP) launch(w, j, &j->entry->kernels[k]);
}

/* Points the frame at an item; temporaries of all items stand one after the other in the workspace. */
static void enter_item(worker *w, const job *j, int64_t i, const view *v) {
  const optc_rule_desc *rule = j->rule;
  optc_frame *f = &w->frame;
  f->item = v->item;
  f->index = j->call->first_item + i;
  f->count = f->end = v->count;
  f->begin = 0;
  f->shape = v->shape;
  f->rank = v->rank;
  for (int64_t k = 0; k < rule->n_operands; k++)
    w->data[k] = rule->operands[k].scope == SCOPE_TENSOR ? FIELD(v->item, rule->operands[k].offset, void *) : 0;
  for (int64_t k = 0; k < j->entry->n_temps; k++) {
    w->data[rule->n_operands + k] = w->temps;
    w->temps += temp_size(j->entry, k, v->count);
  }
}

/* A contiguous run of units: walks the list up to its start, then runs one kernel on what is its own. */
static void task(void *context, int64_t index) {
  const job *j = context;
  int64_t begin = j->units/j->n_tasks*index + j->units%j->n_tasks*index/j->n_tasks;
  int64_t end = j->units/j->n_tasks*(index + 1) + j->units%j->n_tasks*(index + 1)/j->n_tasks, at = 0;
  uint64_t saved = float_enter();
  worker w;
  start(&w, j);
  for (int64_t i = 0; i < j->call->n_items && at < end; i++) {
    view v;
    look(j->rule, j->call, i, &v);
    int64_t units = units_of(&v), u = begin > at ? begin - at : 0, stop = end - at < units ? end - at : units;
    at += units;
    if (u >= units) {
      for (int64_t k = 0; k < j->entry->n_temps; k++) w.temps += temp_size(j->entry, k, v.count);
      continue;
    }
    enter_item(&w, j, i, &v);
    if (j->kernel->launch == LAUNCH_ITEM) {
      if (u) continue;                   /* the worker that has its first unit does it */
      enter_group(&w, j, v.group);
      launch(&w, j, j->kernel);
      continue;
    }
    if (!v.count) continue;
    enter_group(&w, j, v.group);
    for (; u < stop; u++) {
      w.frame.begin = u*OPTC_CHUNK;
      w.frame.end = v.count - w.frame.begin < OPTC_CHUNK ? v.count : w.frame.begin + OPTC_CHUNK;
      launch(&w, j, j->kernel);
    }
  }
  float_leave(saved);
}

/* --- validation ------------------------------------------------------------------------------------------------------------ */
static int fail(const optc_call *call, int code, const char *text, int64_t item) {
  optc_error *e = call->error;
  if (e) {
    e->code = code;
    e->text = text ? text : texts[code];
    e->item = item;
    e->n = 0;
    for (int k = 0; k < 4; k++) e->value[k] = 0;
  }
  return code;
}

static int overlap(const void *a, size_t a_size, const void *b, size_t b_size) {
  uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
  return a && b && a_size && b_size && (x < y ? y - x < a_size : x - y < b_size);
}

static int dense(const view *v, const int64_t *stride) {
  int64_t step = 1;
  for (int64_t a = v->rank; stride && v->total && a-- > 0;) {
    if (v->shape[a] != 1 && stride[a] != step) return 0;
    step *= v->shape[a];
  }
  return 1;
}

static const optc_entry_desc *entry_named(const optc_rule_desc *rule, uint32_t word) {
  for (int64_t k = 0; k < rule->n_entries; k++) {
    const char *s = rule->entries[k].name;
    uint32_t w = 0;
    for (int i = 0; i < 4 && s[i]; i++) w |= (uint32_t)(unsigned char)s[i] << 8*i;
    if (w == word) return &rule->entries[k];
  }
  return 0;
}
#define WORD(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* Runs the layout entry on one item: exists[k] for the operands that it names, the others stay. */
static void find_existing(worker *w, const job *layout, int64_t i, const view *v, uint8_t *exists) {
  w->frame.exists = exists;
  enter_item(w, layout, i, v);
  enter_group(w, layout, v->group);
  for (int64_t k = 0; k < layout->entry->n_kernels; k++)
    if (layout->entry->kernels[k].launch == LAUNCH_ITEM) launch(w, layout, &layout->entry->kernels[k]);
}

/* The tensors of one item. */
static int check_tensors(const job *j, worker *layout_worker, const job *layout, int64_t i, const view *v) {
  const optc_rule_desc *rule = j->rule;
  uint8_t exists[OPTC_MAX_BUFFERS];
  int looked = 0;
  for (int64_t k = 0; k < rule->n_operands; k++) {
    const optc_operand_desc *o = &rule->operands[k];
    int64_t use = j->entry->reads[k];
    if (o->scope != SCOPE_TENSOR || !(use & (READ | WRITTEN))) continue;
    const optc_tensor *x = &FIELD(v->item, o->offset, const optc_tensor);
    if (!x->data) {
      if (o->optional || !v->count) continue;
      if (!(use & PREDICATE) || !layout->entry) return OPTC_E_NULL;
      if (!looked) {
        for (int64_t n = 0; n < rule->n_operands; n++) exists[n] = 1;
        find_existing(layout_worker, layout, i, v, exists);
        looked = 1;
      }
      if (exists[k]) return OPTC_E_NULL;
      continue;
    }
    if ((uintptr_t)x->data%(uintptr_t)o->bytes) return OPTC_E_ALIGN;
    if (!dense(v, x->stride)) return OPTC_E_SHAPE;
    for (int64_t n = 0; n < rule->n_operands && use & WRITTEN; n++) {
      const optc_operand_desc *p = &rule->operands[n];
      if (n != k && p->scope == SCOPE_TENSOR && j->entry->reads[n] & (READ | WRITTEN) &&
          overlap(x->data, (size_t)(v->count*o->bytes), FIELD(v->item, p->offset, void *), (size_t)(v->count*p->bytes)))
        return OPTC_E_OVERLAP;
    }
  }
  return 0;
}

/* Everything that can be wrong before anything is written. */
static int check_head(const optc_rule_desc *rule, const optc_call *call) {
  if (call->size != sizeof(optc_call)) return OPTC_E_SIZE;
  if (!call->global || (call->n_items > 0 && !call->items) || (call->n_groups > 0 && rule->hyper_size && !call->groups)) return OPTC_E_NULL;
  if (call->n_groups < 0) return OPTC_E_GROUP;
  return call->n_items < 0 || call->first_item < 0 ? OPTC_E_SHAPE : 0;
}

/* Requirements of a parameter group that is in use. */
static int check_group(const job *j, worker *w, int64_t group, int64_t i) {
  optc_error *e = j->call->error;
  w->group = group;
  w->frame.hyper = (const char *)j->call->groups + group*j->rule->hyper_size;
  for (int64_t k = 0; k < j->entry->n_kernels; k++) {
    if (j->entry->kernels[k].launch != LAUNCH_CHECK) continue;
    launch(w, j, &j->entry->kernels[k]);
    if (!w->frame.failed) continue;
    fail(j->call, OPTC_E_REQUIRE, j->entry->texts[w->frame.failed - 1], i);
    for (int64_t n = 0; e && n < w->frame.n_values; n++) e->value[n] = w->frame.value[n];
    if (e) e->n = (int)w->frame.n_values;
    return OPTC_E_REQUIRE;
  }
  return 0;
}

static int check_call(const job *j, int64_t *units, int64_t *first_group) {
  const optc_rule_desc *rule = j->rule;
  const optc_entry_desc *entry = j->entry;
  const optc_call *call = j->call;
  if (rule->n_operands + entry->n_temps > OPTC_MAX_BUFFERS || entry->n_uniforms > OPTC_MAX_UNIFORMS) return fail(call, OPTC_E_INTERNAL, texts[OPTC_E_MEMORY], -1);
  job layout = *j;
  layout.entry = entry_named(rule, WORD('l', 'a', 'y', 'o'));
  worker w, layout_worker;
  start(&w, j);
  if (layout.entry) start(&layout_worker, &layout);
  size_t workspace = 0;
  *units = 0;
  *first_group = 0;
  for (int64_t i = 0; i < call->n_items; i++) {
    view v;
    int code = look(rule, call, i, &v);
    if (!code && (v.group < 0 || v.group >= call->n_groups)) code = OPTC_E_GROUP;
    if (!code) code = check_tensors(j, &layout_worker, &layout, i, &v);
    if (code) return fail(call, code, 0, i);
    if (!i) *first_group = v.group;
    for (int64_t k = 0; entry->equal_hypers >> k && k < 64; k++) {
      int64_t at = 8*k;
      if (entry->equal_hypers >> k & 1 &&
          FIELD(call->groups, v.group*rule->hyper_size + at, uint64_t) != FIELD(call->groups, *first_group*rule->hyper_size + at, uint64_t))
        return fail(call, OPTC_E_HYPER, 0, i);
    }
    if (w.group != v.group && (code = check_group(j, &w, v.group, i))) return code;
    *units += units_of(&v);
    for (int64_t k = 0; k < entry->n_temps; k++) workspace += temp_size(entry, k, v.count);
  }
  uintptr_t lost = -(uintptr_t)call->workspace & 63;                 /* in front of the first aligned byte */
  if (workspace && (!call->workspace || call->workspace_size < workspace + lost)) return fail(call, OPTC_E_WORKSPACE, 0, -1);
  for (int64_t k = 0; k < entry->n_kernels; k++)
    if (entry->kernels[k].launch == LAUNCH_FINISH && !call->n_groups && rule->hyper_size) return fail(call, OPTC_E_GROUP, 0, -1);
  return 0;
}

/* --- the entries ------------------------------------------------------------------------------------------------------------ */
static void run(job *j, int64_t first_group) {
  const optc_call *call = j->call;
  for (int64_t k = 0; k < j->entry->n_kernels; k++) {
    j->kernel = &j->entry->kernels[k];
    if (j->kernel->launch == LAUNCH_FINISH) {
      worker w;
      start(&w, j);
      w.frame.hyper = (const char *)call->groups + first_group*j->rule->hyper_size;
      launch(&w, j, j->kernel);
    } else if (j->kernel->launch >= LAUNCH_ITEM && j->units) {
      int64_t tasks = call->n_items > 4096 ? MAX_TASKS/8 : MAX_TASKS;       /* every task walks the list: fewer for a long one */
      j->n_tasks = !call->parallel || !call->parallel->run ? 1 : j->units < tasks ? j->units : tasks;
      if (j->n_tasks == 1) task(j, 0);
      else call->parallel->run(call->parallel->self, j->n_tasks, task, j);
    }
  }
}

int optc_drive(const optc_rule_desc *rule, int64_t entry, const optc_call *call, int32_t *chosen) {
  if (!call) return OPTC_E_NULL;
  job j;
  j.rule = rule;
  j.entry = &rule->entries[entry];
  j.call = call;
  j.variant = choose(rule, chosen);
  if (j.variant < 0) return fail(call, OPTC_E_TARGET, 0, -1);
  int code = check_head(rule, call);
  if (code == OPTC_E_SIZE) return code;                                /* where `error` lies is not known then */
  if (code) return fail(call, code, 0, -1);
  int64_t first_group;
  uint64_t saved = float_enter();
  code = check_call(&j, &j.units, &first_group);
  if (!code) {
    run(&j, first_group);
    int64_t *t = &FIELD(call->global, 0, int64_t);
    if (j.entry->advances) *t += 1;
    else if (j.entry == entry_named(rule, WORD('i', 'n', 'i', 't'))) *t = 0;
    fail(call, OPTC_OK, "", -1);
  }
  float_leave(saved);
  return code;
}

size_t optc_drive_workspace(const optc_rule_desc *rule, const optc_call *call) {
  size_t most = 0;
  if (!call || check_head(rule, call)) return 0;
  for (int64_t e = 0; e < rule->n_entries; e++) {
    const optc_entry_desc *entry = &rule->entries[e];
    size_t size = 0;
    view v;
    for (int64_t i = 0; i < call->n_items && entry->n_temps; i++)
      for (int64_t k = 0; !look(rule, call, i, &v) && k < entry->n_temps; k++) size += temp_size(entry, k, v.count);
    if (size > most) most = size;
  }
  return most ? most + 63 : 0;
}

int optc_drive_layout(const optc_rule_desc *rule, const optc_call *call, int64_t item, optc_state_info *out, int32_t *chosen) {
  if (!call) return OPTC_E_NULL;
  job j;
  j.rule = rule;
  j.entry = entry_named(rule, WORD('l', 'a', 'y', 'o'));
  j.call = call;
  j.variant = choose(rule, chosen);
  if (j.variant < 0) return fail(call, OPTC_E_TARGET, 0, -1);
  int code = check_head(rule, call);
  if (code == OPTC_E_SIZE) return code;
  view v;
  if (!code && !out) code = OPTC_E_NULL;
  if (!code && (item < 0 || item >= call->n_items)) code = OPTC_E_SHAPE;
  if (!code) code = look(rule, call, item, &v);
  if (!code && (v.group < 0 || v.group >= call->n_groups)) code = OPTC_E_GROUP;
  if (code) return fail(call, code, 0, item);
  uint8_t exists[OPTC_MAX_BUFFERS];
  for (int64_t k = 0; k < rule->n_operands; k++) exists[k] = 1;
  if (j.entry) {
    uint64_t saved = float_enter();
    worker w;
    start(&w, &j);
    find_existing(&w, &j, item, &v, exists);
    float_leave(saved);
  }
  for (int64_t k = 0, n = 0; k < rule->n_operands; k++) {
    const optc_operand_desc *o = &rule->operands[k];
    if (o->role != ROLE_STATE) continue;
    optc_state_info *info = &out[n++];
    info->name = o->name;
    info->external = o->external ? o->external : o->name;
    info->type = o->type_name;
    info->scope = (int32_t)o->scope;
    info->exists = exists[k];
    info->rank = o->scope == SCOPE_TENSOR ? v.rank : 0;
    info->count = o->scope == SCOPE_TENSOR ? v.count : 1;
    info->bytes = o->scope == SCOPE_TENSOR ? v.count*o->bytes : 8;
    info->offset = o->offset;
  }
  return fail(call, OPTC_OK, "", -1);
}

/* Overlap across the items of a call: every tensor that some entry writes against every other. Quadratic in the number of
 * tensors, without memory of its own: meant for start-up and for debugging. */
int optc_drive_check(const optc_rule_desc *rule, const optc_call *call) {
  if (!call) return OPTC_E_NULL;
  int code = check_head(rule, call);
  if (code == OPTC_E_SIZE) return code;
  if (code) return fail(call, code, 0, -1);
  for (int64_t i = 0; i < call->n_items; i++) {
    view a, b;
    if ((code = look(rule, call, i, &a))) return fail(call, code, 0, i);
    for (int64_t k = 0; k < rule->n_operands; k++) {
      const optc_operand_desc *x = &rule->operands[k];
      int64_t written = 0;
      for (int64_t e = 0; e < rule->n_entries; e++) written |= rule->entries[e].reads[k] & WRITTEN;
      if (x->scope != SCOPE_TENSOR || !written) continue;
      for (int64_t l = 0; l < call->n_items; l++) {
        if (look(rule, call, l, &b)) continue;               /* reported when its turn comes */
        for (int64_t n = 0; n < rule->n_operands; n++) {
          const optc_operand_desc *y = &rule->operands[n];
          if (y->scope == SCOPE_TENSOR && (l != i || n != k) &&
              overlap(FIELD(a.item, x->offset, void *), (size_t)(a.count*x->bytes), FIELD(b.item, y->offset, void *), (size_t)(b.count*y->bytes)))
            return fail(call, OPTC_E_OVERLAP, 0, i);
        }
      }
    }
  }
  return fail(call, OPTC_OK, "", -1);
}
