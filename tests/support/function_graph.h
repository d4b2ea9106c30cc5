/* function_graph.h: one operation as a graph of its own, and graphs of tensors a, b, c -> y run by the interpreter. */
#ifndef OPTC_TESTS_FUNCTION_GRAPH_H
#define OPTC_TESTS_FUNCTION_GRAPH_H
#include "ir/graph.h"

enum { FUNCTION_ARGS = 3 };
typedef struct FunctionGraph { Graph *graph; const Node *arg[FUNCTION_ARGS]; } FunctionGraph;

/* An empty graph over one item whose tensors have these storage types; arg[k] reads tensor k, in its arithmetic type.
 * Finish it with graph_write(graph, FUNCTION_ARGS, value, NULL). Hypers: n (i64), x (f64), i (i64). */
FunctionGraph function_graph_new(Arena *, const Type in[FUNCTION_ARGS], Type out);

/* y = op(a, b, c), not expanded; all operands of one type, but the exponent of powi, which is i64 from i32. */
Graph *function_graph(Arena *, Op, Type);

/* Runs a graph without function nodes on n elements; `hyper` may be NULL. */
void function_graph_run(const Graph *, const void *const in[FUNCTION_ARGS], void *out, long n, const void *hyper, Arena *scratch);
#endif
