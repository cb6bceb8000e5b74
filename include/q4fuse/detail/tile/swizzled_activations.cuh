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
/// stage are all it has to know. Tokens and blocks that do not exist become zeros.
template <class Portion, int kThreads, int kTokens>
class swizzled_activations {
 public:
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
  }

  /// Takes the next pair of blocks of every token into registers.
  __device__ __forceinline__ void load() {
    const int steps = block_ < k_blocks_ ? steps_ : 0;
    if (is_wide_) {
      load_as<true>(steps);
    } else {
      load_as<false>(steps);
    }
    k_blocks_ -= 2;
    source_ += 2 * Portion::kSourceBlockBytes;
  }

  /// Puts what `load` took into a stage.
  __device__ __forceinline__ void store(uint8_t* stage) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      arch::store_shared<uint4>(stage + place_ + i * kRowsPerStep * arch::kSwizzledRowBytes,
                                Portion::encode(portions_[i]));
    }
  }

 private:
  static constexpr int kPortionsPerRow = 2 * kLanesPerBlock;
  static constexpr int kPortionBytes = arch::kSwizzledRowBytes / kPortionsPerRow;
  static constexpr int kRowsPerStep = kThreads / kPortionsPerRow;
  static constexpr int kSteps = kTokens / kRowsPerStep;
  static_assert(kRowsPerStep % 8 == 0 && kTokens % kRowsPerStep == 0, "the swizzle is the same in every step");

  template <bool kWide>
  __device__ __forceinline__ void load_as(int steps) {
    const uint8_t* block = source_;
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      portions_[i] = i < steps ? Portion::template load<kWide>(block, part_) : typename Portion::type{};
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
  bool is_wide_;
  typename Portion::type portions_[kSteps];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
