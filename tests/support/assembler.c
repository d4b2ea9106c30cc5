/* assembler.c: see assembler.h. */
#define _GNU_SOURCE
#include "tests/support/assembler.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/support/object_file.h"

/* --- which one ------------------------------------------------------------------------------------------------------------------------------ */
static const char wheel[] = "nvidia-cuda-nvcc-cu12==12.9.86";              /* the newest that still knows sm_70 */

static bool knows(const char *command, const char *gpu) { return scratch_run("'%s' --help | grep -q \"'%s'\"", command, gpu) == 0; }

/* Once a build folder. "": it is not there. */
static const char *fetched(void) {
  static char path[512];
  char folder[256], *here = realpath(getenv("OPTC_BUILD") ? getenv("OPTC_BUILD") : "build", NULL);
  snprintf(folder, sizeof folder, "%s/ptxas", here ? here : ".");
  snprintf(path, sizeof path, "%s/nvidia/cuda_nvcc/bin/ptxas", folder);
  free(here);
  if (!access(path, X_OK)) return path;
  if (!getenv("OPTC_FETCH_PTXAS")) return "";
  if (!scratch_run("mkdir -p '%s' && cd '%s' && python3 -m pip download -q --no-deps -d . %s && python3 -m zipfile -e nvidia_cuda_nvcc_cu12-*.whl . && chmod +x '%s' && rm -f *.whl",
                   folder, folder, wheel, path)) return path;
  printf("\nskipped: %s could not be fetched\n", wheel);
  return "";
}

const char *assembler_for(const char *gpu) {
  const char *ways[] = {getenv("OPTC_PTXAS") ? getenv("OPTC_PTXAS") : "ptxas", fetched()};
  bool any = false;
  for (int k = 0; k < 2; k++)
    if (ways[k][0] && command_exists(ways[k])) {
      any = true;
      if (knows(ways[k], gpu)) return ways[k];
    }
  printf("\nskipped: assembling for %s, %s (OPTC_FETCH_PTXAS=1 fetches one)\n", gpu, any ? "this ptxas does not know it" : "there is no ptxas");
  return NULL;
}

/* --- many at once ---------------------------------------------------------------------------------------------------------------------------- */
enum { MOST = 64 };
static Assembly *running[MOST];
static int n_running;

static void reap(void) {
  int status;
  pid_t ended = waitpid(-1, &status, 0);
  for (int k = 0; k < n_running; k++)
    if (ended < 0 || running[k]->running == ended) {
      running[k]->good = ended >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
      running[k] = running[--n_running];
      return;
    }
}

static void assemble(const Assembly *a) {
  char ptx[128], cubin[128], log[128], arch[32], effort[8];
  snprintf(ptx, sizeof ptx, "%s.ptx", a->name);
  snprintf(cubin, sizeof cubin, "%s.cubin", a->name);
  snprintf(log, sizeof log, "%s.log", a->name);
  snprintf(arch, sizeof arch, "-arch=%s", a->gpu);
  snprintf(effort, sizeof effort, "-O%d", a->effort);
  int out = open(scratch_path(log), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir(scratch_folder())) _exit(127);
  execlp(a->command, "ptxas", "-v", effort, arch, ptx, "-o", cubin, (char *)NULL);
  _exit(127);
}

bool assembly_start(Assembly *a) {
  long most = sysconf(_SC_NPROCESSORS_ONLN);
  while (n_running >= (most < 1 ? 1 : most > MOST ? MOST : most)) reap();
  a->good = false;
  a->running = fork();
  if (a->running == 0) assemble(a);
  if (a->running < 0) return false;
  running[n_running++] = a;
  return true;
}

void assembly_join(void) {
  while (n_running) reap();
}
