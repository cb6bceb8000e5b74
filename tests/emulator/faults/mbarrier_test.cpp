// mbarrier: what arrivals pass on and waits take over, thread by thread, and barriers used wrongly.

#include "emulator/faults/fault_harness.hpp"

#include <string>

namespace q4fuse_emulator {
namespace {

class mbarrier_faults : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(mbarrier_faults);

constexpr int kBarriersAt = 1024;
constexpr int64_t kSharedBytes = kBarriersAt + 4 * arch::kMbarrierBytes;

uint8_t* barrier_at(int index) { return arch::shared_memory() + kBarriersAt + index * arch::kMbarrierBytes; }
int* shared_word(int index) { return reinterpret_cast<int*>(arch::shared_memory()) + index; }

void initialize(int arrivals) {
  if (arch::thread_index() == 0) arch::mbarrier_init(barrier_at(0), arrivals);
  arch::sync_cta();
}

/// The phase before the first has parity 1: warp 0 need not wait for it, and all of it has passed by before it ends
/// phases. Warp 1 waits for two, in turn.
__global__ void phases_kernel() {
  initialize(2);
  const int lane = arch::lane_index();
  if (arch::warp_index() == 0) {
    arch::mbarrier_wait(barrier_at(0), 1);
    arch::sync_warp();
    if (lane < 2) arch::mbarrier_arrive(barrier_at(0));
    arch::mbarrier_wait(barrier_at(0), 0);
    if (lane == 3) arch::store_shared<int>(shared_word(0), 5);
    arch::sync_warp();
    if (lane == 3 || lane == 4) arch::mbarrier_arrive(barrier_at(0));
  } else {
    arch::mbarrier_wait(barrier_at(0), 0);
    arch::mbarrier_wait(barrier_at(0), 1);
    EXPECT_EQ(arch::load_shared<int>(shared_word(0)), 5);
  }
}

TEST_P(mbarrier_faults, phases_alternate) { expect_clean(run(phases_kernel, {64, kSharedBytes})); }

/// Every thread arrives and waits for itself, again and again; each reads what another has just written. Two places in
/// turn, because a thread may write the next round while another one still reads this.
__global__ void rounds_kernel(int places, int distance) {
  const int threads = 64;
  const int i = arch::thread_index();
  initialize(threads);
  for (int round = 0; round < 6; ++round) {
    int* const words = shared_word(round % places * threads);
    planted(), planted_other(), arch::store_shared<int>(words + i, 100 * round + i);
    arch::mbarrier_arrive(barrier_at(0));
    arch::mbarrier_wait(barrier_at(0), round % 2);
    EXPECT_EQ(arch::load_shared<int>(words + (i ^ distance)), 100 * round + (i ^ distance));
  }
}

TEST_P(mbarrier_faults, threads_pass_on_what_they_did) {
  expect_clean(run(rounds_kernel, {64, kSharedBytes}, 2, 1));
  expect_clean(run(rounds_kernel, {64, kSharedBytes}, 2, 32));
  for (const int distance : {1, 32}) {
    const auto found = run(rounds_kernel, {64, kSharedBytes}, 1, distance);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->kind, fault_kind::shared_race) << to_string(*found);
    EXPECT_EQ(found->thread ^ distance, found->other_thread);
  }
}

/// Thread `writer` of warp 0 writes before or after lane 0 arrives, with or without a barrier of the warp in between;
/// all of warp 1 read, of which all or only lane 0 have waited.
enum class order { sound, other_lane_writes, writes_afterwards, other_lanes_do_not_wait, warp_waits_through_a_lane };

__global__ void one_lane_kernel(order kind, int* global) {
  initialize(1);
  const int lane = arch::lane_index();
  const bool afterwards = kind == order::writes_afterwards;
  if (arch::warp_index() == 0) {
    const int writer = kind == order::sound || kind == order::other_lane_writes ? 7 : 0;
    if (!afterwards && lane == writer) {
      planted_other(), arch::store_shared<int>(shared_word(0), 1), arch::store_global<int>(global, 1);
    }
    if (kind == order::sound) arch::sync_warp();
    if (lane == 0) arch::mbarrier_arrive(barrier_at(0));
    if (afterwards && lane == 0) planted_other(), arch::store_shared<int>(shared_word(0), 1);
  } else {
    const bool through_a_lane = kind == order::other_lanes_do_not_wait || kind == order::warp_waits_through_a_lane;
    if (lane == 0 || !through_a_lane) arch::mbarrier_wait(barrier_at(0), 0);
    if (kind == order::warp_waits_through_a_lane) arch::sync_warp();
    planted(), arch::load_shared<int>(shared_word(0));
    if (!afterwards) arch::load_global<int>(global);
  }
}

TEST_P(mbarrier_faults, an_arrival_and_a_wait_are_of_one_thread) {
  q4fuse_test::guarded_buffer<int> global(std::vector<int>(1));
  const auto end_of = [&](order kind) { return run(one_lane_kernel, {64, kSharedBytes}, kind, global.data()); };
  expect_clean(end_of(order::sound));
  expect_clean(end_of(order::warp_waits_through_a_lane));
  for (const order kind : {order::other_lane_writes, order::writes_afterwards, order::other_lanes_do_not_wait}) {
    const auto found = end_of(kind);
    ASSERT_TRUE(found.has_value()) << static_cast<int>(kind);
    if (found->kind == fault_kind::shared_unwritten_read) continue;   // the reader came first
    if (found->thread < 32) std::swap(planted_at, planted_other_at);  // the write came last
    expect_fault(found, fault_kind::shared_race, 0);
  }
}

/// Lane 0 of each warp arrives, twice if `again`, and the whole warp waits in between.
__global__ void count_kernel(int arrivals, bool again) {
  initialize(arrivals);
  const auto arrive = [&] {
    if (arch::lane_index() == 0) planted(), planted_other(), arch::mbarrier_arrive(barrier_at(0));
  };
  arrive();
  arch::mbarrier_wait(barrier_at(0), 0);
  arch::sync_warp();
  if (again) arrive();
}

TEST_P(mbarrier_faults, more_arrivals_than_it_counts) {
  expect_clean(run(count_kernel, {128, kSharedBytes}, 4, false));
  expect_clean(run(count_kernel, {128, kSharedBytes}, 4, true));
  const auto found = run(count_kernel, {128, kSharedBytes}, 3, false);
  expect_fault(found, fault_kind::mbarrier_overrun, kBarriersAt);
  EXPECT_NE(found->other_thread, found->thread);
}

TEST_P(mbarrier_faults, fewer_arrivals_than_it_counts) {
  const auto found = run(count_kernel, {128, kSharedBytes}, 5, false);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::barrier_divergence) << to_string(*found);
  EXPECT_NE(found->detail.find("threads 0-127 wait in mbarrier_wait"), std::string::npos) << found->detail;
  EXPECT_NE(found->detail.find("for phase 0 of the mbarrier at byte 1024, with 4 of 5 arrivals: of threads "),
            std::string::npos)
      << found->detail;
}

