#pragma once

// What the plan compares: estimated times. Small fits, of the tile kernels to an H200's times, of the others to an
// H100's; on another GPU the numbers are off, the order of the kernels less so. docs/performance.md says how far. Host
// only.

#include <q4fuse/detail/plan/kernel_times.hpp>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/kernel_traits.hpp>
#include <q4fuse/shape.hpp>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Clusters of that many CTAs, one a multiprocessor, that run at once. Those of more than two leave multiprocessors
/// over where there are not as many in a row: an H100 runs 66 clusters of two, 39 of three, 30 of four and 15 of eight.
constexpr int64_t resident_clusters(int ctas, const device_info& device) {
  const int64_t multiprocessors = ctas >= 4   ? device.sm_count * 15 / 16
                                  : ctas == 3 ? device.sm_count * 8 / 9
                                              : device.sm_count;
  return multiprocessors > ctas ? multiprocessors / ctas : 1;
}

/// Clusters of a weight-bound kernel that run at once: of CTAs that may share a multiprocessor as many as have the
/// shared memory for it, beside the kilobyte that each takes without asking.
constexpr int64_t resident_weight_bound_clusters(const kernel_config& config, const gemm_shape& shape,
                                                 const device_info& device) {
  constexpr int64_t kReserved = 1024;
  const int64_t fit = (device.shared_memory_per_block + kReserved) / (shared_memory_bytes(config, shape) + kReserved);
  const int64_t most = weight_bound_ctas(config);
  return resident_clusters(config.cluster_k, device) * (fit < 1 ? 1 : fit < most ? fit : most);
}

/// Of clusters that run at once those that share the rows of W, for each tile of tokens: as many for each, as long as
/// there is a row tile for every one. At least one, so that an empty shape divides nothing by zero.
constexpr int64_t clusters_for_rows(int64_t row_tiles, int64_t token_tiles, int64_t resident) {
  const int64_t share = resident / (token_tiles > 0 ? token_tiles : 1);
  const int64_t clusters = row_tiles < share ? row_tiles : share;
  return clusters > 0 ? clusters : 1;
}

/// Those of a weight-bound kernel.
constexpr int64_t weight_bound_row_clusters(const kernel_config& config, const gemm_shape& shape,
                                            const device_info& device) {
  return clusters_for_rows(ceil_div(shape.n, config.tile_n / config.warps_n), ceil_div(shape.m, config.tile_m),
                           resident_weight_bound_clusters(config, shape, device));
}

/// By how rows of weights can be copied: as whole pieces, 8 or 4 bytes at a time, or 2.
struct by_row_alignment {
  double whole;
  double eight;
  double four;
  double two;
  constexpr double of(const gemm_shape& shape) const {
    const int64_t blocks = shape.k / kBlockSize;
    return blocks % kPieceBlocks == 0 ? whole : blocks % 4 == 0 ? eight : blocks % 2 == 0 ? four : two;
  }
};

/// Microseconds in which the weights of a shape come from the memory.
constexpr double weight_memory_time(const gemm_shape& shape, const device_info& device) {
  return static_cast<double>(shape.n) * static_cast<double>(shape.k / kBlockSize) * kWeightBlockBytes /
         (19.8e3 * (device.sm_count > 0 ? device.sm_count : 1));
}

/// How a stream-K or sliced-K kernel covers a shape.
struct rounds_grid {
  int64_t row_clusters;   ///< CTAs, or clusters that share k, that share the rows of W, for each tile of tokens
  int64_t cluster_tiles;  ///< row tiles of one of them
  int64_t round_tiles;    ///< of those, how many between two exchanges of sums
  int64_t shared_bytes;
};

