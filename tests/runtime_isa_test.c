/* runtime_isa_test.c: the bit contract between instruction sets: every rule that ships, and every function of the language as a rule of its own, compiled ahead of
 * time for x86-64-v2, v3, v4, for all three with dispatch, and for aarch64, gives the bits of the interpreter; the objects need nothing from outside. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/optc.h"
#include "runtime/rule.h"
#include "tests/support/drill_rules.h"
#include "tests/support/fixture.h"
#include "tests/support/jobs.h"
#include "tests/support/object_file.h"
#include "tests/support/suite.h"
#include "tests/support/trial.h"
#include "tests/support/usual_passes.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))
static const DrillWay plain = {0};

/* --- what is compiled: rules of files, and functions ------------------------------------------------------------------------------------------ */
typedef struct Function { const char *name, *value; bool f64; } Function;
static const Function functions[] = {
  {"max", "max(g, h)", true}, {"min", "min(g, h)", true}, {"sign", "sign(g)", true}, {"isnan", "where(isnan(g), 1, 2)", true}, {"finite", "where(finite(g), 1, 2)", true},
  {"clamp", "clamp(g, -1, h)", true}, {"relu", "relu(g)", true}, {"powi", "g^n", true}, {"cube", "g^3", true}, {"abs", "abs(g)", true}, {"sqrt", "sqrt(g)", true},
  {"floor", "floor(g)", true}, {"ceil", "ceil(g)", true}, {"round", "round(g)", true}, {"quotient", "g/h", true}, {"fma", "fma(g, h, p)", false}, {"lerp", "lerp(g, h, p)", true},
  {"exp", "exp(g)", true}, {"exp2", "exp2(g)", true}, {"expm1", "expm1(g)", true}, {"log", "log(g)", true}, {"log2", "log2(g)", true}, {"log1p", "log1p(g)", true},
  {"tanh", "tanh(g)", true}, {"sigmoid", "sigmoid(g)", true}, {"erf", "erf(g)", true}, {"rsqrt", "rsqrt(g)", true}, {"pow", "g^h", true}, {"sin", "sin(g)", true},
  {"cos", "cos(g)", true}, {"cosh", "cosh(g)", true}, {"silu", "silu(g)", true}, {"gelu", "gelu(g)", true}, {"softplus", "softplus(g)", true}, {"logaddexp", "logaddexp(g, h)", true},
  {"sexp", "sexp(g)", false}, {"fast_exp", "fast_exp(g)", false}, {"fast_log", "fast_log(g)", false}, {"fast_tanh", "fast_tanh(g)", false},
  {"int", "g + int(h)", true}, {"bf16", "bf16(g)", false}, {"f16", "f16(g)", false},
};

typedef struct Subject { const char *path, *text, *name; bool shaped; } Subject;      /* a rule of a file, or a text of its own; shaped: has trials, not drills */
enum { MOST = 400 };
static Subject subjects[MOST];
static int n_subjects, n_rules;

/* NULL, and *trouble, where it does not compile. */
static optc_rule *compile(const Subject *s, int backend, int level, const char *passes, char **trouble) {
  optc_context *cx = fixture_context();
  optc_compile_options options = {.size = sizeof options, .level = level, .backend = backend, .passes = passes, .rule = s->name};
  optc_rule *rule = NULL;
  if (s->path ? optc_compile_file(cx, s->path, &options, &rule) : optc_compile_memory(cx, s->name, s->text, strlen(s->text), &options, &rule))
    *trouble = job_trouble("%s: %s", s->name, optc_context_diagnostics(cx));
  optc_context_free(cx);
  return rule;
}

/* Of a subject: its kernels, to be interpreted, made once. */
static optc_rule *kernels[MOST];
static char *compile_kernels(void *self, int i) {
  char *trouble = NULL;
  kernels[i] = compile(&subjects[i], OPTC_BACKEND_KERNEL, 2, NULL, &trouble);
  subjects[i].shaped = subjects[i].path && kernels[i] && !drill_elementwise(kernels[i]->desc);
  return trouble;
}

