/* runtime_nest_calls_test.c: what a call brings and leaves, in every form of a rule: lists, trips, states with shapes of their own, strides, wrong shapes, skipped steps. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/nest/forms.h"
#include "tests/support/orders.h"
#include "tests/support/suite.h"

#define FORWARD "graph forward {\n"

/* A call of one item, still without workspace. */
static optc_call call_of(Data *d) {
  return (optc_call){.size = sizeof(optc_call), .groups = d->hyper, .n_groups = 1, .items = d->items, .n_items = 1, .global = d->global, .error = &d->error};
}

static void scans_carry_tensors(void) {
  Forms f;                               /* two tensors exchanged and changed every trip, a number, a scan inside, rows written; and the same backwards */
  for (int reverse = 0; reverse < 2; reverse++) {
    char text[3000];
    const char *way = reverse ? " reverse" : "";
    snprintf(text, sizeof text, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand y out tensor f32 [size(x, 0), size(x, 1)]\noperand z out tensor f32 [size(x, 1)]\noperand n out scalar f64\n"
      FORWARD "%%0 = size i64 x axis=0\n%%1 = size i64 x axis=1\n%%2 = const f32 0\n%%3 = index i64 [%%1] axis=0\n%%4 = cast f32 [%%1] %%3\n%%5 = const f32 [] 1\n%%6 = mul f32 [%%1] %%4, %%2\n"
      "%%7 = const i64 0\n%%8 = index i64 [%%0, %%1] axis=1\n%%9 = cast f32 [%%0, %%1] %%8\n%%10 = mul f32 [%%0, %%1] %%9, %%2\n"
      "%%11 = carry f32 [%%1] which=0 depth=0 level=element\n%%12 = carry f32 [%%1] which=1 depth=0 level=element\n%%13 = carry f64 which=2 depth=0 level=item\n%%14 = carry f32 [%%0, %%1] which=3 depth=0 level=element\n"
      "%%15 = carry i64 which=-1 depth=0 level=item\n%%16 = read f32 [%%1] x %%15, %%3\n%%17 = add f32 [%%1] %%11, %%16\n%%18 = contract f32 axes=1 %%17, %%12\n%%19 = cast f64 %%18\n%%20 = add f64 %%13, %%19\n"
      "%%21 = cast f32 %%20\n%%22 = const f32 0.125\n%%23 = mul f32 %%21, %%22\n%%24 = mul f32 [%%1] %%17, %%22\n%%25 = scatter f32 [%%0, %%1] %%14, %%24, %%15, %%3\n"
      "%%26 = const i64 3\n%%27 = carry f32 [%%1] which=0 depth=1 level=element\n%%28 = reduce f32 axes=1 kind=sum order=lanes %%27\n%%29 = mul f32 %%28, %%23\n%%30 = add f32 [%%1] %%27, %%29\n"
      "%%31 = scan bool depth=1 %%26, %%24 {%%30}\n%%32 = result f32 [%%1] which=0 %%31\n%%33 = mul f32 [%%1] %%32, %%22\n%%34 = const f64 0\n"
      "%%35 = scan bool depth=0%s %%0, %%6, %%4, %%34, %%10 {%%12, %%33, %%20, %%25}\n%%36 = result f32 [%%0, %%1] which=3 %%35\n%%37 = result f64 which=2 %%35\n%%38 = result f32 [%%1] which=1 %%35\n"
      "write y = %%36\nwrite n = %%37\nwrite z = %%38\n}\n", way);
    char *odd = strstr(text, "%5 = const f32 [] 1\n");                       /* a line that the text does not need */
    if (odd) memmove(odd, odd + strlen("%5 = const f32 [] 1\n"), strlen(odd + strlen("%5 = const f32 [] 1\n")) + 1);
    forms_read(&f, text);
    for (int k = 0; k < 6; k++) {
      static const int64_t size[6][2] = {{0, 5}, {4, 0}, {1, 1}, {3, 17}, {5, 513}, {2, 1025}};
      int64_t one = 1;
      Data d;
      char shapes[100];
      snprintf(shapes, sizeof shapes, "x %lld %lld;y %lld %lld;z %lld", (long long)size[k][0], (long long)size[k][1], (long long)size[k][0], (long long)size[k][1], (long long)size[k][1]);
      forms_data(&d, &f, 1, &one, shapes, 0);
      forms_run(&d, shapes);
    }
    forms_drop(&f);
  }
}

