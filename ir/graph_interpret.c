/* graph_interpret.c: values of the graph form.
 *
 * Nodes are visited in order of id, so operands are known. A number is kept as one value. Values with axes are of two kinds: what
 * is computed position by position is evaluated a piece of 1,024 positions at a time where somebody needs it (a write, a
 * reduction), and what needs more than its own position is stored whole, as are the operands that it reads out of order.
 * The body of a scan is the list of its nodes that depend on carried values; it runs once a trip. */
#include "ir/graph_eval.h"
#include <string.h>
#include "ir/graph_blocks.h"
#include "ir/graph_reduce.h"
#include "ir/matrix.h"

/* --- one node over a piece ------------------------------------------------------------------------------------------------------------ */

/* Where a node's values from position `from` stand; *step 0: one value for all. */
const Bits *eval_values(const Interp *I, const Node *n, int64_t from, size_t *step) {
  *step = n->space->rank != 0;
  if (!*step) return &I->number[n->id];
  return I->stored[n->id] ? I->array[n->id].data + from : I->piece[n->id];
}

static void eval_index(const Interp *I, const Node *n, int64_t from, int64_t count, Bits *out) {
  int64_t stride = 1, extent = (int64_t)I->number[n->space->extent[n->imm]->id];
  for (unsigned k = n->space->rank; --k > n->imm;) stride *= (int64_t)I->number[n->space->extent[k]->id];
  if (I->frame->first && graph_is_item_space(I->g->module, n->space)) from += I->frame->first;
  if (n->imm == 0 && stride == 1) for (int64_t i = 0; i < count; i++) out[i] = (Bits)(from + i);
  else for (int64_t i = 0; i < count; i++) out[i] = (Bits)((from + i) / stride % extent);
}

/* The flat position of indices args[0..axes), or -1 outside. */
static int64_t flat_position(const Interp *I, const Node *const *args, unsigned axes, const int64_t *extent, int64_t from, int64_t i) {
  int64_t at = 0;
  for (unsigned k = 0; k < axes; k++) {
    size_t step;
    int64_t x = (int64_t)eval_values(I, args[k], from, &step)[(size_t)i * step];
    if (x < 0 || x >= extent[k]) return -1;
    at = at * extent[k] + x;
  }
  return at;
}

static void eval_read(const Interp *I, const Node *n, int64_t from, int64_t count, Bits *out) {
  const Operand *o = &I->g->module->operands[n->imm];
  const void *data = eval_data(I, n->imm);
  unsigned guarded = n->aux == 1, axes = n->n_args - guarded;
  size_t step = 0;
  const Bits always = 1, *guard = guarded ? eval_values(I, n->args[axes], from, &step) : &always;
  bool none = !data || (!step && !(guard[0] & 1));
  if (none) { memset(out, 0, (size_t)count * sizeof *out); return; }
  if (!axes && !step) { eval_load(out, data, from, count, o->storage); return; }
  int64_t extent[8] = {I->frame->count};
  for (unsigned k = 0; k < axes && k < 8 && o->shape; k++) extent[k] = eval_extent(I, n->imm, k, 0);
  for (int64_t i = 0; i < count; i++) {
    int64_t at = !(guard[(size_t)i * step] & 1) ? -1 : axes ? flat_position(I, n->args, axes, extent, from, i) : from + i;
    out[i] = at < 0 ? 0 : eval_load_one(data, at, o->storage);
  }
}

static void eval_map(const Interp *I, const Node *n, int64_t from, int64_t count, Bits *out) {
  const Node *x = n->args[0];
  size_t step;
  const Bits *data = eval_values(I, x, 0, &step);
  int64_t extent[8];
  for (unsigned k = 0; k < x->space->rank && k < 8; k++) extent[k] = (int64_t)I->number[x->space->extent[k]->id];
  for (int64_t i = 0; i < count; i++) {
    int64_t at = flat_position(I, n->args + 1, x->space->rank, extent, from, i);
    out[i] = at < 0 ? 0 : data[(size_t)at * step];
  }
}

/* Philox 4x32 with 10 rounds. Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011). */
static uint32_t philox(const uint32_t counter[4], const uint32_t key[2], unsigned word) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)0xD2511F53 * c[0], b = (uint64_t)0xCD9E8D57 * c[2];
    uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
    memcpy(c, next, sizeof c);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c[word];
}

