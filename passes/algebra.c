/* algebra.c: pass `algebra`: exact identities, as a table of rules.
 *
 * Exact: both sides have the same bits for every operand, -0, infinities and NaN included (any NaN equals any NaN). What is
 * missing on purpose: x + 0 (changes -0), x*0 and x - x (NaN, inf), sums in another order, x/c as x*(1/c) unless both are
 * normal powers of 2. Works best after `canon`, which puts constants last. */
#include "passes/passes.h"
#include <stdlib.h>
#include <string.h>

enum { B = 1, I = 2, F = 4 };

/* Prefix patterns: operation names, variables of one letter (the same letter is the same node), numbers and true, false are
 * constants of the type at hand; 0 and -0 differ. `types`: what the last operand of the root may be. */
typedef struct Rule { const char *from, *to; int types; const char *why; } Rule;

static const Rule rules[] = {
  {"add x -0", "x", F, "-0 is the neutral element of IEEE addition: +0 + -0 = +0, -0 + -0 = -0"},
  {"sub x 0", "x", F | I, "x + (-0)"},
  {"add x 0", "x", I, "integers have one zero"},
  {"sub x x", "0", I, "integers have no NaN"},
  {"mul x 1", "x", F | I, "the exact product is representable, the sign is that of x"},
  {"mul x -1", "neg x", F | I, "the exact product is representable, the sign is the other one"},
  {"div x 1", "x", F, "the exact quotient is representable"},
  {"div x -1", "neg x", F, "the exact quotient is representable"},
  {"mul x 0", "0", I, "integers have no NaN and no -0"},
#ifdef OPTC_FAULT_ALGEBRA
  {"mul x 0", "0", F, "a fault for the fuzzer to find: loses NaN, infinities and the sign of zero"},
#endif
  {"idiv x 1", "x", I, "exact"},
  {"imod x 1", "0", I, "every integer is a multiple of 1"},
  {"neg neg x", "x", F | I, "flips the sign bit twice; wraps twice"},
  {"abs neg x", "abs x", F, "abs clears the sign bit"},
  {"abs abs x", "abs x", F, "abs clears the sign bit"},
  {"abs mul x x", "mul x x", F, "a square has sign bit 0 or is NaN"},
  {"mul neg x neg y", "mul x y", F | I, "the sign of a product is the product of the signs"},
  {"div neg x neg y", "div x y", F, "the sign of a quotient is the product of the signs"},
  {"floor floor x", "floor x", F, "whole numbers stay"},
  {"ceil ceil x", "ceil x", F, "whole numbers stay"},
  {"trunc trunc x", "trunc x", F, "whole numbers stay"},
  {"rint rint x", "rint x", F, "whole numbers stay"},
  {"floor rint x", "rint x", F, "whole numbers stay"},
  {"ceil floor x", "floor x", F, "whole numbers stay"},
  {"max x x", "x", F | I, "either operand, NaN too"},
  {"min x x", "x", F | I, "either operand, NaN too"},
  {"not not x", "x", B, "involution"},
  {"and x x", "x", B | I, "idempotent"},
  {"or x x", "x", B | I, "idempotent"},
  {"xor x x", "0", I, "x has the bits of x"},
  {"xor x x", "false", B, "x equals x"},
  {"and x 0", "0", I, "annihilator"},
  {"and x -1", "x", I, "neutral"},
  {"or x 0", "x", I, "neutral"},
  {"or x -1", "-1", I, "annihilator"},
  {"xor x 0", "x", I, "neutral"},
  {"and x true", "x", B, "neutral"},
  {"and x false", "false", B, "annihilator"},
  {"or x true", "true", B, "annihilator"},
  {"or x false", "x", B, "neutral"},
  {"xor x false", "x", B, "neutral"},
  {"xor x true", "not x", B, "complement"},
  {"shl x 0", "x", I, "no shift"},
  {"shr x 0", "x", I, "no shift"},
  {"ushr x 0", "x", I, "no shift"},
  {"lt x x", "false", I | F, "irreflexive, false for NaN too"},
  {"le x x", "true", I, "reflexive; not for NaN"},
  {"eq x x", "true", B | I, "reflexive; not for NaN"},
  {"ne x x", "false", B | I, "irreflexive; not for NaN"},
  {"eq x true", "x", B, "truth table"},
  {"eq x false", "not x", B, "truth table"},
  {"ne x true", "not x", B, "truth table"},
  {"ne x false", "x", B, "truth table"},
  {"select c x x", "x", B | I | F, "either way"},
  {"select c true false", "c", B, "truth table"},
  {"select c false true", "not c", B, "truth table"},
  {"select c true x", "or c x", B, "truth table"},
  {"select c x false", "and c x", B, "truth table"},
  {"select not c x y", "select c y x", B | I | F, "complement"},
  {"select c select c x y z", "select c x z", B | I | F, "the inner condition is true where its value is used"},
  {"select c x select c y z", "select c x z", B | I | F, "the inner condition is false where its value is used"},
};

/* --- patterns ------------------------------------------------------------------------------------------------------------------------- */

typedef struct Match { const char *at; const Node *variable[26]; } Match;

static size_t token(Match *m, char out[12]) {              /* the next word of the pattern */
  size_t n = strcspn(m->at, " ");
  memcpy(out, m->at, n);
  out[n] = 0;
  m->at += n + (m->at[n] == ' ');
  return n;
}

