/* frontend_lower_test.c: what statements become, which types and roundings they get, and which mistakes are reported where. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/fixture.h"
#include "tests/support/suite.h"

/* --- lowering a text --------------------------------------------------------------------------------------------------------- */

typedef struct Lowered { Diag *diag; Module *module; const Source *source; } Lowered;

static const Source *read_file(void *self, Arena *a, const char *path, const char **why) {
  const char *const *texts = self;                     /* pairs of name and text, for `use` */
  for (; texts && *texts; texts += 2) {
    if (strcmp(texts[0], path)) continue;
    Source *s = arena_alloc(a, sizeof *s);
    *s = (Source){path, texts[1], strlen(texts[1])};
    return s;
  }
  return fixture_read(NULL, a, path, why);
}

static Lowered lower_with(Arena *a, const char *text, FrontendOptions options) {
  Source *source = arena_alloc(a, sizeof *source);
  *source = (Source){"a.opt", text, strlen(text)};
  Lowered r = {diag_new(a, 0), NULL, source};
  options.read = read_file;
  FileSet *set = frontend_load(a, r.diag, source, &options);
  if (set) r.module = frontend_lower(a, r.diag, set, &options);
  if (r.module && !module_verify(r.module, r.diag)) r.module = NULL;
  return r;
}

static Lowered lower_text_of(Arena *a, const char *text) { return lower_with(a, text, (FrontendOptions){.warnings = true}); }

static void show(Arena *a, const Lowered *r) {
  Text out = {.arena = a};
  diag_render_text(r->diag, &out, false);
  printf("\n%s\n%s\n", r->source->text, out.data ? out.data : "no message");
}

/* --- a value as a formula: names for leaves, f32(x) for a rounding, op(a, b) for the rest --------------------------------------- */

static void formula(const Module *m, const Node *n, Text *out) {
  switch ((int)n->op) {
    case OP_CONST:
      if (n->type == TYPE_BOOL) text_add(out, n->imm ? "true" : "false");
      else text_add(out, n->type == TYPE_F32 ? "%gf" : n->type == TYPE_F64 ? "%g" : "%.0fi", bits_to_f64((Bits)n->imm, (Type)n->type));
      return;
    case OP_HYPER: text_add(out, "%s", m->hypers[n->imm].name); return;
    case OP_STEP: text_add(out, "t"); return;
    case OP_SIZE: text_add(out, n->aux == -1 ? "size" : n->aux == -2 ? "rank" : "axis"); return;
    case OP_PRESENT: text_add(out, "present(%s)", m->operands[n->imm].name); return;
    case OP_SCALAR: text_add(out, "%s", m->operands[n->imm].name); return;
    case OP_READ:
      text_add(out, "%s", m->operands[n->imm].name);
      if (n->n_args) { text_add(out, "?{"); formula(m, n->args[0], out); text_add(out, "}"); }
      return;
    case OP_REDUCE: case OP_TOTAL: {
      static const char *const kinds[] = {"sum", "prod", "max", "min", "any", "every", "argmax", "argmin", "logsumexp"};
      text_add(out, "%s%s{", n->op == OP_TOTAL ? "all " : "", kinds[n->aux & 255]);
      formula(m, n->args[0], out);
      text_add(out, "}");
      return;
    }
    default: text_add(out, "%s(", n->op == OP_CAST ? type_name((Type)n->type) : op_name((Op)n->op));
  }
  for (unsigned i = 0; i < n->n_args; i++) { if (i) text_add(out, ", "); formula(m, n->args[i], out); }
  text_add(out, ")");
}

/* "p = ...; m = ... when ..." of an entry. */
static const char *writes_of(Arena *a, const Module *m, const char *entry) {
  Text out = {.arena = a};
  const Graph *g = module_graph(m, entry);
  for (unsigned i = 0; g && i < g->n_writes; i++) {
    text_add(&out, "%s%s = ", i ? "; " : "", m->operands[g->writes[i].operand].name);
    formula(m, g->writes[i].value, &out);
    if (g->writes[i].when) { text_add(&out, " when "); formula(m, g->writes[i].when, &out); }
  }
  return out.data ? out.data : "";
}

typedef struct Row { const char *body, *writes; } Row;

static void check_rows(const Row *rows, size_t n, const char *head, const char *entry, FrontendOptions options) {
  for (size_t i = 0; i < n; i++) {
    Arena *a = arena_new(NULL, 0);
    Lowered r = lower_with(a, arena_printf(a, "%s%s }\n", head, rows[i].body), options);
    if (!r.module) show(a, &r);
    CU_ASSERT_PTR_NOT_NULL(r.module);
    if (r.module) {
      const char *got = writes_of(a, r.module, entry);
      if (strcmp(got, rows[i].writes)) printf("\n%s\n got: %s\nwant: %s\n", rows[i].body, got, rows[i].writes);
      CU_ASSERT_STRING_EQUAL(got, rows[i].writes);
    }
    arena_free(a);
  }
}
#define HEAD "fn sq(x) = x^2\nfn twice(f, x) = f(f(x))\nfn power(x, n) = x^n\nconst half = 1/2\nconst two = 2\nconst tab[3] = [0.5, 2, half^2]\nconst ints[2]: i8 = [3, 300]\n" \
  "rule r(lr = 1e-3, n: int = 2, b: bool = false, const c: int = 7) { param p; grad g; state m = 0\n"
#define CHECK(rows, entry) check_rows(rows, sizeof rows/sizeof *rows, HEAD, entry, (FrontendOptions){0})

static void test_operators_happen_in_their_type_and_order(void) {
  static const Row rows[] = {
    {"p -= lr*g", "p = sub(p, mul(f32(lr), g))"},
    {"p = p - g*2 + 1", "p = add(sub(p, mul(g, 2f)), 1f)"},
    {"p *= 1 - lr*n", "p = mul(p, f32(sub(1, mul(lr, f64(n)))))"},                /* one f64 value, rounded once, as a whole */
    {"p -= lr/(1 - 0.9^t)*m", "p = sub(p, mul(f32(div(lr, sub(1, powi(0.9, t)))), m))"},
    {"p = g*2.0*m", "p = mul(mul(g, 2f), m)"},
    {"p = 1/2*g", "p = mul(f32(div(1, 2)), g)"},
    {"p = g/n", "p = div(g, f32(n))"},
    {"p = (n//2 + n%3 - (n << 1 & 6 | n >> 2))*g", "p = mul(f32(sub(add(idiv(n, 2i), imod(n, 3i)), or(and(shl(n, 1i), 6i), shr(n, 2i)))), g)"},
    {"p = n/2*g", "p = mul(f32(div(f64(n), 2)), g)"},
    {"p = where(0 < g <= 1, g, 0)", "p = select(and(lt(0f, g), le(g, 1f)), g, 0f)"},
    {"p = where(not b and n == 2 or b != true, p, g)", "p = select(or(and(not(b), eq(n, 2i)), ne(b, true)), p, g)"},
    {"p = -g^2", "p = neg(mul(g, g))"},
    {"p = f32(lr)*lr*g", "p = mul(mul(f32(lr), f32(lr)), g)"},                    /* f32() leaves f64 early */
    {"p = f64(g)*lr", "p = f32(mul(f64(g), lr))"},                                /* f64() computes in f64, rounded at the end */
    {"p = bf16(g)", "p = f32(bf16(g))"},
    {"p = int(g)*2", "p = f32(mul(i64(g), 2i))"},
    {"p = i8(n)*g", "p = mul(f32(i64(i8(n))), g)"},
    {"p = 1e-8 + g", "p = add(1e-08f, g)"},
    {"p = c*g", "p = mul(7f, g)"},
    {"p = half*g", "p = mul(0.5f, g)"},
    {"p = inf*g + pi", "p = add(mul(inff, g), 3.14159f)"},
    {"p = where(g > 0, lr, 1)*m", "p = mul(select(gt(g, 0f), f32(lr), 1f), m)"},
    {"p = lr", "p = f32(lr)"},
    {"p = g; m = p*lr", "p = g; m = mul(g, f32(lr))"},
  };
  CHECK(rows, "step");
}

