#pragma once

// Both pipelines on the emulated GPU, with what they moved through global memory, and what they should have moved.

#include <q4fuse/q4fuse.cuh>

#include "support/backend.hpp"

#include <cuda_fp16.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace q4fuse_emulator {

struct problem {
  q4fuse::gemm_shape shape;
  std::vector<q4fuse::block_q4_0> w;
  std::vector<__half> x;
};

struct measured {
  std::vector<float> y;
  int64_t launches = 0;
  int64_t ctas = 0;  ///< of the GEMM
  traffic w;
  traffic x;       ///< FP16
  traffic x_q8_1;  ///< separate pipeline only
  traffic written_y;

  /// What reaches memory when nothing is fetched twice within a kernel.
  int64_t activation_bytes() const {
    return x.sector_bytes_read + x_q8_1.sector_bytes_written + x_q8_1.sector_bytes_read;
  }
  /// What threads asked for, most of it served by a cache.
  int64_t requested_activation_bytes() const { return x.read + x_q8_1.written + x_q8_1.read; }
};

inline void require(const q4fuse::status& status) {
  if (!status.ok()) throw std::runtime_error(to_string(status));
}

inline measured run_pipeline(const problem& p, const q4fuse::gemm_plan& plan, q4fuse::pipeline source) {
  const auto [m, n, k] = p.shape;
  q4fuse_test::guarded_buffer<q4fuse::block_q4_0> w(p.w);
  q4fuse_test::guarded_buffer<__half> x(p.x);
  q4fuse_test::guarded_buffer<float> y(static_cast<size_t>(m * n));
  q4fuse_test::guarded_buffer<q4fuse::block_q8_1> blocks(static_cast<size_t>(m * k / q4fuse::kBlockSize));
  w.label("w");
  x.label("x");
  y.label("y");
  blocks.label("x as Q8_1");
  q4fuse::gemm_options options;
  options.plan = plan;
  const counters before = device.totals();
  if (source == q4fuse::pipeline::separate)
    require(q4fuse::quantize_fp16_to_q8_1(x.data(), blocks.data(), m, k, {}, nullptr));
  const int64_t ctas_before_gemm = device.totals().ctas;
  if (source == q4fuse::pipeline::separate) {
    require(q4fuse::gemm_q4_0_q8_1(w.data(), blocks.data(), y.data(), p.shape, options, nullptr));
  } else {
    require(q4fuse::gemm_q4_0_fp16_fused(w.data(), x.data(), y.data(), p.shape, options, nullptr));
  }
  measured result;
  result.y = y.download();
  result.launches = device.totals().launches - before.launches;
  result.ctas = device.totals().ctas - ctas_before_gemm;
  result.w = w.traffic();
  result.x = x.traffic();
  result.x_q8_1 = blocks.traffic();
  result.written_y = y.traffic();
  return result;
}

/// Bytes of all activations, once.
inline int64_t fp16_bytes(const q4fuse::gemm_shape& s) { return s.m * s.k * 2; }
inline int64_t q8_1_bytes(const q4fuse::gemm_shape& s) { return s.m * (s.k / q4fuse::kBlockSize) * 36; }
inline int64_t q4_0_bytes(const q4fuse::gemm_shape& s) { return s.n * (s.k / q4fuse::kBlockSize) * 18; }

/// What the threads of a GEMM ask for, from how its family splits the work.
struct gemm_traffic {
  int64_t ctas;
  int64_t x_rows;  ///< rows of activations that all CTAs together read
  int64_t w_rows;  ///< and rows of weights
  int64_t q8_1_block_bytes = 36;
};

