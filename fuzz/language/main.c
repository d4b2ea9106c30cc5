/* main.c: the language fuzzer: rules in workers of their own (a crash or a hang is a finding as well), statistics, and a reducer that drops lines while the finding stays.
 *
 *   fuzz-language [-seed=N] [-seconds=N] [-runs=N] [-findings=N] [-out=FOLDER]     rules from seed N on; exit 1 when something was found
 *   fuzz-language FILE...                                                        again
 *   fuzz-language -print=N                                                         the rule of one seed */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fuzz/language/case.h"

#ifdef __SANITIZE_ADDRESS__
enum { LIMIT = 80 };                     /* seconds of the processor: the same rule takes eight times as long */
#else
enum { LIMIT = 20 };
#endif
enum { BATCH = 64 };

typedef struct Shared { uint64_t seed, count[32]; char message[CASE_MESSAGE]; } Shared;
static Shared *shared;

/* Of the processor, so that a busy machine makes no finding. */
static void limit_time(void) {
  struct itimerval limit = {.it_value = {.tv_sec = LIMIT}};
  setitimer(ITIMER_PROF, &limit, NULL);
  alarm(10*LIMIT);
}

static const char *const verdict_name[] = {
  [AGREES] = "agrees", [REFUSED] = "refused", [CALL_REFUSED] = "call refused", [FINDING_COMPILE] = "does not compile", [FINDING_TEXT] = "text", [FINDING_O0] = "-O0",
  [FINDING_O2] = "-O2", [FINDING_KERNEL] = "kernel interpreter", [FINDING_CALL] = "call", [FINDING_MEANING] = "evaluator", [FINDING_CRASH] = "crash", [FINDING_TIME] = "no end",
};

/* `work` in a process of its own, quiet unless `loud`. */
static Verdict apart(Verdict (*work)(void *), void *self, bool loud) {
  fflush(NULL);
  pid_t child = fork();
  if (!child) {
    int null = open("/dev/null", O_WRONLY);
    if (!loud && null >= 0) dup2(null, 2);
    limit_time();
    _exit(work(self));
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0) return FINDING_CRASH;
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGALRM || WTERMSIG(status) == SIGPROF ? FINDING_TIME : FINDING_CRASH;
  int code = WEXITSTATUS(status);
  return code <= FINDING_TIME && verdict_name[code] ? (Verdict)code : FINDING_CRASH;
}

typedef struct Case { char *text; size_t n; } Case;
static Verdict one(void *self) {
  Case *c = self;
  return case_run(c->text, c->n, shared->message);
}

static uint64_t batch_end;
static double end_time;
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + 1e-9*(double)t.tv_nsec; }

/* Seeds up to batch_end, until one is a finding; shared->seed is the one that runs. */
static Verdict batch(void *self) {
  static char text[CASE_TEXT];
  bool show = self != NULL;
  for (; shared->seed < batch_end && now() < end_time; shared->seed++) {
    limit_time();
    size_t n = generate_rule(shared->seed, text);
    Verdict v = case_run(text, n, shared->message);
    shared->count[v]++;
    if (v == REFUSED && show) { fprintf(stderr, "seed %llu: %s\n", (unsigned long long)shared->seed, shared->message); }
    if (v >= FINDING_COMPILE) return v;
  }
  return AGREES;
}

/* Drops runs of lines, halves first, then single ones, while the same kind of finding stays. The head of the case stays. */
static void reduce(Case *c, Verdict kind) {
  static char trial[CASE_TEXT];
  double until = now() + 60;
  for (int width = 16; width; width /= 2)
    for (size_t at = 0; at < c->n && now() < until;) {
      size_t end = at, next = at;
      for (int k = 0; k < width && end < c->n; k++) {
        while (end < c->n && c->text[end] != '\n') end++;
        end += end < c->n;
        if (!k) next = end;
      }
      memcpy(trial, c->text, at);
      memcpy(trial + at, c->text + end, c->n - end);
      Case shorter = {trial, c->n - (end - at)};
      trial[shorter.n] = 0;
      if (c->text[at] != '#' && apart(one, &shorter, false) == kind) { memcpy(c->text, trial, shorter.n + 1); c->n = shorter.n; }
      else at = next;
    }
}

static void finding(uint64_t seed, Verdict v, const char *folder) {
  static char text[CASE_TEXT];
  char path[512], first[CASE_MESSAGE];
  Case c = {text, generate_rule(seed, text)};
  snprintf(first, sizeof first, "%s", shared->message);
  if (apart(one, &c, true) == v) { reduce(&c, v); apart(one, &c, false); }
  snprintf(path, sizeof path, "%s/finding-%llu.opt", folder, (unsigned long long)seed);
  FILE *f = fopen(path, "w");
  if (f) { fwrite(text, 1, c.n, f); fclose(f); }
  printf("FINDING: %s: seed %llu: %s\n%s--- %s\n", verdict_name[v], (unsigned long long)seed, v == FINDING_CRASH || v == FINDING_TIME ? "" : *shared->message ? shared->message : first, text, path);
  fflush(stdout);
}

static int replay(const char *path) {
  static char text[CASE_TEXT];
  FILE *f = fopen(path, "r");
  Case c = {text, f ? fread(text, 1, CASE_TEXT - 1, f) : 0};
  if (f) fclose(f);
  text[c.n] = 0;
  shared->message[0] = 0;
  Verdict v = apart(one, &c, true);
  printf("%s: %s %s\n", path, verdict_name[v], shared->message);
  return v != AGREES;
}

int main(int argc, char **argv) {
  uint64_t seed = (uint64_t)time(NULL)*1000, runs = UINT64_MAX/2;
  double seconds = 1e18;
  int most = 1, found = 0, bad = 0, files = 0;
  bool show = false;
  const char *folder = ".";
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 2;
  for (int k = 1; k < argc; k++) {
    const char *a = argv[k];
    if (!strncmp(a, "-seed=", 6)) seed = strtoull(a + 6, NULL, 10);
    else if (!strncmp(a, "-seconds=", 9)) seconds = strtod(a + 9, NULL);
    else if (!strncmp(a, "-runs=", 6)) runs = strtoull(a + 6, NULL, 10);
    else if (!strncmp(a, "-findings=", 10)) most = atoi(a + 10);
    else if (!strncmp(a, "-out=", 5)) folder = a + 5;
    else if (!strcmp(a, "-refusals")) show = true;
    else if (!strncmp(a, "-print=", 7)) { static char text[CASE_TEXT]; fwrite(text, 1, generate_rule(strtoull(a + 7, NULL, 10), text), stdout); return 0; }
    else { files++; bad |= replay(a); }
  }
  if (files) return bad;
  end_time = now() + seconds;
  uint64_t first = seed, last = seed + runs;
  for (shared->seed = seed; shared->seed < last && now() < end_time && found < most;) {
    batch_end = shared->seed + BATCH < last ? shared->seed + BATCH : last;
    shared->message[0] = 0;
    Verdict v = apart(batch, show ? &show : NULL, show);
    if (v < FINDING_COMPILE) continue;
    uint64_t at = shared->seed;
    if (v >= FINDING_CRASH) shared->count[v]++;
    finding(at, v, folder);
    shared->seed = at + 1;
    found++;
  }
  uint64_t n = shared->seed - first, refused = shared->count[REFUSED];
  printf("rules %llu, refused %llu, calls refused %llu, findings %d\n", (unsigned long long)n, (unsigned long long)refused, (unsigned long long)shared->count[CALL_REFUSED], found);
  if (n >= 50 && refused*10 > n) { printf("more than one rule in ten is refused\n"); return 1; }
  return found != 0;
}
