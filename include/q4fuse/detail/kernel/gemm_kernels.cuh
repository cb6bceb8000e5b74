#pragma once

// The __global__ functions of the GEMM families: policy, tile coordinates, main loop. A kernel whose dot needs a
// newer target than the one being compiled has no body there; the launch never picks it, because plans are made for the
// architecture of the code (device_info::code_arch), not of the device.

#include <q4fuse/detail/mainloop/sliced_k.cuh>
#include <q4fuse/detail/mainloop/stream_k.cuh>
#include <q4fuse/detail/mainloop/tile.cuh>
#include <q4fuse/detail/mainloop/warpgroup.cuh>
#include <q4fuse/detail/mainloop/weight_bound.cuh>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// Lets the next kernel of the stream start its prologue; it waits by itself before it reads what this one writes.
__device__ __forceinline__ void allow_dependents() {
  if constexpr (arch::kTargetHas<90>) arch::launch_dependents();
}

template <class Policy>
inline constexpr bool exists_on_target =
    arch::kTargetHas<Policy::kRequiredArch> && !(arch::kTargetHasWgmma && is_replaced_on_sm90a(Policy::kConfig));

template <int kIndex, template <int, int> class Activations>
__global__ void __launch_bounds__(policy<kIndex>::kThreads, weight_bound_ctas(policy<kIndex>::kConfig))
    weight_bound_kernel(gemm_arguments arguments) {
  using config = policy<kIndex>;
  if constexpr (exists_on_target<config>) {
    allow_dependents();
    weight_bound_mainloop<config, Activations>(arguments);
  }
}

template <int kIndex, template <int, int> class Activations>
__global__ void __launch_bounds__(policy<kIndex>::kThreads, 1) stream_k_kernel(gemm_arguments arguments) {
  using config = policy<kIndex>;
  if constexpr (exists_on_target<config>) {
    allow_dependents();
    stream_k_mainloop<config, Activations>(arguments);
  }
}

template <int kIndex, template <int, int> class Activations>
__global__ void __launch_bounds__(policy<kIndex>::kThreads, 1) sliced_k_kernel(gemm_arguments arguments) {
  using config = policy<kIndex>;
  if constexpr (exists_on_target<config>) {
    allow_dependents();
    sliced_k_mainloop<config, Activations>(arguments);
  }
}

template <int kIndex, template <int, int> class Activations>
__global__ void __launch_bounds__(policy<kIndex>::kThreads, tile_ctas(policy<kIndex>::kConfig))
    tile_kernel(gemm_arguments arguments) {
  using config = policy<kIndex>;
  if constexpr (exists_on_target<config>) {
    allow_dependents();
    // Tiles of one row of weights are neighbours, so that CTAs that run together read the same weights.
    const int64_t tile = arch::cta_index() / config::kClusterK;
    const int64_t tiles_m = ceil_div(arguments.m, config::kTileM);
    const int64_t tile_n = tile / tiles_m;
    const int64_t tile_m = tile % tiles_m;
    tile_mainloop<config, Activations>(arguments, tile_n * config::kTileN, tile_m * config::kTileM);
  }
}

template <int kIndex, template <int, int> class Activations>
using warpgroup_config = warpgroup_policy<policy<kIndex>, typename Activations<kWarpSize, 1>::portion>;

template <int kIndex, template <int, int> class Activations>
__global__ void __launch_bounds__(warpgroup_config<kIndex, Activations>::kThreads,
                                  warpgroup_config<kIndex, Activations>::kCtas)
    warpgroup_kernel(const __grid_constant__ gemm_arguments arguments,
                     const __grid_constant__ warpgroup_tensor_maps maps) {
  if constexpr (arch::kTargetHasWgmma) {
    allow_dependents();
    warpgroup_mainloop<warpgroup_config<kIndex, Activations>>(arguments, maps);
  }
}

}  // namespace detail
Q4FUSE_NAMESPACE_END