static void find_subjects(void) {
  if (n_subjects) return;
  const ShippedRule *rules = shipped_rules(&n_rules);
  CU_ASSERT_FATAL(n_rules >= 50 && n_rules + 2*COUNT(functions) <= MOST);
  for (int i = 0; i < n_rules; i++) subjects[n_subjects++] = (Subject){.path = rules[i].path, .name = rules[i].name};
  for (int i = 0; i < COUNT(functions); i++)
    for (int wide = 0; wide <= functions[i].f64; wide++) {
      const char *type = wide ? "f64" : "f32";
      char *name, *text;                 /* as long as the process */
      CU_ASSERT_FATAL(asprintf(&name, "%s_%s", functions[i].name, type) > 0);
      CU_ASSERT_FATAL(asprintf(&text, "rule %s(%s) {\n  param p: %s\n  in g: %s, h: %s\n  p = %s\n}\n", name, strstr(functions[i].value, "^n") ? "n: int = 5" : "", type, type, type, functions[i].value) > 0);
      subjects[n_subjects++] = (Subject){.text = text, .name = name};
    }
  CU_ASSERT_EQUAL_FATAL(jobs_run(n_subjects, compile_kernels, NULL), n_subjects);
}

static const int64_t rule_counts[] = {1, 15, 17, 0, 33, 1000, 65537}, function_counts[] = {100000, 3};
static DrillPlan plan_of(const Subject *s) {
  if (s->text) return (DrillPlan){.counts = function_counts, .n_items = COUNT(function_counts), .n_groups = 1, .steps = 1, .seed = 2, .any_bits = true};
  return (DrillPlan){.counts = rule_counts, .n_items = COUNT(rule_counts), .n_groups = 2, .steps = 3};
}

/* Trials of a rule with shapes: defaults and moderate numbers, then special ones. */
enum { N_TRIALS = 2 };
static const TrialPlan trial_plans[N_TRIALS] = {{.seed = 0, .data = TRIAL_MODERATE, .steps = 2}, {.seed = 3, .data = TRIAL_SPECIAL, .steps = 2}};

/* What one form of a subject did. */
typedef struct Outcome { Drill *drill; Trial *trial[N_TRIALS]; char text[256]; } Outcome;

static void outcome_run(Outcome *o, const DrillRule *rule) {
  if (o->drill) drill_run(o->drill, rule, &plain);
  for (int k = 0; k < N_TRIALS; k++) if (o->trial[k]) trial_run(o->trial[k], rule, &plain);
}
/* Neither drill nor first trial: there is no data that the rule takes. */
static Outcome outcome_of(const Subject *s, const DrillRule *rule) {
  Outcome o = {0};
  DrillPlan plan = plan_of(s);
  if (!s->shaped) o.drill = drill_new(rule, &plan);
  for (int k = 0; k < N_TRIALS && s->shaped; k++) o.trial[k] = trial_new(rule, &trial_plans[k]);
  if (o.drill) drill_run(o.drill, rule, &plain);
  if (o.drill) drill_keep(o.drill);
  for (int k = 0; k < N_TRIALS; k++) if (o.trial[k]) trial_keep(o.trial[k]);
  return o;
}
static bool outcome_read(Outcome *o, FILE *file) {
  bool good = !o->drill || drill_read(o->drill, file);
  for (int k = 0; k < N_TRIALS; k++) good = good && (!o->trial[k] || trial_read(o->trial[k], file));
  return good;
}
static const char *outcome_difference(Outcome *o) {
  const char *difference = o->drill ? drill_difference(o->drill) : NULL;
  for (int k = 0; k < N_TRIALS && !difference; k++) if (o->trial[k]) difference = trial_difference(o->trial[k]);
  if (!difference) return NULL;
  snprintf(o->text, sizeof o->text, "%s", difference);
  return o->text;
}
static void outcome_free(Outcome *o) {
  drill_free(o->drill);
  for (int k = 0; k < N_TRIALS; k++) trial_free(o->trial[k]);
}

/* Of the interpreter: what it did. Of a rule with shapes made once, for all sets; of the others it is large, and goes. */
static Outcome kept[MOST];
static Outcome *base_of(int i, char **trouble) {
  Outcome *o = &kept[i];
  DrillRule form = drill_rule(kernels[i]);
  if (!o->drill && !o->trial[0]) *o = outcome_of(&subjects[i], &form);
  if (o->drill || o->trial[0]) return o;
  *trouble = job_trouble("%s: no data that it takes was found", subjects[i].name);
  return NULL;
}
static void base_done(int i) {
  if (subjects[i].shaped) return;
  outcome_free(&kept[i]);
  kept[i] = (Outcome){0};
}

