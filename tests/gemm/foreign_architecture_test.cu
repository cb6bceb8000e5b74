// A program whose code does not fit the device, or fits it only by way of older PTX. Compiled twice, for sm_75 alone:
// as machine code, which nothing else runs, and as PTX, which every newer driver compiles.

#include "gemm/gemm_harness.hpp"

namespace q4fuse_test {
namespace {

class foreign_architecture : public gpu_test {};

#ifdef Q4FUSE_TEST_MACHINE_CODE_ONLY

TEST_F(foreign_architecture, machine_code_of_another_gpu_is_a_status_and_nothing_is_written) {
  const gemm_shape shape{3, 33, 64};
  const gemm_inputs inputs = make_inputs(shape);
  int major = 0;
  int minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0));
  const bool fits = major == 7 && minor == 5;
  const status_code wanted = fits ? status_code::success : status_code::no_kernel_for_device;
  guarded_buffer<q4fuse::block_q4_0> w(inputs.w);
  guarded_buffer<__half> x(inputs.x);
  guarded_buffer<q4fuse::block_q8_1> blocks(3 * 2);
  guarded_buffer<float> y(3 * 33);
  guarded_buffer<uint8_t> workspace(3 * 2 * 36);
  size_t bytes = 0;
  q4fuse::device_info device;
  EXPECT_EQ(query(&device), wanted);
  EXPECT_EQ(q4fuse::quantize_fp16_to_q8_1(x.data(), blocks.data(), 3, 64, {}, nullptr), wanted);
  EXPECT_EQ(q4fuse::gemm_q4_0_q8_1(w.data(), blocks.data(), y.data(), shape, {}, nullptr), wanted);
  EXPECT_EQ(q4fuse::gemm_q4_0_fp16_fused(w.data(), x.data(), y.data(), shape, {}, nullptr), wanted);
  EXPECT_EQ(q4fuse::gemm_q4_0_fp16_workspace_size(shape, {}, &bytes), wanted);
  EXPECT_EQ(
      q4fuse::gemm_q4_0_fp16(w.data(), x.data(), y.data(), shape, workspace.data(), workspace.size(), {}, nullptr),
      wanted);
  EXPECT_EQ(synchronize(), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "no error may be left for the caller's next check";
  if (!fits) expect_untouched(y.download(), "y");
}

#else

// What the program holds is sm_75 code whatever the device could do: plans must be made for that.
TEST_F(foreign_architecture, older_ptx_runs_its_own_kernels_and_refuses_newer_ones) {
  q4fuse::device_info device;
  ASSERT_TRUE(query(&device).ok());
  EXPECT_EQ(device.code_arch, 75);
  EXPECT_FALSE(device.has_wgmma);
  for (const gemm_shape shape : {gemm_shape{3, 33, 288}, gemm_shape{65, 130, 544}}) {
    EXPECT_TRUE(expect_pipelines_agree({shape}, make_inputs(shape)));
    for (const forced_choice& choice : every_forced_choice()) {
      const kernel_config& config = q4fuse::kKernelConfigs[choice.index];
      EXPECT_EQ(expect_pipelines_agree({shape, config, choice.math}, make_inputs(shape)), required_arch(config) == 75);
    }
  }
}

#endif

}  // namespace
}  // namespace q4fuse_test
