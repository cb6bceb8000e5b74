#pragma once

#include <q4fuse/detail/arch/target.hpp>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

template <int kRequired = 90>
void wait_for_dependencies() {
  static_assert(kTargetHas<kRequired>, "griddepcontrol needs sm_90");
  q4fuse_emulator::device.wait_for_dependencies();
}

/// Kernels run one after another here; that the next one could start early shows in what it may touch before its wait.
template <int kRequired = 90>
void launch_dependents() {
  static_assert(kTargetHas<kRequired>, "griddepcontrol needs sm_90");
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
