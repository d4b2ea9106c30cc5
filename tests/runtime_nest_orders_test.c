/* runtime_nest_orders_test.c: values in the order that the language fixes: those of plain C written for this test, in every form of a rule. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/nest/forms.h"
#include "tests/support/orders.h"
#include "tests/support/suite.h"

#define FORWARD "graph forward {\n"

static const int64_t lengths[] = {0, 1, 15, 16, 17, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 2049, 3073, 5000, 65537};
enum { LENGTHS = sizeof lengths/sizeof *lengths };

static void sums_have_the_order_of_the_language(void) {
  Forms f;
  forms_read(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand y in tensor f32 [size(x, 0), size(x, 1)]\noperand s out tensor f32 [size(x, 0)]\n"
    "operand c out tensor f32 [size(x, 0)]\noperand q out tensor f32 [size(x, 0)]\noperand m out tensor f32 [size(x, 0)]\noperand a out tensor i32 [size(x, 0)]\noperand p out tensor f32 [size(x, 0)]\noperand w out scalar f64\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = size i64 x axis=1\n%2 = read f32 [%0, %1] x\n%3 = read f32 [%0, %1] y\n%4 = reduce f32 [%0] axes=1 kind=sum order=lanes %2\n"
    "%5 = contract f32 [%0] axes=1 %2, %3\n%6 = reduce f32 [%0] axes=1 kind=sum order=seq %2\n%7 = reduce f32 [%0] axes=1 kind=max order=lanes %2\n%8 = reduce i64 [%0] axes=1 kind=argmin order=lanes %2\n"
    "%9 = reduce f32 [%0] axes=1 kind=prod order=lanes %2\n%10 = reduce f32 axes=2 kind=sum order=lanes %2\n%11 = cast f64 %10\n"
    "write s = %4\nwrite c = %5\nwrite q = %6\nwrite m = %7\nwrite a = %8\nwrite p = %9\nwrite w = %11\n}\n");
  for (int k = 0; k < LENGTHS; k++)
    for (int special = 0; special < 2; special++) {
      int64_t n = lengths[k], rows = n > 5000 ? 1 : 3, one = 1;
      Data d;
      char shapes[200];
      snprintf(shapes, sizeof shapes, "x %lld %lld;y %lld %lld;s %lld;c %lld;q %lld;m %lld;a %lld;p %lld", (long long)rows, (long long)n, (long long)rows, (long long)n, (long long)rows, (long long)rows, (long long)rows, (long long)rows, (long long)rows, (long long)rows);
      forms_data(&d, &f, 1, &one, shapes, special ? DATA_SPECIAL : 0);
      forms_run(&d, shapes);
      for (int64_t r = 0; r < rows; r++) {
        const float *x = forms_floats(&d, "x") + r*n, *y = forms_floats(&d, "y") + r*n;
        float q = 0;
        for (int64_t i = 0; i < n; i++) q += x[i];
        CU_ASSERT(same_float(forms_floats(&d, "s")[r], plain_lanes(x, n)));
        CU_ASSERT(same_float(forms_floats(&d, "c")[r], plain_contract(x, y, n)));
        CU_ASSERT(same_float(forms_floats(&d, "q")[r], q));
      }
    }
  forms_drop(&f);
}

/* Blocks of 256 in the plainest form, with the exponential that the graph interpreter takes as given. */
static Forms *exponentials;
static float plain_sexp(float x) {
  Data d;
  int64_t one = 1;
  forms_data(&d, exponentials, 1, &one, "x 1;y 1", 0);
  memcpy(forms_tensor(&d, 0, "x")->data, &x, 4);
  optc_call call = {.size = sizeof call, .groups = d.hyper, .n_groups = 1, .items = d.items, .n_items = 1, .global = d.global, .error = &d.error, .workspace = d.workspace, .workspace_size = d.workspace_size};
  CU_ASSERT_EQUAL(optc_drive(exponentials->desc[3], 0, &call, NULL), 0);
  return forms_floats(&d, "y")[0];
}

