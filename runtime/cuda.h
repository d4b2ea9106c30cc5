/* cuda.h: a rule's kernels on a GPU: the table that says what is known of each kernel, and the driver that is found at run time. For the files of this room only.
 *
 * The table (optc_gpu_desc, ir/desc.def) is all that a call needs: an object holds it as data, a rule compiled for PTX makes one. */
#ifndef OPTC_RUNTIME_CUDA_H
#define OPTC_RUNTIME_CUDA_H
#include "ir/kernel.h"
#include "runtime/cuda_api.h"
#include "runtime/rule.h"

/* --- cuda_code.c: tables --------------------------------------------------------------------------------------------------------------------- */
typedef struct GpuText { const char *target, *text; size_t length; } GpuText;         /* PTX for one GPU; a zero byte follows the text */

/* The table of a rule's programs in the module's arena. names: of all kernels, in the order of programs and kernels. Its `rule` is the caller's to fill in. */
optc_gpu_desc *gpu_describe(const Module *, Program *const *, const char *const *names, const GpuText *, unsigned n_texts);
/* What a GPU of this compute capability (80 for 8.0) runs best, or NULL. */
const optc_gpu_target_desc *gpu_choose(const optc_gpu_desc *, int compute);

/* --- cuda.c: the driver and its modules ------------------------------------------------------------------------------------------------------ */
typedef struct Cuda {
#define CUDA(name, suffix, params) CUresult (*name) params;
#include "runtime/cuda.def"
#undef CUDA
} Cuda;

/* fits: a table whose host code this machine is known to run. */
typedef struct GpuModule { uint64_t key, more_key; CUmodule module; const optc_gpu_desc *fits; } GpuModule;

struct optc_gpu {
  void *library;                         /* dlopen's handle */
  Cuda cuda;
  CUdevice device;
  int ordinal, compute;                  /* its number; its compute capability: 80 for 8.0 */
  CUcontext context;                     /* the device's primary one */
  GpuModule *modules; size_t n_modules, capacity;
  CUmodule steps; CUfunction advance;    /* cuda_plan.c: loaded with the first plan */
  char text[8192];                       /* what failed last */
};

/* Fills the gpu's text and the error, which points to it; returns OPTC_E_DEVICE. */
int gpu_fail(optc_gpu *, optc_error *, const char *function, CUresult);
/* A module from PTX. The gpu's context is current. */
int gpu_load(optc_gpu *, const char *text, CUmodule *, optc_error *);
/* The module of a rule's PTX for this gpu, loaded when the gpu meets it first; it stays where it is until the next one is. */
int gpu_module(optc_gpu *, const optc_gpu_desc *, GpuModule **, optc_error *);

/* --- cuda_record.c: a call as launches ------------------------------------------------------------------------------------------------------- */
typedef struct GpuLaunch {
  const optc_gpu_kernel_desc *kernel;
  size_t work;                           /* place of its work entries */
  int64_t n_work, longest;               /* how many; positions of the longest */
  CUfunction function;
} GpuLaunch;

enum { GPU_WINDOW = 1 << 24 };           /* elements: launches of this size are long against the time they take to begin */

/* The GPU's memory of a call is its workspace and, behind it, an image that is made here. Places are counted from where the image begins. */
typedef struct GpuRecord {
  Arena *arena;                          /* the caller's: all of it lives there */
  char *image; size_t size, capacity;
  size_t *moved; size_t n_moved, moved_capacity;         /* words of the image that are places */
  GpuLaunch *launches; size_t n_launches, launch_capacity;
  size_t workspace;                      /* bytes, a multiple of 256 */
  size_t groups, global, items;          /* places of the call's structs */
  size_t skip;                           /* place of a word: t stays as it is if that is not 0 after the launches. Place 0 always is such a word, and 0 */
  int64_t partials; size_t n_partials;   /* doubles, to be 0 before the launches */
  int64_t t;                             /* after the call, unless it is to stay */
} GpuRecord;

/* Fills a record that has its arena. An error code; then call->error says more. again: it will be launched more than once. *fits: whether this machine is known to
 * run the rule's host code; set when that was found. */
int gpu_record(GpuRecord *, const optc_gpu_desc *, int64_t entry, const optc_call *, bool again, bool *fits);
/* Places become addresses: the image lies at `base`. */
void gpu_place(const GpuRecord *, uint64_t base);

/* --- cuda_queue.c: what is queued in a stream ------------------------------------------------------------------------------------------------- */
typedef struct GpuQueue { optc_gpu *gpu; CUstream stream; bool entered; int status; optc_error error; } GpuQueue;      /* status: of the first function that failed */
#define CU(q, name, ...) gpu_passed(q, #name, (q)->gpu->cuda.name(__VA_ARGS__))
bool gpu_passed(GpuQueue *, const char *function, CUresult);             /* whether all is well so far */
/* Between these two the gpu's context is current; the latter's return value and *error (or NULL) are what the queue met, which may be that there is no context. */
bool gpu_enter(GpuQueue *, optc_gpu *, CUstream);
int gpu_leave(GpuQueue *, optc_error *);
void gpu_refuse(GpuQueue *, int code, const char *text);                 /* unless something failed before */

/* A record on the GPU: memory, the image copied there. */
typedef struct GpuPlaced { GpuRecord *record; CUdeviceptr memory, base; } GpuPlaced;
bool gpu_put(GpuQueue *, const GpuModule *, GpuRecord *, GpuPlaced *);
void gpu_launch(GpuQueue *, const GpuPlaced *);
void gpu_release(GpuQueue *, GpuPlaced *);

/* --- cuda_call.c ------------------------------------------------------------------------------------------------------------------------------- */
/* What is wrong with a call of an entry in this table before it is looked at closely; an error code. entry: as the rule's descriptor counts, found by its name. */
int gpu_check(const optc_gpu_desc *, const optc_call *);
int gpu_find_entry(const optc_gpu_desc *, const char *name, const optc_call *, int64_t *entry);
/* Records a call, the module being loaded. */
GpuRecord *gpu_prepare(GpuQueue *, Arena *, const optc_gpu_desc *, int64_t entry, const optc_call *, bool again, GpuModule **);
#endif
