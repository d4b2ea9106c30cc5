/* passes_graph_test.c: views, canon, fold, algebra, narrow, dce: what each makes of a graph, and the same bits after any of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "passes/passes.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/function_graph.h"
#include "tests/support/random.h"
#include "tests/support/sample.h"
#include "tests/support/suite.h"
#include "tests/support/world.h"

/* --- texts before and after; @ is the space of the tensors ------------------------------------------------------------------------------ */

static const char head[] =
  "module \"m\" step\n"
  "hyper n i64\nhyper x f64\nhyper b bool\n"
  "operand p param tensor f32 item\noperand q in tensor f64 item\noperand c in tensor u8 item\noperand k in tensor i32 item\n"
  "operand y out tensor f32 item\noperand z out tensor f64 item\noperand j out tensor i64 item\noperand t out tensor bool item\n"
  "graph step {\n"
  "  %0 = size i64 p axis=count\n  %1 = read f32 [%0] p\n  %2 = read f64 [%0] q\n  %3 = read i64 [%0] c\n  %4 = read i64 [%0] k\n"
  "  %5 = hyper f64 x\n  %6 = hyper bool b\n  %7 = hyper i64 n\n";

static const Graph *parse(Arena *a, Diag *d, const char *body) {
  Source *s = arena_alloc(a, sizeof *s);
  Text t = {.arena = a};
  text_add(&t, "%s", head);
  for (; *body; body++) text_add(&t, *body == '@' ? "[%%0]" : "%c", *body);
  text_add(&t, "}\n");
  char *text = t.data;
  *s = (Source){"text", text, strlen(text)};
  Module *m = module_parse(a, d, s);
  if (!m) {
    Text out = {.arena = a};
    diag_render_text(d, &out, false);
    printf("\n%s", out.data);
    return NULL;
  }
  return m->graphs[0];
}

static const char *text_of(const Graph *g) {
  Text t = {.arena = g->arena};
  graph_print(g, &t);
  return t.data;
}

static Graph *run_pass(const char *name, const Graph *g) {
  Unit unit = {.module = g->module, .arena = g->arena, .diag = g->module->diag, .graph = (Graph *)(uintptr_t)g};
  PassArgs none = {0};
  pass_find(name)->run(&unit, &none);
  bool good = graph_verify(unit.graph, unit.diag);
  if (!good) {
    Text out = {.arena = g->arena};
    diag_render_text(unit.diag, &out, false);
    printf("\n%s: %s", name, out.data);
  }
  CU_ASSERT(good);
  return unit.graph;
}

static Graph *compact(const Graph *g) { return graph_rewrite(g, NULL, NULL); }
/* In the order in which the roots come to it. */
static Graph *ordered(const Graph *g) { return graph_replace(g, arena_array(g->arena, g->n_nodes + 1, sizeof(Node *))); }

typedef struct Case { const char *pass, *before, *after; } Case;

static void expect(const Case *cases, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    const Graph *before = parse(a, d, cases[i].before), *after = parse(a, d, cases[i].after);
    CU_ASSERT_FATAL(before && after);
    const char *got = text_of(ordered(run_pass(cases[i].pass, before))), *want = text_of(ordered(after));
    if (strcmp(got, want)) { printf("\n%s of\n%s gives\n%s", cases[i].pass, cases[i].before, got); CU_FAIL("another graph"); }
    arena_free(a);
  }
}

/* -p[i*n + j] over [3, n] and its transpose over [n, 3]: the product of the two reads one matrix. */
#define MATRICES "%8 = const i64 3\n %9 = index i64 [%8, %7] axis=0\n %10 = index i64 [%8, %7] axis=1\n %11 = mul i64 [%8, %7] %9, %7\n %12 = add i64 [%8, %7] %11, %10\n" \
  " %13 = read f32 [%8, %7] p %12\n %14 = neg f32 [%8, %7] %13\n"
