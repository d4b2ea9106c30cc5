/* command_output.c: files that appear whole or not at all, and standard input. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "runtime/command.h"

static bool failed(const OutFile *f) {
  int error = errno;
  command_error(0, "cannot write '%s': %s", f->path, strerror(error));
  return false;
}

static bool write_all(int file, const void *data, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t n = write(file, (const char *)data + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    done += (size_t)n;
  }
  return true;
}

/* Devices, pipes and standard output: there is nothing to rename. */
static bool write_direct(const OutFile *f) {
  bool standard = !strcmp(f->path, "-");
  int file = standard ? STDOUT_FILENO : open(f->path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return failed(f);
  bool done = write_all(file, f->data, f->size);
  if (!done) failed(f);
  if (!standard && close(file) && done) done = failed(f);
  return done;
}

/* The temporary file stands beside the target, so that renaming cannot cross a file system; a link is followed to what it names. */
static bool stage(OutFile *f) {
  struct stat st;
  bool exists = !stat(f->path, &st);
  f->direct = !strcmp(f->path, "-") || (exists && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode));
  if (f->direct) return true;
  if (exists && S_ISDIR(st.st_mode)) { errno = EISDIR; return failed(f); }
  if (exists && access(f->path, W_OK)) return failed(f);
  f->target = exists ? realpath(f->path, NULL) : strdup(f->path);
  if (!f->target || asprintf(&f->temporary, "%s.%ld.tmp", f->target, (long)getpid()) < 0) {
    f->temporary = NULL;
    errno = ENOMEM;
    return failed(f);
  }
  int file = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, exists ? st.st_mode & 0777 : 0666);
  if (file < 0) {
    failed(f);
    free(f->temporary);
    f->temporary = NULL;
    return false;
  }
  bool done = write_all(file, f->data, f->size) && !fsync(file);
  if (!done) failed(f);
  if (close(file) && done) done = failed(f);
  return done;
}

bool outfile_write(OutFile *files, int n) {
  bool done = true;
  for (int i = 0; i < n && done; i++) done = stage(&files[i]);
  for (int i = 0; i < n && done; i++)
    if (files[i].direct) done = write_direct(&files[i]);
  for (int i = 0; i < n && done; i++) {
    if (!files[i].temporary) continue;
    if (rename(files[i].temporary, files[i].target)) { done = failed(&files[i]); break; }
    free(files[i].temporary);
    files[i].temporary = NULL;
  }
  for (int i = 0; i < n; i++) {
    if (files[i].temporary) unlink(files[i].temporary);
    free(files[i].temporary);
    free(files[i].target);
    files[i].temporary = files[i].target = NULL;
  }
  return done;
}

char *command_stdin(size_t *length) {
  size_t capacity = 1 << 16, n = 0;
  char *data = malloc(capacity);
  for (;;) {
    if (data && n == capacity) {
      char *grown = capacity < (size_t)1 << 26 ? realloc(data, capacity *= 2) : NULL;
      if (!grown) free(data);
      data = grown;
    }
    if (!data) { command_error(0, "standard input is too large"); return NULL; }
    ssize_t got = read(STDIN_FILENO, data + n, capacity - n);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      command_error(0, "cannot read standard input: %s", strerror(errno));
      free(data);
      return NULL;
    }
    if (!got) break;
    n += (size_t)got;
  }
  *length = n;
  return data;
}