static void test_powers_follow_the_page(void) {
  static const Row rows[] = {
    {"p = g^2", "p = mul(g, g)"},
    {"p = g^3", "p = powi(g, 3i)"},
    {"p = g^-2", "p = powi(g, -2i)"},
    {"p = g^1", "p = g"},
    {"p = g^0.5", "p = pow(g, 0.5f)"},
    {"p = g^n", "p = pow(g, f32(n))"},
    {"p = lr^n*g", "p = mul(f32(powi(lr, n)), g)"},
    {"p = n^2*g", "p = mul(f32(mul(n, n)), g)"},
    {"p = n^-1*g", "p = mul(f32(powi(f64(n), -1i)), g)"},
    {"p = 2^n*g", "p = mul(f32(powi(2, n)), g)"},
    {"p = t^-0.8*g", "p = mul(f32(pow(f64(t), -0.8)), g)"},
    {"p = power(g, 2)", "p = mul(g, g)"},                                         /* substituted: still a literal */
    {"k = 2; p = g^k", "p = pow(g, 2f)"},                                         /* a value: not one */
  };
  CHECK(rows, "step");
}

static void test_functions_are_rows_of_the_tables(void) {
  static const Row rows[] = {
    {"p = lerp(m, g, 1 - lr)", "p = add(m, mul(f32(sub(1, lr)), sub(g, m)))"},
    {"p = clamp(g, -1, lr)", "p = clamp(g, -1f, f32(lr))"},
    {"p = fma(g, g, lr)", "p = fma(g, g, f32(lr))"},
    {"p = relu(g) + sqrt(m) + rsqrt(m)", "p = add(add(relu(g), sqrt(m)), rsqrt(m))"},
    {"p = max(g, 0) + min(lr, 1)", "p = add(max(g, 0f), f32(min(lr, 1)))"},
    {"p = sign(g)*abs(m) + gelu(g)", "p = add(mul(sign(g), abs(m)), gelu(g))"},
    {"p = abs(n - 3)*g", "p = mul(f32(select(lt(sub(n, 3i), 0i), neg(sub(n, 3i)), sub(n, 3i))), g)"},
    {"p = sqrt(n)*g", "p = mul(f32(sqrt(f64(n))), g)"},
    {"p = where(isnan(g) or not finite(m), 0, round(g) + floor(g) + ceil(g))", "p = select(or(isnan(g), not(finite(m))), 0f, add(add(rint(g), floor(g)), ceil(g)))"},
    {"p = g*rank(p)/size(g)", "p = div(mul(g, f32(rank)), f32(size))"},
    {"p = max(n, 3)*g", "p = mul(f32(max(n, 3i)), g)"},
    {"p = twice(sq, g)", "p = mul(mul(g, g), mul(g, g))"},
    {"p = twice(exp, g)", "p = exp(exp(g))"},
  };
  CHECK(rows, "step");
}

static void test_whole_tensors_reduce_to_f64_scalars(void) {
  static const Row rows[] = {
    {"p = sum(g)*g", "p = mul(f32(f64(sum{g})), g)"},
    {"p = norm(g)*g", "p = mul(f32(sqrt(f64(sum{mul(g, g)}))), g)"},
    {"p = mean(g)*g", "p = mul(f32(div(f64(sum{g}), f64(size))), g)"},
    {"p = rms(g)*g", "p = mul(f32(sqrt(div(f64(sum{mul(g, g)}), f64(size)))), g)"},
    {"p = var(g)*g", "p = mul(f32(div(f64(sum{mul(sub(g, f32(div(f64(sum{g}), f64(size)))), sub(g, f32(div(f64(sum{g}), f64(size)))))}), f64(size))), g)"},
    {"p = max(g)*min(g)*prod(g)*g", "p = mul(f32(mul(mul(f64(max{g}), f64(min{g})), f64(prod{g}))), g)"},
    {"if any(g > 0) and every(finite(g)) { p = g }", "p = select(and(any{gt(g, 0f)}, every{finite(g)}), g, p)"},
    {"p = sum(g > 0)*g", "p = mul(f32(sum{select(gt(g, 0f), 1i, 0i)}), g)"},
    {"p = argmax(g)*logsumexp(g)*g", "p = mul(f32(mul(f64(argmax{g}), f64(logsumexp{g}))), g)"},
    {"state global q; q = total(g^2) + sum[all](g)/2", "q = add(all sum{f64(sum{mul(g, g)})}, div(all sum{f64(sum{g})}, 2))"},
    {"state global q; if any[all](not finite(g)) { q += 1 }", "q = select(all any{any{not(finite(g))}}, add(q, 1), q)"},
    {"state global q; q = mean[all](g)", "q = div(all sum{f64(sum{g})}, f64(all sum{size}))"},
    {"m = 3; p = sum(m)*g", "p = mul(f32(f64(sum{map(3f)})), g); m = 3f"},
    {"p = sum(where(m > 0, 1, 0)*g)*g", "p = mul(f32(f64(sum{select(eq(f32(select(gt(m, 0f), 1i, 0i)), 0f), 0f, mul(f32(select(gt(m, 0f), 1i, 0i)), g))})), g)"},
    {"p = sum(g*exp(m))*g", "p = mul(f32(f64(sum{select(eq(exp(m), 0f), 0f, mul(g, exp(m)))})), g)"},      /* a zero weight leaves its term out */
  };
  CHECK(rows, "step");
}

static void test_consts_and_counts_are_known_while_compiling(void) {
  static const Row rows[] = {
    {"p = two//2*g", "p = mul(f32(idiv(2i, 2i)), g)"},
    {"p = tab[0]*g + tab[two]", "p = add(mul(0.5f, g), 0.25f)"},
    {"p = tab[3]*g", "p = mul(0f, g)"},
    {"p = tab[n]*g", "p = mul(f32(select(eq(n, 2i), 0.25, select(eq(n, 1i), 2, select(eq(n, 0i), 0.5, 0)))), g)"},
    {"p = ints[1]//2*g", "p = mul(f32(idiv(44i, 2i)), g)"},
    {"repeat 3 { p = p*g }", "p = mul(mul(mul(p, g), g), g)"},
    {"repeat two { y = p; p = y + y }\n p = y", "p = add(p, p)"},
    {"repeat -1 { p = 0 }", ""},
  };
  CHECK(rows, "step");
}

static void test_fns_are_substituted_without_capture(void) {
  static const Row rows[] = {
    {"fn f(m) = m + g; p = f(p)", "p = add(p, g)"},                               /* its parameter is not our state */
    {"fn f(x) = x + q; q = g; p = f(m); q = lr*g; p += f(m)", "p = add(add(m, g), add(m, mul(f32(lr), g)))"},      /* reads at the call */
    {"fn f(x) { y = x*x; y += 1; return y }\n y = lr; p = f(g) + y", "p = add(add(mul(g, g), 1f), f32(lr))"},
    {"fn f(x) { if b { x = -x } else { x *= 2 }\n return x }\n p = f(g)", "p = select(b, neg(g), mul(g, 2f))"},
    {"fn h(q, x) = q(x, 2); p = h(power, g)", "p = mul(g, g)"},
  };
  CHECK(rows, "step");
}

