/* run.c: the oracle: one rule called on the same data through the graph interpreter, the kernel interpreter and machine code at -O0 and -O2: every bit of
 * every tensor, number and error after every call is compared (any NaN is one value). The evaluator of tests/evaluator stands beside the graph interpreter
 * (meaning.c). The graphs are printed, parsed and printed again. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fuzz/language/run.h"
#include "ir/graph.h"

enum { STEPS = 3, LOG = 1 << 22, MARKS = 4096 };

static uint64_t draw(Run *r) {
  r->seed = r->seed*6364136223846793005u + 1442695040888963407u;
  uint64_t x = r->seed;
  x ^= x >> 33; x *= 0xff51afd7ed558ccdu; x ^= x >> 29;
  return x;
}

/* --- the head of the text ----------------------------------------------------------------------------------------------------------------------- */

static void read_head(Run *r, const char *text) {
  const char *at = strstr(text, "# data:");
  r->seed = at ? strtoull(at + 7, NULL, 10) : 1;
  r->wild = r->seed & 1;
  if ((at = strstr(text, "# sizes:"))) for (at += 8; at[0] == ' ' && at[1] && at[2] == '=' && r->n_sizes < CASE_SIZES;) {
    char *end;
    r->size[r->n_sizes].name = at[1];
    r->size[r->n_sizes++].value = strtoll(at + 3, &end, 10);
    at = end;
  }
  if ((at = strstr(text, "# items:"))) for (at += 8; at[0] == ' ' && r->n_items < CASE_ITEMS;) {
    Item *i = &r->item[r->n_items++];
    for (char *end; i->rank < CASE_RANK; at = end) {
      i->shape[i->rank++] = strtoll(at + 1, &end, 10);
      if (*end != 'x') { at = end; break; }
    }
  }
  if (!r->n_items) { r->n_items = 1; r->item[0].rank = -1; }
}

/* One axis of a shape as the rule writes it: a size or a number. */
static int64_t extent(const Run *r, const char *dim) {
  for (int k = 0; k < r->n_sizes; k++) if (r->size[k].name == dim[0] && (dim[1] == ',' || dim[1] == ']')) return r->size[k].value;
  return strtoll(dim, NULL, 10);
}

/* --- data ------------------------------------------------------------------------------------------------------------------------------------------ */

static double number(Run *r) {
  static const double special[] = {0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 1e-40, -1e-42, 3.4e38, -3.4e38, 1e-30, 16777217, 0.5, 88.8, -104};
  uint64_t x = draw(r);
  if (r->wild && x % 8 == 0) return special[x/8 % 16];
  if (x % 5 == 0) return (double)(int64_t)(x/8 % 33)/8 - 2;
  return ((double)(x >> 11)*0x1p-53 - 0.5)*((x & 64) ? 2 : 8);
}

static void store(Run *r, const DLTensor *t, int64_t at) {
  double x = number(r);
  float f = (float)x;
  uint32_t bits;
  char *to = (char *)t->data + at*((t->dtype.bits + 7)/8);
  memcpy(&bits, &f, 4);
  if (t->dtype.code == kDLFloat && t->dtype.bits == 64) memcpy(to, &x, 8);
  else if (t->dtype.code == kDLFloat && t->dtype.bits == 32) memcpy(to, &f, 4);
  else if (t->dtype.code == kDLBfloat) memcpy(to, (char *)&bits + 2, 2);
  else if (t->dtype.code == kDLFloat) { uint16_t half = (uint16_t)(draw(r) & 0xbfff); if (r->wild && draw(r) % 9 == 0) half = (uint16_t)draw(r); memcpy(to, &half, 2); }
  else if (t->dtype.code == kDLBool) *to = (char)(draw(r) & 1);
  else if (t->dtype.bits == 32) { int32_t i = (int32_t)(draw(r) % 12) - 2; memcpy(to, &i, 4); }
  else if (t->dtype.bits == 64) { int64_t i = (int64_t)(draw(r) % 12) - 2; memcpy(to, &i, 8); }
  else *to = (char)((int)(draw(r) % 12) - 2*(t->dtype.code == kDLInt));
}

