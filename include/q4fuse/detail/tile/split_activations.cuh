#pragma once

// Q8_1 rows as the tensor cores read them best: quants apart from their scales, piece by piece. Of every piece all
// tokens' quants come first, 256 bytes each, in 16-byte units that are permuted within the row so that eight tokens are
// read without a bank conflict; then the scales, block by block, in the order of scale_place(), their groups of four
// permuted by block, so that those of eight blocks are stored without one. As halves: as floats they would be read by
// twice as many accesses, and leave less room for partial sums.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

template <int kTokens>
struct split_piece {
  static constexpr int kRowBytes = kPieceBlocks * kQuantBlockBytes;
  static constexpr int kScales = kTokens * kRowBytes;  ///< where they begin
  static constexpr int kBytes = split_piece_bytes(kTokens);
  static_assert(kBytes % kRowBytes == 0, "where pieces are aligned to rows, permuting is one operation on an offset");

  /// Of 16-byte unit `unit` of a token's row.
  static __device__ __forceinline__ int unit_offset(int token, int unit) {
    return token * kRowBytes + (unit ^ token % 8) * 16;
  }
  /// Of the scale at `place` of a block. Those of eight tokens are read for two blocks at once.
  static __device__ __forceinline__ int scale_offset(int block, int place) {
    if constexpr (kTokens == 8) return kScales + (block / 2 * 16 + block % 2 * 2 + place) * kScaleBytes;
    return kScales + (block * kTokens + (place ^ block * 4 % (kTokens < 32 ? kTokens : 32))) * kScaleBytes;
  }
};

/// Fills split pieces from rows of global memory. A warp takes every kWarps-th token, or shares one with others, some
/// pieces of it at a time, a lane always the same eight elements of a piece. What lies beyond k becomes zeros, and so
/// do tokens that do not exist.
template <class Portion, int kThreads, int kTokens>
class split_activations {
 public:
  static constexpr int kWarps = kThreads / kWarpSize;
  static constexpr int kWarpsPerToken = kWarps > kTokens ? kWarps / kTokens : 1;
  /// Pieces that a warp loads at once: as many as fit the registers.
  static constexpr int kBatch = arch::kTargetHas<90> || sizeof(typename Portion::type) <= 12 ? 8 : 4;

  /// Which pieces come next for a warp.
  struct cursor {
    int token;
    int piece;
    __device__ __forceinline__ void advance(int pieces) {
      piece += kWarpsPerToken * kBatch;
      if (piece >= pieces) {
        piece = 0;
        token += kWarps;
      }
    }
  };
  /// Those that are a warp's first; no token where there are none.
  static __device__ __forceinline__ cursor first(int warp, int pieces) {
    if constexpr (kWarpsPerToken == 1) return {pieces > 0 ? warp : kTokens, 0};
    const int piece = warp / kTokens * kBatch;
    return {piece < pieces ? warp % kTokens : kTokens, piece};
  }

  __device__ __forceinline__ split_activations(const row_source& source, int64_t first_token, int k_blocks)
      : source_(source),
        lane_block_(source.base + first_token * source.row_bytes + block() * Portion::kSourceBlockBytes),
        blocks_left_(k_blocks - block()) {}

  /// Ahead of store(), for which rows that allow no wide accesses wait: their many loads are much code, which would
  /// stand in every place that loads ahead.
  __device__ __forceinline__ void load(const cursor& next) {
    if (Portion::is_wide(source_.access_bytes)) load_as<true>(next);
  }

  /// Of `tokens` tokens that exist; others are not loaded.
  __device__ __forceinline__ void store(const cursor& next, int pieces, int tokens, uint8_t* tile) {
    if (!Portion::is_wide(source_.access_bytes) && next.token < tokens) load_as<false>(next);
    using piece = split_piece<kTokens>;
    constexpr int kTogether = 4;
    uint8_t* const first = tile + next.piece * piece::kBytes;
    uint8_t* const quants = first + piece::unit_offset(next.token, arch::lane_index() / 2) + arch::lane_index() % 2 * 8;
    uint8_t* const scales = first + piece::scale_offset(block(), scale_place(next.token));
#pragma unroll
    for (int group = 0; group < kBatch; group += kTogether) {
      if (next.piece + group >= pieces) return;
      q8_1_lane lanes[kTogether]{};
      if (next.token < tokens) {
        Portion::template encode<false>(lanes,
                                        reinterpret_cast<const typename Portion::type(&)[kTogether]>(portions_[group]));
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        if (i > 0 && next.piece + group + i >= pieces) return;
        arch::store_shared<uint2>(quants + (group + i) * piece::kBytes, uint2{lanes[i].qs[0], lanes[i].qs[1]});
        if (part() == Portion::template scale_owner<kTogether>(i)) {
          arch::store_shared<uint16_t>(scales + (group + i) * piece::kBytes, static_cast<uint16_t>(lanes[i].scale));
        }
      }
    }
  }

 private:
  static __device__ __forceinline__ int block() { return arch::lane_index() / kLanesPerBlock; }
  static __device__ __forceinline__ int part() { return arch::lane_index() % kLanesPerBlock; }

  template <bool kWide>
  __device__ __forceinline__ void load_as(const cursor& next) {
    constexpr int kPieceBytes = kPieceBlocks * Portion::kSourceBlockBytes;
    const uint8_t* const address = lane_block_ + next.token * source_.row_bytes + next.piece * kPieceBytes;
    const int blocks = blocks_left_ - next.piece * kPieceBlocks;
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      portions_[i] = i * kPieceBlocks < blocks ? Portion::template load<kWide>(address + i * kPieceBytes, part())
                                               : typename Portion::type{};
    }
  }

  row_source source_;
  const uint8_t* lane_block_;
  int blocks_left_;  ///< from the lane's of piece 0 on
  typename Portion::type portions_[kBatch];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
