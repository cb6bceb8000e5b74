#pragma once

// Larger m: a CTA computes one tile of Y. Weights and activations of one piece of k make a stage; the stages form two
// rings in shared memory, filled asynchronously ahead of the arithmetic. Activations that are converted on the way, to
// Q8_1 or to FP16, cannot be copied asynchronously: a quarter of the next stage's is loaded before and stored after
// each pair of blocks of the current one, so that the loads' latency and the conversion hide behind the dots.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/epilogue/store.cuh>
#include <q4fuse/detail/tile/activations.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/copy.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/policy.cuh>
#include <q4fuse/detail/tile/token_rows.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The rings of stages of one output tile.
template <class Policy, template <int, int> class Activations>
class tile_stages {
 public:
  static constexpr int kRowBytes = static_cast<int>(activation_row_bytes(kPieceBlocks, Policy::kBlockBytes));
  static constexpr int kPairs = kPieceBlocks / 2;
  /// A pair's share of the converted portions of a stage, in portions a thread.
  static constexpr int kBatch =
      static_cast<int>(ceil_div(Policy::kTileM * kPieceBlocks * kLanesPerBlock, kPairs* Policy::kThreads));
  using provider = Activations<Policy::kThreads, kBatch>;
  using token_rows = full_token_rows<kRowBytes>;
  static_assert(provider::kBlockBytes == Policy::kBlockBytes, "the activations are not what the dot multiplies");

  __device__ tile_stages(const gemm_arguments& arguments, uint8_t* shared, int64_t first_row, int64_t first_token)
      : arguments_(arguments), shared_(shared), first_row_(first_row), first_token_(first_token) {
    const int64_t rows = arguments.n - first_row;
    const int64_t tokens = arguments.m - first_token;
    rows_ = rows < Policy::kTileN ? static_cast<int>(rows) : Policy::kTileN;
    last_token_ = tokens < Policy::kTileM ? static_cast<int>(tokens) - 1 : Policy::kTileM - 1;
  }

  __device__ __forceinline__ int pieces() const {
    return static_cast<int>(ceil_div(arguments_.k_blocks, kPieceBlocks));
  }
  __device__ __forceinline__ int blocks(int piece) const {
    const int left = arguments_.k_blocks - piece * kPieceBlocks;
    return left < kPieceBlocks ? left : kPieceBlocks;
  }
  __device__ __forceinline__ uint8_t* weights(int piece) const {
    return shared_ + kMap.weights + piece % Policy::kStages * kMap.weight_stage;
  }
  __device__ __forceinline__ uint8_t* activations(int piece) const {
    return shared_ + kMap.activations + piece % kActivationStages * kMap.activation_stage;
  }

  __device__ __forceinline__ void fetch_weights(int piece) const {
    if (piece >= pieces()) return;
    copy_piece<Policy::kTileN, kWeightPieceBytes, Policy::kThreads, true>(
        weights(piece), kWeightPieceBytes, arguments_.w, first_row_, int64_t{piece} * kWeightPieceBytes, rows_,
        blocks(piece) * kWeightBlockBytes, arch::thread_index());
  }

  /// Asynchronous providers only: Q8_1 rows are copied as they are. Rows past the last token become zeros.
  __device__ __forceinline__ void fetch_activations(int piece) const {
    if (piece >= pieces()) return;
    copy_piece<Policy::kTileM, kPieceBlocks * kQ8_1BlockBytes, Policy::kThreads, true>(
        activations(piece), kRowBytes, arguments_.x, first_token_, int64_t{piece} * kPieceBlocks * kQ8_1BlockBytes,
        last_token_ + 1, blocks(piece) * kQ8_1BlockBytes, arch::thread_index());
  }

