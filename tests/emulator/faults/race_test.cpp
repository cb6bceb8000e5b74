// Two threads, one byte, at least one write, no barrier between them.

#include "emulator/faults/fault_harness.hpp"

namespace q4fuse_emulator {
namespace {

class race_faults : public emulator_faults {};
Q4FUSE_FOR_EVERY_SCHEDULE(race_faults);

int* shared_word(int index) { return reinterpret_cast<int*>(arch::shared_memory()) + index; }

enum class barrier { none, warp, cta, shuffle };

void pass(barrier kind) {
  if (kind == barrier::warp) arch::sync_warp();
  if (kind == barrier::cta) arch::sync_cta();
  if (kind == barrier::shuffle) arch::shuffle_xor(0, 1);
}

/// Every thread writes its word and reads that of a neighbour.
__global__ void exchange_kernel(barrier kind, int distance) {
  planted_other(), arch::store_shared<int>(shared_word(arch::thread_index()), 1);
  pass(kind);
  planted(), arch::load_shared<int>(shared_word(arch::thread_index() ^ distance));
}

TEST_P(race_faults, read_of_what_another_thread_writes) {
  expect_clean(run(exchange_kernel, {64, 256}, barrier::cta, 1));
  expect_clean(run(exchange_kernel, {64, 256}, barrier::cta, 32));
  expect_clean(run(exchange_kernel, {64, 256}, barrier::warp, 1));
  // A warp's barrier orders that warp alone.
  const auto found = run(exchange_kernel, {64, 256}, barrier::warp, 32);
  ASSERT_TRUE(found.has_value());
  if (found->kind == fault_kind::shared_race) {
    EXPECT_EQ(found->thread ^ 32, found->other_thread);
    expect_fault(found, fault_kind::shared_race, 4 * found->other_thread);
  } else {
    EXPECT_EQ(found->kind, fault_kind::shared_unwritten_read) << "the reader came first";
  }
}

// Shuffles bring the lanes together but, as on the GPU, do not make their stores visible to each other.
TEST_P(race_faults, a_shuffle_orders_no_memory) {
  const auto found = run(exchange_kernel, {32, 128}, barrier::shuffle, 1);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::shared_race, 4 * found->other_thread);
  EXPECT_EQ(found->thread ^ 1, found->other_thread);
}

__global__ void same_value_kernel(barrier kind, int writer_a, int writer_b) {
  if (arch::thread_index() == writer_a) planted_other(), arch::store_shared<int>(shared_word(0), 7);
  pass(kind);
  if (arch::thread_index() == writer_b) planted(), arch::store_shared<int>(shared_word(0), 7);
}

TEST_P(race_faults, two_writes_of_the_same_value) {
  expect_clean(run(same_value_kernel, {64, 4}, barrier::cta, 0, 33));
  expect_clean(run(same_value_kernel, {64, 4}, barrier::warp, 0, 5));
  expect_clean(run(same_value_kernel, {64, 4}, barrier::none, 5, 5));
  for (const int other : {5, 33}) {
    const auto found = run(same_value_kernel, {64, 4}, barrier::shuffle, 0, other);
    ASSERT_TRUE(found.has_value());
    if (found->thread == 0) std::swap(planted_at, planted_other_at);  // the other one came first
    expect_fault(found, fault_kind::shared_race, 0);
    EXPECT_EQ(found->thread + found->other_thread, other);
  }
}

/// Everybody reads word 0, then thread `writer` overwrites it.
__global__ void overwrite_kernel(barrier kind, int writer) {
  if (arch::thread_index() == 0) arch::store_shared<int>(shared_word(0), 1);
  arch::sync_cta();
  planted_other(), arch::load_shared<int>(shared_word(0));
  pass(kind);
  if (arch::thread_index() == writer) planted(), arch::store_shared<int>(shared_word(0), 2);
}

TEST_P(race_faults, overwrite_of_what_others_still_read) {
  expect_clean(run(overwrite_kernel, {96, 4}, barrier::cta, 40));
  expect_clean(run(overwrite_kernel, {32, 4}, barrier::warp, 7));
  for (const int threads : {32, 96}) {
    for (const barrier kind : {barrier::shuffle, barrier::warp}) {
      if (threads == 32 && kind == barrier::warp) continue;
      const auto found = run(overwrite_kernel, {threads, 4}, kind, 7);
      ASSERT_TRUE(found.has_value());
      if (found->thread != 7) std::swap(planted_at, planted_other_at);  // the write came first
      expect_fault(found, fault_kind::shared_race, 0);
      EXPECT_TRUE(found->thread == 7 || found->other_thread == 7);
    }
  }
}

// Bytes, not words, are compared: neighbours in one word do not race.
__global__ void bytes_kernel(int bytes_apart) {
  const int i = arch::thread_index();
  arch::store_shared<uint8_t>(arch::shared_memory() + i * bytes_apart, static_cast<uint8_t>(i));
}

TEST_P(race_faults, neighbouring_bytes_do_not_race) {
  expect_clean(run(bytes_kernel, {64, 64}, 1));
  const auto found = run(bytes_kernel, {64, 64}, 0);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::shared_race);
}

