#pragma once

// The consumers' side of the rings of the warpgroup family: what the dots walk over.

#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/warpgroup_rings.cuh>

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Of FP16 dots, which take a whole piece in a straight line of code: the stage of it that is meant is a constant
/// there. Groups of warps take turns at the pieces.
template <class Policy>
class piece_stages {
 public:
  using memory = warpgroup_memory<Policy>;
  static constexpr int kPairs = memory::kStagePairs;
  static constexpr int kPieceStages = memory::kPieceStages;

  /// For the pieces whose number, modulo Policy::kWarpsK, is `group`.
  __device__ piece_stages(bool tensor_copies, int group) : tensor_copies_(tensor_copies) {
#pragma unroll 1
    for (int i = 0; i < group; ++i) pass_by_pieces<1>();
  }

  /// Waits for stage `stage` of the piece, all of whose weights are there with the first one.
  __device__ __forceinline__ void acquire(int stage) {
    if (stage == 0 && tensor_copies_) arch::mbarrier_wait(memory::weights_full(piece_.slot), piece_.parity);
    arch::mbarrier_wait(memory::full(place_.slot), place_.parity);
  }
  /// Of the first block of the stage.
  __device__ __forceinline__ const uint8_t* weights(int stage) const {
    return memory::weights(piece_.slot) + stage * kPairs * kPairBytes;
  }
  __device__ __forceinline__ const uint8_t* activations() const { return memory::activations(place_.slot); }
  /// Leaves the stage. The weights of a piece may be overwritten after its last one: what is left of them is in
  /// registers. Of activations release() says so.
  __device__ __forceinline__ void leave(int stage) {
    left_ = place_.slot;
    place_.advance();
    if (stage < kPieceStages - 1) return;
    if constexpr (!Policy::kConverts) {
      arch::sync_warp();
      if (arch::lane_index() == 0) arch::mbarrier_arrive(memory::weights_empty(piece_.slot));
    }
    piece_.advance();
    pass_by_pieces<Policy::kWarpsK - 1>();
  }
  /// Passes the stage that was left last on to be overwritten: all products with it are done.
  __device__ __forceinline__ void release() {
    arch::sync_warp();
    memory::arrive_empty(left_, tensor_copies_);
  }
  /// Passes by the last stages of a piece, which lie beyond k.
  __device__ __forceinline__ void skip(int stages) {
#pragma unroll 1
    for (int stage = kPieceStages - stages; stage < kPieceStages; ++stage) {
      acquire(stage);
      leave(stage);
      release();
    }
  }

 private:
  /// Those of other groups.
  template <int kPieces>
  __device__ __forceinline__ void pass_by_pieces() {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) piece_.advance();
#pragma unroll
    for (int i = 0; i < kPieces * kPieceStages; ++i) place_.advance();
  }

  bool tensor_copies_;
  int left_ = 0;
  typename memory::place place_;
  ring_place<Policy::kStages> piece_;
};

/// Of exact dots, whose code for a stage is long enough.
template <class Policy>
class pair_stages {
 public:
  static_assert(Policy::kWarpsK == 1, "one group of warps");
  __device__ pair_stages(bool tensor_copies, int /*group*/) : tensor_copies_(tensor_copies) {}

  using memory = warpgroup_memory<Policy>;
  static constexpr int kPairs = memory::kStagePairs;
  /// Those that are multiplied between two visits here. In kernels that share k whole stages spill, or take a tenth
  /// longer where activations are quantized.
  static constexpr int kPairsAtOnce = Policy::kSharesK ? 1 : kPairs;

  /// Waits for the first stage of a tile.
  __device__ __forceinline__ void acquire() {
    acquire_stage();
    pair_ = 0;
    acquire_weights();
  }
  /// Whether the next pairs are in another stage.
  __device__ __forceinline__ bool at_end() const { return kWhole || (pair_ + kPairsAtOnce) % kPairs == 0; }
  __device__ __forceinline__ void next() {
    const bool stage_ends = at_end();
    pair_ += kPairsAtOnce;
    weights_ += kPairsAtOnce * kPairBytes;
    if (stage_ends) {
      acquire_stage();
      if (pair_ >= kPieceBlocks / 2) {
        pair_ = 0;
        piece_.advance();
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
    done_ = done_ + 1 == memory::kStages ? 0 : done_ + 1;
  }
  /// Passes by the stages of a tile's last piece that lie beyond k.
  __device__ __forceinline__ void skip(int stages) {
#pragma unroll 1
    for (int i = 0; i < stages; ++i) {
      arch::mbarrier_wait(memory::full(next_.slot), next_.parity);
      next_.advance();
      release();
    }
    piece_.advance();
  }

 private:
  static constexpr bool kWhole = kPairsAtOnce == kPairs;
  __device__ __forceinline__ int pair_of_stage() const { return kWhole ? 0 : pair_ % kPairs; }

  __device__ __forceinline__ void acquire_stage() {
    arch::mbarrier_wait(memory::full(next_.slot), next_.parity);
    activations_ = memory::activations(next_.slot);
    next_.advance();
  }
  __device__ __forceinline__ void acquire_weights() {
    if (tensor_copies_) arch::mbarrier_wait(memory::weights_full(piece_.slot), piece_.parity);
    weights_ = memory::weights(piece_.slot);
  }

  bool tensor_copies_;
  typename memory::place next_;
  int done_ = 0;
  ring_place<Policy::kStages> piece_;
  int pair_ = 0;
  const uint8_t* activations_ = nullptr;
  const uint8_t* weights_ = nullptr;
};

/// Those of a policy.
template <class Policy>
using full_stages =
    std::conditional_t<Policy::kBlockBytes == kQuantBlockBytes, pair_stages<Policy>, piece_stages<Policy>>;

}  // namespace detail
Q4FUSE_NAMESPACE_END
