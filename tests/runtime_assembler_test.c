/* runtime_assembler_test.c: what an assembler makes of the PTX of every rule that ships, for each GPU and at each level: it is accepted, nothing spills where a rule goes
 * element by element, and multiplications and additions stay two instructions where the text has two.
 *
 * A part by default: rules that go element by element for all GPUs at both levels, of the others each level for one GPU in turn. OPTC_TEST_ALL: everything. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/support/assembler.h"
#include "tests/support/cubin.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/object_file.h"
#include "tests/support/suite.h"

enum { GPUS = 3, LEVELS = 2, MOST_RULES = 256 };
static const char *const gpus[GPUS] = {"sm_70", "sm_80", "sm_90"};
static const int levels[LEVELS] = {0, 2};

typedef struct Case { const ShippedRule *rule; bool elementwise, fast; int level; bool emitted, assembled; Assembly assembly; } Case;
static Case cases[MOST_RULES*GPUS*(LEVELS + 1)];
static int n_cases;
static const char *command[GPUS];

static void complain(const Case *c, const char *kernel, const char *what) {
  printf("\n%s, %s, -O%d%s%s: %s\n", c->rule->name, c->assembly.gpu, c->level, kernel[0] ? ", " : "", kernel, what);
  CU_FAIL("PTX that no GPU should get");
}

static void show_log(const Case *c) {
  char name[128];
  size_t size;
  snprintf(name, sizeof name, "%s.log", c->assembly.name);
  char *log = scratch_read(name, &size);
  complain(c, "", log ? log : "no log");
  free(log);
}

/* --- every text, assembled --------------------------------------------------------------------------------------------------------------- */
static bool emit(optc_context *cx, Case *c) {
  static const int kinds[] = {OPTC_EMIT_PTX};
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 1, .level = c->level, .fast = c->fast, .rule = c->rule->name, .gpu = c->assembly.gpu};
  optc_emission *e;
  if (optc_emit_file(cx, c->rule->path, &options, &e)) {
    complain(c, "", optc_context_diagnostics(cx));
    return false;
  }
  char words[64], file[128];
  size_t size;
  const char *text = optc_emission_data(e, 0, &size);
  snprintf(words, sizeof words, ".target %s\n", c->assembly.gpu);
  CU_ASSERT(strstr(text, words) && strstr(text, ".visible .entry"));
  CU_ASSERT_PTR_NULL(strstr(text, ".extern .func"));                       /* needs nothing that a driver does not have */
  CU_ASSERT(!c->elementwise || !strstr(text, ".local"));
  snprintf(file, sizeof file, "%s.ptx", c->assembly.name);
  bool written = scratch_write(file, text, size);
  CU_ASSERT(written);
  optc_emission_free(e);
  return written;
}

static void add_case(optc_context *cx, const ShippedRule *r, bool elementwise, int g, int level, bool fast) {
  Case *c = &cases[n_cases++];
  /* The assembler's best effort is what registers are told of; it costs twice the time. */
  *c = (Case){.rule = r, .elementwise = elementwise, .fast = fast, .level = level, .assembly = {.command = command[g], .gpu = gpus[g], .effort = elementwise || fast ? 3 : 1}};
  snprintf(c->assembly.name, sizeof c->assembly.name, "%s-%s-O%d%s", r->name, gpus[g], level, fast ? "-fast" : "");
  c->emitted = emit(cx, c);
  c->assembled = c->emitted && command[g] && assembly_start(&c->assembly);
}

/* Rules that are compiled under --fast too. */
static bool multiplies(const char *rule) {
  static const char *const names[] = {"muon", "kron", "shampoo", "mkor", "galore"};
  for (size_t k = 0; k < sizeof names/sizeof *names; k++) if (!strcmp(names[k], rule)) return true;
  return false;
}

/* Once, by whichever test runs first. */
static void assemble_all(void) {
  if (n_cases) return;
  int n, n_elementwise = 0;
  const ShippedRule *rules = shipped_rules(&n);
  const char *only = getenv("OPTC_TEST_RULE");
  bool all = getenv("OPTC_TEST_ALL") != NULL;
  optc_context *cx = fixture_context();
  for (int g = 0; g < GPUS; g++) command[g] = assembler_for(gpus[g]);
  for (int i = 0; i < n && i < MOST_RULES; i++) {
    optc_compile_options options = {.size = sizeof options, .level = 2, .backend = OPTC_BACKEND_KERNEL, .rule = rules[i].name};
    optc_rule *rule = NULL;
    if ((only && strcmp(only, rules[i].name)) || optc_compile_file(cx, rules[i].path, &options, &rule)) continue;
    bool elementwise = drill_elementwise(rule->desc);
    n_elementwise += elementwise;
    optc_rule_free(rule);
    for (int l = 0; l < LEVELS; l++)
      for (int g = 0; g < GPUS; g++)
        if (all || elementwise || (i + l)%GPUS == g) add_case(cx, &rules[i], elementwise, g, levels[l], false);
    for (int g = 0; g < GPUS; g++)
      if (multiplies(rules[i].name) && (all || g == i % GPUS)) add_case(cx, &rules[i], elementwise, g, 2, true);
  }
  assembly_join();
  optc_context_free(cx);
  printf("\n%d texts of %d rules, %d of them element by element%s\n", n_cases, n, n_elementwise, all ? "" : "; OPTC_TEST_ALL: all levels of all rules for all GPUs");
  CU_ASSERT_FATAL(n_cases > 0);
}

