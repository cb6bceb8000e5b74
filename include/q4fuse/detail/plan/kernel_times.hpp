#pragma once

// What single kernels take, as estimates count it: fits to an H100's times. Host only.

#include <q4fuse/kernel_config.hpp>

#include <cstddef>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The row of a table that is of a kernel. All kernels have one; a test says so.
template <class Times, size_t kRows, class... Source>
constexpr Times find_times(const Times (&table)[kRows], const kernel_config& config, const Source... source) {
  for (const Times& times : table) {
    if (times.of(config, source...)) return times;
  }
  return {};
}

/// Microseconds of a weight-bound kernel: until it multiplies; for a piece of a row tile, by the throughput of a
/// multiprocessor; and for one by the latency of a warp. `memory` is the share of weight_memory_time that its weights
/// take, the less the longer the pieces of a row.
struct weight_bound_times {
  dot_instruction instruction;
  int tile_n;
  int tile_m;
  int cluster_k;
  double start;
  double piece;
  double step;
  double memory;
  constexpr bool of(const kernel_config& config) const {
    return instruction == config.instruction && tile_n == config.tile_n && tile_m == config.tile_m &&
           cluster_k == config.cluster_k;
  }
};

inline constexpr weight_bound_times kWeightBoundTimes[] = {
    {dot_instruction::dp4a, 16, 1, 1, 2.6, 0.02, 0.44, 0.768},
    {dot_instruction::dp4a, 32, 1, 1, 2.62, 0.012, 0.39, 0.78},
    {dot_instruction::dp4a, 32, 2, 1, 2.67, 0.02, 0.44, 0.78},
    {dot_instruction::dp4a, 64, 2, 1, 3.19, 0.05, 0.21, 0.78},
    {dot_instruction::dp4a, 64, 4, 1, 3.39, 0.0685, 0.29, 0.78},
    {dot_instruction::dp4a, 4, 8, 1, 2.5, 0.2, 0.76, 0.78},  // not in code for sm_90a: in proportion, not measured
    {dot_instruction::mma_m16n8k32_s8, 256, 16, 1, 3.19, 0.093, 0.45, 0.88},
    {dot_instruction::mma_m16n8k32_s8, 16, 8, 1, 2.52, 0.042, 0.44, 0.88},
    {dot_instruction::mma_m16n8k16_f16, 32, 8, 1, 2.77, 0.0865, 0.5, 0.88},
    {dot_instruction::mma_m16n8k16_f16, 32, 16, 1, 2.62, 0.1065, 0.64, 0.88},
    {dot_instruction::mma_m16n8k16_f16, 32, 8, 2, 2.93, 0.0885, 0.78, 0.88},
    {dot_instruction::mma_m16n8k16_f16, 32, 16, 2, 2.75, 0.1145, 1.08, 0.88},
    {dot_instruction::mma_m16n8k16_f16, 16, 8, 1, 2.23, 0.0745, 0.48, 0.88},
    {dot_instruction::mma_m16n8k16_f16, 256, 16, 1, 2.94, 0.0945, 0.49, 0.88},
};

/// Microseconds of a stream-K kernel: for a piece of a row tile, by the throughput of a multiprocessor, and for its
/// sums; for an element of the tile and slice of activations, from Q8_1; and where quantizing hides behind the first
/// weights, for an element of k, alone or in a cluster, and of X.
struct stream_k_times {
  int tile_m;
  double piece;
  double sums;
  double element;
  double hidden_k_alone;
  double hidden_k_cluster;
  double hidden_element;
  constexpr bool of(const kernel_config& config) const { return tile_m == config.tile_m; }
};

inline constexpr stream_k_times kStreamKTimes[] = {
    {8, 0.0735, 0.052, 30e-6, 0.1e-3, 0.1e-3, 12e-6},  // those without a cluster do not exist
    {16, 0.0895, 0.049, 44e-6, 0.46e-3, 0.59e-3, 14e-6},
    {32, 0.1235, 0.09, 40e-6, 0.49e-3, 0.49e-3, 56e-6},  // nor do these
};

