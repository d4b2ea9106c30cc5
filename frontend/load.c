/* load.c: the files that a source uses, each once, parsed. Paths are relative to the file that names them. */
#include <string.h>
#include "frontend/frontend.h"

/* The chain of `use` that leads to a file: parents first met, for cycles. */
typedef struct Loading { const Source *source; Range use; const struct Loading *by; } Loading;

typedef struct Loader {
  Arena *arena;
  Diag *diag;
  const FrontendOptions *options;
  FileSet *set;
} Loader;

/* dir(base)/path with `.` and `..` steps taken out, so that one file has one name. */
static const char *resolve(Arena *a, const char *base, const char *path) {
  const char *slash = base && *path != '/' ? strrchr(base, '/') : NULL;
  char *full = slash ? arena_printf(a, "%.*s/%s", (int)(slash - base), base, path) : arena_strndup(a, path, strlen(path));
  size_t n = strlen(full), out = 0;
  bool absolute = *full == '/';
  char *to = arena_alloc(a, n + 2);
  if (absolute) to[out++] = '/';
  for (char *p = full, *end; *p; p = end) {
    while (*p == '/') p++;
    end = p + strcspn(p, "/");
    size_t k = (size_t)(end - p), last = out;
    if (!k || (k == 1 && *p == '.')) continue;
    while (last > (size_t)absolute && to[last - 1] != '/') last--;
    bool can_drop = out > (size_t)absolute && !(out - last == 2 && !memcmp(to + last, "..", 2));
    if (k == 2 && !memcmp(p, "..", 2) && can_drop) { out = last > (size_t)absolute ? last - 1 : last; continue; }
    if (out > (size_t)absolute) to[out++] = '/';
    memmove(to + out, p, k);
    out += k;
  }
  to[out] = 0;
  return to;
}

static bool same_name(const Source *s, const char *name) { return s->name && !strcmp(s->name, name); }

static File *find(const Loader *l, const char *name) {
  for (unsigned i = 0; i < l->set->n; i++)
    if (same_name(l->set->files[i]->source, name)) return l->set->files[i];
  return NULL;
}

/* The uses from `first` down to the one that closes the cycle. */
static void note_chain(Loader *l, const Loading *at, const char *first) {
  if (at->by && !same_name(at->source, first)) note_chain(l, at->by, first);
  if (at->by && !same_name(at->source, first)) diag_note(l->diag, at->use, "'%s' is used here", at->source->name);
}

static void load(Loader *l, const Source *source, const Loading *chain, unsigned depth);

static void load_use(Loader *l, const Source *by, const Use *use, const Loading *chain, unsigned depth) {
  const char *name = resolve(l->arena, by->name, use->path), *why = NULL;
  for (const Loading *c = chain; c; c = c->by)
    if (same_name(c->source, name)) {
      diag_error(l->diag, use->where, "'%s' uses itself", name);
      note_chain(l, chain, name);
      return;
    }
  if (find(l, name)) return;
  if (depth >= FRONTEND_MAX_DEPTH) { diag_error(l->diag, use->where, "files use each other deeper than %d", FRONTEND_MAX_DEPTH); return; }
  if (!l->options || !l->options->read) { diag_error(l->diag, use->where, "cannot read '%s': this compilation has no files", name); return; }
  const Source *source = l->options->read(l->options->read_self, l->arena, name, &why);
  if (!source) { diag_error(l->diag, use->where, "cannot read '%s': %s", name, why ? why : "no reason given"); return; }
  Source *named = arena_alloc(l->arena, sizeof *named);                   /* the reader may call it otherwise: cycles are found by our name */
  *named = (Source){name, source->text, source->length};
  load(l, named, &(Loading){named, use->where, chain}, depth + 1);
}

static void load(Loader *l, const Source *source, const Loading *chain, unsigned depth) {
  File *file = frontend_parse(l->arena, l->diag, source);
  l->set->files = arena_grow(l->arena, l->set->files, &l->set->capacity, (size_t)l->set->n + 1, sizeof *l->set->files);
  l->set->files[l->set->n++] = file;
  for (unsigned i = 0; i < file->n_uses; i++) load_use(l, source, &file->uses[i], chain, depth);
}

FileSet *frontend_load(Arena *a, Diag *diag, const Source *source, const FrontendOptions *options) {
  unsigned before = diag_errors(diag);
  Loader l = {a, diag, options, arena_alloc(a, sizeof(FileSet))};
  Source *named = arena_alloc(a, sizeof *named);
  *named = *source;
  if (source->name) named->name = resolve(a, "", source->name);
  load(&l, named, &(Loading){named, {NULL, 0, 0}, NULL}, 0);
  return diag_errors(diag) == before ? l.set : NULL;
}
