/* command_run_shapes.c: shapes of the made-up tensors of `optc run`: what was asked for, sizes that follow, small defaults for the rest. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/command.h"
#include "runtime/command_run.h"

/* Sizes by the names that papers use. The last line is for all others. */
static const struct { const char *names; int64_t value; } usual[] = {{"B", 2}, {"H", 4}, {"G", 2}, {"N M T S L", 128}, {"D E C P", 32}, {"", 8}};

static int64_t usual_size(const char *name) {
  size_t k = 0;
  while (*usual[k].names && (strlen(name) != 1 || !strchr(usual[k].names, *name))) k++;
  return usual[k].value;
}

/* The operand whose shape all tensors of the item have: the first param. -1: there is none. */
static int item_operand(const optc_rule *rule) {
  int first = -1;
  for (int k = optc_rule_operands(rule) - 1; k >= 0; k--) {
    optc_operand_info o, at;
    optc_rule_operand(rule, k, &o);
    if (!o.tensor || !o.item_shape) continue;
    if (first >= 0) optc_rule_operand(rule, first, &at);
    if (first < 0 || o.role == OPTC_ROLE_PARAM || at.role != OPTC_ROLE_PARAM) first = k;
  }
  return first;
}

/* No tensor whose shape could be asked for has the name that `text` begins with. */
static int no_such_tensor(const optc_rule *rule, const char *text) {
  const char *words[SHAPE_MAX];
  char name[64], list[400] = "";
  size_t n = 0, at = 0;
  int item = item_operand(rule);
  for (int k = 0; k < optc_rule_operands(rule) && n < SHAPE_MAX; k++) {
    optc_operand_info o;
    optc_rule_operand(rule, k, &o);
    if (!o.tensor || o.role == OPTC_ROLE_STATE || (o.item_shape && k != item)) continue;
    if (at < sizeof list) at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", n ? ", " : "", o.name);
    words[n++] = o.name;
  }
  snprintf(name, sizeof name, "%.*s", (int)strcspn(text, "="), text);
  const char *near = suggest_word(name, words, n);
  if (near) return command_error(COMMAND_USAGE, "--shape: the rule has no tensor '%s'; did you mean '%s'? There are %s", name, near, list);
  return command_error(COMMAND_USAGE, n ? "--shape: the rule has no tensor '%s'; there are %s" : "--shape: the rule has no tensor '%s'", name, list);
}

/* "NAME=1,2,3" for an operand. */
static int asked_shape(const optc_rule *rule, const char *text, ShapeNames *sizes, RunShape *shapes) {
  const char *equals = strchr(text, '=');
  int item = item_operand(rule);
  if (!equals) return command_error(COMMAND_USAGE, "--shape wants NAME=N,M,.., not '%s'", text);
  for (int k = 0; k < optc_rule_operands(rule); k++) {
    optc_operand_info o, param;
    optc_rule_operand(rule, k, &o);
    if (!o.tensor || strlen(o.name) != (size_t)(equals - text) || memcmp(o.name, text, (size_t)(equals - text))) continue;
    RunShape *s = &shapes[k];
    if (o.item_shape && k != item) {
      optc_rule_operand(rule, item, &param);
      return command_error(COMMAND_USAGE, "--shape: '%s' has the shape of '%s': --shape %s=N,M,..", o.name, param.name, param.name);
    }
    if (o.role == OPTC_ROLE_STATE) return command_error(COMMAND_USAGE, "--shape: the rule gives state '%s' its shape%s%s", o.name, o.shape ? ", " : "", o.shape ? o.shape : "");
    if (s->known) return command_error(COMMAND_USAGE, "--shape: '%s' is given twice", o.name);
    s->rank = 0;
    for (const char *at = equals + 1; *at;) {
      char *end;
      long long n = strtoll(at, &end, 10);
      if (end == at || n < 0 || s->rank == SHAPE_MAX || (*end && *end != ',') || (*end && !end[1])) return command_error(COMMAND_USAGE, "--shape wants NAME=N,M,.., not '%s'", text);
      s->extent[s->rank++] = n;
      at = *end ? end + 1 : end;
    }
    s->known = true;
    if (o.shape) shape_learn(sizes, o.shape, s->rank, s->extent);
    return -1;
  }
  return no_such_tensor(rule, text);
}

/* The shape of the item: what its param says, of about `elements` elements. */
static void item_shape(const optc_operand_info *o, ShapeNames *sizes, int64_t elements, RunShape *s) {
  char unknown[48];
  int axes = 1;
  for (const char *c = o->shape; c && *c; c++) axes += *c == ',';
  int64_t side = axes > 1 ? (int64_t)(pow((double)elements, 1.0/axes) + 0.5) : elements;
  while (o->shape && (s->rank = shape_evaluate(sizes, o->shape, s->extent, unknown)) < 0 && *unknown) shape_set(sizes, unknown, side);
  if (o->shape && s->rank > 0) return;
  s->rank = 1;
  s->extent[0] = elements;
}

