/* explain.h: what a rule's kernels do, for people, for programs, and as a picture. For this room only.
 *
 * Sizes are known when a rule is called; so that bytes and trips can be added up, everything is counted at sample sizes (explain_sample.c) too. */
#ifndef OPTC_RUNTIME_EXPLAIN_H
#define OPTC_RUNTIME_EXPLAIN_H
#include "ir/graph.h"
#include "ir/kernel.h"

/* Bandwidth in GB/s, fused multiply-adds in GFLOP/s; 0: not known. */
typedef struct Machine { double bandwidth, peak; bool bandwidth_measured, peak_measured; } Machine;

/* --- explain_sample.c: sizes to count at ------------------------------------------------------------------------------------------ */
typedef struct Number { bool known; Bits bits; } Number;
typedef struct Sample {
  const Module *module;
  Arena *arena;
  unsigned rank; int64_t shape[OPTC_MAX_RANK]; int64_t elements;         /* the item; 0 elements: the rule has none */
} Sample;
void sample_make(Sample *, const Module *, Arena *);
void sample_text(const Sample *, Text *);                                /* "p[1024, 1024]", "B = 4, H = 16" */

/* Values of a program at the sample's sizes, default hyper-parameters, the first trip of every loop that has not been turned. */
typedef struct Values { const Sample *sample; const Program *program; Number **value; bool **done; int64_t **trip; } Values;
void values_make(Values *, const Sample *, const Program *);             /* numbers the kernels */
Number values_of(Values *, unsigned kernel, const Inst *);
void values_turn(Values *, unsigned kernel, const Inst *loop, int64_t trip);
double values_or(Values *, unsigned kernel, const Inst *, double unknown);
int64_t values_buffer(Values *, unsigned buffer);                        /* elements of an operand's tensor or of a temporary */
double values_space(Values *, unsigned space);                           /* positions of a launch space */
const Inst *values_count(const Program *, unsigned buffer);              /* what a sizes kernel makes its count; NULL: it is the item's */
const Inst *values_positions(const Program *, unsigned space);

/* --- explain_facts.c: what an entry does -------------------------------------------------------------------------------------------- */
/* Why a sweep stands after an earlier one, the strongest reason first. */
typedef enum Apart { APART_TOTAL, APART_TENSOR, APART_ROWS, APART_CONTRACTION, APART_PLACES, APART_MEMORY, APART_NOT } Apart;
extern const char *const apart_text[APART_NOT], *const apart_names[APART_NOT];
enum { TOUCH_READ = 1, TOUCH_WRITTEN = 2, TOUCH_ELSEWHERE = 4, SWEEP_FOLDS = 8 };

/* A loop nest that goes through memory. A value of the kernel form is a scalar and a loop takes one step an element, whatever its width; so what stands in
 * the innermost body is what an element costs. Each buffer moves once a sweep: a second access is in a register or in a cache. */
typedef struct Sweep {
  unsigned kernel, number;               /* number: as shown */
  const Inst *loop;                      /* NULL: tiles outside loops */
  bool live, counted;                    /* its conditions hold at the sample; it is not the cheaper arm of an open condition */
  bool conditional, trivial;             /* trivial: joins of partials, trees: all it touches is on the stack, a chunk's partials or of fixed size */
  bool contracts;
  unsigned lanes, unroll;
  unsigned ops[ELEMENT_COUNT], n_ops, tiles;
  const char *fast;                      /* of tiles under --fast: the type of their panels; NULL: strict */
  unsigned char *use, *ahead;            /* TOUCH_*, by buffer; of what stands before it since the sweep before */
  double times;                          /* trips of the repeats around it */
  double *moved[2];                      /* by buffer: bytes read and written, in one trip of the repeats around it */
  double read, written, flops, contraction;        /* bytes; floating-point operations; those of contractions */
  const Inst *fold[SWEEP_FOLDS], *fold_loop[SWEEP_FOLDS]; unsigned n_folds;
  Apart apart; unsigned after;           /* the sweep before it (index) */
  int64_t segment;                       /* sweeps of one segment could be one, were it not for memory */
  unsigned char *because;                /* by buffer: named in the reason */
} Sweep;