  /// The other providers: converts what goes into the stage of `piece`.
  __device__ __forceinline__ provider converter(int piece) const {
    return provider(arguments_.x, {first_token_, int64_t{piece} * kPieceBlocks, Policy::kTileM, last_token_,
                                   blocks(piece), kPieceBlocks});
  }
  __device__ __forceinline__ auto activation_stage(int piece) const {
    return activation_tile<typename token_rows::scales, Policy::kBlockBytes>{activations(piece), kRowBytes};
  }

 private:
  static constexpr int kActivationStages = activation_stages(Policy::kConfig);
  static constexpr tile_layout kMap =
      make_tile_layout(Policy::kTileN, Policy::kTileM, Policy::kStages, kActivationStages, Policy::kBlockBytes);

  const gemm_arguments& arguments_;
  uint8_t* shared_;
  int64_t first_row_;
  int64_t first_token_;
  int rows_;
  int last_token_;
};

template <class Policy, template <int, int> class Activations>
__device__ __forceinline__ void tile_mainloop(const gemm_arguments& arguments, int64_t first_row, int64_t first_token) {
  static_assert(Policy::kWarpsK == 1, "the warps of this family split n and m only");
  using stages = tile_stages<Policy, Activations>;
  constexpr bool kAsynchronous = stages::provider::kAsynchronous;
  constexpr int kStep = stages::kBatch * Policy::kThreads;
  constexpr int kUnroll = Policy::kThreads > 256 ? 1 : 2;  // as far as the registers of a thread allow without spilling
  const stages ring(arguments, arch::shared_memory(), first_row, first_token);
  const int warp_row = arch::warp_index() % Policy::kWarpsN * Policy::kWarpRows;
  const int warp_token = arch::warp_index() / Policy::kWarpsN * Policy::kWarpTokens;
  const int pieces = ring.pieces();

  // Fill the ring: weights first, since with dependent launch they alone may be touched before the wait.
#pragma unroll
  for (int piece = 0; piece < Policy::kStages - 1; ++piece) {
    ring.fetch_weights(piece);
    if constexpr (!kAsynchronous) commit_copies();
  }
  if constexpr (arch::kTargetHas<90>) {
    if (arguments.dependent) arch::wait_for_dependencies();
  }
  if constexpr (kAsynchronous) {
    for (int piece = 0; piece < Policy::kStages - 1; ++piece) {
      ring.fetch_activations(piece);
      commit_copies();
    }
  } else {
    auto converter = ring.converter(0);
    for (int step = 0; step < stages::kPairs; ++step) {
      converter.load(step * kStep);
      converter.store(step * kStep, ring.activation_stage(0));
    }
  }

  // Multiply.
  constexpr typename stages::token_rows rows{};
  typename Policy::dot dot;
  dot.clear();
  for (int piece = 0; piece < pieces; ++piece) {
    wait_for_copies<Policy::kStages - 2>();
    arch::sync_cta();
    ring.fetch_weights(piece + Policy::kStages - 1);
    if constexpr (kAsynchronous) ring.fetch_activations(piece + Policy::kStages - 1);
    commit_copies();

    auto converter = ring.converter(piece + 1);
    const uint8_t* weights = ring.weights(piece) + warp_row * kWeightPieceBytes;
    const uint8_t* activations = ring.activations(piece) + warp_token * stages::kRowBytes;
    if (!kAsynchronous && piece + 1 < pieces) {
#pragma unroll kUnroll
      for (int pair = 0; pair < stages::kPairs; ++pair) {
        converter.load(pair * kStep);
        multiply_pair(dot, weights, activations, pair, rows);
        converter.store(pair * kStep, ring.activation_stage(piece + 1));
      }
    } else if constexpr (!kAsynchronous) {
#pragma unroll 1
      for (int pair = 0; 2 * pair < ring.blocks(piece); ++pair) multiply_pair(dot, weights, activations, pair, rows);
    } else {
      multiply_piece(dot, weights, activations, ring.blocks(piece), rows);
    }
  }
  store_sums(dot, arguments, first_row + warp_row, first_token + warp_token);
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