/* The names that shapes of the rule have, each once. */
static int size_names(const optc_rule *rule, char names[SHAPE_MAX][48]) {
  int n = 0;
  for (int k = 0; k < optc_rule_operands(rule); k++) {
    optc_operand_info o;
    optc_rule_operand(rule, k, &o);
    for (const char *s = o.tensor ? o.shape : NULL; s && *s;) {
      size_t length = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
      bool name = length && length < 48 && (*s < '0' || *s > '9') && !(length == 4 && !strncmp(s, "flat", 4));
      for (int i = 0; i < n && name; i++) name = strlen(names[i]) != length || strncmp(names[i], s, length);
      if (name && n < SHAPE_MAX) { memcpy(names[n], s, length); names[n++][length] = 0; }
      s += length ? length : 1;
    }
  }
  return n;
}

/* What was asked for and the rule has no place for. -1, or an exit code. */
static int check_wish(const optc_rule *rule, const RunWish *wish) {
  char names[SHAPE_MAX][48], list[400] = "";
  const char *words[SHAPE_MAX];
  int n = size_names(rule, names);
  size_t at = 0;
  bool item = false;
  for (int i = 0; i < n; i++) {
    words[i] = names[i];
    if (at < sizeof list) at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", names[i]);
  }
  for (int i = 0; i < wish->sizes.n; i++) {
    const char *asked = wish->sizes.at[i].name, *near = suggest_word(asked, words, (size_t)n);
    bool known = false;
    for (int k = 0; k < n; k++) known |= !strcmp(names[k], asked);
    if (known) continue;
    if (near && strlen(asked) > 1) return command_error(COMMAND_USAGE, "--size: no shape of the rule has a size '%s'; did you mean '%s'? There are %s", asked, near, list);
    if (n) return command_error(COMMAND_USAGE, "--size: no shape of the rule has a size '%s'; there are %s", asked, list);
    return command_error(COMMAND_USAGE, "--size: no shape of the rule has a size '%s': its tensors have the param's shape, -n N elements or --shape NAME=N,M", asked);
  }
  for (int k = 0; k < optc_rule_operands(rule); k++) {
    optc_operand_info o;
    optc_rule_operand(rule, k, &o);
    item |= o.tensor && o.item_shape;
  }
  if (wish->elements_given && !item)
    return command_error(COMMAND_USAGE, "-n is the number of elements of a param, which the rule does not have%s%s", n ? ": --size NAME=N gives its sizes " : "", list);
  return -1;
}

int run_shapes(const optc_rule *rule, const RunWish *wish, const double *hyper, RunShape *shapes) {
  ShapeNames sizes = wish->sizes;
  int item = item_operand(rule), wrong = check_wish(rule, wish);
  if (wrong >= 0) return wrong;
  for (int i = 0; i < wish->n_shapes; i++) {
    int code = asked_shape(rule, wish->shape[i], &sizes, shapes);
    if (code >= 0) return code;
  }
  for (int i = 0; i < optc_rule_hypers(rule); i++) {
    optc_hyper_info h;
    optc_rule_hyper(rule, i, &h);
    if (h.type == 1) shape_set(&sizes, h.name, (int64_t)hyper[i]);
  }
  for (int pass = 0; pass < 3; pass++)                       /* the item; what is read; what is written */
    for (int k = 0; k < optc_rule_operands(rule); k++) {
      optc_operand_info o;
      char unknown[48];
      RunShape *s = &shapes[k];
      optc_rule_operand(rule, k, &o);
      bool written = o.role == OPTC_ROLE_OUT;
      if (!o.tensor || (o.role == OPTC_ROLE_STATE && !o.item_shape) || (o.item_shape ? pass != (k != item) : pass != 1 + written)) continue;
      if (o.item_shape && k != item) { *s = shapes[item]; continue; }
      if (o.item_shape && !s->known) item_shape(&o, &sizes, wish->elements, s);
      else if (!s->known) {
        s->rank = 0;
        while (o.shape && (s->rank = shape_evaluate(&sizes, o.shape, s->extent, unknown)) < 0 && *unknown) {
          if (written) return command_error(COMMAND_USAGE, "the shape of '%s', %s, depends on '%s': --shape %s=..., or --size %s=...", o.name, o.shape, unknown, o.name, unknown);
          shape_set(&sizes, unknown, usual_size(unknown));
        }
        if (s->rank < 0) return command_error(COMMAND_USAGE, "the shape of '%s' is %s: --shape %s=...", o.name, o.shape, o.name);
      }
      s->known = true;
    }
  return -1;
}

int run_sizes(const char *text, ShapeNames *sizes) {
  char copy[1024], *rest = copy;
  if (strlen(text) >= sizeof copy) return command_error(COMMAND_USAGE, "--size is too long");
  strcpy(copy, text);
  for (char *one; (one = strsep(&rest, ","));) {
    char *equals = strchr(one, '=');
    long long n;
    if (equals) *equals = 0;
    if (!equals || equals == one || !command_count(equals + 1, &n)) return command_error(COMMAND_USAGE, "--size wants NAME=N,.., not '%s'", text);
    for (int i = 0; i < sizes->n; i++)
      if (!strcmp(sizes->at[i].name, one)) return command_error(COMMAND_USAGE, "--size: '%s' is given twice", one);
    shape_set(sizes, one, n);
  }
  return -1;
}
