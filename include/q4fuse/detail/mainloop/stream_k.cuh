#pragma once

// Up to tens of tokens: the weights are still much of the traffic, and each weight is multiplied so often that every
// warp has to have as much to do as the others. A CTA keeps the activations of a tile of tokens over its slice of k in
// shared memory. Row tiles of W are dealt to clusters, whose CTAs share k; within a CTA the row tiles of a round times
// the pieces of its slice form one sequence, of which every warp takes an equal span ("stream-K"), through a ring of
// its own. Spans end anywhere: what a warp adds up for a row tile is a partial sum, and a round ends with their
// exchange.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/epilogue/partial_sums.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/copy.cuh>
#include <q4fuse/detail/tile/k_slice.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/policy.cuh>
#include <q4fuse/detail/tile/split_activations.cuh>
#include <q4fuse/detail/tile/weight_ring.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// How the row tiles of a round and the pieces of a slice of k, one sequence, are divided among kWarps warps.
template <int kWarps>
struct round_split {
  int work;  ///< row tiles times pieces

  __device__ __forceinline__ int begin(int warp) const {
    return work >= kWarps ? warp * work / kWarps : warp < work ? warp : work;
  }
  /// The warp whose span an element of the sequence is in: ((element + 1) * warps - 1) / work, rounded down. With 0.5
  /// in place of 1 that is the same, and no quotient is nearer to an integer than 0.5 / work: an approximate one will
  /// do for less than 2^17 elements, and the pieces and sums of so many do not fit shared memory.
  __device__ __forceinline__ int owner(int element) const {
    const float warps = arch::int_to_float_rn(work < kWarps ? work : kWarps);
    const float dividend = arch::fma_rn(arch::int_to_float_rn(element + 1), warps, -0.5f);
    return arch::float_to_int_rz(arch::mul_rn(dividend, arch::rcp_approx(arch::int_to_float_rn(work))));
  }
};

/// Where sums of the row tiles of a round are: a slot for each warp that has part of one.
template <int kWarps>
struct slots_of_spans {
  int round_tiles;

  __device__ __forceinline__ slot_range of(int tile, int pieces) const {
    if (pieces == 0) return {0, 0};
    const round_split<kWarps> split{round_tiles * pieces};
    const int first_warp = split.owner(tile * pieces);
    return {first_warp + tile, split.owner((tile + 1) * pieces - 1) + 1 - first_warp};
  }
};

/// A warp's part of a round.
struct warp_span {
  int tile;  ///< of the first piece, counted from the round's first one
  int piece;
  int length;  ///< in pieces; 0 where there are fewer than warps
};
template <int kWarps>
__device__ __forceinline__ warp_span span_of_warp(int round_tiles, int pieces) {
  const round_split<kWarps> split{round_tiles * pieces};
  const int begin = split.begin(arch::warp_index());
  const auto divisor = static_cast<unsigned>(pieces > 0 ? pieces : 1);
  const auto tile = static_cast<int>(static_cast<unsigned>(begin) / divisor);
  return {tile, begin - tile * pieces, split.begin(arch::warp_index() + 1) - begin};
}

/// The pieces of a warp, round by round.
template <class Policy>
class span_walk {
 public:
  /// `first` is the warp's span of the first round.
  __device__ span_walk(const row_tiles<Policy>& tiles, int own_tiles, int round_tiles, int pieces,
                       const warp_span& first)
      : tiles_(tiles), own_tiles_(own_tiles), round_tiles_(round_tiles), pieces_(pieces), span_(first) {
    if (span_.length == 0) next_round();
  }
  __device__ __forceinline__ bool done() const { return first_ >= own_tiles_; }
  __device__ __forceinline__ int tile() const { return tiles_.first + (first_ + span_.tile) * tiles_.step; }
  __device__ __forceinline__ int piece() const { return span_.piece; }
  static constexpr int kPieceStep = 1;
  __device__ __forceinline__ bool advance() {
    const bool end = ++span_.piece == pieces_;
    if (end) {
      span_.piece = 0;
      ++span_.tile;
    }
    if (--span_.length > 0) return end;
    next_round();
    return true;
  }

 private:
  /// To the next round in which the warp has a piece.
  __device__ __forceinline__ void next_round() {
#pragma unroll 1
    do {
      first_ += round_tiles_;
      if (done()) return;
      const int left = own_tiles_ - first_;
      span_ = span_of_warp<Policy::kWarps>(left < round_tiles_ ? left : round_tiles_, pieces_);
    } while (span_.length == 0);
  }

  const row_tiles<Policy>& tiles_;
  int own_tiles_;
  int round_tiles_;
  int pieces_;
  int first_ = 0;
  warp_span span_;
};

