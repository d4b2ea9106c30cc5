/* frontend_language_test.c: which graph operations the constructs of the language become, and what is checked at entry. */
#include <stdio.h>
#include <string.h>
#include "frontend/frontend.h"
#include "ir/graph_analysis.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/suite.h"

static const Source *no_file(void *self, Arena *a, const char *path, const char **why) { *why = "none"; return NULL; }

static Module *lower(Arena *a, const char *text, bool f64) {
  Source *source = arena_alloc(a, sizeof *source);
  *source = (Source){"a.opt", text, strlen(text)};
  Diag *d = diag_new(a, 0);
  FrontendOptions options = {.read = no_file, .warnings = true, .compute_f64 = f64, .store_f64 = f64};
  FileSet *set = frontend_load(a, d, source, &options);
  Module *m = set ? frontend_lower(a, d, set, &options) : NULL;
  if (m && !module_verify(m, d)) m = NULL;
  if (!m) {
    Text out = {.arena = a};
    diag_render_text(d, &out, false);
    printf("\n%s\n%s\n", text, out.data ? out.data : "no message");
  }
  return m;
}

static const Graph *main_graph(const Module *m) { return module_graph(m, m->has_step ? "step" : "forward"); }

/* "attend 1, contract 2": how many nodes that a write needs have these operations. */
static const char *count(Arena *a, const Graph *g) {
  static const Op shown[] = {OP_ATTEND, OP_CONTRACT, OP_SOFTMAX, OP_REDUCE, OP_CUMULATE, OP_ORDER, OP_SCATTER, OP_SCAN, OP_TOTAL, OP_MAP, OP_PHILOX, OP_EIGVEC, OP_QR};
  Text out = {.arena = a};
  bool *live = arena_array(a, g->n_nodes, sizeof *live);
  for (unsigned i = 0; i < g->n_writes; i++) { live[g->writes[i].value->id] = true; if (g->writes[i].when) live[g->writes[i].when->id] = true; }
  graph_mark_operands(g, live);
  for (size_t k = 0; k < sizeof shown/sizeof *shown; k++) {
    unsigned n = 0;
    for (unsigned i = 0; i < g->n_nodes; i++) n += live[i] && g->nodes[i]->op == shown[k];
    if (n) text_add(&out, "%s%s %u", out.data ? ", " : "", op_name(shown[k]), n);
  }
  return out.data ? out.data : "";
}

typedef struct Row { const char *body, *ops; } Row;

static void check(const Row *rows, size_t n, const char *head) {
  for (size_t i = 0; i < n; i++) {
    Arena *a = arena_new(NULL, 0);
    Module *m = lower(a, arena_printf(a, "%s%s\n}\n", head, rows[i].body), false);
    CU_ASSERT_PTR_NOT_NULL(m);
    if (m) {
      const char *got = count(a, main_graph(m));
      if (strcmp(got, rows[i].ops)) printf("\n%s\n got: %s\nwant: %s\n", rows[i].body, got, rows[i].ops);
      CU_ASSERT_STRING_EQUAL(got, rows[i].ops);
      m = lower(a, arena_printf(a, "%s%s\n}\n", head, rows[i].body), true);
      CU_ASSERT_PTR_NOT_NULL(m);
    }
    arena_free(a);
  }
}
#define CHECK(rows, head) check(rows, sizeof rows/sizeof *rows, head)
#define HEAD "fn dot(u, v, i) = sum[m](u[i, m]*v[i, m])\nrule r(k: int = 3) {\n  in A[N, M], B[N, M], x[M], doc[N]: i32\n  out y[N], Y[N, M], Z[N, N]\n  "
#define ITEM "rule r(lr = 0.1) {\n  param p\n  grad g\n  "

static void test_sums_of_products_are_contractions_where_every_factor_lacks_an_index(void) {
  static const Row rows[] = {
    {"Z[i, j] = sum[m](A[i, m]*B[j, m])", "contract 1"},
    {"Z[i, j] = 0.5*sum[m](k*A[i, m]*B[j, m])", "contract 1"},
    {"y[i] = sum[m](A[i, m]*x[m])", "reduce 1"},                                  /* A has all indices */
    {"y[i] = dot(A, B, i)", "reduce 1"},
    {"Z[i, j] = sum[m]((A[i, m]*B[j, m]))", "contract 1"},
    {"Z[i, j] = sum[m]((A[i, m]*B[j, m])*x[m])", "reduce 1"},                     /* parentheses make one factor */
    {"Z[i, j] = sum[m](A[i, m]/B[j, m])", "reduce 1"},
    {"P[i, j, m] = A[i, m]*B[j, m]\n  Z[i, j] = sum[m](P[i, j, m])", "contract 1"},          /* a name that stands for its expression */
    {"P[i, j, m] = A[i, m]*B[j, m]\n  P[i, j, m] = P[i, j, m]*1\n  Z[i, j] = sum[m](P[i, j, m])", "reduce 1"},
    {"Z[i, j] = sum[m; seq](A[i, m]*B[j, m])", "reduce 1"},
    {"Z = A @ B'", "contract 1"},
  };
  CHECK(rows, HEAD);
}

