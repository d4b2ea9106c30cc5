/* ir_graph_test.c: the graph form: equal expressions are one node, text reads back to itself, the verifier finds what is wrong,
 * and the interpreter follows the orders of the language. Run from the root of the repository. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ir/interpret.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/fixture.h"
#include "tests/support/sample.h"
#include "tests/support/orders.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

static Arena *arena;
static Diag *diag;
static int set_up(void) {
  arena = arena_new(NULL, 0);
  if (arena) diag = diag_new(arena, 0);
  return !arena;
}
static int tear_down(void) { arena_free(arena); return 0; }
#define GUARD() if (setjmp(*arena_guard(arena))) { CU_FAIL("out of memory"); return; }

static Source text_source(Arena *a, const char *text) { (void)a; return (Source){"test.graph", text, strlen(text)}; }

static Module *parse(const char *text) {
  Source *s = arena_alloc(arena, sizeof *s);
  *s = text_source(arena, text);
  Module *m = module_parse(arena, diag, s);
  if (!m) {
    Text out = {.arena = arena};
    diag_render_text(diag, &out, false);
    printf("%s\n", out.data);
  }
  return m;
}

static const char *print(const Module *m) {
  Text out = {.arena = arena};
  module_print(m, &out);
  return out.data;
}

static const char *const files[] = {"adamw", "reductions", "scans", "gathers"};
static const char *read_file(const char *name) {
  const char *why;
  const Source *source = fixture_read(NULL, arena, arena_printf(arena, "tests/data/graph/%s.graph", name), &why);
  CU_ASSERT_PTR_NOT_NULL_FATAL(source);
  return source->text;
}

/* --- building ----------------------------------------------------------------------------------------------------------------- */

static Module *small_module(Arena *a) {
  Module *m = arena_alloc(a, sizeof *m);
  m->arena = a;
  m->name = "small";
  m->has_step = true;
  m->n_hypers = 1;
  m->hypers = arena_alloc(a, sizeof *m->hypers);
  m->hypers[0] = (Hyper){.name = "lr", .type = TYPE_F64};
  m->n_operands = 3;
  m->operands = arena_array(a, 3, sizeof *m->operands);
  m->operands[0] = (Operand){.name = "p", .role = ROLE_PARAM, .storage = TYPE_F32, .item_shape = true};
  m->operands[1] = (Operand){.name = "k", .role = ROLE_STATE, .scope = SCOPE_GLOBAL, .storage = TYPE_F64};
  m->operands[2] = (Operand){.name = "s", .role = ROLE_STATE, .scope = SCOPE_SCALAR, .storage = TYPE_F64};
  return m;
}

static void equal_expressions_are_one_node(void) {
  GUARD();
  Module *m = small_module(arena);
  Graph *g = graph_new(m, "step");
  const Node *a = graph_f64(g, 1.5), *b = graph_f64(g, 1.5), *c = graph_f32(g, 1.5f);
  CU_ASSERT_PTR_EQUAL(a, b);
  CU_ASSERT_PTR_NOT_EQUAL(a, c);
  CU_ASSERT_PTR_NOT_EQUAL(graph_const(g, TYPE_I64, 1), graph_const(g, TYPE_I32, 1));
  CU_ASSERT_PTR_NOT_EQUAL(graph_f64(g, 0.0), graph_f64(g, -0.0));
  CU_ASSERT_PTR_EQUAL(graph_op2(g, OP_ADD, a, graph_f64(g, 2)), graph_op2(g, OP_ADD, b, graph_f64(g, 2)));
  CU_ASSERT_PTR_NOT_EQUAL(graph_op2(g, OP_SUB, a, graph_f64(g, 2)), graph_op2(g, OP_SUB, graph_f64(g, 2), a));
  const Node *n = graph_node(g, OP_SIZE, TYPE_I64, graph_scalar_space(g), 0, -1, 0, NULL);
  CU_ASSERT_PTR_EQUAL(graph_space(g, 1, &n), graph_space(g, 1, &n));
  CU_ASSERT_PTR_EQUAL(graph_cast(g, TYPE_F64, a), a);
  unsigned before = g->n_nodes;
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < 5000; i++) graph_i64(g, i);
  CU_ASSERT(g->n_nodes <= before + 5000);
  for (unsigned i = 0; i < g->n_nodes; i++) CU_ASSERT(g->nodes[i]->id == i);
}

static void levels_come_from_operands(void) {
  GUARD();
  Graph *g = graph_new(small_module(arena), "step");
  const Space *none = graph_scalar_space(g);
  const Node *n = graph_node(g, OP_SIZE, TYPE_I64, none, 0, -1, 0, NULL), *lr = graph_node(g, OP_HYPER, TYPE_F64, none, 0, 0, 0, NULL);
  const Space *item = graph_space(g, 1, &n);
  const Node *k = graph_node(g, OP_SCALAR, TYPE_F64, none, 1, 0, 0, NULL), *s = graph_node(g, OP_SCALAR, TYPE_F64, none, 2, 0, 0, NULL);
  const Node *p = graph_node(g, OP_READ, TYPE_F32, item, 0, 0, 0, NULL);
  CU_ASSERT(graph_f64(g, 1)->level == LEVEL_CONST && graph_op1(g, OP_SQRT, graph_f64(g, 2))->level == LEVEL_CONST);
  CU_ASSERT(graph_op2(g, OP_MUL, lr, k)->level == LEVEL_GLOBAL);
  CU_ASSERT(graph_op2(g, OP_MUL, lr, s)->level == LEVEL_ITEM && n->level == LEVEL_ITEM);
  CU_ASSERT(graph_op2(g, OP_MUL, graph_cast(g, TYPE_F32, lr), p)->level == LEVEL_ELEMENT);
  CU_ASSERT(graph_node(g, OP_REDUCE, TYPE_F32, none, 1, REDUCE_SUM, 1, &p)->level == LEVEL_ITEM);
  CU_ASSERT(graph_node(g, OP_TOTAL, TYPE_F64, none, 0, REDUCE_SUM, 1, &p)->level == LEVEL_GLOBAL);
}

