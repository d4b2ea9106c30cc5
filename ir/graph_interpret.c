/* graph_interpret.c: the graph form evaluated, as the driver's kernels SIZES, CHECK, ITEM, TOTAL and FINISH. Values over all items: before the
 * writes, item kernels of stage 0, 1, ... fill the slots of the totals that depend on 0, 1, ... totals themselves, each followed by its TOTAL kernel.
 *
 * Nodes are visited in order of id, so operands are known. A number is kept as one value. Values with axes are of two kinds: what
 * is computed position by position is evaluated a piece of 1,024 positions at a time where somebody needs it (a write, a
 * reduction), and what needs more than its own position is stored whole, as are the operands that it reads out of order.
 * The body of a scan is the list of its nodes that depend on carried values; it runs once a trip. */
#include "ir/interpret.h"
#include <string.h>
#include "ir/graph_blocks.h"
#include "ir/graph_reduce.h"
#include "ir/matrix.h"

enum { PIECE = 1024 };
#define FIELD(base, offset, type) (*(type *)((char *)(uintptr_t)(base) + (offset)))

typedef struct List { unsigned n; unsigned *id; } List;                        /* nodes in order */
typedef struct Array { Bits *data; int64_t count, capacity; } Array;
typedef struct Scan { Array *now, *after; } Scan;                              /* one a carried value */

typedef struct Interp {
  const Graph *g;
  optc_frame *frame;
  Arena *arena;
  const Layout *layout;
  bool *live, *stored;                                 /* by id */
  const uint64_t *carries;
  Bits *number;                                        /* rank 0 */
  Array *array;                                        /* stored values */
  Bits **piece;                                        /* values of the current piece */
  List **plan;                                         /* of streamed roots, and of scans: their bodies */
  Scan *scan;
  int *slot; unsigned *stage;                          /* of totals */
  const Node *bound[64];                               /* the scan that runs at each depth */
  int64_t trip[64];
} Interp;

/* --- sizes and operands --------------------------------------------------------------------------------------------------------------- */

static int64_t count_of(const Interp *I, const Space *s) {
  int64_t n = 1;
  for (unsigned k = 0; k < s->rank; k++) {
    int64_t e = (int64_t)I->number[s->extent[k]->id];
    if (e < 0) e = 0;
    if (__builtin_mul_overflow(n, e, &n)) n = INT64_MAX;
  }
  return n;
}

static Bits hyper_value(const Interp *I, int64_t k, Type type) {
  Bits x = FIELD(I->frame->hyper, 8 * k, uint64_t);
  return type == TYPE_BOOL ? x != 0 : x;
}

static bool is_tensor(const Operand *o) { return operand_is_tensor(o); }

static void *number_at(const Interp *I, int64_t k) {
  const Operand *o = &I->g->module->operands[k];
  char *base = o->scope == SCOPE_GLOBAL ? I->frame->global : I->frame->item;
  return base ? base + I->layout->operand[k] : NULL;
}

/* Numbers are kept in 8 bytes: double, int64_t, or int64_t 0 and 1. */
static Bits number_value(const Interp *I, int64_t k) {
  const Operand *o = &I->g->module->operands[k];
  const void *at = number_at(I, k);
  if (!at) return 0;
  Bits x;
  memcpy(&x, at, 8);
  if (o->storage == TYPE_BOOL) return x != 0;
  Type kept = type_kind(o->storage) == KIND_FLOAT ? TYPE_F64 : TYPE_I64;
  return element_eval(ELEMENT_CAST, type_arithmetic(o->storage), kept, &x);
}

static void *tensor_data(const Interp *I, int64_t k) {
  const Operand *o = &I->g->module->operands[k];
  if (o->scope != SCOPE_GLOBAL) return I->frame->data[k];
  return I->frame->global ? FIELD(I->frame->global, I->layout->operand[k], void *) : NULL;
}

static int64_t size_value(const Interp *I, int64_t k, int32_t axis, unsigned depth);

