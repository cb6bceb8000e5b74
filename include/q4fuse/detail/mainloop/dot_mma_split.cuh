#pragma once

// Block dots on the tensor cores as in dot_mma, from split pieces of activations: half of the loads from shared memory.

#include <q4fuse/detail/arch/ldmatrix_sm75.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/mma_sm80.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/mainloop/mma_weights.cuh>
#include <q4fuse/detail/mainloop/warp_tile.cuh>
#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/split_activations.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Sums of 16 rows x 8 * kTokenTiles tokens. A step is two products, for which one load brings the activations: of two
/// token tiles or, where there is one alone, of two blocks.
template <int kTokenTiles>
class dot_mma_split : public warp_tile_sums<1, kTokenTiles>, public integer_dot {
 public:
  static constexpr int kRequiredArch = 80;

  /// Adds a piece, of which `blocks` blocks exist; activations of those beyond are zeros. `activations` is its offset
  /// in shared memory.
  __device__ __forceinline__ void add_piece(const uint8_t* weights, int activations, int blocks) {
    const lane_view lane(weights, activations);
    if (blocks > kPieceBlocks - 2) {
      add_blocks<kPieceBlocks>(lane, 0);
    } else {
#pragma unroll 1
      for (int pair = 0; 2 * pair < blocks; ++pair) add_blocks<2>(lane, pair);
    }
  }

 private:
  using piece = split_piece<8 * kTokenTiles>;
  static_assert(kTokenTiles == 1 || kTokenTiles % 2 == 0, "two products a step");
  static constexpr int kStepBlocks = kTokenTiles == 1 ? 2 : 1;
  static constexpr int kSteps = kTokenTiles == 1 ? 1 : kTokenTiles / 2;  ///< with the same weights

  /// What a lane reads. Of the four matrices of a load, 8 tokens x 16 quants each, lanes 8i to 8i + 7 give the rows of
  /// the i-th: two halves of a block for tokens 0 to 7, then for 8 to 15, or of the next block.
  struct lane_view {
    const uint8_t* weights;  ///< row lane / 4
    int quants;              ///< offset of the unit of block 0 in the row of the lane's token
    int scales;              ///< offset of the lane's four scales of block 0

    __device__ __forceinline__ lane_view(const uint8_t* weight_piece, int activations)
        : weights(weight_piece + arch::lane_index() / 4 * kWeightPieceBytes),
          quants(activations + piece::unit_offset(load_token() + arch::lane_index() % 8, load_unit())),
          scales(activations + piece::scale_offset(0, arch::lane_index() % 4 * 4)) {}

    static __device__ __forceinline__ int load_token() { return kStepBlocks == 1 ? arch::lane_index() / 16 * 8 : 0; }
    static __device__ __forceinline__ int load_unit() { return arch::lane_index() / 8 % (2 * kStepBlocks); }

    /// The units of a row are permuted by an exclusive or, and so are those of other blocks.
    __device__ __forceinline__ const uint8_t* quants_of(int block, int step) const {
      return arch::shared_memory() + (quants ^ block * kQuantBlockBytes) + 16 * step * piece::kRowBytes;
    }
    __device__ __forceinline__ const uint8_t* scales_of(int block, int step) const {
      constexpr int kFourBytes = 4 * kScaleBytes;
      const int row = block * 8 * kTokenTiles * kScaleBytes;
      if constexpr (kStepBlocks == 2) return arch::shared_memory() + scales + row;
      const int high = kSteps > 1 ? step ^ block / 4 : step;  // of the permutation
      return arch::shared_memory() + (scales ^ block % 4 * kFourBytes) + row + high * 4 * kFourBytes;
    }
  };

  /// Weights of a step: of one block or two.
  struct step_weights {
    mma_weights block[kStepBlocks];
  };
  /// Those from `block` on, counted from pair `pair` on.
  static __device__ __forceinline__ step_weights load_weights(const lane_view& lane, int pair, int block) {
    step_weights w;
    const uint8_t* const at = lane.weights + (pair + block / 2) * kPairBytes;
    if (block % 2 == 0) w.block[0].template load<0>(at, arch::lane_index() % 4);
    if (kStepBlocks == 2 || block % 2 == 1) w.block[kStepBlocks - 1].template load<1>(at, arch::lane_index() % 4);
    return w;
  }

  /// The products of a step, and the scales of its tokens.
  struct step_dots {
    int dot[2][4];
    float4 d8;
  };
  static __device__ __forceinline__ step_dots multiply(const lane_view& lane, const step_weights& w, int block,
                                                       int step) {
    step_dots result;
    uint32_t b[4];
    arch::load_matrix_x4(b, lane.quants_of(block, step));
    const uint2 d8 = arch::load_shared<uint2>(lane.scales_of(block, step));
    const float2 low = arch::half2_to_float2(d8.x);
    const float2 high = arch::half2_to_float2(d8.y);
    result.d8 = {low.x, low.y, high.x, high.y};
    const uint32_t first[2] = {b[0], b[1]};
    const uint32_t second[2] = {b[2], b[3]};
    arch::mma_m16n8k32_s8(result.dot[0], w.block[0].a, first, kDotBias);
    arch::mma_m16n8k32_s8(result.dot[1], w.block[kStepBlocks - 1].a, second, kDotBias);
    return result;
  }

  /// Elements are visited row by row, then token by token: neighbours share a scale, which is then read once.
  __device__ __forceinline__ void scale(const step_dots& dots, const step_weights& w, int step) {
    const float d8[4] = {dots.d8.x, dots.d8.y, dots.d8.z, dots.d8.w};
    float product[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const weight_scale& d4 = w.block[i / 2 * (kStepBlocks - 1)].scale[half];
        product[half][i] = scale_by_weight(dots.dot[i / 2][2 * half + i % 2], d4);
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int token_tile = kStepBlocks == 1 ? 2 * step + i / 2 : 0;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& sum = this->sums_[0][token_tile][2 * half + i % 2];
        sum = arch::fma_rn(product[half][i], d8[i], sum);
      }
    }
  }

  /// Adds kBlocks blocks from that pair on. The products of a step run while those of the step before it are scaled.
  template <int kBlocks>
  __device__ __forceinline__ void add_blocks(const lane_view& lane, int pair) {
    constexpr int kAllSteps = kBlocks / kStepBlocks * kSteps;
    step_weights w[2];
    step_dots dots[2];
    w[0] = load_weights(lane, pair, 0);
    dots[0] = multiply(lane, w[0], 2 * pair, 0);
#pragma unroll
    for (int s = 0; s < kAllSteps; ++s) {
      const int next = s + 1;
      const int next_weights = next / kSteps;
      if (next < kAllSteps) {
        const int block = next_weights * kStepBlocks;
        if (next % kSteps == 0) w[next_weights % 2] = load_weights(lane, pair, block);
        dots[next % 2] = multiply(lane, w[next_weights % 2], 2 * pair + block, next % kSteps);
      }
      scale(dots[s % 2], w[s / kSteps % 2], s % kSteps);
    }
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
