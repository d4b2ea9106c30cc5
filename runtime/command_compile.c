/* command_compile.c: optc [compile] RULE.opt: objects, headers and the forms in between. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "runtime/command.h"

enum { MAX_KINDS = 16, MAX_CPUS = 8 };

static const struct { const char *name; int kind; const char *ending; bool text; } kinds[] = {
  {"obj", OPTC_EMIT_OBJECT, ".o", false},         {"asm", OPTC_EMIT_ASSEMBLY, ".s", true},    {"llvm-ir", OPTC_EMIT_LLVM_IR, ".ll", true},
  {"bc", OPTC_EMIT_BITCODE, ".bc", false},        {"graph", OPTC_EMIT_GRAPH, ".graph", true}, {"kernels", OPTC_EMIT_KERNELS, ".kernels", true},
  {"header", OPTC_EMIT_HEADER, ".h", true},       {"ptx", OPTC_EMIT_PTX, ".ptx", true},
};
enum { KINDS = sizeof kinds/sizeof *kinds };

typedef struct Request {
  Common common;
  const char *input, *output, *header, *dependency_file;
  bool dependency, warnings_are_errors, debug, targets;
  int kind[MAX_KINDS], n_kinds;          /* rows of `kinds` */
  const char *cpu[MAX_CPUS]; int n_cpus;
  const char *target, *features, *gpu, *print_after;
  Timing timing;
} Request;

