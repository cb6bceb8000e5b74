#pragma once

// From FP32 sums to Y: undoes the dot's own factor and stores what lies inside the matrix.

#include <q4fuse/detail/arch/cluster_sm90.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The element of Y that a sum stands for. The compiler keeps a product with 1, which quiets a NaN.
template <class Dot>
__device__ __forceinline__ float output(float sum) {
  return Dot::kSumScale == 1.0f ? sum : arch::mul_rn(sum, Dot::kSumScale);
}

template <class Dot>
__device__ __forceinline__ void store_output(const gemm_arguments& arguments, int64_t token, int64_t row, float sum) {
  if (token < arguments.m && row < arguments.n) {
    arch::store_global<float>(arguments.y + token * arguments.ldy + row, output<Dot>(sum));
  }
}

/// Stores the sums of a warp tile that lie inside Y, tokens from `own_token` on, or all of them. One pointer walks over
/// the token tiles, because an address each would not fit the registers. Lanes hold sums as mma does: one store writes
/// eight rows of four tokens, whole sectors of 32 bytes where Y is aligned to that, so that a detour through shared
/// memory would gain nothing.
template <bool kAll, class Dot>
__device__ __forceinline__ void store_tile(const Dot& dot, const gemm_arguments& arguments, int64_t first_row,
                                           int64_t first_token, int64_t own_token) {
  // Computed ahead of a loop over tiles, its multiples would take ten registers from the sums.
  const int64_t ldy = arch::fresh(arguments.ldy);
  const int64_t row = first_row + Dot::first_row();
  float* lane = arguments.y + (first_token + Dot::first_token()) * ldy + row;
  // Tokens are counted from the first own one, and those beyond the tile do not matter: 32 bits are enough.
  const int64_t rows_left = arguments.n - row;
  const int64_t tokens_left = arguments.m > own_token ? arguments.m - own_token : 0;
  const int rows = rows_left < Dot::kRows ? static_cast<int>(rows_left) : Dot::kRows;
  const auto tokens = static_cast<unsigned>(tokens_left < Dot::kTokens ? tokens_left : Dot::kTokens);
  int token = static_cast<int>(first_token - own_token) + Dot::first_token();
  dot.for_each_by_tile(
      [&](int i, int j, float sum) {
        if (kAll || (i < rows && static_cast<unsigned>(token + j) < tokens)) {
          arch::store_global<float>(lane + j * ldy + i, output<Dot>(sum));
        }
      },
      [&] {
        lane += 8 * ldy;
        token += 8;
      });
}

template <class Dot>
__device__ __forceinline__ void store_sums(const Dot& dot, const gemm_arguments& arguments, int64_t first_row,
                                           int64_t first_token, int64_t own_token) {
  if (first_row + Dot::kRows <= arguments.n && first_token + Dot::kTokens <= arguments.m && first_token >= own_token) {
    store_tile<true>(dot, arguments, first_row, first_token, own_token);
  } else {
    store_tile<false>(dot, arguments, first_row, first_token, own_token);
  }
}

/// Adds the partial sums of the kWarpsK warps of a group, warp 0 first, and gives them to `store`; `thread` counts
/// within the group. `partials` holds `tokens` rows per warp.
template <class Policy, class Store>
__device__ __forceinline__ void add_partial_sums(const float* partials, int tokens, int thread, const Store& store) {
  constexpr int kStride = partial_row_floats(Policy::kWarpRows);
  for (int index = thread; index < tokens * Policy::kWarpRows; index += Policy::kWarpsK * kWarpSize) {
    const int token = index / Policy::kWarpRows;
    const int row = index % Policy::kWarpRows;
    const float* element = partials + token * kStride + row;
    float sum = arch::load_shared<float>(element);
#pragma unroll
    for (int warp = 1; warp < Policy::kWarpsK; ++warp) {
      sum = arch::add_rn(sum, arch::load_shared<float>(element + warp * tokens * kStride));
    }
    store(row, token, sum);
  }
}

__device__ __forceinline__ float4 add(const float4& a, const float4& b) {
  return {arch::add_rn(a.x, b.x), arch::add_rn(a.y, b.y), arch::add_rn(a.z, b.z), arch::add_rn(a.w, b.w)};
}

/// Sums of four neighbouring rows, those that lie inside Y and are not among the first `foreign_rows`.
template <class Policy>
__device__ __forceinline__ void store_rows(const gemm_arguments& arguments, int64_t token, int64_t row,
                                           const float4& sum, int foreign_rows = 0) {
  const float sums[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (i >= foreign_rows) store_output<typename Policy::dot>(arguments, token, row + i, sums[i]);
  }
}

/// Puts the sums of a warp tile into the CTA's partial tile, kTileM rows of tokens.
template <class Policy>
__device__ __forceinline__ void place_partial_tile(const typename Policy::dot& dot, float* partials, int warp_row,
                                                   int warp_token) {
  constexpr int kStride = partial_row_floats(Policy::kTileN);
  float* const mine = partials + warp_token * kStride + warp_row;
  dot.for_each([&](int row, int token, float sum) { arch::store_shared<float>(mine + token * kStride + row, sum); });
}

/// Adds the partial tiles of the CTAs that share k, rank 0 first, and in each those of its kWarpsK groups of warps, and
/// stores them, tokens from `own_token` on. Each CTA of the cluster does so for its share of the rows. By all of its
/// threads, of which those add that are told to, `thread` of `threads`.
template <class Policy, bool kAdds>
__device__ __forceinline__ void store_shared_tile(const float* partials, const gemm_arguments& arguments,
                                                  int64_t first_row, int64_t first_token, int64_t own_token, int rank,
                                                  int thread, int threads) {
  constexpr int kStride = partial_row_floats(Policy::kTileN);
  // Of a token, four rows each.
  constexpr int kQuads = static_cast<int>(ceil_div(Policy::kTileN / 4, Policy::kClusterK));
  arch::sync_cluster();
  if constexpr (kAdds) {
    const int64_t tokens_left = arguments.m - first_token;
    const int foreign_tokens = static_cast<int>(own_token - first_token);
    const int tokens = (tokens_left < Policy::kTileM ? static_cast<int>(tokens_left) : Policy::kTileM) - foreign_tokens;
#pragma unroll(Policy::kWarpsK > 1 ? 2 : 1)
    for (int index = thread; index < tokens * kQuads; index += threads) {
      const int token = foreign_tokens + index / kQuads;
      const int row = (rank * kQuads + index % kQuads) * 4;
      // What is read must be stored, because that is what makes the last barrier wait for it.
      if (row >= Policy::kTileN || first_row + row >= arguments.n) continue;
      float4 sum{};
#pragma unroll
      for (int part = 0; part < Policy::kClusterK * Policy::kWarpsK; ++part) {
        const float* const place = partials + (part % Policy::kWarpsK * Policy::kTileM + token) * kStride + row;
        // Those of the CTA itself the shorter way, where it has several.
        const int source = part / Policy::kWarpsK;
        const bool own = Policy::kWarpsK > 1 && source == rank;
        const float4 term = own ? arch::load_shared<float4>(place) : arch::load_cluster(place, source);
        sum = part == 0 ? term : add(sum, term);
      }
      store_rows<Policy>(arguments, first_token + token, first_row + row, sum);
    }
  }
  arch::sync_cluster_relaxed();  // no CTA ends while another reads its memory
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
