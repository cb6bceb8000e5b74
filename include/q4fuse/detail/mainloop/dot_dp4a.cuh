#pragma once

// Block dots with DP4A, for targets whose tensor cores lack m16n8k32.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/mainloop/warp_tile.cuh>
#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Same ownership, same integers and same order of FP32 operations as dot_mma, hence the same bits: a lane computes the
/// whole dots of its own elements.
template <int kRowTiles, int kTokenTiles>
class dot_dp4a : public warp_tile_sums<kRowTiles, kTokenTiles>, public integer_dot {
 public:
  static constexpr int kRequiredArch = 75;

  template <int kBlock, class TokenRows>
  __device__ __forceinline__ void multiply(const uint8_t* weights, const uint8_t* activations, const TokenRows& rows) {
    const int g = arch::lane_index() / 4;
    const int t = arch::lane_index() % 4;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint8_t* pair = weights + (16 * i + 8 * half + g) * kWeightPieceBytes;
        uint32_t low[4];
        uint32_t high[4];
#pragma unroll
        for (int word = 0; word < 4; ++word) {
          const uint32_t quants = load_quants<kBlock>(pair, word);
          low[word] = low_nibbles_x16(quants);
          high[word] = high_nibbles_x16(quants);
        }
        const weight_scale scale = make_weight_scale(load_weight_scale<kBlock>(pair));
#pragma unroll
        for (int j = 0; j < kTokenTiles; ++j) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const uint8_t* block = activations + rows.offset(8 * j + 2 * t + e);
            int dot = kDotBias;
#pragma unroll
            for (int word = 0; word < 4; ++word) {
              dot = arch::dp4a(low[word], arch::load_shared<uint32_t>(block + 4 + 4 * word), dot);
              dot = arch::dp4a(high[word], arch::load_shared<uint32_t>(block + 20 + 4 * word), dot);
            }
            float& sum = this->sums_[i][j][2 * half + e];
            sum = accumulate(dot, scale, TokenRows::scales::decode(arch::load_shared<uint32_t>(block)), sum);
          }
        }
      }
    }
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
