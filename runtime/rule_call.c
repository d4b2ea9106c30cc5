/* rule_call.c: calls of compiled rules: on a caller's arrays, or on the rule's own structs as they are. */
#include <stdlib.h>
#include "runtime/rule_call.h"

static int32_t *dispatch_word(const optc_rule *r) { return r->desc->n_variants > 1 ? (int32_t *)&r->chosen : NULL; }

/* phase -1: all of the entry. */
static int drive(const optc_rule *r, int64_t entry, int64_t phase, const optc_call *call) {
  unsigned before = atomic_load((atomic_uint *)&r->starved), findings = atomic_load((atomic_uint *)&r->n_findings);
  int status = phase < 0 ? optc_drive(r->desc, entry, call, dispatch_word(r)) : optc_drive_phase(r->desc, entry, phase, call, dispatch_word(r));
  if (status == OPTC_OK && atomic_load((atomic_uint *)&r->starved) != before) return rule_fail(call->error, OPTC_E_MEMORY, "the interpreter ran out of memory", -1, 0, 0, 0, 0);
  if (status == OPTC_OK && atomic_load((atomic_uint *)&r->n_findings) != findings) return rule_fail(call->error, OPTC_E_INTERNAL, r->finding, -1, 0, 0, 0, 0);
  return status;
}

/* States with a shape of their own against what the layout says: their sizes are the rule's. */
static int check_states(const optc_rule *r, int64_t entry, const optc_call_args *a, const RawCall *raw) {
  const optc_rule_desc *d = r->desc;
  int64_t n_states = 0, n_own = 0;
  for (int64_t k = 0; k < d->n_operands; k++) {
    n_states += d->operands[k].role == ROLE_STATE;
    n_own += d->operands[k].role == ROLE_STATE && d->operands[k].tensor && !d->operands[k].item_shape && d->entries[entry].uses[k] & USE_TOUCHED;
  }
  if (!n_own) return OPTC_OK;
  optc_call call = raw->call;
  char *nobody = call.n_items ? NULL : calloc(1, (size_t)d->item_size + 1);            /* states of the call are told with an item */
  optc_state_info *states = calloc((size_t)n_states, sizeof *states);
  if (!states || (!call.n_items && !nobody)) {
    free(states);
    free(nobody);
    return rule_fail(a->error, OPTC_E_MEMORY, "out of memory", -1, 0, 0, 0, 0);
  }
  if (!call.n_items) { call.items = nobody; call.n_items = 1; }
  int status = OPTC_OK;
  for (int64_t i = 0; i < call.n_items && status == OPTC_OK; i++) {
    status = optc_drive_layout(d, &call, i, states, dispatch_word(r));
    for (int64_t k = 0, n = -1; k < d->n_operands && status == OPTC_OK; k++) {
      const optc_operand_desc *o = &d->operands[k];
      if (o->role != ROLE_STATE) continue;
      const optc_state_info *s = &states[++n];
      if (!o->tensor || o->item_shape || !s->exists || !(d->entries[entry].uses[k] & USE_TOUCHED) || (o->scope != SCOPE_GLOBAL && nobody)) continue;
      DLTensor *const *list = o->scope == SCOPE_GLOBAL ? a->global_tensor : a->items[i].tensor;
      const DLTensor *t = list ? list[k] : NULL;
      int64_t count = 1, item = o->scope == SCOPE_GLOBAL ? -1 : i;
      if (!t) { status = s->count ? rule_fail_of(r, a->error, OPTC_E_NULL, k, TEXT_MISSING, item, 0, 0, 0, 0) : OPTC_OK; continue; }
      for (int x = 0; x < t->ndim; x++) if (__builtin_mul_overflow(count, t->shape[x], &count)) count = -1;
      for (int x = 0; x < t->ndim && !o->any_rank && t->ndim == s->rank && x < 8 && status == OPTC_OK; x++)
        if (t->shape[x] != s->shape[x]) status = rule_fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_EXTENT, item, 3, x, (double)t->shape[x], (double)s->shape[x]);
      if (status == OPTC_OK && count != s->count) status = rule_fail_of(r, a->error, OPTC_E_SHAPE, k, TEXT_COUNT_OF, item, 2, (double)count, (double)s->count, 0);
    }
  }
  free(states);
  free(nobody);
  return status;
}

/* Whether the entry may need memory beside the operands: temporaries, slots, dense copies of strided tensors. */
static bool needs_workspace(const optc_rule *r, int64_t entry, const optc_call_args *a) {
  const optc_entry_desc *e = &r->desc->entries[entry];
  bool strided = false;
  for (int64_t i = 0; i < a->n_items && !strided; i++)
    for (int64_t k = 0; k < r->desc->n_operands && a->items[i].tensor && !strided; k++) {
      const DLTensor *t = r->desc->operands[k].scope == SCOPE_TENSOR ? a->items[i].tensor[k] : NULL;
      strided = t && !rule_is_dense(t->shape, t->strides, t->ndim);
    }
  return e->n_temps || e->n_slots || e->n_spaces || strided;
}

