#pragma once

// The kernels of the library as data: what each is compiled for. Host only.

#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/formats.hpp>

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
  stream_k,      ///< up to tens of tokens: the same for a slice of k; every warp takes an equal span of the weights
  sliced_k,      ///< some tokens, k up to 4096: the activations of a warp's piece of k stay in its registers
  tile,          ///< larger m: weights and activations pass through shared memory stage by stage
  warpgroup,     ///< the same on sm_90a, where products run asynchronously and unpacking and conversion beside them
};

/// The instruction behind the dots. The integer ones give the same bits.
enum class dot_instruction {
  dp4a,              ///< integers; sm_75 and newer
  mma_m16n8k32_s8,   ///< integers; sm_80 and newer
  mma_m16n8k16_f16,  ///< halves; sm_75, where it is two m16n8k8, and newer
  wgmma_m64k16_f16,  ///< halves; sm_90a alone, 64 rows by all tokens of the tile
  wgmma_m64k32_s8,   ///< integers; sm_90a alone
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
  /// Warps along k, their sums added in a fixed order; in the stream-K family along rows, too, and in the sliced-K
  /// family where k has fewer pieces. In the warpgroup family they take turns, piece by piece.
  int warps_k;
  /// Pieces of 8 blocks of k (or more, weight_piece_blocks) in flight: per warp in the weight-bound, stream-K and
  /// sliced-K families, else per CTA. Where CTAs of the sliced-K family share activations, row tiles of a CTA.
  int stages;
  /// CTAs that split k, a thread-block cluster (sm_90 and newer), their sums added in a fixed order.
  int cluster_k = 1;
  /// CTAs along n, a cluster, that each convert a part of the activations for all of them. Launched without one are
  /// warpgroup kernels where nothing has to be converted, and in the sliced-K family another kernel where rows of
  /// weights cannot be copied whole.
  int cluster_n = 1;

  /// Those that multiply; the warpgroup family has others that fill shared memory, by the activations' source.
  __host__ __device__ constexpr int warps() const { return warps_n * warps_m * warps_k; }
  __host__ __device__ constexpr int threads() const { return warps() * detail::kWarpSize; }

  Q4FUSE_HIDDEN friend constexpr bool operator==(const kernel_config& a, const kernel_config& b) {
    return a.family == b.family && a.instruction == b.instruction && a.tile_n == b.tile_n && a.tile_m == b.tile_m &&
           a.warps_n == b.warps_n && a.warps_m == b.warps_m && a.warps_k == b.warps_k && a.stages == b.stages &&
           a.cluster_k == b.cluster_k && a.cluster_n == b.cluster_n;
  }
  Q4FUSE_HIDDEN friend constexpr bool operator!=(const kernel_config& a, const kernel_config& b) { return !(a == b); }
};

