/* command_assembler.c: asks an assembler of PTX, where there is one, how many registers kernels take. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "runtime/command.h"

static void run(const char *ptx, const char *gpu, int out) {
  const char *program = getenv("OPTC_PTXAS") ? getenv("OPTC_PTXAS") : "ptxas";
  char arch[64];
  snprintf(arch, sizeof arch, "-arch=%s", gpu);
  if (dup2(out, 1) >= 0 && dup2(out, 2) >= 0) execlp(program, "ptxas", "-v", arch, ptx, "-o", "/dev/null", (char *)NULL);
  _exit(127);
}

/* All that comes, with a zero byte behind it. */
static char *read_all(int from) {
  size_t size = 0, capacity = 0;
  char *text = NULL;
  for (ssize_t n = 1; n > 0; size += (size_t)n) {
    if (capacity - size < 4096) {
      char *more = realloc(text, capacity = 2*capacity + 8192);
      if (!more) break;
      text = more;
    }
    n = read(from, text + size, capacity - size - 1);
    if (n < 0) n = 0;
  }
  if (text) text[size] = 0;
  return text;
}

static char *assemble_file(const char *ptx, const char *gpu) {
  int pipes[2], status = -1;
  if (pipe2(pipes, O_CLOEXEC)) return NULL;
  pid_t child = fork();
  if (!child) run(ptx, gpu, pipes[1]);
  close(pipes[1]);
  char *log = child > 0 ? read_all(pipes[0]) : NULL;
  close(pipes[0]);
  if (child > 0 && waitpid(child, &status, 0) == child && status == 0) return log;
  free(log);
  return NULL;
}

char *command_assemble(const char *ptx, size_t size, const char *gpu) {
  char path[64];
  int file = memfd_create("kernels.ptx", 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  char *log = file >= 0 && write(file, ptx, size) == (ssize_t)size ? assemble_file(path, gpu) : NULL;
  if (file >= 0) close(file);
  return log;
}
