#pragma once

// FP16 activation stages for wgmma: a pair of blocks of every token of the tile, 128 bytes a token, swizzled.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/fp16_portions.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// A thread has the same part of the pair in every kRowsPerStep-th token, so that one address and one place in the
/// stage are all it has to know. Tokens and blocks that do not exist become zeros. A pair comes in kBatches batches, in
/// order, of which a thread holds one at a time.
template <class Portion, int kThreads, int kTokens, int kMaxBatches = 1>
class swizzled_activations {
 private:
  static constexpr int kPortionsPerRow = 2 * kLanesPerBlock;
  static constexpr int kPortionBytes = arch::kSwizzledRowBytes / kPortionsPerRow;
  static constexpr int kRowsPerStep = kThreads / kPortionsPerRow;
  static constexpr int kSteps = kTokens / kRowsPerStep;

 public:
  static constexpr int kBatches = kSteps < kMaxBatches ? kSteps : kMaxBatches;

  __device__ swizzled_activations(const row_source& source, int64_t first_token, int64_t tokens, int k_blocks)
      : row_bytes_(source.row_bytes), k_blocks_(k_blocks), is_wide_(Portion::is_wide(source.access_bytes)) {
    const int portion = arch::thread_index() % kPortionsPerRow;
    const int token = arch::thread_index() / kPortionsPerRow;
    block_ = portion / kLanesPerBlock;
    part_ = portion % kLanesPerBlock;
    const int64_t left = tokens - first_token - token;
    steps_ = left <= 0 ? 0 : left >= kTokens ? kSteps : static_cast<int>(ceil_div(left, kRowsPerStep));
    source_ = source.base + (first_token + token) * row_bytes_ + block_ * Portion::kSourceBlockBytes;
    place_ = arch::swizzled_offset(token, portion * kPortionBytes);
    scale_place_ = kTokens * arch::kSwizzledRowBytes + (block_ * kTokens + scale_place(token)) * 4;
  }

  /// Takes a batch of the next pair of blocks into registers; the last one ends the pair.
  template <int kBatch = 0>
  __device__ __forceinline__ void load() {
    const int steps = block_ < k_blocks_ ? steps_ : 0;
    if (is_wide_) {
      load_as<kBatch, true>(steps);
    } else {
      load_as<kBatch, false>(steps);
    }
    if constexpr (kBatch == kBatches - 1) {
      k_blocks_ -= 2;
      source_ += 2 * Portion::kSourceBlockBytes;
    }
  }

  /// Puts what `load` took into a stage.
  template <int kBatch = 0>
  __device__ __forceinline__ void store(uint8_t* stage) {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int row = (kBatch * kHeld + i) * kRowsPerStep;
      uint8_t* const place = stage + place_ + row * arch::kSwizzledRowBytes;
      const auto encoded = Portion::encode(portions_[i]);
      if constexpr (Portion::kIntegers) {
        arch::store_shared<uint4>(place, quants_f16(encoded));
        const auto scale = static_cast<uint16_t>(encoded.scale);
        if (part_ == 0) arch::store_shared<float>(stage + scale_place_ + row * 4, arch::half_to_float(scale));
      } else {
        arch::store_shared<uint4>(place, encoded);
      }
    }
  }

 private:
  static constexpr int kHeld = kSteps / kBatches;
  static_assert(kTokens % kRowsPerStep == 0 && kSteps % kBatches == 0, "every thread has as much to do");
  static_assert(kRowsPerStep % 16 == 0, "the swizzle and the order of scales are the same in every step");

  template <int kBatch, bool kWide>
  __device__ __forceinline__ void load_as(int steps) {
    const uint8_t* block = source_ + kBatch * kHeld * kRowsPerStep * row_bytes_;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      portions_[i] =
          kBatch * kHeld + i < steps ? Portion::template load<kWide>(block, part_) : typename Portion::type{};
      block += kRowsPerStep * row_bytes_;
    }
  }

  const uint8_t* source_;
  int64_t row_bytes_;
  int k_blocks_;  ///< not loaded yet
  int block_;
  int part_;
  int steps_;
  int place_;
  int scale_place_;
  bool is_wide_;
  typename Portion::type portions_[kHeld];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
