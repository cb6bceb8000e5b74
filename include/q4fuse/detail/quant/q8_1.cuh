#pragma once

// The Q8_1 encoder: the one piece of code behind the standalone kernel and the fused kernels.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/arch/target.hpp>
#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/formats.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// A lane's share of a block: four neighbouring lanes hold eight elements each, one 16-byte load, so that a reduction
/// over the block takes two shuffles.
inline constexpr int kLanesPerBlock = 4;
inline constexpr int kHalvesPerLane = kBlockSize / kLanesPerBlock;

struct q8_1_lane {
  uint32_t qs[2];  ///< elements 8 * lane .. 8 * lane + 7 of the block
  uint32_t scale;  ///< d in the low half, s (or zero) in the high one
};

/// amax / 127 correctly rounded for every finite FP16 amax (tested over all of them): one correction of the product
/// with the rounded 1/127.
__device__ __forceinline__ float divide_by_127(float amax) {
  constexpr float kInverse = 1.0f / 127.0f;
  const float quotient = arch::mul_rn(amax, kInverse);
  return arch::fma_rn(arch::fma_rn(quotient, -127.0f, amax), kInverse, quotient);
}

/// Four signed bytes, from the low bytes of four words.
__device__ __forceinline__ uint32_t pack_low_bytes(const uint32_t (&word)[4]) {
  return arch::byte_permute(arch::byte_permute(word[0], word[1], 0x0040), arch::byte_permute(word[2], word[3], 0x0040),
                            0x5410);
}

/// The reference's own steps: multiply, then round half away from zero. Adding the largest float below one half, not
/// one half itself, keeps 0.49999997 from being carried up to 1.
__device__ __forceinline__ uint32_t quantize_as_reference(float x, float inverse) {
  const float scaled = arch::mul_rn(x, inverse);
  const uint32_t sign = arch::float_to_bits(scaled) & 0x80000000u;
  return static_cast<uint32_t>(arch::float_to_int_rz(arch::add_rn(scaled, arch::bits_to_float(sign | 0x3EFFFFFFu))));
}

/// 1 / d correctly rounded, for the 2047 significands that d can have here (tested over all of them): one Newton step.
__device__ __forceinline__ float reciprocal(float d) {
  const float estimate = arch::rcp_approx(d);
  return arch::fma_rn(estimate, arch::fma_rn(-d, estimate, 1.0f), estimate);
}

/// The same value with one FMA an element, for nearly every block. Adding 1.5 * 2^23 rounds to an integer and leaves it
/// in the low bits, but rounds ties to even, so ties have to be told apart beforehand. A tie needs |x| = (2q + 1) *
/// amax / 254, which FP16 values meet in two ways only: 127 divides the significand of amax (then amax / 127 is exact,
/// and the caller takes the reference's steps), or 2q + 1 = 127, that is |x| = amax / 2. What the reference makes of
/// that one is known before the elements are: it rounds to 64 when the rounded amax / d reaches 127. All other x / d
/// are at least 2^-19 (relative) away from a tie, so scaling 1 / d by 1 +- 2^-21 moves amax / 2 to the right side and
/// nothing else. Checked exhaustively: every significand of amax against every x.
__device__ __forceinline__ float nudged_inverse(float amax, float inverse) {
  return arch::mul_rn(inverse, arch::mul_rn(amax, inverse) >= 127.0f ? 1.0f + 0x1p-21f : 1.0f - 0x1p-21f);
}
__device__ __forceinline__ uint32_t quantize_without_ties(float x, float inverse) {
  return arch::float_to_bits(arch::fma_rn(x, inverse, 12582912.0f));
}

/// A lane's eight halves where no 16-byte load is possible.
__device__ __forceinline__ uint4 load_halves_unaligned(const uint8_t* address) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    words[i] = arch::load_global<uint16_t>(address + 4 * i) | uint32_t{arch::load_global<uint16_t>(address + 4 * i + 2)}
                                                                  << 16;
  }
  return {words[0], words[1], words[2], words[3]};
}

/// What the lanes of a block know of all of it.
struct q8_1_scaling {
  float amax;
  float d;
  float inverse;
  bool ties_possible;  ///< also where all of the block is zero, unless kNoTiesOfZeros
};

/// The largest magnitude of a lane's even elements, and of its odd ones. The maximum goes over the integer bits of the
/// halves, because that carries NaN and Inf through, which a floating-point maximum does not.
__device__ __forceinline__ uint32_t max_magnitudes(const uint4& halves) {
  constexpr uint32_t kMagnitude = 0x7FFF7FFFu;
  return arch::max_u16x2(arch::max_u16x2(halves.x & kMagnitude, halves.y & kMagnitude),
                         arch::max_u16x2(halves.z & kMagnitude, halves.w & kMagnitude));
}

