/* driver.h: what the files of the driver share. Private to backends/driver*.c.
 *
 * The driver is freestanding: no library call, no allocation, no state but the dispatch word that the caller hands in. It is part of the host
 * library (where it also drives the interpreters) and, as machine code without relocations, of every object that the compiler writes. For that its
 * files are compiled as one, with DRIVE_LOCAL `static`. */
#ifndef OPTC_BACKENDS_DRIVER_H
#define OPTC_BACKENDS_DRIVER_H
#include "ir/frame.h"
#ifndef DRIVE_LOCAL
#define DRIVE_LOCAL
#endif

enum { NO_GROUP = -1, MAX_RANK = 64, MAX_TASKS = 256, WINDOW = 1 << 20 };      /* elements of a window, unless one item has more, or the rule says otherwise */

/* What is wrong with a shape: a row of driver_check.c's texts, and the numbers in it. NOTHING: the text of the error's code says it. */
typedef enum reason { WHY_NOTHING, WHY_RANK, WHY_NO_SHAPE, WHY_EXTENT, WHY_LARGE, WHY_FIRST, WHY_COUNT, WHY_DENSE, WHY_STRIDE_ZERO, WHY_STRIDE_FAR, WHY_GROUP, WHY_WORKSPACE } reason;
typedef struct finding { reason why; int64_t number[3]; } finding;

/* An item after its shape and shard are checked. */
typedef struct view { char *item; const int64_t *shape; int64_t rank, group, total, first, count; finding found; } view;

/* What is known of an item before its kernels run; behind it its launch spaces and where its buffers lie. opens: it is the first of a window. */
typedef struct record { int64_t opens, reserved; optc_space spaces[]; } record;

/* One worker: its frame, its own uniforms, and what it has met so far. */
typedef struct worker {
  optc_frame frame;
  int64_t group;                         /* whose uniforms these are */
  uintptr_t at, room;                    /* where the next item's buffers lie: kept ones, those of the open window */
  int64_t chunks;                        /* of whole tensors, so far: a partial each */
  uintptr_t most;                        /* end of the largest window */
  int64_t window, opens;                 /* elements of the open window; the item placed last began it */
  int too_large;                         /* sizes met that no memory has */
  int64_t wrong, other;                  /* the operand that an error is about, and the one that it overlaps; or -1 */
  finding found;                         /* more about it */
  void *data[OPTC_MAX_BUFFERS];
  uint64_t uniform[OPTC_MAX_UNIFORMS];
  optc_space spaces[OPTC_MAX_SPACES];
  const int64_t *shapes[OPTC_MAX_OPERANDS];
  int64_t ranks[OPTC_MAX_OPERANDS], counts[OPTC_MAX_BUFFERS], extents[OPTC_MAX_RANK*OPTC_MAX_OPERANDS];
} worker;

typedef struct job {
  const optc_rule_desc *rule;
  const optc_entry_desc *entry;
  const optc_call *call;
  int64_t variant;
  const optc_kernel_desc *kernel;
  const int64_t *uses;                   /* the entry's */
  enum { RUN, PACK, UNPACK } mode;
  int64_t units, n_tasks;                /* of the kernel at hand, in the window at hand */
  int sized, call_sized, strided;        /* sizes kernels are there; some tensor is not dense */
  int planned;                           /* items have buffers in the workspace, and so records */
  char *records; int64_t record_size;    /* NULL: not yet written */
  uintptr_t records_at, partials, room;  /* where they begin; 0 while sizes are counted */
  int64_t chunks;                        /* of all items */
  int64_t from, to;                      /* items of the window at hand */
  int64_t depth, repeat[OPTC_MAX_REPEATS], trip[OPTC_MAX_REPEATS];      /* open repeats: their spaces, and trips so far */
  const worker *model;                   /* has begun and entered the first group: tasks begin as it did (NULL: each by itself) */
} job;

#define FIELD(base, offset, type) (*(type *)((char *)(base) + (offset)))

static inline int drive_touches(const job *j, int64_t k) { return (j->uses[k] & USE_TOUCHED) != 0; }        /* elements of operand k */
static inline int64_t drive_temp_kind(const optc_entry_desc *entry, int64_t k) { return entry->temp_kind ? entry->temp_kind[k] : 0; }

