#pragma once

// Q4_0 as the dot instructions want it.

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Nibbles become 16 * (q - 8) as signed bytes with one LOP3 (and a shift): the factor 16 is undone, exactly, when the
/// sum is stored.
inline constexpr float kNibbleScale = 0.0625f;

__device__ __forceinline__ uint32_t high_nibbles_x16(uint32_t quants) {
  return arch::and_xor(quants, 0xF0F0F0F0u, 0x80808080u);
}
__device__ __forceinline__ uint32_t low_nibbles_x16(uint32_t quants) { return high_nibbles_x16(quants << 4); }

/// Two neighbouring blocks are 9 words: block 0 has its scale in the low half of word 0 and its quants from byte 2 on,
/// block 1 its scale in the high half of word 4 and its quants in words 5 to 8.
inline constexpr int kPairBytes = 2 * kWeightBlockBytes;

/// Bytes 4 * word .. 4 * word + 3 of the quants of block kBlock (0 or 1) of the pair at `pair` in shared memory.
template <int kBlock>
__device__ __forceinline__ uint32_t load_quants(const uint8_t* pair, int word) {
  if constexpr (kBlock == 1) return arch::load_shared<uint32_t>(pair + 20 + 4 * word);
  return arch::byte_permute(arch::load_shared<uint32_t>(pair + 4 * word),
                            arch::load_shared<uint32_t>(pair + 4 * word + 4), 0x5432);
}

template <int kBlock>
__device__ __forceinline__ float load_weight_scale(const uint8_t* pair) {
  return arch::half_to_float(arch::load_shared<uint16_t>(pair + kBlock * kWeightBlockBytes));
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
