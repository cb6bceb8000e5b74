// Tensor copies: what arrives where, and copies that are asked for, expected or waited for wrongly.

#include "emulator/faults/fault_harness.hpp"

#include <q4fuse/detail/launch/tensor_map.cuh>

#include <vector>

namespace q4fuse_emulator {
namespace {

using q4fuse_test::guarded_buffer;

class tensor_copy_faults : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(tensor_copy_faults);

constexpr int kColumns = 320;
constexpr int kRows = 20;
constexpr int kTileRows = 16;
constexpr int kTileBytes = kTileRows * arch::kSwizzledRowBytes;
constexpr int64_t kSharedBytes = kTileBytes + arch::kMbarrierBytes;

uint8_t value_at(int row, int column) { return static_cast<uint8_t>(row * 7 + column * 3 + 1); }

arch::tensor_map map_of(guarded_buffer<uint8_t>& matrix, bool swizzled) {
  arch::tensor_map map{};
  EXPECT_TRUE(q4fuse::detail::encode_tensor_map(
      {matrix.data(), kColumns, kColumns - 32, kRows, arch::kSwizzledRowBytes, kTileRows, swizzled}, &map));
  return map;
}

std::vector<uint8_t> matrix() {
  std::vector<uint8_t> bytes;
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) bytes.push_back(value_at(row, column));
  }
  return bytes;
}

enum class mistake { none, few_bytes, no_wait, misplaced };

__global__ void copy_kernel(const arch::tensor_map* map, mistake made) {
  uint8_t* const tile = arch::shared_memory();
  uint8_t* const barrier = tile + kTileBytes;
  if (arch::thread_index() == 0) arch::mbarrier_init(barrier, 1);
  arch::sync_cta();
  constexpr int kColumn = 192;
  constexpr int kRow = 8;
  if (arch::thread_index() == 0) {
    arch::tensor_copy(tile + (made == mistake::misplaced ? 16 : 0), *map, kColumn, kRow, barrier);
    arch::mbarrier_arrive_expecting(barrier, kTileBytes - (made == mistake::few_bytes ? 16 : 0));
  }
  if (made != mistake::no_wait) arch::mbarrier_wait(barrier, 0);
  for (int i = arch::thread_index(); i < kTileBytes; i += 64) {
    const int row = i / arch::kSwizzledRowBytes;
    const int column = i % arch::kSwizzledRowBytes;
    const bool inside = kRow + row < kRows && kColumn + column < kColumns - 32;
    const int place = map->swizzled ? row * 128 + ((column / 16) ^ row % 8) * 16 + column % 16 : i;
    EXPECT_EQ(arch::load_shared<uint8_t>(tile + place), inside ? value_at(kRow + row, kColumn + column) : 0)
        << row << ", " << column;
  }
}

TEST_P(tensor_copy_faults, tiles_arrive_with_zeros_for_what_lies_outside) {
  guarded_buffer<uint8_t> x(matrix());
  for (const bool swizzled : {false, true}) {
    const arch::tensor_map map = map_of(x, swizzled);
    expect_clean(run(copy_kernel, {64, kSharedBytes}, &map, mistake::none));
  }
}

TEST_P(tensor_copy_faults, bytes_that_nobody_expects) {
  guarded_buffer<uint8_t> x(matrix());
  const arch::tensor_map map = map_of(x, true);
  const auto found = run(copy_kernel, {64, kSharedBytes}, &map, mistake::few_bytes);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::mbarrier_invalid) << to_string(*found);
  EXPECT_EQ(found->offset, kTileBytes) << to_string(*found);
}

TEST_P(tensor_copy_faults, read_before_they_have_arrived) {
  guarded_buffer<uint8_t> x(matrix());
  const arch::tensor_map map = map_of(x, false);
  // Which of the two it is depends on who comes first.
  const auto found = run(copy_kernel, {64, kSharedBytes}, &map, mistake::no_wait);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->kind == fault_kind::shared_race || found->kind == fault_kind::shared_unwritten_read)
      << to_string(*found);
}

TEST_P(tensor_copy_faults, place_that_is_not_aligned) {
  guarded_buffer<uint8_t> x(matrix());
  const arch::tensor_map map = map_of(x, true);
  const auto found = run(copy_kernel, {64, kSharedBytes}, &map, mistake::misplaced);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::misaligned_access) << to_string(*found);
  EXPECT_EQ(found->offset, 16) << to_string(*found);
}

TEST(tensor_map, refuses_what_the_driver_refuses) {
  guarded_buffer<uint8_t> x(matrix());
  arch::tensor_map map{};
  const q4fuse::detail::tiled_matrix good{x.data(), kColumns, kColumns, kRows, 128, kTileRows, true};
  EXPECT_TRUE(q4fuse::detail::encode_tensor_map(good, &map));
  auto bad = good;
  bad.row_bytes += 8;
  EXPECT_FALSE(q4fuse::detail::encode_tensor_map(bad, &map));
  bad = good;
  bad.base = x.data() + 8;
  EXPECT_FALSE(q4fuse::detail::encode_tensor_map(bad, &map));
  bad = good;
  bad.rows = int64_t{1} << 33;
  EXPECT_FALSE(q4fuse::detail::encode_tensor_map(bad, &map));
  bad = good;
  bad.tile_columns = 144;
  EXPECT_FALSE(q4fuse::detail::encode_tensor_map(bad, &map)) << "swizzled tiles have rows of 128 bytes";
}

}  // namespace
}  // namespace q4fuse_emulator
