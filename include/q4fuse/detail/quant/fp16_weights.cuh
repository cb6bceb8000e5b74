#pragma once

// Q4_0 as FP16 fragments: d * (q - 8), rounded once to nearest even.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// From a word of quants, q - 8 of bytes 0 and 2 as halves; exact. A nibble in the low bits of 0x6400 reads 1024 + q,
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

/// Both halves of a word the same.
__device__ __forceinline__ uint32_t duplicate_half(uint32_t low_half) {
  return arch::byte_permute(low_half, low_half, 0x1010);
}

/// The weights of a word of quants, bytes 4t to 4t + 3 of a block. Even are elements 4t and 4t + 2, odd 4t + 1 and
/// 4t + 3, of the first and of the second 16 elements of the block: the order of an FP16 tile.
struct fp16_weights {
  uint32_t even[2];
  uint32_t odd[2];
};

__device__ __forceinline__ fp16_weights dequantize_q4_0(uint32_t quants, uint32_t scale) {
  return {{arch::mul_rn_f16x2(low_nibbles_f16(quants), scale), arch::mul_rn_f16x2(high_nibbles_f16(quants), scale)},
          {arch::mul_rn_f16x2(low_nibbles_f16(quants >> 8), scale),
           arch::mul_rn_f16x2(high_nibbles_f16(quants >> 8), scale)}};
}

/// The scale of block kBlock of the pair at `pair` in shared memory, in both halves.
template <int kBlock>
__device__ __forceinline__ uint32_t load_weight_scale_f16x2(const uint8_t* pair) {
  return duplicate_half(arch::load_shared<uint16_t>(pair + kBlock * kWeightBlockBytes));
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
