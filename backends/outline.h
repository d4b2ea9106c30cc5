/* outline.h: a kernel as a function of its temporaries and of the numbers that it computes first. Private to backends/. */
#ifndef OPTC_BACKENDS_OUTLINE_H
#define OPTC_BACKENDS_OUTLINE_H
#include "ir/kernel.h"

typedef struct Outline {
  const Program *program;
  const Kernel *kernel;
  Block *head, *known, *rest;            /* known: instructions of the head that stand in the rest too */
  Inst **number; unsigned n_numbers;     /* of the head: arguments */
  unsigned *buffer, n_buffers;           /* temporaries, local ones too: those have no argument */
  unsigned *place, *order;               /* by id: argument or ordinal; by temporary: 1 + which of `buffer` */
} Outline;

Outline *outline_kernel(Arena *, const Program *, const Kernel *);
bool outline_same(const Outline *, const Outline *);                     /* one function does for both */
#endif
