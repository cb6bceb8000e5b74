#pragma once

#include <q4fuse/detail/arch/memory.cuh>
#include <q4fuse/detail/arch/target.hpp>
#include <q4fuse/detail/arch/wgmma_sm90.cuh>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

/// As the library describes it, not as a driver encodes it.
struct tensor_map {
  const uint8_t* base;
  int64_t row_bytes;
  int64_t columns;
  int64_t rows;
  int tile_columns;
  int tile_rows;
  bool swizzled;
};

/// Done by the thread that asks, in the proxy that products read through. Others learn of it by the arrival on the
/// barrier, which the thread has yet to make: so copies come before the arrival that expects them.
template <int kRequired = 90>
void tensor_copy(void* shared, const tensor_map& map, int column, int row, void* barrier, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "cp.async.bulk.tensor needs sm_90");
  q4fuse_emulator::device.note_tensor_copy(shared, map.swizzled ? 1024 : 128, barrier,
                                           int64_t{map.tile_columns} * map.tile_rows, where);
  for (int r = 0; r < map.tile_rows; ++r) {
    for (int c = 0; c < map.tile_columns; c += 16) {
      const bool inside = row + r < map.rows && column + c < map.columns;
      const uint8_t* const from = map.base + (row + r) * map.row_bytes + column + c;
      const int place = map.swizzled ? swizzled_offset(r, c) : r * map.tile_columns + c;
      store_shared<uint4>(static_cast<uint8_t*>(shared) + place, inside ? load_global<uint4>(from, where) : uint4{},
                          where);
    }
  }
  fence_proxy_async();
}

/// The same for bytes in a row.
template <int kRequired = 90>
void bulk_copy(void* shared, const void* global, int bytes, void* barrier, bool /*once*/, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "cp.async.bulk needs sm_90");
  q4fuse_emulator::device.note_tensor_copy(shared, 16, barrier, bytes, where);
  for (int i = 0; i < bytes; i += 16) {
    store_shared<uint4>(static_cast<uint8_t*>(shared) + i,
                        load_global<uint4>(static_cast<const uint8_t*>(global) + i, where), where);
  }
  fence_proxy_async();
}

/// NaNs as halves: a sum that depended on them would be one.
inline void leave_unspecified(void* shared, int bytes, site where = site::here()) {
  constexpr uint32_t kNans = 0x7FFF7FFF;
  for (int i = 0; i < bytes; i += 16) {
    store_shared<uint4>(static_cast<uint8_t*>(shared) + i, uint4{kNans, kNans, kNans, kNans}, where);
  }
}

template <int kRequired = 90>
void copy_to_cluster(const void* shared, int bytes, int rank, const void* barrier, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "cp.async.bulk needs sm_90");
  q4fuse_emulator::device.copy_to_cluster(shared, bytes, rank, barrier, where);
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