static void plain_attend(const float *s, const float *v, int64_t n, float *weighted, float *m_out, float *l_out) {
  static float e[256];
  float m = -INFINITY, l = 0, w = 0;
  bool any = false;
  for (int64_t low = 0; low < n; low += 256) {
    int64_t end = low + 256 < n ? low + 256 : n;
    float mb = -INFINITY, wb = 0;
    for (int64_t i = low; i < end; i++) if (isnan(s[i]) || s[i] > mb) mb = s[i];
    if (mb == -INFINITY) continue;
    for (int64_t i = low; i < end; i++) e[i - low] = plain_sexp(s[i] - mb);
    for (int64_t i = low; i < end; i++) if (e[i - low] != 0) wb = fmaf(e[i - low], v[i], wb);
    float most = m > mb ? m : mb, a = m == most ? 1 : plain_sexp(m - most), b = mb == most ? 1 : plain_sexp(mb - most), lb = plain_lanes(e, end - low);
    float al = a*l, bl = b*lb, aw = a*w, bw = b*wb;
    l = al + bl;
    w = aw + bw;
    m = most;
    any = true;
  }
  *weighted = any ? w/l : 0;
  *m_out = m;
  *l_out = any ? l : 0;
}
static void softmax_goes_in_merged_blocks(void) {
  Forms f, e;
  forms_read(&e, "module \"e\"\noperand x in tensor f32 [size(x, 0)]\noperand y out tensor f32 [size(x, 0)]\n" FORWARD "%0 = size i64 x axis=0\n%1 = read f32 [%0] x\n%2 = sexp f32 [%0] %1\nwrite y = %2\n}\n");
  exponentials = &e;
  forms_read(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand y in tensor f32 [size(x, 0), size(x, 1)]\noperand o out tensor f32 [size(x, 0)]\noperand z out tensor f32 [size(x, 0)]\n"
    "operand l out tensor f32 [size(x, 0)]\noperand p out tensor f32 [size(x, 0), size(x, 1)]\noperand d out tensor f64 [size(x, 0)]\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = size i64 x axis=1\n%2 = read f32 [%0, %1] x\n%3 = read f32 [%0, %1] y\n%4 = attend f32 [%0] axes=1 %2, %3\n%5 = reduce f32 [%0] axes=1 kind=logsumexp order=blocks %2\n"
    "%6 = softmax f32 [%0, %1] axes=1 %2\n%7 = cast f64 [%0, %1] %2\n%8 = cast f64 [%0, %1] %3\n%9 = attend f64 [%0] axes=1 %7, %8\n%10 = attend f32 [%0] axes=1 %2, %3, %3\n"
    "write o = %4\nwrite l = %5\nwrite p = %6\nwrite d = %9\nwrite z = %10\n}\n");
  for (int k = 0; k < LENGTHS; k++)
    for (int special = 0; special < 3; special++) {
      int64_t n = lengths[k], one = 1;
      if (n > 5000) continue;
      Data d;
      char shapes[200];
      snprintf(shapes, sizeof shapes, "x 2 %lld;y 2 %lld;o 2;l 2;z 2;p 2 %lld;d 2", (long long)n, (long long)n, (long long)n);
      forms_data(&d, &f, 1, &one, shapes, special == 1);
      float *x = forms_floats(&d, "x"), *y = forms_floats(&d, "y");
      if (special == 2)                                                     /* a masked end, with NaN behind the mask, and a row of nothing */
        for (int64_t i = 0; i < n; i++) { if (i > n/3) { x[i] = -INFINITY; y[i] = NAN; } x[n + i] = -INFINITY; }
      forms_run(&d, shapes);
      for (int r = 0; r < 2 && n <= 1025 && special != 1; r++) {
        float w, m, l;
        plain_attend(x + r*n, y + r*n, n, &w, &m, &l);
        CU_ASSERT(same_float(forms_floats(&d, "o")[r], w));
        if (l == 0) CU_ASSERT(forms_floats(&d, "l")[r] == -INFINITY);
        if (l != 0) CU_ASSERT(fabsf(forms_floats(&d, "l")[r] - (m + logf(l))) <= 1e-6f*fabsf(m + logf(l)) + 1e-6f);
        for (int64_t i = 0; i < n; i += 37) CU_ASSERT(same_float(forms_floats(&d, "p")[r*n + i], l == 0 ? 0 : plain_sexp(x[r*n + i] - m)/l));
      }
    }
  forms_drop(&f);
  forms_drop(&e);
}

