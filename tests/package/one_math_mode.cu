// What a program compiles that multiplies in one math mode, -DMATH_MODE=<name>, by either pipeline.

#include <q4fuse/q4fuse.cuh>

bool multiply(const q4fuse::block_q4_0* w, const __half* x, float* y, q4fuse::gemm_shape shape, void* workspace,
              size_t workspace_bytes) {
  return q4fuse::gemm_q4_0_fp16<q4fuse::math_mode::MATH_MODE>(w, x, y, shape, workspace, workspace_bytes, {}, nullptr)
      .ok();
}
