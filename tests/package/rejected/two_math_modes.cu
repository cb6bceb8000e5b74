// Holds the kernels of another math mode beside those of the one asked for: what --math-mode must catch.

#include "../one_math_mode.cu"

bool multiply_blocks(const q4fuse::block_q4_0* w, const q4fuse::block_q8_1* x, float* y, q4fuse::gemm_shape shape) {
  return q4fuse::gemm_q4_0_q8_1<q4fuse::math_mode::dequantized_fp16>(w, x, y, shape, {}, nullptr).ok();
}