static void weights_of_zero_leave_their_terms_out(void) {
  Forms f;
  forms_read(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0)]\noperand y in tensor f32 [size(x, 0)]\noperand z in tensor f32 [size(x, 0)]\noperand o out tensor f32 []\noperand q out tensor f32 []\noperand i out tensor i32 []\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = read f32 [%0] x\n%2 = read f32 [%0] y\n%3 = read f32 [%0] z\n%4 = contract f32 axes=1 weights=1 %1, %2, %3\n%5 = contract f32 axes=1 weights=4 %2, %3, %1\n"
    "%6 = index i64 [%0] axis=0\n%7 = contract i64 axes=1 %6, %6\nwrite o = %4\nwrite q = %5\nwrite i = %7\n}\n");
  for (int k = 0; k < LENGTHS - 1; k++) {
    int64_t n = lengths[k], one = 1;
    Data d;
    char shapes[100];
    snprintf(shapes, sizeof shapes, "x %lld;y %lld;z %lld;", (long long)n, (long long)n, (long long)n);
    forms_data(&d, &f, 1, &one, shapes, 0);
    float *x = forms_floats(&d, "x"), *y = forms_floats(&d, "y"), *z = forms_floats(&d, "z"), total = 0, other = 0;
    for (int64_t i = 0; i < n; i += 3) { x[i] = i%2 ? 0.0f : -0.0f; y[i] = NAN; }
    forms_run(&d, shapes);
    for (int64_t low = 0; low < n; low += 512) {
      float acc = 0, back = 0;
      for (int64_t i = low; i < n && i < low + 512; i++) if (x[i] != 0) { acc = fmaf(x[i]*y[i], z[i], acc); back = fmaf(y[i]*z[i], x[i], back); }
      total += acc;
      other += back;
    }
    CU_ASSERT(same_float(forms_floats(&d, "o")[0], total + 0.0f));
    CU_ASSERT(same_float(forms_floats(&d, "q")[0], other + 0.0f));
    CU_ASSERT_EQUAL(((int32_t *)forms_tensor(&d, 0, "i")->data)[0], (int32_t)((n - 1)*n*(2*n - 1)/6));
  }
  forms_drop(&f);
}

static void running_values_orders_and_scatters(void) {
  Forms f;
  forms_read(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand k in tensor i32 [size(x, 0), size(x, 1)]\noperand u out tensor f32 [size(x, 0), size(x, 1)]\noperand v out tensor f32 [size(x, 0), size(x, 1)]\n"
    "operand o out tensor i32 [size(x, 0), size(x, 1)]\noperand s out tensor f32 [size(x, 0), size(x, 1)]\noperand a out tensor f32 [7]\noperand b out tensor f32 [7]\noperand g out tensor f32 [size(x, 0), size(x, 1)]\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = size i64 x axis=-3\n%2 = read f32 [%0, %1] x\n%3 = read i64 [%0, %1] k\n%4 = cumulate f32 [%0, %1] kind=sum %2\n%5 = cumulate f32 [%0, %1] kind=max %2\n"
    "%6 = order i64 [%0, %1] %2\n%7 = index i64 [%0, %1] axis=0\n%8 = scatter f32 [%0, %1] %2, %2, %7, %6\n%9 = const i64 7\n%10 = const f32 0.5\n%11 = index i64 [%9] axis=0\n%12 = cast f32 [%9] %11\n"
    "%13 = scatter f32 [%9] add %12, %2, %3\n%14 = scatter f32 [%9] %12, %2, %3\n%15 = mul f32 [%0, %1] %2, %10\n%16 = map f32 [%0, %1] %15, %7, %3\n%17 = read f32 [%0, %1] x %7, %3\n%18 = add f32 [%0, %1] %16, %17\n"
    "write u = %4\nwrite v = %5\nwrite o = %6\nwrite s = %8\nwrite a = %13\nwrite b = %14\nwrite g = %18\n}\n");
  for (int k = 0; k < LENGTHS - 2; k++)
    for (int special = 0; special < 2; special++) {
      int64_t n = lengths[k], one = 1;
      Data d;
      char shapes[200];
      snprintf(shapes, sizeof shapes, "x 2 %lld;k 2 %lld;u 2 %lld;v 2 %lld;o 2 %lld;s 2 %lld;g 2 %lld;a 7;b 7", (long long)n, (long long)n, (long long)n, (long long)n, (long long)n, (long long)n, (long long)n);
      forms_data(&d, &f, 1, &one, shapes, special ? DATA_SPECIAL : 0);
      for (int64_t i = 0; i < 2*n; i += 5) forms_floats(&d, "x")[i] = 0.25f;      /* ties */
      forms_run(&d, shapes);
      const float *x = forms_floats(&d, "x");
      for (int64_t r = 0; r < 2 && !special; r++)
        for (int64_t i = 0; i < n; i += 11) {
          int64_t before = 0;
          for (int64_t j = 0; j < n; j++) before += x[r*n + j] > x[r*n + i] || (x[r*n + j] == x[r*n + i] && j < i);
          CU_ASSERT_EQUAL(((int32_t *)forms_tensor(&d, 0, "o")->data)[r*n + i], before);
          CU_ASSERT_EQUAL(forms_floats(&d, "s")[r*n + before], x[r*n + i]);
          int32_t k_i = ((int32_t *)forms_tensor(&d, 0, "k")->data)[r*n + i];
          CU_ASSERT_EQUAL(forms_floats(&d, "g")[r*n + i], k_i < 0 || k_i >= n ? 0 : x[r*n + k_i]*0.5f + x[r*n + k_i]);
        }
    }
  forms_drop(&f);
}