static bool is_variable(const char *word) { return word[1] == 0 && word[0] >= 'a' && word[0] <= 'z'; }

static bool constant_of(const char *word, Type type, Bits *bits) {
  bool truth = !strcmp(word, "true");
  if (truth || !strcmp(word, "false")) { *bits = truth; return type == TYPE_BOOL; }
  if (type == TYPE_BOOL) return false;
  double x = atoi(word);
  *bits = bits_from_f64(word[0] == '-' && x == 0 ? -0.0 : x, type);
  return true;
}

static bool is_number(const char *word) { return (word[0] >= '0' && word[0] <= '9') || word[0] == '-' || !strcmp(word, "true") || !strcmp(word, "false"); }

static bool matches(Match *m, const Node *n) {
  char word[12];
  token(m, word);
  if (is_variable(word)) {
    const Node **v = &m->variable[word[0] - 'a'];
    if (!*v) *v = n;
    return *v == n;
  }
  if (is_number(word)) {
    Bits bits;
    return n->op == OP_CONST && constant_of(word, (Type)n->type, &bits) && bits == (Bits)n->imm;
  }
  if (strcmp(word, op_name((Op)n->op))) return false;
  for (unsigned i = 0; i < n->n_args; i++) if (!matches(m, n->args[i])) return false;
  return true;
}

/* The right side; `type` is that of the value wanted. */
static const Node *build(Graph *g, Match *m, Type type) {
  char word[12];
  token(m, word);
  if (is_variable(word)) return m->variable[word[0] - 'a'];
  if (is_number(word)) {
    Bits bits = 0;
    constant_of(word, type, &bits);
    return graph_const(g, type, bits);
  }
  for (unsigned op = 0; op < ELEMENT_COUNT; op++) {
    if (strcmp(word, op_name((Op)op))) continue;
    const Node *args[3];
    unsigned n = element_arity((Element)op);
    for (unsigned i = 0; i < n; i++) args[i] = build(g, m, op == OP_SELECT && !i ? TYPE_BOOL : type);
    return graph_element(g, (Op)op, type, n, args);
  }
  return NULL;
}

/* --- rules that compute ---------------------------------------------------------------------------------------------------------------- */

/* x/c is x*(1/c) where c and 1/c are normal powers of 2: both scale exactly, and round the same exact value. */
static const Node *divide(Graph *g, const Node *n) {
  const Node *c = n->args[1];
  if (n->op != OP_DIV || c->op != OP_CONST) return n;
  unsigned fraction = c->type == TYPE_F64 ? 52 : 23, bias = c->type == TYPE_F64 ? 1023 : 127;
  uint64_t bits = (uint64_t)c->imm, exponent = bits >> fraction & (2 * bias + 1);
  if (bits & ((UINT64_C(1) << fraction) - 1) || exponent < 1 || exponent > 2 * bias - 1) return n;
  uint64_t sign = bits >> fraction & ~(uint64_t)(2 * bias + 1);
  const Node *inverse = graph_const(g, (Type)c->type, (sign | (2 * bias - exponent)) << fraction);
  return graph_op2(g, OP_MUL, n->args[0], inverse);
}

/* Widening and narrowing back, and reading bits back, give the value itself. */
static const Node *there_and_back(Graph *g, const Node *n) {
  if (n->op != OP_CAST && n->op != OP_BITCAST) return n;
  const Node *x = n->args[0];
  if (n->type == x->type) return x;
  if (x->op != n->op || x->args[0]->type != n->type) return n;
  if (n->op == OP_BITCAST) return x->args[0];
  bool widens = (n->type == TYPE_F32 && x->type == TYPE_F64) || (n->type == TYPE_I32 && (x->type == TYPE_I64 || x->type == TYPE_F64)) ||
                (n->type == TYPE_BOOL && (type_kind((Type)x->type) != KIND_BOOL));
  return widens ? x->args[0] : n;
}

static int type_class(const Node *n) {
  TypeKind kind = type_kind((Type)n->type);
  return kind == KIND_FLOAT ? F : kind == KIND_INT ? I : B;
}

static const Node *step(Graph *g, const Node *n) {
  if (!n->n_args || !(op_is_element((Op)n->op) || n->op == OP_MAX || n->op == OP_MIN)) return n;
  const char *name = op_name((Op)n->op);
  size_t length = strlen(name);
  int class = type_class(n->args[n->n_args - 1]);
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    const Rule *r = &rules[i];
    if (!(r->types & class) || strncmp(r->from, name, length) || r->from[length] != ' ') continue;
    Match m = {.at = r->from};
    if (!matches(&m, n)) continue;
    m.at = r->to;
    const Node *y = build(g, &m, (Type)n->type);
    if (y->space == n->space) return y;                    /* a scalar does not stand for a tensor */
  }
  const Node *y = n->op == OP_DIV ? divide(g, n) : there_and_back(g, n);
  return y->space == n->space ? y : n;
}

static const Node *algebra_node(Graph *g, const Node *n, void *context) {
  for (const Node *next; (next = step(g, n)) != n; n = next) {}
  return n;
}

void pass_algebra(Unit *unit, const PassArgs *args) { unit->graph = graph_rewrite(unit->graph, algebra_node, NULL); }
