#pragma once

// What the specialized warps of the warpgroup family share: tiles, rings and their barriers.

#include <q4fuse/detail/arch/cluster_sm90.cuh>
#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/tensor_copy_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/raster.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// What the kernel of a policy for a kind of activations adds to it. The registers that a thread has at the launch, all
/// of the multiprocessor's by the number of threads, go to the consumers as far as the producers can spare them.
template <class Policy, class Portion>
struct warpgroup_policy : Policy {
  using portion = Portion;
  static constexpr bool kConverts = !Portion::kAsTheyAre;
  /// CTAs of a cluster, neighbours along n, that each convert a part of the tokens for all of them if those come by
  /// tensor copies. Where nothing has to be converted they have nothing in common.
  static constexpr int kSharers = kConverts ? Policy::kClusterN : 1;
  static constexpr int kConvertedTokens = Policy::kTileM / kSharers;
  static constexpr int kCtas = warpgroup_ctas(Policy::kConfig);
  static constexpr int kProducerWarps = kCtas > 1 ? 4 : Portion::kProducerWarps;
  static constexpr int kThreads = Policy::kThreads + kProducerWarps * kWarpSize;
  static constexpr int kProducerRegisters = Policy::kWarpsK > 1 || kCtas > 1              ? 64
                                            : Policy::kTileN <= 128 || kProducerWarps < 8 ? 72
                                            : Portion::kThroughRegisters                  ? 56
                                                                                          : 64;
  static constexpr int kConsumerRegisters =
      (65536 / kCtas / kThreads / 8 * 8 * kThreads / kWarpSize - kProducerRegisters * kProducerWarps) / Policy::kWarps /
      8 * 8;
};

/// A place in a ring of kSlots stages, counted over all tiles of the CTA.
template <int kSlots>
struct ring_place {
  int slot = 0;
  int parity = 0;  ///< of the phase in which the slot is filled
  __device__ __forceinline__ void advance() {
    if (++slot == kSlots) {
      slot = 0;
      parity ^= 1;
    }
  }
};

/// The second parameter of the kernels, for tensor copies.
struct warpgroup_tensor_maps {
  arch::tensor_map w;  ///< tiles of a piece
  arch::tensor_map x;  ///< swizzled stages, or tiles that are to be converted
};

/// The tiles of one CTA, in the order in which it computes them. Sharers have tiles beside each other, of which the
/// last one may have no rows. Knows their index alone: everything else is worth computing again once a tile, because it
/// would take registers from the sums.
template <class Policy>
class tile_walk {
 public:
  __device__ __forceinline__ bool done(const gemm_arguments& arguments) const {
    return index_ >= tiles_n(arguments) * tiles_m(arguments);
  }
  __device__ __forceinline__ void advance() { index_ += static_cast<uint32_t>(arch::cta_count() / kClusterCtas); }
  __device__ __forceinline__ int64_t first_row(const gemm_arguments& arguments) const {
    const int64_t cluster_row = int64_t{locate(arguments).n} * kClusterRows;
    if constexpr (Policy::kSharers == 1) return cluster_row;
    return cluster_row + rank() * Policy::kTileN;
  }
  /// Of the CTA among those that share activations.
  static __device__ __forceinline__ int rank() { return static_cast<int>(arch::cta_index() % Policy::kSharers); }
  /// The last tile of many tokens ends with them, because copies of tokens that do not exist take longer than of those
  /// that do: it begins with some of the tile before, which it does not store.
  __device__ __forceinline__ int64_t first_token(const gemm_arguments& arguments) const {
    const int64_t token = first_own_token(arguments);
    const int64_t last = arguments.m > Policy::kTileM ? arguments.m - Policy::kTileM : 0;
    return token < last ? token : last;
  }
  __device__ __forceinline__ int64_t first_own_token(const gemm_arguments& arguments) const {
    return int64_t{locate(arguments).m} * Policy::kTileM;
  }

 private:
  static constexpr int kClusterCtas = Policy::kClusterK * Policy::kSharers;
  static constexpr int kClusterRows = Policy::kTileN * Policy::kSharers;

  static __device__ __forceinline__ uint32_t tiles_n(const gemm_arguments& arguments) {
    return static_cast<uint32_t>(ceil_div(arguments.n, kClusterRows));
  }
  static __device__ __forceinline__ uint32_t tiles_m(const gemm_arguments& arguments) {
    return static_cast<uint32_t>(ceil_div(arguments.m, Policy::kTileM));
  }
  __device__ __forceinline__ tile_coordinates locate(const gemm_arguments& arguments) const {
    return rasterize(index_, tiles_n(arguments), tiles_m(arguments), kBandTokens / Policy::kTileM);
  }

