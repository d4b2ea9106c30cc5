/* driver.c: one call of a compiled rule: validated, then its kernels run over groups, items and chunks. */
#include "backends/driver.h"

enum { ALIGNED_POSITIONS = 16 };

/* How many units of the kernel at hand an item is. Tiles are counted; other work is counted in chunks, and an item without elements is one,
 * because its numbers still have their kernels. */
static int64_t units_of(const job *j, int64_t i, const view *v) {
  for (int64_t d = 0; d < j->depth; d++) if (drive_record(j, i)->spaces[j->repeat[d]].n <= j->trip[d]) return 0;
  if (j->mode == RUN && j->kernel->launch == LAUNCH_TILE) {
    optc_space s = drive_record(j, i)->spaces[j->kernel->space];
    return s.n <= 0 ? 0 : s.grain <= 0 || s.grain >= s.n ? 1 : (s.n - 1)/s.grain + 1;
  }
  return v->count ? (v->count + OPTC_CHUNK - 1)/OPTC_CHUNK : 1;
}

/* Where tile u begins. Tiles of few positions are as even as they can be, so that workers with as many tiles have as much work; those of many begin where memory is aligned. */
static int64_t tile_begin(optc_space s, int64_t u) {
  int64_t tiles = (s.n - 1)/s.grain + 1;
  if (u >= tiles) return s.n;
  return s.grain >= ALIGNED_POSITIONS ? u*s.grain : s.n/tiles*u + s.n%tiles*u/tiles;
}

/* Units u to stop of the kernel at hand: one after the other, or at once where nothing is kept a chunk. */
static void run_units(worker *w, const job *j, int64_t i, const view *v, int64_t u, int64_t stop) {
  int tile = j->kernel->launch == LAUNCH_TILE;
  optc_space s = tile ? drive_record(j, i)->spaces[j->kernel->space] : (optc_space){v->count, OPTC_CHUNK};
  int64_t step = tile || j->entry->n_temps ? 1 : stop - u;
  if (s.grain <= 0 || s.grain > s.n) s.grain = s.n;
  for (; u < stop; u += step) {
    w->frame.begin = tile_begin(s, u);
    w->frame.end = tile_begin(s, u + step);
    drive_launch(w, j, j->kernel);
  }
}

/* A contiguous run of units: walks the window up to its start, then runs one kernel on what is its own. */
static void task(void *context, int64_t index) {
  const job *j = context;
  int64_t begin = j->units/j->n_tasks*index + j->units%j->n_tasks*index/j->n_tasks;
  int64_t end = j->units/j->n_tasks*(index + 1) + j->units%j->n_tasks*(index + 1)/j->n_tasks, at = 0;
  int by_unit = j->mode == RUN && j->kernel->launch != LAUNCH_ITEM;
  uint64_t saved = drive_float_enter();
  worker w;
  drive_start(&w, j);
  for (int64_t i = j->from; i < j->to && at < end; i++) {
    view v;
    drive_look(j->rule, j->call, i, &v);
    int64_t units = units_of(j, i, &v), u = begin > at ? begin - at : 0, stop = end - at < units ? end - at : units;
    at += units;
    if (u >= units || (u && !by_unit)) continue;                         /* another worker's; what is done once an item, the worker does that has its first unit */
    drive_enter_item(&w, j, i, &v);
    if (j->mode != RUN) { drive_copy_strided(&w, j, &v); continue; }
    drive_enter_group(&w, j, v.group);
    if (!by_unit) drive_launch(&w, j, j->kernel);
    else if (v.count || j->kernel->launch == LAUNCH_TILE) run_units(&w, j, i, &v, u, stop);
  }
  drive_float_leave(saved);
}

/* One kernel on the items of the window. */
static void run_items(job *j, int64_t first_group) {
  const optc_call *call = j->call;
  int64_t tasks = j->to - j->from > 4096 ? MAX_TASKS/8 : MAX_TASKS;       /* every task walks the window: fewer for a long one */
  j->units = 0;
  for (int64_t i = j->from; i < j->to; i++) {
    view v;
    drive_look(j->rule, call, i, &v);
    j->units += units_of(j, i, &v);
  }
  if (!j->units) return;
  j->n_tasks = !call->parallel || !call->parallel->run ? 1 : j->units < tasks ? j->units : tasks;
  if (j->n_tasks == 1) { task(j, 0); return; }
  worker w;
  drive_start(&w, j);
  drive_enter_group(&w, j, first_group);
  j->model = &w;
  call->parallel->run(call->parallel->self, j->n_tasks, task, j);
  j->model = 0;
}

