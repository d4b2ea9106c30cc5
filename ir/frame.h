/* frame.h: what the driver passes to one kernel, and the table that describes a compiled rule.
 *
 * Freestanding: included by the driver that is compiled into every object. A kernel is `void fn(optc_frame *)`. */
#ifndef OPTC_IR_FRAME_H
#define OPTC_IR_FRAME_H
#include "ir/optc_abi.h"

#define OPTC_CHUNK_BITS 16
#define OPTC_CHUNK (1 << OPTC_CHUNK_BITS)   /* elements; part of the language */
#define OPTC_MAX_COUNT (INT64_MAX >> 5)   /* elements of a tensor: their bytes, and a few more, are a number too. Products of extents that a rule computes stop at the next number */
#define OPTC_MAX_VARIANTS 4              /* instruction sets in one object */
#define OPTC_MAX_UNIFORMS 512            /* slots: every worker keeps its own on its stack */
#define OPTC_MAX_OPERANDS 128
#define OPTC_MAX_HYPERS 64               /* optc_entry_desc.equal_hypers has a bit for each */
#define OPTC_MAX_BUFFERS 1024            /* operands and temporaries of one entry */
#define OPTC_MAX_RANK 8                  /* logical axes of a tensor; tensors of a caller may have up to 64 in memory */
#define OPTC_MAX_SPACES 128              /* launch spaces of one entry */
#define OPTC_MAX_REPEATS 4               /* one in another */
#define OPTC_MAX_SLOTS 256               /* values that are combined over the items of a call */

/* Where a kernel runs: once an item before anything is written (CHECK); once a parameter group
 * (GROUP, fills uniforms; the driver runs it again whenever a worker meets another group); once an item; once a chunk of
 * 65,536 elements aligned in its tensor (CHUNK, in parallel); once at the end of the call (FINISH, writes global operands); once an item
 * wherever its sizes are needed (SIZES: elements of temporaries and of states with their own shape; no loads), once a call (CALL_SIZES: the same for
 * temporaries of the call); once a call between the item kernels before and after it (TOTAL: combines the slots that items have set); once a run of positions of
 * a launch space of the item's own, in parallel (TILE: positions begin to end). REPEAT and END hold nothing: the kernels between them run as often as the positions of
 * REPEAT's space say, for each item. */
typedef enum Launch { LAUNCH_CHECK, LAUNCH_GROUP, LAUNCH_ITEM, LAUNCH_CHUNK, LAUNCH_FINISH, LAUNCH_SIZES, LAUNCH_CALL_SIZES, LAUNCH_TOTAL, LAUNCH_TILE, LAUNCH_REPEAT, LAUNCH_END } Launch;
enum { LAUNCH_COUNT = LAUNCH_END + 1 };

typedef enum Role { ROLE_PARAM, ROLE_GRAD, ROLE_IN, ROLE_OUT, ROLE_INOUT, ROLE_STATE } Role;
typedef enum Scope { SCOPE_TENSOR, SCOPE_SCALAR, SCOPE_GLOBAL } Scope;      /* a tensor an item; one number an item; one for the call */

typedef struct optc_space { int64_t n, grain; } optc_space;             /* a launch space: positions, and how many make a tile (0: all) */

typedef struct optc_frame {
  const void *hyper;                     /* R_hyper of the group: 8-byte fields */
  void *global;                          /* R_global: { int64_t t; uint64_t seed; ... } */
  void *item;                            /* R_item, or NULL where the launch has none */
  void *const *data;                     /* operand k's first element (of the shard) at data[k]; temporaries after the operands */
  uint64_t *uniform;                     /* slots of the group */
  int64_t t;                             /* as this entry reads it */
  uint64_t seed;
  int64_t index;                         /* position of the item in the model's list */
  int64_t count;                         /* elements of the item (of its shard) */
  int64_t total, first;                  /* elements of the whole tensor, and which of them the shard begins with */
  int64_t begin, end;                    /* elements of this launch, counted in the shard; of a tile: positions of its space */
  const int64_t *shape;
  int64_t rank;
  uint8_t *exists;                       /* layout: one byte an operand */
  const int64_t *const *shapes;          /* by operand: axes of a tensor whose shape the caller chooses (optc_shaped), in memory's order */
  const int64_t *ranks;                  /* by operand: how many */
  int64_t *counts;                       /* sizes: by buffer: elements of a state with its own shape, of a temporary */
  int64_t *extents;                      /* sizes: 8 an operand: axes of a state with its own shape */
  uint64_t *slots;                       /* slot k of the item at `position`: slots[k*n_items + position]; 8 bytes as a field of R_global holds them */
  uint64_t *totals;                      /* by slot: combined over the items of the call */
  int64_t n_items, position;             /* items of the call, and which one this is of them */
  int64_t window;                        /* the first item of its window: other windows may have their temporaries in the same room */
  optc_space *spaces;                    /* of the item; sizes kernels fill them */
  int64_t trip[OPTC_MAX_REPEATS];        /* of the repeats that are open */
  int64_t skip;                          /* finish: t stays as it is */
  int64_t failed;                        /* check: 1 + number of the text of the first requirement not met, or 0 */
  int64_t n_values;
  double value[4];
  void *self;                            /* interpreters: their program */
} optc_frame;

