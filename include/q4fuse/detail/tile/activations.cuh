#pragma once

// Activation providers: the one place where pipelines and math modes differ. Each fills a tile of activation rows in
// shared memory from what lies in global memory. Work comes in portions a lane: `load` takes a batch of portions from
// global memory into registers, `store` puts the batch into the tile, with the scales that the tile wants, and the
// caller does something useful in between. Cursors, one for either, say which portions come next.
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
#include <q4fuse/detail/tile/portion_cursor.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Quantizes FP16 rows to Q8_1: a portion is eight halves, a quarter of a block.
template <int kThreads, int kBatch>
class fp16_activations {
 public:
  using portion = quantized_quants;  ///< what the warpgroup family makes of the same rows
  static constexpr int kBlockBytes = kQ8_1BlockBytes;
  static constexpr bool kAsynchronous = false;
  using load_cursor = portion_cursor<const uint8_t, kThreads, kLanesPerBlock>;
  using store_cursor = portion_cursor<uint8_t, kThreads, kLanesPerBlock>;

  __device__ __forceinline__ fp16_activations(const row_source& source, const activation_region& region)
      : source_(source), region_(region) {}

  __device__ __forceinline__ load_cursor begin_loads() const {
    return {region_, first_block(source_, region_, kBlockSize * 2), source_.row_bytes, kHalvesPerLane * 2};
  }
  template <class Tile>
  __device__ __forceinline__ store_cursor begin_stores(const Tile& tile) const {
    return {region_, tile.base + 4 - store_cursor::part(), tile.row_bytes, kBlockBytes / kLanesPerBlock};
  }

  /// The test for alignment stands outside the loop, because inside it the compiler would issue both kinds of load.
  __device__ __forceinline__ void load(load_cursor& next) {
    if (source_.access_bytes == 16) {
#pragma unroll
      for (int i = 0; i < kBatch; ++i, next.advance()) {
        halves_[i] = next.exists(region_) ? arch::load_global<uint4>(next.address()) : uint4{};
      }
    } else {
#pragma unroll
      for (int i = 0; i < kBatch; ++i, next.advance()) {
        halves_[i] = next.exists(region_) ? load_halves_unaligned(next.address()) : uint4{};
      }
    }
  }

  /// kTogether portions are encoded beside each other, by all lanes of a warp of which one has a place.
  template <class Scales, int kTogether = 1>
  __device__ __forceinline__ void store(store_cursor& next) const {
    static_assert(kBatch % kTogether == 0, "whole groups");
#pragma unroll
    for (int group = 0; group < kBatch; group += kTogether) {
      if (kTogether > 1 && !next.warp_has_place()) return;
      q8_1_lane lanes[kTogether];
      if constexpr (kTogether == 1) {
        lanes[0] = encode_q8_1<false>(halves_[group]);
      } else {
        encode_q8_1<false>(lanes, reinterpret_cast<const uint4(&)[kTogether]>(halves_[group]));
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i, next.advance()) {
        if (!next.has_place(region_)) continue;
        uint8_t* const quants = next.address();
        const int owner = kTogether == 1 ? 0 : scale_owner<kTogether>(i);
        if (store_cursor::part() == owner) {
          arch::store_shared<uint32_t>(quants - 4 - 8 * owner, Scales::encode(lanes[i].scale));
        }
        arch::store_shared<uint32_t>(quants, lanes[i].qs[0]);
        arch::store_shared<uint32_t>(quants + 4, lanes[i].qs[1]);
      }
    }
  }

 private:
  row_source source_;
  activation_region region_;
  uint4 halves_[kBatch];
};

/// Fills an FP16 tile, portion by portion as Portion says.
template <class Portion, int kThreads, int kBatch>
class fp16_tile_activations {
 public:
  using portion = Portion;
  static constexpr int kBlockBytes = kFp16BlockBytes;
  static constexpr bool kAsynchronous = false;
  using load_cursor = portion_cursor<const uint8_t, kThreads, kLanesPerBlock>;
  using store_cursor = portion_cursor<uint8_t, kThreads, kLanesPerBlock>;

