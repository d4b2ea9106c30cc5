/* pipeline.c: pipelines are data: the default ones, the text form "a,b(lanes=8,unroll=2)", and running them on an entry. */
#include <string.h>
#include <time.h>
#include "ir/suggest.h"
#include "passes/passes.h"

enum { STEP_LIMIT = 1000 };

static void add_step(Arena *arena, Pipeline *p, const Pass *pass, PassArgs args) {
  Step *steps = arena_array(arena, (size_t)p->n + 1, sizeof *steps);
  if (p->n) memcpy(steps, p->steps, p->n * sizeof *steps);
  steps[p->n++] = (Step){pass, args};
  p->steps = steps;
}

Pipeline pipeline_default(Arena *arena, int level, bool fast) {
  Pipeline p = {0};
  for (unsigned k = 0; k < n_pass_order; k++)
    if (pass_order[k]->since <= level || pass_order[k]->required || (fast && !pass_order[k]->exact)) add_step(arena, &p, pass_order[k], (PassArgs){0});
  return p;
}

/* --- text --------------------------------------------------------------------------------------------------------------- */

typedef struct Reader { const char *at; Source source; Diag *diag; Arena *arena; } Reader;

static void skip_spaces(Reader *r) { while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n') r->at++; }

static Range place(const Reader *r, const char *from) {
  size_t begin = (size_t)(from - r->source.text), end = (size_t)(r->at - r->source.text);
  Source *source = arena_alloc(r->arena, sizeof *source);
  *source = r->source;
  return (Range){source, (uint32_t)begin, (uint32_t)(end > begin ? end : begin + (*from != 0))};
}

static char *word(Reader *r) {
  skip_spaces(r);
  const char *from = r->at;
  while ((*r->at >= 'a' && *r->at <= 'z') || (*r->at >= '0' && *r->at <= '9') || *r->at == '_' || *r->at == '-') r->at++;
  return arena_strndup(r->arena, from, (size_t)(r->at - from));
}

static bool read_args(Reader *r, const Pass *pass, PassArgs *args) {
  const struct { const char *name; unsigned takes; int64_t *value, limit; } known[] = {
    {"lanes", PASS_TAKES_LANES, &args->lanes, 64}, {"unroll", PASS_TAKES_UNROLL, &args->unroll, 16}, {"limit", PASS_TAKES_LIMIT, &args->limit, 64}};
  do {
    r->at++;                             /* the bracket or comma */
    skip_spaces(r);
    const char *from = r->at;
    const char *name = word(r);
    unsigned k = 0;
    while (k < 3 && strcmp(known[k].name, name)) k++;
    if (k == 3) { diag_error(r->diag, place(r, from), "a pass takes lanes, unroll or limit, not '%s'", name); return false; }
    if (!(pass->takes & known[k].takes)) { diag_error(r->diag, place(r, from), "pass '%s' takes no '%s'", pass->name, name); return false; }
    skip_spaces(r);
    if (*r->at != '=') { diag_error(r->diag, place(r, r->at), "expected '=' after '%s'", name); return false; }
    r->at++;
    skip_spaces(r);
    const char *digits = r->at;
    int64_t value = 0;
    while (*r->at >= '0' && *r->at <= '9') { value = value * 10 + (*r->at++ - '0'); if (value > known[k].limit) value = known[k].limit + 1; }
    if (r->at == digits || value < 1 || value > known[k].limit) { diag_error(r->diag, place(r, digits), "%s must be 1 to %d", name, (int)known[k].limit); return false; }
    if (k == 0 && (value & (value - 1))) { diag_error(r->diag, place(r, digits), "lanes must be a power of 2"); return false; }
    *known[k].value = value;
    skip_spaces(r);
  } while (*r->at == ',');
  if (*r->at != ')') { diag_error(r->diag, place(r, r->at), "expected ',' or ')'"); return false; }
  r->at++;
  return true;
}

bool pipeline_parse(Arena *arena, Diag *diag, const char *text, Pipeline *out) {
  char *copy = arena_strndup(arena, text, strlen(text));
  Reader r = {copy, {"--passes", copy, strlen(copy)}, diag, arena};
  *out = (Pipeline){0};
  skip_spaces(&r);
  if (!*r.at) return true;
  for (;; r.at++) {
    skip_spaces(&r);
    const char *from = r.at;
    const char *name = word(&r);
    const Pass *pass = pass_find(name);
    if (!pass) {
      const char **names = arena_array(arena, n_passes, sizeof *names);
      for (unsigned k = 0; k < n_passes; k++) names[k] = passes[k].name;
      const char *near = suggest_word(name, names, n_passes);
      diag_error(diag, place(&r, from), near ? "unknown pass '%s'; did you mean '%s'?" : "unknown pass '%s'", name, near);
      return false;
    }
    PassArgs args = {0};
    skip_spaces(&r);
    if (*r.at == '(' && !read_args(&r, pass, &args)) return false;
    if (out->n == STEP_LIMIT) { diag_error(diag, place(&r, from), "a pipeline has at most %d passes", STEP_LIMIT); return false; }
    add_step(arena, out, pass, args);
    skip_spaces(&r);
    if (!*r.at) return true;
    if (*r.at != ',') { diag_error(diag, place(&r, r.at), "expected ',' between passes"); return false; }
  }
}

/* --- running -------------------------------------------------------------------------------------------------------------- */

static bool form_fits(Unit *unit, const Pass *pass) {
  Range nowhere = {0};
  if (pass->form == PASS_KERNEL && !unit->program) {
    diag_error(unit->diag, nowhere, "pass '%s' works on kernels: 'lower' must run before it", pass->name);
    return false;
  }
  if (pass->form == PASS_LOWER && unit->program) {
    diag_error(unit->diag, nowhere, "pass '%s' has run before: there is no graph left to lower", pass->name);
    return false;
  }
  if (pass->form == PASS_GRAPH && unit->program) {
    diag_error(unit->diag, nowhere, "pass '%s' works on graphs: it must run before 'lower'", pass->name);
    return false;
  }
  return true;
}

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_unit(const Unit *unit, const Pass *pass, const PassTrace *trace) {
  Text text = {.arena = unit->arena};
  if (unit->program) program_print(unit->program, &text);
  else graph_print(unit->graph, &text);
  text_append(&text, "", 0);               /* an empty program is an empty text, not NULL */
  trace->printed(trace->self, unit->graph->name, pass->name, text.data);
}

static bool run_step(Unit *unit, const Step *step, const PassTrace *trace) {
  const Pass *pass = step->pass;
  unsigned errors = diag_errors(unit->diag);
  if (pass->form == PASS_LOWER && unit->scheduled) return true;
  if (!form_fits(unit, pass)) return false;
  double start = trace && trace->time ? seconds_now() : 0;
  pass->run(unit, &step->args);
  if (diag_errors(unit->diag) != errors) return false;
  for (unsigned k = 0; unit->program && k < unit->program->n_kernels; k++) kernel_number(unit->program->kernels[k]);
  if (!trace) return true;
  if (trace->time && trace->timed) trace->timed(trace->self, unit->graph->name, pass->name, seconds_now() - start);
  if (trace->print_after && trace->printed && (!strcmp(trace->print_after, "all") || !strcmp(trace->print_after, pass->name))) print_unit(unit, pass, trace);
  if (!trace->verify_each) return true;
  bool good = unit->program ? program_verify(unit->program, unit->diag) : graph_verify(unit->graph, unit->diag);
  if (!good) diag_note(unit->diag, (Range){0}, "found after pass '%s'", pass->name);
  return good;
}

/* A pipeline without `lower` gets the required passes at its end: expand (again; it changes nothing the second time), lower. */
bool pipeline_run(Unit *unit, const Pipeline *pipeline, const PassTrace *trace) {
  for (unsigned k = 0; k < pipeline->n; k++)
    if (!run_step(unit, &pipeline->steps[k], trace)) return false;
  if (unit->program) return true;
  for (unsigned k = 0; k < n_passes; k++)
    if (passes[k].required && !run_step(unit, &(Step){&passes[k], {0}}, trace)) return false;
  return true;
}