static void run_strided(job *j, int mode, int64_t first_group) {
  if (!j->strided) return;
  j->mode = mode;
  run_items(j, first_group);
  j->mode = RUN;
}

static int of_items(const optc_kernel_desc *k) { return k->launch == LAUNCH_ITEM || k->launch == LAUNCH_CHUNK || k->launch == LAUNCH_TILE; }

/* Kernels first to last, in order, on the items of the window; what stands in a repeat, again and again. */
static void run_kernels(job *j, int64_t first, int64_t last, int64_t first_group) {
  for (int64_t k = first; k < last; k++) {
    const optc_kernel_desc *kernel = &j->entry->kernels[k];
    j->kernel = kernel;
    if (of_items(kernel)) run_items(j, first_group);
    if (kernel->launch != LAUNCH_REPEAT) continue;
    int64_t end = k + 1, trips = 0;
    for (int64_t open = 1; open; end++) open += (j->entry->kernels[end].launch == LAUNCH_REPEAT) - (j->entry->kernels[end].launch == LAUNCH_END);
    for (int64_t i = j->from; i < j->to; i++) if (drive_record(j, i)->spaces[kernel->space].n > trips) trips = drive_record(j, i)->spaces[kernel->space].n;
    int64_t depth = j->depth++;
    j->repeat[depth] = kernel->space;
    for (j->trip[depth] = 0; j->trip[depth] < trips; j->trip[depth]++) run_kernels(j, k + 1, end - 1, first_group);
    j->depth = depth;
    k = end - 1;
  }
}

/* Window by window. */
static void run_windows(job *j, int64_t first, int64_t last, int64_t first_group) {
  int64_t n = j->call->n_items;
  for (int64_t from = 0, to; from < n; from = to) {
    for (to = from + 1; to < n && !(j->records && drive_record(j, to)->opens); to++);
    j->from = from;
    j->to = to;
    run_kernels(j, first, last, first_group);
  }
  j->from = 0;
  j->to = n;
}

static int run_once(job *j, int64_t first_group) {
  worker w;
  drive_start(&w, j);
  w.frame.hyper = (const char *)j->call->groups + first_group*j->rule->hyper_size;
  w.frame.skip = 0;
  drive_launch(&w, j, j->kernel);
  return w.frame.skip != 0;
}

/* The kernels of a phase (-1: all). Whether t stays as it is. */
static int run(job *j, int64_t phase, int64_t first_group) {
  const optc_kernel_desc *kernels = j->entry->kernels;
  int64_t n = j->entry->n_kernels;
  int skip = 0;
  if (phase <= 0) for (uintptr_t at = j->partials; at < j->room; at += 8) *(uint64_t *)at = 0;      /* what other ranks fill */
  run_strided(j, PACK, first_group);
  for (int64_t k = 0; k < n; k++) {
    j->kernel = &kernels[k];
    if (phase >= 0 && kernels[k].phase != phase) continue;
    if (kernels[k].launch == LAUNCH_FINISH || kernels[k].launch == LAUNCH_TOTAL) { skip |= run_once(j, first_group); continue; }
    if (!of_items(&kernels[k]) && kernels[k].launch != LAUNCH_REPEAT) continue;
    int64_t end = k;
    while (end < n && kernels[end].launch != LAUNCH_FINISH && kernels[end].launch != LAUNCH_TOTAL && (phase < 0 || kernels[end].phase == phase)) end++;
    run_windows(j, k, end, first_group);
    k = end - 1;
  }
  run_strided(j, UNPACK, first_group);
  return skip;
}