static void totals_are_combined_in_order_of_the_list(void) {
  Forms f;                               /* g scaled by the norm of all, which is clipped by the largest of all norms; counts; t stays where a flag is set */
  forms_read(&f, "module \"r\" step\nhyper eps f64 = 0x1p-10\noperand p param tensor f32 item\noperand g grad tensor f32 item\noperand s state global f64\noperand best out global f64\noperand h state scalar f64\n"
    "graph init {\n%0 = const f64 0\nwrite s = %0\nwrite h = %0\n}\n"
    "graph step advances {\n%0 = size i64 p axis=count\n%1 = read f32 [%0] g\n%2 = contract f32 axes=1 %1, %1\n%3 = cast f64 %2\n%4 = total f64 kind=sum order=lanes %3\n%5 = hyper f64 eps\n%6 = add f64 %4, %5\n%7 = sqrt f64 %6\n"
    "%8 = cast f32 %7\n%9 = div f32 [%0] %1, %8\n%10 = reduce f32 axes=1 kind=max order=lanes %9\n%11 = cast f64 %10\n%12 = total f64 kind=max order=lanes %11\n%13 = cast f32 %12\n%14 = add f32 [%0] %9, %13\n"
    "%15 = read f32 [%0] p\n%16 = sub f32 [%0] %15, %14\n%17 = scalar f64 s\n%18 = add f64 %17, %4\n%19 = scalar f64 h\n%20 = add f64 %19, %3\nwrite p = %16\nwrite s = %18\nwrite best = %12\nwrite h = %20\n}\n");
  static const int64_t counts[5] = {3, 0, 1025, 70000, 17};
  for (unsigned n = 0; n <= 5; n++) {
    Data d;
    forms_data(&d, &f, n, counts, "", 0);
    forms_run(&d, "totals");
    double sum = 0, got;
    memcpy(&got, d.global + layout_of(f.module)->operand[2], 8);
    for (unsigned i = 0; i < n; i++) { const float *g = (const float *)forms_tensor(&d, i, "g")->data; sum += plain_contract(g, g, counts[i]); }
    CU_ASSERT_EQUAL(got, sum);
  }
  forms_drop(&f);
}

static void states_have_shapes_of_their_own(void) {
  Forms f;                               /* one mean a row of 8 and a table of the call; a requirement on sizes */
  forms_read(&f, "module \"r\" step\nhyper c i64 = 8\noperand p param tensor f32 item\noperand m state tensor f32 [idiv(sub(add(size(p, -1), hyper(c)), 1), hyper(c)), 2]\noperand q in global f32 [size(q, 0)]\noperand s state global f64 [max(size(q, 0), 3)]\n"
    "operand u state tensor bf16 item\n"
    "graph init {\n%0 = const f32 0\nwrite m = %0\n%1 = const f64 1\nwrite s = %1\nwrite u = %0\n}\ngraph layout {\nexists m\nexists u\n}\n"
    "graph step advances {\n%0 = size i64 p axis=count\n%1 = hyper i64 c\n%2 = add i64 %0, %1\n%3 = const i64 1\n%4 = sub i64 %2, %3\n%5 = idiv i64 %4, %1\n%6 = const i64 2\n%7 = index i64 [%5, %6] axis=0\n%8 = index i64 [%5, %6] axis=1\n"
    "%9 = index i64 [%5, %6, %1] axis=0\n%10 = index i64 [%5, %6, %1] axis=2\n%11 = mul i64 [%5, %6, %1] %9, %1\n%12 = add i64 [%5, %6, %1] %11, %10\n%13 = read f32 [%5, %6, %1] p %12\n%14 = index i64 [%5, %6, %1] axis=1\n"
    "%15 = cast f32 [%5, %6, %1] %14\n%16 = add f32 [%5, %6, %1] %13, %15\n%17 = reduce f32 [%5, %6] axes=1 kind=sum order=lanes %16\n%18 = read f32 [%5, %6] m\n%19 = add f32 [%5, %6] %18, %17\n"
    "%20 = size i64 q axis=0\n%21 = const i64 3\n%22 = lt bool %20, %21\n%23 = select i64 %22, %21, %20\n%24 = index i64 [%23] axis=0\n%25 = read f32 [%23] q %24\n%26 = cast f64 [%23] %25\n%27 = read f64 [%23] s\n%28 = add f64 [%23] %26, %27\n"
    "%29 = read f32 [%0] p\n%30 = index i64 [%0] axis=0\n%31 = idiv i64 [%0] %30, %1\n%32 = map f32 [%0] %19, %31, %3\n%33 = add f32 [%0] %29, %32\n%34 = read f32 [%0] u\n%35 = add f32 [%0] %34, %33\n%36 = le bool %3, %20\n%37 = cast f64 %20\n"
    "require \"q\" %36, \"n\" %37\nwrite m = %19\nwrite s = %28\nwrite p = %33\nwrite u = %35\n}\n");
  static const int64_t counts[4] = {0, 7, 8, 1001};
  Data d;
  forms_data(&d, &f, 4, counts, "q 5", 0);
  CU_ASSERT_EQUAL(forms_tensor(&d, 3, "m")->count, 126*2);
  CU_ASSERT_EQUAL(forms_tensor(&d, 0, "s")->count, 5);
  forms_run(&d, "own shapes");
  forms_data(&d, &f, 4, counts, "q 1", DATA_SPECIAL);
  CU_ASSERT_EQUAL(forms_tensor(&d, 0, "s")->count, 3);
  forms_run(&d, "own shapes");
  forms_data(&d, &f, 1, counts, "q 0", 0);
  for (int form = 0; form < FORMS; form++) {
    optc_call call = call_of(&d);
    call.workspace = d.workspace;
    call.workspace_size = d.workspace_size;
    CU_ASSERT_EQUAL(optc_drive(f.desc[form], 2, &call, NULL), OPTC_E_REQUIRE);
    CU_ASSERT(d.error.n == 1 && d.error.value[0] == 0);
  }
  forms_drop(&f);
}

