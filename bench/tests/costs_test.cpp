#include "costs.hpp"

#include <gtest/gtest.h>

namespace q4fuse_bench {
namespace {

constexpr q4fuse::gemm_shape kShape{2, 64, 96};

TEST(costs, bytes_are_those_of_the_formats) {
  EXPECT_EQ(weight_bytes(kShape), 64 * 3 * static_cast<int64_t>(sizeof(q4fuse::block_q4_0)));
  EXPECT_EQ(quantized_bytes(kShape), 2 * 3 * static_cast<int64_t>(sizeof(q4fuse::block_q8_1)));
  EXPECT_EQ(weight_fp16_bytes(kShape), 64 * 96 * 2);
  EXPECT_EQ(activation_bytes(kShape), 2 * 96 * 2);
  EXPECT_EQ(output_bytes(kShape), 2 * 64 * 4);
}

TEST(costs, each_pipeline_counts_what_it_reads_and_writes_once) {
  const int64_t fused = 3456 + 384 + 512;
  EXPECT_EQ(moved_bytes(pipeline_kind::fused, kShape), fused);
  EXPECT_EQ(moved_bytes(pipeline_kind::separate, kShape), fused);
  EXPECT_EQ(moved_bytes(pipeline_kind::separate_pdl, kShape), fused);
  EXPECT_EQ(moved_bytes(pipeline_kind::gemm, kShape), 3456 + 216 + 512);
  EXPECT_EQ(moved_bytes(pipeline_kind::quantize, kShape), 384 + 216);
  EXPECT_EQ(moved_bytes(pipeline_kind::cublas, kShape), 12288 + 384 + 512);
  EXPECT_EQ(moved_bytes(pipeline_kind::producer, kShape), 2 * 384);
}

TEST(costs, the_quantizer_moves_3_125_bytes_an_element) {
  EXPECT_EQ(moved_bytes(pipeline_kind::quantize, {1000, 1, 32}) * 1000, 32 * 1000 * 3125);
}

TEST(costs, large_shapes_need_64_bits) {
  constexpr q4fuse::gemm_shape large{1000000, 151936, 28672};
  EXPECT_EQ(output_bytes(large), 607744000000);
  EXPECT_DOUBLE_EQ(operations(pipeline_kind::fused, large), 2e6 * 151936 * 28672);
}

TEST(costs, only_products_have_operations) {
  EXPECT_DOUBLE_EQ(operations(pipeline_kind::gemm, kShape), 2.0 * 2 * 64 * 96);
  EXPECT_DOUBLE_EQ(operations(pipeline_kind::quantize, kShape), 0.0);
  EXPECT_DOUBLE_EQ(operations(pipeline_kind::producer, kShape), 0.0);
}

TEST(costs, eviction_passes_200_mb_and_four_l2s) {
  EXPECT_GT(eviction_bytes(1 << 20), 200000000);
  EXPECT_EQ(eviction_bytes(int64_t{60} << 20), int64_t{240} << 20);
}

TEST(costs, a_cold_rotation_evicts_or_uses_no_buffer_twice_in_a_sample) {
  const int64_t evicting = eviction_bytes(int64_t{50} << 20);
  for (const int64_t bytes : {int64_t{1}, int64_t{12800}, int64_t{900000}, int64_t{9437184}, int64_t{1} << 34}) {
    const int slots = rotation_slots(l2_state::cold, bytes, evicting);
    EXPECT_GE(slots, 2) << bytes;
    EXPECT_TRUE(slots == kMaxCalls || slots * bytes > evicting) << bytes;
  }
}

TEST(costs, a_warm_rotation_stays_on_one_buffer) { EXPECT_EQ(rotation_slots(l2_state::warm, 1, 1 << 30), 1); }

TEST(costs, a_sample_lasts_about_a_millisecond) {
  for (const double seconds : {2e-6, 5e-6, 13e-6, 49e-6}) {
    const repetition r = choose_repetition(seconds, 0.15);
    EXPECT_GE(r.calls, 20) << seconds;
    EXPECT_LE(r.calls, kMaxCalls) << seconds;
    EXPECT_GE(r.replays, 20) << seconds;
  }
  EXPECT_EQ(choose_repetition(5e-6, 0.15).calls, 200);
}

TEST(costs, long_calls_are_repeated_less) {
  const repetition millisecond = choose_repetition(1e-3, 0.15);
  EXPECT_EQ(millisecond.calls, 10);
  EXPECT_EQ(millisecond.replays, 15);
  const repetition second = choose_repetition(1.0, 0.15);
  EXPECT_EQ(second.calls, 1);
  EXPECT_EQ(second.replays, 3);
}

TEST(costs, a_time_of_zero_is_survived) {
  const repetition r = choose_repetition(0.0, 0.15);
  EXPECT_EQ(r.calls, kMaxCalls);
  EXPECT_EQ(r.replays, 25);
}

TEST(costs, median) {
  EXPECT_DOUBLE_EQ(median({3.0}), 3.0);
  EXPECT_DOUBLE_EQ(median({9.0, 1.0, 2.0}), 2.0);
  EXPECT_DOUBLE_EQ(median({4.0, 1.0, 3.0, 9.0}), 3.5);
}

}  // namespace
}  // namespace q4fuse_bench