/* Every subject as an object NAME.o in the folder `set` of the scratch folder; rules with shapes at `level`. */
typedef struct Set { const char *name, *target; const char *const *cpus; int n_cpus, level; } Set;

static char *emit(void *self, int i) {
  static const int kind = OPTC_EMIT_OBJECT;
  const Set *set = self;
  const Subject *s = &subjects[i];
  optc_context *cx = fixture_context();
  optc_emit_options options = {.size = sizeof options, .kinds = &kind, .n_kinds = 1, .level = s->shaped ? set->level : 2, .rule = s->name, .target = set->target, .cpus = set->cpus, .n_cpus = set->n_cpus};
  optc_emission *e = NULL;
  char file[128], *trouble = NULL;
  size_t size;
  if (s->path ? optc_emit_file(cx, s->path, &options, &e) : optc_emit_memory(cx, s->name, s->text, strlen(s->text), &options, &e))
    trouble = job_trouble("%s for %s: %s", s->name, set->name, optc_context_diagnostics(cx));
  else {
    const void *data = optc_emission_data(e, 0, &size);
    snprintf(file, sizeof file, "%s/%s.o", set->name, s->name);
    if (!scratch_write(file, data, size)) trouble = job_trouble("%s cannot be written", file);
    optc_emission_free(e);
  }
  optc_context_free(cx);
  return trouble;
}

static void emit_all(const Set *set) {
  CU_ASSERT_EQUAL_FATAL(scratch_run("mkdir -p %s", set->name), 0);
  jobs_run(n_subjects, emit, (void *)set);
}

static void needs_nothing(const char *set, const char *nm) {
  if (scratch_run("test $(ls %s/*.o | wc -l) = %d && %s -u %s/*.o > undefined && ! grep -v ':$' undefined | grep .", set, n_subjects, nm, set)) {
    printf("\n%s: an object is missing or refers to symbols outside\n", set);
    CU_FAIL("undefined symbols");
  }
}

/* --- on this machine ------------------------------------------------------------------------------------------------------------------------------ */
static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
enum { N_LEVELS = 3 };

/* The C functions of a rule in a library, which have a dispatch word of their own. */
typedef struct Exported {
  int (*entry[16])(const optc_call *);
  size_t (*workspace)(const optc_call *);
  int (*layout)(const optc_call *, int64_t, optc_state_info *);
} Exported;
static int call_exported(void *self, int64_t entry, const optc_call *call) { return ((Exported *)self)->entry[entry](call); }
static size_t exported_workspace(void *self, const optc_call *call) { return ((Exported *)self)->workspace(call); }
static int exported_layout(void *self, const optc_call *call, int64_t item, optc_state_info *out) { return ((Exported *)self)->layout(call, item, out); }

static bool find_exported(Exported *x, const optc_rule *rule) {
  char symbol[128];
  bool all = (int)rule->desc->n_entries <= 16;
  for (int e = 0; e < (int)rule->desc->n_entries && all; e++) {
    const char *entry = rule->desc->entries[e].name;
    snprintf(symbol, sizeof symbol, "%s_%s", optc_rule_name(rule), entry);
    x->entry[e] = (int (*)(const optc_call *))dlsym(rule->library, symbol);
    all = x->entry[e] != NULL;
  }
  snprintf(symbol, sizeof symbol, "%s_workspace_size", optc_rule_name(rule));
  x->workspace = (size_t (*)(const optc_call *))dlsym(rule->library, symbol);
  snprintf(symbol, sizeof symbol, "%s_layout", optc_rule_name(rule));
  x->layout = (int (*)(const optc_call *, int64_t, optc_state_info *))dlsym(rule->library, symbol);
  return all && x->workspace && x->layout;
}

/* A library with all subjects against their interpreters; `chosen`: the variant that has to run, from 1, or 0 where there is one only. */
typedef struct Library { const char *set, *path; int chosen; } Library;

