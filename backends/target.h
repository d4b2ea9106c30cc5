/* target.h: the machines the back end knows. Private to backends/. */
#ifndef OPTC_BACKENDS_TARGET_H
#define OPTC_BACKENDS_TARGET_H
#include "backends/backend.h"

typedef enum Arch { ARCH_X86_64, ARCH_AARCH64, ARCH_NVPTX } Arch;

enum { GPU_TILE_ROWS = 48, GPU_TILE_COLUMNS = 64 };                      /* of a block: emit_tile_gpu.c */

typedef struct Machine {                 /* one code variant */
  Arch arch;
  const char *triple, *cpu, *features;   /* as LLVM wants them; features may be "" */
  const char *label;                     /* the cpu's name as it was given, for names of functions */
  int isa;                               /* OPTC_ISA_* that dispatch asks for */
  bool fma;                              /* f32 multiply-add is an instruction */
  unsigned mask_bits;                    /* smallest element that masked loads and stores take; 0: there are none */
  bool wide;                             /* 512-bit vectors */
  bool dots;                             /* products of pairs of bf16 are added to f32 by an instruction, 512 bits wide */
  unsigned ahead;                        /* elements, of all tensors together, that a loop asks memory for before it loads them; 0: not measured, left to the hardware */
  bool fragments;                        /* GPU: tensor cores multiply bf16, f16 and tf32 (mma.sync) */
  unsigned lanes, tile_rows, tile_columns;             /* f32 in a register; a tile of a product in registers: what is best by measurement */
} Machine;

/* One machine a cpu of the target, in the arena; NULL after an error in the diag. */
const Machine *target_machines(Arena *, const Target *, Diag *, unsigned *n);
#endif
