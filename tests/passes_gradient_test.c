/* passes_gradient_test.c: entry `backward` of small rules, one an operation, against central differences of entry forward in f64; what section 6 of the
 * language reference says of ties, of derivatives that are infinite, of masked keys; what becomes of saved outputs; how large the graphs are. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "frontend/frontend.h"
#include "ir/graph_analysis.h"
#include "ir/interpret.h"
#include "passes/pass.h"
#include "tests/support/fixture.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

enum { MOST = 4096 };

typedef struct World {
  Arena *arena;
  Diag *diag;
  Module *module;
  const Graph *forward, *backward;
  void **data;
  int64_t *count, *ranks;
  const int64_t **shapes;
  char *hyper, *globals, *item;
  uint64_t seed;
} World;

static double random_in(World *w, double low, double high) {
  return low + (high - low)*(random_unit(&w->seed) + 1)/2;
}

static void show(World *w, const char *text) {
  Text out = {.arena = w->arena};
  diag_render_text(w->diag, &out, false);
  printf("\n%s\n%s", text, out.data ? out.data : "");
}

/* Sizes are letters. */
static int64_t size_of(const char *name) {
  switch (*name) {
    case 'B': case 'H': case 'E': return 2;
    case 'N': return 3;
    case 'M': case 'D': return 4;
    case 'T': return 5;
    default: return *name >= '0' && *name <= '9' ? *name - '0' : 6;
  }
}

static void make_room(World *w, unsigned k) {
  const Operand *o = &w->module->operands[k];
  int64_t *shape = arena_array(w->arena, 8, 8), n = 1, rank = 0;
  for (const char *c = o->shape_text; c && *c; c++) {
    if (*c == '[' || *c == ',' || *c == ' ' || *c == ']') continue;
    n *= shape[rank++] = size_of(c);
    while (c[1] && c[1] != ',' && c[1] != ']') c++;
  }
  w->shapes[k] = shape;
  w->ranks[k] = rank;
  w->count[k] = n;
  w->data[k] = arena_array(w->arena, (size_t)n + 1, 8);
  if (!operand_is_tensor(o)) w->count[k] = 0;
  else if (o->scope == SCOPE_GLOBAL) {
    optc_shaped *at = (optc_shaped *)(void *)(w->globals + layout_of(w->module)->operand[k]);
    at->data = w->data[k];
    at->shape = shape;
    at->rank = rank;
  }
}

static bool compile(World *w, const char *text, bool f64) {
  *w = (World){.arena = arena_new(NULL, 0), .seed = 3};
  w->diag = diag_new(w->arena, 0);
  const Source source = {"gradient", text, strlen(text)}, *s = memcpy(arena_alloc(w->arena, sizeof source), &source, sizeof source);
  const FrontendOptions options = {.read = fixture_no_files, .compute_f64 = f64, .store_f64 = f64};
  const FileSet *files = frontend_load(w->arena, w->diag, s, &options);
  Module *m = w->module = files ? frontend_lower(w->arena, w->diag, files, &options) : NULL;
  if (!m || !gradient_build(m, w->diag) || !module_graph(m, "backward") || !module_verify(m, w->diag)) return false;
  expand_shapes(m);
  w->forward = expand_graph(module_graph(m, "forward"));
  w->backward = expand_graph(module_graph(m, "backward"));
  if (!graph_verify(w->backward, w->diag)) return false;
  const Layout *layout = layout_of(m);
  w->hyper = arena_alloc(w->arena, layout->hyper_size + 8);
  w->globals = arena_alloc(w->arena, layout->global_size + 64);
  w->item = arena_alloc(w->arena, layout->item_size + 64);
  w->data = arena_array(w->arena, m->n_operands + 1, sizeof *w->data);
  w->count = arena_array(w->arena, m->n_operands + 1, sizeof *w->count);
  w->ranks = arena_array(w->arena, m->n_operands + 1, sizeof *w->ranks);
  w->shapes = arena_array(w->arena, m->n_operands + 1, sizeof *w->shapes);
  for (unsigned k = 0; k < m->n_hypers; k++) memcpy(w->hyper + 8*k, &m->hypers[k].value, 8);
  for (unsigned k = 0; k < m->n_operands; k++) make_room(w, k);
  return true;
}

