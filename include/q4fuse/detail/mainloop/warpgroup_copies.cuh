#pragma once

// The producers of the warpgroup family where alignment allows tensor copies. One lane of a warp asks for them, the
// rest of it goes along, so that their operands are known to be uniform; where activations are converted, all warps do
// that, from the copies. k is a multiple of a piece's then, so that no stage is without a pair.

#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/tensor_copy_sm90.cuh>
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

/// Copies the pieces of weights of all tiles of the CTA, in order.
template <class Policy>
class weight_tile_copies {
 public:
  using memory = warpgroup_memory<Policy>;

  __device__ weight_tile_copies(const gemm_arguments& arguments, const arch::tensor_map& map)
      : arguments_(arguments), map_(map) {}

  /// All that are left, each as soon as its slot is empty. By a whole warp, of which one lane asks.
  __device__ __forceinline__ void copy_all(bool asks) {
#pragma unroll 1
    while (!done()) {
      arch::mbarrier_wait(memory::weights_empty(place_.slot), place_.parity ^ 1);
      copy_next(asks);
    }
  }

  /// Into the next slot, which must be empty; nothing where nothing is left. By a whole warp, too.
  __device__ __forceinline__ void copy_next(bool asks) {
    if (done()) return;
    if (piece_ == 0) first_row_ = static_cast<int>(tile_.first_row(arguments_));
    void* const full = memory::weights_full(place_.slot);
    if (asks) {
      arch::tensor_copy(memory::weights(place_.slot), map_,
                        arguments_.first_block * kWeightBlockBytes + piece_ * kWeightPieceBytes, first_row_, full);
      arch::mbarrier_arrive_expecting(full, memory::kMap.weight_stage);
    }
    place_.advance();
    if (++piece_ == memory::pairs(arguments_) / memory::kPiecePairs) {
      piece_ = 0;
      tile_.advance();
    }
  }

 private:
  __device__ __forceinline__ bool done() const { return arguments_.k_blocks == 0 || tile_.done(arguments_); }

  const gemm_arguments& arguments_;
  const arch::tensor_map& map_;
  int first_row_ = 0;
  int piece_ = 0;
  tile_walk<Policy> tile_;
  ring_place<Policy::kStages> place_;
};

/// Copies of activations of all tiles of the CTA, in order. Where k consists of whole pieces there is one for every
/// pair of each, elsewhere those that lie beyond k are left out.
template <class Policy, bool kWholePieces>
class activation_tile_copies {
 public:
  using memory = warpgroup_memory<Policy>;
  using Portion = typename Policy::portion;
  static constexpr int kPairs = Portion::kCopyPairs;
  static constexpr int kRowBytes = kPairs * 2 * Portion::kSourceBlockBytes;

  __device__ activation_tile_copies(const gemm_arguments& arguments, const arch::tensor_map& map)
      : arguments_(arguments), map_(map) {}

  __device__ __forceinline__ bool done() const { return arguments_.k_blocks == 0 || tile_.done(arguments_); }

  /// To `target`, which must be empty; nothing where nothing is left. By a whole warp, of which one lane asks.
  __device__ __forceinline__ void copy_next(uint8_t* target, uint8_t* full, bool asks) {
    if (done()) return;
    if (copy_ == 0) {
      first_token_ = static_cast<int>(tile_.first_token(arguments_)) + tile_.rank() * Policy::kConvertedTokens;
    }
    if (!kWholePieces && copy_ * kPairs >= memory::pairs(arguments_)) {
      if (asks) arch::mbarrier_arrive(full);  // there is nothing to be copied, or multiplied
    } else if (asks) {
      const int tokens = memory::copied_tokens(arguments_.m);
      arch::leave_unspecified(target + tokens * kRowBytes, (Policy::kConvertedTokens - tokens) * kRowBytes);
      arch::tensor_copy(target, map_, arguments_.first_block * Portion::kSourceBlockBytes + copy_ * kRowBytes,
                        first_token_, full);
      arch::mbarrier_arrive_expecting(full, tokens * kRowBytes);
    }
    if (++copy_ == (kWholePieces ? memory::pairs(arguments_) : memory::padded_pairs(arguments_)) / kPairs) {
      copy_ = 0;
      tile_.advance();
    }
  }

 private:
  const gemm_arguments& arguments_;
  const arch::tensor_map& map_;
  int copy_ = 0;
  int first_token_ = 0;
  tile_walk<Policy> tile_;
};

/// When weights of the next piece may follow: once all stages with pairs of the one in its slot are known to be empty.
template <class Policy>
struct piece_countdown {
  using memory = warpgroup_memory<Policy>;
  int stages = memory::kPieceStages - 1 + memory::kStages;

  /// Whether they may, now that the next stage is empty.
  __device__ __forceinline__ bool next_stage() {
    const bool due = stages == 0;
    stages = (due ? memory::kPieceStages : stages) - 1;
    return due;
  }
};

