#pragma once

// Many tokens, on wgmma, with specialized warps. Producers copy raw weights into a ring of pieces, convert activations
// into a ring of swizzled stages, and say when a stage is full; consumers make the weights' fragments from nibbles,
// multiply, and say when a stage is empty. No barrier stops all of them, so that the latencies of one warp pass while
// others issue. CTAs stay for several tiles: producers fill the rings for the next tile while consumers store the sums
// of the last one.

#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/register_share_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/epilogue/store.cuh>
#include <q4fuse/detail/mainloop/warpgroup_copies.cuh>
#include <q4fuse/detail/mainloop/warpgroup_producer.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/k_slice.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/warpgroup_rings.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The consumers' side of the rings. Groups of warps take turns: each has every kWarpsK-th stage.
template <class Policy>
class full_stages {
 public:
  /// Of the stages whose number, modulo Policy::kWarpsK, is `group`.
  __device__ full_stages(bool tensor_copies, int group) : tensor_copies_(tensor_copies), group_(group), done_(group) {
#pragma unroll 1
    for (int i = 0; i < group; ++i) next_.advance();
  }

  using memory = warpgroup_memory<Policy>;
  static constexpr int kPairs = memory::kStagePairs;
  /// Those that are multiplied between two visits here. In kernels that share k whole stages spill, or take a tenth
  /// longer where activations are quantized.
  static constexpr int kPairsAtOnce = Policy::kSharesK ? 1 : kPairs;
  /// Of the threads that multiply.
  static constexpr bool kRegistersToSpare = Policy::kProducerWarps < 8 && Policy::kWarpRows > 16;

  /// Waits for the first stage of a tile.
  __device__ __forceinline__ void acquire() {
    arch::mbarrier_wait(memory::full(next_.slot), next_.parity);
    activations_ = memory::activations(next_.slot);
    advance();
    pair_ = first_pair();
    acquire_weights();
  }
  /// Whether the next pairs are in another stage.
  __device__ __forceinline__ bool at_end() const { return kWhole || (pair_ + kPairsAtOnce) % kPairs == 0; }
  /// And in another piece of weights.
  __device__ __forceinline__ bool at_end_of_piece() const { return pair_ + kStep >= kPieceBlocks / 2; }
  __device__ __forceinline__ void next() {
    const bool stage_ends = at_end();
    pair_ += kStep;
    weights_ += kStep * kPairBytes;
    if (stage_ends) {
      arch::mbarrier_wait(memory::full(next_.slot), next_.parity);
      activations_ = memory::activations(next_.slot);
      advance();
      if (pair_ >= kPieceBlocks / 2) {
        pair_ = first_pair();
        release_weights();
        acquire_weights();
      }
    }
  }
  /// Of the first block of the pairs.
  __device__ __forceinline__ const uint8_t* weights() const { return weights_; }
  __device__ __forceinline__ const uint8_t* activations() const {
    return activations_ + pair_of_stage() * 2 * Policy::kBlockBytes;
  }
  __device__ __forceinline__ const uint8_t* scales() const {
    return activations_ + Policy::kTileM * kWarpgroupRowBytes + scale_offset(pair_of_stage() * 2, 0);
  }
  __device__ __forceinline__ void release() {
    arch::sync_warp();
    memory::arrive_empty(done_, tensor_copies_);
#pragma unroll
    for (int i = 0; i < Policy::kWarpsK; ++i) done_ = done_ + 1 == memory::kStages ? 0 : done_ + 1;
  }
  /// Passes by the stages of a tile's last piece that lie beyond k.
  __device__ __forceinline__ void skip(int stages) {
#pragma unroll 1
    for (int i = 0; i < stages; ++i) {
      arch::mbarrier_wait(memory::full(next_.slot), next_.parity);
      advance();
      release();
    }
    release_weights();
  }

 private:
  /// Passes a piece on to be overwritten: what is left of it is in registers.
  __device__ __forceinline__ void release_weights() {
    if constexpr (!Policy::kConverts) {
      arch::sync_warp();
      if (tensor_copies_ && arch::lane_index() == 0) arch::mbarrier_arrive(memory::weights_empty(piece_.slot));
    }
    piece_.advance();
  }

  static constexpr bool kWhole = kPairsAtOnce == kPairs;
  static constexpr int kStep = kPairsAtOnce * Policy::kWarpsK;
  static_assert(Policy::kWarpsK == 1 || kWhole, "groups of warps take whole stages");
  __device__ __forceinline__ int first_pair() const { return Policy::kWarpsK > 1 ? group_ : 0; }
  __device__ __forceinline__ void advance() {
#pragma unroll
    for (int i = 0; i < Policy::kWarpsK; ++i) next_.advance();
  }
  __device__ __forceinline__ int pair_of_stage() const { return kWhole ? 0 : pair_ % kPairs; }

  __device__ __forceinline__ void acquire_weights() {
    if (tensor_copies_) arch::mbarrier_wait(memory::weights_full(piece_.slot), piece_.parity);
    weights_ = memory::weights(piece_.slot) + first_pair() * kPairBytes;
  }

  bool tensor_copies_;
  int group_;
  typename memory::place next_;
  int done_;
  ring_place<Policy::kStages> piece_;
  int pair_ = 0;
  const uint8_t* activations_ = nullptr;
  const uint8_t* weights_ = nullptr;
};

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

template <class Policy>
__device__ __forceinline__ void consume(const gemm_arguments& arguments) {
  using memory = warpgroup_memory<Policy>;
  const int warp = arch::warp_index() - Policy::kProducerWarps;
  const int group = Policy::kWarpsK > 1 ? warp / Policy::kWarpsN : 0;
  const int warp_row = (warp - group * Policy::kWarpsN) * Policy::kWarpRows;
  full_stages<Policy> stages(arguments.tensor_copies, group);
  if (arguments.dependent) arch::wait_for_dependencies();  // the kernel ahead may still read what was in Y
  const int pairs = (memory::pairs(arguments) + Policy::kWarpsK - 1 - group) / Policy::kWarpsK;
#pragma unroll 1
  for (tile_walk<Policy> tile; !tile.done(arguments); tile.advance()) {
    typename Policy::dot dot(arch::shared_memory() + memory::kMap.constant, warp_row);
    dot.clear();
    if (!Policy::kSharesK || pairs > 0) dot.multiply(stages, pairs);
    stages.skip(memory::padded_pairs(arguments) / memory::kStagePairs / Policy::kWarpsK -
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
  warpgroup_memory<Policy>::prepare(arguments);
  // The first warps, because the schedulers prefer those: what waits for stages then comes last.
  if (arch::thread_index() < Policy::kProducerWarps * kWarpSize) {
    arch::lower_registers<Policy::kProducerRegisters>();
    if (arguments.tensor_copies) {
      produce_by_tensor_copies<Policy>(arguments, maps);
    } else {
      producer<Policy>(arguments).run();
    }
    if constexpr (Policy::kSharesK) {
      wait_for_copies<0>();
      leave_rings();
      store_shared_sums<Policy, false>(arguments);
    }
  } else {
    arch::raise_registers<Policy::kConsumerRegisters>();
    consume<Policy>(arguments);
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
