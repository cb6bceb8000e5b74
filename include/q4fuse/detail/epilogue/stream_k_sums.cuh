#pragma once

// What the stream-K family does with its sums: spans of the sequence of row tiles times pieces end anywhere, so that
// several warps, and in clusters several CTAs, have part of a row tile.

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

/// How the row tiles of a round and the pieces of a slice of k, one sequence, are divided among kWarps warps.
template <int kWarps>
struct round_split {
  int work;  ///< row tiles times pieces

  __device__ __forceinline__ int begin(int warp) const {
    return work >= kWarps ? warp * work / kWarps : warp < work ? warp : work;
  }
  /// The warp whose span an element of the sequence is in: ((element + 1) * warps - 1) / work, rounded down. With 0.5
  /// in place of 1 that is the same, and no quotient is nearer to an integer than 0.5 / work: an approximate one will
  /// do for less than 2^17 elements, and the pieces and sums of so many do not fit shared memory.
  __device__ __forceinline__ int owner(int element) const {
    const float warps = arch::int_to_float_rn(work < kWarps ? work : kWarps);
    const float dividend = arch::fma_rn(arch::int_to_float_rn(element + 1), warps, -0.5f);
    return arch::float_to_int_rz(arch::mul_rn(dividend, arch::rcp_approx(arch::int_to_float_rn(work))));
  }
};

/// Where partial sums of row tiles wait until they are added. Each CTA of a cluster adds those of its share of the
/// tokens, which all CTAs leave with it: a slot for every rank, and for every row tile that a warp has part of. A slot
/// holds them in fours, as lanes do: of two tokens and two rows, row after row.
template <class Policy>
class partial_sums {
 public:
  using dot = typename Policy::dot;
  static constexpr int kTokenPairs = Policy::kTileM / Policy::kClusterK / 2;  ///< of a share
  static_assert(kTokenPairs * 2 * Policy::kClusterK == Policy::kTileM, "the CTAs share the tokens evenly");
  static constexpr int kFours = 8 * kTokenPairs;

  __device__ partial_sums(uint8_t* shared, int round_tiles)
      : base_(reinterpret_cast<float4*>(shared)), slots_(Policy::kWarps + round_tiles - 1) {}

  /// Leaves a warp's sums of a row tile of the round with the CTAs that add them.
  __device__ __forceinline__ void place(const dot& sums, int warp, int tile) const {
    float4* const mine = slot(static_cast<int>(arch::cta_index() % Policy::kClusterK), warp + tile);
#pragma unroll
    for (int i = 0; i < Policy::kTileM / 8; ++i) {
      const int pair = 4 * i + dot::first_token() / 2;
      float4* const four = mine + pair % kTokenPairs * 8 + dot::first_row();
      if constexpr (Policy::kClusterK > 1) {
        arch::store_cluster(four, pair / kTokenPairs, sums.tile_sums(0, i));
      } else {
        arch::store_shared<float4>(four, sums.tile_sums(0, i));
      }
    }
  }

  /// Adds the sums of `count` row tiles from `first` on for the CTA's share of the tokens and stores them. `wait` waits
  /// for them: what does not depend on them is computed before. `all_blocks` are the blocks of all CTAs.
  template <class Wait>
  __device__ __forceinline__ void add_and_store(const gemm_arguments& arguments, int all_blocks,
                                                const row_tiles<Policy>& tiles, int first, int count,
                                                unsigned token_tile, int tokens, const Wait& wait) const {
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
    const round_split<Policy::kWarps> split_of_fewest{count * fewest_pieces};
    const round_split<Policy::kWarps> split_of_more{count * (fewest_pieces + 1)};
    int tile = token < tokens ? thread / kFours : count;
    wait();
#pragma unroll 1
    for (; tile < count; tile += Policy::kThreads / kFours) {
      const slot_range fewest = slots_of(tile, split_of_fewest, fewest_pieces);
      const slot_range more = kCtas > 1 ? slots_of(tile, split_of_more, fewest_pieces + 1) : fewest;
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
          const int slots = has_more ? more.count : fewest.count;
          const int index = i + j % kAhead;
          terms[j] = index < slots ? arch::load_shared<float4>(slot(cta, begin + index) + four) : float4{};
        }
#pragma unroll
        for (int j = 0; j < kCtas * kAhead; ++j) sum = add(sum, terms[j]);
      }
      const int global_tile = tiles.first + (first + tile) * tiles.step;
      const int foreign_rows = tiles.foreign_rows(global_tile);
      const float sums[4] = {sum.x, sum.y, sum.z, sum.w};
      // The first token is computed again: there is no register to keep it in beside the activations.
      float* const y = arguments.y + (arch::fresh(token_tile) * Policy::kTileM + token) * arguments.ldy +
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
  /// Slots of a CTA that hold sums of a row tile, one for each warp that has part of it.
  struct slot_range {
    int begin;
    int count;
  };
  /// Of a CTA that has `pieces` pieces of each row tile.
  static __device__ __forceinline__ slot_range slots_of(int tile, const round_split<Policy::kWarps>& split,
                                                        int pieces) {
    if (pieces == 0) return {0, 0};
    const int first_warp = split.owner(tile * pieces);
    return {first_warp + tile, split.owner((tile + 1) * pieces - 1) + 1 - first_warp};
  }
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