static const Node *twice_to_mul(Graph *to, const Node *n, void *context) {
  ++*(int *)context;
  return n->op == OP_ADD && n->args[0] == n->args[1] && n->type == TYPE_F32 ? graph_op2(to, OP_MUL, n->args[0], graph_f32(to, 2)) : n;
}

static void rewriting_replaces_everywhere_and_leaves_dead_nodes(void) {
  GUARD();
  Module *m = parse(read_file("scans"));
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  int visited = 0;
  Graph *g = graph_rewrite(m->graphs[0], twice_to_mul, &visited);
  CU_ASSERT(visited == 23 && g != m->graphs[0]);
  CU_ASSERT(graph_verify(g, diag));
  Text out = {.arena = arena};
  graph_print(g, &out);
  CU_ASSERT(strstr(out.data, "= mul f32") && !strstr(out.data, "= add f32"));
  const char *before = print(m);
  m->graphs[0] = graph_rewrite(m->graphs[0], NULL, NULL);
  CU_ASSERT_STRING_EQUAL(print(m), before);
  CU_ASSERT_PTR_NULL(module_graph(m, "init"));
  CU_ASSERT_PTR_EQUAL(module_graph(m, "step"), m->graphs[0]);
}

/* --- text ----------------------------------------------------------------------------------------------------------------------- */

static void text_reads_back_to_itself(void) {
  GUARD();
  for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
    const char *text = read_file(files[i]);
    Module *m = parse(text);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    const char *once = print(m);
    CU_ASSERT_STRING_EQUAL(once, text);
    if (strcmp(once, text)) printf("%s", once);
    CU_ASSERT(module_verify(m, diag));
  }
  for (unsigned s = 0; s < SAMPLE_COUNT; s++) {
    const char *once = print(sample_module(arena, diag, (Sample)s));
    Module *m = parse(once);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_STRING_EQUAL(print(m), once);
    CU_ASSERT(module_verify(m, diag));
  }
  CU_ASSERT(diag_errors(diag) == 0);
}

static void constants_keep_their_bits(void) {
  GUARD();
  static const Bits f64s[] = {0, 1, 0x8000000000000000, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
    0x7ff8000000000000, 0xfff8000000000123, 0x3fb999999999999a, 0x4340000000000000, 0x433fffffffffffff, 0xc059000000000000};
  static const Bits f32s[] = {0, 0x80000000, 1, 0x007fffff, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0xffc00001, 0x3dcccccd, 0x4b7fffff};
  Module *m = small_module(arena);
  Graph *g = graph_new(m, "step");
  m->graphs = &g;
  m->n_graphs = 1;
  const Node *cond = graph_bool(g, true);
  for (unsigned i = 0; i < sizeof f64s / sizeof *f64s; i++) graph_require(g, "x", cond, 1, (const Node *const[]){graph_const(g, TYPE_F64, f64s[i])}, NULL);
  for (unsigned i = 0; i < sizeof f32s / sizeof *f32s; i++) graph_require(g, "x", cond, 1, (const Node *const[]){graph_const(g, TYPE_F32, f32s[i])}, NULL);
  static const int64_t ints[] = {0, -1, INT64_MAX, INT64_MIN};
  for (unsigned i = 0; i < 4; i++) graph_require(g, "x", cond, 1, (const Node *const[]){graph_i64(g, ints[i])}, NULL);
  const Node *narrow = graph_const(g, TYPE_I32, 0xffffffff);
  graph_require(g, "x", cond, 1, &narrow, NULL);
  Module *back = parse(print(m));
  CU_ASSERT_PTR_NOT_NULL_FATAL(back);
  CU_ASSERT_EQUAL(back->graphs[0]->n_nodes, g->n_nodes);
  for (unsigned i = 0; i < g->n_nodes && i < back->graphs[0]->n_nodes; i++) CU_ASSERT_EQUAL(back->graphs[0]->nodes[i]->imm, g->nodes[i]->imm);
  Module *decimal = parse("module \"d\"\nhyper a f64 = 0.1\nhyper b f64 = -1e-3\nhyper c f64 = 123.25e4\n");
  CU_ASSERT_PTR_NOT_NULL_FATAL(decimal);
  CU_ASSERT(bits_to_f64(decimal->hypers[0].value, TYPE_F64) == 0.1 && bits_to_f64(decimal->hypers[1].value, TYPE_F64) == -1e-3 && bits_to_f64(decimal->hypers[2].value, TYPE_F64) == 1232500);
}