static bool starts(World *w, const char *text, bool f64) {
  if (compile(w, text, f64)) return true;
  show(w, text);
  CU_FAIL("does not compile");
  arena_free(w->arena);
  return false;
}

static void run(World *w, const Graph *g) {
  static const int64_t one = 1;
  double totals[16], slots[16];
  optc_frame f = {.hyper = w->hyper, .global = w->globals, .item = w->item, .data = w->data, .count = 1, .total = 1, .end = 1, .shapes = w->shapes, .ranks = w->ranks,
    .n_items = 1, .shape = &one, .exists = arena_alloc(w->arena, w->module->n_operands + 1), .totals = (void *)totals, .slots = (void *)slots};
  Arena *scratch = arena_new(NULL, 0);
  graph_interpret(g, LAUNCH_CHECK, &f, scratch);
  CU_ASSERT(!f.failed);
  unsigned stages;
  graph_stages(g, scratch, &stages);
  for (unsigned s = 0; s < stages; s++) {
    graph_interpret_stage(g, LAUNCH_ITEM, s, &f, scratch);
    graph_interpret_stage(g, LAUNCH_TOTAL, s, &f, scratch);
  }
  graph_interpret(g, LAUNCH_ITEM, &f, scratch);
  graph_interpret(g, LAUNCH_FINISH, &f, scratch);
  arena_free(scratch);
}

static int find(const World *w, const char *name) {
  for (unsigned k = 0; k < w->module->n_operands; k++) if (!strcmp(w->module->operands[k].name, name)) return (int)k;
  CU_FAIL("no such operand");
  return 0;
}

static double *values(const World *w, const char *name) { return w->data[find(w, name)]; }

static void fill(World *w, double low, double high) {
  for (unsigned k = 0; k < w->module->n_operands; k++) {
    const Operand *o = &w->module->operands[k];
    if (o->role != ROLE_IN) continue;
    for (int64_t i = 0; i < w->count[k]; i++) {
      if (o->storage == TYPE_F64) ((double *)w->data[k])[i] = o->entry ? random_in(w, -1, 1) : random_in(w, low, high);
      else ((int32_t *)w->data[k])[i] = (int32_t)random_in(w, -1, 4);      /* indices, one of them outside */
    }
  }
}

static double loss(World *w) {
  double sum = 0;
  run(w, w->forward);
  const Backward *b = w->module->backward;
  for (unsigned i = 0; i < b->n_seeds; i++)
    for (int64_t k = 0; k < w->count[b->seeds[i].of]; k++) sum += ((double *)w->data[b->seeds[i].of])[k]*((double *)w->data[b->seeds[i].gradient])[k];
  return sum;
}

/* Every element of every gradient. */
static void differences(const char *text, double low, double high) {
  World world, *w = &world;
  if (!starts(w, text, true)) return;
  fill(w, low, high);
  loss(w);                                                                /* the saved outputs */
  run(w, w->backward);
  const Backward *b = w->module->backward;
  for (unsigned i = 0; i < b->n_wrt; i++) {
    bool hyper = b->wrt[i].hyper;
    double *x = hyper ? (double *)(void *)(w->hyper + 8*b->wrt[i].of) : w->data[b->wrt[i].of];
    const void *got = w->data[b->wrt[i].gradient];
    bool is_wide = w->module->operands[b->wrt[i].gradient].storage == TYPE_F64;
    double most = 0;
    for (int64_t k = 0; k < w->count[b->wrt[i].gradient]; k++) {
      const double h = 1e-5, at = x[k];
      x[k] = at + h;
      double up = loss(w);
      x[k] = at - h;
      double want = (up - loss(w))/(2*h), have = is_wide ? ((const double *)got)[k] : ((const float *)got)[k];
      x[k] = at;
      if (fabs(want) > most) most = fabs(want);
      if (fabs(want - have) <= 1e-6*(1 + fabs(want))) continue;
      printf("\n%s\n%s[%ld]: %.12g, central difference %.12g\n", text, w->module->operands[b->wrt[i].gradient].name, (long)k, have, want);
      CU_FAIL("gradient");
      break;
    }
    if (most == 0) { printf("\n%s\nall differences are 0\n", text); CU_FAIL("the case tests nothing"); }
  }
  arena_free(w->arena);
}