static void eval_philox(const Interp *I, const Node *n, int64_t from, int64_t count, Bits *out) {
  for (int64_t i = 0; i < count; i++) {
    uint32_t x[6];
    for (unsigned k = 0; k < 6; k++) {
      size_t step;
      const Bits *v = eval_values(I, n->args[k], from, &step);
      x[k] = (uint32_t)v[(size_t)i * step];
    }
    out[i] = philox(x, x + 4, (unsigned)n->imm & 3);
  }
}

bool eval_is_pointwise(const Node *n) {
  switch ((int)n->op) {
    case OP_INDEX: case OP_READ: case OP_MAP: case OP_PHILOX: return true;
    default: return op_is_element((Op)n->op);
  }
}

static void eval_points(const Interp *I, const Node *n, int64_t from, int64_t count, Bits *out) {
  switch ((int)n->op) {
    case OP_INDEX: eval_index(I, n, from, count, out); return;
    case OP_READ: eval_read(I, n, from, count, out); return;
    case OP_MAP: eval_map(I, n, from, count, out); return;
    case OP_PHILOX: eval_philox(I, n, from, count, out); return;
    default: break;
  }
  const Bits *x[3];
  size_t step[3];
  for (unsigned k = 0; k < n->n_args; k++) x[k] = eval_values(I, n->args[k], from, &step[k]);
  element_run((Element)n->op, (Type)n->type, (Type)n->args[n->n_args - 1]->type, (size_t)count, out, x, step);
}

/* --- streams --------------------------------------------------------------------------------------------------------------------------- */

static List *list_of(Interp *I, const bool *in) {
  List *l = arena_alloc(I->arena, sizeof *l);
  for (unsigned i = 0; i < I->g->n_nodes; i++) l->n += in[i];
  l->id = arena_array(I->arena, l->n, sizeof *l->id);
  for (unsigned i = 0, k = 0; i < I->g->n_nodes; i++) if (in[i]) l->id[k++] = i;
  return l;
}

/* The nodes to evaluate, piece by piece, to have the roots' values: down to stored values and numbers. */
List *eval_plan(Interp *I, unsigned n_roots, const Node *const *roots) {
  bool *in = arena_array(I->arena, I->g->n_nodes, sizeof *in);
  unsigned top = 0;
  for (unsigned i = 0; i < n_roots; i++) {
    if (!roots[i]->space->rank || I->stored[roots[i]->id]) continue;
    in[roots[i]->id] = true;
    if (roots[i]->id >= top) top = roots[i]->id + 1;
  }
  while (top-- > 0) {
    const Node *n = I->g->nodes[top];
    for (unsigned k = n->op == OP_MAP; in[top] && k < n->n_args; k++)
      if (n->args[k]->space->rank && !I->stored[n->args[k]->id]) in[n->args[k]->id] = true;
  }
  return list_of(I, in);
}

/* Positions that a piece of a value can have. Sizes that change from trip to trip may grow. */
static size_t piece_of(const Interp *I, const Node *n) {
  int64_t count = I->carries[n->id] ? EVAL_PIECE : eval_count(I, n->space);
  return (size_t)(count < EVAL_PIECE ? count : EVAL_PIECE);
}

void eval_piece(Interp *I, const List *plan, int64_t from, int64_t count) {
  for (unsigned i = 0; i < plan->n; i++) {
    const Node *n = I->g->nodes[plan->id[i]];
    if (!I->piece[n->id]) I->piece[n->id] = arena_array(I->arena, piece_of(I, n), sizeof(Bits));
    eval_points(I, n, from, count, I->piece[n->id]);
  }
}

static void reserve(Interp *I, Array *a, int64_t count) {
  a->count = count;
  if (count <= a->capacity && a->data) return;
  a->data = arena_array(I->arena, (size_t)count, sizeof *a->data);
  a->capacity = count;
}

/* A stored value that is computed position by position. Its own plan takes it for not stored. */
void eval_materialise(Interp *I, const Node *n) {
  List **plan = &I->plan[n->id];
  I->stored[n->id] = false;
  if (!*plan) *plan = eval_plan(I, 1, &n);
  int64_t count = eval_count(I, n->space);
  reserve(I, &I->array[n->id], count);
  for (int64_t at = 0; at < count; at += EVAL_PIECE) {
    int64_t now = count - at < EVAL_PIECE ? count - at : EVAL_PIECE;
    eval_piece(I, *plan, at, now);
    memcpy(I->array[n->id].data + at, I->piece[n->id], (size_t)now * sizeof(Bits));
  }
  I->stored[n->id] = true;
}

