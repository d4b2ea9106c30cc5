/* driver.c: one call of a compiled rule: validates it, then runs its kernels over groups, items and chunks.
 *
 * The workspace: slots and totals, the temporaries of the call, then item by item its temporaries and a dense copy of each of its strided tensors.
 *
 * Freestanding: no library call, no allocation, no state but the dispatch word that the caller hands in. It is part of the host
 * library (where it also drives the interpreters) and, as machine code without relocations, of every object that the compiler writes. */
#include "ir/frame.h"

enum { NO_GROUP = -1, MAX_RANK = 64, MAX_TASKS = 256 };

/* An item after its shape and shard are checked. */
typedef struct view { char *item; const int64_t *shape; int64_t rank, group, total, count; } view;

/* One worker: its frame, its own uniforms, and what it has met so far. */
typedef struct worker {
  optc_frame frame;
  int64_t group;                         /* whose uniforms these are */
  uintptr_t at;                          /* workspace of the next item */
  int too_large;                         /* sizes met that no memory has */
  int64_t wrong;                         /* the operand that an error is about, or -1 */
  void *data[OPTC_MAX_BUFFERS];
  uint64_t uniform[OPTC_MAX_UNIFORMS];
  const int64_t *shapes[OPTC_MAX_OPERANDS];
  int64_t ranks[OPTC_MAX_OPERANDS], counts[OPTC_MAX_BUFFERS], extents[OPTC_MAX_RANK*OPTC_MAX_OPERANDS];
} worker;