/// Warp 0 ends a phase, and another one if `again`, before or after warp 1 waits for the first; `kept` keeps warp 0
/// from going on.
__global__ void overtaking_kernel(bool again, bool kept) {
  initialize(1);
  if (arch::thread_index() == 32) planted_other(), arch::mbarrier_arrive(barrier_at(0));
  if (arch::warp_index() == 0) planted(), arch::mbarrier_wait(barrier_at(0), 0);
  if (kept) arch::sync_cta();
  if (again && arch::thread_index() == 32) planted_other(), arch::mbarrier_arrive(barrier_at(0));
}

TEST_P(mbarrier_faults, a_wait_that_a_second_phase_overtakes) {
  expect_clean(run(overtaking_kernel, {64, kSharedBytes}, false, false));
  expect_clean(run(overtaking_kernel, {64, kSharedBytes}, true, true));
  const auto found = run(overtaking_kernel, {64, kSharedBytes}, true, false);
  EXPECT_TRUE(found.has_value() || GetParam() != 0) << "in order, the last warp at a barrier is the first to go on";
  if (found) expect_fault(found, fault_kind::mbarrier_ambiguous_wait, kBarriersAt);
}

/// Warp 1 waits for the second phase without having waited for the first, and so it may go on before either.
__global__ void early_kernel() {
  initialize(1);
  if (arch::warp_index() == 1) {
    arch::mbarrier_wait(barrier_at(0), 1);
    arch::load_shared<int>(shared_word(0));
  } else if (arch::lane_index() == 0) {
    arch::mbarrier_arrive(barrier_at(0));
    arch::store_shared<int>(shared_word(0), 1);
    arch::mbarrier_arrive(barrier_at(0));
  }
}

TEST_P(mbarrier_faults, a_wait_that_skips_a_phase) {
  const auto found = run(early_kernel, {64, kSharedBytes});
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->kind == fault_kind::shared_unwritten_read || found->kind == fault_kind::shared_race ||
              found->kind == fault_kind::mbarrier_ambiguous_wait)
      << to_string(*found);
}

/// Two warps wait on one barrier, two on another that has one arrival.
__global__ void two_barriers_kernel() {
  if (arch::thread_index() == 0) arch::mbarrier_init(barrier_at(0), 1), arch::mbarrier_init(barrier_at(1), 2);
  arch::sync_cta();
  if (arch::thread_index() == 64) arch::mbarrier_arrive(barrier_at(1));
  arch::mbarrier_wait(barrier_at(arch::warp_index() / 2), 0);
}

TEST_P(mbarrier_faults, a_deadlock_tells_who_waits_for_what) {
  const auto found = run(two_barriers_kernel, {128, kSharedBytes});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::barrier_divergence);
  EXPECT_NE(found->detail.find("byte 1024, with 0 of 1 arrivals, threads 64-127 wait"), std::string::npos)
      << found->detail;
  EXPECT_NE(found->detail.find("byte 1032, with 1 of 2 arrivals: of threads 64"), std::string::npos) << found->detail;
}

