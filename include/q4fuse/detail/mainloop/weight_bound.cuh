#pragma once

// Small m: the weights are the traffic. A CTA keeps the activations of its tokens over all of k in shared memory.
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
#include <q4fuse/detail/tile/copy.cuh>
#include <q4fuse/detail/tile/k_slice.cuh>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/policy.cuh>
#include <q4fuse/detail/tile/token_rows.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Portions of activations that a thread loads at once.
inline constexpr int kActivationBatch = 4;

/// The row tiles of a group of warps. Neighbouring tiles go to different CTAs, so that a last, partial round of tiles
/// is spread over all of them. 32 bits count them: 2^31 row tiles are more than 600 GB of weights. The last tile ends
/// with W: where rows do not fill it, it begins with some of the tile before, which it does not store.
template <class Policy>
struct row_tiles {
  int first;
  int step;
  int count;         ///< of all groups together
  int64_t last_row;  ///< first row of the last tile

  __device__ row_tiles(int64_t n, int group)
      : first(static_cast<int>(group * clusters() + arch::cta_index() / Policy::kClusterK)),
        step(static_cast<int>(clusters()) * Policy::kWarpsN),
        count(static_cast<int>(ceil_div(n, Policy::kWarpRows))),
        last_row(n < Policy::kWarpRows ? 0 : n - Policy::kWarpRows) {}

  __device__ __forceinline__ int64_t first_row(int tile) const {
    const int64_t row = int64_t{tile} * Policy::kWarpRows;
    return row < last_row ? row : last_row;
  }
  /// Rows of a tile that the one before it stores.
  __device__ __forceinline__ int foreign_rows(int tile) const {
    return static_cast<int>(int64_t{tile} * Policy::kWarpRows - first_row(tile));
  }
  static __device__ __forceinline__ int64_t clusters() { return arch::cta_count() / Policy::kClusterK; }
};