constexpr rounds_grid make_rounds_grid(const kernel_config& config, const gemm_shape& shape,
                                       const device_info& device) {
  const int64_t row_tiles = ceil_div(shape.n > 0 ? shape.n : 1, config.tile_n);
  const int64_t row_clusters =
      config.cluster_n * clusters_for_rows(ceil_div(row_tiles, config.cluster_n), ceil_div(shape.m, config.tile_m),
                                           resident_clusters(config.cluster_k * config.cluster_n, device));
  const int64_t tiles = ceil_div(row_tiles, row_clusters);
  const int64_t k_blocks = shape.k / kBlockSize;
  const bool sliced = config.family == kernel_family::sliced_k;
  const auto bytes = [&](int64_t round_tiles) {
    const int64_t slots = round_tiles * warps_of_row_tile(k_blocks);
    return sliced ? make_sliced_k_layout(config.warps(), config.stages, config.tile_m, config.cluster_n, slots).total
                  : make_stream_k_layout(config.warps(), config.stages, config.tile_m, k_blocks, config.cluster_k,
                                         round_tiles)
                        .total;
  };
  // As few rounds as shared memory allows, of whole turns of the groups of warps.
  const int64_t turn = sliced ? row_tile_groups(config.warps(), k_blocks) : 1;
  // Few row tiles may leave room that something else takes.
  constexpr int64_t kMany = 100;
  const int64_t tile_bytes = bytes(kMany + 1) - bytes(kMany);
  const int64_t left = (device.shared_memory_per_block - bytes(kMany) + kMany * tile_bytes) / tile_bytes / turn * turn;
  const int64_t most = left > turn ? left : turn;
  const int64_t equal = ceil_div(tiles, ceil_div(tiles, most));
  const int64_t round_tiles = equal < tiles ? round_up(equal, turn) : tiles;
  return {row_clusters, tiles, round_tiles, bytes(round_tiles)};
}

/// Microseconds of a stream-K kernel, nearly always within 15 % of what was measured on an H100: its CTA's activations,
/// of which a warp takes whole tokens; partial sums of its row tiles, and their exchange in each round; and the slower
/// of its pieces and the memory, or the L2, from which each further tile of tokens reads all weights. As often as
/// clusters do not run at once.
constexpr double stream_k_time(const kernel_config& config, const gemm_shape& shape, const device_info& device,
                               pipeline source) {
  const rounds_grid grid = make_rounds_grid(config, shape, device);
  const int64_t token_tiles = ceil_div(shape.m, config.tile_m);
  const int64_t pieces = ceil_div(ceil_div(shape.k / kBlockSize, kPieceBlocks), config.cluster_k);
  const int64_t whole_rounds = grid.cluster_tiles / grid.round_tiles;
  const int64_t last_tiles = grid.cluster_tiles % grid.round_tiles;
  const int64_t warp_pieces = whole_rounds * ceil_div(grid.round_tiles * pieces, config.warps()) +
                              ceil_div(last_tiles * pieces, config.warps());
  const int64_t rounds = whole_rounds + (last_tiles > 0 ? 1 : 0);
  const stream_k_times times = find_times(kStreamKTimes, config);
  const double piece = times.piece + by_row_alignment{0.0, 0.075, 0.075, 0.19}.of(shape);
  // By which pipeline was measured to be faster, in clusters of eight by others than elsewhere.
  const double loop = source == pipeline::separate ? 1.0 : config.cluster_k == 8 ? 1.08 : 1.03;
  const double compute = static_cast<double>(warp_pieces * config.warps()) * piece * loop;
  const double memory = weight_memory_time(shape, device) * (1.0 + 0.4 * static_cast<double>(token_tiles - 1));
  const double sums = static_cast<double>(grid.cluster_tiles) * times.sums + 1.3 * static_cast<double>(rounds);
  // Quantizing hides behind the first weights where a warp has one token, and all of it on its way at once.
  const bool hidden =
      source == pipeline::fused && (config.tile_m < config.warps() || (shape.m <= config.warps() && pieces <= 16));
  const int64_t tokens = shape.m < config.tile_m ? shape.m : config.tile_m;
  const auto whole_tokens =
      static_cast<double>(round_up(tokens, config.tile_m < config.warps() ? config.tile_m : config.warps()));
  const double of_k = hidden ? (config.cluster_k == 1 ? times.hidden_k_alone : times.hidden_k_cluster) +
                                   times.hidden_element * static_cast<double>(tokens)
                             : (source == pipeline::fused ? 56e-6 : times.element) * whole_tokens;
  const double activations = of_k * static_cast<double>(shape.k) / config.cluster_k;
  // Q8_1 rows have just been written, FP16 ones may have to come from the memory.
  const double fixed = (config.cluster_k == 1 ? 1.2 : 2.4) + (source == pipeline::fused ? 0.3 : 0.0);
  const auto waves =
      static_cast<double>(ceil_div(grid.row_clusters * token_tiles, resident_clusters(config.cluster_k, device)));
  return waves * (fixed + activations + sums + (compute > memory ? compute : memory));
}

