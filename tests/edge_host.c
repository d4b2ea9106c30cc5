/* edge_host.c: a host of compiled rules that knows them by their descriptors alone. It calls every entry on made-up data (support/trial.h) in places and
 * on threads where a wrong access does not go unseen, and all of them have to give the same bits.
 *
 *   edge_host guards LIBRARY RULE...     all memory between closed pages, once to the left and once to the right; serial and a team of 4; lists of nothing
 *   edge_host heap LIBRARY RULE...       small blocks of the heap, for Valgrind
 *   edge_host races LIBRARY RULE...      several items and chunks, a team of 4, for a library and a host made with -fsanitize=thread
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tests/support/team.h"
#include "tests/support/trial.h"

#define COUNT(a) ((int)(sizeof (a)/sizeof *(a)))

/* --- a rule of a library ---------------------------------------------------------------------------------------------------------------------------- */
enum { MAX_ENTRIES = 16 };
typedef struct Host {
  int (*entry[MAX_ENTRIES])(const optc_call *);
  size_t (*workspace)(const optc_call *);
  int (*layout)(const optc_call *, int64_t, optc_state_info *);
} Host;

static int call_entry(void *self, int64_t entry, const optc_call *call) { return ((Host *)self)->entry[entry](call); }
static size_t workspace_size(void *self, const optc_call *call) { return ((Host *)self)->workspace(call); }
static int call_layout(void *self, const optc_call *call, int64_t item, optc_state_info *out) { return ((Host *)self)->layout(call, item, out); }

static void *find(void *library, const char *rule, const char *what) {
  char symbol[160];
  snprintf(symbol, sizeof symbol, "%s_%s", rule, what);
  void *found = dlsym(library, symbol);
  if (!found) { printf("%s\n", dlerror()); exit(2); }
  return found;
}

static DrillRule open_rule(void *library, const char *name, Host *host) {
  DrillRule rule = {find(library, name, "rule"), call_entry, workspace_size, host, call_layout};
  if (rule.desc->n_entries > MAX_ENTRIES) { printf("%s: too many entries\n", name); exit(2); }
  for (int64_t e = 0; e < rule.desc->n_entries; e++) host->entry[e] = (int (*)(const optc_call *))find(library, name, rule.desc->entries[e].name);
  host->workspace = (size_t (*)(const optc_call *))find(library, name, "workspace_size");
  host->layout = (int (*)(const optc_call *, int64_t, optc_state_info *))find(library, name, "layout");
  return rule;
}

/* --- on what, and how --------------------------------------------------------------------------------------------------------------------------------- */
/* Items of rules that have them; where a rule refuses one (it wants matrices), the trial finds another. Rules whose callers choose all shapes go by size. */
static const TrialPlan guarded_items[] = {
  {.steps = 2, .n_items = 4, .item = {{1, {0}}, {1, {1}}, {1, {2}}, {1, {15}}}},
  {.steps = 1, .n_items = 3, .item = {{1, {17}}, {1, {1025}}, {1, {65537}}}, .data = TRIAL_SPECIAL},
  {.steps = 1, .n_items = 4, .item = {{2, {1, 1}}, {2, {3, 5}}, {2, {17, 33}}, {2, {64, 70}}}},
  {.steps = 1, .n_items = 4, .item = {{2, {1, 300}}, {2, {0, 4}}, {3, {2, 3, 5}}, {0, {0}}}, .seed = 3},
  {.steps = 2, .n_items = 3, .item = {{2, {6, 5}}, {1, {19}}, {0, {0}}}, .data = TRIAL_ZEROS},
  {.steps = 1, .n_items = 1, .item = {{2, {257, 260}}}},
};
static const TrialPlan guarded_sizes[] = {{.steps = 2}, {.steps = 1, .seed = 3, .data = TRIAL_SPECIAL}};
static const TrialPlan heap_items[] = {{.steps = 2, .n_items = 4, .item = {{2, {3, 5}}, {2, {17, 9}}, {1, {33}}, {1, {0}}}}}, heap_sizes[] = {{.steps = 2}};
static const TrialPlan race_items[] = {
  {.steps = 2, .n_items = 4, .item = {{2, {17, 33}}, {2, {64, 70}}, {1, {131073}}, {1, {5}}}}, {.steps = 1, .n_items = 2, .item = {{2, {70, 130}}, {2, {2200, 30}}}},
};
static const TrialPlan race_sizes[] = {{.steps = 1}, {.steps = 1, .seed = 3}};
enum { LONG = 68 };                      /* one of the named sizes, another for each rule */

