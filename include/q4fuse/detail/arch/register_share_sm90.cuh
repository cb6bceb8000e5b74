#pragma once

// How warpgroups with different work share the registers of a CTA (PTX ISA, "setmaxnreg").

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// Registers a thread from here on, a multiple of 8; every warp of a warpgroup must come here. Raising waits until
/// other warpgroups have lowered theirs.
template <int kRegisters>
__device__ __forceinline__ void raise_registers() {
  static_assert(kTargetHasWgmma || kRegisters == 0, "setmaxnreg needs sm_90a");
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void lower_registers() {
  static_assert(kTargetHasWgmma || kRegisters == 0, "setmaxnreg needs sm_90a");
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
