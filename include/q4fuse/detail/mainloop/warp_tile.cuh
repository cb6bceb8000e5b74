#pragma once

// The sums of a warp tile, and the walk over a piece of k that every dot shares.

#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// FP32 sums of 16 * kRowTiles weight rows x 8 * kTokenTiles tokens, spread over a warp as the accumulator of
/// mma.m16n8 is: with g = lane / 4 and t = lane % 4 a lane owns rows g and g + 8 of each row tile and tokens 2t and
/// 2t + 1 of each token tile, in the order (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
template <int kRowTiles, int kTokenTiles>
class warp_tile_sums {
 public:
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) sums_[i][j][e] = 0.0f;
      }
    }
  }

  static constexpr int kRows = 16 * kRowTiles;
  static constexpr int kTokens = 8 * kTokenTiles;

  /// The first element that the lane owns, relative to the warp tile.
  static __device__ __forceinline__ int first_row() { return arch::lane_index() / 4; }
  static __device__ __forceinline__ int first_token() { return arch::lane_index() % 4 * 2; }

  /// The lane's four sums of a row tile and a token tile.
  __device__ __forceinline__ float4 tile_sums(int row_tile, int token_tile) const {
    const float(&sums)[4] = sums_[row_tile][token_tile];
    return {sums[0], sums[1], sums[2], sums[3]};
  }

  /// Calls visit(row, token, sum) for every element that the lane owns, rows and tokens relative to its first one in
  /// the token tile: constants, from which addresses are cheap. Calls next_tile() between two token tiles. All rows of
  /// a token are visited one after the other, so that stores of a line follow each other.
  template <class Visitor, class NextTile>
  __device__ __forceinline__ void for_each_by_tile(Visitor&& visit, NextTile&& next_tile) const {
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
      if (j > 0) next_tile();
#pragma unroll
      for (int token = 0; token < 2; ++token) {
#pragma unroll
        for (int i = 0; i < 2 * kRowTiles; ++i) visit(8 * i, token, sums_[i / 2][j][i % 2 * 2 + token]);
      }
    }
  }

  /// The same with rows and tokens relative to the warp tile.
  template <class Visitor>
  __device__ __forceinline__ void for_each(Visitor&& visit) const {
    int tile_token = first_token();
    for_each_by_tile([&](int row, int token, float sum) { visit(first_row() + row, tile_token + token, sum); },
                     [&] { tile_token += 8; });
  }

 protected:
  float sums_[kRowTiles][kTokenTiles][4];
};

/// Adds pair `pair` of the piece at `weights` (row 0 of the warp tile) and `activations` (token 0 of the warp tile).
template <class Dot, class TokenRows>
__device__ __forceinline__ void multiply_pair(Dot& dot, const uint8_t* weights, const uint8_t* activations, int pair,
                                              const TokenRows& rows) {
  dot.template multiply<0>(weights + pair * kPairBytes, activations + 2 * pair * Dot::kBlockBytes, rows);
  dot.template multiply<1>(weights + pair * kPairBytes, activations + (2 * pair + 1) * Dot::kBlockBytes, rows);
}

/// Adds the pairs of a piece, of which `blocks` blocks are left; the second block of a last, odd pair is a zero block.
template <class Dot, class TokenRows>
__device__ __forceinline__ void multiply_piece(Dot& dot, const uint8_t* weights, const uint8_t* activations, int blocks,
                                               const TokenRows& rows) {
  // A whole piece is one straight line of code, which the compiler can schedule across blocks.
  if (blocks > kPieceBlocks - 2) {
#pragma unroll
    for (int pair = 0; pair < kPieceBlocks / 2; ++pair) multiply_pair(dot, weights, activations, pair, rows);
  } else {
#pragma unroll 1
    for (int pair = 0; 2 * pair < blocks; ++pair) multiply_pair(dot, weights, activations, pair, rows);
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