static void test_a_name_has_the_widest_type_of_all_its_assignments(void) {
  static const Row rows[] = {
    {"k = n; p = k/2*g; k = lr; m = k*g", "p = mul(f32(div(f64(n), 2)), g); m = mul(f32(lr), g)"},                /* int, f64: it was to be divided in any case */
    {"k = n; state scalar s: int; s = s + 1; k = k + lr; p = k*g", "p = mul(f32(add(f64(n), lr)), g); s = add(s, 1i)"},
    {"k = lr; state scalar s; s = k; k = f32(lr)", "s = f64(f32(lr))"},                                          /* f64 without shape, f32 */
    {"w = g; y = w*lr; w = f64(m); p = y*w", "p = f32(mul(mul(f64(g), lr), f64(m)))"},                            /* f32, f64 of tensors */
    {"w = lr; state scalar s; s = w*2; w = g; p = w", "p = g; s = f64(mul(f32(lr), 2f))"},
    {"w = lr; z = w*2; w = g; state scalar s; s = z; p = w", "p = g; s = f64(mul(f32(lr), 2f))"},                /* and what was made of it */
    {"if b { k = n } else { k = 1 }\n p = k*g; k = lr", "p = mul(f32(select(b, f64(n), 1)), g)"},
    {"if b { w = g } else { w = f64(m) }\n p = w*lr", "p = f32(mul(select(b, f64(g), f64(m)), lr))"},
    {"k = n; repeat 2 { k = k*lr }\n p = k*g", "p = mul(f32(mul(mul(f64(n), lr), lr)), g)"},
    {"a = n; c1 = n; d = n; z = d*g; d = c1; c1 = a; a = lr; p = z", "p = mul(f32(f64(n)), g)"},                  /* one walk a link */
    {"fn f(x) { y = x; return y*lr }\n state scalar s; s = f(n); p = f(g)", "p = mul(g, f32(lr)); s = mul(f64(n), lr)"},      /* each call has its own y */
    {"fn f(x) { y = x; y += 1; z = y; y = lr; return z*y }\n state scalar s; s = f(n)", "s = mul(add(f64(n), 1), lr)"},
  };
  CHECK(rows, "step");
  static const Row entries[] = {
    {"k = lr; p = k*g; entry e { in y; k = n; m = y*(k//2) }", "m = mul(y, f32(idiv(n, 2i)))"},                   /* names of its own */
    {"entry e { in y; k = n; m = k*y; k = lr }", "m = mul(f32(f64(n)), y)"},
  };
  CHECK(entries, "e");
}

static void test_walking_a_rule_again_says_nothing_twice(void) {
  Arena *a = arena_new(NULL, 0);
  Lowered r = lower_text_of(a, "rule r(lr = 1, q = 2) { param p; grad g; k = 1; u = 3; p =- g*k; k = lr }\n");
  CU_ASSERT_PTR_NOT_NULL(r.module);
  CU_ASSERT_EQUAL(diag_count(r.diag), 3);               /* q and u are never used; =- */
  r = lower_text_of(a, "rule r(lr = 1) { param p; grad g; k = 1; p -= g*(k//2); k = lr }\n");
  CU_ASSERT_PTR_NULL(r.module);
  CU_ASSERT_EQUAL(diag_errors(r.diag), 1);
  CU_ASSERT(strstr(diag_get(r.diag, 0)->text, "takes integers, this is real") != NULL);
  r = lower_text_of(a, "rule r(lr = 1) { param p; grad g; k = 1.0; p -= fma(k, k, k)*g; k = f32(lr) }\n");      /* refused in the first walk only */
  CU_ASSERT_PTR_NOT_NULL(r.module);
  Text text = {.arena = a};
  text_add(&text, "rule r(lr = 1) { param p; grad g\n");
  for (int i = 0; i < 40; i++) text_add(&text, "k%d = 1\n", i);
  for (int i = 0; i < 39; i++) text_add(&text, "k%d = k%d\n", i, i + 1);
  text_add(&text, "k39 = lr\n p -= k0*g }\n");
  r = lower_text_of(a, text.data);
  CU_ASSERT_PTR_NULL(r.module);
  CU_ASSERT(strstr(diag_get(r.diag, 0)->text, "hang on each other") != NULL);
  arena_free(a);
}

static void test_if_becomes_selection_and_guards_its_states(void) {
  static const Row rows[] = {
    {"if b { p = g }", "p = select(b, g, p)"},
    {"if b { p = g } else { p = m }", "p = select(b, g, m)"},
    {"if b { p = g } else if n > 2 { p += 1 }", "p = select(b, g, select(gt(n, 2i), add(p, 1f), p))"},
    {"if b { u = g } else { u = 1 }\n p = u", "p = select(b, g, 1f)"},
    {"if b { g += 1; state w = p; w = g*w }", "w = mul(add(g, 1f), w?{b}) when b"},
    {"if b { if n > 2 { state w; w += 1; p = w } }", "p = select(b, select(gt(n, 2i), add(w?{and(b, gt(n, 2i))}, 1f), p), p); "
      "w = add(w?{and(b, gt(n, 2i))}, 1f) when and(b, gt(n, 2i))"},
    {"if b { p = 1 } else { state w; w = g }", "p = select(b, 1f, p); w = g when not(b)"},
    {"if n > 1 { k = n } else { k = lr }\n p = k*g", "p = mul(f32(select(gt(n, 1i), f64(n), lr)), g)"},
    {"if b { p = p }", ""},
  };
  CHECK(rows, "step");
}

static void test_scalars_and_globals_stay_f64_and_are_written(void) {
  static const Row rows[] = {
    {"state scalar s = 1; s = 0.5*s + n; p = s*g", "p = mul(f32(add(mul(0.5, s), f64(n))), g); s = add(mul(0.5, s), f64(n))"},
    {"state global k: int = 0; k += 1", "k = add(k, 1i)"},
    {"state global k: f32; k = k + lr", "k = f32(add(f64(k), lr))"},
    {"in scalar decays: bool; p -= where(decays, lr, 0)*p", "p = sub(p, mul(f32(select(decays, lr, 0)), p))"},
    {"in global loss; p = loss*g", "p = mul(f32(loss), g)"},
    {"out global o; o = lr", "o = lr"},
    {"out e: bf16; if b { e = g }", "e = select(b, g, 0f)"},
    {"out e", "e = 0f"},
    {"in x optional; if present(x) { p += x }", "p = select(present(x), add(p, x?{present(x)}), p)"},
    {"in x: i32, y: u8; p = x*lr + y", "p = f32(add(mul(f64(x), lr), f64(y)))"},
    {"state k: i32; k += 1; p = k*g", "p = mul(f32(add(k, 1i)), g); k = add(k, 1i)"},
  };
  CHECK(rows, "step");
}

static void test_compute_f64_widens_data_and_rounds_at_the_end(void) {
  static const Row rows[] = {
    {"p -= lr*g + 1", "p = f32(sub(f64(p), add(mul(lr, f64(g)), 1)))"},
    {"m = fma(g, g, 1); p = m", "p = f32(add(mul(f64(g), f64(g)), 1)); m = f32(add(mul(f64(g), f64(g)), 1))"},
  };
  check_rows(rows, sizeof rows/sizeof *rows, HEAD, "step", (FrontendOptions){.compute_f64 = true});
}

