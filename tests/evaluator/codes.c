/* codes.c: states kept as codes: q8, q8u, q4, q4u. What a code stands for, and which code a number gets.
 *
 * Such a state is two arrays: codes as bytes (two 4-bit codes to a byte, low nibble first), and the largest magnitude of each block. */
#include <math.h>
#include "internal.h"

bool ev_is_codes(const Storage *s) { return s->type && *s->type == 'q'; }

int64_t ev_block_of(Ctx *c, const Storage *s, Frame *f) {
  int64_t n = s->block ? ev_integer(c, s->block, f) : s->type[1] == '8' ? 256 : 128;
  if (n < 1) ev_fail(c, s->where, "a block of %ld elements", (long)n);
  return n;
}

/* The entries of the dynamic map upwards: decade d of `decades` is [0.1, 1]*10^(d + 1 - decades), cut into 2^d parts (unsigned: twice as many) whose
 * middles are entries; then 1. Each is a quotient of two integers that f64 holds exactly. */
static unsigned dynamic(float *to, int decades, bool is_signed) {
  float positive[256];
  unsigned n = 0, m = 0;
  double scale = 1;
  for (int d = 1; d < decades; d++) scale *= 10;
  for (int d = 0; d < decades; d++, scale /= 10) {
    int parts = is_signed ? 1 << d : 2 << d;
    for (int j = 0; j < parts; j++) positive[n++] = (float)((2. * parts + 9. * (2 * j + 1)) / (20. * parts * scale));
  }
  positive[n] = 1;
  for (unsigned k = n; k-- > 0 && is_signed;) to[m++] = -positive[k];
  to[m++] = 0;
  for (unsigned k = 0; k <= n; k++) to[m++] = positive[k];
  return m;
}

static unsigned map_of(const char *type, float *to) {
  if (!strcmp(type, "q8")) return dynamic(to, 7, true);
  if (!strcmp(type, "q8u")) return dynamic(to, 7, false);
  if (!strcmp(type, "q4")) return dynamic(to, 3, true);
  for (int k = 0; k < 16; k++) to[k] = (float)(k + 1) / 16;
  return 16;
}

static int64_t bytes_of(const char *type, int64_t count) { return type[1] == '8' ? count : (count + 1) / 2; }

void ev_decode(Ctx *c, const Storage *s, int64_t block, const EvalArray *codes, const EvalArray *maxima, Tensor *t) {
  float map[256];
  map_of(s->type, map);
  if (codes->count != bytes_of(s->type, t->count) || !maxima || maxima->count != (t->count + block - 1) / block) ev_fail(c, s->where, "codes or maxima of another size");
  for (int64_t i = 0; i < t->count; i++) {
    unsigned code = s->type[1] == '8' ? (unsigned)codes->data[i] : (unsigned)codes->data[i / 2] >> (i % 2 ? 4 : 0) & 15;
    t->d[i] = (double)(map[code] * (float)maxima->data[i / block]);
  }
}

void ev_encode(Ctx *c, const Storage *s, int64_t block, const Tensor *t, EvalSet *set, const char *name) {
  float map[256];
  unsigned n = map_of(s->type, map);
  int64_t bytes = bytes_of(s->type, t->count), blocks = (t->count + block - 1) / block;
  double *codes = evaluator_set(c->call->arena, set, name, 1, &bytes, NULL)->data;
  double *maxima = evaluator_set(c->call->arena, set, arena_printf(c->arena, "%s_max", name), 1, &blocks, NULL)->data;
  for (int64_t b = 0; b < blocks; b++) {
    int64_t end = (b + 1) * block < t->count ? (b + 1) * block : t->count;
    float largest = 0;
    for (int64_t i = b * block; i < end; i++) {
      float a = fabsf((float)ev_double(ev_get(t, i)));
      if (!isfinite(a)) largest = NAN;
      else if (a > largest) largest = a;
    }
    maxima[b] = (double)largest;
    for (int64_t i = b * block; i < end; i++) {
      float y = largest == 0 ? 0 : (float)ev_double(ev_get(t, i)) * (1 / largest);
      unsigned code = 0;
      while (code + 1 < n && (map[code] + map[code + 1]) / 2 < y) code++;
      if (s->type[1] == '8') codes[i] = code;
      else codes[i / 2] += (double)(i % 2 ? code << 4 : code);
    }
  }
}
