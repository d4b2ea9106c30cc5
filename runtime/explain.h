/* explain.h: what a rule's kernels do, for people and for programs. For this room only. */
#ifndef OPTC_RUNTIME_EXPLAIN_H
#define OPTC_RUNTIME_EXPLAIN_H
#include "ir/kernel.h"

void explain_text(const Module *, Program *const *programs, unsigned n_programs, Text *);
void explain_json(const Module *, Program *const *programs, unsigned n_programs, Text *);
#endif
