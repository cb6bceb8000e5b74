// CTAs of a cluster that read each other's shared memory: too early, or too late.

#include "emulator/faults/fault_harness.hpp"

namespace q4fuse_emulator {
namespace {

class cluster_faults : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(cluster_faults);

enum class barrier { none, cta, relaxed, cluster };

void pass(barrier kind) {
  if (kind == barrier::cta) arch::sync_cta();
  if (kind == barrier::relaxed) arch::sync_cluster_relaxed();
  if (kind == barrier::cluster) arch::sync_cluster();
}

constexpr int kThreads = 64;

/// Every thread writes 16 bytes and reads those of the same thread in the next CTA of its cluster.
__global__ void read_neighbour_kernel(float* y, int ctas, barrier before, barrier after) {
  const int thread = arch::thread_index();
  const int rank = static_cast<int>(arch::cta_index() % ctas);
  const auto value = static_cast<float>(arch::cta_index() * kThreads + thread);
  uint8_t* const place = arch::shared_memory() + 16 * thread;
  planted_other(), arch::store_shared<float4>(place, {value, value, value, value});
  pass(before);
  planted();
  const float4 read = arch::load_cluster(place, (rank + 1) % ctas);
  arch::store_global<float>(y + arch::cta_index() * kThreads + thread, read.w);
  pass(after);
}

constexpr grid kGrid{kThreads, 16 * kThreads, 8, false, 4};

TEST_P(cluster_faults, neighbours_read_each_others_memory) {
  for (const barrier after : {barrier::cluster, barrier::relaxed}) {
    q4fuse_test::guarded_buffer<float> y(8 * kThreads);
    expect_clean(run(read_neighbour_kernel, kGrid, y.data(), 4, barrier::cluster, after));
    const std::vector<float> result = y.download();
    for (int i = 0; i < 8 * kThreads; ++i) {
      const int cta = i / kThreads;
      const int source = cta / 4 * 4 + (cta + 1) % 4;
      EXPECT_EQ(result[static_cast<size_t>(i)], static_cast<float>(source * kThreads + i % kThreads)) << i;
    }
  }
}

TEST_P(cluster_faults, read_of_what_another_cta_may_not_have_written) {
  q4fuse_test::guarded_buffer<float> y(8 * kThreads);
  for (const barrier before : {barrier::none, barrier::cta, barrier::relaxed}) {
    const auto found = run(read_neighbour_kernel, kGrid, y.data(), 4, before, barrier::cluster);
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(found->kind == fault_kind::shared_race || found->kind == fault_kind::shared_unwritten_read)
        << to_string(*found);
    EXPECT_LT(found->thread, kThreads) << "counted within its CTA";
    if (found->kind == fault_kind::shared_race) {
      EXPECT_NE(found->cta, found->other_cta);
    }
  }
}

TEST_P(cluster_faults, end_of_a_cta_that_another_one_may_still_read) {
  q4fuse_test::guarded_buffer<float> y(8 * kThreads);
  for (const barrier after : {barrier::none, barrier::cta}) {
    const auto found = run(read_neighbour_kernel, kGrid, y.data(), 4, barrier::cluster, after);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->kind, fault_kind::cluster_memory_gone) << to_string(*found);
  }
}

__global__ void read_rank_kernel(int rank) {
  arch::store_shared<float4>(arch::shared_memory() + 16 * arch::thread_index(), {});
  arch::sync_cluster();
  planted(), arch::load_cluster(arch::shared_memory(), rank);
  arch::sync_cluster();
}

TEST_P(cluster_faults, rank_outside_the_cluster) {
  expect_clean(run(read_rank_kernel, {32, 512, 2, false, 2}, 1));
  expect_fault(run(read_rank_kernel, {32, 512, 2, false, 2}, 2), fault_kind::cluster_memory_gone);
}

__global__ void one_cta_passes_by_kernel() {
  if (arch::cta_index() % 2 == 0) planted(), arch::sync_cluster();
}

TEST_P(cluster_faults, barrier_that_one_cta_passes_by) {
  expect_fault(run(one_cta_passes_by_kernel, {32, 0, 2, false, 2}), fault_kind::barrier_divergence);
}

enum class half_barrier { none, relaxed, release };

/// Every thread writes 16 bytes for the same thread of the next CTA, arrives, does something else, waits, and reads its
/// own.
__global__ void write_neighbour_kernel(float* y, int ctas, half_barrier kind, bool waits) {
  const int thread = arch::thread_index();
  const int rank = static_cast<int>(arch::cta_index() % ctas);
  uint8_t* const place = arch::shared_memory() + 16 * thread;
  const auto value = static_cast<float>(arch::cta_index() * kThreads + thread);
  planted_other(), arch::store_cluster(place, (rank + 1) % ctas, float4{value, value, value, value});
  if (kind == half_barrier::relaxed) arch::arrive_cluster_relaxed();
  if (kind == half_barrier::release) device.arrive_cluster(true, site::here());
  arch::sync_warp();
  if (kind != half_barrier::none && waits) arch::wait_cluster();
  planted();
  arch::store_global<float>(y + arch::cta_index() * kThreads + thread, arch::load_shared<float4>(place).w);
  if (kind != half_barrier::none && !waits) arch::wait_cluster();
  arch::sync_cluster();
}

TEST_P(cluster_faults, neighbours_write_each_others_memory) {
  q4fuse_test::guarded_buffer<float> y(8 * kThreads);
  expect_clean(run(write_neighbour_kernel, kGrid, y.data(), 4, half_barrier::release, true));
  const std::vector<float> result = y.download();
  for (int i = 0; i < 8 * kThreads; ++i) {
    const int cta = i / kThreads;
    const int source = cta / 4 * 4 + (cta + 3) % 4;
    EXPECT_EQ(result[static_cast<size_t>(i)], static_cast<float>(source * kThreads + i % kThreads)) << i;
  }
}

TEST_P(cluster_faults, write_of_another_cta_that_nothing_has_waited_for) {
  q4fuse_test::guarded_buffer<float> y(8 * kThreads);
  for (const auto& [kind, waits] : {std::pair{half_barrier::none, true},
                                    {half_barrier::relaxed, true},
                                    {half_barrier::relaxed, false},
                                    {half_barrier::release, false}}) {
    const auto found = run(write_neighbour_kernel, kGrid, y.data(), 4, kind, waits);
    ASSERT_TRUE(found.has_value()) << static_cast<int>(kind) << waits;
    EXPECT_TRUE(found->kind == fault_kind::shared_race || found->kind == fault_kind::shared_unwritten_read)
        << to_string(*found);
  }
}

/// What is read may be overwritten from another CTA once its readers have arrived and the writer has waited.
__global__ void overwrite_kernel(float* y, half_barrier kind) {
  const int rank = static_cast<int>(arch::cta_index() % 2);
  uint8_t* const place = arch::shared_memory() + 16 * arch::thread_index();
  arch::store_shared<float4>(place, {1.0f, 1.0f, 1.0f, 1.0f});
  arch::sync_cluster();
  const float4 read = arch::load_shared<float4>(place);
  arch::store_global<float>(y + arch::cta_index() * kThreads + arch::thread_index(), read.w);
  if (kind == half_barrier::relaxed) arch::arrive_cluster_relaxed();
  if (kind == half_barrier::release) device.arrive_cluster(true, site::here());
  if (kind != half_barrier::none) arch::wait_cluster();
  planted(), arch::store_cluster(place, 1 - rank, float4{2.0f, 2.0f, 2.0f, 2.0f});
  arch::sync_cluster();
}

TEST_P(cluster_faults, overwriting_what_another_cta_may_still_read) {
  constexpr grid kPair{kThreads, 16 * kThreads, 2, false, 2};
  q4fuse_test::guarded_buffer<float> y(2 * kThreads);
  expect_clean(run(overwrite_kernel, kPair, y.data(), half_barrier::release));
  for (const half_barrier kind : {half_barrier::none, half_barrier::relaxed}) {
    const auto found = run(overwrite_kernel, kPair, y.data(), kind);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->kind, fault_kind::shared_race) << to_string(*found);
  }
}

