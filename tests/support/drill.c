/* drill.c: see drill.h. */
#include "tests/support/drill.h"
#include <stdlib.h>
#include <string.h>
#include "ir/module.h"
#include "tests/support/float_environment.h"
#include "tests/support/random.h"
#include "tests/support/values.h"

enum { GUARD = 64, SHIFT = 64, MAX_CALLS = 4096, FILL = 0xa5 };

struct Drill {
  const optc_rule_desc *desc;
  DrillPlan plan;
  char *hyper;
  /* Tensors that are written stand in one block with guard bytes between them; `first`: before init, `last`: states made up after init.
   * Those that are only read: a pool an operand, of which every item and step sees another part. */
  size_t size;
  char *first, *work, *kept;
  size_t *at;                            /* item*n_operands + operand: in the block */
  char **pool, **pristine;
  size_t *pool_size;
  /* Scalars of the items, of the call, the codes of all calls. */
  char *items, *global, *first_items, *first_global;
  size_t n_numbers;
  uint64_t *numbers, *kept_numbers;
  const char *trouble;                   /* a broken promise that is no difference of bits */
  char text[256];
};

static uint64_t bits_of(double x) { uint64_t b; memcpy(&b, &x, 8); return b; }
static double f64_of(uint64_t b) { double x; memcpy(&x, &b, 8); return x; }

/* --- hyper-parameters --------------------------------------------------------------------------------------------------------------- */
static uint64_t usual(const optc_hyper_desc *h, int64_t k) {
  return h->has_default ? h->value : h->type == TYPE_F64 ? bits_of(0.5) : h->type == TYPE_BOOL ? 1 : (uint64_t)(5 + 2*k);
}
static uint64_t unusual(const optc_hyper_desc *h, int64_t k, uint64_t *s) {
  double share = 0.5 + (double)(next_random(s)%7)/16;
  uint64_t value = usual(h, k);
  if (h->type == TYPE_BOOL) return !value;
  if (h->type != TYPE_F64) return (value > 1000 ? 0 : value) + 1 + next_random(s)%3;
  return bits_of(f64_of(value) == 0 ? share/2 : f64_of(value)*share);
}

/* Whether every entry takes these numbers: called with an item that has no elements. */
static bool accepted(const Drill *d, const DrillRule *rule, const char *hyper) {
  const optc_rule_desc *desc = d->desc;
  static const int64_t nothing = 0;
  char *item = calloc(1, (size_t)desc->item_size + 8), *global = calloc(1, (size_t)desc->global_size + 8);
  bool good = item && global;
  for (int64_t e = 0; e < desc->n_entries && good; e++) {
    if (!strcmp(desc->entries[e].name, "layout")) continue;
    const int64_t *shape = &nothing, rank = 1;
    memcpy(item + desc->item_rank, &rank, 8);
    memcpy(item + desc->item_shape, &shape, sizeof shape);
    optc_call call = {.size = sizeof call, .groups = hyper, .n_groups = 1, .items = item, .n_items = 1, .global = global};
    good = rule->call(rule->self, e, &call) == OPTC_OK;
  }
  free(item);
  free(global);
  return good;
}

/* Defaults, then one after the other in any order something else, kept if the rule agrees. Values that all groups must share come from the first. */
static void choose_hypers(Drill *d, const DrillRule *rule, uint64_t *s) {
  const optc_rule_desc *desc = d->desc;
  int64_t n = desc->n_hypers;
  uint64_t shared = 0;
  for (int64_t e = 0; e < desc->n_entries; e++) shared |= desc->entries[e].equal_hypers;
  for (int g = 0; g < d->plan.n_groups; g++) {
    char *own = d->hyper + g*desc->hyper_size;
    for (int64_t k = 0; k < n; k++) {
      uint64_t value = usual(&desc->hypers[k], k);
      if (g && k < 64 && shared >> k & 1) memcpy(&value, d->hyper + 8*k, 8);
      memcpy(own + 8*k, &value, 8);
    }
    for (int64_t tries = 0; tries < 2*n && (g || d->plan.seed); tries++) {
      int64_t k = (int64_t)(next_random(s)%(uint64_t)n);
      uint64_t before, value = unusual(&desc->hypers[k], k, s);
      if (g && k < 64 && shared >> k & 1) continue;
      memcpy(&before, own + 8*k, 8);
      memcpy(own + 8*k, &value, 8);
      if (!accepted(d, rule, own)) memcpy(own + 8*k, &before, 8);
    }
  }
}

