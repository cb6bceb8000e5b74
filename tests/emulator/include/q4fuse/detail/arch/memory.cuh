#pragma once

#include <q4fuse/detail/arch/target.hpp>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

inline uint8_t* shared_memory() { return q4fuse_emulator::device.shared_base(); }

template <class T>
T load_shared(const void* address, site where = site::here()) {
  return q4fuse_emulator::device.load_shared<T>(address, where);
}
template <class T>
void store_shared(void* address, T value, site where = site::here()) {
  q4fuse_emulator::device.store_shared<T>(address, value, where);
}
template <class T>
T load_global(const void* address, site where = site::here()) {
  return q4fuse_emulator::device.load_global<T>(address, where);
}
template <class T>
void store_global(void* address, T value, site where = site::here()) {
  q4fuse_emulator::device.store_global<T>(address, value, where);
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
