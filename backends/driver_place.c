/* driver_place.c: the workspace: slots and totals, the temporaries of the call, item by item the temporaries that are kept and a dense copy of each strided
 * tensor; then a record for each item of where its buffers lie, the partials of all items, and one room for the
 * temporaries of a window. Partials lie temporary by temporary, in order of their phases, and in each item by item: ranks exchange a phase's as one array.
 *
 * A window is a run of items that go together through the kernels between two totals (or phases): what a kernel leaves is in cache for the next, and
 * the next window has the same room. */
#include "backends/driver.h"

void drive_measure(worker *w, const job *j) {
  if (!j->sized) return;
  drive_launch_all(w, j, LAUNCH_SIZES);
  for (int64_t k = 0; k < j->entry->n_spaces; k++) w->too_large |= w->frame.spaces[k].n > OPTC_MAX_COUNT;
}

/* Room for the buffers of the item that the worker has entered and measured. An error code. */
int drive_place(worker *w, const job *j, const view *v) {
  const optc_rule_desc *rule = j->rule;
  const optc_entry_desc *entry = j->entry;
  int64_t partials = 0;
  if (!j->planned) return 0;
  w->opens = !w->window || v->count > (rule->window ? rule->window : WINDOW) - w->window;
  if (w->opens) {
    w->window = 0;
    w->room = j->room;
  }
  w->window += v->count ? v->count : 1;
  for (int64_t k = 0; k < entry->n_temps; k++) {
    int64_t kind = drive_temp_kind(entry, k), buffer = rule->n_operands + k, count = kind & TEMP_SIZED ? w->counts[buffer] : v->count;
    if (kind & TEMP_LOCAL) w->data[buffer] = 0;
    if (kind & (TEMP_CALL | TEMP_LOCAL)) continue;
    if (kind & TEMP_PARTIAL) w->data[buffer] = (void *)(j->partials + 8*(uintptr_t)(j->chunks*partials++ + w->chunks));
    else w->data[buffer] = drive_reserve(w, kind & TEMP_KEPT ? &w->at : &w->room, count, entry->temp_bytes[k]);
  }
  w->chunks += (v->total + OPTC_CHUNK - 1)/OPTC_CHUNK;
  if (w->room > w->most) w->most = w->room;
  for (int64_t k = 0; k < rule->n_operands && j->strided; k++) {
    const optc_operand_desc *o = &rule->operands[k];
    if (o->scope != SCOPE_TENSOR || !w->data[k] || !drive_may_be_strided(o) || !drive_touches(j, k)) continue;
    const optc_tensor *x = &FIELD(v->item, o->offset, const optc_tensor);
    if (!drive_is_dense(o->shaped ? w->shapes[k] : v->shape, o->shaped ? w->ranks[k] : v->rank, x->stride)) w->data[k] = drive_reserve(w, &w->at, w->counts[k], o->bytes);
  }
  return drive_too_large(w);
}

/* How many temporaries hold partials of phases from <= phase < to: in the order of the temporaries. */
int64_t drive_partials(const optc_entry_desc *entry, int64_t from, int64_t to) {
  int64_t n = 0;
  for (int64_t k = 0; k < entry->n_temps; k++) {
    int64_t kind = drive_temp_kind(entry, k), phase = kind >> TEMP_PHASE_SHIFT;
    n += kind & TEMP_PARTIAL && phase >= from && phase < to;
  }
  return n;
}

/* Where the workspace of all that the worker has placed ends: sets where its parts begin. */
uintptr_t drive_end(job *j, const worker *w) {
  if (!j->planned) return w->at;
  j->records_at = w->at;
  uintptr_t partials = w->at + (uintptr_t)(j->call->n_items*j->record_size);
  j->partials = (partials + 63) & ~(uintptr_t)63;
  j->chunks = w->chunks;
  j->room = (j->partials + 8*(uintptr_t)(w->chunks*drive_partials(j->entry, 0, INT64_MAX)) + 63) & ~(uintptr_t)63;
  return j->room + w->most;
}

/* Writes the records, now that it is known where everything begins. */
void drive_write_records(job *j) {
  if (!j->planned) return;
  worker w;
  drive_start(&w, j);
  char *records = (char *)j->records_at;
  for (int64_t i = 0; i < j->call->n_items; i++) {
    view v;
    drive_look(j->rule, j->call, i, &v);
    drive_enter_item(&w, j, i, &v);
    drive_measure(&w, j);
    drive_place(&w, j, &v);
    record *r = (record *)(records + i*j->record_size);
    r->opens = w.opens;
    for (int64_t k = 0; k < j->entry->n_spaces; k++) r->spaces[k] = w.spaces[k];
    for (int64_t k = 0; k < j->rule->n_operands + j->entry->n_temps; k++) drive_buffers(j, r)[k] = w.data[k];
  }
  j->records = records;
}
