#pragma once

// Block dots for very few tokens, with DP4A. A lane takes a whole pair of blocks at a time, so that the cost follows
// the number of tokens; the tensor cores would compute eight columns for one token, and their operand layout costs
// three times the instructions per weight.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The sums of kRows weight rows x kTokens tokens. A lane adds up the same pair of blocks of every piece for two rows,
/// kRows / 2 apart; the lanes of a row are added when the sums are read. Pairs lie 9 words apart, and a row after the
/// 64 / kRows of the one before, which puts the 32 lanes on 32 banks.
template <int kRows, int kTokens>
class dot_gemv : public integer_dot {
 public:
  static constexpr int kRequiredArch = 75;

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int token = 0; token < kTokens; ++token) sums_[half][token] = 0.0f;
    }
  }

  template <class TokenRows>
  __device__ __forceinline__ void add_piece(const uint8_t* weights, const uint8_t* activations, int blocks,
                                            const TokenRows& rows) {
    const int t = pair_index();
    if (2 * t >= blocks) return;
    block_row w[2][2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint8_t* pair = weights + row_of(half) * (kPairs * kPairBytes) + t * kPairBytes;
      w[half][0] = load_block<0>(pair);
      w[half][1] = load_block<1>(pair);
    }
#pragma unroll
    for (int token = 0; token < kTokens; ++token) {
      // Word 0 of each block holds its scale, words 1 to 8 its quants.
      constexpr int kWords = 2 * kQ8_1BlockBytes / 4;
      const uint8_t* pair = activations + rows.offset(token) + 2 * t * kQ8_1BlockBytes;
      uint32_t x[kWords];
#pragma unroll
      for (int i = 0; i < kWords; i += 2) {
        const uint2 two = arch::load_shared<uint2>(pair + 4 * i);
        x[i] = two.x;
        x[i + 1] = two.y;
      }
#pragma unroll
      for (int block = 0; block < 2; ++block) {
        const uint32_t* const words = x + block * kWords / 2;
        const float d8 = TokenRows::scales::decode(words[0]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          int dot = kDotBias;
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            dot = arch::dp4a(w[half][block].low[i], words[1 + i], dot);
            dot = arch::dp4a(w[half][block].high[i], words[5 + i], dot);
          }
          sums_[half][token] = accumulate(dot, w[half][block].scale, d8, sums_[half][token]);
        }
      }
    }
  }

  /// Calls visit(row, token, sum) for every element, each in one lane. All lanes of the warp take part.
  template <class Visitor>
  __device__ __forceinline__ void for_each(Visitor&& visit) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int token = 0; token < kTokens; ++token) {
        float sum = sums_[half][token];
#pragma unroll
        for (int lanes = 1; lanes < kPairs; lanes *= 2) sum = arch::add_rn(sum, arch::shuffle_xor(sum, lanes));
        if (pair_index() == 0) visit(row_of(half), token, sum);
      }
    }
  }

 private:
  static constexpr int kPairs = 64 / kRows;  ///< of a row in a piece: two rows a lane
  static __device__ __forceinline__ int pair_index() { return arch::lane_index() % kPairs; }
  static __device__ __forceinline__ int row_of(int half) { return half * (kRows / 2) + arch::lane_index() / kPairs; }

  struct block_row {
    uint32_t low[4];
    uint32_t high[4];
    weight_scale scale;
  };

  template <int kBlock>
  static __device__ __forceinline__ block_row load_block(const uint8_t* pair) {
    block_row block;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t quants = load_quants<kBlock>(pair, i);
      block.low[i] = low_nibbles_x16(quants);
      block.high[i] = high_nibbles_x16(quants);
    }
    block.scale = make_weight_scale(load_weight_scale<kBlock>(pair));
    return block;
  }

  float sums_[2][kTokens];
};

/// The overload that the main loop finds for this dot.
template <int kRows, int kTokens, class TokenRows>
__device__ __forceinline__ void multiply_piece(dot_gemv<kRows, kTokens>& dot, const uint8_t* weights,
                                               const uint8_t* activations, int blocks, const TokenRows& rows) {
  dot.add_piece(weights, activations, blocks, rows);
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
