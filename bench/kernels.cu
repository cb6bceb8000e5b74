#include "cuda_handles.hpp"
#include "kernels.hpp"

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>

namespace q4fuse_bench {
namespace {

constexpr int kThreads = 256;
/// Enough CTAs to fill any device; every kernel strides over the rest.
constexpr int64_t kMaxCtas = 2048;

unsigned ctas_for(int64_t items) {
  return static_cast<unsigned>(std::clamp<int64_t>((items + kThreads - 1) / kThreads, 1, kMaxCtas));
}

__device__ int64_t first_item() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ int64_t item_stride() { return int64_t{gridDim.x} * blockDim.x; }

__global__ void __launch_bounds__(kThreads) read_kernel(uint4* data, int64_t count) {
  constexpr int kUnroll = 8;
  const int64_t stride = item_stride();
  uint32_t folded = 0;
  int64_t i = first_item();
  for (; i + (kUnroll - 1) * stride < count; i += kUnroll * stride) {
    uint4 values[kUnroll];
#pragma unroll
    for (int j = 0; j < kUnroll; ++j) values[j] = data[i + j * stride];
#pragma unroll
    for (int j = 0; j < kUnroll; ++j) folded |= values[j].x ^ values[j].y ^ values[j].z ^ values[j].w;
  }
  for (; i < count; i += stride) folded |= data[i].x ^ data[i].y ^ data[i].z ^ data[i].w;
  // Never so for a buffer of equal words, but the assembler drops loads whose values reach no store.
  if (folded == 1) data[0].x = folded;
}

__global__ void spin_kernel(long long cycles) {
  const long long start = clock64();
  while (clock64() - start < cycles) {
  }
}

__global__ void __launch_bounds__(kThreads)
    producer_kernel(const uint32_t* source, uint32_t* destination, int64_t words) {
#if __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
#endif
  const int64_t vectors = words / 4;
  for (int64_t i = first_item(); i < vectors; i += item_stride()) {
    reinterpret_cast<uint4*>(destination)[i] = reinterpret_cast<const uint4*>(source)[i];
  }
  for (int64_t i = vectors * 4 + first_item(); i < words; i += item_stride()) destination[i] = source[i];
}

__global__ void __launch_bounds__(kThreads) dequantize_kernel(const q4fuse::block_q4_0* w, __half* y, int64_t blocks) {
  constexpr int kHalf = q4fuse::kBlockSize / 2;
  for (int64_t i = first_item(); i < blocks * kHalf; i += item_stride()) {
    const q4fuse::block_q4_0& block = w[i / kHalf];
    const int j = static_cast<int>(i % kHalf);
    const float d = __half2float(block.d);
    __half* const values = y + i / kHalf * q4fuse::kBlockSize;
    values[j] = __float2half_rn(d * static_cast<float>((block.qs[j] & 0x0F) - 8));
    values[j + kHalf] = __float2half_rn(d * static_cast<float>((block.qs[j] >> 4) - 8));
  }
}

__global__ void __launch_bounds__(kThreads)
    count_differences_kernel(const uint32_t* a, const uint32_t* b, int64_t words, unsigned long long* count) {
  unsigned long long different = 0;
  for (int64_t i = first_item(); i < words; i += item_stride()) different += a[i] != b[i];
  if (different != 0) atomicAdd(count, different);
}

}  // namespace

void launch_read(std::byte* data, int64_t bytes, cudaStream_t stream) {
  const int64_t count = bytes / 16;
  read_kernel<<<ctas_for(count), kThreads, 0, stream>>>(reinterpret_cast<uint4*>(data), count);
  check(cudaGetLastError(), "read_kernel");
}

void launch_spin(int64_t clock_cycles, cudaStream_t stream) {
  spin_kernel<<<1, 1, 0, stream>>>(clock_cycles);
  check(cudaGetLastError(), "spin_kernel");
}

void launch_producer(const void* source, void* destination, int64_t bytes, cudaStream_t stream) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(ctas_for(bytes / 16));
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, producer_kernel, static_cast<const uint32_t*>(source),
                           static_cast<uint32_t*>(destination), bytes / 4),
        "producer_kernel");
}

void launch_dequantize(const q4fuse::block_q4_0* w, __half* y, int64_t blocks, cudaStream_t stream) {
  dequantize_kernel<<<ctas_for(blocks * q4fuse::kBlockSize / 2), kThreads, 0, stream>>>(w, y, blocks);
  check(cudaGetLastError(), "dequantize_kernel");
}

void launch_count_differences(const float* a, const float* b, int64_t words, unsigned long long* count,
                              cudaStream_t stream) {
  count_differences_kernel<<<ctas_for(words), kThreads, 0, stream>>>(
      reinterpret_cast<const uint32_t*>(a), reinterpret_cast<const uint32_t*>(b), words, count);
  check(cudaGetLastError(), "count_differences_kernel");
}

}  // namespace q4fuse_bench