/* --- the world ------------------------------------------------------------------------------------------------------------------------- */
static bool is_tensor(const Drill *d, int64_t k) { return d->desc->operands[k].scope == SCOPE_TENSOR; }
static bool only_read(const Drill *d, int64_t k) { return d->desc->operands[k].role == ROLE_GRAD || d->desc->operands[k].role == ROLE_IN; }
static bool absent(const Drill *d, int64_t i, int64_t k) { return d->desc->operands[k].optional && i%2; }
static size_t bytes_of(const Drill *d, int64_t i, int64_t k) { return (size_t)(d->plan.counts[i]*d->desc->operands[k].bytes); }

static void fill(Drill *d, char *block, int64_t i, int64_t k, uint64_t *s) {
  const optc_operand_desc *o = &d->desc->operands[k];
  char *at = block + d->at[i*d->desc->n_operands + k];
  for (int64_t e = 0; e < d->plan.counts[i]; e++) value_make_up(at + e*o->bytes, o->type, s, d->plan.any_bits, o->role == ROLE_STATE && (e & 15));
}

void drill_free(Drill *d) {
  if (!d) return;
  for (int64_t k = 0; k < d->desc->n_operands; k++) {
    if (d->pool) free(d->pool[k]);
    if (d->pristine) free(d->pristine[k]);
  }
  void *all[] = {d->hyper, d->first, d->work, d->kept, d->at, d->pool, d->pristine, d->pool_size, d->items, d->global, d->first_items, d->first_global, d->numbers, d->kept_numbers, d};
  for (size_t k = 0; k < sizeof all/sizeof *all; k++) free(all[k]);
}

Drill *drill_new(const DrillRule *rule, const DrillPlan *plan) {
  const optc_rule_desc *desc = rule->desc;
  int64_t n = desc->n_operands, n_items = plan->n_items, longest = 0;
  uint64_t s = plan->seed*1000003 + 17;
  Drill *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  d->desc = desc;
  d->plan = *plan;
  d->hyper = calloc((size_t)plan->n_groups, (size_t)desc->hyper_size + 8);
  d->at = calloc((size_t)(n*n_items) + 1, sizeof *d->at);
  d->pool = calloc((size_t)n + 1, sizeof *d->pool);
  d->pristine = calloc((size_t)n + 1, sizeof *d->pristine);
  d->pool_size = calloc((size_t)n + 1, sizeof *d->pool_size);
  d->items = calloc((size_t)n_items, (size_t)desc->item_size + 8);
  d->first_items = calloc((size_t)n_items, (size_t)desc->item_size + 8);
  d->global = calloc(1, (size_t)desc->global_size + 8);
  d->first_global = calloc(1, (size_t)desc->global_size + 8);
  d->n_numbers = (size_t)(n*n_items + n + 1) + MAX_CALLS;
  d->numbers = calloc(d->n_numbers, 8);
  d->kept_numbers = calloc(d->n_numbers, 8);
  if (!d->hyper || !d->at || !d->pool || !d->pristine || !d->pool_size || !d->items || !d->first_items || !d->global || !d->first_global || !d->numbers || !d->kept_numbers) goto none;
  choose_hypers(d, rule, &s);
  d->size = GUARD;
  for (int64_t i = 0; i < n_items; i++) {
    if (plan->counts[i] > longest) longest = plan->counts[i];
    for (int64_t k = 0; k < n; k++)
      if (is_tensor(d, k) && !only_read(d, k)) {
        d->at[i*n + k] = (d->size + 7) & ~(size_t)7;          /* aligned for the element, to no vector */
        d->size = d->at[i*n + k] + bytes_of(d, i, k) + GUARD;
      }
  }
  d->first = malloc(d->size);
  d->work = malloc(d->size);
  d->kept = calloc(1, d->size);
  if (!d->first || !d->work || !d->kept) goto none;
  memset(d->first, FILL, d->size);
  for (int64_t k = 0; k < n; k++) {
    const optc_operand_desc *o = &desc->operands[k];
    if (!is_tensor(d, k)) {
      for (int64_t i = 0; i < n_items; i++) {
        uint64_t value = value_number(o->type, &s);
        memcpy(o->scope == SCOPE_GLOBAL ? d->first_global + o->offset : d->first_items + i*desc->item_size + o->offset, &value, 8);
      }
    } else if (only_read(d, k)) {
      d->pool_size[k] = (size_t)((longest + SHIFT)*o->bytes);
      d->pool[k] = malloc(d->pool_size[k]);
      d->pristine[k] = malloc(d->pool_size[k]);
      if (!d->pool[k] || !d->pristine[k]) goto none;
      for (int64_t e = 0; e < longest + SHIFT; e++) value_make_up(d->pool[k] + e*o->bytes, o->type, &s, plan->any_bits, false);
      memcpy(d->pristine[k], d->pool[k], d->pool_size[k]);
    } else
      for (int64_t i = 0; i < n_items; i++) fill(d, d->first, i, k, &s);
  }
  return d;
none:
  drill_free(d);
  return NULL;
}

