/* command.c: the optc command: its subcommands, its options, what it says on standard error. */
#define _GNU_SOURCE
#include "runtime/command.h"
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const struct { const char *name; int (*run)(int, char **); const char *use, *summary; unsigned mask; } commands[] = {
  {"compile", command_compile, "optc [compile] RULE.opt [-o FILE] [--header FILE] [options]", "compile a rule; - reads it from standard input", COMMAND_C},
  {"run", command_run, "optc run RULE.opt [options]", "call a rule on made-up data: time, bytes moved, bandwidth", COMMAND_R},
  {"explain", command_explain, "optc explain RULE.opt [options]", "kernels, bytes and operations an element against the least possible", COMMAND_E},
  {"check", command_check, "optc check DATA.json... [options]\noptc check --gradient RULE.opt... [options]", "run recorded reference data and say where a rule departs from it; or a rule's gradients on made-up data", COMMAND_K},
};
enum { COMMANDS = sizeof commands/sizeof *commands };

typedef struct Row { unsigned mask; int letter; const char *name, *value, *spelling, *help; } Row;
static const Row rows[OPTION_COUNT] = {
#define C COMMAND_C
#define R COMMAND_R
#define E COMMAND_E
#define K COMMAND_K
#define OPTION(id, mask, ...) [OPTION_##id] = {mask, __VA_ARGS__},
#include "runtime/command.def"
#undef OPTION
#undef C
#undef R
#undef E
#undef K
};

int command_error(int code, const char *format, ...) {
  va_list list;
  va_start(list, format);
  fputs("optc: error: ", stderr);
  vfprintf(stderr, format, list);
  fputs(code == COMMAND_USAGE || code == OPTION_WRONG ? "; see optc --help\n" : "\n", stderr);
  va_end(list);
  return code;
}

static void how_to_report(void) {
  static const char text[] = "optc: this is a defect of optc. Please report it with the rule file, the command line and the output of optc --version.\n";
  ssize_t n = write(2, text, sizeof text - 1);
  (void)n;
}

bool command_is_usage(const optc_context *cx, int status) {
  const char *text = optc_context_diagnostics(cx);
  if (*text == '\033') text = strchr(text, 'm') ? strchr(text, 'm') + 1 : text;
  bool nowhere = !strncmp(text, "error:", 6), option = !strncmp(text, "--", 2);
  return status == OPTC_E_TARGET || (status == OPTC_E_INPUT && (nowhere || option));
}

/* A diagnosis without a place in a file has the form of the command's own. */
static void print_diagnostics(const char *text, bool usage) {
  size_t length = strlen(text);
  bool placed = strncmp(text + (*text == '\033' ? strcspn(text, "m") + 1 : 0), "error:", 6) != 0;
  while (usage && length && text[length - 1] == '\n') length--;
  fprintf(stderr, "%s%.*s", placed ? "" : "optc: ", (int)length, text);
  if (usage) fputs(placed ? "\noptc: error: an option is wrong; see optc --help\n" : "; see optc --help\n", stderr);
}

int command_report(const optc_context *cx, int status, bool json) {
  const char *text = json ? optc_context_diagnostics_json(cx) : optc_context_diagnostics(cx);
  bool usage = command_is_usage(cx, status);
  if (!json) print_diagnostics(text, usage);
  else if (status || strcmp(text, "[]\n")) fputs(text, stderr);
  if (usage) return COMMAND_USAGE;
  switch (status) {
  case OPTC_OK: return COMMAND_OK;
  case OPTC_E_INTERNAL: how_to_report(); return COMMAND_INTERNAL;
  default: return COMMAND_INPUT;
  }
}

/* The beginning of several long options. */
static bool tell_ambiguous(const Options *o, const char *word) {
  char list[300] = "";
  size_t at = 0;
  int n = 0;
  for (int i = 0; i < OPTION_COUNT && *word; i++) {
    if (!(rows[i].mask & o->command) || !rows[i].name || strncmp(rows[i].name, word, strlen(word))) continue;
    if (at < sizeof list) at += (size_t)snprintf(list + at, sizeof list - at, "%s--%s", n ? ", " : "", rows[i].name);
    n++;
  }
  if (n < 2) return false;
  command_error(COMMAND_USAGE, "option '--%s' is the beginning of several: %s", word, list);
  return true;
}

