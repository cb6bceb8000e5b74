#pragma once

// Which kernel computes a shape, and why. Host only: everything here runs, and is tested, without a GPU.

#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/formats.hpp>
#include <q4fuse/shape.hpp>

#include <cstdint>
#include <string>

Q4FUSE_NAMESPACE_BEGIN

/// What the GEMM reads.
enum class pipeline {
  separate,  ///< Q8_1 blocks that a quantize kernel wrote to global memory
  fused,     ///< FP16; what has to be quantized is quantized in shared memory
};

enum class kernel_family {
  weight_bound,  ///< small m: the activations of all k stay in shared memory, warps stream weights through private
                 ///< rings
  tile,          ///< larger m: weights and activations pass through shared memory stage by stage
  warpgroup,     ///< the same on sm_90a, where products run asynchronously and unpacking and conversion beside them
};

/// The instruction behind the dots. The integer ones give the same bits.
enum class dot_instruction {
  dp4a,              ///< integers; sm_75 and newer
  mma_m16n8k32_s8,   ///< integers; sm_80 and newer
  mma_m16n8k16_f16,  ///< halves; sm_75, where it is two m16n8k8, and newer
  wgmma_m64k16_f16,  ///< halves; sm_90a alone, 64 rows by all tokens of the tile
};

/// How elements are multiplied and summed. A template parameter of the entry points, so that a program holds, and pays
/// compile time for, only the kernels of the modes that it names.
///
/// y64 is the FP64 sum of the products that the formats define: w * x with w = d4 * (q - 8), and x = d8 * q or, in
/// direct_fp16, the activation itself. docs/formats.md derives the bounds. The FP16 modes ask for |w| <= 65504, which
/// every weight scale up to 8188 keeps, and for Q8_1 blocks with |x| <= 65532, which all blocks made by this library
/// are.
enum class math_mode {
  /// int32 block dots, FP32 sums: |y - y64| <= (k/32 + 2) * 2^-24 * sum |d4 * d8 * dot|.
  exact,
  /// Weights and Q8_1 activations are each rounded once to FP16, their products are exact, and the tensor cores sum
  /// over all of k in FP32: to first order |y - y64| <= (2^-10 + 1.25 * k * 2^-23) * sum |w * x|, and up to 2^-25 times
  /// the other factor for each factor that is subnormal as FP16.
  dequantized_fp16,
  /// The same with the activations as they are, so that nothing is quantized and the weight is the only factor that is
  /// rounded: 2^-11 in place of 2^-10. Has no separate pipeline.
  direct_fp16,
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
  int stages;   ///< pieces of 8 blocks of k in flight (per warp in the weight-bound family, else per CTA)

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
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k16_f16, 32, 8, 2, 1, 8, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k16_f16, 32, 16, 2, 1, 8, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k16_f16, 16, 8, 1, 1, 4, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 256, 128, 8, 1, 1, 3},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 256, 8, 1, 1, 4},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 128, 8, 1, 1, 4},
    {kernel_family::tile, dot_instruction::mma_m16n8k16_f16, 64, 32, 4, 1, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k16_f16, 64, 64, 2, 2, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k16_f16, 128, 128, 4, 2, 1, 3},
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
  bool has_wgmma = false;               ///< the code is for sm_90a, not for plain sm_90
};

namespace detail Q4FUSE_HIDDEN {

/// Whether the operands are halves, not integers.
constexpr bool multiplies_halves(dot_instruction instruction) {
  return instruction == dot_instruction::mma_m16n8k16_f16 || instruction == dot_instruction::wgmma_m64k16_f16;
}

constexpr int activation_block_bytes(dot_instruction instruction) {
  return multiplies_halves(instruction) ? kFp16BlockBytes : kQ8_1BlockBytes;
}

/// Pieces of activations that the tile family holds. Q8_1 rows are copied asynchronously, as far ahead as the weights;
/// FP16 rows are stored by the warps one piece ahead, and are too large for more.
constexpr int activation_stages(const kernel_config& config) {
  return multiplies_halves(config.instruction) ? 2 : config.stages;
}

}  // namespace detail

