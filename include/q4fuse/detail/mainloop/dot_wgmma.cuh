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

  /// As of dot_wgmma_s8. One group of products, of one block, always runs; each has one wait, after which its fragments
  /// are made anew. Bytes are read before the wait, so that their latency passes during it, or, with registers to
  /// spare, before the products ahead of it are started.
  template <class Stages>
  __device__ __forceinline__ void multiply(Stages& stages, int pairs) {
    constexpr bool kAhead = Stages::kRegistersToSpare;
    stages.acquire();
    raw_.load(stages.weights() + row_offset_);
    make_weight_fragments(a_[0], raw_);
    if constexpr (kAhead) raw_.load(stages.weights() + row_offset_ + kWeightBlockBytes);
#pragma unroll 1
    for (int pair = 0; pair < pairs; ++pair) {
      const uint64_t stage = arch::make_wgmma_descriptor(stages.activations());
      start<0>(stage);
      if constexpr (!kAhead) raw_.load(stages.weights() + row_offset_ + kWeightBlockBytes);
      arch::wgmma_wait<1>();
      if (pair > 0) stages.release();
      make_weight_fragments(a_[1], raw_);
      const bool more = pair + 1 < pairs;
      const bool ahead = kAhead && more && !stages.at_end_of_piece();
      if (ahead) raw_.load(stages.weights() + row_offset_ + kPairBytes);
      start<1>(stage);
      if (more) {
        stages.next();
        if (!ahead) raw_.load(stages.weights() + row_offset_);
        arch::wgmma_wait<1>();
        make_weight_fragments(a_[0], raw_);
        if constexpr (kAhead) raw_.load(stages.weights() + row_offset_ + kWeightBlockBytes);
      }
    }
    finish();
    stages.release();
  }

 private:
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

  /// Starts the products of those fragments with block kBlock of a stage of activations, as one group.
  template <int kBlock>
  __device__ __forceinline__ void start(uint64_t stage) {
    constexpr int kTokens = 8 * kTokenTiles;
    arch::wgmma_fence();
#pragma unroll
    for (int group = 0; group < 2; ++group) {
      const uint64_t descriptor = arch::advance_wgmma_descriptor(stage, kBlock * kBlockBytes + group * kBlockBytes / 2);
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
