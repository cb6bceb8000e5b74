#pragma once

// Where a lane finds its tokens in an activation tile.

#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Every row of the tile exists; the row stride is known at compile time, so that offsets become immediates.
template <int kRowBytes>
struct full_token_rows {
  __device__ __forceinline__ int offset(int token) const { return token * kRowBytes; }
};

/// Only `tokens` rows exist; tokens past the last read the last: their results are never stored.
struct clamped_token_rows {
  int row_bytes;
  int last;
  __device__ __forceinline__ int offset(int token) const { return (token < last ? token : last) * row_bytes; }
};

}  // namespace detail
Q4FUSE_NAMESPACE_END
