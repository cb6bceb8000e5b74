// Specialized warps: some fill the stages of a ring, a warpgroup multiplies them, and two mbarriers a stage pass it
// from one to the other and back.

#include "emulator/faults/fault_harness.hpp"

#include <vector>

namespace q4fuse_emulator {
namespace {

constexpr int kColumns = 32;
constexpr int kStages = 2;
constexpr int kTiles = 7;
constexpr int kStageBytes = kColumns * arch::kSwizzledRowBytes;
constexpr int kScalesAt = kStages * kStageBytes;  // one word a lane and stage
constexpr int kBarriersAt = kScalesAt + kStages * 32 * 4;
constexpr int64_t kSharedBytes = kBarriersAt + 2 * kStages * arch::kMbarrierBytes;
constexpr int kProducerWarps = 2;
constexpr int kThreads = kWarpgroupSize + kProducerWarps * kWarpSize;

class specialized_faults : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(specialized_faults);

/// What is left out, or done too early.
enum class step {
  nothing,
  proxy_fence,
  copy_wait,
  producer_sync_warp,
  full_arrive,
  full_wait,
  empty_wait,
  products_wait,
  consumer_sync_warp,
};

uint8_t* full(int stage) { return arch::shared_memory() + kBarriersAt + stage * arch::kMbarrierBytes; }
uint8_t* empty(int stage) { return full(kStages + stage); }
int* scale(int stage, int lane) {
  return reinterpret_cast<int*>(arch::shared_memory() + kScalesAt) + stage * 32 + lane;
}

/// Warp 0 stores rows 0 to 15 of each tile, and 32 scales; warp 1 copies rows 16 to 31. Byte k of every row is k +
/// tile.
void produce(step fault, const int8_t* source) {
  const int warp = arch::warp_index() - kWarpgroupSize / kWarpSize;
  const int lane = arch::lane_index();
  const int row = 16 * warp + lane / 2;
  for (int tile = 0; tile < kTiles; ++tile) {
    const int stage = tile % kStages;
    if (fault != step::empty_wait) arch::mbarrier_wait(empty(stage), tile / kStages % 2 ^ 1);
    uint8_t* const unit = arch::shared_memory() + stage * kStageBytes + arch::swizzled_offset(row, lane % 2 * 16);
    const int8_t* const from = source + tile * 32 + lane % 2 * 16;
    if (warp == 0) {
      const auto bytes = arch::load_global<uint4>(from);
      planted_other(), arch::store_shared<uint4>(unit, bytes);
      arch::store_shared<int>(scale(stage, lane), tile + lane);
    } else {
      arch::cp_async<16>(unit, from, true);
      arch::cp_async_commit();
      if (fault != step::copy_wait) arch::cp_async_wait<0>();
    }
    if (fault != step::proxy_fence) arch::fence_proxy_async();
    if (fault != step::producer_sync_warp) arch::sync_warp();
    if (fault != step::full_arrive && lane == 0) arch::mbarrier_arrive(full(stage));
  }
  if (fault == step::copy_wait) arch::cp_async_wait<0>();
}

void consume(step fault) {
  const uint32_t ones[4] = {0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u};
  const int lane = arch::lane_index();
  for (int tile = 0; tile < kTiles; ++tile) {
    const int stage = tile % kStages;
    if (fault != step::full_wait) arch::mbarrier_wait(full(stage), tile / kStages % 2);
    int d[kColumns / 2] = {};
    const uint64_t descriptor = arch::make_wgmma_descriptor(arch::shared_memory() + stage * kStageBytes);
    arch::wgmma_fence();
    planted(), arch::wgmma_m64k32_s8<kColumns>(d, ones, descriptor);
    arch::wgmma_commit();
    const int s = arch::load_shared<int>(scale(stage, 31 - lane));
    EXPECT_TRUE(fault != step::nothing || s == tile + 31 - lane);
    if (fault != step::products_wait) arch::wgmma_wait<0>();
    if (fault != step::consumer_sync_warp) arch::sync_warp();
    if (lane == 0) arch::mbarrier_arrive(empty(stage));
    arch::wgmma_wait<0>();
    if (fault == step::nothing) {
      for (const int sum : d) EXPECT_EQ(sum, 31 * 32 / 2 + 32 * tile);
    }
  }
}

__global__ void pipeline_kernel(step fault, const int8_t* source) {
  if (arch::thread_index() == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      arch::mbarrier_init(full(stage), kProducerWarps);
      arch::mbarrier_init(empty(stage), kWarpgroupSize / kWarpSize);
    }
  }
  arch::sync_cta();
  if (arch::thread_index() < kWarpgroupSize) {
    consume(fault);
  } else {
    produce(fault, source);
  }
}

std::optional<fault_report> end_of(step fault) {
  std::vector<int8_t> bytes;
  for (int tile = 0; tile < kTiles; ++tile) {
    for (int k = 0; k < 32; ++k) bytes.push_back(static_cast<int8_t>(k + tile));
  }
  q4fuse_test::guarded_buffer<int8_t> source(bytes);
  return run(pipeline_kernel, {kThreads, kSharedBytes}, fault, source.data());
}

TEST_P(specialized_faults, sound_pipeline) { expect_clean(end_of(step::nothing)); }

TEST_P(specialized_faults, stage_filled_without_a_proxy_fence) {
  const auto found = end_of(step::proxy_fence);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::proxy_fence_missing, 0);
  EXPECT_EQ(found->other_thread, kWarpgroupSize);
}

