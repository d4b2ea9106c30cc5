/* backends_ptx_survey_test.c: what is read off a kernel's text without executing it: widths of accesses, the loops they stand in, tables told from tensors. */
#include <stdlib.h>
#include "tests/support/ptx_lab.h"
#include "tests/support/suite.h"

/* Parameter -> table -> tensors x, y: an outer loop, in it a loop by vectors and one for what is left, and a word behind all. */
static const char text[] = PTX_HEAD
  ".visible .entry k(.param .u64 table, .param .u64 n) {\n"
  ".reg .pred %p<4>;\n.reg .b16 %h<4>;\n.reg .f32 %f<20>;\n.reg .b64 %l<20>;\n"
  "ld.param.u64 %l1, [table];\nld.param.u64 %l2, [n];\nmov.u64 %l9, 0;\n"
  "OUTER:\n"
  "ld.global.u64 %l3, [%l1];\nld.u64 %l4, [%l1+8];\n"                     /* generic addresses count as global ones */
  "mov.u64 %l5, %l3;\n"
  "WIDE:\n"
  "ld.global.nc.v4.f32 {%f1, %f2, %f3, %f4}, [%l5];\nld.global.v2.f32 {%f5, %f6}, [%l5+16];\n"
  "add.rn.f32 %f1, %f1, %f5;\nadd.s64 %l6, %l4, %l9;\nst.v4.f32 [%l6], {%f1, %f2, %f3, %f4};\n"
  "add.s64 %l5, %l5, 24;\nsetp.lt.u64 %p1, %l5, %l2;\n@%p1 bra WIDE;\n"
  "REST:\n"
  "ld.global.u16 %h1, [%l5];\nst.global.u8 [%l6], %h1;\n@%p1 bra REST;\n"
  "add.s64 %l9, %l9, 8;\nsetp.lt.u64 %p2, %l9, %l2;\n@%p2 bra OUTER;\n"
  "st.global.f32 [%l4], %f1;\n"
  "bar.sync 0;\nshfl.sync.bfly.b32 %f7, %f1, 16, 31, -1;\n"
  "ret;\n}\n";

static void accesses_by_width_and_loop(void) {
  PtxLab l;
  PtxSurvey s;
  CU_ASSERT_FATAL(lab_open(&l, text, PTX_STRICT));
  ptx_survey(ptx_kernel(l.module, 0), l.arena, 1, &s);
  CU_ASSERT_EQUAL_FATAL(s.n_loops, 3);
  const PtxTraffic *outer = NULL, *wide = NULL, *rest = NULL;
  for (unsigned k = 0; k < 3; k++) {
    if (s.loop[k].loads[4]) wide = &s.loop[k];
    else if (s.loop[k].loads[1]) rest = &s.loop[k];
    else outer = &s.loop[k];
  }
  CU_ASSERT_FATAL(outer && wide && rest);
  static const PtxTraffic wants[] = {{.loads = {0, 0, 0, 1, 1}, .stores = {0, 0, 0, 0, 1}}, {.loads = {0, 1}, .stores = {1}}, {.loads = {0}}, {.stores = {0, 0, 1}}};
  const PtxTraffic *found[] = {wide, rest, outer, &s.outside};
  for (int k = 0; k < 4; k++) CU_ASSERT(!memcmp(found[k]->loads, wants[k].loads, sizeof wants[k].loads) && !memcmp(found[k]->stores, wants[k].stores, sizeof wants[k].stores));
  CU_ASSERT(wide->line < rest->line && outer->line < wide->line && !s.outside.line);
  CU_ASSERT(s.barriers == 1 && s.shuffles == 1 && s.products == 0);
  lab_close(&l);
}

static void tables_are_told_from_what_they_point_to(void) {
  static const unsigned accesses[] = {8, 6, 0};            /* all; of tensors; of what tensors would point to */
  for (unsigned hops = 0; hops < 3; hops++) {
    PtxLab l;
    PtxSurvey s;
    unsigned n = 0;
    CU_ASSERT_FATAL(lab_open(&l, text, PTX_STRICT));
    ptx_survey(ptx_kernel(l.module, 0), l.arena, hops, &s);
    for (unsigned w = 0; w < PTX_WIDTHS; w++) {
      n += s.outside.loads[w] + s.outside.stores[w];
      for (unsigned k = 0; k < s.n_loops; k++) n += s.loop[k].loads[w] + s.loop[k].stores[w];
    }
    CU_ASSERT_EQUAL(n, accesses[hops]);
    lab_close(&l);
  }
}

int main(void) {
  static const SuiteTest tests[] = {TEST(accesses_by_width_and_loop), TEST(tables_are_told_from_what_they_point_to)};
  return suite_run("what PTX does to memory", tests);
}
