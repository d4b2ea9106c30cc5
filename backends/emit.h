/* emit.h: what the files of the LLVM back end share. Private to backends/. */
#ifndef OPTC_BACKENDS_EMIT_H
#define OPTC_BACKENDS_EMIT_H
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include "backends/backend.h"
#include "backends/outline.h"
#include "backends/target.h"
#include "ir/gpu_map.h"
#include "ir/graph_reduce.h"

/* What a value is inside a loop over vectors: the same for all lanes; the loop's own index; one value a lane. */
typedef enum Shape { SHAPE_UNIFORM, SHAPE_INDEX, SHAPE_VARYING } Shape;

enum { CACHE_LINE = 64, MAX_COPIES = 16, FIELD_COUNT = 40 };

/* A fold of a loop while that is written. Places on the stack: emit_fold.c says what stands where. */
typedef struct Fold {
  const Inst *inst;
  ReduceKind kind;
  Type type;                             /* as it is kept */
  LLVMValueRef lanes, blocks, tree;
  LLVMValueRef sum[MAX_COPIES];          /* vectors: lanes of the block, or blocks, at hand */
  LLVMValueRef position;                 /* scalar code, whose lanes are on the stack: index - low; else NULL */
  bool chain;                            /* scalar code of one lane: all of it is sum[0] */
} Fold;
typedef struct Folds { unsigned n; Fold *fold; } Folds;
enum { FOLD_LANES = LANES_COUNT, FOLD_BLOCK_BITS = LANES_BLOCK_BITS, FOLD_BLOCK = LANES_BLOCK, FOLD_CHUNK_BITS = OPTC_CHUNK_BITS, FOLD_CHUNK_BLOCKS = 1 << (FOLD_CHUNK_BITS - FOLD_BLOCK_BITS) };

typedef struct Count { LLVMValueRef index, step; LLVMBasicBlockRef head, after; } Count;       /* an open loop that counts */

/* GPU: who runs the code at hand; where a local buffer is; which thread this is, of each team. */
typedef enum Team { TEAM_NONE, TEAM_BLOCK, TEAM_GROUP } Team;
typedef enum GpuHome { HOME_BLOCK, HOME_GROUP, HOME_THREAD, HOMES } GpuHome;
typedef struct GpuThread {
  LLVMValueRef lane, members;            /* i32: tid; membermask of its group */
  LLVMValueRef rank[TEAM_GROUP + 1], size[TEAM_GROUP + 1], group, groups;       /* i64: thread of the team, groups of all blocks of the work entry */
  LLVMValueRef own_group, slots;         /* number of its group in the block; numbers in shared memory */
} GpuThread;

typedef struct Emitter {
  Arena *arena;
  Diag *diag;
  const Module *module;
  const Layout *layout;
  const Target *target;
  const Machine *machine;                /* one a variant */
  bool failed;

  LLVMContextRef context;                /* these are not the arena's memory: backend_emit frees them, also when the arena's runs out */
  LLVMModuleRef llvm;
  LLVMTargetMachineRef code_generator;
  LLVMMemoryBufferRef written;
  char *printed;
  Text interface;                        /* assembly text of the C interface and its driver; empty: none */
  LLVMBuilderRef b;                      /* where code goes */
  LLVMBuilderRef entry;                  /* where a frame begins: its fields, read once */
  LLVMTypeRef type[TYPE_COUNT];          /* of values: bool is i1, storage floats are i16 */
  LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, pointer, none;

  /* one kernel in one variant */
  const Program *program;
  const Machine *variant;
  bool cold;                             /* not worth the code generator's time */
  LLVMValueRef fn, frame;
  LLVMBasicBlockRef body, done;          /* where its own code begins; where it is done with its frame */
  const Kernel *kernel;
  /* GPU */
  const Inst *dealt;                     /* GPU: the loop around whose tiles blocks share */
  const GpuMap *map;
  Count blocks;                          /* over work entries */
  Team team;
  GpuHome *home;                         /* by temporary; NULL: all the block's */
  LLVMValueRef *local;                   /* by temporary and home */
  bool *constant;                        /* by buffer: the kernel only reads it */
  GpuThread thread;
  LLVMValueRef field[FIELD_COUNT];       /* by offset/8 */
  LLVMValueRef *data;                    /* by buffer */
  LLVMValueRef *value;                   /* by id of the instruction: scalars, and what all lanes share */
  LLVMValueRef (*copies)[MAX_COPIES];    /* by id: one a copy of an unrolled vector loop */
  LLVMValueRef **carried;                /* by id of a sequential loop: what it carries */
  Folds *folds;                          /* by id of a loop */
  Fold **fold;                           /* by id of a FOLD */
  uint8_t *shape;                        /* by id: Shape, inside a vector loop */
} Emitter;