/// Lane 0 passes on what it knows: neither its neighbours' stores, nor copies that nobody has waited for.
TEST_P(specialized_faults, stage_passed_on_by_a_lane_that_does_not_know_it) {
  const auto copied = end_of(step::copy_wait);
  ASSERT_TRUE(copied.has_value());
  EXPECT_TRUE(copied->kind == fault_kind::async_read_before_wait || copied->kind == fault_kind::async_overwrite)
      << to_string(*copied);
  const auto stored = end_of(step::producer_sync_warp);
  ASSERT_TRUE(stored.has_value());
  EXPECT_TRUE(stored->kind == fault_kind::shared_race || stored->kind == fault_kind::shared_unwritten_read)
      << to_string(*stored);
}

TEST_P(specialized_faults, stage_read_without_waiting_for_it) {
  const auto found = end_of(step::full_wait);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->kind == fault_kind::shared_race || found->kind == fault_kind::shared_unwritten_read)
      << to_string(*found);
}

TEST_P(specialized_faults, stage_that_nobody_passes_on) {
  const auto found = end_of(step::full_arrive);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::barrier_divergence);
  EXPECT_NE(found->detail.find("threads 0-127 wait in mbarrier_wait"), std::string::npos) << found->detail;
  EXPECT_NE(found->detail.find("with 0 of 2 arrivals, threads 128-191 wait"), std::string::npos) << found->detail;
}

TEST_P(specialized_faults, stage_overwritten_before_it_is_empty) {
  const auto found = end_of(step::empty_wait);
  ASSERT_TRUE(found.has_value());
  // The producers overrun each other, and a consumer that is late takes a later phase for its own.
  EXPECT_TRUE(found->kind == fault_kind::shared_race || found->kind == fault_kind::mbarrier_overrun ||
              found->kind == fault_kind::mbarrier_ambiguous_wait)
      << to_string(*found);
}

/// A stage given back before the products have read it, or before all lanes have read the scales.
TEST_P(specialized_faults, stage_given_back_too_early) {
  for (const step fault : {step::products_wait, step::consumer_sync_warp}) {
    const auto found = end_of(fault);
    ASSERT_TRUE(found.has_value()) << static_cast<int>(fault);
    EXPECT_EQ(found->kind, fault_kind::shared_race) << to_string(*found);
    const bool scales = found->offset >= kScalesAt;
    EXPECT_EQ(scales, fault == step::consumer_sync_warp) << to_string(*found);
  }
}

}  // namespace
}  // namespace q4fuse_emulator
