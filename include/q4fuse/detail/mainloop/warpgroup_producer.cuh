#pragma once

// The warps of the warpgroup family that fill shared memory where no tensor copy brings activations.

#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/copy.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/swizzled_activations.cuh>
#include <q4fuse/detail/tile/warpgroup_rings.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Where the producers are: a pair of a tile.
template <class Policy>
struct pair_walk {
  tile_walk<Policy> tile;
  int pair = 0;
  /// To the next pair; whether that is in another tile.
  __device__ __forceinline__ bool advance(int padded_pairs) {
    if (++pair < padded_pairs) return false;
    pair = 0;
    tile.advance();
    return true;
  }
};

/// What producers do, pair by pair: weights are copied furthest ahead, activations after them, and converted last.
template <class Policy>
class producer {
 private:
  using Portion = typename Policy::portion;
  static constexpr bool kConverts = Policy::kConverts;
  using memory = warpgroup_memory<Policy>;
  static constexpr int kThreads = Policy::kProducerWarps * kWarpSize;
  static constexpr int kPiecePairs = memory::kPiecePairs;
  /// Pairs by which copies of activations are ahead of those that are passed on.
  static constexpr int kAhead = Portion::kThroughRegisters ? 1
                                : kConverts                ? memory::kPairCopies - 1
                                            : memory::kStagePairs * (memory::kStages - 1 - memory::kKeptStages);
  /// Pairs by which copies of weights are ahead of those of activations, a quarter of the rows of a piece each. A piece
  /// must be complete when its first pair is passed on, and its slot must be empty: producers that convert know that of
  /// all stages that held what they fill now, others wait, for no piece that is not passed on in full.
  static constexpr int kWeightsAhead = kPiecePairs - 1;
  static constexpr int kEmptied = kAhead + memory::kStagePairs * memory::kStages;
  static_assert((kConverts
                     ? kWeightsAhead + kEmptied + kPiecePairs - 1
                     : kWeightsAhead + kAhead + kPiecePairs - memory::kStagePairs + 1) <= kPiecePairs * Policy::kStages,
                "too few pieces");

 public:
  __device__ explicit producer(const gemm_arguments& arguments)
      : arguments_(arguments),
        thread_(arch::thread_index()),
        padded_pairs_(memory::padded_pairs(arguments)),
        activations_(arguments.x, arguments.m, arguments.k_blocks, thread_) {}

  __device__ __forceinline__ void run() {
    weights_row_ = weights_.tile.first_row(arguments_);
    typename memory::place place;
    const int pairs = memory::pairs(arguments_);
    int copied = 0;
    // The code of the copies is long. Where nothing is converted those ahead of the first stage share it with the
    // others; elsewhere that would make converting slower.
    int due = kWeightsAhead + kAhead;
    if constexpr (kConverts) copy(due);
#pragma unroll 1
    for (tile_walk<Policy> tile; !tile.done(arguments_); tile.advance()) {
#pragma unroll 1
      for (int pair = 0; pair < padded_pairs_; pair += memory::kStagePairs) {
        if constexpr (kConverts) {
          arch::mbarrier_wait(memory::empty(place.slot), place.parity ^ 1);
          convert<0>(pairs - pair, copied, place.slot);
        } else {
#pragma unroll 1
          for (int i = 0; i < memory::kStagePairs; ++i) {
            copy(due);
            due = 1;
          }
          wait_for_copies<kAhead - 1>();
        }
        arch::fence_proxy_async();
        arch::sync_warp();
        if (arch::lane_index() == 0) arch::mbarrier_arrive(memory::full(place.slot));
        place.advance();
        if constexpr (Portion::kThroughRegisters) copy();
      }
    }
    // Those of a cluster store its sums: the kernel ahead may still read what was in Y.
    if (Policy::kSharesK && arguments_.dependent) arch::wait_for_dependencies();
  }