static DLTensor *make(Run *r, const char *type, int rank, const int64_t *shape, int64_t bytes, bool filled) {
  DLTensor *t = arena_array(r->arena, 1, sizeof *t);
  int64_t count = 1;
  t->device.device_type = kDLCPU;
  if (optc_dlpack_type(type, &t->dtype) != OPTC_OK) optc_dlpack_type("u8", &t->dtype);
  t->ndim = rank;
  t->shape = arena_array(r->arena, (size_t)rank + 1, 8);
  for (int k = 0; k < rank; k++) count *= t->shape[k] = shape[k];
  int64_t need = count*((t->dtype.bits + 7)/8);
  t->byte_offset = 0;
  t->data = arena_array(r->arena, (size_t)(bytes > need ? bytes : need)/8 + 9, 8);
  for (int64_t k = 0; filled && k < count; k++) store(r, t, k);
  return t;
}

/* --- what came out ------------------------------------------------------------------------------------------------------------------------------- */

static void mark(Log *l, const char *entry, const char *name, int item) {
  if (l->n_marks >= MARKS) return;
  Mark *m = &l->marks[l->n_marks++];
  m->at = l->n;
  snprintf(m->text, sizeof m->text, "%.12s: %.14s of item %d", entry, name, item);
}

static void note(Log *l, const void *bytes, size_t n) {
  if (l->n + n > LOG) return;
  memcpy(l->bytes + l->n, bytes, n);
  l->n += n;
}

static void note_tensor(Log *l, const DLTensor *t, bool coded) {
  int64_t count = 1;
  for (int k = 0; k < t->ndim; k++) count *= t->shape[k];
  for (int64_t k = 0; k < count; k++) {
    const char *at = (const char *)t->data + k*((t->dtype.bits + 7)/8);
    uint64_t bits = 0;
    memcpy(&bits, at, (t->dtype.bits + 7u)/8);
    if (!coded && t->dtype.code == kDLFloat && t->dtype.bits == 32 && (bits & 0x7fffffff) > 0x7f800000) bits = 0x7fc00000;
    if (!coded && t->dtype.code == kDLFloat && t->dtype.bits == 64 && (bits & INT64_MAX) > 0x7ff0000000000000) bits = 0x7ff8000000000000;
    if (!coded && t->dtype.code == kDLBfloat && (bits & 0x7fff) > 0x7f80) bits = 0x7fc0;
    if (!coded && t->dtype.code == kDLFloat && t->dtype.bits == 16 && (bits & 0x7fff) > 0x7c00) bits = 0x7e00;
    note(l, &bits, 8);
  }
}

static void note_number(Log *l, double x) {
  if (isnan(x)) x = NAN;
  note(l, &x, 8);
}

static bool written(const optc_operand_info *o) { return o->role != OPTC_ROLE_GRAD && o->role != OPTC_ROLE_IN; }

/* By the rule: what it requires, or how its shapes belong together. */
static bool is_refusal(int code) { return code == OPTC_E_REQUIRE || code == OPTC_E_SHAPE; }

static void note_all(Run *r, const char *entry, int code, const optc_error *e) {
  int64_t words[] = {code, code ? e->item : 0, code ? e->n : 0};
  mark(r->log, entry, "error code", 0);
  note(r->log, words, sizeof words);
  for (int k = 0; is_refusal(code) && k < e->n; k++) note_number(r->log, e->value[k]);
  for (int k = 0; k < r->n; k++) {
    const optc_operand_info *o = &r->operand[k];
    if (!written(o)) continue;
    for (int i = 0; i < r->n_items; i++) {
      const DLTensor *t = o->scope == OPTC_SCOPE_CALL ? r->global_tensor[k] : r->bound[i*r->n + k];
      if (o->scope == OPTC_SCOPE_CALL && i) continue;
      mark(r->log, entry, o->name, i);
      if (t) note_tensor(r->log, t, o->type[0] == 'q');
      else if (!o->tensor) note_number(r->log, o->scope == OPTC_SCOPE_ITEM ? r->scalar[i*r->n + k] : r->global[k]);
    }
  }
}

/* --- calls ------------------------------------------------------------------------------------------------------------------------------------------- */

static DLTensor *made_up(Run *r, const optc_operand_info *o, const Item *item, bool filled) {
  if (!o->shape || o->item_shape) return make(r, o->type, item->rank < 0 ? 0 : item->rank, item->shape, 0, filled);
  int64_t shape[8];
  int rank = 0;
  for (const char *at = o->shape + 1; *at && *at != ']' && rank < 8;) {
    shape[rank++] = extent(r, at);
    at += strcspn(at, ",]");
    at += strspn(at, ", ");
  }
  return make(r, o->type, rank, shape, 0, filled);
}

