/* command_check_rule.c: which rule a file of data runs on, and its code on the backend that was asked for. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "runtime/command.h"
#include "runtime/command_check.h"

extern char **environ;

/* --- rules/index --------------------------------------------------------------------------------------------------------- */
/* One line: the data's name, file, rule, entries in the order of the calls. `#` begins a comment. */
static bool index_line(Check *c, char *line, int number, int *nth) {
  char *rest = NULL, *comment = strchr(line, '#');
  if (comment) *comment = 0;
  const char *name = strtok_r(line, " \t\r\n", &rest);
  if (!name || strcmp(name, c->data_rule) || (*nth)--) return false;
  const char *file = strtok_r(NULL, " \t\r\n", &rest), *rule = strtok_r(NULL, " \t\r\n", &rest);
  if (!file) return check_bad(c, 1, "%s/index:%d: no file after '%s'", c->options->rules, number, name), true;
  snprintf(c->index.file, sizeof c->index.file, "%s/%s", c->options->rules, file);
  snprintf(c->index.rule, sizeof c->index.rule, "%s", rule ? rule : "");
  for (const char *entry; (entry = strtok_r(NULL, " \t\r\n", &rest));) {
    if (c->index.n_entries == CHECK_ENTRIES)
      return check_bad(c, 1, "%s/index:%d: more than %d entries", c->options->rules, number, CHECK_ENTRIES), true;
    snprintf(c->index.entries[c->index.n_entries++], sizeof c->index.entries[0], "%s", entry);
  }
  return true;
}

bool check_find(Check *c) {
  const char *key = c->listed ? "name" : "rule";
  c->data_rule = json_string_value(json_object_get(c->data, key));
  if (!c->data_rule) return check_bad(c, 1, "no string '%s' that names the rule", key);
  char path[4096], line[1024];
  snprintf(path, sizeof path, "%s/index", c->options->rules);
  FILE *index = fopen(path, "r");
  bool found = false;
  int nth = c->nth;
  for (int number = 1; index && !found && fgets(line, sizeof line, index); number++) found = index_line(c, line, number, &nth);
  if (index) fclose(index);
  c->index.listed = found;
  if (!found && c->nth) return false;
  if (!found) snprintf(c->index.rule, sizeof c->index.rule, "%s", c->data_rule);
  if (!found && !strchr(c->data_rule, '/')) snprintf(c->index.file, sizeof c->index.file, "%s/%s.opt", c->options->rules, c->data_rule);
  if (c->options->rule) snprintf(c->index.file, sizeof c->index.file, "%s", c->options->rule);
  else if (!*c->index.file || access(c->index.file, R_OK))
    return check_bad(c, 1, "no rule '%s': neither %s/%s.opt nor a line of %s/index", c->data_rule, c->options->rules, c->data_rule, c->options->rules);
  return !c->problem[0];
}

/* --- code ------------------------------------------------------------------------------------------------------------------ */
static bool failed(Check *c, int code) {
  const char *text = optc_context_diagnostics(c->context);
  size_t n = strlen(text);
  while (n && text[n - 1] == '\n') n--;
  if (command_is_usage(c->context, code)) {
    if (!strncmp(text, "error: ", 7)) text += 7;
    return check_bad(c, COMMAND_USAGE, "%.*s; see optc --help", (int)strcspn(text, "\n"), text);
  }
  return check_bad(c, code == OPTC_E_INTERNAL ? 70 : 1, "%s does not compile\n%.*s", c->index.file, (int)(n > 1500 ? 1500 : n), text);
}

static bool write_file(Check *c, const char *path, const void *data, size_t size) {
  FILE *file = fopen(path, "wb");
  bool good = file && fwrite(data, 1, size, file) == size;
  if (file && fclose(file)) good = false;
  return good || check_bad(c, 1, "cannot write %s: %s", path, strerror(errno));
}

