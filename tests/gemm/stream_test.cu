// Calls on streams: two at once, and dependent launches behind a producer that takes its time.

#include "gemm/gemm_harness.hpp"

#include <memory>

namespace q4fuse_test {
namespace {

/// Lets a dependent kernel start at once, sleeps, and only then moves the data: x comes late, and what y held before is
/// still wanted. A dependent kernel that does not wait reads NaN from x, or overwrites y too early.
__global__ void late_producer(const __half* source, __half* x, int64_t x_count, const float* y, float* y_before,
                              int64_t y_count) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
  for (int i = 0; i < 200; ++i) __nanosleep(1000);
#endif
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (int64_t i = first; i < x_count; i += int64_t{gridDim.x} * blockDim.x) x[i] = source[i];
  for (int64_t i = first; i < y_count; i += int64_t{gridDim.x} * blockDim.x) y_before[i] = y[i];
}

class streams : public forced_kernel {};

TEST_P(streams, two_at_once_do_not_disturb_each_other) {
  if (!runs_here()) return expect_refused();
  constexpr int kRounds = 8;
  const gemm_case c{{config().tile_m + 1, 4 * config().tile_n + 1, 2048}, config(), math()};
  const auto [m, n, k] = c.shape;

  struct lane {
    lane(const gemm_shape& s, const gemm_inputs& host)
        : inputs(host), w(host.w), x(host.x), blocks(static_cast<size_t>(s.m * s.k / 32)) {
      for (int i = 0; i < 2 * kRounds; ++i)
        y.push_back(std::make_unique<guarded_buffer<float>>(static_cast<size_t>(s.m * s.n)));
    }
    gemm_inputs inputs;
    stream_holder stream;
    guarded_buffer<q4fuse::block_q4_0> w;
    guarded_buffer<__half> x;
    guarded_buffer<q4fuse::block_q8_1> blocks;
    std::vector<std::unique_ptr<guarded_buffer<float>>> y;
  };
  std::vector<std::unique_ptr<lane>> lanes;
  for (uint64_t seed : {10, 20}) {
    lanes.push_back(
        std::make_unique<lane>(c.shape, make_inputs(c.shape, activation_kind::normal, weight_kind::normal, seed)));
  }
  check(cudaDeviceSynchronize());
  for (size_t round = 0; round < kRounds; ++round) {
    for (const auto& l : lanes) {
      const cudaStream_t stream = l->stream.get();
      float* const y[2] = {l->y[2 * round]->data(), l->y[2 * round + 1]->data()};
      ASSERT_TRUE(gemm_fused(math(), l->w.data(), l->x.data(), y[0], c.shape, c.options(), stream).ok());
      if (has_separate_pipeline(math())) {
        ASSERT_TRUE(q4fuse::quantize_fp16_to_q8_1(l->x.data(), l->blocks.data(), m, k, {}, stream).ok());
        ASSERT_TRUE(gemm_separate(math(), l->w.data(), l->blocks.data(), y[1], c.shape, c.options(), stream).ok());
      } else {
        ASSERT_TRUE(gemm_fused(math(), l->w.data(), l->x.data(), y[1], c.shape, c.options(), stream).ok());
      }
    }
  }
  ASSERT_EQ(synchronize(), cudaSuccess);
  for (const auto& l : lanes) {
    const auto wanted = run_fused(c, l->inputs).y;
    for (const auto& y : l->y) {
      EXPECT_TRUE(y->guards_intact());
      EXPECT_TRUE(equal_bits(y->download(), wanted, n, c.describe()));
    }
  }
}

TEST_P(streams, dependent_launch_waits_for_a_late_producer) {
  if (!runs_here()) return expect_refused();
  gemm_case c{{std::min(config().tile_m, 8) + 1, config().tile_n + 1, 1056}, config(), math()};
  c.programmatic_dependent_launch = true;
  const auto [m, n, k] = c.shape;
  const gemm_inputs inputs = make_inputs(c.shape);
  const auto wanted = run_fused(c, inputs).y;
  stream_holder stream;
  guarded_buffer<q4fuse::block_q4_0> w(inputs.w);
  guarded_buffer<__half> source(inputs.x);
  guarded_buffer<__half> x(inputs.x.size());
  guarded_buffer<q4fuse::block_q8_1> blocks(static_cast<size_t>(m * k / 32));
  const auto y_count = static_cast<size_t>(m * n);
  guarded_buffer<float> y(y_count);
  guarded_buffer<float> y_before(y_count);
  q4fuse::quantize_options quantize;
  quantize.programmatic_dependent_launch = true;
  for (const bool fused : {true, false, true, false}) {
    if (!fused && !has_separate_pipeline(math())) continue;
    for (auto* buffer : {&y, &y_before}) buffer->poison();
    x.poison();
    blocks.poison();
    check(cudaDeviceSynchronize());
    late_producer<<<2, 128, 0, stream.get()>>>(source.data(), x.data(), static_cast<int64_t>(x.size()), y.data(),
                                               y_before.data(), static_cast<int64_t>(y_count));
    check(cudaGetLastError());
    if (fused) {
      ASSERT_TRUE(gemm_fused(math(), w.data(), x.data(), y.data(), c.shape, c.options(), stream.get()).ok());
    } else {
      ASSERT_TRUE(q4fuse::quantize_fp16_to_q8_1(x.data(), blocks.data(), m, k, quantize, stream.get()).ok());
      ASSERT_TRUE(gemm_separate(math(), w.data(), blocks.data(), y.data(), c.shape, c.options(), stream.get()).ok());
    }
    ASSERT_EQ(synchronize(), cudaSuccess);
    EXPECT_TRUE(equal_bits(y.download(), wanted, n, (fused ? "fused, " : "separate, ") + c.describe()));
    expect_untouched(y_before.download(), "y as the producer saw it");
  }
}

// A chain in which each call overwrites what the one before still reads: y of one is scratch of the next.
TEST_P(streams, a_chain_of_dependent_launches_keeps_its_order) {
  if (!runs_here()) return expect_refused();
  constexpr int kLinks = 16;
  gemm_case c{{3, 2 * config().tile_n + 1, 544}, config(), math()};
  c.programmatic_dependent_launch = true;
  const auto [m, n, k] = c.shape;
  std::vector<gemm_inputs> inputs;
  std::vector<std::unique_ptr<guarded_buffer<__half>>> x;
  std::vector<std::unique_ptr<guarded_buffer<float>>> y;
  for (uint64_t i = 0; i < kLinks; ++i) {
    inputs.push_back(
        {make_weights(weight_kind::normal, n, k, 1), make_activations(activation_kind::normal, m, k, 50 + i)});
    x.push_back(std::make_unique<guarded_buffer<__half>>(inputs.back().x));
    y.push_back(std::make_unique<guarded_buffer<float>>(static_cast<size_t>(m * n)));
  }
  guarded_buffer<q4fuse::block_q4_0> w(inputs[0].w);
  guarded_buffer<q4fuse::block_q8_1> blocks(
      static_cast<size_t>(m * k / 32));  // one for all: written while the last may read
  stream_holder stream;
  q4fuse::quantize_options quantize;
  quantize.programmatic_dependent_launch = true;
  check(cudaDeviceSynchronize());
  for (size_t i = 0; i < kLinks; ++i) {
    if (!has_separate_pipeline(math())) {
      ASSERT_TRUE(gemm_fused(math(), w.data(), x[i]->data(), y[i]->data(), c.shape, c.options(), stream.get()).ok());
      continue;
    }
    ASSERT_TRUE(q4fuse::quantize_fp16_to_q8_1(x[i]->data(), blocks.data(), m, k, quantize, stream.get()).ok());
    ASSERT_TRUE(gemm_separate(math(), w.data(), blocks.data(), y[i]->data(), c.shape, c.options(), stream.get()).ok());
  }
  ASSERT_EQ(synchronize(), cudaSuccess);
  for (size_t i = 0; i < kLinks; ++i) {
    EXPECT_TRUE(equal_bits(y[i]->download(), run_fused({c.shape, config(), math()}, inputs[i]).y, n,
                           "link " + std::to_string(i) + ", " + c.describe()));
  }
}

class current_device : public gpu_test {};

TEST_F(current_device, is_not_changed_and_no_error_is_left_behind) {
  int before = -1;
  int after = -2;
  check(cudaGetDevice(&before));
  const gemm_shape shape{5, 33, 288};
  EXPECT_TRUE(run_fused({shape}, make_inputs(shape)).status.ok());
  EXPECT_TRUE(run_separate({shape}, make_inputs(shape)).status.ok());
  EXPECT_FALSE(q4fuse::gemm_q4_0_fp16_fused(nullptr, nullptr, nullptr, shape, {}, nullptr).ok());
  check(cudaGetDevice(&after));
  EXPECT_EQ(before, after);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

Q4FUSE_FOR_EVERY_KERNEL(streams);

}  // namespace
}  // namespace q4fuse_test