static void test_softmax_over_a_sums_own_indices_becomes_attention(void) {
  static const Row rows[] = {
    {"Y[i, d] = sum[j < N](softmax[j](sum[m](A[i, m]*B[j, m]))*B[j, d])", "attend 1, contract 1, map 1"},
    {"w[i, j] = softmax[j](sum[m](A[i, m]*B[j, m]))\n  Y[i, d] = sum[j](B[j, d]*w[i, j])", "attend 1, contract 1, map 1"},
    {"Y[i, m] = softmax[m](A[i, m])", "softmax 1"},
    {"Y[i, m] = softmax[i](A[i, m])", "softmax 1, map 1"},
    {"y[i] = sum[m](softmax[m](A[i, m])*x[m])", "attend 1"},
    {"y[i] = sum[m](softmax[m](A[i, m]))", "attend 1"},
    {"y[i] = sum[m](softmax[i](A[i, m])*x[m])", "softmax 1, reduce 1, map 1"},
    {"w[i, m] = softmax[m](A[i, m])\n  w[i, m] = w[i, m]\n  y[i] = sum[m](w[i, m]*x[m])", "softmax 1, reduce 1"},
    {"y[i] = logsumexp[m](A[i, m])", "reduce 1"},
  };
  CHECK(rows, HEAD);
}

static void test_reductions_run_over_the_indices_that_matter(void) {
  static const Row rows[] = {
    {"y[i] = sum[m](x[m])*doc[i]", "reduce 1"},                                   /* one number */
    {"Y[i, m] = A[i, m] - mean[n](A[i, n])", "reduce 1, map 1"},
    {"Y[i, m] = A[i, m] - var[n](A[i, n])", "reduce 2, map 2"},
    {"y[i] = max[m](A[i, m]) + norm(x) + argmax[m](A[i, m])", "reduce 3"},
    {"Y[i, m] = cumsum[m](A[i, m]) + cummax[i](A[i, m])", "cumulate 2, map 1"},
    {"y[i] = sum[m](order[m](A[i, m]) < k)", "reduce 1, order 1"},
  };
  CHECK(rows, HEAD);
}

static void test_positions_read_and_written(void) {
  static const Row rows[] = {
    {"Y[i, m] = A[doc[i], M - 1 - m] + B[i, m - 1]", ""},
    {"Y[i, m] = A[i, m]; Y[doc[i], m] = B[i, m]", "scatter 1"},
    {"y[doc[i]] += x[i]", "scatter 1, map 1"},
    {"fn f(i) { u[r < 3] = x[r]*A[i, r]; return u[0] + sum[r](u[r]) }; y[i] = f(i)", "reduce 1, map 1"},          /* a local of one call: computed where it is read */
    {"fn f(i) { u[r < 3] = x[r]; u[1] = x[0]; return u[0]*A[i, 0] + u[1] }; y[i] = f(i)", "scatter 1, map 3"},          /* the same for all calls: made once */
    {"y[0] = 1", "scatter 1, map 1"},
    {"C[i, m] = exp(A[i, m]); Y[i, m] = C[i, m] + 1", ""},                        /* the same elements: computed in place */
    {"C[i, m] = exp(A[i, m]); Y[i, m] = C[i, m - 1]", "map 1"},
  };
  CHECK(rows, HEAD);
}

static void test_loops(void) {
  static const Row rows[] = {
    {"h = 0; scan m < M { h = 0.5*h + x[m]; y[m] = h }", "scatter 1, scan 1, map 1"},
    {"scan i reverse { scan m { Y[i, m] = A[i, m]; k += 1 } }", "scatter 1, scan 2, map 1"},
    {"repeat k { y[i] = y[i]*2 + doc[i] }", "scan 1, map 1"},
    {"repeat 3 { y[i] = y[i]*2 + doc[i] }", ""},
  };
  CHECK(rows, HEAD);
}

