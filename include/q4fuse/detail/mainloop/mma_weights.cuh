#pragma once

// Weights as the int8 tensor cores take them.

#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// A block of 16 rows: a lane's part of the operand of mma.m16n8k32, and the scales of rows g and g + 8, of which it
/// has sums, with g = lane / 4.
struct mma_weights {
  uint32_t a[4];
  weight_scale scale[2];

  /// Block kBlock (0 or 1) of a pair that row g has at `pair`, quants of lane `t` of the row's four; kRowBytes from one
  /// row to the next.
  template <int kBlock, int kRowBytes = kWeightPieceBytes>
  __device__ __forceinline__ void load(const uint8_t* pair, int t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint8_t* const row = pair + half * 8 * kRowBytes;
      const uint32_t quants = load_quants<kBlock>(row, t);
      a[half] = low_nibbles_x16(quants);
      a[half + 2] = high_nibbles_x16(quants);
      scale[half] = make_weight_scale(load_weight_scale<kBlock>(row));
    }
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
