#pragma once

// Many tokens, on wgmma, with specialized warps. Producers copy raw weights into a ring of pieces, convert activations
// into a ring of swizzled stages, and say when a stage is full; consumers make the weights' fragments from nibbles,
// multiply, and say when a stage is empty. No barrier stops all of them, so that the latencies of one warp pass while
// others issue. CTAs stay for several tiles: producers fill the rings for the next tile while consumers store the sums
// of the last one.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/register_share_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/epilogue/store.cuh>
#include <q4fuse/detail/mainloop/warpgroup_converter.cuh>
#include <q4fuse/detail/mainloop/warpgroup_producer.cuh>
#include <q4fuse/detail/mainloop/warpgroup_stages.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/k_slice.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/warpgroup_rings.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Where k is shared, before sums take the rings' place. One barrier in one place for all threads, although the
/// branches of the roles never join: registers that one of them has the other lacks.
__device__ __forceinline__ void leave_rings() { arch::sync_cta(); }

/// By all threads of a cluster, which has one tile. Consumers in several groups are enough to add its sums: producers
/// would save them no step, and have the code twice.
template <class Policy, bool kConsumer>
__device__ __forceinline__ void store_shared_sums(const gemm_arguments& arguments) {
  constexpr int kIdle = Policy::kWarpsK > 1 ? Policy::kProducerWarps * kWarpSize : 0;
  const tile_walk<Policy> tile;
  store_shared_tile<Policy, kConsumer || kIdle == 0>(
      reinterpret_cast<const float*>(arch::shared_memory()), arguments, tile.first_row(arguments),
      tile.first_token(arguments), tile.first_own_token(arguments),
      static_cast<int>(arch::cta_index() % Policy::kClusterK), arch::thread_index() - kIdle, Policy::kThreads - kIdle);
}

/// Of `pairs` pairs of blocks, how many are in the pieces of a group of warps.
template <class Policy>
__device__ __forceinline__ int pairs_of_group(int pairs, int group) {
  if constexpr (Policy::kWarpsK == 1) return pairs;
  constexpr int kPiecePairs = warpgroup_memory<Policy>::kPiecePairs;
  constexpr int kTurn = kPiecePairs * Policy::kWarpsK;
  const int rest = pairs % kTurn - group * kPiecePairs;
  return pairs / kTurn * kPiecePairs + (rest < 0 ? 0 : rest < kPiecePairs ? rest : kPiecePairs);
}

template <class Policy>
__device__ __forceinline__ void consume(const gemm_arguments& arguments) {
  using memory = warpgroup_memory<Policy>;
  const int warp = arch::warp_index() - Policy::kProducerWarps;
  const int group = Policy::kWarpsK > 1 ? warp / Policy::kWarpsN : 0;
  const int warp_row = (warp - group * Policy::kWarpsN) * Policy::kWarpRows;
  full_stages<Policy> stages(arguments.tensor_copies, group);
  if (arguments.dependent) arch::wait_for_dependencies();  // the kernel ahead may still read what was in Y
  const int pairs = pairs_of_group<Policy>(memory::pairs(arguments), group);
#pragma unroll 1
  for (tile_walk<Policy> tile; !tile.done(arguments); tile.advance()) {
    typename Policy::dot dot(arch::shared_memory() + memory::kMap.constant, warp_row);
    dot.clear();
    if (!Policy::kSharesK || pairs > 0) dot.multiply(stages, pairs);
    stages.skip(static_cast<int>(ceil_div(pairs, memory::kPiecePairs)) * memory::kPieceStages -
                static_cast<int>(ceil_div(pairs, memory::kStagePairs)));
    if constexpr (Policy::kSharesK) {
      leave_rings();
      place_partial_tile<Policy>(dot, reinterpret_cast<float*>(arch::shared_memory()), warp_row,
                                 group * Policy::kTileM);
      store_shared_sums<Policy, true>(arguments);
    } else {
      store_sums(dot, arguments, tile.first_row(arguments) + warp_row, tile.first_token(arguments),
                 tile.first_own_token(arguments));
    }
  }
}

template <class Policy>
__device__ __forceinline__ void warpgroup_mainloop(const gemm_arguments& all_of_k, const warpgroup_tensor_maps& maps) {
  static_assert(Policy::kWarpsM == 1, "every warp works for all tokens");
  const gemm_arguments arguments = slice_of_k<Policy>(all_of_k, Policy::portion::kSourceBlockBytes);
  warpgroup_memory<Policy>::make_barriers(arguments);
  // The first warps, because the schedulers prefer those: what waits for stages then comes last.
  if (arch::thread_index() < Policy::kProducerWarps * kWarpSize) {
    arch::lower_registers<Policy::kProducerRegisters>();
    if (arguments.tensor_copies) {
      produce_by_tensor_copies<Policy>(arguments, maps);
    } else {
      warpgroup_memory<Policy>::meet();
      producer<Policy>(arguments).run();
    }
    if constexpr (Policy::kSharesK) {
      wait_for_copies<0>();
      leave_rings();
      store_shared_sums<Policy, false>(arguments);
    }
  } else {
    arch::raise_registers<Policy::kConsumerRegisters>();
    warpgroup_memory<Policy>::meet();
    consume<Policy>(arguments);
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
