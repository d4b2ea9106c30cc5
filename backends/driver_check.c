/* driver_check.c: a call is validated before anything is written. */
#include "backends/driver.h"

/* Rows of text, not pointers: the driver's machine code is copied into objects as it is and so may hold no address. */
static const char texts[16][88] = {
  [OPTC_E_SIZE] = "call->size is not the size of this rule's call struct", [OPTC_E_NULL] = "a pointer that must be given is NULL",
  [OPTC_E_SHAPE] = "a position or a number is outside of its range", [OPTC_E_GROUP] = "an item's group is not one of the call's",
  [OPTC_E_HYPER] = "the groups differ in a hyper-parameter that must be equal in all of them",
  [OPTC_E_OVERLAP] = "it shares memory with another tensor, and one of them is written", [OPTC_E_WORKSPACE] = "the workspace is missing or too small",
  [OPTC_E_ALIGN] = "a pointer is not aligned to its element", [OPTC_E_TARGET] = "this machine lacks the instructions that this object was compiled for",
  [OPTC_E_SHARD] = "the rule reduces rows, columns or matrices: it takes whole tensors, no shards",
  [OPTC_E_MEMORY] = "too many operands, temporaries or uniform values",
};

static const char why_texts[WHY_WORKSPACE + 1][104] = {
  [WHY_RANK] = "the rank is {}: it may be 0 to {}", [WHY_NO_SHAPE] = "its rank is {} and its shape NULL", [WHY_EXTENT] = "axis {} has a negative extent, {}",
  [WHY_LARGE] = "there are more elements than memory can hold", [WHY_FIRST] = "the first element is {} of {}: it may be 0 or another multiple of 65,536, up to their number",
  [WHY_COUNT] = "a count of {} from element {} does not fit into {} elements: -1 is none of them",
  [WHY_DENSE] = "it must be dense and row-major: the stride of axis {} is {}, not {}",
  [WHY_STRIDE_ZERO] = "the stride of axis {} is {}, and the tensor is written: two of its elements are one", [WHY_STRIDE_FAR] = "the stride of axis {} leads out of memory: {}",
  [WHY_GROUP] = "the group is {}, and the call has {}, which count from 0", [WHY_WORKSPACE] = "it lies in the workspace",
};
static const char why_numbers[WHY_WORKSPACE + 1] = {[WHY_RANK] = 2, [WHY_NO_SHAPE] = 1, [WHY_EXTENT] = 2, [WHY_FIRST] = 2, [WHY_COUNT] = 3, [WHY_DENSE] = 3, [WHY_STRIDE_ZERO] = 2, [WHY_STRIDE_FAR] = 2, [WHY_GROUP] = 2};

int drive_fail(const optc_call *call, int code, const char *text, int64_t item) {
  optc_error *e = call->error;
  if (e) {
    e->code = code;
    e->text = text ? text : texts[code];
    e->item = item;
    e->n = 0;
    for (int k = 0; k < 4; k++) e->value[k] = 0;
    e->operand = e->other = 0;
  }
  return code;
}

int drive_fail_large(const optc_call *call) { return drive_fail(call, OPTC_E_INTERNAL, texts[OPTC_E_MEMORY], -1); }

int drive_fail_at(const job *j, const worker *w, int code, int64_t item) {
  optc_error *e = j->call->error;
  drive_fail(j->call, code, w->found.why ? why_texts[w->found.why] : 0, item);
  if (!e) return code;
  e->n = why_numbers[w->found.why];
  for (int k = 0; k < e->n; k++) e->value[k] = (double)w->found.number[k];
  if (w->wrong >= 0) e->operand = j->rule->operands[w->wrong].name;
  if (w->other >= 0) e->other = j->rule->operands[w->other].name;
  return code;
}

/* The bytes that a tensor's elements lie in. */
typedef struct span { uintptr_t from, to; } span;