/// Microseconds of a sliced-K kernel, 3 % off what was measured on an H100 on average, 15 at most: until its
/// activations are encoded, and the slower of multiplying, by a multiprocessor or by a warp, and the memory or the L2,
/// from which each further tile of tokens reads all weights.
constexpr double sliced_k_time(const kernel_config& config, const gemm_shape& shape, const device_info& device,
                               pipeline source) {
  const rounds_grid grid = make_rounds_grid(config, shape, device);
  const int64_t token_tiles = ceil_div(shape.m, config.tile_m);
  const int64_t k_blocks = shape.k / kBlockSize;
  const sliced_k_times times = find_times(kSlicedKTimes, config, source);
  const double piece = times.piece + by_row_alignment{0.0, 0.073, 0.073, 0.21}.of(shape);
  const double throughput = static_cast<double>(grid.cluster_tiles * warps_of_row_tile(k_blocks)) * piece;
  const double steps =
      static_cast<double>(ceil_div(grid.cluster_tiles, row_tile_groups(config.warps(), k_blocks))) * times.step;
  const double sums = 0.01 * static_cast<double>(grid.cluster_tiles);
  const double compute = (throughput > steps ? throughput : steps) + sums;
  const auto again = static_cast<double>(token_tiles > 0 ? token_tiles - 1 : 0);
  const double all_memory = weight_memory_time(shape, device) * times.memory * (1.0 + times.again * again);
  const double memory = all_memory > times.ahead ? all_memory - times.ahead : 0.0;
  const double weights = compute > memory ? compute + 0.14 * memory : memory + 0.14 * compute;
  const auto waves = static_cast<double>(
      ceil_div(grid.row_clusters / config.cluster_n * token_tiles, resident_clusters(config.cluster_n, device)));
  return waves * (times.fixed + weights);
}

/// Microseconds until a CTA of a weight-bound kernel has stored its tile of activations, or its slice of k of them. A
/// thread has two batches of four portions of eight elements on their way at once, others come one after another.
constexpr double weight_bound_activation_time(const kernel_config& config, const gemm_shape& shape, pipeline source,
                                              math_mode math) {
  const bool exact = math == math_mode::exact;
  const int64_t tokens = shape.m < config.tile_m ? shape.m : config.tile_m;
  const int64_t elements = tokens * shape.k / config.cluster_k;
  const int64_t batches = ceil_div(elements, int64_t{config.threads()} * 4 * 8);
  const auto waits = static_cast<double>(batches > 2 ? batches - 2 : 0);
  if (source == pipeline::separate || math == math_mode::direct_fp16) {
    return (source == pipeline::separate && exact ? 36e-6 : 29e-6) * static_cast<double>(elements) + 0.32 * waits;
  }
  if (is_for_few_tokens(config)) return 34.5e-6 * static_cast<double>(elements) + 0.8 * waits;
  return (exact ? 48e-6 : 70e-6) * static_cast<double>(elements) + 0.41 * waits;
}

