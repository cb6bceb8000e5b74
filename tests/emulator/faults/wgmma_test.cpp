// wgmma: its operand in shared memory must be passed on by a proxy fence and a barrier and stay as it is until the
// wait, and so must its registers.

#include "emulator/faults/fault_harness.hpp"

#include <cmath>

namespace q4fuse_emulator {
namespace {

constexpr int kColumns = 128;
constexpr int kTileBytes = kColumns * arch::kSwizzledRowBytes;

class wgmma_faults : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(wgmma_faults);

/// What a kernel leaves out or does too early.
enum class step {
  nothing,
  proxy_fence,
  barrier,
  register_fence,
  overwrite,
  write_operand_register,
  write_accumulator,
  commit,
  wait,
};

__global__ void product_kernel(step fault) {
  const bool by_writer = fault == step::proxy_fence || fault == step::barrier;
  uint8_t* const row = arch::shared_memory() + arch::thread_index() * arch::kSwizzledRowBytes;
  const uint4 ones{0x3C003C00u, 0x3C003C00u, 0x3C003C00u, 0x3C003C00u};
  for (int unit = 0; unit < 8; ++unit) {
    if (by_writer) planted_other(), arch::store_shared<uint4>(row + 16 * unit, ones);
    if (!by_writer) arch::store_shared<uint4>(row + 16 * unit, ones);
  }
  if (fault != step::proxy_fence) arch::fence_proxy_async();
  if (fault != step::barrier) arch::sync_cta();

  uint32_t a[4] = {0x3C003C00u, 0x3C003C00u, 0x3C003C00u, 0x3C003C00u};
  float d[kColumns / 2] = {};
  const uint64_t tile = arch::make_wgmma_descriptor(arch::shared_memory());
  if (fault != step::register_fence) arch::wgmma_fence();
  planted(), arch::wgmma_m64k16_f16<kColumns>(d, a, tile);
  if (fault != step::commit) arch::wgmma_commit();
  if (fault == step::overwrite && arch::thread_index() == 5) {
    planted_other(), arch::store_shared<uint32_t>(arch::shared_memory() + arch::swizzled_offset(5, 0), 0);
  }
  if (fault == step::write_operand_register) a[2] = 0;
  if (fault == step::write_accumulator) d[7] = 0.0f;
  EXPECT_TRUE(fault == step::write_accumulator || std::isnan(d[7])) << "a result before its wait";
  if (fault != step::wait) arch::wgmma_wait<0>();
  if (fault == step::nothing) {
    EXPECT_EQ(d[7], 16.0f);
  }
}

TEST_P(wgmma_faults, sound_product) { expect_clean(run(product_kernel, {128, kTileBytes}, step::nothing)); }

TEST_P(wgmma_faults, operand_written_without_a_proxy_fence) {
  const auto found = run(product_kernel, {128, kTileBytes}, step::proxy_fence);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::proxy_fence_missing, 0);
  EXPECT_EQ(found->other_thread, 0);
}

TEST_P(wgmma_faults, operand_not_passed_on_by_a_barrier) {
  const auto found = run(product_kernel, {128, kTileBytes}, step::barrier);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::shared_race, found->offset);
}

TEST_P(wgmma_faults, operand_overwritten_before_the_wait) {
  const auto found = run(product_kernel, {128, kTileBytes}, step::overwrite);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::shared_race, arch::swizzled_offset(5, 0));
  EXPECT_EQ(found->other_thread, 5);
}

TEST_P(wgmma_faults, registers_not_fenced) {
  expect_fault(run(product_kernel, {128, kTileBytes}, step::register_fence), fault_kind::register_fence_missing);
}

TEST_P(wgmma_faults, registers_written_before_the_wait) {
  for (const step fault : {step::write_operand_register, step::write_accumulator}) {
    expect_fault(run(product_kernel, {128, kTileBytes}, fault), fault_kind::wgmma_registers_touched);
  }
}

TEST_P(wgmma_faults, not_waited_for) {
  for (const step fault : {step::wait, step::commit}) {
    expect_fault(run(product_kernel, {128, kTileBytes}, fault), fault_kind::wgmma_without_wait);
  }
}

