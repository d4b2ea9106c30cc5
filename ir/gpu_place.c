/* gpu_place.c: where the iterations of a loop touch memory: whether no two of them meet.
 *
 * A place is a polynomial of what is fixed in the loop and of numbers that vary in it: indices of loops, counted from 0, or whatever else. Where the varying ones stand like the
 * digits of a number, each stride the one below times the range below, the place tells them all: iterations with different indices touch different places. */
#include <string.h>
#include "ir/gpu_map.h"

enum { MAX_TERMS = 12, MAX_FACTORS = 6, MAX_DIGITS = 6 };

/* c * the factors * var; var NULL: nothing varies. */
typedef struct Term { int64_t c; unsigned n; const Inst *factor[MAX_FACTORS], *var; } Term;
typedef struct Sum { unsigned n; Term term[MAX_TERMS]; bool lost; } Sum;

struct GpuPlaces {
  Arena *arena;
  const Inst **value;                    /* by id: the first instruction that computes the same number */
  const Sum **sum;                       /* by id, in the loop below: what has been found of it */
  unsigned n;
  const Inst *loop;
};

/* --- equal numbers -------------------------------------------------------------------------------------------------------------------------- */

/* One number all through the work of an entry. */
static bool is_given(const Inst *x) {
  switch ((KOp)x->op) {
    case KOP_E_CONST: case KOP_E_SIZE: case KOP_E_UNIFORM: case KOP_E_FIRST: case KOP_E_COUNT: case KOP_E_BEGIN: case KOP_E_END: case KOP_E_HYPER: case KOP_E_TILE_ROWS: case KOP_E_TILE_COLUMNS: return true;
    default: return false;
  }
}

static bool same_value(const GpuPlaces *p, const Inst *a, const Inst *b) {
  if (!inst_same(a, b)) return false;
  for (unsigned k = 0; k < a->n_args; k++) if (p->value[a->args[k]->id] != p->value[b->args[k]->id]) return false;
  return true;
}

static unsigned hash_value(const GpuPlaces *p, const Inst *x) {
  uint64_t h = ((uint64_t)x->op << 8 | x->type)*0x9e3779b97f4a7c15u ^ (uint64_t)x->imm;
  for (unsigned k = 0; k < x->n_args; k++) h = (h ^ h >> 29 ^ p->value[x->args[k]->id]->id)*0xbf58476d1ce4e5b9u;
  return (unsigned)(h >> 32);
}

/* Instructions with one hash, chained by id; 0: none. */
typedef struct Chains { unsigned *first, *next, mask; const Inst **inst; } Chains;

static void number_values(GpuPlaces *p, Chains *c, const Block *block) {
  for (unsigned i = 0; block && i < block->n; i++) {
    const Inst *x = block->insts[i];
    p->value[x->id] = c->inst[x->id] = x;
    if (x->op < ELEMENT_COUNT || is_given(x)) {
      unsigned *first = &c->first[hash_value(p, x) & c->mask], k = *first;
      while (k && !same_value(p, c->inst[k - 1], x)) k = c->next[k - 1];
      if (k) p->value[x->id] = c->inst[k - 1];
      else {
        c->next[x->id] = *first;
        *first = x->id + 1;
      }
    }
    number_values(p, c, x->body);
    number_values(p, c, x->otherwise);
  }
}

GpuPlaces *gpu_places(Arena *arena, const Kernel *k) {
  GpuPlaces *p = arena_alloc(arena, sizeof *p);
  Chains c = {.mask = 1};
  while (c.mask < k->n_insts) c.mask = 2*c.mask + 1;
  c.first = arena_array(arena, (size_t)c.mask + 1, sizeof *c.first);
  c.next = arena_array(arena, (size_t)k->n_insts + 1, sizeof *c.next);
  c.inst = arena_array(arena, (size_t)k->n_insts + 1, sizeof *c.inst);
  *p = (GpuPlaces){.arena = arena, .n = k->n_insts};
  p->value = arena_array(arena, (size_t)k->n_insts + 1, sizeof *p->value);
  p->sum = arena_array(arena, (size_t)k->n_insts + 1, sizeof *p->sum);
  number_values(p, &c, k->body);
  return p;
}

