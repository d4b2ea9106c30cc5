/* graph_c.h: an expanded graph as C, compiled by the system's compiler: a route to machine code that shares nothing with the back ends. */
#ifndef OPTC_TESTS_GRAPH_C_H
#define OPTC_TESTS_GRAPH_C_H
#include "ir/graph.h"

/* out[i] = f(in0[i], in1[i]) for n elements, of the graph's types. */
typedef void (*GraphFn)(const void *in0, const void *in1, void *out, long n);

/* A module whose operands a, b are read and whose operand y is op(a[, b]); its graph has been expanded and cleaned by the exact passes. */
Graph *graph_of_function(Arena *, Op, Type);

/* The C text of a graph of element operations with one write. */
void graph_print_c(const Graph *, const char *name, Text *);

/* Compiles and loads it; files go below `folder`. NULL when the compiler fails. */
GraphFn graph_compile_c(const Graph *, const char *name, const char *folder, Arena *);
#endif