static char *compare(const Library *l, int i, Outcome *o, optc_rule *rule) {
  const char *name = subjects[i].name;
  Exported exported;
  if (!find_exported(&exported, rule)) return job_trouble("%s as %s: a C function is missing", name, l->set);
  const struct { const char *how; DrillRule rule; } forms[] = {{"", drill_rule(rule)}, {", its C functions", {rule->desc, call_exported, exported_workspace, &exported, exported_layout}}};
  for (int k = 0; k < COUNT(forms); k++) {
    outcome_run(o, &forms[k].rule);
    const char *difference = outcome_difference(o);
    if (difference) return job_trouble("%s as %s%s: %s", name, l->set, forms[k].how, difference);
  }
  if (rule->chosen == l->chosen && rule->desc->n_variants == (l->chosen ? N_LEVELS : 1)) return NULL;
  return job_trouble("%s as %s: variant %d of %d runs, expected %d", name, l->set, (int)rule->chosen, (int)rule->desc->n_variants, l->chosen);
}

static char *load_and_compare(void *self, int i) {
  const Library *l = self;
  optc_context *cx = fixture_context();
  optc_rule *rule = NULL;
  char *trouble = NULL;
  Outcome *base = base_of(i, &trouble);
  if (base && optc_load(cx, l->path, subjects[i].name, &rule)) trouble = job_trouble("%s as %s: %s", subjects[i].name, l->set, optc_context_diagnostics(cx));
  else if (base) trouble = compare(l, i, base, rule);
  base_done(i);
  optc_rule_free(rule);
  optc_context_free(cx);
  return trouble;
}

static void library_agrees(const char *set, int chosen) {
  char file[64], path[256];
  snprintf(file, sizeof file, "%s/all.so", set);
  CU_ASSERT_EQUAL_FATAL(scratch_run("cc -shared -nostdlib -Wl,-z,text -o %s %s/*.o", file, set), 0);
  snprintf(path, sizeof path, "%s", scratch_path(file));
  jobs_run(n_subjects, load_and_compare, &(Library){set, path, chosen});
}

static void check_level(int level) {
  find_subjects();
  emit_all(&(Set){levels[level], "x86_64-unknown-linux-gnu", &levels[level], 1, level == 1 ? 0 : 2});
  needs_nothing(levels[level], "nm");
  if (fixture_machine_has(level)) library_agrees(levels[level], 0);
  else printf("\nskipped: %s, this machine lacks it\n", levels[level]);
}
static void x86_64_v2_gives_the_bits_of_the_interpreter(void) { check_level(0); }
static void x86_64_v3_gives_the_bits_of_the_interpreter(void) { check_level(1); }
static void x86_64_v4_gives_the_bits_of_the_interpreter(void) { check_level(2); }

static void an_object_with_three_variants_runs_the_best_that_the_machine_has(void) {
  find_subjects();
  emit_all(&(Set){"dispatch", "x86_64-unknown-linux-gnu", levels, N_LEVELS, 0});
  needs_nothing("dispatch", "nm");
  int best = 0;
  for (int k = 0; k < N_LEVELS; k++) if (fixture_machine_has(k)) best = k + 1;
  if (best) library_agrees("dispatch", best);
  else printf("\nskipped: x86-64 objects, this machine cannot run them\n");
}

/* --- functions in this process: forms, levels, widths ------------------------------------------------------------------------------------------------ */
static const struct { int backend, level; const char *lanes; } forms[] = {
  {OPTC_BACKEND_KERNEL, 0, NULL}, {OPTC_BACKEND_KERNEL, 2, NULL}, {OPTC_BACKEND_JIT, 0, NULL}, {OPTC_BACKEND_JIT, 2, NULL}, {OPTC_BACKEND_JIT, 2, ""},
  {OPTC_BACKEND_JIT, 2, ",vectorise(lanes=4,unroll=2)"}, {OPTC_BACKEND_JIT, 2, ",vectorise(lanes=8,unroll=1)"}, {OPTC_BACKEND_JIT, 2, ",vectorise(lanes=16,unroll=4)"},
};

static char *compare_form(const Subject *s, Drill *d, int k) {
  char passes[512], *trouble = NULL;
  usual_passes(passes, sizeof passes, forms[k].lanes ? forms[k].lanes : "");
  optc_rule *rule = compile(s, forms[k].backend, forms[k].level, forms[k].lanes ? passes : NULL, &trouble);
  if (!rule) return trouble;
  DrillRule form = drill_rule(rule);
  drill_run(d, &form, &plain);
  const char *difference = drill_difference(d);
  if (difference)
    trouble = job_trouble("%s, %s -O%d %s: %s", s->name, forms[k].backend == OPTC_BACKEND_JIT ? "machine code" : "kernel interpreter", forms[k].level, forms[k].lanes ? forms[k].lanes : "", difference);
  optc_rule_free(rule);
  return trouble;
}

