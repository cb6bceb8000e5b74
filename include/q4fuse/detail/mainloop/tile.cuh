#pragma once

// Larger m: a CTA computes one tile of Y, or the CTAs of a cluster a slice of its k each. Weights and activations of
// one piece of k make a stage; the stages form two rings in shared memory, filled asynchronously ahead of the
// arithmetic. Activations that are converted on the way, to Q8_1 or to FP16, cannot be copied asynchronously: a share
// of the next stage's is loaded before and stored after each pair of blocks of the current one that a warp multiplies,
// so that the loads' latency and the conversion hide behind the dots. CTAs that share k leave their sums in shared
// memory, from where they are added in a fixed order.

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

/// The rings of stages of one output tile, or of a slice of its k. Pieces are counted from the slice's first.
template <class Policy, template <int, int> class Activations>
class tile_stages {
 public:
  static constexpr int kRowBytes = static_cast<int>(activation_row_bytes(kPieceBlocks, Policy::kBlockBytes));
  static constexpr int kPairs = kPieceBlocks / 2;  ///< of a piece
  /// Batches of portions in which a stage is converted: one a pair, or one a block where registers are few. A batch of
  /// fewer portions waits as long for its loads.
  static constexpr int kBatches = Policy::kSharesK ? 2 * kPairs : kPairs;
  static constexpr int kBatch =
      static_cast<int>(ceil_div(Policy::kTileM * kPieceBlocks * kLanesPerBlock, kBatches* Policy::kThreads));
  using provider = Activations<Policy::kThreads, kBatch>;
  /// Of the first stage nothing hides the latency: where k is short, because it is shared, all of it is loaded at once.
  static constexpr int kFirstBatch = Policy::kSharesK ? kBatches * kBatch : kBatch;
  using first_provider = Activations<Policy::kThreads, kFirstBatch>;
  using token_rows = full_token_rows<kRowBytes>;
  static_assert(provider::kBlockBytes == Policy::kBlockBytes, "the activations are not what the dot multiplies");

  __device__ tile_stages(const gemm_arguments& arguments, uint8_t* shared, int64_t first_row, int64_t first_token,
                         int slice)
      : arguments_(arguments), shared_(shared), first_row_(first_row), first_token_(first_token) {
    const int64_t rows = arguments.n - first_row;
    const int64_t tokens = arguments.m - first_token;
    rows_ = rows < Policy::kTileN ? static_cast<int>(rows) : Policy::kTileN;
    last_token_ = tokens < Policy::kTileM ? static_cast<int>(tokens) - 1 : Policy::kTileM - 1;
    first_piece_ = pieces_before(slice, Policy::kClusterK, arguments.k_blocks);
    pieces_ = pieces_before(slice + 1, Policy::kClusterK, arguments.k_blocks) - first_piece_;
  }

  /// 0 where k has fewer pieces than slices.
  __device__ __forceinline__ int pieces() const { return pieces_; }
  __device__ __forceinline__ int blocks(int piece) const {
    const int left = arguments_.k_blocks - (first_piece_ + piece) * kPieceBlocks;
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
    copy_piece<16, Policy::kTileN, kWeightPieceBytes, Policy::kThreads, true>(
        weights(piece), kWeightPieceBytes, arguments_.w, first_row_,
        (int64_t{first_piece_} + piece) * kWeightPieceBytes, rows_, blocks(piece) * kWeightBlockBytes,
        arch::thread_index());
  }

  /// Asynchronous providers only: Q8_1 rows are copied as they are. Rows past the last token become zeros.
  __device__ __forceinline__ void fetch_activations(int piece) const {
    if (piece >= pieces()) return;
    copy_piece<16, Policy::kTileM, kPieceBlocks * kQ8_1BlockBytes, Policy::kThreads, true>(
        activations(piece), kRowBytes, arguments_.x, first_token_,
        (int64_t{first_piece_} + piece) * kPieceBlocks * kQ8_1BlockBytes, last_token_ + 1,
        blocks(piece) * kQ8_1BlockBytes, arch::thread_index());
  }

  /// The other providers: converts what goes into the stage of `piece`.
  template <class Provider = provider>
  __device__ __forceinline__ Provider converter(int piece) const {
    return Provider(arguments_.x, {first_token_, (int64_t{first_piece_} + piece) * kPieceBlocks, Policy::kTileM,
                                   last_token_ + 1, blocks(piece), kPieceBlocks});
  }
  __device__ __forceinline__ auto activation_stage(int piece) const {
    return activation_tile{activations(piece), kRowBytes};
  }

 private:
  static constexpr int kActivationStages = activation_stages(Policy::kConfig);
  static constexpr tile_layout kMap =
      make_tile_layout(Policy::kTileN, Policy::kTileM, Policy::kStages, kActivationStages, Policy::kBlockBytes, false);

