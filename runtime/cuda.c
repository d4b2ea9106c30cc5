/* cuda.c: the NVIDIA driver, found at run time: devices are opened, modules are loaded once each. */
#include "runtime/cuda.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Symbol { const char *name, *missing; size_t offset; } Symbol;
static const Symbol symbols[] = {
#define CUDA(name, suffix, params) {#name #suffix, "the NVIDIA driver has no " #name #suffix ": it is older than CUDA 11.2", offsetof(Cuda, name)},
#include "runtime/cuda.def"
#undef CUDA
};

static int refuse(optc_error *error, const char *text) {
  if (error) *error = (optc_error){.code = OPTC_E_DEVICE, .text = text, .item = -1};
  return OPTC_E_DEVICE;
}

static int refuse_number(optc_error *error, const char *text, double number) {
  if (error) *error = (optc_error){.code = OPTC_E_DEVICE, .text = text, .item = -1, .n = 1, .value = {number}};
  return OPTC_E_DEVICE;
}

static int load_driver(optc_gpu *gpu, optc_error *error) {
  const char *other = getenv("OPTC_CUDA_LIBRARY");
  gpu->library = dlopen(other && *other ? other : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!gpu->library) return refuse(error, other && *other ? "no NVIDIA driver: the library that OPTC_CUDA_LIBRARY names was not found" : "no NVIDIA driver: libcuda.so.1 was not found");
  for (size_t k = 0; k < sizeof symbols/sizeof *symbols; k++) {
    void *found = dlsym(gpu->library, symbols[k].name);
    if (!found) return refuse(error, symbols[k].missing);
    memcpy((char *)&gpu->cuda + symbols[k].offset, &found, sizeof found);
  }
  return OPTC_OK;
}

static int open_device(optc_gpu *gpu, int ordinal, optc_error *error) {
  CUresult result = gpu->cuda.cuInit(0);
  if (result) return refuse_number(error, "the NVIDIA driver does not start: cuInit gives CUresult {}", result);
  result = gpu->cuda.cuDeviceGet(&gpu->device, ordinal);
  if (result) return refuse_number(error, "there is no GPU {}", ordinal);
  gpu->ordinal = ordinal;
  int major = 0, minor = 0;
  if (gpu->cuda.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, gpu->device) || gpu->cuda.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, gpu->device))
    return refuse_number(error, "GPU {} does not tell its compute capability", ordinal);
  gpu->compute = 10*major + minor;
  result = gpu->cuda.cuDevicePrimaryCtxRetain(&gpu->context, gpu->device);
  return result ? refuse_number(error, "the GPU has no context: cuDevicePrimaryCtxRetain gives CUresult {}", result) : OPTC_OK;
}

int optc_gpu_open(int device, optc_gpu **out, optc_error *error) {
  if (out) *out = NULL;
  if (error) *error = (optc_error){.item = -1};
  if (!out) return OPTC_E_NULL;
  optc_gpu *gpu = calloc(1, sizeof *gpu);
  if (!gpu) return OPTC_E_MEMORY;
  int status = load_driver(gpu, error);
  if (status == OPTC_OK) status = open_device(gpu, device, error);
  if (status == OPTC_OK) *out = gpu;
  else optc_gpu_close(gpu);
  return status;
}

void optc_gpu_close(optc_gpu *gpu) {
  if (!gpu) return;
  if (gpu->context) {
    CUcontext left;
    gpu->cuda.cuCtxPushCurrent(gpu->context);
    for (size_t k = 0; k < gpu->n_modules; k++) gpu->cuda.cuModuleUnload(gpu->modules[k].module);
    if (gpu->steps) gpu->cuda.cuModuleUnload(gpu->steps);
    gpu->cuda.cuCtxPopCurrent(&left);
    gpu->cuda.cuDevicePrimaryCtxRelease(gpu->device);
  }
  if (gpu->library) dlclose(gpu->library);
  free(gpu->modules);
  free(gpu);
}

int gpu_fail(optc_gpu *gpu, optc_error *error, const char *function, CUresult result) {
  const char *name = NULL;
  if (gpu->cuda.cuGetErrorName(result, &name) || !name) name = "an unknown error";
  snprintf(gpu->text, sizeof gpu->text, "%s: %s (%d)", function, name, result);
  return refuse(error, gpu->text);
}

int gpu_load(optc_gpu *gpu, const char *text, CUmodule *module, optc_error *error) {
  char log[4096] = "";
  int options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, (void *)(uintptr_t)(sizeof log - 1)};
  CUresult result = gpu->cuda.cuModuleLoadDataEx(module, text, sizeof options/sizeof *options, options, values);
  if (!result) return OPTC_OK;
  gpu_fail(gpu, error, "cuModuleLoadDataEx", result);
  size_t said = strlen(gpu->text);
  if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION) said += (size_t)snprintf(gpu->text + said, sizeof gpu->text - said, ": the driver is older than the PTX");
  if (*log) snprintf(gpu->text + said, sizeof gpu->text - said, "\n%s", log);
  return OPTC_E_DEVICE;
}

static int refuse_target(const optc_gpu *gpu, optc_error *error) {
  if (error) *error = (optc_error){.code = OPTC_E_TARGET, .text = "the rule has no PTX for this GPU, whose compute capability is {}", .item = -1, .n = 1, .value = {gpu->compute/10.0}};
  return OPTC_E_TARGET;
}

int gpu_module(optc_gpu *gpu, const optc_gpu_desc *code, GpuModule **module, optc_error *error) {
  const optc_gpu_target_desc *target = gpu_choose(code, gpu->compute);
  if (!target) return refuse_target(gpu, error);
  for (size_t k = 0; k < gpu->n_modules; k++)
    if (gpu->modules[k].key == target->key && gpu->modules[k].more_key == target->more_key) {
      *module = &gpu->modules[k];
      return OPTC_OK;
    }
  if (gpu->n_modules == gpu->capacity) {
    size_t capacity = gpu->capacity ? 2*gpu->capacity : 8;
    GpuModule *grown = realloc(gpu->modules, capacity*sizeof *grown);
    if (!grown) return OPTC_E_MEMORY;
    gpu->modules = grown;
    gpu->capacity = capacity;
  }
  *module = &gpu->modules[gpu->n_modules];
  **module = (GpuModule){.key = target->key, .more_key = target->more_key};
  int status = gpu_load(gpu, target->text, &(*module)->module, error);
  gpu->n_modules += status == OPTC_OK;
  return status;
}
