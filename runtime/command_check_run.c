/* command_check_run.c: feeds recorded inputs to a rule and compares what comes out: step by step, or in one call. */
#include <stdio.h>
#include <string.h>
#include "runtime/command.h"
#include "runtime/command_check.h"

enum { PARAM = OPTC_ROLE_PARAM, STATE = OPTC_ROLE_STATE };

bool check_call(CheckRun *r, int entry, int step) {
  Check *c = r->c;
  r->error = (optc_error){0};
  int code = optc_rule_call(c->rule, entry, &r->args);
  if (!code) return true;
  const optc_error error = r->error;
  char why[400], at[40] = "";
  if (c->format != CHECK_CALL) snprintf(at, sizeof at, "step %d: ", step + 1);
  return check_bad(c, code == OPTC_E_INTERNAL ? 70 : 1, "%sentry %s: %s", at, optc_rule_entry_name(c->rule, entry), optc_error_format(why, sizeof why, &error));
}

/* The entries of one recorded step: those of the index, else step and the others, in the order of the text. `backward` comes last, where there are
 * gradients to compare it with. */
static bool order_entries(CheckRun *r) {
  Check *c = r->c;
  for (int i = 0; i < c->index.n_entries; i++) {
    r->entries[i] = optc_rule_entry(c->rule, c->index.entries[i]);
    if (r->entries[i] < 0)
      return check_bad(c, 1, "%s/index: rule '%s' has no entry '%s'", c->options->rules, optc_rule_name(c->rule), c->index.entries[i]);
  }
  r->n_entries = c->index.n_entries;
  for (int e = 0; !c->index.n_entries && e < optc_rule_entries(c->rule); e++) {
    const char *name = optc_rule_entry_name(c->rule, e);
    if (!strcmp(name, "init") || (c->format == CHECK_CALL && !strcmp(name, "backward"))) continue;
    if (r->n_entries == CHECK_ENTRIES) return check_bad(c, 1, "the rule has more than %d entries", CHECK_ENTRIES);
    r->entries[r->n_entries++] = e;
  }
  return r->n_entries > 0 || check_bad(c, 1, "the rule has no entry to call");
}

static bool step(CheckRun *r, int at) {
  Check *c = r->c;
  for (int n = 0; n < r->n_entries; n++) {
    Bound bound = check_bind(r, r->entries[n], at);
    if (bound == BAD) return false;
    if (bound == LEFT_OUT) continue;
    if (!check_call(r, r->entries[n], at) || !check_outputs(r, r->entries[n], at)) return false;
  }
  bool wide;
  json_t *params = c->format == CHECK_STEPS ? check_recorded(c, "params", &wide) : NULL;
  if (params && !check_params(r, "params", json_array_get(params, (size_t)at), at, wide)) return false;
  return check_per_step(r, at) && (!check_bar(c, "params", false)->restart || check_restart(r, at));
}

static bool steps(CheckRun *r) {
  for (int at = 0; at < r->c->steps; at++)
    if (!step(r, at)) return false;
  return check_final(r);
}

static bool one_call(CheckRun *r) {
  Check *c = r->c;
  int backward = optc_rule_entry(c->rule, "backward");
  for (int n = 0; n < r->n_entries; n++) {
    Bound bound = check_bind(r, r->entries[n], 0);
    if (bound == BAD) return false;
    if (bound == READY && (!check_call(r, r->entries[n], 0) || !check_results(r, r->entries[n]))) return false;
  }
  json_t *grads = json_object_get(c->data, "grads");
  if (!json_object_size(grads)) return true;
  if (backward < 0) return check_note(c, "grads"), true;
  Bound bound = check_bind(r, backward, 0);
  if (bound == LEFT_OUT) return check_note(c, "entry backward"), true;
  return bound == READY && check_call(r, backward, 0) && check_results(r, backward);
}

static bool prepare(CheckRun *r) {
  Check *c = r->c;
  if (!check_memory(r) || !order_entries(r)) return false;
  int n = c->n_operands;
  r->args = (optc_call_args){.size = sizeof r->args, .groups = &r->group, .n_groups = 1, .items = r->items, .n_items = r->n_items, .global_scalar = r->globals, .t = &r->t,
    .seed = (uint64_t)json_integer_value(json_object_get(c->data, "rng_seed")), .error = &r->error, .global_tensor = &r->bound[(size_t)r->n_items*(size_t)n]};
  int init = optc_rule_entry(c->rule, "init");
  return init < 0 || (check_bind(r, init, -1) != BAD && check_states(r) && check_call(r, init, -1) && (c->format != CHECK_STEPS || check_master(r)));
}

static bool variants(Check *c) {
  for (int variant = 0, n_variants = 1; variant < n_variants; variant++) {
    CheckRun run = {.c = c};
    if (!check_hypers(&run, variant, &n_variants) || !prepare(&run)) return false;
    if (c->options->gradient) { check_unused(&run); return check_gradient(&run); }
    if (!(c->format == CHECK_CALL ? one_call(&run) : steps(&run))) return false;
    if (variant + 1 == n_variants) check_unused(&run);
  }
  return true;
}

/* Of a call with several `tensors` each is a problem of its own, for rules may write numbers of the whole call. */
bool check_run(Check *c) {
  if (c->format != CHECK_CALL) return variants(c);
  CheckItem *all = c->items;
  int n = c->n_items;
  bool good = true;
  c->n_items = 1;
  for (int i = 0; i < n && good; i++) {
    c->items = &all[i];
    good = variants(c);
  }
  c->items = all;
  c->n_items = n;
  return good;
}
