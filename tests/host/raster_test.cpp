// The order of tiles over Y.

#include <q4fuse/detail/tile/raster.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <utility>

namespace q4fuse_test {
namespace {

using q4fuse::detail::rasterize;

TEST(raster, every_tile_once) {
  for (const uint32_t tiles_n : {1u, 2u, 7u, 33u}) {
    for (const uint32_t tiles_m : {1u, 3u, 8u, 9u, 31u}) {
      for (const uint32_t band : {1u, 8u, 16u}) {
        std::set<std::pair<uint32_t, uint32_t>> seen;
        for (uint32_t index = 0; index < tiles_n * tiles_m; ++index) {
          const auto tile = rasterize(index, tiles_n, tiles_m, band);
          EXPECT_LT(tile.n, tiles_n);
          EXPECT_LT(tile.m, tiles_m);
          seen.insert({tile.n, tile.m});
        }
        EXPECT_EQ(seen.size(), tiles_n * tiles_m) << tiles_n << " x " << tiles_m << ", band " << band;
      }
    }
  }
}

TEST(raster, neighbours_share_weights_and_then_activations) {
  EXPECT_EQ(rasterize(0, 10, 40, 16).n, rasterize(15, 10, 40, 16).n);
  EXPECT_EQ(rasterize(0, 10, 40, 16).m, rasterize(16, 10, 40, 16).m);
  // The last band is narrower.
  const auto last = rasterize(399, 10, 40, 16);
  EXPECT_EQ(last.n, 9u);
  EXPECT_EQ(last.m, 39u);
  EXPECT_EQ(rasterize(320, 10, 40, 16).m, 32u);
  EXPECT_EQ(rasterize(328, 10, 40, 16).n, 1u);
}

// Two factors just within the limits of a grid.
TEST(raster, does_not_overflow) {
  const uint32_t tiles_m = 3;
  const uint32_t tiles_n = 715827882;
  const auto last = rasterize(tiles_n * tiles_m - 1, tiles_n, tiles_m, 16);
  EXPECT_EQ(last.n, tiles_n - 1);
  EXPECT_EQ(last.m, tiles_m - 1);
}

}  // namespace
}  // namespace q4fuse_test
