/* command_explain.c: optc explain RULE.opt: what the kernels of a rule do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/command.h"

static int explain(const Common *c, const char *input, int kind, Timing *timing, optc_context *cx) {
  optc_emit_options options = {.size = sizeof options, .kinds = &kind, .n_kinds = 1, .level = c->level, .passes = c->passes, .rule = c->rule, .store = c->store,
    .compute_f64 = c->compute_f64, .verify_each = c->verify_each, .timed = c->time ? timing_add : NULL, .timed_self = timing};
  optc_emission *e;
  int status;
  if (!strcmp(input, "-")) {
    size_t length;
    char *text = command_stdin(&length);
    if (!text) return COMMAND_INPUT;
    status = optc_emit_memory(cx, "<stdin>", text, length, &options, &e);
    free(text);
  } else status = optc_emit_file(cx, input, &options, &e);
  int code = command_report(cx, status, c->json);
  if (!code) {
    OutFile out = {.path = "-"};
    out.data = optc_emission_data(e, 0, &out.size);
    if (!outfile_write(&out, 1)) code = COMMAND_INPUT;
  }
  optc_emission_free(e);
  return code;
}

int command_explain(int argc, char **argv) {
  Common c;
  Options o = {.argc = argc, .argv = argv, .command = COMMAND_E};
  Timing timing = {0};
  int id, code, kind = OPTC_EMIT_EXPLAIN;
  common_default(&c);
  while ((id = options_next(&o)) != -1) {
    if (common_option(&c, &o, id, &code)) {
      if (code >= 0) return code;
    } else if (id == OPTION_FORMAT) {
      if (strcmp(o.value, "text") && strcmp(o.value, "json")) return command_error(COMMAND_USAGE, "--format: unknown value '%s'", o.value);
      kind = strcmp(o.value, "json") ? OPTC_EMIT_EXPLAIN : OPTC_EMIT_EXPLAIN_JSON;
    }
  }
  if (o.first + 1 != argc) return command_error(COMMAND_USAGE, "optc explain wants one rule file; see optc explain --help");
  optc_context *cx = optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = "", .color = c.color});
  if (!cx) return command_error(COMMAND_INPUT, "out of memory");
  code = explain(&c, argv[o.first], kind, &timing, cx);
  optc_context_free(cx);
  if (c.time) timing_print(&timing);
  return code;
}