static int unknown_option(const Options *o, const char *given) {
  const char *names[OPTION_COUNT], *near = NULL;
  size_t length = strcspn(given, "=");
  char word[64];
  for (int i = 0; i < OPTION_COUNT; i++) names[i] = rows[i].mask & o->command ? rows[i].name : NULL;
  size_t dashes = strspn(given, "-");
  snprintf(word, sizeof word, "%.*s", (int)(length - dashes), given + dashes);
  if (tell_ambiguous(o, word)) return OPTION_WRONG;
  near = strlen(word) > 2 ? suggest_word(word, names, OPTION_COUNT) : NULL;
  if (near) return command_error(OPTION_WRONG, "unknown option '%.*s'; did you mean '--%s'?", (int)length, given, near);
  return command_error(OPTION_WRONG, "unknown option '%.*s'", (int)length, given);
}

int options_next(Options *o) {
  struct option table[OPTION_COUNT + 1] = {0};
  char letters[2*OPTION_COUNT + 2] = ":", *end = letters + 1;
  int n = 0;
  for (int i = 0; i < OPTION_COUNT; i++) {
    if (!(rows[i].mask & o->command)) continue;
    if (rows[i].name) table[n++] = (struct option){rows[i].name, rows[i].value ? required_argument : no_argument, NULL, 256 + i};
    if (rows[i].letter) {
      *end++ = (char)rows[i].letter;
      if (rows[i].value) *end++ = ':';
    }
  }
  *end = 0;
  if (!o->started) { optind = 0; opterr = 0; o->started = true; }
  int before = optind ? optind : 1, found = getopt_long(o->argc, o->argv, letters, table, NULL);
  o->value = optarg;
  if (found == -1) { o->first = optind; return -1; }
  if (found == ':') return command_error(OPTION_WRONG, "option '%s' wants a value", o->argv[optind - 1]);
  if (found == '?') {
    const char *given = o->argv[optind > before ? optind - 1 : before];
    char letter[3] = {'-', (char)optopt, 0};
    if (strncmp(given, "--", 2) && optopt && optopt < 256) given = letter;
    else if (optopt >= 256) return command_error(OPTION_WRONG, "option '--%s' takes no value", rows[optopt - 256].name);
    return unknown_option(o, given);
  }
  if (found >= 256) return found - 256;
  for (int i = 0; i < OPTION_COUNT; i++)
    if (rows[i].letter == found && rows[i].mask & o->command) return i;
  return OPTION_WRONG;
}

const char *options_argument(Options *o) { return optind < o->argc ? o->argv[optind++] : NULL; }

