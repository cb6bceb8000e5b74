#pragma once

// Thread-block clusters (PTX ISA, "barrier.cluster", "mapa" and the .shared::cluster state space). In a kernel launched
// without the attribute the cluster is the CTA alone.

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// Every thread of the cluster must arrive; orders their accesses to shared memory, each other's included.
template <int kRequired = 90>
__device__ __forceinline__ void sync_cluster() {
  static_assert(kTargetHas<kRequired>, "barrier.cluster needs sm_90");
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}

/// Every thread of the cluster must arrive; orders nothing but what was waited for before: enough to end after.
template <int kRequired = 90>
__device__ __forceinline__ void sync_cluster_relaxed() {
  static_assert(kTargetHas<kRequired>, "barrier.cluster needs sm_90");
  asm volatile(
      "barrier.cluster.arrive.relaxed.aligned;\n"
      "barrier.cluster.wait.aligned;" ::
          : "memory");
}

/// The two halves of such a barrier, by whole warps: each arrives, and waits later. What a thread does before it
/// arrives is not ordered before what others do once they have waited.
template <int kRequired = 90>
__device__ __forceinline__ void arrive_cluster_relaxed() {
  static_assert(kTargetHas<kRequired>, "barrier.cluster needs sm_90");
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
/// Relaxed, by threads that have read what others overwrite once they have waited, and used all that they read: what is
/// in a register does not change any more. A release would wait for their stores to global memory, too.
template <int kRequired = 90>
__device__ __forceinline__ void arrive_cluster_after_reads() {
  arrive_cluster_relaxed<kRequired>();
}
template <int kRequired = 90>
__device__ __forceinline__ void wait_cluster() {
  static_assert(kTargetHas<kRequired>, "barrier.cluster needs sm_90");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// Stores 16 bytes at the place that `address` has in this CTA's shared memory, of the CTA of rank `rank` in the
/// cluster.
template <int kRequired = 90>
__device__ __forceinline__ void store_cluster(void* address, int rank, const float4& value) {
  static_assert(kTargetHas<kRequired>, "st.shared::cluster needs sm_90");
  const uint32_t local = static_cast<uint32_t>(__cvta_generic_to_shared(address));
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "st.shared::cluster.v4.f32 [remote], {%2, %3, %4, %5};\n"
      "}" ::"r"(local),
      "r"(rank), "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w)
      : "memory");
}

/// 16 bytes at the place that `address` has in this CTA's shared memory, of the CTA of rank `rank` in the cluster.
template <int kRequired = 90>
__device__ __forceinline__ float4 load_cluster(const void* address, int rank) {
  static_assert(kTargetHas<kRequired>, "ld.shared::cluster needs sm_90");
  const uint32_t local = static_cast<uint32_t>(__cvta_generic_to_shared(address));
  float4 value;
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %4, %5;\n"
      "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n"
      "}"
      : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
      : "r"(local), "r"(rank)
      : "memory");
  return value;
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
