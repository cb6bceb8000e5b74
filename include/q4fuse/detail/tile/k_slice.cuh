#pragma once

// What of k a CTA multiplies where a cluster shares it.

#include <q4fuse/detail/arch/thread.cuh>
#include <q4fuse/detail/tile/arguments.hpp>
#include <q4fuse/detail/tile/layout.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The CTA's slice, as if it were all of k: whole pieces, and possibly none.
template <class Policy>
__device__ __forceinline__ gemm_arguments slice_of_k(gemm_arguments arguments, int x_block_bytes) {
  if constexpr (Policy::kSharesK) {
    const auto rank = static_cast<int>(arch::cta_index() % Policy::kClusterK);
    const int first = pieces_before(rank, Policy::kClusterK, arguments.k_blocks) * kPieceBlocks;
    const int end = pieces_before(rank + 1, Policy::kClusterK, arguments.k_blocks) * kPieceBlocks;
    arguments.w.base += int64_t{first} * kWeightBlockBytes;
    arguments.x.base += int64_t{first} * x_block_bytes;
    arguments.first_block = first;
    arguments.k_blocks = (end < arguments.k_blocks ? end : arguments.k_blocks) - first;
  }
  return arguments;
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
