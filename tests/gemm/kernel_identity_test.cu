// Proof that a forced plan runs the kernel it names, and that the library's own choice is the one plan() reports: the
// calls are captured, and the kernels in the graph are read back.

#include "gemm/gemm_harness.hpp"
#include "gemm/graph_capture.hpp"

#include <set>

namespace q4fuse_test {
namespace {

/// Buffers of one problem; the content does not matter, nothing is run.
struct device_problem {
  explicit device_problem(const gemm_shape& s)
      : shape(s),
        w(static_cast<size_t>(s.n * s.k / 32)),
        x(static_cast<size_t>(s.m * s.k)),
        blocks(static_cast<size_t>(s.m * s.k / 32)),
        y(static_cast<size_t>(s.m * s.n)),
        workspace(static_cast<size_t>(s.m * s.k / 32 * 36)) {}

  std::vector<kernel_launch> fused(const q4fuse::gemm_options& options, math_mode math = math_mode::exact) {
    return captured_graph([&](cudaStream_t stream) {
             const auto status = gemm_fused(math, w.data(), x.data(), y.data(), shape, options, stream);
             EXPECT_TRUE(status.ok()) << to_string(status);
           })
        .kernels();
  }
  std::vector<kernel_launch> separate(const q4fuse::gemm_options& options, math_mode math = math_mode::exact) {
    return captured_graph([&](cudaStream_t stream) {
             const auto status = gemm_separate(math, w.data(), blocks.data(), y.data(), shape, options, stream);
             EXPECT_TRUE(status.ok()) << to_string(status);
           })
        .kernels();
  }
  std::vector<kernel_launch> automatic(const q4fuse::gemm_options& options, math_mode math = math_mode::exact) {
    return captured_graph([&](cudaStream_t stream) {
             const auto status = gemm_automatic(math, w.data(), x.data(), y.data(), shape, workspace.data(),
                                                workspace.size(), options, stream);
             EXPECT_TRUE(status.ok()) << to_string(status);
           })
        .kernels();
  }

