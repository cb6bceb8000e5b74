// Instantiates every kernel of the library.

#include <q4fuse/q4fuse.cuh>

namespace {

template <q4fuse::math_mode kMath>
bool call_with_fp16(const q4fuse::block_q4_0* w, const __half* x, float* y, q4fuse::gemm_shape shape) {
  return q4fuse::gemm_q4_0_fp16_fused<kMath>(w, x, y, shape, {}, nullptr).ok() &&
         q4fuse::gemm_q4_0_fp16<kMath>(w, x, y, shape, nullptr, 0, {}, nullptr).ok();
}

}  // namespace

bool call_everything(const q4fuse::block_q4_0* w, const __half* x, q4fuse::block_q8_1* blocks, float* y,
                     q4fuse::gemm_shape shape) {
  using q4fuse::math_mode;
  return q4fuse::quantize_fp16_to_q8_1(x, blocks, shape.m, shape.k, {}, nullptr).ok() &&
         q4fuse::gemm_q4_0_q8_1(w, blocks, y, shape, {}, nullptr).ok() &&
         q4fuse::gemm_q4_0_q8_1<math_mode::dequantized_fp16>(w, blocks, y, shape, {}, nullptr).ok() &&
         call_with_fp16<math_mode::exact>(w, x, y, shape) &&
         call_with_fp16<math_mode::dequantized_fp16>(w, x, y, shape) &&
         call_with_fp16<math_mode::direct_fp16>(w, x, y, shape);
}