static void test_first_values_and_existence_go_to_init_and_layout(void) {
  static const Row rows[] = {
    {"p -= g", "m = 0f"},
    {"state a = lr, z = p, k: i32 = n", "m = 0f; a = f32(lr); z = p; k = n"},
    {"if rank(p) > 1 { state w = -p }", "m = 0f; w = neg(p) when gt(rank, 1i)"},
    {"state scalar s = 2, u; state global q: int = 3", "m = 0f; s = 2; u = 0; q = 3i"},
  };
  CHECK(rows, "init");
  Arena *a = arena_new(NULL, 0);
  Lowered r = lower_text_of(a, HEAD "if b { if n > 1 { state w } } }");
  CU_ASSERT_PTR_NOT_NULL_FATAL(r.module);
  const Graph *layout = module_graph(r.module, "layout");
  CU_ASSERT_EQUAL_FATAL(layout->n_exists, 2);
  Text out = {.arena = a};
  formula(r.module, layout->exists[0].when, &out);
  text_add(&out, " ");
  formula(r.module, layout->exists[1].when, &out);
  CU_ASSERT_STRING_EQUAL(out.data, "true and(b, gt(n, 1i))");
  arena_free(a);
}

static void test_entries_have_operands_and_writes_of_their_own(void) {
  Arena *a = arena_new(NULL, 0);
  Lowered r = lower_text_of(a, "rule r(lr = 1) { param p; grad g; state h\n require lr >= 0\n p -= lr*g\n"
    "entry hessian { grad s as \"ghat\"; require rank(p) < 9; h = lr*s }\n entry read { out x; x = p + h } }");
  CU_ASSERT_PTR_NOT_NULL_FATAL(r.module);
  CU_ASSERT_EQUAL(r.module->n_graphs, 5);
  CU_ASSERT_STRING_EQUAL(writes_of(a, r.module, "hessian"), "h = mul(f32(lr), s)");
  CU_ASSERT_STRING_EQUAL(writes_of(a, r.module, "read"), "x = add(p, h)");
  CU_ASSERT_STRING_EQUAL(writes_of(a, r.module, "step"), "p = sub(p, mul(f32(lr), g))");
  CU_ASSERT_TRUE(module_graph(r.module, "step")->advances);
  CU_ASSERT_FALSE(module_graph(r.module, "hessian")->advances);
  CU_ASSERT_EQUAL(module_graph(r.module, "hessian")->n_requires, 2);
  CU_ASSERT_EQUAL(module_graph(r.module, "read")->n_requires, 1);
  CU_ASSERT_EQUAL(module_graph(r.module, "init")->n_requires, 1);
  CU_ASSERT_STRING_EQUAL(r.module->operands[3].entry, "hessian");
  CU_ASSERT_STRING_EQUAL(r.module->operands[3].external, "ghat");
  CU_ASSERT_PTR_NULL(r.module->operands[1].entry);
  arena_free(a);
}

static void test_require_carries_its_text_and_numbers(void) {
  Arena *a = arena_new(NULL, 0);
  Lowered r = lower_text_of(a, "rule r(lr = 1, n: int = 2, nesterov: bool = false) { param p; grad g\n"
    "require 0 <= lr <   1 and\n   (not nesterov or lr > n/rank(p))\n if nesterov { require lr > 0 }\n p -= g }");
  CU_ASSERT_PTR_NOT_NULL_FATAL(r.module);
  const Graph *g = module_graph(r.module, "step");
  CU_ASSERT_EQUAL_FATAL(g->n_requires, 2);
  CU_ASSERT_STRING_EQUAL(g->requires[0].text, "0 <= lr < 1 and (not nesterov or lr > n/rank(p))");
  CU_ASSERT_EQUAL_FATAL(g->requires[0].n, 3);
  CU_ASSERT_STRING_EQUAL(g->requires[0].name[0], "lr");
  CU_ASSERT_STRING_EQUAL(g->requires[0].name[1], "n");
  CU_ASSERT_STRING_EQUAL(g->requires[0].name[2], "rank(p)");
  Text out = {.arena = a};
  formula(r.module, g->requires[1].cond, &out);
  CU_ASSERT_STRING_EQUAL(out.data, "or(not(nesterov), gt(lr, 0))");
  arena_free(a);
}

static void test_hyper_parameters_have_types_and_defaults(void) {
  Arena *a = arena_new(NULL, 0);
  Lowered r = lower_with(a, "rule r(a, b = 2/3 as \"bb\", n: int = -5, f: bool = true, const k: int = 2^10, big = 1e300*1e300, m = -half) {\n"
    "param p; p = a*b*n*k*big*m; if f { p = 0 } }\nconst half = 0.5", (FrontendOptions){0});
  CU_ASSERT_PTR_NOT_NULL_FATAL(r.module);
  const Hyper *h = r.module->hypers;
  CU_ASSERT_FALSE(h[0].has_default);
  CU_ASSERT_EQUAL(bits_to_f64(h[1].value, TYPE_F64), 2.0/3);
  CU_ASSERT_STRING_EQUAL(h[1].external, "bb");
  CU_ASSERT_EQUAL(h[2].type, TYPE_I64);
  CU_ASSERT_EQUAL((int64_t)h[2].value, -5);
  CU_ASSERT_EQUAL(h[3].type, TYPE_BOOL);
  CU_ASSERT_EQUAL(h[3].value, 1);
  CU_ASSERT_TRUE(h[4].is_const);
  CU_ASSERT_EQUAL(h[4].value, 1024);
  CU_ASSERT_EQUAL(bits_to_f64(h[5].value, TYPE_F64), 1.0/0.0);
  CU_ASSERT_EQUAL(bits_to_f64(h[6].value, TYPE_F64), -0.5);
  arena_free(a);
}

static void test_in_scalar_keeps_its_default(void) {
  Arena *a = arena_new(NULL, 0);
  Lowered r = lower_text_of(a, "rule r() { param p; in scalar x: int, y: bool = true, z = 1/4; p = where(y, x, z) }");
  CU_ASSERT_PTR_NOT_NULL_FATAL(r.module);
  const Operand *o = r.module->operands;
  CU_ASSERT_FALSE(o[1].has_default);
  CU_ASSERT_TRUE(o[2].has_default && o[2].value == 1);
  CU_ASSERT_TRUE(o[3].has_default && bits_to_f64(o[3].value, TYPE_F64) == 0.25);
  arena_free(a);
}

static void test_apply_inserts_a_rule(void) {
  static const Row rows[] = {
    {"apply inner(a = lr)", "p = sub(p, mul(f32(lr), g)); k = add(k, 1f)"},
    {"g += 1; apply inner(); p *= 2", "p = mul(sub(p, mul(2f, add(g, 1f))), 2f); k = add(k, 1f)"},
    {"apply inner(gw = m)", "p = sub(p, mul(2f, m)); k = add(k, 1f)"},
    {"if b { apply inner() }", "p = select(b, sub(p, mul(2f, g)), p); k = add(k?{b}, 1f) when b"},
    {"apply clash()", "p = g; clash/m = g"},
    {"apply timed(t = n*t)", "p = f32(mul(n, t))"},
    {"apply late(t = n*t, s = t)", "p = f32(add(mul(n, t), t))"},                  /* what is given sees our t */
  };
  check_rows(rows, sizeof rows/sizeof *rows, "rule inner(a = 2) { param w; grad gw; state k; w -= a*gw; k += 1 }\nrule clash() { param w; grad gw; state m; m = gw; w = m }\n"
    "rule timed() { param p; p = t }\nrule late() { param p; in scalar s: int; p = t + s }\nrule r(lr = 1, n: int = 2, b: bool = false) { param p; grad g; state m = 0\n", "step", (FrontendOptions){0});
}

