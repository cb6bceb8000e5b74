#pragma once

// Launches on the emulated device, with the real one's limits and refusals.

#include <q4fuse/plan.hpp>
#include <q4fuse/status.hpp>

#include <q4fuse/detail/arch/target.hpp>

#include <cstdint>
#include <limits>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

struct launch_config {
  int64_t ctas;
  int threads;
  int64_t shared_bytes;
  bool programmatic_dependent_launch;
  cudaStream_t stream;
  int cluster_ctas = 1;
};

inline status inspect_device(device_info* info) {
  info->sm_count = q4fuse_emulator::device.settings.sm_count;
  info->code_arch = arch::kTarget;
  info->has_wgmma = arch::kTargetHasWgmma;
  info->shared_memory_per_block = q4fuse_emulator::device.settings.shared_memory_per_block;
  return {};
}

template <class... Parameters>
status launch(void (*kernel)(Parameters...), const launch_config& config, const Parameters&... arguments) {
  if (config.shared_bytes > q4fuse_emulator::device.settings.shared_memory_per_block) {
    return status(cudaErrorInvalidValue);
  }
  if (config.ctas < 1 || config.ctas > std::numeric_limits<int32_t>::max() || config.threads < 1 ||
      config.threads > q4fuse_emulator::kMaxCtaThreads || config.cluster_ctas < 1 ||
      config.cluster_ctas > q4fuse_emulator::kMaxClusterCtas || config.ctas % config.cluster_ctas != 0) {
    return status(cudaErrorInvalidConfiguration);
  }
  q4fuse_emulator::device.launch({reinterpret_cast<const void*>(kernel), config.ctas, config.threads,
                                  config.shared_bytes, config.programmatic_dependent_launch, config.cluster_ctas},
                                 [&] { kernel(arguments...); });
  return {};
}

/// For the library's call of the CUDA runtime's function. Both are candidates there; float makes this one the better.
inline cudaError_t cudaMemset2DAsync(float* base, size_t pitch, int value, size_t width, size_t height, cudaStream_t) {
  return q4fuse_emulator::device.fill(base, pitch, value, width, height) ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