/* --- one rule an operation --------------------------------------------------------------------------------------------------------------------------- */

static void elementwise(const char *expression, double low, double high) {
  char text[512];
  snprintf(text, sizeof text, "rule r(h = 0.7) {\n  in x[N], y[N]\n  out z[N]\n  backward wrt x%s%s\n  z[i] = %s\n}\n",
           strstr(expression, "y[") ? ", y" : "", strstr(expression, "h*") ? ", h" : "", expression);
  differences(text, low, high);
}

static void test_elements_and_functions(void) {
  static const struct { const char *text; double low, high; } cases[] = {
    {"x[i] + y[i]", -1, 1}, {"x[i] - y[i]", -1, 1}, {"x[i]*y[i]", -1, 1}, {"x[i]*x[i]*x[i]", -1, 1}, {"x[i]/y[i]", .5, 2}, {"-x[i]", -1, 1}, {"abs(x[i])", -1, 1},
    {"sqrt(x[i])", .1, 2}, {"where(x[i] > 0, x[i]*y[i], y[i])", -1, 1}, {"max(x[i], y[i])", -1, 1}, {"min(x[i], y[i])", -1, 1}, {"clamp(x[i], -0.5, y[i])", -1, 1},
    {"clamp(y[i]/4, x[i], 0.5)", -1, 1}, {"relu(x[i])", -1, 1}, {"x[i]^3", -1, 1}, {"x[i]^(-2)", .5, 1}, {"x[i]^y[i]", .5, 2}, {"x[i]^2.5", .5, 2}, {"exp(x[i])", -1, 1}, {"exp2(x[i])", -1, 1},
    {"expm1(x[i])", -1, 1}, {"log(x[i])", .5, 2}, {"log2(x[i])", .5, 2}, {"log1p(x[i])", -.5, 2}, {"tanh(x[i])", -2, 2}, {"sigmoid(x[i])", -2, 2}, {"erf(x[i])", -2, 2},
    {"rsqrt(x[i])", .5, 2}, {"sin(x[i])", -2, 2}, {"cos(x[i])", -2, 2}, {"cosh(x[i])", -2, 2}, {"silu(x[i])", -2, 2}, {"gelu(x[i])", -2, 2}, {"softplus(x[i])", -2, 2},
    {"logaddexp(x[i], y[i])", -2, 2}, {"lerp(x[i], y[i], 0.3)", -1, 1}, {"fma(x[i], y[i], x[i])", -1, 1}, {"h*x[i] + h*h", -1, 1}, {"stop(0.3)*x[i]", .5, 1}, {"x[i]*(floor(x[i]) + 2)", .1, .9},
    {"exp(h*x[i])*sin(x[i])/(y[i] + 2)", -1, 1},
  };
  for (size_t i = 0; i < sizeof cases/sizeof *cases; i++) elementwise(cases[i].text, cases[i].low, cases[i].high);
}

/* Bodies over A[N, M], x[N], K[M, D], c[N] (integers): out z as given. */
static void body(const char *z, const char *wrt, const char *statements, double low, double high) {
  char text[1024];
  snprintf(text, sizeof text, "rule r(h = 0.7) {\n  in A[N, M], x[N], K[M, D], q[N]: i32\n  out z%s\n  backward wrt %s\n  %s\n}\n", z, wrt, statements);
  differences(text, low, high);
}

