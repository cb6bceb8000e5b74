#pragma once

// Tensor maps as the emulated copies read them, with the driver's refusals.

#include <q4fuse/detail/arch/tensor_copy_sm90.cuh>

#include <cstdint>
#include <limits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

struct tiled_matrix {
  const void* base;
  int64_t row_bytes;
  int64_t columns;
  int64_t rows;
  int tile_columns;
  int tile_rows;
  bool swizzled;
};

inline bool encode_tensor_map(const tiled_matrix& matrix, arch::tensor_map* map) {
  constexpr int64_t kMostElements = int64_t{1} << 32;
  if (reinterpret_cast<uintptr_t>(matrix.base) % 16 != 0 || matrix.row_bytes % 16 != 0) return false;
  if (matrix.columns < 1 || matrix.columns > kMostElements || matrix.rows < 1 || matrix.rows > kMostElements) {
    return false;
  }
  if (matrix.tile_columns % 16 != 0 || matrix.tile_columns > 256 || matrix.tile_rows > 256) return false;
  if (matrix.swizzled && matrix.tile_columns != arch::kSwizzledRowBytes) return false;
  *map = {static_cast<const uint8_t*>(matrix.base),
          matrix.row_bytes,
          matrix.columns,
          matrix.rows,
          matrix.tile_columns,
          matrix.tile_rows,
          matrix.swizzled};
  return true;
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