  __device__ __forceinline__ fp16_tile_activations(const row_source& source, const activation_region& region)
      : source_(source), region_(region) {}

  /// Addresses of blocks, the portions of which lie further on.
  __device__ __forceinline__ load_cursor begin_loads() const {
    constexpr int kColumnBytes = Portion::kSourceBlockBytes / kLanesPerBlock;
    return {region_, first_block(source_, region_, Portion::kSourceBlockBytes) - load_cursor::part() * kColumnBytes,
            source_.row_bytes, kColumnBytes};
  }
  template <class Tile>
  __device__ __forceinline__ store_cursor begin_stores(const Tile& tile) const {
    return {region_, tile.base, tile.row_bytes, kBlockBytes / kLanesPerBlock};
  }

  __device__ __forceinline__ void load(load_cursor& next) {
    if (Portion::is_wide(source_.access_bytes)) {
      load_as<true>(next);
    } else {
      load_as<false>(next);
    }
  }

  template <class Scales, int kTogether = 1>
  __device__ __forceinline__ void store(store_cursor& next) const {
#pragma unroll
    for (int group = 0; group < kBatch; group += kTogether) {
      if (kTogether > 1 && !next.warp_has_place()) return;
      uint4 halves[kTogether];
      if constexpr (kTogether == 1) {
        halves[0] = Portion::encode(portions_[group]);
      } else {
        Portion::encode(halves, reinterpret_cast<const typename Portion::type(&)[kTogether]>(portions_[group]));
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i, next.advance()) {
        if (next.has_place(region_)) arch::store_shared<uint4>(next.address(), halves[i]);
      }
    }
  }

 private:
  template <bool kWide>
  __device__ __forceinline__ void load_as(load_cursor& next) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i, next.advance()) {
      portions_[i] = next.exists(region_) ? Portion::template load<kWide>(next.address(), load_cursor::part())
                                          : typename Portion::type{};
    }
  }

  row_source source_;
  activation_region region_;
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
  static constexpr int kPortionsPerBlock = kQ8_1BlockBytes / kPortionBytes;
  using load_cursor = portion_cursor<const uint8_t, kThreads, kPortionsPerBlock>;
  using store_cursor = portion_cursor<uint8_t, kThreads, kPortionsPerBlock>;

  __device__ __forceinline__ q8_1_activations(const row_source& source, const activation_region& region)
      : source_(source), region_(region) {}

  __device__ __forceinline__ load_cursor begin_loads() const {
    return {region_, first_block(source_, region_, kQ8_1BlockBytes), source_.row_bytes, kPortionBytes};
  }
  template <class Tile>
  __device__ __forceinline__ store_cursor begin_stores(const Tile& tile) const {
    return {region_, tile.base, tile.row_bytes, kPortionBytes};
  }

  __device__ __forceinline__ void load(load_cursor& next) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i, next.advance()) {
      const bool exists = next.exists(region_);
#pragma unroll
      for (int j = 0; j < 3; ++j) {
        words_[i][j] = exists ? load_word(next.address() + 4 * j, source_.access_bytes) : 0;
      }
    }
  }

  template <class Scales, int kTogether = 1>
  __device__ __forceinline__ void store(store_cursor& next) const {
#pragma unroll
    for (int i = 0; i < kBatch; ++i, next.advance()) {
      if (!next.has_place(region_)) continue;
      const bool has_scale = next.column() % kPortionsPerBlock == 0;
      arch::store_shared<uint32_t>(next.address(), has_scale ? Scales::encode(words_[i][0]) : words_[i][0]);
      arch::store_shared<uint32_t>(next.address() + 4, words_[i][1]);
      arch::store_shared<uint32_t>(next.address() + 8, words_[i][2]);
    }
  }

 private:
  row_source source_;
  activation_region region_;
  uint32_t words_[kBatch][3];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
