#pragma once

// Activations of an FP16 tile: 64 bytes a block, in the order of k.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/quant/fp16_weights.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The smallest positive scale with which 127 * d is past the largest half. Blocks of the quantizer reach it, and no
/// further, where max|x| is nearly 65504.
inline constexpr uint32_t kSaturatingScale = 0x6008;  // 516

/// Infinity becomes 65504, with its sign; relative to 127 * 516 that is less than 2^-11 off, as any other rounding.
__device__ __forceinline__ uint32_t saturate_f16x2(uint32_t halves) {
  return arch::min_u16x2(halves & 0x7FFF7FFFu, 0x7BFF7BFFu) | (halves & 0x80008000u);
}

/// Pair i (0 to 3) of a lane's eight quants as halves, exact. A byte with its sign flipped under 0x64 reads 1152 + q as
/// a half, and PRMT puts it there.
__device__ __forceinline__ uint32_t two_quants_f16(const q8_1_lane& lane, int i) {
  constexpr uint32_t kMinus1152 = 0xE480E480u;
  const uint32_t bytes = lane.qs[i / 2] ^ 0x80808080u;
  return arch::add_rn_f16x2(arch::byte_permute(bytes, 0x64646464u, i % 2 == 0 ? 0x4140 : 0x4342), kMinus1152);
}

/// d * q of a lane's eight elements, each rounded once to nearest even.
__device__ __forceinline__ uint4 multiply_q8_1(const q8_1_lane& lane) {
  const uint32_t scale = arch::duplicate_half(static_cast<uint16_t>(lane.scale));
  uint32_t halves[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) halves[i] = arch::mul_rn_f16x2(two_quants_f16(lane, i), scale);
  return {halves[0], halves[1], halves[2], halves[3]};
}

/// Whether those can be too large for a half. Not for a scale of infinity or NaN, which must reach the sum.
__device__ __forceinline__ bool can_saturate(const q8_1_lane& lane) {
  const uint32_t d = lane.scale & 0xFFFFu;
  return d >= kSaturatingScale && d < 0x7C00u;
}
__device__ __forceinline__ void saturate(uint4& halves) {
  halves = {saturate_f16x2(halves.x), saturate_f16x2(halves.y), saturate_f16x2(halves.z), saturate_f16x2(halves.w)};
}

__device__ __forceinline__ uint4 dequantize_q8_1(const q8_1_lane& lane) {
  uint4 halves = multiply_q8_1(lane);
  if (can_saturate(lane)) saturate(halves);
  return halves;
}

/// The same of several blocks, with one branch for the rare case.
template <int kCount>
__device__ __forceinline__ void dequantize_q8_1(uint4 (&halves)[kCount], const q8_1_lane (&lanes)[kCount]) {
  bool any = false;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    halves[i] = multiply_q8_1(lanes[i]);
    any = any || can_saturate(lanes[i]);
  }
  if (any) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (can_saturate(lanes[i])) saturate(halves[i]);
    }
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