/// Microseconds of a weight-bound kernel: a tile of activations, and its share of the weights. There the slowest of
/// three decides: reading and multiplying the pieces of the multiprocessor with the most row tiles; the steps that a
/// warp takes one after another, where warps are few or have little to do between two row tiles; and the memory, or the
/// L2, from which each tile of tokens reads all weights. All of that as often as CTAs do not run at once.
constexpr double weight_bound_time(const kernel_config& config, const gemm_shape& shape, const device_info& device,
                                   pipeline source, math_mode math) {
  const weight_bound_times times = find_times(kWeightBoundTimes, config);
  const int64_t row_tiles = ceil_div(shape.n, config.tile_n / config.warps_n);
  const int64_t token_tiles = ceil_div(shape.m, config.tile_m);
  const int64_t pieces = ceil_div(shape.k / kBlockSize, weight_piece_blocks(config));
  const int64_t row_clusters = weight_bound_row_clusters(config, shape, device);
  const int64_t clusters = row_clusters * token_tiles;
  const int64_t resident = resident_weight_bound_clusters(config, shape, device);
  const int64_t running = clusters < resident ? clusters : resident;
  const auto neighbours =  // of a CTA on its multiprocessor
      static_cast<double>(ceil_div(running, resident_clusters(config.cluster_k, device)) - 1);
  const double throughput = (1.0 + neighbours) * static_cast<double>(ceil_div(row_tiles, row_clusters) * pieces) /
                            config.cluster_k * times.piece;
  // Bytes in twos come through registers, and each waits for the one before.
  const double step = times.step + by_row_alignment{0.0, 0.0, 0.0, 11.0}.of(shape);
  const auto steps_of_tile = static_cast<double>(ceil_div(ceil_div(pieces, config.cluster_k), config.warps_k));
  const double steps = static_cast<double>(ceil_div(row_tiles, row_clusters * config.warps_n)) *
                       (step * steps_of_tile + (config.warps_k > 1 ? 0.39 : 0.0)) * (1.0 + 0.21 * neighbours);
  const double compute = throughput > steps ? throughput : steps;
  const auto again = static_cast<double>(token_tiles - 1);
  const double memory =
      weight_memory_time(shape, device) * times.memory * (1.0 + (is_for_few_tokens(config) ? 0.15 : 0.53) * again);
  const double activations = weight_bound_activation_time(config, shape, source, math) * (1.0 + 0.48 * neighbours);
  const double exchange = config.cluster_k == 1 ? 0.0 : 1.38;
  const double weights = compute > memory ? compute + 0.22 * memory : memory + 0.22 * compute;
  return times.start + static_cast<double>(ceil_div(clusters, resident)) * (activations + exchange + weights);
}

/// What a token costs a tile kernel before it can be multiplied, per piece of k and shared by the warps of the CTA. The
/// FP16 modes are in proportion of their operations an element, not measured.
constexpr double activation_time(pipeline source, math_mode math) {
  switch (math) {
    case math_mode::exact: return source == pipeline::fused ? 0.367 : 0.0;
    case math_mode::dequantized_fp16: return source == pipeline::fused ? 0.467 : 0.1;
    case math_mode::direct_fp16: return 0.05;
  }
  return 0.0;
}

/// CTAs of the busiest multiprocessor, where each has one tile of Y, or a slice of its k.
constexpr double rounds_of_ctas(const kernel_config& config, const gemm_shape& shape, const device_info& device) {
  const int64_t ctas = ceil_div(shape.n, config.tile_n) * ceil_div(shape.m, config.tile_m) * config.cluster_k;
  return static_cast<double>(ceil_div(ctas, device.sm_count > 0 ? device.sm_count : 1));
}

/// Microseconds of a tile kernel whose k is split over a cluster, within 15 % of what was measured. What counts is how
/// many CTAs the busiest multiprocessor gets: each costs a sum over the cluster and its pieces, and one that is alone
/// hides less of its waits, the less the smaller its tile. Activations are converted beside the dots of another CTA, or
/// while nothing else happens.
constexpr double cluster_tile_time(const kernel_config& config, const gemm_shape& shape, const device_info& device,
                                   pipeline source) {
  const int64_t pieces = ceil_div(shape.k / kBlockSize, kPieceBlocks);
  const auto slice = static_cast<double>(ceil_div(pieces, config.cluster_k));
  const double busiest = rounds_of_ctas(config, shape, device);
  const double area = static_cast<double>(config.tile_n) * config.tile_m;
  const double copies = by_row_alignment{1.0, 1.1, 1.2, 3.0}.of(shape);
  const double cta = config.cluster_k * (0.22 + 0.00015 * area) + slice * (0.272 + 0.000235 * area) * copies;
  const double time = 2.4 + (busiest > 1.0 ? busiest : 1.22 - 0.00002 * area) * cta;
  if (source == pipeline::separate) return time;
  const double conversion = (0.2 + 0.0075 * config.tile_m) * (config.tile_m >= 64 ? 1.75 : 1.0);
  return time + (busiest > 1.0 ? busiest : 2.2) * slice * conversion;
}