static void test_entries_of_an_applied_rule_become_ours(void) {
  static const Row rows[] = {
    {"apply e(a = lr)", "h = add(mul(f32(lr), h), s)"},
    {"c = norm(g); apply e(k = int(c))", "h = add(mul(2f, h), s)"},                     /* k is not used there */
    {"state h = 0; h = g; apply e(a = lr + t)", "e/h = add(mul(f32(add(lr, f64(t))), e/h), s)"},
  };
  check_rows(rows, sizeof rows/sizeof *rows, "rule e(a = 2, k: int = 1) { param w; grad gw; state h; fn scaled(x) = a*x\n w -= k*gw*h\n entry tune { in s; h = scaled(h) + s } }\n"
    "rule r(lr = 1, n: int = 2, b: bool = false) { param p; grad g\n", "tune", (FrontendOptions){0});
}

static void test_use_brings_fns_and_rules_of_other_files(void) {
  static const char *const files[] = {"b.opt", "fn cube(x) = x^3\nrule base(a = 2) { param p; grad g; p -= a*cube(g) }", NULL};
  Arena *a = arena_new(NULL, 0);
  Source source = {"a.opt", "use \"b.opt\"\nrule r() { param p; grad g; g = cube(g); apply base() }", 0};
  source.length = strlen(source.text);
  FrontendOptions options = {.read = read_file, .read_self = (void *)files, .warnings = true};
  Diag *d = diag_new(a, 0);
  FileSet *set = frontend_load(a, d, &source, &options);
  CU_ASSERT_PTR_NOT_NULL_FATAL(set);
  Module *m = frontend_lower(a, d, set, &options);
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  CU_ASSERT_STRING_EQUAL(writes_of(a, m, "step"), "p = sub(p, mul(2f, powi(powi(g, 3i), 3i)))");
  CU_ASSERT_EQUAL(m->n_sources, 2);
  options.rule = "base";
  m = frontend_lower(a, d, set, &options);
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  CU_ASSERT_STRING_EQUAL(m->name, "base");
  options.rule = "bas";
  CU_ASSERT_PTR_NULL(frontend_lower(a, d, set, &options));
  arena_free(a);
}

/* --- mistakes: the text has the caret's range between backquotes ------------------------------------------------------------------- */

typedef struct Mistake { const char *text, *message; } Mistake;

static void check_mistakes(const Mistake *rows, size_t n, const char *head, DiagLevel level) {
  for (size_t i = 0; i < n; i++) {
    Arena *a = arena_new(NULL, 0);
    char *text = arena_printf(a, "%s%s }\n", head, rows[i].text), *to = text;
    unsigned mark[2] = {0, 0}, marks = 0;
    for (const char *from = text; *from; from++) {
      if (*from == '`') { if (marks < 2) mark[marks] = (unsigned)(to - text); marks++; }
      else *to++ = *from;
    }
    *to = 0;
    CU_ASSERT_EQUAL(marks, 2);
    Lowered r = lower_text_of(a, text);
    unsigned found = 0, place = 0;
    for (size_t k = 0; k < diag_count(r.diag); k++) {
      const DiagMessage *m = diag_get(r.diag, k);
      if (m->level != level) continue;
      found += !strcmp(m->text, rows[i].message);
      place += !strcmp(m->text, rows[i].message) && m->where.begin == mark[0] && m->where.end == mark[1];
    }
    bool good = found == 1 && place == 1 && diag_errors(r.diag) == (level == DIAG_ERROR);
    if (!good) { show(a, &r); printf("want: %s at %u to %u\n", rows[i].message, mark[0], mark[1]); }
    CU_ASSERT_TRUE(good);
    CU_ASSERT_EQUAL(r.module == NULL, level == DIAG_ERROR);
    arena_free(a);
  }
}
#define MISTAKES(rows, level) check_mistakes(rows, sizeof rows/sizeof *rows, \
  "rule r(lr = 1, beta1 = 0.9, n: int = 2, b: bool = false) { param p; grad g; state m = 0; m = lr*beta1*n; if b { p -= g }\n", level)

static void test_names_that_are_wrong_are_reported_once_with_a_suggestion(void) {
  static const Mistake rows[] = {
    {"m = `beta`*m\np = beta*g", "unknown name 'beta'; did you mean 'beta1'?"},
    {"m = `nothing_like_it`*m", "unknown name 'nothing_like_it'"},
    {"m = `sqr`(m)", "unknown function 'sqr'; did you mean 'sqrt'?"},
    {"m = `pow`(m, 2)", "unknown function 'pow'; a power is written x^y"},
    {"if n > 1 { u = 1 }\np = `u`*g\np = u", "'u' has no value when the condition at line 2 is false"},
    {"if n > 1 { p = 1 } else { u = 1 }\np = `u`*g", "'u' has no value when the condition at line 2 is true"},
    {"if n > 1 { state w; w = g }\n`w` = p", "'w' has no value when the condition at line 2 is false"},
    {"if n > 1 { u[i < 3] = 1 } else { u[i < 4] = 1 }\np = sum(`u`)*g", "'u' is [3] at line 2 and [4] at line 2: both branches must give it one shape"},
    {"if p is [R, C] { u[i] = sum[j](g[i, j]) }\nelse { u = g }\np = `u`*g", "'u' is [R] at line 2 and has the shape of p at line 3: both branches must give it one shape"},
    {"if n > 1 { u[i < 3] = 1 } else { u[i < 4] = 1 }\nif b { u = 1 }\np = `u`*g", "'u' has no value when the condition at line 3 is false"},
    {"if n > 1 { state w; w = g } else { state w = 1; w += g }\np = `w`", "'w' is a state at line 2 and another state at line 2: what is used behind both branches is declared before the 'if'"},
    {"if n > 1 { state w; w = g } else { w = g }\np = `w`", "'w' is a state at line 2 and a local value at line 2: what is used behind both branches is declared before the 'if'"},
    {"state `m` = 1", "'m' is declared twice"},
    {"in `lr`", "'lr' is declared twice"},
    {"state `t`", "'t' is predeclared"},
    {"fn `norm`(x) = x\np = g", "'norm' is a function of the language and cannot be a name"},
    {"m = `lr`(g)", "'lr' is a value, not a function"},
    {"m = `sqrt`", "'sqrt' is a function; call it"},
    {"`undefined` += 1", "unknown name 'undefined': it has no value before this statement; what is kept from call to call is declared, 'state undefined'"},
    {"fn f(x) = x\n`f` = 1", "'f' is a fn and cannot be assigned"},
    {"apply `inner`()", "unknown rule 'inner'"},
    {"apply `r`()", "rule 'r' applies itself"},
    {"fn f(x) = `f`(x)\np = f(g)", "fn 'f' calls itself"},
    {"entry `step` { p = 1 }", "an entry cannot be called 'step'"},
    {"entry e { p = `g` }", "unknown name 'g'"},
    {"entry e { p = 1 }\nentry `e` { p = 2 }", "entry 'e' is declared twice"},
  };
  MISTAKES(rows, DIAG_ERROR);
}

