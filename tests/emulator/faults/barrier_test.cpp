// Barriers and warp-wide operations that not every thread reaches.

#include "emulator/faults/fault_harness.hpp"

namespace q4fuse_emulator {
namespace {

class barrier_faults : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(barrier_faults);

__global__ void some_threads_wait_kernel(int from) {
  if (arch::thread_index() >= from) planted(), arch::sync_cta();
}

TEST_P(barrier_faults, barrier_that_some_threads_pass_by) {
  expect_clean(run(some_threads_wait_kernel, {64}, 0));
  expect_clean(run(some_threads_wait_kernel, {64}, 64));
  const auto found = run(some_threads_wait_kernel, {64}, 10);
  expect_fault(found, fault_kind::barrier_divergence);
  EXPECT_EQ(found->thread, 10);
  EXPECT_NE(found->detail.find("threads 10-63 wait in sync_cta"), std::string::npos) << found->detail;
  EXPECT_NE(found->detail.find("threads 0-9 have ended"), std::string::npos) << found->detail;
}

__global__ void two_barriers_kernel(int split) {
  if (arch::thread_index() < split) {
    planted(), arch::sync_cta();
  } else {
    planted_other(), arch::sync_cta();
  }
}

TEST_P(barrier_faults, two_barriers_in_two_branches) {
  expect_clean(run(two_barriers_kernel, {64}, 0));
  expect_clean(run(two_barriers_kernel, {64}, 64));
  const auto found = run(two_barriers_kernel, {64}, 32);
  ASSERT_TRUE(found.has_value());
  if (found->thread >= 32) std::swap(planted_at, planted_other_at);
  expect_fault(found, fault_kind::barrier_divergence);
}

__global__ void warp_waits_for_cta_kernel() {
  if (arch::thread_index() % 2 == 0) {
    arch::sync_cta();
  } else {
    arch::sync_warp();
  }
}

TEST_P(barrier_faults, lanes_at_different_kinds_of_barrier) {
  const auto found = run(warp_waits_for_cta_kernel, {64});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::barrier_divergence);
  EXPECT_NE(found->detail.find("none has ended"), std::string::npos) << found->detail;
  EXPECT_NE(found->detail.find("sync_warp"), std::string::npos) << found->detail;
}

__global__ void divergent_shuffle_kernel(int lanes) {
  if (arch::lane_index() < lanes) planted_other(), planted(), arch::shuffle_xor(1, 1);
}

TEST_P(barrier_faults, shuffle_in_a_divergent_branch) {
  expect_clean(run(divergent_shuffle_kernel, {64}, 32));
  expect_clean(run(divergent_shuffle_kernel, {64}, 0));
  const auto found = run(divergent_shuffle_kernel, {32}, 31);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::warp_divergence);
  // Either lane 31 ends while others wait, or they arrive after its end.
  EXPECT_TRUE(found->thread == 31 || found->other_thread == 31) << to_string(*found);
}

__global__ void mixed_operations_kernel() {
  if (arch::lane_index() < 16) {
    planted(), arch::shuffle_xor(1, 1);
  } else {
    planted_other(), arch::sync_warp();
  }
}

TEST_P(barrier_faults, lanes_at_different_warp_operations) {
  const auto found = run(mixed_operations_kernel, {32});
  ASSERT_TRUE(found.has_value());
  if (found->thread >= 16) std::swap(planted_at, planted_other_at);
  expect_fault(found, fault_kind::warp_divergence);
  EXPECT_NE(found->detail.find("shuffle_xor"), std::string::npos) << found->detail;
}

__global__ void divergent_mma_kernel() {
  int d[4];
  const uint32_t a[4] = {};
  const uint32_t b[2] = {};
  if (arch::lane_index() != 9) planted(), arch::mma_m16n8k32_s8(d, a, b, 0);
  arch::sync_cta();
}

TEST_P(barrier_faults, matrix_product_without_a_lane) {
  const auto found = run(divergent_mma_kernel, {32});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::barrier_divergence);
  EXPECT_NE(found->detail.find("threads 0-8, 10-31 wait in mma_m16n8k32_s8"), std::string::npos) << found->detail;
}

__global__ void named_barrier_kernel(int barrier, int claimed, int arriving) {
  if (arch::thread_index() < arriving) planted(), planted_other(), arch::sync_named(barrier, claimed);
}

TEST_P(barrier_faults, named_barrier_that_is_not_what_it_claims) {
  expect_clean(run(named_barrier_kernel, {96}, 1, 64, 64));
  const auto waiting = run(named_barrier_kernel, {96}, 1, 64, 32);
  ASSERT_TRUE(waiting.has_value());
  EXPECT_EQ(waiting->kind, fault_kind::barrier_divergence);
  EXPECT_NE(waiting->detail.find("threads 0-31 wait in sync_named"), std::string::npos) << waiting->detail;
  for (const int barrier : {0, 16}) {
    const auto unknown = run(named_barrier_kernel, {64}, barrier, 64, 64);
    ASSERT_TRUE(unknown.has_value());
    EXPECT_EQ(unknown->kind, fault_kind::barrier_divergence);
  }
  const auto odd = run(named_barrier_kernel, {64}, 1, 48, 48);
  ASSERT_TRUE(odd.has_value());
  EXPECT_EQ(odd->kind, fault_kind::barrier_divergence);
}

__global__ void counts_differ_kernel() { arch::sync_named(1, arch::warp_index() == 0 ? 64 : 96); }

TEST_P(barrier_faults, named_barrier_of_two_sizes) {
  const auto found = run(counts_differ_kernel, {96});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::barrier_divergence);
  EXPECT_NE(found->other_thread, -1);
}

TEST_P(barrier_faults, the_next_launch_starts_clean) {
  ASSERT_TRUE(run(some_threads_wait_kernel, {96}, 40).has_value());
  expect_clean(run(some_threads_wait_kernel, {96}, 0));
}

TEST(barrier_count, counts_barriers_and_launches) {
  const counters before = device.totals();
  expect_clean(run(some_threads_wait_kernel, {64, 0, 5}, 0));
  const counters after = device.totals();
  EXPECT_EQ(after.launches - before.launches, 1);
  EXPECT_EQ(after.ctas - before.ctas, 5);
  EXPECT_EQ(after.barriers - before.barriers, 5);
}

}  // namespace
}  // namespace q4fuse_emulator