inline constexpr float kLargestFloat = 3.402823466e+38f;

/// Of a block whose largest magnitude is that half. Tiles are filled up with blocks of zeros: with kNoTiesOfZeros they
/// need no steps of their own, because a finite inverse makes zeros of them. It takes two operations, and a register.
template <bool kNoTiesOfZeros>
__device__ __forceinline__ q8_1_scaling make_scaling(uint32_t amax) {
  q8_1_scaling scaling;
  scaling.amax = arch::half_to_float(static_cast<uint16_t>(amax));
  scaling.d = divide_by_127(scaling.amax);
  scaling.ties_possible = arch::fma_rn(scaling.d, -127.0f, scaling.amax) == 0.0f;
  scaling.inverse = reciprocal(scaling.d);
  if constexpr (kNoTiesOfZeros) {
    scaling.ties_possible = scaling.ties_possible && scaling.amax > 0.0f;
    scaling.inverse = arch::min_number(scaling.inverse, kLargestFloat);
  }
  return scaling;
}

/// Of the blocks held by a warp, all 32 lanes taking part.
__device__ __forceinline__ q8_1_scaling scale_block(const uint4& halves) {
  uint32_t maximum = max_magnitudes(halves);
  maximum = arch::max_u16x2(maximum, arch::shuffle_xor(maximum, 1));
  maximum = arch::max_u16x2(maximum, arch::shuffle_xor(maximum, 2));
  const uint32_t low = maximum & 0xFFFFu;
  const uint32_t high = maximum >> 16;
  return make_scaling<false>(low > high ? low : high);
}

/// A lane's quants, each the low byte of a word, by `quantize`.
template <class Quantize>
__device__ __forceinline__ void quantize_lane(q8_1_lane& lane, const uint4& halves, const Quantize& quantize) {
  const uint32_t words[4] = {halves.x, halves.y, halves.z, halves.w};
  uint32_t q[2][4];
#pragma unroll
  for (int i = 0; i < kHalvesPerLane / 2; ++i) {
    const float2 two = arch::half2_to_float2(words[i]);
    q[i / 2][i % 2 * 2] = quantize(two.x);
    q[i / 2][i % 2 * 2 + 1] = quantize(two.y);
  }
  lane.qs[0] = pack_low_bytes(q[0]);
  lane.qs[1] = pack_low_bytes(q[1]);
}
__device__ __forceinline__ float reference_inverse(const q8_1_scaling& scaling) {
  return scaling.d != 0.0f ? scaling.inverse : 0.0f;
}
__device__ __forceinline__ void quantize_lane_as_reference(q8_1_lane& lane, const uint4& halves, float inverse) {
  quantize_lane(lane, halves, [&](float x) { return quantize_as_reference(x, inverse); });
}
__device__ __forceinline__ void quantize_lane_without_ties(q8_1_lane& lane, const uint4& halves, float nudged) {
  quantize_lane(lane, halves, [&](float x) { return quantize_without_ties(x, nudged); });
}

/// Encodes the blocks held by a warp, all 32 lanes taking part.
template <bool kWithSum>
__device__ __forceinline__ q8_1_lane encode_q8_1(const uint4& halves) {
  const q8_1_scaling scaling = scale_block(halves);
  q8_1_lane lane;
  // Either way converts the halves: once for both would cost a tenth of the time of a fused tile kernel. The order is
  // the one in which the fused kernels of the target need no more registers than there are.
  if constexpr (arch::kTargetHas<90>) {
    quantize_lane_without_ties(lane, halves, nudged_inverse(scaling.amax, scaling.inverse));
    if (scaling.ties_possible) quantize_lane_as_reference(lane, halves, reference_inverse(scaling));
  } else if (scaling.ties_possible) {
    quantize_lane_as_reference(lane, halves, reference_inverse(scaling));
  } else {
    quantize_lane_without_ties(lane, halves, nudged_inverse(scaling.amax, scaling.inverse));
  }
  lane.scale = arch::float_to_half_rn(scaling.d);
  if constexpr (kWithSum) {
    constexpr uint32_t kOnes = 0x01010101u;
    int sum = arch::dp4a(lane.qs[1], kOnes, arch::dp4a(lane.qs[0], kOnes, 0));
    sum += arch::shuffle_xor(sum, 1);
    sum += arch::shuffle_xor(sum, 2);
    lane.scale |= uint32_t{arch::float_to_half_rn(arch::mul_rn(scaling.d, arch::int_to_float_rn(sum)))} << 16;
  }
  return lane;
}