static void wrong_text_is_reported_where_it_stands(void) {
  GUARD();
  static const struct { const char *text, *message; unsigned at; } row[] = {
    {"", "expected 'module'", 0},
    {"module x", "expected the name of the rule", 7},
    {"module \"x\" nonsense", "expected 'hyper'", 11},
    {"module \"x\" hyper a f65", "expected a type", 19},
    {"module \"x\" hyper a f64 = zero", "'zero' is no value of type f64", 25},
    {"module \"x\" operand p parm", "expected a role", 21},
    {"module \"x\" operand p param tensor f32 [q]", "'q' is no extent", 39},
    {"module \"x\" operand p param tensor f32 [size(q, 0)]", "unknown operand 'q'", 44},
    {"module \"x\" graph g { %0 = foo f32 }", "unknown operation 'foo'", 26},
    {"module \"x\" graph g { %0 = neg f32 %0 }", "%0 has not been computed before this line", 34},
    {"module \"x\" graph g { %1 = const i64 1\n%1 = const i64 2 }", "numbers of nodes must increase", 38},
    {"module \"x\" graph g { %0 = const i64 99999999999999999999 }", "'99999999999999999999' is no value of type i64", 36},
    {"module \"x\" graph g { %0 = const i64 1\nwrite p = %0 }", "unknown operand 'p'", 44},
    {"module \"x\" graph g { %0 = scan bool depth=0 }", "expected '{'", 44},
    {"module \"x\" graph g { %0 = index i64 depth=0 }", "'depth' is no attribute of this operation", 36},
    {"module \"x\" graph g { %0 = const i64 1", "expected a node", 37},
    {"module \"x\" graph g { require \"never closed", "this string is never closed", 29},
    {"module \"x\" graph g { } graph g { }", "a second graph 'g'", 29},
  };
  for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
    Diag *d = diag_new(arena, 0);
    Source s = text_source(arena, row[i].text);
    CU_ASSERT_PTR_NULL(module_parse(arena, d, &s));
    CU_ASSERT_FATAL(diag_errors(d) == 1);
    const DiagMessage *e = diag_get(d, 0);
    bool right = strstr(e->text, row[i].message) && e->where.begin == row[i].at;
    CU_ASSERT(right);
    if (!right) printf("%s\n  %u: %s\n", row[i].text, e->where.begin, e->text);
  }
}

typedef struct Broken { const char *text; uint64_t seed; unsigned parsed, verified; } Broken;

static void read_broken(Arena *a, Broken *b, int edits) {
  if (setjmp(*arena_guard(a))) { CU_FAIL("out of memory"); return; }
  size_t length = strlen(b->text), n = length;
  char *copy = arena_alloc(a, length + 64);
  memcpy(copy, b->text, length);
  for (int edit = 0; edit < edits; edit++) {
    uint32_t seed = (uint32_t)next_random(&b->seed);
    size_t at = (seed >> 8) % n;
    switch (seed >> 5 & 3) {
      case 0: memmove(copy + at, copy + at + 1, n - at - 1); n--; break;
      case 1: copy[at] = b->text[(seed >> 3) % length]; break;
      case 2: copy[at] = "0123456789%-=[]{},@\"\\#:.x\0"[(seed >> 4) % 26]; break;
      default: if (n > 40 && at < n - 20) { memmove(copy + at, copy + at + 10, n - at - 10); n -= 10; } break;
    }
  }
  Source s = {"broken", copy, n};
  Diag *d = diag_new(a, 0);
  Module *m = module_parse(a, d, &s);
  CU_ASSERT(m || diag_errors(d));
  if (!m) return;
  b->parsed++;
  b->verified += module_verify(m, d);
  Text once = {.arena = a}, again = {.arena = a};
  module_print(m, &once);
  Source back = {"printed", once.data, once.length};
  Module *second = module_parse(a, d, &back);
  CU_ASSERT_PTR_NOT_NULL(second);
  if (second) module_print(second, &again);
  bool same = second && !strcmp(again.data, once.data);
  CU_ASSERT(same);
  if (!same) printf("%s", once.data);
}

/* Texts with bytes lost or changed: parsed or refused; what parses can be checked and printed, and prints to what parses to the same. */
static void broken_text_never_crashes(void) {
  GUARD();
  Broken b = {.seed = 7};
  for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
    b.text = read_file(files[i]);
    for (int round = 0; round < 1500; round++) {
      Arena *a = arena_new(NULL, 0);
      CU_ASSERT_PTR_NOT_NULL_FATAL(a);
      read_broken(a, &b, 1 + round % 3);
      arena_free(a);
    }
  }
  CU_ASSERT(b.parsed > 300 && b.verified > 30 && b.verified < b.parsed);
}

/* --- verifier ---------------------------------------------------------------------------------------------------------------------- */