const Inst *gpu_value(const GpuPlaces *p, const Inst *x) { return p->value[x->id]; }

static unsigned last_id(const Inst *inst) {
  const Block *b = inst->otherwise && inst->otherwise->n ? inst->otherwise : inst->body;
  return b && b->n ? last_id(b->insts[b->n - 1]) : inst->id;
}

bool gpu_is_inside(const Inst *x, const Inst *loop) { return x->id >= loop->id && x->id <= last_id(loop); }

bool gpu_is_fixed(const Inst *x, const Inst *loop) {
  if (!gpu_is_inside(x, loop)) return true;
  if (x->op >= ELEMENT_COUNT) return is_given(x);
  for (unsigned a = 0; a < x->n_args; a++) if (!gpu_is_fixed(x->args[a], loop)) return false;
  return true;
}

/* --- sums ---------------------------------------------------------------------------------------------------------------------------------- */

static bool same_factors(const Term *a, const Term *b) {
  return a->n == b->n && !memcmp(a->factor, b->factor, a->n*sizeof *a->factor);
}

static void add_term(Sum *s, Term t) {
  if (!t.c) return;
  for (unsigned k = 0; k < s->n; k++) {
    Term *old = &s->term[k];
    if (old->var != t.var || !same_factors(old, &t)) continue;
    s->lost |= __builtin_add_overflow(old->c, t.c, &old->c);
    if (!old->c) *old = s->term[--s->n];
    return;
  }
  if (s->n == MAX_TERMS) s->lost = true;
  else s->term[s->n++] = t;
}

static void add_sum(Sum *to, const Sum *s, int64_t times) {
  to->lost |= s->lost;
  for (unsigned k = 0; k < s->n; k++) {
    Term t = s->term[k];
    to->lost |= __builtin_mul_overflow(t.c, times, &t.c);
    add_term(to, t);
  }
}

/* Factors stand in order of their ids. */
static void add_factor(Term *t, const Inst *f, bool *lost) {
  if (t->n == MAX_FACTORS) { *lost = true; return; }
  unsigned k = t->n++;
  for (; k && t->factor[k - 1]->id > f->id; k--) t->factor[k] = t->factor[k - 1];
  t->factor[k] = f;
}

static Sum product(const Sum *a, const Sum *b) {
  Sum s = {.lost = a->lost || b->lost};
  for (unsigned i = 0; i < a->n; i++)
    for (unsigned k = 0; k < b->n; k++) {
      Term t = a->term[i];
      const Term *u = &b->term[k];
      s.lost |= __builtin_mul_overflow(t.c, u->c, &t.c) || (t.var && u->var);
      if (u->var) t.var = u->var;
      for (unsigned f = 0; f < u->n; f++) add_factor(&t, u->factor[f], &s.lost);
      add_term(&s, t);
    }
  return s;
}

/* --- expressions --------------------------------------------------------------------------------------------------------------------------- */

static Sum sum_of(GpuPlaces *, const Inst *x, const Inst *loop, unsigned depth);

/* select(a < b, ..): the lesser of the two, or the greater. */
static bool is_choice(const Inst *x, bool greater) {
  if (x->op != KOP_SELECT || x->args[0]->op != KOP_LT) return false;
  const Inst *a = x->args[0]->args[0], *b = x->args[0]->args[1];
  return greater ? x->args[1] == b && x->args[2] == a : x->args[1] == a && x->args[2] == b;
}

/* What a loop counts from, and how far its index gets at most: `range` terms without a varying part, any of which bounds it. Where the lower end is the greater of two,
 * index and range may be counted from either. */
typedef struct Span { Sum low; Term range[4]; unsigned n; } Span;