  gemm_shape shape;
  guarded_buffer<q4fuse::block_q4_0> w;
  guarded_buffer<__half> x;
  guarded_buffer<q4fuse::block_q8_1> blocks;
  guarded_buffer<float> y;
  guarded_buffer<uint8_t> workspace;
};

/// What the provider of activations is called.
std::string provider_name(pipeline source, math_mode math) {
  const char* format = source == pipeline::fused ? "fp16_activations" : "q8_1_activations";
  switch (math) {
    case math_mode::exact: return std::string("::") + format;
    case math_mode::dequantized_fp16: return std::string("::dequantized_") + format;
    case math_mode::direct_fp16: return std::string("::direct_") + format;
  }
  return "";
}

/// The kernels are templates over the place of their configuration in kKernelConfigs and over the activations' source.
void expect_kernel(const kernel_launch& launch, const kernel_config& planned, pipeline source, const gemm_shape& shape,
                   math_mode math = math_mode::exact) {
  const kernel_config config = q4fuse::detail::launched_for(planned, shape, true);
  const auto index = std::find(std::begin(q4fuse::kKernelConfigs), std::end(q4fuse::kKernelConfigs), config) -
                     std::begin(q4fuse::kKernelConfigs);
  const std::string wanted = std::string(to_string(config.family)) + "_kernel<" + std::to_string(index) + ",";
  EXPECT_NE(launch.name.find(wanted), std::string::npos) << launch.name << " is not " << wanted << "...>";
  EXPECT_NE(launch.name.find(provider_name(source, math)), std::string::npos) << launch.name;
  // The warpgroup family adds warps that fill shared memory, four or eight by the activations' source.
  const int producers = launch.threads - config.threads();
  EXPECT_TRUE(config.family == q4fuse::kernel_family::warpgroup ? producers == 128 || producers == 256 : producers == 0)
      << launch.name << ", " << launch.threads << " threads";
  q4fuse::device_info device;
  ASSERT_TRUE(query_device(&device).ok());
  const bool in_rounds = q4fuse::detail::works_in_rounds(config);
  const int64_t shared_bytes = in_rounds ? q4fuse::detail::make_rounds_grid(config, shape, device).shared_bytes
                                         : shared_memory_bytes(config, shape);
  EXPECT_EQ(launch.shared_bytes, shared_bytes) << launch.name;
  EXPECT_GT(launch.ctas, 0) << launch.name;
}

class kernel_identity : public forced_kernel {};

TEST_P(kernel_identity, a_forced_plan_runs_the_kernel_it_names_and_only_that) {
  if (!runs_here()) return expect_refused();
  // Whole pieces where another kernel stands in for rows of others.
  const bool whole = q4fuse::detail::copies_rows(config());
  device_problem problem({config().tile_m + 1, config().tile_n + 1, whole ? 512 : 288});
  const gemm_case c{problem.shape, config(), math()};

  const auto fused = problem.fused(c.options(), math());
  ASSERT_EQ(fused.size(), 1u);
  expect_kernel(fused[0], config(), pipeline::fused, problem.shape, math());

  const auto automatic_fused = problem.automatic(c.options(pipeline::fused), math());
  ASSERT_EQ(automatic_fused.size(), 1u);
  expect_kernel(automatic_fused[0], config(), pipeline::fused, problem.shape, math());

  if (!has_separate_pipeline(math())) return;
  const auto separate = problem.separate(c.options(), math());
  ASSERT_EQ(separate.size(), 1u);
  expect_kernel(separate[0], config(), pipeline::separate, problem.shape, math());

  const auto automatic_separate = problem.automatic(c.options(pipeline::separate), math());
  ASSERT_EQ(automatic_separate.size(), 2u);
  EXPECT_NE(automatic_separate[0].name.find("quantize_kernel"), std::string::npos) << automatic_separate[0].name;
  expect_kernel(automatic_separate[1], config(), pipeline::separate, problem.shape, math());
}

Q4FUSE_FOR_EVERY_KERNEL(kernel_identity);

class kernel_choice : public gpu_test {};

/// The GEMMs among `launches`, which come last.
void expect_kernels(const std::vector<kernel_launch>& launches, const q4fuse::gemm_plan& chosen,
                    const q4fuse::gemm_shape& shape) {
  const size_t kernels = chosen.tail_tokens > 0 ? 2 : 1;
  ASSERT_GE(launches.size(), kernels) << to_string(chosen);
  expect_kernel(launches[launches.size() - kernels], chosen.config, chosen.source,
                {shape.m - chosen.tail_tokens, shape.n, shape.k});
  if (kernels > 1) expect_kernel(launches.back(), chosen.tail, chosen.source, {chosen.tail_tokens, shape.n, shape.k});
}

TEST_F(kernel_choice, no_two_configurations_share_a_kernel) {
  std::set<std::string> names;
  size_t kernels = 0;
  device_problem problem({3, 17, 256});
  q4fuse::device_info device;
  ASSERT_TRUE(query(&device).ok());
  for (const forced_choice& choice : every_forced_choice()) {
    const gemm_case c{problem.shape, q4fuse::kKernelConfigs[choice.index], choice.math};
    if (!can_run(*c.config, problem.shape, device)) continue;
    auto launches = problem.fused(c.options(), c.math);
    if (has_separate_pipeline(c.math)) launches.push_back(problem.separate(c.options(), c.math).at(0));
    for (const kernel_launch& launch : launches) names.insert(launch.name);
    kernels += launches.size();
  }
  EXPECT_GT(kernels, 0u);
  EXPECT_EQ(names.size(), kernels);
}

TEST_F(kernel_choice, the_automatic_call_runs_what_plan_reports) {
  q4fuse::device_info device;
  ASSERT_TRUE(query(&device).ok());
  for (const int64_t m : {1, 2, 8, 9, 16, 17, 33, 64, 65, 128, 300, 1024}) {
    device_problem problem({m, 4096, 1024});
    const q4fuse::gemm_plan chosen = plan(problem.shape, device);
    const auto launches = problem.automatic({});
    ASSERT_EQ(launches.size(), (chosen.source == pipeline::fused ? 1u : 2u) + (chosen.tail_tokens > 0 ? 1u : 0u))
        << to_string(chosen);
    expect_kernels(launches, chosen, problem.shape);
    expect_kernels(problem.fused({}), plan(problem.shape, device, pipeline::fused), problem.shape);
    expect_kernels(problem.separate({}), plan(problem.shape, device, pipeline::separate), problem.shape);
  }
}

}  // namespace
}  // namespace q4fuse_test