#define INDICES " %21 = index i64 [%8, %8, %7] axis=0\n %22 = index i64 [%8, %8, %7] axis=1\n %23 = index i64 [%8, %8, %7] axis=2\n %24 = map f32 [%8, %8, %7] %14, %21, %23\n"
#define PRODUCT " %26 = contract f32 [%8, %8] axes=1 %24, %25\n %27 = const i64 0\n %28 = map f32 [%0] %26, %27, %27\n write y = %28\n"
static void views_read_one_matrix(void) {
  static const Case cases[] = {
    {"views", MATRICES " %15 = index i64 [%7, %8] axis=1\n %16 = index i64 [%7, %8] axis=0\n %17 = mul i64 [%7, %8] %15, %7\n %18 = add i64 [%7, %8] %17, %16\n"
              " %19 = read f32 [%7, %8] p %18\n %20 = neg f32 [%7, %8] %19\n" INDICES " %25 = map f32 [%8, %8, %7] %20, %23, %22\n" PRODUCT,
              MATRICES INDICES " %25 = map f32 [%8, %8, %7] %14, %22, %23\n" PRODUCT},
    {"views", MATRICES " %15 = idiv i64 [%8, %7] %12, %7\n %16 = imod i64 [%8, %7] %12, %7\n %20 = map f32 [%8, %7] %14, %15, %16\n" INDICES
              " %25 = map f32 [%8, %8, %7] %20, %22, %23\n" PRODUCT,
              MATRICES INDICES " %25 = map f32 [%8, %8, %7] %14, %22, %23\n" PRODUCT},
  };
  expect(cases, sizeof cases / sizeof *cases);
}

/* X = p as [R, C], and a product added: over the elements of p it is read where the next product has it. Where the next one does not want it, nothing changes. */
#define ITEM "%8 = size i64 p axis=0\n %9 = idiv i64 %0, %8\n %10 = index i64 [%8, %9] axis=0\n %11 = index i64 [%8, %9] axis=1\n %12 = mul i64 [%8, %9] %10, %9\n" \
  " %13 = add i64 [%8, %9] %12, %11\n %14 = read f32 [%8, %9] p %13\n %15 = index i64 [%8, %9, %9] axis=0\n %16 = index i64 [%8, %9, %9] axis=1\n" \
  " %17 = index i64 [%8, %9, %9] axis=2\n %18 = map f32 [%8, %9, %9] %14, %15, %17\n %19 = map f32 [%8, %9, %9] %14, %15, %16\n %20 = contract f32 [%8, %9] axes=1 %18, %19\n"
#define NEXT " %21 = add f32 [%8, %9] %20, %14\n %22 = map f32 [%8, %9, %9] %21, %15, %17\n %23 = contract f32 [%8, %9] axes=1 %22, %19\n"
#define PLACE " %24 = index i64 [%0] axis=0\n %25 = idiv i64 [%0] %24, %9\n %26 = imod i64 [%0] %24, %9\n"
#define TOGETHER " %29 = map f32 [%0] %23, %25, %26\n %30 = mul f32 [%0] %28, %29\n write y = %30\n"
static void views_read_an_item_where_a_product_has_it(void) {
  static const Case cases[] = {
    {"views", ITEM NEXT PLACE " %27 = map f32 [%0] %20, %25, %26\n %28 = add f32 [%0] %27, %1\n" TOGETHER, ITEM NEXT PLACE " %28 = map f32 [%0] %21, %25, %26\n" TOGETHER},
    {"views", ITEM NEXT PLACE " %27 = map f32 [%0] %20, %25, %26\n %28 = sub f32 [%0] %27, %1\n" TOGETHER, ITEM NEXT PLACE " %27 = map f32 [%0] %20, %25, %26\n %28 = sub f32 [%0] %27, %1\n" TOGETHER},
    {"views", ITEM NEXT PLACE " %27 = map f32 [%0] %20, %26, %25\n %28 = add f32 [%0] %27, %1\n" TOGETHER, ITEM NEXT PLACE " %27 = map f32 [%0] %20, %26, %25\n %28 = add f32 [%0] %27, %1\n" TOGETHER},
  };
  expect(cases, sizeof cases / sizeof *cases);
}

