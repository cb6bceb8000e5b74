// cp.async: nothing may touch the destination between the copy and its thread's wait, and after it only that thread,
// until a barrier passes the data on.

#include "emulator/faults/fault_harness.hpp"

namespace q4fuse_emulator {
namespace {

using q4fuse_test::guarded_buffer;

class async_copy_faults : public emulator_faults {
 protected:
  guarded_buffer<uint32_t> source_{std::vector<uint32_t>(256, 0xABCDu)};
};
Q4FUSE_FOR_EVERY_SCHEDULE(async_copy_faults);

uint8_t* unit(int index) { return arch::shared_memory() + 16 * index; }

enum class step { nothing, commit, wait };

__global__ void copy_kernel(const uint32_t* source, step last) {
  const int i = arch::thread_index();
  uint32_t copied = 0;
  planted_other(), arch::cp_async<16>(unit(i), source + 4 * i, true);
  if (last != step::nothing) arch::cp_async_commit();
  if (last == step::wait) arch::cp_async_wait<0>();
  planted(), copied = arch::load_shared<uint32_t>(unit(i) + 8);
  EXPECT_EQ(copied, 0xABCDu);
}

TEST_P(async_copy_faults, read_before_the_wait) {
  expect_clean(run(copy_kernel, {32, 512}, source_.data(), step::wait));
  const auto found = run(copy_kernel, {32, 512}, source_.data(), step::commit);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::async_read_before_wait, 16 * found->thread + 8);
  EXPECT_EQ(found->other_thread, found->thread);
}

__global__ void wait_without_commit_kernel(const uint32_t* source) {
  const int i = arch::thread_index();
  planted_other(), arch::cp_async<4>(unit(i), source, true);
  arch::cp_async_wait<0>();
  planted(), arch::load_shared<uint32_t>(unit(i));
}

TEST_P(async_copy_faults, wait_covers_committed_groups_only) {
  const auto found = run(wait_without_commit_kernel, {32, 512}, source_.data());
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::async_read_before_wait, 16 * found->thread);
}

/// Two groups; waits until `pending` are in flight, then reads both.
template <int kPending>
__global__ void two_groups_kernel(const uint32_t* source) {
  const int i = arch::thread_index();
  arch::cp_async<8>(unit(i), source, true);
  arch::cp_async_commit();
  planted_other(), arch::cp_async<8>(unit(i) + 8, source + 2, true);
  arch::cp_async_commit();
  arch::cp_async_wait<kPending>();
  EXPECT_EQ(arch::load_shared<uint32_t>(unit(i)), 0xABCDu);
  planted(), arch::load_shared<uint32_t>(unit(i) + 8);
}

TEST_P(async_copy_faults, newest_groups_may_stay_in_flight) {
  expect_clean(run(two_groups_kernel<0>, {32, 512}, source_.data()));
  const auto found = run(two_groups_kernel<1>, {32, 512}, source_.data());
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::async_read_before_wait, 16 * found->thread + 8);
}

/// Each thread waits for its own copy and reads its neighbour's.
__global__ void pass_on_kernel(const uint32_t* source, bool barrier) {
  const int i = arch::thread_index();
  planted_other(), arch::cp_async<16>(unit(i), source, true);
  arch::cp_async_commit();
  arch::cp_async_wait<0>();
  if (barrier) arch::sync_warp();
  arch::shuffle_xor(0, 1);
  planted(), arch::load_shared<uint32_t>(unit(i ^ 1));
}

TEST_P(async_copy_faults, a_wait_is_for_the_waiting_thread_alone) {
  expect_clean(run(pass_on_kernel, {32, 512}, source_.data(), true));
  const auto found = run(pass_on_kernel, {32, 512}, source_.data(), false);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::shared_race, 16 * found->other_thread);
}

__global__ void overwrite_kernel(const uint32_t* source, bool by_copy) {
  const int i = arch::thread_index();
  planted_other(), arch::cp_async<16>(unit(i), source, true);
  arch::cp_async_commit();
  if (by_copy) planted(), arch::cp_async<4>(unit(i) + 4, source, true);
  planted(), arch::store_shared<uint32_t>(unit(i) + 12, 0);
}

