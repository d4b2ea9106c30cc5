/* command_check_made.c: data made up for a rule: `optc check --gradient RULE.opt` needs its shapes only. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/command_check.h"

bool check_is_rule(const char *path) {
  size_t n = strlen(path);
  return n > 4 && !strcmp(path + n - 4, ".opt");
}

/* SplitMix64, in [0, 1). */
static double next(uint64_t *state) {
  uint64_t x = *state += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30)*0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27)*0x94d049bb133111ebu;
  return (double)((x ^ x >> 31) >> 11)*0x1p-53;
}

/* Real numbers in (-1, 1), or in [1/8, 9/8); integers below 4, which are positions in most axes; bools. */
static json_t *made_number(const char *type, bool positive, uint64_t *state) {
  double x = next(state);
  if (!strcmp(type, "bool")) return json_boolean(x < 0.5);
  return type[0] == 'i' || type[0] == 'u' ? json_integer((json_int_t)(4*x)) : json_real(positive ? x + 0.125 : 2*x - 1);
}

static json_t *made_hypers(const Check *c, const double *values) {
  json_t *hyper = json_object();
  for (int i = 0; i < c->n_hypers; i++) {
    const optc_hyper_info *h = &c->hypers[i];
    json_t *value = h->type == 1 ? json_integer((json_int_t)values[i]) : h->type == 2 ? json_boolean(values[i] != 0) : json_real(values[i]);
    if (isinf(values[i])) json_object_set_new(hyper, h->external, json_string(values[i] < 0 ? "-inf" : "inf"));
    if (isfinite(values[i]) && fabs(values[i]) < 9e15) json_object_set_new(hyper, h->external, value);       /* else the rule computes its default */
    else json_decref(value);
  }
  return hyper;
}

static json_t *made_tensor(const optc_operand_info *o, const RunShape *s, bool positive, uint64_t *state) {
  json_t *shape = json_array(), *data = json_array(), *tensor = json_object();
  int64_t n = 1;
  for (int a = 0; a < s->rank; a++) {
    n *= s->extent[a];
    json_array_append_new(shape, json_integer((json_int_t)s->extent[a]));
  }
  for (int64_t e = 0; e < n; e++) json_array_append_new(data, made_number(o->type, positive, state));
  json_object_set_new(tensor, "shape", shape);
  json_object_set_new(tensor, "data", data);
  return tensor;
}

/* An error of the command line, which has been told. */
static bool told(Check *c, int code) {
  c->quiet = true;
  c->status = code;
  return false;
}

bool check_make(Check *c) {
  double *hyper = check_alloc(c, (size_t)c->n_hypers + 1, sizeof *hyper);
  RunShape *shapes = check_alloc(c, (size_t)c->n_operands + 1, sizeof *shapes);
  uint64_t state = 1;
  int64_t all = 0;
  int code = command_hypers(c->rule, c->options->set, c->options->n_sets, hyper);
  if (code < 0) code = run_shapes(c->rule, &c->options->wish, hyper, shapes);
  if (code >= 0) return told(c, code);
  json_t *inputs = json_object();
  c->data = json_object();
  json_object_set_new(c->data, "rule", json_string(optc_rule_name(c->rule)));
  json_object_set_new(c->data, "hyper", made_hypers(c, hyper));
  json_object_set_new(c->data, "inputs", inputs);
  for (int k = 0; k < c->n_operands; k++) {
    const optc_operand_info *o = &c->operands[k];
    if ((o->role != OPTC_ROLE_IN && o->role != OPTC_ROLE_INOUT) || o->entry) continue;
    int64_t n = 1;
    for (int a = 0; a < shapes[k].rank && o->tensor; a++)
      if (__builtin_mul_overflow(n, shapes[k].extent[a], &n)) n = INT64_MAX;
    if (n > 1 << 24 || (all += n) > 1 << 24) return check_bad(c, 1, "'%s' has more numbers than are compared; --size NAME=N for less", o->name);
    json_object_set_new(inputs, o->external, o->tensor ? made_tensor(o, &shapes[k], c->options->positive, &state) : made_number(o->type, c->options->positive, &state));
  }
  return true;
}
