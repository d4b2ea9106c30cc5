/* matrix.c: eigenvectors by cyclic Jacobi and the Q of a Householder decomposition: + - * / sqrt of f64 in the order that matrix.h states. */
#include "ir/matrix.h"
#include <stddef.h>
#include "ir/type.h"

static double root(double x) {           /* no library's */
  Bits b = bits_from_f64(x, TYPE_F64);
  return bits_to_f64(element_eval(ELEMENT_SQRT, TYPE_F64, TYPE_F64, &b), TYPE_F64);
}
static double size(double x) { return x < 0 ? -x : x; }

/* (x, y) -> (c*x - s*y, s*x + c*y) for n pairs `step` apart. */
static void rotate(double *x, double *y, int64_t step, int64_t n, double c, double s) {
  for (int64_t i = 0; i < n; i++, x += step, y += step) {
    double a = *x, b = *y;
    *x = c*a - s*b;
    *y = s*a + c*b;
  }
}

static void jacobi(int64_t n, double *s, double *v) {
  for (int sweep = 0; sweep < JACOBI_SWEEPS; sweep++)
    for (int64_t p = 0; p < n; p++)
      for (int64_t q = p + 1; q < n; q++) {
        double apq = s[p*n + q];
        if (apq == 0) continue;
        double theta = (s[q*n + q] - s[p*n + p])/(2*apq), t = 1/(size(theta) + root(theta*theta + 1));
        if (theta < 0) t = -t;
        double c = 1/root(t*t + 1), sine = t*c;
        rotate(s + p, s + q, n, n, c, sine);
        rotate(s + p*n, s + q*n, 1, n, c, sine);
        rotate(v + p, v + q, n, n, c, sine);
        s[p*n + q] = s[q*n + p] = 0;
      }
}

void matrix_eigvec(int64_t n, double *s, double *v, double *out) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      if (j > i) s[i*n + j] = s[j*n + i];
      v[i*n + j] = i == j;
    }
  jacobi(n, s, v);
  for (int64_t k = 0; k < n; k++) {
    int64_t at = 0;
    for (int64_t j = 0; j < n; j++) at += s[j*n + j] < s[k*n + k] || (!(s[k*n + k] < s[j*n + j]) && j < k);
    double most = 0, sign = 1;
    for (int64_t i = 0; i < n; i++) {
      double x = v[i*n + k];
      if (size(x) > most) { most = size(x); sign = x < 0 ? -1 : 1; }
    }
    if (at < n) for (int64_t i = 0; i < n; i++) out[i*n + at] = sign*v[i*n + k];
  }
}

static double dot(const double *v, const double *x, int64_t step, int64_t from, int64_t m) {
  double sum = 0;
  for (int64_t i = from; i < m; i++) sum = sum + v[i]*x[i*step];
  return sum;
}

static void reflect(const double *v, double beta, double *x, int64_t step, int64_t from, int64_t m) {
  double f = 2*dot(v, x, step, from, m)/beta;
  for (int64_t i = from; i < m; i++) x[i*step] = x[i*step] - v[i]*f;
}

void matrix_qr(int64_t m, int64_t n, double *a, double *v, double *out) {
  int64_t least = m < n ? m : n;
  for (int64_t k = 0; k < least; k++) {
    double *w = v + k*m, sum = 0;
    for (int64_t i = 0; i < m; i++) w[i] = i < k ? 0 : a[i*n + k];
    for (int64_t i = k; i < m; i++) sum = sum + w[i]*w[i];
    double norm = root(sum);
    w[k] = w[k] - (a[k*n + k] >= 0 ? -norm : norm);
    double beta = dot(w, w, 1, k, m);
    for (int64_t j = k; j < n && norm != 0; j++) reflect(w, beta, a + j, n, k, m);
  }
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) out[i*n + j] = i == j;
  for (int64_t k = least; k-- > 0;) {
    double beta = dot(v + k*m, v + k*m, 1, k, m);
    for (int64_t j = 0; j < least && beta != 0; j++) reflect(v + k*m, beta, out + j, n, k, m);
  }
}
