#pragma once

// The producers of the warpgroup family where alignment allows tensor copies. One thread asks for them; where
// activations are converted, all do that, from the copies. k is a multiple of a piece's then, so that no stage is
// without a pair.

#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/tensor_copy_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
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

  /// Into the next slot, which must be empty. Nothing where nothing is left.
  __device__ __forceinline__ void copy_next() {
    if (arguments_.k_blocks == 0 || tile_.done(arguments_)) return;
    void* const full = memory::weights_full(place_.slot);
    arch::tensor_copy(memory::weights(place_.slot), map_,
                      arguments_.first_block * kWeightBlockBytes + piece_ * kWeightPieceBytes,
                      static_cast<int>(tile_.first_row(arguments_)), full);
    arch::mbarrier_arrive_expecting(full, memory::kMap.weight_stage);
    place_.advance();
    if (++piece_ == memory::pairs(arguments_) / memory::kPiecePairs) {
      piece_ = 0;
      tile_.advance();
    }
  }

 private:
  const gemm_arguments& arguments_;
  const arch::tensor_map& map_;
  int piece_ = 0;
  tile_walk<Policy> tile_;
  ring_place<Policy::kStages> place_;
};

/// Copies of activations of all tiles of the CTA, in order.
template <class Policy>
class activation_tile_copies {
 public:
  using memory = warpgroup_memory<Policy>;
  using Portion = typename Policy::portion;
  static constexpr int kPairs = Portion::kCopyPairs;
  static constexpr int kRowBytes = kPairs * 2 * Portion::kSourceBlockBytes;

  __device__ activation_tile_copies(const gemm_arguments& arguments, const arch::tensor_map& map)
      : arguments_(arguments), map_(map) {}

  /// To `target`, which must be empty. Whether anything was left.
  __device__ __forceinline__ bool copy_next(uint8_t* target, uint8_t* full) {
    if (arguments_.k_blocks == 0 || tile_.done(arguments_)) return false;
    // Computed once a tile where one thread has nothing else to do; elsewhere it would cost a register of all.
    if (Policy::kConverts || copy_ == 0) {
      first_token_ = static_cast<int>(tile_.first_token(arguments_)) + tile_.rank() * Policy::kConvertedTokens;
    }
    arch::tensor_copy(target, map_, arguments_.first_block * Portion::kSourceBlockBytes + copy_ * kRowBytes,
                      first_token_, full);
    arch::mbarrier_arrive_expecting(full, Policy::kConvertedTokens * kRowBytes);
    if (++copy_ == memory::pairs(arguments_) / kPairs) {
      copy_ = 0;
      tile_.advance();
    }
    return true;
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
  static constexpr int kPieceStages = memory::kPiecePairs / memory::kStagePairs;
  int stages = kPieceStages - 1 + memory::kStages;

  /// Whether they may, now that the next stage is empty.
  __device__ __forceinline__ bool next_stage() {
    const bool due = stages == 0;
    stages = (due ? kPieceStages : stages) - 1;
    return due;
  }
};

/// Stages are copied as they are, by one thread.
template <class Policy>
__device__ __forceinline__ void copy_stages(const gemm_arguments& arguments, const warpgroup_tensor_maps& maps) {
  using memory = warpgroup_memory<Policy>;
  const bool asks = arch::thread_index() == 0;
  // Weights first, since with dependent launch they alone may be touched before the wait.
  weight_tile_copies<Policy> weights(arguments, maps.w);
#pragma unroll 1
  for (int i = 0; asks && i < Policy::kStages; ++i) weights.copy_next();
  if (arguments.dependent) arch::wait_for_dependencies();  // by all, since those of a cluster store its sums
  if (!asks) return;
  activation_tile_copies<Policy> activations(arguments, maps.x);
  typename memory::place place;
  piece_countdown<Policy> countdown;
#pragma unroll 1
  while (true) {
    arch::mbarrier_wait(memory::empty(place.slot), place.parity ^ 1);
    if (!activations.copy_next(memory::activations(place.slot), memory::full(place.slot))) return;
    place.advance();
    if (countdown.next_stage()) weights.copy_next();
  }
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
    // Weights first, since with dependent launch they alone may be touched before the wait.
    if (asks()) {
#pragma unroll 1
      for (int i = 0; i < Policy::kStages; ++i) weights_.copy_next();
    }
    if (arguments_.dependent) arch::wait_for_dependencies();
    if (asks()) {
#pragma unroll 1
      for (int i = 0; i < memory::kCopies - 1; ++i) copy_next();
    }
    typename memory::place place;
    piece_countdown<Policy> countdown;
    const int pairs = memory::pairs(arguments_);
#pragma unroll 1
    for (tile_walk<Policy> tile; !tile.done(arguments_); tile.advance()) {
#pragma unroll 1
      for (int pair = 0; pair < pairs; pair += memory::kStagePairs) {
        const int pair_of_copy = pair % Portion::kCopyPairs;
        if (pair_of_copy == 0) {
          if (asks()) copy_next();
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
        if (countdown.next_stage() && asks()) weights_.copy_next();
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
      // Not the thread that asks for copies, which has enough to do.
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

  /// Whether this is the thread that asks for copies.
  static __device__ __forceinline__ bool asks() { return arch::thread_index() == 0; }

  /// kCopies - 1 ahead of the one that is to be converted next, in the place of the one before that.
  __device__ __forceinline__ void copy_next() {
    arch::mbarrier_wait(memory::copy_empty(target_.slot), target_.parity ^ 1);
    (void)copies_.copy_next(memory::copied(target_.slot), memory::copy_full(target_.slot));
    target_.advance();
  }

  const gemm_arguments& arguments_;
  weight_tile_copies<Policy> weights_;
  activation_tile_copies<Policy> copies_;
  swizzled_activations<Portion, kThreads, Policy::kTileM, Policy::kSharers> activations_;
  ring_place<memory::kCopies> source_;
  ring_place<memory::kCopies> target_;
};

template <class Policy>
__device__ __forceinline__ void produce_by_tensor_copies(const gemm_arguments& arguments,
                                                         const warpgroup_tensor_maps& maps) {
  if constexpr (Policy::kConverts) {
    copy_converter<Policy>(arguments, maps).run();
  } else {
    copy_stages<Policy>(arguments, maps);
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