typedef struct job {
  const optc_rule_desc *rule;
  const optc_entry_desc *entry;
  const optc_call *call;
  int64_t variant;
  const optc_kernel_desc *kernel;
  const int64_t *reads;                  /* the entry's */
  enum { RUN, PACK, UNPACK } mode;
  int64_t units, n_tasks;
  int sized, call_sized, strided;        /* sizes kernels are there; some tensor is not dense */
  int64_t prepared_group;                /* the group of the first item: its uniforms are made once for all tasks */
  const uint64_t *prepared;              /* NULL: none */
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

/* The product of the extents, or -1. */
static int64_t product(const int64_t *shape, int64_t rank) {
  int64_t total = 1, zero = 0;
  for (int64_t a = 0; a < rank; a++) {
    int64_t n = shape[a];
    if (n < 0) return -1;
    if (!n) zero = 1;
    else if (total > (INT64_MAX >> 5)/n) return -1;
    else total *= n;
  }
  return zero ? 0 : total;
}

static int look(const optc_rule_desc *rule, const optc_call *call, int64_t i, view *v) {
  char *item = (char *)call->items + i*rule->item_size;
  v->item = item;
  v->group = FIELD(item, rule->item_group, int64_t);
  v->rank = FIELD(item, rule->item_rank, int64_t);
  v->shape = FIELD(item, rule->item_shape, const int64_t *);
  int64_t first = FIELD(item, rule->item_first, int64_t), count = FIELD(item, rule->item_count, int64_t);
  if (v->rank < 0 || v->rank > MAX_RANK) return OPTC_E_SHAPE;
  if (v->rank && !v->shape) return OPTC_E_NULL;
  int64_t total = product(v->shape, v->rank);
  if (total < 0 || first < 0 || count < 0 || first > total || count > total - first || first%OPTC_CHUNK) return OPTC_E_SHAPE;
  v->total = total;
  v->count = !count && !first ? total : count;
  return 0;
}

/* Work is counted in chunks; an item without elements is one unit, because its scalars still have their kernels. */
static int64_t units_of(const view *v) { return v->count ? (v->count + OPTC_CHUNK - 1)/OPTC_CHUNK : 1; }

static int64_t temp_kind(const optc_entry_desc *entry, int64_t k) { return entry->temp_kind ? entry->temp_kind[k] : 0; }
static int dense(const int64_t *shape, int64_t rank, const int64_t *stride);

/* Room in the workspace for `count` elements. */
static void *reserve(worker *w, int64_t count, int64_t bytes) {
  if (count < 0) count = 0;
  if (count > (INT64_MAX >> 8)/bytes || (uint64_t)count*(uint64_t)bytes > (UINTPTR_MAX >> 1) - (w->at & (UINTPTR_MAX >> 1))) {
    w->too_large = 1;
    count = 0;
  }
  void *at = (void *)w->at;
  w->at += ((size_t)(count*bytes) + 63) & ~(size_t)63;
  return at;
}

static void launch(worker *w, const job *j, const optc_kernel_desc *kernel) {
  w->frame.self = kernel->self;
  kernel->fn[j->variant](&w->frame);
}

static void launch_all(worker *w, const job *j, int64_t kind) {
  for (int64_t k = 0; k < j->entry->n_kernels; k++)
    if (j->entry->kernels[k].launch == kind) launch(w, j, &j->entry->kernels[k]);
}

/* What the frame says of an operand with elements: data, and its own shape where the caller chooses it. */
static int enter_tensor(worker *w, const job *j, int64_t k, void *base, int64_t count) {
  const optc_operand_desc *o = &j->rule->operands[k];
  const optc_shaped *x = &FIELD(base, o->offset, const optc_shaped);
  w->data[k] = x->data;
  w->shapes[k] = 0;
  w->ranks[k] = 0;
  w->counts[k] = count;
  if (!o->shaped || !(j->reads[k] & (USE_READ | USE_WRITTEN | USE_SIZES))) return 0;
  int64_t rank = x->rank;
  w->wrong = k;
  if (rank < 0 || rank > MAX_RANK) return OPTC_E_SHAPE;
  if (rank && !x->shape && x->data) return OPTC_E_NULL;
  if (!x->shape) rank = 0;
  w->shapes[k] = x->shape;
  w->ranks[k] = rank;
  w->counts[k] = product(x->shape, rank);
  if (w->counts[k] < 0) return OPTC_E_SHAPE;
  w->wrong = -1;
  return 0;
}

static void make_job(job *j, const optc_rule_desc *rule, const optc_entry_desc *entry, const optc_call *call, int64_t variant) {
  j->rule = rule;
  j->entry = entry;
  j->call = call;
  j->variant = variant;
  j->kernel = 0;
  j->reads = entry ? entry->reads : 0;
  j->mode = RUN;
  j->units = j->n_tasks = 0;
  j->prepared_group = NO_GROUP;
  j->prepared = 0;
  j->sized = j->call_sized = j->strided = 0;
  for (int64_t k = 0; entry && k < entry->n_kernels; k++) {
    j->sized |= entry->kernels[k].launch == LAUNCH_SIZES;
    j->call_sized |= entry->kernels[k].launch == LAUNCH_CALL_SIZES;
  }
}

/* A worker at the beginning of the list, with the operands and temporaries of the call. An error code. */
static int start(worker *w, const job *j) {
  const optc_rule_desc *rule = j->rule;
  const optc_entry_desc *entry = j->entry;
  const optc_call *call = j->call;
  optc_frame *f = &w->frame;
  f->hyper = call->groups;
  f->global = call->global;
  f->item = 0;
  f->data = w->data;
  f->uniform = w->uniform;
  f->t = FIELD(call->global, 0, int64_t) + (entry->advances != 0);
  f->seed = FIELD(call->global, 8, uint64_t);
  f->index = f->count = f->begin = f->end = f->rank = f->failed = f->n_values = f->position = 0;
  f->shape = 0;
  f->exists = 0;
  f->self = 0;
  f->shapes = w->shapes;
  f->ranks = w->ranks;
  f->counts = w->counts;
  f->extents = w->extents;
  f->n_items = call->n_items;
  w->group = NO_GROUP;
  w->too_large = 0;
  w->wrong = -1;
  w->at = ((uintptr_t)call->workspace + 63) & ~(uintptr_t)63;
  f->slots = reserve(w, entry->n_slots*call->n_items, 8);
  f->totals = reserve(w, entry->n_slots, 8);
  int code = 0;
  for (int64_t k = 0; k < rule->n_operands; k++) {
    w->data[k] = 0;
    w->shapes[k] = 0;
    w->ranks[k] = w->counts[k] = 0;
    if (rule->operands[k].scope == SCOPE_GLOBAL && rule->operands[k].tensor && !code) code = enter_tensor(w, j, k, call->global, 0);
  }
  if (code) return code;
  if (j->call_sized) launch_all(w, j, LAUNCH_CALL_SIZES);
  for (int64_t k = 0; k < entry->n_temps; k++)
    if (temp_kind(entry, k) & TEMP_CALL) w->data[rule->n_operands + k] = reserve(w, w->counts[rule->n_operands + k], entry->temp_bytes[k]);
  return w->too_large ? OPTC_E_SHAPE : 0;
}

static void enter_group(worker *w, const job *j, int64_t group) {
  if (w->group == group) return;
  w->group = group;
  w->frame.hyper = (const char *)j->call->groups + group*j->rule->hyper_size;
  if (group == j->prepared_group)
    for (int64_t k = 0; k < j->entry->n_uniforms; k++) w->uniform[k] = j->prepared[k];
  else launch_all(w, j, LAUNCH_GROUP);
}

static int may_be_strided(const optc_operand_desc *o) { return o->role >= ROLE_IN && o->role <= ROLE_INOUT; }

/* Points the frame at an item; what the items have in the workspace stands one after the other. An error code. */
static int enter_item(worker *w, const job *j, int64_t i, const view *v) {
  const optc_rule_desc *rule = j->rule;
  const optc_entry_desc *entry = j->entry;
  optc_frame *f = &w->frame;
  f->hyper = (const char *)j->call->groups + v->group*rule->hyper_size;
  f->item = v->item;
  f->index = j->call->first_item + i;
  f->position = i;
  f->count = f->end = v->count;
  f->begin = 0;
  f->shape = v->shape;
  f->rank = v->rank;
  for (int64_t k = 0; k < rule->n_operands; k++) {
    if (rule->operands[k].scope != SCOPE_TENSOR) continue;
    int code = enter_tensor(w, j, k, v->item, v->count);
    if (code) return code;
  }
  if (j->sized) launch_all(w, j, LAUNCH_SIZES);
  for (int64_t k = 0; k < entry->n_temps; k++) {
    int64_t kind = temp_kind(entry, k), buffer = rule->n_operands + k;
    if (!(kind & TEMP_CALL)) w->data[buffer] = reserve(w, kind & TEMP_SIZED ? w->counts[buffer] : v->count, entry->temp_bytes[k]);
  }
  for (int64_t k = 0; k < rule->n_operands && j->strided; k++) {
    const optc_operand_desc *o = &rule->operands[k];
    if (o->scope != SCOPE_TENSOR || !w->data[k] || !may_be_strided(o) || !(j->reads[k] & (USE_READ | USE_WRITTEN))) continue;
    const optc_tensor *x = &FIELD(v->item, o->offset, const optc_tensor);
    if (!dense(o->shaped ? w->shapes[k] : v->shape, o->shaped ? w->ranks[k] : v->rank, x->stride)) w->data[k] = reserve(w, w->counts[k], o->bytes);
  }
  return w->too_large ? OPTC_E_SHAPE : 0;
}

/* --- strided tensors ---------------------------------------------------------------------------------------------------------- */

/* Row-major, where that makes a difference. */
static int dense(const int64_t *shape, int64_t rank, const int64_t *stride) {
  int64_t step = 1;
  if (!stride || product(shape, rank) == 0) return 1;
  for (int64_t a = rank; a-- > 0;) {
    if (shape[a] != 1 && stride[a] != step) return 0;
    step *= shape[a];
  }
  return 1;
}

static void copy_element(char *to, const char *from, int64_t bytes) {
  switch (bytes) {
    case 1: *to = *from; return;
    case 2: *(uint16_t *)to = *(const uint16_t *)from; return;
    case 4: *(uint32_t *)to = *(const uint32_t *)from; return;
    default: *(uint64_t *)to = *(const uint64_t *)from; return;
  }
}

/* Between the caller's strided tensors of an item and their dense copies. */
static void copy_strided(worker *w, const job *j, const view *v) {
  for (int64_t k = 0; k < j->rule->n_operands; k++) {
    const optc_operand_desc *o = &j->rule->operands[k];
    const optc_tensor *x = &FIELD(v->item, o->offset, const optc_tensor);
    if (o->scope != SCOPE_TENSOR || !o->tensor || w->data[k] == x->data) continue;
    if (j->mode == UNPACK && !(j->reads[k] & USE_WRITTEN)) continue;
    const int64_t *shape = o->shaped ? w->shapes[k] : v->shape;
    int64_t rank = o->shaped ? w->ranks[k] : v->rank;
    for (int64_t i = 0; i < w->counts[k]; i++) {
      int64_t at = 0, rest = i;
      for (int64_t a = rank; a-- > 0; rest /= shape[a]) at += rest%shape[a]*x->stride[a];
      char *packed = (char *)w->data[k] + i*o->bytes, *strided = (char *)x->data + at*o->bytes;
      copy_element(j->mode == PACK ? packed : strided, j->mode == PACK ? strided : packed, o->bytes);
    }
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
    if (u >= units && !j->sized && !j->strided) {                       /* another worker's: where the next one lies is all that matters */
      for (int64_t k = 0; k < j->entry->n_temps; k++)
        if (!(temp_kind(j->entry, k) & TEMP_CALL)) reserve(&w, v.count, j->entry->temp_bytes[k]);
      continue;
    }
    enter_item(&w, j, i, &v);
    if (u >= units) continue;
    if (j->mode != RUN || j->kernel->launch == LAUNCH_ITEM) {
      if (u) continue;                   /* the worker that has its first unit does it */
      if (j->mode != RUN) { copy_strided(&w, j, &v); continue; }
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
    e->operand = 0;
  }
  return code;
}

/* Of what a worker met: the operand has its name in the error. */
static int fail_at(const job *j, const worker *w, int code, int64_t item) {
  fail(j->call, code, 0, item);
  if (j->call->error && w->wrong >= 0) j->call->error->operand = j->rule->operands[w->wrong].name;
  return code;
}

/* The bytes that a tensor's elements lie in. */
typedef struct span { uintptr_t from, to; } span;

static span span_of(const void *data, int64_t count, int64_t bytes, const int64_t *shape, int64_t rank, const int64_t *stride) {
  span s = {(uintptr_t)data, (uintptr_t)data + (uintptr_t)(count*bytes)};
  if (!data || count <= 0) s.to = s.from;
  else if (!dense(shape, rank, stride)) {
    s.to = s.from + (uintptr_t)bytes;
    for (int64_t a = 0; a < rank; a++) *(stride[a] < 0 ? &s.from : &s.to) += (uintptr_t)(stride[a]*(shape[a] - 1)*bytes);
  }
  return s;
}

static int overlap(span a, span b) { return a.from < b.to && b.from < a.to && a.from != a.to && b.from != b.to; }

static span operand_span(const worker *w, const job *j, const view *v, int64_t k) {
  const optc_operand_desc *o = &j->rule->operands[k];
  const optc_tensor *x = &FIELD(v->item, o->offset, const optc_tensor);
  return span_of(x->data, w->counts[k], o->bytes, o->shaped ? w->shapes[k] : v->shape, o->shaped ? w->ranks[k] : v->rank, x->stride);
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
  launch_all(w, layout, LAUNCH_ITEM);
}

/* Strides: dense where they must be. Of a shard only dense ones; of what is written none that leads to one element twice by being 0. */
static int check_strides(job *j, const worker *w, const view *v, int64_t k) {
  const optc_operand_desc *o = &j->rule->operands[k];
  const int64_t *stride = FIELD(v->item, o->offset, const optc_tensor).stride, *shape = o->shaped ? w->shapes[k] : v->shape;
  int64_t rank = o->shaped ? w->ranks[k] : v->rank, reach = 0;
  if (dense(shape, rank, stride)) return 0;
  if (!may_be_strided(o) || (!o->shaped && v->count != v->total)) return OPTC_E_SHAPE;
  for (int64_t a = 0; a < rank; a++) {
    if (shape[a] == 1) continue;
    int64_t step = stride[a] < 0 ? -stride[a] : stride[a];
    if (step < 0 || step > ((INT64_MAX >> 5) - reach)/shape[a] || (!step && j->reads[k] & USE_WRITTEN)) return OPTC_E_SHAPE;
    reach += step*shape[a];
  }
  j->strided = 1;
  return 0;
}

/* The tensors of one item, which the worker has entered. */
static int check_tensors(job *j, worker *w, worker *layout_worker, const job *layout, int64_t i, const view *v) {
  const optc_rule_desc *rule = j->rule;
  uint8_t exists[OPTC_MAX_OPERANDS];
  int looked = 0;
  for (int64_t k = 0; k < rule->n_operands; k++) {
    const optc_operand_desc *o = &rule->operands[k];
    int64_t use = j->reads[k];
    if (o->scope != SCOPE_TENSOR || !(use & (USE_READ | USE_WRITTEN))) continue;
    const optc_tensor *x = &FIELD(v->item, o->offset, const optc_tensor);
    w->wrong = k;
    if (!x->data) {
      if (o->optional || o->role == ROLE_OUT || w->counts[k] <= 0) continue;
      if (!(use & USE_PREDICATE) || !layout->entry) return OPTC_E_NULL;
      if (!looked) {
        for (int64_t n = 0; n < rule->n_operands; n++) exists[n] = 1;
        find_existing(layout_worker, layout, i, v, exists);
        looked = 1;
      }
      if (exists[k]) return OPTC_E_NULL;
      continue;
    }
    if ((uintptr_t)x->data%(uintptr_t)o->bytes) return OPTC_E_ALIGN;
    int code = check_strides(j, w, v, k);
    if (code) return code;
    span mine = operand_span(w, j, v, k);
    for (int64_t n = 0; n < rule->n_operands && use & USE_WRITTEN; n++) {
      const optc_operand_desc *p = &rule->operands[n];
      if (n != k && p->scope == SCOPE_TENSOR && j->reads[n] & (USE_READ | USE_WRITTEN) && overlap(mine, operand_span(w, j, v, n))) return OPTC_E_OVERLAP;
    }
  }
  w->wrong = -1;
  return 0;
}

/* The tensors of the call: there, aligned and dense. */
static int check_globals(const job *j, worker *w) {
  for (int64_t k = 0; k < j->rule->n_operands; k++) {
    const optc_operand_desc *o = &j->rule->operands[k];
    if (o->scope != SCOPE_GLOBAL || !o->tensor || !(j->reads[k] & (USE_READ | USE_WRITTEN))) continue;
    const optc_tensor *x = &FIELD(j->call->global, o->offset, const optc_tensor);
    w->wrong = k;
    if (!x->data && !o->optional && o->role != ROLE_OUT && w->counts[k] > 0) return OPTC_E_NULL;
    if (x->data && (uintptr_t)x->data%(uintptr_t)o->bytes) return OPTC_E_ALIGN;
    if (x->data && o->shaped && !dense(w->shapes[k], w->ranks[k], x->stride)) return OPTC_E_SHAPE;
  }
  w->wrong = -1;
  return 0;
}

/* Whether the arrays of a worker are large enough. */
static int fits(const optc_rule_desc *rule, const optc_entry_desc *entry) {
  return rule->n_operands <= OPTC_MAX_OPERANDS && rule->n_operands + entry->n_temps <= OPTC_MAX_BUFFERS && entry->n_uniforms <= OPTC_MAX_UNIFORMS && entry->n_slots <= OPTC_MAX_SLOTS;
}

/* What can be wrong with the call struct itself: an error code, recorded where there is a place for it. Where `error` lies is not known if the size is wrong. */
static int check_head(const optc_rule_desc *rule, const optc_call *call) {
  static const char head[6][32] = {"call->global is NULL", "call->items is NULL", "call->groups is NULL", "call->n_groups is negative", "call->n_items is negative",
                                   "call->first_item is negative"};
  if (call->size != sizeof(optc_call)) return OPTC_E_SIZE;
  if (!call->global) return fail(call, OPTC_E_NULL, head[0], -1);
  if (call->n_items > 0 && !call->items) return fail(call, OPTC_E_NULL, head[1], -1);
  if (call->n_groups > 0 && rule->hyper_size && !call->groups) return fail(call, OPTC_E_NULL, head[2], -1);
  if (call->n_groups < 0) return fail(call, OPTC_E_GROUP, head[3], -1);
  if (call->n_items < 0) return fail(call, OPTC_E_SHAPE, head[4], -1);
  return call->first_item < 0 ? fail(call, OPTC_E_SHAPE, head[5], -1) : 0;
}

/* Requirements, for the item that the worker has entered. */
static int check_item(const job *j, worker *w, int64_t i) {
  optc_error *e = j->call->error;
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

static int check_call(job *j, int64_t *first_group) {
  const optc_rule_desc *rule = j->rule;
  const optc_entry_desc *entry = j->entry;
  const optc_call *call = j->call;
  if (!fits(rule, entry)) return fail(call, OPTC_E_INTERNAL, texts[OPTC_E_MEMORY], -1);
  job layout;
  make_job(&layout, rule, entry_named(rule, WORD('l', 'a', 'y', 'o')), call, j->variant);
  worker w, layout_worker;
  int code = start(&w, j);
  if (!code && layout.entry) code = start(&layout_worker, &layout);
  if (!code) code = check_globals(j, &w);
  if (code) return fail_at(j, &w, code, -1);
  *first_group = 0;
  for (int64_t i = 0; i < call->n_items; i++) {
    view v;
    uintptr_t before = w.at;
    code = look(rule, call, i, &v);
    if (!code && (v.group < 0 || v.group >= call->n_groups)) code = OPTC_E_GROUP;
    if (!code) code = enter_item(&w, j, i, &v);
    int strided = j->strided;
    if (!code) code = check_tensors(j, &w, &layout_worker, &layout, i, &v);
    if (!code && strided != j->strided) {                               /* the first one: this item needs room for its copies */
      w.at = before;
      code = enter_item(&w, j, i, &v);
    }
    if (code) return fail_at(j, &w, code, i);
    if (!i) *first_group = v.group;
    for (int64_t k = 0; entry->equal_hypers >> k && k < 64; k++) {
      int64_t at = 8*k;
      if (entry->equal_hypers >> k & 1 &&
          FIELD(call->groups, v.group*rule->hyper_size + at, uint64_t) != FIELD(call->groups, *first_group*rule->hyper_size + at, uint64_t))
        return fail(call, OPTC_E_HYPER, 0, i);
    }
    if ((entry->item_checks || w.group != v.group) && (code = check_item(j, &w, i))) return code;
    w.group = v.group;
    j->units += units_of(&v);
  }
  size_t need = w.at - (uintptr_t)call->workspace;                      /* with what lies in front of the first aligned byte */
  if (w.at != (((uintptr_t)call->workspace + 63) & ~(uintptr_t)63) && (!call->workspace || call->workspace_size < need)) return fail(call, OPTC_E_WORKSPACE, 0, -1);
  for (int64_t k = 0; k < entry->n_kernels; k++)
    if ((entry->kernels[k].launch == LAUNCH_FINISH || entry->kernels[k].launch == LAUNCH_TOTAL) && !call->n_groups && rule->hyper_size) return fail(call, OPTC_E_GROUP, 0, -1);
  return 0;
}

/* --- the entries ------------------------------------------------------------------------------------------------------------ */
static void run_items(job *j, int64_t first_group) {
  const optc_call *call = j->call;
  int64_t tasks = call->n_items > 4096 ? MAX_TASKS/8 : MAX_TASKS;       /* every task walks the list: fewer for a long one */
  if (!j->units) return;
  j->n_tasks = !call->parallel || !call->parallel->run ? 1 : j->units < tasks ? j->units : tasks;
  if (j->n_tasks == 1) { task(j, 0); return; }
  worker w;
  start(&w, j);
  enter_group(&w, j, first_group);
  j->prepared_group = first_group;
  j->prepared = w.uniform;
  call->parallel->run(call->parallel->self, j->n_tasks, task, j);
  j->prepared_group = NO_GROUP;
  j->prepared = 0;
}

static void run_strided(job *j, int mode, int64_t first_group) {
  if (!j->strided) return;
  j->mode = mode;
  run_items(j, first_group);
  j->mode = RUN;
}

/* Whether t stays as it is. */
static int run(job *j, int64_t first_group) {
  int skip = 0;
  run_strided(j, PACK, first_group);
  for (int64_t k = 0; k < j->entry->n_kernels; k++) {
    j->kernel = &j->entry->kernels[k];
    if (j->kernel->launch == LAUNCH_FINISH || j->kernel->launch == LAUNCH_TOTAL) {
      worker w;
      start(&w, j);
      w.frame.hyper = (const char *)j->call->groups + first_group*j->rule->hyper_size;
      w.frame.skip = 0;
      launch(&w, j, j->kernel);
      skip |= w.frame.skip != 0;
    } else if (j->kernel->launch == LAUNCH_ITEM || j->kernel->launch == LAUNCH_CHUNK) run_items(j, first_group);
  }
  run_strided(j, UNPACK, first_group);
  return skip;
}

int optc_drive(const optc_rule_desc *rule, int64_t entry, const optc_call *call, int32_t *chosen) {
  if (!call) return OPTC_E_NULL;
  static const char no_phase[] = "there is no such phase";
  if (entry < 0) return call->size == sizeof *call ? fail(call, OPTC_E_SHAPE, no_phase, -1) : OPTC_E_SIZE;
  job j;
  make_job(&j, rule, &rule->entries[entry], call, choose(rule, chosen));
  if (j.variant < 0) return fail(call, OPTC_E_TARGET, 0, -1);
  static const char no_step[] = "t cannot be stepped: it is negative or the largest number there is";
  int code = check_head(rule, call);
  if (code) return code;
  int64_t first_group, before = FIELD(call->global, 0, int64_t);
  if (j.entry->advances && (before < 0 || before == INT64_MAX)) return fail(call, OPTC_E_SHAPE, no_step, -1);
  uint64_t saved = float_enter();
  code = check_call(&j, &first_group);
  if (!code) {
    int skip = run(&j, first_group);
    int64_t *t = &FIELD(call->global, 0, int64_t);
    if (j.entry->advances) *t += !skip;
    else if (j.entry == entry_named(rule, WORD('i', 'n', 'i', 't'))) *t = 0;
    fail(call, OPTC_OK, "", -1);
  }
  float_leave(saved);
  return code;
}

/* Bytes that an entry needs behind the first aligned one; 0 where the call is wrong. */
static size_t entry_workspace(const optc_rule_desc *rule, const optc_entry_desc *entry, const optc_call *call) {
  job j;
  make_job(&j, rule, entry, call, 0);    /* sizes kernels are the same in every variant */
  j.strided = 1;
  worker w;
  view v;
  if (!fits(rule, entry) || start(&w, &j)) return 0;
  uintptr_t first = ((uintptr_t)call->workspace + 63) & ~(uintptr_t)63;
  for (int64_t i = 0; i < call->n_items; i++)
    if (look(rule, call, i, &v) || v.group < 0 || v.group >= call->n_groups || enter_item(&w, &j, i, &v)) return 0;
  return w.at - first;
}

size_t optc_drive_workspace(const optc_rule_desc *rule, const optc_call *call) {
  size_t most = 0;
  if (!call || check_head(rule, call)) return 0;
  uint64_t saved = float_enter();
  for (int64_t e = 0; e < rule->n_entries; e++) {
    size_t size = entry_workspace(rule, &rule->entries[e], call);
    if (size > most) most = size;
  }
  float_leave(saved);
  return most ? most + 63 : 0;
}

static void tell_state(optc_state_info *info, const optc_operand_desc *o, const worker *w, const view *v, int64_t k, int exists) {
  int64_t own = o->tensor && !o->item_shape, rank = !o->tensor ? 0 : own ? o->rank : v->rank;
  const int64_t *shape = own ? &w->extents[OPTC_MAX_RANK*k] : v->shape;
  info->name = o->name;
  info->external = o->external ? o->external : o->name;
  info->type = o->type_name;
  info->scope = (int32_t)o->scope;
  info->exists = exists;
  info->rank = rank;
  for (int64_t a = 0; a < 8; a++) info->shape[a] = a < rank && rank <= 8 ? shape[a] : 0;
  info->count = !o->tensor ? 1 : own ? w->counts[k] : v->count;
  info->bytes = o->tensor ? info->count*o->bytes : 8;
  info->offset = o->offset;
}

int optc_drive_layout(const optc_rule_desc *rule, const optc_call *call, int64_t item, optc_state_info *out, int32_t *chosen) {
  if (!call) return OPTC_E_NULL;
  job j;
  const optc_entry_desc *layout = entry_named(rule, WORD('l', 'a', 'y', 'o'));
  make_job(&j, rule, layout ? layout : &rule->entries[0], call, choose(rule, chosen));
  if (j.variant < 0) return fail(call, OPTC_E_TARGET, 0, -1);
  int code = check_head(rule, call);
  if (code) return code;
  view v;
  if (!code && !fits(rule, j.entry)) return fail(call, OPTC_E_INTERNAL, texts[OPTC_E_MEMORY], -1);
  if (!code && !out) code = OPTC_E_NULL;
  if (!code && (item < 0 || item >= call->n_items)) code = OPTC_E_SHAPE;
  if (!code) code = look(rule, call, item, &v);
  if (!code && (v.group < 0 || v.group >= call->n_groups)) code = OPTC_E_GROUP;
  if (code) return fail(call, code, 0, item);
  uint8_t exists[OPTC_MAX_OPERANDS];
  worker w;
  for (int64_t k = 0; k < rule->n_operands; k++) exists[k] = 1;
  uint64_t saved = float_enter();
  code = start(&w, &j);
  if (!code) code = enter_item(&w, &j, item, &v);
  if (!code && layout) find_existing(&w, &j, item, &v, exists);
  float_leave(saved);
  if (code) return fail(call, code, 0, item);
  for (int64_t k = 0, n = 0; k < rule->n_operands; k++)
    if (rule->operands[k].role == ROLE_STATE) tell_state(&out[n++], &rule->operands[k], &w, &v, k, exists[k]);
  return fail(call, OPTC_OK, "", -1);
}

/* Overlap across the items of a call: every tensor that some entry writes against every other. Quadratic in the number of
 * tensors, without memory of its own: meant for start-up and for debugging. */
int optc_drive_check(const optc_rule_desc *rule, const optc_call *call) {
  if (!call) return OPTC_E_NULL;
  int code = check_head(rule, call);
  if (code) return code;
  if (!fits(rule, &rule->entries[0])) return fail(call, OPTC_E_INTERNAL, texts[OPTC_E_MEMORY], -1);
  int64_t reads[OPTC_MAX_OPERANDS];                                     /* as if one entry did what all do */
  for (int64_t k = 0; k < rule->n_operands; k++) {
    reads[k] = 0;
    for (int64_t e = 0; e < rule->n_entries; e++) reads[k] |= rule->entries[e].reads[k];
  }
  const optc_entry_desc *layout = entry_named(rule, WORD('l', 'a', 'y', 'o'));
  job j;
  make_job(&j, rule, layout ? layout : &rule->entries[0], call, 0);
  j.reads = reads;
  worker w, other;
  uint64_t saved = float_enter();
  code = start(&w, &j);
  if (!code) code = start(&other, &j);
  int64_t i = code ? -1 : 0;
  for (; !code && i < call->n_items; i++) {
    view a, b;
    if ((code = look(rule, call, i, &a))) break;
    if (a.group < 0 || a.group >= call->n_groups) { code = OPTC_E_GROUP; break; }
    if ((code = enter_item(&w, &j, i, &a))) break;
    for (int64_t k = 0; k < rule->n_operands && !code; k++) {
      if (rule->operands[k].scope != SCOPE_TENSOR || !(reads[k] & USE_WRITTEN)) continue;
      span mine = operand_span(&w, &j, &a, k);
      for (int64_t l = 0; l < call->n_items && !code; l++) {
        if (look(rule, call, l, &b) || b.group < 0 || b.group >= call->n_groups || enter_item(&other, &j, l, &b)) continue;      /* reported when its turn comes */
        for (int64_t n = 0; n < rule->n_operands; n++)
          if (rule->operands[n].scope == SCOPE_TENSOR && (l != i || n != k) && overlap(mine, operand_span(&other, &j, &b, n))) { code = OPTC_E_OVERLAP; w.wrong = k; }
      }
    }
    if (code) break;
  }
  float_leave(saved);
  return code ? fail_at(&j, &w, code, i) : fail(call, OPTC_OK, "", -1);
}