static int drive(const optc_rule_desc *rule, int64_t entry, int64_t phase, const optc_call *call, int32_t *chosen) {
  job j;
  drive_job(&j, rule, &rule->entries[entry], call, drive_variant(rule, chosen));
  if (j.variant < 0) return drive_fail(call, OPTC_E_TARGET, 0, -1);
  static const char no_step[] = "t cannot be stepped: it is negative or the largest number there is";
  int code = drive_check_head(rule, call);
  if (code) return code;
  int64_t first_group, before = FIELD(call->global, 0, int64_t);
  if (j.entry->advances && (before < 0 || before == INT64_MAX)) return drive_fail(call, OPTC_E_SHAPE, no_step, -1);
  uint64_t saved = drive_float_enter();
  code = drive_check_call(&j, &first_group);
  if (!code) {
    drive_write_records(&j);
    int skip = run(&j, phase, first_group);
    int64_t *t = &FIELD(call->global, 0, int64_t);
    if (phase >= 0 && phase < j.entry->n_phases - 1) skip = 1;            /* the last one ends the step */
    if (j.entry->advances) *t += !skip;
    else if (j.entry == drive_entry(rule, WORD('i', 'n', 'i', 't'))) *t = 0;
    drive_fail(call, OPTC_OK, "", -1);
  }
  drive_float_leave(saved);
  return code;
}

int optc_drive(const optc_rule_desc *rule, int64_t entry, const optc_call *call, int32_t *chosen) {
  return call ? drive(rule, entry, -1, call, chosen) : OPTC_E_NULL;
}

int optc_drive_phase(const optc_rule_desc *rule, int64_t entry, int64_t phase, const optc_call *call, int32_t *chosen) {
  static const char no_phase[] = "there is no such phase";
  if (!call) return OPTC_E_NULL;
  if (call->size != sizeof *call) return OPTC_E_SIZE;
  if (phase < 0 || phase >= rule->entries[entry].n_phases) return drive_fail(call, OPTC_E_SHAPE, no_phase, -1);
  return drive(rule, entry, phase, call, chosen);
}

/* Sizes as a call of the entry counts them. An error code. */
static int place_all(job *j, worker *w, const optc_rule_desc *rule, const optc_entry_desc *entry, const optc_call *call, int strided) {
  drive_job(j, rule, entry, call, 0);    /* sizes kernels are the same in every variant */
  if (strided) j->strided = j->planned = 1;
  if (!drive_fits(rule, entry)) return OPTC_E_INTERNAL;
  int code = drive_start(w, j);
  for (int64_t i = 0; i < call->n_items && !code; i++) {
    view v;
    code = drive_look(rule, call, i, &v);
    if (!code) code = drive_enter_item(w, j, i, &v);
    if (code) break;
    drive_measure(w, j);
    for (int64_t k = 0; k < rule->n_operands && !strided; k++) {         /* their copies lie before the partials */
      const optc_operand_desc *o = &rule->operands[k];
      const optc_tensor *x = &FIELD(v.item, o->offset, const optc_tensor);
      if (o->scope == SCOPE_TENSOR && x->data && !drive_is_dense(o->shaped ? w->shapes[k] : v.shape, o->shaped ? w->ranks[k] : v.rank, x->stride)) j->strided = j->planned = 1;
    }
    code = drive_place(w, j, &v);
  }
  return code;
}

int64_t optc_drive_partials(const optc_rule_desc *rule, int64_t entry, int64_t phase, const optc_call *call, double **out) {
  if (!call || !out || drive_check_head(rule, call)) return -1;
  const optc_entry_desc *e = &rule->entries[entry];
  job j;
  worker w;
  uint64_t saved = drive_float_enter();
  int code = place_all(&j, &w, rule, e, call, 0);
  drive_float_leave(saved);
  if (code) return -1;
  drive_end(&j, &w);
  *out = (double *)(j.partials + 8*(uintptr_t)(j.chunks*drive_partials(e, 0, phase)));
  return j.chunks*drive_partials(e, phase, phase + 1);
}

/* Bytes that an entry needs behind the first aligned one. An error code. */
static int entry_workspace(const optc_rule_desc *rule, const optc_entry_desc *entry, const optc_call *call, size_t *size) {
  job j;
  worker w;
  int code = place_all(&j, &w, rule, entry, call, 1);
  *size = code ? 0 : drive_end(&j, &w) - (((uintptr_t)call->workspace + 63) & ~(uintptr_t)63);
  return code;
}