static void ill_formed_graphs_are_refused(void) {
  GUARD();
#define HEAD "module \"x\" hyper lr f64\noperand p param tensor f32 item\noperand g grad tensor f32 item\noperand s state scalar f64\noperand k state global f64\n" \
             "operand t in tensor f32 [3, 4]\noperand e grad tensor f32 item entry other\ngraph step {\n%0 = size i64 p axis=count\n%1 = read f32 [%0] p\n%2 = hyper f64 lr\n"
  static const struct { const char *lines, *message; } row[] = {
    {"%3 = add f32 [%0] %1, %2", "does not give f32 of f32, f64"},
    {"%3 = add f32 %1, %1", "argument 0 has another space"},
    {"%3 = add f32 [%0] %1", "takes 2 arguments, has 1"},
    {"%3 = fma f64 %2, %2, %2", "does not give f64"},
    {"%3 = hyper i64 lr", "hyper-parameter 'lr' is f64"},
    {"%3 = hyper f64 @7", "there is no hyper-parameter 7"},
    {"%3 = step i64", "no step counter"},
    {"%3 = read f32 [%0] s", "'s' is a number"},
    {"%3 = read f64 [%0] p", "is read as f32"},
    {"%3 = read f32 [%0] e", "belongs to entry 'other'"},
    {"%3 = read f32 [%0] @99", "there is no operand 99"},
    {"%3 = read f32 p", "has the operand's own space"},
    {"%3 = read f32 [%0] t %0", "takes 2 indices"},
    {"%3 = read f32 [%0] p guarded %2", "the guard is no bool"},
    {"%3 = index i64 [%0] axis=1", "an axis of its own space"},
    {"%3 = neg f32 [%2] %1", "is no i64 of rank 0"},
    {"%3 = neg f64 [%0, %0, %0, %0, %0, %0, %0, %0, %0] %2", "has 9 axes, more than 8"},
    {"%3 = const bf16 1", "arithmetic type"},
    {"%3 = reduce f32 axes=2 kind=sum order=lanes %1", "without 2 trailing axes"},
    {"%3 = reduce f64 axes=1 kind=sum order=lanes %1", "takes and gives one type of number"},
    {"%3 = reduce f32 axes=1 kind=sum order=blocks %1", "no such order"},
    {"%3 = reduce f32 axes=1 kind=9 order=lanes %1", "unknown kind"},
    {"%3 = map f32 [%0] %1", "one index an axis"},
    {"%3 = map f32 [%0] %1, %2", "is no index"},
    {"%3 = contract f32 axes=1 %1, %2", "factor 1 has another type"},
    {"%3 = result f64 which=0 %2", "takes a scan"},
    {"%3 = scan bool depth=0 %0, %2 {}", "1 values are carried, the region has 0"},
    {"%3 = scan bool depth=0 %0, %2 {%0}", "differs in type or space"},
    {"%3 = carry f64 which=1 depth=0 level=item\n%4 = add f64 %3, %2\n%5 = scan bool depth=0 %0, %2 {%4}", "no carried value 1"},
    {"%3 = carry f64 which=0 depth=0 level=const\n%4 = add f64 %3, %2\n%5 = scan bool depth=0 %0, %2 {%4}", "higher level"},
    {"%3 = carry f64 which=0 depth=0 level=item\nwrite s = %3", "carried by a scan around it"},
    {"%3 = carry f64 which=0 depth=0 level=item\n%4 = scan bool depth=0 %0, %3 {%3}\n%5 = result f64 which=0 %4\n%6 = scan bool depth=0 %0, %2 {%5}", "is not deeper"},
    {"write g = %1", "'g' is not written"},
    {"write p = %2", "has type f64"},
    {"write s = %2\nwrite s = %2", "is written twice"},
    {"%3 = cast f64 %0\nwrite k = %3", "no number at its level"},
    {"write s = %2 when %2", "no bool of rank 0"},
    {"exists p", "is no state"},
    {"require \"x\" %2", "no bool of rank 0"},
  };
  for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
    Diag *d = diag_new(arena, 0);
    Source *s = arena_alloc(arena, sizeof *s);
    *s = text_source(arena, arena_printf(arena, "%s%s\n}\n", HEAD, row[i].lines));
    Module *m = module_parse(arena, d, s);
    CU_ASSERT_PTR_NOT_NULL(m);
    if (!m) { printf("%s: %s\n", row[i].lines, diag_get(d, 0)->text); continue; }
    CU_ASSERT(!module_verify(m, d));
    bool found = false;
    for (size_t k = 0; k < diag_count(d); k++) found |= strstr(diag_get(d, k)->text, row[i].message) != NULL;
    CU_ASSERT(found);
    if (!found) printf("%s: %s\n", row[i].lines, diag_count(d) ? diag_get(d, 0)->text : "no message");
  }
  Module *good = parse(HEAD "write s = %2\n}\n");
  CU_ASSERT_FATAL(good && module_verify(good, diag));
  CU_ASSERT(!strcmp(print(good), print(good)));
  Text many = {.arena = arena};
  for (unsigned k = 0; k < 65; k++) text_add(&many, "%shyper h%u f64", k ? "\n" : "", k);
  const char *const bad[] = {many.data, "operand p in tensor f32 [1, 1, 1, 1, 1, 1, 1, 1, 1]", "hyper a f32", "operand p param tensor f32", "operand p param scalar f32 [3]", "operand p param tensor f32 [const:f64(1)]", "operand p param global f32 item"};
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
    Module *m = parse(arena_printf(arena, "module \"x\" %s\n", bad[i]));
    CU_ASSERT(m && !module_verify(m, diag_new(arena, 0)));
  }
}

/* A node of another graph, a level that does not follow, and a node that is its own operand. */
static void foreign_and_circular_nodes_are_refused(void) {
  GUARD();
  Module *m = small_module(arena);
  Graph *g = graph_new(m, "step"), *other = graph_new(m, "other");
  graph_op1(g, OP_SQRT, graph_f64(other, 2));
  CU_ASSERT(!graph_verify(g, diag_new(arena, 0)));
  Graph *h = graph_new(m, "step");
  graph_write(h, 2, graph_f64(other, 2), NULL);
  CU_ASSERT(!graph_verify(h, diag_new(arena, 0)));
  Graph *k = graph_new(m, "step");
  const Node *root = graph_op1(k, OP_SQRT, graph_f64(k, 2));
  CU_ASSERT(graph_verify(k, diag_new(arena, 0)));
  ((Node *)(uintptr_t)root)->level = LEVEL_ITEM;
  CU_ASSERT(!graph_verify(k, diag_new(arena, 0)));
  ((Node *)(uintptr_t)root)->level = LEVEL_CONST;
  ((const Node **)(uintptr_t)root->args)[0] = root;                              /* a circle */
  CU_ASSERT(!graph_verify(k, diag_new(arena, 0)));
}

/* --- interpreter --------------------------------------------------------------------------------------------------------------------- */

typedef struct Call { Module *m; const Layout *layout; optc_frame frame; char item[512], global[256]; uint64_t hyper[8]; void *data[16]; int64_t shape[8]; uint8_t exists[16]; } Call;

static Call *call_new(const char *text, int64_t count) {
  Call *c = arena_alloc(arena, sizeof *c);
  c->m = parse(text);
  CU_ASSERT_PTR_NOT_NULL_FATAL(c->m);
  CU_ASSERT_FATAL(module_verify(c->m, diag));
  c->layout = layout_of(c->m);
  c->shape[0] = count;
  c->frame = (optc_frame){.hyper = c->hyper, .global = c->global, .item = c->item, .data = c->data, .count = count, .total = count, .end = count, .shape = c->shape, .rank = 1, .exists = c->exists};
  return c;
}
static void call(Call *c, Launch launch) {
  Arena *scratch = arena_new(NULL, 0);
  if (!scratch || setjmp(*arena_guard(scratch))) CU_FAIL("out of memory")
  else graph_interpret(c->m->graphs[0], launch, &c->frame, scratch);
  arena_free(scratch);
}
static double item_number(const Call *c, unsigned k) { double x; memcpy(&x, c->item + c->layout->operand[k], 8); return x; }
static int64_t item_integer(const Call *c, unsigned k) { int64_t x; memcpy(&x, c->item + c->layout->operand[k], 8); return x; }

