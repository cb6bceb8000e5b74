#pragma once

// A kernel that is never launched: its attributes tell for which target it was compiled. The runtime reports sm_90 and
// sm_90a as the same 90, but the bound on threads may depend on the target, and is reported too.

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

inline constexpr int kProbeThreads = 32;
inline constexpr int kProbeThreadsWithWgmma = 64;

/// A template, so that several translation units may hold it.
template <bool kInstantiated = true>
__global__ void __launch_bounds__(arch::kTargetHasWgmma ? kProbeThreadsWithWgmma : kProbeThreads) probe_kernel() {}

}  // namespace detail
Q4FUSE_NAMESPACE_END