static void canon_has_one_spelling(void) {
  static const Case cases[] = {
    {"canon", "%8 = gt bool %5, %5\n write t = %8\n", "%8 = lt bool %5, %5\n write t = %8\n"},
    {"canon", "%8 = ge bool @ %7, %3\n write t = %8\n", "%8 = le bool @ %3, %7\n write t = %8\n"},
    {"canon", "%8 = add f64 @ %5, %2\n write z = %8\n", "%8 = add f64 @ %2, %5\n write z = %8\n"},
    {"canon", "%8 = const f32 2\n %9 = mul f32 @ %8, %1\n write y = %9\n", "%8 = const f32 2\n %9 = mul f32 @ %1, %8\n write y = %9\n"},
    {"canon", "%8 = const f32 2\n %9 = sub f32 @ %1, %8\n write y = %9\n", "%8 = const f32 -2\n %9 = add f32 @ %1, %8\n write y = %9\n"},
    {"canon", "%8 = neg f64 %5\n %9 = sub f64 @ %2, %8\n write z = %9\n", "%8 = add f64 @ %2, %5\n write z = %8\n"},
    {"canon", "%8 = neg f64 %5\n %9 = add f64 @ %8, %2\n write z = %9\n", "%8 = sub f64 @ %2, %5\n write z = %8\n"},
    {"canon", "%8 = eq bool @ %5, %2\n %9 = not bool @ %8\n write t = %9\n", "%8 = ne bool @ %2, %5\n write t = %8\n"},
    {"canon", "%8 = lt bool @ %5, %2\n %9 = not bool @ %8\n write t = %9\n", "%8 = lt bool @ %5, %2\n %9 = not bool @ %8\n write t = %9\n"},       /* NaN */
    {"canon", "%8 = lt bool @ %7, %3\n %9 = not bool @ %8\n write t = %9\n", "%8 = le bool @ %3, %7\n write t = %8\n"},
    {"canon", "%8 = not bool %6\n %9 = select f64 @ %8, %2, %5\n write z = %9\n", "%8 = select f64 @ %6, %5, %2\n write z = %8\n"},
  };
  expect(cases, sizeof cases / sizeof *cases);
}

static void fold_evaluates_constants(void) {
  static const Case cases[] = {
    {"fold", "%8 = const f32 0x1p-149\n %9 = const f32 0.5\n %10 = mul f32 %8, %9\n %11 = add f32 @ %1, %10\n write y = %11\n",
             "%8 = const f32 0\n %9 = add f32 @ %1, %8\n write y = %9\n"},
    {"fold", "%8 = const f64 0.1\n %9 = cast f32 %8\n %10 = mul f32 @ %1, %9\n write y = %10\n", "%8 = const f32 0x1.99999ap-4\n %9 = mul f32 @ %1, %8\n write y = %9\n"},
    {"fold", "%8 = const bool true\n %9 = select f32 @ %8, %1, %1\n write y = %9\n", "write y = %1\n"},
    {"fold", "%8 = const bool false\n %9 = select f64 @ %8, %2, %5\n write z = %9\n", "%8 = const bool false\n %9 = select f64 @ %8, %2, %5\n write z = %9\n"},   /* spread */
  };
  expect(cases, sizeof cases / sizeof *cases);
}

