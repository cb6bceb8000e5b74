#pragma once

// A kernel_config at compile time: what the kernels of all families are templates over.

#include <q4fuse/detail/mainloop/dot_dp4a.cuh>
#include <q4fuse/detail/mainloop/dot_f16.cuh>
#include <q4fuse/detail/mainloop/dot_gemv.cuh>
#include <q4fuse/detail/mainloop/dot_mma.cuh>
#include <q4fuse/detail/mainloop/dot_mma_held.cuh>
#include <q4fuse/detail/mainloop/dot_mma_split.cuh>
#include <q4fuse/detail/mainloop/dot_wgmma.cuh>
#include <q4fuse/detail/mainloop/dot_wgmma_s8.cuh>
#include <q4fuse/kernel_traits.hpp>

#include <type_traits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The dot of an instruction for a warp tile.
template <dot_instruction kInstruction, int kRowTiles, int kTokenTiles>
struct select_dot;
template <int kRowTiles, int kTokenTiles>
struct select_dot<dot_instruction::dp4a, kRowTiles, kTokenTiles> {
  using type = dot_dp4a<kRowTiles, kTokenTiles>;
};
template <int kRowTiles, int kTokenTiles>
struct select_dot<dot_instruction::mma_m16n8k32_s8, kRowTiles, kTokenTiles> {
  using type = dot_mma<kRowTiles, kTokenTiles>;
};
template <int kRowTiles, int kTokenTiles>
struct select_dot<dot_instruction::mma_m16n8k16_f16, kRowTiles, kTokenTiles> {
  using type = dot_f16<kRowTiles, kTokenTiles>;
};
template <int kRowTiles, int kTokenTiles>
struct select_dot<dot_instruction::wgmma_m64k16_f16, kRowTiles, kTokenTiles> {
  using type = dot_wgmma<kRowTiles, kTokenTiles>;
};
template <int kRowTiles, int kTokenTiles>
struct select_dot<dot_instruction::wgmma_m64k32_s8, kRowTiles, kTokenTiles> {
  using type = dot_wgmma_s8<kRowTiles, kTokenTiles>;
};

template <int kIndex>
struct policy {
  static constexpr kernel_config kConfig = kKernelConfigs[kIndex];
  static constexpr int kTileN = kConfig.tile_n;
  static constexpr int kTileM = kConfig.tile_m;
  static constexpr int kWarpsN = kConfig.warps_n;
  static constexpr int kWarpsM = kConfig.warps_m;
  static constexpr int kWarpsK = kConfig.warps_k;
  static constexpr int kStages = kConfig.stages;
  static constexpr int kClusterK = kConfig.cluster_k;
  static constexpr bool kSharesK = shares_k(kConfig);
  static constexpr int kClusterN = kConfig.cluster_n;
  static_assert(kClusterN == 1 || kConfig.family == kernel_family::sliced_k ||
                    (kConfig.family == kernel_family::warpgroup && !kSharesK),
                "clusters of one kind");
  static constexpr bool kCopiesRows = copies_rows(kConfig);
  static constexpr int kRequiredArch = required_arch(kConfig);
  static constexpr int kWarps = kConfig.warps();
  static constexpr int kThreads = kConfig.threads();
  static constexpr int kWarpRows = kTileN / kWarpsN;
  static constexpr int kWarpTokens = kTileM / kWarpsM;

  static constexpr bool kFewTokens = is_for_few_tokens(kConfig);
  static constexpr int kPieceBlocks = weight_piece_blocks(kConfig);
  static constexpr int kPieceBytes = kPieceBlocks * kWeightBlockBytes;
  static_assert(kFewTokens || kWarpRows % 16 == 0, "a warp tile is made of 16 x 8 tiles, or is of few tokens");
  static_assert(kConfig.family == kernel_family::weight_bound || kWarpTokens % 8 == 0,
                "only the weight-bound family leaves out the columns of a ragged token tile");

  using tile_dot = typename select_dot<kConfig.instruction, (kWarpRows + 15) / 16, (kWarpTokens + 7) / 8>::type;
  using dot = std::conditional_t<
      kFewTokens, dot_gemv<kWarpRows, kWarpTokens>,
      std::conditional_t<kConfig.family == kernel_family::stream_k, dot_mma_split<(kWarpTokens + 7) / 8>,
                         std::conditional_t<kConfig.family == kernel_family::sliced_k,
                                            dot_mma_held<(kWarpTokens + 7) / 8>, tile_dot>>>;
  static constexpr int kBlockBytes = activation_block_bytes(kConfig.instruction);
  static_assert(dot::kBlockBytes == kBlockBytes, "the plan and the dot agree on the activation tile");
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
