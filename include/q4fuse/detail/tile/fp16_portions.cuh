#pragma once

// Where eight elements of an FP16 tile come from: one type for each kind of row in global memory and math mode. `load`
// takes a portion, part `part` of a block, into registers, in wide accesses if `is_wide` says that rows allow them;
// `encode` turns it into halves. All lanes of a warp encode together, four neighbours one block.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/quant/block_scale.cuh>
#include <q4fuse/detail/quant/fp16_activations.cuh>
#include <q4fuse/detail/quant/q8_1.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// A word where rows may begin at any even address.
__device__ __forceinline__ uint32_t load_word(const uint8_t* address, int access_bytes) {
  if (access_bytes >= 4) return arch::load_global<uint32_t>(address);
  return arch::load_global<uint16_t>(address) | uint32_t{arch::load_global<uint16_t>(address + 2)} << 16;
}

/// Halves as they are.
struct direct_portion {
  static constexpr bool kIntegers = false;
  // For the warpgroup family.
  static constexpr bool kAsTheyAre = true;          ///< what is copied is what is multiplied
  static constexpr bool kThroughRegisters = false;  ///< aligned for asynchronous copies
  static constexpr int kProducerWarps = 4;
  static constexpr int kBatch = 2;      ///< portions that a thread converts beside each other
  static constexpr int kCopyPairs = 1;  ///< pairs of blocks that a tensor copy brings
  static constexpr int kCopies = 3;     ///< of which are on their way
  using type = uint4;
  static constexpr int kSourceBlockBytes = kBlockSize * 2;

  static __device__ __forceinline__ bool is_wide(int access_bytes) { return access_bytes == 16; }
  template <bool kWide>
  static __device__ __forceinline__ type load(const uint8_t* block, int part) {
    const uint8_t* const address = block + part * kHalvesPerLane * 2;
    if constexpr (kWide) return arch::load_global<uint4>(address);
    return load_halves_unaligned(address);
  }
  static __device__ __forceinline__ type load_shared(const uint8_t* block, int part) {
    return arch::load_shared<uint4>(block + part * kHalvesPerLane * 2);
  }
  static __device__ __forceinline__ uint4 encode(const type& halves) { return halves; }
  template <int kCount>
  static __device__ __forceinline__ void encode(uint4 (&encoded)[kCount], const type (&halves)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) encoded[i] = halves[i];
  }
};

/// Halves, quantized to Q8_1 and back.
struct requantized_portion : direct_portion {
  static constexpr bool kAsTheyAre = false;
  static constexpr int kProducerWarps = 8;
  static constexpr int kBatch = 4;
  static __device__ __forceinline__ uint4 encode(const type& halves) {
    return dequantize_q8_1(encode_q8_1<false>(halves));
  }
  template <int kCount>
  static __device__ __forceinline__ void encode(uint4 (&encoded)[kCount], const type (&halves)[kCount]) {
    q8_1_lane lanes[kCount];
    if constexpr (kCount == 1) {
      lanes[0] = encode_q8_1<false>(halves[0]);
    } else {
      encode_q8_1<true>(lanes, halves);
      share_scales(lanes);
    }
    dequantize_q8_1(encoded, lanes);
  }
};

/// Q8_1 blocks: eight quants and the scale of their block.
struct q8_1_portion {
  static constexpr bool kIntegers = false;
  static constexpr bool kAsTheyAre = false;
  static constexpr bool kThroughRegisters = true;
  static constexpr int kProducerWarps = 8;
  static constexpr int kBatch = 4;
  static constexpr int kCopyPairs = 2;
  static constexpr int kCopies = 3;
  using type = q8_1_lane;
  static constexpr int kSourceBlockBytes = kQ8_1BlockBytes;

  static __device__ __forceinline__ bool is_wide(int access_bytes) { return access_bytes >= 4; }
  template <bool kWide>
  static __device__ __forceinline__ type load(const uint8_t* block, int part) {
    const uint8_t* const quants = block + 4 + part * kHalvesPerLane;
    constexpr int kAccess = kWide ? 4 : 2;
    return {{load_word(quants, kAccess), load_word(quants + 4, kAccess)}, arch::load_global<uint16_t>(block)};
  }
  static __device__ __forceinline__ type load_shared(const uint8_t* block, int part) {
    const uint8_t* const quants = block + 4 + part * kHalvesPerLane;
    return {{arch::load_shared<uint32_t>(quants), arch::load_shared<uint32_t>(quants + 4)},
            arch::load_shared<uint32_t>(block)};
  }
  static __device__ __forceinline__ uint4 encode(const type& lane) { return dequantize_q8_1(lane); }
  template <int kCount>
  static __device__ __forceinline__ void encode(uint4 (&encoded)[kCount], const type (&lanes)[kCount]) {
    dequantize_q8_1(encoded, lanes);
  }
};

/// For exact dots the tile holds quants, and their scales beside it.
struct q8_1_quants : q8_1_portion {
  static constexpr bool kIntegers = true;
  static constexpr int kProducerWarps = 4;
  static constexpr float kScaleFactor = kSubnormalTokenFactor;
  template <bool kApart, int kCount>
  static __device__ __forceinline__ void encode(q8_1_lane (&encoded)[kCount], const type (&lanes)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) encoded[i] = lanes[i];
  }
  /// Which of a block's lanes stores its scale.
  template <int kCount>
  static __device__ __forceinline__ constexpr int scale_owner(int /*i*/) {
    return 0;
  }
};
struct quantized_quants : direct_portion {
  static constexpr int kBatch = 4;
  static constexpr int kCopyPairs = 2;
  static constexpr int kCopies = 2;
  static constexpr bool kIntegers = true;
  static constexpr bool kAsTheyAre = false;
  static constexpr int kProducerWarps = 4;
  static constexpr float kScaleFactor = kSubnormalTokenFactor;
  /// The scale of the lane's own block in all of them.
  template <bool kApart, int kCount>
  static __device__ __forceinline__ void encode(q8_1_lane (&encoded)[kCount], const type (&halves)[kCount]) {
    encode_q8_1<kApart>(encoded, halves);
  }
  template <int kCount>
  static __device__ __forceinline__ constexpr int scale_owner(int i) {
    return detail::scale_owner<kCount>(i);
  }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