static void test_reductions(void) {
  body("[N]", "A", "z[i] = sum[j](exp(A[i, j]))", -1, 1);
  body("[M]", "A", "z[j] = sum[i](A[i, j]^2)", -1, 1);
  body("[N]", "A", "z[i] = mean[j](A[i, j]^3)", -1, 1);
  body("[N]", "A", "z[i] = var[j](A[i, j])", -1, 1);
  body("[N]", "A", "z[i] = norm[j](A[i, j])", -1, 1);
  body("[N]", "A", "z[i] = rms[j](A[i, j])", -1, 1);
  body("[N]", "A", "z[i] = prod[j](A[i, j])", -1, 1);
  body("[N]", "A", "z[i] = max[j](A[i, j])", -1, 1);
  body("[M]", "A", "z[j] = min[i](A[i, j])", -1, 1);
  body("[N]", "A", "z[i] = logsumexp[j](3*A[i, j])", -1, 1);
  body("[N]", "A", "z[i] = sum[j; seq](exp(A[i, j]))", -1, 1);
  body("[N]", "A, x", "z[i] = x[i]*sum[j](where(j > 1, A[i, j], 0))", -1, 1);
  body("[N]", "x", "s = norm(x); z[i] = x[i]/s", .5, 1);
  body("[N]", "x", "z[i] = x[i]/(norm[all](x) + sum[all](x^2) + mean[all](x))", .5, 1);
  body("[N]", "x, A", "z[i] = x[i]*max[all](x) + min[all](A)", .5, 1);
  body("[N, M]", "A", "z[i, j] = cumsum[j](A[i, j]^2)", -1, 1);
  body("[N, M]", "A", "z[i, j] = cumsum[i](A[i, j]^2)", -1, 1);
  body("[N, M]", "A", "z[i, j] = cumprod[j](A[i, j])", -1, 1);
  body("[N, M]", "A", "z[i, j] = cummax[j](A[i, j])", -1, 1);
}

static void test_sums_of_products(void) {
  body("[N, D]", "A, K", "z[i, d] = sum[j](A[i, j]*K[j, d])", -1, 1);
  body("[N, D]", "A, K", "z = A @ K", -1, 1);
  body("[D, N]", "A, K", "z = (A @ K)'", -1, 1);
  body("[D]", "A, K, x", "z[d] = sum[i, j](A[i, j]*x[i]*K[j, d])", -1, 1);
  body("[N]", "A, x", "z[i] = sum[j](A[i, j]*x[j//2])", -1, 1);
  body("[N, D]", "A, K", "z[i, d] = sum[j](A[i, j]*exp(K[j, d] + K[j//2, d]))", -1, 1);
  body("[N, D]", "A, K, h", "z[i, d] = sum[j](where(j <= i, A[i, j], 0)*(h*K[j, d]))", -1, 1);
  body("[D]", "K", "z[d] = sum[i, j < M](exp(K[i, d])*K[j, d])", -1, 1);
}

static void test_softmax(void) {
  body("[N, M]", "A", "z[i, j] = softmax[j](A[i, j])", -1, 1);
  body("[N, M]", "A", "z[i, j] = softmax[i](2*A[i, j])", -1, 1);
  body("[N, D]", "A, K", "z[i, d] = sum[j](softmax[j](A[i, j])*K[j, d])", -1, 1);
  body("[D, N]", "A, K", "z[d, i] = sum[j](softmax[j](A[i, j])*K[j, d])^2", -1, 1);
  body("[N, D]", "A, K, x", "s[i, j] = where(j < 3, A[i, j]*x[i], -inf); z[i, d] = sum[j](softmax[j](s[i, j])*K[j, d])", -1, 1);
  body("[N]", "A, x, K", "z[i] = sum[j, d](softmax[j, d](A[i, j] + K[j, d])*x[i]*K[j, d])", -1, 1);
}

