/* assembler.h: PTX to machine code in tests, where an assembler can be had: $OPTC_PTXAS, else ptxas on PATH, else the one in NVIDIA's wheel on PyPI, which
 * OPTC_FETCH_PTXAS=1 in the environment allows to be fetched (its licence is NVIDIA's: it lies below the build folder and is no part of this project). */
#ifndef OPTC_TESTS_ASSEMBLER_H
#define OPTC_TESTS_ASSEMBLER_H
#include <stdbool.h>
#include <sys/types.h>

/* The command for a GPU ("sm_80"); NULL, said as skipped, where there is none. */
const char *assembler_for(const char *gpu);

/* NAME.ptx of the scratch folder becomes NAME.cubin; NAME.log has what was said. One a processor runs at a time. */
typedef struct Assembly {
  char name[96];
  const char *command, *gpu;             /* as assembler_for found it */
  int effort;                            /* -O0 to -O3 of the assembler */
  bool good;                             /* after the join */
  pid_t running;
} Assembly;
/* May wait for others; false: it could not be started. They stay where they are until the join. */
bool assembly_start(Assembly *);
void assembly_join(void);
#endif
