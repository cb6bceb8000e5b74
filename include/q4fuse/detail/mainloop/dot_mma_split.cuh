#pragma once

// Block dots on the tensor cores as in dot_mma, from split pieces of activations: half of the loads from shared memory.

#include <q4fuse/detail/arch/ldmatrix_sm75.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/mma_sm80.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/mainloop/warp_tile.cuh>
#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/split_activations.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Sums of 16 rows x 8 * kTokenTiles tokens.
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
  static_assert(kTokenTiles % 2 == 0, "loads are of two token tiles");
  static constexpr int kSteps = kTokenTiles / 2;  ///< of a block, two token tiles each

  /// What a lane reads. Of the four matrices of a load, 8 tokens x 16 quants each, lanes 8i to 8i + 7 give the rows of
  /// the i-th: two halves of a block for tokens 0 to 7, then for 8 to 15.
  struct lane_view {
    const uint8_t* weights;  ///< row lane / 4
    int quants;              ///< offset of the unit of block 0 in the row of the lane's token
    int scales;              ///< offset of the lane's four scales of block 0

    __device__ __forceinline__ lane_view(const uint8_t* weight_piece, int activations)
        : weights(weight_piece + arch::lane_index() / 4 * kWeightPieceBytes),
          quants(activations +
                 piece::unit_offset(arch::lane_index() / 16 * 8 + arch::lane_index() % 8, arch::lane_index() / 8 % 2)),
          scales(activations + piece::scale_offset(0, arch::lane_index() % 4 * 4)) {}

    /// The units of a row are permuted by an exclusive or, and so are those of other blocks.
    __device__ __forceinline__ const uint8_t* quants_of(int block, int step) const {
      return arch::shared_memory() + (quants ^ block * kQuantBlockBytes) + 16 * step * piece::kRowBytes;
    }
    __device__ __forceinline__ const uint8_t* scales_of(int block, int step) const {
      constexpr int kFourBytes = 4 * kScaleBytes;
      const int row = block * 8 * kTokenTiles * kScaleBytes;
      const int high = kSteps > 1 ? step ^ block / 4 : step;  // of the permutation
      return arch::shared_memory() + (scales ^ block % 4 * kFourBytes) + row + high * 4 * kFourBytes;
    }
  };

  struct block_weights {
    uint32_t a[4];
    weight_scale scale[2];
  };
  template <int kBlock>
  static __device__ __forceinline__ block_weights load_weights(const lane_view& lane, int pair) {
    block_weights w;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint8_t* const row = lane.weights + pair * kPairBytes + half * 8 * kWeightPieceBytes;
      const uint32_t quants = load_quants<kBlock>(row, arch::lane_index() % 4);
      w.a[half] = low_nibbles_x16(quants);
      w.a[half + 2] = high_nibbles_x16(quants);
      w.scale[half] = make_weight_scale(load_weight_scale<kBlock>(row));
    }
    return w;
  }

  /// The products of a step, and the scales of its tokens.
  struct step_dots {
    int dot[2][4];
    float4 d8;
  };
  static __device__ __forceinline__ step_dots multiply(const lane_view& lane, const block_weights& w, int block,
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
    arch::mma_m16n8k32_s8(result.dot[0], w.a, first, kDotBias);
    arch::mma_m16n8k32_s8(result.dot[1], w.a, second, kDotBias);
    return result;
  }

  /// Elements are visited row by row, then token by token: neighbours share a scale, which is then read once.
  __device__ __forceinline__ void scale(const step_dots& dots, const block_weights& w, int step) {
    const float d8[4] = {dots.d8.x, dots.d8.y, dots.d8.z, dots.d8.w};
    float product[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int token = 0; token < 4; ++token) {
        product[half][token] = scale_by_weight(dots.dot[token / 2][2 * half + token % 2], w.scale[half]);
      }
    }
#pragma unroll
    for (int token = 0; token < 4; ++token) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& sum = this->sums_[0][2 * step + token / 2][2 * half + token % 2];
        sum = arch::fma_rn(product[half][token], d8[token], sum);
      }
    }
  }

  /// Adds kBlocks blocks from that pair on. The products of a step run while those of the step before it are scaled.
  template <int kBlocks>
  __device__ __forceinline__ void add_blocks(const lane_view& lane, int pair) {
    block_weights w[2];
    step_dots dots[2];
    w[0] = load_weights<0>(lane, pair);
    dots[0] = multiply(lane, w[0], 2 * pair, 0);
#pragma unroll
    for (int s = 0; s < kBlocks * kSteps; ++s) {
      const int next = s + 1;
      const int block = next / kSteps;
      if (next < kBlocks * kSteps) {
        if (next % kSteps == 0) {
          w[block % 2] =
              block % 2 == 0 ? load_weights<0>(lane, pair + block / 2) : load_weights<1>(lane, pair + block / 2);
        }
        dots[next % 2] = multiply(lane, w[block % 2], 2 * pair + block, next % kSteps);
      }
      scale(dots[s % 2], w[s / kSteps % 2], s % kSteps);
    }
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
