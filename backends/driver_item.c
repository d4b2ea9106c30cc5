/* driver_item.c: workers enter the call, its groups and its items.
 *
 * The workspace: slots and totals, the temporaries of the call, then item by item its temporaries and a dense copy of each of its strided tensors. */
#include "backends/driver.h"

/* The product of the extents, or -1. */
int64_t drive_product(const int64_t *shape, int64_t rank) {
  int64_t total = 1, zero = 0;
  for (int64_t a = 0; a < rank; a++) {
    int64_t n = shape[a];
    if (n < 0) return -1;
    if (!n) zero = 1;
    else if (total > OPTC_MAX_COUNT/n) return -1;
    else total *= n;
  }
  return zero ? 0 : total;
}

/* Why there is no product. */
static finding why_not(const int64_t *shape, int64_t rank) {
  for (int64_t a = 0; a < rank; a++) if (shape[a] < 0) return drive_found(WHY_EXTENT, a, shape[a], 0);
  return drive_found(WHY_LARGE, 0, 0, 0);
}

/* One element or row may need others, which a shard lacks: all entries take shards, or none, so that what one leaves the next can go on with. */
static int takes_shards(const optc_rule_desc *rule) {
  for (int64_t e = 0; e < rule->n_entries; e++) if (!rule->entries[e].flat) return 0;
  return 1;
}

int drive_look(const optc_rule_desc *rule, const optc_call *call, int64_t i, view *v) {
  char *item = (char *)call->items + i*rule->item_size;
  v->item = item;
  v->group = FIELD(item, rule->item_group, int64_t);
  v->rank = FIELD(item, rule->item_rank, int64_t);
  v->shape = FIELD(item, rule->item_shape, const int64_t *);
  int64_t first = FIELD(item, rule->item_first, int64_t), count = FIELD(item, rule->item_count, int64_t);
  v->found = drive_found(WHY_RANK, v->rank, MAX_RANK, 0);
  if (v->rank < 0 || v->rank > MAX_RANK) return OPTC_E_SHAPE;
  v->found.why = WHY_NO_SHAPE;
  if (v->rank && !v->shape) return OPTC_E_NULL;
  int64_t total = drive_product(v->shape, v->rank);
  if (total < 0) v->found = why_not(v->shape, v->rank);
  else if (first < 0 || first > total || first%OPTC_CHUNK) v->found = drive_found(WHY_FIRST, first, total, 0);
  else if (count < -1 || count > total - first) v->found = drive_found(WHY_COUNT, count, first, total);
  else v->found.why = WHY_NOTHING;
  if (v->found.why) return OPTC_E_SHAPE;
  v->total = total;
  v->first = first;
  v->count = count < 0 ? 0 : !count && !first ? total : count;         /* -1: nothing of it */
  if (v->count != total && !takes_shards(rule)) return OPTC_E_SHARD;
  if (v->group >= 0 && v->group < call->n_groups) return 0;
  v->found = drive_found(WHY_GROUP, v->group, call->n_groups, 0);
  return OPTC_E_GROUP;
}

void *drive_reserve(worker *w, uintptr_t *end, int64_t count, int64_t bytes) {
  if (count < 0) count = 0;
  if (count > (INT64_MAX >> 8)/bytes || (uint64_t)count*(uint64_t)bytes > (UINTPTR_MAX >> 1) - (*end & (UINTPTR_MAX >> 1))) {
    w->too_large = 1;
    count = 0;
  }
  void *at = (void *)*end;
  *end += ((size_t)(count*bytes) + 63) & ~(size_t)63;
  return at;
}

int drive_too_large(worker *w) {
  if (!w->too_large) return 0;
  w->found.why = WHY_LARGE;
  return OPTC_E_SHAPE;
}

void drive_launch(worker *w, const job *j, const optc_kernel_desc *kernel) {
  w->frame.self = kernel->self;
  kernel->fn[j->variant](&w->frame);
}

void drive_launch_all(worker *w, const job *j, int64_t kind) {
  for (int64_t k = 0; k < j->entry->n_kernels; k++)
    if (j->entry->kernels[k].launch == kind) drive_launch(w, j, &j->entry->kernels[k]);
}

/* What the frame says of an operand with elements: data, and its own shape where the caller chooses it. */
static int enter_tensor(worker *w, const job *j, int64_t k, void *base, int64_t count) {
  const optc_operand_desc *o = &j->rule->operands[k];
  const optc_shaped *x = &FIELD(base, o->offset, const optc_shaped);
  w->data[k] = x->data;
  w->shapes[k] = 0;
  w->ranks[k] = 0;
  w->counts[k] = count;
  if (!o->shaped || !(j->uses[k] & (USE_TOUCHED | USE_SIZES))) return 0;
  int64_t rank = x->rank;
  w->wrong = k;
  w->found = drive_found(WHY_RANK, rank, MAX_RANK, 0);
  if (rank < 0 || rank > MAX_RANK) return OPTC_E_SHAPE;
  w->found.why = WHY_NO_SHAPE;
  if (rank && !x->shape && x->data) return OPTC_E_NULL;
  if (!x->shape) rank = 0;
  w->shapes[k] = x->shape;
  w->ranks[k] = rank;
  w->counts[k] = drive_product(x->shape, rank);
  w->found = why_not(x->shape, rank);
  if (w->counts[k] < 0) return OPTC_E_SHAPE;
  w->found.why = WHY_NOTHING;
  w->wrong = -1;
  return 0;
}