static double made_up_number(Run *r, const optc_operand_info *o) {
  if (o->has_default && draw(r) % 2) return o->value;
  if (!strcmp(o->type, "bool")) return (double)(draw(r) & 1);
  if (o->type[0] == 'f' || o->type[0] == 'b') return number(r);
  return (double)(draw(r) % 6);
}

static void calls(Run *r) {
  optc_rule *rule = r->rule;
  r->n = optc_rule_operands(rule);
  size_t cells = (size_t)r->n*(size_t)r->n_items + 1;
  r->operand = arena_array(r->arena, (size_t)r->n + 1, sizeof *r->operand);
  r->bound = arena_array(r->arena, cells, sizeof *r->bound);
  r->scalar = arena_array(r->arena, cells, 8);
  r->global = arena_array(r->arena, (size_t)r->n + 1, 8);
  r->global_tensor = arena_array(r->arena, (size_t)r->n + 1, sizeof *r->global_tensor);
  optc_item_args items[CASE_ITEMS] = {0};
  int n_states = 0;
  for (int k = 0; k < r->n; k++) {
    optc_operand_info *o = &r->operand[k];
    optc_rule_operand(rule, k, o);
    n_states += o->role == OPTC_ROLE_STATE;
    for (int i = 0; i < r->n_items; i++) {
      if (o->role == OPTC_ROLE_STATE) continue;
      if (o->scope == OPTC_SCOPE_CALL) { if (i) continue; if (o->tensor) r->global_tensor[k] = made_up(r, o, &r->item[0], o->role != OPTC_ROLE_OUT); else r->global[k] = made_up_number(r, o); }
      else if (o->tensor) r->bound[i*r->n + k] = made_up(r, o, &r->item[i], o->role != OPTC_ROLE_OUT);
      else r->scalar[i*r->n + k] = made_up_number(r, o);
    }
  }
  for (int i = 0; i < r->n_items; i++) items[i] = (optc_item_args){.tensor = &r->bound[i*r->n], .scalar = &r->scalar[i*r->n]};
  optc_error error = {0};
  optc_call_args args = {.size = sizeof args, .items = items, .n_items = r->n_items, .global_scalar = r->global, .global_tensor = r->global_tensor, .t = &r->t, .seed = CASE_SEED, .error = &error};
  optc_state_info *states = arena_array(r->arena, (size_t)n_states + 1, sizeof *states);
  for (int i = 0; i < r->n_items && n_states; i++) {
    int code = optc_rule_layout(rule, &args, i, states);
    if (code) { r->log->code = code; note_all(r, "layout", code, &error); return; }
    for (int k = 0, s = 0; k < r->n; k++) {
      if (r->operand[k].role != OPTC_ROLE_STATE) continue;
      const optc_state_info *w = &states[s++];
      mark(r->log, "layout", w->name, i);
      int64_t words[] = {w->exists, w->rank, w->count, w->bytes};
      note(r->log, words, sizeof words);
      if (!w->exists || !r->operand[k].tensor) continue;
      DLTensor *x = make(r, w->type, (int)w->rank, w->shape, w->bytes, false);
      if (r->operand[k].scope == OPTC_SCOPE_CALL) { if (!i) r->global_tensor[k] = x; }
      else r->bound[i*r->n + k] = x;
    }
  }
  int order[32], n = 0;
  int init = optc_rule_entry(rule, "init");
  if (init >= 0) order[n++] = init;
  for (int step = 0; step < STEPS && n < 24; step++) {
    for (int e = 0; e < optc_rule_entries(rule) && n < 32; e++) {
      if (e != init) order[n++] = e;
    }
    if (optc_rule_entry(rule, "step") < 0) break;
  }
  for (int k = 0; k < n; k++) {
    memset(&error, 0, sizeof error);
    const char *name = optc_rule_entry_name(rule, order[k]);
    if (r->meaning) meaning_run(r->meaning, r, name);
    int code = optc_rule_call(rule, order[k], &args);
    if (r->meaning) meaning_compare(r->meaning, r, name, code);
    if (code && !r->log->code) r->log->code = code;
    r->log->called |= !code;
    note_all(r, name, code, &error);
  }
}

const Source *no_files(void *self, Arena *a, const char *path, const char **why) { *why = "no files here"; return NULL; }