/// Microseconds of a tile kernel, from the same fit: rounds of CTAs over the device times the cost of a piece of k,
/// with a part by area, a fixed part, and the way of the activations into the tile.
constexpr double tile_time(const kernel_config& config, const gemm_shape& shape, const device_info& device,
                           pipeline source, math_mode math) {
  if (config.cluster_k > 1) return cluster_tile_time(config, shape, device, source);
  const auto pieces = static_cast<double>(ceil_div(shape.k / kBlockSize, kPieceBlocks));
  const double dots = (config.instruction == dot_instruction::dp4a ? 4.0 : 1.0) * config.tile_n * config.tile_m;
  const double activations = activation_time(source, math) * config.tile_m / config.warps();
  const double copies = by_row_alignment{1.0, 1.1, 1.2, 1.75}.of(shape);
  return 4.2 + rounds_of_ctas(config, shape, device) * pieces * (0.000255 * dots + 0.41 + activations) * copies;
}

constexpr warpgroup_tile_time warpgroup_tile_times(const kernel_config& config, pipeline source, math_mode math) {
  const bool fused = source == pipeline::fused;
  if (math == math_mode::exact) {
    // One tile, whose CTAs either convert activations for each other or share k.
    if (config.cluster_k > 1)
      return fused ? warpgroup_tile_time{7.5, 1.74, 1.74} : warpgroup_tile_time{9.0, 1.46, 1.46};
    return fused ? warpgroup_tile_time{8.0, 1.48, 1.48} : warpgroup_tile_time{8.0, 1.38, 1.38};
  }
  const fp16_tile_times times = find_times(kFp16TileTimes, config);
  return math == math_mode::direct_fp16 ? times.direct : fused ? times.fused : times.separate;
}

/// Microseconds of a warpgroup kernel: those of all tiles of the busiest multiprocessor. CTAs that share activations
/// have a tile each, needed or not.
constexpr double warpgroup_time(const kernel_config& config, const gemm_shape& shape, const device_info& device,
                                pipeline source, math_mode math) {
  const int sharers = math == math_mode::direct_fp16 ? 1 : config.cluster_n;
  const int64_t clusters = ceil_div(shape.n, int64_t{config.tile_n} * sharers) * ceil_div(shape.m, config.tile_m);
  const int64_t tiles = ceil_div(clusters, resident_clusters(config.cluster_k * sharers, device));
  const int64_t pieces = ceil_div(ceil_div(shape.k / kBlockSize, kPieceBlocks), config.cluster_k);
  const auto pairs = static_cast<double>(pieces * (kPieceBlocks / 2));
  // Rows that no tensor copy takes cost what their bytes do; with activations as they are that passes beside products.
  const by_row_alignment copies_of_256 =
      math == math_mode::direct_fp16 ? by_row_alignment{0.0, 0.04, 0.04, 3.0} : by_row_alignment{0.0, 0.2, 1.2, 4.0};
  const double copies = copies_of_256.of(shape) * config.tile_n / 256;
  const warpgroup_tile_time time = warpgroup_tile_times(config, source, math);
  const double pair = (tiles > 1 ? time.pair_of_several : time.pair_alone) + copies;
  // Groups of warps, whose rings fill the shared memory: the next CTA begins when all of this one has ended.
  const double between = config.warps_k > 1 && tiles > 1 ? (2.5 + 0.13 * pairs) * static_cast<double>(tiles - 1) : 0.0;
  return 2.0 + static_cast<double>(tiles) * (time.tile + pairs * pair) + between;
}

constexpr double estimated_time(const kernel_config& planned, const gemm_shape& shape, const device_info& device,
                                pipeline source, math_mode math) {
  const kernel_config config = launched_for(planned, shape, true);  // where W lies, a plan does not know
  switch (config.family) {
    case kernel_family::weight_bound: return weight_bound_time(config, shape, device, source, math);
    case kernel_family::stream_k: return stream_k_time(config, shape, device, source);
    case kernel_family::sliced_k: return sliced_k_time(config, shape, device, source);
    case kernel_family::tile: return tile_time(config, shape, device, source, math);
    case kernel_family::warpgroup: return warpgroup_time(config, shape, device, source, math);
  }
  return 0.0;
}

/// What the separate pipeline spends before its GEMM, from the same fit.
constexpr double quantize_time(const gemm_shape& shape) {
  return 2.6 + 0.65e-6 * static_cast<double>(shape.m) * static_cast<double>(shape.k);
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
