#pragma once

// Activation stages for wgmma: 128 bytes of every token of the tile, swizzled: a pair of blocks of halves, or two pairs
// of quants and their scales.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/copy.cuh>
#include <q4fuse/detail/tile/fp16_portions.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// What the threads of the producing warps do with a pair of blocks of all tokens of a tile. A thread has the same
/// portion of eight elements in every 16th token or so, so that one address and one place in the stage are all it has
/// to know. FP16 portions are copied asynchronously; Q8_1 portions, which have no alignment for that, wait in
/// registers. Tokens and blocks that do not exist become zeros. Where kSharers CTAs share stages, the threads have a
/// part of the tokens.
template <class Portion, int kThreads, int kTokens, int kSharers = 1>
class swizzled_activations {
 private:
  static constexpr int kPortionsPerRow = 2 * kLanesPerBlock;
  static constexpr int kPortionBytes = Portion::kIntegers ? 8 : 16;
  static constexpr int kRowsPerStep = kThreads / kPortionsPerRow;
  static constexpr int kSteps = kTokens / kSharers / kRowsPerStep;
  static constexpr int kBatch = kSteps < Portion::kBatch ? kSteps : Portion::kBatch;
  static_assert(kSharers == 1 || !Portion::kIntegers || kTokens / kSharers % kScaleTokens == 0,
                "scales of whole parts");
  static_assert(kRowsPerStep % 16 == 0 && kTokens / kSharers % kRowsPerStep == 0,
                "swizzle and scales are the same in every step");

 public:
  __device__ swizzled_activations(const row_source& source, int64_t tokens, int k_blocks, int thread)
      : source_(source), tokens_(tokens), k_blocks_(k_blocks), thread_(thread) {
    const int portion = thread % kPortionsPerRow;
    // Quants of a pair fill half a row. A warp has four rows of which two are swizzled to each half.
    const int row = thread / kPortionsPerRow;
    token_ = row / 8 * 8 + row % 8 / 4 * 2 + row % 4 / 2 * 4 + row % 2;
    block_ = portion / kLanesPerBlock;
    part_ = portion % kLanesPerBlock;
    place_ = arch::swizzled_offset(token_, portion * kPortionBytes);
    scale_place_ = kTokens * kWarpgroupRowBytes + scale_offset(block_, token_);
  }

  /// The threads' tokens are part `part` of a tile.
  __device__ __forceinline__ void take_part(int part) {
    place_ += part * kTokens / kSharers * kWarpgroupRowBytes;
    scale_place_ += part * kTokens / kSharers * kTokenScaleBytes;
  }

  /// Copies begin with the first pair of that tile.
  __device__ __forceinline__ void begin_tile(int64_t first_token) {
    const int64_t left = tokens_ - first_token;
    rows_ = left < kTokens ? static_cast<int>(left) : kTokens;
    first_token_ = first_token;
    pair_ = 0;
  }

  /// Starts to fetch the next pair: into registers, else to `target` if it is to be converted, else to its place in
  /// `target`, a stage.
  __device__ __forceinline__ void fetch(uint8_t* target) {
    const uint8_t* const block = source_.base + (first_token_ + token_) * source_.row_bytes +
                                 int64_t{2 * pair_ + block_} * Portion::kSourceBlockBytes;
    const int rows = 2 * pair_ + block_ < k_blocks_ ? rows_ - token_ : 0;
    if (Portion::is_wide(source_.access_bytes)) {
      fetch_portions<true>(target, block, rows);
    } else {
      fetch_portions<false>(target, block, rows);
    }
    ++pair_;
  }

  /// Puts the pair that was fetched (to `copied`, if not into registers), and has arrived, into pair kPair of a stage.
  template <int kPair>
  __device__ __forceinline__ void convert(const uint8_t* copied, uint8_t* stage) const {
    // Two beside each other: of four this way, the rare one, would not fit the registers.
    constexpr int kTogether = Portion::kThroughRegisters || kBatch == 1 ? kBatch : 2;
    convert_from<kPair, kTogether>(stage, [&](int step) {
      if constexpr (Portion::kThroughRegisters) {
        return held_[step];
      } else {
        return arch::load_shared<uint4>(copied + (step * kThreads + thread_) * 16);
      }
    });
  }