static void test_items(void) {
  static const Row rows[] = {
    {"p -= lr*g", ""},
    {"if p is [R, C] { u[r, c] = g[r, c]*2; p -= u }", ""},                       /* there and back: the flat element */
    {"if p is [R, flat C] { p -= lr*(g @ g' @ g) }", "contract 2, map 2"},
    {"if p is [..., I, J] { state R[..., I]; R[..., i] = mean[j](g[..., i, j]); p -= g } else { p += g }", "reduce 1"},
    {"p -= lr*norm(g)*normal(1)", "reduce 1, philox 2"},
    {"fn f(h, x) = h(x); p -= f(norm, g)*f(normal, 1)", "reduce 1, philox 2"},           /* a function of the language, as an argument */
    {"state m: q8[64] = p, n: q4u; m = m + g; n += abs(g); p -= m/n", "reduce 2, map 6"},
    {"state m: bf16 stochastic, n: f16 stochastic; m = m + g; n = m; p -= m", "philox 2"},
    {"if rank(p) > 1 { state a[2] = 1; a[i] *= 2; p += sum(a) } else { state a[3] = 1; a[i] *= 3; p -= sum(a) }", "reduce 2"},
    {"in x[K] optional; param b[K] optional; p -= g; b[k] -= x[k]", ""},
    {"state global s; s = sum[all](g^2); if rank(p) > 1 { s2 = 0 }", "reduce 1, total 1"},
  };
  CHECK(rows, ITEM);
}

static const char *requirements(Arena *a, const Module *m) {
  const Graph *g = main_graph(m);
  Text out = {.arena = a};
  for (unsigned i = 0; i < g->n_requires; i++) text_add(&out, "%s\n", g->requires[i].text);
  return out.data ? out.data : "";
}

static void test_shapes_are_checked_at_entry(void) {
  Arena *a = arena_new(NULL, 0);
  Module *m = lower(a, "rule r(scale = 1/sqrt(D), n: int = D) {\n in Q[N, D], K[M, D], cu[S + 1]: i32, W[2*H]\n out O[N, M]\n"
    "O[i, j] = scale*sum[d](Q[i, d]*K[j, d])*n*S*H + cu[0] + W[0]\n }", false);
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  CU_ASSERT_STRING_EQUAL(requirements(a, m), "tensor 'Q' has {} axes, [N, D] wants {}\ntensor 'K' has {} axes, [M, D] wants {}\naxis 1 of tensor 'K' is {}, D is {}\n"
    "tensor 'cu' has {} axes, [S+1] wants {}\naxis 0 of tensor 'cu' is {}, S + 1 is {}\naxis 0 of tensor 'cu' is {}, so S is {}\ntensor 'W' has {} axes, [2*H] wants {}\naxis 0 of tensor 'W' is {}, 2*H is {}\naxis 0 of tensor 'W' is {}, so H is {}\n"
    "tensor 'O' has {} axes, [N, M] wants {}\naxis 0 of tensor 'O' is {}, N is {}\naxis 1 of tensor 'O' is {}, M is {}\n");
  CU_ASSERT_TRUE(m->hypers[0].has_default && m->hypers[0].computed);
  CU_ASSERT_EQUAL((int64_t)m->hypers[1].value, INT64_MIN);
  CU_ASSERT_EQUAL(m->operands[1].shape->rank, 2);
  arena_free(a);
}

static void test_an_applied_rule_names_the_axes_of_its_inputs(void) {
  Arena *a = arena_new(NULL, 0);
  Module *m = lower(a, "rule inner() { param p; grad g; in W[K, K], cu[S + 1]: i32; inout cache[T, K]; state v[K]\n v[i] += sum[j](W[i, j])*S\n cache[T - 1, i] = v[i]; p -= g*v[0]*cu[S] }\n"
    "rule r() { param p; grad g; in A[M, 3], c[L]: i32\n B[i, j] = 2*A[i, j]\n apply inner(W = B, cu = c) }", false);
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  CU_ASSERT_STRING_EQUAL(requirements(a, m), "tensor 'A' has {} axes, [M, 3] wants {}\naxis 1 of tensor 'A' is {}, 3 is {}\ntensor 'c' has {} axes, [L] wants {}\naxis 1 of W is {}, K is {}\n"
    "axis 0 of cu is {}, so S is {}\naxis 0 of cu is {}, S + 1 is {}\ntensor 'cache' has {} axes, [T, K] wants {}\naxis 1 of tensor 'cache' is {}, K is {}\n");
  arena_free(a);
}

static void test_one_item_gives_its_numbers_to_the_call(void) {
  Arena *a = arena_new(NULL, 0);
  Module *m = lower(a, "rule r() { in x[N]; out global n, big: bool; n = sum(x); big = N > 3 }", false);
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  CU_ASSERT_STRING_EQUAL(count(a, main_graph(m)), "reduce 1, total 2");
  arena_free(a);
}

