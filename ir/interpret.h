/* interpret.h: both forms interpreted, as kernels of the driver, so that oracle and compiled code are called alike. */
#ifndef OPTC_IR_INTERPRET_H
#define OPTC_IR_INTERPRET_H
#include "ir/frame.h"
#include "ir/graph.h"
#include "ir/kernel.h"

/* Evaluates one graph for one item (or, for launches without item, its scalars) on the frame's data. The graph has no function nodes: run `expand` first (the interpreter runs the
 * same expansion as every backend). Scratch memory comes from `scratch`, which the caller may free. */

const char *graph_not_interpretable(const Graph *, Arena *scratch);      /* the operation that it has no evaluation for, or NULL */

/* Launches a graph can stand for: CHECK (requirements), ITEM (tensor and item-scalar writes, layout), FINISH (global writes). */
void graph_interpret(const Graph *, Launch, optc_frame *, Arena *scratch);

/* Also SIZES (states with their own shape), and, for graphs with totals (graph_stages): ITEM of stage s (below the last: fills the slots of
 * the totals of that stage; the last writes) and TOTAL of stage s (combines them). graph_interpret runs the last stage. */
void graph_interpret_stage(const Graph *, Launch, unsigned stage, optc_frame *, Arena *scratch);

/* Runs kernel k of a program on a frame; loops run in order of their index whatever they are bound to. */
void kernel_interpret(const Program *, const Kernel *, optc_frame *, Arena *scratch);
#endif