 private:
  /// Converts pairs kPair to kStagePairs - 1 of a stage, if any of its pairs, of which `pairs_left` are left, lies
  /// within k, and copies those to come into the places that become free.
  template <int kPair>
  __device__ __forceinline__ void convert(int pairs_left, int& copied, int slot) {
    wait_for_copies<kAhead - 1>();
    if (pairs_left > 0) activations_.template convert<kPair>(memory::copied_pair(copied), memory::activations(slot));
    copied = copied + 1 == memory::kPairCopies ? 0 : copied + 1;
    // Not ahead of the fence, which would wait for loads.
    if constexpr (kPair + 1 < memory::kStagePairs || !Portion::kThroughRegisters) copy();
    if constexpr (kPair + 1 < memory::kStagePairs) convert<kPair + 1>(pairs_left, copied, slot);
  }

  __device__ __forceinline__ void copy(int groups) {
#pragma unroll 1
    for (int i = 0; i < groups; ++i) copy();
  }

  /// One group of copies, even when nothing is left, so that the count of groups in flight stays the same. The first
  /// kWeightsAhead are of weights alone, since with dependent launch nothing else may be touched before the wait.
  __device__ __forceinline__ void copy() {
    copy_weights();
    if (weights_ahead_ < kWeightsAhead) {
      if (++weights_ahead_ == kWeightsAhead) activations_.begin_tile(copies_.tile.first_token(arguments_));
    } else if (!copies_.tile.done(arguments_)) {
      if (arguments_.dependent) arch::wait_for_dependencies();  // every time, so that the machine code shows it
      if constexpr (!kConverts) arch::mbarrier_wait(memory::empty(target_.slot), target_.parity ^ 1);
      const int first_pair_of_stage = copies_.pair / memory::kStagePairs * memory::kStagePairs;
      if (first_pair_of_stage * 2 < arguments_.k_blocks) {
        activations_.fetch(place_of_pair());
      }
      if (kConverts || copies_.pair % memory::kStagePairs == memory::kStagePairs - 1) target_.advance();
      if (copies_.advance(padded_pairs_) && !copies_.tile.done(arguments_)) {
        activations_.begin_tile(copies_.tile.first_token(arguments_));
      }
    }
    commit_copies();
  }

  /// Where the next pair is fetched to.
  __device__ __forceinline__ uint8_t* place_of_pair() const {
    if constexpr (kConverts) {
      return memory::copied_pair(target_.slot);
    } else {
      return memory::activations(target_.slot) + copies_.pair % memory::kStagePairs * memory::kPairTile;
    }
  }

  __device__ __forceinline__ void copy_weights() {
    constexpr int kRows = Policy::kTileN / kPiecePairs;
    if (weights_.tile.done(arguments_)) return;
    if (!kConverts && weights_.pair % kPiecePairs == 0) {
      arch::mbarrier_wait(memory::weights_empty(weights_place_.slot), weights_place_.parity ^ 1);
    }
    const int piece = weights_.pair / kPiecePairs;
    const int row = weights_.pair % kPiecePairs * kRows;
    const int64_t rows_left = arguments_.n - weights_row_ - row;
    const int blocks = arguments_.k_blocks - piece * kPieceBlocks;
    // Where nothing is converted only activations that are not aligned lead here.
    copy_piece<kConverts ? 16 : 4, kRows, kWeightPieceBytes, kThreads, kConverts>(
        memory::weights(weights_place_.slot) + row * kWeightPieceBytes, kWeightPieceBytes, arguments_.w,
        weights_row_ + row, int64_t{piece} * kWeightPieceBytes, rows_left < kRows ? static_cast<int>(rows_left) : kRows,
        (blocks < kPieceBlocks ? blocks : kPieceBlocks) * kWeightBlockBytes, thread_);
    if (weights_.advance(padded_pairs_) && !weights_.tile.done(arguments_)) {
      weights_row_ = weights_.tile.first_row(arguments_);
    }
    if (weights_.pair % kPiecePairs == 0) weights_place_.advance();
  }

  const gemm_arguments& arguments_;
  int thread_;
  int padded_pairs_;
  pair_walk<Policy> weights_;
  int64_t weights_row_ = 0;  ///< the first one of their tile
  ring_place<Policy::kStages> weights_place_;
  int weights_ahead_ = 0;  ///< pairs, up to kWeightsAhead
  pair_walk<Policy> copies_;
  ring_place<kConverts ? memory::kPairCopies : memory::kStages> target_;
  swizzled_activations<Portion, kThreads, Policy::kTileM> activations_;
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