static void algebra_knows_exact_identities_only(void) {
  static const Case cases[] = {
    {"algebra", "%8 = const f32 -0x0p+0\n %9 = add f32 @ %1, %8\n write y = %9\n", "write y = %1\n"},
    {"algebra", "%8 = const f32 0\n %9 = add f32 @ %1, %8\n write y = %9\n", "%8 = const f32 0\n %9 = add f32 @ %1, %8\n write y = %9\n"},       /* -0 + 0 is 0 */
    {"algebra", "%8 = const f32 0\n %9 = mul f32 @ %1, %8\n write y = %9\n", "%8 = const f32 0\n %9 = mul f32 @ %1, %8\n write y = %9\n"},
    {"algebra", "%8 = sub f32 @ %1, %1\n write y = %8\n", "%8 = sub f32 @ %1, %1\n write y = %8\n"},
    {"algebra", "%8 = const f64 1\n %9 = div f64 @ %2, %8\n %10 = mul f64 @ %9, %8\n write z = %10\n", "write z = %2\n"},
    {"algebra", "%8 = const f64 8\n %9 = div f64 @ %2, %8\n write z = %9\n", "%8 = const f64 0.125\n %9 = mul f64 @ %2, %8\n write z = %9\n"},
    {"algebra", "%8 = const f64 -0x1p1022\n %9 = div f64 @ %2, %8\n write z = %9\n", "%8 = const f64 -0x1p-1022\n %9 = mul f64 @ %2, %8\n write z = %9\n"},
    {"algebra", "%8 = const f64 0x1p1023\n %9 = div f64 @ %2, %8\n write z = %9\n", "%8 = const f64 0x1p1023\n %9 = div f64 @ %2, %8\n write z = %9\n"},   /* 2^-1023 is subnormal */
    {"algebra", "%8 = const f64 3\n %9 = div f64 @ %2, %8\n write z = %9\n", "%8 = const f64 3\n %9 = div f64 @ %2, %8\n write z = %9\n"},
    {"algebra", "%8 = neg f32 @ %1\n %9 = neg f32 @ %8\n %10 = abs f32 @ %9\n %11 = abs f32 @ %10\n write y = %11\n", "%8 = abs f32 @ %1\n write y = %8\n"},
    {"algebra", "%8 = cast f64 @ %1\n %9 = cast f32 @ %8\n write y = %9\n", "write y = %1\n"},
    {"algebra", "%8 = cast f32 @ %2\n %9 = cast f64 @ %8\n write z = %9\n", "%8 = cast f32 @ %2\n %9 = cast f64 @ %8\n write z = %9\n"},
    {"algebra", "%8 = lt bool @ %5, %2\n %9 = select f64 @ %8, %2, %2\n write z = %9\n", "write z = %2\n"},
    {"algebra", "%8 = const bool true\n %9 = lt bool @ %2, %5\n %10 = and bool @ %9, %8\n %11 = not bool @ %10\n %12 = not bool @ %11\n write t = %12\n",
                "%8 = lt bool @ %2, %5\n write t = %8\n"},
    {"algebra", "%8 = lt bool @ %2, %5\n %9 = select f64 @ %8, %2, %5\n %10 = select f64 @ %8, %9, %2\n write z = %10\n", "%8 = lt bool @ %2, %5\n %9 = select f64 @ %8, %2, %2\n write z = %2\n"},
  };
  expect(cases, sizeof cases / sizeof *cases);
}

static void narrow_changes_what_fits(void) {
  static const Case cases[] = {
    {"narrow", "%8 = const i64 3\n %9 = add i64 @ %3, %8\n %10 = mul i64 @ %9, %3\n write j = %10\n",
               "%8 = cast i32 @ %3\n %9 = const i32 3\n %10 = add i32 @ %8, %9\n %11 = mul i32 @ %10, %8\n %12 = cast i64 @ %11\n write j = %12\n"},
    {"narrow", "%8 = const i64 1\n %9 = add i64 @ %4, %8\n write j = %9\n", "%8 = const i64 1\n %9 = add i64 @ %4, %8\n write j = %9\n"},        /* may need 33 bits */
    {"narrow", "%8 = const i64 1\n %9 = add i64 %7, %8\n write j = %9\n", "%8 = const i64 1\n %9 = add i64 %7, %8\n write j = %9\n"},
    {"narrow", "%8 = lt bool @ %3, %4\n write t = %8\n", "%8 = cast i32 @ %3\n %9 = cast i32 @ %4\n %10 = lt bool @ %8, %9\n write t = %10\n"},
  };
  expect(cases, sizeof cases / sizeof *cases);
}

