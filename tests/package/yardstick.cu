// A unit of compile time. What the compiler needs for this file says how fast the machine is at the moment, so that
// check_kernels.py can tell slower headers from a slower machine. It stands for kernels like the library's, unrolled
// and full of integer arithmetic on packed words, includes none of its headers, and never changes.

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

template <int kRows, int kColumns, int kStep>
__global__ void yardstick_kernel(const uint32_t* a, const __half2* b, float* sums, int length) {
  __shared__ uint32_t tile[kRows * 64];
  float sum[kRows][kColumns] = {};
  for (int first = 0; first < length; first += 64) {
    if (length - first >= 64) {
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        tile[row * 64 + (threadIdx.x + row * kStep) % 64] =
            a[(blockIdx.x * kRows + row) * length + first + threadIdx.x];
      }
    } else {
#pragma unroll 1
      for (int i = threadIdx.x; i < kRows * 64; i += blockDim.x) {
        tile[i] = first + i % 64 < length ? a[(blockIdx.x * kRows + i / 64) * length + first + i % 64] : 0;
      }
    }
    __syncthreads();
#pragma unroll
    for (int step = 0; step < 4; ++step) {
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
        const float2 scale = __half22float2(b[(column * length + first) / 2 + step * kStep]);
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
          const uint32_t word = tile[row * 64 + (threadIdx.x * kStep + step) % 64];
          const uint32_t other = tile[(row * 64 + column + step) % (kRows * 64)];
          int dot = 0;
#pragma unroll
          for (int byte = 0; byte < 4; ++byte) {
            dot += static_cast<int>(word >> (8 * byte) & 15) * static_cast<int>(other >> (8 * byte + 4) & 15);
          }
          dot ^= __shfl_xor_sync(0xFFFFFFFFu, dot, kStep);
          sum[row][column] += static_cast<float>(dot - 8) * (step % 2 == 0 ? scale.x : scale.y);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
      sums[(column * gridDim.x + blockIdx.x) * kRows + row] = sum[row][column];
    }
  }
}

template __global__ void yardstick_kernel<4, 8, 1>(const uint32_t*, const __half2*, float*, int);
template __global__ void yardstick_kernel<8, 4, 2>(const uint32_t*, const __half2*, float*, int);
template __global__ void yardstick_kernel<8, 8, 2>(const uint32_t*, const __half2*, float*, int);
template __global__ void yardstick_kernel<8, 8, 4>(const uint32_t*, const __half2*, float*, int);
template __global__ void yardstick_kernel<16, 4, 8>(const uint32_t*, const __half2*, float*, int);
