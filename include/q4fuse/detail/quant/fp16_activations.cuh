#pragma once

// Activations as they lie in an FP16 tile: 64 bytes a block, and within each 16 elements the eight even ones first,
// then the eight odd ones. That is the order in which nibbles come out of a word of Q4_0 without a shift, and a sum
// over k does not care.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/quant/fp16_weights.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// A lane's eight elements, pairs in the order of k.
struct fp16_lane {
  uint32_t even[2];
  uint32_t odd[2];
};

/// Eight halves as they are.
__device__ __forceinline__ fp16_lane split_even_odd(const uint4& halves) {
  return {{arch::byte_permute(halves.x, halves.y, 0x5410), arch::byte_permute(halves.z, halves.w, 0x5410)},
          {arch::byte_permute(halves.x, halves.y, 0x7632), arch::byte_permute(halves.z, halves.w, 0x7632)}};
}

/// The smallest positive scale with which 127 * d is past the largest half. Blocks of the quantizer reach it, and no
/// further, where max|x| is nearly 65504.
inline constexpr uint32_t kSaturatingScale = 0x6008;  // 516

/// Infinity becomes 65504, with its sign; relative to 127 * 516 that is less than 2^-11 off, as any other rounding.
__device__ __forceinline__ uint32_t saturate_f16x2(uint32_t halves) {
  return arch::min_u16x2(halves & 0x7FFF7FFFu, 0x7BFF7BFFu) | (halves & 0x80008000u);
}

/// d * q, each rounded once to nearest even. A byte with its sign flipped under 0x64 reads 1152 + q as a half, and PRMT
/// puts it there while it picks even or odd elements.
__device__ __forceinline__ fp16_lane dequantize_q8_1(const q8_1_lane& lane) {
  constexpr uint32_t kMinus1152 = 0xE480E480u;
  const uint32_t d = lane.scale & 0xFFFFu;
  const uint32_t scale = duplicate_half(d);
  fp16_lane result;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint32_t bytes = lane.qs[i] ^ 0x80808080u;
    const uint32_t even = arch::add_rn_f16x2(arch::byte_permute(bytes, 0x64646464u, 0x4240), kMinus1152);
    const uint32_t odd = arch::add_rn_f16x2(arch::byte_permute(bytes, 0x64646464u, 0x4341), kMinus1152);
    result.even[i] = arch::mul_rn_f16x2(even, scale);
    result.odd[i] = arch::mul_rn_f16x2(odd, scale);
  }
  // Not for a scale of infinity or NaN, which must reach the sum.
  if (d >= kSaturatingScale && d < 0x7C00u) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      result.even[i] = saturate_f16x2(result.even[i]);
      result.odd[i] = saturate_f16x2(result.odd[i]);
    }
  }
  return result;
}

/// Stores a lane's share of a block that starts at `block` in shared memory, 8-byte aligned.
__device__ __forceinline__ void store_fp16(uint8_t* block, const fp16_lane& lane) {
  const int part = arch::lane_index() % kLanesPerBlock;
  uint8_t* const address = block + part / 2 * 32 + part % 2 * 8;
  arch::store_shared<uint2>(address, uint2{lane.even[0], lane.even[1]});
  arch::store_shared<uint2>(address + 16, uint2{lane.odd[0], lane.odd[1]});
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
