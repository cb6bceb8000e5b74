#pragma once

#include <q4fuse/formats.hpp>
#include <q4fuse/options.hpp>
#include <q4fuse/status.hpp>

#include <cuda_runtime_api.h>

Q4FUSE_NAMESPACE_BEGIN

/// Quantizes FP16 activations to Q8_1, byte for byte as GGML's CPU reference does for every finite input.
/// A block with a NaN or an Inf gets a NaN or infinite scale, so that whatever uses it is non-finite too.
///
/// @param x       device, [m x k] row-major, row stride options.ldx elements; aligned to 2 bytes (16 is the fast path)
/// @param y       device, [m x k/32] blocks row-major, row stride options.ldy elements; aligned to 2 bytes (16 is the
///                fast path); must not overlap x
/// @param m       tokens, any m >= 0
/// @param k       input features, k >= 0, a multiple of 32
/// @param stream  everything runs on it; nothing is allocated or synchronized, and the call can be captured in a graph
/// @return success (also for m = 0 or k = 0: nothing is written); invalid_dimension; invalid_k; invalid_stride;
///         null_pointer; misaligned_pointer; no_kernel_for_device; cuda_error
Q4FUSE_HIDDEN inline status quantize_fp16_to_q8_1(const __half* x, block_q8_1* y, int64_t m, int64_t k,
                                                  const quantize_options& options, cudaStream_t stream);

Q4FUSE_NAMESPACE_END

#include <q4fuse/detail/launch/launch_quantize.cuh>
