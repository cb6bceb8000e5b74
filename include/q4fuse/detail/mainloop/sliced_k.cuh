#pragma once

// A few tokens of rows that are not long: quantizing has to be over soon, and then the weights are the traffic. The
// warps of a CTA slice k: each converts the activations of the tile's tokens for one piece, and keeps them in
// registers. No warp waits for another's, and multiplying reads nothing but weights from shared memory. Every warp
// walks over all row tiles of its CTA, or of its group where pieces are few; what it adds up for a row tile is a
// partial sum, and a round of row tiles ends with their exchange, as in the stream-K family.
//
// Weights come through a ring of each warp's own or, on sm_90, as whole rows for all warps. Two CTAs, neighbours along
// n, then convert half of the tokens each, for both: they need the same, and what all CTAs read of X together takes the
// L2 as long as the weights.

#include <q4fuse/detail/arch/cluster_sm90.cuh>
#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/epilogue/partial_sums.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/held_activations.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/policy.cuh>
#include <q4fuse/detail/tile/row_ring.cuh>
#include <q4fuse/detail/tile/weight_ring.cuh>

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

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

/// What a warp knows about its place.
struct sliced_k_place {
  int warp;
  int groups;  ///< of warps, each with a row tile at a time
  int group;
  int tile_warps;  ///< of a group
  __device__ __forceinline__ int piece() const { return warp - group * tile_warps; }
  /// Warps may be left over.
  __device__ __forceinline__ bool has_piece() const { return group < groups && piece() < tile_warps; }
};

/// Weights through a ring of the warp's own. A load that is issued behind a burst of copies waits for all of them, and
/// the copies that a multiprocessor can have on their way are fewer than those of all stages: all but the last are
/// enough while activations are encoded, unless there is time.
template <class Policy>
class own_pieces {
 public:
  static constexpr int kRowBytes = kWeightPieceBytes;

  __device__ __forceinline__ own_pieces(const gemm_arguments& arguments, const sliced_k_layout& map,
                                        const row_tiles<Policy>& /*tiles*/, const row_tiles<Policy>& group_tiles,
                                        const sliced_k_place& place)
      : ring_(arguments, static_cast<int>(map.weights) + place.warp * kRingBytes, group_tiles,
              {group_tiles, place.piece(), place.has_piece()}) {}

  __device__ __forceinline__ void begin(bool has_time) { ring_.prefill(0, Policy::kStages - (has_time ? 0 : 1)); }
  __device__ __forceinline__ void go_on(bool had_time) {
    if (!had_time) ring_.prefill(Policy::kStages - 1, Policy::kStages);
  }
  __device__ __forceinline__ const uint8_t* wait() { return ring_.wait(); }
  __device__ __forceinline__ void next() { ring_.advance(); }

 private:
  static constexpr int kRingBytes = Policy::kStages * Policy::kWarpRows * Policy::kPieceBytes;
  weight_ring<Policy, column_walk<Policy>, false> ring_;
};

/// Whole rows for all warps that have a piece. One turn is asked for ahead of the activations, in whose way more would
/// be, even where there is time. What follows replaces the turn before, which most warps have left by then.
template <class Policy>
class shared_rows {
 public:
  static constexpr int kRowBytes = row_ring<Policy>::kRowBytes;

  __device__ __forceinline__ shared_rows(const gemm_arguments& arguments, const sliced_k_layout& map,
                                         const row_tiles<Policy>& tiles, const row_tiles<Policy>& /*group_tiles*/,
                                         const sliced_k_place& place)
      : ring_(arguments, static_cast<int>(map.weights), arch::shared_memory() + map.barriers, tiles, place.groups,
              place.groups * place.tile_warps),
        place_(place) {
    if (place.warp == 0 && arch::lane_index() == 0) {
      ring_.make_barriers();
      arch::fence_mbarrier_init();
    }
    arch::sync_cta();
  }

  __device__ __forceinline__ void begin(bool /*has_time*/) { request(1); }
  __device__ __forceinline__ void go_on(bool /*had_time*/) { request(Policy::kStages - 2); }
  __device__ __forceinline__ const uint8_t* wait() const { return ring_.wait(place_.warp); }
  __device__ __forceinline__ void next() {
    ring_.release();
    ring_.request(place_.warp);
  }

 private:
  /// A loop for any number of turns, so that its code stands in few places.
  __device__ __forceinline__ void request(int turns) {
    if (!place_.has_piece()) return;
    turns = arch::keep(turns);
#pragma unroll 1
    for (int i = 0; i < turns; ++i) ring_.request(place_.warp);
  }

  row_ring<Policy> ring_;
  const sliced_k_place& place_;
};

