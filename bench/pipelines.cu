#include "costs.hpp"
#include "kernels.hpp"
#include "pipelines.hpp"

#include <q4fuse/q4fuse.cuh>

#include <type_traits>

namespace q4fuse_bench {
namespace {

void produce(const call_spec& call, const slot& operands, const slot& source, cudaStream_t stream) {
  if (call.kind == pipeline_kind::gemm) {
    launch_producer(source.x_q8_1, operands.x_q8_1, quantized_bytes(call.shape), stream);
  } else {
    launch_producer(source.x, operands.x, activation_bytes(call.shape), stream);
  }
}

void quantize(const call_spec& call, const slot& operands, bool dependent, cudaStream_t stream) {
  q4fuse::quantize_options options;
  options.programmatic_dependent_launch = dependent;
  check(q4fuse::quantize_fp16_to_q8_1(operands.x, operands.x_q8_1, call.shape.m, call.shape.k, options, stream),
        "quantize_fp16_to_q8_1");
}

q4fuse::gemm_options options_for(const call_spec& call, bool dependent) {
  q4fuse::gemm_options options;
  options.programmatic_dependent_launch = dependent;
  options.plan = call.plan;
  return options;
}

/// Calls `body` with the math mode as a constant, over which the entry points are templates.
template <class Body>
void with_math(q4fuse::math_mode math, const Body& body) {
  using q4fuse::math_mode;
  switch (math) {
    case math_mode::exact: return body(std::integral_constant<math_mode, math_mode::exact>{});
    case math_mode::dequantized_fp16: return body(std::integral_constant<math_mode, math_mode::dequantized_fp16>{});
    case math_mode::direct_fp16: return body(std::integral_constant<math_mode, math_mode::direct_fp16>{});
  }
}

void multiply(const call_spec& call, const slot& operands, bool dependent, cudaStream_t stream) {
  with_math(call.math, [&](auto math) {
    if constexpr (math.value != q4fuse::math_mode::direct_fp16) {
      check(q4fuse::gemm_q4_0_q8_1<math.value>(operands.w, operands.x_q8_1, operands.y, call.shape,
                                               options_for(call, dependent), stream),
            "gemm_q4_0_q8_1");
    }
  });
}

void multiply_fused(const call_spec& call, const slot& operands, bool dependent, cudaStream_t stream) {
  with_math(call.math, [&](auto math) {
    check(q4fuse::gemm_q4_0_fp16_fused<math.value>(operands.w, operands.x, operands.y, call.shape,
                                                   options_for(call, dependent), stream),
          "gemm_q4_0_fp16_fused");
  });
}

}  // namespace

void enqueue(const call_spec& call, const slot& operands, const slot& source, const cublas_gemm& cublas,
             cudaStream_t stream) {
  const bool dependent = uses_dependent_launch(call.mode);
  if (call.mode == launch_mode::chain) produce(call, operands, source, stream);
  switch (call.kind) {
    case pipeline_kind::fused: multiply_fused(call, operands, dependent, stream); break;
    case pipeline_kind::separate:
      quantize(call, operands, dependent, stream);
      multiply(call, operands, dependent, stream);
      break;
    case pipeline_kind::separate_pdl:
      quantize(call, operands, dependent, stream);
      multiply(call, operands, true, stream);
      break;
    case pipeline_kind::gemm: multiply(call, operands, dependent, stream); break;
    case pipeline_kind::quantize: quantize(call, operands, dependent, stream); break;
    case pipeline_kind::cublas: cublas.run(operands.w_fp16, operands.x, operands.y, call.shape); break;
    case pipeline_kind::producer: break;
  }
}

q4fuse::status query_device(q4fuse::device_info* device) { return q4fuse::query_device(device); }

}  // namespace q4fuse_bench