/// Each CTA of a pair makes a barrier, on which a copy from the other one counts.
__global__ void copy_on_new_barrier_kernel(float* y, bool fences) {
  const int rank = static_cast<int>(arch::cta_index() % 2);
  uint8_t* const mine = arch::shared_memory() + 16 * rank;
  uint8_t* const full = arch::shared_memory() + 32;
  if (arch::thread_index() == 0) {
    const auto value = static_cast<float>(arch::cta_index());
    arch::store_shared<float4>(mine, float4{value, value, value, value});
    arch::fence_proxy_async();
    planted_other(), arch::mbarrier_init(full, 1);
    if (fences) arch::fence_mbarrier_init();
  }
  arch::sync_warp();
  arch::arrive_cluster_relaxed();
  arch::wait_cluster();
  if (arch::thread_index() == 0) {
    planted(), arch::copy_to_cluster(mine, 16, 1 - rank, full);
    arch::mbarrier_arrive_expecting(full, 16);
    arch::mbarrier_wait(full, 0);
    const auto theirs = arch::load_shared<float4>(arch::shared_memory() + 16 * (1 - rank));
    arch::store_global<float>(y + arch::cta_index(), theirs.x);
  }
  arch::sync_cluster();
}

TEST_P(cluster_faults, barrier_that_another_cta_may_not_know_of) {
  constexpr grid kPair{32, 64, 2, false, 2};
  q4fuse_test::guarded_buffer<float> y(2);
  expect_clean(run(copy_on_new_barrier_kernel, kPair, y.data(), true));
  EXPECT_EQ(y.download(), (std::vector<float>{1.0f, 0.0f}));
  const auto found = run(copy_on_new_barrier_kernel, kPair, y.data(), false);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::shared_race) << to_string(*found);
}