/* --- reductions and other nodes that look at more than one position --------------------------------------------------------------------- */

static int64_t trailing(const Interp *I, const Space *s, int64_t axes) {
  int64_t n = 1;
  for (int64_t k = s->rank - axes; k < s->rank; k++) {
    int64_t e = (int64_t)I->number[s->extent[k]->id];
    n = e <= 0 ? 0 : n * e;
  }
  return n;
}

/* What a reduction, a contraction or a weighted sum is fed with; one of the three. */
typedef struct Fold { const Node *node; Type type; Reducer reducer; Contractor chain; Attender *attender; FormulaRun logarithm; Bits *product, *out; } Fold;

static void fold_start(Fold *f) {
  if (f->attender) attender_start(f->attender);
  else if (f->node->op == OP_CONTRACT) contractor_start(&f->chain, f->type);
  else reducer_start(&f->reducer, f->type, (ReduceKind)(f->node->aux & 255), (ReduceOrder)(f->node->aux >> 8));
}

static Bits fold_result(Fold *f) {
  if (f->attender) attender_end(f->attender);
  if (f->node->op == OP_ATTEND) return attender_result(f->attender);
  if (f->attender) return attender_logsumexp(f->attender, &f->logarithm);
  return f->node->op == OP_CONTRACT ? contractor_result(&f->chain) : reducer_result(&f->reducer);
}

/* The product of all factors but the last, and where a weight is 0, for a piece. x becomes the two factors of the chain. */
static void contract_piece(const Interp *I, Fold *f, int64_t at, int64_t now, const Bits **x, size_t *step, const Bits *one) {
  const Node *n = f->node;
  x[0] = eval_values(I, n->args[0], at, &step[0]);
  for (unsigned k = 1; k + 1 < n->n_args; k++) {
    const Bits *pair[2] = {x[0], eval_values(I, n->args[k], at, &step[1])};
    element_run(ELEMENT_MUL, f->type, f->type, (size_t)now, f->product, pair, step);
    x[0] = f->product;
    step[0] = 1;
  }
  step[1] = 0;
  x[1] = n->n_args > 1 ? eval_values(I, n->args[n->n_args - 1], at, &step[1]) : one;
  if (!f->out) return;
  memset(f->out, 0, (size_t)now * sizeof *f->out);
  for (unsigned k = 0; k < n->n_args; k++) {
    if (!(n->aux >> k & 1)) continue;
    size_t s;
    const Bits *w = eval_values(I, n->args[k], at, &s);
    for (int64_t i = 0; i < now; i++) f->out[i] |= element_eval(ELEMENT_EQ, TYPE_BOOL, f->type, (const Bits[3]){w[(size_t)i * s], 0});
  }
}

static const Formula *formula_of(const Formula *const *by_type, Type type) { return by_type[type == TYPE_F64]; }

