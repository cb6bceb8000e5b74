#pragma once

// How activations lie in shared memory: where the providers put a block, where a lane finds its tokens, and what became
// of a block's scale on the way. Word 0 of a Q8_1 block in global memory holds d and s, words 1 to 8 its quants.

#include <q4fuse/detail/arch/numeric.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Word 0 as it is in global memory, which is what asynchronous copies leave.
struct half_scales {
  static __device__ __forceinline__ uint32_t encode(uint32_t d_and_s) { return d_and_s; }
  static __device__ __forceinline__ float decode(uint32_t word) {
    return arch::half_to_float(static_cast<uint16_t>(word & 0xFFFFu));
  }
};

/// d alone, as FP32: converted once, when the block is stored, and not by every lane that reads it.
struct float_scales {
  static __device__ __forceinline__ uint32_t encode(uint32_t d_and_s) {
    return arch::float_to_bits(half_scales::decode(d_and_s));
  }
  static __device__ __forceinline__ float decode(uint32_t word) { return arch::bits_to_float(word); }
};

/// What a provider fills.
struct activation_tile {
  uint8_t* base;
  int row_bytes;
};

/// Every row of the tile exists; the row stride is known at compile time, so that offsets become immediates.
template <int kRowBytes>
struct full_token_rows {
  using scales = half_scales;
  __device__ __forceinline__ int offset(int token) const { return token * kRowBytes; }
};

/// Only `last` + 1 rows exist; tokens past the last read the last: their results are never stored.
struct clamped_token_rows {
  using scales = float_scales;
  int row_bytes;
  int last;
  __device__ __forceinline__ int offset(int token) const { return (token < last ? token : last) * row_bytes; }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
