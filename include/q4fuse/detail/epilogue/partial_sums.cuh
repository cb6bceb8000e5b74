#pragma once

// What the stream-K and sliced-K families do with their sums: several warps, and in clusters several CTAs, have part of
// a row tile.

#include <q4fuse/detail/arch/cluster_sm90.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/epilogue/store.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/weight_ring.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Slots of a CTA that hold sums of a row tile.
struct slot_range {
  int begin;
  int count;
};

/// Where partial sums of row tiles wait until they are added. Each CTA of a cluster adds those of its share of the
/// tokens, which all CTAs leave with it: so many slots for every rank, one for a row tile that a warp has part of. A
/// slot holds them in fours, as lanes do: of two tokens and two rows, row after row, but permuted within eight rows by
/// the tokens, so that the lanes of a warp store without a bank conflict.
template <class Policy>
class partial_sums {
 public:
  using dot = typename Policy::dot;
  static constexpr int kTokenPairs = Policy::kTileM / Policy::kClusterK / 2;  ///< of a share
  static_assert(kTokenPairs * 2 * Policy::kClusterK == Policy::kTileM, "the CTAs share the tokens evenly");
  static constexpr int kFours = 8 * kTokenPairs;

  __device__ partial_sums(uint8_t* shared, int slots) : base_(reinterpret_cast<float4*>(shared)), slots_(slots) {}

  /// Leaves a warp's sums of a row tile of the round in slot `index` of the CTAs that add them. `lane` is the lane,
  /// kept or read anew, as the registers of the kernel allow.
  __device__ __forceinline__ void place(const dot& sums, int index, int lane) const {
    float4* const mine = slot(static_cast<int>(arch::cta_index() % Policy::kClusterK), index);
    const int first_row = lane / 4;
#pragma unroll
    for (int i = 0; i < Policy::kTileM / 8; ++i) {
      const int pair = 4 * i + lane % 4;
      float4* const four = mine + pair % kTokenPairs * 8 + (first_row ^ row_swizzle(pair));
      if constexpr (Policy::kClusterK > 1) {
        arch::store_cluster(four, pair / kTokenPairs, sums.tile_sums(0, i));
      } else {
        arch::store_shared<float4>(four, sums.tile_sums(0, i));
      }
    }
  }

  /// Adds the sums of `count` row tiles from `first` on for the CTA's share of the tokens and stores them. `wait` waits
  /// for them: what does not depend on them is computed before. `all_blocks` are the blocks of all CTAs; `slots` says
  /// which of(row tile, pieces) a CTA has that has so many pieces of each row tile.
  template <class Slots, class Wait>
  __device__ __forceinline__ void add_and_store(const gemm_arguments& arguments, int all_blocks,
                                                const row_tiles<Policy>& tiles, int first, int count,
                                                unsigned token_tile, int tokens, const Slots& slots,
                                                const Wait& wait) const {
    static_assert(Policy::kThreads % kFours == 0, "a thread has the same rows and tokens of every row tile");
    constexpr int kCtas = Policy::kClusterK;
    // Loads on their way at once: one of every CTA, or some of the only one.
    constexpr int kAhead = kCtas == 1 ? 4 : 1;
    const int thread = arch::warp_index() * kWarpSize + arch::fresh_lane_index();
    const int four = thread % kFours;
    const int token = static_cast<int>(arch::cta_index() % kCtas) * kTokenPairs * 2 + four / 8 * 2;
    const int row = four % 8;
    const int rows = arguments.n < Policy::kWarpRows ? static_cast<int>(arguments.n) : Policy::kWarpRows;
    const int fewest_pieces = static_cast<int>(ceil_div(all_blocks, kPieceBlocks)) / kCtas;  // some CTAs have one more
    const int place = four ^ row_swizzle(static_cast<int>(arch::cta_index() % kCtas) * kTokenPairs + four / 8);
    int tile = token < tokens ? thread / kFours : count;
    wait();
#pragma unroll 1
    for (; tile < count; tile += Policy::kThreads / kFours) {
      const slot_range fewest = slots.of(tile, fewest_pieces);
      const slot_range more = kCtas > 1 ? slots.of(tile, fewest_pieces + 1) : fewest;
      const int longest = fewest.count > more.count ? fewest.count : more.count;
      float4 sum{};
#pragma unroll 1
      for (int i = 0; i < longest; i += kAhead) {
        float4 terms[kCtas * kAhead];
#pragma unroll
        for (int j = 0; j < kCtas * kAhead; ++j) {
          const int cta = j / kAhead;
          const int pieces = pieces_before(cta + 1, kCtas, all_blocks) - pieces_before(cta, kCtas, all_blocks);
          const bool has_more = kCtas > 1 && pieces > fewest_pieces;
          const int begin = has_more ? more.begin : fewest.begin;
          const int used = has_more ? more.count : fewest.count;
          const int index = i + j % kAhead;
          terms[j] = index < used ? arch::load_shared<float4>(slot(cta, begin + index) + place) : float4{};
        }
#pragma unroll
        for (int j = 0; j < kCtas * kAhead; ++j) sum = add(sum, terms[j]);
      }
      const int global_tile = tiles.first + (first + tile) * tiles.step;
      const int foreign_rows = tiles.foreign_rows(global_tile);
      const float sums[4] = {sum.x, sum.y, sum.z, sum.w};
      // The first token is computed again: there is no register to keep it in beside the activations.
      float* const y = arguments.y + (arch::fresh(int64_t{token_tile}) * Policy::kTileM + token) * arguments.ldy +
                       tiles.first_row(global_tile) + row;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int sum_row = row + i / 2 * 8;
        if (token + i % 2 < tokens && sum_row >= foreign_rows && sum_row < rows) {
          arch::store_global<float>(y + i % 2 * arguments.ldy + i / 2 * 8, output<dot>(sums[i]));
        }
      }
    }
  }

 private:
  /// What the rows of two tokens are permuted by.
  static __device__ __forceinline__ int row_swizzle(int pair) { return pair % 4 * 2; }
  __device__ __forceinline__ float4* slot(int rank, int index) const {
    return base_ + (rank * slots_ + index) * kFours;
  }

  float4* base_;
  int slots_;
};

/// Partial sums are written, read, and written again. Where a cluster shares k, its CTAs write into each other's
/// memory: not before all of them run, and not before what is there has been read. They say so ahead, and wait only
/// then. Whatever a thread has read it has used by then, for what it stores.
template <class Policy>
struct exchange_barrier {
  static constexpr bool kCluster = Policy::kClusterK > 1;
  static __device__ __forceinline__ void runs() {
    if constexpr (kCluster) arch::arrive_cluster_relaxed();
  }
  static __device__ __forceinline__ void has_read() {
    if constexpr (kCluster) {
      arch::arrive_cluster_after_reads();
    } else {
      arch::sync_cta();
    }
  }
  static __device__ __forceinline__ void wait_to_write() {
    if constexpr (kCluster) arch::wait_cluster();
  }
  static __device__ __forceinline__ void wait_to_read() {
    if constexpr (kCluster) {
      arch::sync_cluster();
    } else {
      arch::sync_cta();
    }
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
