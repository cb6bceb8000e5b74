#pragma once

// Small m: the weights are the traffic. A CTA keeps the activations of one tile of tokens, over all of k, in shared
// memory, and walks over its share of the rows of W: as many CTAs as run at once are dealt to the tiles of tokens.
// Its warps form kWarpsN groups that walk over row tiles of W independently. The kWarpsK warps of a group split k, each
// with a private ring of weight pieces in flight, so that no barrier ever stops the stream of loads; a tile ends with
// one barrier of the group and a sum over its warps in fixed order, or with neither where a group is one warp. Where a
// cluster shares k, its CTAs walk over the same row tiles and exchange their sums of several at once.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/epilogue/store.cuh>
#include <q4fuse/detail/tile/activations.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/k_slice.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/policy.cuh>
#include <q4fuse/detail/tile/token_rows.cuh>
#include <q4fuse/detail/tile/weight_ring.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Portions of activations that a thread loads at once, and those that it encodes beside each other, as many as fit the
/// registers.
inline constexpr int kActivationBatch = 4;
inline constexpr int kEncodedTogether = arch::kTargetHas<90> ? 4 : 1;

/// Neighbouring tiles go to different CTAs, so that a last, partial round of tiles is spread over all of them.
template <class Policy>
__device__ __forceinline__ row_tiles<Policy> tiles_of_group(const gemm_arguments& arguments, int group) {
  const auto cluster = static_cast<unsigned>(arch::cta_index()) / Policy::kClusterK;
  const auto row_cluster = static_cast<int>(cluster % static_cast<unsigned>(arguments.row_clusters));
  return {arguments.n, group * arguments.row_clusters + row_cluster, arguments.row_clusters * Policy::kWarpsN};
}

/// The pieces of a warp: for every row tile of its group, every kWarpsK-th piece of k.
template <class Policy>
class group_walk {
 public:
  __device__ group_walk(const row_tiles<Policy>& tiles, int first_piece, int pieces)
      : tiles_(tiles), tile_(tiles.first), piece_(first_piece), first_piece_(first_piece), pieces_(pieces) {
    if (first_piece_ >= pieces_) tile_ = tiles_.count;
  }
  __device__ __forceinline__ bool done() const { return tile_ >= tiles_.count; }
  __device__ __forceinline__ int tile() const { return tile_; }
  __device__ __forceinline__ int piece() const { return piece_; }
  static constexpr int kPieceStep = Policy::kWarpsK;
  __device__ __forceinline__ bool advance() {
    piece_ += kPieceStep;
    if (piece_ < pieces_) return false;
    piece_ = first_piece_;
    tile_ += tiles_.step;
    return true;
  }

 private:
  const row_tiles<Policy>& tiles_;
  int tile_;
  int piece_;
  int first_piece_;
  int pieces_;
};

/// Adds the sums of row tiles of all CTAs that share k, rank 0 first, and stores them: those of `count` tiles of each
/// group from its `first` on. Each CTA does so for its share of the rows. `tiles` are those of the first group.
template <class Policy>
__device__ __forceinline__ void store_exchanged_sums(const float* sums, const gemm_arguments& arguments,
                                                     const row_tiles<Policy>& tiles, int first, int count,
                                                     int64_t first_token, int tokens) {
  constexpr int kQuads = Policy::kWarpRows / 4 / Policy::kClusterK;  // of a token, four rows each
  static_assert(kQuads * 4 * Policy::kClusterK == Policy::kWarpRows, "the CTAs of a cluster share the rows evenly");
  const auto rank = static_cast<int>(arch::cta_index() % Policy::kClusterK);
  arch::sync_cluster();
  for (int index = arch::thread_index(); index < count * Policy::kWarpsN * tokens * kQuads; index += Policy::kThreads) {
    const int row = (rank * kQuads + index % kQuads) * 4;
    const int token = index / kQuads % tokens;
    const int place = index / kQuads / tokens;
    const int tile = tiles.first + place % Policy::kWarpsN * (tiles.step / Policy::kWarpsN) +
                     (first + place / Policy::kWarpsN) * tiles.step;
    if (tile >= tiles.count) continue;
    const int64_t y_row = tiles.first_row(tile) + row;
    const int foreign_rows = tiles.foreign_rows(tile) - row;
    // What is read must be stored, because that is what makes the last barrier wait for it.
    if (y_row >= arguments.n || foreign_rows >= 4) continue;
    float4 sum{};
#pragma unroll
    for (int part = 0; part < Policy::kClusterK; ++part) {
      const float4 term = arch::load_cluster(sums + (place * tokens + token) * Policy::kWarpRows + row, part);
      sum = part == 0 ? term : add(sum, term);
    }
    store_rows<Policy>(arguments, first_token + token, y_row, sum, foreign_rows);
  }
  arch::sync_cluster();  // no CTA goes on to other sums, or ends, while another reads its memory
}

