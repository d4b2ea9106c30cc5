/* backend.h: from programs to machine code through the LLVM C API. LLVM's types stay behind this door. */
#ifndef OPTC_BACKENDS_BACKEND_H
#define OPTC_BACKENDS_BACKEND_H
#include "ir/frame.h"
#include "ir/kernel.h"

typedef enum Emit { EMIT_OBJECT, EMIT_ASSEMBLY, EMIT_LLVM_IR, EMIT_BITCODE, EMIT_PTX } Emit;

typedef struct Target {
  const char *triple;                    /* NULL: this machine */
  const char *const *cpus; unsigned n_cpus;            /* one code variant each, lowest first; "native" or none: this machine's */
  const char *features;                  /* LLVM feature string, or NULL */
  int level;                             /* code generation: 0 at -O0, else 2 */
  bool with_driver;                      /* AOT: the driver, R_<entry> functions and descriptor; JIT: kernels and descriptor only */
  bool debug;
  bool unchecked;                        /* not through LLVM's verifier, a twentieth of the time at -O0: for a process that compiles as it runs */
  const optc_gpu_desc *gpu;              /* PTX of the same rule, which the object shall carry; or NULL */
  Program *const *gpu_programs;          /* what the PTX was made of, as many; NULL: the object's own programs */
} Target;

/* Names a target triple/cpu may have; reports into the diag and returns false for unknown ones (LLVM would only print). */
bool backend_check_target(Arena *, const Target *, Diag *);
const char *backend_host_cpu(Arena *);
const char *backend_host_triple(Arena *);
void backend_print_targets(Text *);
void backend_start_host(void);           /* makes this machine known to LLVM, for whoever links its code without generating any */

typedef struct Output { const uint8_t *data; size_t size; } Output;      /* in the arena */

/* Names that the C interface takes itself, and its limits; reports into the diag and returns false. backend_emit asks the same. */
bool backend_check_programs(Program *const *programs, unsigned n, Diag *);

/* All entries of a rule in one module: kernels for each variant, the descriptor `<rule>_rule`, and, with the driver, the C interface.
 * false after an error (in the diag). */
bool backend_emit(Arena *, Diag *, const Module *, Program *const *programs, unsigned n_programs, const Target *, Emit, Output *);

/* The names of kernels in PTX, in order of programs and kernels; the same for every GPU. */
const char *const *backend_kernel_names(Arena *, const Module *, Program *const *programs, unsigned n_programs);

/* The C header of a rule: types, entries, defaults, error codes, the meaning of every field. gpus: for which the object carries PTX, or NULL. */
void backend_header(const Module *, Program *const *programs, unsigned n_programs, const char *gpus, Text *);
/* Identifies the interface: the header refers to symbol <rule>_abi_<hash>. */
uint64_t backend_abi_hash(const Module *);
#endif