static void reductions_follow_the_language(void) {
  GUARD();
  static const char text[] =
    "module \"r\"\noperand p param tensor f32 item\noperand q in tensor f32 item\noperand lanes out scalar f64\noperand seq out scalar f64\noperand dot out scalar f64\n"
    "operand most out scalar f64\noperand where out scalar i64\noperand squares out scalar f64\noperand any out scalar bool\ngraph forward {\n%0 = size i64 p axis=count\n"
    "%1 = read f32 [%0] p\n%2 = read f32 [%0] q\n%3 = reduce f32 axes=1 kind=sum order=lanes %1\n%4 = cast f64 %3\n%5 = reduce f32 axes=1 kind=sum order=seq %1\n%6 = cast f64 %5\n"
    "%7 = contract f32 axes=1 %1, %2\n%8 = cast f64 %7\n%9 = reduce f32 axes=1 kind=max order=lanes %1\n%10 = cast f64 %9\n%11 = reduce i64 axes=1 kind=argmin order=lanes %1\n"
    "%12 = mul f32 [%0] %1, %1\n%13 = reduce f32 axes=1 kind=sum order=lanes %12\n%14 = cast f64 %13\n%15 = gt bool [%0] %1, %2\n%16 = reduce bool axes=1 kind=any order=lanes %15\n"
    "write lanes = %4\nwrite seq = %6\nwrite dot = %8\nwrite most = %10\nwrite where = %11\nwrite squares = %14\nwrite any = %16\n}\n";
  static const int64_t sizes[] = {0, 1, 15, 1023, 1024, 1025, 3 * 1024 + 5, 65537, 7 * 65536 + 3};
  for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    int64_t n = sizes[k], where = -1;
    Call *c = call_new(text, n);
    float *x = arena_array(arena, (size_t)n + 1, 4), *y = arena_array(arena, (size_t)n + 1, 4), *square = arena_array(arena, (size_t)n + 1, 4), seq = 0, most = -INFINITY;
    uint64_t state = 5;
    bool any = false;
    for (int64_t i = 0; i < n; i++) {
      uint32_t seed = (uint32_t)next_random(&state);
      x[i] = ((float)(seed >> 8) - 0x1p23f) * 0x1p-20f;
      y[i] = (float)(seed % 1000) * 0.37f;
      square[i] = x[i] * x[i];
      seq += x[i];
      if (x[i] > most) most = x[i];
      if (where < 0 || x[i] < x[where]) where = i;
      any |= x[i] > y[i];
    }
    c->data[0] = x;
    c->data[1] = y;
    call(c, LAUNCH_ITEM);
    CU_ASSERT_EQUAL(item_number(c, 2), (double)plain_lanes(x, n));
    CU_ASSERT_EQUAL(item_number(c, 3), (double)seq);
    CU_ASSERT_EQUAL(item_number(c, 4), (double)plain_contract(x, y, n));
    CU_ASSERT_EQUAL(item_number(c, 5), (double)most);
    CU_ASSERT_EQUAL(item_integer(c, 6), where);
    CU_ASSERT_EQUAL(item_number(c, 7), (double)plain_lanes(square, n));
    CU_ASSERT_EQUAL(item_integer(c, 8), any);
  }
}

static void rows_are_reduced_apart(void) {
  GUARD();
  enum { R = 7, C = 1500 };
  Call *c = call_new("module \"r\"\noperand x in tensor f32 [7, 1500]\noperand y out tensor f32 [7]\ngraph forward {\n%0 = const i64 7\n%1 = const i64 1500\n%2 = read f32 [%0, %1] x\n"
                     "%3 = reduce f32 [%0] axes=1 kind=sum order=lanes %2\nwrite y = %3\n}\n", 0);
  float *x = arena_array(arena, R * C, 4), y[R];
  for (int i = 0; i < R * C; i++) x[i] = (float)(i % 97) * 0.173f - 3;
  c->data[0] = x;
  c->data[1] = y;
  call(c, LAUNCH_ITEM);
  for (int r = 0; r < R; r++) CU_ASSERT_EQUAL(y[r], plain_lanes(x + r * C, C));
}

static void extremes_see_nan_and_signed_zero(void) {
  GUARD();
  static const char text[] = "module \"r\"\noperand x param tensor f32 item\noperand a out scalar f64\noperand b out scalar f64\noperand i out scalar i64\ngraph forward {\n%0 = size i64 x axis=count\n"
    "%1 = read f32 [%0] x\n%2 = reduce f32 axes=1 kind=max order=lanes %1\n%3 = cast f64 %2\n%4 = reduce f32 axes=1 kind=min order=seq %1\n%5 = cast f64 %4\n"
    "%6 = reduce i64 axes=1 kind=argmax order=lanes %1\nwrite a = %3\nwrite b = %5\nwrite i = %6\n}\n";
  float x[] = {-0.0f, 0, -0.0f, -1, NAN, 7};
  Call *c = call_new(text, 3);
  c->data[0] = x;
  call(c, LAUNCH_ITEM);
  CU_ASSERT(item_number(c, 1) == 0 && !signbit(item_number(c, 1)) && signbit(item_number(c, 2)) && item_integer(c, 3) == 0);
  c = call_new(text, 6);
  c->data[0] = x;
  call(c, LAUNCH_ITEM);
  CU_ASSERT(isnan(item_number(c, 1)) && isnan(item_number(c, 2)) && item_integer(c, 3) == 4);
}

