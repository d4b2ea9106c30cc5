/* command_check_gradient.c: the gradients of entry `backward` against central differences of the forward entry, in f64.
 *
 * L = sum of output * its incoming gradient. For random directions v of every input x with a gradient: (L(x + h*v) - L(x - h*v))/(2*h) against the
 * sum of dx*v. Twice: at the inputs as they are, and with every real input replaced by random numbers of the same size. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/command_check.h"

enum { IN = OPTC_ROLE_IN, OUT = OPTC_ROLE_OUT, INOUT = OPTC_ROLE_INOUT, DIRECTIONS = 3 };
static const double width = 1e-5;        /* h, times the size of x: the error of the difference is about h^2 and the rounding's 1e-16/h */
static const CheckBar bar = {"*", "*", 1e-7, 1e-5, OF_NUMBER, false};

static double uniform(uint64_t *state) {                     /* SplitMix64, in (-1, 1) */
  uint64_t x = *state += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30)*0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27)*0x94d049bb133111ebu;
  return (double)(int64_t)(x ^ x >> 31)*0x1p-63;
}

static bool is_real(const optc_operand_info *o) { return o->tensor && (o->type[0] == 'f' || o->type[0] == 'b') && strcmp(o->type, "bool"); }

static int named(const Check *c, const char *d, const char *name) {
  for (int k = 0; k < c->n_operands; k++)
    if (!strncmp(c->operands[k].name, d, strlen(d)) && !strcmp(c->operands[k].name + strlen(d), name)) return k;
  return -1;
}

/* The incoming gradient of an output, the gradient of an input. -1: none. */
static int gradient_of(const Check *c, int operand) { return named(c, "d", c->operands[operand].name); }

static bool loss(CheckRun *r, int forward, double *sum) {
  Check *c = r->c;
  *sum = 0;
  if (!check_call(r, forward, 0)) return false;
  for (int k = 0; k < c->n_operands; k++) {
    int d = c->operands[k].role == OUT && is_real(&c->operands[k]) && !c->operands[k].entry ? gradient_of(c, k) : -1;
    const DLTensor *out = check_tensor(r, 0, k), *in = d < 0 ? NULL : check_tensor(r, 0, d);
    if (d < 0 || !out->data || !in->data) continue;
    for (int64_t e = 0; e < check_elements(out); e++) {
      double x = check_load(c->operands[k].type, out->data, e), dx = check_load(c->operands[d].type, in->data, e);
      if (dx != 0 && isfinite(x)) *sum += x*dx;
    }
  }
  return true;
}

static double size_of(const CheckRun *r, int k) {
  const DLTensor *t = check_tensor((CheckRun *)(size_t)r, 0, k);
  double sum = 0, n = 0;
  for (int64_t e = 0; e < check_elements(t); e++) {
    double x = check_load(r->c->operands[k].type, t->data, e);
    if (isfinite(x)) { sum += x*x; n++; }
  }
  return n && sum > 0 ? sqrt(sum/n) : 1;
}

/* One input, in random directions. */
static bool compare_input(CheckRun *r, int forward, int k, int d, const char *when, uint64_t *state) {
  Check *c = r->c;
  DLTensor *x = check_tensor(r, 0, k);
  const DLTensor *dx = check_tensor(r, 0, d);
  const char *type = c->operands[k].type;
  int64_t n = check_elements(x);
  if (!n) return true;
  double *at = check_alloc(c, (size_t)n + 1, sizeof *at), *v = check_alloc(c, (size_t)n + 1, sizeof *v), h = width*size_of(r, k);
  for (int64_t e = 0; e < n; e++) at[e] = check_load(type, x->data, e);
  for (int direction = 0; direction < DIRECTIONS; direction++) {
    double want[2], got = 0, size = 0;
    for (int64_t e = 0; e < n; e++) {
      v[e] = uniform(state);
      got += check_load(c->operands[d].type, dx->data, e)*v[e];
      size += fabs(check_load(c->operands[d].type, dx->data, e)*v[e]);
    }
    for (int side = 0; side < 2; side++) {
      for (int64_t e = 0; e < n; e++) check_store(type, x->data, e, at[e] + (side ? -h : h)*v[e]);
      if (!loss(r, forward, &want[side])) return false;
    }
    for (int64_t e = 0; e < n; e++) check_store(type, x->data, e, at[e]);
    double difference = (want[0] - want[1])/(2*h), scale = fmax(fmax(size/sqrt((double)n + 1), fabs(got)), 1e-3);
    Want w = {.key = c->operands[d].external, .tensor = when, .step = -1, .scaled = true};
    check_one(c, &w, &bar, direction, got/scale, difference/scale, 1);
  }
  return true;
}