typedef void (*optc_kernel_fn)(optc_frame *);

/* On a GPU a kernel is `.entry f(const optc_frame *frames, const optc_work *work, int64_t n_work)`, all in device memory. One launch does any number of work entries, of one
 * item or of many: chunks, tiles, whole items, groups. Blocks stride over them: for (w = ctaid.x; w < n_work; w += nctaid.x). An entry has frame number `frame` of the
 * array (sizeof(optc_frame) apart), but begin and end from here, and t and seed from where its `global` points to. Which kernels have more threads than one, and which of
 * them let blocks (x, 0), (x, 1), .. share an entry, optc_gpu_kernel_desc.does says: ir/gpu_map.h. */
typedef struct optc_work { int64_t frame, begin, end; } optc_work;

/* optc_<s>_desc of every STRUCT(s) of ir/desc.def. */
typedef optc_kernel_fn optc_variants[OPTC_MAX_VARIANTS];
#define STRUCT(s) typedef struct optc_##s##_desc {
#define FIELD(s, field, type, as) type field;
#define LIST(s, field, type, as, count) const type *field;
#define OPERANDS(s, field, type, as) const type *field;
#define END(s) } optc_##s##_desc;
#include "ir/desc.def"
#undef STRUCT
#undef FIELD
#undef LIST
#undef OPERANDS
#undef END
#define OPTC_DESC_VERSION 7

/* What an entry does with an operand: bits of optc_entry_desc.uses. */
enum { USE_READ = 1, USE_WRITTEN = 2, USE_PREDICATE = 4, USE_SIZES = 8, USE_TOUCHED = USE_READ | USE_WRITTEN };      /* PREDICATE: under one only; SIZES: its sizes are used */
/* Of a requirement, optc_entry_desc.about: a number of an operand is the one whose shape does not fit. */
enum { ABOUT_RULE = -2,                  /* the rule's own `require` */
       ABOUT_SHAPES = -1 };              /* of no operand alone */
/* Of a temporary: bits of optc_entry_desc.temp_kind. */
enum { TEMP_SIZED = 1,                   /* a sizes kernel tells its elements (else the item's) */
       TEMP_CALL = 2,                    /* one for the call (else one an item) */
       TEMP_PARTIAL = 4,                 /* one element a chunk of the whole tensor */
       TEMP_KEPT = 8,                    /* outlives the kernels between two totals or phases */
       TEMP_LOCAL = 16 };                /* on the stack of its kernels */
enum { TEMP_PHASE_SHIFT = 8 };           /* the bits from here up, of a partial: the phase that leaves it */

/* Of a kernel on a GPU: bits of optc_gpu_kernel_desc.does. */
enum { GPU_ON_HOST = 1,                  /* numbers of the call, no elements: runs on the host before anything is launched */
       GPU_BY_THREADS = 2,               /* threads of a block share its work; else one does it all */
       GPU_ANSWERS = 4,                  /* the driver reads what it leaves in the frame, or its uniforms */
       GPU_SETS_NUMBERS = 8,             /* of items or of the call */
       GPU_SPLITS = 16,                  /* blocks (x, 0), (x, 1), .. of a grid share a work entry */
       GPU_MULTIPLIES = 32,              /* an entry is tiles of a product, for as many blocks */
       GPU_BLOCK = 256 };                /* threads of a block: it may have fewer, a divisor that is a multiple of 32 */

enum { OPTC_ISA_BASE = 0, OPTC_ISA_X86_64_V2 = 1, OPTC_ISA_X86_64_V3 = 2, OPTC_ISA_X86_64_V4 = 3 };

/* The call struct of every rule, with the rule's own types left out (backends/header.c writes the typed one). */
typedef struct optc_call {
  size_t size;
  const void *groups; int64_t n_groups;
  void *items; int64_t n_items, first_item;
  void *global;
  void *workspace; size_t workspace_size;
  const optc_parallel *parallel;
  optc_error *error;
} optc_call;

/* The driver (backends/driver*.c): validates a call, runs an entry's kernels over groups, items and chunks, advances t.
 * `chosen`: the object's dispatch word (0: not yet chosen), or NULL for variant 0. Entry -1: a phase that does not exist. */
int optc_drive(const optc_rule_desc *, int64_t entry, const optc_call *, int32_t *chosen);
int optc_drive_phase(const optc_rule_desc *, int64_t entry, int64_t phase, const optc_call *, int32_t *chosen);
/* How many partials a phase leaves, and where they lie in the call's workspace; -1: the call is wrong. */
int64_t optc_drive_partials(const optc_rule_desc *, int64_t entry, int64_t phase, const optc_call *, double **out);
size_t optc_drive_workspace(const optc_rule_desc *, const optc_call *);
int optc_drive_layout(const optc_rule_desc *, const optc_call *, int64_t item, optc_state_info *out, int32_t *chosen);
int optc_drive_check(const optc_rule_desc *, const optc_call *);
#endif
