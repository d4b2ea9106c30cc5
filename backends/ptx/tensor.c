/* tensor.c: ldmatrix and mma.sync (PTX ISA, "Warp Level Matrix Instructions").
 *
 * The ISA leaves open how mma adds. What devices do has been measured (Fasi et al. 2021; FTTN, arXiv 2403.00232; MMA-Sim, arXiv 2511.10909): products
 * are exact; k is cut into groups of L; a group adds its products and the accumulator in one step: every term is aligned to the largest exponent,
 * cut toward zero at F bits of fraction, added exactly, and the sum cut toward zero to f32. Exponents of products are sums of the operands'. */
#include <string.h>
#include "backends/ptx/arith.h"
#include "backends/ptx/ops.h"

typedef enum Format { BF16, F16, TF32 } Format;

/* By generation: fraction bits, products at once of 16-bit operands (tf32: half as many), exponent of an exact zero. */
static const struct { int fraction, group, zero; } units[] = {
  [PTX_AMPERE] = {24, 8, -132}, [PTX_VOLTA] = {23, 4, -131}, [PTX_TURING] = {24, 8, -132}, [PTX_HOPPER] = {25, 16, -133},
};

/* A number as an integer times a power of two, with the exponent that alignment goes by. */
typedef struct Term { int64_t significand; int exponent, scale; bool nan, infinite; } Term;

static Term term_of(uint32_t u, int exponent_bits, int fraction_bits) {
  int bias = (1 << (exponent_bits - 1)) - 1, e = (int)(u >> fraction_bits) & ((1 << exponent_bits) - 1);
  int64_t fraction = u & ((1u << fraction_bits) - 1);
  bool special = e == (1 << exponent_bits) - 1, negative = u >> (exponent_bits + fraction_bits) & 1;
  Term t = {.exponent = e ? e - bias : 1 - bias, .nan = special && fraction, .infinite = special && !fraction};
  t.significand = special ? 1 : fraction | (e ? INT64_C(1) << fraction_bits : 0);
  if (negative) t.significand = -t.significand;
  t.scale = t.exponent - fraction_bits;
  return t;
}

static Term operand(uint32_t u, Format f) { return f == BF16 ? term_of(u, 8, 7) : f == F16 ? term_of(u, 5, 10) : term_of(u >> 13 & 0x7ffff, 8, 10); }

static Term product(Term a, Term b) {
  bool zero_times_infinite = (a.infinite && !b.significand) || (b.infinite && !a.significand), infinite = a.infinite || b.infinite;
  return (Term){a.significand*b.significand, a.exponent + b.exponent, a.scale + b.scale, a.nan || b.nan || zero_times_infinite, infinite};
}

/* sum*2^scale, cut toward zero to f32. */
static uint32_t cut_f32(int64_t sum, int scale) {
  uint64_t m = sum < 0 ? 0 - (uint64_t)sum : (uint64_t)sum;
  if (!m) return 0;
  int top = 63 - __builtin_clzll(m), e = top + scale, keep = e < -126 ? 23 - (-126 - e) : 23;     /* bits of fraction that stay */
  uint32_t sign = sum < 0 ? 0x80000000u : 0;
  if (e > 127) return sign | 0x7f800000;
  if (keep < 0) return sign;
  uint64_t kept = top >= keep ? m >> (top - keep) : m << (keep - top);
  return sign | (e < -126 ? (uint32_t)kept : (uint32_t)(kept & 0x7fffff) | (uint32_t)(e + 127) << 23);
}

/* The terms and the accumulator in one step. */
static uint32_t add_group(const Term *terms, int n, uint32_t accumulator, PtxTensor unit) {
  Term all[17];
  int most = INT32_MIN, infinities = 0;
  memcpy(all, terms, (size_t)n*sizeof *all);
  all[n] = term_of(accumulator, 8, 23);
  for (int k = 0; k <= n; k++) {
    if (all[k].nan) return PTX_NAN_F32;
    if (all[k].infinite) infinities |= all[k].significand < 0 ? 2 : 1;
    int e = all[k].significand ? all[k].exponent : units[unit].zero;
    if (e > most) most = e;
  }
  if (infinities) return infinities == 3 ? PTX_NAN_F32 : infinities == 2 ? 0xff800000u : 0x7f800000u;
  int64_t sum = 0;
  int scale = most - units[unit].fraction;
  for (int k = 0; k <= n; k++) {
    int shift = all[k].scale - scale;
    int64_t m = all[k].significand < 0 ? -all[k].significand : all[k].significand, cut = !m || shift < -62 ? 0 : shift < 0 ? m >> -shift : m << shift;
    sum += all[k].significand < 0 ? -cut : cut;
  }
  return cut_f32(sum, scale);
}