/* Streams the arguments once; every `bound` consecutive positions are one result. */
static void eval_fold(Interp *I, const Node *n, Bits *out, int64_t results) {
  List **plan = &I->plan[n->id];
  if (!*plan) *plan = eval_plan(I, n->n_args, n->args);
  const Space *whole = NULL;
  for (unsigned i = 0; i < n->n_args; i++) if (n->args[i]->space->rank) whole = n->args[i]->space;
  if (!whole) return;
  int64_t bound = trailing(I, whole, n->imm), total = results * bound, in_result = 0, result = 0;
  Fold fold = {.node = n, .type = (Type)n->args[0]->type};
  bool contract = n->op == OP_CONTRACT, attend = n->op == OP_ATTEND || (n->op == OP_REDUCE && (n->aux & 255) == REDUCE_LOGSUMEXP);
  if (contract) {
    if (!I->piece[n->id]) I->piece[n->id] = arena_array(I->arena, 2 * EVAL_PIECE, sizeof(Bits));
    fold.product = I->piece[n->id];
    fold.out = n->aux ? fold.product + EVAL_PIECE : NULL;
  }
  if (attend) fold.attender = attender_new(I->arena, fold.type, formula_of(I->g->exponential, fold.type), n->n_args - 1);
  if (attend && n->op == OP_REDUCE) fold.logarithm = formula_run_new(I->arena, formula_of(I->g->logarithm, fold.type), 1);
  const Bits one = element_eval(ELEMENT_CAST, fold.type, TYPE_I64, (const Bits[]){1}), **x = arena_array(I->arena, n->n_args + 1, sizeof *x), **from = arena_array(I->arena, n->n_args + 1, sizeof *from);
  size_t *step = arena_array(I->arena, n->n_args + 1, sizeof *step);
  fold_start(&fold);
  for (; bound == 0 && result < results; result++) out[result] = fold_result(&fold);
  for (int64_t at = 0; at < total; at += EVAL_PIECE) {
    int64_t now = total - at < EVAL_PIECE ? total - at : EVAL_PIECE;
    eval_piece(I, *plan, at, now);
    if (contract) contract_piece(I, &fold, at, now, x, step, &one);
    else for (unsigned k = 0; k < n->n_args; k++) x[k] = eval_values(I, n->args[k], at, &step[k]);
    for (int64_t done = 0; done < now;) {
      int64_t take = bound - in_result < now - done ? bound - in_result : now - done;
      for (unsigned k = 0; k < (contract ? 2 : n->n_args); k++) from[k] = x[k] + (size_t)done * step[k];
      if (attend) attender_feed(fold.attender, from[0], step[0], from + 1, step + 1, (size_t)take);
      else if (contract) contractor_feed(&fold.chain, from[0], step[0], from[1], step[1], fold.out ? fold.out + done : NULL, (size_t)take);
      else reducer_feed(&fold.reducer, from[0], step[0], (size_t)take);
      done += take;
      in_result += take;
      if (in_result < bound) continue;
      out[result++] = fold_result(&fold);
      in_result = 0;
      fold_start(&fold);
    }
  }
}

static void eval_softmax(Interp *I, const Node *n, const Bits *x, Bits *out, int64_t count) {
  Type type = (Type)n->type;
  int64_t bound = trailing(I, n->space, n->imm);
  Attender *a = attender_new(I->arena, type, formula_of(I->g->exponential, type), 0);
  for (int64_t row = 0; row < count; row += bound) {
    attender_start(a);
    attender_feed(a, x + row, 1, NULL, NULL, (size_t)bound);
    attender_end(a);
    for (int64_t i = 0; i < bound; i += SOFTMAX_BLOCK) attender_softmax(a, x + row + i, (size_t)(bound - i < SOFTMAX_BLOCK ? bound - i : SOFTMAX_BLOCK), out + row + i);
  }
}

/* Matrices on the last two axes, in f64 inside. */
static void eval_matrix(Interp *I, const Node *n, const Bits *x, Bits *out, int64_t count) {
  Type type = (Type)n->type;
  int64_t rows = (int64_t)I->number[n->space->extent[n->space->rank - 2]->id], columns = (int64_t)I->number[n->space->extent[n->space->rank - 1]->id];
  if (count <= 0) return;
  int64_t size = rows * columns, least = rows < columns ? rows : columns;
  bool square = rows == columns;
  double *a = arena_array(I->arena, (size_t)size, 8), *v = arena_array(I->arena, (size_t)(rows * least), 8), *q = arena_array(I->arena, (size_t)size, 8);
  for (int64_t at = 0; at < count; at += size) {
    for (int64_t i = 0; i < size; i++) a[i] = bits_to_f64(x[at + i], type);
    if (n->op == OP_QR) matrix_qr(rows, columns, a, v, q);
    else if (square) matrix_eigvec(rows, a, v, q);
    else memset(q, 0, (size_t)size * 8);                                      /* no square: 0 */
    for (int64_t i = 0; i < size; i++) out[at + i] = bits_from_f64(q[i], type);
  }
}

/* The running value starts from the identity, as a sequential sum does. */
static void eval_cumulate(const Node *n, const Bits *x, Bits *out, int64_t rows, int64_t length) {
  ReduceKind kind = (ReduceKind)n->aux;
  for (int64_t r = 0; r < rows; r++) {
    Bits acc = reduce_identity(kind, (Type)n->type);
    for (int64_t i = r * length; i < (r + 1) * length; i++) out[i] = acc = reduce_pair(kind, (Type)n->type, acc, x[i]);
  }
}

