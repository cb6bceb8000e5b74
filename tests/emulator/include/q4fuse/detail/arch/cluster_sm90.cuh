#pragma once

#include <q4fuse/detail/arch/target.hpp>

#include <vector_types.h>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

template <int kRequired = 90>
void sync_cluster(site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "barrier.cluster needs sm_90");
  q4fuse_emulator::device.sync_cluster(where);
}

template <int kRequired = 90>
void sync_cluster_relaxed(site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "barrier.cluster needs sm_90");
  q4fuse_emulator::device.sync_cluster_relaxed(where);
}

template <int kRequired = 90>
void arrive_cluster_relaxed(site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "barrier.cluster needs sm_90");
  q4fuse_emulator::device.arrive_cluster(false, where);
}

/// Orders what the caller answers for as a release would.
template <int kRequired = 90>
void arrive_cluster_after_reads(site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "barrier.cluster needs sm_90");
  q4fuse_emulator::device.arrive_cluster(true, where);
}

template <int kRequired = 90>
void wait_cluster(site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "barrier.cluster needs sm_90");
  q4fuse_emulator::device.wait_cluster(where);
}

template <int kRequired = 90>
void store_cluster(void* address, int rank, const float4& value, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "st.shared::cluster needs sm_90");
  q4fuse_emulator::device.store_cluster(address, rank, value, where);
}

template <int kRequired = 90>
float4 load_cluster(const void* address, int rank, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "ld.shared::cluster needs sm_90");
  return q4fuse_emulator::device.load_cluster<float4>(address, rank, where);
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
