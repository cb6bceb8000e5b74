// The library's kernels under other orders of threads, and started before their predecessors have ended.

#include <q4fuse/q4fuse.cuh>

#include "emulator/faults/fault_harness.hpp"
#include "gemm/gemm_harness.hpp"

namespace q4fuse_emulator {
namespace {

using q4fuse::gemm_shape;
using q4fuse_test::activation_kind;
using q4fuse_test::equal_bits;
using q4fuse_test::guarded_buffer;
using q4fuse_test::weight_kind;

/// A kernel of another library: copies halves, as the layer before a GEMM writes its result.
__global__ void producer_kernel(const uint16_t* from, __half* to, int count) {
  for (int i = arch::thread_index(); i < count; i += 32) {
    arch::store_global<uint16_t>(to + i, arch::load_global<uint16_t>(from + i));
  }
}

/// And one that reads a result, as the layer behind does.
__global__ void consumer_kernel(const float* from, int count) {
  for (int i = arch::thread_index(); i < count; i += 32) arch::load_global<float>(from + i);
}

class every_kernel : public q4fuse_test::forced_kernel {
 protected:
  void SetUp() override {
    gpu_test_base::SetUp();
    q4fuse::device_info info;
    ASSERT_TRUE(q4fuse_test::query(&info).ok());
    if (!can_run(config(), shape_, info)) {
      GTEST_SKIP() << to_string(config()) << " needs another architecture or more shared memory";
    }
    options_.plan.emplace();
    options_.plan->config = config();
    options_.plan->math = math();
  }
  void TearDown() override { device.settings.schedule_seed = initial_seed_; }

  void expect_ok(const q4fuse::status& status) { EXPECT_TRUE(status.ok()) << to_string(status); }
  std::vector<float> fused(const q4fuse::gemm_options& options) {
    expect_ok(q4fuse_test::gemm_fused(math(), w_.data(), x_.data(), y_.data(), shape_, options, nullptr));
    return y_.download();
  }
  /// Fused again for a mode that has no separate pipeline.
  std::vector<float> separate(const q4fuse::gemm_options& options) {
    if (!q4fuse_test::has_separate_pipeline(math())) return fused(options);
    q4fuse::quantize_options quantize;
    quantize.programmatic_dependent_launch = options.programmatic_dependent_launch;
    expect_ok(q4fuse::quantize_fp16_to_q8_1(x_.data(), blocks_.data(), shape_.m, shape_.k, quantize, nullptr));
    expect_ok(q4fuse_test::gemm_separate(math(), w_.data(), blocks_.data(), y_.data(), shape_, options, nullptr));
    return y_.download();
  }

  // More row tiles than CTAs, a ragged last one, several pieces of k, and more than one tile of tokens for some
  // kernels. Pieces are whole for kernels for which others stand in elsewhere.
  const gemm_shape shape_{9, 165, q4fuse::detail::copies_rows(config()) ? 1024 : 1056};
  int halves() const { return static_cast<int>(shape_.m * shape_.k); }
  uint64_t initial_seed_ = device.settings.schedule_seed;
  q4fuse::gemm_options options_;
  std::vector<__half> x_values_ = q4fuse_test::make_activations(activation_kind::edges, shape_.m, shape_.k, 1);
  guarded_buffer<__half> x_{x_values_};
  guarded_buffer<q4fuse::block_q4_0> w_{q4fuse_test::make_weights(weight_kind::normal, shape_.n, shape_.k, 2)};
  guarded_buffer<q4fuse::block_q8_1> blocks_{static_cast<size_t>(halves() / q4fuse::kBlockSize)};
  guarded_buffer<float> y_{static_cast<size_t>(shape_.m * shape_.n)};
};

TEST_P(every_kernel, gives_the_same_bits_in_every_order_of_threads) {
  device.settings.schedule_seed = 0;
  const std::vector<float> wanted = fused(options_);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    device.settings.schedule_seed = seed;
    EXPECT_TRUE(equal_bits(fused(options_), wanted, shape_.n, "fused, seed " + std::to_string(seed)));
    EXPECT_TRUE(equal_bits(separate(options_), wanted, shape_.n, "separate, seed " + std::to_string(seed)));
  }
}

TEST_P(every_kernel, may_start_before_its_predecessors_have_ended) {
  const std::vector<float> wanted = fused(options_);
  std::vector<uint16_t> bits(x_values_.size());
  std::memcpy(bits.data(), x_values_.data(), bits.size() * 2);
  guarded_buffer<uint16_t> source(bits);
  q4fuse::gemm_options dependent = options_;
  dependent.programmatic_dependent_launch = true;
  // x comes from a kernel that may still run, y is still being read by one.
  const auto run_neighbours = [&] {
    expect_clean(run(producer_kernel, {32}, source.data(), x_.data(), halves()));
    expect_clean(run(consumer_kernel, {32}, y_.data(), static_cast<int>(y_.size())));
  };
  run_neighbours();
  EXPECT_TRUE(equal_bits(fused(dependent), wanted, shape_.n, "fused"));
  run_neighbours();
  EXPECT_TRUE(equal_bits(separate(dependent), wanted, shape_.n, "separate"));
}

using q4fuse_test::every_forced_choice;
using q4fuse_test::forced_choice_name;
Q4FUSE_FOR_EVERY_KERNEL(every_kernel);

}  // namespace
}  // namespace q4fuse_emulator