/* How the body of a loop is written: vectors of `lanes`, `copies` of it side by side, under masks in the last iteration. Copies follow each other in
 * memory in groups of `group`; groups lie `far` apart (NULL: there is one). Memory is asked for `ahead` elements before it is loaded (0: not at all). `joined`: single elements, which memory gives and takes together. `chain`: folds add copy after copy to one sum. `origin`: position 0 of folds whose lanes are on the stack (NULL: they are in registers). */
typedef struct Width { unsigned lanes, copies, group, ahead; LLVMValueRef far, origin, mask[MAX_COPIES]; bool chain, joined; } Width;

/* emit_element.c: an element operation on scalars (lanes 1) or vectors. */
LLVMTypeRef emit_type(const Emitter *, Type, unsigned lanes);
LLVMValueRef emit_const(const Emitter *, Type, uint64_t bits, unsigned lanes);
LLVMValueRef emit_splat(const Emitter *, LLVMValueRef, unsigned lanes);
LLVMValueRef emit_intrinsic(const Emitter *, const char *name, LLVMTypeRef *types, unsigned n_types, LLVMValueRef *args, unsigned n_args);
LLVMValueRef emit_element(const Emitter *, Element, Type result, Type operand, const LLVMValueRef *args, unsigned lanes);

/* emit_codes.c: the same for the operations on codes. */
LLVMValueRef emit_decode(const Emitter *, Element, LLVMValueRef code, unsigned lanes);
LLVMValueRef emit_encode(const Emitter *, Element, LLVMValueRef x, unsigned lanes);

/* emit_kernel.c: one kernel in one variant; NULL after an error. */
LLVMValueRef emit_kernel(Emitter *, const Program *, const Kernel *, const Machine *, const char *name);
/* The same of several: one function of what they differ in, and a kernel that calls it. */
LLVMValueRef emit_outline(Emitter *, const Outline *, const Machine *, const char *name);
LLVMValueRef emit_call_of(Emitter *, const Outline *, LLVMValueRef function, const Machine *, const char *name);

/* emit_loop.c: loops over vectors. */
void emit_vector_loop(Emitter *, const Inst *);
/* Shared with GPU threads: what does not change in a loop is computed before it; while (low < bound) { body; low += step }. */
void emit_hoist(Emitter *, const Inst *loop);
LLVMValueRef emit_place(Emitter *, const Inst *access, LLVMValueRef index);            /* what it touches at an index of its loop */
LLVMValueRef emit_counted_loop(Emitter *, const Inst *loop, const Width *, bool masked, LLVMValueRef low, LLVMValueRef bound, LLVMValueRef high, LLVMValueRef step);
/* Shared with them, from emit_kernel.c. */
void emit_block(Emitter *, const Block *);
void emit_alone(Emitter *, const Inst *);                                /* an instruction, by one thread */
void emit_sequential_loop(Emitter *, const Inst *);
LLVMValueRef emit_leaf(Emitter *, const Inst *);
LLVMValueRef emit_address(Emitter *, int64_t buffer, LLVMValueRef index);
bool emit_is_optional(const Emitter *, int64_t buffer);
void emit_prefetch(const Emitter *, LLVMValueRef place, bool written, unsigned cache);      /* into the first cache or the second */
LLVMValueRef emit_presence(Emitter *, int64_t buffer, LLVMValueRef guard);          /* and of an optional tensor's presence; NULL: always */
LLVMValueRef emit_from_memory(const Emitter *, Type, LLVMValueRef, unsigned lanes);
LLVMValueRef emit_to_memory(const Emitter *, Type, LLVMValueRef, unsigned lanes);
LLVMTypeRef emit_memory_type(const Emitter *, Type);
LLVMBasicBlockRef emit_new_block(const Emitter *);
LLVMValueRef emit_stack(Emitter *, LLVMTypeRef, uint64_t elements);      /* a place on the stack */
void emit_attributes(Emitter *);         /* of e->fn */

