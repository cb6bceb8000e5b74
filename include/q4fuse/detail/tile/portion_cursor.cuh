#pragma once

// Which portions of a tile of activations a thread has, and where they lie.

#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The part of X that a tile holds. What of it does not exist becomes zeros.
struct activation_region {
  int64_t first_token;
  int64_t first_block;
  int tokens;           ///< rows to fill
  int existing_tokens;  ///< of those
  int blocks;           ///< blocks that exist
  int block_slots;      ///< blocks to fill per row
};

__device__ __forceinline__ const uint8_t* first_block(const row_source& source, const activation_region& region,
                                                      int block_bytes) {
  return source.base + region.first_token * source.row_bytes + region.first_block * block_bytes;
}

/// Where a thread is among the portions of a region, of which it has every kThreads-th, row by row. Steps are known
/// beforehand, so that the next portion takes a few additions.
template <class Byte, int kThreads, int kPortionsPerBlock>
class portion_cursor {
 public:
  /// On the thread's first portion; columns, which are portions of a row, lie `column_bytes` apart.
  __device__ __forceinline__ portion_cursor(const activation_region& region, Byte* base, int64_t row_bytes,
                                            int column_bytes)
      : columns_(region.block_slots * kPortionsPerBlock),
        places_left_(region.tokens * columns_ - static_cast<int>(arch::thread_index()) / kWarpSize * kWarpSize),
        token_(0),
        column_(static_cast<int>(arch::thread_index())),
        step_tokens_(0),
        step_columns_(kThreads) {
    if (columns_ < kThreads) {  // a division would come before the first load
      const auto columns = static_cast<unsigned>(columns_ > 0 ? columns_ : 1);  // none in an empty slice of k
      token_ = static_cast<int>(static_cast<unsigned>(column_) / columns);
      column_ = static_cast<int>(static_cast<unsigned>(column_) % columns);
      step_tokens_ = static_cast<int>(kThreads / columns);
      step_columns_ = static_cast<int>(kThreads % columns);
    }
    address_ = base + token_ * row_bytes + column_ * column_bytes;
    step_bytes_ = step_tokens_ * row_bytes + step_columns_ * column_bytes;
    wrap_bytes_ = row_bytes - int64_t{columns_} * column_bytes;
  }

  __device__ __forceinline__ void advance() {
    places_left_ -= kThreads;
    token_ += step_tokens_;
    column_ += step_columns_;
    address_ += step_bytes_;
    if (column_ >= columns_) {
      column_ -= columns_;
      ++token_;
      address_ += wrap_bytes_;
    }
  }

  /// Of its block, where that is the same for all portions of a thread.
  static __device__ __forceinline__ int part() {
    static_assert(kThreads % kPortionsPerBlock == 0, "it is not");
    return static_cast<int>(arch::thread_index()) % kPortionsPerBlock;
  }
  __device__ __forceinline__ int column() const { return column_; }
  __device__ __forceinline__ Byte* address() const { return address_; }

  /// Whether any lane of the warp has a portion that is to be filled.
  __device__ __forceinline__ bool warp_has_place() const { return places_left_ > 0; }
  __device__ __forceinline__ bool has_place(const activation_region& region) const { return token_ < region.tokens; }
  __device__ __forceinline__ bool exists(const activation_region& region) const {
    return token_ < region.existing_tokens && column_ < region.blocks * kPortionsPerBlock;
  }

 private:
  int columns_;
  int places_left_;
  int token_;
  int column_;
  int step_tokens_;
  int step_columns_;
  Byte* address_;
  int64_t step_bytes_;
  int64_t wrap_bytes_;
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
