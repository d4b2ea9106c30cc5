/* context.c: contexts: options, diagnostics of the last compilation, and the guard that turns lack of memory into an error value. */
#define _GNU_SOURCE
#include "runtime/context.h"
#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "backends/backend.h"

static char *join(const char *a, const char *b) {
  size_t na = strlen(a), nb = strlen(b);
  char *s = malloc(na + nb + 1);
  if (!s) return NULL;
  memcpy(s, a, na);
  memcpy(s + na, b, nb + 1);
  return s;
}

/* "": no cache. The base directory rules of freedesktop.org: a relative $XDG_CACHE_HOME is ignored. */
static char *cache_folder(const char *asked) {
  if (!asked) asked = getenv("OPTC_CACHE_DIR");
  if (asked) return join(asked, "");
  const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (xdg && xdg[0] == '/') return join(xdg, "/optc");
  if (home && home[0] == '/') return join(home, "/.cache/optc");
  return join("", "");
}

void options_copy(void *to, size_t to_size, const void *options, size_t options_size) {
  size_t n = options_size < to_size ? options_size : to_size;
  if (options && n > sizeof(size_t)) memcpy((char *)to + sizeof(size_t), (const char *)options + sizeof(size_t), n - sizeof(size_t));
}

optc_context *optc_context_new(const optc_context_options *given) {
  optc_context_options options = {.size = sizeof options};
  options_copy(&options, sizeof options, given, given ? given->size : 0);
  optc_context *cx = calloc(1, sizeof *cx);
  if (!cx) return NULL;
  cx->color = options.color;
  cx->cache_dir = cache_folder(options.cache_dir);
  if (!cx->cache_dir) { free(cx); return NULL; }
  if (!cx->cache_dir[0]) { free(cx->cache_dir); cx->cache_dir = NULL; }
  return cx;
}

static void forget(optc_context *cx) {
  free(cx->text);
  free(cx->json);
  cx->text = cx->json = NULL;
  cx->out_of_memory = false;
}

void optc_context_free(optc_context *cx) {
  if (!cx) return;
  forget(cx);
  free(cx->targets);
  free(cx->cache_dir);
  free(cx);
}

const char *optc_context_diagnostics(const optc_context *cx) {
  if (!cx) return "";
  if (cx->out_of_memory) return "error: out of memory\n";
  return cx->text ? cx->text : "";
}
const char *optc_context_diagnostics_json(const optc_context *cx) {
  if (!cx) return "[]\n";
  if (cx->out_of_memory) return "[{\"level\": \"error\", \"message\": \"out of memory\"}]\n";
  return cx->json ? cx->json : "[]\n";
}
unsigned optc_context_compilations(const optc_context *cx) { return cx ? cx->compilations : 0; }

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9*(double)t.tv_nsec;
}

void compilation_time(Compilation *c, optc_timed timed, void *self) {
  c->timed = timed;
  c->timed_self = self;
  if (timed) c->mark = cpu_seconds();
}

void compilation_stage(Compilation *c, const char *stage) {
  if (!c->timed) return;
  double now = cpu_seconds();
  c->timed(c->timed_self, stage, NULL, NULL, now - c->mark);
  c->mark = cpu_seconds();
}

void context_adopt(optc_context *cx, const char *text, const char *json) {
  forget(cx);
  cx->text = join(text, "");
  cx->json = join(json, "");
}

int context_refuse(optc_context *cx, int status) {
  if (!cx) return status;
  if (status == OPTC_E_NULL) context_adopt(cx, "error: a pointer that must be given is NULL\n", "[{\"level\": \"error\", \"message\": \"a pointer that must be given is NULL\"}]\n");
  else forget(cx);
  cx->out_of_memory = status == OPTC_E_MEMORY || (status == OPTC_E_NULL && !cx->text);
  return status;
}

/* Renders what the compilation reported; nothing is rendered when nothing was. */
static void render(Compilation *c) {
  if (!diag_count(c->diag)) return;
  Text text = {.arena = c->arena}, json = {.arena = c->arena};
  diag_render_text(c->diag, &text, c->context->color);
  diag_render_json(c->diag, &json);
  context_adopt(c->context, text.data ? text.data : "", json.data ? json.data : "[]\n");
  if (!c->context->text || !c->context->json) c->context->out_of_memory = true;
}

/* Numbers are read and constants folded in the floating-point environment of the language, whatever the caller's is. */
int context_compile(optc_context *cx, CompilationBody body, void *self) {
  forget(cx);
  Compilation c = {.context = cx, .arena = arena_new(NULL, 0)};
  if (!c.arena) { cx->out_of_memory = true; return OPTC_E_MEMORY; }
  fenv_t callers;
  fegetenv(&callers);
  fesetenv(FE_DFL_ENV);
  if (setjmp(*arena_guard(c.arena))) {
    fesetenv(&callers);
    arena_free(c.arena);
    forget(cx);
    cx->out_of_memory = true;
    return OPTC_E_MEMORY;
  }
  c.diag = diag_new(c.arena, 0);
  int status = body(&c, self);
  render(&c);
  fesetenv(&callers);
  if (c.keep && status == OPTC_OK) *c.keep = c.arena;
  else arena_free(c.arena);
  return status;
}

/* The text is copied out of the arena, so that it lives until the next call. */
static int list_targets(Compilation *c, void *self) {
  Text text = {.arena = c->arena};
  backend_print_targets(&text);
  free(c->context->targets);
  c->context->targets = join(text.data ? text.data : "", "");
  return c->context->targets ? OPTC_OK : OPTC_E_MEMORY;
}

const char *optc_context_targets(optc_context *cx) {
  return cx && context_compile(cx, list_targets, NULL) == OPTC_OK ? cx->targets : NULL;
}
