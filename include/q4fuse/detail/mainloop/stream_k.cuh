#pragma once

// Tens of tokens: the weights are still much of the traffic, and each weight is multiplied so often that every warp has
// to have as much to do as the others. A CTA keeps the activations of a tile of tokens over its slice of k in shared
// memory. Row tiles of W are dealt to clusters, whose CTAs share k; within a CTA the row tiles of a round times the
// pieces of its slice form one sequence, of which every warp takes an equal span ("stream-K"), through a ring of its
// own. Spans end anywhere: what a warp adds up for a row tile is a partial sum, and a round ends with their exchange.

#include <q4fuse/detail/arch/cluster_sm90.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/pdl_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/epilogue/store.cuh>
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

/// Where partial sums of row tiles wait until they are added. Each CTA of a cluster adds those of its share of the
/// tokens, which all CTAs leave with it: a slot for every rank, and for every row tile that a warp has part of. A slot
/// holds them in fours, as lanes do: of two tokens and two rows, row after row.
template <class Policy>
class partial_sums {
 public:
  using dot = typename Policy::dot;
  static constexpr int kTokenPairs = Policy::kTileM / Policy::kClusterK / 2;  ///< of a share
  static_assert(kTokenPairs * 2 * Policy::kClusterK == Policy::kTileM, "the CTAs share the tokens evenly");
  static constexpr int kFours = 8 * kTokenPairs;

  __device__ partial_sums(uint8_t* shared, int round_tiles)
      : base_(reinterpret_cast<float4*>(shared)), slots_(Policy::kWarps + round_tiles - 1) {}

  /// Leaves a warp's sums of a row tile of the round with the CTAs that add them.
  __device__ __forceinline__ void place(const dot& sums, int warp, int tile) const {
    float4* const mine = slot(static_cast<int>(arch::cta_index() % Policy::kClusterK), warp + tile);
#pragma unroll
    for (int i = 0; i < Policy::kTileM / 8; ++i) {
      const int pair = 4 * i + dot::first_token() / 2;
      float4* const four = mine + pair % kTokenPairs * 8 + dot::first_row();
      if constexpr (Policy::kClusterK > 1) {
        arch::store_cluster(four, pair / kTokenPairs, sums.tile_sums(0, i));
      } else {
        arch::store_shared<float4>(four, sums.tile_sums(0, i));
      }
    }
  }

