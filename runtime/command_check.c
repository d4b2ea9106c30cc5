/* command_check.c: `optc check DATA.json...`: says whether rules do what was recorded from their authors' code. */
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "runtime/command.h"
#include "runtime/command_check.h"

/* The bar of every number, as tests/golden/README.md gives it; the first line that fits. What two norms, inner products or iterations enter has a wider
 * one. States and scalars: `absolute` is scaled by the largest magnitude in the tensor. */
static const CheckBar step_bars[] = {
#define WIDER(rule) {rule, "*", 2e-6, 2e-5, OF_NUMBER, false}
  WIDER("muon*"), WIDER("auon"), WIDER("hybrid_auon"), WIDER("soap"), WIDER("dog"), WIDER("ldog"), WIDER("prodigy"), WIDER("dadapt_*"), WIDER("mechanic_sgd"),
  WIDER("mars_shampoo"), WIDER("shampoo*"), WIDER("galore"), WIDER("apollo*"), WIDER("mkor*"),
  {"adamw_bf16_sr", "params", 0, 0x1p-7, OF_NUMBER, true},             /* a unit of bf16: an f32 result may fall on the other side of the random number */
  {"adam8bit_blockwise", "*", 1e-6, 4e-6, OF_NUMBER, true},
  {"*", "*", 1e-6, 4e-6, OF_NUMBER, false}};
static const CheckBar host_bars[] = {{"*", "*", 1e-15, 1e-12, OF_NUMBER, false}};
static const CheckBar call_bars[] = {
  {"sdpa_large_logits", "*", 2e-4, 1e-5, OF_TENSOR, false},            /* scores of several hundred are rounded */
#define RECURRENCE(rule) {rule, "*", 1e-4, 1e-4, OF_TENSOR, false}
  RECURRENCE("linear_attention*"), RECURRENCE("retention"), RECURRENCE("simple_gla"), RECURRENCE("gla"), RECURRENCE("delta_rule"), RECURRENCE("gated_delta_rule"), RECURRENCE("kda"),
  RECURRENCE("hgrn"), RECURRENCE("forgetting_attention"), RECURRENCE("sinkhorn_log"), RECURRENCE("conjugate_gradient"),
  {"philox", "boxmuller*", 1e-6, 1e-6, OF_NUMBER, false}, {"philox", "*_f64", 0, 1e-12, OF_NUMBER, false}, {"philox", "*", 0, 0, OF_NUMBER, false},
  {"lr_scale", "*", 1e-15, 1e-12, OF_NUMBER, false},
  {"*", "*", 1e-5, 1e-5, OF_TENSOR, false}};
/* With arithmetic in f64: numbers were recorded to 13 digits, outputs of calls to those of an f32. */
static const CheckBar wide_step_bars[] = {{"adam8bit_blockwise", "*", 1e-6, 4e-6, OF_NUMBER, true}, {"adamw_bf16_sr", "params", 0, 0x1p-7, OF_NUMBER, true},
  {"*", "*", 1e-9, 1e-9, OF_TENSOR, false}};
static const CheckBar wide_call_bars[] = {{"philox", "boxmuller.f64", 1e-10, 1e-10, OF_NUMBER, false}, {"philox", "boxmuller*", 1e-6, 1e-6, OF_NUMBER, false},
  {"philox", "*", 0, 1e-7, OF_NUMBER, false}, {"*", "*", 1e-12, 1e-7, OF_TENSOR, false}};

const CheckBar *check_bar(const Check *c, const char *key, bool wide) {
  static const CheckBar *const bars[2][3] = {{step_bars, call_bars, host_bars}, {wide_step_bars, wide_call_bars, host_bars}};
  const CheckBar *bar = bars[c->options->wide && (wide || c->format == CHECK_CALL)][c->format];
  while (fnmatch(bar->rule, c->family, 0) || fnmatch(bar->key, key, 0)) bar++;
  return bar;
}

bool check_bad(Check *c, int status, const char *format, ...) {
  if (*c->problem) return false;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(c->problem, sizeof c->problem, format, arguments);
  va_end(arguments);
  c->status = status;
  return false;
}

