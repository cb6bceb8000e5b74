#pragma once

// FP16 dots by wgmma: weights are the operand in registers, fresh from their nibbles, activations the one in shared
// memory. The products of one block run while the fragments of the next are made.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/mainloop/warp_tile.cuh>
#include <q4fuse/detail/quant/fp16_weights.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Sums of a warpgroup, each warp with its own 16 * kRowTiles rows: which rows of W make up the 64 of a product is
/// free, as long as every warp brings 16.
template <int kRowTiles, int kTokenTiles>
class dot_wgmma : public warp_tile_sums<kRowTiles, kTokenTiles> {
 public:
  static constexpr int kRequiredArch = 90;
  static constexpr int kBlockBytes = kFp16BlockBytes;
  static constexpr float kSumScale = 1.0f;

  __device__ dot_wgmma(const uint8_t* /*constant*/, int warp_row) : row_offset_(warp_row * kWeightPieceBytes) {}

  /// Adds `pairs` pairs of blocks, of a whole tile; those of a last stage that do not exist are zeros. One group of
  /// products, of one block, runs beside the next block's fragments: each has one wait, after which those of the group
  /// before are made anew. Bytes are read a block ahead, so that their latency passes during all of that. Whole pieces
  /// are one straight line: a loop over pairs spends as much on finding its way as on fragments.
  template <class Stages>
  __device__ __forceinline__ void multiply(Stages& stages, int pairs) {
#pragma unroll 1
    for (int first = 0; first < pairs; first += kPieceBlocks / 2) {
#pragma unroll
      for (int stage = 0; stage < Stages::kPieceStages; ++stage) {
        const int pair = first + stage * Stages::kPairs;
        if (stage == 0 || pair < pairs) multiply_stage(stages, stage, pairs - pair, pair > 0);
      }
    }
    finish();
    stages.release();
  }

 private:
  /// Of a stage, of which `pairs` pairs exist, or more. Releases the one before it, if it is not the first.
  template <class Stages>
  __device__ __forceinline__ void multiply_stage(Stages& stages, int stage, int pairs, bool has_predecessor) {
    stages.acquire(stage);
    const uint8_t* const weights = stages.weights(stage) + row_offset_;
    const uint64_t activations = arch::make_wgmma_descriptor(stages.activations());
    raw_.load(weights);
#pragma unroll
    for (int pair = 0; pair < Stages::kPairs; ++pair) {
      if (pair > 0 && pair >= pairs) break;
      const uint8_t* const block = weights + pair * kPairBytes;
      const uint64_t tile =
          arch::advance_wgmma_descriptor(activations, pair * 8 * kTokenTiles * arch::kSwizzledRowBytes);
      arch::wgmma_wait<1>();
      make_weight_fragments(a_[0], raw_);
      raw_.load(block + kWeightBlockBytes);
      start<0>(tile);
      arch::wgmma_wait<1>();
      if (pair == 0 && has_predecessor) stages.release();
      make_weight_fragments(a_[1], raw_);
      if (pair + 1 < Stages::kPairs && pair + 1 < pairs) raw_.load(block + kPairBytes);
      start<1>(tile);
    }
    stages.leave(stage);
  }

  /// Waits for all products: only now are the sums there.
  __device__ __forceinline__ void finish() {
    arch::wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) arch::wgmma_release(this->sums_[i][j][e]);
      }
    }
  }

  /// Starts the products of those fragments with block kBlock of a tile of activations, as one group.
  template <int kBlock>
  __device__ __forceinline__ void start(uint64_t tile) {
    constexpr int kTokens = 8 * kTokenTiles;
    arch::wgmma_fence();
#pragma unroll
    for (int group = 0; group < 2; ++group) {
      const uint64_t descriptor = arch::advance_wgmma_descriptor(tile, kBlock * kBlockBytes + group * kBlockBytes / 2);
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        // The order of accumulators in a product is that of warp_tile_sums.
        auto& sums = reinterpret_cast<float(&)[kTokens / 2]>(this->sums_[i]);
        arch::wgmma_m64k16_f16<kTokens>(sums, a_[kBlock][i][group], descriptor);
      }
    }
    arch::wgmma_commit();
  }

  int row_offset_;
  raw_fragments<kRowTiles> raw_;
  uint32_t a_[2][kRowTiles][2][4];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
