/* kernel_edit.h: what kernel passes share: questions about instructions, and the two clean-ups that run after every edit. */
#ifndef OPTC_PASSES_KERNEL_EDIT_H
#define OPTC_PASSES_KERNEL_EDIT_H
#include "ir/kernel.h"

/* No effect, touches no memory, and has the same value wherever its arguments have: may be moved, merged and dropped. A loop is pure if its body is. */
bool inst_is_pure(const Inst *);
/* Whether a loop carries nothing, holds no conditions, and touches memory only at places that move with it, of a buffer that it writes at one:
 * its iterations meet in folds at most. */
bool loop_is_data_parallel(const Inst *);
/* The same, and memory is touched at the index itself: element i is iteration i's business alone, so the loop may be merged with others. */
bool loop_is_elementwise(const Inst *);
/* The same without folds: the loop may be cut as well. */
bool loop_is_pointwise(const Inst *);
/* Over all elements of the launch: begin to end. */
bool loop_covers_launch(const Inst *);
bool block_has(const Block *, KOp);                          /* at any depth */
bool block_uses(const Block *, const Inst *);                /* as an argument, at any depth */

/* Equal instructions become one, constants and known conditions fold, guards that are constant go, `if` of a constant is inlined. Numbers the kernel. */
void kernel_simplify(Program *, Kernel *);
/* Instructions without use and without effect go, in all kernels; so do stores to temporaries that nothing loads, slots that
 * nothing reads, and kernels without effect. Temporaries and slots are renumbered. Numbers the kernels. */
void program_sweep(Program *);
#endif
