/* describe.h: the values of ir/desc.def for a module and its programs, as an object holds them and as interpreters hand them to the driver. */
#ifndef OPTC_IR_DESCRIBE_H
#define OPTC_IR_DESCRIBE_H
#include "ir/graph.h"
#include "ir/kernel.h"

/* The rule around its entries; it has no variants yet. */
optc_rule_desc *describe_rule(const Module *, const optc_entry_desc *entries, unsigned n_entries, Arena *);
/* An entry. Its kernels are returned: what runs them (`fn`, `self`) is the caller's to fill in. */
optc_kernel_desc *describe_program(const Program *, optc_entry_desc *, Arena *);
/* What a program does with each operand, as optc_entry_desc.uses says it. */
int64_t describe_phases(const Program *, Arena *);                       /* optc_entry_desc.n_phases */
const int64_t *describe_uses(const Program *, Arena *);
#endif
