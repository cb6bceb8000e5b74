#pragma once

// FP16 dots on the tensor cores, for the math modes without a rescale a block: the scales are in the operands, and the
// sums stay in the accumulators over all of k.

#include <q4fuse/detail/arch/ldmatrix_sm75.cuh>
#include <q4fuse/detail/arch/mma_f16_sm75.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/mainloop/warp_tile.cuh>
#include <q4fuse/detail/quant/fp16_weights.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Sums of a warp tile by mma.m16n8k16. Activations lie as in quant/fp16_activations.cuh.
template <int kRowTiles, int kTokenTiles>
class dot_f16 : public warp_tile_sums<kRowTiles, kTokenTiles> {
 public:
  static constexpr int kRequiredArch = 75;
  static constexpr int kBlockBytes = kFp16BlockBytes;
  static constexpr float kSumScale = 1.0f;

  /// Adds block kBlock (0 or 1) of the pair at `weights` (row 0 of the warp tile) times the block at `activations`
  /// (token 0 of the warp tile).
  template <int kBlock, class TokenRows>
  __device__ __forceinline__ void multiply(const uint8_t* weights, const uint8_t* activations, const TokenRows& rows) {
    uint32_t a[kRowTiles][2][4];
    load_weight_fragments(a, weights + kBlock * kWeightBlockBytes);
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
      // The four 16-byte quarters of a block of eight tokens.
      uint32_t b[4];
      arch::load_matrix_x4(b, activations + rows.offset(8 * j + arch::lane_index() % 8) + arch::lane_index() / 8 * 16);
#pragma unroll
      for (int group = 0; group < 2; ++group) {
        const uint32_t b_group[2] = {b[2 * group], b[2 * group + 1]};
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) arch::mma_m16n8k16_f16(this->sums_[i][j], a[i][group], b_group);
      }
    }
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
