#pragma once

// Exact block dots by wgmma on bytes. Each block starts afresh and is then added to the sums with its scales, which
// costs two operations an element: no conversion, because the dots start from a bias that keeps them positive, and a
// positive integer below 2^23 read as a float is the same integer in units of 2^-149, a subnormal number. Products come
// in units of 64 rows x kUnitTokens tokens: one unit runs while the one before it is scaled.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/mainloop/warp_tile.cuh>
#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Sums of a warpgroup, each warp with its own 16 * kRowTiles rows: which rows of W make up the 64 of a product is
/// free, as long as every warp brings 16.
template <int kRowTiles, int kTokenTiles>
class dot_wgmma_s8 : public warp_tile_sums<kRowTiles, kTokenTiles> {
 public:
  static constexpr int kRequiredArch = 90;
  static constexpr int kBlockBytes = kQuantBlockBytes;
  static constexpr float kSumScale = 1.0f;

  /// `constant` as in warpgroup_layout; row 0 of the warp tile is row `warp_row` of the CTA's.
  __device__ dot_wgmma_s8(const uint8_t* constant, int warp_row)
      : bias_{arch::make_repeating_wgmma_descriptor(constant),
              arch::make_repeating_wgmma_descriptor(constant) ^ kUnusedBits},
        row_offset_((warp_row + arch::lane_index() / 4) * kWeightPieceBytes) {}

  /// Adds `pairs` pairs of blocks, of a whole tile; those of a last stage that do not exist are zeros. stages.weights()
  /// and stages.activations() are those of the pairs that come next, Stages::kPairsAtOnce, once stages.next() has been
  /// called; stages.release() says that all products with a stage that next() leaves are done.
  template <class Stages>
  __device__ __forceinline__ void multiply(Stages& stages, int pairs) {
    constexpr int kPairs = Stages::kPairsAtOnce;
    stages.acquire();
#pragma unroll 1
    for (int pair = 0; pair < pairs; pair += kPairs) {
      const block_source source{stages.weights(), arch::make_wgmma_descriptor(stages.activations()), stages.scales()};
      make_fragments<0>(source);
      start<0>(source);
      run_units<0, 2 * kPairs>(source);
      const bool more = pair + kPairs < pairs;
      if (stages.at_end() || !more) stages.release();
      if (more) stages.next();
    }
  }

 private:
  /// Blocks of all tokens and rows.
  struct block_source {
    const uint8_t* weights;
    uint64_t quants;  ///< descriptor
    const uint8_t* scales;
  };

  static constexpr int kPrepareUnit = 3;  ///< by measurement: unit 2 takes up to 3 % longer, 4 no less time, 1 spills
  static constexpr int kUnitTiles = 4;
  static constexpr int kUnitTokens = 8 * kUnitTiles;
  static constexpr int kBlockUnits = kTokenTiles / kUnitTiles * kRowTiles;
  static_assert(kTokenTiles % kUnitTiles == 0 && kBlockUnits > 4, "whole units, and one beside which to prepare");

  /// Units of a block follow those of the block before. Row tiles change fastest: the scales of the tokens serve all of
  /// them.
  static __host__ __device__ constexpr int block_of(int unit) { return unit / kBlockUnits; }
  static __host__ __device__ constexpr int tokens_of(int unit) { return unit % kBlockUnits / kRowTiles; }
  static __host__ __device__ constexpr int rows_of(int unit) { return unit % kRowTiles; }

  /// Scales unit kUnit of kBlocks blocks, which runs, and those behind it, each while the next one runs. None is left
  /// running: across a branch the compiler would serialize them. The fragments of a block are made beside a unit of the
  /// one before.
  template <int kUnit, int kBlocks>
  __device__ __forceinline__ void run_units(const block_source& source) {
    constexpr int kUnits = kBlocks * kBlockUnits;
    if constexpr (kUnit < kUnits) {
      constexpr int kNext = kUnit + 1;
      constexpr int kNextBlock = block_of(kUnit) + 1;
      load_token_scales<kUnit>(source);
      if constexpr (kUnit % kBlockUnits == kPrepareUnit && kNextBlock < kBlocks) make_fragments<kNextBlock>(source);
      if constexpr (kNext < kUnits) start<kNext>(source);
      arch::wgmma_wait < kNext<kUnits ? 1 : 0>();
      scale<kUnit>();
      run_units<kNext, kBlocks>(source);
    }
  }