template <class Policy, template <int, int> class Activations>
__device__ __forceinline__ void stream_k_mainloop(const gemm_arguments& all_of_k) {
  static_assert(Policy::kWarpRows == 16 && Policy::kWarpsN == 1, "every warp can take any row tile");
  using portion = typename Activations<kWarpSize, 1>::portion;
  using piece_layout = split_piece<Policy::kTileM>;
  using barrier = exchange_barrier<Policy>;
  barrier::runs();
  const gemm_arguments arguments = slice_of_k<Policy>(all_of_k, portion::kSourceBlockBytes);
  const int pieces = static_cast<int>(ceil_div(arguments.k_blocks, kPieceBlocks));
  // Clusters with the same row tiles and different tokens are neighbours, so that they read the same weights together.
  const auto cluster = static_cast<unsigned>(arch::cta_index() / Policy::kClusterK);
  const auto token_tiles = static_cast<unsigned>(ceil_div(arguments.m, Policy::kTileM));
  const unsigned row_cluster = cluster / token_tiles;
  const unsigned token_tile = cluster - row_cluster * token_tiles;
  const int64_t first_token = int64_t{token_tile} * Policy::kTileM;
  const int64_t tokens_left = arguments.m - first_token;
  const int tokens = tokens_left < Policy::kTileM ? static_cast<int>(tokens_left) : Policy::kTileM;
  const int warp = arch::warp_index();

  // Activations are loaded ahead of the weights, where nothing has to be waited for, because a load that is issued
  // behind a burst of copies waits for all of them; two batches of them are always on their way. The copies that a
  // multiprocessor can have on their way are fewer than those of all stages: all but the last are enough while
  // activations are stored. With dependent launch only weights may be touched before the wait.
  using provider = split_activations<portion, Policy::kThreads, Policy::kTileM>;
  provider batch(arguments.x, first_token, arguments.k_blocks);
  provider next(arguments.x, first_token, arguments.k_blocks);
  typename provider::cursor stores = provider::first(warp, pieces);
  typename provider::cursor loads = stores;
  const auto load_next = [&](provider& target) {
    if (loads.token >= tokens) return;
    target.load(loads);
    loads.advance(pieces);
  };
  if (!arguments.dependent) {
    load_next(batch);
    load_next(next);
  }

  const auto row_clusters = static_cast<unsigned>(arguments.row_clusters);
  const row_tiles<Policy> tiles(arguments.n, static_cast<int>(row_cluster), static_cast<int>(row_clusters));
  const int own_tiles =
      static_cast<int>((static_cast<unsigned>(tiles.count) - row_cluster + row_clusters - 1) / row_clusters);
  const auto tiles_of_round = [&](int first) {
    return own_tiles - first < arguments.round_tiles ? own_tiles - first : arguments.round_tiles;
  };
  const stream_k_layout map = make_stream_k_layout(Policy::kWarps, Policy::kStages, Policy::kTileM, all_of_k.k_blocks,
                                                   Policy::kClusterK, arguments.round_tiles);
  uint8_t* const shared = arch::shared_memory();
  const int activation_offset = arch::keep(static_cast<int>(map.activations));
  const partial_sums<Policy> partials(shared + map.partials, Policy::kWarps + arguments.round_tiles - 1);
  constexpr int kRingBytes = Policy::kStages * Policy::kWarpRows * Policy::kPieceBytes;
  warp_span span = span_of_warp<Policy::kWarps>(tiles_of_round(0), pieces);
  weight_ring<Policy, span_walk<Policy>, false> ring(
      arguments, static_cast<int>(map.weights) + warp * kRingBytes, tiles,
      {tiles, pieces == 0 ? 0 : own_tiles, arguments.round_tiles, pieces, span});

  if (arguments.dependent) {
    ring.prefill(0, Policy::kStages);
    if constexpr (arch::kTargetHas<90>) arch::wait_for_dependencies();
    load_next(batch);
    load_next(next);
  }
#pragma unroll 1
  for (bool first = true;; first = false) {
    const bool all_stored = stores.token >= Policy::kTileM;
    if ((first || all_stored) && !arguments.dependent) {
      ring.prefill(first ? 0 : Policy::kStages - 1, all_stored ? Policy::kStages : Policy::kStages - 1);
    }
    if (all_stored) break;
    batch.store(stores, pieces, tokens, shared + activation_offset);
    stores.advance(pieces);
    batch = next;  // not before the first weights are asked for: it waits for what is on its way
    load_next(next);
  }
  arch::sync_cta();

#pragma unroll 1
  for (int first = 0; first < own_tiles; first += arguments.round_tiles) {
    const int count = tiles_of_round(first);
    if (first > 0) {
      barrier::has_read();
      span = span_of_warp<Policy::kWarps>(count, pieces);
    }
    bool waited = false;
#pragma unroll 1
    while (span.length > 0) {
      typename Policy::dot dot;
      dot.clear();
#pragma unroll 1
      for (; span.length > 0 && span.piece < pieces; --span.length, ++span.piece) {
        const uint8_t* const weights = ring.wait();
        dot.add_piece(weights, activation_offset + span.piece * piece_layout::kBytes,
                      arguments.k_blocks - span.piece * kPieceBlocks);
        ring.advance();
      }
      if (!waited) barrier::wait_to_write();
      waited = true;
      partials.place(dot, warp + span.tile, arch::lane_index());
      span.piece = 0;
      ++span.tile;
    }
    if (!waited) barrier::wait_to_write();
    partials.add_and_store(arguments, all_of_k.k_blocks, tiles, first, count, token_tile, tokens,
                           slots_of_spans<Policy::kWarps>{count}, [] { barrier::wait_to_read(); });
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