__global__ void store_kernel(int* data) {
  if (arch::thread_index() == 0) arch::store_global<int>(data, 1);
}

/// Warp 0 waits for the kernel before, and warp 1 for warp 0.
__global__ void dependent_kernel(int* data, bool wait) {
  initialize(1);
  if (arch::warp_index() == 0) {
    arch::wait_for_dependencies();
    if (arch::lane_index() == 0) arch::mbarrier_arrive(barrier_at(0));
  } else {
    if (wait) arch::mbarrier_wait(barrier_at(0), 0);
    planted(), arch::load_global<int>(data);
  }
}

TEST_P(mbarrier_faults, the_end_of_the_kernel_before_is_passed_on) {
  q4fuse_test::guarded_buffer<int> data(std::vector<int>(1));
  for (const bool wait : {true, false}) {
    expect_clean(run(store_kernel, {32}, data.data()));
    const auto found = run(dependent_kernel, {64, kSharedBytes, 1, true}, data.data(), wait);
    EXPECT_EQ(found.has_value(), !wait);
    if (found) expect_fault(found, fault_kind::early_dependent_access, 0);
  }
}

enum class misuse { nothing, not_initialized, no_barrier, overwritten, initialized_twice, parity, count };

__global__ void misuse_kernel(misuse kind, bool arrive) {
  uint8_t* const barrier = barrier_at(0);
  const bool first = arch::thread_index() == 0;
  if (kind == misuse::count && first) planted(), arch::mbarrier_init(barrier, 0);
  if (kind != misuse::not_initialized && first) arch::mbarrier_init(barrier, 1);
  if (kind == misuse::initialized_twice && first) planted(), arch::mbarrier_init(barrier, 1);
  if (kind != misuse::no_barrier) arch::sync_cta();
  if (kind == misuse::overwritten && first) arch::store_shared<int>(barrier + 4, 0);
  if (kind == misuse::overwritten) arch::sync_cta();
  if (arrive && arch::thread_index() == 40) planted(), arch::mbarrier_arrive(barrier);
  if (!arrive) planted(), arch::mbarrier_wait(barrier, kind == misuse::parity ? 2 : 1);
}

TEST_P(mbarrier_faults, barriers_that_are_none) {
  for (const bool arrive : {false, true}) {
    const auto end_of = [&](misuse kind) { return run(misuse_kernel, {64, kSharedBytes}, kind, arrive); };
    expect_clean(end_of(misuse::nothing));
    for (const misuse kind : {misuse::not_initialized, misuse::initialized_twice, misuse::count}) {
      expect_fault(end_of(kind), fault_kind::mbarrier_invalid, kBarriersAt);
    }
    const auto overwritten = end_of(misuse::overwritten);
    expect_fault(overwritten, fault_kind::mbarrier_invalid, kBarriersAt + 4);
    EXPECT_EQ(overwritten->other_thread, 0);
    const auto unordered = end_of(misuse::no_barrier);
    ASSERT_TRUE(unordered.has_value());
    EXPECT_TRUE(unordered->kind == fault_kind::shared_race || unordered->kind == fault_kind::mbarrier_invalid)
        << to_string(*unordered);
  }
  expect_fault(run(misuse_kernel, {64, kSharedBytes}, misuse::parity, false), fault_kind::mbarrier_invalid,
               kBarriersAt);
}

__global__ void misaligned_kernel() { planted(), arch::mbarrier_init(arch::shared_memory() + 4, 1); }
__global__ void outside_kernel() { planted(), arch::mbarrier_init(arch::shared_memory() + 64, 1); }

TEST_P(mbarrier_faults, barriers_where_none_can_be) {
  expect_fault(run(misaligned_kernel, {32, 64}), fault_kind::misaligned_access, 4);
  expect_fault(run(outside_kernel, {32, 64}), fault_kind::shared_out_of_bounds, 64);
}

/// The memory of a barrier, reused while another warp may still come to it.
__global__ void reuse_kernel(bool ordered) {
  initialize(1);
  if (arch::thread_index() == 0) arch::mbarrier_arrive(barrier_at(0));
  arch::mbarrier_wait(barrier_at(0), 0);
  if (ordered) arch::sync_cta();
  if (arch::thread_index() == 0) arch::store_shared<int>(reinterpret_cast<int*>(barrier_at(0)), 1);
}

TEST_P(mbarrier_faults, overwritten_while_others_may_wait) {
  expect_clean(run(reuse_kernel, {64, kSharedBytes}, true));
  const auto found = run(reuse_kernel, {64, kSharedBytes}, false);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->kind == fault_kind::shared_race || found->kind == fault_kind::mbarrier_invalid)
      << to_string(*found);
}

}  // namespace
}  // namespace q4fuse_emulator