inline gemm_traffic expected_traffic(const q4fuse::kernel_config& planned, const q4fuse::gemm_shape& s) {
  const q4fuse::kernel_config c = q4fuse::detail::launched_for(planned, s, true);
  const int64_t tiles_m = q4fuse::detail::ceil_div(s.m, c.tile_m);
  if (c.family == q4fuse::kernel_family::weight_bound) {
    // A CTA or cluster a multiprocessor, of small CTAs on tensor cores as many as make sixteen warps and fit its shared
    // memory, dealt to the tiles of tokens, as far as a row tile is left for each. Each reads its tokens once, and all
    // weights pass by once a tile of tokens. The last row tile ends with W, so that some rows are read twice.
    const int64_t rows = c.tile_n / c.warps_n;
    const int64_t multiprocessors = c.cluster_k == 4 ? device.settings.sm_count * 15 / 16 : device.settings.sm_count;
    const int64_t fit = (device.settings.shared_memory_per_block + 1024) / (shared_memory_bytes(c, s) + 1024);
    const bool small = c.warps() <= 4 && c.instruction != q4fuse::dot_instruction::dp4a;
    const int64_t ctas = std::max<int64_t>(1, std::min<int64_t>(small ? 16 / c.warps() : 1, fit));
    const int64_t share = std::max<int64_t>(1, multiprocessors / c.cluster_k) * ctas / tiles_m;
    const int64_t clusters = std::min(q4fuse::detail::ceil_div(s.n, rows), std::max<int64_t>(1, share));
    return {clusters * tiles_m * c.cluster_k, clusters * s.m,
            tiles_m * (s.n < rows ? s.n : q4fuse::detail::round_up(s.n, rows))};
  }
  if (q4fuse::detail::works_in_rounds(c)) {
    // The same, but that each of the four lanes of a Q8_1 block reads its scale, and that where the k of a row tile is
    // enough for few of the warps that slice it, each group of those reads the tokens; CTAs that share them read them
    // once together.
    const bool sliced = c.family == q4fuse::kernel_family::sliced_k;
    const int64_t groups = sliced ? q4fuse::detail::row_tile_groups(c.warps(), s.k / q4fuse::kBlockSize) : 1;
    const int64_t multiprocessors = c.cluster_k >= 4 ? device.settings.sm_count * 15 / 16 : device.settings.sm_count;
    const int64_t share = std::max<int64_t>(1, multiprocessors / (c.cluster_k * c.cluster_n)) / tiles_m;
    const int64_t clusters = std::min(q4fuse::detail::ceil_div(s.n, 16 * c.cluster_n), std::max<int64_t>(1, share));
    return {clusters * tiles_m * c.cluster_k * c.cluster_n, clusters * groups * s.m,
            tiles_m * (s.n < 16 ? s.n : q4fuse::detail::round_up(s.n, 16)), 32 + 4 * 2};
  }
  const int64_t tiles_n = q4fuse::detail::ceil_div(s.n, c.tile_n);
  // In the warpgroup family a CTA computes several tiles where there are more than multiprocessors. Tensor copies,
  // which rows of whole pieces allow, bring blocks as they are, once for all CTAs of a cluster that converts them
  // together; without them each of the four lanes of a block reads its scale. The last tile of many tokens ends with
  // them, so that it is whole. Where CTAs of a cluster share the k of a tile, as in the tile family, each has one.
  if (c.family == q4fuse::kernel_family::warpgroup) {
    const bool tensor_copies = s.k % 256 == 0;
    const int64_t clusters_n = q4fuse::detail::ceil_div(tiles_n, c.cluster_n);
    const int64_t most = c.cluster_k > 1 ? clusters_n * tiles_m : device.settings.sm_count / c.cluster_n;
    const int64_t clusters = std::min<int64_t>(clusters_n * tiles_m, most);
    return {clusters * c.cluster_n * c.cluster_k,
            clusters_n * (tensor_copies ? 1 : c.cluster_n) * (s.m > c.tile_m ? tiles_m * c.tile_m : s.m), tiles_m * s.n,
            tensor_copies ? 36 : 32 + 4 * 2};
  }
  return {tiles_n * tiles_m * c.cluster_k, tiles_n * s.m, tiles_m * s.n};
}

}  // namespace q4fuse_emulator