static void every_rule_assembles_for_each_gpu(void) {
  assemble_all();
  for (int i = 0; i < n_cases; i++) {
    CU_ASSERT(cases[i].emitted);
    if (cases[i].assembled && !cases[i].assembly.good) show_log(&cases[i]);
    else CU_PASS();
  }
}

/* --- what stands in it -------------------------------------------------------------------------------------------------------------------- */
typedef struct Read { const Case *c; char *text, *bytes; CubinKernel *kernels; int n; } Read;

static void for_all_assembled(void (*test)(const Read *)) {
  assemble_all();
  for (int i = 0; i < n_cases; i++) {
    if (!cases[i].assembled || !cases[i].assembly.good) continue;
    char ptx[128], cubin[128];
    size_t length = 0, size = 0;
    snprintf(ptx, sizeof ptx, "%s.ptx", cases[i].assembly.name);
    snprintf(cubin, sizeof cubin, "%s.cubin", cases[i].assembly.name);
    Read r = {.c = &cases[i], .text = scratch_read(ptx, &length), .bytes = scratch_read(cubin, &size)};
    r.kernels = r.text && r.bytes ? cubin_read(r.bytes, size, &r.n) : NULL;
    CU_ASSERT_PTR_NOT_NULL(r.kernels);
    if (r.kernels) test(&r);
    free(r.kernels);
    free(r.bytes);
    free(r.text);
  }
}

static void check_stack(const Read *r) {
  for (int k = 0; r->c->elementwise && k < r->n; k++) {
    CU_ASSERT(r->kernels[k].registers > 0);
    if (r->kernels[k].stack) complain(r->c, r->kernels[k].name, "spills, or local memory");
    else CU_PASS();
  }
}
static void nothing_spills_in_rules_that_go_element_by_element(void) { for_all_assembled(check_stack); }

/* The text of one kernel: to the next one. */
static char *kernel_text(const char *text, const char *name) {
  char *head;
  if (asprintf(&head, ".entry %s(", name) < 0) return NULL;
  const char *at = strstr(text, head), *end = at ? strstr(at + 1, ".entry ") : NULL;
  free(head);
  return !at ? NULL : end ? strndup(at, (size_t)(end - at)) : strdup(at);
}

static int occurrences(const char *text, const char *word) {
  int n = 0;
  for (const char *at = text; (at = strstr(at, word)); at += strlen(word)) n++;
  return n;
}

/* Whether an assembler may need multiply-adds of a type: those of the text, and those in its expansions of divisions and roots (of f64 with steps in f32). */
static bool may_fuse(const char *text, bool f64) {
  static const char *const ops[][2] = {{"fma.rn.f32", "fma.rn.f64"}, {"div.rn.f32", "div.rn.f64"}, {"rcp.rn.f32", "rcp.rn.f64"}, {"sqrt.rn.f32", "sqrt.rn.f64"}};
  bool may = strstr(text, ops[0][f64]) != NULL;
  for (int k = 1; k < 4; k++) may |= strstr(text, ops[k][1]) || (!f64 && strstr(text, ops[k][0]));
  return may;
}

static int n_unfused[2];
static void check_fusion(const Read *r) {
  static const struct { const char *mul; unsigned fused, product; } floats[] = {{"mul.rn.f32", SASS_FFMA, SASS_FMUL}, {"mul.rn.f64", SASS_DFMA, SASS_DMUL}};
  for (int k = 0; k < r->n; k++) {
    char *text = kernel_text(r->text, r->kernels[k].name);
    CU_ASSERT_PTR_NOT_NULL(text);
    for (int t = 0; text && t < 2; t++) {
      if (may_fuse(strstr(text, "call.") ? r->text : text, t)) continue;     /* functions called become part of the kernel */
      n_unfused[t] += occurrences(text, floats[t].mul) > 0;
      if (r->kernels[k].op[floats[t].fused]) complain(r->c, r->kernels[k].name, "multiplications and additions were fused");
      else CU_PASS();
      if (occurrences(text, floats[t].mul) && !r->kernels[k].op[floats[t].product]) complain(r->c, r->kernels[k].name, "no multiplication is there");
    }
    free(text);
  }
}
static void products_and_sums_are_fused_nowhere_but_where_the_text_says_so(void) {
  for_all_assembled(check_fusion);
  printf("\nkernels with products and without divisions, roots and multiply-adds: f32 %d, f64 %d\n", n_unfused[0], n_unfused[1]);
}

/* Products at the assembler's best effort: two blocks of 256 threads on a multiprocessor, which is 128 registers, are worth more than the few words that do not fit (galore
 * on sm_90: 20 bytes). Tensor cores under --fast, where there are any, and nowhere else. */
