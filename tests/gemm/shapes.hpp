#pragma once

// Test shapes, derived from what a kernel is compiled for: its edges lie where its tiles, pieces and stages end.

#include <q4fuse/plan.hpp>

#include <set>
#include <tuple>
#include <vector>

namespace q4fuse_test {

/// Tokens that an LLM server sees, and the neighbours of powers of two.
inline constexpr int64_t kTokenCounts[] = {0, 1, 2, 3, 7, 8, 9, 16, 17, 33, 64, 65, 127, 128, 129, 300, 513};

/// Features of tensor-parallel shards that users reported as rejected elsewhere; all are multiples of 32.
inline constexpr int64_t kShards[] = {10944, 7392, 8256, 5472};

/// For a stream-K or sliced-K kernel: more row tiles than those whose sums fit shared memory.
inline q4fuse::gemm_shape shape_of_several_rounds(const q4fuse::kernel_config& config,
                                                  const q4fuse::device_info& device, int64_t k) {
  const auto grid = q4fuse::detail::make_rounds_grid(config, {2, 1 << 20, k}, device);
  return {2, config.tile_n * grid.row_clusters * (grid.round_tiles + 1) + 5, k};
}

/// As many whole pieces for every CTA of a cluster as the kernel can run: so many that those row tiles are few.
inline int64_t largest_k(const q4fuse::kernel_config& config, const q4fuse::device_info& device) {
  const int64_t step = 32 * q4fuse::detail::kPieceBlocks * config.cluster_k;
  int64_t k = step;
  while (can_run(config, {2, 16, k + step}, device)) k += step;
  return k;
}

inline std::vector<q4fuse::gemm_shape> shapes_for(const q4fuse::kernel_config& config,
                                                  const q4fuse::device_info& device, bool emulated) {
  const int64_t tile_m = config.tile_m;
  const int64_t tile_n = config.tile_n;
  const int64_t piece = q4fuse::detail::kPieceBlocks;
  // Who takes pieces in turn or a slice each, and the pieces in flight in all of them together.
  const bool weight_bound = config.family == q4fuse::kernel_family::weight_bound;
  const int64_t sharers = config.cluster_k * (weight_bound ? config.warps_k : 1);
  const int64_t ring = config.stages * sharers;
  const bool sliced_k = config.family == q4fuse::kernel_family::sliced_k;
  const bool in_rounds = q4fuse::detail::works_in_rounds(config);
  if (emulated) {
    std::vector<q4fuse::gemm_shape> shapes{{1, 1, 32},
                                           {2, tile_n + 1, 64},
                                           {3, 5, 32 * (piece + 1)},
                                           {tile_m + 1, tile_n - 1, 96},
                                           {1, tile_n, 32 * (piece * (config.stages - 1))},
                                           {2, 3, 32 * (piece * (config.stages + 1) - 1)},
                                           {1, 17, 32 * (piece * ring + 1)}};
    if (in_rounds) shapes.push_back(shape_of_several_rounds(config, device, largest_k(config, device)));
    // Three groups of five warps, one is left over, each with several row tiles.
    if (sliced_k) shapes.push_back({tile_m + 1, 7 * tile_n * device.sm_count + 3, 32 * (piece * 4 + 3)});
    // Rows of weights that are aligned to 4 and 8 bytes, which other copies than those of activations bring.
    if (config.family == q4fuse::kernel_family::warpgroup) {
      shapes.push_back({3, tile_n + 1, 64});
      shapes.push_back({3, tile_n - 1, 32 * (piece * ring + 4)});
    }
    // Clusters that walk over tiles, the last one with nothing to do for one of its CTAs.
    if (config.cluster_n > 1) shapes.push_back({1, 2 * config.cluster_n * tile_n + 1, 32 * piece});
    return shapes;
  }
  std::set<std::tuple<int64_t, int64_t, int64_t>> shapes;
  const int64_t some_m = tile_m + 1;
  const int64_t some_n = tile_n + 3;
  const int64_t some_k = 32 * (2 * piece + 1);
  for (const int64_t m : {int64_t{1}, int64_t{2}, tile_m / 2, tile_m - 1, tile_m, tile_m + 1, 2 * tile_m + 1}) {
    shapes.insert({m, some_n, some_k});
    shapes.insert({m, tile_n, 32 * piece});
  }
  for (const int64_t n :
       {int64_t{1}, int64_t{2}, int64_t{7}, tile_n - 1, tile_n, tile_n + 1, 2 * tile_n, 3 * tile_n + 5}) {
    shapes.insert({some_m, n, some_k});
    shapes.insert({1, n, 32 * (piece - 1)});
  }
  std::set<int64_t> k_blocks = {1, 2, 3, 4, piece - 1, piece, piece + 1, piece + 2, piece + 4, piece * ring + 4};
  for (const int64_t pieces : {int64_t{config.stages}, sharers, ring}) {
    for (int64_t count = pieces - 1; count <= pieces + 1; ++count) {
      for (int64_t blocks = piece * count - 1; blocks <= piece * count + 1; ++blocks) k_blocks.insert(blocks);
    }
  }
  for (const int64_t blocks : k_blocks) {
    if (blocks < 1) continue;
    shapes.insert({1, some_n, 32 * blocks});
    shapes.insert({some_m, some_n, 32 * blocks});
  }
  // More row tiles than multiprocessors: a CTA that walks over tiles takes several.
  shapes.insert({1, (device.sm_count + 1) * tile_n + 1, 32 * piece});
  if (weight_bound || in_rounds) shapes.insert({some_m, (2 * device.sm_count + 1) * tile_n - 1, some_k});
  // More tiles of tokens than CTAs that run at once.
  if (weight_bound) shapes.insert({(4 * device.sm_count + 1) * tile_m + 1, tile_n + 3, 64});
  if (config.cluster_n > 1) {
    shapes.insert({some_m, config.cluster_n * tile_n + 5, 32 * piece * ring});
    shapes.insert({1, (device.sm_count + config.cluster_n) * tile_n + 1, 32 * piece * 2});
  }
  if (in_rounds) {
    const q4fuse::gemm_shape rounds = shape_of_several_rounds(config, device, largest_k(config, device));
    shapes.insert({rounds.m, rounds.n, rounds.k});
  }
  if (sliced_k) {
    // One group of warps, of which some are left over or none, and several, with rounds of whole turns.
    for (const int64_t blocks : {piece * 9, piece * 16 - 1, piece * 16}) shapes.insert({some_m, some_n, 32 * blocks});
    const q4fuse::gemm_shape rounds = shape_of_several_rounds(config, device, 32 * piece * 5);
    shapes.insert({rounds.m, rounds.n, rounds.k});
  }

  std::vector<q4fuse::gemm_shape> result;
  for (const auto& [m, n, k] : shapes) {
    if (m > 0) result.push_back({m, n, k});
  }
  return result;
}

}  // namespace q4fuse_test