static void matrices_are_decomposed(void) {
  Forms f;
  forms_read(&f, "module \"r\"\noperand a in tensor f32 [size(a, 0), size(a, 1), size(a, 1)]\noperand b in tensor f32 [size(b, 0), size(b, 1), size(b, 2)]\noperand v out tensor f32 [size(a, 0), size(a, 1), size(a, 1)]\noperand q out tensor f32 [size(b, 0), size(b, 1), size(b, 2)]\n"
    FORWARD "%0 = size i64 a axis=0\n%1 = size i64 a axis=1\n%2 = read f32 [%0, %1, %1] a\n%3 = eigvec f32 [%0, %1, %1] %2\n%4 = size i64 b axis=0\n%5 = size i64 b axis=1\n%6 = size i64 b axis=2\n%7 = read f32 [%4, %5, %6] b\n%8 = qr f32 [%4, %5, %6] %7\nwrite v = %3\nwrite q = %8\n}\n");
  static const int sizes[][3] = {{1, 1, 1}, {5, 5, 5}, {4, 7, 3}, {6, 3, 7}, {12, 12, 12}, {0, 0, 2}};
  for (size_t k = 0; k < sizeof sizes/sizeof *sizes; k++) {
    int n = sizes[k][0], rows = sizes[k][1], columns = sizes[k][2];
    int64_t one = 1;
    Data d;
    char shapes[100];
    snprintf(shapes, sizeof shapes, "a 2 %d %d;v 2 %d %d;b 2 %d %d;q 2 %d %d", n, n, n, n, rows, columns, rows, columns);
    forms_data(&d, &f, 1, &one, shapes, 0);
    float *a = forms_floats(&d, "a"), *b = forms_floats(&d, "b"), *v = forms_floats(&d, "v"), *q = forms_floats(&d, "q");
    for (int i = 0; i < n; i++) for (int j = 0; j < i; j++) a[j*n + i] = a[i*n + j];
    if (n > 2) for (int i = 0; i < n*n; i++) a[n*n + i] = (float)(i%(n + 1) == 0 && i/n < 2);      /* the second: rank 2, repeated eigenvalues */
    forms_run(&d, shapes);
    double before = -INFINITY;
    for (int c = 0; c < n; c++) {                                           /* A v = lambda v, ascending */
      double lambda = 0, off = 0;
      for (int i = 0; i < n; i++) for (int j = 0; j < n; j++) lambda += (double)v[i*n + c]*a[i*n + j]*v[j*n + c];
      for (int i = 0; i < n; i++) { double y = -lambda*v[i*n + c]; for (int j = 0; j < n; j++) y += (double)a[i*n + j]*v[j*n + c]; off = fmax(off, fabs(y)); }
      CU_ASSERT(off < 1e-5 && lambda >= before - 1e-5);
      before = lambda;
    }
    int least = rows < columns ? rows : columns;
    for (int c = 0; c < least; c++)
      for (int e = 0; e <= c; e++) {                                        /* orthonormal; Q'B upper triangular */
        double dot = 0, below = 0;
        for (int i = 0; i < rows; i++) { dot += (double)q[i*columns + c]*q[i*columns + e]; below += (double)q[i*columns + c]*b[i*columns + e]; }
        CU_ASSERT(fabs(dot - (c == e)) < 1e-6 && (c == e || fabs(below) < 1e-5));
      }
  }
  forms_drop(&f);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(sums_have_the_order_of_the_language),
    TEST(softmax_goes_in_merged_blocks),
    TEST(weights_of_zero_leave_their_terms_out),
    TEST(running_values_orders_and_scatters),
    TEST(matrices_are_decomposed),
  };
  return suite_run("orders of evaluation", tests);
}