/* An extent of an operand's shape, which stands in a graph of its own. */
static Bits extent_value(const Interp *I, const Node *n, unsigned depth) {
  Bits x[3] = {0};
  if (depth > 64) return 0;
  switch ((int)n->op) {
    case OP_CONST: return (Bits)n->imm;
    case OP_HYPER: return hyper_value(I, n->imm, (Type)n->type);
    case OP_SCALAR: return number_value(I, n->imm);
    case OP_PRESENT: return tensor_data(I, n->imm) != NULL;
    case OP_SIZE: return (Bits)size_value(I, n->imm, n->aux, depth + 1);
    default: break;
  }
  if (!op_is_element((Op)n->op)) return 0;
  for (unsigned i = 0; i < n->n_args && i < 3; i++) x[i] = extent_value(I, n->args[i], depth + 1);
  return element_eval((Element)n->op, (Type)n->type, (Type)n->args[n->n_args - 1]->type, x);
}

/* An axis of an operand's logical shape. */
static int64_t extent_of(const Interp *I, int64_t k, unsigned axis, unsigned depth) {
  const Operand *o = &I->g->module->operands[k];
  if (!o->shape) return I->frame->count;
  return axis < o->shape->rank ? (int64_t)extent_value(I, o->shape->extent[axis], depth + 1) : 1;
}

static int64_t elements_of(const Interp *I, int64_t k) {
  const Operand *o = &I->g->module->operands[k];
  if (!o->shape) return I->frame->count;
  int64_t n = 1;
  for (unsigned a = 0; a < o->shape->rank; a++) {
    int64_t e = extent_of(I, k, a, 0);
    n = (int64_t)((uint64_t)n * (uint64_t)(e < 0 ? 0 : e));
  }
  return n;
}

/* Sizes of tensors as they lie in memory: the item's, the caller's, or, of states, what the rule says. */
static int64_t size_value(const Interp *I, int64_t k, int32_t axis, unsigned depth) {
  const Operand *o = &I->g->module->operands[k];
  const optc_frame *f = I->frame;
  if (o->shape && !operand_is_shaped(o)) {
    int64_t at = axis >= 0 ? axis : (int64_t)o->shape->rank + axis + 2;
    if (axis == -2) return o->shape->rank;
    return axis == -1 ? elements_of(I, k) : at >= 0 ? extent_of(I, k, (unsigned)at, depth) : 1;
  }
  const int64_t *shape = o->shape ? f->shapes ? f->shapes[k] : NULL : f->shape;
  int64_t rank = o->shape ? f->ranks ? f->ranks[k] : 0 : f->rank, n = 1, at = axis >= 0 ? axis : rank + axis + 2;
  if (axis == -2) return rank;
  if (axis != -1) return shape && at >= 0 && at < rank ? shape[at] : 1;
  if (!o->shape) return f->count;
  for (int64_t a = 0; a < rank; a++) n = (int64_t)((uint64_t)n * (uint64_t)shape[a]);
  return n;
}

static Bits load_one(const void *data, int64_t i, Type storage) {
  switch (storage) {
    case TYPE_BOOL: return ((const uint8_t *)data)[i] != 0;
    case TYPE_I8: return (Bits)(int64_t)((const int8_t *)data)[i];
    case TYPE_U8: return ((const uint8_t *)data)[i];
    case TYPE_I32: return (Bits)(int64_t)((const int32_t *)data)[i];
    case TYPE_F32: return ((const uint32_t *)data)[i];
    case TYPE_BF16: return (Bits)((const uint16_t *)data)[i] << 16;
    case TYPE_F16: { float x = f32_from_f16(((const uint16_t *)data)[i]); uint32_t u; memcpy(&u, &x, 4); return u; }
    default: return ((const uint64_t *)data)[i];
  }
}

static void load(Bits *out, const void *data, int64_t from, int64_t n, Type storage) {
  if (storage == TYPE_F32) for (int64_t i = 0; i < n; i++) out[i] = ((const uint32_t *)data)[from + i];
  else for (int64_t i = 0; i < n; i++) out[i] = load_one(data, from + i, storage);
}

/* What is stored for a value: +0 below 2^-126 with `flush`, then the storage type. */
static Bits to_storage(const Operand *o, Bits x, Type type) {
  if (o->flush && type == TYPE_F32 && (x & 0x7fffffff) < 0x00800000) x = 0;
  return o->storage == type ? x : element_eval(ELEMENT_CAST, o->storage, type, &x);
}

