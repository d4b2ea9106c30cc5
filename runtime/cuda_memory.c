/* cuda_memory.c: memory of a GPU, for programs that have no other way to it. */
#include "runtime/cuda.h"

int optc_gpu_alloc(void *stream, optc_gpu *gpu, size_t size, void **out, optc_error *error) {
  GpuQueue q;
  CUdeviceptr at = 0;
  if (out) *out = NULL;
  if (!gpu || !out) return OPTC_E_NULL;
  if (gpu_enter(&q, gpu, stream)) CU(&q, cuMemAllocAsync, &at, size ? size : 1, q.stream);
  *out = (void *)(uintptr_t)at;
  return gpu_leave(&q, error);
}

int optc_gpu_free(void *stream, optc_gpu *gpu, void *there, optc_error *error) {
  GpuQueue q;
  if (!gpu) return OPTC_E_NULL;
  if (!there) return OPTC_OK;
  if (gpu_enter(&q, gpu, stream)) CU(&q, cuMemFreeAsync, (CUdeviceptr)(uintptr_t)there, q.stream);
  return gpu_leave(&q, error);
}

int optc_gpu_write(void *stream, optc_gpu *gpu, void *there, const void *here, size_t size, optc_error *error) {
  GpuQueue q;
  if (!gpu || !there || !here) return OPTC_E_NULL;
  if (gpu_enter(&q, gpu, stream) && size) CU(&q, cuMemcpyHtoDAsync, (CUdeviceptr)(uintptr_t)there, here, size, q.stream);
  return gpu_leave(&q, error);
}

int optc_gpu_read(void *stream, optc_gpu *gpu, void *here, const void *there, size_t size, optc_error *error) {
  GpuQueue q;
  if (!gpu || !there || !here) return OPTC_E_NULL;
  if (gpu_enter(&q, gpu, stream) && size && CU(&q, cuMemcpyDtoHAsync, here, (CUdeviceptr)(uintptr_t)there, size, q.stream)) CU(&q, cuStreamSynchronize, q.stream);
  return gpu_leave(&q, error);
}
