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
/* Whether every write of a kernel stands in a loop that threads share: then each element is written by one of them. */
bool gpu_threads_share(const Kernel *);
bool gpu_block_contracts(const Kernel *);                                /* whether it multiplies matrices, and nothing else */
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
  char text[8192];                       /* what failed last */
};

/* Fills the gpu's text and the error, which points to it; returns OPTC_E_DEVICE. */
int gpu_fail(optc_gpu *, optc_error *, const char *function, CUresult);
/* The module of a rule's PTX for this gpu, loaded when the gpu meets it first; it stays where it is until the next one is. The gpu's context is current. */
int gpu_module(optc_gpu *, const optc_gpu_desc *, GpuModule **, optc_error *);

/* --- cuda_call.c ------------------------------------------------------------------------------------------------------------------------------- */
/* A call with the rule's own structs in main memory and its tensors on the GPU; its workspace and parallel are not used. entry: as the rule's descriptor counts. */
int gpu_drive(CUstream, optc_gpu *, const optc_gpu_desc *, int64_t entry, const optc_call *);
#endif