TEST_P(async_copy_faults, overwritten_in_flight) {
  for (const bool by_copy : {false, true}) {
    const auto found = run(overwrite_kernel, {32, 512}, source_.data(), by_copy);
    ASSERT_TRUE(found.has_value());
    expect_fault(found, fault_kind::async_overwrite, 16 * found->thread + (by_copy ? 4 : 12));
  }
}

/// A ring of one stage: the copy of the next piece into a place that a neighbour may still read.
__global__ void refill_kernel(const uint32_t* source, bool barrier) {
  const int i = arch::thread_index();
  arch::store_shared<uint32_t>(unit(i), 1);
  arch::sync_warp();
  planted_other(), arch::load_shared<uint32_t>(unit(i ^ 1));
  if (barrier) arch::sync_warp();
  arch::shuffle_xor(0, 1);
  planted(), arch::cp_async<4>(unit(i), source, true);
}

TEST_P(async_copy_faults, refill_of_what_another_thread_reads) {
  expect_clean(run(refill_kernel, {32, 512}, source_.data(), true));
  const auto found = run(refill_kernel, {32, 512}, source_.data(), false);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::shared_race, 16 * found->thread);
  EXPECT_EQ(found->thread ^ 1, found->other_thread);
}

__global__ void zero_fill_kernel(const uint32_t* beyond) {
  arch::cp_async<16>(unit(arch::thread_index()), beyond, false);
  arch::cp_async_commit();
  arch::cp_async_wait<0>();
  EXPECT_EQ(arch::load_shared<uint32_t>(unit(arch::thread_index()) + 12), 0u);
}

TEST_P(async_copy_faults, an_invalid_copy_writes_zeros_and_reads_nothing) {
  const int64_t before = device.totals().async_bytes;
  expect_clean(run(zero_fill_kernel, {32, 512}, source_.data() + source_.size()));
  EXPECT_EQ(source_.traffic().read, 0);
  EXPECT_EQ(device.totals().async_bytes, before);
}

__global__ void misaligned_kernel(const uint32_t* source, int to, int from) {
  planted(), arch::cp_async<16>(arch::shared_memory() + to, source + from, true);
}

TEST_P(async_copy_faults, misaligned_on_either_side) {
  const uint32_t* source = source_.data();
  const auto destination = run(misaligned_kernel, {32, 512}, source, 4, 0);
  expect_fault(destination, fault_kind::misaligned_access, 4);
  EXPECT_TRUE(destination->buffer.empty());
  source_.label("source");
  const auto origin = run(misaligned_kernel, {32, 512}, source, 0, 2);
  expect_fault(origin, fault_kind::misaligned_access, 8);
  EXPECT_EQ(origin->buffer, "source");
}

__global__ void beyond_kernel(const uint32_t* source, int from) {
  if (arch::thread_index() == 3) planted(), arch::cp_async<16>(arch::shared_memory(), source + from, true);
}

TEST_P(async_copy_faults, source_beyond_its_buffer) {
  const uint32_t* source = source_.data();
  expect_clean(run(beyond_kernel, {32, 512}, source, 252));
  expect_fault(run(beyond_kernel, {32, 512}, source, 256), fault_kind::global_out_of_bounds, 1024);
}

// The copy is as late as it may be: it carries what is in memory when its thread waits for it.
__global__ void late_kernel(uint32_t* source) {
  if (arch::thread_index() != 0) return;
  arch::cp_async<4>(arch::shared_memory(), source, true);
  arch::cp_async_commit();
  arch::store_global<uint32_t>(source, 5);
  arch::cp_async_wait<0>();
  EXPECT_EQ(arch::load_shared<uint32_t>(arch::shared_memory()), 5u);
}

TEST_P(async_copy_faults, data_is_read_at_the_wait) { expect_clean(run(late_kernel, {32, 16}, source_.data())); }

}  // namespace
}  // namespace q4fuse_emulator
