/* machine.h: the decoded form and the state of a launch. Private to backends/ptx/.
 *
 * A register is a row: 32 lanes of 64 bits, of which narrower types use the first half densely (32 lanes of 32 bits; 16-bit values stand
 * zero-extended). A predicate is a mask in its row's first word. Immediates are rows too, in a second file that all warps share, so that every
 * operand is one pointer. Beside each row stands a mask of the lanes that nobody defined. */
#ifndef OPTC_BACKENDS_PTX_MACHINE_H
#define OPTC_BACKENDS_PTX_MACHINE_H
#include "backends/ptx/syntax.h"

enum { PTX_LANES = 32, PTX_ROW = 8*PTX_LANES, PTX_MAX_WARPS = 32, PTX_BARRIERS = 16 };
#define PTX_ALL 0xffffffffu

typedef uint32_t PtxRef;                 /* a row; with PTX_FIXED_ROW: of the immediates */
#define PTX_FIXED_ROW 0x80000000u
enum { PTX_ZERO_ROW = (int)PTX_FIXED_ROW };                                /* immediate 0: what operands that are not there refer to */

typedef struct PtxWarp PtxWarp;
typedef struct PtxInst PtxInst;
struct PtxDecoder;
typedef void (*PtxRun)(PtxWarp *, const PtxInst *, uint32_t on);

/* A row of the table of opcodes. Operands are checked against the signature, a letter each, the result first ('-': there is none):
 *   p predicate, h 16 bits, r 32 bits, f f32, l 64 bits, d f64: a register, or an immediate of that type.
 * "-" alone: the decoder looks at the operands itself. A spelling that ends with a dot stands for all with modifiers behind it: the decoder reads those. */
typedef struct PtxOp {
  const char *names;                     /* every spelling, separated by blanks */
  const char *signature;
  uint8_t only;                          /* PtxOnly */
  uint8_t meet;                          /* PtxMeet */
  PtxRun run;
  bool (*decode)(struct PtxDecoder *, PtxInst *, const PtxStatement *);      /* after the signature; NULL: nothing is left to do */
} PtxOp;

/* Why strict kernels may not have it. */
typedef enum PtxOnly { PTX_EVERYWHERE, PTX_UNROUNDED, PTX_FLUSHING, PTX_APPROXIMATE } PtxOnly;

/* What lanes do where they meet: PTX_MEET_MASK have a membermask; PTX_MEET_WARP need all of the warp; PTX_MEET_BLOCK then wait for other warps. */
typedef enum PtxMeet { PTX_MEET_NOT, PTX_MEET_MASK, PTX_MEET_WARP, PTX_MEET_BLOCK } PtxMeet;

/* An access: registers of `bits` bits hold `count` elements of `bytes`. */
typedef struct PtxAccess {
  uint8_t space, bytes, count, bits[4];
  bool is_signed, is_float;
  bool constant, strong;                 /* .nc; volatile, or ordered: meant to be shared with others */
  bool transposed;                       /* ldmatrix */
  int64_t source;                        /* cp.async: offset of the source's address */
  uint8_t op;                            /* of atomics */
  PtxRef value[4];
} PtxAccess;

typedef struct PtxTargets { int32_t *at; uint32_t n; } PtxTargets;

/* A product of matrices: registers of D, A, B, C. */
typedef struct PtxProduct { uint8_t k, format; uint8_t n_a, n_b; PtxRef d[4], a[4], b[2], c[4]; } PtxProduct;

struct PtxInst {
  PtxRun run;
  PtxRef d, a, b, c, e;                  /* e: a second result, or a fourth operand */
  PtxRef members;                        /* membermask */
  PtxRef guard;                          /* where `guarded` */
  bool guarded, unless;
  uint8_t meet, mode;                    /* mode: what the operation's variants differ in */
  bool negated;                          /* operand a, or c of a comparison, is a predicate that counts the other way */
  int32_t target;                        /* branch */
  int64_t imm;                           /* offset of an address, number of a barrier */
  const void *more;                      /* PtxAccess, PtxTargets, PtxProduct */
  uint32_t line;
  const char *name;                      /* as it is written, for reports */
};

/* Special registers that a kernel reads, and the row that each fills. */
typedef enum PtxSpecial {
  PTX_TID_X, PTX_TID_Y, PTX_TID_Z, PTX_NTID_X, PTX_NTID_Y, PTX_NTID_Z, PTX_CTAID_X, PTX_CTAID_Y, PTX_CTAID_Z, PTX_NCTAID_X, PTX_NCTAID_Y, PTX_NCTAID_Z,
  PTX_LANEID, PTX_WARPID, PTX_LANEMASK_EQ, PTX_LANEMASK_LE, PTX_LANEMASK_LT, PTX_LANEMASK_GE, PTX_LANEMASK_GT, PTX_SPECIALS
} PtxSpecial;

