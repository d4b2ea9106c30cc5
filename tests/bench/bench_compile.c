/* bench_compile.c: CPU time of compiling, as whole processes and inside one.
 *   usage: bench_compile OUT.json OPTC RULE.opt [quick]      the parent
 *          bench_compile --callable RULE.opt CACHE_DIR       a new process: start to a callable function */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "runtime/optc.h"
#include "tests/bench/measure.h"

static double cpu_of(const struct rusage *u) {
  return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) + 1e-6 * (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

/* CPU milliseconds of a whole process, whose words go nowhere. */
static double process_ms(char *const argv[]) {
  pid_t pid = fork();
  if (pid == 0) {
    int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere >= 0 && dup2(nowhere, 1) == 1) execvp(argv[0], argv);
    _exit(127);
  }
  int status;
  struct rusage u;
  if (pid < 0 || wait4(pid, &status, 0, &u) != pid || status) { fprintf(stderr, "bench: %s failed (status %d)\n", argv[0], status); exit(1); }
  return 1e3 * cpu_of(&u);
}

static optc_context *context(const char *cache) {
  return optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = cache});
}
static optc_rule *compile(optc_context *cx, const char *path) {
  optc_rule *rule;
  if (optc_compile_file(cx, path, NULL, &rule)) { fprintf(stderr, "bench: %s\n", optc_context_diagnostics(cx)); exit(1); }
  return rule;
}

/* CPU milliseconds to a callable function in this process. */
static double inside_ms(const char *path, const char *cache, optc_context *cx) {
  double t = now_cpu();
  optc_context *own = cx ? cx : context(cache);
  optc_rule *rule = compile(own, path);
  t = now_cpu() - t;
  optc_rule_free(rule);
  if (!cx) optc_context_free(own);
  return 1e3 * t;
}

/* Every rule of rules/ at -O0 in this process: the five slowest, best of three. */
typedef struct Slow { char name[80]; double ms; } Slow;
static int by_time(const void *a, const void *b) { double x = ((const Slow *)a)->ms, y = ((const Slow *)b)->ms; return (x < y) - (x > y); }

static void slowest_rules(Report *report) {
  enum { MOST = 512, SHOWN = 5, ROUNDS = 3 };
  static Slow all[MOST];
  int n = 0;
  glob_t files;
  if (glob("rules/*.opt", 0, NULL, &files)) return;
  for (size_t f = 0; f < files.gl_pathc; f++) {
    FILE *file = fopen(files.gl_pathv[f], "r");
    char line[1024], name[64];
    while (file && n < MOST && fgets(line, sizeof line, file)) {
      if (sscanf(line, "rule %63[A-Za-z0-9_]", name) != 1) continue;
      Slow *s = &all[n++];
      snprintf(s->name, sizeof s->name, "%s at -O0, running process", name);
      for (int r = 0; r < ROUNDS; r++) {
        optc_context *cx = context("");
        optc_compile_options options = {.size = sizeof options, .level = 0, .rule = name};
        optc_rule *rule;
        double t = now_cpu();
        if (optc_compile_file(cx, files.gl_pathv[f], &options, &rule)) { fprintf(stderr, "bench: %s\n", optc_context_diagnostics(cx)); exit(1); }
        t = 1e3 * (now_cpu() - t);
        if (r == 0 || t < s->ms) s->ms = t;
        optc_rule_free(rule);
        optc_context_free(cx);
      }
    }
    if (file) fclose(file);
  }
  globfree(&files);
  qsort(all, (size_t)n, sizeof *all, by_time);
  for (int k = 0; k < n && k < SHOWN; k++) report_row(report, all[k].name, all[k].ms, "bar", 30, "ms CPU", 30 / all[k].ms, ROUNDS);
}

