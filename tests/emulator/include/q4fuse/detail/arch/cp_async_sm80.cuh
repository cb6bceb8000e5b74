#pragma once

#include <q4fuse/detail/arch/target.hpp>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

template <int kBytes>
void cp_async(void* shared, const void* global, bool valid, site where = site::here()) {
  static_assert(kTargetHas<(kBytes > 0 ? 80 : 0)>, "cp.async needs sm_80");
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
  q4fuse_emulator::device.async_copy<kBytes>(shared, global, valid, where);
}

template <int kBytes>
void cp_async_if(bool wanted, void* shared, const void* global, site where = site::here()) {
  static_assert(kBytes == 16, "the width that kernels need");
  if (wanted) cp_async<kBytes>(shared, global, true, where);
}

template <int kRequired = 80>
void cp_async_commit() {
  static_assert(kTargetHas<kRequired>, "cp.async.commit_group needs sm_80");
  q4fuse_emulator::device.async_commit();
}

template <int kPending>
void cp_async_wait() {
  static_assert(kTargetHas<(kPending >= 0 ? 80 : 0)>, "cp.async.wait_group needs sm_80");
  q4fuse_emulator::device.async_wait(kPending);
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