static void scans_carry_numbers_and_tensors(void) {
  GUARD();
  Call *c = call_new(read_file("scans"), 3000);
  float *p = arena_array(arena, 3000, 4);
  for (int i = 0; i < 3000; i++) p[i] = (float)i + 0.25f;
  c->data[0] = p;
  c->hyper[0] = 5;
  call(c, LAUNCH_ITEM);
  CU_ASSERT_EQUAL(item_number(c, 1), 120);
  CU_ASSERT_EQUAL(item_integer(c, 2), 30);                                       /* 4*4 + 3*3 + 2*2 + 1*1 */
  for (int i = 0; i < 3000; i++) CU_ASSERT_FATAL(p[i] == ((float)i + 0.25f) * 32);
  c->hyper[0] = (uint64_t)-2;
  call(c, LAUNCH_ITEM);
  CU_ASSERT(item_number(c, 1) == 1 && item_integer(c, 2) == 0 && p[1] == 40);
}

static void scans_run_in_their_direction(void) {
  GUARD();
  for (int reverse = 0; reverse < 2; reverse++) {
    Call *c = call_new(arena_printf(arena, "module \"r\"\noperand y out scalar i64\ngraph forward {\n%%0 = const i64 3\n%%1 = const i64 0\n%%2 = carry i64 which=0 depth=0 level=const\n%%3 = carry i64 which=-1 depth=0 level=const\n"
                                    "%%4 = const i64 10\n%%5 = mul i64 %%2, %%4\n%%6 = add i64 %%5, %%3\n%%7 = scan bool depth=0%s %%0, %%1 {%%6}\n%%8 = result i64 which=0 %%7\nwrite y = %%8\n}\n", reverse ? " reverse" : ""), 0);
    call(c, LAUNCH_ITEM);
    CU_ASSERT_EQUAL(item_integer(c, 0), reverse ? 210 : 12);
  }
}

static void gathers_scatters_and_orders(void) {
  GUARD();
  Call *c = call_new("module \"r\"\nhyper on bool\noperand x in tensor i8 [size(x, 0), 4]\noperand t in global i32 [6]\noperand y param tensor f32 item\noperand o out tensor i32 item\n"
                     "operand s out tensor i32 item\noperand u out tensor f32 item\ngraph forward {\n"
                     "%0 = size i64 y axis=count\n%1 = index i64 [%0] axis=0\n%2 = read i64 [%0] t %1\n%3 = const i64 1\n%4 = read i64 [%0] x %2, %3\n%5 = cast f32 [%0] %4\n%6 = hyper bool on\n"
                     "%7 = read f32 [%0] y guarded %6\n%8 = add f32 [%0] %5, %7\n%9 = read f32 [%0] y\n%10 = order i64 [%0] %9\n%11 = const i64 0\n%12 = mul i64 [%0] %1, %11\n"
                     "%13 = scatter i64 [%0] %12, %1, %10\n%14 = cumulate f32 [%0] kind=sum %9\nwrite y = %8\nwrite o = %10\nwrite s = %13\nwrite u = %14\n}\n", 8);
  int8_t x[12] = {1, 2, 3, 4, 5, -6, 7, 8, 9, 10, 11, 12};
  int32_t t[6] = {2, -1, 1, 3, 0, 1 << 30}, o[8], s[8];
  float y[8] = {3, NAN, 3, 5, -1, 0, -0.0f, 8}, u[8], sum = 0;
  void *table = t;
  static const int64_t x_shape[2] = {3, 4}, ranks[6] = {2, 1};                  /* x names its first size itself */
  static const int64_t *const shapes[6] = {x_shape};
  c->frame.shapes = shapes;
  c->frame.ranks = ranks;
  memcpy(c->global + c->layout->operand[1], &table, sizeof table);
  c->data[0] = x; c->data[2] = y; c->data[3] = o; c->data[4] = s; c->data[5] = u;
  call(c, LAUNCH_ITEM);
  static const float gathered[8] = {10, 0, -6, 0, 2, 0, 2, 2};
  static const int32_t order[8] = {3, 0, 4, 2, 7, 5, 6, 1}, sorted[8] = {1, 7, 3, 0, 2, 5, 6, 4};
  for (int i = 0; i < 8; i++) CU_ASSERT(y[i] == gathered[i] && o[i] == order[i] && s[i] == sorted[i]);
  for (int i = 0; i < 1; i++) { sum += 3; CU_ASSERT(u[i] == sum); }
  CU_ASSERT(isnan(u[1]) && isnan(u[7]));
  c->hyper[0] = 1;
  call(c, LAUNCH_ITEM);
  for (int i = 0; i < 8; i++) CU_ASSERT(y[i] == 2 * gathered[i]);
}

static void later_writes_win_and_additions_come_in_order(void) {
  GUARD();
  Call *c = call_new("module \"r\"\noperand y param tensor f32 item\noperand z out tensor f32 item\ngraph forward {\n%0 = size i64 y axis=count\n%1 = index i64 [%0] axis=0\n%2 = const i64 3\n"
                     "%3 = imod i64 [%0] %1, %2\n%4 = read f32 [%0] y\n%5 = scatter f32 [%0] %4, %4, %3\n%6 = scatter f32 [%0] add %4, %4, %3\nwrite y = %5\nwrite z = %6\n}\n", 7);
  float y[7] = {1, 2, 3, 1e8f, -5, 6, 7}, z[7];
  c->data[0] = y; c->data[1] = z;
  call(c, LAUNCH_ITEM);
  static const float set[7] = {7, -5, 6, 1e8f, -5, 6, 7};
  CU_ASSERT(!memcmp(y, set, sizeof y));
  float zero = 1;
  zero += 1; zero += 1e8f; zero += 7;
  CU_ASSERT(z[0] == zero && z[1] == -1 && z[2] == 12 && z[3] == 1e8f);
}