static void test_elements_at_positions(void) {
  body("[N, M]", "x", "z[i, j] = x[(i + j)//2]", -1, 1);
  body("[N]", "x", "z[i] = x[i - 1]*x[i]", -1, 1);
  body("[N]", "x", "z[i] = x[q[i]]*x[i]", -1, 1);
  body("[N]", "x", "y[i] = exp(x[i]); z[i] = y[q[i]] + y[2 - i]", -1, 1);
  body("[N, M]", "A", "y[i, j] = A[i, j]^2; z[i, j] = y[i, 3 - j]*y[i//2, j]", -1, 1);
  body("[M, N]", "A", "z = A'", -1, 1);
  body("[2, M]", "A", "z[i < 2, j] = A[i, j] + A[i + 1, j]", -1, 1);
  body("[N]", "x, A", "z[i] = x[i]; z[q[i]] += A[i, 1]*x[i]", -1, 1);
  body("[N]", "x, A", "z[i] = x[i]^2; z[q[i]] = A[i, 1]*x[i]", -1, 1);
  body("[N, M]", "x, A", "y[i, j] = A[i, j]; y[2 - i, 1] = x[i]; z[i, j] = y[i, j]^2", -1, 1);
  body("[N, M]", "A", "o[i, j] = order[j](A[i, j]); z[i, j] = where(o[i, j] < 2, A[i, j]^2, 0)", -1, 1);
  body("[N]", "A", "z[i] = A[i, argmax[j](A[i, j])]", -1, 1);
}

static void test_scans(void) {
  differences("rule r(a = 0.9) {\n  in x[T, N], s0[N]\n  out z[T, N], last[N]\n  backward wrt x, s0, a\n  s[i] = s0[i]\n"
              "  scan t { s[i] = a*s[i] + x[t, i]*s[N - 1 - i]; z[t, i] = s[i]^2 }\n  last[i] = s[i]\n}\n", -1, 1);
  differences("rule r() {\n  in x[T, N], s0[N]\n  out last[N]\n  backward wrt x, s0\n  s[i] = s0[i]\n  scan t reverse { s[i] = tanh(s[i] + x[t, i]) }\n  last[i] = s[i]\n}\n", -1, 1);
  differences("rule r() {\n  in x[T], w[N]\n  out z[]\n  backward wrt x, w\n  s = 1; k = 0\n  scan t { s = s*cos(x[t]) + w[k]*k; k = (k + 1) % 3 }\n  z = s\n}\n", -1, 1);
  differences("rule r() {\n  in x[T, N], W[N, N]\n  out last[N]\n  backward wrt x, W\n  s[i < N] = 0\n  scan t { u[i] = sum[j](W[i, j]*s[j]); s[i] = sin(u[i]) + x[t, i] }\n  last[i] = s[i]\n}\n", -1, 1);
  differences("rule r() {\n  in x[T, N], y[M]\n  out last[N]\n  backward wrt x, y\n  s[i < N] = 1\n"
              "  scan t {\n    r[i < N] = s[i]\n    scan j { r[i] = r[i]*y[j] + x[t, i]*s[i] }\n    s[i] = s[i] + r[i]\n  }\n  last[i] = s[i]\n}\n", -1, 1);
  differences("rule r(n: int = 20) {\n  in x[N]\n  out z[N]\n  backward wrt x\n  y[i] = x[i]\n  repeat n { y[i] = y[i] - (y[i]^2 - x[i])/(2*y[i]) }\n  z[i] = y[i]\n}\n", .5, 2);
  differences("rule r() {\n  in x[N]\n  out z[N]\n  backward wrt x\n  y[i] = x[i]\n  repeat 3 { y[i] = sin(y[i])*x[i] }\n  z[i] = y[i]\n}\n", .5, 2);
}