/// A ring of one tile: the next content, written after the wait of the thread itself and before that of all others.
__global__ void refill_kernel(bool barrier) {
  uint8_t* const row = arch::shared_memory() + arch::thread_index() % kColumns * arch::kSwizzledRowBytes;
  if (arch::thread_index() < kColumns) {
    for (int unit = 0; unit < 8; ++unit) arch::store_shared<uint4>(row + 16 * unit, uint4{0, 0, 0, 0});
  }
  arch::fence_proxy_async();
  arch::sync_cta();
  const uint32_t a[4] = {};
  float d[kColumns / 2] = {};
  arch::wgmma_fence();
  arch::wgmma_m64k16_f16<kColumns>(d, a, arch::make_wgmma_descriptor(arch::shared_memory()));
  arch::wgmma_commit();
  arch::wgmma_wait<0>();
  if (barrier) arch::sync_cta();
  if (arch::thread_index() < kColumns) arch::store_shared<uint32_t>(row, 0);
  arch::sync_cta();
}

TEST_P(wgmma_faults, operand_refilled_while_another_warpgroup_reads) {
  expect_clean(run(refill_kernel, {256, kTileBytes}, true));
  const auto found = run(refill_kernel, {256, kTileBytes}, false);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::shared_race) << to_string(*found);
}

/// The newest group may stay in flight: the one before it is done, the shared accumulators are not.
__global__ void two_groups_kernel() {
  uint8_t* const row = arch::shared_memory() + arch::thread_index() * arch::kSwizzledRowBytes;
  const uint4 ones{0x3C003C00u, 0x3C003C00u, 0x3C003C00u, 0x3C003C00u};
  for (int unit = 0; unit < 8; ++unit) arch::store_shared<uint4>(row + 16 * unit, ones);
  arch::fence_proxy_async();
  arch::sync_cta();
  uint32_t a[2][4] = {{0x3C003C00u, 0, 0, 0}, {0, 0x3C003C00u, 0, 0}};
  float first[kColumns / 2] = {};
  float second[kColumns / 2] = {};
  const uint64_t tile = arch::make_wgmma_descriptor(arch::shared_memory());
  arch::wgmma_fence();
  arch::wgmma_m64k16_f16<kColumns>(first, a[0], tile);
  arch::wgmma_m64k16_f16<kColumns>(second, a[0], tile);
  arch::wgmma_commit();
  arch::wgmma_fence();
  arch::wgmma_m64k16_f16<kColumns>(second, a[1], tile);
  arch::wgmma_commit();
  arch::wgmma_wait<1>();
  a[0][0] = 0;
  EXPECT_EQ(first[0], 8.0f);
  EXPECT_TRUE(std::isnan(second[0]));
  arch::wgmma_wait<0>();
  EXPECT_EQ(second[0], 8.0f);
  EXPECT_EQ(second[2], 8.0f);
}

TEST_P(wgmma_faults, newest_groups_may_stay_in_flight) { expect_clean(run(two_groups_kernel, {128, kTileBytes})); }

/// Both operands in shared memory, 64 rows of A and 32 of B; the bytes of one are stored by another thread than all
/// others, without a proxy fence, or overwritten too early.
enum class operand { none, a, b };

__global__ void tiles_kernel(operand unfenced, operand overwritten) {
  const int rows = 64 + 32;
  uint8_t* const b_tile = arch::shared_memory() + 64 * arch::kSwizzledRowBytes;
  const auto row_of = [&](operand which) { return which == operand::a ? 3 : 64 + 3; };
  const int row = arch::thread_index();
  const bool without_fence = unfenced != operand::none && row == row_of(unfenced);
  if (row < rows) {
    for (int unit = 0; unit < 2; ++unit) {
      uint8_t* const bytes = arch::shared_memory() + arch::swizzled_offset(row, 16 * unit);
      if (without_fence) planted_other(), arch::store_shared<uint4>(bytes, uint4{});
      if (!without_fence) arch::store_shared<uint4>(bytes, uint4{});
    }
  }
  if (!without_fence) arch::fence_proxy_async();
  arch::sync_cta();
  int d[16];
  const uint64_t a = arch::make_wgmma_descriptor(arch::shared_memory());
  const uint64_t b = arch::make_wgmma_descriptor(b_tile);
  arch::wgmma_fence();
  planted(), arch::wgmma_m64k32_s8_start<32>(d, a, b);
  arch::wgmma_commit();
  if (overwritten != operand::none && row == row_of(overwritten)) {
    planted_other(), arch::store_shared<uint32_t>(arch::shared_memory() + arch::swizzled_offset(row, 16), 0);
  }
  EXPECT_EQ(d[0], static_cast<int>(wgmma_queue::kPoison));
  arch::wgmma_wait<0>();
  EXPECT_EQ(d[0], 0);
}