/* Where the time goes: processes that stop after a stage; each holds the stages before it. */
static void stages(Report *report, const char *optc, const char *rule, int rounds) {
  static const struct { const char *name, *option; } stage[] = {
    {"of it: start of the process", "--version"}, {"of it: and graph", "--emit=graph"}, {"of it: and kernels", "--emit=kernels"}, {"of it: and LLVM IR", "--emit=llvm-ir"}};
  enum { N = sizeof stage / sizeof *stage };
  double ms[64], whole[64];
  char *const object[] = {(char *)optc, (char *)rule, "-o", "/dev/null", NULL};
  for (int k = 0; k < N; k++) {
    char *const argv[] = {(char *)optc, (char *)stage[k].option, k ? (char *)rule : NULL, "-o", "/dev/null", NULL};
    for (int r = 0; r < rounds; r++) { ms[r] = process_ms(argv); whole[r] = process_ms(object); }
    report_row(report, stage[k].name, median(ms, rounds), "to object, process", median(whole, rounds), "ms CPU", median_ratio(whole, ms, rounds), rounds);
  }
}

typedef struct Case { const char *name; double bar; char *const *argv; const char *peer; char *const *peer_argv; } Case;

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "--callable")) {
    optc_rule_free(compile(context(argv[3]), argv[2]));
    return 0;
  }
  if (argc < 4) return 2;
  const char *optc = argv[2], *rule = argv[3];
  int rounds = argc > 4 ? 11 : 31;
  char cache[] = "/tmp/optc-bench-XXXXXX";
  if (!mkdtemp(cache)) return 1;
  Report *report = report_open(argv[1]);
  char *const one[] = {(char *)optc, (char *)rule, "-o", "/dev/null", NULL}, *const empty[] = {"true", NULL};
  char *const three[] = {(char *)optc, (char *)rule, "--cpu-target=x86-64-v2,x86-64-v3,x86-64-v4", "-o", "/dev/null", NULL};
  char *const fresh[] = {"/proc/self/exe", "--callable", (char *)rule, "", NULL}, *const cached[] = {"/proc/self/exe", "--callable", (char *)rule, cache, NULL};
  char *const cc[] = {"clang-19", "-O3", "-march=native", "-I.", "-DADAMW_NAME=f", "-c", "tests/bench/adamw_plain.c", "-o", "/dev/null", NULL};
  const Case cases[] = {
    {".opt to object, process", 15, one, "clang-19 -O3 -c", cc}, {".opt to object, 3 instruction sets, process", 30, three, "clang-19 -O3 -c", cc},
    {".opt to callable, new process", 12, fresh, "process that does nothing", empty}, {".opt to callable, new process, cached", 4, cached, "process that does nothing", empty}};
  double ours[64], theirs[64];
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    process_ms(cases[k].argv);
    for (int r = 0; r < rounds; r++) { ours[r] = process_ms(cases[k].argv); theirs[r] = process_ms(cases[k].peer_argv); }
    report_row(report, cases[k].name, median(ours, rounds), cases[k].peer, median(theirs, rounds), "ms CPU", median_ratio(theirs, ours, rounds), rounds);
    report_row(report, cases[k].name, median(ours, rounds), "bar", cases[k].bar, "ms CPU", cases[k].bar / median(ours, rounds), rounds);
  }
  stages(report, optc, rule, rounds);
  inside_ms(rule, "", NULL);
  for (int r = 0; r < rounds; r++) ours[r] = inside_ms(rule, "", NULL);
  report_row(report, ".opt to callable, running process", median(ours, rounds), "bar", 8, "ms CPU", 8 / median(ours, rounds), rounds);
  inside_ms(rule, cache, NULL);
  for (int r = 0; r < rounds; r++) ours[r] = inside_ms(rule, cache, NULL);
  report_row(report, ".opt to callable, running process, cached", median(ours, rounds), "bar", 4, "ms CPU", 4 / median(ours, rounds), rounds);

  slowest_rules(report);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", cache);
  if (system(command)) fprintf(stderr, "bench: %s stays\n", cache);
  return report_close(report);
}
