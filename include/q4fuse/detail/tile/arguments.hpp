#pragma once

// What a GEMM kernel is told at run time.

#include <q4fuse/detail/config.hpp>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Rows of a matrix in global memory, as bytes.
struct row_source {
  const uint8_t* base;
  int64_t row_bytes;  ///< from one row to the next
  int access_bytes;   ///< widest of 16, 8, 4, 2 that divides the address and length of every piece of a row
};

struct gemm_arguments {
  row_source w;  ///< Q4_0 blocks
  row_source x;  ///< FP16 elements or Q8_1 blocks, as the kernel's activation type says
  float* y;
  int64_t ldy;
  int64_t m;
  int64_t n;
  int k_blocks;
  int first_block;     ///< where those begin: 0 but in a CTA that has a slice of k, for the tensor maps alone
  int row_clusters;    ///< of the weight-bound, stream-K and sliced-K families: clusters that share the rows of W
  int round_tiles;     ///< of the last two: row tiles that warps share before sums are exchanged
  bool dependent;      ///< launched with programmatic stream serialization
  bool tensor_copies;  ///< of the warpgroup family: the tensor map of X may be used
  bool weight_tensor_copies;  ///< and that of W, too
};

/// The widest access that address and lengths allow.
inline int widest_access(const void* base, int64_t row_bytes, int64_t row_length) {
  const uint64_t bits =
      reinterpret_cast<uintptr_t>(base) | static_cast<uint64_t>(row_bytes) | static_cast<uint64_t>(row_length);
  return bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : bits % 4 == 0 ? 4 : 2;
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
