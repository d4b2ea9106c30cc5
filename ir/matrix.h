/* matrix.h: small decompositions in f64, in one fixed sequence of operations: the meaning of eigvec and qr (the kernel form has the same sequence, passes/lower_matrix.c).
 *
 * eigvec: cyclic Jacobi, JACOBI_SWEEPS sweeps over p < q in row order of the lower triangle's symmetric matrix. A rotation is left out where the element is 0:
 *   theta = (S[q][q] - S[p][p])/(2*S[p][q]), t = sign(theta)/(|theta| + sqrt(theta*theta + 1)) (sign(0) = 1), c = 1/sqrt(t*t + 1), s = t*c;
 *   columns p and q of S, then rows p and q of S, then columns of V: (x, y) -> (c*x - s*y, s*x + c*y); then S[p][q] = S[q][p] = 0.
 * Then columns in ascending order of the eigenvalues S[k][k] (ties, and nan: by position), each with the sign that makes its largest component positive
 * (the first of equals).
 * qr: Householder. For k < min(M, N): norm = sqrt(sum of squares of A[i][k], i >= k, upwards from 0); where it is 0 the step is left out; alpha = A[k][k] >= 0 ? -norm : norm;
 *   v = A[k..][k], v[0] -= alpha; beta = v'v; for the columns j >= k: A[i][j] -= v[i]*(2*(v'A[.][j])/beta). Q: identity's first min(M, N) columns,
 *   the steps applied from the last to the first. The diagonal of R is alpha, as LAPACK's. */
#ifndef OPTC_IR_MATRIX_H
#define OPTC_IR_MATRIX_H
#include <stdint.h>

enum { JACOBI_SWEEPS = 12 };

/* s, out: n x n, row-major, not the same; v: work, n*n; value: work, n. The lower triangle of s is read, and s is overwritten. */
void matrix_eigvec(int64_t n, double *s, double *v, double *out);
/* a: m x n, overwritten; out: m x n; v: work, m x min(m, n). */
void matrix_qr(int64_t m, int64_t n, double *a, double *v, double *out);
#endif