static char *compare_forms(void *self, int i) {
  const Subject *s = &subjects[n_rules + i];
  char *trouble = NULL;
  optc_rule *graph = compile(s, OPTC_BACKEND_GRAPH, 2, NULL, &trouble);
  if (!graph) return trouble;
  DrillRule form = drill_rule(graph);
  DrillPlan plan = plan_of(s);
  Drill *d = drill_new(&form, &plan);
  if (d) {
    drill_run(d, &form, &plain);
    drill_keep(d);
  } else trouble = job_trouble("%s: out of memory", s->name);
  for (int k = 0; k < COUNT(forms) && !trouble; k++) trouble = compare_form(s, d, k);
  drill_free(d);
  optc_rule_free(graph);
  return trouble;
}

static void every_function_has_the_same_bits_in_every_form_and_width(void) {
  find_subjects();
  jobs_run(n_subjects - n_rules, compare_forms, NULL);
}

/* --- aarch64 -------------------------------------------------------------------------------------------------------------------------------------------- */
/* One static program with all subjects, that runs the same drills and writes what comes out: `arm PART PARTS` those of one part, to arm.PART. */
static bool write_program(void) {
  FILE *f = fopen(scratch_path("arm.c"), "w");
  if (!f) return false;
  fprintf(f, "#include <stdlib.h>\n#include \"tests/support/trial.h\"\n");
  for (int i = 0; i < n_subjects; i++) {
    const char *name = subjects[i].name;
    const optc_rule_desc *desc = kernels[i]->desc;
    fprintf(f, "extern const optc_rule_desc %s_rule; size_t %s_workspace_size(const optc_call *);\n", name, name);
    fprintf(f, "int %s_layout(const optc_call *, int64_t, optc_state_info *);\n", name);
    fprintf(f, "static int layout_%d(void *self, const optc_call *call, int64_t item, optc_state_info *out) { return %s_layout(call, item, out); }\n", i, name);
    fprintf(f, "static size_t size_%d(void *self, const optc_call *call) { return %s_workspace_size(call); }\n", i, name);
    for (int e = 0; e < (int)desc->n_entries; e++)
      if (strcmp(desc->entries[e].name, "layout")) fprintf(f, "int %s_%s(const optc_call *);\n", name, desc->entries[e].name);
    fprintf(f, "static int call_%d(void *self, int64_t entry, const optc_call *call) {\n  switch (entry) {\n", i);
    for (int e = 0; e < (int)desc->n_entries; e++)
      if (strcmp(desc->entries[e].name, "layout")) fprintf(f, "  case %d: return %s_%s(call);\n", e, name, desc->entries[e].name);
    fprintf(f, "  default: return OPTC_E_INTERNAL;\n  }\n}\n");
  }
  for (int i = 0; i < n_subjects; i++) {
    fprintf(f, "static int subject_%d(FILE *out) {\n  DrillRule rule = {&%s_rule, call_%d, size_%d, 0, layout_%d};\n", i, subjects[i].name, i, i, i);
    if (subjects[i].shaped)
      for (int k = 0; k < N_TRIALS; k++)
        fprintf(f, "  {\n    TrialPlan plan = {.seed = %llu, .data = (TrialData)%d, .steps = %d};\n    Trial *t = trial_new(&rule, &plan);\n    if (!t && %d) return 3;\n"
                   "    if (t) { trial_run(t, &rule, &(DrillWay){.hostile = %d}); trial_write(t, out); }\n    trial_free(t);\n  }\n",
                (unsigned long long)trial_plans[k].seed, trial_plans[k].data, trial_plans[k].steps, k == 0, i%2);
    else {
      DrillPlan p = plan_of(&subjects[i]);
      fprintf(f, "  static const int64_t counts[] = {");
      for (int k = 0; k < p.n_items; k++) fprintf(f, "%lld, ", (long long)p.counts[k]);
      fprintf(f, "};\n  DrillPlan plan = {counts, %d, %d, %d, %llu, %d};\n  Drill *d = drill_new(&rule, &plan);\n  if (!d) return 2;\n", p.n_items, p.n_groups, p.steps, (unsigned long long)p.seed, p.any_bits);
      fprintf(f, "  drill_run(d, &rule, &(DrillWay){.hostile = %d});\n  drill_write(d, out);\n  drill_free(d);\n", i%2);
    }
    fprintf(f, "  return 0;\n}\n");
  }
  fprintf(f, "static int (*const subjects[])(FILE *) = {\n");
  for (int i = 0; i < n_subjects; i++) fprintf(f, "  subject_%d,\n", i);
  fprintf(f, "};\nint main(int argc, char **argv) {\n  int part = atoi(argv[1]), parts = atoi(argv[2]), failed = 0;\n  char name[32];\n  snprintf(name, sizeof name, \"arm.%%d\", part);\n"
             "  FILE *out = fopen(name, \"wb\");\n  if (!out) return 1;\n  for (int i = part; i < %d && !failed; i += parts) failed = subjects[i](out);\n  return failed ? failed : fclose(out) != 0;\n}\n", n_subjects);
  return fclose(f) == 0;
}