static void test_codes_are_two_states_in_memory(void) {
  Arena *a = arena_new(NULL, 0);
  Module *m = lower(a, "rule r() { param p; grad g; state m: q8[64], n[4, 5]: q4 as \"nn\"; m = m + g; n[i, j] += 1; p -= m*sum(n) }", false);
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  static const struct { const char *name; Type storage; } want[] = {{"p", TYPE_F32}, {"g", TYPE_F32}, {"m", TYPE_U8}, {"n", TYPE_U8}, {"m_max", TYPE_F32}, {"n_max", TYPE_F32}};
  CU_ASSERT_EQUAL_FATAL(m->n_operands, 6);
  for (unsigned i = 0; i < 6; i++) CU_ASSERT_TRUE(!strcmp(m->operands[i].name, want[i].name) && m->operands[i].storage == want[i].storage);
  CU_ASSERT_EQUAL(module_graph(m, "layout")->n_exists, 4);
  CU_ASSERT_EQUAL(module_graph(m, "init")->n_writes, 4);
  CU_ASSERT_EQUAL(main_graph(m)->n_writes, 5);
  arena_free(a);
}

static void test_backward_declares_its_operands(void) {
  Arena *a = arena_new(NULL, 0);
  Module *m = lower(a, "rule r(scale = 1) { in Q[N], K[N]; out O[N], i[N]: i32; backward wrt K, Q, scale saving O; O[n] = scale*Q[n]*K[n]; i[n] = n }", false);
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  const Backward *b = m->backward;
  CU_ASSERT_PTR_NOT_NULL_FATAL(b);
  CU_ASSERT_TRUE(b->n_wrt == 3 && b->n_seeds == 1 && b->n_saving == 1 && b->saving[0] == 2 && b->wrt[2].hyper);
  CU_ASSERT_STRING_EQUAL(m->operands[b->wrt[0].gradient].name, "dK");
  CU_ASSERT_STRING_EQUAL(m->operands[b->wrt[2].gradient].name, "dscale");
  CU_ASSERT_STRING_EQUAL(m->operands[b->seeds[0].gradient].name, "dO");
  CU_ASSERT_STRING_EQUAL(m->operands[b->seeds[0].gradient].entry, "backward");
  arena_free(a);
}

static void test_skip_keeps_states_and_the_step(void) {
  Arena *a = arena_new(NULL, 0);
  Module *m = lower(a, "rule r() { param p; grad g; state m; state global s = 1, n: int; out o\n o = g; m = g; skip if any[all](not finite(g)) { s *= 0.5 }\n o = 2*g; p -= m; n += 1 }", false);
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  const Graph *g = main_graph(m);
  CU_ASSERT_PTR_NOT_NULL_FATAL(g->skip);
  CU_ASSERT_EQUAL_FATAL(g->n_writes, 5);
  for (unsigned i = 0; i < g->n_writes; i++) {
    const char *name = m->operands[g->writes[i].operand].name;
    CU_ASSERT_EQUAL(g->writes[i].when != NULL, *name == 'p' || *name == 'm' || *name == 'n');
  }
  arena_free(a);
}

static void lower_all(Arena *a, void *self) {
  Source source = {"a.opt", self, strlen(self)};
  Diag *d = diag_new(a, 0);
  FrontendOptions options = {.read = no_file, .warnings = true};
  FileSet *set = frontend_load(a, d, &source, &options);
  if (set) frontend_lower(a, d, set, &options);
}

static void test_no_memory_at_any_allocation_neither_crashes_nor_leaks(void) {
  CU_ASSERT_TRUE(failing_allocator_try_all(lower_all, HEAD "w[i, j] = softmax[j](sum[m](A[i, m]*B[j, m])); Y[i, m] = sum[j](w[i, j]*B[j, m])\n"
    "scan m < M { y[doc[m]] += x[m] }\n Z = A @ B'\n backward wrt A saving Y }", 100000) > 0);
}

int main(void) {
  static const SuiteTest tests[] = {
    {"sums of products are contractions where every factor lacks an index", test_sums_of_products_are_contractions_where_every_factor_lacks_an_index},
    {"softmax over a sum's own indices becomes attention", test_softmax_over_a_sums_own_indices_becomes_attention},
    {"reductions run over the indices that matter", test_reductions_run_over_the_indices_that_matter},
    {"positions read and written", test_positions_read_and_written},
    {"loops", test_loops},
    {"items", test_items},
    {"shapes are checked at entry", test_shapes_are_checked_at_entry},
    {"an applied rule names the axes of its inputs", test_an_applied_rule_names_the_axes_of_its_inputs},
    {"one item gives its numbers to the call", test_one_item_gives_its_numbers_to_the_call},
    {"codes are two states in memory", test_codes_are_two_states_in_memory},
    {"backward declares its operands", test_backward_declares_its_operands},
    {"skip keeps states and the step", test_skip_keeps_states_and_the_step},
    {"no memory at any allocation neither crashes nor leaks", test_no_memory_at_any_allocation_neither_crashes_nor_leaks},
  };
  return suite_run("language", tests);
}
