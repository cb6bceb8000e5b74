#pragma once

#include <q4fuse/detail/arch/target.hpp>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail::arch {

inline constexpr int kSwizzledRowBytes = 128;
inline constexpr int kSwizzledTileAlignment = 1024;

constexpr int swizzled_offset(int row, int byte) { return row * kSwizzledRowBytes + (byte ^ (row % 8 * 16)); }

/// Shared memory begins at address 0 here.
inline uint64_t make_repeating_wgmma_descriptor(const void* eight_rows) {
  const auto address =
      static_cast<uint64_t>(static_cast<const uint8_t*>(eight_rows) - q4fuse_emulator::device.shared_base()) & 0x3FFFF;
  return address >> 4 | uint64_t{1} << 16 | uint64_t{1} << 62;
}
inline uint64_t make_wgmma_descriptor(const void* tile) {
  return make_repeating_wgmma_descriptor(tile) | uint64_t{kSwizzledTileAlignment >> 4} << 32;
}

inline uint64_t advance_wgmma_descriptor(uint64_t descriptor, int bytes) {
  return descriptor + static_cast<uint64_t>(bytes / 16);
}

template <bool kRequired = true>
void wgmma_fence() {
  static_assert(kTargetHasWgmma || !kRequired, "wgmma.fence needs sm_90a");
  q4fuse_emulator::device.wgmma_fence();
}

using wgmma_elements = q4fuse_emulator::wgmma_product::elements;

template <int kN>
void wgmma_m64k16_f16(float (&d)[kN / 2], const uint32_t (&a)[4], uint64_t descriptor, site where = site::here()) {
  static_assert(kTargetHasWgmma || kN == 0, "wgmma needs sm_90a");
  static_assert(kN == 32 || kN == 64 || kN == 96 || kN == 128 || kN == 160 || kN == 192,
                "one list of operands a width");
  q4fuse_emulator::device.wgmma({wgmma_elements::halves, kN, true, descriptor}, d, a, where);
}

template <int kN>
void wgmma_m64k32_s8(int (&d)[kN / 2], const uint32_t (&a)[4], uint64_t descriptor, site where = site::here()) {
  static_assert(kTargetHasWgmma || kN == 0, "wgmma needs sm_90a");
  static_assert(kN == 32 || kN == 64, "one list of operands a width");
  q4fuse_emulator::device.wgmma({wgmma_elements::signed_bytes, kN, true, descriptor}, d, a, where);
}

template <int kN>
void wgmma_m64k32_s8_start(int (&d)[kN / 2], uint64_t a_descriptor, uint64_t b_descriptor, site where = site::here()) {
  static_assert(kTargetHasWgmma || kN == 0, "wgmma needs sm_90a");
  static_assert(kN == 32 || kN == 64, "one list of operands a width");
  q4fuse_emulator::device.wgmma({wgmma_elements::signed_bytes, kN, false, b_descriptor, a_descriptor}, d, nullptr,
                                where);
}

template <bool kRequired = true>
void wgmma_commit() {
  static_assert(kTargetHasWgmma || !kRequired, "wgmma.commit_group needs sm_90a");
  q4fuse_emulator::device.wgmma_commit();
}

template <int kPending>
void wgmma_wait(site where = site::here()) {
  static_assert(kTargetHasWgmma || kPending < 0, "wgmma.wait_group needs sm_90a");
  q4fuse_emulator::device.wgmma_wait(kPending, where);
}

/// Accumulators are delivered at the wait.
inline void wgmma_release(float&) {}
inline void wgmma_release(int&) {}

template <int kRequired = 90>
void fence_proxy_async() {
  static_assert(kTargetHas<kRequired>, "fence.proxy.async needs sm_90");
  q4fuse_emulator::device.fence_proxy_async();
}

}  // namespace detail::arch
Q4FUSE_NAMESPACE_END
