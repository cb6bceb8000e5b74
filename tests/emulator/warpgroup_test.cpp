// The stand-ins for wgmma and setmaxnreg, against definitions written down a second time.

#include "emulator/faults/fault_harness.hpp"
#include "reference/oracle.hpp"

#include <q4fuse/detail/arch/register_share_sm90.cuh>

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
template <int kN>
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
  arch::wgmma_m64k16_f16<kN>(d, a, arch::make_wgmma_descriptor(tile + 32));
  arch::wgmma_m64k16_f16<kN>(d, a, arch::make_wgmma_descriptor(tile) + 2);
  arch::wgmma_commit();
  EXPECT_TRUE(std::isnan(d[0])) << "nothing is there before the wait";
  arch::wgmma_wait<0>();
  for (int i = 0; i < kN / 2; ++i) {
    const auto [row, column] = element(i);
    int dot = 0;
    for (int k = 0; k < 16; ++k) dot += m->a[group][row][k] * m->b[group][column][k];
    const float sum = m->c[group][row][column];
    EXPECT_EQ(d[i], sum + static_cast<float>(2 * dot)) << row << ", " << column;
  }
}

class arch_warpgroup : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(arch_warpgroup);

template <int kN>
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
  expect_clean(run(warpgroup_product_kernel<kN>, {256, 2 * kN * 128}, m.get()));
}

TEST_P(arch_warpgroup, product_of_32_columns) { expect_warpgroup_product<32>(); }
TEST_P(arch_warpgroup, product_of_64_columns) { expect_warpgroup_product<64>(); }
TEST_P(arch_warpgroup, product_of_128_columns) { expect_warpgroup_product<128>(); }

/// Signed bytes: a product of two matrices in shared memory, of k = 32 to 63 there, to which one of the A in registers
/// is added; or, without `kStart`, twice the latter. With `kRepeat` only eight rows of B exist.
template <int kN>
struct byte_matrices {
  int8_t shared_a[2][64][32];
  int8_t a[2][64][32];
  int8_t b[2][kN][32];
  int c[2][64][kN];
};

/// As above, not with the library's function.
void store_swizzled(uint8_t* tile, int row, int k, int8_t value) {
  arch::store_shared<int8_t>(tile + row * 128 + ((k / 16) ^ row % 8) * 16 + k % 16, value);
}

template <int kN, bool kStart, bool kRepeat>
__global__ void byte_product_kernel(const byte_matrices<kN>* m) {
  const int group = arch::thread_index() / 128;
  const int thread = arch::thread_index() % 128;
  const int g = thread % 32 / 4;
  const int t = thread % 4;
  const int first_row = thread / 32 * 16;
  const int rows = kRepeat ? 8 : kN;
  uint8_t* const a_tile = arch::shared_memory() + group * (64 + rows) * 128;
  uint8_t* const b_tile = a_tile + 64 * 128;
  for (int i = thread; i < 64 * 32; i += 128)
    store_swizzled(a_tile, i / 32, 32 + i % 32, m->shared_a[group][i / 32][i % 32]);
  for (int i = thread; i < rows * 32; i += 128)
    store_swizzled(b_tile, i / 32, 32 + i % 32, m->b[group][i / 32][i % 32]);
  arch::fence_proxy_async();
  arch::sync_cta();

  uint32_t a[4] = {};
  for (int i = 0; i < 16; ++i) {
    const int row = first_row + g + (i / 4 == 1 || i / 4 == 3 ? 8 : 0);
    const int k = 4 * t + i % 4 + (i / 4 >= 2 ? 16 : 0);
    a[i / 4] |= uint32_t{static_cast<uint8_t>(m->a[group][row][k])} << 8 * (i % 4);
  }
  int d[kN / 2];
  const auto element = [&](int i) {
    return std::pair<int, int>{first_row + g + (i % 4 < 2 ? 0 : 8), i / 4 * 8 + 2 * t + i % 2};
  };
  for (int i = 0; i < kN / 2; ++i) d[i] = m->c[group][element(i).first][element(i).second];
  const uint64_t b =
      kRepeat ? arch::make_repeating_wgmma_descriptor(b_tile + 32) : arch::make_wgmma_descriptor(b_tile + 32);
  arch::wgmma_fence();
  if constexpr (kStart) {
    arch::wgmma_m64k32_s8_start<kN>(d, arch::make_wgmma_descriptor(a_tile + 32), b);
  } else {
    arch::wgmma_m64k32_s8<kN>(d, a, b);
  }
  arch::wgmma_m64k32_s8<kN>(d, a, b);
  arch::wgmma_commit();
  EXPECT_EQ(d[0], static_cast<int>(wgmma_queue::kPoison)) << "nothing is there before the wait";
  arch::wgmma_wait<0>();
  for (int& sum : d) arch::wgmma_release(sum);
  for (int i = 0; i < kN / 2; ++i) {
    const auto [row, column] = element(i);
    auto wanted = static_cast<uint32_t>(kStart ? 0 : m->c[group][row][column]);
    for (int k = 0; k < 32; ++k) {
      const int first = kStart ? m->shared_a[group][row][k] : m->a[group][row][k];
      wanted += static_cast<uint32_t>((first + m->a[group][row][k]) * m->b[group][kRepeat ? column % 8 : column][k]);
    }
    EXPECT_EQ(static_cast<uint32_t>(d[i]), wanted) << row << ", " << column;
  }
}

