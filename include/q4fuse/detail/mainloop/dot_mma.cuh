#pragma once

// Block dots on the tensor cores: weights are the 16-row operand, tokens the 8-column one, so that raw GGUF nibbles are
// A fragments after two operations and a batch of one token wastes columns, which are free, instead of rows.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/mma_sm80.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/mainloop/mma_weights.cuh>
#include <q4fuse/detail/mainloop/warp_tile.cuh>
#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Sums of a warp tile by mma.m16n8k32. `dot_dp4a` has the same ownership and gives the same bits.
template <int kRowTiles, int kTokenTiles>
class dot_mma : public warp_tile_sums<kRowTiles, kTokenTiles>, public integer_dot {
 public:
  static constexpr int kRequiredArch = 80;

  /// Adds block kBlock (0 or 1) of the pair at `weights` (row 0 of the warp tile) times the block at `activations`
  /// (token 0 of the warp tile).
  template <int kBlock, class TokenRows>
  __device__ __forceinline__ void multiply(const uint8_t* weights, const uint8_t* activations, const TokenRows& rows) {
    const int g = arch::lane_index() / 4;
    const int t = arch::lane_index() % 4;
    mma_weights w[kRowTiles];
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) w[i].template load<kBlock>(weights + (16 * i + g) * kWeightPieceBytes, t);
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
      const uint8_t* quants = activations + rows.offset(8 * j + g) + 4 + 4 * t;
      const uint32_t b[2] = {arch::load_shared<uint32_t>(quants), arch::load_shared<uint32_t>(quants + 16)};
      float d8[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const uint8_t* block = activations + rows.offset(8 * j + 2 * t + e);
        d8[e] = TokenRows::scales::decode(arch::load_shared<uint32_t>(block));
      }
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        int dot[4];
        arch::mma_m16n8k32_s8(dot, w[i].a, b, kDotBias);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float& sum = this->sums_[i][j][e];
          sum = accumulate(dot[e], w[i].scale[e / 2], d8[e % 2], sum);
        }
      }
    }
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
