#pragma once

// gemm_q4_0_fp16: the pipeline chosen by the library, the intermediate blocks in the caller's workspace.

#include <q4fuse/detail/launch/launch_gemm.cuh>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// What size query and call have in common.
struct automatic_call {
  device_info device;
  gemm_plan plan;
  size_t workspace_bytes = 0;
};

/// Plans a call whose shape is checked and not empty.
template <math_mode kMath>
status prepare_automatic_call(const gemm_shape& shape, const gemm_options& options, automatic_call* call) {
  if (const status s = query_device(&call->device); !s.ok()) return s;
  const gemm_plan own_choice = plan(shape, call->device, kMath);
  if (const status s = resolve_plan(shape, options, call->device, own_choice, &call->plan); !s.ok()) return s;
  if (kMath == math_mode::direct_fp16 && call->plan.source == pipeline::separate) {
    return {status_code::invalid_plan, "options.plan"};
  }
  call->workspace_bytes =
      call->plan.source == pipeline::separate
          ? static_cast<size_t>(shape.m) * static_cast<size_t>(shape.k / kBlockSize) * sizeof(block_q8_1)
          : 0;
  return {};
}

/// Quantizes into `blocks`, packed, and multiplies.
template <math_mode kMath>
status run_separate(const block_q4_0* w, const __half* x, block_q8_1* blocks, float* y, const gemm_shape& shape,
                    const gemm_options& options, const automatic_call& call, cudaStream_t stream) {
  const int64_t ldx = resolve_strides(shape, options).ldx;
  if (const status s = launch_quantize(x, ldx, blocks, shape.k, shape.m, shape.k, options.programmatic_dependent_launch,
                                       call.device, stream);
      !s.ok()) {
    return s;
  }
  gemm_options packed = options;
  packed.ldx = 0;
  return run_q8_1<kMath>(w, blocks, y, shape, packed, call.plan, call.device, stream);
}

}  // namespace detail

template <math_mode kMath>
Q4FUSE_HIDDEN inline status gemm_q4_0_fp16_workspace_size(gemm_shape shape, const gemm_options& options,
                                                          size_t* bytes) {
  if (bytes == nullptr) return {status_code::null_pointer, "bytes"};
  if (const status s = detail::check_shape(shape, options, false); !s.ok()) return s;
  detail::automatic_call call;
  if (shape.m > 0 && shape.n > 0 && shape.k > 0) {
    if (const status s = detail::prepare_automatic_call<kMath>(shape, options, &call); !s.ok()) return s;
  }
  *bytes = call.workspace_bytes;
  return {};
}

template <math_mode kMath>
Q4FUSE_HIDDEN inline status gemm_q4_0_fp16(const block_q4_0* w, const __half* x, float* y, gemm_shape shape,
                                           void* workspace, size_t workspace_bytes, const gemm_options& options,
                                           cudaStream_t stream) {
  if (const status s = detail::check_shape(shape, options, false); !s.ok()) return s;
  if (shape.m == 0 || shape.n == 0) return {};
  if (const status s = detail::check_pointers(w, x, y, shape); !s.ok()) return s;
  if (shape.k == 0) return detail::zero_output(y, shape, detail::resolve_strides(shape, options).ldy, stream);
  detail::automatic_call call;
  if (const status s = detail::prepare_automatic_call<kMath>(shape, options, &call); !s.ok()) return s;
  if constexpr (kMath != math_mode::direct_fp16) {
    if (call.plan.source == pipeline::separate) {
      if (workspace_bytes < call.workspace_bytes) return {status_code::workspace_too_small, "workspace_bytes"};
      if (const status s = detail::check_pointer(workspace, 16, "workspace"); !s.ok()) return s;
      return detail::run_separate<kMath>(w, x, static_cast<block_q8_1*>(workspace), y, shape, options, call, stream);
    }
  }
  return detail::run_fused<kMath>(w, x, y, shape, options, call.plan, call.device, stream);
}

Q4FUSE_NAMESPACE_END