template <int kN, bool kStart, bool kRepeat = false>
void expect_byte_product() {
  std::mt19937 random(6);
  const auto m = std::make_unique<byte_matrices<kN>>();
  const auto fill = [&](auto& matrix) {
    for (auto& row : matrix) {
      for (auto& value : row) value = static_cast<std::decay_t<decltype(value)>>(random());
    }
  };
  for (int group = 0; group < 2; ++group) {
    fill(m->shared_a[group]), fill(m->a[group]), fill(m->b[group]), fill(m->c[group]);
  }
  const int rows = kRepeat ? 8 : kN;
  expect_clean(run(byte_product_kernel<kN, kStart, kRepeat>, {256, 2 * (64 + rows) * 128}, m.get()));
}

TEST_P(arch_warpgroup, byte_product_of_32_columns) { expect_byte_product<32, false>(); }
TEST_P(arch_warpgroup, byte_product_of_64_columns) { expect_byte_product<64, false>(); }
TEST_P(arch_warpgroup, byte_product_of_two_tiles) {
  expect_byte_product<32, true>();
  expect_byte_product<64, true>();
}
TEST_P(arch_warpgroup, byte_product_of_eight_rows_repeated) {
  expect_byte_product<32, false, true>();
  expect_byte_product<64, true, true>();
}

enum class share { alike, one_warp_less, one_warp_differs, raised_to_fewer };

__global__ void registers_kernel(share kind) {
  const int warp = arch::warp_index();
  if (warp < 4) {
    arch::lower_registers<40>();
    if (kind == share::raised_to_fewer) arch::raise_registers<32>();
    if (kind != share::one_warp_less || warp != 2) arch::lower_registers<24>();
  } else if (kind == share::one_warp_differs && warp == 5) {
    arch::raise_registers<240>();
  } else {
    arch::raise_registers<232>();
  }
}

TEST_P(arch_warpgroup, registers_are_shared_by_warpgroups) {
  expect_clean(run(registers_kernel, {256}, share::alike));
  for (const share kind : {share::one_warp_less, share::one_warp_differs, share::raised_to_fewer}) {
    const auto found = run(registers_kernel, {256}, kind);
    ASSERT_TRUE(found.has_value()) << static_cast<int>(kind);
    EXPECT_EQ(found->kind, fault_kind::warp_divergence) << to_string(*found);
  }
  const auto half_a_warpgroup = run(registers_kernel, {192}, share::alike);
  ASSERT_TRUE(half_a_warpgroup.has_value());
  EXPECT_EQ(half_a_warpgroup->kind, fault_kind::warp_divergence) << to_string(*half_a_warpgroup);
}

TEST(arch_swizzle, place_of_a_byte_in_a_swizzled_tile) {
  EXPECT_EQ(arch::swizzled_offset(0, 77), 77);
  EXPECT_EQ(arch::swizzled_offset(1, 0), 128 + 16);
  EXPECT_EQ(arch::swizzled_offset(7, 127), 7 * 128 + 15);
  EXPECT_EQ(arch::swizzled_offset(13, 40), 13 * 128 + (2 ^ 5) * 16 + 8);
}

}  // namespace
}  // namespace q4fuse_emulator
