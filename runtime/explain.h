/* explain.h: what a rule's kernels do, for people and for programs. For this room only. */
#ifndef OPTC_RUNTIME_EXPLAIN_H
#define OPTC_RUNTIME_EXPLAIN_H
#include "ir/kernel.h"

void explain_text(const Module *, Program *const *programs, unsigned n_programs, Text *);
void explain_json(const Module *, Program *const *programs, unsigned n_programs, Text *);
/* explain_sizes.c: "B x H x N x M", how often the loops of a nest turn; temporaries, and what they add up to. */
void explain_nest(const Module *, const Inst *loop, Text *);
void explain_temps(const Program *, Text *);
#endif