/* --- running ------------------------------------------------------------------------------------------------------------------------------ */
typedef struct Run { Drill *d; const DrillRule *rule; const DrillWay *way; int64_t entry; int step; size_t calls; int64_t shapes[64]; } Run;

static void fill_item(Run *r, char *item, int64_t i, int64_t first, int64_t count) {
  const Drill *d = r->d;
  const optc_rule_desc *desc = d->desc;
  int64_t n = d->plan.counts[i], group = i%d->plan.n_groups, rank = n != 1;
  const int64_t *shape = rank ? &r->shapes[i%64] : NULL;
  r->shapes[i%64] = n;
  for (int64_t k = 0; k < desc->n_operands; k++) {
    const optc_operand_desc *o = &desc->operands[k];
    if (!is_tensor(d, k)) continue;
    optc_tensor x = {0};
    if (!absent(d, i, k)) {
      if (only_read(d, k)) x.data = d->pool[k] + (i*5%31 + r->step*3%31 + first)*o->bytes;
      else x.data = d->work + d->at[i*desc->n_operands + k] + first*o->bytes;
    }
    memcpy(item + o->offset, &x, sizeof x);
  }
  memcpy(item + desc->item_group, &group, 8);
  memcpy(item + desc->item_rank, &rank, 8);
  memcpy(item + desc->item_shape, &shape, sizeof shape);
  memcpy(item + desc->item_first, &first, 8);
  memcpy(item + desc->item_count, &count, 8);
}

static int call_part(Run *r, int64_t first_item, int64_t n_items) {
  Drill *d = r->d;
  optc_error error = {0};
  optc_call call = {.size = sizeof call, .groups = d->hyper, .n_groups = d->plan.n_groups, .items = d->items + first_item*d->desc->item_size, .n_items = n_items,
                    .first_item = first_item, .global = d->global, .parallel = r->way->parallel, .error = &error};
  call.workspace_size = r->rule->workspace(r->rule->self, &call);
  char *workspace = call.workspace_size ? malloc(call.workspace_size + GUARD) : NULL;
  call.workspace = workspace;
  if (workspace) memset(workspace, FILL, call.workspace_size + GUARD);
  uint64_t set = r->way->hostile ? FLOAT_HOSTILE : FLOAT_USUAL;
  if (r->way->hostile) float_environment_set(set);
  int code = r->rule->call(r->rule->self, r->entry, &call);
  uint64_t found = float_environment();
  float_environment_set(FLOAT_USUAL);
  if (found != set) d->trouble = "the floating-point environment was not restored";
  if (code != error.code) d->trouble = "the error record has another code than the call returned";
  for (size_t k = 0; workspace && k < GUARD; k++)
    if ((unsigned char)workspace[call.workspace_size + k] != FILL) d->trouble = "written past the workspace";
  free(workspace);
  return code;
}