typedef struct KernelFacts {
  int64_t phase;
  double times;                          /* trips of the repeats around it */
  unsigned depth;                        /* of repeats */
  unsigned first, n;                     /* its sweeps */
  unsigned char *outside, *tail;         /* TOUCH_*, by buffer, of what stands outside sweeps; after the last one */
  bool totals;                           /* reads a total */
  double read, written, flops, contraction;        /* of the sweeps that count */
} KernelFacts;

typedef struct Moved { double read, written; } Moved;
typedef struct Facts {
  const Module *module;
  const Program *program;
  const Sample *sample;
  Values values;
  unsigned n_buffers;
  int64_t n_phases, n_segments, n_moving;                                 /* moving: segments that move operands */
  bool *kept;                            /* by temporary */
  KernelFacts *kernel;
  Sweep *sweep; unsigned n_sweeps; size_t capacity;
  unsigned scalar_ops, hoisted;          /* outside sweeps: once a group, item or call; values computed once a group */
  bool at_most;                          /* a condition was open, or a trip count */
  Moved moved, least, least_swept;       /* bytes at the sample: of all sweeps; every operand once; every operand once a segment */
  double per;                            /* what bytes are told for: the elements of the item, else 1 (the call) */
  double seconds;                        /* predicted, at the sample; 0: bandwidth is not known */
} Facts;
void facts_gather(Facts *, const Sample *, const Program *, const Machine *, Arena *);
const char *facts_buffer(const Facts *, unsigned buffer);
const Buffer *facts_temp(const Facts *, unsigned buffer);                /* NULL: an operand */
bool facts_local(const Facts *, unsigned buffer);
bool facts_fixed(const Facts *, unsigned buffer);                        /* a temporary of as many elements, whatever the item's size */
bool facts_told(const Sweep *);          /* it has work of weight at the sample: it is shown, by its number */
bool facts_shown(const Program *);
double sweep_seconds(const Sweep *, const Machine *);
void facts_part(Facts *);                /* explain_apart.c: reasons and segments */

/* --- explain_sizes.c: in words of the rule's sizes ------------------------------------------------------------------------------------ */
void explain_nest(const Program *, const Kernel *, const Inst *loop, Text *);        /* "B x H x N x M", how often the loops of a nest turn */
void explain_trips(const Program *, const Kernel *, const Inst *loop, Text *);       /* of one loop */
void explain_value(const Program *, const Inst *, Text *);               /* an expression, cut where it gets long */
void explain_count(const Program *, unsigned temp, Text *);              /* elements of a temporary */
void explain_workspace(const Facts *, Text *);

/* --- explain_gpu.c: launches on a GPU -------------------------------------------------------------------------------------------------- */
/* PTX of all programs; what `ptxas -v` printed of it, or NULL. */
typedef struct GpuView { const char *name; const struct PtxModule *code; const optc_gpu_desc *table; const char *assembled; } GpuView;
typedef struct GpuAssembled { unsigned registers, stack, spilt; } GpuAssembled;        /* a thread; stack, spilt: bytes */
bool gpu_assembled(const char *log, const char *kernel, GpuAssembled *);               /* false: the log does not have it */
/* Blocks and warps that a multiprocessor holds at once, of how many warps, and what there is too little of for more. most 0: not known. */
typedef struct GpuOccupancy { unsigned blocks, warps, most; const char *by; } GpuOccupancy;
GpuOccupancy gpu_occupancy(const char *gpu, unsigned threads, unsigned registers, unsigned shared);
void explain_gpu_text(const Facts *, const GpuView *, unsigned entry, Text *);
void explain_gpu_json(const Facts *, const GpuView *, unsigned entry, Text *);

/* --- the three forms -------------------------------------------------------------------------------------------------------------- */
const char *explain_launch(Launch);
void explain_bytes(double, Text *);                                      /* "512 B", "1.5 MiB" */
void explain_moved(const Facts *, double bytes, const char *unit, Text *);           /* of one sweep: "4 bytes an element" */
/* gpu: NULL: none is asked for. */
void explain_text(const Module *, Program *const *programs, unsigned n_programs, const Machine *, const GpuView *gpu, Text *);
void explain_json(const Module *, Program *const *programs, unsigned n_programs, const Machine *, const GpuView *gpu, Text *);
void explain_svg(const Module *, Program *const *programs, unsigned n_programs, const Machine *, Text *);
#endif
