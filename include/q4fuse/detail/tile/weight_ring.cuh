#pragma once

// How weights come to warps that stream them: row tiles of W, and a ring of their pieces that one warp alone fills and
// empties, so that no barrier ever stops the stream of loads.

#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/copy.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The row tiles of a group of warps. Neighbouring tiles go to different CTAs, so that a last, partial round of tiles
/// is spread over all of them. 32 bits count them: 2^31 row tiles are more than 600 GB of weights. The last tile ends
/// with W: where rows do not fill it, it begins with some of the tile before, which it does not store.
template <class Policy>
struct row_tiles {
  int first;
  int step;
  int count;         ///< of all groups together
  int64_t last_row;  ///< first row of the last tile

  __device__ row_tiles(int64_t n, int first_tile, int tile_step)
      : first(first_tile),
        step(tile_step),
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
};

/// A warp's ring of weight pieces, fetched and consumed in the order in which `Walk` goes over them: its done() says
/// whether none is left, tile() and piece() which is the next one; advance() whether that is in another row tile, or
/// else kPieceStep pieces further on. kFastNarrow: rows that allow 8 or 4-byte copies matter enough for registers and
/// code of their own. For rows that allow neither, any faster code that was tried in such kernels slowed down all
/// others, by up to 11 %.
template <class Policy, class Walk, bool kFastNarrow>
class weight_ring {
 public:
  /// `stages` is the offset of the ring in shared memory.
  __device__ weight_ring(const gemm_arguments& arguments, int stages, const row_tiles<Policy>& tiles, const Walk& walk)
      : arguments_(arguments),
        stages_(stages),
        tiles_(tiles),
        next_(walk),
        lane_(arch::keep(arch::lane_index())),
        lane_stages_(arch::keep(stages + 16 * lane_)),
        narrow_(arguments.w, lane_) {
    find_source();
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const unsigned copy = i * kWarpSize + lane_;
      offset_[i] = static_cast<uint32_t>(copy / kCopiesPerRow * arguments.w.row_bytes) + copy % kCopiesPerRow * 16;
    }
  }

  /// Fetches the first pieces, into stages `begin` to `end` - 1.
  __device__ __forceinline__ void prefill(int begin, int end) {
#pragma unroll 1
    for (int stage = begin; stage < end; ++stage) fetch_next(stage);
  }

  /// Waits for the oldest piece and gives its place in shared memory.
  __device__ __forceinline__ const uint8_t* wait() {
    wait_for_copies<Policy::kStages - 1>();
    arch::sync_warp();
    return stage(slot_);
  }

  /// Gives the oldest piece back and fetches the next one into its place.
  __device__ __forceinline__ void advance() {
    arch::sync_warp();
    fetch_next(slot_);
    slot_ = slot_ + 1 == Policy::kStages ? 0 : slot_ + 1;
  }

 private:
  static constexpr int kPieceBytes = Policy::kPieceBytes;
  static constexpr int kStageBytes = Policy::kWarpRows * kPieceBytes;
  static constexpr unsigned kCopiesPerRow = kPieceBytes / 16;
  static constexpr int kTotalCopies = Policy::kWarpRows * static_cast<int>(kCopiesPerRow);
  static constexpr int kCopies = static_cast<int>(ceil_div(kTotalCopies, kWarpSize));
  /// For accesses of less than 16 bytes, the bytes of a row in two parts that neighbouring lanes share evenly, so that
  /// from one copy to the next a lane's addresses differ by a constant.
  static constexpr int kTailBytes = kPieceBytes / 9;
  static constexpr int kHeadBytes = kPieceBytes - kTailBytes;

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
      shared = row * kPieceBytes + column;
    }
  };
  struct lane_shares {
    lane_share head;
    lane_share tail;
    __device__ lane_shares(const row_source& w, int lane)
        : head(w, lane, 0, kHeadBytes), tail(w, lane, kHeadBytes, kTailBytes) {}
  };
  struct no_shares {
    __device__ no_shares(const row_source& /*w*/, int /*lane*/) {}
  };

  /// Commits a group even when nothing is left, so that the count of groups in flight stays the number of stages.
  __device__ __forceinline__ void fetch_next(int slot) {
    if (!next_.done()) {
      fetch(slot);
      source_ += Walk::kPieceStep * kPieceBytes;
      if (next_.advance()) find_source();
    }
    commit_copies();
  }

  __device__ __forceinline__ void find_source() {
    source_ = arguments_.w.base + tiles_.first_row(next_.tile()) * arguments_.w.row_bytes +
              int64_t{next_.piece()} * kPieceBytes;
  }

  __device__ __forceinline__ uint8_t* stage(int slot) const {
    return arch::shared_memory() + stages_ + slot * kStageBytes;
  }

  __device__ __forceinline__ void fetch(int slot) const {
    constexpr int kBlocks = Policy::kPieceBlocks;
    const int blocks = arguments_.k_blocks - next_.piece() * kBlocks;
    const int length = (blocks < kBlocks ? blocks : kBlocks) * kWeightBlockBytes;
    const int access = arguments_.w.access_bytes;  // 2 where W has fewer rows than a tile
    if (access == 16) {
      // Rows that allow 16 bytes consist of whole pieces of 8 blocks. Lanes follow the bytes of a row without a break:
      // in two parts, sectors of 32 bytes would be asked for twice.
      if (kBlocks > kPieceBlocks && blocks < kBlocks) return fetch_slowly<16>(stage(slot), length);
#pragma unroll
      for (int i = 0; i < kCopies; ++i) {
        uint8_t* const to = arch::shared_memory() + lane_stages_ + slot * kStageBytes + i * kWarpSize * 16;
        if ((i + 1) * kWarpSize <= kTotalCopies) {
          copy_or_zero<16>(to, source_ + offset_[i], true);
        } else {
          copy_if<16>(i * kWarpSize + lane_ < kTotalCopies, to, source_ + offset_[i]);
        }
      }
      return;
    }
    if constexpr (kFastNarrow) {
      if (access == 8) return fetch_rows<8>(stage(slot), source_, length);
      if (access == 4) return fetch_rows<4>(stage(slot), source_, length);
    } else {
      if (access >= 4) return fetch_slowly<4>(stage(slot), length);
    }
    fetch_slowly<2>(stage(slot), length);
  }

  template <int kAccess>
  __device__ __forceinline__ void fetch_slowly(uint8_t* stage, int length) const {
    const int rows = arguments_.n < Policy::kWarpRows ? static_cast<int>(arguments_.n) : Policy::kWarpRows;
    if constexpr (kAccess == 2 && !kFastNarrow) {
      copy_piece_by_halves<Policy::kWarpRows, kPieceBytes, kWarpSize, 3>(stage, kPieceBytes, source_,
                                                                         arguments_.w.row_bytes, rows, length, lane_);
    } else {
      copy_piece_as<kAccess, Policy::kWarpRows, kPieceBytes, kWarpSize, false>(
          stage, kPieceBytes, source_, arguments_.w.row_bytes, rows, length, lane_);
    }
  }

  /// All rows exist. Bytes from `length` on are not written: rows of an odd number of blocks, where a block past the
  /// end is read, are aligned to 2 bytes only and do not come here.
  template <int kAccess>
  __device__ __forceinline__ void fetch_rows(uint8_t* stage, const uint8_t* source, int length) const {
    fetch_columns<kAccess, 0, kHeadBytes>(stage + narrow_.head.shared, source + narrow_.head.global, length);
    fetch_columns<kAccess, kHeadBytes, kTailBytes>(stage + narrow_.tail.shared, source + narrow_.tail.global, length);
  }

  template <int kAccess, int kFirst, int kBytes>
  __device__ __forceinline__ void fetch_columns(uint8_t* to, const uint8_t* from, int length) const {
    constexpr int kLanesPerRow = kBytes / kAccess < kWarpSize ? kBytes / kAccess : kWarpSize;
    constexpr int kRowsPerCopy = kWarpSize / kLanesPerRow;
#pragma unroll
    for (int column = 0; column < kBytes; column += kLanesPerRow * kAccess) {
      if (kFirst + column + lane_ % kLanesPerRow * kAccess >= length) return;
#pragma unroll
      for (int row = 0; row < Policy::kWarpRows; row += kRowsPerCopy) {
        if (row + kRowsPerCopy <= Policy::kWarpRows || row + lane_ / kLanesPerRow < Policy::kWarpRows) {
          copy_or_zero<kAccess>(to + row * kPieceBytes + column, from + row * arguments_.w.row_bytes + column, true);
        }
      }
    }
  }

  const gemm_arguments& arguments_;
  int stages_;
  const row_tiles<Policy>& tiles_;
  Walk next_;
  const uint8_t* source_;  ///< of the next piece
  int lane_;
  int lane_stages_;  ///< where the lane's first copy goes: kept, because copies then differ by constants
  int slot_ = 0;
  uint32_t offset_[kCopies];
  std::conditional_t<kFastNarrow, lane_shares, no_shares> narrow_;
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
