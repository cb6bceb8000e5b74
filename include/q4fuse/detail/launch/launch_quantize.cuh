#pragma once

#include <q4fuse/detail/kernel/quantize_kernel.cuh>
#include <q4fuse/detail/launch/launch.cuh>
#include <q4fuse/detail/launch/validate.hpp>
#include <q4fuse/quantize.cuh>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// The arguments are already checked and there is something to write.
inline status launch_quantize(const __half* x, int64_t ldx, block_q8_1* y, int64_t ldy, int64_t m, int64_t k,
                              bool programmatic_dependent_launch, const device_info& device, cudaStream_t stream) {
  const bool packed = (ldx == k && ldy == k) || m == 1;
  const int64_t blocks = m * (k / kBlockSize);
  const int64_t y_row_bytes = ldy / kBlockSize * kQ8_1BlockBytes;
  quantize_arguments arguments{};
  arguments.x = {reinterpret_cast<const uint8_t*>(x), ldx * 2, widest_access(x, m == 1 ? 0 : ldx * 2, 0)};
  arguments.y = reinterpret_cast<uint8_t*>(y);
  arguments.y_row_bytes = y_row_bytes;
  arguments.y_access_bytes = packed ? widest_access(y, 0, 0) : widest_access(y, 0, 4);
  arguments.blocks_per_row = packed ? blocks : k / kBlockSize;
  arguments.blocks = blocks;
  arguments.dependent = programmatic_dependent_launch && device.code_arch >= 90;
  return launch(quantize_kernel<kQuantizeThreads>,
                launch_config{ceil_div(blocks, kQuantizeCtaBlocks), kQuantizeThreads, kQuantizeSharedBytes,
                              arguments.dependent, stream},
                arguments);
}

}  // namespace detail

Q4FUSE_HIDDEN inline status quantize_fp16_to_q8_1(const __half* x, block_q8_1* y, int64_t m, int64_t k,
                                                  const quantize_options& options, cudaStream_t stream) {
  const int64_t ldx = options.ldx == 0 ? k : options.ldx;
  const int64_t ldy = options.ldy == 0 ? k : options.ldy;
  if (m < 0) return {status_code::invalid_dimension, "m"};
  if (k < 0) return {status_code::invalid_dimension, "k"};
  if (k % kBlockSize != 0) return {status_code::invalid_k, "k"};
  if (ldx < k) return {status_code::invalid_stride, "options.ldx"};
  if (ldy < k || ldy % kBlockSize != 0) return {status_code::invalid_stride, "options.ldy"};
  if (m == 0 || k == 0) return {};
  if (const status s = detail::check_pointer(x, 2, "x"); !s.ok()) return s;
  if (const status s = detail::check_pointer(y, 2, "y"); !s.ok()) return s;
  device_info device;
  if (const status s = detail::inspect_device(&device); !s.ok()) return s;
  return detail::launch_quantize(x, ldx, y, ldy, m, k, options.programmatic_dependent_launch, device, stream);
}

Q4FUSE_NAMESPACE_END