/// Warps 0 and 1 share named barrier 1, warps 2 and 3 barrier 2. Each thread writes a word and reads one of warp
/// `from`.
__global__ void named_barrier_kernel(int from) {
  const int i = arch::thread_index();
  planted_other(), arch::store_shared<int>(shared_word(i), i);
  arch::sync_named(1 + i / 64, 64);
  const int other = i < 32 ? from * 32 + i : i;
  planted(), arch::load_shared<int>(shared_word(other));
}

TEST_P(race_faults, named_barrier_orders_its_warps_alone) {
  expect_clean(run(named_barrier_kernel, {128, 512}, 1));
  const auto found = run(named_barrier_kernel, {128, 512}, 2);
  ASSERT_TRUE(found.has_value());
  if (found->kind != fault_kind::shared_unwritten_read) {  // warp 0 came first
    expect_fault(found, fault_kind::shared_race, 4 * found->other_thread);
    EXPECT_EQ(found->other_thread, found->thread + 64);
  }
}

/// Warps 0 to 2 read a word; a barrier of warps 0, 1 and 3 follows, or two that pass the word of warp 2 on, and then
/// warp 3 writes it. Warp 2 must not be forgotten among the readers.
__global__ void readers_of_three_warps_kernel(bool pass_on) {
  const int warp = arch::warp_index();
  if (arch::thread_index() == 0) arch::store_shared<int>(shared_word(0), 1);
  arch::sync_cta();
  if (warp < 3) planted_other(), arch::load_shared<int>(shared_word(0));
  if (pass_on && (warp == 2 || warp == 0)) arch::sync_named(2, 64);
  if (warp != 2) arch::sync_named(1, 96);
  if (arch::thread_index() == 96) planted(), arch::store_shared<int>(shared_word(0), 2);
}

TEST_P(race_faults, order_passes_from_barrier_to_barrier) {
  expect_clean(run(readers_of_three_warps_kernel, {128, 4}, true));
  const auto found = run(readers_of_three_warps_kernel, {128, 4}, false);
  ASSERT_TRUE(found.has_value());
  if (found->thread != 96) std::swap(planted_at, planted_other_at);  // the write came first
  expect_fault(found, fault_kind::shared_race, 0);
  const int reader = found->thread == 96 ? found->other_thread : found->thread;
  EXPECT_EQ(reader / 32, 2);
}

/// The model case: a quantizer whose maximum is reduced in one array of 32 floats that all warps use at once, between
/// block-wide barriers inside a loop that warps may run a different number of times.
__global__ void shared_scratch_quantizer_kernel(int blocks, int scratch_per_warp, bool cta_barriers) {
  const int warp = arch::warp_index();
  const int lane = arch::lane_index();
  float* scratch = reinterpret_cast<float*>(arch::shared_memory()) + warp * scratch_per_warp;
  for (int block = warp; block < blocks; block += 2) {
    planted(), planted_other(), arch::store_shared<float>(scratch + lane, static_cast<float>(block + lane));
    for (int half = 16; half > 0; half /= 2) {
      cta_barriers ? arch::sync_cta() : arch::sync_warp();
      if (lane < half) {
        const float other = arch::load_shared<float>(scratch + lane + half);
        const float mine = arch::load_shared<float>(scratch + lane);
        if (other > mine) arch::store_shared<float>(scratch + lane, other);
      }
    }
    cta_barriers ? arch::sync_cta() : arch::sync_warp();
    EXPECT_EQ(arch::load_shared<float>(scratch), static_cast<float>(block + 31));
    cta_barriers ? arch::sync_cta() : arch::sync_warp();
  }
}

TEST_P(race_faults, reduction_scratch_shared_by_all_warps) {
  expect_clean(run(shared_scratch_quantizer_kernel, {64, 256}, 5, 32, false));
  const auto found = run(shared_scratch_quantizer_kernel, {64, 256}, 4, 0, true);
  ASSERT_TRUE(found.has_value());
  expect_fault(found, fault_kind::shared_race, 4 * (found->thread % 32));
  EXPECT_EQ(found->thread ^ 32, found->other_thread);
}

TEST_P(race_faults, block_barrier_in_a_loop_that_warps_leave_at_different_times) {
  expect_clean(run(shared_scratch_quantizer_kernel, {64, 256}, 4, 32, true));
  const auto found = run(shared_scratch_quantizer_kernel, {64, 256}, 5, 32, true);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, fault_kind::barrier_divergence) << to_string(*found);
  EXPECT_NE(found->detail.find("threads 32-63 have ended"), std::string::npos) << to_string(*found);
}

}  // namespace
}  // namespace q4fuse_emulator
