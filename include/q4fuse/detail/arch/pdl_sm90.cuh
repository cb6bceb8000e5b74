#pragma once

// Programmatic dependent launch (PTX ISA, "griddepcontrol"). Without effect in a kernel launched without the attribute.

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// Waits until every kernel this one depends on has ended and its writes are visible.
template <int kRequired = 90>
__device__ __forceinline__ void wait_for_dependencies() {
  static_assert(kTargetHas<kRequired>, "griddepcontrol needs sm_90");
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

/// Lets the next kernel of the stream start once every CTA has said so or ended.
template <int kRequired = 90>
__device__ __forceinline__ void launch_dependents() {
  static_assert(kTargetHas<kRequired>, "griddepcontrol needs sm_90");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
