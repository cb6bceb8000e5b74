#pragma once

// Which kernel computes a shape, and why. Host only: everything here runs, and is tested, without a GPU.

#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/formats.hpp>
#include <q4fuse/shape.hpp>

#include <cstdint>
#include <string>

Q4FUSE_NAMESPACE_BEGIN

/// Where the Q8_1 activation comes from.
enum class pipeline {
  separate,  ///< a quantize kernel wrote Q8_1 blocks to global memory
  fused,     ///< the GEMM quantizes FP16 in its shared memory
};

enum class kernel_family {
  weight_bound,  ///< small m: the activations of all k stay in shared memory, warps stream weights through private
                 ///< rings
  tile,          ///< larger m: weights and activations pass through shared memory stage by stage
};

/// The instruction behind the integer block dot. Both give the same bits.
enum class dot_instruction {
  dp4a,             ///< sm_75 and newer
  mma_m16n8k32_s8,  ///< sm_80 and newer
};

enum class math_mode {
  exact,  ///< int32 block dots, FP32 sums: |y - y64| <= (k/32 + 2) * 2^-24 * sum |d4 * d8 * dot|
};

/// Everything that a kernel is compiled for: a stateless, comparable, printable description.
struct kernel_config {
  kernel_family family;
  dot_instruction instruction;
  int tile_n;   ///< rows of W per CTA tile
  int tile_m;   ///< tokens per CTA tile
  int warps_n;  ///< warps along n
  int warps_m;  ///< warps along m
  int warps_k;  ///< warps along k, their sums added in a fixed order
  int stages;   ///< pieces of 8 blocks of k in flight (per warp in the weight-bound family, per CTA in the tile family)

  constexpr int warps() const { return warps_n * warps_m * warps_k; }
  constexpr int threads() const { return warps() * detail::kWarpSize; }

  friend constexpr bool operator==(const kernel_config& a, const kernel_config& b) {
    return a.family == b.family && a.instruction == b.instruction && a.tile_n == b.tile_n && a.tile_m == b.tile_m &&
           a.warps_n == b.warps_n && a.warps_m == b.warps_m && a.warps_k == b.warps_k && a.stages == b.stages;
  }
  friend constexpr bool operator!=(const kernel_config& a, const kernel_config& b) { return !(a == b); }
};

/// Every GEMM kernel of the library. A plan names one of these; nothing else is compiled.
Q4FUSE_HIDDEN inline constexpr kernel_config kKernelConfigs[] = {
    {kernel_family::weight_bound, dot_instruction::dp4a, 16, 1, 1, 1, 8, 4},
    {kernel_family::weight_bound, dot_instruction::dp4a, 32, 1, 2, 1, 8, 3},
    {kernel_family::weight_bound, dot_instruction::dp4a, 16, 2, 1, 1, 8, 4},
    {kernel_family::weight_bound, dot_instruction::dp4a, 32, 2, 2, 1, 8, 3},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k32_s8, 32, 8, 2, 1, 8, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k32_s8, 32, 16, 2, 1, 8, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k32_s8, 16, 32, 1, 1, 8, 2},
    {kernel_family::weight_bound, dot_instruction::dp4a, 16, 8, 1, 1, 4, 2},
    {kernel_family::tile, dot_instruction::mma_m16n8k32_s8, 64, 32, 4, 1, 1, 4},
    {kernel_family::tile, dot_instruction::mma_m16n8k32_s8, 64, 64, 2, 2, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k32_s8, 128, 128, 2, 4, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k32_s8, 256, 64, 8, 2, 1, 3},
    {kernel_family::tile, dot_instruction::dp4a, 64, 32, 4, 1, 1, 2},
};
inline constexpr int kKernelConfigCount = static_cast<int>(sizeof(kKernelConfigs) / sizeof(kKernelConfigs[0]));

/// What the choice depends on. `query_device` in gemm.cuh fills it for the current device.
struct device_info {
  int sm_count = 0;
  /// Architecture of the code that this program holds for the device, as in sm_NN: 75, 80, 90. Older than the device
  /// itself where the driver compiles PTX of an older target.
  int code_arch = 0;
  int64_t shared_memory_per_block = 0;  ///< opt-in limit in bytes
};

/// Bytes of shared memory that a kernel needs for a shape.
Q4FUSE_HIDDEN constexpr int64_t shared_memory_bytes(const kernel_config& config, const gemm_shape& shape) {
  if (config.family == kernel_family::tile) {
    return detail::make_tile_layout(config.tile_n, config.tile_m, config.stages).total;
  }
  const int64_t tokens = shape.m < config.tile_m ? shape.m : config.tile_m;
  return detail::make_weight_bound_layout(config.warps(), config.tile_n / config.warps_n, config.stages, tokens,
                                          shape.k / kBlockSize)
      .total;
}

Q4FUSE_HIDDEN constexpr int required_arch(dot_instruction instruction) {
  return instruction == dot_instruction::mma_m16n8k32_s8 ? 80 : 75;
}

/// Whether a kernel can run a shape on a device.
Q4FUSE_HIDDEN constexpr bool can_run(const kernel_config& config, const gemm_shape& shape, const device_info& device) {
  return device.code_arch >= required_arch(config.instruction) &&
         shared_memory_bytes(config, shape) <= device.shared_memory_per_block;
}

/// The choice: comparable with a forced one, printable with to_string.
struct gemm_plan {
  kernel_config config = kKernelConfigs[0];
  math_mode math = math_mode::exact;
  pipeline source = pipeline::fused;  ///< which pipeline gemm_q4_0_fp16 runs; the other entry points ignore it
  const char* reason = "";            ///< why this kernel, in words
};

