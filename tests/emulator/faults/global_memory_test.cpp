// Bounds, alignment and races of global memory, and data touched before the kernel that makes it has ended.

#include "emulator/faults/fault_harness.hpp"

#include <memory>

namespace q4fuse_emulator {
namespace {

using q4fuse_test::guarded_buffer;

class global_memory_faults : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(global_memory_faults);

/// One thread copies one byte, or sixteen.
template <class T>
__global__ void copy_kernel(const uint8_t* from, uint8_t* to) {
  if (arch::thread_index() != 5) return;
  const T value = (planted(), arch::load_global<T>(from));
  planted(), arch::store_global<T>(to, value);
}

template <class T>
std::optional<fault_report> copy(const uint8_t* from, uint8_t* to) {
  return run(copy_kernel<T>, {32}, from, to);
}

TEST_P(global_memory_faults, one_byte_past_or_before_a_buffer) {
  guarded_buffer<uint8_t> x(std::vector<uint8_t>(1001, 7));
  x.label("x");
  guarded_buffer<uint8_t> y(2);
  const auto read = copy<uint8_t>(x.data() + 1001, y.data());
  expect_fault(read, fault_kind::global_out_of_bounds, 1001);
  EXPECT_EQ(read->buffer, "x");
  EXPECT_EQ(read->thread, 5);
  expect_fault(copy<uint8_t>(x.data() - 1, y.data()), fault_kind::global_out_of_bounds, -1);
  expect_fault(copy<uint8_t>(x.data() + 1000, y.data() + 2), fault_kind::global_out_of_bounds, 2);
  EXPECT_EQ(x.traffic().read, 1) << "the one legal read above";
  EXPECT_EQ(y.download(), std::vector<uint8_t>(2, 0xFF));
}

TEST_P(global_memory_faults, vector_that_ends_one_byte_past_a_buffer) {
  guarded_buffer<uint8_t> x(32);
  guarded_buffer<uint8_t> short_by_one(31);
  expect_fault(copy<uint4>(short_by_one.data() + 16, x.data()), fault_kind::global_out_of_bounds, 16);
}

TEST_P(global_memory_faults, misaligned_vector) {
  guarded_buffer<uint8_t> x(64, 2);
  guarded_buffer<uint8_t> y(64);
  expect_fault(copy<uint4>(x.data(), y.data()), fault_kind::misaligned_access, 0);
  expect_fault(copy<uint32_t>(y.data(), x.data() + 4), fault_kind::misaligned_access, 4);
}

TEST_P(global_memory_faults, host_memory_and_released_memory) {
  uint8_t host[16] = {};
  guarded_buffer<uint8_t> y(16);
  const auto from_host = copy<uint8_t>(host, y.data());
  ASSERT_TRUE(from_host.has_value());
  EXPECT_EQ(from_host->kind, fault_kind::global_out_of_bounds);
  auto gone = std::make_unique<guarded_buffer<uint8_t>>(16);
  const uint8_t* dangling = gone->data();
  gone.reset();
  const auto released = copy<uint8_t>(dangling, y.data());
  ASSERT_TRUE(released.has_value());
  EXPECT_EQ(released->kind, fault_kind::global_out_of_bounds);
}

TEST(global_memory_bypass, stops_the_program) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  guarded_buffer<uint8_t> x(16);
  EXPECT_DEATH(*x.data() = 1, "");
}

__global__ void write_kernel(uint8_t* y, int thread_stride, int cta_stride) {
  const auto cta = static_cast<int>(arch::cta_index());
  planted(), arch::store_global<uint8_t>(y + arch::thread_index() * thread_stride + cta * cta_stride, 1);
}

TEST_P(global_memory_faults, two_threads_write_the_same_byte) {
  guarded_buffer<uint8_t> y(64);
  expect_clean(run(write_kernel, {32, 0, 2}, y.data(), 1, 32));
  expect_clean(run(write_kernel, {32, 0, 2}, y.data(), 1, 32));  // a later launch may overwrite
  const auto threads = run(write_kernel, {32}, y.data(), 0, 0);
  ASSERT_TRUE(threads.has_value());
  EXPECT_EQ(threads->kind, fault_kind::global_race);
  EXPECT_EQ(threads->where, planted_at);
  const auto ctas = run(write_kernel, {32, 0, 2}, y.data(), 1, 31);
  ASSERT_TRUE(ctas.has_value());
  EXPECT_EQ(ctas->kind, fault_kind::global_race);
  EXPECT_EQ(ctas->offset, 31);
  EXPECT_EQ(ctas->cta, 1);
  EXPECT_EQ(ctas->thread, 0);
  EXPECT_EQ(ctas->other_cta, 0);
  EXPECT_EQ(ctas->other_thread, 31);
}

__global__ void read_back_kernel(uint8_t* y, bool barrier) {
  const int i = arch::thread_index();
  arch::store_global<uint8_t>(y + i, 1);
  if (barrier) arch::sync_cta();
  arch::shuffle_xor(0, 1);
  planted(), arch::load_global<uint8_t>(y + (i ^ 1));
}

TEST_P(global_memory_faults, read_of_what_another_thread_writes) {
  guarded_buffer<uint8_t> y(32);
  expect_clean(run(read_back_kernel, {32}, y.data(), true));
  const auto found = run(read_back_kernel, {32}, y.data(), false);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::global_race);
  EXPECT_EQ(found->thread ^ 1, found->other_thread);
}

