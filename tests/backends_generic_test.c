/* backends_generic_test.c: what LLVM prints for C, at every level and for each GPU, executes to what the same C gives on this machine: loops, calls, structs, local
 * memory, tables, switches, narrow and wide integers, floats, shared memory, shuffles. */
#include <dlfcn.h>
#include <stdlib.h>
#include "tests/support/object_file.h"
#include "tests/support/ptx_lab.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

enum { N = 2048, THREADS = 256 };
#define COUNT(a) (sizeof (a)/sizeof *(a))
static const char *const kernels[] = {"sorts", "powers", "structs", "switches", "tables", "floats", "narrow", "wide", "product", "sums"};
typedef struct Data { uint32_t x[N], y[N]; } Data;

static void host(void *library, const char *kernel, Data *d) {
  uint32_t *thread = dlsym(library, "thread_number");
  void (*run)(const uint32_t *, uint32_t *) = (void (*)(const uint32_t *, uint32_t *))dlsym(library, kernel);
  CU_ASSERT_FATAL(thread && run);
  for (*thread = 0; *thread < N; ++*thread) run(d->x, d->y);
}

static void check(const char *text, const char *what, void *library) {
  static Data d, want;
  uint64_t s = 7;
  for (size_t k = 0; k < COUNT(kernels); k++) {
    PtxLab l;
    if (!lab_open(&l, text, PTX_STRICT)) { printf("\n%s:", what); lab_show(&l); CU_FAIL_FATAL("PTX that LLVM prints is refused"); }
    for (int i = 0; i < N; i++) want.x[i] = d.x[i] = (uint32_t)next_random(&s) >> (i%3 ? 0 : 12);
    memset(d.y, 0, sizeof d.y);
    host(library, kernels[k], &want);
    uint64_t params[2] = {ptx_map(l.memory, d.x, sizeof d.x, PTX_READ, "x"), ptx_map(l.memory, d.y, sizeof d.y, PTX_READ | PTX_WRITE | PTX_UNDEFINED, "y")};
    l.launch = (PtxLaunch){.kernel = ptx_find(l.module, kernels[k]), .grid = {N/THREADS, 1, 1}, .block = {THREADS, 1, 1}, .seed = k, .global_races = true};
    CU_ASSERT_PTR_NOT_NULL_FATAL(l.launch.kernel);
    bool good = lab_run(&l, params);
    int at = 0;
    while (at < N && d.y[at] == want.y[at]) at++;
    if (!good || at < N) {
      printf("\n%s, %s: thread %d has %08x of %08x, should have %08x", what, kernels[k], at, at < N ? d.y[at] : 0, at < N ? d.x[at] : 0, at < N ? want.y[at] : 0);
      lab_show(&l);
      CU_FAIL("not what the host computes");
    } else CU_PASS();
    lab_close(&l);
  }
}

static void what_llvm_prints_for_c_gives_the_bits_of_this_machine(void) {
  static const char *const gpus[] = {"sm_70", "sm_80", "sm_90"};
  const char *clang = getenv("OPTC_CLANG") ? getenv("OPTC_CLANG") : "clang-19";
  if (!command_exists(clang)) { printf("\nskipped: PTX of C, there is no %s\n", clang); return; }
  size_t size;
  char *here = realpath("tests/data/ptx/generic.c", NULL), flags[] = "-ffp-contract=off -fno-math-errno";
  CU_ASSERT_PTR_NOT_NULL_FATAL(here);
  CU_ASSERT_EQUAL_FATAL(scratch_run("echo 'unsigned thread_number;' | cat - %s > host.c && %s -O1 %s -w -shared -fPIC host.c -lm -o host.so", here, clang, flags), 0);
  void *library = dlopen(scratch_path("host.so"), RTLD_NOW);
  CU_ASSERT_PTR_NOT_NULL_FATAL(library);
  for (int level = 0; level < 4; level++)
    for (size_t g = 0; g < COUNT(gpus); g++) {
      char what[32];
      snprintf(what, sizeof what, "-O%d %s", level, gpus[g]);
      CU_ASSERT_EQUAL_FATAL(scratch_run("%s --target=nvptx64 -march=%s -Xclang -target-feature -Xclang +ptx78 -O%d %s -w -S -x c %s -o generic.ptx", clang, gpus[g], level, flags, here), 0);
      char *text = scratch_read("generic.ptx", &size);
      CU_ASSERT_PTR_NOT_NULL_FATAL(text);
      text[size] = 0;
      check(text, what, library);
      free(text);
    }
  dlclose(library);
  free(here);
}

int main(void) {
  static const SuiteTest tests[] = {TEST(what_llvm_prints_for_c_gives_the_bits_of_this_machine)};
  return suite_run("PTX of C, executed", tests);
}
