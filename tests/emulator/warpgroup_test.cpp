// The stand-in for wgmma, against a definition written down a second time.

#include "emulator/faults/fault_harness.hpp"
#include "reference/oracle.hpp"

#include <cmath>
#include <memory>
#include <random>
#include <utility>

namespace q4fuse_emulator {
namespace {

/// A 64 x 16 and a 16 x kN matrix of small integers as halves, two warpgroups, each with a tile of its own.
template <int kN>
struct half_matrices {
  int a[2][64][16];
  int b[2][kN][16];
  float c[2][64][kN];
};

uint32_t pack_halves(int x, int y) {
  return q4fuse_reference::double_to_half(x) | uint32_t{q4fuse_reference::double_to_half(y)} << 16;
}

/// The tile is written as PTX describes it, not with the library's function: rows of 128 bytes, and of the eight
/// 16-byte units of row r, unit u in place u ^ (r % 8). The product is of columns 16 to 31.
template <int kN, bool kStart>
__global__ void warpgroup_product_kernel(const half_matrices<kN>* m) {
  const int group = arch::thread_index() / 128;
  const int thread = arch::thread_index() % 128;
  const int g = thread % 32 / 4;
  const int t = thread % 4;
  const int first_row = thread / 32 * 16;
  uint8_t* const tile = arch::shared_memory() + group * kN * 128;
  for (int row = thread; row < kN; row += 128) {
    for (int k = 0; k < 16; k += 2) {
      const int unit = 2 + k / 8;
      const int* pair = &m->b[group][row][k];
      arch::store_shared<uint32_t>(tile + row * 128 + (unit ^ row % 8) * 16 + k % 8 * 2, pack_halves(pair[0], pair[1]));
    }
  }
  arch::fence_proxy_async();
  arch::sync_cta();

  uint32_t a[4];
  for (int i = 0; i < 4; ++i) {
    const int* pair = &m->a[group][first_row + g + i % 2 * 8][2 * t + i / 2 * 8];
    a[i] = pack_halves(pair[0], pair[1]);
  }
  float d[kN / 2];
  const auto element = [&](int i) {
    return std::pair<int, int>{first_row + g + (i % 4 < 2 ? 0 : 8), i / 4 * 8 + 2 * t + i % 2};
  };
  for (int i = 0; i < kN / 2; ++i) d[i] = m->c[group][element(i).first][element(i).second];
  arch::wgmma_fence();
  if constexpr (kStart) {
    arch::wgmma_m64k16_f16_start<kN>(d, a, arch::make_wgmma_descriptor(tile + 32));
  } else {
    arch::wgmma_m64k16_f16<kN>(d, a, arch::make_wgmma_descriptor(tile + 32));
  }
  arch::wgmma_m64k16_f16<kN>(d, a, arch::make_wgmma_descriptor(tile) + 2);
  arch::wgmma_commit();
  EXPECT_TRUE(std::isnan(d[0])) << "nothing is there before the wait";
  arch::wgmma_wait<0>();
  for (int i = 0; i < kN / 2; ++i) {
    const auto [row, column] = element(i);
    int dot = 0;
    for (int k = 0; k < 16; ++k) dot += m->a[group][row][k] * m->b[group][column][k];
    const float sum = kStart ? 0.0f : m->c[group][row][column];
    EXPECT_EQ(d[i], sum + static_cast<float>(2 * dot)) << row << ", " << column;
  }
}

class arch_warpgroup : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(arch_warpgroup);

template <int kN, bool kStart = false>
void expect_warpgroup_product() {
  std::mt19937 random(4);
  const auto small = [&] { return static_cast<int>(random() % 63) - 31; };
  const auto m = std::make_unique<half_matrices<kN>>();
  for (int group = 0; group < 2; ++group) {
    for (auto& row : m->a[group]) {
      for (int& value : row) value = small();
    }
    for (auto& row : m->b[group]) {
      for (int& value : row) value = small();
    }
    for (auto& row : m->c[group]) {
      for (float& value : row) value = static_cast<float>(small());
    }
  }
  expect_clean(run(warpgroup_product_kernel<kN, kStart>, {256, 2 * kN * 128}, m.get()));
}

TEST_P(arch_warpgroup, product_of_32_columns) { expect_warpgroup_product<32>(); }
TEST_P(arch_warpgroup, product_of_64_columns) { expect_warpgroup_product<64>(); }
TEST_P(arch_warpgroup, product_of_128_columns) { expect_warpgroup_product<128>(); }
TEST_P(arch_warpgroup, product_that_starts_afresh) { expect_warpgroup_product<32, true>(); }

TEST(arch_swizzle, place_of_a_byte_in_a_swizzled_tile) {
  EXPECT_EQ(arch::swizzled_offset(0, 77), 77);
  EXPECT_EQ(arch::swizzled_offset(1, 0), 128 + 16);
  EXPECT_EQ(arch::swizzled_offset(7, 127), 7 * 128 + 15);
  EXPECT_EQ(arch::swizzled_offset(13, 40), 13 * 128 + (2 ^ 5) * 16 + 8);
}

}  // namespace
}  // namespace q4fuse_emulator