int rule_call(const optc_rule *r, int given, const optc_call_args *a, const RuleWay *way) {
  RawCall raw;
  int64_t entry = rule_entry_at(r, given);
  int status = rule_build(r, entry, given, a, way, &raw);
  if (status == OPTC_OK) status = check_states(r, entry, a, &raw);
  if (status == OPTC_OK && way->workspace && needs_workspace(r, entry, a) && (raw.call.workspace_size = way->workspace(way, r, &raw.call))) {
    raw.workspace = aligned_alloc(64, rule_align64(raw.call.workspace_size));
    raw.call.workspace = raw.workspace;
    if (!raw.workspace) status = rule_fail(a->error, OPTC_E_MEMORY, "out of memory: a workspace of {} bytes", -1, 1, (double)raw.call.workspace_size, 0, 0);
  }
  if (status == OPTC_OK) status = way->drive(way, r, entry, &raw.call);
  if (status == OPTC_OK) rule_copy_back(r, entry, a, &raw);
  free(raw.workspace);
  free(raw.block);
  return status;
}

static int drive_here(const RuleWay *way, const optc_rule *r, int64_t entry, const optc_call *call) { return drive(r, entry, -1, call); }
static size_t workspace_here(const RuleWay *way, const optc_rule *r, const optc_call *call) { return optc_drive_workspace(r->desc, call); }
static const RuleWay here = {.device = {.device_type = kDLCPU}, .drive = drive_here, .workspace = workspace_here};

/* Nothing of an earlier call stays in *error. */
static int fail_null(const optc_call_args *a, const char *text) {
  return a && a->size == sizeof *a ? rule_fail(a->error, OPTC_E_NULL, text, -1, 0, 0, 0, 0) : OPTC_E_NULL;
}

int optc_rule_call(const optc_rule *r, int given, const optc_call_args *a) { return r && a ? rule_call(r, given, a, &here) : fail_null(a, "the rule is NULL"); }

int optc_rule_layout(const optc_rule *r, const optc_call_args *a, int64_t item, optc_state_info *out) {
  if (!r || !a || !out) return fail_null(a, r ? "the place of the states is NULL" : "the rule is NULL");
  if (r->layout < 0) return rule_fail(a->size == sizeof *a ? a->error : NULL, OPTC_OK, "", -1, 0, 0, 0, 0);       /* a rule without states */
  RawCall raw;
  static const RuleWay any = {.anywhere = true, .device = {.device_type = kDLCPU}};        /* no elements are looked at */
  int status = rule_build(r, r->layout, -1, a, &any, &raw);
  if (status == OPTC_OK && (item < 0 || item >= a->n_items)) status = rule_fail(a->error, OPTC_E_SHAPE, "there is no such item", item, 0, 0, 0, 0);
  if (status == OPTC_OK) status = optc_drive_layout(r->desc, &raw.call, item, out, dispatch_word(r));
  free(raw.block);
  return status;
}

int optc_rule_call_raw(const optc_rule *r, int entry, const void *R_call) {
  const optc_call *call = R_call;
  if (!r || !call) return OPTC_E_NULL;
  if (call->size != sizeof *call) return OPTC_E_SIZE;
  int64_t at = rule_entry_at(r, entry);
  return at < 0 ? rule_fail(call->error, OPTC_E_NULL, "there is no such entry", -1, 1, entry, 0, 0) : drive(r, at, -1, call);
}

int optc_rule_phases(const optc_rule *r, int entry) {
  int64_t at = r ? rule_entry_at(r, entry) : -1;
  return at < 0 ? 0 : (int)r->desc->entries[at].n_phases;
}

int optc_rule_phase_raw(const optc_rule *r, int entry, int phase, const void *R_call) {
  const optc_call *call = R_call;
  if (!r || !call) return OPTC_E_NULL;
  int64_t at = rule_entry_at(r, entry);
  if (at < 0) return call->size == sizeof *call ? rule_fail(call->error, OPTC_E_NULL, "there is no such entry", -1, 1, entry, 0, 0) : OPTC_E_SIZE;
  return phase < 0 || phase >= r->desc->entries[at].n_phases ? optc_drive_phase(r->desc, at, phase, call, dispatch_word(r)) : drive(r, at, phase, call);
}

int64_t optc_rule_partials(const optc_rule *r, int entry, int phase, const void *R_call, double **out) {
  int64_t at = r ? rule_entry_at(r, entry) : -1;
  return at < 0 ? -1 : optc_drive_partials(r->desc, at, phase, R_call, out);
}

size_t optc_rule_workspace_size(const optc_rule *r, const void *R_call) { return r ? optc_drive_workspace(r->desc, R_call) : 0; }
