#pragma once

// The order of CTAs over the tiles of Y.

#include <q4fuse/detail/config.hpp>

#include <cuda_runtime_api.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Tokens of a band: CTAs that run together, one on each of 132 multiprocessors, then cover about as many rows of W as
/// tokens, and read each of either from the L2 for several tiles.
inline constexpr int kBandTokens = 2048;

struct tile_coordinates {
  uint32_t n;
  uint32_t m;
};

/// Tile `index` of tiles_n x tiles_m, which are fewer than 2^32: bands of at most `band` tiles along m, one after the
/// other; within a band, the tiles of one row of weights are neighbours. The first copies of a kernel wait for this:
/// one division where there is one band.
__host__ __device__ constexpr tile_coordinates rasterize(uint32_t index, uint32_t tiles_n, uint32_t tiles_m,
                                                         uint32_t band) {
  uint32_t first = 0;
  uint32_t width = tiles_m;
  if (tiles_m > band) {
    first = index / (tiles_n * band) * band;
    index %= tiles_n * band;
    width = tiles_m - first < band ? tiles_m - first : band;
  }
  if (width == 1) return {index, first};
  return {index / width, first + index % width};
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