static void test_several_outputs_share_values(void) {
  differences("rule r(scale = 0.5) {\n  in Q[B, H, N, D], K[B, 1, M, D], V[B, 1, M, E]\n  out O[B, H, N, E], LSE[B, H, N]\n  backward wrt Q, K, V, scale saving O, LSE\n"
              "  s[b, h, i, j] = where(j <= i + 1, scale*sum[d](Q[b, h, i, d]*K[b, h//H, j, d]), -inf)\n  LSE[b, h, i] = logsumexp[j](s[b, h, i, j])\n"
              "  O[b, h, i, e] = sum[j](softmax[j](s[b, h, i, j])*V[b, h//H, j, e])\n}\n", -1, 1);
  differences("rule r() {\n  in x[N, M], w[M]\n  out y[N, M], m[N], r[N]\n  backward wrt x, w saving m, r\n  m[i] = mean[j](x[i, j])\n  r[i] = rsqrt(var[j](x[i, j]) + 0.1)\n"
              "  y[i, j] = (x[i, j] - m[i])*r[i]*w[j]\n}\n", -1, 1);
  differences("rule r() {\n  in x[N], k[]\n  out y[N], l[]\n  backward wrt x, k\n  y[i] = k*x[i]\n  l = sum[i](y[i]^2)*k\n}\n", .5, 1);
}

/* --- what section 6 says ---------------------------------------------------------------------------------------------------------------------------- */

/* The gradient of x[N] where dz is 1 everywhere: zeros exactly, other numbers as softmax's own exponential has them. */
static void gives(const char *statements, const char *z, const double x[3], const double want[3]) {
  char text[1024];
  snprintf(text, sizeof text, "rule r() {\n  in x[N]\n  out z%s\n  backward wrt x\n  %s\n}\n", z, statements);
  for (int f64 = 0; f64 < 2; f64++) {
    World world, *w = &world;
    if (!starts(w, text, f64)) return;
    int in = find(w, "x"), dz = find(w, "dz");
    for (int i = 0; i < 3; i++) if (f64) ((double *)w->data[in])[i] = x[i]; else ((float *)w->data[in])[i] = (float)x[i];
    for (int64_t i = 0; i < w->count[dz]; i++) if (f64) ((double *)w->data[dz])[i] = 1; else ((float *)w->data[dz])[i] = 1;
    run(w, w->backward);
    for (int i = 0; i < 3; i++) {
      const Operand *o = &w->module->operands[find(w, "dx")];
      double have = o->storage == TYPE_F64 ? values(w, "dx")[i] : ((float *)w->data[find(w, "dx")])[i];
      if (want[i] == 0 ? have == 0 : fabs(have - want[i]) <= (f64 ? 1e-15 : 1e-6)*fabs(want[i])) continue;
      printf("\n%s\ndx[%d] is %g, not %g\n", text, i, have, want[i]);
      CU_FAIL("gradient");
    }
    arena_free(w->arena);
  }
}
#define THREE(a, b, c) (const double[3]){a, b, c}

static void test_ties(void) {
  gives("z[i] = abs(x[i])", "[N]", THREE(0, -2, 3), THREE(0, -1, 1));
  gives("z[i] = relu(x[i])", "[N]", THREE(0, -2, 3), THREE(0, 0, 1));
  gives("z[i] = clamp(x[i], -1, 1)", "[N]", THREE(-1, 1, 1.5), THREE(1, 1, 0));
  gives("z[i] = max(x[i], 2)", "[N]", THREE(2, 1, 3), THREE(.5, 0, 1));
  gives("z[i] = min(x[i], 2)", "[N]", THREE(2, 1, 3), THREE(.5, 1, 0));
  gives("z[k < 1] = max[i](x[i])", "[1]", THREE(4, 1, 4), THREE(.5, 0, .5));
  gives("z[i] = cummax[i](x[i])", "[N]", THREE(4, 4, 2), THREE(1 + .5 + .5, .5 + .5, 0));
  gives("z[k < 1] = max[all](x)", "[1]", THREE(4, 1, 4), THREE(.5, 0, .5));
  gives("z[k < 1] = norm(x)", "[1]", THREE(0, 0, 0), THREE(0, 0, 0));
  gives("z[k < 1] = prod[i](x[i])", "[1]", THREE(0, 3, 2), THREE(6, 0, 0));
  gives("z[k < 1] = prod[i](x[i])", "[1]", THREE(0, 3, 0), THREE(0, 0, 0));
  gives("z[i] = cumprod[i](x[i])", "[N]", THREE(2, 0, 3), THREE(1, 2 + 2*3, 0));
  gives("z[i] = x[i]^0", "[N]", THREE(0, 1, 2), THREE(0, 0, 0));
}