enum class copy_mistake { none, no_fence, few_bytes, many_bytes, no_wait, no_drain };

/// The threads of either CTA of a pair fill their half of what both have; one of them copies it to the other CTA. Each
/// has one thread tell both that the halves have been read, and one thread that waits for both to say so.
__global__ void share_halves_kernel(float* y, copy_mistake made) {
  constexpr int kBytes = 16 * kThreads;
  const int thread = arch::thread_index();
  const int rank = static_cast<int>(arch::cta_index() % 2);
  uint8_t* const mine = arch::shared_memory() + rank * kBytes;
  uint8_t* const full = arch::shared_memory() + 2 * kBytes;
  uint8_t* const empty = full + arch::kMbarrierBytes;
  if (thread == 0) {
    arch::mbarrier_init(full, 1);
    arch::mbarrier_init(empty, 2);
  }
  arch::sync_cluster();
  const auto value = static_cast<float>(arch::cta_index() * kThreads + thread);
  arch::store_shared<float4>(mine + 16 * thread, {value, value, value, value});
  if (made != copy_mistake::no_fence) arch::fence_proxy_async();
  arch::sync_cta();
  if (thread == 0) {
    planted(), arch::copy_to_cluster(mine, kBytes, 1 - rank, full);
    const int wrong = made == copy_mistake::few_bytes ? -16 : made == copy_mistake::many_bytes ? 16 : 0;
    arch::mbarrier_arrive_expecting(full, kBytes + wrong);
  }
  if (made != copy_mistake::no_wait) arch::mbarrier_wait(full, 0);
  const float4 read = arch::load_shared<float4>(arch::shared_memory() + (1 - rank) * kBytes + 16 * thread);
  arch::store_global<float>(y + arch::cta_index() * kThreads + thread, read.w);
  arch::sync_cta();
  if (thread < 2) arch::mbarrier_arrive_cluster_after_reads(empty, thread);
  if (thread == 32 && made != copy_mistake::no_drain) arch::mbarrier_wait(empty, 0);
}

constexpr grid kHalves{kThreads, 32 * kThreads + 2 * arch::kMbarrierBytes, 8, false, 2};

TEST_P(cluster_faults, neighbours_copy_to_each_other) {
  q4fuse_test::guarded_buffer<float> y(8 * kThreads);
  expect_clean(run(share_halves_kernel, kHalves, y.data(), copy_mistake::none));
  const std::vector<float> result = y.download();
  for (int i = 0; i < 8 * kThreads; ++i) {
    EXPECT_EQ(result[static_cast<size_t>(i)], static_cast<float>((i / kThreads ^ 1) * kThreads + i % kThreads)) << i;
  }
}

TEST_P(cluster_faults, copies_to_another_cta_gone_wrong) {
  q4fuse_test::guarded_buffer<float> y(8 * kThreads);
  const auto kind_of = [&](copy_mistake made) {
    const auto found = run(share_halves_kernel, kHalves, y.data(), made);
    EXPECT_TRUE(found.has_value()) << static_cast<int>(made);
    return found.has_value() ? found->kind : fault_kind{};
  };
  EXPECT_EQ(kind_of(copy_mistake::no_fence), fault_kind::proxy_fence_missing);
  EXPECT_EQ(kind_of(copy_mistake::few_bytes), fault_kind::mbarrier_invalid);
  EXPECT_EQ(kind_of(copy_mistake::many_bytes), fault_kind::barrier_divergence);
  EXPECT_EQ(kind_of(copy_mistake::no_drain), fault_kind::cluster_memory_gone);
  const fault_kind early = kind_of(copy_mistake::no_wait);
  EXPECT_TRUE(early == fault_kind::shared_race || early == fault_kind::shared_unwritten_read);
}

__global__ void end_before_write_kernel() {
  if (arch::cta_index() % 2 == 1) return;
  planted(), arch::store_cluster(arch::shared_memory() + 16 * arch::thread_index(), 1, float4{1.0f, 1.0f, 1.0f, 1.0f});
}

TEST_P(cluster_faults, write_into_the_memory_of_a_cta_that_may_have_ended) {
  const auto found = run(end_before_write_kernel, {32, 512, 2, false, 2});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::cluster_memory_gone) << to_string(*found);
}

__global__ void half_barriers_kernel(bool arrives, bool whole) {
  if (arrives) device.arrive_cluster(true, site::here());
  planted();
  whole ? arch::sync_cluster() : arrives ? device.arrive_cluster(true, site::here()) : arch::wait_cluster();
}

TEST_P(cluster_faults, halves_of_a_barrier_that_do_not_alternate) {
  for (const auto& [arrives, whole] : {std::pair{true, true}, {true, false}, {false, false}}) {
    const auto found = run(half_barriers_kernel, {32, 0, 2, false, 2}, arrives, whole);
    ASSERT_TRUE(found.has_value()) << arrives << whole;
    EXPECT_EQ(found->kind, fault_kind::barrier_divergence) << to_string(*found);
  }
}

}  // namespace
}  // namespace q4fuse_emulator
