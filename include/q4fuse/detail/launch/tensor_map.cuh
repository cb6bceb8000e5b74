#pragma once

// Encodes what tensor copies have to know of a matrix, by a function of the driver that the runtime finds: nothing is
// linked for it.

#include <q4fuse/detail/arch/tensor_copy_sm90.cuh>
#include <q4fuse/detail/config.hpp>

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// A matrix of rows of bytes, and the tiles that are copied of it.
struct tiled_matrix {
  const void* base;   ///< 16-byte aligned
  int64_t row_bytes;  ///< from one row to the next, a multiple of 16
  int64_t columns;    ///< bytes of a row that exist
  int64_t rows;
  int tile_columns;  ///< bytes, a multiple of 16 up to 256
  int tile_rows;     ///< up to 256
  bool swizzled;     ///< 128-byte swizzle, of tiles as wide
};

/// Whether that succeeded: matrices that are too large, and drivers that do not know how, have to be copied otherwise.
inline bool encode_tensor_map(const tiled_matrix& matrix, arch::tensor_map* map) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
#else
  const cudaError_t error = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
  if (error != cudaSuccess || found != cudaDriverEntryPointSuccess || function == nullptr) return false;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(matrix.columns), static_cast<cuuint64_t>(matrix.rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(matrix.row_bytes)};
  const cuuint32_t tile[2] = {static_cast<cuuint32_t>(matrix.tile_columns), static_cast<cuuint32_t>(matrix.tile_rows)};
  const cuuint32_t steps[2] = {1, 1};
  CUtensorMap encoded;
  const auto encode = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  const CUresult result =
      encode(&encoded, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(matrix.base), sizes, strides, tile, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, matrix.swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  static_assert(sizeof(encoded) == sizeof(*map), "the driver's size");
  std::memcpy(map, &encoded, sizeof(*map));
  return result == CUDA_SUCCESS;
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