void check_note(Check *c, const char *format, ...) {
  char note[200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(note, sizeof note, format, arguments);
  va_end(arguments);
  size_t n = strlen(note);
  for (const char *at = c->notes; (at = strstr(at, note)); at++)
    if ((at == c->notes || at[-1] == ' ') && (!at[n] || at[n] == ',')) return;
  size_t used = strlen(c->notes);
  if (used + n + 3 < sizeof c->notes) snprintf(c->notes + used, sizeof c->notes - used, "%s%s", used ? ", " : "", note);
}

void *check_alloc(Check *c, size_t n, size_t size) {
  void **memory = c->n_memory & (c->n_memory + 1) ? c->memory : realloc(c->memory, 2*(c->n_memory + 1)*sizeof *memory);      /* grows at 2^k - 1 */
  void *block = calloc(n ? n : 1, size);
  if (!memory || !block) exit(command_error(COMMAND_INPUT, "out of memory"));
  c->memory = memory;
  return c->memory[c->n_memory++] = block;
}

/* The `dtype` of every tensor names an element type; that of a whole record is prose. Lists of numbers are not gone through. */
static bool types_known(Check *c, json_t *at) {
  DLDataType type;
  const char *key, *name = json_object_get(at, "data") ? json_string_value(json_object_get(at, "dtype")) : NULL;
  json_t *value;
  if (json_is_array(at) && (json_is_object(json_array_get(at, 0)) || json_is_array(json_array_get(at, 0))))
    for (size_t i = 0; i < json_array_size(at); i++) if (!types_known(c, json_array_get(at, i))) return false;
  if (name && optc_dlpack_type(name, &type)) return check_bad(c, 1, "unknown dtype '%s'", name);
  json_object_foreach(at, key, value) if (!types_known(c, value)) return false;
  return true;
}

static bool read_data(Check *c) {
  json_error_t error;
  c->data = json_load_file(c->path, 0, &error);
  if (!c->data && error.line < 0) return check_bad(c, 1, "%s", error.text);
  if (!c->data) return check_bad(c, 1, "line %d, column %d: %s", error.line, error.column, error.text);
  return json_is_object(c->data) ? types_known(c, c->data) : check_bad(c, 1, "not a JSON object");
}

static void report(const Check *c) {
  const char *colon = c->listed && c->data_rule ? ": " : "", *name = *colon ? c->data_rule : "";
  if (!*colon && c->nth && *c->index.rule) { colon = ": "; name = c->index.rule; }     /* a second rule on the same data */
  if (*c->problem) {
    fprintf(stderr, "optc: error: %s%s%s: %s\n", c->path, colon, name, c->problem);
    return;
  }
  printf("%s %s%s%s", c->departures ? "FAIL" : "ok  ", c->path, colon, name);
  if (c->format == CHECK_CALL) printf("  %ld numbers", c->compared);
  else printf("  %d step%s", c->steps, c->steps == 1 ? "" : "s");
  if (c->format == CHECK_STEPS) printf("  %d tensor%s", c->n_items, c->n_items == 1 ? "" : "s");
  printf("  max %.3g of tolerance", c->worst);
  if (*c->worst_place) printf(" (%s)", c->worst_place);
  if (c->departures) printf("; %ld of %ld numbers depart, first %s", c->departures, c->compared, c->first_place);
  if (c->departures && c->options->fast && !(c->options->within > 0)) printf("; these bars are of exact products; what --fast may be off by is in docs/language.md, --within X sets a bar for it");
  if (*c->notes) printf("; not used: %s", c->notes);
  printf("\n");
  fflush(stdout);
}

/* One set of data against its rule: a whole file, or one of a `list` in it. */
static void check_set(Check *c) {
  static bool (*const look[])(Check *) = {[CHECK_STEPS] = check_tensors, [CHECK_CALL] = check_problems, [CHECK_HOST] = check_host_steps};
  if (!check_find(c) || !look[c->format](c) || !check_compile(c)) return;
  if (check_run(c) && !c->compared) check_bad(c, 1, "the data has nothing that the rule writes");
  if (c->departures) c->status = COMMAND_CHECK;
}

static int finish(Check *c) {
  if (!c->quiet) report(c);
  int status = c->status;
  optc_rule_free(c->rule);
  json_decref(c->data);
  json_decref(c->made);
  for (size_t i = 0; i < c->n_memory; i++) free(c->memory[i]);
  free(c->memory);
  return status;
}

/* The gravest of two exit codes. */
static int graver(int a, int b) {
  static const int rank[] = {[COMMAND_OK] = 0, [COMMAND_CHECK] = 1, [COMMAND_INPUT] = 2, [COMMAND_USAGE] = 2, [COMMAND_INTERNAL] = 3};
  return rank[a] > rank[b] ? a : b;
}

/* What a set of data is, by what it has. */
static CheckFormat format_of(json_t *data, bool listed) {
  json_t *tensors = json_object_get(data, "tensors");
  if (json_object_get(data, "inputs")) return CHECK_CALL;
  if (tensors) return json_object_get(data, "steps") || !listed ? CHECK_STEPS : CHECK_CALL;
  return json_object_get(data, "kat") || json_object_get(data, "stream") ? CHECK_CALL : listed ? CHECK_HOST : CHECK_STEPS;
}

/* A rule without data. */
static int check_rule_alone(const char *path, const CheckOptions *options, optc_context *context) {
  CheckOptions own = *options;
  own.rule = NULL;
  Check c = {.path = path, .options = &own, .context = context, .family = "", .format = CHECK_CALL, .index.listed = true};
  snprintf(c.index.file, sizeof c.index.file, "%s", path);
  if (options->rule) snprintf(c.index.rule, sizeof c.index.rule, "%s", options->rule);
  if (!options->gradient) check_bad(&c, 1, "this is a rule: recorded data is compared, in JSON (--rule FILE.opt takes another rule for it); --gradient takes a rule alone");
  else if (check_compile(&c) && check_has_gradient(&c) && check_make(&c) && check_problems(&c)) check_run(&c);
  if (c.departures) c.status = COMMAND_CHECK;
  if (c.departures && !own.positive) check_note(&c, "--positive (inputs are in (-1, 1), which some rules do not take)");
  return finish(&c);
}

static int check_file(const char *path, const CheckOptions *options, optc_context *context) {
  if (check_is_rule(path)) return check_rule_alone(path, options, context);
  static const char *const lists[] = {"list", "batch_list", "cases"};
  Check whole = {.path = path, .options = options, .context = context};
  if (!read_data(&whole)) return finish(&whole);
  const char *family = json_string_value(json_object_get(whole.data, "rule"));
  whole.family = family ? family : "";
  int status = COMMAND_OK;
  bool any = false;
  for (int k = 0; k < 3 && family && !json_object_get(whole.data, "tensors"); k++) {
    json_t *list = json_object_get(whole.data, lists[k]);
    for (size_t i = 0; i < json_array_size(list); i++, any = true) {
      Check one = {.path = path, .options = options, .context = context, .listed = true, .family = family, .data = json_incref(json_array_get(list, i))};
      if (k == 2 && json_is_object(one.data) && !json_object_get(one.data, "name")) json_object_set_new(one.data, "name", json_string(family));
      if (json_is_object(one.data) && !json_object_get(one.data, "hyper")) json_object_set(one.data, "hyper", json_object_get(whole.data, "hyper"));
      one.format = format_of(one.data, true);
      check_set(&one);
      status = graver(finish(&one), status);
    }
  }
  if (any) {
    json_decref(whole.data);
    return status;
  }
  for (int nth = 0; nth < 8; nth++) {
    Check one = {.path = path, .options = options, .context = context, .family = whole.family, .nth = nth, .data = json_incref(whole.data), .format = format_of(whole.data, false)};
    check_set(&one);
    bool more = one.index.listed && !options->rule;
    if (nth && !one.index.listed) {                          /* no further line */
      one.quiet = true;
      finish(&one);
      break;
    }
    status = graver(finish(&one), status);
    if (!more) break;
  }
  json_decref(whole.data);
  return status;
}

/* --- command line --------------------------------------------------------------------------------------------------------------- */
static const char *default_rules(char *buffer, size_t size) {
  static const char *const beside[] = {"../rules", "../share/optc/rules"};
  const char *named = getenv("OPTC_RULES");
  if (named && *named) return named;
  if (!access("rules/index", R_OK)) return "rules";
  char program[3000];
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
  if (n <= 0) return "rules";
  program[n] = 0;
  *strrchr(program, '/') = 0;
  for (unsigned i = 0; i < sizeof beside/sizeof *beside; i++) {
    char index[4096];
    snprintf(index, sizeof index, "%s/%s/index", program, beside[i]);
    snprintf(buffer, size, "%s/%s", program, beside[i]);
    if (!access(index, R_OK)) return buffer;
  }
  return "rules";
}

static int take_option(CheckOptions *options, const Options *o, int id) {
  static const Choice backends[] = {{"jit", CHECK_JIT}, {"aot", CHECK_AOT}, {"graph", CHECK_GRAPH}, {"kernel", CHECK_KERNEL}, {"ptx", CHECK_PTX}, {"interp", CHECK_GRAPH},
    {"kernels", CHECK_KERNEL}};
  int backend = 0;
  char *end;
  switch (id) {
  case OPTION_CHECK_RULE: options->rule = o->value; break;
  case OPTION_RULES: options->rules = o->value; break;
  case OPTION_WITHIN:
    options->within = strtod(o->value, &end);
    if (end == o->value || *end || !(options->within > 0)) return command_error(COMMAND_USAGE, "--within wants a number above 0, not '%s'", o->value);
    break;
  case OPTION_PTX_GPU: options->gpu = o->value; break;
  case OPTION_SET:
  case OPTION_SHAPE:
    if ((id == OPTION_SET ? options->n_sets : options->wish.n_shapes) == RUN_MAX_SETS) return command_error(COMMAND_USAGE, "--%s is given too often", id == OPTION_SET ? "set" : "shape");
    if (id == OPTION_SET) options->set[options->n_sets++] = o->value;
    else options->wish.shape[options->wish.n_shapes++] = o->value;
    break;
  case OPTION_SIZE: return run_sizes(o->value, &options->wish.sizes);
  case OPTION_POSITIVE: options->positive = true; break;
  case OPTION_SEED:
    options->seeded = true;
    return command_seed(o->value, &options->seed) ? -1 : COMMAND_USAGE;
  case OPTION_GRADIENT: options->gradient = options->wide = true; break;
  case OPTION_CHECK_BACKEND:
    if (!command_choice("--backend", o->value, backends, sizeof backends/sizeof *backends, 5, &backend)) return COMMAND_USAGE;
    options->backend = (CheckBackend)backend;
    options->backend_given = true;
    break;
  }
  return -1;
}

int command_check(int argc, char **argv) {
  CheckOptions options = {.backend = CHECK_JIT};
  Options o = {.argc = argc, .argv = argv, .command = COMMAND_K};
  Common common;
  char rules[4096];
  int id, code;
  common_default(&common);
  while ((id = options_next(&o)) != -1) {
    if (!common_option(&common, &o, id, &code)) code = take_option(&options, &o, id);
    if (code >= 0) return code;
  }
  options.level = common.level;
  options.fast = common.fast;
  options.store = common.store;
  options.wide |= common.compute_f64 != 0;
  bool ptx = options.gpu || options.seeded;
  if (ptx && options.backend_given && options.backend != CHECK_PTX) return command_error(COMMAND_USAGE, command_ptx_only);
  if (ptx) options.backend = CHECK_PTX;
  if (o.first == argc) return command_error(COMMAND_USAGE, "no recorded data is given");
  if (!options.gradient && (options.n_sets || options.wish.n_shapes || options.wish.sizes.n || options.positive))
    return command_error(COMMAND_USAGE, "--set, --shape, --size and --positive are for optc check --gradient RULE.opt; recorded data has its own");
  if ((options.rules && !*options.rules) || (options.rule && !*options.rule)) return command_error(COMMAND_USAGE, "an empty name is given");
  if (!options.rules) options.rules = default_rules(rules, sizeof rules);
  optc_context *context = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""});
  if (!context) return command_error(COMMAND_INPUT, "out of memory");
  int status = COMMAND_OK;
  for (int i = o.first; i < argc; i++) status = graver(check_file(argv[i], &options, context), status);
  optc_context_free(context);
  return status;
}
