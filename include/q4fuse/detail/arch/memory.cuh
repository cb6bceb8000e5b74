#pragma once

// Every access of a kernel to global and shared memory goes through these functions.

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

/// Base of the CTA's dynamic shared memory, 1024-byte aligned: the pattern of a swizzled tile repeats that often.
__device__ __forceinline__ uint8_t* shared_memory() {
  extern __shared__ __align__(1024) uint8_t q4fuse_shared_memory[];
  return q4fuse_shared_memory;
}

template <class T>
__device__ __forceinline__ T load_shared(const void* address) {
  return *static_cast<const T*>(address);
}
template <class T>
__device__ __forceinline__ void store_shared(void* address, T value) {
  *static_cast<T*>(address) = value;
}

/// Plain loads, not through the read-only path: with dependent launch the data may have been written while this
/// kernel was already running.
template <class T>
__device__ __forceinline__ T load_global(const void* address) {
  return *static_cast<const T*>(address);
}
template <class T>
__device__ __forceinline__ void store_global(void* address, T value) {
  *static_cast<T*>(address) = value;
}

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
