#pragma once

// Activations that stay in the registers of a warp: one piece of k of 8 or 16 tokens, as the int8 tensor cores take
// them.

#include <q4fuse/detail/arch/ldmatrix_sm75.cuh>
#include <q4fuse/detail/arch/mbarrier_sm90.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/tensor_copy_sm90.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// A piece of 8 * kTokenTiles tokens. With g = lane / 4 and t = lane % 4 a lane has of each eight tokens the quants
/// 4t .. 4t + 3 and 16 + 4t .. of the blocks of token g, and the scales of tokens 2t and 2t + 1, whose sums it has.
template <int kTokenTiles>
struct held_piece {
  uint32_t quants[kTokenTiles][kPieceBlocks][2];
  uint32_t scales[kTokenTiles][kPieceBlocks];  ///< two halves: as floats they would take too many registers
};

/// A piece of `kTokens` tokens on its way there, in shared memory: rows of quants, in 16-byte units that are permuted
/// within the row so that eight tokens are read without a bank conflict; then the scales, four tokens' together, so
/// that those of some tokens are in a row.
template <int kTokens>
struct passed_piece {
  static constexpr int kRowBytes = kPieceBlocks * kQuantBlockBytes;
  static constexpr int kScales = kTokens * kRowBytes;                ///< where they begin
  static constexpr int kScaleRowBytes = kPieceBlocks * kScaleBytes;  ///< a token's share of them
  static constexpr int kBytes = passed_piece_bytes(kTokens);

  /// Of 16-byte unit `unit` of a token's row.
  static __device__ __forceinline__ int unit_offset(int token, int unit) {
    return token * kRowBytes + (unit ^ token % 8) * 16;
  }
  /// Of a token's scale. Those of two tokens and two blocks stand together, as a lane has them.
  static __device__ __forceinline__ int scale_offset(int token, int block) {
    return kScales + token / 4 * 4 * kScaleRowBytes +
           (block / 2 * 8 + token % 4 / 2 * 4 + block % 2 * 2 + token % 2) * kScaleBytes;
  }
};

/// Brings it there. Rows are loaded and encoded as in split_activations, a token at a time by all lanes, since loads
/// of what a lane is to have would touch eight rows each, and pass on through shared memory of the warp's own. What
/// lies beyond k becomes zeros, and so do tokens that do not exist. Of kSharers CTAs of a cluster each encodes its
/// share of the tokens, and copies it to the others, warp to warp.
template <class Portion, int kTokenTiles, int kSharers>
class held_activations {
 public:
  static constexpr int kTokens = 8 * kTokenTiles / kSharers;           ///< that the CTA encodes
  static constexpr int kPassed = kSharers == 1 ? 8 : 8 * kTokenTiles;  ///< that are in shared memory at once
  using piece = passed_piece<kPassed>;

  /// Of `tokens` tokens of the tile; `rank` is the CTA's in its cluster.
  __device__ __forceinline__ held_activations(const row_source& source, int64_t first_token, int tokens, int rank,
                                              int piece_index, int k_blocks)
      : source_(source),
        address_(source.base + (first_token + rank * kTokens) * source.row_bytes +
                 int64_t{piece_index * kPieceBlocks + block()} * Portion::kSourceBlockBytes),
        tokens_(piece_index * kPieceBlocks + block() < k_blocks ? tokens - rank * kTokens : 0),
        rank_(rank) {}

  /// Ahead of encode(), for which rows that allow no wide accesses wait.
  __device__ __forceinline__ void load() {
    if (!Portion::is_wide(source_.access_bytes)) return;
#pragma unroll
    for (int first = 0; first < kTokens; first += kTogether) load_as<true>(first);
  }

  /// All of it, where no CTA shares. `shared` has room for eight tokens. By all lanes of a warp, like what follows.
  __device__ __forceinline__ void encode_and_take(held_piece<kTokenTiles>& held, uint8_t* shared) {
    static_assert(kSharers == 1, "others have a part");
#pragma unroll
    for (int tile = 0; tile < kTokenTiles; ++tile) {
#pragma unroll
      for (int first = 0; first < 8; first += kTogether) encode_some(shared, first, 8 * tile + first);
      arch::sync_warp();
      take_tile(held, tile, 0, shared);
      arch::sync_warp();
    }
  }