static void store(const Operand *o, void *data, int64_t from, int64_t n, const Bits *x, size_t step, Type type) {
  unsigned bytes = type_bytes(o->storage);
  for (int64_t i = 0; i < n; i++) {
    Bits b = to_storage(o, x[(size_t)i * step], type);
    switch (bytes) {
      case 1: ((uint8_t *)data)[from + i] = (uint8_t)b; break;
      case 2: ((uint16_t *)data)[from + i] = (uint16_t)b; break;
      case 4: ((uint32_t *)data)[from + i] = (uint32_t)b; break;
      default: ((uint64_t *)data)[from + i] = b; break;
    }
  }
}

static void set_number(const Interp *I, unsigned k, Bits x, Type type) {
  const Operand *o = &I->g->module->operands[k];
  void *at = number_at(I, k);
  if (!at) return;
  x = to_storage(o, x, type);
  Type kept = type_kind(o->storage) == KIND_FLOAT ? TYPE_F64 : TYPE_I64;
  x = element_eval(ELEMENT_CAST, kept, o->storage, &x);
  memcpy(at, &x, 8);
}

/* --- one node over a piece ------------------------------------------------------------------------------------------------------------ */

/* Where a node's values from position `from` stand; *step 0: one value for all. */
static const Bits *values(const Interp *I, const Node *n, int64_t from, size_t *step) {
  *step = n->space->rank != 0;
  if (!*step) return &I->number[n->id];
  return I->stored[n->id] ? I->array[n->id].data + from : I->piece[n->id];
}

static void eval_index(const Interp *I, const Node *n, int64_t from, int64_t count, Bits *out) {
  int64_t stride = 1, extent = (int64_t)I->number[n->space->extent[n->imm]->id];
  for (unsigned k = n->space->rank; --k > n->imm;) stride *= (int64_t)I->number[n->space->extent[k]->id];
  if (n->imm == 0 && stride == 1) for (int64_t i = 0; i < count; i++) out[i] = (Bits)(from + i);
  else for (int64_t i = 0; i < count; i++) out[i] = (Bits)((from + i) / stride % extent);
}

/* The flat position of indices args[0..axes), or -1 outside. */
static int64_t flat_position(const Interp *I, const Node *const *args, unsigned axes, const int64_t *extent, int64_t from, int64_t i) {
  int64_t at = 0;
  for (unsigned k = 0; k < axes; k++) {
    size_t step;
    int64_t x = (int64_t)values(I, args[k], from, &step)[(size_t)i * step];
    if (x < 0 || x >= extent[k]) return -1;
    at = at * extent[k] + x;
  }
  return at;
}

static void eval_read(const Interp *I, const Node *n, int64_t from, int64_t count, Bits *out) {
  const Operand *o = &I->g->module->operands[n->imm];
  const void *data = tensor_data(I, n->imm);
  unsigned guarded = n->aux == 1, axes = n->n_args - guarded;
  size_t step = 0;
  const Bits always = 1, *guard = guarded ? values(I, n->args[axes], from, &step) : &always;
  bool none = !data || (!step && !(guard[0] & 1));
  if (none) { memset(out, 0, (size_t)count * sizeof *out); return; }
  if (!axes && !step) { load(out, data, from, count, o->storage); return; }
  int64_t extent[8] = {I->frame->count};
  for (unsigned k = 0; k < axes && k < 8 && o->shape; k++) extent[k] = extent_of(I, n->imm, k, 0);
  for (int64_t i = 0; i < count; i++) {
    int64_t at = !(guard[(size_t)i * step] & 1) ? -1 : axes ? flat_position(I, n->args, axes, extent, from, i) : from + i;
    out[i] = at < 0 ? 0 : load_one(data, at, o->storage);
  }
}

static void eval_map(const Interp *I, const Node *n, int64_t from, int64_t count, Bits *out) {
  const Node *x = n->args[0];
  size_t step;
  const Bits *data = values(I, x, 0, &step);
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
      const Bits *v = values(I, n->args[k], from, &step);
      x[k] = (uint32_t)v[(size_t)i * step];
    }
    out[i] = philox(x, x + 4, (unsigned)n->imm & 3);
  }
}

