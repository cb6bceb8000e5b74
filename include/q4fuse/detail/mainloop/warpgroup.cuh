#pragma once

// Many tokens, on wgmma. All threads do everything: they fetch raw weights into a ring of pieces, convert activations
// into swizzled stages of two blocks of k, make the weights' fragments from nibbles, and start products, which run
// meanwhile. One group of products, one block of k, is always in flight, across the CTA's barrier too, so that the
// tensor cores wait for nothing but their operands. Specialized warps would need the registers that the accumulators
// take.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/epilogue/store.cuh>
#include <q4fuse/detail/mainloop/dot_wgmma_blocks.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/copy.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/swizzled_activations.cuh>

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The two rings of one output tile. Pairs of blocks are counted over all of k.
template <class Policy>
class warpgroup_stages {
 public:
  __device__ warpgroup_stages(const gemm_arguments& arguments, uint8_t* shared, int64_t first_row)
      : arguments_(arguments), shared_(shared), first_row_(first_row) {
    const int64_t rows = arguments.n - first_row;
    rows_ = rows < Policy::kTileN ? static_cast<int>(rows) : Policy::kTileN;
  }

  __device__ __forceinline__ int pairs() const { return static_cast<int>(ceil_div(arguments_.k_blocks, 2)); }

  /// Steps in which the tile's pieces are fetched, a quarter of its rows each, and those that are under way when the
  /// multiplication starts. The fence of every pair also waits for copies: a whole piece at once would hold it up.
  static constexpr int kPieceSteps = kPieceBlocks / 2;  ///< one a pair of blocks
  static constexpr int kFirstSteps = (Policy::kStages - 1) * kPieceSteps;

  /// Commits a group of copies even when no piece is left, so that the count of groups in flight stays the same.
  __device__ __forceinline__ void fetch_weights(int step) const {
    constexpr int kRows = Policy::kTileN / kPieceSteps;
    const int piece = step / kPieceSteps;
    const int row = step % kPieceSteps * kRows;
    const int blocks = arguments_.k_blocks - piece * kPieceBlocks;
    if (blocks > 0) {
      copy_piece<kRows, kWeightPieceBytes, Policy::kThreads, true>(
          shared_ + kMap.weights + piece % Policy::kStages * kMap.weight_stage + row * kWeightPieceBytes,
          kWeightPieceBytes, arguments_.w, first_row_ + row, int64_t{piece} * kWeightPieceBytes, rows_ - row,
          (blocks < kPieceBlocks ? blocks : kPieceBlocks) * kWeightBlockBytes, arch::thread_index());
    }
    commit_copies();
  }
  __device__ __forceinline__ const uint8_t* weights(int pair) const {
    return shared_ + kMap.weights + pair / kPieceSteps % Policy::kStages * kMap.weight_stage +
           pair % kPieceSteps * kPairBytes;
  }
  __device__ __forceinline__ uint8_t* activations(int pair) const {
    return shared_ + kMap.activations + pair % kWarpgroupActivationStages * kMap.activation_stage;
  }

 private:
  static constexpr tile_layout kMap = make_warpgroup_layout(Policy::kTileN, Policy::kTileM, Policy::kStages);
  static_assert(kMap.activations % arch::kSwizzledTileAlignment == 0 &&
                    kMap.activation_stage % arch::kSwizzledTileAlignment == 0,
                "wgmma finds rows by their address");

  const gemm_arguments& arguments_;
  uint8_t* shared_;
  int64_t first_row_;
  int rows_;
};

/// Integers are scaled block by block, halves are already.
template <class Policy, class Portion>
using warpgroup_dot =
    std::conditional_t<Portion::kIntegers, dot_wgmma_blocks<Policy::kWarpRows / 16, Policy::kTileM / 8>,
                       typename Policy::dot>;

template <class Policy, template <int, int> class Activations>
__device__ __forceinline__ void warpgroup_mainloop(const gemm_arguments& arguments, int64_t first_row,
                                                   int64_t first_token) {
  static_assert(Policy::kWarpsM == 1 && Policy::kWarpsK == 1, "every warp works for all tokens and all of k");
  using portion = typename Activations<Policy::kThreads, 1>::portion;
  using dot_type = warpgroup_dot<Policy, portion>;
  using provider = swizzled_activations<portion, Policy::kThreads, Policy::kTileM, dot_type::kMaxBatches>;
  const warpgroup_stages<Policy> ring(arguments, arch::shared_memory(), first_row);
  const int warp_row = arch::warp_index() * Policy::kWarpRows;
  const int pairs = ring.pairs();
  const auto weights = [&](int pair) { return ring.weights(pair) + warp_row * kWeightPieceBytes; };

  // Fill the rings: weights first, since with dependent launch they alone may be touched before the wait.
#pragma unroll 1
  for (int step = 0; step < ring.kFirstSteps; ++step) ring.fetch_weights(step);
  if (arguments.dependent) arch::wait_for_dependencies();
  provider activations(arguments.x, first_token, arguments.m, arguments.k_blocks);
  // Moves a batch of a pair from registers into its stage, and takes the batch behind it.
  const auto convert = [&](auto batch, int pair) {
    activations.template store<batch.value>(ring.activations(pair));
    // Before the loads, because it waits for memory accesses ahead of it.
    if constexpr (batch.value == provider::kBatches - 1) arch::fence_proxy_async();
    activations.template load<(batch.value + 1) % provider::kBatches>();
  };
  activations.template load<0>();
  convert(std::integral_constant<int, 0>{}, 0);
  if constexpr (provider::kBatches == 2) convert(std::integral_constant<int, 1>{}, 0);
  wait_for_copies<ring.kFirstSteps - ring.kPieceSteps>();
  arch::sync_cta();

  // Multiply. A stage may be filled again a barrier after the products that read it have been waited for: that of the
  // pair before the last, for the pair after the next.
  dot_type dot;
  dot.clear();
  dot.begin(weights(0));
#pragma unroll 1
  for (int pair = 0; pair < pairs; ++pair) {
    const bool last = pair + 1 == pairs;
    const auto beside = [&](auto batch) {
      if (!last) convert(batch, pair + 1);
      if constexpr (batch.value == 0) ring.fetch_weights(pair + ring.kFirstSteps);
    };
    dot.template multiply_pair<provider::kBatches>(weights(pair), last ? nullptr : weights(pair + 1),
                                                   ring.activations(pair), beside);
    // The next piece is first read in the last pair of this one, after one more barrier.
    if (pair % ring.kPieceSteps == ring.kPieceSteps - 2) wait_for_copies<ring.kFirstSteps - ring.kPieceSteps - 1>();
    arch::sync_cta();
  }
  dot.finish();
  store_sums(dot, arguments, first_row + warp_row, first_token);
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
