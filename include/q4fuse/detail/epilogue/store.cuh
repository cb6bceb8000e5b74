#pragma once

// From FP32 sums to Y: undoes the dot's own factor and stores what lies inside the matrix.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

template <class Dot>
__device__ __forceinline__ void store_output(const gemm_arguments& arguments, int64_t token, int64_t row, float sum) {
  if (token < arguments.m && row < arguments.n) {
    arch::store_global<float>(arguments.y + token * arguments.ldy + row, arch::mul_rn(sum, Dot::kSumScale));
  }
}

/// Stores those sums of a warp tile that lie inside Y.
template <class Dot>
__device__ __forceinline__ void store_ragged_sums(const Dot& dot, const gemm_arguments& arguments, int64_t first_row,
                                                  int64_t first_token) {
  dot.for_each(
      [&](int row, int token, float sum) { store_output<Dot>(arguments, first_token + token, first_row + row, sum); });
}

/// Stores the sums of a warp tile. Lanes hold them as mma does: one store writes eight rows of four tokens, whole
/// sectors of 32 bytes where Y is aligned to that, so that a detour through shared memory would gain nothing.
template <class Dot>
__device__ __forceinline__ void store_sums(const Dot& dot, const gemm_arguments& arguments, int64_t first_row,
                                           int64_t first_token) {
  if (first_row + Dot::kRows <= arguments.n && first_token + Dot::kTokens <= arguments.m) {
    float* const lane = arguments.y + (first_token + Dot::first_token()) * arguments.ldy + first_row + Dot::first_row();
    dot.for_each_from_first([&](int row, int token, float sum) {
      arch::store_global<float>(lane + token * arguments.ldy + row, arch::mul_rn(sum, Dot::kSumScale));
    });
    return;
  }
  store_ragged_sums(dot, arguments, first_row, first_token);
}

/// Adds the partial sums of the kWarpsK warps of a group, warp 0 first, and stores them; `thread` counts within the
/// group. `partials` holds `tokens` rows per warp.
template <class Policy>
__device__ __forceinline__ void store_partial_sums(const float* partials, const gemm_arguments& arguments,
                                                   int64_t first_row, int64_t first_token, int tokens, int thread) {
  constexpr int kStride = partial_row_floats(Policy::kWarpRows);
  for (int index = thread; index < tokens * Policy::kWarpRows; index += Policy::kWarpsK * kWarpSize) {
    const int token = index / Policy::kWarpRows;
    const int row = index % Policy::kWarpRows;
    const float* element = partials + token * kStride + row;
    float sum = arch::load_shared<float>(element);
#pragma unroll
    for (int warp = 1; warp < Policy::kWarpsK; ++warp) {
      sum = arch::add_rn(sum, arch::load_shared<float>(element + warp * tokens * kStride));
    }
    store_output<typename Policy::dot>(arguments, first_token + token, first_row + row, sum);
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