static void test_values_of_the_wrong_kind_are_reported_at_their_place(void) {
  static const Mistake rows[] = {
    {"p = (g > 0) `+` 1", "'+' on a bool; write where(c, 1, 0)"},
    {"p `-=` b", "'-' on a bool; write where(c, 1, 0)"},
    {"p = `-`b", "'-' on a bool; write where(c, 1, 0)"},
    {"p = g `//` 2", "'//' takes integers, this is real"},
    {"p = n `&` 1.5", "'&' takes integers, this is real"},
    {"p = where(g `and` b, 1, 0)", "'and' takes conditions, this is a number; compare it"},
    {"p = where(`not` g, 1, 0)", "'not' takes a condition, this is a number; compare it"},
    {"p = where(`g`, 1, 0)", "'where' needs a condition, this is a number; compare it"},
    {"if `g > 0` { p = 1 }", "'if' needs one scalar, this has the shape of p; use where"},
    {"if `lr` { p = 1 }", "'if' needs a condition, this is a number; compare it"},
    {"require `g > 0`", "'require' needs one scalar, this has the shape of p; use where"},
    {"p = `sqrt`(g, 2)", "sqrt takes 1 argument, 2 are given"},
    {"p = `lerp`(g)", "lerp takes 3 arguments, 1 is given"},
    {"fn f(x, y) = x + y\np = `f`(g)", "f takes 2 arguments, 1 is given"},
    {"p = exp(`b`)", "'exp' of a bool; write where(c, 1, 0)"},
    {"p = `fma`(lr, lr, 1)*g", "'fma' works in f32, here all is f64; write a*b + c"},
    {"m = `b`", "'m' is real, this is a bool; write where(c, 1, 0)"},
    {"b = `g`", "'b' is a bool, this is a number"},
    {"state global k: int = 0; k = `lr`", "'k' is int, this is real; write int(...)"},
    {"state global d = 1; d = `norm(p)`", "'d' is global, norm(p) differs from item to item; use [all]"},
    {"p = sum(`lr`)*g", "'sum' is taken of a tensor, this is one number"},
    {"p = norm(`g > 0`)*g", "'norm' of a bool; write where(c, 1, 0)"},
    {"if any(`g`) { p = 1 }", "'any' takes a condition, this is a number; compare it"},
    {"p = `sum`(g, g)*g", "sum takes 1 argument, 2 are given; an axis is named by its index: sum[j](x[i, j])"},
    {"require `norm(p) > 0`", "'require' is checked before anything is read: it may not depend on tensors; choose by 'if' or 'where', or let the caller check an out"},
    {"if norm(p) > 0 { state `z` }", "whether state 'z' exists may depend on sizes, hyper-parameters and 'in scalar' only"},
    {"state global d = 1; d = `rank(p)`", "'d' is global, rank(p) differs from item to item; use [all]"},
    {"state global d = 1; d = `g*lr`", "'d' is global, g*lr differs from element to element; use [all]"},
    {"state global d = 1; if rank(p) > 1 { `d` = 2 }", "'d' is global, the condition at line 2 differs from item to item"},
    {"state scalar s = 1; s = `g`", "'s' is one number an item, g has the shape of p"},
    {"p = g*present(`lr`)", "'present' asks for an operand by its name"},
    {"p = g*rank(`lr`)", "'rank' asks for a tensor, this is one number"},
    {"state z = `g`", "the first value of a state may use params, sizes and hyper-parameters only"},
    {"if t > 1 { state `z` }", "whether state 'z' exists may depend on sizes, hyper-parameters and 'in scalar' only"},
    {"out `q` optional", "only a tensor that the caller gives (param, grad, in, inout) can be optional"},
    {"in q = `3`", "only 'state' and 'in scalar' have a value here"},
    {"in scalar q = `lr`", "a default that is computed from other values is not supported yet"},
    {"in scalar q: int = `0.5`", "'q' is int, this is real; write int(...)"},
    {"grad scalar `q`", "a grad is a tensor; 'scalar' and 'global' go with state, in and out"},
    {"state q: `bf16 flush`", "'flush' goes with f32"},
  };
  MISTAKES(rows, DIAG_ERROR);
}

static void test_headers_that_are_wrong_are_reported_at_their_place(void) {
  static const Mistake rows[] = {
    {"rule r(w: int = `0.5`) { param p; p = w", "'w' is int, its default is real"},
    {"rule r(w: bool = `1`) { param p; if w { p = 1 }", "'w' is bool, its default is a number"},
    {"rule r(w = `true`) { param p; p = w", "'w' is real, its default is a bool; declare 'w: bool'"},
    {"rule r(w: `bf16` = 1) { param p; p = w", "a hyper-parameter is real, int or bool"},
    {"rule r(const `w`) { param p; p = w", "'const w' needs its value"},
    {"rule r(a = 1, `a` = 2) { param p; p = a", "'a' is declared twice"},
    {"rule r(a = 1, const w = `a + 1`) { param p; p = a*w", "the value of const 'w' must be known while compiling"},
    {"rule r() { out global o; o = `t`", "'t' counts the steps of a rule with param or state"},
    {"rule r() { in `x`", "the shape of 'x' is not known: give it, the rule has no param"},
    {"fn f(x) = x\nfn `f`(x) = x\nrule r() { param p; p = f(p)", "'f' is declared twice"},
    {"rule r() { param p; p = 1 }\nrule `r`() { param p; p = 1", "'r' is declared twice"},
    {"rule i(a = 1) { param p; p = a }\nrule r() { param p; apply i(a = 1, `a` = 2)", "'a' is given twice"},
    {"fn f(x, `x`) = x\nrule r() { param p; p = f(p, p)", "'x' is declared twice"},
    {"rule r() { param p; fn f(x, y, `x`) = x + y\n p = f(p, p, p)", "'x' is declared twice"},
    {"const a = `b`\nrule r() { param p; p = a", "unknown name 'b'"},
    {"const a`[3]` = [1, 2]\nrule r() { param p; p = a[0]", "'a' has 3 elements by its shape, 2 are given"},
    {"const a[2] = [1, 2]\nrule r() { param p; p = `a`", "'a' is a table; read it at an index: a[i]"},
    {"const a[2] = [1, 2]\nrule r() { param p; p = a[`0.5`]", "an index is an integer, this is real"},
    {"const a = b\nconst b = `a`\nrule r() { param p; p = a", "const 'a' needs its own value"},
    {"fn f(x, i) { u[r < 3] = x[i + r]; return norm(`u`) }\nrule r() { in x[N]; out y[N]; y[i] = f(x, i)", "'u' was made at the indices of a call: it is read at its own, as in sum[j](u[j])"},
    {"fn f(x, i) { u[r < 3] = x[i + r]; return u `+` 1 }\nrule r() { in x[N]; out y[N]; y[i] = f(x, i)", "'u' needs its indices here: an indexed statement computes one element; write u[...]"},
    {"rule r() { param p[N]; in x[M]; fn f(i) { u = p; `u`[0] = x[i]; return u[0] }\n p[i] = f(i)", "'u' has the shape of a param: where a fn is called at indices it is not assigned element by element"},
    {"fn f(x, i) { u = 0; `scan k < 3 { u += x[i + k] }`; return u }\nrule r() { in x[N]; out y[N]; y[i] = f(x, i)", "where a fn is called at indices, the only loop in it is 'repeat n' with a constant n of 8 at most"},
    {"rule i(a) { param p; p = a }\nrule r() { param p; apply `i`()", "apply i: 'a' needs a value"},
    {"rule e() { param p; grad g; state h; p -= g*h\n entry tune { in s; h = s } }\nrule r(b: bool) { param p; grad g; if b { apply `e`() }", "rule 'e' has entries: it is applied in the main body of a rule, not under 'if' or in an entry"},
    {"rule e() { param p; grad g; state h; p -= g*h\n entry tune { in s; h = s } }\nrule n() { param p; grad g; apply `e`() }\nrule r() { param p; grad g; apply n()", "rule 'e' has entries: it is applied in the main body of a rule, not under 'if' or in an entry"},
    {"rule e() { param p; grad g; state h; p -= g*h\n entry tune { in s; h = s } }\nrule r() { param p; grad g; apply e(); apply `e`()", "there are two entries 'tune' of applied rules"},
    {"rule e() { param p; grad g; state h; p -= g*h\n entry `tune` { in s; h = s } }\nrule r() { param p; grad g; apply e()\n entry tune { in s; p = s }", "entry 'tune' is declared twice"},
    {"rule e(a) { param p; grad g; state h; p -= a*g*h\n entry tune { in s; h = `a`*s } }\nrule r() { param p; grad g; c = norm(g); apply e(a = c/2)", "'a' was given as 'c/2', which an entry does not see: it has names of the main body"},
    {"rule i() { param p; in W[K, K]; p = W[0, 0] }\nrule r() { param p; in A[M]; apply i(W = `A`)", "'W' has shape [K, K], this has shape [M]"},
    {"rule i() { param p; in W[]; p = W }\nrule r() { param p; in A[M]; apply i(W = `A`)", "'W' is one number, this has shape [M]"},
    {"rule i() { param p; in global W[8]; p = W[0] }\nrule r() { param p; apply i(W = `1`)", "'W' is a tensor, this is one scalar"},
    {"rule i() { param p; in W[flat N]; p = W[0] }\nrule r() { param p; in A[M]; apply i(W = `A`)", "'W' is declared [flat N]; 'flat' is for what has the shape of a param"},
    {"rule i() { param p; p = 1 }\nrule r() { param p; apply i(`a` = 1)", "rule 'i' has no hyper-parameter or operand 'a'"},
    {"rule i(a = 1) { param p; p = a }\nrule r() { param p; apply i(a = `p`)", "'a' is one scalar, this has the shape of p"},
  };
  check_mistakes(rows, sizeof rows/sizeof *rows, "", DIAG_ERROR);
}

