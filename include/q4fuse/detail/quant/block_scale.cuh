#pragma once

// From an int32 block dot to FP32: y += dot * d4 * d8, one rounding each.

#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/quant/q4_0.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// What the integer dots have in common, whatever their instruction and ownership.
struct integer_dot {
  static constexpr int kBlockBytes = kQ8_1BlockBytes;  ///< of the activation tile
  static constexpr float kSumScale = kNibbleScale;     ///< turns a sum into the element of Y
};

/// Integer dots start from these bits: read as a float they are 1.5 * 2^23 + dot, exact for |dot| < 2^22 (the largest
/// here is 16 * 8 * 127 * 32), so that no conversion instruction is needed.
inline constexpr int kDotBias = 0x4B400000;
inline constexpr float kDotBiasValue = 12582912.0f;

/// A weight scale and the product that cancels the bias; the product is exact, 2 bits times 11.
struct weight_scale {
  float d;
  float minus_bias;
};

__device__ __forceinline__ weight_scale make_weight_scale(float d) { return {d, arch::mul_rn(d, -kDotBiasValue)}; }

__device__ __forceinline__ float scale_by_weight(int biased_dot, const weight_scale& w) {
  return arch::fma_rn(arch::bits_to_float(static_cast<uint32_t>(biased_dot)), w.d, w.minus_bias);
}
__device__ __forceinline__ float accumulate(int biased_dot, const weight_scale& w, float d8, float sum) {
  return arch::fma_rn(scale_by_weight(biased_dot, w), d8, sum);
}

/// wgmma has no operand beside its accumulators to start from. Its dots start from the product of a constant with
/// itself, 32 * 128 * 128 = 2^19, which is more than 16 * 8 * 127 * 32, the largest dot of weights times 16: so they
/// are positive, and a positive integer below 2^23 read as a float is the same integer in units of 2^-149, a subnormal
/// number. The powers of two in the scales of weights and tokens bring 16 * dot * 2^-149 back to dot.
inline constexpr uint32_t kBiasOperand = 0x80808080u;
inline constexpr float kSubnormalWeightFactor = 0x1p110f;
inline constexpr float kSubnormalBias = -0x1p-130f;  ///< -2^19 * 2^-149, times the weight scale with its factor
inline constexpr float kSubnormalTokenFactor = 0x1p35f;

/// Of a weight scale with its factor.
__device__ __forceinline__ weight_scale make_subnormal_weight_scale(float d) {
  return {d, arch::mul_rn(d, kSubnormalBias)};
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
