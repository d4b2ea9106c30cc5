/* interp.h: descriptors whose kernels are interpreted: the oracles, called exactly as compiled rules are. For this room only. */
#ifndef OPTC_RUNTIME_INTERP_H
#define OPTC_RUNTIME_INTERP_H
#include "ir/graph.h"
#include "ir/kernel.h"
#include "runtime/rule.h"

struct PtxModule;

/* Everything lives in the module's arena. `programs` NULL: the module's graphs are interpreted, after the expansion of functions. */
const optc_rule_desc *interp_describe(optc_rule *, const Module *, Program *const *programs);
/* The kernels as PTX, in the order of programs and kernels, executed without a GPU; NULL: they are not those of the programs. */
const optc_rule_desc *interp_describe_ptx(optc_rule *, const Module *, Program *const *programs, const struct PtxModule *, const char *gpu);
/* From now on such a rule runs the kernels of another text, in the same order: for who changes text and looks what comes of it. false: they are not as many. */
bool interp_replace_ptx(const optc_rule *, const struct PtxModule *);
bool interp_ptx_fuses(const optc_rule *, int64_t entry, int64_t kernel);             /* whether the kernel form of a kernel has multiply-adds */
#endif
