// What fusing saves: activation bytes through global memory, counted and equal to the formula.

#include "emulator/demo/measured_pipelines.hpp"
#include "support/generate.hpp"
#include "support/gpu_test.hpp"
#include "support/matcher.hpp"

#include <cstdio>

namespace q4fuse_emulator {
namespace {

using q4fuse::gemm_shape;
using q4fuse::pipeline;
using q4fuse_test::activation_kind;
using q4fuse_test::weight_kind;

class traffic_of_pipelines : public q4fuse_test::gpu_test {};

problem make_problem(const gemm_shape& s) {
  return {s, q4fuse_test::make_weights(weight_kind::normal, s.n, s.k, 1),
          q4fuse_test::make_activations(activation_kind::normal, s.m, s.k, 2)};
}

int64_t whole_sectors(int64_t bytes) { return q4fuse::detail::round_up(bytes, static_cast<int64_t>(kSectorBytes)); }

/// Counted bytes against the formulas; returns what the activations cost.
int64_t expect_formula(const problem& p, const q4fuse::gemm_plan& plan, pipeline source, const measured& run) {
  const gemm_shape& s = p.shape;
  const gemm_traffic wanted = expected_traffic(plan.config, s);
  const std::string what = to_string(plan.config) + " " + to_string(source) + " m=" + std::to_string(s.m);
  const bool separate = source == pipeline::separate;
  EXPECT_EQ(run.launches, separate ? 2 : 1) << what;
  EXPECT_EQ(run.ctas, wanted.ctas) << what;
  EXPECT_EQ(run.w.read, wanted.w_rows * q4_0_bytes({s.m, 1, s.k})) << what;
  EXPECT_EQ(run.w.sector_bytes_read, whole_sectors(q4_0_bytes(s))) << what;
  EXPECT_EQ(run.written_y.written, s.m * s.n * 4) << what;
  EXPECT_EQ(run.w.written + run.x.written + run.written_y.read, 0) << what;
  if (separate) {
    EXPECT_EQ(run.x.read, fp16_bytes(s)) << what;
    EXPECT_EQ(run.x_q8_1.written, q8_1_bytes(s)) << what;
    EXPECT_EQ(run.x_q8_1.read, wanted.x_rows * (s.k / q4fuse::kBlockSize) * wanted.q8_1_block_bytes) << what;
    EXPECT_EQ(run.activation_bytes(), fp16_bytes(s) + 2 * whole_sectors(q8_1_bytes(s))) << what;
  } else {
    EXPECT_EQ(run.x.read, wanted.x_rows * fp16_bytes({1, s.n, s.k})) << what;
    EXPECT_EQ(run.x_q8_1.read + run.x_q8_1.written, 0) << what;
    EXPECT_EQ(run.activation_bytes(), fp16_bytes(s)) << what;
  }
  return run.activation_bytes();
}

TEST_F(traffic_of_pipelines, equals_the_formula_for_every_kernel) {
  q4fuse::device_info info;
  ASSERT_TRUE(q4fuse_test::query(&info).ok());
  int executed = 0;
  for (const gemm_shape& shape : {gemm_shape{1, 40, 96}, gemm_shape{5, 300, 544}, gemm_shape{130, 70, 512}}) {
    const problem p = make_problem(shape);
    for (const q4fuse::kernel_config& config : q4fuse::kKernelConfigs) {
      if (!serves(config, q4fuse::math_mode::exact) || !can_run(config, shape, info)) continue;
      q4fuse::gemm_plan plan;
      plan.config = config;
      const measured fused = run_pipeline(p, plan, pipeline::fused);
      const measured separate = run_pipeline(p, plan, pipeline::separate);
      EXPECT_TRUE(q4fuse_test::equal_bits(fused.y, separate.y, shape.n, to_string(config)));
      EXPECT_LT(expect_formula(p, plan, pipeline::fused, fused), expect_formula(p, plan, pipeline::separate, separate));
      ++executed;
    }
  }
  EXPECT_GE(executed, q4fuse::kKernelConfigCount) << "too few kernels could run to prove anything";
}

TEST_F(traffic_of_pipelines, table) {
  std::printf("activation bytes through global memory; requested: before the caches\n");
  std::printf("%4s %5s %5s  %10s %10s %6s  %12s %12s  %s\n", "m", "n", "k", "separate", "fused", "ratio",
              "separate req.", "fused req.", "kernel");
  q4fuse::device_info info;
  ASSERT_TRUE(q4fuse_test::query(&info).ok());
  for (const gemm_shape& shape : {gemm_shape{1, 576, 576}, gemm_shape{8, 576, 576}, gemm_shape{32, 192, 576},
                                  gemm_shape{64, 576, 576}, gemm_shape{1, 576, 1536}, gemm_shape{128, 256, 1024}}) {
    const problem p = make_problem(shape);
    const q4fuse::gemm_plan plan = q4fuse::plan(shape, info);
    const measured separate = run_pipeline(p, plan, pipeline::separate);
    const measured fused = run_pipeline(p, plan, pipeline::fused);
    const auto separate_bytes = static_cast<double>(expect_formula(p, plan, pipeline::separate, separate));
    const auto fused_bytes = static_cast<double>(expect_formula(p, plan, pipeline::fused, fused));
    std::printf("%4d %5d %5d  %10.0f %10.0f %6.3f  %12.0f %12.0f  %s\n", static_cast<int>(shape.m),
                static_cast<int>(shape.n), static_cast<int>(shape.k), separate_bytes, fused_bytes,
                separate_bytes / fused_bytes, static_cast<double>(separate.requested_activation_bytes()),
                static_cast<double>(fused.requested_activation_bytes()), to_string(plan.config).c_str());
    // 2 bytes an element against 2 + 36/32 written + 36/32 read.
    EXPECT_NEAR(separate_bytes / fused_bytes, 4.25 / 2.0, 0.1);
  }
}

}  // namespace
}  // namespace q4fuse_emulator