/* Pieces of one step all see the globals as they were; what they make of them does not depend on the items. */
static void call_entry(Run *r) {
  Drill *d = r->d;
  size_t global = (size_t)d->desc->global_size;
  char before[4096];
  memcpy(before, d->global, global < sizeof before ? global : sizeof before);
  int64_t n = d->plan.n_items;
  int code = 0;
  for (int64_t i = 0; i < n; i++) fill_item(r, d->items + i*d->desc->item_size, i, 0, 0);
  if (r->way->cut == DRILL_WHOLE) code = call_part(r, 0, n);
  else if (r->way->cut == DRILL_LISTS) {
    code = call_part(r, 0, n/3);
    memcpy(d->global, before, global);
    if (!code) code = call_part(r, n/3, n - n/3);
  } else
    for (int64_t i = n; i-- > 0 && !code;) {
      int64_t count = d->plan.counts[i], pieces = count ? (count + OPTC_CHUNK - 1)/OPTC_CHUNK : 1;
      for (int64_t c = pieces; c-- > 0 && !code;) {
        memcpy(d->global, before, global);
        int64_t first = c*OPTC_CHUNK, left = count - first;
        fill_item(r, d->items + i*d->desc->item_size, i, first, left < OPTC_CHUNK ? left : OPTC_CHUNK);
        code = call_part(r, i, 1);
      }
    }
  if (r->calls < MAX_CALLS) d->numbers[r->calls++] = (uint64_t)code;
  if (code) d->trouble = "a call was refused";
}

void drill_run(Drill *d, const DrillRule *rule, const DrillWay *way) {
  const optc_rule_desc *desc = d->desc;
  int64_t n = desc->n_operands, n_items = d->plan.n_items;
  uint64_t s = d->plan.seed + 99;
  Run r = {.d = d, .rule = rule, .way = way};
  d->trouble = NULL;
  memcpy(d->work, d->first, d->size);
  memcpy(d->items, d->first_items, (size_t)(n_items*desc->item_size));
  memcpy(d->global, d->first_global, (size_t)desc->global_size);
  memset(d->numbers, 0, d->n_numbers*8);
  for (int64_t e = 0; e < desc->n_entries; e++)
    if (!strcmp(desc->entries[e].name, "init")) { r.entry = e; call_entry(&r); }
  for (int64_t i = 1; i < n_items; i += 2)                    /* every other item goes on from states that init would not give */
    for (int64_t k = 0; k < n; k++)
      if (is_tensor(d, k) && desc->operands[k].role == ROLE_STATE) fill(d, d->work, i, k, &s);
  int64_t t = d->plan.seed & 1 ? 12345 : 0;
  memcpy(d->global, &t, 8);
  for (r.step = 1; r.step <= d->plan.steps; r.step++)
    for (int64_t e = 0; e < desc->n_entries; e++) {
      if (!strcmp(desc->entries[e].name, "init") || !strcmp(desc->entries[e].name, "layout")) continue;
      r.entry = e;
      call_entry(&r);
    }
  uint64_t *at = d->numbers + MAX_CALLS;
  memcpy(at++, d->global, 8);
  for (int64_t k = 0; k < n; k++) {
    const optc_operand_desc *o = &desc->operands[k];
    for (int64_t i = 0; i < n_items && o->scope == SCOPE_SCALAR; i++) memcpy(at + i*n + k, d->items + i*desc->item_size + o->offset, 8);
    if (o->scope == SCOPE_GLOBAL) memcpy(at + n_items*n + k, d->global + o->offset, 8);
    if (d->pool[k] && memcmp(d->pool[k], d->pristine[k], d->pool_size[k])) d->trouble = "a tensor that is only read was written";
  }
}

void drill_keep(Drill *d) {
  memcpy(d->kept, d->work, d->size);
  memcpy(d->kept_numbers, d->numbers, d->n_numbers*8);
}

/* --- comparing ------------------------------------------------------------------------------------------------------------------------- */

static const char *number_difference(Drill *d) {
  size_t n = (size_t)d->desc->n_operands;
  for (size_t k = 0; k < d->n_numbers; k++) {
    uint64_t a = d->kept_numbers[k], b = d->numbers[k];
    bool real = k > MAX_CALLS && d->desc->operands[(k - MAX_CALLS - 1)%n].type >= TYPE_BF16;
    if (a == b || (real && value_is_nan(a, TYPE_F64) && value_is_nan(b, TYPE_F64))) continue;
    if (k < MAX_CALLS) snprintf(d->text, sizeof d->text, "call %zu: code %d, expected %d", k, (int)b, (int)a);
    else if (k == MAX_CALLS) snprintf(d->text, sizeof d->text, "t: %lld, expected %lld", (long long)b, (long long)a);
    else snprintf(d->text, sizeof d->text, "number %s: %016llx, expected %016llx", d->desc->operands[(k - MAX_CALLS - 1)%n].name, (unsigned long long)b, (unsigned long long)a);
    return d->text;
  }
  return NULL;
}

