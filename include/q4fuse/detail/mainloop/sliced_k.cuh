#pragma once

// A few tokens of rows that are not long: quantizing has to be over soon, and then the weights are the traffic. The
// warps of a CTA slice k: each converts the activations of the tile's tokens for one piece, and keeps them in
// registers. No warp waits for another's, and multiplying reads nothing but weights from shared memory, where they come
// through a ring of the warp's own. Every warp walks over all row tiles of its CTA, or of its group where pieces are
// few; what it adds up for a row tile is a partial sum, and a round of row tiles ends with their exchange, as in the
// stream-K family.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/epilogue/partial_sums.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/held_activations.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/policy.cuh>
#include <q4fuse/detail/tile/weight_ring.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The pieces of a warp: the same one of every row tile of its group.
template <class Policy>
class column_walk {
 public:
  __device__ column_walk(const row_tiles<Policy>& tiles, int piece, bool exists)
      : tiles_(tiles), tile_(exists ? tiles.first : tiles.count), piece_(piece) {}
  __device__ __forceinline__ bool done() const { return tile_ >= tiles_.count; }
  __device__ __forceinline__ int tile() const { return tile_; }
  __device__ __forceinline__ int piece() const { return piece_; }
  static constexpr int kPieceStep = 0;  // the next one is nowhere near
  __device__ __forceinline__ bool advance() {
    tile_ += tiles_.step;
    return true;
  }

 private:
  const row_tiles<Policy>& tiles_;
  int tile_;
  int piece_;
};

/// Where sums of the row tiles of a round are: a slot for each warp that slices their k.
struct slot_of_every_warp {
  int tile_warps;
  __device__ __forceinline__ slot_range of(int tile, int /*pieces*/) const { return {tile * tile_warps, tile_warps}; }
};

template <class Policy, template <int, int> class Activations>
__device__ __forceinline__ void sliced_k_mainloop(const gemm_arguments& arguments) {
  static_assert(Policy::kWarpRows == 16 && Policy::kWarpsN == 1, "every warp can take any row tile");
  static_assert(Policy::kClusterK == 1, "a CTA has all of k");
  using portion = typename Activations<kWarpSize, 1>::portion;
  constexpr int kTokenTiles = Policy::kTileM / 8;
  const int tile_warps = warps_of_row_tile(arguments.k_blocks);
  // The activations wait for all that comes before them, and divisions are slow: most shapes need neither.
  const auto cta = static_cast<unsigned>(arch::cta_index());
  unsigned row_cta = cta;
  unsigned token_tile = 0;
  if (arguments.m > Policy::kTileM) {
    const auto token_tiles = static_cast<unsigned>(ceil_div(arguments.m, Policy::kTileM));
    row_cta = cta / token_tiles;
    token_tile = cta - row_cta * token_tiles;
  }
  const int warp = arch::warp_index();
  int groups = 1;  // row_tile_groups(), in one branch with the division for the warp's own
  int group = 0;
  if (2 * tile_warps <= Policy::kWarps) {
    groups = static_cast<int>(Policy::kWarps / static_cast<unsigned>(tile_warps));
    group = static_cast<int>(static_cast<unsigned>(warp) / static_cast<unsigned>(tile_warps));
  }
  const int piece = warp - group * tile_warps;
  const bool has_piece = group < groups && piece < tile_warps;  // warps may be left over
  const int64_t first_token = int64_t{token_tile} * Policy::kTileM;
  const int64_t tokens_left = arguments.m - first_token;
  const int tokens = tokens_left < Policy::kTileM ? static_cast<int>(tokens_left) : Policy::kTileM;

  // Activations are loaded ahead of the weights, where nothing has to be waited for, because a load that is issued
  // behind a burst of copies waits for all of them. The copies that a multiprocessor can have on their way are fewer
  // than those of all stages, and whoever issues more stands still: all but the last are enough while activations are
  // encoded. With dependent launch only weights may be touched before the wait.
  held_activations<portion, kTokenTiles> activations(arguments.x, first_token, has_piece ? tokens : 0, piece,
                                                     arguments.k_blocks);
  if (!arguments.dependent) activations.load();

  const auto row_ctas = static_cast<unsigned>(arguments.row_clusters);
  const row_tiles<Policy> tiles(arguments.n, static_cast<int>(row_cta), static_cast<int>(row_ctas));
  const row_tiles<Policy> group_tiles(arguments.n, static_cast<int>(row_cta + group * row_ctas),
                                      static_cast<int>(row_ctas) * groups);
  const int own_tiles = static_cast<int>((static_cast<unsigned>(tiles.count) - row_cta + row_ctas - 1) / row_ctas);
  const int slots = arguments.round_tiles * tile_warps;
  const sliced_k_layout map = make_sliced_k_layout(Policy::kWarps, Policy::kStages, Policy::kTileM, slots);
  uint8_t* const shared = arch::shared_memory();
  const partial_sums<Policy> partials(shared + map.partials, slots);
  constexpr int kRingBytes = Policy::kStages * Policy::kWarpRows * Policy::kPieceBytes;
  weight_ring<Policy, column_walk<Policy>, false> ring(arguments, static_cast<int>(map.weights) + warp * kRingBytes,
                                                       group_tiles, {group_tiles, piece, has_piece});
  if (arguments.dependent) {
    ring.prefill(0, Policy::kStages);
    if constexpr (arch::kTargetHas<90>) arch::wait_for_dependencies();
    activations.load();
  } else {
    ring.prefill(0, Policy::kStages - 1);
  }
  held_piece<kTokenTiles> x;
  if (has_piece) activations.encode(x, shared + map.conversion + warp * split_piece_bytes(8));
  if (!arguments.dependent) ring.prefill(Policy::kStages - 1, Policy::kStages);

#pragma unroll 1
  for (int first = 0; first < own_tiles; first += arguments.round_tiles) {
    const int left = own_tiles - first;
    const int count = left < arguments.round_tiles ? left : arguments.round_tiles;
    if (first > 0) arch::sync_cta();  // all sums of the last round have been read
#pragma unroll 1
    for (int tile = has_piece ? group : count; tile < count; tile += groups) {
      typename Policy::dot dot;
      dot.clear();
      dot.add_piece(ring.wait(), x);
      ring.advance();
      // The number of warps is computed again, the lane read again: there are no registers to keep them in beside the
      // activations.
      partials.place(dot, tile * warps_of_row_tile(arguments.k_blocks) + piece, arch::fresh_lane_index());
    }
    partials.add_and_store(arguments, arguments.k_blocks, tiles, first, count, token_tile, tokens,
                           slot_of_every_warp{tile_warps}, [] { arch::sync_cta(); });
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