/* What the other machine did of every subject of one part, against the interpreter. */
static char *read_and_compare(void *self, int part) {
  char file[32], *all = NULL;
  snprintf(file, sizeof file, "arm.%d", part);
  FILE *out = fopen(scratch_path(file), "rb");
  if (!out) return job_trouble("%s is not there", file);
  for (int i = part; i < n_subjects; i += *(int *)self) {
    char *trouble = NULL;
    Outcome *base = base_of(i, &trouble);
    bool read = base && outcome_read(base, out);
    const char *difference = !base ? trouble : read ? outcome_difference(base) : "the program's outcome is too short";
    char *before = all;
    if (difference) all = job_trouble("%s%s on aarch64: %s", before ? before : "", subjects[i].name, difference);
    if (difference) free(before);
    free(trouble);
    base_done(i);
    if (!read) break;
  }
  if (!all && fgetc(out) != EOF) all = job_trouble("%s is too long", file);
  fclose(out);
  return all;
}

static void aarch64_gives_the_bits_of_the_interpreter(void) {
  static const char *const cpu[] = {"generic"};
  find_subjects();
  emit_all(&(Set){"aarch64", "aarch64-unknown-linux-gnu", cpu, 1, 0});
  if (!command_exists("aarch64-linux-gnu-gcc") || !command_exists("qemu-aarch64")) { printf("\nskipped: running aarch64, no cross compiler or emulator\n"); return; }
  needs_nothing("aarch64", "aarch64-linux-gnu-nm");
  char here[4096];
  int parts = jobs_at_once();
  CU_ASSERT_FATAL(realpath(".", here) && write_program());
  if (scratch_run("here=%s; s=$here/tests/support; aarch64-linux-gnu-gcc -O1 -ffp-contract=off -static -I$here -iquote $here/ir arm.c $s/drill.c $s/trial.c $s/fence.c $s/shape_text.c $s/values.c "
                  "aarch64/*.o -o arm", here) ||
      scratch_run("seq 0 %d | xargs -P %d -I PART qemu-aarch64 ./arm PART %d", parts - 1, parts, parts)) {
    size_t size;
    char *log = scratch_read("log", &size);
    printf("\n%.2000s\n", log ? log : "");
    free(log);
    CU_FAIL("the program for aarch64 fails");
    return;
  }
  jobs_run(parts, read_and_compare, &parts);
}

int main(void) {
  static const SuiteTest tests[] = {
    TEST(x86_64_v2_gives_the_bits_of_the_interpreter), TEST(x86_64_v3_gives_the_bits_of_the_interpreter), TEST(x86_64_v4_gives_the_bits_of_the_interpreter),
    TEST(an_object_with_three_variants_runs_the_best_that_the_machine_has), TEST(every_function_has_the_same_bits_in_every_form_and_width),
    TEST(aarch64_gives_the_bits_of_the_interpreter),
  };
  int failed = suite_run("instruction sets", tests);
  for (int i = 0; i < n_subjects; i++) {
    outcome_free(&kept[i]);
    optc_rule_free(kernels[i]);
  }
  return failed;
}