template <class Policy, template <int, int> class Activations>
__device__ __forceinline__ void sliced_k_mainloop(const gemm_arguments& arguments) {
  static_assert(Policy::kWarpRows == 16 && Policy::kWarpsN == 1, "every warp can take any row tile");
  static_assert(Policy::kClusterK == 1, "a CTA has all of k");
  using portion = typename Activations<kWarpSize, 1>::portion;
  constexpr int kTokenTiles = Policy::kTileM / 8;
  constexpr unsigned kSharers = Policy::kClusterN;
  sliced_k_place place{arch::warp_index(), 1, 0, warps_of_row_tile(arguments.k_blocks)};
  // The activations wait for all that comes before them, and divisions are slow: most shapes need neither.
  const auto cta = static_cast<unsigned>(arch::cta_index());
  const auto rank = static_cast<int>(cta % kSharers);
  unsigned cluster = cta / kSharers;
  unsigned token_tile = 0;
  if (arguments.m > Policy::kTileM) {
    const auto token_tiles = static_cast<unsigned>(ceil_div(arguments.m, Policy::kTileM));
    const unsigned all = cluster;
    cluster = all / token_tiles;
    token_tile = all - cluster * token_tiles;
  }
  // row_tile_groups(), in one branch with the division for the warp's own.
  if (2 * place.tile_warps <= Policy::kWarps) {
    place.groups = static_cast<int>(Policy::kWarps / static_cast<unsigned>(place.tile_warps));
    place.group = static_cast<int>(static_cast<unsigned>(place.warp) / static_cast<unsigned>(place.tile_warps));
  }
  const int64_t first_token = int64_t{token_tile} * Policy::kTileM;
  const int64_t tokens_left = arguments.m - first_token;
  const int tokens = tokens_left < Policy::kTileM ? static_cast<int>(tokens_left) : Policy::kTileM;

  // Activations are loaded ahead of the weights, where nothing has to be waited for. With dependent launch only weights
  // may be touched before the wait.
  using held = held_activations<portion, kTokenTiles, static_cast<int>(kSharers)>;
  held activations(arguments.x, first_token, place.has_piece() ? tokens : 0, rank, place.piece(), arguments.k_blocks);
  if (!arguments.dependent) activations.load();

  const auto row_ctas = static_cast<unsigned>(arguments.row_clusters);
  const unsigned row_cta = cluster * kSharers + rank;
  const row_tiles<Policy> tiles(arguments.n, static_cast<int>(row_cta), static_cast<int>(row_ctas));
  const row_tiles<Policy> group_tiles(arguments.n, static_cast<int>(row_cta + place.group * row_ctas),
                                      static_cast<int>(row_ctas) * place.groups);
  const int own_tiles = static_cast<int>((static_cast<unsigned>(tiles.count) - row_cta + row_ctas - 1) / row_ctas);
  const int slots = arguments.round_tiles * place.tile_warps;
  const sliced_k_layout map = make_sliced_k_layout(Policy::kWarps, Policy::kStages, Policy::kTileM, kSharers, slots);
  uint8_t* const shared = arch::shared_memory();
  uint8_t* const passed = shared + map.conversion + place.warp * static_cast<int>(round_up(held::piece::kBytes, 256));
  // Where CTAs share: one at which the warp's activations count that come from others, and one at which warps arrive
  // that have taken theirs, whose place sums take.
  uint8_t* const barriers = shared + map.barriers + row_ring<Policy>::kBarriers * arch::kMbarrierBytes;
  uint8_t* const arrived = barriers + place.warp * arch::kMbarrierBytes;
  uint8_t* const taken = barriers + Policy::kWarps * arch::kMbarrierBytes;
  if constexpr (kSharers > 1) {
    if (arch::lane_index() == 0) {
      arch::mbarrier_init(arrived, 1);
      if (place.warp == 0) arch::mbarrier_init(taken, Policy::kWarps);
      arch::fence_mbarrier_init();
    }
  }
  using weight_source = std::conditional_t<Policy::kCopiesRows, shared_rows<Policy>, own_pieces<Policy>>;
  weight_source weights(arguments, map, tiles, group_tiles, place);
  if constexpr (kSharers > 1) arch::arrive_cluster_relaxed();
  weights.begin(arguments.dependent);
  if (arguments.dependent) {
    if constexpr (arch::kTargetHas<90>) arch::wait_for_dependencies();
    activations.load();
  }
  held_piece<kTokenTiles> x;
  if constexpr (kSharers == 1) {
    if (place.has_piece()) activations.encode_and_take(x, passed);
    weights.go_on(arguments.dependent);
  } else {
    if (place.has_piece()) activations.encode(passed);
    arch::wait_cluster();  // the others' barriers exist
    if (place.has_piece()) activations.pass_on(passed, arrived);
    weights.go_on(arguments.dependent);
    if (place.has_piece()) activations.take(x, passed, arrived);
    arch::arrive_cluster_relaxed();
    arch::sync_warp();
    if (arch::lane_index() == 0) arch::mbarrier_arrive(taken);
  }

  const partial_sums<Policy> partials(shared + map.partials, slots);
#pragma unroll 1
  for (int first = 0; first < own_tiles; first += arguments.round_tiles) {
    const int left = own_tiles - first;
    const int count = left < arguments.round_tiles ? left : arguments.round_tiles;
    if (first > 0) arch::sync_cta();  // all sums of the last round have been read
#pragma unroll 1
    for (int tile = place.has_piece() ? place.group : count; tile < count; tile += place.groups) {
      typename Policy::dot dot;
      dot.clear();
      dot.template add_piece<weight_source::kRowBytes>(weights.wait(), x);
      weights.next();
      if constexpr (kSharers > 1) {
        if (first == 0) arch::mbarrier_wait(taken, 0);
      }
      // The number of warps is computed again, the lane read again: there are no registers to keep them in beside the
      // activations.
      partials.place(dot, tile * warps_of_row_tile(arguments.k_blocks) + place.piece(), arch::fresh_lane_index());
    }
    partials.add_and_store(arguments, arguments.k_blocks, tiles, first, count, token_tile, tokens,
                           slot_of_every_warp{place.tile_warps}, [] { arch::sync_cta(); });
  }
  if constexpr (kSharers > 1) arch::wait_cluster();  // what was copied to others has arrived there
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