/* All values are computed from what stood in memory at entry. */
static void writes_happen_at_the_exit(void) {
  GUARD();
  Call *c = call_new("module \"r\"\noperand p param tensor f32 item\noperand q state tensor f32 item\noperand s state scalar f64\ngraph forward {\n%0 = size i64 p axis=count\n%1 = read f32 [%0] p\n"
                     "%2 = read f32 [%0] q\n%3 = index i64 [%0] axis=0\n%4 = const i64 1\n%5 = sub i64 [%0] %0, %3\n%6 = sub i64 [%0] %5, %4\n%7 = read f32 [%0] p %6\n%8 = scalar f64 s\n"
                     "%9 = add f64 %8, %8\n%10 = cast f32 %9\n%11 = add f32 [%0] %2, %10\nwrite s = %9\nwrite p = %11\nwrite q = %7\n}\n", 5000);
  float *p = arena_array(arena, 5000, 4), *q = arena_array(arena, 5000, 4);
  double three = 3;
  for (int i = 0; i < 5000; i++) { p[i] = (float)i; q[i] = (float)(-i); }
  memcpy(c->item + c->layout->operand[2], &three, 8);
  c->data[0] = p; c->data[1] = q;
  call(c, LAUNCH_ITEM);
  CU_ASSERT_EQUAL(item_number(c, 2), 6);
  for (int i = 0; i < 5000; i++) CU_ASSERT_FATAL(p[i] == (float)(6 - i) && q[i] == (float)(4999 - i));
}

static void storage_types_round_wrap_and_flush(void) {
  GUARD();
  Call *c = call_new("module \"r\"\noperand p param tensor f32 item flush\noperand b state tensor bf16 item\noperand h state tensor f16 item\noperand i state tensor i8 item\noperand absent out tensor f32 item\n"
                     "operand m state tensor bool item\noperand d state tensor f64 item\noperand off state tensor f32 item\ngraph step {\n%0 = size i64 p axis=count\n%1 = read f32 [%0] p\n%2 = read f32 [%0] b\n%3 = const f32 0x1.01p+0\n%4 = mul f32 [%0] %2, %3\n%5 = read i64 [%0] i\n"
                     "%6 = const i64 100\n%7 = add i64 [%0] %5, %6\n%8 = lt bool [%0] %5, %6\n%9 = read f32 [%0] h\n%10 = cast f64 [%0] %1\n%11 = const f32 5\n%12 = const bool false\nwrite p = %1\nwrite b = %4\nwrite h = %4\nwrite i = %7\nwrite absent = %1\n"
                     "write m = %8\nwrite d = %10\nwrite off = %11 when %12\n}\n", 3);
  float p[3] = {0x1p-127f, -0x1p-140f, 0x1p-126f}, off[3] = {1, 2, 3};
  uint16_t b[3] = {0x3f80, 0x4040, 0xc000}, h[3];
  int8_t i[3] = {100, -100, 27};
  uint8_t m[3];
  double d[3];
  c->data[0] = p; c->data[1] = b; c->data[2] = h; c->data[3] = i; c->data[5] = m; c->data[6] = d; c->data[7] = off;
  call(c, LAUNCH_ITEM);
  CU_ASSERT(p[0] == 0 && p[1] == 0 && !signbit(p[1]) && p[2] == 0x1p-126f);
  CU_ASSERT(b[0] == 0x3f80 && b[1] == 0x4041 && b[2] == 0xc000);                    /* 1.0039 halfway to even, 3.0117 up, -2.0078 halfway to even */
  CU_ASSERT(h[0] == 0x3c04 && h[2] == 0xc004);
  CU_ASSERT(i[0] == -56 && i[1] == 0 && i[2] == 127);
  CU_ASSERT(m[0] == 0 && m[1] == 1 && m[2] == 1);
  CU_ASSERT(d[0] == 0x1p-127 && d[1] == -0x1p-140);
  CU_ASSERT(off[0] == 1 && off[2] == 3);
}