/* NaN first, then downwards. */
static bool comes_before(Type t, Bits a, Bits b) {
  const Bits aa[3] = {a, a}, bb[3] = {b, b}, ab[3] = {a, b};
  bool floating = type_kind(t) == KIND_FLOAT;
  bool a_nan = floating && element_eval(ELEMENT_NE, TYPE_BOOL, t, aa), b_nan = floating && element_eval(ELEMENT_NE, TYPE_BOOL, t, bb);
  if (a_nan || b_nan) return a_nan && !b_nan;
  return t == TYPE_BOOL ? a > b : element_eval(ELEMENT_GT, TYPE_BOOL, t, ab) & 1;
}

/* Merge sort of positions, stable, so ties stay in order of index. */
static void eval_order(Interp *I, Type t, const Bits *x, Bits *out, int64_t rows, int64_t length) {
  int64_t *from = arena_array(I->arena, (size_t)length, sizeof *from), *to = arena_array(I->arena, (size_t)length, sizeof *to);
  for (int64_t r = 0; r < rows; r++, x += length, out += length) {
    for (int64_t i = 0; i < length; i++) from[i] = i;
    for (int64_t width = 1; width < length; width *= 2) {
      for (int64_t low = 0; low < length; low += 2 * width) {
        int64_t mid = low + width < length ? low + width : length, end = low + 2 * width < length ? low + 2 * width : length, a = low, b = mid;
        for (int64_t k = low; k < end; k++) to[k] = a < mid && (b >= end || !comes_before(t, x[from[b]], x[from[a]])) ? from[a++] : from[b++];
      }
      int64_t *swap = from;
      from = to;
      to = swap;
    }
    for (int64_t i = 0; i < length; i++) out[from[i]] = (Bits)i;
  }
}

static void eval_scatter(Interp *I, const Node *n, Bits *out, int64_t count) {
  const Node *base = n->args[0], *value = n->args[1];
  size_t step;
  const Bits *x = eval_values(I, base, 0, &step);
  for (int64_t i = 0; i < count; i++) out[i] = x[(size_t)i * step];
  int64_t extent[8];
  unsigned axes = base->space->rank;
  for (unsigned k = 0; k < axes && k < 8; k++) extent[k] = (int64_t)I->number[base->space->extent[k]->id];
  x = eval_values(I, value, 0, &step);
  for (int64_t i = 0, all = eval_count(I, value->space); i < all; i++) {
    int64_t at = flat_position(I, n->args + 2, axes, extent, 0, i);
    if (at >= 0) out[at] = n->aux ? reduce_pair(REDUCE_SUM, (Type)n->type, out[at], x[(size_t)i * step]) : x[(size_t)i * step];
  }
}

/* --- scans -------------------------------------------------------------------------------------------------------------------------------- */

/* Nodes inside the region that depend on what this scan carries and not on what a deeper one does. */
static List *plan_body(Interp *I, const Node *n) {
  bool *in = graph_scan_body(I->g, n, I->carries, I->arena);
  for (unsigned id = 0; id < n->id; id++) in[id] = in[id] && carries_depth(I->carries[id]) == n->imm;
  return list_of(I, in);
}

static void copy_value(Interp *I, Array *to, const Node *n) {
  size_t step;
  const Bits *x = eval_values(I, n, 0, &step);
  int64_t count = eval_count(I, n->space);
  reserve(I, to, count);
  memcpy(to->data, x, (size_t)count * sizeof *x);
}

static void eval_scan(Interp *I, const Node *n) {
  unsigned carried = n->region->n_results;
  Scan *s = &I->scan[n->id];
  if (!I->plan[n->id]) {
    I->plan[n->id] = plan_body(I, n);
    s->now = arena_array(I->arena, carried, sizeof *s->now);
    s->after = arena_array(I->arena, carried, sizeof *s->after);
  }
  for (unsigned k = 0; k < carried; k++) copy_value(I, &s->now[k], n->args[k + 1]);
  int64_t trips = (int64_t)I->number[n->args[0]->id];
  const Node *outer = I->bound[n->imm];
  int64_t outer_trip = I->trip[n->imm];
  I->bound[n->imm] = n;
  for (int64_t trip = 0; trip < trips; trip++) {
    I->trip[n->imm] = n->aux ? trips - 1 - trip : trip;
    for (unsigned i = 0; i < I->plan[n->id]->n; i++) eval_node(I, I->g->nodes[I->plan[n->id]->id[i]]);
    for (unsigned k = 0; k < carried; k++) copy_value(I, &s->after[k], n->region->results[k]);
    Array *swap = s->now;
    s->now = s->after;
    s->after = swap;
  }
  I->bound[n->imm] = outer;
  I->trip[n->imm] = outer_trip;
}