TEST_P(wgmma_faults, either_operand_in_shared_memory) {
  constexpr int64_t kBytes = 96 * arch::kSwizzledRowBytes;
  expect_clean(run(tiles_kernel, {128, kBytes}, operand::none, operand::none));
  for (const operand which : {operand::a, operand::b}) {
    const int row = which == operand::a ? 3 : 64 + 3;
    expect_fault(run(tiles_kernel, {128, kBytes}, which, operand::none), fault_kind::proxy_fence_missing,
                 arch::swizzled_offset(row, 0));
    const auto found = run(tiles_kernel, {128, kBytes}, operand::none, which);
    expect_fault(found, fault_kind::shared_race, arch::swizzled_offset(row, 16));
    EXPECT_EQ(found->other_thread, row);
  }
}

/// Accumulators of bytes: written in flight; handed to a product of another shape.
enum class accumulators { sound, written, other_shape };

__global__ void accumulators_kernel(accumulators fault) {
  arch::store_shared<uint4>(arch::shared_memory() + 128 * (arch::thread_index() / 2) +
                                (arch::thread_index() % 2 ^ arch::thread_index() / 2 % 8) * 16,
                            uint4{0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u});
  arch::fence_proxy_async();
  arch::sync_cta();
  const uint32_t a[4] = {0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u};
  const uint64_t tile = arch::make_wgmma_descriptor(arch::shared_memory());
  int d[32] = {};
  arch::wgmma_fence();
  if (fault == accumulators::other_shape) arch::wgmma_m64k32_s8<64>(d, a, tile);
  auto& few = reinterpret_cast<int(&)[16]>(d);
  planted(), arch::wgmma_m64k32_s8_start<32>(few, tile, tile);
  arch::wgmma_m64k32_s8<32>(few, a, tile);
  arch::wgmma_commit();
  if (fault == accumulators::written) planted(), d[3] = 0;
  arch::wgmma_wait<0>();
  EXPECT_EQ(d[3], 64);
}

TEST_P(wgmma_faults, accumulators_of_bytes) {
  constexpr int64_t kBytes = 64 * arch::kSwizzledRowBytes;
  expect_clean(run(accumulators_kernel, {128, kBytes}, accumulators::sound));
  expect_fault(run(accumulators_kernel, {128, kBytes}, accumulators::other_shape), fault_kind::register_fence_missing);
  const auto found = run(accumulators_kernel, {128, kBytes}, accumulators::written);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::wgmma_registers_touched) << to_string(*found);
}

__global__ void layout_kernel(uint64_t changed_bits) {
  const uint32_t a[4] = {};
  float d[kColumns / 2] = {};
  arch::wgmma_fence();
  planted(), arch::wgmma_m64k16_f16<kColumns>(d, a, arch::make_wgmma_descriptor(arch::shared_memory()) ^ changed_bits);
  arch::wgmma_commit();
  arch::wgmma_wait<0>();
}

TEST_P(wgmma_faults, unknown_layout) {
  // No swizzle, a base offset, rows that do not begin at a multiple of 1024 bytes.
  for (const uint64_t bits : {uint64_t{1} << 62, uint64_t{1} << 49, uint64_t{256} >> 4}) {
    expect_fault(run(layout_kernel, {128, kTileBytes}, bits), fault_kind::invalid_descriptor);
  }
}

__global__ void divergent_kernel() {
  if (arch::thread_index() < 96) arch::wgmma_wait<0>();
}

TEST_P(wgmma_faults, a_warpgroup_waits_together) {
  const auto found = run(divergent_kernel, {128, 0});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::warp_divergence) << to_string(*found);
}

}  // namespace
}  // namespace q4fuse_emulator