#define ROWS "%8 = size i64 p axis=-3\n %9 = idiv i64 %0, %8\n %10 = index i64 [%9] axis=0\n %11 = mul i64 [%9] %10, %8\n %12 = read f32 [%9] p %11\n " \
             "%13 = index i64 @ axis=0\n %14 = idiv i64 @ %13, %8\n "
#define PARTS "%8 = index i64 [%7] axis=0\n %9 = cast f32 [%7] %8\n %10 = index i64 @ axis=0\n %11 = idiv i64 @ %10, %7\n %12 = map f32 @ %9, %11\n %13 = sqrt f32 @ %12\n write y = %13\n"
static void shrink_computes_once_a_row(void) {
  static const Case cases[] = {
    {"shrink", ROWS "%15 = map f32 @ %12, %14\n %16 = sqrt f32 @ %15\n %17 = mul f32 @ %16, %1\n write y = %17\n",
               ROWS "%15 = sqrt f32 [%9] %12\n %16 = map f32 @ %15, %14\n %17 = mul f32 @ %16, %1\n write y = %17\n"},
    {"shrink", PARTS, PARTS},              /* n of whatever length are no rows: some positions may be outside, where a map is 0 */
  };
  expect(cases, sizeof cases / sizeof *cases);
}

static void dce_leaves_what_is_needed(void) {
  Arena *a = arena_new(NULL, 0);
  const Graph *g = run_pass("dce", parse(a, diag_new(a, 0), "%8 = mul f32 @ %1, %1\n %9 = sqrt f32 @ %8\n write y = %8\n"));
  CU_ASSERT_EQUAL(g->n_nodes, 3);
  arena_free(a);
}

static void short_scans_of_constants_are_run(void) {
  Arena *a = arena_new(NULL, 0);
  FunctionGraph f = function_graph_new(a, (Type[]){TYPE_F64, TYPE_F64, TYPE_F64}, TYPE_F64);
  const Node *n = graph_op2(f.graph, OP_ADD, graph_i64(f.graph, 3), graph_i64(f.graph, 4));
  graph_write(f.graph, FUNCTION_ARGS, graph_element(f.graph, OP_POWI, TYPE_F64, 2, (const Node *[]){graph_f64(f.graph, 1.5), n}), NULL);
  Graph *g = run_pass("fold", run_pass("expand", f.graph));
  CU_ASSERT_EQUAL_FATAL(g->writes[0].value->op, OP_CONST);
  CU_ASSERT_EQUAL(bits_to_f64((Bits)g->writes[0].value->imm, TYPE_F64), 17.0859375);
  arena_free(a);
}

/* --- the same bits -------------------------------------------------------------------------------------------------------------------------- */

static const double reals[] = {
  0.0, -0.0, 1, -1, 2, 0.5, -0.25, 3, INFINITY, -INFINITY, NAN, 0x1p-149, -0x1p-126, 0x1.fffffep127, 0x1p-1074, 0x1p-1022, 0x1.fffffffffffffp1023,
  1 + 0x1p-23, 1 + 0x1p-24, 1 + 0x3p-24, 0x1p31, -0x1p63, 2.5, -3.5,
};
static const int64_t wholes[] = {0, 1, -1, 2, 3, 7, 31, 32, 63, 64, -2, 255, 65535, INT32_MAX, INT32_MIN};
#define COUNT(x) (sizeof(x) / sizeof *(x))

static Bits some_bits(uint64_t *s, Type t) {
  if (type_kind(t) == KIND_FLOAT) return bits_from_f64(reals[next_random(s) % COUNT(reals)], t);
  return t == TYPE_BOOL ? next_random(s) & 1 : (Bits)wholes[next_random(s) % COUNT(wholes)] & (t == TYPE_I32 ? UINT32_MAX : UINT64_MAX);
}