static int add_kinds(Request *r, char *list) {
  Choice choices[KINDS];
  for (int i = 0; i < KINDS; i++) choices[i] = (Choice){kinds[i].name, i};
  char *rest = NULL;
  for (char *word = strtok_r(list, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
    int found = 0;
    if (!command_choice("--emit", word, choices, KINDS, KINDS, &found)) return COMMAND_USAGE;
    bool twice = false;
    for (int i = 0; i < r->n_kinds; i++) twice |= r->kind[i] == found;
    if (!twice && r->n_kinds < MAX_KINDS) r->kind[r->n_kinds++] = found;
  }
  return -1;
}

static int add_cpus(Request *r, char *list) {
  char *rest = NULL;
  for (char *word = strtok_r(list, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
    if (r->n_cpus == MAX_CPUS) return command_error(COMMAND_USAGE, "--cpu-target: more than %d cpus", MAX_CPUS);
    r->cpu[r->n_cpus++] = word;
  }
  return -1;
}

/* -mcpu=X arrives as the letter m with "cpu=X"; -MF FILE as the letter M with "F", the file being the next argument. */
static int take_option(Request *r, Options *o, int id) {
  switch (id) {
  case OPTION_OUTPUT: r->output = o->value; break;
  case OPTION_HEADER: r->header = o->value; break;
  case OPTION_EMIT: return add_kinds(r, (char *)(size_t)o->value);
  case OPTION_OBJECT: { char obj[] = "obj"; return add_kinds(r, obj); }
  case OPTION_PRINT_AFTER: r->print_after = o->value; break;
  case OPTION_TARGET: r->target = o->value; break;
  case OPTION_MCPU:
    if (!strncmp(o->value, "cpu=", 4)) o->value += 4;
    return add_cpus(r, (char *)(size_t)o->value);
  case OPTION_CPU_TARGET: return add_cpus(r, (char *)(size_t)o->value);
  case OPTION_FEATURES: r->features = o->value; break;
  case OPTION_GPU: r->gpu = o->value; break;
  case OPTION_DEBUG: r->debug = true; break;
  case OPTION_PRINT_TARGETS: r->targets = true; break;
  case OPTION_WARNING:
    if (strcmp(o->value, "error")) return command_error(COMMAND_USAGE, "unknown option '-W%s'; did you mean '-Werror'?", o->value);
    r->warnings_are_errors = true;
    break;
  case OPTION_DEPENDENCY:
    if (!strcmp(o->value, "D")) r->dependency = true;
    else if (o->value[0] == 'F') {
      r->dependency = true;
      r->dependency_file = o->value[1] ? o->value + 1 : options_argument(o);
      if (!r->dependency_file) return command_error(COMMAND_USAGE, "option '-MF' wants a file");
    } else return command_error(COMMAND_USAGE, "unknown option '-M%s'; there are -MD and -MF FILE", o->value);
    break;
  }
  return -1;
}

/* The input's or output's name with another ending. */
static char *derived(const char *path, bool keep_folder, const char *ending) {
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
  const char *start = keep_folder ? path : base;
  size_t stem = dot && dot != base ? (size_t)(dot - start) : strlen(start);
  char *out = NULL;
  return asprintf(&out, "%.*s%s", (int)stem, start, ending) < 0 ? NULL : out;
}

static void printed(void *self, const char *entry, const char *pass, const char *text) { fprintf(stderr, "== %s after %s ==\n%s", entry, pass, text); }

/* What make reads: spaces and $ escaped. */
static void make_name(FILE *out, const char *name) {
  for (; *name; name++) {
    if (*name == ' ' || *name == '#') fputc('\\', out);
    if (*name == '$') fputc('$', out);
    fputc(*name, out);
  }
}

static char *dependency_text(const char *target, const optc_emission *e, size_t *size) {
  char *text = NULL;
  FILE *out = open_memstream(&text, size);
  if (!out) return NULL;
  make_name(out, target);
  fputc(':', out);
  for (int i = 0; optc_emission_source(e, i); i++) {
    fputc(' ', out);
    make_name(out, optc_emission_source(e, i));
  }
  fputc('\n', out);
  for (int i = 1; optc_emission_source(e, i); i++) {         /* used files may go: an empty rule each, as with -MP */
    make_name(out, optc_emission_source(e, i));
    fputs(":\n", out);
  }
  return fclose(out) ? NULL : text;
}

/* Two names of one file that is there. */
static bool same_file(const char *a, const char *b) {
  struct stat x, y;
  return !stat(a, &x) && !stat(b, &y) && S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* No output is written over what was read, or over another one. An exit code. */
static int check_names(const OutFile *files, int n, const optc_emission *e, bool from_input) {
  for (int i = 0; i < n; i++) {
    const char *path = files[i].path;
    for (int k = 0; k < i; k++)
      if (!strcmp(path, "-") && !strcmp(files[k].path, "-")) return command_error(COMMAND_USAGE, "two outputs would go to standard output");
    if (!strcmp(path, "-")) continue;
    for (int k = 0; k < i; k++)
      if (!strcmp(path, files[k].path) || same_file(path, files[k].path)) return command_error(COMMAND_USAGE, "two outputs would be named '%s'", path);
    for (int k = 0; optc_emission_source(e, k); k++)
      if (same_file(path, k || from_input ? optc_emission_source(e, k) : "/dev/stdin")) return command_error(COMMAND_USAGE, "'%s' would be written over: it is the rule that is read", path);
  }
  return COMMAND_OK;
}

static int write_outputs(Request *r, const optc_emission *e, int n_listed) {
  OutFile files[MAX_KINDS + 2] = {0};
  char *names[MAX_KINDS + 1] = {0}, *dependency = NULL;
  int n = 0;
  bool from_input = strcmp(r->input, "-") != 0;
  const char *stem = r->output && strcmp(r->output, "-") ? r->output : from_input ? r->input : "a.opt";
  bool memory = true;
  for (int i = 0; i < n_listed; i++) {
    OutFile *f = &files[n++];
    f->data = optc_emission_data(e, i, &f->size);
    bool last = n_listed == 1;
    if (last && r->output) f->path = r->output;
    else if (r->output && !strcmp(r->output, "-")) f->path = "-";
    else if (last && kinds[r->kind[i]].text) f->path = "-";
    else {
      f->path = names[i] = derived(stem, r->output != NULL, kinds[r->kind[i]].ending);
      memory &= names[i] != NULL;
    }
  }
  if (r->header) {
    files[n].path = r->header;
    files[n].data = optc_emission_data(e, n_listed, &files[n].size);
    n++;
  }
  if (r->dependency && memory) {
    const char *target = files[0].path;
    names[MAX_KINDS] = r->dependency_file ? NULL : derived(!strcmp(target, "-") ? stem : target, true, ".d");
    files[n].path = r->dependency_file ? r->dependency_file : names[MAX_KINDS];
    files[n].data = dependency = dependency_text(target, e, &files[n].size);
    memory &= files[n].path && dependency;
    n++;
  }
  int code = memory ? check_names(files, n, e, from_input) : command_error(COMMAND_INPUT, "out of memory");
  if (!code && !outfile_write(files, n)) code = COMMAND_INPUT;
  for (int i = 0; i <= MAX_KINDS; i++) free(names[i]);
  free(dependency);
  return code;
}

static int emit(Request *r, optc_context *cx) {
  if (!r->n_kinds) { char obj[] = "obj"; add_kinds(r, obj); }
  int wanted[MAX_KINDS + 1], n = 0;
  for (int i = 0; i < r->n_kinds; i++) wanted[n++] = kinds[r->kind[i]].kind;
  if (r->header) wanted[n++] = OPTC_EMIT_HEADER;
  optc_emit_options options = {.size = sizeof options, .kinds = wanted, .n_kinds = n, .level = r->common.level, .fast = r->common.fast, .passes = r->common.passes, .rule = r->common.rule, .store = r->common.store,
    .compute_f64 = r->common.compute_f64, .verify_each = r->common.verify_each, .warnings_are_errors = r->warnings_are_errors, .target = r->target, .cpus = r->cpu,
    .n_cpus = r->n_cpus, .features = r->features, .gpu = r->gpu, .debug = r->debug, .print_after = r->print_after, .printed = printed,
    .timed = r->common.time ? timing_add : NULL, .timed_self = &r->timing};
  optc_emission *e;
  int status;
  if (!strcmp(r->input, "-")) {
    size_t length;
    char *text = command_stdin(&length);
    if (!text) return COMMAND_INPUT;
    status = optc_emit_memory(cx, "<stdin>", text, length, &options, &e);
    free(text);
  } else status = optc_emit_file(cx, r->input, &options, &e);
  int code = command_report(cx, status, r->common.json);
  if (!code) {
    timing_begin(&r->timing);
    code = write_outputs(r, e, r->n_kinds);
    timing_end(&r->timing, "write");
  }
  optc_emission_free(e);
  return code;
}

int command_compile(int argc, char **argv) {
  Request r = {0};
  Options o = {.argc = argc, .argv = argv, .command = COMMAND_C};
  int id, code;
  common_default(&r.common);
  timing_end(&r.timing, "start");                           /* from the start of the process */
  while ((id = options_next(&o)) != -1) {
    if (!common_option(&r.common, &o, id, &code)) code = take_option(&r, &o, id);
    if (code >= 0) return code;
  }
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = "", .color = r.common.color});
  if (!cx) return command_error(COMMAND_INPUT, "out of memory");
  if (r.targets) {
    const char *text = optc_context_targets(cx);
    fputs(text ? text : "", stdout);
    code = text ? COMMAND_OK : COMMAND_INPUT;
  } else if (o.first == argc) code = command_error(COMMAND_USAGE, "no rule file is given");
  else if (o.first + 1 < argc) code = command_error(COMMAND_USAGE, "one rule file at a time: '%s' and '%s'", argv[o.first], argv[o.first + 1]);
  else {
    r.input = argv[o.first];
    code = emit(&r, cx);
  }
  optc_context_free(cx);
  if (r.common.time) timing_print(&r.timing);
  return code;
}