static bool link_object(Check *c, const char *object, const char *library) {
  const char *cc = getenv("CC") && *getenv("CC") ? getenv("CC") : "cc";
  char *arguments[] = {(char *)(uintptr_t)cc, "-shared", "-o", (char *)(uintptr_t)library, (char *)(uintptr_t)object, NULL};
  pid_t child;
  int code = posix_spawnp(&child, cc, NULL, NULL, arguments, environ), status = 0;
  if (code)
    return check_bad(c, 1, "--backend=aot links the object with a C compiler, and '%s' cannot be run: %s (set CC)", cc, strerror(code));
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    return check_bad(c, 1, "--backend=aot links the object with a C compiler, and '%s' cannot be run (set CC)", cc);
  return (WIFEXITED(status) && !WEXITSTATUS(status)) || check_bad(c, 70, "'%s -shared' cannot link the object of %s", cc, c->index.file);
}

/* An object file, linked into a shared object in a folder of its own, loaded as any program would. */
static bool link_and_load(Check *c, const optc_emission *emission) {
  const char *temporary = getenv("TMPDIR") && *getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
  char folder[4000], object[4096], library[4096];
  snprintf(folder, sizeof folder, "%s/optc-check-XXXXXX", temporary);
  if (!mkdtemp(folder)) return check_bad(c, 1, "cannot make a folder in %s: %s", temporary, strerror(errno));
  snprintf(object, sizeof object, "%s/rule.o", folder);
  snprintf(library, sizeof library, "%s/rule.so", folder);
  size_t size = 0;
  const void *data = optc_emission_data(emission, 0, &size);
  bool good = write_file(c, object, data, size) && link_object(c, object, library);
  int code = good ? optc_load(c->context, library, optc_emission_rule(emission), &c->rule) : 0;
  if (code) good = failed(c, code);
  unlink(object);
  unlink(library);
  rmdir(folder);
  return good;
}

static bool look_at_rule(Check *c) {
  c->n_hypers = optc_rule_hypers(c->rule);
  c->n_operands = optc_rule_operands(c->rule);
  c->hypers = check_alloc(c, (size_t)c->n_hypers + 1, sizeof *c->hypers);
  c->operands = check_alloc(c, (size_t)c->n_operands + 1, sizeof *c->operands);
  for (int i = 0; i < c->n_hypers; i++) optc_rule_hyper(c->rule, i, &c->hypers[i]);
  for (int i = 0; i < c->n_operands; i++) {
    optc_operand_info *o = &c->operands[i];
    optc_rule_operand(c->rule, i, o);
    if (!o->external || !*o->external) o->external = o->name;
  }
  for (int i = 0; i < c->n_hypers; i++)
    if (!c->hypers[i].external || !*c->hypers[i].external) c->hypers[i].external = c->hypers[i].name;
  return true;
}

/* rule: which of the file; NULL: the last. */
static int compile(Check *c, const char *rule, optc_emission **emission) {
  static const int backends[] = {[CHECK_GRAPH] = OPTC_BACKEND_GRAPH, [CHECK_KERNEL] = OPTC_BACKEND_KERNEL, [CHECK_JIT] = OPTC_BACKEND_JIT, [CHECK_PTX] = OPTC_BACKEND_PTX};
  static const int kinds[] = {OPTC_EMIT_OBJECT};
  if (c->options->backend == CHECK_AOT) {
    optc_emit_options options = {.size = sizeof options, .kinds = kinds, .n_kinds = 1, .level = c->options->level, .fast = c->options->fast, .rule = rule, .compute_f64 = c->options->wide ? 2 : 0,
      .store = c->options->store};
    return optc_emit_file(c->context, c->index.file, &options, emission);
  }
  optc_compile_options options = {.size = sizeof options, .level = c->options->level, .fast = c->options->fast, .rule = rule, .backend = backends[c->options->backend],
    .cpu = c->options->gpu, .seed = c->options->seed, .compute_f64 = c->options->wide ? 2 : 0, .store = c->options->store};
  return optc_compile_file(c->context, c->index.file, &options, &c->rule);
}

bool check_compile(Check *c) {
  optc_emission *emission = NULL;
  const char *rule = *c->index.rule ? c->index.rule : NULL;
  int code = compile(c, rule, &emission);
  if (code && rule && (!c->index.listed || c->options->rule) && strstr(optc_context_diagnostics(c->context), "there is no rule")) code = compile(c, NULL, &emission);      /* it has a name of its own */
  if (code) return failed(c, code);
  bool good = c->options->backend != CHECK_AOT || link_and_load(c, emission);
  optc_emission_free(emission);
  return good && look_at_rule(c);
}
