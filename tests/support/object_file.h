/* object_file.h: for tests that write objects: a scratch folder, files, commands, and objects linked into this process. */
#ifndef OPTC_TESTS_OBJECT_FILE_H
#define OPTC_TESTS_OBJECT_FILE_H
#include <stdbool.h>
#include <stddef.h>

/* A folder of this process, removed at exit. Threads may ask for paths and files in it once it is there; commands are for one at a time. */
const char *scratch_folder(void);
const char *scratch_path(const char *name);              /* a ring of 16 texts a thread */
bool scratch_write(const char *name, const void *bytes, size_t size);
void *scratch_read(const char *name, size_t *size);      /* malloc'ed, one byte longer, NULL if there is none */
/* Runs a shell command in that folder; what it prints goes to `log` there. 0 if it succeeded. */
int scratch_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool command_exists(const char *name);
/* Links an object into a shared one and loads it: dlopen's handle, NULL on failure. */
void *object_load(const void *bytes, size_t size, const char *name);
#endif