/* The graphs printed, parsed and printed again. */
static bool same_text(Arena *a, const char *text, size_t length, char *message) {
  Source source = {"made.opt", text, length};
  FrontendOptions options = {.read = no_files};
  Diag *diag = diag_new(a, 0);
  FileSet *files = frontend_load(a, diag, &source, &options);
  Module *m = files ? frontend_lower(a, diag, files, &options) : NULL, *again;
  Text first = {.arena = a}, second = {.arena = a}, why = {.arena = a};
  if (!m) return true;
  module_print(m, &first);
  Source printed = {"made.graph", first.data, first.length};
  if ((again = module_parse(a, diag, &printed))) module_print(again, &second);
  diag_render_text(diag, &why, false);
  if (again && second.length == first.length && !memcmp(first.data, second.data, first.length)) return true;
  snprintf(message, CASE_MESSAGE, "the graphs' text is not read back as it was: %s", why.data ? why.data : "another text");
  return false;
}

static bool differ(const Log *want, const Log *got, const char *form, char *message) {
  size_t at = 0, n = want->n < got->n ? want->n : got->n;
  while (at < n && want->bytes[at] == got->bytes[at]) at++;
  if (at == n && want->n == got->n) return false;
  at &= ~(size_t)7;
  int m = 0;
  while (m + 1 < want->n_marks && want->marks[m + 1].at <= at) m++;
  uint64_t a = 0, b = 0;
  if (at + 8 <= n) { memcpy(&a, want->bytes + at, 8); memcpy(&b, got->bytes + at, 8); }
  snprintf(message, CASE_MESSAGE, "%s: %s, element %zu: %llx against %llx", form, want->n_marks ? want->marks[m].text : "", want->n_marks ? (at - want->marks[m].at)/8 : 0,
           (unsigned long long)a, (unsigned long long)b);
  return true;
}

Verdict case_run(const char *text, size_t length, char message[CASE_MESSAGE]) {
  static const struct { int backend, level; const char *name; Verdict finding; } form[] = {
    {OPTC_BACKEND_GRAPH, 0, "graph interpreter", FINDING_CALL}, {OPTC_BACKEND_JIT, 0, "-O0", FINDING_O0}, {OPTC_BACKEND_JIT, 2, "-O2", FINDING_O2},
    {OPTC_BACKEND_KERNEL, 2, "kernel interpreter", FINDING_KERNEL},
  };
  volatile Verdict verdict = AGREES;
  Log log[2] = {0};
  Arena *arena = arena_new(NULL, 0);
  optc_context *context = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  message[0] = 0;
  if (!arena || !context || setjmp(*arena_guard(arena))) { snprintf(message, CASE_MESSAGE, "out of memory"); return FINDING_CRASH; }
  for (int k = 0; k < 2; k++) { log[k].bytes = arena_array(arena, LOG, 1); log[k].marks = arena_array(arena, MARKS, sizeof(Mark)); }
  for (int f = 0; f < 4 && verdict == AGREES; f++) {
    optc_compile_options options = {.size = sizeof options, .level = form[f].level, .backend = form[f].backend, .verify_each = 1};
    Run run = {.arena = arena, .log = &log[f > 0], .meaning = f ? NULL : meaning_new(arena, text, length)};
    run.log->n = 0;
    run.log->n_marks = 0;
    run.log->code = 0;
    if (optc_compile_memory(context, "made.opt", text, length, &options, &run.rule)) {
      verdict = f ? FINDING_COMPILE : REFUSED;
      const char *why = optc_context_diagnostics(context), *error = strstr(why, "error:");
      if (!f && strstr(why, "nternal")) verdict = FINDING_COMPILE;
      snprintf(message, CASE_MESSAGE, "%s: %.900s", form[f].name, error ? error : why);
      break;
    }
    read_head(&run, text);
    calls(&run);
    if (!f && !same_text(arena, text, length, message)) verdict = FINDING_TEXT;
    if (!f && run.log->code) {
      verdict = is_refusal(run.log->code) ? CALL_REFUSED : FINDING_CALL;
      snprintf(message, CASE_MESSAGE, "the call returns %d", run.log->code);
    }
    if (!f && verdict == AGREES && meaning_trouble(run.meaning, message)) verdict = FINDING_MEANING;
    if (f && differ(&log[0], &log[1], form[f].name, message)) verdict = form[f].finding;
    optc_rule_free(run.rule);
  }
  optc_context_free(context);
  arena_free(arena);
  return verdict;
}
