/* cuda.h: a rule's kernels on a GPU: what is known of each kernel, and the driver that is found at run time. For the files of this room only. */
#ifndef OPTC_RUNTIME_CUDA_H
#define OPTC_RUNTIME_CUDA_H
#include "ir/kernel.h"
#include "runtime/cache.h"
#include "runtime/cuda_api.h"
#include "runtime/rule.h"

/* --- cuda_code.c: a rule compiled for PTX -------------------------------------------------------------------------------------------------- */
typedef struct GpuKernel {
  const Program *program;
  const Kernel *kernel;
  const char *name;                      /* in the PTX */
  bool on_host;                          /* numbers of the call, no elements: interpreted before anything is launched */
  bool by_threads;                       /* threads share its work; else one does it all */
  bool answers;                          /* the driver reads what it leaves in the frame, or its uniforms */
  bool sets_numbers;                     /* of items or of the call */
} GpuKernel;

struct GpuCode {
  const Module *module;
  const char *text; size_t length;       /* PTX; a zero byte follows */
  CacheKey key;                          /* of the text */
  const GpuKernel **kernels;             /* by entry, then by kernel */
};

/* names: of all kernels, in the order of programs and kernels. Everything lives in the module's arena. */
const struct GpuCode *gpu_code(const Module *, Program *const *, const char *text, size_t length, const char *const *names);
/* Whether every write of a kernel stands in a loop that threads share: then each element is written by one of them. */
bool gpu_threads_share(const Kernel *);

/* --- cuda.c: the driver and its modules ------------------------------------------------------------------------------------------------------ */
typedef struct Cuda {
#define CUDA(name, suffix, params) CUresult (*name) params;
#include "runtime/cuda.def"
#undef CUDA
} Cuda;

typedef struct GpuModule { CacheKey key; CUmodule module; } GpuModule;

struct optc_gpu {
  void *library;                         /* dlopen's handle */
  Cuda cuda;
  CUdevice device;
  int ordinal;
  CUcontext context;                     /* the device's primary one */
  GpuModule *modules; size_t n_modules, capacity;
  char text[8192];                       /* what failed last */
};

/* Fills the gpu's text and the error, which points to it; returns OPTC_E_DEVICE. */
int gpu_fail(optc_gpu *, optc_error *, const char *function, CUresult);
/* The module of a rule, loaded when this gpu meets it first. The gpu's context is current. */
int gpu_module(optc_gpu *, const struct GpuCode *, CUmodule *, optc_error *);

/* --- cuda_call.c ------------------------------------------------------------------------------------------------------------------------------- */
/* A call with the rule's own structs in main memory, its tensors on the GPU, its workspace again in main memory. entry: as the descriptor counts. */
int gpu_drive(optc_gpu *, const optc_rule *, int64_t entry, CUstream, const optc_call *);
size_t gpu_workspace(const optc_rule *, const optc_call *);
#endif