enum { POOL = 40, ELEMENTS = 96 };
typedef struct Pool { const Node *node[POOL]; unsigned n; } Pool;

static const Node *some_node(Graph *g, const Pool *p, Type t, uint64_t *s) {
  if (next_random(s) % 3)
    for (unsigned tries = 0; tries < 20; tries++) {
      const Node *n = p->node[next_random(s) % p->n];
      if (n->type == t) return n;
    }
  return graph_const(g, t, some_bits(s, t));
}

static const Type arithmetic[] = {TYPE_BOOL, TYPE_I32, TYPE_I64, TYPE_F32, TYPE_F64};
static Type some_type(uint64_t *s) { return arithmetic[next_random(s) % COUNT(arithmetic)]; }

/* A random element operation. Bits of a NaN are never seen: they are no part of the meaning. */
static const Node *some_element(Graph *g, const Pool *p, uint64_t *s) {
  for (;;) {
    Element e = (Element)(next_random(s) % ELEMENT_COUNT);
    Type t = some_type(s), types[3], result = t;
    for (unsigned i = 0; i < 3; i++) types[i] = t;
    switch (element_rule(e)) {
      case RULE_COMPARE: result = TYPE_BOOL; break;
      case RULE_SELECT: types[0] = TYPE_BOOL; break;
      case RULE_CAST: case RULE_BITS: types[0] = some_type(s); break;
      case RULE_DECODE: types[0] = TYPE_I32; break;
      case RULE_ENCODE: types[0] = TYPE_F32; break;
      default: break;
    }
    if (!element_types_ok(e, result, types)) continue;
    const Node *args[3];
    for (unsigned i = 0; i < element_arity(e); i++) args[i] = some_node(g, p, types[i], s);
    if (element_rule(e) == RULE_BITS && type_kind(types[0]) == KIND_FLOAT)
      args[0] = graph_select(g, graph_op2(g, OP_EQ, args[0], args[0]), args[0], graph_const(g, types[0], 0));
    return graph_element(g, (Op)e, result, element_arity(e), args);
  }
}

static Graph *random_graph(Arena *a, uint64_t seed, Type *out) {
  uint64_t s = seed * 77777;
  Type result = some_type(&s);
  if (result == TYPE_I32) result = TYPE_I64;
  FunctionGraph f = function_graph_new(a, (Type[]){TYPE_F32, TYPE_I32, TYPE_F64}, result);
  Graph *g = f.graph;
  Pool p = {.n = FUNCTION_ARGS};
  memcpy(p.node, f.arg, sizeof f.arg);
  while (p.n < POOL) {
    const Node *n = some_element(g, &p, &s);
    p.node[p.n++] = n;
  }
  const Node *value = f.arg[0];                            /* a choice among many, so that much of the pool matters */
  value = graph_cast(g, result, p.node[POOL - 1]);
  for (unsigned i = FUNCTION_ARGS; i + 1 < POOL; i++) {
    const Node *n = graph_cast(g, result, p.node[i]), *condition = graph_op2(g, OP_EQ, f.arg[1], graph_i64(g, wholes[i % COUNT(wholes)]));
    if (i % 2) value = graph_select(g, condition, n, value);
  }
  graph_write(g, FUNCTION_ARGS, value, NULL);
  *out = result;
  return g;
}

static void run_all(const Graph *g, Type type, Bits *out) {
  float a[ELEMENTS];
  int32_t b[ELEMENTS];
  double c[ELEMENTS];
  uint64_t raw[ELEMENTS] = {0}, s = 11;
  for (unsigned i = 0; i < ELEMENTS; i++) {
    a[i] = (float)reals[next_random(&s) % COUNT(reals)];
    b[i] = (int32_t)wholes[i % COUNT(wholes)];
    c[i] = reals[next_random(&s) % COUNT(reals)];
  }
  uint64_t hyper[3] = {0};
  Arena *scratch = arena_new(NULL, 0);
  function_graph_run(g, (const void *[]){a, b, c}, raw, ELEMENTS, hyper, scratch);
  arena_free(scratch);
  for (unsigned i = 0; i < ELEMENTS; i++) {
    Bits x = 0;
    memcpy(&x, (char *)raw + i * type_bytes(type), type_bytes(type));
    out[i] = bits_canonical(x, type);
  }
}