  /// The same of pair `pair` of what a tensor copy brought.
  template <int kPair>
  __device__ __forceinline__ void convert_copy(const uint8_t* copied, int pair, uint8_t* stage) const {
    constexpr int kRowBytes = Portion::kCopyPairs * 2 * Portion::kSourceBlockBytes;
    const uint8_t* const block = copied + token_ * kRowBytes + (2 * pair + block_) * Portion::kSourceBlockBytes;
    convert_from<kPair, kBatch>(
        stage, [&](int step) { return Portion::load_shared(block + step * kRowsPerStep * kRowBytes, part_); });
  }

 private:
  /// `load` gives the thread's portion of a step.
  template <int kPair, int kTogether, class Load>
  __device__ __forceinline__ void convert_from(uint8_t* stage, const Load& load) const {
    const int place = kPair == 0 ? place_ : place_ ^ kWarpgroupRowBytes / 2;
#pragma unroll
    for (int first = 0; first < kSteps; first += kTogether) {
      typename Portion::type source[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) source[i] = load(first + i);
      std::conditional_t<Portion::kIntegers, q8_1_lane, uint4> encoded[kTogether];
      if constexpr (Portion::kIntegers) {
        Portion::template encode<true>(encoded, source);
      } else {
        Portion::encode(encoded, source);
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int row = (first + i) * kRowsPerStep;
        uint8_t* const target = stage + place + row * kWarpgroupRowBytes;
        if constexpr (Portion::kIntegers) {
          arch::store_shared<uint2>(target, uint2{encoded[i].qs[0], encoded[i].qs[1]});
          const float scale = arch::half_to_float(static_cast<uint16_t>(encoded[i].scale));
          uint8_t* const scales = stage + scale_place_ + scale_offset(2 * kPair, row);
          if (part_ == Portion::template scale_owner<kTogether>(i)) {
            arch::store_shared<float>(scales, arch::mul_rn(scale, Portion::kScaleFactor));
          }
        } else {
          arch::store_shared<uint4>(target, encoded[i]);
        }
      }
    }
  }

  template <bool kWide>
  __device__ __forceinline__ void fetch_portions(uint8_t* target, const uint8_t* block, int rows) {
    constexpr int kUnroll = kWide || Portion::kThroughRegisters || kSteps < 2 ? kSteps : 2;
#pragma unroll kUnroll
    for (int i = 0; i < kSteps; ++i) {
      const bool valid = i * kRowsPerStep < rows;
      if constexpr (Portion::kThroughRegisters) {
        held_[i] = valid ? Portion::template load<kWide>(block, part_) : typename Portion::type{};
      } else {
        uint8_t* const place = Portion::kAsTheyAre ? target + place_ + i * kRowsPerStep * kWarpgroupRowBytes
                                                   : target + (i * kThreads + thread_) * 16;
        if constexpr (kWide) {
          copy_or_zero<16>(place, block + part_ * 16, valid);
        } else {
          arch::store_shared<uint4>(place, valid ? Portion::template load<false>(block, part_) : uint4{});
        }
      }
      block += kRowsPerStep * source_.row_bytes;
    }
  }

  const row_source& source_;
  int64_t tokens_;
  int k_blocks_;
  int thread_;
  int64_t first_token_;
  int rows_;  ///< tokens of the tile that exist
  int pair_;
  int token_;
  int block_;
  int part_;
  int place_;
  int scale_place_;
  struct nothing {};
  std::conditional_t<Portion::kThroughRegisters, typename Portion::type, nothing>
      held_[Portion::kThroughRegisters ? kSteps : 1];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