/* Memory that the text declares outside of functions. */
typedef struct PtxStatic { const char *name; PtxSpace space; uint64_t offset, size; const uint8_t *image; } PtxStatic;

struct PtxKernel {
  PtxKernelInfo info;
  PtxInst *code;
  uint32_t n_code, n_rows;
  const char *fixed; uint32_t n_fixed;   /* the immediates' rows */
  PtxRef special[PTX_SPECIALS];          /* 0: not read; row 0 is nobody's register */
  bool extern_shared;
};

struct PtxModule {
  Arena *arena;
  PtxMode mode;
  PtxKernel **kernels; unsigned n_kernels;
  PtxStatic *statics; unsigned n_statics;
  uint64_t const_size, global_size;
};

/* --- memory (memory.c) ------------------------------------------------------------------------------------------------------------------ */

/* A generic address: global memory is where ptx_map says, the other spaces have windows. */
#define PTX_WINDOW(space) ((uint64_t)(0x70 + (space)) << 56)
enum { PTX_SLOT_BITS = 40 };             /* of a mapped piece */

/* Who touched four bytes last. Threads are counted over the grid, from 1. */
typedef struct PtxTouch { uint32_t thread, clock : 26, bytes : 4, atomic : 1, constant : 1; } PtxTouch;        /* constant: read by ld.global.nc */
typedef struct PtxCell { PtxTouch write, read, other_read; } PtxCell;      /* small: there is one for every four bytes */

enum { PTX_PAGE_BITS = 8, PTX_PAGE = 1 << PTX_PAGE_BITS };              /* cells */

typedef struct PtxPiece {
  uint64_t address;
  uint8_t *data; uint64_t size;
  unsigned access;
  const char *name;
  uint8_t *defined;                      /* one a byte, or NULL: all */
  PtxCell **cells;                       /* one for 4 bytes, in pages that are made when they are touched; or NULL: races are not looked for */
} PtxPiece;

struct PtxMemory { Arena *arena; PtxPiece *pieces; size_t n, capacity; };

/* A place where global atomics order blocks: those that came by before. */
typedef struct PtxMeeting { uint64_t place; uint8_t *blocks; struct PtxMeeting *next; } PtxMeeting;

/* --- execution ------------------------------------------------------------------------------------------------------------------------------ */
/* Threads that have come, how many it is for (0: all of the block), and what they know together. */
typedef struct PtxBarrier { uint32_t arrived, expected, clock[PTX_MAX_WARPS]; } PtxBarrier;

typedef struct PtxGrid {                 /* one launch */
  Arena *arena;
  const PtxModule *module;
  const PtxKernel *kernel;
  const PtxLaunch *launch;
  PtxMemory *memory;
  PtxReport *report;
  uint64_t random, nan;                  /* states of the two generators */
  uint64_t steps, step_limit;
  uint32_t block[3], block_number, n_threads, n_warps, n_blocks;
  PtxPiece shared, params, constants, globals, local;                       /* local: `size` is a thread's, thread by thread */
  PtxMeeting *meetings;
  uint8_t *ordered;                      /* blocks whose writes an atomic has made known to this one */
  PtxWarp *warps;
  bool stopped;                          /* by a finding that leaves nothing to go on with */
  PtxBarrier barrier[PTX_BARRIERS];
} PtxGrid;

struct PtxWarp {
  char *rows[2];                         /* registers, immediates */
  uint32_t *undefined[2];
  PtxGrid *grid;
  uint32_t number;
  uint32_t live, parked;                 /* lanes that have not left; that wait for others of the warp */
  uint32_t on;                           /* lanes that run together now, and where */
  int32_t at, merge;                     /* merge: the next place where other lanes wait to run on */
  int32_t pc[PTX_LANES];                 /* of lanes that do not run now */
  int waiting;                           /* number of a block barrier, or -1 */
  uint32_t wait_line;
  bool fenced;                           /* has ordered its accesses for other blocks */
  uint32_t clock[PTX_MAX_WARPS];         /* what is known of each warp's progress: a vector clock */
  struct PtxCopy *copies; uint32_t groups[PTX_LANES];                        /* asynchronous copies that have not landed; groups that each lane has closed */
};