static void strided_tensors_are_copied(void) {
  Forms f;
  forms_read(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0), size(x, 1)]\noperand y inout tensor f32 [size(x, 1), size(x, 0)]\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = size i64 x axis=1\n%2 = read f32 [%1, %0] y\n%3 = index i64 [%1, %0] axis=0\n%4 = index i64 [%1, %0] axis=1\n%5 = read f32 [%1, %0] x %4, %3\n%6 = add f32 [%1, %0] %2, %5\nwrite y = %6\n}\n");
  int64_t one = 1;
  Data d;
  forms_data(&d, &f, 1, &one, "x 3 4;y 4 3", 0);
  const Layout *l = layout_of(f.module);
  static const int64_t x_stride[2] = {1, -3}, y_stride[2] = {5, 1};
  float x[12], y[20];
  for (int form = 0; form < FORMS; form++) {
    for (int i = 0; i < 20; i++) { y[i] = (float)(100*i); if (i < 12) x[i] = (float)i; }
    optc_shaped sx = {x + 9, x_stride, forms_tensor(&d, 0, "x")->shape, 2}, sy = {y, y_stride, forms_tensor(&d, 0, "y")->shape, 2};
    memcpy(d.items + l->operand[0], &sx, sizeof sx);
    memcpy(d.items + l->operand[1], &sy, sizeof sy);
    optc_call call = call_of(&d);
    size_t need = optc_drive_workspace(f.desc[form], &call);
    CU_ASSERT_EQUAL(optc_drive(f.desc[form], 0, &call, NULL), OPTC_E_WORKSPACE);
    call.workspace = arena_alloc(f.arena, need);
    call.workspace_size = need;
    CU_ASSERT_EQUAL(optc_drive(f.desc[form], 0, &call, NULL), 0);
    for (int i = 0; i < 20; i++) CU_ASSERT_EQUAL(y[i], (float)(100*i) + (i%5 < 3 ? (float)(9 - 3*(i/5) + i%5) : 0));
    sy.stride = (const int64_t[2]){0, 1};                                   /* two elements of an output in one place */
    memcpy(d.items + l->operand[1], &sy, sizeof sy);
    CU_ASSERT_EQUAL(optc_drive(f.desc[form], 0, &call, NULL), OPTC_E_SHAPE);
  }
  forms_drop(&f);
}