template <class Policy, template <int, int> class Activations>
__device__ __forceinline__ void weight_bound_mainloop(const gemm_arguments& all_of_k) {
  static_assert(Policy::kWarpsM == 1, "every warp of this family works for all tokens of the tile");
  using provider = Activations<Policy::kThreads, kActivationBatch>;
  const gemm_arguments arguments = slice_of_k<Policy>(all_of_k, provider::portion::kSourceBlockBytes);
  const auto row_ctas = static_cast<unsigned>(arguments.row_clusters * Policy::kClusterK);
  const int64_t first_token = static_cast<unsigned>(arch::cta_index()) / row_ctas * int64_t{Policy::kTileM};
  const int64_t tokens_left = arguments.m - first_token;
  const int tokens = tokens_left < Policy::kTileM ? static_cast<int>(tokens_left) : Policy::kTileM;
  const int k_blocks = arguments.k_blocks;
  const int pieces = static_cast<int>(ceil_div(k_blocks, Policy::kPieceBlocks));
  const int warp = arch::warp_index();
  const int group = warp / Policy::kWarpsK;
  const int warp_k = warp % Policy::kWarpsK;
  const row_tiles<Policy> tiles = tiles_of_group<Policy>(arguments, group);

  // Shared memory.
  const weight_bound_layout map =
      make_weight_bound_layout(Policy::kWarpsN, Policy::kWarpsK, Policy::kWarpRows, Policy::kPieceBlocks,
                               Policy::kStages, tokens, all_of_k.k_blocks, Policy::kClusterK, Policy::kBlockBytes);
  uint8_t* const shared = arch::shared_memory();
  uint8_t* const activations = shared + arch::keep(static_cast<int>(map.activations));
  const int activation_stride = static_cast<int>(activation_row_bytes(k_blocks, Policy::kBlockBytes));

  constexpr int kRingBytes = Policy::kStages * Policy::kWarpRows * Policy::kPieceBytes;
  weight_ring<Policy, group_walk<Policy>, true> ring(arguments, static_cast<int>(map.weights) + warp * kRingBytes,
                                                     tiles, {tiles, warp_k, pieces});
  static_assert(provider::kBlockBytes == Policy::kBlockBytes, "the activations are not what the dot multiplies");
  const activation_region region{first_token, 0, tokens, tokens, k_blocks, static_cast<int>(round_up(k_blocks, 2))};
  provider current(arguments.x, region);
  auto loads = current.begin_loads();
  auto stores = current.begin_stores(activation_tile{activations, activation_stride});
  // Activations are loaded ahead of the weights, where nothing has to be waited for, because a load that is issued
  // behind a burst of copies waits for all of them; two batches of them are always on their way. The copies that a
  // multiprocessor can have on their way are fewer than those of all stages: all but the last are enough while
  // activations are stored, unless those of few tokens are there at once. With dependent launch only weights may be
  // touched before the wait.
  if (arguments.dependent) {
    ring.prefill(0, Policy::kStages);
    if constexpr (arch::kTargetHas<90>) arch::wait_for_dependencies();
  }
  // No copy of a batch before the first weights are asked for: it would wait for what is on its way.
  provider next(arguments.x, region);
  if (loads.warp_has_place()) current.load(loads);
  const int ahead = Policy::kFewTokens && !loads.warp_has_place() ? Policy::kStages : Policy::kStages - 1;
#pragma unroll 1
  for (bool first = true;; first = false) {
    if (loads.warp_has_place()) next.load(loads);
    const bool all_stored = !stores.warp_has_place();
    if ((first || all_stored) && !arguments.dependent) {
      ring.prefill(first ? 0 : ahead, all_stored ? Policy::kStages : ahead);
    }
    if (all_stored) break;
    current.template store<clamped_token_rows::scales, kEncodedTogether>(stores);
    current = next;
  }
  arch::sync_cta();

  // Row tiles of W. Two buffers of partial sums alternate, so that one barrier a tile is enough.
  const clamped_token_rows rows{activation_stride, tokens - 1};
  const int partial_floats = tokens * partial_row_floats(Policy::kWarpRows);
  float* const partials = reinterpret_cast<float*>(shared + map.partials);
  const int group_thread = arch::keep(warp_k * kWarpSize + arch::lane_index());
  int buffer = 0;
  const auto multiply_tile = [&](const auto& store) {
    typename Policy::dot dot;
    dot.clear();
    for (int piece = warp_k; piece < pieces; piece += Policy::kWarpsK) {
      const uint8_t* weights = ring.wait();
      multiply_piece(dot, weights, activations + piece * Policy::kPieceBlocks * Policy::kBlockBytes,
                     k_blocks - piece * Policy::kPieceBlocks, rows);
      ring.advance();
    }
    if constexpr (Policy::kWarpsK == 1) {
      dot.for_each(store);
    } else {
      float* const group_partials = partials + (buffer * Policy::kWarps + group * Policy::kWarpsK) * partial_floats;
      float* const mine = group_partials + warp_k * partial_floats;
      dot.for_each([&](int row, int token, float sum) {
        if (token < tokens) arch::store_shared<float>(mine + token * partial_row_floats(Policy::kWarpRows) + row, sum);
      });
      arch::sync_named(1 + group, Policy::kWarpsK * kWarpSize);
      add_partial_sums<Policy>(group_partials, tokens, group_thread, store);
      buffer ^= 1;
    }
  };
  if constexpr (!Policy::kSharesK) {
    for (int tile = tiles.first; tile < tiles.count; tile += tiles.step) {
      const int64_t first_row = tiles.first_row(tile);
      const int foreign_rows = tiles.foreign_rows(tile);
      multiply_tile([&](int row, int token, float sum) {
        if (row < foreign_rows) return;
        store_output<typename Policy::dot>(arguments, first_token + token, first_row + row, sum);
      });
    }
  } else {
    static_assert(Policy::kWarpsK > 1, "sums pass through shared memory");
    float* const sums = reinterpret_cast<float*>(shared + map.sums);
    const int rounds = static_cast<int>(ceil_div(tiles.count, tiles.step));  // as many for the CTAs of a cluster
    for (int round = 0; round < rounds; ++round) {
      if (tiles.first + round * tiles.step < tiles.count) {
        float* const place = sums + (round % kExchangedTiles * Policy::kWarpsN + group) * tokens * Policy::kWarpRows;
        multiply_tile([&](int row, int token, float sum) {
          arch::store_shared<float>(place + token * Policy::kWarpRows + row, sum);
        });
      }
      if ((round + 1) % kExchangedTiles == 0 || round + 1 == rounds) {
        const int first = round / kExchangedTiles * kExchangedTiles;
        store_exchanged_sums<Policy>(sums, arguments, tiles_of_group<Policy>(arguments, 0), first, round + 1 - first,
                                     first_token, tokens);
      }
    }
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
