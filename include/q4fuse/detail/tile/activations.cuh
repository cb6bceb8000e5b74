#pragma once

// Activation providers: the one place where pipelines and math modes differ. Each fills a tile of activation rows in
// shared memory from what lies in global memory. Work comes in portions a lane: `load` takes a batch of portions from
// global memory into registers, `store` puts the batch into the tile, with the scales that the tile wants, and the
// caller does something useful in between.
//
// | provider                      | reads | tile | pipeline, math mode         |
// |-------------------------------|-------|------|-----------------------------|
// | q8_1_activations              | Q8_1  | Q8_1 | separate, exact             |
// | fp16_activations              | FP16  | Q8_1 | fused, exact                |
// | dequantized_q8_1_activations  | Q8_1  | FP16 | separate, dequantized_fp16  |
// | dequantized_fp16_activations  | FP16  | FP16 | fused, dequantized_fp16     |
// | direct_fp16_activations       | FP16  | FP16 | fused, direct_fp16          |

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/fp16_portions.cuh>
#include <q4fuse/detail/tile/layout.hpp>

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

/// Which portions of a region a thread has, and where they are in global memory.
template <int kThreads, int kPortionsPerBlock>
class portion_map {
 public:
  struct position {
    int token;
    int block;
    int part;
  };

  __device__ portion_map(const row_source& source, const activation_region& region)
      : source_(source), region_(region) {}

  __device__ __forceinline__ int count() const { return region_.tokens * region_.block_slots * kPortionsPerBlock; }

  /// The i-th portion of this thread from `first` on.
  __device__ __forceinline__ position locate(int first, int i) const {
    const auto portion = static_cast<unsigned>(first + i * kThreads + arch::thread_index());
    const unsigned block = portion / kPortionsPerBlock;
    const auto slots = static_cast<unsigned>(region_.block_slots);
    return {static_cast<int>(block / slots), static_cast<int>(block % slots),
            static_cast<int>(portion % kPortionsPerBlock)};
  }

  __device__ __forceinline__ bool has_place(const position& p) const { return p.token < region_.tokens; }
  __device__ __forceinline__ bool exists(const position& p) const { return has_place(p) && p.block < region_.blocks; }
  __device__ __forceinline__ int access_bytes() const { return source_.access_bytes; }

  /// The block of a portion. Within the region 32 bits count its bytes, because they fit shared memory.
  __device__ __forceinline__ const uint8_t* source(const position& p, int source_block_bytes) const {
    const int token = p.token < region_.last_token ? p.token : region_.last_token;
    return source_.base + (region_.first_token + token) * source_.row_bytes + region_.first_block * source_block_bytes +
           static_cast<unsigned>(p.block) * static_cast<unsigned>(source_block_bytes);
  }

 private:
  row_source source_;
  activation_region region_;
};

/// Quantizes FP16 rows to Q8_1: a portion is eight halves, a quarter of a block.
template <int kThreads, int kBatch>
class fp16_activations {
 public:
  using portion = quantized_quants;  ///< what the warpgroup family makes of the same rows
  static constexpr int kBlockBytes = kQ8_1BlockBytes;
  static constexpr bool kAsynchronous = false;

  __device__ fp16_activations(const row_source& source, const activation_region& region) : map_(source, region) {}

  /// Portions in the region; a multiple of four, as four lanes share a block.
  __device__ int portions() const { return map_.count(); }

  /// The test for alignment stands outside the loop, because inside it the compiler would issue both kinds of load.
  __device__ __forceinline__ void load(int first) {
    if (map_.access_bytes() == 16) {
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const auto p = map_.locate(first, i);
        halves_[i] = map_.exists(p) ? arch::load_global<uint4>(address(p)) : uint4{0, 0, 0, 0};
      }
    } else {
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const auto p = map_.locate(first, i);
        halves_[i] = map_.exists(p) ? load_halves_unaligned(address(p)) : uint4{0, 0, 0, 0};
      }
    }
  }

  template <class Tile>
  __device__ __forceinline__ void store(int first, const Tile& tile) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const auto p = map_.locate(first, i);
      q8_1_lane lane = encode_q8_1<false>(halves_[i]);  // by all lanes, also those without a place
      lane.scale = Tile::scales::encode(lane.scale);
      if (map_.has_place(p)) store_q8_1(tile.block(p.token, p.block), lane);
    }
  }

 private:
  using map = portion_map<kThreads, kLanesPerBlock>;

  __device__ __forceinline__ const uint8_t* address(const typename map::position& p) const {
    return map_.source(p, kBlockSize * 2) + p.part * kHalvesPerLane * 2;
  }

  map map_;
  uint4 halves_[kBatch];
};