  uint32_t index_ = static_cast<uint32_t>(arch::cta_index() / kClusterCtas);
};

/// Shared memory of a warpgroup kernel. Everything moves in pairs of blocks. A tile has whole pieces of k, and a piece
/// whole stages: those that lie beyond k pass through the ring with nothing in them, so that both stay in step.
template <class Policy>
class warpgroup_memory {
 public:
  static constexpr bool kConverts = Policy::kConverts;
  static constexpr warpgroup_layout kMap =
      make_warpgroup_layout(Policy::kTileN, Policy::kTileM, Policy::kStages, Policy::kBlockBytes, Policy::kWarpsK,
                            Policy::kClusterK, Policy::kClusterN);
  /// Activations that are multiplied as they are come in tiles of a pair, two a stage, or all of a piece where groups
  /// of warps take turns at those and a cluster shares k. They need no place for copies: it holds more stages, up to
  /// eight, for which there are barriers.
  static constexpr int kStagePairs = kConverts ? warpgroup_stage_pairs(Policy::kBlockBytes)
                                     : Policy::kWarpsK > 1 && Policy::kClusterK > 1 ? kPieceBlocks / 2
                                                                                    : 2;
  static constexpr int kPiecePairs = kPieceBlocks / 2;
  static constexpr int kPieceStages = kPiecePairs / kStagePairs;
  static constexpr int kPairTile = Policy::kTileM * kWarpgroupRowBytes;  ///< bytes
  static constexpr int kStageBytes = kConverts ? kMap.activation_stage : kStagePairs * kPairTile;
  static constexpr int kRoom = (kMap.constant - kMap.activations) / kStageBytes;
  static constexpr int kStages = kConverts ? kMap.activation_stages : kRoom < 8 ? kRoom : 8;
  /// Stages that consumers keep while they wait for the next one: of each group of warps the last one of its piece.
  static constexpr int kKeptStages = 1 + (Policy::kWarpsK - 1) * kPieceStages;
  static_assert(kConverts || kStages > 1 + kKeptStages, "room for more than those");
  // Else a group would wait with the parity of a phase that the other one has not finished.
  static_assert(Policy::kWarpsK == 1 ||
                    (kStages % (kPieceStages * Policy::kWarpsK) == 0 && Policy::kStages % Policy::kWarpsK == 0),
                "a slot belongs to one group of warps");
  using Portion = typename Policy::portion;
  static constexpr int kCopies = Policy::kSharers > 1 ? 3 : Portion::kCopies;
  static constexpr int kCopyBytes = Policy::kConvertedTokens * Portion::kCopyPairs * 2 * Portion::kSourceBlockBytes;
  static_assert(!kConverts || kMap.copies + kCopies * kCopyBytes <= kMap.constant, "room for all of them");
  static_assert(!kConverts || Portion::kCopyPairs >= kStagePairs, "a stage is not put together from several copies");
  static_assert(kMap.activations % arch::kSwizzledTileAlignment == 0 &&
                    kStageBytes % arch::kSwizzledTileAlignment == 0 && kPairTile % arch::kSwizzledTileAlignment == 0,
                "wgmma finds rows by their address");
  static_assert(2 * kStages + Policy::kStages + (kConverts ? 2 * kCopies : Policy::kStages) <= kWarpgroupBarriers,
                "a barrier each");
  /// Warps that make the barriers of the rings and ask for tensor copies into them.
  static constexpr int kWeightWarp = 0;
  static constexpr int kActivationWarp = kConverts ? 0 : 1;
  /// Those that copy weights where a tensor copy cannot, beside one that asks for activations.
  static constexpr int kWeightWarps = Policy::kProducerWarps - 1;
  using place = ring_place<kStages>;

