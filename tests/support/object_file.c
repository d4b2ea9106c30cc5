/* object_file.c: see object_file.h. */
#include "tests/support/object_file.h"
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static void remove_folder(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (system(command)) fprintf(stderr, "%s is left behind\n", folder);
}

const char *scratch_folder(void) {
  if (!folder[0]) {
    strcpy(folder, "/tmp/optc-test-XXXXXX");
    if (!mkdtemp(folder)) abort();
    atexit(remove_folder);
  }
  return folder;
}

const char *scratch_path(const char *name) {
  static _Thread_local char ring[16][256];
  static _Thread_local unsigned next;
  char *path = ring[next++%16];
  snprintf(path, sizeof ring[0], "%s/%s", scratch_folder(), name);
  return path;
}

bool scratch_write(const char *name, const void *bytes, size_t size) {
  FILE *f = fopen(scratch_path(name), "wb");
  if (!f) return false;
  bool good = fwrite(bytes, 1, size, f) == size;
  return fclose(f) == 0 && good;
}

void *scratch_read(const char *name, size_t *size) {
  FILE *f = fopen(scratch_path(name), "rb");
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  *size = (size_t)ftell(f);
  rewind(f);
  char *bytes = calloc(1, *size + 1);
  if (fread(bytes, 1, *size, f) != *size) { free(bytes); bytes = NULL; }
  fclose(f);
  return bytes;
}

int scratch_run(const char *format, ...) {
  char command[2048], all[2304];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  snprintf(all, sizeof all, "cd %s && (%s) > log 2>&1", scratch_folder(), command);
  return system(all);
}

bool command_exists(const char *name) { return scratch_run("command -v %s", name) == 0; }

void *object_load(const void *bytes, size_t size, const char *name) {
  char file[128];
  snprintf(file, sizeof file, "%s.o", name);
  if (!scratch_write(file, bytes, size) || scratch_run("cc -shared -o %s.so %s.o", name, name)) return NULL;
  snprintf(file, sizeof file, "%s.so", name);
  return dlopen(scratch_path(file), RTLD_NOW | RTLD_LOCAL);
}