/* emit_fold.c: folds of loops. `width`: lanes of a vector; 16/width of them are the lanes of a block. */
enum { FOLD_TREE = 1, FOLD_LANE = 2, FOLD_BLOCKS = 4 };                  /* places on the stack */
void emit_open_folds(Emitter *, const Inst *loop, unsigned places);
LLVMValueRef emit_fold_pair(const Emitter *, const Fold *, LLVMValueRef, LLVMValueRef);
void emit_fold_give(Emitter *, const Fold *, LLVMValueRef);             /* what FOLDED reads */
LLVMValueRef emit_fold_positions(Emitter *, const Inst *loop);           /* how many there are */
LLVMValueRef emit_fold_identity(const Emitter *, const Fold *, unsigned lanes);
void emit_fold_value(Emitter *, const Fold *, LLVMValueRef *sum, LLVMValueRef x, LLVMValueRef guard, unsigned lanes);     /* guard NULL: always */
void emit_fold_position(Emitter *, const Fold *, LLVMValueRef x, LLVMValueRef guard);
void emit_fold_keep_lanes(Emitter *, const Fold *, const LLVMValueRef *lanes, unsigned width);
void emit_fold_take_lanes(Emitter *, const Fold *, LLVMValueRef *lanes, unsigned width);
LLVMValueRef emit_fold_join(Emitter *, const Fold *, const LLVMValueRef *lanes, unsigned width);      /* a block's 16 lanes: its value */
void emit_fold_keep_block(Emitter *, const Fold *, LLVMValueRef index, LLVMValueRef);
LLVMValueRef emit_fold_tree(Emitter *, const Fold *, LLVMValueRef count);            /* `count` kept blocks, 1 to 64: the value of their tree */
void emit_fold_push(Emitter *, const Fold *, LLVMValueRef, LLVMValueRef index);        /* subtree number `index`: all but the last are of one size */
void emit_close_folds(Emitter *, const Inst *loop, LLVMValueRef count);                /* of pushed subtrees: what FOLDED reads */
/* Scalar loops: before the loop, at both ends of an iteration, after the loop. */
void emit_begin_scalar_folds(Emitter *, const Inst *loop);
void emit_enter_scalar_folds(Emitter *, const Inst *loop, LLVMValueRef position);
void emit_leave_scalar_folds(Emitter *, const Inst *loop);
void emit_end_scalar_folds(Emitter *, const Inst *loop);
/* for (index = from; index < to; index += step) around what is written between the two. */
Count emit_open_count(Emitter *, LLVMValueRef from, LLVMValueRef to, LLVMValueRef step);
void emit_close_count(Emitter *, const Count *);

/* emit_gpu.c: what is of GPUs only. Around a kernel's code: the loop of a block over its work entries. */
void emit_open_work(Emitter *);
void emit_close_work(Emitter *);
void emit_gpu_constants(Emitter *, const Kernel *);                      /* fills e->constant */
void emit_gpu_constant(const Emitter *, int64_t buffer, LLVMValueRef load);            /* marks a load of what nobody writes while the kernel runs */
LLVMValueRef emit_gpu_local(Emitter *, unsigned temp);                   /* where a local buffer begins */
void emit_team(Emitter *, const Inst *); /* an instruction, by the team */
void emit_gpu_move(Emitter *, const Inst *);

/* emit_tile.c: register tiles of matrix products. */
void emit_tile_contract(Emitter *, const Inst *);
void emit_tile_transpose(Emitter *, const Inst *);
void emit_tile_copy(Emitter *, const Inst *);
/* emit_tile_gpu.c: the body of that function on a GPU; parameters: C, A, B, stride, rows, columns, k, add. fast: with the tensor cores that the variant has. */
void emit_tile_on_block(Emitter *, Type type, Type panel, bool fast, LLVMValueRef fn);
void emit_bound_block(Emitter *);        /* e->fn is a kernel that calls it */

/* emit_descriptor.c: the tables `<rule>_rule` and, of a target with PTX, `<rule>_gpu`, whose programs may be others. fns: kernels in order of programs and kernels, variants
 * innermost; NULL: that one has no function. */
typedef struct Described { Program *const *programs; LLVMValueRef *fns; } Described;
void emit_descriptor(Emitter *, unsigned n_programs, const Described *, const Described *on_gpu);

/* emit_interface.c: the driver and the functions of the C interface, into e->interface and two constants of the module. */
void emit_interface(Emitter *, Program *const *programs, unsigned n_programs);

/* object.c: from a module to bytes. */
bool object_open(Emitter *);                              /* e->code_generator and the module's data layout */
bool object_write(Emitter *, Emit, Output *);
#endif