/* --- mma.sync.aligned.m16n8kK.row.col.f32.A.B.f32 ---------------------------------------------------------------------------------------------------- */
bool ptx_decode_mma(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  static const struct { const char *name; uint8_t k, format, n_a, n_b; } shapes[] = {
    {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 16, BF16, 4, 2}, {"mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", 8, BF16, 2, 1},
    {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 16, F16, 4, 2}, {"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", 8, F16, 2, 1},
    {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 8, TF32, 4, 2}, {"mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", 4, TF32, 2, 1},
  };
  unsigned k = 0, n_shapes = sizeof shapes/sizeof *shapes;
  while (k < n_shapes && strcmp(s->name, shapes[k].name)) k++;
  if (k == n_shapes) return ptx_refuse_statement(d, "instruction '%s' is not known here", s->name);
  PtxProduct *p = ptx_decode_alloc(d, sizeof *p);
  *p = (PtxProduct){.k = shapes[k].k, .format = shapes[k].format, .n_a = shapes[k].n_a, .n_b = shapes[k].n_b};
  struct { PtxRef *rows; unsigned n; char letter; } parts[] = {{p->d, 4, 'f'}, {p->a, p->n_a, 'r'}, {p->b, p->n_b, 'r'}, {p->c, 4, 'f'}};
  const PtxOperand *o = s->operands;
  if (ptx_operands(o) != 4) return ptx_refuse_statement(d, "'%s' takes 4 operands", s->name);
  for (unsigned part = 0; part < 4; part++, o = o->next) {
    if (o->kind != PTX_VECTOR || ptx_operands(o->items) != parts[part].n) return ptx_refuse_statement(d, "an operand of '%s' is no vector of %u registers", s->name, parts[part].n);
    unsigned at = 0;
    for (const PtxOperand *each = o->items; each; each = each->next)
      if (!ptx_decode_value(d, each, parts[part].letter, part == 0, &parts[part].rows[at++])) return false;
  }
  i->more = p;
  return true;
}

static uint32_t lane32(const PtxWarp *w, PtxRef r, unsigned lane) { return (uint32_t)ptx_get(w, r, lane, 32); }

/* Element (row, k) of A and (k, column) of B. With 4 lanes a row, a register holds `pack` neighbours of k, and registers go first over rows g and
 * g + 8 (A only), then over k in steps of 4*pack. */
static Term element(const PtxWarp *w, const PtxProduct *p, bool of_a, int line, int k) {
  int pack = p->format == TF32 ? 1 : 2, lane = line%8*4 + k/pack%4, r = of_a ? line/8 + 2*(k/(4*pack)) : k/(4*pack);
  uint32_t u = lane32(w, of_a ? p->a[r] : p->b[r], (unsigned)lane);
  return operand(pack == 2 ? u >> 16*(k%2) & 0xffff : u, (Format)p->format);
}

void ptx_run_mma(PtxWarp *w, const PtxInst *i, uint32_t on) {
  const PtxProduct *p = i->more;
  PtxTensor unit = w->grid->launch->tensor;
  int group = units[unit].group/(p->format == TF32 ? 2 : 1);
  uint32_t result[4][PTX_LANES], undefined = 0;
  if (on != PTX_ALL) ptx_find_fault(w, i, __builtin_ctz(on), PTX_UNDEFINED_LANE, 0, "mma without all 32 lanes");
  if (group > p->k) group = p->k;
  for (int row = 0; row < 16; row++)
    for (int column = 0; column < 8; column++) {
      int lane = row%8*4 + column/2, r = row/8*2 + column%2;
      uint32_t sum = lane32(w, p->c[r], (unsigned)lane);
      for (int k = 0; k < p->k; k += group) {
        Term terms[16];
        for (int n = 0; n < group; n++) terms[n] = product(element(w, p, true, row, k + n), element(w, p, false, column, k + n));
        sum = add_group(terms, group, sum, unit);
      }
      result[r][lane] = sum;
    }
  for (int k = 0; k < p->n_a; k++) undefined |= *ptx_undefined(w, p->a[k]);
  for (int k = 0; k < p->n_b; k++) undefined |= *ptx_undefined(w, p->b[k]);
  for (int k = 0; k < 4; k++) undefined |= *ptx_undefined(w, p->c[k]);
  for (int r = 0; r < 4; r++) {
    PTX_EACH(l, on) ptx_set(w, p->d[r], l, 32, result[r][l]);
    ptx_taint(w, p->d[r], on, undefined ? PTX_ALL : 0);
  }
}

