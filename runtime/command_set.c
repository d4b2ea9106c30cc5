/* command_set.c: --set NAME=X: hyper-parameters of a rule, by their name in the rule or by the one that checkpoints and data use. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/command.h"
#include "runtime/command_run.h"

/* What is behind `name=` in a text that begins so, or NULL. */
static const char *value_behind(const char *text, const char *name) {
  size_t n = name ? strlen(name) : 0;
  return n && !strncmp(text, name, n) && text[n] == '=' ? text + n + 1 : NULL;
}

/* The hyper-parameter that a text sets; the longest name wins, for one may have a '=' in it ("mode=on"). -1: none. */
static int named(const optc_hyper_info *infos, int n, const char *text, const char **value) {
  int found = -1;
  *value = NULL;
  for (int k = 0; k < n; k++) {
    const char *names[] = {infos[k].name, infos[k].external};
    for (int i = 0; i < 2; i++) {
      const char *behind = value_behind(text, names[i]);
      if (!behind || (*value && behind <= *value)) continue;
      *value = behind;
      found = k;
    }
  }
  return found;
}

/* Whether one of the first `n_sets` sets hyper-parameter k. */
static bool is_set(const optc_hyper_info *infos, int n, const char *const *set, int n_sets, int k) {
  const char *value;
  for (int i = 0; i < n_sets; i++) if (named(infos, n, set[i], &value) == k) return true;
  return false;
}

static int unknown(const optc_hyper_info *infos, int n, const char *text) {
  char name[64];
  const char **names = calloc(2*(size_t)n + 1, sizeof *names);
  if (!names) return command_error(COMMAND_INPUT, "out of memory");
  for (int k = 0; k < n; k++) { names[2*k] = infos[k].name; names[2*k + 1] = infos[k].external; }
  snprintf(name, sizeof name, "%.*s", (int)strcspn(text, "="), text);
  const char *near = suggest_word(name, names, 2*(size_t)n);
  int code = near ? command_error(COMMAND_USAGE, "--set: the rule has no hyper-parameter '%s'; did you mean '%s'?", name, near)
                  : command_error(COMMAND_USAGE, "--set: the rule has no hyper-parameter '%s'", name);
  free(names);
  return code;
}

/* A value that the type of the hyper-parameter has. */
static int read_value(const optc_hyper_info *info, const char *given, const char *text, double *value) {
  static const struct { const char *word; double value; } words[] = {{"true", 1}, {"false", 0}};
  char *end;
  errno = 0;
  *value = strtod(text, &end);
  bool good = end != text && !*end;
  if (good && errno == ERANGE && (isinf(*value) || *value == 0)) return command_error(COMMAND_USAGE, "--set: %s is no number that an f64 holds", text);
  for (size_t i = 0; i < sizeof words/sizeof *words; i++)
    if (!strcmp(text, words[i].word)) { *value = words[i].value; good = true; }
  if (!good) return command_error(COMMAND_USAGE, "--set wants NAME=NUMBER, not '%s'", given);
  if (isnan(*value)) return command_error(COMMAND_USAGE, "--set: nan stands for the default of '%s'; leave it out", info->name);
  if (info->type == 1 && !(*value >= -9223372036854775808.0 && *value < 9223372036854775808.0 && *value == floor(*value)))
    return command_error(COMMAND_USAGE, "--set: '%s' is an integer, not %s", info->name, text);
  if (info->type == 2 && *value != 0 && *value != 1) return command_error(COMMAND_USAGE, "--set: '%s' is a bool: true or false, not %s", info->name, text);
  return -1;
}

int command_hypers(const optc_rule *rule, const char *const *set, int n_sets, double *out) {
  int n = optc_rule_hypers(rule), code = -1;
  optc_hyper_info *infos = calloc((size_t)n + 1, sizeof *infos);
  if (!infos) return command_error(COMMAND_INPUT, "out of memory");
  for (int k = 0; k < n; k++) {
    optc_rule_hyper(rule, k, &infos[k]);
    out[k] = infos[k].value;
  }
  for (int i = 0; i < n_sets && code < 0; i++) {
    const char *text;
    int k = strchr(set[i], '=') ? named(infos, n, set[i], &text) : -1;
    if (k >= 0 && is_set(infos, n, set, i, k)) code = command_error(COMMAND_USAGE, "--set: '%.*s' is given twice", (int)(text - 1 - set[i]), set[i]);
    else if (k >= 0) code = read_value(&infos[k], set[i], text, &out[k]);
    else if (!strchr(set[i], '=')) code = command_error(COMMAND_USAGE, "--set wants NAME=NUMBER, not '%s'", set[i]);
    else code = unknown(infos, n, set[i]);
    if (code < 0) infos[k].has_default = true;
  }
  for (int k = 0; k < n && code < 0; k++)
    if (!infos[k].has_default) code = command_error(COMMAND_USAGE, "hyper-parameter '%s' has no default: --set %s=...", infos[k].name, infos[k].name);
  free(infos);
  return code;
}