static bool pointwise(const Node *n) {
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
  for (unsigned k = 0; k < n->n_args; k++) x[k] = values(I, n->args[k], from, &step[k]);
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
static List *plan_stream(Interp *I, unsigned n_roots, const Node *const *roots) {
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
  int64_t count = I->carries[n->id] ? PIECE : count_of(I, n->space);
  return (size_t)(count < PIECE ? count : PIECE);
}

static void run_piece(Interp *I, const List *plan, int64_t from, int64_t count) {
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
static void materialise(Interp *I, const Node *n) {
  List **plan = &I->plan[n->id];
  I->stored[n->id] = false;
  if (!*plan) *plan = plan_stream(I, 1, &n);
  int64_t count = count_of(I, n->space);
  reserve(I, &I->array[n->id], count);
  for (int64_t at = 0; at < count; at += PIECE) {
    int64_t now = count - at < PIECE ? count - at : PIECE;
    run_piece(I, *plan, at, now);
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
  x[0] = values(I, n->args[0], at, &step[0]);
  for (unsigned k = 1; k + 1 < n->n_args; k++) {
    const Bits *pair[2] = {x[0], values(I, n->args[k], at, &step[1])};
    element_run(ELEMENT_MUL, f->type, f->type, (size_t)now, f->product, pair, step);
    x[0] = f->product;
    step[0] = 1;
  }
  step[1] = 0;
  x[1] = n->n_args > 1 ? values(I, n->args[n->n_args - 1], at, &step[1]) : one;
  if (!f->out) return;
  memset(f->out, 0, (size_t)now * sizeof *f->out);
  for (unsigned k = 0; k < n->n_args; k++) {
    if (!(n->aux >> k & 1)) continue;
    size_t s;
    const Bits *w = values(I, n->args[k], at, &s);
    for (int64_t i = 0; i < now; i++) f->out[i] |= element_eval(ELEMENT_EQ, TYPE_BOOL, f->type, (const Bits[3]){w[(size_t)i * s], 0});
  }
}

static const Formula *formula_of(const Formula *const *by_type, Type type) { return by_type[type == TYPE_F64]; }

/* Streams the arguments once; every `bound` consecutive positions are one result. */
static void eval_fold(Interp *I, const Node *n, Bits *out, int64_t results) {
  List **plan = &I->plan[n->id];
  if (!*plan) *plan = plan_stream(I, n->n_args, n->args);
  const Space *whole = NULL;
  for (unsigned i = 0; i < n->n_args; i++) if (n->args[i]->space->rank) whole = n->args[i]->space;
  if (!whole) return;
  int64_t bound = trailing(I, whole, n->imm), total = results * bound, in_result = 0, result = 0;
  Fold fold = {.node = n, .type = (Type)n->args[0]->type};
  bool contract = n->op == OP_CONTRACT, attend = n->op == OP_ATTEND || (n->op == OP_REDUCE && (n->aux & 255) == REDUCE_LOGSUMEXP);
  if (contract) {
    if (!I->piece[n->id]) I->piece[n->id] = arena_array(I->arena, 2 * PIECE, sizeof(Bits));
    fold.product = I->piece[n->id];
    fold.out = n->aux ? fold.product + PIECE : NULL;
  }
  if (attend) fold.attender = attender_new(I->arena, fold.type, formula_of(I->g->exponential, fold.type), n->n_args - 1);
  if (attend && n->op == OP_REDUCE) fold.logarithm = formula_run_new(I->arena, formula_of(I->g->logarithm, fold.type), 1);
  const Bits one = element_eval(ELEMENT_CAST, fold.type, TYPE_I64, (const Bits[]){1}), **x = arena_array(I->arena, n->n_args + 1, sizeof *x), **from = arena_array(I->arena, n->n_args + 1, sizeof *from);
  size_t *step = arena_array(I->arena, n->n_args + 1, sizeof *step);
  fold_start(&fold);
  for (; bound == 0 && result < results; result++) out[result] = fold_result(&fold);
  for (int64_t at = 0; at < total; at += PIECE) {
    int64_t now = total - at < PIECE ? total - at : PIECE;
    run_piece(I, *plan, at, now);
    if (contract) contract_piece(I, &fold, at, now, x, step, &one);
    else for (unsigned k = 0; k < n->n_args; k++) x[k] = values(I, n->args[k], at, &step[k]);
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
  const Bits *x = values(I, base, 0, &step);
  for (int64_t i = 0; i < count; i++) out[i] = x[(size_t)i * step];
  int64_t extent[8];
  unsigned axes = base->space->rank;
  for (unsigned k = 0; k < axes && k < 8; k++) extent[k] = (int64_t)I->number[base->space->extent[k]->id];
  x = values(I, value, 0, &step);
  for (int64_t i = 0, all = count_of(I, value->space); i < all; i++) {
    int64_t at = flat_position(I, n->args + 2, axes, extent, 0, i);
    if (at >= 0) out[at] = n->aux ? reduce_pair(REDUCE_SUM, (Type)n->type, out[at], x[(size_t)i * step]) : x[(size_t)i * step];
  }
}

/* --- scans -------------------------------------------------------------------------------------------------------------------------------- */

static void eval_node(Interp *, const Node *);

/* Nodes inside the region that depend on what this scan carries and not on what a deeper one does. */
static List *plan_body(Interp *I, const Node *n) {
  bool *in = arena_array(I->arena, I->g->n_nodes, sizeof *in);
  uint64_t own = UINT64_C(1) << n->imm;
  for (unsigned r = 0; r < n->region->n_results; r++) in[n->region->results[r]->id] = true;
  for (unsigned id = n->id; id-- > 0;) {
    const Node *x = I->g->nodes[id];
    if (!in[id]) continue;
    if (!(I->carries[id] & own)) { in[id] = false; continue; }
    for (unsigned k = 0; k < x->n_args; k++) in[x->args[k]->id] = true;
    for (unsigned k = 0; k < x->space->rank; k++) in[x->space->extent[k]->id] = true;
    for (unsigned k = 0; x->region && k < x->region->n_results; k++) in[x->region->results[k]->id] = true;
    if (I->carries[id] >> n->imm >> 1) in[id] = false;
  }
  return list_of(I, in);
}

static void copy_value(Interp *I, Array *to, const Node *n) {
  size_t step;
  const Bits *x = values(I, n, 0, &step);
  int64_t count = count_of(I, n->space);
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
  int64_t count = count_of(I, n->space);
  Bits *out = &I->number[n->id];
  if (n->space->rank) { reserve(I, &I->array[n->id], count); out = I->array[n->id].data; }
  if (n->op == OP_REDUCE || n->op == OP_CONTRACT || n->op == OP_ATTEND) { eval_fold(I, n, out, count); return; }
  if (n->op == OP_SCATTER) { eval_scatter(I, n, out, count); return; }
  size_t step;
  const Bits *x = values(I, n->args[0], 0, &step);
  int64_t length = (int64_t)I->number[n->space->extent[n->space->rank - 1]->id], rows = length > 0 ? count / length : 0;
  if (n->op == OP_SOFTMAX) eval_softmax(I, n, x, out, count);
  else if (n->op == OP_EIGVEC || n->op == OP_QR) eval_matrix(I, n, x, out, count);
  else if (n->op == OP_CUMULATE) eval_cumulate(n, x, out, rows, length);
  else eval_order(I, (Type)n->args[0]->type, x, out, rows, length);
}

static void eval_node(Interp *I, const Node *n) {
  const optc_frame *f = I->frame;
  Bits *number = &I->number[n->id];
  switch ((int)n->op) {
    case OP_CONST: *number = (Bits)n->imm; return;
    case OP_HYPER: *number = hyper_value(I, n->imm, (Type)n->type); return;
    case OP_STEP: *number = (Bits)f->t; return;
    case OP_SEED: *number = f->seed; return;
    case OP_ITEM: *number = (Bits)f->index; return;
    case OP_SIZE: *number = (Bits)size_value(I, n->imm, n->aux, 0); return;
    case OP_PRESENT: *number = !is_tensor(&I->g->module->operands[n->imm]) || tensor_data(I, n->imm) != NULL; return;
    case OP_SCALAR: *number = number_value(I, n->imm); return;
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
  else if (I->stored[n->id]) materialise(I, n);
}

static const char *unknown(const Graph *g, const bool *live) {
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (!live[i]) continue;
    bool too_deep = n->op == OP_SCAN && (n->imm < 0 || n->imm > 63), too_many = n->space->rank > 8 || (n->op == OP_READ && n->n_args > 9);
    bool logsumexp = n->op == OP_REDUCE && (n->aux & 255) == REDUCE_LOGSUMEXP, softmax = n->op == OP_ATTEND || n->op == OP_SOFTMAX || logsumexp;
    bool not_expanded = softmax && (!formula_of(g->exponential, (Type)n->type) || (logsumexp && !formula_of(g->logarithm, (Type)n->type)));
    bool not_reduced = n->op == OP_TOTAL && n->args[0]->space->rank;
    if (op_is_function((Op)n->op) || too_deep || too_many || not_expanded || not_reduced) return op_name((Op)n->op);
  }
  return NULL;
}

const char *graph_not_interpretable(const Graph *g, Arena *scratch) { return unknown(g, graph_reachable(g, scratch)); }

/* What the marked nodes need; a total is a number that is there. */
static void mark(const Graph *g, bool *live) {
  for (unsigned i = g->n_nodes; i-- > 0;) {
    const Node *n = g->nodes[i];
    if (!live[i]) continue;
    for (unsigned k = 0; k < n->n_args && n->op != OP_TOTAL; k++) live[n->args[k]->id] = true;
    for (unsigned k = 0; k < n->space->rank; k++) live[n->space->extent[k]->id] = true;
    for (unsigned k = 0; n->region && k < n->region->n_results; k++) live[n->region->results[k]->id] = true;
  }
}

static bool fills_slot(const Interp *I, unsigned id, unsigned stage) { return I->slot[id] >= 0 && I->stage[id] == stage + 1; }

/* What is needed for this launch, and which values with axes are kept whole. */
static void prepare(Interp *I, Launch launch, unsigned stage, bool writes) {
  const Graph *g = I->g;
  I->live = arena_array(I->arena, g->n_nodes, sizeof *I->live);
  I->stored = arena_array(I->arena, g->n_nodes, sizeof *I->stored);
  I->number = arena_array(I->arena, g->n_nodes, sizeof *I->number);
  I->array = arena_array(I->arena, g->n_nodes, sizeof *I->array);
  I->piece = arena_array(I->arena, g->n_nodes, sizeof *I->piece);
  I->plan = arena_array(I->arena, g->n_nodes, sizeof *I->plan);
  I->scan = arena_array(I->arena, g->n_nodes, sizeof *I->scan);
  I->carries = graph_carries(g, I->arena);
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    if ((launch == LAUNCH_FINISH) != (g->module->operands[w->operand].scope == SCOPE_GLOBAL) || !writes) continue;
    I->live[w->value->id] = true;
    if (w->when) I->live[w->when->id] = true;
  }
  if (launch == LAUNCH_FINISH && g->skip) I->live[g->skip->id] = true;
  for (unsigned i = 0; i < g->n_nodes; i++) if (launch == LAUNCH_ITEM && !writes && fills_slot(I, i, stage)) I->live[g->nodes[i]->args[0]->id] = true;
  for (unsigned i = 0; launch == LAUNCH_ITEM && writes && i < g->n_exists; i++) if (g->exists[i].when) I->live[g->exists[i].when->id] = true;
  for (unsigned i = 0; launch == LAUNCH_CHECK && i < g->n_requires; i++) {
    I->live[g->requires[i].cond->id] = true;
    for (unsigned k = 0; k < g->requires[i].n; k++) I->live[g->requires[i].value[k]->id] = true;
  }
  mark(g, I->live);
  for (unsigned i = 0; i < g->n_nodes; i++) {
    const Node *n = g->nodes[i];
    if (!I->live[i]) continue;
    if (!pointwise(n)) I->stored[i] = true;
    bool all = n->op == OP_CUMULATE || n->op == OP_ORDER || n->op == OP_SCATTER || n->op == OP_SCAN || n->op == OP_SOFTMAX || n->op == OP_EIGVEC || n->op == OP_QR;
    for (unsigned k = 0; k < n->n_args && (all || (n->op == OP_MAP && k == 0)); k++) I->stored[n->args[k]->id] = true;
    for (unsigned k = 0; n->region && k < n->region->n_results; k++) I->stored[n->region->results[k]->id] = true;
  }
}

/* --- launches -------------------------------------------------------------------------------------------------------------------------------- */

static void check(Interp *I) {
  const Graph *g = I->g;
  optc_frame *f = I->frame;
  for (unsigned i = 0; i < g->n_requires; i++) {
    const Requirement *r = &g->requires[i];
    if (I->number[r->cond->id] & 1) continue;
    f->failed = 1 + i;
    f->n_values = r->n;
    for (unsigned k = 0; k < r->n; k++) f->value[k] = bits_to_f64(I->number[r->value[k]->id], (Type)r->value[k]->type);
    return;
  }
}

static bool is_on(const Interp *I, const Write *w) { return !w->when || I->number[w->when->id] & 1; }

/* Tensor writes. Straight to the operands, a piece of all values before a piece of all stores, where every value is computed
 * from its own position over one space; else all values first. */
static void write_tensors(Interp *I) {
  const Graph *g = I->g;
  const Node **value = arena_array(I->arena, g->n_writes, sizeof *value);
  unsigned *which = arena_array(I->arena, g->n_writes, sizeof *which), n = 0;
  const Space *space = NULL;
  bool straight = true;
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    if (!is_tensor(&g->module->operands[w->operand]) || g->module->operands[w->operand].scope == SCOPE_GLOBAL || !is_on(I, w) || !tensor_data(I, w->operand)) continue;
    for (unsigned k = 0; k < n; k++) if (g->writes[which[k]].operand == w->operand) straight = false;      /* the later one stays */
    which[n] = i;
    value[n++] = w->value;
    if (!w->value->space->rank) continue;
    if (space && space != w->value->space) straight = false;
    space = w->value->space;
  }
  List *plan = plan_stream(I, n, value);
  for (unsigned i = 0; i < plan->n; i++) {
    const Node *x = g->nodes[plan->id[i]];
    if (x->op == OP_READ && x->n_args > (unsigned)(x->aux == 1)) straight = false;
  }
  if (straight && space) {
    int64_t count = count_of(I, space);
    for (int64_t at = 0; at < count; at += PIECE) {
      int64_t now = count - at < PIECE ? count - at : PIECE;
      run_piece(I, plan, at, now);
      for (unsigned i = 0; i < n; i++) {
        if (!value[i]->space->rank) continue;
        size_t step;
        const Bits *x = values(I, value[i], at, &step);
        store(&g->module->operands[g->writes[which[i]].operand], tensor_data(I, g->writes[which[i]].operand), at, now, x, step, (Type)value[i]->type);
      }
    }
  } else {
    for (unsigned i = 0; i < n; i++) if (value[i]->space->rank && !I->stored[value[i]->id]) materialise(I, value[i]);
  }
  for (unsigned i = 0; i < n; i++) {
    if (straight && value[i]->space->rank) continue;
    unsigned k = g->writes[which[i]].operand;
    size_t step;
    const Bits *x = values(I, value[i], 0, &step);
    store(&g->module->operands[k], tensor_data(I, k), 0, value[i]->space->rank ? count_of(I, value[i]->space) : elements_of(I, k), x, step, (Type)value[i]->type);
  }
}

/* Writes of global operands that have axes: numbers and whole tensors, all values before all stores. */
static void write_globals(Interp *I) {
  const Graph *g = I->g;
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Node *value = g->writes[i].value;
    if (g->module->operands[g->writes[i].operand].scope == SCOPE_GLOBAL && value->space->rank && !I->stored[value->id]) materialise(I, value);
  }
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    const Operand *o = &g->module->operands[w->operand];
    if (o->scope != SCOPE_GLOBAL || !is_tensor(o) || !is_on(I, w) || !tensor_data(I, w->operand)) continue;
    size_t step;
    const Bits *x = values(I, w->value, 0, &step);
    store(o, tensor_data(I, w->operand), 0, step ? count_of(I, w->value->space) : elements_of(I, w->operand), x, step, (Type)w->value->type);
  }
}

