/* ptx.h: executes PTX text without a GPU, to the bit, and finds what a device would leave undefined.
 *
 * A module is loaded from text; every opcode, modifier and directive that the tables (ops.def, control.def) do not have is an error with its line. A
 * launch runs warps of 32 lanes in lock-step over memory that was mapped for it and reports findings: accesses out of bounds, misaligned or
 * racing, reads of what nobody wrote, divergent barriers, shuffles from lanes that do not take part.
 *
 * Semantics: PTX ISA 8.5, sections named at each operation. Memory is sequentially consistent, blocks run one after the other: weak memory
 * outcomes and blocks that wait for each other are not modelled (the second ends at the step limit). Whether a value is defined is known of
 * registers, not of their bits: a wide copy of memory with undefined padding is undefined as a whole.
 *
 * Thread safety: a loaded module is never written to; memory and reports belong to one thread at a time. Everything lives in the arena given. */
#ifndef OPTC_BACKENDS_PTX_PTX_H
#define OPTC_BACKENDS_PTX_PTX_H
#include "ir/diag.h"

/* Strict refuses what has no single result on all devices or is not IEEE: float arithmetic without a rounding (an assembler may fuse it), .ftz, .sat,
 * atomic additions of floats, tensor cores. Relaxed executes them. */
typedef enum PtxMode { PTX_STRICT, PTX_RELAXED } PtxMode;

typedef struct PtxModule PtxModule;
typedef struct PtxKernel PtxKernel;
typedef struct PtxMemory PtxMemory;

/* NULL after an error in the diag. Source and text must live as long as the module. */
PtxModule *ptx_load(Arena *, Diag *, const Source *, PtxMode);
unsigned ptx_kernels(const PtxModule *);
const PtxKernel *ptx_kernel(const PtxModule *, unsigned index);
const PtxKernel *ptx_find(const PtxModule *, const char *name);          /* NULL: there is none */

typedef struct PtxKernelInfo {
  const char *name;
  unsigned n_params;
  size_t param_bytes;                    /* of the block of parameters, each aligned to itself as in a C struct */
  const size_t *param_offset, *param_size;
  size_t shared_bytes, local_bytes;      /* declared in the text; local: a thread */
  unsigned instructions, registers;      /* after calls are inlined */
  unsigned block_limit;                  /* .maxntid or .reqntid, as a product; 0: none */
} PtxKernelInfo;
const PtxKernelInfo *ptx_kernel_info(const PtxKernel *);

/* What the text does to memory, without executing it. Widths: of 1, 2, 4, 8, 16 bytes. */
enum { PTX_WIDTHS = 5 };
typedef struct PtxTraffic {
  unsigned line;                         /* where the loop begins; 0: outside loops */
  uint32_t first, last;                  /* instructions */
  unsigned loads[PTX_WIDTHS], stores[PTX_WIDTHS];              /* that stand in this loop and in none inside it */
} PtxTraffic;
typedef struct PtxSurvey {
  PtxTraffic outside, *loop; unsigned n_loops;
  unsigned barriers, shuffles, products; /* instructions; products: of matrices */
} PtxSurvey;
/* Of global memory those accesses whose address was found by at least so many loads, one after the other, from the parameters on. */
void ptx_survey(const PtxKernel *, Arena *, unsigned hops, PtxSurvey *);

enum { PTX_READ = 1, PTX_WRITE = 2, PTX_UNDEFINED = 4 };                 /* PTX_UNDEFINED: nothing has been written there yet */

/* What global memory a launch sees. Each piece gets a device address of its own, far from all others but congruent to `data` modulo 256, so that an
 * access beside it is always found and alignment is that of the caller's memory. */
PtxMemory *ptx_memory_new(Arena *);
uint64_t ptx_map(PtxMemory *, void *data, size_t size, unsigned access, const char *name);
void ptx_unmap(PtxMemory *, uint64_t address);                            /* of a piece, which has no bytes from now on */

typedef enum PtxFindingKind {
  PTX_OUT_OF_BOUNDS, PTX_MISALIGNED, PTX_READ_ONLY, PTX_UNDEFINED_VALUE, PTX_SHARED_RACE, PTX_GLOBAL_RACE, PTX_DIVERGENT_BARRIER,
  PTX_UNDEFINED_LANE, PTX_DEADLOCK, PTX_STEP_LIMIT, PTX_TRAP, PTX_BAD_LAUNCH
} PtxFindingKind;

typedef struct PtxFinding {
  PtxFindingKind kind;
  unsigned line;                         /* of the instruction, from 1; 0: none */
  uint64_t count;                        /* times, at this line; the rest tells of the first */
  uint32_t block[3], thread[3];
  uint64_t address;
  const char *text;
} PtxFinding;

typedef struct PtxReport {
  PtxFinding *findings; unsigned n; size_t capacity;                     /* one a kind and line */
  uint64_t steps;                        /* warp instructions executed */
  Arena *arena;
} PtxReport;
void ptx_report_print(const PtxReport *, Text *);

/* Which tensor cores: how many products are added at once and with how many bits (reference: FTTN 2024, MMA-Sim 2025). */
typedef enum PtxTensor { PTX_AMPERE, PTX_VOLTA, PTX_TURING, PTX_HOPPER } PtxTensor;

typedef struct PtxLaunch {
  const PtxKernel *kernel;
  uint32_t grid[3], block[3];
  size_t shared_bytes;                   /* beside what the text declares: its extern array */
  const void *params;                    /* param_bytes of them */
  uint64_t seed;                         /* order of blocks and warps, and how long a warp runs at a time; 0: in order, until it must wait */
  uint64_t nan_seed;                     /* not 0: every NaN that an operation makes has random bits */
  uint64_t step_limit;                   /* 0: 2^40 */
  bool global_races;                     /* look for races in global memory too */
  PtxTensor tensor;
} PtxLaunch;

/* true: the kernel ran to its end and nothing was found. The report is for this launch alone; report->arena must be set. */
bool ptx_launch(const PtxModule *, PtxMemory *, const PtxLaunch *, PtxReport *);
#endif