void drive_job(job *j, const optc_rule_desc *rule, const optc_entry_desc *entry, const optc_call *call, int64_t variant) {
  j->rule = rule;
  j->entry = entry;
  j->call = call;
  j->variant = variant;
  j->kernel = 0;
  j->uses = entry ? entry->uses : 0;
  j->mode = RUN;
  j->units = j->n_tasks = 0;
  j->model = 0;
  j->sized = j->call_sized = j->strided = 0;
  j->records = 0;
  j->record_size = (int64_t)sizeof(record) + (entry ? 16*entry->n_spaces + 8*entry->n_temps : 0) + 8*rule->n_operands;
  j->records_at = j->partials = j->room = 0;
  j->chunks = 0;
  j->from = 0;
  j->to = call ? call->n_items : 0;
  j->depth = 0;
  for (int64_t k = 0; entry && k < entry->n_kernels; k++) {
    j->sized |= entry->kernels[k].launch == LAUNCH_SIZES;
    j->call_sized |= entry->kernels[k].launch == LAUNCH_CALL_SIZES;
  }
  j->planned = entry && (entry->n_temps || entry->n_spaces);
}

typedef uint64_t __attribute__((may_alias)) word;

static void copy_words(void *to, const void *from, int64_t n) { for (int64_t k = 0; k < n; k++) ((word *)to)[k] = ((const word *)from)[k]; }

static void own_arrays(worker *w) {
  optc_frame *f = &w->frame;
  f->data = w->data;
  f->uniform = w->uniform;
  f->spaces = w->spaces;
  f->shapes = w->shapes;
  f->ranks = w->ranks;
  f->counts = w->counts;
  f->extents = w->extents;
}

/* As the model began: what another core has written arrives line by line, so it is read in one go and not by way of the call. */
static void start_like(worker *w, const worker *model, const job *j) {
  int64_t n = j->rule->n_operands, buffers = n + j->entry->n_temps;
  copy_words(w, model, (int64_t)(__builtin_offsetof(worker, data)/8));
  copy_words(w->uniform, model->uniform, j->entry->n_uniforms);
  copy_words(w->data, model->data, buffers);
  copy_words(w->shapes, model->shapes, n);
  copy_words(w->ranks, model->ranks, n);
  copy_words(w->counts, model->counts, buffers);
  if (j->call_sized) copy_words(w->extents, model->extents, OPTC_MAX_RANK*n);
  own_arrays(w);
}

/* A worker at the beginning of the list, with the operands and temporaries of the call. An error code. */
int drive_start(worker *w, const job *j) {
  if (j->model) { start_like(w, j->model, j); return 0; }
  const optc_rule_desc *rule = j->rule;
  const optc_entry_desc *entry = j->entry;
  const optc_call *call = j->call;
  optc_frame *f = &w->frame;
  f->hyper = call->groups;
  f->global = call->global;
  f->item = 0;
  own_arrays(w);
  f->t = FIELD(call->global, 0, int64_t) + (entry->advances != 0);
  f->seed = FIELD(call->global, 8, uint64_t);
  f->total = f->first = 0;
  for (int64_t k = 0; k < OPTC_MAX_REPEATS; k++) f->trip[k] = k < j->depth ? j->trip[k] : 0;
  f->index = f->count = f->begin = f->end = f->rank = f->failed = f->n_values = f->position = f->window = 0;
  f->shape = 0;
  f->exists = 0;
  f->self = 0;
  f->n_items = call->n_items;
  w->group = NO_GROUP;
  w->too_large = 0;
  w->wrong = w->other = -1;
  w->found.why = WHY_NOTHING;
  w->at = ((uintptr_t)call->workspace + 63) & ~(uintptr_t)63;
  f->slots = drive_reserve(w, &w->at, entry->n_slots*call->n_items, 8);
  f->totals = drive_reserve(w, &w->at, entry->n_slots, 8);
  int code = 0;
  for (int64_t k = 0; k < rule->n_operands; k++) {
    w->data[k] = 0;
    w->shapes[k] = 0;
    w->ranks[k] = w->counts[k] = 0;
    if (rule->operands[k].scope == SCOPE_GLOBAL && rule->operands[k].tensor && !code) code = enter_tensor(w, j, k, call->global, 0);
  }
  if (code) return code;
  if (j->call_sized) drive_launch_all(w, j, LAUNCH_CALL_SIZES);
  for (int64_t k = 0; k < entry->n_temps; k++)
    if (drive_temp_kind(entry, k) & TEMP_CALL) w->data[rule->n_operands + k] = drive_reserve(w, &w->at, w->counts[rule->n_operands + k], entry->temp_bytes[k]);
  w->chunks = 0;
  w->room = w->most = j->room;
  w->window = w->opens = 0;
  return drive_too_large(w);
}

void drive_enter_group(worker *w, const job *j, int64_t group) {
  if (w->group == group) return;
  w->group = group;
  w->frame.hyper = (const char *)j->call->groups + group*j->rule->hyper_size;
  drive_launch_all(w, j, LAUNCH_GROUP);
}

/* Points the frame at an item. An error code. */
int drive_enter_item(worker *w, const job *j, int64_t i, const view *v) {
  const optc_rule_desc *rule = j->rule;
  optc_frame *f = &w->frame;
  f->hyper = (const char *)j->call->groups + v->group*rule->hyper_size;
  f->item = v->item;
  f->index = j->call->first_item + i;
  f->position = i;
  f->window = j->from;
  f->count = f->end = v->count;
  f->total = v->total;
  f->first = v->first;
  f->begin = 0;
  f->shape = v->shape;
  f->rank = v->rank;
  for (int64_t k = 0; k < rule->n_operands; k++) {
    if (rule->operands[k].scope != SCOPE_TENSOR) continue;
    int code = enter_tensor(w, j, k, v->item, v->count);
    if (code) return code;
  }
  if (!j->records) return 0;
  f->data = drive_buffers(j, drive_record(j, i));
  f->spaces = drive_record(j, i)->spaces;
  return 0;
}
