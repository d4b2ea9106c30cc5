/* route_gcc.c: graphs of element operations printed as C and compiled with gcc: shares nothing with the back ends. */
#include "tests/accuracy/route.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "passes/passes.h"
#include "tests/support/function_graph.h"

static Graph *graph_of(Arena *a, Op op, Type type) {
  Graph *g = function_graph(a, op, type);
  Unit unit = {.module = g->module, .arena = a, .diag = g->module->diag, .graph = g};
  PassArgs none = {0};
  pass_expand(&unit, &none);
  pass_canon(&unit, &none);
  pass_fold(&unit, &none);
  pass_algebra(&unit, &none);
  pass_narrow(&unit, &none);
  pass_fold(&unit, &none);
  pass_dce(&unit, &none);
  return unit.graph;
}

static const char *c_type(Type t) {
  switch (t) {
    case TYPE_BOOL: return "bool";
    case TYPE_I32: return "int32_t";
    case TYPE_I64: return "int64_t";
    case TYPE_F32: return "float";
    default: return "double";
  }
}

static const char *const prelude =
  "#include <math.h>\n#include <stdbool.h>\n#include <stdint.h>\n"
  "#define BITCAST(T, S, x) ((union { S s; T t; }){.s = (x)}.t)\n";

/* Text of each operation: %0 %1 %2 operands, %T result's type, %S operand's type, %U the unsigned type of its width. */
static const char *template_of(const Node *n) {
  bool real = type_kind((Type)n->args[n->n_args - 1]->type) == KIND_FLOAT, wide = n->type == TYPE_F64;
  switch ((int)n->op) {
    case OP_ADD: return real ? "%0 + %1" : "(%T)((%U)%0 + (%U)%1)";
    case OP_SUB: return real ? "%0 - %1" : "(%T)((%U)%0 - (%U)%1)";
    case OP_MUL: return real ? "%0 * %1" : "(%T)((%U)%0 * (%U)%1)";
    case OP_DIV: return "%0 / %1";
    case OP_NEG: return real ? "-%0" : "(%T)(0 - (%U)%0)";
    case OP_ABS: return wide ? "fabs(%0)" : "fabsf(%0)";
    case OP_SQRT: return wide ? "sqrt(%0)" : "sqrtf(%0)";
    case OP_FMA: return "fmaf(%0, %1, %2)";
    case OP_RINT: return wide ? "rint(%0)" : "rintf(%0)";
    case OP_FLOOR: return wide ? "floor(%0)" : "floorf(%0)";
    case OP_LT: return "%0 < %1";
    case OP_LE: return "%0 <= %1";
    case OP_GT: return "%0 > %1";
    case OP_GE: return "%0 >= %1";
    case OP_EQ: return "%0 == %1";
    case OP_NE: return "%0 != %1";
    case OP_AND: return "(%T)(%0 & %1)";
    case OP_OR: return "(%T)(%0 | %1)";
    case OP_XOR: return "(%T)(%0 ^ %1)";
    case OP_NOT: return "!%0";
    case OP_SHL: return "(%T)((%U)%0 << %1)";              /* counts of expansions are in range */
    case OP_SHR: return "%0 >> %1";
    case OP_USHR: return "(%T)((%U)%0 >> %1)";
    case OP_SELECT: return "%0 ? %1 : %2";
    case OP_CAST: return "(%T)%0";
    case OP_BITCAST: return "BITCAST(%T, %S, %0)";
    default: return NULL;
  }
}

static void print_node(const Node *n, Text *t) {
  Type type = (Type)n->type;
  text_add(t, "    const %s v%u = ", c_type(type), n->id);
  if (n->op == OP_CONST) {
    if (type == TYPE_F64) text_add(t, "BITCAST(double, uint64_t, UINT64_C(0x%llx))", (unsigned long long)n->imm);
    else if (type == TYPE_F32) text_add(t, "BITCAST(float, uint32_t, 0x%xu)", (unsigned)n->imm);
    else text_add(t, "(%s)UINT64_C(0x%llx)", c_type(type), (unsigned long long)n->imm);
  } else if (n->op == OP_READ) {
    text_add(t, "in%lld[i]", (long long)n->imm);
  } else {
    Type source = (Type)n->args[n->n_args - 1]->type;
    for (const char *p = template_of(n); *p; p++) {
      if (*p != '%') text_append(t, p, 1);
      else if (*++p == 'T') text_add(t, "%s", c_type(type));
      else if (*p == 'S') text_add(t, "%s", c_type(source));
      else if (*p == 'U') text_add(t, "%s", type_bits(type) == 64 ? "uint64_t" : "uint32_t");
      else text_add(t, "v%u", n->args[*p - '0']->id);
    }
  }
  text_add(t, ";\n");
}

/* One write, of element operations. */
static void print_c(const Graph *g, const char *name, Text *t) {
  const Write *w = &g->writes[0];
  text_add(t, "%s", prelude);
  const char *type = c_type((Type)w->value->type);
  text_add(t, "void %s(const %s *restrict in0, const %s *restrict in1, %s *restrict out, long n) {\n  for (long i = 0; i < n; i++) {\n", name, type, type, type);
  for (unsigned i = 0; i < g->n_nodes; i++) if (g->nodes[i]->op != OP_SIZE) print_node(g->nodes[i], t);
  text_add(t, "    out[i] = v%u;\n  }\n}\n", w->value->id);
}

static void run(const Route *r, const void *in0, const void *in1, void *out, long n) { r->c(in0, in1, out, n); }

bool route_gcc(Route *route, Op op, Type type, const char *folder, Arena *a) {
  Text text = {.arena = a};
  char *name = arena_printf(a, "%s_%s", op_name(op), type_name(type));
  print_c(graph_of(a, op, type), name, &text);
  char *source = arena_printf(a, "%s/%s.c", folder, name), *object = arena_printf(a, "%s/%s.so", folder, name);
  FILE *f = fopen(source, "w");
  if (!f) return false;
  fwrite(text.data, 1, text.length, f);
  if (fclose(f)) return false;
  const char *flags = "-O3 -march=native -mprefer-vector-width=512 -ffp-contract=off -fno-math-errno -fno-trapping-math -shared -fPIC";
  if (system(arena_printf(a, "gcc -std=gnu11 %s -o %s %s -lm", flags, object, source))) return false;
  void *library = dlopen(object, RTLD_NOW);
  if (!library) return false;
  route->run = run;
  *(void **)&route->c = dlsym(library, name);
  return route->c != NULL;
}