static void test_what_is_not_supported_yet_says_so_at_its_place(void) {
  static const Mistake rows[] = {
    {"in w: `q8[256]`", "'q8' goes with states that are tensors of an item"},
  };
  MISTAKES(rows, DIAG_ERROR);
}

static void test_shapes_that_differ_are_shown_with_both_declarations(void) {
  Arena *a = arena_new(NULL, 0);
  Lowered r = lower_text_of(a, "rule r() { param p[R, C]; grad g; state b[R]\n p = g - b\n p = g + 2*b\n if g > 0 { p = 1 }\n p = g[0] }");
  static const struct { const char *text, *at; DiagLevel level; } want[] = {
    {"shapes differ: g is [R, C], b is [R]; write g[i, j] - b[i]", "-", DIAG_ERROR},
    {"g has this shape", "[R, C]", DIAG_NOTE}, {"b has this shape", "[R]", DIAG_NOTE},
    {"shapes differ: g is [R, C], the right side is [R]", "+", DIAG_ERROR},
    {"g has this shape", "[R, C]", DIAG_NOTE}, {"the right side has this shape", "[R]", DIAG_NOTE},
    {"'if' needs one scalar, this has shape [R, C]; use where", "g > 0", DIAG_ERROR},
    {"'g' has 2 axes, 1 index is given", "[", DIAG_ERROR}, {"g has this shape", "[R, C]", DIAG_NOTE},
  };
  size_t n = sizeof want/sizeof *want;
  CU_ASSERT_EQUAL(diag_count(r.diag), n);
  for (size_t i = 0; i < n && i < diag_count(r.diag); i++) {
    const DiagMessage *m = diag_get(r.diag, i);
    CU_ASSERT_STRING_EQUAL(m->text, want[i].text);
    CU_ASSERT_EQUAL(m->level, want[i].level);
    CU_ASSERT_TRUE(m->where.end - m->where.begin == strlen(want[i].at) && !strncmp(r.source->text + m->where.begin, want[i].at, strlen(want[i].at)));
  }
  if (diag_count(r.diag) != n) show(a, &r);
  arena_free(a);
}

/* Of names that the text gave no shape, and of one number that fills a tensor. */
static void test_shapes_that_were_made_are_told_by_their_sizes(void) {
  static const Mistake rows[] = {
    {"if p is [R, C] { r[i] = sum[j](g[i, j]); p = p`*`r }", "shapes differ: r is [R], p is [R, C]"},
    {"k[i < 4] = 1; p -= g`*`k", "shapes differ: k is [4], g has the shape of p"},
    {"k[i < 4] = 1; p -= k`*`g", "shapes differ: k is [4], g has the shape of p"},
    {"k[i < 4] = 1; w[i < 5] = 2; v = w`*`k; p -= sum(v)*g", "axis 0 of k is 4, axis 0 of w is 5: this never fits"},
    {"k[i < 4] = 1; w[i < 5, j < 4] = 2; v = w`*`k; p -= sum(v)*g", "shapes differ: k is [4], w is [5, 4]"},
  };
  MISTAKES(rows, DIAG_ERROR);
}

static void test_names_that_are_never_used_are_warned_about(void) {
  static const Mistake rows[] = {
    {"state v as \"exp_avg_sq\"; `vv_never` = g", "'vv_never' is never used"},
    {"state exp_avg; `exp_av` = g", "'exp_av' is never used; did you mean the state 'exp_avg'?"},
    {"if b { `u` = 1 }", "'u' is never used"},
  };
  MISTAKES(rows, DIAG_WARNING);
}

/* Of a rule that is as it should be, nothing is said. */
static void test_uses_that_are_meant_are_not_warned_about(void) {
  static const char *const texts[] = {
    "rule r() { param p; grad g; state p0 = p; p = p0 - g }",                                    /* read only, from its first value on */
    "rule r() { state global rate; rate = 0.5^t }",                                             /* what the host asks a schedule for */
    "rule r(b: bool) { param p; grad g; if b { state m; m = g; p -= m } else { state m; m = 2*g; p -= m } }",
    "rule r() { param p; grad g; state h; p -= g/h\n entry refresh { in s; h = s } }",
    "rule base() { param p; grad g; state kept; kept = g; p -= g }\nrule r() { param p; grad g; apply base() }",
    "rule r() { param p; grad g; p = -g; p =-g; p -= -g }",
    "fn f(h, x) = h(x)\nrule r() { param p; grad g; p -= f(sum, g)*g + f(normal, 1) }",
    "rule r() { param p; grad g; if p is [R, C] { u[i] = sum[j](g[i, j]); p[i, j] -= u[i] } else { u = g; p -= u } }",      /* of two shapes, and not used behind */
    "rule r(b: bool) { param p[R, C]; grad g; if b { u[i, j] = 2*g[i, j] } else { u = g }\n p -= u }",                      /* the item's axes, and all its elements */
  };
  for (size_t i = 0; i < sizeof texts/sizeof *texts; i++) {
    Arena *a = arena_new(NULL, 0);
    Lowered r = lower_text_of(a, texts[i]);
    CU_ASSERT_PTR_NOT_NULL(r.module);
    CU_ASSERT_EQUAL(diag_count(r.diag), 0);
    if (diag_count(r.diag)) show(a, &r);
    arena_free(a);
  }
}

