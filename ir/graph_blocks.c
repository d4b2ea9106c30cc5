/* graph_blocks.c: the blocked softmax: a block has its own maximum; merging rescales what came before. */
#include "ir/graph_blocks.h"
#include <string.h>
#include "ir/graph_analysis.h"
#include "ir/graph_reduce.h"

static Bits pair(Element e, Type t, Bits a, Bits b) { return element_eval(e, t, t, (const Bits[3]){a, b}); }
static bool equal(Type t, Bits a, Bits b) { return element_eval(ELEMENT_EQ, TYPE_BOOL, t, (const Bits[3]){a, b}) & 1; }

/* --- formulas ------------------------------------------------------------------------------------------------------------------------ */

FormulaRun formula_run_new(Arena *arena, const Formula *f, size_t most) {
  const Graph *g = f->graph;
  FormulaRun r = {f, arena_array(arena, g->n_nodes, sizeof *r.value), graph_needs(g, f->result, arena)};
  for (unsigned i = 0; i < g->n_nodes; i++) {
    if (!r.live[i]) continue;
    r.value[i] = arena_array(arena, g->nodes[i]->op == OP_CONST ? 1 : most, sizeof(Bits));
    if (g->nodes[i]->op == OP_CONST) r.value[i][0] = (Bits)g->nodes[i]->imm;
  }
  return r;
}

/* n <= most */
static void formula_run(const FormulaRun *r, const Bits *x, size_t n, Bits *out) {
  const Graph *g = r->formula->graph;
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *node = g->nodes[i];
    if (!r->live[i] || node->op == OP_CONST) continue;
    if (node == r->formula->argument) { memcpy(r->value[i], x, n * sizeof *x); continue; }
    const Bits *arg[3];
    size_t step[3];
    for (unsigned k = 0; k < node->n_args; k++) {
      arg[k] = r->value[node->args[k]->id];
      step[k] = node->args[k]->op != OP_CONST;
    }
    element_run((Element)node->op, (Type)node->type, (Type)node->args[node->n_args - 1]->type, n, r->value[i], arg, step);
  }
  memcpy(out, r->value[r->formula->result->id], n * sizeof *out);
}

static Bits formula_one(const FormulaRun *r, Bits x) {
  formula_run(r, &x, 1, &x);
  return x;
}

/* --- blocks ---------------------------------------------------------------------------------------------------------------------------- */

Attender *attender_new(Arena *arena, Type type, const Formula *exponential, unsigned n_factors) {
  Attender *a = arena_alloc(arena, sizeof *a);
  *a = (Attender){.type = type, .exponential = formula_run_new(arena, exponential, SOFTMAX_BLOCK), .n_factors = n_factors};
  a->score = arena_array(arena, SOFTMAX_BLOCK, sizeof *a->score);
  a->weight = arena_array(arena, SOFTMAX_BLOCK, sizeof *a->weight);
  a->factor = arena_array(arena, n_factors + 1, sizeof *a->factor);
  for (unsigned k = 0; k < n_factors; k++) a->factor[k] = arena_array(arena, SOFTMAX_BLOCK, sizeof **a->factor);
  return a;
}

void attender_start(Attender *a) {
  a->in_block = 0;
  a->m = reduce_identity(REDUCE_MAX, a->type);
  a->l = a->n = 0;
  a->any = false;
}

/* 1 where the two are equal: also for infinities, whose difference is no number. */
static Bits rescale(const Attender *a, Bits m, Bits most) {
  return equal(a->type, m, most) ? bits_from_f64(1, a->type) : formula_one(&a->exponential, pair(ELEMENT_SUB, a->type, m, most));
}

/* Chain of fma(e*v1*..*v(n-1), vn, acc); a weight of 0 leaves its term out. */
static Bits chain(const Attender *a) {
  Type t = a->type;
  Bits acc = 0;
  for (unsigned i = 0; i < a->in_block && a->n_factors; i++) {
    Bits p = a->weight[i];
    if (equal(t, p, 0)) continue;
    for (unsigned k = 0; k + 1 < a->n_factors; k++) p = pair(ELEMENT_MUL, t, p, a->factor[k][i]);
    Bits x[3] = {p, a->factor[a->n_factors - 1][i], acc};
    acc = t == TYPE_F32 ? element_eval(ELEMENT_FMA, t, t, x) : pair(ELEMENT_ADD, t, acc, pair(ELEMENT_MUL, t, x[0], x[1]));
  }
  return acc;
}

static void close_block(Attender *a) {
  Type t = a->type;
  unsigned n = a->in_block;
  Bits lowest = reduce_identity(REDUCE_MAX, t), m = lowest;
  for (unsigned i = 0; i < n; i++) m = reduce_pair(REDUCE_MAX, t, m, a->score[i]);
  if (equal(t, m, lowest)) { a->in_block = 0; return; }                   /* all masked */
  element_run(ELEMENT_SUB, t, t, n, a->weight, (const Bits *const[]){a->score, &m}, (const size_t[]){1, 0});
  formula_run(&a->exponential, a->weight, n, a->weight);
  Reducer sum;
  reducer_start(&sum, t, REDUCE_SUM, ORDER_LANES);
  reducer_feed(&sum, a->weight, 1, n);
  Bits l = reducer_result(&sum), v = chain(a), most = reduce_pair(REDUCE_MAX, t, a->m, m);
  Bits old = rescale(a, a->m, most), now = rescale(a, m, most);
  a->l = pair(ELEMENT_ADD, t, pair(ELEMENT_MUL, t, old, a->l), pair(ELEMENT_MUL, t, now, l));
  a->n = pair(ELEMENT_ADD, t, pair(ELEMENT_MUL, t, old, a->n), pair(ELEMENT_MUL, t, now, v));
  a->m = most;
  a->any = true;
  a->in_block = 0;
}

void attender_feed(Attender *a, const Bits *s, size_t s_step, const Bits *const *v, const size_t *v_step, size_t n) {
  for (size_t i = 0; i < n; i++) {
    a->score[a->in_block] = s[i * s_step];
    for (unsigned k = 0; k < a->n_factors; k++) a->factor[k][a->in_block] = v[k][i * v_step[k]];
    if (++a->in_block == SOFTMAX_BLOCK) close_block(a);
  }
}

void attender_end(Attender *a) { if (a->in_block) close_block(a); }

Bits attender_result(const Attender *a) { return a->any ? pair(ELEMENT_DIV, a->type, a->n, a->l) : 0; }

Bits attender_logsumexp(const Attender *a, const FormulaRun *logarithm) {
  return a->any ? pair(ELEMENT_ADD, a->type, a->m, formula_one(logarithm, a->l)) : reduce_identity(REDUCE_MAX, a->type);
}

void attender_softmax(const Attender *a, const Bits *s, size_t n, Bits *out) {
  if (!a->any) { memset(out, 0, n * sizeof *out); return; }
  element_run(ELEMENT_SUB, a->type, a->type, n, a->weight, (const Bits *const[]){s, &a->m}, (const size_t[]){1, 0});
  formula_run(&a->exponential, a->weight, n, a->weight);
  element_run(ELEMENT_DIV, a->type, a->type, n, out, (const Bits *const[]){a->weight, &a->l}, (const size_t[]){1, 0});
}