enum { PRODUCT_STACK = 32 };
static int n_products[2];
static void check_products(const Read *r) {
  bool cores = strcmp(r->c->assembly.gpu, "sm_80") >= 0;
  for (int k = 0; k < r->n; k++) {
    if (!r->c->fast) CU_ASSERT_EQUAL(r->kernels[k].op[SASS_HMMA], 0);
    if (!r->c->fast || !strstr(r->kernels[k].name, "_product_")) continue;
    n_products[cores]++;
    if (r->kernels[k].stack > PRODUCT_STACK) complain(r->c, r->kernels[k].name, "a product spills");
    else CU_PASS();
    CU_ASSERT(r->kernels[k].registers <= 128);
    if ((r->kernels[k].op[SASS_HMMA] > 0) != cores) complain(r->c, r->kernels[k].name, "tensor cores are not used where they are, or used where they are not");
    else CU_PASS();
  }
}
static void products_under_fast_use_tensor_cores_and_two_blocks_fit(void) {
  for_all_assembled(check_products);
  printf("\nproducts under --fast: %d with tensor cores, %d without\n", n_products[1], n_products[0]);
}

/* The kernel that goes over the tensors, at -O2. */
static int n_adamw;
static void check_adamw(const Read *r) {
  if (strcmp(r->c->rule->name, "adamw") || r->c->level != 2) return;
  for (int k = 0; k < r->n; k++)
    if (!strcmp(r->kernels[k].name, "adamw_step_step")) {
      printf("\nadamw for %s: %u registers\n", r->c->assembly.gpu, r->kernels[k].registers);
      CU_ASSERT(r->kernels[k].registers <= (strcmp(r->c->assembly.gpu, "sm_70") ? 48 : 80));         /* five blocks of 256 threads on a multiprocessor; three */
      n_adamw++;
    }
}
static void adamw_leaves_registers_for_many_warps(void) {
  for_all_assembled(check_adamw);
  CU_ASSERT(n_adamw > 0 || getenv("OPTC_TEST_RULE") || !(command[1] || command[2]));
}

/* --- the checks themselves: text changed on purpose ------------------------------------------------------------------------------------------ */
static char *replaced(const char *text, const char *from, const char *to) {
  size_t size = strlen(text) + (size_t)occurrences(text, from)*strlen(to) + 1;
  char *made = calloc(1, size), *end = made;
  for (const char *at; (at = strstr(text, from)); text = at + strlen(from)) end += sprintf(end, "%.*s%s", (int)(at - text), text, to);
  strcpy(end, text);
  return made;
}

static void text_without_roundings_is_fused_and_too_few_registers_spill(void) {
  static const struct { const char *from[3], *to[3]; bool fused, spilt; } ways[] = {
    {{"mul.rn.f32", "add.rn.f32", "sub.rn.f32"}, {"mul.f32", "add.f32", "sub.f32"}, true, false}, {{")\n{"}, {")\n.maxnreg 24\n{"}, false, true}, {{"ret;"}, {"ret;"}, false, false}};
  const char *ptxas = assembler_for("sm_90");
  if (!ptxas) return;
  ShippedRule lion = {"rules/lion.opt", "lion"};
  optc_context *cx = fixture_context();
  for (size_t w = 0; w < sizeof ways/sizeof *ways; w++) {
    Case c = {.rule = &lion, .elementwise = true, .level = 2, .assembly = {.name = "planted", .command = ptxas, .gpu = "sm_90", .effort = 3}};
    size_t size;
    CU_ASSERT_FATAL(emit(cx, &c));
    char *text = scratch_read("planted.ptx", &size);
    for (int k = 0; k < 3 && ways[w].from[k]; k++) {
      char *changed = replaced(text, ways[w].from[k], ways[w].to[k]);
      free(text);
      text = changed;
    }
    CU_ASSERT(scratch_write("planted.ptx", text, strlen(text)) && assembly_start(&c.assembly));
    assembly_join();
    CU_ASSERT_FATAL(c.assembly.good);
    void *bytes = scratch_read("planted.cubin", &size);
    int n;
    unsigned fused = 0, stack = 0;
    CubinKernel *kernels = cubin_read(bytes, size, &n);
    for (int k = 0; k < n; k++) {
      fused += kernels[k].op[SASS_FFMA];
      stack += kernels[k].stack;
    }
    CU_ASSERT_EQUAL(fused > 0, ways[w].fused);
    CU_ASSERT_EQUAL(stack > 0, ways[w].spilt);
    free(kernels);
    free(bytes);
    free(text);
  }
  optc_context_free(cx);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(every_rule_assembles_for_each_gpu),
    TEST(nothing_spills_in_rules_that_go_element_by_element),
    TEST(products_and_sums_are_fused_nowhere_but_where_the_text_says_so),
    TEST(products_under_fast_use_tensor_cores_and_two_blocks_fit),
    TEST(adamw_leaves_registers_for_many_warps),
    TEST(text_without_roundings_is_fused_and_too_few_registers_spill),
  };
  return suite_run("PTX of all rules, assembled", tests);
}