static void test_no_derivative(void) {
  gives("z[i] = floor(x[i]) + ceil(x[i]) + round(x[i]) + sign(x[i]) + int(x[i]) + stop(x[i])", "[N]", THREE(.3, -2.2, 3), THREE(0, 0, 0));
  gives("z[i] = x[i]*stop(x[i])", "[N]", THREE(.5, -2, 3), THREE(.5, -2, 3));
  gives("z[i] = where(x[i] > 1, 1, 2)", "[N]", THREE(.5, -2, 3), THREE(0, 0, 0));
}

static void test_a_zero_adjoint_stays_zero(void) {
  gives("z[i] = where(x[i] > 0, sqrt(x[i]), 0)", "[N]", THREE(0, -2, 4), THREE(0, 0, .25));
  gives("z[i] = where(x[i] > 0, log(x[i]), 0)", "[N]", THREE(0, -2, 4), THREE(0, 0, .25));
  gives("z[i] = where(x[i] > 0, 1/x[i], 0)", "[N]", THREE(0, -2, 4), THREE(0, -0., -.0625));
  gives("z[i] = where(i == 0, 0, x[i]*(1/x[0]))", "[N]", THREE(INFINITY, 1, 2), THREE(0, 0, 0));
  gives("z[k < 1] = logsumexp[i](where(i > 0, x[i], -inf))", "[1]", THREE(3, 1, 1), THREE(0, .5, .5));
  gives("z[k < 1] = logsumexp[i](where(i > 5, x[i], -inf))", "[1]", THREE(3, 1, 1), THREE(0, 0, 0));
  gives("s[k < 2, i] = where(i < k, x[i], -inf); z[k] = sum[i](softmax[i](s[k, i])*x[i])", "[2]", THREE(3, NAN, INFINITY), THREE(1, 0, 0));
  gives("s[k < 2, i] = where(i < k, x[i], -inf); z[k, i] = softmax[i](s[k, i])*2", "[2, N]", THREE(3, NAN, INFINITY), THREE(0, 0, 0));
}

/* --- the graph itself ------------------------------------------------------------------------------------------------------------------------------- */

static const char attention[] =
  "rule r(scale = 0.5) {\n  in Q[N, D], K[M, D], V[M, E]\n  out O[N, E], LSE[N]\n  backward wrt Q, K, V%s\n"
  "  s[i, j] = scale*sum[d](Q[i, d]*K[j, d])\n  LSE[i] = logsumexp[j](s[i, j])\n  O[i, e] = sum[j](softmax[j](s[i, j])*V[j, e])\n}\n";

static unsigned count_ops(const Graph *g, Op op, int64_t imm) {
  unsigned n = 0;
  const bool *live = graph_reachable(g, g->arena);
  for (unsigned i = 0; i < g->n_nodes; i++) n += live[i] && g->nodes[i]->op == op && (imm < 0 || g->nodes[i]->imm == imm);
  return n;
}

