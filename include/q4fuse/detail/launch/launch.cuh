#pragma once

// The only place that launches kernels or asks the driver about them. Stateless: nothing is cached between calls, so
// that several devices, threads and shared libraries need no coordination.

#include <q4fuse/detail/kernel/probe_kernel.cuh>
#include <q4fuse/kernel_traits.hpp>
#include <q4fuse/status.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

struct launch_config {
  int64_t ctas;
  int threads;
  int64_t shared_bytes;
  bool programmatic_dependent_launch;
  cudaStream_t stream;
  int cluster_ctas = 1;  ///< of a thread-block cluster; divides ctas
};

/// Reads what plan() needs off the current device, and off the code that this program holds for it.
inline status inspect_device(device_info* info) {
  cudaFuncAttributes attributes{};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(&probe_kernel<>));
  if (error == cudaErrorInvalidDeviceFunction || error == cudaErrorNoKernelImageForDevice) {
    (void)cudaGetLastError();
    return {status_code::no_kernel_for_device, ""};
  }
  if (error != cudaSuccess) return status(error);
  int device = 0;
  int sm_count = 0;
  int shared = 0;
  if (const cudaError_t e = cudaGetDevice(&device); e != cudaSuccess) return status(e);
  if (const cudaError_t e = cudaDeviceGetAttribute(&sm_count, cudaDevAttrMultiProcessorCount, device);
      e != cudaSuccess) {
    return status(e);
  }
  if (const cudaError_t e = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
      e != cudaSuccess) {
    return status(e);
  }
  info->sm_count = sm_count;
  info->code_arch = attributes.ptxVersion;
  info->has_wgmma = attributes.maxThreadsPerBlock == kProbeThreadsWithWgmma;
  info->shared_memory_per_block = shared;
  return {};
}

/// Launches one kernel with dynamic shared memory and, where asked for, the dependent-launch and cluster attributes.
template <class... Parameters>
status launch(void (*kernel)(Parameters...), const launch_config& config, const Parameters&... arguments) {
  if (config.shared_bytes > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(config.shared_bytes));
    if (error != cudaSuccess) return status(error);
  }
  cudaLaunchAttribute attributes[2]{};
  unsigned attribute_count = 0;
  if (config.programmatic_dependent_launch) {
    cudaLaunchAttribute& attribute = attributes[attribute_count++];
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
  }
  if (config.cluster_ctas > 1) {
    cudaLaunchAttribute& attribute = attributes[attribute_count++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = static_cast<unsigned>(config.cluster_ctas);
    attribute.val.clusterDim.y = 1;
    attribute.val.clusterDim.z = 1;
  }
  cudaLaunchConfig_t launch{};
  launch.gridDim = dim3(static_cast<unsigned>(config.ctas));
  launch.blockDim = dim3(static_cast<unsigned>(config.threads));
  launch.dynamicSmemBytes = static_cast<size_t>(config.shared_bytes);
  launch.stream = config.stream;
  launch.attrs = attributes;
  launch.numAttrs = attribute_count;
  return status(cudaLaunchKernelEx(&launch, kernel, arguments...));
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
