#pragma once

// Activation providers: the one place where the two pipelines differ. Both fill a tile of Q8_1 rows in shared memory,
// one from Q8_1 blocks in global memory, one from FP16 that it quantizes on the way. Work comes in portions a lane:
// `load` takes a batch of portions from global memory into registers, `store` puts the batch into the tile, and the
// caller does something useful in between.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/plan.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The part of X that a tile holds. Slots of blocks past `blocks` become zero blocks.
struct activation_region {
  int64_t first_token;
  int64_t first_block;
  int tokens;       ///< rows to fill
  int last_token;   ///< rows past this one repeat it: their results are never stored, but must be readable
  int blocks;       ///< blocks that exist
  int block_slots;  ///< blocks to fill per row
};

/// Quantizes FP16 rows: a portion is eight halves, a quarter of a block.
template <int kThreads, int kBatch>
class fp16_activations {
 public:
  static constexpr pipeline kPipeline = pipeline::fused;
  static constexpr int kPortionsPerBlock = kLanesPerBlock;

  __device__ fp16_activations(const row_source& source, const activation_region& region, uint8_t* tile, int row_bytes)
      : source_(source), region_(region), tile_(tile), row_bytes_(row_bytes) {}

  /// Portions in the region; a multiple of four, as four lanes share a block.
  __device__ int portions() const { return region_.tokens * region_.block_slots * kPortionsPerBlock; }

  /// The test for alignment stands outside the loop, because inside it the compiler would issue both kinds of load.
  __device__ __forceinline__ void load(int first) {
    if (source_.access_bytes == 16) {
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const position p = locate(first + i * kThreads + arch::thread_index());
        halves_[i] = exists(p) ? arch::load_global<uint4>(address(p)) : uint4{0, 0, 0, 0};
      }
    } else {
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const position p = locate(first + i * kThreads + arch::thread_index());
        halves_[i] = exists(p) ? load_halves_unaligned(address(p)) : uint4{0, 0, 0, 0};
      }
    }
  }

  __device__ __forceinline__ void store(int first) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const position p = locate(first + i * kThreads + arch::thread_index());
      uint8_t* block = tile_ + p.token * row_bytes_ + p.block * kActivationBlockBytes;
      quantize_fp16_to_q8_1_smem<false>(halves_[i], p.token < region_.tokens ? block : nullptr);
    }
  }

 private:
  struct position {
    int token;
    int block;
    int part;
  };

  __device__ __forceinline__ position locate(int portion) const {
    const unsigned block = static_cast<unsigned>(portion) / kPortionsPerBlock;
    const unsigned slots = static_cast<unsigned>(region_.block_slots);
    return {static_cast<int>(block / slots), static_cast<int>(block % slots), portion % kPortionsPerBlock};
  }

  __device__ __forceinline__ bool exists(const position& p) const {
    return p.token < region_.tokens && p.block < region_.blocks;
  }

  __device__ __forceinline__ const uint8_t* address(const position& p) const {
    const int token = p.token < region_.last_token ? p.token : region_.last_token;
    return source_.base + (region_.first_token + token) * source_.row_bytes +
           ((region_.first_block + p.block) * kBlockSize + p.part * kHalvesPerLane) * 2;
  }

  row_source source_;
  activation_region region_;
  uint8_t* tile_;
  int row_bytes_;
  uint4 halves_[kBatch];
};

/// Copies Q8_1 rows: a portion is 12 bytes, a third of a block, which keeps the word accesses of a warp contiguous.
template <int kThreads, int kBatch>
class q8_1_activations {
 public:
  static constexpr pipeline kPipeline = pipeline::separate;
  static constexpr int kPortionBytes = 12;
  static constexpr int kPortionsPerBlock = kActivationBlockBytes / kPortionBytes;

  __device__ q8_1_activations(const row_source& source, const activation_region& region, uint8_t* tile, int row_bytes)
      : source_(source), region_(region), tile_(tile), row_bytes_(row_bytes) {}

  __device__ int portions() const { return region_.tokens * region_.block_slots * kPortionsPerBlock; }

  __device__ __forceinline__ void load(int first) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const position p = locate(first + i * kThreads + arch::thread_index());
      const bool exists = p.token < region_.tokens && p.block < region_.blocks;
      const int token = p.token < region_.last_token ? p.token : region_.last_token;
      const uint8_t* address = source_.base + (region_.first_token + token) * source_.row_bytes +
                               (region_.first_block + p.block) * kActivationBlockBytes + p.part * kPortionBytes;
#pragma unroll
      for (int j = 0; j < 3; ++j) words_[i][j] = exists ? load_word(address + 4 * j) : 0;
    }
  }

  __device__ __forceinline__ void store(int first) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const position p = locate(first + i * kThreads + arch::thread_index());
      if (p.token >= region_.tokens) continue;
      uint8_t* portion = tile_ + p.token * row_bytes_ + p.block * kActivationBlockBytes + p.part * kPortionBytes;
#pragma unroll
      for (int j = 0; j < 3; ++j) arch::store_shared<uint32_t>(portion + 4 * j, words_[i][j]);
    }
  }

 private:
  struct position {
    int token;
    int block;
    int part;
  };

  __device__ __forceinline__ position locate(int portion) const {
    const unsigned block = static_cast<unsigned>(portion) / kPortionsPerBlock;
    const unsigned slots = static_cast<unsigned>(region_.block_slots);
    return {static_cast<int>(block / slots), static_cast<int>(block % slots),
            static_cast<int>(static_cast<unsigned>(portion) % kPortionsPerBlock)};
  }

  __device__ __forceinline__ uint32_t load_word(const uint8_t* address) const {
    if (source_.access_bytes >= 4) return arch::load_global<uint32_t>(address);
    return arch::load_global<uint16_t>(address) | uint32_t{arch::load_global<uint16_t>(address + 2)} << 16;
  }

  row_source source_;
  activation_region region_;
  uint8_t* tile_;
  int row_bytes_;
  uint32_t words_[kBatch][3];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
