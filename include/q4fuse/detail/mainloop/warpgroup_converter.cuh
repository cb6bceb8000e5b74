#pragma once

// The producers of the warpgroup family where activations are converted from tensor copies. k is a multiple of a
// piece's then, so that no stage is without a pair.

#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/tensor_copy_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/mainloop/warpgroup_copies.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/swizzled_activations.cuh>
#include <q4fuse/detail/tile/warpgroup_rings.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

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