  template <int kUnit>
  __device__ __forceinline__ void start(const block_source& source) {
    constexpr int kOffset =
        tokens_of(kUnit) * kUnitTokens * arch::kSwizzledRowBytes + block_of(kUnit) * kQuantBlockBytes;
    auto& dots = dots_[kUnit % 2];
    arch::wgmma_fence();
    arch::wgmma_m64k32_s8_start<kUnitTokens>(dots, bias_[0], bias_[1]);
    arch::wgmma_m64k32_s8<kUnitTokens>(dots, a_[block_of(kUnit) % 2][rows_of(kUnit)],
                                       arch::advance_wgmma_descriptor(source.quants, kOffset));
    arch::wgmma_commit();
  }

  template <int kBlock>
  __device__ __forceinline__ void make_fragments(const block_source& source) {
    const int t = arch::fresh_lane_index() % 4;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint8_t* const pair =
            source.weights + row_offset_ + (16 * i + 8 * half) * kWeightPieceBytes + kBlock / 2 * kPairBytes;
        const uint32_t quants = load_quants<kBlock % 2>(pair, t);
        a_[kBlock % 2][i][half] = low_nibbles_x16(quants);
        a_[kBlock % 2][i][half + 2] = high_nibbles_x16(quants);
        d4_[kBlock % 2][i][half] = arch::mul_rn(load_weight_scale<kBlock % 2>(pair), kSubnormalWeightFactor);
      }
    }
  }

  template <int kUnit>
  __device__ __forceinline__ void load_token_scales(const block_source& source) {
    if constexpr (rows_of(kUnit) == 0) {
      const uint8_t* const scales = source.scales + scale_offset(block_of(kUnit), tokens_of(kUnit) * kUnitTokens);
#pragma unroll
      for (int j = 0; j < kUnitTiles / 2; ++j) {
        d8_[j] = arch::load_shared<float4>(scales + (16 * j + arch::fresh_lane_index() % 4 * 4) * 4);
      }
    }
  }

  template <int kUnit>
  __device__ __forceinline__ void scale() {
    constexpr int i = rows_of(kUnit);
    constexpr int kBlock = block_of(kUnit) % 2;
    auto& dots = dots_[kUnit % 2];
#pragma unroll
    for (int d = 0; d < kUnitTokens / 2; ++d) arch::wgmma_release(dots[d]);
    // Not kept from unit to unit: registers are scarcer than operations.
    const weight_scale d4[2] = {make_subnormal_weight_scale(d4_[kBlock][i][0]),
                                make_subnormal_weight_scale(d4_[kBlock][i][1])};
#pragma unroll
    for (int j = 0; j < kUnitTiles; ++j) {
      const float4& d8 = d8_[j / 2];
      const float token_scale[2] = {j % 2 == 0 ? d8.x : d8.z, j % 2 == 0 ? d8.y : d8.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float& sum = this->sums_[i][tokens_of(kUnit) * kUnitTiles + j][e];
        const float dot = arch::bits_to_float(static_cast<uint32_t>(dots[4 * j + e]));
        sum = arch::fma_rn(arch::fma_rn_subnormal(dot, d4[e / 2].d, d4[e / 2].minus_bias), token_scale[e % 2], sum);
      }
    }
  }

  /// Of one place, but with different leading-dimension offsets, which this layout does not use: equal descriptors the
  /// compiler would put together anew, from the same registers, for every product.
  static constexpr uint64_t kUnusedBits = uint64_t{3} << 16;
  uint64_t bias_[2];
  int row_offset_;
  uint32_t a_[2][kRowTiles][4];
  float d4_[2][kRowTiles][2];
  float4 d8_[kUnitTiles / 2];
  int dots_[2][kUnitTokens / 2];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
