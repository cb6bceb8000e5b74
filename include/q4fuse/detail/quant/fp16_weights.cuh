#pragma once

// Q4_0 as FP16 fragments: d * (q - 8), rounded once to nearest even.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// From a pair of quants, q - 8 as halves; exact. A nibble in the low bits of 0x6400 reads 1024 + q,
/// and four bits further up 1024 + 16q, which one FMA takes back: folding the offset into the multiplication by d
/// instead would round twice.
__device__ __forceinline__ uint32_t low_nibbles_f16(uint32_t quants) {
  constexpr uint32_t kMinus1032 = 0xE408E408u;
  return arch::add_rn_f16x2(arch::and_xor(quants, 0x000F000Fu, 0x64006400u), kMinus1032);
}
__device__ __forceinline__ uint32_t high_nibbles_f16(uint32_t quants) {
  constexpr uint32_t kOneSixteenth = 0x2C002C00u;
  constexpr uint32_t kMinus72 = 0xD480D480u;
  return arch::fma_rn_f16x2(arch::and_xor(quants, 0x00F000F0u, 0x64006400u), kOneSixteenth, kMinus72);
}

/// The weights of two bytes of quants, next to each other in a block: two elements of its first 16, and two of its
/// second.
struct fp16_weights {
  uint32_t low;
  uint32_t high;
};

/// d * (q - 8), rounded once.
__device__ __forceinline__ fp16_weights dequantize_q4_0(uint32_t two_quants, uint32_t scale) {
  const uint32_t quants = arch::byte_permute(two_quants, 0, 0x4140);
  return {arch::mul_rn_f16x2(low_nibbles_f16(quants), scale), arch::mul_rn_f16x2(high_nibbles_f16(quants), scale)};
}

/// What a lane reads of a block of 16 * kRowTiles rows: of rows g and g + 8 of each row tile the scale, and elements
/// 2t, 2t + 1 and 8 + 2t, 9 + 2t of both groups of 16, which are the low and the high nibbles of the same four bytes.
template <int kRowTiles>
struct raw_fragments {
  // Of 16 bits each, in 32: the compiler would clear the rest of the register again before every use.
  uint32_t scale[kRowTiles][2];
  uint32_t quants[kRowTiles][2][2];

  /// Row 0 has the block at `block`.
  __device__ __forceinline__ void load(const uint8_t* block) {
    const int g = arch::lane_index() / 4;
    const int t = arch::lane_index() % 4;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint8_t* const row = block + (16 * i + 8 * half + g) * kWeightPieceBytes;
        scale[i][half] = arch::load_shared<uint16_t>(row);
        quants[i][half][0] = arch::load_shared<uint16_t>(row + 2 + 2 * t);
        quants[i][half][1] = arch::load_shared<uint16_t>(row + 10 + 2 * t);
      }
    }
  }
};

/// A operands of mma.m16n8k16, and of wgmma, for the two groups of 16 elements of a block.
template <int kRowTiles>
__device__ __forceinline__ void make_weight_fragments(uint32_t (&a)[kRowTiles][2][4],
                                                      const raw_fragments<kRowTiles>& raw) {
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t scale = arch::duplicate_half(static_cast<uint16_t>(raw.scale[i][half]));
#pragma unroll
      for (int eight = 0; eight < 2; ++eight) {
        const fp16_weights w = dequantize_q4_0(raw.quants[i][half][eight], scale);
        a[i][0][half + 2 * eight] = w.low;
        a[i][1][half + 2 * eight] = w.high;
      }
    }
  }
}

template <int kRowTiles>
__device__ __forceinline__ void load_weight_fragments(uint32_t (&a)[kRowTiles][2][4], const uint8_t* block) {
  raw_fragments<kRowTiles> raw;
  raw.load(block);
  make_weight_fragments(a, raw);
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
