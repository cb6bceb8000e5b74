#pragma once

// What follows from a kernel's configuration: what it needs, what it serves, and what runs in its place. Host only.

#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/formats.hpp>
#include <q4fuse/kernel_config.hpp>
#include <q4fuse/shape.hpp>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN

/// What the choice depends on. `query_device` in gemm.cuh fills it for the current device.
struct device_info {
  int sm_count = 0;
  /// Architecture of the code that this program holds for the device, as in sm_NN: 75, 80, 90. Older than the device
  /// itself where the driver compiles PTX of an older target.
  int code_arch = 0;
  int64_t shared_memory_per_block = 0;  ///< opt-in limit in bytes
  bool has_wgmma = false;               ///< the code is for sm_90a, not for plain sm_90
};

namespace detail Q4FUSE_HIDDEN {

constexpr bool is_power_of_two(int value) { return (value & (value - 1)) == 0; }

/// Whether the operands are halves, not integers.
constexpr bool multiplies_halves(dot_instruction instruction) {
  return instruction == dot_instruction::mma_m16n8k16_f16 || instruction == dot_instruction::wgmma_m64k16_f16;
}

constexpr bool is_wgmma(dot_instruction instruction) {
  return instruction == dot_instruction::wgmma_m64k16_f16 || instruction == dot_instruction::wgmma_m64k32_s8;
}

/// Whether CTAs of a cluster, or groups of warps of the warpgroup family, each have a part of the k of a tile.
constexpr bool shares_k(const kernel_config& config) {
  return config.cluster_k > 1 || (config.family == kernel_family::warpgroup && config.warps_k > 1);
}

/// Whether warps work in rounds of row tiles, which end with an exchange of partial sums.
constexpr bool works_in_rounds(const kernel_config& config) {
  return config.family == kernel_family::stream_k || config.family == kernel_family::sliced_k;
}

/// What other kernels do better where there are clusters and wgmma: dp4a for many tokens, tiles of halves on mma.sync,
/// and of integers small ones and square ones.
__host__ __device__ constexpr bool is_replaced_on_sm90a(const kernel_config& config) {
  if (config.instruction == dot_instruction::dp4a) return config.tile_m > 4;
  if (config.family != kernel_family::tile) return false;
  return config.instruction == dot_instruction::mma_m16n8k16_f16 || config.tile_n == 64 || config.tile_m == 128;
}

/// Whether a CTA of the sliced-K family copies whole rows of weights for all warps, not each warp its pieces.
__host__ __device__ constexpr bool copies_rows(const kernel_config& config) {
  return config.family == kernel_family::sliced_k && config.cluster_n > 1;
}

/// The kernel that is launched for a configuration. One that copies whole rows needs all of them aligned to 16 bytes,
/// as they are where W is and rows consist of whole pieces, and a tile of them at least. Elsewhere the kernel of the
/// family stands in whose warps copy pieces, and gives the same bits.
constexpr kernel_config launched_for(const kernel_config& config, const gemm_shape& shape, bool w_is_aligned) {
  if (!copies_rows(config)) return config;
  if (w_is_aligned && shape.k % (kPieceBlocks * kBlockSize) == 0 && shape.n >= config.tile_n) return config;
  for (const kernel_config& other : kKernelConfigs) {
    if (other.family == config.family && other.tile_m == config.tile_m && !copies_rows(other)) return other;
  }
  return config;
}

/// CTAs of a weight-bound kernel that share a multiprocessor, if there is shared memory for them: small ones are enough
/// for sixteen warps, while those of larger ones wait less alone. dp4a for many tokens needs more registers.
__host__ __device__ constexpr int weight_bound_ctas(const kernel_config& config) {
  return config.warps() <= 4 && config.instruction != dot_instruction::dp4a ? 16 / config.warps() : 1;
}

/// CTAs of a tile kernel that share a multiprocessor: where k is split there are enough for sixteen warps, whose waits
/// hide behind each other.
__host__ __device__ constexpr int tile_ctas(const kernel_config& config) {
  return config.cluster_k > 1 && config.threads() < 512 ? 512 / config.threads() : 1;
}

/// The same of a warpgroup kernel: tiles of few tokens have registers and shared memory to spare.
__host__ __device__ constexpr int warpgroup_ctas(const kernel_config& config) {
  return config.tile_m <= 64 && config.warps_k == 1 ? 2 : 1;
}

/// Bytes that a block takes in the activation tile.
constexpr int activation_block_bytes(dot_instruction instruction) {
  return multiplies_halves(instruction)                    ? kFp16BlockBytes
         : instruction == dot_instruction::wgmma_m64k32_s8 ? kQuantBlockBytes
                                                           : kQ8_1BlockBytes;
}

/// Whether a warp's lanes take whole pairs of blocks, of rows that need not be 16.
constexpr bool is_for_few_tokens(const kernel_config& config) {
  return config.family == kernel_family::weight_bound && config.instruction == dot_instruction::dp4a;
}

/// Blocks of a row that a warp has in a stage of its ring. Where rows need not be 16 they are fewer and longer: the
/// memory and the L2 move 576 bytes in a row with less to spare at either end than 144.
constexpr int weight_piece_blocks(const kernel_config& config) {
  return is_for_few_tokens(config) ? 16 * kPieceBlocks * config.warps_n / config.tile_n : kPieceBlocks;
}

/// Pieces of activations that the tile family holds. Q8_1 rows are copied asynchronously, as far ahead as the weights;
/// FP16 rows are stored by the warps one piece ahead, and are too large for more.
constexpr int activation_stages(const kernel_config& config) {
  return multiplies_halves(config.instruction) ? 2 : config.stages;
}

}  // namespace detail