static void add_ranges(GpuPlaces *p, Span *s, const Inst *high, const Inst *loop, unsigned depth) {
  const Inst *ends[2] = {high, NULL};
  if (is_choice(high, false)) { ends[0] = high->args[1]; ends[1] = high->args[2]; }
  for (int k = 0; k < 2 && ends[k]; k++) {
    Sum range = sum_of(p, ends[k], loop, depth);
    add_sum(&range, &s->low, -1);
    if (!range.lost && range.n == 1 && !range.term[0].var && range.term[0].c > 0 && s->n < 4) s->range[s->n++] = range.term[0];
    /* low + (the lesser of two) */
    const Inst *sum = ends[k];
    for (unsigned a = 0; sum->op == KOP_ADD && a < 2; a++) {
      if (!is_choice(sum->args[a], false)) continue;
      for (int b = 1; b < 3; b++) {
        Sum part = sum_of(p, sum->args[a]->args[b], loop, depth), rest = sum_of(p, sum->args[1 - a], loop, depth);
        add_sum(&part, &rest, 1);
        add_sum(&part, &s->low, -1);
        if (!part.lost && part.n == 1 && !part.term[0].var && part.term[0].c > 0 && s->n < 4) s->range[s->n++] = part.term[0];
      }
    }
  }
}

static Span span_of(GpuPlaces *p, const Inst *counts, const Inst *loop, unsigned depth) {
  const Inst *low = counts->args[0], *high = counts->args[1];
  const Inst *from[3] = {low, NULL, NULL};
  if (is_choice(low, true)) { from[1] = low->args[1]; from[2] = low->args[2]; }
  Span s = {.n = 0};
  for (int k = 2; k >= 0; k--) {
    if (!from[k]) continue;
    s = (Span){.low = sum_of(p, from[k], loop, depth)};
    add_ranges(p, &s, high, loop, depth);
    if (s.n && !s.low.lost) return s;
  }
  return s;
}

static Sum sum_anew(GpuPlaces *p, const Inst *x, const Inst *loop, unsigned depth) {
  Sum s = {0};
  if (x->op == KOP_E_CONST) { add_term(&s, (Term){.c = x->imm}); return s; }
  if (x->op == KOP_ADD || x->op == KOP_SUB || x->op == KOP_MUL) {
    Sum a = sum_of(p, x->args[0], loop, depth), b = sum_of(p, x->args[1], loop, depth);
    if (x->op == KOP_MUL) return product(&a, &b);
    add_sum(&a, &b, x->op == KOP_SUB ? -1 : 1);
    return a;
  }
  if (x->op == KOP_SHL && x->args[1]->op == KOP_E_CONST && x->args[1]->imm >= 0 && x->args[1]->imm < 32) {
    Sum a = sum_of(p, x->args[0], loop, depth);
    add_sum(&s, &a, (int64_t)1 << x->args[1]->imm);
    return s;
  }
  if (gpu_is_fixed(x, loop)) {
    Term t = {.c = 1};
    add_factor(&t, gpu_value(p, x), &s.lost);
    add_term(&s, t);
    return s;
  }
  if (x->op == KOP_E_FOR) s = span_of(p, x, loop, depth).low;
  add_term(&s, (Term){.c = 1, .var = gpu_value(p, x)});
  return s;
}

static Sum sum_of(GpuPlaces *p, const Inst *x, const Inst *loop, unsigned depth) {
  if (!depth) return (Sum){.lost = true};
  if (p->loop != loop) {
    memset(p->sum, 0, p->n*sizeof *p->sum);
    p->loop = loop;
  }
  if (!p->sum[x->id]) {
    Sum *s = arena_alloc(p->arena, sizeof *s);
    *s = sum_anew(p, x, loop, depth - 1);
    p->sum[x->id] = s;
  }
  return *p->sum[x->id];
}

/* --- digits -------------------------------------------------------------------------------------------------------------------------------- */

static bool same_stride(const Term *a, const Term *b) { return a->c == b->c && same_factors(a, b); }
static bool is_number(const Term *t) { return !t->n; }

/* The stride above a digit: its stride times its range. */
static Term above(const Term *stride, const Term *range, bool *lost) {
  Term t = *stride;
  t.var = NULL;
  *lost |= __builtin_mul_overflow(t.c, range->c, &t.c);
  for (unsigned k = 0; k < range->n; k++) add_factor(&t, range->factor[k], lost);
  return t;
}

static unsigned ranges_of(GpuPlaces *p, const Inst *var, const Inst *loop, Term *range) {
  if (var->op == KOP_E_FOR) {
    Span s = span_of(p, var, loop, 16);
    memcpy(range, s.range, sizeof s.range);
    return s.n;
  }
  if (var->op == KOP_AND && var->args[1]->op == KOP_E_CONST && var->args[1]->imm >= 0 && var->args[1]->imm < INT64_MAX) {
    *range = (Term){.c = var->args[1]->imm + 1};
    return 1;
  }
  return 0;
}