/* An asynchronous copy of a lane, until its group is waited for. */
typedef struct PtxCopy { uint64_t shared, global; uint32_t bytes, given, group; uint8_t lane; const PtxInst *inst; struct PtxCopy *next; } PtxCopy;

static inline void *ptx_row(const PtxWarp *w, PtxRef r) { return w->rows[r >> 31] + (size_t)(r & ~PTX_FIXED_ROW)*PTX_ROW; }
static inline uint32_t *ptx_undefined(const PtxWarp *w, PtxRef r) { return &w->undefined[r >> 31][r & ~PTX_FIXED_ROW]; }
static inline uint32_t ptx_mask(const PtxWarp *w, PtxRef r) { return *(const uint32_t *)ptx_row(w, r); }

/* Bits of a register lane: 16, 32 or 64 of them. */
static inline uint64_t ptx_get(const PtxWarp *w, PtxRef r, unsigned lane, unsigned bits) {
  const void *row = ptx_row(w, r);
  return bits == 64 ? ((const uint64_t *)row)[lane] : ((const uint32_t *)row)[lane];
}
static inline void ptx_set(PtxWarp *w, PtxRef r, unsigned lane, unsigned bits, uint64_t x) {
  void *row = ptx_row(w, r);
  if (bits == 64) ((uint64_t *)row)[lane] = x;
  else ((uint32_t *)row)[lane] = bits == 16 ? (uint16_t)x : (uint32_t)x;
}
/* The lanes `on` of d are as undefined as `how`. */
static inline void ptx_taint(PtxWarp *w, PtxRef d, uint32_t on, uint32_t how) {
  uint32_t *u = ptx_undefined(w, d);
  *u = (*u & ~on) | (how & on);
}
#define PTX_EACH(lane, on) for (uint32_t rest_ = (on), lane; rest_ && (lane = (uint32_t)__builtin_ctz(rest_), true); rest_ &= rest_ - 1)

/* report.c. lane < 0: of the whole warp. */
void ptx_find_fault(PtxWarp *, const PtxInst *, int lane, PtxFindingKind, uint64_t address, const char *format, ...) __attribute__((format(printf, 6, 7)));
void ptx_report_add(PtxReport *, PtxFinding);
/* Undefined lanes of a register that decide something: a branch, an address, a value that others see. */
void ptx_use(PtxWarp *, const PtxInst *, PtxRef, uint32_t on, const char *what);

/* memory.c. What an access reaches: the bytes, or NULL after a finding. */
typedef struct PtxReached { const PtxPiece *piece; uint64_t offset; uint8_t *defined; } PtxReached;
uint8_t *ptx_reach(PtxWarp *, const PtxInst *, unsigned lane, PtxSpace, uint64_t address, uint32_t size, unsigned access, PtxReached *);
/* All lanes at once where they reach one piece: the lowest address's bytes, and how far from there each lane's are. NULL: lane by lane, whatever there is to say. */
uint8_t *ptx_reach_together(PtxWarp *, const PtxInst *, uint32_t on, PtxSpace, uint32_t size, unsigned access, uint64_t from[PTX_LANES], PtxReached *);
static inline PtxReached ptx_reached_at(const PtxReached *r, uint64_t from) { return (PtxReached){r->piece, r->offset + from, r->defined ? r->defined + from : NULL}; }
/* Looks for races. Once: by ld.global.nc; a write that changes nothing (REWRITES) conflicts with nobody; UPDATES and
 * READS_STRONG: atomically, or by volatile accesses. */
typedef enum PtxHow { PTX_READS, PTX_READS_ONCE, PTX_READS_STRONG, PTX_WRITES, PTX_REWRITES, PTX_UPDATES } PtxHow;
void ptx_touch(PtxWarp *, const PtxInst *, unsigned lane, const PtxReached *, uint32_t size, PtxHow);
enum { PTX_WIDE = 1 };                   /* PtxInst.mode of an access: the address has 64 bits */
uint64_t ptx_address(const PtxWarp *, const PtxInst *, unsigned lane);
void ptx_warp_ordered(PtxWarp *);        /* lanes of the warp know of each other's accesses */
void ptx_order_blocks(PtxWarp *, const PtxReached *);

/* warp.c: runs until all lanes wait or have left, or for `turn` instructions. */
void ptx_warp_run(PtxWarp *, uint64_t turn);
uint64_t ptx_random(uint64_t *state);

/* ops.c */
const PtxOp *ptx_ops(unsigned *n);
/* decode.c: every kernel of the parsed text; false after an error in the diag. */
bool ptx_decode(PtxModule *, const PtxParser *);
#endif