/// Copies the pieces of weights of all tiles of the CTA whose rows no tensor copy takes, by all producing threads but
/// those of the warp that asks for activations. A piece is passed on when the next one is on its way.
template <class Policy>
__device__ __forceinline__ void copy_weights(const gemm_arguments& arguments, int thread) {
  using memory = warpgroup_memory<Policy>;
  ring_place<Policy::kStages> place;
  ring_place<Policy::kStages> passed_on;
  bool met = false;
  const auto pass_on = [&] {
    arch::sync_warp();
    if (arch::lane_index() == 0) arch::mbarrier_arrive(memory::weights_full(passed_on.slot));
    passed_on.advance();
  };
#pragma unroll 1
  for (tile_walk<Policy> tile; arguments.k_blocks > 0 && !tile.done(arguments); tile.advance()) {
    const int64_t first_row = tile.first_row(arguments);
    const int64_t rows_left = arguments.n - first_row;
#pragma unroll 1
    for (int block = 0; block < arguments.k_blocks; block += kPieceBlocks) {
      if (met) arch::mbarrier_wait(memory::weights_empty(place.slot), place.parity ^ 1);
      const int blocks = arguments.k_blocks - block;
      copy_piece<8, Policy::kTileN, kWeightPieceBytes, memory::kWeightWarps * kWarpSize, true>(
          memory::weights(place.slot), kWeightPieceBytes, arguments.w, first_row, int64_t{block} * kWeightBlockBytes,
          rows_left < Policy::kTileN ? static_cast<int>(rows_left) : Policy::kTileN,
          (blocks < kPieceBlocks ? blocks : kPieceBlocks) * kWeightBlockBytes, thread);
      commit_copies();
      place.advance();
      if (met) {
        wait_for_copies<1>();
        pass_on();
      } else {
        memory::meet();
      }
      met = true;
    }
  }
  if (!met) {
    memory::meet();
  } else {
    wait_for_copies<0>();
    pass_on();
  }
}

/// Stages are copied as they are: activations by one warp, weights by another. One alone, which waits for a barrier
/// ahead of every copy, takes longer for them than small tiles take to be multiplied. Both ask for what is multiplied
/// first before they meet the others, and for the rest after that: nothing of the rest is ahead of it then. Without
/// kWeights the other warps copy weights, each thread for itself.
template <class Policy, bool kWeights>
__device__ __forceinline__ void copy_stages(const gemm_arguments& arguments, const warpgroup_tensor_maps& maps) {
  using memory = warpgroup_memory<Policy>;
  const int warp = arch::warp_index();
  const bool asks = arch::elect_one();
  if (warp == memory::kActivationWarp) {
    // With dependent launch weights alone may be touched before the wait.
    bool met = arguments.dependent;
    if (arguments.dependent) {
      memory::meet();
      arch::wait_for_dependencies();
    }
    activation_tile_copies<Policy, kWeights> activations(arguments, maps.x);
    typename memory::place place;
#pragma unroll 1
    while (!activations.done()) {
      arch::mbarrier_wait(memory::empty(place.slot), place.parity ^ 1);
#pragma unroll
      for (int pair = 0; pair < memory::kStagePairs; ++pair) {
        activations.copy_next(memory::activations(place.slot) + pair * memory::kPairTile, memory::full(place.slot),
                              asks);
      }
      place.advance();
      if (!met) memory::meet();
      met = true;
    }
    if (!met) memory::meet();
    return;
  }
  if constexpr (!kWeights) {
    const int weight_warp = warp > memory::kActivationWarp ? warp - 1 : warp;
    copy_weights<Policy>(arguments, weight_warp * kWarpSize + arch::lane_index());
  } else if (warp == memory::kWeightWarp) {
    weight_tile_copies<Policy> weights(arguments, maps.w);
    weights.copy_next(asks);
    memory::meet();
    weights.copy_all(asks);
  } else {
    memory::meet();
  }
  if (arguments.dependent) arch::wait_for_dependencies();  // by all, since those of a cluster store its sums
}

/// Stages are converted from copies, by all producing threads.
template <class Policy>
class copy_converter {
 public:
  using memory = warpgroup_memory<Policy>;
  using Portion = typename Policy::portion;
  static constexpr int kThreads = Policy::kProducerWarps * kWarpSize;

  __device__ copy_converter(const gemm_arguments& arguments, const warpgroup_tensor_maps& maps)
      : arguments_(arguments),
        weights_(arguments, maps.w),
        copies_(arguments, maps.x),
        activations_(arguments.x, arguments.m, arguments.k_blocks, arch::thread_index()) {
    if constexpr (Policy::kSharers > 1) activations_.take_part(tile_walk<Policy>::rank());
  }

