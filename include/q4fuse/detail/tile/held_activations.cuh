#pragma once

// Activations that stay in the registers of a warp: one piece of k of 8 or 16 tokens, as the int8 tensor cores take
// them.

#include <q4fuse/detail/arch/ldmatrix_sm75.cuh>
#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>
#include <q4fuse/detail/tile/split_activations.cuh>

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

/// Brings it there. Rows are loaded and encoded as in split_activations, a token at a time by all lanes, since loads
/// of what a lane is to have would touch eight rows each, and pass on through shared memory of the warp's own. What
/// lies beyond k becomes zeros, and so do tokens that do not exist.
template <class Portion, int kTokenTiles>
class held_activations {
 public:
  __device__ __forceinline__ held_activations(const row_source& source, int64_t first_token, int tokens, int piece,
                                              int k_blocks)
      : source_(source),
        address_(source.base + first_token * source.row_bytes +
                 int64_t{piece * kPieceBlocks + block()} * Portion::kSourceBlockBytes),
        tokens_(piece * kPieceBlocks + block() < k_blocks ? tokens : 0) {}

  /// Ahead of encode(), for which rows that allow no wide accesses wait.
  __device__ __forceinline__ void load() {
    if (!Portion::is_wide(source_.access_bytes)) return;
#pragma unroll
    for (int tile = 0; tile < kTokenTiles; ++tile) load_as<true>(tile);
  }

  /// By all lanes of a warp. `shared` has room for a split piece of eight tokens.
  __device__ __forceinline__ void encode(held_piece<kTokenTiles>& held, uint8_t* shared) {
    using piece = split_piece<8>;
    constexpr int kTogether = 4;
    uint8_t* const quants = shared + arch::lane_index() % 2 * 8;
#pragma unroll
    for (int tile = 0; tile < kTokenTiles; ++tile) {
      if (!Portion::is_wide(source_.access_bytes)) load_as<false>(tile);
#pragma unroll
      for (int first = 0; first < 8; first += kTogether) {
        q8_1_lane lanes[kTogether]{};
        Portion::template encode<false>(
            lanes, reinterpret_cast<const typename Portion::type(&)[kTogether]>(portions_[8 * tile + first]));
#pragma unroll
        for (int i = 0; i < kTogether; ++i) {
          const int token = first + i;
          arch::store_shared<uint2>(quants + piece::unit_offset(token, arch::lane_index() / 2),
                                    uint2{lanes[i].qs[0], lanes[i].qs[1]});
          if (part() == Portion::template scale_owner<kTogether>(i)) {
            arch::store_shared<uint16_t>(shared + piece::scale_offset(block(), scale_place(token)),
                                         static_cast<uint16_t>(lanes[i].scale));
          }
        }
      }
      arch::sync_warp();
      // Four matrices of 8 tokens x 16 quants, the halves of two blocks, and their scales, of which four tokens' stand
      // together.
#pragma unroll
      for (int pair = 0; pair < kPieceBlocks / 2; ++pair) {
        uint32_t b[4];
        arch::load_matrix_x4(b, shared + piece::unit_offset(arch::lane_index() % 8, 4 * pair + arch::lane_index() / 8));
        const uint2 d8 = arch::load_shared<uint2>(shared + piece::scale_offset(2 * pair, arch::lane_index() % 4 * 4));
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          held.quants[tile][2 * pair + i][0] = b[2 * i];
          held.quants[tile][2 * pair + i][1] = b[2 * i + 1];
          held.scales[tile][2 * pair + i] = i == 0 ? d8.x : d8.y;
        }
      }
      arch::sync_warp();
    }
  }

 private:
  static __device__ __forceinline__ int block() { return arch::lane_index() / kLanesPerBlock; }
  static __device__ __forceinline__ int part() { return arch::lane_index() % kLanesPerBlock; }

  template <bool kWide>
  __device__ __forceinline__ void load_as(int tile) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int token = 8 * tile + i;
      portions_[token] = token < tokens_ ? Portion::template load<kWide>(address_ + token * source_.row_bytes, part())
                                         : typename Portion::type{};
    }
  }

  row_source source_;
  const uint8_t* address_;  ///< of the lane's block of the first token
  int tokens_;              ///< that have it
  typename Portion::type portions_[8 * kTokenTiles];
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
