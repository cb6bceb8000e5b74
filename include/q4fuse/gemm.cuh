#pragma once

// The GEMMs: Y [m x n] = X [m x k] * W [n x k]^T, FP32 output, Q4_0 weights in raw GGUF blocks.
//
// All pointers are device pointers. W is [n x k/32] blocks row-major, packed. Y is row-major with row stride
// options.ldy elements. X and W need 2-byte alignment, Y 4-byte; 16 bytes is the fast path, chosen at run time. Y must
// not overlap X or W. Any m >= 0, n >= 0, and k >= 0 a multiple of 32: m = 0 or n = 0 writes nothing, k = 0 zeroes Y.
// No byte outside the stated rows is read or written.
//
// Everything runs on `stream`; nothing is allocated, synchronized or printed, and each call can be captured in a graph.
// Where the plan says so the last tokens have a kernel of their own, launched behind the one for the others.
// The result of a call depends on its inputs and its plan alone: two runs are equal bit for bit, and so are the fused
// and the separate pipeline under the same plan. A NaN or Inf in a row of X makes that row of Y, and no other,
// non-finite.
//
// kMath says how elements are multiplied and summed (plan.hpp); without it the call is exact. A program holds the
// kernels of the modes that it calls, and no others. docs/formats.md has the bound of each.
//
// Each returns success, or decides before any launch on: invalid_dimension; invalid_k; invalid_stride; null_pointer;
// misaligned_pointer; invalid_plan (forced plan only); no_kernel_for_device. And cuda_error, where the CUDA runtime
// refuses a launch: of several that of a later kernel comes when those before it are in the stream.

#include <q4fuse/formats.hpp>
#include <q4fuse/options.hpp>
#include <q4fuse/plan.hpp>
#include <q4fuse/shape.hpp>
#include <q4fuse/status.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>

Q4FUSE_NAMESPACE_BEGIN

/// Fills `device` for the current device: the input of plan(). Returns no_kernel_for_device when this program holds no
/// code that the device can run.
Q4FUSE_HIDDEN inline status query_device(device_info* device);

/// Multiplies activations that are already Q8_1, [m x k/32] blocks row-major with row stride options.ldx elements
/// (a multiple of 32). The choice when one activation feeds several weights. kMath is exact or dequantized_fp16;
/// direct_fp16, which multiplies FP16 activations, does not compile.
template <math_mode kMath = math_mode::exact>
Q4FUSE_HIDDEN inline status gemm_q4_0_q8_1(const block_q4_0* w, const block_q8_1* x, float* y, gemm_shape shape,
                                           const gemm_options& options, cudaStream_t stream);

/// Multiplies FP16 activations, [m x k] row-major with row stride options.ldx elements, quantizing them to Q8_1 in
/// shared memory; direct_fp16 multiplies them as they are.
template <math_mode kMath = math_mode::exact>
Q4FUSE_HIDDEN inline status gemm_q4_0_fp16_fused(const block_q4_0* w, const __half* x, float* y, gemm_shape shape,
                                                 const gemm_options& options, cudaStream_t stream);

/// Bytes of workspace that gemm_q4_0_fp16 needs for the same shape and options on the current device; 0 where it runs
/// fused, as direct_fp16 always does.
template <math_mode kMath = math_mode::exact>
Q4FUSE_HIDDEN inline status gemm_q4_0_fp16_workspace_size(gemm_shape shape, const gemm_options& options, size_t* bytes);

/// Multiplies FP16 activations with the pipeline that is faster for the shape on this device. `workspace` is device
/// memory of the caller, aligned to 16 bytes, of at least the queried size; its content after the call is unspecified.
/// Also returns workspace_too_small, and misaligned_pointer for the workspace. direct_fp16 quantizes nothing and never
/// uses the workspace, which may be null.
template <math_mode kMath = math_mode::exact>
Q4FUSE_HIDDEN inline status gemm_q4_0_fp16(const block_q4_0* w, const __half* x, float* y, gemm_shape shape,
                                           void* workspace, size_t workspace_bytes, const gemm_options& options,
                                           cudaStream_t stream);

Q4FUSE_NAMESPACE_END

#include <q4fuse/detail/launch/launch_gemm.cuh>
