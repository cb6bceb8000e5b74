#pragma once

// Block dots on the tensor cores as in dot_mma, with activations that are in registers already.

#include <q4fuse/detail/arch/mma_sm80.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/mainloop/mma_weights.cuh>
#include <q4fuse/detail/mainloop/warp_tile.cuh>
#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/tile/held_activations.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Sums of 16 rows x 8 * kTokenTiles tokens.
template <int kTokenTiles>
class dot_mma_held : public warp_tile_sums<1, kTokenTiles>, public integer_dot {
 public:
  static constexpr int kRequiredArch = 80;

  /// Adds a whole piece, of rows that are kRowBytes apart: what lies beyond k is zeros in both factors. The products of
  /// a block run while those of the block before it are scaled.
  template <int kRowBytes>
  __device__ __forceinline__ void add_piece(const uint8_t* weights, const held_piece<kTokenTiles>& x) {
    const uint8_t* const row = weights + arch::lane_index() / 4 * kRowBytes;
    mma_weights w[2];
    int dots[2][kTokenTiles][4];
#pragma unroll
    for (int block = 0; block <= kPieceBlocks; ++block) {
      if (block < kPieceBlocks) {
        load_block<kRowBytes>(w[block % 2], row, block);
#pragma unroll
        for (int j = 0; j < kTokenTiles; ++j) {
          arch::mma_m16n8k32_s8(dots[block % 2][j], w[block % 2].a, x.quants[j][block], kDotBias);
        }
      }
      if (block > 0) scale(dots[(block - 1) % 2], w[(block - 1) % 2], x, block - 1);
    }
  }

 private:
  template <int kRowBytes>
  static __device__ __forceinline__ void load_block(mma_weights& w, const uint8_t* row, int block) {
    const uint8_t* const pair = row + block / 2 * kPairBytes;
    if (block % 2 == 0) {
      w.template load<0, kRowBytes>(pair, arch::lane_index() % 4);
    } else {
      w.template load<1, kRowBytes>(pair, arch::lane_index() % 4);
    }
  }

  __device__ __forceinline__ void scale(const int (&dots)[kTokenTiles][4], const mma_weights& w,
                                        const held_piece<kTokenTiles>& x, int block) {
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
      // For older targets all would become floats ahead of the loop over row tiles, and take too many registers.
      const uint32_t halves = arch::kTargetHas<90> ? x.scales[j][block] : arch::fresh(x.scales[j][block]);
      const float2 two = arch::half2_to_float2(halves);
      const float d8[2] = {two.x, two.y};
#pragma unroll
      for (int token = 0; token < 2; ++token) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& sum = this->sums_[0][j][2 * half + token];
          sum = accumulate(dots[j][2 * half + token], w.scale[half], d8[token], sum);
        }
      }
    }
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
