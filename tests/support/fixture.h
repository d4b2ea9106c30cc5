/* fixture.h: small things that several suites need. Inline, because suites of lower rooms lack what the upper ones link. */
#ifndef OPTC_TESTS_FIXTURE_H
#define OPTC_TESTS_FIXTURE_H
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ir/diag.h"

static inline void fixture_show(const Diag *d, Arena *a) {
  Text out = {.arena = a};
  diag_render_text(d, &out, false);
  if (out.data) printf("\n%s\n", out.data);
}

/* A file as a source in the arena, with a zero byte behind it; NULL and *why. A FrontendReader. */
static inline const Source *fixture_read(void *self, Arena *a, const char *path, const char **why) {
  Text text = {.arena = a};
  char piece[4096];
  FILE *f = fopen(path, "rb");
  if (!f) { *why = strerror(errno); return NULL; }
  for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;) text_append(&text, piece, n);
  fclose(f);
  Source *s = arena_alloc(a, sizeof *s);
  *s = (Source){arena_strndup(a, path, strlen(path)), text.data ? text.data : "", text.length};
  return s;
}

/* A FrontendReader of texts that use no other. */
static inline const Source *fixture_no_files(void *self, Arena *a, const char *path, const char **why) { *why = "no files here"; return NULL; }

/* For qsort, on char *. */
static inline int fixture_by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The paths of a folder's rule files, at most `most`, in order of their names: how many; 0: no such folder. */
static inline unsigned fixture_rules(Arena *a, const char *folder, const char **paths, unsigned most) {
  DIR *dir = opendir(folder);
  unsigned n = 0;
  if (!dir) return 0;
  for (struct dirent *e; (e = readdir(dir)) && n < most;)
    if (strstr(e->d_name, ".opt")) paths[n++] = arena_printf(a, "%s/%s", folder, e->d_name);
  closedir(dir);
  qsort(paths, n, sizeof *paths, fixture_by_name);
  return n;
}

#ifdef OPTC_FRONTEND_H
/* A rule file and those it uses; NULL after an error. */
static inline const FileSet *fixture_files(Arena *a, const char *path) {
  const char *why;
  const Source *source = fixture_read(NULL, a, path, &why);
  return source ? frontend_load(a, diag_new(a, 1), source, &(FrontendOptions){.read = fixture_read}) : NULL;
}
#endif

/* x86-64-v2, v3, v4. */
static inline bool fixture_machine_has(int level) {
#if defined(__x86_64__)
  return level < 2 ? level < 1 || __builtin_cpu_supports("x86-64-v3") : __builtin_cpu_supports("x86-64-v4");
#else
  return false;
#endif
}

#ifdef OPTC_H
static inline optc_context *fixture_context(void) { return optc_context_new(&(optc_context_options){.size = sizeof(optc_context_options), .cache_dir = ""}); }
#endif
#endif