  /// Adds the sums of `count` row tiles from `first` on for the CTA's share of the tokens and stores them. `wait` waits
  /// for them: what does not depend on them is computed before. `all_blocks` are the blocks of all CTAs.
  template <class Wait>
  __device__ __forceinline__ void add_and_store(const gemm_arguments& arguments, int all_blocks,
                                                const row_tiles<Policy>& tiles, int first, int count,
                                                unsigned token_tile, int tokens, const Wait& wait) const {
    static_assert(Policy::kThreads % kFours == 0, "a thread has the same rows and tokens of every row tile");
    constexpr int kCtas = Policy::kClusterK;
    // Loads on their way at once: one of every CTA, or some of the only one.
    constexpr int kAhead = kCtas == 1 ? 4 : 1;
    const int thread = arch::warp_index() * kWarpSize + arch::fresh_lane_index();
    const int four = thread % kFours;
    const int token = static_cast<int>(arch::cta_index() % kCtas) * kTokenPairs * 2 + four / 8 * 2;
    const int row = four % 8;
    const int rows = arguments.n < Policy::kWarpRows ? static_cast<int>(arguments.n) : Policy::kWarpRows;
    const int fewest_pieces = static_cast<int>(ceil_div(all_blocks, kPieceBlocks)) / kCtas;  // some CTAs have one more
    const round_split<Policy::kWarps> split_of_fewest{count * fewest_pieces};
    const round_split<Policy::kWarps> split_of_more{count * (fewest_pieces + 1)};
    int tile = token < tokens ? thread / kFours : count;
    wait();
#pragma unroll 1
    for (; tile < count; tile += Policy::kThreads / kFours) {
      const slot_range fewest = slots_of(tile, split_of_fewest, fewest_pieces);
      const slot_range more = kCtas > 1 ? slots_of(tile, split_of_more, fewest_pieces + 1) : fewest;
      const int longest = fewest.count > more.count ? fewest.count : more.count;
      float4 sum{};
#pragma unroll 1
      for (int i = 0; i < longest; i += kAhead) {
        float4 terms[kCtas * kAhead];
#pragma unroll
        for (int j = 0; j < kCtas * kAhead; ++j) {
          const int cta = j / kAhead;
          const int pieces = pieces_before(cta + 1, kCtas, all_blocks) - pieces_before(cta, kCtas, all_blocks);
          const bool has_more = kCtas > 1 && pieces > fewest_pieces;
          const int begin = has_more ? more.begin : fewest.begin;
          const int slots = has_more ? more.count : fewest.count;
          const int index = i + j % kAhead;
          terms[j] = index < slots ? arch::load_shared<float4>(slot(cta, begin + index) + four) : float4{};
        }
#pragma unroll
        for (int j = 0; j < kCtas * kAhead; ++j) sum = add(sum, terms[j]);
      }
      const int global_tile = tiles.first + (first + tile) * tiles.step;
      const int foreign_rows = tiles.foreign_rows(global_tile);
      const float sums[4] = {sum.x, sum.y, sum.z, sum.w};
      // The first token is computed again: there is no register to keep it in beside the activations.
      float* const y = arguments.y + (arch::fresh(token_tile) * Policy::kTileM + token) * arguments.ldy +
                       tiles.first_row(global_tile) + row;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int sum_row = row + i / 2 * 8;
        if (token + i % 2 < tokens && sum_row >= foreign_rows && sum_row < rows) {
          arch::store_global<float>(y + i % 2 * arguments.ldy + i / 2 * 8, output<dot>(sums[i]));
        }
      }
    }
  }

 private:
  /// Slots of a CTA that hold sums of a row tile, one for each warp that has part of it.
  struct slot_range {
    int begin;
    int count;
  };
  /// Of a CTA that has `pieces` pieces of each row tile.
  static __device__ __forceinline__ slot_range slots_of(int tile, const round_split<Policy::kWarps>& split,
                                                        int pieces) {
    if (pieces == 0) return {0, 0};
    const int first_warp = split.owner(tile * pieces);
    return {first_warp + tile, split.owner((tile + 1) * pieces - 1) + 1 - first_warp};
  }
  __device__ __forceinline__ float4* slot(int rank, int index) const {
    return base_ + (rank * slots_ + index) * kFours;
  }

  float4* base_;
  int slots_;
};

/// Partial sums are written, read, and written again. Where a cluster shares k, its CTAs write into each other's
/// memory: not before all of them run, and not before what is there has been read. They say so ahead, and wait only
/// then. Whatever a thread has read it has used by then, for what it stores.
template <class Policy>
struct exchange_barrier {
  static constexpr bool kCluster = Policy::kClusterK > 1;
  static __device__ __forceinline__ void runs() {
    if constexpr (kCluster) arch::arrive_cluster_relaxed();
  }
  static __device__ __forceinline__ void has_read() {
    if constexpr (kCluster) {
      arch::arrive_cluster_after_reads();
    } else {
      arch::sync_cta();
    }
  }
  static __device__ __forceinline__ void wait_to_write() {
    if constexpr (kCluster) arch::wait_cluster();
  }
  static __device__ __forceinline__ void wait_to_read() {
    if constexpr (kCluster) {
      arch::sync_cluster();
    } else {
      arch::sync_cta();
    }
  }
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
  const partial_sums<Policy> partials(shared + map.partials, arguments.round_tiles);
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
      partials.place(dot, warp, span.tile);
      span.piece = 0;
      ++span.tile;
    }
    if (!waited) barrier::wait_to_write();
    partials.add_and_store(arguments, all_of_k.k_blocks, tiles, first, count, token_tile, tokens,
                           [] { barrier::wait_to_read(); });
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