typedef struct Way { const char *what; Fence fence; int threads; } Way;
static const Way guarded_ways[] = {{"to the right", FENCE_RIGHT, 1}, {"to the left", FENCE_LEFT, 1}, {"to the right, 4 threads", FENCE_RIGHT, 4}, {"to the left, 4 threads", FENCE_LEFT, 4}};
static const Way heap_ways[] = {{"on the heap", FENCE_HEAP, 1}}, race_ways[] = {{"serial", FENCE_NONE, 1}, {"4 threads", FENCE_NONE, 4}};

typedef struct Mode { const char *name; const TrialPlan *items, *sizes; int n_items, n_sizes; const Way *ways; int n_ways; bool dealt; } Mode;
static const Mode modes[] = {
  {"guards", guarded_items, guarded_sizes, COUNT(guarded_items), COUNT(guarded_sizes), guarded_ways, COUNT(guarded_ways), false},
  {"heap", heap_items, heap_sizes, COUNT(heap_items), COUNT(heap_sizes), heap_ways, COUNT(heap_ways), false},
  {"races", race_items, race_sizes, COUNT(race_items), COUNT(race_sizes), race_ways, COUNT(race_ways), true},
};

/* A team for the race detector, which compares what threads do, not when: chunks that follow each other are different threads', however the machine runs them. */
enum { DEALT = 4 };
typedef struct Dealt { int64_t first, n; void (*chunk)(void *, int64_t); void *context; } Dealt;
static void *dealt(void *self) {
  const Dealt *d = self;
  for (int64_t i = d->first; i < d->n; i += DEALT) d->chunk(d->context, i);
  return NULL;
}
static void run_dealt(void *self, int64_t n, void (*chunk)(void *, int64_t), void *context) {
  pthread_t thread[DEALT];
  Dealt d[DEALT];
  for (int k = 0; k < DEALT; k++) {
    d[k] = (Dealt){k, n, chunk, context};
    if (pthread_create(&thread[k], NULL, dealt, &d[k])) exit(5);
  }
  for (int k = 0; k < DEALT; k++) pthread_join(thread[k], NULL);
}

/* What a fault is reported with. */
static struct { const char *rule, *what; Trial *trial; } now;
static void faulted(int signal, siginfo_t *info, void *context) {
  char text[2048];
  int n = snprintf(text, sizeof text, "%s, %s: %s at %p:%s\n", now.rule, now.what, strsignal(signal), info->si_addr, now.trial ? trial_shapes(now.trial) : "");
  _exit(write(1, text, (size_t)n) > 0 ? 3 : 4);
}

static double seconds(void) { struct timespec t; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); return (double)t.tv_sec + 1e-9*(double)t.tv_nsec; }

static int runs, failures;
static const double costly = 0.1;        /* seconds: of such data the first way and the last have to do */

static void try_way(Trial *t, const DrillRule *rule, const Mode *mode, int w) {
  const Way *way = &mode->ways[w];
  Team team = {.threads = way->threads, .order = w%2 ? SHUFFLED : BACKWARDS};
  optc_parallel parallel = {mode->dealt ? run_dealt : run_team, &team};
  now.what = way->what;
  trial_run(t, rule, &(DrillWay){.fence = way->fence, .parallel = way->threads > 1 ? &parallel : NULL});
  const char *difference = team.failed ? "no threads" : trial_difference(t);
  runs++;
  if (difference) printf("%s, %s: %s\n%s\n", now.rule, way->what, difference, trial_shapes(t));
  failures += difference != NULL;
}

/* A param of zeros stays finite, unless made-up data do not let other numbers be finite either. */
static void check_zeros(Trial *zeros, const DrillRule *rule, TrialPlan plan) {
  plan.data = TRIAL_MODERATE;
  Trial *others = trial_not_finite(zeros) ? trial_new(rule, &plan) : NULL;
  if (others && !trial_not_finite(others)) {
    printf("%s: from 0, %s becomes something that is not finite\n", now.rule, trial_not_finite(zeros));
    failures++;
  }
  trial_free(others);
}