static void philox_gives_the_published_numbers(void) {
  GUARD();
  static const struct { uint32_t in[6], out[4]; } row[] = {
    {{0, 0, 0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (unsigned r = 0; r < 3; r++)
    for (unsigned w = 0; w < 4; w++) {
      const uint32_t *x = row[r].in;
      Call *c = call_new(arena_printf(arena, "module \"r\"\noperand y out scalar i64\ngraph forward {\n%%0 = const i64 %u\n%%1 = const i64 %u\n%%2 = const i64 %u\n%%3 = const i64 %u\n%%4 = const i64 %u\n%%5 = const i64 %u\n"
                                      "%%6 = philox i64 word=%u %%0, %%1, %%2, %%3, %%4, %%5\nwrite y = %%6\n}\n", x[0], x[1], x[2], x[3], x[4], x[5], w), 0);
      call(c, LAUNCH_ITEM);
      CU_ASSERT_EQUAL(item_integer(c, 0), row[r].out[w]);
    }
}

static void launches_do_their_own_part(void) {
  GUARD();
  Call *c = call_new("module \"r\" step\nhyper lr f64\nhyper on bool\noperand p param tensor f32 item\noperand m state tensor f32 item\noperand k state global i64\noperand s state scalar f64\ngraph step advances {\n"
                     "%0 = hyper f64 lr\n%1 = const f64 0\n%2 = le bool %1, %0\n%3 = scalar i64 k\n%4 = step i64\n%5 = add i64 %3, %4\n%6 = hyper bool on\n%7 = cast f64 %4\n%8 = size i64 p axis=count\n%9 = read f32 [%8] p\n"
                     "%10 = cast f32 %0\n%11 = add f32 [%8] %9, %10\nrequire \"on\" %6\nrequire \"0 <= lr\" %2, \"lr\" %0, \"t\" %4\nexists m when %6\nwrite p = %11\nwrite k = %5\nwrite s = %7 when %6\n}\n", 2);
  float p[2] = {1, 2};
  double lr = -0.5;
  int64_t k = 40;
  c->data[0] = p;
  c->frame.t = 2;
  memcpy(&c->hyper[0], &lr, 8);
  c->hyper[1] = 1;
  memcpy(c->global + c->layout->operand[2], &k, 8);
  call(c, LAUNCH_CHECK);
  CU_ASSERT(c->frame.failed == 2 && c->frame.n_values == 2 && c->frame.value[0] == -0.5 && c->frame.value[1] == 2);
  CU_ASSERT(p[0] == 1 && c->exists[1] == 0);
  call(c, LAUNCH_FINISH);
  memcpy(&k, c->global + c->layout->operand[2], 8);
  CU_ASSERT(k == 42 && p[0] == 1 && item_number(c, 3) == 0);
  call(c, LAUNCH_ITEM);
  memcpy(&k, c->global + c->layout->operand[2], 8);
  CU_ASSERT(k == 42 && p[0] == 0.5f && p[1] == 1.5f && item_number(c, 3) == 2 && c->exists[1] == 1);
  c->hyper[1] = 0;
  c->frame.failed = 0;
  call(c, LAUNCH_CHECK);
  CU_ASSERT(c->frame.failed == 1 && c->frame.n_values == 0);
  call(c, LAUNCH_ITEM);
  CU_ASSERT(c->exists[1] == 0);
}

static void what_cannot_be_interpreted_is_named(void) {
  GUARD();
  Module *m = parse(read_file("reductions"));
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  CU_ASSERT_PTR_NOT_NULL(graph_not_interpretable(m->graphs[0], arena));
  CU_ASSERT_PTR_NULL(graph_not_interpretable(parse(read_file("gathers"))->graphs[0], arena));
}

/* --- layout and memory ----------------------------------------------------------------------------------------------------------------- */

static void structs_are_laid_out_as_the_interface_says(void) {
  GUARD();
  Module *m = parse("module \"x\" hyper a f64\nhyper b bool\noperand p param tensor f32 item\noperand s state scalar f64\noperand k state global i64\noperand g grad tensor f32 item\noperand q in global f32 [9]\noperand l out global f64\n");
  CU_ASSERT_PTR_NOT_NULL_FATAL(m);
  const Layout *l = layout_of(m);
  static const unsigned offset[] = {0, 16, 16, 24, 24, 56};
  for (unsigned i = 0; i < 6; i++) CU_ASSERT_EQUAL(l->operand[i], offset[i]);
  CU_ASSERT(l->hyper_size == 16 && l->item_group == 40 && l->item_rank == 48 && l->item_shape == 56 && l->item_first == 64 && l->item_count == 72 && l->item_size == 80 && l->global_size == 64);
}

static void all_of_it(Arena *a, void *text) {
  Source s = text_source(a, text);
  Diag *d = diag_new(a, 0);
  Module *m = module_parse(a, d, &s);
  module_verify(m, d);
  m->graphs[0] = graph_rewrite(m->graphs[0], NULL, NULL);
  Text out = {.arena = a};
  module_print(m, &out);
  static float p[3000];
  uint64_t hyper[4] = {5};
  char item[256] = {0}, global[64] = {0};
  void *data[8] = {p};
  int64_t shape[1] = {3000};
  optc_frame frame = {.hyper = hyper, .global = global, .item = item, .data = data, .count = 3000, .total = 3000, .shape = shape, .rank = 1};
  graph_interpret(m->graphs[0], LAUNCH_ITEM, &frame, a);
}

static void a_failed_allocation_ends_at_the_guard(void) {
  GUARD();
  CU_ASSERT(failing_allocator_try_all(all_of_it, (void *)(uintptr_t)read_file("scans"), 500) > 3);
}

int main(void) {
  static const SuiteTest building[] = {
    {"equal expressions are one node", equal_expressions_are_one_node},
    {"levels come from operands", levels_come_from_operands},
    {"rewriting replaces everywhere and leaves dead nodes", rewriting_replaces_everywhere_and_leaves_dead_nodes},
    {"structs are laid out as the interface says", structs_are_laid_out_as_the_interface_says},
    {"a failed allocation ends at the guard", a_failed_allocation_ends_at_the_guard},
  };
  static const SuiteTest text[] = {
    {"text reads back to itself", text_reads_back_to_itself},
    {"constants keep their bits", constants_keep_their_bits},
    {"wrong text is reported where it stands", wrong_text_is_reported_where_it_stands},
    {"broken text never crashes", broken_text_never_crashes},
  };
  static const SuiteTest verifying[] = {
    {"ill-formed graphs are refused", ill_formed_graphs_are_refused},
    {"foreign and circular nodes are refused", foreign_and_circular_nodes_are_refused},
  };
  static const SuiteTest interpreting[] = {
    {"reductions follow the language", reductions_follow_the_language},
    {"rows are reduced apart", rows_are_reduced_apart},
    {"extremes see NaN and signed zero", extremes_see_nan_and_signed_zero},
    {"scans carry numbers and tensors", scans_carry_numbers_and_tensors},
    {"scans run in their direction", scans_run_in_their_direction},
    {"gathers, scatters and orders", gathers_scatters_and_orders},
    {"later writes win and additions come in order", later_writes_win_and_additions_come_in_order},
    {"writes happen at the exit", writes_happen_at_the_exit},
    {"storage types round, wrap and flush", storage_types_round_wrap_and_flush},
    {"philox gives the published numbers", philox_gives_the_published_numbers},
    {"launches do their own part", launches_do_their_own_part},
    {"what cannot be interpreted is named", what_cannot_be_interpreted_is_named},
  };
  static const TestSuite suites[] = {
    SUITE("building", building, set_up, tear_down),
    SUITE("text", text, set_up, tear_down),
    SUITE("verifying", verifying, set_up, tear_down),
    SUITE("interpreting", interpreting, set_up, tear_down),
  };
  return suites_run(suites, sizeof suites/sizeof *suites);
}
