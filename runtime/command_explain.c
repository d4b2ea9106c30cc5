/* command_explain.c: optc explain RULE.opt: what the kernels of a rule do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "runtime/command.h"
#include "runtime/command_measure.h"

typedef struct Asked { Common common; const char *input, *svg, *gpu; bool json, measure; double bandwidth, peak; Timing timing; } Asked;

/* What predictions need: as given, measured where that was asked for and for the roofline of a picture. */
static void find_machine(const Asked *a, optc_emit_options *o) {
  int threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
  o->bandwidth = a->bandwidth;
  o->peak = a->peak;
  o->bandwidth_measured = !a->bandwidth && (a->measure || a->svg);
  o->peak_measured = !a->peak && (a->measure || a->svg);
  if (o->bandwidth_measured) o->bandwidth = measure_bandwidth(threads);
  if (o->peak_measured) o->peak = measure_peak(threads);
}

/* text: of standard input, or NULL: the file is read. */
static int emit(const Asked *a, optc_context *cx, const char *text, size_t length, const optc_emit_options *options, optc_emission **e) {
  return text ? optc_emit_memory(cx, "<stdin>", text, length, options, e) : optc_emit_file(cx, a->input, options, e);
}

/* What an assembler says of the same rule's PTX, where there is one; NULL also after errors, which the explanation has too. The caller frees it. */
static char *assemble(const Asked *a, optc_context *cx, const char *text, size_t length, optc_emit_options options) {
  static const int kinds[] = {OPTC_EMIT_PTX};
  optc_emission *e;
  options.kinds = kinds;
  options.n_kinds = 1;
  if (!a->gpu || emit(a, cx, text, length, &options, &e)) return NULL;
  size_t size;
  const char *ptx = optc_emission_data(e, 0, &size);
  char *log = command_assemble(ptx, size, a->gpu);
  optc_emission_free(e);
  return log;
}

static int write_outputs(const Asked *a, optc_emission *e, int n) {
  OutFile out[] = {{.path = "-"}, {.path = a->svg}};
  for (int k = 0; k < n; k++) out[k].data = optc_emission_data(e, k, &out[k].size);
  return outfile_write(out, n) ? COMMAND_OK : COMMAND_INPUT;
}

static int explain(Asked *a, optc_context *cx) {
  const Common *c = &a->common;
  int kinds[] = {a->json ? OPTC_EMIT_EXPLAIN_JSON : OPTC_EMIT_EXPLAIN, OPTC_EMIT_EXPLAIN_SVG};
  optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = a->svg ? 2 : 1, .level = c->level, .fast = c->fast, .passes = c->passes, .rule = c->rule, .store = c->store,
    .compute_f64 = c->compute_f64, .verify_each = c->verify_each, .gpu = a->gpu, .timed = c->time ? timing_add : NULL, .timed_self = &a->timing};
  optc_emission *e;
  size_t length = 0;
  char *text = strcmp(a->input, "-") ? NULL : command_stdin(&length);
  if (!text && !strcmp(a->input, "-")) return COMMAND_INPUT;
  find_machine(a, &options);
  char *assembled = assemble(a, cx, text, length, options);
  options.assembled = assembled;
  int status = emit(a, cx, text, length, &options, &e), code = command_report(cx, status, c->json);
  if (!code) code = write_outputs(a, e, options.n_kinds);
  optc_emission_free(e);
  free(assembled);
  free(text);
  return code;
}

static int take_rate(const char *option, const char *text, double *rate) {
  char *end;
  *rate = strtod(text, &end);
  return end != text && !*end && *rate > 0 && *rate < 1e9 ? -1 : command_error(COMMAND_USAGE, "%s wants a positive number, not '%s'", option, text);
}

static int take_option(Asked *a, int id, const char *value) {
  switch (id) {
  case OPTION_FORMAT: return command_format("--format", value, &a->json) ? -1 : COMMAND_USAGE;
  case OPTION_SVG: a->svg = value; break;
  case OPTION_EXPLAIN_GPU: a->gpu = value; break;
  case OPTION_MEASURE: a->measure = true; break;
  case OPTION_BANDWIDTH: return take_rate("--bandwidth", value, &a->bandwidth);
  case OPTION_PEAK: return take_rate("--peak", value, &a->peak);
  }
  return -1;
}

int command_explain(int argc, char **argv) {
  Asked a = {0};
  Options o = {.argc = argc, .argv = argv, .command = COMMAND_E};
  int id, code;
  common_default(&a.common);
  while ((id = options_next(&o)) != -1) {
    if (!common_option(&a.common, &o, id, &code)) code = take_option(&a, id, o.value);
    if (code >= 0) return code;
  }
  if (o.first + 1 != argc) return command_error(COMMAND_USAGE, "optc explain wants one rule file");
  a.input = argv[o.first];
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = "", .color = a.common.color});
  if (!cx) return command_error(COMMAND_INPUT, "out of memory");
  code = explain(&a, cx);
  optc_context_free(cx);
  if (a.common.time) timing_print(&a.timing);
  return code;
}