/* driver_machine.c: the floating-point environment, ours while we run, and the last code variant that the machine can run, or -1. */
DRIVE_LOCAL uint64_t drive_float_enter(void);
DRIVE_LOCAL void drive_float_leave(uint64_t saved);
DRIVE_LOCAL int64_t drive_variant(const optc_rule_desc *, int32_t *chosen);

/* driver_item.c: workers on their way over the list. Error codes. */
DRIVE_LOCAL int64_t drive_product(const int64_t *shape, int64_t rank);
static inline finding drive_found(reason why, int64_t a, int64_t b, int64_t c) { return (finding){why, {a, b, c}}; }
DRIVE_LOCAL int drive_look(const optc_rule_desc *, const optc_call *, int64_t i, view *);
DRIVE_LOCAL void drive_job(job *, const optc_rule_desc *, const optc_entry_desc *, const optc_call *, int64_t variant);
DRIVE_LOCAL int drive_start(worker *, const job *);
DRIVE_LOCAL void drive_enter_group(worker *, const job *, int64_t group);
DRIVE_LOCAL int drive_enter_item(worker *, const job *, int64_t i, const view *);
DRIVE_LOCAL void *drive_reserve(worker *, uintptr_t *end, int64_t count, int64_t bytes);       /* room for elements from *end on */
DRIVE_LOCAL int drive_too_large(worker *);                               /* after reserving: an error code */
DRIVE_LOCAL void drive_launch(worker *, const job *, const optc_kernel_desc *);
DRIVE_LOCAL void drive_launch_all(worker *, const job *, int64_t kind);

/* driver_place.c: where the buffers of items lie in the workspace. */
static inline record *drive_record(const job *j, int64_t i) { return (record *)(j->records + i*j->record_size); }
static inline void **drive_buffers(const job *j, record *r) { return (void **)(r->spaces + j->entry->n_spaces); }
DRIVE_LOCAL void drive_measure(worker *, const job *);                   /* elements of temporaries and launch spaces of the item entered */
DRIVE_LOCAL int drive_place(worker *, const job *, const view *);        /* room for its buffers; an error code */
DRIVE_LOCAL int64_t drive_partials(const optc_entry_desc *, int64_t from, int64_t to);
DRIVE_LOCAL uintptr_t drive_end(job *, const worker *);                  /* of the workspace of all that was placed */
DRIVE_LOCAL void drive_write_records(job *);

/* driver_dense.c: strided tensors and their dense copies. */
DRIVE_LOCAL int drive_may_be_strided(const optc_operand_desc *);
DRIVE_LOCAL finding drive_not_dense(const int64_t *shape, int64_t rank, const int64_t *stride);
DRIVE_LOCAL int drive_is_dense(const int64_t *shape, int64_t rank, const int64_t *stride);
DRIVE_LOCAL int drive_check_strides(job *, worker *, const view *, int64_t k);
DRIVE_LOCAL void drive_copy_strided(worker *, const job *, const view *);

/* driver_check.c: what can be wrong with a call. */
DRIVE_LOCAL int drive_fail(const optc_call *, int code, const char *text, int64_t item);       /* fills the call's error; text NULL: that of the code */
DRIVE_LOCAL int drive_fail_at(const job *, const worker *, int code, int64_t item);      /* of what a worker met: the operand has its name in the error */
DRIVE_LOCAL int drive_fail_large(const optc_call *);
DRIVE_LOCAL int drive_fits(const optc_rule_desc *, const optc_entry_desc *);
DRIVE_LOCAL int drive_check_head(const optc_rule_desc *, const optc_call *);
DRIVE_LOCAL int drive_check_call(job *, int64_t *first_group);
DRIVE_LOCAL void drive_find_existing(worker *, const job *layout, int64_t i, const view *, uint8_t *exists);

/* An entry by the first letters of its name. */
#define WORD(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
DRIVE_LOCAL const optc_entry_desc *drive_entry(const optc_rule_desc *, uint32_t word);
#endif