/* --- ldmatrix.sync.aligned.m8n8.xN[.trans].shared.b16 {r...}, [a] --------------------------------------------------------------------------------------- */
bool ptx_decode_ldmatrix(PtxDecoder *d, PtxInst *i, const PtxStatement *s) {
  const char *at = s->name + strlen("ldmatrix.sync.aligned");
  char shape[16], count[16], next[32], type[16];
  ptx_modifier(&at, shape, sizeof shape);
  ptx_modifier(&at, count, sizeof count);
  ptx_modifier(&at, next, sizeof next);
  bool transposed = !strcmp(next, "trans");
  if (transposed) ptx_modifier(&at, next, sizeof next);
  ptx_modifier(&at, type, sizeof type);
  PtxAccess *a = ptx_decode_alloc(d, sizeof *a);
  a->count = count[0] == 'x' && count[1] && !count[2] ? (uint8_t)(count[1] - '0') : 0;
  a->transposed = transposed;
  bool known = !strcmp(shape, "m8n8") && (a->count == 1 || a->count == 2 || a->count == 4) && (!strcmp(next, "shared") || !strcmp(next, "shared::cta")) && !strcmp(type, "b16") && !*at;
  const PtxOperand *o = s->operands;
  if (!known) return ptx_refuse_statement(d, "instruction '%s' is not known here", s->name);
  if (ptx_operands(o) != 2 || o->kind != PTX_VECTOR || ptx_operands(o->items) != a->count) return ptx_refuse_statement(d, "'%s' takes %u registers and an address", s->name, a->count);
  unsigned k = 0;
  for (const PtxOperand *each = o->items; each; each = each->next)
    if (!ptx_decode_value(d, each, 'r', true, &a->value[k++])) return false;
  PtxSpace space = PTX_SHARED;
  i->more = a;
  return ptx_decode_address(d, i, o->next, &space);
}

/* Lane 8*m + r gives the address of row r of matrix m. */
void ptx_run_ldmatrix(PtxWarp *w, const PtxInst *i, uint32_t on) {
  const PtxAccess *a = i->more;
  uint16_t rows[4][8][8] = {0};
  bool good[4][8][8] = {0};
  ptx_use(w, i, i->a, on & (PTX_ALL >> (32 - 8*a->count)), "an address");
  for (unsigned l = 0; l < 8u*a->count; l++) {
    PtxReached r;
    const uint8_t *from = ptx_reach(w, i, l, PTX_SHARED, ptx_address(w, i, l), 16, PTX_READ, &r);
    if (!from) continue;
    ptx_touch(w, i, l, &r, 16, PTX_READS);
    memcpy(rows[l/8][l%8], from, 16);
    for (int k = 0; k < 8; k++) good[l/8][l%8][k] = r.defined[2*k] && r.defined[2*k + 1];
  }
  for (unsigned m = 0; m < a->count; m++) {
    uint32_t undefined = 0;
    PTX_EACH(l, on) {
      unsigned g = l/4, t = 2*(l%4);
      bool low = a->transposed ? good[m][t][g] : good[m][g][t], high = a->transposed ? good[m][t + 1][g] : good[m][g][t + 1];
      uint32_t x = a->transposed ? rows[m][t][g] | (uint32_t)rows[m][t + 1][g] << 16 : rows[m][g][t] | (uint32_t)rows[m][g][t + 1] << 16;
      ptx_set(w, a->value[m], l, 32, x);
      if (!low || !high) undefined |= 1u << l;
    }
    ptx_taint(w, a->value[m], on, undefined);
  }
}
