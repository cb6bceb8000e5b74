#pragma once

// cp.async: global to shared memory without registers (PTX ISA, "Data Movement: cp.async").

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// Copies kBytes (4, 8 or 16; both addresses aligned to it), or writes zeros and reads nothing when not valid.
/// 16-byte copies bypass L1: weights are read once. They have the L2 fetch 128 bytes at once, since pieces of rows
/// begin and end within sectors that another copy wants soon.
template <int kBytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, bool valid) {
  static_assert(kTargetHas<(kBytes > 0 ? 80 : 0)>, "cp.async needs sm_80");
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
  const uint32_t destination = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int source_bytes = valid ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(destination), "l"(global),
                 "r"(source_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(destination), "l"(global), "n"(kBytes),
                 "r"(source_bytes)
                 : "memory");
  }
}

/// A copy of 16 bytes, or nothing, by a predicate: a branch would part it from the copies before it.
template <int kBytes>
__device__ __forceinline__ void cp_async_if(bool wanted, void* shared, const void* global) {
  static_assert(kTargetHas<(kBytes > 0 ? 80 : 0)>, "cp.async needs sm_80");
  static_assert(kBytes == 16, "the width that kernels need");
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.u32 wanted, %2, 0;\n"
      "@wanted cp.async.cg.shared.global.L2::128B [%0], [%1], 16;\n"
      "}" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(static_cast<uint32_t>(wanted))
      : "memory");
}

/// Closes the thread's group of copies; an empty group is complete at once.
template <int kRequired = 80>
__device__ __forceinline__ void cp_async_commit() {
  static_assert(kTargetHas<kRequired>, "cp.async.commit_group needs sm_80");
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most kPending of the thread's newest groups are still in flight.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  static_assert(kTargetHas<(kPending >= 0 ? 80 : 0)>, "cp.async.wait_group needs sm_80");
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