/// Every GEMM kernel of the library. A plan names one of these; nothing else is compiled.
Q4FUSE_HIDDEN inline constexpr kernel_config kKernelConfigs[] = {
    {kernel_family::weight_bound, dot_instruction::dp4a, 16, 1, 8, 1, 1, 5},
    {kernel_family::weight_bound, dot_instruction::dp4a, 32, 1, 8, 1, 1, 4},
    {kernel_family::weight_bound, dot_instruction::dp4a, 32, 2, 8, 1, 1, 4},
    {kernel_family::weight_bound, dot_instruction::dp4a, 64, 2, 16, 1, 1, 3},
    {kernel_family::weight_bound, dot_instruction::dp4a, 64, 4, 16, 1, 1, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k32_s8, 256, 16, 16, 1, 1, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k32_s8, 16, 8, 1, 1, 4, 2},
    {kernel_family::weight_bound, dot_instruction::dp4a, 4, 8, 1, 1, 4, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k16_f16, 32, 8, 2, 1, 8, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k16_f16, 32, 16, 2, 1, 8, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k16_f16, 32, 8, 2, 1, 8, 2, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k16_f16, 32, 16, 2, 1, 8, 2, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k16_f16, 16, 8, 1, 1, 4, 2},
    {kernel_family::weight_bound, dot_instruction::mma_m16n8k16_f16, 256, 16, 16, 1, 1, 2},
    {kernel_family::stream_k, dot_instruction::mma_m16n8k32_s8, 16, 8, 1, 1, 16, 2, 2},
    {kernel_family::stream_k, dot_instruction::mma_m16n8k32_s8, 16, 16, 1, 1, 16, 2},
    {kernel_family::stream_k, dot_instruction::mma_m16n8k32_s8, 16, 16, 1, 1, 16, 2, 4},
    {kernel_family::stream_k, dot_instruction::mma_m16n8k32_s8, 16, 32, 1, 1, 16, 2, 2},
    {kernel_family::stream_k, dot_instruction::mma_m16n8k32_s8, 16, 32, 1, 1, 16, 2, 4},
    {kernel_family::stream_k, dot_instruction::mma_m16n8k32_s8, 16, 32, 1, 1, 16, 2, 8},
    {kernel_family::sliced_k, dot_instruction::mma_m16n8k32_s8, 16, 8, 1, 1, 16, 2},
    {kernel_family::sliced_k, dot_instruction::mma_m16n8k32_s8, 16, 16, 1, 1, 16, 2},
    {kernel_family::sliced_k, dot_instruction::mma_m16n8k32_s8, 16, 8, 1, 1, 16, 3, 1, 2},
    {kernel_family::sliced_k, dot_instruction::mma_m16n8k32_s8, 16, 16, 1, 1, 16, 3, 1, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 256, 128, 8, 1, 1, 3, 1, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 128, 8, 1, 1, 4, 1, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 128, 8, 1, 1, 3, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 64, 8, 1, 1, 3, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 32, 8, 1, 1, 3, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 32, 8, 1, 1, 3, 4},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 128, 8, 1, 1, 3, 3},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 192, 8, 1, 1, 3},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 192, 8, 1, 1, 3, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 160, 8, 1, 1, 3},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 160, 8, 1, 1, 3, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 192, 128, 12, 1, 1, 3},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 96, 8, 1, 1, 3, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 96, 8, 1, 1, 3, 3},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 64, 8, 1, 2, 4},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 64, 8, 1, 2, 4, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 64, 8, 1, 2, 4, 3},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 32, 8, 1, 2, 6},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 32, 8, 1, 2, 4, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k16_f16, 128, 32, 8, 1, 2, 4, 3},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k32_s8, 256, 128, 8, 1, 1, 3, 1, 2},
    {kernel_family::warpgroup, dot_instruction::wgmma_m64k32_s8, 256, 128, 8, 1, 1, 3, 2},
    {kernel_family::tile, dot_instruction::mma_m16n8k16_f16, 64, 32, 4, 1, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k16_f16, 64, 64, 2, 2, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k16_f16, 128, 128, 4, 2, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k32_s8, 64, 32, 4, 1, 1, 4},
    {kernel_family::tile, dot_instruction::mma_m16n8k32_s8, 64, 64, 2, 2, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k32_s8, 128, 128, 2, 4, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k32_s8, 256, 64, 8, 2, 1, 3},
    {kernel_family::tile, dot_instruction::mma_m16n8k32_s8, 128, 64, 4, 2, 1, 3, 2},
    {kernel_family::tile, dot_instruction::dp4a, 64, 32, 4, 1, 1, 2},
};
inline constexpr int kKernelConfigCount = static_cast<int>(sizeof(kKernelConfigs) / sizeof(kKernelConfigs[0]));

Q4FUSE_HIDDEN constexpr const char* to_string(pipeline value) {
  return value == pipeline::fused ? "fused" : "separate";
}
Q4FUSE_HIDDEN constexpr const char* to_string(kernel_family value) {
  switch (value) {
    case kernel_family::weight_bound: return "weight_bound";
    case kernel_family::stream_k: return "stream_k";
    case kernel_family::sliced_k: return "sliced_k";
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
    case dot_instruction::wgmma_m64k32_s8: return "wgmma_m64k32_s8";
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
         std::to_string(c.warps_k) + "/stages" + std::to_string(c.stages) +
         (c.cluster_k > 1 ? "/cluster" + std::to_string(c.cluster_k) : "") +
         (c.cluster_n > 1 ? "/shared" + std::to_string(c.cluster_n) : "");
}

Q4FUSE_NAMESPACE_END