enum class waits { nobody, everybody, thread_0_before_a_barrier };

/// Reads x before and the weights w after the wait for the kernel that made them.
__global__ void dependent_kernel(const uint8_t* w, const uint8_t* x, uint8_t* y, waits who) {
  const int i = arch::thread_index();
  const uint8_t prefetched = arch::load_global<uint8_t>(w + i);
  if (who == waits::everybody || (who == waits::thread_0_before_a_barrier && i == 0)) arch::wait_for_dependencies();
  if (who == waits::thread_0_before_a_barrier) arch::sync_cta();
  const uint8_t value = (planted(), arch::load_global<uint8_t>(x + i));
  arch::store_global<uint8_t>(y + i, static_cast<uint8_t>(prefetched + value));
}

TEST_P(global_memory_faults, data_of_a_kernel_that_may_still_run) {
  constexpr grid kDependent{32, 0, 1, true};
  guarded_buffer<uint8_t> w(32);
  guarded_buffer<uint8_t> x(32);
  guarded_buffer<uint8_t> y(32);
  x.label("x");
  const auto launch = [&](const grid& g, waits who) {
    return run(dependent_kernel, g, w.data(), x.data(), y.data(), who);
  };
  const auto produce = [&] { return run(write_kernel, {32}, x.data(), 1, 0); };
  expect_clean(produce());
  expect_clean(launch(kDependent, waits::everybody));
  expect_clean(launch(kDependent, waits::thread_0_before_a_barrier));
  const auto found = launch(kDependent, waits::nobody);
  expect_fault(found, fault_kind::early_dependent_access, found->thread);
  EXPECT_EQ(found->buffer, "x");

  expect_clean(produce());
  expect_clean(launch({32}, waits::nobody));  // an ordinary launch starts after its predecessors
  expect_clean(produce());
  EXPECT_EQ(q4fuse_test::synchronize(), cudaSuccess);
  expect_clean(launch(kDependent, waits::nobody));
}

// A store may come too early as well: the predecessor may still read or write the same place.
TEST_P(global_memory_faults, store_into_what_a_running_kernel_uses) {
  constexpr grid kDependent{32, 0, 1, true};
  guarded_buffer<uint8_t> x(32);
  guarded_buffer<uint8_t> y(32);
  expect_clean(copy<uint8_t>(x.data(), y.data()));
  for (guarded_buffer<uint8_t>* used : {&x, &y}) {
    const auto found = run(write_kernel, kDependent, used->data(), 1, 0);
    ASSERT_TRUE(found.has_value());
    expect_fault(found, fault_kind::early_dependent_access, found->thread);
  }
}

TEST(traffic, counts_bytes_as_asked_for_and_sectors_once_a_launch) {
  guarded_buffer<uint8_t> x(100);
  guarded_buffer<uint8_t> y(100);
  expect_clean(run(copy_kernel<uint8_t>, {32}, x.data() + 31, y.data() + 99));
  expect_clean(run(copy_kernel<uint8_t>, {32}, x.data(), y.data() + 99));
  EXPECT_EQ(x.traffic().read, 2);
  EXPECT_EQ(x.traffic().sector_bytes_read, 64);
  EXPECT_EQ(x.traffic().written, 0);
  EXPECT_EQ(y.traffic().written, 2);
  EXPECT_EQ(y.traffic().sector_bytes_written, 64);
  guarded_buffer<uint8_t> z(64);
  expect_clean(run(write_kernel, {64}, z.data(), 1, 0));
  EXPECT_EQ(z.traffic().written, 64);
  EXPECT_EQ(z.traffic().sector_bytes_written, 64);
}

}  // namespace
}  // namespace q4fuse_emulator