static span span_of(const void *data, int64_t count, int64_t bytes, const int64_t *shape, int64_t rank, const int64_t *stride) {
  span s = {(uintptr_t)data, (uintptr_t)data + (uintptr_t)(count*bytes)};
  if (!data || count <= 0) s.to = s.from;
  else if (!drive_is_dense(shape, rank, stride)) {
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

static span workspace_span(const optc_call *call) {
  uintptr_t from = (uintptr_t)call->workspace, most = UINTPTR_MAX - from;
  return (span){from, !from ? from : from + (call->workspace_size < most ? call->workspace_size : most)};
}

const optc_entry_desc *drive_entry(const optc_rule_desc *rule, uint32_t word) {
  for (int64_t k = 0; k < rule->n_entries; k++) {
    const char *s = rule->entries[k].name;
    uint32_t w = 0;
    for (int i = 0; i < 4 && s[i]; i++) w |= (uint32_t)(unsigned char)s[i] << 8*i;
    if (w == word) return &rule->entries[k];
  }
  return 0;
}

/* Runs the layout entry on one item: exists[k] for the operands that it names, the others stay. */
void drive_find_existing(worker *w, const job *layout, int64_t i, const view *v, uint8_t *exists) {
  w->frame.exists = exists;
  drive_enter_item(w, layout, i, v);
  drive_enter_group(w, layout, v->group);
  drive_launch_all(w, layout, LAUNCH_ITEM);
}

/* The tensors of one item, which the worker has entered. */
static int check_tensors(job *j, worker *w, worker *layout_worker, const job *layout, int64_t i, const view *v) {
  const optc_rule_desc *rule = j->rule;
  const span room = workspace_span(j->call);
  uint8_t exists[OPTC_MAX_OPERANDS];
  int looked = 0;
  for (int64_t k = 0; k < rule->n_operands; k++) {
    const optc_operand_desc *o = &rule->operands[k];
    int64_t use = j->uses[k];
    if (o->scope != SCOPE_TENSOR || !drive_touches(j, k)) continue;
    const optc_tensor *x = &FIELD(v->item, o->offset, const optc_tensor);
    w->wrong = k;
    if (!x->data) {
      if (o->optional || o->role == ROLE_OUT || w->counts[k] <= 0) continue;
      if (!(use & USE_PREDICATE) || !layout->entry) return OPTC_E_NULL;
      if (!looked) {
        for (int64_t n = 0; n < rule->n_operands; n++) exists[n] = 1;
        if ((looked = drive_start(layout_worker, layout))) return looked;
        drive_find_existing(layout_worker, layout, i, v, exists);
        looked = 1;
      }
      if (exists[k]) return OPTC_E_NULL;
      continue;
    }
    w->found.why = WHY_LARGE;
    if (w->counts[k] > OPTC_MAX_COUNT) return OPTC_E_SHAPE;
    w->found.why = WHY_NOTHING;
    if ((uintptr_t)x->data%(uintptr_t)o->bytes) return OPTC_E_ALIGN;
    int code = drive_check_strides(j, w, v, k);
    if (code) return code;
    span mine = operand_span(w, j, v, k);
    if (overlap(mine, room)) { w->found.why = WHY_WORKSPACE; return OPTC_E_OVERLAP; }
    for (int64_t n = 0; n < rule->n_operands && use & USE_WRITTEN; n++) {
      const optc_operand_desc *p = &rule->operands[n];
      if (n != k && p->scope == SCOPE_TENSOR && drive_touches(j, n) && overlap(mine, operand_span(w, j, v, n))) { w->other = n; return OPTC_E_OVERLAP; }
    }
  }
  w->wrong = -1;
  return 0;
}

/* The tensors of the call: there, aligned and dense. */
static int check_globals(const job *j, worker *w) {
  for (int64_t k = 0; k < j->rule->n_operands; k++) {
    const optc_operand_desc *o = &j->rule->operands[k];
    if (o->scope != SCOPE_GLOBAL || !o->tensor || !drive_touches(j, k)) continue;
    const optc_tensor *x = &FIELD(j->call->global, o->offset, const optc_tensor);
    w->wrong = k;
    if (!x->data && !o->optional && o->role != ROLE_OUT && w->counts[k] > 0) return OPTC_E_NULL;
    if (!x->data) continue;
    w->found.why = WHY_LARGE;
    if (w->counts[k] > OPTC_MAX_COUNT) return OPTC_E_SHAPE;
    w->found.why = WHY_NOTHING;
    if ((uintptr_t)x->data%(uintptr_t)o->bytes) return OPTC_E_ALIGN;
    if (o->shaped) w->found = drive_not_dense(w->shapes[k], w->ranks[k], x->stride);
    if (w->found.why) return OPTC_E_SHAPE;
    w->found.why = WHY_WORKSPACE;
    if (overlap((span){(uintptr_t)x->data, (uintptr_t)x->data + (uintptr_t)(w->counts[k]*o->bytes)}, workspace_span(j->call))) return OPTC_E_OVERLAP;
    w->found.why = WHY_NOTHING;
  }
  w->wrong = -1;
  return 0;
}

/* Whether the arrays of a worker are large enough. */
int drive_fits(const optc_rule_desc *rule, const optc_entry_desc *entry) {
  return rule->n_operands <= OPTC_MAX_OPERANDS && rule->n_operands + entry->n_temps <= OPTC_MAX_BUFFERS && entry->n_uniforms <= OPTC_MAX_UNIFORMS && entry->n_slots <= OPTC_MAX_SLOTS &&
         entry->n_spaces <= OPTC_MAX_SPACES;
}

/* What can be wrong with the call struct itself: an error code, recorded where there is a place for it. Where `error` lies is not known if the size is wrong. */
int drive_check_head(const optc_rule_desc *rule, const optc_call *call) {
  static const char head[6][32] = {"call->global is NULL", "call->items is NULL", "call->groups is NULL", "call->n_groups is negative", "call->n_items is negative",
                                   "call->first_item is negative"};
  if (call->size != sizeof(optc_call)) return OPTC_E_SIZE;
  if (!call->global) return drive_fail(call, OPTC_E_NULL, head[0], -1);
  if (call->n_items > 0 && !call->items) return drive_fail(call, OPTC_E_NULL, head[1], -1);
  if (call->n_groups > 0 && rule->hyper_size && !call->groups) return drive_fail(call, OPTC_E_NULL, head[2], -1);
  if (call->n_groups < 0) return drive_fail(call, OPTC_E_GROUP, head[3], -1);
  if (call->n_items < 0) return drive_fail(call, OPTC_E_SHAPE, head[4], -1);
  return call->first_item < 0 ? drive_fail(call, OPTC_E_SHAPE, head[5], -1) : 0;
}

/* Requirements, for the item that the worker has entered. */
static int check_item(const job *j, worker *w, int64_t i) {
  optc_error *e = j->call->error;
  for (int64_t k = 0; k < j->entry->n_kernels; k++) {
    if (j->entry->kernels[k].launch != LAUNCH_CHECK) continue;
    drive_launch(w, j, &j->entry->kernels[k]);
    if (!w->frame.failed) continue;
    int64_t text = w->frame.failed - 1, about = j->entry->about ? j->entry->about[text] : ABOUT_RULE;
    int code = drive_fail(j->call, about == ABOUT_RULE ? OPTC_E_REQUIRE : OPTC_E_SHAPE, j->entry->texts[text], i);
    for (int64_t n = 0; e && n < w->frame.n_values; n++) e->value[n] = w->frame.value[n];
    if (e) e->n = (int)w->frame.n_values;
    if (e && about >= 0) e->operand = j->rule->operands[about].name;
    return code;
  }
  return 0;
}

int drive_check_call(job *j, int64_t *first_group) {
  const optc_rule_desc *rule = j->rule;
  const optc_entry_desc *entry = j->entry;
  const optc_call *call = j->call;
  if (!drive_fits(rule, entry)) return drive_fail_large(call);
  job layout;
  drive_job(&layout, rule, drive_entry(rule, WORD('l', 'a', 'y', 'o')), call, j->variant);
  worker w, layout_worker;
  int code = drive_start(&w, j);
  if (!code) code = check_globals(j, &w);
  if (code) return drive_fail_at(j, &w, code, -1);
  *first_group = 0;
  for (int64_t i = 0; i < call->n_items; i++) {
    view v;
    code = drive_look(rule, call, i, &v);
    w.found = v.found;
    if (!code) code = drive_enter_item(&w, j, i, &v);
    if (!code) {
      drive_measure(&w, j);
      code = check_tensors(j, &w, &layout_worker, &layout, i, &v);
    }
    if (!code) code = drive_place(&w, j, &v);
    if (code) return drive_fail_at(j, &w, code, i);
    if (!i) *first_group = v.group;
    for (int64_t k = 0; entry->equal_hypers >> k && k < 64; k++) {
      int64_t at = 8*k;
      if (entry->equal_hypers >> k & 1 &&
          FIELD(call->groups, v.group*rule->hyper_size + at, uint64_t) != FIELD(call->groups, *first_group*rule->hyper_size + at, uint64_t))
        return drive_fail(call, OPTC_E_HYPER, 0, i);
    }
    if ((entry->item_checks || w.group != v.group) && (code = check_item(j, &w, i))) return code;
    w.group = v.group;
  }
  uintptr_t first = ((uintptr_t)call->workspace + 63) & ~(uintptr_t)63, end = drive_end(j, &w);
  if (end != first && (!call->workspace || call->workspace_size < end - (uintptr_t)call->workspace)) return drive_fail(call, OPTC_E_WORKSPACE, 0, -1);      /* with what lies in front of the first aligned byte */
  for (int64_t k = 0; k < entry->n_kernels; k++)
    if ((entry->kernels[k].launch == LAUNCH_FINISH || entry->kernels[k].launch == LAUNCH_TOTAL) && !call->n_groups && rule->hyper_size) return drive_fail(call, OPTC_E_GROUP, 0, -1);
  return 0;
}

/* --- over all items ---------------------------------------------------------------------------------------------------------- */

/* Overlap across the items of a call: every tensor that some entry writes against every other. Quadratic in the number of
 * tensors, without memory of its own: meant for start-up and for debugging. */
int optc_drive_check(const optc_rule_desc *rule, const optc_call *call) {
  if (!call) return OPTC_E_NULL;
  int code = drive_check_head(rule, call);
  if (code) return code;
  if (!drive_fits(rule, &rule->entries[0])) return drive_fail_large(call);
  int64_t uses[OPTC_MAX_OPERANDS];                                     /* as if one entry did what all do */
  for (int64_t k = 0; k < rule->n_operands; k++) {
    uses[k] = 0;
    for (int64_t e = 0; e < rule->n_entries; e++) uses[k] |= rule->entries[e].uses[k];
  }
  const optc_entry_desc *layout = drive_entry(rule, WORD('l', 'a', 'y', 'o'));
  job j;
  drive_job(&j, rule, layout ? layout : &rule->entries[0], call, 0);
  j.uses = uses;
  worker w, other;
  uint64_t saved = drive_float_enter();
  code = drive_start(&w, &j);
  if (!code) code = drive_start(&other, &j);
  int64_t i = code ? -1 : 0;
  for (; !code && i < call->n_items; i++) {
    view a, b;
    code = drive_look(rule, call, i, &a);
    w.found = a.found;
    if (code) break;
    if ((code = drive_enter_item(&w, &j, i, &a))) break;
    drive_measure(&w, &j);
    for (int64_t k = 0; k < rule->n_operands && !code; k++) {
      if (rule->operands[k].scope != SCOPE_TENSOR || !(uses[k] & USE_WRITTEN)) continue;
      span mine = operand_span(&w, &j, &a, k);
      for (int64_t l = 0; l < call->n_items && !code; l++) {
        if (drive_look(rule, call, l, &b) || drive_enter_item(&other, &j, l, &b)) continue;      /* reported when its turn comes */
        drive_measure(&other, &j);
        for (int64_t n = 0; n < rule->n_operands; n++)
          if (rule->operands[n].scope == SCOPE_TENSOR && (l != i || n != k) && overlap(mine, operand_span(&other, &j, &b, n))) { code = OPTC_E_OVERLAP; w.wrong = k; w.other = n; }
      }
    }
    if (code) break;
  }
  drive_float_leave(saved);
  return code ? drive_fail_at(&j, &w, code, i) : drive_fail(call, OPTC_OK, "", -1);
}