Q4FUSE_HIDDEN constexpr const char* to_string(pipeline value) {
  return value == pipeline::fused ? "fused" : "separate";
}
Q4FUSE_HIDDEN constexpr const char* to_string(kernel_family value) {
  return value == kernel_family::tile ? "tile" : "weight_bound";
}
Q4FUSE_HIDDEN constexpr const char* to_string(dot_instruction value) {
  return value == dot_instruction::dp4a ? "dp4a" : "mma_m16n8k32_s8";
}
Q4FUSE_HIDDEN constexpr const char* to_string(math_mode) { return "exact"; }

/// e.g. "weight_bound/mma_m16n8k32_s8/n16m8/warps1x1x8/stages4"
Q4FUSE_HIDDEN inline std::string to_string(const kernel_config& c) {
  return std::string(to_string(c.family)) + "/" + to_string(c.instruction) + "/n" + std::to_string(c.tile_n) + "m" +
         std::to_string(c.tile_m) + "/warps" + std::to_string(c.warps_n) + "x" + std::to_string(c.warps_m) + "x" +
         std::to_string(c.warps_k) + "/stages" + std::to_string(c.stages);
}

/// Kernel, math, pipeline and reason in one line.
Q4FUSE_HIDDEN inline std::string to_string(const gemm_plan& p) {
  return to_string(p.config) + ", " + to_string(p.math) + ", " + to_string(p.source) + ": " + p.reason;
}

namespace detail Q4FUSE_HIDDEN {

/// Time of a tile kernel, in units that only compare: rounds of CTAs over the device times the cost of a tile. The
/// constants are a fit to measured rounds (docs/performance.md): a part by area, a fixed part, and for the fused
/// pipeline the quantizer, which every warp of the CTA shares.
constexpr double tile_cost(const kernel_config& config, const gemm_shape& shape, const device_info& device,
                           pipeline source) {
  const int64_t tiles = ceil_div(shape.n, config.tile_n) * ceil_div(shape.m, config.tile_m);
  const int64_t rounds = ceil_div(tiles, device.sm_count > 0 ? device.sm_count : 1);
  const double dots = static_cast<double>(config.tile_n) * config.tile_m;
  const double quantizer = source == pipeline::fused ? 1100.0 * config.tile_m / config.warps() : 0.0;
  return static_cast<double>(rounds) *
         ((config.instruction == dot_instruction::dp4a ? 4.0 : 1.0) * dots + 1850.0 + quantizer);
}

/// Pieces of k from which two groups of eight warps beat one: each warp then has enough pieces between two barriers.
inline constexpr int64_t kLongRowPieces = 32;

/// Whether weight-bound kernel `a` suits a shape better than `b`, both holding all tokens: the tile with fewer idle
/// tokens, then the tensor cores, then the number of groups that fits the length of a row.
constexpr bool prefer_weight_bound(const kernel_config& a, const kernel_config& b, const gemm_shape& shape) {
  if (a.tile_m != b.tile_m) return a.tile_m < b.tile_m;
  if (a.instruction != b.instruction) return a.instruction == dot_instruction::mma_m16n8k32_s8;
  const bool long_rows = ceil_div(shape.k / kBlockSize, kPieceBlocks) >= kLongRowPieces;
  return long_rows ? a.warps_n > b.warps_n : a.warps_n < b.warps_n;
}

/// Elements of X up to which quantizing all of them in every CTA costs less than a launch of its own.
inline constexpr int64_t kFusedActivations = 40960;

}  // namespace detail

/// Chooses the kernel for a shape on a device when the pipeline is given: candidates, legality, cost, choice. Where no
/// kernel is legal the result is the last of the table, and the launch reports no_kernel_for_device.
Q4FUSE_HIDDEN inline gemm_plan plan(const gemm_shape& shape, const device_info& device, pipeline source) {
  gemm_plan best{kKernelConfigs[kKernelConfigCount - 1], math_mode::exact, source, "no kernel is legal on this device"};
  // Weight-bound kernels read every weight once, provided that one tile holds all tokens. For more than 16 tokens that
  // pays only where the tile family would quantize the same activations again in every CTA.
  bool found = false;
  for (const kernel_config& config : kKernelConfigs) {
    if (config.family != kernel_family::weight_bound || !can_run(config, shape, device)) continue;
    if (shape.m > config.tile_m || (shape.m > 16 && source == pipeline::separate)) continue;
    if (found && !detail::prefer_weight_bound(config, best.config, shape)) continue;
    best.config = config;
    best.reason = "one tile holds all tokens, so that weights are read once";
    found = true;
  }
  if (found) return best;
  double best_cost = 0.0;
  for (const kernel_config& config : kKernelConfigs) {
    if (config.family != kernel_family::tile || !can_run(config, shape, device)) continue;
    const double cost = detail::tile_cost(config, shape, device, source);
    if (found && cost >= best_cost) continue;
    best.config = config;
    best.reason = "least estimated time over rounds of tiles";
    best_cost = cost;
    found = true;
  }
  return best;
}

/// Chooses the pipeline too: fused while the activations are few, because then a second launch costs more than
/// quantizing in every CTA; separate beyond.
Q4FUSE_HIDDEN inline gemm_plan plan(const gemm_shape& shape, const device_info& device) {
  const gemm_plan fused = plan(shape, device, pipeline::fused);
  if (fused.config.family == kernel_family::weight_bound && shape.m * shape.k <= detail::kFusedActivations)
    return fused;
  return plan(shape, device, pipeline::separate);
}

Q4FUSE_NAMESPACE_END