const char *drill_difference(Drill *d) {
  if (d->trouble) return d->trouble;
  const char *numbers = number_difference(d);
  if (numbers || !memcmp(d->work, d->kept, d->size)) return numbers;
  int64_t n = d->desc->n_operands;
  size_t end = 0;                        /* of the tensor before: between the two only guard bytes */
  for (int64_t i = 0; i < d->plan.n_items; i++)
    for (int64_t k = 0; k < n; k++) {
      const optc_operand_desc *o = &d->desc->operands[k];
      if (!is_tensor(d, k) || only_read(d, k)) continue;
      const char *a = d->kept + d->at[i*n + k], *b = d->work + d->at[i*n + k];
      if (memcmp(d->kept + end, d->work + end, d->at[i*n + k] - end)) {
        snprintf(d->text, sizeof d->text, "written before tensor %s of item %d, or past the one before", o->name, (int)i);
        return d->text;
      }
      end = d->at[i*n + k] + bytes_of(d, i, k);
      if (!memcmp(a, b, bytes_of(d, i, k))) continue;
      for (int64_t e = 0; e < d->plan.counts[i]; e++) {
        uint64_t x = value_load(a + e*o->bytes, o->bytes), y = value_load(b + e*o->bytes, o->bytes);
        if (x == y || (value_is_nan(x, o->type) && value_is_nan(y, o->type))) continue;
        snprintf(d->text, sizeof d->text, "tensor %s of item %d (%lld elements), element %lld: %0*llx, expected %0*llx", o->name, (int)i, (long long)d->plan.counts[i],
                 (long long)e, (int)o->bytes*2, (unsigned long long)y, (int)o->bytes*2, (unsigned long long)x);
        return d->text;
      }
    }
  return memcmp(d->kept + end, d->work + end, d->size - end) ? "written past the last tensor" : NULL;
}

/* --- to another machine and back ------------------------------------------------------------------------------------------------------------ */
void drill_write(Drill *d, FILE *file) {
  int64_t n = d->desc->n_operands;
  for (int64_t i = 0; i < d->plan.n_items; i++)
    for (int64_t k = 0; k < n; k++) {
      const optc_operand_desc *o = &d->desc->operands[k];
      for (int64_t e = 0; e < d->plan.counts[i] && is_tensor(d, k) && !only_read(d, k); e++) {
        char *at = d->work + d->at[i*n + k] + e*o->bytes;
        if (value_is_nan(value_load(at, o->bytes), o->type)) memset(at, 0xff, (size_t)o->bytes);
      }
    }
  uint64_t trouble = d->trouble != NULL;
  fwrite(&trouble, 8, 1, file);
  fwrite(d->numbers, 8, d->n_numbers, file);
  fwrite(d->work, 1, d->size, file);
}

bool drill_read(Drill *d, FILE *file) {
  uint64_t trouble;
  bool good = fread(&trouble, 8, 1, file) == 1 && fread(d->numbers, 8, d->n_numbers, file) == d->n_numbers && fread(d->work, 1, d->size, file) == d->size;
  d->trouble = good && trouble ? "a promise was broken on the other machine" : NULL;
  return good;
}

/* --- for trials -------------------------------------------------------------------------------------------------------------------------------- */
bool drill_elementwise(const optc_rule_desc *desc) {
  bool any = false;
  for (int64_t k = 0; k < desc->n_operands; k++) {
    const optc_operand_desc *o = &desc->operands[k];
    if (o->tensor && !o->item_shape) return false;
    any |= o->tensor != 0;
  }
  for (int64_t e = 0; e < desc->n_entries; e++) {
    const optc_entry_desc *entry = &desc->entries[e];
    if (!strcmp(entry->name, "init") || !strcmp(entry->name, "layout")) continue;
    if (entry->n_temps || entry->n_slots) return false;
    for (int64_t k = 0; k < entry->n_kernels; k++) if (entry->kernels[k].launch == LAUNCH_ITEM) return false;
  }
  return any;
}
