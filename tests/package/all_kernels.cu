// Instantiates every kernel of the library.

#include <q4fuse/q4fuse.cuh>

bool call_everything(const q4fuse::block_q4_0* w, const __half* x, q4fuse::block_q8_1* blocks, float* y,
                     q4fuse::gemm_shape shape) {
  return q4fuse::quantize_fp16_to_q8_1(x, blocks, shape.m, shape.k, {}, nullptr).ok() &&
         q4fuse::gemm_q4_0_q8_1(w, blocks, y, shape, {}, nullptr).ok() &&
         q4fuse::gemm_q4_0_fp16_fused(w, x, y, shape, {}, nullptr).ok() &&
         q4fuse::gemm_q4_0_fp16(w, x, y, shape, nullptr, 0, {}, nullptr).ok();
}
