#pragma once

// Barriers in shared memory, on which some warps only arrive and others only wait (PTX ISA, "mbarrier").

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

inline constexpr int kMbarrierBytes = 8;  ///< and as aligned

/// By one thread, and passed on to those that use it: every phase of the barrier ends with `arrivals` arrivals.
template <int kRequired = 90>
__device__ __forceinline__ void mbarrier_init(void* barrier, int arrivals) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(barrier))),
      "r"(arrivals)
      : "memory");
}

/// By a thread that has made barriers, before it arrives at one of the cluster's, relaxed or not: copies that are asked
/// for behind that may count on them.
template <int kRequired = 90>
__device__ __forceinline__ void fence_mbarrier_init() {
  static_assert(kTargetHas<kRequired>, "fence.mbarrier_init needs sm_90");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/// One arrival, after everything that the thread did before, and that was passed on to it.
template <int kRequired = 90>
__device__ __forceinline__ void mbarrier_arrive(void* barrier) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  asm volatile(
      "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(barrier)))
      : "memory");
}

/// One arrival at the barrier that is at the same place in the shared memory of the cluster's CTA of rank `rank`, by a
/// thread that has read what others overwrite then, and used all that it read: what it stored is not passed on.
template <int kRequired = 90>
__device__ __forceinline__ void mbarrier_arrive_cluster_after_reads(void* barrier, int rank) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(barrier))),
      "r"(rank)
      : "memory");
}

/// One arrival, after which the phase also waits for so many bytes of tensor copies. Those may have been asked for
/// before: the phase cannot end without the arrival.
template <int kRequired = 90>
__device__ __forceinline__ void mbarrier_arrive_expecting(void* barrier, int bytes) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(barrier))),
               "r"(bytes)
               : "memory");
}

/// Waits until the phase of that parity has ended: phases count from 0, and the one before the first, of parity 1, is
/// taken to have ended. The thread then sees what every arrival passes on.
template <int kRequired = 90>
__device__ __forceinline__ void mbarrier_wait(void* barrier, int parity) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "retry:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra retry;\n"
      "}" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(barrier))),
      "r"(parity)
      : "memory");
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
