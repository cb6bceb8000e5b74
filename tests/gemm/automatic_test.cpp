// The library's own choice of kernel and pipeline.

#include "gemm/gemm_harness.hpp"
#include "gemm/shapes.hpp"

namespace q4fuse_test {
namespace {

class automatic : public gpu_test {};

class automatic_in : public gpu_test_with<math_mode> {};
INSTANTIATE_TEST_SUITE_P(math, automatic_in, ::testing::ValuesIn(kMathModes),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

/// gemm_q4_0_fp16 with a workspace of exactly the queried size, in guard zones.
gemm_outcome run_automatic(const gemm_case& c, const gemm_inputs& inputs, const q4fuse::gemm_options& options,
                           size_t* workspace_bytes) {
  const auto [m, n, k] = c.shape;
  guarded_buffer<q4fuse::block_q4_0> w(inputs.w, c.w_misalignment);
  guarded_buffer<__half> x(with_stride(inputs.x, m, k, c.x_stride()), c.x_misalignment);
  guarded_buffer<float> y(strided_count(m, n, c.y_stride()), c.y_misalignment);
  gemm_outcome outcome;
  outcome.status = workspace_size(c.math, c.shape, options, workspace_bytes);
  if (!outcome.status.ok()) return outcome;
  guarded_buffer<uint8_t> workspace(*workspace_bytes);
  outcome.status =
      gemm_automatic(c.math, w.data(), x.data(), y.data(), c.shape, *workspace_bytes == 0 ? nullptr : workspace.data(),
                     *workspace_bytes, options, nullptr);
  EXPECT_EQ(synchronize(), cudaSuccess) << c.describe();
  EXPECT_TRUE(w.guards_intact() && x.guards_intact() && y.guards_intact() && workspace.guards_intact())
      << "guard zone written, automatic, " << c.describe();
  outcome.y = y.download();
  return outcome;
}

// All three entry points: right, and the automatic one equal bit for bit to the pipeline that the plan names.
TEST_P(automatic_in, any_number_of_tokens) {
  q4fuse::device_info device;
  ASSERT_TRUE(query(&device).ok());
  for (const int64_t m : kTokenCounts) {
    for (const gemm_shape shape : {gemm_shape{m, 77, 160}, gemm_shape{m, 1, 1056}, gemm_shape{m, 5472, 64}}) {
      if (m == 0 || (kEmulated && (m > 9 || shape.n > 77))) continue;
      const gemm_case c{shape, std::nullopt, GetParam()};
      const gemm_inputs inputs = make_inputs(shape, activation_kind::outliers, weight_kind::outliers);
      EXPECT_TRUE(expect_pipelines_agree(c, inputs));
      size_t bytes = 0;
      const gemm_outcome chosen = run_automatic(c, inputs, c.options(), &bytes);
      EXPECT_TRUE(chosen.status.ok()) << to_string(chosen.status);
      const gemm_outcome same =
          plan(shape, device, c.math).source == pipeline::fused ? run_fused(c, inputs) : run_separate(c, inputs);
      EXPECT_TRUE(equal_bits(chosen.y, same.y, shape.n, "automatic against its own pipeline, " + c.describe()));
    }
  }
}

TEST_P(automatic_in, shards_as_input_features) {
  for (const int64_t k : kShards) {
    for (const int64_t m : {1, 8, 33, 129}) {
      if (kEmulated && (m > 1 || k != 5472)) continue;
      const gemm_shape shape{m, 33, k};
      EXPECT_TRUE(expect_pipelines_agree({shape, std::nullopt, GetParam()}, make_inputs(shape)));
    }
  }
}

// The last tokens by a kernel of their own: rows, gaps and guards as with one kernel, and each part with the bits of
// a call of that part alone.
TEST_P(automatic_in, last_tokens_have_the_bits_of_a_call_of_their_own) {
  q4fuse::device_info device;
  ASSERT_TRUE(query(&device).ok());
  std::vector<q4fuse::kernel_config> kernels;  // the first of each family that runs here
  for (const q4fuse::kernel_config& config : q4fuse::kKernelConfigs) {
    const bool known =
        std::any_of(kernels.begin(), kernels.end(), [&](const auto& other) { return other.family == config.family; });
    if (!known && serves(config, GetParam()) && can_run(config, {17, 77, 288}, device)) kernels.push_back(config);
  }
  ASSERT_GE(kernels.size(), 2u);
  for (size_t i = 0; i < kernels.size(); ++i) {
    for (const bool dependent : {false, true}) {
      gemm_case c{{17, 77, 288}, kernels[i], GetParam(), 296, 80};
      c.x_misalignment = 2 * i;
      c.programmatic_dependent_launch = dependent;
      c.tail_tokens = 5;
      c.tail = kernels[(i + 1) % kernels.size()];
      const gemm_inputs inputs = make_inputs(c.shape, activation_kind::outliers, weight_kind::outliers);
      EXPECT_TRUE(expect_pipelines_agree(c, inputs));
      const std::vector<float> whole = run_fused(c, inputs).y;

      gemm_case head = c;
      head.shape.m = 12;
      head.tail_tokens = 0;
      gemm_case tail = head;
      tail.shape.m = 5;
      tail.config = c.tail;
      const auto split = inputs.x.begin() + 12 * c.shape.k;
      std::vector<float> parts = run_fused(head, {inputs.w, {inputs.x.begin(), split}}).y;
      const std::vector<float> last = run_fused(tail, {inputs.w, {split, inputs.x.end()}}).y;
      parts.resize(static_cast<size_t>(12 * c.ldy), whole[static_cast<size_t>(c.shape.n)]);  // the gap of row 11
      parts.insert(parts.end(), last.begin(), last.end());
      EXPECT_TRUE(equal_bits(whole, parts, c.ldy, c.describe()));
    }
  }
}

// The workspace is what the plan says: none for fused, the Q8_1 blocks for separate.
TEST_P(automatic_in, workspace_query_follows_the_plan) {
  q4fuse::device_info device;
  ASSERT_TRUE(query(&device).ok());
  for (const gemm_shape shape : {gemm_shape{1, 4096, 4096}, gemm_shape{64, 4096, 4096}, gemm_shape{4096, 4096, 4096},
                                 gemm_shape{0, 64, 64}, gemm_shape{64, 64, 0}}) {
    size_t bytes = 1;
    ASSERT_TRUE(workspace_size(GetParam(), shape, {}, &bytes).ok());
    const bool separate = plan(shape, device, GetParam()).source == pipeline::separate && shape.m > 0 && shape.k > 0;
    const auto blocks = static_cast<size_t>(shape.m * shape.k / 32 * 36);
    if (separate)
      EXPECT_GE(bytes, blocks);
    else
      EXPECT_EQ(bytes, 0u);
  }
}

class automatic_forced : public forced_kernel {};

// Forcing kernel and pipeline: the same bits from either, in a guarded workspace of exactly the queried size.
TEST_P(automatic_forced, either_pipeline_gives_the_bits_of_the_forced_kernel) {
  if (!runs_here()) return expect_refused();
  gemm_case c{{kEmulated ? 3 : config().tile_m + 1, config().tile_n + 1, 544}, config(), math()};
  for (const bool strided : {false, true}) {
    c.ldx = strided ? 544 + 5 : 0;
    c.ldy = strided ? c.shape.n + 3 : 0;
    const gemm_inputs inputs = make_inputs(c.shape, activation_kind::edges, weight_kind::edges);
    const auto wanted = run_fused(c, inputs).y;
    for (const pipeline source : {pipeline::fused, pipeline::separate}) {
      if (source == pipeline::separate && !has_separate_pipeline(math())) continue;
      size_t bytes = 0;
      const gemm_outcome actual = run_automatic(c, inputs, c.options(source), &bytes);
      EXPECT_TRUE(actual.status.ok()) << to_string(actual.status);
      EXPECT_EQ(bytes > 0, source == pipeline::separate);
      EXPECT_TRUE(equal_bits(actual.y, wanted, c.y_stride(), std::string(to_string(source)) + ", " + c.describe()));
    }
  }
}

Q4FUSE_FOR_EVERY_KERNEL(automatic_forced);

TEST_F(automatic, k_of_0_zeroes_y) {
  gemm_case c{{5, 33, 0}};
  c.ldy = 40;
  size_t bytes = 1;
  const gemm_outcome outcome = run_automatic(c, {}, c.options(), &bytes);
  EXPECT_TRUE(outcome.status.ok()) << to_string(outcome.status);
  EXPECT_EQ(bytes, 0u);
  EXPECT_TRUE(equal_bits(outcome.y, with_stride(std::vector<float>(5 * 33, 0.0f), 5, 33, c.ldy), c.ldy, c.describe()));
}

}  // namespace
}  // namespace q4fuse_test