/// The lane, of the four of a block, that knows the scale of the i-th of kCount blocks encoded together.
template <int kCount>
__host__ __device__ constexpr int scale_owner(int i) {
  return kCount == 4 ? i / 2 + i % 2 * 2 : i;
}

/// Encodes two or four times as many, without their sums. What the lanes of a block would all compute alike, its scale
/// and the inverse, each computes for one of them: their maxima are reduced and dealt out at once, and the inverses
/// handed round. `scale` is that of the lane's own block in all of them. Blocks with ties are few, and quantized again,
/// or with kApart in a branch of its own for all blocks of the warp. Which of the two fits the
/// registers differs from kernel to kernel: stream-K kernels, with loads on their way, spill with kApart, producers of
/// the warpgroup family without.
template <bool kApart, int kCount>
__device__ __forceinline__ void encode_q8_1(q8_1_lane (&lanes)[kCount], const uint4 (&halves)[kCount]) {
  static_assert(kCount == 2 || kCount == 4, "as many as the lanes of a block, or half");
  const int part = arch::lane_index() % kLanesPerBlock;
  uint32_t maximum[kCount / 2];  // of two blocks each, the even one's in the low half
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) {
    const uint32_t even = max_magnitudes(halves[2 * i]);
    const uint32_t odd = max_magnitudes(halves[2 * i + 1]);
    maximum[i] = arch::max_u16x2(arch::byte_permute(even, odd, 0x5410), arch::byte_permute(even, odd, 0x7632));
  }
  uint32_t own = maximum[0];
  bool high = part % 2 != 0;
  if constexpr (kCount == 4) {
    own = arch::max_u16x2(high ? maximum[1] : maximum[0], arch::shuffle_xor(high ? maximum[0] : maximum[1], 1));
    high = part / 2 != 0;
  } else {
    own = arch::max_u16x2(own, arch::shuffle_xor(own, 1));
  }
  own = arch::max_u16x2(own, arch::shuffle_xor(own, 2));
  const q8_1_scaling scaling = make_scaling<arch::kTargetHas<90>>(high ? own >> 16 : own & 0xFFFFu);
  const float nudged = nudged_inverse(scaling.amax, scaling.inverse);
  const bool apart = kApart && arch::any_of_warp(scaling.ties_possible);
  if (!apart) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      quantize_lane_without_ties(lanes[i], halves[i], arch::shuffle_of_four(nudged, scale_owner<kCount>(i)));
    }
  }
  if (kApart ? apart : arch::any_of_warp(scaling.ties_possible)) {
    const float inverse = kApart || scaling.ties_possible ? reference_inverse(scaling) : -1.0f;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float inverse_of_block = arch::shuffle_of_four(inverse, scale_owner<kCount>(i));
      if (kApart || inverse_of_block >= 0.0f) quantize_lane_as_reference(lanes[i], halves[i], inverse_of_block);
    }
  }
  const uint32_t scale = arch::float_to_half_rn(scaling.d);
#pragma unroll
  for (int i = 0; i < kCount; ++i) lanes[i].scale = scale;
}

/// Every block's own scale in all four of its lanes.
template <int kCount>
__device__ __forceinline__ void share_scales(q8_1_lane (&lanes)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) lanes[i].scale = arch::shuffle_of_four(lanes[i].scale, scale_owner<kCount>(i));
}

/// Stores a lane's share of a block that starts at `block` in shared memory, 4-byte aligned.
__device__ __forceinline__ void store_q8_1(uint8_t* block, const q8_1_lane& lane) {
  const int part = arch::lane_index() % kLanesPerBlock;
  if (part == 0) arch::store_shared<uint32_t>(block, lane.scale);
  arch::store_shared<uint32_t>(block + 4 + 8 * part, lane.qs[0]);
  arch::store_shared<uint32_t>(block + 8 + 8 * part, lane.qs[1]);
}

}  // namespace detail

/// Quantizes FP16 values held in registers into a Q8_1 block in shared memory. All 32 lanes of the warp call it; lanes
/// 4i to 4i + 3 hold elements 0-7, 8-15, 16-23 and 24-31 of one block and pass the same `block`, 4-byte aligned, or
/// all pass null to store nothing. `kWithSum` also computes s, which the GEMMs never read; without it s is zero.
template <bool kWithSum = true>
__device__ __forceinline__ void quantize_fp16_to_q8_1_smem(const uint4& halves, uint8_t* block) {
  const detail::q8_1_lane lane = detail::encode_q8_1<kWithSum>(halves);
  if (block != nullptr) detail::store_q8_1(block, lane);
}

Q4FUSE_NAMESPACE_END
