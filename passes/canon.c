/* canon.c: pass `canon`: one spelling for equal things, so that interning finds them and other passes need fewer patterns.
 *
 * Afterwards no gt or ge is left; operands of commutative operations stand in order of id, constants last; adding a negation
 * is a difference and the reverse; a difference from a constant is a sum; a selection has no `not` as its condition.
 * Exact, and idempotent. */
#include "passes/passes.h"

static bool is_const(const Node *n) { return n->op == OP_CONST; }
static bool is_float(const Node *n) { return type_kind((Type)n->type) == KIND_FLOAT; }

static bool commutes(Op op) {
  switch ((int)op) {
    case OP_ADD: case OP_MUL: case OP_FMA: case OP_AND: case OP_OR: case OP_XOR: case OP_EQ: case OP_NE: return true;   /* fma: its factors */
    default: return false;
  }
}

static bool out_of_order(const Node *a, const Node *b) { return is_const(a) != is_const(b) ? is_const(a) : a->id > b->id; }

static const Node *element(Graph *g, const Node *like, Op op, const Node *a, const Node *b) {
  return graph_element(g, op, (Type)like->type, b ? 2 : 1, (const Node *const[]){a, b});
}

static const Node *negative(Graph *g, const Node *c) {
  Bits bits = (Bits)c->imm;
  return graph_const(g, (Type)c->type, element_eval(ELEMENT_NEG, (Type)c->type, (Type)c->type, &bits));
}

/* One step towards the canonical form; n itself when it has it. */
static const Node *step(Graph *g, const Node *n) {
  const Node *const *x = n->args;
  if (!op_is_element((Op)n->op)) return n;
  if (commutes((Op)n->op) && out_of_order(x[0], x[1])) {
    const Node *swapped[3] = {x[1], x[0], n->n_args > 2 ? x[2] : NULL};
    return graph_element(g, (Op)n->op, (Type)n->type, n->n_args, swapped);
  }
  switch ((int)n->op) {
    case OP_GT: return element(g, n, OP_LT, x[1], x[0]);                   /* by definition, NaN included */
    case OP_GE: return element(g, n, OP_LE, x[1], x[0]);
    case OP_SUB:                                                           /* IEEE 754: x - y is x + (-y), in every sign of zero */
      if (is_const(x[1])) return element(g, n, OP_ADD, x[0], negative(g, x[1]));
      if (x[1]->op == OP_NEG) return element(g, n, OP_ADD, x[0], x[1]->args[0]);
      return n;
    case OP_ADD:
      if (x[1]->op == OP_NEG) return element(g, n, OP_SUB, x[0], x[1]->args[0]);
      if (x[0]->op == OP_NEG && !is_const(x[1])) return element(g, n, OP_SUB, x[1], x[0]->args[0]);
      return n;
    case OP_MUL: case OP_DIV:                                              /* the sign of a product is the product of the signs */
      if (x[0]->op == OP_NEG && x[1]->op == OP_NEG) return element(g, n, (Op)n->op, x[0]->args[0], x[1]->args[0]);
      if (x[0]->op == OP_NEG && is_const(x[1])) return element(g, n, (Op)n->op, x[0]->args[0], negative(g, x[1]));
      return n;
    case OP_NOT:
      if (x[0]->op == OP_EQ) return element(g, n, OP_NE, x[0]->args[0], x[0]->args[1]);     /* != is true for NaN */
      if (x[0]->op == OP_NE) return element(g, n, OP_EQ, x[0]->args[0], x[0]->args[1]);
      if (x[0]->op == OP_LT && !is_float(x[0]->args[0])) return element(g, n, OP_LE, x[0]->args[1], x[0]->args[0]);
      if (x[0]->op == OP_LE && !is_float(x[0]->args[0])) return element(g, n, OP_LT, x[0]->args[1], x[0]->args[0]);
      return n;
    case OP_SELECT:
      return x[0]->op == OP_NOT ? graph_select(g, x[0]->args[0], x[2], x[1]) : n;
    default: return n;
  }
}

static const Node *canon_node(Graph *g, const Node *n, void *context) {
  for (const Node *next; (next = step(g, n)) != n; n = next) {}
  return n;
}

void pass_canon(Unit *unit, const PassArgs *args) { unit->graph = graph_rewrite(unit->graph, canon_node, NULL); }