/* The value itself, not a copy: it stays until the scan's next trip or run. */
static void take_carried(Interp *I, const Node *n, const Node *scan) {
  const Array *a = &I->scan[scan->id].now[n->imm];
  if (n->space->rank) I->array[n->id] = (Array){a->data, a->count, 0};
  else I->number[n->id] = a->data[0];
}

/* --- all nodes ----------------------------------------------------------------------------------------------------------------------------- */

static void eval_whole(Interp *I, const Node *n) {
  int64_t count = eval_count(I, n->space);
  Bits *out = &I->number[n->id];
  if (n->space->rank) { reserve(I, &I->array[n->id], count); out = I->array[n->id].data; }
  if (n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND) { eval_fold(I, n, out, count); return; }
  if (n->op == OP_SCATTER) { eval_scatter(I, n, out, count); return; }
  size_t step;
  const Bits *x = eval_values(I, n->args[0], 0, &step);
  int64_t length = (int64_t)I->number[n->space->extent[n->space->rank - 1]->id], rows = length > 0 ? count / length : 0;
  if (n->op == OP_SOFTMAX) eval_softmax(I, n, x, out, count);
  else if (n->op == OP_EIGVEC || n->op == OP_QR) eval_matrix(I, n, x, out, count);
  else if (n->op == OP_CUMULATE) eval_cumulate(n, x, out, rows, length);
  else eval_order(I, (Type)n->args[0]->type, x, out, rows, length);
}

void eval_node(Interp *I, const Node *n) {
  const optc_frame *f = I->frame;
  Bits *number = &I->number[n->id];
  switch ((int)n->op) {
    case OP_CONST: *number = (Bits)n->imm; return;
    case OP_HYPER: *number = eval_hyper(I, n->imm, (Type)n->type); return;
    case OP_STEP: *number = (Bits)f->t; return;
    case OP_SEED: *number = f->seed; return;
    case OP_ITEM: *number = (Bits)f->index; return;
    case OP_SIZE: *number = (Bits)eval_size(I, n->imm, n->aux, 0); return;
    case OP_PRESENT: *number = !operand_is_tensor(&I->g->module->operands[n->imm]) || eval_data(I, n->imm) != NULL; return;
    case OP_SCALAR: *number = eval_number(I, n->imm); return;
    case OP_SCAN: eval_scan(I, n); return;
    case OP_RESULT: take_carried(I, n, n->args[0]); return;
    case OP_CARRY:
      if (n->imm < 0) *number = (Bits)I->trip[n->aux & 63];
      else take_carried(I, n, I->bound[n->aux & 63]);
      return;
    case OP_REDUCE: case OP_CONTRACT: case OP_ATTEND: case OP_SOFTMAX: case OP_EIGVEC: case OP_QR: case OP_SCATTER: case OP_CUMULATE: case OP_ORDER: eval_whole(I, n); return;
    case OP_TOTAL: *number = n->type == TYPE_BOOL ? f->totals[I->slot[n->id]] != 0 : f->totals[I->slot[n->id]]; return;
    default: break;
  }
  if (!n->space->rank) eval_points(I, n, 0, 1, number);
  else if (I->stored[n->id]) eval_materialise(I, n);
}

const char *eval_unknown(const Graph *g, const bool *live) {
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (!live[i]) continue;
    bool too_deep = n->op == OP_SCAN && (n->imm < 0 || n->imm > 63), too_many = n->space->rank > OPTC_MAX_RANK || (n->op == OP_READ && n->n_args - (n->aux == 1) > OPTC_MAX_RANK);
    bool logsumexp = n->op == OP_REDUCE && (n->aux & 255) == REDUCE_LOGSUMEXP, softmax = n->op == OP_ATTEND || n->op == OP_SOFTMAX || logsumexp;
    bool not_expanded = softmax && (!formula_of(g->exponential, (Type)n->type) || (logsumexp && !formula_of(g->logarithm, (Type)n->type)));
    bool not_reduced = n->op == OP_TOTAL && n->args[0]->space->rank;
    if (op_is_function((Op)n->op) || too_deep || too_many || not_expanded || not_reduced) return op_name((Op)n->op);
  }
  return NULL;
}

const char *graph_not_interpretable(const Graph *g, Arena *scratch) { return eval_unknown(g, graph_reachable(g, scratch)); }