/// Fills an FP16 tile, portion by portion as Portion says.
template <class Portion, int kThreads, int kBatch>
class fp16_tile_activations {
 public:
  using portion = Portion;
  static constexpr int kBlockBytes = kFp16BlockBytes;
  static constexpr int kPortionBytes = kFp16BlockBytes / kLanesPerBlock;
  static constexpr bool kAsynchronous = false;

  __device__ fp16_tile_activations(const row_source& source, const activation_region& region) : map_(source, region) {}

  __device__ int portions() const { return map_.count(); }

  __device__ __forceinline__ void load(int first) {
    if (Portion::is_wide(map_.access_bytes())) {
      load_as<true>(first);
    } else {
      load_as<false>(first);
    }
  }

  template <class Tile>
  __device__ __forceinline__ void store(int first, const Tile& tile) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const auto p = map_.locate(first, i);
      const uint4 halves = Portion::encode(portions_[i]);
      if (!map_.has_place(p)) continue;
      arch::store_shared<uint4>(tile.block(p.token, p.block) + p.part * kPortionBytes, halves);
    }
  }

 private:
  template <bool kWide>
  __device__ __forceinline__ void load_as(int first) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const auto p = map_.locate(first, i);
      portions_[i] = map_.exists(p) ? Portion::template load<kWide>(map_.source(p, Portion::kSourceBlockBytes), p.part)
                                    : typename Portion::type{};
    }
  }

  portion_map<kThreads, kLanesPerBlock> map_;
  typename Portion::type portions_[kBatch];
};

template <int kThreads, int kBatch>
class dequantized_q8_1_activations : public fp16_tile_activations<q8_1_portion, kThreads, kBatch> {
  using fp16_tile_activations<q8_1_portion, kThreads, kBatch>::fp16_tile_activations;
};

template <int kThreads, int kBatch>
class dequantized_fp16_activations : public fp16_tile_activations<requantized_portion, kThreads, kBatch> {
  using fp16_tile_activations<requantized_portion, kThreads, kBatch>::fp16_tile_activations;
};

template <int kThreads, int kBatch>
class direct_fp16_activations : public fp16_tile_activations<direct_portion, kThreads, kBatch> {
  using fp16_tile_activations<direct_portion, kThreads, kBatch>::fp16_tile_activations;
};

/// Copies Q8_1 blocks: a portion is 12 bytes, a third of a block, which keeps the word accesses of a warp contiguous.
template <int kThreads, int kBatch>
class q8_1_activations {
 public:
  using portion = q8_1_quants;  ///< what the warpgroup family makes of the same rows
  static constexpr int kBlockBytes = kQ8_1BlockBytes;
  static constexpr bool kAsynchronous = true;  ///< rows can be copied as they are
  static constexpr int kPortionBytes = 12;

  __device__ q8_1_activations(const row_source& source, const activation_region& region) : map_(source, region) {}

  __device__ int portions() const { return map_.count(); }

  __device__ __forceinline__ void load(int first) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const auto p = map_.locate(first, i);
      const bool exists = map_.exists(p);
      const uint8_t* const portion = map_.source(p, kQ8_1BlockBytes) + p.part * kPortionBytes;
#pragma unroll
      for (int j = 0; j < 3; ++j) words_[i][j] = exists ? load_word(portion + 4 * j, map_.access_bytes()) : 0;
    }
  }

  template <class Tile>
  __device__ __forceinline__ void store(int first, const Tile& tile) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const auto p = map_.locate(first, i);
      if (!map_.has_place(p)) continue;
      if (p.part == 0) words_[i][0] = Tile::scales::encode(words_[i][0]);
      uint8_t* const portion = tile.block(p.token, p.block) + p.part * kPortionBytes;
#pragma unroll
      for (int j = 0; j < 3; ++j) arch::store_shared<uint32_t>(portion + 4 * j, words_[i][j]);
    }
  }

 private:
  portion_map<kThreads, kQ8_1BlockBytes / kPortionBytes> map_;
  uint32_t words_[kBatch][3];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
