/* gpu_map.h: how the threads of a GPU share a kernel: what the back end that writes it and the hosts that launch it must agree on.
 *
 * A block executes one work entry at a time (optc_work in ir/frame.h). Its threads are a team: all of them go through the kernel and compute the same numbers; its first thread
 * stores. Loops are dealt out where their iterations do not meet: to threads, each alone then, or to groups of 16, small teams in which a fold has its 16 lanes. A barrier
 * stands in front of what touches memory that another thread may still be touching.
 * A kernel without barriers needs no block of its own for an entry: blocks (x, 0), (x, 1), .. share it (`splits`). One with nothing to deal out runs on one thread. */
#ifndef OPTC_IR_GPU_MAP_H
#define OPTC_IR_GPU_MAP_H
#include "ir/kernel.h"

enum { GPU_GROUP = 16,                   /* threads */
       GPU_SHARED = 48 << 10,            /* bytes of shared memory that every device has; */
       GPU_SLABS = 36 << 10,             /* of which products take so much */
       GPU_TILES_ACROSS = 4, GPU_TILES = 44,           /* of a product in one work entry (passes/lower_product.c): side by side, and in all */
       GPU_SLOTS = 64 };                 /* of a fold in shared memory, 8 bytes each: its blocks in a chunk */

/* How a team goes through a loop. */
typedef enum GpuWay {
  GPU_EACH,                              /* every thread all iterations; what is inside is shared */
  GPU_ONE,                               /* the first thread alone; it tells the others what comes out */
  GPU_THREADS,                           /* thread k takes iterations k, k + n, .. */
  GPU_GROUPS,                            /* so do groups */
  GPU_BLOCKS,                            /* so do blocks (x, 0), (x, 1), ..: each whole */
  GPU_FOLD                               /* positions in the order of the language: thread k is a lane of a block */
} GpuWay;

typedef struct GpuMap {
  bool shared;                           /* threads share the kernel; else one does it all */
  bool splits;
  bool keeps;                            /* something in shared memory that the next work entry would meet: the team meets between the two */
  bool tiles;                            /* it multiplies tiles, which blocks share, and does nothing else */
  bool contracts;                        /* it multiplies matrices, which takes shared memory of its own */
  bool wide;                             /* a thread may take neighbouring elements, whatever loop it is in */
  unsigned slots;                        /* of 8 bytes, in shared memory, through which threads tell each other numbers */
  uint8_t *way;                          /* by id of a FOR that a team goes through: GpuWay */
  bool *barrier;                         /* by id: the team meets before it */
  bool *gather;                          /* by id of a FOR that is dealt to groups: the threads of each wait for each other first */
} GpuMap;

const GpuMap *gpu_map(Arena *, const Program *, const Kernel *);
/* Whether every iteration of a loop has a local buffer of its own: what it reads there it has written itself. */
bool gpu_is_own(const Inst *loop, unsigned buffer);

/* --- gpu_place.c --------------------------------------------------------------------------------------------------------------------------- */
enum { GPU_TERMS = 8, GPU_FACTORS = 6 };
typedef struct GpuTerm { int64_t c; unsigned n; uint64_t hash; const Inst *factor[GPU_FACTORS]; } GpuTerm;
/* Where iterations of a loop touch memory: which digit of the place their number is. */
typedef struct GpuPlace {
  unsigned n_fixed; GpuTerm fixed[GPU_TERMS], stride, next, unit;
  const Inst *below;                     /* the number that is the only digit below, with the stride `unit`; or NULL */
  bool top, aligned;                     /* top: there is no next digit; aligned: iteration k touches places that are k modulo GPU_BLOCK */
} GpuPlace;
typedef struct GpuPlaces GpuPlaces;      /* what is known of a kernel's numbers */
GpuPlaces *gpu_places(Arena *, const Kernel *);
const Inst *gpu_value(const GpuPlaces *, const Inst *);                       /* one instruction for all that compute the same number */
bool gpu_is_inside(const Inst *, const Inst *loop);                           /* the loop itself is, too */
bool gpu_is_fixed(const Inst *, const Inst *loop);                            /* the same in every iteration */
bool gpu_find_place(GpuPlaces *, const Inst *at, const Inst *loop, GpuPlace *);    /* false: iterations may meet */
bool gpu_same_place(const GpuPlace *, const GpuPlace *);                  /* only iterations with one number meet at the two */
bool gpu_same_digit(const GpuPlace *, const GpuPlace *);                      /* of places that are the same: what meets has one number below, too */
#endif