/// Bytes of shared memory that a kernel needs for a shape.
Q4FUSE_HIDDEN constexpr int64_t shared_memory_bytes(const kernel_config& config, const gemm_shape& shape) {
  const int block_bytes = detail::activation_block_bytes(config.instruction);
  if (config.family == kernel_family::tile) {
    return detail::make_tile_layout(config.tile_n, config.tile_m, config.stages, detail::activation_stages(config),
                                    block_bytes)
        .total;
  }
  if (config.family == kernel_family::warpgroup) {
    return detail::make_warpgroup_layout(config.tile_n, config.tile_m, config.stages).total;
  }
  const int64_t tokens = shape.m < config.tile_m ? shape.m : config.tile_m;
  return detail::make_weight_bound_layout(config.warps(), config.tile_n / config.warps_n, config.stages, tokens,
                                          shape.k / kBlockSize, block_bytes)
      .total;
}

Q4FUSE_HIDDEN constexpr int required_arch(dot_instruction instruction) {
  return instruction == dot_instruction::wgmma_m64k16_f16  ? 90
         : instruction == dot_instruction::mma_m16n8k32_s8 ? 80
                                                           : 75;
}

/// Whether the code that a program holds for a device can contain an instruction.
Q4FUSE_HIDDEN constexpr bool has_instruction(const device_info& device, dot_instruction instruction) {
  return device.code_arch >= required_arch(instruction) &&
         (device.has_wgmma || instruction != dot_instruction::wgmma_m64k16_f16);
}

/// Whether the kernels of an instruction compute in a math mode.
Q4FUSE_HIDDEN constexpr bool serves(dot_instruction instruction, math_mode math) {
  return detail::multiplies_halves(instruction) == (math != math_mode::exact);
}

/// Whether a kernel can run a shape on a device.
Q4FUSE_HIDDEN constexpr bool can_run(const kernel_config& config, const gemm_shape& shape, const device_info& device) {
  return has_instruction(device, config.instruction) &&
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
  switch (value) {
    case kernel_family::weight_bound: return "weight_bound";
    case kernel_family::tile: return "tile";
    case kernel_family::warpgroup: return "warpgroup";
  }
  return "unknown family";
}
Q4FUSE_HIDDEN constexpr const char* to_string(dot_instruction value) {
  switch (value) {
    case dot_instruction::dp4a: return "dp4a";
    case dot_instruction::mma_m16n8k32_s8: return "mma_m16n8k32_s8";
    case dot_instruction::mma_m16n8k16_f16: return "mma_m16n8k16_f16";
    case dot_instruction::wgmma_m64k16_f16: return "wgmma_m64k16_f16";
  }
  return "unknown instruction";
}
Q4FUSE_HIDDEN constexpr const char* to_string(math_mode value) {
  switch (value) {
    case math_mode::exact: return "exact";
    case math_mode::dequantized_fp16: return "dequantized_fp16";
    case math_mode::direct_fp16: return "direct_fp16";
  }
  return "unknown math mode";
}

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

/// What a token of a tile costs a warp before it can be multiplied, in the units of tile_cost. Measured for exact; the
/// others are in proportion of their operations an element.
constexpr double activation_cost(pipeline source, math_mode math) {
  switch (math) {
    case math_mode::exact: return source == pipeline::fused ? 1100.0 : 0.0;
    case math_mode::dequantized_fp16: return source == pipeline::fused ? 1400.0 : 300.0;
    case math_mode::direct_fp16: return 150.0;
  }
  return 0.0;
}

/// Time of a tile kernel, in units that only compare: rounds of CTAs over the device times the cost of a tile. The
/// constants are a fit to measured rounds (docs/performance.md): a part by area, a fixed part, and the way of the
/// activations into the tile, which every warp of the CTA shares. Those of the warpgroup family are estimates: twice
/// the rate of mma.sync, and activations on their way beside the products.
constexpr double tile_cost(const kernel_config& config, const gemm_shape& shape, const device_info& device,
                           pipeline source, math_mode math) {
  const int64_t tiles = ceil_div(shape.n, config.tile_n) * ceil_div(shape.m, config.tile_m);
  const int64_t rounds = ceil_div(tiles, device.sm_count > 0 ? device.sm_count : 1);
  const double dots = static_cast<double>(config.tile_n) * config.tile_m;
  const double activations = activation_cost(source, math) * config.tile_m / config.warps();
  if (config.family == kernel_family::warpgroup) {
    return static_cast<double>(rounds) * (0.5 * dots + 1850.0 + 0.1 * activations);
  }
  return static_cast<double>(rounds) *
         ((config.instruction == dot_instruction::dp4a ? 4.0 : 1.0) * dots + 1850.0 + activations);
}