static void test_several_errors_are_told_in_one_run_without_cascades(void) {
  Arena *a = arena_new(NULL, 0);
  Lowered r = lower_text_of(a, "rule r(lr = 1) { param p; grad g; state m = 0\n m = beta*m\n u = m*2\n p -= u + sqrt(g, 1)\n q = p\n p = q > 0\n p -= lx*q\n scan t2 { z = 1 }\n p = z + z }");
  CU_ASSERT_EQUAL(diag_errors(r.diag), 4);
  if (diag_errors(r.diag) != 4) show(a, &r);
  arena_free(a);
}

static void test_texts_that_grow_or_nest_without_end_are_refused(void) {
  Arena *a = arena_new(NULL, 0);
  Text grow = {.arena = a}, sum = {.arena = a}, names = {.arena = a};
  text_add(&grow, "fn f0(x) = x + x\n");
  for (int i = 1; i < 40; i++) text_add(&grow, "fn f%d(x) = f%d(x) + f%d(x)\n", i, i - 1, i - 1);
  text_add(&grow, "rule r() { param p; p = f39(p) }");
  CU_ASSERT_PTR_NULL(lower_text_of(a, grow.data).module);
  text_add(&sum, "rule r() { param p; grad g; p = g");
  for (int i = 0; i < 900; i++) text_add(&sum, " + g");
  text_add(&sum, " }");
  CU_ASSERT_PTR_NOT_NULL(lower_text_of(a, sum.data).module);
  Text branches = {.arena = a}, unknown = {.arena = a};
  text_add(&branches, "rule r(b: bool) { param p\n");
  for (int i = 0; i < 1000; i++) text_add(&branches, "v%d = 1\n", i);
  for (int i = 0; i < 20000; i++) text_add(&branches, "if b { p = 1 }\n");
  text_add(&branches, "}");
  CU_ASSERT_PTR_NULL(lower_text_of(a, branches.data).module);
  text_add(&unknown, "rule r() { param p\n");
  for (int i = 0; i < 50000; i++) text_add(&unknown, "p = u%d\n", i);
  text_add(&unknown, "}");
  CU_ASSERT_PTR_NULL(lower_text_of(a, unknown.data).module);
  text_add(&names, "rule r() { param p\n");
  for (int i = 0; i < 3000; i++) text_add(&names, "v%d = 1\n", i);
  text_add(&names, "}");
  CU_ASSERT_PTR_NULL(lower_text_of(a, names.data).module);
  arena_free(a);
}

/* --- the rules that ship ------------------------------------------------------------------------------------------------------------- */

static void test_all_shipped_rules_lower_and_verify_without_a_message(void) {
  DIR *dir = opendir("rules");
  CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
  unsigned n = 0;
  for (struct dirent *e; (e = readdir(dir));) {
    size_t length = strlen(e->d_name);
    if (length < 4 || strcmp(e->d_name + length - 4, ".opt")) continue;
    Arena *a = arena_new(NULL, 0);
    const char *why = NULL, *path = arena_printf(a, "rules/%s", e->d_name);
    const Source *source = read_file(NULL, a, path, &why);
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    FrontendOptions options = {.read = read_file, .warnings = true};
    Lowered r = {diag_new(a, 0), NULL, source};
    FileSet *set = frontend_load(a, r.diag, source, &options);
    if (set && !set->files[0]->n_rules) { arena_free(a); continue; }      /* fns for other rules */
    if (set) r.module = frontend_lower(a, r.diag, set, &options);
    if (!r.module || !module_verify(r.module, r.diag) || diag_count(r.diag)) { show(a, &r); CU_FAIL("a rule that ships"); }
    n++;
    arena_free(a);
  }
  closedir(dir);
  CU_ASSERT_TRUE(n > 20);
}

static void lower_everything(Arena *a, void *self) { lower_text_of(a, self); }

static void test_no_memory_at_any_allocation_neither_crashes_nor_leaks(void) {
  CU_ASSERT_TRUE(failing_allocator_try_all(lower_everything, HEAD "if b { state w = p; w += twice(sq, g); p -= w }\nrequire lr > 0\nentry e { in x; p = x } }", 100000) > 0);
  CU_ASSERT_TRUE(failing_allocator_try_all(lower_everything, HEAD "p = beta*g\nq[i] = g[i]\nd = (p > 0) + 1 }", 100000) > 0);
}

int main(void) {
  static const SuiteTest tests[] = {
    {"operators happen in their type and order", test_operators_happen_in_their_type_and_order},
    {"powers follow the page", test_powers_follow_the_page},
    {"functions are rows of the tables", test_functions_are_rows_of_the_tables},
    {"whole tensors reduce to f64 scalars", test_whole_tensors_reduce_to_f64_scalars},
    {"consts and counts are known while compiling", test_consts_and_counts_are_known_while_compiling},
    {"fns are substituted without capture", test_fns_are_substituted_without_capture},
    {"if becomes selection and guards its states", test_if_becomes_selection_and_guards_its_states},
    {"scalars and globals stay f64 and are written", test_scalars_and_globals_stay_f64_and_are_written},
    {"a name has the widest type of all its assignments", test_a_name_has_the_widest_type_of_all_its_assignments},
    {"walking a rule again says nothing twice", test_walking_a_rule_again_says_nothing_twice},
    {"--compute f64 widens data and rounds at the end", test_compute_f64_widens_data_and_rounds_at_the_end},
    {"first values and existence go to init and layout", test_first_values_and_existence_go_to_init_and_layout},
    {"entries have operands and writes of their own", test_entries_have_operands_and_writes_of_their_own},
    {"require carries its text and numbers", test_require_carries_its_text_and_numbers},
    {"hyper-parameters have types and defaults", test_hyper_parameters_have_types_and_defaults},
    {"in scalar keeps its default", test_in_scalar_keeps_its_default},
    {"apply inserts a rule", test_apply_inserts_a_rule},
    {"entries of an applied rule become ours", test_entries_of_an_applied_rule_become_ours},
    {"use brings fns and rules of other files", test_use_brings_fns_and_rules_of_other_files},
    {"names that are wrong are reported once, with a suggestion", test_names_that_are_wrong_are_reported_once_with_a_suggestion},
    {"values of the wrong kind are reported at their place", test_values_of_the_wrong_kind_are_reported_at_their_place},
    {"headers that are wrong are reported at their place", test_headers_that_are_wrong_are_reported_at_their_place},
    {"what is not supported yet says so at its place", test_what_is_not_supported_yet_says_so_at_its_place},
    {"shapes that differ are shown with both declarations", test_shapes_that_differ_are_shown_with_both_declarations},
    {"shapes that were made are told by their sizes", test_shapes_that_were_made_are_told_by_their_sizes},
    {"names that are never used are warned about", test_names_that_are_never_used_are_warned_about},
    {"uses that are meant are not warned about", test_uses_that_are_meant_are_not_warned_about},
    {"several errors are told in one run, without cascades", test_several_errors_are_told_in_one_run_without_cascades},
    {"texts that grow or nest without end are refused", test_texts_that_grow_or_nest_without_end_are_refused},
    {"all shipped rules lower and verify without a message", test_all_shipped_rules_lower_and_verify_without_a_message},
    {"no memory at any allocation neither crashes nor leaks", test_no_memory_at_any_allocation_neither_crashes_nor_leaks},
  };
  return suite_run("lower", tests);
}
