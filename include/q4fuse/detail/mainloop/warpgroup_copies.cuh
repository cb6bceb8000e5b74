#pragma once

// What the producers of the warpgroup family copy where alignment allows tensor copies, of activations at least. One
// lane of a warp asks for them, the rest of it goes along, so that their operands are known to be uniform. Where
// nothing is converted this is all that producers do.

#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/tensor_copy_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/copy.cuh>
#include <q4fuse/detail/tile/layout.hpp>
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

}  // namespace detail
Q4FUSE_NAMESPACE_END