/// A warp's ring of weight pieces. Pieces are fetched and consumed in one order: for every row tile of the group, every
/// kWarpsK-th piece of k.
template <class Policy>
class weight_ring {
 public:
  __device__ weight_ring(const gemm_arguments& arguments, uint8_t* stages, const row_tiles<Policy>& tiles,
                         int first_piece)
      : arguments_(arguments),
        stages_(stages),
        tiles_(tiles),
        tile_(tiles.first),
        piece_(first_piece),
        first_piece_(first_piece),
        lane_(arch::keep(arch::lane_index())),
        pieces_(static_cast<int>(ceil_div(arguments.k_blocks, kPieceBlocks))),
        head_(arguments.w, lane_, 0, kHeadBytes),
        tail_(arguments.w, lane_, kHeadBytes, kTailBytes) {
    if (first_piece_ >= pieces_) tile_ = tiles_.count;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const unsigned copy = i * kWarpSize + lane_;
      offset_[i] = static_cast<uint32_t>(copy / kCopiesPerRow * arguments.w.row_bytes) + copy % kCopiesPerRow * 16;
    }
  }

  __device__ __forceinline__ void prefill() {
#pragma unroll 1
    for (int stage = 0; stage < Policy::kStages; ++stage) fetch_next(stage);
  }

  /// Waits for the oldest piece and gives its place in shared memory.
  __device__ __forceinline__ const uint8_t* wait() {
    wait_for_copies<Policy::kStages - 1>();
    arch::sync_warp();
    return stages_ + slot_ * kStageBytes;
  }

  /// Gives the oldest piece back and fetches the next one into its place.
  __device__ __forceinline__ void advance() {
    arch::sync_warp();
    fetch_next(slot_);
    slot_ = slot_ + 1 == Policy::kStages ? 0 : slot_ + 1;
  }

 private:
  static constexpr int kStageBytes = Policy::kWarpRows * kWeightPieceBytes;
  static constexpr unsigned kCopiesPerRow = kWeightPieceBytes / 16;
  static constexpr int kCopies = static_cast<int>(ceil_div(Policy::kWarpRows * kCopiesPerRow, kWarpSize));
  /// For accesses of less than 16 bytes, the 144 bytes of a row in two parts that neighbouring lanes share evenly, so
  /// that from one copy to the next a lane's addresses differ by a constant.
  static constexpr int kHeadBytes = 128;
  static constexpr int kTailBytes = kWeightPieceBytes - kHeadBytes;

  /// A lane's first access to a part. 32 bits are enough for the rows of a tile: where a row of activations fits shared
  /// memory, one of weights is short.
  struct lane_share {
    uint32_t global;
    int shared;

    __device__ lane_share(const row_source& w, int lane, int first_byte, unsigned bytes) {
      const auto first = static_cast<unsigned>(lane * w.access_bytes);
      const int row = static_cast<int>(first / bytes);
      const int column = first_byte + static_cast<int>(first % bytes);
      global = static_cast<uint32_t>(row * w.row_bytes) + column;
      shared = row * kWeightPieceBytes + column;
    }
  };

  /// Commits a group even when nothing is left, so that the count of groups in flight stays the number of stages.
  __device__ __forceinline__ void fetch_next(int slot) {
    if (tile_ < tiles_.count) {
      fetch(stages_ + slot * kStageBytes);
      piece_ += Policy::kWarpsK;
      if (piece_ >= pieces_) {
        piece_ = first_piece_;
        tile_ += tiles_.step;
      }
    }
    commit_copies();
  }

  __device__ __forceinline__ void fetch(uint8_t* stage) const {
    const int blocks = arguments_.k_blocks - piece_ * kPieceBlocks;
    const int length = (blocks < kPieceBlocks ? blocks : kPieceBlocks) * kWeightBlockBytes;
    const uint8_t* const source =
        arguments_.w.base + tiles_.first_row(tile_) * arguments_.w.row_bytes + int64_t{piece_} * kWeightPieceBytes;
    const int access = arguments_.w.access_bytes;  // 2 where W has fewer rows than a tile
    if (access == 16) {
      // Rows that allow 16 bytes consist of whole pieces. Lanes follow the bytes of a row without a break: in two
      // parts, sectors of 32 bytes would be asked for twice.
#pragma unroll
      for (int i = 0; i < kCopies; ++i) {
        const int copy = i * kWarpSize + lane_;
        if (copy < Policy::kWarpRows * static_cast<int>(kCopiesPerRow)) {
          copy_or_zero<16>(stage + 16 * copy, source + offset_[i], true);
        }
      }
    } else if (access == 8) {
      fetch_rows<8>(stage, source, length);
    } else if (access == 4) {
      fetch_rows<4>(stage, source, length);
    } else {
      const int rows = arguments_.n < Policy::kWarpRows ? static_cast<int>(arguments_.n) : Policy::kWarpRows;
      copy_piece_as<2, Policy::kWarpRows, kWeightPieceBytes, kWarpSize, false>(
          stage, kWeightPieceBytes, source, arguments_.w.row_bytes, rows, length, lane_);
    }
  }

  /// All rows exist. Bytes from `length` on are not written: rows of an odd number of blocks, where a block past the
  /// end is read, are aligned to 2 bytes only and do not come here.
  template <int kAccess>
  __device__ __forceinline__ void fetch_rows(uint8_t* stage, const uint8_t* source, int length) const {
    fetch_columns<kAccess, 0, kHeadBytes>(stage + head_.shared, source + head_.global, length);
    fetch_columns<kAccess, kHeadBytes, kTailBytes>(stage + tail_.shared, source + tail_.global, length);
  }

  template <int kAccess, int kFirst, int kBytes>
  __device__ __forceinline__ void fetch_columns(uint8_t* to, const uint8_t* from, int length) const {
    constexpr int kLanesPerRow = kBytes / kAccess;
    constexpr int kRowsPerCopy = kWarpSize / kLanesPerRow;
    if (kFirst + lane_ % kLanesPerRow * kAccess >= length) return;
#pragma unroll
    for (int row = 0; row < Policy::kWarpRows; row += kRowsPerCopy) {
      if (row + kRowsPerCopy <= Policy::kWarpRows || row + lane_ / kLanesPerRow < Policy::kWarpRows) {
        copy_or_zero<kAccess>(to + row * kWeightPieceBytes, from + row * arguments_.w.row_bytes, true);
      }
    }
  }

  const gemm_arguments& arguments_;
  uint8_t* stages_;
  const row_tiles<Policy>& tiles_;
  int tile_;
  int piece_;
  int first_piece_;
  int lane_;
  int pieces_;
  int slot_ = 0;
  uint32_t offset_[kCopies];
  lane_share head_;
  lane_share tail_;
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
__device__ __forceinline__ void weight_bound_mainloop(const gemm_arguments& all_of_k, int64_t first_token) {
  static_assert(Policy::kWarpsM == 1, "every warp of this family works for all tokens of the tile");
  using provider = Activations<Policy::kThreads, kActivationBatch>;
  const gemm_arguments arguments = slice_of_k<Policy>(all_of_k, provider::portion::kSourceBlockBytes);
  const int64_t tokens_left = arguments.m - first_token;
  const int tokens = arch::keep(tokens_left < Policy::kTileM ? static_cast<int>(tokens_left) : Policy::kTileM);
  const int k_blocks = arguments.k_blocks;
  const int pieces = static_cast<int>(ceil_div(k_blocks, kPieceBlocks));
  const int warp = arch::warp_index();
  const int group = warp / Policy::kWarpsK;
  const int warp_k = warp % Policy::kWarpsK;
  const row_tiles<Policy> tiles(arguments.n, group);

  // Shared memory.
  const weight_bound_layout map =
      make_weight_bound_layout(Policy::kWarpsN, Policy::kWarpsK, Policy::kWarpRows, Policy::kStages, tokens,
                               all_of_k.k_blocks, Policy::kClusterK, Policy::kBlockBytes);
  uint8_t* const shared = arch::shared_memory();
  uint8_t* const activations = shared + arch::keep(static_cast<int>(map.activations));
  const int activation_stride = static_cast<int>(activation_row_bytes(k_blocks, Policy::kBlockBytes));

  constexpr int kRingBytes = Policy::kStages * Policy::kWarpRows * kWeightPieceBytes;
  weight_ring<Policy> ring(arguments, shared + map.weights + warp * kRingBytes, tiles, warp_k);
  static_assert(provider::kBlockBytes == Policy::kBlockBytes, "the activations are not what the dot multiplies");
  const activation_region region{first_token, 0, tokens, tokens, k_blocks, static_cast<int>(round_up(k_blocks, 2))};
  provider current(arguments.x, region);
  auto loads = current.begin_loads();
  auto stores = current.begin_stores(activation_tile{activations, activation_stride});
  // Activations and first weights. With dependent launch only the weights may be touched before the wait; without it
  // the activations go first, because a load that is issued behind a burst of weight requests waits for all of them.
  bool loaded = !arguments.dependent;
  if (loaded) current.load(loads);
  ring.prefill();
  if constexpr (arch::kTargetHas<90>) {
    if (arguments.dependent) arch::wait_for_dependencies();
  }
  // One batch of loads is always in flight while the one before it is stored.
#pragma unroll 1
  while (stores.warp_has_place()) {
    provider next = current;
    if (loads.warp_has_place()) next.load(loads);
    if (loaded) current.template store<clamped_token_rows::scales, 2>(stores);
    current = next;
    loaded = true;
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
      multiply_piece(dot, weights, activations + piece * kPieceBlocks * Policy::kBlockBytes,
                     k_blocks - piece * kPieceBlocks, rows);
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
        store_exchanged_sums<Policy>(sums, arguments, row_tiles<Policy>(arguments.n, 0), first, round + 1 - first,
                                     first_token, tokens);
      }
    }
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