bool command_count(const char *text, long long *out) {
  static const struct { const char *end; double by; } scale[] = {{"", 1}, {"Ki", 1024}, {"Mi", 1048576}, {"Gi", 1073741824}, {"Ti", 1099511627776}, {"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}};
  char *end;
  double x = strtod(text, &end);
  for (size_t i = 0; i < sizeof scale/sizeof *scale && end != text; i++)
    if (!strcmp(end, scale[i].end)) {
      x *= scale[i].by;
      if (!(x >= 0 && x < 9e15) || x != (double)(long long)x) return false;
      *out = (long long)x;
      return true;
    }
  return false;
}

bool command_seed(const char *text, uint64_t *out) {
  long long seed;
  if (!command_count(text, &seed)) return command_error(COMMAND_USAGE, "--seed wants a number, not '%s'", text), false;
  *out = (uint64_t)seed;
  return true;
}

void common_default(Common *c) {
  const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
  *c = (Common){.level = -1, .color = isatty(2) && !(no && *no) && term && strcmp(term, "dumb")};
}

/* "jit, graph and kernel" */
static void list_words(const Choice *choices, size_t n, char *out, size_t size) {
  size_t at = 0;
  for (size_t i = 0; i < n && at < size; i++) at += (size_t)snprintf(out + at, size - at, "%s%s", !i ? "" : i + 1 == n ? " and " : ", ", choices[i].word);
}

bool command_choice(const char *option, const char *given, const Choice *choices, size_t n, size_t told, int *value) {
  const char *words[32] = {NULL};
  char list[400] = "";
  for (size_t i = 0; i < n; i++)
    if (!strcmp(given, choices[i].word)) return *value = choices[i].value, true;
  for (size_t i = 0; i < told && i < 32; i++) words[i] = choices[i].word;
  const char *near = suggest_word(given, words, 32);
  list_words(choices, told, list, sizeof list);
  if (near) command_error(COMMAND_USAGE, "%s: unknown value '%s'; did you mean '%s'? There are %s", option, given, near, list);
  else command_error(COMMAND_USAGE, "%s: unknown value '%s'; there are %s", option, given, list);
  return false;
}

bool command_format(const char *option, const char *given, bool *json) {
  static const Choice formats[] = {{"text", 0}, {"json", 1}};
  int which = 0;
  if (!command_choice(option, given, formats, 2, 2, &which)) return false;
  *json = which;
  return true;
}

static void show_help(unsigned mask) {
  for (int i = 0; i < COMMANDS; i++)
    if (mask == COMMAND_C || commands[i].mask == mask) printf("%s\n    %s\n", commands[i].use, commands[i].summary);
  printf("\nOptions:\n");
  for (int i = 0; i < OPTION_COUNT; i++) {
    if (!(rows[i].mask & mask)) continue;
    if (strlen(rows[i].spelling) > 30) printf("  %s\n  %-30s  %s\n", rows[i].spelling, "", rows[i].help);
    else printf("  %-30s  %s\n", rows[i].spelling, rows[i].help);
  }
  printf("\nLong options may be cut short where one is meant.\n");
  if (mask == COMMAND_C) printf("Options of the other commands: optc run --help, optc explain --help, optc check --help.\n");
  printf("\nExit codes: 0 ok, 1 bad input, 2 bad usage, 3 a check failed, 70 internal error.\n");
}

bool common_option(Common *c, const Options *o, int id, int *code) {
  static const Choice when[] = {{"auto", -1}, {"always", 1}, {"never", 0}}, types[] = {{"f32", 0}, {"f64", 1}};
  int color = -1;
  bool good = true;
  *code = -1;
  switch (id) {
  case OPTION_WRONG: *code = COMMAND_USAGE; return true;
  case OPTION_LEVEL:
    if (strlen(o->value) != 1 || o->value[0] < '0' || o->value[0] > '2') *code = command_error(COMMAND_USAGE, "there is no level -O%s; levels are 0, 1 and 2", o->value);
    c->level = o->value[0] - '0';
    return true;
  case OPTION_PASSES: c->passes = o->value; return true;
  case OPTION_FAST: c->fast = 1; return true;
  case OPTION_STORE:
    if (!*o->value) *code = command_error(COMMAND_USAGE, "--store is empty; it takes NAME=STORAGE, as in m=bf16,v=q8[256]");
    c->store = o->value;
    return true;
  case OPTION_RULE: c->rule = o->value; return true;
  case OPTION_VERIFY_EACH: c->verify_each = 1; return true;
  case OPTION_TIME_PASSES: c->time = true; return true;
  case OPTION_COMPUTE: good = command_choice("--compute", o->value, types, 2, 2, &c->compute_f64); break;
  case OPTION_FORMAT_DIAG: good = command_format("--diagnostics-format", o->value, &c->json); break;
  case OPTION_COLOR: good = command_choice("--color", o->value, when, 3, 3, &color); if (color >= 0) c->color = color; break;
  case OPTION_HELP: show_help(o->command); *code = COMMAND_OK; return true;
  case OPTION_VERSION: printf("optc %s\n", optc_version()); *code = COMMAND_OK; return true;
  default: return false;
  }
  if (!good) *code = COMMAND_USAGE;
  return true;
}

/* --- CPU time ----------------------------------------------------------------------------------------------------------------- */
static double cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

void timing_add(void *self, const char *stage, const char *entry, const char *pass, double seconds) {
  Timing *t = self;
  TimingRow row = {.seconds = seconds, .times = 1};
  snprintf(row.stage, sizeof row.stage, "%s", stage);
  snprintf(row.pass, sizeof row.pass, "%s", pass ? pass : "");
  for (size_t i = 0; i < t->n; i++)
    if (!strcmp(t->row[i].stage, row.stage) && !strcmp(t->row[i].pass, row.pass)) {
      t->row[i].seconds += seconds;
      t->row[i].times++;
      return;
    }
  if (t->n == sizeof t->row/sizeof *t->row) return;
  t->row[t->n++] = row;
}

void timing_begin(Timing *t) { t->mark = cpu(); }
void timing_end(Timing *t, const char *stage) { timing_add(t, stage, NULL, NULL, cpu() - t->mark); }

void timing_print(const Timing *t) {
  double sum = 0;
  fprintf(stderr, "CPU time, ms:\n");
  for (size_t i = 0; i < t->n; i++) {
    if (t->row[i].pass[0]) continue;
    fprintf(stderr, "  %8.3f  %s\n", 1e3*t->row[i].seconds, t->row[i].stage);
    sum += t->row[i].seconds;
    for (size_t k = 0; k < t->n; k++)
      if (t->row[k].pass[0] && !strcmp(t->row[k].stage, t->row[i].stage))
        fprintf(stderr, "            %8.3f  %s (%u runs)\n", 1e3*t->row[k].seconds, t->row[k].pass, t->row[k].times);
  }
  fprintf(stderr, "  %8.3f  the whole process (%.3f in the stages above)\n", 1e3*cpu(), 1e3*sum);
}

/* --- the program ---------------------------------------------------------------------------------------------------------------- */
#ifndef __SANITIZE_ADDRESS__             /* which has its own report of a crash */
static void crashed(int signal_number) {
  how_to_report();
  _exit(COMMAND_INTERNAL);
}
#endif

/* A limit on file sizes and a closed pipe are errors of write(), not the end of the program; a crash says how to report it. */
static void set_signals(void) {
  signal(SIGXFSZ, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
#ifndef __SANITIZE_ADDRESS__
  static char stack[1 << 16];
  static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
  struct sigaction action = {.sa_handler = crashed, .sa_flags = SA_ONSTACK};
  for (size_t i = 0; i < sizeof crashes/sizeof *crashes; i++) sigaction(crashes[i], &action, NULL);
#endif
}

/* A compilation takes and gives back a few MB many times over: kept in the process, they are zeroed and mapped once,
 * and in huge pages where the system has them. */
static void set_memory(void) {
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  mallopt(M_TOP_PAD, 8 << 20);
  void *heap = malloc(8 << 20);
  if (!heap) return;
  uintptr_t page = 4096, first = ((uintptr_t)heap + page - 1)/page*page;
  madvise((void *)first, (8 << 20) - page, MADV_HUGEPAGE);
  free(heap);
}

static const char *near_command(const char *word) {
  const char *names[COMMANDS];
  for (int i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
  return suggest_word(word, names, COMMANDS);
}

/* optc help [COMMAND] */
static int help_of(const char *word) {
  for (int i = 0; i < COMMANDS; i++)
    if (!strcmp(word, commands[i].name)) { show_help(commands[i].mask); return COMMAND_OK; }
  const char *near = near_command(word);
  return near ? command_error(COMMAND_USAGE, "unknown command '%s'; did you mean '%s'?", word, near) : command_error(COMMAND_USAGE, "unknown command '%s'", word);
}

int main(int argc, char **argv) {
  set_memory();
  set_signals();
  int which = 0, skip = 0, code;
  for (int i = 0; i < COMMANDS && argc > 1; i++)
    if (!strcmp(argv[1], commands[i].name)) { which = i; skip = 1; }
  const char *meant = !which && !skip && argc > 2 && argv[1][0] != '-' && argv[2][0] != '-' && access(argv[1], F_OK) ? near_command(argv[1]) : NULL;
  if (meant) code = command_error(COMMAND_USAGE, "unknown command '%s'; did you mean '%s'?", argv[1], meant);
  else if (argc > 1 && !strcmp(argv[1], "help")) {
    code = help_of(argc > 2 ? argv[2] : "compile");
  } else code = commands[which].run(argc - skip, argv + skip);
  if (fflush(stdout) || ferror(stdout)) {
    if (!code) code = command_error(COMMAND_INPUT, "cannot write to standard output: %s", strerror(errno));
  }
  return code;
}