  const gemm_arguments& arguments_;
  uint8_t* shared_;
  int64_t first_row_;
  int64_t first_token_;
  int rows_;
  int last_token_;
  int first_piece_;
  int pieces_;
};

template <class Policy, template <int, int> class Activations>
__device__ __forceinline__ void tile_mainloop(const gemm_arguments& arguments, int64_t first_row, int64_t first_token) {
  static_assert(Policy::kWarpsK == 1, "every warp works for all of the CTA's k");
  using stages = tile_stages<Policy, Activations>;
  constexpr bool kAsynchronous = stages::provider::kAsynchronous;
  // As far as the registers of a thread allow without spilling.
  constexpr int kUnroll = Policy::kThreads > 256 || Policy::kSharesK ? 1 : 2;
  constexpr int kFillUnroll = Policy::kSharesK ? 1 : Policy::kStages - 1;
  const int slice = Policy::kClusterK == 1 ? 0 : static_cast<int>(arch::cta_index() % Policy::kClusterK);
  const stages ring(arguments, arch::shared_memory(), first_row, first_token, slice);
  const int warp = arch::warp_index();
  const int warp_row = warp % Policy::kWarpsN * Policy::kWarpRows;
  const int warp_token = warp / Policy::kWarpsN * Policy::kWarpTokens;
  const int pieces = ring.pieces();

  // Fill the ring. With dependent launch only weights may be touched before the wait. Without it no piece waits for
  // copies of later ones, and activations that are to be converted go first, because a load that is issued behind a
  // burst of copies waits for all of them.
  auto first = ring.template converter<typename stages::first_provider>(0);
  const bool converts_first = !kAsynchronous && (Policy::kClusterK == 1 || pieces > 0);
  const bool loads_first = Policy::kSharesK && !arguments.dependent;
  using scales = typename stages::token_rows::scales;
  auto loads = first.begin_loads();
  auto stores = first.begin_stores(ring.activation_stage(0));
  if (converts_first && loads_first) first.load(loads);
#pragma unroll kFillUnroll
  for (int piece = 0; piece < Policy::kStages - 1; ++piece) {
    ring.fetch_weights(piece);
    if (kAsynchronous && arguments.dependent) continue;
    if constexpr (kAsynchronous) ring.fetch_activations(piece);
    commit_copies();
  }
  if constexpr (arch::kTargetHas<90>) {
    if (arguments.dependent) arch::wait_for_dependencies();
  }
  if constexpr (kAsynchronous) {
    for (int piece = 0; arguments.dependent && piece < Policy::kStages - 1; ++piece) {
      ring.fetch_activations(piece);
      commit_copies();
    }
  } else if (converts_first) {
    if (!loads_first) first.load(loads);
    first.template store<scales>(stores);
    for (int batch = stages::kFirstBatch; batch < stages::kBatches * stages::kBatch; batch += stages::kFirstBatch) {
      first.load(loads);
      first.template store<scales>(stores);
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

    const uint8_t* weights = ring.weights(piece) + warp_row * kWeightPieceBytes;
    const uint8_t* activations = ring.activations(piece) + warp_token * stages::kRowBytes;
    if (!kAsynchronous && piece + 1 < pieces) {
      auto converter = ring.converter(piece + 1);
      auto next_load = converter.begin_loads();
      auto next_store = converter.begin_stores(ring.activation_stage(piece + 1));
#pragma unroll kUnroll
      for (int pair = 0; pair < stages::kPairs; ++pair) {
        if constexpr (stages::kBatches == stages::kPairs) {
          converter.load(next_load);
          multiply_pair(dot, weights, activations, pair, rows);
          converter.template store<scales>(next_store);
        } else {
          const uint8_t* const w = weights + pair * kPairBytes;
          const uint8_t* const x = activations + 2 * pair * Policy::kBlockBytes;
          converter.load(next_load);
          dot.template multiply<0>(w, x, rows);
          converter.template store<scales>(next_store);
          converter.load(next_load);
          dot.template multiply<1>(w, x + Policy::kBlockBytes, rows);
          converter.template store<scales>(next_store);
        }
      }
    } else if constexpr (!kAsynchronous) {
#pragma unroll 1
      for (int pair = 0; 2 * pair < ring.blocks(piece); ++pair) {
        multiply_pair(dot, weights, activations, pair, rows);
      }
    } else {
      multiply_piece(dot, weights, activations, ring.blocks(piece), rows);
    }
  }

  if constexpr (Policy::kSharesK) {
    arch::sync_cta();  // every warp is done with the rings
    float* const partials = reinterpret_cast<float*>(arch::shared_memory());
    place_partial_tile<Policy>(dot, partials, warp_row, warp_token);
    store_shared_tile<Policy, true>(partials, arguments, first_row, first_token, first_token, slice,
                                    arch::thread_index(), Policy::kThreads);
  } else {
    store_sums(dot, arguments, first_row + warp_row, first_token + warp_token, first_token + warp_token);
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
