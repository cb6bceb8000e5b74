#pragma once

#include <q4fuse/detail/arch/target.hpp>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

template <int kRegisters>
inline constexpr bool kCanBeSet = kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0;

template <int kRegisters>
void raise_registers(site where = site::here()) {
  static_assert(kTargetHasWgmma || kRegisters == 0, "setmaxnreg needs sm_90a");
  static_assert(kCanBeSet<kRegisters>, "setmaxnreg takes a multiple of 8 from 24 to 256");
  q4fuse_emulator::device.set_registers(kRegisters, true, where);
}
template <int kRegisters>
void lower_registers(site where = site::here()) {
  static_assert(kTargetHasWgmma || kRegisters == 0, "setmaxnreg needs sm_90a");
  static_assert(kCanBeSet<kRegisters>, "setmaxnreg takes a multiple of 8 from 24 to 256");
  q4fuse_emulator::device.set_registers(kRegisters, false, where);
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