static void write_numbers(Interp *I, Scope scope) {
  const Graph *g = I->g;
  for (unsigned i = 0; i < g->n_writes; i++) {
    const Write *w = &g->writes[i];
    const Operand *o = &g->module->operands[w->operand];
    if (o->scope == scope && !is_tensor(o) && is_on(I, w)) set_number(I, w->operand, I->number[w->value->id], (Type)w->value->type);
  }
}

/* Sizes of the states that have a shape of their own. */
static void write_sizes(const Interp *I, bool call) {
  const Module *m = I->g->module;
  optc_frame *f = I->frame;
  for (unsigned k = 0; k < m->n_operands; k++) {
    const Operand *o = &m->operands[k];
    if (!o->shape || operand_is_shaped(o) || (o->scope == SCOPE_GLOBAL) != call) continue;
    f->counts[k] = elements_of(I, k);
    for (unsigned a = 0; a < o->shape->rank && a < OPTC_MAX_RANK; a++) f->extents[OPTC_MAX_RANK * k + a] = extent_of(I, k, a, 0);
  }
}

static void fill_slots(Interp *I, unsigned stage) {
  optc_frame *f = I->frame;
  for (unsigned i = 0; i < I->g->n_nodes; i++)
    if (fills_slot(I, i, stage)) f->slots[I->slot[i] * f->n_items + f->position] = I->number[I->g->nodes[i]->args[0]->id];
}