static void wrong_shapes_are_told(void) {
  Forms f;
  forms_read(&f, "module \"r\"\noperand x in tensor f32 [size(x, 0)]\noperand y inout tensor f32 [size(x, 0)]\noperand z out tensor f32 [size(x, 0)]\noperand q in global f32 [size(q, 0)]\n"
    FORWARD "%0 = size i64 x axis=0\n%1 = read f32 [%0] x\n%2 = read f32 [%0] y\n%3 = const i64 0\n%4 = read f32 q %3\n%5 = add f32 [%0] %1, %2\n%6 = add f32 [%0] %5, %4\nwrite y = %6\nwrite z = %5\n}\n");
  int64_t one = 1;
  Data d;
  forms_data(&d, &f, 1, &one, "x 9;y 9;z 9;q 2", 0);
  const Layout *l = layout_of(f.module);
  static const int64_t negative[1] = {-1}, huge[2] = {INT64_C(1) << 40, INT64_C(1) << 40}, nine[1] = {9}, apart[1] = {2};
  float other[20] = {0};
  const optc_shaped good_x = {forms_tensor(&d, 0, "x")->data, NULL, nine, 1}, good_y = {forms_tensor(&d, 0, "y")->data, NULL, nine, 1}, good_z = {forms_tensor(&d, 0, "z")->data, NULL, nine, 1}, good_q = {forms_tensor(&d, 0, "q")->data, NULL, (const int64_t[1]){2}, 1};
  struct { int code; int operand; optc_shaped with; } cases[] = {
    {0, 0, good_x}, {OPTC_E_NULL, 0, {good_x.data, NULL, NULL, 1}}, {OPTC_E_NULL, 0, {NULL, NULL, nine, 1}}, {OPTC_E_SHAPE, 0, {good_x.data, NULL, negative, 1}}, {OPTC_E_SHAPE, 0, {good_x.data, NULL, huge, 2}},
    {OPTC_E_SHAPE, 0, {good_x.data, NULL, nine, -1}}, {OPTC_E_SHAPE, 0, {good_x.data, NULL, nine, 65}}, {OPTC_E_ALIGN, 0, {(char *)good_x.data + 1, NULL, nine, 1}}, {OPTC_E_OVERLAP, 0, {(char *)good_y.data + 4, NULL, nine, 1}},
    {OPTC_E_OVERLAP, 1, {good_x.data, NULL, nine, 1}}, {0, 2, {NULL, NULL, nine, 1}}, {0, 2, {NULL, NULL, NULL, 0}}, {0, 0, {other, apart, nine, 1}}, {OPTC_E_SHAPE, 3, {good_q.data, apart, (const int64_t[1]){2}, 1}}, {OPTC_E_NULL, 3, {NULL, NULL, nine, 1}},
  };
  for (size_t k = 0; k < sizeof cases/sizeof *cases; k++)
    for (int form = 0; form < FORMS; form++) {
      const optc_shaped *fields[4] = {&good_x, &good_y, &good_z, &good_q};
      fields[cases[k].operand] = &cases[k].with;
      for (int i = 0; i < 4; i++) memcpy((i == 3 ? d.global : d.items) + l->operand[i], fields[i], sizeof(optc_shaped));
      optc_call call = call_of(&d);
      call.workspace_size = optc_drive_workspace(f.desc[form], &call);
      call.workspace = arena_alloc(f.arena, call.workspace_size + 1);
      int code = optc_drive(f.desc[form], 0, &call, NULL);
      if (code != cases[k].code) printf("\ncase %zu, %s: %d", k, form_names[form], code);
      CU_ASSERT_EQUAL(code, cases[k].code);
    }
  forms_drop(&f);
}

static void skipped_steps_do_not_count(void) {
  Forms f;
  forms_read(&f, "module \"r\" step\noperand p param tensor f32 item\noperand n state global i64\ngraph init {\n%0 = const i64 0\nwrite n = %0\n}\n"
    "graph step advances {\n%0 = size i64 p axis=count\n%1 = read f32 [%0] p\n%2 = ne bool [%0] %1, %1\n%3 = reduce bool axes=1 kind=any order=lanes %2\n%4 = total bool kind=any order=lanes %3\n%5 = not bool %4\n%6 = const f32 1\n%7 = add f32 [%0] %1, %6\n"
    "%8 = scalar i64 n\n%9 = const i64 1\n%10 = add i64 %8, %9\nwrite p = %7 when %5\nwrite n = %10 when %4\n}\n");
  for (unsigned i = 0; i < f.module->n_graphs; i++) (void)f.module->graphs[i]->skip;
  static const int64_t counts[3] = {5, 0, 1030};
  for (int bad = 0; bad < 2; bad++) {
    Data d;
    forms_data(&d, &f, 3, counts, "", 0);
    if (bad) ((float *)forms_tensor(&d, 2, "p")->data)[1029] = NAN;
    forms_run(&d, "skip");
    int64_t n;
    memcpy(&n, d.global + layout_of(f.module)->operand[1], 8);
    CU_ASSERT_EQUAL(n, bad);
  }
  forms_drop(&f);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(scans_carry_tensors),
    TEST(totals_are_combined_in_order_of_the_list),
    TEST(states_have_shapes_of_their_own),
    TEST(strided_tensors_are_copied),
    TEST(wrong_shapes_are_told),
    TEST(skipped_steps_do_not_count),
  };
  return suite_run("calls of loop nests", tests);
}