/// Pieces of k from which two groups of eight warps beat one: each warp then has enough pieces between two barriers.
inline constexpr int64_t kLongRowPieces = 32;

/// Whether weight-bound kernel `a` suits a shape better than `b`, both holding all tokens: the tile with fewer idle
/// tokens, then the tensor cores, then the more warps along k, then the number of groups that fits the length of a row.
constexpr bool prefer_weight_bound(const kernel_config& a, const kernel_config& b, const gemm_shape& shape) {
  if (a.tile_m != b.tile_m) return a.tile_m < b.tile_m;
  if (a.instruction != b.instruction) return a.instruction == dot_instruction::mma_m16n8k32_s8;
  if (a.warps_k != b.warps_k) return a.warps_k > b.warps_k;
  const bool long_rows = ceil_div(shape.k / kBlockSize, kPieceBlocks) >= kLongRowPieces;
  return long_rows ? a.warps_n > b.warps_n : a.warps_n < b.warps_n;
}

/// Elements of X up to which quantizing all of them in every CTA costs less than a launch of its own.
inline constexpr int64_t kFusedActivations = 40960;

}  // namespace detail

/// Chooses the kernel for a shape on a device when the pipeline is given: candidates, legality, cost, choice. Where no
/// kernel is legal the result is the last of the math mode, and the launch reports no_kernel_for_device. direct_fp16
/// has nothing to separate: its plans are fused whatever is given.
Q4FUSE_HIDDEN inline gemm_plan plan(const gemm_shape& shape, const device_info& device, pipeline source,
                                    math_mode math = math_mode::exact) {
  if (math == math_mode::direct_fp16) source = pipeline::fused;
  gemm_plan best;
  best.math = math;
  best.source = source;
  best.reason = "no kernel is legal on this device";
  for (const kernel_config& config : kKernelConfigs) {
    if (serves(config.instruction, math)) best.config = config;
  }
  // Weight-bound kernels read every weight once, provided that one tile holds all tokens. For more than 16 tokens that
  // pays only where the tile family would quantize the same activations again in every CTA.
  bool found = false;
  for (const kernel_config& config : kKernelConfigs) {
    if (config.family != kernel_family::weight_bound || !serves(config.instruction, math)) continue;
    if (!can_run(config, shape, device)) continue;
    if (shape.m > config.tile_m || (shape.m > 16 && source == pipeline::separate)) continue;
    if (found && !detail::prefer_weight_bound(config, best.config, shape)) continue;
    best.config = config;
    best.reason = "one tile holds all tokens, so that weights are read once";
    found = true;
  }
  if (found) return best;
  double best_cost = 0.0;
  for (const kernel_config& config : kKernelConfigs) {
    if (config.family == kernel_family::weight_bound || !serves(config.instruction, math)) continue;
    if (!can_run(config, shape, device)) continue;
    const double cost = detail::tile_cost(config, shape, device, source, math);
    if (found && cost >= best_cost) continue;
    best.config = config;
    best.reason = "least estimated time over rounds of tiles";
    best_cost = cost;
    found = true;
  }
  return best;
}

/// Chooses the pipeline too: fused while the activations are few, because then a second launch costs more than
/// quantizing in every CTA; separate beyond, where there is something to quantize.
Q4FUSE_HIDDEN inline gemm_plan plan(const gemm_shape& shape, const device_info& device,
                                    math_mode math = math_mode::exact) {
  const gemm_plan fused = plan(shape, device, pipeline::fused, math);
  if (fused.config.family == kernel_family::weight_bound && shape.m * shape.k <= detail::kFusedActivations)
    return fused;
  return plan(shape, device, pipeline::separate, math);
}

Q4FUSE_NAMESPACE_END
