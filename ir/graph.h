/* graph.h: the graph form: what is computed. Hash-consed DAG of values over index spaces; no loops, no memory.
 *
 * Nodes are immutable, belong to one graph, and are compared by pointer: two nodes with the same operation, type,
 * space, attributes and operands are one node. Writes stand at the exit of the entry, each with a predicate. Passes
 * build new nodes (graph_rewrite) and never edit. */
#ifndef OPTC_IR_GRAPH_H
#define OPTC_IR_GRAPH_H
#include "ir/module.h"

typedef enum Op {
#define ELEMENT(id, ...) OP_##id,
#include "ir/element.def"
#undef ELEMENT
#define FUNCTION(id, ...) OP_##id,
#include "ir/function.def"
#undef FUNCTION
#define GRAPHOP(id, ...) OP_##id,
#include "ir/graph.def"
#undef GRAPHOP
  OP_COUNT
} Op;                                    /* the first ELEMENT_COUNT are the Elements, in the same order */

typedef enum Level { LEVEL_CONST, LEVEL_GLOBAL, LEVEL_ITEM, LEVEL_ELEMENT } Level;
typedef enum ReduceKind { REDUCE_SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_ANY, REDUCE_EVERY, REDUCE_ARGMAX, REDUCE_ARGMIN, REDUCE_LOGSUMEXP } ReduceKind;
typedef enum ReduceOrder { ORDER_LANES, ORDER_SEQ, ORDER_BLOCKS } ReduceOrder;
/* Positions of a block in the orders of the language (reference, section 5). */
enum { LANES_BITS = 4, LANES_COUNT = 1 << LANES_BITS, LANES_BLOCK_BITS = 10, LANES_BLOCK = 1 << LANES_BLOCK_BITS,
       CONTRACT_BLOCK_BITS = 9, CONTRACT_BLOCK = 1 << CONTRACT_BLOCK_BITS, SOFTMAX_BLOCK_BITS = 8, SOFTMAX_BLOCK = 1 << SOFTMAX_BLOCK_BITS };

struct Space { unsigned rank; const Node *extent[]; };                   /* interned; extents are i64 nodes of rank 0 */

typedef struct Region {                  /* body of a SCAN: results in the order of the carried values */
  unsigned n_results;
  const Node **results;
} Region;

struct Node {
  uint16_t op;                           /* Op */
  uint8_t type;                          /* Type */
  uint8_t level;                         /* Level */
  int32_t aux;
  int64_t imm;
  const Space *space;                    /* rank 0: a scalar */
  const Region *region;                  /* SCAN only */
  unsigned id;                           /* dense, in order of creation: operands come before users */
  unsigned n_args;
  const Node *const *args;
  Range where;                           /* first place in the text that made it; not part of identity */
};

typedef struct Write { unsigned operand; const Node *value; const Node *when; } Write;      /* when NULL: always. value: arithmetic type */
typedef struct Exists { unsigned operand; const Node *when; } Exists;                        /* layout graph */
typedef struct Requirement { const char *text; const Node *cond; unsigned n; const Node *value[4]; const char *name[4]; int64_t about; } Requirement;      /* about: frame.h */

/* A function of one number as element operations: what pass `expand` gives to operations that hold an exponential or a logarithm. */
typedef struct Formula { const Graph *graph; const Node *argument, *result; } Formula;

struct Graph {
  Module *module;
  Arena *arena;
  const char *name;                      /* entry */
  const Node **nodes; unsigned n_nodes;  /* every node, by id */
  Write *writes; unsigned n_writes;
  Exists *exists; unsigned n_exists;
  Requirement *requires; unsigned n_requires;
  const Formula *exponential[2], *logarithm[2];        /* of f32 and f64; set by `expand` where a softmax or logsumexp needs them */
  bool advances;                         /* t becomes t + 1 at the end (entry step) */
  const Node *skip;                      /* `skip if`: where it holds, t stays (global, bool); NULL: never */
  struct GraphTable *table;              /* interning, private to graph.c */
};

const char *op_name(Op);
bool op_is_element(Op);
bool op_is_function(Op);
int op_arity(Op);                        /* -1: any */
bool op_parse(const char *name, Op *);
bool op_types_ok(Op, Type result, const Type *operands);                 /* element operations and functions */

/* Building. Level is derived. Arguments are asserted to be well typed in debug builds; graph_verify reports. */
Graph *graph_new(Module *, const char *entry);
const Space *graph_space(Graph *, unsigned rank, const Node *const *extents);
const Space *graph_scalar_space(Graph *);
const Node *graph_node(Graph *, Op, Type, const Space *, int64_t imm, int32_t aux, unsigned n_args, const Node *const *args);
const Node *graph_region_node(Graph *, Op, Type, const Space *, int64_t imm, int32_t aux, unsigned n_args, const Node *const *args, const Region *);
void graph_at(Graph *, Range);           /* nodes made from now on carry this place */
const Node *graph_const(Graph *, Type, Bits);
const Node *graph_f64(Graph *, double);
const Node *graph_f32(Graph *, float);
const Node *graph_i64(Graph *, int64_t);
const Node *graph_bool(Graph *, bool);
const Node *graph_element(Graph *, Op, Type result, unsigned n_args, const Node *const *args);    /* space: the widest of the arguments */
const Node *graph_op1(Graph *, Op, const Node *);                        /* SAME rule */
const Node *graph_op2(Graph *, Op, const Node *, const Node *);          /* SAME and COMPARE rules */
const Node *graph_select(Graph *, const Node *c, const Node *a, const Node *b);
const Node *graph_cast(Graph *, Type, const Node *);                     /* the node itself when it has the type */
void graph_write(Graph *, unsigned operand, const Node *value, const Node *when);
Requirement *graph_require(Graph *, const char *text, const Node *cond, unsigned n, const Node *const *values, const char *const *names);      /* about: ABOUT_RULE, until it is set */
/* What a caller is told when it is not met, {} for each number: "requirement not met: beta1 < 1 (beta1 = {})", or `text` where that has places for them. */
const char *requirement_text(const Requirement *, Arena *);
void graph_exists(Graph *, unsigned operand, const Node *when);

/* A new graph from an old one, operands first: `rule` gets a node whose arguments are already new, in the new graph, and
 * returns what stands in its place (the node itself for no change). Unreachable nodes are left behind. */
typedef const Node *(*GraphRule)(Graph *to, const Node *node, void *context);
Graph *graph_rewrite(const Graph *from, GraphRule, void *context);
/* instead, by id of all nodes: what is put in its place, which is not made of it; or NULL. */
Graph *graph_replace(const Graph *from, const Node *const *instead);

Level graph_level(const Graph *, const Node *);                          /* as derived from operation and operands */
bool graph_is_item_space(const Module *, const Space *);                 /* [number of elements of an operand with the item's shape] */

/* Text. graph_print(graph_parse(text)) is text. A module prints with its declarations and all its graphs. */
void graph_print(const Graph *, Text *);
void module_print(const Module *, Text *);
Module *module_parse(Arena *, Diag *, const Source *);                   /* NULL after an error */

/* Well-formedness: types, spaces, levels, regions, order of ids, operand references. Reports into the diag; true if good. */
bool graph_verify(const Graph *, Diag *);
bool module_verify(const Module *, Diag *);

/* Interpreter: see ir/interpret.h. */
#endif