  __device__ __forceinline__ void run() {
    const bool copies = arch::warp_index() == memory::kWeightWarp;
    const bool asks = arch::elect_one();
    // Activations first, which have to be converted. With dependent launch weights alone may be touched before the
    // wait.
    bool weights_are_next = arguments_.dependent;
#pragma unroll 1
    for (int turn = 0; turn < 2; ++turn, weights_are_next = !weights_are_next) {
      if (weights_are_next) {
#pragma unroll 1
        for (int i = 0; copies && i < Policy::kStages; ++i) weights_.copy_next(asks);
      } else {
        if (arguments_.dependent) arch::wait_for_dependencies();
#pragma unroll 1
        for (int i = 0; copies && i < memory::kCopies - 1; ++i) copy_next(asks);
      }
    }
    if (arguments_.dependent) arch::wait_for_dependencies();  // again, so that the machine code shows it
    memory::meet();
    typename memory::place place;
    piece_countdown<Policy> countdown;
    const int pairs = memory::pairs(arguments_);
#pragma unroll 1
    for (tile_walk<Policy> tile; !tile.done(arguments_); tile.advance()) {
#pragma unroll 1
      for (int pair = 0; pair < pairs; pair += memory::kStagePairs) {
        const int pair_of_copy = pair % Portion::kCopyPairs;
        if (pair_of_copy == 0) {
          if (copies) copy_next(asks);
          arch::mbarrier_wait(memory::copy_full(source_.slot), source_.parity);
        }
        arch::mbarrier_wait(memory::empty(place.slot), place.parity ^ 1);
        convert<0>(pair_of_copy, memory::activations(place.slot));
        arch::fence_proxy_async();
        pass_on(place.slot);
        place.advance();
        if (pair_of_copy + memory::kStagePairs == Portion::kCopyPairs) {
          if (arch::lane_index() == 0) arch::mbarrier_arrive(memory::copy_empty(source_.slot));
          source_.advance();
        }
        if (countdown.next_stage() && copies) weights_.copy_next(asks);
      }
    }
    if constexpr (Policy::kSharers > 1) {
      // The CTA must not end while others arrive here, or read what is copied to them.
#pragma unroll 1
      for (int i = 0; i < memory::kStages; ++i) {
        arch::mbarrier_wait(memory::empty(place.slot), place.parity ^ 1);
        place.advance();
      }
    }
  }

 private:
  /// Pairs kPair to kStagePairs - 1 of a stage, of which the first is pair `first` of the copy.
  template <int kPair>
  __device__ __forceinline__ void convert(int first, uint8_t* stage) const {
    activations_.template convert_copy<kPair>(memory::copied(source_.slot), first + kPair, stage);
    if constexpr (kPair + 1 < memory::kStagePairs) convert<kPair + 1>(first, stage);
  }

  /// The stage that all threads have converted their part of, to the CTA's own consumers, and the part to the sharers.
  __device__ __forceinline__ void pass_on(int slot) const {
    uint8_t* const full = memory::full(slot);
    if constexpr (Policy::kSharers == 1) {
      arch::sync_warp();
      if (arch::lane_index() == 0) arch::mbarrier_arrive(full);
    } else {
      constexpr int kRows = Policy::kConvertedTokens * kWarpgroupRowBytes;
      constexpr int kScales = Portion::kIntegers ? Policy::kConvertedTokens * kTokenScaleBytes : 0;
      arch::sync_named(1, kThreads);
      // Not of the warp that asks for copies, which has enough to do.
      if (arch::thread_index() != kThreads - 1) return;
      const int rank = tile_walk<Policy>::rank();
      uint8_t* const stage = memory::activations(slot);
#pragma unroll
      for (int i = 1; i < Policy::kSharers; ++i) {
        const int other = (rank + i) % Policy::kSharers;
        arch::copy_to_cluster(stage + rank * kRows, kRows, other, full);
        if constexpr (kScales > 0) {
          arch::copy_to_cluster(stage + Policy::kSharers * kRows + rank * kScales, kScales, other, full);
        }
      }
      arch::mbarrier_arrive_expecting(full, (Policy::kSharers - 1) * (kRows + kScales));
    }
  }

  /// kCopies - 1 ahead of the one that is to be converted next, in the place of the one before that.
  __device__ __forceinline__ void copy_next(bool asks) {
    arch::mbarrier_wait(memory::copy_empty(target_.slot), target_.parity ^ 1);
    copies_.copy_next(memory::copied(target_.slot), memory::copy_full(target_.slot), asks);
    target_.advance();
  }

  const gemm_arguments& arguments_;
  weight_tile_copies<Policy> weights_;
  activation_tile_copies<Policy, true> copies_;
  swizzled_activations<Portion, kThreads, Policy::kTileM, Policy::kSharers> activations_;
  ring_place<memory::kCopies> source_;
  ring_place<memory::kCopies> target_;
};

template <class Policy>
__device__ __forceinline__ void produce_by_tensor_copies(const gemm_arguments& arguments,
                                                         const warpgroup_tensor_maps& maps) {
  if constexpr (Policy::kConverts) {
    copy_converter<Policy>(arguments, maps).run();
  } else if (arguments.weight_tensor_copies) {
    copy_stages<Policy, true>(arguments, maps);
  } else {
    copy_stages<Policy, false>(arguments, maps);
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
