// Code for plain sm_90, which the runtime calls 90 as it does code for sm_90a: kernels with wgmma are empty there, and
// must be neither chosen nor accepted.

#include "gemm/gemm_harness.hpp"

namespace q4fuse_test {
namespace {

class plain_sm_90 : public gpu_test {};

TEST_F(plain_sm_90, refuses_wgmma_and_runs_all_else) {
  q4fuse::device_info device;
  ASSERT_TRUE(query(&device).ok());
  EXPECT_EQ(device.code_arch, 90);
  EXPECT_FALSE(device.has_wgmma);
  const gemm_shape shape{3, 33, 288};
  const gemm_inputs inputs = make_inputs(shape);
  for (const forced_choice& choice : every_forced_choice()) {
    const kernel_config& config = q4fuse::kKernelConfigs[choice.index];
    const bool needs_wgmma = config.family == q4fuse::kernel_family::warpgroup;
    const gemm_case c{shape, config, choice.math};
    EXPECT_EQ(expect_pipelines_agree(c, inputs), !needs_wgmma) << c.describe();
    if (needs_wgmma) {
      EXPECT_EQ(expected_code(c, device), status_code::no_kernel_for_device);
    }
  }
}

TEST_F(plain_sm_90, chooses_another_kernel_where_wgmma_would_be_best) {
  const gemm_shape shape{300, 300, 64};
  for (const math_mode math : kMathModes) {
    gemm_case c{shape};
    c.math = math;
    EXPECT_TRUE(expect_pipelines_agree(c, make_inputs(shape)));
  }
}

}  // namespace
}  // namespace q4fuse_test