static bool try_plan(const DrillRule *rule, const TrialPlan *plan, const Mode *mode) {
  double start = seconds();
  TrialPlan first = *plan;
  first.fence = mode->ways[0].fence;
  now.what = mode->ways[0].what;
  Trial *t = now.trial = trial_new(rule, &first);
  if (!t) { if (getenv("OPTC_TEST_TIMES")) printf("%s: none found, %.1f s\n", now.rule, seconds() - start); return false; }
  trial_keep(t);
  if (plan->data == TRIAL_ZEROS) check_zeros(t, rule, first);
  bool dear = seconds() - start > costly;
  runs++;
  for (int w = dear ? mode->n_ways - 1 : 1; w < mode->n_ways; w++) try_way(t, rule, mode, w);
  if (getenv("OPTC_TEST_TIMES") && seconds() - start > 0.2) printf("%s: %.1f s:%s\n", now.rule, seconds() - start, trial_shapes(t));
  now.trial = NULL;
  trial_free(t);
  return true;
}

/* A list of nothing: a step that is one, or a refusal that says why and leaves t as it was. */
static void try_nothing(const DrillRule *rule) {
  const optc_rule_desc *desc = rule->desc;
  char *hyper = calloc(1, (size_t)desc->hyper_size + 8), *global = calloc(1, (size_t)desc->global_size + 8);
  for (int64_t k = 0; k < desc->n_hypers; k++) memcpy(hyper + 8*k, &desc->hypers[k].value, 8);
  for (int64_t e = 0; e < desc->n_entries; e++) {
    if (!strcmp(desc->entries[e].name, "layout")) continue;
    optc_error error = {0};
    optc_call call = {.size = sizeof call, .groups = hyper, .n_groups = 1, .global = global, .error = &error};
    int64_t before, after;
    call.workspace_size = rule->workspace(rule->self, &call);
    call.workspace = malloc(call.workspace_size);
    memcpy(&before, global, 8);
    int code = rule->call(rule->self, e, &call);
    memcpy(&after, global, 8);
    free(call.workspace);
    bool counts = !code && desc->entries[e].advances;
    runs++;
    if (error.code == code && error.text && after == before + counts) continue;
    printf("%s, %s of nothing: code %d, %s\n", now.rule, desc->entries[e].name, code, error.text);
    failures++;
  }
  free(hyper);
  free(global);
}

static void try_rule(void *library, const char *name, const Mode *mode, int turn) {
  Host host;
  DrillRule rule = open_rule(library, name, &host);
  bool like_item = false, any = false;
  for (int64_t k = 0; k < rule.desc->n_operands; k++) like_item |= rule.desc->operands[k].item_shape != 0;
  now.rule = name;
  if (mode == modes) try_nothing(&rule);
  for (int k = 0; k < (like_item ? mode->n_items : mode->n_sizes); k++) any |= try_plan(&rule, like_item ? &mode->items[k] : &mode->sizes[k], mode);
  int sizes = trial_sizes(rule.desc);
  if (sizes && mode == modes) try_plan(&rule, &(TrialPlan){.steps = 1, .long_size = turn%sizes, .length = LONG}, mode);
  if (any) return;
  printf("%s: no data was found that it takes\n", name);
  failures++;
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  const Mode *mode = NULL;
  for (int k = 0; argc > 3 && k < COUNT(modes); k++) if (!strcmp(argv[1], modes[k].name)) mode = &modes[k];
  if (!mode) return 2;
  void *library = dlopen(argv[2], RTLD_NOW);
  if (!library) return printf("%s\n", dlerror()), 2;
  struct sigaction action = {.sa_sigaction = faulted, .sa_flags = SA_SIGINFO};
  for (int k = 0; k < 2 && mode == modes; k++) sigaction(k ? SIGBUS : SIGSEGV, &action, NULL);
  for (int k = 3; k < argc; k++) try_rule(library, argv[k], mode, k);
  printf("%s: %d rules, %d runs, %d failed\n", mode->name, argc - 3, runs, failures);
  return failures != 0;
}
