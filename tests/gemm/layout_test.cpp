// Every kernel, forced, over how the matrices may lie in memory: strides, misaligned bases, empty dimensions.

#include "gemm/gemm_harness.hpp"

namespace q4fuse_test {
namespace {

class layout : public forced_kernel {
 protected:
  /// Rows whose length allows 16-byte accesses, 8, 4 and 2: the fast path and each of the slower ones.
  static std::vector<int64_t> row_lengths() { return {256, 32 * 12, 32 * 10, 32 * 9}; }
  static int64_t tokens() { return kEmulated ? 3 : config().tile_m + 1; }
};

TEST_P(layout, rows_with_strides) {
  for (const int64_t k : row_lengths()) {
    const gemm_shape shape{tokens(), config().tile_n + 1, k};
    const gemm_inputs inputs = make_inputs(shape);
    for (const auto& [x_gap, y_gap] : {std::pair<int64_t, int64_t>{1, 1}, {8, 4}, {32, 31}}) {
      gemm_case c{shape, config(), math()};
      c.ldx = k + x_gap;
      c.ldy = shape.n + y_gap;
      EXPECT_EQ(expect_pipelines_agree(c, inputs), runs_here());
    }
  }
}

TEST_P(layout, misaligned_bases) {
  for (const int64_t k : row_lengths()) {
    if (kEmulated && k != 256 && k != 32 * 9) continue;
    const gemm_shape shape{tokens(), config().tile_n + 1, k};
    const gemm_inputs inputs = make_inputs(shape);
    for (const size_t bytes : {2, 4, 8}) {
      gemm_case c{shape, config(), math()};
      c.w_misalignment = bytes;
      EXPECT_EQ(expect_pipelines_agree(c, inputs), runs_here());
      c.w_misalignment = 0;
      c.x_misalignment = bytes;
      EXPECT_EQ(expect_pipelines_agree(c, inputs), runs_here());
      c.w_misalignment = 14;
      c.y_misalignment = bytes < 4 ? 12 : bytes;
      EXPECT_EQ(expect_pipelines_agree(c, inputs), runs_here());
    }
  }
}

// The width of an access is a matter of speed: the bits of the result do not depend on it.
TEST_P(layout, alignment_does_not_change_the_bits) {
  if (!runs_here()) return expect_refused();
  gemm_case c{{tokens(), config().tile_n + 1, 512}, config(), math()};
  const gemm_inputs inputs = make_inputs(c.shape);
  const auto aligned = run_fused(c, inputs).y;
  c.w_misalignment = 2;
  c.x_misalignment = 6;
  c.y_misalignment = 4;
  EXPECT_TRUE(equal_bits(run_fused(c, inputs).y, aligned, c.shape.n, c.describe()));
}

class empty_dimensions : public gpu_test {};

TEST_F(empty_dimensions, k_of_0_zeroes_the_rows_and_leaves_the_gaps) {
  for (const int64_t y_gap : {0, 5}) {
    for (const int64_t m : {1, 7, 300}) {
      gemm_case c{{m, 33, 0}};
      c.ldy = 33 + y_gap;
      // Packed zeros with 0xFF gaps is what every byte of y must become.
      const auto wanted = with_stride(std::vector<float>(static_cast<size_t>(m * 33), 0.0f), m, 33, c.ldy);
      for (const gemm_outcome& outcome : {run_fused(c, {}), run_separate(c, {})}) {
        EXPECT_TRUE(outcome.status.ok()) << to_string(outcome.status);
        EXPECT_TRUE(equal_bits(outcome.y, wanted, c.ldy, c.describe()));
      }
    }
  }
}

TEST_F(empty_dimensions, m_or_n_of_0_is_success_and_writes_nothing) {
  guarded_buffer<float> y(256);
  guarded_buffer<q4fuse::block_q4_0> w(64);
  guarded_buffer<__half> x(1024);
  guarded_buffer<q4fuse::block_q8_1> blocks(64);
  for (const gemm_shape shape :
       {gemm_shape{0, 8, 64}, gemm_shape{8, 0, 64}, gemm_shape{0, 0, 64}, gemm_shape{0, 8, 0}}) {
    q4fuse::gemm_options options;
    options.ldy = 16;
    for (const q4fuse::status status :
         {q4fuse::gemm_q4_0_fp16_fused(w.data(), x.data(), y.data(), shape, options, nullptr),
          q4fuse::gemm_q4_0_q8_1(w.data(), blocks.data(), y.data(), shape, options, nullptr),
          q4fuse::gemm_q4_0_fp16(w.data(), x.data(), y.data(), shape, nullptr, 0, options, nullptr),
          q4fuse::gemm_q4_0_fp16_fused(nullptr, nullptr, nullptr, shape, options, nullptr),
          q4fuse::gemm_q4_0_q8_1(nullptr, nullptr, nullptr, shape, options, nullptr)}) {
      EXPECT_TRUE(status.ok()) << to_string(status) << " at m=" << shape.m << " n=" << shape.n << " k=" << shape.k;
    }
    ASSERT_EQ(synchronize(), cudaSuccess);
  }
  EXPECT_TRUE(y.guards_intact());
  expect_untouched(y.download(), "y of an empty product");
}

Q4FUSE_FOR_EVERY_KERNEL(layout);

}  // namespace
}  // namespace q4fuse_test