static bool compare_all(CheckRun *r, int forward, int backward, const char *when, uint64_t *state) {
  Check *c = r->c;
  int64_t incoming = 0;
  if (!check_call(r, forward, 0)) return false;
  for (int k = 0; k < c->n_operands; k++)                    /* the outputs as they are now go into backward */
    if (c->operands[k].role == OUT && check_tensor(r, 0, k)->data) r->bound[k] = check_tensor(r, 0, k);
  for (int i = 0; i < c->n_operands; i++) {                  /* incoming gradients */
    int d = c->operands[i].role == OUT && is_real(&c->operands[i]) && !c->operands[i].entry ? gradient_of(c, i) : -1;
    if (d < 0 || !check_tensor(r, 0, i)->data) continue;
    check_shape(r, 0, d, check_tensor(r, 0, i)->ndim, check_tensor(r, 0, i)->shape);
    r->bound[d] = check_tensor(r, 0, d);
    incoming += check_elements(r->bound[d]);
    for (int64_t e = 0; e < check_elements(r->bound[d]); e++) check_store(c->operands[d].type, r->bound[d]->data, e, uniform(state));
  }
  for (int k = 0; k < c->n_operands; k++) {                  /* results */
    int d = c->operands[k].role == IN || c->operands[k].role == INOUT ? gradient_of(c, k) : -1;
    if (d < 0 || c->operands[d].role != OUT || !check_tensor(r, 0, k)->data) continue;
    check_shape(r, 0, d, check_tensor(r, 0, k)->ndim, check_tensor(r, 0, k)->shape);
    r->bound[d] = check_tensor(r, 0, d);
  }
  if (!check_call(r, backward, 0)) return false;
  if (!incoming) return true;
  for (int k = 0; k < c->n_operands; k++) {
    int d = c->operands[k].role == IN && is_real(&c->operands[k]) ? gradient_of(c, k) : -1;
    if (d >= 0 && c->operands[d].role == OUT && check_tensor(r, 0, k)->data && check_tensor(r, 0, d)->data && !compare_input(r, forward, k, d, when, state)) return false;
  }
  return true;
}

bool check_has_gradient(Check *c) {
  bool has = optc_rule_entry(c->rule, "forward") >= 0 && optc_rule_entry(c->rule, "backward") >= 0 && c->format == CHECK_CALL;
  return has || check_bad(c, 1, "rule '%s' has no entry backward: nothing to compare", optc_rule_name(c->rule));
}

bool check_gradient(CheckRun *r) {
  Check *c = r->c;
  int forward = optc_rule_entry(c->rule, "forward"), backward = optc_rule_entry(c->rule, "backward");
  uint64_t state = 1;
  if (!check_has_gradient(c)) return false;
  if (check_bind(r, forward, 0) != READY) return false;
  if (!compare_all(r, forward, backward, "as recorded", &state)) return false;
  for (int k = 0; k < c->n_operands; k++) {
    DLTensor *t = check_tensor(r, 0, k);
    if (c->operands[k].role != IN || !is_real(&c->operands[k]) || c->operands[k].entry || !t->data) continue;
    double size = size_of(r, k), least = INFINITY;
    for (int64_t e = 0; e < check_elements(t); e++) least = fmin(least, check_load(c->operands[k].type, t->data, e));
    for (int64_t e = 0; e < check_elements(t); e++) {        /* what is positive stays so: rates, weights, variances */
      double x = uniform(&state)*size*1.5;
      check_store(c->operands[k].type, t->data, e, least > 0 ? fabs(x) + 0.1*size : x);
    }
  }
  if (!compare_all(r, forward, backward, "random", &state)) return false;
  return c->compared || check_bad(c, 1, "nothing is compared: no input with a gradient, or no output, has elements");
}