/// Microseconds of a sliced-K kernel from a pipeline: all but the weights; for a piece of a row tile by the throughput
/// of a multiprocessor, and for a row tile by the latency of a warp; as much of weight_memory_time, times `memory`, as
/// passes before the first dot; and the share of it that each further tile of tokens takes.
struct sliced_k_times {
  int tile_m;
  int cluster_n;
  pipeline source;
  double fixed;
  double piece;
  double step;
  double ahead;
  double memory;
  double again;
  constexpr bool of(const kernel_config& config, pipeline wanted) const {
    return tile_m == config.tile_m && cluster_n == config.cluster_n && source == wanted;
  }
};

inline constexpr sliced_k_times kSlicedKTimes[] = {
    {8, 1, pipeline::fused, 4.04, 0.068, 0.617, 1.34, 0.974, 0.33},
    {8, 1, pipeline::separate, 3.84, 0.067, 0.3, 0.56, 0.98, 0.33},
    {16, 1, pipeline::fused, 5.2, 0.085, 0.726, 1.77, 1.11, 0.43},
    {16, 1, pipeline::separate, 4.35, 0.086, 0.69, 0.62, 1.034, 0.5},
    {8, 2, pipeline::fused, 3.61, 0.059, 0.678, 0.0, 0.81, 0.364},
    {8, 2, pipeline::separate, 3.69, 0.061, 0.231, 0.0, 0.83, 0.389},
    {16, 2, pipeline::fused, 4.83, 0.082, 0.791, 1.85, 0.88, 0.487},
    {16, 2, pipeline::separate, 4.06, 0.078, 0.855, 0.0, 0.85, 0.586},
};

/// Microseconds that a warpgroup kernel takes for a tile, which has its rings to fill and its sums to store, and for
/// each pair of blocks: where the busiest multiprocessor has one tile, and where it has more, of which two run beside
/// each other if they are small.
struct warpgroup_tile_time {
  double tile;
  double pair_alone;
  double pair_of_several;
};

/// Those of an FP16 kernel with activations as they are, dequantized, and quantized before that.
struct fp16_tile_times {
  int tile_n;
  int tile_m;
  int cluster_k;
  int warps_k;
  warpgroup_tile_time direct;
  warpgroup_tile_time separate;
  warpgroup_tile_time fused;
  constexpr bool of(const kernel_config& config) const {
    return tile_n == config.tile_n && tile_m == config.tile_m && cluster_k == config.cluster_k &&
           warps_k == config.warps_k;
  }
};

inline constexpr fp16_tile_times kFp16TileTimes[] = {
    {256, 128, 1, 1, {4.8, 0.702, 0.7}, {11.0, 0.77, 0.77}, {9.0, 0.98, 1.02}},
    {128, 128, 1, 1, {1.2, 0.364, 0.387}, {5.1, 0.619, 0.592}, {5.8, 0.79, 0.77}},
    {128, 128, 2, 1, {3.6, 0.358, 0.383}, {3.0, 0.677, 0.665}, {4.4, 0.985, 0.98}},
    {128, 64, 2, 1, {}, {3.6, 0.495, 0.372}, {3.0, 0.738, 0.536}},
    {128, 32, 2, 1, {}, {3.6, 0.372, 0.274}, {3.0, 0.594, 0.384}},
    {128, 32, 4, 1, {}, {2.6, 0.405, 0.29}, {2.4, 0.606, 0.41}},
    {128, 128, 3, 1, {4.1, 0.315, 0.354}, {}, {}},
    {128, 192, 1, 1, {2.2, 0.503, 0.525}, {}, {}},
    {128, 192, 2, 1, {4.3, 0.498, 0.533}, {}, {}},
    {128, 160, 1, 1, {1.9, 0.425, 0.443}, {}, {}},
    {128, 160, 2, 1, {3.9, 0.423, 0.452}, {}, {}},
    {192, 128, 1, 1, {2.6, 0.511, 0.532}, {}, {}},
    {128, 96, 2, 1, {3.1, 0.312, 0.327}, {}, {}},
    {128, 96, 3, 1, {3.7, 0.279, 0.305}, {}, {}},
    {128, 64, 1, 2, {1.3, 0.253, 0.217}, {}, {}},
    {128, 64, 2, 2, {3.4, 0.251, 0.212}, {}, {}},
    {128, 64, 3, 2, {4.5, 0.217, 0.186}, {}, {}},
    {128, 32, 1, 2, {1.9, 0.205, 0.196}, {}, {}},
    {128, 32, 2, 2, {3.0, 0.21, 0.137}, {}, {}},
    {128, 32, 3, 2, {2.7, 0.205, 0.17}, {}, {}},
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
