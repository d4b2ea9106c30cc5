/* decompose.c: eigvec and qr in f64, from the description of their sequence: cyclic Jacobi, Householder. */
#include <math.h>
#include "internal.h"

#define SWEEPS 12
#define AT(m, i, j) (m)[(i) * n + (j)]

static void rotate(double *x, double *y, double cos_, double sin_) {
  double a = *x, b = *y;
  *x = cos_ * a - sin_ * b;
  *y = sin_ * a + cos_ * b;
}

static void eigenvectors(Ctx *c, int64_t n, double *s, double *out) {
  double *v = arena_array(c->arena, (size_t)(n * n) + 1, sizeof *v);
  int64_t *order = arena_array(c->arena, (size_t)n + 1, sizeof *order);
  for (int64_t i = 0; i < n; i++) {
    AT(v, i, i) = 1;
    for (int64_t j = i + 1; j < n; j++) AT(s, i, j) = AT(s, j, i);
  }
  for (int sweep = 0; sweep < SWEEPS; sweep++)
    for (int64_t p = 0; p < n; p++)
      for (int64_t q = p + 1; q < n; q++) {
        if (AT(s, p, q) == 0) continue;
        double theta = (AT(s, q, q) - AT(s, p, p)) / (2 * AT(s, p, q)), r = fabs(theta) + sqrt(theta * theta + 1);
        double t = (theta < 0 ? -1 : 1) / r, cosine = 1 / sqrt(t * t + 1), sine = t * cosine;
        for (int64_t k = 0; k < n; k++) rotate(&AT(s, k, p), &AT(s, k, q), cosine, sine);
        for (int64_t k = 0; k < n; k++) rotate(&AT(s, p, k), &AT(s, q, k), cosine, sine);
        for (int64_t k = 0; k < n; k++) rotate(&AT(v, k, p), &AT(v, k, q), cosine, sine);
        AT(s, p, q) = AT(s, q, p) = 0;
      }
  for (int64_t k = 0; k < n; k++) {                        /* insertion keeps ties, and nan, where they are */
    int64_t at = k;
    while (at > 0 && AT(s, k, k) < AT(s, order[at - 1], order[at - 1])) { order[at] = order[at - 1]; at--; }
    order[at] = k;
  }
  for (int64_t k = 0; k < n; k++) {
    int64_t from = order[k], big = 0;
    for (int64_t i = 1; i < n; i++) if (fabs(AT(v, i, from)) > fabs(AT(v, big, from))) big = i;
    bool turn = AT(v, big, from) < 0;
    for (int64_t i = 0; i < n; i++) AT(out, i, k) = turn ? -AT(v, i, from) : AT(v, i, from);
  }
}

/* a - v (2 v'a / v'v), one column */
static void reflect(double *a, int64_t n, int64_t column, const double *v, int64_t first, int64_t rows, double square) {
  double product = 0;
  for (int64_t i = first; i < rows; i++) product += v[i] * AT(a, i, column);
  double factor = 2 * product / square;
  for (int64_t i = first; i < rows; i++) AT(a, i, column) -= v[i] * factor;
}

static void orthogonal(Ctx *c, int64_t m, int64_t n, double *a, double *out) {
  int64_t steps = m < n ? m : n;
  double *v = arena_array(c->arena, (size_t)(steps * m) + 1, sizeof *v), *squares = arena_array(c->arena, (size_t)steps + 1, sizeof *squares);
  for (int64_t k = 0; k < steps; k++) {
    double sum = 0, *w = v + k * m;
    for (int64_t i = k; i < m; i++) sum += AT(a, i, k) * AT(a, i, k);
    double norm = sqrt(sum);
    if (norm == 0) continue;
    for (int64_t i = k; i < m; i++) w[i] = AT(a, i, k);
    w[k] -= w[k] >= 0 ? -norm : norm;
    for (int64_t i = k; i < m; i++) squares[k] += w[i] * w[i];
    for (int64_t j = k; j < n; j++) reflect(a, n, j, w, k, m, squares[k]);
  }
  for (int64_t k = 0; k < steps; k++) AT(out, k, k) = 1;
  for (int64_t k = steps; k-- > 0;)
    for (int64_t j = 0; j < steps && squares[k] != 0; j++) reflect(out, n, j, v + k * m, k, m, squares[k]);
}

Tensor *ev_decompose(Ctx *c, const char *name, const Tensor *t, Range where) {
  if (t->rank < 2) ev_fail(c, where, "%s of a matrix", name);
  int64_t m = t->shape[t->rank - 2], n = t->shape[t->rank - 1], each = m * n;
  bool eigen = *name == 'e';
  if (eigen && m != n) ev_fail(c, where, "eigvec of a square matrix");
  Tensor *r = ev_tensor(c, t->kind > K_INT ? t->kind : K_WEAK, t->rank, t->shape);
  double *in = arena_array(c->arena, (size_t)each + 1, sizeof *in), *out = arena_array(c->arena, (size_t)each + 1, sizeof *out);
  for (int64_t at = 0; each && at < t->count; at += each) {
    for (int64_t i = 0; i < each; i++) { in[i] = ev_double(ev_get(t, at + i)); out[i] = 0; }
    if (eigen) eigenvectors(c, n, in, out);
    else orthogonal(c, m, n, in, out);
    for (int64_t i = 0; i < each; i++) ev_put(c, r, at + i, ev_number(c, r->kind, out[i]));
  }
  return r;
}
