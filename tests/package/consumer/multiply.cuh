#pragma once

#include "outcome.hpp"

#include <q4fuse/q4fuse.cuh>

/// Multiplies a row of 32 ones by a row of 32 ones; y is a little off 32, since 1/127 is rounded to FP16.
static outcome multiply() {
  outcome result{};
  q4fuse::device_info device;
  q4fuse::status status = q4fuse::query_device(&device);
  q4fuse::block_q4_0* w = nullptr;
  __half* x = nullptr;
  float* y = nullptr;
  if (status.ok()) status = q4fuse::status(cudaMallocManaged(&w, sizeof(*w)));
  if (status.ok()) status = q4fuse::status(cudaMallocManaged(&x, 32 * sizeof(*x)));
  if (status.ok()) status = q4fuse::status(cudaMallocManaged(&y, sizeof(*y)));
  if (status.ok()) {
    const float one = 1.0f;
    w->d = __float2half(one);
    for (uint8_t& nibbles : w->qs) nibbles = 0x99;
    for (int i = 0; i < 32; ++i) x[i] = __float2half(one);
    status = q4fuse::gemm_q4_0_fp16_fused(w, x, y, {1, 1, 32}, {}, nullptr);
  }
  if (status.ok()) status = q4fuse::status(cudaDeviceSynchronize());
  if (status.ok()) result.y = *y;
  result.code_arch = device.code_arch;
  result.has_wgmma = device.has_wgmma;
  result.no_gpu = status.cuda_error() == cudaErrorNoDevice || status.cuda_error() == cudaErrorInsufficientDriver;
  result.no_kernel = status == q4fuse::status_code::no_kernel_for_device;
  result.ok = status.ok();
  cudaFree(w);
  cudaFree(x);
  cudaFree(y);
  return result;
}
