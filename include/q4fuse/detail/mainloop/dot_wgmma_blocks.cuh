#pragma once

// Exact block dots by wgmma. Quants are small integers, which halves hold exactly, and so do the FP32 accumulators of
// their dots: 32 products of magnitude 8 * 127. Each block starts afresh and is then added to the sums with its scales,
// which costs two operations an element where integer accumulators would ask for a third, to convert them. Products
// come in units of 64 rows x 32 tokens: one unit runs while the one before it is scaled.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/mainloop/warp_tile.cuh>
#include <q4fuse/detail/quant/fp16_weights.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Sums of a warpgroup, rows as in dot_wgmma.
template <int kRowTiles, int kTokenTiles>
class dot_wgmma_blocks : public warp_tile_sums<kRowTiles, kTokenTiles> {
 public:
  static constexpr float kSumScale = 1.0f;
  static constexpr int kMaxBatches = 2;  ///< of activations that are converted beside a pair: all at once do not fit
                                         ///< the registers

  __device__ __forceinline__ void begin(const uint8_t*) {}

  /// Adds a pair of blocks: weights of row 0 of the warp tile at `weights`, quants and scales of all tokens in `stage`.
  /// Calls beside(i), i = 0 to kBatches - 1 as a constant, while units run; none does when this returns.
  template <int kBatches, class Beside>
  __device__ __forceinline__ void multiply_pair(const uint8_t* weights, const uint8_t* /*next_weights*/,
                                                const uint8_t* stage, const Beside& beside) {
    run_unit<0, kBatches>(weights, stage, beside);
  }

  __device__ __forceinline__ void finish() {}

 private:
  static constexpr int kUnitTiles = 4;
  static constexpr int kUnitTokens = 8 * kUnitTiles;
  static constexpr int kBlockUnits = kTokenTiles / kUnitTiles * kRowTiles;
  static constexpr int kPairUnits = 2 * kBlockUnits;
  static_assert(kTokenTiles % kUnitTiles == 0, "units have 32 tokens");

  /// Row tiles change fastest: the scales of the tokens serve all of them.
  static __host__ __device__ constexpr int block_of(int unit) { return unit / kBlockUnits; }
  static __host__ __device__ constexpr int tokens_of(int unit) { return unit % kBlockUnits / kRowTiles; }
  static __host__ __device__ constexpr int rows_of(int unit) { return unit % kRowTiles; }

  template <int kUnit, int kBatches, class Beside>
  __device__ __forceinline__ void run_unit(const uint8_t* weights, const uint8_t* stage, const Beside& beside) {
    // The scales of the unit before are on their way while this one starts.
    if constexpr (kUnit > 0) load_token_scales<kUnit - 1>(stage);
    if constexpr (kUnit < kPairUnits) start<kUnit>(weights, stage);
    constexpr int kBetween = kPairUnits / kBatches;
    if constexpr (kUnit % kBetween == 0 && kUnit < kPairUnits) beside(std::integral_constant<int, kUnit / kBetween>{});
    if constexpr (kUnit > 0) {
      constexpr int kRunning = kUnit < kPairUnits ? 1 : 0;
      arch::wgmma_wait<kRunning>();
      scale<kUnit - 1>();
    }
    if constexpr (kUnit < kPairUnits) run_unit<kUnit + 1, kBatches>(weights, stage, beside);
  }

  template <int kUnit>
  __device__ __forceinline__ void start(const uint8_t* weights, const uint8_t* stage) {
    constexpr int kBlock = block_of(kUnit);
    constexpr int i = rows_of(kUnit);
    if constexpr (tokens_of(kUnit) == 0) {
      if constexpr (kUnit == 0) load_raw<0>(weights);
      make_quant_fragments(a_[kBlock][i], d4_[kBlock][i], raw_);
    }
    const uint8_t* const quants =
        stage + tokens_of(kUnit) * kUnitTokens * arch::kSwizzledRowBytes + kBlock * kFp16BlockBytes;
    arch::wgmma_fence();
    arch::wgmma_m64k16_f16_start<kUnitTokens>(dots_[kUnit % 2], a_[kBlock][i][0], arch::make_wgmma_descriptor(quants));
    arch::wgmma_m64k16_f16<kUnitTokens>(dots_[kUnit % 2], a_[kBlock][i][1],
                                        arch::make_wgmma_descriptor(quants + kFp16BlockBytes / 2));
    arch::wgmma_commit();
    // Bytes of the next fragments are on their way while products run.
    if constexpr (kUnit + 1 < kPairUnits && tokens_of(kUnit + 1) == 0) load_raw<kUnit + 1>(weights);
  }

  template <int kUnit>
  __device__ __forceinline__ void load_raw(const uint8_t* weights) {
    raw_.load(weights + 16 * rows_of(kUnit) * kWeightPieceBytes + block_of(kUnit) * kWeightBlockBytes);
  }

  template <int kUnit>
  __device__ __forceinline__ void load_token_scales(const uint8_t* stage) {
    if constexpr (rows_of(kUnit) == 0) {
      constexpr int kBlock = block_of(kUnit);
      constexpr int kTokens = 8 * kTokenTiles;
      const uint8_t* const scales =
          stage + kTokens * arch::kSwizzledRowBytes + (kBlock * kTokens + tokens_of(kUnit) * kUnitTokens) * 4;
#pragma unroll
      for (int j = 0; j < kUnitTiles / 2; ++j) {
        d8_[j] = arch::load_shared<float4>(scales + (16 * j + arch::lane_index() % 4 * 4) * 4);
      }
    }
  }

  template <int kUnit>
  __device__ __forceinline__ void scale() {
    constexpr int kBlock = block_of(kUnit);
    constexpr int i = rows_of(kUnit);
    float(&dots)[kUnitTokens / 2] = dots_[kUnit % 2];
#pragma unroll
    for (int d = 0; d < kUnitTokens / 2; ++d) arch::wgmma_release(dots[d]);
#pragma unroll
    for (int j = 0; j < kUnitTiles; ++j) {
      const float4& d8 = d8_[j / 2];
      const float token_scale[2] = {j % 2 == 0 ? d8.x : d8.z, j % 2 == 0 ? d8.y : d8.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        // Two halves multiply exactly, so that a block's only rounding is that of its addition.
        float& sum = this->sums_[i][tokens_of(kUnit) * kUnitTiles + j][e];
        sum = arch::fma_rn(dots[4 * j + e], arch::mul_rn(d4_[kBlock][i][e / 2], token_scale[e % 2]), sum);
      }
    }
  }

  raw_fragments<1> raw_;
  uint32_t a_[2][kRowTiles][2][4];
  float d4_[2][kRowTiles][2];
  float4 d8_[kUnitTiles / 2];
  float dots_[2][kUnitTokens / 2];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
