/* function_graph.c: graphs of one operation for tests and for the accuracy tables. */
#include "tests/support/function_graph.h"
#include "ir/interpret.h"

static const Node *extent_of(Graph *g) { return graph_node(g, OP_SIZE, TYPE_I64, graph_scalar_space(g), 0, -1, 0, NULL); }

FunctionGraph function_graph_new(Arena *a, const Type in[FUNCTION_ARGS], Type out) {
  static const char *const name[] = {"a", "b", "c", "y"};
  static const Hyper hypers[] = {{.name = "n", .type = TYPE_I64}, {.name = "x", .type = TYPE_F64}, {.name = "i", .type = TYPE_I64}};
  Module *m = arena_alloc(a, sizeof *m);
  *m = (Module){.arena = a, .diag = diag_new(a, 0), .name = "function", .n_operands = FUNCTION_ARGS + 1, .n_hypers = 3};
  m->operands = arena_array(a, FUNCTION_ARGS + 1, sizeof *m->operands);
  m->hypers = arena_array(a, 3, sizeof *m->hypers);
  for (unsigned i = 0; i < 3; i++) m->hypers[i] = hypers[i];
  for (unsigned i = 0; i <= FUNCTION_ARGS; i++)
    m->operands[i] = (Operand){.name = name[i], .role = i == FUNCTION_ARGS ? ROLE_OUT : i ? ROLE_IN : ROLE_PARAM,
                               .storage = i == FUNCTION_ARGS ? out : in[i], .item_shape = true};
  FunctionGraph f = {.graph = graph_new(m, "step")};
  m->graphs = arena_array(a, 1, sizeof *m->graphs);
  m->graphs[m->n_graphs++] = f.graph;
  const Node *extent = extent_of(f.graph);
  const Space *space = graph_space(f.graph, 1, &extent);
  for (unsigned i = 0; i < FUNCTION_ARGS; i++) f.arg[i] = graph_node(f.graph, OP_READ, type_arithmetic(in[i]), space, i, 0, 0, NULL);
  return f;
}

Graph *function_graph(Arena *a, Op op, Type type) {
  bool gives_bool = op == OP_ISNAN || op == OP_FINITE;
  Type in[FUNCTION_ARGS] = {type, op == OP_POWI ? TYPE_I32 : type, type};
  FunctionGraph f = function_graph_new(a, in, gives_bool ? TYPE_BOOL : type);
  unsigned n = op == OP_CLAMP ? 3 : op == OP_MAX || op == OP_MIN || op == OP_POWI || op == OP_POW || op == OP_LOGADDEXP ? 2 : 1;
  graph_write(f.graph, FUNCTION_ARGS, graph_element(f.graph, op, gives_bool ? TYPE_BOOL : type_arithmetic(type), n, f.arg), NULL);
  return f.graph;
}

void function_graph_run(const Graph *g, const void *const in[FUNCTION_ARGS], void *out, long n, const void *hyper, Arena *scratch) {
  void *data[FUNCTION_ARGS + 1] = {(void *)(uintptr_t)in[0], (void *)(uintptr_t)in[1], (void *)(uintptr_t)in[2], out};
  int64_t item[64] = {0}, global[8] = {0}, none[3] = {0}, shape = n;
  optc_frame frame = {.hyper = hyper ? hyper : none, .global = global, .item = item, .data = data, .t = 1, .count = n, .total = n, .begin = 0, .end = n, .shape = &shape, .rank = 1};
  graph_interpret(g, LAUNCH_ITEM, &frame, scratch);
}