  /// The CTA's share. `shared` has room for all tokens.
  __device__ __forceinline__ void encode(uint8_t* shared) {
#pragma unroll
    for (int first = 0; first < kTokens; first += kTogether) encode_some(shared, rank_ * kTokens + first, first);
  }

  /// Copies that to the other CTAs, where `barrier`, a warp's own, counts it.
  __device__ __forceinline__ void pass_on(const uint8_t* shared, void* barrier) const {
    arch::fence_proxy_async();
    arch::sync_warp();
    if (arch::lane_index() != 0) return;
    constexpr int kRows = kTokens * piece::kRowBytes;
    constexpr int kScales = kTokens * piece::kScaleRowBytes;
#pragma unroll
    for (int i = 1; i < kSharers; ++i) {
      const int other = (rank_ + i) % kSharers;
      arch::copy_to_cluster(shared + rank_ * kRows, kRows, other, barrier);
      arch::copy_to_cluster(shared + piece::kScales + rank_ * kScales, kScales, other, barrier);
    }
    arch::mbarrier_arrive_expecting(barrier, (kSharers - 1) * (kRows + kScales));
  }

  /// Waits for the others' shares, and takes all.
  __device__ __forceinline__ void take(held_piece<kTokenTiles>& held, const uint8_t* shared, void* barrier) const {
    arch::mbarrier_wait(barrier, 0);
#pragma unroll
    for (int tile = 0; tile < kTokenTiles; ++tile) take_tile(held, tile, 8 * tile, shared);
  }

 private:
  static constexpr int kTogether = 4;
  static_assert(kTokens % kTogether == 0, "tokens are encoded together");
  static __device__ __forceinline__ int block() { return arch::lane_index() / kLanesPerBlock; }
  static __device__ __forceinline__ int part() { return arch::lane_index() % kLanesPerBlock; }

  template <bool kWide>
  __device__ __forceinline__ void load_as(int first) {
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int token = first + i;
      portions_[token] = token < tokens_ ? Portion::template load<kWide>(address_ + token * source_.row_bytes, part())
                                         : typename Portion::type{};
    }
  }

  /// Portions from `index` on, to the places of tokens from `first` on.
  __device__ __forceinline__ void encode_some(uint8_t* shared, int first, int index) {
    if (!Portion::is_wide(source_.access_bytes)) load_as<false>(index);
    q8_1_lane lanes[kTogether]{};
    Portion::template encode<false>(lanes,
                                    reinterpret_cast<const typename Portion::type(&)[kTogether]>(portions_[index]));
    uint8_t* const quants = shared + arch::lane_index() % 2 * 8;
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int token = first + i;
      arch::store_shared<uint2>(quants + piece::unit_offset(token, arch::lane_index() / 2),
                                uint2{lanes[i].qs[0], lanes[i].qs[1]});
      if (part() == Portion::template scale_owner<kTogether>(i)) {
        arch::store_shared<uint16_t>(shared + piece::scale_offset(token, block()),
                                     static_cast<uint16_t>(lanes[i].scale));
      }
    }
  }

  /// Four matrices of 8 tokens x 16 quants, the halves of two blocks, and their scales.
  static __device__ __forceinline__ void take_tile(held_piece<kTokenTiles>& held, int tile, int first,
                                                   const uint8_t* shared) {
#pragma unroll
    for (int pair = 0; pair < kPieceBlocks / 2; ++pair) {
      uint32_t b[4];
      arch::load_matrix_x4(
          b, shared + piece::unit_offset(first + arch::lane_index() % 8, 4 * pair + arch::lane_index() / 8));
      const uint2 d8 =
          arch::load_shared<uint2>(shared + piece::scale_offset(first + arch::lane_index() % 4 * 2, 2 * pair));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        held.quants[tile][2 * pair + i][0] = b[2 * i];
        held.quants[tile][2 * pair + i][1] = b[2 * i + 1];
        held.scales[tile][2 * pair + i] = i == 0 ? d8.x : d8.y;
      }
    }
  }

  row_source source_;
  const uint8_t* address_;  ///< of the lane's block of the first token that it encodes
  int tokens_;              ///< that have it
  int rank_;
  typename Portion::type portions_[kTokens];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