static void test_saved_outputs_are_read(void) {
  for (int saved = 0; saved < 2; saved++) {
    char text[1024];
    World w;
    snprintf(text, sizeof text, attention, saved ? " saving O, LSE" : "");
    if (!starts(&w, text, false)) return;
    const Graph *g = module_graph(w.module, "backward");
    CU_ASSERT_EQUAL(count_ops(g, OP_READ, find(&w, "O")) > 0, saved);
    CU_ASSERT_EQUAL(count_ops(g, OP_READ, find(&w, "LSE")) > 0, saved);
    CU_ASSERT_EQUAL(count_ops(g, OP_ATTEND, -1), !saved);
    CU_ASSERT_EQUAL(count_ops(g, OP_REDUCE, -1), saved ? 1 : 2);          /* delta; the logarithm */
    CU_ASSERT_EQUAL(count_ops(g, OP_CONTRACT, -1), 5);                    /* s, dV, dP, dQ, dK */
    CU_ASSERT_EQUAL(count_ops(g, OP_SCATTER, -1), 0);
    arena_free(w.arena);
  }
}

static unsigned size_with(unsigned statements) {
  Arena *arena = arena_new(NULL, 0);
  Text text = {.arena = arena};
  World w;
  text_add(&text, "rule r() {\n  in x[N]\n  out z[N]\n  backward wrt x\n  y0[i] = x[i]\n");
  for (unsigned k = 0; k < statements; k++) text_add(&text, "  y%u[i] = y%u[i]*y%u[N - 1 - i] + sin(y%u[i])\n", k + 1, k, k, k);
  text_add(&text, "  z[i] = y%u[i]\n}\n", statements);
  unsigned n = starts(&w, text.data, false) ? module_graph(w.module, "backward")->n_nodes : 0;
  if (n) arena_free(w.arena);
  arena_free(arena);
  return n;
}

static void test_graphs_grow_linearly(void) {
  unsigned a = size_with(50), b = size_with(100), c = size_with(200);
  CU_ASSERT(c - b <= 2*(b - a) + 8);
  CU_ASSERT(c < 200*60);
}

static void refuses(const char *text, const char *message) {
  World w;
  CU_ASSERT(!compile(&w, text, false));
  Text said = {.arena = w.arena};
  diag_render_text(w.diag, &said, false);
  CU_ASSERT_PTR_NOT_NULL(strstr(said.data ? said.data : "", message));
  arena_free(w.arena);
}

static void test_what_has_no_derivative_is_refused(void) {
  refuses("rule r() {\n  in x[N, N]\n  out z[N, N]\n  backward wrt x\n  z = eigvec(x)\n}\n", "gradient:5:7: error: there is no derivative of eigvec");
  static const char what[] = "error: 'backward' keeps what this scan carries, trip by trip, in room that is made before tensors are read";
  refuses("rule r() {\n  in x[N], n[1]: i32\n  out z[]\n  backward wrt x\n  h = 1\n  scan k < n[0] { h = tanh(h*x[k]) }\n  z = h\n}\n", what);
  refuses("rule r() {\n  in x[N]\n  out z[]\n  backward wrt x\n  h = 1\n  scan i < N { scan k < i { h = tanh(h*x[k]) } }\n  z = h\n}\n", what);
}

int main(void) {
  static const SuiteTest tests[] = {
    {"elements and functions", test_elements_and_functions}, {"reductions", test_reductions}, {"sums of products", test_sums_of_products},
    {"softmax", test_softmax}, {"elements at positions", test_elements_at_positions}, {"scans", test_scans},
    {"several outputs share values", test_several_outputs_share_values}, {"ties", test_ties}, {"no derivative", test_no_derivative},
    {"a zero adjoint stays zero", test_a_zero_adjoint_stays_zero}, {"saved outputs are read", test_saved_outputs_are_read},
    {"graphs grow linearly", test_graphs_grow_linearly}, {"what has no derivative is refused", test_what_has_no_derivative_is_refused},
  };
  return suite_run("gradient", tests);
}
