// Bounds, initialization and alignment of shared memory.

#include "emulator/faults/fault_harness.hpp"

namespace q4fuse_emulator {
namespace {

class shared_memory_faults : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(shared_memory_faults);

/// Every thread stores a word, `shift` bytes further than its own.
__global__ void store_words_kernel(int shift) {
  planted(), arch::store_shared<int>(arch::shared_memory() + 4 * arch::thread_index() + shift, 1);
}

TEST_P(shared_memory_faults, store_past_the_end) {
  expect_clean(run(store_words_kernel, {32, 128}, 0));
  const auto found = run(store_words_kernel, {32, 124}, 0);
  expect_fault(found, fault_kind::shared_out_of_bounds, 124);
  EXPECT_EQ(found->thread, 31);
  EXPECT_EQ(found->bytes, 4);
  expect_fault(run(store_words_kernel, {32, 127}, 0), fault_kind::shared_out_of_bounds, 124);
}

TEST_P(shared_memory_faults, store_before_the_start) {
  const auto found = run(store_words_kernel, {32, 128}, -4);
  expect_fault(found, fault_kind::shared_out_of_bounds, -4);
  EXPECT_EQ(found->thread, 0);
}

TEST_P(shared_memory_faults, misaligned_word) {
  const auto found = run(store_words_kernel, {32, 256}, 2);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::misaligned_access, 4 * found->thread + 2);
}

__global__ void load_vector_kernel(int offset, int written_bytes) {
  if (arch::thread_index() != 0) return;
  for (int i = 0; i < written_bytes; ++i) arch::store_shared<uint8_t>(arch::shared_memory() + i, 1);
  planted(), arch::load_shared<uint4>(arch::shared_memory() + offset);
}

TEST_P(shared_memory_faults, misaligned_vector) {
  expect_clean(run(load_vector_kernel, {32, 64}, 16, 32));
  expect_fault(run(load_vector_kernel, {32, 64}, 8, 32), fault_kind::misaligned_access, 8);
}

TEST_P(shared_memory_faults, vector_that_ends_one_byte_past_the_end) {
  expect_fault(run(load_vector_kernel, {32, 31}, 16, 31), fault_kind::shared_out_of_bounds, 16);
}

TEST_P(shared_memory_faults, read_of_one_unwritten_byte) {
  expect_fault(run(load_vector_kernel, {32, 64}, 16, 31), fault_kind::shared_unwritten_read, 31);
}

/// Only CTA 0 writes what every CTA reads.
__global__ void stale_kernel(bool every_cta_writes) {
  int* word = reinterpret_cast<int*>(arch::shared_memory()) + arch::thread_index();
  if (every_cta_writes || arch::cta_index() == 0) arch::store_shared<int>(word, 1);
  planted(), arch::load_shared<int>(word);
}

TEST_P(shared_memory_faults, read_of_what_an_earlier_cta_wrote) {
  expect_clean(run(stale_kernel, {64, 256, 3}, true));
  const auto found = run(stale_kernel, {32, 128, 3}, false);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::shared_unwritten_read, 4 * found->thread);
  EXPECT_EQ(found->cta, 1);
}

__global__ void dereference_kernel() { *arch::shared_memory() = 1; }

TEST(shared_memory_bypass, stops_the_program) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH((void)run(dereference_kernel, {32, 128}), "");
}

}  // namespace
}  // namespace q4fuse_emulator
