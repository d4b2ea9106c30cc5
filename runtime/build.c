/* build.c: from a source to programs: reading, parsing, analysis, the pass pipeline of every entry. */
#define _GNU_SOURCE
#include "runtime/build.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const Range nowhere = {0};

bool build_is_given(const Build *b) { return b->path || (b->name && (b->text || !b->length)); }

bool build_level(Compilation *c, Build *b, int asked) {
  b->level = asked < 0 ? 2 : asked;
  if (b->level > 2) diag_error(c->diag, nowhere, "there is no level -O%d; levels are 0, 1 and 2", asked);
  else if (b->fast && b->level < 2) diag_error(c->diag, nowhere, "--fast needs -O2");
  else if (b->fast && b->passes) diag_error(c->diag, nowhere, "--fast adds a pass to the usual ones; in an explicit list its name is 'fast'");
  return !diag_errors(c->diag);
}

/* A whole file. The buffer grows as the file is read: sizes of pipes are not known and those of files may be wrong. The descriptor is closed
 * around every arena call, which may not return: so the file is read in pieces into a buffer on the stack first. */
static const Source *read_file(Arena *arena, const char *path, const char **why) {
  *why = NULL;
  struct stat st;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) { *why = strerror(errno); return NULL; }
  if (fstat(file, &st)) { *why = strerror(errno); close(file); return NULL; }
  if (S_ISDIR(st.st_mode)) { *why = "it is a directory"; close(file); return NULL; }
  enum { PIECE = 1 << 16 };
  char piece[PIECE];
  Text text = {.arena = arena};
  jmp_buf outer;
  memcpy(&outer, arena_guard(arena), sizeof outer);
  if (setjmp(*arena_guard(arena))) {                        /* out of memory: close, then on to the owner's guard */
    close(file);
    memcpy(arena_guard(arena), &outer, sizeof outer);
    longjmp(*arena_guard(arena), 1);
  }
  for (;;) {
    ssize_t n = read(file, piece, PIECE);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) *why = strerror(errno);
    if (n <= 0) break;
    text_append(&text, piece, (size_t)n);
    if (text.length > FRONTEND_MAX_BYTES) { *why = "it is larger than 16 MiB"; break; }
  }
  memcpy(arena_guard(arena), &outer, sizeof outer);
  close(file);
  if (*why) return NULL;
  Source *source = arena_alloc(arena, sizeof *source);
  *source = (Source){.name = arena_strndup(arena, path, strlen(path)), .text = text.data ? text.data : "", .length = text.length};
  return source;
}

static const Source *read_used(void *self, Arena *arena, const char *path, const char **why) { return read_file(arena, path, why); }

int build_load(Compilation *c, Build *b) {
  b->frontend = (FrontendOptions){.read = read_used, .rule = b->rule, .compute_f64 = b->compute_f64, .store_f64 = b->store_f64, .store = b->store, .warnings = true};
  if (b->path) {
    const char *why;
    const Source *source = read_file(c->arena, b->path, &why);
    if (!source) {
      diag_error(c->diag, nowhere, "cannot read '%s': %s", b->path, why);
      return OPTC_E_FILE;
    }
    b->source = *source;
  } else {
    if (b->length > FRONTEND_MAX_BYTES) {
      diag_error(c->diag, nowhere, "'%s' is larger than 16 MiB", b->name);
      return OPTC_E_INPUT;
    }
    /* The lexer wants a zero byte after the text. */
    b->source = (Source){.name = arena_printf(c->arena, "%s", b->name ? b->name : "<memory>"),
                         .text = b->length ? arena_strndup(c->arena, b->text, b->length) : "", .length = b->length};
  }
  compilation_stage(c, "read");
  b->files = frontend_load(c->arena, c->diag, &b->source, &b->frontend);
  compilation_stage(c, "parse");
  return b->files && !diag_errors(c->diag) ? OPTC_OK : OPTC_E_INPUT;
}

int build_analyse(Compilation *c, Build *b) {
  b->module = frontend_lower(c->arena, c->diag, b->files, &b->frontend);
  if (b->module && !diag_errors(c->diag)) {
    gradient_build(b->module, c->diag);
    expand_shapes(b->module);
  }
  compilation_stage(c, "analyse");
  return b->module && !diag_errors(c->diag) ? OPTC_OK : OPTC_E_INPUT;
}

static void pass_timed(void *self, const char *entry, const char *pass, double seconds) {
  const Compilation *c = ((void **)self)[0];
  c->timed(c->timed_self, "passes", entry, pass, seconds);
}
static void pass_printed(void *self, const char *entry, const char *pass, const char *text) {
  const Build *b = ((void **)self)[1];
  b->printed(b->printed_self, entry, pass, text);
}

int build_lower(Compilation *c, Build *b) {
  Pipeline pipeline;
  if (!b->passes) pipeline = pipeline_default(c->arena, b->level, b->fast);
  else if (!pipeline_parse(c->arena, c->diag, b->passes, &pipeline)) return OPTC_E_INPUT;
  if (b->print_after && strcmp(b->print_after, "all") && !pass_find(b->print_after)) {
    diag_error(c->diag, nowhere, "there is no pass '%s'", b->print_after);
    return OPTC_E_INPUT;
  }
  void *both[2] = {c, b};
  PassTrace trace = {.print_after = b->printed ? b->print_after : NULL, .verify_each = b->verify_each, .time = c->timed != NULL,
                     .printed = b->printed ? pass_printed : NULL, .timed = c->timed ? pass_timed : NULL, .self = both};
  unsigned n = b->module->n_graphs;
  b->graphs = arena_array(c->arena, n, sizeof *b->graphs);
  b->programs = arena_array(c->arena, n, sizeof *b->programs);
  for (unsigned i = 0; i < n; i++) {
    Unit unit = {.module = b->module, .arena = c->arena, .diag = c->diag, .graph = b->module->graphs[i], .gpu = b->gpu};
    if (!pipeline_run(&unit, &pipeline, &trace)) {
      if (diag_errors(c->diag)) return OPTC_E_INPUT;
      diag_error(c->diag, nowhere, "the passes ended without a result");
      return OPTC_E_INTERNAL;
    }
    b->graphs[i] = unit.graph;
    b->programs[i] = unit.program;
  }
  compilation_stage(c, "passes");
  if (!backend_check_programs(b->programs, n, c->diag)) return OPTC_E_INPUT;
  return diag_errors(c->diag) ? OPTC_E_INPUT : OPTC_OK;
}