size_t optc_drive_workspace(const optc_rule_desc *rule, const optc_call *call) {
  size_t most = 0, size;
  int code = 0;
  if (!call || drive_check_head(rule, call)) return 0;
  uint64_t saved = drive_float_enter();
  for (int64_t e = 0; e < rule->n_entries && !code; e++) {
    code = entry_workspace(rule, &rule->entries[e], call, &size);
    if (size > most) most = size;
  }
  drive_float_leave(saved);
  return !code && most ? most + 63 : 0;
}

/* Extent `a` of a state; `...` are the item's own axes, `n` of them (-1: there are no dots). */
static int64_t state_extent(const optc_operand_desc *o, const int64_t *extents, const view *v, int64_t n, int64_t a) {
  int64_t at = o->dots_at - 1;
  if (n < 0 || a < at) return extents[a];
  return a < at + n ? v->shape[o->dots_first + a - at] : extents[a - n + 1];
}

static void tell_state(optc_state_info *info, const optc_operand_desc *o, const worker *w, const view *v, int64_t k, int exists) {
  int64_t own = o->tensor && !o->item_shape, rank = !o->tensor ? 0 : own ? o->rank : v->rank;
  const int64_t *shape = own ? &w->extents[OPTC_MAX_RANK*k] : v->shape;
  int64_t dots = own && exists && o->dots_at ? v->rank - o->dots_others : -1;         /* a state that is not there has no item to look at */
  if (dots >= 0) rank += dots - 1;
  info->name = o->name;
  info->external = o->external ? o->external : o->name;
  info->type = o->type_name;
  info->scope = (int32_t)o->scope;
  info->exists = exists;
  info->rank = rank;
  for (int64_t a = 0; a < 8; a++) info->shape[a] = a >= rank || rank > 8 ? 0 : own ? state_extent(o, shape, v, dots, a) : shape[a];
  info->count = !o->tensor ? 1 : own ? w->counts[k] : v->count;
  info->bytes = o->tensor ? info->count*o->bytes : 8;
  info->offset = o->offset;
}

int optc_drive_layout(const optc_rule_desc *rule, const optc_call *call, int64_t item, optc_state_info *out, int32_t *chosen) {
  if (!call) return OPTC_E_NULL;
  job j;
  const optc_entry_desc *layout = drive_entry(rule, WORD('l', 'a', 'y', 'o'));
  drive_job(&j, rule, layout ? layout : &rule->entries[0], call, drive_variant(rule, chosen));
  if (j.variant < 0) return drive_fail(call, OPTC_E_TARGET, 0, -1);
  int code = drive_check_head(rule, call);
  if (code) return code;
  view v;
  if (!code && !drive_fits(rule, j.entry)) return drive_fail_large(call);
  if (!code && !out) code = OPTC_E_NULL;
  if (!code && (item < 0 || item >= call->n_items)) code = OPTC_E_SHAPE;
  if (code) return drive_fail(call, code, 0, item);
  uint8_t exists[OPTC_MAX_OPERANDS];
  worker w;
  code = drive_look(rule, call, item, &v);
  w.wrong = w.other = -1;
  w.found = v.found;
  if (code) return drive_fail_at(&j, &w, code, item);
  for (int64_t k = 0; k < rule->n_operands; k++) exists[k] = 1;
  uint64_t saved = drive_float_enter();
  code = drive_start(&w, &j);
  if (!code) code = drive_enter_item(&w, &j, item, &v);
  if (!code && layout) drive_find_existing(&w, &j, item, &v, exists);
  if (!code) drive_measure(&w, &j);
  drive_float_leave(saved);
  for (int64_t k = 0; !code && k < rule->n_operands; k++)
    if (rule->operands[k].role == ROLE_STATE && exists[k] && w.counts[k] > OPTC_MAX_COUNT) { code = OPTC_E_SHAPE; w.wrong = k; w.found.why = WHY_LARGE; }
  if (code) return drive_fail_at(&j, &w, code, item);
  for (int64_t k = 0, n = 0; k < rule->n_operands; k++)
    if (rule->operands[k].role == ROLE_STATE) tell_state(&out[n++], &rule->operands[k], &w, &v, k, exists[k]);
  return drive_fail(call, OPTC_OK, "", -1);
}
