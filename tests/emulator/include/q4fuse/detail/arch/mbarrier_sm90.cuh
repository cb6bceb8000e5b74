#pragma once

#include <q4fuse/detail/arch/target.hpp>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

inline constexpr int kMbarrierBytes = 8;

template <int kRequired = 90>
void mbarrier_init(void* barrier, int arrivals, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  q4fuse_emulator::device.mbarrier_init(barrier, arrivals, where);
}

template <int kRequired = 90>
void fence_mbarrier_init() {
  static_assert(kTargetHas<kRequired>, "fence.mbarrier_init needs sm_90");
  q4fuse_emulator::device.fence_mbarrier_init();
}

template <int kRequired = 90>
void mbarrier_arrive(void* barrier, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  q4fuse_emulator::device.mbarrier_arrive(barrier, where);
}

/// Orders what the caller answers for as a release would.
template <int kRequired = 90>
void mbarrier_arrive_cluster_after_reads(void* barrier, int rank, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  q4fuse_emulator::device.mbarrier_arrive_cluster(barrier, rank, where);
}

template <int kRequired = 90>
void mbarrier_arrive_expecting(void* barrier, int bytes, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  q4fuse_emulator::device.mbarrier_arrive_expecting(barrier, bytes, where);
}

template <int kRequired = 90>
void mbarrier_wait(void* barrier, int parity, site where = site::here()) {
  static_assert(kTargetHas<kRequired>, "mbarrier with try_wait needs sm_90");
  q4fuse_emulator::device.mbarrier_wait(barrier, parity, where);
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