static const char *const graph_passes[] = {"canon", "fold", "algebra", "narrow", "dce"};

static void every_pass_keeps_every_bit_of_random_graphs(void) {
  for (uint64_t seed = 1; seed <= 1500; seed++) {
    Arena *a = arena_new(NULL, 0);
    Type type;
    Graph *g = random_graph(a, seed, &type), *all = g;
    Bits want[ELEMENTS], got[ELEMENTS];
    run_all(g, type, want);
    for (unsigned k = 0; k < 2 * COUNT(graph_passes); k++) {               /* each alone, then one after the other */
      bool alone = k < COUNT(graph_passes);
      const char *pass = graph_passes[k % COUNT(graph_passes)];
      Graph *after = run_pass(pass, alone ? g : all);
      if (!alone) all = after;
      run_all(after, type, got);
      if (memcmp(want, got, sizeof want)) {
        printf("\nseed %llu after %s%s\n", (unsigned long long)seed, pass, alone ? "" : " and those before it");
        CU_FAIL("other bits");
        break;
      }
    }
    arena_free(a);
  }
}

static void canon_is_idempotent(void) {
  for (uint64_t seed = 1; seed <= 300; seed++) {
    Arena *a = arena_new(NULL, 0);
    Type type;
    Graph *once = compact(run_pass("canon", random_graph(a, seed, &type)));
    CU_ASSERT_STRING_EQUAL(text_of(compact(run_pass("canon", once))), text_of(once));
    arena_free(a);
  }
}

static void every_pass_keeps_every_bit_of_the_samples(void) {
  static const int64_t counts[] = {130, 0, 17};
  for (unsigned k = 0; k < SAMPLE_COUNT; k++) {
    Arena *a = arena_new(NULL, 0);
    Diag *d = diag_new(a, 0);
    Module *m = sample_module(a, d, (Sample)k);
    Graph *plain = expand_graph(m->graphs[0]);
    for (unsigned variant = 0; variant < 4; variant++) {
      World *start = world_new(m, a, variant + 1, 3, counts), *want = world_copy(start);
      world_run_graph(want, plain);
      Graph *g = plain;
      for (unsigned i = 0; i < COUNT(graph_passes); i++) {
        World *w = world_copy(start);
        g = run_pass(graph_passes[i], g);
        world_run_graph(w, g);
        const char *difference = world_difference(want, w);
        if (difference) { printf("\n%s after %s: %s\n", sample_names[k], graph_passes[i], difference); CU_FAIL("other bits"); }
      }
    }
    arena_free(a);
  }
}

static void run_everything(Arena *a, void *self) {
  Type type;
  Graph *g = random_graph(a, 5, &type);
  for (unsigned i = 0; i < COUNT(graph_passes); i++) g = run_pass(graph_passes[i], g);
}

static void every_failing_allocation_is_survived(void) { CU_ASSERT(failing_allocator_try_all(run_everything, NULL, 100000) > 1); }

int main(void) {
  static const SuiteTest tests[] = {
    TEST(views_read_one_matrix), TEST(views_read_an_item_where_a_product_has_it), TEST(canon_has_one_spelling),
    TEST(fold_evaluates_constants),
    TEST(algebra_knows_exact_identities_only),
    TEST(narrow_changes_what_fits),
    TEST(shrink_computes_once_a_row),
    TEST(dce_leaves_what_is_needed),
    TEST(short_scans_of_constants_are_run),
    TEST(every_pass_keeps_every_bit_of_random_graphs),
    TEST(canon_is_idempotent),
    TEST(every_pass_keeps_every_bit_of_the_samples),
    TEST(every_failing_allocation_is_survived),
  };
  return suite_run("graph passes", tests);
}