  /// Of a tensor copy. Fewer tokens than a tile's are copied alone where nothing is converted: what does not exist is
  /// filled with zeros more slowly than copied, and other tokens' sums do not depend on what is in its place.
  static __host__ __device__ constexpr int copied_tokens(int64_t m) {
    return !kConverts && m < Policy::kConvertedTokens ? static_cast<int>(m) : Policy::kConvertedTokens;
  }
  static __device__ __forceinline__ int pairs(const gemm_arguments& arguments) {
    return static_cast<int>(ceil_div(arguments.k_blocks, 2));
  }
  static __device__ __forceinline__ int padded_pairs(const gemm_arguments& arguments) {
    return static_cast<int>(ceil_div(arguments.k_blocks, kPieceBlocks)) * kPiecePairs;
  }
  static __device__ __forceinline__ uint8_t* activations(int slot) {
    return arch::shared_memory() + kMap.activations + slot * kStageBytes;
  }
  static __device__ __forceinline__ uint8_t* copied(int slot) {
    return arch::shared_memory() + kMap.copies + slot * kCopyBytes;
  }
  /// Without tensor copies, of one pair of blocks of halves.
  static constexpr int kPairCopies = 3;
  static __device__ __forceinline__ uint8_t* copied_pair(int slot) {
    constexpr int kBytes = Policy::kTileM * 2 * kFp16BlockBytes;
    static_assert(kMap.copies + kPairCopies * kBytes <= kMap.constant, "room for all of them");
    return arch::shared_memory() + kMap.copies + slot * kBytes;
  }
  static __device__ __forceinline__ uint8_t* weights(int slot) {
    return arch::shared_memory() + kMap.weights + slot * kMap.weight_stage;
  }
  static __device__ __forceinline__ uint8_t* full(int slot) {
    return arch::shared_memory() + kMap.barriers + slot * arch::kMbarrierBytes;
  }
  static __device__ __forceinline__ uint8_t* empty(int slot) { return full(kStages + slot); }
  /// Of a piece of weights that a tensor copy fills; otherwise they are there when the activations are.
  static __device__ __forceinline__ uint8_t* weights_full(int slot) { return full(2 * kStages + slot); }

  /// Of a tensor copy of activations that are to be converted.
  static __device__ __forceinline__ uint8_t* copy_full(int slot) { return weights_full(Policy::kStages + slot); }
  static __device__ __forceinline__ uint8_t* copy_empty(int slot) { return copy_full(kCopies + slot); }

  /// Of a piece of weights whose activations are not converted: who converts them knows it of the stages.
  static __device__ __forceinline__ uint8_t* weights_empty(int slot) { return weights_full(Policy::kStages + slot); }

  /// By all threads. A warp may use the barriers that it makes at once, the others once all have met.
  static __device__ __forceinline__ void make_barriers(const gemm_arguments& arguments) {
    if (arch::thread_index() == kActivationWarp * kWarpSize) {
      const int sharers = arguments.tensor_copies ? Policy::kSharers : 1;
      const int producers = !arguments.tensor_copies ? Policy::kProducerWarps
                            : !kConverts             ? kStagePairs
                            : Policy::kSharers > 1   ? 1
                                                     : Policy::kProducerWarps;
#pragma unroll
      for (int slot = 0; slot < kStages; ++slot) {
        arch::mbarrier_init(full(slot), producers);
        arch::mbarrier_init(empty(slot), Policy::kWarps / Policy::kWarpsK * sharers);
      }
      arch::fence_proxy_async();
    }
    if (arch::thread_index() == kWeightWarp * kWarpSize) {
#pragma unroll
      for (int slot = 0; slot < Policy::kStages; ++slot) {
        arch::mbarrier_init(weights_full(slot), kConverts || arguments.weight_tensor_copies ? 1 : kWeightWarps);
        if constexpr (!kConverts) arch::mbarrier_init(weights_empty(slot), Policy::kWarps / Policy::kWarpsK);
      }
      if constexpr (kConverts) {
#pragma unroll
        for (int slot = 0; slot < kCopies; ++slot) {
          arch::mbarrier_init(copy_full(slot), 1);
          arch::mbarrier_init(copy_empty(slot), Policy::kProducerWarps);
        }
      }
      arch::fence_proxy_async();
    }
    arch::sync_warp();
    if (Policy::kBlockBytes == kQuantBlockBytes && arch::thread_index() < 64) {
      arch::store_shared<uint4>(arch::shared_memory() + kMap.constant + arch::thread_index() * 16,
                                uint4{kBiasOperand, kBiasOperand, kBiasOperand, kBiasOperand});
      arch::fence_proxy_async();
    }
  }

  /// By all threads, those of sharers included.
  static __device__ __forceinline__ void meet() {
    if constexpr (Policy::kSharers > 1) {
      arch::sync_cluster();
    } else {
      arch::sync_cta();
    }
  }

  /// A warp's arrival where it has used a stage: in all CTAs that convert a part of it. One branch, since with another
  /// between two products that run the compiler would have none of them run beside anything.
  static __device__ __forceinline__ void arrive_empty(int slot, bool shared) {
    const int lane = arch::lane_index();
    if constexpr (Policy::kSharers > 1) {
      const int rank = shared ? lane : tile_walk<Policy>::rank();
      if (lane < (shared ? Policy::kSharers : 1)) arch::mbarrier_arrive_cluster_after_reads(empty(slot), rank);
    } else {
      if (lane == 0) arch::mbarrier_arrive(empty(slot));
    }
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
