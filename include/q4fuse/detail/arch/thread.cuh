#pragma once

// Thread coordinates, barriers and shuffles.

#include <q4fuse/detail/arch/target.hpp>

#include <cuda_runtime.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {
namespace arch {

inline constexpr uint32_t kFullWarp = 0xFFFFFFFFu;

/// Index of the thread in its CTA. Blocks are one-dimensional.
__device__ __forceinline__ int thread_index() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x) & 31; }
/// The same, read where it is used: what follows from it is not computed ahead, to wait in registers.
__device__ __forceinline__ int fresh_lane_index() {
  int index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index & 31;
}
/// Index of the warp in its CTA, read from lane 0 so that the compiler knows it to be uniform.
__device__ __forceinline__ int warp_index() { return __shfl_sync(kFullWarp, static_cast<int>(threadIdx.x) >> 5, 0); }
/// True for one lane of the warp, all of which take part. What the lane alone does the compiler then knows to be done
/// once: with any other condition it makes a loop of every instruction that takes uniform registers.
template <int kRequired = 90>
__device__ __forceinline__ bool elect_one() {
  static_assert(kTargetHas<kRequired>, "elect.sync needs sm_90");
  uint32_t elected;
  asm volatile(
      "{\n"
      ".reg .pred one;\n"
      "elect.sync _|one, 0xffffffff;\n"
      "selp.b32 %0, 1, 0, one;\n"
      "}"
      : "=r"(elected));
  return elected != 0;
}
/// Index of the CTA and number of CTAs. Grids are one-dimensional: no 65535 limit.
__device__ __forceinline__ int64_t cta_index() { return blockIdx.x; }
__device__ __forceinline__ int64_t cta_count() { return gridDim.x; }

/// The value, to be kept in a register: left to itself the compiler may compute it anew, or read it again from a
/// special register, wherever it is used.
__device__ __forceinline__ int keep(int value) {
  if constexpr (kTargetHas<90>) asm("" : "+r"(value));
  return value;
}

/// The value, as if it became known here: what follows from it is not computed ahead, to wait in registers.
__device__ __forceinline__ int64_t fresh(int64_t value) {
  asm volatile("" : "+l"(value));
  return value;
}
__device__ __forceinline__ uint32_t fresh(uint32_t value) {
  asm volatile("" : "+r"(value));
  return value;
}

/// Every thread of the CTA must arrive.
__device__ __forceinline__ void sync_cta() { __syncthreads(); }
/// `threads` threads, whole warps, must arrive at named barrier `barrier` (1 to 15; sync_cta is barrier 0).
__device__ __forceinline__ void sync_named(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
/// Every lane of the warp must arrive; orders their shared-memory accesses.
__device__ __forceinline__ void sync_warp() { __syncwarp(); }

/// Whether it is true for any lane of the warp, all of which take part.
__device__ __forceinline__ bool any_of_warp(bool value) { return __any_sync(kFullWarp, value) != 0; }
/// The value of lane `lane` (0 to 3) of the four neighbours that the lane is one of.
__device__ __forceinline__ uint32_t shuffle_of_four(uint32_t value, int lane) {
  return __shfl_sync(kFullWarp, value, lane, 4);
}
__device__ __forceinline__ float shuffle_of_four(float value, int lane) {
  return __shfl_sync(kFullWarp, value, lane, 4);
}
__device__ __forceinline__ uint32_t shuffle_xor(uint32_t value, int mask) {
  return __shfl_xor_sync(kFullWarp, value, mask);
}
__device__ __forceinline__ float shuffle_xor(float value, int mask) { return __shfl_xor_sync(kFullWarp, value, mask); }
__device__ __forceinline__ int shuffle_xor(int value, int mask) { return __shfl_xor_sync(kFullWarp, value, mask); }

}  // namespace arch
}  // namespace detail
Q4FUSE_NAMESPACE_END