/* In order of the list, from the identity. */
static void combine_slots(Interp *I, unsigned stage) {
  optc_frame *f = I->frame;
  for (unsigned i = 0; i < I->g->n_nodes; i++) {
    const Node *n = I->g->nodes[i];
    if (!fills_slot(I, i, stage)) continue;
    ReduceKind kind = (ReduceKind)(n->aux & 255);
    Bits x = reduce_identity(kind, (Type)n->type);
    for (int64_t k = 0; k < f->n_items; k++) x = reduce_pair(kind, (Type)n->type, x, f->slots[I->slot[i] * f->n_items + k]);
    f->totals[I->slot[i]] = x;
  }
}

void graph_interpret_stage(const Graph *g, Launch launch, unsigned stage, optc_frame *frame, Arena *scratch) {
  Interp interp = {.g = g, .frame = frame, .arena = scratch, .layout = layout_in(g->module, scratch)}, *I = &interp;
  unsigned n_slots, n_stages;
  if (launch == LAUNCH_SIZES || launch == LAUNCH_CALL_SIZES) { write_sizes(I, launch == LAUNCH_CALL_SIZES); return; }
  I->slot = graph_slots(g, scratch, &n_slots);
  I->stage = graph_stages(g, scratch, &n_stages);
  if (launch == LAUNCH_TOTAL) { combine_slots(I, stage); return; }
  bool writes = launch == LAUNCH_FINISH || (launch == LAUNCH_ITEM && stage >= n_stages);
  prepare(I, launch, stage, writes);
  if (unknown(g, I->live)) return;
  for (unsigned i = 0; i < g->n_nodes; i++) if (I->live[i] && !I->carries[i]) eval_node(I, g->nodes[i]);
  switch (launch) {
    case LAUNCH_CHECK: check(I); return;
    case LAUNCH_ITEM:
      if (!writes) { fill_slots(I, stage); return; }
      write_tensors(I);
      write_numbers(I, SCOPE_SCALAR);
      for (unsigned i = 0; frame->exists && i < g->n_exists; i++)
        frame->exists[g->exists[i].operand] = !g->exists[i].when || (I->number[g->exists[i].when->id] & 1);
      return;
    case LAUNCH_FINISH:
      write_globals(I);
      write_numbers(I, SCOPE_GLOBAL);
      if (g->skip) frame->skip = (int64_t)(I->number[g->skip->id] & 1);
      return;
    default: return;
  }
}

void graph_interpret(const Graph *g, Launch launch, optc_frame *frame, Arena *scratch) { graph_interpret_stage(g, launch, ~0u, frame, scratch); }