/* Orders digits[at..n) so that each stands above those before it, which fill `below`. */
static bool order(GpuPlaces *p, Term *digits, unsigned at, unsigned n, Term below, const Inst *loop) {
  if (at == n) return true;
  for (unsigned k = at; k < n; k++) {
    Term t = digits[k];
    bool fits = same_stride(&t, &below) || (is_number(&t) && is_number(&below) && t.c >= below.c);
    if (!fits) continue;
    digits[k] = digits[at];
    digits[at] = t;
    if (at + 1 == n) return true;
    Term range[4];
    unsigned n_ranges = ranges_of(p, t.var, loop, range);
    for (unsigned r = 0; r < n_ranges; r++) {
      bool lost = false;
      Term next = above(&t, &range[r], &lost);
      if (!lost && order(p, digits, at + 1, n, next, loop)) return true;
    }
    digits[at] = digits[k];
    digits[k] = t;
  }
  return false;
}

static void sort_terms(GpuPlace *p) {
  for (unsigned i = 0; i < p->n_fixed; i++)
    for (unsigned k = i + 1; k < p->n_fixed; k++)
      if (p->fixed[k].hash < p->fixed[i].hash) { GpuTerm t = p->fixed[i]; p->fixed[i] = p->fixed[k]; p->fixed[k] = t; }
}

static GpuTerm short_form(const Term *t) {
  uint64_t h = (uint64_t)t->c*0x9e3779b97f4a7c15u;
  for (unsigned k = 0; k < t->n; k++) h = (h ^ (h >> 29) ^ t->factor[k]->id)*0xbf58476d1ce4e5b9u + 1;
  GpuTerm g = {.c = t->c, .n = t->n, .hash = h};
  memcpy(g.factor, t->factor, sizeof g.factor);
  return g;
}

bool gpu_find_place(GpuPlaces *places, const Inst *at, const Inst *loop, GpuPlace *p) {
  Sum s = sum_of(places, at, loop, 24);
  Term digits[MAX_DIGITS];
  unsigned n = 0, mine = MAX_DIGITS;
  *p = (GpuPlace){.aligned = true};
  if (s.lost) return false;
  for (unsigned k = 0; k < s.n; k++) {
    const Term *t = &s.term[k];
    if (t->var != loop && t->c%GPU_BLOCK) p->aligned = false;
    if (!t->var) {
      if (p->n_fixed == GPU_TERMS) return false;
      p->fixed[p->n_fixed++] = short_form(t);
      continue;
    }
    for (unsigned d = 0; d < n; d++) if (digits[d].var == t->var) return false;
    if (n == MAX_DIGITS || t->c < 0) return false;
    digits[n++] = *t;
  }
  if (!order(places, digits, 0, n, (Term){.c = 1}, loop)) return false;
  for (unsigned d = 0; d < n; d++) if (digits[d].var == loop) mine = d;
  if (mine == MAX_DIGITS) return false;
  p->aligned = p->aligned && digits[mine].c == 1 && !digits[mine].n;
  p->stride = short_form(&digits[mine]);
  if (mine == 1) {
    p->below = digits[0].var;
    p->unit = short_form(&digits[0]);
  }
  p->top = mine + 1 == n;
  if (!p->top) p->next = short_form(&digits[mine + 1]);
  sort_terms(p);
  return true;
}

static bool same_term(const GpuTerm *a, const GpuTerm *b) { return a->c == b->c && a->n == b->n && !memcmp(a->factor, b->factor, a->n*sizeof *a->factor); }

bool gpu_same_place(const GpuPlace *a, const GpuPlace *b) {
  if (a->n_fixed != b->n_fixed || a->top != b->top || !same_term(&a->stride, &b->stride) || (!a->top && !same_term(&a->next, &b->next))) return false;
  for (unsigned k = 0; k < a->n_fixed; k++) if (!same_term(&a->fixed[k], &b->fixed[k])) return false;
  return true;
}

bool gpu_same_digit(const GpuPlace *a, const GpuPlace *b) { return a->below && b->below && same_term(&a->unit, &b->unit); }