/// Bytes of shared memory that a kernel needs for a shape. Stream-K and sliced-K kernels take more where there is more.
Q4FUSE_HIDDEN constexpr int64_t shared_memory_bytes(const kernel_config& config, const gemm_shape& shape) {
  const int block_bytes = detail::activation_block_bytes(config.instruction);
  if (config.family == kernel_family::tile) {
    return detail::make_tile_layout(config.tile_n, config.tile_m, config.stages, detail::activation_stages(config),
                                    block_bytes, config.cluster_k > 1)
        .total;
  }
  if (config.family == kernel_family::stream_k) {
    return detail::make_stream_k_layout(config.warps(), config.stages, config.tile_m, shape.k / kBlockSize,
                                        config.cluster_k, 1)
        .total;
  }
  if (config.family == kernel_family::sliced_k) {
    return detail::make_sliced_k_layout(config.warps(), config.stages, config.tile_m, config.cluster_n, config.warps())
        .total;
  }
  if (config.family == kernel_family::warpgroup) {
    return detail::make_warpgroup_layout(config.tile_n, config.tile_m, config.stages, block_bytes, config.warps_k,
                                         config.cluster_k, config.cluster_n)
        .total;
  }
  const int64_t tokens = shape.m < config.tile_m ? shape.m : config.tile_m;
  return detail::make_weight_bound_layout(config.warps_n, config.warps_k, config.tile_n / config.warps_n,
                                          detail::weight_piece_blocks(config), config.stages, tokens,
                                          shape.k / kBlockSize, config.cluster_k, block_bytes)
      .total;
}

Q4FUSE_HIDDEN constexpr int required_arch(dot_instruction instruction) {
  return detail::is_wgmma(instruction) ? 90 : instruction == dot_instruction::mma_m16n8k32_s8 ? 80 : 75;
}

/// Of a kernel: clusters too need sm_90.
Q4FUSE_HIDDEN constexpr int required_arch(const kernel_config& config) {
  return config.cluster_k > 1 || config.cluster_n > 1 ? 90 : required_arch(config.instruction);
}

/// Whether the code that a program holds for a device can contain an instruction.
Q4FUSE_HIDDEN constexpr bool has_instruction(const device_info& device, dot_instruction instruction) {
  return device.code_arch >= required_arch(instruction) && (device.has_wgmma || !detail::is_wgmma(instruction));
}

/// And a kernel: those that others replace on sm_90a are not compiled there.
Q4FUSE_HIDDEN constexpr bool has_instruction(const device_info& device, const kernel_config& config) {
  return device.code_arch >= required_arch(config) && has_instruction(device, config.instruction) &&
         !(device.has_wgmma && detail::is_replaced_on_sm90a(config));
}

/// Whether the kernels of an instruction compute in a math mode.
Q4FUSE_HIDDEN constexpr bool serves(dot_instruction instruction, math_mode math) {
  return detail::multiplies_halves(instruction) == (math != math_mode::exact);
}

/// And a kernel. Warpgroups that take pieces in turn pay where nothing has to be converted, and replace others of few
/// tokens there. Clusters of three, and tiles whose sides are no powers of two, are for that mode alone, too, for the
/// sake of the code's size. Weight-bound clusters pay there for eight tokens only.
Q4FUSE_HIDDEN constexpr bool serves(const kernel_config& config, math_mode math) {
  if (!serves(config.instruction, math)) return false;
  const bool direct = math == math_mode::direct_fp16;
  if (config.family == kernel_family::weight_bound) return !direct || config.cluster_k == 1 || config.tile_m <= 8;
  if (config.family != kernel_family::warpgroup) return true;
  const bool for_direct = config.warps_k > 1 || config.cluster_k == 3 || !detail::is_power_of_two(config.tile_n) ||
                          !detail::is_power_of_two(config.tile_m);
  return for_direct ? direct : !direct || config.tile_m > 64;
}

/// Whether a kernel can run a shape on a device.
Q4FUSE_HIDDEN constexpr bool can_run(const kernel_config& config, const gemm_shape& shape, const device_info& device) {
  // A warp holds one piece of the activations.
  if (config.family == kernel_family::sliced_k &&
      detail::ceil_div(shape.k, detail::kPieceBlocks * kBlockSize) > config.warps()) {
    return false;
  }
  return has_instruction(device, config) && shared_memory_bytes(config, shape) <= device.shared_memory_per_block;
}

Q4FUSE_NAMESPACE_END
